"""The sine transform of a whole series onto any grid of r, through as few points as its band limits leave.

F(Q) ends at Qmax and r at rmax: between them they leave about Qmax rmax / π independent numbers. The points are spread
onto an even grid of Q that is 1.5 times as fine as rmax needs, a small matrix of sines takes them to an even grid of r
as fine as Qmax needs, and G(r) is interpolated from there. Spreading and interpolating use a Kaiser-Bessel window whose
Fourier transform is divided out, so that nothing is lost but some 1e-12.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab import threads

OVERSAMPLING = 1.5
TAPS = 16  # of the window; its error is exp(-pi (TAPS - 1) sqrt(1 - 1/OVERSAMPLING)), 2e-12
# Beatty, Nishimura and Pauly, 10.1109/TMI.2005.848376, equation 5.
SHAPE = np.pi * np.sqrt((TAPS / OVERSAMPLING) ** 2 * (OVERSAMPLING - 0.5) ** 2 - 0.8)


class Band(NamedTuple):
    """A band matrix as runs of weights, see `_kernels.band`."""

    first: np.ndarray
    start: np.ndarray
    weights: np.ndarray

    def times(self, values: np.ndarray) -> np.ndarray:
        """Return its product with every row of `values` (frame, point)."""
        from batlab._kernels.band import band_product

        n_threads = threads.effective() if len(values) > 16 else 1
        return band_product(np.ascontiguousarray(values), self.first, self.start, self.weights, n_threads=n_threads)


class SineTransform(NamedTuple):
    """Σ over Q of F(Q) sin(Q r) for many F on one grid, made by `sine_transform`."""

    spread: Band
    middle: np.ndarray
    interpolate: Band

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the sums (frame, r) of `values` (frame, q)."""
        return self.interpolate.times(self.spread.times(values) @ self.middle)


def sine_transform(q: np.ndarray, r: np.ndarray, weights: np.ndarray | None = None) -> SineTransform:
    """Return what transforms curves on the grid `q`, each point with its weight, onto the grid `r`.

    Both grids are finite, in any order of any spacing. Relative to Σ |weight F| the error is below 1e-11.
    """
    farthest = max(float(np.abs(r).max(initial=0)), 1e-3)
    step_q = np.pi / (OVERSAMPLING * farthest)
    points = _span(q, step_q)
    widest = max(abs(points[0]), abs(points[-1])) * step_q
    step_r = np.pi / (OVERSAMPLING * widest)
    places = _span(r, step_r)
    sines = np.sin(np.outer(points * step_q, places * step_r)) / _transformed(points * step_q * step_r)[:, None]
    spread = _columns(q / step_q, points, np.ones(len(q)) if weights is None else weights)
    interpolate = _rows(r / step_r, places, 1 / _transformed(r * step_q))
    return SineTransform(spread, sines, interpolate)


def _span(x: np.ndarray, step: float) -> np.ndarray:
    """Return the whole numbers of steps that the windows around all of `x` reach."""
    low, high = (int(np.floor(one / step)) for one in (x.min(), x.max()))
    return np.arange(low - TAPS // 2, high + TAPS // 2 + 2)


def _window(distance: np.ndarray) -> np.ndarray:
    """Return the Kaiser-Bessel window at a distance in grid steps, 1 at its centre."""
    from scipy.special import i0e

    root = np.sqrt(np.clip(1 - (2 * distance / TAPS) ** 2, 0, None))
    inside = np.abs(distance) < TAPS / 2
    return np.where(inside, i0e(SHAPE * root) / i0e(SHAPE) * np.exp(SHAPE * (root - 1)), 0.0)


def _transformed(phase: np.ndarray) -> np.ndarray:
    """Return the window's Fourier transform at a phase a grid step."""
    from scipy.special import i0e

    root = np.sqrt(SHAPE**2 - (phase * TAPS / 2) ** 2)
    return TAPS * np.exp(root - SHAPE) * -np.expm1(-2 * root) / (2 * root * i0e(SHAPE))


def _rows(x: np.ndarray, grid: np.ndarray, scale: np.ndarray) -> Band:
    """Return the band matrix (x, grid) of windows around `x`."""
    first = np.floor(x).astype(np.intp) - TAPS // 2 + 1 - grid[0]
    weights = _window(x[:, None] - grid[first[:, None] + np.arange(TAPS)]) * scale[:, None]
    return Band(first.astype(np.intp), np.arange(0, TAPS * len(x) + 1, TAPS, dtype=np.intp), weights.ravel())


def _columns(x: np.ndarray, grid: np.ndarray, scale: np.ndarray) -> Band:
    """Return the band matrix (grid, x) of windows around the points of the grid; where `x` rises its runs are short."""
    first, start, weights = [], [0], []
    is_rising = bool((np.diff(x) > 0).all())
    for point in grid:
        begin, end = np.searchsorted(x, (point - TAPS / 2, point + TAPS / 2)) if is_rising else (0, len(x))
        first.append(begin)
        weights.append(_window(x[begin:end] - point) * scale[begin:end])
        start.append(start[-1] + end - begin)
    return Band(np.array(first, np.intp), np.array(start, np.intp), np.concatenate(weights))


def interpolation(x: np.ndarray, grid: np.ndarray, oversampling: float, taps: int) -> Band:
    """Return the band matrix that interpolates curves on whole numbers `grid` to `x`, in the same unit.

    The curve's highest frequency must lie `oversampling` times below that of the grid. A sinc under a Kaiser window,
    which errs by exp(-π taps/2 (1 - 1/oversampling)) of the curve.
    """
    first = np.floor(x).astype(np.intp) - taps // 2 + 1 - grid[0]
    distance = x[:, None] - grid[first[:, None] + np.arange(taps)]
    root = np.sqrt(np.clip(1 - (2 * distance / taps) ** 2, 0, None))
    weights = np.sinc(distance) * np.i0(np.pi * taps / 2 * (1 - 1 / oversampling) * root)
    weights /= weights.sum(axis=1, keepdims=True)
    start = np.arange(0, taps * len(x) + 1, taps, dtype=np.intp)
    return Band(first.astype(np.intp), start, np.ascontiguousarray(weights.ravel()))
