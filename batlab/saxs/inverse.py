"""Non-negative amounts behind smooth curves: the least misfit with a penalty, for all frames, at the right strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

STRONGEST, WEAKEST = 2.0, -14.0  # log10 of the strength of the penalty relative to the design
STEPS = 9


@dataclass(frozen=True)
class Problem:
    """Weighted normal equations of some frames; the last unknown is the background where there is one."""

    gram: np.ndarray  # (frame, m, m)
    projection: np.ndarray  # (frame, m)
    square: np.ndarray  # (frame): sum of (y/σ)²
    factor: np.ndarray  # (q, m): columns of the design
    sigma: np.ndarray  # (frame, q): infinite where a point is not used
    n_points: np.ndarray  # (frame)
    has_background: bool
    n_threads: int

    @classmethod
    def of(
        cls, columns: np.ndarray, values: np.ndarray, sigma: np.ndarray, background: bool, n_threads: int
    ) -> Problem:
        """Return the problem of `values` (frame, q); columns are scaled to be alike by the caller's `scale`."""
        factor = np.column_stack([columns, np.ones(len(columns))]) if background else columns
        used = np.isfinite(values) & np.isfinite(sigma) & (sigma > 0)
        sigma = np.where(used, sigma, np.inf)
        weight = 1 / sigma**2
        gram = np.stack([(factor * w[:, None]).T @ factor for w in weight])
        y = np.where(used, values, 0.0)
        return cls(
            gram,
            (y * weight) @ factor,
            np.sum(y**2 * weight, axis=1),
            factor,
            sigma,
            used.sum(axis=1),
            background,
            n_threads,
        )

    @property
    def m(self) -> int:
        return self.factor.shape[1] - self.has_background

    @property
    def scale(self) -> np.ndarray:
        """(frame): size of the design, so that one strength means the same in every frame."""
        return np.trace(self.gram[:, : self.m, : self.m], axis1=1, axis2=2) / self.m

    def chi2(self, x: np.ndarray) -> np.ndarray:
        return self.square - 2 * np.sum(self.projection * x, axis=1) + np.einsum("fi,fij,fj->f", x, self.gram, x)

    def noisy(self, x: np.ndarray, rng: np.random.Generator) -> Problem:
        """Return the same problem for a copy of the fit `x` with noise of the data's σ."""
        weight = np.where(np.isfinite(self.sigma), 1 / self.sigma, 0.0)
        fit = x @ self.factor.T
        y = fit + np.where(np.isfinite(self.sigma), self.sigma, 0.0) * rng.normal(size=fit.shape)
        return replace(self, projection=(y * weight**2) @ self.factor, square=np.sum((y * weight) ** 2, axis=1))


