"""What one look at the data yields, and frames of one state, early and late in life, set side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

DISCHARGED, CHARGED = (-math.inf, 0.05), (0.97, math.inf)  # state of charge
SAME_STATE = 0.02  # difference of the state of charge up to which two frames are of one state
CHARGES = ("capacity", "charge_passed")


@dataclass(frozen=True)
class Look:
    """An effect with its σ, before it is judged.

    `kind` is ``"change"`` (either way), ``"up"`` or ``"appears"`` (one way only); `freedom` are the degrees of freedom
    of σ. `source` is the dataset that was looked at.
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


@dataclass(frozen=True)
class Pairs:
    """Positions of frames of the first and of the last visit that see the same state, with that state of charge."""

    first: np.ndarray
    last: np.ndarray
    state: np.ndarray
    frames: tuple[float, float]
    cycles: tuple[float, float]

    def within(self, limits: tuple[float, float]) -> Pairs:
        """Return the pairs whose state of charge lies between `limits`."""
        keep = (self.state >= limits[0]) & (self.state <= limits[1])
        return Pairs(self.first[keep], self.last[keep], self.state[keep], self.frames, self.cycles)


def state_of_charge(series: xr.Dataset) -> np.ndarray | None:
    """Return the state of charge of every frame within its cycle, 0 to 1; None where nothing tells."""
    if "state_of_charge" in series.variables:
        return series["state_of_charge"].values.astype(float)
    for name in CHARGES:
        if name in series.variables and series[name].dims == ("frame",) and "cycle" in series.variables:
            charge, cycle = series[name].values.astype(float), series["cycle"].values
            found = np.full(len(charge), np.nan)
            for one in np.unique(cycle):
                inside = (cycle == one) & np.isfinite(charge)
                if inside.any() and np.ptp(charge[inside]) > 0:
                    found[inside] = (charge[inside] - charge[inside].min()) / np.ptp(charge[inside])
            return found
    return None


def pair(series: xr.Dataset) -> Pairs | None:
    """Return frames of the last cycle beside those of the first in the same state; None where there are no two cycles.

    Frames before the top of a cycle's charge meet those before it, later ones those after it.
    """
    state = state_of_charge(series)
    if state is None or "cycle" not in series.variables or series["cycle"].dims != ("frame",):
        return None
    cycle = series["cycle"].values
    labels = np.unique(cycle[np.isfinite(state)])
    if len(labels) < 2:
        return None
    visits = [np.flatnonzero((cycle == label) & np.isfinite(state)) for label in (labels[0], labels[-1])]
    falls = [np.arange(len(visit)) > int(np.argmax(state[visit])) for visit in visits]
    first, last = [], []
    for at, is_falling in zip(visits[1], falls[1], strict=True):
        others = visits[0][falls[0] == is_falling]
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
    return Pairs(np.array(first), np.array(last), state[last], span, (float(labels[0]), float(labels[-1])))


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
