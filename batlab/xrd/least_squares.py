"""Weighted linear least squares on many frames at once, for lines that may disagree beyond counting statistics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SINGULAR = 1e-10  # smallest eigenvalue of the normalised equations that still determines all parameters
REJECT_BELOW = 0.05  # chance per frame to drop a good line
MOST_REJECTED = 0.34  # of a frame's lines
FAR = 6.0  # times the scatter
L1_ROUNDS, L1_ROUNDING = 30, 0.1  # of reweighting; σ below which absolute deviations are rounded off
DENIED_THROUGHOUT = 1 / 3  # of the frames that can judge a line
FEWEST_DENIALS = 5  # frames


class Fit(NamedTuple):
    """What `fit` returns; the first axis is the frame."""

    parameters: np.ndarray  # (frame, p)
    covariance: np.ndarray  # (frame, p, p)
    chi2_reduced: np.ndarray  # (frame,), with the given sigma alone
    scatter: np.ndarray  # (frame,), tau
    used: np.ndarray  # (frame, n)


def fit(design: np.ndarray, y: np.ndarray, sigma: np.ndarray, lever: np.ndarray, *, robust: bool = True) -> Fit:
    """Fit ``y = design @ p`` in each frame.

    Where the lines agree within their `sigma` this is plain weighted least squares. Where they do not (χ² above dof
    by more than its standard deviation: zero shift, overlap, strain), the excess enters as an extra scatter τ, equal
    for all lines in position, found so that χ² = dof (Paule and Mandel, doi:10.6028/jres.087.022): the strongest line
    then no longer outvotes all others, and the σ of the parameters grow as the lines disagree. With `robust`, a line
    whose residual against the fit of the others is improbable (Student's t, 5 % a frame, and more than 3 σ) is left
    out, and the fit repeated.

    Parameters
    ----------
    design
        (frame, n, p).
    y, sigma, lever
        (frame, n): value, its 1 σ, and how far one unit of position moves it. NaN where a line is missing.
    robust
        Leave improbable lines out, where at least three lines more than parameters remain.

    Returns
    -------
    Fit
        NaN in frames whose lines do not determine all parameters. ``chi2_reduced`` is NaN without spare lines.
    """
    used = np.isfinite(y) & np.isfinite(sigma) & (sigma > 0) & np.isfinite(design).all(axis=2)
    n_first = used.sum(axis=1)
    if robust:
        used &= ~_strangers(design, y, sigma, lever, used)
    result = _fit_used(design, y, sigma, lever, used)
    active = np.flatnonzero(n_first - design.shape[2] >= 3) if robust else np.array([], dtype=int)
    while active.size:  # one at a time, from what most lines agree on
        worst, improbable = _worst_line(design[active], y[active], sigma[active], lever[active], result, active)
        allowed = (n_first - used.sum(axis=1))[active] + 1 <= np.floor(MOST_REJECTED * n_first[active])
        dropped = active[improbable & allowed]
        used[dropped, worst[improbable & allowed]] = False
        again = _fit_used(*(part[dropped] for part in (design, y, sigma, lever, used)))
        for whole, part in zip(result, again):
            whole[dropped] = part
        active = dropped[used[dropped].sum(axis=1) - design.shape[2] >= 3]
    return result


def _strangers(design: np.ndarray, y: np.ndarray, sigma: np.ndarray, lever: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return the lines far from what most lines agree on, however sure of themselves: several hide one another.

    Least absolute deviations in which no line counts more than the median one; then whatever is beyond `FAR` times
    the scatter (median absolute deviation, at least σ). At most `MOST_REJECTED` of the lines.
    """
    rows = np.flatnonzero(used.sum(axis=1) - design.shape[2] >= 3)
    out = np.zeros_like(used)
    if not rows.size:
        return out
    mine = used[rows]
    bar = np.abs(np.where(mine, sigma[rows] / np.abs(lever[rows]), np.nan))
    unit = np.where(mine, np.fmax(bar, np.nanmedian(bar, axis=1)[:, None]) * np.abs(lever[rows]), 1.0)
    safe, seen = np.where(mine[..., None], design[rows], 0.0), np.where(mine, y[rows], 0.0)
    weight = mine / unit**2
    for _ in range(L1_ROUNDS):
        residual = np.where(mine, _solve(safe, seen, weight)[2] / unit, 0.0)
        weight = mine / unit**2 / np.sqrt(residual**2 + L1_ROUNDING**2)
    away = np.where(mine, np.abs(residual), np.nan)
    n = mine.sum(axis=1)
    spread = 1.4826 * np.nanmedian(away, axis=1) * n / (n - design.shape[2])
    far = np.nan_to_num(away) > FAR * np.maximum(spread, 1.0)[:, None]
    rank = np.argsort(np.argsort(-np.nan_to_num(away), axis=1), axis=1)
    out[rows] = far & (rank < np.floor(MOST_REJECTED * n)[:, None]) & np.isfinite(residual)
    return out


def denied(fitted: Fit, present: np.ndarray) -> np.ndarray:
    """Return the lines that the others deny so often that they must be something else (an overlap, another phase).

    `present` (frame, n): where the line was there to be used.
    """
    judged = present & (present.sum(axis=1) - fitted.parameters.shape[1] >= 3)[:, None]
    times = (judged & ~fitted.used).sum(axis=0)
    return (times >= FEWEST_DENIALS) & (times > DENIED_THROUGHOUT * judged.sum(axis=0))


def _fit_used(design: np.ndarray, y: np.ndarray, sigma: np.ndarray, lever: np.ndarray, used: np.ndarray) -> Fit:
    variance = np.where(used, sigma, 1.0) ** 2
    spread = np.where(used, lever, 0.0) ** 2
    dof = used.sum(axis=1) - design.shape[2]
    clean = np.where(used[..., None], design, 0.0), np.where(used, y, 0.0)
    parameters, covariance, residual, chi2 = _solve(*clean, used / variance)
    tau2 = _extra_variance(*clean, used, variance, spread, residual)
    more = np.flatnonzero(tau2 > 0)
    weight = used[more] / (variance[more] + tau2[more, None] * spread[more])
    parameters[more], covariance[more] = _solve(clean[0][more], clean[1][more], weight)[:2]
    with np.errstate(invalid="ignore", divide="ignore"):
        reduced = np.where(dof > 0, chi2 / dof, np.nan)
    scatter = np.where(np.isfinite(parameters[:, 0]), np.sqrt(tau2), np.nan)
    return Fit(parameters, covariance, reduced, scatter, used.copy())


def _solve(design: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return parameters, covariance, residuals and χ² of one weighted fit a frame; NaN where it is singular."""
    normal = np.einsum("fnp,fn,fnq->fpq", design, weight, design)
    scale = np.sqrt(np.einsum("fpp->fp", normal))
    scale = np.where(scale > 0, scale, 1.0)
    normal = normal / scale[:, :, None] / scale[:, None, :]
    good = np.isfinite(normal).all(axis=(1, 2))
    good[good] &= np.linalg.eigvalsh(normal[good])[:, 0] > SINGULAR
    n_frames, n_free = scale.shape
    covariance = np.full((n_frames, n_free, n_free), np.nan)
    covariance[good] = np.linalg.inv(normal[good])
    covariance /= scale[:, :, None] * scale[:, None, :]
    parameters = np.einsum("fpq,fnq,fn->fp", covariance, design, weight * y)
    residual = y - np.einsum("fnp,fp->fn", design, parameters)
    # One step of refinement: the normal equations square the condition, this takes the rounding back out.
    parameters = parameters + np.einsum("fpq,fnq,fn->fp", covariance, design, weight * residual)
    residual = y - np.einsum("fnp,fp->fn", design, parameters)
    return parameters, covariance, residual, np.einsum("fn,fn,fn->f", weight, residual, residual)


def _extra_variance(
    design: np.ndarray,
    y: np.ndarray,
    used: np.ndarray,
    variance: np.ndarray,
    spread: np.ndarray,
    residual: np.ndarray,
) -> np.ndarray:
    """Return τ² with χ²(τ²) = dof: χ² is convex and falling, so Newton climbs to the root from 0."""
    dof = used.sum(axis=1) - design.shape[2]
    chi2 = np.einsum("fn,fn,fn->f", used / variance, residual, residual)
    tau2 = np.zeros(len(y))
    todo = np.flatnonzero((dof > 0) & (chi2 > dof + np.sqrt(2 * np.maximum(dof, 0))))
    chi2, residual = chi2[todo], residual[todo]
    for _ in range(100):
        if not todo.size:
            break
        weight = used[todo] / (variance[todo] + tau2[todo, None] * spread[todo])
        slope = np.einsum("fn,fn,fn->f", weight**2, spread[todo], residual**2)
        tau2[todo] += (chi2 - dof[todo]) / slope
        weight = used[todo] / (variance[todo] + tau2[todo, None] * spread[todo])
        residual, chi2 = _solve(design[todo], y[todo], weight)[2:]
        open_ = chi2 > dof[todo] * (1 + 1e-6)
        todo, chi2, residual = todo[open_], chi2[open_], residual[open_]
    return tau2


def _worst_line(
    design: np.ndarray, y: np.ndarray, sigma: np.ndarray, lever: np.ndarray, result: Fit, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the line of each frame that the others deny most, and whether that is improbable."""
    from scipy import stats

    used = result.used[frames]
    total = np.where(used, sigma, 1.0) ** 2 + result.scatter[frames, None] ** 2 * np.where(used, lever, 0.0) ** 2
    safe = np.where(used[..., None], design, 0.0)
    residual = np.where(used, y, 0.0) - np.einsum("fnp,fp->fn", safe, result.parameters[frames])
    predicted = np.einsum("fnp,fpq,fnq->fn", safe, result.covariance[frames], safe)
    n_used = used.sum(axis=1)
    dof = (n_used - design.shape[2])[:, None].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = residual**2 / np.maximum(total - predicted, 1e-12 * total)
        chi2 = np.where(used, residual**2 / total, 0.0).sum(axis=1, keepdims=True)
        student = np.sqrt(inner * (dof - 1) / np.maximum(chi2 - inner, 1e-12 * chi2))
        beyond = used & (residual**2 > 9 * np.where(used, sigma, 1.0) ** 2)  # never drop what agrees within 3 sigma
    student = np.where(beyond & np.isfinite(student), student, -1.0)
    worst = student.argmax(axis=1)
    limit = stats.t.isf(REJECT_BELOW / 2 / np.maximum(n_used, 1), np.maximum(dof[:, 0] - 1, 1))
    return worst, student[np.arange(len(worst)), worst] > limit
