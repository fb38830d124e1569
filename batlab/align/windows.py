"""Exact means over time windows of a record that runs straight from one line to the next."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

GAP_FACTOR = 10.0
DOUBTFUL_CHARGE = 0.05  # of all charge passed: more than this over gaps is told
RESET_DOUBT = 0.25  # of I dt: a counter that moves otherwise by no more is rounded, not reset
RESET_FLOOR = 1e-4  # of the counter's largest value: smaller falls are noise


class Windows(NamedTuple):
    """Exposure windows in seconds on the record's clock."""

    start: np.ndarray
    stop: np.ndarray


def gaps(times: np.ndarray, limit: float | None) -> np.ndarray:
    """Return which of the intervals between records are gaps.

    With a `limit` [s] those above it; else those above 10 times the median interval *and* 10 times both neighbours,
    so that a rest recorded more coarsely throughout is no gap.

    Examples
    --------
    >>> gaps(np.array([0.0, 1.0, 2.0, 60.0, 61.0]), None).tolist()
    [False, False, True, False]
    """
    step = np.diff(times)
    if limit is not None:
        return step > limit
    if step.size < 2:
        return np.zeros(step.shape, dtype=bool)
    positive = step[step > 0]
    usual = np.median(positive) if positive.size else 0.0
    before, after = np.concatenate([[0.0], step[:-1]]), np.concatenate([step[1:], [0.0]])
    return (step > GAP_FACTOR * usual) & (step > GAP_FACTOR * np.maximum(before, after))


def covered(times: np.ndarray, is_gap: np.ndarray, windows: Windows) -> np.ndarray:
    """Return which windows lie wholly within the record and touch no gap."""
    if times.size == 0:
        return np.zeros(windows.start.shape, dtype=bool)
    known = np.isfinite(windows.start) & np.isfinite(windows.stop)
    inside = known & (windows.start >= times[0]) & (windows.stop <= times[-1])
    first, last = _bracket(times, windows)
    n_gaps = np.concatenate([[0], np.cumsum(is_gap)])
    return inside & (n_gaps[np.clip(last, 0, None)] == n_gaps[np.clip(first, 0, None)])


class Integral:
    """The integral of a record that runs straight from line to line, summed once for windows that come and go.

    Parameters
    ----------
    times
        Seconds of the records, not decreasing.
    values
        (record,) or (record, column).
    """

    def __init__(self, times: np.ndarray, values: np.ndarray) -> None:
        self.times = times
        self.centre = values.mean(axis=0)  # sums stay small: short windows late in a long record keep their digits
        self.level = values - self.centre
        step = np.diff(times).reshape(-1, *[1] * (values.ndim - 1))
        pieces = step * (self.level[1:] + self.level[:-1]) / 2
        self.total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(pieces, axis=0)])
        change = np.diff(self.level, axis=0)
        self.slope = np.divide(change, step, out=np.zeros_like(change), where=step > 0)

    def mean(self, windows: Windows) -> np.ndarray:
        """Return the time-weighted mean over each window, (window,) or (window, column)."""
        first, last = _segment(self.times, windows.start), _segment(self.times, windows.stop)
        shape = (-1, *[1] * (self.level.ndim - 1))
        length = (windows.stop - windows.start).reshape(shape)
        past = ((windows.start + windows.stop) / 2 - self.times[first]).reshape(shape)
        within = self.level[first] + self.slope[first] * past
        with np.errstate(invalid="ignore", divide="ignore"):
            across = (self._until(last, windows.stop) - self._until(first, windows.start)) / length
        return self.centre + np.where((first == last).reshape(shape) | (length == 0), within, across)

    def _until(self, segment: np.ndarray, moment: np.ndarray) -> np.ndarray:
        past = (moment - self.times[segment]).reshape(-1, *[1] * (self.level.ndim - 1))
        return self.total[segment] + past * (self.level[segment] + self.slope[segment] * past / 2)


def mean(times: np.ndarray, values: np.ndarray, windows: Windows) -> np.ndarray:
    """Return the time-weighted mean of a piecewise linear record over each window; a window of no length: its value.

    Exact up to rounding: an integral to each record is summed once, the ends of a window are added to it.
    """
    return Integral(times, values).mean(windows)


