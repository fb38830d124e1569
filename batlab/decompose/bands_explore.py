"""Where the search for bands begins, what it asks for, and when it rests."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from batlab.decompose.bands_search import Space, Targets, climb, excess, settled

ROUNDS = (40, 25, 25, 25, 25)  # of climbing; between two, every target starts anew from the best that any target found
REST = 2e-3  # of the range: a round that gains less is the last
STRANGERS = 48  # random starts, so that no far part of the admissible set is missed
NUMBERS = 300_000  # of a batch at once: what the cache holds


def explored(space: Space, first: np.ndarray, budget: float, points: int, seed: int) -> np.ndarray:
    """Return admissible T (n, k, k) that reach as far as any in every direction that was asked for."""
    rng = np.random.default_rng(seed)
    first = first[excess(space, first, np.linalg.inv(first)) <= budget]
    pool = np.concatenate([first, _strangers(space, first[0], budget, rng)])
    targets = _targets(space, first[0], points)
    best = np.full(len(targets), -np.inf)
    every = [pool]
    for rounds in ROUNDS:
        table = targets.table(pool, np.linalg.inv(pool))
        reached = table.max(axis=0)
        span = np.ptp(table, axis=0).max() or 1.0
        if (reached - best <= REST * span).all():
            break
        best, starts = reached, pool[table.argmax(axis=0)]
        step = max(1, NUMBERS // ((len(space.scores) + len(space.loadings)) * first.shape[1]))
        found = []
        for begin in range(0, len(targets), step):
            part = slice(begin, begin + step)
            found.append(climb(space, starts[part], targets.only(part), budget, rounds))
        every += found
        pool = np.concatenate([pool[: len(first)], *found])
        best = targets.values(pool[len(first) :], np.linalg.inv(pool[len(first) :]))
    return np.concatenate(every)


def _strangers(space: Space, start: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    """Return admissible T found from random starts, components named as in `start` where they are most alike."""
    k = len(start)
    free = np.flatnonzero(space.is_free)
    turns = np.repeat(start[None], STRANGERS, axis=0)
    reach = rng.choice([0.5, 1.0, 2.0, 4.0], size=(STRANGERS, 1, 1))
    turns[:, free] = start.mean(axis=0) + reach * rng.normal(size=(STRANGERS, len(free), k - 1)) @ space.basis.T
    turns = turns[np.abs(np.linalg.det(turns)) > 1e-12 * np.abs(np.linalg.det(start))]
    turns, cost = settled(space, turns)
    turns = turns[cost <= budget]
    if len(free) > 5 or not len(turns):
        return turns
    own = space.scores @ np.linalg.inv(start)
    out = []
    for turn in turns:
        orders = [_order(k, free, order) for order in permutations(free.tolist())]
        gaps = [np.abs(space.scores @ np.linalg.inv(turn[order]) - own).sum() for order in orders]
        out.append(turn[orders[int(np.argmin(gaps))]])
    named = np.array(out)
    return named[excess(space, named, np.linalg.inv(named)) <= budget]


def _order(k: int, free: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    out = np.arange(k)
    out[free] = order
    return out


def _targets(space: Space, start: np.ndarray, points: int) -> Targets:
    """Return the extremes to seek: frames and points of the axis that lie in as many directions as there are."""
    k = len(start)
    contents = space.scores @ np.linalg.inv(start)
    frames = _spread_out(contents, points, np.argmax(contents, axis=0))
    lean = space.loadings @ space.basis
    length = np.linalg.norm(lean, axis=1)
    strong = np.flatnonzero(length > 0.02 * length.max())
    unit = lean[strong] / length[strong, None]
    unit *= np.where(unit[:, :1] < 0, -1.0, 1.0)
    axis = strong[_spread_out(unit, points, np.array([np.argmax(length[strong])]))]
    component, vector, of_spectra, sign = [], [], [], []
    for number in range(k):
        for side in (1.0, -1.0):
            chosen = [space.scores[frames]] + ([space.loadings[axis]] if space.is_free[number] else [])
            for is_spectrum, block in enumerate(chosen):
                component += [number] * len(block)
                vector.append(block)
                of_spectra += [bool(is_spectrum)] * len(block)
                sign += [side] * len(block)
    return Targets(np.array(component), np.concatenate(vector), np.array(of_spectra), np.array(sign))


def _spread_out(places: np.ndarray, count: int, first: np.ndarray) -> np.ndarray:
    """Return `count` rows of `places` that lie far from each other, beginning with the rows `first`."""
    chosen = list(dict.fromkeys(first.tolist()))
    gap = np.min(np.linalg.norm(places[:, None] - places[chosen][None], axis=2), axis=1)
    while len(chosen) < min(count, len(places)) and gap.max() > 0:
        chosen.append(int(np.argmax(gap)))
        gap = np.minimum(gap, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return np.array(chosen)
