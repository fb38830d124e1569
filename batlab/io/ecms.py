"""Electrochemistry with mass spectrometry: Zilien's ``.tsv`` records and mass scans, and csv exported by ixdat.

In a Zilien record each series (potentiostat, pressures, flows, ion currents) has its own clock; nothing is
interpolated: each is a node of its own in a DataTree.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler, _dates, local_clock
from batlab.io._cycler import Column
from batlab.io._table import Table, header_names, read_table
from batlab.io._text import peek, read_text
from batlab.schema import quantity

NAME = "EC-MS records"
HINTS = frozenset({"timezone", "start", "encoding"})

_IXDAT = re.compile(r"\Aixdat version\s*=")
_TIMECOL = re.compile(r"^timecol '([^']+)' for: (.*)$", re.MULTILINE)
_SCAN = re.compile(r"^Mass\s+\[AMU\]\tCurrent \[A\]\s*$", re.MULTILINE)
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d)[_:](\d\d)[_:](\d\d)")
_MASS = re.compile(r"^(?:C\d+)?M(\d+(?:\.\d+)?)$")
# Quantity in Zilien's column names -> variable, unit, factor.
_QUANTITIES: dict[str, tuple[str, str, float]] = {
    "Voltage [V]": ("voltage", "V", 1.0),
    "Current [mA]": ("current", "A", 1e-3),
    "Cycle [n]": ("cycle", "1", 1.0),
    "Pressure [mbar]": ("pressure", "Pa", 100.0),
    "Flow [ml/min]": ("flow", "ml/min", 1.0),
}
_LONG_NAMES = {
    "voltage": "voltage",
    "current": "current, positive where it oxidizes",
    "cycle": "number of the cycle",
    "pressure": "pressure",
    "flow": "flow",
}


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a Zilien record or mass scan, or an export of ixdat. Never raises."""
    text = peek(head)
    return bool(_IXDAT.match(text)) or text.startswith("num_header_lines\t")


def read(paths: list[Path], **hints: Any) -> xr.Dataset | xr.DataTree:
    """Return a record, or several mass scans as one series.

    Parameters
    ----------
    paths
        One Zilien ``.tsv``, one csv of ixdat, or mass scans of one range.
    **hints
        ``timezone``, e.g. "Europe/Copenhagen": the clock in a Zilien file's name is local; ``start``: UTC time of test
        time 0; ``encoding``.

    Returns
    -------
    DataTree or Dataset
        Of a Zilien record: ``/echem`` over ``record`` (``voltage`` [V], ``current`` [A], ``cycle``) and under ``/gas``
        one node a series (``pressure`` [Pa], ``flow`` [ml/min], ``ion_current`` [A] with the attribute
        ``mass_to_charge``), each with its own ``test_time`` [s] and, where the start is known, ``time`` (UTC). Of an
        export on one clock: one Dataset over ``record`` with ``ion_current`` (record, mass) [A]. Of mass scans:
        ``ion_current`` (frame, mass) [A] with ``test_time`` [s] of each scan's start.

    Raises
    ------
    ReadError
        For fewer points than the header states, rows that do not fit, and scans of different ranges.

    Warns
    -----
    UserWarning
        The start is known from the file's name only, without a zone.
    """
    zone = local_clock.zone_of(hints.get("timezone"))
    start = None if hints.get("start") is None else _cycler.utc(hints["start"])
    texts = [read_text(path, hints.get("encoding")) for path in paths]
    if all(_SCAN.search(text[:8192]) for text in texts):
        return _scans(texts, paths)
    if len(paths) > 1:
        raise ReadError(f"{paths[1].name}: is a record of its own; open it alone (only mass scans form a series)")
    if _IXDAT.match(texts[0]):
        return _ixdat(texts[0], paths[0].name, start)
    return _zilien(texts[0], paths[0], start, zone)


