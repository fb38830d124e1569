"""What every step on small-angle curves asks first: q, intensity, σ, a window; and results that land on frames."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, UnitError
from batlab.schema import quantity

ABSOLUTE = "1/cm"


def curves_of(
    patterns: xr.Dataset, function: str, window: Sequence[float] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return q, the intensity and its σ (None where there is none) over (frame, q) within `window`, as float64.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No intensity over (frame, q), a `window` that is none or holds fewer than 3 points.
    """
    if not isinstance(patterns, xr.Dataset) or "intensity" not in patterns:
        got = ", ".join(map(str, patterns.data_vars)) if isinstance(patterns, xr.Dataset) else type(patterns).__name__
        raise SchemaError(f"{function} needs a Dataset with 'intensity', got {got or 'an empty one'}")
    intensity = patterns["intensity"]
    if set(intensity.dims) - {"frame"} != {"q"}:
        hint = "; convert with scattering.to_q" if "two_theta" in intensity.dims else ""
        raise DimensionError(f"{function} needs intensity over ('frame', 'q'), got {intensity.dims}{hint}")
    q = np.asarray(patterns["q"].values, float)
    keep = in_window(q, window, function)
    values = _rows(intensity)[:, keep]
    sigma = None
    if "intensity_sigma" in patterns:
        sigma = _rows(patterns["intensity_sigma"])[:, keep]
        sigma = np.where(sigma > 0, sigma, np.nan)
        sigma = None if np.isnan(sigma).all() else sigma
    return q[keep], values, sigma


def _rows(variable: xr.DataArray) -> np.ndarray:
    if "frame" not in variable.dims:
        variable = variable.expand_dims("frame")
    return np.ascontiguousarray(variable.transpose("frame", "q").values, dtype=float)


def in_window(q: np.ndarray, window: Sequence[float] | None, function: str) -> np.ndarray:
    """Return which q lie in `window`, (low, high) in 1/angstrom; q of 0 never does."""
    keep = np.isfinite(q) & (q > 0)
    if window is not None:
        bounds = np.asarray(window, float)
        if bounds.shape != (2,) or not bounds[0] < bounds[1]:
            raise ValueError(f"window must be (low, high) in 1/angstrom with low < high, got {window!r}")
        keep &= (q >= bounds[0]) & (q <= bounds[1])
    if keep.sum() < 3:
        told = f"{q.min():.4g} to {q.max():.4g}" if q.size else "no point"
        raise ValueError(f"{function} needs at least 3 points, the window {window} leaves {keep.sum()} of q {told}")
    return keep


def sigma_or_scatter(q: np.ndarray, values: np.ndarray, sigma: np.ndarray | None, function: str) -> np.ndarray:
    """Return σ, and where there is none the scatter about a cubic through neighbours in log-log, with a warning."""
    if sigma is not None:
        return sigma
    spread = np.full(len(values), 0.01)
    for i, row in enumerate(values):
        good = np.isfinite(row) & (row > 0)
        if good.sum() >= 6:
            y = np.log(row[good])
            x = np.log(q[good])
            # A point against the line through its neighbours: variance 1 + w² + (1 - w)² of one.
            w = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
            miss = (y[1:-1] - w * y[:-2] - (1 - w) * y[2:]) / np.sqrt(1 + w**2 + (1 - w) ** 2)
            spread[i] = max(np.median(np.abs(miss)) / 0.6745, 1e-12)
    warnings.warn(
        f"{function}: there is no intensity_sigma; a relative {np.median(spread):.2g}, the scatter of neighbouring "
        "points, is taken",
        stacklevel=3,
    )
    return np.abs(values) * spread[:, None] + np.finfo(float).tiny


def warn_negative(values: np.ndarray, function: str, limit: float = 0.05) -> None:
    """Warn where more than `limit` of the points are not above 0: their logarithm cannot be used."""
    part = float(np.mean(~(values > 0) & np.isfinite(values))) if values.size else 0.0
    if part > limit:
        text = f"{function}: {part:.0%} of the intensities in its window are not above 0 and are not used there"
        warnings.warn(f"{text}; was too much background subtracted?", stacklevel=3)


def growth(chi2: float, n_free: float) -> float:
    """Return the factor on σ of a fit whose reduced χ² is above 1 by more than 2 of its own standard deviations."""
    return float(np.sqrt(chi2)) if n_free > 0 and chi2 > 1 + 2 * np.sqrt(2 / n_free) else 1.0


def need_absolute(patterns: xr.Dataset, function: str) -> None:
    """Refuse intensities that are not in 1/cm."""
    units = patterns["intensity"].attrs.get("units")
    if units != ABSOLUTE:
        raise UnitError(f"{function} needs the intensity in '1/cm', got {units!r}; scale it with saxs.absolute")


def on_frames(patterns: xr.Dataset, variables: dict[str, Any], **attrs: Any) -> xr.Dataset:
    """Return results with all that `patterns` has along frame (time, voltage, capacity …)."""
    n = patterns.sizes.get("frame", 1)
    kept = {str(name): coord for name, coord in patterns.coords.items() if coord.dims == ("frame",)}
    for name in patterns.data_vars:
        if patterns[name].dims == ("frame",):
            kept[str(name)] = patterns[name]
    if "frame" not in kept:
        kept["frame"] = xr.DataArray(quantity("frame", np.arange(n), "1", "frame"))
    carried = {
        key: patterns.attrs[key] for key in ("source", "source_sha256", "source_fingerprint", "history", "sample")
        if key in patterns.attrs
    }  # fmt: skip
    return xr.Dataset(variables, kept, {**carried, **attrs})


def frame_quantity(values: Any, units: str, long_name: str, **attrs: Any) -> xr.Variable:
    """Return a number a frame."""
    return quantity("frame", np.asarray(values), units, long_name, **attrs)


def with_sigma(name: str, values: Any, sigma: Any, units: str, long_name: str) -> dict[str, xr.Variable]:
    """Return a number a frame and its uncertainty under their two names."""
    return {
        name: frame_quantity(values, units, long_name),
        f"{name}_sigma": frame_quantity(sigma, units, f"1 sigma of the {long_name}"),
    }
