"""Looks at diffraction: lines, cells, shares of light."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import xarray as xr

from batlab.failure._looks import (
    CHARGED,
    DISCHARGED,
    Look,
    Pairs,
    change,
    course_of,
    pairs_of_visits,
    relative,
    weighted,
)

STANDARDS = ("Al", "Cu")  # foils: phases that do not change
UNDECIDED = 2  # status of a fit from which on it says nothing
APART = 2.0  # widths that lines must lie apart for their areas to be compared


def cells(table: xr.Dataset) -> Iterator[Look]:
    """Yield the look at the c axis in the discharged state."""
    if "c" not in table:
        return
    c, sigma = table["c"].values, table["c_sigma"].values
    every = [pairs.within(DISCHARGED) for pairs in pairs_of_visits(table)]
    yield from _told(table, every, "xrd.cell_discharged", "change", lambda there: change(c, sigma, there, relative))


def peaks(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at the layered oxide's lines in the discharged state: breadth, order of the layers, amount."""
    every = [pairs.within(DISCHARGED) for pairs in pairs_of_visits(table)]
    phase = next((str(name) for name in np.unique(table["phase"].values.astype(str)) if _is_layered(table, name)), None)
    if not every or phase is None or not len(every[-1].first):
        return
    there = every[-1]
    status, names = table["status"].values, table["phase"].values.astype(str)
    ok = ((status[there.first] < UNDECIDED) & (status[there.last] < UNDECIDED)).all(axis=0) & _stands_alone(table)
    ell = np.array([abs(int(str(hkl).split()[-1])) if str(hkl).split() else 0 for hkl in table["hkl"].values])
    layered = ok & (names == phase)
    odd, even = layered & (ell % 2 == 1), layered & (ell % 2 == 0)
    foil = ok & np.isin(names, STANDARDS)
    for observable, how in (
        ("xrd.line_breadth", lambda pairs: _breadth(table, pairs, layered)),
        ("xrd.layer_order", lambda pairs: _ratio(table, pairs, odd, even)),
        ("xrd.layered_amount", lambda pairs: _ratio(table, pairs, even, foil)),
    ):
        yield from _told(table, every, observable, "change", how)


def light(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at shares of light: populations that part from the rest."""
    visits = pairs_of_visits(table)
    for name, observable, limits in (
        ("stray", "xrd.second_layered_phase", CHARGED),
        ("stray", "xrd.isolated_material", DISCHARGED),
        ("stage_lic6", "xrd.lithium_left", DISCHARGED),
        ("coexisting", "xrd.graphite_coexistence", None),
        ("lithium_metal", "xrd.lithium_metal_line", DISCHARGED),
    ):
        every = visits if limits is None else [pairs.within(limits) for pairs in visits]
        values, sigma = table[name].values, table[f"{name}_sigma"].values
        if name == "coexisting":
            every = [_most(pairs, values) for pairs in every]
        yield from _told(table, every, observable, "appears", partial(change, values, sigma))


def _most(pairs: Pairs, values: np.ndarray) -> Pairs:
    """Return the fourth of the pairs in which the states of all are nearest to where most coexists."""
    mean = (values[pairs.first] + values[pairs.last]) / 2
    if not np.isfinite(mean).any():
        return pairs
    middle = pairs.state[int(np.nanargmax(mean))]
    order = np.argsort(np.abs(pairs.state - middle), kind="stable")[: max(1, len(pairs.state) // 4)]
    return pairs.take(order)


def _is_layered(table: xr.Dataset, phase: str) -> bool:
    return {"0 0 3", "1 0 4"} <= set(table["hkl"].values[table["phase"].values.astype(str) == phase].astype(str))


def _breadth(table: xr.Dataset, pairs: Pairs, chosen: np.ndarray) -> tuple[float, float]:
    width, spread = table["fwhm"].values[:, chosen], table["fwhm_sigma"].values[:, chosen]
    if not chosen.any():
        return np.nan, np.nan
    # Lines broaden unequally; how far frames of one state agree tells the doubt.
    sums = width.mean(axis=1), np.sqrt((spread**2).sum(axis=1)) / chosen.sum()
    return change(*sums, pairs, relative)


def _stands_alone(table: xr.Dataset) -> np.ndarray:
    """Return which lines have no other within two widths, as far as places are known."""
    names = ("position", "fwhm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lines that are nowhere
        place, width = (np.nanmedian(table[name].values, axis=0) for name in names)
    near = np.abs(place[:, None] - place[None]) < APART * width[:, None]
    np.fill_diagonal(near, False)
    return ~near.any(axis=1)


def _ratio(table: xr.Dataset, pairs: Pairs, above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Return by how much the areas of `above` over those of `below` have changed: weighted medians over the lines."""
    if not above.any() or not below.any():
        return np.nan, np.nan
    area, sigma = table["area"].values, table["area_sigma"].values
    rows = []
    for early, late in zip(pairs.first, pairs.last, strict=True):
        lines = relative(area[early], sigma[early], area[late], sigma[late])
        (over, d_over), (under, d_under) = (_median(lines[0][chosen], lines[1][chosen]) for chosen in (above, below))
        ratio = (1 + over) / (1 + under)
        rows.append((ratio - 1, ratio * np.hypot(d_over / (1 + over), d_under / (1 + under))))
    return weighted(*np.array(rows).T)


def _median(values: np.ndarray, sigma: np.ndarray) -> tuple[float, float]:
    """Return the weighted median and its σ; one line under which another has moved does not move it."""
    order = np.argsort(values)
    weight = 1 / sigma[order] ** 2
    middle = np.interp(0.5 * weight.sum(), np.cumsum(weight) - weight / 2, values[order])
    return float(middle), float((1.2533 if len(values) > 2 else 1.0) / np.sqrt(weight.sum()))


def _told(
    table: xr.Dataset,
    every: list[Pairs],
    observable: str,
    kind: str,
    how: Callable[[Pairs], tuple[float, float]],
) -> Iterator[Look]:
    """Yield what `how` says of the last visit, with the course over all of them."""
    if not every or not len(every[-1].first):
        return
    pairs, found = every[-1], how(every[-1])
    if np.isfinite(found[0]) and np.isfinite(found[1]):
        told = f"{len(pairs.first)} frames of the last visit to those of the first in the same state"
        yield Look(observable, kind, float(found[0]), float(found[1]), told, table, pairs.frames, pairs.cycles,
                   course=course_of(table, every, how))  # fmt: skip
