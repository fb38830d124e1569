"""Peaks followed from frame to frame: where each is expected, and where it went."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.curves import blends
from batlab.curves.groups import FWHM, POSITION, Fits, Setting, fit_groups
from batlab.curves.lattice import lattices
from batlab.curves.near import Seeds
from batlab.curves.noise import Noise, significance_map
from batlab.curves.scale import from_scale, to_scale

OK, AT_BOUND, NOT_CONVERGED, NO_PEAK, NO_DATA, UNRESOLVED = range(6)
LONGEST_BLOCK = 64
Cells = tuple[np.ndarray, ...]
# Of the light of a phase that should be seen, before it moves what is not seen.
ENOUGH = 0.3
# Of its light: with less than this clear of other phases, a phase is taken to be as it was before.
TELLING = 0.3
# A first fit that ends with less than this part of its starting width is tried again from NARROW times that.
MUCH_NARROWER, NARROW = 0.6, 0.4
# Peaks that ended in each other, or badly, are tried again from these widths (of those expected) and tails.
OTHERS = ((0.6, 0.05), (1.6, 0.05), (0.6, 0.9))
BAD = 1.5  # reduced chi-squared of the window
# Widths within which the line of another phase makes a place doubtful, and by how much, in widths.
CROWDED, CROWD_DOUBT = 1.5, 3.0


class Expected:
    """Where the peaks are expected next: position, fwhm, eta, height of each, and which were seen last."""

    def __init__(self, seeds: Seeds, position: np.ndarray, reach: np.ndarray, setting: Setting):
        n = len(seeds)
        self.phase, self.weight = seeds.phase, seeds.weight
        self.position = position.copy()
        self.reach = reach.copy()
        self.fwhm = np.full(n, setting.width)
        self.eta = np.full(n, 0.5)
        self.height = seeds.weight.astype(float).copy()
        self.seen = np.zeros(n, dtype=bool)
        self.setting = setting
        self.lattices = lattices(seeds, setting.axis)
        self.alone = ~np.isin(np.arange(n), np.concatenate([[-1], *(one.lines for one in self.lattices.values())]))
        for one in self.lattices.values():
            ratio = to_scale(position[one.lines], setting.axis) / one.start
            one.grow(float(np.median(ratio)))

    def cells(self, fits: Fits, status: np.ndarray) -> dict[str, Cells]:
        """Return for each phase its cell (frame, p), whether it is there and how much its lines tell (frame,)."""
        found: dict[str, Cells] = {}
        sure = (status <= AT_BOUND) & (fits.at_bound & POSITION == 0)
        crowd = self._crowded(fits, status)
        for name, one in self.lattices.items():
            mine, weight = sure[:, one.lines], self.weight[one.lines]
            position, sigma = (np.where(mine, values[:, one.lines, 0], np.nan) for values in (fits.values, fits.sigmas))
            sigma = np.hypot(sigma, np.where(crowd[:, one.lines], CROWD_DOUBT * self.setting.width, 0.0))
            clear = (mine | (status[:, one.lines] == NO_PEAK)) & ~crowd[:, one.lines]
            told, light = (np.where(which, weight, 0.0).sum(axis=1) for which in (clear, mine & clear))
            present = carried(light > ENOUGH * told, told > TELLING * weight.sum(), one.present)
            cell, sight = one.fit(position, sigma, self.setting.width)
            found[name] = np.where(present[:, None], cell, one.cell), present, sight
        return found

    def _crowded(self, fits: Fits, status: np.ndarray) -> np.ndarray:
        """Return (frame, peak), True next to a line of another phase that is seen and not much weaker."""
        seen, height = status <= AT_BOUND, np.nan_to_num(fits.values[:, :, 1])
        near = np.abs(self.position[:, None] - self.position[None, :]) < CROWDED * self.setting.width
        near &= self.phase[:, None] != self.phase[None, :]
        strong = height[:, None, :] > 0.2 * np.where(seen, height, 0.0)[:, :, None]
        return (near & strong & seen[:, None, :]).any(axis=2)

    def learn(self, fits: Fits, status: np.ndarray, cells: dict[str, Cells]) -> None:
        """Take over where each peak was last seen in some frames; what is lost now moves as its phase does."""
        setting, before = self.setting, self.position.copy()
        ok = (status <= AT_BOUND) & (fits.at_bound & POSITION == 0)
        ever, self.seen = ok.any(axis=0), ok[-1]
        last = fits.values[len(ok) - 1 - ok[::-1].argmax(axis=0), np.arange(len(ever))][ever]
        self.position[ever], self.height[ever] = last[:, 0], last[:, 1]
        self.fwhm[ever] = np.clip(0.5 * (self.fwhm[ever] + last[:, 2]), 0.3 * setting.width, 3.0 * setting.width)
        self.eta[ever] = np.clip(last[:, 3], 0.05, 0.95)
        self.reach[ever] = 1.5 * setting.width
        self._keep_kin(before, ever)
        for name, one in self.lattices.items():
            one.take(*cells[name])
            self.position[one.lines] = one.places(one.cell)
            self.reach[one.lines] = setting.width

    def _keep_kin(self, before: np.ndarray, ever: np.ndarray) -> None:
        """Move the lost lines of a phase of unknown symmetry by the median factor of those seen."""
        axis = self.setting.axis
        ratio = to_scale(self.position, axis) / to_scale(before, axis)
        for phase in dict.fromkeys(self.phase[self.alone]):
            mine = self.alone & (self.phase == phase) & (phase != "")
            here, lost = mine & self.seen, mine & ~ever
            if here.any() and lost.any():
                moved = from_scale(to_scale(before[lost], axis) * np.median(ratio[here]), axis)
                self.position[lost] = np.where(np.isfinite(moved), moved, before[lost])
                self.reach[lost] = 1.5 * self.setting.width


def carried(values: np.ndarray, known: np.ndarray, before: bool) -> np.ndarray:
    """Return `values` where they are `known`, elsewhere the last known one."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(last >= 0, values[np.maximum(last, 0)], before)


