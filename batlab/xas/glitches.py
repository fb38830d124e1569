"""Glitches: points that are not absorption."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.xas.grids import curves_of, energies_of

FUNCTION = "xas.deglitch"
NEAR = 12  # points on either side whose scatter a glitch must exceed
STEPS = 4  # steps on either side of which a glitch must exceed the usual one
UNEVEN = 4.0  # steps next to a point that differ by more than this factor: it is not judged
MOST_ROUNDS = 30
CHUNK = 64  # frames at once
MAD = 1.4826  # of a Gaussian: its σ over its median absolute deviation


def deglitch(
    series: xr.Dataset,
    *,
    at: Sequence[float] | float | None = None,
    ranges: Sequence[tuple[float, float]] | None = None,
    threshold: float = 6.0,
    fill: str = "nan",
    of: str = "mu",
) -> xr.Dataset:
    """Return the series with glitches taken out: those named, or else those found.

    Found is a point that departs from the cubic through its two neighbours on either side by more than `threshold`
    times what the 12 points on either side do by their median, and by more than the usual step from
    point to point about it, which the edge itself does not. The worst is taken out first, its neighbours are looked at
    again without it; so glitches of one to three points are found. A white line of very few points may look like one:
    look at what is reported, or name the points.

    Parameters
    ----------
    series
        `of` over (``frame``, ``energy``) or (``energy``), in eV, increasing.
    at
        Energies in eV whose nearest points are taken out, in all frames.
    ranges
        (from, to) in eV, ends included, taken out in all frames.
    threshold
        For found ones; in σ.
    fill
        ``"nan"``, or ``"interpolate"``: linearly between the points left and right, σ too.
    of
        The variable.

    Returns
    -------
    xarray.Dataset
        With `of` and its σ changed, ``glitch_mask`` like `of`, True at what was taken out, and the attribute
        ``glitches``: the energies in eV at which any frame lost a point.

    Raises
    ------
    ValueError
        An energy outside the spectrum, a range without points, `threshold` not positive, unknown words.

    Warns
    -----
    UserWarning
        More than 3 % of the points were found: noise is not Gaussian, or structure is taken for glitches.

    Examples
    --------
    >>> energy, mu = np.arange(8400.0, 8500.0), np.linspace(1.2, 1.1, 100)
    >>> mu[40] += 0.2
    >>> scan = xr.Dataset({"mu": quantity("energy", mu + 1e-3 * np.sin(7 * energy), "1", "absorption")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> deglitch(scan).attrs["glitches"]
    [8440.0]
    """
    choose("fill", fill, ["nan", "interpolate"])
    if not np.isfinite(threshold) or threshold <= 0:
        raise ValueError(f"{FUNCTION}: threshold must be positive, got {threshold!r}")
    energy = energies_of(series, FUNCTION)
    curves = curves_of(series, of, FUNCTION, "make it with xas.mu")
    values = np.array(np.atleast_2d(curves.values), dtype=float)
    if at is None and ranges is None:
        bad = np.concatenate([
            found(energy if len(energy) == 1 else energy[i : i + CHUNK], values[i : i + CHUNK], threshold)
            for i in range(0, len(values), CHUNK)
        ]) if len(values) else np.zeros(values.shape, dtype=bool)  # fmt: skip
        _warn_of_many(bad, np.isfinite(values))
    else:
        bad = np.broadcast_to(_named(energy, at, ranges), values.shape)
    sigma = np.array(np.atleast_2d(series[f"{of}_sigma"].values), dtype=float) if f"{of}_sigma" in series else None
    _take_out(energy, values, sigma, bad, fill)
    result = series.copy()
    for name, changed in ((of, values), (f"{of}_sigma", sigma)):
        if changed is not None:
            old = series[name]
            result[name] = old.dims, changed.reshape(old.shape).astype(old.dtype, copy=False), old.attrs
    dims = tuple(map(str, curves.dims))
    result["glitch_mask"] = quantity(dims, bad.reshape(curves.shape), "1", "taken out as a glitch")
    result.attrs["glitches"] = np.unique(np.broadcast_to(energy, bad.shape)[bad]).tolist()
    named: dict[str, Any] = {name: value for name, value in (("at", at), ("ranges", ranges)) if value is not None}
    return record(result, FUNCTION, **(named or {"threshold": threshold}), fill=fill, of=of)


def found(energy: np.ndarray, values: np.ndarray, threshold: float) -> np.ndarray:
    """Return (frame, point) whether each is a glitch."""
    bad = np.zeros(values.shape, dtype=bool)
    open_rows = np.arange(len(values))
    for _ in range(MOST_ROUNDS):
        left = values[open_rows].copy()
        left[bad[open_rows]] = np.nan
        grid = energy if len(energy) == 1 else energy[open_rows]
        strength = np.stack([
            _departure(grid[i if len(grid) > 1 else 0], row) for i, row in enumerate(left)
        ])  # fmt: skip
        around = np.lib.stride_tricks.sliding_window_view(np.pad(strength, ((0, 0), (2, 2))), 5, axis=1).max(axis=2)
        new = (strength > threshold) & (strength >= around)
        bad[open_rows] |= new
        open_rows = open_rows[new.any(axis=1)]
        if not len(open_rows):
            break
    return bad


def _departure(energy: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return by how many times the local scatter each point departs from its neighbours' cubic; 0 where unknown."""
    strength = np.zeros(len(values))
    keep = np.flatnonzero(np.isfinite(values) & np.isfinite(energy))
    x, y = energy[keep], values[keep]
    if len(x) < 2 * NEAR + 1:
        return strength
    offset = np.stack([x[i : len(x) - 4 + i] - x[2:-2] for i in (0, 1, 3, 4)])
    weight = np.ones(offset.shape)
    for a in range(4):
        for b in range(4):
            if a != b:
                weight[a] *= offset[b] / (offset[b] - offset[a])
    guess = (weight * np.stack([y[i : len(y) - 4 + i] for i in (0, 1, 3, 4)])).sum(axis=0)
    miss = np.abs(y[2:-2] - guess)
    away = miss / np.sqrt(1 + (weight**2).sum(axis=0))
    padded = np.pad(away, NEAR, mode="reflect")
    scatter = MAD * np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR + 1), axis=1)
    steps = np.pad(np.abs(np.diff(y)), STEPS - 2, mode="reflect")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(steps, 2 * STEPS), axis=1)
    # Where more than half of the points repeat each other nothing can be said.
    # Where the grid changes a cubic over both parts says nothing of the finer one.
    gaps = np.diff(x)
    four = np.stack([gaps[i : len(gaps) - 3 + i] for i in range(4)])
    even = four.max(axis=0) < UNEVEN * four.min(axis=0)
    sure = (scatter > 1e-12 * np.ptp(y)) & (miss > usual) & even
    strength[keep[2:-2]] = np.divide(away, scatter, out=np.zeros(len(away)), where=sure)
    return strength


