"""NeXus files of X-ray absorption after the application definition NXxas: energy, incoming and absorbed beam, mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.frames import utc
from batlab.io.hdf5_files import StoredArray
from batlab.io.links import Contents, Found
from batlab.io.nexus_view import VIEW
from batlab.io.scans import to_ev, together
from batlab.schema import quantity

DEFINITION = "NXxas"
# Mode as the definition spells it -> variable and what it is.
MODES = {
    "Transmission": ("itrans", "transmitted intensity"),
    "Fluorescence Yield": ("ifluor", "fluorescence intensity"),
    "Total Electron Yield": ("total_electron_yield", "total electron yield"),
    "Partial Electron Yield": ("partial_electron_yield", "partial electron yield"),
    "Auger Electron Yield": ("auger_electron_yield", "Auger electron yield"),
}
SIZE_LIMIT = 2**26  # numbers in one array; files of this definition hold single spectra


def entries(contents: Contents, path: str | None = None) -> list[str]:
    """Return the groups that say they are NXxas, those at or above or below `path` where one is given."""
    found = [
        array.parent
        for name, array in contents.arrays.items()
        if array.stem == "definition" and str(contents.value(name)).strip() == DEFINITION
    ]
    if path is None:
        return found
    wanted = "/" + path.strip("/")
    return [name for name in found if f"{name}/".startswith(f"{wanted}/") or f"{wanted}/".startswith(f"{name}/")]


def read(
    contents: Contents,
    *,
    path: str | None = None,
    energy_unit: str | None = None,
    timezone: str | None = None,
    grid: str | None = None,
) -> xr.Dataset | xr.DataTree:
    """Return the spectra of a file: one entry as a Dataset, several on one grid and of one mode as a series.

    Others are a DataTree.

    Returns
    -------
    Dataset or DataTree
        ``i0`` and, by the mode, ``itrans``, ``ifluor`` or an electron yield, over ``energy`` [eV] or (frame, energy);
        coordinate ``time`` (UTC) where the entry says when it began; attributes ``mode``, ``title``, ``sample``.

    Raises
    ------
    ReadError
        An entry lacks what the definition asks for, its arrays have different lengths, its energy does not increase
        or states no unit below 250, its mode is none of the definition's.
    """
    parts = {name: _entry(contents, name, energy_unit, timezone) for name in entries(contents, path)}
    names = {name: name.strip("/").replace("/", "_") or "entry" for name in parts}
    kinds = {tuple(sorted(map(str, part.data_vars))) for part in parts.values()}
    result = {names[name]: part for name, part in parts.items()}
    is_series = len(kinds) == 1 and not any("frame" in part.dims for part in parts.values())
    if len(parts) > 1 and not is_series:
        return xr.DataTree.from_dict(result)
    return together(result, grid)


def _entry(contents: Contents, entry: str, energy_unit: str | None, timezone: str | None) -> xr.Dataset:
    where = f"{contents.path.name}: {entry}"
    energy = _find(contents, entry, "energy", ("NXdata", "NXmonochromator"), where)
    absorbed = _find(contents, entry, "absorbed_beam", ("NXdata", "NXdetector"), where)
    incoming = _find(contents, entry, "incoming_beam", ("NXdata", "NXdetector", "NXmonitor"), where)
    mode = _mode(contents, entry, where)
    values = to_ev(_numbers(energy).reshape(-1), str(energy.attrs.get("units", "")), energy_unit, f"{where} energy")
    steps = np.diff(values)
    if not np.isfinite(values).all() or not values.size or not ((steps > 0).all() or (steps < 0).all()):
        raise ReadError(f"{where}: its energy neither rises nor falls throughout")
    order = slice(None, None, -1) if steps.size and steps[0] < 0 else slice(None)
    variables = {}
    for found, (name, long_name) in ((incoming, ("i0", "incident intensity")), (absorbed, MODES[mode])):
        rows = _numbers(found)
        if rows.ndim not in (1, 2) or rows.shape[-1] != values.size:
            raise ReadError(f"{where}: {found.name} has the shape {rows.shape}, its energy {values.size} points")
        units = "count" if str(found.attrs.get("units", "")).lower() in ("count", "counts") else "1"
        variables[name] = quantity(("frame", "energy")[-rows.ndim :], rows[..., order], units, long_name)
    coords = {"energy": quantity("energy", values[order], "eV", "photon energy")}
    frames = {variable.shape[0] for variable in variables.values() if variable.ndim == 2}
    if len(frames) > 1:
        raise ReadError(f"{where}: its beams have {' and '.join(map(str, sorted(frames)))} spectra; they must agree")
    for n in frames:
        coords["frame"] = quantity("frame", np.arange(n, dtype=np.int64), "1", "frame")
    attrs: dict[str, Any] = {"mode": mode}
    for key, place in (("title", "title"), ("sample", "sample/name")):
        value = contents.value(f"{entry.rstrip('/')}/{place}")
        if isinstance(value, str) and value:
            attrs[key] = value
    start = contents.value(f"{entry.rstrip('/')}/start_time")
    if isinstance(start, str) and start.strip() and not frames:
        coords["time"] = quantity((), np.array(utc(start, timezone or "UTC")), "", "start, UTC")
        if timezone is None and utc(start) is None:
            attrs["clock"] = "local time without a zone, taken as UTC"
    return xr.Dataset(variables, coords, attrs)


def _find(contents: Contents, entry: str, stem: str, classes: tuple[str, ...], where: str) -> Found:
    """Return the array `stem`, or ``data`` in a group `stem`, in the first of `classes` that has it."""
    inside = [array for name, array in contents.arrays.items() if name.startswith(f"{entry.rstrip('/')}/")]
    for wanted in classes:
        for array in inside:
            parent = array.parent
            is_it = array.stem == stem or (array.stem == "data" and parent.rpartition("/")[2] == stem)
            if is_it and contents.class_of(parent) == wanted:
                return array
    if stem == "incoming_beam":  # the definition's monitor is a link to it
        for array in inside:
            if array.stem == "data" and contents.class_of(array.parent) == "NXmonitor":
                return array
    raise ReadError(f"{where}: says that it is {DEFINITION} and has no {stem!r}")


def _mode(contents: Contents, entry: str, where: str) -> str:
    for name, array in contents.arrays.items():
        parent = contents.class_of(array.parent)
        if name.startswith(f"{entry.rstrip('/')}/") and array.stem == "mode" and parent in ("NXdata", "NXentry"):
            text = str(contents.value(name)).strip()
            known = next((mode for mode in MODES if mode.lower() == text.lower()), None)
            if known is None:
                raise ReadError(f"{where}: its mode is {text[:60]!r}; {DEFINITION} knows {', '.join(MODES)}")
            return known
    raise ReadError(f"{where}: says that it is {DEFINITION} and has no 'mode' ({', '.join(MODES)})")


def _numbers(found: Found) -> np.ndarray:
    if found.dtype is None or found.dtype.kind not in "iuf" or np.prod(found.shape or (), dtype=float) > SIZE_LIMIT:
        raise ReadError(f"{found.name}: holds {found.dtype} of the shape {found.shape}; a spectrum was expected")
    return StoredArray(found.file, found.inner, found.shape or (), found.dtype)[...]


def write_entries(file: h5py.File, parts: Mapping[str, xr.Dataset]) -> None:
    """Add to what batlab saves one NXxas entry for each spectrum with ``i0`` and ``itrans`` or ``ifluor``, of links.

    Where the dataset does not say it, the start and the name of the source are left out, not made up.
    """
    for place, part in parts.items():
        for mode, (signal, _) in MODES.items():
            dims = part["i0"].dims if "i0" in part else ()
            if dims in (("energy",), ("frame", "energy")) and signal in part and part[signal].dims == dims:
                label = (place.strip("/").replace("/", "_") or "xas") + "_" + mode.split()[0].lower()
                while label in file:
                    label += "_"
                _write_entry(file.create_group(label), file[place or "/"], part, mode, signal)


def _write_entry(entry: h5py.Group, home: h5py.Group, part: xr.Dataset, mode: str, signal: str) -> None:
    entry.attrs.update({"NX_class": "NXentry", VIEW: np.int8(1), "default": "data"})
    entry["definition"] = DEFINITION
    entry["title"] = str(part.attrs.get("title") or part.attrs.get("sample") or mode)
    start = np.ravel(part["time"].values)[:1] if "time" in part.coords else np.empty(0, "M8[ns]")
    if start.size and not np.isnat(start[0]):
        entry["start_time"] = f"{np.datetime_as_string(start[0], unit='ms')}Z"
    instrument = _group(entry, "instrument", "NXinstrument")
    source = _group(instrument, "source", "NXsource")
    source["probe"] = "x-ray"
    if part.attrs.get("facility"):
        source["name"] = str(part.attrs["facility"])
    _group(instrument, "monochromator", "NXmonochromator")["energy"] = home["energy"]
    _group(instrument, "incoming_beam", "NXdetector")["data"] = home["i0"]
    _group(instrument, "absorbed_beam", "NXdetector")["data"] = home[signal]
    _group(entry, "sample", "NXsample")["name"] = str(part.attrs.get("sample", ""))
    monitor = _group(entry, "monitor", "NXmonitor")
    monitor["mode"], monitor["data"] = "monitor", home["i0"]
    data = _group(entry, "data", "NXdata")
    data["mode"], data["energy"], data["absorbed_beam"] = mode, home["energy"], home[signal]
    data.attrs["signal"] = "absorbed_beam"
    axes = ["energy"] if part[signal].ndim == 1 else [".", "energy"]
    data.attrs["axes"] = np.array(axes, dtype=h5py.string_dtype())


def _group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group
