"""Powder patterns of a virtual cell: which phases there are follows from the lithium in its electrodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from batlab.constants import HC
from batlab.simulate.ageing import Condition
from batlab.simulate.cell import CAPACITY, GRAPHITE_PER_NMC
from batlab.simulate.cell_steps import parts_of_graphite, split_positive
from batlab.simulate.exposure import _background
from batlab.simulate.powder import Reflections, pattern, reflections
from batlab.simulate.structures import DILUTE_C, DILUTE_LIMIT, STRUCTURES, Site, Structure, nmc_cell

WAVELENGTH = HC / 60_000  # angstrom: 60 keV
Q = np.round(np.arange(1.20, 4.80, 0.0025), 4)  # 1/angstrom
FWHM = 0.009  # 1/angstrom, of the instrument
FINE = np.arange(
    0.98 * Q[0], 1.02 * Q[-1], FWHM / 18
)  # 1/angstrom: a cubic between errs by 2e-5 of the tallest, where lines end
# Counts at the top of the strongest line of each electrode and foil, fresh and empty: 20 mg of oxide and 12 mg of
# graphite a cm2, 15 um of Al and 10 um of Cu, by their structure factors.
STRONGEST = {"NMC811": 40_000.0, "graphite": 12_000.0, "Al": 7_000.0, "Cu": 46_000.0}
BACKGROUND = 50.0  # times that of one pixel of the virtual beamline
REACH = 25.0  # widths: a line ends at 1e-4 of its height
GRAIN = 50.0  # angstrom: how thick a shell of rock salt gets (10.1038/ncomms4529), hence broad lines
VOLUME_PER_METAL = {"NMC811": 33.8, "NiO": 18.2}  # angstrom^3 a transition metal
VOLUME_PER_AH = {"Li": 0.485, "graphite": 1.22}  # cm^3: 3861 mAh/g at 0.534 g/cm^3, 372 mAh/g at 2.2 g/cm^3
ISOLATED = np.linspace(0.2, 0.85, 5)  # lithium in grains that lost contact at any moment of their lives

ROCK_SALT = Structure(
    "NiO",
    "F m -3 m",
    "NiO",
    4.1771,
    4.1771,
    (Site("Ni1", "Ni", (0, 0, 0), u_iso=0.006), Site("O1", "O", (0.5, 0.5, 0.5), u_iso=0.008)),
    "NiO, COD",
)
EVERY: dict[str, Structure] = {**STRUCTURES, ROCK_SALT.phase: ROCK_SALT}


@dataclass(frozen=True)
class Seen:
    """What is in the beam at one moment, by the lithium per unit and the condition of the cell.

    `positive` is in the mean of the working material. `part_*` count the fresh positive electrode or its graphite
    as one; `share` those of graphite, LiC12, LiC6 in all carbon.
    """

    lithium: float
    fatigued_lithium: float
    a: float
    c: float
    microstrain: float
    part_active: float
    part_fatigued: float
    share: tuple[float, float, float]
    graphite_c: float
    metal: float


def seen(positive: float, negative: float, told: Condition, metal: float) -> Seen:
    """Return what diffracts where the working materials hold `positive` and `negative`; `metal` in Ah."""
    active, behind = (float(one) for one in split_positive(positive, told.fatigued))
    a, c = (float(one) for one in nmc_cell(active))
    layered = 1 - told.converted - told.dissolved - told.isolated
    working = parts_of_graphite(negative, told.spread)
    shares = _stages(working).mean(axis=1) * (1 - told.negative) + np.array([0.0, 0.0, told.negative])
    strain = 5e-4 + 1.0e-3 * np.clip((0.42 - active) / 0.25, 0, 1)  # as in `cell.phases`
    graphite_c = float(np.interp(np.clip(working, 0, DILUTE_LIMIT), (0, DILUTE_LIMIT), DILUTE_C).mean())
    return Seen(
        active, behind, a, c, float(strain), layered * (1 - told.fatigued), layered * told.fatigued,
        (float(shares[0]), float(shares[1]), float(shares[2])), graphite_c, metal,
    )  # fmt: skip


def _stages(lithium: np.ndarray) -> np.ndarray:
    """Return the shares of graphite, LiC12 and LiC6 by the lever rule (10.1103/PhysRevB.44.9170), (phase, part)."""
    return np.array([
        np.interp(lithium, (DILUTE_LIMIT, 0.5), (1, 0)),
        np.interp(lithium, (DILUTE_LIMIT, 0.5, 1.0), (0, 1, 0)),
        np.interp(lithium, (0.5, 1.0), (0, 1)),
    ])  # fmt: skip


def expected(at: Seen, told: Condition, *, stretch: float) -> np.ndarray:
    """Return expected counts on `Q`, where q seems larger by the part `stretch`: the sample lies off its place."""
    true = Q / (1 + stretch)
    angles = _angles(true)
    total = BACKGROUND * _background(angles, WAVELENGTH)
    nickel = told.mixing
    positive: list[tuple[float, float, Any, float]] = [(at.part_active, at.lithium, (at.a, at.c), at.microstrain)]
    if at.part_fatigued:
        positive.append((at.part_fatigued, at.fatigued_lithium, nmc_cell(at.fatigued_lithium), at.microstrain))
    scale = _scale("NMC811")
    for part, lithium, cell, strain in positive:
        total += part * scale * _oxide(angles, nickel, lithium, cell, strain)
    if told.isolated:
        total += told.isolated * scale * _isolated(nickel)(true)
    if at.share[0] > 0:
        graphite = STRUCTURES["graphite"].with_cell(STRUCTURES["graphite"].a, at.graphite_c)
        total += at.share[0] * _scale("graphite") * _spread(graphite) * _pattern(graphite, angles)
    for share, name in zip(at.share[1:], ("LiC12", "LiC6"), strict=True):
        # Per carbon: the cells of the three differ in volume and in atoms.
        total += share * _scale("graphite") * _spread(STRUCTURES[name]) * _curve(name)(true)
    if at.metal > 0:
        whole = VOLUME_PER_AH["graphite"] * CAPACITY / GRAPHITE_PER_NMC
        total += at.metal * VOLUME_PER_AH["Li"] / whole * _scale("graphite") * _curve("Li")(true)
    if told.converted:
        part = told.converted * VOLUME_PER_METAL["NiO"] / VOLUME_PER_METAL["NMC811"]
        total += part * scale * _curve(ROCK_SALT.phase, float(np.hypot(FWHM, 2 * np.pi * 0.9 / GRAIN)))(true)
    for name in ("Al", "Cu"):
        total += _scale(name) * _curve(name)(true)
    return total


def _angles(q: np.ndarray) -> np.ndarray:
    """Return 2θ in degree."""
    return np.rad2deg(2 * np.arcsin(np.minimum(q * WAVELENGTH / (4 * np.pi), 1.0)))


def _oxide(angles: np.ndarray, nickel: float, lithium: float, cell: tuple, strain: float) -> np.ndarray:
    """Return the pattern of as much layered oxide as one, of a cell (a, c) that has grown with its lithium."""
    crystal = STRUCTURES["NMC811"].with_cell(*cell)
    grown = crystal.volume / STRUCTURES["NMC811"].volume
    return grown * _pattern(crystal, angles, _layered_lines(nickel, lithium), strain)


@lru_cache(maxsize=8)
def _isolated(nickel: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the pattern over q of what lost contact: neighbours in lithium overlap, so that it is one broad foot."""
    from scipy.interpolate import CubicSpline

    parts = [_oxide(_angles(FINE), nickel, lithium, nmc_cell(lithium), 4e-3) for lithium in ISOLATED]
    return CubicSpline(FINE, np.mean(parts, axis=0))


