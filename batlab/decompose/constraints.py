"""What is known of components before they are sought, and how rows and columns are made to obey it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import choose

SIDES = ("concentration", "spectra")
# Beside unimodality the closure is a weight: a firm sum would hold every column where it is.
SOFT, PASSES = 3.0, 20
FEW = 20_000  # numbers that one thread solves before another would have woken
TINY = 1e-12  # what is left of a sum that known concentrations fill


@dataclass(frozen=True, eq=False)
class Constraints:
    """What components of a series must keep.

    Attributes
    ----------
    non_negative
        ``("concentration", "spectra")``, one of them, or ``()``.
    closure
        Sum of the concentrations of every frame: a number, or one number a frame. None: they are free, and the scale
        of concentrations against spectra is arbitrary.
    unimodal
        Numbers of components whose concentration rises to one peak and falls, within each set.
    known_spectra
        Component -> its spectrum on the axis of the series, numbers or a DataArray; NaN where it is not known. For
        series that share concentrations: component -> {name of the series: spectrum}.
    known_concentration
        Component -> its concentration in every frame; NaN where it is not known.

    Examples
    --------
    >>> print(Constraints(closure=1, unimodal=[1], known_concentration={0: [1.0, np.nan]}))
    concentration and spectra not negative; closure to 1; unimodal: 1; known concentration: 0 at 1 of 2 frames
    """

    non_negative: Sequence[str] = SIDES
    closure: Any = None
    unimodal: Sequence[int] = ()
    known_spectra: Mapping[int, Any] = field(default_factory=dict)
    known_concentration: Mapping[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sides = (self.non_negative,) if isinstance(self.non_negative, str) else tuple(self.non_negative)
        for side in sides:
            choose("non_negative", side, SIDES)
        object.__setattr__(self, "non_negative", sides)
        object.__setattr__(self, "unimodal", tuple(int(one) for one in self.unimodal))
        if self.closure is not None:
            total = np.asarray(self.closure, dtype=float)
            if not (np.isfinite(total).all() and (total > 0).all()):
                raise ValueError(f"closure must be a positive sum, one number or one a frame, got {self.closure!r}")

    def __str__(self) -> str:
        said = [f"{' and '.join(self.non_negative)} not negative"] if self.non_negative else []
        if self.closure is not None:
            total = np.asarray(self.closure, dtype=float)
            said.append(f"closure to {total:g}" if total.ndim == 0 else "closure to one sum a frame")
        if self.unimodal:
            said.append(f"unimodal: {', '.join(map(str, self.unimodal))}")
        if self.known_spectra:
            said.append(f"known spectra: {', '.join(map(str, sorted(self.known_spectra)))}")
        for number, values in sorted(self.known_concentration.items()):
            known = np.isfinite(np.asarray(values, dtype=float))
            said.append(f"known concentration: {number} at {known.sum()} of {known.size} frames")
        return "; ".join(said) or "none"


@dataclass(frozen=True, eq=False)
class Rules:
    """Constraints as numbers for one series: what `mcr_als` and `bands` work with."""

    not_negative: tuple[bool, bool]  # concentration, spectra
    total: np.ndarray | None  # (frame,)
    unimodal: tuple[int, ...]
    sets: tuple[slice, ...]  # stretches of frames within which unimodality holds
    fixed_concentration: np.ndarray  # (frame, component), NaN where free
    fixed_spectra: np.ndarray  # (axis, component), NaN where free

    def concentration(self, values: np.ndarray, spectra: np.ndarray) -> np.ndarray:
        """Return the concentrations (frame, component) of least misfit for `spectra` (component, axis)."""
        gram, right = spectra @ spectra.T, values @ spectra.T
        found = solved(gram, right, self.not_negative[0], self.fixed_concentration, self.total)
        if not self.unimodal:
            return found
        if self.total is not None:
            weight = SOFT * np.trace(gram) / len(gram)
            gram, right = gram + weight, right + weight * self.total[:, None]
        diagonal = np.maximum(np.diag(gram), 1e-300)
        for _ in range(PASSES):
            for i in range(len(gram)):
                best = found[:, i] + (right[:, i] - found @ gram[:, i]) / diagonal[i]
                found[:, i] = self.nearest_column(best, i)
        return found

    def spectra(self, values: np.ndarray, concentration: np.ndarray) -> np.ndarray:
        """Return the spectra (component, axis) of least misfit for `concentration`."""
        return self.spectra_from(values.T @ concentration, concentration)

    def spectra_from(self, right: np.ndarray, concentration: np.ndarray) -> np.ndarray:
        """Return the same from ``right``, the product Dᵗ C, where that is already known."""
        gram = concentration.T @ concentration
        return np.ascontiguousarray(solved(gram, right, self.not_negative[1], self.fixed_spectra).T)

    def nearest_column(self, column: np.ndarray, number: int) -> np.ndarray:
        """Return the concentrations of one component that obey all but the closure and lie nearest."""
        out = column
        if number in self.unimodal:
            out = np.concatenate([nearest_unimodal(column[part]) for part in self.sets])
        if self.not_negative[0]:
            out = np.maximum(out, 0.0)
        fixed = self.fixed_concentration[:, number]
        return np.where(np.isnan(fixed), out, fixed)

    def nearest_concentration(self, contents: np.ndarray) -> np.ndarray:
        """Return (batch, frame, component) that obeys all but the closure and lies nearest."""
        out = np.maximum(contents, 0.0) if self.not_negative[0] else contents.copy()
        for i in self.unimodal:
            for number in range(len(out)):
                out[number, :, i] = self.nearest_column(contents[number, :, i], i)
        known = ~np.isnan(self.fixed_concentration)
        return np.where(known, self.fixed_concentration, out) if known.any() else out

    def nearest_spectra(self, curves: np.ndarray) -> np.ndarray:
        """Return (batch, axis, component) that obeys the constraints and lies nearest."""
        out = np.maximum(curves, 0.0) if self.not_negative[1] else curves
        known = ~np.isnan(self.fixed_spectra)
        return np.where(known, self.fixed_spectra, out) if known.any() else out


def rules(
    constraints: Constraints, n_components: int, n_frames: int, sets: tuple[slice, ...], spectra: np.ndarray
) -> Rules:
    """Return the constraints as numbers; `spectra` (component, axis) holds the known ones, scaled, NaN elsewhere."""
    for name in ("unimodal", "known_spectra", "known_concentration"):
        for number in getattr(constraints, name):
            if number not in range(n_components):
                raise ValueError(f"{name} names component {number!r}, there are 0 to {n_components - 1}; count from 0")
    fixed = np.full((n_frames, n_components), np.nan)
    for number, given in constraints.known_concentration.items():
        column = np.asarray(given.values if isinstance(given, xr.DataArray) else given, dtype=float)
        if column.shape != (n_frames,):
            raise ValueError(
                f"known_concentration of component {number} must hold {n_frames} numbers, one a frame, got "
                f"{column.shape}; put NaN where it is not known"
            )
        fixed[:, number] = column
    total = None
    if constraints.closure is not None:
        total = np.asarray(constraints.closure, dtype=float)
        if total.ndim and total.shape != (n_frames,):
            raise ValueError(f"closure must be one number or {n_frames}, one a frame, got {total.shape}")
        total = np.broadcast_to(total, (n_frames,))
        if (np.nansum(fixed, axis=1) > total * (1 + 1e-9)).any() and "concentration" in constraints.non_negative:
            raise ValueError("known_concentration exceeds the closure in at least one frame; mend one of them")
    sides = (SIDES[0] in constraints.non_negative, SIDES[1] in constraints.non_negative)
    return Rules(sides, total, tuple(constraints.unimodal), sets, fixed, spectra.T.copy())


def solved(
    gram: np.ndarray, right: np.ndarray, not_negative: bool, fixed: np.ndarray, total: np.ndarray | None = None
) -> np.ndarray:
    """Return for every row r of `right` the x that makes ``x G x - 2 r x`` least, where it is not `fixed`.

    `total` holds the sum that each row must have.
    """
    known = ~np.isnan(fixed)
    if not known.any():
        return _least(gram, right, not_negative, total)
    out = np.where(known, fixed, 0.0)
    codes = known @ (1 << np.arange(len(gram)))
    for code in np.unique(codes):
        rows = codes == code
        free = ~known[np.argmax(rows)]
        if free.any():
            rest = right[rows][:, free] - out[rows] @ gram[:, free]
            left = None if total is None else total[rows] - out[rows].sum(axis=1)
            out[np.ix_(rows, free)] = _least(gram[np.ix_(free, free)], rest, not_negative, left)
    return out


def _least(gram: np.ndarray, right: np.ndarray, not_negative: bool, total: np.ndarray | None) -> np.ndarray:
    from batlab._kernels.nnls import bounded_least_squares

    k = len(gram)
    lower, upper = np.full(k, 0.0 if not_negative else -np.inf), np.full(k, np.inf)
    # One sum for all rows: each is scaled by its own, and so is what it is projected on.
    scale = 1.0 if total is None else np.where(np.abs(total) < TINY, TINY, total)[:, None]
    if total is not None and not_negative:
        scale = np.maximum(scale, TINY)
    found, _ = bounded_least_squares(
        np.ascontiguousarray(gram)[None], np.ascontiguousarray(right / scale), lower, upper,
        total=np.inf if total is None else 1.0, n_threads=threads.effective() if right.size > FEW else 1,
    )  # fmt: skip
    return found * scale


def nearest_unimodal(column: np.ndarray) -> np.ndarray:
    """Return the nearest column that rises to one peak and falls (least squares, best place of the peak).

    Bro and Sidiropoulos, J. Chemom. 12, 223 (1998); pooled neighbours on both sides of every cut.

    >>> nearest_unimodal(np.array([0.0, 2.0, 1.0, 5.0, 1.0, 3.0])).tolist()
    [0.0, 1.5, 1.5, 5.0, 2.0, 2.0]
    """
    from scipy.optimize import isotonic_regression

    rising, falling = _prefix_errors(column), _prefix_errors(column[::-1])[::-1]
    # The first `cut` values rise, the rest fall.
    cut = int(np.argmin(np.append(0.0, rising) + np.append(falling, 0.0)))
    parts = [isotonic_regression(column[:cut]).x if cut else column[:0]]
    if cut < len(column):
        parts.append(isotonic_regression(column[cut:], increasing=False).x)
    return np.concatenate(parts)


def _prefix_errors(column: np.ndarray) -> np.ndarray:
    """Return the squared error of the best rising fit to every beginning of a column (pooled neighbours)."""
    sums: list[float] = []
    counts: list[int] = []
    squares: list[float] = []
    errors: list[float] = []
    out = np.empty(len(column))
    for number, value in enumerate(column.tolist()):
        total, count, square = value, 1, value * value
        while sums and sums[-1] * count > total * counts[-1]:
            total, count, square = total + sums.pop(), count + counts.pop(), square + squares.pop()
            errors.pop()
        sums.append(total)
        counts.append(count)
        squares.append(square)
        errors.append((errors[-1] if errors else 0.0) + max(square - total * total / count, 0.0))
        out[number] = errors[-1]
    return out
