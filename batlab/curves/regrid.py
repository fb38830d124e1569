"""Curves brought onto another grid, by a call that can be seen."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from batlab.curves.patterns import axis_of
from batlab.errors import SchemaError, choose
from batlab.schema import quantity, record, same_scheme

METHODS = ("linear", "rebin")


def regrid(patterns: xr.Dataset, onto: xr.Dataset | xr.DataArray | np.ndarray, *, method: str = "linear") -> xr.Dataset:
    """Return the curves on the grid `onto`, with their σ.

    ``"linear"`` interpolates between the two neighbours: y = (1 - t) y₁ + t y₂, σ² = (1 - t)² σ₁² + t² σ₂².
    ``"rebin"`` takes the mean over each new bin (edges half way between the points), weighted by the overlap of the
    old bins with it: sums of counts are conserved, which coarser grids need. Neighbouring results then share points,
    so that their noise is correlated; σ says nothing of that. Where a needed point is missing or outside the old
    grid the result is NaN, never extrapolated.

    Parameters
    ----------
    patterns
        Any variables over ``two_theta``, ``q``, ``energy``, ``k`` or ``r``; those without it are passed on.
    onto
        The new grid: an increasing array, or a dataset or array with the same axis.
    method
        ``"linear"`` or ``"rebin"``.

    Returns
    -------
    xarray.Dataset
        Everything over the axis, on the new grid. ``mask`` is True where any contributing point is excluded.

    Raises
    ------
    DimensionError
        If `patterns` or `onto` lack the axis.
    SchemaError
        If the new grid does not increase, or has fewer than two points; if `patterns` have no values of the axis; if
        both were integrated with different pixel splitting.

    Examples
    --------
    >>> pattern = xr.Dataset({"intensity": quantity("q", np.array([1.0, 3.0, 5.0]), "1", "intensity")},
    ...                      {"q": quantity("q", np.array([1.0, 2.0, 3.0]), "1/angstrom", "scattering vector")})
    >>> regrid(pattern, [1.5, 2.0]).intensity.values.tolist()
    [2.0, 3.0]
    """
    choose("method", method, METHODS)
    axis = axis_of(patterns, "curves.regrid", ("two_theta", "q", "energy", "k", "r"))
    if isinstance(onto, (xr.Dataset, xr.DataArray)):
        axis_of(onto, "curves.regrid", (axis,))
        same_scheme("curves.regrid", patterns, onto)
        onto = onto[axis].values
    if axis not in patterns.coords:
        raise SchemaError(
            f"curves.regrid needs the values of {axis!r}, got none; assign them, or bring spectra with grids of their "
            "own (energy_measured) onto one with xas.rebin"
        )
    new = np.asarray(onto, dtype=float)
    if new.ndim != 1 or len(new) < 2 or not np.isfinite(new).all() or (np.diff(new) <= 0).any():
        raise SchemaError(f"curves.regrid needs a grid of at least 2 finite, increasing values, got shape {new.shape}")
    old = np.asarray(patterns[axis].values, dtype=float)
    weights = _between(old, new) if method == "linear" else _overlap(old, new)
    variables = {
        name: _moved(str(name), variable, axis, weights) if axis in variable.dims else variable
        for name, variable in patterns.variables.items()
        if name != axis
    }
    coords = {name: variables.pop(name) for name in list(patterns.coords) if name in variables}
    coords[axis] = quantity(axis, new, patterns[axis].attrs["units"], patterns[axis].attrs.get("long_name", axis))
    result = xr.Dataset(variables, coords, dict(patterns.attrs))
    return record(result, "curves.regrid", onto=new, method=method)


def _moved(name: str, variable: xr.Variable, axis: str, weights: csr_array) -> xr.Variable:
    """Return `variable` on the new grid; σ adds in squares, a mask where it touches, NaN spoils what needs it."""
    order = [*[dim for dim in variable.dims if dim != axis], axis]
    values = np.asarray(variable.transpose(*order).values)
    flat = values.reshape(-1, values.shape[-1]).astype(float).T
    lost = (weights != 0).astype(float) @ (~np.isfinite(flat)).astype(float) > 0
    lost |= (np.asarray(weights.sum(axis=1)) == 0)[:, None]
    flat = np.where(np.isfinite(flat), flat, 0.0)
    if name == "mask":
        moved = ((weights @ flat > 0) | lost).T
    elif name.endswith("_sigma"):
        moved = np.where(lost, np.nan, np.sqrt(weights.power(2) @ flat**2)).T
    else:
        moved = np.where(lost, np.nan, weights @ flat).T
    shaped = xr.Variable(order, moved.reshape(*values.shape[:-1], -1), variable.attrs)
    return shaped.transpose(*variable.dims)


def _between(old: np.ndarray, new: np.ndarray) -> csr_array:
    """Return the matrix (new, old) of linear interpolation; rows outside the old grid are empty."""
    left = np.clip(np.searchsorted(old, new, side="right") - 1, 0, len(old) - 2)
    part = (new - old[left]) / (old[left + 1] - old[left])
    inside = (new >= old[0]) & (new <= old[-1])
    rows = np.flatnonzero(inside)
    left, part = left[inside], part[inside]
    matrix = csr_array(
        (np.concatenate([1 - part, part]), (np.concatenate([rows, rows]), np.concatenate([left, left + 1]))),
        shape=(len(new), len(old)),
    )
    matrix.eliminate_zeros()
    return matrix


def _overlap(old: np.ndarray, new: np.ndarray) -> csr_array:
    """Return the matrix (new, old) of shares in each new bin; rows not wholly inside the old bins are empty."""
    old_edges, new_edges = _edges(old), _edges(new)
    cuts = np.unique(np.concatenate([old_edges, new_edges]))
    cuts = cuts[(cuts >= max(old_edges[0], new_edges[0])) & (cuts <= min(old_edges[-1], new_edges[-1]))]
    if len(cuts) < 2:
        return csr_array((len(new), len(old)))
    middle, length = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
    rows = np.clip(np.searchsorted(new_edges, middle) - 1, 0, len(new) - 1)
    columns = np.clip(np.searchsorted(old_edges, middle) - 1, 0, len(old) - 1)
    slack = 1e-9 * (old_edges[-1] - old_edges[0])
    whole = (new_edges[:-1] >= old_edges[0] - slack) & (new_edges[1:] <= old_edges[-1] + slack)
    keep = whole[rows]
    share = length[keep] / np.diff(new_edges)[rows[keep]]
    return csr_array((share, (rows[keep], columns[keep])), shape=(len(new), len(old)))


def _edges(points: np.ndarray) -> np.ndarray:
    middle = 0.5 * (points[1:] + points[:-1])
    return np.concatenate([[1.5 * points[0] - 0.5 * points[1]], middle, [1.5 * points[-1] - 0.5 * points[-2]]])
