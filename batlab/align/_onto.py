"""Several techniques of one experiment on one axis, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab.align.clock import Clock, Offset, common_clock, dates, plain
from batlab.align.frames import charge, inside, known, running
from batlab.align.lag_result import Lag
from batlab.align.lithium import Lithium
from batlab.align.windows import mean
from batlab.errors import BatlabError, DimensionError, SchemaError, choose, did_you_mean
from batlab.schema import LEADING, quantity, record

AXES = ("time", "capacity", "lithium", "temperature")
NAME = "align.onto"
BEFORE = "_before_onto"


def onto(
    tree: xr.DataTree,
    axis: str = "time",
    *,
    cell: str = "echem",
    offsets: Mapping[str, Offset] | None = None,
    lithium: Lithium | None = None,
) -> xr.DataTree:
    """Return an experiment whose techniques all carry one axis, by the cell's clock and the cell's record.

    Nothing is regridded: each technique keeps its frames (or records) and gets, as a coordinate on them, where they
    lie on the axis: the mean over each exposure, exact as in `onto_frames`; NaN outside the record and where an
    exposure touches a gap in it. Called again with another axis it adds that one too.

    Parameters
    ----------
    tree
        Siblings such as ``/xrd``, ``/xas``, ``/echem``. Those over ``frame`` or ``record`` need ``time`` (or
        ``test_time`` of the cell's clock), frames their ``exposure`` [s]; others stay as they are.
    axis
        ``"time"`` (UTC, by the cell's clock); ``"capacity"`` [Ah], the net charge since the first record (charging
        positive), from the current, else from the counter; ``"lithium"``, x in the electrode's formula, from that
        charge; ``"temperature"`` [degC] of the record.
    cell
        The child whose clock and record count.
    offsets
        Child -> what is to be added to its clock: seconds, or what `estimate_lag` found. Others are taken as right.
    lithium
        What turns charge into lithium; only for ``axis="lithium"``.

    Returns
    -------
    xarray.DataTree
        As `tree`, with the coordinate `axis`; ``time`` corrected. Attributes say what was done to each technique:
        ``onto_offset``, with its ``onto_offset_sigma`` and ``onto_drift`` [ppm] where known, ``onto_axes``. What was
        replaced stands beside it as ``<name>_before_onto``; `undo` puts it back, to the last digit.

    Raises
    ------
    DimensionError, SchemaError, ValueError, TypeError
        No such child; no ``time``; a record without a current, a temperature; `lithium` missing; offsets for a tree
        that has been corrected already.

    Warns
    -----
    UserWarning
        Lithium below 0 or above what the formula holds; charge over gaps of the record.

    Examples
    --------
    >>> stamps = np.datetime64("2026-01-01", "ns") + np.arange(3) * np.timedelta64(1, "h")
    >>> record_ = xr.Dataset({"current": quantity("record", [0.1, 0.1, 0.1], "A", "current")},
    ...                      {"time": quantity("record", stamps, "", "time, UTC")})
    >>> edges = xr.Dataset({"e0": quantity("frame", [8344.9], "eV", "edge energy")},
    ...                    {"time": quantity("frame", stamps[:1], "", "start of exposure, UTC"),
    ...                     "exposure": quantity("frame", [60.0], "s", "exposure")})
    >>> tree = xr.DataTree.from_dict({"/echem": record_, "/xas": edges})
    >>> joined = onto(tree, "capacity", offsets={"xas": 3570.0})
    >>> round(float(joined["xas/capacity"][0]), 6), undo(joined)["xas"].time.equals(tree["xas"].time)
    (0.1, True)
    """
    choose("axis", axis, AXES)
    nodes = _nodes(tree, cell)
    offsets = _checked(offsets, nodes, cell)
    if (lithium is None) == (axis == "lithium"):
        told = "needs lithium=align.Lithium(...)" if axis == "lithium" else "takes no lithium="
        raise ValueError(f"{NAME}: axis={axis!r} {told}; it is what turns charge into lithium")
    corrected = [name for name, ds in nodes.items() if "onto_axes" in ds.attrs]
    if corrected and offsets:
        raise ValueError(
            f"{NAME}: {', '.join(corrected)} has been put on an axis already, offsets={sorted(offsets)} would add up; "
            "take it off with align.undo first, or leave offsets out"
        )
    parts: dict[str, xr.Dataset] = {}
    for name, ds in nodes.items():
        try:
            parts[f"/{name}"] = _placed(ds, nodes[cell], axis, offsets.get(name, 0.0), lithium)
        except ValueError as error:
            kind = type(error) if isinstance(error, BatlabError) else ValueError
            raise kind(f"{NAME}, {name!r}: {error}") from error
    if axis == "lithium" and lithium is not None:
        _warn_of_lithium(parts[f"/{cell}"], lithium)
    result = xr.DataTree.from_dict(parts, name=tree.name)
    result.attrs = dict(tree.attrs)
    applied = {name: plain(offset) for name, offset in offsets.items()}
    return record(result, NAME, axis=axis, cell=cell, offsets=applied, lithium=lithium)


def undo(data: Any) -> Any:
    """Return a Dataset or a DataTree as it was before `onto` (all its axes and offsets), or before `mend_clock`.

    Raises
    ------
    SchemaError
        Neither was done to it.

    Examples
    --------
    >>> undo(xr.Dataset())
    Traceback (most recent call last):
        ...
    batlab.errors.SchemaError: align.undo finds nothing to take off: neither align.onto nor align.mend_clock was done \
to it
    """
    if isinstance(data, xr.DataTree):
        nodes = {node.path: node.to_dataset(inherit=False) for node in data.subtree}
        which = _which(nodes.values())
        result = xr.DataTree.from_dict({name: _without(ds, which) for name, ds in nodes.items()}, name=data.name)
        result.attrs = dict(data.attrs)
        return record(result, "align.undo", what=which)
    which = _which([data])
    return record(_without(data, which), "align.undo", what=which)


def _nodes(tree: xr.DataTree, cell: str) -> dict[str, xr.Dataset]:
    if not isinstance(tree, xr.DataTree):
        raise DimensionError(
            f"{NAME} needs a DataTree, got a {type(tree).__name__}; make one with xarray.DataTree.from_dict({{'/xas': "
            "…, '/echem': …})"
        )
    nodes = {node.path.strip("/"): node.to_dataset(inherit=False) for node in tree.subtree if node is not tree}
    if cell not in nodes:
        hint = did_you_mean(cell, nodes) or f"; it has {', '.join(nodes) or 'none'}"
        raise DimensionError(f"{NAME} needs the child {cell!r}, the cell's record{hint}")
    if "record" not in nodes[cell].dims:
        raise DimensionError(
            f"{NAME} needs 'record' in {cell!r}, got {tuple(map(str, nodes[cell].dims))}; name the record"
        )
    return nodes


def _checked(offsets: Mapping[str, Offset] | None, nodes: dict[str, xr.Dataset], cell: str) -> dict[str, Offset]:
    given = {name.strip("/"): offset for name, offset in (offsets or {}).items()}
    for name in given:
        if name not in nodes:
            hint = did_you_mean(name, nodes) or f"; it has {', '.join(nodes)}"
            raise ValueError(f"{NAME}: offsets name {name!r}, which the experiment does not have{hint}")
        if name == cell:
            raise ValueError(
                f"{NAME}: the clock of {cell!r} is the one that all others are brought to; it has no offset"
            )
    return given


def _placed(ds: xr.Dataset, cell: xr.Dataset, axis: str, offset: Offset, lithium: Lithium | None) -> xr.Dataset:
    dim = next((dim for dim in LEADING if dim in ds.dims), None)
    if dim is None:
        return ds
    frames = ds
    if dim == "record":  # a moment is an exposure of no length
        frames = xr.Dataset(coords={"exposure": ("frame", np.zeros(ds.sizes["record"]))})
        for name in ("time", "test_time"):
            if name in ds and ds[name].dims == ("record",) and name in cell:
                frames = frames.assign_coords({name: ("frame", ds[name].values)})
    clock = common_clock(frames, cell, None, None, offset)
    added: dict[str, xr.Variable] = {}
    if callable(offset) or offset != 0.0:
        if clock.zero is None or "time" not in frames:
            added["test_time"] = quantity(dim, clock.windows.start, "s", "start of exposure on the record's clock")
        else:
            added["time"] = quantity(dim, dates(clock.windows.start, clock.zero), "", "start, UTC, by the cell's clock")
    if axis != "time":
        values = _along(cell, clock, axis, lithium)
        added[axis] = quantity(dim, values.values, values.attrs["units"], values.attrs["long_name"])
    return _with(ds, added, axis, offset)


def _along(cell: xr.Dataset, clock: Clock, axis: str, lithium: Lithium | None) -> xr.Variable:
    if axis == "temperature":
        if "temperature" not in cell or cell["temperature"].dims != ("record",):
            raise SchemaError(
                f"axis='temperature' needs it in the cell's record, which has {', '.join(map(str, cell.data_vars))}"
            )
        times, values = known(clock.records, cell["temperature"])
        units = str(cell["temperature"].attrs.get("units", "degC"))
        return quantity("frame", inside(times, None, clock.windows, mean, values), units, "mean temperature")
    if "current" in cell:
        passed = charge(cell, clock, None)
    elif "capacity" in cell:
        passed = running(cell, clock, None)
    else:
        raise SchemaError(f"axis={axis!r} needs a current or a capacity in the cell's record, which has neither")
    if axis == "capacity" or lithium is None:
        return passed
    return quantity("frame", lithium.content(passed.values), "1", f"lithium in {lithium.electrode} electrode's formula")


def _with(ds: xr.Dataset, added: dict[str, xr.Variable], axis: str, offset: Offset) -> xr.Dataset:
    ours = _names(ds, "onto_added")
    kept = {name: f"{name}{BEFORE}" for name in added if name in ds.variables and name not in ours}
    result = ds.drop_vars([name for name in added if name in ours]).rename_vars(kept)
    attrs: dict[str, Any] = {"onto_axes": list(dict.fromkeys([*_names(ds, "onto_axes"), axis]))}
    attrs["onto_added"] = list(dict.fromkeys([*ours, *added]))
    if isinstance(offset, Lag):
        attrs |= {"onto_offset": offset.lag, "onto_offset_sigma": offset.sigma, "onto_reference": str(offset.reference)}
        attrs["onto_drift"] = offset.drift if offset.is_drift_seen else 0.0
    elif "onto_offset" not in ds.attrs:
        attrs["onto_offset"] = str(plain(offset)) if callable(offset) else float(offset)
    return result.assign_coords(added).assign_attrs(attrs)


def _names(ds: xr.Dataset, key: str) -> list[str]:
    found = ds.attrs.get(key, [])
    return [found] if isinstance(found, str) else [str(name) for name in found]  # a file keeps a list of one as text


def _warn_of_lithium(cell: xr.Dataset, lithium: Lithium) -> None:
    values = cell["lithium"].values
    low, high = float(np.nanmin(values, initial=np.inf)), float(np.nanmax(values, initial=-np.inf))
    if low < -lithium.TOLERANCE or high > max(lithium.start, lithium.most) + lithium.TOLERANCE:
        warnings.warn(
            f"{NAME}: lithium runs from {low:.2f} to {high:.2f} in a formula that holds 0 to {lithium.most:g}: mass, "
            "molar mass or start may be wrong, the file may hold more than one test, or charge went elsewhere",
            UserWarning,
            stacklevel=3,
        )


def _which(nodes: Any) -> str:
    nodes = list(nodes)
    if any("onto_axes" in ds.attrs for ds in nodes):
        return "onto"
    if any("clock_set" in ds.coords for ds in nodes):
        return "mend_clock"
    raise SchemaError("align.undo finds nothing to take off: neither align.onto nor align.mend_clock was done to it")


def _without(ds: xr.Dataset, which: str) -> xr.Dataset:
    if which == "mend_clock":
        if "clock_set" not in ds.coords:
            return ds
        back = np.round(ds["clock_set"].values * 1e9).astype("timedelta64[ns]")
        time = (ds["time"].dims, ds["time"].values - back, dict(ds["time"].attrs))
        result = ds.assign_coords(time=time).drop_vars("clock_set")
    else:
        added = [name for name in _names(ds, "onto_added") if name in ds.variables]
        result = ds.drop_vars(added)
        kept = {str(name): str(name).removesuffix(BEFORE) for name in result.variables if str(name).endswith(BEFORE)}
        result = result.rename_vars(kept)
    dropped = ("clock_jumps",) if which == "mend_clock" else tuple(key for key in ds.attrs if key.startswith("onto_"))
    result.attrs = {key: value for key, value in ds.attrs.items() if key not in dropped}
    return result
