"""The distances that a structure holds, so that the peaks of G(r) get their names from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.pdf.crystal import crystal_of, lattice
from batlab.schema import quantity, record

BESIDE = 0.15  # angstrom on either side of a distance, in which its bond may lie


def pairs(structure: Any, rmax: float = 3.5, *, apart: float = 0.1) -> xr.Dataset:
    """Return which pairs of elements a structure holds at which distance, for `pdf.bonds`.

    Parameters
    ----------
    structure
        A CIF file, or what ``io.structure`` makes of one.
    rmax
        Farthest distance [angstrom], at most 20.
    apart
        Distances of the same two elements that follow each other by less are one, with their mean [angstrom].

    Returns
    -------
    xarray.Dataset
        (peak), by distance: ``position`` [angstrom]; ``coordination``, how many of the second element stand around one
        of the first; ``low``, ``high``, where `pdf.bonds` looks, 0.15 angstrom on either side unless a neighbour is
        nearer; coordinate ``bond``: ``"Ni-O"``, and ``"Ni-O (2)"`` for the second distance of these elements.

    Raises
    ------
    ValueError
        An rmax that is not above 0 or beyond 20, or within which no atoms meet.

    Examples
    --------
    >>> from batlab.simulate import crystal
    >>> table = pairs(crystal("NiO"), 3.0)
    >>> table["bond"].values.tolist(), table["coordination"].values.tolist()
    (['Ni-O', 'Ni-Ni', 'O-O'], [6.0, 12.0, 12.0])
    """
    name = "pdf.pairs"
    if not 0 < rmax <= 20 or not 0 <= apart < 1:
        raise ValueError(f"{name}: rmax must be above 0 and at most 20 angstrom, apart 0 to 1, got {rmax}, {apart}")
    crystal = crystal_of(structure, name)
    rows = lattice(crystal.cell)
    places = np.einsum("aij,aj->ai", crystal.rotations, crystal.fract[crystal.owner]) + crystal.shifts
    cells = np.ceil(rmax * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int) + 1
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in cells), indexing="ij"), axis=-1).reshape(-1, 3)
    first = np.unique(crystal.owner, return_index=True)[1]
    r = np.linalg.norm(((places[None, :, None] - places[first, None, None]) + shifts) @ rows, axis=-1)
    amounts = crystal.multiplicity * crystal.occupancy
    elements = list(dict.fromkeys(crystal.elements))
    kinds = np.array([elements.index(one) for one in crystal.elements])
    found: list[tuple[float, float, str]] = []
    for a in range(len(elements)):
        for b in range(a, len(elements)):
            site, atom, shift = np.nonzero((r > 0.1) & (r < rmax) & (kinds == a)[:, None, None]
                                           & (kinds[crystal.owner] == b)[None, :, None])  # fmt: skip
            weights = amounts[site] * crystal.occupancy[crystal.owner[atom]] / amounts[kinds == a].sum()
            word = f"{elements[a]}-{elements[b]}"
            found += _merged(r[site, atom, shift], weights, apart, word)
    if not found:
        raise ValueError(f"{name}: no atoms of {crystal.phase or 'the structure'} meet within {rmax:g} angstrom")
    found.sort()
    position = np.array([one[0] for one in found])
    middles = np.diff(position) / 2
    made = {
        "position": quantity("peak", position, "angstrom", "distance"),
        "coordination": quantity("peak", np.array([one[1] for one in found]), "1", "coordination number"),
        "low": quantity("peak", position - BESIDE, "angstrom", "shortest that the bond may be"),
        "high": quantity("peak", position + BESIDE, "angstrom", "longest that the bond may be"),
    }
    # What lies on one place stays together: no fit parts it.
    near = (middles < BESIDE) & (middles > apart / 2)
    made["low"][1:][near] = (position[1:] - middles)[near]
    made["high"][:-1][near] = (position[:-1] + middles)[near]
    coords = {
        "peak": quantity("peak", np.arange(len(found)), "1", "bond"),
        "bond": quantity("peak", np.array([one[2] for one in found]), "", "bond"),
    }
    table = xr.Dataset(made, coords, {"phase": crystal.phase})
    return record(table, name, structure=structure, rmax=rmax, apart=apart)


def _merged(r: np.ndarray, weights: np.ndarray, apart: float, word: str) -> list[tuple[float, float, str]]:
    """Return distance, number and name of every group of distances of two elements."""
    order = np.argsort(r)
    r, weights = r[order], weights[order]
    ends = np.flatnonzero(np.diff(r) > max(apart, 1e-4)) + 1
    groups = [(part, share) for part, share in zip(np.split(r, ends), np.split(weights, ends)) if len(part)]
    return [
        (float(part @ share / share.sum()), float(np.round(share.sum(), 9)), word if i == 1 else f"{word} ({i})")
        for i, (part, share) in enumerate(groups, 1)
    ]
