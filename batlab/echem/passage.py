"""What every step on a cycler's record asks first: its columns, the charge between its lines, charge or rest."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr

from batlab.errors import SchemaError, choose
from batlab.schema import require

# Counters that count up, of charging and of discharging, as the readers name them.
PAIRS = (
    ("charge_capacity", "discharge_capacity"),
    ("charging_capacity", "discharging_capacity"),
    ("capacity_charge", "capacity_discharge"),
    ("q_charge", "q_discharge"),
)
SOURCES = (None, "counter", "current")
FILE_NAMES = ("file_number", "file")
REST_SHARE = 5e-3  # of the largest current: less is a rest, above the offset and noise of usual cyclers
GAP_FACTOR = 10.0  # an interval that exceeds the usual one and both its neighbours by this is no part of the record
COUNTER_DOUBT = 0.02  # counter and integral disagree by more: said


@dataclass(frozen=True)
class Passage:
    """Columns of a record without its NaN, and what passed between each line and the one before (0 at the first).

    ``charge`` is signed [Ah, positive charges], ``energy`` likewise [Wh]; ``state`` is 1, -1 or 0 (rest). Nothing is
    counted where ``is_break`` holds: the first line of a file, and after a gap.
    """

    seconds: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    state: np.ndarray
    charge: np.ndarray
    charge_variance: np.ndarray
    energy: np.ndarray
    is_break: np.ndarray
    file: np.ndarray
    kept: np.ndarray
    source: str


def passage(
    cell: xr.Dataset, function: str, *, charge: str | None = None, rest_current: float | None = None
) -> Passage:
    """Return what passed in a record.

    Parameters
    ----------
    cell
        Record: ``voltage`` [V], ``current`` [A, positive charges], ``test_time`` [s] or ``time``.
    function
        Public name, for errors.
    charge
        ``"counter"``, ``"current"`` (trapezoid), or None: the counter where there is one that agrees with the current.
    rest_current
        Magnitude [A] up to which the cell rests; 0.5 % of the largest current by default.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record, a column missing, no line without NaN, a clock that runs backwards, an unknown word.
    """
    choose("charge", charge, SOURCES)
    require(cell, function, "record", hint="open a cycler's file with batlab.open")
    for name in ("voltage", "current"):
        if name not in cell:
            raise SchemaError(f"{function} needs a variable {name!r}, got {', '.join(map(str, cell.data_vars))}")
    seconds, voltage = _seconds(cell, function), np.asarray(cell["voltage"].values, dtype=float)
    current = np.asarray(cell["current"].values, dtype=float)
    kept = np.flatnonzero(np.isfinite(seconds) & np.isfinite(voltage) & np.isfinite(current))
    if kept.size == 0:
        raise SchemaError(f"{function} finds no record with time, voltage and current among {cell.sizes['record']}")
    seconds, voltage, current = seconds[kept], voltage[kept], current[kept]
    file = _file(cell)[kept]
    new_file = np.concatenate([[True], np.diff(file) != 0])
    falls = (np.diff(seconds) < 0) & ~new_file[1:]
    if falls.any():
        row = int(np.argmax(falls))
        raise SchemaError(
            f"{function}: the time falls from {seconds[row]:g} s to {seconds[row + 1]:g} s at record {kept[row + 1]}; "
            "sort the record by test_time, or split it where the test was restarted"
        )
    changes = _changes(cell, kept)
    state = states(current, changes, rest_current)
    is_break = new_file | _gaps(seconds, state)
    flow, variance = _integrated(seconds, current, is_break, changes)
    source = "current"
    if charge != "current":
        counted = _counted(cell, kept, flow, current, state, new_file, function, is_needed=charge == "counter")
        if counted is not None:
            flow, source = counted
            variance = np.zeros(len(flow))
    # Over a change of step the voltage jumps with the current: what flows, flows at the new voltage.
    before = np.where(changes, voltage, np.concatenate([voltage[:1], voltage[:-1]]))
    energy = flow * np.where(is_break, voltage, (voltage + before) / 2)
    return Passage(seconds, voltage, current, state, flow, variance, energy, is_break, file, kept, source)


def states(current: np.ndarray, changes: np.ndarray, rest_current: float | None) -> np.ndarray:
    """Return 1 where the cell is charged, -1 where discharged, 0 where it rests.

    A step of the programme in which the current has one sign is judged as a whole, so that noise about zero makes no
    cycles of a rest.

    Examples
    --------
    >>> states(np.array([0.0, 1.0, 1.0, -1e-5, -1.0]), np.zeros(5, dtype=bool), None).tolist()
    [0, 1, 1, 0, -1]
    """
    largest = float(np.percentile(np.abs(current), 99.0))
    limit = REST_SHARE * largest if rest_current is None else float(rest_current)
    if not limit >= 0:
        raise ValueError(f"rest_current must be at least 0, got {rest_current!r}")
    state = np.where(np.abs(current) > limit, np.sign(current), 0).astype(np.int8)
    if not changes.any():
        return state
    run = np.cumsum(changes)
    n = np.bincount(run)
    charging, discharging = (np.bincount(run, weights=state == sign) for sign in (1, -1))
    mean, size = (np.bincount(run, weights=values) / n for values in (current, np.abs(current)))
    of_one_sign = (charging == 0) | (discharging == 0) | (size <= limit)
    whole = np.where(np.abs(mean) > limit, np.sign(mean), 0).astype(np.int8)
    return np.where(of_one_sign[run], whole[run], state).astype(np.int8)


def _seconds(cell: xr.Dataset, function: str) -> np.ndarray:
    if "test_time" in cell.variables:
        return np.asarray(cell["test_time"].values, dtype=float)
    if "time" in cell.variables:
        time = cell["time"].values.astype("datetime64[ns]")
        known = time[~np.isnat(time)]
        start = known[0] if known.size else np.datetime64(0, "ns")
        return np.where(np.isnat(time), np.nan, (time - start) / np.timedelta64(1, "s"))
    raise SchemaError(f"{function} needs 'test_time' or 'time', got {', '.join(map(str, cell.variables))}")


def _file(cell: xr.Dataset) -> np.ndarray:
    for name in FILE_NAMES:
        if name in cell.variables and cell[name].dims == ("record",):
            return np.unique(cell[name].values, return_inverse=True)[1]
    return np.zeros(cell.sizes["record"], dtype=int)


def _changes(cell: xr.Dataset, kept: np.ndarray) -> np.ndarray:
    """Return which lines begin another step of the programme; none where the record does not number its steps."""
    changes = np.zeros(len(kept), dtype=bool)
    for name in ("step", "step_index", "cycle", *FILE_NAMES):
        if name in cell.variables and cell[name].dims == ("record",):
            values = cell[name].values[kept]
            changes[1:] |= values[1:] != values[:-1]
    return changes if "step" in cell or "step_index" in cell else np.zeros(len(kept), dtype=bool)


def _gaps(seconds: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return which lines follow a gap: an interval under current far longer than usual and than its neighbours."""
    interval = np.diff(seconds)
    if interval.size < 3:
        return np.zeros(len(seconds), dtype=bool)
    usual = np.median(interval[interval > 0]) if (interval > 0).any() else 0.0
    around = np.maximum(np.concatenate([[0.0], interval[:-1]]), np.concatenate([interval[1:], [0.0]]))
    long = (interval > GAP_FACTOR * usual) & (interval > GAP_FACTOR * around)
    return np.concatenate([[False], long & (state[1:] != 0) & (state[:-1] != 0)])


