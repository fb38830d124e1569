"""The background of blocks of frames: one operator where they share E0 and lack no point, else splines."""

from __future__ import annotations

import warnings

import numpy as np

from batlab._kernels.spline import cubic_spline
from batlab.xas.background_spline import Operator, Settings, Spline, photoelectron, spline_of, window_of

# From this many frames with one E0 on, making the operator (some 5 ms) pays.
SHARED = 300
AT_ONCE = 512  # frames; what a block takes beside its results stays at some 10 MB


class Background:
    """The background for any E0 and grid; keeps the operators that it has made for a grid that frames share."""

    def __init__(self, settings: Settings, n_threads: int = 1) -> None:
        self.settings, self.n_threads = settings, n_threads
        self.spline: Spline = spline_of(settings)
        self._operators: dict[float, Operator] = {}

    def operator(self, energy: np.ndarray, e0: float) -> Operator:
        """Return the operator of that E0 on the grid (point,) that all frames share; the last few are kept."""
        if e0 not in self._operators:
            made = Operator(energy, e0, self.spline, self.settings.kmax)
            self._operators = {**self._operators, e0: made} if len(self._operators) < 8 else {e0: made}
            return made
        return self._operators[e0]

    def of(self, mu: np.ndarray, e0: np.ndarray, step: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return chi (frame, k) and the background (frame, point) of mu (frame, point).

        E0 and step (frame, 1); energies (1, point) where frames share them, else (frame, point).
        """
        chi, smooth = np.empty((len(mu), len(self.spline.k))), np.empty(mu.shape)
        left = np.arange(len(mu))
        is_shared = len(energy) == 1 and len(mu) > 0 and bool((e0 == e0[0]).all())
        if is_shared and (len(mu) >= SHARED or float(e0[0, 0]) in self._operators):
            left = self._together(mu, float(e0[0, 0]), energy[0], chi, smooth)
        for start in range(0, len(left), AT_ONCE):
            rows = left[start : start + AT_ONCE]
            chi[rows], smooth[rows] = self._apart(mu[rows], e0[rows], energy if len(energy) == 1 else energy[rows])
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

    def _together(
        self, mu: np.ndarray, e0: float, energy: np.ndarray, chi: np.ndarray, smooth: np.ndarray
    ) -> np.ndarray:
        """Fill in the frames without gaps, and return which the others are."""
        operator = self.operator(energy, e0)
        inside = mu[:, operator.window].astype(float, copy=False)
        np.matmul(inside, operator.chi, out=chi)
        smooth[:] = mu
        smooth[:, operator.window] = (inside @ operator.solve) @ operator.basis.T
        # NaN and infinity spread over all of their row.
        return np.flatnonzero(~np.isfinite(chi[:, 0]))

    def _apart(self, mu: np.ndarray, e0: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return chi times the step, and the background, from the points that each frame has."""
        s, spline = self.settings, self.spline
        k = photoelectron(energy, e0)
        used = window_of(np.where(np.isfinite(mu), energy, np.nan), e0, s.kmax)
        nearest = np.where(used, k, np.inf).min(axis=1, initial=np.inf)
        farthest = np.where(used, k, -np.inf).max(axis=1, initial=-np.inf)
        reaching = (nearest < s.kstep) & (farthest > s.kmax - s.kstep / 2)
        here = np.where(used & reaching[:, None], mu, np.nan)
        on_grid = cubic_spline(here, k, spline.k[None], n_threads=self.n_threads)
        chi = on_grid @ spline.left.T
        # The background is smooth on the grid: a spline through it gives it at the energies, to 1e-6 of the step.
        back = cubic_spline(on_grid - chi, spline.k[None], k, n_threads=self.n_threads)
        return chi, np.where(used, back, mu)

    def sigma(self, sigma: np.ndarray, e0: np.ndarray, step: np.ndarray, energy: np.ndarray) -> np.ndarray:
        """Return the σ of chi from independent σ of mu; NaN where a point in the window has none."""
        result = np.full((len(sigma), len(self.spline.k)), np.nan)
        groups = [np.flatnonzero(e0[:, 0] == value) for value in np.unique(e0[np.isfinite(e0)])]
        if len(energy) > 1:
            groups = [np.array([row]) for row in np.flatnonzero(np.isfinite(e0[:, 0]))]
        for rows in groups:
            known, value = np.isfinite(energy[rows[0] if len(energy) > 1 else 0]), float(e0[rows[0], 0])
            if len(energy) > 1:
                operator = Operator(energy[rows[0], known], value, self.spline, self.settings.kmax)
            else:
                operator = self.operator(energy[0], value)
            variance = sigma[rows][:, known][:, operator.window].astype(float) ** 2
            result[rows] = np.sqrt(variance @ operator.chi**2)
        return result / np.abs(step)
