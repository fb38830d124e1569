"""What is done to a range of frames: read, bin, reduce. The same in this process and on a cluster's workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np

from batlab.errors import BatlabError, ReadError
from batlab.io.chunks import kept_open
from batlab.scattering.block import can_take_chunks, sum_block, sum_chunks
from batlab.scattering.frames import native
from batlab.scattering.plan import Plan
from batlab.scattering.sources import Chunked, Frames

# What reading may raise for a damaged or missing file; a mistake in the program is none of these.
UNREADABLE = (BatlabError, OSError, RuntimeError, ValueError, EOFError)


class StoppedError(BatlabError):
    """The series was interrupted while this task ran."""


@dataclass(frozen=True)
class Work:
    """The plan and what else is the same for all frames; ``variance`` (1, pixel) is one that stands for all."""

    plan: Plan
    shape: tuple[int, int]
    overflow: list[float]
    error_model: str | None = "poisson"
    clip: Any = None
    variance: np.ndarray | None = None

    def __call__(
        self,
        pixels: np.ndarray,
        mask: np.ndarray | None,
        monitor: np.ndarray | None,
        variance: np.ndarray | None,
        n_threads: int = 1,
    ) -> dict[str, np.ndarray]:
        """Return the sums and intensities (frame, bin) of some frames."""
        flat = native(pixels)
        parts = sum_block(
            self.plan,
            flat,
            mask=_hidden(mask),
            overflow=self.overflow,
            monitor=monitor,
            variance=self.variance if variance is None else np.asarray(variance, float).reshape(flat.shape),
            error_model=self.error_model,
            clip=self.clip,
            n_threads=n_threads,
        )
        return self._told(parts)

    def of_chunks(
        self,
        chunks: list[bytes | memoryview],
        dtype: np.dtype,
        mask: np.ndarray | None,
        monitor: np.ndarray | None,
        n_threads: int,
    ) -> dict[str, np.ndarray] | None:
        """Return the same of frames as they are stored; None where they must be unpacked first."""
        parts = sum_chunks(
            self.plan,
            chunks,
            dtype,
            mask=_hidden(mask),
            overflow=self.overflow,
            monitor=monitor,
            n_threads=n_threads,
        )
        return None if parts is None else self._told(parts)

    def _told(self, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the parts without those that the error model leaves open."""
        if self.error_model is not None:
            return parts
        return {name: part for name, part in parts.items() if name not in ("variance", "intensity_sigma")}

    def template(self, dtype: np.dtype) -> dict[str, np.dtype]:
        """Return the names of the results and their types."""
        nothing = self(np.empty((0, *self.shape), dtype), None, None, None)
        return {name: part.dtype for name, part in nothing.items()}


def _hidden(mask: np.ndarray | None) -> np.ndarray | None:
    """Return a mask (frame, pixel) as the kernels take it."""
    return None if mask is None else np.ascontiguousarray(mask, bool).view(np.uint8).reshape(len(mask), -1)


@dataclass(frozen=True)
class Task:
    """Frames ``start`` to ``start + len(frames) - 1`` of a series, and what belongs to them alone."""

    start: int
    frames: Frames
    mask: Frames | None = None
    monitor: np.ndarray | None = None
    variance: Frames | None = None

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.frames))


@dataclass
class Outcome:
    """Results (frame, bin) of a task; ``unread`` says of the frames that could not be read why not."""

    rows: slice
    parts: dict[str, np.ndarray]
    unread: dict[int, str] = field(default_factory=dict)


def run_task(
    work: Work, task: Task, *, on_error: str = "raise", n_threads: int = 1, stop: Event | None = None
) -> Outcome:
    """Return the results of a task, group by group.

    Raises
    ------
    ReadError
        A frame cannot be read and `on_error` is ``"raise"``.
    StoppedError
        `stop` was set.
    """
    outcome = Outcome(task.rows, {})
    with kept_open():
        for rows in task.frames.groups():
            for piece, parts in _pieces(work, task, rows, on_error, n_threads, outcome.unread):
                _put(outcome.parts, piece, parts, len(task.frames))
            if stop is not None and stop.is_set():
                raise StoppedError("interrupted")
    if not outcome.parts or outcome.unread:
        _blank(work, task, outcome)
    return outcome


