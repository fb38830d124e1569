"""Evidence: one thing that was looked for in the data, whether it was seen or not, and how well it could have been."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from batlab.errors import choose, refuse_unknown

DIRECTIONS = ("up", "down", "appears", "none")
COURSE = ("onset", "onset_range", "onset_confidence", "per_cycle", "per_cycle_sigma")
Span = tuple[float, float]


@dataclass(frozen=True, repr=False)
class Evidence:
    """One look at the data.

    Attributes
    ----------
    technique, quantity
        ``"xrd"`` and what was looked at, by its name in the table of knowledge, such as ``"line_breadth"``.
    direction
        ``"up"``, ``"down"`` or ``"appears"`` where something was seen; ``"none"`` where it was looked for and not seen.
    effect, effect_sigma, units
        Its size and 1 σ, all doubts that the test allows for included. NaN where a test gives no size.
    limit
        Smallest size that this look would have told, in the same units: what "none" is worth.
    confidence
        1 - probability that noise makes any of the looks made together say as much; 0 to 1.
    test
        How it was judged, in words.
    frames, cycles
        First and last frame (label), first and last cycle, both included; None where that says nothing.
    onset, onset_range, onset_confidence
        From which cycle on it is seen, its limits, and how sure it is that it was not there before; None where its
        course tells no onset: too few visits, or a shift from the beginning on.
    per_cycle, per_cycle_sigma
        `effect` over the cycles between the first look and the last, the state of charge being the same: the part that
        does not come back, per cycle. None without cycles.
    dataset, source, dose
        Identity of the measurement (``schema.identity``), its file, and what is stated of its X-ray dose.
    """

    technique: str
    quantity: str
    direction: str
    effect: float
    effect_sigma: float
    units: str
    limit: float = math.nan
    confidence: float = 0.0
    test: str = ""
    frames: Span | None = None
    cycles: Span | None = None
    dataset: str = ""
    source: str = ""
    dose: str = ""
    onset: float | None = None
    onset_range: Span | None = None
    onset_confidence: float | None = None
    per_cycle: float | None = None
    per_cycle_sigma: float | None = None

    def __post_init__(self) -> None:
        choose("direction", self.direction, DIRECTIONS)
        for name in ("technique", "quantity", "units"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} of evidence must be text, got {getattr(self, name)!r}")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence must be a number from 0 to 1, got {self.confidence!r}")
        if self.effect_sigma < 0 or self.limit < 0:
            raise ValueError(f"effect_sigma and limit must be at least 0, got {self.effect_sigma!r}, {self.limit!r}")
        for name in ("frames", "cycles", "onset_range"):
            span = getattr(self, name)
            if span is not None:
                if len(span) != 2 or not span[0] <= span[1]:
                    raise ValueError(f"{name} must be (first, last) or None, got {span!r}")
                object.__setattr__(self, name, (_plain(span[0]), _plain(span[1])))

    @property
    def id(self) -> str:
        """32 hexadecimal digits of all that it says: the same look at the same data has the same one."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()[:32]

    @property
    def observable(self) -> str:
        """``"technique.quantity"``."""
        return f"{self.technique}.{self.quantity}"

    @property
    def is_seen(self) -> bool:
        """Whether it was seen."""
        return self.direction != "none"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON holds (NaN as None), the `id` among them.

        >>> look = Evidence("xas", "edge_step", "none", 0.01, 0.02, "1", limit=0.06)
        >>> Evidence.from_dict(look.as_dict()) == look, look.as_dict()["id"] == look.id
        (True, True)
        """
        return {"id": self.id, **self._content()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evidence:
        """Return the evidence that `as_dict` wrote.

        Raises
        ------
        TypeError, ValueError
            Keys that evidence does not have or that are missing, values out of range, or an ``id`` that is not the one
            of the content: it was changed.
        """
        known = [field.name for field in fields(cls)]
        refuse_unknown("failure.Evidence.from_dict", values, ["id", *known])
        given = {name: value for name, value in values.items() if name != "id"}
        for name in ("effect", "effect_sigma", "limit"):
            given[name] = math.nan if given.get(name) is None else float(given[name])
        for name in ("frames", "cycles", "onset_range"):
            given[name] = None if given.get(name) is None else tuple(given[name])
        made = cls(**given)
        if values.get("id", made.id) != made.id:
            raise ValueError(
                f"evidence {values['id']!r} ({made.observable}) does not say what it said when it got this id; "
                "take it from its source again"
            )
        return made

    def __repr__(self) -> str:
        return f"Evidence({self}, id {self.id[:8]})"

    def __str__(self) -> str:
        what, unit = f"{self.observable}: ", "" if self.units == "1" else f" {self.units}"
        if self.is_seen:
            size = "" if math.isnan(self.effect) else f" by {self.effect:.3g} ± {self.effect_sigma:.2g}{unit}"
            what += f"{self.direction}{size}, confidence {self.confidence:.4g}"
        else:
            got = "" if math.isnan(self.effect) else f" ({self.effect:.2g} ± {self.effect_sigma:.2g})"
            what += f"not seen{got}; {self.limit:.3g}{unit} would have been"
        for name in ("cycles", "frames"):
            span = getattr(self, name)
            if span is not None:
                return f"{what}; {name} {span[0]:g} to {span[1]:g}{self._course(unit)}"
        return what

    def _course(self, unit: str) -> str:
        """Return onset and shift per cycle in words."""
        told = ""
        if self.onset is not None and self.onset_range is not None:
            told += f"; from {self.onset:.4g} on ({self.onset_range[0]:.4g} to {self.onset_range[1]:.4g})"
        if self.is_seen and self.per_cycle is not None:
            told += f"; {self.per_cycle:.2g} ± {self.per_cycle_sigma:.1g}{unit} a cycle"
        return told

    def _content(self) -> dict[str, Any]:
        told = asdict(self)
        for name in ("effect", "effect_sigma", "limit", "confidence"):
            value = float(told[name])
            told[name] = value if math.isfinite(value) else None
        for name in ("frames", "cycles", "onset_range"):
            told[name] = None if told[name] is None else list(told[name])
        # What is not told is left out: evidence kept before there were these fields has the id that it had.
        return {name: value for name, value in told.items() if name not in COURSE or value is not None}


def _plain(value: Any) -> float:
    number = float(value)
    return int(number) if number.is_integer() else number


def checked(evidence: Iterable[Any], function: str) -> list[Evidence]:
    """Return `evidence` as a list, dicts of `Evidence.as_dict` read; refuse anything else."""
    if isinstance(evidence, Evidence | Mapping | str):
        raise TypeError(f"{function} needs a list of Evidence, got one {type(evidence).__name__}; put it into a list")
    read = []
    for number, item in enumerate(evidence):
        if isinstance(item, Mapping):
            item = Evidence.from_dict(item)
        if not isinstance(item, Evidence):
            raise TypeError(
                f"{function} needs a list of Evidence (from failure.find), got {type(item).__name__} as item {number}"
            )
        read.append(item)
    return read
