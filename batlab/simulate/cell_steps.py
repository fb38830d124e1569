"""Steps of a cycler on a virtual cell: lithium counted in both electrodes, the voltage from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

import numpy as np

from batlab.simulate.ageing import Condition
from batlab.simulate.cell import CAPACITY, FULL, GRAPHITE_PER_NMC, GRAPHITE_VOLTAGE, NMC_VOLTAGE

NOMINAL = 0.050  # Ah
LIMITS = (3.0, 4.2)  # V
OHMIC, SLOW = 0.9, 0.5  # ohm of the fresh cell: at once, and with the time below
RELAXATION = 200.0  # s
CUT_OFF = 0.05  # of the nominal capacity per hour: where a held voltage ends
EMPTY = 0.1  # lithium per unit of the oxide below which its potential is not known
FATIGUED_AT = 0.25  # lithium below which fatigued material does not go: 75 % of charge (10.1038/s41563-020-0767-8)
PLATED_SHARE = 0.5  # of the lithium that arrives while metal is plated
STRIP_RATE = 0.015 * NOMINAL / 1200  # Ah/s at rest
METAL_LIFT = 0.03  # V by which metal on it pulls the graphite down (10.1016/j.jpowsour.2016.12.032)
METAL_LAST = 2e-3 * NOMINAL  # Ah: less metal than this covers the graphite in part
N_PARTS = 15
PARTS = np.array([NormalDist().inv_cdf((i + 0.5) / N_PARTS) for i in range(N_PARTS)])
FIRST_LINES = np.array([0.1, 1.0, 10.0])  # s after a step begins, as cyclers write them


@dataclass(frozen=True)
class State:
    """Lithium in both electrodes and their sizes [Ah] at a moment [s].

    `plated` of the negative electrode's lithium is metal; `slow` is the slow part of the polarization [V]; `side` went
    into side reactions, `trapped` was lost with material.
    """

    seconds: float
    positive: float
    negative: float
    size_positive: float
    size_negative: float
    plated: float = 0.0
    slow: float = 0.0
    side: float = 0.0
    trapped: float = 0.0

    @property
    def inventory(self) -> float:
        """Lithium that can be cycled [Ah]."""
        return self.positive + self.negative


@dataclass(frozen=True)
class Trace:
    """What a step did, line by line: seconds since the start of the test, charge in the cycle and lithium in Ah."""

    seconds: np.ndarray
    charge: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


@cache
def _curves() -> tuple[Callable, Callable]:
    return _cubic(NMC_VOLTAGE), _cubic(GRAPHITE_VOLTAGE)


def _cubic(points: tuple[tuple[float, ...], tuple[float, ...]]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the monotone cubic through the points; called thousands of times a cell, a tenth of scipy's own call."""
    from scipy.interpolate import PchipInterpolator

    made = PchipInterpolator(*points)
    knots, inner, factors = made.x, made.x[1:-1], made.c

    def at(place: np.ndarray) -> np.ndarray:
        place = np.asarray(place, dtype=float)
        piece = np.searchsorted(inner, place, side="right")
        off = place - knots[piece]
        cubic, square, slope, level = factors[:, piece]
        return ((cubic * off + square) * off + slope) * off + level

    return at


