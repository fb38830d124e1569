"""Datasets in the few types that every file format has, and back, so that saving loses nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

TAG = "_batlab"  # attribute with what the format itself cannot say, as JSON
VERSION = "1"
# Attribute names that HDF5, netCDF, NeXus or xarray use themselves.
RESERVED = frozenset(
    {
        TAG, "CLASS", "DIMENSION_LIST", "NAME", "REFERENCE_LIST", "_ARRAY_DIMENSIONS", "_FillValue", "_NCProperties",
        "_Netcdf4Coordinates", "_Netcdf4Dimid", "_nc3_strict", "add_offset", "axes", "batlab_schema", "calendar",
        "coordinates", "default", "dtype", "missing_value", "scale_factor", "signal", "NX_class", "_Unsigned",
    }
)  # fmt: skip
_EPOCH = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}


def to_plain(dataset: xr.Dataset) -> xr.Dataset:
    """Return `dataset` with integers, floats and text only; what they stood for is in the attribute `TAG`.

    Truth values become int8, times and time spans int64 nanoseconds (NaT is the lowest int64). Attributes that a format
    would change (lists, NaN, empty text, reserved names) are in the tag; lists stay readable beside it.
    """
    variables = {str(name): _plain_variable(variable) for name, variable in dataset.variables.items()}
    plain = xr.Dataset({name: variables[name] for name in map(str, dataset.variables)})
    coords = [str(name) for name in dataset.coords]
    attrs, kept = _plain_attributes(dataset.attrs)
    tag: dict[str, Any] = {"coords": coords, "order": [str(name) for name in dataset.variables]}
    if kept:
        tag["attrs"] = kept
    beside = [name for name in coords if name not in dataset.dims]
    plain.attrs = {**attrs, TAG: json.dumps(tag), **({"coordinates": " ".join(beside)} if beside else {})}
    return plain


def from_plain(variables: Mapping[str, xr.Variable], attrs: Mapping[str, Any]) -> xr.Dataset:
    """Return the Dataset whose plain form is given."""
    tag = json.loads(attrs[TAG]) if TAG in attrs else {"coords": [], "order": list(variables)}
    whole = {name: _whole_variable(variables[name]) for name in tag["order"] if name in variables}
    coords = {name: variable for name, variable in whole.items() if name in tag["coords"]}
    data = {name: variable for name, variable in whole.items() if name not in tag["coords"]}
    return xr.Dataset(data, coords, whole_attributes(attrs))


def _plain_variable(variable: xr.Variable) -> xr.Variable:
    attrs, kept = _plain_attributes(variable.attrs)
    data, dtype = variable.data, variable.dtype
    tag: dict[str, Any] = {"attrs": kept} if kept else {}
    if dtype.kind == "b":
        tag["dtype"], data = "bool", data.astype("int8")
    elif dtype.kind in "Mm":
        tag["dtype"], data = dtype.str, data.astype(f"{dtype.kind}8[ns]").view("int64")
        written = _EPOCH if dtype.kind == "M" else {"units": "nanoseconds"}
        own = {name: attrs[name] for name in written if name in attrs}
        if own:
            tag["attrs"] = {**tag.get("attrs", {}), **own}
        attrs, tag["drop"] = {**attrs, **written}, list(written)
    elif dtype.kind in "UOT":
        tag["dtype"] = dtype.str if dtype.kind == "U" else "object"
        data = np.asarray(variable.values, dtype=object)
    if tag:
        attrs[TAG] = json.dumps(tag)
    return xr.Variable(variable.dims, data, attrs)


def _whole_variable(variable: xr.Variable) -> xr.Variable:
    tag = json.loads(variable.attrs[TAG]) if TAG in variable.attrs else {}
    attrs = {name: value for name, value in variable.attrs.items() if name not in tag.get("drop", ())}
    data, dtype = variable.data, tag.get("dtype")
    if dtype == "bool":
        data = data.astype(bool)
    elif dtype == "object":
        data = np.array([str(value) for value in np.asarray(data).ravel()], object).reshape(variable.shape)
    elif dtype is not None and np.dtype(dtype).kind in "Mm":
        data = data.view(f"{np.dtype(dtype).kind}8[ns]").astype(dtype)
    elif dtype is not None and np.dtype(dtype).kind == "U":
        data = np.asarray(data).astype(dtype)
    return xr.Variable(variable.dims, data, whole_attributes(attrs))


def _plain_attributes(attrs: Mapping[Any, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes to write as they are, and those that only the tag keeps whole."""
    native: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for name, value in ((str(key), value) for key, value in attrs.items()):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, (list, tuple, np.ndarray)):
            kept[name] = [item.item() if isinstance(item, np.generic) else item for item in value]
            if len(kept[name]) and all(_is_exact(item) for item in kept[name]) and name not in RESERVED:
                native[name] = kept[name]
        elif name in RESERVED or not _is_exact(value):
            kept[name] = value
        else:
            native[name] = value
    return native, kept


def _is_exact(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return bool(value) and "\0" not in value


def whole_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as they were before `to_plain`."""
    tag = json.loads(attrs[TAG]) if TAG in attrs else {}
    native = {
        str(name): value.item() if isinstance(value, np.generic) else value
        for name, value in attrs.items()
        if name not in RESERVED
    }
    return {**native, **tag.get("attrs", {})}
