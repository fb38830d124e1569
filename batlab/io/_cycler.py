"""What every cycler's record shares: units of its columns, names in the data model, the clock, files joined."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.schema import UNITS as MODEL_UNITS
from batlab.schema import quantity

# What files write -> unit of the data model and factor to it.
UNITS: dict[str, tuple[str, float]] = {
    "V": ("V", 1.0),
    "mV": ("V", 1e-3),
    "uV": ("V", 1e-6),
    "A": ("A", 1.0),
    "mA": ("A", 1e-3),
    "uA": ("A", 1e-6),
    "nA": ("A", 1e-9),
    "Ah": ("Ah", 1.0),
    "mAh": ("Ah", 1e-3),
    "uAh": ("Ah", 1e-6),
    "C": ("Ah", 1 / 3600),
    "mC": ("Ah", 1e-3 / 3600),
    "As": ("Ah", 1 / 3600),
    "mAs": ("Ah", 1e-3 / 3600),
    "Wh": ("Wh", 1.0),
    "mWh": ("Wh", 1e-3),
    "uWh": ("Wh", 1e-6),
    "J": ("Wh", 1 / 3600),
    "Ws": ("Wh", 1 / 3600),
    "mWs": ("Wh", 1e-3 / 3600),
    "W": ("W", 1.0),
    "mW": ("W", 1e-3),
    "uW": ("W", 1e-6),
    "s": ("s", 1.0),
    "sec": ("s", 1.0),
    "second": ("s", 1.0),
    "seconds": ("s", 1.0),
    "ms": ("s", 1e-3),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "hr": ("s", 3600.0),
    "hours": ("s", 3600.0),
    "Hz": ("Hz", 1.0),
    "kHz": ("Hz", 1e3),
    "Ohm": ("ohm", 1.0),
    "mOhm": ("ohm", 1e-3),
    "Ohm-1": ("1/ohm", 1.0),
    "Ohm.cm": ("ohm cm", 1.0),
    "F": ("F", 1.0),
    "mF": ("F", 1e-3),
    "uF": ("F", 1e-6),
    "nF": ("F", 1e-9),
    "deg": ("degree", 1.0),
    "degC": ("degC", 1.0),
    "%": ("%", 1.0),
    "Pa": ("Pa", 1.0),
    "1": ("1", 1.0),
    "mS/cm": ("mS/cm", 1.0),
    "V/s": ("V/s", 1.0),
    "mAh/g": ("mAh/g", 1.0),
    "Wh/kg": ("Wh/kg", 1.0),
    "mWh/g": ("Wh/kg", 1.0),
}
RESERVED = frozenset({"time", "record", "file_number"})
_CELSIUS = re.compile(r"^(?:\W+|deg\s*|ï¿½)C$|^Celsius$", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column in the unit of the data model."""

    values: np.ndarray
    units: str
    long_name: str
    attrs: dict[str, Any] = field(default_factory=dict)


def known_unit(text: str) -> str | None:
    """Return the key of `UNITS` that `text` means (``mA.h``, ``°C``, ``µF``), or None.

    >>> [known_unit(text) for text in ("mA.h", "µF", "°C", "red")]
    ['mAh', 'uF', 'degC', None]
    """
    plain = text.strip().replace("µ", "u").replace("μ", "u").replace("Ω", "Ohm").replace("Ω", "Ohm")
    plain = re.sub(r"([AW])[.·* ]h", r"\1h", plain)
    if _CELSIUS.match(plain):
        return "degC"
    if plain in UNITS:
        return plain
    folded = {
        "ah": "Ah",
        "mah": "mAh",
        "wh": "Wh",
        "mwh": "mWh",
        "ohm": "Ohm",
        "ohms": "Ohm",
        "ma": "mA",
        "v": "V",
        "a": "A",
    }
    folded |= {"seconds": "s", "second": "s", "sec": "s", "minutes": "min", "hours": "h", "hour": "h"}
    return folded.get(plain.lower())


