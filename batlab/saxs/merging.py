"""USAXS, SAXS and WAXS of one sample on one axis: each scaled to the one before where they overlap."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.saxs.series import curves_of, on_frames
from batlab.schema import quantity, record


def merge(
    parts: Sequence[xr.Dataset],
    *,
    scale: Sequence[float] | bool = True,
    background: bool = False,
    overlap: Sequence[tuple[float, float]] | None = None,
) -> xr.Dataset:
    """Join curves of one series of frames, measured at different distances, into one.

    In each overlap the later part is fitted to the earlier, ``scale · I (+ constant)`` by weighted least squares on
    the earlier part's curve between its points (linear in log I over log q where it is above 0); σ of the later part
    grows with the scale. Within the overlap the points of both stay, in order of q; points of equal q are averaged by
    their weights.

    Parameters
    ----------
    parts
        Two or more with equal numbers of frames, low q first, all in the unit of the first; all or none smeared by the
        same slit.
    scale
        True: fit a factor for each part after the first; False: 1; or the factors.
    background
        Fit a constant too.
    overlap
        (low, high) in 1/angstrom for each join; by default all that two parts share.

    Returns
    -------
    Dataset
        ``intensity`` and ``intensity_sigma`` (frame, q); attributes ``merge_scale``, ``merge_scale_sigma`` (frame
        means), one a part.

    Raises
    ------
    SchemaError, ValueError
        Different units, slits or numbers of frames; fewer than 3 common points.
    """
    _alike(parts)
    joins = len(parts) - 1
    if overlap is not None and len(overlap) != joins:
        raise ValueError(f"overlap must be {joins} windows, one a join, got {len(overlap)}")
    factors = scale if isinstance(scale, (list, tuple)) else [None if scale else 1.0] * joins
    if len(factors) != joins:
        raise ValueError(f"scale must be {joins} factors, got {len(factors)}")
    q, values, sigma = curves_of(parts[0], "saxs.merge")
    sigma = _given(parts[0], sigma)
    scales, spreads = [1.0], [0.0]
    for i, part in enumerate(parts[1:]):
        new_q, new, new_sigma = curves_of(part, "saxs.merge")
        new_sigma = _given(part, new_sigma)
        window = overlap[i] if overlap is not None else (max(q[0], new_q[0]), min(q[-1], new_q[-1]))
        a, a_sigma, b = _fit(q, values, sigma, new_q, new, new_sigma, window, factors[i], background)
        scales.append(float(np.mean(a)))
        spreads.append(float(np.mean(a_sigma)))
        q, values, sigma = _joined(q, values, sigma, new_q, new * a[:, None] + b[:, None], new_sigma * a[:, None])
    units = parts[0]["intensity"].attrs.get("units", "1")
    variables = {
        "intensity": quantity(("frame", "q"), values, units, "scattered intensity"),
        "intensity_sigma": quantity(("frame", "q"), sigma, units, "1 sigma of the scattered intensity"),
    }
    done = on_frames(parts[0], variables, merge_scale=scales, merge_scale_sigma=spreads)
    done = done.assign_coords(q=quantity("q", q, "1/angstrom", "scattering vector"))
    for key in ("slit_length", "wavelength", "thickness"):
        if key in parts[0].attrs:
            done.attrs[key] = parts[0].attrs[key]
    told: Any = [list(window) for window in overlap] if overlap is not None else None
    return record(done, "saxs.merge", n_parts=len(parts), scale=scale, background=background, overlap=told)


def _alike(parts: Sequence[xr.Dataset]) -> None:
    if isinstance(parts, xr.Dataset) or len(parts) < 2:
        raise ValueError("saxs.merge takes a list of at least two Datasets, low q first")
    first = parts[0]
    for part in parts[1:]:
        if part.sizes.get("frame", 1) != first.sizes.get("frame", 1):
            got = f"{first.sizes.get('frame', 1)} and {part.sizes.get('frame', 1)}"
            raise SchemaError(f"saxs.merge needs equal numbers of frames, got {got}")
        units = [one["intensity"].attrs.get("units") for one in (first, part)]
        if units[0] != units[1]:
            raise SchemaError(f"saxs.merge cannot join intensities in {units[0]!r} and {units[1]!r}; use saxs.absolute")
        slits = [one.attrs.get("slit_length") for one in (first, part)]
        if slits[0] != slits[1]:
            raise SchemaError(f"saxs.merge cannot join slits of {slits[0]} and {slits[1]}; saxs.desmear first")


def _given(part: xr.Dataset, sigma: np.ndarray | None) -> np.ndarray:
    if sigma is None:
        raise SchemaError("saxs.merge needs intensity_sigma in every part: the joins are weighted by it")
    return sigma


def _fit(
    q: np.ndarray, values: np.ndarray, sigma: np.ndarray, new_q: np.ndarray, new: np.ndarray, new_sigma: np.ndarray,
    window: tuple[float, float], factor: float | None, background: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return factor, its σ and the constant of every frame."""
    at = (new_q >= max(window[0], q[0])) & (new_q <= min(window[1], q[-1]))
    if at.sum() < 3:
        if factor is not None and not background:
            return np.full(len(values), float(factor)), np.zeros(len(values)), np.zeros(len(values))
        raise ValueError(
            f"saxs.merge: {at.sum()} points of the later part lie between {window[0]:.4g} and {window[1]:.4g} "
            "1/angstrom, where the earlier one is known; 3 are needed, or give scale="
        )
    found = np.zeros((3, len(values)))
    for i in range(len(values)):
        positive = np.where(values[i] > 0, values[i], np.nan)
        target = np.exp(np.interp(np.log(new_q[at]), np.log(q), np.log(positive)))
        target = np.where(np.isfinite(target), target, np.interp(new_q[at], q, values[i]))
        variance = np.interp(new_q[at], q, sigma[i]) ** 2
        *found[:, i], chi2 = _fit_frame(target, variance, new[i, at], new_sigma[i, at], factor, background)
        if chi2 > 9:
            text = f"saxs.merge: frame {i}: the parts disagree in their overlap, reduced chi2 {chi2:.1f}"
            warnings.warn(text, stacklevel=4)
    return found[0], found[1], found[2]


