"""A cycler's record as a table of cycles."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.echem.cycle_kinds import kinds_of
from batlab.echem.cycle_numbers import Numbers, number_cycles
from batlab.echem.passage import Passage, passage
from batlab.errors import choose
from batlab.schema import quantity, record

FUNCTION = "echem.cycles"
EFFICIENCIES = ("discharge/charge", "charge/discharge")
HALVES = {"charge": 1, "discharge": -1}


def cycles(
    cell: xr.Dataset,
    *,
    by: str | None = None,
    charge: str | None = None,
    efficiency: str = "discharge/charge",
    nominal: float | None = None,
    rest_current: float | None = None,
) -> xr.Dataset:
    """Return what each cycle of a record charged, discharged, lasted and lost.

    Charge is taken from the cycler's counters where it has them in Ah and they agree with the current, else integrated
    (trapezoid; when the programme changes step the new current flows from the last line of the old one). Energy is
    ∫ V dQ. Mean voltages are energy over capacity, the hysteresis is their difference. Nothing is counted across the
    edge of a file or a gap under current. A number that comes again in another file is another cycle.

    A cycle is of the ``kind`` ``"incomplete"`` where a half is missing or where, at the end of a file or at a gap, it
    stops before the cut-off of the others, or at the start of a file the first half is below 80 % of the second;
    ``"pulse"`` with three or more stretches of current between rests or reversals, none of them above 12 % of the
    nominal capacity; ``"formation"`` if it and all before it run at 0.6 of the usual rate or less; ``"check_up"`` if
    it does so later; else ``"cycle"``. The usual rate is the median of the complete cycles; with fewer than three of
    them no formation or check-up is told apart.

    Parameters
    ----------
    cell
        Record: ``voltage`` [V], ``current`` [A, positive charges], ``test_time`` [s]; ``cycle``, ``step`` and charge
        counters if there are any. Lines with NaN are left out.
    by
        ``"cycle"``: the record's own numbers; ``"current"``: a cycle begins where the sign of the first half comes
        back (halves of less than 5 % of the largest do not count). By default the numbers, unless there is only one
        and the current comes and goes.
    charge
        ``"counter"``, ``"current"`` or None, as above.
    efficiency
        ``"discharge/charge"``, or ``"charge/discharge"`` for half cells that begin with a discharge.
    nominal
        Capacity [Ah] to which C-rates refer; by default the largest of a cycle, which ``nominal_capacity`` states.
    rest_current
        Magnitude [A] up to which the cell rests; 0.5 % of the largest current by default.

    Returns
    -------
    xarray.Dataset
        Over ``cycle`` (the record's numbers where they rise, else counted from 1): ``capacity_charge``,
        ``capacity_discharge`` [Ah] (with ``_sigma`` from the moments of switching where the current was integrated),
        ``energy_charge``, ``energy_discharge`` [Wh], ``coulombic_efficiency``, ``energy_efficiency``,
        ``voltage_charge``, ``voltage_discharge`` (means), ``hysteresis``, ``voltage_upper``, ``voltage_lower`` [V,
        cut-offs], ``current_charge``, ``current_discharge`` [A, magnitudes; the median by charge], ``c_rate_charge``,
        ``c_rate_discharge`` [1/h], ``duration``, ``duration_charge``, ``duration_discharge``, ``duration_rest`` [s],
        ``n_records``, ``n_pulses``, ``kind``, ``status`` (why it is incomplete), ``cycle_recorded``, ``file_number``,
        ``is_after_gap`` (1: cycles may be missing before it: as the record says, else where another file begins);
        coordinates ``test_time`` and ``time`` of its first line. What a cycle does not have is NaN.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record, a column missing, an unknown word, nothing but rest.

    Warns
    -----
    UserWarning
        Counter and current disagree by more than 2 %; incomplete cycles.

    Examples
    --------
    >>> hours = np.arange(0, 4.01, 0.01)
    >>> current = np.where(hours % 2 < 1, 0.5, -0.5)
    >>> voltage = 3.5 + 0.5 * np.abs(1 - (hours + 1) % 2) + 0.1 * np.sign(current)
    >>> cell = xr.Dataset({"voltage": quantity("record", voltage, "V", "voltage"),
    ...                    "current": quantity("record", current, "A", "current")},
    ...                   {"test_time": quantity("record", 3600 * hours, "s", "time")})
    >>> table = cycles(cell.isel(record=slice(0, 400)))
    >>> table.capacity_discharge.values.round(2).tolist(), table.hysteresis.values.round(1).tolist()
    ([0.5, 0.5], [0.2, 0.2])
    """
    choose("efficiency", efficiency, EFFICIENCIES)
    if nominal is not None and not (np.isfinite(nominal) and nominal > 0):
        raise ValueError(f"nominal must be a positive capacity in Ah, got {nominal!r}")
    passed = passage(cell, FUNCTION, charge=charge, rest_current=rest_current)
    numbers = number_cycles(cell, passed, by, FUNCTION)
    table = _sums(passed, numbers.index, len(numbers.labels))
    _ratios(table, efficiency)
    largest = np.fmax(table["capacity_charge"], table["capacity_discharge"])
    rated = float(nominal if nominal is not None else np.nanmax(np.where(np.isfinite(largest), largest, 0.0)))
    for half in HALVES:
        table[f"c_rate_{half}"] = table[f"current_{half}"] / rated
    kind, status, n_pulses = kinds_of(passed, numbers.index, table, rated)
    result = _labelled(cell, passed, numbers, table, kind, status, n_pulses)
    result.attrs.update(
        charge_source=passed.source, cycles_by=numbers.by, efficiency=efficiency, nominal_capacity=rated
    )
    lost = [f"{n} ({why})" for n, why, what in zip(result["cycle"].values, status, kind) if what == "incomplete"]
    if lost:
        told = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        warnings.warn(
            f"{FUNCTION}: {len(lost)} of {len(kind)} cycles are incomplete: {told}", UserWarning, stacklevel=2
        )
    return record(
        result, FUNCTION, by=by, charge=charge, efficiency=efficiency, nominal=nominal, rest_current=rest_current
    )


def _sums(passed: Passage, index: np.ndarray, n: int) -> dict[str, np.ndarray]:
    interval = np.concatenate([[0.0], np.diff(passed.seconds)])
    interval[passed.is_break] = 0.0
    table: dict[str, np.ndarray] = {"n_records": np.bincount(index, minlength=n)}
    table["duration"] = np.bincount(index, weights=interval, minlength=n)
    for half, sign in HALVES.items():
        flows = np.where(passed.charge * sign > 0, np.abs(passed.charge), 0.0)
        table[f"capacity_{half}"] = _or_nan(np.bincount(index, weights=flows, minlength=n))
        if passed.source == "current":
            spread = np.where(passed.state == sign, passed.charge_variance, 0.0)
            table[f"capacity_{half}_sigma"] = np.sqrt(np.bincount(index, weights=spread, minlength=n))
        energy = np.where(passed.charge * sign > 0, np.abs(passed.energy), 0.0)
        table[f"energy_{half}"] = _or_nan(np.bincount(index, weights=energy, minlength=n))
        is_on = passed.state == sign
        table[f"duration_{half}"] = np.bincount(index, weights=interval * is_on, minlength=n)
        table[f"current_{half}"] = _weighted_median(np.abs(passed.current), flows, index, n)
        table[f"voltage_{half}_end"] = _extreme(passed.voltage, is_on, index, n, sign)
    table["duration_rest"] = np.bincount(index, weights=interval * (passed.state == 0), minlength=n)
    for half in HALVES:
        if f"capacity_{half}_sigma" in table:
            table[f"capacity_{half}_sigma"][np.isnan(table[f"capacity_{half}"])] = np.nan
    return table


def _or_nan(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def _ratios(table: dict[str, np.ndarray], efficiency: str) -> None:
    over, under = efficiency.split("/")
    for name, what in (("coulombic_efficiency", "capacity"), ("energy_efficiency", "energy")):
        table[name] = table[f"{what}_{over}"] / table[f"{what}_{under}"]
    for half in HALVES:
        table[f"voltage_{half}"] = table[f"energy_{half}"] / table[f"capacity_{half}"]
    table["hysteresis"] = table["voltage_charge"] - table["voltage_discharge"]
    table["voltage_upper"], table["voltage_lower"] = table.pop("voltage_charge_end"), table.pop("voltage_discharge_end")


def _weighted_median(values: np.ndarray, weights: np.ndarray, index: np.ndarray, n: int) -> np.ndarray:
    """Return for each of `n` groups the value below which half of the weight lies; NaN without weight."""
    used = weights > 0
    values, weights, index = values[used], weights[used], index[used]
    order = np.lexsort((values, index))
    values, weights, index = values[order], weights[order], index[order]
    running = np.cumsum(weights)
    total = np.bincount(index, weights=weights, minlength=n)
    start = np.concatenate([[0.0], np.cumsum(total)[:-1]])
    place = np.searchsorted(running, start + total / 2)
    result = np.full(n, np.nan)
    has = total > 0
    result[has] = values[np.minimum(place[has], len(values) - 1)]
    return result


def _extreme(voltage: np.ndarray, is_on: np.ndarray, index: np.ndarray, n: int, sign: int) -> np.ndarray:
    best = np.full(n, -np.inf)
    np.maximum.at(best, index[is_on], sign * voltage[is_on])
    return np.where(np.isfinite(best), sign * best, np.nan)


NAMES: dict[str, tuple[str, str]] = {
    "capacity_charge": ("Ah", "capacity of the charge"),
    "capacity_charge_sigma": ("Ah", "standard uncertainty from the moments of switching"),
    "capacity_discharge": ("Ah", "capacity of the discharge"),
    "capacity_discharge_sigma": ("Ah", "standard uncertainty from the moments of switching"),
    "energy_charge": ("Wh", "energy of the charge"),
    "energy_discharge": ("Wh", "energy of the discharge"),
    "coulombic_efficiency": ("1", "coulombic efficiency"),
    "energy_efficiency": ("1", "energy efficiency"),
    "voltage_charge": ("V", "mean voltage of the charge"),
    "voltage_discharge": ("V", "mean voltage of the discharge"),
    "hysteresis": ("V", "mean voltage of the charge less that of the discharge"),
    "voltage_upper": ("V", "highest voltage under charge"),
    "voltage_lower": ("V", "lowest voltage under discharge"),
    "current_charge": ("A", "magnitude of the charging current, median by charge"),
    "current_discharge": ("A", "magnitude of the discharging current, median by charge"),
    "c_rate_charge": ("1/h", "charging current over nominal capacity"),
    "c_rate_discharge": ("1/h", "discharging current over nominal capacity"),
    "duration": ("s", "duration of the cycle"),
    "duration_charge": ("s", "time of charging"),
    "duration_discharge": ("s", "time of discharging"),
    "duration_rest": ("s", "time of rest"),
    "n_records": ("1", "number of records"),
}


def _labelled(
    cell: xr.Dataset,
    passed: Passage,
    numbers: Numbers,
    table: dict[str, np.ndarray],
    kind: np.ndarray,
    status: np.ndarray,
    n_pulses: np.ndarray,
) -> xr.Dataset:
    n = len(numbers.labels)
    first = np.searchsorted(numbers.index, np.arange(n))
    variables = {
        name: quantity("cycle", table[name], units, told) for name, (units, told) in NAMES.items() if name in table
    }
    variables["n_pulses"] = quantity("cycle", n_pulses, "1", "number of current pulses")
    variables["kind"] = quantity("cycle", kind, "", "kind of the cycle")
    variables["status"] = quantity("cycle", status, "", "complete, or what is missing")
    variables["cycle_recorded"] = quantity("cycle", numbers.recorded, "1", "number of the cycle in the record")
    file = passed.file[first]
    variables["file_number"] = quantity("cycle", file, "1", "number of the file, from 0")
    if "is_after_gap" in cell:
        after = np.bincount(numbers.index, weights=cell["is_after_gap"].values[passed.kept] > 0, minlength=n)
        after = np.minimum(after, 1).astype(np.int64)
        after[0] = 0
    else:
        after = np.concatenate([[0], (np.diff(file) != 0).astype(np.int64)])
    variables["is_after_gap"] = quantity("cycle", after, "1", "whether cycles may be missing before this one")
    coords = {"cycle": quantity("cycle", numbers.labels, "1", "number of the cycle")}
    coords["test_time"] = quantity("cycle", passed.seconds[first], "s", "time since the start of the test")
    if "time" in cell.variables:
        coords["time"] = quantity("cycle", cell["time"].values[passed.kept[first]], "", "time, UTC")
    return xr.Dataset(variables, coords, dict(cell.attrs))
