"""Landt's (LAND, LANHE) text exports: csv of ``channel_index, … voltage_V``, and tables of ``TestTime … Voltage/V``.

Built from published descriptions of these exports, and from public files of the csv; a third export, whose first column
is ``Rec#``, is that of `batlab.io.maccor`. Workbooks (.xls) and the binary .cex are not read: export csv or text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import xarray as xr

from batlab.io import _cycler, _layout, _rows
from batlab.io._layout import Layout
from batlab.io._table import find_separator
from batlab.io._text import peek

NAME = "Landt records"
HINTS = _layout.HINTS

_HEADER = re.compile(
    r"^(?=.*\bcurrent_A\b)(?=.*\bvoltage_V\b)(?=.*\btest_time_s\b)"
    r"|^(?=.*(?:TestTime|测试时间))(?=.*(?:Voltage|电压)/V)(?=.*(?:Current|电流)/mA)"
)
_LAYOUT = Layout(
    meanings={
        "test_time": {"test time": "s", "testtime": "s", "测试时间": "s"},
        "step_time": {"step time": "s", "steptime": "s", "步骤时间": "s"},
        "voltage": {"voltage": "V", "电压": "V"},
        "current": {"current": "mA", "电流": "mA"},
        "capacity": {"capacity": "mAh", "容量": "mAh"},
        "charge_capacity": {"charge capacity": "Ah"},
        "discharge_capacity": {"discharge capacity": "Ah"},
        "energy_recorded": {"energy": "mWh", "能量": "mWh"},
        "charge_energy": {"charge energy": "Wh"},
        "discharge_energy": {"discharge energy": "Wh"},
        "temperature": {"temperature 1": "degC", "auxtemp": "degC"},
        "cycle": {"cycle index": "", "cycle-index": "", "cycleno": ""},
        "step": {"step index": "", "step-index": "", "stepno": ""},
        # What the csv calls its channel counts the records.
        "record_number": {"channel index": "", "index": "", "record": "", "记录序号": ""},
    },
    dates=("date time iso string", "systime", "系统时间"),
    state=("state", "step-state", "状态"),
    charging=("c_cc", "c_cv", "c_cccv", "c_rate", "ratec"),
    discharging=("d_cc", "d_cv", "d_rate", "rated"),
    names={"step name": "state", "step-state": "state", "状态": "state"},
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether a line names the columns as Landt does. Never raises."""
    return any(_HEADER.match(line) for line in peek(head).split("\n")[:40])


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several of one cell joined by their clocks.

    Parameters
    ----------
    paths
        csv or text exports.
    **hints
        As for `batlab.io.maccor.read`.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``capacity``, or ``charge_capacity`` and
        ``discharge_capacity`` [Ah], energies [Wh] likewise, ``cycle``, ``step``, ``state``, ``temperature`` [degC],
        other columns under their own names; coordinates ``test_time`` [s] and ``time`` (UTC).

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
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    header = _rows.header_line(source, _HEADER.match, "(test_time_s, voltage_V …)")
    return _layout.read(source, header, find_separator(source.head[header - 1]), _LAYOUT, hints)
