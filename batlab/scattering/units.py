"""From 2θ to q and back."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.schema import quantity, record, require

# Shorter than any beamline's, longer than any diffraction pattern's; photon energies in keV mostly lie above.
WAVELENGTHS = (0.01, 5.0)


def to_q(patterns: xr.Dataset, wavelength: float | None = None) -> xr.Dataset:
    """Return the patterns over q = 4π sin θ / λ instead of 2θ.

    Parameters
    ----------
    patterns
        Has ``two_theta`` [degree], above -180 and below 180; a pattern over ``q`` already is refused.
    wavelength
        In angstrom, 0.01 to 5; by default the attribute ``wavelength``. For an energy E in eV it is
        ``constants.HC / E``. With a Kα doublet it is that of Kα1.

    Returns
    -------
    Dataset over ``q`` [1/angstrom], increasing; the values are unchanged, nothing is rebinned.

    Raises
    ------
    DimensionError
        No ``two_theta``.
    ValueError
        The wavelength is missing, impossible, or another than the attribute says.

    Examples
    --------
    >>> axis = quantity("two_theta", [60.0], "degree", "scattering angle")
    >>> pattern = xr.Dataset({"intensity": quantity("two_theta", [1.0], "1", "intensity")}, {"two_theta": axis})
    >>> round(to_q(pattern, wavelength=1.0).q.item(), 4)
    6.2832
    """
    require(patterns, "scattering.to_q", "two_theta", hint="it may be over q already" if "q" in patterns.dims else "")
    used = _wavelength(patterns, wavelength, "scattering.to_q")
    angle = np.asarray(_axis(patterns, "two_theta", "scattering.to_q").values, float)
    if not (np.abs(angle) < 180).all():
        raise ValueError(f"two_theta must lie between -180 and 180 degree, got {angle.min():g} to {angle.max():g}")
    return record(_swap(patterns, "two_theta", "q", _q(angle, used), used), "scattering.to_q", wavelength=used)


def to_two_theta(patterns: xr.Dataset, wavelength: float | None = None) -> xr.Dataset:
    """Return the patterns over 2θ = 2 arcsin(qλ / 4π) instead of q.

    Parameters
    ----------
    patterns
        Has ``q`` [1/angstrom], at most 4π/λ.
    wavelength
        As in `to_q`.

    Returns
    -------
    Dataset over ``two_theta`` [degree], increasing.

    Raises
    ------
    DimensionError
        No ``q``.
    ValueError
        The wavelength is missing or impossible, or q lies beyond 4π/λ.

    Examples
    --------
    >>> axis = quantity("q", [6.283185307], "1/angstrom", "scattering vector")
    >>> pattern = xr.Dataset({"intensity": quantity("q", [1.0], "1", "intensity")}, {"q": axis})
    >>> round(to_two_theta(pattern, wavelength=1.0).two_theta.item(), 4)
    60.0
    """
    hint = "it may be over two_theta already" if "two_theta" in patterns.dims else ""
    require(patterns, "scattering.to_two_theta", "q", hint=hint)
    used = _wavelength(patterns, wavelength, "scattering.to_two_theta")
    q = np.asarray(_axis(patterns, "q", "scattering.to_two_theta").values, float)
    limit = 4 * np.pi / used
    if not (np.abs(q) <= limit).all():
        raise ValueError(f"q reaches {np.abs(q).max():g} 1/angstrom, but at {used:g} angstrom it ends at {limit:g}")
    result = _swap(patterns, "q", "two_theta", two_theta_of(q, used), used)
    return record(result, "scattering.to_two_theta", wavelength=used)


def two_theta_of(q: np.ndarray | float, wavelength: float) -> np.ndarray:
    """Return 2θ [degree] of q [1/angstrom]; NaN beyond 4π/λ."""
    with np.errstate(invalid="ignore"):
        return np.degrees(2 * np.arcsin(np.asarray(q, float) * wavelength / (4 * np.pi)))


def check_wavelength(wavelength: float) -> float:
    """Return `wavelength` in angstrom, or refuse what cannot be one.

    Raises
    ------
    ValueError
        Outside 0.01 to 5 angstrom: probably an energy, nanometres or metres.
    """
    low, high = WAVELENGTHS
    if isinstance(wavelength, (bool, str)) or not low <= float(wavelength) <= high:
        raise ValueError(
            f"wavelength must be in angstrom, {low:g} to {high:g}, got {wavelength!r}; from a photon energy in eV "
            "it is constants.HC / energy, from metre multiply by 1e10"
        )
    return float(wavelength)


def _wavelength(patterns: xr.Dataset, given: float | None, function: str) -> float:
    stated = patterns.attrs.get("wavelength")
    if stated is None:
        if given is None:
            raise ValueError(
                f"{function} needs the wavelength, which the data do not state; pass wavelength= in angstrom"
            )
        return check_wavelength(given)
    used = check_wavelength(float(stated) if given is None else given)
    if abs(float(stated) - used) > 1e-3 * used:
        raise ValueError(f"wavelength={used:g} angstrom, but the data state {float(stated):g}; correct one of them")
    return used


def _axis(patterns: xr.Dataset, dim: str, function: str) -> xr.DataArray:
    if dim not in patterns.coords:
        raise DimensionError(f"{function} needs the coordinate {dim!r}, got the dimension without values")
    return patterns[dim]


def _q(two_theta: np.ndarray, wavelength: float) -> np.ndarray:
    return 4 * np.pi / wavelength * np.sin(np.radians(two_theta) / 2)


def _swap(patterns: xr.Dataset, old: str, new: str, values: np.ndarray, wavelength: float) -> xr.Dataset:
    units, name = {"q": ("1/angstrom", "scattering vector"), "two_theta": ("degree", "scattering angle")}[new]
    leftover = [key for key in (new,) if key in patterns.variables]
    result = patterns.drop_vars(leftover).rename({old: new}).assign_coords({new: quantity(new, values, units, name)})
    if (mean := f"{old}_mean") in result:
        places = np.asarray(result[mean].values, dtype=float)
        moved = _q(places, wavelength) if new == "q" else two_theta_of(places, wavelength)
        attrs = {"units": units, "long_name": f"mean {name} of the pixels in the bin"}
        result = result.drop_vars(mean).assign({f"{new}_mean": (result[mean].dims, moved, attrs)})
    result.attrs["wavelength"] = wavelength
    return result if (np.diff(values) > 0).all() else result.sortby(new)
