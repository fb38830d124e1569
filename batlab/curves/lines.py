"""Where a crystal structure puts its powder lines, and how strong they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab import io
from batlab.errors import choose
from batlab.schema import quantity, record

if TYPE_CHECKING:
    import gemmi

SAME_D = 1e-6  # relative: reflections closer than this are one line
EXTINCT = 1e-9  # of the strongest: what special positions cancel, up to rounding
AXES = {"q": "1/angstrom", "two_theta": "degree"}


def lines(
    structure: Any,
    *,
    limits: Sequence[float],
    wavelength: float | None = None,
    axis: str = "q",
    min_relative: float = 0.01,
) -> xr.Dataset:
    """Return the powder lines of a structure between two limits, each with its place and strength.

    The strength of a line is ``m |F|² LP``: F from the sites of the structure (Cromer-Mann form factors of the
    International Tables C, 6.1.1; isotropic displacement; no anomalous scattering), m the multiplicity, and the
    Lorentz-polarization factor of an unpolarized beam on a powder, ``(1 + cos² 2θ) / (sin² θ cos θ)``, or its
    small-angle limit ``1 / q²`` without a wavelength. Systematic absences and weak lines are left out; reflections
    of one spacing are one line with their summed strength, named after the strongest.

    Parameters
    ----------
    structure
        A CIF file, or the Dataset that ``io.structure`` makes of one.
    limits
        First and last position, in the unit of `axis`.
    wavelength
        In angstrom; needed for ``axis="two_theta"``.
    axis
        ``"q"`` (1/angstrom) or ``"two_theta"`` (degree): the unit of `limits` and of ``position``.
    min_relative
        Weakest line kept, as a fraction of the strongest between the limits.

    Returns
    -------
    xarray.Dataset
        Over ``peak``, by increasing ``q``: ``position``, ``q`` [1/angstrom], ``d`` [angstrom], ``intensity``
        (strongest 100), ``multiplicity``; coordinates ``hkl`` (``"1 0 4"``) and ``phase``.

    Raises
    ------
    ValueError
        Limits that are not 0 < first < last (below 180 degrees in ``two_theta``), an unknown axis, no wavelength
        where one is needed, or a structure without a line there.

    References
    ----------
    International Tables for Crystallography C (2006), chapters 6.1 and 6.2, doi:10.1107/97809553602060000103.

    Examples
    --------
    >>> lines("Al_Fm-3m_cod9008460.cif", limits=(2, 6)).hkl.values.tolist()  # doctest: +SKIP
    ['1 1 1', '2 0 0', '2 2 0', '3 1 1', '2 2 2']
    """
    choose("axis", axis, AXES)
    low, high = _q_limits(limits, wavelength, axis)
    if not 0 <= min_relative < 1:
        raise ValueError(f"min_relative must be at least 0 and below 1, got {min_relative!r}")
    crystal = io.structure(structure)
    found = _merge(_reflections(crystal, low, high, wavelength))
    strongest = max((line[2] for line in found), default=0.0)
    found = [line for line in found if line[2] > max(min_relative, EXTINCT) * strongest]
    if not found:
        raise ValueError(
            f"{crystal.attrs.get('phase', 'the structure')} has no line between {limits[0]:g} and {limits[1]:g} "
            f"{AXES[axis]}; widen limits"
        )
    result = _table(found, str(crystal.attrs.get("phase", "")), wavelength, axis, strongest)
    return record(
        result,
        "curves.lines",
        structure=structure,
        limits=[float(limit) for limit in limits],
        wavelength=wavelength,
        axis=axis,
        min_relative=min_relative,
    )


def two_theta_of(q: Any, wavelength: float) -> Any:
    """Return 2θ in degrees for q in 1/angstrom; NaN beyond backscattering."""
    sine = np.asarray(q) * wavelength / (4 * np.pi)
    return 2 * np.degrees(np.arcsin(np.where(np.abs(sine) <= 1, sine, np.nan)))


def q_of(two_theta: Any, wavelength: float) -> Any:
    """Return q in 1/angstrom for 2θ in degrees."""
    return 4 * np.pi / wavelength * np.sin(np.radians(np.asarray(two_theta) / 2))


def space_group_of(structure: xr.Dataset) -> gemmi.SpaceGroup:
    """Return gemmi's space group, origin and setting included, of a structure Dataset.

    Raises
    ------
    ValueError
        The symbol in ``attrs["space_group"]`` is missing or unknown.
    """
    import gemmi

    symbol = str(structure.attrs.get("space_group", ""))
    cell = [float(structure[name]) for name in ("a", "b", "c", "alpha", "beta", "gamma")]
    group = gemmi.find_spacegroup_by_name(symbol, cell[3], cell[5]) if symbol else None
    if group is None:
        raise ValueError(f"space_group must be a Hermann-Mauguin symbol such as 'R -3 m:H', got {symbol!r}")
    return group


def _q_limits(limits: Sequence[float], wavelength: float | None, axis: str) -> tuple[float, float]:
    low, high = (float(limit) for limit in limits)
    if not 0 < low < high:
        raise ValueError(f"limits must be 0 < first < last, got {low:g} and {high:g}")
    if wavelength is not None and not wavelength > 0:
        raise ValueError(f"wavelength must be positive, in angstrom, got {wavelength!r}")
    if axis == "q":
        return low, high if wavelength is None else min(high, 4 * np.pi / wavelength * (1 - 1e-12))
    if wavelength is None:
        raise ValueError("axis 'two_theta' needs wavelength=… in angstrom")
    if high >= 180:
        raise ValueError(f"limits must stay below 180 degrees, got {high:g}")
    return float(q_of(low, wavelength)), float(q_of(high, wavelength))


def _crystal(structure: xr.Dataset) -> gemmi.SmallStructure:
    import gemmi

    small = gemmi.SmallStructure()
    small.cell = gemmi.UnitCell(*(float(structure[name]) for name in ("a", "b", "c", "alpha", "beta", "gamma")))
    small.spacegroup = space_group_of(structure)
    small.spacegroup_hm = small.spacegroup.xhm()
    small.setup_cell_images()
    for atom in range(structure.sizes["site"]):
        row = structure.isel(site=atom)
        site = gemmi.SmallStructure.Site()
        site.label = str(row["label"].item())
        site.element = gemmi.Element(str(row["element"].item()))
        site.fract = gemmi.Fractional(*(float(row[f"fract_{name}"]) for name in "xyz"))
        site.occ = float(row["occupancy"])
        u_iso = float(row["u_iso"]) if "u_iso" in row else 0.0
        site.u_iso = u_iso if np.isfinite(u_iso) else 0.0
        small.add_site(site)
    return small


def _reflections(structure: xr.Dataset, low: float, high: float, wavelength: float | None) -> list[tuple]:
    """Return (q, hkl, strength, multiplicity) of each family of equivalent reflections, unsorted."""
    import gemmi

    small = _crystal(structure)
    small.change_occupancies_to_crystallographic()
    operations = small.spacegroup.operations()
    wanted = gemmi.make_miller_array(small.cell, small.spacegroup, 2 * np.pi / high, 2 * np.pi / low)
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    found = []
    for row in wanted:
        hkl = [int(index) for index in row]
        if not any(hkl) or operations.is_systematically_absent(hkl):
            continue
        q = 2 * np.pi / small.cell.calculate_d(hkl)
        family = _family(hkl, operations)
        strength = abs(calculator.calculate_sf_from_small_structure(small, hkl)) ** 2
        found.append((q, _familiar(family), strength * len(family) * _lorentz(q, wavelength), len(family)))
    return found


def _family(hkl: list[int], operations: gemmi.GroupOps) -> set[tuple[int, int, int]]:
    """Return the equivalent reflections, Friedel pairs included: on a powder they fall on one line."""
    images = [operation.apply_to_hkl(hkl) for operation in operations.sym_ops]
    return {(sign * image[0], sign * image[1], sign * image[2]) for image in images for sign in (1, -1)}


def _familiar(family: set[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return the member that people write: fewest minus signs, then largest h, k, l."""
    return max(family, key=lambda hkl: (-sum(index < 0 for index in hkl), hkl))


