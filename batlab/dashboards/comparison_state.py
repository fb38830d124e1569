"""What the comparison of techniques shows, as plain numbers and words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from traitlets import CFloat, CInt, Dict, HasTraits, TraitError, Tuple, Unicode, validate

from batlab.errors import did_you_mean

MOST_LAG = 1e7  # s: four months; more is a wrong date, not a wrong clock


class ComparisonState(HasTraits):
    """The state of a `TechniqueComparison`.

    Attributes
    ----------
    axis
        What the techniques share: ``"time"``, ``"capacity"``, ``"lithium"`` or ``"temperature"``, where it is known.
    frame
        The cursor, as the frames of the leading technique count; a number between two frames goes to the nearest.
    stretch
        Which rise or fall of the axis is shown, from 0; always 0 for time.
    x_range
        The visible part of the shared axis.
    ranges
        Technique -> visible part of its own axis, where it is not whole.
    shows, features
        Technique -> what its panel shows, and which number of it is drawn over the others (``""``: none).
    pair
        The two numbers whose correlation is shown, as ``"technique · number"``.
    lags
        Technique -> seconds added to its clock.
    chosen
        The technique whose lag the keys move.
    region
        Technique, first and last frame, low and high end of its axis (or None) of what is selected, or None.
    """

    axis = Unicode("time")
    frame = CInt(0)
    stretch = CInt(0)
    x_range = Tuple(CFloat(), CFloat())
    ranges = Dict()
    shows = Dict()
    features = Dict()
    pair = Tuple(Unicode(), Unicode())
    lags = Dict()
    chosen = Unicode("")
    region = Tuple(Unicode(), CInt(), CInt(), CFloat(allow_none=True), CFloat(allow_none=True), default_value=None,
                   allow_none=True)  # fmt: skip

    def __init__(self, numbers: np.ndarray, options: Mapping[str, Any], n_stretches: int = 1, **given: Any) -> None:
        self.numbers = np.asarray(numbers)
        self.options = options
        self.n_stretches = n_stretches
        super().__init__(**given)

    @validate("frame")
    def _to_a_frame(self, proposal: Any) -> int:
        return int(self.numbers[np.argmin(np.abs(self.numbers - proposal["value"]))])

    @validate("stretch")
    def _to_a_stretch(self, proposal: Any) -> int:
        return min(max(int(proposal["value"]), 0), self.n_stretches - 1)

    @validate("axis", "chosen")
    def _known(self, proposal: Any) -> str:
        name = proposal["trait"].name
        return _one_of(name, proposal["value"], self.options[name])

    @validate("shows", "features")
    def _known_of_each(self, proposal: Any) -> dict[str, str]:
        name = proposal["trait"].name
        for technique, label in proposal["value"].items():
            _one_of("technique", technique, self.options[name])
            _one_of(f"{name}[{technique!r}]", label, self.options[name][technique])
        return proposal["value"]

    @validate("pair")
    def _known_pair(self, proposal: Any) -> tuple[str, str]:
        for label in proposal["value"]:
            _one_of("pair", label, self.options["pair"])
        return proposal["value"]

    @validate("x_range")
    def _increasing(self, proposal: Any) -> tuple[float, float]:
        return _pair("x_range", proposal["value"])

    @validate("ranges")
    def _each_increasing(self, proposal: Any) -> dict[str, tuple[float, float]]:
        return {name: _pair(f"ranges[{name!r}]", ends) for name, ends in proposal["value"].items()}

    @validate("lags")
    def _finite(self, proposal: Any) -> dict[str, float]:
        lags = {}
        for name, lag in proposal["value"].items():
            _one_of("technique", name, self.options["lags"])
            if not (isinstance(lag, (int, float)) and math.isfinite(lag) and abs(lag) <= MOST_LAG):
                raise TraitError(f"lags[{name!r}] must be seconds, at most {MOST_LAG:g} either way, got {lag!r}")
            lags[name] = float(lag)
        return lags

    def step(self, by: int) -> None:
        """Move the cursor by so many frames, to the end at most."""
        place = int(np.searchsorted(self.numbers, self.frame)) + by
        self.frame = int(self.numbers[min(max(place, 0), self.numbers.size - 1)])


def _one_of(name: str, value: Any, known: Any) -> Any:
    if value not in known:
        listed = ", ".join(map(repr, known))
        raise TraitError(f"{name} must be one of {listed}, got {value!r}{did_you_mean(value, known)}")
    return value


def _pair(name: str, ends: Any) -> tuple[float, float]:
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise TraitError(f"{name} must be two finite increasing numbers, got {ends}")
    return float(low), float(high)
