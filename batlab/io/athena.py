"""Athena projects: ``.prj`` of any age, Perl and JSON, gzipped or plain; data only, nothing in them is run."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, did_you_mean
from batlab.io.athena_text import GZIP, Project, is_project, read_project
from batlab.io.scans import together, unique_names
from batlab.schema import quantity

NAME = "Athena projects"
HINTS = frozenset({"group", "grid"})

BESIDE = {
    "i0": "incident intensity as stored", "signal": "signal as stored",
    "stddev": "standard deviation among the merged spectra",
}  # fmt: skip
# Kinds of group that have no energy axis; Athena rarely writes them.
_OTHERS = {"is_rsp": "in R space", "is_qsp": "in q space", "is_pixel": "over pixels"}


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file says that it is a project; a ``.prj`` whose gzip is damaged counts too. Never raises."""
    return is_project(head) or (path.suffix.lower() == ".prj" and head.startswith(GZIP))


def read(
    paths: list[Path], *, group: str | Sequence[str] | None = None, grid: str | None = None
) -> xr.Dataset | xr.DataTree:
    r"""Return the groups of a project.

    One group is a Dataset over ``energy``; groups on exactly one grid are one over (frame, energy); groups on several
    grids are a DataTree, one child a group, named by its label (``/`` is ``_``, a repeated label gets its number).

    Parameters
    ----------
    paths
        One project.
    group
        Which groups: a label, Athena's own five letters, a pattern such as ``"NiO.*"``, or a list of them. A label
        names its first group; all groups without it.
    grid
        ``"first"``: interpolate all groups linearly onto the grid of the first one (of `group`, in its order) and
        return one series whatever their grids; NaN where a group did not reach. ``"own"``: a series in which each
        keeps its energies, ``energy_measured`` over (frame, energy).

    Returns
    -------
    Dataset or DataTree
        ``mu`` (frame, energy) [1], or ``chi`` (frame, k) [1] of χ(k) groups; ``i0``, ``signal`` and ``stddev`` as
        stored, where every group of the series has them (``stddev`` is the spread of the merged spectra, not the
        uncertainty of their mean). Coordinates ``energy`` [eV] and ``k`` [1/angstrom] **as stored**; ``label``,
        ``group`` (Athena's five letters), ``energy_shift`` [eV], which Athena adds to the stored energies when it
        shows the group, and to which its E0 belongs. Attributes ``element`` and ``edge`` where all groups agree,
        ``is_normalized`` = 1 where they are stored normalised, ``athena_parameters`` (JSON: group -> every
        parameter, as text), ``header``, ``journal``, and ``left_out``: arrays beside µ that have another length
        than it, as Athena leaves them after a deglitching.

    Raises
    ------
    ReadError
        A file that is truncated, damaged or hostile, that holds code, a group whose energies do not increase, whose
        arrays have different lengths or are no numbers; a `group` that is not there.

    Examples
    --------
    Normalise each group on its own grid, then bring all onto one by a call that can be seen::

        tree = bl.open("cyanobacteria.prj")
        parts = [bl.curves.regrid(node.to_dataset()[["mu"]], tree["720"].energy) for node in tree.children.values()]
        series = xr.concat(parts, "frame", coords="different", compat="equals")

    or at once, as read: ``bl.open("cyanobacteria.prj", group=["720", "Au *"], grid="first")``.
    """
    if len(paths) > 1:
        raise ReadError(f"{paths[0].name}: {len(paths)} projects at once; open them one by one")
    project, name = read_project(paths[0]), paths[0].name
    records = [record for record in project.records if isinstance(record, dict)]
    if not records:
        raise ReadError(f"{name}: is a project without groups")
    for number, record in enumerate(records, 1):
        record["args"] = _parameters(record.get("args", {}), f"{name}: group {number}")
        label = str(record["args"].get("label") or record.get("name") or f"group {number}")
        record["label"] = label.encode("utf-8", "replace").decode()
        record["name"] = str(record.get("name") or f"group{number}")
    chosen = records if group is None else _choose(records, group, name)
    names = unique_names([record["label"] for record in chosen])
    groups = {key: _group(record, project, name) for key, record in zip(names, chosen, strict=True)}
    result = together(groups, grid)
    if isinstance(result, xr.DataTree):
        result.attrs.update(header=project.header, journal=project.journal)
    else:
        result.attrs.update(_told(chosen, project, name))
    return result


def _parameters(args: Any, where: str) -> dict[str, Any]:
    if isinstance(args, dict):
        return args
    if not isinstance(args, list) or len(args) % 2:
        raise ReadError(f"{where}: its @args must be names with values; the file may be damaged")
    return {str(key): value for key, value in zip(args[::2], args[1::2], strict=True)}


