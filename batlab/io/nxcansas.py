"""NXcanSAS: small-angle curves in HDF5, as Nika, Irena, Matilda, Mantid and SasView write them; and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.atomic import replacing
from batlab.io.links import Contents, Found
from batlab.io.physical_units import factor
from batlab.io.small_angle import Curve, dataset, series, tree
from batlab.schema import version

MOST = 4096  # entries in a file that is written


def data_groups(contents: Contents, path: str | None = None, smeared: bool | None = None) -> list[str]:
    """Return the SASdata groups below `path` with one axis Q, all or only those with (without) a slit."""
    wanted = "" if path is None else "/" + path.strip("/")
    names = []
    for name, group in contents.groups.items():
        if group.attrs.get("canSAS_class") != "SASdata" or not (name + "/").startswith(wanted.rstrip("/") + "/"):
            continue
        if _child(contents, name, "I") is None or _child(contents, name, "Q") is None:
            continue
        if smeared is None or (_slit(contents, name) is not None) == smeared:
            names.append(name)
    return names


def read(surveys: Sequence[Contents], *, path: str | None, smeared: bool | None) -> xr.Dataset | xr.DataTree:
    """Return each SASdata as ``intensity`` (frame, q); several in one file as a DataTree, several files as a series.

    ``slit_length`` [1/angstrom] is an attribute of the slit-smeared ones. See `cansas_xml.read` for the rest.

    Raises
    ------
    ReadError
        Nothing there that was asked for, several things in each file of a series, unequal grids.

    References
    ----------
    NXcanSAS application definition, https://manual.nexusformat.org/classes/applications/NXcanSAS.html
    """
    found = []
    for contents in surveys:
        groups = data_groups(contents, path, smeared)
        if not groups:
            kind = "" if smeared is None else " slit-smeared" if smeared else " desmeared"
            raise ReadError(
                f"{contents.path.name}: holds no{kind} SASdata below {path or '/'}; it holds "
                f"{', '.join(data_groups(contents)) or 'none'}"
            )
        found.append([(_label(contents, name), _read_one(contents, name)) for name in groups])
    if len(found) == 1:
        if surveys[0].groups["/"].attrs.get("batlab_layout") == "series" and len(found[0]) > 1:
            return series([part for _, part in found[0]], [name for name, _ in found[0]]).drop_vars("file")
        return tree(found[0])
    for contents, parts in zip(surveys, found, strict=True):
        if len(parts) > 1:
            raise ReadError(
                f"{contents.path.name}: holds {', '.join(name for name, _ in parts)}; say smeared=False (or True), or "
                "open such files one by one"
            )
    return series([parts[0][1] for parts in found], [contents.path.name for contents in surveys])


def _child(contents: Contents, group: str, name: str) -> Found | None:
    found = contents.arrays.get(f"{group}/{name}")
    return found if found is not None and found.dtype is not None and found.dtype.kind in "iuf" else None


def _label(contents: Contents, name: str) -> str:
    """Return the name of the nearest SASentry, for several SASdata of one entry with theirs."""
    parent = name.rpartition("/")[0]
    others = [n for n in data_groups(contents) if n.rpartition("/")[0] == parent]
    stem = parent.rpartition("/")[2] or "entry"
    return stem if len(others) == 1 else f"{stem}_{name.rpartition('/')[2]}"


def _slit(contents: Contents, group: str) -> float | None:
    length = _child(contents, group, "dQl")
    if length is None:
        return None
    values = np.asarray(contents.value(length.name), float)
    scale = factor(length.attrs.get("units", "1/angstrom"), "1/angstrom", length.name)
    value = float(np.nanmedian(values)) * scale
    return value if np.isfinite(value) and value > 0 else None


def _read_one(contents: Contents, group: str) -> xr.Dataset:
    where = f"{contents.path.name}: {group}"
    signal, axis = contents.arrays[f"{group}/I"], contents.arrays[f"{group}/Q"]
    shape, points = signal.shape or (), axis.shape or ()
    if len(points) != 1 or len(shape) not in (1, 2) or shape[-1] != points[0]:
        raise ReadError(f"{where}: I is {shape} and Q {points}; only curves over one Q are read, no maps of Qx, Qy")
    scale = factor(axis.attrs.get("units", "1/angstrom"), "1/angstrom", f"{where}/Q")
    named = signal.attrs.get("uncertainties", signal.attrs.get("uncertainty", "Idev"))
    sigma = _child(contents, group, str(named).split(",")[0])
    widths = axis.attrs.get("resolutions", "Qdev")
    width = _child(contents, group, (widths if isinstance(widths, list) else str(widths).split(","))[0].strip())
    resolution = None
    if width is not None:
        unit = width.attrs.get("units", axis.attrs.get("units", "1/angstrom"))
        resolution = np.asarray(contents.value(width.name), float) * factor(unit, "1/angstrom", width.name)
    attrs = _facts(contents, group)
    slit = _slit(contents, group)
    if slit is not None:
        attrs["slit_length"] = slit
    values = np.asarray(contents.value(signal.name), float).reshape(shape)
    spread = None if sigma is None else np.asarray(contents.value(sigma.name), float).reshape(shape)
    q = np.atleast_1d(np.asarray(contents.value(axis.name), float)) * scale
    return dataset(Curve(group, q, values, spread, resolution, str(signal.attrs.get("units", "")), attrs), where)


def _facts(contents: Contents, group: str) -> dict[str, Any]:
    """Return what the nearest SASentry says of sample and beam; what is no number above 0 is left out."""
    entry = group.rpartition("/")[0] or "/"
    inside = [found for found in contents.arrays.values() if found.name.startswith(entry.rstrip("/") + "/")]
    facts: dict[str, Any] = {}
    for key, stem in (("sample", "title"), ("run", "run"), ("radiation", "radiation")):
        value = next((contents.value(found.name) for found in inside if found.stem == stem), None)
        facts[key] = re.sub(r"\s+", " ", str(value)).strip() if isinstance(value, (str, int)) else None
    for key, stems, unit in (
        ("wavelength", ("incident_wavelength", "wavelength"), "angstrom"),
        ("thickness", ("thickness",), "mm"),
        ("transmission", ("transmission", "T"), ""),
    ):
        found = next((one for stem in stems for one in inside if one.stem == stem), None)
        value = None if found is None or (found.shape or (1,)) not in ((), (1,)) else contents.value(found.name)
        if found is None or not isinstance(value, (int, float)) or not (np.isfinite(value) and value > 0):
            continue
        scale = 1.0
        if unit == "mm":
            scale = factor(found.attrs.get("units", "mm"), "m", found.name) * 1e3
        elif unit:
            scale = factor(found.attrs.get("units", "angstrom"), unit, found.name)
        facts[key] = float(f"{value * scale:.12g}")
    return facts


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write curves as NXcanSAS, one SASentry a frame, as SasView opens it.

    ``q``, ``intensity``, σ, resolution, slit length, sample, wavelength, thickness and transmission are kept; other
    variables are not (``.nc`` loses nothing).

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    ValueError
        There is no ``intensity`` over q, or more than 4096 curves.
    """
    if isinstance(obj, xr.DataTree):
        parts = {node.path.strip("/").replace("/", "_"): node.to_dataset() for node in obj.subtree if node.has_data}
    else:
        one = obj.to_dataset(name=obj.name or "intensity") if isinstance(obj, xr.DataArray) else obj
        parts = {"sasentry": one}
    for name, part in parts.items():
        if "intensity" not in part or set(part["intensity"].dims) - {"frame"} != {"q"}:
            got = tuple(map(str, part["intensity"].dims)) if "intensity" in part else "none"
            raise ValueError(f"{path.name}: NXcanSAS takes intensity over (frame, q), got {got} in {name!r}")
    n = sum(part.sizes.get("frame", 1) for part in parts.values())
    if n > MOST:
        raise ValueError(f"{path.name}: NXcanSAS takes at most {MOST} curves, got {n}; save such a series as .nc")
    with replacing(path, overwrite) as unfinished, h5py.File(unfinished, "w") as file:
        layout = "tree" if isinstance(obj, xr.DataTree) else "series"
        file.attrs.update({"creator": f"batlab {version()}", "batlab_layout": layout})
        for name, part in parts.items():
            frames = part.sizes.get("frame", 1)
            for i in range(frames):
                entry = f"{name}{i + 1:04d}" if frames > 1 else name
                _write_entry(file, entry, part.isel(frame=i) if "frame" in part.dims else part)
        file.attrs["default"] = next(iter(file))


