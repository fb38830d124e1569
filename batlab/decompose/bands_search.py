"""The search behind `bands`: how far every profile can move while the fit stays as good.

Arrays only. All pairs ``C = U T⁻¹``, ``S = T Vᵗ`` have the same product, whatever the k × k matrix T. The constraints
say which T are admissible; their violation is weighed as the rise of the squared misfit that mending it would cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Steps in units of the scatter of the frames within the reduced space.
FIRST_STEP, LARGEST_STEP, LEAST_STEP = 0.3, 3.0, 1e-3
LOOSE = 25  # budgets that an iterate on its way may take


@dataclass(frozen=True)
class Space:
    """A series in the space of its first k singular vectors, and what its components must keep.

    Attributes
    ----------
    scores, loadings
        (frame, k) and (axis, k): their product is the series without its noise.
    basis
        (k, k - 1): the directions in which a row of T may move; its scale stays.
    is_free
        (k,): rows of T that are not known.
    nearest_concentration, nearest_spectra
        Take (..., frame, k) and (..., axis, k); give what obeys the constraints and lies nearest.
    """

    scores: np.ndarray
    loadings: np.ndarray
    basis: np.ndarray
    is_free: np.ndarray
    nearest_concentration: Callable[[np.ndarray], np.ndarray]
    nearest_spectra: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def squares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings along the basis, and the products of scores and of these with themselves."""
        lean, k = self.loadings @ self.basis, self.scores.shape[1]
        both_scores = np.einsum("ja,jb->jab", self.scores, self.scores).reshape(-1, k * k)
        return lean, both_scores, np.einsum("xa,xb->xab", lean, lean).reshape(-1, (k - 1) ** 2)

    @cached_property
    def spread(self) -> np.ndarray:
        """(k,) squares of the singular values."""
        return np.einsum("jk,jk->k", self.scores, self.scores)


@dataclass(frozen=True)
class Targets:
    """What is sought: the extreme of one number of one profile a row of the batch."""

    component: np.ndarray
    vector: np.ndarray  # (target, k): a frame's scores, or a point's loadings
    of_spectra: np.ndarray
    sign: np.ndarray  # 1 for the largest, -1 for the smallest value

    def __len__(self) -> int:
        return len(self.sign)

    def only(self, part: slice | np.ndarray) -> Targets:
        """Return some of the targets."""
        return Targets(self.component[part], self.vector[part], self.of_spectra[part], self.sign[part])

    def values(self, turns: np.ndarray, inverses: np.ndarray) -> np.ndarray:
        """Return the signed numbers, of one T a target."""
        each = np.arange(len(self))
        rows, columns = turns[each, self.component], inverses[each, :, self.component]
        return self.sign * np.einsum("nk,nk->n", self.vector, np.where(self.of_spectra[:, None], rows, columns))

    def table(self, turns: np.ndarray, inverses: np.ndarray) -> np.ndarray:
        """Return the signed numbers of every T (rows) for every target (columns)."""
        rows, columns = turns[:, self.component], np.swapaxes(inverses, 1, 2)[:, self.component]
        picked = np.where(self.of_spectra[None, :, None], rows, columns)
        return self.sign * np.einsum("ptk,tk->pt", picked, self.vector)

    def slopes(self, space: Space, inverses: np.ndarray) -> np.ndarray:
        """Return the gradients (target, row of T, k - 1)."""
        each = np.arange(len(self))
        columns = inverses[each, :, self.component]
        contents = np.einsum("nk,nkl->nl", self.vector, inverses)
        slopes = -contents[:, :, None] * (columns @ space.basis)[:, None, :]
        along = np.zeros_like(slopes)
        along[each, self.component] = self.vector @ space.basis
        return self.sign[:, None, None] * np.where(self.of_spectra[:, None, None], along, slopes)


def excess(space: Space, turns: np.ndarray, inverses: np.ndarray) -> np.ndarray:
    """Return by how much the squared misfit rises when each T of a batch is made to obey the constraints."""
    return _violations(space, turns, inverses)[0]


