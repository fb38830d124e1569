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
# Most false alarms lie near the limit, their chance falls with this power of the size; a part is of any size up to so
# many limits: something else that is really there.
NEAR, STRANGE, WIDE = 3.0, 0.2, 100.0


@dataclass(frozen=True)
class Outcome:
    """Whether one observable was seen to move one way, by how much (NaN: not known), and by which evidence."""

    observable: str
    direction: str
    is_seen: bool
    limit: float
    effect: float
    evidence: tuple[str, ...]


def outcomes(evidence: Sequence[Evidence], table: Knowledge, names: Sequence[str]) -> list[Outcome]:
    """Return what the evidence says of every sign of the mechanisms `names` that was looked for.

    Several looks at one observable count once: seen where any of them saw it, with the effect of the surest, else not
    seen with the best of their limits. So do observables that see the same thing (`counted_with` of the table): where
    the one was looked at, the other adds its evidence to it and nothing to the score.
    """
    looked = {item.observable for item in evidence}
    leader = {name: one.counted_with for name, one in table.observables.items() if one.counted_with in looked}
    keys = dict.fromkeys(sign.key for name in names for sign in table.mechanisms[name].shows)
    found = []
    for observable, direction in keys:
        looks = [item for item in evidence if item.observable == observable]
        if not looks or observable in leader:
            continue
        saw = [item for item in looks if item.direction == direction]
        limits = [item.limit for item in (saw or looks)]
        limit = float(np.nanmin(limits)) if np.isfinite(limits).any() else np.nan
        same = [item for item in evidence if leader.get(item.observable) == observable and item.direction == direction]
        ids = tuple(item.id for item in (*(saw or looks), *(same if saw else ())))
        effect = abs(max(saw, key=lambda item: item.confidence).effect) if saw else np.nan
        found.append(Outcome(observable, direction, bool(saw), limit, effect if effect > 0 else np.nan, ids))
    return found


@dataclass(frozen=True)
class Effects:
    """What every mechanism (column) does to every outcome (row), and what chance does.

    `seen` is the probability that it shows at all, `mean` and `variance` are those of the effect, zero where it does
    not show. `above` and `density` are of false alarms: above the size that counts, and of this size per unit of its
    logarithm. `counts` is that size: the effect where one is known, else the limit (NaN: any counts). `opposite` are
    pairs of outcomes that are the two ways of one observable.
    """

    seen: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    above: np.ndarray
    density: np.ndarray
    counts: np.ndarray
    is_seen: np.ndarray
    is_sized: np.ndarray
    opposite: tuple[tuple[int, int], ...] = ()

    def likelihood(self, members: np.ndarray) -> np.ndarray:
        """Return the likelihood of each outcome under each set: (set, outcome).

        The effects of a set's members add up. Given that any shows, their sum is taken as log-normal with its mean and
        variance (Fenton, IRE Trans. Commun. Syst. 8, 57 (1960), doi:10.1109/TCOM.1960.1097606), exact for one member.
        Where some move an observable up and others down, what is left of both is taken as normal.
        """
        from scipy.special import ndtr

        one = members.astype(float)
        some = np.maximum(1 - np.exp(one @ np.log1p(-np.minimum(self.seen, 1 - 1e-12)).T), 1e-300)
        mean = one @ self.mean.T
        square = one @ self.variance.T + mean**2
        acts = mean > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(acts, np.sqrt(np.maximum(np.log(square * some / mean**2), 1e-6)), 1.0)
            place = (np.log(self.counts * some / mean) + spread**2 / 2) / spread
        place = np.where(acts, np.where(np.isnan(self.counts), -np.inf, place), np.inf)
        above = some * ndtr(-place)
        density = some * np.exp(-np.minimum(place**2, 1400) / 2) / (np.sqrt(2 * np.pi) * spread) * acts
        none = (1 - above) * (1 - self.above)
        sized = density * (1 - self.above) + (1 - above) * self.density
        found = np.where(self.is_seen, np.where(self.is_sized, sized, 1 - none), none)
        for pair in self.opposite:
            self._against(found, one, pair)
        return found

    def _against(self, found: np.ndarray, one: np.ndarray, pair: tuple[int, int]) -> None:
        """Put what the difference of two opposite effects gives in place, in sets that have both.

        What was seen one way holds the likelihood of both outcomes; where nothing was, they share it.
        """
        from scipy.special import ndtr

        k, other = pair if not self.is_seen[pair[1]] else pair[::-1]
        both = np.flatnonzero((one @ self.mean[k] > 0) & (one @ self.mean[other] > 0))
        if not both.size or np.isnan(self.counts[[k, other]]).any() or (self.is_seen[k] and not self.is_sized[k]):
            return
        mean = one[both] @ (self.mean[k] - self.mean[other])
        spread = np.sqrt(one[both] @ (self.variance[k] + self.variance[other]))
        low, high = -self.counts[other], self.counts[k]
        below = ndtr((high - mean) / spread)
        chance = (1 - self.above[k]) * (1 - self.above[other])
        if self.is_seen[k]:
            density = high * np.exp(-(((high - mean) / spread) ** 2) / 2) / (np.sqrt(2 * np.pi) * spread)
            found[both, k] = np.maximum(density * chance + below * self.density[k], 1e-300)
            found[both, other] = 1.0
            return
        within = np.maximum(below - ndtr((low - mean) / spread), 1e-300) * chance
        found[both, k] = found[both, other] = np.sqrt(within)


