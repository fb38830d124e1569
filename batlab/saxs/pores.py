"""Ordered pores: their peak, distance, strain and order; and how a volume changes along a series."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.curves import fit_peaks
from batlab.errors import SchemaError
from batlab.saxs.series import curves_of, on_frames, with_sigma
from batlab.schema import quantity, record

SCHERRER = 0.94  # of the full width of a Gaussian peak; P. Scherrer 1918, doi:10.1007/978-3-662-33915-2_7


def peak(
    patterns: xr.Dataset,
    near: float | list[float],
    *,
    width: float | None = None,
    background: str | None = "linear",
    reference: int = 0,
    significance: float = 5.0,
) -> xr.Dataset:
    """Follow the peaks of ordered pores or layers: distance, order length, area, strain.

    Each is a pseudo-Voigt on a background, by `curves.fit_peaks`.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q).
    near
        q of the peaks in the first frame, in 1/angstrom.
    width
        Their full width at half maximum, a rough value, in 1/angstrom.
    background
        As in `curves.fit_peaks`.
    reference
        The frame that strain is counted from.
    significance
        How many σ high a peak must be.

    Returns
    -------
    Dataset
        Over (frame, peak): ``position``, ``fwhm`` [1/angstrom], ``area``, ``height``; ``d`` = 2π/q [angstrom],
        ``order_length`` = 0.94 · 2π/fwhm [angstrom] (the resolution is not taken off: a lower bound), ``strain`` =
        d/d_reference - 1, each with σ (strain is exactly 0 in its reference); ``status``, ``chi2_reduced``.

    Raises
    ------
    ValueError
        `reference` is no frame, or no peak lies there.
    """
    curves_of(patterns, "saxs.peak")
    with_frames = patterns if "frame" in patterns["intensity"].dims else patterns.expand_dims("frame")
    n = with_frames.sizes["frame"]
    if not -n <= reference < n:
        raise ValueError(f"reference must be one of {n} frames, got {reference!r}")
    places = np.atleast_1d(np.asarray(near, float))
    found = fit_peaks(with_frames, near=list(places), width=width, background=background, significance=significance)
    q, q_sigma = found["position"].values, found["position_sigma"].values
    fwhm, fwhm_sigma = found["fwhm"].values, found["fwhm_sigma"].values
    d, relative = 2 * np.pi / q, q_sigma / q
    length = SCHERRER * 2 * np.pi / fwhm
    strain = d / d[reference] - 1
    strain_sigma = (1 + strain) * np.hypot(relative, relative[reference])
    strain_sigma[reference] = np.where(np.isfinite(strain[reference]), 0.0, np.nan)
    done = found.copy()
    for name, value, spread, units, told in (
        ("d", d, d * relative, "angstrom", "distance of pores or layers"),
        ("order_length", length, length * fwhm_sigma / fwhm, "angstrom", "length of order"),
        ("strain", strain, strain_sigma, "1", "strain of the pore lattice"),
    ):
        done[name] = quantity(("frame", "peak"), value, units, told)
        done[f"{name}_sigma"] = quantity(("frame", "peak"), spread, units, f"1 sigma of the {told}")
    return record(done, "saxs.peak", near=near, width=width, background=background, reference=reference)


def volume_change(result: xr.Dataset, of: str, *, reference: int = 0, dimensions: int = 3) -> xr.Dataset:
    """Return how a volume changed, ``(L / L_reference)^n - 1``, from a length or straight from a volume.

    Parameters
    ----------
    result
        Any result with `of` and its σ over frame.
    of
        Name of a length (``"rg"``, ``"d"``, ``"mean_diameter"``), or of what grows with the volume
        (``"volume_fraction"``: then `dimensions` 1).
    reference
        The frame that change is counted from.
    dimensions
        In how many the length grows alike: 3 for particles, 2 for pores along a fixed axis, 1 for layers.

    Returns
    -------
    Dataset
        ``volume_change`` (as `of` is laid out) with σ; exactly 0 in the reference frame.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> made = xr.Dataset({"rg": quantity("frame", [10.0, 11.0], "angstrom", "Rg"),
    ...                    "rg_sigma": quantity("frame", [0.1, 0.1], "angstrom", "sigma")})
    >>> volume_change(made, "rg")["volume_change"].values.round(3)
    array([0.   , 0.331])
    """
    if of not in result or f"{of}_sigma" not in result or "frame" not in result[of].dims:
        got = ", ".join(str(name) for name in result.data_vars if f"{name}_sigma" in result)
        raise SchemaError(f"saxs.volume_change needs {of!r} and {of}_sigma over frame, got {got or 'none'}")
    n = result.sizes["frame"]
    if dimensions not in (1, 2, 3) or not -n <= reference < n:
        raise ValueError(f"dimensions must be 1, 2 or 3 and reference one of {n} frames, got {dimensions}, {reference}")
    value, spread = result[of].values, result[f"{of}_sigma"].values
    ratio = value / value[reference]
    relative = np.hypot(spread / value, spread[reference] / value[reference])
    sigma = dimensions * np.abs(ratio) ** dimensions * np.abs(relative)
    sigma[reference] = np.where(np.isfinite(value[reference]), 0.0, np.nan)
    dims: Any = result[of].dims
    if dims == ("frame",):
        variables = with_sigma("volume_change", ratio**dimensions - 1, sigma, "1", "relative change of the volume")
    else:
        told = "relative change of the volume"
        variables = {
            "volume_change": quantity(dims, ratio**dimensions - 1, "1", told),
            "volume_change_sigma": quantity(dims, sigma, "1", f"1 sigma of the {told}"),
        }
    done = on_frames(result, variables)
    return record(done, "saxs.volume_change", of=of, reference=reference, dimensions=dimensions)
