"""Curves by which capacity fades: linear but for one number, which is searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import f as f_distribution

LEAST_SIDE = 4  # points on either side of a knee
N_GRID, ZOOMS = 61, 6  # the last grid is finer than 1e-9 of the limits
MOST_CORRELATED = 0.95  # of neighbouring residuals: more cannot be told from a wrong model


class Model(NamedTuple):
    """Names of the parameters, limits of the searched one (None: all linear), and the columns of the linear ones.

    Columns take u over points and the searched parameter as a number, or as an array (…, 1) for many at once.
    """

    parameters: tuple[str, ...]
    limits: tuple[float, float] | None
    columns: Callable[[np.ndarray, Any], list[np.ndarray]]


def _growth(u: np.ndarray, k: Any) -> np.ndarray:
    near = np.abs(k) < 1e-6
    return np.where(near, u, np.expm1(k * u) / np.where(near, 1.0, k))


# u = (x - first x) / span, from 0 to 1; all count the loss upwards.
MODELS: dict[str, Model] = {
    "linear": Model(("start", "rate"), None, lambda u, _: [u]),
    "sqrt": Model(("start", "rate"), None, lambda u, _: [np.sqrt(u)]),
    "power": Model(("start", "rate", "exponent"), (0.1, 8.0), lambda u, p: [u**p]),
    "exponential": Model(("start", "rate", "growth"), (-20.0, 20.0), lambda u, k: [_growth(u, k)]),
    "two_piece": Model(("start", "rate", "rate_change", "knee"), (0.0, 1.0), lambda u, c: [u, np.maximum(u - c, 0.0)]),
}


@dataclass(frozen=True)
class Fit:
    """One model fitted in u: linear parameters, then the searched one, with their covariance before inflation."""

    name: str
    values: np.ndarray
    covariance: np.ndarray
    squares: float
    fitted: np.ndarray
    at_bound: bool

    def at(self, u: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Return the curve at u, or one curve for each row of parameter `values`."""
        model = MODELS[self.name]
        rows = np.atleast_2d(self.values if values is None else values)
        curves = rows[:, :1] * np.ones(len(u))
        for k, one in enumerate(model.columns(u, rows[:, -1:]), 1):
            curves = curves - rows[:, k : k + 1] * one
        return curves[0] if values is None else curves


def fit_model(name: str, u: np.ndarray, y: np.ndarray) -> Fit | None:
    """Return a model's least-squares fit; None where there are too few points for it.

    Examples
    --------
    >>> u = np.linspace(0, 1, 50)
    >>> fit = fit_model("two_piece", u, 1 - 0.1 * u - 0.4 * np.maximum(u - 0.6, 0))
    >>> fit.values.round(6).tolist()
    [1.0, 0.1, 0.4, 0.6]
    """
    model = MODELS[name]
    least = 2 * LEAST_SIDE if name == "two_piece" else len(model.parameters) + 2
    if len(u) < least:
        return None
    limits = model.limits
    if limits is None:
        linear, fitted = solve(model, u, y, 0.0)
        design = np.column_stack([np.ones(len(u)), *(-one for one in model.columns(u, 0.0))])
        return _fit(name, linear, design, y, fitted, at_bound=False)
    if name == "two_piece":
        limits = (float(u[LEAST_SIDE - 1]), float(u[-LEAST_SIDE]))
        if limits[1] <= limits[0]:
            return None
    place = _search(model, u, y, limits)
    linear, fitted = solve(model, u, y, place)
    values = np.append(linear, place)
    step = 1e-5 * (limits[1] - limits[0])
    aside = [solve_at(model, u, linear, place + one) for one in (step, -step)]
    design = np.column_stack(
        [np.ones(len(u)), *(-one for one in model.columns(u, place)), (aside[0] - aside[1]) / (2 * step)]
    )
    at_bound = min(place - limits[0], limits[1] - place) < 1e-4 * (limits[1] - limits[0])
    return _fit(name, values, design, y, fitted, at_bound=at_bound)