def _scans(texts: list[str], paths: list[Path]) -> xr.Dataset:
    tables, moments = [], []
    for text, path in zip(texts, paths, strict=True):
        facts, _ = _facts(text, path.name)
        line = text[: _SCAN.search(text).start()].count("\n") + 1  # type: ignore[union-attr]
        tables.append(read_table(text, path.name, line, separator="\t", decimal=".", is_strict=True))
        moments.append(_number(facts, "mass_scan_started_at", path.name))
    masses = tables[0].numbers(0)
    for table in tables:
        if not np.array_equal(table.numbers(0), masses):
            raise ReadError(
                f"{table.name}: its masses differ from those of {paths[0].name} ({table.n_rows} and {len(masses)} "
                "points); the file may be truncated, or open the scans one by one"
            )
    if len(masses) > 1 and not (np.diff(masses) > 0).all():
        raise ReadError(f"{paths[0].name}: its masses do not increase")
    order = np.argsort(moments, kind="stable")
    currents = np.stack([tables[i].numbers(1) for i in order])
    return xr.Dataset(
        {"ion_current": quantity(("frame", "mass"), currents, "A", "ion current")},
        {
            "frame": quantity("frame", np.arange(len(order)), "1", "number of the scan"),
            "mass": quantity("mass", masses, "1", "mass over charge, in atomic mass units"),
            "test_time": quantity("frame", np.array(moments)[order], "s", "start of the scan in the measurement"),
        },
    )


def _facts(text: str, name: str) -> tuple[dict[str, str], int]:
    """Return the header's values by ``key`` (or ``key of series``), and how many lines it has."""
    lines = text.split("\n", 1)[0].split("\t")
    if len(lines) < 5 or not lines[4].strip().isdecimal():
        raise ReadError(f"{name}: does not state how long its header is; the file may be truncated")
    n = int(lines[4])
    header = text.split("\n", n)[:n]
    if len(header) < n:
        raise ReadError(f"{name}: states {n} header lines and has {len(header)}; the file may be truncated")
    rows = [line.split("\t") for line in header]
    return {row[0]: row[4].strip() for row in rows if len(row) > 4}, n


def _number(facts: Mapping[str, str], key: str, name: str) -> float:
    try:
        return float(facts[key])
    except (KeyError, ValueError) as error:
        raise ReadError(f"{name}: its header does not state {key!r}; the file may be truncated") from error


def _zilien(text: str, path: Path, start: np.datetime64 | None, zone: Any) -> xr.DataTree:
    facts, n = _facts(text, path.name)
    lines = text.split("\n", n + 2)
    if len(lines) < n + 3:
        raise ReadError(f"{path.name}: ends within its header; the file may be truncated")
    series = [word.strip() for word in lines[n].split("\t")]
    labels = header_names(lines[n + 1], "\t")
    table = read_table(text, path.name, n + 2, separator="\t", decimal=".", is_strict=True, names=labels)
    if start is None:
        start = _named_start(path, zone)
    firsts = [i for i, word in enumerate(series) if word and i < len(labels)]
    parts: dict[str, xr.Dataset] = {"/": xr.Dataset()}
    for first, end in zip(firsts, [*firsts[1:], len(labels)], strict=True):
        key = series[first]
        count = int(_number(facts, f"{key}_count", path.name))
        node = "/echem" if key == "pot" else f"/gas/{_cycler.slug(key)}"
        parts[node] = _series(table, range(first, end), key, count, start)
    if len(parts) == 1:
        raise ReadError(f"{path.name}: names no series; the file may be truncated")
    return xr.DataTree.from_dict(parts)


def _series(table: Table, places: range, key: str, count: int, start: np.datetime64 | None) -> xr.Dataset:
    seconds = table.numbers(places[0])
    n = int(np.isfinite(seconds).sum())
    if n != count or not np.isfinite(seconds[:count]).all():
        raise ReadError(f"{table.name}: states {count} points of {key!r}, has {n}; the file may be truncated")
    if table.names[places[0]] != "Time [s]":
        raise ReadError(f"{table.name}: the series {key!r} starts with {table.names[places[0]]!r}, not with 'Time [s]'")
    columns = {"test_time": Column(seconds[:count], "s", "time since the start of the measurement")}
    for i in places[1:]:
        label, values = table.names[i], table.numbers(i)[:count]
        mass = _MASS.match(key)
        if mass and label.endswith("[A]"):
            attrs: dict[str, Any] = {"mass_to_charge": float(mass[1]), "column": label}
            columns["ion_current"] = Column(values, "A", f"ion current, {label.removesuffix(' [A]')}", attrs)
        elif label in _QUANTITIES:
            name, unit, factor = _QUANTITIES[label]
            columns[name] = Column(values * factor, unit, _LONG_NAMES[name], {"column": label})
        else:
            columns[_cycler.slug(label)] = Column(values, "unknown", label, {"column": label})
    time = None if start is None else start + _cycler.elapsed(columns["test_time"].values)
    return _cycler.dataset(columns, f"{table.name} ({key})", time=time, attrs={"series": key})


