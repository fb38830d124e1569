"""What the steps on XANES ask first: the curves as an array over (frame, energy), and results back in the same form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.schema import quantity, require
from batlab.xas.grids import OWN, curves_of, energies_of, same_grids


class Spectra(NamedTuple):
    """Curves on one grid; a single scan is one row."""

    energy: np.ndarray  # (point,), increasing
    values: np.ndarray  # (frame, point)
    sigma: np.ndarray | None  # (frame, point)
    is_single: bool

    def per_frame(self, values: np.ndarray, units: str, long_name: str) -> xr.Variable:
        """Return numbers (frame,) as a variable over ``frame``, or as a scalar for a single scan."""
        return (
            quantity((), values[0], units, long_name) if self.is_single else quantity("frame", values, units, long_name)
        )

    def curves(self, values: np.ndarray, units: str, long_name: str) -> xr.Variable:
        """Return numbers (frame, point) as a variable over (``frame``, ``energy``), or ``energy`` for a single scan."""
        if self.is_single:
            return quantity("energy", values[0], units, long_name)
        return quantity(("frame", "energy"), values, units, long_name)


def spectra_of(series: xr.Dataset, name: str, function: str, hint: str) -> Spectra:
    """Return the variable `name` over (``frame``, ``energy``); `hint` says how to make it.

    Raises
    ------
    DimensionError, SchemaError
        Without ``energy``, without the variable, with other dimensions, or on a grid that does not increase.
    """
    require(series, function, "energy", hint="spectra run over 'energy' in eV")
    if name not in series:
        raise SchemaError(f"{function} needs a variable {name!r}, got {', '.join(map(str, series.data_vars))}; {hint}")
    if OWN in series.variables:
        raise SchemaError(
            f"{function} needs one energy grid for all frames, got {OWN!r}; bring them onto one with xas.rebin"
        )
    curves = series[name]
    require(curves, function, "energy", hint=f"{name!r} must run over 'energy'")
    others = [str(dim) for dim in curves.dims if dim not in ("frame", "energy")]
    if others:
        raise SchemaError(f"{function} needs {name!r} over ('frame', 'energy'), got also {others}; choose with isel")
    energy = np.ascontiguousarray(series["energy"].values, dtype=float)
    if len(energy) < 5 or not np.isfinite(energy).all() or (np.diff(energy) <= 0).any():
        told = f"{len(energy)} from {energy[0]:g} to {energy[-1]:g}" if len(energy) else "none"
        raise SchemaError(
            f"{function} needs at least 5 finite, strictly increasing energies, got {told}; use sortby('energy')"
        )
    order = [dim for dim in ("frame", "energy") if dim in curves.dims]

    def rows(variable: xr.DataArray) -> np.ndarray:
        return np.atleast_2d(np.asarray(variable.transpose(*order).values, dtype=float))

    sigma = rows(series[f"{name}_sigma"]) if f"{name}_sigma" in series else None
    return Spectra(energy, rows(curves), sigma, "frame" not in curves.dims)


def spectra_by_grid(series: xr.Dataset, name: str, function: str, hint: str) -> list[tuple[np.ndarray, Spectra]]:
    """Return the variable `name` grid by grid, each with the frames that have it: one entry where all share a grid.

    Raises
    ------
    DimensionError, SchemaError
        As `spectra_of`.
    """
    if OWN not in series.variables:
        spectra = spectra_of(series, name, function, hint)
        return [(np.arange(len(spectra.values)), spectra)]
    energy = energies_of(series, function)
    values = curves_of(series, name, function, hint)
    sigma = curves_of(series, f"{name}_sigma", function, "") if f"{name}_sigma" in series else None

    def rows(curves: xr.DataArray, at: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.atleast_2d(np.asarray(curves.values, dtype=float))[at]

    found, is_single = [], "frame" not in values.dims
    for points, frames in same_grids(energy):
        at = np.ix_(frames, points)
        spread = None if sigma is None else rows(sigma, at)
        found.append((frames, Spectra(energy[frames[0], points], rows(values, at), spread, is_single)))
    return found


def numbers_of(series: xr.Dataset, name: str, n_frames: int, function: str, hint: str) -> np.ndarray:
    """Return the variable `name` as numbers (frame,); one number serves all frames."""
    if name not in series:
        raise SchemaError(f"{function} needs a variable {name!r}, got {', '.join(map(str, series.data_vars))}; {hint}")
    variable = series[name]
    if variable.dims not in ((), ("frame",)):
        raise SchemaError(f"{function} needs {name!r} over ('frame',), got {tuple(map(str, variable.dims))}")
    return np.array(np.broadcast_to(np.asarray(variable.values, dtype=float), (n_frames,)))


def polynomial_basis(x: np.ndarray, degree: int) -> np.ndarray:
    """Return the columns 1, x, … x^degree (point, degree + 1)."""
    return np.vander(x, degree + 1, increasing=True)


def scatter_of(residual: np.ndarray, n_free: int) -> np.ndarray:
    """Return for each row the standard deviation of the finite residuals, `n_free` parameters having been fitted."""
    spare = np.isfinite(residual).sum(axis=1) - n_free
    square = np.nansum(residual**2, axis=1)
    return np.sqrt(np.divide(square, spare, out=np.full(len(residual), np.nan), where=spare > 0))


def same_rows(known: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each distinct row of `known` (frame, point) the row and the frames that have it."""
    distinct, owner = np.unique(known, axis=0, return_inverse=True)
    return [(row, np.flatnonzero(owner.ravel() == i)) for i, row in enumerate(distinct)]


def table_of(series: xr.Dataset, data: dict[str, xr.Variable]) -> xr.Dataset:
    """Return results as a Dataset with what the series says of its frames (times, voltage, …) and its attributes."""
    kept = {str(name): one.variable for name, one in series.coords.items() if one.dims in (("frame",), ())}
    for name in ("time", "exposure", "file"):
        if name in series.variables and series[name].dims in (("frame",), ()):
            kept[name] = series[name].variable
    return xr.Dataset(data, kept, dict(series.attrs))
