"""The least-squares fit of one spectrum, or of several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from batlab.xas.paths import PATH_UNITS
from batlab.xas.shells_expressions import Dual
from batlab.xas.shells_parameters import Line, Plan
from batlab.xas.shells_transform import Comparison

TOLERANCE = 1e-10  # of cost, step and gradient
MOST_CALLS = 200
SINGULAR = 1e-9  # smallest singular value, of columns of norm 1, that still determines all variables
UNTOUCHED = 1e-5  # part of a variable in a direction that the data leave open, below which it is determined
OK, AT_BOUND, NOT_CONVERGED, NO_DATA = range(4)


class Spectrum(NamedTuple):
    """One chi(k) and what it is compared with."""

    chi: np.ndarray  # (k,), on the grid of the comparison
    lines: Sequence[Line]
    known: Mapping[str, float]
    matrix: np.ndarray  # (point, used k)


class Fit(NamedTuple):
    """What `solve` returns; NaN where there is no answer."""

    x: np.ndarray  # (variable,)
    covariance: np.ndarray  # (variable, variable), rescaled
    correlation: np.ndarray
    chi2: float
    chi2_reduced: float
    r_factor: float
    status: int
    at_bound: np.ndarray  # (variable,)


class Problem:
    """Spectra, a plan, and where each spectrum finds its variables."""

    def __init__(self, plan: Plan, comparison: Comparison, n_spectra: int) -> None:
        self.plan, self.comparison, self.n_spectra = plan, comparison, n_spectra
        self.columns: list[dict[str, int]] = [{} for _ in range(n_spectra)]
        self.names: list[str] = []
        self.owner: list[int | None] = []
        for name, variable in plan.variables.items():
            for i in [None] if variable.shared else range(n_spectra):
                for spectrum in range(n_spectra) if i is None else [i]:
                    self.columns[spectrum][name] = len(self.names)
                self.names.append(name)
                self.owner.append(i)
        one = [plan.variables[name] for name in self.names]
        self.start = np.array([variable.value for variable in one])
        self.bounds = np.array([[v.low for v in one], [v.high for v in one]])
        self.k = comparison.k[comparison.used]

    @property
    def labels(self) -> list[str]:
        """The variables' names, those of one spectrum with its number."""
        return [name if i is None else f"{name}[{i}]" for name, i in zip(self.names, self.owner)]

    def scope(self, x: np.ndarray, spectrum: int, known: Mapping[str, float]) -> dict[str, Dual]:
        """Return all parameters of a spectrum with their slopes along `x`."""
        axes = np.eye(len(x))
        numbers = {name: Dual(float(x[i]), axes[i]) for name, i in self.columns[spectrum].items()}
        return self.plan.scope(numbers, known)

    def model(self, x: np.ndarray, spectra: Sequence[Spectrum]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return for each spectrum chi (used k,) and its slopes (variable, used k)."""
        chis, slopes = [], []
        for i, spectrum in enumerate(spectra):
            scope = self.scope(x, i, spectrum.known)
            chi, slope = np.zeros(len(self.k)), np.zeros((len(x), len(self.k)))
            for line in spectrum.lines:
                values = line.values(scope)
                moving = [name for name in PATH_UNITS if np.any(values[name].slope)]
                part, along = line.table.chi_and_slopes(self.k, {n: v.value for n, v in values.items()}, moving)
                chi += part
                if moving:
                    slope += np.stack([values[name].slope for name in moving], axis=1) @ along
            chis.append(chi)
            slopes.append(slope)
        return chis, slopes


def solve(problem: Problem, spectra: Sequence[Spectrum], start: np.ndarray, n_independent: float) -> Fit:
    """Fit the variables of `problem` to `spectra`, from `start`.

    σ follow from the curvature of χ² as if the n_independent points were all there is, rescaled so that the reduced
    χ² is 1: cov = (JᵀJ)⁻¹ Σ res² / (n_independent - n_variables), which does not depend on ε.
    """
    used = problem.comparison.used
    data = [spectrum.chi[used] for spectrum in spectra]
    if not all(np.isfinite(chi).all() for chi in data):
        return _nothing(problem, NO_DATA)
    found = _least_squares(problem, spectra, data, start)
    if found is None or not found.success:
        return _nothing(problem, NOT_CONVERGED)
    free = found.active_mask == 0
    total = float(found.fun @ found.fun)
    spare = n_independent - len(start)
    covariance, correlation = _covariance(found.jac, free)
    scale = total / spare if spare > 0 else np.nan
    size = sum(float(np.sum((s.matrix @ chi) ** 2)) for s, chi in zip(spectra, data, strict=True))
    chi2 = total * n_independent / len(found.fun)
    status = OK if free.all() else AT_BOUND
    reduced = chi2 / spare if spare > 0 else np.nan
    return Fit(
        found.x, covariance * scale, correlation, chi2, reduced, total / size if size > 0 else np.nan, status, ~free
    )


def _least_squares(
    problem: Problem, spectra: Sequence[Spectrum], data: list[np.ndarray], start: np.ndarray
) -> Any | None:
    from scipy.optimize import least_squares

    last: dict[bytes, tuple] = {}

    def model(x: np.ndarray) -> tuple:
        key = x.tobytes()
        if key not in last:
            last.clear()
            with np.errstate(all="ignore"):  # a step too far is refused by its residual
                last[key] = problem.model(x, spectra)
        return last[key]

    def residual(x: np.ndarray) -> np.ndarray:
        return np.concatenate([s.matrix @ (chi - one) for s, chi, one in zip(spectra, data, model(x)[0], strict=True)])

    def slopes(x: np.ndarray) -> np.ndarray:
        return np.concatenate([-s.matrix @ along.T for s, along in zip(spectra, model(x)[1], strict=True)])

    if not np.isfinite(residual(start)).all():
        return None
    return least_squares(
        residual, start, jac=slopes, bounds=problem.bounds, x_scale="jac", max_nfev=MOST_CALLS,
        ftol=TOLERANCE, xtol=TOLERANCE, gtol=TOLERANCE,
    )  # fmt: skip


def _covariance(jacobian: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (JᵀJ)⁻¹ of the free variables and its correlations; NaN for the rest and what J leaves open."""
    n = len(free)
    covariance, correlation = np.full((n, n), np.nan), np.full((n, n), np.nan)
    columns = jacobian[:, free]
    norms = np.linalg.norm(columns, axis=0)
    if not free.any() or not np.isfinite(norms).all():
        return covariance, correlation
    scale = np.where(norms > 0, norms, 1.0)
    _, size, axes = np.linalg.svd(columns / scale, full_matrices=len(columns) < len(norms))
    size = np.pad(size, (0, len(axes) - len(size)))
    open_axes = size < SINGULAR * size.max()
    told = ~(np.abs(axes[open_axes]) > UNTOUCHED).any(axis=0)
    inverse = (axes[~open_axes].T / size[~open_axes] ** 2) @ axes[~open_axes]
    spread = np.sqrt(np.diag(inverse))
    free = np.flatnonzero(free)[told]
    inside, of_told = np.ix_(free, free), np.ix_(told, told)
    covariance[inside] = (inverse / np.outer(scale, scale))[of_told]
    correlation[inside] = (inverse / np.outer(spread, spread))[of_told]
    return covariance, correlation


def _nothing(problem: Problem, status: int) -> Fit:
    n = len(problem.start)
    none = np.full((n, n), np.nan)
    return Fit(np.full(n, np.nan), none, none, np.nan, np.nan, np.nan, status, np.zeros(n, bool))


def propagated(slope: np.ndarray | float, covariance: np.ndarray) -> float:
    """Return the σ of a number with this slope; variables at a bound or undetermined make it NaN."""
    if not np.any(slope):
        return 0.0
    along = np.asarray(slope)
    touched = along != 0
    part = covariance[np.ix_(touched, touched)]
    return float(np.sqrt(max(0.0, along[touched] @ part @ along[touched]))) if np.isfinite(part).all() else np.nan
