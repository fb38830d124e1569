"""Patterns in NeXus files: NXdata by its ``signal`` and ``axes``, NXazint1d, pyFAI's and Dioptas' results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.detector_facts import wavelength_of
from batlab.io.hdf5_files import StoredArray
from batlab.io.links import Contents, Found
from batlab.io.physical_units import factor, inverse
from batlab.schema import quantity, same_scheme

EAGER = 2**26  # bytes; larger patterns stay lazy
_ANGLE = re.compile(r"(2|two)[ _-]*th|tth|ttheta", re.I)
_UNIT_IN_NAME = {"2th_deg": "degree", "2th_rad": "rad", "q_nm^-1": "1/nm", "q_A^-1": "1/angstrom"}


def pattern_groups(contents: Contents, path: str | None = None) -> dict[str, tuple[Found, Found]]:
    """Return the NXdata groups that hold patterns, each with its signal and its radial axis."""
    wanted = None if path is None else "/" + path.strip("/")
    groups = {}
    for name, group in contents.groups.items():
        if wanted is not None and wanted != name and not name.startswith(wanted + "/"):
            signal = group.attrs.get("signal")
            if wanted != f"{name}/{signal}":
                continue
        pair = _signal_and_axis(contents, name)
        if pair is not None:
            groups[name] = pair
    # A result linked under two names is one result.
    seen: dict[tuple[str, str], str] = {}
    for name, (signal, _) in groups.items():
        seen.setdefault((signal.file, signal.inner), name)
    return {name: groups[name] for name in seen.values()}


def read(surveys: Sequence[Contents], *, path: str | None, axis_unit: str | None) -> xr.Dataset | xr.DataTree:
    """Return the patterns; several measurements in one file as a DataTree, several files as one series.

    Raises
    ------
    ReadError
        An axis without a unit, shapes that do not belong together, files on different grids.
    """
    parts = []
    for contents in surveys:
        groups = pattern_groups(contents, path)
        parts.append({name: _dataset(contents, name, pair, axis_unit) for name, pair in groups.items()})
    if len(parts) == 1 and len(parts[0]) > 1:
        return xr.DataTree.from_dict({_node(name, list(parts[0])): part for name, part in parts[0].items()})
    if any(len(part) > 1 for part in parts):
        raise ReadError(
            f"{surveys[0].path.name}: files of several measurements each; open them one by one or pass path=…"
        )
    datasets = [part for group in parts for part in group.values()]
    return datasets[0] if len(datasets) == 1 else _series(datasets, [contents.path.name for contents in surveys])


def _signal_and_axis(contents: Contents, name: str) -> tuple[Found, Found] | None:
    attrs = contents.groups[name].attrs
    signal = contents.arrays.get(f"{name}/{attrs.get('signal')}")
    if signal is None and attrs.get("NX_class") == "NXdata":
        signal = next((found for found in contents.children(name) if found.attrs.get("signal") in (1, "1")), None)
    if (
        signal is None
        or len(signal.shape or ()) not in (1, 2)
        or signal.dtype is None
        or signal.dtype.kind not in "iuf"
    ):
        return None
    axes = attrs.get("axes", signal.attrs.get("axes", []))
    names = re.split(r"[:,\s]+", axes.strip("[]")) if isinstance(axes, str) else list(axes)
    axis = contents.arrays.get(f"{name}/{names[-1]}") if names else None
    if axis is None or axis.shape is None or len(axis.shape) != 1 or axis.shape[0] != (signal.shape or (0,))[-1]:
        return None
    return (signal, axis) if _kind(axis) is not None else None


def _kind(axis: Found) -> str | None:
    """Return which coordinate an axis is, by its name, its long name and its unit."""
    units = _units(axis)
    text = f"{axis.stem} {axis.attrs.get('long_name', '')}"
    if units is not None and inverse(units) is not None:
        return "q"
    if _ANGLE.search(text):
        return "two_theta"
    if re.match(r"q([_\s(]|$)", axis.stem) or re.match(r"q([_\s(]|$)", str(axis.attrs.get("long_name", ""))):
        return "q"
    return None


def _units(axis: Found) -> str | None:
    units = axis.attrs.get("units", axis.attrs.get("unit"))
    return _UNIT_IN_NAME.get(axis.stem) if units in (None, "", "arbitrary") else str(units)


def _dataset(contents: Contents, name: str, pair: tuple[Found, Found], axis_unit: str | None) -> xr.Dataset:
    signal, axis = pair
    kind = _kind(axis) or "q"
    values, order = _axis_values(contents, axis, kind, axis_unit)
    intensity = _rows(contents, signal)[:, order]
    units = "count" if str(signal.attrs.get("units", "")).lower() in ("count", "counts") else "1"
    variables = {"intensity": quantity(("frame", kind), intensity, units, "intensity")}
    sigma = _errors(contents, name, signal)
    if sigma is not None:
        spread = _rows(contents, sigma)[:, order]
        variables["intensity_sigma"] = quantity(("frame", kind), spread, units, "standard deviation of the intensity")
    unit, long_name = {"q": ("1/angstrom", "scattering vector"), "two_theta": ("degree", "scattering angle")}[kind]
    n = intensity.shape[0]
    coords = {
        "frame": quantity("frame", np.arange(n, dtype=np.int64), "1", "frame"),
        kind: quantity(kind, values, unit, long_name),
    }
    entry = "/" + name.split("/")[1] if name != "/" else "/"
    wavelength = wavelength_of(contents, entry)
    return xr.Dataset(variables, coords, {} if wavelength is None else {"wavelength": wavelength})


def _axis_values(contents: Contents, axis: Found, kind: str, axis_unit: str | None) -> tuple[np.ndarray, slice]:
    where = f"{contents.path.name}: {axis.name}"
    units = _units(axis) or axis_unit
    if units is None:
        raise ReadError(f"{where} has no unit; pass axis_unit='1/nm', 'degree' …")
    values = np.atleast_1d(np.asarray(contents.value(axis.name), float))
    values = values * factor(units, "1/angstrom" if kind == "q" else "degree", where)
    steps = np.diff(values)
    if not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise ReadError(f"{where} neither rises nor falls throughout")
    order = slice(None, None, -1) if steps.size and steps[0] < 0 else slice(None)
    return values[order], order


def _rows(contents: Contents, found: Found) -> Any:
    """Return an array as (frame, axis), lazy where it is large."""
    shape, dtype = found.shape or (), np.dtype(found.dtype)
    stored = StoredArray(found.file, found.inner, shape, dtype)
    if np.prod(shape, dtype=float) * dtype.itemsize > EAGER:
        rows = max(1, EAGER // (8 * max(1, shape[-1] * dtype.itemsize)))
        return stored.lazily(rows if len(shape) == 2 else shape[0]).reshape(-1, shape[-1])
    return stored[...].reshape(-1, shape[-1])


def _errors(contents: Contents, group: str, signal: Found) -> Found | None:
    names = [f"{signal.stem}_errors", f"{signal.stem}_error", signal.attrs.get("uncertainties"), "errors"]
    for name in names:
        found = contents.arrays.get(f"{group}/{name}")
        if found is not None and found.shape == signal.shape:
            return found
    return None


def _node(name: str, all_names: list[str]) -> str:
    """Return a short name for a group: its entry, or all of its path where an entry has several."""
    parts = name.strip("/").split("/")
    entries = [other.strip("/").split("/")[0] for other in all_names]
    return parts[0] if entries.count(parts[0]) == 1 else "_".join(parts)


def _series(datasets: list[xr.Dataset], names: list[str]) -> xr.Dataset:
    first = datasets[0]
    axis = next(str(dim) for dim in first.dims if dim != "frame")
    for other, name in zip(datasets[1:], names[1:], strict=True):
        if (
            axis not in other.dims
            or not other[axis].equals(first[axis])
            or set(other.variables) != set(first.variables)
        ):
            raise ReadError(f"{name}: is not on the grid of {names[0]}; open them apart and use curves.regrid")
    same_scheme("io.open", *datasets)
    joined = xr.concat(
        datasets,
        "frame",
        join="exact",
        combine_attrs="override",
        data_vars="minimal",
        coords="minimal",
        compat="override",
    )
    numbers = quantity("frame", np.arange(joined.sizes["frame"], dtype=np.int64), "1", "frame")
    files = np.repeat(np.array(names), [part.sizes["frame"] for part in datasets])
    return joined.assign_coords(frame=numbers, file=quantity("frame", files, "", "file"))
