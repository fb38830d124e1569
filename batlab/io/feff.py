"""Scattering paths that FEFF 6 to 10 has calculated (``feffNNNN.dat``): the tables that the EXAFS equation needs."""

from __future__ import annotations

import re
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io._text import peek, read_text
from batlab.schema import quantity

NAME = "FEFF scattering paths"
HINTS = frozenset({"encoding"})

BOHR = 0.529177210544  # angstrom, CODATA 2022
NEAR = 0.01  # angstrom: the file's coordinates have four decimals, and so has the length that it states

_TABLE = re.compile(r"^[#\s]*k\s+real\[2\*phc\]\s+mag\[feff\]\s+phase\[feff\]", re.MULTILINE)
_RULE = re.compile(r"^[#\s]*-{10,}\s*$")
_PATH = re.compile(r"^[#\s]*Path\s+(\d{1,9})\b")
# Fortran writes neighbours together where a minus fills the column: 12.0-13.0.
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
_ASSIGNED = re.compile(rf"\b(Gam_ch|Mu|kf|Vint|Rs_int|Rmt|Rnm|Z)\s*=\s*({_NUMBER.pattern})(?![\w.])")
_LONGEST = 6  # digits of what is counted
_PROGRAM = re.compile(r"\bfeff\s*(?:XX\s+)?[\w.]+", re.IGNORECASE)
_SHELL = re.compile(r"\b([KLMN][1-7]?|[KLMN](?:I|II|III|IV|V))\s+shell\b")

