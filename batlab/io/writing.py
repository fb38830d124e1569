"""Lazy arrays into files, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def store(pairs: Sequence[tuple[Any, Any]], lock: Any, progress: bool) -> None:
    """Compute dask arrays and write each chunk to its target as it comes; what they share is computed once.

    Parameters
    ----------
    pairs
        Each a dask array and what takes it by ``target[region] = block``.
    lock
        Held while a block is written.
    progress
        Show a bar.
    """
    import dask.array as da

    if not pairs:
        return
    sources, targets = zip(*pairs, strict=True)
    if not progress:
        da.store(list(sources), list(targets), lock=lock)
        return
    from tqdm.dask import TqdmCallback

    with TqdmCallback(desc="writing", unit="step"):
        da.store(list(sources), list(targets), lock=lock)
