"""dQ/dV and dV/dQ of the halves of cycles, with areas kept."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from batlab.echem.halves import DIRECTIONS, Half, halves_of
from batlab.errors import SchemaError
from batlab.schema import quantity, record

FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))
NARROWEST = 1e-3  # of a bin: a shorter interval is widened to it, so that sums keep their digits
LEAST_LINES = 8  # of a half: fewer make no curve


def dqdv(
    cell: xr.Dataset,
    *,
    half: str = "charge",
    cycle: int | Sequence[int] | None = None,
    spacing: float = 2e-3,
    smoothing: float | None = 0.01,
    hold: bool = False,
    charge: str | None = None,
) -> xr.Dataset:
    """Return dQ/dV against voltage for one half of each cycle.

    What passes from one line to the next is spread evenly over the voltages in between and counted in bins of
    `spacing`; the bins are smoothed by a Gaussian mirrored at the ends. Both keep the area, which is the capacity of
    the half, to rounding; noise moves charge between neighbouring bins only. The Gaussian widens a peak of full width
    w to √(w² + smoothing²). dQ/dV is positive in both directions (charge and voltage fall together).

    σ is from the record itself: half the difference between what its odd and its even lines give, as a running root
    mean square over ten smoothing lengths. It knows noise that differs from line to line, no drift and no hysteresis.

    Parameters
    ----------
    cell
        Record; see `cycles`.
    half
        ``"charge"`` or ``"discharge"``.
    cycle
        Labels of cycles, all by default.
    spacing
        Width of the bins [V].
    smoothing
        Full width at half maximum of the Gaussian [V]; None for none. 10 mV suits a record that reads 0.1 mV, 20 mV
        one with noise of 1 mV.
    hold
        Whether charge at a held voltage is counted too; it stands as a spike at the end.
    charge
        ``"counter"`` or ``"current"``; see `cycles`.

    Returns
    -------
    xarray.Dataset
        Over (``cycle``, ``voltage``): ``dqdv`` and ``dqdv_sigma`` [Ah/V]; over ``cycle``: ``capacity_used`` (the area)
        and ``capacity_held`` [Ah], left out. ``sigma_inflation`` (voltage) is by how much σ of what spans several bins
        exceeds that of independent bins. Attributes ``half``, ``smoothing`` [V] and ``spacing`` [V].

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No record; a word, cycle or width out of range; no half with eight lines.

    Warns
    -----
    UserWarning
        Cycles with fewer than eight lines in this half: NaN.

    References
    ----------
    Dubarry, Svoboda, Hwu, Liaw, Electrochem. Solid-State Lett. 9, A454 (2006), doi:10.1149/1.2221767.

    Examples
    --------
    >>> x = np.linspace(0, 1, 500)
    >>> cell = xr.Dataset({"voltage": quantity("record", 3 + x, "V", "voltage"),
    ...                    "current": quantity("record", np.ones(500), "A", "current")},
    ...                   {"test_time": quantity("record", 7200 * x, "s", "time")})
    >>> curve = dqdv(cell)
    >>> float(curve.dqdv.sel(voltage=3.5, method="nearest").round(2)[0]), float(curve.capacity_used.round(6)[0])
    (2.0, 2.0)
    """
    _refuse(spacing=spacing, smoothing=smoothing)
    labels, found, passed = halves_of(cell, half, cycle, "echem.dqdv", charge=charge, hold=hold)
    usable = _usable(labels, found, "echem.dqdv")
    levels = np.concatenate([volts for one in usable for volts, _ in one.stretches])
    # One bin beyond the outermost voltages: intervals widened to NARROWEST stay inside.
    low, high = int(np.floor(levels.min() / spacing)) - 1, int(np.ceil(levels.max() / spacing)) + 1
    edges = spacing * (np.arange(low, high + 1) + 0.5) - spacing
    width = (smoothing or 0.0) / FWHM / spacing
    rows = np.full((len(found), len(edges) - 1), np.nan)
    sigma = rows.copy()
    for k, one in enumerate(found):
        if any(one is other for other in usable):
            whole, odd, even = (_smooth(_binned(one, edges, part), width) / spacing for part in (None, 0, 1))
            rows[k], sigma[k] = whole, _noise(odd - even, width)
    centres = (edges[1:] + edges[:-1]) / 2
    result = xr.Dataset(
        {
            "dqdv": quantity(("cycle", "voltage"), rows, "Ah/V", "dQ/dV"),
            "dqdv_sigma": quantity(("cycle", "voltage"), sigma, "Ah/V", "standard uncertainty from odd and even lines"),
            **_charges(found),
            "sigma_inflation": _inflation("voltage", len(centres), width),
        },
        {
            "cycle": quantity("cycle", labels, "1", "number of the cycle"),
            "voltage": quantity("voltage", centres, "V", "voltage"),
        },
        {**cell.attrs, "half": half, "smoothing": smoothing or 0.0, "spacing": spacing, "charge_source": passed.source},
    )
    return record(
        result, "echem.dqdv", half=half, cycle=cycle, spacing=spacing, smoothing=smoothing, hold=hold, charge=charge
    )


def dvdq(
    cell: xr.Dataset,
    *,
    half: str = "discharge",
    cycle: int | Sequence[int] | None = None,
    spacing: float | None = None,
    smoothing: float | None = None,
    charge: str | None = None,
) -> xr.Dataset:
    """Return dV/dQ against the charge passed since the half began, for each cycle.

    The voltage is read at the edges of bins of `spacing` (straight between lines) and its differences are smoothed by
    a mirrored Gaussian. The area is the change of voltage over the whole bins, kept to rounding. dV/dQ is positive in
    both directions. σ as for `dqdv`. Held voltages and rests are left out; across a rest within a half the voltage
    joins on, so that the area is the change under current.

    Parameters
    ----------
    cell
        Record; see `cycles`.
    half
        ``"charge"`` or ``"discharge"``.
    cycle
        Labels of cycles, all by default.
    spacing
        Width of the bins [Ah]; 1/500 of the largest capacity by default.
    smoothing
        Full width at half maximum of the Gaussian [Ah], 0 for none; 1 % of the largest capacity by default.
    charge
        ``"counter"`` or ``"current"``; see `cycles`.

    Returns
    -------
    xarray.Dataset
        Over (``cycle``, ``capacity``): ``dvdq`` and ``dvdq_sigma`` [V/Ah], NaN beyond a cycle's own charge; over
        ``cycle``: ``capacity_used``, ``capacity_held`` [Ah]; ``sigma_inflation``; attributes ``half``, ``smoothing``
        [Ah] and ``spacing`` [Ah].

    Raises
    ------
    DimensionError, SchemaError, ValueError
        As `dqdv`.

    References
    ----------
    Bloom et al., J. Power Sources 139, 295 (2005), doi:10.1016/j.jpowsour.2004.07.021.

    Examples
    --------
    >>> x = np.linspace(0, 1, 500)
    >>> cell = xr.Dataset({"voltage": quantity("record", 4 - x, "V", "voltage"),
    ...                    "current": quantity("record", -np.ones(500), "A", "current")},
    ...                   {"test_time": quantity("record", 7200 * x, "s", "time")})
    >>> float(dvdq(cell).dvdq.sel(capacity=1, method="nearest").round(3)[0])
    0.5
    """
    _refuse(spacing=spacing, smoothing=smoothing or None)
    labels, found, passed = halves_of(cell, half, cycle, "echem.dvdq", charge=charge, hold=False)
    usable = _usable(labels, found, "echem.dvdq")
    largest = max(one.charge for one in usable)
    spacing = largest / 500 if spacing is None else spacing
    smoothing = largest / 100 if smoothing is None else smoothing
    width = smoothing / FWHM / spacing
    n = max(1, int(np.ceil(largest / spacing - 1e-9)))
    rows = np.full((len(found), n), np.nan)
    sigma = rows.copy()
    for k, one in enumerate(found):
        if any(one is other for other in usable):
            whole, odd, even = (_slope(one, spacing, width, DIRECTIONS[half], part) for part in (None, 0, 1))
            rows[k, : len(whole)], sigma[k, : len(whole)] = whole, _noise(odd - even, width)
    centres = spacing * (np.arange(n) + 0.5)
    result = xr.Dataset(
        {
            "dvdq": quantity(("cycle", "capacity"), rows, "V/Ah", "dV/dQ"),
            "dvdq_sigma": quantity(("cycle", "capacity"), sigma, "V/Ah", "standard uncertainty of dV/dQ"),
            **_charges(found),
            "sigma_inflation": _inflation("capacity", n, width),
        },
        {
            "cycle": quantity("cycle", labels, "1", "number of the cycle"),
            "capacity": quantity("capacity", centres, "Ah", "charge passed since the half began"),
        },
        {**cell.attrs, "half": half, "smoothing": smoothing, "spacing": spacing, "charge_source": passed.source},
    )
    return record(result, "echem.dvdq", half=half, cycle=cycle, spacing=spacing, smoothing=smoothing, charge=charge)


def _refuse(**given: float | None) -> None:
    for name, value in given.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive, got {value!r}")


def _usable(labels: np.ndarray, found: list[Half], function: str) -> list[Half]:
    enough = [
        sum(len(charge) for _, charge in one.stretches) > LEAST_LINES and one.charge > 0 for one in found
    ]  # fmt: skip
    if not any(enough):
        raise SchemaError(f"{function}: no cycle has {LEAST_LINES} lines in this half; choose the other half")
    if not all(enough):
        poor = [str(label) for label, good in zip(labels, enough) if not good]
        warnings.warn(
            f"{function}: {len(poor)} of {len(found)} cycles have fewer than {LEAST_LINES} lines in this half and are "
            f"NaN: {', '.join(poor[:5])}",
            UserWarning,
            stacklevel=3,
        )
    return [one for one, good in zip(found, enough) if good]


def _part(volts: np.ndarray, passed: np.ndarray, part: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return every second line from 0 or 1, the last one's charge kept; all where the stretch is short."""
    if part is None or len(volts) < LEAST_LINES:
        return volts, passed
    chosen = np.unique(np.concatenate([[0], np.arange(1 + part, len(volts), 2), [len(volts) - 1]]))
    return volts[chosen], passed[chosen]


