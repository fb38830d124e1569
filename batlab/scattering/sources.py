"""Where the frames of a series come from: an array in memory, chunks in files, or the graph of a dask array."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from batlab.errors import ReadError
from batlab.io.chunk_graph import chunk_source
from batlab.io.chunks import ChunkSource

GROUP = 8  # frames a pass of the kernel
GROUP_BYTES = 2**25  # of decoded frames that one thread holds, where the kernel cannot take them compressed


class Frames(Protocol):
    """Frames that can be cut, sent to another process, and read group by group."""

    @property
    def dtype(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Frames: ...

    def groups(self) -> Iterator[slice]:
        """Yield the ranges of frames that are best read at once."""
        ...

    def read(self, rows: slice) -> np.ndarray:
        """Return those frames (frame, y, x)."""
        ...


@dataclass(frozen=True)
class Held:
    """Frames (frame, y, x) in memory."""

    array: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: slice) -> Held:
        return Held(self.array[rows])

    def groups(self) -> Iterator[slice]:
        yield from _steps(len(self.array), GROUP)

    def read(self, rows: slice) -> np.ndarray:
        return self.array[rows]


@dataclass(frozen=True)
class Chunked:
    """Frames as the compressed chunks in their files, unpacked outside HDF5's lock."""

    source: ChunkSource

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Chunked:
        return Chunked(self.source[rows])

    def groups(self) -> Iterator[slice]:
        yield from _steps(len(self), GROUP)

    def unpacked(self, rows: slice) -> Iterator[slice]:
        """Yield ranges within a group that fit into memory where they must be unpacked whole."""
        most = _group(self.source.shape[1] * self.source.shape[2] * self.dtype.itemsize)
        for part in _steps(rows.stop - rows.start, most):
            yield slice(rows.start + part.start, rows.start + part.stop)

    def chunks(self, rows: slice) -> list[bytes | memoryview] | None:
        """Return the frames as they are stored, one bitshuffle-LZ4 chunk each; None where they are stored otherwise.

        The next call in this thread may use their memory again.
        """
        return self.source.whole(range(rows.start, rows.stop)) if self._is_fused else None

    @cached_property
    def _is_fused(self) -> bool:
        return self.source.kind == "bitshuffle-lz4" and self.source.chunk == (1, *self.source.shape[1:])

    def read(self, rows: slice) -> np.ndarray:
        frames = np.empty((rows.stop - rows.start, *self.source.shape[1:]), self.dtype)
        self.source.decode(rows, frames)
        return frames


@dataclass(frozen=True)
class Blocks:
    """Frames of a dask array: its graph, the keys of its blocks along the frames, and where each begins."""

    graph: dict[Any, Any]
    keys: tuple[Any, ...]
    edges: tuple[int, ...]  # first frame of each block, and the end
    first: int  # of the frames meant
    stop: int
    dtype: np.dtype
    frame_bytes: int

    @classmethod
    def of(cls, array: Any) -> Blocks:
        import dask

        whole = array.rechunk(dict.fromkeys(range(1, array.ndim), -1))
        if not _is_on_cluster(whole):
            (whole,) = dask.optimize(whole)
        keys = tuple(row[0][0] for row in whole.__dask_keys__())
        edges = (0, *np.cumsum(whole.chunks[0]).tolist())
        size = int(np.prod(whole.shape[1:], dtype=np.int64)) * whole.dtype.itemsize
        return cls(dict(whole.__dask_graph__()), keys, edges, 0, len(whole), whole.dtype, size)

    def __len__(self) -> int:
        return self.stop - self.first

    def __getitem__(self, rows: slice) -> Blocks:
        from dask.optimization import cull

        low, high, _ = rows.indices(len(self))
        low, high = self.first + low, self.first + max(low, high)
        one, end = self._covering(low, high)
        keys = self.keys[one:end]
        graph, _ = cull(self.graph, list(keys))
        edges = self.edges[one : end + 1]
        return Blocks(dict(graph), keys, edges, low, high, self.dtype, self.frame_bytes)

    def groups(self) -> Iterator[slice]:
        """Whole blocks together: one that is cut would be read again for every part."""
        most = _group(self.frame_bytes)
        start = self.first
        while start < self.stop:
            block = int(np.searchsorted(self.edges, start, side="right")) - 1
            while block + 1 < len(self.keys) and self.edges[block + 2] - start <= most:
                block += 1
            stop = min(self.edges[block + 1], self.stop)
            yield slice(start - self.first, stop - self.first)
            start = stop

    def read(self, rows: slice) -> np.ndarray:
        from dask.local import get_sync
        from dask.optimization import cull

        low, high = self.first + rows.start, self.first + rows.stop
        one, end = self._covering(low, high)
        keys = list(self.keys[one:end])
        # Only what these blocks need is looked at: a series may have a million.
        graph = {key: step.result() if _is_future(step) else step for key, step in cull(self.graph, keys)[0].items()}
        blocks = [np.asarray(block) for block in get_sync(graph, keys)]
        for block, length in zip(blocks, np.diff(self.edges[one : end + 1]), strict=True):
            if len(block) != length or block.shape[1:] != blocks[0].shape[1:]:
                raise ReadError(f"a block of frames has shape {block.shape}, expected {length} frames of one shape")
        whole = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return whole[low - self.edges[one] : high - self.edges[one]]

    def futures(self) -> dict[Any, Any]:
        """Return those of its steps that are results on a cluster's workers (after ``persist``), by their keys."""
        return {key: step for key, step in self.graph.items() if _is_future(step)}

    def with_steps(self, steps: dict[Any, Any]) -> Blocks:
        """Return the same frames with some steps of the graph replaced."""
        return replace(self, graph=self.graph | steps)

    def block(self) -> int:
        """Return how many frames the largest block holds."""
        return int(np.diff(self.edges).max(initial=1))

    def _covering(self, low: int, high: int) -> tuple[int, int]:
        one = int(np.searchsorted(self.edges, low, side="right")) - 1
        end = int(np.searchsorted(self.edges, high, side="left"))
        return (one, max(end, one + 1)) if high > low else (one, one)


def frames_of(array: Any) -> Frames:
    """Return the source behind `array` (frame, y, x); the log says which way frames in files go, and why."""
    if not hasattr(array, "dask"):
        return Held(np.asarray(array))
    source = chunk_source(array)
    return Blocks.of(array) if source is None else Chunked(source)


def _group(frame_bytes: int) -> int:
    return max(1, min(GROUP, GROUP_BYTES // max(1, frame_bytes)))


def _steps(n: int, step: int) -> Iterator[slice]:
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def _is_on_cluster(array: Any) -> bool:
    """Whether blocks lie on workers already (``persist``): optimizing would lose sight of them."""
    return "distributed" in sys.modules and any(map(_is_future, array.__dask_graph__().values()))


def _is_future(step: Any) -> bool:
    return hasattr(step, "result") and hasattr(step, "release")
