"""Run a plan over a series: range by range of frames, in threads of our own or on a cluster's workers."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import DimensionError, choose
from batlab.io.chunks import kept_open
from batlab.scattering.frames import Stack
from batlab.scattering.plan import DOUBTFUL
from batlab.scattering.rings import doubtful, warn_of_losses
from batlab.scattering.sources import Blocks, Frames, frames_of
from batlab.scattering.work import Outcome, Task, Work, run_task, told_of

TASK = 32  # frames: 1 MiB of results for 1000 bins, 0.07 s of work for 4 Mpix, a chunk of the store
TASK_BYTES = 2**25  # of one result in a task: eight frames of a cake of 360 x 1000, which kernels bin in one pass
PATIENCE = 2.0  # seconds before a progress bar appears

Describe = Callable[[dict[str, Any], list[int]], xr.Dataset]


@dataclass(frozen=True)
class Series:
    """A series to be integrated: frames, the work on each, and what varies from frame to frame."""

    stack: Stack
    work: Work
    frames: Frames
    mask: Frames | None
    monitor: np.ndarray | None
    variance: Frames | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def task(self, rows: slice) -> Task:
        """Return the task of those frames."""
        return Task(
            rows.start,
            self.frames[rows],
            None if self.mask is None else self.mask[rows],
            None if self.monitor is None else self.monitor[rows],
            None if self.variance is None else self.variance[rows],
        )


class Memory:
    """Results (frame, bin) in memory."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.parts: dict[str, np.ndarray] = {}
        self.finished: dict[int, dict[int, str]] = {}

    def put(self, outcome: Outcome) -> None:
        """Take the results of a task."""
        n_frames = len(self.series)
        if outcome.rows == slice(0, n_frames):
            self.parts = outcome.parts
        else:
            for name, part in outcome.parts.items():
                if name not in self.parts:
                    self.parts[name] = np.empty((n_frames, *part.shape[1:]), part.dtype)
                self.parts[name][outcome.rows] = part
        self.finished[outcome.rows.start] = outcome.unread

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the results of all frames."""
        if self.finished:
            return self.parts
        template, n_bins = self.series.work.template(self.series.frames.dtype), self.series.work.plan.n_bins
        return {name: np.empty((0, n_bins), dtype) for name, dtype in template.items()}


def integrate_series(
    stack: Stack,
    work: Work,
    monitor: Any,
    describe: Describe,
    *,
    store: str | os.PathLike | None = None,
    on_error: str = "raise",
    client: Any = None,
    job: dict[str, str] | None = None,
) -> xr.Dataset:
    """Return the patterns of all frames.

    Parameters
    ----------
    stack
        The frames: in memory, in files, or any dask array.
    work
        What is done to each.
    monitor
        Of each frame, as `integrate` takes it.
    describe
        Makes the Dataset of results (frame, bin) and the numbers of frames that could not be read.
    store
        A folder ``….zarr`` that takes the patterns as they come, and from which a run that was stopped goes on.
    on_error
        ``"raise"``, or ``"nan"``: a frame that cannot be read is NaN.
    client
        Of dask.distributed; without one the active client, if there is any.
    job
        What the frames and settings are, for the store.

    Raises
    ------
    DimensionError
        The monitor has another number of frames.
    ReadError
        A frame cannot be read and `on_error` is ``"raise"``.
    OtherJobError, LockedError
        The store holds the patterns of another job, or is being written by another process.

    Warns
    -----
    UserWarning
        Some frames have lost more than 40 % of their pixels, could not be read, or have no positive monitor.
    """
    choose("on_error", on_error, ("raise", "nan"))
    mask = None if stack.varying_mask is None else frames_of(stack.varying_mask)
    spread = None if stack.variance is None or work.variance is not None else frames_of(stack.variance)
    series = Series(stack, work, frames_of(stack.data), mask, _monitor(stack, monitor), spread)
    if store is None:
        memory = Memory(series)
        _run(series, memory, _size(series, threads.effective()), on_error, client)
        return describe(memory.arrays(), _unread(memory.finished))
    from batlab.scattering.identity import job_of
    from batlab.scattering.store import Store

    size = _size(series)
    names = work.template(series.frames.dtype)
    with Store(
        store,
        job_of(series, job or {}),
        lambda: describe(_hollow(series, names, size), []),
        names=names,
        size=size,
    ) as kept:
        if not kept.is_whole:
            _run(series, kept, size, on_error, client)
        result = kept.finish()
    return result


def _run(series: Series, sink: Any, size: int, on_error: str, client: Any) -> None:
    """Do all tasks that `sink` has not; warn of frames in doubt."""
    from batlab.scattering.cluster import active_client, run_on_cluster

    todo = [rows for rows in _steps(len(series), size) if rows.start not in sink.finished]
    lost: dict[int, float] = {}
    clipped: dict[int, tuple[float, int]] = {}
    whole = float(series.work.plan.n_pixels.sum())
    with _progress(len(series), len(series) - sum(rows.stop - rows.start for rows in todo)) as bar:

        def deliver(outcome: Outcome) -> None:
            sink.put(outcome)
            # What clipping leaves out is no loss of the frame's; where it is too much, that is another warning.
            kept = outcome.parts["n_pixels"]
            if "n_clipped" in outcome.parts:
                kept = kept + outcome.parts["n_clipped"]
            shares = 1 - kept.sum(axis=1, dtype=float) / whole
            found = doubtful(outcome.parts, series.work.clip)
            clipped.update({frame + outcome.rows.start: told for frame, told in found.items()})
            for frame in np.flatnonzero(shares > DOUBTFUL) + outcome.rows.start:
                if frame not in outcome.unread:
                    lost[int(frame)] = float(shares[frame - outcome.rows.start])
            bar.update(outcome.rows.stop - outcome.rows.start)

        helper = active_client(client, series.frames)
        if helper is None:
            _run_here(series, todo, on_error, deliver)
        else:
            run_on_cluster(helper, series, todo, on_error, deliver)
    _doubt(lost, len(series))
    warn_of_losses(clipped, len(series), series.work.clip)
    unread = {frame: told for one in sink.finished.values() for frame, told in one.items()}
    if unread:
        warnings.warn(told_of(unread), UserWarning, stacklevel=2)


def _run_here(series: Series, todo: list[slice], on_error: str, deliver: Callable[[Outcome], None]) -> None:
    """Run the tasks in threads of our own: a pool that is kept does not outlive a fork."""
    n_threads = threads.effective()
    n_workers = max(1, min(n_threads, len(todo)))
    # Threads over frames and threads in the kernel do not multiply: a few large tasks share them out inside.
    inner = max(1, n_threads // n_workers) if n_workers < n_threads else 1
    stop = Event()

    def one(rows: slice) -> Outcome:
        return run_task(series.work, series.task(rows), on_error=on_error, n_threads=inner, stop=stop)

    if n_workers == 1:
        with kept_open():
            for rows in todo:
                deliver(one(rows))
        return

    def deliver_and_tidy(outcome: Outcome) -> None:
        deliver(outcome)
        threads.return_memory()

    with kept_open(), ThreadPoolExecutor(n_workers, "batlab") as pool:
        _drain((partial(pool.submit, one, rows) for rows in todo), 2 * n_workers, deliver_and_tidy, stop)


def _drain(
    starts: Iterator[Callable[[], Future]], at_most: int, deliver: Callable[[Outcome], None], stop: Event
) -> None:
    """Keep `at_most` tasks under way; after an error deliver those that run already, after Ctrl-C stop them."""
    running: set[Future] = set()
    try:
        for start in starts:
            running.add(start())
            if len(running) >= at_most:
                _deliver_some(running, deliver)
        while running:
            _deliver_some(running, deliver)
    except Exception:
        for future in running:
            future.cancel()
        for future in wait(running).done:
            if not future.cancelled() and future.exception() is None:
                deliver(future.result())
        raise
    except BaseException:
        stop.set()
        for future in running:
            future.cancel()
        raise


def _deliver_some(running: set[Future], deliver: Callable[[Outcome], None]) -> None:
    """Take what is ready out of `running`; deliver it, and raise where a task has failed."""
    done = wait(running, return_when=FIRST_COMPLETED).done
    running -= done
    failed = [future for future in done if future.exception() is not None]
    for future in done.difference(failed):
        deliver(future.result())
    if failed:
        failed[0].result()


def _size(series: Series, n_threads: int = 0) -> int:
    """Return the frames of a task; whole blocks of a dask array, and for threads shares of one size."""
    n, n_bins = max(1, len(series)), series.work.plan.n_bins
    most = max(1, min(TASK, TASK_BYTES // (8 * n_bins)))
    if isinstance(series.frames, Blocks):
        block = series.frames.block()
        return block * max(1, most // block)
    if n_threads:
        return math.ceil(n / (n_threads * math.ceil(n / (most * n_threads))))
    return most


def _hollow(series: Series, names: dict[str, np.dtype], size: int) -> dict[str, Any]:
    import dask.array as da

    shape = (len(series), series.work.plan.n_bins)
    return {name: da.zeros(shape, dtype=dtype, chunks=(size, -1)) for name, dtype in names.items()}


def _steps(n: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _unread(finished: dict[int, dict[int, str]]) -> list[int]:
    return sorted(frame for one in finished.values() for frame in one)


def _progress(total: int, initial: int) -> Any:
    if total == initial:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=total, initial=initial, desc="integrate", unit=" frames", delay=PATIENCE, leave=False)


def _monitor(stack: Stack, monitor: Any) -> np.ndarray | None:
    if monitor is None:
        return None
    if isinstance(monitor, str):
        if monitor not in stack.dataset:
            known = [str(name) for name, item in stack.dataset.variables.items() if item.dims == ("frame",)]
            raise ValueError(
                f"monitor {monitor!r} is no variable of the frames; they have {', '.join(known) or 'none'}"
            )
        monitor = stack.dataset[monitor]
    values = np.asarray(monitor.values if isinstance(monitor, xr.DataArray) else monitor, dtype=float)
    if values.shape not in ((), (len(stack.data),)):
        raise DimensionError(f"monitor must be one number or {len(stack.data)}, one a frame, got shape {values.shape}")
    values = np.broadcast_to(values, len(stack.data))
    bad = np.flatnonzero(~(values > 0))
    if bad.size:
        warnings.warn(
            f"monitor is not positive in {bad.size} of {len(values)} frames ({_some(bad)}); their patterns are NaN",
            UserWarning,
            stacklevel=2,
        )
    return np.where(values > 0, values, np.nan)


def _doubt(lost: dict[int, float], n_frames: int) -> None:
    if lost:
        warnings.warn(
            f"{len(lost)} of {n_frames} frames have lost more than {100 * DOUBTFUL:.0f} % of their pixels to masks, "
            f"overflow or NaN (frame {_some(sorted(lost))}; up to {100 * max(lost.values()):.0f} %)",
            UserWarning,
            stacklevel=2,
        )


def _some(numbers: Any) -> str:
    return ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
