"""The tables in an Excel workbook (.xlsx, Office Open XML), read as they are stored and row by row.

Stored values are read: formulas are not computed and links to other workbooks are not followed. Only the sheets that
are asked for are unpacked, in blocks; a part with a document type definition is refused.
"""

from __future__ import annotations

import html
import posixpath
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from batlab.errors import ReadError, UnsafePathError
from batlab.io import zipped

MAX_ROWS, MAX_COLUMNS = 2**20, 1024  # Excel's own number of rows; columns of a table
MAX_STRINGS = 2**26  # bytes of shared texts
_LONGEST = 64  # characters of a number
MAX_ROW_LENGTH = 2**24  # bytes
MAX_CELLS = 2**28  # places in the largest table that is built
_PREFIX = rb"(?:[A-Za-z_][\w.-]*:)?"
_TEXT = re.compile(rb"<" + _PREFIX + rb"t(?:\s[^>]*)?>([^<]*)</")
_ITEM = re.compile(rb"<" + _PREFIX + rb"si(?:\s[^>]*)?(?:/>|>(.*?)</" + _PREFIX + rb"si>)", re.DOTALL)


@cache
def _cell(prefix: bytes) -> re.Pattern[bytes]:
    """Return what finds a cell's column, row, other attributes, and stored value or inline text.

    All writers put the place first. The namespace's prefix is spelt out: leaving it open costs half the speed.
    """
    p = re.escape(prefix)
    return re.compile(
        rb"<" + p + rb'c r="([A-Z]{1,3})([0-9]{1,7})"([^>]*)(?<!/)>'
        rb"(?:<" + p + rb"f\b[^>]*(?:(?<=/)>|(?<!/)>[^<]*</" + p + rb"f>))?"
        rb"(?:<" + p + rb"v(?: [^>]*)?>([^<]*)</|<" + p + rb"is>(.*?)</" + p + rb"is>)",
        re.DOTALL,
    )


@cache
def _loose(prefix: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"<" + re.escape(prefix) + rb'c(?! r=")[\s>]')


@dataclass(frozen=True)
class Sheet:
    """A sheet's table: `names` of its columns, values of each (numbers, or texts where any cell is one), its rows."""

    title: str
    names: list[str]
    columns: list[np.ndarray | list[str]]
    rows: np.ndarray  # numbers of the rows in the sheet, from 1


@dataclass(frozen=True)
class Workbook:
    """An open workbook: its sheets' parts by title, and its shared texts."""

    archive: zipfile.ZipFile
    name: str
    parts: dict[str, str]
    is_1904: bool

    def texts(self) -> list[str]:
        """Return the shared texts."""
        part = next((one for one in self.archive.namelist() if one.lower() == "xl/sharedstrings.xml"), None)
        if part is None:
            return []
        raw = _safe(zipped.content(self.archive, part, MAX_STRINGS), self.name)
        return [_joined(item) for item in _ITEM.findall(raw)]


def is_workbook(names: list[str]) -> bool:
    """Return whether the parts of an archive are those of a workbook."""
    return any(name.startswith("xl/") for name in names) or names[:1] == ["[Content_Types].xml"]


def opened(archive: zipfile.ZipFile, name: str) -> Workbook:
    """Return the workbook in an archive.

    Raises
    ------
    ReadError
        It holds no workbook.
    UnsafePathError
        A sheet is said to lie outside the file.

    Warns
    -----
    UserWarning
        The workbook has links to other files.
    """
    everything = set(archive.namelist())
    if "xl/workbook.xml" not in everything:
        raise ReadError(f"{name}: holds no Excel workbook (xl/workbook.xml is missing); the file may be truncated")
    book = _safe(zipped.content(archive, "xl/workbook.xml"), name)
    links = "xl/_rels/workbook.xml.rels"
    targets = dict(_targets(zipped.content(archive, links), name)) if links in everything else {}
    parts = {}
    for attributes in re.findall(rb"<" + _PREFIX + rb"sheet\s([^>]*)>", book):
        title, key = _attribute(attributes, b"name"), _attribute(attributes, rb"[\w.-]+:id")
        part = targets.get(key, "")
        if part in everything:
            parts[title] = part
    external = [one for one in everything if one.startswith("xl/externalLinks/") and one.endswith(".xml")]
    if external:
        warnings.warn(
            f"{name}: links to {len(external)} other workbook(s), which are not followed; the values stored in the "
            "file are read",
            UserWarning,
            stacklevel=5,
        )
    return Workbook(archive, name, parts, bool(re.search(rb'date1904="(?:1|true)"', book)))


