"""The oracle of the kernels for edges."""

from __future__ import annotations

import numpy as np

REACH = 75


def steepest(
    energy: np.ndarray, mu: np.ndarray, sigma: np.ndarray, spacing: np.ndarray, n_threads: int = 1
) -> np.ndarray:
    """Return the energy at which each spectrum rises steepest, and its σ.

    Central differences are looked at first as they are, then within 75 points about the steepest of them smoothed by a
    Lorentzian of half width (spacing + E/25000) / 2, both kept within 0.01 and 1 eV. A point counts if its neighbours
    lie above 0.6 of the range too; where none does, above half of the highest such flank there is. The top of the
    parabola through the best and its neighbours is the edge.

    Parameters
    ----------
    energy
        (1 or frame, point), increasing; NaN where a frame has no point.
    mu
        (frame, point), float32 or float64; NaN and infinities are skipped.
    sigma
        Of `mu`, in its type; (0, point) where unknown.
    spacing
        (frame): the small steps of each grid, in eV.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    (frame, 2): energy and σ; NaN with fewer than 8 points or no rise.
    """
    result = np.full((len(mu), 2), np.nan)
    for f, row in enumerate(mu):
        e = energy[f if len(energy) > 1 else 0]
        known = np.isfinite(e) & np.isfinite(row)
        variance = sigma[f][known].astype(float) ** 2 if len(sigma) else None
        result[f] = _steepest(e[known], row[known].astype(float), variance, spacing[f])
    return result


