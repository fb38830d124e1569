"""canSAS 1D XML, versions 1.0 and 1.1: reduced small-angle curves with their sample and instrument."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.physical_units import factor
from batlab.io.small_angle import Curve, dataset, series, tree

NAME = "canSAS 1D XML"
HINTS: frozenset[str] = frozenset()
LARGEST = 2**28  # bytes
_DECLARATION = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_ROOT = re.compile(rb"<(?:\w+:)?SASroot\b")


def recognise(path: Path, head: bytes) -> bool:
    """Return whether its root element is ``SASroot``."""
    return _ROOT.search(head) is not None


def read(paths: list[Path]) -> xr.Dataset | xr.DataTree:
    """Return ``intensity`` (frame, q) of each SASdata; several in one file as a DataTree, several files as a series.

    Returns
    -------
    Dataset or DataTree
        ``intensity`` [1/cm, as the file says], ``intensity_sigma`` (NaN where the file has 0), the coordinate
        ``q_resolution`` [1/angstrom]; attributes as far as stated: ``sample``, ``run``, ``thickness`` [mm],
        ``transmission``, ``wavelength`` [angstrom], ``slit_length`` [1/angstrom], ``radiation``, ``instrument``.

    Raises
    ------
    ReadError
        Not well formed, with a DOCTYPE (refused), without a point, or with numbers or units that are none.

    References
    ----------
    canSAS 1D format 1.1, https://www.cansas.org/formats/1.1/doc/
    """
    found = [_curves(path) for path in paths]
    if len(paths) == 1:
        return tree(found[0])
    for path, parts in zip(paths, found, strict=True):
        if len(parts) > 1:
            raise ReadError(f"{path.name}: holds {len(parts)} measurements; open such files one by one")
    return series([parts[0][1] for parts in found], [path.name for path in paths])


def _curves(path: Path) -> list[tuple[str, xr.Dataset]]:
    if path.stat().st_size > LARGEST:
        raise ReadError(f"{path.name}: is larger than {LARGEST // 2**20} MiB, which is refused")
    raw = path.read_bytes()
    if _DECLARATION.search(raw):
        raise ReadError(f"{path.name}: declares a DOCTYPE or an entity; refused")
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        raise ReadError(f"{path.name}: is damaged: {error}; the file may be truncated") from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    parts = []
    for i, entry in enumerate(root.iter("SASentry"), 1):
        tables = list(entry.iter("SASdata"))
        for table in tables:
            label = table.get("name") or _text(entry, "Run") if len(tables) > 1 else None
            name = label or entry.get("name") or _text(entry, "Title") or f"entry{i}"
            parts.append((name, dataset(_curve(entry, table, name, path.name), f"{path.name}: {name}")))
    if not parts:
        raise ReadError(f"{path.name}: holds no SASdata")
    return parts


def _curve(entry: ElementTree.Element, table: ElementTree.Element, name: str, file: str) -> Curve:
    rows = table.findall("Idata")
    where = f"{file}: {name}"
    if not rows or rows[0].find("Q") is None or rows[0].find("I") is None:
        raise ReadError(f"{where}: holds no point of Q and I")
    columns = {}
    for tag in ("Q", "I", "Idev", "Qdev", "dQl"):
        cells = [row.find(tag) for row in rows]
        if all(cell is None for cell in cells):
            continue
        units = {cell.get("unit", "") for cell in cells if cell is not None}
        if len(units) > 1:
            raise ReadError(f"{where}: mixes the units {sorted(units)} in {tag}; split the file")
        values = np.array([_number(cell, where, tag) for cell in cells])
        columns[tag] = (values, units.pop())
    for tag in ("Q", "Qdev", "dQl"):
        if tag in columns:
            values, unit = columns[tag]
            columns[tag] = (values * factor(unit or columns["Q"][1], "1/angstrom", f"{where}: {tag}"), "1/angstrom")
    attrs = _facts(entry, where)
    runs = {run.get("name"): " ".join((run.text or "").split()) for run in entry.findall("Run")}
    attrs["run"] = runs.get(table.get("name"), attrs["run"])
    if "dQl" in columns and "slit_length" not in attrs and np.nanmax(columns["dQl"][0]) > 0:
        attrs["slit_length"] = float(np.nanmedian(columns["dQl"][0]))
    sigma, resolution = (columns[tag][0] if tag in columns else None for tag in ("Idev", "Qdev"))
    return Curve(name, columns["Q"][0], columns["I"][0], sigma, resolution, columns["I"][1], attrs)


def _facts(entry: ElementTree.Element, where: str) -> dict[str, str | float]:
    facts: dict[str, str | float] = {
        "sample": _text(entry, "SASsample/ID") or _text(entry, "Title"),
        "run": _text(entry, "Run"),
        "radiation": _text(entry, ".//radiation"),
        "instrument": _text(entry, "SASinstrument/name"),
    }
    for key, place, unit in (
        ("thickness", "SASsample/thickness", "mm"),
        ("transmission", "SASsample/transmission", ""),
        ("wavelength", ".//SASsource/wavelength", "angstrom"),
        ("slit_length", ".//SASdetector/slit_length", "1/angstrom"),
    ):
        cell = entry.find(place)
        value = np.nan if cell is None else _number(cell, where, key)
        if cell is None or not (np.isfinite(value) and value > 0):
            continue
        if unit == "mm":
            value = value * factor(cell.get("unit", "mm"), "m", f"{where}: {key}") * 1e3
        elif unit:
            value = value * factor(cell.get("unit", "A"), unit, f"{where}: {key}")
        facts[key] = float(f"{value:.12g}")
    return facts


def _text(element: ElementTree.Element, place: str) -> str:
    found = element.find(place)
    return " ".join((found.text or "").split()) if found is not None else ""


def _number(cell: ElementTree.Element | None, where: str, tag: str) -> float:
    text = "" if cell is None else (cell.text or "").strip()
    if not text:
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise ReadError(f"{where}: {tag} should be a number, got {text[:40]!r}") from None
