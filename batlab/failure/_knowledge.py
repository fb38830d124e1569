"""The table of mechanisms and of what shows them: read from a file, checked, looked up."""

from __future__ import annotations

import hashlib
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from batlab.errors import ReadError, did_you_mean
from batlab.failure._mark import CATEGORIES
from batlab.failure.evidence import DIRECTIONS

SCALES = ("atomic", "crystallite", "particle", "electrode", "cell")
EFFECTS = (
    "capacity fade", "resistance rise", "voltage fade", "power loss", "gas", "plating", "short circuit",
    "thermal runaway",
)  # fmt: skip
BASES = ("literature", "judgement")
OWN = Path(__file__).with_name("knowledge.toml")
NINE_TENTHS = 1.6449  # σ of a Gaussian on either side within which nine tenths of it lie
DOI = re.compile(r"10\.\d{4,9}/\S+")


@dataclass(frozen=True)
class Observable:
    """What a technique can be asked; see the head of ``knowledge.toml`` for the meaning of each field."""

    name: str
    what: str
    units: str
    floor: float
    false_alarm: float
    found: bool
    instead: str
    needs: str
    counted_with: str = ""

    @property
    def technique(self) -> str:
        """The part before the point."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Sign:
    """One observable that shows a mechanism: which way it moves, how surely, and by how much."""

    observable: str
    direction: str
    seen: float
    size: tuple[float, float]
    basis: str

    @property
    def key(self) -> tuple[str, str]:
        """Observable and direction: what can be seen or not."""
        return self.observable, self.direction

    def probability(self, limit: float) -> float:
        """Return the probability of an effect above `limit`, were the mechanism at work; of any for NaN.

        >>> sign = Sign("echem.capacity", "down", 0.9, (0.01, 0.1), "literature")
        >>> round(sign.probability(0.0316227766), 6), sign.probability(float("nan"))
        (0.45, 0.9)
        """
        if math.isnan(limit) or limit <= 0:
            return self.seen
        return self.seen * math.erfc(self._place(limit) / math.sqrt(2)) / 2

    def density(self, effect: float) -> float:
        """Return the probability of an effect of this size, per unit of its logarithm."""
        return self.seen * math.exp(-(self._place(effect) ** 2) / 2) / (math.sqrt(2 * math.pi) * self._spread)

    @property
    def moments(self) -> tuple[float, float]:
        """Mean of the effect, and mean of its square, where it shows."""
        middle, spread = math.sqrt(self.size[0] * self.size[1]), self._spread
        return middle * math.exp(spread**2 / 2), middle**2 * math.exp(2 * spread**2)

    @property
    def _spread(self) -> float:
        return math.log(self.size[1] / self.size[0]) / (2 * NINE_TENTHS)

    def _place(self, effect: float) -> float:
        return (math.log(effect) - math.log(self.size[0] * self.size[1]) / 2) / self._spread


@dataclass(frozen=True)
class Mechanism:
    """One way to fail."""

    name: str
    title: str
    category: str
    scale: str
    hosts: tuple[str, ...]
    prior: float
    causes: tuple[str, ...]
    effects: tuple[str, ...]
    references: tuple[str, ...]
    shows: tuple[Sign, ...]
    decided_by: tuple[str, ...] = ()

    def is_decidable(self, looked: Iterable[str]) -> bool:
        """Return whether one of the observables of its own was looked at, where the table names any."""
        return not self.decided_by or not set(self.decided_by).isdisjoint(looked)


@dataclass(frozen=True, repr=False)
class Knowledge:
    """Everything that is known: `observables` and `mechanisms` by name, the `version`, and the file's `sha256`."""

    observables: Mapping[str, Observable]
    mechanisms: Mapping[str, Mechanism]
    version: str
    sha256: str
    source: str = field(default="")

    def __repr__(self) -> str:
        return (
            f"Knowledge({len(self.mechanisms)} mechanisms, {len(self.observables)} observables, version "
            f"{self.version}, sha256 {self.sha256[:8]})"
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The materials that any mechanism names."""
        return tuple(sorted({host for one in self.mechanisms.values() for host in one.hosts}))

    def possible(self, materials: Iterable[str] | None) -> list[str]:
        """Return the mechanisms that a cell of these materials can have; None: all of them."""
        if materials is None:
            return list(self.mechanisms)
        held = [materials] if isinstance(materials, str) else list(materials)
        for host in held:
            if host not in self.hosts:
                raise ValueError(
                    f"materials must be of {', '.join(self.hosts)}, got {host!r}{did_you_mean(host, self.hosts)}"
                )
        return [name for name, one in self.mechanisms.items() if not one.hosts or set(one.hosts) & set(held)]

    def shown_by(self, observable: str) -> list[str]:
        """Return the mechanisms that the observable shows: what else would explain it.

        >>> knowledge().shown_by("xas.edge_step")
        ['transition_metal_dissolution']
        """
        if observable not in self.observables:
            raise ValueError(f"no observable {observable!r}{did_you_mean(observable, self.observables)}")
        return [n for n, one in self.mechanisms.items() if any(s.observable == observable for s in one.shows)]


def knowledge(path: str | os.PathLike | None = None) -> Knowledge:
    """Return the table of mechanisms, their causes and effects, and of what shows them.

    Parameters
    ----------
    path
        A TOML file of one's own in the form of batlab's ``failure/knowledge.toml``, whose head explains it. By default
        that one. Nothing is merged: what counts is in one file.

    Returns
    -------
    Knowledge
        Checked: every word is known, every number in range, every sign names an observable, every mechanism has a
        reference.

    Raises
    ------
    ReadError
        No such file, no TOML, or an entry that is wrong; the message names file, entry and field.

    Examples
    --------
    >>> table = knowledge()
    >>> table.mechanisms["fatigued_phase"].references
    ('10.1038/s41563-020-0767-8',)
    >>> [sign.observable for sign in table.mechanisms["phase_transition"].shows]
    ['xrd.two_phases']
    """
    return _read(OWN) if path is None else read(Path(path))


@cache
def _read(path: Path) -> Knowledge:
    return read(path)


def read(path: Path) -> Knowledge:
    """Read and check one file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReadError(f"{path} cannot be read as a table of knowledge: {error.strerror}") from error
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReadError(f"{path} is no TOML: {error}") from error
    top = Entry(path, "the file", table)
    top.only("version", "observables", "mechanisms")
    observables = {name: _observable(Entry(path, f"observable {name!r}", body), name)
                   for name, body in top.table("observables").items()}  # fmt: skip
    mechanisms = {name: _mechanism(Entry(path, f"mechanism {name!r}", body), name, observables)
                  for name, body in top.table("mechanisms").items()}  # fmt: skip
    for name, one in observables.items():
        if one.counted_with and (one.counted_with == name or one.counted_with not in observables):
            wrong = f"counted_with must be another observable of this table, got {one.counted_with!r}"
            raise Entry(path, f"observable {name!r}", {}).wrong(wrong)
    digest = hashlib.sha256(content).hexdigest()
    return Knowledge(observables, mechanisms, top.text("version"), digest, path.name if path == OWN else str(path))


class Entry:
    """One table of the file, whose fields are asked for by type; complaints name file, entry and field."""

    def __init__(self, path: Path, name: str, body: Any):
        self.path, self.name, self.body = path, name, body
        if not isinstance(body, dict):
            raise self.wrong(f"must be a table, got {body!r}")

    def wrong(self, why: str) -> ReadError:
        return ReadError(f"{self.path}, {self.name}: {why}")

    def only(self, *known: str, optional: Iterable[str] = ()) -> None:
        every = [*known, *optional]
        for key in self.body:
            if key not in every:
                hint = did_you_mean(key, every) or f"; it has {', '.join(every)}"
                raise self.wrong(f"no field is called {key!r}{hint}")
        for key in known:
            if key not in self.body:
                raise self.wrong(f"the field {key!r} is missing")

    def table(self, key: str) -> dict:
        value = self.body[key]
        if not isinstance(value, dict) or not value:
            raise self.wrong(f"{key} must be a table with at least one entry, got {value!r}")
        return value

    def text(self, key: str) -> str:
        value = self.body[key]
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{key} must be text, got {value!r}")
        return value

    def word(self, key: str, known: Iterable[str]) -> str:
        return self._known(key, self.text(key), known)

    def words(self, key: str, known: Iterable[str] | None = None, *, least: int = 1) -> tuple[str, ...]:
        value = self.body[key]
        if not isinstance(value, list) or len(value) < least or not all(isinstance(v, str) and v for v in value):
            raise self.wrong(f"{key} must be a list of at least {least} texts, got {value!r}")
        return tuple(value if known is None else [self._known(key, one, known) for one in value])

    def _known(self, key: str, value: str, known: Iterable[str]) -> str:
        known = list(known)
        if value not in known:
            raise self.wrong(f"{key} must be of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.body[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
            raise self.wrong(f"{key} must be a number above {low:g} and below {high:g}, got {value!r}")
        return float(value)

    def truth(self, key: str) -> bool:
        if not isinstance(self.body[key], bool):
            raise self.wrong(f"{key} must be true or false, got {self.body[key]!r}")
        return self.body[key]


def _observable(entry: Entry, name: str) -> Observable:
    known = [key for key in Observable.__dataclass_fields__ if key not in ("name", "counted_with")]
    entry.only(*known, optional=["counted_with"])
    if name.count(".") != 1 or not all(name.split(".")):
        raise entry.wrong("its name must be technique.quantity, such as 'xrd.line_breadth'")
    return Observable(
        name=name,
        what=entry.text("what"),
        units=entry.text("units"),
        floor=entry.number("floor", 0.0, math.inf),
        false_alarm=entry.number("false_alarm", 0.0, 1.0),
        found=entry.truth("found"),
        instead=entry.text("instead"),
        needs=entry.text("needs"),
        counted_with=entry.text("counted_with") if "counted_with" in entry.body else "",
    )


def _mechanism(entry: Entry, name: str, observables: Mapping[str, Observable]) -> Mechanism:
    known = [key for key in Mechanism.__dataclass_fields__ if key not in ("name", "decided_by")]
    entry.only(*known, optional=["decided_by"])
    shows = entry.body["shows"]
    if not isinstance(shows, list) or not shows:
        raise entry.wrong("shows must be a list of at least one sign ([[mechanisms.<name>.shows]])")
    signs = tuple(_sign(Entry(entry.path, f"{entry.name}, sign {n}", body), observables)
                  for n, body in enumerate(shows, 1))  # fmt: skip
    keys = [sign.key for sign in signs]
    for key in keys:
        if keys.count(key) > 1:
            raise entry.wrong(f"{key[0]} {key[1]} is there twice; one sign says it")
    shown = [sign.observable for sign in signs]
    decided_by = entry.words("decided_by", shown) if "decided_by" in entry.body else ()
    references = entry.words("references")
    for reference in references:
        if not DOI.fullmatch(reference):
            raise entry.wrong(f"references must be DOIs such as '10.1038/ncomms4529', got {reference!r}")
    return Mechanism(
        name=name,
        title=entry.text("title"),
        category=entry.word("category", CATEGORIES),
        scale=entry.word("scale", SCALES),
        hosts=entry.words("hosts", least=0),
        prior=entry.number("prior", 0.0, 1.0),
        causes=entry.words("causes"),
        effects=entry.words("effects", EFFECTS),
        references=references,
        shows=signs,
        decided_by=decided_by,
    )


def _sign(entry: Entry, observables: Mapping[str, Observable]) -> Sign:
    entry.only(*Sign.__dataclass_fields__)
    size = entry.body["size"]
    is_pair = isinstance(size, list) and len(size) == 2 and all(isinstance(v, int | float) for v in size)
    if not is_pair or not 0 < size[0] < size[1] < math.inf:
        raise entry.wrong(f"size must be [smallest, largest] with 0 < smallest < largest, got {size!r}")
    return Sign(
        observable=entry.word("observable", observables),
        direction=entry.word("direction", [word for word in DIRECTIONS if word != "none"]),
        seen=entry.number("seen", 0.0, 1.0),
        size=(float(size[0]), float(size[1])),
        basis=entry.word("basis", BASES),
    )
