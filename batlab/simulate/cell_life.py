"""The life of a virtual cell: formation, ageing, check-ups; lithium counted in both electrodes, the voltage from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from batlab.simulate.ageing import FIRST, Condition, condition
from batlab.simulate.cell import CAPACITY, FIRST_LOSS, FULL, GRAPHITE_PER_NMC, GRAPHITE_VOLTAGE, NMC_VOLTAGE

NOMINAL = 0.050  # Ah
LIMITS = (3.0, 4.2)  # V
OHMIC, SLOW = 0.9, 0.5  # ohm of the fresh cell: at once, and with the time below
RELAXATION = 200.0  # s
CUT_OFF = 0.05  # of the nominal capacity per hour: where a held voltage ends
FATIGUED_AT = 0.25  # lithium below which fatigued material does not go: 75 % of charge (10.1038/s41563-020-0767-8)
PLATED_SHARE = 0.5  # of the lithium that arrives while metal is plated
STRIP_RATE = 0.015 * NOMINAL / 1200  # Ah/s at rest
METAL_LIFT = 0.03  # V by which metal on it pulls the graphite down; 10.1016/j.jpowsour.2016.12.032
QUANTILES = np.array([-1.5, -0.75, 0.0, 0.75, 1.5]) / 1.0607  # five equal parts of the graphite, one σ apart in all
FIRST_LINES = np.array([0.1, 1.0, 10.0])  # s after a step begins, as cyclers write them
# Parts of a slow half at which X-rays look, closer where the oxide's c axis moves fast; and once in each rest.
AT_CHARGE = (0.01, 0.12, 0.24, 0.38, 0.52, 0.66, 0.77, 0.86, 0.93, 0.98)
AT_DISCHARGE = (0.02, 0.07, 0.14, 0.23, 0.34, 0.48, 0.62, 0.76, 0.88, 0.97)
CHECKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the life: check-ups; those of the second line are seen by X-rays
SEEN = (0.0, 0.5, 1.0)


@dataclass
class State:
    """Lithium in both electrodes and their sizes [Ah]; `plated` of the negative's is metal; `slow` polarization [V]."""

    seconds: float
    positive: float
    negative: float
    size_positive: float
    size_negative: float
    plated: float = 0.0
    slow: float = 0.0
    side: float = 0.0
    trapped_positive: float = 0.0
    trapped_negative: float = 0.0


@dataclass
class Life:
    """Lines of the cycler and, at the moments when X-rays look, what is in the electrodes.

    `lines` are columns, one array a step; `checks` has one dict a check-up: cycle, condition, sizes, inventory;
    `looks` one a moment: seconds, cycle, charge passed in the cycle, its share, lithium per unit, condition.
    """

    lines: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    cycles: list[dict[str, Any]] = field(default_factory=list)

    def columns(self) -> tuple[np.ndarray, ...]:
        """Return seconds, voltage, current, charge in the cycle, cycle and step."""
        return tuple(np.concatenate(column) for column in zip(*self.lines, strict=True))


@cache
def _curves() -> tuple[Callable, Callable]:
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(*NMC_VOLTAGE), PchipInterpolator(*GRAPHITE_VOLTAGE)


