"""Lines that come so near to one another that their light cannot be told apart."""

from __future__ import annotations

import numpy as np

from batlab.curves.groups import Fits, Setting

# Two lines nearer than this part of their width cannot be told apart.
RESOLVED = 0.5


def neighbours(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every position the next smaller and the next larger one, -inf and inf at the ends."""
    order = np.argsort(position, kind="stable")
    framed = np.concatenate([[-np.inf], position[order], [np.inf]])
    left, right = np.empty(len(position)), np.empty(len(position))
    left[order], right[order] = framed[:-2], framed[2:]
    return left, right


def pairs(position: np.ndarray, fwhm: np.ndarray) -> np.ndarray:
    """Return (frame, peak, peak), True for two peaks nearer than half the larger width; `fwhm` (peak,)."""
    limit = RESOLVED * np.maximum(fwhm[:, None], fwhm[None, :])
    np.fill_diagonal(limit, -1.0)
    return np.abs(position[:, :, None] - position[:, None, :]) < limit


def weaker(close: np.ndarray, height: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Return (frame, peak), True for active peaks close to an active one that is stronger (the first, if alike)."""
    n = height.shape[1]
    above = height[:, None, :] > height[:, :, None]
    above |= (height[:, None, :] == height[:, :, None]) & (np.arange(n)[None, :] < np.arange(n)[:, None])
    return active & (close & above & active[:, None, :]).any(axis=2)


def merged(fits: Fits, seen: np.ndarray, setting: Setting) -> np.ndarray:
    """Return True for fitted peaks that ended nearer to another than half the larger of their widths."""
    position = np.where(seen, fits.values[:, :, 0], np.nan)
    width = np.clip(fits.values[:, :, 2], None, 2.0 * setting.width)
    close = np.zeros(seen.shape, dtype=bool)
    for peak in range(seen.shape[1] - 1):
        apart = np.abs(position[:, peak + 1 :] - position[:, peak : peak + 1])
        with np.errstate(invalid="ignore"):
            pair = apart < RESOLVED * np.fmax(width[:, peak + 1 :], width[:, peak : peak + 1])
        close[:, peak + 1 :] |= pair
        close[:, peak] |= pair.any(axis=1)
    return close
