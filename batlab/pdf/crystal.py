"""A crystal as its fit sees it: sites that symmetry repeats, and the directions in which they may move."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr

from batlab import io
from batlab.pdf.composition import MODES, scattering_length

SAME = 1e-3  # of a cell edge: images closer than this are one atom
UNLIKE = 0.03  # of a tensor: beyond, its rounding does not explain that it breaks its site's symmetry
TENSOR = ("u_11", "u_22", "u_33", "u_12", "u_13", "u_23")
# Crystal system -> which of a, b, c, alpha, beta, gamma are free, and whom the others follow (None: stays).
CELLS: dict[str, tuple[str, dict[str, str]]] = {
    "cubic": ("a", {"b": "a", "c": "a"}),
    "tetragonal": ("a c", {"b": "a"}),
    "hexagonal": ("a c", {"b": "a"}),
    "trigonal": ("a c", {"b": "a"}),
    "orthorhombic": ("a b c", {}),
    "monoclinic": ("a b c beta", {}),
    "triclinic": ("a b c alpha beta gamma", {}),
}


@dataclass(frozen=True)
class Crystal:
    """Sites of the asymmetric unit and the operations that make the cell of them."""

    phase: str
    cell: np.ndarray  # a, b, c, alpha, beta, gamma
    free_cell: tuple[str, ...]
    follow: dict[str, str]
    labels: tuple[str, ...]
    elements: tuple[str, ...]
    occupancy: np.ndarray
    fract: np.ndarray  # (site, 3)
    tensors: np.ndarray  # (site, 3, 3) U in the reciprocal basis (as CIF's U_ij); isotropic ones are NaN
    u_iso: np.ndarray
    owner: np.ndarray  # (atom,): its site
    rotations: np.ndarray  # (atom, 3, 3)
    shifts: np.ndarray  # (atom, 3)
    free: tuple[np.ndarray, ...]  # site -> (direction, 3): where site symmetry lets it go
    nearest: float  # angstrom, of two atoms

    @property
    def multiplicity(self) -> np.ndarray:
        """Atoms of each site in the cell."""
        return np.bincount(self.owner, minlength=len(self.labels))

    def isotropic(self) -> Crystal:
        """Return the crystal with U_iso in place of tensors."""
        return replace(self, tensors=np.full_like(self.tensors, np.nan))


def crystal_of(structure: Any, function: str) -> Crystal:
    """Return the crystal in a CIF file or in the Dataset that `io.structure` makes of one."""
    import gemmi

    table = io.structure(structure)
    held = table.variables  # a DataArray of each would take longer than all else here
    symbol = str(table.attrs["space_group"])
    group = gemmi.SpaceGroup(symbol)
    cell = np.array([float(held[name].values) for name in ("a", "b", "c", "alpha", "beta", "gamma")])
    fract = np.stack([held[f"fract_{axis}"].values for axis in "xyz"], axis=1).astype(float)
    owner: list[int] = []
    rotations, shifts, free, fixed = [], [], [], []
    for site, place in enumerate(fract):
        turned, moved, stays = _images(symbol, place.tobytes())
        owner += [site] * len(turned)
        rotations.append(turned)
        shifts.append(moved)
        free.append(_directions(stays))
        fixed.append(stays)
    turns, moves = np.concatenate(rotations), np.concatenate(shifts)
    system = group.crystal_system_str()
    if system == "trigonal" and str(table.attrs["space_group"]).endswith(":R"):
        names, follow = "a alpha", {"b": "a", "c": "a", "beta": "alpha", "gamma": "alpha"}
    else:
        names, follow = CELLS[system]
    if system == "monoclinic":
        angles = [name for name, value in zip(("alpha", "beta", "gamma"), cell[3:]) if abs(value - 90) > 1e-6]
        names = f"a b c {angles[0] if angles else 'beta'}"
    return Crystal(
        str(table.attrs.get("phase", "")), cell, tuple(names.split()), follow,
        tuple(map(str, held["label"].values)), tuple(map(str, held["element"].values)),
        held["occupancy"].values.astype(float), fract, _tensors(table, cell, fixed, function),
        held["u_iso"].values.astype(float), np.array(owner), turns, moves, tuple(free),
        _nearest(np.einsum("aij,aj->ai", turns, fract[owner]) + moves, cell),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _operations(symbol: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotations (operation, 3, 3) and shifts (operation, 3) of a space group."""
    import gemmi

    listed = list(gemmi.SpaceGroup(symbol).operations())
    rotations = np.array([one.rot for one in listed], dtype=float) / gemmi.Op.DEN
    return rotations, np.array([one.tran for one in listed], dtype=float) / gemmi.Op.DEN


