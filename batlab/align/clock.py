"""When each frame began and ended, on the clock of the record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab.align.windows import Windows
from batlab.errors import SchemaError

Offset = float | Callable[[Any], Any]


class Clock(NamedTuple):
    """Frames and record in seconds since `zero`, which is None where neither has a date."""

    zero: np.datetime64 | None
    records: np.ndarray
    windows: Windows
    offset: np.ndarray


def common_clock(series: xr.Dataset, cell: xr.Dataset, start: Any, interval: float | None, offset: Offset) -> Clock:
    """Put the exposures and the record on one clock.

    Raises
    ------
    ValueError
        Nothing says when the frames began, or a date meets a record without one.
    SchemaError
        The record has no time, or runs backwards.
    """
    after, moment = _frames(series, start, interval)
    exposure = _exposure(series, interval)
    if isinstance(moment, np.datetime64):
        if "time" not in cell:
            raise ValueError(
                "the record has no date, only test_time, so frames with a date cannot be placed on it; open the "
                "record with start=… (its date), or give start= in seconds of its test_time"
            )
        begin = _first_date(cell, moment)
        records, first = seconds_since(cell["time"].values, begin), after + seconds_since(np.asarray([moment]), begin)
        zero: np.datetime64 | None = begin
    else:
        records, zero = _test_time(cell), _date_of_zero(cell)
        first = after + moment
    if not np.isfinite(records).all() or (np.diff(records) < 0).any():
        raise SchemaError("the record's clock runs backwards or has holes; sort or drop those records first")
    shift = _shift(offset, first, zero)
    return Clock(zero, records, Windows(first + shift, first + shift + exposure), shift)


def utc(moment: Any) -> np.datetime64:
    """Return a date as datetime64[ns] in UTC; text and datetimes without a zone are UTC, others are converted.

    Examples
    --------
    >>> utc("2024-03-31T03:30:00+02:00")
    np.datetime64('2024-03-31T01:30:00.000000000')
    """
    if isinstance(moment, np.datetime64):
        return moment.astype("datetime64[ns]")
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError as error:
            raise ValueError(f"start must be a date such as '2024-03-31T12:00:00', got {moment!r}") from error
    if not isinstance(moment, datetime):
        raise TypeError(f"start must be a date or seconds, got {type(moment).__name__}")
    zone = moment.tzinfo if moment.tzinfo is not None else UTC
    return np.datetime64(moment.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None), "ns")


def _frames(series: xr.Dataset, start: Any, interval: float | None) -> tuple[np.ndarray, np.datetime64 | float]:
    """Return the start of each frame in seconds after a first moment, and that moment."""
    n_frames = series.sizes["frame"]
    if interval is not None and not (np.isfinite(interval) and interval > 0):
        raise ValueError(f"interval must be seconds above 0, got {interval!r}")
    has_time = "time" in series and series["time"].dims == ("frame",)
    if start is None and not has_time and "test_time" in series and series["test_time"].dims == ("frame",):
        return np.asarray(series["test_time"].values, dtype=float), 0.0
    if start is None and not has_time:
        raise ValueError(
            f"the {n_frames} frames have no time; say when the first began with start= (a date in UTC, or seconds of "
            "the record's test_time) and how far apart they begin with interval= in seconds"
        )
    if interval is not None and start is not None:
        after = np.arange(n_frames) * float(interval)
    elif has_time:
        stamps = series["time"].values.astype("datetime64[ns]")
        known = stamps[~np.isnat(stamps)]
        zero = known[0] if known.size else np.datetime64(0, "ns")
        after = seconds_since(stamps, zero)
        if start is None:
            return after, zero
    else:
        raise ValueError("start= alone says only when the first frame began; give interval= in seconds too")
    if isinstance(start, (int, float, np.integer, np.floating)) and not isinstance(start, bool):
        return after, float(start)
    return after, utc(start)


def _exposure(series: xr.Dataset, interval: float | None) -> np.ndarray:
    n_frames = series.sizes["frame"]
    if "exposure" in series:
        exposure = np.broadcast_to(np.asarray(series["exposure"].values, dtype=float), n_frames)
        if (exposure < 0).any():
            raise ValueError(f"exposure must be at least 0 s, got {np.nanmin(exposure):g}")
        return exposure
    if interval is None:
        raise ValueError("the frames have no exposure; assign it in seconds, or give interval= (no pause between them)")
    return np.full(n_frames, float(interval))


def _test_time(cell: xr.Dataset) -> np.ndarray:
    if "test_time" not in cell:
        listed = ", ".join(map(str, cell.variables))
        raise SchemaError(f"start= in seconds needs a record with test_time, it has {listed}; give a date instead")
    return np.asarray(cell["test_time"].values, dtype=float)


def _first_date(cell: xr.Dataset, otherwise: np.datetime64) -> np.datetime64:
    stamps = cell["time"].values.astype("datetime64[ns]")
    known = stamps[~np.isnat(stamps)]
    return known[0] if known.size else otherwise


def _date_of_zero(cell: xr.Dataset) -> np.datetime64 | None:
    """Return the date at which test_time was 0, None for a record without a date."""
    if "time" not in cell or not cell.sizes["record"] or np.isnat(cell["time"].values[0]):
        return None
    return dates(-np.asarray(cell["test_time"].values[:1], dtype=float), cell["time"].values[0])[0]


def seconds_since(stamps: np.ndarray, zero: np.datetime64) -> np.ndarray:
    """Return seconds since `zero`, NaN for a missing time."""
    passed = stamps.astype("datetime64[ns]") - zero
    return np.where(np.isnat(passed), np.nan, passed.astype(np.int64) / 1e9)


def _shift(offset: Offset, first: np.ndarray, zero: np.datetime64 | None) -> np.ndarray:
    if not callable(offset):
        value = float(offset)
        if not np.isfinite(value):
            raise ValueError(f"offset must be seconds or a clock model, got {offset!r}")
        return np.full(first.shape, value)
    moments = first if zero is None else dates(first, zero)
    shift = np.asarray(offset(moments), dtype=float)
    if shift.shape not in ((), first.shape):
        raise ValueError(f"the clock model must give one offset in seconds a frame, got shape {shift.shape}")
    return np.broadcast_to(shift, first.shape).astype(float)


def dates(seconds: np.ndarray, zero: np.datetime64) -> np.ndarray:
    """Return datetime64[ns] for seconds since `zero`; NaT for NaN."""
    known = np.isfinite(seconds)
    nanoseconds = np.round(np.where(known, seconds, 0.0) * 1e9).astype(np.int64).astype("timedelta64[ns]")
    return np.where(known, zero + nanoseconds, np.datetime64("NaT", "ns"))


def plain(value: Any) -> Any:
    """Return a moment or a clock model as what a line of ``history`` says of it."""
    if isinstance(value, (datetime, np.datetime64)):
        return str(value)
    if not callable(value):
        return value
    return (
        f"{type(value).__name__}({value.lag:.3f} s)" if hasattr(value, "lag") else getattr(value, "__name__", "model")
    )
