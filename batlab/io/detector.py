"""Detector frames in HDF5 and NeXus: Eiger master and data files, single stacks, virtual arrays, Lambda modules."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, UnsafePathError
from batlab.io.chunk_graph import register
from batlab.io.chunks import ChunkSource
from batlab.io.detector_facts import Facts, facts_of
from batlab.io.frames import frames_dataset
from batlab.io.links import Contents, Found
from batlab.io.stacks import Piece, pieces_of

# Arrays beside the frames that are no frames.
COMPANIONS = re.compile(
    r"(pixel_?mask|mask|flat_?field|dark|efficiency|gain|distortion|virtual_pixel|two_theta|bad(_?pixels?)?$|threshold_\d+_.*mask)",
    re.I,
)
EIGER = re.compile(r"data_\d+$")


@dataclass(frozen=True)
class Stack:
    """The frames of one or several files, in order, and what the first file says of the detector."""

    names: tuple[str, ...]  # the files, for messages
    pieces: tuple[Piece, ...]
    facts: Facts

    @property
    def n_stated(self) -> int:
        return max((piece.start + piece.n for piece in self.pieces), default=0)

    @property
    def numbers(self) -> np.ndarray:
        """The series' numbers of the frames that are whole."""
        parts = [piece.start + np.flatnonzero(piece.whole) for piece in self.pieces]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

    def array(self, rows: int) -> Any:
        """Return the whole frames as one dask array (frame, y, x)."""
        import dask.array as da

        pieces = [piece for piece in self.pieces if piece.whole.any()]
        parts = [piece.lazily(rows) for piece in pieces]
        array = parts[0] if len(parts) == 1 else da.concatenate(parts)
        return register(array, ChunkSource.joined([piece.chunks() for piece in pieces]))


def has_frames(contents: Contents, path: str | None) -> bool:
    """Whether the file seems to hold detector frames."""
    return bool(path) or bool(_candidates(contents)) or bool(eiger_groups(contents))


def read_stack(surveys: Sequence[Contents], path: str | None, mask_bits: int) -> Stack:
    """Return the frames of `surveys` as one stack.

    Raises
    ------
    ReadError
        No frames, several candidates, or shapes that differ.
    """
    pieces: list[Piece] = []
    facts: Facts | None = None
    for contents in surveys:
        chosen, gaps = choose_frames(contents, path)
        if facts is None:
            facts = facts_of(contents, chosen[0] if chosen else None, mask_bits)
        pieces += _in_order(contents, chosen, gaps, sum(piece.n for piece in pieces))
    if not any(piece.whole.any() for piece in pieces):
        raise ReadError(f"{surveys[0].path.name}: holds no frame that is whole")
    shapes = {piece.source.shape[-2:] for piece in pieces}
    if len(shapes) > 1 or len({piece.source.dtype for piece in pieces}) > 1:
        first: dict[str, str] = {}
        for piece in pieces:
            first.setdefault(f"{piece.source.shape[-2:]} {piece.source.dtype}", Path(piece.source.path).name)
        kinds = ", ".join(f"{kind} in {name}" for kind, name in first.items())
        raise ReadError(f"{surveys[0].path.name}: frames of different shape or type: {kinds}; open them apart")
    assert facts is not None
    return Stack(tuple(contents.path.name for contents in surveys), tuple(pieces), facts)


def read(
    surveys: Sequence[Contents], *, path: str | None, chunks: int, mask_bits: int, timezone: str | None
) -> xr.Dataset:
    """Return a Dataset of lazy frames; the frames that are lost are named in a warning and in ``lost_frames``."""
    from batlab.io.modules import assemble, by_module

    # A master and the files that it links to, named together, are one series.
    linked = {file for contents in surveys for file in contents.linked_files - {str(contents.path.resolve())}}
    own = [contents for contents in surveys if str(contents.path.resolve()) not in linked] or list(surveys)
    modules = by_module(own, path)
    if len(modules) > 1:
        stacks = [read_stack(group, path, mask_bits) for group in modules.values()]
        return assemble(stacks, list(modules), chunks)
    stack = read_stack(own, path, mask_bits)
    lost = lost_frames(stack)
    return frames_dataset(stack.array(chunks), stack.numbers, stack.facts, lost=lost, timezone=timezone)


def lost_frames(stack: Stack) -> list[int]:
    """Return the numbers of the frames that are not whole, and say so."""
    is_lost = np.ones(stack.n_stated, bool)
    is_lost[stack.numbers] = False
    lost = np.flatnonzero(is_lost).tolist()
    if lost:
        reasons = "; ".join(dict.fromkeys(piece.reason for piece in stack.pieces if piece.reason))
        warnings.warn(
            f"{stack.names[0]}: {len(lost)} of {stack.n_stated} frames are lost ({_ranges(lost)}): {reasons}; "
            "the others keep their numbers in 'frame'",
            UserWarning,
            stacklevel=2,
        )
    return lost


def _ranges(numbers: list[int]) -> str:
    breaks = np.flatnonzero(np.diff(numbers) > 1) + 1
    runs = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in np.split(np.array(numbers), breaks)]
    return ", ".join(runs[:10]) + (f", … {len(runs) - 10} runs more" if len(runs) > 10 else "")


