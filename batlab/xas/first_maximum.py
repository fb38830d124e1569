"""The white line: the first maximum after the edge."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.signal import find_peaks

from batlab.schema import record
from batlab.xas.xanes_series import (
    Spectra,
    numbers_of,
    polynomial_basis,
    same_rows,
    scatter_of,
    spectra_by_grid,
    table_of,
)

FUNCTION = "xas.white_line"
DEGREE = 4  # of the fit: a cubic misses the curvature of a line's shoulders by more than the noise
FEWEST = 9  # points in its window
NEWTON = 8
STANDS_OUT = 6.0  # σ of the smoothed curve, by which a maximum must stand out
LEAST = 1e-3  # of the edge step, where there is no noise
LEVEL = 1.0  # of the normalized absorption, above which the area counts


def white_line(
    series: xr.Dataset, *, of: str = "mu_norm", window: float = 2.5, search: float = 60.0, e0: float | None = None
) -> xr.Dataset:
    """Return position, height and area of the first maximum after the edge, each with its σ.

    The maximum is looked for in the curve smoothed over ±`window` (local parabolas), and is then that of a
    polynomial of fourth degree fitted to the points within ±`window` of it (at least 9). The area is that of the
    curve above 1, between where it crosses 1 on either side of the maximum: it hangs on the normalization as no
    position does.

    σ come from ``<of>_sigma``, widened where the fit is worse than it, else from the scatter about the fit. The σ of
    the normalization (`xas.normalize`) is not in them.

    Parameters
    ----------
    series
        Normalized, over (``frame``, ``energy``) or ``energy``, with ``e0``. Frames may have grids of their own
        (``energy_measured``).
    of
        ``"mu_norm"`` or ``"mu_flat"``.
    window
        Half width of the fit [eV]: about a third of the white line's full width.
    search
        How far above the edge the maximum may lie [eV].
    e0
        Edge energy [eV] for all frames, instead of the variable ``e0``.

    Returns
    -------
    xarray.Dataset
        Over ``frame``: ``position`` [eV], ``height`` [1], ``area`` [eV], each with ``_sigma``; NaN where no maximum
        stands out by six σ, the area also where the maximum stays below 1.

    Raises
    ------
    ValueError
        For a window or search that is not positive.
    DimensionError, SchemaError
        Not normalized, or no energies above the edge.

    Warns
    -----
    UserWarning
        Frames without a maximum, with their number.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> energy = np.arange(8320.0, 8420.0, 0.5)
    >>> curve = 0.5 + np.arctan(energy - 8343) / np.pi + 0.5 * np.exp(-((energy - 8350) / 4) ** 2)
    >>> scan = xr.Dataset({"mu_norm": quantity("energy", curve, "1", "normalized absorption")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> line = white_line(scan, e0=8343.0)
    >>> round(float(line.position), 1), round(float(line.height), 2)
    (8350.1, 1.46)
    """
    for name, value in (("window", window), ("search", search)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, in eV, got {value!r}")
    grids = spectra_by_grid(series, of, FUNCTION, "run xas.normalize first")
    n_frames = sum(len(frames) for frames, _ in grids)
    edge = (
        numbers_of(series, "e0", n_frames, FUNCTION, "run xas.normalize first, or pass e0=…")
        if e0 is None
        else np.full(n_frames, float(e0))
    )
    results, lost = np.full((6, n_frames), np.nan), 0
    for frames, spectra in grids:
        tops = _tops(spectra.energy, spectra.values, edge[frames], window, search)
        lost += int((tops < 0).sum())
        if (tops >= 0).any():
            results[:, frames] = _measured(spectra, tops, edge[frames] + search, window)
    if lost:
        warnings.warn(
            f"{FUNCTION}: {lost} of {n_frames} frames have no maximum that stands out within {search:g} eV above e0",
            UserWarning,
            stacklevel=2,
        )
    data, per_frame = {}, grids[0][1].per_frame
    for i, (name, unit) in enumerate((("position", "eV"), ("height", "1"), ("area", "eV"))):
        data[name] = per_frame(results[2 * i], unit, f"{name} of the white line")
        data[f"{name}_sigma"] = per_frame(results[2 * i + 1], unit, f"1 sigma of the white line's {name}")
    return record(table_of(series, data), FUNCTION, of=of, window=window, search=search, e0=e0)


class Tops(NamedTuple):
    """Of each frame, NaN where there is none; `noise` (frame, point) is the σ of each point."""

    position: np.ndarray
    position_sigma: np.ndarray
    height: np.ndarray
    height_sigma: np.ndarray
    noise: np.ndarray


def _measured(spectra: Spectra, tops: np.ndarray, end: np.ndarray, window: float) -> list[np.ndarray]:
    """Return position, height and area of the maxima of frames on one grid, each followed by its σ."""
    found = _fitted(spectra.energy, spectra.values, spectra.sigma, tops, window)
    areas = _areas(spectra.energy, spectra.values, found.noise, tops, end)
    return [found.position, found.position_sigma, found.height, found.height_sigma, *areas]


def _window(energy: np.ndarray, at: float, half: float) -> np.ndarray:
    """Return which points lie within `half` of an energy, more where these are fewer than the fit needs."""
    distance = np.abs(energy - at)
    return distance <= max(half, np.partition(distance, FEWEST - 1)[FEWEST - 1])


def _smoother(energy: np.ndarray, half: float) -> np.ndarray:
    """Return the matrix (point, point) of parabolas fitted around each point."""
    matrix = np.zeros((len(energy), len(energy)))
    for row, at in enumerate(energy):
        inside = _window(energy, at, half)
        matrix[row, inside] = np.linalg.pinv(polynomial_basis(energy[inside] - at, 2))[0]
    return matrix


def _tops(energy: np.ndarray, rows: np.ndarray, edge: np.ndarray, half: float, search: float) -> np.ndarray:
    """Return the point next to the first maximum of each frame, -1 where there is none."""
    if not np.isfinite(edge).any():
        return np.full(len(rows), -1)
    wide = (energy >= np.nanmin(edge) - 3 * half) & (energy <= np.nanmax(edge) + search + 3 * half)
    start, x = int(np.argmax(wide)), energy[wide]
    tops = np.full(len(rows), -1)
    if len(x) < FEWEST:
        return tops
    smoother = _smoother(x, half)
    y = rows[:, wide]
    known = np.isfinite(y)
    for i in np.flatnonzero(~known.all(axis=1) & known.any(axis=1)):
        y[i] = np.interp(x, x[known[i]], y[i, known[i]])
    smooth = y @ smoother.T
    # A parabola leaves 1 - its own weight of the noise in the residual, and the root of that weight in itself.
    own = np.median(np.diag(smoother))
    noise = 1.4826 * np.median(np.abs(y - smooth), axis=1) / np.sqrt(max(1 - own, 0.1)) * np.sqrt(own)
    for i in np.flatnonzero(known.any(axis=1) & np.isfinite(edge)):
        peaks, _ = find_peaks(smooth[i], prominence=max(STANDS_OUT * noise[i], LEAST))
        peaks = peaks[(x[peaks] > edge[i]) & (x[peaks] <= edge[i] + search) & (smooth[i, peaks] > 0.5 * LEVEL)]
        if len(peaks):
            tops[i] = start + peaks[0]
    return tops


def _fitted(energy: np.ndarray, rows: np.ndarray, sigma: np.ndarray | None, tops: np.ndarray, half: float) -> Tops:
    """Fit a polynomial about each maximum; frames that share their points are solved together."""
    empty = [np.full(len(rows), np.nan) for _ in range(4)]
    found = Tops(empty[0], empty[1], empty[2], empty[3], np.full(rows.shape, np.nan))
    for top in np.unique(tops[tops >= 0]):
        mine = np.flatnonzero(tops == top)
        inside = np.flatnonzero(_window(energy, energy[top], half))
        x = energy[inside] - energy[top]
        for known, which in same_rows(np.isfinite(rows[np.ix_(mine, inside)])):
            frames = mine[which]
            if known.sum() < FEWEST - 1:
                continue
            basis = polynomial_basis(x[known], DEGREE)
            inverse = np.linalg.pinv(basis)
            y = rows[np.ix_(frames, inside[known])]
            terms = y @ inverse.T
            scatter = scatter_of(y - terms @ basis.T, DEGREE + 1)
            if sigma is None:
                found.noise[frames] = scatter[:, None]
            else:
                stated = sigma[np.ix_(frames, inside[known])]
                worse = scatter / np.sqrt((stated**2).mean(axis=1))
                chance = np.sqrt(1 + 2 * np.sqrt(2 / (known.sum() - DEGREE - 1)))  # two σ of χ² above its mean
                worse = np.where(worse > chance, worse, 1.0)
                found.noise[frames] = sigma[frames] * worse[:, None]
            noise = found.noise[np.ix_(frames, inside[known])]
            covariance = np.einsum("pn,fn,qn->fpq", inverse, noise**2, inverse)
            _summit(found, frames, energy[top], np.abs(x[known]).max(), terms, covariance)
    return found


def _summit(
    found: Tops, frames: np.ndarray, at: float, reach: float, terms: np.ndarray, covariance: np.ndarray
) -> None:
    """Write where polynomials have their maximum, and how high it is."""
    place = np.zeros(len(terms))
    for _ in range(NEWTON):
        power, slope, bend = (_powers(place, order) for order in range(3))
        step = -(slope * terms).sum(axis=1) / np.minimum((bend * terms).sum(axis=1), -1e-12)
        place = np.clip(place + np.clip(step, -0.5 * reach, 0.5 * reach), -1.5 * reach, 1.5 * reach)
    power, slope, bend = (_powers(place, order) for order in range(3))
    curvature = (bend * terms).sum(axis=1)
    good = (np.abs(place) <= reach) & (curvature < 0) & (np.abs(step) < 1e-6)
    place, curvature = np.where(good, place, np.nan), np.where(good, curvature, np.nan)
    found.position[frames] = at + place
    found.position_sigma[frames] = np.sqrt(np.einsum("fp,fpq,fq->f", slope, covariance, slope)) / np.abs(curvature)
    found.height[frames] = np.where(good, (power * terms).sum(axis=1), np.nan)
    found.height_sigma[frames] = np.sqrt(np.where(good, np.einsum("fp,fpq,fq->f", power, covariance, power), np.nan))


def _powers(x: np.ndarray, order: int) -> np.ndarray:
    """Return the derivatives of 1, x, … of an order (frame, DEGREE + 1)."""
    powers = np.zeros((len(x), DEGREE + 1))
    for i in range(order, DEGREE + 1):
        powers[:, i] = math.perm(i, order) * x ** (i - order)
    return powers


def _areas(
    energy: np.ndarray, rows: np.ndarray, noise: np.ndarray, tops: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas above the level between its crossings (trapezoids, linear at the crossings)."""
    points = np.arange(len(energy))
    above = rows - LEVEL
    low = ~(above > 0)
    left = np.where(low & (points <= tops[:, None]), points, -1).max(axis=1)
    right = np.where(low & (points >= tops[:, None]), points, len(energy)).min(axis=1)
    good = (tops >= 0) & (left >= 0) & (right < len(energy)) & (right - left > 1)
    good &= energy[np.minimum(right, len(energy) - 1)] <= end
    inside = (points > left[:, None]) & (points < right[:, None]) & good[:, None]
    weight = np.where(inside, np.gradient(energy), 0.0)
    area = np.where(inside, weight * above, 0.0).sum(axis=1)
    for outer, inner in ((left, left + 1), (right, right - 1)):  # the trapezoid ends where the curve crosses
        frame = np.flatnonzero(good)
        o, i = outer[frame], inner[frame]
        gap = np.abs(energy[o] - energy[i])
        part = gap * above[frame, i] / (above[frame, i] - above[frame, o])
        area[frame] += 0.5 * above[frame, i] * (part - gap)
    spread = np.sqrt(np.where(inside, (weight * noise) ** 2, 0.0).sum(axis=1))
    area[~good], spread[~good] = np.nan, np.nan
    return area, spread