@lru_cache(maxsize=1024)
def _images(symbol: str, place: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rotations and shifts of every image of a place in the cell, and the rotations that leave it there.

    Kept, since series and fits come back to the same few places.
    """
    rotations, shifts = _operations(symbol)
    at = np.frombuffer(place)
    images = rotations @ at + shifts
    away = images[:, None] - images
    is_same = (np.abs(away - np.round(away)) < SAME).all(axis=2)
    first = np.unique(is_same.argmax(axis=1))
    stays = images - at
    fixed = rotations[(np.abs(stays - np.round(stays)) < SAME).all(axis=1)]
    made = rotations[first], shifts[first] - np.floor(images[first]), fixed
    for part in made:
        part.flags.writeable = False
    return made


def _directions(fixed: np.ndarray) -> np.ndarray:
    """Return the moves (direction, 3) that all `fixed` rotations leave as they are."""
    mean = fixed.mean(axis=0)
    left, values, _ = np.linalg.svd(mean)
    kept = left[:, values > 0.5].T
    # Axes where they serve: a move along x is called x.
    axes = [axis for axis in np.eye(3) if np.allclose(mean @ axis, axis, atol=1e-9)]
    return np.array(axes).reshape(-1, 3) if len(axes) == len(kept) else kept


def _nearest(places: np.ndarray, cell: np.ndarray) -> float:
    """Return the shortest distance between two atoms that do not share a place."""
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    away = (places[:, None, None] - places[None, :, None] + images) @ lattice(cell)
    distances = np.linalg.norm(away, axis=-1)
    return float(distances[distances > 0.5].min())


def _tensors(table: xr.Dataset, cell: np.ndarray, fixed: list[np.ndarray], function: str) -> np.ndarray:
    """Return U of every site as the CIF's U_ij, made what the site's symmetry lets it be."""
    tensors = np.full((len(fixed), 3, 3), np.nan)
    if not all(name in table for name in TENSOR):
        return tensors
    for name in TENSOR:
        i, j = int(name[2]) - 1, int(name[3]) - 1
        tensors[:, i, j] = tensors[:, j, i] = table[name].values
    lengths = np.linalg.norm(np.linalg.inv(lattice(cell)), axis=0)
    own = tensors * np.outer(lengths, lengths)
    means = np.array([np.einsum("nij,jk,nlk->il", turns, u, turns) / len(turns) for turns, u in zip(fixed, own)])
    means /= np.outer(lengths, lengths)
    off = np.abs(means - tensors).max(axis=(1, 2)) / np.abs(tensors).max(axis=(1, 2))
    if (off > UNLIKE).any():
        worst = int(np.nanargmax(off))
        warnings.warn(
            f"{function}: U of site {table['label'].values[worst]} is {off[worst]:.0%} off what its symmetry lets it "
            "be; its mean over that symmetry is used",
            UserWarning,
            stacklevel=4,
        )
    return means


def lattice(cell: np.ndarray) -> np.ndarray:
    """Return the rows a, b, c in cartesian coordinates.

    >>> lattice(np.array([2.0, 3.0, 4.0, 90, 90, 90])).round(6).tolist()
    [[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0]]
    """
    a, b, c = cell[:3]
    alpha, beta, gamma = np.deg2rad(cell[3:])
    x = np.cos(beta)
    y = (np.cos(alpha) - np.cos(beta) * np.cos(gamma)) / np.sin(gamma)
    z = np.sqrt(max(1 - x * x - y * y, 0.0))
    return np.array([[a, 0, 0], [b * np.cos(gamma), b * np.sin(gamma), 0], [c * x, c * y, c * z]])


def atoms(crystal: Crystal, cell: np.ndarray, fract: np.ndarray, u_iso: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return every atom of the cell (atom, 10): x, y, z; U as xx, yy, zz, xy, xz, yz; weight. All cartesian."""
    rows = lattice(cell)
    places = np.einsum("aij,aj->ai", crystal.rotations, fract[crystal.owner]) + crystal.shifts
    u = np.einsum("s,ij->sij", u_iso, np.eye(3))[crystal.owner]
    is_tensor = np.isfinite(crystal.tensors).all(axis=(1, 2))[crystal.owner]
    if is_tensor.any():
        lengths = np.linalg.norm(np.linalg.inv(rows), axis=0)
        # U_ij belongs to a_i* a_j* a_i a_j: columns of the frame are a_i |a_i*|; an image's is turned.
        own = crystal.tensors[crystal.owner[is_tensor]] * np.outer(lengths, lengths)
        turned = np.einsum("aij,ajk,alk->ail", crystal.rotations[is_tensor], own, crystal.rotations[is_tensor])
        u[is_tensor] = np.einsum("ji,ajk,kl->ail", rows, turned, rows)
    picked = [u[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    return np.column_stack([places @ rows, *picked, weights[crystal.owner]])


def lengths_of(crystal: Crystal, mode: str) -> np.ndarray:
    """Return the scattering power of every site's atom: electrons, or fm for neutrons; without its occupancy."""
    import gemmi

    if mode == MODES[1]:
        return np.array([scattering_length(element) for element in crystal.elements])
    return np.array([float(gemmi.Element(element).atomic_number) for element in crystal.elements])
