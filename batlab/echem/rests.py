"""How the voltage relaxes in rests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.echem.exponentials import Decay, fit_decay
from batlab.echem.passage import Passage, passage
from batlab.echem.readings import noise_of
from batlab.errors import SchemaError
from batlab.schema import quantity, record

FUNCTION = "echem.relaxation"
LEAST_LINES = 8
WINDOW_RATIO = 1.25  # of the ends of the windows in which the rate is taken
LEAST_IN_WINDOW = 3
LEAST_NOISE = 1e-6  # V: no cycler reads better, and made records are no smoother than their solver
AT_END = 0.1  # of the rest, over which the final drift is taken
SETTLED = 0.5  # of the rest: the longest time constant is below


class Plateau(NamedTuple):
    """Where the rate of relaxation has its maximum after a minimum: time since rest [s], voltage, strength [σ]."""

    seconds: float
    voltage: float
    strength: float


def relaxation(
    cell: xr.Dataset,
    *,
    shortest: float = 300.0,
    most: int = 3,
    significance: float = 5.0,
    rest_current: float | None = None,
) -> xr.Dataset:
    """Return how the voltage of each rest relaxes: where it ends, how fast, by which time constants, with a plateau?

    U(t) = U∞ + Σ Aₖ exp(-t/τₖ) with as many terms, up to `most`, as lower Schwarz's criterion by 10 or more. Where the
    longest τ is not below half of the rest, ``is_settled`` is 0 and U∞ is an extrapolation. σ from residuals, as if
    they were independent: diffusion is no sum of exponentials, and time constants describe the rest, not a mechanism.

    Plain relaxation slows down throughout. A rate that rises again means that something was consumed first, such as
    plated lithium being stripped or a phase vanishing [1]_; ``plateau_time`` is where it is fastest after the
    plateau, ``plateau_strength`` how far this maximum exceeds the minimum before it. A swing of temperature
    does the same.

    Parameters
    ----------
    cell
        Record; see `cycles`.
    shortest
        Least length of a rest [s]; it also needs eight lines and current before it.
    most
        Most exponentials, 1 to 4.
    significance
        σ from which a plateau is told; below it stays NaN.
    rest_current
        See `cycles`.

    Returns
    -------
    xarray.Dataset
        Over ``event`` (rest): ``onset`` [s of test_time], ``duration`` [s], ``current_before``, ``voltage_before``
        (under current), ``voltage_start``, ``voltage_end``, ``voltage_infinity`` [V, with σ], ``drift`` [V/h, over the
        last tenth, with σ], ``is_settled``, ``n_terms``, ``after`` ("charge" or "discharge"), ``plateau_time`` [s],
        ``plateau_voltage`` [V], ``plateau_strength``, ``cycle`` where numbered; over (``event``, ``component``):
        ``time_constant`` [s] and ``amplitude`` [V], each with σ.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record; no such rest; `most` out of range.

    References
    ----------
    .. [1] von Lüders et al., J. Power Sources 342, 17 (2017), doi:10.1016/j.jpowsour.2016.12.032

    Examples
    --------
    >>> t = np.arange(0, 3600.0, 10)
    >>> volts = np.where(t < 600, 4.0, 3.9 + 0.06 * np.exp(-(t - 590) / 300))
    >>> cell = xr.Dataset({"voltage": quantity("record", volts, "V", "voltage"),
    ...                    "current": quantity("record", np.where(t < 600, 1.0, 0.0), "A", "current")},
    ...                   {"test_time": quantity("record", t, "s", "time")})
    >>> found = relaxation(cell)
    >>> float(found.time_constant[0, 0].round(3)), float(found.voltage_infinity[0].round(5))
    (300.0, 3.9)
    """
    if most not in (1, 2, 3, 4):
        raise ValueError(f"most must be 1, 2, 3 or 4 exponentials, got {most!r}")
    passed = passage(cell, FUNCTION, rest_current=rest_current)
    rests = find_rests(passed, shortest)
    if not rests:
        raise SchemaError(
            f"{FUNCTION}: no rest of {shortest:g} s and {LEAST_LINES} lines after current; lower shortest"
        )
    joined = ~passed.is_break & (np.concatenate([[0], np.diff(passed.state)]) == 0) & (passed.state == 0)
    noise = max(noise_of(passed.seconds, passed.voltage, joined), LEAST_NOISE)
    columns: dict[str, list[float]] = {name: [] for name in (*NUMBERS, "n_terms", "is_settled")}
    decays = []
    for rest in rests:
        t = passed.seconds[rest] - passed.seconds[rest.start - 1]
        decay = fit_decay(t, passed.voltage[rest], most, noise)
        decays.append(decay)
        for name, number in _numbers(passed, rest, t, decay, noise, significance).items():
            columns[name].append(number)
    result = _table(cell, passed, rests, columns, decays, most)
    result.attrs.update(voltage_noise=noise)
    return record(result, FUNCTION, shortest=shortest, most=most, significance=significance, rest_current=rest_current)


def find_rests(passed: Passage, shortest: float) -> list[slice]:
    """Return the lines of each rest that follows current without a gap and lasts."""
    new = np.concatenate([[True], (np.diff(passed.state) != 0) | passed.is_break[1:]])
    first = np.flatnonzero(new)
    last = np.concatenate([first[1:], [len(new)]])
    return [
        slice(int(a), int(b))
        for a, b in zip(first, last)
        if passed.state[a] == 0
        and a > 0
        and not passed.is_break[a]
        and b - a >= LEAST_LINES
        and passed.seconds[b - 1] - passed.seconds[a - 1] >= shortest
    ]


def plateau(t: np.ndarray, voltage: np.ndarray, noise: float) -> Plateau:
    """Return the rise of the rate |dU/dt| that stands out most, over windows whose ends grow by a quarter each."""
    slopes, sigmas, times, levels = _rates(t, voltage, noise)
    best = Plateau(np.nan, np.nan, 0.0)
    direction = np.sign(voltage[-1] - voltage[0])
    speed = direction * slopes
    for k in range(2, len(speed)):
        low = int(np.argmin(speed[1:k])) + 1
        strength = (speed[k] - speed[low]) / np.hypot(sigmas[k], sigmas[low])
        if strength > best.strength:
            best = Plateau(float(times[k]), float(levels[k]), float(strength))
    return best


def _rates(t: np.ndarray, voltage: np.ndarray, noise: float) -> tuple[np.ndarray, ...]:
    found = []
    start = 0
    while start < len(t):
        reach = max(t[start], t[0], 1e-9) * WINDOW_RATIO
        stop = max(int(np.searchsorted(t, reach)), start + LEAST_IN_WINDOW)
        if stop > len(t):
            break
        x, y = t[start:stop], voltage[start:stop]
        spread = float(((x - x.mean()) ** 2).sum())
        if spread > 0:
            slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread)
            rough = float(np.sqrt(((y - y.mean() - slope * (x - x.mean())) ** 2).sum() / max(1, len(x) - 2)))
            found.append((slope, max(noise, rough) / np.sqrt(spread), float(x.mean()), float(y.mean())))
        start = stop
    return tuple(np.array(column) for column in zip(*found)) if found else 4 * (np.empty(0),)


NUMBERS: dict[str, tuple[str, str]] = {
    "onset": ("s", "last line under current"),
    "duration": ("s", "length of the rest"),
    "current_before": ("A", "current before the rest"),
    "voltage_before": ("V", "voltage under current, last line"),
    "voltage_start": ("V", "voltage of the first line at rest"),
    "voltage_end": ("V", "voltage of the last line at rest"),
    "voltage_infinity": ("V", "voltage to which the exponentials tend"),
    "voltage_infinity_sigma": ("V", "standard uncertainty of the final voltage"),
    "drift": ("V/h", "change of voltage over the last tenth"),
    "drift_sigma": ("V/h", "standard uncertainty of the drift"),
    "plateau_time": ("s", "time since rest at which the rate is greatest after a plateau"),
    "plateau_voltage": ("V", "voltage there"),
    "plateau_strength": ("1", "rise of the rate over its standard uncertainty"),
}


def _numbers(
    passed: Passage, rest: slice, t: np.ndarray, decay: Decay, noise: float, significance: float
) -> dict[str, float]:
    volts, before = passed.voltage[rest], rest.start - 1
    late = t >= t[-1] - max(AT_END * t[-1], t[-1] - t[max(0, len(t) - 4)])
    x = t[late] - t[late].mean()
    spread = float((x**2).sum())
    slope = float((x * volts[late]).sum() / spread) if spread > 0 else np.nan
    seen = plateau(t, volts, noise)
    is_seen = seen.strength >= significance
    return {
        "onset": passed.seconds[before],
        "duration": t[-1],
        "current_before": passed.current[before],
        "voltage_before": passed.voltage[before],
        "voltage_start": volts[0],
        "voltage_end": volts[-1],
        "voltage_infinity": decay.infinity,
        "voltage_infinity_sigma": decay.infinity_sigma,
        "drift": 3600 * slope,
        "drift_sigma": 3600 * noise / np.sqrt(spread) if spread > 0 else np.nan,
        "plateau_time": seen.seconds if is_seen else np.nan,
        "plateau_voltage": seen.voltage if is_seen else np.nan,
        "plateau_strength": seen.strength,
        "n_terms": len(decay.times),
        "is_settled": int(bool(len(decay.times)) and decay.times.max() < SETTLED * t[-1]),
    }


def _table(
    cell: xr.Dataset,
    passed: Passage,
    rests: list[slice],
    columns: dict[str, list[float]],
    decays: list[Decay],
    most: int,
) -> xr.Dataset:
    variables = {
        name: quantity("event", np.array(columns[name], dtype=float), units, told)
        for name, (units, told) in NUMBERS.items()
    }
    for name, told in (("n_terms", "number of exponentials"), ("is_settled", "whether the rest outlasts them twice")):
        variables[name] = quantity("event", np.array(columns[name], dtype=np.int64), "1", told)
    before = np.array([rest.start - 1 for rest in rests])
    after = np.where(passed.state[before] > 0, "charge", "discharge")
    variables["after"] = quantity("event", after, "", "what came before the rest")
    if "cycle" in cell.variables and cell["cycle"].dims == ("record",):
        variables["cycle"] = quantity("event", cell["cycle"].values[passed.kept[before]], "1", "number of the cycle")
    for name, field, units, told in (
        ("time_constant", "times", "s", "time constant"),
        ("time_constant_sigma", "times_sigma", "s", "standard uncertainty of the time constant"),
        ("amplitude", "amplitudes", "V", "amplitude at the start of the rest"),
        ("amplitude_sigma", "amplitudes_sigma", "V", "standard uncertainty of the amplitude"),
    ):
        rows = np.full((len(rests), most), np.nan)
        for k, decay in enumerate(decays):
            rows[k, : len(decay.times)] = getattr(decay, field)
        variables[name] = quantity(("event", "component"), rows, units, told)
    coords = {
        "event": quantity("event", np.arange(len(rests)), "1", "rest"),
        "component": quantity("component", np.arange(most), "1", "exponential, the fastest first"),
    }
    if "time" in cell.variables:
        coords["time"] = quantity("event", cell["time"].values[passed.kept[before]], "", "time, UTC")
    return xr.Dataset(variables, coords, dict(cell.attrs))