def _fit_frame(
    y: np.ndarray, variance: np.ndarray, x: np.ndarray, x_sigma: np.ndarray, factor: float | None, background: bool
) -> tuple[float, float, float, float]:
    """Return factor, its σ, constant and reduced χ² of ``y = factor x + constant``; the factor where none is given."""
    a, spread, b = (1.0 if factor is None else float(factor)), 0.0, 0.0
    for _ in range(4):  # weights hold the factor itself
        w = 1 / (variance + (a * x_sigma) ** 2)
        good = np.isfinite(w) & np.isfinite(x) & np.isfinite(y)
        columns = [x[good]] * (factor is None) + [np.ones(good.sum())] * background
        if not columns:
            break
        design = np.stack(columns, axis=1)
        left = design.T @ (w[good, None] * design)
        rest = y[good] - (0.0 if factor is None else a * x[good])
        part = np.linalg.solve(left, design.T @ (w[good] * rest))
        if factor is None:
            a, spread = float(part[0]), float(np.sqrt(np.linalg.inv(left)[0, 0]))
        b = float(part[-1]) if background else 0.0
    chi2 = float(np.sum(((y - a * x - b)[good]) ** 2 * w[good]) / max(1, good.sum() - len(columns)))
    return a, spread, b, chi2


def _joined(
    q: np.ndarray, values: np.ndarray, sigma: np.ndarray, new_q: np.ndarray, new: np.ndarray, new_sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    every = np.concatenate([q, new_q])
    rows, spread = np.concatenate([values, new], axis=1), np.concatenate([sigma, new_sigma], axis=1)
    unique, inverse = np.unique(every, return_inverse=True)
    weight = np.where(np.isfinite(rows) & (spread > 0), 1 / spread**2, 0.0)
    total = np.stack([np.bincount(inverse, row, unique.size) for row in weight])
    mean = np.stack([np.bincount(inverse, row, unique.size) for row in weight * np.nan_to_num(rows)])
    with np.errstate(divide="ignore", invalid="ignore"):
        return unique, np.where(total > 0, mean / total, np.nan), np.where(total > 0, 1 / np.sqrt(total), np.nan)
