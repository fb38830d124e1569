"""How the noise of G(r) hangs together: it has no waves beyond Qmax, so that neighbouring points err alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr


class Spread(NamedTuple):
    """Of a least-squares fit whose points do not err independently."""

    covariance: np.ndarray  # of the unknowns, for the σ that the weights tell
    n_free: float  # what chi² is on average


def noise_waves(r: np.ndarray, qmax: float | None, spectrum: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray | None:
    """Return W (r, wave) with W Wᵀ the correlation of the noise of G between points of `r`; None: no correlation.

    G = Σ F sin(Qr), and the errors of F at different Q are independent; `spectrum` holds Q and their σ, of which only
    the shape counts (None: one for all Q).
    """
    if not qmax:
        return None
    # So fine that sums over Q are integrals for the product of two waves.
    step = np.pi / (2.2 * float(r[-1]))
    q = step * (np.arange(int(qmax / step)) + 0.5)
    waves = np.sin(np.outer(r, q))
    if spectrum is not None:
        waves *= np.interp(q, *spectrum)
    size = np.linalg.norm(waves, axis=1, keepdims=True)
    return waves / np.maximum(size, 1e-300)


def spectrum_of(series: xr.Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Return Q and σ of F(Q), mean over frames, where `pdf.g_of_r` has left them."""
    if "f_q_sigma" not in series or "q" not in series.coords:
        return None
    sigma = np.atleast_2d(np.asarray(series["f_q_sigma"].values, dtype=float))
    known = np.isfinite(sigma)
    if not known.any():
        return None
    squares = np.where(known, sigma, 0.0) ** 2
    mean = np.sqrt(squares.sum(axis=0) / np.maximum(known.sum(axis=0), 1))
    return np.asarray(series["q"].values, dtype=float), mean


def spread_of(jacobian: np.ndarray, waves: np.ndarray | None, n_points: int) -> Spread:
    """Return the spread of unknowns from the derivatives (unknown, point), each over its point's σ.

    (JJᵀ)⁻¹ J W Wᵀ Jᵀ (JJᵀ)⁻¹: the fit weighs points as if they were independent, its errors know that they are not.
    """
    normal = jacobian @ jacobian.T
    size = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    inverse = np.linalg.pinv(normal / np.outer(size, size), rcond=1e-12) / np.outer(size, size)
    if waves is None:
        return Spread(inverse, max(n_points - len(jacobian), 1.0))
    slopes = jacobian @ waves
    half = inverse @ slopes
    taken = float(np.sum(half * slopes))
    return Spread(half @ half.T, max(n_points - taken, 1.0))
