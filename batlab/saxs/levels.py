"""Structures within structures: Beaucage's unified levels, each a Guinier knee and the power law above it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from batlab.saxs.series import curves_of, frame_quantity, growth, on_frames, sigma_or_scatter
from batlab.saxs.slit import smeared
from batlab.schema import quantity, record

POWERS = (1.0, 4.5)


def unified(
    patterns: xr.Dataset,
    rg: Sequence[float],
    *,
    power: Sequence[float] | float = 4.0,
    fixed_power: bool = False,
    background: bool = True,
    window: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Fit levels of structure to every frame, smallest first, each frame begun from the last.

    ``I(q) = ∑ [G_i exp(-q² Rg_i²/3) + B_i exp(-q² Rg_(i-1)²/3) (erf(q Rg_i/√6)³/q)^P_i] + C``: the power law of a
    level ends where the next smaller one begins. G, B and C are found exactly (not below 0) for each Rg and P; only
    these are searched.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q), ``intensity_sigma``; slit-smeared where the attribute ``slit_length`` says so.
    rg
        A rough radius of gyration of each level in angstrom, rising; infinity for a power law without a knee.
    power
        P at the start, one or one a level, 1 to 4.5.
    fixed_power
        Keep it.
    background
        Fit the constant C.
    window
        (low, high) in 1/angstrom.

    Returns
    -------
    Dataset
        Over (frame, component), smallest level first: ``rg`` [angstrom], ``power``, ``guinier`` G, ``power_law`` B with
        σ; ``background``, ``chi2_reduced`` (frame), ``status`` (0 ok, 1 at a bound, 2 no data); ``intensity_fit``.

    Raises
    ------
    ValueError
        Radii that do not rise, a power outside 1 to 4.5.

    References
    ----------
    G. Beaucage, J. Appl. Cryst. 28, 717 (1995), doi:10.1107/S0021889895005292.
    """
    start = np.asarray(rg, float)
    powers = np.broadcast_to(np.asarray(power, float), start.shape).copy()
    if start.ndim != 1 or not start.size or not (start > 0).all() or (np.diff(start) <= 0).any():
        raise ValueError(f"rg must be rising radii above 0 in angstrom, smallest level first, got {rg!r}")
    if not ((powers >= POWERS[0]) & (powers <= POWERS[1])).all():
        raise ValueError(f"power must be within {POWERS[0]} and {POWERS[1]}, got {power!r}")
    q, values, sigma = curves_of(patterns, "saxs.unified", window)
    sigma = sigma_or_scatter(q, values, sigma, "saxs.unified")
    slit = patterns.attrs.get("slit_length")
    rows: list[dict[str, Any]] = []
    for y, s in zip(values, sigma):
        row = _one(q, y, s, start, powers, fixed_power, background, slit)
        rows.append(row)
        if row["status"] == 0:
            start, powers = row["rg"], row["power"]
    poor = sum(row["status"] > 0 for row in rows)
    if poor:
        warnings.warn(f"saxs.unified: {poor} of {len(rows)} frames are at a bound or without data", stacklevel=2)
    units = patterns["intensity"].attrs.get("units", "1")
    variables = {}
    for name, unit, told in (
        ("rg", "angstrom", "radius of gyration of the level"), ("power", "1", "exponent of the power law"),
        ("guinier", units, "Guinier prefactor"), ("power_law", f"{units}/angstrom^p", "power-law prefactor"),
    ):  # fmt: skip
        for ending, text in (("", told), ("_sigma", f"1 sigma of the {told}")):
            table = np.stack([row[name + ending] for row in rows])
            variables[name + ending] = quantity(("frame", "component"), table, unit, text)
    variables["background"] = frame_quantity([row["background"] for row in rows], units, "constant background")
    variables["chi2_reduced"] = frame_quantity([row["chi2"] for row in rows], "1", "reduced chi squared")
    flags = "ok at_bound no_data"
    variables["status"] = frame_quantity([row["status"] for row in rows], "1", "state of the fit", flag_meanings=flags)
    fits = np.stack([row["fit"] for row in rows])
    variables["intensity_fit"] = quantity(("frame", "q"), fits, units, "intensity of the fit")
    done = on_frames(patterns, variables).assign_coords(
        component=quantity("component", np.arange(1, len(rg) + 1), "1", "level, smallest first"),
        q=quantity("q", q, "1/angstrom", "scattering vector"),
    )
    return record(
        done, "saxs.unified", rg=list(map(float, rg)), power=power, fixed_power=fixed_power, background=background,
        window=window,
    )  # fmt: skip


