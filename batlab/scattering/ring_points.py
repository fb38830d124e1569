"""Where rings lie on an image: one point for each ring and azimuth sector, by fits along the radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

ITERATIONS = 6
LEAST_HEIGHT = 6.0  # of a peak over its own sigma; of 10^4 sectors without a ring none reaches it by chance
GAP_SHARE = 0.45  # of the way to the next ring; a little more and the search would meet its neighbour's slope


@dataclass(frozen=True)
class RingPoints:
    """Points on rings: ``ring`` counts from the innermost; ``y``, ``x`` in pixel (0 is the centre of the first);
    ``sigma`` of its place across the ring in pixel; ``gradient`` of 2θ over y and x in radian a pixel; all (point,).
    ``width`` is the rings' own sigma in pixel (ring,).
    """

    ring: np.ndarray
    y: np.ndarray
    x: np.ndarray
    sigma: np.ndarray
    gradient: np.ndarray
    width: np.ndarray


@dataclass(frozen=True)
class Picture:
    """Usable pixels of an image of `shape`: row, column, counts; whole numbers scatter as Poisson says, at least."""

    y: np.ndarray
    x: np.ndarray
    counts: np.ndarray
    shape: tuple[int, int]
    is_counting: bool

    @classmethod
    def of(cls, image: np.ndarray, mask: np.ndarray) -> Picture:
        y, x = np.nonzero(~mask & np.isfinite(image))
        return cls(y, x, image[y, x].astype(float), image.shape, image.dtype.kind in "ui")


def find_points(
    picture: Picture, integrator: Any, angles: np.ndarray, rings: np.ndarray, *, reach: float, n_sectors: int
) -> RingPoints:
    """Return the points of some `rings` that stand out of their surroundings.

    Parameters
    ----------
    picture
        The image.
    integrator
        pyFAI's object for the geometry as it is believed to be.
    angles
        2θ in radian of all rings of the calibrant, increasing.
    rings
        Which of them to look for.
    reach
        How far from its expected place a ring is looked for, in pixel; never beyond 0.45 of the way to the next.
    n_sectors
        Sectors of azimuth; a ring gives one point in each at most.
    """
    two_theta = integrator.center_array(picture.shape, unit="2th_rad", scale=False)[picture.y, picture.x]
    pixel = pixel_angle(integrator, angles[rings], picture.shape)
    reaches = np.minimum(reach * pixel, GAP_SHARE * _gaps(angles)[rings])
    empty = np.zeros(0)
    at, number = _near_rings(two_theta, angles[rings], reaches) if rings.size else (empty, empty)
    if not at.size:
        return RingPoints(np.zeros(0, int), empty, empty, empty, np.zeros((0, 2)), np.full(rings.size, np.nan))
    chi = integrator.chi(picture.y[at].astype(float), picture.x[at].astype(float))
    sector = np.minimum(((chi + np.pi) / (2 * np.pi) * n_sectors).astype(int), n_sectors - 1)
    group = number * n_sectors + sector
    x = (two_theta[at] - angles[rings][number]) / pixel[number]
    n_groups = rings.size * n_sectors
    start, width = _coarse(x, picture.counts[at], group, n_groups, n_sectors, reaches / pixel)
    centre, sigma, weights = _fit(x, picture.counts[at], group, start, width, picture.is_counting)
    kept = np.flatnonzero(np.isfinite(centre))
    total = np.bincount(group, weights, n_groups)[kept]
    down, along = (np.bincount(group, weights * one[at], n_groups)[kept] / total for one in (picture.y, picture.x))
    wanted = angles[rings][kept // n_sectors] + centre[kept] * pixel[kept // n_sectors]
    y, x_, gradient = _onto(integrator, down, along, wanted)
    scale = np.linalg.norm(gradient, axis=1)
    across = sigma[kept] * pixel[kept // n_sectors] / scale
    return RingPoints(rings[kept // n_sectors], y, x_, across, gradient, width)


def pixel_angle(integrator: Any, angles: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return about how much 2θ a pixel spans at these angles, in radian: a detector across the beam."""
    along = abs(integrator.dist * np.cos(integrator.rot1) * np.cos(integrator.rot2))
    size = float(np.sqrt(integrator.detector.pixel1 * integrator.detector.pixel2))
    return size / along * np.maximum(np.cos(angles) ** 2, 0.02)


