"""Plain text of a cycler: csv with units in its header, and bare columns of hh:mm:ss, voltage and current.

Such files often leave units, the current's sign and the date open. Units and sign come from hints, the date from
``start=``; nothing is guessed. A file cut inside its last line gives the whole lines and a `UserWarning`.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io import _cycler, _dates, _long, _rows, _sign
from batlab.io._cycler import Column
from batlab.io._table import Table, find_decimal, find_separator, read_table, texts
from batlab.io._text import peek, read_text
from batlab.schema import quantity

NAME = "plain text of a cycler"
HINTS = frozenset(
    {
        "voltage_unit",
        "current_unit",
        "capacity_unit",
        "time_unit",
        "current_sign",
        "start",
        "encoding",
        "decimal",
    }
)

_BARE = re.compile(r"^\s*\d+:[0-5]\d:[0-5]\d(?:[.,]\d+)?[\t ;,]+[-+]?[\d.,]+(?:[eE][-+]?\d+)?(?:[\t ;,]|$)")
_NAMED = re.compile(r"[A-Za-z].*[\t;,]|[\t;,].*[A-Za-z]")
# Variable -> names of its column in lower case, the best first.
MEANINGS: dict[str, tuple[str, ...]] = {
    "test_time": (
        "test time", "total time", "cumulative time", "elapsed time", "run time", "~time", "time", "t",
    ),
    "voltage": ("voltage", "cell voltage", "potential", "ecell", "ewe", "u", "e", "v"),
    "current": ("current", "i"),
    "capacity": ("net capacity", "capacity", "q"),
    "cycle": ("cycle", "cycle index", "cycle number", "cycle count", "cycle c", "cyc"),
    "step": ("step", "step index", "step number", "step count", "step id"),
}  # fmt: skip
LONG_NAMES = {
    "test_time": "time since the start of the test",
    "voltage": "voltage",
    "current": "current, positive on charge",
    "capacity": "charge counter of the cycler",
    "cycle": "number of the cycle",
    "step": "number of the step",
}
_MODEL = {"test_time": "s", "voltage": "V", "current": "A", "capacity": "Ah"}
_HINT_OF = {
    "test_time": "time_unit",
    "voltage": "voltage_unit",
    "current": "current_unit",
    "capacity": "capacity_unit",
}
_LABEL = re.compile(r"^(.*?)\s*(?:[(\[{]\s*([^)\]}]*)\s*[)\]}]|/\s*([^/]+)|(?<=[a-z])_([A-Za-zµ]{1,3}))\s*$")
_LARGEST_VOLTAGE = 10.0  # V; more in a bare column is another unit, or a stack of cells


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a csv that names voltage beside time or current, or bare hh:mm:ss columns.

    Never raises.
    """
    lines = peek(head).split("\n")
    if lines and _BARE.match(lines[0]):
        return True
    # A header of names has letters beside a separator; most lines of a pattern fail here at once.
    return any(_is_header(line) for line in lines[:60] if _NAMED.search(line))


def _is_header(line: str) -> bool:
    separator = find_separator(line)
    cells = line.split(separator)
    if not 2 <= len(cells) <= 1000:
        return False
    names = {_label(cell)[0] for cell in cells}
    has = {key: bool(names & set(words)) for key, words in MEANINGS.items()}
    # Single letters alone (q, i; e, t) are no cycler's header: patterns and spectra use them too.
    wordy = any(len(name) > 1 for name in names & {w for key in ("voltage", "current") for w in MEANINGS[key]})
    return wordy and has["voltage"] and (has["test_time"] or has["current"])


