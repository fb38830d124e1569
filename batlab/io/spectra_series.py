"""Scans become one Dataset: one over energy, several over (frame, energy) in the order of their clocks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.frames import utc
from batlab.io.spectra_scan import HEADER_LIMIT, Scan
from batlab.schema import quantity

OWN = "energy_measured"  # of scans whose grids differ
AXES = {"energy": ("eV", "photon energy"), "k": ("1/angstrom", "photoelectron wavenumber")}


def dataset(scans: list[Scan], hints: dict[str, Any]) -> xr.Dataset:
    """Return one scan over its axis, or a series over (frame, axis).

    Frames are ordered by their start where every scan states one, else as the files are named. With ``grid="own"``
    scans of unequal grids keep their points: ``energy_measured`` (frame, energy) [eV], NaN behind a scan's last.

    Raises
    ------
    ReadError
        Scans with other columns or, unless ``grid`` is given, another grid than the first.
    """
    times = [utc_of(scan.table.start, hints.get("timezone")) for scan in scans]
    known = [time for time in times if time is not None]
    if len(known) == len(scans):
        order = np.argsort(np.array(known), kind="stable")
        scans, known = [scans[i] for i in order], [known[i] for i in order]
    else:
        known = []
    first = scans[0]
    for other in scans[1:]:
        _same_columns(first, other)
    own = hints.get("grid") == "own" and any(not np.array_equal(scan.x, first.x) for scan in scans)
    if own and first.axis != "energy":
        raise ReadError(f"{first.table.name}: grid='own' is for scans over energy, got {first.axis!r}")
    most = max(len(scan.x) for scan in scans)
    moved = [_padded(scan, most) if own else _onto(first, scan, hints.get("grid")) for scan in scans]
    lead = () if len(scans) == 1 else ("frame",)
    variables = {}
    for name, column in first.columns.items():
        stack = np.stack([columns[name] for columns in moved])
        dims = (*lead, *(("channel",) if column.values.ndim == 2 else ()), first.axis)
        variables[name] = quantity(dims, stack if lead else stack[0], column.units, column.long_name)
    for name, number in first.table.numbers.items():
        each = np.array([scan.table.numbers[name].value for scan in scans if name in scan.table.numbers])
        if len(each) == len(scans) and np.isfinite(each).any():
            variables[name] = quantity(lead, each if lead else each[0], number.units, number.long_name)
    coords = _coordinates(scans, known, lead)
    if own:
        grids = np.stack([np.pad(scan.x, (0, most - len(scan.x)), constant_values=np.nan) for scan in scans])
        del coords["energy"]
        coords[OWN] = quantity(("frame", "energy"), grids, "eV", "photon energies of each frame")
    result = xr.Dataset(variables, coords, _attributes(scans))
    n_moved = sum(not np.array_equal(scan.x, first.x) for scan in scans)
    if n_moved and not own:
        result.attrs["grid"] = f"{n_moved} of {len(scans)} scans interpolated linearly onto {first.table.name}'s points"
    return say_clock(result, [scan.table.start for scan in scans], hints.get("timezone"), first.table.name)


def utc_of(start: str, timezone: str | None) -> np.datetime64 | None:
    """Return a scan's start in UTC, None where there is none; a clock that names no zone is taken as UTC."""
    return utc(start, timezone or "UTC") if start else None


def say_clock(result: xr.Dataset, starts: list[str], timezone: str | None, name: str) -> xr.Dataset:
    """Say where the clock is local and taken as UTC; of a series, whose clock will meet others, also warn."""
    if "time" not in result.coords or timezone is not None or not starts[0] or utc(starts[0]) is not None:
        return result
    result.attrs["clock"] = "local time without a zone, taken as UTC"
    if len(starts) > 1:
        warnings.warn(
            f"{name}: its clock is local time without a zone and is taken as UTC; pass timezone='Europe/Paris' (or "
            "where it was measured), or timezone='UTC'",
            UserWarning,
            stacklevel=3,
        )
    return result


