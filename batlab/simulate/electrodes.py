"""A full cell made of two electrodes: slow cycles with planted losses of lithium and of active material."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.schema import quantity, record

Potential = Callable[[np.ndarray], np.ndarray]


def full_cell(
    positive: Potential,
    negative: Potential,
    *,
    losses: Sequence[tuple[float, float, float]] = ((0.0, 0.0, 0.0),),
    capacities: tuple[float, float, float] = (7.7845, 5.7241, 7.2310),
    limits: tuple[float, float] = (2.5, 4.2),
    current: float = 0.25,
    interval: float = 72.0,
    noise: float = 0.0,
    seed: int = 0,
) -> xr.Dataset:
    """Return a cycler's record of slow cycles at equilibrium, one for each of the planted losses.

    ``V = U_p(y) - U_n(x)`` with ``x = x₀ + Q / Q_n``, ``y = y₀ - Q / Q_p`` and the inventory ``Q_n x + Q_p y``, which
    stays; each cycle is charged from the lower to the upper limit of the voltage and discharged back.

    Parameters
    ----------
    positive, negative
        Potentials [V] against Li/Li⁺, functions of lithiation (0 to 1), falling.
    losses
        One ``(lam_positive, lam_negative, lli)`` a cycle, parts of the `capacities`.
    capacities
        Of the positive and the negative electrode, and the inventory of lithium [Ah]. By default those of an LG M50
        of 5 Ah (10.1149/1945-7111/ab9050).
    limits
        Of the voltage [V].
    current, interval
        In A, and s between lines.
    noise
        σ of the voltage [V], white.
    seed
        Of the noise.

    Returns
    -------
    xarray.Dataset
        Over ``record``: ``voltage``, ``current``, ``capacity`` (counter, 0 at the start of each cycle), ``cycle``,
        ``step`` and ``test_time``.

    Raises
    ------
    ValueError
        Losses with which the cell does not reach the limits.

    Examples
    --------
    >>> cell = full_cell(lambda y: 4.6 - y, lambda x: 0.6 - 0.5 * x, capacities=(4, 3, 3.5), limits=(3.2, 4.2))
    >>> cell.voltage.values[[0, -1]].round(6).tolist(), float(cell.capacity.max().round(3))
    ([3.2, 3.2], 2.4)
    """
    whole = np.asarray(capacities, dtype=float)
    parts = []
    start = 0.0
    for number, lost in enumerate(losses, 1):
        of_positive, of_negative, inventory = whole * (1 - np.asarray(lost, dtype=float))
        ends = [_lithiation(positive, negative, of_positive, of_negative, inventory, volts) for volts in limits]
        charge = of_negative * (ends[1] - ends[0])
        n_lines = int(charge / current * 3600 // interval) + 1
        up = np.append(np.arange(n_lines) * interval * current / 3600, charge)
        passed = np.concatenate([up, charge - up])
        x = ends[0] + passed / of_negative
        volts = positive((inventory - of_negative * x) / of_positive) - negative(x)
        hours = np.concatenate([up, charge + up]) / current
        sign = np.repeat([1.0, -1.0], len(up))
        parts.append((start + hours * 3600, volts, sign * current, passed, np.full(len(x), number), 1.5 - sign / 2))
        start = float(parts[-1][0][-1]) + interval
    seconds, volts, amperes, passed, cycle, step = (np.concatenate(column) for column in zip(*parts, strict=True))
    volts = volts + np.random.default_rng(seed).normal(0, noise, len(volts)) if noise else volts
    result = xr.Dataset(
        {
            "voltage": quantity("record", volts, "V", "voltage"),
            "current": quantity("record", amperes, "A", "current, positive on charge"),
            "capacity": quantity("record", passed, "Ah", "charge passed in the cycle"),
            "cycle": quantity("record", cycle, "1", "number of the cycle"),
            "step": quantity("record", step.astype(int), "1", "step of the programme, 1 charge, 2 discharge"),
        },
        {
            "record": quantity("record", np.arange(len(volts)), "1", "line of the record"),
            "test_time": quantity("record", seconds, "s", "time since the start of the test"),
        },
    )
    told: dict[str, Any] = {"losses": list(losses), "capacities": capacities, "limits": limits, "current": current}
    return record(result, "simulate.full_cell", **told, interval=interval, noise=noise, seed=seed)


def _lithiation(
    positive: Potential, negative: Potential, of_positive: float, of_negative: float, inventory: float, volts: float
) -> float:
    """Return the lithiation of the negative electrode at which the cell has the voltage `volts`."""
    from scipy.optimize import brentq

    low, high = max(0.0, (inventory - of_positive) / of_negative), min(1.0, inventory / of_negative)
    x = np.linspace(low, high, 2001)
    voltage = positive((inventory - of_negative * x) / of_positive) - negative(x)
    above = np.flatnonzero((voltage[:-1] <= volts) & (voltage[1:] >= volts))
    if not above.size:
        known = voltage[np.isfinite(voltage)]
        told = f"{known.min():.3g} to {known.max():.3g} V" if known.size else "no voltage"
        raise ValueError(
            f"a cell of {of_positive:.3g}, {of_negative:.3g} and {inventory:.3g} Ah has {told}, not {volts:g} V"
        )
    at = int(above[0])
    return float(
        brentq(lambda one: float(positive((inventory - of_negative * one) / of_positive) - negative(one)) - volts,
               x[at], x[at + 1], xtol=1e-14)
    )  # fmt: skip
