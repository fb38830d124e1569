"""The energies of a series, shared by its frames or each frame's own, and steps that run over blocks of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity, require

OWN = "energy_measured"  # (frame, energy) [eV]: grids that differ from frame to frame, padded with NaN


def energies_of(series: xr.Dataset, function: str) -> np.ndarray:
    """Return the energies in eV: (1, point) where the frames share a grid, else (frame, point), NaN behind the last.

    Raises
    ------
    DimensionError
        Without the dimension ``energy``.
    SchemaError
        Without energies, or where they do not increase strictly.
    """
    require(series, function, "energy", hint="spectra run over 'energy' in eV")
    name = OWN if OWN in series.variables else "energy"
    if name not in series.variables:
        raise SchemaError(
            f"{function} needs a coordinate 'energy', or {OWN!r} over ('frame', 'energy') where every frame has a grid "
            "of its own"
        )
    energy = np.atleast_2d(np.asarray(series[name].values, dtype=float))
    if name == "energy" and not np.isfinite(energy).all():
        raise SchemaError(f"{function}: 'energy' holds NaN or infinity; drop those points")
    # What precedes each point, gaps apart.
    before = np.maximum.accumulate(np.where(np.isfinite(energy), energy, -np.inf), axis=1)[:, :-1]
    wrong = np.argwhere(energy[:, 1:] <= before)
    if len(wrong):
        frame, point = map(int, wrong[0])
        where = f" in frame {frame}" if name == OWN else ""
        raise SchemaError(
            f"{function}: energies must increase strictly, got {before[frame, point]:.8g} then "
            f"{energy[frame, point + 1]:.8g} eV at point {point + 1}{where}; use sortby('energy') and drop repeats, or "
            "xas.merge what was scanned twice"
        )
    if (energy[np.isfinite(energy)] <= 0).any():
        raise SchemaError(f"{function}: energies must be positive, got {np.nanmin(energy):g} eV; drop those points")
    return np.ascontiguousarray(energy)


def same_grids(energy: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each distinct row of energies (frame, point) its finite points, and the frames that have it."""
    distinct, owner = np.unique(np.where(np.isfinite(energy), energy, 0.0), axis=0, return_inverse=True)
    return [(np.flatnonzero(row), np.flatnonzero(owner.ravel() == i)) for i, row in enumerate(distinct)]


def curves_of(series: xr.Dataset, name: str, function: str, hint: str) -> xr.DataArray:
    """Return the variable `name` over (``frame``, ``energy``) or ``energy``, refusing anything else."""
    if name not in series:
        raise SchemaError(f"{function} needs a variable {name!r}, got {', '.join(map(str, series.data_vars))}; {hint}")
    curves = series[name]
    if set(curves.dims) not in ({"energy"}, {"frame", "energy"}):
        raise DimensionError(
            f"{function} needs {name!r} over ('frame', 'energy') or ('energy',), got "
            f"{tuple(map(str, curves.dims))}; choose one of the others with isel"
        )
    order = [dim for dim in ("frame", "energy") if dim in curves.dims]
    return curves.transpose(*order)


def is_lazy(*arrays: xr.DataArray | None) -> bool:
    """Return whether any of the arrays is still to be computed."""
    return any(array is not None and array.chunks is not None for array in arrays)


def over_frames(
    work: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    inputs: Mapping[str, xr.DataArray | None],
    outputs: Mapping[str, tuple[bool, Any]],
) -> dict[str, xr.Variable]:
    """Run `work` on blocks of frames and return its results without attributes, lazy where an input is.

    Parameters
    ----------
    work
        From arrays over (frame, energy) or (frame), by the names of `inputs`, to arrays by the names of `outputs`. A
        single spectrum is one frame.
    inputs
        Over ``energy`` or not, over ``frame`` or not; None is not handed on. What is lazy is one block along energy.
    outputs
        For each result whether it runs over energy, and its type.
    """
    given = {name: array for name, array in inputs.items() if array is not None}
    along = {name: "energy" in array.dims for name, array in given.items()}
    single = all("frame" not in array.dims for array in given.values())
    plain = {
        name: array.chunk({"energy": -1}) if array.chunks is not None and along[name] else array
        for name, array in given.items()
    }

    def run(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        n_frames = max((len(a) for a, name in zip(arrays, given) if a.ndim == 1 + along[name]), default=1)
        full = {
            name: np.broadcast_to(a, (n_frames, *a.shape[-1:]) if along[name] else (n_frames,))
            for a, name in zip(arrays, given)
        }
        results = work(full)
        return tuple(results[name][0] if single else results[name] for name in outputs)

    dropped = [array.drop_vars(list(array.coords)).variable for array in plain.values()]
    results = xr.apply_ufunc(
        run,
        *dropped,
        input_core_dims=[["energy"] if along[name] else [] for name in given],
        output_core_dims=[["energy"] if curve else [] for curve, _ in outputs.values()],
        dask="parallelized",
        output_dtypes=[kind for _, kind in outputs.values()],
    )
    results = results if isinstance(results, tuple) else (results,)
    return {name: result if isinstance(result, xr.Variable) else xr.Variable((), result)
            for name, result in zip(outputs, results)}  # fmt: skip


def per_frame(series: xr.Dataset, name: str, value: Any, units: str, long_name: str, function: str) -> xr.DataArray:
    """Return what the user gave for every frame, a number or one number a frame, as an array over ``frame``."""
    if isinstance(value, xr.DataArray):
        if value.dims not in ((), ("frame",)):
            raise DimensionError(f"{function} needs {name} over ('frame',), got {tuple(map(str, value.dims))}")
        value = value.values
    numbers = np.asarray(value, dtype=float)
    n_frames = series.sizes.get("frame")
    if numbers.ndim > 1 or (numbers.ndim == 1 and len(numbers) != n_frames):
        raise ValueError(
            f"{function}: {name} must be one number or one a frame ({n_frames or 'a single spectrum'}), got shape "
            f"{numbers.shape}"
        )
    dims = ("frame",) if n_frames is not None else ()
    spread = np.broadcast_to(numbers, (n_frames,) if n_frames is not None else ())
    return xr.DataArray(quantity(dims, spread, units, long_name))
