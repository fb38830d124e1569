"""Local clocks into UTC, with the hour that is missing in spring and the one that comes twice in autumn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import xarray as xr

from batlab.align.clock import seconds_since
from batlab.errors import SchemaError, choose
from batlab.schema import LEADING, quantity, record

SLOT = np.timedelta64(15, "m")  # zones change their clocks on quarters of an hour
NAME = "align.mend_clock"
HALF_HOUR = 1800.0  # the smallest change of a clock in use (Lord Howe)


def local_to_utc(moments: Any, timezone: str, *, double: str | None = None) -> np.ndarray:
    """Return the times of a local clock, in the order in which they were written, as datetime64[ns] in UTC.

    Parameters
    ----------
    moments
        Local times without a zone: datetime64 or ISO text.
    timezone
        Name of the zone, ``"Europe/Paris"``.
    double
        Which pass of the hour that comes twice is meant, ``"first"`` or ``"second"``. None: what runs back by itself
        says it (the second pass begins where the clock runs back); else the hour is refused.

    Raises
    ------
    ValueError
        `timezone` is no zone; a time that the clock never showed; a time that it showed twice, with `double` None.

    Examples
    --------
    >>> local_to_utc(["2024-10-27T02:50", "2024-10-27T02:10"], "Europe/Paris").astype("datetime64[m]").tolist()
    [datetime.datetime(2024, 10, 27, 0, 50), datetime.datetime(2024, 10, 27, 1, 10)]
    >>> local_to_utc(["2024-03-31T02:30"], "Europe/Paris")
    Traceback (most recent call last):
        ...
    ValueError: 2024-03-31T02:30:00 never was in Europe/Paris: its clocks went forward by 60 min then; if this clock \
