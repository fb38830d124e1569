"""Open HDF5 files so that damage is an error with the file's name, and read their arrays task by task."""

from __future__ import annotations

import io
import itertools
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers bitshuffle, LZ4, Zstd and others with HDF5)
import numpy as np

from batlab.errors import BatlabError, ReadError
from batlab.io.filters import BITSHUFFLE, FLETCHER32, Layout
from batlab.io.text_heaps import check_heaps

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Whatever h5py raises for a damaged file.
H5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
# h5py serialises all calls anyhow; one lock of our own also keeps opening and closing apart (h5py issue 2920).
LOCK = threading.RLock()


@contextmanager
def open_file(path: str | os.PathLike, needed_by: str = "") -> Iterator[h5py.File]:
    """Open `path` for reading; a file cut short opens as far as its structure is whole, the lost end reads as ones.

    Raises
    ------
    ReadError
        It is no HDF5 file, its structure is damaged, or it is being written.
    """
    with LOCK, blaming(path, needed_by), opened(path) as file:
        yield file


def opened(path: str | os.PathLike) -> h5py.File:
    """Return the file as `open_file` does, for a caller who holds `LOCK`, is `blaming`, and closes it."""
    check_heaps([path])
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "truncated file" in str(error):
            return h5py.File(_PaddedFile(path, stated_size(path)), "r")
        if "SWMR" in str(error) or "already open for write" in str(error):
            return _open_unclosed(path)
        raise


@contextmanager
def blaming(path: str | os.PathLike, what: str = "") -> Iterator[None]:
    """Turn what h5py raises into a ReadError that names `path`."""
    try:
        yield
    except BatlabError:
        raise
    except H5_ERRORS as error:
        reason = str(error).strip("'\"") or type(error).__name__
        name = Path(path).name
        raise ReadError(f"{name}: {what or 'cannot be read as HDF5'}: {reason}") from error


def _open_unclosed(path: str | os.PathLike) -> h5py.File:
    try:
        return h5py.File(path, "r", swmr=True)
    except OSError as error:
        raise ReadError(
            f"{Path(path).name}: is being written, or its writer never closed it; wait, or mend a copy with "
            f"'h5clear -s {Path(path).name}'"
        ) from error


def stated_size(path: str | os.PathLike) -> int:
    """Return the size in bytes that the file's superblock states, at most 2^50."""
    with open(path, "rb") as file:
        head = file.read(256)
    start = head.find(SIGNATURE)
    if start < 0:
        raise ReadError(f"{Path(path).name}: has no HDF5 signature")
    version = head[start + 8]
    # End-of-file address in the superblock: HDF5 File Format Specification 3.0, II.A.
    width, at = (head[start + 13], start + {0: 24, 1: 28}[version]) if version < 2 else (head[start + 9], start + 12)
    end = int.from_bytes(head[at + 2 * width : at + 3 * width], "little")
    return min(end, 2**50)


class _PaddedFile(io.RawIOBase):
    """A read-only file with bytes of 1 beyond its real end, up to the size that it should have had.

    On a heap of zeros HDF5 2.0 loops for ever, and of 0xFF it takes seconds; an address of ones fails at once.
    """

    def __init__(self, path: str | os.PathLike, size: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  (closed by close)
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._position))
        self._file.seek(self._position)
        got = self._file.readinto(view[:wanted]) or 0  # type: ignore[attr-defined]
        view[got:wanted] = b"\x01" * (wanted - got)
        self._position += wanted
        return wanted

    def close(self) -> None:
        self._file.close()
        super().close()


def check_plain(dtype: np.dtype | None, what: str) -> None:
    """Raise TypeError unless `dtype` is of numbers or text: HDF5 crashes on one that damage made a nest of lists."""
    if dtype is None or (dtype.kind not in "biufS" and h5py.check_string_dtype(dtype) is None):
        raise TypeError(f"{what} holds neither numbers nor text ({dtype})")


def check_whole(array: h5py.Dataset, path: str | os.PathLike) -> None:
    """Raise ReadError if part of a stored array lies beyond the file's end."""
    size = os.stat(path).st_size
    ends: list[int] = []
    if array.is_virtual or array.external:
        return
    if array.chunks is not None:
        array.id.chunk_iter(lambda stored: ends.append(stored.byte_offset + stored.size))
    elif array.id.get_offset() is not None:
        ends.append(array.id.get_offset() + array.nbytes)
    if ends and max(ends) > size:
        raise ReadError(f"{Path(path).name}: is cut short, part of {array.name} is missing")


