"""Arbin's csv exports, and what its csv, workbooks and databases share: the labels of their columns and their clock."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler, _dates, _layout, _rows, cycler_series, local_clock
from batlab.io._cycler import Column
from batlab.io._layout import Layout
from batlab.io._table import Table, find_separator
from batlab.io._text import peek
from batlab.schema import quantity

NAME = "Arbin records (csv)"
HINTS = _layout.HINTS
# For the binary forms, which state units and need no encoding.
TABLE_HINTS = frozenset({"timezone", "start", "current_sign"})

_NEEDED = ("test time", "cycle index", "charge capacity", "discharge capacity", "voltage", "current")
_UNIX = (3e8, 5e9)  # s since 1970 of any cycler's date; fewer are days since 1899


def _net(columns: dict[str, Column], name: str) -> None:
    """Add the net charge, as the difference of both counters."""
    pair = [columns.get(key) for key in ("charge_capacity", "discharge_capacity")]
    if pair[0] is not None and pair[1] is not None and "capacity" not in columns:
        net = pair[0].values - pair[1].values
        columns["capacity"] = Column(net, "Ah", "net charge by the cycler's counters, charged less discharged")


LAYOUT = Layout(
    meanings={
        "test_time": {"test time": "s"},
        "step_time": {"step time": "s"},
        "voltage": {"voltage": "V"},
        "current": {"current": "A"},
        "charge_capacity": {"charge capacity": "Ah"},
        "discharge_capacity": {"discharge capacity": "Ah"},
        "charge_energy": {"charge energy": "Wh"},
        "discharge_energy": {"discharge energy": "Wh"},
        "temperature": {"temperature": "degC", "aux temperature 1": "degC"},
        "cycle": {"cycle index": ""},
        "step": {"step index": ""},
        "record_number": {"data point": ""},
    },
    dates=("date time", "datetime"),
    mend=_net,
    names={"capacity": "capacity_recorded"},
    units={"internal resistance": "Ohm", "dv/dt": "V/s", "ac impedance": "Ohm", "aci phase angle": "deg"},
)

# The same, with its dates as a column of their own.
_UNDATED = replace(LAYOUT, dates=(), names={**LAYOUT.names, "datetime": "date_time"})


def recognise(path: Path, head: bytes) -> bool:
    """Return whether a line near the top names Arbin's columns. Never raises."""
    return any(_is_header(line) for line in peek(head).split("\n")[:40] if "apacity" in line)


def _is_header(line: str) -> bool:
    labels = [_layout.label(word)[0] for word in line.split(find_separator(line))]
    return is_table(labels) and ("data point" in labels or "step index" in labels)


def is_table(labels: list[str]) -> bool:
    """Return whether plain labels are those of Arbin's record of a channel."""
    return set(_NEEDED) <= set(labels)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several files of one cell joined in order of their clocks.

    Parameters
    ----------
    paths
        csv exports.
    **hints
        ``timezone``: the clock is local and names no zone; ``start``: UTC time of test time 0; ``date_order``;
        ``current_sign``; ``encoding``, ``decimal`` and units, as for `batlab.io.maccor.read`.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``charge_capacity`` and
        ``discharge_capacity`` [Ah] as counted, ``capacity`` [Ah], their difference, ``charge_energy``,
        ``discharge_energy`` [Wh], ``cycle``, ``step``, ``step_time`` [s], ``temperature`` [degC], other columns under
        their own names; coordinates ``test_time`` [s] and ``time`` (UTC). Of several files see
        `batlab.io.cycler_series.join`.

    Raises
    ------
    ReadError
        For lines that do not fit, with their number.

    Warns
    -----
    UserWarning
        The zone or the order of a date is open; counter and integrated current disagree.
    """
    records = [_read_one(path, hints) for path in paths]
    return cycler_series.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    header = next((n for n, line in enumerate(source.head[:40], 1) if _is_header(line)), None)
    if header is None:
        raise ReadError(f"{path.name}: no line names the columns (Test_Time, Voltage …); the file may be truncated")
    separator = find_separator(source.head[header - 1])
    first = _first_date(source.head, header, separator)
    is_unix = bool(re.fullmatch(r"\d+(?:\.\d*)?", first)) and _UNIX[0] < float(first) < _UNIX[1]
    if source.is_long or hints.get("start") is not None or not is_unix:
        return _layout.read(source, header, separator, LAYOUT if not is_unix else _UNDATED, hints)
    ds = _layout.read(source, header, separator, _UNDATED, hints)
    time = _dates.timeline(ds["date_time"].values, ds["test_time"].values, path.name)
    # Seconds since 1970 are UTC whatever the zone of the laboratory.
    return ds.assign_coords(time=quantity("record", time, "", "time, UTC")).assign_attrs(clock="UTC")


def _first_date(head: list[str], header: int, separator: str) -> str:
    labels = [_layout.label(word)[0] for word in head[header - 1].split(separator)]
    place = next((labels.index(word) for word in LAYOUT.dates if word in labels), None)
    row = head[header].split(separator) if len(head) > header else []
    return row[place].strip() if place is not None and place < len(row) else ""


def record_of(table: Table, hints: dict[str, Any], attrs: dict[str, Any] | None = None) -> xr.Dataset:
    """Return the record in a table of numbers, whose dates are days since 1899 of a local clock.

    Raises
    ------
    ReadError
        Without time or voltage.
    """
    _layout.check_hints(hints)
    columns = _layout.columns_of(table, LAYOUT, hints)
    _layout.settle(columns, table, LAYOUT, hints)
    test_time, name, attrs = columns["test_time"].values, table.name, dict(attrs or {})
    labels = [_layout.label(word)[0] for word in table.names]
    place = next((labels.index(word) for word in LAYOUT.dates if word in labels), None)
    time = None
    if hints.get("start") is not None:
        time, attrs["clock"] = _cycler.utc(hints["start"]) + _cycler.elapsed(test_time), local_clock.told(None, 0)
    elif place is not None and np.isfinite(table.numbers(place)).any():
        zone = local_clock.zone_of(hints.get("timezone"))
        moments = local_clock.to_utc(local_clock.from_serial(table.numbers(place)), zone)
        seconds = (moments - np.datetime64(0, "ns")) / np.timedelta64(1, "s")
        time, attrs["clock"] = _dates.timeline(seconds, test_time, name), local_clock.told(zone)
        if zone is None:
            local_clock.warn_unstated(name, stacklevel=5)
    return _cycler.dataset(columns, name, time=time, attrs=attrs)


def joined(records: list[xr.Dataset], paths: list[Path]) -> xr.Dataset:
    """Return the records of several files as one, see `batlab.io.cycler_series.join`."""
    return cycler_series.join(records, [path.name for path in paths])