def _named_start(path: Path, zone: Any) -> np.datetime64 | None:
    """Return the start that Zilien writes into its file's name, as UTC."""
    found = _STAMP.search(path.name)
    if found is None:
        return None
    seconds = np.array([_dates.moment(f"{found[1]} {found[2]}:{found[3]}:{found[4]}", path.name, "day_first")])
    if zone is None:
        warnings.warn(
            f"{path.name}: its start, known from its name, is local time without a zone and is taken as UTC; pass "
            "timezone='Europe/Copenhagen' (or where it was measured), or start=",
            UserWarning,
            stacklevel=5,
        )
    return _dates.to_datetime(_dates.to_utc(seconds, zone))[0]


def _ixdat(text: str, name: str, start: np.datetime64 | None) -> xr.Dataset | xr.DataTree:
    stated = re.search(r"^N_header_lines\s*=\s*(\d+)", text[:65536], re.MULTILINE)
    if stated is None:
        raise ReadError(f"{name}: does not state how long its header is; the file may be truncated")
    n = int(stated[1])
    header = "\n".join(text.split("\n", n)[:n])
    stamp = re.search(r"^tstamp\s*=\s*([\d.]+)", header, re.MULTILINE)
    if start is None and stamp:
        start = np.datetime64(round(float(stamp[1]) * 1e6), "us").astype("M8[ns]")
    table = read_table(text, name, n, separator=",", decimal=".")
    groups = {clock: re.findall(r"'([^']+)'", words) for clock, words in _TIMECOL.findall(header)}
    if not groups or any(clock not in table.names for clock in groups):
        raise ReadError(f"{name}: its header names no time column that the table has; the file may be truncated")
    facts = dict(re.findall(r"^(name|technique) = (.*)$", header, re.MULTILINE))
    parts = {clock: _group(table, clock, labels, start).assign_attrs(facts) for clock, labels in groups.items()}
    if len(parts) == 1:
        return next(iter(parts.values()))
    nodes = {
        ("/echem" if "voltage" in one else f"/gas/{_cycler.slug(clock)}"): one.assign_attrs(series=clock)
        for clock, one in parts.items()
    }
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=facts), **nodes})


def _group(table: Table, clock: str, labels: list[str], start: np.datetime64 | None) -> xr.Dataset:
    """Return the columns of one clock; ion currents become one variable over ``mass``."""
    seconds = table.numbers(table.names.index(clock))
    known = np.isfinite(seconds)
    columns = {"test_time": Column(seconds[known], "s", "time since the start of the measurement", {"column": clock})}
    masses: dict[float, np.ndarray] = {}
    for label in labels:
        if label not in table.names:
            raise ReadError(f"{table.name}: has no column {label!r}, which its header names")
        values = table.numbers(table.names.index(label))[known]
        mass = _MASS.match(label)
        if mass:
            masses[float(mass[1])] = values
            continue
        base, _, unit = label.partition("/")
        known_unit = _cycler.known_unit(unit)
        one = _cycler.column(values, known_unit, base, column=label) if known_unit else Column(
            values, unit or "unknown", base, {"column": label})  # fmt: skip
        name = {"Ewe": "voltage", "I": "current"}.get(base, _cycler.slug(base))
        long_name = _LONG_NAMES.get(name, base)
        columns[_cycler.free_name(name, one.units, columns)] = Column(one.values, one.units, long_name, one.attrs)
    time = None if start is None else start + _cycler.elapsed(columns["test_time"].values)
    result = _cycler.dataset(columns, table.name, time=time)
    if masses:
        order = sorted(masses)
        result["ion_current"] = quantity(
            ("record", "mass"), np.stack([masses[one] for one in order], axis=1), "A", "ion current"
        )
        result = result.assign_coords(
            mass=quantity("mass", np.array(order), "1", "mass over charge, in atomic mass units")
        )
    return result
