"""What the voltage tells of plated lithium: a plateau in the rest after charging, a shoulder in dV/dQ."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.echem.cycle_numbers import number_cycles
from batlab.echem.derivatives import dvdq
from batlab.echem.passage import passage
from batlab.echem.readings import noise_of
from batlab.echem.rests import LEAST_NOISE, find_rests, plateau
from batlab.schema import quantity, record

FUNCTION = "echem.plating_signs"


def plating_signs(
    cell: xr.Dataset,
    *,
    within: float = 0.25,
    shortest: float = 300.0,
    significance: float = 5.0,
    smoothing: float | None = None,
) -> xr.Dataset:
    """Return for each cycle what its rest after charging and its discharge tell of lithium plated on the anode.

    Plated lithium keeps the anode near 0 V until it has gone back into the graphite (at rest) or been stripped (in
    discharge): the cell's voltage stands on a plateau and then falls, which is a maximum of the rate of relaxation
    [1]_, and a maximum of dV/dQ early in the discharge [2]_. Its place is the charge stripped, a lower bound of
    what was plated.

    Both are signs, no proof. A full graphite anode has a maximum of dV/dQ of its own where its last stage ends;
    cathodes too. So a maximum counts in comparison: ``is_new`` says that the first cycle with a discharge has none
    within a tenth of the capacity of it. Temperature, current steps and short rests hide or feign them. A mark is set
    by a person.

    Parameters
    ----------
    cell
        Record; see `cycles`. Rest and discharge follow the charge within the numbered cycle.
    within
        Part of the first discharge's capacity in which a shoulder is looked for, 0 to 1.
    shortest
        Least length of a rest [s].
    significance
        σ from which a sign is told.
    smoothing
        Of dV/dQ [Ah]; 1 % of the largest capacity by default.

    Returns
    -------
    xarray.Dataset
        Over ``cycle``: ``rest_plateau_time`` [s], ``rest_plateau_voltage`` [V], ``rest_plateau_strength`` [σ] (NaN
        without a rest after charge), ``stripping_capacity`` [Ah] (NaN without a shoulder), ``stripping_strength`` [σ],
        ``is_new`` (1, 0). Attribute ``caution``.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record; no discharge; `within` out of range.

    References
    ----------
    .. [1] von Lüders et al., J. Power Sources 342, 17 (2017), doi:10.1016/j.jpowsour.2016.12.032
    .. [2] Petzl & Danzer, J. Power Sources 254, 80 (2014), doi:10.1016/j.jpowsour.2013.12.060

    Examples
    --------
    >>> q = np.linspace(0, 1, 2000)
    >>> volts = 4.0 - 0.5 * q - 0.05 / (1 + np.exp(-(q - 0.1) / 0.01))
    >>> cell = xr.Dataset({"voltage": quantity("record", volts, "V", "voltage"),
    ...                    "current": quantity("record", -np.ones(2000), "A", "current")},
    ...                   {"test_time": quantity("record", 3600 * q, "s", "time")})
    >>> round(float(plating_signs(cell).stripping_capacity[0]), 2)
    0.1
    """
    if not 0 < within <= 1:
        raise ValueError(f"within must lie between 0 and 1, got {within!r}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "echem.dvdq: .* cycles have fewer", UserWarning)
        curve = dvdq(cell, half="discharge", smoothing=smoothing)
    shoulders = np.array([_shoulder(curve, k, within) for k in range(curve.sizes["cycle"])])
    at, strength = shoulders[:, 0], shoulders[:, 1]
    at = np.where(strength >= significance, at, np.nan)
    known = np.flatnonzero(np.isfinite(curve["dvdq"].values).any(axis=1))
    reference = at[known[0]]
    near = 0.1 * float(curve["capacity_used"].values[known[0]])
    is_new = np.isfinite(at) & ~(np.abs(at - reference) <= near)
    rests = _rests(cell, curve["cycle"].values, shortest, significance)
    result = xr.Dataset(
        {
            **rests,
            "stripping_capacity": quantity("cycle", at, "Ah", "charge up to the early maximum of dV/dQ"),
            "stripping_strength": quantity("cycle", strength, "1", "maximum over the minimum before it, in sigma"),
            "is_new": quantity("cycle", is_new.astype(np.int64), "1", "whether the first discharge lacks this maximum"),
        },
        {"cycle": curve["cycle"].variable},
        {
            **cell.attrs,
            "caution": "signs of plating, no proof: graphite's own stages and temperature make such maxima too",
        },
    )
    return record(result, FUNCTION, within=within, shortest=shortest, significance=significance, smoothing=smoothing)


def _shoulder(curve: xr.Dataset, k: int, within: float) -> tuple[float, float]:
    """Return place and strength of the maximum of dV/dQ that stands highest over the lowest point before it.

    The curve falls steeply from its start (overvoltage), so that a maximum needs a minimum on its left.
    """
    rate, sigma = curve["dvdq"].values[k], curve["dvdq_sigma"].values[k]
    q = curve["capacity"].values
    use = np.isfinite(rate) & (q <= within * float(curve["capacity_used"].values[k]))
    if use.sum() < 5:
        return np.nan, np.nan
    rate, sigma, q = rate[use], np.maximum(sigma[use], 1e-12), q[use]
    best = (np.nan, 0.0)
    tops = np.flatnonzero((rate[1:-1] > rate[:-2]) & (rate[1:-1] >= rate[2:])) + 1
    for top in tops:
        low = int(np.argmin(rate[: top + 1]))
        after = int(np.argmin(rate[top:])) + top
        rises = [(rate[top] - rate[side]) / np.hypot(sigma[top], sigma[side]) for side in (low, after)]
        if min(rises) > best[1]:
            best = (float(q[top]), float(min(rises)))
    return best


def _rests(cell: xr.Dataset, labels: np.ndarray, shortest: float, significance: float) -> dict[str, xr.Variable]:
    passed = passage(cell, FUNCTION)
    numbers = number_cycles(cell, passed, None, FUNCTION)
    joined = ~passed.is_break & (np.concatenate([[0], np.diff(passed.state)]) == 0) & (passed.state == 0)
    noise = max(noise_of(passed.seconds, passed.voltage, joined), LEAST_NOISE)
    columns = np.full((3, len(labels)), np.nan)
    for rest in find_rests(passed, shortest):
        before = rest.start - 1
        if passed.state[before] > 0:
            seen = plateau(passed.seconds[rest] - passed.seconds[before], passed.voltage[rest], noise)
            row = np.searchsorted(labels, numbers.labels[numbers.index[before]])
            columns[2, row] = seen.strength
            if seen.strength >= significance:
                columns[:2, row] = seen.seconds, seen.voltage
    told = (
        ("rest_plateau_time", "s", "time of rest at which the plateau ends"),
        ("rest_plateau_voltage", "V", "voltage at which the plateau ends"),
        ("rest_plateau_strength", "1", "rise of the rate of relaxation over its standard uncertainty"),
    )
    return {name: quantity("cycle", row, units, text) for (name, units, text), row in zip(told, columns)}
