"""Any model of sasmodels fitted to a series, frame after frame, each with its uncertainties."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import MissingExtraError, did_you_mean
from batlab.saxs.series import curves_of, frame_quantity, growth, on_frames, sigma_or_scatter, with_sigma
from batlab.saxs.slit import slit_nodes
from batlab.schema import quantity, record


def _library() -> Any:
    # Unless the user says otherwise the models run on the CPU: looking for OpenCL takes seconds and may fail.
    os.environ.setdefault("SAS_OPENCL", "none")
    try:
        import sasmodels.core
        import sasmodels.direct_model
    except ImportError as error:
        raise MissingExtraError("saxs.fit and saxs.form need sasmodels: pip install 'batlab[sas]'") from error
    return sasmodels


def _load(model: str) -> Any:
    library = _library()
    try:
        return library.core.load_model(model, dtype="double", platform="dll")
    except (ValueError, ImportError, FileNotFoundError, KeyError) as error:
        hint = did_you_mean(model, library.core.list_models())
        raise ValueError(f"model {model!r} is none of sasmodels{hint}") from error


def _known(model: Any, name: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Return the model's defaults, and refuse parameters that it does not have."""
    table = model.info.parameters
    defaults = {str(p.name): float(p.default) for p in table.call_parameters if not str(p.name).startswith("up_")}
    allowed = set(defaults)
    for p in table.call_parameters:
        if p.polydisperse:
            allowed |= {f"{p.name}_pd", f"{p.name}_pd_n", f"{p.name}_pd_nsigma", f"{p.name}_pd_type"}
    for word in given:
        if word not in allowed:
            hint = did_you_mean(word, allowed) or f"; it has {', '.join(sorted(defaults))}"
            raise ValueError(f"model {name!r} has no parameter {word!r}{hint}")
    return defaults


def form(
    model: str, size: str, *, per_diameter: float = 0.5, **parameters: float
) -> Callable[[np.ndarray, float], np.ndarray]:
    """Return a form of sasmodels as `size_distribution` takes it: (q, diameter) to 1/cm per volume and contrast.

    Parameters
    ----------
    model
        A form factor with ``sld`` and ``sld_solvent``, for example ``"cylinder"`` or ``"ellipsoid"``.
    size
        The parameter that follows the diameter, ``"radius"``.
    per_diameter
        Its value per diameter: 0.5 for radii, 1 for lengths.
    **parameters
        All else; scattering length densities in 1e-6/angstrom², by default a contrast of 1.

    Raises
    ------
    MissingExtraError
        Without sasmodels (``pip install 'batlab[sas]'``).
    ValueError
        An unknown model or parameter.
    """
    loaded = _load(model)
    defaults = _known(loaded, model, {size: 1.0, **parameters})
    contrast = {"sld": 1.0, "sld_solvent": 0.0} if "sld" in defaults else {}
    fixed = {**contrast, **parameters, "scale": 1.0, "background": 0.0}
    call = _library().direct_model.call_kernel

    def evaluate(q: np.ndarray, diameter: float) -> np.ndarray:
        at, inverse = np.unique(np.asarray(q, float), return_inverse=True)
        return call(loaded.make_kernel([at]), {**fixed, size: per_diameter * diameter})[inverse]

    evaluate.__name__ = f"{model}.{size}"
    return evaluate


