"""One absorption scan: a table of columns becomes an energy axis that increases, and counters over it."""

from __future__ import annotations

import gzip
import warnings
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from batlab.constants import HC
from batlab.errors import ReadError, choose
from batlab.io._text import SIZE_LIMIT, Block, blocks, decode, without_comments
from batlab.io.physical_units import positive
from batlab.io.spectra_names import LONG_NAMES, Label, Roles, assign, clean_unit, listing

HINTS = frozenset({"columns", "energy_unit", "mono_d_spacing", "timezone", "grid", "sort", "encoding", "decimal"})
ENERGY_UNITS = {"eV": 1.0, "keV": 1000.0}
# A scale whose smallest number is this large cannot be keV: no beamline reaches 250 keV.
SURELY_EV = 250.0
HEADER_LIMIT = 2**16  # characters of a file's own header that are kept
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Number:
    """A number that belongs to a whole scan."""

    value: float
    units: str
    long_name: str


@dataclass(frozen=True)
class Table:
    """What a file says: its numbers, what their columns are called, and the facts of its header."""

    name: str
    values: np.ndarray  # (row, column)
    line: int  # of the first row, from 1
    labels: list[Label]
    attrs: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    start: str = ""  # ISO, with a zone only if the file states one
    exposure: float | None = None  # s
    header: str = ""


@dataclass(frozen=True)
class Column:
    """A variable over the axis, or over (channel, axis)."""

    values: np.ndarray
    units: str
    long_name: str


@dataclass(frozen=True)
class Scan:
    """One scan on its axis, which increases: ``energy`` [eV] or ``k`` [1/angstrom]."""

    table: Table
    axis: str
    x: np.ndarray
    columns: dict[str, Column]
    attrs: dict[str, Any]


