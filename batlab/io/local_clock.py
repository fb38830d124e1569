"""A cycler's wall clock, which names no zone, told in UTC."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

EXCEL_EPOCH = np.datetime64("1899-12-30", "ns")  # day 0 of OLE automation and of Excel's serial dates
UNSTATED = "local, zone not stated"


def zone_of(timezone: str | None) -> ZoneInfo | None:
    """Return the zone of that name, None for None.

    Raises
    ------
    ValueError
        No zone has this name.
    """
    if timezone is None:
        return None
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"timezone must be a name such as 'Europe/Paris', got {timezone!r}") from error


def to_utc(local: np.ndarray, zone: ZoneInfo | None) -> np.ndarray:
    """Return wall-clock times (datetime64[ns]) in UTC; without a zone they stand as they are.

    The hour that is double when summer time ends is taken as its first pass.

    Examples
    --------
    >>> str(to_utc(np.array(["2022-07-26T22:38:30"], "M8[ns]"), ZoneInfo("Europe/Paris"))[0])[:19]
    '2022-07-26T20:38:30'
    """
    if zone is None:
        return local
    known = ~np.isnat(local)
    # Zones change on quarters of an hour: one look-up each, however many records fall into it.
    quarters, place = np.unique(local[known].astype("M8[m]").astype(np.int64) // 15, return_inverse=True)
    starts = (quarters * 15).astype("M8[m]").astype(datetime)
    offsets = [start.replace(tzinfo=zone).utcoffset().total_seconds() for start in starts]
    result = local.copy()
    result[known] -= (np.array(offsets) * 1e9).astype("m8[ns]")[place]
    return result


def from_serial(days: np.ndarray) -> np.ndarray:
    """Return the times (datetime64[ns]) that days since 30 December 1899 mean, rounded to a millisecond.

    A day's fraction in 64 bits is good to a microsecond. What is no number, or lies outside 1980 to 2200, is NaT.

    >>> str(from_serial(np.array([45301.460068125]))[0])
    '2024-01-10T11:02:29.886000000'
    """
    days = np.asarray(days, float)
    whole = np.where((days > 29221) & (days < 109575), days, np.nan)
    steps = np.where(np.isfinite(whole), np.round(whole * 86_400_000.0), 0).astype("m8[ms]")
    return np.where(np.isfinite(whole), EXCEL_EPOCH + steps.astype("m8[ns]"), np.datetime64("NaT", "ns"))


def warn_unstated(name: str, stacklevel: int = 3) -> None:
    """Warn that the clock of the file `name` is taken as UTC because nothing says its zone."""
    warnings.warn(
        f"{name}: its clock is local time without a zone and is taken as UTC; pass timezone='Europe/Paris' (or where "
        "it was measured), or timezone='UTC'",
        UserWarning,
        stacklevel=stacklevel + 1,
    )


def told(zone: ZoneInfo | None, start: Any = None) -> str:
    """Return what the attribute ``clock`` says."""
    if start is not None:
        return "start given by the user"
    return zone.key if zone else UNSTATED
