"""One row of a worksheet and its three ratings."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral
from typing import Any

from batlab.errors import choose, refuse_unknown
from batlab.failure._mark import CATEGORIES, LONGEST_TEXT, plain_text

RATINGS = ("severity", "occurrence", "detection")
WORDS = (
    *("component", "mode", "mechanism", "category", "mechanism_type", "cause", "local_effect", "system_effect"),
    *("action", "responsible", "note"),
)
TYPES = ("", "wear-out", "overstress")
BASES = ("evidence", "table", "judgement")  # what a rating rests on: data, tables of knowledge and scales, a person


@dataclass(frozen=True)
class Reason:
    """One term of a computed rating: what was looked at, the number it has, and what that means."""

    what: str
    value: float
    meaning: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.3g}{f' ({self.meaning})' if self.meaning else ''}"


@dataclass(frozen=True)
class Rating:
    """A number from 1 to 10, where it comes from, and who changed it.

    Attributes
    ----------
    value
        What counts; None where nobody has rated yet.
    computed, terms
        What batlab computed, and the terms that it did so from; `computed` stays when a person sets another `value`.
    evidence
        Ids of the evidence that the value rests on; without any it comes from tables alone, or is a judgement.
    author, created, reason
        Who set the value by hand, when (ISO 8601, UTC) and why; empty where it is the computed one.
    """

    value: int | None = None
    computed: int | None = None
    terms: tuple[Reason, ...] = ()
    evidence: tuple[str, ...] = ()
    author: str = ""
    created: str = ""
    reason: str = ""

    @property
    def basis(self) -> str:
        """``"evidence"``; without any ``"table"`` where batlab took it from its tables alone; else ``"judgement"``."""
        if self.evidence:
            return BASES[0]
        return BASES[1] if self.terms and not self.author else BASES[2]

    @property
    def is_changed(self) -> bool:
        """Whether a person has replaced what was computed."""
        return self.computed is not None and self.value != self.computed

    def __str__(self) -> str:
        if self.value is None:
            return "not rated"
        told = f"{self.value} ({self.basis}{f', computed {self.computed}' if self.is_changed else ''})"
        return f"{told} by {self.author}: {self.reason}" if self.author else told

    def explain(self) -> str:
        """Return the value and, a line each, the terms of the computed one.

        >>> print(Rating(8, 8, (Reason("plating", 8, "stops working, leads to worse"),), ("3f",)).explain())
        8 (evidence)
          plating: 8 (stops working, leads to worse)
        """
        return "\n".join([str(self), *(f"  {term}" for term in self.terms)])


@dataclass(frozen=True, repr=False)
class Row:
    """One line of the worksheet: what may fail, how, why, with what effect, and how bad that is.

    Attributes
    ----------
    id
        UUID; marks, evidence and comments are linked to it.
    component, mode, mechanism, category, mechanism_type, cause
        What fails, how that shows, by which process (``failure.CATEGORIES`` or empty; ``"wear-out"``, ``"overstress"``
        or empty), and why.
    local_effect, system_effect
        On the component, and on the cell.
    severity, occurrence, detection
        `Rating`, 1 to 10 each.
    action, responsible, note
        What is to be done, by whom; anything else.
    evidence
        Ids of everything that speaks for the row, rated or not.
    """

    id: str
    component: str
    mode: str
    mechanism: str
    category: str = ""
    mechanism_type: str = ""
    cause: str = ""
    local_effect: str = ""
    system_effect: str = ""
    severity: Rating = field(default_factory=Rating)
    occurrence: Rating = field(default_factory=Rating)
    detection: Rating = field(default_factory=Rating)
    action: str = ""
    responsible: str = ""
    note: str = ""
    evidence: tuple[str, ...] = ()

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name[0].upper()} {getattr(self, name).value}" for name in RATINGS)
        return f"Row({self.component}: {self.mechanism}; {numbers}, RPN {self.rpn}, {self.basis}, id {self.id[:8]})"

    @property
    def rpn(self) -> int | None:
        """Risk priority number, severity · occurrence · detection, 1 to 1000; None while one of them is missing."""
        values = [getattr(self, name).value for name in RATINGS]
        return None if None in values else values[0] * values[1] * values[2]

    @property
    def basis(self) -> str:
        """``"evidence"`` if the row or one of its ratings points at some, else ``"judgement"``."""
        return BASES[0] if self.evidence or any(getattr(self, name).evidence for name in RATINGS) else BASES[2]

    @property
    def all_evidence(self) -> tuple[str, ...]:
        """Ids of the evidence of the row and of its ratings, each once."""
        ids = [*self.evidence, *(known for name in RATINGS for known in getattr(self, name).evidence)]
        return tuple(dict.fromkeys(ids))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON holds."""
        told = asdict(self) | {"evidence": list(self.evidence)}
        for name in RATINGS:
            rating = told[name]
            rating |= {"terms": [*map(dict, rating["terms"])], "evidence": [*rating["evidence"]]}
        return told

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """Return the row that `as_dict` wrote, checked."""
        refuse_unknown("failure.Row.from_dict", values, [one.name for one in fields(cls)])
        told = dict(values)
        for name in RATINGS:
            told[name] = _rating(name, told.get(name, {}))
        told["evidence"] = _ids(told.get("evidence", ()))
        known = plain_text("id of a row", told.pop("id", None), required=True)
        return checked(cls(known, **{name: told.pop(name, "") for name in WORDS[:3]}, **told))


