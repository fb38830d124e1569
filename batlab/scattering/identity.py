"""What the patterns of a series depend on, as digests: a store takes up no other job than its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batlab.scattering.series import Series
from batlab.scattering.sources import Blocks, Chunked, Held
from batlab.schema import version


def job_of(series: Series, told: dict[str, str]) -> dict[str, str]:
    """Return name -> digest of all that decides about a bit of the result, in words that an error can name."""
    work = series.work
    return {
        "batlab's version": version(),
        "the number of frames": str(len(series)),
        "the frames": digest_of(series.frames),
        "the plan (geometry, mask, bins, corrections)": digest_of(work.plan),
        "the settings": digest_of([getattr(work, item.name) for item in fields(work) if item.name != "plan"]),
        "the frames' masks": digest_of(series.mask),
        "the monitor": digest_of(series.monitor),
        "the variance": digest_of(series.variance),
        "what belongs to the frames (time, exposure ...)": digest_of(_beside(series)),
        **told,
    }


def digest_of(thing: Any) -> str:
    """Return the SHA-256 of the content of arrays, dataclasses, lists and plain values.

    Examples
    --------
    >>> digest_of([1, np.arange(3)]) == digest_of([1, np.arange(3)])
    True
    """
    digest = hashlib.sha256()
    _feed(digest, thing)
    return digest.hexdigest()


def _feed(digest: Any, thing: Any) -> None:
    if isinstance(thing, Held):
        _feed(digest, thing.array)
    elif isinstance(thing, Chunked):
        arrays = [(Path(array.path).name, array.dataset, *_state(array.path)) for array in thing.source.arrays]
        _feed(digest, [str(arrays), thing.source.array_of, thing.source.row, str(thing.dtype)])
    elif isinstance(thing, Blocks):
        # dask derives the names from the files' state and what was done to their arrays.
        digest.update(repr(("dask", thing.keys, thing.edges, thing.first, thing.stop, str(thing.dtype))).encode())
    elif isinstance(thing, np.ndarray):
        digest.update(repr((thing.shape, thing.dtype.str)).encode())
        values = thing if thing.dtype != object else np.array(thing.astype(str))
        digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8) if values.size else b"")
    elif is_dataclass(thing) and not isinstance(thing, type):
        digest.update(type(thing).__name__.encode())
        for item in fields(thing):
            digest.update(item.name.encode())
            _feed(digest, getattr(thing, item.name))
    elif isinstance(thing, (list, tuple)):
        digest.update(str(len(thing)).encode())
        for item in thing:
            _feed(digest, item)
    elif hasattr(thing, "digest"):
        digest.update(str(thing.digest).encode())
    else:
        digest.update(json.dumps(thing, default=str, sort_keys=True).encode())


def _state(path: str) -> tuple[int, int]:
    """Return size and time of a file, so that one that was written anew is another; a missing one has neither."""
    try:
        status = Path(path).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _beside(series: Series) -> list[Any]:
    """Return the variables of each frame: the store keeps them beside the patterns."""
    variables = series.stack.dataset.variables
    return [
        [str(name), np.asarray(variable.values)]
        for name, variable in sorted(variables.items(), key=lambda item: str(item[0]))
        if variable.dims == ("frame",)
    ]
