"""Lag and drift between the frames' clock and the cell's, from what both saw."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from batlab.align.clock import Clock, common_clock, plain
from batlab.align.lag_model import Lines, Problem, Quantity, integral_of
from batlab.align.lag_numbers import SHARES, loosened, numbers_of, profile_of, result_of
from batlab.align.lag_response import RESPONSES, Response
from batlab.align.lag_result import Lag
from batlab.align.lag_search import NAME, LagUndecidedError, Search
from batlab.align.windows import running_counter, warn_of_gaps
from batlab.errors import DimensionError, SchemaError, choose
from batlab.schema import record, require

MODELS = ("exposure_window", "frame_start")
LOWEST_SIGMA = 1 / 3  # of the median: a frame that claims less does not lead the fit
DOUBTFUL_INFLATION = 4.0  # of the variance, by correlated residuals
DOUBTFUL_CORRELATION = 0.3  # of a frame's residual with the next one's
COUNTERS = ("capacity", "charge_capacity", "discharge_capacity")
ROUNDING = 1e-9  # of the swing: smaller residuals are no noise


def estimate_lag(
    series: xr.Dataset,
    cell: xr.Dataset,
    *,
    signal: str,
    against: str = "charge_passed",
    model: str = "exposure_window",
    response: str = "smooth",
    baseline: int = 0,
    hysteresis: bool = False,
    drift: bool = True,
    max_lag: float = 900.0,
    hours: bool = True,
    start: datetime | str | np.datetime64 | float | None = None,
    interval: float | None = None,
) -> Lag:
    """Return what is to be added to the frames' clock so that they tell the time of the cell's record.

    The `signal` of frame i, begun at t_i and exposed for e_i, is taken as the mean over its exposure of an unknown
    function g of what the cell did, Q, which runs straight from record to record (a current that jumps between two of
    them is held up to where ``step_time`` or the charge counter of the record place the switch),

    ``s_i = 1/e_i ∫ g(Q(t)) dt + baseline + noise``  from t_i + lag + drift (t_i - t_ref) on, for e_i seconds.

    g and the baseline are fitted anew at every trial lag (a spline, its pieces chosen by Schwarz's criterion); the sum
    of squares that is left is the cost. σ is that of least squares with the noise taken from the residuals, enlarged
    where these are correlated (``Jᵀ R J / Jᵀ J`` with their autocorrelation R) and by switches of the current between
    two records that nothing places: all of them may lie alike anywhere between. The interval follows the cost itself.
    Lag is given at the moment t_ref at which it is independent of the drift, about the middle of what the signal shows.

    Parameters
    ----------
    series
        Anything over ``frame`` with ``time`` and ``exposure`` [s] (else `start`, `interval` as in `onto_frames`).
    cell
        A cycler's record over ``record``.
    signal
        Variable of the series, (frame,), that follows the cell: ``"a"``, ``"e0"``, an area. ``<signal>_sigma``, if
        there, weighs the frames (only against each other; none counts as better than a third of the median).
    against
        What of the cell it follows: ``"charge_passed"`` (∫ I dt), ``"capacity"`` (the counter, running on),
        ``"voltage"``, ``"current"``, ``"temperature"`` or another variable over record.
    model
        ``"exposure_window"``; or ``"frame_start"``, which takes the frame for a point at its start and so finds a lag
        that is too large by half an exposure: only to show by how much.
    response
        g: ``"linear"``, ``"smooth"``, or smooth and ``"rising"`` or ``"falling"``, which tells a charge from a
        discharge where a signal repeats itself.
    baseline
        Degree of a polynomial in time that the signal may follow without the cell (0: a constant, 1: creep).
    hysteresis
        The signal may lie higher or lower by a constant while the cell discharges. At one current that looks like a
        lag, so that it takes more than one to tell them apart.
    drift
        Fit the drift too.
    max_lag
        Lags up to this many seconds are searched, both ways.
    hours
        Also look around whole hours, up to ±14: daylight saving, or a zone that was taken for another.
    start, interval
        As in `onto_frames`.

    Returns
    -------
    Lag
        ``.lag``, ``.sigma``, ``.interval`` [s], ``.drift``, ``.drift_sigma``, ``.drift_limit`` [ppm]; pass it on as
        ``onto_frames(series, cell, offset=lag)``. ``.dataset``: over ``lag`` the profile (``cost``: by how much the sum
        of squares lies above its least, in units of the noise's variance; 3.84 is 95 %), over ``frame`` the ``signal``,
        its fit, and the mean of the quantity at the lag found.

    Raises
    ------
    LagUndecidedError
        The signal cannot tell: it does not follow the cell, only rises or falls evenly, fits at two lags, or best
        beyond `max_lag`.
    DimensionError, SchemaError, ValueError, TypeError
        Not a series or a record; no such variable; an unknown word; no dates, as in `onto_frames`.

    Warns
    -----
    UserWarning
        The lag is a whole hour or more; a lag of whole hours cannot be excluded; residuals so correlated that σ is
        doubled, or by more than 0.3 from frame to frame (then Q may not be what the signal follows: hysteresis, creep);
        switches of the current that were not recorded make up most of σ.

    Notes
    -----
    A signal that comes behind the cell (diffusion, heat) has that in its lag: this tells when, not why. Without
    `hysteresis` the response must be one and the same in charge and discharge.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> rng, seconds = np.random.default_rng(1), np.repeat(3600.0 * np.arange(5), 2)[1:-1]
    >>> current = np.repeat([1.0, -1.0, 1.0, -1.0], 2)
    >>> cell = xr.Dataset({"current": quantity("record", current, "A", "current")},
    ...                   {"test_time": quantity("record", seconds, "s", "time of the test")})
    >>> begin = 600 + 60.0 * np.arange(220)
    >>> middle = (begin + 15 + 37.4) % 7200
    >>> a = 2.88 - 0.05 * (1 - np.abs(middle / 3600 - 1)) + rng.normal(0, 0.0005, 220)
    >>> series = xr.Dataset({"a": quantity("frame", a, "angstrom", "a")},
    ...                     {"exposure": quantity("frame", np.full(220, 30.0), "s", "exposure")})
    >>> found = estimate_lag(series, cell, signal="a", start=600.0, interval=60.0, hours=False)
    >>> abs(found.lag - 37.4) < 2 * found.sigma < 6
    True
    """
    require(series, NAME, "frame")
    require(cell, NAME, "record", hint="pass a cycler's record as the second argument")
    choose("model", model, MODELS)
    choose("response", response, RESPONSES)
    if not (isinstance(baseline, int) and 0 <= baseline <= 5):
        raise ValueError(f"baseline must be a degree from 0 to 5, got {baseline!r}")
    if not (np.isfinite(max_lag) and max_lag > 0):
        raise ValueError(f"max_lag must be seconds above 0, got {max_lag!r}")
    clock = common_clock(series, cell, start, interval, 0.0)
    values, weight = _signal(series, signal)
    told: dict[str, Any] = {
        "signal": signal,
        "against": against,
        "model": model,
        "response": response,
        "baseline": baseline,
    }
    told |= {"hysteresis": int(hysteresis)}
    lines = _lines(cell, clock, against, hysteresis)
    problem, rows = _problem(clock, values, weight, lines.quantity(0.5), told)
    search = Search(problem, float(max_lag), float(np.median(problem.exposure)) / 2 or 1.0, signal, against)
    found = search.run(hours, drift)
    numbers = numbers_of(found, drift, search.floor)
    attrs = told | {"with_drift": int(drift)}
    if lines.n_open:
        numbers = loosened(found, numbers, [lines.quantity(share) for share in SHARES])
        attrs |= {"n_switches_open": lines.n_open, "switch_interval": lines.longest}
    profile = profile_of(found, numbers, search.floor)
    lag = Lag(result_of(series, clock, rows, (found, numbers, profile), attrs, _units(cell, against)))
    _warn(lag)
    arguments: dict[str, Any] = told | {
        "drift": drift,
        "max_lag": max_lag,
        "hours": hours,
        "start": plain(start),
        "interval": interval,
    }
    return Lag(record(lag.dataset, NAME, series=series, cell=cell, **arguments))


def _signal(series: xr.Dataset, signal: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the signal and the weight of each frame, of median 1."""
    if signal not in series:
        choose("signal", signal, [str(name) for name in series.data_vars if series[name].dims == ("frame",)])
    variable = series[signal]
    if variable.dims != ("frame",):
        raise DimensionError(f"{NAME} needs {signal!r} over ('frame',), got {variable.dims}; select one, e.g. one peak")
    if variable.dtype.kind not in "iuf":
        raise SchemaError(f"{NAME} needs numbers in {signal!r}, got {variable.dtype}")
    values = np.asarray(variable.values, dtype=float)
    weight = np.ones(values.shape)
    sigma = series.get(f"{signal}_sigma")
    if sigma is not None:
        size = np.asarray(sigma.values, dtype=float)
        good = np.isfinite(size) & (size > 0)
        if good.any():
            usual = float(np.median(size[good]))
            weight = np.where(good, usual / np.maximum(np.where(good, size, usual), LOWEST_SIGMA * usual), 0.0)
    return np.where(weight > 0, values, np.nan), weight


def _units(cell: xr.Dataset, against: str) -> str:
    return "Ah" if against == "charge_passed" else str(cell[against].attrs.get("units", "1"))


def _lines(cell: xr.Dataset, clock: Clock, against: str, hysteresis: bool) -> Lines:
    """Return what the cell did, line by line, with what tells when its current was switched."""
    needed = "current" if against == "charge_passed" else against
    if needed not in cell or cell[needed].dims != ("record",) or cell[needed].dtype.kind not in "iuf":
        known = sorted(str(n) for n in cell.variables if cell[n].dims == ("record",) and cell[n].dtype.kind in "iuf")
        if against == "charge_passed":
            raise SchemaError(
                f"{NAME}: against='charge_passed' needs a current in the record, it has {', '.join(known)}"
            )
        choose("against", against, ["charge_passed", *known])
    good = np.isfinite(np.asarray(cell[needed].values, dtype=float))
    columns = {
        name: np.asarray(cell[name].values, dtype=float)[good]
        for name in {needed, "current", *COUNTERS, "step_time"}
        if name in cell.variables and cell[name].dims == ("record",) and cell[name].dtype.kind in "iuf"
    }
    times, values = clock.records[good], columns[needed]
    if times.size < 2:
        raise LagUndecidedError(f"{NAME}: the record has {times.size} lines with {needed!r}, at least 2 are needed")
    current = columns.get("current")
    if current is not None:
        current = np.where(np.isfinite(current), current, 0.0)
    if hysteresis and current is None:
        raise SchemaError(f"{NAME}: hysteresis=True needs a current in the record, which tells charge from discharge")
    if against == "capacity":
        values = running_counter(values, times, current)
    if against == "charge_passed":
        warn_of_gaps(times, values, None, stacklevel=4)
        return Lines(times, values, current if hysteresis else None, columns)
    return Lines(times, values, current if hysteresis else None)


def _problem(
    clock: Clock, values: np.ndarray, weight: np.ndarray, cell: Quantity, told: dict[str, Any]
) -> tuple[Problem, np.ndarray]:
    """Return the problem and which frames, in the order of time, it holds."""
    begin, length = clock.windows.start, clock.windows.stop - clock.windows.start
    rows = np.flatnonzero(np.isfinite(begin) & np.isfinite(length) & np.isfinite(values))
    rows = rows[np.argsort(begin[rows], kind="stable")]
    if not rows.size or np.ptp(values[rows]) == 0 or np.ptp(cell.fine_values) == 0:
        still = told["signal"] if not rows.size or np.ptp(values[rows]) == 0 else told["against"]
        raise LagUndecidedError(
            f"{NAME}: {still!r} has no two numbers that differ ({rows.size} of {values.size} frames have time, "
            "exposure and signal); a lag is told by what changes"
        )
    begin, exposure = begin[rows], length[rows]
    if told["model"] == "frame_start":
        exposure = np.zeros(exposure.shape)
    degree, sign = RESPONSES[told["response"]]
    n_pieces = 1 if degree == 1 else 3
    response = Response(degree, sign, n_pieces, float(cell.fine_values.min()), float(cell.fine_values.max()))
    middle, half = (begin[0] + begin[-1]) / 2, (begin[-1] - begin[0]) / 2 or 1.0
    free = np.vander((begin - middle) / half, told["baseline"] + 1, increasing=True)
    integral = integral_of(cell, response)
    return Problem(begin, exposure, values[rows], weight[rows], cell, response, free, integral, float(middle)), rows


def _warn(lag: Lag) -> None:
    attrs = lag.dataset.attrs
    if attrs["hour"]:
        warnings.warn(
            f"{NAME}: the frames' clock is {attrs['hour']:+d} h off, and {lag.lag - 3600 * attrs['hour']:.1f} s: a "
            "change to or from daylight saving, or a time zone taken for another; look at timezone= where both were "
            "read",
            UserWarning,
            stacklevel=3,
        )
    if lag.rivals:
        told = ", ".join(f"{one:.1f}" for one in lag.rivals)
        warnings.warn(
            f"{NAME}: {lag.lag:.1f} s is the lag, if the clocks agree to the hour: {told} s fit no worse "
            f"({attrs['signal']} repeats itself); give response='rising' or 'falling' if that is known, hours=False if "
            "the zones are",
            UserWarning,
            stacklevel=3,
        )
    if 2 * attrs["switch_sigma"] ** 2 > lag.sigma**2:
        warnings.warn(
            f"{NAME}: the current was switched {attrs['n_switches_open']} times between records, up to "
            f"{attrs['switch_interval']:.3g} s apart, and neither 'step_time' nor a charge counter tells when; that is "
            f"{attrs['switch_sigma']:.2g} of the {lag.sigma:.2g} s of σ: open the record with these columns",
            UserWarning,
            stacklevel=3,
        )
    is_alike = attrs["inflation"] > DOUBTFUL_INFLATION or attrs["correlation"] > DOUBTFUL_CORRELATION
    if is_alike and attrs["noise"] > ROUNDING:
        warnings.warn(
            f"{NAME}: residuals resemble their neighbours (correlation {attrs['correlation']:.2f}), so σ is "
            f"{np.sqrt(attrs['inflation']):.1f} times that of independent frames: {attrs['signal']} may not be a "
            f"function of {attrs['against']} alone; try baseline=1, hysteresis=True, another against=, or fewer cycles",
            UserWarning,
            stacklevel=3,
        )
