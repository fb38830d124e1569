"""Curves with a known truth."""

import numpy as np
import xarray as xr

from batlab.schema import quantity


def curves(q, rows, sigma=None, units="1/cm", **attrs):
    rows = np.atleast_2d(np.asarray(rows, float))
    variables = {"intensity": quantity(("frame", "q"), rows, units, "intensity")}
    if sigma is not None:
        spread = np.broadcast_to(np.asarray(sigma, float), rows.shape).copy()
        variables["intensity_sigma"] = quantity(("frame", "q"), spread, units, "sigma")
    coords = {
        "frame": quantity("frame", np.arange(len(rows)), "1", "frame"),
        "q": quantity("q", np.asarray(q, float), "1/angstrom", "scattering vector"),
    }
    return xr.Dataset(variables, coords, attrs)


def noisy(q, row, relative, n, seed=0, floor=0.0):
    sigma = relative * np.asarray(row) + floor
    rng = np.random.default_rng(seed)
    return curves(q, row + sigma * rng.normal(size=(n, len(q))), sigma)