was not set, give its fixed zone, such as timezone='Etc/GMT-1', or 'UTC'
    """
    choose("double", double, [None, "first", "second"])
    zone = _zone(timezone)
    stamps = np.atleast_1d(np.asarray(moments)).astype("datetime64[ns]")
    known = ~np.isnat(stamps)
    slots, where = np.unique((stamps[known] - np.datetime64(0, "ns")) // SLOT, return_inverse=True)
    early, late, missing = np.array([_offsets(int(slot), zone) for slot in slots]).reshape(-1, 3).T
    if missing.any():
        first = stamps[known][missing[where] > 0][0]
        raise ValueError(_never(first, timezone, early[missing > 0][0], late[missing > 0][0]))
    second = _second_pass(stamps[known], (early != late)[where], timezone, double)
    offset = np.where(second, late[where], early[where]).astype("timedelta64[s]")
    result = stamps.copy()
    result[known] = stamps[known] - offset
    return result.reshape(np.shape(moments))


def mend_clock(ds: xr.Dataset, *, timezone: str | None = None) -> xr.Dataset:
    """Return a series or a record whose ``time`` no longer jumps where the computer's clock was set.

    Where there is ``test_time``, which nobody sets, it tells every jump of half an hour or more, both ways, that is
    a multiple of half an hour to within a minute. Without it ``time`` is compared with the usual interval: where it
    runs back, by about whole half hours, the clock was set back; where it skips forward by as much, that is a pause,
    unless it makes good an earlier step back or, with `timezone`, the zone's clocks went forward in that night.

    Parameters
    ----------
    ds
        Over ``frame`` or ``record`` with ``time``.
    timezone
        Zone of the local clock that wrote ``time``, where the times were taken as UTC.

    Returns
    -------
    xarray.Dataset
        The same with ``time`` as if the clock had run on by what it showed at first; ``clock_set`` [s] is what was
        added, which `undo` takes off again (attribute ``clock_jumps``: the steps that were found, 0 of them if none).

    Raises
    ------
    SchemaError
        No ``time``; it runs backwards by what is no multiple of half an hour.

    Examples
    --------
    >>> seconds = np.array([0, 60, 120, 180 - 3600, 240 - 3600])
    >>> stamps = np.datetime64("2024-10-27T02:57", "ns") + seconds.astype("timedelta64[s]")
    >>> series = xr.Dataset(coords={"time": quantity("frame", stamps, "", "start of exposure")})
    >>> mended = mend_clock(series)
    >>> mended.clock_set.values.tolist(), mended.attrs["clock_jumps"]
    ([0.0, 0.0, 0.0, 3600.0, 3600.0], [-3600.0])
    """
    dim = next((dim for dim in LEADING if "time" in ds and ds["time"].dims == (dim,)), None)
    if dim is None:
        raise SchemaError(f"{NAME} needs 'time' over ('frame',) or ('record',), got {sorted(map(str, ds.coords))}")
    stamps = ds["time"].values.astype("datetime64[ns]")
    known = np.flatnonzero(~np.isnat(stamps))
    step = np.diff(seconds_since(stamps[known], stamps[known[0]])) if known.size else np.zeros(0)
    if "test_time" in ds and ds["test_time"].dims == (dim,):
        excess = step - np.diff(np.asarray(ds["test_time"].values, dtype=float)[known])
        jumps = np.where(_is_set(excess, 60.0), np.round(excess / HALF_HOUR) * HALF_HOUR, 0.0)
    else:
        jumps = _by_interval(stamps[known], step, _zone(timezone) if timezone else None)
    added = np.zeros(stamps.size)
    added[known[1:]] = 0.0 - np.cumsum(jumps)
    result = ds.copy(deep=False)
    moved = stamps + np.round(added * 1e9).astype("timedelta64[ns]")
    result = result.assign_coords(time=(dim, moved, dict(ds["time"].attrs)))
    result = result.assign_coords(clock_set=quantity(dim, added, "s", "seconds added where the clock had been set"))
    result.attrs["clock_jumps"] = [float(one) for one in jumps[jumps != 0]]
    return record(result, NAME, timezone=timezone)


def _by_interval(stamps: np.ndarray, step: np.ndarray, zone: ZoneInfo | None) -> np.ndarray:
    jumps = np.zeros(step.shape)
    forward = step[step > 0]
    usual = float(np.median(forward)) if forward.size else 0.0
    owed = 0.0
    for at in np.flatnonzero((step < 0) | _is_set(step - usual, usual + 1.0)):
        jump = float(np.round((step[at] - usual) / HALF_HOUR) * HALF_HOUR)
        if step[at] < 0 and not (jump and _is_set(np.array([step[at] - usual]), usual + 60.0)[0]):
            raise SchemaError(
                f"{NAME}: time runs back by {-step[at]:.1f} s after {str(stamps[at])[:19]}, no whole half hour "
                f"beside the usual {usual:.4g} s; sort or drop those {stamps.size - at - 1} first"
            )
        if jump < 0 or jump == owed or (zone is not None and _went_forward(stamps[at], jump, zone)):
            jumps[at] = jump
            owed = -jump if jump < 0 else 0.0
    return jumps


def _is_set(excess: np.ndarray, within: float) -> np.ndarray:
    """Return where a step is off by half hours, to within so many seconds."""
    halves = np.round(excess / HALF_HOUR)
    return (halves != 0) & (np.abs(excess - halves * HALF_HOUR) <= within)


def _went_forward(before: np.datetime64, jump: float, zone: ZoneInfo) -> bool:
    """Return whether a zone's clocks went forward by `jump` within two hours after a local time."""
    slot = int((before - np.datetime64(0, "ns")) // SLOT)
    told = [_offsets(one, zone)[0] for one in (slot, slot + int((jump + 7200) // 900))]
    return told[1] - told[0] == jump


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"timezone must be a name such as 'Europe/Paris', got {timezone!r}") from error


def _offsets(slot: int, zone: ZoneInfo) -> tuple[float, float, float]:
    """Return seconds east of UTC for the first and the second pass of a local quarter of an hour, and 1 if none was."""
    naive = datetime.fromtimestamp(slot * 900, UTC).replace(tzinfo=None)
    early, late = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    back = early.astimezone(UTC).astimezone(zone).replace(tzinfo=None)
    told = [float(one.utcoffset().total_seconds()) for one in (early, late)]  # type: ignore[union-attr]
    return told[0], told[1], float(back != naive)


def _never(stamp: np.datetime64, timezone: str, before: float, after: float) -> str:
    hours = int(min(before, after) // 3600)
    return (
        f"{str(stamp)[:19]} never was in {timezone}: its clocks went forward by {abs(after - before) / 60:.0f} min "
        f"then; if this clock was not set, give its fixed zone, such as timezone='Etc/GMT{-hours:+d}', or 'UTC'"
    )


def _second_pass(stamps: np.ndarray, is_double: np.ndarray, timezone: str, double: str | None) -> np.ndarray:
    """Return which of the times belong to the second pass of an hour that comes twice."""
    second = np.zeros(stamps.shape, dtype=bool)
    if double is not None or not is_double.any():
        second[is_double] = double == "second"
        return second
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_double.astype(int), [0]])))
    for begin, end in edges.reshape(-1, 2):
        back = begin + 1 + np.flatnonzero(np.diff(stamps[begin:end]) < np.timedelta64(0))
        if back.size != 1:
            told = "runs back more than once" if back.size else "came twice that night"
            raise ValueError(
                f"{str(stamps[begin])[:19]} in {timezone} {told}, and nothing says which is meant; give double='first' "
                "or 'second', or times in UTC"
            )
        second[back[0] : end] = True
    return second
