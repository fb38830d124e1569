"""Radius of gyration by Guinier's law with a window that finds itself, and the Kratky view of compactness."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.saxs.series import curves_of, frame_quantity, growth, on_frames, sigma_or_scatter, warn_negative, with_sigma
from batlab.schema import quantity, record

# Shape -> power of q in front, n of q²Rg²/n, (qR/(qRg))² of a solid sphere, disc and slab, and where their zero is far.
SHAPES = {"globule": (0, 3.0, 5 / 3, 2.8), "rod": (1, 2.0, 2.0, 2.1), "sheet": (2, 1.0, 3.0, 1.4)}
STARTS = 40
STATUS = "ok curved few_points no_falling"


def guinier(
    patterns: xr.Dataset,
    *,
    window: tuple[float, float] | None = None,
    shape: str = "globule",
    limit: float | None = None,
    n_min: int = 8,
    bend: float | None = 1.0,
) -> xr.Dataset:
    """Return Rg and I(0) of every frame from ``ln(q^α I) = ln I(0) - q² Rg² / n + a s(q Rg)``.

    α and n are 0 and 3 for a globule, 1 and 2 for a rod, 2 and 1 for a sheet. s is how a solid sphere (disc, slab)
    departs from Guinier's law, for a sphere ``-(q Rg)⁴/126`` and higher terms; its amount a is fitted, and known
    beforehand to be `bend` ± 1: hollow shells have 1.4, solid spheres 1, flat discs and spheres of which the radii
    scatter by a fifth 0, chains -3.5. Where the longest window contradicts that by 3 σ and by 2, it is known as badly
    as that. The terms in q⁶ are as uncertain as a solid body's are large.

    Where `window` is not given it is found for each frame: of all windows of at least `n_min` points that begin in the
    first third of the points and end at ``q Rg <= limit``, the one with the least σ. In a short window counting is
    poor, in a long one the law. First points that contradict those above them (beam stop, parasitic scattering) are
    left out.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q); ``intensity_sigma``, without which the scatter of neighbours is taken.
    window
        (low, high) in 1/angstrom for all frames.
    shape
        ``"globule"``, ``"rod"`` (radius of gyration of the cross section) or ``"sheet"`` (of the thickness).
    limit
        Largest q Rg; by default 1.7, for a straight line 1.3.
    n_min
        Fewest points in a window.
    bend
        What a is thought to be; None: 0 is taken, a straight line as most programs draw it: Rg of a solid sphere
        comes out too large, by 1.2 % where the noise is 1 %; σ holds that.

    Returns
    -------
    Dataset
        ``rg`` [angstrom] and ``i0`` (frame) with σ (of counting, grown by √χ² where χ² is clearly above 1, and of a),
        ``bend`` a with σ, ``q_low``, ``q_high``, ``q_rg_low``, ``q_rg_high``, ``n_points``, ``chi2_reduced``,
        ``status``: 0 ok, 1 curved (the data contradict `bend` ± 2), 2 few points, 3 intensity does not fall; NaN from 2
        up.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        Not intensity over (frame, q); a window with fewer than 3 points; an unknown shape; a `bend` beyond -10 to 10.

    References
    ----------
    A. Guinier, Ann. Phys. 11, 161 (1939), doi:10.1051/anphys/193911120161.

    Examples
    --------
    >>> from batlab.saxs import sphere
    >>> q = np.linspace(0.002, 0.06, 60)
    >>> made = xr.Dataset({"intensity": quantity(("frame", "q"), [sphere(q, 40.0)], "1/cm", "I"),
    ...                    "intensity_sigma": quantity(("frame", "q"), [0.01 * sphere(q, 40.0)], "1/cm", "sigma")},
    ...                   {"q": quantity("q", q, "1/angstrom", "q")})
    >>> round(float(guinier(made)["rg"][0] / np.sqrt(0.6)), 2)
    40.0
    """
    choose("shape", shape, list(SHAPES))
    limit = (1.3 if bend is None else 1.7) if limit is None else limit
    if not limit > 0 or n_min < 3:
        raise ValueError(f"limit must be above 0 and n_min at least 3, got {limit} and {n_min}")
    if bend is not None and not abs(bend) <= 10:
        raise ValueError(f"bend must be None or within -10 and 10, 1 for solid bodies, got {bend!r}")
    q, values, sigma = curves_of(patterns, "saxs.guinier", window)
    warn_negative(values[:, : max(3, q.size if window else q.size // 3)], "saxs.guinier")
    sigma = sigma_or_scatter(q, values, sigma, "saxs.guinier")
    reach = np.inf if window else limit
    rows = np.array([_one(q, y, s, shape, reach, n_min, bool(window), bend) for y, s in zip(values, sigma)])
    names = (
        "rg",
        "rg_sigma",
        "i0",
        "i0_sigma",
        "q_low",
        "q_high",
        "n_points",
        "chi2_reduced",
        "bend",
        "bend_sigma",
        "status",
    )
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
        **with_sigma("bend", found["bend"], found["bend_sigma"], "1", "departure from the law, of a solid body's"),
        "status": frame_quantity(found["status"].astype(int), "1", "state of the fit", flag_meanings=STATUS),
    }
    done = on_frames(patterns, variables, shape=shape)
    return record(done, "saxs.guinier", window=window, shape=shape, limit=limit, n_min=n_min, bend=bend)


def _one(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, shape: str, limit: float, n_min: int, is_fixed: bool,
    bend: float | None,
) -> tuple[float, ...]:  # fmt: skip
    """Return what `guinier` tells of one frame, in the order of its names."""
    power, divisor, *_ = SHAPES[shape]
    good = np.isfinite(y) & np.isfinite(s) & (y > 0) & (s > 0)
    nothing = (*[np.nan] * 6, float(good.sum()), *[np.nan] * 3)
    least = 3 if is_fixed else n_min
    if good.sum() < max(4, least):
        return (*nothing, 2.0)
    q, logs, weight = q[good], np.log(y[good]) + power * np.log(q[good]), (y[good] / s[good]) ** 2
    fits = _windows(q**2, logs, weight, q**4, is_fixed)
    with np.errstate(invalid="ignore"):
        inside = (fits["slope"] < 0) & (q[None, :] ** 2 * divisor * -fits["slope"] <= limit**2) & (fits["n"] >= least)
    if not inside.any():
        return (*nothing, 3.0)
    first = int(np.argmax(inside.any(axis=1)))
    rg = float(np.sqrt(divisor * -fits["slope"][first, np.flatnonzero(inside[first])[-1]]))
    for _ in range(2):  # the departure needs an Rg
        fits = _windows(q**2, logs, weight, _departure(q * rg, shape), is_fixed)
        bent = _bent(fits, q, shape, limit, least, bend)
        error, slope = bent["error"], bent["slope"]
        if np.isinf(error).all():
            return (*nothing, 3.0)
        loss = np.divide(error, -slope, out=np.full_like(error, np.inf), where=np.isfinite(error))
        i, j = np.unravel_index(int(np.argmin(loss)), loss.shape)
        rg = float(np.sqrt(divisor * -slope[i, j]))
    at = {key: value[i, j] for key, value in bent.items() if key != "is_curved"}
    grow, i0 = growth(at["chi2"], fits["n"][i, j] - 2), np.exp(at["level"])
    return (
        rg, 0.5 * rg * grow * at["error"] / -at["slope"], i0, i0 * grow * at["level_error"], q[fits["start"][i]], q[j],
        fits["n"][i, j], at["chi2"], at["amount"], at["amount_error"], float(bent["is_curved"]),
    )  # fmt: skip


def _departure(z: np.ndarray, shape: str) -> np.ndarray:
    """Return how ln I of a solid sphere, disc or slab departs from Guinier's law at z = q Rg, up to near its zero."""
    from scipy.special import jv

    _, divisor, per_radius, last = SHAPES[shape]
    z = np.minimum(z, last)
    x = np.sqrt(per_radius) * z
    if shape == "globule":
        # 3 j₁(x)/x in the half-integer Bessel function that loses no digits at small x
        amplitude = 3 * np.sqrt(np.pi / 2) * jv(1.5, x) / x**1.5
    else:
        amplitude = 2 * jv(1, x) / x if shape == "rod" else np.sinc(x / np.pi)
    return 2 * np.log(amplitude) + z**2 / divisor


