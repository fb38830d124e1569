"""A cycler's text export told as a table: which label means what, in which unit, how clock and sign are known."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io import _cycler, _dates, _long, _rows, _sign, local_clock
from batlab.io._cycler import Column
from batlab.io._rows import Source
from batlab.io._table import Table, coded, texts

HINTS = frozenset(
    {
        "voltage_unit",
        "current_unit",
        "capacity_unit",
        "energy_unit",
        "time_unit",
        "current_sign",
        "timezone",
        "date_order",
        "start",
        "encoding",
        "decimal",
    }
)
# Variable -> unit, what it is, and the hint that gives its unit.
MODEL: dict[str, tuple[str, str, str]] = {
    "test_time": ("s", "time since the start of the test", "time_unit"),
    "step_time": ("s", "time since the start of the step", "time_unit"),
    "voltage": ("V", "voltage", "voltage_unit"),
    "current": ("A", "current, positive on charge", "current_unit"),
    "capacity": ("Ah", "charge counter of the cycler", "capacity_unit"),
    "charge_capacity": ("Ah", "charge counter of the cycler, charging", "capacity_unit"),
    "discharge_capacity": ("Ah", "charge counter of the cycler, discharging", "capacity_unit"),
    "energy_recorded": ("Wh", "energy counter of the cycler", "energy_unit"),
    "charge_energy": ("Wh", "energy counter of the cycler, charging", "energy_unit"),
    "discharge_energy": ("Wh", "energy counter of the cycler, discharging", "energy_unit"),
    "temperature": ("degC", "temperature", ""),
    "cycle": ("1", "number of the cycle", ""),
    "step": ("1", "number of the step", ""),
    "record_number": ("1", "number of the record in the file", ""),
}
_LABEL = re.compile(r"^(.*?)\s*(?:[(\[{]\s*([^)\]}]*)\s*[)\]}]|(?<=[a-z0-9])_([A-Za-zµ]{1,3}))\s*$")
_LARGEST_VOLTAGE = 10.0  # V; more in a column without a unit is another unit, or a stack of cells


@dataclass(frozen=True)
class Layout:
    """What the labels of one maker mean: variable -> label in lower case -> its unit where the label has none."""

    meanings: Mapping[str, Mapping[str, str]]
    dates: tuple[str, ...] = ()
    state: tuple[str, ...] = ()  # labels of the column that says what the cycler did
    charging: tuple[str, ...] = ()
    discharging: tuple[str, ...] = ()
    ending: str = "left out"
    mend: Callable[[dict[str, Column], str], None] | None = None  # what only this maker gets wrong
    names: Mapping[str, str] = field(default_factory=dict)  # own name of a further column by its label
    units: Mapping[str, str] = field(default_factory=dict)  # unit of a further column by the start of its label


def label(text: str) -> tuple[str, str]:
    """Return a column's name in lower case and its unit as written, "" if none.

    >>> label("Ah[Ah]"), label("SpeCap/mAh/g"), label("Test_Time(s)"), label("current_A"), label("Amp-hr")
    (('ah', 'Ah'), ('specap', 'mAh/g'), ('test time', 's'), ('current', 'A'), ('amp-hr', ''))
    """
    plain = text.strip().strip('"').strip()
    for place in (i for i, sign in enumerate(plain) if sign == "/"):
        if _cycler.known_unit(plain[place + 1 :].rstrip(".")):
            return _plain(plain[:place]), plain[place + 1 :].strip().rstrip(".")
    found = _LABEL.match(plain)
    unit = next((group for group in found.groups()[1:] if group), "") if found else ""
    if found and (_cycler.known_unit(unit) or found[2] is not None):
        base = _plain(found[1])
        return base, "degC" if unit.strip() == "C" and "temp" in base else unit.strip()
    return _plain(plain), ""


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").split())


def read(
    source: Source, header: int, separator: str, layout: Layout, hints: dict[str, Any], *, started: str = ""
) -> xr.Dataset:
    """Return the record below line `header` (from 1) of a file; `started` is the date that its header states.

    Raises
    ------
    ReadError
        For a row that does not fit, a word that is no number, or a file without time and voltage.

    Warns
    -----
    UserWarning
        For what the file leaves open: units, the current's sign, the zone of its clock.
    """
    check_hints(hints)
    decimal = hints.get("decimal") or _decimal(source.head[header:], separator)
    rows = _rows.rows_below(source, header, separator=separator, decimal=decimal, ending=layout.ending)
    hints = dict(hints)
    table = next(_rows.tables(rows))[1] if source.is_long else _rows.whole_table(rows)
    columns = columns_of(table, layout, hints)
    seconds = _seconds(table, columns, layout, hints)
    settle(columns, table, layout, hints)
    if seconds is None and started:
        seconds = _from_start(started, columns["test_time"].values, source.name, hints)
    told = _time(seconds, columns, source.name, hints)
    if not source.is_long:
        return _cycler.dataset(columns, source.name, **told)
    zero = told["time"][0] - _cycler.elapsed(columns["test_time"].values[:1])[0] if "time" in told else None
    return _long.dataset(rows, partial(_piece, layout=layout, hints=hints), zero=zero, attrs=told.get("attrs", {}))


def _piece(table: Table, layout: Layout, hints: dict[str, Any]) -> dict[str, Column]:
    """Return the columns of one piece of a long file; what was doubtful of the first is not told again."""
    columns = columns_of(table, layout, hints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        settle(columns, table, layout, hints)
    return columns


def _from_start(started: str, test_time: np.ndarray, name: str, hints: Mapping[str, Any]) -> np.ndarray:
    order = _dates.order_of([started], 0.0, name, hints.get("date_order"))
    zero = np.array([_dates.moment(started, name, order)])
    return _dates.to_utc(zero, local_clock.zone_of(hints.get("timezone"))) + test_time


def check_hints(hints: Mapping[str, Any]) -> None:
    """Refuse units that do not fit, and signs and zones that do not exist."""
    for model, _, hint in MODEL.values():
        if hint and hints.get(hint) is not None:
            choose(hint, hints[hint], [unit for unit, (base, _) in _cycler.UNITS.items() if base == model])
    local_clock.zone_of(hints.get("timezone"))
    if hints.get("date_order") is not None:
        choose("date_order", hints["date_order"], _dates.ORDERS)


def _decimal(lines: list[str], separator: str) -> str:
    return "," if separator != "," and any(re.search(r"\d,\d", line) for line in lines[:50]) else "."


def columns_of(table: Table, layout: Layout, hints: Mapping[str, Any]) -> dict[str, Column]:
    """Return the table's columns in the units of the data model, dates left out; of no known unit as ``…_raw``."""
    labels = [label(name) for name in table.names]
    chosen: dict[int, tuple[str, str]] = {}
    for meaning, words in layout.meanings.items():
        # A word may hold the unit where two columns differ by it alone: "Step", "Step (Sec)".
        hit = next(((i, word) for word in words for i, (base, _) in enumerate(labels)
                    if word in (base, _plain(table.names[i])) and i not in chosen), None)  # fmt: skip
        if hit is not None:
            chosen[hit[0]] = (meaning, words[hit[1]])
    columns: dict[str, Column] = {}
    for i in sorted(range(len(labels)), key=lambda i: i not in chosen):
        base, written = labels[i]
        if base in layout.dates:
            continue
        if i in chosen:
            meaning, usual = chosen[i]
            name, one = _chosen(table, i, meaning, written, usual, hints)
        else:
            usual = next((unit for start, unit in layout.units.items() if base.startswith(start)), "")
            one = _other(table, i, base, written or usual)
            name = layout.names.get(base, _cycler.slug(base))
        columns[_cycler.free_name(name, one.units, columns)] = one
    for needed in ("test_time", "voltage"):
        if needed not in columns and not (needed == "test_time" and "test_time_raw" in columns):
            raise ReadError(
                f"{table.name}: names no column of the {MODEL[needed][1]}, but {', '.join(table.names[:12])}"
            )
    return columns


