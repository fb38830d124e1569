"""Stacks of detector frames in HDF5: which frames are whole, and a lazy array of those."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from batlab.errors import ReadError
from batlab.io.chunks import ChunkSource
from batlab.io.filters import Layout
from batlab.io.folders import Folders, check_storage, source_files
from batlab.io.hdf5_files import StoredArray, blaming, open_file
from batlab.io.links import DEPTH, Found

MOST_FRAMES = 50_000_000
MOST_PIXELS = 2**28


@dataclass(frozen=True)
class Piece:
    """Consecutive frames ``start`` to ``start + n - 1`` of a series, as far as they are whole."""

    source: StoredArray
    first: int  # where in the source they begin
    start: int  # where in the series
    n: int
    whole: np.ndarray  # bool, one for each of the n frames
    reason: str = ""

    def lazily(self, rows: int) -> Any:
        """Return the whole frames as a dask array."""
        if self.source.ndim == 2:
            array = self.source.lazily(self.source.shape[0])[None]
        else:
            array = self.source.lazily(rows)[self.first : self.first + self.n]
        if self.whole.all():
            return array
        kept = np.flatnonzero(self.whole)
        is_prefix = bool((kept == np.arange(len(kept))).all())
        return array[: len(kept)] if is_prefix else array[kept]

    def chunks(self) -> ChunkSource:
        """Return the whole frames as the chunks in which they are stored."""
        rows = self.first + np.flatnonzero(self.whole)
        return ChunkSource((self.source,), np.zeros(len(rows), np.int32), rows)


def pieces_of(found: Found, folders: Folders, start: int = 0, depth: int = 0) -> list[Piece]:
    """Return where the frames of one array are, its virtual sources followed.

    Raises
    ------
    ReadError
        No detector frames, or the file is damaged.
    UnsafePathError
        A virtual source or external storage lies outside `folders`.
    """
    name = Path(found.file).name
    if found.shape is None or found.dtype is None or found.dtype.kind not in "iuf":
        raise ReadError(f"{name}: {found.name} holds no numbers")
    if len(found.shape) not in (2, 3):
        raise ReadError(f"{name}: {found.name} has shape {found.shape}; frames are (y, x) or (frame, y, x)")
    n = found.shape[0] if len(found.shape) == 3 else 1
    if n > MOST_FRAMES or np.prod(found.shape[-2:], dtype=float) > MOST_PIXELS:
        raise ReadError(f"{name}: {found.name} states the shape {found.shape}, which no detector has")
    with open_file(found.file) as file, blaming(found.file, f"{found.name} cannot be read"):
        array = file[found.inner]
        check_storage(array, found.name, found.file, folders)
        source = StoredArray(found.file, found.inner, found.shape, found.dtype, layout=Layout.of(array))
        if array.is_virtual:
            return _virtual_pieces(array, found, folders, start, depth)
        whole = _whole_frames(array, Path(found.file).stat().st_size)
    reason = "" if whole.all() else f"{name} is cut short or damaged"
    return [Piece(source, 0, start, n, whole, reason)]


def _whole_frames(array: h5py.Dataset, size: int) -> np.ndarray:
    """Return for each frame whether all of its bytes were written and lie within `size` bytes."""
    shape = array.shape if array.ndim == 3 else (1, *array.shape)
    if array.chunks is None:
        return whole_rows(array, shape, size)
    chunk = array.chunks if array.ndim == 3 else (1, *array.chunks)
    needed = -(-shape[1] // chunk[1]) * -(-shape[2] // chunk[2])
    counts = np.zeros(-(-shape[0] // chunk[0]), np.int64)

    def count(stored: Any) -> None:
        row = stored.chunk_offset[0] // chunk[0] if array.ndim == 3 else 0
        if stored.size > 0 and stored.byte_offset + stored.size <= size and row < len(counts):
            counts[row] += 1

    array.id.chunk_iter(count)
    return np.repeat(counts >= needed, chunk[0])[: shape[0]]


def whole_rows(array: h5py.Dataset, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Return for each frame of an array that is not in chunks whether all of its bytes lie within `size` bytes."""
    layout = array.id.get_create_plist().get_layout()
    if layout == h5py.h5d.COMPACT or array.external:
        return np.ones(shape[0], bool)
    offset = array.id.get_offset()
    if offset is None:
        return np.zeros(shape[0], bool)
    frame = int(np.prod(shape[1:])) * array.dtype.itemsize
    return offset + frame * np.arange(1, shape[0] + 1) <= size


