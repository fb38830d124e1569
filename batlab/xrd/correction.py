"""Where an instrument puts lines that a cell alone does not: zero shift, sample displacement."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.curves import metric
from batlab.curves.lines import two_theta_of
from batlab.errors import choose
from batlab.schema import quantity
from batlab.xrd import least_squares

CORRECTIONS = ("zero_shift", "displacement", "distance")


class Scale(NamedTuple):
    """The axis on which positions stand."""

    axis: str  # "q" or "two_theta"
    wavelength: float | None  # angstrom


def inverse_d2(position: np.ndarray, scale: Scale) -> np.ndarray:
    """Return 1/d² [1/angstrom²] of positions."""
    if scale.axis == "q":
        return (position / (2 * np.pi)) ** 2
    return (2 * np.sin(np.radians(position / 2)) / float(scale.wavelength or np.nan)) ** 2


def lever(position: np.ndarray, scale: Scale) -> np.ndarray:
    """Return d(1/d²)/d(position)."""
    if scale.axis == "q":
        return position / (2 * np.pi**2)
    return np.sin(np.radians(position)) * 2 / float(scale.wavelength or np.nan) ** 2 * np.pi / 180


def place(inverse: np.ndarray, scale: Scale) -> np.ndarray:
    """Return the positions of 1/d²."""
    q = 2 * np.pi * np.sqrt(inverse)
    return q if scale.axis == "q" else two_theta_of(q, float(scale.wavelength or np.nan))


def shape(position: np.ndarray, scale: Scale, correction: str) -> np.ndarray:
    """Return how far one unit of the correction moves a line at `position`.

    ``zero_shift``: by itself. ``displacement``: ``Δ2θ = -2 (s/R) cos θ``, the sample a fraction s/R of the
    goniometer's radius off its axis (Bragg-Brentano). ``distance``: ``Δ tan 2θ = ε tan 2θ``, the sample a fraction ε
    of the distance away from a flat detector.

    Raises
    ------
    ValueError
        A displacement in q, or a distance without a wavelength.
    """
    if correction == "zero_shift":
        return np.ones_like(position)
    if correction == "displacement":
        if scale.axis != "two_theta":
            raise ValueError("correction 'displacement' needs peaks in two_theta; use 'distance' for a flat detector")
        return -np.degrees(2 * np.cos(np.radians(position / 2)))
    choose("correction", correction, CORRECTIONS)
    if scale.wavelength is None:
        raise ValueError("correction 'distance' needs attrs['wavelength'] on the peaks")
    if scale.axis == "two_theta":
        return np.degrees(np.sin(2 * np.radians(position)) / 2)
    theta = np.radians(two_theta_of(position, scale.wavelength) / 2)
    return position * np.cos(theta) ** 2 * np.cos(2 * theta)


def from_standard(
    position: np.ndarray, sigma: np.ndarray, expected: np.ndarray, scale: Scale, correction: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the correction that a standard of known cell asks for, and how its lines check each other.

    Parameters
    ----------
    position, sigma
        (frame, line) of the standard, NaN where missing.
    expected
        (line,) where its cell puts them.

    Returns
    -------
    tuple of ndarray
        The correction and its σ (frame,); and for each line (frame, line) the relative error in d that stays after
        the correction by the *other* lines, and its σ. NaN where there is no other line.
    """
    moved = shape(np.broadcast_to(expected, position.shape), scale, correction)
    shift = position - expected
    ones = np.ones_like(shift)
    whole = least_squares.fit(moved[..., None], shift, sigma, ones)
    check, check_sigma = np.full((2, *shift.shape), np.nan)
    for line in range(shift.shape[1]):
        others = np.delete(np.arange(shift.shape[1]), line)
        part = least_squares.fit(moved[:, others, None], shift[:, others], sigma[:, others], ones[:, others])
        value = part.parameters[:, 0]
        left = shift[:, line] - value * moved[:, line]
        stretch = -lever(position[:, line], scale) / (2 * inverse_d2(position[:, line], scale))  # d(ln d)/d(position)
        check[:, line] = stretch * left
        spread = np.hypot(sigma[:, line], np.sqrt(part.covariance[:, 0, 0]) * moved[:, line])
        check_sigma[:, line] = np.abs(stretch) * spread
    return whole.parameters[:, 0], np.sqrt(whole.covariance[:, 0, 0]), check, check_sigma


def expected_places(standard: xr.Dataset, hkl: list[str], scale: Scale) -> np.ndarray:
    """Return where the cell of a standard puts its lines."""
    cell = np.array([float(standard[name]) for name in (*metric.LENGTHS, *metric.ANGLES)])
    return place(metric.terms(metric.miller(hkl)) @ metric.reciprocal_metric(cell), scale)


def describe(
    value: np.ndarray, sigma: np.ndarray, correction: str, scale: Scale, radius: float | None
) -> dict[str, xr.Variable]:
    """Return the correction as variables over ``frame``, a displacement in mm where the radius is known."""
    units = ("degree" if scale.axis == "two_theta" else "1/angstrom") if correction == "zero_shift" else "1"
    names = {
        "zero_shift": "zero shift, observed minus true",
        "displacement": "sample displacement over goniometer radius",
        "distance": "relative change of the sample-detector distance",
    }
    long_name, factor = names[correction], 1.0
    if correction == "displacement" and radius is not None:
        units, factor, long_name = "mm", float(radius), "sample displacement"
    return {
        correction: quantity("frame", value * factor, units, long_name),
        f"{correction}_sigma": quantity("frame", sigma * factor, units, f"1 sigma of the {long_name}"),
    }
