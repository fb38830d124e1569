"""What the small-angle dashboard shows, as plain numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from traitlets import Bool, CFloat, CInt, Enum, HasTraits, TraitError, Tuple, Unicode, validate

SHAPES = ("globule", "rod", "sheet")
METHODS = ("smooth", "entropy")
CURVES = ("intensity", "kratky", "porod", "sizes")  # what the map can show
# What can be followed along the series: name -> the step that finds it.
TRENDS = {
    "rg": "guinier", "i0": "guinier", "porod_constant": "porod", "exponent": "porod", "surface": "porod",
    "invariant": "invariant", "volume_fraction": "invariant", "mean_diameter": "sizes",
}  # fmt: skip
# Step -> the traits that it hangs on.
SETTINGS = {
    "guinier": {"guinier", "shape"},
    "porod": {"porod", "exponent", "background", "contrast"},
    "invariant": {"guinier", "porod", "background", "contrast"},
    "sizes": {"sizes", "diameters", "method", "background", "contrast"},
}


class SAXSState(HasTraits):
    """The state of a `SAXSWorkbench`.

    Attributes
    ----------
    frame
        The cursor, as the coordinate ``frame`` has it; a number between two frames goes to the nearest.
    guinier, shape
        Window [1/angstrom] of all frames, or None: each frame's own, found by `saxs.guinier`; and the shape.
    porod, exponent
        Window [1/angstrom] and power p of the tail, or None: p is fitted.
    sizes, diameters, method
        Window [1/angstrom] of the size distribution, or None: all points; its ends [angstrom]; how it is found.
    background
        Whether a constant is fitted with the tail and with the sizes.
    contrast
        Difference of the scattering length densities [1e-6/angstrom²] or None; it needs intensities in 1/cm.
    curve
        What the map shows: ``"intensity"``, ``"kratky"``, ``"porod"``; ``"sizes"`` once the series has been computed.
    reference
        The frame subtracted from all in the map, or None.
    frames, axis_range, size_range
        What of the map is visible: frames, q [1/angstrom], diameters [angstrom].
    trend, against
        What is followed along the series (one of ``TRENDS``), and what it is drawn against.
    region
        First frame, last frame, low and high q of what is selected, or None.
    """

    frame = CInt(0)
    guinier = Tuple(CFloat(), CFloat(), default_value=None, allow_none=True)
    shape = Enum(SHAPES, "globule")
    porod = Tuple(CFloat(), CFloat(), default_value=(0.1, 0.3))
    exponent = CFloat(4.0, allow_none=True)
    sizes = Tuple(CFloat(), CFloat(), default_value=None, allow_none=True)
    diameters = Tuple(CFloat(), CFloat(), default_value=(10.0, 1000.0))
    method = Enum(METHODS, "smooth")
    background = Bool(True)
    contrast = CFloat(None, allow_none=True)
    curve = Enum(CURVES, "intensity")
    reference = CInt(None, allow_none=True)
    frames = Tuple(CFloat(), CFloat())
    axis_range = Tuple(CFloat(), CFloat(), default_value=(0.01, 1.0))
    size_range = Tuple(CFloat(), CFloat(), default_value=(10.0, 1000.0))
    trend = Enum(tuple(TRENDS), "rg")
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

    @validate("frames")
    def _increasing(self, proposal: Any) -> tuple[float, float]:
        pair = proposal["value"]
        if not (all(map(math.isfinite, pair)) and pair[0] < pair[1]):
            raise TraitError(f"{proposal['trait'].name} must be two finite increasing numbers, got {pair}")
        return pair

    @validate("guinier", "porod", "sizes", "diameters", "axis_range", "size_range")
    def _positive(self, proposal: Any) -> tuple[float, float] | None:
        pair, name = proposal["value"], proposal["trait"].name
        if pair is not None and not (all(map(math.isfinite, pair)) and 0 < pair[0] < pair[1]):
            told = "angstrom" if name in ("diameters", "size_range") else "1/angstrom"
            raise TraitError(f"{name} must be two increasing numbers above 0 in {told}, got {pair}")
        return pair

    @validate("exponent", "contrast")
    def _usable(self, proposal: Any) -> float | None:
        value, name = proposal["value"], proposal["trait"].name
        is_fine = value is None or (0 < value <= 8 if name == "exponent" else math.isfinite(value) and value != 0)
        if not is_fine:
            told = "between 0 and 8" if name == "exponent" else "a finite number that is not 0, or None"
            raise TraitError(f"{name} must be {told}, got {value}")
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
