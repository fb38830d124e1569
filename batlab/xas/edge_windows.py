"""Where the lines before and after an edge are fitted, and which points those windows hold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_NNORM = 5
Window = tuple[float | None, float | None] | None


class Windows(NamedTuple):
    """Windows in eV relative to E0, and the degree of the polynomial after the edge."""

    pre1: float
    pre2: float
    norm1: float
    norm2: float
    nnorm: int

    def edges(self) -> np.ndarray:
        """Return the four ends."""
        return np.array([self.pre1, self.pre2, self.norm1, self.norm2], dtype=float)


def small_steps(energy: np.ndarray) -> np.ndarray:
    """Return for every row of energies the mean of its ten smallest steps, the smallest hundredth apart."""
    steps = np.sort(np.diff(energy, axis=1), axis=1)  # NaN last
    skip = int(0.01 * energy.shape[1])
    few = steps[:, skip : skip + 10]
    known = np.isfinite(few)
    n = known.sum(axis=1)
    return np.where(n > 0, np.where(known, few, 0.0).sum(axis=1) / np.maximum(n, 1), 1.0)


def points(energy: np.ndarray, low: float, high: float) -> slice:
    """Return the points of a window: from the last at or below `low` to before the one nearest to `high`."""
    return slice(max(0, int(np.searchsorted(energy, low, "right")) - 1), int(np.abs(energy - high).argmin()))


def choose_windows(energy: np.ndarray, e0: float, pre: Window, post: Window, nnorm: int | None) -> Windows:
    """Return the windows for one grid as larch and Athena choose them where the user did not.

    Raises
    ------
    ValueError
        An end is not finite, a window is empty or holds too few points, or `nnorm` is not 0 to 5.
    """
    ends = {}
    for name, window in (("pre", pre), ("post", post)):
        given = (None, None) if window is None else tuple(window)
        if len(given) != 2 or not all(end is None or np.isfinite(end) for end in given):
            raise ValueError(f"xas.normalize: {name} must be two energies relative to E0 in eV, got {window!r}")
        ends[name] = given
    lowest, highest = energy[0] - e0, energy[-1] - e0
    pre1, pre2 = ends["pre"]
    if pre1 is None:
        # The first point is often bad; few points before the edge are not rounded as coarsely.
        unit = 5.0 if np.abs(energy - e0).argmin() > 20 else 2.0
        pre1 = unit * round((energy[1] - e0) / unit)
    pre1 = max(pre1, lowest)
    pre1, pre2 = sorted((pre1, 0.5 * pre1 if pre2 is None else pre2))
    norm1, norm2 = ends["post"]
    norm2 = min(5.0 * round(highest / 5.0) if norm2 is None else norm2, highest)
    norm1 = min(25.0, 5.0 * round(norm2 / 15.0)) if norm1 is None else norm1
    norm1, norm2 = sorted((norm1, norm2))
    norm1 = min(norm1, norm2 - 2.0)
    if nnorm is None:
        nnorm = 2 if norm2 - norm1 >= 300 else 1 if norm2 - norm1 >= 30 else 0
    if isinstance(nnorm, bool) or int(nnorm) != nnorm or not 0 <= nnorm <= MOST_NNORM:
        raise ValueError(f"xas.normalize: nnorm must be a whole number from 0 to {MOST_NNORM}, got {nnorm!r}")
    for name, window, end, side in (("pre", pre, pre1, "before"), ("post", post, -norm2, "behind")):
        if window is not None and end >= 0:
            raise ValueError(f"xas.normalize: {name} must lie {side} the edge, in eV relative to E0, got {window!r}")
    found = Windows(float(pre1), float(pre2), float(norm1), float(norm2), int(nnorm))
    _refuse_few_points(energy, e0, found)
    return found


def _refuse_few_points(energy: np.ndarray, e0: float, found: Windows) -> None:
    for name, low, high, needed in (
        ("pre", found.pre1, found.pre2, 3),
        ("post", found.norm1, found.norm2, found.nnorm + 2),
    ):
        inside = points(energy, e0 + low, e0 + high)
        n = max(0, inside.stop - inside.start)
        if n < needed:
            raise ValueError(
                f"xas.normalize: window {name}=({low:g}, {high:g}) eV about E0 = {e0:.2f} eV holds {n} points, at "
                f"least {needed} are needed; the spectrum runs from {energy[0] - e0:.1f} to {energy[-1] - e0:.1f} eV "
                f"about E0: pass another {name}=…" + ("" if name == "pre" else f" or nnorm below {found.nnorm}")
            )