def check_bitshuffle(array: h5py.Dataset, path: str | os.PathLike, key: Any) -> None:
    """Raise ReadError where a chunk in bitshuffle states another size than it has: the filter would crash on it.

    A chunk begins with its size in bytes (8 bytes, big-endian) and that of its blocks (4): bitshuffle's
    ``bshuf_h5filter.c``.
    """
    checksum = _after_bitshuffle(array)
    if array.chunks is None or checksum is None:
        return
    expected = int(np.prod(array.chunks)) * array.dtype.itemsize
    rows = range(array.shape[0])[_rows(key)]
    firsts = range(rows[0] // array.chunks[0], rows[-1] // array.chunks[0] + 1) if len(rows) else []
    others = [range(0, size, step) for size, step in zip(array.shape[1:], array.chunks[1:], strict=True)]
    with open(path, "rb") as file:
        for corner in itertools.product([first * array.chunks[0] for first in firsts], *others):
            info = array.id.get_chunk_info_by_coord(corner)
            if info.byte_offset is None or info.filter_mask:
                continue
            file.seek(info.byte_offset)
            content = file.read(info.size)[: info.size - checksum]
            if not _is_sound_bitshuffle(content, expected, array.dtype.itemsize):
                raise ReadError(f"{Path(path).name}: the chunk at {corner} of {array.name} is damaged")


def _is_sound_bitshuffle(content: bytes, expected: int, width: int) -> bool:
    """Whether the sizes of a chunk and of its compressed blocks agree with each other."""
    if len(content) < 12:
        return False
    size, block = struct.unpack_from(">QI", content)
    if size != expected or block == 0 or block % (8 * width):
        return False
    n_blocks, rest = divmod(size, block)
    tail = rest % (8 * width)  # copied as it is
    n_blocks += rest - tail > 0
    at, end = 12, len(content)
    for _ in range(n_blocks):
        if at + 4 > end:
            return False
        at += 4 + int.from_bytes(content[at : at + 4], "big")
    return at + tail == end


def _rows(key: Any) -> slice:
    first = key[0] if isinstance(key, tuple) and key else key
    if isinstance(first, slice):
        return first
    return slice(int(first), int(first) + 1) if isinstance(first, (int, np.integer)) else slice(None)


def _after_bitshuffle(array: h5py.Dataset) -> int | None:
    """Return how many bytes of checksum follow a chunk in bitshuffle; None where its header is not to be seen."""
    properties = array.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    for i, (code, _, values, _) in enumerate(filters):
        # The fifth value says that LZ4 or Zstd follows; without either there is no header.
        if code == BITSHUFFLE and len(values) > 4 and values[4] in (2, 3):
            after = [later for later, *_ in filters[i + 1 :]]
            return {(): 0, (FLETCHER32,): 4}.get(tuple(after))
    return None


@dataclass(frozen=True)
class StoredArray:
    """An array in an HDF5 file, opened anew by whoever reads from it: picklable, and no file stays open.

    Parameters
    ----------
    path, dataset
        The file and the array's path in it.
    shape, dtype
        As stored.
    what
        What a step along the first dimension is called in errors.
    layout
        How it is stored, where that was looked at.
    """

    path: str
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype
    what: str = "frame"
    layout: Layout | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        with open_file(self.path) as file, blaming(self.path, self._blame(key)):
            stored = file[self.dataset]
            if stored.shape != self.shape:
                raise ReadError(f"{Path(self.path).name}: {self.dataset} has changed its shape since it was opened")
            if self.ndim < 3:
                check_whole(stored, self.path)
            check_bitshuffle(stored, self.path, key)
            return np.asarray(stored[key])

    def _blame(self, key: Any) -> str:
        first = key[0] if isinstance(key, tuple) and key else key
        if self.ndim < 3 or not isinstance(first, (slice, int, np.integer)):
            return f"{self.dataset} cannot be read"
        rows = range(*first.indices(self.shape[0])) if isinstance(first, slice) else [int(first)]
        told = f"{self.what} {rows[0]}" if len(rows) == 1 else f"{self.what}s {rows[0]} to {rows[-1]}"
        return f"{told} of {self.dataset} cannot be read"

    def lazily(self, rows: int) -> Any:
        """Return a dask array of this one with `rows` rows a chunk."""
        import dask.array as da
        from dask.base import tokenize

        status = Path(self.path).stat()
        name = "stored-" + tokenize(self.path, self.dataset, self.shape, rows, status.st_mtime_ns, status.st_size)
        chunks = (max(1, min(rows, self.shape[0])), *self.shape[1:])
        meta = np.empty((0,) * self.ndim, self.dtype)
        return da.from_array(self, chunks=chunks, name=name, asarray=False, meta=meta, inline_array=True)
