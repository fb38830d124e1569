"""Peaks followed from frame to frame: where each is expected, whether it is there, which are one."""

from __future__ import annotations

import numpy as np

from batlab.curves.groups import FWHM, POSITION, Fits, Setting, fit_groups
from batlab.curves.near import Seeds
from batlab.curves.noise import Noise, significance_map
from batlab.curves.scale import from_scale, to_scale

OK, AT_BOUND, NOT_CONVERGED, NO_PEAK, NO_DATA, UNRESOLVED = range(6)
# Two lines nearer than this part of their width cannot be told apart.
RESOLVED = 0.5
LONGEST_BLOCK = 64


class Expected:
    """Where the peaks are expected next: position, fwhm, eta, height of each, and which were seen last."""

    def __init__(self, seeds: Seeds, position: np.ndarray, reach: np.ndarray, setting: Setting):
        n = len(seeds)
        self.phase = seeds.phase
        self.position = position.copy()
        self.reach = reach.copy()
        self.fwhm = np.full(n, setting.width)
        self.eta = np.full(n, 0.5)
        self.height = seeds.weight.astype(float).copy()
        self.seen = np.zeros(n, dtype=bool)
        self.setting = setting

    def learn(self, fits: Fits, status: np.ndarray) -> None:
        """Take over where each peak was last seen in some frames; what is lost now moves as its phase does."""
        setting, before = self.setting, self.position.copy()
        ok = (status <= AT_BOUND) & (fits.at_bound & POSITION == 0)
        ever, self.seen = ok.any(axis=0), ok[-1]
        last = fits.values[len(ok) - 1 - ok[::-1].argmax(axis=0), np.arange(len(ever))][ever]
        self.position[ever], self.height[ever] = last[:, 0], last[:, 1]
        self.fwhm[ever] = np.clip(0.5 * (self.fwhm[ever] + last[:, 2]), 0.3 * setting.width, 3.0 * setting.width)
        self.eta[ever] = np.clip(last[:, 3], 0.05, 0.95)
        self.reach[ever] = 1.5 * setting.width
        ratio = to_scale(self.position, setting.axis) / to_scale(before, setting.axis)
        for phase in set(self.phase) - {""}:
            here, lost = (self.phase == phase) & self.seen, (self.phase == phase) & ~ever
            if here.any() and lost.any():
                moved = from_scale(to_scale(before[lost], setting.axis) * np.median(ratio[here]), setting.axis)
                self.position[lost] = np.where(np.isfinite(moved), moved, before[lost])
                self.reach[lost] = 1.5 * setting.width


def follow(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting
) -> tuple[Fits, np.ndarray]:
    """Fit all frames in order and return the fits and the status of each.

    Frames are fitted in blocks from the same expected positions; of a block those frames count after which no peak
    had moved by half a width, the next block starts there. Blocks depend on the data only, so that the result is the
    same for any number of threads.
    """
    n = len(intensity)
    fits, status = Fits.empty(n, len(expected.position)), np.zeros((n, len(expected.position)), np.int8)
    at, block = 0, 1
    while at < n:
        rows = slice(at, min(at + block, n))
        part = Noise(noise.fixed[rows], noise.gain[rows], noise.kind)
        found, told = _block(x, intensity[rows], part, expected, setting)
        good = _trusted(found, told, expected, setting)
        block = min(2 * block, LONGEST_BLOCK) if good == len(told) else max(1, good)
        fits.put(slice(at, at + good), found, slice(0, good))
        status[at : at + good] = told[:good]
        expected.learn(found.rows(slice(0, good)), told[:good])
        at += good
    return fits, status


def _trusted(fits: Fits, status: np.ndarray, expected: Expected, setting: Setting) -> int:
    """Return how many leading frames of a block were near enough to what was expected, at least one."""
    with np.errstate(invalid="ignore"):
        far = np.abs(fits.values[:, :, 0] - expected.position) > 0.5 * np.maximum(expected.fwhm, 0.5 * setting.width)
    strayed = (far & (status <= AT_BOUND)).any(axis=1) | ((status > AT_BOUND) & expected.seen).any(axis=1)
    return max(1, int(strayed.argmax()) if strayed.any() else len(status))


def _block(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting
) -> tuple[Fits, np.ndarray]:
    start, reach, strength = _starts(x, intensity, noise, expected, setting)
    left, right = neighbours(expected.position)
    lonely = np.minimum(expected.position - left, right - expected.position) > 3 * setting.width
    status = np.where(lonely & (strength < 0.5 * setting.significance), NO_PEAK, OK).astype(np.int8)
    weaker = _merged(start, expected, status == OK)
    status[weaker] = UNRESOLVED
    fits = fit_groups(x, intensity, noise, start, reach, status == OK, setting)
    for _ in range(3):
        status = _judged(fits, status, setting)
        drop = (fits.state >= 0) & (status >= NOT_CONVERGED) & (status != UNRESOLVED)
        again = drop.any(axis=1)
        if not again.any():
            break
        part = Noise(noise.fixed[again], noise.gain[again], noise.kind)
        keep = status[again] <= AT_BOUND
        redone = fit_groups(x, intensity[again], part, start[again], reach[again], keep, setting)
        fits.put(again, redone, slice(None))
    status[_shared(start, expected, weaker) | _close(fits, status, setting)] = UNRESOLVED
    return fits, status


