"""Repeated scans become one spectrum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, choose
from batlab.schema import quantity, record, require
from batlab.xas.grids import OWN

FUNCTION = "xas.merge"
AXES = ("energy", "k", "r")
MAD = 1.4826  # of a Gaussian: its σ over its median absolute deviation


def merge(
    series: xr.Dataset,
    *,
    weights: str | np.ndarray | xr.DataArray = "equal",
    of: str = "mu",
    outlier: float = 5.0,
    drop_outliers: bool = False,
) -> xr.Dataset:
    """Return the weighted mean of the scans of a series, with the σ of the mean from how they scatter.

    mean = Σ wᵢ xᵢ / Σ wᵢ and, point by point over the n scans that have it, σ² = n/(n-1) Σ wᵢ² (xᵢ - mean)² / (Σ wᵢ)²:
    for equal weights the standard deviation over √n. It holds what repeats differ by, whatever the cause; σ of n scans
    is itself uncertain by 1/√(2n-2).

    A scan stands out if its root-mean-square distance from the median scan, each scan first fitted to that scan by a
    factor and an offset, exceeds the usual one by more than `outlier` robust standard deviations and by a half.

    Parameters
    ----------
    series
        Scans over ``frame`` on one grid, aligned (`align_energy`).
    weights
        ``"equal"``; ``"sigma"``: 1/σ², of the median of ``<of>_sigma`` of each scan; ``"step"``: the square of
        ``edge_step``, which for raw absorption of unlike thickness is signal over noise; or one number a scan.
    of
        The variable by which scans are judged.
    outlier
        At least 4 scans are needed for it.
    drop_outliers
        Whether to leave out what stands out; it is named anyway.

    Returns
    -------
    xarray.Dataset
        Every variable over (``frame``, ``energy``, ``k`` or ``r``) as mean and ``…_sigma``; others lose what belongs to
        single scans, ``time`` is the first. Attributes ``n_merged``, ``outlier_scans`` (their ``file``, else number).

    Raises
    ------
    DimensionError
        Without ``frame``, or with grids that differ.
    SchemaError
        Without `of`, or what the weights need.
    ValueError
        Weights of another number, negative, or all zero.

    Warns
    -----
    UserWarning
        Scans that stand out, with by how much. One scan only, where σ is not known.

    Examples
    --------
    >>> scans = xr.Dataset({"mu": quantity(("frame", "energy"), np.array([[1.0, 2.0], [3.0, 2.0]]), "1", "absorption")},
    ...                    {"energy": quantity("energy", [8320.0, 8360.0], "eV", "energy")})
    >>> merge(scans).mu_sigma.values.tolist()
    [1.0, 0.0]
    """
    require(series, FUNCTION, "frame", hint="open several scans at once, or join them with xarray.concat")
    if OWN in series.variables:
        raise DimensionError(
            f"{FUNCTION} needs one grid for all scans, got {OWN!r}; bring them onto one with xas.rebin"
        )
    if of not in series:
        raise SchemaError(
            f"{FUNCTION} needs a variable {of!r}, got {', '.join(map(str, series.data_vars))}; see xas.mu"
        )
    if not np.isfinite(outlier) or outlier <= 0:
        raise ValueError(f"{FUNCTION}: outlier must be positive, got {outlier!r}")
    _axis(series[of])
    weight = _weights(series, weights, of)
    names = _names(series)
    far, excess = outliers(np.asarray(series[of].transpose("frame", ...).values, dtype=float), outlier)
    if far.any():
        told = ", ".join(f"{names[i]} ({excess[i]:.0f} robust σ)" for i in np.flatnonzero(far))
        what = "left out" if drop_outliers else "kept; pass drop_outliers=True to leave them out"
        warnings.warn(
            f"{FUNCTION}: {far.sum()} of {len(far)} scans stand out: {told}; {what}", UserWarning, stacklevel=2
        )
        weight = np.where(far & drop_outliers, 0.0, weight)
    used = weight > 0
    if not used.any():
        raise ValueError(f"{FUNCTION}: no scan has a positive weight")
    if used.sum() == 1:
        warnings.warn(
            f"{FUNCTION}: only one scan is merged; its σ is not known from repeats", UserWarning, stacklevel=2
        )
    variables = _merged(series, weight)
    coords = {
        str(name): one.variable for name, one in series.coords.items() if "frame" not in one.dims
    }  # fmt: skip
    if "time" in series.coords and series["time"].dims == ("frame",):
        coords["time"] = xr.Variable((), series["time"].values[used].min(), series["time"].attrs)
    told_attrs = {"n_merged": int(used.sum()), "outlier_scans": [names[i] for i in np.flatnonzero(far)]}
    result = xr.Dataset(variables, coords, dict(series.attrs) | told_attrs)
    if not far.any():
        result.attrs["outlier_scans"] = "none"
    return record(result, FUNCTION, weights=weights, of=of, outlier=outlier, drop_outliers=drop_outliers)


def outliers(curves: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which scans (frame, point) stand out, and by how many robust standard deviations."""
    n_frames = len(curves)
    distance = np.full(n_frames, np.nan)
    known = np.isfinite(curves)
    if n_frames < 4 or not known.any():
        return np.zeros(n_frames, dtype=bool), np.zeros(n_frames)
    some = known.any(axis=0)
    median = np.full(curves.shape[1], np.nan)
    median[some] = np.nanmedian(curves[:, some], axis=0)
    for i, row in enumerate(curves):
        both = known[i] & np.isfinite(median)
        if both.sum() > 3:
            basis = np.stack([np.ones(both.sum()), median[both]], axis=1)
            rest = row[both] - basis @ np.linalg.lstsq(basis, row[both], rcond=None)[0]
            distance[i] = np.sqrt((rest**2).mean())
    usual = np.nanmedian(distance)
    spread = max(MAD * np.nanmedian(np.abs(distance - usual)), 1e-12 * max(usual, np.ptp(median[some]), 1e-300))
    excess = np.nan_to_num((distance - usual) / spread)
    return (excess > threshold) & (distance > 1.5 * usual), excess


