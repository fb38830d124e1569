"""What readers of small-angle files share: a curve with its resolution, its units, and curves as a series or a tree."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.schema import quantity

# Spelling, without blanks and in lower case -> unit here and factor to it.
_INTENSITY = {
    **dict.fromkeys(("1/cm", "cm-1", "cm^-1", "cm2/cm3", "cm^2/cm^3", "1/cm/sr", "cm^-1sr^-1"), ("1/cm", 1.0)),
    **dict.fromkeys(("1/m", "m-1", "m^-1"), ("1/cm", 0.01)),
    **dict.fromkeys(("cm2/g", "cm^2/g"), ("cm^2/g", 1.0)),
    **dict.fromkeys(("count", "counts"), ("count", 1.0)),
    **dict.fromkeys(("", "1", "none", "a.u.", "au", "arb", "arb.", "arbitrary", "dimensionless"), ("1", 1.0)),
}


@dataclass
class Curve:
    """One measurement: q in 1/angstrom, intensity (frame, q) in the file's units, σ and resolution where known."""

    name: str
    q: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray | None = None
    resolution: np.ndarray | None = None
    units: str = ""
    attrs: dict[str, Any] = field(default_factory=dict)


def intensity_unit(text: object, where: str) -> tuple[str, float]:
    """Return the data model's unit of an intensity and the factor to it; an unknown one is a warning and ``"1"``.

    >>> intensity_unit("[cm2/cm3]", "I")
    ('1/cm', 1.0)
    """
    known = re.sub(r"[\s\[\]]", "", str(text or "")).lower()
    if known in _INTENSITY:
        return _INTENSITY[known]
    warnings.warn(f"{where}: the unit {str(text)!r} of its intensity is not known; it is read as '1'", stacklevel=2)
    return "1", 1.0


def dataset(curve: Curve, where: str) -> xr.Dataset:
    """Return a curve as ``intensity`` (frame, q) with ``intensity_sigma`` and the coordinate ``q_resolution``.

    Rows that are no measurement are dropped: q not finite or not above 0. Points out of order are sorted and repeats
    of one q averaged, with a warning; an uncertainty that is 0 or negative is none, and becomes NaN.
    """
    q, rows = np.asarray(curve.q, float), np.atleast_2d(np.asarray(curve.intensity, float))
    if q.ndim != 1 or rows.shape[-1] != q.size:
        raise ReadError(f"{where}: has {q.shape} values of q and {rows.shape} of intensity; expected as many")
    unit, scale = intensity_unit(curve.units, where)
    columns = [rows * scale]
    if curve.sigma is not None:
        spread = np.atleast_2d(np.asarray(curve.sigma, float)) * scale
        if spread.shape != rows.shape:
            raise ReadError(f"{where}: has {spread.shape} uncertainties of {rows.shape} intensities")
        columns.append(np.where(spread > 0, spread, np.nan))
    if curve.resolution is not None and np.any(np.asarray(curve.resolution) > 0):
        columns.append(np.broadcast_to(np.asarray(curve.resolution, float), (1, q.size)))
    q, columns = _ordered(q, columns, curve.sigma is not None, where)
    if not q.size:
        raise ReadError(f"{where}: holds no point with q above 0")
    variables = {"intensity": quantity(("frame", "q"), columns[0], unit, "scattered intensity")}
    if curve.sigma is not None:
        variables["intensity_sigma"] = quantity(("frame", "q"), columns[1], unit, "1 sigma of the intensity")
    coords = {
        "frame": quantity("frame", np.arange(len(rows), dtype=np.int64), "1", "frame"),
        "q": quantity("q", q, "1/angstrom", "scattering vector"),
    }
    if len(columns) > 1 + (curve.sigma is not None):
        coords["q_resolution"] = quantity("q", columns[-1][0], "1/angstrom", "1 sigma of the resolution in q")
    return xr.Dataset(variables, coords, {key: value for key, value in curve.attrs.items() if value not in (None, "")})


def _ordered(q: np.ndarray, columns: list[np.ndarray], has_sigma: bool, where: str) -> tuple[np.ndarray, list]:
    keep = np.isfinite(q) & (q > 0)
    q, columns = q[keep], [column[:, keep] for column in columns]
    steps = np.diff(q)
    if (steps > 0).all():
        return q, columns
    if (steps < 0).all():
        return q[::-1], [column[:, ::-1] for column in columns]
    unique, inverse, counts = np.unique(q, return_inverse=True, return_counts=True)
    warnings.warn(
        f"{where}: {np.sum(steps < 0)} of {q.size} points are out of order and {q.size - unique.size} repeat a q; "
        "sorted, repeats averaged",
        stacklevel=2,
    )
    joined = []
    for i, column in enumerate(columns):
        is_sigma = has_sigma and i == 1
        total = np.stack([np.bincount(inverse, row**2 if is_sigma else row, unique.size) for row in column])
        joined.append(np.sqrt(total) / counts if is_sigma else total / counts)
    return unique, joined


def tree(parts: Sequence[tuple[str, xr.Dataset]]) -> xr.Dataset | xr.DataTree:
    """Return one measurement as it is, several as a DataTree under distinct names without ``/``."""
    if len(parts) == 1:
        return parts[0][1]
    named: dict[str, xr.Dataset] = {}
    for name, part in parts:
        stem = re.sub(r"[/\s]+", "_", name.strip()).strip("._") or "data"
        unique = next(n for n in (stem, *(f"{stem}_{i}" for i in range(2, len(parts) + 2))) if n not in named)
        named[unique] = part
    return xr.DataTree.from_dict(named)


def series(parts: Sequence[xr.Dataset], names: Sequence[str]) -> xr.Dataset:
    """Return curves on exactly equal grids, of equal unit, joined over ``frame``; attributes that differ are left out.

    Raises
    ------
    ReadError
        A grid, a unit, a slit or the presence of σ differs.
    """
    first = parts[0]
    for part, name in zip(parts[1:], names[1:], strict=True):
        if not np.array_equal(part["q"].values, first["q"].values):
            raise ReadError(
                f"{name}: is not on the grid of {names[0]} ({part.sizes['q']} and {first.sizes['q']} points); open "
                "them apart and bring them onto one grid with curves.regrid"
            )
        if set(part.variables) != set(first.variables) or any(
            part["intensity"].attrs["units"] != first["intensity"].attrs["units"]
            or part.attrs.get(key) != first.attrs.get(key)
            for key in ("slit_length",)
        ):
            raise ReadError(f"{name}: its unit, uncertainty or slit differs from that of {names[0]}; open them apart")
    joined = xr.concat(
        parts, "frame", join="exact", combine_attrs="drop_conflicts", data_vars="minimal", coords="minimal",
        compat="override",
    )  # fmt: skip
    numbers = quantity("frame", np.arange(joined.sizes["frame"], dtype=np.int64), "1", "frame")
    files = np.repeat(np.array(names), [part.sizes["frame"] for part in parts])
    return joined.assign_coords(frame=numbers, file=quantity("frame", files, "", "file"))
