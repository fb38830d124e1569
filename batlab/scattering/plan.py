"""The plan of an integration: which bin each pixel belongs to, what it weighs, and the sums over all pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batlab._kernels.azimuthal_means import azimuthal_means
from batlab._kernels.azimuthal_split import azimuthal_split
from batlab.scattering import bins
from batlab.scattering.bins import Grid, PixelBins, PixelRuns
from batlab.scattering.geometry import Pixels

VERSION = 2  # of the plan: a cached one of another version is not read
DOUBTFUL = 0.4  # of the pixels masked
# What is left of a bin after its lost pixels were taken away is rounding where it is below this part of the whole.
RESIDUE = 1e-9


@dataclass(frozen=True)
class Plan:
    """All that does not change from frame to frame.

    Attributes
    ----------
    radial, azimuth
        Centres of the bins, in the unit of the result; degree, None where there is no cake.
    n_bins
        ``len(radial)``, in a cake times ``len(azimuth)``: rows of equal azimuth, one after the other.
    index
        How pixels meet bins.
    weights
        (weight, pixel) float32: normalisation and, with a dark image, dark counts and their variance.
    powers
        (weight,) uint8: whether a row is summed with the part of the pixel that a bin gets (1), or its square (2).
    totals
        (weight, bin) float64: sums of `weights` over the pixels in use.
    n_pixels
        (bin,) float64: number of pixels in use, or the sum of their parts.
    inflation
        (bin,) float64 or None where nothing is split: by how much σ of the sum over neighbouring bins exceeds what
        independent σ of the bins give, as they share pixels: sqrt(sum of parts / sum of squared parts).
    mean
        (bin,) float64: where the pixels of a bin lie on average, in the unit of the result; the centre of the bin
        where it has none. Rings thin out or end within a bin, so that it is not the bin's centre.
    doubt
        What to warn of whenever the plan is used; empty where nothing is doubtful.
    """

    radial: np.ndarray
    azimuth: np.ndarray | None
    n_bins: int
    index: PixelBins | PixelRuns
    weights: np.ndarray
    powers: np.ndarray
    totals: np.ndarray
    n_pixels: np.ndarray
    inflation: np.ndarray | None
    mean: np.ndarray
    doubt: str = ""

    @property
    def is_split(self) -> bool:
        return isinstance(self.index, PixelRuns)

    @property
    def nbytes(self) -> int:
        """Memory that the plan holds."""
        own = (
            self.radial,
            self.azimuth,
            self.weights,
            self.powers,
            self.totals,
            self.n_pixels,
            self.inflation,
            self.mean,
        )
        return sum(array.nbytes for array in (*own, *vars(self.index).values()) if array is not None)


def make_plan(
    pixels: Pixels,
    *,
    n_bins: int,
    n_azimuth: int | None = None,
    split: str = "no",
    masks: list[np.ndarray | None],
    dark: np.ndarray | None = None,
    flat: np.ndarray | None = None,
    dark_variance: bool = True,
    limits: tuple[float, float] | None = None,
    azimuth_range: tuple[float, float] | None = None,
) -> Plan:
    """Return the plan for pixels in image order; `limits` are in the unit of the result's axis.

    Raises
    ------
    ValueError
        No pixel is left.
    """
    hidden = np.zeros(len(pixels.position), bool)
    for mask in (pixels.mask, *masks):
        if mask is not None:
            hidden |= mask.ravel()
    if hidden.all():
        raise ValueError(f"no pixel is left: all {hidden.size} are masked")
    grid = bins.make_grid(
        pixels, ~hidden, split=split, n_bins=n_bins, n_azimuth=n_azimuth, limits=limits, azimuth_range=azimuth_range
    )
    weights, used = _weights(pixels, hidden, dark, flat, dark_variance)
    number = bins.whole(pixels, grid)
    index: PixelBins | PixelRuns
    if split == "no":
        doubt = _doubt(number >= 0, used, is_empty=not (used & (number >= 0)).any())
        index = bins.pixel_bins(np.where(used, number, -1), grid.n_bins)
    else:
        index = bins.pixel_runs(pixels, used, grid, split)
        doubt = _doubt(number >= 0, used, is_empty=len(index.first) == 0)
    powers = np.array([1, 1, 2][: len(weights)], np.uint8)
    # Rounded to float32, whose sums in double are exact: the order of the pixels does not matter.
    rows = np.concatenate([weights, (weights[0] * pixels.position).astype(np.float32)[None]])
    totals, n_pixels, squares = sums_over(index, rows, np.append(powers, np.uint8(1)), grid.n_bins)
    totals, moment = totals[:-1], totals[-1]
    inflation = None
    if isinstance(index, PixelRuns):
        with np.errstate(invalid="ignore"):
            inflation = np.sqrt(n_pixels / squares)
    radial = bins.centres(*grid.radial, grid.n_radial) * pixels.scale
    centre = np.tile(radial, max(1, grid.n_azimuth))
    mean = np.divide(moment * pixels.scale, totals[0], out=centre, where=totals[0] > 0)
    return Plan(radial, _azimuths(grid), grid.n_bins, index, weights, powers, totals, n_pixels, inflation, mean, doubt)


def sums_over(
    index: PixelBins | PixelRuns, weights: np.ndarray, powers: np.ndarray, n_bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sums over all pixels in use: of `weights` (weight, bin), of the parts, and of their squares (bin)."""
    if isinstance(index, PixelBins):
        number = np.append(index.owner, n_bins)[index.bins]
        totals = np.array([np.bincount(number, row, n_bins + 1)[:n_bins] for row in weights])
        counts = np.bincount(number, minlength=n_bins + 1)[:n_bins].astype(float)
        return totals, counts, counts
    # What the kernel says of a frame that has lost every pixel: so a bin that loses all is left with exactly nothing.
    n_pixels = weights.shape[1]
    blank, all_lost = np.zeros((1, n_pixels), np.uint8), np.ones((1, n_pixels), np.uint8)
    rows = np.concatenate([weights, np.ones((1, n_pixels), np.float32)])
    _, _, counts, sums = azimuthal_split(
        blank, index.first, index.pixel, index.length, index.weight, index.run_start, index.entry_start, n_bins, rows,
        np.append(powers, np.uint8(2)), all_lost, np.empty(0, np.uint8),
    )  # fmt: skip
    return sums[0, :-1].copy(), counts[0], sums[0, -1]


