"""Arbin's Excel workbooks: an information sheet, and a channel's record on one sheet or on several in a row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io import _layout, arbin, xlsx, zipped
from batlab.io._table import Table

NAME = "Arbin workbooks (.xlsx)"
HINTS = arbin.TABLE_HINTS | {"channel"}

_CHANNEL = re.compile(r"^Channel[_ -]?(\d+(?:-\d+)?)(?:_(\d+))?$", re.IGNORECASE)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is an Excel workbook. Never raises."""
    return xlsx.is_workbook(zipped.names_at_head(path, head))


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one workbook, or of several of one cell joined in order of their clocks.

    Parameters
    ----------
    paths
        ``.xlsx`` files of MITS Pro or Data Watcher.
    **hints
        ``timezone``: the clock is local and names no zone; ``start``: UTC time of test time 0; ``current_sign``;
        ``channel``, e.g. "1-008", for a workbook of several.

    Returns
    -------
    Dataset
        As `batlab.io.arbin.read`. Of several files see `batlab.io.cycler_series.join`.

    Raises
    ------
    ReadError
        The workbook is cut, holds no channel's record or several, or would unpack to too much.
    UnsafePathError
        It names a sheet outside itself.

    Warns
    -----
    UserWarning
        It has links to other workbooks, which are not followed; the zone of its clock is open; counter and integrated
        current disagree.
    """
    return arbin.joined([_read_one(path, hints) for path in paths], paths)


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    with zipped.unpacking(path) as archive:
        book = xlsx.opened(archive, path.name)
        channel, titles = _channel(book, hints.get("channel"))
        sheets = [xlsx.read_sheet(book, title) for title in titles]
    for sheet in sheets[1:]:
        if sheet.names != sheets[0].names:
            raise ReadError(f"{path.name}: the sheets {sheets[0].title!r} and {sheet.title!r} name different columns")
    columns = [_stacked([sheet.columns[i] for sheet in sheets]) for i in range(len(sheets[0].names))]
    rows = np.concatenate([sheet.rows for sheet in sheets])
    days = 1462 if book.is_1904 else 0
    if days:
        columns = [one + days if _layout.label(name)[0] in arbin.LAYOUT.dates and isinstance(one, np.ndarray) else one
                   for name, one in zip(sheets[0].names, columns, strict=True)]  # fmt: skip
    table = Table(path.name, sheets[0].names, columns, rows.tolist(), ".", [])
    return arbin.record_of(table, hints, {"channel": channel} if channel else {})


def _stacked(parts: list[Any]) -> Any:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return [word for part in parts for word in (part if isinstance(part, list) else map(str, part))]


def _channel(book: xlsx.Workbook, wanted: str | None) -> tuple[str, list[str]]:
    """Return the name of the channel and the titles of its sheets, in order."""
    found: dict[str, list[tuple[int, str]]] = {}
    for title in book.parts:
        match = _CHANNEL.match(title.strip())
        if match:
            found.setdefault(match[1], []).append((int(match[2] or 0), title))
    if not found:
        # Renamed by hand: a record is known by its columns. (Statistics have the same ones, one row a cycle.)
        named = [t for t in book.parts if arbin.is_table([_layout.label(word)[0] for word in xlsx.header(book, t)])]
        found = {title: [(0, title)] for title in named if not title.lower().startswith("statistic")}
    if not found:
        told = ", ".join(map(repr, book.parts)) or "none"
        raise ReadError(f"{book.name}: no sheet holds a channel's record (Test_Time, Voltage …); its sheets are {told}")
    if wanted is not None:
        choose("channel", wanted, sorted(found))
    elif len(found) > 1:
        told = " or ".join(repr(name) for name in sorted(found))
        raise ReadError(f"{book.name}: holds the records of several channels; pass channel={told}")
    name = wanted or next(iter(found))
    return name, [title for _, title in sorted(found[name])]
