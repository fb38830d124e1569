"""Suggestions and what people have said of them: new, accepted, refused; and the basket of evidence of one person."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batlab.failure import Assessment, Evidence, Link, Mark, Store, assess, knowledge
from batlab.failure.evidence import checked

BELONGS, IN_BASKET, REFUSES, SUPPORTS = "belongs to", "accepts", "refuses", "supports"


@dataclass(frozen=True)
class Verdict:
    """What was said last of a suggestion: ``"new"``, ``"accepted"`` or ``"refused"``, by whom, when, why."""

    what: str = "new"
    author: str = ""
    when: str = ""
    reason: str = ""
    mark: str = ""


def look_of(item: Evidence) -> tuple[Any, ...]:
    """Return what makes two pieces of evidence the same look at the same data, whatever else was looked at with it."""
    return item.dataset, item.technique, item.quantity, item.is_seen, item.frames, item.cycles


@dataclass
class Suggestions:
    """Evidence of one experiment, from `failure.find` and from the store.

    `items` are what was handed in or found and what the store has besides: seen first, surest first; `kept` are those
    that the store has.
    """

    name: str
    items: list[Evidence] = field(default_factory=list)
    _links: list[Link] = field(default_factory=list)
    _sayings: dict[str, list[Verdict]] = field(default_factory=dict)
    kept: dict[str, Evidence] = field(default_factory=dict)

    @property
    def experiment(self) -> str:
        """The experiment as links name it."""
        return f"experiment:{self.name}"

    def add(self, evidence: Iterable[Any]) -> None:
        """Take further evidence; the same look as one that is there replaces it, unless somebody has judged that."""
        for item in checked(evidence, "dashboards.FailureAnnotator"):
            same = [n for n, one in enumerate(self.items) if look_of(one) == look_of(item)]
            if not same:
                self.items.append(item)
            elif self.items[same[0]].id not in self.kept:
                self.items[same[0]] = item
        self.items.sort(key=lambda item: (not item.is_seen, -item.confidence, item.observable, item.id))

    def read(self, store: Store | None) -> None:
        """Read from the store what was said, and the evidence of this experiment that is not here."""
        if store is None:
            return
        self._links = store.links()
        self._sayings = said_of(self._links, {f"mark:{mark.id}": mark for mark in store.marks()})
        mine = [
            link.source.partition(":")[2]
            for link in self._links
            if link.relation == BELONGS and link.target == self.experiment and link.source.startswith("evidence:")
        ]
        self.kept = {item.id: item for item in store.evidence(*dict.fromkeys(mine))} if mine else {}
        looks = {look_of(item): item for item in self.kept.values()}
        self.items = [looks.get(look_of(item), item) for item in self.items]
        shown = {item.id for item in self.items}
        self.add(item for item in self.kept.values() if item.id not in shown)

    def item(self, known: str) -> Evidence:
        """Return a piece by its identity."""
        return next(item for item in self.items if item.id == known)

    def number(self, item: Evidence) -> int:
        """Return the number under which a piece is listed and drawn, from 1."""
        return self.items.index(item) + 1

    def sayings(self, item: Evidence) -> list[Verdict]:
        """Return what was said of a suggestion, oldest first."""
        return self._sayings.get(f"evidence:{item.id}", [])

    def verdict(self, item: Evidence, author: str) -> Verdict:
        """Return what `author` has said of a suggestion last, else what anybody has."""
        told = self.sayings(item)
        own = [one for one in told if one.author == author]
        return (own or told or [Verdict()])[-1]

    def support(self, mark: str) -> list[Evidence]:
        """Return the evidence on which a mark rests."""
        held = [one.source.partition(":")[2] for one in self._links
                if one.relation == SUPPORTS and one.target == f"mark:{mark}"]  # fmt: skip
        return [item for item in self.items if item.id in held]

    def basket(self, author: str) -> list[Evidence]:
        """Return the evidence that a person has put into his basket."""
        held = {one.target for one in self._links if one.relation == IN_BASKET and one.author == author}
        return [item for item in self.items if f"evidence:{item.id}" in held]

    def keep(self, store: Store, item: Evidence, series: Iterable[Any], author: str) -> None:
        """Keep a piece of evidence in the store, as one of this experiment."""
        if item.id in self.kept:
            return
        store.experiment(self.name, *series, author=author)
        known = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{author} {item.id} {self.experiment}"))
        store.link(item, BELONGS, self.experiment, author=author, link_id=known)

    def put(self, store: Store, items: Iterable[Evidence], series: Iterable[Any], author: str) -> None:
        """Put evidence into a person's basket."""
        held = self.basket(author)
        for item in items:
            if item not in held:
                self.keep(store, item, series, author)
                store.link(None, IN_BASKET, item, text="basket", author=author)

    def take_out(self, store: Store, item: Evidence, author: str) -> None:
        """Take a piece of evidence out of a person's basket; that it was in there stays in the store."""
        for link in self._links:
            if link.relation == IN_BASKET and link.author == author and link.target == f"evidence:{item.id}":
                store.retire_link(link.id, author=author)

    def weigh(self, materials: Any = None) -> Assessment | None:
        """Return how mechanisms rank by all evidence that is here; None where there is none."""
        return assess(self.items, materials=materials) if self.items else None


def said_of(links: Iterable[Link], marks: Mapping[str, Mark]) -> dict[str, list[Verdict]]:
    """Return by evidence what was said of it: refusals, and the marks that rest on it and were not withdrawn."""
    told: dict[str, list[Verdict]] = {}
    for link in links:
        if link.relation == REFUSES:
            told.setdefault(link.target, []).append(Verdict("refused", link.author, link.when, link.text))
        elif link.relation == SUPPORTS and link.target in marks:
            mark = link.target.partition(":")[2]
            told.setdefault(link.source, []).append(Verdict("accepted", link.author, link.when, mark=mark))
    return told


def explains(item: Evidence, ranking: Iterable[str] = ()) -> list[str]:
    """Return the mechanisms that show what evidence has seen, the likeliest first where a ranking says so."""
    table = knowledge()
    seen = item.observable, item.direction
    names = [name for name, one in table.mechanisms.items() if any(sign.key == seen for sign in one.shows)]
    order = {name: place for place, name in enumerate(ranking)}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def size_words(item: Evidence) -> str:
    """Return the effect with its σ and unit.

    >>> size_words(Evidence("xas", "edge_charged", "down", -0.5, 0.02, "eV"))
    '-0.5 ± 0.02 eV'
    """
    if item.effect != item.effect:
        return "no size"
    return f"{item.effect:.3g} ± {item.effect_sigma:.2g}{'' if item.units == '1' else f' {item.units}'}"


def where_words(item: Evidence) -> str:
    """Return cycles or frames of evidence as words, nothing where it says neither."""
    for name in ("cycles", "frames"):
        span = getattr(item, name)
        if span is not None:
            return f"{name} {span[0]:g}–{span[1]:g}"
    return ""
