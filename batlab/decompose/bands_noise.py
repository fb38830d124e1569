"""The part of a band that noise alone makes: a residual bootstrap in the space of the first singular vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Noise(NamedTuple):
    """Covariances of the noise of scores and loadings, and how it is spread over frames and over the axis."""

    scores: np.ndarray  # (k, k)
    loadings: np.ndarray  # (k, k)
    frames: np.ndarray  # (frame,): noise of a frame beside the mean noise, at least 1
    axis: np.ndarray  # (axis,)

    def concentration(self, inverses: np.ndarray) -> np.ndarray:
        """Return σ (batch, frame, component) of ``C = U T⁻¹`` for a batch of T⁻¹."""
        return np.sqrt(np.einsum("nai,ab,nbi->ni", inverses, self.scores, inverses))[:, None, :] * self.frames[:, None]

    def spectra(self, turns: np.ndarray) -> np.ndarray:
        """Return σ (batch, axis, component) of ``S = T Vᵗ`` for a batch of T."""
        return np.sqrt(np.einsum("nia,ab,nib->ni", turns, self.loadings, turns))[:, None, :] * self.axis[:, None]


def bootstrap(
    values: np.ndarray, scores: np.ndarray, loadings: np.ndarray, blocks: list[slice], replicates: int, seed: int
) -> Noise:
    """Return the noise of scores (frame, k) and loadings (axis, k), from the residuals that they leave.

    A replicate gives every frame the residual of a frame drawn at random, with a random sign and turned round along
    its stretch of the axis by a random number of points: neighbouring points stay as correlated as they are, and the
    noise is no longer orthogonal to the components, as a residual is. Lost degrees of freedom are made up for.
    """
    rng = np.random.default_rng(seed)
    frames, points = values.shape
    k = scores.shape[1]
    rest = values - scores @ loadings.T
    rest *= np.sqrt(frames * points / max((frames - k) * (points - k), 1))
    by_frame = np.sqrt((rest**2).mean(axis=1))
    by_axis = np.sqrt((rest**2).mean(axis=0))
    left = np.linalg.pinv(scores)
    of_scores, of_loadings = np.zeros((k, k)), np.zeros((k, k))
    made = np.empty_like(rest)
    for _ in range(replicates):
        drawn = rng.integers(frames, size=frames)
        sign = rng.choice([-1.0, 1.0], size=(frames, 1))
        for block in blocks:
            width = block.stop - block.start
            turned = (np.arange(width) + rng.integers(width, size=(frames, 1))) % width
            made[:, block] = sign * np.take_along_axis(rest[drawn, block], turned, axis=1)
        in_scores, in_loadings = made @ loadings, left @ made
        of_scores += in_scores.T @ in_scores / frames
        of_loadings += in_loadings @ in_loadings.T / points
    mean = float(np.sqrt((rest**2).mean())) or 1.0
    # A frame that looks quieter than most may do so by chance: none is taken for quieter than the mean.
    by_frame, by_axis = np.maximum(by_frame / mean, 1.0), np.maximum(by_axis / mean, 1.0)
    return Noise(of_scores / replicates, of_loadings / replicates, by_frame, by_axis)
