"""Basytec's text exports: a header of ``~`` lines, the last of which names the columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import xarray as xr

from batlab.io import _cycler, _layout, _rows
from batlab.io._layout import Layout
from batlab.io._table import find_separator
from batlab.io._text import peek

NAME = "Basytec records"
HINTS = _layout.HINTS

_HEADER = re.compile(r"^~?Time\s*\[(?:s|h|min)\][\t;,]")
_FACTS = {"test": "Name of Test", "battery": "Battery", "testplan": "Testplan", "channel": "Testchannel"}
_LAYOUT = Layout(
    meanings={
        "test_time": {"~time": "", "time": ""},
        "step_time": {"t-step": ""},
        "voltage": {"u": ""},
        "current": {"i": ""},
        "capacity": {"ah": "Ah"},
        "energy_recorded": {"wh": "Wh"},
        "temperature": {"t1": "degC"},
        "cycle": {"cyc-count": ""},
        "step": {"line": ""},
        "record_number": {"dataset": ""},
    },
    dates=("date", "~date"),
    names={"command": "state", "state": "record_state"},
    units={"ah-": "Ah", "wh-": "Wh"},
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file says that it is Basytec's, or names its columns as Basytec does. Never raises."""
    text = peek(head)
    return text.startswith("~Resultfile from Basytec") or any(
        _HEADER.match(line) and "U[V]" in line for line in text.split("\n")[:40]
    )


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several of one cell joined by their clocks.

    Parameters
    ----------
    paths
        Text exports.
    **hints
        As for `batlab.io.maccor.read`.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``capacity`` [Ah] and ``energy_recorded``
        [Wh], net, ``cycle``, ``step`` (line of the test plan), ``state`` (the command), ``temperature`` [degC], other
        columns under their own names; coordinates ``test_time`` [s] and, from the start of the test, ``time`` (UTC).

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
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    header = _rows.header_line(source, _HEADER.match, "(~Time[s], U[V] …)")
    above = dict(line.lstrip("~").partition(": ")[::2] for line in source.head[: header - 1])
    separator = find_separator(source.head[header - 1])
    result = _layout.read(source, header, separator, _LAYOUT, hints, started=above.get("Start of Test", "").strip())
    return result.assign_attrs(
        {key: above[name].strip() for key, name in _FACTS.items() if above.get(name, "").strip()}
    )