def _chosen(
    table: Table, i: int, meaning: str, written: str, usual: str, hints: Mapping[str, Any]
) -> tuple[str, Column]:
    model, told, hint = MODEL[meaning]
    attrs = {"column": table.names[i]}
    if model == "s" and not table.is_number(i):
        return meaning, Column(_dates.seconds_of_clock(table, i), "s", told, attrs)
    values = table.numbers(i)
    if model == "1":
        return meaning, Column(values, "1", told, attrs)
    unit = hints.get(hint) or _cycler.known_unit(written) or usual
    if not unit and meaning == "voltage" and not np.nanmax(np.abs(values), initial=0) > _LARGEST_VOLTAGE:
        unit = "V"
    if not unit and meaning != "voltage":
        return f"{meaning}_raw", Column(values, "unknown", f"{told}, unit not stated", attrs)
    if not unit or _cycler.UNITS[unit][0] != model:
        told = f"the unit {written!r} of" if written else "the unit of"
        raise ReadError(f"{table.name}: {told} column {table.names[i]!r} is not known; pass {hint}=")
    return meaning, _cycler.column(values, unit, told, **attrs)


def _other(table: Table, i: int, base: str, written: str) -> Column:
    attrs = {"column": table.names[i]}
    if not table.is_number(i):
        if _dates.is_clock(table.first(i)):
            with suppress(ReadError):  # a later word is none: the column stays text
                return Column(_dates.seconds_of_clock(table, i), "s", base, attrs)
        return Column(texts(table, i), "1", base, attrs)
    unit = _cycler.known_unit(written)
    if unit:
        return _cycler.column(table.numbers(i), unit, base, **attrs)
    return Column(table.numbers(i), written or "unknown", base, attrs)


