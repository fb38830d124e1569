"""What every container of scans shares: their names, which of them are wanted, one scan over its energy, and series."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose, did_you_mean
from batlab.io.physical_units import factor
from batlab.io.spectra_names import LONG_NAMES, clean
from batlab.io.spectra_scan import ENERGY_UNITS, SURELY_EV
from batlab.schema import UNITS, quantity

# Counters as beamlines call them -> XDI's name; a name that could be two things keeps its own.
_COUNTERS = {
    "i0": "i0", "io": "i0", "izero": "i0", "itrans": "itrans", "it": "itrans", "i1": "itrans",
    "transmission": "itrans", "ifluor": "ifluor", "if": "ifluor", "ifl": "ifluor", "fluorescence": "ifluor",
    "irefer": "irefer", "iref": "irefer", "ir": "irefer", "sec": "count_time", "seconds": "count_time",
    "count_time": "count_time", "acq_time": "count_time",
}  # fmt: skip
ENERGY = re.compile(r"(mono_?|ebragg)?(energy|ene)(_(enc|cenc|rbv|readback|ev|kev|alt))?|e(_?ev|_?kev)?", re.IGNORECASE)


def clean_name(name: str, taken: Iterable[str] = ()) -> str:
    """Return a counter's name as a variable: XDI's where it is known, else its own as one word in lower case.

    >>> [clean_name(name) for name in ("I0", "It", "Ge Det (1)", "x")]
    ['i0', 'itrans', 'ge_det_1', 'column_x']
    """
    result = clean(name) or "column"
    known = _COUNTERS.get(result)
    if known is not None and known not in taken:
        return known
    # These names have a meaning and a unit of their own in the data model.
    if (
        result in UNITS
        or result in ("time", "label", "file", "scan")
        or result.endswith("_sigma")
        or result[0].isdigit()
    ):
        result = f"column_{result}"
    stem, n = result, 1
    while result in taken:
        n += 1
        result = f"{stem}_{n}"
    return result


def counter(name: str, stated: str, values: np.ndarray, units: str = "") -> xr.Variable:
    """Return a counter over ``frame``, over (frame, channel) where it is a table; `units` as the file has them."""
    dims = ("frame", "channel")[: values.ndim]
    unit = "s" if name == "count_time" else units or "1"
    told = {**LONG_NAMES, "count_time": "counting time of a point"}
    long_name = told.get(name, f"{stated[:80]!r} of the file")
    return quantity(dims, values, unit, long_name)


def to_ev(values: np.ndarray, units: str, hint: str | None, where: str) -> np.ndarray:
    """Return energies in eV: by the hint ``energy_unit``, else by `units` of the file, else as eV from 250 up.

    Raises
    ------
    ReadError
        Nothing says whether smaller ones are eV or keV.
    """
    choose("energy_unit", hint, [None, *ENERGY_UNITS])
    if hint is None and units:
        scale = factor(units, "eV", where)
    elif hint is not None or not np.isfinite(values).any() or np.nanmin(np.abs(values)) >= SURELY_EV:
        scale = ENERGY_UNITS[hint or "eV"]
    else:
        raise ReadError(
            f"{where}: the unit of the energy is not stated ({np.nanmin(values):g} to {np.nanmax(values):g}); pass "
            "energy_unit='eV' or energy_unit='keV'"
        )
    # 8.952 keV is 8952 eV, not 8952.000000000001 eV: nine decimals are far below any resolution.
    return values if scale == 1 else np.round(values * scale, 9)


def over_energy(scan: xr.Dataset, axis: xr.Variable, where: str) -> xr.Dataset:
    """Return a scan over (frame) as one over (energy); a falling scan is turned.

    One whose energy is not finite, or stands or turns back, stays over ``frame`` with ``energy`` beside it, and a
    `UserWarning` says so.
    """
    values = np.asarray(axis.values, float)
    steps = np.diff(values)
    if np.isfinite(values).all() and ((steps > 0).all() or (steps < 0).all()):
        if steps.size and steps[0] < 0:
            scan, values = scan.isel(frame=slice(None, None, -1)), values[::-1]
        return (
            scan.drop_vars("frame")
            .rename_dims(frame="energy")
            .assign_coords(energy=xr.Variable("energy", values, axis.attrs))
        )
    bad = int((~np.isfinite(values)).sum())
    told = f"{bad} energies are no numbers" if bad else f"its energy stands or turns back {_turns(steps)} times"
    warnings.warn(f"{where}: {told}; its points stay over 'frame', with 'energy' beside them", UserWarning, 4)
    return scan.assign_coords(energy=xr.Variable("frame", values, axis.attrs))


def _turns(steps: np.ndarray) -> int:
    return int(min((steps <= 0).sum(), (steps >= 0).sum()))


def choose_scans(names: Sequence[str], wanted: Any, file: str, *, is_first: bool = False) -> list[str]:
    """Return which of the scans ``"number.part"`` a hint means: 4, "4.1", or a list of such; all without a hint.

    With `is_first` a number alone is its first part, else it must be the only one.

    Raises
    ------
    ReadError
        There is none of that number, or a number stands for several and there is no way to tell which.
    """
    if wanted is None:
        return list(names)
    chosen = []
    for item in [wanted] if isinstance(wanted, (int, float, str, np.integer)) else list(wanted):
        text = str(item)
        exact = (text, f"{text}.1") if is_first else (text,)
        match = [name for name in names if name in exact] or [name for name in names if name.split(".")[0] == text]
        if len(match) > 1:
            raise ReadError(f"{file}: has {len(match)} scans {text}; say which: scan='{match[0]}', scan='{match[1]}' …")
        if not match:
            told = did_you_mean(text, names) or f"; it has {', '.join(names[:12])}{' …' if len(names) > 12 else ''}"
            raise ReadError(f"{file}: has no scan {text!r}{told}")
        chosen += match
    return chosen


def together(parts: Mapping[str, xr.Dataset], grid: str | None = None) -> xr.Dataset | xr.DataTree:
    """Return one scan as it is, several on one grid as one series (frame, …), others as a tree.

    With ``grid="first"`` all are interpolated linearly onto the grid of the first and are one series, NaN where a scan
    did not reach; the attribute ``grid`` says so. With ``grid="own"`` each keeps its points: ``energy_measured`` over
    (frame, energy), NaN behind the last.
    """
    choose("grid", grid, [None, "first", "own"])
    scans = list(parts.values())
    if len(scans) == 1:
        return scans[0]
    if all(_same_grid(scans[0], other) for other in scans[1:]):
        return _stack(scans)
    if grid is None:
        return xr.DataTree.from_dict(dict(parts))
    first = scans[0]
    odd = next(
        (name for name, part in parts.items() if set(part.dims) != set(first.dims) or "frame" in part.dims), None
    )
    if odd is not None:
        raise ReadError(f"grid={grid!r} needs scans over one axis, {odd!r} is over {tuple(map(str, parts[odd].dims))}")
    if grid == "own":
        return _side_by_side(parts)
    moved = sum(not _same_grid(first, other) for other in scans)
    result = _stack([_onto(first, scan) for scan in scans])
    result.attrs["grid"] = f"{moved} of {len(scans)} interpolated linearly onto the points of {next(iter(parts))!r}"
    return result


def _side_by_side(parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return scans of unequal grids as a series that keeps the points of each."""
    odd = next((name for name, part in parts.items() if "energy" not in part.dims), None)
    if odd is not None:
        raise ReadError(f"grid='own' needs scans over energy, {odd!r} is over {tuple(map(str, parts[odd].dims))}")
    most = max(part.sizes["energy"] for part in parts.values())
    plain, grids = [], []
    for part in parts.values():
        spare = most - part.sizes["energy"]
        grids.append(np.pad(part["energy"].values.astype(float), (0, spare), constant_values=np.nan))
        plain.append(part.drop_vars("energy").pad(energy=(0, spare)))
    told = {**next(iter(parts.values()))["energy"].attrs, "long_name": "photon energies of each frame"}
    return _stack(plain).assign_coords(energy_measured=xr.Variable(("frame", "energy"), np.stack(grids), told))


