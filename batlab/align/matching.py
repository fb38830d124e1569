"""Frames of two spots at equal charge: which stand against which."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.errors import SchemaError

STILL = 1e-4  # of the whole range: a smaller change of the charge from frame to frame is a rest


class Matched(NamedTuple):
    """Frames `rows`, and `weights` (rows, known) of the `known` frames that make up the value each should have."""

    rows: np.ndarray
    known: np.ndarray
    weights: np.ndarray


def branches(series: xr.Dataset, at: np.ndarray, spots: np.ndarray, use: np.ndarray, named: str | None) -> np.ndarray:
    """Return a number for each frame: frames of the same number run through the charge in one direction.

    Rests have numbers below 0. Directions are told from each spot's own frames; without ``cycle`` they are counted from
    the start, which needs the same sequence at every spot.
    """
    if named is not None:
        if named not in series.variables or series[named].dims != ("frame",):
            raise SchemaError(f"branch= must name a variable over 'frame', got {named!r}")
        return np.unique(np.asarray(series[named].values), return_inverse=True)[1]
    still = STILL * np.ptp(at[use]) if use.any() else 0.0
    number = np.zeros(at.shape, dtype=int)
    sequences = {}
    for spot in np.unique(spots[use]).tolist():
        here = np.flatnonzero(use & (spots == spot))
        direction = _directions(at[here], still)
        run = np.concatenate([[0], np.cumsum(direction[1:] != direction[:-1])])
        if "cycle" in series.variables and series["cycle"].dims == ("frame",):
            cycle = np.nan_to_num(np.asarray(series["cycle"].values, dtype=float)[here], nan=-1.0).astype(int)
            run = cycle * 3 + direction + 1  # one number a cycle and direction
        else:
            sequences[spot] = direction[np.flatnonzero(np.diff(run, prepend=-1))].tolist()
        number[here] = np.where(direction == 0, -1 - run, run)
    if len({tuple(one) for one in sequences.values()}) > 1:
        words = {-1: "down", 0: "rest", 1: "up"}
        told = "; ".join(f"{spot!r}: {', '.join(words[d] for d in one[:8])}" for spot, one in sequences.items())
        raise ValueError(
            f"the charge does not run through the same branches at every spot ({told}); name a variable that tells "
            "which belong together, branch='step', or give the series 'cycle'"
        )
    return number


def _directions(at: np.ndarray, still: float) -> np.ndarray:
    """Return 1, -1 or 0 (rest) for each frame of a spot.

    One frame that stands still while the direction turns lies at the charge of the one before by chance: it goes the
    new way.
    """
    change = np.diff(at, prepend=at[:1])
    direction = np.where(np.abs(change) <= still, 0, np.sign(change)).astype(int)
    if at.size > 1:
        direction[0] = direction[1]
    turns = np.flatnonzero((direction[1:-1] == 0) & (direction[:-2] * direction[2:] < 0)) + 1
    direction[turns] = direction[turns + 1]
    return direction


def match(wanted: np.ndarray, known: np.ndarray, at: np.ndarray, part: np.ndarray, when: np.ndarray) -> Matched:
    """Return for the `wanted` frames the weights of the `known` ones around them in the same branch.

    In charge, at rest (branch below 0) in time. Nothing is extrapolated: frames outside are left out. Frames known at
    one charge count as their mean.
    """
    rows, sources = np.flatnonzero(wanted), np.flatnonzero(known)
    weights = np.zeros((rows.size, sources.size))
    for number in np.unique(part[rows]).tolist():
        axis = when if number < 0 else at
        mine, theirs = np.flatnonzero(part[rows] == number), np.flatnonzero(part[sources] == number)
        if not theirs.size:
            continue
        places, group = np.unique(axis[sources[theirs]], return_inverse=True)
        means = np.where(group == np.arange(places.size)[:, None], 1.0 / np.bincount(group)[:, None], 0.0)
        weights[np.ix_(mine, theirs)] = interpolation(places, axis[rows[mine]]) @ means
    found = np.abs(weights).sum(axis=1) > 0
    return Matched(rows[found], sources, weights[found])


def interpolation(places: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the matrix (x, places) that takes values at increasing `places` to values at `x`; 0 outside.

    Cubic between points that lie about evenly, with the slopes of the parabola through each point and its neighbours:
    a straight line misses a bend by its curvature, always to one side. Straight where spacings differ by more than 3.

    >>> places = np.array([0.0, 1.0, 2.0, 3.0])
    >>> (interpolation(places, np.array([0.5, 1.0, 1.5, 4.0])) @ places**2).tolist()
    [0.25, 1.0, 2.25, 0.0]
    """
    n = places.size
    result = np.zeros((x.size, n))
    inside = np.flatnonzero((x >= places[0]) & (x <= places[-1]))
    if n == 1:
        result[inside] = 1.0
        return result
    left = np.clip(np.searchsorted(places, x[inside], side="right") - 1, 0, n - 2)
    step = np.diff(places)
    u = (x[inside] - places[left]) / step[left]
    result[inside, left], result[inside, left + 1] = 1 - u, u
    if n > 2:
        slopes = _slopes(places)
        chord = (np.eye(n, k=1) - np.eye(n))[:-1] / step[:, None]
        even = _is_even(step)[left][:, None]
        start, end = slopes[:-1][left] - chord[left], slopes[1:][left] - chord[left]
        u, width = u[:, None], step[left][:, None]
        result[inside] += np.where(even, width * u * (1 - u) * ((1 - u) * start - u * end), 0.0)
    return result