def _same_columns(first: Scan, other: Scan) -> None:
    ours = {name: column.values.shape[:-1] for name, column in first.columns.items()}
    theirs = {name: column.values.shape[:-1] for name, column in other.columns.items()}
    if ours != theirs or first.axis != other.axis:
        differ = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        raise ReadError(
            f"{other.table.name}: its columns differ from those of {first.table.name} in {', '.join(differ[:8])}; open "
            "them apart"
        )


def _onto(first: Scan, scan: Scan, grid: str | None) -> dict[str, np.ndarray]:
    """Return the scan's columns on the points of the first; NaN where it did not reach."""
    if np.array_equal(scan.x, first.x):
        return {name: column.values for name, column in scan.columns.items()}
    if grid is None:
        told = [f"{len(one.x)} points, {one.x[0]:.8g} to {one.x[-1]:.8g}" for one in (scan, first)]
        apart = f", up to {np.abs(scan.x - first.x).max():.3g} apart" if len(scan.x) == len(first.x) else ""
        raise ReadError(
            f"{scan.table.name}: its {scan.axis} points ({told[0]}) are not exactly those of {first.table.name} "
            f"({told[1]}{apart}); pass grid='first' to interpolate all linearly onto the first, grid='own' to keep "
            "the points of each (which xas.normalize, edge_energy and remove_background take), or open them apart and "
            "use curves.regrid"
        )
    return {
        name: np.apply_along_axis(lambda y: np.interp(first.x, scan.x, y, left=np.nan, right=np.nan), -1, column.values)
        for name, column in scan.columns.items()
    }


def _padded(scan: Scan, most: int) -> dict[str, np.ndarray]:
    """Return the scan's columns with NaN behind its last point, `most` points each."""
    spare = most - len(scan.x)
    return {
        name: np.pad(column.values.astype(float), [(0, 0)] * (column.values.ndim - 1) + [(0, spare)],
                     constant_values=np.nan)
        for name, column in scan.columns.items()
    }  # fmt: skip


def _coordinates(scans: list[Scan], known: list[Any], lead: tuple[str, ...]) -> dict[str, xr.Variable]:
    first = scans[0]
    coords = {first.axis: quantity(first.axis, first.x, *AXES[first.axis])}
    n_channels = {column.values.shape[0] for column in first.columns.values() if column.values.ndim == 2}
    if len(n_channels) > 1:
        raise ReadError(
            f"{first.table.name}: its detectors have {' and '.join(map(str, sorted(n_channels)))} channels, which do "
            "not fit into one dataset; pass columns= with the wanted ones"
        )
    for n in n_channels:
        coords["channel"] = quantity("channel", np.arange(1, n + 1), "1", "channel of the detector")
    if lead:
        coords["frame"] = quantity("frame", np.arange(len(scans)), "1", "frame")
        coords["file"] = quantity("frame", np.array([scan.table.name for scan in scans]), "1", "file")
    if known:
        stamps = np.array(known, "datetime64[ns]")
        coords["time"] = quantity(lead, stamps if lead else stamps[0], "", "time, UTC")
    exposures = [scan.table.exposure for scan in scans]
    if all(exposure is not None for exposure in exposures):
        values = np.array(exposures, float)
        coords["exposure"] = quantity(lead, values if lead else values[0], "s", "length of the scan")
    return coords


def _attributes(scans: list[Scan]) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for key in dict.fromkeys(key for scan in scans for key in scan.attrs):
        each = [scan.attrs.get(key, "") for scan in scans]
        if len(set(map(str, each))) == 1:
            attrs[key] = each[0]
        elif all(isinstance(value, (int, float)) for value in each):
            attrs[key] = [float(value) for value in each]
        else:
            attrs[key] = [str(value) for value in each]
    attrs["header"] = scans[0].table.header[:HEADER_LIMIT]
    return attrs
