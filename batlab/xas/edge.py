"""The energy of an edge, by three definitions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import SchemaError, choose
from batlab.schema import quantity, record
from batlab.xas import edge_finders
from batlab.xas.grids import OWN, curves_of, energies_of, is_lazy, over_frames
from batlab.xas.normalization import normalize

FUNCTION = "xas.edge_energy"


def edge_energy(series: xr.Dataset, *, method: str = "derivative", **windows: Any) -> xr.Dataset:
    """Return the edge energy of every frame.

    ``"derivative"``: where μ rises steepest. As in larch, central differences are searched as they are, then within 75
    points about their maximum smoothed by a Lorentzian (half width: the mean of the small energy steps and E/25000,
    each kept within 0.01 and 1 eV); a point whose neighbours do not rise steeply too does not count, so that glitches
    do not. Between the points the top of the parabola through three is taken, where larch gives the point itself.
    ``"half_step"``: where the normalised spectrum first rises through 0.5, linearly between points.
    ``"integral"``: the mean energy of the rise from μ₁ = 0.15 to μ₂ = 1 of the step, E₂ - ∫ (μ - μ₁) dE / (μ₂ - μ₁)
    taken from E₁ to E₂, where the normalised spectrum first passes them: less moved by a change of shape [1]_ [2]_.

    Parameters
    ----------
    series
        ``mu`` over (``frame``, ``energy``) or (``energy``) in eV. The last two methods take ``mu_norm`` where
        `xas.normalize` has made it, ``mu`` where the attribute ``is_normalized`` is 1, and else normalise first.
    method
        One of the three.
    **windows
        ``pre``, ``post``, ``nnorm``, ``nvict`` for that normalisation; see `normalize`.

    Returns
    -------
    xarray.Dataset
        What of `series` does not run over energy, and ``e0`` [eV]; with ``e0_sigma`` where the σ of the spectra is
        known (from errors of single points: it says nothing of the choice of windows). NaN where there is no edge.

    Raises
    ------
    ValueError, DimensionError, SchemaError
        Unknown words; without spectra over ``energy``; with energies that do not increase.

    Warns
    -----
    UserWarning
        Frames without an edge; frames that rise through 0.5 more than once, where the first is taken. Neither is said
        of lazy series.

    References
    ----------
    .. [1] T. W. Capehart et al., Phys. Rev. B 52, 7907 (1995), doi:10.1103/PhysRevB.52.7907
    .. [2] H. Dau, P. Liebisch, M. Haumann, Anal. Bioanal. Chem. 376, 562 (2003), doi:10.1007/s00216-003-1982-2

    Examples
    --------
    >>> energy = np.arange(8100.0, 9000.0)
    >>> mu = 0.3 + 1.2 * (0.5 + np.arctan((energy - 8333.0) / 2.0) / np.pi)
    >>> scan = xr.Dataset({"mu": quantity("energy", mu, "1", "absorption")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> float(edge_energy(scan, method="half_step").e0.round(1))
    8333.0
    """
    choose("method", method, edge_finders.METHODS)
    curves = _curves(series, method, windows)
    energy = energies_of(curves, FUNCTION)
    name = "mu" if "mu" in curves else "mu_norm"
    values = curves_of(curves, name, FUNCTION, "make it with xas.mu")
    sigma = curves_of(curves, f"{name}_sigma", FUNCTION, "") if f"{name}_sigma" in curves else None
    lazy = is_lazy(values, sigma)
    n_threads = 1 if lazy else threads.effective()

    def work(block: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        grid = np.ascontiguousarray(block["energy"], dtype=float) if "energy" in block else energy
        rises = np.zeros(len(block["mu"]))
        if method == "derivative":
            e0, spread = edge_finders.derivative(grid, block["mu"], block.get("sigma"), n_threads)
        elif method == "half_step":
            e0, spread, rises = edge_finders.half_step(grid, block["mu"], block.get("sigma"))
        else:
            e0, spread = edge_finders.integral(grid, block["mu"], block.get("sigma"))
        return {"e0": e0, "e0_sigma": spread, "rises": rises}

    outputs: dict[str, tuple[bool, Any]] = dict.fromkeys(("e0", "e0_sigma", "rises"), (False, float))
    own = series[OWN] if len(energy) > 1 else None
    found = over_frames(work, {"mu": values, "sigma": sigma, "energy": own}, outputs)
    if not lazy:
        _warn(found["e0"].values, found["rises"].values)
    result = series.drop_vars([name for name, one in series.variables.items() if "energy" in one.dims])
    result = result.drop_vars(["e0_sigma"], errors="ignore")
    dims = tuple(map(str, found["e0"].dims))
    result["e0"] = quantity(dims, found["e0"].data, "eV", "edge energy")
    if sigma is not None:
        result["e0_sigma"] = quantity(dims, found["e0_sigma"].data, "eV", "σ of the edge energy")
    result.attrs["e0_method"] = method
    return record(result, FUNCTION, method=method, **windows)


def _curves(series: xr.Dataset, method: str, windows: dict[str, Any]) -> xr.Dataset:
    """Return a dataset whose one variable, with its σ, is what the method looks at."""
    known = ("pre", "post", "nnorm", "nvict")
    unknown = [word for word in windows if word not in known]
    if unknown:
        raise TypeError(f"{FUNCTION} does not know the keyword {unknown[0]!r}; it knows method, {', '.join(known)}")
    ready = "mu_norm" in series or bool(series.attrs.get("is_normalized", 0))
    if windows and (method == "derivative" or ready):
        why = "the derivative needs no windows" if method == "derivative" else "the spectra are normalised already"
        raise ValueError(f"{FUNCTION}: {why}, got {', '.join(windows)}; leave them out")
    if "mu" not in series and "mu_norm" not in series:
        raise SchemaError(f"{FUNCTION} needs a variable 'mu', got {', '.join(map(str, series.data_vars))}; see xas.mu")
    if method == "derivative":
        wanted = "mu" if "mu" in series else "mu_norm"
    else:
        series = series if ready else normalize(series, flatten=False, **windows)
        wanted = "mu_norm" if "mu_norm" in series else "mu"
    return series[[name for name in (wanted, f"{wanted}_sigma", OWN) if name in series.variables]]


def _warn(e0: np.ndarray, rises: np.ndarray) -> None:
    edges, many = np.atleast_1d(e0), int((np.atleast_1d(rises) > 1).sum())
    lost = np.isnan(edges)
    if lost.any():
        warnings.warn(
            f"{FUNCTION}: no edge in {lost.sum()} of {len(edges)} frames (first {lost.argmax()}): empty, or no rise",
            UserWarning,
            stacklevel=3,
        )
    if many:
        warnings.warn(
            f"{FUNCTION}: {many} of {len(edges)} frames rise through 0.5 more than once; E0 is where they first do",
            UserWarning,
            stacklevel=3,
        )
