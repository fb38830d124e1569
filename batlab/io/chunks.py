"""Detector frames as the chunks that a file stores: read without HDF5's filters, which work under its global lock."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h5py
import numpy as np

from batlab.errors import ReadError
from batlab.io.filters import BITSHUFFLE, BITSHUFFLE_LZ4, Layout, decode_chunks, why_not
from batlab.io.hdf5_files import LOCK, StoredArray, blaming, opened

MOST_OPEN = 8  # files that one process keeps open
MOST_FRAMES_A_CHUNK = 8  # of a larger chunk most would be unpacked for nothing
RawChunk = tuple[int, int, bytes | memoryview, bool]


@dataclass(frozen=True, eq=False)
class ChunkSource:
    """Frames of one or several files, in order, as their compressed chunks. Picklable: no file stays open in it.

    Parameters
    ----------
    arrays
        The stored arrays (frame, y, x), or (y, x) for one frame, all of one frame shape and type.
    array_of, row
        (frame) which array a frame is in, and which row of it.
    """

    arrays: tuple[StoredArray, ...]
    array_of: np.ndarray
    row: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows and columns."""
        ny, nx = self.arrays[0].shape[-2:]
        return len(self.row), ny, nx

    @property
    def dtype(self) -> np.dtype:
        return self.arrays[0].dtype

    @property
    def chunk(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a chunk of the first array."""
        return _chunk(self.arrays[0])

    @property
    def chunk_pixels(self) -> int:
        """Numbers that a chunk unpacks to, those beyond the frame's edge included."""
        return int(np.prod(self.chunk))

    @property
    def reason(self) -> str:
        """Why the frames must go the ordinary way; empty where they need not."""
        return next(filter(None, map(_why_not, self.arrays)), "")

    @property
    def kind(self) -> str | None:
        """How the frames can be had fast.

        ``"bitshuffle-lz4"``: each chunk is one frame or whole rows of one, and has no other filter; ``"decode"``: by
        `decode`; None: the ordinary way, for `reason`.
        """
        if self.reason:
            return None
        alike = len({_chunk(array) for array in self.arrays}) == 1
        return "bitshuffle-lz4" if alike and all(map(_is_plain_bitshuffle, self.arrays)) else "decode"

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, frames: slice | np.ndarray) -> ChunkSource:
        """Return the source of some frames: a slice, or their positions; of the arrays those that they are in."""
        array_of, row = self.array_of[frames], self.row[frames]
        if array_of.ndim != 1:
            raise TypeError(f"ChunkSource takes a slice or an array of positions, got {frames!r}")
        if len(self.arrays) == 1 or not len(row):
            return ChunkSource(self.arrays[:1] if not len(row) else self.arrays, array_of, row)
        used, renumbered = np.unique(array_of, return_inverse=True)
        return ChunkSource(tuple(self.arrays[i] for i in used), renumbered.astype(np.int32), row)

    @classmethod
    def joined(cls, sources: Sequence[ChunkSource]) -> ChunkSource:
        """Return the frames of several sources one after the other."""
        if len(sources) == 1:
            return sources[0]
        arrays: dict[StoredArray, int] = {}
        numbers = []
        for source in sources:
            places = [arrays.setdefault(array, len(arrays)) for array in source.arrays]
            numbers.append(np.array(places, np.int32)[source.array_of])
        return cls(tuple(arrays), np.concatenate(numbers), np.concatenate([source.row for source in sources]))

    def raw(self, i: int, buffer: bytearray | None = None) -> list[RawChunk]:
        """Return the chunks of frame `i` in image order, as they are stored.

        Each is (first pixel, number of pixels, bytes, is_raw): pixels of the frame counted along its rows; the bytes
        hold as many numbers as a chunk has, if fewer belong to the frame; with `is_raw` the bytes are not filtered.
        For `kind` ``"bitshuffle-lz4"`` alone. A chunk that fits into `buffer` is read into it.

        Raises
        ------
        ReadError
            The file is missing, is another than when it was opened, or its chunk cannot be read.
        """
        _, ny, nx = self.shape
        rows = self.chunk[1]
        found = []
        for corner in self._corners(i):
            mask, content = self._stored(i, corner, buffer)
            if mask and len(content) != self.chunk_pixels * self.dtype.itemsize:
                raise self._damaged(i, corner, f"it holds {len(content)} bytes and is not packed")
            found.append((corner[-2] * nx, min(rows, ny - corner[-2]) * nx, content, bool(mask)))
        return found

    def whole(self, frames: range) -> list[bytes | memoryview] | None:
        """Return frames that are one filtered chunk each, as stored; None where one is not.

        While files are kept open they lie in memory that this thread uses again at the next call: the system empties
        new memory first, which takes as long as copying the chunk.
        """
        buffers = _KEPT.buffers.setdefault(threading.get_ident(), []) if _KEPT.n_keepers else []
        buffers += [bytearray() for _ in range(len(frames) - len(buffers))]
        contents = []
        for place, i in enumerate(frames):
            found = self.raw(i, buffers[place])
            if len(found) != 1 or found[0][3]:
                return None
            contents.append(found[0][2])
            if len(contents[-1]) > len(buffers[place]):
                buffers[place] = bytearray(len(contents[-1]) * 17 // 16)  # the next may be a little larger
        return contents

    def decode(self, frames: Sequence[int] | slice, out: np.ndarray) -> None:
        """Unpack frames into `out` (frame, y, x), which is C-contiguous and of the source's `dtype`.

        Raises
        ------
        ReadError
            As `raw`, or a chunk is damaged: the message names file, frame and chunk. What `out` then holds is not said.
        """
        positions = range(len(self))[frames] if isinstance(frames, slice) else frames
        expected = (len(positions), *self.shape[1:])
        if out.shape != expected or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out must be C-contiguous {self.dtype} {expected}, got {out.dtype} {out.shape}")
        with kept_open():
            self._fill(positions, out)

    def _fill(self, positions: Sequence[int], out: np.ndarray) -> None:
        shared: dict[tuple[int, tuple[int, ...]], np.ndarray] = {}  # chunks of several frames, or beyond an edge
        for image, i in zip(out, map(int, positions), strict=True):
            depth, height, width = _chunk(self._array(i))
            shared = {key: shared[key] for key in self._keys(i) if key in shared}
            for key in self._keys(i):
                y, x = key[1][-2:]
                part = image[y : y + height, x : x + width]
                if depth == 1 and part.shape == (height, image.shape[1]):
                    self._unpack(i, key[1], part)
                    continue
                if key not in shared:
                    shared[key] = np.empty((depth, height, width), self.dtype)
                    self._unpack(i, key[1], shared[key])
                part[:] = shared[key][int(self.row[i]) % depth, : part.shape[0], : part.shape[1]]

    def _keys(self, i: int) -> list[tuple[int, tuple[int, ...]]]:
        return [(int(self.array_of[i]), corner) for corner in self._corners(i)]

    def damaged(self, i: int, first_pixel: int, why: str) -> ReadError:
        """Return the error for the chunk of frame `i` that begins with `first_pixel`, as `raw` counts them."""
        corner = next(c for c in reversed(self._corners(i)) if c[-2] * self.shape[2] <= first_pixel)
        return self._damaged(i, corner, why)

    def _array(self, i: int) -> StoredArray:
        return self.arrays[int(self.array_of[i])]

    def _corners(self, i: int) -> list[tuple[int, ...]]:
        """Return where in the stored array the chunks of a frame begin."""
        array, row = self._array(i), int(self.row[i])
        depth, height, width = _chunk(array)
        _, ny, nx = self.shape
        first = [] if array.ndim == 2 else [[row // depth * depth]]
        return list(product(*first, range(0, ny, height), range(0, nx, width)))

    def _stored(
        self, i: int, corner: tuple[int, ...], buffer: bytearray | None = None
    ) -> tuple[int, bytes | memoryview]:
        """Return filter mask and bytes of one chunk, in `buffer` where they fit into it."""
        array = self._array(i)
        with LOCK, blaming(array.path, f"{self._told(i)} cannot be read"), _KEPT.opened(array) as stored:
            fits = buffer and stored.id.get_chunk_info_by_coord(corner).size <= len(buffer)
            mask, content = stored.id.read_direct_chunk(corner, out=buffer if fits else None)
        return int(mask), content

    def _unpack(self, i: int, corner: tuple[int, ...], out: np.ndarray) -> None:
        layout = self._array(i).layout
        assert layout is not None
        told = decode_chunks(
            [self._stored(i, corner)], out.reshape(1, -1).view(np.uint8), layout.filters, self.dtype.itemsize
        )
        if told[0]:
            raise self._damaged(i, corner, told[0])

    def _damaged(self, i: int, corner: tuple[int, ...], why: str) -> ReadError:
        name = Path(self._array(i).path).name
        return ReadError(f"{name}: {self._told(i)} cannot be read: its chunk at {corner} is damaged: {why}")

    def _told(self, i: int) -> str:
        return f"frame {int(self.row[i])} of {self._array(i).dataset}"


class _KeptFiles:
    """Files that stay open in this process while someone asks for it; used under `LOCK` alone."""

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[str, str], tuple[h5py.File, h5py.Dataset]] = OrderedDict()
        self.buffers: dict[int, list[bytearray]] = {}  # of each thread, for chunks
        self.n_keepers = 0
        self.process = os.getpid()

    def forget_parent(self) -> None:
        """After a fork: the parent's files, and who wants them open, are not ours."""
        if self.process != os.getpid():
            self.__init__()  # type: ignore[misc]

    @contextmanager
    def opened(self, array: StoredArray) -> Iterator[h5py.Dataset]:
        self.forget_parent()
        if not self.n_keepers:
            with opened(array.path) as file:
                yield _same(file, array)
            return
        key = (array.path, array.dataset)
        if key not in self.files:
            file = opened(array.path)
            try:
                self.files[key] = file, _same(file, array)
            except BaseException:
                file.close()
                raise
            while len(self.files) > MOST_OPEN:
                self.files.popitem(last=False)[1][0].close()
        self.files.move_to_end(key)
        yield self.files[key][1]

    def close(self) -> None:
        while self.files:
            self.files.popitem()[1][0].close()
        self.buffers.clear()


_KEPT = _KeptFiles()


@contextmanager
def kept_open() -> Iterator[None]:
    """Keep the files of all `ChunkSource` open in this process until the block ends: opening one takes milliseconds.

    Any thread may use it; blocks may overlap.
    """
    with LOCK:
        _KEPT.forget_parent()
        _KEPT.n_keepers += 1
        mine = _KEPT.process
    try:
        yield
    finally:
        with LOCK:
            if mine == _KEPT.process == os.getpid():
                _KEPT.n_keepers -= 1
                if not _KEPT.n_keepers:
                    _KEPT.close()


def _same(file: h5py.File, array: StoredArray) -> h5py.Dataset:
    """Return the stored array.

    Raises
    ------
    ReadError
        It is no longer what it was when the source was made.
    """
    stored = file[array.dataset]
    name = f"{Path(array.path).name}: {array.dataset}"
    if not isinstance(stored, h5py.Dataset) or stored.shape != array.shape:
        raise ReadError(f"{name} has changed its shape since it was opened; open it again")
    if stored.dtype != array.dtype or Layout.of(stored) != array.layout:
        raise ReadError(f"{name} has changed its type or its storage since it was opened; open it again")
    return stored


def _chunk(array: StoredArray) -> tuple[int, int, int]:
    chunks = array.layout.chunks if array.layout is not None else None
    depth, height, width = (1, *(chunks or array.shape)[-2:]) if chunks is None or len(chunks) == 2 else chunks
    return depth, height, width


def _why_not(array: StoredArray) -> str:
    name = f"{Path(array.path).name}: {array.dataset}"
    if array.layout is None:
        return f"{name} is put together from other arrays"
    if array.layout.chunks is None:
        return f"{name} is not stored in chunks"
    if array.dtype.kind not in "iuf" or not array.dtype.isnative:
        return f"{name} holds numbers of type {array.dtype.str}"
    depth, height, width = _chunk(array)
    _, ny, nx = 1, *array.shape[-2:]
    if depth > MOST_FRAMES_A_CHUNK or height > ny or width > nx:
        return f"{name} has chunks of {(depth, height, width)} for frames of {(ny, nx)}"
    reason = why_not(array.layout.filters, array.dtype.itemsize)
    return f"{name}: {reason}" if reason else ""


def _is_plain_bitshuffle(array: StoredArray) -> bool:
    filters = array.layout.filters if array.layout is not None else ()
    depth, _, width = _chunk(array)
    is_rows = depth == 1 and width == array.shape[-1]
    return is_rows and len(filters) == 1 and filters[0][0] == BITSHUFFLE and filters[0][1][4] == BITSHUFFLE_LZ4
