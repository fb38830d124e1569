"""Peaks of dQ/dV and dV/dQ, found and fitted by `curves`."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab import curves
from batlab.errors import SchemaError
from batlab.schema import quantity, record

LEAST_SIGMA = 1e-3  # of the largest value: a record without noise still bins and interpolates
AXES = {"dqdv": "voltage", "dvdq": "capacity"}


def peaks(curve: xr.Dataset, *, near: Any = None, **how: Any) -> xr.Dataset:
    """Return the peaks of dQ/dV or dV/dQ, followed from cycle to cycle.

    Pseudo-Voigts by `curves.fit_peaks`, at the places that `curves.find_peaks` sees in the mean of all cycles or at
    those in `near`. Their σ uses that of the curve, at least 0.1 % of its largest value, and how far smoothing
    correlates it. Widths hold the smoothing.

    Parameters
    ----------
    curve
        From `dqdv` or `dvdq`.
    near
        Positions [V or Ah] or a table with ``position``; by default found.
    **how
        Keywords of `curves.fit_peaks`: ``width``, ``window``, ``search``, ``background``, ``significance``.

    Returns
    -------
    xarray.Dataset
        Over (``cycle``, ``peak``): ``position`` [V or Ah], ``height``, ``fwhm``, ``eta``, ``area``, each with
        ``_sigma``; ``chi2_reduced`` and ``status`` as in `curves.fit_peaks`.

    Raises
    ------
    SchemaError
        The dataset holds neither curve; nothing stands out of the noise; a NaN in every cycle.

    Examples
    --------
    >>> v = np.linspace(3.4, 4.0, 301)
    >>> height = 1 + 5 * np.exp(-4 * np.log(2) * ((v - 3.7) / 0.05) ** 2)
    >>> curve = xr.Dataset(
    ...     {"dqdv": quantity(("cycle", "voltage"), height[None], "Ah/V", "dQ/dV"),
    ...      "dqdv_sigma": quantity(("cycle", "voltage"), 0.01 + 0 * height[None], "Ah/V", "σ")},
    ...     {"cycle": quantity("cycle", [1], "1", "cycle"), "voltage": quantity("voltage", v, "V", "voltage")})
    >>> float(peaks(curve).position.round(3)[0, 0])
    3.7
    """
    name = next((one for one in AXES if one in curve), None)
    if name is None:
        raise SchemaError(f"echem.peaks needs 'dqdv' or 'dvdq', got {', '.join(map(str, curve.data_vars))}")
    axis = AXES[name]
    known = np.isfinite(curve[name].values).any(axis=1)
    if not known.any():
        raise SchemaError(f"echem.peaks: {name!r} is NaN in all of {len(known)} cycles")
    patterns = _patterns(curve.isel(cycle=known), name, axis)
    if near is None:
        near = curves.find_peaks(patterns)["position"].values
        if not len(near):
            raise SchemaError("echem.peaks finds no peak above 6 sigma; give near= or smooth less")
    elif isinstance(near, xr.Dataset):
        near = near["position"].values
    found = curves.fit_peaks(patterns, near=near, **how)
    found = found.drop_vars(["hkl", "phase"]).rename(frame="cycle")
    found = found.assign_coords(cycle=curve["cycle"].isel(cycle=known).variable)
    found.attrs = {**curve.attrs, "axis": axis, "typical_fwhm": found.attrs["typical_fwhm"]}
    return record(found.reindex(cycle=curve["cycle"]) if not known.all() else found, "echem.peaks", near=near, **how)


def _patterns(curve: xr.Dataset, name: str, axis: str) -> xr.Dataset:
    """Return the curve in the form of `curves`: its axis stands as q, a scale without Bragg's law."""
    units = str(curve[name].attrs["units"])
    largest = np.nanmax(np.abs(curve[name].values), axis=1, keepdims=True)
    sigma = np.maximum(curve[f"{name}_sigma"].values, LEAST_SIGMA * largest)
    variables = {
        "intensity": quantity(("frame", "q"), curve[name].values, units, name),
        "intensity_sigma": quantity(("frame", "q"), sigma, units, "σ"),
    }
    if "sigma_inflation" in curve:
        variables["sigma_inflation"] = quantity("q", curve["sigma_inflation"].values, "1", "inflation")
    at = quantity("q", curve[axis].values, str(curve[axis].attrs["units"]), axis)
    return xr.Dataset(variables, {"q": at})
