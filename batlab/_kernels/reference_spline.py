"""The oracle of cubic splines frame by frame."""

from __future__ import annotations

import numpy as np


def cubic_spline(y: np.ndarray, x: np.ndarray, x_out: np.ndarray, n_threads: int = 1) -> np.ndarray:
    """Return the not-a-knot spline through the finite points of every frame, by scipy; NaN where there is none."""
    from scipy.interpolate import CubicSpline

    shape = y.shape
    if x.shape not in (shape, (1, shape[1])) or x_out.shape[0] not in (shape[0], 1) or n_threads < 1:
        raise ValueError(f"y {shape}, x {x.shape}, x_out {x_out.shape}")
    out = np.full((shape[0], x_out.shape[1]), np.nan)
    for f in range(shape[0]):
        points, goal = x[f if len(x) > 1 else 0], x_out[f if len(x_out) > 1 else 0]
        good = np.isfinite(y[f]) & np.isfinite(points)
        if good.sum() < 4 or (np.diff(points[good]) <= 0).any():
            continue
        known = np.isfinite(goal)
        out[f, known] = CubicSpline(points[good], y[f, good].astype(float), bc_type="not-a-knot")(goal[known])
    return out
