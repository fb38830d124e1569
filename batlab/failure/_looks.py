"""What one look at the data yields, and frames of one state, early and late in life, set side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

DISCHARGED, CHARGED = (-math.inf, 0.05), (0.99, math.inf)  # state of charge
SAME_STATE = 0.02  # difference of the state of charge up to which two frames are of one state
SAME_VOLTAGE = 0.03  # V: a charge that was cut short does not end in the same state
CHARGES = ("capacity", "charge_passed")
WHOLE = 0.5  # of the charge of the largest visit, below which a visit does not tell its own ends


@dataclass(frozen=True)
class Look:
    """An effect with its σ, before it is judged.

    `kind` is ``"change"`` (either way), ``"up"`` or ``"appears"`` (one way only); `freedom` are the degrees of freedom
    of σ. `source` is the dataset that was looked at. `course` are cycles, the effect in each against the beginning, and
    its σ (NaN: to be told from the scatter).
    """

    observable: str
    kind: str
    effect: float
    sigma: float
    test: str
    source: xr.Dataset
    frames: tuple[float, float] | None = None
    cycles: tuple[float, float] | None = None
    freedom: float = math.inf
    course: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Pairs:
    """Positions of frames of the first and of the last visit that see the same state, with that state of charge.

    `apart` is by how much their voltages differ [V], 0 where they are not known.
    """

    first: np.ndarray
    last: np.ndarray
    state: np.ndarray
    apart: np.ndarray
    frames: tuple[float, float]
    cycles: tuple[float, float]

    def within(self, limits: tuple[float, float]) -> Pairs:
        """Return the pairs whose state of charge lies between `limits`, and whose voltages agree."""
        keep = (self.state >= limits[0]) & (self.state <= limits[1]) & (self.apart <= SAME_VOLTAGE)
        return self.take(np.flatnonzero(keep))

    def take(self, chosen: np.ndarray) -> Pairs:
        """Return the chosen pairs."""
        first, last, state, apart = (one[chosen] for one in (self.first, self.last, self.state, self.apart))
        return Pairs(first, last, state, apart, self.frames, self.cycles)


def visits(series: xr.Dataset) -> np.ndarray | None:
    """Return the number of the visit of every frame, one more wherever the cycle changes; None without cycles.

    Numbers of cycles may come again in another file.
    """
    if "cycle" not in series.variables or series["cycle"].dims != ("frame",):
        return None
    cycle = series["cycle"].values
    return np.concatenate([[0], np.cumsum(cycle[1:] != cycle[:-1])]) if len(cycle) else np.zeros(0, dtype=int)


def state_of_charge(series: xr.Dataset) -> np.ndarray | None:
    """Return the state of charge of every frame within its visit, 0 to 1; None where nothing tells.

    From the charge it is known only where a visit passes at least half of what the largest does.
    """
    if "state_of_charge" in series.variables:
        return series["state_of_charge"].values.astype(float)
    visit = visits(series)
    name = next((name for name in CHARGES if name in series.variables and series[name].dims == ("frame",)), None)
    if visit is None or name is None:
        return None
    charge = series[name].values.astype(float)
    parts = [np.flatnonzero((visit == one) & np.isfinite(charge)) for one in np.unique(visit)]
    spans = [float(np.ptp(charge[part])) if len(part) else 0.0 for part in parts]
    found = np.full(len(charge), np.nan)
    for part, span in zip(parts, spans, strict=True):
        if span > 0 and span >= WHOLE * max(spans):
            found[part] = (charge[part] - charge[part].min()) / span
    return found


def pair(series: xr.Dataset) -> Pairs | None:
    """Return frames of the last visit beside those of the first in the same state; None where there are no two visits.

    Frames before the top of a visit's charge meet those before it, later ones those after it.
    """
    found = pairs_of_visits(series)
    return found[-1] if found else None


def pairs_of_visits(series: xr.Dataset) -> list[Pairs]:
    """Return the pairs of every later visit with the first, the last visit last; empty where there are no two visits.

    The last visit must have pairs; others without any are left out.
    """
    state, visit = state_of_charge(series), visits(series)
    if state is None or visit is None:
        return []
    known = np.unique(visit[np.isfinite(state)])
    found = [_pair(series, state, visit, known[0], later) for later in known[1:]]
    return [one for one in found if one is not None] if found and found[-1] is not None else []


def _pair(series: xr.Dataset, state: np.ndarray, visit: np.ndarray, begin: int, later: int) -> Pairs | None:
    ends = [np.flatnonzero((visit == one) & np.isfinite(state)) for one in (begin, later)]
    falls = [np.arange(len(at)) > int(np.argmax(state[at])) for at in ends]
    first, last = [], []
    for at, is_falling in zip(ends[1], falls[1], strict=True):
        others = ends[0][falls[0] == is_falling]
        if others.size:
            near = others[int(np.argmin(np.abs(state[others] - state[at])))]
            if abs(state[near] - state[at]) <= SAME_STATE:
                first.append(near)
                last.append(at)
    if not first:
        return None
    frame = series["frame"].values if "frame" in series.coords else np.arange(series.sizes["frame"])
    used = np.array(first + last)
    span = float(frame[used].min()), float(frame[used].max())
    volts = series["voltage"].values if "voltage" in series.variables else np.zeros(len(state))
    apart = np.nan_to_num(np.abs(volts[last] - volts[first]))
    cycle = series["cycle"].values[used].astype(float)
    cycles = float(cycle.min()), float(cycle.max())
    return Pairs(np.array(first), np.array(last), state[last], apart, span, cycles)


def course_of(
    series: xr.Dataset, every: list[Pairs], how: Callable[[Pairs], tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return cycle, effect and σ of every later visit against the first, by `how`; None where that is not three visits.

    Where the numbers of cycles do not rise from visit to visit there is no course.
    """
    there = [pairs for pairs in every if len(pairs.first)]
    if len(there) < 2:
        return None
    cycle = series["cycle"].values.astype(float)
    place = [float(cycle[there[0].first].min()), *(float(cycle[pairs.last].max()) for pairs in there)]
    if np.any(np.diff(place) <= 0):
        return None
    effect, sigma = np.array([(0.0, 0.0), *map(how, there)]).T
    return np.array(place), effect, sigma


def weighted(values: np.ndarray, sigma: np.ndarray) -> tuple[float, float]:
    """Return the weighted mean and its σ, raised by the scatter where that is larger; NaN without a value."""
    known = np.isfinite(values) & np.isfinite(sigma) & (sigma > 0)
    if not known.any():
        return math.nan, math.nan
    values, weight = values[known], 1 / sigma[known] ** 2
    mean = float(np.average(values, weights=weight))
    chi2 = float(np.sum(weight * (values - mean) ** 2)) / max(len(values) - 1, 1)
    return mean, float(np.sqrt(max(1.0, chi2 if len(values) > 1 else 1.0) / weight.sum()))


def change(values: np.ndarray, sigma: np.ndarray, pairs: Pairs, how: Callable | None = None) -> tuple[float, float]:
    """Return the mean of last less first over the pairs, or of their ratio less one where `how` is ``relative``."""
    early, late = values[pairs.first], values[pairs.last]
    d_early, d_late = sigma[pairs.first], sigma[pairs.last]
    if how is relative:
        return weighted(*relative(early, d_early, late, d_late))
    return weighted(late - early, np.hypot(d_early, d_late))


def relative(
    early: np.ndarray, d_early: np.ndarray, late: np.ndarray, d_late: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return late / early - 1 with its σ."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = late / early
        return ratio - 1, np.abs(ratio) * np.hypot(d_early / early, d_late / late)
