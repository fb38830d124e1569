"""G(r) of a crystal structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.pdf.composition import MODES
from batlab.pdf.crystal import Crystal, crystal_of
from batlab.pdf.model import Parameters, curves, grid_for, narrowest
from batlab.schema import quantity, record


def calculate(
    structure: Any,
    r: Sequence[float] | np.ndarray,
    *,
    qmax: float | None = None,
    qdamp: float = 0.0,
    qbroad: float = 0.0,
    delta1: float = 0.0,
    delta2: float = 0.0,
    diameter: float | None = None,
    u_iso: float | None = None,
    scale: float = 1.0,
    mode: str = "xray",
) -> xr.Dataset:
    """Return the reduced pair distribution function of a crystal.

        G(r) = scale [1/(r N <f>²) Σ f_i f_j gauss(r - r_ij; σ_ij) - 4πrρ] s(r) e(r)

    over all pairs; σ_ij² is the displacement of both atoms along their line times 1 - δ1/r - δ2/r² + Qbroad² r², s(r) =
    1 - 3/2 (r/d) + 1/2 (r/d)³ that of a ball of diameter d, e(r) = exp(-(Qdamp r)²/2). With a `qmax` the curve is
    convolved with the ripples that the end of the data at Qmax makes. f is the number of electrons, or the neutron
    scattering length. Formulas as in PDFgui (Farrow et al. [1]_); equal to diffpy's pdffit2 1.5.1 within 1e-5 of the
    highest peak without `qmax`, and with it within 0.2 % except at the lower end of pdffit2's range, where its ripples
    start anew.

    Parameters
    ----------
    structure
        A CIF file, or what ``io.structure`` makes of one. Where it holds ``u_11`` … ``u_23`` (site) [angstrom²], these
        are used; else ``u_iso``.
    r
        Points above 0 [angstrom], increasing, up to 200.
    qmax
        Where the data end [1/angstrom]; None: infinitely far.
    qdamp, qbroad
        Resolution in Q [1/angstrom].
    delta1, delta2
        Correlated motion [angstrom, angstrom²].
    diameter
        Of a spherical particle [angstrom].
    u_iso
        Mean-square displacement [angstrom²] of sites for which the structure gives none.
    scale, mode
        A factor; ``"xray"`` or ``"neutron"``.

    Returns
    -------
    xarray.Dataset
        ``g_r`` (r) [1/angstrom²].

    Raises
    ------
    ValueError
        A displacement that is neither in the structure nor given, r out of range, unknown words, settings below 0.

    References
    ----------
    .. [1] C. L. Farrow et al., J. Phys.: Condens. Matter 19, 335219 (2007), doi:10.1088/0953-8984/19/33/335219.

    Examples
    --------
    >>> g = calculate("Ni_Fm-3m.cif", 0.01 * np.arange(150, 2000), u_iso=0.005)  # doctest: +SKIP
    >>> float(g.r[g.g_r.argmax()])  # doctest: +SKIP
    2.49
    """
    arguments = {key: value for key, value in locals().items() if key != "structure"}
    name = "pdf.calculate"
    choose("mode", mode, MODES)
    places = checked_r(r, name)
    check_settings(name, qdamp=qdamp, qbroad=qbroad, delta1=delta1, delta2=delta2, scale=scale)
    if qmax is not None and not 5 <= qmax <= 200:
        raise ValueError(f"{name}: qmax must be 5 to 200 1/angstrom or None, got {qmax!r}")
    if diameter is not None and not diameter > 0:
        raise ValueError(f"{name}: diameter must be above 0, got {diameter!r}")
    crystal = crystal_of(structure, name)
    u = displacements(crystal, u_iso, name)
    one = Parameters(crystal.cell, crystal.fract, u, delta1, delta2, np.inf if diameter is None else diameter)
    grid = grid_for(places, qmax, narrowest(one, crystal))
    g = scale * curves(crystal, [one], grid, mode, qbroad)[0] * np.exp(-((qdamp * places) ** 2) / 2)
    table = xr.Dataset(
        {"g_r": quantity("r", g, "1/angstrom^2", "reduced pair distribution function")},
        {"r": quantity("r", places, "angstrom", "distance")},
        {"phase": crystal.phase, "mode": mode},
    )
    return record(table, name, structure=structure, **arguments)


def checked_r(r: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    """Return r as an array, refused where it does not increase from above 0 to at most 200."""
    places = np.ascontiguousarray(r, dtype=float)
    if places.ndim != 1 or len(places) < 2 or not (np.diff(places) > 0).all() or not 0 <= places[0] < places[-1] <= 200:
        raise ValueError(f"{name}: r must be 2 or more increasing points from 0 to 200 angstrom, got {places.size}")
    return places


def check_settings(name: str, **values: float) -> None:
    """Refuse settings that are negative or no numbers."""
    for key, value in values.items():
        if not 0 <= value < np.inf:
            raise ValueError(f"{name}: {key} must be at least 0, got {value!r}")


def displacements(crystal: Crystal, u_iso: float | None, name: str) -> np.ndarray:
    """Return U_iso of every site: the structure's own, else the one given."""
    is_tensor = np.isfinite(crystal.tensors).all(axis=(1, 2))
    u = np.where(np.isfinite(crystal.u_iso), crystal.u_iso, np.nan if u_iso is None else u_iso)
    u = np.where(is_tensor & ~np.isfinite(u), 0.01, u)
    bad = ~(u > 0)
    if bad.any():
        raise ValueError(
            f"{name}: {', '.join(np.array(crystal.labels)[bad])} of {crystal.phase or 'the structure'} has no "
            "displacement above 0; pass u_iso=0.005 (angstrom^2) or the like"
        )
    return u