def least_squares(problem: Problem, alpha: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Return the non-negative minimum of ``χ² + α scale |second differences|²``; (frame, m), NaN without data."""
    from batlab._kernels.nnls import bounded_least_squares

    m = problem.m
    # One point of 0 beyond each end: a distribution comes down to nothing.
    differences = np.diff(np.pad(np.eye(m), ((1, 1), (0, 0))), 2, axis=0)
    penalty = np.zeros_like(problem.gram[0])
    penalty[:m, :m] = differences.T @ differences
    total = problem.gram + (alpha * problem.scale)[:, None, None] * penalty
    # Columns of one size each: the kernel's test of what can be told apart is relative.
    size = np.sqrt(np.maximum(np.einsum("fii->fi", total), np.finfo(float).tiny))
    scaled = total / (size[:, :, None] * size[:, None, :])
    lower = np.zeros(problem.factor.shape[1])
    lower[m:] = -np.inf
    found, _ = bounded_least_squares(
        np.ascontiguousarray(scaled), np.ascontiguousarray(problem.projection / size), lower,
        np.full(lower.size, np.inf), np.inf, problem.n_threads,
    )  # fmt: skip
    found = found / size
    found[problem.n_points <= 3] = np.nan
    return found


def entropy(problem: Problem, alpha: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Return the minimum of ``χ²/2 - α scale l S``, ``S = ∑ (x - l - x ln(x/l))``; (frame, m).

    l is the mean amount of a smooth solution. Newton's steps in ln x, halved where they would not go down; amounts
    below 1e-9 l count as nothing.
    """
    m, usable = problem.m, problem.n_points > 3
    level = np.mean(np.nan_to_num(least_squares(problem, np.full(len(alpha), 1e-4)))[:, :m], axis=1, keepdims=True)
    level = np.maximum(level, 1e-300)
    x = np.zeros_like(problem.projection)
    x[:, :m] = level if start is None else np.maximum(np.nan_to_num(start[:, :m]), 1e-9 * level)
    x[:, m:] = 0.0 if start is None else np.nan_to_num(start[:, m:])
    strength = (alpha * problem.scale)[:, None] * level
    value = _entropic(problem, x, strength, level)
    for _ in range(80):
        step = _newton(problem, x, strength, level)
        length = np.minimum(1.0, 3.0 / np.maximum(np.abs(step[:, :m]).max(axis=1, keepdims=True), 1e-300))
        for _ in range(12):
            tried = np.concatenate(
                [np.maximum(x[:, :m] * np.exp(length * step[:, :m]), 1e-9 * level), x[:, m:] + length * step[:, m:]],
                axis=1,
            )
            new = _entropic(problem, tried, strength, level)
            worse = ~(new <= value + 1e-12 * np.abs(value)) & usable
            if not worse.any():
                break
            length = np.where(worse[:, None], 0.4 * length, length)
        better = new <= value + 1e-12 * np.abs(value)
        gain = np.where(better, value - new, 0.0)
        x, value = np.where(better[:, None], tried, x), np.where(better, new, value)
        if np.all(gain[usable] <= 1e-3):  # of half χ², whose own scatter is several
            break
    x[~usable] = np.nan
    return x


def _entropic(problem: Problem, x: np.ndarray, strength: np.ndarray, level: np.ndarray) -> np.ndarray:
    part = x[:, : problem.m]
    return 0.5 * problem.chi2(x) + np.sum(strength * (part * np.log(part / level) - part + level), axis=1)


def _newton(problem: Problem, x: np.ndarray, strength: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the step of ln x, and of the background itself."""
    m = problem.m
    turn = x.copy()  # d x / d unknown
    turn[:, m:] = 1.0
    gradient = np.einsum("fij,fj->fi", problem.gram, x) - problem.projection
    gradient[:, :m] += strength * np.log(x[:, :m] / level)
    gradient *= turn
    curvature = problem.gram * turn[:, :, None] * turn[:, None, :]
    own = np.arange(m)
    curvature[:, own, own] += strength * x[:, :m] + np.maximum(gradient[:, :m], 0.0)
    size = np.sqrt(np.maximum(np.einsum("fii->fi", curvature), 1e-290))
    scaled = curvature / (size[:, :, None] * size[:, None, :]) + 1e-12 * np.eye(size.shape[1])
    return -np.linalg.solve(scaled, (gradient / size)[:, :, None])[:, :, 0] / size


def search(
    problem: Problem, solver: Callable[..., np.ndarray], alpha: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the solutions, their strengths, χ² and states (0 ok, 1 χ² above 1.5 a point, 2 no data)."""
    n = len(problem.gram)
    if alpha is not None:
        if not alpha > 0:
            raise ValueError(f"alpha must be above 0, got {alpha!r}")
        chosen = np.full(n, float(alpha))
        x = _down(problem, chosen) if solver is entropy else solver(problem, chosen)
    else:
        least = problem.chi2(least_squares(problem, np.full(n, 10.0**WEAKEST)))
        close = problem.n_points * 1.0
        target = np.where(least > 0.97 * close, least * (1 + np.sqrt(2 / np.maximum(problem.n_points, 1))), close)
        x, chosen = (_ladder if solver is entropy else _bisection)(problem, target, least)
    chi2 = problem.chi2(x)
    return x, chosen, chi2, np.where(problem.n_points <= 3, 2, (chi2 > 1.5 * problem.n_points) * 1)


def _bisection(problem: Problem, target: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smooth solution of the largest strength whose χ² is not above `target`."""
    n = len(target)
    low, high = np.full(n, WEAKEST), np.full(n, STRONGEST)
    below, above = np.log(least / target), np.log(problem.chi2(least_squares(problem, 10.0**high)) / target)
    for step in range(STEPS):
        # Regula falsi and bisection by turns: χ² is flat, then steep.
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.clip(-below / (above - below), 0.1, 0.9) if step % 2 else np.full(n, 0.5)
        middle = low + np.where(np.isfinite(part), part, 0.5) * (high - low)
        at = np.log(problem.chi2(least_squares(problem, 10.0**middle)) / target)
        over = at > 0
        high, above = np.where(over, middle, high), np.where(over, at, above)
        low, below = np.where(over, low, middle), np.where(over, below, at)
    return least_squares(problem, 10.0**low), 10.0**low


def _ladder(problem: Problem, target: np.ndarray, _least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of the entropy's: from strong to weak, each from the last, then halving the last step."""
    n, x = len(target), None
    low, best = np.full(n, np.nan), np.full_like(problem.projection, np.nan)
    found = np.zeros(n, bool)
    for power in np.arange(1.0, -12.0, -0.5):
        x = entropy(problem, np.full(n, 10.0**power), x)
        reached = ~found & (problem.chi2(x) <= target)
        best[~found], low[~found] = x[~found], power
        found |= reached | (problem.n_points <= 3)
        if found.all():
            break
    high, warm = np.where(found, low + 0.5, low), best.copy()
    for _ in range(3):
        middle = 0.5 * (low + high)
        x = entropy(problem, 10.0**middle, warm)
        under = problem.chi2(x) <= target
        low, high = np.where(under, middle, low), np.where(under, high, middle)
        best = np.where(under[:, None], x, best)
    return best, 10.0**low


def _down(problem: Problem, alpha: np.ndarray) -> np.ndarray:
    """Return the entropy's solution of a given strength, reached from a strong one."""
    x = None
    for power in np.arange(1.0, np.log10(alpha[0]), -1.0):
        x = entropy(problem, np.full(len(alpha), 10.0**power), x)
    return entropy(problem, alpha, x)
