"""Small shifts of references along the axis, one for the whole series, found with the weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize

from batlab.decompose.lcf_fit import Problem, solve

UNUSED = 1e-6  # a reference of no greater part in any frame has no place of its own


def shifted(x: np.ndarray, references: np.ndarray, at: np.ndarray, shift: np.ndarray, order: int = 0) -> np.ndarray:
    """Return references, or their derivative by x, at ``at - shift`` by cubic splines: (point, reference)."""
    columns = []
    for one, by in zip(references, shift):
        known = np.isfinite(one)
        columns.append(CubicSpline(x[known], one[known])(at - by, order))
    return np.stack(columns, axis=1)


def best_shift(
    problem: Problem, x: np.ndarray, references: np.ndarray, at: np.ndarray, most: float, names: list[str]
) -> tuple[Problem, np.ndarray, np.ndarray]:
    """Return the problem with its references shifted, the shifts and their σ.

    The weights are solved exactly at every trial, so that the misfit of the whole series is a function of the shifts
    alone; by the envelope theorem its slope needs no derivative of the weights.
    """

    def misfit(shift: np.ndarray) -> tuple[float, np.ndarray]:
        moved = replace(problem, references=shifted(x, references, at, shift))
        weights = solve(moved)[0]
        known = np.isfinite(weights).all(axis=1)
        of_points = problem.weights if len(problem.weights) == 1 else problem.weights[known]
        residual = (problem.spectra[known] - weights[known] @ moved.references.T) * of_points
        value = float((residual * (problem.spectra[known] - weights[known] @ moved.references.T)).sum())
        # d(model)/d(shift) is minus the derivative by x.
        slope = 2.0 * ((weights[known].T @ residual) * shifted(x, references, at, shift, 1).T).sum(axis=1)
        return value, slope

    m = len(references)
    start = misfit(np.zeros(m))[0]
    scale = max(start, 1e-300)

    def scaled(part: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = misfit(part * most)
        return value / scale, slope * (most / scale)

    found = minimize(
        scaled,
        np.zeros(m), jac=True, bounds=[(-1.0, 1.0)] * m, method="L-BFGS-B",
        options={"ftol": 1e-14, "gtol": 1e-10, "maxiter": 200},
    )  # fmt: skip
    shift = found.x * most
    used = np.nan_to_num(solve(replace(problem, references=shifted(x, references, at, shift)))[0]) > UNUSED
    shift[~used.any(axis=0)] = 0.0
    for name, one in zip(names, shift):
        if abs(one) >= most * (1 - 1e-6):
            warnings.warn(
                f"decompose.lcf: the shift of {name!r} ends at its limit of {one:g}; check the axis' "
                "calibration, or allow more with energy_shift=",
                UserWarning,
                stacklevel=4,
            )
    moved = replace(problem, references=shifted(x, references, at, shift))
    return moved, shift, _sigma(misfit, shift, most, problem, used.any(axis=0))


def _sigma(misfit: Callable, shift: np.ndarray, most: float, problem: Problem, used: np.ndarray) -> np.ndarray:
    """Return σ of the shifts from the curvature of the misfit, the weights following; NaN where it has none."""
    m, step = len(shift), 1e-3 * most
    curvature = np.empty((m, m))
    for j in range(m):
        by = np.zeros(m)
        by[j] = step
        curvature[j] = (misfit(shift + by)[1] - misfit(shift - by)[1]) / (2 * step)
    n_points = int((np.broadcast_to(problem.weights, problem.spectra.shape) > 0).sum())
    room = n_points - len(problem.spectra) * (m - problem.is_tied) - m
    noise = misfit(shift)[0] / max(room, 1)
    curvature = (0.5 * (curvature + curvature.T))[np.ix_(used, used)]
    sigma = np.full(m, np.nan)
    with np.errstate(invalid="ignore"):
        try:
            sigma[used] = np.sqrt(np.diag(np.linalg.inv(curvature)) * 2.0 * noise)
        except np.linalg.LinAlgError:
            return sigma
    return sigma
