"""BLISS files (ESRF): an entry ``number.part`` a scan, with ``measurement`` and ``instrument``."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import nexus, nxxas
from batlab.io.folders import Folders
from batlab.io.frames import utc
from batlab.io.hdf5_files import blaming, check_plain, check_whole, open_file
from batlab.io.links import Contents, Found, root_keys, survey
from batlab.io.scans import ENERGY, choose_scans, clean_name, counter, over_energy, to_ev, together
from batlab.schema import quantity

_ENTRY = re.compile(r"\d{1,9}\.\d{1,9}")
POSITIONS = ("positioners_start", "positioners")  # the first that there is

_EMISSION = re.compile(r"xes|emis", re.IGNORECASE)
SPECTRA_LIMIT = 2**25  # numbers in a counter of many channels; larger ones are left for path=


def is_name(key: str) -> bool:
    """Return whether an entry is named as scans are, ``"4.1"``."""
    return _ENTRY.fullmatch(key) is not None


@dataclass(frozen=True)
class File:
    """A file whose scans are looked at one by one: a day's hundreds hold some thousand names each."""

    path: Path
    folders: Folders
    names: tuple[str, ...]  # entries named as scans, in order
    others: tuple[str, ...]
    seen: dict[str, Contents] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, folders: Folders) -> File:
        """Return what the names in the root of a file tell."""
        keys = root_keys(path)
        names = sorted(filter(is_name, keys), key=lambda name: tuple(map(int, name.split("."))))
        return cls(path, folders, tuple(names), tuple(key for key in keys if not is_name(key)))

    def contents(self, name: str) -> Contents:
        """Return what a scan holds, but for its instrument, of which only the positions at its start are wanted."""
        if name not in self.seen:
            instrument = f"/{name}/instrument/"
            for positions in POSITIONS:
                kept = instrument + positions
                found = survey(self.path, self.folders, [name], partial(_is_needed, instrument, kept))
                if kept in found.groups:
                    break
            self.seen[name] = found
        return self.seen[name]

    @cached_property
    def scans(self) -> tuple[str, ...]:
        """Names of the entries that are scans."""
        return tuple(name for name in self.names if _is_scan(self.contents(name), name))

    def holds_only_scans(self) -> bool:
        """Return whether it holds scans, and nothing that files are first asked for: frames, patterns, NXxas."""
        if not self.scans:
            return False
        rest = [survey(self.path, self.folders, self.others)] if self.others else []
        return not any(
            holds_frames(contents) or nexus.pattern_groups(contents) or nxxas.entries(contents)
            for contents in [*rest, *map(self.contents, self.names)]
        )


def _is_needed(instrument: str, kept: str, name: str) -> bool:
    return not name.startswith(instrument) or name == kept or name.startswith(f"{kept}/")


def _is_scan(contents: Contents, name: str) -> bool:
    return f"/{name}/measurement" in contents.groups and f"/{name}/instrument" in contents.groups


def holds_frames(contents: Contents) -> bool:
    """Return whether some counter is a stack of images, which is what such a file is first asked for."""
    return any(len(found.shape or ()) >= 3 for found in contents.arrays.values())


def read(
    file: File,
    *,
    scan: int | str | Sequence[int | str] | None = None,
    energy_unit: str | None = None,
    grid: str | None = None,
) -> xr.Dataset | xr.DataTree:
    """Return the scans of a file: one as a Dataset, several on one energy grid as a series, others as a DataTree.

    Parameters
    ----------
    file
        The file and its scans.
    scan
        Which: 4 or ``"4.1"``, or a list of them; without it all, as a DataTree.
    energy_unit
        ``"eV"`` or ``"keV"`` where an energy states no unit and is below 250.
    grid
        ``"first"``: interpolate the chosen scans linearly onto the energies of the first and return one series;
        ``"own"``: a series in which each keeps its energies, ``energy_measured`` over (frame, energy).

    Returns
    -------
    Dataset or DataTree
        A scan whose moved axis is an energy is over ``energy`` [eV] (its ``long_name`` says which energy: that of an
        emission spectrometer is so called), any other over ``frame``. Counters and moved axes by their names in lower
        case, XDI's where they are known; ``count_time`` [s]. Coordinates ``scan``, ``time`` (UTC, the start).
        Attributes ``command``, ``sample``, ``scan_axis``, ``positioners`` (JSON: name -> position in the unit of the
        file), ``left_out``.

    Raises
    ------
    ReadError
        No such scan, one without points, a damaged counter.

    Warns
    -----
    UserWarning
        Scans without points are left out; counters of unequal lengths are cut to the shortest, as a stopped scan
        leaves them; a scan whose energy turns back stays over ``frame``.
    """
    label = file.path.name
    names = file.names if scan is not None else file.scans
    if not names:
        raise ReadError(f"{label}: holds no scans named '1.1', '2.1' …, which scan= chooses from")
    # The second part of a scan holds what was counted at another pace.
    chosen = choose_scans(names, scan, label, is_first=True)
    odd = [name for name in chosen if not _is_scan(file.contents(name), name)]
    if odd:
        raise ReadError(f"{label}: {odd[0]} is no scan, it lacks 'measurement' or 'instrument'")
    by_name = {name: _scan(file.contents(name), name, energy_unit) for name in chosen}
    empty = [name for name, part in by_name.items() if part is None]
    if len(empty) == len(by_name) or (scan is not None and empty):
        raise ReadError(f"{label}: scan {empty[0]} holds no points")
    if empty:
        warnings.warn(f"{label}: scans {', '.join(empty)} hold no points and are left out", UserWarning, 3)
    parts = {name: part for name, part in by_name.items() if part is not None}
    if scan is None and len(names) > 1:
        return xr.DataTree.from_dict(parts)
    return together(parts, grid)


