"""What the absorption dashboard shows, as plain numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from traitlets import CFloat, CInt, Enum, HasTraits, TraitError, Tuple, Unicode, validate

METHODS = ("derivative", "half_step", "integral")
CURVES = ("mu", "mu_flat", "derivative")  # what the map can show
EDGE = {"e0", "method", "pre", "post", "nnorm"}
TRANSFORM = {"rbkg", "kweight", "kmin", "kmax"}
SETTINGS = EDGE | TRANSFORM
MOST_NNORM, MOST_KWEIGHT = 5, 3


class XANESState(HasTraits):
    """The state of a `XANESWorkbench`.

    Attributes
    ----------
    frame
        The cursor, as the coordinate ``frame`` has it; a number between two frames goes to the nearest.
    e0, method
        Edge energy [eV], one for all, or None: each frame's own, found by ``method``.
    pre, post, nnorm
        Windows before and after the edge [eV, relative to E0] and the degree of the polynomial, as in `xas.normalize`.
    rbkg, kweight, kmin, kmax
        As in `xas.remove_background` [angstrom] and `xas.fourier_transform` [1/angstrom]; `kmax` None: to the end.
    curve
        What the map shows: ``"mu"``, ``"mu_flat"`` or ``"derivative"``; the last two once the series has been computed.
    reference
        The frame subtracted from all in the map, or None.
    frames, axis_range
        What of the map is visible; the energies [eV] are those of the normalised spectrum and its derivative too.
    against
        What the edge energies are drawn against: ``"frame"``, ``"time"`` or the name of a quantity.
    region
        First frame, last frame, low and high energy of what is selected, or None.
    """

    frame = CInt(0)
    e0 = CFloat(None, allow_none=True)
    method = Enum(METHODS, "derivative")
    pre = Tuple(CFloat(), CFloat(), default_value=(-150.0, -30.0))
    post = Tuple(CFloat(), CFloat(), default_value=(50.0, 300.0))
    nnorm = CInt(2)
    rbkg = CFloat(1.0)
    kweight = CInt(2)
    kmin = CFloat(3.0)
    kmax = CFloat(None, allow_none=True)
    curve = Enum(CURVES, "mu")
    reference = CInt(None, allow_none=True)
    frames = Tuple(CFloat(), CFloat())
    axis_range = Tuple(CFloat(), CFloat())
    against = Unicode("frame")
    region = Tuple(CInt(), CInt(), CFloat(), CFloat(), default_value=None, allow_none=True)

    def __init__(self, numbers: np.ndarray, choices: list[str], **given: Any) -> None:
        self.numbers, self.choices = np.asarray(numbers), choices
        super().__init__(**given)

    @validate("frame", "reference")
    def _to_a_frame(self, proposal: Any) -> int | None:
        if proposal["value"] is None:
            return None
        return int(self.numbers[np.argmin(np.abs(self.numbers - proposal["value"]))])

    @validate("pre", "post", "frames", "axis_range")
    def _increasing(self, proposal: Any) -> tuple[float, float]:
        pair = proposal["value"]
        if not (all(map(math.isfinite, pair)) and pair[0] < pair[1]):
            raise TraitError(f"{proposal['trait'].name} must be two finite increasing numbers, got {pair}")
        return pair

    @validate("e0", "rbkg", "kmin", "kmax")
    def _positive(self, proposal: Any) -> float | None:
        value, name = proposal["value"], proposal["trait"].name
        if value is not None and not (math.isfinite(value) and (value > 0 or (name == "kmin" and value == 0))):
            raise TraitError(f"{name} must be a positive finite number, got {value}")
        return value

    @validate("nnorm", "kweight")
    def _few(self, proposal: Any) -> int:
        value, name = proposal["value"], proposal["trait"].name
        most = MOST_NNORM if name == "nnorm" else MOST_KWEIGHT
        if not 0 <= value <= most:
            raise TraitError(f"{name} must be a whole number from 0 to {most}, got {value}")
        return value

    @validate("against")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in self.choices:
            raise TraitError(f"against must be one of {self.choices}, got {proposal['value']!r}")
        return proposal["value"]

    def step(self, by: int) -> None:
        """Move the cursor by so many frames, to the end at most."""
        place = int(np.searchsorted(self.numbers, self.frame)) + by
        self.frame = int(self.numbers[min(max(place, 0), self.numbers.size - 1)])
