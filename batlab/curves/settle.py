"""The last fit: every frame from where following has put each line, each cell known."""

from __future__ import annotations

import numpy as np

from batlab.curves import blends
from batlab.curves.follow import (
    AT_BOUND,
    NO_DATA,
    NO_PEAK,
    OK,
    UNRESOLVED,
    Expected,
    Followed,
    fit_present,
    unmeasured,
)
from batlab.curves.groups import POSITION, Fits, Setting
from batlab.curves.noise import Noise, significance_map

CHUNK = 128  # frames at once
# A line this part of another's height, and closer than it can be told apart, does not move the other.
HARMLESS = 0.02
# Of its width: light farther than this from where the cell puts a line is not, or not only, that line's.
STRAY = 0.5


def settle(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, followed: Followed, setting: Setting
) -> tuple[Fits, np.ndarray]:
    """Fit the lines of all phases once more, from the places that their cells give them in each frame.

    Two lines that their cells put on one place are ``unresolved`` there, whichever the light seems to follow; what is
    found half a width beside its place is light of something else. Without a phase of known symmetry nothing is new.
    """
    if not expected.lattices:
        return followed.fits, followed.status
    tied = ~expected.alone
    height = _heights(expected, followed)
    fwhm = _typical(followed, expected, setting)
    fits, status = Fits.empty(*followed.status.shape), np.empty_like(followed.status)
    for at in range(0, len(intensity), CHUNK):
        rows = slice(at, at + CHUNK)
        part = Noise(noise.fixed[rows], noise.gain[rows], noise.kind)
        place, reach = followed.place[rows], np.where(tied, setting.width, expected.reach)
        start = np.stack(np.broadcast_arrays(place, fwhm, expected.eta), axis=-1)
        there = _strength(x, intensity[rows], part, place, reach, setting)
        left, right = (np.stack(side) for side in zip(*(blends.neighbours(row) for row in place)))
        lonely = np.minimum(place - left, right - place) > 3 * setting.width
        told = np.where(lonely & (there < 0.5 * setting.significance), NO_PEAK, OK).astype(np.int8)
        told[tied & ~followed.present[rows]] = NO_PEAK
        close = blends.pairs(place, fwhm)
        weaker = blends.weaker(close, height[rows], told == OK)
        told[weaker] = UNRESOLVED
        found, told = fit_present(x, intensity[rows], part, start, np.broadcast_to(reach, place.shape), told, setting)
        felt = height[rows][:, None, :] > HARMLESS * height[rows][:, :, None]
        hidden = weaker | (close & felt & weaker[:, None, :]).any(axis=2)
        with np.errstate(invalid="ignore"):
            away = np.abs(found.values[:, :, 0] - place) > STRAY * np.fmax(found.values[:, :, 2], setting.width)
        stray = tied & (told <= AT_BOUND) & (away | (found.at_bound & POSITION > 0))
        told[hidden | stray | blends.merged(found, told <= AT_BOUND, setting)] = UNRESOLVED
        told[(told > AT_BOUND) & unmeasured(x, intensity[rows], part, place, setting)] = NO_DATA
        fits.put(rows, found, slice(None))
        status[rows] = told
    return fits, status


def _heights(expected: Expected, followed: Followed) -> np.ndarray:
    """Return (frame, peak) how high each line should be: as seen, or as the seen ones of its phase say."""
    seen = followed.status <= AT_BOUND
    height = np.where(seen, followed.fits.values[:, :, 1], expected.height)
    for one in expected.lattices.values():
        mine = seen[:, one.lines]
        amount = np.where(mine, height[:, one.lines] / expected.weight[one.lines], np.nan)
        some = mine.any(axis=1)
        middle = np.zeros(len(height))
        middle[some] = np.nanmedian(amount[some], axis=1)
        middle *= followed.present[:, one.lines[0]]
        height[:, one.lines] = np.where(mine, height[:, one.lines], middle[:, None] * expected.weight[one.lines])
    return height


def _typical(followed: Followed, expected: Expected, setting: Setting) -> np.ndarray:
    width = np.where(followed.status <= AT_BOUND, followed.fits.values[:, :, 2], np.nan)
    some = np.isfinite(width).any(axis=0)
    typical = expected.fwhm.copy()
    typical[some] = np.nanmedian(width[:, some], axis=0)
    return np.clip(typical, 0.5 * setting.width, 2.0 * setting.width)


def _strength(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, place: np.ndarray, reach: np.ndarray, setting: Setting
) -> np.ndarray:
    """Return (frame, peak) the filter's strongest answer within reach of each place."""
    step = (x[-1] - x[0]) / (len(x) - 1)
    strengths = significance_map(intensity, noise, setting.width / step)
    result = np.empty(place.shape)
    for frame, row in enumerate(place):
        first = np.clip(np.searchsorted(x, row - reach), 0, len(x) - 1)
        last = np.clip(np.searchsorted(x, row + reach), first + 1, len(x))
        result[frame] = [strengths[frame, a:b].max() for a, b in zip(first, last)]
    return result
