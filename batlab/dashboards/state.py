"""What a dashboard shows, as plain numbers: set them, from a widget or from Python, and the screen follows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from traitlets import CFloat, CInt, Enum, HasTraits, List, TraitError, Tuple, Unicode, validate

from batlab.figures.scale import SCALES


class State(HasTraits):
    """The state of a `CycleExplorer`.

    Attributes
    ----------
    frame
        The cursor, as the coordinate ``frame`` has it; a number between two frames goes to the nearest.
    scale
        ``"linear"``, ``"sqrt"`` or ``"log"``.
    limits
        Intensities of the first and last colour, or None for limits from the data.
    reference
        The frame subtracted from all, or None.
    frames, axis_range
        What of the map is visible.
    region
        First frame, last frame, low and high end along the axis of what is selected, or None.
    panels
        Labels of the quantities beside the map.
    """

    frame = CInt(0)
    scale = Enum(SCALES, "sqrt")
    limits = Tuple(CFloat(), CFloat(), default_value=None, allow_none=True)
    reference = CInt(None, allow_none=True)
    frames = Tuple(CFloat(), CFloat())
    axis_range = Tuple(CFloat(), CFloat())
    region = Tuple(CInt(), CInt(), CFloat(), CFloat(), default_value=None, allow_none=True)
    panels = List(Unicode())

    def __init__(self, numbers: np.ndarray, choices: list[str], **given: Any) -> None:
        self.numbers = np.asarray(numbers)
        self.choices = choices
        super().__init__(**given)

    @validate("frame", "reference")
    def _to_a_frame(self, proposal: Any) -> int | None:
        if proposal["value"] is None:
            return None
        return int(self.numbers[np.argmin(np.abs(self.numbers - proposal["value"]))])

    @validate("limits", "frames", "axis_range")
    def _increasing(self, proposal: Any) -> tuple[float, float] | None:
        pair = proposal["value"]
        if pair is not None and not (all(map(math.isfinite, pair)) and pair[0] < pair[1]):
            raise TraitError(f"{proposal['trait'].name} must be two finite increasing numbers, got {pair}")
        return pair

    @validate("panels")
    def _known(self, proposal: Any) -> list[str]:
        unknown = [label for label in proposal["value"] if label not in self.choices]
        if unknown:
            raise TraitError(f"panels must be among {self.choices}, got {unknown}")
        return proposal["value"]

    def step(self, by: int) -> None:
        """Move the cursor by so many frames, to the end at most."""
        place = int(np.searchsorted(self.numbers, self.frame)) + by
        self.frame = int(self.numbers[min(max(place, 0), self.numbers.size - 1)])