def _onto(first: xr.Dataset, scan: xr.Dataset) -> xr.Dataset:
    axis = next(name for name in ("energy", "k") if name in scan.dims)
    if scan[axis].variable.equals(first[axis].variable):
        return scan
    moved = {}
    for name, variable in scan.data_vars.items():
        if axis in variable.dims:
            at = variable.dims.index(axis)
            rows = np.moveaxis(variable.values.astype(float), at, -1)
            new = np.apply_along_axis(
                lambda y: np.interp(first[axis].values, scan[axis].values, y, left=np.nan, right=np.nan), -1, rows
            )
            moved[name] = (variable.dims, np.moveaxis(new, -1, at), variable.attrs)
    return scan.drop_vars([axis, *moved]).assign_coords({axis: first[axis].variable}).assign(moved)


def _same_grid(one: xr.Dataset, other: xr.Dataset) -> bool:
    if "frame" in one.dims or "frame" in other.dims or one.sizes != other.sizes:
        return False
    return all(one[dim].variable.equals(other[dim].variable) for dim in one.dims if dim in one.coords)


def _stack(scans: list[xr.Dataset]) -> xr.Dataset:
    """Return scans on one grid as a series; what only some of them have is left out, and ``left_out`` names it."""
    every = set.intersection(*(set(map(str, scan.variables)) for scan in scans))
    some = set.union(*(set(map(str, scan.variables)) for scan in scans)) - every
    scans = [scan.drop_vars([name for name in some if name in scan.variables]) for scan in scans]
    joined = xr.concat(
        [scan.expand_dims("frame") for scan in scans],
        "frame",
        join="exact",
        combine_attrs="drop_conflicts",
        data_vars="all",
        coords="minimal",
        compat="override",
    )
    beside = [name for name in scans[0].coords if name not in scans[0].dims]
    for name in beside:
        values = np.array([scan[name].values for scan in scans])
        joined = joined.assign_coords({str(name): xr.Variable("frame", values, scans[0][name].attrs)})
    if some:
        told = [str(joined.attrs[key]) for key in ("left_out",) if key in joined.attrs]
        joined.attrs["left_out"] = "; ".join([*told, f"not in every scan: {', '.join(sorted(some))}"])
    return joined.assign_coords(frame=quantity("frame", np.arange(len(scans), dtype=np.int64), "1", "frame"))


def unique_names(labels: Sequence[str]) -> list[str]:
    """Return names for the children of a tree: the labels without ``/``, a repeated one with its number.

    >>> unique_names(["Fe foil", "a/b", "Fe foil"])
    ['Fe foil', 'a_b', 'Fe foil 2']
    """
    names: list[str] = []
    for label in labels:
        stem = re.sub(r"[/\x00-\x1f]+", "_", label.strip()).strip() or "group"
        stem = {".": "_", "..": "__"}.get(stem, stem)
        name, n = stem, 1
        while name in names:
            n += 1
            name = f"{stem} {n}"
        names.append(name)
    return names
