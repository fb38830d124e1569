"""The heaps in which HDF5 keeps text: checked before the library reads them, for damage there hangs or crashes it."""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path

from batlab.errors import ReadError

SCANNED = 2**26  # bytes; larger files are data files, whose text is little
_HEAD = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HH4xQ")


def check_heaps(path: str | os.PathLike) -> None:
    """Raise ReadError if a global heap in the file is damaged (HDF5 File Format Specification 3.0, III.E)."""
    status = os.stat(path)
    if status.st_size <= SCANNED:
        damage = _damage(os.fspath(path), status.st_mtime_ns, status.st_size)
        if damage is not None:
            raise ReadError(f"{Path(path).name}: its text is damaged at byte {damage}")


@lru_cache(maxsize=256)
def _damage(path: str, changed: int, size: int) -> int | None:
    content = Path(path).read_bytes()
    at = content.find(b"GCOL\1\0\0\0")
    while at >= 0:
        _, _, length = _HEAD.unpack_from(content, at) if at + _HEAD.size <= len(content) else (b"", 1, 0)
        # A heap that the end of a file cut off is beyond what can be checked here, and harmless.
        if at + length <= len(content) and not _is_sound(content, at, length):
            return at
        at = content.find(b"GCOL\1\0\0\0", at + 8)
    return None


def _is_sound(content: bytes, start: int, length: int) -> bool:
    if length < 4096:  # the least that the format allows
        return False
    at, end = start + _HEAD.size, start + length
    while end - at >= _OBJECT.size:
        index, _, size = _OBJECT.unpack_from(content, at)
        needed = _OBJECT.size + -(-size // 8) * 8 if index else size
        if needed < _OBJECT.size or needed > end - at:
            return False
        at += needed
    return True