def _violations(space: Space, turns: np.ndarray, inverses: np.ndarray) -> tuple:
    contents = space.scores @ inverses
    amiss = contents - space.nearest_concentration(contents)
    # What setting one content right costs once the others of its frame have answered: amiss² / (S Sᵗ)⁻¹.
    weights = np.einsum("nki,nki->ni", inverses, inverses)
    curves = space.loadings @ np.swapaxes(turns, 1, 2)
    off = curves - space.nearest_spectra(curves)
    scaled = turns / space.spread
    heights = np.einsum("nik,nik->ni", turns, scaled)
    cost = np.einsum("nji,nji,ni->n", amiss, amiss, 1 / weights) + np.einsum("nxi,nxi,ni->n", off, off, 1 / heights)
    return cost, amiss, weights, curves, off, heights, scaled


def quadratic(space: Space, turns: np.ndarray, inverses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the excess of a batch, its gradient and its Gauss-Newton matrix in the free numbers of T.

    Derivatives of contents and curves are linear in both, so that sums over violated frames and points are products of
    0 and 1 with squares of scores and loadings that never change.
    """
    cost, amiss, weights, curves, off, heights, scaled = _violations(space, turns, inverses)
    n, k = turns.shape[:2]
    size = k - 1
    slope, bend = np.zeros((n, k, size)), np.zeros((n, k, size, k, size))
    lean, both_scores, both_leans = space.squares
    for i in range(k):
        # d content_i = sum over l of (content_i shared_l - content_l) (column_i . d row_l), over its weight.
        turned = (
            inverses[:, :, i, None]
            * (np.einsum("na,nal->nl", inverses[:, :, i], inverses) / weights[:, i, None])[:, None]
        )
        turned = turned - inverses
        along = inverses[:, :, i] @ space.basis
        push = np.einsum("na,nal->nl", amiss[:, :, i] @ space.scores, turned)
        slope += 2 * push[:, :, None] * along[:, None, :] / weights[:, i, None, None]
        held = ((amiss[:, :, i] != 0).astype(float) @ both_scores).reshape(n, k, k)
        both = np.swapaxes(turned, 1, 2) @ held @ turned / weights[:, i, None, None]
        bend += both[:, :, None, :, None] * along[:, None, :, None, None] * along[:, None, None, None, :]
        tilt = scaled[:, i] @ space.basis / heights[:, i, None]
        wrong, curve = (off[:, :, i] != 0).astype(float), curves[:, :, i]
        mixed = (wrong * curve) @ lean
        square = (
            (wrong @ both_leans).reshape(n, size, size)
            - mixed[:, :, None] * tilt[:, None]
            - tilt[:, :, None] * mixed[:, None]
        )
        square += np.einsum("nx,nx,nx->n", wrong, curve, curve)[:, None, None] * tilt[:, :, None] * tilt[:, None]
        bend[:, i, :, i, :] += square / heights[:, i, None, None]
        push = off[:, :, i] @ lean - np.einsum("nx,nx->n", off[:, :, i], curve)[:, None] * tilt
        slope[:, i] += 2 * push / heights[:, i, None]
    free = np.repeat(space.is_free, size)
    return cost, slope.reshape(n, -1)[:, free], bend.reshape(n, k * size, k * size)[:, free][:, :, free]


def moved(space: Space, turns: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return T after a step in its free numbers."""
    rows = step.reshape(len(step), int(space.is_free.sum()), -1) @ space.basis.T
    out = turns.copy()
    out[:, space.is_free] += rows
    return out


def settled(space: Space, turns: np.ndarray, rounds: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return the T of least excess near each T of a batch (Levenberg-Marquardt), and the excess."""
    inverses = np.linalg.inv(turns)
    cost, slope, bend = quadratic(space, turns, inverses)
    damping = np.full(len(turns), 1e-2)
    eye = np.eye(slope.shape[1])
    for _ in range(rounds):
        scale = np.einsum("naa->n", bend) / len(eye) + 1e-300
        step = -np.linalg.solve(bend + (damping * scale)[:, None, None] * eye, slope[:, :, None] / 2)[:, :, 0]
        trial = moved(space, turns, step)
        back = _inverted(trial)
        new = excess(space, trial, back)
        better = new < cost
        here = better[:, None, None]
        turns, inverses = np.where(here, trial, turns), np.where(here, back, inverses)
        damping = np.clip(np.where(better, damping / 4, damping * 6), 1e-9, 1e9)
        cost, slope, bend = quadratic(space, turns, inverses)
    return turns, cost


def _inverted(turns: np.ndarray) -> np.ndarray:
    tiny = np.abs(np.linalg.det(turns)) < 1e-300
    return np.linalg.inv(np.where(tiny[:, None, None], np.eye(turns.shape[1]), turns))


def climb(
    space: Space, turns: np.ndarray, targets: Targets, budget: float, rounds: int, way: str = "all"
) -> np.ndarray:
    """Return one T a target: from where it starts, as far as the excess stays within `budget`.

    `way` says which rows of T may move: ``"all"`` or the target's ``"own"`` (with the others held the admissible rows
    are a polytope, and there is one summit).

    Each round models the excess as a quadratic form and goes to the farthest point of its level set. A trial is taken
    where it gains more than the budget it breaks is worth (the multiplier of the model is the price), so that iterates
    may cut corners; what is returned keeps the budget.
    """
    kept, alive = turns.copy(), np.arange(len(turns))
    inverses = np.linalg.inv(turns)
    value = targets.values(turns, inverses)
    kept_value, reach = value.copy(), np.full(len(turns), FIRST_STEP)
    cost, slope, bend = quadratic(space, turns, inverses)
    aim = 0.99 * budget
    own = np.arange(turns.shape[1]) == targets.component[:, None]
    may = np.repeat((own if way == "own" else own | ~own)[:, space.is_free], turns.shape[1] - 1, axis=1)
    for _ in range(rounds):
        here = targets.only(alive)
        rise = here.slopes(space, inverses)[:, space.is_free].reshape(len(alive), -1) * may
        step, price = _farthest(slope * may, bend * may[:, :, None] * may[:, None], rise, aim - cost, budget / reach**2)
        trial = moved(space, turns, step)
        back = _inverted(trial)
        new_value, new = here.values(trial, back), excess(space, trial, back)
        better = (new <= budget) & (new_value > kept_value[alive])
        kept[alive[better]], kept_value[alive[better]] = trial[better], new_value[better]
        gain = new_value - value - price * (np.maximum(new - aim, 0) - np.maximum(cost - aim, 0))
        taken = (gain > 0) & (new < LOOSE * budget)
        turns[taken], inverses[taken], value[taken] = trial[taken], back[taken], new_value[taken]
        if taken.any():
            cost[taken], slope[taken], bend[taken] = quadratic(space, trial[taken], back[taken])
        reach = np.where(taken, np.minimum(reach * 2, LARGEST_STEP), reach * 0.35)
        left = reach > LEAST_STEP
        if not left.any():
            break
        if not left.all():
            alive, reach, may = alive[left], reach[left], may[left]
            turns, inverses, value = turns[left], inverses[left], value[left]
            cost, slope, bend = cost[left], slope[left], bend[left]
    return kept


def _farthest(
    slope: np.ndarray, bend: np.ndarray, rise: np.ndarray, spare: np.ndarray, damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the step to the farthest point, along `rise`, of each ellipsoid, and what a unit of its level is worth."""
    form = bend + damping[:, None, None] * np.eye(slope.shape[1])
    solved = np.linalg.solve(form, np.stack([slope, rise], axis=2))
    down, up = solved[:, :, 0], solved[:, :, 1]
    room = spare + (slope * down).sum(axis=1) / 4
    length = np.sqrt(np.maximum(room, 0.0) / np.maximum((rise * up).sum(axis=1), 1e-300))
    return length[:, None] * up - down / 2, 1.0 / np.maximum(length, 1e-300)
