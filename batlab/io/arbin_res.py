"""Arbin's result databases: ``.res`` of MITS Pro, a Microsoft Access database of one or more tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io import arbin, jet
from batlab.io._table import Table

NAME = "Arbin result databases (.res)"
HINTS = arbin.TABLE_HINTS | {"test"}

RECORD, TESTS = "Channel_Normal_Table", "Global_Table"
_FACTS = {"test_name": "Test_Name", "item": "Item_ID", "schedule": "Schedule_File_Name", "creator": "Creator"}


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is an Access database. Never raises."""
    return head.startswith(jet.MAGIC)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one test, or of several files of one cell joined in order of their clocks.

    Parameters
    ----------
    paths
        ``.res`` files.
    **hints
        ``timezone``: the clock is local and names no zone; ``start``: UTC time of test time 0; ``current_sign``;
        ``test``: the number of the test, for a file of several.

    Returns
    -------
    Dataset
        As `batlab.io.arbin.read`, in order of the data points; attributes ``test_name``, ``schedule``.

    Raises
    ------
    ReadError
        The database is cut, encrypted, of another version, or no result of Arbin; it holds several tests.

    Warns
    -----
    UserWarning
        The zone of the clock is open; counter and integrated current disagree.
    """
    return arbin.joined([_read_one(path, hints) for path in paths], paths)


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    database = jet.Database(path.read_bytes(), path.name)
    tables = database.tables
    if RECORD not in tables:
        told = ", ".join(sorted(tables)) or "none"
        raise ReadError(f"{path.name}: is an Access database without {RECORD!r}, so no result of Arbin; it has {told}")
    columns = {name: values for name, values in database.read(tables[RECORD]).items() if isinstance(values, np.ndarray)}
    if not columns or not len(next(iter(columns.values()))):
        raise ReadError(f"{path.name}: {RECORD} holds no record")
    chosen = _test(columns.get("Test_ID"), hints.get("test"), path.name)
    rows = np.flatnonzero(columns["Test_ID"] == chosen) if chosen is not None else np.arange(len(columns["Test_Time"]))
    if "Data_Point" in columns:
        rows = rows[np.argsort(columns["Data_Point"][rows], kind="stable")]
    names = [name for name in columns if name != "Test_ID"]
    table = Table(path.name, names, [columns[name][rows] for name in names], (rows + 1).tolist(), ".", [])
    facts = database.read(tables[TESTS]) if TESTS in tables else {}
    return arbin.record_of(table, hints, _attributes(facts, chosen))


def _test(numbers: np.ndarray | None, wanted: int | None, name: str) -> int | None:
    if numbers is None:
        return None
    there = sorted({int(number) for number in numbers[np.isfinite(numbers)]})
    if wanted is not None:
        choose("test", wanted, there)
        return wanted
    if len(there) > 1:
        raise ReadError(f"{name}: holds the tests {', '.join(map(str, there))}; pass test={there[0]} or another")
    return there[0] if there else None


def _attributes(facts: dict[str, Any], test: int | None) -> dict[str, Any]:
    numbers = list(facts.get("Test_ID", []))
    place = numbers.index(test) if test in numbers else None
    attrs: dict[str, Any] = {}
    if place is not None:
        for key, column in _FACTS.items():
            text = str(facts[column][place]).strip() if column in facts else ""
            if text:
                attrs[key] = text
        if "Channel_Index" in facts and np.isfinite(facts["Channel_Index"][place]):
            attrs["channel"] = str(int(facts["Channel_Index"][place]))
    return attrs
