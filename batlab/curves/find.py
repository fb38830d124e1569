"""Peaks found without knowing where to look."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.signal import find_peaks as local_maxima

from batlab.curves.noise import Noise, noise_of, significance_map
from batlab.curves.patterns import axis_of, values_of
from batlab.errors import choose
from batlab.schema import quantity, record

OVER = ("mean", "max")
# With less of one side known, at the ends of a pattern, a sloping background looks like a peak.
SIDES = 0.9


def find_peaks(
    patterns: xr.Dataset,
    *,
    over: str = "mean",
    frame: int | None = None,
    width: float | None = None,
    significance: float = 6.0,
    separation: float | None = None,
) -> xr.Dataset:
    """Find peaks that stand out of the noise.

    Matched filters of several widths (Gaussians without their mean, blind to a straight background) run over the
    pattern; a peak is where the best of them exceeds `significance` standard deviations, the noise being what
    `fit_peaks` uses. The background must be straight over about five widths.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, two_theta | q).
    over
        ``"mean"``: in the mean of all frames. ``"max"``: in any frame, which finds peaks that are there for a short
        time or move, once for each place where they stood for long enough to be a maximum.
    frame
        Look in this frame (position, not label) alone.
    width
        Full width at half maximum, axis unit; widths from 3 points to a twelfth of the pattern by default.
    significance
        Least height in σ. With 6, noise in 3000 points and all widths gives a false peak in fewer than one pattern
        in 10,000; ``over="max"`` multiplies this by the number of frames.
    separation
        Least distance of two peaks, axis unit; one width by default.

    Returns
    -------
    xarray.Dataset
        Over ``peak``, by increasing ``position``: ``position``, ``fwhm`` (of the best filter: an estimate), ``height``
        (estimate) and ``strength`` [σ]. To be refined by ``fit_peaks(patterns, near=...)``.

    Raises
    ------
    DimensionError, ValueError, IndexError
        For a wrong axis, an unknown word, a frame that does not exist.

    Examples
    --------
    >>> q = np.linspace(2, 3, 400)
    >>> counts = 50 + 900 * np.exp(-4 * np.log(2) * ((q - 2.51) / 0.03) ** 2)
    >>> pattern = xr.Dataset({"intensity": quantity(("frame", "q"), counts.round()[None], "count", "intensity")},
    ...                      {"q": quantity("q", q, "1/angstrom", "scattering vector")})
    >>> find_peaks(pattern).position.values.round(2).tolist()
    [2.51]
    """
    choose("over", over, OVER)
    axis = axis_of(patterns, "curves.find_peaks")
    x, intensity = values_of(patterns, axis, "curves.find_peaks")
    noise = noise_of(patterns, intensity)
    if frame is not None:
        if not -len(intensity) <= frame < len(intensity):
            raise IndexError(f"frame must lie in 0 to {len(intensity) - 1}, got {frame}")
        intensity, noise = (
            intensity[frame][None],
            Noise(noise.fixed[frame][None], noise.gain[frame : frame + 1 or None][:1], noise.kind),
        )
    elif over == "mean":
        intensity, noise = mean_of(intensity, noise)
    step = (x[-1] - x[0]) / (len(x) - 1)
    widths = _widths(len(x)) if width is None else np.array([width / step])
    where, best, strength = _maxima(
        intensity, noise, widths, significance, None if separation is None else separation / step
    )
    height = _heights(intensity, where, widths[best])
    unit = str(patterns[axis].attrs["units"])
    result = xr.Dataset(
        {
            "position": quantity("peak", x[where], unit, "peak position"),
            "fwhm": quantity("peak", widths[best] * step, unit, "full width of the best filter"),
            "height": quantity("peak", height, str(patterns["intensity"].attrs.get("units", "1")), "peak height"),
            "strength": quantity("peak", strength, "1", "height over its standard uncertainty"),
        },
        {"peak": quantity("peak", np.arange(len(where), dtype=np.int64), "1", "peak")},
        {**patterns.attrs, "axis": axis, "noise": noise.kind},
    )
    return record(
        result, "curves.find_peaks", over=over, frame=frame, width=width, significance=significance,
        separation=separation,
    )  # fmt: skip


def mean_of(intensity: np.ndarray, noise: Noise) -> tuple[np.ndarray, Noise]:
    """Return the mean of all frames as one row, NaN where no frame has data, and its noise."""
    known = np.isfinite(intensity) & np.isfinite(noise.fixed)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, intensity, 0.0).sum(axis=0) / n
        fixed = np.where(known, noise.fixed, 0.0).sum(axis=0) / n.astype(float) ** 2
    return mean[None], Noise(fixed[None], np.array([noise.gain.mean() / max(known.any(axis=1).sum(), 1)]), noise.kind)


def _widths(n: int) -> np.ndarray:
    return np.geomspace(3.0, max(3.5, min(n / 12.0, 200.0)), 12)


def _maxima(
    intensity: np.ndarray, noise: Noise, widths: np.ndarray, significance: float, separation: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return point, width index and strength of every peak, strongest of all frames and widths first taken."""
    maps = np.stack([significance_map(intensity, noise, width, SIDES).max(axis=0) for width in widths])
    found = []
    for i, strengths in enumerate(maps):
        tops, _ = local_maxima(strengths, height=significance)
        found += [(float(strengths[top]), int(top), i) for top in tops]
    found.sort(key=lambda item: (-item[0], item[1]))
    kept: list[tuple[float, int, int]] = []
    for item in found:
        apart = (max(widths[item[2]], widths[other[2]]) if separation is None else separation for other in kept)
        if all(abs(item[1] - other[1]) >= distance for other, distance in zip(kept, apart)):
            kept.append(item)
    kept.sort(key=lambda item: item[1])
    return (
        np.array([item[1] for item in kept], dtype=int),
        np.array([item[2] for item in kept], dtype=int),
        np.array([item[0] for item in kept], dtype=float),
    )


def _heights(intensity: np.ndarray, where: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return how far the middle of each peak stands above its surroundings 1 to 1.5 widths away, in the best frame."""
    height = np.full(len(where), np.nan)
    for i, (point, width) in enumerate(zip(where, widths)):
        near, reach = max(1, int(width / 8)), max(2, round(1.25 * width))
        middle, left, right = (
            _mean(intensity[:, max(0, at - near) : max(1, at + near + 1)])
            for at in (point, point - reach, point + reach)
        )
        rise = middle - 0.5 * (left + right)
        if np.isfinite(rise).any():
            height[i] = np.nanmax(rise)
    return height


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total, n = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return np.divide(total, n, out=np.full(len(values), np.nan), where=n > 0)