_COLUMNS = (
    ("real_phc", "1", "real part of twice the central atom's phase shift"),
    ("mag_feff", "angstrom", "magnitude of the effective scattering amplitude"),
    ("pha_feff", "1", "phase of the effective scattering amplitude"),
    ("red_fact", "1", "amplitude reduction by the central atom"),
    ("lam", "angstrom", "mean free path of the photoelectron"),
    ("rep", "1/angstrom", "real part of the complex momentum p"),
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a path of FEFF. Never raises."""
    text = peek(head)
    return bool(_TABLE.search(text)) or "nleg, deg, reff" in text


def read(paths: list[Path], **hints: Any) -> xr.Dataset | xr.DataTree:
    """Return the path in one ``feffNNNN.dat`` over ``k``; several files as a DataTree, each named after its file.

    Parameters
    ----------
    paths
        Files of one or of several calculations, by FEFF 6 to 10.
    **hints
        ``encoding``.

    Returns
    -------
    Dataset or DataTree
        Over ``k`` [1/angstrom], the photoelectron's wavenumber above the Fermi level, as tabulated: ``real_phc``,
        ``pha_feff`` [rad, stored as 1], ``mag_feff`` [angstrom], ``red_fact`` [1], ``lam`` [angstrom], ``rep``
        [1/angstrom]. Over ``site``, the atoms in the order of the path, the absorber first: ``element``,
        ``atomic_number``, ``potential``, ``position_x``, ``position_y``, ``position_z`` [angstrom]. Attributes:
        ``reff`` [angstrom], half the path's length; ``degen``; ``nleg``; ``path_index``; ``reduced_mass`` [u],
        1 / Σ 1/m over the atoms of the path; ``element`` of the absorber, ``edge``; ``norman_radius`` [angstrom],
        the average; ``fermi_level`` [eV]; where the file tells them ``core_hole_width`` [eV], ``vint`` [eV], ``kf``
        [1/angstrom]; ``title``, ``program``, ``header``.

    Raises
    ------
    ReadError
        With the line: a part is missing, a number is none, an atom is none, the table is cut or k does not increase;
        or the atoms do not make a path of the length that is stated.
    """
    if len(paths) == 1:
        return _read(paths[0], hints)
    stems = [path.stem for path in paths]
    twins = [one.name for one, other in combinations(paths, 2) if one.stem == other.stem]
    if twins:
        raise ReadError(f"{twins[0]}: two files of that name are open at once; open the folders apart")
    return xr.DataTree.from_dict({stem: _read(path, hints) for stem, path in zip(stems, paths, strict=True)})


def _read(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    lines = read_text(path, hints.get("encoding")).split("\n")
    name = path.name
    rule = next((i for i, line in enumerate(lines) if _RULE.match(line)), None)
    table = next((i for i, line in enumerate(lines) if _TABLE.match(line)), None)
    if rule is None or table is None or not rule + 2 < table:
        raise ReadError(f"{name}: has no line of dashes followed by the path and its table; the file may be truncated")
    nleg, degen, reff, norman, fermi = _geometry_line(lines[rule + 1], f"{name}: line {rule + 2}")
    atoms = [_atom(lines[i], f"{name}: line {i + 1}") for i in range(rule + 3, table)]
    _check_path(atoms, nleg, reff, name)
    k, columns = _numbers(lines[table + 1 :], table + 2, name)
    sites = _sites(atoms)
    coords = {"k": quantity("k", k, "1/angstrom", "photoelectron wavenumber")}
    data = {key: quantity("k", values, unit, told) for (key, unit, told), values in zip(_COLUMNS, columns)}
    attrs = {
        "reff": reff,
        "degen": degen,
        "nleg": int(nleg),
        "norman_radius": norman * BOHR,
        "fermi_level": fermi,
        "reduced_mass": _reduced_mass(atoms, name),
        "element": str(sites["element"].values[0]),
        **_header(lines[:rule], name),
    }
    return xr.Dataset({**data, **sites}, coords, attrs)


def _geometry_line(line: str, where: str) -> tuple[int, float, float, float, float]:
    """Return nleg, degeneracy, half length, Norman radius [bohr] and Fermi level [eV]."""
    found = _NUMBER.findall(line.split("nleg")[0])
    if len(found) != 5:
        raise ReadError(f"{where} must hold nleg, deg, reff, rnrmav and edge, got {line.strip()[:80]!r}")
    nleg, *rest = (_float(word) for word in found)
    degen, reff, norman, fermi = rest
    wrong = not 1 < nleg < 100 or nleg != int(nleg) or not 0 < degen < np.inf or not 0.05 < reff < 1000
    if wrong or not np.isfinite([norman, fermi]).all():
        raise ReadError(f"{where} states nleg {nleg:g}, degeneracy {degen:g}, reff {reff:g}: no scattering path")
    return int(nleg), degen, reff, norman, fermi


def _float(word: str) -> float:
    return float(word.upper().replace("D", "E"))


def _atom(line: str, where: str) -> tuple[np.ndarray, int, int]:
    """Return place [angstrom], potential and atomic number of one atom of the path."""
    found = _NUMBER.findall(line.lstrip("# "))
    if len(found) < 5 or not all(word.isdecimal() and len(word) <= _LONGEST for word in found[3:5]):
        raise ReadError(f"{where} must hold x, y, z, potential and atomic number, got {line.strip()[:80]!r}")
    place = np.array([_float(word) for word in found[:3]])
    number = int(found[4])
    if not 1 <= number <= 98:
        raise ReadError(f"{where}: atomic number {number} is not tabulated; 1 to 98 are")
    return place, int(found[3]), number


def _check_path(atoms: list[tuple[np.ndarray, int, int]], nleg: int, reff: float, name: str) -> None:
    if len(atoms) != nleg:
        raise ReadError(f"{name}: states {nleg} legs and lists {len(atoms)} atoms; the file may be truncated")
    places = np.array([place for place, _, _ in atoms])
    length = np.linalg.norm(places - np.roll(places, 1, axis=0), axis=1).sum() / 2
    if not abs(length - reff) < NEAR:
        raise ReadError(f"{name}: states reff {reff:.4f} angstrom, its atoms make {length:.4f}; one of them is wrong")


def _sites(atoms: list[tuple[np.ndarray, int, int]]) -> dict[str, xr.Variable]:
    import xraydb

    places = np.array([place for place, _, _ in atoms])
    numbers = np.array([number for _, _, number in atoms])
    symbols = np.array([xraydb.atomic_symbol(int(number)) for number in numbers])
    potentials = np.array([potential for _, potential, _ in atoms])
    return {
        "element": quantity("site", symbols, "", "element of the atom"),
        "atomic_number": quantity("site", numbers, "1", "atomic number"),
        "potential": quantity("site", potentials, "1", "index of the atom's potential in FEFF"),
        **{
            f"position_{axis}": quantity("site", places[:, i], "angstrom", f"Cartesian {axis} of the atom")
            for i, axis in enumerate("xyz")
        },
    }


def _reduced_mass(atoms: list[tuple[np.ndarray, int, int]], name: str) -> float:
    import xraydb

    return 1 / sum(1 / float(xraydb.atomic_mass(number)) for _, _, number in atoms)


def _header(lines: list[str], name: str) -> dict[str, Any]:
    clean = [line.lstrip("#").strip() for line in lines]
    text = "\n".join(clean)
    told = {key: _float(value) for key, value in _ASSIGNED.findall(text) if np.isfinite(_float(value))}
    names = {"Gam_ch": "core_hole_width", "Vint": "vint", "kf": "kf"}
    attrs: dict[str, Any] = {new: told[old] for old, new in names.items() if old in told}
    index = [_PATH.match(line) for line in lines]
    shell = _SHELL.search(text)
    program = next(iter([*_PROGRAM.finditer(clean[0])][-1:]), None) if clean else None
    attrs["path_index"] = next((int(found[1]) for found in index if found), 0)
    attrs["edge"] = shell[1] if shell else "K"
    attrs["program"] = " ".join(program[0].split()) if program else "FEFF"
    attrs["title"] = " ".join((clean[0][: program.start()] if program else text.split("\n")[0]).split())
    attrs["header"] = text
    if shell is None:
        warnings.warn(f"{name}: does not tell its edge, K is taken", UserWarning, stacklevel=2)
    return attrs


def _numbers(lines: list[str], first: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return k and the six other columns (column, point)."""
    rows = []
    numbered = [(i, line.lstrip("#").strip()) for i, line in enumerate(lines, first) if line.strip("# \t")]
    for i, line in numbered:
        found = _NUMBER.findall(line)
        if len(found) != 7 or _NUMBER.sub("", line).strip():
            raise ReadError(
                f"{name}: line {i} must hold 7 numbers, got {line[:80]!r}; the file may be truncated or FEFF overflowed"
            )
        rows.append([_float(word) for word in found])
    if lines[-1].strip() and len(rows) > 1 and len(lines[-1]) < len(lines[-2]):
        told = "ends without a line end and is shorter than the others"
        raise ReadError(f"{name}: line {numbered[-1][0]} {told}; the file may be truncated")
    if len(rows) < 5:
        raise ReadError(f"{name}: its table has {len(rows)} lines, at least 5 are needed; the file may be truncated")
    values = np.array(rows).T
    if (np.diff(values[0]) <= 0).any():
        at = int(np.argmax(np.diff(values[0]) <= 0))
        told = f"{values[0][at]:g} then {values[0][at + 1]:g}"
        raise ReadError(f"{name}: line {numbered[at + 1][0]}: k must increase, got {told}")
    if not np.isfinite(values).all() or not (values[5] > 0).all():
        raise ReadError(f"{name}: the table holds infinities or a mean free path that is not positive")
    return values[0], values[1:]
