"""The rows of a long text table, read in pieces: a file of any length passes through a few megabytes of memory.

Files up to `LAZY` bytes end as arrays in memory; longer ones as dask arrays, whose pieces are read when asked for.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from batlab.errors import ReadError
from batlab.io._table import Form, Table, header_names, parse
from batlab.io._text import MAX_COLUMNS, decode, guess_encoding, read_text

LAZY = 2**28  # bytes; a longer file stays on disk
PIECE = 2**24  # bytes read at a time
HEAD = 2**18  # bytes that hold a header
MAX_LINE = 2**20  # bytes; no cycler writes a longer line of values


@dataclass(frozen=True)
class Source:
    """A text file: its `head` as lines, and where it can be read again."""

    path: Path
    encoding: str
    head: list[str]
    whole: bytes | None  # UTF-8, for an encoding or line ends that cannot be cut anywhere
    size: int

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    @property
    def is_long(self) -> bool:
        """Whether the file stays on disk."""
        return self.whole is None and self.size > LAZY

    def open(self) -> BinaryIO:
        """Return the bytes, from the start."""
        return self.path.open("rb") if self.whole is None else io.BytesIO(self.whole)


@dataclass(frozen=True)
class Piece:
    """Whole lines of a file: where they stand, and the line (from 1) of the first."""

    offset: int
    length: int
    line: int
    is_end: bool


@dataclass(frozen=True)
class Rows:
    """The rows of a table in a file, from the byte `offset` and the line `line` on."""

    source: Source
    form: Form
    offset: int
    line: int


def open_source(path: Path, encoding: str | None = None) -> Source:
    """Return a file's head; one in UTF-16, or with the line ends of old Macs, is read whole.

    Raises
    ------
    ReadError
        For an empty or binary file.
    """
    size = path.stat().st_size
    if size == 0:
        raise ReadError(f"{path.name}: the file is empty")
    with path.open("rb") as file:
        raw = file.read(HEAD)
    chosen = encoding or guess_encoding(raw[: raw.rfind(b"\n") + 1] or raw)
    if chosen.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")) or (b"\n" not in raw and b"\r" in raw):
        text = read_text(path, encoding)
        return Source(path, "utf-8", text[:HEAD].split("\n"), text.encode(), size)
    text = decode(raw if size <= HEAD else raw[: raw.rfind(b"\n") + 1] or raw, path.name, chosen)
    return Source(path, chosen, text.split("\n"), None, size)


def header_line(source: Source, is_header: Callable[[str], Any], told: str) -> int:
    """Return the number of the first line, from 1, that names the columns.

    Raises
    ------
    ReadError
        None does; `told` names some that were looked for.
    """
    found = next((n for n, line in enumerate(source.head, 1) if is_header(line)), None)
    if found is None:
        raise ReadError(f"{source.name}: no line names the columns {told}; the file may be truncated")
    return found


def rows_below(
    source: Source,
    header: int,
    *,
    separator: str,
    decimal: str,
    ending: str = "left out",
    names: list[str] | None = None,
) -> Rows:
    """Return the rows below line `header` (from 1), which names the columns unless `names` does."""
    if names is None:
        names = header_names(source.head[header - 1], separator)
    if len(names) > MAX_COLUMNS:
        raise ReadError(f"{source.name}: line {header} names {len(names)} columns, at most {MAX_COLUMNS} are read")
    with source.open() as file:
        for _ in range(header):
            file.readline(HEAD)
        return Rows(source, Form(source.name, names, separator, decimal, ending), file.tell(), header + 1)


def pieces(rows: Rows) -> Iterator[tuple[Piece, bytes]]:
    """Yield the rows' bytes in pieces that end with a line, as UTF-8 with ``\\n`` line ends."""
    with rows.source.open() as file:
        file.seek(rows.offset)
        offset, line, rest, waiting = rows.offset, rows.line, b"", b""
        while chunk := file.read(PIECE):
            rest += chunk
            cut = rest.rfind(b"\n") + 1
            if not cut:
                if len(rest) > MAX_LINE:
                    raise ReadError(f"{rows.source.name}: has a line of more than {MAX_LINE} bytes; it is no table")
                continue
            if waiting:
                yield Piece(offset, len(waiting), line, is_end=False), _plain(waiting, rows.source)
                offset, line = offset + len(waiting), line + waiting.count(b"\n")
            waiting, rest = rest[:cut], rest[cut:]
        last = waiting + rest.rstrip(b"\x1a")
        if last:
            yield Piece(offset, len(last), line, is_end=True), _plain(last, rows.source)