@dataclass(frozen=True)
class Explanations:
    """Sets of mechanisms (rows of `members`, over `names`) and their posterior probabilities."""

    names: tuple[str, ...]
    members: np.ndarray
    probability: np.ndarray
    outcomes: tuple[Outcome, ...]
    effects: Effects

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each mechanism, whatever else is at work."""
        return self.probability @ self.members

    @property
    def best(self) -> np.ndarray:
        """Members of the most probable set."""
        return self.members[int(np.argmax(self.probability))]

    def information(self, name: str, above: np.ndarray, false_alarm: float) -> float:
        """Return by how many bits one more look, which mechanism m shows with ``above[m]``, would decide `name`."""
        there = self.members[:, self.names.index(name)]
        seen = 1.0 - missed(np.append(above, false_alarm)[None], self.members)[:, 0]
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


def missed(above: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the probability that no member of a set, nor chance, gives an effect above what counts: (set, outcome)."""
    every = np.column_stack([members, np.ones(len(members))])
    return np.exp(every @ np.log1p(-np.minimum(above, 1.0 - 1e-12)).T)


def weigh(
    found: Sequence[Outcome], table: Knowledge, names: Sequence[str], prior: Sequence[float], most: int
) -> Explanations:
    """Return all sets of at most `most` of `names` with their probabilities, given what was found.

    Outcomes are independent given the set, mechanisms independent of each other beforehand.
    """
    members = np.array(
        [np.isin(np.arange(len(names)), chosen)
         for size in range(min(most, len(names)) + 1) for chosen in combinations(range(len(names)), size)]
    )  # fmt: skip
    effects = _effects(found, table, names)
    before = np.asarray(prior, dtype=float)
    log_weight = members @ np.log(before) + ~members @ np.log1p(-before)
    log_weight = log_weight + np.log(effects.likelihood(members)).sum(axis=1)
    probability = np.exp(log_weight - log_weight.max())
    return Explanations(tuple(names), members, probability / probability.sum(), tuple(found), effects)


def _effects(found: Sequence[Outcome], table: Knowledge, names: Sequence[str]) -> Effects:
    seen, mean, variance = np.zeros((3, len(found), len(names)))
    is_seen = np.array([one.is_seen for one in found], dtype=bool)
    is_sized = is_seen & np.array([np.isfinite(one.effect) for one in found], dtype=bool)
    counts = np.array([one.effect if sized else one.limit for one, sized in zip(found, is_sized, strict=True)])
    for k, one in enumerate(found):
        for m, name in enumerate(names):
            for sign in table.mechanisms[name].shows:
                if sign.key == (one.observable, one.direction):
                    first, second = sign.moments
                    seen[k, m] = sign.seen
                    mean[k, m] = sign.seen * first
                    variance[k, m] = sign.seen * second - mean[k, m] ** 2
    chances = [_by_chance(table.observables[one.observable].false_alarm, one, bool(sized))
               for one, sized in zip(found, is_sized, strict=True)]  # fmt: skip
    above, density = np.array(chances, dtype=float).reshape(-1, 2).T
    place = {(one.observable, one.direction): k for k, one in enumerate(found)}
    opposite = tuple((k, place[name, "down"]) for (name, way), k in place.items()
                     if way == "up" and (name, "down") in place)  # fmt: skip
    return Effects(seen, mean, variance, above, density, counts.astype(float), is_seen, is_sized, opposite)


def _by_chance(false_alarm: float, one: Outcome, is_sized: bool) -> tuple[float, float]:
    """Return the chance of a false alarm above the size that counts, and of this size per unit of its logarithm."""
    if not is_sized:
        return false_alarm, 0.0
    part = min(1.0, one.limit / one.effect) if one.limit > 0 else 1.0  # also where the limit is not known
    far = max(0.0, 1.0 + np.log(part) / np.log(WIDE))
    above = false_alarm * ((1 - STRANGE) * part**NEAR + STRANGE * far)
    near = (1 - STRANGE) * NEAR * part**NEAR
    return above, false_alarm * (near + max(STRANGE / np.log(WIDE) * (far > 0), 1e-12))


def n_sets(n: int, most: int) -> int:
    """Return how many sets of at most `most` of `n` there are."""
    return sum(comb(n, size) for size in range(min(most, n) + 1))
