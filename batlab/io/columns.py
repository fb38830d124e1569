"""1-D patterns as columns of numbers: ``.xy .xye .dat .chi .txt .gr .plt`` and their kin, one file or a series.

Which axis the first column is comes from the header or from the user's ``axis=``, never from the numbers.
A file cut inside its last line gives the whole lines and a `UserWarning`; one cut exactly at the end of a line cannot
be told from a whole one, unless its header states the number of points (``.chi``) or it holds its pattern twice.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io._header import Header, read_header
from batlab.io._text import Block, blocks, peek, read_text, without_comments
from batlab.io.physical_units import positive
from batlab.schema import quantity

NAME = "patterns in columns"
HINTS = frozenset(
    {"axis", "units", "wavelength", "wavelength_alpha2", "alpha2_ratio", "azimuth", "column", "encoding", "decimal"}
)

# Axis -> unit -> factor to the unit of the data model.
UNITS: dict[str, dict[str, float]] = {
    "q": {"1/angstrom": 1.0, "1/nm": 0.1},
    "two_theta": {"degree": 1.0, "radian": 180 / np.pi},
    "r": {"angstrom": 1.0, "nm": 10.0},
}
LONG_NAMES = {"q": "scattering vector", "two_theta": "scattering angle 2θ", "r": "distance"}
MODEL_UNITS = {"q": "1/angstrom", "two_theta": "degree", "r": "angstrom"}


@dataclass(frozen=True)
class Pattern:
    """One file: its axis (in the unit of the data model), intensities (column first), sigma, and header."""

    path: Path
    axis: str
    x: np.ndarray
    intensity: np.ndarray  # (sector, x)
    sigma: np.ndarray | None
    header: Header


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is text; the last reader asked takes any text. Never raises."""
    return bool(peek(head).strip())


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the patterns of one file or of a series over (frame, two_theta | q | r).

    Parameters
    ----------
    paths
        Files with one common grid, in the order of the frames.
    **hints
        ``axis`` "q", "two_theta" or "r" and its ``units`` ("1/angstrom", "1/nm", "degree", "radian", "angstrom",
        "nm") where the header does not say; ``wavelength``, ``wavelength_alpha2`` in angstrom, ``alpha2_ratio``;
        for many intensity columns ``azimuth`` (their sectors' centres in degree) or ``column`` (which one, from 1);
        ``encoding``; ``decimal`` "," or ".".

    Returns
    -------
    Dataset
        ``intensity`` (frame, axis), for a cake (frame, azimuth, axis), or ``g_r`` (frame, r); ``..._sigma`` from a
        third column; coordinates ``frame``, ``file``. Attributes as far as the header says: ``wavelength``
        [angstrom], ``wavelength_alpha2``, ``alpha2_ratio``, ``sample``, ``exported``.

    Raises
    ------
    ReadError
        Naming the file and line; also where grids or wavelengths of a series differ, and where nothing says which
        axis it is.
    """
    choose("axis", hints.get("axis"), [None, *UNITS])
    choose("decimal", hints.get("decimal"), [None, ",", "."])
    patterns = [_read_one(path, hints) for path in paths]
    first = patterns[0]
    for other in patterns[1:]:
        _same(first, other)
    return _dataset(patterns, hints)


def _read_one(path: Path, hints: dict[str, Any]) -> Pattern:
    text = without_comments(read_text(path, hints.get("encoding")))
    found = blocks(text, path.name, hints.get("decimal"))
    block = found[0]
    header = read_header(text[: block.start], path.name)
    _compare_copies(found, header, path.name)
    axis, factor = _axis(header, hints, path.name)
    values = block.values
    if values.shape[1] < 2:
        raise ReadError(f"{path.name}: line {block.line} has one column; a pattern needs an axis and an intensity")
    values = _increasing(values, block, path.name)
    intensity, sigma = _columns(values, axis, header, hints, path.name)
    return Pattern(path, axis, values[:, 0] * factor, intensity, sigma, header)


def _compare_copies(found: list[Block], header: Header, name: str) -> None:
    first = found[0]
    for lost in filter(None, (block.lost for block in found)):
        warnings.warn(f"{name}: {lost}", UserWarning, stacklevel=2)
    for other in found[1:]:
        if other is first:
            continue
        shared = min(len(first.values), len(other.values))
        if not np.array_equal(first.values[:shared], other.values[:shared], equal_nan=True):
            raise ReadError(
                f"{name}: holds two tables that differ, from lines {first.line} and {other.line}; split the file"
            )
        if len(other.values) != len(first.values):
            _warn_copy(name, len(other.values), len(first.values))
    if header.has_copy and len(found) == 1 and not first.lost:
        _warn_copy(name, 0, len(first.values))


def _warn_copy(name: str, got: int, expected: int) -> None:
    warnings.warn(
        f"{name}: the second copy of the pattern has {got} of {expected} points; the file may be truncated",
        UserWarning,
        stacklevel=2,
    )


def _axis(header: Header, hints: dict[str, Any], name: str) -> tuple[str, float]:
    axis = hints.get("axis") or header.axis
    if axis is None:
        raise ReadError(
            f"{name}: nothing in the file says what its first column is; pass axis='two_theta' (with wavelength=… in "
            "angstrom), axis='q' or axis='r'; of an absorption scan columns={'energy': 1, 'i0': 2, ...}"
        )
    if header.axis not in (None, axis):
        warnings.warn(
            f"{name}: says that its first column is {header.axis!r}, axis={axis!r} is used", UserWarning, stacklevel=2
        )
    stated = header.units if header.axis == axis else None
    units = hints.get("units") or stated or (MODEL_UNITS[axis] if hints.get("axis") else None)
    if units is None:
        raise ReadError(f"{name}: the unit of {axis!r} is not stated; pass units={' or '.join(map(repr, UNITS[axis]))}")
    choose("units", units, UNITS[axis])
    return axis, UNITS[axis][units]


def _increasing(values: np.ndarray, block: Block, name: str) -> np.ndarray:
    """Return the rows by rising axis: a scan from high to low is turned round, any other disorder is refused."""
    bad = np.isinf(values).any(axis=1) | np.isnan(values[:, 0])
    if bad.any():
        row = int(np.argmax(bad)) + 1
        raise ReadError(f"{name}: row {row} of the table holds infinity, or NaN in its first column")
    if (np.diff(values[:, 0]) < 0).all():
        return values[::-1]
    x = values[:, 0]
    falls = np.diff(x) <= 0
    if falls.any():
        row = int(np.argmax(falls))
        raise ReadError(
            f"{name}: line {block.line + row + 1}: the first column must increase, got {x[row]:g} then {x[row + 1]:g}"
        )
    return values


def _columns(
    values: np.ndarray, axis: str, header: Header, hints: dict[str, Any], name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    n = values.shape[1] - 1
    azimuth, column = hints.get("azimuth"), hints.get("column")
    if azimuth is not None:
        if np.ndim(azimuth) != 1 or np.size(azimuth) != n:
            raise ReadError(
                f"{name}: azimuth= must be a list of {n} angles, one an intensity column, got {azimuth!r:.60}"
            )
        return values[:, 1:].T, None
    if column is not None:
        if column not in range(1, n + 1):
            raise ReadError(f"{name}: column= must be 1 to {n}, got {column!r}")
        return values[:, column][None], None
    sigma = header.sigma_column if header.sigma_column is not None else (2 if n == 2 else None)
    if n > 2 and (sigma is None or sigma > n):
        raise ReadError(
            f"{name}: has {n} intensity columns; pass azimuth=[their {n} angles in degree] if they are sectors of a "
            "cake, or column= (from 1) to take one"
        )
    if sigma is None or sigma > n:
        return values[:, 1][None], None
    if (values[:, sigma] < 0).any():
        raise ReadError(f"{name}: column {sigma + 1} should be the uncertainty but is negative; pass column=1 or 2")
    return values[:, 1][None], values[:, sigma][None]


def _same(first: Pattern, other: Pattern) -> None:
    if first.axis != other.axis or not np.array_equal(first.x, other.x):
        told = [f"{p.axis}, {len(p.x)} points, {p.x[0]:g} to {p.x[-1]:g}" for p in (other, first)]
        raise ReadError(
            f"{other.path.name}: its grid ({told[0]}) differs from that of {first.path.name} ({told[1]}); open them "
            "apart and bring them onto one grid with curves.regrid"
        )
    for key in ("wavelength", "wavelength_alpha2", "alpha2_ratio"):
        ours, theirs = first.header.attrs.get(key), other.header.attrs.get(key)
        if ours != theirs:
            raise ReadError(f"{other.path.name}: its {key} {theirs} differs from {ours} of {first.path.name}")
    if first.intensity.shape != other.intensity.shape or (first.sigma is None) != (other.sigma is None):
        raise ReadError(f"{other.path.name}: its columns differ in number from those of {first.path.name}")


def _dataset(patterns: list[Pattern], hints: dict[str, Any]) -> xr.Dataset:
    first = patterns[0]
    stem, units, long_name = "intensity", "count" if first.header.is_counts else "1", "diffracted intensity"
    if first.axis == "r":
        stem, units, long_name = "g_r", "1/angstrom^2", "reduced pair distribution function"
    dims = ("frame", "azimuth", first.axis) if hints.get("azimuth") is not None else ("frame", first.axis)
    values = np.stack([p.intensity for p in patterns])
    values = values if len(dims) == 3 else values[:, 0]
    variables = {stem: quantity(dims, values, units, long_name)}
    if first.sigma is not None:
        sigma = np.stack([p.sigma[0] for p in patterns if p.sigma is not None])
        variables[f"{stem}_sigma"] = quantity(dims, sigma, units, f"1 sigma of the {long_name}")
    coords = {
        "frame": quantity("frame", np.arange(len(patterns)), "1", "frame"),
        first.axis: quantity(first.axis, first.x, MODEL_UNITS[first.axis], LONG_NAMES[first.axis]),
        "file": quantity("frame", np.array([p.path.name for p in patterns]), "1", "file"),
    }
    if len(dims) == 3:
        coords["azimuth"] = quantity("azimuth", np.asarray(hints["azimuth"], float), "degree", "azimuth of the sector")
    return xr.Dataset(variables, coords, _attributes(patterns, hints))


def _attributes(patterns: list[Pattern], hints: dict[str, Any]) -> dict[str, Any]:
    attrs: dict[str, Any] = dict(patterns[0].header.attrs)
    for key in list(attrs):
        stated = list(dict.fromkeys(str(p.header.attrs.get(key, "")) for p in patterns))
        if len(stated) > 1:
            attrs[key] = stated
    for key in ("wavelength", "wavelength_alpha2", "alpha2_ratio"):
        if hints.get(key) is None:
            continue
        given, told = positive(key, hints[key]), attrs.get(key)
        if told is not None and abs(given / told - 1) > 1e-4:
            text = f"{patterns[0].path.name}: states {key} {told:g}, {key}={given:g} is used"
            warnings.warn(text, UserWarning, stacklevel=2)
        attrs[key] = given
    return attrs