def solve(model: Model, u: np.ndarray, y: np.ndarray, searched: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the linear parameters and the curve for one value of the searched one."""
    design = np.column_stack([np.ones(len(u)), *(-one for one in model.columns(u, searched))])
    linear = np.linalg.lstsq(design, y, rcond=None)[0]
    return linear, design @ linear


def solve_at(model: Model, u: np.ndarray, linear: np.ndarray, searched: float) -> np.ndarray:
    """Return the curve for given parameters."""
    return np.column_stack([np.ones(len(u)), *(-one for one in model.columns(u, searched))]) @ linear


def squares_at(model: Model, u: np.ndarray, y: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the least sum of squares for each value of the searched parameter.

    >>> u = np.linspace(0, 1, 50)
    >>> squares_at(MODELS["power"], u, 1 - u**2, np.array([1.0, 2.0])).round(3).tolist()
    [0.301, 0.0]
    """
    rest = np.broadcast_to(y - y.mean(), (len(places), len(u)))
    basis: list[np.ndarray] = []
    for one in model.columns(u, places[:, None]):
        column = np.broadcast_to(one, rest.shape)
        column = column - column.mean(axis=1, keepdims=True)
        for other in basis:
            column = column - (column * other).sum(axis=1, keepdims=True) * other
        size = np.sqrt((column**2).sum(axis=1, keepdims=True))
        basis.append(np.divide(column, size, out=np.zeros(rest.shape), where=size > 0))
        rest = rest - (rest * basis[-1]).sum(axis=1, keepdims=True) * basis[-1]
    return (rest**2).sum(axis=1)


def _search(model: Model, u: np.ndarray, y: np.ndarray, limits: tuple[float, float]) -> float:
    """Return the best value of the searched parameter: on a grid, then on ever finer ones about the best."""
    low, high = limits
    best = low
    for _ in range(ZOOMS):
        grid = np.linspace(low, high, N_GRID)
        best = float(grid[np.argmin(squares_at(model, u, y, grid))])
        step = grid[1] - grid[0]
        low, high = max(limits[0], best - step), min(limits[1], best + step)
    return best


def _fit(
    name: str, values: np.ndarray, design: np.ndarray, y: np.ndarray, fitted: np.ndarray, *, at_bound: bool
) -> Fit:
    squares = float(((y - fitted) ** 2).sum())
    freedom = max(1, len(y) - len(values))
    covariance = np.linalg.pinv(design.T @ design) * squares / freedom
    return Fit(name, values, covariance, squares, fitted, at_bound)


def correlation(residual: np.ndarray) -> float:
    """Return how far neighbouring residuals agree, 0 to 0.95.

    >>> round(correlation(np.array([1.0, 1.0, -1.0, -1.0] * 20)), 1)
    0.0
    """
    total = float((residual**2).sum())
    lag = float((residual[1:] * residual[:-1]).sum()) / total if total > 0 else 0.0
    return float(np.clip(lag, 0.0, MOST_CORRELATED))


def knee_interval(u: np.ndarray, y: np.ndarray, fit: Fit, n_effective: float, level: float) -> tuple[float, float]:
    """Return the limits of the knee: all places whose fit is not worse than `level` allows (profile likelihood)."""
    model = MODELS["two_piece"]
    places = np.linspace(u[LEAST_SIDE - 1], u[-LEAST_SIDE], 401)
    squares = squares_at(model, u, y, places)
    freedom = max(1.0, n_effective - len(fit.values))
    allowed = fit.squares * (1 + f_distribution.ppf(level, 1, freedom) / freedom)
    inside = places[squares <= allowed]
    if not inside.size:
        return float(fit.values[-1]), float(fit.values[-1])
    step = places[1] - places[0]
    return max(float(inside[0] - step), float(places[0])), min(float(inside[-1] + step), float(places[-1]))


def knee_confidence(straight: Fit, bent: Fit, n_effective: float) -> float:
    """Return 1 - the chance that noise about a line gains this much by a bend anywhere (F test, Bonferroni)."""
    freedom = n_effective - len(bent.values)
    if freedom < 1:
        return 0.0
    gained = max(straight.squares - bent.squares, 0.0) / 2
    if bent.squares <= 0:
        return 1.0 if gained > 0 else 0.0
    chance = f_distribution.sf(gained / (bent.squares / freedom), 2, freedom)
    return float(max(0.0, 1.0 - n_effective * chance))
