"""A variable as rows (frame, axis), in memory or lazy, and results of work on its rows in the same form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.schema import quantity, require


class Rows(NamedTuple):
    """Curves on one grid; a single one is one row."""

    axis: str
    x: np.ndarray  # (point,), increasing
    values: Any  # (frame, point): numpy, or dask with whole rows
    is_single: bool

    @property
    def is_lazy(self) -> bool:
        """Whether the values are computed later, block by block."""
        return not isinstance(self.values, np.ndarray)

    def mapped(self, work: Callable[..., np.ndarray], n_out: int, *beside: Any) -> Any:
        """Return work(values, *beside) (frame, n_out); of `beside`, numbers (frame,) are handed on as columns."""
        columns = [self.column(one) if one.ndim == 1 else self._in_blocks(one) for one in beside]
        if not self.is_lazy:
            return work(self.values, *columns)
        sizes = (self.values.chunks[0], (n_out,))
        return self.values.map_blocks(work, *columns, dtype=float, chunks=sizes, meta=np.empty((0, 0)))

    def column(self, numbers: Any) -> Any:
        """Return numbers (frame,) as (frame, 1), in blocks of the rows where these are lazy."""
        if not self.is_lazy:
            return np.asarray(numbers, dtype=float)[:, None]
        import dask.array as da

        return da.asarray(numbers, dtype=float).rechunk((self.values.chunks[0],))[:, None]

    def _in_blocks(self, table: np.ndarray) -> Any:
        """Return a table (frame, point), or (1, point) for all frames, as its rows go with those of the values."""
        if not self.is_lazy or len(table) == 1:
            return table
        import dask.array as da

        return da.from_array(table, chunks=(self.values.chunks[0], table.shape[1]))

    def curves(self, axis: str, values: Any, units: str, long_name: str, **attrs: Any) -> xr.Variable:
        """Return (frame, point) as a variable over (``frame``, `axis`), or over `axis` for a single curve."""
        if self.is_single:
            return quantity(axis, values[0], units, long_name, **attrs)
        return quantity(("frame", axis), values, units, long_name, **attrs)

    def numbers(self, values: Any, units: str, long_name: str, **attrs: Any) -> xr.Variable:
        """Return (frame,) as a variable over ``frame``, or a scalar for a single curve."""
        if self.is_single:
            return quantity((), np.asarray(values)[0], units, long_name, **attrs)
        return quantity("frame", values, units, long_name, **attrs)


def rows_of(series: xr.Dataset, name: str, axis: str, function: str, hint: str, grid: np.ndarray | None = None) -> Rows:
    """Return the variable `name` over (``frame``, `axis`) as rows; `hint` says how to make it, `grid` is a checked one.

    Raises
    ------
    DimensionError, SchemaError
        Without the axis or the variable, with other dimensions, or on a grid that does not increase.
    """
    if name not in series:
        held = ", ".join(map(str, series.data_vars)) or "none"
        raise SchemaError(f"{function} needs a variable {name!r}, got {held}; {hint}")
    variable = series[name]
    require(variable, function, axis, hint=f"{name!r} must run over {axis!r}")
    others = [str(dim) for dim in variable.dims if dim not in ("frame", axis)]
    if others:
        raise SchemaError(f"{function} needs {name!r} over ('frame', {axis!r}), got also {others}; choose with isel")
    x = np.ascontiguousarray(series[axis].values, dtype=float) if grid is None else grid
    if grid is None and (len(x) < 5 or not np.isfinite(x).all() or (np.diff(x) <= 0).any()):
        told = f"{len(x)} from {x[0]:g} to {x[-1]:g}" if len(x) else "none"
        raise SchemaError(
            f"{function} needs at least 5 finite, strictly increasing values of {axis!r}, got {told}; "
            f"use sortby({axis!r}) and drop repeats"
        )
    is_single = "frame" not in variable.dims
    values = variable.data if is_single else variable.transpose("frame", axis).data
    values = values[None] if is_single else values
    if variable.chunks is None:
        return Rows(axis, x, np.asarray(values), is_single)
    return Rows(axis, x, values.rechunk({1: -1}), is_single)


def numbers_of(series: xr.Dataset, name: str, rows: Rows, function: str) -> Any:
    """Return the variable `name` as numbers (frame,), lazy if it is; one number serves all frames."""
    variable = series[name]
    if variable.dims not in ((), ("frame",)):
        raise SchemaError(f"{function} needs {name!r} over ('frame',), got {tuple(map(str, variable.dims))}")
    n_frames = rows.values.shape[0]
    if variable.dims == ():
        return np.full(n_frames, float(variable.values))
    return variable.data