def gradient_of(integrator: Any, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the gradient of 2θ over y and x, radian a pixel, (point, 2)."""
    step = 0.5
    along = [
        (integrator.tth(y + dy, x + dx) - integrator.tth(y - dy, x - dx)) / (2 * step)
        for dy, dx in ((step, 0.0), (0.0, step))
    ]
    return np.stack(along, axis=-1)


def _onto(integrator: Any, y: np.ndarray, x: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Move points along the gradient of 2θ to the angle `wanted`."""
    gradient = gradient_of(integrator, y, x)
    for _ in range(2):
        move = (wanted - integrator.tth(y, x))[:, None] * gradient / (gradient**2).sum(axis=1, keepdims=True)
        y, x = y + move[:, 0], x + move[:, 1]
    return y, x, gradient


def _gaps(angles: np.ndarray) -> np.ndarray:
    steps = np.diff(angles, prepend=0.0, append=np.inf)
    return np.minimum(steps[:-1], steps[1:])


def _near_rings(two_theta: np.ndarray, angles: np.ndarray, reaches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels lie within reach of a ring, and the number of that ring."""
    middles = (angles[1:] + angles[:-1]) / 2
    number = np.searchsorted(middles, two_theta)
    at = np.flatnonzero(np.abs(two_theta - angles[number]) < reaches[number])
    return at, number[at]


def _coarse(
    x: np.ndarray, counts: np.ndarray, group: np.ndarray, n_groups: int, n_sectors: int, reaches: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the place (group,) of the highest point of each sector's profile, and the width (ring,) of each ring."""
    half = int(np.ceil(reaches.max())) + 1
    n_bins = 2 * half + 1
    index = group * n_bins + np.rint(x).astype(int) + half
    size = n_groups * n_bins
    seen = np.bincount(index, minlength=size).reshape(n_groups, n_bins)
    total = np.bincount(index, counts, size).reshape(n_groups, n_bins)
    with np.errstate(invalid="ignore"):
        profile = total / seen
    # Two points of three, so that one hot pixel is no ring.
    smooth = _median3(profile)
    base = np.nanmedian(np.where(seen.any(axis=1, keepdims=True), profile, 0.0), axis=1)
    smooth = np.where(np.isnan(smooth), -np.inf, smooth)
    start = smooth.argmax(axis=1) - float(half)
    start[~np.isfinite(smooth.max(axis=1))] = np.nan
    return start, _widths(profile - base[:, None], start, n_sectors, half)


def _median3(profile: np.ndarray) -> np.ndarray:
    """Return the mean of each bin with its neighbours, those bins without a pixel left out; ends need a neighbour."""
    padded = np.pad(profile, ((0, 0), (1, 1)), constant_values=np.nan)
    three = np.stack([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]])
    complete = np.isfinite(three).sum(axis=0) >= 2
    return np.where(complete, np.nansum(three, axis=0) / np.maximum(np.isfinite(three).sum(axis=0), 1), np.nan)


def _widths(profile: np.ndarray, start: np.ndarray, n_sectors: int, half: int) -> np.ndarray:
    """Return sigma of each ring in pixel: from the full width at half maximum of its sectors, laid over each other."""
    n_rings = start.size // n_sectors
    widths = np.full(n_rings, 1.5)
    for ring in range(n_rings):
        rows = np.arange(ring * n_sectors, (ring + 1) * n_sectors)
        rows = rows[np.isfinite(start[rows])]
        if not rows.size:
            continue
        lag = np.arange(-half, half + 1)
        columns = lag[None, :] + start[rows].astype(int)[:, None] + half
        valid = (columns >= 0) & (columns < profile.shape[1])
        laid = np.where(valid, profile[rows[:, None], np.clip(columns, 0, profile.shape[1] - 1)], np.nan)
        used = np.isfinite(laid).any(axis=0)
        mean = np.full(lag.size, -np.inf)
        mean[used] = np.nanmedian(laid[:, used], axis=0)
        above = mean > 0.5 * mean[half]
        right = np.argmin(above[half:]) or half
        left = np.argmin(above[half::-1]) or half
        widths[ring] = max((right + left - 1) / 2.355, 0.7)
    return np.minimum(widths, max(half / 3, 0.7))


def _fit(
    x: np.ndarray, counts: np.ndarray, group: np.ndarray, start: np.ndarray, width: np.ndarray, is_counting: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit height, place and a sloping ground to each sector, all at once (Gauss-Newton; the width stays).

    Returns centre and its sigma (group,), NaN where there is no ring, and the weight of each pixel in its peak.
    """
    centre = start.copy()
    broad = np.repeat(width, start.size // width.size)
    reach = np.maximum(4 * broad, 3.0)
    for _ in range(ITERATIONS):
        step, error, height, lost = _step(x, counts, group, centre, broad, reach, is_counting)
        centre = centre + np.clip(step, -broad, broad)
        lost |= np.abs(centre - start) > np.maximum(3 * broad, 3.0)
        centre[lost] = np.nan
    good = (height > LEAST_HEIGHT) & (np.abs(step) < 0.1 * broad) & (error < 0.5 * broad)
    centre[~good] = np.nan
    away = x - centre[group]
    weights = np.where(np.isfinite(away), np.exp(-0.5 * (np.nan_to_num(away) / broad[group]) ** 2), 0.0)
    weights[np.abs(np.nan_to_num(away)) > reach[group]] = 0.0
    return centre, error, weights


def _step(
    x: np.ndarray,
    counts: np.ndarray,
    group: np.ndarray,
    centre: np.ndarray,
    broad: np.ndarray,
    reach: np.ndarray,
    is_counting: bool,
) -> tuple[np.ndarray, ...]:
    """Return the shift of each centre, its sigma, height over its sigma, and which sectors cannot be fitted."""
    away = x - centre[group]
    near = np.flatnonzero(np.abs(away) < reach[group])  # a NaN centre is not near
    away, value, group = away[near], counts[near], group[near]
    peak = np.exp(-0.5 * (away / broad[group]) ** 2)
    basis = (np.ones_like(away), away, peak, away / broad[group] ** 2 * peak)
    n = centre.size
    matrix = np.empty((n, 4, 4))
    right = np.empty((n, 4))
    for i in range(4):
        right[:, i] = np.bincount(group, basis[i] * value, n)
        for j in range(i, 4):
            matrix[:, i, j] = matrix[:, j, i] = np.bincount(group, basis[i] * basis[j], n)
    squares = np.bincount(group, value**2, n)
    seen = np.bincount(group, minlength=n)
    scale = np.sqrt(np.maximum(np.diagonal(matrix, axis1=1, axis2=2), 1e-300))
    normed = matrix / (scale[:, :, None] * scale[:, None, :])
    # The smallest eigenvalue falls when only one flank of a peak was seen.
    solvable = (seen > 8) & (np.linalg.eigvalsh(normed)[:, 0] > 1e-3)
    normed[~solvable] = np.eye(4)
    inverse = np.linalg.inv(normed) / (scale[:, :, None] * scale[:, None, :])
    solution = (inverse @ right[:, :, None])[:, :, 0]
    rest = np.maximum(squares - (solution * right).sum(axis=1), 0.0) / np.maximum(seen - 4, 1)
    if is_counting:
        rest = np.maximum(rest, np.bincount(group, np.abs(value), n) / np.maximum(seen, 1))
    rest = np.maximum(rest, 1e-300)
    height = solution[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = height / np.sqrt(rest * inverse[:, 2, 2])
        step = solution[:, 3] / height
        error = np.sqrt(rest * inverse[:, 3, 3]) / np.abs(height)
    lost = ~solvable | ~(height > 0)
    step[lost], error[lost], strength[lost] = 0.0, np.inf, 0.0
    return step, error, strength, lost
