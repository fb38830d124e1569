"""One number a frame: lattice parameter, peak area, voltage, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose, did_you_mean
from batlab.figures.pixels import point_edges
from batlab.figures.style import COLOURS, CURSOR, axis_label, blank, readable

if TYPE_CHECKING:
    from bokeh.plotting import figure


TRACK_COLUMNS = ("frame", "place", "value", "low", "high", "value_text", "sigma_text")


def track(
    table: xr.Dataset,
    name: str,
    *,
    peak: int | None = None,
    against: str = "frame",
    frame_axis: str = "x",
    frames: tuple[float, float] | None = None,
    cursor: int | None = None,
    size: tuple[int, int] = (600, 200),
) -> figure:
    """Draw one quantity over the frames with bars of 1 σ.

    Parameters
    ----------
    table
        Cells, peaks, or a series with voltage: any Dataset with `name` over ``frame``, or over (frame, peak).
    name
        The variable; ``<name>_sigma`` gives the bars.
    peak
        Which peak, as the coordinate ``peak`` has it, where the variable is over (frame, peak).
    against
        ``"frame"``, or another quantity over ``frame``: ``"time"``, ``"voltage"``, ``"charge_passed"`` …
    frame_axis
        ``"x"``, or ``"y"`` to stand beside a map whose frames run upward.
    frames
        The visible part of the frame axis; by default half a frame beyond the ends, as maps have it.
    cursor
        A frame to mark with a line. This and `frames` need ``against="frame"``.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        No such variable, or it is not one number a frame.
    ValueError
        An unknown `frame_axis`.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.track(bl.open("cells.nc"), "a")  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, Range1d, Span

    choose("frame_axis", frame_axis, ("x", "y"))
    values = one_number(table, name, peak)
    other = table["frame"] if against == "frame" else one_number(table, against, None)
    upright = frame_axis == "y"
    labels = axis_label(rescaled(values)), axis_label(other if other.dtype.kind == "M" else rescaled(other))
    more: dict[str, Any] = {}
    if other.dtype.kind == "M":
        more["y_axis_type" if upright else "x_axis_type"] = "datetime"
    if against == "frame" and values.size:
        edges = point_edges(np.asarray(other.values, dtype=float))
        more["y_range" if upright else "x_range"] = Range1d(*map(float, frames or (edges[0], edges[-1])))
    plot = blank(size, *(labels if upright else labels[::-1]), **more)
    source = ColumnDataSource(data=track_columns(table, name, peak, against), name="track_data")
    draw_track(plot, source, upright)
    add_hover(plot, labels[0])
    plot.add_layout(
        Span(
            location=cursor,
            visible=cursor is not None and against == "frame",
            dimension="width" if upright else "height",
            line_color=CURSOR,
            line_width=1.6,
            name="track_cursor",
        )
    )
    return plot


def one_number(table: xr.Dataset, name: str, peak: int | None) -> xr.DataArray:
    """Return a quantity as one number a frame, or say why it is none."""
    if name not in table.variables:
        options = list(quantities(table))
        raise DimensionError(
            f"figures.track needs a variable over 'frame', got {name!r}"
            + (did_you_mean(name, options) or f"; there are {options}")
        )
    values = table[name]
    if "peak" in values.dims and peak is not None:
        if peak not in table["peak"].values:
            raise ValueError(f"peak must be one of {table['peak'].values.tolist()}, got {peak}")
        values = values.sel(peak=peak)
    if values.dims != ("frame",):
        hint = "; say which peak=" if "peak" in values.dims else ""
        raise DimensionError(f"figures.track needs {name!r} over ('frame',), got {values.dims}{hint}")
    return values


def rescaled(variable: xr.DataArray) -> xr.DataArray:
    """Return a quantity in the unit in which a figure shows it."""
    factor, units = readable(variable)
    return variable if factor == 1 else (variable * factor).assign_attrs({**variable.attrs, "units": units})


