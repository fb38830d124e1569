"""Absorption spectra as an Athena project, which Demeter's Athena and larch open."""

from __future__ import annotations

import gzip
import json
import math
import re
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.constants import ETOK
from batlab.io.atomic import replacing
from batlab.schema import version

# What Athena sets for a new group; windows in eV from E0, in 1/angstrom and in angstrom.
DEFAULTS: dict[str, Any] = {
    "annotation": "", "bft_dr": "0.0", "bft_rmax": "3", "bft_rmin": "1", "bft_rwindow": "hanning",
    "bkg_algorithm": "autobk", "bkg_clamp1": "0", "bkg_clamp2": "24", "bkg_dk": "1", "bkg_e0_fraction": "0.5",
    "bkg_eshift": "0", "bkg_fixstep": "0", "bkg_flatten": "1", "bkg_fnorm": "0", "bkg_kw": "2",
    "bkg_kwindow": "hanning", "bkg_nclamp": "5", "bkg_nnorm": "3", "bkg_pre1": "-150", "bkg_pre2": "-30",
    "bkg_rbkg": "1.0", "bkg_spl1": "0", "bkg_spl1e": "0", "bkg_stan": "None", "bkg_tie_e0": "0", "fft_dk": "1",
    "fft_edge": "k", "fft_kmin": "3", "fft_kwindow": "hanning", "fft_pc": "0", "frozen": "0", "importance": "1",
    "marked": "1", "merge_weight": "1", "multiplier": "1", "plot_scale": "1", "plot_yoffset": "0", "titles": [],
}  # fmt: skip
# In a dataset with both, the spectrum is what Athena works from.
_SIGNALS = (("mu", "energy"), ("chi", "k"))


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write each spectrum as a group: ``mu`` over energy, or ``chi`` over k where there is no ``mu``.

    The label is the coordinate ``label``, else the name in the tree, the file, or the frame's number. ``i0``,
    ``stddev`` and ``signal`` (else ``itrans`` or ``ifluor``) go beside it; ``e0``, ``edge_step``, ``energy_shift``,
    ``element`` and ``edge`` where they are known, and the parameters that an Athena file had (attribute
    ``athena_parameters``).
    Points where µ is NaN are left out, since Athena has none. Without an E0 the steepest rise is written. Frames with
    grids of their own (``energy_measured``) are written on these.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    ValueError
        There is no ``mu`` over (frame, energy) and no ``chi`` over (frame, k), a spectrum has fewer than two points, or
        nothing says at which energies.
    """
    groups = _groups(obj, path.name)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    lines = [
        "# Athena project file -- Demeter version 0.9.26",
        f"# This file created at {now}",
        f"# Using batlab {version()}",
    ]
    ids: set[str] = set()
    for one, label in groups:
        lines += ["", *_record(one, label, ids, path.name)]
    first = groups[0][0].attrs
    journal = [*str(first.get("journal", "")).split("\n"), *str(first.get("history", "")).split("\n")]
    # Two entries at least: of a list of one larch makes its letters.
    lines += ["", f"@journal = {_perl([*filter(None, journal), '', ''], '()')};", "", "1;", ""]
    lines += ["", "# Local Variables:", "# truncate-lines: t", "# End:", ""]
    with replacing(path, overwrite) as unfinished:
        unfinished.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def _groups(obj: xr.Dataset | xr.DataArray | xr.DataTree, name: str) -> list[tuple[xr.Dataset, str]]:
    """Return the spectra over one axis each, with their labels."""
    if isinstance(obj, xr.DataTree):
        parts = [(node.to_dataset(), node.name or "") for node in obj.subtree if node.ds.data_vars]
    else:
        parts = [(obj.to_dataset(name=obj.name or "mu") if isinstance(obj, xr.DataArray) else obj, "")]
    groups = []
    for part, place in parts:
        signal, axis = next(((s, a) for s, a in _SIGNALS if s in part), ("", ""))
        if not signal or part[signal].dims not in ((axis,), ("frame", axis)):
            got = {str(key): tuple(map(str, value.dims)) for key, value in part.data_vars.items()}
            raise ValueError(
                f"{name}: a project takes 'mu' over energy or (frame, energy), or 'chi' over k, got {got}; make it "
                "with xas.mu"
            )
        if "frame" not in part[signal].dims:
            groups.append((part, _label(part, place or str(part.attrs.get("sample", "")) or "spectrum")))
        for i in range(part.sizes["frame"] if "frame" in part[signal].dims else 0):
            one = part.isel(frame=i)
            groups.append((one, _label(one, f"{place} frame {int(one.get('frame', i))}".strip())))
    if not groups:
        raise ValueError(f"{name}: holds no spectrum to write")
    return groups


def _label(one: xr.Dataset, otherwise: str) -> str:
    for key in ("label", "file"):
        if key in one.coords and one[key].ndim == 0 and str(one[key].values).strip():
            return _line(str(one[key].values))
    return _line(str(one.attrs.get("label", "")) or otherwise)


def _record(one: xr.Dataset, label: str, ids: set[str], name: str) -> list[str]:
    signal, axis = next((s, a) for s, a in _SIGNALS if s in one)
    y = np.asarray(one[signal].values, float)
    grid = next((key for key in (f"{axis}_measured", axis) if key in one.variables), None)
    if grid is None:
        raise ValueError(f"{name}: {label!r} has no {axis!r} beside its {signal!r}; assign_coords({axis}=…) first")
    whole = np.isfinite(y) & np.isfinite(one[grid].values)
    if whole.sum() < 2:
        raise ValueError(f"{name}: {label!r} has {int(whole.sum())} points that are numbers; a spectrum needs 2")
    x, y = np.asarray(one[grid].values, float)[whole], y[whole]
    identity = _identity(one, ids)
    args, xdi = _parameters(one, label, identity, x, y, axis == "k")
    arrays = {"x": x, "y": y}
    for key, names in (("i0", ("i0",)), ("signal", ("signal", "itrans", "ifluor")), ("stddev", ("stddev",))):
        found = next((one[n] for n in names if n in one and one[n].dims == (axis,)), None)
        if found is not None:
            arrays[key] = np.asarray(found.values, float)[whole]
    flat = [item for pair in sorted(args.items()) for item in pair]
    return [
        f"$old_group = {_perl(identity)};",
        f"@args = {_perl(flat, '()')};",
        *(f"@{key} = {_perl(list(map(repr, values.tolist())), '()')};" for key, values in arrays.items()),
        *([f"$xdi = bless( {_perl(xdi)}, 'Xray::XDI' );"] if isinstance(xdi, dict) else []),
        "[record]   #",
    ]


def _identity(one: xr.Dataset, ids: set[str]) -> str:
    """Return a name of small letters, Athena's own where it is free."""
    own = str(one["group"].values) if "group" in one.coords and one["group"].ndim == 0 else ""
    n = len(ids)
    while not re.fullmatch(r"[A-Za-z]\w*", own, re.ASCII) or own in ids:
        own, n = "b" + "".join(string.ascii_lowercase[n // 26**i % 26] for i in (3, 2, 1, 0)), n + 1
    ids.add(own)
    return own


def _parameters(
    one: xr.Dataset, label: str, identity: str, x: np.ndarray, y: np.ndarray, is_chi: bool
) -> tuple[dict[str, Any], Any]:
    stored = _stored(one)
    xdi = stored.pop("xdi", None)
    kind = {"is_xmu": "0", "is_chi": "1", "datatype": "chi", "recordtype": "chi(k)"}
    if not is_chi:
        kind = {"is_xmu": "1", "is_chi": "0", "datatype": "xmu", "recordtype": "mu(E)"}
    named = {"tag": identity, "datagroup": identity}
    args = {**DEFAULTS, **kind, **named, **stored, "label": label, "npts": str(len(x))}
    if "is_normalized" in one.attrs:
        args["is_nor"] = str(int(one.attrs["is_normalized"]))
    for key, attribute in (("bkg_z", "element"), ("fft_edge", "edge")):
        value = str(one.attrs.get(attribute, ""))
        if value and value.lower() != str(args.get(key, "")).strip().lower():
            args[key] = value
    for key, variable in (("bkg_e0", "e0"), ("bkg_step", "edge_step"), ("bkg_eshift", "energy_shift")):
        number = float(one[variable]) if variable in one and one[variable].ndim == 0 else math.nan
        if math.isfinite(number) and number != _number(args.get(key)):
            args[key] = repr(number)
    if not is_chi:
        shift, e0 = _number(args["bkg_eshift"] or 0), _number(args.get("bkg_e0"))
        if not e0 > 0:
            e0 = float(x[np.argmax(np.gradient(y, x))] + shift)
            args["bkg_e0"] = repr(e0)
        above = max(float(x[-1]) + shift - e0, 1.0)
        args.setdefault("bkg_nor1", repr(round(min(150.0, above / 5), 3)))
        args.setdefault("bkg_nor2", repr(round(above - min(20.0, above / 20), 3)))
        args.setdefault("bkg_spl2", repr(round(math.sqrt(ETOK * above), 3)))
        args.setdefault("bkg_spl2e", repr(round(above, 3)))
        args.setdefault("fft_kmax", repr(round(max(math.sqrt(ETOK * above) - 2, 1.0), 3)))
    return args, xdi


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _stored(one: xr.Dataset) -> dict[str, Any]:
    """Return the parameters that the group had in the project it was read from."""
    try:
        every = json.loads(str(one.attrs.get("athena_parameters", "{}")))
        own = every.get(str(one["group"].values)) if "group" in one.coords and isinstance(every, dict) else None
    except ValueError:
        own = None
    return dict(own) if isinstance(own, dict) else {}


def _line(text: str) -> str:
    """Return `text` on one line: a project has one statement a line."""
    return " ".join(text.replace("\r", "\n").split("\n"))


def _perl(value: Any, brackets: str = "[]") -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_perl(str(key))} => {_perl(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return brackets[0] + ",".join(map(_perl, value)) + brackets[1]
    text = "" if value is None else _line(str(value))
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