def choose_frames(contents: Contents, path: str | None) -> tuple[list[Found], dict[str, ReadError]]:
    """Return the arrays that hold the frames, and the links to more of them that lead nowhere."""
    name = contents.path.name
    if path is not None:
        path = "/" + path.strip("/")
        if path in contents.arrays:
            return [contents.arrays[path]], {}
        if path in contents.broken:
            raise contents.broken[path]
        if path not in contents.groups:
            raise ReadError(f"{name}: has no {path}; it holds {_list(contents.arrays)}")
        groups = [path]
    else:
        groups = eiger_groups(contents)
    for group in groups:
        chosen, gaps = _eiger(contents, group)
        unsafe = [error for error in gaps.values() if isinstance(error, UnsafePathError)]
        if unsafe:
            raise unsafe[0]
        if chosen:
            return chosen, gaps
        if gaps:
            raise next(iter(gaps.values()))
    candidates = [found for found in _candidates(contents) if path is None or found.parent == path]
    return [_only(contents, candidates)], {}


def eiger_groups(contents: Contents) -> list[str]:
    """Return the groups that hold, or link to, ``data_000001`` and so on."""
    names = [*contents.arrays, *contents.broken]
    return list(dict.fromkeys(name.rpartition("/")[0] for name in names if EIGER.match(name.rpartition("/")[2])))


def _eiger(contents: Contents, group: str) -> tuple[list[Found], dict[str, ReadError]]:
    chosen = [found for found in contents.children(group) if EIGER.match(found.stem) and len(found.shape or ()) == 3]
    gaps = {
        name: error
        for name, error in contents.broken.items()
        if name.rpartition("/")[0] == group and EIGER.match(name.rpartition("/")[2])
    }
    return chosen, gaps


def _candidates(contents: Contents) -> list[Found]:
    """Return the arrays that may be frames; one array under several names counts once, NeXus' own name first."""
    seen: dict[tuple[str, str], Found] = {}
    for found in contents.arrays.values():
        shape = found.shape or ()
        is_image = len(shape) in (2, 3) and min(shape[-2:], default=0) > 4 and shape[0] > 0
        if is_image and found.dtype is not None and found.dtype.kind in "iuf" and not COMPANIONS.match(found.stem):
            seen.setdefault((found.file, found.inner), found)
    return list(seen.values())


def _only(contents: Contents, candidates: list[Found]) -> Found:
    name = contents.path.name
    for found in [_default(contents), *_detector_data(contents)]:
        if found is not None and (found.file, found.inner) in {(c.file, c.inner) for c in candidates}:
            return found
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        told = _list({found.name: found for found in candidates})
        raise ReadError(f"{name}: several arrays may be the frames: {told}; pass path=…")
    for error in contents.broken.values():
        raise error
    raise ReadError(f"{name}: holds no detector frames; it holds {_list(contents.arrays)}")


def _default(contents: Contents) -> Found | None:
    """Return what NeXus' ``default`` and ``signal`` attributes lead to."""
    group = ""
    for _ in range(8):
        attrs = contents.groups.get(group or "/", Found("", "", "")).attrs
        if isinstance(attrs.get("signal"), str):
            return contents.arrays.get(f"{group}/{attrs['signal']}")
        if not isinstance(attrs.get("default"), str):
            return None
        group = f"{group}/{attrs['default'].strip('/')}"
    return None


def _detector_data(contents: Contents) -> list[Found]:
    """Return ``data`` of the only NXdetector, or else the signal of the only NXdata."""
    detectors = [name for name in contents.groups if contents.class_of(name) == "NXdetector"]
    data = [contents.arrays[f"{name}/data"] for name in detectors if f"{name}/data" in contents.arrays]
    signals = [
        contents.arrays[f"{name}/{group.attrs['signal']}"]
        for name, group in contents.groups.items()
        if contents.class_of(name) == "NXdata" and f"{name}/{group.attrs.get('signal')}" in contents.arrays
    ]
    return (data if len(data) == 1 else []) + (signals if len(signals) == 1 else [])


def _list(arrays: dict[str, Found]) -> str:
    told = [f"{name} {found.shape}" for name, found in arrays.items() if len(found.shape or ()) > 0]
    return ", ".join(told[:12]) + (f" and {len(told) - 12} more" if len(told) > 12 else "") or "no arrays"


def _in_order(contents: Contents, chosen: list[Found], gaps: dict[str, ReadError], start: int) -> list[Piece]:
    """Return the pieces of one file; a linked file that is missing takes as many numbers as a full one."""
    frames = [found.shape[0] if found.shape and len(found.shape) == 3 else 1 for found in chosen]
    full = max(frames)
    ordered: list[Found | ReadError] = [*chosen]
    if gaps:
        both: dict[str, Found | ReadError] = {found.name: found for found in chosen} | dict(gaps)
        ordered = [both[name] for name in sorted(both, key=lambda name: int(name.rpartition("_")[2]))]
    pieces: list[Piece] = []
    for item in ordered:
        if isinstance(item, Found):
            new = pieces_of(item, contents.folders, start)
        else:
            source = pieces_of(chosen[0], contents.folders)[0].source
            new = [Piece(source, 0, start, full, np.zeros(full, bool), str(item))]
        pieces += new
        start += sum(piece.n for piece in new)
    return pieces
