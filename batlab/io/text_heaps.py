"""The heaps in which HDF5 keeps text: checked before the library reads them, for damage there hangs or crashes it.

The whole file is read for it, so only small ones are checked: 64 MiB of those that the user names, 1 MiB of any other.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from batlab.errors import ReadError

NAMED = 2**26  # bytes of all files that the user names
LINKED = 2**20  # bytes of one file met on the way; larger ones hold frames and little text
_HEAD = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HH4xQ")


def check_heaps(paths: Sequence[str | os.PathLike], most: int = LINKED) -> None:
    """Raise ReadError if a global heap in the files is damaged (HDF5 File Format Specification 3.0, III.E).

    Nothing is checked where they have more than `most` bytes together.
    """
    states = [os.stat(path) for path in paths]
    if sum(state.st_size for state in states) > most:
        return
    for path, state in zip(paths, states, strict=True):
        damage = _damage(os.fspath(path), state.st_mtime_ns, state.st_size)
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
