"""The oracle of bounded least squares: scipy's bounded solver, and the multiplier of the sum by bisection."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, lsq_linear


def bounded_least_squares(
    gram: np.ndarray,
    projection: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    total: float = np.inf,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the misfit of every frame within a box, the sum of the weights given or free.

    Arguments and results are those of the kernel. The sum of the weights grows with its multiplier, so that one number
    is to be found; inside, scipy's `lsq_linear` (BVLS) solves the box. Gram matrices must have an inverse.
    """
    n_frames, m = projection.shape
    if gram.shape not in ((1, m, m), (n_frames, m, m)) or len(lower) != m or len(upper) != m or m < 1:
        raise ValueError(f"gram {gram.shape}, projection {projection.shape}")
    if not (lower <= upper).all() or np.isnan(total) or total == -np.inf or n_threads < 1:
        raise ValueError("lower must not exceed upper")
    if np.isfinite(total) and not lower.sum() - 1e-12 <= total <= upper.sum() + 1e-12:
        raise ValueError(f"no weights sum to {total}")
    weights, state = np.full((n_frames, m), np.nan), np.full(n_frames, 2, np.int8)
    for frame in range(n_frames):
        own = gram[frame if len(gram) > 1 else 0]
        if np.isfinite(own).all() and np.isfinite(projection[frame]).all():
            weights[frame] = _one(own, projection[frame], lower, upper, total)
            state[frame] = 0
    return weights, state


def _one(gram: np.ndarray, projection: np.ndarray, lower: np.ndarray, upper: np.ndarray, total: float) -> np.ndarray:
    scale = 1.0 / np.sqrt(np.diag(gram))
    factor = np.linalg.cholesky(gram * np.outer(scale, scale)).T
    fixed = lower == upper
    low, high = lower / scale, np.where(fixed, np.nextafter(upper, np.inf), upper) / scale

    def boxed(multiplier: float) -> np.ndarray:
        right = np.linalg.solve(factor.T, (projection + multiplier) * scale)
        return lsq_linear(factor, right, (low, high), method="bvls", tol=1e-15, max_iter=1000).x * scale

    if not np.isfinite(total):
        return boxed(0.0)
    reach = np.abs(gram).sum() * (1.0 + abs(total)) + np.abs(projection).max() + 1.0
    while boxed(reach).sum() < total - 1e-12 or boxed(-reach).sum() > total + 1e-12:
        reach *= 10.0
    ends = [boxed(sign * reach) for sign in (-1.0, 1.0)]
    for end in ends:
        if abs(end.sum() - total) <= 1e-12:
            return end
    return boxed(brentq(lambda multiplier: boxed(multiplier).sum() - total, -reach, reach, xtol=1e-15, rtol=1e-15))
