"""Sums of exponentials: amplitudes solved, time constants searched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

MOST_POINTS = 300  # of a fit; longer rests are averaged over windows that grow with time
SHORTEST_SHARE, LONGEST_SHARE = 0.3, 10.0  # bounds of τ: of the first interval, of the length
WORTH = 10.0  # of Schwarz's criterion: very strong evidence (Kass & Raftery 1995)


@dataclass(frozen=True)
class Decay:
    """Voltage at infinity, time constants [s] from the fastest and amplitudes [V] at time 0, each with σ."""

    infinity: float
    infinity_sigma: float
    times: np.ndarray
    times_sigma: np.ndarray
    amplitudes: np.ndarray
    amplitudes_sigma: np.ndarray


@dataclass(frozen=True)
class _Windows:
    """Means over `n` readings, the first at `first` and `interval` apart, which sums of exponentials meet exactly."""

    first: np.ndarray
    n: np.ndarray
    interval: np.ndarray
    mean: np.ndarray

    def design(self, taus: np.ndarray) -> np.ndarray:
        columns = [np.ones(len(self.n))]
        for tau in taus:
            # A geometric series over the window.
            ratio = np.divide(
                np.expm1(-self.n * self.interval / tau),
                self.n * np.expm1(-self.interval / tau),
                out=np.ones(len(self.n)),
                where=(self.n > 1) & (self.interval > 0),
            )
            columns.append(np.exp(-self.first / tau) * ratio)
        return np.column_stack(columns)


def fit_decay(t: np.ndarray, voltage: np.ndarray, most: int, noise: float) -> Decay:
    """Return the fit with as many terms as lower Schwarz's criterion by 10 or more.

    Variable projection [1]_: for given time constants the rest is linear. `noise` is σ of a reading; residuals below
    it count as noise.

    References
    ----------
    .. [1] Golub & Pereyra, SIAM Journal on Numerical Analysis 10, 413 (1973), doi:10.1137/0710036

    Examples
    --------
    >>> t = np.linspace(1, 1000, 1000)
    >>> fit = fit_decay(t, 3.5 + 0.1 * np.exp(-t / 50) - 0.02 * np.exp(-t / 200), 3, 1e-6)
    >>> fit.times.round(3).tolist(), round(fit.infinity, 6)
    ([50.0, 200.0], 3.5)
    """
    windows = _averaged(t, voltage)
    n = len(windows.n)
    shortest = SHORTEST_SHARE * max(t[0], float(np.diff(t).min()), 1e-6)
    bounds = np.log([min(shortest, t[-1]), LONGEST_SHARE * t[-1]])
    level = float(voltage.mean())
    chosen = Decay(level, noise / np.sqrt(len(t)), *(np.empty(0) for _ in range(4)))
    best = _criterion(float((windows.n * (windows.mean - level) ** 2).sum()), n, 1, noise)
    taus = np.empty(0)
    for k in range(1, most + 1):
        if n < 2 * k + 3:
            break
        found = _search(windows, taus, bounds)
        residual = _solve(windows, found)[1]
        score = _criterion(float(residual @ residual), n, 2 * k + 1, noise)
        if score > best - WORTH:
            break
        best, taus = score, found
        chosen = _decay(windows, found, noise)
    return chosen


def _averaged(t: np.ndarray, voltage: np.ndarray) -> _Windows:
    if len(t) <= MOST_POINTS:
        return _Windows(t, np.ones(len(t)), np.zeros(len(t)), voltage)
    edges = np.geomspace(max(t[0], 1e-3), t[-1] * (1 + 1e-9), MOST_POINTS + 1)
    place = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, MOST_POINTS - 1)
    # A window never reaches over a hole: its readings are evenly spaced.
    hole = np.concatenate([[0], np.cumsum(np.diff(t) > 1.5 * np.median(np.diff(t)))])
    place = np.unique(place + MOST_POINTS * hole, return_inverse=True)[1]
    order = np.argsort(place, kind="stable")
    place, t, voltage = place[order], t[order], voltage[order]
    n = np.bincount(place)
    last = np.cumsum(n) - 1
    first = last - n + 1
    interval = np.divide(t[last] - t[first], n - 1, out=np.zeros(len(n)), where=n > 1)
    return _Windows(t[first], n.astype(float), interval, np.bincount(place, weights=voltage) / n)


def _criterion(squares: float, n: int, n_parameters: int, noise: float) -> float:
    return n * np.log(max(squares / n, noise**2, 1e-24)) + n_parameters * np.log(n)


def _solve(windows: _Windows, taus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    root = np.sqrt(windows.n)
    matrix = windows.design(taus) * root[:, None]
    target = windows.mean * root
    linear = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return linear, target - matrix @ linear


def _search(windows: _Windows, taus: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return one time constant more than `taus`, from the best of several starts of the new one."""

    def residual(logs: np.ndarray) -> np.ndarray:
        return _solve(windows, np.exp(logs))[1]

    def squares(start: float) -> float:
        one = residual(np.append(np.log(taus), start))
        return float(one @ one)

    grid = np.linspace(bounds[0], bounds[1], 25)[1:-1]
    scores = np.array([squares(start) for start in grid])
    # The new constant may pull the others along: the three best places are tried to the end.
    best, least = np.empty(0), np.inf
    for start in grid[np.argsort(scores)[:3]]:
        begin = np.clip(np.append(np.log(taus), start), bounds[0] + 1e-6, bounds[1] - 1e-6)
        fine = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12)
        fit = least_squares(residual, begin, bounds=tuple(bounds), max_nfev=100, **fine)
        if fit.cost < least:
            best, least = fit.x, fit.cost
    return np.sort(np.exp(best))


def _decay(windows: _Windows, taus: np.ndarray, noise: float) -> Decay:
    linear, residual = _solve(windows, taus)
    slopes = []
    for k, tau in enumerate(taus):
        aside = [windows.design(np.array([tau * (1 + step)]))[:, 1] for step in (1e-4, -1e-4)]
        slopes.append(linear[k + 1] * (aside[0] - aside[1]) / (2e-4 * tau))
    jacobian = np.column_stack([windows.design(taus), *slopes]) * np.sqrt(windows.n)[:, None]
    freedom = max(1, len(windows.n) - 2 * len(taus) - 1)
    variance = max(float(residual @ residual) / freedom, noise**2)
    spread = np.sqrt(np.maximum(np.diag(np.linalg.pinv(jacobian.T @ jacobian)) * variance, 0.0))
    n = len(taus)
    return Decay(float(linear[0]), float(spread[0]), taus, spread[n + 1 :], linear[1:], spread[1 : n + 1])
