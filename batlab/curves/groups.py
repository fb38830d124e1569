"""One call of the kernel: which peaks are fitted together, in which window, between which bounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from batlab._kernels.peaks import fit_pseudo_voigts
from batlab.curves.noise import Noise
from batlab.curves.scale import from_scale, to_scale

POSITION, HEIGHT, FWHM, ETA = 1, 2, 4, 8
Index = slice | np.ndarray | tuple[slice | np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Setting:
    """What stays the same over the whole series. Lengths in axis units."""

    axis: str
    width: float
    window: float
    n_background: int
    significance: float
    second_ratio: float
    second_scale: float
    n_threads: int

    def second(self, position: np.ndarray) -> np.ndarray:
        """Return where the second line of the doublet lies, `position` itself where there is none."""
        if self.second_ratio <= 0:
            return position
        other = from_scale(to_scale(position, self.axis) * self.second_scale, self.axis)
        return np.where(np.isfinite(other), other, position)


@dataclass
class Fits:
    """Results over (frame, peak); `values` and `sigmas` have position, height, fwhm, eta, area last."""

    values: np.ndarray
    sigmas: np.ndarray
    strength: np.ndarray
    at_bound: np.ndarray
    state: np.ndarray
    chi2_reduced: np.ndarray

    @classmethod
    def empty(cls, n_frames: int, n_peaks: int) -> Fits:
        """Return a table in which nothing has been fitted (state -1)."""
        shape = (n_frames, n_peaks)
        five = (*shape, 5)
        marks = np.zeros(shape, np.int8), np.full(shape, -1, np.int8)
        return cls(np.full(five, np.nan), np.full(five, np.nan), np.full(shape, np.nan), *marks, np.full(shape, np.nan))

    def put(self, frames: Index, other: Fits, rows: Index) -> None:
        """Copy `rows` of `other` to `frames`; each may be a pair, of frames and peaks."""
        for field in fields(self):
            getattr(self, field.name)[frames] = getattr(other, field.name)[rows]

    def rows(self, frames: slice) -> Fits:
        """Return a view of some frames."""
        return Fits(*(getattr(self, field.name)[frames] for field in fields(self)))


def fit_groups(
    x: np.ndarray, intensity: np.ndarray, noise: Noise, start: np.ndarray, reach: np.ndarray, active: np.ndarray,
    setting: Setting,
) -> Fits:  # fmt: skip
    """Fit the `active` (frame, peak) of all frames at once.

    `start` is (frame, peak, 3): position, fwhm, eta. A position may move by `reach` (frame, peak), but not beyond
    half way to the next active peak's start: peaks keep their order, they never swap.
    """
    result = Fits.empty(*active.shape)
    frames, peaks, joined = _grouped(start, active, setting)
    if not len(frames):
        return result
    begins = np.flatnonzero(joined == 0)
    counts = np.diff(np.append(begins, len(frames)))
    position = start[frames, peaks, 0]
    left = position[begins] - setting.window
    right = np.maximum.reduceat(setting.second(position), begins) + setting.window
    tasks = np.stack([frames[begins], np.searchsorted(x, left), np.searchsorted(x, right, "right"), counts], axis=1)
    lower, upper = _bounds(x, position, reach[frames, peaks], frames, setting)
    values, sigmas, strength, at_bound, quality, state = fit_pseudo_voigts(
        x, intensity, noise.fixed, noise.gain, np.ascontiguousarray(tasks, dtype=np.int64),
        np.ascontiguousarray(start[frames, peaks]), lower, upper, n_background=setting.n_background,
        second_ratio=setting.second_ratio, second_scale=setting.second_scale, n_threads=setting.n_threads,
    )  # fmt: skip
    freedom = quality[:, 1] - setting.n_background - 4 * counts
    group = np.repeat(np.arange(len(counts)), counts)
    result.values[frames, peaks], result.sigmas[frames, peaks] = values, sigmas
    result.strength[frames, peaks] = strength
    result.at_bound[frames, peaks], result.state[frames, peaks] = at_bound, state[group]
    with np.errstate(invalid="ignore", divide="ignore"):
        result.chi2_reduced[frames, peaks] = (quality[:, 0] / freedom)[group]
    return result


def _grouped(start: np.ndarray, active: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frame and peak of every active fit, by frame and position, and 0 where a new group begins."""
    frames, peaks = np.nonzero(active)
    order = np.lexsort((start[frames, peaks, 0], frames))
    frames, peaks = frames[order], peaks[order]
    position = start[frames, peaks, 0]
    joined = np.zeros(len(frames), dtype=int)
    gap = position[1:] - setting.second(position[:-1])
    joined[1:] = (frames[1:] == frames[:-1]) & (gap < 2.0 * setting.window)
    return frames, peaks, joined


def _bounds(
    x: np.ndarray, position: np.ndarray, reach: np.ndarray, frames: np.ndarray, setting: Setting
) -> tuple[np.ndarray, np.ndarray]:
    step = (x[-1] - x[0]) / (len(x) - 1)
    lower, upper = np.zeros((len(position), 4)), np.ones((len(position), 4))
    lower[:, 0], upper[:, 0] = position - reach, position + reach
    same = frames[1:] == frames[:-1]
    middle = 0.5 * (position[1:] + position[:-1])
    upper[:-1, 0] = np.where(same, np.minimum(upper[:-1, 0], middle), upper[:-1, 0])
    lower[1:, 0] = np.where(same, np.maximum(lower[1:, 0], middle), lower[1:, 0])
    upper[:, 1] = np.inf
    lower[:, 2] = max(min(1.5 * step, 0.5 * setting.width), 0.2 * setting.width)
    upper[:, 2] = min(5.0 * setting.width, 2.0 * setting.window)
    return lower, upper
