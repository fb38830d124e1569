"""What a linear combination fit is given, as numbers: references, bounds, weights of points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab.decompose.table import SPECTRA, Table, as_table
from batlab.errors import DimensionError, did_you_mean
from batlab.schema import same_scheme


def references_of(
    references: Any, of: str | None, table: Table, function: str = "decompose.lcf"
) -> tuple[list[str], np.ndarray]:
    """Return names and values (reference, axis) of references on the axis of `table`.

    Raises
    ------
    DimensionError
        Another axis or another grid.
    ValueError
        No reference, or a name twice.
    """
    if isinstance(references, Mapping) and not isinstance(references, xr.Dataset):
        tables = {str(name): _row(one, of, function) for name, one in references.items()}
        names, rows, sources = list(tables), [one.values for one in tables.values()], list(tables.values())
        for name, one in tables.items():
            if len(one.values) != 1:
                raise DimensionError(
                    f"{function}: reference {name!r} has {len(one.values)} spectra; average or choose one"
                )
    else:
        one = _row(references, of, function)
        sources, rows, names = [one], [one.values], _names(one)
    if not rows or not sum(len(one) for one in rows):
        raise ValueError(f"{function} needs at least one reference, got none")
    if len(set(names)) < len(names):
        raise ValueError(f"{function}: references must have names of their own, got {', '.join(names)}")
    for source in sources:
        _same_axis(source, table, function)
    return names, np.concatenate(rows)


def _row(data: Any, of: str | None, function: str) -> Table:
    if isinstance(data, xr.DataArray) or (isinstance(data, xr.Dataset) and of is not None and of not in data):
        return as_table(data, None, f"{function} (references)", leading=SPECTRA)
    return as_table(data, of, f"{function} (references)", leading=SPECTRA)


def _names(table: Table) -> list[str]:
    texts = [one for one in table.along_frames.values() if one.dims == (table.dims[0],) and one.dtype.kind in "UO"]
    if texts:
        return [str(one) for one in texts[0].values]
    return [str(one) for one in range(len(table.values))]


def _same_axis(source: Table, table: Table, function: str) -> None:
    if source.axis_name != table.axis_name:
        raise DimensionError(f"{function} needs references over {table.axis_name!r}, got {source.axis_name!r}")
    same_scheme(function, source.dataset, table.dataset)
    if source.axis.shape != table.axis.shape or not np.array_equal(source.axis, table.axis):
        raise DimensionError(
            f"{function} needs equal {table.axis_name!r} grids, got {len(table.axis)} points in the series and "
            f"{len(source.axis)} in a reference that differ; bring both onto one grid first with curves.regrid"
        )


def limits_of(bounds: Any, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper bounds of the references; None is no bound."""
    if isinstance(bounds, Mapping):
        for name in bounds:
            if name not in names:
                raise ValueError(
                    f"bounds: no reference {name!r}, there are {', '.join(names)}{did_you_mean(name, names)}"
                )
        pairs = [_pair(bounds.get(name, (0.0, 1.0)), f"bounds of {name!r}") for name in names]
    else:
        pairs = [_pair(bounds, "bounds")] * len(names)
    return np.array([low for low, _ in pairs]), np.array([high for _, high in pairs])


def _pair(bounds: Any, what: str) -> tuple[float, float]:
    if bounds is None:
        return -np.inf, np.inf
    try:
        low, high = bounds
        low, high = -np.inf if low is None else float(low), np.inf if high is None else float(high)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be (low, high) or None, got {bounds!r}") from None
    if not low <= high or low == np.inf or high == -np.inf:
        raise ValueError(f"{what} must be (low, high) with low at most high, got {bounds!r}")
    return low, high


def point_weights(weights: Any, table: Table) -> np.ndarray:
    """Return weights of points (1 or frame, axis), 0 where a point is left out."""
    if weights is None:
        return np.ones((1, table.values.shape[1]))
    if isinstance(weights, xr.DataArray):
        own = as_table(weights, None, "decompose.lcf (weights)")
        _same_axis(own, table, "decompose.lcf (weights)")
        numbers = own.values
    else:
        numbers = np.atleast_2d(np.asarray(weights, dtype=float))
    if numbers.ndim != 2 or numbers.shape[1] != table.values.shape[1] or len(numbers) not in (1, len(table.values)):
        raise DimensionError(
            f"weights must run over {table.axis_name!r} ({table.values.shape[1]} points) or over frames too "
            f"({len(table.values)}), got shape {numbers.shape}"
        )
    usable = np.where(np.isfinite(numbers) & (numbers > 0), numbers, 0.0)
    if not usable.any():
        raise ValueError("weights leave out every point; give some that are positive and finite")
    return usable


def masked(values: np.ndarray, of_points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values without NaN and weights that leave missing points out; one row of weights where one is enough."""
    known = np.isfinite(values)
    if known.all():
        return values, of_points
    return np.where(known, values, 0.0), np.where(known, of_points, 0.0)