def reduce_block(
    plan: Plan, sums: tuple[np.ndarray, ...], monitor: np.ndarray | None, n_threads: int = 1
) -> dict[str, np.ndarray]:
    """Turn the kernel's sums into intensity, signal, variance, normalisation and number of pixels (frame, bin)."""
    signal, variance, skipped, skipped_weights = sums
    if len(plan.weights) > 1:
        is_left = skipped < (1 - RESIDUE) * plan.n_pixels
        dark = np.where(is_left[:, None], plan.totals[1:] - skipped_weights[:, 1:], 0)
        signal, variance = signal - dark[:, 0], variance + dark[:, 1]
    intensity, sigma, normalization, n_pixels = azimuthal_means(
        signal,
        variance,
        skipped,
        np.ascontiguousarray(skipped_weights[:, 0]),
        plan.n_pixels,
        plan.totals[0],
        np.ones(len(signal)) if monitor is None else np.ascontiguousarray(monitor, dtype=float),
        not plan.is_split,
        RESIDUE if plan.is_split else 0.0,
        n_threads,
    )
    return {
        "intensity": intensity,
        "intensity_sigma": sigma,
        "signal": signal,
        "variance": variance,
        "normalization": normalization,
        "n_pixels": n_pixels,
    }


def _weights(
    pixels: Pixels, hidden: np.ndarray, dark: np.ndarray | None, flat: np.ndarray | None, dark_variance: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return (weight, pixel), 0 where a pixel is not used, and which are used."""
    weight = pixels.weight if flat is None else pixels.weight * flat
    rows = [weight]
    if dark is not None:
        rows += [dark, np.maximum(dark, 0) if dark_variance else np.zeros_like(dark)]
    used = ~hidden & (weight != 0)
    for row in rows:
        used &= np.isfinite(row)
    return np.array([np.where(used, row, 0) for row in rows], dtype=np.float32), used


def _azimuths(grid: Grid) -> np.ndarray | None:
    if not grid.n_azimuth:
        return None
    return np.degrees(bins.centres(*grid.azimuth, grid.n_azimuth) + grid.middle)


def _doubt(inside: np.ndarray, used: np.ndarray, *, is_empty: bool) -> str:
    """Return what is doubtful about the masks; a pixel counts as inside where its centre is."""
    total, lost = int(inside.sum()), int((inside & ~used).sum())
    if is_empty:
        raise ValueError(f"no pixel is left: {total} lie in the range, {lost} of them are masked")
    if lost <= DOUBTFUL * total:
        return ""
    return (
        f"{100 * lost / total:.0f} % of the pixels in the range are masked ({lost} of {total}); is the mask inverted?"
    )
