"""Ratings computed from an assessment, each with the terms that it comes from."""

from __future__ import annotations

import os
import tomllib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batlab.errors import ReadError
from batlab.failure._worksheet_row import RATINGS, Rating, Reason, Row, checked

if TYPE_CHECKING:
    from batlab.failure._assess import Assessment, Candidate
    from batlab.failure._knowledge import Knowledge, Mechanism
    from batlab.failure.evidence import Evidence

OWN = Path(__file__).with_name("worksheet_scales.toml")
COMPONENTS = {
    **dict.fromkeys(("layered_oxide", "lithium_rich", "spinel", "sulfur", "conversion"), "positive electrode"),
    **dict.fromkeys(("graphite", "silicon", "lithium"), "negative electrode"),
}


@dataclass(frozen=True)
class Scales:
    """What the levels mean; the head of ``worksheet_scales.toml`` explains every field."""

    name: str
    severity: dict[str, int]
    occurrence: tuple[float, ...]
    techniques: dict[str, int]
    apart: int
    unknown: int
    meaning: dict[str, tuple[str, ...]]


def read_scales(path: str | os.PathLike | None = None) -> Scales:
    """Read and check a file of scales, batlab's own by default."""
    source = OWN if path is None else Path(path).expanduser()
    try:
        told = tomllib.loads(source.read_text(encoding="utf-8"))
        detection, meaning = told["detection"], {name: tuple(told["meaning"][name]) for name in RATINGS}
        scales = Scales(
            str(told["name"]), dict(told["severity"]), tuple(told["occurrence"]["least"]),
            dict(detection["techniques"]), detection["apart"], detection["unknown"], meaning,
        )  # fmt: skip
    except OSError as error:
        raise ReadError(f"{source} cannot be read as scales of a worksheet: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReadError(f"{source} is no TOML: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{source} lacks a part of a scale or has a wrong one: {error}; see {OWN.name}") from error
    _check(source, scales)
    return scales


def _check(source: Path, scales: Scales) -> None:
    for what, value in [*scales.severity.items(), *scales.techniques.items(), ("unknown", scales.unknown)]:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10:
            raise ReadError(f"{source}: {what} must be a whole number from 1 to 10, got {value!r}")
    if isinstance(scales.apart, bool) or not isinstance(scales.apart, int) or not 0 <= scales.apart <= 9:
        raise ReadError(f"{source}: apart must be a whole number from 0 to 9, got {scales.apart!r}")
    least = scales.occurrence
    if len(least) != 10 or least[0] != 0 or any(low >= high for low, high in pairwise(least)):
        raise ReadError(f"{source}: occurrence needs ten rising numbers from 0, got {list(least)}")
    for name, words in scales.meaning.items():
        if len(words) != 10 or not all(isinstance(word, str) for word in words):
            raise ReadError(f"{source}: the meaning of {name} needs ten texts, got {len(words)}")


def rows_of(assessment: Assessment, table: Knowledge, scales: Scales, at_least: float) -> tuple[Row, ...]:
    """Return a row for each candidate whose probability is `at_least` that, the most probable first."""
    found = [one for one in assessment.candidates if one.probability >= at_least]
    return tuple(_row(one, table.mechanisms[one.name], table, assessment.evidence, scales) for one in found)


def _row(one: Candidate, mechanism: Mechanism, table: Knowledge, evidence: Sequence[Evidence], scales: Scales) -> Row:
    speaks = one.probability > one.prior  # else what was seen is rather the work of another mechanism
    own = [item for item in evidence if speaks and item.id in one.evidence]
    seen = dict.fromkeys(item.observable for item in own)
    shown = [*seen] if seen else [sign.observable for sign in mechanism.shows]
    places = dict.fromkeys(COMPONENTS[host] for host in mechanism.hosts if host in COMPONENTS)
    told = f"{one.verdict}, probability {one.probability:.3g} (before: {one.prior:.3g})"
    if one.rivals:
        told += f"; cannot be told apart from {', '.join(one.rivals)}"
    if one.measure:
        told += f"; measure {', '.join(name for name, _ in one.measure)}"
    return checked(Row(
        str(uuid.uuid4()), " and ".join(places) or "cell", mechanism.effects[0], mechanism.title, mechanism.category,
        cause="; ".join(mechanism.causes), local_effect="; ".join(table.observables[name].what for name in shown),
        system_effect="; ".join(mechanism.effects), note=told, evidence=tuple(item.id for item in own),
        severity=severity(mechanism.effects, scales),
        occurrence=occurrence(one.probability, own, evidence, scales),
        detection=detection(one, mechanism, own, scales),
    ))  # fmt: skip


def severity(effects: Iterable[str], scales: Scales) -> Rating:
    """Return the level of the worst effect that the mechanism has: from the tables, whatever was measured."""
    known = {effect: scales.severity.get(effect, scales.unknown) for effect in effects}
    value = max(known.values())
    terms = [Reason(f"effect {effect}", found, _meaning(scales, "severity", found)) for effect, found in known.items()]
    return Rating(value, value, (*terms, _result("severity", "the worst of them", value, scales)))


def occurrence(probability: float, own: Sequence[Evidence], every: Sequence[Evidence], scales: Scales) -> Rating:
    """Return the level of probability × share of the examined cycles with evidence × confidence of the best look."""
    share, told = _share(own, every)
    sure = max((item.confidence for item in own), default=1.0)
    expected = probability * share * sure
    value = sum(expected >= least for least in scales.occurrence)
    terms = (
        Reason("probability of the mechanism", probability, "failure.assess"),
        Reason("share of the examined cycles in which it was seen", share, told),
        Reason("confidence of the best look", sure, "" if own else "nothing was seen: counted as 1"),
        Reason("expected share, their product", expected),
        _result("occurrence", f"level from {scales.occurrence[value - 1]:g} up", value, scales),
    )
    return Rating(value, value, terms, _ids(own))


def detection(one: Candidate, mechanism: Mechanism, own: Sequence[Evidence], scales: Scales) -> Rating:
    """Return the level of the easiest technique that saw it, or would see it; more where that cannot tell it apart.

    The level is the table's: what was measured says by which technique it was seen, not how hard that is.
    """
    names = [item.technique for item in own] or [sign.observable.partition(".")[0] for sign in mechanism.shows]
    known = {name: scales.techniques.get(name, scales.unknown) for name in names}
    easiest = min(known.values())
    saw = "saw it" if own else "would see it"
    terms = [Reason(f"{name} {saw}", found, _meaning(scales, "detection", found)) for name, found in known.items()]
    value = easiest
    if one.verdict == "not decidable":
        value = min(10, easiest + scales.apart)
        terms.append(Reason("cannot be told apart: added", scales.apart, ", ".join(one.rivals)))
    return Rating(value, value, (*terms, _result("detection", "the easiest counts", value, scales)))


def _share(own: Sequence[Evidence], every: Sequence[Evidence]) -> tuple[float, str]:
    """Return the part of the examined cycles that evidence of the mechanism covers, and how that was told."""
    spans = sorted(item.cycles for item in own if item.cycles is not None)
    examined = [item.cycles for item in every if item.cycles is not None]
    if not spans:
        return 1.0, "no cycles are told: counted as 1"
    covered, end = 0.0, float("-inf")
    for first, last in spans:
        covered += max(0.0, last - max(first - 1, end))
        end = max(end, last)
    whole = max(last for _, last in examined) - min(first for first, _ in examined) + 1
    return min(1.0, covered / whole), f"{covered:g} of {whole:g} cycles"


def _result(name: str, how: str, value: int, scales: Scales) -> Reason:
    return Reason(f"{name} by the scales {scales.name!r}, {how}", value, _meaning(scales, name, value))


def _meaning(scales: Scales, name: str, value: Any) -> str:
    return scales.meaning[name][int(value) - 1]


def _ids(own: Sequence[Evidence]) -> tuple[str, ...]:
    return tuple(item.id for item in own)
