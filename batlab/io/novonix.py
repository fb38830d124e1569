"""Novonix' csv exports (ultra-high precision coulometry): sections in brackets, the record under ``[Data]``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import xarray as xr

from batlab.io import _cycler, _layout, _rows
from batlab.io._layout import Layout
from batlab.io._text import peek

NAME = "Novonix records"
HINTS = _layout.HINTS

_HEADER = re.compile(r"^Date and Time,Cycle Number,")
_FACTS = {"cell": "Cell", "description": "Description", "version": "Version", "mass": "Mass (g)"}
_LAYOUT = Layout(
    meanings={
        "test_time": {"run time": "h"},
        "step_time": {"step time": "h"},
        "voltage": {"potential": "V"},
        "current": {"current": "A"},
        "capacity": {"capacity": "Ah"},
        "energy_recorded": {"energy": "Wh"},
        "temperature": {"temperature": "degC"},
        "cycle": {"cycle number": ""},
        "step": {"step number": ""},
    },
    dates=("date and time",),
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file starts with Novonix' summary, or with its table. Never raises."""
    text = peek(head)
    return bool(_HEADER.match(text)) or (text.startswith("[Summary]") and "novonix" in text[:200].lower())


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several of one cell joined by their clocks.

    Parameters
    ----------
    paths
        csv exports.
    **hints
        As for `batlab.io.maccor.read`.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``capacity`` [Ah] and ``energy_recorded``
        [Wh] as counted, ``cycle``, ``step``, ``step_time`` [s], ``temperature`` [degC] of the cell, other columns under
        their own names; coordinates ``test_time`` [s] and ``time`` (UTC).

    Raises
    ------
    ReadError
        For lines that do not fit, with their number; without a section ``[Data]``.

    Warns
    -----
    UserWarning
        The zone of the clock is open; counter and integrated current disagree.
    """
    records = [_read_one(path, hints) for path in paths]
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    header = _rows.header_line(source, _HEADER.match, "under [Data]")
    result = _layout.read(source, header, ",", _LAYOUT, hints)
    above = dict(line.partition(":")[::2] for line in source.head[: header - 1] if not line.startswith("{"))
    return result.assign_attrs(
        {key: above[name].strip() for key, name in _FACTS.items() if above.get(name, "").strip()}
    )
