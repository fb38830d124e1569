"""The plan of an integration: which bin each pixel belongs to, what it weighs, and the sums over all pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from batlab.scattering.geometry import Pixels

# pyFAI raises the upper edge by float32's spacing, so that the outermost pixel falls inside the last bin.
EDGE = 1.0 + float(np.finfo(np.float32).eps)
FULLEST = 4095  # pixels of an internal bin: a 32-bit word then holds their 8-bit counts and how many are zero
DOUBTFUL = 0.4  # of the pixels masked


@dataclass(frozen=True)
class Plan:
    """All that does not change from frame to frame.

    ``bins`` (pixel) are internal bins of at most 4095 pixels, ``owner`` says which bin each of them belongs to.
    ``weights`` (weight, pixel) are normalisation and, with a dark image, dark and its variance; ``totals``
    (weight, bin) their sums over the pixels in use, ``n_pixels`` (bin) the number of those.
    """

    axis: np.ndarray
    bins: np.ndarray
    owner: np.ndarray
    weights: np.ndarray
    totals: np.ndarray
    n_pixels: np.ndarray

    @property
    def n_bins(self) -> int:
        return len(self.axis)


def make_plan(
    pixels: Pixels,
    *,
    n_bins: int,
    masks: list[np.ndarray | None],
    dark: np.ndarray | None,
    flat: np.ndarray | None,
    limits: tuple[float, float] | None,
    azimuth_range: tuple[float, float] | None,
) -> Plan:
    """Return the plan for pixels in image order; `limits` are in the unit of the result's axis.

    Raises
    ------
    ValueError
        No pixel is left.

    Warns
    -----
    UserWarning
        More than 40 % of the pixels between the limits are masked.
    """
    low, high = (
        (float(pixels.position.min()), float(pixels.position.max()))
        if limits is None
        else (limits[0] / pixels.scale, limits[1] / pixels.scale)
    )
    high = high * EDGE if high > 0 else high / EDGE
    width = (high - low) / n_bins
    if not width > 0:
        raise ValueError(f"all pixels lie at one place ({low * pixels.scale:g}); the geometry or the range is wrong")
    number = np.floor((pixels.position - low) / width)
    inside = (number >= 0) & (number < n_bins)
    if azimuth_range is not None and pixels.azimuth is not None:
        inside &= (pixels.azimuth - azimuth_range[0]) % 360 <= azimuth_range[1] - azimuth_range[0]
    weight = pixels.weight if flat is None else pixels.weight * flat
    rows = [weight] if dark is None else [weight, dark, np.maximum(dark, 0)]
    excluded = ~np.isfinite(rows).all(axis=0) | (weight == 0)
    for mask in (pixels.mask, *masks):
        if mask is not None:
            excluded |= mask.ravel()
    _doubt(inside, excluded)
    bins = np.where(inside & ~excluded, number, n_bins).astype(np.uint16)
    weights = np.array([np.where(excluded, 0, row) for row in rows], dtype=np.float32)
    # The spare bin at the end takes what is not used.
    totals = np.array([np.bincount(bins, row, n_bins + 1)[:n_bins] for row in weights])
    axis = np.linspace(low + 0.5 * width, high - 0.5 * width, n_bins) * pixels.scale
    return Plan(axis, *share(bins, n_bins), weights, totals, np.bincount(bins, minlength=n_bins + 1)[:n_bins])


def share(bins: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the internal bin of each pixel, and the bin it belongs to; `n_bins` marks a pixel that is never used."""
    counts = np.bincount(bins, minlength=n_bins + 1)
    parts = np.maximum(1, -(-counts[:n_bins] // FULLEST))
    owner = np.repeat(np.arange(n_bins, dtype=np.int32), parts)
    order = np.argsort(bins, kind="stable")
    rank = np.empty(len(bins), np.int64)
    rank[order] = np.arange(len(bins)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.append(np.cumsum(parts) - parts, len(owner))
    internal = first[bins] + np.where(bins < n_bins, rank // FULLEST, 0)
    return internal.astype(np.uint16 if len(owner) < 65536 else np.uint32), owner


def reduce_block(plan: Plan, sums: tuple[np.ndarray, ...], monitor: np.ndarray | None) -> dict[str, Any]:
    """Turn the kernel's sums into signal, variance, normalisation and number of pixels (frame, bin)."""
    signal, variance, skipped, skipped_weights = sums
    n_pixels = (plan.n_pixels - skipped).astype(np.int32)
    kept = np.where((n_pixels > 0)[:, None], plan.totals - skipped_weights, 0)
    if len(plan.weights) > 1:
        signal, variance = signal - kept[:, 1], variance + kept[:, 2]
    normalization = kept[:, 0] if monitor is None else kept[:, 0] * monitor[:, None]
    return {"signal": signal, "variance": variance, "normalization": normalization, "n_pixels": n_pixels}


def _doubt(inside: np.ndarray, excluded: np.ndarray) -> None:
    total, lost = int(inside.sum()), int((inside & excluded).sum())
    if total == lost:
        raise ValueError(f"no pixel is left: {total} lie in the range, {lost} of them are masked")
    if lost > DOUBTFUL * total:
        warnings.warn(
            f"{100 * lost / total:.0f} % of the pixels in the range are masked ({lost} of {total}); "
            "is the mask inverted?",
            UserWarning,
            stacklevel=2,
        )
