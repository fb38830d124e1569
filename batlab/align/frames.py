"""What the cell did while each frame was exposed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr

from batlab.align.clock import Clock, Offset, common_clock, dates, plain
from batlab.align.windows import Windows, charge_mean, covered, gaps, held, mean, running_counter, warn_of_gaps
from batlab.schema import quantity, record, require

LABELS = ("cycle", "step")


def onto_frames(
    series: xr.Dataset,
    cell: xr.Dataset,
    *,
    start: datetime | str | np.datetime64 | float | None = None,
    interval: float | None = None,
    offset: Offset = 0.0,
    gap: float | None = None,
) -> xr.Dataset:
    """Return the series with what the cell did in each frame's exposure window.

    The record is taken to run straight from one line to the next; each frame gets its time-weighted mean over
    [begin, begin + exposure], integrated exactly, not sampled. A window that lies partly outside the record, or
    touches a gap in it, is NaN: nothing is extrapolated. All times are UTC.

    Parameters
    ----------
    series
        Anything over ``frame``: patterns, peaks, cells; with ``time`` (start of exposure) and ``exposure`` [s], unless
        `start` and `interval` are given.
    cell
        A cycler's record over ``record`` with ``time`` (dated) or ``test_time`` [s].
    start
        When the first frame began: a date (without a zone it is UTC), or seconds on the record's ``test_time``, which
        then is the clock and needs no date. With `interval` it replaces the series' own times; alone it moves them.
    interval
        Seconds from the start of one frame to that of the next; also the exposure where the series has none.
    offset
        Seconds added to the frames' clock: a number, or a clock model called with the frames' times (datetime64, or
        seconds where nothing is dated) that returns seconds.
    gap
        An interval between records longer than this many seconds is a gap. Default: longer than 10 times the median
        interval and than 10 times both of its neighbours (rests recorded coarsely throughout are no gaps).

    Returns
    -------
    xarray.Dataset
        The series with, over ``frame``: ``voltage`` [V], ``current`` [A], ``capacity`` [Ah] (the record's counter,
        running on where the cycler reset it), ``charge_passed`` [Ah] (net ``∫ I dt`` since the first record, charge
        positive; over gaps a straight line, with a warning where that is more than 5 % of all charge), ``cycle`` and
        ``step`` where one holds from the last record before to the first after the window, else NaN; as far as the
        record has them. ``time`` (or ``test_time``, where nothing is dated) becomes the corrected start of exposure;
        ``clock_offset`` [s] is what was added, so do not add it twice.

    Raises
    ------
    ValueError
        The frames have no time and `start` or `interval` is missing, no exposure, a date meets a record without one.
    DimensionError, SchemaError
        Not a series or a record, or a record whose clock runs backwards.

    Examples
    --------
    >>> import xarray as xr
    >>> from batlab.schema import quantity
    >>> cell = xr.Dataset({"voltage": quantity("record", [3.0, 3.2], "V", "voltage")},
    ...                   {"test_time": quantity("record", [0.0, 100.0], "s", "time of the test")})
    >>> series = xr.Dataset({"a": quantity("frame", [2.82, 2.83], "angstrom", "a")})
    >>> onto_frames(series, cell, start=0.0, interval=50.0).voltage.values.round(6).tolist()
    [3.05, 3.15]
    """
    require(series, "align.onto_frames", "frame")
    require(cell, "align.onto_frames", "record", hint="pass a cycler's record as the second argument")
    if gap is not None and not gap > 0:
        raise ValueError(f"gap must be seconds above 0, got {gap!r}")
    clock = common_clock(series, cell, start, interval, offset)
    result = _with_clock(series, clock).assign(_added(cell, clock, gap))
    if not callable(offset):
        result.attrs["clock_offset"] = float(offset)
    told: dict[str, Any] = {"start": start, "interval": interval, "offset": offset, "gap": gap}
    return record(result, "align.onto_frames", cell=cell, **{key: plain(value) for key, value in told.items()})


def _added(cell: xr.Dataset, clock: Clock, gap: float | None) -> dict[str, xr.Variable]:
    added = {}
    for name, units, told in (("voltage", "V", "voltage"), ("current", "A", "current, charging positive")):
        if name in cell:
            times, values = known(clock.records, cell[name])
            added[name] = quantity("frame", inside(times, gap, clock.windows, mean, values), units, f"mean {told}")
    if "capacity" in cell:
        added["capacity"] = running(cell, clock, gap)
    if "current" in cell:
        added["charge_passed"] = charge(cell, clock, gap)
    for name in LABELS:
        if name in cell:
            values = np.asarray(cell[name].values, dtype=float)
            within = inside(clock.records, gap, clock.windows, held, values)
            added[name] = quantity("frame", within, "1", f"{name} that holds for the whole exposure")
    return added


def known(times: np.ndarray, variable: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(variable.values, dtype=float)
    good = np.isfinite(values)
    return times[good], values[good]


def inside(times: np.ndarray, gap: float | None, windows: Windows, method: Any, values: np.ndarray) -> np.ndarray:
    """Return ``method(times, values, windows)`` where the record covers the window, else NaN."""
    result = np.full(windows.start.shape, np.nan)
    if times.size == 0:
        return result
    whole = covered(times, gaps(times, gap), windows)
    result[whole] = method(times, values, Windows(windows.start[whole], windows.stop[whole]))
    return result


def running(cell: xr.Dataset, clock: Clock, gap: float | None) -> xr.Variable:
    counter = np.asarray(cell["capacity"].values, dtype=float)
    good = np.isfinite(counter)
    current = None
    if "current" in cell:
        current = np.asarray(cell["current"].values, dtype=float)
        current = np.where(np.isfinite(current), current, 0.0)[good]
    times = clock.records[good]
    total = running_counter(counter[good], times, current) if good.any() else counter[good]
    values = inside(times, gap, clock.windows, mean, total)
    return quantity("frame", values, "Ah", "mean capacity, running on across resets of the counter")


def charge(cell: xr.Dataset, clock: Clock, gap: float | None) -> xr.Variable:
    times, current = known(clock.records, cell["current"])
    values = inside(times, gap, clock.windows, charge_mean, current) / 3600
    warn_of_gaps(times, current, gap, stacklevel=4)
    return quantity("frame", values, "Ah", "mean net charge passed since the first record")


def _with_clock(series: xr.Dataset, clock: Clock) -> xr.Dataset:
    begin = clock.windows.start
    added = {"clock_offset": quantity("frame", clock.offset, "s", "seconds added to the frames' clock")}
    if clock.zero is not None:
        added["time"] = quantity("frame", dates(begin, clock.zero), "", "start of exposure, UTC")
    else:
        added["test_time"] = quantity("frame", begin, "s", "start of exposure on the record's clock")
    if "exposure" not in series:
        exposure = np.round(clock.windows.stop - begin, 9)
        added["exposure"] = quantity("frame", exposure, "s", "exposure")
    return series.drop_vars([name for name in added if name in series]).assign_coords(added)