class Followed(NamedTuple):
    """What following gives, over (frame, peak): fits, status, and where each peak is to be looked for."""

    fits: Fits
    status: np.ndarray
    place: np.ndarray
    present: np.ndarray  # whether enough of the peak's phase was seen


def follow(x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting) -> Followed:
    """Fit all frames in order.

    Frames are fitted in blocks from the same expected positions; of a block those frames count after which no peak
    had moved by half a width, the next block starts there. Blocks depend on the data only, so that the result is the
    same for any number of threads.
    """
    shape = len(intensity), len(expected.position)
    result = Followed(Fits.empty(*shape), np.zeros(shape, np.int8), np.empty(shape), np.ones(shape, dtype=bool))
    at, block = 0, 1
    while at < shape[0]:
        rows = slice(at, min(at + block, shape[0]))
        part = Noise(noise.fixed[rows], noise.gain[rows], noise.kind)
        found, told = _block(x, intensity[rows], part, expected, setting)
        if at == 0:
            _try_narrower(x, intensity[rows], part, expected, setting, found, told)
        cells = expected.cells(found, told)
        place, present = _places(found, told, expected, cells)
        good = _trusted(place, told, expected)
        block = min(2 * block, LONGEST_BLOCK) if good == len(told) else max(1, good)
        done = slice(at, at + good)
        result.fits.put(done, found, slice(0, good))
        result.status[done], result.place[done], result.present[done] = told[:good], place[:good], present[:good]
        first = {name: tuple(part[:good] for part in parts) for name, parts in cells.items()}
        expected.learn(found.rows(slice(0, good)), told[:good], first)
        at += good
    return result


