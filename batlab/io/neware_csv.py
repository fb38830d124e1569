"""Neware's csv exports of BTSDA, one row a data point (not the layered one, with cycles and steps between the rows)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from batlab.errors import ReadError
from batlab.io import _layout, _rows, cycler_series
from batlab.io._cycler import Column
from batlab.io._layout import Layout
from batlab.io._table import find_separator
from batlab.io._text import peek

NAME = "Neware records (csv)"
HINTS = _layout.HINTS


def _signed(columns: dict[str, Column], name: str) -> None:
    """Make the step's counter signed, as the difference of its charge and discharge."""
    up, down = columns.get("charge_capacity"), columns.get("discharge_capacity")
    if up is not None and down is not None:
        told = "charge counter of the cycler, from zero in each step, negative on discharge"
        columns["capacity"] = Column(up.values - down.values, "Ah", told)


_LAYOUT = Layout(
    meanings={
        "test_time": {"cumulative time": "", "total time": "", "run time": ""},
        "step_time": {"time": "", "step time": ""},
        "voltage": {"voltage": ""},
        "current": {"current": ""},
        "charge_capacity": {"chg. cap.": ""},
        "discharge_capacity": {"dchg. cap.": ""},
        "charge_energy": {"chg. energy": ""},
        "discharge_energy": {"dchg. energy": ""},
        "cycle": {"cycle index": ""},
        "step": {"step index": ""},
        "record_number": {"datapoint": "", "data point": ""},
    },
    dates=("date", "absolute time"),
    state=("step type",),
    charging=("cc chg", "cv chg", "cccv chg", "cp chg", "cr chg"),
    discharging=("cc dchg", "cv dchg", "cccv dchg", "cp dchg", "cr dchg"),
    mend=_signed,
    names={"step type": "state", "capacity": "step_capacity", "energy": "step_energy"},
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the first line names the columns as Neware does. Never raises."""
    return _is_header(peek(head).split("\n", 1)[0])


def _is_header(line: str) -> bool:
    labels = {_layout.label(word)[0] for word in line.split(find_separator(line))}
    return {"cycle index", "step type", "voltage", "current"} <= labels and bool({"datapoint", "data point"} & labels)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several files of one cell joined in order of their clocks.

    Parameters
    ----------
    paths
        csv exports.
    **hints
        As for `batlab.io.maccor.read`.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``charge_capacity``, ``discharge_capacity``
        [Ah] and energies [Wh], which start from zero in each step, ``capacity`` [Ah], their difference, ``cycle``,
        ``step``, ``step_time`` [s], ``state``, other columns under their own names; coordinates ``test_time`` [s] and
        ``time`` (UTC). Of several files see `batlab.io.cycler_series.join`.

    Raises
    ------
    ReadError
        For lines that do not fit, with their number.

    Warns
    -----
    UserWarning
        The zone of the clock is open; counter and integrated current disagree.
    """
    records = [_read_one(path, hints) for path in paths]
    return cycler_series.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    if not _is_header(source.head[0]):
        raise ReadError(f"{path.name}: its first line names no columns of Neware (DataPoint, Cycle Index …)")
    return _layout.read(source, 1, find_separator(source.head[0]), _LAYOUT, hints)
