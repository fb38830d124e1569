"""Files that are still being written: which of their frames are whole. Frames are read without locking a file."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from batlab.errors import ReadError
from batlab.io.hdf5_files import H5_ERRORS, LOCK, SIGNATURE, check_bitshuffle
from batlab.io.images import load_frame, n_frames
from batlab.io.stacks import whole_rows

ABSENT, BUSY, SWMR, CLOSED, FINISHED = "absent", "busy", "swmr", "closed", "finished"
TOLD = {ABSENT: "not there, or empty", BUSY: "being written by another program"}
WRITING, SINGLE_WRITER = 1, 4  # flags in the superblock: HDF5 File Format Specification 3.0, II.A
LOCKS = Path("/proc/locks")
AT_ONCE = 2**26  # bytes of frames read at once


@dataclass
class Stillness:
    """Since when something has looked the same, by our own clock: those of file servers differ."""

    settle: float
    seen: dict[Any, tuple[Any, float]] = field(default_factory=dict)

    def holds(self, key: Any, look: Any) -> bool:
        """Whether `look` has been the same for `settle` seconds."""
        now = time.monotonic()
        before = self.seen.get(key)
        if before is None or before[0] != look:
            self.seen[key] = (look, now)
            return self.settle <= 0
        return now - before[1] >= self.settle


def hdf5_state(path: Path, still: Stillness) -> str:
    """Return whether `path` is absent, being written (busy), written for readers at the same time (swmr), or closed.

    Version 3 of the superblock says itself whether a writer has the file open (``FINISHED`` where not). Older ones do
    not: there a writer's lock does, or the size and time of a file that keep changing, and a file that is closed may
    be opened again to add a frame.
    """
    try:
        status = path.stat()
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return ABSENT
    if not head.startswith(SIGNATURE):
        return ABSENT
    flags = head[11] if head[8] >= 3 else 0
    if flags & WRITING:
        return SWMR if flags & SINGLE_WRITER else BUSY
    if is_locked(status.st_ino):
        return BUSY
    if head[8] >= 3:
        return FINISHED
    return CLOSED if still.holds(path, (status.st_size, status.st_mtime_ns, status.st_ino)) else BUSY


def is_locked(inode: int) -> bool:
    """Whether a process of this machine holds a write lock on the file, as far as the kernel tells (Linux)."""
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return False
    return any("WRITE" in line and f":{inode} " in line for line in lines)


@contextmanager
def opened(path: Path, state: str) -> Iterator[h5py.File]:
    """Open a file as it is now, without a lock: the writer may want it at any time."""
    with LOCK, h5py.File(path, "r", swmr=state == SWMR, locking=False) as file:
        yield file


class GrowingStack:
    """Frames of one array in one HDF5 file.

    A frame counts as whole when all of its chunks are stored within the file, and the writer has gone on to a later
    chunk, or has closed the file, or the chunk has stayed the same for `still.settle` seconds.
    """

    def __init__(self, path: Path, inner: str, still: Stillness) -> None:
        self.path, self.inner, self.still = path, inner, still
        self.n = 0  # frames stated
        self.firm = 0  # frames from the last one asked for on up to this one are whole
        self.is_closed = False  # nobody writes
        self.is_finished = False  # and nobody will
        self.reason = f"{path.name} is not there"

    def notice(self) -> bool:
        """Return whether nobody writes to the file."""
        return hdf5_state(self.path, self.still) in (CLOSED, FINISHED)

    def look(self, row: int, *, at_end: bool) -> None:
        """Learn how many frames are whole from `row` on; `at_end`, nothing more is expected."""
        if row < self.firm:
            return
        state = hdf5_state(self.path, self.still)
        self.is_closed, self.is_finished = state in (CLOSED, FINISHED), state == FINISHED
        if state in (ABSENT, BUSY):
            self.reason = (
                f"{self.path.name} is {'not there' if state == ABSENT else 'being written by another program'}"
            )
            return
        try:
            with opened(self.path, state) as file:
                self._survey(file[self.inner], row, at_end or self.is_closed)
        except H5_ERRORS as error:
            self.is_closed = self.is_finished = False
            self.reason = f"{self.path.name}: {error}"

    def _survey(self, array: h5py.Dataset, row: int, is_final: bool) -> None:
        self.n = array.shape[0] if array.ndim == 3 else 1
        if array.is_virtual or array.external:
            raise ReadError(f"{self.path.name}: {self.inner} only refers to other files; follow those")
        early = array.id.get_create_plist().get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
        if array.chunks is None or early or array.ndim != 3:
            # All places exist from the start: only a closed file tells that they hold frames.
            shape = array.shape if array.ndim == 3 else (1, *array.shape)
            self._take(row, whole_rows(array, shape, self.path.stat().st_size) & is_final, 1)
            return
        depth, _, _ = array.chunks
        needed = int(np.prod([-(-n // step) for n, step in zip(array.shape[1:], array.chunks[1:], strict=True)]))
        size = self.path.stat().st_size
        counts = np.zeros(-(-self.n // depth), np.int64)
        stored: dict[int, list[tuple[int, int]]] = {}
        first = row // depth

        def note(info: Any) -> None:
            at = info.chunk_offset[0] // depth
            if first <= at < len(counts) and info.size > 0 and info.byte_offset + info.size <= size:
                counts[at] += 1
                stored.setdefault(at, []).append((info.byte_offset, info.size))

        array.id.chunk_iter(note)
        whole = counts >= needed
        last = max(stored, default=-1)
        if not is_final and 0 <= last < len(whole) and not self._is_still(stored[last]):
            whole[last] = False
        self._take(row, whole, depth)

    def _take(self, row: int, whole: np.ndarray, depth: int) -> None:
        """Set how far the frames are whole; `whole` is for chunks of `depth` frames."""
        rows = np.repeat(whole, depth)[: self.n]
        gaps = np.flatnonzero(~rows[row:])
        self.firm = row + int(gaps[0]) if gaps.size else max(self.n, row)
        self.reason = f"{self.path.name}: frame {self.firm} of {self.inner} is not written"

    def _is_still(self, places: list[tuple[int, int]]) -> bool:
        """Whether the newest chunks, as bytes in the file, and the number of frames have stopped changing."""
        check = 0
        with self.path.open("rb") as file:
            for offset, size in places:
                file.seek(offset)
                check = zlib.crc32(file.read(size), check)
        return self.still.holds((self.path, self.inner), (self.n, places, check))

    def read(self, row: int, most: int) -> np.ndarray:
        """Return the frames from `row` on, at most so many; fewer, or none, where one cannot be decoded."""
        stop = min(self.firm, row + most)
        state = hdf5_state(self.path, self.still)
        if state in (ABSENT, BUSY):
            self.firm = row
            return self._none()
        try:
            with opened(self.path, state) as file:
                array = file[self.inner]
                if array.ndim == 2:
                    return np.asarray(array[()])[None]
                return _decoded(array, self.path, slice(row, stop))
        except (*H5_ERRORS, ReadError) as error:
            self.reason = f"{self.path.name}: frame {row} of {self.inner} cannot be decoded: {error}"
        if stop - row > 1:
            self.firm = row + 1
            return self.read(row, 1)
        self.firm = row
        return self._none()

    def _none(self) -> np.ndarray:
        return np.empty((0, 0, 0))

    def next_whole(self, row: int) -> int:
        """Return the next frame after `row` that is whole in a file that nobody writes any more; `n` if none is."""
        for later in range(row + 1, self.n):
            self.firm = 0
            self.look(later, at_end=True)
            if self.firm > later:
                return later
        return self.n


def _decoded(array: h5py.Dataset, path: Path, rows: slice) -> np.ndarray:
    most = max(1, AT_ONCE // max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize))
    rows = slice(rows.start, min(rows.stop, rows.start + most))
    check_bitshuffle(array, path, rows)
    return np.asarray(array[rows])


class GrowingImage:
    """The frames of one image file: whole when its size has stopped changing and it can be decoded."""

    is_finished = False

    def __init__(self, path: Path, still: Stillness) -> None:
        self.path, self.still = path, still
        self.n, self.firm, self.is_closed = 0, 0, False
        self._held: np.ndarray | None = None
        self.reason = f"{path.name} is not whole"

    def notice(self) -> bool:
        """Return whether the file has stayed the same for long enough."""
        if not self.path.exists():
            return False
        status = self.path.stat()
        look = (status.st_size, status.st_mtime_ns, status.st_ino)
        return self.still.holds(self.path, look) and status.st_size > 0

    def look(self, row: int, *, at_end: bool) -> None:
        """Learn whether the file is whole; `at_end`, nothing more is expected."""
        if self.firm:
            return
        try:
            if not (self.notice() or at_end):
                return
            n = n_frames(self.path)
            self._held = load_frame(self.path, 0)
        except (OSError, ReadError) as error:
            self.reason = str(error)
            return
        self.n = self.firm = n
        self.is_closed = True

    def read(self, row: int, most: int) -> np.ndarray:
        """Return the frames from `row` on, at most so many."""
        rows = range(row, min(self.n, row + most))
        held, self._held = self._held, None
        return np.stack([held if i == 0 and held is not None else load_frame(self.path, i) for i in rows])

    def next_whole(self, row: int) -> int:
        """Return the end: a file is whole or is not."""
        return max(self.n, 1)
