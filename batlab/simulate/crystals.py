"""Crystals of conversion electrodes and of standards, by name, as tables that the analysis reads like a CIF file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.errors import did_you_mean
from batlab.schema import check, quantity

Place = tuple[str, float, float, float, float]  # element, x, y, z, U_iso in angstrom^2


class _Entry(NamedTuple):
    space_group: str
    cell: tuple[float, float, float]  # angstrom; all angles are right
    sites: tuple[Place, ...]
    reference: str


# U_iso are typical of room temperature.
CRYSTALS: dict[str, _Entry] = {
    "Ni": _Entry("F m -3 m", (3.5238,) * 3, (("Ni", 0, 0, 0, 0.0050),), "Swanson and Tatge 1953, NBS Circular 539"),
    "Fe": _Entry("I m -3 m", (2.8665,) * 3, (("Fe", 0, 0, 0, 0.0045),), "Swanson et al. 1955, NBS Circular 539"),
    "Si": _Entry("F d -3 m:1", (5.4310,) * 3, (("Si", 0, 0, 0, 0.0060),), "NIST SRM 640"),
    "NiO": _Entry(
        "F m -3 m", (4.1771,) * 3, (("Ni", 0, 0, 0, 0.0060), ("O", 0.5, 0.5, 0.5, 0.0080)),
        "Swanson and Tatge 1953, NBS Circular 539",
    ),
    "LiF": _Entry(
        "F m -3 m", (4.0270,) * 3, (("Li", 0, 0, 0, 0.0140), ("F", 0.5, 0.5, 0.5, 0.0100)),
        "Swanson and Tatge 1953, NBS Circular 539",
    ),
    "Li2O": _Entry(
        "F m -3 m", (4.6190,) * 3, (("O", 0, 0, 0, 0.0070), ("Li", 0.25, 0.25, 0.25, 0.0150)),
        "Zintl et al. 1934",
    ),
    "FeF2": _Entry(
        "P 42/m n m", (4.6966, 4.6966, 3.3091), (("Fe", 0, 0, 0, 0.0060), ("F", 0.300, 0.300, 0, 0.0090)),
        "Stout and Reed 1954, J. Am. Chem. Soc. 76, 5279",
    ),
}  # fmt: skip


def crystal(name: str) -> xr.Dataset:
    """Return a crystal by name: Ni, Fe, Si, NiO, LiF, Li2O or FeF2.

    Returns
    -------
    xarray.Dataset
        Over ``site``: ``fract_x`` …, ``occupancy``, ``u_iso`` [angstrom²], ``element``; cell scalars ``a`` … ``gamma``;
        attributes ``space_group``, ``phase``. `pdf.calculate`, `pdf.fit` and `total_scattering` take it.

    Raises
    ------
    ValueError
        Another name.

    Examples
    --------
    >>> float(crystal("Fe").a)
    2.8665
    """
    if name not in CRYSTALS:
        raise ValueError(f"crystal must be one of {', '.join(CRYSTALS)}, got {name!r}{did_you_mean(name, CRYSTALS)}")
    entry = CRYSTALS[name]
    made = {key: quantity((), edge, "angstrom", f"cell edge {key}") for key, edge in zip("abc", entry.cell)}
    made |= {key: quantity((), 90.0, "degree", f"cell angle {key}") for key in ("alpha", "beta", "gamma")}
    columns = list(zip(*entry.sites))
    elements = np.array(columns[0])
    made["label"] = quantity("site", np.array([f"{e}{i}" for i, e in enumerate(elements, 1)]), "", "label of the site")
    made["element"] = quantity("site", elements, "", "element")
    for axis, numbers in zip("xyz", columns[1:4]):
        made[f"fract_{axis}"] = quantity("site", np.array(numbers, float), "1", f"fractional coordinate {axis}")
    made["occupancy"] = quantity("site", np.ones(len(elements)), "1", "occupancy")
    made["u_iso"] = quantity("site", np.array(columns[4], float), "angstrom^2", "mean-square displacement")
    told = {"space_group": entry.space_group, "phase": name, "reference": entry.reference}
    return check(xr.Dataset(made, attrs=told))