def _named(
    energy: np.ndarray, at: Sequence[float] | float | None, ranges: Sequence[tuple[float, float]] | None
) -> np.ndarray:
    bad = np.zeros(energy.shape, dtype=bool)
    lowest, highest = np.nanmin(energy), np.nanmax(energy)
    for one in np.atleast_1d(np.asarray([] if at is None else at, dtype=float)):
        if not lowest <= one <= highest:
            raise ValueError(f"{FUNCTION}: {one:g} eV lies outside the spectrum, {lowest:g} to {highest:g} eV")
        bad[np.arange(len(energy)), np.nanargmin(np.abs(energy - one), axis=1)] = True
    for low, high in [] if ranges is None else ranges:
        inside = (energy >= low) & (energy <= high)
        if not inside.any():
            raise ValueError(
                f"{FUNCTION}: the range ({low:g}, {high:g}) eV holds no point of {lowest:g} to {highest:g}"
            )
        bad |= inside
    return bad


def _take_out(energy: np.ndarray, values: np.ndarray, sigma: np.ndarray | None, bad: np.ndarray, fill: str) -> None:
    values[bad] = np.nan
    if sigma is not None:
        sigma[bad] = np.nan
    if fill == "nan":
        return
    for row in np.flatnonzero(bad.any(axis=1)):
        x = energy[row if len(energy) > 1 else 0]
        good, lost = np.flatnonzero(np.isfinite(values[row])), np.flatnonzero(bad[row])
        right = np.searchsorted(good, lost)
        between = (right > 0) & (right < len(good))
        lost, left, right = lost[between], good[right[between] - 1], good[right[between]]
        part = (x[lost] - x[left]) / (x[right] - x[left])
        values[row, lost] = (1 - part) * values[row, left] + part * values[row, right]
        if sigma is not None:
            sigma[row, lost] = np.hypot((1 - part) * sigma[row, left], part * sigma[row, right])


def _warn_of_many(bad: np.ndarray, known: np.ndarray) -> None:
    share = bad.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    if (share > 0.03).any():
        warnings.warn(
            f"{FUNCTION}: up to {100 * share.max():.1f} % of the points of a frame (first "
            f"{int((share > 0.03).argmax())}) were taken for glitches; raise threshold, or name them with at= or "
            "ranges=",
            UserWarning,
            stacklevel=3,
        )