def _label(cell: str) -> tuple[str, str]:
    """Return a column's name in lower case and its unit as written, "" if none.

    >>> _label("Voltage (V)"), _label("I/mA"), _label("Test_Time(s)"), _label("Cycle Index")
    (('voltage', 'V'), ('i', 'mA'), ('test time', 's'), ('cycle index', ''))
    """
    text = cell.strip().strip('"').strip()
    found = _LABEL.match(text)
    unit = next((group for group in found.groups()[1:] if group), "") if found else ""
    if found and (_cycler.known_unit(unit) or found[2] is not None or found[3] is not None):
        return " ".join(found[1].lower().replace("_", " ").split()), unit.strip()
    return " ".join(text.lower().replace("_", " ").split()), ""


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several joined by their clocks (which needs dates).

    Parameters
    ----------
    paths
        Text files.
    **hints
        ``voltage_unit``, ``current_unit``, ``capacity_unit``, ``time_unit`` where the file does not say ("V", "mA",
        "mAh", "s", "h" …); ``current_sign``: "positive_charges", "positive_discharges", "voltage" (an unsigned
        record: each constant-current step takes the sign of its voltage's change) or ``{magnitude: 1 or -1}``;
        ``start``: UTC time of test time 0; ``encoding``; ``decimal``.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``capacity`` [Ah] if the file counts it,
        ``cycle``, ``step``, other columns under their own names; coordinates ``test_time`` [s] and, with ``start``,
        ``time`` (UTC). A current of unknown unit or sign is kept as ``current_raw``.

    Raises
    ------
    ReadError
        A unit is needed, or a line does not fit; with the line.

    Warns
    -----
    UserWarning
        The current's unit or sign is not known.
    """
    for hint in _HINT_OF.values():
        if hints.get(hint) is not None:
            wanted = next(_MODEL[key] for key, name in _HINT_OF.items() if name == hint)
            fitting = [unit for unit, (model, _) in _cycler.UNITS.items() if model == wanted]
            choose(hint, hints[hint], fitting)
    records = [_read_one(path, hints) for path in paths]
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    source = _rows.open_source(path, hints.get("encoding"))
    start = None if hints.get("start") is None else _cycler.utc(hints["start"])
    if _BARE.match(source.head[0]):
        columns = _bare(read_text(path, hints.get("encoding")), path.name, hints)
        _settle_current(columns, hints, path.name)
        return _finished(columns, path.name, start)
    header = next((n for n, line in enumerate(source.head[:61], 1) if _is_header(line)), None)
    if header is None:
        raise ReadError(f"{path.name}: no line names a voltage beside a time or current")
    separator = find_separator(source.head[header - 1])
    decimal = hints.get("decimal") or find_decimal("\n".join(source.head[header:]), separator)
    rows = _rows.rows_below(source, header, separator=separator, decimal=decimal)
    if source.is_long:
        return _long_record(rows, hints, start)
    columns = _named(_rows.whole_table(rows), hints)
    _settle_current(columns, hints, path.name)
    return _finished(columns, path.name, start)


def of_columns(raw: dict[str, np.ndarray], name: str, hints: dict[str, Any]) -> xr.Dataset:
    """Return the record of a table in Parquet with a cycler's own labels; ``Date`` holds seconds since 1970.

    Raises
    ------
    ReadError
        No column is a voltage, or the unit of one is not known.
    """
    import pyarrow as pa

    cells = [
        values.astype(float) if values.dtype.kind in "iuf" else pa.array(values.tolist()) for values in raw.values()
    ]
    table = Table(name, list(raw), cells, range(1, len(cells[0]) + 1 if cells else 1), ".", [])
    labels = [_label(label)[0] for label in raw]
    if not any(label in MEANINGS["voltage"] for label in labels):
        raise ReadError(f"{name}: has no column 'Test Time / s'; it names {', '.join(map(repr, raw))}")
    date = next((cells[i] for i, label in enumerate(labels) if label == "date"), None)
    zero = None
    if isinstance(date, np.ndarray):
        counted = next((cells[labels.index(word)] for word in MEANINGS["test_time"] if word in labels), None)
        if hints.get("time_unit") is None and isinstance(counted, np.ndarray):
            hints = {**hints, "time_unit": _dates.unit_of_time(counted, date)}
        zero = date
    columns = _named(table, hints)
    _settle_current(columns, hints, name)
    start = None if hints.get("start") is None else _cycler.utc(hints["start"])
    result = _finished(columns, name, start)
    if start is None and zero is not None and "test_time" in result.coords:
        time = _dates.timeline(zero, result["test_time"].values, name)
        result = result.drop_vars("date", errors="ignore").assign_coords(time=quantity("record", time, "", "time, UTC"))
    return result


def _finished(columns: dict[str, Column], name: str, start: np.datetime64 | None) -> xr.Dataset:
    time = None
    if start is not None:
        if "test_time" not in columns:
            raise ReadError(f"{name}: has no time column, so start= does not apply")
        time = start + _cycler.elapsed(columns["test_time"].values)
    return _cycler.dataset(columns, name, time=time)


def _long_record(rows: _rows.Rows, hints: dict[str, Any], start: np.datetime64 | None) -> xr.Dataset:
    """Return the record of a file that stays on disk; the first piece that can tells the sign of the current."""
    name = rows.source.name
    if hints.get("current_sign") == "voltage":
        raise ReadError(f"{name}: is too long for current_sign='voltage', which needs the whole record in memory")

    def convert(table: Table) -> dict[str, Column]:
        found = _named(table, settled)
        if "test_time" not in found:
            raise ReadError(f"{name}: has no time column")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            _settle_current(found, settled, name)
        return found

    settled = hints
    if hints.get("current_sign") is None and any("current" in convert(table) for _, table in _rows.tables(rows)):
        settled = {**hints, "current_sign": "positive_charges"}
    _settle_current(_named(next(_rows.tables(rows))[1], settled), settled, name)

    return _long.dataset(rows, convert, zero=start, attrs={})


def _bare(text: str, name: str, hints: dict[str, Any]) -> dict[str, Column]:
    """Return the columns of a file without a header: hh:mm:ss, voltage, current, others by number."""
    first = text.split("\n", 1)[0].strip()
    separator = next((sign for sign in "\t;" if sign in first), " " if " " in first else ",")
    if separator == " ":
        text = re.sub(r"[ \t]+", " ", re.sub(r"^[ \t]+|[ \t]+$", "", text, flags=re.MULTILINE))
    n = len([word for word in first.split(None if separator == " " else separator) if word])
    names = ["time", "voltage", "current", *(f"column {i}" for i in range(4, n + 1))][:n]
    decimal = hints.get("decimal") or find_decimal(text, separator)
    table = read_table(text, name, 0, separator=separator, decimal=decimal, names=names)
    columns = _named(table, {"voltage_unit": "V", **hints}, is_bare=True)
    largest = np.nanmax(np.abs(columns["voltage"].values))
    if hints.get("voltage_unit") is None and largest > _LARGEST_VOLTAGE:
        raise ReadError(f"{name}: the second column reaches {largest:g}, too much for volts; pass voltage_unit=")
    return columns


def _named(table: Table, hints: dict[str, Any], *, is_bare: bool = False) -> dict[str, Column]:
    labels = [(name, "") if is_bare else _label(name) for name in table.names]
    chosen: dict[int, str] = {}
    for meaning, words in MEANINGS.items():
        place = next((i for word in words for i, (name, _) in enumerate(labels) if name == word), None)
        if place is not None:
            chosen[place] = meaning
    columns: dict[str, Column] = {}
    for i in sorted(range(len(labels)), key=lambda i: i not in chosen):
        name, written = labels[i]
        unit = _cycler.known_unit(written)
        if i in chosen:
            columns[chosen[i]] = _chosen(table, i, chosen[i], written, hints)
            continue
        if not table.is_number(i):
            values = texts(table, i)
            one = Column(values, "1", name)
        elif unit is not None:
            one = _cycler.column(table.numbers(i), unit, name, column=table.names[i])
        else:
            one = Column(table.numbers(i), written or "unknown", name, {"column": table.names[i]})
        columns[_cycler.free_name(_cycler.slug(name), one.units, columns)] = one
    return columns


def _chosen(table: Table, i: int, meaning: str, written: str, hints: dict[str, Any]) -> Column:
    attrs = {"column": table.names[i]}
    if meaning == "test_time" and not table.is_number(i) and ":" in table.first(i):
        return Column(_dates.seconds_of_clock(table, i), "s", LONG_NAMES[meaning], attrs)
    values = table.numbers(i)
    if meaning in ("cycle", "step"):
        return Column(values, "1", LONG_NAMES[meaning], attrs)
    hint = _HINT_OF[meaning]
    unit = hints.get(hint) or _cycler.known_unit(written)
    if unit is None and meaning == "current":
        return Column(values, "unknown", "current as recorded, unit and sign not stated", attrs)
    if unit is None or _cycler.UNITS[unit][0] != _MODEL[meaning]:
        told = f"the unit {written!r} of" if written else "the unit of"
        raise ReadError(f"{table.name}: {told} column {table.names[i]!r} is not known; pass {hint}=")
    return _cycler.column(values, unit, LONG_NAMES[meaning], **attrs)


def _settle_current(columns: dict[str, Column], hints: dict[str, Any], name: str) -> None:
    """Give the current its sign, or keep it as ``current_raw`` and say what is missing."""
    if "current" not in columns:
        return
    one, voltage, rule = columns["current"], columns["voltage"].values, hints.get("current_sign")
    if rule is None and (one.values < 0).any():
        trust = _sign.agreement(one.values, voltage)
        if trust > 0.5:
            rule = "positive_charges"  # told by the file itself: the voltage rises with the current
    missing = [] if one.units == "A" else ["its unit (pass current_unit='mA' or another)"]
    if rule is None and (one.values != 0).any():
        missing.append("its sign (pass current_sign='voltage' for an unsigned record, or another rule)")
    if missing:
        raw = columns.pop("current")
        columns["current_raw"] = Column(raw.values, raw.units, "current as recorded, unit or sign not known", raw.attrs)
        warnings.warn(
            f"{name}: the file does not state of the current {' and '.join(missing)}; it is kept as 'current_raw'",
            UserWarning,
            stacklevel=4,
        )
        return
    factor = _cycler.UNITS[hints["current_unit"]][1] if hints.get("current_unit") else 1.0
    if isinstance(rule, dict):
        values = _sign.signed(one.values / factor, voltage, rule, name) * factor
    else:
        values = _sign.signed(one.values, voltage, rule or "positive_charges", name)
    columns["current"] = Column(values, "A", LONG_NAMES["current"], one.attrs)
