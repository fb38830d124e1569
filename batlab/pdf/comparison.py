"""Series of G(r) against a reference, and against themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.pdf.curves_in import Curves, curves_of
from batlab.schema import quantity, record

HINT = "make it with pdf.g_of_r"


def difference(series: xr.Dataset, reference: int | xr.Dataset = 0) -> xr.Dataset:
    """Return what has changed in G(r): every frame minus a reference.

    Parameters
    ----------
    series
        ``g_r`` (frame, r) [1/angstrom²], with its σ if known.
    reference
        A frame's number (negative: from the end), or a Dataset with one ``g_r`` on exactly the same r.

    Returns
    -------
    xarray.Dataset
        `series` with ``g_r_difference`` (frame, r). Its σ, if both have one, is that of two independent curves; a
        frame minus itself is 0 with σ 0.

    Raises
    ------
    ValueError
        A frame that is not there, or more than one reference.
    SchemaError, DimensionError, UnitError
        Other grids or units.

    Examples
    --------
    >>> g = quantity(("frame", "r"), [[0.0] * 8, [1.0] * 8], "1/angstrom^2", "G(r)")
    >>> pair = xr.Dataset({"g_r": g}, {"r": quantity("r", np.arange(8.0), "angstrom", "r")})
    >>> difference(pair).g_r_difference.values[:, 0].tolist()
    [0.0, 1.0]
    """
    name = "pdf.difference"
    curves = curves_of(series, "g_r", "r", name, units="angstrom", hint=HINT)
    values = np.asarray(curves.values, dtype=float)
    sigma = None if curves.sigma is None else np.asarray(curves.sigma, dtype=float)
    itself = None
    if isinstance(reference, xr.Dataset):
        other = curves_of(reference, "g_r", "r", f"{name} (reference)", units="angstrom", hint=HINT)
        if not np.array_equal(other.x, curves.x):
            raise SchemaError(f"{name}: the reference has another grid of r; bring both onto one with curves.regrid")
        if len(other.values) != 1:
            raise ValueError(f"{name}: the reference must be one curve, got {len(other.values)}; choose with isel")
        base = np.asarray(other.values, dtype=float)[0]
        base_sigma = None if other.sigma is None else np.asarray(other.sigma, dtype=float)[0]
    else:
        if not -len(values) <= reference < len(values):
            raise ValueError(f"{name}: reference must be a frame from 0 to {len(values) - 1}, got {reference}")
        itself = reference % len(values)
        base, base_sigma = values[itself], None if sigma is None else sigma[itself]
    made = {"g_r_difference": curves.variable("r", values - base, "1/angstrom^2", "change of G(r)")}
    if sigma is not None and base_sigma is not None:
        both = np.hypot(sigma, base_sigma)
        if itself is not None:
            both[itself] = 0.0
        made["g_r_difference_sigma"] = curves.variable("r", both, "1/angstrom^2", "1 sigma of the change of G(r)")
    return record(series.assign(made), name, reference=reference)


def similarity(series: xr.Dataset, *, rmin: float = 1.5, rmax: float = 20.0) -> xr.Dataset:
    """Return Pearson's correlation of every G(r) with every other.

    Parameters
    ----------
    series
        ``g_r`` (frame, r) [1/angstrom²].
    rmin, rmax
        Range of r compared [angstrom].

    Returns
    -------
    xarray.Dataset
        ``similarity`` (frame, frame_other), 1 for equal shapes; NaN for frames with missing points. Coordinates of
        frames stay.

    Raises
    ------
    ValueError
        Fewer than 8 points in range.
    SchemaError, DimensionError, UnitError
        Without ``g_r`` over ``frame`` and ``r``.

    Examples
    --------
    >>> g = quantity(("frame", "r"), np.sin([np.arange(2, 12.0), -np.arange(2, 12.0)]), "1/angstrom^2", "G(r)")
    >>> pair = xr.Dataset({"g_r": g}, {"r": quantity("r", np.arange(2, 12.0), "angstrom", "r")})
    >>> similarity(pair).similarity.values.round(1).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    name = "pdf.similarity"
    curves: Curves = curves_of(series, "g_r", "r", name, units="angstrom", hint=HINT)
    used = (curves.x >= rmin) & (curves.x <= rmax)
    if used.sum() < 8 or curves.is_single:
        raise ValueError(
            f"{name}: needs a series over 'frame' and 8 points between rmin {rmin:g} and rmax {rmax:g}, got "
            f"{int(used.sum())} points and dimensions {series['g_r'].dims}"
        )
    values = np.asarray(curves.values)[:, used].astype(float)
    values = values - values.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = values / np.linalg.norm(values, axis=1, keepdims=True)
    matrix: Any = np.clip(values @ values.T, -1, 1)
    frames = series["frame"].values if "frame" in series.coords else np.arange(len(values))
    made = {"similarity": quantity(("frame", "frame_other"), matrix, "1", "Pearson correlation of G(r)")}
    coords = {
        "frame": quantity("frame", frames, "1", "frame"),
        "frame_other": quantity("frame_other", frames, "1", "frame"),
    }
    table = series.drop_dims("r").drop_vars("similarity", errors="ignore").assign_coords(coords).assign(made)
    return record(table, name, rmin=rmin, rmax=rmax)
