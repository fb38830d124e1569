"""A map of (frame, axis) reduced to the pixels of a screen before it travels to a browser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.figures.scale import Scale

PIXELS = 1000  # a side; more costs a browser seconds and shows nothing more


@dataclass(frozen=True, eq=False)
class MapImage:
    """What a browser needs to draw a map.

    `pixels` is uint8 (row = frames upward, column = axis), 0 where nothing was measured; the rest places it.
    """

    pixels: np.ndarray
    left: float
    bottom: float
    width: float
    height: float
    scale: Scale


def pattern_axis(series: xr.Dataset, function: str) -> str:
    """Return the name of the axis that `intensity` has beside ``frame``; refuse what is no series of patterns."""
    if "intensity" not in series:
        raise DimensionError(f"{function} needs the variable 'intensity', got {sorted(map(str, series.data_vars))}")
    dims = series["intensity"].dims
    if len(dims) != 2 or dims[0] != "frame":
        raise DimensionError(
            f"{function} needs 'intensity' over ('frame', 'q') or ('frame', 'two_theta'), got {dims}; "
            "integrate detector frames first with scattering.integrate"
        )
    return str(dims[1])


def map_image(
    series: xr.Dataset,
    *,
    frames: tuple[float, float] | None = None,
    axis_range: tuple[float, float] | None = None,
    scale: str = "linear",
    limits: tuple[float, float] | None = None,
    reference: int | None = None,
    room: int = 0,
    pixels: tuple[int, int] = (PIXELS, PIXELS),
) -> MapImage:
    """Return the visible part of a series as at most `pixels` (rows, columns) of 8 bits.

    Where several points fall into one pixel it shows the greatest, in a difference map the one furthest from zero:
    a thin peak never vanishes. Points without a pixel of their own (uneven axes) take the nearest point's value.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q or two_theta); NaN is missing.
    frames, axis_range
        The visible part; all of it by default.
    scale
        ``"linear"``, ``"sqrt"`` or ``"log"``.
    limits
        Intensities of the first and last colour; by default the 1st and 98th percentile of the whole series.
    reference
        A frame whose pattern is subtracted from every other.
    room
        Leave so many empty frames above the last one, for `map_rows` to fill.

    Raises
    ------
    DimensionError
        `series` is no series of patterns.
    ValueError
        Unknown scale, limits that do not increase, or a reference that is no frame of the series.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> series = xr.Dataset({"intensity": quantity(("frame", "q"), np.eye(3), "1", "intensity")},
    ...                     {"frame": quantity("frame", [0, 1, 2], "1", "frame"),
    ...                      "q": quantity("q", [1.0, 2.0, 3.0], "1/angstrom", "scattering vector")})
    >>> map_image(series, limits=(0, 1)).pixels.tolist()
    [[255, 1, 1], [1, 255, 1], [1, 1, 255]]
    """
    axis = pattern_axis(series, "figures.heat_map")
    numbers = np.asarray(series["frame"].values, dtype=float)
    rows = _window(np.append(numbers, numbers[-1] + 1 + np.arange(room)), frames, pixels[0])
    columns = _window(np.asarray(series[axis].values, dtype=float), axis_range, pixels[1])
    values = np.asarray(series["intensity"].values[rows.first : rows.last, columns.first : columns.last], dtype=float)
    if reference is not None:
        base = series["intensity"].values[frame_position(series, reference), columns.first : columns.last]
        values = values - base
    if limits is None:
        limits = automatic_limits(series, reference)
        if scale == "log" and limits[1] <= 0:  # nothing here has a logarithm
            limits = (limits[0], 1.0)
    signed = reference is not None
    pooled = _pool(values, columns, signed)
    empty = rows.last - rows.first - len(pooled)
    if empty:
        pooled = np.concatenate([pooled, np.full((empty, pooled.shape[1]), np.nan)])
    pooled = _pool(pooled.T, rows, signed).T
    scaling = Scale(scale, float(limits[0]), float(limits[1]), signed)
    return MapImage(
        scaling.levels(pooled), columns.low, rows.low, columns.high - columns.low, rows.high - rows.low, scaling
    )


def map_rows(
    series: xr.Dataset,
    image: MapImage,
    first: int,
    *,
    axis_range: tuple[float, float] | None = None,
    reference: int | None = None,
) -> tuple[int, np.ndarray]:
    """Return the pixels of a map of the same series that hold frame `first` and those after it.

    Parameters
    ----------
    series
        Has grown since `image` was made with `room`.
    image
        The map; its scale of colours stays.
    first
        The first new frame.
    axis_range, reference
        As `image` was made with.

    Returns
    -------
    The first row of pixels, and the rows (row, column) from there on.
    """
    axis = pattern_axis(series, "figures.heat_map")
    columns = _window(np.asarray(series[axis].values, dtype=float), axis_range, PIXELS)
    count, numbers = len(image.pixels), np.asarray(series["frame"].values, dtype=float)
    row = np.clip(((numbers - image.bottom) / image.height * count).astype(int), 0, count - 1)
    low = int(row[np.searchsorted(numbers, first)])
    start = int(np.searchsorted(row, low))
    values = np.asarray(series["intensity"].values[start:, columns.first : columns.last], dtype=float)
    if reference is not None:
        values = values - series["intensity"].values[frame_position(series, reference)][columns.first : columns.last]
    signed = reference is not None
    starts = np.flatnonzero(np.diff(row[start:], prepend=-1))
    pooled = _extremes(_pool(values, columns, signed).T, starts, signed).T
    pixels = np.zeros((int(row[-1]) - low + 1, image.pixels.shape[1]), np.uint8)
    pixels[row[start:][starts] - low] = image.scale.levels(pooled)
    return low, pixels


def automatic_limits(series: xr.Dataset, reference: int | None = None) -> tuple[float, float]:
    """Return colour limits for a whole series: percentiles of its intensities, or of differences, symmetric."""
    values = np.asarray(series["intensity"].values, dtype=float)
    if reference is not None:
        values = values - values[frame_position(series, reference)]
    stride = max(1, values.size // 2_000_000)
    known = values.ravel()[::stride]
    known = known[np.isfinite(known)]
    if not known.size:
        return (0.0, 1.0) if reference is None else (-1.0, 1.0)
    if reference is not None:
        # Frames equal to the reference would pull a percentile to zero, so the greatest difference bounds it below.
        size = float(np.percentile(np.abs(known), 99.5)) or float(np.abs(known).max()) or 1.0
        return -size, size
    low, high = (float(value) for value in np.percentile(known, [1, 98]))
    return (low, high) if low < high else (low, low + (abs(low) or 1.0))


def frame_position(series: xr.Dataset, frame: int) -> int:
    """Return where `frame` stands in the series; refuse one that is not there."""
    numbers = series["frame"].values
    found = np.flatnonzero(numbers == frame)
    if not found.size:
        raise ValueError(f"frame {frame} is not in the series; it has {numbers[0]} to {numbers[-1]}")
    return int(found[0])


@dataclass(frozen=True)
class _Window:
    """Which points of a coordinate are visible, where its pixels lie, and which pixel each point falls into."""

    first: int
    last: int
    low: float
    high: float
    starts: np.ndarray
    source: np.ndarray


def _window(points: np.ndarray, visible: tuple[float, float] | None, most: int) -> _Window:
    edges = point_edges(points)
    low, high = (edges[0], edges[-1]) if visible is None else sorted(map(float, visible))
    first = min(max(int(np.searchsorted(edges, low, side="right")) - 1, 0), points.size - 1)
    last = max(min(int(np.searchsorted(edges, high, side="left")), points.size), first + 1)
    low, high = float(edges[first]), float(edges[last])
    inside = points[first:last]
    finest = float(np.diff(edges[first : last + 1]).min())
    count = int(min(most, max(1, round((high - low) / finest))))
    pixel = np.clip(((inside - low) / (high - low) * count).astype(int), 0, count - 1)
    starts = np.flatnonzero(np.diff(pixel, prepend=-1))
    centres = low + (np.arange(count) + 0.5) * (high - low) / count
    bounds = (inside[1:] + inside[:-1]) / 2
    nearest = pixel[np.searchsorted(bounds, centres)]
    filled = pixel[starts]
    own = np.isin(np.arange(count), filled)
    source = np.searchsorted(filled, np.where(own, np.arange(count), nearest))
    return _Window(first, last, low, high, starts, source)


def point_edges(points: np.ndarray) -> np.ndarray:
    """Return the borders between points, and half a step beyond the ends."""
    if points.size == 1:
        return np.array([points[0] - 0.5, points[0] + 0.5])
    middle = (points[1:] + points[:-1]) / 2
    return np.concatenate([[2 * points[0] - middle[0]], middle, [2 * points[-1] - middle[-1]]])


def _pool(values: np.ndarray, window: _Window, signed: bool) -> np.ndarray:
    return _extremes(values, window.starts, signed)[:, window.source]


def _extremes(values: np.ndarray, starts: np.ndarray, signed: bool) -> np.ndarray:
    """Return of the columns from each start to the next the greatest, or the one furthest from zero."""
    highest = np.fmax.reduceat(values, starts, axis=1)
    if signed:
        lowest = np.fmin.reduceat(values, starts, axis=1)
        highest = np.where(np.abs(lowest) > np.abs(highest), lowest, highest)
    return highest
