"""What a fit compares: chi weighted in k, its transform in R, or that filtered back to q, as one matrix each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.errors import choose
from batlab.xas.windows import WINDOWS, ft_window

SPACES = ("k", "r", "q")
N_FFT = 2048  # sets the step in R, pi / (2048 kstep): the grid of larch and Athena
R_OUT = 10.0  # angstrom; how far the transforms of the result reach
NOISE_RANGE = (15.0, 25.0)  # angstrom; where chi(R) holds noise alone (IFEFFIT's choice)
LEAST_NOISE = 1e-12


class Settings(NamedTuple):
    """How spectra are compared, see `fit_shells`."""

    fit_space: str
    k_range: tuple[float, float]
    r_range: tuple[float, float]
    kweights: tuple[float, ...]
    dk: float
    window: str
    dr: float
    r_window: str

    @property
    def n_independent(self) -> float:
        """Return 2 Δk ΔR / pi + 1."""
        return 2 * (self.k_range[1] - self.k_range[0]) * (self.r_range[1] - self.r_range[0]) / np.pi + 1


def check_settings(s: Settings) -> None:
    """Refuse unknown words and ranges that are none."""
    choose("fit_space", s.fit_space, SPACES)
    choose("window", s.window, WINDOWS)
    choose("r_window", s.r_window, WINDOWS)
    for name, (low, high) in (("k_range", s.k_range), ("r_range", s.r_range)):
        if not 0 <= low < high < np.inf:
            raise ValueError(f"{name} must be two numbers from 0 or above, the second larger, got {low:g} to {high:g}")
    if not s.kweights or not all(0 <= weight <= 6 for weight in s.kweights):
        raise ValueError(f"kweight must be one or several numbers of 0 to 6, got {s.kweights}")


class Comparison:
    """Turns chi (k,) into what the fit compares (point,), and into chi(R) for the figures."""

    def __init__(self, k: np.ndarray, s: Settings) -> None:
        step = float(k[1] - k[0])
        self.k, self.settings = k, s
        # A taper that ends beyond the data keeps its shape, as in larch.
        beyond = k[0] + step * np.arange(len(k) + int(s.dk / step) + 1)
        self.window = ft_window(beyond, low=s.k_range[0], high=s.k_range[1], dx=s.dk, window=s.window)[: len(k)]
        r_step = np.pi / (step * N_FFT)
        grid = r_step * np.arange(N_FFT // 2)
        inside = _between(grid, r_step, *s.r_range)
        farthest = np.pi / (2 * step)  # beyond, chi(R) is its own mirror image
        if s.r_range[1] > farthest * (1 + 1e-9) or not inside.any():
            raise ValueError(
                f"r_range must hold points of R up to {farthest:.4g} angstrom, which lie {r_step:.3g} apart, got "
                f"{s.r_range[0]:g} to {s.r_range[1]:g}"
            )
        scale = step / np.sqrt(np.pi)
        weighted = [scale * self.window * k**weight for weight in s.kweights]
        if s.fit_space == "k":
            rows = _between(k, step, *s.k_range)
            parts = [np.diag(k**weight)[rows] for weight in s.kweights]
        elif s.fit_space == "r":
            parts = [_transform(grid[inside], k, one) for one in weighted]
        else:
            back = _back(grid, k[_between(k, step, *s.k_range)], s, r_step)
            parts = [back @ _transform(grid, k, one) for one in weighted]
        noisy = (grid >= NOISE_RANGE[0]) & (grid <= NOISE_RANGE[1])
        self.noise = [_transform(grid[noisy], k, one) for one in weighted]
        self.r = grid[grid <= R_OUT + 1e-9]
        self.to_r = _transform(self.r, k, weighted[0])
        # Only columns with weight matter: chi outside the window may be NaN.
        self.used = np.any([np.abs(part).max(axis=0) > 0 for part in parts], axis=0)
        self.parts = [part[:, self.used] for part in parts]

    def sigmas(self, chi: np.ndarray, epsilon: float | None) -> list[tuple[float, float]]:
        """Return for each power of k the noise (epsilon_k, epsilon_r), given or from high R.

        White noise in chi(k) has equal real and imaginary parts everywhere in R: its size follows from that of chi(R)
        at `NOISE_RANGE` by the norm of the transform's rows.
        """
        result = []
        for matrix in self.noise:
            unit = _size(matrix)  # of noise in R when that in k is 1
            flat = np.where(np.isfinite(chi), chi, 0.0)
            noise = np.sqrt(np.mean((matrix @ flat) ** 2)) / unit if epsilon is None else epsilon
            result.append((max(float(noise), LEAST_NOISE), max(float(noise), LEAST_NOISE) * unit))
        return result

    def matrix(self, sigmas: list[tuple[float, float]]) -> np.ndarray:
        """Return (point, used k): noise epsilon_k in chi becomes numbers of mean square 1."""
        scaled = [part / (_size(part) * noise_k) for part, (noise_k, _) in zip(self.parts, sigmas, strict=True)]
        return np.concatenate(scaled)

    def chi_r(self, chi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the real and imaginary parts of chi(R) (…, r), weighted with the first power of k."""
        flat = np.where(self.window > 0, chi, 0.0) @ self.to_r.T
        n = len(self.r)
        return flat[..., :n], flat[..., n:]


def _between(grid: np.ndarray, step: float, low: float, high: float) -> np.ndarray:
    """Return the points from `low` to below `high`, counted as larch counts them."""
    index = np.round(grid / step)
    return (index >= np.floor(low / step + 0.01)) & (index < np.floor(high / step + 0.01))


def _transform(r: np.ndarray, k: np.ndarray, weighted: np.ndarray) -> np.ndarray:
    """Return (2 r, k): real and below it imaginary part of Σ w(k) chi(k) exp(-2ikR)."""
    phase = 2 * np.outer(r, k)
    return np.concatenate([np.cos(phase) * weighted, -np.sin(phase) * weighted])


def _back(r: np.ndarray, q: np.ndarray, s: Settings, r_step: float) -> np.ndarray:
    """Return (q, 2 r): the real part of the transform back to k^w chi(q), through the window in R."""
    window = ft_window(r, low=s.r_range[0], high=s.r_range[1], dx=s.dr, window=s.r_window)
    phase = 2 * np.outer(q, r)
    scale = 2 * r_step / np.sqrt(np.pi) * window
    return np.concatenate([np.cos(phase) * scale, -np.sin(phase) * scale], axis=1)


def _size(matrix: np.ndarray) -> float:
    """Return the root mean square of what a row makes of white noise of size 1."""
    return float(np.sqrt((matrix**2).sum(axis=1).mean()))
