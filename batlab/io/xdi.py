"""XDI, the text format of the XAS data interchange (DOI 10.1088/1742-6596/712/1/012148): reading and writing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io._text import peek
from batlab.io.atomic import replacing
from batlab.io.spectra_labels import _seconds
from batlab.io.spectra_names import Label
from batlab.io.spectra_scan import HINTS, Number, Scan, Table, check_hints, head_text, read_block, scan_of
from batlab.io.spectra_series import dataset
from batlab.schema import version

__all__ = ["HINTS", "NAME", "read", "recognise", "write"]

NAME = "XDI spectra"
_FIRST = re.compile(r"\s*#\s*XDI/\d")
_FIELD = re.compile(r"#\s*([A-Za-z]\w*)\.(\w+):\s*(.*)$")
_OWN = "Batlab"  # the family of what XDI has no field for
# Attribute -> field, and the fields that other programs write instead.
_TEXTS = {
    "element": ("Element.symbol", "ScanParameters.element"),
    "edge": ("Element.edge", "ScanParameters.edge"),
    "sample": ("Sample.name",),
    "mono": ("Mono.name",),
}
_NUMBERS = {
    "mono_d_spacing": ("Mono.d_spacing", "Mono.dspacing"),
    "edge_energy": ("Scan.edge_energy", "ScanParameters.E0"),
}
_LEADING_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
_REPLACED = re.compile(r"(?:Column|Element|Scan|Batlab|Legend)\.|Mono\.(?:d_spacing|dspacing|name):|Sample\.name:")


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the first line says XDI. Never raises."""
    return bool(_FIRST.match(peek(head_text(head))[:200]))


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return one XDI scan over ``energy``, or several as a series over (frame, energy).

    Parameters
    ----------
    paths
        XDI files, plain or gzip, with the same columns.
    **hints
        As for other columns: ``columns``, ``energy_unit``, ``mono_d_spacing``, ``timezone``, ``grid``, ``sort``,
        ``encoding``, ``decimal``.

    Returns
    -------
    Dataset
        Counters by XDI's names; numbered columns of one detector (``Fe_Ka_mca1`` …) over ``channel``: the line of the
        scanned element, or what is dead-time corrected, as ``ifluor``, the factors as ``deadtime_factor``. Energies in
        keV and angles (with ``Mono.d_spacing``) become eV. Attributes ``element``, ``edge``, ``edge_energy``,
        ``mono_d_spacing`` [angstrom], ``sample``, ``header``.

    Raises
    ------
    ReadError
        Naming the file; columns that cannot be told are listed.
    """
    check_hints(hints)
    return dataset([_read_one(path, hints) for path in paths], hints)


def _read_one(path: Path, hints: dict[str, Any]) -> Scan:
    header, block = read_block(path, hints)
    fields = {}
    for line in header.split("\n"):
        found = _FIELD.match(line[:10_000].strip())
        if found:
            fields[f"{found[1]}.{found[2]}".lower()] = found[3].split("||")[0].strip()
    labels = _labels(fields, header, block.values.shape[1], path.name)
    start = fields.get("scan.start_time", "").replace(" ", "T", 1)
    try:
        datetime.fromisoformat(start)
    except ValueError:
        start = ""  # it stays in the header
    table = Table(
        path.name,
        block.values,
        block.line,
        labels,
        _attributes(fields, path.name),
        _numbers(fields),
        start,
        _seconds(start, fields.get("scan.end_time", "").replace(" ", "T", 1)),
        header,
    )
    return scan_of(table, hints)


def _labels(fields: dict[str, str], header: str, width: int, name: str) -> list[Label]:
    """Return the labels of ``Column.N`` fields, else those of the line above the numbers."""
    words = [fields.get(f"column.{i}", "") for i in range(1, width + 2)]
    if words[width]:
        named = sum(key.startswith("column.") for key in fields)
        raise ReadError(f"{name}: has {width} columns, its header names {named}; the file may be truncated")
    if all(words[:width]):
        split = [word.split(None, 1) for word in words[:width]]
        return [Label(word[0], word[1] if len(word) > 1 else "") for word in split]
    last = next((line for line in reversed(header.split("\n")) if line.strip("# \t")), "")
    above = last.lstrip("# ").split()
    if len(above) != width or ":" in last:
        missing = [str(i + 1) for i in range(width) if not words[i]]
        raise ReadError(f"{name}: no field Column.{missing[0]} names column {', '.join(missing[:8])} of {width}")
    return [Label(word) for word in above]


def _attributes(fields: dict[str, str], name: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for key, sources in _TEXTS.items():
        value = next((fields[source.lower()] for source in sources if fields.get(source.lower())), "")
        if value and value.lower() not in ("nan", "none", "n/a", "unknown"):
            attrs[key] = value[:200]
    for key, sources in _NUMBERS.items():
        text = next((fields[source.lower()] for source in sources if fields.get(source.lower())), "")
        found = _LEADING_NUMBER.match(text)
        if found and 0 < float(found[0]) < np.inf:
            attrs[key] = float(found[0])
        elif found:
            raise ReadError(f"{name}: states {sources[0]} {text!r}, which must be above 0 and finite; correct the file")
    for key, value in fields.items():
        if key == "batlab.is_normalized" and value in ("0", "1"):
            attrs["is_normalized"] = int(value)
    return attrs


def _numbers(fields: dict[str, str]) -> dict[str, Number]:
    """Return the numbers of the whole scan that batlab wrote."""
    numbers = {}
    for key, value in fields.items():
        found = re.fullmatch(rf"({_LEADING_NUMBER.pattern}|nan) (\S+) (.+)", value)
        if key.startswith("batlab.") and found and key[7:].isidentifier():
            numbers[key[7:]] = Number(float(found[1]), found[2], found[3])
    return numbers


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write one scan over energy: every variable a column, each channel one (``ifluor_mca1`` …).

    What XDI has no field for goes to the family ``Batlab``: numbers of the whole scan such as ``e0``. The fields of a
    header that was read from XDI are kept, as are ``history`` lines, which become comments.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    ValueError
        More than one scan, or variables over other axes.
    """
    one = obj.to_dataset(name=obj.name or "mu") if isinstance(obj, xr.DataArray) else obj
    if not isinstance(one, xr.Dataset):
        raise ValueError(f"{path.name}: .xdi takes one scan, got a {type(obj).__name__}")
    if one.sizes.get("frame", 1) != 1:
        raise ValueError(f"{path.name}: .xdi takes one scan, got {one.sizes['frame']}; save each ds.isel(frame=[i])")
    one = one.squeeze("frame").drop_vars("frame", errors="ignore") if "frame" in one.dims else one
    if "energy_measured" in one.variables and one["energy_measured"].dims == ("energy",):
        one = one.isel(energy=np.flatnonzero(np.isfinite(one["energy_measured"].values)))
        one = one.assign_coords(energy=one["energy_measured"].variable).drop_vars("energy_measured")
    if "energy" not in one.coords or "energy" not in one.dims or not len(one["energy"]):
        raise ValueError(f"{path.name}: .xdi takes a scan over 'energy', got {tuple(map(str, one.dims))}")
    names, units, columns = _columns(one, path.name)
    lines = [f"# XDI/1.0 batlab/{version()}"]
    lines += [
        f"# Column.{i}: {name} {unit}".rstrip() for i, (name, unit) in enumerate(zip(names, units, strict=True), 1)
    ]
    lines += _fields(one)
    lines += ["# ///", *_comments(one), "# ---", "# " + " ".join(names)]
    rows = "\n".join(" ".join(map(repr, row)) for row in np.column_stack(columns).tolist())
    with replacing(path, overwrite) as unfinished:
        unfinished.write_text("\n".join([*lines, rows, ""]), encoding="utf-8")


