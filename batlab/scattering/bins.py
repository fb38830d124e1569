"""How pixels meet bins: whole, or shared out. Edges, sectors and shares are pyFAI's of the same name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from batlab import threads
from batlab._kernels.splitting import split_bbox, split_full
from batlab.scattering.geometry import Pixels

# pyFAI raises the upper edge by float32's spacing, so that the outermost pixel falls inside the last bin.
EDGE = 1.0 + float(np.finfo(np.float32).eps)
HALF_TURN = float(np.float32(np.pi))  # pyFAI's, a little more than π
BLOCK = 2048  # pixels; the kernels' own
FULLEST = 4095  # pixels of an internal bin: a 32-bit word then holds its 8-bit counts and how many are zero
BAND = 1 << 18  # pixels looked at together, so that passing arrays stay small


@dataclass(frozen=True)
class PixelBins:
    """Every pixel belongs whole to one bin.

    Attributes
    ----------
    bins
        (pixel,) uint16 or uint32: internal bin; ``len(owner)`` marks a pixel that is never used.
    owner
        (n_internal,) int32, not decreasing: which bin an internal bin belongs to. A bin with more than 4095 pixels
        has several, in image order.
    """

    bins: np.ndarray
    owner: np.ndarray


@dataclass(frozen=True)
class PixelRuns:
    """Pixels shared out over bins, in image order; block b (2048 pixels) has the runs ``run_start[b:b + 2]``.

    Attributes
    ----------
    first, pixel, length
        (run,) uint32, uint16, uint16: first bin of a run, its pixel within the block, and how many bins it has. A
        pixel has no run where it is never used, and one for each azimuth it reaches in a cake.
    weight
        (entry,) float32: the part of the pixel that each bin of a run gets.
    run_start, entry_start
        (n_blocks + 1,) int64.
    """

    first: np.ndarray
    pixel: np.ndarray
    length: np.ndarray
    weight: np.ndarray
    run_start: np.ndarray
    entry_start: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Edges in pyFAI's inner units: the lowest and the highest place along radius and azimuth, numbers of bins.

    ``n_azimuth`` 0 is a curve, whose azimuths, if not infinite, pick a sector. Azimuths count from ``middle`` [rad],
    half a turn to either side, so that a sector never lies across the seam.
    """

    radial: tuple[float, float]
    n_radial: int
    azimuth: tuple[float, float]
    n_azimuth: int
    middle: float

    @property
    def n_bins(self) -> int:
        return self.n_radial * max(self.n_azimuth, 1)

    @property
    def rows(self) -> np.ndarray:
        """As the kernel takes it."""
        return np.array([[*self.radial, self.n_radial], [*self.azimuth, self.n_azimuth]], dtype=float)

    @property
    def has_azimuth(self) -> bool:
        return self.n_azimuth > 0 or math.isfinite(self.azimuth[0])


def sector_of(azimuth_range: tuple[float, float] | None) -> tuple[tuple[float, float], float] | None:
    """Return (from, to) around a middle, and that middle [rad]; 0 where the range does not cross ±180 degree.

    >>> [round(math.degrees(x)) for x in (*sector_of((170, 190))[0], sector_of((170, 190))[1])]
    [-10, 10, 180]
    """
    if azimuth_range is None:
        return None
    turns = (edge / 180 % 2 for edge in azimuth_range)
    low, high = (math.pi * (turn - 2 if turn >= 1 else turn) for turn in turns)  # -π to below π, to the bit of pyFAI
    if high <= low:
        high += 2 * math.pi
    middle = 0.0 if high <= math.pi else 0.5 * (low + high)
    return (low - middle, high - middle), middle


def make_grid(
    pixels: Pixels,
    seen: np.ndarray,
    *,
    split: str,
    n_bins: int,
    n_azimuth: int | None,
    limits: tuple[float, float] | None,
    azimuth_range: tuple[float, float] | None,
) -> Grid:
    """Return the edges: the given ones, else what the pixels of `seen` reach.

    Raises
    ------
    ValueError
        All pixels lie at one place.
    """
    sector = sector_of(azimuth_range)
    if split == "no" and not n_azimuth:
        seen = np.ones_like(seen)  # pyFAI's histogram looks at masked pixels too
    (low, high), around = _extent(pixels, seen, split, bool(n_azimuth) and sector is None)
    if limits is not None:
        low, high = limits[0] / pixels.scale, limits[1] / pixels.scale
    azimuth, middle = sector or (around, 0.0)
    grid = Grid((low, high), n_bins, azimuth, n_azimuth or 0, middle)
    if not (_edges(*grid.radial)[1] > low and (not n_azimuth or _edges(*azimuth)[1] > azimuth[0])):
        raise ValueError(f"all pixels lie at one place ({low * pixels.scale:g}); the geometry or the range is wrong")
    return grid


