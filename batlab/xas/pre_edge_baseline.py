"""What lies under pre-edge peaks: the tail of the rising edge, fitted beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.xas.xanes_series import polynomial_basis, scatter_of

POLYNOMIALS = {"linear": 1, "quadratic": 2, "cubic": 3}
TAILS = ("lorentzian", "arctangent")
FORMS = (*TAILS, *POLYNOMIALS)
ROUNDS, TOLERANCE = 100, 1e-10  # of Levenberg and Marquardt; of the misfit
WIDTHS = np.geomspace(1.0, 20.0, 10)  # eV, first tried
NARROWEST, WIDEST, FARTHEST = 0.3, 60.0, 60.0  # eV: widths, and how far above the peaks the edge's centre may lie


class Baseline(NamedTuple):
    """Of each frame: the curve at all points, its derivatives by its parameters, their covariance, and the noise."""

    curve: np.ndarray  # (frame, point)
    slopes: np.ndarray  # (frame, point, parameter)
    covariance: np.ndarray  # (frame, parameter, parameter)
    noise: np.ndarray  # (frame,) scatter about the fit


def baseline_of(energy: np.ndarray, rows: np.ndarray, beside: np.ndarray, form: str) -> Baseline:
    """Fit a baseline to the points `beside` the peaks (point,) and carry it under them.

    ``a + b E`` plus ``c / (1 + ((E - E1) / w)²)`` or ``c (1/2 + arctan((E - E1) / w) / π)``, or a polynomial. Frames
    with too few points are NaN.
    """
    middle = 0.5 * (energy[0] + energy[-1])
    x = energy - middle
    top = x[~beside].max() if (~beside).any() else x[-1]
    used = beside & np.isfinite(rows)
    if form in POLYNOMIALS:
        columns = np.broadcast_to(polynomial_basis(x, POLYNOMIALS[form]), (len(rows), len(x), POLYNOMIALS[form] + 1))
        terms, covariance = _linear(columns, rows, used)
    else:
        start = _start(x, rows, used, top, form)
        terms = _refined(x, rows, used, start, top, form)
        columns = _slopes(x, terms, form)
        covariance = _inverse(columns, used)
    curve = (columns * terms[:, None, :]).sum(axis=2) if form in POLYNOMIALS else _curve(x, terms, form)
    noise = scatter_of(np.where(used, rows - curve, np.nan), terms.shape[1])
    lost = used.sum(axis=1) <= terms.shape[1]
    curve = np.where(lost[:, None], np.nan, curve)
    return Baseline(curve, columns, covariance * noise[:, None, None] ** 2, noise)


def _inverse(columns: np.ndarray, used: np.ndarray) -> np.ndarray:
    kept = columns * used[..., None]
    return np.linalg.pinv(kept.transpose(0, 2, 1) @ kept, rcond=1e-12, hermitian=True)


def _linear(columns: np.ndarray, rows: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inverse = _inverse(columns, used)
    pull = (columns * used[..., None]).transpose(0, 2, 1) @ np.where(used, rows, 0.0)[..., None]
    return (inverse @ pull)[..., 0], inverse


def _tail(x: np.ndarray, centre: np.ndarray, width: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the shape of the edge's tail and its derivatives by centre and width."""
    u = (x - centre) / width
    bell = 1.0 / (1.0 + u**2)
    if form == "lorentzian":
        return bell, 2 * u * bell**2 / width, 2 * u**2 * bell**2 / width
    return 0.5 + np.arctan(u) / np.pi, -bell / (np.pi * width), -u * bell / (np.pi * width)


def _curve(x: np.ndarray, terms: np.ndarray, form: str) -> np.ndarray:
    a, b, c, centre, width = (terms[:, [i]] for i in range(5))
    return a + b * x + c * _tail(x, centre, width, form)[0]


def _slopes(x: np.ndarray, terms: np.ndarray, form: str) -> np.ndarray:
    c, centre, width = (terms[:, [i]] for i in (2, 3, 4))
    shape, by_centre, by_width = _tail(x, centre, width, form)
    return np.stack([np.ones_like(shape), np.broadcast_to(x, shape.shape), shape, c * by_centre, c * by_width], axis=2)


