"""What needs all pixels of a ring at once: outliers, quantiles, and errors from the scatter around the ring."""

from __future__ import annotations

import math
import threading
import warnings
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from batlab._kernels.rings import rings
from batlab.scattering.bins import BLOCK, PixelBins, PixelRuns
from batlab.scattering.frames import overflow_in
from batlab.scattering.plan import Plan

MODELS = {None: 0, "poisson": 1, "azimuthal": 2, "hybrid": 3}
DOUBTFUL = 0.1  # of the pixels left out as outliers


@dataclass(frozen=True)
class SigmaClip:
    """Leave out the pixels of a ring that lie too far from its mean, again and again until none does.

    For spots of single crystals (plated lithium, large grains) and cosmic rays on a powder ring. σ is that of one
    pixel of the ring. Where the error model is ``"poisson"`` it follows from the counts: texture of the ring itself is
    clipped too, and a ring far from even may lose all its pixels. Where it is ``"azimuthal"``, ``"hybrid"`` or None it
    is the scatter around the ring: one pixel among n stands out by at most √n σ, and of rings far below one count a
    pixel the rare counts are clipped (at 0.1 counts 0.5 % of all pixels). Where a ring's σ is 0 all are kept.

    Kept is what pyFAI's ``sigma_clip`` keeps without splitting, with one exception: with ``"poisson"`` strong spots
    carry the mean so far away that all other pixels look like outliers, and pyFAI loses the ring. Where more than 5 %
    are too far from the mean, the median is more than a quarter of the limit beside it and less than half as many are
    too far from that, the median is used.
    Where pixels are split, each bin judges for itself.

    Parameters
    ----------
    threshold
        In σ, above 0. Where Chauvenet's criterion, √(2 ln(n / √(2π))) for n pixels (3.5 for 1000, 5.1 for a million),
        is wider, or where `threshold` is None or 0, that is used, as in pyFAI.
    max_iterations
        1 to 1000.

    Raises
    ------
    ValueError
        A number out of its range.

    References
    ----------
    Kieffer et al., J. Appl. Cryst. 58, 138 (2025), doi:10.1107/S1600576724011038.

    Examples
    --------
    >>> SigmaClip(4.0)
    SigmaClip(threshold=4.0, max_iterations=5)
    """

    threshold: float | None = 5.0
    max_iterations: int = 5

    def __post_init__(self) -> None:
        if self.threshold is not None and not (_is_number(self.threshold) and 0 <= self.threshold < math.inf):
            raise ValueError(f"threshold must be at least 0 (in sigma) or None for Chauvenet's, got {self.threshold!r}")
        if not (_is_number(self.max_iterations) and self.max_iterations in range(1, 1001)):
            raise ValueError(f"max_iterations must be a whole number from 1 to 1000, got {self.max_iterations!r}")


@dataclass(frozen=True)
class Quantile:
    """Average only the pixels of a ring between two quantiles; ``Quantile(0.5, 0.5)`` is the median.

    The pixels are ordered by their corrected intensity and laid end to end, each as long as its weight; those that lie
    wholly between the quantiles of the total length are averaged, or the one that holds both. Where there is none (few
    pixels, close quantiles) those that the range touches are. It resists any outliers in less than the lower or upper
    part, but needs tens of counts a pixel: of few counts median and mean differ.

    σ is that of the mean of the chosen pixels alone, as in pyFAI: too large for normal scatter, by 1.3 between 0.25 and
    0.75 and by 1.9 between 0.4 and 0.6.
    With ``error_model="azimuthal"`` it is that of a trimmed mean, from the winsorised scatter (Yuen).

    Parameters
    ----------
    low, high
        0 to 1, `low` not above `high`.

    Raises
    ------
    ValueError
        Not in this order or range.

    References
    ----------
    Yuen, Biometrika 61, 165 (1974), doi:10.1093/biomet/61.1.165.

    Examples
    --------
    >>> Quantile(0.25, 0.75)
    Quantile(low=0.25, high=0.75)
    """

    low: float = 0.4
    high: float = 0.6

    def __post_init__(self) -> None:
        if not (_is_number(self.low) and _is_number(self.high) and 0 <= self.low <= self.high <= 1):
            raise ValueError(f"quantiles must be 0 <= low <= high <= 1, got {self.low!r} and {self.high!r}")


