"""What comes into the reduction: curves over Q, their σ, their background; checked once, with figures."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, UnitError
from batlab.schema import quantity, require

HINT = "convert with scattering.to_q(patterns, wavelength=…)"


class Curves(NamedTuple):
    """Curves on one grid; a single one is one row. Arrays are numpy, or dask in blocks of frames."""

    x: np.ndarray
    values: Any  # (frame, point)
    sigma: Any | None
    is_single: bool

    def variable(self, axis: str, values: Any, units: str, long_name: str, **attrs: Any) -> xr.Variable:
        """Return (frame, point) as a variable over (frame, `axis`), or over `axis` for a single curve."""
        if self.is_single:
            return quantity(axis, values[0], units, long_name, **attrs)
        return quantity(("frame", axis), values, units, long_name, **attrs)

    def number(self, values: Any, units: str, long_name: str, **attrs: Any) -> xr.Variable:
        """Return (frame,) as a variable over frame, or a scalar."""
        if self.is_single:
            return quantity((), values[0], units, long_name, **attrs)
        return quantity("frame", values, units, long_name, **attrs)


def curves_of(series: xr.Dataset, name: str, axis: str, function: str, *, units: str, hint: str = HINT) -> Curves:
    """Return the variable `name` over (frame, `axis`) and its σ.

    Raises
    ------
    DimensionError, SchemaError, UnitError
        Another axis, another unit of it, no such variable, fewer than 8 points.
    """
    if not isinstance(series, xr.Dataset):
        raise TypeError(f"{function} needs a Dataset with {name!r}, got a {type(series).__name__}")
    require(series, function, axis, hint=hint)
    if name not in series:
        held = ", ".join(map(str, series.data_vars)) or "none"
        raise SchemaError(f"{function} needs a variable {name!r}, got {held}")
    told = series[axis].attrs.get("units")
    if told is not None and told != units:
        raise UnitError(f"{function} needs {axis!r} in {units!r}, got {told!r}; convert it where it is read")
    variable = series[name]
    others = [str(dim) for dim in variable.dims if dim not in ("frame", axis)]
    if others or axis not in variable.dims:
        raise DimensionError(f"{function} needs {name!r} over ('frame', {axis!r}), got {variable.dims}")
    x = np.ascontiguousarray(series[axis].values, dtype=float)
    if len(x) < 8 or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
        raise SchemaError(f"{function} needs at least 8 finite, increasing values of {axis!r}, got {len(x)}")
    return Curves(
        x, _rows(variable, axis), _rows(series.get(f"{name}_sigma"), axis), is_single="frame" not in variable.dims
    )


def _rows(variable: xr.DataArray | None, axis: str) -> Any:
    if variable is None:
        return None
    data = variable.data[None] if "frame" not in variable.dims else variable.transpose("frame", axis).data
    return data if isinstance(data, np.ndarray) else data.rechunk({1: -1})


def background_of(patterns: xr.Dataset, background: xr.Dataset | None, bgscale: float, function: str) -> Curves | None:
    """Return the background on the patterns' grid: one curve, or as many as there are frames.

    Raises
    ------
    SchemaError
        Another grid, unit or number of frames.
    ValueError
        A scale that is negative or not finite.
    """
    if not 0 <= bgscale < np.inf:
        raise ValueError(f"{function}: bgscale must be at least 0, got {bgscale!r}")
    if background is None:
        return None
    found = curves_of(background, "intensity", "q", f"{function} (background)", units="1/angstrom")
    grid = np.asarray(patterns["q"].values, dtype=float)
    if not np.array_equal(found.x, grid):
        raise SchemaError(
            f"{function}: the background has {len(found.x)} points from {found.x[0]:g} to {found.x[-1]:g}, the "
            f"patterns {len(grid)} from {grid[0]:g} to {grid[-1]:g} 1/angstrom; bring them onto one grid with "
            "curves.regrid"
        )
    units = [one["intensity"].attrs.get("units") for one in (patterns, background)]
    if units[0] != units[1]:
        raise UnitError(f"{function}: patterns are in {units[0]!r}, the background in {units[1]!r}; use one unit")
    n_frames = 1 if "frame" not in patterns["intensity"].dims else patterns.sizes["frame"]
    if len(found.values) not in (1, n_frames):
        raise SchemaError(f"{function}: {len(found.values)} backgrounds for {n_frames} frames; give one or one each")
    sigma = None if found.sigma is None else np.asarray(found.sigma)
    return found._replace(values=np.asarray(found.values), sigma=sigma)


def warn_negative(values: np.ndarray, q: np.ndarray, function: str) -> None:
    """Warn of intensities below zero, with their number and the first place."""
    negative = values < 0
    if negative.any():
        frame, point = np.argwhere(negative)[0]
        warnings.warn(
            f"{function}: {int(negative.sum())} of {negative.size} intensities are negative, first in frame {frame} at "
            f"q = {q[point]:.4g}; the background may be too strong (bgscale) or a point dead (mask it with NaN)",
            UserWarning,
            stacklevel=4,
        )
