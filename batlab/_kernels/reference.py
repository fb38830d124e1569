"""The oracle of every kernel in plain numpy: same names, same signatures, no care for speed."""

from __future__ import annotations

import numpy as np

__all__: list[str] = []

# Azimuthal integration


def azimuthal(
    frames: np.ndarray,
    bins: np.ndarray,
    n_bins: int,
    weights: np.ndarray,
    mask: np.ndarray | None,
    overflow: np.ndarray,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sum the pixels of every frame over their bins, and what the skipped pixels would have weighed.

    Parameters
    ----------
    frames
        Counts (frame, pixel) in image order.
    bins
        Bin of each pixel, uint16, below `n_bins`; `n_bins` itself marks a pixel that is never used.
    n_bins
        1 to 65535.
    weights
        (weight, pixel) float32: what belongs to a pixel in every frame, such as its normalisation.
    mask
        (frame, pixel) uint8, not 0 where a pixel is skipped in that frame, or None.
    overflow
        Values, in the type of `frames`, that mark a pixel as skipped. NaN and infinities are skipped too.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    ``signal`` and ``variance`` (frame, bin): sums of the counts and of max(counts, 1), Poisson's variance;
    ``skipped`` (frame, bin) int32: number of pixels skipped; ``skipped_weights`` (frame, weight, bin): their weights.
    A caller who knows the sums over all pixels of a bin subtracts these.

    Raises
    ------
    ValueError
        Shapes disagree, or a bin is above `n_bins`.
    """
    if bins.shape != frames.shape[1:] or weights.shape[1:] != bins.shape or not 0 < n_bins < 65536 or n_threads < 1:
        raise ValueError(f"frames {frames.shape}, bins {bins.shape}, weights {weights.shape}, n_bins {n_bins}")
    if (mask is not None and mask.shape != frames.shape) or (bins > n_bins).any():
        raise ValueError("mask must have the shape of frames, bins must not exceed n_bins")
    rows = len(frames)
    signal, variance = np.zeros((rows, n_bins)), np.zeros((rows, n_bins))
    skipped = np.zeros((rows, n_bins), np.int32)
    skipped_weights = np.zeros((rows, len(weights), n_bins))
    for row, pixels in enumerate(frames):
        left_out = np.isin(pixels, overflow) | ~np.isfinite(pixels)
        if mask is not None:
            left_out = left_out | (mask[row] != 0)
        used, lost = ~left_out & (bins < n_bins), left_out & (bins < n_bins)
        counts = pixels[used].astype(float)
        signal[row] = np.bincount(bins[used], counts, n_bins)
        variance[row] = np.bincount(bins[used], np.maximum(counts, 1), n_bins)
        skipped[row] = np.bincount(bins[lost], minlength=n_bins)
        for k, weight in enumerate(weights):
            skipped_weights[row, k] = np.bincount(bins[lost], weight[lost], n_bins)
    return signal, variance, skipped, skipped_weights


__all__ += ["azimuthal"]