def fit(
    patterns: xr.Dataset,
    model: str,
    start: Mapping[str, float],
    *,
    fixed: Mapping[str, Any] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    window: tuple[float, float] | None = None,
    follow: bool = True,
) -> xr.Dataset:
    """Fit a model of sasmodels to every frame by weighted least squares, each frame begun from the one before.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q) in 1/cm, ``intensity_sigma``; slit-smeared where ``slit_length`` says so.
    model
        As sasmodels names it: ``"sphere"``, ``"core_shell_sphere"``, with a structure factor ``"sphere@hardsphere"``,
        sums ``"sphere+power_law"``.
    start
        Parameters that are fitted, with their first values: lengths in angstrom, scattering length densities in
        1e-6/angstrom²; ``scale``, ``background``; polydispersities ``"radius_pd"``.
    fixed
        Other values, also ``"radius_pd_n"``, ``"radius_pd_type"``; what is not named keeps the model's default.
    bounds
        (low, high) of fitted parameters; by default the model's limits.
    window
        (low, high) in 1/angstrom.
    follow
        Begin each frame where the last good one ended; else all from `start`.

    Returns
    -------
    Dataset
        Each fitted parameter as ``fit_<name>`` (frame) with σ (from the curvature, grown by √χ² where χ² is clearly
        above 1); ``chi2_reduced``, ``status`` (0 ok, 1 at a bound, 2 not converged, 3 no data; NaN from 2 up),
        ``intensity_fit``.

    Raises
    ------
    MissingExtraError
        Without sasmodels (``pip install 'batlab[sas]'``).
    ValueError
        An unknown model or parameter, a start outside its bounds.

    References
    ----------
    sasmodels, https://github.com/SasView/sasmodels
    """
    loaded = _load(model)
    if not start:
        raise ValueError("saxs.fit needs start=, at least one parameter to fit with its first value")
    _known(loaded, model, {**start, **(fixed or {})})
    q, values, sigma = curves_of(patterns, "saxs.fit", window)
    sigma = sigma_or_scatter(q, values, sigma, "saxs.fit")
    names = list(start)
    limits = np.array([_limits(loaded, name, bounds) for name in names])
    first = np.array([float(start[name]) for name in names])
    if not ((first >= limits[:, 0]) & (first <= limits[:, 1])).all():
        raise ValueError(f"start must lie within the bounds, got {dict(start)} and {dict(zip(names, limits.tolist()))}")
    curve = _curve(loaded, q, dict(fixed or {}), names, patterns.attrs.get("slit_length"))
    rows = []
    current = first
    for y, s in zip(values, sigma):
        rows.append(_one(curve, y, s, current, limits))
        if follow and rows[-1]["status"] == 0:
            current = rows[-1]["x"]
    status = np.array([row["status"] for row in rows])
    if (status > 0).any():
        words = ["ok", "at_bound", "not_converged", "no_data"]
        told = ", ".join(f"{int((status == k).sum())} {words[k]}" for k in (1, 2, 3) if (status == k).any())
        warnings.warn(f"saxs.fit: {told} of {status.size} frames; see 'status'", stacklevel=2)
    variables: dict[str, Any] = {}
    for i, name in enumerate(names):
        unit = _unit(loaded, name, patterns)
        values, sigma = (np.array([row[key][i] for row in rows]) for key in ("x", "sigma"))
        # A radius in angstrom must not have the name that the data model gives to millimetres on a detector.
        variables.update(with_sigma(f"fit_{name}", values, sigma, unit, f"{name} of the model"))
    variables["chi2_reduced"] = frame_quantity([row["chi2"] for row in rows], "1", "reduced chi squared")
    flags = "ok at_bound not_converged no_data"
    variables["status"] = frame_quantity(status, "1", "state of the fit", flag_meanings=flags)
    units = patterns["intensity"].attrs.get("units", "1")
    fits = np.stack([row["fit"] for row in rows])
    variables["intensity_fit"] = quantity(("frame", "q"), fits, units, "intensity of the fit")
    done = on_frames(patterns, variables, model=model)
    done = done.assign_coords(q=quantity("q", q, "1/angstrom", "scattering vector"))
    return record(
        done, "saxs.fit", model=model, start=dict(start), fixed=dict(fixed or {}), bounds=dict(bounds or {}),
        window=window, follow=follow,
    )  # fmt: skip


def _limits(model: Any, name: str, bounds: Mapping[str, Sequence[float]] | None) -> tuple[float, float]:
    if bounds and name in bounds:
        low, high = (float(one) for one in bounds[name])
        if not low < high:
            raise ValueError(f"bounds of {name!r} must be (low, high) with low < high, got {bounds[name]!r}")
        return low, high
    if name.endswith("_pd"):
        return 0.0, 1.0
    limits = next(p.limits for p in model.info.parameters.call_parameters if str(p.name) == name)
    return float(limits[0]), float(limits[1])


def _unit(model: Any, name: str, patterns: xr.Dataset) -> str:
    if name == "background":
        return str(patterns["intensity"].attrs.get("units", "1"))
    told = next((str(p.units) for p in model.info.parameters.call_parameters if str(p.name) == name), "")
    spelt = {"Ang": "angstrom", "1e-6/Ang^2": "1e-6/angstrom^2", "degrees": "degree", "": "1", "None": "1"}
    return spelt.get(told, told.replace("Ang", "angstrom"))


def _curve(
    model: Any, q: np.ndarray, fixed: dict[str, Any], names: list[str], slit: float | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from fitted values to the intensity at `q`, through the slit where there is one."""
    call = _library().direct_model.call_kernel
    if slit:
        u, weights = slit_nodes(q, slit)
        kernel = model.make_kernel([u.ravel()])
        return lambda x: np.sum(weights * call(kernel, {**fixed, **dict(zip(names, x))}).reshape(u.shape), axis=1)
    kernel = model.make_kernel([q])
    return lambda x: np.array(call(kernel, {**fixed, **dict(zip(names, x))}))


def _one(curve: Callable, y: np.ndarray, s: np.ndarray, first: np.ndarray, limits: np.ndarray) -> dict[str, Any]:
    from scipy.optimize import least_squares

    used = np.isfinite(y) & np.isfinite(s)
    free = used.sum() - first.size
    nothing = np.full(first.size, np.nan)
    if free <= 0:
        return {"x": nothing, "sigma": nothing, "chi2": np.nan, "status": 3, "fit": np.full(y.size, np.nan)}
    scale = np.maximum(np.abs(first), 1e-3)
    inside = np.clip(first, limits[:, 0] + 1e-9 * scale, limits[:, 1] - 1e-9 * scale)
    found = least_squares(
        lambda x: (curve(x)[used] - y[used]) / s[used], inside, bounds=(limits[:, 0], limits[:, 1]), x_scale=scale,
        max_nfev=200,
    )  # fmt: skip
    chi2 = 2 * found.cost / free
    size = np.maximum(np.linalg.norm(found.jac, axis=0), 1e-300)
    covariance = np.linalg.pinv((found.jac / size).T @ (found.jac / size), rcond=1e-13) / np.outer(size, size)
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0)) * growth(chi2, free)
    at_bound = (np.minimum(found.x - limits[:, 0], limits[:, 1] - found.x) <= 1e-6 * scale).any()
    status = 2 if found.status < 1 or not np.isfinite(found.cost) else int(at_bound)
    shown = (found.x, sigma) if status < 2 else (nothing, nothing)
    return {"x": shown[0], "sigma": shown[1], "chi2": chi2, "status": status, "fit": curve(found.x)}