def _judged(fits: Fits, status: np.ndarray, setting: Setting) -> np.ndarray:
    """Return the status of each fit; those not fitted keep theirs."""
    fitted = fits.state >= 0
    # A place or width at its limit is what noise looks like: such a peak must be twice as strong.
    doubtful = (fits.at_bound & (POSITION | FWHM)) > 0
    weak = ~(fits.strength > np.where(doubtful, 2.0, 1.0) * setting.significance)
    told = np.where(fits.at_bound > 0, AT_BOUND, OK)
    told = np.where(weak, NO_PEAK, told)
    told = np.where(fits.state == 1, NOT_CONVERGED, told)
    told = np.where(fits.state == 2, NO_DATA, told)
    return np.where(fitted, told, status).astype(np.int8)


def _starts(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return start (frame, peak, 3), reach and filter strength (frame, peak).

    A start is moved off the expected position to the strongest point within reach only if the expected one has less
    than half its strength, and never beyond half way to a neighbour.
    """
    step = (x[-1] - x[0]) / (len(x) - 1)
    strengths = significance_map(intensity, noise, setting.width / step)
    n_frames, n_peaks = len(intensity), len(expected.position)
    start = np.empty((n_frames, n_peaks, 3))
    start[:, :, 1], start[:, :, 2] = expected.fwhm, expected.eta
    strength = np.empty((n_frames, n_peaks))
    left, right = neighbours(expected.position)
    low = np.maximum(expected.position - expected.reach, 0.5 * (expected.position + left))
    high = np.minimum(expected.position + expected.reach, 0.5 * (expected.position + right))
    for peak in range(n_peaks):
        first, last = np.searchsorted(x, [low[peak], high[peak]])
        first, last = max(0, min(first, len(x) - 1)), min(max(last, first + 1), len(x))
        here = strengths[:, first:last]
        distance = (x[first:last] - expected.position[peak]) / max(expected.reach[peak], step)
        best = (here * (1.0 - 0.5 * distance**2)).argmax(axis=1)
        middle_point = min(max(int(np.searchsorted(x, expected.position[peak])), 0), len(x) - 1)
        stay = strengths[:, middle_point] > 0.5 * here[np.arange(n_frames), best]
        start[:, peak, 0] = np.where(stay, expected.position[peak], x[first:last][best])
        strength[:, peak] = here.max(axis=1)
    return start, np.broadcast_to(expected.reach, strength.shape), strength


def neighbours(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every position the next smaller and the next larger one, -inf and inf at the ends."""
    order = np.argsort(position, kind="stable")
    framed = np.concatenate([[-np.inf], position[order], [np.inf]])
    left, right = np.empty(len(position)), np.empty(len(position))
    left[order], right[order] = framed[:-2], framed[2:]
    return left, right


def _merged(start: np.ndarray, expected: Expected, active: np.ndarray) -> np.ndarray:
    """Return True for the weaker of two active peaks that start nearer than half a width."""
    weaker = np.zeros(active.shape, dtype=bool)
    order = np.argsort(-expected.height, kind="stable")
    for rank, peak in enumerate(order):
        for other in order[:rank]:
            close = np.abs(start[:, peak, 0] - start[:, other, 0]) < RESOLVED * max(
                expected.fwhm[peak], expected.fwhm[other]
            )
            weaker[:, peak] |= close & active[:, peak] & active[:, other] & ~weaker[:, other]
    return weaker


def _shared(start: np.ndarray, expected: Expected, weaker: np.ndarray) -> np.ndarray:
    """Return True for both partners of every merged pair: the fit of the stronger holds the light of both."""
    both = weaker.copy()
    for frame, peak in zip(*np.nonzero(weaker)):
        distance = np.abs(start[frame, :, 0] - start[frame, peak, 0])
        limit = RESOLVED * np.maximum(expected.fwhm, expected.fwhm[peak])
        both[frame] |= distance < limit
    return both


def _close(fits: Fits, status: np.ndarray, setting: Setting) -> np.ndarray:
    """Return True for fitted peaks that ended nearer to another than half the larger of their widths."""
    position = np.where(status <= AT_BOUND, fits.values[:, :, 0], np.nan)
    width = np.clip(fits.values[:, :, 2], None, 2.0 * setting.width)
    close = np.zeros(status.shape, dtype=bool)
    for peak in range(status.shape[1] - 1):
        apart = np.abs(position[:, peak + 1 :] - position[:, peak : peak + 1])
        with np.errstate(invalid="ignore"):
            pair = apart < RESOLVED * np.fmax(width[:, peak + 1 :], width[:, peak : peak + 1])
        close[:, peak + 1 :] |= pair
        close[:, peak] |= pair.any(axis=1)
    return close
