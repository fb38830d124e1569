"""What batlab saves: netCDF-4 (HDF5) files with NeXus attributes, and their reading back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.atomic import replacing
from batlab.io.folders import Folders
from batlab.io.hdf5_files import LOCK, StoredArray, blaming, open_file
from batlab.io.links import survey
from batlab.io.nexus_view import VIEW, write_view
from batlab.io.nxxas import write_entries
from batlab.io.plain_form import VERSION, from_plain, to_plain
from batlab.io.writing import store

EAGER = 2**26  # bytes; larger variables stay lazy
ROWS = 2**23  # bytes in a chunk of a large variable, about


def is_own(path: Path) -> bool:
    """Whether batlab wrote the file."""
    try:
        with open_file(path) as file:
            return "batlab_schema" in file.attrs
    except ReadError:
        return False


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write `obj` to `path`, whole or not at all; lazy variables go chunk by chunk.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    """
    import h5netcdf

    parts = parts_of(obj)
    with replacing(path, overwrite) as unfinished:
        with h5netcdf.File(unfinished, "w") as file:
            lazy: list[tuple[Any, Any]] = []
            for place, part in parts.items():
                group = file if place == "/" else file.create_group(place)
                lazy += _write_group(group, to_plain(part))
            file.attrs["batlab_schema"] = VERSION
            store(lazy, LOCK, progress)
        with h5py.File(unfinished, "r+") as file:
            write_view(file, parts)
            write_entries(file, parts)


def parts_of(obj: xr.Dataset | xr.DataArray | xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the datasets in `obj` by their place, parents first."""
    if isinstance(obj, xr.DataTree):
        return {node.path: node.to_dataset(inherit=False) for node in obj.subtree}
    return {"/": obj.to_dataset(name=obj.name or "value") if isinstance(obj, xr.DataArray) else obj}


def _write_group(group: Any, plain: xr.Dataset) -> list[tuple[Any, Any]]:
    group.dimensions = {str(dim): size for dim, size in plain.sizes.items()}
    lazy = []
    for name, variable in plain.variables.items():
        target = _create(group, str(name), variable)
        for key, value in variable.attrs.items():
            target.attrs[key] = _attribute(value)
        if variable.chunks is not None:
            lazy.append((variable.data, target))
        elif variable.size:
            target[...] = variable.values
    for key, value in plain.attrs.items():
        group.attrs[key] = _attribute(value)
    return lazy


def _create(group: Any, name: str, variable: xr.Variable) -> Any:
    options: dict[str, Any] = {}
    if variable.chunks is not None and variable.size:
        options["chunks"] = tuple(max(1, sizes[0]) for sizes in variable.chunks)
        # Counts shrink several times at small cost; floats hardly shrink.
        if variable.dtype.kind in "iu":
            options.update(compression="gzip", compression_opts=1, shuffle=True)
    dtype = h5py.string_dtype() if variable.dtype.kind == "O" else variable.dtype
    return group.create_variable(name, tuple(map(str, variable.dims)), dtype, **options)


def _attribute(value: Any) -> Any:
    if isinstance(value, list):
        return np.array(value, dtype=h5py.string_dtype()) if isinstance(value[0], str) else np.array(value)
    return value


def read(path: Path, folders: Folders) -> xr.Dataset | xr.DataTree:
    """Return what was saved; variables above 64 MiB are lazy, and no file stays open.

    Raises
    ------
    ReadError
        The file is damaged.
    UnsafePathError
        Something in it leads to a file outside `folders`.
    """
    import h5netcdf

    # What follows reads as HDF5 does, links and all: look first where they lead.
    for error in survey(path, folders).broken.values():
        raise error
    with LOCK, blaming(path, "was saved by batlab and is damaged"), h5netcdf.File(path, "r") as file:
        parts = {place: _read_group(path, place, group) for place, group in _groups(file)}
        result = parts["/"] if list(parts) == ["/"] else xr.DataTree.from_dict(parts)
    result.attrs["batlab_schema"] = VERSION
    return result


def _groups(group: Any, place: str = "/") -> Iterator[tuple[str, Any]]:
    yield place, group
    for name, child in group.groups.items():
        if VIEW not in child.attrs:
            yield from _groups(child, f"{place.rstrip('/')}/{name}")


def _read_group(path: Path, place: str, group: Any) -> xr.Dataset:
    variables = {
        name: _read_variable(path, f"{place.rstrip('/')}/{name}", stored) for name, stored in group.variables.items()
    }
    return from_plain(variables, {name: group.attrs[name] for name in group.attrs})


def _read_variable(path: Path, name: str, stored: Any) -> xr.Variable:
    dtype = np.dtype(object) if h5py.check_string_dtype(stored.dtype) is not None else stored.dtype
    attrs = {key: _plain_list(stored.attrs[key]) for key in stored.attrs}
    if dtype.kind == "O":
        text = [value.decode() if isinstance(value, bytes) else str(value) for value in np.ravel(stored[...])]
        return xr.Variable(stored.dimensions, np.array(text, object).reshape(stored.shape), attrs)
    if np.prod(stored.shape, dtype=float) * dtype.itemsize <= EAGER:
        return xr.Variable(stored.dimensions, np.asarray(stored[...]).reshape(stored.shape), attrs)
    lazy = StoredArray(str(path.resolve()), name, tuple(stored.shape), dtype, stored.dimensions[0])
    step = stored.chunks[0] if stored.chunks else 1
    row = max(1, int(np.prod(stored.shape[1:])) * dtype.itemsize)
    return xr.Variable(stored.dimensions, lazy.lazily(step * max(1, ROWS // (row * step))), attrs)


def _plain_list(value: Any) -> Any:
    return list(value) if isinstance(value, np.ndarray) else value
