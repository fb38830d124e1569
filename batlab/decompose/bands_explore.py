"""Where the search for bands begins, what it asks for, and when it rests."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy.spatial import HalfspaceIntersection, QhullError

from batlab.decompose.bands_search import Space, Targets, climb, excess, settled

ROUNDS = 25  # of each climb; between two, every target starts anew from the best that any target found
WANDER, POLISH = 1, 4  # times that all ways are tried; then times, at most, that the best is climbed on from
REST = 2e-3  # of the range: a round that gains less is the last
STRANGERS = 32  # random starts, so that no far part of the admissible set is missed
STEPS, EVERY = 120, 6  # of random walks from each of them; every sixth place is kept
MOST_DIMENSIONS = 5  # of a polytope whose corners are listed
NUMBERS = 300_000  # of a batch at once: what the cache holds


def explored(space: Space, first: np.ndarray, budget: float, points: int, seed: int) -> tuple[np.ndarray, Targets]:
    """Return admissible T (n, k, k), and the targets, for each of which one of them reaches as far as was found."""
    rng = np.random.default_rng(seed)
    first = first[excess(space, first, np.linalg.inv(first)) <= budget]
    pool = np.concatenate([first, _strangers(space, first[0], budget, rng)])
    pool = np.concatenate([pool, _wandered(space, pool, budget, rng)])
    targets = _targets(space, first[0], points)
    values = targets.table(pool, np.linalg.inv(pool))
    for number in range(WANDER + POLISH):
        before = values.max(axis=0)
        starts = [pool[values.argmax(axis=0)]]
        if number < WANDER:
            # From elsewhere too, and row by row: what all rows together climb to may be a lesser summit.
            starts += [pool[rng.integers(len(pool), size=len(targets))]]
        ways = ("own", "all") if number < WANDER else ("all",)
        found = [_climbed(space, one, targets, budget, way) for one in starts for way in ways]
        pool = np.concatenate([pool, *found])
        values = np.concatenate([values, *(targets.table(one, np.linalg.inv(one)) for one in found)])
        if number >= WANDER and (values.max(axis=0) - before <= REST * np.ptp(values, axis=0).max()).all():
            break
    return pool, targets


def _climbed(space: Space, starts: np.ndarray, targets: Targets, budget: float, way: str) -> np.ndarray:
    step = max(1, NUMBERS // ((len(space.scores) + len(space.loadings)) * starts.shape[1]))
    parts = [slice(begin, begin + step) for begin in range(0, len(targets), step)]
    return np.concatenate([climb(space, starts[part], targets.only(part), budget, ROUNDS, way) for part in parts])


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


def _wandered(space: Space, starts: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    """Return admissible T met on random walks: single rows and all of them, in small steps and in large ones."""
    turns, out = starts.copy(), []
    n, k = turns.shape[:2]
    for number in range(STEPS):
        size = 0.02 * 50.0 ** rng.random((n, 1, 1))
        step = size * rng.normal(size=(n, k, k - 1)) * space.is_free[:, None]
        one = np.arange(k) == rng.integers(k, size=(n, 1))
        step *= (one | (rng.random((n, 1)) < 0.5))[:, :, None]
        trial = turns + step @ space.basis.T
        regular = np.abs(np.linalg.det(trial)) > 1e-9 * np.abs(np.linalg.det(starts[0]))
        trial = np.where(regular[:, None, None], trial, turns)
        kept = excess(space, trial, np.linalg.inv(trial)) <= budget
        turns = np.where(kept[:, None, None], trial, turns)
        if number % EVERY == EVERY - 1:
            out.append(turns)
    return np.concatenate(out)


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


def gaps(space: Space, turns: np.ndarray, targets: Targets, number: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return by how much more than any T was seen to reach a profile could reach at most, down and up.

    A profile's values are linear in its row of T (its column of T⁻¹): the extremes that were sought enclose all
    admissible rows in a polytope, and what its corners reach at the other points bounds these.
    """
    if side == 0:
        # Columns of T⁻¹, in coordinates in which the frames scatter alike in all directions.
        alike, factor = np.linalg.qr(space.scores)
        places = np.linalg.inv(turns)[:, :, number] @ factor.T
        sought, origin = alike, np.zeros(len(factor))
        vectors = np.linalg.solve(factor.T, targets.vector.T).T
    else:
        places = (turns[:, number] - turns[0, number]) @ np.linalg.pinv(space.basis).T
        sought, origin = space.loadings @ space.basis, np.zeros(space.basis.shape[1])
        vectors = targets.vector @ space.basis
    asked = (targets.component == number) & (targets.of_spectra == bool(side))
    if not asked.any():
        return np.zeros(len(sought)), np.zeros(len(sought))
    directions = targets.sign[asked, None] * vectors[asked]
    seen = sought @ places.T
    low, high = seen.min(axis=1), seen.max(axis=1)
    corners = _corners(directions, (directions @ places.T).max(axis=1), places.mean(axis=0) + origin)
    if corners is None:
        return np.zeros(len(sought)), np.zeros(len(sought))
    reach = sought @ corners.T
    return np.maximum(low - reach.min(axis=1), 0.0), np.maximum(reach.max(axis=1) - high, 0.0)


def _corners(directions: np.ndarray, reach: np.ndarray, inside: np.ndarray) -> np.ndarray | None:
    """Return the corners of ``directions @ x <= reach``, or None where that is not closed or too many-sided."""
    length = np.linalg.norm(directions, axis=1)
    used = length > 1e-12 * length.max(initial=1e-300)
    directions, reach = directions[used] / length[used, None], reach[used] / length[used]
    room = reach - directions @ inside
    if directions.shape[1] == 1:
        ends = [reach[directions[:, 0] > 0].min(initial=np.inf), -reach[directions[:, 0] < 0].min(initial=np.inf)]
        return np.array(ends)[:, None] if np.isfinite(ends).all() else None
    if directions.shape[1] > MOST_DIMENSIONS or np.linalg.matrix_rank(directions, tol=1e-6) < directions.shape[1]:
        return None
    size = max(float(room.max()), 1e-300)
    # A set without an inside is given one of a millionth of its size.
    planes = np.column_stack([directions, -np.maximum(room / size, 1e-6)])
    try:
        corners = HalfspaceIntersection(planes, np.zeros(len(inside)), qhull_options="Qt QJ").intersections
    except QhullError:
        return None
    return inside + size * corners[np.isfinite(corners).all(axis=1)]
