"""Which way round an image lies: the orientation in which a geometry's rings are sharpest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from batlab.io.poni import ORIENTATIONS, Geometry
from batlab.scattering.geometry import LOCK
from batlab.scattering.ring_points import Picture

BETTER = 1.3  # another orientation must explain so much more of the image before anything is said
MOST = 500_000  # pixels looked at


def ring_sharpness(geometry: Geometry, picture: Picture) -> float:
    """Return which share of an image's variation a curve over 2θ explains, 0 to 1; the slow ground is taken away.

    It does not ask where rings ought to be, so a distance that is some percent off hardly matters.
    """
    stride = max(1, picture.y.size // MOST)
    y, x = picture.y[::stride], picture.x[::stride]
    values = np.sqrt(np.maximum(picture.counts[::stride], 0.0))
    values = np.minimum(values, np.percentile(values, 99.9))
    with LOCK:
        angle = geometry.pyfai(picture.shape).tth(y.astype(float), x.astype(float))
    pixel = min(geometry.pixel_size_y, geometry.pixel_size_x) / geometry.distance
    n_bins = int(np.clip(np.ptp(angle) / pixel, 16, 4000))
    edges = np.linspace(angle.min(), angle.max(), n_bins + 1)
    bins = np.clip(np.searchsorted(edges, angle, side="right") - 1, 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    mean = np.bincount(bins, values, n_bins) / np.maximum(count, 1)
    width = max(n_bins // 20, 8)
    kernel = np.ones(width)
    slow = np.convolve(mean * count, kernel, "same") / np.maximum(np.convolve(count, kernel, "same"), 1)
    rest = values - slow[bins]
    whole = float((rest**2).sum())
    # Bins of few pixels follow the noise: each bin's own pixel is worth one degree of freedom.
    explained = float((count * (mean - slow) ** 2).sum()) - whole * np.count_nonzero(count) / count.sum()
    return max(explained, 0.0) / whole if whole else 0.0


def best_orientation(geometry: Geometry, picture: Picture) -> tuple[int, float]:
    """Return the orientation in which rings are sharpest, and how much sharper than with the geometry's own.

    The own stays where no other explains at least 1.3 times as much: a centred, upright detector cannot tell.
    """
    scores = {one: ring_sharpness(replace(geometry, orientation=one), picture) for one in ORIENTATIONS}
    own = scores[geometry.orientation]
    best = max(scores, key=lambda one: scores[one])
    gain = scores[best] / max(own, 1e-9)
    return (best, gain) if gain > BETTER and scores[best] > 0.01 else (geometry.orientation, 1.0)