def _scan(contents: Contents, name: str, energy_unit: str | None) -> xr.Dataset | None:
    where = f"{contents.path.name}: scan {name}"
    found = {array.stem: array for array in contents.children(f"/{name}/measurement")}
    counters = {key: one for key, one in found.items() if _is_counter(one)}
    left = [key for key in found if key not in counters]
    arrays = _values(contents, counters)
    lengths = {len(values) for values in arrays.values()}
    if not lengths or max(lengths) == 0:
        return None
    n = min(length for length in lengths if length)
    left += [key for key, values in arrays.items() if not len(values)]
    arrays = {key: values[:n] for key, values in arrays.items() if len(values)}
    if len(lengths - {0}) > 1:
        warnings.warn(
            f"{where}: its counters have {min(lengths - {0})} to {max(lengths)} points; all are cut to {n}",
            UserWarning,
            4,
        )
    axis = _moved_axis(contents, name, arrays)
    variables: dict[str, xr.Variable] = {}
    for key, values in arrays.items():
        if key != axis or not _is_energy(counters[key]):
            own = clean_name(key, variables)
            variables[own] = counter(own, key, values, str(counters[key].attrs.get("units", "")))
    n_channels = {variable.shape[1] for variable in variables.values() if variable.ndim == 2}
    if len(n_channels) > 1:
        wide = [key for key, variable in variables.items() if variable.ndim == 2]
        left += wide
        variables = {key: variable for key, variable in variables.items() if key not in wide}
    result = xr.Dataset(variables, _coordinates(contents, name, n, n_channels), _attributes(contents, name, axis, left))
    if axis is None or not _is_energy(counters[axis]) or n < 2:
        return result
    energy = to_ev(arrays[axis].astype(float), str(counters[axis].attrs.get("units", "")), energy_unit, where)
    kind = "emission energy" if _EMISSION.search(axis) else "photon energy"
    return over_energy(result, quantity("frame", energy, "eV", f"{kind} ({axis})"), where)


def _is_counter(found: Found) -> bool:
    shape = found.shape or ()
    is_small = len(shape) == 1 or (len(shape) == 2 and np.prod(shape, dtype=float) <= SPECTRA_LIMIT)
    return is_small and found.dtype is not None and found.dtype.kind in "iuf" and shape[0] <= SPECTRA_LIMIT


def _values(contents: Contents, found: dict[str, Found]) -> dict[str, np.ndarray]:
    """Return small arrays, each file opened once."""
    result: dict[str, np.ndarray] = {}
    for path in dict.fromkeys(one.file for one in found.values()):
        with open_file(path) as file, blaming(path, "a counter cannot be read"):
            for key, one in found.items():
                if one.file == path:
                    array = file[one.inner]
                    check_plain(one.dtype, one.name)
                    check_whole(array, path)
                    result[key] = np.asarray(array[()])
    return {key: result[key] for key in found}


def _is_energy(found: Found) -> bool:
    unit = str(found.attrs.get("units", "")).lower()
    return unit in ("kev", "ev") or (not unit and ENERGY.fullmatch(found.stem) is not None)


def _moved_axis(contents: Contents, name: str, arrays: dict[str, np.ndarray]) -> str | None:
    """Return what was scanned: as a plot of the file says, else as the command says, else an energy that moved."""
    candidates = []
    for group, found in contents.groups.items():
        if group.startswith(f"/{name}/") and group.count("/") == 2 and found.attrs.get("NX_class") == "NXdata":
            axes = found.attrs.get("axes", [])
            candidates += [axes] if isinstance(axes, str) else list(axes)
    candidates += str(contents.value(f"/{name}/title") or "").split()[1:2]
    moved = [key for key, values in arrays.items() if values.ndim == 1 and values.size > 1 and np.ptp(values) != 0]
    energies = [key for key in moved if ENERGY.fullmatch(key)]
    return next((str(key) for key in [*candidates, *energies] if key in moved), None)


def _coordinates(contents: Contents, name: str, n: int, n_channels: set[int]) -> dict[str, xr.Variable]:
    coords = {
        "frame": quantity("frame", np.arange(n, dtype=np.int64), "1", "frame"),
        "scan": quantity((), np.array(name), "", "number of the scan"),
    }
    if len(n_channels) == 1:
        coords["channel"] = quantity("channel", np.arange(next(iter(n_channels))), "1", "channel")
    start = contents.value(f"/{name}/start_time")
    if isinstance(start, str) and start.strip():
        when = utc(start)
        if when is not None:
            coords["time"] = quantity((), np.array(when), "", "start of the scan, UTC")
    return coords


def _attributes(contents: Contents, name: str, axis: str | None, left: list[str]) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for key, place in (("command", "title"), ("sample", "sample/name"), ("ended", "end_time")):
        value = contents.value(f"/{name}/{place}")
        if isinstance(value, str) and value:
            attrs[key] = value
    if axis is not None:
        attrs["scan_axis"] = axis
    if left:
        attrs["left_out"] = "; ".join(sorted(left))
    for group in POSITIONS:
        place = f"/{name}/instrument/{group}"
        found = {one.stem: one for one in contents.children(place) if one.shape == () and _is_number(one)}
        if found:
            values = _values(contents, found)
            attrs["positioners"] = json.dumps({key: value.item() for key, value in values.items()})
            break
    return attrs


def _is_number(found: Found) -> bool:
    return found.dtype is not None and found.dtype.kind in "iuf"