def _write_entry(file: h5py.File, name: str, one: xr.Dataset) -> None:
    entry = _group(file, name, "NXentry", "SASentry", version="1.1", default="sasdata")
    entry["definition"] = "NXcanSAS"
    entry["title"] = str(one.attrs.get("sample", name))
    entry["run"] = str(one.attrs.get("run", name))
    data = _group(entry, "sasdata", "NXdata", "SASdata", signal="I", I_axes="Q", axes="Q", Q_indices=0)
    unit = one["intensity"].attrs.get("units", "1")
    # SasView takes the unit's name; "a.u." is its word for a number without one.
    unit = {"1": "a.u.", "count": "Counts"}.get(unit, unit)
    _array(data, "Q", one["q"].values, "1/angstrom")
    _array(data, "I", one["intensity"].values, unit)
    if "intensity_sigma" in one:
        _array(data, "Idev", one["intensity_sigma"].values, unit)
        data["I"].attrs["uncertainties"] = "Idev"
        data.attrs["I_uncertainties"] = "Idev"
    slit = one.attrs.get("slit_length")
    width = one["q_resolution"].values if "q_resolution" in one else None
    if slit:
        _array(data, "dQl", np.full(one.sizes["q"], float(slit)), "1/angstrom")
        _array(data, "dQw", np.zeros(one.sizes["q"]) if width is None else width, "1/angstrom")
        # A list of names: of one text "dQw,dQl", which the standard allows too, SasView 6 cannot tell the parts.
        data["Q"].attrs["resolutions"] = ["dQw", "dQl"]
    elif width is not None:
        _array(data, "Qdev", width, "1/angstrom")
        data["Q"].attrs["resolutions"] = "Qdev"
    _write_facts(entry, one)


