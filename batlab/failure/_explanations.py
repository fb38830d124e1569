"""Which mechanisms together would show what was seen: every set of a few of them, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from batlab.failure._knowledge import Knowledge
from batlab.failure.evidence import Evidence

MOST_SETS = 200_000


@dataclass(frozen=True)
class Outcome:
    """Whether one observable was seen to move one way, and by which evidence."""

    observable: str
    direction: str
    is_seen: bool
    limit: float
    evidence: tuple[str, ...]


def outcomes(evidence: Sequence[Evidence], table: Knowledge, names: Sequence[str]) -> list[Outcome]:
    """Return what the evidence says of every sign of the mechanisms `names` that was looked for.

    Several looks at one observable count once: seen where any of them saw it, else with the best of their limits.
    """
    keys = dict.fromkeys(sign.key for name in names for sign in table.mechanisms[name].shows)
    found = []
    for observable, direction in keys:
        looks = [item for item in evidence if item.observable == observable]
        if not looks:
            continue
        saw = [item for item in looks if item.direction == direction]
        limits = [item.limit for item in (saw or looks)]
        limit = float(np.nanmin(limits)) if np.isfinite(limits).any() else np.nan
        ids = tuple(item.id for item in (saw or looks))
        found.append(Outcome(observable, direction, bool(saw), limit, ids))
    return found


@dataclass(frozen=True)
class Explanations:
    """Sets of mechanisms (rows of `members`, over `names`) and their posterior probabilities.

    ``shows[k, m]`` is the probability that mechanism m alone shows outcome k, ``false_alarm[k]`` that it is seen for no
    reason of the table.
    """

    names: tuple[str, ...]
    members: np.ndarray
    probability: np.ndarray
    outcomes: tuple[Outcome, ...]
    shows: np.ndarray
    false_alarm: np.ndarray

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each mechanism, whatever else is at work."""
        return self.probability @ self.members

    @property
    def best(self) -> np.ndarray:
        """Members of the most probable set."""
        return self.members[int(np.argmax(self.probability))]

    def seen(self, members: np.ndarray) -> np.ndarray:
        """Return the probability that each outcome is seen, for each set of `members`: (set, outcome)."""
        return 1.0 - (1.0 - self.false_alarm) * missed(self.shows, members)

    def information(self, name: str, shows: np.ndarray, false_alarm: float) -> float:
        """Return by how many bits one more look, which mechanism m shows with ``shows[m]``, would decide `name`."""
        there = self.members[:, self.names.index(name)]
        seen = 1.0 - (1.0 - false_alarm) * missed(shows[None], self.members)[:, 0]
        joint = np.array([[self.probability @ (is_there * chance) for chance in (seen, 1.0 - seen)]
                          for is_there in (there, ~there)])  # fmt: skip
        apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        used = joint > 0
        return float(np.sum(joint[used] * np.log2(joint[used] / apart[used])))

    def correlation(self) -> np.ndarray:
        """Return how the mechanisms go together in the explanations; near -1: either the one or the other."""
        mean = self.marginal
        both = (self.members * self.probability[:, None]).T @ self.members
        spread = np.sqrt(np.maximum(mean * (1 - mean), 1e-300))
        return (both - np.outer(mean, mean)) / np.outer(spread, spread)


def missed(shows: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the probability that no member of a set shows an outcome: (set, outcome)."""
    with np.errstate(divide="ignore"):
        return np.exp(members.astype(float) @ np.log1p(-np.minimum(shows, 1.0 - 1e-12)).T)


def weigh(
    found: Sequence[Outcome], table: Knowledge, names: Sequence[str], prior: Sequence[float], most: int
) -> Explanations:
    """Return all sets of at most `most` of `names` with their probabilities, given what was found.

    A set shows an outcome with probability ``1 - (1 - false alarm) · Π (1 - p)`` over its members (noisy or), outcomes
    are independent given the set, mechanisms independent of each other beforehand.
    """
    members = np.array(
        [np.isin(np.arange(len(names)), chosen)
         for size in range(min(most, len(names)) + 1) for chosen in combinations(range(len(names)), size)]
    )  # fmt: skip
    shows = np.zeros((len(found), len(names)))
    for k, outcome in enumerate(found):
        for m, name in enumerate(names):
            for sign in table.mechanisms[name].shows:
                if sign.key == (outcome.observable, outcome.direction):
                    shows[k, m] = sign.probability(outcome.limit)
    false_alarm = np.array([table.observables[outcome.observable].false_alarm for outcome in found])
    before = np.asarray(prior, dtype=float)
    log_weight = members @ np.log(before) + ~members @ np.log1p(-before)
    seen = 1.0 - (1.0 - false_alarm) * missed(shows, members)
    is_seen = np.array([outcome.is_seen for outcome in found], dtype=bool)
    log_weight = log_weight + np.log(np.where(is_seen, seen, 1.0 - seen)).sum(axis=1)
    probability = np.exp(log_weight - log_weight.max())
    return Explanations(
        tuple(names), members, probability / probability.sum(), tuple(found), shows, false_alarm
    )  # fmt: skip


def n_sets(n: int, most: int) -> int:
    """Return how many sets of at most `most` of `n` there are."""
    return sum(comb(n, size) for size in range(min(most, n) + 1))