def _targets(raw: bytes, name: str) -> Iterator[tuple[str, str]]:
    for attributes in re.findall(rb"<" + _PREFIX + rb"Relationship\s([^>]*)>", _safe(raw, name)):
        target = _attribute(attributes, b"Target")
        if not _attribute(attributes, b"Type").endswith("/worksheet"):
            continue
        part = posixpath.normpath(target.lstrip("/") if target.startswith("/") else posixpath.join("xl", target))
        if _attribute(attributes, b"TargetMode") == "External" or part.startswith(".."):
            raise UnsafePathError(f"{name}: a sheet is said to lie in {target!r}, outside the file; it is not read")
        yield _attribute(attributes, b"Id"), part


def _attribute(attributes: bytes, name: bytes) -> str:
    found = re.search(rb"(?:^|\s)" + name + rb"\s*=\s*\"([^\"]*)\"", attributes)
    return html.unescape(found[1].decode("utf-8", "replace")) if found else ""


def _safe(raw: bytes, name: str) -> bytes:
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise ReadError(f"{name}: holds a document type definition, which no workbook has; it is not read")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raw = raw.decode("utf-16").encode()
    return raw


def _joined(item: bytes) -> str:
    return html.unescape(b"".join(_TEXT.findall(item)).decode("utf-8", "replace"))


def header(book: Workbook, title: str) -> list[str]:
    """Return the texts in a sheet's first row that has any."""
    shared = book.texts()
    for chunk, cell in _chunks(book, title):
        for row in re.findall(rb"<" + _PREFIX + rb"row\b.*?</" + _PREFIX + rb"row>", chunk, re.DOTALL):
            cells = cell.findall(row)
            texts = [
                _text(_attribute(other, b"t"), value, inline, shared, book.name) for _, _, other, value, inline in cells
            ]
            if any(texts):
                return texts
    return []


def read_sheet(book: Workbook, title: str) -> Sheet:
    """Return a sheet as a table whose names stand in its first row.

    Raises
    ------
    ReadError
        For a cell that is no number where the others are, with its place; for a sheet without a table, or too large.
    """
    shared = book.texts()
    places, numbers, words = [], [], []
    for chunk, cell in _chunks(book, title):
        cells = cell.findall(chunk)
        if not cells:
            continue
        letters, rows, others, values, inlines = zip(*cells, strict=True)
        place = np.column_stack([_columns(np.array(letters)), np.array(rows).astype(np.int64)])
        kinds = _kinds(np.array(others))
        is_number = np.isin(kinds, ["", "n"]) & np.array([bool(value) for value in values])
        places.append(place)
        numbers.append(_floats(values, is_number, place, book.name))
        for i in np.flatnonzero(~is_number & (kinds != "e")):
            word = _text(str(kinds[i]), values[i], inlines[i], shared, book.name)
            words.append((int(place[i, 0]), int(place[i, 1]), word))
    if not places:
        raise ReadError(f"{book.name}: the sheet {title!r} holds no table")
    return _table(title, np.concatenate(places), np.concatenate(numbers), words, book.name)


