"""How the errors of G(r) at different r hang together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.pdf.composition import Power
from batlab.pdf.operator import Settings, operator
from batlab.schema import quantity, record


def covariance(result: xr.Dataset, r: Sequence[float] | np.ndarray | None = None) -> xr.DataArray:
    """Return the covariance of G(r) between points of r, frame by frame.

    M diag(σ²) Mᵀ with M = ∂G/∂F, termination window included; σ² is that of F(Q), whose points are independent. The
    polynomial's own share, which joins all points below r = rpoly, is left out: beyond rpoly it is of the order of the
    number of its coefficients over the number of points.

    Parameters
    ----------
    result
        What `pdf.g_of_r` made, with ``f_q_sigma``.
    r
        Points [angstrom], increasing; by default those of ``result.r`` (of which there may be at most 2000: n_frames
        n_r² numbers come).

    Returns
    -------
    xarray.DataArray
        ``g_r_covariance`` (frame, r, r_other) [1/angstrom^4].

    Raises
    ------
    SchemaError
        `result` has no ``f_q_sigma`` or does not hold its settings.
    ValueError
        Too many points, or points that do not increase.

    Examples
    --------
    >>> q = np.linspace(0.5, 24, 2400)
    >>> pattern = xr.Dataset({"intensity": quantity("q", 0 * q + 1, "1", "I"), "intensity_sigma": quantity("q",
    ...                      0 * q + 0.01, "1", "s")}, {"q": quantity("q", q, "1/angstrom", "q")})
    >>> from batlab.pdf import g_of_r
    >>> done = covariance(g_of_r(pattern, "Ni", mode="neutron"), r=[2.0, 2.05, 5.0])
    >>> bool(done[0, 1] > 0.5 * done[0, 0]), bool(abs(done[0, 2]) < 0.1 * done[0, 0])
    (True, True)
    """
    name = "pdf.covariance"
    if "f_q_sigma" not in result or "qmax" not in result.attrs:
        raise SchemaError(f"{name} needs what pdf.g_of_r makes of patterns with intensity_sigma, got no f_q_sigma")
    places = np.asarray(result["r"].values if r is None else r, dtype=float)
    if places.ndim != 1 or not 0 < len(places) <= 2000 or (np.diff(places) <= 0).any():
        raise ValueError(f"{name}: r must be 1 to 2000 increasing points, got {places.size}; choose some with r=")
    q = result["q"].values
    flat = Power(*(np.ones(len(q)) for _ in range(3)))
    settings = Settings(q[0], result.attrs["qmax"], q[-1], None, result.attrs.get("window"), None, 0.0)
    matrix = operator(q, flat, places, settings).matrix(places)
    sigma = np.atleast_2d(result["f_q_sigma"].values)
    made = np.stack([(matrix * np.nan_to_num(one) ** 2) @ matrix.T for one in sigma])
    dims: tuple[str, ...] = ("frame", "r", "r_other")
    is_single = "frame" not in result["f_q_sigma"].dims
    variable = quantity(
        dims[1:] if is_single else dims, made[0] if is_single else made, "1/angstrom^4", "covariance of G(r)"
    )
    coords = {axis: quantity(axis, places, "angstrom", "distance") for axis in ("r", "r_other")}
    if not is_single and "frame" in result.coords:
        coords["frame"] = result["frame"].variable
    table = xr.Dataset({"g_r_covariance": variable}, coords, {"history": result.attrs.get("history", "")})
    return record(table, name, r=r)["g_r_covariance"]
