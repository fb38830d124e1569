"""One phase followed through its cell: where the lines that are seen put those that are not."""

from __future__ import annotations

import numpy as np

from batlab.curves.near import Seeds
from batlab.curves.scale import from_scale, to_scale

DOUBT = 0.05  # of a width: what a line's place is trusted to at best
BEYOND = 0.15  # of a width: lines that disagree by more count less and less
RIDGE = 1.0  # width: what is expected counts like a sight of every line, this uncertain
SIGHT = 2.5  # widths: what lies farther from where it is expected is something else
ROUNDS = 4  # of reweighting


class Lattice:
    """The cell of one phase in what its space group leaves free, in units in which all free numbers are alike.

    ``(scale of a line / its scale at the start)² = basis @ cell``: linear for every crystal system, and `basis` has
    orthonormal columns, so that combinations which no line in range depends on drop out.
    """

    def __init__(self, lines: np.ndarray, seeds: Seeds, axis: str):
        self.lines, self.axis = lines, axis
        self.start = to_scale(seeds.position[lines], axis)
        design = seeds.design[lines] / self.start[:, None] ** 2
        size = np.linalg.norm(design, axis=0)
        left, strength, _ = np.linalg.svd(design[:, size > 0] / size[size > 0], full_matrices=False)
        self.basis = left[:, strength > 1e-9 * strength[0]]
        self.cell = self.basis.sum(axis=0)
        self.speed = np.zeros_like(self.cell)
        self.present, self.placed = True, False

    def grow(self, factor: float) -> None:
        """Scale 1/d of all lines."""
        self.cell = self.cell * factor**2

    def places(self, cell: np.ndarray) -> np.ndarray:
        """Return (…, line) the positions for cells (…, p)."""
        with np.errstate(invalid="ignore"):
            return from_scale(self.start * np.sqrt(np.einsum("...p,np->...n", cell, self.basis)), self.axis)

    def fit(self, position: np.ndarray, sigma: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (frame, p) the cell in each frame, robustly, from the lines seen, and (frame,) how much they tell.

        Where no line is seen the cell is `cell` itself, and they tell 0; where any is seen well, 1.

        `position` and `sigma` (frame, line): in axis units, NaN where a line is not seen.
        """
        expected = self.places(self.cell)
        scale = to_scale(expected, self.axis)
        steep = np.ones_like(scale) if self.axis == "q" else np.pi / 360 * np.sqrt(np.maximum(1 - scale**2, 1e-6))
        lever = 2 * scale * steep * width / self.start**2  # what one width changes in (scale / start)²
        design = self.basis / lever[:, None]
        with np.errstate(invalid="ignore"):
            away = ((to_scale(position, self.axis) / self.start) ** 2 - self.basis @ self.cell) / lever
            seen = np.isfinite(away) & np.isfinite(sigma) & (np.abs(away) < SIGHT)
        away = np.where(seen, away, 0.0)
        sure = np.where(seen, 1.0 / (np.where(seen, sigma / width, 1.0) ** 2 + DOUBT**2), 0.0)
        held = design.T @ design / RIDGE**2
        moved, robust = np.zeros((len(position), len(self.cell))), np.ones_like(away)
        for _ in range(ROUNDS):
            weight = sure * robust
            normal = np.einsum("np,fn,nq->fpq", design, weight, design) + held
            pull = np.einsum("fn,np->fp", weight * away, design)
            moved = np.linalg.solve(normal, pull[..., None])[..., 0]
            robust = 1.0 / np.sqrt(1.0 + ((away - np.einsum("fp,np->fn", moved, design)) / BEYOND) ** 2)
        total = sure.sum(axis=1)
        return self.cell + moved, total / (total + len(self.lines) / RIDGE**2)

    def take(self, cells: np.ndarray, present: np.ndarray, told: np.ndarray) -> None:
        """Go on from the last of some frames; a phase that is not there stays where it was."""
        seen, self.present = np.flatnonzero(present), bool(present[-1])
        if not len(seen):
            self.speed = np.zeros_like(self.cell)
            return
        last = cells[seen[-1]]
        before, self.speed = self.cell - self.speed, 0.5 * self.speed
        if self.placed and present[-1]:  # the first place was a guess: from there to here is no speed
            self.speed = (self.speed + 0.5 * (last - before) / len(present)) * told[-1]
        self.cell, self.placed = last + self.speed, True


def lattices(seeds: Seeds, axis: str) -> dict[str, Lattice]:
    """Return the phases whose space group is known."""
    known = np.isfinite(seeds.design).all(axis=1)
    names = dict.fromkeys(str(name) for name in seeds.phase[known])
    return {name: Lattice(np.flatnonzero(known & (seeds.phase == name)), seeds, axis) for name in names}