def column(values: np.ndarray, unit: str, long_name: str, **attrs: str) -> Column:
    """Return a `Column` converted from `unit`, a key of `UNITS`."""
    units, factor = UNITS[unit]
    return Column(values if factor == 1.0 else values * factor, units, long_name, attrs)


def slug(name: str) -> str:
    """Return a variable's name for a column's (``-Im(Z)`` -> ``minus_im_z``).

    >>> slug("|Ewe h2|"), slug("<I>"), slug("control changes")
    ('abs_ewe_h2', 'mean_i', 'control_changes')
    """
    word = name.strip()
    for sign, told in (("-", "minus_"), ("|", "abs_"), ("<", "mean_")):
        if word.startswith(sign):
            word = told + word[1:]
    word = re.sub(r"[^a-z0-9]+", "_", word.lower().replace("µ", "u")).strip("_") or "column"
    return f"n_{word}" if word[0].isdigit() else word


def free_name(name: str, units: str, taken: Iterable[str]) -> str:
    """Return `name`, changed where the data model gives it another unit or where it is taken.

    >>> free_name("x", "1", []), free_name("control", "A", ["control"])
    ('x_recorded', 'control_a')
    """
    taken = set(taken)
    if name in RESERVED or MODEL_UNITS.get(name, units) != units:
        name = f"{name}_recorded"
    if name in taken and units != "1":
        name = f"{name}_{slug(units)}"
    free, n = name, 2
    while free in taken:
        free, n = f"{name}_{n}", n + 1
    return free


def utc(moment: str | datetime | np.datetime64, keyword: str = "start") -> np.datetime64:
    """Return a moment as datetime64[ns] in UTC; one without a zone is taken as UTC.

    >>> str(utc("2022-09-16T12:00"))[:16], str(utc("2022-09-16T12:00+02:00"))[:16]
    ('2022-09-16T12:00', '2022-09-16T10:00')
    """
    if isinstance(moment, np.datetime64):
        return moment.astype("datetime64[ns]")
    try:
        parsed = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{keyword} must be a time such as '2022-09-16T12:00' (UTC), got {moment!r}") from error
    if parsed.tzinfo is not None:
        parsed = parsed.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(parsed, "ns")


def elapsed(seconds: np.ndarray) -> np.ndarray:
    """Return seconds as timedelta64[ns], exact to the nanosecond for decades."""
    whole = np.floor(seconds)
    return whole.astype("timedelta64[s]").astype("timedelta64[ns]") + np.round((seconds - whole) * 1e9).astype(
        "timedelta64[ns]"
    )


def dataset(
    columns: dict[str, Column],
    name: str,
    *,
    time: np.ndarray | None = None,
    attrs: dict[str, Any] | None = None,
    is_checked: bool = True,
) -> xr.Dataset:
    """Return a cycler's record over ``record`` from its columns; ``test_time`` and ``time`` become coordinates.

    Raises
    ------
    ReadError
        Without a record, or where the test time is no number or runs backwards.

    Warns
    -----
    UserWarning
        The charge counter and the integral of the current disagree (see `counter_runs`), unless `is_checked` is False;
        or the test time stands still in more than half of the records.
    """
    n = len(next(iter(columns.values())).values) if columns else 0
    if n == 0:
        raise ReadError(f"{name}: holds no record")
    if "test_time" in columns:
        check_times(columns["test_time"].values, name)
    if is_checked:
        tell_disagreement(counter_runs(columns), name)
    variables = {
        key: quantity("record", one.values, one.units, one.long_name, **one.attrs) for key, one in columns.items()
    }
    coords = {"record": quantity("record", np.arange(n), "1", "line of the record")}
    if "test_time" in variables:
        coords["test_time"] = variables.pop("test_time")
    if time is not None:
        coords["time"] = quantity("record", time, "", "time, UTC")
    return xr.Dataset(variables, coords, attrs or {})


LONGEST = 4e9  # s; a longer test is another unit, or damage