@dataclass(frozen=True)
class RingOrder:
    """The pixels of each bin: bin b holds ``pixel[start[b]:start[b + 1]]``, with ``coefficient`` where split."""

    start: np.ndarray
    pixel: np.ndarray
    coefficient: np.ndarray | None


_ORDERS: dict[int, RingOrder] = {}
_LOCK = threading.Lock()


def check_clip(clip: Any, error_model: str | None) -> None:
    """Refuse a `clip` that is none, or that does not go with the error model.

    Raises
    ------
    TypeError
        Neither `SigmaClip` nor `Quantile` nor None.
    ValueError
        One single quantile has no scatter of its own.
    """
    if clip is not None and not isinstance(clip, (SigmaClip, Quantile)):
        raise TypeError(
            f"clip must be scattering.SigmaClip(threshold=5.0), scattering.Quantile(0.4, 0.6) or None, got {clip!r}"
        )
    if isinstance(clip, Quantile) and clip.low == clip.high and error_model == "azimuthal":
        raise ValueError(
            f"error_model='azimuthal' needs a range of quantiles, got {clip}; widen it, or use error_model='poisson'"
        )


def reduce_block(
    plan: Plan,
    pixels: np.ndarray,
    *,
    mask: np.ndarray | None,
    overflow: Any,
    monitor: np.ndarray | None,
    error_model: str | None,
    clip: SigmaClip | Quantile | None,
    variance: np.ndarray | None = None,
    n_threads: int = 1,
    marks: bool = False,
) -> dict[str, Any]:
    """Return the parts (frame, bin) of some frames: what `plan.reduce_block` returns, and ``n_clipped``.

    Parameters
    ----------
    plan
        The `Plan`; its pixels are put into the order of rings at the first call, and kept as long as the plan lives.
    pixels
        Counts (frame, pixel), of a type that the kernel knows.
    mask
        (frame, pixel), True where left out, or None.
    overflow
        Values that mark a pixel as lost.
    monitor
        (frame,) or None.
    error_model, clip
        As checked by `check_clip`. With `variance` the models other than ``"azimuthal"`` use that.
    variance
        (frame or 1, pixel) float64.
    marks
        Add ``clipped`` (frame, pixel), True where a pixel was left out of any bin.

    Returns
    -------
    ``n_pixels`` and ``n_clipped`` add up to the pixels that were neither masked nor lost; where pixels are split they
    are sums of their parts. ``variance`` is NaN where the scatter of a single pixel is asked for.
    """
    order = ring_order(plan)
    low, high = (clip.low, clip.high) if isinstance(clip, Quantile) else (0.0, 0.0)
    rounds = 0
    if isinstance(clip, SigmaClip):
        low, rounds = float(clip.threshold or 0.0), int(clip.max_iterations)
    kind = 0 if clip is None else 1 if isinstance(clip, SigmaClip) else 2
    values = overflow_in([float(value) for value in np.atleast_1d(overflow)], pixels.dtype)
    hidden = None if mask is None else np.ascontiguousarray(mask).view(np.uint8)
    given = None if variance is None else np.ascontiguousarray(variance, dtype=float)
    sums, clipped = rings(
        pixels, order.start, order.pixel, order.coefficient, plan.weights, given, hidden, values,
        MODELS[error_model], kind, low, high, rounds, marks, n_threads,
    )  # fmt: skip
    signal, square, normalization, *counts = np.moveaxis(sums, 1, 0)
    n_pixels, n_clipped = counts if plan.is_split else (count.astype(np.int32) for count in counts)
    parts = {
        "signal": signal,
        "variance": square,
        "normalization": normalization if monitor is None else normalization * np.reshape(monitor, (-1, 1)),
        "n_pixels": n_pixels,
        "n_clipped": n_clipped,
    }
    return parts | {"clipped": clipped.view(bool)} if marks else parts