def _binned(half: Half, edges: np.ndarray, part: int | None, spacing: float | None = None) -> np.ndarray:
    """Return the charge in each bin: each interval is a ramp of the running charge between its two voltages."""
    lows, highs, flows = [], [], []
    spacing = edges[1] - edges[0] if spacing is None else spacing
    for volts, passed in half.stretches:
        level, count = _part(volts, passed, part)
        middle, reach = (level[1:] + level[:-1]) / 2, np.abs(np.diff(level)) / 2
        reach = np.maximum(reach, NARROWEST * spacing / 2)
        lows.append(middle - reach)
        highs.append(middle + reach)
        flows.append(np.diff(count))
    origin = lows[0][0]  # sums keep more digits near the voltages themselves
    low, high = (np.concatenate(parts) - origin for parts in (lows, highs))
    density = np.concatenate(flows) / (high - low)
    running = _ramps(edges - origin, low, density) - _ramps(edges - origin, high, density)
    return np.diff(running)


def running_charge(half: Half, voltage: np.ndarray, part: int | None = None) -> np.ndarray:
    """Return the charge [Ah] of a discharge passed at or above each of the increasing voltages [V]."""
    spacing = float(np.diff(voltage).min())
    everything = np.concatenate([[voltage[0] - 10.0], voltage, [voltage[-1] + 10.0]])
    return _binned(half, everything, part, spacing)[::-1].cumsum()[::-1][1:]


