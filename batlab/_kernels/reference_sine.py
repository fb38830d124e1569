"""The oracle of sine and cosine transforms."""

from __future__ import annotations

import numpy as np


def sine_transform(
    y: np.ndarray, x: np.ndarray, x_out: np.ndarray, weights: np.ndarray | None = None, n_threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of weight y sin(x x_out) and weight y cos(x x_out) (frame, output), frame by frame."""
    shape = y.shape
    if x.shape not in (shape, (1, shape[1])) or n_threads < 1 or not np.isfinite(x_out).all():
        raise ValueError(f"y {shape}, x {x.shape}, x_out {x_out.shape}")
    if weights is not None and weights.shape not in (shape, (1, shape[1])):
        raise ValueError(f"weights {weights.shape}")
    sine, cosine = (np.full((shape[0], len(x_out)), np.nan) for _ in range(2))
    for f in range(shape[0]):
        points, values = x[f if len(x) > 1 else 0], y[f].astype(float)
        good = np.isfinite(points) & np.isfinite(values)
        if weights is None:
            if good.sum() < 2 or (np.diff(points[good]) <= 0).any():
                continue
            half = np.diff(points[good]) / 2
            share = np.append(half, 0) + np.insert(half, 0, 0)
        else:
            own = weights[f if len(weights) > 1 else 0]
            good &= np.isfinite(own)
            if not good.any():
                continue
            share = own[good]
        angle = np.outer(points[good], x_out)
        sine[f], cosine[f] = (values[good] * share) @ np.sin(angle), (values[good] * share) @ np.cos(angle)
    return sine, cosine
