"""How far the lattice has moved from a reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.schema import quantity, record, require, same_scheme

_EDGES = ("a", "b", "c")
_UNIQUE = ("tetragonal", "hexagonal", "trigonal")  # a and b are one number


def strain(cells: xr.Dataset, *, reference: int | xr.Dataset = 0) -> xr.Dataset:
    """Return the relative change of the cell against a reference.

    ``strain_a = a / a₀ - 1`` and so for b, c; ``volumetric = V / V₀ - 1``; ``linear = (V / V₀)^⅓ - 1``, the mean
    strain of a powder grain; ``anisotropy = strain_c - (strain_a + strain_b) / 2``. Changes of angles enter through
    the volume only.

    Parameters
    ----------
    cells
        From ``xrd.refine_cell``: ``a b c volume`` over ``frame``, with ``_sigma``.
    reference
        The label of a frame, or a Dataset with ``a b c volume`` (one frame of another series, or a structure; its
        σ count as 0 where it has none).

    Returns
    -------
    xarray.Dataset
        Over ``frame``, each with ``_sigma``: ``strain_a``, ``strain_b``, ``strain_c``, ``linear``, ``volumetric``,
        ``anisotropy`` [1]. The σ of the reference enters every frame alike, so differences between frames are better
        known than each frame; at the reference frame itself all is 0 with σ 0.

    Raises
    ------
    ValueError
        No such frame, a reference frame without a cell, or a Dataset of more than one frame.
    SchemaError
        A cell parameter is missing, or the reference was integrated with another pixel splitting.

    Examples
    --------
    >>> import batlab as bl
    >>> bl.xrd.strain(cells, reference=0).volumetric  # doctest: +SKIP
    """
    require(cells, "xrd.strain", "frame", hint="make the cells with xrd.refine_cell")
    _need(cells, "cells")
    start, own = _reference(cells, reference)
    data: dict[str, xr.Variable] = {}
    relative, relative_sigma = {}, {}
    for name in (*_EDGES, "volume"):
        value, sigma = _pair(cells, name)
        first, first_sigma = start[name]
        ratio = value / first
        error = ratio * np.hypot(sigma / value, first_sigma / first)
        relative[name], relative_sigma[name] = ratio - 1, _zero_at(error, own)
    for name in _EDGES:
        _add(data, f"strain_{name}", relative[name], relative_sigma[name], f"relative change of {name}")
    linear = np.cbrt(relative["volume"] + 1)
    _add(data, "linear", linear - 1, relative_sigma["volume"] / (3 * linear**2), "mean linear strain")
    _add(data, "volumetric", relative["volume"], relative_sigma["volume"], "relative change of the volume")
    told = "relative change of c beyond the mean of a and b"
    difference = relative["c"] - (relative["a"] + relative["b"]) / 2
    _add(data, "anisotropy", difference, _anisotropy_sigma(cells, relative_sigma), told)
    coords = {name: c.variable for name, c in cells.coords.items() if c.dims == ("frame",)}
    return record(xr.Dataset(data, coords, dict(cells.attrs)), "xrd.strain", reference=reference)


def _reference(cells: xr.Dataset, reference: int | xr.Dataset) -> tuple[dict[str, tuple[float, float]], int | None]:
    """Return value and σ of each parameter, and the place of the reference in `cells` if it is one of its frames."""
    if isinstance(reference, xr.Dataset):
        _need(reference, "reference")
        same_scheme("xrd.strain", cells, reference)
        one = reference.squeeze("frame") if reference.sizes.get("frame") == 1 else reference
        if "frame" in one.dims:
            raise ValueError(f"reference must be one frame, got {one.sizes['frame']}; select one with isel(frame=…)")
        own = None
    else:
        frames = cells["frame"].values if "frame" in cells.coords else np.arange(cells.sizes["frame"])
        place = np.flatnonzero(frames == reference)
        if isinstance(reference, bool) or place.size != 1:
            raise ValueError(f"reference must be a frame of {frames.min()} to {frames.max()}, got {reference!r}")
        own = int(place[0])
        one = cells.isel(frame=own)
    start = {}
    for name in (*_EDGES, "volume"):
        sigma = float(one[f"{name}_sigma"]) if f"{name}_sigma" in one else 0.0
        start[name] = float(one[name]), sigma
    if not all(np.isfinite(value) for value, _ in start.values()):
        raise ValueError("the reference frame has no cell (NaN); choose another with reference=…")
    return start, own


def _need(dataset: xr.Dataset, what: str) -> None:
    missing = [name for name in (*_EDGES, "volume") if name not in dataset]
    if missing:
        raise SchemaError(f"{what} must hold a, b, c and volume, lacks {', '.join(missing)}; use xrd.refine_cell")


def _pair(cells: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    value = np.asarray(cells[name].values, dtype=float)
    sigma = cells[f"{name}_sigma"].values if f"{name}_sigma" in cells else np.full(value.shape, np.nan)
    return value, np.asarray(sigma, dtype=float)


def _zero_at(values: np.ndarray, place: int | None) -> np.ndarray:
    if place is not None:
        values[place] = 0.0
    return values


def _anisotropy_sigma(cells: xr.Dataset, sigma: dict[str, np.ndarray]) -> np.ndarray:
    system = str(cells.attrs.get("crystal_system", ""))
    tied = np.array_equal(cells["a"].values, cells["b"].values, equal_nan=True)
    if tied and np.array_equal(cells["a"].values, cells["c"].values, equal_nan=True):
        return np.zeros_like(sigma["a"])
    if tied or system in _UNIQUE:
        return np.hypot(sigma["c"], sigma["a"])
    return np.sqrt(sigma["c"] ** 2 + (sigma["a"] ** 2 + sigma["b"] ** 2) / 4)


def _add(data: dict[str, Any], name: str, value: np.ndarray, sigma: np.ndarray, told: str) -> None:
    data[name] = quantity("frame", value, "1", told)
    data[f"{name}_sigma"] = quantity("frame", sigma, "1", f"1 sigma of the {told}")
