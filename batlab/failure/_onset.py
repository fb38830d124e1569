"""From which cycle on an effect is seen, by its course."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from batlab.failure._looks import Look

DENSE = 16  # points of a course from which on it is searched for change points
SEEN = 3.0  # σ of a visit at which an effect counts as there
MOST = 400  # points that are searched; longer courses are averaged


class Onset(NamedTuple):
    """The cycle, its limits, and the probability that the effect was not there before."""

    at: float
    limits: tuple[float, float]
    confidence: float


def onset(look: Look, floor: float, false_alarm: float) -> Onset | None:
    """Return from when on the effect of `look` is seen; None where its course does not tell.

    A course of many cycles is cut by `curves.change_points`: the onset is the first change in the direction of the
    effect. Of a few visits it is the gap between the last one without the effect (3 σ, the floor included) and the
    first after which all have it.
    """
    if look.course is None:
        return None
    place, effect, sigma = (np.asarray(one, dtype=float) for one in look.course)
    known = np.isfinite(place) & np.isfinite(effect)
    place, effect, sigma = place[known], effect[known] * math.copysign(1.0, look.effect), sigma[known]
    if len(place) >= DENSE:
        return _corner(place, effect, false_alarm)
    return _between(place, effect, sigma, floor)


def _corner(place: np.ndarray, effect: np.ndarray, false_alarm: float) -> Onset | None:
    import xarray as xr

    from batlab.curves import change_points
    from batlab.schema import quantity

    parts = max(1, -(-len(place) // MOST))
    if parts > 1:
        whole = len(place) // parts * parts
        place, effect = (one[:whole].reshape(-1, parts).mean(axis=1) for one in (place, effect))
    frame = quantity("frame", place, "1", "cycle")
    course = xr.Dataset({"effect": quantity("frame", effect, "1", "effect")}, {"frame": frame})
    events = change_points(course, false_alarm=false_alarm)
    for k in range(events.sizes["event"]):
        at, low, high = (float(events[name][k]) for name in ("onset", "onset_low", "onset_high"))
        before, after = effect[place <= at], effect[place > at]
        next_at = float(events["onset"][k + 1]) if k + 1 < events.sizes["event"] else math.inf
        nearby = after[place[place > at] <= next_at]
        if len(before) and len(nearby) and np.median(nearby) > np.median(before):
            ends = (low if math.isfinite(low) else at, high if math.isfinite(high) else at)
            return Onset(at, (min(*ends, at), max(*ends, at)), float(events["confidence"][k]))
    return None


def _between(place: np.ndarray, effect: np.ndarray, sigma: np.ndarray, floor: float) -> Onset | None:
    from scipy.special import ndtr

    whole = np.hypot(np.nan_to_num(sigma), floor)
    there = effect > SEEN * whole
    if len(place) < 3 or not there[-1] or there[0]:
        return None
    first = int(np.flatnonzero(~there)[-1]) + 1
    limits = float(place[first - 1]), float(place[first])
    # How sure it is that the effect is there at its first visit and lies above what was before.
    rise = (effect[first] - effect[first - 1]) / math.hypot(whole[first], whole[first - 1])
    return Onset(sum(limits) / 2, limits, float(ndtr(rise)))