def _start(x: np.ndarray, rows: np.ndarray, used: np.ndarray, top: float, form: str) -> np.ndarray:
    """Return for each frame the best of a grid of centres and widths; the rest of the curve is linear."""
    n = len(rows)
    best, terms = np.full(n, np.inf), np.zeros((n, 5))
    for centre in top + np.array([1.0, 3.0, 6.0, 10.0, 15.0, 25.0]):
        for width in WIDTHS:
            shape = _tail(x, np.array(centre), np.array(width), form)[0]
            columns = np.broadcast_to(np.stack([np.ones_like(x), x, shape], axis=1), (n, len(x), 3))
            found, _ = _linear(columns, rows, used)
            gap = np.where(used, rows - (columns @ found[..., None])[..., 0], 0.0)
            misfit = np.where(found[:, 2] > 0, (gap**2).sum(axis=1), np.inf)
            better = misfit < best
            best = np.where(better, misfit, best)
            terms[better] = np.concatenate([found, np.full((n, 1), centre), np.full((n, 1), width)], axis=1)[better]
    terms[~np.isfinite(best), 3:] = top + 6.0, 5.0
    return terms


def _refined(x: np.ndarray, rows: np.ndarray, used: np.ndarray, terms: np.ndarray, top: float, form: str) -> np.ndarray:
    """Improve centre and logarithm of the width of all frames together, the linear terms being solved for.

    Amplitude and width of a tail are nearly one number: only with the amplitude projected out (Kaufman's variant of
    variable projection, doi:10.1007/BF01932995) are the steps down that valley long.
    """
    y = np.where(used, rows, 0.0)

    def solved(centre: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        shape = _tail(x, centre[:, None], width[:, None], form)[0]
        columns = np.stack([np.ones_like(shape), np.broadcast_to(x, shape.shape), shape], axis=2)
        found, inverse = _linear(columns, rows, used)
        gap = np.where(used, y - (columns @ found[..., None])[..., 0], 0.0)
        columns = columns * used[..., None]
        return found, gap, columns, inverse @ columns.transpose(0, 2, 1)

    def kept(centre: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.clip(centre, top, top + FARTHEST), np.clip(width, NARROWEST, WIDEST)

    centre, width = terms[:, 3].copy(), terms[:, 4].copy()
    linear, gap, columns, inverse = solved(centre, width)
    damping, now = np.full(len(rows), 1e-3), (gap**2).sum(axis=1)
    for _ in range(ROUNDS):
        _, by_centre, by_width = _tail(x, centre[:, None], width[:, None], form)
        slopes = linear[:, 2, None, None] * np.stack([by_centre, width[:, None] * by_width], axis=2) * used[..., None]
        slopes = slopes - columns @ (inverse @ slopes)
        normal = slopes.transpose(0, 2, 1) @ slopes
        diagonal = np.maximum(np.einsum("fpp->fp", normal), 1e-30)
        damped = normal + np.einsum("fp,pq->fpq", damping[:, None] * diagonal, np.eye(2))
        step = np.linalg.solve(damped, slopes.transpose(0, 2, 1) @ gap[..., None])[..., 0]
        trial = kept(centre + step[:, 0], width * np.exp(np.clip(step[:, 1], -1.0, 1.0)))
        found, left, other, projector = solved(*trial)
        then = (left**2).sum(axis=1)
        better = (then < now) & (found[:, 2] > 0)
        settled = (np.abs(now - then) <= TOLERANCE * now) | (damping > 1e6)
        centre, width = np.where(better, trial[0], centre), np.where(better, trial[1], width)
        linear, gap = np.where(better[:, None], found, linear), np.where(better[:, None], left, gap)
        columns = np.where(better[:, None, None], other, columns)
        inverse = np.where(better[:, None, None], projector, inverse)
        now, damping = np.where(better, then, now), np.clip(np.where(better, 0.2, 5.0) * damping, 1e-12, 1e12)
        if settled.all():
            break
    return np.concatenate([linear, centre[:, None], width[:, None]], axis=1)
