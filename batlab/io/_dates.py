"""Times as cyclers write them: hh:mm:ss with days, dates of a local clock in any order, and what both say together."""

from __future__ import annotations

import re
import warnings
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np

from batlab.errors import ReadError, choose
from batlab.io import local_clock, shapes
from batlab.io._table import MISSING, Table

ORDERS = ("month_first", "day_first")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CENTURY = 69  # years of two digits: 69 to 99 are of the last century, as POSIX has it
FARTHEST = 9e9  # s from 1970; nanoseconds since 1970 end in 2262
SAME = 2.0  # s; dates are whole seconds, truncated or rounded, of a second clock
_CLOCK = r"^\s*(?:(?P<d>\d+)\s*[dD-]\w*[ ,]*)?(?P<h>\d+):(?P<m>[0-5]?\d):(?P<s>[0-5]?\d(?:[.,]\d*)?)\s*$"
_PARTS = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0))
_STAMP = re.compile(
    r"^\s*(?P<one>\d{1,4})(?P<sign>[/.-])(?P<two>\d{1,2}|[A-Za-z]{3})(?P=sign)(?P<three>\d{2,4})"
    r"(?:[ T]+(?P<h>\d{1,2}):(?P<m>\d\d):(?P<s>\d\d)(?P<fraction>[.,]\d+)?(?P<half>\s*[AaPp][Mm])?)?\s*$"
)
_EPOCH = datetime(1970, 1, 1)


def is_clock(word: str) -> bool:
    """Return whether a word is a time hh:mm:ss, with or without days."""
    return re.match(_CLOCK, word) is not None


