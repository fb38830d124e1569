"""The errors of peaks that were fitted together on a baseline that was fitted beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.xas.pre_edge_baseline import Baseline

LN2 = np.log(2.0)


class Peaks(NamedTuple):
    """Of each frame: the parameters of PARAMETERS, 0 where a peak is absent."""

    values: np.ndarray  # (frame, peak, 4)
    absent: np.ndarray
    status: np.ndarray


class Covariance(NamedTuple):
    """Of all peaks of a frame, parameters in the order of PARAMETERS, peak by peak."""

    values: np.ndarray  # (frame, peak, 4), 0 where there is no peak
    matrix: np.ndarray  # (frame, 4 peaks, 4 peaks)


def covariance_of(energy: np.ndarray, noise: np.ndarray, left: np.ndarray, under: Baseline, peaks: Peaks) -> Covariance:
    """Return the covariance of the peaks: their own noise, and that of the baseline carried through the fit."""
    values = peaks.values
    slopes = _slopes(energy, values)
    eta = values[:, :, 3]
    held = peaks.absent[:, :, None] | (np.arange(4) == 3) & ((eta <= 0) | (eta >= 1))[:, :, None]
    slopes = np.where(held.reshape(len(values), 1, -1), 0.0, slopes)
    weight = np.where(np.isfinite(left) & (noise > 0), 1.0 / np.where(noise > 0, noise, 1.0) ** 2, 0.0)
    across = slopes.transpose(0, 2, 1) * weight[:, None, :]
    own = np.linalg.pinv(across @ slopes, rcond=1e-14, hermitian=True)
    moved = own @ (across @ np.nan_to_num(under.slopes))
    spare = (weight > 0).sum(axis=1) - (~held).reshape(len(values), -1).sum(axis=1)
    gap = np.nan_to_num(left) - _profiles(energy, values)
    chi2 = (weight * gap**2).sum(axis=1) / np.maximum(spare, 1)
    chance = 1 + 2 * np.sqrt(2 / np.maximum(spare, 1))  # two σ of χ² above its mean
    worse = np.where((spare > 0) & (chi2 > chance), chi2, 1.0)
    matrix = worse[:, None, None] * own + moved @ under.covariance @ moved.transpose(0, 2, 1)
    return Covariance(values, matrix)


def _profiles(energy: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of all pseudo-Voigts (frame, point)."""
    position, height, fwhm, eta = (values[:, None, :, i] for i in range(4))
    u = (energy[None, :, None] - position) / np.where(fwhm > 0, fwhm, 1.0)
    return (height * (eta / (1 + 4 * u**2) + (1 - eta) * np.exp(-4 * LN2 * u**2))).sum(axis=2)


def _slopes(energy: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the derivatives of all pseudo-Voigts by their parameters (frame, point, 4 peaks)."""
    position, height, fwhm, eta = (values[:, None, :, i] for i in range(4))
    wide = np.where(fwhm > 0, fwhm, 1.0)
    u = (energy[None, :, None] - position) / wide
    gauss, lorentz = np.exp(-4 * LN2 * u**2), 1 / (1 + 4 * u**2)
    by_u = height * (eta * -8 * u * lorentz**2 + (1 - eta) * -8 * LN2 * u * gauss)
    columns = (-by_u / wide, eta * lorentz + (1 - eta) * gauss, -u * by_u / wide, height * (lorentz - gauss))
    return np.stack(columns, axis=3).reshape(len(values), len(energy), -1)


def areas_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the area of each peak and its derivatives by all parameters (frame, peak, 4 peaks)."""
    _, height, fwhm, eta = (values[:, :, i] for i in range(4))
    bell, tail = 0.5 * np.sqrt(np.pi / LN2), 0.5 * np.pi
    factor = eta * tail + (1 - eta) * bell
    n_frames, n_peaks = height.shape
    slopes = np.zeros((n_frames, n_peaks, n_peaks, 4))
    own = np.arange(n_peaks)
    slopes[:, own, own, 1] = fwhm * factor
    slopes[:, own, own, 2] = height * factor
    slopes[:, own, own, 3] = height * fwhm * (tail - bell)
    return height * fwhm * factor, slopes.reshape(n_frames, n_peaks, -1)


def together(position: np.ndarray, area: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum of areas, the centroid, and the derivatives of both (frame, 2, 4 peaks)."""
    total = area.sum(axis=1)
    safe = np.where(total != 0, total, np.nan)
    centre = (area * position).sum(axis=1) / safe
    by_area = (position - centre[:, None]) / safe[:, None]
    n_peaks = position.shape[1]
    by_centre = np.einsum("fk,fkp->fp", np.nan_to_num(by_area), slopes)
    by_centre[:, 4 * np.arange(n_peaks)] += np.nan_to_num(area / safe[:, None])
    return total, centre, np.stack([slopes.sum(axis=1), by_centre], axis=1)