def split_positive(lithium: np.ndarray | float, fatigued: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lithium in healthy and in fatigued material where both hold `lithium` in the mean."""
    lithium = np.asarray(lithium, dtype=float)
    behind = np.maximum(lithium, FATIGUED_AT)
    return (lithium - fatigued * behind) / (1 - fatigued), behind


def parts_of_graphite(lithium: np.ndarray | float, spread: float) -> np.ndarray:
    """Return lithium per C6 in equal parts of the electrode, (part, moment); their mean is `lithium`.

    `spread` is their σ where the electrode is half full; a full and an empty one are even.
    """
    lithium = np.asarray(lithium, dtype=float)
    width = np.minimum(4 * spread * lithium * (1 - lithium), np.minimum(lithium, 1 - lithium) / PARTS[-1])
    return lithium + PARTS.reshape(-1, *[1] * lithium.ndim) * width


def positive_potential(lithium: np.ndarray | float, fatigued: float = 0.0) -> np.ndarray:
    """Return the potential of the positive electrode in V against lithium."""
    return _curves()[0](split_positive(lithium, fatigued)[0])


def negative_potential(lithium: np.ndarray | float, spread: float = 0.0) -> np.ndarray:
    """Return the potential of the negative electrode in V against lithium, the mean of its parts."""
    if spread == 0:
        return _curves()[1](lithium)
    return _curves()[1](parts_of_graphite(lithium, spread)).mean(axis=0)


class Cycler:
    """Runs one cell through steps and writes lines.

    `lines` holds a tuple of columns a step: seconds, voltage, current, charge in the cycle, cycle, step. `astray` is
    the part of a charging current that side reactions eat; metal is plated where the negative electrode holds more
    than `plating_from` [Ah].
    """

    def __init__(self, *, scale: tuple[float, float, float]) -> None:
        self.lines: list[tuple[np.ndarray, ...]] = []
        self.ohmic, self.polar = OHMIC * scale[2], SLOW * scale[2]
        positive, negative = CAPACITY * scale[0], CAPACITY / GRAPHITE_PER_NMC * scale[1]
        self.fresh = {"positive": positive, "negative": negative}
        self.state = State(0.0, FULL * positive, 0.0, positive, negative)
        self.condition = Condition()
        self.cycle, self.step, self.passed = 0, 0, 0.0
        self.astray, self.plating_from = 0.0, np.inf

    def begin(self) -> None:
        """Begin another cycle."""
        self.cycle, self.step, self.passed = self.cycle + 1, 0, 0.0

    def run(
        self, current: float, *, interval: float, until: float | None = None, duration: float | None = None
    ) -> Trace:
        """Run one step at constant `current` [A] up to a voltage, or for a time [s]; `interval` between lines [s]."""
        sign = float(np.sign(current))
        longest = duration if duration is not None else 1.3 * CAPACITY / abs(current) * 3600
        seconds = _moments(interval, longest)
        columns = self._columns(seconds, current)
        if until is not None:
            columns = _stopped(columns, sign * until, sign)
        seconds, volts, positive, negative, plated, slow = columns
        flow = current * seconds / 3600
        return self._move(seconds, volts, np.full(len(seconds), current), flow, (positive, negative, plated, slow))

    def hold(self, *, interval: float) -> None:
        """Hold the upper voltage until the current has fallen to the cut-off."""
        resistance = (self.ohmic + self.polar) * (1 + self.condition.resistance)
        flow = np.linspace(0, 0.15 * NOMINAL, 600)
        positive, negative = self.state.positive - flow, self.state.negative + flow * (1 - self.astray)
        plated = self._plated(flow, flow, negative, 1.0)
        current = (LIMITS[1] - self._open(positive, negative, plated)) / resistance
        last = int(np.argmax(np.append(current, 0.0) <= CUT_OFF * NOMINAL))
        if last < 2:
            return
        hours = np.concatenate([[0.0], np.cumsum(2 * np.diff(flow[:last]) / (current[1:last] + current[: last - 1]))])
        seconds = _moments(interval, 3600 * hours[-1])
        at = np.interp(seconds, 3600 * hours, np.arange(last))
        amperes, flow, *rest = (
            np.interp(at, np.arange(len(current)), one) for one in (current, flow, positive, negative, plated)
        )
        slow = amperes * self.polar * (1 + self.condition.resistance)
        self._move(seconds, np.full(len(seconds), LIMITS[1]), amperes, flow, (*rest, slow))

    def lose(self, told: Condition) -> None:
        """Take on the condition `told`; material lost now keeps the lithium that is in it."""
        state, trapped = self.state, self.state.trapped
        changes: dict[str, float] = {}
        for name, lost in (("positive", told.positive), ("negative", told.negative)):
            left = self.fresh[name] * (1 - lost)
            held = getattr(state, name) - (state.plated if name == "negative" else 0.0)
            kept = held * (1 - left / getattr(state, f"size_{name}"))
            changes |= {f"size_{name}": left, name: getattr(state, name) - kept}
            trapped += kept
        self.state, self.condition = replace(state, trapped=trapped, **changes), told

    def _columns(self, seconds: np.ndarray, current: float) -> tuple[np.ndarray, ...]:
        state, told = self.state, self.condition
        flow = current * seconds / 3600
        positive = state.positive - flow
        negative = state.negative + flow * (1 - self.astray if current > 0 else 1.0)
        plated = self._plated(seconds, flow, negative, current)
        steady = current * self.polar * (1 + told.resistance)
        slow = steady + (state.slow - steady) * np.exp(-seconds / RELAXATION)
        volts = self._open(positive, negative, plated) + current * self.ohmic * (1 + told.resistance) + slow
        return seconds, volts, positive, negative, plated, slow

    def _plated(self, seconds: np.ndarray, flow: np.ndarray, negative: np.ndarray, current: float) -> np.ndarray:
        if current > 0:
            return np.maximum(self.state.plated, PLATED_SHARE * np.maximum(negative - self.plating_from, 0.0))
        stripped = STRIP_RATE * seconds if current == 0 else -flow
        return np.maximum(self.state.plated - stripped, 0.0)

    def _open(self, positive: np.ndarray, negative: np.ndarray, plated: np.ndarray) -> np.ndarray:
        state, told = self.state, self.condition
        y, x = positive / state.size_positive, (negative - plated) / state.size_negative
        volts = positive_potential(np.minimum(np.maximum(y, EMPTY), 1), told.fatigued)
        volts = volts - negative_potential(np.minimum(np.maximum(x, 0), 1), told.spread)
        if plated.any():
            volts = volts + METAL_LIFT * (1 - np.exp(-plated / METAL_LAST))
        # A full or an empty electrode ends a step: its potential runs away.
        return np.where((y < EMPTY) | (x > 1), 9.0, np.where((y > 1) | (x < 0), 0.0, volts))

    def _move(
        self, seconds: np.ndarray, volts: np.ndarray, amperes: np.ndarray, flow: np.ndarray, ends: tuple
    ) -> Trace:
        """Write the lines of a step and stand at its end."""
        positive, negative, plated, slow = ends
        self.step += 1
        trace = Trace(self.state.seconds + seconds, self.passed + flow, positive, negative)
        numbers = (np.full(len(seconds), number) for number in (self.cycle, self.step))
        self.lines.append((trace.seconds, volts, amperes, trace.charge, *numbers))
        self.passed = float(trace.charge[-1])
        self.state = replace(
            self.state, seconds=float(trace.seconds[-1]), positive=float(positive[-1]), negative=float(negative[-1]),
            plated=float(plated[-1]), slow=float(slow[-1]),
            side=self.state.side + self.astray * max(0.0, float(flow[-1])),
        )  # fmt: skip
        return trace


def _moments(interval: float, longest: float) -> np.ndarray:
    """Return when lines are written: soon after the step begins, then every `interval`, and at its end [s]."""
    return np.unique(
        np.concatenate([FIRST_LINES[longest > FIRST_LINES], np.arange(interval, longest, interval), [longest]])
    )


def _stopped(columns: tuple[np.ndarray, ...], level: float, sign: float) -> tuple[np.ndarray, ...]:
    """Return the columns of a step (seconds, volts, …) up to where the voltage times `sign` reaches `level`."""
    beyond = np.flatnonzero(sign * columns[1] >= level)
    if not beyond.size:
        return columns
    at = int(beyond[0])
    if at == 0:
        return tuple(one[:1] for one in columns)
    before, after = (sign * columns[1][at + k] for k in (-1, 0))
    part = (level - before) / (after - before)
    return tuple(np.append(one[:at], one[at - 1] + part * (one[at] - one[at - 1])) for one in columns)
