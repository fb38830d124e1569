"""What the component dashboard shows, as plain numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from traitlets import CFloat, CInt, Enum, HasTraits, List, TraitError, Tuple, observe, validate

from batlab.decompose.constraints import SIDES
from batlab.decompose.mcr_start import INITS
from batlab.figures.components import AGAINST

MOST = 8  # components: as many colours can be told apart


class ComponentState(HasTraits):
    """The state of a `ComponentExplorer`.

    Attributes
    ----------
    frame
        The cursor, as the coordinate ``frame`` has it; a number between two frames goes to the nearest.
    n_components
        1 to 8.
    init
        ``"pca"``, ``"simplisma"`` or ``"efa"``, see `decompose.mcr_als`.
    non_negative
        ``"concentration"``, ``"spectra"``, both or none.
    closure
        Sum of the concentrations of every frame; None where they are free.
    unimodal
        Components whose concentration rises to one peak and falls.
    frozen
        Components whose spectrum stays what it was when they were put here.
    against
        What concentrations and voltage are drawn over, one of `choices`.
    region
        First frame, last frame, low and high end along the axis of what is selected, or None.
    """

    frame = CInt(0)
    n_components = CInt(2)
    init = Enum(INITS, "pca")
    non_negative = List(Enum(SIDES))
    closure = CFloat(None, allow_none=True)
    unimodal = List(CInt())
    frozen = List(CInt())
    against = Enum(AGAINST, "frame")
    region = Tuple(CInt(), CInt(), CFloat(), CFloat(), default_value=None, allow_none=True)

    def __init__(self, numbers: np.ndarray, choices: list[str], **given: Any) -> None:
        self.numbers = np.asarray(numbers)
        self.choices = choices
        super().__init__(**{"non_negative": list(SIDES), **given})

    @validate("frame")
    def _to_a_frame(self, proposal: Any) -> int:
        return int(self.numbers[np.argmin(np.abs(self.numbers - proposal["value"]))])

    @validate("n_components")
    def _few(self, proposal: Any) -> int:
        if not 1 <= proposal["value"] <= MOST:
            raise TraitError(f"n_components must be a whole number from 1 to {MOST}, got {proposal['value']}")
        return proposal["value"]

    @validate("closure")
    def _positive(self, proposal: Any) -> float | None:
        if proposal["value"] is not None and not 0 < proposal["value"] < math.inf:
            raise TraitError(f"closure must be a positive sum, or None, got {proposal['value']}")
        return proposal["value"]

    @validate("unimodal", "frozen")
    def _there(self, proposal: Any) -> list[int]:
        strange = [one for one in proposal["value"] if not 0 <= one < self.n_components]
        if strange:
            raise TraitError(
                f"{proposal['trait'].name} must be components from 0 to {self.n_components - 1}, got {strange}"
            )
        return list(dict.fromkeys(proposal["value"]))

    @validate("against")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in self.choices:
            raise TraitError(f"against must be one of {', '.join(self.choices)}, got {proposal['value']!r}")
        return proposal["value"]

    @observe("n_components")
    def _drop(self, _change: Any) -> None:
        """Forget what was said of components that are gone."""
        for name in ("unimodal", "frozen"):
            kept = [one for one in getattr(self, name) if one < self.n_components]
            if kept != getattr(self, name):
                setattr(self, name, kept)

    def step(self, by: int) -> None:
        """Move the cursor by so many frames, to the end at most."""
        place = int(np.searchsorted(self.numbers, self.frame)) + by
        self.frame = int(self.numbers[min(max(place, 0), self.numbers.size - 1)])
