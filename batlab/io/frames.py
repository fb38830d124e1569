"""Detector frames as a Dataset, from whatever file they came."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.detector_facts import Facts
from batlab.schema import quantity


def frames_dataset(
    array: Any, numbers: np.ndarray, facts: Facts, *, lost: list[int], timezone: str | None = None
) -> xr.Dataset:
    """Return `array` (frame, y, x) with its mask, times and attributes.

    Parameters
    ----------
    array
        Lazy frames as stored.
    numbers
        Their numbers in the series, which become the coordinate ``frame``.
    facts
        What the file says of the detector.
    lost
        Numbers of the frames that are not there.
    timezone
        Zone of a start time that states none, ``"Europe/Paris"``.
    """
    overflow = _believable(array, facts)
    mask, told = _mask(array, facts, overflow)
    variables = {"intensity": quantity(("frame", "y", "x"), array, "count", "counts in the pixel")}
    if mask is not None:
        variables["mask"] = quantity(("y", "x"), mask, "1", "pixel is excluded", comment=told)
    if facts.flat is not None:
        variables["flat"] = quantity(("y", "x"), facts.flat, "1", "flat field, not yet applied")
    if facts.monitor is not None and numbers.size and numbers[-1] < facts.monitor.size:
        variables["monitor"] = quantity("frame", facts.monitor[numbers], "1", "beam monitor")
    coords = {"frame": quantity("frame", numbers.astype(np.int64), "1", "frame")}
    if facts.exposure is not None:
        seconds = np.full(len(numbers), facts.exposure)
        coords["exposure"] = quantity("frame", seconds, "s", "exposure time")
    attrs = dict(facts.attrs)
    if facts.start is not None:
        begin = utc(facts.start, timezone)
        if begin is None:
            attrs["start_time_local"] = facts.start
        elif facts.period is not None or len(numbers) == 1:
            steps = np.round(numbers * (facts.period or 0.0) * 1e9).astype("timedelta64[ns]")
            coords["time"] = quantity("frame", begin + steps, "", "start of exposure, UTC")
    attrs["overflow"] = [int(value) for value in overflow]
    if lost:
        attrs["lost_frames"] = [int(number) for number in lost]
    return xr.Dataset(variables, coords, attrs)


def utc(text: str, timezone: str | None = None) -> np.datetime64 | None:
    """Return an ISO time in UTC; None where it states no zone and none is given.

    Raises
    ------
    ReadError
        It is no time, or `timezone` is no zone.
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ReadError(f"the start time {text!r} is no ISO time") from error
    if when.tzinfo is None:
        if timezone is None:
            return None
        try:
            when = when.replace(tzinfo=ZoneInfo(timezone))
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ReadError(f"timezone must be a name such as 'UTC' or 'Europe/Paris', got {timezone!r}") from error
    return np.datetime64(when.astimezone(UTC).replace(tzinfo=None), "ns")


def _believable(array: Any, facts: Facts) -> tuple[int, ...]:
    """Return the overflow values, less those below 0 where the first frame has honest negative numbers."""
    if array.dtype.kind != "i" or not any(value < 0 for value in facts.overflow):
        return facts.overflow
    lowest = int(np.asarray(array[0]).min(initial=0))
    if lowest >= -2:
        return facts.overflow
    warnings.warn(
        f"the first frame has values down to {lowest}: -1 and -2 are taken as numbers, not as marks of dead pixels; "
        "set attrs['overflow'] if they are",
        UserWarning,
        stacklevel=3,
    )
    return tuple(value for value in facts.overflow if value >= 0)


def _mask(array: Any, facts: Facts, overflow: tuple[int, ...]) -> tuple[np.ndarray | None, str]:
    """Return the stated mask, or the pixels that hold a mark in both the first and the last frame."""
    if facts.mask is not None:
        return facts.mask, "the file's pixel mask"
    if not overflow:
        return None, ""
    marks = np.array(overflow, np.int64)
    mask = np.isin(np.asarray(array[0]).astype(np.int64), marks)
    if array.shape[0] > 1:
        mask &= np.isin(np.asarray(array[-1]).astype(np.int64), marks)
    return mask, f"pixels that hold one of {list(overflow)} in the first and the last frame"
