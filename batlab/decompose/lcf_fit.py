"""The numbers of a linear combination fit: weights, their σ, limits at bounds, repeats with drawn residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from batlab._kernels.nnls import bounded_least_squares
from batlab.threads import effective

CHUNK = 2048  # frames whose repeats are kept at a time


@dataclass(frozen=True)
class Problem:
    """Spectra (frame, point), references (point, reference), weights of points (1 or frame, point; 0: left out)."""

    spectra: np.ndarray
    references: np.ndarray
    weights: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    total: float

    @property
    def is_tied(self) -> bool:
        """The sum of the weights is given."""
        return bool(np.isfinite(self.total))

    def normal(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Gram matrices (1 or frame, m, m) and projections (frame, m)."""
        a = self.references
        m = a.shape[1]
        if len(self.weights) == 1:
            weighted = a * self.weights[0][:, None]
            return (a.T @ weighted)[None], self.spectra @ weighted
        pairs = (a[:, :, None] * a[:, None, :]).reshape(len(a), m * m)
        return (self.weights @ pairs).reshape(-1, m, m), (self.weights * self.spectra) @ a


@dataclass(frozen=True)
class Fit:
    """Over (frame, reference): `weights`, `sigma` (NaN at a bound), `low`, `high`, `at_bound`; over frame the rest."""

    weights: np.ndarray
    sigma: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_bound: np.ndarray
    chi2: np.ndarray
    chi2_reduced: np.ndarray
    r_factor: np.ndarray
    fitted: np.ndarray
    state: np.ndarray