def read_bytes(path: Path) -> bytes:
    """Return what the file holds, unpacked where it is gzip; an unpacked size beyond the limit is refused."""
    size = path.stat().st_size
    if size > SIZE_LIMIT:
        raise ReadError(f"{path.name}: {size / 2**30:.1f} GiB is too long for a text file of measured columns")
    with path.open("rb") as file:
        if file.read(2) != GZIP_MAGIC:
            file.seek(0)
            return file.read()
    try:
        with gzip.open(path) as packed:
            raw = packed.read(SIZE_LIMIT // 4 + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise ReadError(f"{path.name}: its gzip stream is damaged or cut: {error}") from error
    if len(raw) > SIZE_LIMIT // 4:
        raise ReadError(f"{path.name}: unpacks to more than {SIZE_LIMIT // 4 // 2**20} MiB, which is refused")
    return raw


def head_text(head: bytes) -> bytes:
    """Return the first bytes of a file, unpacked if they are gzip. Never raises."""
    if not head.startswith(GZIP_MAGIC):
        return head
    try:
        return zlib.decompressobj(31).decompress(head, 4096)
    except zlib.error:
        return b""


def read_block(path: Path, hints: dict[str, Any]) -> tuple[str, Block]:
    """Return the text above the numbers and the one table of numbers in the file."""
    raw = read_bytes(path)
    if not raw:
        raise ReadError(f"{path.name}: the file is empty")
    text = without_comments(decode(raw, path.name, hints.get("encoding")))
    found = blocks(text, path.name, hints.get("decimal"))
    if len({block.start for block in found}) > 1:
        told = " and ".join(str(block.line) for block in found[:2])
        raise ReadError(f"{path.name}: holds {len(found)} tables of numbers, from lines {told}; split the file")
    if found[0].lost:
        warnings.warn(f"{path.name}: {found[0].lost}", UserWarning, stacklevel=2)
    return text[: found[0].start], found[0]


def check_hints(hints: dict[str, Any]) -> None:
    """Refuse words that no reader of spectra knows."""
    choose("energy_unit", hints.get("energy_unit"), [None, *ENERGY_UNITS])
    choose("grid", hints.get("grid"), [None, "first", "own"])
    choose("sort", hints.get("sort", False), [True, False])
    choose("decimal", hints.get("decimal"), [None, ",", "."])


def scan_of(table: Table, hints: dict[str, Any]) -> Scan:
    """Return the scan in `table` on its increasing axis.

    Raises
    ------
    ReadError
        Columns that nothing names, an energy that is 0, missing or runs backwards, an angle without d-spacing.
    """
    if len(table.labels) != table.values.shape[1]:
        raise ReadError(
            f"{table.name}: line {table.line} has {table.values.shape[1]} columns, the header names "
            f"{len(table.labels)}; the file may be truncated{listing(table.labels)}"
        )
    roles = assign(table.labels, table.values, hints, str(table.attrs.get("element", "")), table.name)
    axis, x, attrs = _axis_values(table, roles, hints)
    x, values, told = _in_order(x, table, bool(hints.get("sort")))
    columns = {name: _column(name, indices, table.labels, values) for name, indices in roles.columns.items()}
    return Scan(replace(table, values=values), axis, x, columns, {**table.attrs, **attrs, **told})


def _axis_values(table: Table, roles: Roles, hints: dict[str, Any]) -> tuple[str, np.ndarray, dict[str, Any]]:
    x, label = table.values[:, roles.index], table.labels[roles.index]
    bad = ~np.isfinite(x) | (x <= 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise ReadError(
            f"{table.name}: row {row + 1} of {len(x)} (from line {table.line}) has the {roles.axis} {x[row]:g}, which "
            "must be above 0; take out rows that were not measured"
        )
    if roles.axis == "k":
        return "k", x, {}
    attrs: dict[str, Any] = {"energy_column": label.name}
    d = table.attrs.get("mono_d_spacing")
    if hints.get("mono_d_spacing") is not None:
        d = attrs["mono_d_spacing"] = positive("mono_d_spacing", hints["mono_d_spacing"])
    if roles.axis == "angle":
        return "energy", _from_angle(x, clean_unit(label.unit), d, table.name), attrs
    unit = hints.get("energy_unit") or clean_unit(label.unit)
    if unit not in ENERGY_UNITS:
        if label.unit:
            raise ReadError(f"{table.name}: the energy is in {label.unit!r}; pass energy_unit='eV' or 'keV'")
        if x.min() < SURELY_EV:
            raise ReadError(
                f"{table.name}: the unit of the energy is not stated ({x.min():g} to {x.max():g}); pass "
                "energy_unit='eV' or energy_unit='keV'"
            )
        unit = "eV"
    # 8.952 keV is 8952 eV, not 8952.000000000001 eV: twelve digits are far below any resolution.
    return "energy", x if unit == "eV" else np.round(x * ENERGY_UNITS[unit], 9), attrs


def _from_angle(angle: np.ndarray, unit: str, d: float | None, name: str) -> np.ndarray:
    """Return E = h c / (2 d sin θ)."""
    if unit == "steps":
        raise ReadError(
            f"{name}: the angle is in motor steps, which nothing here converts; pass columns={{'energy': …}}"
        )
    if d is None:
        raise ReadError(f"{name}: has angles and no energy; pass mono_d_spacing=… (angstrom) of the monochromator")
    theta = angle if unit == "radian" else np.radians(angle)
    if theta.max() >= np.pi / 2:
        raise ReadError(f"{name}: angles up to {angle.max():g} cannot be Bragg angles below 90 degree")
    return HC / (2 * d * np.sin(theta))


def _in_order(x: np.ndarray, table: Table, sort: bool) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return axis and rows by rising axis, and what was done for it.

    A scan from high to low is turned round; rows that repeat a point become their mean, with a warning; disorder is
    refused unless the user says ``sort=True``.
    """
    values, told = table.values, {}
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values).any(axis=1)))
        raise ReadError(f"{table.name}: row {row + 1} of the table (from line {table.line}) holds infinity")
    if len(x) > 1 and x[-1] < x[0] and (np.diff(x) <= 0).all():
        x, values = x[::-1], values[::-1]
    if (np.diff(x) < 0).any():
        row = int(np.argmax(np.diff(x) < 0))
        if not sort:
            raise ReadError(
                f"{table.name}: row {row + 2} (from line {table.line}) goes back from {x[row]:g} to {x[row + 1]:g}; a "
                "scan must increase: split it where it turns, or pass sort=True to sort its points"
            )
        order = np.argsort(x, kind="stable")
        x, values, told = x[order], values[order], {"sorted_points": int((np.diff(x) < 0).sum())}
    n_repeats = int((np.diff(x) == 0).sum())
    if n_repeats:
        unique, inverse = np.unique(x, return_inverse=True)
        counts = np.bincount(inverse)
        sums = np.zeros((len(unique), values.shape[1]))
        np.add.at(sums, inverse, values)
        x, values = unique, sums / counts[:, None]
        told = {**told, "repeated_points": n_repeats}
        warnings.warn(
            f"{table.name}: {n_repeats} of its {len(inverse)} points repeat an energy; the mean of their rows is taken",
            UserWarning,
            stacklevel=2,
        )
    if len(x) < 2:
        raise ReadError(f"{table.name}: holds {len(x)} point; a spectrum needs at least 2")
    return x, values, told


def _column(name: str, indices: list[int], labels: list[Label], values: np.ndarray) -> Column:
    units = {clean_unit(labels[i].unit) for i in indices}
    told = LONG_NAMES.get(name) or f"column {labels[indices[0]].name[:60]!r} of the file"
    data = values[:, indices[0]] if len(indices) == 1 else values[:, indices].T
    # A factor has no unit, whatever a program that calls all its columns counts says.
    known = len(units) == 1 and name != "deadtime_factor"
    return Column(np.ascontiguousarray(data), units.pop() if known else "1", told)