@cache
def _beyond(shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Return z, and by how much of itself a slope changes by a solid body's terms beyond q⁴ where a window ends at z.

    A third power in q² that a parabola replaces over 0 to 1 turns its slope at 0 by 0.6 (Legendre).
    """
    z = np.linspace(0.2, SHAPES[shape][3], 100)
    departure = _departure(z, shape)
    return z, 0.6 * SHAPES[shape][1] * np.abs(departure - departure[0] * (z / z[0]) ** 4) / z**2


def _bent(
    fits: dict[str, np.ndarray], q: np.ndarray, shape: str, limit: float, least: int, bend: float | None
) -> dict[str, Any]:
    """Return slope, its σ (infinite for windows that do not count), level and amount of the bend of every window.

    How far the bend may be from what is thought is told by the longest window alone: told by each, the best one would
    be the one that is straight by chance.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = q[None, :] * np.sqrt(SHAPES[shape][1] * -fits["slope"])
        inside = (fits["slope"] < 0) & (z <= limit) & (fits["n"] >= least)
        if not inside.any():
            return {"slope": fits["slope"], "error": np.full(z.shape, np.inf)}
        thought = 1.0 if bend is None else bend
        first, spread = _spread(fits, inside, thought)
        inside[:first] = False
        share = spread**2 / (spread**2 + fits["bend_sigma"] ** 2)  # of the window's own a; the rest is what was thought
        amount, variance = share * fits["bend"] + (1 - share) * thought, share * fits["bend_sigma"] ** 2
        if bend is None:
            amount, variance = 0.0 * share, spread**2 + 0.0 * share
        slope = fits["slope"] - fits["lean"] * amount
        error = np.hypot(fits["slope_sigma"], fits["lean"] * np.sqrt(variance))
        error = np.hypot(error, slope * np.interp(z, *_beyond(shape)))
        misfit = fits["chi2_curved"] * (fits["n"] - 3) + ((amount - fits["bend"]) / fits["bend_sigma"]) ** 2
        return {
            "slope": slope, "error": np.where(inside & (slope < 0), error, np.inf),
            "level": fits["level"] - fits["lean_level"] * amount,
            "level_error": np.hypot(fits["level_sigma"], fits["lean_level"] * np.sqrt(variance)),
            "amount": amount, "amount_error": np.sqrt(variance), "chi2": misfit / np.maximum(fits["n"] - 2, 1),
            "is_curved": spread > 1.0,
        }  # fmt: skip


def _spread(fits: dict[str, np.ndarray], inside: np.ndarray, thought: float) -> tuple[int, float]:
    """Return the first start that the points above it do not contradict, and by how much the bend may be another."""
    rows = np.flatnonzero(inside.any(axis=1))
    last = inside.shape[1] - 1 - np.argmax(inside[rows, ::-1], axis=1)
    chi2, n = fits["chi2_curved"][rows, last], fits["n"][rows, last]
    fair = np.flatnonzero(chi2 <= (1 + 2 * np.sqrt(2 / np.maximum(n - 3, 1))) * max(1.0, float(np.min(chi2))))
    k = int(fair[0])
    at = rows[k], last[k]
    off, sigma = abs(fits["bend"][at] - thought), fits["bend_sigma"][at] * np.sqrt(max(1.0, chi2[k]))
    return int(rows[k]), float(off if off > max(2.0, 3 * sigma) else 1.0)


def _windows(t: np.ndarray, y: np.ndarray, w: np.ndarray, g: np.ndarray, is_fixed: bool) -> dict[str, np.ndarray]:
    """Return fits of ``y`` over ``t``, straight and with some ``g``, for every start and end, by running sums."""
    n = t.size
    starts = np.array([0]) if is_fixed else np.unique(np.linspace(0, max(0, n // 3), STARTS).astype(int))
    is_end = np.full(n, not is_fixed)
    is_end[-1] = True
    scale, size = t[-1], np.max(np.abs(g))
    u, g = t / scale, g / size
    d = y - np.average(y, weights=w)

    def over(values: np.ndarray) -> np.ndarray:
        sums = np.concatenate([np.zeros(1), np.cumsum(w * values)])
        return sums[1:][None, :] - sums[starts][:, None]

    s0, s1, s2, y0, y1, yy = (over(one) for one in (np.ones(n), u, u * u, d, u * d, d * d))
    g0, g1, g2, gy = (over(one) for one in (g, u * g, g * g, g * d))
    count = np.arange(1, n + 1)[None, :] - starts[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        det = s0 * s2 - s1**2
        slope, level = (s0 * y1 - s1 * y0) / det, (s2 * y0 - s1 * y1) / det
        # A straight line takes from each amount of g what leans on u and on 1; the rest of g is the window's own.
        lean1, lean0 = (s0 * g1 - s1 * g0) / det, (s2 * g0 - s1 * g1) / det
        own = g2 - lean1 * g1 - lean0 * g0
        bend = (gy - lean1 * y1 - lean0 * y0) / own
        misfit = np.maximum(yy - slope * y1 - level * y0 - bend**2 * own, 0.0)
        usable = is_end[None, :] & (count >= 3) & (det > 1e-14 * s0 * s2) & (own > 0)
        found = {
            "slope": slope / scale, "level": level + y[0] - d[0], "slope_sigma": np.sqrt(s0 / det) / scale,
            "level_sigma": np.sqrt(s2 / det), "lean": lean1 * size / scale, "lean_level": lean0 * size,
            "bend": bend / size, "bend_sigma": 1 / np.sqrt(np.maximum(own, 0.0)) / size,
            "chi2_curved": misfit / np.maximum(count - 3, 1),
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
