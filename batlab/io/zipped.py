"""Files inside a zip archive, with bounds on what they may unpack to: a bomb is refused before it is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batlab.errors import ReadError

MAX_PARTS = 4096
MAX_UNPACKED = 2**32  # bytes, all parts together
MAX_RATIO = 200  # tables of numbers as XML shrink 5 to 30 times; zeros 1000 times
FREE = 2**26  # bytes that may be packed as tightly as they like


def is_zip(head: bytes) -> bool:
    """Return whether the first bytes are those of a zip archive."""
    return head.startswith(b"PK\x03\x04")


def names_at_head(path: Path, head: bytes) -> list[str]:
    """Return the names of the parts; of an archive that is cut, those that its first bytes show. Never raises."""
    if not is_zip(head):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[:MAX_PARTS]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeError):
        names, place = [], head.find(b"PK\x03\x04")
        while place >= 0:
            length = int.from_bytes(head[place + 26 : place + 28], "little")
            names.append(head[place + 30 : place + 30 + length].decode("utf-8", "replace"))
            place = head.find(b"PK\x03\x04", place + 30)
        return names


@contextmanager
def unpacking(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; errors of unpacking become `ReadError`, and one that would unpack to too much is refused.

    Raises
    ------
    ReadError
        With what the archive states and what is accepted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, path.name)
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ReadError(f"{path.name}: is no whole zip archive ({error}); the file may be truncated") from error
    except NotImplementedError as error:
        raise ReadError(f"{path.name}: is packed in an unknown way ({error}); pack or save it again") from error


def _check(archive: zipfile.ZipFile, name: str) -> None:
    parts = archive.infolist()
    if len(parts) > MAX_PARTS:
        raise ReadError(f"{name}: holds {len(parts)} parts, at most {MAX_PARTS} are accepted; it may be a zip bomb")
    unpacked, packed = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if unpacked > MAX_UNPACKED or (unpacked > FREE and unpacked > MAX_RATIO * max(packed, 1)):
        raise ReadError(
            f"{name}: {packed} bytes would unpack to {unpacked}; at most {MAX_UNPACKED}, and {MAX_RATIO} times the "
            "packed size, are accepted: it may be a zip bomb"
        )
    for part in parts:
        if part.file_size > FREE and part.file_size > MAX_RATIO * max(part.compress_size, 1):
            raise ReadError(
                f"{name}: {part.filename!r} would unpack from {part.compress_size} to {part.file_size} bytes, more "
                f"than {MAX_RATIO} times; it may be a zip bomb"
            )
        if part.flag_bits & 1:
            raise ReadError(f"{name}: {part.filename!r} is encrypted; save the file without a password")


def content(archive: zipfile.ZipFile, part: str, limit: int = FREE) -> bytes:
    """Return a whole part of at most `limit` bytes."""
    size = archive.getinfo(part).file_size
    if size > limit:
        raise ReadError(f"{Path(str(archive.filename)).name}: {part!r} holds {size} bytes, at most {limit} are read")
    return archive.read(part)


def blocks(archive: zipfile.ZipFile, part: str, size: int = 2**21) -> Iterator[bytes]:
    """Yield a part in blocks of `size` bytes."""
    with archive.open(part) as stream:
        while block := stream.read(size):
            yield block
