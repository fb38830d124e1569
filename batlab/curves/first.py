"""The first look: how wide the peaks are, and where each stands in the first frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from batlab.curves.follow import AT_BOUND, Expected, follow
from batlab.curves.groups import Setting
from batlab.curves.near import Seeds
from batlab.curves.noise import Noise, significance_map
from batlab.curves.scale import from_scale, to_scale

# Cells differ from their published ones by less than this (relative, in d) before a series begins.
CELL_TOLERANCE = 0.008
WIDTH_ROUNDS = 4  # at most, of finding the width
SEEN = 5.0  # sigma of the matched filter


def first_frames(intensity: np.ndarray, noise: Noise, most: int = 5) -> tuple[np.ndarray, Noise] | None:
    """Return the mean of the first frames that hold data, one row, and its noise; None if none does."""
    known = np.isfinite(intensity) & np.isfinite(noise.fixed)
    rows = np.flatnonzero(known.any(axis=1))[:most]
    if not len(rows):
        return None
    n = known[rows].sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known[rows], intensity[rows], 0.0).sum(axis=0) / n
        fixed = np.where(known[rows], noise.fixed[rows], 0.0).sum(axis=0) / n**2
    return mean[None], Noise(fixed[None], noise.gain[rows][:1] / len(rows), noise.kind)


def typical_width(x: np.ndarray, mean: np.ndarray, noise: Noise, seeds: Seeds, search: np.ndarray) -> float:
    """Return the full width at half maximum, in axis units, whose matched filter sees the expected peaks best."""
    step = (x[-1] - x[0]) / (len(x) - 1)
    widths = np.geomspace(2.0, max(3.0, min(len(x) / 12.0, 150.0)), 30)
    strength = np.array(
        [strongest(x, significance_map(mean, noise, width)[0], seeds.position, search)[1] for width in widths]
    )
    top = np.zeros(strength.shape, dtype=bool)  # widths at which a peak stands out more than at the next ones
    top[1:-1] = (strength[1:-1] >= strength[:-2]) & (strength[1:-1] > strength[2:])
    top &= (strength > 6.0) & (strength > 0.4 * strength.max(axis=0))
    seen = top.any(axis=0)
    if not seen.any():
        return float(min(10.0, widths[-1]) * step)
    best, height = widths[top.argmax(axis=0)[seen]], strength.max(axis=0)[seen]
    return _median(best, np.minimum(height, 100.0)) * float(step)


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(share, 0.5 * share[-1])])


def strongest(
    x: np.ndarray, strengths: np.ndarray, position: np.ndarray, search: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the strongest point within `search` of each position, and its strength."""
    first = np.clip(np.searchsorted(x, position - search), 0, len(x) - 1)
    last = np.clip(np.searchsorted(x, position + search, "right"), first + 1, len(x))
    best = np.array([a + int(strengths[a:b].argmax()) for a, b in zip(first, last)], dtype=int)
    return x[best], strengths[best]


def first_positions(
    x: np.ndarray, mean: np.ndarray, noise: Noise, seeds: Seeds, width: float, search: np.ndarray, axis: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each peak is expected in the first frame and how far around it may lie.

    The lines of one phase are first moved together, by the factor in d that fits the pattern best: a line that is
    weak or next to another's is found by its strong kin. The phase with most light comes first, and what it explains
    is no longer there for the others: a phase that is not there stays where it was published.
    """
    step = (x[-1] - x[0]) / (len(x) - 1)
    strengths = np.maximum(significance_map(mean, noise, width / step)[0], 0.0)
    position, reach = seeds.position.copy(), search.copy()
    phases = {name: np.flatnonzero(seeds.phase == name) for name in dict.fromkeys(seeds.phase) if name}
    while phases:
        found = {name: _common_factor(x, strengths, seeds, kin, width, search, axis) for name, kin in phases.items()}
        best = max(found, key=lambda name: found[name][1])
        kin, factor = phases.pop(best), found[best][0]
        there = _scaled(to_scale(seeds.position[kin], axis), factor, axis)
        seen = np.interp(there, x, strengths) > SEEN
        if seeds.weight[kin][seen].sum() > 0.3 * seeds.weight[kin].sum():
            position[kin] = there
            for place in there[seen]:
                strengths[np.abs(x - place) < width] = 0.0
        reach[kin] = np.minimum(reach[kin], 2.0 * width)
    return position, reach


def _scaled(known: np.ndarray, factor: float, axis: str) -> np.ndarray:
    return from_scale(np.minimum(known * factor, 1.0 if axis != "q" else np.inf), axis)


def _common_factor(
    x: np.ndarray, strengths: np.ndarray, seeds: Seeds, kin: np.ndarray, width: float, search: np.ndarray, axis: str
) -> tuple[float, float]:
    """Return the factor in 1/d that puts the lines of a phase where most of the light is, and how much that is."""
    known = to_scale(seeds.position[kin], axis)
    widest = np.max(to_scale(seeds.position[kin] + search[kin], axis) / known - 1.0)
    span = min(CELL_TOLERANCE, widest)
    fine = 0.25 * width / np.max(seeds.position[kin] if axis == "q" else 2 * np.degrees(np.tan(np.arcsin(known))))
    factors = 1.0 + np.linspace(-span, span, 2 * int(np.ceil(span / fine)) + 1)
    weight = np.sqrt(seeds.weight[kin])
    scores = []
    for factor in factors:
        light = np.interp(_scaled(known, factor, axis), x, strengths)
        scores.append(float((weight * np.sqrt(light)).sum()) * (1 - 1e-3 * abs(factor - 1) / span))
    return factors[int(np.argmax(scores))], max(scores)


def first_fit(
    x: np.ndarray,
    mean: np.ndarray,
    noise: Noise,
    seeds: Seeds,
    search: np.ndarray,
    setting: Setting,
    refine: bool,
) -> tuple[Setting, Expected]:
    """Return the setting, with the width that a first fit finds if `refine`, and where peaks are expected."""
    for _ in range(WIDTH_ROUNDS if refine else 0):
        position, reach = first_positions(x, mean, noise, seeds, setting.width, search, setting.axis)
        fits, status = follow(x, mean, noise, Expected(seeds, position, reach, setting), setting)[:2]
        sure = (status[0] <= AT_BOUND) & (fits.strength[0] > 2 * setting.significance)
        if not sure.any():
            break
        width = _median(fits.values[0, sure, 2], np.minimum(fits.strength[0, sure], 100.0))
        ratio = width / setting.width
        setting = replace(setting, width=width, window=setting.window * ratio)
        if abs(np.log(ratio)) < 0.1:
            break
    position, reach = first_positions(x, mean, noise, seeds, setting.width, search, setting.axis)
    return setting, Expected(seeds, position, reach, setting)