def _chunks(book: Workbook, title: str) -> Iterator[tuple[bytes, re.Pattern[bytes]]]:
    """Yield the sheet's XML in pieces that end with a row, and what finds their cells."""
    rest, prefix = b"", None
    for block in zipped.blocks(book.archive, book.parts[title]):
        if prefix is None:
            if _safe(block, book.name) is not block:
                raise ReadError(f"{book.name}: the sheet {title!r} is in UTF-16; save the workbook again")
            root = re.search(rb"<((?:[A-Za-z_][\w.-]*:)?)worksheet\b", block)
            prefix = root[1] if root else b""
        rest += block
        end = rest.rfind(b"</" + prefix + b"row>")
        if end < 0 and len(rest) > MAX_ROW_LENGTH:
            raise ReadError(f"{book.name}: a row of the sheet {title!r} exceeds {MAX_ROW_LENGTH} bytes; it is no table")
        if end >= 0:
            end += len(prefix) + 6
            chunk, rest = rest[:end], rest[end:]
            if _loose(prefix).search(chunk):
                raise ReadError(f"{book.name}: the sheet {title!r} has cells without a place; save the workbook again")
            yield chunk, _cell(prefix)


def _columns(letters: np.ndarray) -> np.ndarray:
    unique, place = np.unique(letters, return_inverse=True)
    numbers = []
    for word in unique:
        number = 0
        for letter in bytes(word):
            number = 26 * number + letter - 64
        numbers.append(number - 1)
    return np.array(numbers, np.int64)[place]


def _kinds(attributes: np.ndarray) -> np.ndarray:
    """Return the types of cells, "" where none is stated: a sheet has few different sets of attributes."""
    unique, place = np.unique(attributes, return_inverse=True)
    return np.array([_attribute(bytes(one), b"t") for one in unique])[place]


def _floats(values: Sequence[bytes], is_number: np.ndarray, place: np.ndarray, name: str) -> np.ndarray:
    result = np.full(len(values), np.nan)
    rows = np.flatnonzero(is_number)
    chosen = [values[int(i)][:_LONGEST] for i in rows]
    try:
        result[rows] = np.array(chosen).astype(float) if chosen else 0.0
    except ValueError as error:
        for i, value in zip(rows, chosen, strict=True):
            try:
                float(value)
            except ValueError:
                told = f"column {place[i, 0] + 1}, row {place[i, 1]} holds {value[:40]!r}"
                raise ReadError(f"{name}: {told}, which is no number") from error
    return result


def _text(kind: str, value: bytes, inline: bytes, shared: list[str], name: str) -> str:
    if kind == "s":
        if not value.strip().isdigit() or int(value) >= len(shared):
            raise ReadError(f"{name}: a cell refers to text {value[:20]!r} of {len(shared)}; the file is damaged")
        return shared[int(value)]
    return _joined(inline) if inline else html.unescape(value.decode("utf-8", "replace"))


def _table(title: str, places: np.ndarray, numbers: np.ndarray, words: list[tuple[int, int, str]], name: str) -> Sheet:
    first = int(places[:, 1].min())
    titles = {column: word for column, row, word in words if row == first and word.strip()}
    if not titles:
        raise ReadError(f"{name}: the first row of the sheet {title!r} names no columns")
    rows = np.unique(places[places[:, 1] > first, 1])
    if not rows.size:
        raise ReadError(f"{name}: the sheet {title!r} holds no record")
    if len(rows) > MAX_ROWS or len(titles) > MAX_COLUMNS or len(rows) * len(titles) > MAX_CELLS:
        raise ReadError(f"{name}: the sheet {title!r} has {len(rows)} rows of {len(titles)} columns, too many to read")
    order = sorted(titles)
    index = np.full(int(places[:, 0].max()) + 1, -1)
    index[order] = np.arange(len(order))
    values = np.full((len(order), len(rows)), np.nan)
    kept = (places[:, 1] > first) & (index[places[:, 0]] >= 0)
    values[index[places[kept, 0]], np.searchsorted(rows, places[kept, 1])] = numbers[kept]
    columns: list[np.ndarray | list[str]] = list(values)
    for column, row, word in words:
        if row == first or column not in titles:
            continue
        place = int(index[column])
        one = columns[place]
        if isinstance(one, np.ndarray):
            one = columns[place] = ["" if np.isnan(value) else repr(float(value)) for value in one]
        one[int(np.searchsorted(rows, row))] = word
    return Sheet(title, [titles[column].strip() for column in order], columns, rows)
