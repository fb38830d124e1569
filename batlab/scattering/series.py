"""Run a plan over a series: chunk by chunk, one kernel thread a chunk, results written in place."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, cast
from uuid import uuid4

import numpy as np
import xarray as xr

from batlab import threads
from batlab._kernels.azimuthal import azimuthal
from batlab.errors import DimensionError
from batlab.scattering.frames import Stack, native, overflow_in
from batlab.scattering.plan import DOUBTFUL, Plan, reduce_block

PARTS = ("signal", "variance", "normalization", "n_pixels")
BATCH = 32  # frames of an array in memory between two looks at the progress bar and the keyboard
PATIENCE = 2.0  # seconds before a progress bar appears


class Sink:
    """The result's arrays (frame, bin). A block (frame, part, bin) assigned to a range of frames lands in its rows."""

    def __init__(self, n_frames: int, n_bins: int) -> None:
        self.shape, self.dtype, self.ndim = (n_frames, len(PARTS), n_bins), np.dtype(float), 3
        self.signal, self.variance, self.normalization, self.intensity, self.intensity_sigma = (
            np.empty((n_frames, n_bins)) for _ in range(5)
        )
        self.n_pixels = np.empty((n_frames, n_bins), np.int32)

    def __setitem__(self, where: Any, block: np.ndarray) -> None:
        rows = where[0] if isinstance(where, tuple) else where
        for k, part in enumerate(PARTS):
            getattr(self, part)[rows] = block[:, k]
        signal, variance, normalization, n_pixels = np.moveaxis(block, 1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where((n_pixels > 0) & (normalization > 0), normalization, np.nan)
            self.intensity[rows] = signal / weight
            self.intensity_sigma[rows] = np.sqrt(variance) / weight


def integrate_series(stack: Stack, plan: Plan, monitor: Any) -> Sink:
    """Return the sums and intensities of all frames.

    Raises
    ------
    DimensionError
        The monitor has another number of frames.

    Warns
    -----
    UserWarning
        Some frames have lost more than 40 % of their pixels, or have no positive monitor.
    """
    values = _monitor(stack, monitor)
    sink = Sink(len(stack.data), plan.n_bins)
    if not len(stack.data):
        return sink
    if hasattr(stack.data, "dask") or hasattr(stack.varying_mask, "dask"):
        _run_lazy(stack, plan, values, sink)
    else:
        _run_in_memory(stack, plan, values, sink)
    _doubt(plan, sink)
    return sink


def _block(
    pixels: np.ndarray,
    mask: np.ndarray | None,
    monitor: np.ndarray | None,
    *,
    plan: Plan,
    overflow: list[float],
    n_threads: int,
) -> np.ndarray:
    """Return (frame, part, bin) of some frames; `monitor` is (frame, 1, 1)."""
    flat = native(np.asarray(pixels))
    hidden = None if mask is None else np.ascontiguousarray(mask).view(np.uint8).reshape(flat.shape)
    sums = azimuthal(flat, plan.bins, plan.n_bins, plan.weights, hidden, overflow_in(overflow, flat.dtype), n_threads)
    parts = reduce_block(plan, sums, None if monitor is None else monitor.reshape(-1))
    return np.stack([parts[part] for part in PARTS], axis=1)


def _run_in_memory(stack: Stack, plan: Plan, monitor: np.ndarray | None, sink: Sink) -> None:
    n_threads = threads.effective()
    with _progress(len(stack.data)) as bar:
        for start in range(0, len(stack.data), BATCH):
            rows = slice(start, min(start + BATCH, len(stack.data)))
            sink[rows] = _block(
                stack.data[rows],
                None if stack.varying_mask is None else stack.varying_mask[rows],
                None if monitor is None else monitor[rows],
                plan=plan,
                overflow=stack.overflow,
                n_threads=n_threads,
            )
            bar.update(rows.stop - rows.start)


def _run_lazy(stack: Stack, plan: Plan, monitor: np.ndarray | None, sink: Sink) -> None:
    import dask.array as da

    data = da.asarray(stack.data).rechunk({1: -1, 2: -1})
    frames = data.chunks[0]
    hidden = None if stack.varying_mask is None else da.asarray(stack.varying_mask).rechunk(data.chunks)
    light = None if monitor is None else da.from_array(monitor.reshape(-1, 1, 1), chunks=(frames, 1, 1))
    n_threads = threads.effective()
    # Threads of dask and of the kernel do not multiply: a few large chunks share them out inside the kernel.
    inner = max(1, n_threads // len(frames))

    # A pool of our own: dask keeps its pools, and the threads of a kept one do not outlive a fork.
    # Told to this call alone: dask's configuration is shared by all threads.
    with _progress(len(data)) as bar, ThreadPoolExecutor(n_threads) as pool:
        lock = Lock()

        def work(pixels: np.ndarray, *others: np.ndarray) -> np.ndarray:
            mask = None if hidden is None else others[0]
            values = None if light is None else others[-1]
            block = _block(pixels, mask, values, plan=plan, overflow=stack.overflow, n_threads=inner)
            with lock:
                bar.update(len(block))
            return block

        inputs = [array for array in (data, hidden, light) if array is not None]
        chunks = (frames, (len(PARTS),), (plan.n_bins,))
        # A name of its own spares dask the hashing of the plan.
        name = f"azimuthal-{uuid4().hex}"
        patterns = da.map_blocks(work, *inputs, name=name, dtype=float, chunks=chunks, meta=np.empty((0, 0, 0)))
        da.store(patterns, cast(Any, sink), lock=False, scheduler="threads", pool=pool)


def _progress(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="integrate", unit=" frames", delay=PATIENCE, leave=False)


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


def _doubt(plan: Plan, sink: Sink) -> None:
    whole = int(plan.n_pixels.sum())
    lost = 1 - sink.n_pixels.sum(axis=1, dtype=np.int64) / whole
    bad = np.flatnonzero(lost > DOUBTFUL)
    if bad.size:
        warnings.warn(
            f"{bad.size} of {len(lost)} frames have lost more than {100 * DOUBTFUL:.0f} % of their pixels to masks, "
            f"overflow or NaN (frame {_some(bad)}; up to {100 * lost.max():.0f} %)",
            UserWarning,
            stacklevel=2,
        )


def _some(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:5])) + (" …" if len(numbers) > 5 else "")
