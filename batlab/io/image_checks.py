"""Is an image file whole? Asked before fabio reads it, which pads, trusts or waits for what is missing."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

from batlab.errors import ReadError

HEADER = 2**20  # bytes; no header of an image is longer
MOST_HEADERS = 2**16  # bytes; nor is most
CBF_MARK = b"\x0c\x1a\x04\xd5"  # stands before the binary section, imgCIF dictionary
MOST_PAGES = 100_000
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # TIFF 6.0, section 2


def check_whole(path: Path) -> int | None:
    """Return how many frames the file in `path` has (None: only its reader knows), if it is not cut short.

    Raises
    ------
    ReadError
        The header or the pixels end too early.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(MOST_HEADERS)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _check_tiff(file, path, size)
        if not _has_end(head):
            head += file.read(HEADER - MOST_HEADERS)
        if head.startswith(b"###CBF"):
            _check_cbf(head, path, size)
            return 1
        if head.startswith(b"{"):
            if b"}" not in head:
                raise ReadError(f"{path.name}: the EDF header does not end; the file is cut short")
            return None
        _check_gadds(head, path, size)
        return 1


def _has_end(head: bytes) -> bool:
    if head.startswith(b"###CBF"):
        return CBF_MARK in head
    return not head.startswith(b"{") or b"}" in head


def _need(path: Path, needed: int, size: int) -> None:
    if needed > size:
        raise ReadError(f"{path.name}: its image needs {needed} bytes, the file has {size}; it is cut short or damaged")


def _check_cbf(head: bytes, path: Path, size: int) -> None:
    start = head.find(CBF_MARK)
    stated = re.search(rb"X-Binary-Size: *(\d{1,15})", head[: max(0, start)])
    if start < 0 or stated is None:
        raise ReadError(f"{path.name}: the CBF header does not end; the file is cut short")
    _need(path, start + len(CBF_MARK) + int(stated[1]), size)


def _check_gadds(head: bytes, path: Path, size: int) -> None:
    numbers = {}
    for name in (b"HDRBLKS", b"NROWS", b"NCOLS", b"NPIXELB"):
        found = re.search(name + rb" *: *(\d{1,9})", head)
        if found is None:
            raise ReadError(f"{path.name}: the GADDS header has no {name.decode()}; the file is cut short or damaged")
        numbers[name] = int(found[1])
    pixels = numbers[b"NROWS"] * numbers[b"NCOLS"] * numbers[b"NPIXELB"]
    _need(path, 512 * numbers[b"HDRBLKS"] + pixels, size)


def _check_tiff(file: BinaryIO, path: Path, size: int) -> int:
    file.seek(0)
    order = "<" if file.read(4)[:1] == b"I" else ">"
    seen: set[int] = set()
    at = _number(file, order, 4, 4, path, size)
    while at:
        if at in seen or len(seen) > MOST_PAGES:
            raise ReadError(f"{path.name}: its TIFF pages lead in a circle; the file is damaged")
        seen.add(at)
        n = _number(file, order, at, 2, path, size)
        _need(path, at + 2 + 12 * n + 4, size)
        tags = {}
        for i in range(n):
            file.seek(at + 2 + 12 * i)
            tag, kind, count = struct.unpack(order + "HHI", file.read(8))
            tags[tag] = (kind, count, at + 2 + 12 * i + 8)
        for offsets, lengths in ((273, 279), (324, 325)):
            if offsets in tags and lengths in tags:
                _check_strips(file, order, path, size, tags[offsets], tags[lengths])
        at = _number(file, order, at + 2 + 12 * n, 4, path, size)
    if not seen:
        raise ReadError(f"{path.name}: its TIFF header names no image")
    return len(seen)


Field = tuple[int, int, int]


def _check_strips(file: BinaryIO, order: str, path: Path, size: int, offsets: Field, lengths: Field) -> None:
    starts = _values(file, order, path, size, offsets)
    for start, length in zip(starts, _values(file, order, path, size, lengths), strict=False):
        _need(path, start + length, size)


def _values(file: BinaryIO, order: str, path: Path, size: int, field: Field) -> tuple[int, ...]:
    kind, count, at = field
    width = _WIDTHS.get(kind, 4)
    if width * count > 4:
        at = _number(file, order, at, 4, path, size)
    _need(path, at + width * count, size)
    file.seek(at)
    return struct.unpack(f"{order}{count}{ {1: 'B', 2: 'H', 4: 'I', 8: 'Q'}[width] }", file.read(width * count))


def _number(file: BinaryIO, order: str, at: int, width: int, path: Path, size: int) -> int:
    _need(path, at + width, size)
    file.seek(at)
    return int.from_bytes(file.read(width), "little" if order == "<" else "big")