def quantities(table: xr.Dataset) -> dict[str, tuple[str, int | None]]:
    """Return what can be tracked in a table: a label for readers -> (variable, peak).

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> cells = xr.Dataset({"a": quantity("frame", [1.0], "angstrom", "a"),
    ...                     "a_sigma": quantity("frame", [0.1], "angstrom", "a")}, attrs={"phase": "Al"})
    >>> quantities(cells)
    {'a, Al': ('a', None)}
    """
    found: dict[str, tuple[str, int | None]] = {}
    phase = str(table.attrs.get("phase", ""))
    for key, variable in table.data_vars.items():
        name = str(key)
        if name.endswith("_sigma") or variable.dtype.kind not in "iuf" or variable.attrs.get("flag_values") is not None:
            continue
        if variable.dims == ("frame",):
            found[f"{name}, {phase}" if phase else name] = (name, None)
        elif variable.dims == ("frame", "peak"):
            for position, peak in enumerate(table["peak"].values.tolist()):
                found[f"{name}, {peak_name(table, position)}"] = (name, peak)
    return found


def distinct(table: xr.Dataset, names: Sequence[str]) -> list[str]:
    """Leave out what repeats an earlier quantity of the same unit: b and c of a cubic cell.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> cells = xr.Dataset({name: quantity("frame", [value], "angstrom", name) for name, value in
    ...                     (("a", 4.0), ("b", 4.0), ("c", 5.0))})
    >>> distinct(cells, ["a", "b", "c"])
    ['a', 'c']
    """

    def repeats(one: xr.DataArray, other: xr.DataArray) -> bool:
        if one.dtype.kind not in "iuf" or other.dtype.kind not in "iuf" or one.dims != other.dims:
            return False
        same_unit = one.attrs.get("units") == other.attrs.get("units")
        return same_unit and np.allclose(one.values, other.values, rtol=1e-9, atol=0, equal_nan=True)

    kept: list[str] = []
    for name in names:
        if not any(repeats(table[name], table[one]) for one in kept):
            kept.append(name)
    return kept


def peak_name(table: xr.Dataset, position: int) -> str:
    """Return a peak's phase and indices, or its number."""
    hkl = str(table["hkl"].values[position]) if "hkl" in table.coords else ""
    phase = str(table["phase"].values[position]) if "phase" in table.coords else ""
    number = f"peak {table['peak'].values[position]}"
    return f"{phase} {hkl}".strip() + (f" ({number})" if hkl else number if not phase else f" {number}")


def track_columns(
    table: xr.Dataset, name: str, peak: int | None = None, against: str = "frame"
) -> dict[str, np.ndarray]:
    """Return frame, value, the ends of the 1 σ bars, and value and σ as text, as columns."""
    values = one_number(table, name, peak)
    factor = readable(values)[0]
    value = np.asarray(values.values, dtype=float) * factor
    sigma = np.full_like(value, np.nan)
    if f"{name}_sigma" in table:
        sigma = np.asarray(one_number(table, f"{name}_sigma", peak).values, dtype=float) * factor
    other = table["frame"] if against == "frame" else one_number(table, against, None)
    place = other.values if other.dtype.kind == "M" else rescaled(other).values
    return {
        "frame": np.asarray(table["frame"].values, dtype=float),
        "place": place if place.dtype.kind == "M" else np.asarray(place, dtype=float),
        "value": value,
        "low": value - sigma,
        "high": value + sigma,
        "value_text": np.array([f"{one:.7g}" for one in value], dtype=str),
        "sigma_text": np.array([f"{one:.2g}" if np.isfinite(one) else "unknown" for one in sigma], dtype=str),
    }


def draw_track(plot: figure, source: object, upright: bool, colour: str = COLOURS[0]) -> None:
    """Draw line, points and bars; `upright` runs the frames upward."""
    x, y = ("value", "place") if upright else ("place", "value")
    bar = {"x0": "low", "x1": "high", "y0": "place", "y1": "place"}
    if not upright:
        bar = {"x0": "place", "x1": "place", "y0": "low", "y1": "high"}
    plot.segment(**bar, source=source, line_color=colour, line_alpha=0.45, line_width=1.5, name="track_bars")
    plot.line(x, y, source=source, line_color=colour, line_width=1, line_alpha=0.6, name="track_line")
    plot.scatter(x, y, source=source, size=4, fill_color=colour, line_color=None, name="track_points")


def add_hover(plot: figure, label: str) -> None:
    """Tell frame, value and σ of the point under the mouse."""
    from bokeh.models import HoverTool

    points = plot.select_one({"name": "track_points"})
    plot.add_tools(HoverTool(tooltips=hover_tips(label), renderers=[points], name="track_hover"))


def hover_tips(label: str) -> list[tuple[str, str]]:
    """Return what stands under the mouse at a point of a quantity called `label`."""
    return [("frame", "@frame{0}"), (label, "@value_text"), ("1 σ", "@sigma_text")]
