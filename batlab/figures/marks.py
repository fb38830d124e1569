"""Marks of people as boxes on a heat map."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.figures.pixels import pattern_axis, point_edges
from batlab.figures.style import SELECTION

if TYPE_CHECKING:
    from bokeh.plotting import figure

LONGEST = 60  # characters a line under the mouse: a longer one would cover the map


def add_marks(plot: figure, series: xr.Dataset, marks: Iterable[Any]) -> figure:
    """Draw `marks` (as ``failure.Store.marks`` returns them) as numbered boxes on a heat map, and return it.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.add_marks(bl.figures.heat_map(series), series, store.marks(series))  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, HoverTool

    source = ColumnDataSource(data=mark_columns(series, marks), name="mark_data")
    box = {"left": "left", "right": "right", "bottom": "bottom", "top": "top"}
    plot.quad(**box, source=source, fill_alpha=0, line_color="#000000", line_width=3, line_alpha=0.6)
    quads = plot.quad(
        **box,
        source=source,
        fill_color=SELECTION,
        fill_alpha=0.08,
        line_color=SELECTION,
        line_width=1.4,
        name="mark_boxes",
    )
    plot.text(
        "left", "top", text="number", source=source, text_color="#FFFFFF", text_font_size="12px", text_baseline="top",
        text_font_style="bold", x_offset=3, y_offset=2, background_fill_color="#000000", background_fill_alpha=0.6,
        name="mark_numbers",
    )  # fmt: skip
    tips = [("mark", "@number"), ("mechanism", "@mechanism (@category)"), ("sure", "@confidence{0.00}"),
            ("by", "@author"), ("", "@text")]  # fmt: skip
    plot.add_tools(
        HoverTool(tooltips=tips, renderers=[quads], point_policy="follow_mouse", attachment="above", name="mark_hover")
    )
    return plot


def mark_columns(series: xr.Dataset, marks: Iterable[Any]) -> dict[str, list[Any]]:
    """Return marks as columns of a Bokeh source; one without an axis range spans the axis."""
    edges = point_edges(np.asarray(series[pattern_axis(series, "figures.add_marks")].values, dtype=float))
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "left",
            "right",
            "bottom",
            "top",
            "number",
            "mechanism",
            "category",
            "confidence",
            "author",
            "text",
        )
    }
    for number, mark in enumerate(marks, 1):
        low, high = mark.axis_range or (edges[0], edges[-1])
        mechanism, text = (shorten(words, LONGEST, placeholder=" …") for words in (mark.mechanism, mark.text))
        values = (float(low), float(high), mark.frames[0] - 0.5, mark.frames[1] + 0.5, str(number), mechanism,
                  mark.category, mark.confidence, mark.author, text)  # fmt: skip
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    return columns
