"""The data model: which dimensions exist, in which units, and what every dataset must say of itself.

A quantity is a ``DataArray``, a measurement a ``Dataset``, an experiment a ``DataTree``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, UnitError, did_you_mean

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset, xr.DataTree)

# Dimension -> unit of the coordinate with that name ("1": a plain number or label).
DIMENSIONS: dict[str, str] = {
    "frame": "1",
    "record": "1",
    "y": "pixel",
    "x": "pixel",
    "q": "1/angstrom",
    "q_xy": "1/angstrom",
    "q_z": "1/angstrom",
    "two_theta": "degree",
    "azimuth": "degree",
    "energy": "eV",
    "energy_loss": "eV",
    "k": "1/angstrom",
    "r": "angstrom",
    "r_other": "angstrom",
    "radius": "mm",
    "phase": "1",
    "component": "1",
    "peak": "1",
    "pixel": "1",
    "event": "1",
    "size": "angstrom",
    "path": "1",
    "channel": "1",
    "mass": "1",
    "site": "1",
    "parameter": "1",
    "frame_other": "1",
    "parameter_other": "1",
    "combination": "1",
    "lag": "s",
    "spot": "1",
    "cycle": "1",
    "voltage": "V",
    "capacity": "Ah",
    "delay": "s",
    "model": "1",
    "setting": "1",
}

# Names with one unit everywhere, dimension or not.
UNITS: dict[str, str] = {
    **DIMENSIONS,
    "exposure": "s",
    "test_time": "s",
    "voltage": "V",
    "current": "A",
    "capacity": "Ah",
    "charge_passed": "Ah",
    "energy_delivered": "Wh",
    "a": "angstrom",
    "b": "angstrom",
    "c": "angstrom",
    "alpha": "degree",
    "beta": "degree",
    "gamma": "degree",
    "volume": "angstrom^3",
    "mask": "1",
}

LEADING = ("frame", "record")
FINGERPRINT_LIMIT = 256 * 2**20  # bytes; above this a file is identified by its ends and its size


def quantity(dims: str | Sequence[str], data: Any, units: str, long_name: str, **attrs: Any) -> xr.Variable:
    """Return a variable that carries its unit and its name, ready for a Dataset.

    Examples
    --------
    >>> quantity("q", [1.0, 2.0], "1/angstrom", "scattering vector").attrs["units"]
    '1/angstrom'
    """
    described = {"long_name": long_name, **attrs}
    dtype = data.dtype if hasattr(data, "dtype") else np.asarray(data).dtype
    if dtype.kind not in "MUOST":
        described["units"] = units
    return xr.Variable(dims, data, described)


def check(obj: Labelled) -> Labelled:
    """Return `obj` unchanged if it keeps the rules of the data model, else raise.

    Rules: known dimensions, ``frame`` or ``record`` first; every variable with ``long_name`` and, unless it is a
    time or text, ``units``; the units that the model states; coordinates along a dimension increasing and finite;
    ``<name>_sigma`` like ``<name>`` and never negative; attributes of text, numbers or flat lists of them.

    Raises
    ------
    DimensionError, UnitError, SchemaError
        With the variable's name and what to do.

    Examples
    --------
    >>> pattern = xr.Dataset({"intensity": quantity("q", [3.0, 4.0], "1", "intensity")},
    ...                      {"q": quantity("q", [1.0, 2.0], "1/angstrom", "scattering vector")})
    >>> check(pattern) is pattern
    True
    """
    if isinstance(obj, xr.DataTree):
        _check_attributes("the tree's root", obj.attrs)
        if obj.ds.variables:
            names = ", ".join(map(str, obj.ds.variables))
            raise SchemaError(f"the root of an experiment holds attributes only, got {names}; move them to a child")
        for node in obj.subtree:
            if node is not obj:
                check(node.to_dataset(inherit=False))
        return obj
    dataset = obj.to_dataset(name=obj.name or "value") if isinstance(obj, xr.DataArray) else obj
    _check_attributes("the dataset", dataset.attrs)
    for name, variable in dataset.variables.items():
        _check_variable(str(name), variable)
        if name in dataset.dims:
            _check_axis(str(name), variable)
    if "time" in dataset.coords:
        _check_time(dataset["time"])
    for name in dataset.data_vars:
        _check_sigma(dataset, str(name))
    return obj


def _check_variable(name: str, variable: xr.Variable) -> None:
    for dim in variable.dims:
        if dim not in DIMENSIONS:
            hint = did_you_mean(str(dim), DIMENSIONS) or f"; known are {', '.join(DIMENSIONS)}"
            raise DimensionError(f"variable {name!r} has the unknown dimension {dim!r}{hint}")
    for leading in LEADING:
        if leading in variable.dims and variable.dims[0] != leading:
            raise DimensionError(
                f"{leading!r} must be the first dimension of {name!r}, got {variable.dims}; transpose it"
            )
    _check_attributes(f"variable {name!r}", variable.attrs)
    if not variable.attrs.get("long_name"):
        raise SchemaError(f"variable {name!r} has no 'long_name'; say in words what it is")
    if variable.dtype.kind in "MUOST":
        return
    units = variable.attrs.get("units")
    if not isinstance(units, str) or not units:
        raise UnitError(f"variable {name!r} has no 'units'; give one, '1' for a plain number")
    stem = name.removesuffix("_sigma")
    if stem in UNITS and units != UNITS[stem]:
        raise UnitError(f"{name!r} must be in {UNITS[stem]!r}, got {units!r}; convert it where it is read")


def _check_axis(name: str, axis: xr.Variable) -> None:
    if axis.dtype.kind not in "iuf":
        return
    values = np.asarray(axis.values, dtype=float)
    if not np.isfinite(values).all():
        raise SchemaError(f"coordinate {name!r} holds NaN or infinity; drop those points")
    if (np.diff(values) <= 0).any():
        first = int(np.argmax(np.diff(values) <= 0))
        raise SchemaError(
            f"coordinate {name!r} must increase, got {values[first]:g} then {values[first + 1]:g} at {first}; "
            f"use ds.sortby({name!r}) and drop repeats"
        )


def _check_time(time: xr.DataArray) -> None:
    if time.dtype.kind != "M":
        raise SchemaError(f"'time' must be datetime64 in UTC, got {time.dtype}; seconds belong in 'test_time'")
    values = time.values
    known = values[~np.isnat(values)]
    if known.ndim == 1 and (np.diff(known) < np.timedelta64(0)).any():
        raise SchemaError("'time' runs backwards; sort the frames by time, or mend the clock in align")


def _check_sigma(dataset: xr.Dataset, name: str) -> None:
    if not name.endswith("_sigma"):
        return
    stem = name.removesuffix("_sigma")
    if stem not in dataset:
        raise SchemaError(f"{name!r} stands without {stem!r}; an uncertainty needs its quantity")
    value, sigma = dataset[stem], dataset[name]
    if sigma.dims != value.dims:
        raise DimensionError(f"{name!r} has dimensions {sigma.dims}, {stem!r} has {value.dims}; they must agree")
    if sigma.attrs.get("units") != value.attrs.get("units"):
        raise UnitError(
            f"{name!r} is in {sigma.attrs.get('units')!r}, {stem!r} in {value.attrs.get('units')!r}; use one unit"
        )
    if sigma.chunks is None and (np.asarray(sigma.values) < 0).any():
        raise SchemaError(f"{name!r} is negative somewhere; an uncertainty is at least 0")


def _check_attributes(where: str, attrs: Mapping[Any, Any]) -> None:
    for key, value in attrs.items():
        if not isinstance(key, str):
            raise SchemaError(f"attribute {key!r} of {where} must be named by text, got a {type(key).__name__}")
        if isinstance(value, (str, int, float, np.number)) and not isinstance(value, bool):
            continue
        if isinstance(value, (list, tuple, np.ndarray)):
            flat = np.asarray(value)
            if flat.ndim == 1 and flat.dtype.kind in "iufU":
                continue
        raise SchemaError(
            f"attribute {key!r} of {where} is a {type(value).__name__}; files hold text, numbers and flat lists "
            "of them: use json.dumps for the rest, 0 or 1 for a truth value"
        )


def require(obj: xr.Dataset | xr.DataArray, function: str, *dims: str, hint: str = "") -> None:
    """Refuse an `obj` that lacks one of `dims`, naming the `function` that needs it.

    >>> require(xr.Dataset(), "curves.find_peaks", "q", hint="convert with scattering.to_q")
    Traceback (most recent call last):
        ...
    batlab.errors.DimensionError: curves.find_peaks needs dimension 'q', got (); convert with scattering.to_q
    """
    for dim in dims:
        if dim not in obj.dims:
            got = tuple(str(name) for name in obj.dims)
            raise DimensionError(f"{function} needs dimension {dim!r}, got {got}" + (f"; {hint}" if hint else ""))


def record(
    result: Labelled, step: str, *, source: str | os.PathLike | Sequence | None = None, **arguments: Any
) -> Labelled:
    """Return a shallow copy of `result` whose ``history`` has one line more: time, version, step, arguments.

    Parameters
    ----------
    result
        What the step made.
    step
        The function's public name, ``"scattering.integrate"``.
    source
        The file or files read. Sets the attributes ``source`` and ``source_sha256``; the latter is named
        ``source_fingerprint`` (SHA-256 of size, first and last MiB, of less where there are more than 128 files) where
        the files exceed 256 MiB together.
    **arguments
        As the user gave them. Arrays and datasets are shortened to their shape and identity.

    Examples
    --------
    >>> done = record(xr.Dataset(), "xas.normalize", e0=8333.0)
    >>> done.attrs["history"].endswith("xas.normalize(e0=8333.0)")
    True
    """
    copied = result.copy(deep=False)
    if source is not None:
        paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
        copied.attrs.update(_source_attributes([Path(path) for path in paths]))
    told = ", ".join(f"{key}={_short(value)}" for key, value in arguments.items())
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{now} batlab {version()} {step}({told})"
    copied.attrs["history"] = "\n".join(filter(None, [copied.attrs.get("history", ""), line]))
    return copied


@cache
def version() -> str:
    """Return batlab's version, read once."""
    try:
        return installed_version("batlab")
    except PackageNotFoundError:
        return "unknown"


