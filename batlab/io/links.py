"""Follow links inside and between HDF5 files, and no further than the user's folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from batlab.errors import ReadError
from batlab.io.folders import Folders, check_storage
from batlab.io.hdf5_files import H5_ERRORS, blaming, check_plain, check_whole, open_file

LIMIT = 100_000  # groups and arrays in one file
VISITS = 16  # of one group under different names; groups linked to each other have no end of names
DEPTH = 32  # of groups in groups
LINKS = 16  # one leading to the next, as HDF5's own H5Pset_nlinks
NOTED = (
    "NX_class", "axes", "batlab_layout", "canSAS_class", "default", "errors", "image_nr_high", "image_nr_low",
    "interpretation", "long_name", "resolutions", "signal", "uncertainties", "uncertainty", "unit", "units",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A group or array: its name for the user, and where it really is."""

    name: str
    file: str
    inner: str
    shape: tuple[int, ...] | None = None
    dtype: np.dtype | None = None
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def parent(self) -> str:
        return self.name.rpartition("/")[0] or "/"

    @property
    def stem(self) -> str:
        return self.name.rpartition("/")[2]


@dataclass
class Contents:
    """What a file holds, with its links followed."""

    path: Path
    folders: Folders
    groups: dict[str, Found] = field(default_factory=dict)
    arrays: dict[str, Found] = field(default_factory=dict)
    broken: dict[str, ReadError] = field(default_factory=dict)
    linked_files: set[str] = field(default_factory=set)
    visits: Counter[Any] = field(default_factory=Counter)
    wanted: Callable[[str], bool] | None = None  # which names are visited; all without

    def value(self, name: str) -> Any:
        """Return a small array's value (text as str, one element as a scalar), or None where there is none."""
        found = self.arrays.get(name)
        if found is None or found.shape is None or np.prod(found.shape, dtype=float) > 2**28:
            return None
        with open_file(found.file) as file, blaming(found.file, f"{name} cannot be read"):
            check_whole(file[found.inner], found.file)
            check_plain(found.dtype, name)
            return plain(file[found.inner][()])

    def children(self, group: str) -> list[Found]:
        return [found for found in self.arrays.values() if found.parent == group]

    def class_of(self, group: str) -> str:
        return str(self.groups[group].attrs.get("NX_class", "")) if group in self.groups else ""


def plain(value: Any) -> Any:
    """Return text as str and an array of one element as its element."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return [plain(item) for item in value.reshape(-1)]
    return value.item() if isinstance(value, np.generic) else value


def survey(
    path: Path, folders: Folders, keys: Iterable[str] | None = None, wanted: Callable[[str], bool] | None = None
) -> Contents:
    """Return the groups and arrays of the file at `path`; links that cannot or may not be followed are in `broken`.

    With `keys` only those of the root are visited, with `wanted` only names like ``"/4.1/measurement"`` that it takes.
    """
    contents = Contents(path, folders, wanted=wanted)
    with open_file(path) as file, blaming(path, "its structure is damaged"):
        if keys is None:
            _visit(contents, file["/"], str(path), "", ())
        else:
            for key in keys:
                _enter(contents, file["/"], key, str(path), f"/{key}", ())
    return contents


def root_keys(path: Path) -> list[str]:
    """Return the names in the root of the file at `path`; no link is followed."""
    with open_file(path) as file, blaming(path, "its structure is damaged"):
        return [str(key) for key in file]


def _visit(contents: Contents, group: h5py.Group, file: str, prefix: str, trail: tuple[Any, ...]) -> None:
    contents.groups[prefix or "/"] = Found(prefix or "/", file, group.name or "/", attrs=_attributes(group))
    identity = (file, h5py.h5o.get_info(group.id).addr)
    contents.visits[identity] += 1
    if len(trail) > DEPTH:
        contents.broken[prefix] = ReadError(f"{Path(file).name}: has groups in groups more than {DEPTH} deep")
    if len(trail) > DEPTH or identity in trail or contents.visits[identity] > VISITS:
        return
    for key in group:
        if len(contents.arrays) + len(contents.groups) + len(contents.broken) > LIMIT:
            raise ReadError(
                f"{Path(file).name}: holds more than {LIMIT} groups and arrays, which is refused; of a file of scans "
                "open some with scan=…, or one array with path=…"
            )
        name = f"{prefix}/{key}"
        if contents.wanted is None or contents.wanted(name):
            _enter(contents, group, key, file, name, (*trail, identity))


def _enter(contents: Contents, group: h5py.Group, key: str, file: str, name: str, trail: tuple[Any, ...]) -> None:
    try:
        if group.id.links.get_info(key.encode("utf-8", "surrogateescape")).type == h5py.h5l.TYPE_HARD:
            _note(contents, group[key], file, name, trail)
            return
        where, inner = _target(contents, group, key, file, name, 0)
        if where == file:
            _note(contents, group.file[inner], file, name, trail)
        else:
            contents.linked_files.add(where)
            with open_file(where) as other, blaming(where):
                _note(contents, other[inner], where, name, trail)
    except ReadError as error:
        contents.broken[name] = error
    except H5_ERRORS as error:
        contents.broken[name] = ReadError(f"{Path(file).name}: {name} cannot be read: {error}")


def _note(contents: Contents, thing: Any, file: str, name: str, trail: tuple[Any, ...]) -> None:
    if isinstance(thing, h5py.Group):
        _visit(contents, thing, file, name, trail)
    elif isinstance(thing, h5py.Dataset) and thing.shape is not None:
        check_storage(thing, name, file, contents.folders)
        inner = thing.name or name
        contents.arrays[name] = Found(name, file, inner, thing.shape, thing.dtype, _attributes(thing))


def _target(contents: Contents, group: h5py.Group, key: str, file: str, name: str, depth: int) -> tuple[str, str]:
    """Return the file and path that `key` of `group` really is, each link checked before it is followed."""
    if depth > LINKS:
        raise ReadError(f"{Path(file).name}: {name} leads over more than {LINKS} links, or in a circle")
    link = group.get(key, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        where = contents.folders.locate(link.filename, file, f"the external link {name}")
        if not where.is_file():
            raise ReadError(f"{where.name}: is missing beside {Path(file).name}, which links to it ({name})")
        contents.linked_files.add(str(where))
        with open_file(where, f"linked by {Path(file).name}") as other:
            return _walk(contents, other["/"], link.path, str(where), name, depth + 1)
    if isinstance(link, h5py.SoftLink):
        start = group.file["/"] if link.path.startswith("/") else group
        return _walk(contents, start, link.path, file, name, depth + 1)
    return file, f"{(group.name or '/').rstrip('/')}/{key}"


def _walk(contents: Contents, start: h5py.Group, path: str, file: str, name: str, depth: int) -> tuple[str, str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    inner = start.name or "/"
    for i, part in enumerate(parts):
        where, inner = _target(contents, start, part, file, name, depth)
        if where != file:
            rest = "/".join(parts[i + 1 :])
            with open_file(where) as other:
                return _walk(contents, other[inner], rest, where, name, depth + 1) if rest else (where, inner)
        if i + 1 < len(parts):
            start = start.file[inner]
    return file, inner


def _attributes(thing: Any) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    if not h5py.h5a.get_num_attrs(thing.id):  # as most have none, this saves a fourth of the time of a survey
        return attrs
    for key in NOTED:
        if key in thing.attrs:
            check_plain(thing.attrs.get_id(key).dtype, f"{thing.name}, attribute {key}")
            attrs[key] = plain(thing.attrs[key])
    return attrs
