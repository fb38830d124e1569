"""Spectra moved in energy: the grid itself, or curves interpolated back onto it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.schema import quantity


def grid_moved(series: xr.Dataset, shift: float) -> xr.Dataset:
    energy = series["energy"]
    moved = quantity("energy", energy.values.astype(float) + shift, "eV", energy.attrs.get("long_name", "energy"))
    return series.assign_coords(energy=moved)


def interpolated(series: xr.Dataset, shift: np.ndarray) -> xr.Dataset:
    """Return the series with every curve over (frame, energy) shifted, on the points that all frames reach."""
    energy = np.asarray(series["energy"].values, dtype=float)
    result = series.copy()
    delta = xr.DataArray(shift, dims="frame")
    for name in list(result.data_vars):
        curves = result[name]
        if not {"frame", "energy"} <= set(curves.dims) or curves.dtype.kind not in "biuf":
            continue
        kind = "mask" if curves.dtype.kind == "b" else "sigma" if str(name).endswith("_sigma") else "value"
        moved = xr.apply_ufunc(
            curves_at, energy, curves, delta, kwargs={"kind": kind}, input_core_dims=[["energy"], ["energy"], []],
            output_core_dims=[["energy"]], dask="parallelized", output_dtypes=[bool if kind == "mask" else float],
        )  # fmt: skip
        result[name] = moved.transpose(*curves.dims).variable.copy()
        result[name].attrs.update(curves.attrs)
    known = shift[np.isfinite(shift)]
    whole = (energy >= energy[0] + known.max()) & (energy <= energy[-1] + known.min())
    return result.isel(energy=np.flatnonzero(whole))


def curves_at(energy: np.ndarray, rows: np.ndarray, shift: np.ndarray, kind: str = "value") -> np.ndarray:
    """Return curves (…, point) at `energy` - `shift` (…), cubic through four neighbours; NaN outside the grid."""
    n, wide = len(energy), np.broadcast_to(np.asarray(shift)[..., None], rows.shape)
    at = energy - wide
    start = np.clip(np.searchsorted(energy, np.nan_to_num(at)) - 2, 0, n - 4)
    knots = [energy[start + i] for i in range(4)]
    total = np.zeros(rows.shape)
    for i in range(4):
        weight = np.ones(rows.shape)
        for j in range(4):
            if j != i:
                weight *= (at - knots[j]) / (knots[i] - knots[j])
        part = np.take_along_axis(rows, start + i, axis=-1).astype(float)
        part = np.where(weight == 0.0, 0.0, part)  # a point that does not count may be NaN
        total += weight**2 * part**2 if kind == "sigma" else np.abs(weight * part) if kind == "mask" else weight * part
    outside = ~((at >= energy[0]) & (at <= energy[-1]))
    if kind == "mask":
        return (total > 0) | outside
    return np.where(outside, np.nan, np.sqrt(total) if kind == "sigma" else total)
