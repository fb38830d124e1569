"""The oracle of the pair distribution of crystals."""

from __future__ import annotations

import numpy as np


def pair_density(
    cells: np.ndarray,
    centres: np.ndarray,
    others: np.ndarray,
    shapes: np.ndarray,
    step: float,
    n_points: int,
    n_threads: int = 1,
) -> np.ndarray:
    """Return the sum over pairs of weight times a Gaussian at their distance (model, point)."""
    n = len(cells)
    if cells.shape != (n, 3, 3) or centres.shape[::2] != (n, 10) or others.shape[::2] != (n, 10):
        raise ValueError(f"cells {cells.shape}, centres {centres.shape}, others {others.shape}")
    if shapes.shape != (n, 3) or not 0 < step < np.inf or n_points < 0 or n_threads < 1:
        raise ValueError(f"shapes {shapes.shape}, step {step}, n_points {n_points}, n_threads {n_threads}")
    density = np.full((n, n_points), np.nan)
    grid = step * np.arange(n_points)
    for f in range(n):
        everything = (cells[f], centres[f], others[f], shapes[f])
        if not all(np.isfinite(part).all() for part in everything) or abs(np.linalg.det(cells[f])) <= 1e-3:
            continue
        density[f] = 0.0
        if n_points == 0:
            continue
        reach = np.linalg.norm(np.linalg.inv(cells[f]), axis=0) * grid[-1]
        counts = [np.arange(-int(m) - 2, int(m) + 3) for m in reach]
        images = np.stack(np.meshgrid(*counts, indexing="ij"), -1).reshape(-1, 3) @ cells[f]
        for one in centres[f]:
            for two in others[f]:
                first = two[:3] - one[:3]
                first = first - np.round(first @ np.linalg.inv(cells[f])) @ cells[f]
                away = first + images
                r = np.linalg.norm(away, axis=1)
                away, r = away[(r >= 1e-3) & (r <= grid[-1])], r[(r >= 1e-3) & (r <= grid[-1])]
                x, y, z = (away / r[:, None]).T
                variance = (one[3:9] + two[3:9]) @ np.array([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z])
                variance = variance * (1 - shapes[f, 0] / r - shapes[f, 1] / r**2 + (shapes[f, 2] * r) ** 2)
                variance = np.maximum(variance, step * step / 36)[:, None]
                peaks = np.exp(-((grid - r[:, None]) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
                density[f] += one[9] * two[9] * peaks.sum(axis=0)
    return density
