"""Refine a detector's geometry to points on rings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batlab.io.poni import Geometry
from batlab.scattering.ring_points import RingPoints

PARAMETERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")
CLIP = 4.0  # points further off than so many of their (robust) sigmas are outliers
FLOOR = 0.02  # pixel; no point is trusted more: a pixel's response is not known better


@dataclass(frozen=True)
class Refined:
    """A geometry, the covariance of its free parameters (metre, radian, angstrom), and which points it rests on.

    ``residual`` (point,) is how far each point lies outside its ring, in pixel.
    """

    geometry: Geometry
    names: tuple[str, ...]
    covariance: np.ndarray
    residual: np.ndarray
    used: np.ndarray

    def sigma(self, name: str) -> float:
        """Return the standard uncertainty of a parameter; 0 where it was fixed."""
        if name not in self.names:
            return 0.0
        return float(np.sqrt(self.covariance[self.names.index(name), self.names.index(name)]))


def refine_geometry(
    geometry: Geometry, shape: tuple[int, int], points: RingPoints, spacings: np.ndarray, free: Sequence[str]
) -> Refined:
    """Return the geometry that brings `points` onto rings of `spacings` (angstrom, by number of ring).

    Points further than 4 robust sigmas from their ring are left out, and the fit is repeated until none is added or
    lost. The covariance is scaled to the scatter that is left, if that is more than the points' own sigmas.
    """
    from scipy.optimize import least_squares

    names = tuple(name for name in PARAMETERS if name in free)
    integrator = geometry.pyfai(shape)
    scale = _scales(geometry, names)
    start = np.array([getattr(geometry, name) for name in names])
    across = np.linalg.norm(points.gradient, axis=1)
    sigma = np.hypot(points.sigma, FLOOR)
    d = spacings[points.ring]

    def offsets(z: np.ndarray) -> np.ndarray:
        moved = replace(geometry, **dict(zip(names, start + z * scale, strict=True)))
        position = [moved.distance, moved.poni1, moved.poni2, moved.rot1, moved.rot2, moved.rot3]
        sine = np.clip((moved.wavelength or 0.0) / (2 * d), 0.0, 1.0)
        return (integrator.tth(points.y, points.x, param=position) - 2 * np.arcsin(sine)) / across

    used = np.ones(d.size, bool)
    z = np.zeros(len(names))
    for turn in range(8):
        loss = "soft_l1" if turn == 0 else "linear"
        done = least_squares(lambda z, used=used: (offsets(z) / sigma)[used], z, x_scale=1.0, loss=loss, diff_step=1e-4)
        z = done.x
        before, used = used, _inliers(offsets(z), sigma)
        if turn and (before == used).all():
            break
    residual = offsets(z)
    jacobian = _jacobian(lambda z: (offsets(z) / sigma)[used], z)
    spare = max(int(used.sum()) - len(names), 1)
    factor = max(float((residual[used] ** 2 / sigma[used] ** 2).sum() / spare), 1.0)
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * factor * np.outer(scale, scale)
    values: dict[str, Any] = {name: float(v) for name, v in zip(names, start + z * scale, strict=True)}
    best = replace(geometry, **values)
    return Refined(best, names, covariance, residual, used)


def _scales(geometry: Geometry, names: Sequence[str]) -> np.ndarray:
    """Return a step of each parameter that moves rings by about a pixel."""
    pixel = float(np.sqrt(geometry.pixel_size_y * geometry.pixel_size_x))
    steps: dict[str, float] = {"distance": 1e-3 * geometry.distance, "poni1": pixel, "poni2": pixel}
    steps |= dict.fromkeys(("rot1", "rot2", "rot3"), 1e-3)
    steps["wavelength"] = 1e-3 * (geometry.wavelength or 1.0)
    return np.array([steps[name] for name in names])


def _inliers(offset: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    pull = offset / sigma
    middle = np.median(pull)
    spread = 1.4826 * np.median(np.abs(pull - middle))
    return np.abs(pull - middle) <= CLIP * max(float(spread), 1.0)


def _jacobian(residuals: Any, z: np.ndarray) -> np.ndarray:
    step = 1e-2
    columns = [(residuals(z + step * unit) - residuals(z - step * unit)) / (2 * step) for unit in np.eye(z.size)]
    return np.stack(columns, axis=-1)
