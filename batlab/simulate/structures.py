"""The crystals of the virtual cell, written from cited space groups, cells and sites.

No open file of NMC811, LiC6 or LiC12 is at hand, so every structure stands here as data and is written out as CIF
for the analysis to read. The stem of the file up to its first underscore is the phase's name everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

# Lithium left in Li(x)NMC811 -> a, c in angstrom. Rounded support points that follow the curves of Kondrakov et al.
# (10.1021/acs.jpcc.6b12885) and Marker et al. (10.1021/acs.chemmater.9b00140): c rises, then collapses below x = 0.4.
NMC_LITHIUM = (0.10, 0.15, 0.20, 0.25, 0.30, 0.36, 0.42, 0.50, 0.60, 0.70, 0.80, 0.90, 1.00)
NMC_A = (2.8130, 2.8131, 2.8133, 2.8138, 2.8150, 2.8170, 2.8200, 2.8255, 2.8345, 2.8440, 2.8535, 2.8630, 2.8720)
NMC_C = (13.850, 14.020, 14.190, 14.315, 14.400, 14.453, 14.470, 14.460, 14.410, 14.345, 14.285, 14.235, 14.200)

# Lithium solved in graphite before the first staged compound spreads its layers (10.1103/PhysRevB.44.9170).
DILUTE_LIMIT = 0.06
DILUTE_C = (6.711, 6.790)


@dataclass(frozen=True)
class Site:
    """One site of the asymmetric unit: occupancy as a fraction, `u_iso` in angstrom^2."""

    label: str
    element: str
    fract: tuple[float, float, float]
    occupancy: float = 1.0
    u_iso: float = 0.008


@dataclass(frozen=True)
class Structure:
    """A cubic or hexagonal crystal: `a` and `c` in angstrom (`c` is `a` where cubic)."""

    phase: str
    space_group: str
    formula: str
    a: float
    c: float
    sites: tuple[Site, ...]
    reference: str

    @property
    def is_cubic(self) -> bool:
        return "m -3 m" in self.space_group

    @property
    def volume(self) -> float:
        """Volume of the cell in angstrom^3."""
        return self.a**3 if self.is_cubic else self.a**2 * self.c * np.sqrt(3) / 2

    def with_cell(self, a: float, c: float) -> Structure:
        """Return the same crystal with another cell."""
        return replace(self, a=float(a), c=float(c))


_THIRD = 1 / 3
_MIXING = 0.03  # Ni on Li sites, typical of NMC811 (10.1021/acs.chemmater.9b00140)

STRUCTURES: dict[str, Structure] = {
    item.phase: item
    for item in (
        Structure(
            "NMC811",
            "R -3 m",
            "LiNi0.8Mn0.1Co0.1O2",
            NMC_A[-1],
            NMC_C[-1],
            (
                Site("Li1", "Li", (0, 0, 0), 1 - _MIXING, 0.012),
                Site("Ni1", "Ni", (0, 0, 0), _MIXING, 0.012),
                Site("Ni2", "Ni", (0, 0, 0.5), 0.8 - _MIXING, 0.004),
                Site("Li2", "Li", (0, 0, 0.5), _MIXING, 0.004),
                Site("Mn1", "Mn", (0, 0, 0.5), 0.1, 0.004),
                Site("Co1", "Co", (0, 0, 0.5), 0.1, 0.004),
                Site("O1", "O", (0, 0, 0.2411), 1.0, 0.008),
            ),
            "Marker 2019, doi:10.1021/acs.chemmater.9b00140; Kondrakov 2017, doi:10.1021/acs.jpcc.6b12885",
        ),
        Structure(
            "graphite",
            "P 63/m m c",
            "C",
            2.464,
            DILUTE_C[0],
            (Site("C1", "C", (0, 0, 0.25), u_iso=0.008), Site("C2", "C", (_THIRD, 2 * _THIRD, 0.25), u_iso=0.008)),
            "Trucano and Chen 1975, doi:10.1038/258136a0",
        ),
        Structure(
            "LiC12",
            "P 6/m m m",
            "LiC12",
            4.290,
            7.050,
            (Site("Li1", "Li", (0, 0, 0), u_iso=0.02), Site("C1", "C", (_THIRD, 0, 0.25), u_iso=0.008)),
            "Guerard and Herold 1975, doi:10.1016/0008-6223(75)90040-8",
        ),
        Structure(
            "LiC6",
            "P 6/m m m",
            "LiC6",
            4.305,
            3.706,
            (Site("Li1", "Li", (0, 0, 0), u_iso=0.02), Site("C1", "C", (_THIRD, 0, 0.5), u_iso=0.008)),
            "Guerard and Herold 1975, doi:10.1016/0008-6223(75)90040-8",
        ),
        Structure("Al", "F m -3 m", "Al", 4.0496, 4.0496, (Site("Al1", "Al", (0, 0, 0), u_iso=0.010),), "COD 9008460"),
        Structure("Cu", "F m -3 m", "Cu", 3.6150, 3.6150, (Site("Cu1", "Cu", (0, 0, 0), u_iso=0.007),), "COD 9008468"),
        Structure("Li", "I m -3 m", "Li", 3.5093, 3.5093, (Site("Li1", "Li", (0, 0, 0), u_iso=0.050),), "COD 9008542"),
    )
}


def nmc_cell(lithium: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return a and c in angstrom of NMC811 that holds `lithium` per formula unit (0.1 to 1).

    Examples
    --------
    >>> a, c = nmc_cell(1.0)
    >>> round(float(c) / 3, 3)
    4.733
    """
    along_a, along_c = _nmc_curves()
    return along_a(lithium), along_c(lithium)


@cache
def _nmc_curves() -> tuple[Callable, Callable]:
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(NMC_LITHIUM, NMC_A), PchipInterpolator(NMC_LITHIUM, NMC_C)


def write_cif(structure: Structure, folder: Path) -> Path:
    """Write `structure` as CIF into `folder` and return the file, named phase, underscore, space group."""
    import gemmi

    group = gemmi.SpaceGroup(structure.space_group)
    lines = [f"data_{structure.phase}", f"_publ_section_title '{structure.reference}'"]
    lines += [f"_chemical_formula_sum '{structure.formula}'"]
    third = structure.a if structure.is_cubic else structure.c
    gamma = 90 if structure.is_cubic else 120
    for name, value in zip("abc", (structure.a, structure.a, third)):
        lines.append(f"_cell_length_{name} {value:.5f}")
    for name, angle in zip(("alpha", "beta", "gamma"), (90, 90, gamma)):
        lines.append(f"_cell_angle_{name} {angle}")
    lines += [f"_space_group_name_H-M_alt '{group.xhm()}'", f"_space_group_IT_number {group.number}"]
    lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{op.triplet()}'" for op in group.operations())]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "U_iso_or_equiv")
    lines += ["loop_", *(f"_atom_site_{column}" for column in columns)]
    for site in structure.sites:
        xyz = " ".join(f"{value:.5f}" for value in site.fract)
        lines.append(f"{site.label} {site.element} {xyz} {site.occupancy:.4f} {site.u_iso:.4f}")
    path = folder / f"{structure.phase}_{structure.space_group.replace(' ', '').replace('/', '')}.cif"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
