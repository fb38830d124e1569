"""Maccor's text exports: tabs or commas, decimal point or comma, with or without units, in four known layouts.

The counters ``Amp-hr`` and ``Watt-hr`` are unsigned and start anew when the cycler turns; the state (C, D, R …) stands
beside them. A last line that was cut is left out with a `UserWarning`.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler, _layout, _rows
from batlab.io._cycler import Column
from batlab.io._layout import Layout
from batlab.io._table import find_separator
from batlab.io._text import peek

NAME = "Maccor records"
HINTS = _layout.HINTS

_HEADER = re.compile(r'^"?Rec#?"?[\t,;]', re.MULTILINE)
_COLUMNS = re.compile(r"(?:Amps|Current|Volts|Voltage)\b", re.IGNORECASE)
_STARTED = re.compile(
    r"(?:Date of Test:?|Started)[\t, ]+(\d{1,2}[/.-]\w{1,3}[/.-]\d{2,4}(?: +\d+:\d\d:\d\d(?: *[AP]M)?)?)"
)
_FACTS = {"procedure": r"Procedure:?[\t ]+([^\t\n]*?)(?:[\t ]+Comment|[\t\n])", "comment": r"Barcode: *([^\t\n]*)"}
_LARGEST = 10.0  # V of one cell; more under "Volts" is millivolts


def _mend(columns: dict[str, Column], name: str) -> None:
    """Read "Volts" beyond any cell as millivolts where the charge and energy counters say so."""
    voltage = columns["voltage"]
    largest = float(np.nanmax(np.abs(voltage.values), initial=0))
    if largest <= _LARGEST:
        return
    told = _told_by_counters(columns)
    if not 0.95 < told * 1e3 < 1.05:
        column = voltage.attrs["column"]
        raise ReadError(f"{name}: the column {column!r} reaches {largest:g}, too much for volts; pass voltage_unit=")
    warnings.warn(
        f"{name}: the column {voltage.attrs['column']!r} reaches {largest:g} and is read as mV: the energy counter "
        f"over the charge counter is {told:.3g} of it",
        UserWarning,
        stacklevel=7,
    )
    columns["voltage"] = Column(voltage.values * 1e-3, "V", voltage.long_name, voltage.attrs)


def _told_by_counters(columns: dict[str, Column]) -> float:
    """Return energy over charge times voltage, summed over the steps in which both counters grow: 1 where V is V."""
    if not {"capacity", "energy_recorded"} <= set(columns):
        return float("nan")
    charge, energy = (np.diff(columns[key].values) for key in ("capacity", "energy_recorded"))
    voltage = columns["voltage"].values
    grows = (charge > 0) & (energy > 0)
    return float(energy[grows].sum() / max((charge * (voltage[1:] + voltage[:-1]) / 2)[grows].sum(), 1e-300))


_LAYOUT = Layout(
    meanings={
        "test_time": {"test": "s", "test time": "", "testtime": ""},
        "step_time": {"step (sec)": "s", "step(sec)": "s", "step time": "", "steptime": ""},
        "voltage": {"volts": "V", "voltage": "", "mvolts": "mV"},
        "current": {"amps": "A", "mamps": "mA", "current": ""},
        "capacity": {"amp-hr": "Ah", "mamp-hr": "mAh", "cap.": "", "capacity": ""},
        "energy_recorded": {"watt-hr": "Wh", "mwatt-hr": "mWh", "ener.": "", "energy": ""},
        "temperature": {"temp 1": "degC", "temp1": "degC"},
        "cycle": {"cyc#": "", "cycle c": "", "cycle": "", "cyc": ""},
        "step": {"step": "", "step#": ""},
        "record_number": {"rec#": "", "rec": ""},
    },
    dates=("dpt time", "dpt-time", "dpttime"),
    state=("state", "md"),
    charging=("c",),
    discharging=("d",),
    ending="cut",
    mend=_mend,
    names={"md": "state"},
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether a line starts with ``Rec`` or ``Rec#`` and names a current and a voltage. Never raises."""
    text = peek(head)
    found = _HEADER.search(text)
    return found is not None and len(_COLUMNS.findall(text[found.start() :].split("\n", 1)[0])) >= 2


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several of one cell joined by their clocks.

    Parameters
    ----------
    paths
        Text exports.
    **hints
        ``current_unit``, ``capacity_unit``, ``energy_unit``, ``voltage_unit``, ``time_unit`` where the file names none;
        ``current_sign`` (see `batlab.io.cycler_text`); ``timezone``, e.g. "Europe/Paris": the file's clock names no
        zone; ``date_order``: "month_first" or "day_first"; ``start``: UTC time of test time 0; ``encoding``;
        ``decimal``.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``capacity`` [Ah] and ``energy_recorded``
        [Wh] as counted, ``cycle``, ``step``, ``step_time`` [s], ``state`` (C, D, R …), ``temperature`` [degC], other
        columns under their own names; coordinates ``test_time`` [s] and ``time`` (UTC). What has no known unit is kept
        as ``current_raw``, ``capacity_raw``, ``energy_recorded_raw``.

    Raises
    ------
    ReadError
        For lines that do not fit, with their number, and where nothing tells the unit of time or voltage.

    Warns
    -----
    UserWarning
        A unit, the zone or the order of a date is open; a line is cut; counter and integrated current disagree.
    """
    records = [_read_one(path, hints) for path in paths]
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    header = _rows.header_line(source, _HEADER.match, "(Rec#, Amps, Volts …)")
    above = "\n".join(source.head[: header - 1]) + "\n"
    started = _STARTED.search(above)
    separator = find_separator(source.head[header - 1])
    result = _layout.read(source, header, separator, _LAYOUT, hints, started=started[1].strip() if started else "")
    found = {key: re.search(pattern, above) for key, pattern in _FACTS.items()}
    return result.assign_attrs({key: one[1].strip() for key, one in found.items() if one and one[1].strip()})
