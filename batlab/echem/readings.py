"""How far a cycler's readings scatter."""

from __future__ import annotations

import numpy as np

SIGMA_OF_MEDIAN = 1.482602218505602  # of |x| of a Gaussian
DIGITS_SEEN = 20000  # lines looked at for the smallest step of a reading


def noise_of(seconds: np.ndarray, values: np.ndarray, joined: np.ndarray) -> float:
    """Return σ of single readings: their distance from the straight line between both neighbours, by its median.

    Parameters
    ----------
    seconds, values
        Readings in order of time.
    joined
        Whether each reading belongs with the one before it (same state, no gap); the first never does.

    Returns
    -------
    float
        At least the smallest step between readings over √12, and 0 for fewer than three that belong together.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 1e-3, 4000)
    >>> round(noise_of(np.arange(4000.0), 3 + noise, np.arange(4000) > 0), 4)
    0.001
    """
    before, after = np.diff(seconds)[:-1], np.diff(seconds)[1:]
    inside = joined[1:-1] & joined[2:] & (before + after > 0)
    if not inside.any():
        return 0.0
    share = after[inside] / (before + after)[inside]
    line = share * values[:-2][inside] + (1 - share) * values[2:][inside]
    distance = np.abs(values[1:-1][inside] - line) / np.sqrt(1 + share**2 + (1 - share) ** 2)
    # Setpoints are far apart but do not move: a digit shows between neighbours too.
    apart = np.diff(np.unique(values[:DIGITS_SEEN]))
    moves = np.abs(np.diff(values)[joined[1:]])
    moves = moves[moves > 0]
    digit = float(min(apart.min(), moves.min())) if apart.size and moves.size else 0.0
    return max(SIGMA_OF_MEDIAN * float(np.median(distance)), digit / np.sqrt(12.0))