@cache
def _curve(name: str, fwhm: float = FWHM) -> Callable[[np.ndarray], np.ndarray]:
    """Return the pattern over q of a phase whose cell never changes."""
    from scipy.interpolate import CubicSpline

    return CubicSpline(FINE, _pattern(EVERY[name], _angles(FINE), fwhm=fwhm))


def _spread(crystal: Structure) -> float:
    """Volume of a crystal per carbon, graphite's as one."""
    atoms = {"graphite": 4, "LiC12": 12, "LiC6": 6}
    return (crystal.volume / atoms[crystal.phase]) / (STRUCTURES["graphite"].volume / 4)


def _pattern(
    crystal: Structure, angles: np.ndarray, lines: Reflections | None = None, strain: float = 3e-4, fwhm: float = FWHM
) -> np.ndarray:
    width = float(np.rad2deg(fwhm * WAVELENGTH / (2 * np.pi)))
    lines = _lines(crystal.phase) if lines is None else lines
    return pattern(crystal, lines, angles, wavelength=WAVELENGTH, fwhm=width, microstrain=strain, reach=REACH)


@cache
def _scale(name: str) -> float:
    return float(STRONGEST[name] / _pattern(EVERY[name], _angles(Q), strain=5e-4).max())


@cache
def _lines(name: str) -> Reflections:
    return reflections(EVERY[name], wavelength=WAVELENGTH, q_max=float(Q[-1]) + 0.4)


def _layered_lines(nickel: float, lithium: float) -> Reflections:
    """Return the lines of the layered oxide with `nickel` on lithium's sites and `lithium` per formula unit.

    |F|² is of second degree in the occupancies: six structures give it exactly.
    """
    first, factors = _layered_basis()
    terms = np.array([1.0, nickel, lithium, nickel**2, nickel * lithium, lithium**2])
    return replace(first, strength=terms @ factors)


@cache
def _layered_basis() -> tuple[Reflections, np.ndarray]:
    points = np.array([(0, 0), (0, 0.5), (0, 1), (0.1, 0.5), (0.1, 1), (0.2, 1)], dtype=float)
    found = [reflections(layered(*point), wavelength=WAVELENGTH, q_max=float(Q[-1]) + 0.4) for point in points]
    n, y = points.T
    design = np.stack([np.ones(6), n, y, n**2, n * y, y**2], axis=1)
    return found[0], np.linalg.solve(design, np.array([one.strength for one in found]))


def layered(nickel: float, lithium: float) -> Structure:
    """Return the layered oxide with `nickel` on lithium's sites, as much lithium on nickel's, `lithium` in all.

    Lithium on nickel's sites stays; the rest moves with charge.
    """
    change = {"Li1": lithium - nickel, "Ni1": nickel, "Ni2": 0.8 - nickel, "Li2": nickel}
    sites = tuple(replace(site, occupancy=change.get(site.label, site.occupancy))
                  for site in STRUCTURES["NMC811"].sites)  # fmt: skip
    return replace(STRUCTURES["NMC811"], sites=sites)
