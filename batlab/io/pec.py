"""PEC's csv exports: a header of ``Name:,value`` lines, then one table of the test's steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import xarray as xr

from batlab.io import _cycler, _layout, _rows
from batlab.io._layout import Layout
from batlab.io._text import peek

NAME = "PEC records"
HINTS = _layout.HINTS

_HEADER = re.compile(r"^Test,Cell,Rack,Shelf,Position,")
_FACTS = {"test": "Test:", "regime": "TestRegime Name:", "product": "Product ID:", "started": "Start Time:"}
_LAYOUT = Layout(
    meanings={
        "test_time": {"total time": "s"},
        "step_time": {"step time": "s"},
        "voltage": {"voltage": ""},
        "current": {"current": ""},
        "charge_capacity": {"charge capacity": ""},
        "discharge_capacity": {"discharge capacity": ""},
        "charge_energy": {"charge energy": ""},
        "discharge_energy": {"discharge energy": ""},
        "temperature": {"temp": "degC"},
        "cycle": {"cycle": ""},
        "step": {"step": ""},
    },
    dates=("real time",),
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file starts as a PEC test report, or with its table. Never raises."""
    text = peek(head)
    return bool(_HEADER.match(text)) or (text.startswith("Request Year:,") and "\nTestRegime" in text)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one test, or of several tests of one cell joined by their clocks.

    Parameters
    ----------
    paths
        csv exports.
    **hints
        As for `batlab.io.maccor.read`.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``charge_capacity``,
        ``discharge_capacity`` [Ah], ``charge_energy``, ``discharge_energy`` [Wh], ``cycle``, ``step``, ``step_time``
        [s], ``temperature`` [degC], other columns under their own names; coordinates ``test_time`` [s], ``time`` (UTC).

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
    header = _rows.header_line(source, _HEADER.match, "(Test,Cell,Rack …)")
    result = _layout.read(source, header, ",", _LAYOUT, hints)
    above = [line.partition(",") for line in source.head[: header - 1]]
    facts = {key: value.strip() for key, label in _FACTS.items() for name, _, value in above if name == label}
    return result.assign_attrs({key: value for key, value in facts.items() if value})
