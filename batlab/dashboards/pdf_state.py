"""What the total-scattering dashboard shows, as plain numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from traitlets import CFloat, CInt, Enum, HasTraits, TraitError, Tuple, Unicode, validate

from batlab.figures.total_scattering import CURVES
from batlab.pdf.operator import WINDOWS
from batlab.pdf.tuning import KNOBS, MERITS

KNOB_TRAITS = {"qmin", "qmax", "qmaxinst", "bgscale", "rpoly", "window"}


class PDFState(HasTraits):
    """The state of a `PDFWorkbench`.

    Attributes
    ----------
    frame
        The cursor, as the coordinate ``frame`` has it; a number between two frames goes to the nearest.
    qmin, qmax, qmaxinst, bgscale, rpoly, window
        As in `pdf.g_of_r` [1/angstrom; 1; angstrom].
    curve
        What the map shows: ``"intensity"``, and once the series has been computed ``"f_q"`` or ``"g_r"``.
    reference
        The frame subtracted from all in the map, or None.
    frames, q_range, r_range
        What is visible of the frames, of I(Q) and F(Q) [1/angstrom], and of G(r) [angstrom].
    ruler
        Where a bond is measured [angstrom].
    bond
        What the ruler measures: a name like ``"Ni-O"``, or ``""``; with a name come coordination numbers.
    against
        What bond lengths are drawn against: ``"frame"``, ``"time"`` or the name of a quantity.
    knob, merit
        What the figure of `pdf.tune` shows.
    region
        First frame, last frame, low and high end of Q or r (whichever the map shows) of what is selected, or None.
    """

    frame = CInt(0)
    qmin = CFloat(0.5)
    qmax = CFloat(20.0)
    qmaxinst = CFloat(25.0)
    bgscale = CFloat(1.0)
    rpoly = CFloat(0.9)
    window = Enum(WINDOWS, None, allow_none=True)
    curve = Enum(tuple(CURVES), "intensity")
    reference = CInt(None, allow_none=True)
    frames = Tuple(CFloat(), CFloat())
    q_range = Tuple(CFloat(), CFloat())
    r_range = Tuple(CFloat(), CFloat())
    ruler = Tuple(CFloat(), CFloat(), default_value=(1.5, 2.5))
    bond = Unicode("")
    against = Unicode("frame")
    knob = Enum(KNOBS, "qmax")
    merit = Enum(tuple(MERITS), "ripple")
    region = Tuple(CInt(), CInt(), CFloat(), CFloat(), default_value=None, allow_none=True)

    def __init__(self, numbers: np.ndarray, choices: list[str], bonds: list[str], **given: Any) -> None:
        self.numbers, self.choices, self.bonds = np.asarray(numbers), choices, bonds
        super().__init__(**given)

    @property
    def axis(self) -> str:
        """The axis of the map."""
        return CURVES[self.curve].axis

    @property
    def axis_range(self) -> tuple[float, float]:
        """What of the map's axis is visible."""
        return self.r_range if self.axis == "r" else self.q_range

    @validate("frame", "reference")
    def _to_a_frame(self, proposal: Any) -> int | None:
        if proposal["value"] is None:
            return None
        return int(self.numbers[np.argmin(np.abs(self.numbers - proposal["value"]))])

    @validate("frames", "q_range", "r_range", "ruler")
    def _increasing(self, proposal: Any) -> tuple[float, float]:
        pair = proposal["value"]
        if not (all(map(math.isfinite, pair)) and pair[0] < pair[1]):
            raise TraitError(f"{proposal['trait'].name} must be two finite increasing numbers, got {pair}")
        return pair

    @validate("qmin", "qmax", "qmaxinst", "rpoly", "bgscale")
    def _positive(self, proposal: Any) -> float:
        value, name = proposal["value"], proposal["trait"].name
        if not (math.isfinite(value) and (value > 0 or (name == "bgscale" and value == 0))):
            raise TraitError(f"{name} must be a positive finite number, got {value}")
        return value

    @validate("against", "bond")
    def _known(self, proposal: Any) -> str:
        value, name = proposal["value"], proposal["trait"].name
        known = self.choices if name == "against" else ["", *self.bonds]
        if value not in known:
            raise TraitError(f"{name} must be one of {known}, got {value!r}")
        return value

    def step(self, by: int) -> None:
        """Move the cursor by so many frames, to the end at most."""
        place = int(np.searchsorted(self.numbers, self.frame)) + by
        self.frame = int(self.numbers[min(max(place, 0), self.numbers.size - 1)])
