"""What kind of cycle each is, and whether it is whole."""

from __future__ import annotations

import numpy as np

from batlab.echem.passage import Passage

SLOW = 0.6  # of the usual rate: below, a formation or a check-up
PULSE_CHARGE = 0.12  # of the nominal capacity: steps of a tenth are pulses, more are none
LEAST_PULSES = 3
LEAST_FIRST = 0.8  # of the second half: a file whose first half has less began within it
LEAST_USUAL = 3  # complete cycles without which there is no usual rate
CUT_OFF_SHARE, CUT_OFF_LEAST = 0.02, 0.01  # how near to the usual cut-off is reached: of the window, and in V


def kinds_of(
    passed: Passage, index: np.ndarray, table: dict[str, np.ndarray], nominal: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kind, status and number of pulses of every cycle."""
    n = len(table["n_records"])
    n_pulses = _pulses(passed, index, n, nominal)
    status = _status(passed, index, table)
    whole = status == "complete"
    kind = np.where(whole, "cycle", "incomplete").astype("<U10")
    kind[whole & (n_pulses >= LEAST_PULSES)] = "pulse"
    usual = kind == "cycle"
    if usual.sum() >= LEAST_USUAL:
        rates = [table[f"c_rate_{half}"] for half in ("charge", "discharge")]
        slow = np.zeros(n, dtype=bool)
        for rate in rates:
            slow |= rate <= SLOW * np.median(rate[usual])
        is_first = np.logical_and.accumulate(slow | ~usual)
        kind[usual & slow & is_first] = "formation"
        kind[usual & slow & ~is_first] = "check_up"
    return kind, status, n_pulses


def _pulses(passed: Passage, index: np.ndarray, n: int, nominal: float) -> np.ndarray:
    """Return how many stretches of one sign, between rests or reversals, carry little charge."""
    new = np.concatenate([[True], (np.diff(passed.state) != 0) | (np.diff(index) != 0)])
    run, first = np.cumsum(new) - 1, np.flatnonzero(new)
    charge = np.abs(np.bincount(run, weights=passed.charge))
    small = (passed.state[first] != 0) & (charge > 0) & (charge <= PULSE_CHARGE * nominal)
    return np.bincount(index[first], weights=small, minlength=n).astype(np.int64)


def _status(passed: Passage, index: np.ndarray, table: dict[str, np.ndarray]) -> np.ndarray:
    n = len(table["n_records"])
    status = np.full(n, "complete", dtype="<U22")
    for half in ("charge", "discharge"):
        status[np.isnan(table[f"capacity_{half}"])] = f"no {half}"
    status[np.isnan(table["capacity_charge"]) & np.isnan(table["capacity_discharge"])] = "no current"
    first = np.searchsorted(index, np.arange(n))
    last = np.concatenate([first[1:], [len(index)]]) - 1
    gap = passed.is_break & ~np.isin(np.arange(len(index)), first)
    has_gap = np.bincount(index, weights=gap, minlength=n) > 0
    at_start = passed.is_break[first]
    at_end = np.concatenate([at_start[1:], [True]])
    doubted = (status == "complete") & (at_end | has_gap)
    others = (status == "complete") & ~doubted
    for one in map(int, np.flatnonzero(doubted)):
        status[one] = _judge(table, one, others, ends_under_current=passed.state[last[one]] != 0)
        if has_gap[one] and status[one] == "complete":
            status[one] = "a gap within"
    for one in map(int, np.flatnonzero((status == "complete") & at_start)):
        begun = passed.state[first[one] : last[one] + 1]
        half, other = ("charge", "discharge") if begun[begun != 0][0] > 0 else ("discharge", "charge")
        if table[f"capacity_{half}"][one] < LEAST_FIRST * table[f"capacity_{other}"][one]:
            status[one] = f"begins in the {half}"
    return status


def _judge(table: dict[str, np.ndarray], one: int, others: np.ndarray, *, ends_under_current: bool) -> str:
    """Return whether a cycle at an end of a file reached the cut-offs of the `others`, or its halves match."""
    if others.any():
        upper, lower = (np.median(table[name][others]) for name in ("voltage_upper", "voltage_lower"))
        near = max(CUT_OFF_SHARE * (upper - lower), CUT_OFF_LEAST)
        if table["voltage_upper"][one] < upper - near:
            return "cut in the charge"
        if table["voltage_lower"][one] > lower + near:
            return "cut in the discharge"
        return "complete"
    ratio = table["capacity_discharge"][one] / table["capacity_charge"][one]
    if ends_under_current and not 0.5 < ratio < 2.0:
        return "cut in the discharge" if ratio < 1 else "cut in the charge"
    return "complete"
