"""The life of a virtual cell: formation, ageing, check-ups, and the moments at which X-rays look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batlab.simulate.ageing import FIRST, Condition, Fate
from batlab.simulate.cell import FIRST_LOSS
from batlab.simulate.cell_steps import LIMITS, NOMINAL, PLATED_SHARE, Cycler, State, Trace

# Parts of a slow half at which X-rays look, closer where the oxide's c axis moves fast; and once in each rest.
AT_CHARGE = (0.01, 0.12, 0.24, 0.38, 0.52, 0.66, 0.77, 0.86, 0.93, 0.98)
AT_DISCHARGE = (0.02, 0.07, 0.14, 0.23, 0.34, 0.48, 0.62, 0.76, 0.88, 0.97)
AT_REST = (0.5,)
CHECKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the life: check-ups
SEEN = (0.0, 0.5, 1.0)  # check-ups at which X-rays look


@dataclass(frozen=True)
class Moment:
    """The cell at the end of a cycle, or in the step in which X-rays look."""

    cycle: int
    state: State
    condition: Condition


@dataclass(frozen=True)
class Look(Moment):
    """X-rays begin at `seconds`, in a step whose `trace` says where the lithium is."""

    seconds: float
    trace: Trace

    def lithium(self, delay: float) -> tuple[float, float]:
        """Return lithium per formula unit of the working oxide and per C6 of the working graphite, `delay` s later."""
        positive, negative = (
            float(np.interp(self.seconds + delay, self.trace.seconds, one))
            for one in (self.trace.positive, self.trace.negative)
        )
        return positive / self.state.size_positive, negative / self.state.size_negative


@dataclass(frozen=True)
class Life:
    """A cell's record (seconds, voltage, current, charge in the cycle, cycle, step), its cycles and its looks.

    `first` is the number of the first check-up's slow cycle, from which losses count.
    """

    record: tuple[np.ndarray, ...]
    cycles: list[Moment]
    looks: list[Look]
    first: int

    @property
    def fresh(self) -> State:
        """The cell at its first check-up."""
        return self.cycles[self.first - 1].state


def live(fate: Fate, n_cycles: int, *, scale: tuple[float, float, float]) -> Life:
    """Return the life of a cell: two formation cycles, `n_cycles` of ageing, check-ups among them."""
    cycler, cycles, looks = Cycler(scale=scale), [], []
    cycler.condition = fate.condition(n_cycles, 0)

    def done() -> None:
        cycles.append(Moment(cycler.cycle, cycler.state, cycler.condition))

    for lost in (FIRST_LOSS * cycler.fresh["negative"], 1e-3 * NOMINAL):
        _form(cycler, lost)
        done()
    whole = cycler.state.inventory
    checks, seen = ({round(FIRST + part * (n_cycles - FIRST)) for part in parts} for parts in (CHECKS, SEEN))
    top, first = np.inf, 0
    for number in range(1, n_cycles + 1):
        told = fate.condition(n_cycles, number)
        top = _age(cycler, told, whole, top)
        done()
        if number in checks:
            _pulses(cycler)
            done()
            found = _check_up(cycler)
            done()
            first = first or cycler.cycle
            looks += found if number in seen else []
    record = tuple(np.concatenate(column) for column in zip(*cycler.lines, strict=True))
    return Life(record, cycles, looks, first)


def _form(cycler: Cycler, lost: float) -> None:
    cycler.begin()
    cycler.astray = lost / NOMINAL
    cycler.run(NOMINAL / 10, interval=180.0, until=LIMITS[1])
    cycler.run(0.0, interval=60.0, duration=600.0)
    cycler.run(-NOMINAL / 10, interval=180.0, until=LIMITS[0])
    cycler.run(0.0, interval=60.0, duration=600.0)


def _age(cycler: Cycler, told: Condition, whole: float, top: float) -> float:
    """Run one cycle of ageing; lithium goes astray while charging, material is lost when charged.

    `top` is what the negative electrode held when it was last full, `whole` the inventory of the fresh cell; returns
    the new top.
    """
    cycler.begin()
    eaten = max(0.0, told.side - cycler.condition.side) * whole
    cycler.astray = eaten / NOMINAL
    metal = told.plated * whole
    cycler.plating_from = top - eaten - metal / PLATED_SHARE if metal > 0 else np.inf
    cycler.run(NOMINAL / 2, interval=60.0, until=LIMITS[1])
    cycler.hold(interval=60.0)
    full = cycler.state.negative
    cycler.run(0.0, interval=30.0, duration=2400.0)
    cycler.lose(told)
    cycler.run(-NOMINAL, interval=40.0, until=LIMITS[0])
    cycler.run(0.0, interval=60.0, duration=600.0)
    cycler.astray, cycler.plating_from = 0.0, np.inf
    return full


def _pulses(cycler: Cycler) -> None:
    """Run pulses at half charge, then empty the cell slowly."""
    cycler.begin()
    cycler.run(NOMINAL / 2, interval=120.0, until=LIMITS[1], duration=3600.0 * 0.9)
    cycler.run(0.0, interval=60.0, duration=1800.0)
    for _ in range(3):
        for current in (-NOMINAL, NOMINAL):
            cycler.run(current, interval=5.0, duration=30.0)
            cycler.run(0.0, interval=20.0, duration=300.0)
    cycler.run(-NOMINAL / 2, interval=120.0, until=LIMITS[0])
    cycler.run(-NOMINAL / 20, interval=300.0, until=LIMITS[0])
    cycler.run(0.0, interval=60.0, duration=1800.0)


def _check_up(cycler: Cycler) -> list[Look]:
    """Run one slow cycle and return the moments at which X-rays may look."""
    cycler.begin()
    looks = []
    for current, until, parts in (
        (NOMINAL / 20, LIMITS[1], AT_CHARGE),
        (0.0, None, AT_REST),
        (-NOMINAL / 20, LIMITS[0], AT_DISCHARGE),
        (0.0, None, AT_REST),
    ):
        rest = {"interval": 120.0, "duration": 3600.0} if until is None else {"interval": 240.0, "until": until}
        begins = cycler.state.seconds
        trace = cycler.run(current, **rest)
        length = cycler.state.seconds - begins
        looks += [Look(cycler.cycle, cycler.state, cycler.condition, begins + part * length, trace) for part in parts]
    return looks