def check_times(seconds: np.ndarray, name: str, first: int = 0) -> None:
    """Refuse a test time [s] that is no number or runs backwards; warn where it mostly stands still.

    `first` is the record that the first of `seconds` belongs to.
    """
    unknown = ~np.isfinite(seconds)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise ReadError(
            f"{name}: the test time of record {first + row} is no number ({unknown.sum()} of {len(seconds)} are not); "
            "remove these records"
        )
    if len(seconds) and np.abs(seconds).max() > LONGEST:
        raise ReadError(f"{name}: the test time reaches {np.abs(seconds).max():g} s, more than a century")
    steps = np.diff(seconds)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0))
        raise ReadError(
            f"{name}: the time falls from {seconds[row]:g} s to {seconds[row + 1]:g} s at record {first + row + 1}; "
            "split the file where the test was restarted"
        )
    still = int((steps == 0).sum())
    if len(steps) > 10 and 2 * still > len(steps):
        warnings.warn(
            f"{name}: the test time stands still in {still} of {len(steps)} steps from record to record; it may be "
            "rounded, or repeated by the export",
            UserWarning,
            stacklevel=4,
        )


# Cyclers state 0.02 to 0.1 % of range, and count between the records that a file keeps; a wrong unit, column or sign,
# or a counter that stopped, is off by far more than this.
COUNTER_TOLERANCE = 0.01
# s; in each run of open BioLogic pulses 0.45 s are not counted while the instrument changes its range of current.
COUNTER_DEAD_TIME = 0.5


def counter_runs(columns: Mapping[str, Column], first: int = 0) -> np.ndarray:
    """Return, for each run of records of one sign of current, what the counter counted and what the current integrates.

    A run holds the steps between records whose currents have one sign, without those in which the counter was reset
    (falls to less than half). The counter is ``capacity``, signed or not, or ``charge_capacity`` and
    ``discharge_capacity``. Rows: first and last record, counted charge, integral of the current by the trapezoidal
    rule, and how far both may differ [Ah]: what the records cannot tell of a changing current (half the change over
    each step), the last digits of current, time and counter, and `COUNTER_DEAD_TIME`.

    Examples
    --------
    >>> time = Column(np.arange(5.0) * 3600, "s", "test time")
    >>> current, counter = Column(np.full(5, 2.0), "A", "current"), Column(2.0 * np.arange(5), "Ah", "counter")
    >>> counter_runs({"test_time": time, "current": current, "capacity": counter})[0, :4].tolist()
    [0.0, 4.0, 8.0, 8.0]
    """
    counters = [columns[key].values for key in ("charge_capacity", "discharge_capacity") if key in columns]
    if "capacity" in columns:
        counters = 2 * [columns["capacity"].values]
    if len(counters) < 2 or "current" not in columns or "test_time" not in columns:
        return np.empty((0, 5))
    current, seconds = columns["current"].values, columns["test_time"].values
    hours = np.diff(seconds) / 3600
    sign = np.sign(current[:-1])
    counted = np.empty(len(hours))
    is_one = (sign == np.sign(current[1:])) & (sign != 0)
    for way, counter in zip((1, -1), counters, strict=True):
        step = np.abs(np.diff(counter))
        is_kept = np.isfinite(step) & ~(np.abs(counter[1:]) < 0.5 * np.abs(counter[:-1]))
        is_one &= (sign != way) | is_kept
        counted = np.where(sign == way, step, counted)
    places = np.flatnonzero(is_one)
    if not places.size:
        return np.empty((0, 5))
    starts = np.flatnonzero((np.diff(places, prepend=-2) > 1) | (np.diff(sign[places], prepend=sign[places[0]]) != 0))
    size = np.abs(current)
    flow = (size[1:] + size[:-1]) / 2 * hours
    # Currents of round numbers, 2 A, say nothing of their last digit: it is at most a hundredth of the largest.
    digit = min(last_digit(current), 0.01 * float(np.nanmax(size)))
    blind = (np.abs(np.diff(current)) + digit) / 2 * hours
    ends = np.append(starts[1:], len(places)) - 1
    largest = np.maximum.reduceat(size[places], starts)
    digits = max(map(last_digit, counters)) + (last_digit(seconds) + COUNTER_DEAD_TIME) / 3600 * largest
    sums = [np.add.reduceat(one[places], starts) for one in (counted, flow, blind)]
    return np.column_stack([first + places[starts], first + places[ends] + 1, *sums[:2], sums[2] + digits])