def _pick(slope: np.ndarray) -> int:
    margin = max(3, len(slope) // 50)
    inner = slope[margin : len(slope) - margin]
    if not len(inner) or not inner.max() > inner.min():
        return -1
    flank = np.minimum.reduce([slope[margin - 1 + i : len(slope) - margin - 1 + i] for i in range(3)])
    high = inner.min() + (0.6 if len(slope) > 20 else 0.3) * np.ptp(inner)
    if not flank.max() >= high:
        high = 0.5 * flank.max() if flank.max() > 0 else flank.max()
    return margin + int(np.where(flank >= high, inner, -np.inf).argmax())


def _steepest(e: np.ndarray, y: np.ndarray, variance: np.ndarray | None, spacing: float) -> tuple[float, float]:
    n = len(e)
    if n < 8:
        return np.nan, np.nan
    difference = np.zeros((n, n))  # (slope at point, mu)
    for i in range(n):
        low, high = max(i - 1, 0), min(i + 1, n - 1)
        difference[i, [low, high]] = -1 / (e[high] - e[low]), 1 / (e[high] - e[low])
    guess = _pick(difference @ y)
    if guess < 0:
        return np.nan, np.nan
    early = guess < 0.05 * n
    first = max(3, guess - (20 if early else REACH))
    last = n - 3 if early else min(n - 3, guess + REACH)
    if last - first < 8:
        return e[guess], np.nan
    about = (e[0] + e[-1]) / 2 if early else e[guess]
    width = 0.5 * (np.clip(spacing, 0.01, 1) + np.clip(about / 25000, 0.01, 1))
    part = e[first:last]
    weight = (0.5 * (e[first + 1 : last + 1] - e[first - 1 : last - 1])) / ((part - part[:, None]) ** 2 + width**2)
    smooth = weight / weight.sum(axis=1, keepdims=True) @ difference[first:last]
    slope = smooth @ y
    best = _pick(slope)
    if best < 0:
        return np.nan, np.nan
    (below, here, above), x = slope[best - 1 : best + 2], part[best - 1 : best + 2] - part[best]
    if not (here >= below and here >= above and 2 * here > below + above):
        return part[best], np.nan

    def top(values: np.ndarray) -> float:
        a, b, _ = np.polyfit(x, values, 2)
        return -b / (2 * a)

    if variance is None:
        return part[best] + top(slope[best - 1 : best + 2]), np.nan
    scale = 1e-5 * (2 * here - below - above)
    steps = scale * np.eye(3)
    pull = np.array([top(slope[best - 1 : best + 2] + s) - top(slope[best - 1 : best + 2] - s) for s in steps])
    sigma = _spread(pull / (2 * scale) @ smooth[best - 1 : best + 2], variance)
    return part[best] + top(slope[best - 1 : best + 2]), float(sigma)


def _spread(how: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the σ of what follows from mu linearly; what does not enter may be unknown."""
    return np.sqrt(np.where(how != 0, how**2 * variance, 0.0).sum(axis=-1))


def pre_edge(
    energy: np.ndarray,
    mu: np.ndarray,
    sigma: np.ndarray,
    e0: np.ndarray,
    windows: np.ndarray,
    nnorm: int,
    nvict: int = 0,
    flatten: bool = True,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take off the pre-edge line, divide by the edge step.

    The line is fitted to mu E^nvict in the first window, a polynomial of degree `nnorm` to what is left in the second;
    its value at E0 is the step. Flattening takes off what the polynomial differs from the step by, from E0 on. A window
    has the points from the last at or below its start to before the nearest to its end.

    Parameters
    ----------
    energy
        (1 or frame, point), increasing; NaN where a frame has no point.
    mu
        (frame, point), float32 or float64; NaN and infinities are skipped.
    sigma
        Of `mu`, in its type; (0, point) where unknown. Errors of different points are independent, E0 is exact.
    e0
        (frame), eV.
    windows
        Four numbers in eV relative to E0: start and end of either window.
    nnorm, nvict
        0 to 5; 0 to 4.
    flatten
        Whether to make the second and the fourth result.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    norm, flat, their σ, in the type of `mu`; those not asked for have no rows. NaN where E0 lies outside the spectrum,
    a window has no more points than its fit has coefficients, or the step is not positive. Then (frame, 4): step, its
    σ, points in either window.
    """
    rows = [len(mu), len(mu) if flatten else 0, len(sigma), len(sigma) if flatten else 0]
    arrays = [np.full((n, mu.shape[1]), np.nan, mu.dtype) for n in rows]
    numbers = np.full((len(mu), 4), np.nan)
    for f, row in enumerate(mu):
        e = energy[f if len(energy) > 1 else 0]
        known = np.isfinite(e) & np.isfinite(row)
        variance = sigma[f][known].astype(float) ** 2 if len(sigma) else None
        curves, numbers[f] = _pre_edge(e[known], row[known].astype(float), variance, e0[f], windows, nnorm, nvict)
        for array, curve in zip(arrays, curves):
            if len(array):
                array[f, known] = curve
    norm, flat, norm_sigma, flat_sigma = arrays
    return norm, flat, norm_sigma, flat_sigma, numbers


def _points(e: np.ndarray, low: float, high: float) -> np.ndarray:
    if not len(e) or not np.isfinite(low):
        return np.arange(0)
    return np.arange(max(0, int(np.searchsorted(e, low, "right")) - 1), int(np.abs(e - high).argmin()))


def _pre_edge(
    e: np.ndarray, y: np.ndarray, variance: np.ndarray | None, e0: float, windows: np.ndarray, nnorm: int, nvict: int
) -> tuple[list, list]:
    pre, post = _points(e, e0 + windows[0], e0 + windows[1]), _points(e, e0 + windows[2], e0 + windows[3])
    nothing = [np.full(len(e), np.nan)] * 4, [np.nan, np.nan, len(pre), len(post)]
    if len(pre) < 3 or len(post) < nnorm + 2 or not e[0] <= e0 <= e[-1]:
        return nothing
    n, x = len(e), (e - e0) / 100.0
    unity = np.eye(n)
    power = (e / e0) ** nvict
    shape = np.vander(x, 2) / power[:, None]
    line = shape @ np.linalg.pinv(np.vander(x[pre], 2)) @ (power[pre, None] * unity[pre])  # (point, mu)
    # The polynomial on [-1, 1]; x itself would lose digits at degree 5.
    middle, half = x[post].mean(), np.ptp(x[post]) / 2
    fit = np.linalg.pinv(np.vander((x[post] - middle) / half, nnorm + 1)) @ (unity - line)[post]
    curve = np.vander((x - middle) / half, nnorm + 1) @ fit
    jump = np.vander([-middle / half], nnorm + 1)[0] @ fit
    step = jump @ y
    after = e >= e0
    with np.errstate(divide="ignore", invalid="ignore"):
        good = step if step > 0 else np.nan
        norm = (y - line @ y) / good
        flat = np.where(after, norm - curve @ y / good + 1, norm)
    if variance is None:
        return [norm, flat], [step, np.nan, len(pre), len(post)]
    how = (unity - line - norm[:, None] * jump) / good
    flat_how = np.where(after[:, None], (unity - line - curve - (flat - 1)[:, None] * jump) / good, how)
    sigmas = [_spread(one, variance) for one in (how, flat_how)]
    return [norm, flat, *sigmas], [step, _spread(jump, variance), len(pre), len(post)]
