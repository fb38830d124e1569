"""Where an edge is: the steepest rise, half of the step, the mean energy of the rise. Arrays only."""

from __future__ import annotations

import numpy as np

from batlab._kernels.edge import steepest
from batlab.xas.edge_windows import small_steps

METHODS = ("derivative", "half_step", "integral")
LEVELS = (0.15, 1.0)  # of the integral method


def derivative(
    energy: np.ndarray, mu: np.ndarray, sigma: np.ndarray | None, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the energy of the steepest rise of each frame, and its σ (NaN where that of `mu` is unknown)."""
    mu = mu if mu.dtype in (np.float32, np.float64) else mu.astype(float)
    spread = np.empty((0, mu.shape[1]), mu.dtype) if sigma is None else sigma.astype(mu.dtype, copy=False)
    spacing = np.broadcast_to(small_steps(energy), (len(mu),)).copy()
    found = steepest(energy, mu, spread, spacing, n_threads)
    return found[:, 0], found[:, 1]


def half_step(
    energy: np.ndarray, norm: np.ndarray, sigma: np.ndarray | None, level: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each frame first rises through `level`, linearly between points, its σ, and how often it does."""
    full, spread = bridged(energy, norm), _like(sigma, norm)
    point, count = _rises(full, level)
    at, frames = np.where(count > 0, point, 0), np.arange(len(full))
    grid = np.broadcast_to(energy, full.shape)
    low, high = full[frames, at].astype(float), full[frames, at + 1].astype(float)
    left, width = grid[frames, at], grid[frames, at + 1] - grid[frames, at]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (level - low) / (high - low)
        pull = np.hypot((1 - part) * spread[frames, at], part * spread[frames, at + 1]) * width / (high - low)
    missing = count == 0
    return np.where(missing, np.nan, left + part * width), np.where(missing, np.nan, pull), count


def integral(
    energy: np.ndarray, norm: np.ndarray, sigma: np.ndarray | None, levels: tuple[float, float] = LEVELS
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean energy of the rise of each frame between two levels, and its σ.

    E = E₂ - ∫ (μ - μ₁) dE / (μ₂ - μ₁) from E₁ to E₂, where μ first rises through μ₁ and then through μ₂.
    """
    low, high = levels
    full, spread = bridged(energy, norm).astype(float), _like(sigma, norm)
    grid = np.broadcast_to(energy, full.shape)
    first = half_step(energy, norm, None, low)[0]
    later = np.where(grid >= np.nan_to_num(first, nan=np.inf)[:, None], full, -np.inf)
    # The point before E₁ lies below both levels, so the step from it may be the one that reaches the upper.
    before = np.roll(grid, -1, axis=1) >= np.nan_to_num(first, nan=np.inf)[:, None]
    later = np.where(before & (grid < first[:, None]), np.minimum(full, low), later)
    last = half_step(grid, later, None, high)[0]
    steps = np.diff(grid, axis=1)
    area = np.zeros(full.shape)
    np.cumsum(np.nan_to_num(0.5 * (full[:, 1:] + full[:, :-1]) * steps), axis=1, out=area[:, 1:])
    upto_first, upto_last = (_area_to(grid, full, area, end) for end in (first, last))
    edge = last - (upto_last - upto_first - low * (last - first)) / (high - low)
    inside = (grid > first[:, None]) & (grid < last[:, None])
    weight = np.zeros(full.shape)
    weight[:, 1:-1] = 0.5 * (grid[:, 2:] - grid[:, :-2])
    square = np.where(inside, weight * spread, 0.0) ** 2
    sure = np.isfinite(edge)
    return edge, np.where(sure, np.sqrt(square.sum(axis=1)) / (high - low), np.nan)


def bridged(energy: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Return the curves with missing points interpolated along their row, constant beyond its ends; empty rows NaN."""
    known = np.isfinite(curves)
    poor = np.flatnonzero(~known.all(axis=1) & known.any(axis=1))
    if not len(poor):
        return curves
    full = curves.copy()
    for row in poor:
        x = energy[row if len(energy) > 1 else 0]
        good = known[row] & np.isfinite(x)
        full[row] = np.interp(x, x[good], curves[row, good])
    return full


def _like(sigma: np.ndarray | None, curves: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.nan, curves.shape) if sigma is None else sigma


def _rises(curves: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    above = curves >= level
    rise = ~above[:, :-1] & above[:, 1:] & ~np.isnan(curves[:, :-1])
    return rise.argmax(axis=1), rise.sum(axis=1)


def _area_to(grid: np.ndarray, curves: np.ndarray, area: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the integral of each curve from its first point to `end`."""
    frames = np.arange(len(grid))
    at = np.clip((grid <= np.nan_to_num(end)[:, None]).sum(axis=1) - 1, 0, grid.shape[1] - 2)
    left, part = grid[frames, at], end - grid[frames, at]
    slope = (curves[frames, at + 1] - curves[frames, at]) / (grid[frames, at + 1] - left)
    return area[frames, at] + part * (curves[frames, at] + 0.5 * part * slope)
