"""How much light of a pattern lies where: what is left behind, stages of graphite, lithium metal, rock salt."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.schema import quantity, record

# Places [1/angstrom] of (0 0 l) of the stages; graphite swells by 1 % before LiC12 appears (10.1103/PhysRevB.44.9170).
STAGES = {"graphite": (1.842, 1.892), "lic12": (1.757, 1.803), "lic6": (1.677, 1.722)}
LITHIUM = 2.5320  # (1 1 0), a = 3.5093 angstrom (COD 9008542)
LARGEST_C = 14.62  # angstrom, of layered oxides
ASIDE, FAR = 0.75, 4.0  # widths off a line's place between which its flanks are compared
COLUMNS = {
    "stray": "light of (0 0 3) beside its line at larger c, less that at smaller c, over all of it",
    "stage_graphite": "share of graphite in the light of (0 0 l)",
    "stage_lic12": "share of LiC12 in the light of (0 0 l)",
    "stage_lic6": "share of LiC6 in the light of (0 0 l)",
    "coexisting": "share of graphite or LiC6, whichever is less, in the light of (0 0 l)",
    "lithium_metal": "light at (1 1 0) of lithium, relative to that of (0 0 3)",
}


def shares(patterns: xr.Dataset) -> xr.Dataset:
    """Return for every frame the shares of light named in `COLUMNS`, each with σ; NaN where the pattern lacks them.

    Light is intensity less a straight background through both sides of a window, summed. Where the line stands is its
    maximum; how wide it is comes from the first frame.
    """
    q = patterns["q"].values
    counts = patterns["intensity"].values.astype(float)
    spread = patterns["intensity_sigma"].values if "intensity_sigma" in patterns else np.sqrt(np.maximum(counts, 1))
    rows = [frame_shares(q, one, sigma) for one, sigma in zip(counts, spread, strict=True)]
    variables = {}
    for name, told in COLUMNS.items():
        for end, suffix in ((0, ""), (1, "_sigma")):
            values = np.array([row.get(name, (np.nan, np.nan))[end] for row in rows])
            variables[name + suffix] = quantity("frame", values, "1", "standard uncertainty" if end else told)
    kept = {str(name): one.variable for name, one in patterns.coords.items() if one.dims in ((), ("frame",))}
    return record(xr.Dataset(variables, kept, dict(patterns.attrs)), "failure.examine", found="shares of light")


def frame_shares(q: np.ndarray, counts: np.ndarray, sigma: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return share and σ by name, of one pattern."""
    found: dict[str, tuple[float, float]] = {}
    main = _layered(q, counts, sigma)
    whole = (np.nan, np.nan)
    if main is not None:
        _, width, found["stray"], whole = main
        metal = _light(q, counts, sigma, (LITHIUM - width, LITHIUM + width), side=0.6 * width)
        if metal is not None and whole[0] > 0:
            found["lithium_metal"] = metal[0] / whole[0], metal[1] / whole[0]
    light = [one for limits in STAGES.values() if (one := _light(q, counts, sigma, limits)) is not None]
    if len(light) == len(STAGES):
        values, errors = np.array(light).T
        total = values.sum()
        if total > 10 * np.sqrt((errors**2).sum()):
            for name, value, error in zip(STAGES, values, errors, strict=True):
                found[f"stage_{name}"] = value / total, error / total
            less = int(np.argmin(values[[0, 2]])) * 2
            found["coexisting"] = values[less] / total, errors[less] / total
    return found


def _light(
    q: np.ndarray, counts: np.ndarray, sigma: np.ndarray, limits: tuple[float, float], side: float = 0.008
) -> tuple[float, float] | None:
    """Return light between two places over the straight line through what lies within `side` outside of them."""
    inside = (q >= limits[0]) & (q <= limits[1]) & np.isfinite(counts)
    left = (q >= limits[0] - side) & (q < limits[0]) & np.isfinite(counts)
    right = (q > limits[1]) & (q <= limits[1] + side) & np.isfinite(counts)
    if inside.sum() < 3 or left.sum() < 2 or right.sum() < 2:
        return None
    step = np.gradient(q)
    ends = [(float(np.mean(q[part])), float(np.mean(counts[part])), float(np.mean(sigma[part] ** 2) / part.sum()))
            for part in (left, right)]  # fmt: skip
    (q0, level0, var0), (q1, level1, var1) = ends
    part = (q[inside] - q0) / (q1 - q0)
    net = float(np.sum((counts[inside] - level0 - part * (level1 - level0)) * step[inside]))
    weight0, weight1 = float(np.sum((1 - part) * step[inside])), float(np.sum(part * step[inside]))
    variance = float(np.sum((sigma[inside] * step[inside]) ** 2)) + weight0**2 * var0 + weight1**2 * var1
    return net, float(np.sqrt(variance))


def _layered(q: np.ndarray, counts: np.ndarray, sigma: np.ndarray) -> tuple | None:
    """Return place and width of (0 0 3), the share of light at larger c with σ, and the whole light with σ."""
    low, high = 6 * np.pi / 14.75, 6 * np.pi / 13.4
    region = np.flatnonzero((q > low - 0.02) & (q < high + 0.02) & np.isfinite(counts))
    if len(region) < 20 or q[0] > low - 0.01:
        return None
    x, y, error = q[region], counts[region], sigma[region]
    edge = max(3, len(x) // 10)
    base = np.interp(x, [x[:edge].mean(), x[-edge:].mean()], [y[:edge].mean(), y[-edge:].mean()])
    net = y - base
    top = int(np.argmax(net))
    if net[top] < 10 * error[top]:
        return None
    step = float(np.median(np.diff(x)))
    # From the upper fourth of the line, and its flank at small c: a second line at larger c moves neither much.
    near = [_crossing(x, net, top, way, 0.75 * net[top]) for way in (-1, 1)]
    place = (near[0] + near[1]) / 2
    width = max(2 * (_crossing(x, net, top, 1, net[top] / 2) - place), 2 * step)
    # A line that only broadens is symmetric. Parts of a point count, so that nothing jumps where a limit passes one.
    far = min(FAR * width, place - 6 * np.pi / LARGEST_C) if place > 6 * np.pi / LARGEST_C else FAR * width
    far = max(far, (ASIDE + 1) * width)
    left = _between(x, place - far, place - ASIDE * width, step)
    right = _between(x, place + ASIDE * width, place + far, step)
    off, every = left - right, _between(x, place - far, place + far, step)
    stray, whole = float((net * off).sum()), float((net * every).sum())
    if whole <= 0:
        return None
    share = stray / whole
    # Numerator and denominator share their points.
    variance = float((((off - share * every) * error) ** 2).sum()) / whole**2
    total = whole * step, float(np.sqrt(((every * error) ** 2).sum())) * step
    return place, width, (share, float(np.sqrt(variance))), total


def _between(x: np.ndarray, low: float, high: float, step: float) -> np.ndarray:
    """Return which part of each point's cell lies between two places."""
    return np.clip((np.minimum(x + step / 2, high) - np.maximum(x - step / 2, low)) / step, 0, 1)


def _crossing(x: np.ndarray, net: np.ndarray, top: int, way: int, level: float) -> float:
    """Return where the curve first falls through `level` on the way from its top."""
    at = top
    while 0 <= at + way < len(x) and net[at + way] >= level:
        at += way
    after = at + way
    if not 0 <= after < len(x):
        return float(x[at])
    return float(x[at] + (level - net[at]) / (net[after] - net[at]) * (x[after] - x[at]))
