"""What a fit of shells hands back: a dataset with units and sigma, and warnings of what is doubtful."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab.schema import quantity
from batlab.xas.paths import PATH_UNITS
from batlab.xas.shells_parameters import Line
from batlab.xas.shells_prepare import Work
from batlab.xas.shells_solve import AT_BOUND, NO_DATA, NOT_CONVERGED, Fit, propagated

CLOSE = 0.95  # correlation beyond which two variables are hardly told apart
TOLD = {name: f"{name} of the path" for name in PATH_UNITS} | {
    "distance": "half path length, reff + delta_r",
    "degen": "number of paths",
    "s02": "amplitude reduction of the path",
    "sigma2": "mean square relative displacement of the path",
}
UNITS = {**PATH_UNITS, "distance": "angstrom"}


def assemble(work: Work, fits: list[Fit]) -> xr.Dataset:
    """Return the dataset that `fit_shells` documents."""
    lines = [line for group in work.lines for line in group]
    first = work.series[0]
    coords: dict[str, Any] = {}
    if work.has_frames:
        if len(work.series) == 1:
            coords = {str(n): c.variable for n, c in first.coords.items() if c.dims in ((), ("frame",))}
        coords.setdefault("frame", quantity("frame", np.arange(len(work.spectra)), "1", "frame"))
    else:
        coords = {str(n): c.variable for n, c in first.coords.items() if c.dims == ()}
    coords["k"] = quantity("k", work.problem.comparison.k, "1/angstrom", "photoelectron wavenumber")
    coords["r"] = quantity("r", work.problem.comparison.r, "angstrom", "distance, not corrected for phase shifts")
    coords["path"] = quantity("path", np.arange(len(lines)), "1", "path")
    data = {
        "path_label": quantity("path", np.array([line.label for line in lines]), "", "atoms and half length"),
        "path_reff": quantity("path", [line.table.facts["reff"] for line in lines], "angstrom", "half length in FEFF"),
        **_numbers(work, fits, lines),
        **_curves(work, fits),
        **_statistics(work, fits),
    }
    attrs = {name: value for name, value in first.attrs.items() if name not in TOLD} if len(work.series) == 1 else {}
    return xr.Dataset(data, coords, attrs)


def x_of(work: Work, fits: list[Fit], spectrum: int) -> tuple[Fit, int]:
    """Return the fit that a spectrum belongs to, and its number in it."""
    return (fits[0], spectrum) if work.is_joint else (fits[spectrum], 0)


def _numbers(work: Work, fits: list[Fit], lines: list[Line]) -> dict[str, xr.Variable]:
    """Return parameters and path parameters, each with sigma."""
    plan, n = work.problem.plan, len(work.spectra)
    names = [*plan.variables, *plan.trees]
    own = {name: np.full((2, n), np.nan) for name in names}
    of_path = {name: np.full((2, n, len(lines)), np.nan) for name in UNITS}
    offsets = np.cumsum([0, *(len(group) for group in work.lines)])
    for i, spectrum in enumerate(work.spectra):
        fit, place = x_of(work, fits, i)
        scope = work.problem.scope(fit.x, place, spectrum.known)
        for name in names:
            own[name][:, i] = scope[name].value, _sigma(fit, scope[name].slope)
        offset = int(offsets[work.owners[i] % len(work.lines)])
        for j, line in enumerate(spectrum.lines, offset):
            for name, one in line.values(scope).items():
                value = one.value if fit.status < NOT_CONVERGED else np.nan
                of_path[name][:, i, j] = value, _sigma(fit, one.slope)
            shifted = line.table.facts["reff"] + of_path["delta_r"][0, i, j]
            of_path["distance"][:, i, j] = shifted, of_path["delta_r"][1, i, j]
    result: dict[str, xr.Variable] = {}
    for name in names:
        is_one = work.is_joint and name in plan.variables and plan.variables[name].shared
        pair = own[name][:, 0] if is_one or not work.has_frames else own[name]
        _add(result, name, () if pair.ndim == 1 else ("frame",), pair, plan.units[name], f"parameter {name}")
    for name, values in of_path.items():
        values = values if work.has_frames else values[:, 0]
        dims = ("frame", "path") if work.has_frames else ("path",)
        _add(result, f"path_{name}", dims, values, UNITS[name], TOLD[name])
    return result


def _sigma(fit: Fit, slope: Any) -> float:
    return propagated(slope, fit.covariance) if fit.status < NOT_CONVERGED else np.nan


def _add(result: dict[str, xr.Variable], name: str, dims: tuple, pair: np.ndarray, units: str, told: str) -> None:
    result[name] = quantity(dims, pair[0], units, told)
    result[f"{name}_sigma"] = quantity(dims, pair[1], units, f"1 sigma of {told}")


def _curves(work: Work, fits: list[Fit]) -> dict[str, xr.Variable]:
    comparison = work.problem.comparison
    chi = np.stack([spectrum.chi for spectrum in work.spectra])
    model = np.full_like(chi, np.nan)
    for i, spectrum in enumerate(work.spectra):
        fit, place = x_of(work, fits, i)
        if fit.status >= NOT_CONVERGED:
            continue
        scope = work.problem.scope(fit.x, place, spectrum.known)
        parts = [
            line.table.chi(comparison.k, {name: one.value for name, one in line.values(scope).items()})
            for line in spectrum.lines
        ]
        model[i] = np.sum(parts, axis=0)
    lead = ("frame",) if work.has_frames else ()
    cut = slice(None) if work.has_frames else 0
    weight = comparison.settings.kweights[0]
    units = "1/angstrom" if weight == 0 else f"1/angstrom^{weight + 1:g}"
    result = {
        "chi": quantity((*lead, "k"), chi[cut], "1", "EXAFS chi(k)"),
        "chi_model": quantity((*lead, "k"), model[cut], "1", "chi(k) of the fitted paths"),
        "window": quantity("k", comparison.window, "1", "window in k"),
    }
    for name, told, curves in (("chi_r", "chi(R)", chi), ("chi_r_model", "chi(R) of the fitted paths", model)):
        real, imag = comparison.chi_r(curves)
        for part, values in (("real", real), ("imag", imag), ("mag", np.hypot(real, imag))):
            result[f"{name}_{part}"] = quantity((*lead, "r"), values[cut], units, f"{told}, {part}", kweight=weight)
    return result


def _statistics(work: Work, fits: list[Fit]) -> dict[str, xr.Variable]:
    n_independent = work.settings.n_independent * (len(work.spectra) if work.is_joint else 1)
    dims = ("frame",) if work.has_frames and not work.is_joint else ()
    result = {
        name: quantity(dims, _cut([getattr(fit, name) for fit in fits], dims), "1", told)
        for name, told in (
            ("chi2", "chi square over the independent points"),
            ("chi2_reduced", "chi square over independent points less variables"),
            ("r_factor", "squares of what is left over squares of the data"),
            ("status", "0 ok, 1 at a bound, 2 not converged, 3 no data"),
        )
    }
    each = ("frame",) if work.has_frames else ()
    noise = np.array([sigmas[0] for sigmas in work.noise])
    weight = work.settings.kweights[0] + 1
    result["epsilon_k"] = quantity(each, _cut(noise[:, 0], each), "1", "noise of chi(k)")
    result["epsilon_r"] = quantity(each, _cut(noise[:, 1], each), f"1/angstrom^{weight:g}", "noise of chi(R)")
    result["n_independent"] = quantity((), n_independent, "1", "number of independent points")
    return result


def _cut(values: Any, dims: tuple) -> Any:
    return np.asarray(values) if dims else np.asarray(values)[0]


def tell(work: Work, fits: list[Fit]) -> None:
    """Warn of what makes a fit doubtful, each kind once, with numbers."""
    problem, s = work.problem, work.settings
    n_independent = s.n_independent * (len(work.spectra) if work.is_joint else 1)
    if len(problem.start) >= n_independent:
        _warn(
            f"{len(problem.start)} variables for {n_independent:.1f} independent points: σ cannot be had and the "
            "values mean little; fix some, or widen k_range or r_range"
        )
    rbkg = [float(one.attrs["rbkg"]) for one in work.series if "rbkg" in one.attrs]
    if s.fit_space != "k" and rbkg and s.r_range[0] < max(rbkg):
        _warn(f"r_range begins at {s.r_range[0]:g} angstrom, the background was taken off up to {max(rbkg):g}")
    for status, told in ((NO_DATA, "have NaN in the window"), (NOT_CONVERGED, "did not converge")):
        frames = [i for i, fit in enumerate(fits) if fit.status == status]
        if frames:
            _warn(f"{_frames(frames, len(fits))} {told}; the results are NaN")
    for i, name in enumerate(problem.labels):
        frames = [j for j, fit in enumerate(fits) if fit.status == AT_BOUND and fit.at_bound[i]]
        if frames:
            low, high = problem.bounds[:, i]
            _warn(f"{name} is at its bound ({low:g} to {high:g}) in {_frames(frames, len(fits))}; it has no σ there")
        frames = [
            j
            for j, fit in enumerate(fits)
            if fit.status < NOT_CONVERGED and not fit.at_bound[i] and np.isnan(fit.correlation[i, i])
        ]
        if frames:
            _warn(f"the data do not determine {name} beside the others in {_frames(frames, len(fits))}: it has no σ")
    for a, b, value, frames in close_pairs(problem.labels, fits, CLOSE):
        _warn(f"{a} and {b} are correlated by {value:.3f} in {_frames(frames, len(fits))}: hardly told apart")


def close_pairs(labels: list[str], fits: list[Fit], least: float) -> list[tuple[str, str, float, list[int]]]:
    """Return pairs of variables correlated beyond `least`: names, strongest value, frames; the strongest first."""
    correlation = np.stack([fit.correlation for fit in fits])
    result = []
    for i in range(len(labels)):
        for j in range(i):
            values = np.nan_to_num(correlation[:, i, j])
            frames = np.flatnonzero(np.abs(values) > least)
            if frames.size:
                strongest = float(values[np.argmax(np.abs(values))])
                result.append((labels[j], labels[i], strongest, frames.tolist()))
    return sorted(result, key=lambda pair: -abs(pair[2]))


def _frames(frames: list[int], n: int) -> str:
    if n == 1:
        return "the fit"
    listed = ", ".join(map(str, frames[:5])) + (", …" if len(frames) > 5 else "")
    return f"{len(frames)} of {n} frames ({listed})"


def _warn(text: str) -> None:
    warnings.warn(f"xas.fit_shells: {text}", UserWarning, stacklevel=4)