def last_digit(values: np.ndarray) -> float:
    """Return the worth of the last decimal that the values are written with, 0 for more than eight decimals.

    >>> last_digit(np.array([1.25, 3.5])), last_digit(np.array([1 / 3]))
    (0.01, 0.0)
    """
    sample = values[np.isfinite(values)][:2000]
    for digits in range(9):
        scaled = sample * 10.0**digits
        if (np.abs(scaled - np.round(scaled)) <= 1e-9 * np.abs(scaled) + 1e-9).all():
            return float(10.0**-digits)
    return 0.0


def tell_disagreement(runs: np.ndarray, name: str) -> None:
    """Warn where counter and current differ by more than `COUNTER_TOLERANCE` and what the records leave open.

    Runs of less than a hundredth of the longest one's charge are not judged.
    """
    if not len(runs):
        return
    counted, flow, blind = runs[:, 2], runs[:, 3], runs[:, 4]
    larger = np.maximum(counted, flow)
    off = np.abs(counted - flow) - blind - COUNTER_TOLERANCE * larger
    wrong = (off > 0) & (larger >= 0.01 * larger.max())
    if not wrong.any():
        return
    worst = int(np.argmax(np.where(wrong, off, -np.inf)))
    warnings.warn(
        f"{name}: the charge counter and the integrated current disagree in {wrong.sum()} of {len(runs)} runs of one "
        f"sign; at worst, records {runs[worst, 0]:.0f} to {runs[worst, 1]:.0f}: {counted[worst]:.5g} Ah counted, "
        f"{flow[worst]:.5g} Ah integrated; in all {counted.sum():.5g} and {flow.sum():.5g} Ah: check the units of "
        "current and counter, and whether records are missing",
        UserWarning,
        stacklevel=5,
    )


def join(records: list[xr.Dataset], names: list[str]) -> xr.Dataset:
    """Return the records of one cell's files as one, in order of their clocks; the columns that all have.

    ``test_time`` counts from the first file's zero. Counters are left as the files have them: each starts anew.

    Raises
    ------
    ReadError
        A file has no clock, or two overlap in time.
    """
    if len(records) == 1:
        return records[0]
    for one, name in zip(records, names, strict=True):
        if "time" not in one.coords or "test_time" not in one.coords:
            raise ReadError(f"{name}: states no date, so it cannot be joined with other files; open it alone")
    order = sorted(range(len(records)), key=lambda i: records[i]["time"].values[0])
    for before, after in pairwise(order):
        if records[after]["time"].values[0] < records[before]["time"].values[-1]:
            raise ReadError(f"{names[after]}: overlaps in time with {names[before]}; open them apart")
    shared = [key for key in records[order[0]].data_vars if all(key in one for one in records)]
    zero = records[order[0]]["time"].values[0] - elapsed(records[order[0]]["test_time"].values[:1])[0]
    columns = {}
    for key in shared:
        parts = [records[i][key] for i in order]
        if len({part.attrs.get("units", "1") for part in parts}) > 1:
            raise ReadError(f"{names[order[-1]]}: {key!r} has another unit than in {names[order[0]]}; open them apart")
        attrs = {k: v for k, v in parts[0].attrs.items() if k not in ("units", "long_name")}
        values = np.concatenate([part.values for part in parts])
        columns[str(key)] = Column(values, parts[0].attrs.get("units", "1"), parts[0].attrs["long_name"], attrs)
    time = np.concatenate([records[i]["time"].values for i in order])
    columns["test_time"] = Column((time - zero) / np.timedelta64(1, "s"), "s", "time since the start of the test")
    which = np.concatenate([np.full(records[i].sizes["record"], n) for n, i in enumerate(order)])
    columns["file_number"] = Column(which, "1", "number of the file, from 0")
    return dataset(columns, names[0], time=time, attrs=records[order[0]].attrs, is_checked=False)