def _ramps(at: np.ndarray, corner: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Return Σ slope · max(0, at - corner)."""
    order = np.argsort(corner)
    corner, slope = corner[order], slope[order]
    below = np.searchsorted(corner, at)
    total = np.concatenate([[0.0], np.cumsum(slope)])[below]
    moment = np.concatenate([[0.0], np.cumsum(slope * corner)])[below]
    return at * total - moment


def _slope(half: Half, spacing: float, width: float, sign: int, part: int | None) -> np.ndarray:
    level: list[np.ndarray] = []
    passed: list[np.ndarray] = []
    for volts, count in half.stretches:
        some, at = _part(volts, count, part)
        offset = level[-1][-1] - some[0] if level else 0.0
        level.append(some + offset)
        passed.append(at)
    volts, count = np.concatenate(level), np.concatenate(passed)
    n = max(1, int(np.floor(half.charge / spacing + 1e-9)))
    change = sign * np.diff(np.interp(spacing * np.arange(n + 1), count, volts))
    return _smooth(change, width) / spacing


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    return gaussian_filter1d(values, width, mode="reflect", truncate=5.0) if width > 0 else values


def _noise(difference: np.ndarray, width: float) -> np.ndarray:
    reach = max(5, round(10 * FWHM * width))
    return np.sqrt(np.maximum(uniform_filter1d((difference / 2) ** 2, reach, mode="nearest"), 0.0))


def _inflation(axis: str, n: int, width: float) -> xr.Variable:
    """Return √ of the bins that share their noise: 2 √π widths of the Gaussian."""
    factor = np.sqrt(max(1.0, 2.0 * np.sqrt(np.pi) * width))
    return quantity(axis, np.full(n, factor), "1", "σ over that of independent bins")


def _charges(found: list[Half]) -> dict[str, xr.Variable]:
    used = np.array([one.charge for one in found])
    held = np.array([one.held for one in found])
    return {
        "capacity_used": quantity("cycle", used, "Ah", "charge of the curve"),
        "capacity_held": quantity("cycle", held, "Ah", "charge at held voltage, left out"),
    }
