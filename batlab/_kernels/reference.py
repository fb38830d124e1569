"""The oracle of every kernel in plain numpy: same names, same signatures, no care for speed."""

from __future__ import annotations

import numpy as np

from batlab._kernels.reference_band import band_product
from batlab._kernels.reference_decode import decode_blocks
from batlab._kernels.reference_edge import pre_edge, steepest
from batlab._kernels.reference_nnls import bounded_least_squares
from batlab._kernels.reference_pairs import pair_density
from batlab._kernels.reference_rings import rings
from batlab._kernels.reference_sine import sine_transform
from batlab._kernels.reference_spline import cubic_spline
from batlab._kernels.reference_splitting import split_bbox, split_full

__all__ = [
    "band_product",
    "bounded_least_squares",
    "cubic_spline",
    "decode_blocks",
    "pair_density",
    "pre_edge",
    "rings",
    "sine_transform",
    "split_bbox",
    "split_full",
    "steepest",
]

# Azimuthal integration


def azimuthal(
    frames: np.ndarray,
    bins: np.ndarray,
    owner: np.ndarray,
    n_bins: int,
    weights: np.ndarray,
    mask: np.ndarray | None,
    overflow: np.ndarray,
    of_variance: bool = False,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sum the pixels of every frame over their bins, and what the skipped pixels would have weighed.

    Parameters
    ----------
    frames
        Counts (frame, pixel) in image order.
    bins
        Internal bin of each pixel, uint16 or uint32; ``len(owner)`` marks a pixel that is never used. At most 4095
        pixels share an internal bin (the kernel packs sum and number of zeros in one word; it does not check this).
    owner
        (internal bin,) int32, not decreasing: the bin of the result that an internal bin belongs to.
    n_bins
        Number of bins of the result.
    weights
        (weight, pixel) float32: what belongs to a pixel in every frame, such as its normalisation.
    mask
        (frame, pixel) uint8, not 0 where a pixel is skipped in that frame, or None.
    overflow
        Values, in the type of `frames`, that mark a pixel as skipped. NaN and infinities are skipped too.
    of_variance
        The values are variances themselves: ``variance`` is their plain sum.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    ``signal`` and ``variance`` (frame, bin): sums of the counts and of max(counts, 1), Poisson's variance;
    ``skipped`` (frame, bin): number of pixels skipped; ``skipped_weights`` (frame, weight, bin): their weights.
    A caller who knows the sums over all pixels of a bin subtracts these.

    Raises
    ------
    ValueError
        Shapes disagree, or a bin or its owner does not exist.
    """
    n_internal, shape = len(owner), frames.shape
    if bins.shape != shape[1:] or weights.shape[1:] != bins.shape or min(n_bins, n_threads, n_internal) < 1:
        raise ValueError(f"frames {shape}, bins {bins.shape}, weights {weights.shape}, n_bins {n_bins}")
    if (mask is not None and mask.shape != shape) or (len(frames) and (bins > n_internal).any()):
        raise ValueError("mask must have the shape of frames, bins must not exceed the number of owners")
    if owner.min() < 0 or owner.max() >= n_bins or (np.diff(owner) < 0).any():
        raise ValueError(f"owner must not decrease and lie in 0 to {n_bins - 1}")
    rows = len(frames)
    signal, variance, skipped = (np.zeros((rows, n_bins)) for _ in range(3))
    skipped_weights = np.zeros((rows, len(weights), n_bins))
    of_pixel = np.append(owner, n_bins)[bins]
    for row, pixels in enumerate(frames):
        left_out = np.isin(pixels, overflow) | ~np.isfinite(pixels)
        if mask is not None:
            left_out = left_out | (mask[row] != 0)
        used, lost = ~left_out & (of_pixel < n_bins), left_out & (of_pixel < n_bins)
        counts = pixels[used].astype(float)
        signal[row] = np.bincount(of_pixel[used], counts, n_bins)
        variance[row] = np.bincount(of_pixel[used], counts if of_variance else np.maximum(counts, 1), n_bins)
        skipped[row] = np.bincount(of_pixel[lost], minlength=n_bins)
        for k, weight in enumerate(weights):
            skipped_weights[row, k] = np.bincount(of_pixel[lost], weight[lost], n_bins)
    return signal, variance, skipped, skipped_weights


def azimuthal_means(
    signal: np.ndarray,
    variance: np.ndarray,
    skipped: np.ndarray,
    skipped_weight: np.ndarray,
    n_pixels: np.ndarray,
    total: np.ndarray,
    monitor: np.ndarray,
    is_whole: bool = True,
    residue: float = 0.0,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Divide the sums of `azimuthal` and `azimuthal_split` by the weight of the pixels that were not skipped.

    Parameters
    ----------
    signal, variance, skipped, skipped_weight
        (frame, bin) sums, of one row of weights.
    n_pixels, total
        (bin,) number of pixels in use, and the sum of their weights, where nothing is skipped.
    monitor
        (frame,) multiplies the weights.
    is_whole
        The numbers of pixels are whole: those left come as int32.
    residue
        A bin that has lost all but this part of its pixels, by rounding, has none.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    (frame, bin): ``mean`` = signal / normalization, ``sigma`` = sqrt(variance) / normalization, ``normalization`` and
    ``left``, the number of pixels. Mean and sigma are NaN where no pixel is left or the normalization is not positive.

    Raises
    ------
    ValueError
        Shapes disagree.
    """
    shape = signal.shape
    same = [one.shape == shape for one in (variance, skipped, skipped_weight)]
    if not all(same) or n_pixels.shape != shape[1:] or total.shape != shape[1:] or monitor.shape != shape[:1]:
        raise ValueError(
            f"all must fit signal {shape} (frame, bin): n_pixels {n_pixels.shape}, monitor {monitor.shape}"
        )
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")
    left = n_pixels - skipped
    left = np.where(left > residue * n_pixels, left, 0)
    with np.errstate(invalid="ignore"):
        normalization = np.where(left > 0, (total - skipped_weight) * monitor[:, None], 0)
        divisor = np.where(normalization > 0, normalization, np.nan)
        mean, sigma = signal / divisor, np.sqrt(variance) / divisor
    return mean, sigma, normalization, left.astype(np.int32) if is_whole else left


def azimuthal_split(
    frames: np.ndarray,
    first: np.ndarray,
    pixel: np.ndarray,
    length: np.ndarray,
    weight: np.ndarray,
    run_start: np.ndarray,
    entry_start: np.ndarray,
    n_bins: int,
    weights: np.ndarray,
    powers: np.ndarray,
    mask: np.ndarray | None,
    overflow: np.ndarray,
    of_variance: bool = False,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sum pixels over the bins that share them; what is not named here is as in `azimuthal`.

    Parameters
    ----------
    first, pixel, length
        (run,) uint32, uint16, uint16: bins ``first`` to below ``first + length`` have a share in a pixel, whose number
        counts from the beginning of its block of 2048. Runs stand in the order of their pixels; a pixel without a run
        is never used, one with several has a share in more than one range of bins.
    weight
        (entry,) float32: the shares w, run by run.
    run_start, entry_start
        (block + 1,) int64: where the runs and the entries of a block begin.
    powers
        (weight,) uint8: 1, or 2 for a row of `weights` that is summed with w^2.

    Returns
    -------
    ``signal`` sum of w v, ``variance`` sum of w^2 max(v, 1) (w^2 v with `of_variance`), ``skipped`` sum of w over the
    pixels skipped, ``skipped_weights`` their w^power weight.

    Raises
    ------
    ValueError
        Shapes disagree, or a run leaves its block, the bins or the entries.
    """
    shape, n_blocks = frames.shape, -(-frames.shape[1] // 2048)
    if weights.shape[1:] != shape[1:] or len(weights) != len(powers) or min(n_bins, n_threads) < 1:
        raise ValueError(f"frames {shape}, weights {weights.shape}, powers {powers.shape}, n_bins {n_bins}")
    if not len(first) == len(pixel) == len(length) or (mask is not None and mask.shape != shape):
        raise ValueError("first, pixel and length must have one length, mask the shape of frames")
    for starts, size in ((run_start, len(first)), (entry_start, len(weight))):
        if len(starts) != n_blocks + 1 or starts[0] != 0 or starts[-1] != size or (np.diff(starts) < 0).any():
            raise ValueError(f"starts of blocks must rise from 0 to {size}")
    ends = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    of_run = np.repeat(np.arange(n_blocks), np.diff(run_start)) * 2048 + pixel
    if (ends[run_start] != entry_start).any() or (np.diff(of_run) < 0).any() or (pixel >= 2048).any():
        raise ValueError("runs must fit their blocks, with pixels in order")
    if (of_run >= shape[1]).any() or (first.astype(np.int64) + length > n_bins).any():
        raise ValueError("runs must stay inside the pixels and the bins")
    at = np.repeat(of_run, length)
    number = np.repeat(first.astype(np.int64) - ends[:-1], length) + np.arange(len(weight))
    share, rows = weight.astype(float), len(frames)
    signal, variance, skipped = (np.zeros((rows, n_bins)) for _ in range(3))
    skipped_weights = np.zeros((rows, len(weights), n_bins))
    for row, pixels in enumerate(frames):
        left_out = np.isin(pixels, overflow) | ~np.isfinite(pixels)
        if mask is not None:
            left_out = left_out | (mask[row] != 0)
        counts = np.where(left_out, 0, pixels).astype(float)
        squares = counts if of_variance else np.where(left_out, 0, np.maximum(counts, 1))
        signal[row] = np.bincount(number, share * counts[at], n_bins)
        variance[row] = np.bincount(number, share**2 * squares[at], n_bins)
        skipped[row] = np.bincount(number, share * left_out[at], n_bins)
        for k, power in enumerate(powers):
            skipped_weights[row, k] = np.bincount(number, share**power * (weights[k] * left_out)[at], n_bins)
    return signal, variance, skipped, skipped_weights


def azimuthal_chunks(
    chunks: list[bytes],
    index: tuple[np.ndarray, ...],
    n_bins: int,
    weights: np.ndarray,
    powers: np.ndarray,
    mask: np.ndarray | None,
    overflow: np.ndarray,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sum frames as they are stored: one bitshuffle-LZ4 chunk each, of pixels of the type of `overflow`.

    Parameters
    ----------
    chunks
        Bytes of each frame.
    index
        (bins, owner) as in `azimuthal`, or (first, pixel, length, weight, run_start, entry_start) as in
        `azimuthal_split`.

    Returns
    -------
    ``signal``, ``variance``, ``skipped``, ``skipped_weights`` as there, to the same bits, and ``status`` (frame) int32.
    Where it is not 0 the sums of the frame are NaN: negative, the chunk is damaged (see `decode_blocks`); 1, its blocks
    exceed 1 MiB, and it must be decoded first.

    Raises
    ------
    ValueError
        Shapes disagree, or the index leads out of its arrays.
    """
    if len(index) not in (2, 6) or weights.shape[1] < 1 or (mask is not None and len(mask) != len(chunks)):
        raise ValueError(f"index ({len(index)} arrays), weights {weights.shape}")
    if len(powers) != len(weights):
        raise ValueError(f"powers ({len(powers)}) must be as many as weights ({len(weights)})")
    frames = np.zeros((len(chunks), weights.shape[1]), overflow.dtype)
    status = decode_blocks(chunks, frames.view(np.uint8), overflow.itemsize)
    for f, chunk in enumerate(chunks):
        block, size = int.from_bytes(chunk[8:12], "big") or 8192, frames[f].nbytes // 8 * 8
        if status[f] not in (-2, -3) and len(chunk) >= 12:
            least = min(block, size // (8 * overflow.itemsize) * 8 * overflow.itemsize)
            if least > 1 << 20:
                status[f] = 1
    if len(index) == 2:
        bins, owner = index
        sums = azimuthal(frames, bins, owner, n_bins, weights, mask, overflow, n_threads=n_threads)
    else:
        first, pixel, length, weight, run_start, entry_start = index
        sums = azimuthal_split(
            frames, first, pixel, length, weight, run_start, entry_start, n_bins, weights, powers, mask, overflow,
            n_threads=n_threads,
        )  # fmt: skip
    for part in sums:
        part[status != 0] = np.nan
    return *sums, status


__all__ += ["azimuthal", "azimuthal_chunks", "azimuthal_means", "azimuthal_split"]

# Pseudo-Voigts in windows


def fit_pseudo_voigts(
    x: np.ndarray,
    intensity: np.ndarray,
    variance: np.ndarray,
    gain: np.ndarray,
    tasks: np.ndarray,
    start: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    n_background: int = 2,
    second_ratio: float = 0.0,
    second_scale: float = 1.0,
    max_iterations: int = 100,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit groups of pseudo-Voigts with scipy's bounded least squares, repeated until the variances stay.

    Arguments and results are those of the kernel; only the number of iterations is another.
    """
    shape = intensity.shape
    if variance.shape != shape or shape != (len(gain), len(x)) or max_iterations < 1 or n_threads < 1:
        raise ValueError(f"intensity {shape}, variance {variance.shape}, x {x.shape}, gain {gain.shape}")
    if not len(start) == len(lower) == len(upper) == tasks[:, 3].sum() or not 0 <= n_background <= 6:
        raise ValueError("the tasks must own all rows of start, lower and upper")
    n_rows, n_tasks = len(start), len(tasks)
    values, sigmas = np.full((n_rows, 5), np.nan), np.full((n_rows, 5), np.nan)
    strength, at_bound = np.full(n_rows, np.nan), np.zeros(n_rows, np.int8)
    quality, state = np.full((n_tasks, 3), np.nan), np.full(n_tasks, 2, np.int8)
    firsts = np.cumsum(tasks[:, 3]) - tasks[:, 3]
    for i, (frame, low, high, n_peaks) in enumerate(tasks):
        rows = slice(firsts[i], firsts[i] + n_peaks)
        v = variance[frame, low:high]
        good = np.isfinite(intensity[frame, low:high]) & np.isfinite(v) & (v >= 0) & ((v > 0) | (gain[frame] > 0))
        quality[i, 1] = good.sum()
        if good.sum() <= n_background + 4 * n_peaks:
            continue
        window = _Window(
            x[low:high][good], intensity[frame, low:high][good], v[good], gain[frame], n_background, second_ratio,
            second_scale,
        )  # fmt: skip
        fitted, chi2 = window.fit(start[rows], lower[rows], upper[rows])
        values[rows], sigmas[rows], strength[rows] = window.result(fitted)
        edge = (values[rows, :4] <= lower[rows]) | (values[rows, :4] >= upper[rows])
        at_bound[rows] = edge @ np.array([1, 2, 4, 8])
        quality[i], state[i] = (chi2, good.sum(), 1), 0
    return values, sigmas, strength, at_bound, quality, state


class _Window:
    def __init__(
        self, x: np.ndarray, y: np.ndarray, v: np.ndarray, gain: float, n_background: int, ratio: float, scale: float
    ):
        self.x, self.y, self.v, self.gain, self.ratio, self.scale = x, y, v, gain, ratio, scale
        centred = (x - 0.5 * (x[0] + x[-1])) / (0.5 * (x[-1] - x[0]) or 1.0)
        self.basis = np.polynomial.legendre.legvander(centred, max(n_background - 1, 0))[:, :n_background]

    def jacobian(self, p: np.ndarray) -> np.ndarray:
        """Columns d/d(background ..., position, height, fwhm, eta, ...)."""
        columns = list(self.basis.T)
        for x0, height, width, eta in p[self.basis.shape[1] :].reshape(-1, 4):
            half = np.radians(x0) / 2
            lines = [(x0, 1.0, 1.0)]
            if self.ratio > 0 and abs(self.scale * np.sin(half)) < 1:
                other = np.arcsin(self.scale * np.sin(half))
                slope = self.scale * np.cos(half) / np.cos(other)
                lines.append((float(np.degrees(2 * other)), slope, self.ratio))
            four = np.zeros((4, len(self.x)))
            for centre, slope, share in lines:
                u = (self.x - centre) / width
                lorentz, gauss = 1 / (1 + 4 * u**2), np.exp(-4 * np.log(2) * u**2)
                change = 8 * u / width * height * (eta * lorentz**2 + (1 - eta) * np.log(2) * gauss)
                shape = eta * lorentz + (1 - eta) * gauss
                four += share * np.array([slope * change, shape, u * change, height * (lorentz - gauss)])
            columns += list(four)
        return np.array(columns).T

    def model(self, p: np.ndarray) -> np.ndarray:
        n = self.basis.shape[1]
        jacobian = self.jacobian(p)
        return self.basis @ p[:n] + jacobian[:, n + 1 :: 4] @ p[n + 1 :: 4]

    def weights(self, p: np.ndarray) -> np.ndarray:
        """1 / σ; a variance that follows the intensity comes from the model, at least a tenth of a count."""
        return 1 / np.sqrt(self.v + np.maximum(self.gain * self.model(p), 0.1 * self.gain))

    def fit(self, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, float]:
        from scipy.optimize import least_squares

        n = self.basis.shape[1]
        peaks = np.insert(start, 1, 1.0, axis=1)
        p = np.concatenate([np.zeros(n), np.clip(peaks, lower, upper).ravel()])
        low = np.concatenate([np.full(n, -np.inf), lower.ravel()])
        high = np.concatenate([np.full(n, np.inf), upper.ravel()])
        smooth = np.convolve(self.y, np.ones(7), "same") / np.convolve(np.ones(len(self.y)), np.ones(7), "same")
        root = 1 / np.sqrt(self.v + np.maximum(self.gain * smooth, self.gain**2))
        linear = np.r_[0:n, n + 1 : len(p) : 4]
        p[linear] = np.linalg.lstsq(self.jacobian(p)[:, linear] * root[:, None], self.y * root)[0]
        p[n + 1 :: 4] = np.maximum(p[n + 1 :: 4], 0.1 / root.mean())
        span = np.where(np.isfinite(high - low), high - low, 1.0)
        for _ in range(50):
            root = self.weights(p)
            inside = np.clip(p, low + 1e-9 * span, high - 1e-9 * span)
            found = least_squares(
                lambda p, root=root: (self.model(p) - self.y) * root,
                inside,
                lambda p, root=root: self.jacobian(p) * root[:, None],
                (low, high),
                x_scale="jac",
                xtol=1e-13,
                ftol=1e-14,
                gtol=1e-14,
                max_nfev=2000,
            )
            # The trust region never quite reaches a bound.
            fitted = np.where(found.x - low < 1e-6 * span, low, np.where(high - found.x < 1e-6 * span, high, found.x))
            moved = np.abs(fitted - p).max() / max(np.abs(fitted).max(), 1e-300)
            p = fitted
            if self.gain == 0 or moved < 1e-11:
                break
        return p, float((((self.model(p) - self.y) * self.weights(p)) ** 2).sum())

    def result(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position, height, fwhm, eta, area; their σ; height over its σ at fixed positions and shapes."""
        n = self.basis.shape[1]
        weighted = self.jacobian(p) * self.weights(p)[:, None]
        covariance = np.linalg.inv(weighted.T @ weighted)
        linear = np.r_[0:n, n + 1 : len(p) : 4]
        partial = np.linalg.inv(weighted[:, linear].T @ weighted[:, linear])
        values, sigmas, strength = [], [], []
        for j, (x0, height, width, eta) in enumerate(p[n:].reshape(-1, 4)):
            block = covariance[n + 4 * j : n + 4 * j + 4, n + 4 * j : n + 4 * j + 4]
            lorentz, gauss = np.pi / 2, np.sqrt(np.pi / np.log(2)) / 2
            unit = eta * lorentz + (1 - eta) * gauss
            by = np.array([0, width * unit, height * unit, height * width * (lorentz - gauss)])
            values.append([x0, height, width, eta, height * width * unit])
            sigmas.append([*np.sqrt(np.diag(block)), np.sqrt(by @ block @ by)])
            strength.append(height / np.sqrt(partial[n + j, n + j]))
        return np.array(values), np.array(sigmas), np.array(strength)


__all__ += ["fit_pseudo_voigts"]
