"""From a lazy array back to the chunks in its files: what `io` built, and slices of its frames."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from operator import getitem
from threading import Lock
from typing import Any

import numpy as np

from batlab.io.chunks import ChunkSource

MOST_KNOWN = 256  # lazy arrays remembered
MOST_STEPS = 64  # slices of slices that are followed
Known = tuple[ChunkSource | str, tuple[int, ...]]
_KNOWN: OrderedDict[str, Known] = OrderedDict()
_LOCK = Lock()


class _NotFollowed(Exception):  # noqa: N818  (no error: the ordinary way is taken)
    """A step of the graph that is not understood."""


def register(array: Any, source: ChunkSource | str) -> Any:
    """Remember where the frames of a dask array (frame, y, x) are stored, or why they have no source; return it."""
    with _LOCK:
        _KNOWN[array.name] = source, array.chunks[0]
        _KNOWN.move_to_end(array.name)
        while len(_KNOWN) > MOST_KNOWN:
            _KNOWN.popitem(last=False)
    return array


def chunk_source(array: Any) -> ChunkSource | None:
    """Return the source of the frames of `array` where they can be read fast, or else None: take the ordinary way.

    The array may be sliced and rechunked along its frames, frames may be chosen, and series that `batlab.open`
    returned put one after the other. The reason for None goes to the log ``"batlab"`` (INFO).
    """
    try:
        source = _source(array)
    except _NotFollowed as reason:
        logging.getLogger("batlab").info("frames are read the ordinary way: %s", reason)
        return None
    if source.kind is None:
        logging.getLogger("batlab").info("frames are read the ordinary way: %s", source.reason)
        return None
    return source


def _source(array: Any) -> ChunkSource:
    import dask.array as da

    if not isinstance(array, da.Array):
        raise _NotFollowed("they are not lazy")
    if array.ndim != 3 or array.numblocks[1:] != (1, 1):
        raise _NotFollowed(f"the lazy array has dimensions {array.shape} in pieces {array.numblocks}")
    trail = _Trail(array.dask, array.shape[1:])
    frames = [trail.frames((array.name, i, 0, 0)) for i in range(array.numblocks[0])]
    sources = [source for source, _ in trail.sources.values()]
    if not sources or [len(part) for part in frames] != list(array.chunks[0]):
        raise _NotFollowed("their number is not as expected")
    if any(source.shape[1:] != array.shape[1:] or source.dtype != array.dtype for source in sources):
        raise _NotFollowed("they have been changed since they were opened")
    return ChunkSource.joined(sources)[np.concatenate(frames).reshape(-1)]


class _Trail:
    """Steps of a dask graph that choose frames, followed on the frames' numbers instead of the frames.

    A step is done by dask's own function on numbers (frame, 1, 1); it must leave y and x whole.
    """

    def __init__(self, graph: Mapping[Any, Any], size: tuple[int, int]) -> None:
        self.graph = graph
        self.size = size
        self.sources: dict[str, tuple[ChunkSource, int]] = {}  # and the number of its first frame among them all
        self.edges: dict[str, np.ndarray] = {}  # of its pieces, in those numbers
        self.found: dict[Any, Any] = {}

    def frames(self, key: Any, depth: int = 0) -> np.ndarray:
        """Return the numbers of the frames in one piece of an array."""
        if depth > MOST_STEPS:
            raise _NotFollowed(f"they went through more than {MOST_STEPS} steps")
        if key not in self.found:
            # Looked up once: another thread may open files meanwhile, and the oldest be forgotten.
            known = _KNOWN.get(key[0]) if _is_piece(key) else None
            self.found[key] = self._step(key, depth) if known is None else self._known(key, known)
        return self.found[key]

    def _known(self, key: Any, known: Known) -> np.ndarray:
        source, chunks = known
        if isinstance(source, str):
            raise _NotFollowed(source)
        stored = self.graph.get(key)
        # After persist() a piece, or a future of it, stands in the place of the step that reads it.
        if type(stored).__name__ not in ("Task", "Alias") and not isinstance(stored, tuple):
            raise _NotFollowed("they are in memory")
        if key[2:] != (0, 0):
            raise _NotFollowed("they are in pieces along y or x")
        if key[0] not in self.sources:
            before = sum(len(other) for other, _ in self.sources.values())
            self.sources[key[0]] = source, before
            self.edges[key[0]] = before + np.concatenate([[0], np.cumsum(chunks, dtype=np.int64)])
        start, stop = self.edges[key[0]][key[1] : key[1] + 2]
        return np.arange(start, stop).reshape(-1, 1, 1)

    def _step(self, key: Any, depth: int) -> Any:
        try:
            step = self.graph[key]
        except KeyError as error:
            raise _NotFollowed(f"dask's graph has no {key}") from error
        return self._value(step, depth + 1)

    def _value(self, step: Any, depth: int) -> Any:
        """Return what a step of the graph gives, in numbers of frames."""
        kind = type(step).__name__
        if kind in ("Alias", "TaskRef"):
            return self.frames(step.target if kind == "Alias" else step.key, depth)
        if kind == "List":
            return [self._value(item, depth) for item in step.args]
        if kind == "DataNode":
            return self._plain(step.value)
        if kind == "Task":
            return self._done(step.func, list(step.args), depth, step.kwargs)
        if _is_piece(step):
            return self.frames(step, depth)
        if isinstance(step, tuple) and step and callable(step[0]):
            return self._done(step[0], list(step[1:]), depth, {})
        return self._plain(step)

    def _done(self, function: Any, args: list[Any], depth: int, keywords: Mapping[str, Any]) -> np.ndarray:
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__name__', function)}"
        if keywords:
            raise _NotFollowed(f"they went through {name}")
        if function is getitem or name in ("dask.array.chunk.getitem", "dask.array._shuffle._getitem"):
            args = [self._value(args[0], depth), self._index(self._value(args[1], depth))]
        elif name == "dask.array.core.concatenate_shaped":
            args = [self._value(arg, depth) for arg in args]
            if list(args[1][1:]) != [1, 1]:
                raise _NotFollowed("they are in pieces along y or x")
        elif name == "dask.array._shuffle.concatenate_arrays":
            args = [self._value(arg, depth) for arg in args]
            if args[2] != 0:
                raise _NotFollowed("they are in pieces along y or x")
        else:
            raise _NotFollowed(f"they went through {name}")
        result = function(*args)
        if not isinstance(result, np.ndarray) or result.dtype.kind != "i" or result.shape[1:] != (1, 1):
            raise _NotFollowed(f"they went through {name}")
        return result

    def _index(self, index: Any) -> Any:
        """Return an index that chooses frames alone."""
        # dask's shuffle hides the index in a pair behind 1, so that it is not taken for a task.
        inner = index[1] if isinstance(index, tuple) and len(index) == 2 and isinstance(index[1], tuple) else index
        if not isinstance(inner, tuple) or len(inner) != 3 or not isinstance(inner[0], (slice, np.ndarray, list)):
            raise _NotFollowed(f"they were indexed with {index!r}")
        for chosen, size in zip(inner[1:], self.size, strict=True):
            if not isinstance(chosen, slice) or chosen.indices(size) != (0, size, 1):
                raise _NotFollowed(f"they were cut or turned with {index!r}")
        cut = (inner[0], slice(None), slice(None))
        return (index[0], cut) if inner is not index else cut

    def _plain(self, value: Any) -> Any:
        if isinstance(value, (int, slice, np.ndarray)):
            return value
        if isinstance(value, (tuple, list)):
            return type(value)(self._plain(item) for item in value)
        raise _NotFollowed(f"they went through something with {type(value).__name__}")


def _is_piece(key: Any) -> bool:
    return (
        isinstance(key, tuple)
        and len(key) == 4
        and isinstance(key[0], str)
        and all(isinstance(i, int) for i in key[1:])
    )