def charge_mean(times: np.ndarray, current: np.ndarray, windows: Windows) -> np.ndarray:
    """Return the window mean of the net charge since the first record, ``∫ I dt`` [A s], with I piecewise linear.

    The charge is quadratic between records; its mean is taken exactly.
    """
    step = np.diff(times)
    slope = np.divide(np.diff(current), step, out=np.zeros_like(step), where=step > 0)
    charge = np.concatenate([[0.0], np.cumsum(step * (current[1:] + current[:-1]) / 2)])
    area = step * (charge[:-1] + step * (current[:-1] / 2 + step * slope / 6))
    total = np.concatenate([[0.0], np.cumsum(area)])
    first, last = _segment(times, windows.start), _segment(times, windows.stop)
    length = windows.stop - windows.start

    def charge_at(segment: np.ndarray, moment: np.ndarray) -> np.ndarray:
        past = moment - times[segment]
        return charge[segment] + past * (current[segment] + slope[segment] * past / 2)

    def until(segment: np.ndarray, moment: np.ndarray) -> np.ndarray:
        past = moment - times[segment]
        return total[segment] + past * (charge[segment] + past * (current[segment] / 2 + slope[segment] * past / 6))

    middle = charge_at(first, (windows.start + windows.stop) / 2) + slope[first] * length**2 / 24
    with np.errstate(invalid="ignore", divide="ignore"):
        across = (until(last, windows.stop) - until(first, windows.start)) / length
    return np.where((first == last) | (length == 0), middle, across)


def held(times: np.ndarray, values: np.ndarray, windows: Windows) -> np.ndarray:
    """Return the value that all records from the last before a window to the first after it share, else NaN."""
    change = (values[1:] != values[:-1]) | ~np.isfinite(values[1:])
    run = np.concatenate([[0], np.cumsum(change)])
    first, last = _bracket(times, windows)
    return np.where(run[first] == run[last], values[first], np.nan)


def warn_of_gaps(times: np.ndarray, current: np.ndarray, gap: float | None, *, stacklevel: int) -> None:
    """Tell of charge that passed in gaps of the record."""
    step = np.diff(times) * np.abs(current[1:] + current[:-1]) / 2 / 3600
    over = step[gaps(times, gap)].sum()
    if over > DOUBTFUL_CHARGE * step.sum():
        warnings.warn(
            f"charge_passed: {over:.3g} of {step.sum():.3g} Ah lie in gaps of the record, where the current is only "
            "drawn as a straight line; trust charge_passed up to the first gap",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def running_counter(counter: np.ndarray, times: np.ndarray, current: np.ndarray | None) -> np.ndarray:
    """Return a charge counter that runs on where the cycler set it back to zero.

    A reset makes the counter smaller and moves it otherwise than ``I Δt`` would (with the sign that the counter
    shows for charging and for discharging, since some count both upwards), by more than 1/4 of it and what a change
    of the current between the two records could explain. Without a current: a fall to below 1 % of what it was. The
    counter then starts from zero, and what it shows is added.

    Examples
    --------
    >>> running_counter(np.array([0.0, 1.0, 2.0, 0.0, 1.0]), np.arange(5) * 3600.0, np.ones(5)).tolist()
    [0.0, 1.0, 2.0, 2.0, 3.0]
    """
    change, size = np.diff(counter), np.abs(counter)
    if current is None:
        reset, most = size[1:] < 0.01 * size[:-1], np.full(change.shape, np.inf)
    else:
        hours = np.diff(times) / 3600
        average = (current[1:] + current[:-1]) / 2
        expected = average * hours
        for direction in (1, -1):
            pure = (np.sign(current[1:]) == direction) & (np.sign(current[:-1]) == direction)
            sign = np.sign(np.median(np.sign(change[pure]))) if pure.any() else direction
            expected[np.sign(average) == direction] *= direction * (sign or direction)
        floor = RESET_FLOOR * size.max(initial=0.0)
        strongest = np.maximum(np.abs(current[1:]), np.abs(current[:-1])) * hours
        doubt = RESET_DOUBT * strongest + np.abs(np.diff(current)) * hours / 2 + floor
        reset = (size[1:] < size[:-1]) & (np.abs(change - expected) > doubt)
        most = (1 + RESET_DOUBT) * strongest + floor
    restart = np.where(size[1:] <= most, counter[1:], 0.0)
    return counter[0] + np.concatenate([[0.0], np.cumsum(np.where(reset, restart, change))])


def _segment(times: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return the record at which the piece that holds each moment begins."""
    return np.clip(np.searchsorted(times, moments, side="right") - 1, 0, max(0, len(times) - 2))


def _bracket(times: np.ndarray, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    first = np.searchsorted(times, windows.start, side="right") - 1
    last = np.searchsorted(times, windows.stop, side="left")
    return np.clip(first, 0, len(times) - 1), np.clip(last, 0, len(times) - 1)
