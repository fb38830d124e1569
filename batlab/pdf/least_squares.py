"""One frame's structure fit: Levenberg and Marquardt, all derivatives from one call of the kernel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.pdf.band_noise import spread_of
from batlab.pdf.model import curves, grid_for, narrowest
from batlab.pdf.unknowns import Unknowns

MOST_STEPS = 60
ENOUGH = 1e-9  # relative fall of chi² below which a fit has come to rest


class Problem(NamedTuple):
    """What does not change from frame to frame."""

    unknowns: Unknowns
    r: np.ndarray
    qmax: float | None
    qbroad: float
    mode: str
    waves: np.ndarray | None  # how the noise of points hangs together, see `band_noise`
    n_threads: int | None = None  # of the kernel


class Found(NamedTuple):
    """The end of one fit."""

    values: np.ndarray
    covariance: np.ndarray  # for the σ that the weights tell
    model: np.ndarray
    chi2: float
    n_free: float  # what chi² is on average
    status: int  # 0 ok, 1 at_bound, 2 not_converged, 4 no_data


def evaluate(problem: Problem, values: np.ndarray, with_jacobian: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return G(r) and, if wished, its derivatives (unknown, r)."""
    unknowns, r = problem.unknowns, problem.r
    damping = [i for i, one in enumerate(unknowns.listed) if one.kind == "qdamp"]
    qdamp = values[damping[0]] if damping else unknowns.qdamp
    envelope = np.exp(-((qdamp * r) ** 2) / 2)
    total, jacobian = np.zeros(len(r)), np.zeros((len(values), len(r)))
    for phase, crystal in enumerate(unknowns.crystals):
        base = unknowns.parameters(phase, values)
        moved = [
            i
            for i, one in enumerate(unknowns.listed)
            if with_jacobian and one.phase == phase and one.kind not in ("scale", "qdamp")
        ]
        sets = [base]
        for i in moved:
            other = values.copy()
            other[i] += unknowns.listed[i].nudge
            sets.append(unknowns.parameters(phase, other))
        grid = grid_for(r, problem.qmax, narrowest(base, crystal))
        g = curves(crystal, sets, grid, problem.mode, problem.qbroad, problem.n_threads) * envelope
        scale = unknowns.first(phase, "scale", values)
        total += scale * g[0]
        for row, i in enumerate(moved, 1):
            jacobian[i] = scale * (g[row] - g[0]) / unknowns.listed[i].nudge
        for i in unknowns.indices(phase, "scale"):
            jacobian[i] = g[0]
    for i in damping:
        jacobian[i] = -qdamp * r**2 * total
    return total, jacobian


def solve(problem: Problem, data: np.ndarray, weights: np.ndarray, start: np.ndarray) -> Found:
    """Return the least squares of one frame from `start`."""
    listed = problem.unknowns.listed
    low, high = np.array([one.low for one in listed]), np.array([one.high for one in listed])
    values, damping, status = np.clip(start, low, high), 1e-3, 2
    model, jacobian = evaluate(problem, values, with_jacobian=True)
    chi2 = float(weights @ (data - model) ** 2)
    for _ in range(MOST_STEPS):
        normal = (jacobian * weights) @ jacobian.T
        gradient = (jacobian * weights) @ (data - model)
        # What a bound holds back stays there, and the others go on without it.
        free = ~((values <= low) & (gradient < 0) | (values >= high) & (gradient > 0))
        size = np.sqrt(np.maximum(np.diag(normal), 1e-300))[free]
        matrix = normal[np.ix_(free, free)] / np.outer(size, size) + damping * np.eye(len(size))
        step = np.zeros(len(values))
        step[free] = np.linalg.solve(matrix, gradient[free] / size) / size
        trial = np.clip(values + step, low, high)
        tried, slope = evaluate(problem, trial, with_jacobian=True)
        new = float(weights @ (data - tried) ** 2)
        if not new < chi2:
            damping *= 8
            if damping > 1e6 or abs(new - chi2) <= ENOUGH * chi2:
                status = 0
                break
            continue
        fall = (chi2 - new) / chi2
        values, model, jacobian, chi2, damping = trial, tried, slope, new, max(damping / 10, 1e-9)
        if fall < ENOUGH:
            status = 0
            break
    if status == 0 and ((values <= low) | (values >= high)).any():
        status = 1
    spread = spread_of(jacobian * np.sqrt(weights), problem.waves, int((weights > 0).sum()))
    return Found(values, spread.covariance, model, chi2, spread.n_free, status)