def doubtful(parts: dict[str, np.ndarray], clip: SigmaClip | Quantile | None) -> dict[int, tuple[float, int]]:
    """Return frame -> (part of its pixels left out, number of bins left empty) where `SigmaClip` took too much."""
    if not isinstance(clip, SigmaClip):
        return {}
    n_pixels, n_clipped = parts["n_pixels"], parts["n_clipped"]
    empty = ((n_pixels == 0) & (n_clipped > 0)).sum(axis=1)
    share = n_clipped.sum(axis=1) / np.maximum((n_pixels + n_clipped).sum(axis=1), 1)
    return {int(k): (float(share[k]), int(empty[k])) for k in np.flatnonzero((empty > 0) | (share > DOUBTFUL))}


def warn_of_losses(found: dict[int, tuple[float, int]], n_frames: int, clip: SigmaClip | Quantile | None) -> None:
    """Warn where outliers are so many that they are the ring itself; `found` is what `doubtful` returns.

    Warns
    -----
    UserWarning
        `SigmaClip` has left out all pixels of a bin, or more than a tenth of those of a frame.
    """
    if found:
        shares, empty = zip(*found.values())
        warnings.warn(
            f"{clip} has left out up to {100 * max(shares):.0f} % of the pixels of a frame, and all pixels of "
            f"{sum(empty)} bins ({len(found)} of {n_frames} frames, the first is {min(found)}): rings that are "
            "textured, or wider than counting statistics; use error_model='azimuthal' or 'hybrid', or clip farther out",
            UserWarning,
            stacklevel=2,
        )


def ring_order(plan: Plan) -> RingOrder:
    """Return the plan's pixels bin by bin; built at the first call, 4 bytes a pixel (8 a part where they are split)."""
    with _LOCK:
        key = id(plan.index)
        if key not in _ORDERS:
            _ORDERS[key] = _bin_major(plan.index, plan.n_bins, plan.weights.shape[1])
            weakref.finalize(plan.index, _ORDERS.pop, key, None)
        return _ORDERS[key]


def _bin_major(index: PixelBins | PixelRuns, n_bins: int, n_pixels: int) -> RingOrder:
    from scipy.sparse import csr_matrix

    if isinstance(index, PixelBins):
        bins = np.append(index.owner, n_bins)[index.bins]
        used = bins < n_bins
        ends = np.concatenate([[0], np.cumsum(used)])
        parts, columns = np.ones(int(ends[-1]), np.int8), bins[used].astype(np.int32)
    else:
        block = np.repeat(np.arange(len(index.run_start) - 1), np.diff(index.run_start))
        pixel = block * BLOCK + index.pixel
        if (np.diff(pixel) < 0).any():
            raise ValueError("the runs of a plan must stand in image order")
        length = index.length.astype(np.int32)
        ends = np.concatenate([[0], np.cumsum(np.bincount(pixel, length, n_pixels).astype(np.int64))])
        before = np.cumsum(length) - length
        columns = np.repeat(index.first.astype(np.int32) - before.astype(np.int32), length)
        columns += np.arange(len(columns), dtype=np.int32)
        parts = index.weight
    by_bin = csr_matrix((parts, columns, ends), shape=(n_pixels, n_bins)).tocsc()
    return RingOrder(
        by_bin.indptr.astype(np.int64),
        np.ascontiguousarray(by_bin.indices, dtype=np.uint32),
        np.ascontiguousarray(by_bin.data, dtype=np.float32) if isinstance(index, PixelRuns) else None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
