"""The voltage of a cell as the difference of two electrodes: least squares, covariance, and what it rests on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from batlab.echem.half_cells import HalfCell

MOST_POINTS = 2000  # of one curve; of more lines, consecutive ones are averaged
NARROWEST = 0.05  # of lithiation: an electrode that moves by less says nothing
STEP = 1e-6  # of lithiation, for slopes


class Electrodes(NamedTuple):
    """What was fitted: capacities and inventory [Ah] with their covariance, lithiations at both ends, the misfit."""

    sizes: np.ndarray
    covariance: np.ndarray
    ends: np.ndarray
    polarization: float
    polarization_sigma: float
    rms: float
    correlated: float
    n_points: int
    at_bound: bool


def fit_electrodes(
    charge: np.ndarray, voltage: np.ndarray, positive: HalfCell, negative: HalfCell, *, polarized: bool
) -> Electrodes:
    """Fit ``V = U_p(y) - U_n(x) + polarization`` to a slow curve, charge [Ah] counted in the direction of charging.

    Fitted are the lithiations at both ends of the curve, which are bounded by what the half cells know; capacities
    follow from them and the charge between.
    """
    from scipy.optimize import least_squares

    charge, voltage = _averaged(charge, voltage)
    passed = float(charge[-1] - charge[0])
    share = (charge - charge[0]) / passed
    bounds = np.array([negative.limits, negative.limits, positive.limits, positive.limits]).T
    extra = [0.0] if polarized else []

    def ends_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values[0] + (values[1] - values[0]) * share, values[2] + (values[3] - values[2]) * share

    def misfit(values: np.ndarray) -> np.ndarray:
        x, y = ends_of(values)
        return positive(y) - negative(x) + (values[4] if polarized else 0.0) - voltage

    def slopes(values: np.ndarray) -> np.ndarray:
        x, y = ends_of(values)
        of_x, of_y = -_slope(negative, x), _slope(positive, y)
        columns = [of_x * (1 - share), of_x * share, of_y * (1 - share), of_y * share]
        return np.column_stack([*columns, np.ones_like(share)] if polarized else columns)

    lower, upper = (np.append(side, [end] * polarized) for side, end in zip(bounds, (-1.0, 1.0), strict=True))
    done: Any = None
    for start in _starts(share, voltage, positive, negative, bounds):
        one = least_squares(
            misfit, [*start, *extra], slopes, (lower, upper), xtol=1e-10, ftol=1e-12, gtol=1e-12, max_nfev=200
        )
        if done is not None and np.allclose(one.x, done.x, atol=1e-5):
            break  # two ways led to one place
        done = one if done is None or one.cost < done.cost else done
    return _told(done.x, done.fun, slopes(done.x), passed, lower, upper, polarized)


def _told(
    values: np.ndarray, rest: np.ndarray, slopes: np.ndarray, passed: float, lower: np.ndarray, upper: np.ndarray,
    polarized: bool,
) -> Electrodes:  # fmt: skip
    """Return capacities from lithiations: ``Q_n = q / (x₁ - x₀)``, ``Q_p = q / (y₀ - y₁)``, ``Q_n x₀ + Q_p y₀``."""
    n = len(rest)
    inflation = _correlated(rest)
    scale = float(rest @ rest) / max(1, n - len(values)) * inflation
    covariance = scale * np.linalg.pinv(slopes.T @ slopes, rcond=1e-18, hermitian=True)
    x0, x1, y0, y1 = values[:4]
    of_negative, of_positive = passed / (x1 - x0), passed / (y0 - y1)
    sizes = np.array([of_positive, of_negative, of_negative * x0 + of_positive * y0])
    by_x, by_y = of_negative / (x1 - x0), of_positive / (y0 - y1)
    jacobian = np.array([
        [0.0, 0.0, -by_y, by_y],
        [by_x, -by_x, 0.0, 0.0],
        [by_x * x0 + of_negative, -by_x * x0, -by_y * y0 + of_positive, by_y * y0],
    ])  # fmt: skip
    room = 1e-6 * (upper - lower)
    at_bound = bool(((values - lower < room) | (upper - values < room)).any())
    extra = (float(values[4]), float(np.sqrt(covariance[4, 4]))) if polarized else (0.0, 0.0)
    rms = float(np.sqrt(rest @ rest / n))
    return Electrodes(
        sizes, jacobian @ covariance[:4, :4] @ jacobian.T, values[:4], *extra, rms, inflation, n, at_bound
    )


def _starts(
    share: np.ndarray, voltage: np.ndarray, positive: HalfCell, negative: HalfCell, bounds: np.ndarray
) -> np.ndarray:
    """Return the three best of some hundred combinations of lithiations at the ends."""
    few = np.unique(np.linspace(0, len(share) - 1, 60).astype(int))
    u = share[few]

    def lines(half: HalfCell, limits: np.ndarray, rises: bool) -> tuple[np.ndarray, np.ndarray]:
        low, width = limits[0], limits[1] - limits[0]
        first = low + width * np.array([0.01, 0.05, 0.12, 0.25, 0.4])
        last = low + width * np.array([0.5, 0.65, 0.8, 0.9, 0.98])
        ends = np.array([(a, b) if rises else (b, a) for a in first for b in last])
        return ends, half(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * u)

    of_x, low = lines(negative, bounds[:, 0], rises=True)
    of_y, high = lines(positive, bounds[:, 2], rises=False)
    misfit = high[:, None, :] - low[None, :, :] - voltage[few]
    cost = (misfit**2).sum(axis=2)
    best = np.argsort(cost, axis=None)[:3]
    rows, columns = np.unravel_index(best, cost.shape)
    return np.hstack([of_x[columns], of_y[rows]])


def _slope(half: HalfCell, at: np.ndarray) -> np.ndarray:
    low, high = half.limits
    before, after = np.maximum(at - STEP, low), np.minimum(at + STEP, high)
    return (half(after) - half(before)) / (after - before)


def _averaged(charge: np.ndarray, voltage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = -(-len(charge) // MOST_POINTS)
    if size == 1:
        return charge, voltage
    starts = np.arange(0, len(charge), size)
    count = np.diff(np.append(starts, len(charge)))
    return np.add.reduceat(charge, starts) / count, np.add.reduceat(voltage, starts) / count


def _correlated(rest: np.ndarray) -> float:
    """Return by how much a misfit that is correlated from point to point raises the variance; 1 for white noise.

    1 + 2 Σ ρ_k up to the first correlation within the noise, 2/√n.
    """
    n = len(rest)
    centred = rest - rest.mean()
    power = float(centred @ centred)
    if power == 0 or n < 16:
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * n)
    correlation = np.fft.irfft(spectrum * spectrum.conj())[: n // 4] / power
    end = int(np.argmax(correlation < 2 / np.sqrt(n))) or len(correlation)
    return float(1 + 2 * correlation[1:end].sum())