def _columns(one: xr.Dataset, name: str) -> tuple[list[str], list[str], list[np.ndarray]]:
    names, units, columns = ["energy"], ["eV"], [one["energy"].values.astype(float)]
    wrong = [
        str(key)
        for key, variable in one.data_vars.items()
        if variable.dims not in ((), ("energy",), ("channel", "energy")) or variable.dtype.kind not in "iuf"
    ]
    if wrong:
        raise ValueError(
            f"{name}: .xdi takes numbers over energy, not {', '.join(wrong)}; drop_vars them, or save as .nc"
        )
    for key, variable in one.data_vars.items():
        if not variable.dims:
            continue
        unit = str(variable.attrs["units"])
        parts = np.atleast_2d(variable.values.astype(float))
        for n, part in enumerate(parts, 1):
            names.append(f"{key}_mca{n}" if variable.ndim == 2 else str(key))
            units.append("" if unit == "1" else unit)
            columns.append(part)
    return names, units, columns


def _fields(one: xr.Dataset) -> list[str]:
    lines = []
    for key, (field, *_) in {**_TEXTS, **_NUMBERS}.items():
        if key in one.attrs and not isinstance(one.attrs[key], (list, tuple, np.ndarray)):
            lines.append(f"# {field}: {_flat(one.attrs[key])}")
    time = one.coords.get("time")
    if time is not None and time.size == 1 and not np.isnat(time.values.reshape(-1)[0]):
        begin = datetime.fromtimestamp(int(time.values.astype("datetime64[us]").astype(int).reshape(-1)[0]) / 1e6, UTC)
        zone = "" if "clock" in one.attrs else "+00:00"
        lines.append(f"# Scan.start_time: {begin.replace(tzinfo=None).isoformat()}{zone}")
        if "exposure" in one.coords:
            end = begin.timestamp() + float(one["exposure"].values.reshape(-1)[0])
            lines.append(f"# Scan.end_time: {datetime.fromtimestamp(end, UTC).replace(tzinfo=None).isoformat()}{zone}")
    if "is_normalized" in one.attrs:
        lines.append(f"# {_OWN}.is_normalized: {int(one.attrs['is_normalized'])}")
    for name, variable in one.data_vars.items():
        if not variable.dims:
            told = f"{variable.attrs['units']} {_flat(variable.attrs['long_name'])}"
            lines.append(f"# {_OWN}.{name}: {float(variable)!r} {told}")
    kept = [line.strip() for line in str(one.attrs.get("header", "")).split("# ///")[0].split("\n")]
    return lines + [line for line in kept if _FIELD.match(line) and not _REPLACED.match(line.lstrip("# "))]


def _comments(one: xr.Dataset) -> list[str]:
    """Return what the header said in words, and the history."""
    header = str(one.attrs.get("header", ""))
    words = header.split("# ///", 1)[1].split("\n")[1:] if _FIRST.match(header) and "# ///" in header else []
    words = [line.lstrip("# ").rstrip() for line in words]
    kept = [line for line in words[:-2] if line and not line.startswith(("---", "history: "))]
    history = [f"history: {line}" for line in str(one.attrs.get("history", "")).split("\n") if line]
    return [f"# {_flat(line)}" for line in [*kept, *history]]


def _flat(value: Any) -> str:
    return " ".join(str(value).split())
