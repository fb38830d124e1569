"""A signal as a function of what the cell did in each exposure, at a trial lag and drift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from batlab.align.lag_response import Response, Solution, solve
from batlab.align.windows import Integral, Windows, covered, gaps

FINEST = 200  # pieces of the quantity's range: longer lines of the record are cut, so that a curve of it stays one


@dataclass(frozen=True)
class Quantity:
    """What the cell did, over its record; `is_gap` of the intervals between `times`, `fine_…` cut more finely."""

    times: np.ndarray
    is_gap: np.ndarray
    fine_times: np.ndarray
    fine_values: np.ndarray


def quantity_of(times: np.ndarray, values: np.ndarray, gap: float | None = None) -> Quantity:
    """Return a measured quantity, straight from record to record."""
    fine = _cut(times, np.abs(np.diff(values)), float(np.ptp(values)))
    return Quantity(times, gaps(times, gap), fine, np.interp(fine, times, values) if fine is not times else values)


def charge_of(times: np.ndarray, current: np.ndarray, gap: float | None = None) -> Quantity:
    """Return the net charge [Ah] since the first record; the current runs straight from record to record."""
    step = np.diff(times)
    passed = np.concatenate([[0.0], np.cumsum(step * (current[1:] + current[:-1]) / 2)])
    fine = _cut(times, np.maximum(np.abs(current[1:]), np.abs(current[:-1])) * step, float(np.ptp(passed)))
    if fine is not times:
        current = np.interp(fine, times, current)
        passed = np.concatenate([[0.0], np.cumsum(np.diff(fine) * (current[1:] + current[:-1]) / 2)])
    return Quantity(times, gaps(times, gap), fine, passed / 3600)


def _cut(times: np.ndarray, change: np.ndarray, span: float) -> np.ndarray:
    """Return `times` with more between those where the quantity changes by more than a 200th of its range."""
    if not span > 0:
        return times
    parts = np.minimum(np.ceil(change / span * FINEST), 10 * FINEST).astype(int)
    if not (parts > 1).any():
        return times
    within = [np.linspace(times[at], times[at + 1], parts[at] + 1)[1:-1] for at in np.flatnonzero(parts > 1)]
    return np.sort(np.concatenate([times, *within]), kind="stable")


class Fit(NamedTuple):
    """The best lag and drift near a first guess; `jacobian` with what the response can take up taken off."""

    shift: np.ndarray  # lag at the problem's reference [s], drift [1]
    solution: Solution
    jacobian: np.ndarray

    @property
    def degrees(self) -> int:
        """Degrees of freedom that are left."""
        n_frames, n_shifts = self.jacobian.shape
        return n_frames - n_shifts - self.solution.n_parameters

    @property
    def variance(self) -> float:
        """Variance of one frame of weight 1."""
        return self.solution.rss / max(self.degrees, 1)


@dataclass(frozen=True)
class Problem:
    """Frames (start and exposure [s], signal, weight), the cell's quantity, and what the signal may be of it."""

    start: np.ndarray
    exposure: np.ndarray
    signal: np.ndarray
    weight: np.ndarray
    quantity: Quantity
    response: Response
    free: np.ndarray  # (frame, column): what may move the signal without the cell
    integral: Integral
    reference: float = 0.0

    def with_response(self, response: Response) -> Problem:
        """Return the same with another response."""
        return replace(self, response=response, integral=integral_of(self.quantity, response))

    def windows(self, shift: np.ndarray, rows: np.ndarray | slice = slice(None)) -> Windows:
        """Return the exposures on the record's clock at a lag and a drift."""
        start = self.start[rows]
        moved = start + shift[0] + shift[1] * (start - self.reference)
        return Windows(moved, moved + self.exposure[rows])

    def usable(self, shift: np.ndarray, half: float = 0.0) -> np.ndarray:
        """Return which frames lie on the record, without a gap, at every lag within `half` seconds of `shift`."""
        windows = self.windows(shift)
        return covered(self.quantity.times, self.quantity.is_gap, Windows(windows.start - half, windows.stop + half))

    def columns(self, shift: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the weighted means of the response's columns over the exposures."""
        return self.integral.mean(self.windows(shift, rows)) * self.weight[rows, None]

    def solution(self, shift: np.ndarray, rows: np.ndarray) -> Solution:
        """Return the response that fits best at a lag and a drift."""
        weight = self.weight[rows]
        free, values = self.free[rows] * weight[:, None], self.signal[rows] * weight
        return solve(self.columns(shift, rows), free, values, self.response.sign)

    def jacobian(self, shift: np.ndarray, rows: np.ndarray, solution: Solution, step: float) -> np.ndarray:
        """Return how the signal changes with lag and drift, less what the response can take up."""
        later, earlier = (self.columns(shift + [side * step, 0.0], rows) for side in (1, -1))
        slope = (later - earlier) @ solution.factors / (2 * step)
        both = np.stack([slope, slope * (self.start[rows] - self.reference)], axis=1)
        return both - solution.basis @ (solution.basis.T @ both)

    def refine(self, shift: np.ndarray, rows: np.ndarray, with_drift: bool, step: float) -> Fit:
        """Return the least sum of squares near `shift`, by Gauss and Newton with the response profiled out."""
        n_shifts = 2 if with_drift else 1
        shift = np.asarray(shift, dtype=float)
        solution = self.solution(shift, rows)
        for _ in range(30):
            jacobian = self.jacobian(shift, rows, solution, step)[:, :n_shifts]
            move = np.zeros(2)
            move[:n_shifts] = np.linalg.lstsq(jacobian, solution.residual, rcond=1e-12)[0]
            largest = 8 * step / max(np.abs(move[0] + move[1] * (self.start[rows] - self.reference)).max(), 1e-300)
            move *= min(1.0, largest)
            for _ in range(8):
                trial = self.solution(shift + move, rows)
                if trial.rss < solution.rss:
                    break
                move = move / 2
            else:
                break
            gain = solution.rss - trial.rss
            shift, solution = shift + move, trial
            if gain <= 1e-9 * solution.rss:
                break
        return Fit(shift, solution, self.jacobian(shift, rows, solution, step)[:, :n_shifts])


def integral_of(quantity: Quantity, response: Response) -> Integral:
    """Return the integral of the response's columns along the record."""
    return Integral(quantity.fine_times, response.columns(quantity.fine_values))


def correlation_of(residual: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of residuals at 1, 2 … frames, up to the first that is nothing beside 2/√n."""
    n_frames = residual.size
    total = residual @ residual
    found: list[float] = []
    for lag in range(1, max(2, n_frames // 3)):
        one = float(residual[lag:] @ residual[:-lag] / total) if total > 0 else 0.0
        if one < 2 / np.sqrt(n_frames):
            break
        found.append(one)
    return np.array(found)


def inflation_of(correlation: np.ndarray, direction: np.ndarray | None = None) -> float:
    """Return by how much correlated residuals enlarge the variance of a number with that `direction` in the residuals.

    The factor is ``dᵀ R d / dᵀ d``, at least 1; without a direction the largest it can be, ``1 + 2 Σ ρ``.
    """
    factor = 1.0
    if direction is not None and not direction.any():
        return factor
    for lag, one in enumerate(correlation, start=1):
        alike = 1.0 if direction is None else float(direction[lag:] @ direction[:-lag] / (direction @ direction))
        factor += 2 * one * alike
    return max(1.0, factor)
