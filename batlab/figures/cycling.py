"""Voltage and current of a cell, over frames or over time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose
from batlab.figures.style import COLOURS, axis_label, blank, dress, readable

if TYPE_CHECKING:
    from bokeh.plotting import figure

POINTS = 4000  # a curve on a screen shows no more


def cycling(cell: xr.Dataset, *, against: str | None = None, size: tuple[int, int] = (600, 180)) -> figure:
    """Draw voltage (left axis) and current (right axis).

    Parameters
    ----------
    cell
        A cycler's record (over ``record``), or a series with ``voltage`` over ``frame``. Long records are thinned to
        4000 points that keep the extremes.
    against
        ``"frame"``, ``"time"`` (UTC) or ``"test_time"`` (shown in hours); by default whichever is there first.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        Neither voltage nor the axis asked for is there.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.cycling(bl.open("cell7.mpr"))  # doctest: +SKIP
    """
    from bokeh.models import LinearAxis, Range1d

    if "voltage" not in cell.variables:
        raise DimensionError(
            f"figures.cycling needs 'voltage', got {sorted(map(str, cell.data_vars))}; align a cycler's record first "
            "with align.onto_frames"
        )
    against = against or next(name for name in ("test_time", "frame", "time") if name in cell.variables)
    choose("against", against, ("frame", "time", "test_time"))
    if against not in cell.variables:
        raise DimensionError(f"figures.cycling needs {against!r}, got {sorted(map(str, cell.variables))}")
    place, label = _place(cell[against])
    datetime = {"x_axis_type": "datetime"} if place.dtype.kind == "M" else {}
    plot = blank(size, label, axis_label(cell["voltage"]), margins=(8, 66, 44, 66), **datetime)
    keep = thinned(cell["voltage"].values)
    voltage = np.asarray(cell["voltage"].values, dtype=float)[keep]
    line = plot.line(place[keep], voltage, line_color=COLOURS[0], line_width=1.6, name="voltage_line")
    plot.y_range.renderers = [line]
    plot.yaxis.axis_label_text_color = COLOURS[0]
    if "current" in cell:
        current = np.asarray(cell["current"].values, dtype=float)[keep]
        factor, unit = readable(cell["current"])
        reach = float(np.nanmax(np.abs(current), initial=0.0)) * factor or 1.0
        plot.extra_y_ranges = {"current": Range1d(-1.15 * reach, 1.15 * reach)}
        axis = LinearAxis(y_range_name="current", axis_label=f"current ({unit})", axis_label_text_color=COLOURS[1])
        dress(axis)
        plot.add_layout(axis, "right")
        plot.step(
            place[keep], current * factor, y_range_name="current", line_color=COLOURS[1], line_width=1.1,
            mode="after", name="current_line",
        )  # fmt: skip
    return plot


def _place(axis: xr.DataArray) -> tuple[np.ndarray, str]:
    if axis.name == "test_time":
        return np.asarray(axis.values, dtype=float) / 3600, "test time (h)"
    if axis.dtype.kind == "M":
        return axis.values, "time (UTC)"
    return np.asarray(axis.values, dtype=float), axis_label(axis)


def thinned(values: np.ndarray, most: int = POINTS) -> np.ndarray:
    """Return the positions of at most about `most` values, with the least and greatest of every stretch.

    >>> thinned(np.array([0.0, 5.0, 1.0, -4.0, 2.0, 3.0, 0.0, 1.0]), most=4).tolist()
    [0, 1, 3, 5, 6, 7]
    """
    if values.size <= most:
        return np.arange(values.size)
    starts = np.linspace(0, values.size, max(1, most // 2) + 1).astype(int)
    keep = {0, values.size - 1}
    for first, last in pairwise(starts.tolist()):
        part = values[first:last]
        if np.isfinite(part).any():
            keep |= {int(first + np.nanargmin(part)), int(first + np.nanargmax(part))}
        else:
            keep.add(int(first))
    return np.array(sorted(keep))
