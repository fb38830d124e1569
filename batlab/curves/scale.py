"""Angles and Bragg's law on either axis: what moves together when a cell changes size."""

from __future__ import annotations

import numpy as np


def to_scale(position: np.ndarray, axis: str) -> np.ndarray:
    """Return a number proportional to 1/d: q itself, or sin θ.

    >>> float(to_scale(np.array(60.0), "two_theta").round(6))
    0.5
    """
    return np.asarray(position, dtype=float) if axis == "q" else np.sin(np.radians(position) / 2.0)


def from_scale(scale: np.ndarray, axis: str) -> np.ndarray:
    """Return the position on `axis` of `to_scale`'s number; NaN beyond 180 degrees."""
    if axis == "q":
        return np.asarray(scale, dtype=float)
    inside = np.where(np.abs(scale) <= 1.0, scale, np.nan)
    return np.degrees(2.0 * np.arcsin(inside))
