"""Resistance from steps of the current, by the time after each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.echem.passage import Passage, passage
from batlab.echem.readings import noise_of
from batlab.errors import SchemaError
from batlab.schema import quantity, record

FUNCTION = "echem.resistance"
DELAYS = (0.1, 1.0, 10.0, 30.0)
LEAST_SHARE = 0.1  # of the largest current: smaller steps tell little
STEADY = 0.05  # of the step: the current may move by this afterwards


class Step(NamedTuple):
    """Lines of the record: the last before the step, the first after it, the last at the new current."""

    before: int
    after: int
    until: int


def resistance(
    cell: xr.Dataset,
    *,
    delays: Sequence[float] = DELAYS,
    least_step: float | None = None,
    rest_current: float | None = None,
) -> xr.Dataset:
    """Return ΔU/ΔI for every step of the current, at chosen times after it.

    ΔU is the voltage at the delay (straight between lines) less that of the last line before the step; ΔI likewise. The
    step counts from that last line. Cyclers write a line when a step ends; where they do not, the moment is known to
    ``onset_doubt``, and delays shorter than that are NaN, as are delays beyond which the current has moved on by more
    than 5 % of the step. Short delays see ohmic drop and contacts, longer ones charge transfer and diffusion. What the
    voltage would have done without the step (relaxation, charging) is not taken off.

    σ is from the scatter of single readings of voltage and current, both from the whole record.

    Parameters
    ----------
    cell
        Record; see `cycles`.
    delays
        Times after the step [s], increasing.
    least_step
        Smallest |ΔI| [A]; 10 % of the largest current by default.
    rest_current
        See `cycles`.

    Returns
    -------
    xarray.Dataset
        Over (``event``, ``delay`` [s]): ``resistance`` and ``resistance_sigma`` [ohm]; over ``event``:
        ``resistance_first`` with σ at ``delay_first`` [s] (the first line after the step), ``current_before``,
        ``current_after``, ``voltage_before``, ``onset`` [s of test_time], ``onset_doubt``, ``charge_passed`` [Ah, net
        since the record began], ``cycle`` where the record numbers them, ``kind`` ("begins", "ends", "changes");
        coordinate ``time`` where the record has it.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record; no step; delays that are not positive or do not increase.

    Examples
    --------
    >>> seconds = np.array([0.0, 10, 10.1, 20, 30])
    >>> amps = np.array([0, 0, 1.0, 1, 1])
    >>> cell = xr.Dataset({"voltage": quantity("record", 3.6 + 0.05 * amps, "V", "voltage"),
    ...                    "current": quantity("record", amps, "A", "current")},
    ...                   {"test_time": quantity("record", seconds, "s", "time")})
    >>> found = resistance(cell, delays=[1.0, 30.0])
    >>> found.resistance.values.round(4).tolist()
    [[0.05, nan]]
    """
    wanted = np.asarray(delays, dtype=float)
    if wanted.ndim != 1 or not wanted.size or not (wanted > 0).all() or (np.diff(wanted) <= 0).any():
        raise ValueError(f"delays must be positive and increase, got {list(np.atleast_1d(delays))!r}")
    passed = passage(cell, FUNCTION, rest_current=rest_current)
    least = LEAST_SHARE * float(np.abs(passed.current).max()) if least_step is None else float(least_step)
    if not least > 0:
        raise ValueError(f"least_step must be positive, got {least_step!r}")
    steps = find_steps(passed, least)
    if not steps:
        raise SchemaError(
            f"{FUNCTION}: no step of the current above {least:g} A among {len(passed.current)} records; "
            "lower least_step"
        )
    joined = ~passed.is_break & (np.concatenate([[0], np.diff(passed.state)]) == 0)
    noise = tuple(noise_of(passed.seconds, values, joined) for values in (passed.voltage, passed.current))
    value, sigma = (np.full((len(steps), len(wanted)), np.nan) for _ in range(2))
    first = np.full((len(steps), 2), np.nan)
    for k, step in enumerate(steps):
        times = passed.seconds[step.before] + wanted
        known = (times >= passed.seconds[step.after]) & (times <= passed.seconds[step.until])
        value[k, known], sigma[k, known] = _ratio(passed, step, times[known], noise)
        first[k] = np.ravel(_ratio(passed, step, passed.seconds[[step.after]], noise))
    result = _table(cell, passed, steps, wanted, value, sigma, first)
    result.attrs.update(voltage_noise=noise[0], current_noise=noise[1])
    return record(result, FUNCTION, delays=list(map(float, wanted)), least_step=least_step, rest_current=rest_current)


def find_steps(passed: Passage, least: float) -> list[Step]:
    """Return the steps of the current above `least` [A]; lines on its flank belong to the step."""
    change = np.diff(passed.current)
    is_step = (np.abs(change) > least) & ~passed.is_break[1:]
    steps = []
    i = 0
    while i < len(change):
        if not is_step[i]:
            i += 1
            continue
        before = i
        while i + 1 < len(change) and is_step[i + 1] and change[i + 1] * change[before] > 0:
            i += 1
        after = i + 1
        size = abs(passed.current[after] - passed.current[before])
        moved = (np.abs(passed.current[after:] - passed.current[after]) > STEADY * size) | passed.is_break[after:]
        moved[0] = False
        until = after + (int(np.argmax(moved)) - 1 if moved.any() else len(moved) - 1)
        steps.append(Step(before, after, until))
        i += 1
    return steps


def _ratio(passed: Passage, step: Step, times: np.ndarray, noise: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    lines = slice(step.after, step.until + 1)
    volts, amps = (
        np.interp(times, passed.seconds[lines], values[lines]) - values[step.before]
        for values in (passed.voltage, passed.current)
    )
    ratio = volts / amps
    return ratio, np.sqrt(2.0) * np.hypot(noise[0], ratio * noise[1]) / np.abs(amps)


def _table(
    cell: xr.Dataset,
    passed: Passage,
    steps: list[Step],
    delays: np.ndarray,
    value: np.ndarray,
    sigma: np.ndarray,
    first: np.ndarray,
) -> xr.Dataset:
    before, after = (np.array([getattr(step, name) for step in steps]) for name in ("before", "after"))
    told = "voltage step over current step"
    kind = np.where(
        passed.state[before] == 0, "begins", np.where(passed.state[after] == 0, "ends", "changes")
    )  # fmt: skip
    doubt = passed.seconds[after] - passed.seconds[before]
    per_event = {
        "resistance_first": (first[:, 0], "ohm", f"{told}, first line after it"),
        "resistance_first_sigma": (first[:, 1], "ohm", "standard uncertainty from the noise of readings"),
        "delay_first": (doubt, "s", "first line after the step"),
        "onset": (passed.seconds[before], "s", "last line before the step"),
        "onset_doubt": (doubt, "s", "interval in which the step lies"),
        "current_before": (passed.current[before], "A", "current before the step"),
        "current_after": (passed.current[after], "A", "current after the step"),
        "voltage_before": (passed.voltage[before], "V", "voltage before the step"),
        "charge_passed": (np.cumsum(passed.charge)[before], "Ah", "net charge since the record began"),
    }
    variables = {name: quantity("event", values, units, text) for name, (values, units, text) in per_event.items()}
    variables["kind"] = quantity("event", kind, "", "whether the current begins, ends or changes")
    variables["resistance"] = quantity(("event", "delay"), value, "ohm", told)
    variables["resistance_sigma"] = quantity(
        ("event", "delay"), sigma, "ohm", "standard uncertainty from the noise of readings"
    )
    if "cycle" in cell.variables and cell["cycle"].dims == ("record",):
        variables["cycle"] = quantity("event", cell["cycle"].values[passed.kept[after]], "1", "number of the cycle")
    coords = {
        "event": quantity("event", np.arange(len(steps)), "1", "step of the current"),
        "delay": quantity("delay", delays, "s", "time after the step"),
    }
    if "time" in cell.variables:
        coords["time"] = quantity("event", cell["time"].values[passed.kept[before]], "", "time, UTC")
    return xr.Dataset(variables, coords, dict(cell.attrs))
