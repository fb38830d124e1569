"""Optimal partitions of one series of numbers, and how well each boundary is placed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import f as f_distribution

# Squared second differences of a straight line with unit noise have expectation 6, first differences of a level 2.
ROBUST = 1.482602218505602  # σ over the median absolute deviation of a Gaussian


class Sums:
    """Running sums from which the misfit of a level or a straight line on any range follows at once."""

    def __init__(self, x: np.ndarray, y: np.ndarray, w: np.ndarray, is_linear: bool):
        x = (x - x.mean()) / (np.ptp(x) or 1.0)
        y = y - np.median(y)
        terms = [w, w * y, w * y * y] + ([w * x, w * x * x, w * x * y] if is_linear else [])
        self.sums = [np.concatenate([[0.0], np.cumsum(term)]) for term in terms]
        self.is_linear = is_linear

    def misfit(self, first: np.ndarray | int, last: np.ndarray | int) -> np.ndarray:
        """Return chi² of the best level or line on the points `first` to before `last`."""
        n, sy, syy, *rest = (total[last] - total[first] for total in self.sums)
        chi2 = syy - sy * sy / n
        if self.is_linear:
            sx, sxx, sxy = rest
            spread = sxx - sx * sx / n
            slope = np.divide(sxy - sx * sy / n, spread, out=np.zeros_like(spread * 1.0), where=spread > 1e-14 * n)
            chi2 = chi2 - slope * (sxy - sx * sy / n)
        return np.maximum(chi2, 0.0)


@dataclass(frozen=True)
class Change:
    """One boundary: where (coordinate), its limits, what kind, the misfit that it saves, and the p-value of that."""

    onset: float
    low: float
    high: float
    kind: str
    saved: float
    p_value: float


def noise(y: np.ndarray, is_linear: bool) -> float:
    """Return a robust σ from differences of neighbours, which few steps or kinks do not move."""
    bends = np.diff(y, 2) / np.sqrt(6.0) if is_linear else np.diff(y) / np.sqrt(2.0)
    return ROBUST * float(np.median(np.abs(bends))) if len(bends) else 0.0


def threshold(n: int, n_new: int, freedom: int, false_alarm: float) -> float:
    """Return the gain in chi² that noise alone reaches anywhere in `n` points with probability `false_alarm`.

    Bonferroni over the places of a boundary, F-distributed because σ itself is estimated.
    """
    return n_new * float(f_distribution.isf(false_alarm / max(n, 1), n_new, max(freedom, 1)))


def partition(sums: Sums, n: int, penalty: float, shortest: int) -> list[int]:
    """Return the starts of all segments but the first: the least misfit plus `penalty` a boundary.

    Optimal partitioning with pruning (Killick et al., J. Am. Stat. Assoc. 107, 1590 (2012),
    doi:10.1080/01621459.2012.737745).
    """
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    previous = np.zeros(n + 1, dtype=int)
    candidates, leaves = np.array([0]), np.array([n + 1])
    for end in range(shortest, n + 1):
        if end - shortest > 0 and np.isfinite(best[end - shortest]):
            candidates, leaves = np.append(candidates, end - shortest), np.append(leaves, n + 1)
        cost = best[candidates] + sums.misfit(candidates, np.full(len(candidates), end))
        least = int(np.argmin(cost))
        best[end] = cost[least] + penalty
        previous[end] = candidates[least]
        # What loses against a cut at `end` may still win until a segment from there is long enough.
        leaves = np.where(cost > best[end], np.minimum(leaves, end + shortest), leaves)
        candidates, leaves = candidates[leaves > end + 1], leaves[leaves > end + 1]
    starts, at = [], n
    while previous[at] > 0:
        at = int(previous[at])
        starts.append(at)
    return starts[::-1]


def changes(
    x: np.ndarray, y: np.ndarray, sigma: np.ndarray | None, is_linear: bool, false_alarm: float, level: float,
    shortest: int,
) -> list[Change]:  # fmt: skip
    """Return the changes of one series without NaN; `sigma` None or too small is replaced by the scatter."""
    n, n_new = len(x), 2 if is_linear else 1
    if n < 2 * shortest:
        return []
    scatter = noise(y if sigma is None else y / sigma, is_linear)
    if sigma is None and scatter == 0.0:  # more than half of the points repeat: quantised or exact
        scatter = float(np.std(np.diff(y))) or float(np.ptp(y)) * 1e-9
        if scatter == 0.0:
            return []
    given = np.full(n, scatter) if sigma is None else sigma * max(1.0, scatter)
    penalty = threshold(n, n_new, n - 2 * n_new, false_alarm)
    starts: list[int] = []
    for _ in range(5):
        sums = Sums(x, y, 1.0 / given**2, is_linear)
        found = partition(sums, n, penalty, shortest)
        edges = [0, *found, n]
        rest = sum(float(sums.misfit(a, b)) for a, b in pairwise(edges))
        freedom = max(n - n_new * len(edges) + len(edges) - 1, n // 4, 1)
        factor = np.sqrt(rest / freedom)
        stable = found == starts and abs(factor - 1.0) < 0.02
        starts = found
        if stable or not factor > 0 or (sigma is not None and factor < 1.0):
            break
        given = given * factor
    edges = [0, *starts, n]
    tried = [
        _located(x, y, given, edges[i], edges[i + 1], edges[i + 2], is_linear, level, shortest)
        for i in range(len(starts))
    ]
    return [_judged(change, n, n_new) for change in tried]


def _judged(change: Change, n: int, n_new: int) -> Change:
    p_value = min(1.0, n * float(f_distribution.sf(change.saved / n_new, n_new, max(n - 2 * n_new, 1))))
    return Change(change.onset, change.low, change.high, change.kind, change.saved, p_value)


def _located(
    x: np.ndarray, y: np.ndarray, sigma: np.ndarray, first: int, middle: int, last: int, is_linear: bool,
    level: float, shortest: int,
) -> Change:  # fmt: skip
    """Return one change with its limits, the neighbouring ones held fixed."""
    x, y, sigma = x[first:last], y[first:last], sigma[first:last]
    sums = Sums(x, y, 1.0 / sigma**2, is_linear)
    n = len(x)
    least = min(shortest, middle - first, last - middle)
    splits = np.arange(least, n - least + 1)
    broken = sums.misfit(np.zeros_like(splits), splits) + sums.misfit(splits, np.full_like(splits, n))
    saved = float(sums.misfit(0, n) - broken.min())
    between = 0.5 * (x[splits - 1] + x[splits])
    if is_linear:
        bends = np.unique(np.concatenate([np.linspace(a, b, 8, endpoint=False) for a, b in pairwise(x[1:-1])]))
        bent = _hinges(x, y, 1.0 / sigma, bends)
        # Joined lines have one parameter less: preferred unless a step earns it with 99.9 % confidence.
        if bent.min() - broken.min() < 10.83:
            low, high = _limits(bends, bent, level)
            return Change(float(bends[bent.argmin()]), low, high, "slope", saved, np.nan)
    best = int(broken.argmin())
    low, high = _limits(between, broken, level)
    at, width = splits[best], np.diff(x)
    low, high = low - 0.5 * width[at - 1], high + 0.5 * width[at - 1]
    return Change(float(between[best]), max(low, x[0]), min(high, x[-1]), "step", saved, np.nan)


def _hinges(x: np.ndarray, y: np.ndarray, root: np.ndarray, bends: np.ndarray) -> np.ndarray:
    """Return chi² of two lines joined at each of `bends`."""
    base, _ = np.linalg.qr(np.stack([root, (x - x.mean()) * root], axis=1))
    rest = (y - np.median(y)) * root
    rest = rest - base @ (base.T @ rest)
    ramps = np.maximum(x[:, None] - bends, 0.0) * root[:, None]
    ramps = ramps - base @ (base.T @ ramps)
    norm = (ramps**2).sum(axis=0)
    gain = np.divide(
        (ramps.T @ rest) ** 2, norm, out=np.zeros_like(norm), where=norm > 1e-12 * norm.max(initial=1e-300)
    )
    return (rest**2).sum() - gain


def _limits(places: np.ndarray, misfit: np.ndarray, level: float) -> tuple[float, float]:
    """Return the ends of the places that hold `level` of the likelihood, equal tails left out on both sides."""
    likelihood = np.exp(-0.5 * (misfit - misfit.min()))
    order = np.argsort(misfit, kind="stable")
    share = np.cumsum(likelihood[order]) / likelihood.sum()
    inside = places[order[: int(np.searchsorted(share, level)) + 1]]
    return float(inside.min()), float(inside.max())
