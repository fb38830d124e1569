"""The oracle of the kernel in rings.pyx in plain numpy; part of `reference`."""

from __future__ import annotations

import itertools

import numpy as np


def rings(
    frames: np.ndarray,
    start: np.ndarray,
    pixel: np.ndarray,
    coefficient: np.ndarray | None,
    weights: np.ndarray,
    variance: np.ndarray | None,
    mask: np.ndarray | None,
    overflow: np.ndarray,
    model: int,
    clip: int,
    low: float,
    high: float,
    max_iterations: int,
    marks: bool = False,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Average every ring of every frame, with its scatter as variance or without its outliers.

    Parameters
    ----------
    frames
        Counts (frame, pixel) in image order.
    start, pixel, coefficient
        Bin b holds the pixels ``pixel[start[b]:start[b + 1]]`` (uint32, ascending) with the part ``coefficient``
        (float32) of each; None where every pixel belongs whole to one bin.
    weights
        (1, pixel) float32: the normalisation; or (3, pixel): normalisation, dark counts and their variance.
    variance
        (frame or 1, pixel) float64: the counts' variances instead of Poisson's max(counts, 1); or None.
    mask, overflow
        As for `azimuthal`. NaN, infinities and pixels of weight 0 are skipped too.
    model
        0 no variance; 1 the sum of the pixels' variances; 2 the squared deviations from the ring's mean; 3 these while
        clipping, the pixels' variances at the end.
    clip, low, high, max_iterations
        0 keeps all; 1 leaves out pixels farther than max(`low`, Chauvenet's limit) σ from the mean, up to
        `max_iterations` times (with model 1 from the median, where more than 5 % lie too far from the mean, the median
        is more than a quarter of the limit beside it and less than half as many lie too far from that); 2 keeps the
        pixels between the quantiles `low` and `high` of the ring's weight.
    marks
        Whether to return which pixels were left out.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    ``sums`` (frame, 5, bin): signal, variance, normalisation, number of pixels and number left out by `clip`;
    ``clipped`` (frame, pixel) uint8: 1 where a pixel was left out of any ring, (frame, 0) without `marks`.

    Raises
    ------
    ValueError
        Arguments disagree.
    """
    n_frames, n_pixels = frames.shape
    good = start[0] == 0 and start[-1] == len(pixel) and (np.diff(start) >= 0).all() and (pixel < n_pixels).all()
    if not good or n_threads < 1 or max_iterations < 0 or model not in range(4) or clip not in range(3):
        raise ValueError(f"start {start}, model {model}, clip {clip}, max_iterations {max_iterations}")
    if weights.shape not in ((1, n_pixels), (3, n_pixels)) or (mask is not None and mask.shape != frames.shape):
        raise ValueError(f"frames {frames.shape}, weights {weights.shape}")
    if (coefficient is not None and coefficient.shape != pixel.shape) or not low >= 0 or (clip == 2 and high > 1):
        raise ValueError(f"pixel {pixel.shape}, low {low}, high {high}")
    if variance is not None and variance.shape not in ((1, n_pixels), frames.shape):
        raise ValueError(f"frames {frames.shape}, variance {variance.shape}")
    sums = np.zeros((n_frames, 5, len(start) - 1))
    clipped = np.zeros((n_frames, n_pixels if marks else 0), np.uint8)
    part = np.ones(len(pixel)) if coefficient is None else coefficient.astype(float)
    norm = weights[0].astype(float)
    for f, counts in enumerate(frames):
        use = np.isfinite(counts) & ~np.isin(counts, overflow) & (norm != 0)
        if mask is not None:
            use &= mask[f] == 0
        signal = np.where(use, counts, 0).astype(float)
        square = np.maximum(signal, 1) if variance is None else variance[f % len(variance)].copy()
        if model in (1, 3):
            use &= np.isfinite(square)
        if len(weights) == 3:
            signal, square = signal - weights[1], square + weights[2]
        for b, (first, last) in enumerate(itertools.pairwise(start)):
            where, c = pixel[first:last], part[first:last]
            where, c = where[use[where] & (c != 0)], c[use[where] & (c != 0)]
            ring = _Ring(c * signal[where], c**2 * square[where], c * norm[where], c)
            kept, sums[f, :, b] = ring.reduced(model, clip, low, high, max_iterations)
            if marks:
                clipped[f, where[~kept]] = 1
    return sums, clipped


class _Ring:
    def __init__(self, signal: np.ndarray, square: np.ndarray, omega: np.ndarray, part: np.ndarray):
        self.signal, self.square, self.omega, self.part, self.x = signal, square, omega, part, signal / omega

    def reduced(
        self, model: int, clip: int, low: float, high: float, max_iterations: int
    ) -> tuple[np.ndarray, list[float]]:
        """Return which pixels are kept, and the five sums."""
        kept, x = np.ones(len(self.x), bool), self.x
        if not len(x):
            return kept, [0.0] * 5
        if clip == 1:
            kept = self.sigma_clipped(model, low, max_iterations)
        spread, among = self.x, kept
        if clip == 2:
            kept = self.between(low, high)
            spread, among = np.clip(x, x[kept].min(), x[kept].max()), np.ones(len(x), bool)
        variance = self.square[kept].sum() if model in (1, 3) else 0.0
        if model == 2:
            mean = np.average(spread[among], weights=self.omega[among]) if among.any() else 0.0
            variance = ((self.omega * (spread - mean))[among] ** 2).sum() if kept.sum() != 1 else np.nan
        sums = [self.signal[kept].sum(), variance, self.omega[kept].sum(), self.part[kept].sum()]
        return kept, [*sums, self.part[~kept].sum()]

    def sigma_clipped(self, model: int, low: float, max_iterations: int) -> np.ndarray:
        kept = np.ones(len(self.x), bool)
        for _ in range(max_iterations):
            if not kept.any():
                break
            mean = self.signal[kept].sum() / self.omega[kept].sum()
            deviation = (self.omega * (self.x - mean))[kept]
            square = self.square[kept].sum() if model == 1 else (deviation**2).sum()
            chauvenet = np.sqrt(2 * np.log(max(3.0, self.part[kept].sum()) / np.sqrt(2 * np.pi)))
            limit = max(low, chauvenet) * np.sqrt(square / (self.omega[kept] ** 2).sum())
            outlier = kept & (np.abs(self.x - mean) > limit)
            if not limit > 0 or not outlier.any():
                break
            if model == 1 and 20 * outlier.sum() > kept.sum():
                ring = _Ring(self.signal[kept], self.square[kept], self.omega[kept], self.part[kept])
                order = np.argsort(ring.x.astype(np.float32), kind="stable")
                median = ring.x[order[np.flatnonzero(ring.between(0.5, 0.5)[order])[0]]]
                far = kept & (np.abs(self.x - median) > limit)
                if abs(mean - median) > 0.25 * limit and 2 * far.sum() < outlier.sum():
                    outlier = far
            kept &= ~outlier
        return kept

    def between(self, low: float, high: float) -> np.ndarray:
        order = np.argsort(self.x.astype(np.float32), kind="stable")
        upper = np.cumsum(self.omega[order])
        lower = np.concatenate([[0.0], upper[:-1]])
        low, high = low * upper[-1], high * upper[-1]
        inside = ((low <= lower) & (upper <= high)) | ((low >= lower) & (high <= upper))
        if not inside.any():
            inside = (upper >= low) & (lower <= high)
        kept = np.zeros(len(self.x), bool)
        kept[order[inside]] = True
        return kept
