"""What every step on a series of 1-D curves asks first: which axis, which values."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError

AXES = ("two_theta", "q")


def axis_of(patterns: xr.Dataset | xr.DataArray, function: str, axes: tuple[str, ...] = AXES) -> str:
    """Return the name of the axis along which the curves run."""
    found = [name for name in axes if name in patterns.dims]
    if len(found) != 1:
        told = " or ".join(repr(name) for name in axes)
        raise DimensionError(f"{function} needs dimension {told}, got {tuple(map(str, patterns.dims))}")
    return found[0]


def values_of(patterns: xr.Dataset, axis: str, function: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the axis and the intensity over (frame, axis) as float64; a single curve becomes one frame."""
    if "intensity" not in patterns:
        raise SchemaError(f"{function} needs a variable 'intensity', got {', '.join(map(str, patterns.data_vars))}")
    intensity = patterns["intensity"]
    others = [str(dim) for dim in intensity.dims if dim not in ("frame", axis)]
    if others or axis not in intensity.dims:
        raise DimensionError(
            f"{function} needs intensity over ('frame', {axis!r}), got {tuple(map(str, intensity.dims))}; "
            "choose one of the others with isel"
        )
    x = np.ascontiguousarray(patterns[axis].values, dtype=float)
    if len(x) < 3 or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
        told = f"{len(x)} from {x[0]:g} to {x[-1]:g}" if len(x) else "none"
        raise SchemaError(
            f"{function} needs at least 3 finite, strictly increasing values of {axis!r}, got {told}; "
            f"order them with sortby({axis!r})"
        )
    if "frame" not in intensity.dims:
        intensity = intensity.expand_dims("frame")
    values = np.ascontiguousarray(intensity.transpose("frame", axis).values, dtype=float)
    return x, values