def _axis(variable: xr.DataArray) -> str:
    axes = [str(dim) for dim in variable.dims if dim in AXES]
    if set(map(str, variable.dims)) != {"frame", *axes} or len(axes) != 1:
        raise DimensionError(
            f"{FUNCTION} needs {str(variable.name)!r} over ('frame', 'energy'), got {tuple(map(str, variable.dims))}"
        )
    return axes[0]


def _weights(series: xr.Dataset, weights: Any, of: str) -> np.ndarray:
    n_frames = series.sizes["frame"]
    if isinstance(weights, str):
        choose("weights", weights, ["equal", "sigma", "step"])
        needs = {"sigma": f"{of}_sigma", "step": "edge_step"}.get(weights)
        if needs is not None and needs not in series:
            raise SchemaError(f"{FUNCTION}: weights={weights!r} needs {needs!r}, which is missing")
        if weights == "equal":
            return np.ones(n_frames)
        values = np.asarray(series[needs].transpose("frame", ...).values, dtype=float)
        weight = np.nanmedian(values, axis=1) ** -2.0 if weights == "sigma" else values**2
    else:
        weight = np.asarray(weights, dtype=float)
        if weight.shape != (n_frames,):
            raise ValueError(f"{FUNCTION}: weights must be one number a scan ({n_frames}), got shape {weight.shape}")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            f"{FUNCTION}: weights must be finite and not negative, got {weight.min():g} to {weight.max():g}"
        )
    return weight


def _names(series: xr.Dataset) -> list[str]:
    label = "file" if "file" in series.coords and series["file"].dims == ("frame",) else "frame"
    return [str(one) for one in (series[label].values if label in series.coords else range(series.sizes["frame"]))]


def _merged(series: xr.Dataset, weight: np.ndarray) -> dict[str, xr.Variable]:
    variables: dict[str, xr.Variable] = {}
    for name, one in series.data_vars.items():
        axes = [dim for dim in one.dims if dim in AXES]
        if "frame" not in one.dims:
            variables[str(name)] = one.variable
        elif len(axes) == 1 and one.dtype.kind in "iuf" and not str(name).endswith("_sigma"):
            rows = one.variable.transpose("frame", ...)
            mean, sigma = _mean(np.asarray(rows.values, dtype=float), weight)
            variables[str(name)] = xr.Variable(rows.dims[1:], mean, one.attrs)
            variables[f"{name}_sigma"] = quantity(
                tuple(map(str, rows.dims[1:])), sigma, one.attrs.get("units", "1"), f"σ of the mean: {name}"
            )
    return variables


def _mean(rows: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean over the first dimension and its σ from the scatter; missing points are left out."""
    known = np.isfinite(rows) & (weight > 0).reshape(-1, *[1] * (rows.ndim - 1))
    share = np.where(known, weight.reshape(-1, *[1] * (rows.ndim - 1)), 0.0)
    total, n = share.sum(axis=0), known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (share * np.where(known, rows, 0.0)).sum(axis=0) / total
        away = np.where(known, rows - mean, 0.0)
        sigma = np.sqrt((share**2 * away**2).sum(axis=0) * n / (n - 1)) / total
    return mean, np.where(n > 1, sigma, np.nan)
