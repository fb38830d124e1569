"""BioLogic's text exports: ``.mpt`` of EC-Lab and ``.txt`` of BT-Lab, in any locale and of any header length.

A file whose last line is cut, or with fewer points than its loops state, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler, local_clock
from batlab.io._cycler import Column
from batlab.io._table import Table, find_decimal, read_table
from batlab.io._text import peek, read_text

NAME = "BioLogic records (.mpt)"
HINTS = frozenset({"timezone", "start", "encoding"})

_TITLE = re.compile(r"\A\s*(?:EC|BT)-Lab ASCII FILE", re.IGNORECASE)
_COUNT = re.compile(r"^Nb header lines\s*:\s*(\d+)", re.MULTILINE)
_NAMES = re.compile(r"(?:^|\t)(?:time/s|freq/Hz|<?E(?:we|cell)>?/V)(?=\t|$)", re.MULTILINE)
_STAMP = re.compile(r"(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})[ T]+(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")

# Column of the data model -> columns of the file, the best first.
MEANINGS: dict[str, tuple[tuple[str, ...], str]] = {
    "test_time": (("time",), "time since the start of the test"),
    "voltage": (("Ecell", "<Ecell>", "Ewe", "<Ewe>", "|Ewe|"), "voltage"),
    "current": (("I", "<I>"), "current, positive on charge"),
    "capacity": (("(Q-Qo)", "Q charge/discharge", "Capacity"), "charge counter of the cycler"),
    "cycle": (("cycle number",), "number of the cycle"),
    "step": (("Ns",), "step of the programme"),
}


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is an EC-Lab or BT-Lab text export, with or without its header. Never raises."""
    text = peek(head)
    return bool(_TITLE.match(text)) or bool(_NAMES.search(text.split("\n", 1)[0]) and "\t" in text)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several files of one test joined by their clocks.

    Parameters
    ----------
    paths
        Text exports of EC-Lab or BT-Lab.
    **hints
        ``timezone``, e.g. "Europe/Paris" or "UTC": the file's clock is local and names no zone; ``start``: UTC
        time of test time 0, for a file without a date or with a wrong one; ``encoding``.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive = oxidation at the working electrode = charge of a
        cathode], ``capacity`` [Ah, (Q-Qo) where the file has it], ``cycle``, ``step``, and all other columns under
        their own names; coordinates ``test_time`` [s] and, where the file states its start, ``time`` (UTC).

    Raises
    ------
    ReadError
        For lines that do not fit the header, with their number; for a record shorter than stated.

    Warns
    -----
    UserWarning
        Without ``timezone``, the local clock stands in ``time`` as if it were UTC (attribute ``clock`` says so).
    """
    zone = local_clock.zone_of(hints.get("timezone"))
    start = None if hints.get("start") is None else _cycler.utc(hints["start"])
    if start is not None and len(paths) > 1:
        raise ReadError(f"{paths[1].name}: start= belongs to one file; open the files one by one")
    records = [_read_one(path, zone, start, hints.get("encoding")) for path in paths]
    if zone is None and start is None and any("time" in one.coords for one in records):
        local_clock.warn_unstated(paths[0].name, stacklevel=2)
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, zone: ZoneInfo | None, given: np.datetime64 | None, encoding: str | None) -> xr.Dataset:
    text = read_text(path, encoding)
    header_line = _header_line(text, path.name)
    lines = text.split("\n", header_line)
    header, body = "\n".join(lines[: header_line - 1]), lines[-1]
    table = read_table(text, path.name, header_line, separator="\t", decimal=find_decimal(body, "\t"), is_strict=True)
    _check_whole(table, header)
    columns, clock = _columns(table)
    start = _start(header, path.name)
    time = None
    if clock is not None:
        time = _to_utc(clock[0], zone) + np.array([np.timedelta64(moment - clock[0], "ns") for moment in clock])
        zero = start or clock[0]
        seconds = np.array([(moment - zero).total_seconds() for moment in clock])
        columns["test_time"] = Column(seconds, "s", MEANINGS["test_time"][1], {"column": "time/s"})
    elif start is not None and "test_time" in columns:
        time = _to_utc(start, zone) + _cycler.elapsed(columns["test_time"].values)
    attrs = _attributes(header)
    if time is not None:
        attrs["clock"] = local_clock.told(zone)
    if given is not None and "test_time" in columns:
        time, attrs["clock"] = given + _cycler.elapsed(columns["test_time"].values), "start given by the user"
    return _cycler.dataset(columns, path.name, time=time, attrs=attrs)


def _header_line(text: str, name: str) -> int:
    """Return the line (from 1) that names the columns: as stated, else the first that looks like it."""
    stated = _COUNT.search(text[:4096])
    found = _NAMES.search(text)
    if stated:
        n = int(stated[1])
        if text.count("\n") + 1 <= n:
            raise ReadError(
                f"{name}: states {n} header lines and has {text.count(chr(10)) + 1} lines; the file may be truncated"
            )
        lines = text.split("\n", n)
        if n >= 1 and "\t" in lines[n - 1] and not re.match(r"\s*[-+\d]", lines[n - 1]):
            return n
    if found is None:
        raise ReadError(f"{name}: no line names the columns (time/s, Ewe/V …); the file may be truncated")
    start = text.rfind("\n", 0, found.start() + 1) + 1 if text[found.start()] != "\n" else found.start() + 1
    return text.count("\n", 0, start) + 1


def _check_whole(table: Table, header: str) -> None:
    """Refuse a record that ends early: EC-Lab writes exponents of three digits and the last point of each loop."""
    last = table.lines[-1]
    if table.n_rows > 1:
        for name, word, before in zip(table.names, table.last[-1], table.last[-2], strict=True):
            if re.search(r"E[-+]\d{3}\s*$", before) and not re.search(r"E[-+]\d{3}\s*$|^\s*(?:XXX|nan)", word):
                raise ReadError(
                    f"{table.name}: line {last}: {name!r} ends with {word!r}, which is cut; the file may be truncated"
                )
    loops = re.findall(r"^Loop \d+ from point number \d+ to (\d+)", header, re.MULTILINE)
    if loops and table.n_rows < int(loops[-1]) + 1:
        raise ReadError(
            f"{table.name}: states {int(loops[-1]) + 1} points, has {table.n_rows}; the file may be truncated"
        )


def _name_and_unit(label: str) -> tuple[str, str, str]:
    """Return a column's name, its unit as a key of ``_cycler.UNITS`` ("" if none is known), and the unit as written.

    >>> _name_and_unit("Q charge/discharge/mA.h"), _name_and_unit("ox/red"), _name_and_unit("control/V/mA")
    (('Q charge/discharge', 'mAh', 'mA.h'), ('ox/red', '', '1'), ('control', '', 'V or mA'))
    """
    if label == "control/V/mA":
        return "control", "", "V or mA"
    name, slash, unit = label.rpartition("/")
    known = _cycler.known_unit(unit) if slash else None
    if known is not None:
        return name, known, unit
    return label, "", "1"


def _columns(table: Table) -> tuple[dict[str, Column], list[datetime] | None]:
    is_stamped = {i for i, label in enumerate(table.names) if label.startswith("time/") and not table.is_number(i)}
    labels = [label for i, label in enumerate(table.names) if i not in is_stamped]
    places = [i for i in range(len(table.names)) if i not in is_stamped]
    clock = None
    for i in is_stamped:
        clock = [_moment(word, table, row) for row, word in enumerate(table.words(i))]
    return arranged(labels, lambda place: table.numbers(places[place])), clock


def arranged(labels: list[str], values: Callable[[int], np.ndarray]) -> dict[str, Column]:
    """Return the columns that EC-Lab calls `labels`, in the units and under the names of the data model.

    `values` gives the numbers of one column by its place. The text export and the binary file share this.
    """
    parsed = [_name_and_unit(label) for label in labels]
    chosen: dict[int, str] = {}
    for meaning, (names, _) in MEANINGS.items():
        place = next((i for wanted in names for i, (name, _, _) in enumerate(parsed) if name == wanted), None)
        if place is not None:
            chosen[place] = meaning
    columns: dict[str, Column] = {}
    for i in sorted(range(len(parsed)), key=lambda i: i not in chosen):
        name, unit, written = parsed[i]
        numbers, attrs = values(i), {"column": labels[i]}
        one = _cycler.column(numbers, unit, name, **attrs) if unit else Column(numbers, written, name, attrs)
        if i in chosen:
            columns[chosen[i]] = Column(one.values, one.units, MEANINGS[chosen[i]][1], one.attrs)
        else:
            own = "half_cycle_capacity" if name == "Capacity" else _cycler.slug(name)
            columns[_cycler.free_name(own, one.units, columns)] = one
    return columns


def _moment(word: str, table: Table, row: int) -> datetime:
    found = _STAMP.search(word)
    if found is None:
        raise ReadError(f"{table.name}: line {table.lines[row]}: {word[:40]!r} is neither seconds nor a date with time")
    try:
        return _datetime(found)
    except ValueError as error:
        raise ReadError(f"{table.name}: line {table.lines[row]}: {word[:40]!r} is no date") from error


def _datetime(found: re.Match[str]) -> datetime:
    """Return a date of EC-Lab: month/day/year with slashes (day first if above 12), day.month.year with dots."""
    one, sign, two, three = found[1], found[2], found[3], found[4]
    if len(one) == 4:
        year, month, day = one, two, three
    elif sign == "/" and int(one) <= 12:
        month, day, year = one, two, three
    else:
        day, month, year = one, two, three
    micro = int((found[8] or "0").ljust(6, "0"))
    return datetime(int(year), int(month), int(day), int(found[5]), int(found[6]), int(found[7]), micro)


def _start(header: str, name: str) -> datetime | None:
    found = re.search(r"^Acquisition started on\s*:\s*(.*)$", header, re.MULTILINE)
    stamp = _STAMP.search(found[1]) if found else None
    if stamp is None:
        return None
    try:
        return _datetime(stamp)
    except ValueError as error:
        raise ReadError(f"{name}: the start of the acquisition, {stamp[0]!r}, is no date") from error


def _to_utc(moment: datetime, zone: ZoneInfo | None) -> np.datetime64:
    return local_clock.to_utc(np.array([moment], "M8[ns]"), zone)[0]


def _attributes(header: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    lines = header.split("\n")
    if len(lines) > 3 and lines[3].strip():
        attrs["technique"] = lines[3].strip()
    for key, label in (
        ("started", "Acquisition started on"),
        ("device", "Device"),
        ("electrode_material", "Electrode material"),
        ("characteristic_mass", "Characteristic mass"),
    ):
        found = re.search(rf"^{label}\s*:[ \t]*(\S.*?)\s*$", header, re.MULTILINE)
        if found:
            attrs[key] = found[1]
    return attrs