def _lorentz(q: float, wavelength: float | None) -> float:
    if wavelength is None:
        return 1 / q**2
    sine = q * wavelength / (4 * np.pi)
    return (1 + (1 - 2 * sine**2) ** 2) / (sine**2 * np.sqrt(1 - sine**2))


def _merge(found: list[tuple]) -> list[tuple]:
    """Join reflections of one spacing: (q, hkl of the strongest, summed strength, summed multiplicity)."""
    merged: list[list] = []
    for q, hkl, strength, multiplicity in sorted(found, key=lambda line: (line[0], tuple(-i for i in line[1]))):
        if merged and q - merged[-1][0] < SAME_D * q:
            last = merged[-1]
            if strength > last[4] * (1 + 1e-9):
                last[1], last[4] = hkl, strength
            last[2] += strength
            last[3] += multiplicity
        else:
            merged.append([q, hkl, strength, multiplicity, strength])
    return [tuple(line[:4]) for line in merged]


def _table(found: list[tuple], phase: str, wavelength: float | None, axis: str, strongest: float) -> xr.Dataset:
    q = np.array([line[0] for line in found])
    position = q if axis == "q" else two_theta_of(q, float(wavelength or np.nan))
    names = [" ".join(str(index) for index in line[1]) for line in found]
    attrs: dict[str, Any] = {"axis": axis, "phase": phase}
    if wavelength is not None:
        attrs["wavelength"] = float(wavelength)
    return xr.Dataset(
        {
            "position": quantity("peak", position, AXES[axis], "position of the line"),
            "q": quantity("peak", q, AXES["q"], "scattering vector"),
            "d": quantity("peak", 2 * np.pi / q, "angstrom", "lattice spacing"),
            "intensity": quantity("peak", [100 * line[2] / strongest for line in found], "1", "relative intensity"),
            "multiplicity": quantity("peak", np.array([line[3] for line in found]), "1", "multiplicity"),
        },
        {
            "peak": quantity("peak", np.arange(len(found)), "1", "peak"),
            "hkl": quantity("peak", np.array(names, dtype=str), "1", "Miller indices"),
            "phase": quantity("peak", np.full(len(found), phase, dtype=f"<U{max(1, len(phase))}"), "1", "phase"),
        },
        attrs,
    )