def _slopes(places: np.ndarray) -> np.ndarray:
    """Return the matrix that takes values to slopes at the `places`, each of a parabola through three points."""
    n = places.size
    result = np.zeros((n, n))
    for row in range(n):
        first = min(max(row - 1, 0), n - 3)
        three = places[first : first + 3]
        for one in range(3):
            others = np.delete(three, one)
            result[row, first + one] = (2 * places[row] - others.sum()) / np.prod(three[one] - others)
    return result


def _is_even(step: np.ndarray) -> np.ndarray:
    """Return for each step between points whether it and its neighbours differ by less than a factor of 3."""
    around = np.stack([np.concatenate([step[:1], step[:-1]]), step, np.concatenate([step[1:], step[-1:]])])
    if step.size == 2:
        around = np.broadcast_to(step[:, None], (2, 2))
    return around.max(axis=0) < 3 * around.min(axis=0)


class Points(NamedTuple):
    """Frames, or means of consecutive frames of one spot and branch: what is compared."""

    value: np.ndarray
    sigma: np.ndarray
    at: np.ndarray
    when: np.ndarray
    spot: np.ndarray
    part: np.ndarray
    n_frames: np.ndarray


def thinned(points: Points, use: np.ndarray, most: int) -> Points:
    """Return the points to `use`; of a spot with more than about `most`, neighbours in a branch are averaged."""
    name = np.full(use.shape, -1)
    n_points = 0
    for spot in np.unique(points.spot[use]).tolist():
        here = np.flatnonzero(use & (points.spot == spot))
        size = -(-here.size // most)
        for number in np.unique(points.part[here]).tolist():
            mine = here[points.part[here] == number]
            name[mine] = n_points + np.arange(mine.size) // size
            n_points = int(name[mine].max()) + 1
    first = np.array([int(np.argmax(name == one)) for one in range(n_points)], dtype=int)
    kept, count = name[use], np.bincount(name[use], minlength=n_points)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(kept, values[use], n_points) / count

    order = np.argsort(first)
    sigma = np.sqrt(mean(points.sigma**2) / count)
    columns = (mean(points.value), sigma, mean(points.at), mean(points.when))
    labels = (points.spot[first], points.part[first], points.n_frames[first] * count)
    return Points(*(column[order] for column in (*columns, *labels)))