def _plain(raw: bytes, source: Source) -> bytes:
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if source.encoding in ("utf-8", "utf-8-sig") or raw.isascii():
        return raw
    try:
        return raw.decode(source.encoding).encode()
    except (UnicodeDecodeError, LookupError) as error:
        raise ReadError(
            f"{source.name}: cannot be read as {source.encoding} text ({error}); pass another encoding="
        ) from error


def tables(rows: Rows) -> Iterator[tuple[Piece, Table]]:
    """Yield the rows piece by piece; a column holds numbers or words by its first word in the file.

    Raises
    ------
    ReadError
        For a row that does not fit, with its line; without any row.
    """
    form, unknown, n = rows.form, None, 0
    for piece, raw in pieces(rows):
        table = parse(raw, piece.line, form, is_end=piece.is_end)
        if table is None:
            continue
        if unknown is None:
            unknown = set(range(len(form.names)))
        # A column that was empty so far may yet turn out to hold words; one that held numbers may not.
        late = {i for i in unknown if not table.is_number(i)}
        form = replace(form, words=form.words | late)
        unknown = {i for i in unknown - late if not np.isfinite(table.numbers(i)).any()}
        for i in set(range(len(form.names))) - form.words:
            table.columns[i] = table.numbers(i)
        n += table.n_rows
        yield piece, table
    if n == 0:
        raise ReadError(f"{rows.source.name}: no record follows the header; the file may be truncated")


def whole_table(rows: Rows) -> Table:
    """Return all rows as one table."""
    import pyarrow as pa

    parts = [table for _, table in tables(rows)]
    if len(parts) == 1:
        return parts[0]
    columns: list[Any] = []
    for i in range(len(rows.form.names)):
        if all(isinstance(part.columns[i], np.ndarray) for part in parts):
            columns.append(np.concatenate([part.columns[i] for part in parts]))
        else:
            found = [part.arrow(i) for part in parts]
            columns.append(
                pa.chunked_array([chunk for one in found for chunk in getattr(one, "chunks", [one])], pa.string())
            )
    lines = _Lines([part.lines for part in parts])
    return Table(rows.form.name, rows.form.names, columns, lines, rows.form.decimal, parts[-1].last)


class _Lines(list):
    """The lines of several pieces, one after another."""

    def __init__(self, parts: list[Any]) -> None:
        super().__init__(parts)
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, row: Any) -> Any:
        row = range(len(self))[row]
        part = int(np.searchsorted(self.ends, row, side="right"))
        return super().__getitem__(part)[row - (int(self.ends[part - 1]) if part else 0)]


def read_piece(rows: Rows, piece: Piece) -> Table:
    """Return the table of one piece, read again from its file.

    Raises
    ------
    ReadError
        The file is not as it was.
    """
    source = rows.source
    if source.path.stat().st_size != source.size:
        raise ReadError(f"{source.name}: has changed since it was opened; open it again")
    with source.open() as file:
        file.seek(piece.offset)
        raw = file.read(piece.length)
    table = parse(_plain(raw, source), piece.line, rows.form, is_end=piece.is_end)
    if table is None:
        raise ReadError(f"{source.name}: has changed since it was opened; open it again")
    return table


def lazy_arrays(
    parts: list[tuple[Piece, int]], rows: Rows, convert: Callable[[Table], dict[str, np.ndarray]], kinds: dict[str, Any]
) -> dict[str, Any]:
    """Return one dask array a name, of `kinds` (name: dtype); each piece of the file is one chunk, read when computed.

    `parts` are the pieces and their numbers of rows, `convert` makes arrays of a piece's table.
    """
    import dask.array as da
    from dask import delayed

    load = delayed(lambda piece: convert(read_piece(rows, piece)), pure=False)
    loaded = [(load(piece), n) for piece, n in parts]
    return {
        name: da.concatenate([da.from_delayed(one[name], (n,), dtype=kind) for one, n in loaded])
        for name, kind in kinds.items()
    }
