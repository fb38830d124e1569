"""What the first cycles say of a cell: features for a model of its life."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from scipy.stats import kurtosis, skew

from batlab.echem.cycling import cycles
from batlab.echem.derivatives import running_charge
from batlab.echem.halves import halves_of
from batlab.echem.voltage_fade import line
from batlab.errors import SchemaError
from batlab.schema import quantity, record

FUNCTION = "echem.early_features"
DOUBTFUL_SHARE = 0.5  # of the variance of the difference that is noise
USED = ("cycle", "formation", "check_up")


def early_features(
    cell: xr.Dataset,
    *,
    pair: tuple[int, int] = (10, 100),
    window: tuple[float, float] | None = None,
    n_points: int = 1000,
) -> xr.Dataset:
    """Return features of the first cycles after Severson et al. [1]_.

    ΔQ(U) = Q_b(U) - Q_a(U) is the difference of the discharge curves of two cycles, as charge passed down to a voltage,
    on `n_points` voltages. Its variance over voltage foretold the life of 124 LFP/graphite cells at 100 % depth. What
    a noisy record adds to it is estimated from odd and even lines and told.

    Parameters
    ----------
    cell
        Record; see `cycles`.
    pair
        The two cycles (labels of `cycles`); both complete.
    window
        Voltages [V] between which they are compared; by default what both passed.
    n_points
        Voltages, equally spaced.

    Returns
    -------
    xarray.Dataset
        Scalars ``delta_q_log_variance`` (log10 of Ah²), ``delta_q_log_minimum``, ``delta_q_log_mean`` (log10 of the
        magnitude in Ah), ``delta_q_skewness``, ``delta_q_kurtosis``, ``noise_share`` (of the variance),
        ``capacity_first`` [Ah, of the second cycle, as the first is unlike the others], ``capacity_gain`` [Ah, the
        largest up to b less that], ``fade_slope`` [Ah a cycle, up to b] with σ, ``charge_time`` [s, mean of the
        first five]; the conditions ``voltage_upper``, ``voltage_lower`` [V], ``c_rate_charge``,
        ``c_rate_discharge`` [1/h]; ``delta_q`` [Ah] over ``voltage``. Attributes ``pair`` and ``n_cycles`` used.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record; a cycle of the pair is not there or not complete; no common voltage.

    Warns
    -----
    UserWarning
        More than half of the variance is noise.

    References
    ----------
    .. [1] Severson et al., Nat. Energy 4, 383 (2019), doi:10.1038/s41560-019-0356-8

    Examples
    --------
    >>> hours = np.arange(0, 12, 0.005)
    >>> amps = np.where(hours % 2 < 1, 1.0, -1.0)
    >>> x = np.where(amps > 0, hours % 1, 1 - hours % 1)
    >>> fade = 0.01 * (hours // 2) * x * (1 - x)
    >>> cell = xr.Dataset({"voltage": quantity("record", 3 + x + fade, "V", "voltage"),
    ...                    "current": quantity("record", amps, "A", "current"),
    ...                    "cycle": quantity("record", 1 + hours // 2, "1", "cycle")},
    ...                   {"test_time": quantity("record", 3600 * hours, "s", "time")})
    >>> round(float(early_features(cell, pair=(2, 6)).delta_q_log_variance), 1)
    -5.1
    """
    first, last = (int(label) for label in pair)
    if first >= last:
        raise ValueError(f"pair must be two cycles in order, got {pair!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "echem.cycles: .* are incomplete", UserWarning)
        table = cycles(cell)
    usable = table["cycle"].values[np.isin(table["kind"].values, USED)]
    for label in (first, last):
        if label not in usable:
            told = f"{usable[0]} to {usable[-1]}" if len(usable) else "none"
            raise ValueError(f"{FUNCTION}: cycle {label} of the pair is not there or not complete; whole are {told}")
    _, (before, after), _ = halves_of(cell, "discharge", [first, last], FUNCTION, charge=None, hold=False)
    voltage = _voltages((before, after), window, n_points)
    whole, odd, even = (
        running_charge(after, voltage, part) - running_charge(before, voltage, part) for part in (None, 0, 1)
    )
    variance = float(np.var(whole))
    noise = min(1.0, float(np.var((odd - even) / 2)) / variance) if variance > 0 else 1.0
    if noise > DOUBTFUL_SHARE:
        warnings.warn(
            f"{FUNCTION}: {100 * noise:.0f} % of the variance of the difference between cycles {first} and {last} "
            f"({variance:.3g} Ah^2) is noise of the record; its features tell little",
            UserWarning,
            stacklevel=2,
        )
    scalars = {**_of_difference(whole, variance), "noise_share": (noise, "1", "part of the variance that is noise")}
    scalars |= _of_table(table, last)
    result = xr.Dataset(
        {name: quantity((), value, units, told) for name, (value, units, told) in scalars.items()},
        {"voltage": quantity("voltage", voltage, "V", "voltage")},
        {**cell.attrs, "pair": [first, last], "n_cycles": int((table["cycle"] <= last).sum())},
    )
    result["delta_q"] = quantity("voltage", whole, "Ah", f"charge down to a voltage, cycle {last} less cycle {first}")
    return record(result, FUNCTION, pair=pair, window=window, n_points=n_points)


def _voltages(halves: tuple, window: tuple[float, float] | None, n_points: int) -> np.ndarray:
    levels = [np.concatenate([volts for volts, _ in half.stretches]) for half in halves]
    low, high = max(one.min() for one in levels), min(one.max() for one in levels)
    if window is not None:
        low, high = float(window[0]), float(window[1])
    if not high > low or n_points < 10:
        raise SchemaError(f"{FUNCTION} needs ten voltages of a common range, got {n_points} from {low:g} to {high:g} V")
    return np.linspace(low, high, n_points)


def _log(value: float) -> float:
    return float(np.log10(abs(value))) if value != 0 else -np.inf


def _of_difference(delta: np.ndarray, variance: float) -> dict[str, tuple[float, str, str]]:
    has = variance > 0
    return {
        "delta_q_log_variance": (_log(variance), "1", "log10 of the variance of the difference in Ah^2"),
        "delta_q_log_minimum": (_log(float(delta.min())), "1", "log10 of the magnitude of its minimum in Ah"),
        "delta_q_log_mean": (_log(float(delta.mean())), "1", "log10 of the magnitude of its mean in Ah"),
        "delta_q_skewness": (float(skew(delta)) if has else np.nan, "1", "skewness of the difference"),
        "delta_q_kurtosis": (float(kurtosis(delta)) if has else np.nan, "1", "excess kurtosis of the difference"),
    }


def _of_table(table: xr.Dataset, last: int) -> dict[str, tuple[float, str, str]]:
    part = table.isel(cycle=(table["cycle"].values <= last) & np.isin(table["kind"].values, USED))
    capacity = part["capacity_discharge"].values
    start = capacity[min(1, len(capacity) - 1)]
    slope, sigma, *_ = line(part["cycle"].values[1:].astype(float), capacity[1:])
    scalars = {
        "capacity_first": (float(start), "Ah", "capacity of the second cycle"),
        "capacity_gain": (float(capacity.max() - start), "Ah", "largest capacity less that of the second cycle"),
        "fade_slope": (slope, "Ah", "change of capacity a cycle"),
        "fade_slope_sigma": (sigma, "Ah", "standard uncertainty of the change a cycle"),
        "charge_time": (float(part["duration_charge"].values[:5].mean()), "s", "time of charging, first five cycles"),
    }
    for name, units in (("voltage_upper", "V"), ("voltage_lower", "V"), ("c_rate_charge", "1/h"),
                        ("c_rate_discharge", "1/h")):  # fmt: skip
        told = str(part[name].attrs["long_name"])
        scalars[name] = (float(np.median(part[name].values)), units, f"{told}, median")
    return scalars