def _virtual_pieces(array: h5py.Dataset, found: Found, folders: Folders, start: int, depth: int) -> list[Piece]:
    if depth > DEPTH:
        raise ReadError(f"{Path(found.file).name}: {found.name} is a virtual array that leads in a circle")
    shape = array.shape if array.ndim == 3 else (1, *array.shape)
    pieces: list[Piece] = []
    is_simple = array.ndim == 3
    missing = np.zeros(shape[0], bool)
    covered = np.zeros(shape[0], bool)
    for mapping in array.virtual_sources():
        low, high = (np.array(bound) for bound in mapping.vspace.get_select_bounds())
        rows = slice(int(low[0]), int(high[0]) + 1) if array.ndim == 3 else slice(0, 1)
        files = source_files(mapping.file_name, found.name, found.file, folders)
        covered[rows] = True
        if not all(file.is_file() for file in files):
            missing[rows] = True
            continue
        is_simple = is_simple and len(files) == 1 and _is_block(mapping, shape)
        if is_simple:
            pieces += _source_pieces(mapping, files[0], folders, start, depth)
    whole = covered & ~missing
    reason = "" if whole.all() else f"source files of the virtual array {found.name} are missing"
    if not is_simple:
        return [
            Piece(StoredArray(found.file, found.inner, array.shape, array.dtype), 0, start, shape[0], whole, reason)
        ]
    return _with_gaps(sorted(pieces, key=lambda piece: piece.start), whole, found, start, reason)


def _is_block(mapping: Any, shape: tuple[int, ...]) -> bool:
    """Whether the mapping takes whole frames one after the other."""
    low, high = mapping.vspace.get_select_bounds()
    n = high[0] - low[0] + 1
    if -1 in high or mapping.vspace.get_select_npoints() != n * shape[1] * shape[2]:
        return False
    if mapping.src_space.get_select_type() == h5py.h5s.SEL_ALL:
        return True
    first, last = mapping.src_space.get_select_bounds()
    is_whole = len(first) == 3 and mapping.src_space.shape[1:] == shape[1:] and -1 not in last
    return (
        is_whole and last[0] - first[0] + 1 == n and mapping.src_space.get_select_npoints() == n * shape[1] * shape[2]
    )


def _source_pieces(mapping: Any, file: Path, folders: Folders, start: int, depth: int) -> list[Piece]:
    with open_file(file) as source, blaming(file, f"{mapping.dset_name} cannot be read"):
        array = source[mapping.dset_name]
        found = Found(mapping.dset_name, str(file), array.name, array.shape, array.dtype)
    low, high = mapping.vspace.get_select_bounds()
    is_all = mapping.src_space.get_select_type() == h5py.h5s.SEL_ALL
    n, taken = int(high[0] - low[0]) + 1, 0 if is_all else int(mapping.src_space.get_select_bounds()[0][0])
    if is_all and (found.shape or ())[:1] != (n,):
        raise ReadError(
            f"{file.name}: {mapping.dset_name} has shape {found.shape}, the virtual array expects {n} frames"
        )
    cut = []
    for piece in pieces_of(found, folders, 0, depth + 1):
        begin, end = max(piece.start, taken), min(piece.start + piece.n, taken + n)
        if begin < end:
            shift = begin - piece.start
            at = start + int(low[0]) + begin - taken
            whole = piece.whole[shift : shift + end - begin]
            cut.append(Piece(piece.source, piece.first + shift, at, end - begin, whole, piece.reason))
    return cut


def _with_gaps(pieces: list[Piece], whole: np.ndarray, found: Found, start: int, reason: str) -> list[Piece]:
    """Add a piece without whole frames for each run that no source provides."""
    source = StoredArray(found.file, found.inner, found.shape or (), np.dtype(found.dtype))
    filled = list(pieces)
    covered = np.zeros(len(whole), bool)
    for piece in pieces:
        covered[piece.start - start : piece.start - start + piece.n] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[1], covered.astype(np.int8), [1]])))
    for low, high in edges.reshape(-1, 2):
        filled.append(Piece(source, int(low), start + int(low), int(high - low), np.zeros(high - low, bool), reason))
    return sorted(filled, key=lambda piece: piece.start)