def _places(
    fits: Fits, status: np.ndarray, expected: Expected, cells: dict[str, Cells]
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each peak was in each frame, by its own fit or by its cell, and whether its phase was there."""
    place = np.where(status <= AT_BOUND, fits.values[:, :, 0], expected.position)
    present = np.ones(status.shape, dtype=bool)
    for name, (cell, there, _) in cells.items():
        one = expected.lattices[name]
        place[:, one.lines] = one.places(cell)
        present[:, one.lines] = there[:, None]
    return place, present


def _trusted(place: np.ndarray, status: np.ndarray, expected: Expected) -> int:
    """Return how many leading frames of a block were near enough to what was expected, at least one."""
    far = np.abs(place - expected.position) > 0.5 * np.maximum(expected.fwhm, 0.5 * expected.setting.width)
    lost = (status > AT_BOUND) & expected.seen & expected.alone
    strayed = far.any(axis=1) | lost.any(axis=1)
    return max(1, int(strayed.argmax()) if strayed.any() else len(status))


def _block(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting
) -> tuple[Fits, np.ndarray]:
    start, reach, strength = _starts(x, intensity, noise, expected, setting)
    left, right = blends.neighbours(expected.position)
    lonely = np.minimum(expected.position - left, right - expected.position) > 3 * setting.width
    status = np.where(lonely & (strength < 0.5 * setting.significance), NO_PEAK, OK).astype(np.int8)
    close = blends.pairs(start[:, :, 0], expected.fwhm)
    weaker = blends.weaker(close, np.broadcast_to(expected.height, status.shape), status == OK)
    status[weaker] = UNRESOLVED
    first = status.copy()
    fits, status = fit_present(x, intensity, noise, start, reach, status, setting)
    saved = _try_others(x, intensity, noise, expected, setting, (reach, first), fits, status)
    shared = (weaker | (close & weaker[:, None, :]).any(axis=2)) & ~saved
    status[shared | blends.merged(fits, status <= AT_BOUND, setting)] = UNRESOLVED
    status[(status > AT_BOUND) & unmeasured(x, intensity, noise, expected.position, setting)] = NO_DATA
    return fits, status


def _try_others(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting,
    asked: tuple[np.ndarray, np.ndarray], fits: Fits, status: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Fit frames again in which named peaks that overlap ended in each other, or badly; take over what fits better.

    They begin at their named places, not where light is strongest: on the flank of a strong peak that is the strong
    one's. Peaks of a known cell are told apart by their cell, see `settle`. Returns (frame, peak), True where so done.
    """
    saved = np.zeros(status.shape, dtype=bool)
    left, right = blends.neighbours(np.where(expected.alone, expected.position, np.inf))
    with np.errstate(invalid="ignore"):
        apart = np.minimum(expected.position - left, right - expected.position)
    near = expected.alone & (apart < CROWDED * setting.width)
    near &= ~blends.pairs(expected.position[None], expected.fwhm)[0].any(axis=1)
    if not near.any():
        return saved
    first = np.where(near & (asked[1] == UNRESOLVED), OK, asked[1])
    for factor, tails in OTHERS:
        seen = status <= AT_BOUND
        bad = ~seen | blends.merged(fits, seen, setting) | (fits.chi2_reduced > BAD)
        rows = np.flatnonzero((bad & near).any(axis=1))
        if not len(rows):
            break
        shape = len(rows), len(near)
        start = np.stack([np.broadcast_to(one, shape) for one in (expected.position, factor * expected.fwhm, tails)], 2)
        part = Noise(noise.fixed[rows], noise.gain[rows], noise.kind)
        again, told = fit_present(x, intensity[rows], part, start, asked[0][rows], first[rows], setting)
        found = told <= AT_BOUND
        fine = found & ~blends.merged(again, found, setting)
        gained = fine & (~seen[rows] | (again.chi2_reduced < 0.99 * fits.chi2_reduced[rows]))
        better = near & (gained | ~near).all(axis=1, keepdims=True)
        frame, peak = np.nonzero(better)
        fits.put((rows[frame], peak), again, (frame, peak))
        status[rows[frame], peak], saved[rows[frame], peak] = told[frame, peak], True
    return saved


def unmeasured(x: np.ndarray, intensity: np.ndarray, noise: Noise, place: np.ndarray, setting: Setting) -> np.ndarray:
    """Return (frame, peak), True where no point within half a width of `place` ([frame,] peak) holds data."""
    known = np.isfinite(intensity) & np.isfinite(noise.fixed)
    n_known = np.pad(np.cumsum(known, axis=1), ((0, 0), (1, 0)))
    half = max(0.5 * setting.width, (x[-1] - x[0]) / (len(x) - 1))
    place = np.broadcast_to(place, (len(intensity), place.shape[-1]))
    first, last = np.searchsorted(x, place - half), np.searchsorted(x, place + half, "right")
    return np.take_along_axis(n_known, last, axis=1) == np.take_along_axis(n_known, first, axis=1)


def _try_narrower(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, expected: Expected, setting: Setting, fits: Fits,
    status: np.ndarray,
) -> None:  # fmt: skip
    """Fit the first frame again from narrower peaks, if some were found to be, and take over what fits better.

    From a width given two or three times too wide a fit may fall into a false minimum, sharp and Lorentzian.
    """
    fitted = status[0] <= AT_BOUND
    if not (fitted & (fits.values[0, :, 2] < MUCH_NARROWER * expected.fwhm)).any():
        return
    wide = expected.fwhm
    expected.fwhm = NARROW * wide
    again, told = _block(x, intensity, noise, expected, setting)
    better = fitted & (told[0] <= AT_BOUND) & (again.chi2_reduced[0] < 0.99 * fits.chi2_reduced[0])
    expected.fwhm = np.where(better, expected.fwhm, wide)
    fits.put((slice(None), better), again, (slice(None), better))
    status[:, better] = told[:, better]


def fit_present(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, start: np.ndarray, reach: np.ndarray, status: np.ndarray,
    setting: Setting,
) -> tuple[Fits, np.ndarray]:  # fmt: skip
    """Fit what is OK, and again without what then proves not to be there; return the fits and the status."""
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
    left, right = blends.neighbours(expected.position)
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
    # Whose cell is known may not go farther by starting nearer to the end of its reach.
    gone = np.where(expected.alone, 0.0, np.abs(start[:, :, 0] - expected.position))
    return start, np.maximum(expected.reach - gone, 0.3 * setting.width), strength
