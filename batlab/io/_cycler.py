"""What every cycler's record shares: units of its columns, names in the data model, the clock, files joined."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
    "Wh": ("Wh", 1.0),
    "mWh": ("Wh", 1e-3),
    "uWh": ("Wh", 1e-6),
    "J": ("Wh", 1 / 3600),
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
}
RESERVED = frozenset({"time", "record", "file_number"})
_CELSIUS = re.compile(r"^(?:\W+|deg\s*|ï¿½)C$|^Celsius$", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column in the unit of the data model."""

    values: np.ndarray
    units: str
    long_name: str
    attrs: dict[str, str] = field(default_factory=dict)


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
    columns: dict[str, Column], name: str, *, time: np.ndarray | None = None, attrs: dict[str, Any] | None = None
) -> xr.Dataset:
    """Return a cycler's record over ``record`` from its columns; ``test_time`` and ``time`` become coordinates.

    Raises
    ------
    ReadError
        Without a record, or where the test time runs backwards.
    """
    n = len(next(iter(columns.values())).values) if columns else 0
    if n == 0:
        raise ReadError(f"{name}: holds no record")
    variables = {
        key: quantity("record", one.values, one.units, one.long_name, **one.attrs) for key, one in columns.items()
    }
    coords = {"record": quantity("record", np.arange(n), "1", "line of the record")}
    if "test_time" in variables:
        coords["test_time"] = variables.pop("test_time")
        values = coords["test_time"].values
        falls = np.diff(values) < 0
        if falls.any():
            row = int(np.argmax(falls))
            raise ReadError(
                f"{name}: the time falls from {values[row]:g} s to {values[row + 1]:g} s at record {row + 1}; split "
                "the file where the test was restarted"
            )
    if time is not None:
        coords["time"] = quantity("record", time, "", "time, UTC")
    return xr.Dataset(variables, coords, attrs or {})


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
        if len({part.attrs["units"] for part in parts}) > 1:
            raise ReadError(f"{names[order[-1]]}: {key!r} has another unit than in {names[order[0]]}; open them apart")
        attrs = {k: v for k, v in parts[0].attrs.items() if k not in ("units", "long_name")}
        values = np.concatenate([part.values for part in parts])
        columns[str(key)] = Column(values, parts[0].attrs["units"], parts[0].attrs["long_name"], attrs)
    time = np.concatenate([records[i]["time"].values for i in order])
    columns["test_time"] = Column((time - zero) / np.timedelta64(1, "s"), "s", "time since the start of the test")
    which = np.concatenate([np.full(records[i].sizes["record"], n) for n, i in enumerate(order)])
    columns["file_number"] = Column(which, "1", "number of the file, from 0")
    return dataset(columns, names[0], time=time, attrs=records[order[0]].attrs)
