"""Tables of a Microsoft Access database (Jet 4, Access 2000 to 2003: ``.mdb``, Arbin's ``.res``), without a driver.

The layout is that which the mdbtools project has documented: pages of 4096 bytes; page 2 defines the catalogue,
which names the page that defines each table; data pages name their table, and end with the offsets of their rows.
Numbers, times, truth values and short texts are read; memos, pictures and rows that were moved are not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from batlab.errors import ReadError

MAGIC = b"\x00\x01\x00\x00Standard Jet DB\x00"
CATALOGUE = 2  # the page that defines MSysObjects
DATA, TABLE = 1, 2  # types of pages
DELETED, MOVED = 0x8000, 0x4000  # flags in a row's offset
_BOOL, _TEXT = 1, 10
# Jet's numbers of types -> numpy's; 8 is a time, in days since 30 December 1899.
_FIXED = {2: "u1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f4", 7: "<f8", 8: "<f8"}
MAX_DEFINITION = 2**20  # bytes of one table's definition


PAGE = 4096  # bytes
N_ROWS = 12  # offset of the number of rows in a data page
_INDEX, _COLUMN = 12, 25  # bytes of the entries of an index and of a column in a table's definition


@dataclass(frozen=True)
class Field:
    """A column of a table."""

    name: str
    kind: int
    number: int
    is_fixed: bool
    offset: int  # in the fixed part of a row
    place: int  # among the columns of variable length


@dataclass(frozen=True)
class Definition:
    """A table: the page that defines it, how many rows it states, its columns."""

    page: int
    n_rows: int
    fields: list[Field]


class Database:
    """A database in memory.

    Raises
    ------
    ReadError
        It is no Jet database, of a version that is not known, encrypted, or cut.
    """

    def __init__(self, raw: bytes, name: str) -> None:
        if not raw.startswith(MAGIC) or len(raw) < 0x15:
            raise ReadError(f"{name}: is no Jet database")
        if raw[0x14] != 1:
            raise ReadError(
                f"{name}: is an Access database of version {raw[0x14]}, only 1 (Jet 4, Access 2000 to 2003) is read; "
                "save it in that version, or export it"
            )
        self.name, self._raw = name, raw
        if len(raw) % PAGE or len(raw) < 3 * PAGE:
            raise ReadError(f"{name}: {len(raw)} bytes are no whole number of pages of {PAGE}; the file is truncated")
        self._kinds = np.frombuffer(raw, np.uint8).reshape(-1, PAGE)[:, 0]
        if self._kinds[CATALOGUE] != TABLE:
            raise ReadError(f"{name}: page {CATALOGUE} defines no table; the database is encrypted or damaged")

    @cached_property
    def tables(self) -> dict[str, Definition]:
        """The tables by name."""
        rows = self.read(self._definition(CATALOGUE), ["Id", "Name", "Type"])
        found = {}
        for identity, title, kind in zip(rows["Id"], rows["Name"], rows["Type"], strict=True):
            if kind == 1 and np.isfinite(identity) and not title.startswith("MSys"):
                page = int(identity) & 0xFFFFFF
                if not 0 < page < len(self._kinds) or self._kinds[page] != TABLE:
                    raise ReadError(f"{self.name}: page {page} should define the table {title!r}; it is truncated")
                found[title] = self._definition(page)
        return found

    def _page(self, number: int) -> bytes:
        return self._raw[number * PAGE : (number + 1) * PAGE]

    def _definition(self, page: int) -> Definition:
        """Return the columns of the table that is defined on a page and those that follow it."""
        text, following, seen = b"", page, set()
        while following:
            if following in seen or following >= len(self._kinds) or self._kinds[following] != TABLE:
                raise ReadError(f"{self.name}: the definition of a table leads to page {following}; it is damaged")
            seen.add(following)
            part = self._page(following)
            text += part if not text else part[8:]
            following = int.from_bytes(part[4:8], "little")
            if len(text) > MAX_DEFINITION:
                raise ReadError(f"{self.name}: the definition of a table exceeds {MAX_DEFINITION} bytes")
        try:
            return self._fields(text, page)
        except (struct.error, IndexError, UnicodeError) as error:
            raise ReadError(f"{self.name}: the definition of a table on page {page} is damaged ({error})") from error

    @staticmethod
    def _fields(text: bytes, page: int) -> Definition:
        n_rows, n_columns, n_indices = (
            struct.unpack_from(f, text, at)[0] for f, at in (("<I", 16), ("<H", 45), ("<I", 51))
        )
        start = 63 + n_indices * _INDEX
        place = start + n_columns * _COLUMN
        fields = []
        for i in range(n_columns):
            entry = start + i * _COLUMN
            number, variable = struct.unpack_from("<HH", text, entry + 5)
            flags, (fixed,) = text[entry + 15], struct.unpack_from("<H", text, entry + 21)
            (size,) = struct.unpack_from("<H", text, place)
            title = text[place + 2 : place + 2 + size].decode("utf-16-le")
            place += 2 + size
            fields.append(Field(title, text[entry], number, bool(flags & 1), fixed, variable))
        return Definition(page, n_rows, fields)

    def read(self, table: Definition, names: list[str] | None = None) -> dict[str, np.ndarray | list[str]]:
        """Return columns of a table: numbers as arrays (NaN where none was entered), short texts as lists.

        Parameters
        ----------
        table
            One of `tables`.
        names
            Of the columns; all that can be read by default.

        Raises
        ------
        ReadError
            For a row that does not fit its page, and where fewer rows are there than the table states.
        """
        rows = self._rows(table)
        if len(rows) < table.n_rows:
            raise ReadError(
                f"{self.name}: a table states {table.n_rows} rows, {len(rows)} are there; the file is truncated, or "
                "rows were moved: compact it in Access"
            )
        wanted = [field for field in table.fields if names is None or field.name in names]
        found: dict[str, np.ndarray | list[str]] = {}
        starts = np.array([start for start, _ in rows], np.int64)
        ends = np.array([end for _, end in rows], np.int64)
        for field in wanted:
            if field.kind == _TEXT:
                found[field.name] = [self._text(field, start, end) for start, end in rows]
            elif field.kind == _BOOL or (field.kind in _FIXED and field.is_fixed):
                found[field.name] = self._numbers(field, starts, ends)
        return found

    def _rows(self, table: Definition) -> list[tuple[int, int]]:
        """Return first byte and the one after the last of each row, as they lie in the file."""
        raw, found = self._raw, []
        pages = np.frombuffer(raw, np.uint8).reshape(-1, PAGE)
        owners = pages[:, 4:8].copy().view("<u4").ravel()
        for number in np.flatnonzero((self._kinds == DATA) & (owners == table.page)):
            base = int(number) * PAGE
            n_rows = struct.unpack_from("<H", raw, base + N_ROWS)[0]
            if N_ROWS + 2 + 2 * n_rows > PAGE:
                raise ReadError(f"{self.name}: page {number} states {n_rows} rows; it is damaged")
            end = PAGE
            for offset in struct.unpack_from(f"<{n_rows}H", raw, base + N_ROWS + 2):
                start = offset & 0x1FFF
                if not N_ROWS < start <= end:
                    raise ReadError(f"{self.name}: a row of page {number} starts at byte {start}; it is damaged")
                if not offset & (DELETED | MOVED) and start < end:
                    found.append((base + start, base + end))
                end = start
        return found

    def _numbers(self, field: Field, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return a column of fixed length, all rows at once."""
        if not len(starts):
            return np.empty(0)
        bytes_ = np.frombuffer(self._raw, np.uint8)
        n_columns = bytes_[starts] + 256 * bytes_[starts + 1].astype(np.int64)
        mask = (n_columns + 7) // 8
        kind = np.dtype("u1" if field.kind == _BOOL else _FIXED[field.kind])
        first = starts + 2 + field.offset
        is_short = (first + kind.itemsize > ends) | (mask + 2 > ends - starts)
        known = (field.number < n_columns) & ~is_short
        bit = np.zeros(len(starts), bool)
        bit[known] = bytes_[(ends - mask)[known] + field.number // 8] >> (field.number % 8) & 1 == 1
        if field.kind == _BOOL:
            return bit.astype(float)  # a truth value is kept in the mask of entries itself
        values = np.full(len(starts), np.nan)
        places = first[bit][:, None] + np.arange(kind.itemsize)
        values[bit] = bytes_[places].copy().view(kind).ravel()
        return values

    def _text(self, field: Field, start: int, end: int) -> str:
        row = self._raw[start:end]
        try:
            raw = self._variable(row, field)
        except (struct.error, IndexError) as error:
            raise ReadError(f"{self.name}: a row at byte {start} is damaged ({error})") from error
        if raw[:2] == b"\xff\xfe":  # one byte a character, until a zero switches
            return raw[2:].replace(b"\0", b"").decode("latin-1")
        return raw.decode("utf-16-le", "replace")

    def _variable(self, row: bytes, field: Field) -> bytes:
        """Return the bytes of a column of variable length: their offsets stand before the mask, the first one last."""
        n_columns = struct.unpack_from("<H", row)[0]
        mask = len(row) - (n_columns + 7) // 8
        n_variable = struct.unpack_from("<H", row, mask - 2)[0]
        is_there = field.number < n_columns and row[mask + field.number // 8] >> (field.number % 8) & 1
        if not is_there or field.place >= n_variable:
            return b""
        end, start = struct.unpack_from("<HH", row, mask - 6 - 2 * field.place)
        return row[start:end]
