"""Voltage decay: mean voltages of the cycles against their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from batlab.echem.fade_models import correlation
from batlab.echem.fading import OVER, points_of
from batlab.schema import quantity, record

FUNCTION = "echem.voltage_decay"
RATE_SPREAD = 0.1  # of the median C-rate: cycles beyond are left out


def voltage_decay(
    table: xr.Dataset, *, over: str = "cycle", kinds: Sequence[str] = ("cycle",), same_rate: bool = True
) -> xr.Dataset:
    """Return how fast the mean voltages of discharge and charge, and the hysteresis between them, change.

    The mean discharge voltage of Li-rich cathodes falls by millivolts a cycle as their structure changes [1]_. A
    falling discharge voltage alone may also be a growing resistance: then the charge rises as much. ``structural``
    is the slope of the mean of both, which a symmetric overvoltage leaves as it is. Straight lines; σ from the
    residuals, enlarged by √((1+ρ)/(1-ρ)) for their correlation ρ between neighbours. Capacity that fades moves the
    mean voltage too, as less of the curve is passed.

    Parameters
    ----------
    table
        From `cycles`.
    over
        ``"cycle"``, ``"days"`` or ``"throughput"``; see `fade`.
    kinds
        Kinds of cycles used.
    same_rate
        Whether cycles whose discharge rate is more than 10 % off the median are left out.

    Returns
    -------
    xarray.Dataset
        Scalars ``discharge_slope``, ``charge_slope``, ``hysteresis_slope``, ``structural_slope`` [V per cycle, day or
        Ah] and ``discharge_start`` … [V, at the first cycle used], each with σ; over ``cycle``: the voltages, and
        ``is_used``. Attribute ``n_used``.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        As `fade`.

    Warns
    -----
    UserWarning
        As `fade`, where files are missing.

    References
    ----------
    .. [1] Croy et al., Acc. Chem. Res. 48, 2813 (2015), doi:10.1021/acs.accounts.5b00277

    Examples
    --------
    >>> n = np.arange(1, 51)
    >>> volts = {"voltage_discharge": 3.6 - 2e-3 * n, "voltage_charge": 3.8 - 1e-3 * n}
    >>> table = xr.Dataset({name: quantity("cycle", one, "V", name) for name, one in volts.items()},
    ...                    {"cycle": quantity("cycle", n, "1", "cycle")})
    >>> decay = voltage_decay(table)
    >>> round(float(decay.discharge_slope), 6), round(float(decay.structural_slope), 6)
    (-0.002, -0.0015)
    """
    points = points_of(table, "voltage_discharge", over, kinds, FUNCTION)
    used = np.zeros(table.sizes["cycle"], dtype=bool)
    used[points.places] = True
    if same_rate and "c_rate_discharge" in table:
        rate = np.asarray(table["c_rate_discharge"].values, dtype=float)
        usual = np.median(rate[points.places])
        used &= np.abs(rate - usual) <= RATE_SPREAD * usual
    x = np.full(len(used), np.nan)
    x[points.places] = points.x
    series = {"discharge": table["voltage_discharge"].values.astype(float)}
    if "voltage_charge" in table:
        series["charge"] = table["voltage_charge"].values.astype(float)
        series["hysteresis"] = series["charge"] - series["discharge"]
        series["structural"] = (series["charge"] + series["discharge"]) / 2
    per = {"1": "V", "d": "V/d", "Ah": "V/Ah"}[OVER[over]]
    result: dict[str, xr.Variable] = {}
    for name, values in series.items():
        known = used & np.isfinite(values)
        slope, slope_sigma, start, start_sigma = line(x[known], values[known])
        result[f"{name}_slope"] = quantity((), slope, per, f"slope of the {name} voltage")
        result[f"{name}_slope_sigma"] = quantity((), slope_sigma, per, "standard uncertainty of the slope")
        result[f"{name}_start"] = quantity((), start, "V", f"{name} voltage of the first cycle used, on the line")
        result[f"{name}_start_sigma"] = quantity((), start_sigma, "V", "standard uncertainty of the voltage")
        result[f"voltage_{name}"] = quantity("cycle", values, "V", f"{name} voltage")
    result["is_used"] = quantity("cycle", used.astype(np.int64), "1", "whether the line was fitted to this cycle")
    attrs = {**table.attrs, "over": over, "n_used": int(used.sum()), "n_gaps": points.n_gaps}
    dataset = xr.Dataset(result, {"cycle": table["cycle"].variable}, attrs)
    return record(dataset, FUNCTION, over=over, kinds=kinds, same_rate=same_rate)


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """Return slope and value at the first x, each with σ enlarged for correlated residuals; NaN below three points.

    >>> line(np.arange(4.0), 1 + 2 * np.arange(4.0))[::2]
    (2.0, 1.0)
    """
    if len(x) < 3 or not np.ptp(x) > 0:
        return (np.nan,) * 4
    middle = x.mean()
    spread = float(((x - middle) ** 2).sum())
    slope = float(((x - middle) * (y - y.mean())).sum() / spread)
    residual = y - y.mean() - slope * (x - middle)
    rho = correlation(residual)
    variance = float(residual @ residual) / (len(x) - 2) * (1 + rho) / (1 - rho)
    away = middle - x[0]
    start_sigma = np.sqrt(variance * (1 / len(x) + away**2 / spread))
    return slope, float(np.sqrt(variance / spread)), float(y.mean() - slope * away), float(start_sigma)
