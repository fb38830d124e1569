"""The smooth part of a pattern, taken off."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.curves.noise import bridged
from batlab.curves.patterns import axis_of, values_of
from batlab.errors import choose
from batlab.schema import quantity, record

# Those of pybaselines that need no more than the curve; its parameters are passed on under its own names.
METHODS = ("snip", "arpls", "asls", "airpls", "drpls", "iarpls", "modpoly", "imodpoly", "rolling_ball", "mor", "tophat")
DEFAULTS: dict[str, dict[str, Any]] = {"snip": {"decreasing": True, "smooth_half_window": 3}}


def subtract_background(patterns: xr.Dataset, *, method: str = "snip", **parameters: Any) -> xr.Dataset:
    """Subtract a smooth background from every frame and keep it beside the result.

    ``intensity_sigma`` is kept as it is: the background is taken as known. Without it `fit_peaks` adds the counts of
    ``background`` to its Poisson variance. Missing points are bridged for the estimate and stay missing. Where
    peaks are fitted in windows, `fit_peaks` has its own local background and needs no subtraction.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, two_theta | q).
    method
        ``"snip"`` (peak clipping; Ryan et al., Nucl. Instrum. Methods B 34, 396 (1988),
        doi:10.1016/0168-583X(88)90063-8), ``"arpls"`` (Baek et al., Analyst 140, 250 (2015),
        doi:10.1039/C4AN01061B), ``"asls"``, ``"airpls"``, ``"drpls"``, ``"iarpls"``, ``"modpoly"``, ``"imodpoly"``,
        ``"rolling_ball"``, ``"mor"``, ``"tophat"``.
    **parameters
        Of the method, by pybaselines' names. For ``"snip"``, ``max_half_window`` in points should exceed the half
        width of the broadest peak at its foot; by default a fortieth of the pattern.

    Returns
    -------
    xarray.Dataset
        A copy with ``intensity`` less ``background``, and ``background`` over the same dimensions.

    Raises
    ------
    DimensionError
        If the patterns have neither ``two_theta`` nor ``q``.
    ValueError
        For an unknown method or a parameter that the method does not know or cannot take; or if the patterns
        carry a ``background`` already.

    Examples
    --------
    >>> q = np.linspace(2, 3, 400)
    >>> counts = 50 + 20 * q + 900 * np.exp(-4 * np.log(2) * ((q - 2.51) / 0.03) ** 2)
    >>> pattern = xr.Dataset({"intensity": quantity(("frame", "q"), counts[None], "count", "intensity")},
    ...                      {"q": quantity("q", q, "1/angstrom", "scattering vector")})
    >>> flat = subtract_background(pattern, method="snip", max_half_window=40)
    >>> bool(abs(flat.intensity.sel(q=2.2, method="nearest")) < 1)
    True
    """
    choose("method", method, METHODS)
    if "background" in patterns:
        raise ValueError("patterns hold a 'background' already; start from the intensity as measured")
    axis = axis_of(patterns, "curves.subtract_background")
    x, intensity = values_of(patterns, axis, "curves.subtract_background")
    given = {**DEFAULTS.get(method, {}), **parameters}
    if method == "snip":
        given.setdefault("max_half_window", max(5, len(x) // 40))
    background = _backgrounds(x, intensity, method, given)
    dims, units = patterns["intensity"].dims, str(patterns["intensity"].attrs.get("units", "1"))
    order = [dim for dim in ("frame", axis) if dim in dims]
    if "frame" not in dims:
        background = background[0]
    result = patterns.copy()
    result["background"] = quantity(order, background, units, "background").transpose(*dims)
    left = patterns["intensity"].variable - result["background"].variable
    result["intensity"] = (dims, left.data, patterns["intensity"].attrs)
    return record(result, "curves.subtract_background", method=method, **parameters)


def _backgrounds(x: np.ndarray, intensity: np.ndarray, method: str, parameters: dict[str, Any]) -> np.ndarray:
    from pybaselines import Baseline

    estimate = getattr(Baseline(x_data=x), method)
    known = np.isfinite(intensity)
    filled = bridged(intensity, known)
    background = np.full(intensity.shape, np.nan)
    for frame in np.flatnonzero(known.any(axis=1)):
        try:
            background[frame] = estimate(filled[frame], **parameters)[0]
        except TypeError as error:
            raise ValueError(f"method {method!r} refuses the parameters {sorted(parameters)}: {error}") from error
    return np.where(known, background, np.nan)