def _pieces(
    work: Work, task: Task, rows: slice, on_error: str, n_threads: int, unread: dict[int, str]
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield the group's results from its compressed chunks, or as `_unpacked`."""
    if not isinstance(task.frames, Chunked):
        yield from _unpacked(work, task, rows, on_error, n_threads, unread)
        return
    parts = _of_chunks(work, task, rows, n_threads)
    if parts is not None:
        yield rows, parts
        return
    for few in task.frames.unpacked(rows):
        yield from _unpacked(work, task, few, on_error, n_threads, unread)


def _of_chunks(work: Work, task: Task, rows: slice, n_threads: int) -> dict[str, np.ndarray] | None:
    """Return the group's results; None where its frames must be looked at one by one."""
    assert isinstance(task.frames, Chunked)
    if task.variance is not None or not can_take_chunks(work.error_model, work.clip, work.variance):
        return None
    try:
        chunks = task.frames.chunks(rows)
        mask = None if task.mask is None else task.mask.read(rows)
    except UNREADABLE:
        return None
    if chunks is None or (mask is not None and mask.shape != (len(chunks), *work.shape)):
        return None
    monitor = None if task.monitor is None else task.monitor[rows]
    return work.of_chunks(chunks, task.frames.dtype, mask, monitor, n_threads)


def _unpacked(
    work: Work, task: Task, rows: slice, on_error: str, n_threads: int, unread: dict[int, str]
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield the group's results at once, or frame by frame where one of them cannot be read."""
    try:
        read = _read(work, task, rows)
    except UNREADABLE as error:
        if rows.stop - rows.start == 1:
            _refuse(task, rows.start, on_error, error, unread)
            return
    else:
        yield rows, work(*read, n_threads)
        return
    for frame in range(rows.start, rows.stop):
        yield from _unpacked(work, task, slice(frame, frame + 1), on_error, n_threads, unread)


def _read(work: Work, task: Task, rows: slice) -> tuple[np.ndarray, Any, Any, Any]:
    """Return frames, mask, monitor and variance."""
    pixels = task.frames.read(rows)
    mask = None if task.mask is None else task.mask.read(rows)
    variance = None if task.variance is None else task.variance.read(rows)
    for read in (pixels, mask, variance):
        if read is not None and read.shape != (rows.stop - rows.start, *work.shape):
            raise ReadError(f"frames have the shape {read.shape[1:]}, the series has {work.shape}")
    if pixels.dtype != task.frames.dtype:
        raise ReadError(f"frames are {pixels.dtype}, the series has {task.frames.dtype}")
    return pixels, mask, None if task.monitor is None else task.monitor[rows], variance


def _refuse(task: Task, frame: int, on_error: str, error: Exception, unread: dict[int, str]) -> None:
    told = f"frame {task.start + frame} of the series cannot be read: {error}"
    if on_error == "raise":
        raise ReadError(f"{told}; on_error='nan' makes its pattern NaN and goes on") from error
    unread[task.start + frame] = told


def _put(into: dict[str, np.ndarray], rows: slice, parts: dict[str, np.ndarray], n_frames: int) -> None:
    if rows == slice(0, n_frames):  # a cake's results are large: they are not copied where they are all there is
        into.update(parts)
        return
    for name, part in parts.items():
        if name not in into:
            into[name] = np.zeros((n_frames, *part.shape[1:]), part.dtype)
        into[name][rows] = part


def _blank(work: Work, task: Task, outcome: Outcome) -> None:
    """Make the patterns of frames that could not be read NaN, their numbers of pixels 0."""
    lost = [frame - task.start for frame in outcome.unread]
    for name, dtype in work.template(task.frames.dtype).items():
        if name not in outcome.parts:
            outcome.parts[name] = np.zeros((len(task.frames), work.plan.n_bins), dtype)
        outcome.parts[name][lost] = 0 if name.startswith("n_") else np.nan


def told_of(unread: dict[int, str]) -> str:
    """Return the warning about frames that could not be read."""
    numbers = sorted(unread)
    listed = ", ".join(map(str, numbers[:20])) + (" …" if len(numbers) > 20 else "")
    many = f"{len(numbers)} frames" if len(numbers) > 1 else "1 frame"
    return f"{many} could not be read; the pattern is NaN there (frame {listed}). First: {unread[numbers[0]]}"