def _seconds(table: Table, columns: dict[str, Column], layout: Layout, hints: dict[str, Any]) -> np.ndarray | None:
    """Return the records' dates in seconds UTC, None without any; the unit of time that they tell goes into `hints`."""
    labels = [label(name)[0] for name in table.names]
    place = next((labels.index(word) for word in layout.dates if word in labels), None)
    raw = columns.get("test_time_raw")
    if place is None:
        if raw is not None:
            raise ReadError(f"{table.name}: the unit of column {raw.attrs['column']!r} is not known; pass time_unit=")
        return None
    span = float(np.ptp(columns["test_time"].values)) if raw is None else 0.0
    if table.is_number(place):
        raise ReadError(f"{table.name}: column {table.names[place]!r} holds numbers, not dates")
    ends = [table.first(place), table.first(place, is_last=True)]
    order = _dates.order_of(ends, span, table.name, hints.get("date_order"))
    seconds = _dates.to_utc(_dates.dates(table, place, order), local_clock.zone_of(hints.get("timezone")))
    if raw is not None:
        hints["time_unit"] = unit = _time_unit(raw, seconds, table.name)
        for name in ("test_time_raw", "step_time_raw"):
            if name in columns:
                one, meaning = columns.pop(name), name.removesuffix("_raw")
                columns[meaning] = _cycler.column(one.values, unit, MODEL[meaning][1], **one.attrs)
    return seconds


def _time_unit(raw: Column, seconds: np.ndarray, name: str) -> str:
    """Return the unit of a time that names none, from the dates beside it."""
    unit = _dates.unit_of_time(raw.values, seconds)
    if unit is not None:
        return unit
    raise ReadError(f"{name}: the unit of column {raw.attrs['column']!r} is not known; pass time_unit=")


def settle(columns: dict[str, Column], table: Table, layout: Layout, hints: Mapping[str, Any]) -> None:
    """Give the current its sign; tell which units are not known.

    Warns
    -----
    UserWarning
        A column's unit is not known; the voltage falls while the current is positive; the current's sign is not that
        of the state beside it.
    """
    if layout.mend:
        layout.mend(columns, table.name)
    open_units = {hint: one.attrs["column"] for key, one in columns.items() for hint in _hint_of(key)}
    if open_units:
        told = ", ".join(f"{column!r} (pass {hint}=)" for hint, column in open_units.items())
        _tell(table.name, f"the file does not state the unit of {told}; the columns are kept as '…_raw'")
    if "current" not in columns:
        return
    one, rule = columns["current"], hints.get("current_sign")
    values, voltage = one.values, columns["voltage"].values
    factor = _cycler.UNITS[hints["current_unit"]][1] if hints.get("current_unit") and isinstance(rule, dict) else 1.0
    flow = _flow(table, layout)
    if rule is not None:
        values = _sign.signed(values / factor, voltage, rule, table.name) * factor
    elif flow is not None and not (values < 0).any():
        values = np.where(flow < 0, -values, values)
    columns["current"] = Column(values, one.units, one.long_name, one.attrs)
    if rule is None:
        _doubt(values, voltage, flow, table.name)


def _hint_of(name: str) -> list[str]:
    return [MODEL[name.removesuffix("_raw")][2]] if name.endswith("_raw") and name.removesuffix("_raw") in MODEL else []


def _flow(table: Table, layout: Layout) -> np.ndarray | None:
    """Return 1 where the cycler says that it charges, -1 where it discharges, else 0; None where it does not say."""
    labels = [label(name)[0] for name in table.names]
    place = next((labels.index(word) for word in layout.state if word in labels), None)
    if place is None:
        return None
    words, codes = coded(table, place)
    words = np.char.lower(words)
    flow = (np.isin(words, layout.charging).astype(int) - np.isin(words, layout.discharging).astype(int))[codes]
    return flow if flow.any() else None


def _doubt(values: np.ndarray, voltage: np.ndarray, flow: np.ndarray | None, name: str) -> None:
    if flow is not None:
        moving = (flow != 0) & (np.abs(values) > 0)
        wrong = moving & (np.sign(values) != flow)
        if 20 * wrong.sum() > moving.sum():
            _tell(
                name,
                f"in {wrong.sum()} of {moving.sum()} records the current's sign is not that of the state beside it; "
                "pass current_sign='positive_charges' or 'positive_discharges'",
            )
    elif _sign.agreement(values, voltage) < -0.5:
        _tell(
            name,
            "the voltage falls where the current is positive; if positive current discharges this cell, pass "
            "current_sign='positive_discharges', else current_sign='positive_charges'",
        )


def _tell(name: str, what: str) -> None:
    warnings.warn(f"{name}: {what}", UserWarning, stacklevel=6)


def _time(
    seconds: np.ndarray | None, columns: dict[str, Column], name: str, hints: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the absolute time and the attribute that says whose clock it is."""
    given = None if hints.get("start") is None else _cycler.utc(hints["start"])
    test_time = columns["test_time"].values
    if given is not None:
        return {"time": given + _cycler.elapsed(test_time), "attrs": {"clock": local_clock.told(None, given)}}
    if seconds is None:
        return {}
    zone = local_clock.zone_of(hints.get("timezone"))
    if zone is None:
        local_clock.warn_unstated(name, stacklevel=6)
    return {"time": _dates.timeline(seconds, test_time, name), "attrs": {"clock": local_clock.told(zone)}}
