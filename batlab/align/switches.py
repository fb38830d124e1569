"""When a cycler switched the current: at its own record, or between two, where step time or charge counter may tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.align.windows import gaps

LARGE = 0.1  # of the strongest current: a smaller change is no switch
ALONE = 3.0  # times the changes beside it: else the current moves all along, as at constant voltage
STEADY = 0.01  # of the strongest current: records that differ by less hold one current
SLACK = 0.05  # of the time between two records, by which a counter may place a switch beyond it


class Switched(NamedTuple):
    """A record with two lines more at every switch; how many switches nothing places, and the longest time for one."""

    times: np.ndarray
    current: np.ndarray
    n_open: int
    longest: float


def switched(
    times: np.ndarray,
    current: np.ndarray,
    *,
    counter: np.ndarray | None = None,
    step_time: np.ndarray | None = None,
    share: float = 0.5,
) -> Switched:
    """Return a record whose current is held up to each switch between two lines, and then as the next line has it.

    A switch lies where the time of the new step says that it began; else where the charge counter agrees with both
    currents; else at `share` of the time between both lines, which is not known and counted as open.

    Parameters
    ----------
    times, current
        Seconds, not decreasing, and the current of each line, both known.
    counter
        Net charge [A s] that runs on, NaN where it does not, such as where it was reset.
    step_time
        Seconds since the step began.
    share
        From 0, just after the earlier line, to 1, just before the later one.

    Examples
    --------
    >>> made = switched(np.array([0.0, 10, 20, 30]), np.array([1.0, 1, -1, -1]), step_time=np.array([0.0, 10, 4, 14]))
    >>> made.times.tolist(), made.current.tolist(), made.n_open
    ([0.0, 10.0, 16.0, 16.0, 20.0, 30.0], [1.0, 1.0, 1.0, -1.0, -1.0, -1.0], 0)
    """
    rows = _between(times, current)
    before, after, length = times[rows], times[rows + 1], np.diff(times)[rows]
    part = np.full(rows.size, np.nan)
    if step_time is not None:
        began = after - step_time[rows + 1]
        # The clock of the steps may be rounded to seconds.
        is_new = (began >= before - 1.0) & (step_time[rows + 1] < step_time[rows] + length - 1e-3)
        part = np.where(is_new, np.clip((began - before) / length, 0.0, 1.0), part)
    if counter is not None:
        change = np.diff(counter)[rows] / length
        told = (change - current[rows + 1]) / (current[rows] - current[rows + 1])
        told = np.where((told >= -SLACK) & (told <= 1 + SLACK), np.clip(told, 0.0, 1.0), np.nan)
        part = np.where(np.isnan(part), told, part)
    is_open = np.isnan(part)
    moments = before + np.where(is_open, share, part) * length
    at = np.repeat(rows + 1, 2)
    return Switched(
        np.insert(times, at, np.repeat(moments, 2)),
        np.insert(current, at, np.stack([current[rows], current[rows + 1]], axis=1).ravel()),
        int(is_open.sum()),
        float(length[is_open].max(initial=0.0)),
    )


def _between(times: np.ndarray, current: np.ndarray) -> np.ndarray:
    """Return after which records the current jumps, by itself, before the next one."""
    if times.size < 3:
        return np.zeros(0, dtype=int)
    change, length = np.abs(np.diff(current)), np.diff(times)
    largest = float(np.abs(current).max(initial=0.0))
    moving = np.where(length > 0, change, 0.0)  # a jump between two lines of one time was recorded
    beside = np.maximum(np.append(0.0, moving[:-1]), np.append(moving[1:], 0.0))
    is_jump = (length > 0) & (change > LARGE * largest) & (change > ALONE * beside) & ~gaps(times, None)
    return np.flatnonzero(is_jump)


def net_charge(times: np.ndarray, current: np.ndarray, counters: dict[str, np.ndarray]) -> np.ndarray | None:
    """Return the cycler's net charge [A s] from its counters [Ah], None unless it is that of the current beside it.

    It is believed where it counts ``I Δt`` within 2 % while the current holds, both ways; steps that no current could
    make, such as a reset, are left for `switched` to pass over.
    """
    up, down = counters.get("charge_capacity"), counters.get("discharge_capacity")
    candidates = [] if up is None or down is None else [up - down]
    if "capacity" in counters:
        candidates.append(counters["capacity"])
    length, largest = np.diff(times), float(np.abs(current).max(initial=0.0))
    holds = (np.abs(np.diff(current)) <= STEADY * largest) & (length > 0)
    expected = length * (current[1:] + current[:-1]) / 2
    for one in candidates:
        counted = 3600 * np.diff(one)
        ways = [holds & np.isfinite(counted) & (sign * current[1:] > LARGE * largest) for sign in (1, -1)]
        if all(_agree(counted[way], expected[way]) for way in ways if way.any()) and any(way.any() for way in ways):
            return 3600 * one
    return None


def _agree(counted: np.ndarray, expected: np.ndarray) -> bool:
    return bool(abs(np.median(counted / expected) - 1) < 0.02)
