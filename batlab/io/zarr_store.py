"""What batlab saves as Zarr, and its reading back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, UnsafePathError
from batlab.io.atomic import replacing
from batlab.io.netcdf import EAGER, parts_of
from batlab.io.plain_form import VERSION, from_plain, to_plain

NAME = "Zarr"
HINTS: frozenset[str] = frozenset()
UNFINISHED = "batlab_unfinished"  # attribute of a store that is still being filled: by which function
# Codecs that only move and squeeze bytes; one that unpickles objects is never met.
CODECS = frozenset(
    {"blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "vlen-bytes", "vlen-utf8", "zstd"}
)


def recognise(path: Path, head: bytes) -> bool:
    """A folder with Zarr's metadata."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write `obj` to the folder `path` in Zarr format 3, whole or not at all.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    """
    with replacing(path, overwrite) as unfinished:
        for place, part in parts_of(obj).items():
            plain = to_plain(part)
            if place == "/":
                plain.attrs["batlab_schema"] = VERSION
            _write_group(plain, unfinished, place, progress)


def _write_group(plain: xr.Dataset, folder: Path, place: str, progress: bool) -> None:
    from contextlib import nullcontext

    watching: Any = nullcontext()
    if progress:
        from tqdm.dask import TqdmCallback

        watching = TqdmCallback(desc="writing", unit="step")
    plain = _even_chunks(plain)
    attrs = plain.attrs
    # xarray derives 'coordinates' itself and refuses one that is there.
    plain = plain.drop_attrs(deep=False).assign_attrs({k: v for k, v in attrs.items() if k != "coordinates"})
    with watching:
        plain.to_zarr(
            folder, group=None if place == "/" else place.strip("/"), mode="a", consolidated=False, zarr_format=3
        )


def _even_chunks(plain: xr.Dataset) -> xr.Dataset:
    """Zarr's chunks are all of one size but the last."""
    changed = {}
    for name, variable in plain.variables.items():
        if variable.chunks is not None:
            sizes = {dim: max(1, parts[0]) for dim, parts in zip(variable.dims, variable.chunks, strict=True)}
            changed[name] = variable.chunk(sizes)
    return plain.assign({str(name): variable for name, variable in changed.items()})


def read(paths: list[Path], eager: int | None = None) -> xr.Dataset | xr.DataTree:
    """Return what was saved; variables above `eager` bytes, 64 MiB, are lazy.

    Raises
    ------
    ReadError
        Not batlab's, of Zarr format 2, or damaged.
    UnsafePathError
        A link in the folder leads out of it.
    """
    if len(paths) > 1:
        raise ReadError(f"{paths[0].name}: Zarr stores are opened one by one, got {len(paths)}")
    path = paths[0]
    try:
        places = _inspect(path)
        eager = EAGER if eager is None else eager
        parts = {place: _read_group(path, place, eager) for place in places}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(f"{path.name}: cannot be read as Zarr: {error}") from error
    if list(parts) == ["/"]:
        return parts["/"].assign_attrs(batlab_schema=VERSION)
    tree = xr.DataTree.from_dict(parts)
    tree.attrs["batlab_schema"] = VERSION
    return tree


def _inspect(path: Path) -> list[str]:
    """Return the places of the groups; refuse links that lead out and codecs that do more than squeeze."""
    root = Path(os.path.realpath(path))
    if not (path / "zarr.json").is_file():
        raise ReadError(f"{path.name}: is of Zarr format 2; batlab reads format 3")
    places = []
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            one = Path(folder, name)
            if one.is_symlink() and not Path(os.path.realpath(one)).is_relative_to(root):
                raise UnsafePathError(
                    f"{path.name}: {one.relative_to(path)} leads to {os.path.realpath(one)}, outside it"
                )
        if "zarr.json" in files:
            meta = json.loads(Path(folder, "zarr.json").read_bytes())
            if meta.get("node_type") == "group":
                inner = Path(folder).relative_to(path).as_posix()
                places.append("/" if inner == "." else f"/{inner}")
                _check_own(path, inner, meta)
            _check_codecs(path, meta.get("codecs", []))
        folders.sort()
    return places


def _check_own(path: Path, inner: str, meta: dict[str, Any]) -> None:
    attributes = meta.get("attributes", {})
    if inner == "." and UNFINISHED in attributes:
        raise ReadError(
            f"{path.name}: is not finished; call {attributes[UNFINISHED]} again with the same frames, settings and "
            "store: it goes on where it stopped"
        )
    if inner == "." and "batlab_schema" not in attributes:
        raise ReadError(f"{path.name}: is a Zarr store that batlab did not write; open it with xarray.open_zarr")


def _check_codecs(path: Path, codecs: list[Any]) -> None:
    for codec in codecs:
        name = codec.get("name") if isinstance(codec, dict) else codec
        if name not in CODECS:
            raise ReadError(f"{path.name}: uses the codec {name!r}; known are {', '.join(sorted(CODECS))}")
        inner = codec.get("configuration", {}) if isinstance(codec, dict) else {}
        _check_codecs(path, [*inner.get("codecs", []), *inner.get("index_codecs", [])])


def _read_group(path: Path, place: str, eager: int) -> xr.Dataset:
    stored = xr.open_zarr(
        path, group=None if place == "/" else place.strip("/"), consolidated=False, chunks={}, decode_cf=False,
        mask_and_scale=False,
    )  # fmt: skip
    variables = {}
    for name, variable in stored.variables.items():
        is_small = np.prod(variable.shape, dtype=float) * max(1, variable.dtype.itemsize) <= eager
        variables[str(name)] = variable.copy(deep=False).load() if is_small else variable
    return from_plain(variables, stored.attrs)
