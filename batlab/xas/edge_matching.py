"""Shifts between spectra by least squares, finer than the grid, and the drift that they follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array

from batlab.xas.xanes_series import polynomial_basis, scatter_of

ROUNDS, CONVERGED = 20, 1e-6  # of Gauss-Newton; eV
COARSE = 0.5  # eV, step of the first search
BLOCK = 2000  # frames at a time


class Match(NamedTuple):
    """Of each frame: what to add to its energies [eV] with its σ, and how its amplitude compares with the template."""

    shift: np.ndarray
    sigma: np.ndarray
    terms: np.ndarray  # (frame, 3): level, slope, amplitude


def match(
    energy: np.ndarray, rows: np.ndarray, template: CubicSpline, window: tuple[float, float], reach: float, kind: str
) -> Match:
    """Fit ``row(E) = a + b E + c template(E + shift)`` to each row over the window.

    `kind` ``"spectrum"`` or ``"derivative"``. σ come from the scatter about the fit; in a spectrum neighbouring
    residuals that agree (interpolated or filtered data) widen it by √((1 + ρ) / (1 - ρ)), ρ their correlation.
    """
    inside = (energy >= window[0]) & (energy <= window[1])
    x, y = energy[inside], rows[:, inside]
    operator = csr_array(np.gradient(np.eye(len(x)), x, axis=0)) if kind == "derivative" else None
    parts = [_fit(x, y[i : i + BLOCK], template, reach, operator) for i in range(0, len(y), BLOCK)]
    shift, sigma, terms, alike = (np.concatenate([part[i] for part in parts]) for i in range(4))
    correlation = np.clip(np.nanmedian(alike), 0.0, 0.95) if np.isfinite(alike).any() and kind == "spectrum" else 0.0
    sigma = sigma * np.sqrt((1 + correlation) / (1 - correlation))
    return Match(shift, sigma, terms)


def _columns(x: np.ndarray, template: CubicSpline, shift: np.ndarray, operator: csr_array | None) -> np.ndarray:
    """Return (frame, point, 4): constant, slope, template and its derivative at the shifted energies."""
    at = x + shift[:, None]
    middle, half = 0.5 * (x[0] + x[-1]), 0.5 * (x[-1] - x[0])
    line = np.broadcast_to((x - middle) / half, at.shape)
    columns = np.stack([np.ones_like(at), line, template(at), template(at, 1)], axis=2)
    if operator is None:
        return columns
    flat = operator @ columns.transpose(1, 0, 2).reshape(len(x), -1)
    return flat.reshape(len(x), len(shift), 4).transpose(1, 0, 2)


def _fit(
    x: np.ndarray, y: np.ndarray, template: CubicSpline, reach: float, operator: csr_array | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    first = 0 if operator is None else 1  # the derivative knows no constant
    y = y if operator is None else (operator @ y.T).T
    known = np.isfinite(y)
    filled = np.where(known, y, 0.0)
    usable = known.sum(axis=1) > max(8, 0.5 * len(x))
    shift = _coarse(x, np.where(usable[:, None], filled, 0.0), known, template, reach, operator, first)
    for _ in range(ROUNDS):
        columns = _columns(x, template, shift, operator)[..., first:] * known[..., None]
        across = columns.transpose(0, 2, 1)
        inverse = np.linalg.pinv(across @ columns, hermitian=True)
        found = (inverse @ (across @ filled[..., None]))[..., 0]
        amplitude = found[:, -2]
        step = np.divide(found[:, -1], amplitude, out=np.zeros(len(y)), where=amplitude != 0)
        shift = np.clip(shift + np.clip(step, -1.0, 1.0), -1.5 * reach, 1.5 * reach)
        if np.abs(step[usable]).max(initial=0.0) < CONVERGED:
            break
    residual = np.where(known, filled - (columns @ found[..., None])[..., 0], np.nan)
    # A pull moves the shift by itself times the noise of the spectrum as measured, before any derivative.
    amplitude = np.where(amplitude > 0, amplitude, np.nan)
    pull = (columns @ inverse[:, -1, :, None])[..., 0] / amplitude[:, None]
    noise = scatter_of(residual, columns.shape[2])
    if operator is not None:
        pull = (operator.T @ pull.T).T
        noise = noise / np.sqrt(operator.power(2).sum() / len(x))
    sigma = noise * np.sqrt((pull**2).sum(axis=1))
    lost = ~usable | (np.abs(shift) > reach) | np.isnan(amplitude)
    terms = np.concatenate([np.zeros((len(y), first)), found[:, :-1]], axis=1)
    return np.where(lost, np.nan, shift), np.where(lost, np.nan, sigma), terms, _alike(residual)


def _coarse(
    x: np.ndarray, y: np.ndarray, known: np.ndarray, template: CubicSpline, reach: float, operator: csr_array | None,
    first: int,
) -> np.ndarray:  # fmt: skip
    """Return the best of equally spaced shifts; one projection serves all frames."""
    tried = np.arange(-np.floor(reach / COARSE), np.floor(reach / COARSE) + 1) * COARSE
    left = np.full((len(tried), len(y)), np.inf)
    whole = np.where(known, y, y.mean(axis=1, keepdims=True))
    for i, columns in enumerate(_columns(x, template, tried, operator)[:, :, first:3]):
        basis, _ = np.linalg.qr(columns)
        rising = whole @ np.linalg.pinv(columns)[-1] > 0
        left[i] = np.where(rising, (whole**2).sum(axis=1) - ((whole @ basis) ** 2).sum(axis=1), np.inf)
    return tried[np.argmin(left, axis=0)]


def _alike(residual: np.ndarray) -> np.ndarray:
    """Return the correlation of neighbouring residuals of each row."""
    near, square = residual[:, :-1] * residual[:, 1:], residual**2
    count = np.maximum(np.isfinite(near).sum(axis=1), 1)
    total = np.nansum(square, axis=1) / np.maximum(np.isfinite(square).sum(axis=1), 1)
    return np.divide(np.nansum(near, axis=1) / count, total, out=np.full(len(residual), np.nan), where=total > 0)


def spline(energy: np.ndarray, curve: np.ndarray) -> CubicSpline:
    """Return a cubic spline through the finite points of a curve."""
    known = np.isfinite(curve)
    return CubicSpline(energy[known], curve[known])


def steepest(energy: np.ndarray, curve: np.ndarray) -> float:
    """Return roughly where a curve rises most, to 0.25 eV; slopes are taken over about 1 eV."""
    known = np.isfinite(curve)
    even = np.arange(energy[known][0], energy[known][-1], 0.25)
    slope = np.gradient(gaussian_filter1d(np.interp(even, energy[known], curve[known]), 4.0, mode="nearest"))
    return float(even[np.argmax(slope)])


def inflection(energy: np.ndarray, curve: np.ndarray, near: float, half: float = 2.0) -> tuple[float, float]:
    """Return where the slope is largest near an energy, and its σ, from a cubic over ±`half` eV (at least 7 points)."""
    distance = np.abs(energy - near)
    inside = distance <= max(half, np.sort(distance)[min(6, len(distance) - 1)])
    x = energy[inside] - near
    scale = np.abs(x).max()
    basis = polynomial_basis(x / scale, 3)
    inverse = np.linalg.pinv(basis)
    terms = inverse @ curve[inside]
    if not terms[3] < 0:  # the slope has no maximum here
        return near, float(scale / 3)
    noise = scatter_of((curve[inside] - basis @ terms)[None], 4)[0]
    covariance = noise**2 * inverse @ inverse.T
    place = -terms[2] / (3 * terms[3])
    pull = np.array([0.0, 0.0, -1 / (3 * terms[3]), terms[2] / (3 * terms[3] ** 2)])
    return near + float(place) * scale, scale * float(np.sqrt(pull @ covariance @ pull))


def drift_of(
    along: np.ndarray, shift: np.ndarray, sigma: np.ndarray, degree: int, held: int | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a polynomial drift at each frame, its σ, and the scatter of the shifts about it beyond their own σ.

    The scatter is the one for which χ² equals its degrees of freedom (Paule and Mandel, doi:10.6028/jres.087.022).
    With `held`, the drift is 0 in that frame.
    """
    span = np.ptp(along) or 1.0
    basis = polynomial_basis((along - along[0]) / span, degree)
    good = np.isfinite(shift) & np.isfinite(sigma) & np.isfinite(along)
    a, y = basis[good], shift[good]
    s = np.maximum(sigma[good], 1e-9)

    def solve(extra: float) -> tuple[np.ndarray, np.ndarray, float]:
        weight = 1.0 / (s**2 + extra**2)
        covariance = np.linalg.pinv((a * weight[:, None]).T @ a, hermitian=True)
        terms = covariance @ (a.T @ (weight * y))
        return terms, covariance, float((weight * (y - a @ terms) ** 2).sum())

    spare, low, high = len(y) - degree - 1, 0.0, float(np.ptp(y)) + 1e-9
    if spare > 0 and solve(0.0)[2] > spare:
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if solve(middle)[2] > spare else (low, middle)
    else:
        high = 0.0
    terms, covariance, _ = solve(high)
    if held is not None:
        basis = basis - basis[held]
    return basis @ terms, np.sqrt(np.einsum("fp,pq,fq->f", basis, covariance, basis)), high