def _choose(records: list[dict[str, Any]], group: str | Sequence[str], name: str) -> list[dict[str, Any]]:
    chosen: list[dict[str, Any]] = []
    for word in [group] if isinstance(group, str) else list(group):
        match = [r for r in records if word in (r["label"], r["label"].strip(), r["name"])][:1]
        match = match or [r for r in records if fnmatch.fnmatchcase(r["label"].strip(), str(word))]
        if not match:
            labels = [r["label"].strip() for r in records]
            told = did_you_mean(str(word), labels) or f"; it holds {', '.join(labels[:12])}{' …' * (len(labels) > 12)}"
            raise ReadError(f"{name}: has no group {word!r}{told}")
        chosen += [record for record in match if record not in chosen]
    if not chosen:
        raise ReadError(f"{name}: group must name at least one group, got {group!r}")
    return chosen


def _group(record: dict[str, Any], project: Project, name: str) -> xr.Dataset:
    where = f"{name}: group {record['label'].strip()!r}"
    args = record["args"]
    other = next((told for key, told in _OTHERS.items() if _is(args, key)), None)
    if other is not None:
        raise ReadError(f"{where} is {other}, which is not read; choose the others with group=[…]")
    x, y = _numbers(record, "x", where), _numbers(record, "y", where)
    if x.size != y.size or x.size < 2:
        raise ReadError(f"{where} has {x.size} energies and {y.size} values; the file may be damaged")
    if np.isinf(y).any():
        raise ReadError(f"{where} holds infinity at {x[int(np.argmax(np.isinf(y)))]:g}; the file may be damaged")
    steps = np.diff(x)
    if not np.isfinite(x).all() or not ((steps > 0).all() or (steps < 0).all()):
        first = int(np.argmax(~(steps > 0)))
        raise ReadError(
            f"{where}: its energies do not increase: {x[first]:g} then {x[first + 1]:g} at {first}; "
            "choose the others with group=[…]"
        )
    order = slice(None, None, -1) if steps[0] < 0 else slice(None)
    is_chi = _is(args, "is_chi")
    dim = "k" if is_chi else "energy"
    axis = quantity(dim, x[order], *(("1/angstrom", "photoelectron wavenumber") if is_chi else ("eV", "energy")))
    signal = quantity(dim, y[order], "1", "EXAFS" if is_chi else "absorption coefficient")
    variables = {"chi" if is_chi else "mu": signal}
    for key, long_name in BESIDE.items():
        values = _numbers(record, key, where) if record.get(key) else np.empty(0)
        if np.isinf(values).any():
            raise ReadError(f"{where}: its {key!r} holds infinity; the file may be damaged")
        if values.size == x.size:
            variables[key] = quantity(dim, values[order], "1", long_name)
    coords = {
        dim: axis,
        "label": quantity((), np.array(record["label"]), "", "label of the group"),
        "group": quantity((), np.array(record["name"]), "", "Athena's name of the group"),
        "energy_shift": quantity((), np.array(_shift(args, where)), "eV", "shift that Athena adds to the energies"),
    }
    return xr.Dataset(variables, coords, _told([record], project, name))


def _numbers(record: dict[str, Any], key: str, where: str) -> np.ndarray:
    values = record.get(key)
    if not isinstance(values, list):
        raise ReadError(f"{where} has no list {key!r}; the file may be damaged")
    try:
        return np.array([float(value) for value in values])
    except (TypeError, ValueError, OverflowError) as error:
        raise ReadError(f"{where}: its {key!r} holds what is no number ({error})") from error


def _shift(args: dict[str, Any], where: str) -> float:
    try:
        value = float(args.get("bkg_eshift") or 0)
    except (TypeError, ValueError) as error:
        raise ReadError(f"{where}: its energy shift {args['bkg_eshift']!r:.40} is no number") from error
    if not np.isfinite(value):
        raise ReadError(f"{where}: its energy shift {args['bkg_eshift']!r:.40} is not finite")
    return value


def _is(args: dict[str, Any], key: str) -> bool:
    return str(args.get(key) or "0") not in ("0", "0.0")


def _told(records: list[dict[str, Any]], project: Project, name: str) -> dict[str, Any]:
    """Return the attributes that several groups share."""
    attrs: dict[str, Any] = {"header": project.header, "journal": project.journal}
    for key, of in (("element", "bkg_z"), ("edge", "fft_edge")):
        stated = {str(record["args"].get(of) or "").strip().capitalize() for record in records}
        if len(stated) == 1 and "" not in stated:
            attrs[key] = stated.pop()
    if all(_is(record["args"], "is_nor") for record in records):
        attrs["is_normalized"] = 1
    left = [
        f"{record['label'].strip()}: {key} has {len(record[key])} values, the spectrum {len(record['x'])}"
        for record in records
        for key in BESIDE
        if isinstance(record.get(key), list) and record[key] and len(record[key]) != len(record["x"])
    ]
    if left:
        attrs["left_out"] = "; ".join(left)
    parameters = {
        record["name"]: {**record["args"], **({"xdi": record["xdi"]} if record.get("xdi") else {})}
        for record in records
    }
    try:
        attrs["athena_parameters"] = json.dumps(parameters)
    except (TypeError, ValueError) as error:
        raise ReadError(f"{name}: its parameters cannot be kept ({error})") from error
    return attrs
