"""A text table with named columns: rows of words, every one as wide as the header.

Rows are parsed by Arrow, exactly and without a Python object a word; what Arrow refuses is read again word by word, so
that a message names the line.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from batlab import threads
from batlab.errors import ReadError
from batlab.io._text import MAX_COLUMNS

# What programs write where nothing was measured.
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "xxx", "-", "--", "inf", "-inf"})
_NULLS = sorted({form(word) for word in MISSING for form in (str, str.upper, str.title)} | {"NaN", "-nan", "-NaN"})
NEWLINE = b"\n"
BLOCK = 2**19  # bytes that Arrow parses at a time: they stay in the processor's cache
_SAMPLE = 200  # rows that tell whether a column holds numbers


@dataclass(frozen=True)
class Table:
    """A table's columns: numbers as arrays, words as Arrow arrays or lists; `lines` are its rows' lines in the file."""

    name: str
    names: list[str]
    columns: list[Any]
    lines: Sequence[int]
    decimal: str
    last: list[list[str]]  # the words of the last two rows

    @cached_property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.lines)

    def words(self, column: int) -> list[str]:
        """Return the words of a column."""
        one = self.columns[column]
        if isinstance(one, list):
            return one
        if isinstance(one, np.ndarray):
            return ["" if np.isnan(value) else str(value) for value in one]
        return one.to_pylist()

    def arrow(self, column: int) -> Any:
        """Return a column of words as an Arrow array."""
        import pyarrow as pa

        one = self.columns[column]
        return pa.array(self.words(column), pa.string()) if isinstance(one, (list, np.ndarray)) else one

    def numbers(self, column: int) -> np.ndarray:
        """Return a column as numbers, NaN where nothing was measured; refuse other words with their line."""
        one = self.columns[column]
        if isinstance(one, np.ndarray):
            return one
        words = self.words(column)
        if self.decimal == ",":
            words = [word.replace(",", ".") for word in words]
        return np.array([self._number(word, i, column) for i, word in enumerate(words)], float)

    def is_number(self, column: int) -> bool:
        """Return whether the first row that is not empty holds a number."""
        return isinstance(self.columns[column], np.ndarray)

    def first(self, column: int, *, is_last: bool = False) -> str:
        """Return the first word (or the last) of a column of words."""
        one = self.columns[column]
        word = one[self.n_rows - 1 if is_last else 0]
        return word if isinstance(one, list) else str(word)

    def _number(self, word: str, row: int, column: int) -> float:
        if word.strip().lower() in MISSING:
            return float("nan")
        try:
            return float(word)
        except ValueError as error:
            raise ReadError(
                f"{self.name}: line {self.lines[row]}, column {self.names[column]!r} holds {word[:40]!r}, which is no "
                "number"
            ) from error


def read_table(
    text: str,
    name: str,
    header: int,
    *,
    separator: str,
    decimal: str,
    is_strict: bool = False,
    names: list[str] | None = None,
) -> Table:
    """Return the table whose names stand on line `header` (from 1), or, given `names`, whose rows begin below it.

    A last line with fewer columns is left out with a `UserWarning`, or refused if `is_strict`; any other is refused.

    Raises
    ------
    ReadError
        With the line and both numbers of columns.
    """
    start = 0
    for _ in range(header):
        start = text.find("\n", start) + 1 or len(text)
    if names is None:
        names = header_names(text[:start].rstrip("\n").rpartition("\n")[2] if header else "", separator)
    if len(names) > MAX_COLUMNS:
        raise ReadError(f"{name}: line {header} names {len(names)} columns, at most {MAX_COLUMNS} are read")
    how = Form(name, names, separator, decimal, "strict" if is_strict else "left out")
    table = parse(text[start:].encode(), header + 1, how, is_end=True)
    if table is None:
        raise ReadError(f"{name}: no record follows the header; the file may be truncated")
    return table


@dataclass(frozen=True)
class Form:
    """How rows are written. `ending`: what a last line of fewer columns means: "strict" refuses it, "left out" refuses
    it only where the line is ended, "cut" never does; the latter two warn.
    """

    name: str
    names: list[str]
    separator: str
    decimal: str
    ending: str = "left out"
    words: frozenset[int] = frozenset()  # columns that hold words even where the first rows are empty


def header_names(line: str, separator: str) -> list[str]:
    """Return the names on a header line, without the empty ones at its end."""
    names = [word.strip() for word in _split(line, separator)]
    while names and not names[-1]:
        names.pop()
    return names


def parse(raw: bytes, first: int, form: Form, *, is_end: bool) -> Table | None:
    """Return the rows in `raw`, UTF-8 with ``\\n`` line ends, whose first stands on line `first`; None without any."""
    blank = len(raw) - len(raw.lstrip(b"\n"))
    raw, first = raw[blank:], first + blank
    body = raw.rstrip(b"\n")
    if not body.strip():
        return None
    if is_end:
        body = _without_cut_line(body, first, form, is_ended=raw.endswith(b"\n"))
    table = None if b"\n\n" in body else _by_arrow(body, first, form)
    if table is None:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise ReadError(f"{form.name}: cannot be read as utf-8 text ({error}); pass another encoding=") from error
        table = _by_hand(text, first, form)
    return table


def _by_arrow(body: bytes, first: int, form: Form) -> Table | None:
    import pyarrow as pa
    import pyarrow.csv as pc

    head = body[: 1 << 16].decode(errors="replace").split("\n")[:_SAMPLE]
    sample = [_split(line, form.separator) for line in (head if len(body) < 1 << 16 else head[: max(1, len(head) - 1)])]
    width = max(len(sample[0]), len(form.names))
    if width > len(form.names) + 8 or not form.names:
        return None
    labels = [f"c{i}" for i in range(width)]
    kinds = {}
    for i, label in enumerate(labels):
        words = [row[i] for row in sample if i < len(row)]
        is_word = i >= len(form.names) or i in form.words or not _is_number(words, form.decimal)
        kinds[label] = pa.string() if is_word else pa.float64()
    convert = pc.ConvertOptions(
        column_types=kinds, null_values=_NULLS, strings_can_be_null=False, decimal_point=form.decimal
    )
    read = pc.ReadOptions(column_names=labels, use_threads=threads.effective() > 1, block_size=BLOCK)
    split = pc.ParseOptions(delimiter=form.separator)
    try:
        table = pc.read_csv(pa.BufferReader(body), read, split, convert)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if any(not _is_empty(table.column(i)) for i in range(len(form.names), width)):
        return None
    columns = [_column(table.column(i)) for i in range(len(form.names))]
    tail = body[body.rfind(b"\n", 0, max(body.rfind(b"\n"), 0)) + 1 :].decode(errors="replace").split("\n")
    last = [_split(line, form.separator)[: len(form.names)] for line in tail[-2:]]
    return Table(form.name, form.names, columns, range(first, first + table.num_rows), form.decimal, last)


def _column(one: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_string(one.type):
        return one
    values = one.to_numpy()
    values = values if values.flags.writeable else values.copy()
    values[np.isinf(values)] = np.nan
    return values


def _is_empty(one: Any) -> bool:
    import pyarrow.compute as pc

    return all(not word.strip() for word in pc.unique(one).to_pylist())


def _by_hand(text: str, first: int, form: Form) -> Table | None:
    rows, numbers = [], []
    for number, line in enumerate(text.split("\n"), first):
        if not line.strip():
            continue
        row = line.split(form.separator) if '"' not in line else _split(line, form.separator)
        while len(row) > len(form.names) and not row[-1].strip():
            row.pop()
        rows.append(row)
        numbers.append(number)
    _check_widths(rows, numbers, form)
    if not rows:
        return None
    last = rows[-2:]
    columns: list[Any] = [list(words) for words in zip(*rows, strict=True)]
    table = Table(form.name, form.names, columns, numbers, form.decimal, last)
    for i, words in enumerate(columns):
        if i not in form.words and _is_number(words, form.decimal):
            values = table.numbers(i)
            values[np.isinf(values)] = np.nan
            columns[i] = values
    return table


def _without_cut_line(body: bytes, first: int, form: Form, *, is_ended: bool) -> bytes:
    """Return the rows without a last line that was cut, and say so; other lines that do not fit are left to be refused.

    A cut line has fewer columns than the header, and no more characters in them than the line before.
    """
    head, _, last = body.rpartition(b"\n")
    if not head or form.ending == "strict" or (form.ending == "left out" and is_ended):
        return body
    before, cut = (_split(line.decode(errors="replace"), form.separator) for line in (head.rpartition(b"\n")[2], last))
    if not last.strip() or len(cut) >= len(form.names) or _length(cut) > _length(before):
        return body
    warnings.warn(
        f"{form.name}: line {first + head.count(NEWLINE) + 1} has {len(cut)} columns, the header names "
        f"{len(form.names)}; it is left out: the file may be truncated",
        UserWarning,
        stacklevel=5,
    )
    return head


def _check_widths(rows: list[list[str]], numbers: list[int], form: Form) -> None:
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(form.names):
            told = f"line {number} has {len(row)} columns, the header names {len(form.names)}"
            raise ReadError(f"{form.name}: {told}; the file may be truncated")


def _length(row: list[str]) -> int:
    return sum(map(len, row))


def _split(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader(io.StringIO(line), delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def texts(table: Table, column: int) -> np.ndarray:
    """Return a column of words as an array; repeated words are made once."""
    words, codes = coded(table, column)
    return words[codes]


def coded(table: Table, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the different words of a column, and which of them each row holds."""
    import pyarrow as pa

    found = table.arrow(column)
    one = pa.chunked_array([found]) if isinstance(found, pa.Array) else found
    one = one.combine_chunks()
    one = one if isinstance(one, pa.Array) else one.chunk(0)
    found = one.dictionary_encode()
    words = np.array([word.strip() for word in found.dictionary.to_pylist()], dtype=str)
    return words, found.indices.to_numpy()


def find_separator(line: str) -> str:
    """Return the separator of a header line: the most frequent of tab, semicolon and comma."""
    return max("\t;,", key=line.count)


def find_decimal(text: str, separator: str) -> str:
    """Return the decimal sign of the rows in `text`: a comma where digits stand on both sides of one."""
    if separator == ",":
        return "."
    return "," if re.search(r"\d,\d", text[:65536]) else "."


def _is_number(words: Sequence[str], decimal: str) -> bool:
    word = next((word for word in words if word.strip().lower() not in MISSING), "0")
    try:
        float(word.replace(",", ".") if decimal == "," else word)
    except ValueError:
        return False
    return True
