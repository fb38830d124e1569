"""Spectra brought to an edge step of one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.xas import edge_finders
from batlab.xas.edge_fits import Plan
from batlab.xas.edge_windows import Window, choose_windows
from batlab.xas.grids import OWN, curves_of, energies_of, is_lazy, over_frames, per_frame

FUNCTION = "xas.normalize"
# Result -> unit, long name.
RESULTS = {
    "mu_norm": ("1", "normalised absorption"),
    "mu_flat": ("1", "normalised absorption, flattened"),
    "e0": ("eV", "edge energy"),
    "edge_step": ("1", "edge step"),
}


def normalize(
    series: xr.Dataset,
    *,
    e0: float | np.ndarray | xr.DataArray | None = None,
    method: str = "derivative",
    pre: Window = None,
    post: Window = None,
    nnorm: int | None = None,
    nvict: int = 0,
    flatten: bool = True,
) -> xr.Dataset:
    """Return the series with its absorption normalised to a unit edge step, as larch and Athena do.

    A line is fitted to μ E^nvict over `pre`, a polynomial of degree `nnorm` to μ less that line over `post`. The edge
    step is the polynomial's value at E0, and mu_norm = (μ - line) / step. Flattened, the polynomial's departure from
    the step is taken off from E0 on. Windows that are left out are chosen once, on the first frame with data, so that
    all frames are treated alike: pre1 the second point rounded to 5 eV, pre2 half of it, norm2 the last point rounded
    to 5 eV, norm1 25 eV (less for short scans), nnorm 2, or 1 below 300 eV and 0 below 30 eV.

    Parameters
    ----------
    series
        ``mu`` over (``frame``, ``energy``) or (``energy``), energies in eV, increasing; ``mu_sigma`` where known.
        Where frames have grids of their own, these stand in ``energy_measured`` over (``frame``, ``energy``) and
        behind a frame's last point everything is NaN. dask-backed series stay lazy, in blocks of frames.
    e0
        Edge energy in eV, one or one a frame. Without it each frame's own is found.
    method
        How: ``"derivative"``, ``"half_step"`` or ``"integral"``; see `edge_energy`.
    pre, post
        (from, to) in eV relative to E0, as (pre1, pre2) and (norm1, norm2); None for an end that is to be chosen. A
        window has the points from the last at or below its start to before the nearest to its end, as in larch.
    nnorm
        Degree of the polynomial, 0 to 5.
    nvict
        Victoreen exponent, 0 to 4.
    flatten
        Whether to make ``mu_flat``.

    Returns
    -------
    xarray.Dataset
        All of `series`, with ``mu_norm`` and ``mu_flat`` [1] in the type of ``mu``, ``e0`` [eV] and ``edge_step`` [1].
        Where ``mu_sigma`` is known, with the σ of all four: errors of different points taken as independent, E0 as
        exact in those of the curves and the step. Attributes ``pre1``, ``pre2``, ``norm1``, ``norm2``, ``nnorm``,
        ``nvict``, ``e0_method``.

    Raises
    ------
    ValueError
        E0 outside the spectra; a window with fewer points than its fit needs; unknown words.
    DimensionError, SchemaError
        Without ``mu`` over ``energy``, or with energies that do not increase.

    Warns
    -----
    UserWarning
        Frames without an edge, or with a step that is not positive (their results are NaN; not said of lazy series);
        less than 10 eV of spectrum after E0; frames that rise through one half more than once.

    Notes
    -----
    One grid and one E0 are one matrix product for the whole series; free E0 and unequal grids go through a kernel.

    References
    ----------
    M. Newville, J. Phys.: Conf. Series 430, 012007 (2013), doi:10.1088/1742-6596/430/1/012007;
    B. Ravel, M. Newville, J. Synchrotron Rad. 12, 537 (2005), doi:10.1107/S0909049505012719

    Examples
    --------
    >>> energy = np.arange(8100.0, 9000.0)
    >>> mu = 0.3 + 1.2 * (0.5 + np.arctan((energy - 8333.0) / 2.0) / np.pi)
    >>> scan = xr.Dataset({"mu": quantity("energy", mu, "1", "absorption")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> done = normalize(scan)
    >>> float(done.e0.round(3)), float(done.edge_step.round(3))
    (8333.0, 1.174)
    """
    choose("method", method, edge_finders.METHODS)
    if isinstance(nvict, bool) or nvict not in range(5):
        raise ValueError(f"{FUNCTION}: nvict must be a whole number from 0 to 4, got {nvict!r}")
    energy = energies_of(series, FUNCTION)
    mu = curves_of(series, "mu", FUNCTION, "make it with xas.mu")
    sigma = curves_of(series, "mu_sigma", FUNCTION, "") if "mu_sigma" in series else None
    given = None if e0 is None else _checked(series, energy, e0)
    lazy = is_lazy(mu, sigma)
    plan = _plan(energy, mu, given, method, (pre, post, nnorm, nvict), flatten, 1 if lazy else threads.effective())
    found = _found(series, mu, sigma, given, plan)
    if not lazy:
        _warn(found)
    attrs = dict(zip(plan.windows._fields, plan.windows)) | {
        "nvict": int(nvict), "e0_method": method if given is None else "given",
    }  # fmt: skip
    stale = [f"{name}{end}" for name in RESULTS for end in ("", "_sigma") if f"{name}{end}" in series]
    result = series.drop_vars(stale).assign(found).assign_attrs(attrs)
    arguments: dict[str, Any] = {"e0": e0, "method": method, "pre": pre, "post": post, "nnorm": nnorm}
    return record(result, FUNCTION, **arguments, nvict=nvict, flatten=flatten)


def _checked(series: xr.Dataset, energy: np.ndarray, e0: Any) -> xr.DataArray:
    given = per_frame(series, "e0", e0, "eV", "edge energy", FUNCTION)
    lowest, highest = np.nanmin(energy, axis=1), np.nanmax(energy, axis=1)
    outside = np.flatnonzero(np.atleast_1d((given.values <= lowest) | (given.values >= highest)))
    if len(outside) or np.isinf(given.values).any():
        worst = np.atleast_1d(given.values)[outside[0]] if len(outside) else np.inf
        raise ValueError(
            f"{FUNCTION}: e0 = {worst:.2f} eV lies outside the spectrum, {lowest.min():.2f} to {highest.max():.2f} eV; "
            "give the edge energy in eV, or none to have it found"
        )
    return given


def _plan(
    energy: np.ndarray,
    mu: xr.DataArray,
    given: xr.DataArray | None,
    method: str,
    wishes: tuple[Window, Window, int | None, int],
    flatten: bool,
    n_threads: int,
) -> Plan:
    """Return how all frames are treated, decided on the common range and a typical E0."""
    pre, post, nnorm, nvict = wishes
    row = energy[0][np.isfinite(energy[0])]
    if len(energy) > 1:
        # Points that every frame has: from the latest second point to the earliest last one.
        row = energy[int(np.isfinite(energy).sum(axis=1).argmin())]
        row = row[np.isfinite(row)]
        row = row[(row >= np.nanmax(energy[:, 0])) & (row <= np.nanmin(np.nanmax(energy, axis=1)))]
    typical = float(np.nanmedian(given.values)) if given is not None else _first_edge(energy, mu)
    if not np.isfinite(typical):
        raise ValueError(
            f"{FUNCTION}: no edge found in the first frames: they are empty or do not rise; pass e0=… in eV"
        )
    windows = choose_windows(row, typical, pre, post, nnorm)
    if row[-1] - typical < 10.0:
        warnings.warn(
            f"{FUNCTION}: the spectrum ends {row[-1] - typical:.1f} eV after E0 = {typical:.2f} eV; edge step and E0 "
            "mean little",
            UserWarning,
            stacklevel=4,
        )
    return Plan(None if len(energy) > 1 else energy, method, windows, nvict, flatten, n_threads)


def _first_edge(energy: np.ndarray, mu: xr.DataArray) -> float:
    """Return E0, by the derivative, of the first frame that has one; of a lazy series few frames are computed."""
    rows = mu if "frame" in mu.dims else mu.expand_dims("frame")
    for frame in range(min(rows.sizes["frame"], 50)):
        curve = np.asarray(rows.isel(frame=[frame]).values)
        grid = energy[[frame]] if len(energy) > 1 else energy
        edge = edge_finders.derivative(grid, curve, None, 1)[0][0]
        if np.isfinite(edge):
            return float(edge)
    return float("nan")


def _found(
    series: xr.Dataset, mu: xr.DataArray, sigma: xr.DataArray | None, given: xr.DataArray | None, plan: Plan
) -> dict[str, xr.Variable]:
    """Return the new variables; `rises` is among them without attributes until it has been looked at."""
    kind = mu.dtype if mu.dtype in (np.float32, np.float64) else np.dtype(float)
    outputs: dict[str, tuple[bool, Any]] = {"mu_norm": (True, kind), "edge_step": (False, float), "e0": (False, float)}
    if plan.flatten:
        outputs["mu_flat"] = (True, kind)
    if sigma is not None:
        outputs |= {f"{name}_sigma": kind for name, kind in list(outputs.items())}
    if given is not None:
        outputs.pop("e0_sigma", None)
    if plan.method == "half_step" and given is None:
        outputs["rises"] = (False, float)
    own = series[OWN] if plan.energy is None else None
    results = over_frames(plan.work, {"mu": mu, "sigma": sigma, "e0": given, "energy": own}, outputs)
    named = {}
    for name, (units, long_name) in RESULTS.items():
        for end, word in (("", ""), ("_sigma", "σ of the ")):
            if f"{name}{end}" in results:
                variable = results[f"{name}{end}"]
                named[f"{name}{end}"] = quantity(tuple(map(str, variable.dims)), variable.data, units, word + long_name)
    return named | ({"rises": results["rises"]} if "rises" in results else {})


def _warn(found: dict[str, xr.Variable]) -> None:
    """Say which frames have no edge or no positive step; take `rises` away."""
    rises = found.pop("rises", None)
    edge, step = (np.atleast_1d(found[name].values) for name in ("e0", "edge_step"))
    told = []
    if np.isnan(edge).any():
        told.append(f"no E0 in {np.isnan(edge).sum()} of {len(edge)} frames (first {np.isnan(edge).argmax()})")
    lost = np.isnan(step) & ~np.isnan(edge)
    if lost.any():
        told.append(
            f"too few points in a window, or E0 outside the spectrum, in {lost.sum()} of {len(step)} frames (first "
            f"{lost.argmax()})"
        )
    if (step <= 0).any():
        told.append(f"an edge step of {np.nanmin(step):.3g} in {(step <= 0).sum()} of {len(step)} frames")
    if told:
        warnings.warn(f"{FUNCTION}: {'; '.join(told)}; their normalised curves are NaN", UserWarning, stacklevel=3)
    many = 0 if rises is None else int((np.atleast_1d(rises.values) > 1).sum())
    if many:
        warnings.warn(
            f"{FUNCTION}: {many} of {len(edge)} frames rise through 0.5 more than once; E0 is where they first do",
            UserWarning,
            stacklevel=3,
        )
