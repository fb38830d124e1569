"""A signal as a function of what the cell did in each exposure, at a trial lag and drift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from batlab.align.lag_response import Response, Solution, solve
from batlab.align.switches import Switched, net_charge, switched
from batlab.align.windows import Integral, Windows, covered, gaps

FINEST = 200  # pieces of the quantity's range: longer lines of the record are cut, so that a curve of it stays one


REST = 0.01  # of the strongest current: less neither charges nor discharges


@dataclass(frozen=True)
class Quantity:
    """What the cell did, over its record; `is_gap` of the intervals between `times`, `fine_…` cut more finely."""

    times: np.ndarray
    is_gap: np.ndarray
    fine_times: np.ndarray
    fine_values: np.ndarray
    fine_charging: np.ndarray | None = None  # 1 while it charges or has charged last, 0 while it discharges


@dataclass(frozen=True)
class Lines:
    """What the cell did, as recorded; `columns` (counters, step time) where it is a current whose charge counts."""

    times: np.ndarray
    values: np.ndarray
    current: np.ndarray | None
    columns: dict[str, np.ndarray] | None = None

    def _switched(self, share: float) -> Switched | None:
        if self.columns is None:
            return None
        counter = net_charge(self.times, self.values, self.columns)
        step_time = self.columns.get("step_time")
        return switched(self.times, self.values, counter=counter, step_time=step_time, share=share)

    @cached_property
    def _usual(self) -> Switched | None:
        return self._switched(0.5)

    @property
    def n_open(self) -> int:
        """Switches of the current whose moment nothing tells."""
        return self._usual.n_open if self._usual else 0

    @property
    def longest(self) -> float:
        """The longest time between two lines with such a switch between them [s]."""
        return self._usual.longest if self._usual else 0.0

    def quantity(self, share: float) -> Quantity:
        """Return the quantity, with open switches at `share` of the time between their lines."""
        made = self._switched(share)
        if made is None:
            return quantity_of(self.times, self.values, self.current)
        current = None if self.current is None else made.current
        found = quantity_of(made.times, made.current, current, is_charge=True)
        return replace(found, times=self.times, is_gap=gaps(self.times, None))


def quantity_of(
    times: np.ndarray, values: np.ndarray, current: np.ndarray | None = None, *, is_charge: bool = False
) -> Quantity:
    """Return a quantity of the record, straight from line to line; or, of the current `values`, the charge [Ah]."""
    step = np.diff(times)
    if is_charge:
        change = np.maximum(np.abs(values[1:]), np.abs(values[:-1])) * step
        span = float(np.ptp(_charge(times, values)))
    else:
        change, span = np.abs(np.diff(values)), float(np.ptp(values))
    parts = np.ceil(np.minimum(change / span * FINEST, 10 * FINEST)) if span > 0 else np.zeros(step.shape)
    pieces: np.ndarray = np.maximum(parts, 1).astype(int)
    at = np.repeat(np.arange(step.size), pieces)
    part = (np.arange(at.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[at]

    def fine(column: np.ndarray) -> np.ndarray:
        # Cut line by line: where two lines of the record have one time, the jump between them stays a jump.
        return np.append(column[at] + part * np.diff(column)[at], column[-1])

    fine_times, fine_values = fine(times), fine(values)
    if is_charge:
        fine_values = _charge(fine_times, fine_values) / 3600
    charging = None if current is None else fine(_charging(current))
    return Quantity(times, gaps(times, None), fine_times, fine_values, charging)


def _charge(times: np.ndarray, current: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.diff(times) * (current[1:] + current[:-1]) / 2)])


def _charging(current: np.ndarray) -> np.ndarray:
    """Return 1 while the cell charges, 0 while it discharges; a rest counts as what came before it."""
    known = np.flatnonzero(np.abs(current) > REST * np.abs(current).max(initial=0.0))
    if not known.size:
        return np.zeros(current.shape)
    last = np.clip(np.searchsorted(known, np.arange(current.size), side="right") - 1, 0, None)
    return (current[known[last]] > 0).astype(float)


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

    def split(self, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the response's columns, and the one that tells charge from discharge where it tells anything."""
        columns, charging = means[:, : self.response.n_columns], means[:, self.response.n_columns :]
        return columns, charging[:, np.ptp(charging, axis=0) > 1e-9]

    def solution(self, shift: np.ndarray, rows: np.ndarray) -> Solution:
        """Return the response that fits best at a lag and a drift."""
        weight = self.weight[rows]
        columns, charging = self.split(self.columns(shift, rows))
        free = np.concatenate([self.free[rows] * weight[:, None], charging], axis=1)
        return solve(columns, free, self.signal[rows] * weight, self.response.sign)

    def jacobian(self, shift: np.ndarray, rows: np.ndarray, solution: Solution, step: float) -> np.ndarray:
        """Return how the signal changes with lag and drift, less what the response can take up."""
        later, earlier = (self.columns(shift + [side * step, 0.0], rows) for side in (1, -1))
        change = (later - earlier) / (2 * step)
        n_columns = self.response.n_columns
        slope = change[:, :n_columns] @ solution.factors
        if solution.free_factors.size > self.free.shape[1]:
            slope = slope + change[:, n_columns] * solution.free_factors[-1]
        both = np.stack([slope, slope * (self.start[rows] - self.reference)], axis=1)
        return both - solution.basis @ (solution.basis.T @ both)

    def fitted(self, shift: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the signal as the best response gives it."""
        solution = self.solution(shift, rows)
        return self.signal[rows] - solution.residual / self.weight[rows]

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
    """Return the integral along the record of the response's columns and, with hysteresis, of what charges."""
    columns = response.columns(quantity.fine_values)
    if quantity.fine_charging is not None:
        columns = np.concatenate([columns, quantity.fine_charging[:, None]], axis=1)
    return Integral(quantity.fine_times, columns)


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