def new_row(values: Mapping[str, Any]) -> Row:
    """Return a row made by hand: texts by name, and ratings as whole numbers."""
    refuse_unknown("a row of a worksheet", values, [*WORDS, *RATINGS, "evidence"])
    texts = {name: values.get(name, "") for name in WORDS}
    row = Row(str(uuid.uuid4()), **texts, evidence=_ids(values.get("evidence", ())))
    ratings: dict[str, Any] = {name: Rating(values.get(name), evidence=row.evidence) for name in RATINGS}
    return checked(replace(row, **ratings))


def checked(row: Row) -> Row:
    """Return `row` if every field is what it should be."""
    for name in WORDS:
        plain_text(name, getattr(row, name), longest=LONGEST_TEXT)
    if not (row.component.strip() and row.mechanism.strip()):
        raise ValueError("a row of a worksheet needs a component and a mechanism")
    choose("category", row.category, ("", *CATEGORIES))
    choose("mechanism_type", row.mechanism_type, TYPES)
    for name in RATINGS:
        rating = getattr(row, name)
        for value in (rating.value, rating.computed):
            level(name, value)
        for text in ("author", "created", "reason"):
            plain_text(f"{text} of {name}", getattr(rating, text))
    return row


def level(name: str, value: Any) -> int | None:
    """Return a rating if it is a whole number from 1 to 10 or None."""
    if value is None:
        return None
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else 0
    if not 1 <= number <= 10:
        raise ValueError(f"{name} must be a whole number from 1 to 10, got {value!r}")
    return number


def _rating(name: str, values: Any) -> Rating:
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} must be a table, got {values!r:.80}")
    refuse_unknown(f"the rating {name!r}", values, [one.name for one in fields(Rating)])
    terms = []
    for term in values.get("terms", ()):
        refuse_unknown("a term of a rating", term, ["what", "value", "meaning"])
        terms.append(
            Reason(plain_text("what", term["what"]), float(term["value"]), plain_text("meaning", term["meaning"]))
        )
    return Rating(**{**values, "terms": tuple(terms), "evidence": _ids(values.get("evidence", ()))})


def _ids(evidence: Any) -> tuple[str, ...]:
    """Return the ids of evidence given as ids or as `Evidence`."""
    if isinstance(evidence, str) or not hasattr(evidence, "__iter__"):
        raise TypeError(f"evidence must be a list of Evidence or of ids, got {evidence!r:.80}")
    ids = [one if isinstance(one, str) else one.id for one in evidence]
    return tuple(dict.fromkeys(plain_text("id of evidence", known, required=True) for known in ids))