def centres(low: float, high: float, n_bins: int) -> np.ndarray:
    """Return the centres of `n_bins` bins from the lowest to just above the highest place."""
    low, high = _edges(low, high)
    width = (high - low) / n_bins
    return np.linspace(low + 0.5 * width, high - 0.5 * width, n_bins)


def whole(pixels: Pixels, grid: Grid) -> np.ndarray:
    """Return the bin of each pixel's centre, -1 outside."""
    number = _number(pixels.position, *grid.radial, grid.n_radial)
    if grid.has_azimuth and pixels.azimuth is not None:
        around = pixels.azimuth
        if grid.middle:
            around = (around - grid.middle + np.pi) % (2 * np.pi) - np.pi
        if not grid.n_azimuth:
            number[~((around >= grid.azimuth[0]) & (around <= grid.azimuth[1]))] = -1
        else:
            row = _number(around, *grid.azimuth, grid.n_azimuth)
            number = np.where((number < 0) | (row < 0), -1, row * grid.n_radial + number)
    return number


def pixel_bins(number: np.ndarray, n_bins: int) -> PixelBins:
    """Return whole pixels by bin; `number` is -1 where a pixel is not used."""
    used = number >= 0
    counts = np.bincount(number[used], minlength=n_bins)
    parts = np.maximum(1, -(-counts // FULLEST))
    owner = np.repeat(np.arange(n_bins, dtype=np.int32), parts)
    start = np.cumsum(parts) - parts
    small = np.dtype(np.uint16 if len(owner) < 65535 else np.uint32)
    bins = np.where(used, start[number], len(owner)).astype(small)
    if (parts > 1).any():
        where = np.flatnonzero(used & (parts > 1)[number])
        order = where[np.argsort(number[where], kind="stable")]
        there = number[order]
        first = np.concatenate([[0], np.cumsum(counts[parts > 1])])[:-1]
        rank = np.arange(len(order)) - np.repeat(first, counts[parts > 1])
        bins[order] = (start[there] + rank // FULLEST).astype(small)
    return PixelBins(bins, owner)


def pixel_runs(pixels: Pixels, used: np.ndarray, grid: Grid, split: str) -> PixelRuns:
    """Return split pixels, of those that are used."""
    assert pixels.corners is not None
    which, n_threads = used.view(np.uint8), threads.effective()
    if split == "bbox":
        azimuth = pixels.azimuth if grid.has_azimuth else None
        return PixelRuns(
            *split_bbox(pixels.position, azimuth, pixels.corners, which, grid.rows, grid.middle, n_threads)
        )
    return PixelRuns(*split_full(pixels.corners, which, grid.rows, grid.middle, pixels.mirrored, n_threads))


def _edges(low: float, high: float) -> tuple[float, float]:
    return low, high * EDGE if high > 0 else high / EDGE


def _number(places: np.ndarray, low: float, high: float, n_bins: int) -> np.ndarray:
    low, high = _edges(low, high)
    number = np.floor((places - low) / ((high - low) / n_bins))
    return np.where((number >= 0) & (number < n_bins), number, -1).astype(np.int64)


def _extent(
    pixels: Pixels, seen: np.ndarray, split: str, around: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the lowest and highest radius and azimuth; the radius is never below 0, the azimuth within half a turn."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for first in range(0, len(seen), BAND):
        band = slice(first, first + BAND)
        there = seen[band]
        if there.any():
            for axis in range(2 if around else 1):
                start, stop = _reach(pixels, band, split, axis)
                low[axis] = min(low[axis], start.min(where=there, initial=np.inf))
                high[axis] = max(high[axis], stop.max(where=there, initial=-np.inf))
    ends = max(-HALF_TURN, float(low[1])), min(HALF_TURN, float(high[1]))
    return (max(0.0, float(low[0])), max(0.0, float(high[0]))), ends if around else (-np.inf, np.inf)


def _reach(pixels: Pixels, band: slice, split: str, axis: int) -> tuple[np.ndarray, np.ndarray]:
    centre = pixels.position if axis == 0 else pixels.azimuth
    if split == "no":
        assert centre is not None
        return centre[band], centre[band]
    assert pixels.corners is not None
    # Four columns one after the other: numpy is slow on rows of four.
    columns = [pixels.corners[band, k, axis] for k in range(4)]
    if split == "full":
        return reduce(np.minimum, columns), reduce(np.maximum, columns)
    assert centre is not None
    deltas = [np.abs(column - centre[band]) for column in columns]
    if axis == 1:
        deltas = [np.minimum(delta, 2 * np.pi - delta) for delta in deltas]
    farthest = reduce(np.maximum, deltas)
    return centre[band] - farthest, centre[band] + farthest
