"""The background of blocks of frames: one operator where they share E0 and lack no point, else splines."""

from __future__ import annotations

import warnings

import numpy as np

from batlab import threads
from batlab._kernels.spline import cubic_spline
from batlab.xas.background_spline import Operator, Settings, Spline, photoelectron, spline_of, window_of

# From this many frames with one E0 on, making the operator (some 5 ms) pays.
SHARED = 300
AT_ONCE = 512  # frames; what a block takes beside its results stays at some 10 MB


class Background:
    """The background on one energy grid for any E0; keeps the operators that it has made."""

    def __init__(self, energy: np.ndarray, settings: Settings) -> None:
        self.energy, self.settings = energy, settings
        self.spline: Spline = spline_of(settings)
        self._operators: dict[float, Operator] = {}

    def operator(self, e0: float) -> Operator:
        """Return the operator of that E0; the last few are kept."""
        if e0 not in self._operators:
            made = Operator(self.energy, e0, self.spline, self.settings.kmax)
            self._operators = {**self._operators, e0: made} if len(self._operators) < 8 else {e0: made}
            return made
        return self._operators[e0]

    def of(self, mu: np.ndarray, e0: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return chi (frame, k) and the background (frame, energy) of mu (frame, energy); e0, step (frame, 1)."""
        e0 = e0[:, 0]
        chi, smooth = np.empty((len(mu), len(self.spline.k))), np.empty(mu.shape)
        left = np.arange(len(mu))
        if len(mu) and (e0 == e0[0]).all() and (len(mu) >= SHARED or float(e0[0]) in self._operators):
            left = self._together(mu, float(e0[0]), chi, smooth)
        for start in range(0, len(left), AT_ONCE):
            rows = left[start : start + AT_ONCE]
            chi[rows], smooth[rows] = self._apart(mu[rows], e0[rows])
        lost = np.isnan(chi).any(axis=1)
        if lost.any():
            smooth[lost] = np.nan
            warnings.warn(
                f"{lost.sum()} of {len(mu)} spectra have no background: they have no E0, or their points do not reach "
                f"from it to k = {self.settings.kmax:.4g} 1/angstrom; drop them, or pass a lower kmax",
                UserWarning,
                stacklevel=4,
            )
        chi /= step
        return chi, smooth

    def _together(self, mu: np.ndarray, e0: float, chi: np.ndarray, smooth: np.ndarray) -> np.ndarray:
        """Fill in the frames without gaps, and return which the others are."""
        operator = self.operator(e0)
        inside = mu[:, operator.window].astype(float, copy=False)
        np.matmul(inside, operator.chi, out=chi)
        smooth[:] = mu
        np.matmul(inside @ operator.solve, operator.basis.T, out=smooth[:, operator.window])
        return np.flatnonzero(np.isnan(chi[:, 0]) | np.isinf(chi[:, 0]))

    def _apart(self, mu: np.ndarray, e0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return chi times the step, and the background, from the points that each frame has."""
        s, spline = self.settings, self.spline
        k = photoelectron(self.energy, e0[:, None])
        first, last = window_of(self.energy, e0, s.kmax)
        place = np.arange(len(self.energy))
        used = (place >= first[:, None]) & (place < last[:, None]) & np.isfinite(mu)
        nearest = np.where(used, k, np.inf).min(axis=1, initial=np.inf)
        farthest = np.where(used, k, -np.inf).max(axis=1, initial=-np.inf)
        reaching = (nearest < s.kstep) & (farthest > s.kmax - s.kstep / 2)
        n_threads = threads.effective()
        here = np.where(used & reaching[:, None], mu, np.nan)
        on_grid = cubic_spline(here, k, spline.k[None], n_threads=n_threads)
        chi = on_grid @ spline.left.T
        # The background is smooth on the grid: a spline through it gives it at the energies, to 1e-6 of the step.
        back = cubic_spline(on_grid - chi, spline.k[None], k, n_threads=n_threads)
        return chi, np.where(used, back, mu)

    def sigma(self, sigma: np.ndarray, e0: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Return the σ of chi from independent σ of mu; NaN where a point in the window has none."""
        result = np.full((len(sigma), len(self.spline.k)), np.nan)
        for value in np.unique(e0[np.isfinite(e0)]):
            rows, operator = np.flatnonzero(e0[:, 0] == value), self.operator(float(value))
            variance = sigma[rows][:, operator.window].astype(float) ** 2
            result[rows] = np.sqrt(variance @ operator.chi**2)
        return result / np.abs(step)
