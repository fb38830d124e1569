"""From evidence to mechanisms: which, how probable, on what grounds, and what would decide."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from batlab.errors import did_you_mean
from batlab.failure._explanations import MOST_SETS, Explanations, n_sets, outcomes, weigh
from batlab.failure._knowledge import Knowledge, knowledge
from batlab.failure.evidence import Evidence, checked

SURE, UNLIKELY = 0.9, 0.1
APART = -0.25  # correlation of two mechanisms below which they stand for each other
WORTH = 0.1  # share of the remaining doubt that a measurement must be expected to remove to be named
FINE = 3.0  # floors of an observable above which a good measurement of it tells an effect


@dataclass(frozen=True)
class Term:
    """One reason for or against a mechanism.

    `log_ratio` is ln(likelihood with the mechanism / without it) of what was found, the rest of the best explanation
    being at work either way; a likelihood is a probability, or for a size one per unit of its logarithm.
    `what` is an observable with its direction, ``"prior"`` or ``"other explanations"``.
    """

    what: str
    outcome: str
    likelihood_with: float
    likelihood_without: float
    log_ratio: float
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        if math.isnan(self.likelihood_with):
            return f"{self.log_ratio:+7.2f}  {self.what}"
        chances = f"{self.likelihood_with:.3g} with it, {self.likelihood_without:.3g} without"
        return f"{self.log_ratio:+7.2f}  {self.what}: {self.outcome} ({chances})"


@dataclass(frozen=True)
class Candidate:
    """One mechanism as it stands after the evidence.

    Attributes
    ----------
    name, title, probability, prior
        Of the mechanism; `probability` is posterior, whatever else is at work.
    verdict
        ``"supported"`` (0.9 or more, and an observable that decides on it was looked at), ``"unlikely"`` (0.1 or less,
        and half of what it was before or less), ``"not examined"`` (none of its signs was looked for) or ``"not
        decidable"`` from these techniques.
    rivals
        Mechanisms that would explain the same: if the one, then hardly the other.
    measure
        Observables that would decide, best first, as ``(observable, bits)``.
    evidence
        Ids of what was seen and speaks for it.
    """

    name: str
    title: str
    probability: float
    prior: float
    verdict: str
    rivals: tuple[str, ...] = ()
    measure: tuple[tuple[str, float], ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Assessment:
    """Candidate mechanisms, most probable first, and everything that the numbers rest on.

    Attributes
    ----------
    candidates
        `Candidate`, ranked.
    explanations
        ``(mechanisms, probability)`` of the five most probable sets: the alternatives.
    unexplained
        Evidence of something seen that the best explanation makes less than twice as likely as chance does, or that
        the table does not know.
    evidence
        All that was given.
    knowledge
        Version and SHA-256 of the table.
    """

    candidates: tuple[Candidate, ...]
    explanations: tuple[tuple[tuple[str, ...], float], ...]
    unexplained: tuple[Evidence, ...]
    evidence: tuple[Evidence, ...]
    knowledge: str
    _weighed: Explanations
    _needs: Mapping[str, str]

    def __getitem__(self, name: str) -> Candidate:
        for one in self.candidates:
            if one.name == name:
                return one
        names = [one.name for one in self.candidates]
        raise KeyError(f"{name!r} is no candidate{did_you_mean(name, names) or '; they are ' + ', '.join(names)}")

    @property
    def ranking(self) -> list[str]:
        """Names of the candidates, most probable first."""
        return [one.name for one in self.candidates]

    def terms(self, mechanism: str) -> list[Term]:
        """Return why a mechanism has its probability: terms whose sum is its log odds.

        The prior, then each sign that was looked for, given the rest of the best explanation; ``"other explanations"``
        is what averaging over all the others changes. Strongest first.

        Raises
        ------
        KeyError
            No such candidate.
        """
        one = self[mechanism]
        return _terms(self._weighed, one.name, one.prior, one.probability)

    def as_dict(self) -> dict[str, Any]:
        """Return ranking, terms, alternatives and evidence as plain values that JSON holds."""
        return {
            "knowledge": self.knowledge,
            "candidates": [
                asdict(one) | {"terms": [_plain(term) for term in self.terms(one.name)]} for one in self.candidates
            ],
            "explanations": [{"mechanisms": list(names), "probability": p} for names, p in self.explanations],
            "unexplained": [item.id for item in self.unexplained],
            "evidence": [item.as_dict() for item in self.evidence],
        }

    def __repr__(self) -> str:
        told = ", ".join(f"{one.name} {one.probability:.2f}" for one in self.candidates[:3])
        return f"Assessment({len(self.candidates)} candidates: {told}, …)"

    def __str__(self) -> str:
        n_seen = sum(item.is_seen for item in self.evidence)
        lines = [f"{n_seen} of {len(self.evidence)} looks saw something; knowledge {self.knowledge}", ""]
        for one in self.candidates:
            if one.verdict == "unlikely" and not one.evidence:
                continue
            verdict = "not decidable from these techniques" if one.verdict == "not decidable" else one.verdict
            lines.append(f"{one.probability:6.3f}  {one.name}: {verdict}")
            if one.rivals:
                lines.append(f"        cannot be told apart from {', '.join(one.rivals)}")
            for observable, bits in one.measure[:2]:
                lines.append(f"        measure {observable} ({bits:.2f} bit): {self._needs[observable]}")
        left_out = [one.name for one in self.candidates if one.verdict == "unlikely" and not one.evidence]
        if left_out:
            lines.append(f"unlikely, and nothing speaks for them: {', '.join(left_out)}")
        lines += ["", "explanations:"]
        lines += [f"{p:6.3f}  {' + '.join(names) or 'nothing of the table'}" for names, p in self.explanations]
        if self.unexplained:
            lines += ["", "seen and not explained:", *(f"  {item}" for item in self.unexplained)]
        return "\n".join(lines)


def assess(
    evidence: Iterable[Evidence | Mapping[str, Any]],
    *,
    table: Knowledge | str | os.PathLike | None = None,
    materials: Iterable[str] | None = None,
    prior: float | Mapping[str, float] | None = None,
    most: int = 4,
) -> Assessment:
    """Rank the mechanisms that may have failed a cell by how well they show what was seen and what was not.

    Each set of at most `most` mechanisms has a prior probability, the product over mechanisms. For each sign the table
    tells with which probability a mechanism shows it and with which sizes; the effects of a set's members add up, and
    chance has effects of its own, most of them near the limit of the look. What was not seen counts with the
    probability that all this stays below the limit (for a fine look ``(1 - f) Π (1 - p)``, a noisy or; a look that
    would have missed it says nothing); what was seen with the density of its size: one too large or too small for a
    mechanism speaks against it. Bayes' theorem over all sets gives the probabilities; a mechanism's is the sum over the
    sets that hold it, so that one which another explains away loses, and several may be true at once.

    What is neither seen nor looked for says nothing. Probabilities hang on the table and on the priors, both of which
    are to be read; signs of one mechanism are taken as independent, which they are not quite.

    Parameters
    ----------
    evidence
        From `find` or `examine`, or dicts of ``Evidence.as_dict``.
    table
        What to judge by: a `knowledge` table or its file; batlab's own by default.
    materials
        What the cell is made of (``["layered_oxide", "graphite"]``): only mechanisms of these, and those of any cell,
        are candidates. All by default.
    prior
        Probability of each mechanism beforehand: one number, or ``{mechanism: probability}`` for some. By default that
        of the table.
    most
        Most mechanisms at work at once, from 1.

    Returns
    -------
    Assessment
        Ranked candidates with verdicts, rivals and what to measure; printable; ``terms(mechanism)`` opens each score.

    Raises
    ------
    TypeError
        Something else than evidence.
    ValueError
        Unknown mechanisms or materials, priors outside 0 to 1, too many sets.
    ReadError
        A table that is wrong.

    References
    ----------
    J. Pearl, Probabilistic Reasoning in Intelligent Systems (1988), ch. 4.3 (noisy or), doi:10.1016/C2009-0-27609-4.

    Examples
    --------
    >>> seen = Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0)
    >>> missing = Evidence("echem", "resistance", "none", 0.0, 0.02, "1", limit=0.06)
    >>> said = assess([seen, missing], materials=["layered_oxide", "graphite"])
    >>> said.ranking[0], said["fatigued_phase"].verdict
    ('fatigued_phase', 'supported')
    >>> print(said.terms("fatigued_phase")[0])
      +7.39  xrd.second_layered_phase appears: seen, 0.2 (0.839 with it, 0.000515 without)
    """
    looks = checked(evidence, "failure.assess")
    known = table if isinstance(table, Knowledge) else knowledge(table)
    names = known.possible(materials)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"most must be a whole number of at least 1, got {most!r}")
    if n_sets(len(names), most) > MOST_SETS:
        raise ValueError(
            f"{len(names)} mechanisms give {n_sets(len(names), most)} sets of at most {most}, more than {MOST_SETS}; "
            "name the cell's materials or lower most"
        )
    before = _priors(prior, known, names)
    weighed = weigh(outcomes(looks, known, names), known, names, before.tolist(), most)
    return Assessment(
        candidates=_candidates(weighed, known, before),
        explanations=_alternatives(weighed),
        unexplained=_unexplained(weighed, looks),
        evidence=tuple(looks),
        knowledge=f"version {known.version}, sha256 {known.sha256[:12]}",
        _weighed=weighed,
        _needs={name: one.needs for name, one in known.observables.items()},
    )


def _priors(prior: Any, known: Knowledge, names: list[str]) -> np.ndarray:
    told = dict.fromkeys(names, prior) if not isinstance(prior, Mapping) else prior
    for name in told:
        if name not in known.mechanisms:
            raise ValueError(f"prior names the unknown mechanism {name!r}{did_you_mean(name, known.mechanisms)}")
    values = [known.mechanisms[name].prior if told.get(name) is None else float(told[name]) for name in names]
    for name, value in zip(names, values, strict=True):
        if not 0 < value < 1:
            raise ValueError(f"prior of {name} must be a probability above 0 and below 1, got {value!r}")
    return np.array(values)


def _candidates(weighed: Explanations, known: Knowledge, before: np.ndarray) -> tuple[Candidate, ...]:
    probability = weighed.marginal
    together = weighed.correlation()
    looked = {outcome.observable for outcome in weighed.outcomes}
    found = []
    for m, name in enumerate(weighed.names):
        mechanism, p = known.mechanisms[name], float(probability[m])
        if not any(sign.observable in looked for sign in mechanism.shows):
            verdict = "not examined"
        elif p >= SURE and mechanism.is_decidable(looked):
            verdict = "supported"
        else:
            verdict = "unlikely" if p <= min(UNLIKELY, before[m] / 2) else "not decidable"
        is_open = verdict in ("not decidable", "not examined")
        rivals = [(together[m, n], other) for n, other in enumerate(weighed.names) if together[m, n] < APART]
        seen = [
            one.evidence for k, one in enumerate(weighed.outcomes) if one.is_seen and weighed.effects.seen[k, m] > 0
        ]
        found.append(Candidate(
            name, mechanism.title, p, float(before[m]), verdict,
            tuple(other for _, other in sorted(rivals)),
            _measure(weighed, known, name, looked) if is_open or rivals else (),
            tuple(item for ids in seen for item in ids),
        ))  # fmt: skip
    return tuple(sorted(found, key=lambda one: -one.probability))


def _measure(weighed: Explanations, known: Knowledge, name: str, looked: set[str]) -> tuple[tuple[str, float], ...]:
    """Return the observables not yet looked at that would tell most of a mechanism, with how many bits.

    Where none that decides on it was looked at, those are named first, however few their bits.
    """
    own = () if known.mechanisms[name].is_decidable(looked) else known.mechanisms[name].decided_by
    p = min(max(float(weighed.marginal[weighed.names.index(name)]), 1e-12), 1 - 1e-12)
    doubt = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    worth = []
    for observable, what in known.observables.items():
        if observable in looked:
            continue
        signs = {n: sign for n, one in known.mechanisms.items() for sign in one.shows if sign.observable == observable}
        if not signs.keys() & set(weighed.names):
            continue
        limit = FINE * what.floor
        shows = np.array([signs[n].probability(limit) if n in signs else 0.0 for n in weighed.names])
        bits = weighed.information(name, shows, what.false_alarm)
        if bits >= WORTH * doubt or observable in own:
            worth.append((observable, bits))
    return tuple(sorted(worth, key=lambda pair: (pair[0] not in own, -pair[1]))[:3])


def _alternatives(weighed: Explanations) -> tuple[tuple[tuple[str, ...], float], ...]:
    order = np.argsort(-weighed.probability, kind="stable")[:5]
    return tuple(
        (tuple(np.array(weighed.names)[weighed.members[k]].tolist()), float(weighed.probability[k])) for k in order
    )


def _unexplained(weighed: Explanations, looks: list[Evidence]) -> tuple[Evidence, ...]:
    none = np.zeros_like(weighed.best)
    with_it, without = weighed.effects.likelihood(np.stack([weighed.best, none]))
    explained = {
        item for k, one in enumerate(weighed.outcomes) if one.is_seen and with_it[k] >= 2 * without[k]
        for item in one.evidence
    }  # fmt: skip
    return tuple(item for item in looks if item.is_seen and item.id not in explained)


def _terms(weighed: Explanations, name: str, prior: float, probability: float) -> list[Term]:
    m = weighed.names.index(name)
    sets = np.tile(weighed.best, (2, 1))
    sets[:, m] = [True, False]
    chances = weighed.effects.likelihood(sets)
    terms = []
    for k, outcome in enumerate(weighed.outcomes):
        if weighed.effects.seen[k, m] == 0:
            continue
        with_it, without = chances[:, k]
        what = f"{outcome.observable} {outcome.direction}"
        told = f"seen, {outcome.effect:.2g}" if outcome.is_seen else f"not seen, limit {outcome.limit:.2g}"
        terms.append(
            Term(what, told, float(with_it), float(without), float(np.log(with_it / without)), outcome.evidence)
        )
    terms.sort(key=lambda term: -abs(term.log_ratio))
    start = math.log(prior / (1 - prior))
    p = min(max(probability, 1e-300), 1 - 1e-16)
    odds = math.log(p / (1 - p))
    rest = odds - start - sum(term.log_ratio for term in terms)
    return [
        *terms, Term("prior", "", math.nan, math.nan, start), Term("other explanations", "", math.nan, math.nan, rest)
    ]  # fmt: skip


def _plain(term: Term) -> dict[str, Any]:
    told = asdict(term)
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in told.items()}
