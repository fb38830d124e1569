"""A text table with named columns: rows of words, every one as wide as the header."""

from __future__ import annotations

import csv
import io
import re
import warnings
from dataclasses import dataclass

import numpy as np

from batlab.errors import ReadError
from batlab.io._text import MAX_COLUMNS

# What programs write where nothing was measured.
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "xxx", "-", "--", "inf", "-inf"})


@dataclass(frozen=True)
class Table:
    """Names and words of a table; `lines` are the lines of its rows in the file."""

    name: str
    names: list[str]
    rows: list[list[str]]
    lines: list[int]
    decimal: str

    def words(self, column: int) -> list[str]:
        """Return the words of a column."""
        return [row[column] for row in self.rows]

    def numbers(self, column: int) -> np.ndarray:
        """Return a column as numbers, NaN where nothing was measured; refuse other words with their line."""
        words = self.words(column)
        if self.decimal == ",":
            words = [word.replace(",", ".") for word in words]
        try:
            return np.array(list(map(float, words)))
        except ValueError:
            return np.array([self._number(word, i, column) for i, word in enumerate(words)])

    def is_number(self, column: int) -> bool:
        """Return whether the first row that is not empty holds a number."""
        word = next((row[column] for row in self.rows if row[column].strip().lower() not in MISSING), "0")
        return _is_float(word.replace(",", ".") if self.decimal == "," else word)

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
    lines = text.split("\n")
    if names is None:
        names = [word.strip() for word in _split(lines[header - 1], separator)]
        while names and not names[-1]:
            names.pop()
    if len(names) > MAX_COLUMNS:
        raise ReadError(f"{name}: line {header} names {len(names)} columns, at most {MAX_COLUMNS} are read")
    rows, numbers = [], []
    for number, line in enumerate(lines[header:], header + 1):
        if not line.strip():
            continue
        row = line.split(separator) if '"' not in line else _split(line, separator)
        while len(row) > len(names) and not row[-1].strip():
            row.pop()
        rows.append(row)
        numbers.append(number)
    _check_widths(rows, numbers, names, name, is_strict=is_strict, is_ended=text.endswith("\n"))
    if not rows:
        raise ReadError(f"{name}: no record follows the header; the file may be truncated")
    return Table(name, names, rows, numbers, decimal)


def _check_widths(
    rows: list[list[str]], numbers: list[int], names: list[str], name: str, *, is_strict: bool, is_ended: bool
) -> None:
    is_short = len(rows) > 1 and len(rows[-1]) < len(names) and _length(rows[-1]) <= _length(rows[-2])
    if is_short and not is_strict and not is_ended:
        warnings.warn(
            f"{name}: line {numbers[-1]} has {len(rows[-1])} columns, the header names {len(names)}; it is left out: "
            "the file may be truncated",
            UserWarning,
            stacklevel=4,
        )
        rows.pop()
        numbers.pop()
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(names):
            told = f"line {number} has {len(row)} columns, the header names {len(names)}"
            raise ReadError(f"{name}: {told}; the file may be truncated")


def _length(row: list[str]) -> int:
    return sum(map(len, row))


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line), delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def find_separator(line: str) -> str:
    """Return the separator of a header line: the most frequent of tab, semicolon and comma."""
    return max("\t;,", key=line.count)


def find_decimal(text: str, separator: str) -> str:
    """Return the decimal sign of the rows in `text`: a comma where digits stand on both sides of one."""
    if separator == ",":
        return "."
    return "," if re.search(r"\d,\d", text[:65536]) else "."


def _is_float(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