def solve(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, state, Gram matrices and projections."""
    gram, projection = problem.normal()
    gram, projection = np.ascontiguousarray(gram), np.ascontiguousarray(projection)
    if len(problem.weights) > 1:
        projection[~(problem.weights > 0).any(axis=1)] = np.nan
    weights, state = bounded_least_squares(
        gram, projection, problem.lower, problem.upper, problem.total, n_threads=effective()
    )
    return weights, state, gram, projection


def fit(problem: Problem, level: float) -> Fit:
    """Return the best weights of every frame and how well the data decide them."""
    weights, state, gram, projection = solve(problem)
    fitted = weights @ problem.references.T
    residual = problem.spectra - fitted
    chi2, power = (_squares(one, problem.weights) for one in (residual, problem.spectra))
    at_bound = np.where(weights <= problem.lower, -1, np.where(weights >= problem.upper, 1, 0)).astype(np.int8)
    n_points = (problem.weights > 0).sum(axis=1)
    n_free = np.maximum((at_bound == 0).sum(axis=1) - problem.is_tied, 0)
    room = (n_points - n_free).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        reduced = np.where(room > 0, chi2 / room, np.nan)
        r_factor = chi2 / power
    slope = (gram @ weights[:, :, None])[:, :, 0] - projection
    sigma, low, high = (np.full(weights.shape, np.nan) for _ in range(3))
    known = np.flatnonzero(state != 2)
    kinds, of_kind = np.unique(at_bound[known], axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        rows = known[of_kind.ravel() == number]
        own = gram[rows] if len(gram) > 1 else gram
        limits = _Limits(kind, own, weights[rows], slope[rows], reduced[rows], problem, level)
        sigma[rows], low[rows], high[rows] = limits.all()
    return Fit(weights, sigma, low, high, at_bound, chi2, reduced, r_factor, fitted, state)


def _squares(numbers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum of squares of every row."""
    return (numbers**2) @ weights[0] if len(weights) == 1 else np.einsum("fn,fn,fn->f", numbers, numbers, weights)


class _Limits:
    """σ and limits of frames whose weights stand at the same bounds."""

    def __init__(
        self, kind: np.ndarray, gram: np.ndarray, weights: np.ndarray, slope: np.ndarray, noise: np.ndarray,
        problem: Problem, level: float,
    ) -> None:  # fmt: skip
        self.kind, self.gram, self.weights, self.slope, self.noise = kind, gram, weights, slope, noise
        self.problem, self.tied = problem, problem.is_tied
        self.fixed = problem.lower == problem.upper
        self.free = np.flatnonzero(kind == 0)
        self.reach = ndtri(0.5 + level / 2)  # in σ; at bounds too, else the limit would jump as a part leaves its bound

    def all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return sigma, low, high (frame, reference)."""
        sigma = np.full(self.weights.shape, np.nan)
        low, high = self.weights.copy(), self.weights.copy()
        if len(self.free) > self.tied:
            spread = np.sqrt(np.diagonal(self._covariance(), axis1=1, axis2=2) * self.noise[:, None])
            sigma[:, self.free] = spread
            low[:, self.free] -= self.reach * spread
            high[:, self.free] += self.reach * spread
        for i in np.flatnonzero((self.kind != 0) & ~self.fixed):
            sign = -float(self.kind[i])
            moved = self._reach(int(i), sign)
            (high if sign > 0 else low)[:, i] += sign * moved
            if self.tied and len(self.free) == 1:  # what the one free weight gives to, or takes from, this one
                one, other = self.free[0], self.weights[:, self.free[0]] - sign * moved
                if sign > 0:
                    low[:, one] = np.minimum(low[:, one], other)
                else:
                    high[:, one] = np.maximum(high[:, one], other)
        return sigma, np.maximum(low, self.problem.lower), np.minimum(high, self.problem.upper)

    def _covariance(self) -> np.ndarray:
        """Return the inverse of the curvature over the free weights, in the plane of the sum where it is given."""
        part = self.gram[:, self.free][:, :, self.free]
        if not self.tied:
            return np.linalg.pinv(part, hermitian=True)
        plane = np.vstack([-np.ones(len(self.free) - 1), np.eye(len(self.free) - 1)])
        return plane @ np.linalg.pinv(plane.T @ part @ plane, hermitian=True) @ plane.T

    def _reach(self, i: int, sign: float) -> np.ndarray:
        """Return how far weight `i` may leave its bound until χ² has grown as it does at the limits of a free one."""
        ways = [self._way(i, sign)] if len(self.free) or not self.tied else self._pairs(i, sign)
        moved = np.zeros(len(self.weights))
        for way in ways:
            slope = np.maximum((self.slope * way).sum(axis=1), 0.0)
            bend = np.einsum("fi,fij,fj->f", way, self.gram, way)
            allowed = self.noise * self.reach**2
            with np.errstate(divide="ignore", invalid="ignore"):
                # The stable form of (-slope + sqrt(slope^2 + bend allowed)) / bend.
                length = allowed / (slope + np.sqrt(slope**2 + bend * allowed))
            moved = np.fmax(moved, np.where(allowed > 0, length, 0.0))
        return moved

    def _way(self, i: int, sign: float) -> np.ndarray:
        """Return the direction (1 or frame, m) along which weight `i` moves, the free ones following at least cost."""
        way = np.zeros((len(self.gram), len(self.kind)))
        way[:, i] = sign
        if not len(self.free):
            return way
        if self.tied:
            way[:, self.free[0]] = -sign
        if len(self.free) > self.tied:
            pull = (self.gram[:, self.free] @ way[:, :, None])[:, :, 0]
            way[:, self.free] -= (self._covariance() @ pull[:, :, None])[:, :, 0]
        return way

    def _pairs(self, i: int, sign: float) -> list[np.ndarray]:
        """Return the directions in which weight `i` trades with one other, all weights standing at bounds."""
        partners = [j for j in range(len(self.kind)) if j != i and self.kind[j] == sign and not self.fixed[j]]
        ways = np.zeros((len(partners), 1, len(self.kind)))
        for way, j in zip(ways, partners):
            way[0, i], way[0, j] = sign, -sign
        return list(ways)


def repeats(problem: Problem, done: Fit, n_repeats: int, seed: int, level: float) -> tuple[np.ndarray, ...]:
    """Return spread, low and high of the weights over fits to residuals drawn anew, the same draw for every frame."""
    n_points = len(problem.references)
    draws = np.random.default_rng(seed).integers(n_points, size=(n_repeats, n_points))
    root = np.sqrt(problem.weights)
    size = done.weights.shape
    spread, low, high = np.full(size, np.nan), np.full(size, np.nan), np.full(size, np.nan)
    tail = (1.0 - level) / 2.0
    for start in range(0, size[0], CHUNK):
        rows = slice(start, start + CHUNK)
        own_root = root if len(root) == 1 else root[rows]
        used = own_root > 0
        residual = (problem.spectra[rows] - done.fitted[rows]) * own_root
        # A mean of the residuals would be drawn again and again as a bias; their size is that of the noise, s.
        residual = np.where(used, residual - (residual.sum(axis=1) / used.sum(axis=1))[:, None], 0.0)
        size_now = np.maximum((residual**2).mean(axis=1), 1e-300)
        residual *= np.sqrt(done.chi2_reduced[rows] / size_now)[:, None]
        drawn = np.empty((n_repeats, len(residual), size[1]))
        for repeat, draw in enumerate(draws):
            noisy = done.fitted[rows] + np.divide(residual[:, draw], own_root, where=used, out=np.zeros_like(residual))
            own = problem.weights if len(problem.weights) == 1 else problem.weights[rows]
            again = Problem(noisy, problem.references, own, problem.lower, problem.upper, problem.total)
            drawn[repeat] = solve(again)[0]
        spread[rows] = drawn.std(axis=0, ddof=1)
        low[rows], high[rows] = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return spread, low, high
