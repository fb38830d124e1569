"""Where peaks are looked for: positions, structures, or an earlier table of peaks, brought into one form."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from batlab import io
from batlab.curves import metric
from batlab.curves.lines import lines, space_group_of
from batlab.errors import DimensionError, UnitError


@dataclass(frozen=True)
class Seeds:
    """Expected peaks, in increasing position: axis units; `hkl` and `phase` are "" where unknown; `weight` ≤ 1.

    `design` (peak, 6): the factors of what the space group leaves free in the reciprocal metric, so that 1/d² is
    linear in them; unused columns are 0, a whole row is NaN where the peak belongs to no structure.
    """

    position: np.ndarray
    hkl: np.ndarray
    phase: np.ndarray
    weight: np.ndarray
    design: np.ndarray

    def __len__(self) -> int:
        return len(self.position)


def seeds(near: Any, patterns: xr.Dataset, axis: str) -> Seeds:
    """Return the expected peaks that lie inside the patterns' range.

    `near` is an array of positions, a structure (path of a CIF or Dataset), a list or a mapping name → structure
    or positions, or a Dataset with ``position`` over ``peak`` (from `find_peaks`, `lines` or `fit_peaks`).

    Raises
    ------
    ValueError
        If nothing is expected inside the range; the message gives both ranges.
    DimensionError, UnitError
        If a table of peaks is on the other axis.
    """
    x = patterns[axis].values
    parts = [_positions(near, axis)] if _is_positions(near) else _structures(near, patterns, axis)
    joined = [
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("position", "hkl", "phase", "weight", "design")
    ]
    inside = np.isfinite(joined[0]) & (joined[0] > x[0]) & (joined[0] < x[-1])
    if not inside.any():
        told = f"{np.nanmin(joined[0]):g} to {np.nanmax(joined[0]):g}" if np.isfinite(joined[0]).any() else "none"
        raise ValueError(f"near expects peaks at {told}, the patterns cover {axis} {x[0]:g} to {x[-1]:g}: none inside")
    order = np.flatnonzero(inside)[np.argsort(joined[0][inside], kind="stable")]
    return Seeds(*(array[order] for array in joined))


def _is_positions(near: Any) -> bool:
    if isinstance(near, (xr.Dataset, xr.DataArray)):
        return isinstance(near, xr.DataArray) or "position" in near
    if isinstance(near, (str, os.PathLike, Mapping)):
        return False
    items: Any = near.ravel() if isinstance(near, np.ndarray) else list(near) if isinstance(near, Iterable) else [near]
    return len(items) > 0 and all(isinstance(item, (int, float, np.number)) for item in items)


def _positions(near: Any, axis: str) -> Seeds:
    if isinstance(near, xr.Dataset):
        stated = near.attrs.get("axis", axis)
        if stated != axis:
            raise UnitError(f"near holds positions on {stated!r}, the patterns are on {axis!r}; convert one of them")
        table = near["position"]
        if "peak" not in table.dims:
            raise DimensionError(f"near['position'] needs dimension 'peak', got {table.dims}")
        values = np.asarray(table.transpose(..., "peak").values, dtype=float)
        if values.ndim == 2:  # an earlier fit: each peak where it was first seen
            seen = np.isfinite(values).argmax(axis=0)
            values = values[seen, np.arange(values.shape[1])]
        hkl, phase = (_labels(near, name, len(values)) for name in ("hkl", "phase"))
        return Seeds(values, hkl, phase, np.ones(len(values)), _no_design(len(values)))
    values = np.atleast_1d(np.asarray(near, dtype=float)).ravel()
    blank = np.full(len(values), "", dtype=object)
    return Seeds(values, blank, blank, np.ones(len(values)), _no_design(len(values)))


def _labels(table: xr.Dataset, name: str, n: int) -> np.ndarray:
    if name in table.variables and table[name].dims == ("peak",):
        return np.array([str(label) for label in table[name].values], dtype=object)
    return np.full(n, "", dtype=object)


def _named(near: Any) -> list[tuple[Any, Any]]:
    """Return (name or None, structure or positions) of each part of `near`."""
    if isinstance(near, (str, os.PathLike, xr.Dataset)):  # a Dataset is a Mapping, too
        return [(None, near)]
    if not isinstance(near, Iterable):
        raise ValueError(f"near must be positions, structures or a table of peaks, got {near!r}")
    named = list(near.items()) if isinstance(near, Mapping) else [(None, part) for part in near]
    if not named:
        raise ValueError("near is empty; give positions, a structure or a table of peaks")
    return named


def _structures(near: Any, patterns: xr.Dataset, axis: str) -> list[Seeds]:
    x = patterns[axis].values
    limits = max(float(x[0]), 1e-3 * float(x[-1])), min(float(x[-1]), 179.9 if axis == "two_theta" else np.inf)
    wavelength = patterns.attrs.get("wavelength")
    found, taken = [], set()
    for name, structure in _named(near):
        if _is_positions(structure):
            places = _positions(structure, axis)
            if name is not None:
                places = replace(places, phase=np.full(len(places), str(name), dtype=object))
            found.append(places)
            continue
        table = lines(structure, limits=limits, wavelength=wavelength, axis=axis)
        n, hkl = table.sizes["peak"], _labels(table, "hkl", table.sizes["peak"])
        phase = _labels(table, "phase", n) if name is None else np.full(n, str(name), dtype=object)
        if phase[0] in taken:
            raise ValueError(f"near holds two structures called {phase[0]!r}; name them: near={{'one': …, 'two': …}}")
        taken.add(phase[0])
        weight = np.asarray(table["intensity"].values, dtype=float) / 100.0 if "intensity" in table else np.ones(n)
        place = np.asarray(table["position"].values, dtype=float)
        found.append(Seeds(place, hkl, phase, weight, _design(structure, hkl)))
    return found


def _no_design(n: int) -> np.ndarray:
    return np.full((n, 6), np.nan)


def _design(structure: Any, hkl: np.ndarray) -> np.ndarray:
    factors = metric.terms(metric.miller(list(hkl))) @ metric.free_parameters(space_group_of(io.structure(structure)))
    return np.pad(factors, ((0, 0), (0, 6 - factors.shape[1])))
