"""Detectors of several modules, each in files of its own (Lambda): laid out to one image, the gaps masked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.chunk_graph import register
from batlab.io.detector import Stack, lost_frames
from batlab.io.detector_facts import facts_of
from batlab.io.frames import frames_dataset
from batlab.io.links import Contents

Offset = tuple[int, int]


def by_module(surveys: Sequence[Contents], path: str | None) -> dict[Offset | None, list[Contents]]:
    """Return the files of each module; one group where they state no offsets."""
    if len(surveys) < 2 or path is not None:
        return {None: list(surveys)}
    offsets: list[Offset | None] = [facts_of(contents, None).offset for contents in surveys]
    if None in offsets:
        return {None: list(surveys)}
    groups: dict[Offset | None, list[Contents]] = {}
    for offset, contents in zip(offsets, surveys, strict=True):
        groups.setdefault(offset, []).append(contents)
    return groups


def assemble(stacks: Sequence[Stack], offsets: Sequence[Offset | None], chunks: int) -> xr.Dataset:
    """Return the frames that all modules have, laid out by the modules' offsets; what no module covers is masked.

    The image is as the modules' offsets say: y down from the first module's top row. A geometry made with Dioptas
    belongs to the image flipped up-down.

    Raises
    ------
    ReadError
        The modules have no frame in common.
    """
    import dask.array as da

    corners = np.array(offsets, np.int64)
    corners -= corners.min(axis=0)
    for stack in stacks:
        lost_frames(stack)
    common = stacks[0].numbers
    for stack in stacks[1:]:
        common = np.intersect1d(common, stack.numbers)
    if not common.size:
        raise ReadError(f"{stacks[0].names[0]}: the modules have no frame in common")
    arrays = [_taken(stack, common, chunks) for stack in stacks]
    shapes = np.array([array.shape[1:] for array in arrays])
    ny, nx = map(int, (corners + shapes).max(axis=0))
    gap = -1 if arrays[0].dtype.kind in "if" else int(np.iinfo(arrays[0].dtype).max)
    tiles = [(int(y), int(x)) for y, x in corners]
    image = da.map_blocks(
        _lay_out, *arrays, tiles=tiles, size=(ny, nx), gap=gap,
        dtype=arrays[0].dtype, chunks=(arrays[0].chunks[0], (ny,), (nx,)), meta=np.empty((0, 0, 0), arrays[0].dtype),
    )  # fmt: skip
    register(image, f"they are laid out from {len(stacks)} modules")
    lost = _lost(stacks, common)
    return frames_dataset(image, common, _whole_facts(stacks, tiles, (ny, nx), gap), lost=lost)


def _lay_out(*blocks: np.ndarray, tiles: Sequence[Offset], size: Offset, gap: int) -> np.ndarray:
    image = np.full((blocks[0].shape[0], *size), gap, blocks[0].dtype)
    for block, (y, x) in zip(blocks, tiles, strict=True):
        image[:, y : y + block.shape[1], x : x + block.shape[2]] = block
    return image


def _taken(stack: Stack, common: np.ndarray, chunks: int) -> Any:
    array = stack.array(chunks)
    chosen = np.flatnonzero(np.isin(stack.numbers, common))
    array = array if len(chosen) == len(array) else array[chosen]
    return array.rechunk((chunks, *array.shape[1:]))


def _lost(stacks: Sequence[Stack], common: np.ndarray) -> list[int]:
    n = max(stack.n_stated for stack in stacks)
    lost = np.setdiff1d(np.arange(n), common).tolist()
    if lost and len({stack.n_stated for stack in stacks}) > 1:
        told = ", ".join(f"{stack.n_stated} from {stack.names[0]}" for stack in stacks)
        warnings.warn(
            f"the modules have different numbers of frames ({told}); {len(common)} common ones are kept",
            UserWarning,
            stacklevel=3,
        )
    return lost


def _whole_facts(stacks: Sequence[Stack], tiles: Sequence[Offset], size: Offset, gap: int) -> Any:
    """Return the facts of the first module with mask and flat field laid out."""
    mask = np.ones(size, bool)
    flat = np.full(size, np.nan, np.float32)
    for stack, (y, x) in zip(stacks, tiles, strict=True):
        ny, nx = stack.pieces[0].source.shape[-2:]
        inside = np.s_[y : y + ny, x : x + nx]
        mask[inside] = False if stack.facts.mask is None else stack.facts.mask
        if stack.facts.flat is not None:
            flat[inside] = stack.facts.flat
    first = stacks[0].facts
    overflow = tuple(sorted({*first.overflow, gap}))
    attrs = {**first.attrs, "n_modules": len(stacks)}
    has_flat = all(stack.facts.flat is not None for stack in stacks)
    return replace(first, attrs=attrs, mask=mask, flat=flat if has_flat else None, overflow=overflow)