def _short(value: Any) -> str:
    if isinstance(value, (xr.Dataset, xr.DataArray)):
        return f"<{type(value).__name__} {identity(value)[:12]}>"
    if isinstance(value, np.ndarray) and value.size > 8:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]
        return f"<array {value.shape} {digest}>"
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    text = repr(value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _source_attributes(paths: list[Path]) -> dict[str, str]:
    names = [path.name for path in paths]
    text = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent}: {names[0]} ... {names[-1]} ({len(names)} files)"
    whole = sum(path.stat().st_size for path in paths) <= FINGERPRINT_LIMIT
    # Of a thousand files of a long series less is read of each.
    piece = max(2**12, min(2**20, FINGERPRINT_LIMIT // (2 * len(paths))))
    digest = hashlib.sha256()
    for path in paths:
        one = file_sha256(path) if whole else _ends_sha256(path, piece)
        digest.update(one.encode())
    total = one if len(paths) == 1 else digest.hexdigest()
    return {"source": text, "source_sha256" if whole else "source_fingerprint": total}


def file_sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ends_sha256(path: Path, piece: int) -> str:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(piece)
        file.seek(max(0, size - piece))
        return hashlib.sha256(str(size).encode() + head + file.read()).hexdigest()


def identity(obj: xr.Dataset | xr.DataArray) -> str:
    """Return 64 hexadecimal digits that name the measurement: its source, shape, variables and coordinates.

    Marks refer to data by it. Nothing lazy is computed; the values of the variables do not enter.
    """
    dataset = obj.to_dataset(name=obj.name or "value") if isinstance(obj, xr.DataArray) else obj
    sources = [str(dataset.attrs.get(key, "")) for key in ("source_sha256", "source_fingerprint")]
    sizes = {str(key): int(size) for key, size in dataset.sizes.items()}
    digest = hashlib.sha256(json.dumps([sources, sizes, sorted(map(str, dataset.data_vars))]).encode())
    for name in sorted(map(str, dataset.dims)):
        if name in dataset.coords and dataset[name].dtype.kind in "iufM":
            digest.update(np.ascontiguousarray(dataset[name].values).tobytes())
    return digest.hexdigest()


def same_grid(
    function: str, first: xr.Dataset | xr.DataArray, second: xr.Dataset | xr.DataArray, dims: Iterable[str]
) -> None:
    """Refuse two inputs whose coordinates along `dims` are not exactly equal, or that were binned differently."""
    same_scheme(function, first, second)
    for dim in dims:
        if dim in first.coords and dim in second.coords and not first[dim].equals(second[dim]):
            raise DimensionError(
                f"{function} needs equal {dim!r} grids, got {first.sizes[dim]} and {second.sizes[dim]} points "
                "that differ; bring both onto one grid first with curves.regrid"
            )


def same_scheme(function: str, *series: xr.Dataset | xr.DataArray) -> None:
    """Refuse series that were integrated with different pixel splitting: they differ by up to 10 % for no other reason.

    What `scattering.integrate` makes, and what is made of that, states its scheme in the attribute ``split``; series
    that state none are not judged.

    Raises
    ------
    SchemaError
        With the schemes and what to do.

    Examples
    --------
    >>> bbox, full = (xr.Dataset(attrs={"split": split}) for split in ("bbox", "full"))
    >>> same_scheme("xrd.strain", bbox, full)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    batlab.errors.SchemaError: xrd.strain cannot compare series of different pixel splitting, got 'bbox' and 'full'; ...
    """
    stated = list(dict.fromkeys(str(one.attrs["split"]) for one in series if "split" in one.attrs))
    if len(stated) > 1:
        raise SchemaError(
            f"{function} cannot compare series of different pixel splitting, got {' and '.join(map(repr, stated))}; "
            f"integrate all with one: scattering.integrate(..., split={stated[-1]!r})"
        )
