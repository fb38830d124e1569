"""A fit of shells as text."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.xas.shells_prepare import Work
from batlab.xas.shells_result import UNITS, close_pairs
from batlab.xas.shells_solve import NOT_CONVERGED, Fit

LEAST_TOLD = 0.25  # correlation below which a pair is not listed
MOST_ROWS = 12  # paths, and spectra of each, that are listed one by one


def report(work: Work, fits: list[Fit], dataset: xr.Dataset) -> str:
    """Return what was fitted, how well, the parameters with sigma and units, correlations, and the paths."""
    s, problem = work.settings, work.problem
    n = len(work.spectra)
    how = "" if n == 1 else " together" if work.is_joint else " one by one"
    n_paths = dataset.sizes["path"]
    weights = ", ".join(f"{weight:g}" for weight in s.kweights)
    space = "R" if s.fit_space == "r" else s.fit_space
    windows = f"k {s.k_range[0]:g} to {s.k_range[1]:g} 1/angstrom, kweight {weights}, {s.window} window, dk {s.dk:g}"
    lines = [
        f"{_count(n_paths, 'path')} fitted in {space} to {_count(n, 'spectrum')}{how}",
        f"  {windows}; R {s.r_range[0]:g} to {s.r_range[1]:g} angstrom",
        f"  {float(dataset['n_independent']):.1f} independent points, {_count(len(problem.start), 'variable')}"
        + ("" if work.is_joint or n == 1 else " for each spectrum"),
    ]
    failed = sum(fit.status >= NOT_CONVERGED for fit in fits)
    if failed:
        lines.append(f"  {failed} of {len(fits)} fits gave no answer (NaN)")
    told = {"chi2": "chi2", "chi2_reduced": "reduced chi2", "r_factor": "R-factor", "epsilon_k": "epsilon_k"}
    lines.append("  " + ", ".join(f"{word} {_span(dataset[name])}" for name, word in told.items()))
    lines += ["Parameters (1 sigma, rescaled by the root of reduced chi2)"]
    names = [*problem.plan.variables, *problem.plan.trees]
    width = max(map(len, names))
    lines += [f"  {name:<{width}}  {_value(dataset, name)}" for name in names]
    pairs = close_pairs(problem.labels, fits, LEAST_TOLD)
    if pairs:
        lines.append(
            f"Correlations beyond {LEAST_TOLD:g}" + ("" if len(fits) == 1 else " (the strongest of the series)")
        )
        lines += [f"  {a}, {b}: {value:.2f}" for a, b, value, _ in pairs[:MOST_ROWS]]
    lines.append("Paths")
    for i in range(min(n_paths, MOST_ROWS)):
        one = dataset.isel(path=i)
        shown = ["distance", "s02", "degen", "delta_e0", "sigma2"]
        shown += [name for name in ("third", "fourth", "ei") if np.nan_to_num(one[f"path_{name}"].values).any()]
        values = "; ".join(f"{name} {_value(one, f'path_{name}')}" for name in shown)
        lines.append(f"  {one['path_label'].item()}: {values}")
    if n_paths > MOST_ROWS:
        lines.append(f"  and {n_paths - MOST_ROWS} more in the dataset")
    return "\n".join(lines)


def _count(n: int, what: str) -> str:
    if n == 1:
        return f"1 {what}"
    return f"{n} spectra" if what == "spectrum" else f"{n} {what}s"


def _span(values: xr.DataArray) -> str:
    numbers = np.asarray(values.values, dtype=float)
    known = numbers[np.isfinite(numbers)]
    if not known.size:
        return "unknown"
    if known.size == 1 or known.min() == known.max():
        return f"{known[0]:.4g}" if known.ndim else f"{float(known):.4g}"
    return f"{known.min():.4g} to {known.max():.4g}"


def _value(dataset: xr.Dataset, name: str) -> str:
    """Return ``2.5418 ± 0.0026 angstrom``; over frames the range, and the median sigma."""
    value, sigma = (np.atleast_1d(dataset[word].values.astype(float)) for word in (name, f"{name}_sigma"))
    units = UNITS.get(name.removeprefix("path_")) if name.startswith("path_") else dataset[name].attrs["units"]
    units = "" if units == "1" else f" {units}"
    known = value[np.isfinite(value)]
    if not known.size:
        return "unknown"
    spread = sigma[np.isfinite(sigma)]
    typical = float(np.median(spread)) if spread.size else np.nan
    digits = _decimals(typical, known)
    low, high = (f"{edge:.{digits}f}" for edge in (known.min(), known.max()))
    told = low if low == high else f"{low} to {high}"
    if np.isnan(typical):
        return f"{told} (no sigma){units}"
    return f"{told}{units}" if typical == 0 else f"{told} ± {typical:.{digits}f}{units}"


def _decimals(sigma: float, values: np.ndarray) -> int:
    """Return how many decimals show two digits of sigma, or four of the values where there is none."""
    size = sigma if sigma > 0 else float(np.abs(values).max())
    if not 0 < size < np.inf:
        return 0
    shown = 1 if sigma > 0 else 3
    if not sigma > 0 and size == round(size):
        return 0
    return int(np.clip(shown - np.floor(np.log10(size)), 0, 12))