def _columns(q: np.ndarray, rg: np.ndarray, power: np.ndarray, background: bool, slit: float | None) -> np.ndarray:
    """Return (q, 2 levels + 1): what G = 1, B = 1 of each level and C = 1 scatter; no knee where Rg is infinite."""
    from scipy.special import erf

    def knee(u: np.ndarray, i: int) -> np.ndarray:
        return np.exp(-(u**2) * rg[i] ** 2 / 3) if np.isfinite(rg[i]) else np.zeros_like(u)

    def law(u: np.ndarray, i: int) -> np.ndarray:
        rise = erf(u * rg[i] / np.sqrt(6)) ** 3 if np.isfinite(rg[i]) else 1.0
        end = np.exp(-(u**2) * rg[i - 1] ** 2 / 3) if i else 1.0
        return end * (rise / u) ** power[i]

    made = []
    for i in range(rg.size):
        made += [smeared(partial(one, i=i), q, slit) for one in (knee, law)]
    return np.column_stack([*made, np.ones_like(q)] if background else made)


def _one(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, start: np.ndarray, powers: np.ndarray, fixed: bool, background: bool,
    slit: float | None,
) -> dict[str, Any]:  # fmt: skip
    from scipy.optimize import least_squares, nnls

    n, used = start.size, np.isfinite(y) & np.isfinite(s)
    searched = np.flatnonzero(np.isfinite(start))
    count = searched.size + (0 if fixed else n) + 2 * n + background
    if used.sum() <= count:
        nothing = {
            f"{name}{end}": np.full(n, np.nan)
            for name in ("rg", "power", "guinier", "power_law")
            for end in ("", "_sigma")
        }
        return {**nothing, "background": np.nan, "chi2": np.nan, "status": 2, "fit": np.full(q.size, np.nan)}
    at, target, weight = q[used], y[used] / s[used], 1 / s[used]

    def unpack(free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rg = start.copy()
        rg[searched] = np.exp(free[: searched.size])
        return rg, (powers if fixed else free[searched.size :])

    def linear(free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        matrix = _columns(at, *unpack(free), background, slit) * weight[:, None]
        size = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
        return matrix, nnls(matrix / size, target)[0] / size

    def residual(free: np.ndarray) -> np.ndarray:
        matrix, part = linear(free)
        return matrix @ part - target

    first = np.concatenate([np.log(start[searched]), [] if fixed else powers])
    low = np.concatenate([np.log(start[searched] / 5), np.full(0 if fixed else n, POWERS[0])])
    high = np.concatenate([np.log(start[searched] * 5), np.full(0 if fixed else n, POWERS[1])])
    found = first
    if first.size:
        found = least_squares(residual, np.clip(first, low + 1e-6, high - 1e-6), bounds=(low, high), x_scale=0.1).x
    rg, power = unpack(found)
    matrix, part = linear(found)
    misfit = float(np.sum((matrix @ part - target) ** 2))
    chi2 = misfit / (used.sum() - count)
    spread = _spread(found, part, matrix, linear, background) * growth(chi2, used.sum() - count)
    rg_sigma = np.zeros(n)
    rg_sigma[searched] = spread[: searched.size] * rg[searched]
    power_sigma = np.zeros(n) if fixed else spread[searched.size : found.size]
    amounts, amounts_sigma = part[: 2 * n], spread[found.size : found.size + 2 * n]
    at_bound = bool(first.size and (np.minimum(found - low, high - found) < 1e-4).any())
    fit = _columns(q, rg, power, background, slit) @ part
    return {
        "rg": rg, "rg_sigma": rg_sigma, "power": np.asarray(power, float), "power_sigma": power_sigma,
        "guinier": amounts[::2], "guinier_sigma": amounts_sigma[::2], "power_law": amounts[1::2],
        "power_law_sigma": amounts_sigma[1::2], "background": part[-1] if background else 0.0, "chi2": chi2,
        "status": int(at_bound), "fit": fit,
    }  # fmt: skip


def _spread(found: np.ndarray, part: np.ndarray, matrix: np.ndarray, linear: Any, background: bool) -> np.ndarray:
    """Return σ of the searched and of the linear parameters together; 0 for a linear one that is held at 0."""
    slopes = []
    for i in range(found.size):
        step = np.zeros(found.size)
        step[i] = 1e-5
        slopes.append((linear(found + step)[0] @ part - linear(found - step)[0] @ part) / 2e-5)
    free = part > 0
    jacobian = np.column_stack([*slopes, matrix[:, free]]) if slopes else matrix[:, free]
    size = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
    covariance = np.linalg.pinv((jacobian / size).T @ (jacobian / size), rcond=1e-13)
    own = np.sqrt(np.maximum(np.diag(covariance), 0)) / size
    spread = np.zeros(found.size + part.size)
    spread[: found.size] = own[: found.size]
    spread[found.size :][free] = own[found.size :]
    return spread
