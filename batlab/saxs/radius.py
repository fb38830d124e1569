"""Radius of gyration by Guinier's law with a window that finds itself, and the Kratky view of compactness."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.saxs.series import curves_of, frame_quantity, growth, on_frames, sigma_or_scatter, warn_negative, with_sigma
from batlab.schema import quantity, record

# Shape -> power of q in front, n of q²Rg²/n, and the next term's c of c(qRg)⁴ for a solid sphere, disc and slab.
SHAPES = {"globule": (0, 3.0, 1 / 126), "rod": (1, 2.0, 1 / 48), "sheet": (2, 1.0, 1 / 10)}
STARTS = 40
STATUS = "ok curved few_points no_falling"


def guinier(
    patterns: xr.Dataset,
    *,
    window: tuple[float, float] | None = None,
    shape: str = "globule",
    limit: float = 1.3,
    n_min: int = 8,
) -> xr.Dataset:
    """Return Rg and I(0) of every frame from ``ln(q^α I) = ln I(0) - q² Rg² / n``.

    α and n are 0 and 3 for a globule, 1 and 2 for a rod, 2 and 1 for a sheet. Where `window` is not given it is found
    for each frame: of all windows of at least `n_min` points that begin in the first third of the points and end at
    ``q Rg <= limit``, the one with the least expected error, ``σ² + Δ²``: σ from counting, Δ the change of Rg by a term
    in q⁴: that of a solid sphere (disc, slab), unless the longest window contradicts it by 3 σ. A long window has a
    small σ and bends; a short one is straight and uncertain. First points that contradict those above them (beam stop,
    parasitic scattering) are left out.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q); ``intensity_sigma``, without which the scatter of neighbours is taken.
    window
        (low, high) in 1/angstrom for all frames.
    shape
        ``"globule"``, ``"rod"`` (radius of gyration of the cross section) or ``"sheet"`` (of the thickness).
    limit
        Largest q Rg: 1.3 for globules, less for shells and rods.
    n_min
        Fewest points in a window.

    Returns
    -------
    Dataset
        ``rg`` [angstrom] and ``i0`` (frame) with σ (√(σ² + Δ²), the first grown by √χ² where χ² is clearly above 1),
        ``q_low``, ``q_high``, ``q_rg_low``, ``q_rg_high``, ``n_points``, ``chi2_reduced``, ``curvature`` (Δ/σ),
        ``status``: 0 ok, 1 curved (curvature beyond 3), 2 few points, 3 intensity does not fall; NaN from 2 up.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        Not intensity over (frame, q); a window with fewer than 3 points; an unknown shape.

    References
    ----------
    A. Guinier, Ann. Phys. 11, 161 (1939), doi:10.1051/anphys/193911120161.

    Examples
    --------
    >>> q = np.linspace(0.002, 0.06, 60)
    >>> made = xr.Dataset({"intensity": quantity(("frame", "q"), [np.exp(-(q**2) * 30.0**2 / 3)], "1/cm", "I"),
    ...                    "intensity_sigma": quantity(("frame", "q"), [np.full(60, 1e-3)], "1/cm", "sigma")},
    ...                   {"q": quantity("q", q, "1/angstrom", "q")})
    >>> round(float(guinier(made)["rg"][0]), 6)
    30.0
    """
    choose("shape", shape, list(SHAPES))
    if not limit > 0 or n_min < 3:
        raise ValueError(f"limit must be above 0 and n_min at least 3, got {limit} and {n_min}")
    q, values, sigma = curves_of(patterns, "saxs.guinier", window)
    warn_negative(values[:, : max(3, q.size if window else q.size // 3)], "saxs.guinier")
    sigma = sigma_or_scatter(q, values, sigma, "saxs.guinier")
    rows = np.array(
        [_one(q, y, s, shape, np.inf if window else limit, n_min, bool(window)) for y, s in zip(values, sigma)]
    )
    names = ("rg", "rg_sigma", "i0", "i0_sigma", "q_low", "q_high", "n_points", "chi2_reduced", "curvature", "status")
    found = dict(zip(names, rows.T.reshape(len(names), -1)))
    _warn(found, limit, shape)
    units = patterns["intensity"].attrs.get("units", "1")
    if shape != "globule":
        units = f"{units}/angstrom" if shape == "rod" else f"{units}/angstrom^2"
    variables = {
        **with_sigma("rg", found["rg"], found["rg_sigma"], "angstrom", "radius of gyration"),
        **with_sigma("i0", found["i0"], found["i0_sigma"], units, "intensity at q = 0"),
        "q_low": frame_quantity(found["q_low"], "1/angstrom", "first q of the window"),
        "q_high": frame_quantity(found["q_high"], "1/angstrom", "last q of the window"),
        "q_rg_low": frame_quantity(found["q_low"] * found["rg"], "1", "q Rg at the first point"),
        "q_rg_high": frame_quantity(found["q_high"] * found["rg"], "1", "q Rg at the last point"),
        "n_points": frame_quantity(found["n_points"].astype(int), "1", "points in the window"),
        "chi2_reduced": frame_quantity(found["chi2_reduced"], "1", "reduced chi squared"),
        "curvature": frame_quantity(found["curvature"], "1", "change of Rg by a term in q^4, per statistical sigma"),
        "status": frame_quantity(found["status"].astype(int), "1", "state of the fit", flag_meanings=STATUS),
    }
    done = on_frames(patterns, variables, shape=shape)
    return record(done, "saxs.guinier", window=window, shape=shape, limit=limit, n_min=n_min)


def _one(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, shape: str, limit: float, n_min: int, is_fixed: bool
) -> tuple[float, ...]:
    """Return what `guinier` tells of one frame, in the order of its names."""
    power, divisor, solid = SHAPES[shape]
    good = np.isfinite(y) & np.isfinite(s) & (y > 0) & (s > 0)
    nothing = (*[np.nan] * 6, float(good.sum()), np.nan, np.nan)
    least = 3 if is_fixed else n_min
    if good.sum() < max(4, least):
        return (*nothing, 2.0)
    q, logs = q[good], np.log(y[good]) + power * np.log(q[good])
    fits = _windows(q**2, logs, (y[good] / s[good]) ** 2, is_fixed)
    with np.errstate(invalid="ignore", divide="ignore"):
        rg = np.sqrt(divisor * -fits["slope"])
        inside = (fits["slope"] < 0) & (q[None, :] * rg <= limit) & (fits["n"] >= least)
        if not inside.any():
            return (*nothing, 3.0)
        first, bend = _bend(fits, inside, solid * (rg * q[-1]) ** 4)
        shift = bend * np.abs(fits["lean"] / fits["slope"])
        error = fits["slope_sigma"] / -fits["slope"]
        inside[:first] = False
        loss = np.where(inside, error**2 + shift**2, np.inf)
    i, j = np.unravel_index(int(np.argmin(loss)), loss.shape)
    grow = growth(fits["chi2"][i, j], fits["n"][i, j] - 2)
    value, level = rg[i, j], np.exp(fits["level"][i, j])
    spread = np.hypot(error[i, j] * grow, shift[i, j])
    return (
        value, 0.5 * value * spread, level, level * fits["level_sigma"][i, j] * grow * spread / (error[i, j] * grow),
        q[fits["start"][i]], q[j], fits["n"][i, j], fits["chi2"][i, j], shift[i, j] / (error[i, j] * grow),
        float(shift[i, j] > 3 * error[i, j] * grow),
    )  # fmt: skip


def _bend(fits: dict[str, np.ndarray], inside: np.ndarray, solid: np.ndarray) -> tuple[int, float]:
    """Return the first start that the points above it do not contradict, and the bend from there.

    It bends like a solid body, unless the longest window from there says otherwise by 3 σ: told by each window,
    it would be the one that is straight by chance.
    """
    rows = np.flatnonzero(inside.any(axis=1))
    last = inside.shape[1] - 1 - np.argmax(inside[rows, ::-1], axis=1)
    chi2, n = fits["chi2_curved"][rows, last], fits["n"][rows, last]
    fair = np.flatnonzero(chi2 <= (1 + 2 * np.sqrt(2 / np.maximum(n - 3, 1))) * max(1.0, float(np.min(chi2))))
    k = int(fair[0])
    at = rows[k], last[k]
    bend, spread, expected = -fits["bend"][at], fits["bend_sigma"][at] * np.sqrt(max(1.0, chi2[k])), solid[at]
    return int(rows[k]), float(abs(bend) if abs(bend - expected) > 3 * spread else expected)


def _windows(t: np.ndarray, y: np.ndarray, w: np.ndarray, is_fixed: bool) -> dict[str, np.ndarray]:
    """Return straight and curved fits of ``y`` over ``t`` for every start and every end, by running sums."""
    n = t.size
    starts = np.array([0]) if is_fixed else np.unique(np.linspace(0, max(0, n // 3), STARTS).astype(int))
    ends = np.array([n - 1]) if is_fixed else np.arange(n)
    scale = t[-1]
    u = t / scale
    zero, weighted = np.zeros(1), [w * u**k for k in range(5)]
    sums = [np.concatenate([zero, np.cumsum(one)]) for one in weighted]
    centre = np.average(y, weights=w)
    ys = [
        np.concatenate([zero, np.cumsum(one * (y - centre) ** p)]) for one, p in zip(weighted[:3] + [w], (1, 1, 1, 2))
    ]
    at = np.full(ends.max() + 1, False)
    at[ends] = True
    s0, s1, s2, s3, s4 = (one[1:][None, :] - one[starts][:, None] for one in sums)
    y0, y1, y2, yy = (one[1:][None, :] - one[starts][:, None] for one in ys)
    count = np.arange(1, n + 1)[None, :] - starts[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        det = s0 * s2 - s1**2
        slope, level = (s0 * y1 - s1 * y0) / det, (s2 * y0 - s1 * y1) / det
        # The curved fit's slope less the straight one's: the quadratic coefficient times how far u² leans on u.
        lean1, lean0 = (s0 * s3 - s1 * s2) / det, (s2 * s2 - s1 * s3) / det
        own = s4 - lean1 * s3 - lean0 * s2
        bend = (y2 - lean1 * y1 - lean0 * y0) / own
        misfit = np.maximum(yy - slope * y1 - level * y0, 0.0)
        slope_sigma, level_sigma = np.sqrt(s0 / det), np.sqrt(s2 / det)
        chi2 = misfit / np.maximum(count - 2, 1)
        bend_sigma = 1 / np.sqrt(np.maximum(own, 0.0))
        curved = np.maximum(misfit - bend**2 * own, 0.0) / np.maximum(count - 3, 1)
    usable = at[None, :] & (count >= 3) & (det > 1e-14 * s0 * s2) & (own > 0)
    found = {
        "slope": slope / scale, "level": level + centre, "slope_sigma": slope_sigma / scale,
        "level_sigma": level_sigma, "chi2": chi2, "lean": lean1 / scale, "bend": bend, "bend_sigma": bend_sigma,
        "chi2_curved": curved,
    }  # fmt: skip
    return {**{key: np.where(usable, value, np.nan) for key, value in found.items()}, "n": count, "start": starts}


def _warn(found: dict[str, np.ndarray], limit: float, shape: str) -> None:
    bad = found["status"] > 0
    if bad.any():
        words = STATUS.split()
        told = ", ".join(
            f"{int(np.sum(found['status'] == k))} {words[k]}" for k in (1, 2, 3) if (found["status"] == k).any()
        )
        warnings.warn(f"saxs.guinier: {told} of {bad.size} frames; see 'status'", stacklevel=3)
    reach = found["q_high"] * found["rg"]
    over, late = reach > 1.05 * limit, found["q_low"] * found["rg"] > 1.0
    for which, text in ((over, f"reaches q Rg beyond {limit:g}"), (late & ~over, "begins only at q Rg above 1")):
        if which.any():
            worst = np.nanmax(np.where(which, reach if which is over else found["q_low"] * found["rg"], np.nan))
            warnings.warn(
                f"saxs.guinier: the window of {which.sum()} of {which.size} frames {text} (up to {worst:.2f}): Rg of a "
                f"{shape} is not to be trusted there",
                stacklevel=3,
            )


def kratky(patterns: xr.Dataset, guinier_result: xr.Dataset | None = None) -> xr.Dataset:
    """Return Kratky's view q² I, and with Rg and I(0) the one without units, ``(q Rg)² I / I(0)``.

    A compact particle peaks at q Rg = √3 with 3/e = 1.104; a chain rises to a plateau, 2 for a Gaussian one.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q).
    guinier_result
        What `guinier` returned for the same frames.

    Returns
    -------
    Dataset
        ``kratky`` (frame, q) [1/(cm angstrom²), or 1 with `guinier_result`] with σ of the intensity alone; then also
        ``q_rg`` (frame, q).

    Examples
    --------
    >>> q = quantity("q", [0.01, 0.02, 0.03], "1/angstrom", "q")
    >>> made = xr.Dataset({"intensity": quantity(("frame", "q"), [[3.0, 2.0, 1.0]], "1/cm", "I")}, {"q": q})
    >>> kratky(made)["kratky"].values.round(6)
    array([[0.0003, 0.0008, 0.0009]])
    """
    q, values, sigma = curves_of(patterns, "saxs.kratky")
    warn_negative(values, "saxs.kratky", 0.2)
    units = f"{patterns['intensity'].attrs.get('units', '1')}/angstrom^2"
    factor = np.broadcast_to(q**2, values.shape)
    extra = {}
    if guinier_result is not None:
        if guinier_result.sizes.get("frame") != len(values):
            got = guinier_result.sizes.get("frame")
            raise ValueError(f"saxs.kratky needs the Guinier result of the same {len(values)} frames, got {got}")
        rg, i0 = (guinier_result[name].values[:, None] for name in ("rg", "i0"))
        factor, units = (q * rg) ** 2 / i0, "1"
        extra["q_rg"] = quantity(("frame", "q"), q * rg, "1", "q Rg")
    variables = {"kratky": quantity(("frame", "q"), factor * values, units, "q^2 I")}
    if sigma is not None:
        variables["kratky_sigma"] = quantity(("frame", "q"), factor * sigma, units, "1 sigma of q^2 I")
    done = on_frames(patterns, {**variables, **extra})
    done = done.assign_coords(q=quantity("q", q, "1/angstrom", "scattering vector"))
    return record(done, "saxs.kratky", guinier_result=guinier_result)
