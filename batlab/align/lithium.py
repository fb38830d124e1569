"""Charge into lithium: how much of it stands in an electrode's formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batlab.constants import ELEMENTARY_CHARGE
from batlab.errors import choose

FARADAY = ELEMENTARY_CHARGE * 6.02214076e23  # C/mol, exact by definition of both
MOST_PER_GRAM = 3.9  # Ah/g: lithium itself has 3.86


@dataclass(frozen=True)
class Lithium:
    """x of lithium per formula from the net charge Q since the first record, all charge taken for lithium.

    ``x = start ∓ Q / Q₁``: a positive electrode gives lithium on charge, a negative one takes it; with ``Q₁``, the
    charge of one lithium per formula, ``mass F / (3600 molar_mass)`` or ``mass theoretical_capacity / most``.

    Parameters
    ----------
    mass
        Of active material [g].
    molar_mass
        Of the formula [g/mol] (LiNiO2: 97.63); or instead `theoretical_capacity`.
    theoretical_capacity
        Of the active material, for all `most` lithium [Ah/g] (LiNiO2: 0.2745).
    start
        x at the first record.
    most
        x of the full formula.
    electrode
        ``"positive"`` or ``"negative"``.

    Raises
    ------
    ValueError
        Mass and one of molar mass and theoretical capacity are needed, all above 0.

    Examples
    --------
    >>> lno = Lithium(mass=6.838e-3, molar_mass=97.63)
    >>> round(1000 * lno.charge_of_one, 3), lno.content(np.array([0.0, 1.614e-3])).round(3).tolist()
    (1.877, [1.0, 0.14])
    """

    mass: float
    molar_mass: float | None = None
    theoretical_capacity: float | None = None
    start: float = 1.0
    most: float = 1.0
    electrode: str = "positive"

    TOLERANCE: ClassVar[float] = 0.02

    def __post_init__(self) -> None:
        choose("electrode", self.electrode, ["positive", "negative"])
        if (self.molar_mass is None) == (self.theoretical_capacity is None):
            raise ValueError("align.Lithium needs molar_mass= [g/mol] or theoretical_capacity= [Ah/g], one of them")
        for name in ("mass", "molar_mass", "theoretical_capacity", "most"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"align.Lithium: {name} must be a number above 0, got {value!r}")
        if not (np.isfinite(self.start) and self.start >= 0):
            raise ValueError(f"align.Lithium: start must be at least 0, got {self.start!r}")
        if self.theoretical_capacity is not None and self.theoretical_capacity > MOST_PER_GRAM:
            raise ValueError(
                f"align.Lithium: theoretical_capacity is in Ah/g, got {self.theoretical_capacity:g}, more than lithium "
                "itself has (3.86); divide mAh/g by 1000"
            )

    @property
    def charge_of_one(self) -> float:
        """Ah for one lithium per formula."""
        if self.molar_mass is not None:
            return self.mass / self.molar_mass * FARADAY / 3600
        return self.mass * float(self.theoretical_capacity or 0.0) / self.most

    def content(self, charge: np.ndarray) -> np.ndarray:
        """Return x after a net charge [Ah] since the first record."""
        sign = -1 if self.electrode == "positive" else 1
        return self.start + sign * np.asarray(charge, dtype=float) / self.charge_of_one
