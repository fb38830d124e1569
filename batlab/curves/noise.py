"""What is known of the noise of a pattern: the variance as a fixed part and a part that follows the intensity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.ndimage import correlate1d, uniform_filter1d

from batlab.errors import DimensionError, SchemaError

# The median of a chi-squared variable with one degree of freedom.
MEDIAN_CHI2 = 0.454936423119573
GAUSSIAN = 4.0 * np.log(2.0)


class Noise(NamedTuple):
    """Variance = `fixed` (frame, point) + `gain` (frame) × expected intensity; `kind` says where it came from."""

    fixed: np.ndarray
    gain: np.ndarray
    kind: str


def noise_of(patterns: xr.Dataset, intensity: np.ndarray) -> Noise:
    """Return the noise model of `patterns`.

    ``intensity_sigma`` is taken as it stands (a σ of 0, which is what an empty bin of counts gets, becomes the
    smallest other σ of its frame), times ``sigma_inflation`` where the patterns have that. Without it, intensities in
    ``count`` are Poisson. Any other unit is taken as counts times an unknown factor, and the factor, one for the
    series, comes from the scatter of neighbouring points; where intensities are not positive this has no sense, and
    one constant variance is estimated instead.
    A variable ``background`` (already subtracted) adds its own counts.
    """
    shape = intensity.shape
    if "intensity_sigma" in patterns:
        stated = patterns["intensity_sigma"].broadcast_like(patterns["intensity"])  # one σ may serve all frames
        sigma = np.array(stated.transpose(*patterns["intensity"].dims).values, dtype=float)
        least = np.where(sigma > 0, sigma, np.inf).min(axis=1, initial=np.inf, keepdims=True)
        fixed = np.where(sigma == 0, np.where(np.isfinite(least), least, np.nan), sigma) ** 2
        if "sigma_inflation" in patterns:
            fixed *= inflation_of(patterns) ** 2
        return Noise(fixed, np.zeros(shape[0]), "intensity_sigma")
    below = np.zeros(shape)
    if "background" in patterns:
        below = np.asarray(patterns["background"].broadcast_like(patterns["intensity"]).values, dtype=float)
    if patterns["intensity"].attrs.get("units") == "count":
        return Noise(np.maximum(below, 0.0), np.ones(shape[0]), "poisson")
    gain, constant = estimate(intensity + below)
    if gain is None:
        return Noise(np.full(shape, constant), np.zeros(shape[0]), "estimated constant")
    return Noise(np.maximum(below, 0.0) * gain, np.full(shape[0], gain), "estimated proportional to intensity")


def inflation_of(patterns: xr.Dataset) -> np.ndarray:
    """Return by how much the σ of what spans several bins exceeds what independent bins give, over the patterns' axis.

    Where the pixels of the patterns are split, neighbouring bins share them and their errors are correlated: each
    bin's own σ is right, that of a peak is too small [1]_. ``sigma_inflation``, which `scattering.integrate` states, is
    √(Σ wᵢ / Σ wᵢ²) over the pixels of a bin. Without it the factor is 1, and so it is in a bin without pixels (NaN).

    Raises
    ------
    DimensionError
        ``sigma_inflation`` is not over the patterns' axis alone.
    SchemaError
        It is not positive.

    References
    ----------
    .. [1] https://github.com/silx-kit/pyFAI/issues/2774
    """
    axis = next(str(dim) for dim in patterns["intensity"].dims if dim != "frame")
    if "sigma_inflation" not in patterns:
        return np.ones(patterns.sizes[axis])
    stated = patterns["sigma_inflation"]
    if stated.dims != (axis,):
        raise DimensionError(f"sigma_inflation must be over ({axis!r},), got {tuple(map(str, stated.dims))}")
    factor = np.array(stated.values, dtype=float)
    factor[np.isnan(factor)] = 1.0
    if not (np.isfinite(factor) & (factor > 0)).all():
        raise SchemaError(f"sigma_inflation must be positive and finite, got {factor.min():g} to {factor.max():g}")
    return factor


def estimate(total: np.ndarray) -> tuple[float | None, float]:
    """Return the factor variance / intensity (None if intensities are not positive) and the typical variance.

    Uses the squared second differences, whose expectation is 1.5 variances where the curve is straight, and
    medians, which the few points on flanks do not move.
    """
    if total.shape[1] < 5:
        return None, 1.0
    bend = total[:, 1:-1] - 0.5 * (total[:, :-2] + total[:, 2:])
    mean = (total[:, :-2] + total[:, 1:-1] + total[:, 2:]) / 3.0
    known = np.isfinite(bend)
    if not known.any():
        return None, 1.0
    square = bend[known] ** 2 / 1.5
    constant = float(np.median(square)) / MEDIAN_CHI2
    if constant <= 0.0:
        constant = float(square.mean()) or 1.0
    if (mean[known] <= 0).mean() > 0.01:
        return None, constant
    positive = mean[known] > 0
    gain = float(np.median(square[positive] / mean[known][positive])) / MEDIAN_CHI2
    return (gain, constant) if gain > 0 else (None, constant)


def significance_map(intensity: np.ndarray, noise: Noise, width: float, sides_known: float = 0.5) -> np.ndarray:
    """Return for every point how many σ a Gaussian of `width` (points, full width at half maximum) stands out there.

    A matched filter: the Gaussian less its mean over the known points within ±2.5 widths, so that a level, and a
    straight background where both sides are known, give 0. So does a point with less than the
    part `sides_known` of either side known.
    """
    reach = max(2, int(np.ceil(2.5 * width)))
    gauss = np.exp(-GAUSSIAN * (np.arange(-reach, reach + 1) / width) ** 2)
    sides = np.ones(2 * reach + 1)
    known = np.isfinite(intensity) & np.isfinite(noise.fixed)
    filled = np.where(known, intensity, 0.0)
    variance = np.where(known, noise.fixed + expected_variance(intensity, known, noise.gain), 0.0)
    one = known[:1].astype(float) if known.all() else known.astype(float)

    def over(values: np.ndarray, template: np.ndarray) -> np.ndarray:
        return correlate1d(values, template, axis=1, mode="constant")

    n_known = over(one, sides)
    before = over(one, np.where(np.arange(-reach, reach + 1) < 0, 1.0, 0.0))
    after = over(one, np.where(np.arange(-reach, reach + 1) > 0, 1.0, 0.0))
    mean = over(one, gauss) / np.maximum(n_known, 1.0)
    signal = over(filled, gauss) - mean * over(filled, sides)
    spread = over(variance, gauss**2) - 2 * mean * over(variance, gauss) + mean**2 * over(variance, sides)
    usable = (np.minimum(before, after) >= sides_known * reach) & (spread > 0)
    return np.divide(signal, np.sqrt(np.maximum(spread, 0.0)), out=np.zeros_like(signal), where=usable)


def expected_variance(intensity: np.ndarray, known: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return gain × intensity, the intensity smoothed over 7 points and at least one count."""
    if not gain.any():
        return np.zeros(intensity.shape)
    smooth = uniform_filter1d(bridged(intensity, known), 7, axis=1, mode="nearest")
    return np.maximum(gain[:, None] * smooth, gain[:, None] ** 2)


def bridged(intensity: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return `intensity` with what is not `known` interpolated along its row; empty rows become 0."""
    if known.all():
        return intensity
    filled = np.where(known, intensity, 0.0)
    points = np.arange(intensity.shape[1])
    for row in np.flatnonzero(~known.all(axis=1) & known.any(axis=1)):
        have = known[row]
        filled[row, ~have] = np.interp(points[~have], points[have], intensity[row, have])
    return filled
