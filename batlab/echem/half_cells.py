"""Potentials of electrodes against lithium: published functions, and tables of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from batlab.errors import choose

CHEN2020 = "Chen et al., J. Electrochem. Soc. 167, 080534 (2020), doi:10.1149/1945-7111/ab9050, LG M50"


@dataclass(frozen=True)
class HalfCell:
    """Equilibrium potential [V] of an electrode against Li/Li⁺ as a function of its lithiation, 0 (empty) to 1 (full).

    Attributes
    ----------
    name, source
        What it is and where it comes from.
    limits
        Least and largest lithiation that may be asked for.
    potential
        Function of lithiation, falling.
    """

    name: str
    source: str
    limits: tuple[float, float]
    potential: Callable[[np.ndarray], np.ndarray]

    def __call__(self, lithiation: Any) -> np.ndarray:
        """Return the potential [V] at `lithiation`, NaN outside the limits."""
        at = np.asarray(lithiation, dtype=float)
        low, high = self.limits
        return np.where((at >= low) & (at <= high), self.potential(np.clip(at, low, high)), np.nan)


def half_cell(known: str | HalfCell | Callable[[np.ndarray], np.ndarray] | tuple[Any, Any]) -> HalfCell:
    """Return the potential of an electrode: a published one by name, or one's own table or function.

    Parameters
    ----------
    known
        ``"chen2020_nmc811"`` or ``"chen2020_graphite_siox"`` [1]_; a table ``(lithiation, potential)``, potentials in V
        against Li/Li⁺, joined by a curve without overshoot; a function of lithiation from 0 to 1; a `HalfCell`.

    Returns
    -------
    HalfCell
        Callable, with its source and limits.

    Raises
    ------
    ValueError
        An unknown name; a table with fewer than four points, NaN, or lithiation that does not increase within 0 to 1.

    Notes
    -----
    The functions were fitted at 25 °C where the electrodes of that cell work: lithiation 0.27 to 0.91 (NMC811, on
    lithiation) and 0.03 to 0.90 (graphite with 10 % SiOx, on delithiation). Beyond they are extrapolations, allowed
    here from 0.2 to 1 and from 0 to 1.

    References
    ----------
    .. [1] C.-H. Chen et al., J. Electrochem. Soc. 167, 080534 (2020), doi:10.1149/1945-7111/ab9050, eqs. 8 and 9.

    Examples
    --------
    >>> float(half_cell("chen2020_nmc811")(0.5).round(3))
    3.972
    >>> own = half_cell(([0.0, 0.3, 0.6, 1.0], [0.6, 0.2, 0.12, 0.08]))
    >>> float(own(0.3)), own.limits
    (0.2, (0.0, 1.0))
    """
    if isinstance(known, HalfCell):
        return known
    if isinstance(known, str):
        choose("half_cell", known, PUBLISHED)
        return PUBLISHED[known]
    if callable(known):
        return HalfCell(getattr(known, "__name__", "function"), "given by the user", (0.0, 1.0), known)
    return _from_table(known)


def _from_table(table: Any) -> HalfCell:
    from scipy.interpolate import PchipInterpolator

    try:
        lithiation, potential = (np.array(column, dtype=float) for column in table)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a half cell is a name or a table (lithiation, potential), got {type(table).__name__}"
        ) from error
    if lithiation.ndim != 1 or lithiation.shape != potential.shape or lithiation.size < 4:
        raise ValueError(
            f"a half cell needs at least four lithiations with a potential each, got {lithiation.shape} and "
            f"{potential.shape}"
        )
    if not (np.isfinite(lithiation).all() and np.isfinite(potential).all()):
        raise ValueError("a half cell must not hold NaN or infinity; drop those points")
    if (np.diff(lithiation) <= 0).any() or lithiation[0] < 0 or lithiation[-1] > 1:
        raise ValueError(
            f"lithiation must increase within 0 to 1, got {lithiation[0]:g} to {lithiation[-1]:g}; sort the table by "
            "lithiation, and divide a capacity by that of the full electrode"
        )
    limits = (float(lithiation[0]), float(lithiation[-1]))
    return HalfCell("table", "given by the user", limits, PchipInterpolator(lithiation, potential))


def _nmc811(y: np.ndarray) -> np.ndarray:
    return (
        4.4875
        - 0.8090 * y
        - 0.0428 * np.tanh(18.5138 * (y - 0.5542))
        - 17.7326 * np.tanh(15.7890 * (y - 0.3117))
        + 17.5842 * np.tanh(15.9308 * (y - 0.3120))
    )


def _graphite_siox(x: np.ndarray) -> np.ndarray:
    return (
        1.9793 * np.exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * np.tanh(29.8538 * (x - 0.1234))
        - 0.04478 * np.tanh(14.9159 * (x - 0.2769))
        - 0.0205 * np.tanh(30.4444 * (x - 0.6103))
    )


PUBLISHED = {
    "chen2020_nmc811": HalfCell("chen2020_nmc811", CHEN2020, (0.2, 1.0), _nmc811),
    "chen2020_graphite_siox": HalfCell("chen2020_graphite_siox", CHEN2020, (0.0, 1.0), _graphite_siox),
}