def split_positive(lithium: np.ndarray | float, fatigued: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the lithium in healthy and in fatigued material where both hold `lithium` in the mean."""
    lithium = np.asarray(lithium, dtype=float)
    behind = np.maximum(lithium, FATIGUED_AT)
    return (lithium - fatigued * behind) / (1 - fatigued), behind


def parts_of_graphite(lithium: np.ndarray | float, spread: float) -> np.ndarray:
    """Return lithium per C6 in five equal parts, (part, moment); their mean is `lithium`."""
    lithium = np.asarray(lithium, dtype=float)
    width = np.minimum(4 * spread * lithium * (1 - lithium), np.minimum(lithium, 1 - lithium) / QUANTILES[-1])
    return lithium + QUANTILES.reshape(-1, *[1] * lithium.ndim) * width


def positive_potential(lithium: np.ndarray | float, fatigued: float = 0.0) -> np.ndarray:
    """Return the potential of the positive electrode in V against lithium."""
    return _curves()[0](split_positive(lithium, fatigued)[0])


def negative_potential(lithium: np.ndarray | float, spread: float = 0.0) -> np.ndarray:
    """Return the potential of the negative electrode in V against lithium, the mean of its parts."""
    if not spread:
        return _curves()[1](lithium)
    return _curves()[1](parts_of_graphite(lithium, spread)).mean(axis=0)


class Cycler:
    """Runs one cell through steps and writes lines."""

    def __init__(self, *, scale: tuple[float, float, float]) -> None:
        self.life = Life()
        self.ohmic, self.polar = OHMIC * scale[2], SLOW * scale[2]
        positive, negative = CAPACITY * scale[0], CAPACITY / GRAPHITE_PER_NMC * scale[1]
        self.state = State(0.0, FULL * positive, 0.0, positive, negative)
        self.condition = Condition()
        self.cycle, self.step, self.passed = 0, 0, 0.0
        self.share = 0.0  # of the charging current that goes astray
        self.plating_from = np.inf

    def begin(self) -> None:
        """Begin another cycle."""
        self.cycle, self.step, self.passed = self.cycle + 1, 0, 0.0

    def run(self, current: float, *, interval: float, until: float | None = None, duration: float | None = None):
        """Run one step at constant `current` [A] up to a voltage, or for a time [s]; return its traces."""
        state, sign = self.state, np.sign(current)
        self.step += 1
        longest = duration if duration is not None else 1.3 * CAPACITY / abs(current) * 3600
        seconds = np.append(np.arange(interval, longest, interval), longest)
        seconds = np.concatenate([FIRST_LINES[seconds[0] > FIRST_LINES], seconds])
        trace = self._trace(seconds, current)
        if until is not None:
            seconds, trace = _stopped(seconds, trace, sign * until, sign)
        volts, positive, negative, plated, slow = trace
        charge = self.passed + current * seconds / 3600
        self._write(seconds, volts, np.full(len(seconds), current), charge)
        astray = max(current, 0.0) * seconds[-1] / 3600 * self.share
        start = state.seconds
        self.state = State(
            start + float(seconds[-1]), float(positive[-1]), float(negative[-1]), state.size_positive,
            state.size_negative, float(plated[-1]), float(slow[-1]), state.side + astray, state.trapped_positive,
            state.trapped_negative,
        )  # fmt: skip
        self.passed = float(charge[-1])
        return start + seconds, charge, positive, negative

    def _trace(self, seconds: np.ndarray, current: float) -> tuple[np.ndarray, ...]:
        state, told = self.state, self.condition
        flow = current * seconds / 3600
        positive = state.positive - flow
        negative = state.negative + flow * (1 - self.share if current > 0 else 1.0)
        plated = self._plated(seconds, flow, negative, current)
        steady = current * self.polar * (1 + told.resistance)
        slow = steady + (state.slow - steady) * np.exp(-seconds / RELAXATION)
        volts = self._open(positive, negative, plated) + current * self.ohmic * (1 + told.resistance) + slow
        return volts, positive, negative, plated, slow

    def _plated(self, seconds: np.ndarray, flow: np.ndarray, negative: np.ndarray, current: float) -> np.ndarray:
        if current > 0:
            return np.maximum(self.state.plated, PLATED_SHARE * np.maximum(negative - self.plating_from, 0.0))
        stripped = STRIP_RATE * seconds if current == 0 else -flow
        return np.maximum(self.state.plated - stripped, 0.0)

    def _open(self, positive: np.ndarray, negative: np.ndarray, plated: np.ndarray) -> np.ndarray:
        state, told = self.state, self.condition
        y, x = positive / state.size_positive, (negative - plated) / state.size_negative
        outside = (y < 0.1) | (y > 1) | (x < 0) | (x > 1)
        y, x = np.clip(y, 0.1, 1), np.clip(x, 0, 1)
        volts = positive_potential(y, told.fatigued) - negative_potential(x, told.spread)
        if plated.any():
            volts = volts + METAL_LIFT * (1 - np.exp(-plated / (2e-3 * NOMINAL)))
        # A full or an empty electrode ends a step: its potential runs away.
        return np.where(outside, np.where((y <= 0.1) | (x >= 1), 9.0, 0.0), volts)

    def hold(self, *, interval: float) -> None:
        """Hold the upper voltage until the current has fallen to the cut-off."""
        state, volts = self.state, LIMITS[1]
        resistance = (self.ohmic + self.polar) * (1 + self.condition.resistance)
        self.step += 1
        charge = np.linspace(0, 0.15 * NOMINAL, 600)
        positive, negative = state.positive - charge, state.negative + charge * (1 - self.share)
        plated = self._plated(charge, charge, negative, 1.0)
        current = (volts - self._open(positive, negative, plated)) / resistance
        ends = np.flatnonzero(current <= CUT_OFF * NOMINAL)
        last = int(ends[0]) if ends.size else len(charge) - 1
        if last < 2:
            return
        inverse = 1 / current[: last + 1]
        hours = np.concatenate([[0.0], np.cumsum((inverse[1:] + inverse[:-1]) / 2 * np.diff(charge[: last + 1]))])
        seconds = np.append(np.arange(interval, 3600 * hours[-1], interval), 3600 * hours[-1])
        passed = np.interp(seconds, 3600 * hours, charge[: last + 1])
        amperes = np.interp(passed, charge, current)
        self._write(seconds, np.full(len(seconds), volts), amperes, self.passed + passed)
        total = float(passed[-1])
        state.seconds += float(seconds[-1])
        state.positive -= total
        state.negative += total * (1 - self.share)
        state.side += total * self.share
        state.plated, state.slow = (
            float(plated[last]),
            float(amperes[-1]) * self.polar * (1 + self.condition.resistance),
        )
        self.passed += total

    def _write(self, seconds: np.ndarray, volts: np.ndarray, amperes: np.ndarray, charge: np.ndarray) -> None:
        whole = np.full(len(seconds), self.cycle), np.full(len(seconds), self.step)
        self.life.lines.append((self.state.seconds + seconds, volts, amperes, charge, *whole))

    def lose(self, told: Condition, sizes: tuple[float, float]) -> None:
        """Take on the condition `told`; material lost now keeps the lithium that is in it."""
        state = self.state
        for name, lost in (("positive", told.positive), ("negative", told.negative)):
            now, left = getattr(state, f"size_{name}"), sizes[name == "negative"] * (1 - lost)
            held = getattr(state, name) - (state.plated if name == "negative" else 0.0)
            kept = held * (1 - left / now)
            setattr(state, f"size_{name}", left)
            setattr(state, name, getattr(state, name) - kept)
            setattr(state, f"trapped_{name}", getattr(state, f"trapped_{name}") + kept)
        self.condition = told


def _stopped(
    seconds: np.ndarray, trace: tuple[np.ndarray, ...], level: float, sign: float
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Return the step up to where the voltage times `sign` reaches `level`."""
    beyond = np.flatnonzero(sign * trace[0] >= level)
    if not beyond.size or beyond[0] == 0:
        keep = 1 if beyond.size else len(seconds)
        return seconds[:keep], tuple(one[:keep] for one in trace)
    at = int(beyond[0])
    before, after = sign * trace[0][at - 1], sign * trace[0][at]
    part = (level - before) / (after - before)
    seconds, *trace_ = (np.append(one[:at], one[at - 1] + part * (one[at] - one[at - 1])) for one in (seconds, *trace))
    return seconds, tuple(trace_)


def live(
    mechanisms: Mapping[str, float], healthy: Condition, n_cycles: int, *, scale: tuple[float, float, float],
    mixing: float,
) -> Life:  # fmt: skip
    """Return the life of a cell: two formation cycles, `n_cycles` of ageing, five check-ups among them."""
    cycler = Cycler(scale=scale)
    sizes = cycler.state.size_positive, cycler.state.size_negative
    cycler.condition = condition(mechanisms, healthy, n_cycles, 0, mixing=mixing)
    for number in range(2):
        cycler.begin()
        cycler.share = (FIRST_LOSS * sizes[1] if number == 0 else 1e-3 * NOMINAL) / NOMINAL
        _simple(cycler, NOMINAL / 10, NOMINAL / 10, rest=600.0)
    whole = cycler.state.positive + cycler.state.negative
    checks, looks = ({round(FIRST + part * (n_cycles - FIRST)) for part in parts} for parts in (CHECKS, SEEN))
    for done in range(1, n_cycles + 1):
        told = condition(mechanisms, healthy, n_cycles, done, mixing=mixing)
        _age(cycler, told, sizes, whole)
        if done in checks:
            cycler.share = 0.0
            cycler.plating_from = np.inf
            _pulses(cycler)
            _check_up(cycler, look=done in looks)
    return cycler.life


def _simple(cycler: Cycler, charge: float, discharge: float, *, rest: float) -> None:
    cycler.run(charge, interval=180.0, until=LIMITS[1])
    cycler.run(0.0, interval=60.0, duration=rest)
    cycler.run(-discharge, interval=180.0, until=LIMITS[0])
    cycler.run(0.0, interval=60.0, duration=rest)
    _tell(cycler)


def _age(cycler: Cycler, told: Condition, sizes: tuple[float, float], whole: float) -> None:
    """Run one cycle of ageing; lithium goes astray while charging, material is lost when charged."""
    state = cycler.state
    cycler.begin()
    expected = LAST_CHARGE * (state.positive + state.negative) / whole
    cycler.share = max(0.0, told.side - cycler.condition.side) * whole / expected
    plated = told.plated * whole
    full = state.negative + expected
    cycler.plating_from = full - plated / PLATED_SHARE if plated > 0 else np.inf
    cycler.run(NOMINAL / 2, interval=60.0, until=LIMITS[1])
    cycler.hold(interval=60.0)
    cycler.run(0.0, interval=30.0, duration=2400.0)
    cycler.lose(told, sizes)
    cycler.run(-NOMINAL, interval=40.0, until=LIMITS[0])
    cycler.run(0.0, interval=60.0, duration=600.0)
    _tell(cycler)


LAST_CHARGE = 0.92 * NOMINAL  # about what a charge of the fresh cell takes; only shares of it matter


def _pulses(cycler: Cycler) -> None:
    """Run pulses at half charge, then empty the cell slowly."""
    cycler.begin()
    cycler.run(NOMINAL / 2, interval=120.0, duration=3600.0 * 0.9)
    cycler.run(0.0, interval=60.0, duration=1800.0)
    for _ in range(3):
        for current in (-NOMINAL, NOMINAL):
            cycler.run(current, interval=5.0, duration=30.0)
            cycler.run(0.0, interval=20.0, duration=300.0)
    cycler.run(-NOMINAL / 2, interval=120.0, until=LIMITS[0])
    cycler.run(-NOMINAL / 20, interval=300.0, until=LIMITS[0])
    cycler.run(0.0, interval=60.0, duration=1800.0)
    _tell(cycler)


def _check_up(cycler: Cycler, *, look: bool) -> None:
    """Run one slow cycle; the X-rays may look on."""
    cycler.begin()
    steps = [cycler.run(NOMINAL / 20, interval=240.0, until=LIMITS[1])]
    steps.append(cycler.run(0.0, interval=120.0, duration=3600.0))
    steps.append(cycler.run(-NOMINAL / 20, interval=240.0, until=LIMITS[0]))
    steps.append(cycler.run(0.0, interval=120.0, duration=3600.0))
    top = float(steps[0][1][-1])
    for step, parts in zip(steps, (AT_CHARGE, (0.5,), AT_DISCHARGE, (0.5,)), strict=True):
        seconds, charge, positive, negative = step
        for part in parts if look else ():
            at = seconds[0] + part * (seconds[-1] - seconds[0])
            cycler.life.looks.append({
                "seconds": at, "cycle": cycler.cycle, "step": step is steps[1] or step is steps[3],
                "charge": float(np.interp(at, seconds, charge)), "soc": float(np.interp(at, seconds, charge)) / top,
                "trace": (seconds, positive, negative), "state": cycler.state, "condition": cycler.condition,
            })  # fmt: skip
    cycler.life.checks.append({"cycle": cycler.cycle, "condition": cycler.condition, "state": cycler.state})
    _tell(cycler)


def _tell(cycler: Cycler) -> None:
    cycler.life.cycles.append({"cycle": cycler.cycle, "state": cycler.state, "condition": cycler.condition})
