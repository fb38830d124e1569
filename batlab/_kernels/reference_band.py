"""The oracle of a band matrix times many curves."""

from __future__ import annotations

import numpy as np


def band_product(
    values: np.ndarray, first: np.ndarray, start: np.ndarray, weights: np.ndarray, n_threads: int = 1
) -> np.ndarray:
    """Return the sums of runs of the values (frame, output), each run with weights of its own."""
    if n_threads < 1 or len(start) != len(first) + 1 or (np.diff(start) < 0).any():
        raise ValueError(f"first {first.shape}, start {start.shape}, n_threads {n_threads}")
    if start[0] < 0 or start[-1] > len(weights) or (first < 0).any():
        raise ValueError(f"start {start[0]} to {start[-1]}, {len(weights)} weights")
    if (first + np.diff(start) > values.shape[1]).any():
        raise ValueError(f"runs leave the {values.shape[1]} values")
    out = np.zeros((len(values), len(first)))
    for j, (here, begin, end) in enumerate(zip(first, start[:-1], start[1:])):
        out[:, j] = values[:, here : here + end - begin] @ weights[begin:end]
    return out
