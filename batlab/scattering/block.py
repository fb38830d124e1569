"""Some frames in memory to the sums of their bins: the one place where a plan meets a kernel."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from batlab._kernels.azimuthal import azimuthal
from batlab._kernels.azimuthal_chunks import azimuthal_chunks
from batlab._kernels.azimuthal_split import azimuthal_split
from batlab.scattering.bins import PixelBins
from batlab.scattering.frames import NATIVE, overflow_in
from batlab.scattering.plan import Plan, reduce_block


def sum_block(
    plan: Plan,
    pixels: np.ndarray,
    *,
    mask: np.ndarray | None,
    overflow: list[float],
    monitor: np.ndarray | None,
    variance: np.ndarray | None = None,
    error_model: str | None = "poisson",
    clip: Any = None,
    n_threads: int = 1,
) -> dict[str, Any]:
    """Return the results (frame, bin) that `integrate` returns.

    Parameters
    ----------
    pixels
        (frame, pixel) in image order, of a type that the kernels know.
    mask
        (frame, pixel) uint8, not 0 where a pixel is left out, or None.
    overflow
        Values that mark a pixel as lost.
    monitor
        (frame,) or None.
    variance
        (frame or 1, pixel) of the counts, instead of max(counts, 1); a pixel without a finite one is left out.
    error_model, clip
        As in `integrate`.
    """
    if needs_rings(error_model, clip):
        from batlab.scattering import rings

        parts = rings.reduce_block(
            plan, pixels, mask=mask, overflow=overflow, monitor=monitor, error_model=error_model, clip=clip,
            variance=variance, n_threads=n_threads,
        )  # fmt: skip
        return _divided(parts)
    values = overflow_in(overflow, pixels.dtype)
    if variance is None:
        return reduce_block(plan, _sums(plan, pixels, mask, values, False, n_threads), monitor, n_threads)
    lost = np.isin(pixels, values) | ~np.isfinite(pixels) | ~np.isfinite(variance)
    hidden = (lost if mask is None else lost | (mask != 0)).view(np.uint8)
    given = np.ascontiguousarray(np.broadcast_to(variance, pixels.shape), dtype=float)
    signal, _, *skipped = _sums(plan, pixels, hidden, values, False, n_threads)
    squares = _sums(plan, given, hidden, np.empty(0), True, n_threads)[1]
    return reduce_block(plan, (signal, squares, *skipped), monitor, n_threads)


def needs_rings(error_model: str | None, clip: Any) -> bool:
    """Whether all pixels of a ring must be seen at once; ``"hybrid"`` without `clip` is ``"poisson"``."""
    return clip is not None or error_model == "azimuthal"


def can_take_chunks(error_model: str | None, clip: Any, variance: Any) -> bool:
    """Whether `sum_chunks` does the same as `sum_block`."""
    return variance is None and not needs_rings(error_model, clip)


def sum_chunks(
    plan: Plan,
    chunks: list[bytes | memoryview],
    dtype: np.dtype,
    *,
    mask: np.ndarray | None,
    overflow: list[float],
    monitor: np.ndarray | None,
    n_threads: int = 1,
) -> dict[str, Any] | None:
    """Return what `sum_block` does of frames that are one bitshuffle-LZ4 chunk each, without unpacking them whole.

    None where a chunk is damaged, or laid out or of a type so that it must be unpacked first.
    """
    if dtype not in NATIVE:
        return None
    index = tuple(getattr(plan.index, item.name) for item in fields(plan.index))
    values = overflow_in(overflow, dtype)
    *sums, status = azimuthal_chunks(
        chunks, index, plan.n_bins, plan.weights, plan.powers, mask, values, n_threads=n_threads
    )
    return None if status.any() else reduce_block(plan, tuple(sums), monitor, n_threads)


def _divided(parts: dict[str, Any]) -> dict[str, Any]:
    normalization = parts["normalization"]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where((parts["n_pixels"] > 0) & (normalization > 0), normalization, np.nan)
        return {"intensity": parts["signal"] / weight, "intensity_sigma": np.sqrt(parts["variance"]) / weight, **parts}


def _sums(
    plan: Plan, pixels: np.ndarray, mask: np.ndarray | None, overflow: np.ndarray, of_variance: bool, n_threads: int
) -> tuple[np.ndarray, ...]:
    index = plan.index
    if isinstance(index, PixelBins):
        return azimuthal(
            pixels, index.bins, index.owner, plan.n_bins, plan.weights, mask, overflow, of_variance, n_threads
        )
    return azimuthal_split(
        pixels, index.first, index.pixel, index.length, index.weight, index.run_start, index.entry_start, plan.n_bins,
        plan.weights, plan.powers, mask, overflow, of_variance, n_threads,
    )  # fmt: skip
