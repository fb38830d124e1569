"""What was planted in a virtual cell, kept apart from what is measured."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.schema import quantity
from batlab.simulate import absorption, cell_steps, diffraction
from batlab.simulate.ageing import Condition
from batlab.simulate.cell_life import Life

EXPOSURES = {"xrd": 60.0, "xas": 120.0}  # s; absorption follows diffraction at once
LAG = 90.0  # s


def moments(life: Life, delay: float) -> list[tuple[float, float, Condition, float]]:
    """Return at each look, `delay` s after it: lithium per unit in both electrodes, the condition, dead metal in Ah."""
    whole = life.fresh.inventory
    return [(*look.lithium(delay), look.condition, look.condition.metal * whole) for look in life.looks]


def virtual_truth(life: Life) -> xr.Dataset:
    """Return losses and condition over ``cycle``, and what X-rays meet over ``frame``."""
    return xr.Dataset({**_truth_of_cycles(life), **_truth_of_frames(life)}, {
        "frame": quantity("frame", np.arange(len(life.looks)), "1", "frame"),
        "cycle": quantity("cycle", np.array([one.cycle for one in life.cycles]), "1", "number of the cycle"),
    })  # fmt: skip


def _truth_of_cycles(life: Life) -> dict[str, xr.Variable]:
    fresh = life.fresh
    columns: dict[str, tuple[list[float], str, str]] = {
        "lam_positive": ([], "1", "loss of active material, positive electrode"),
        "lam_negative": ([], "1", "loss of active material, negative electrode"),
        "lli": ([], "1", "loss of lithium inventory"),
        "capacity_positive": ([], "Ah", "capacity of the positive electrode"),
        "capacity_negative": ([], "Ah", "capacity of the negative electrode"),
        "lithium_inventory": ([], "Ah", "inventory of lithium"),
        "lithium_side": ([], "Ah", "lithium consumed by side reactions"),
        "lithium_trapped": ([], "Ah", "lithium in lost material"),
        "resistance": ([], "ohm", "ohmic resistance and slow polarization"),
        "fatigued": ([], "1", "part of the working positive material that is fatigued"),
        "mixing": ([], "1", "nickel on sites of lithium"),
    }
    resistance = cell_steps.OHMIC + cell_steps.SLOW
    for one in life.cycles:
        state, told = one.state, one.condition
        values = (
            1 - state.size_positive / fresh.size_positive, 1 - state.size_negative / fresh.size_negative,
            1 - state.inventory / fresh.inventory, state.size_positive, state.size_negative, state.inventory,
            state.side, state.trapped, resistance * (1 + told.resistance), told.fatigued, told.mixing,
        )  # fmt: skip
        for (column, _, _), value in zip(columns.values(), values, strict=True):
            column.append(value)
    return {name: quantity("cycle", np.array(column), units, text) for name, (column, units, text) in columns.items()}


def _truth_of_frames(life: Life) -> dict[str, xr.Variable]:
    crystals = [diffraction.seen(*one) for one in moments(life, EXPOSURES["xrd"] / 2)]
    spectra = moments(life, LAG + EXPOSURES["xas"] / 2)
    columns = {
        "a": ([one.a for one in crystals], "angstrom", "a of the working layered oxide"),
        "c": ([one.c for one in crystals], "angstrom", "c of the working layered oxide"),
        "lithium_positive": ([one.lithium for one in crystals], "1", "lithium in the working layered oxide"),
        "microstrain": ([one.microstrain for one in crystals], "1", "microstrain of the layered oxide"),
        "share_graphite": ([one.share[0] for one in crystals], "1", "share of graphite in all carbon"),
        "share_lic12": ([one.share[1] for one in crystals], "1", "share of LiC12 in all carbon"),
        "share_lic6": ([one.share[2] for one in crystals], "1", "share of LiC6 in all carbon"),
        "metal": ([one.metal for one in crystals], "Ah", "lithium that lies as metal"),
        "edge_shift": (
            [absorption.edge_shift(y, told) for y, _, told, _ in spectra],
            "eV",
            "edge over that of Ni(III)",
        ),
        "nickel": ([1 - told.dissolved for _, _, told, _ in spectra], "1", "nickel left in the positive electrode"),
    }
    return {name: quantity("frame", np.array(column), units, text) for name, (column, units, text) in columns.items()}
