"""Looks at diffraction: lines, cells, shares of light."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from batlab.failure._looks import CHARGED, DISCHARGED, Look, Pairs, change, pair, relative, weighted

STANDARDS = ("Al", "Cu")  # foils: phases that do not change
UNDECIDED = 2  # status of a fit from which on it says nothing


def cells(table: xr.Dataset) -> Iterator[Look]:
    """Yield the look at the c axis in the discharged state."""
    pairs = pair(table)
    if pairs is None or "c" not in table:
        return
    there = pairs.within(DISCHARGED)
    yield from _told(table, there, "xrd.cell_discharged", "change", change(
        table["c"].values, table["c_sigma"].values, there, relative) if len(there.first) else (np.nan, np.nan))  # fmt: skip


def peaks(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at the layered oxide's lines in the discharged state: breadth, order of the layers, amount."""
    pairs = pair(table)
    phase = next((str(name) for name in np.unique(table["phase"].values.astype(str)) if _is_layered(table, name)), None)
    if pairs is None or phase is None:
        return
    there = pairs.within(DISCHARGED)
    if not len(there.first):
        return
    status, names = table["status"].values, table["phase"].values.astype(str)
    ok = ((status[there.first] < UNDECIDED) & (status[there.last] < UNDECIDED)).all(axis=0)
    ell = np.array([abs(int(str(hkl).split()[-1])) if str(hkl).split() else 0 for hkl in table["hkl"].values])
    layered = ok & (names == phase)
    odd, even = layered & (ell % 2 == 1), layered & (ell % 2 == 0)
    foil = ok & np.isin(names, STANDARDS)
    yield from _told(table, there, "xrd.line_breadth", "change", _breadth(table, there, layered))
    yield from _told(table, there, "xrd.layer_order", "change", _ratio(table, there, odd, even))
    yield from _told(table, there, "xrd.layered_amount", "change", _ratio(table, there, even, foil))


def light(table: xr.Dataset) -> Iterator[Look]:
    """Yield looks at shares of light."""
    pairs = pair(table)
    if pairs is None:
        return
    every = (-np.inf, np.inf)
    for name, observable, limits in (
        ("stray", "xrd.second_layered_phase", CHARGED),
        ("stray", "xrd.isolated_material", DISCHARGED),
        ("stage_lic6", "xrd.lithium_left", DISCHARGED),
        ("coexisting", "xrd.graphite_coexistence", every),
        ("lithium_metal", "xrd.lithium_metal_line", DISCHARGED),
    ):
        there = pairs.within(limits)
        if not len(there.first):
            continue
        values, sigma = table[name].values, table[f"{name}_sigma"].values
        if name == "coexisting":
            there = _most(there, values)
        yield from _told(table, there, observable, "appears", change(values, sigma, there))


def _most(pairs: Pairs, values: np.ndarray) -> Pairs:
    """Return the fourth of the pairs in which the states of all are nearest to where most coexists."""
    mean = (values[pairs.first] + values[pairs.last]) / 2
    if not np.isfinite(mean).any():
        return pairs
    middle = pairs.state[int(np.nanargmax(mean))]
    order = np.argsort(np.abs(pairs.state - middle), kind="stable")[: max(1, len(pairs.state) // 4)]
    return Pairs(pairs.first[order], pairs.last[order], pairs.state[order], pairs.frames, pairs.cycles)


def _is_layered(table: xr.Dataset, phase: str) -> bool:
    return {"0 0 3", "1 0 4"} <= set(table["hkl"].values[table["phase"].values.astype(str) == phase].astype(str))


def _breadth(table: xr.Dataset, pairs: Pairs, chosen: np.ndarray) -> tuple[float, float]:
    width, spread = table["fwhm"].values[:, chosen], table["fwhm_sigma"].values[:, chosen]
    rows = [weighted(*relative(width[a], spread[a], width[b], spread[b]))
            for a, b in zip(pairs.first, pairs.last, strict=True)]  # fmt: skip
    return weighted(*np.array(rows).T)


def _ratio(table: xr.Dataset, pairs: Pairs, above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """Return by how much the summed areas of `above` over those of `below` have changed."""
    if not above.any() or not below.any():
        return np.nan, np.nan
    area, sigma = table["area"].values, table["area_sigma"].values
    sums = [(area[:, c].sum(axis=1), np.sqrt((sigma[:, c] ** 2).sum(axis=1))) for c in (above, below)]
    (over, d_over), (under, d_under) = sums
    ratio = over / under
    return change(ratio, ratio * np.hypot(d_over / over, d_under / under), pairs, relative)


def _told(table: xr.Dataset, pairs: Pairs, observable: str, kind: str, found: tuple[float, float]) -> Iterator[Look]:
    if np.isfinite(found[0]) and np.isfinite(found[1]):
        told = f"{len(pairs.first)} frames of the last visit to those of the first in the same state"
        yield Look(observable, kind, float(found[0]), float(found[1]), told, table, pairs.frames, pairs.cycles)