def _write_facts(entry: h5py.Group, one: xr.Dataset) -> None:
    sample = _group(entry, "sassample", "NXsample", "SASsample")
    sample["name"] = str(one.attrs.get("sample", "unknown"))
    for key, unit in (("thickness", "mm"), ("transmission", "")):
        if key in one.attrs:
            _array(sample, key, float(one.attrs[key]), unit)
    instrument = _group(entry, "sasinstrument", "NXinstrument", "SASinstrument")
    source = _group(instrument, "sassource", "NXsource", "SASsource")
    if "radiation" in one.attrs:
        source["radiation"] = str(one.attrs["radiation"])
    if "wavelength" in one.attrs:
        _array(source, "incident_wavelength", float(one.attrs["wavelength"]), "angstrom")
    process = _group(entry, "sasprocess", "NXprocess", "SASprocess")
    process["name"] = f"batlab {version()}"
    process["description"] = str(one.attrs.get("history", ""))


def _group(parent: h5py.Group, name: str, nexus: str, cansas: str, **attrs: Any) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update({"NX_class": nexus, "canSAS_class": cansas, **attrs})
    return group


def _array(group: h5py.Group, name: str, values: Any, unit: str) -> None:
    group[name] = values
    if unit:
        group[name].attrs["units"] = unit