def seconds_of_clock(table: Table, column: int) -> np.ndarray:
    """Return a column of hh:mm:ss, with hours beyond 24 or days before them, as seconds; NaN where it is empty.

    Raises
    ------
    ReadError
        For a word that is no time, with its line.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    words = table.arrow(column)
    total = shapes.numbers(words, re.compile(_CLOCK), _clock)
    rest = np.flatnonzero(np.isnan(total))
    if rest.size:
        parts = pc.extract_regex(words.take(pa.array(rest)), pattern=_CLOCK)
        total[rest] = 0.0
        for name, factor in _PARTS:
            part = pc.replace_substring(pc.struct_field(parts, name), ",", ".")
            empty = pc.equal(part, "")
            read = pc.if_else(empty, "0", part).cast(pa.float64())
            total[rest] += factor * np.array(read.to_numpy(zero_copy_only=False))
    for row in np.flatnonzero(np.isnan(total)):
        word = words[int(row)].as_py()
        if word.strip().lower() not in MISSING:
            raise ReadError(f"{table.name}: line {table.lines[int(row)]}: {word[:40]!r} is no time hh:mm:ss")
    return total


def _clock(found: re.Match[str], number: shapes.Number) -> np.ndarray:
    """Return times of one shape as seconds, to the last bit as if each word were read by itself."""
    minutes, seconds = number("m"), number("s") / 10.0 ** _decimals(found["s"])
    total = sum(factor * number(name) for name, factor in _PARTS[:2] if found[name]) + 60.0 * minutes
    return np.where((minutes < 60) & (seconds < 60), total + seconds, np.nan)


def _decimals(word: str) -> int:
    return len(re.split("[.,]", word, maxsplit=1)[-1]) if re.search("[.,]", word) else 0


def order_of(words: list[str], span: float, name: str, given: str | None) -> str:
    """Return which of "month_first" and "day_first" fits dates with slashes, dots or hyphens.

    A number above 12 tells; else, of the first and last date, the order that fits the test's length `span` [s].

    Warns
    -----
    UserWarning
        Both fit: the month is taken to stand first, as the makers' own settings have it.
    """
    if given is not None:
        choose("date_order", given, ORDERS)
        return given
    found = [match for match in map(_STAMP.match, words) if match]
    numeric = [m for m in found if m["two"].isdigit() and len(m["one"]) < 4 and m["sign"] == "/"]
    if not numeric:
        return "day_first"  # dots, month names and ISO dates leave no choice
    if any(int(m["one"]) > 12 for m in numeric):
        return "day_first"
    if any(int(m["two"]) > 12 for m in numeric) or all(m["one"] == m["two"] for m in numeric):
        return "month_first"
    first, last = numeric[0][0], numeric[-1][0]
    off = {order: abs(moment(last, name, order) - moment(first, name, order) - span) for order in ORDERS}
    if abs(off["month_first"] - off["day_first"]) > 3600:
        return min(off, key=lambda order: off[order])
    warnings.warn(
        f"{name}: {numeric[0][0].strip()!r} may have the month or the day first, it is read as month first; pass "
        "date_order='day_first' if it is not",
        UserWarning,
        stacklevel=5,
    )
    return "month_first"


def moment(word: str, name: str, order: str) -> float:
    """Return one date as seconds since 1970 of its own clock."""
    found = _STAMP.match(word)
    told = f"{name}: {word[:40]!r} is no date with time"
    if not found:
        raise ReadError(told)
    try:
        return _seconds(found, order)
    except ValueError as error:
        raise ReadError(told) from error


def _day(found: re.Match[str], order: str) -> tuple[str, str, str]:
    """Return which parts of a date are its year, month and day."""
    if len(found["one"]) == 4:
        return "one", "two", "three"
    return ("three", "one", "two") if order == "month_first" and found["two"].isdigit() else ("three", "two", "one")


def _month(word: str) -> int:
    return MONTHS.index(word.lower()) + 1


def _seconds(found: re.Match[str], order: str) -> float:
    names = _day(found, order)
    year, month, day = (int(found[name]) if found[name].isdigit() else _month(found[name]) for name in names)
    if len(found[names[0]]) < 4 and year < 100:
        year += 2000 if year < CENTURY else 1900
    hour = int(found["h"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].strip().lower() == "pm" else 0)
    whole = datetime(year, month, day, hour, int(found["m"] or 0), int(found["s"] or 0))
    return (whole - _EPOCH) / timedelta(seconds=1) + float((found["fraction"] or "0").replace(",", "."))


def dates(table: Table, column: int, order: str) -> np.ndarray:
    """Return a column of dates as seconds since 1970 of the file's own clock, NaN where it is empty.

    Raises
    ------
    ReadError
        For a word that is no date, with its line.
    """
    words = table.arrow(column)
    values = shapes.numbers(words, _STAMP, partial(_stamp, order=order))
    for row in np.flatnonzero(np.isnan(values)):
        word = words[int(row)].as_py()
        if word.strip().lower() in MISSING:
            continue
        try:
            values[row] = moment(word, "", order)
        except ReadError as error:
            raise ReadError(
                f"{table.name}: line {table.lines[int(row)]}, column {table.names[column]!r} holds {word[:40]!r}, "
                "which is no date with time"
            ) from error
    far = np.flatnonzero(np.abs(np.nan_to_num(values)) > FARTHEST)
    if far.size:
        at = int(far[0])
        word = words[at].as_py()[:40]
        raise ReadError(f"{table.name}: line {table.lines[at]}: the date {word!r} is out of range")
    return values


def _stamp(found: re.Match[str], number: shapes.Number, order: str) -> np.ndarray | None:
    """Return dates of one shape as seconds since 1970; NaN where there is no such day, None where nothing is told."""
    names = _day(found, order)
    is_known = found["two"].isdigit() or found["two"].lower() in MONTHS
    if not is_known or len(found[names[0]]) not in (2, 4) or len(found[names[2]]) > 2:
        return None
    year, month, day = (number(name) if found[name].isdigit() else np.int64(_month(found[name])) for name in names)
    if len(found[names[0]]) == 2:
        year = year + np.where(year < CENTURY, 2000, 1900)
    hour, minute, second = (number(name) if found[name] else np.int64(0) for name in ("h", "m", "s"))
    is_time = (hour < 24) & (minute < 60) & (second < 60)
    if found["half"]:
        is_time &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if found["half"].strip().lower() == "pm" else 0)
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    days = months.astype("M8[D]") + (day - 1).astype("m8[D]")
    is_day = (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("M8[M]") == months)
    whole = days.astype(np.int64) * 86400 + hour * 3600 + minute * 60 + second
    fraction = number("fraction") / 10.0 ** (len(found["fraction"]) - 1) if found["fraction"] else 0.0
    return np.where(is_time & is_day, whole + fraction, np.nan)


def unit_of_time(counted: np.ndarray, seconds: np.ndarray) -> str | None:
    """Return the unit ("s", "min" or "h") in which a time that names none agrees with the dates [s] beside it."""
    known = np.isfinite(seconds) & np.isfinite(counted)
    if not known.any():
        return None
    took, length = float(np.ptp(seconds[known])), float(np.ptp(counted[known]))
    for unit, factor in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if length > 0 and abs(took - length * factor) <= max(0.02 * took, SAME):
            return unit
    return None


def to_utc(seconds: np.ndarray, zone: ZoneInfo | None) -> np.ndarray:
    """Return seconds of a local clock as seconds UTC; of a double hour the first pass is taken."""
    if zone is None:
        return seconds
    moments = local_clock.to_utc(to_datetime(seconds), zone)
    return np.where(np.isnat(moments), np.nan, (moments - np.datetime64(0, "ns")) / np.timedelta64(1, "s"))


def to_datetime(seconds: np.ndarray) -> np.ndarray:
    """Return seconds since 1970 as datetime64[ns], to the microsecond that a 64-bit number holds; NaN is NaT."""
    result = np.full(len(seconds), np.datetime64("NaT"), dtype="M8[ns]")
    known = np.isfinite(seconds)
    result[known] = np.round(seconds[known] * 1e6).astype("M8[us]")
    return result


def timeline(seconds: np.ndarray, test_time: np.ndarray, name: str) -> np.ndarray:
    """Return the time of each record [datetime64] from its date [s, UTC] and the test time [s].

    Where dates and test time agree to `SAME` seconds all along, the test time gives the fractions of a second; where
    the test paused, the dates alone count; where they fall, the first date and the test time.

    Warns
    -----
    UserWarning
        The dates fall, or run an hour apart from the test time, as at a change of daylight saving.
    """
    offset = seconds - test_time
    known = np.isfinite(offset)
    if not known.any():
        return to_datetime(seconds)
    span = float(np.ptp(offset[known]))
    middle = float(offset[known].min() + offset[known].max()) / 2
    if span <= SAME and np.isfinite(test_time).all():
        return to_datetime(middle + test_time)
    rows = np.flatnonzero(known)
    falls = np.flatnonzero(np.diff(seconds[known]) < 0)
    steps = np.diff(offset[known])
    hour = np.flatnonzero(np.abs(np.abs(steps) - 3600) <= SAME)
    if falls.size:
        row = int(rows[falls[0] + 1])
        by = float(seconds[rows[falls[0]]] - seconds[row])
        _told(
            name,
            f"the dates fall by {by:g} s at record {row} (daylight saving, or the clock was set); 'time' counts the "
            "test time from the first date",
        )
        return to_datetime(offset[rows[0]] + test_time)
    if hour.size:
        row = int(rows[hour[0] + 1])
        _told(
            name,
            f"the dates gain {steps[hour[0]]:g} s on the test time at record {row}, as at a change of daylight saving; "
            "'time' follows the dates: pass timezone= to have them in UTC",
        )
    return to_datetime(seconds)


def _told(name: str, what: str) -> None:
    warnings.warn(f"{name}: {what}", UserWarning, stacklevel=6)
