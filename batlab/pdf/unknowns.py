"""The unknowns of a structure fit: names, start values, bounds, and the crystals that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from batlab.pdf.crystal import Crystal
from batlab.pdf.model import Parameters

CELL = ("a", "b", "c", "alpha", "beta", "gamma")
VARY = ("scale", "cell", "u_iso", "positions", "delta1", "delta2", "diameter", "qdamp")


class Unknown(NamedTuple):
    """One number of the fit."""

    phase: int  # -1: of the instrument
    kind: str  # a word of VARY
    name: str  # its own: "a", "Ni", "O1.0"
    low: float
    high: float
    nudge: float  # for differences


class Unknowns(NamedTuple):
    """All of them, and what stays as it is."""

    crystals: tuple[Crystal, ...]
    listed: tuple[Unknown, ...]
    u_iso: tuple[np.ndarray, ...]
    fixed: tuple[dict[str, float], ...]  # per phase: scale, delta1, delta2, diameter
    qdamp: float

    def names(self) -> list[str]:
        """Return ``"Ni.a"`` and the like."""
        return [
            one.name if one.phase < 0 else f"{self.crystals[one.phase].phase or one.phase}.{one.name}"
            for one in self.listed
        ]

    def indices(self, phase: int, kind: str) -> list[int]:
        """Return where the unknowns of one kind stand."""
        return [i for i, one in enumerate(self.listed) if one.phase == phase and one.kind == kind]

    def first(self, phase: int, kind: str, values: np.ndarray) -> float:
        """Return a single number of a phase: varied or fixed."""
        found = self.indices(phase, kind)
        return float(values[found[0]]) if found else self.fixed[phase][kind]

    def parameters(self, phase: int, values: np.ndarray) -> Parameters:
        """Return the phase as the `values` make it."""
        crystal = self.crystals[phase]
        cell, fract, u = crystal.cell.copy(), crystal.fract.copy(), self.u_iso[phase].copy()
        for i in self.indices(phase, "cell"):
            cell[CELL.index(self.listed[i].name)] = values[i]
        for name, leader in crystal.follow.items():
            cell[CELL.index(name)] = cell[CELL.index(leader)]
        elements = np.array(crystal.elements)
        for i in self.indices(phase, "u_iso"):
            u[elements == self.listed[i].name.removeprefix("u_iso_")] = values[i]
        for i in self.indices(phase, "positions"):
            site, direction = map(int, self.listed[i].name.rpartition("@")[2].split("/"))
            fract[site] += values[i] * crystal.free[site][direction]
        numbers = [self.first(phase, kind, values) for kind in ("delta1", "delta2", "diameter")]
        return Parameters(cell, fract, u, *numbers)


def unknowns_of(
    crystals: Sequence[Crystal],
    u_iso: Sequence[np.ndarray],
    vary: Sequence[str],
    start: Mapping[str, float],
    qdamp: float,
) -> tuple[Unknowns, np.ndarray]:
    """Return the unknowns and their start values."""
    listed: list[Unknown] = []
    values: list[float] = []
    fixed = []
    for phase, crystal in enumerate(crystals):
        here = {
            "scale": start.get("scale", 1.0 / len(crystals)), "delta1": start.get("delta1", 0.0),
            "delta2": start.get("delta2", 0.0), "diameter": start.get("diameter", np.inf),
        }  # fmt: skip
        fixed.append(here)
        for kind, low, high, nudge in (
            ("scale", -np.inf, np.inf, 1e-4), ("delta1", 0.0, 3.0, 1e-4), ("delta2", 0.0, 8.0, 1e-4),
            ("diameter", 5.0, 2000.0, 1e-2),
        ):  # fmt: skip
            if kind in vary:
                begin = here[kind] if np.isfinite(here[kind]) else 100.0
                listed.append(Unknown(phase, kind, kind, low, high, nudge))
                values.append({"delta2": 1.0, "delta1": 0.3}.get(kind, 0.0) if begin == 0 else begin)
        if "cell" in vary:
            for name in crystal.free_cell:
                begin = float(start.get(name, crystal.cell[CELL.index(name)]))
                listed.append(Unknown(phase, "cell", name, 0.8 * begin, 1.2 * begin, 1e-5))
                values.append(begin)
        if "u_iso" in vary:
            for element in dict.fromkeys(crystal.elements):
                one = crystal.elements.index(element)
                listed.append(Unknown(phase, "u_iso", f"u_iso_{element}", 2e-4, 0.2, 1e-6))
                values.append(float(u_iso[phase][one]))
        if "positions" in vary:
            for site, directions in enumerate(crystal.free):
                for number in range(len(directions)):
                    name = f"{crystal.labels[site]}@{site}/{number}"
                    listed.append(Unknown(phase, "positions", name, -0.1, 0.1, 1e-6))
                    values.append(0.0)
    if "qdamp" in vary:
        listed.append(Unknown(-1, "qdamp", "qdamp", 0.0, 0.5, 1e-5))
        values.append(max(qdamp, 0.01))
    return Unknowns(tuple(crystals), tuple(listed), tuple(u_iso), tuple(fixed), qdamp), np.array(values)
