"""Halves of cycles: voltage against charge in one direction, without rests and without what a held voltage lets in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.echem.cycle_numbers import Numbers, number_cycles
from batlab.echem.passage import Passage, passage
from batlab.errors import choose

DIRECTIONS = {"charge": 1, "discharge": -1}
HOLD_BAND = 2e-3  # V within which a voltage is held
HOLD_CURRENT = 0.95  # of the current on reaching it: less is a hold


class Half(NamedTuple):
    """One half: for each stretch of current the voltages [V] and the charge passed up to each [Ah, counts up].

    ``held`` is the charge [Ah] at held voltage, which the stretches leave out.
    """

    stretches: list[tuple[np.ndarray, np.ndarray]]
    held: float

    @property
    def charge(self) -> float:
        """Charge of the stretches, Ah."""
        return float(sum(charge[-1] - charge[0] for _, charge in self.stretches))


def halves_of(
    cell: xr.Dataset, half: str, which: int | Sequence[int] | None, function: str, *, charge: str | None, hold: bool
) -> tuple[np.ndarray, list[Half], Passage]:
    """Return labels of cycles, one `Half` for each, and the passage they come from.

    Raises
    ------
    ValueError, KeyError
        An unknown direction; a cycle that is not there.
    """
    choose("half", half, DIRECTIONS)
    passed = passage(cell, function, charge=charge)
    numbers = number_cycles(cell, passed, None, function)
    places = _places(numbers, which, function)
    edges = np.searchsorted(numbers.index, np.arange(len(numbers.labels) + 1))
    found = [_half(passed, slice(edges[k], edges[k + 1]), DIRECTIONS[half], hold) for k in places]
    return numbers.labels[places], found, passed


def _places(numbers: Numbers, which: int | Sequence[int] | None, function: str) -> np.ndarray:
    if which is None:
        return np.arange(len(numbers.labels))
    wanted = np.atleast_1d(np.asarray(which))
    missing = wanted[~np.isin(wanted, numbers.labels)]
    if missing.size:
        raise ValueError(
            f"{function}: cycle must be among {numbers.labels[0]} to {numbers.labels[-1]}, got {missing[0]!r}"
        )
    return np.searchsorted(numbers.labels, np.unique(wanted))


def _half(passed: Passage, rows: slice, sign: int, hold: bool) -> Half:
    state, voltage = passed.state[rows], passed.voltage[rows]
    current, charge = np.abs(passed.current[rows]), sign * passed.charge[rows]
    breaks = passed.is_break[rows]
    on = state == sign
    starts = on & ~np.concatenate([[False], on[:-1] & ~breaks[1:]])
    run = np.cumsum(starts)
    stretches, held, total = [], 0.0, 0.0
    for number in range(1, int(starts.sum()) + 1):
        at = np.flatnonzero(on & (run == number))
        end = len(at) if hold else _hold_begins(sign * voltage[at], current[at])
        held += float(charge[at[end:]].sum())
        # What flowed up to the first line flowed at its voltage: it is the first reading under current.
        passed_by = total + np.concatenate([[0.0], np.cumsum(charge[at[:end]])])
        stretches.append((np.concatenate([voltage[at[:1]], voltage[at[:end]]]), passed_by))
        total = passed_by[-1]
    return Half(stretches, held)


def _hold_begins(level: np.ndarray, current: np.ndarray) -> int:
    """Return the line from which the voltage is held: it stands at its extreme while the current falls."""
    reached = int(np.argmax(level >= level.max() - HOLD_BAND))
    falls = (level[reached:] >= level.max() - HOLD_BAND) & (current[reached:] < HOLD_CURRENT * current[reached])
    return reached + int(np.argmax(falls)) if falls.any() else len(level)