def _integrated(
    seconds: np.ndarray, current: np.ndarray, is_break: np.ndarray, changes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return charge [Ah] from each line to the next and its variance: when a new step began is known to an interval."""
    hours = np.concatenate([[0.0], np.diff(seconds)]) / 3600
    hours[is_break] = 0.0
    before = np.concatenate([current[:1], current[:-1]])
    # A new step's first line follows the last of the old one: what flows between them is the new current.
    flow = np.where(changes, current, (current + before) / 2) * hours
    return flow, np.where(changes, ((current - before) * hours) ** 2 / 12, 0.0)


def _counted(
    cell: xr.Dataset,
    kept: np.ndarray,
    flow: np.ndarray,
    current: np.ndarray,
    state: np.ndarray,
    new_file: np.ndarray,
    function: str,
    *,
    is_needed: bool,
) -> tuple[np.ndarray, str] | None:
    """Return charge from line to line by the cycler's counter, and the counter's name; None where there is none."""
    pair = next((two for two in PAIRS if all(_is_counter(cell, name) for name in two)), None)
    if pair is not None:
        # Where the reader let the counters of several files go on, their first line counts too.
        starts = np.arange(len(kept)) == 0 if "cycle_in_file" in cell else new_file
        up, down = (counter_steps(cell[name].values[kept].astype(float), starts) for name in pair)
        counted, name = up - down, " and ".join(pair)
    elif _is_counter(cell, "capacity"):
        counted, name = _net(cell["capacity"].values[kept].astype(float), flow, state, new_file), "capacity"
    elif is_needed:
        raise SchemaError(f"{function}: the record has no counter in Ah; use charge='current'")
    else:
        return None
    total, integral = np.nansum(np.abs(counted)), np.abs(flow).sum()
    if not np.isfinite(counted).all() or abs(total - integral) > COUNTER_DOUBT * max(total, integral):
        told = f"{function}: {name} counts {total:.6g} Ah in all, the current gives {integral:.6g} Ah"
        if not is_needed and pair is None:
            warnings.warn(f"{told}; the current is used, charge='counter' takes the counter", UserWarning, stacklevel=4)
            return None
        warnings.warn(f"{told}; the counter is used, charge='current' integrates", UserWarning, stacklevel=4)
    return np.nan_to_num(counted), name


def _is_counter(cell: xr.Dataset, name: str) -> bool:
    return name in cell.variables and cell[name].dims == ("record",) and cell[name].attrs.get("units") == "Ah"


def counter_steps(counter: np.ndarray, new_file: np.ndarray) -> np.ndarray:
    """Return what a counter that counts up gained from line to line; set back, it starts from zero.

    Examples
    --------
    >>> counter_steps(np.array([0.5, 1.0, 0.0, 0.5]), np.array([True, False, False, False])).tolist()
    [0.0, 0.5, 0.0, 0.5]
    """
    counter = np.abs(counter)
    before = np.concatenate([counter[:1], counter[:-1]])
    gained = np.where(counter < 0.5 * before, counter, counter - before)
    gained[new_file] = 0.0
    return gained


def _net(counter: np.ndarray, flow: np.ndarray, state: np.ndarray, new_file: np.ndarray) -> np.ndarray:
    """Return signed charge from line to line by one counter, net or of the half cycle, that may be set back."""
    before = np.concatenate([counter[:1], counter[:-1]])
    change = np.abs(counter - before)
    floor = 1e-4 * np.nanmax(np.abs(counter), initial=0.0)
    is_reset = (np.abs(counter) < 0.5 * np.abs(before)) & (np.abs(change - np.abs(flow)) > 0.25 * np.abs(flow) + floor)
    gained = np.where(is_reset, np.minimum(np.abs(counter), 1.25 * np.abs(flow) + floor), change)
    gained[new_file] = 0.0
    return gained * np.where(state == 0, np.sign(flow) * (np.abs(flow) > floor), state)
