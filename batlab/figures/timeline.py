"""Everything of one experiment on one axis of absolute time: exposures, cycles, events, marks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.figures.style import COLOURS, TEXT, blank, set_ticks
from batlab.figures.timeline_lanes import Lane, lanes

if TYPE_CHECKING:
    from bokeh.plotting import figure

ROW = 26  # pixels
COLOUR = {"frames": COLOURS[0], "cycles": COLOURS[2], "events": COLOURS[1], "marks": COLOURS[6]}
SHADE = {"frames": 0.8, "cycles": 0.3, "events": 0.3, "marks": 0.35}
ROOM = 16.0  # pixels that a label needs
COLUMNS = ("start", "end", "bottom", "top", "middle", "text", "label", "shade", "at", "row")


def timeline(results: Mapping[str, xr.Dataset], *, marks: Iterable[Any] = (), width: int = 600) -> figure:
    """Draw when each technique measured, the cycles, the events and the marks, one lane each, over time in UTC.

    Exposures between which the eye sees no gap are one bar. An event is a diamond on the bar of its confidence limits;
    overlapping marks get lanes of their own, numbered in their order. What has no absolute time is not drawn.

    Parameters
    ----------
    results
        Name -> series over ``frame`` or record with ``time``, or events (``onset`` over ``event``), which are placed by
        the series that has their source.
    marks
        As ``failure.Store.marks`` returns them; they are placed by the series that they were made on.
    width
        Of the part inside the axes, in pixels; the height follows from the lanes.

    Raises
    ------
    DimensionError
        Nothing of it says when it was measured.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> time = np.datetime64("2026-03-01T10:00", "ns") + np.arange(3) * np.timedelta64(60, "s")
    >>> series = xr.Dataset(coords={"frame": quantity("frame", np.arange(3), "1", "frame"),
    ...                             "time": quantity("frame", time, "", "start of exposure")})
    >>> timeline({"Patterns": series}).yaxis[0].major_label_overrides
    {0.0: 'Patterns'}
    """
    found, _ = lanes(results, marks)
    if not found:
        raise DimensionError(
            f"figures.timeline needs 'time' (datetime64) over 'frame' or 'record', got "
            f"{', '.join(results) or 'no result'} "
            "without it; see align.onto_frames and the hints of bl.open"
        )
    low, high = _ends(found)
    plot = _empty(found, (low, high), width)
    for kind in COLOUR:
        source = _source(found, kind, (high - low) / np.timedelta64(1, "ms") / width)
        if len(source.data["start"]):
            _draw(plot, source, kind)
    return plot


def _ends(found: list[Lane]) -> tuple[np.datetime64, np.datetime64]:
    spans = [span for lane in found for span in lane.spans]
    low, high = min(span.start for span in spans), max(span.end for span in spans)
    edge = max((high - low) // 50, np.timedelta64(1, "s"))
    return low - edge, high + edge


def _empty(found: list[Lane], ends: tuple[np.datetime64, np.datetime64], width: int) -> figure:
    from bokeh.models import DatetimeTickFormatter, Range1d

    n = len(found)
    plot = blank(
        (width, ROW * n), "time (UTC)", "", margins=(8, 12, 44, 150), x_axis_type="datetime",
        x_range=Range1d(*(one.astype("datetime64[ms]").astype(np.int64).item() for one in ends)),
        y_range=Range1d(n - 0.5, -0.5),
    )  # fmt: skip
    plot.xaxis[0].formatter = DatetimeTickFormatter(
        minsec="%H:%M:%S", minutes="%d %b %H:%M", hourmin="%d %b %H:%M", hours="%d %b %H:%M", days="%d %b %Y"
    )
    plot.xaxis[0].ticker.desired_num_ticks = 5
    set_ticks(plot.yaxis[0], range(n), [_short(lane.name) for lane in found])
    plot.ygrid.visible = False
    return plot


def _source(found: list[Lane], kind: str, pixel: float) -> Any:
    """Return the spans of one kind as columns; `pixel` is its width in milliseconds."""
    from bokeh.models import ColumnDataSource

    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for row, lane in enumerate(found):
        for number, span in enumerate(lane.spans if lane.kind == kind else ()):
            half = 0.16 if kind == "events" else 0.34
            length = (span.end - span.start) / np.timedelta64(1, "ms")
            label = span.label if length > pixel * ROOM or kind == "marks" else ""
            middle = span.start + (span.end - span.start) / 2
            told = (span.start, span.end, row - half, row + half, middle, span.text, label,
                    SHADE[kind] + 0.3 * (number % 2) * (kind == "cycles"), span.at or middle, float(row))  # fmt: skip
            for name, value in zip(COLUMNS, told, strict=True):
                columns[name].append(value)
    times = {name: np.array(columns[name], dtype="datetime64[ms]") for name in ("start", "end", "middle", "at")}
    return ColumnDataSource(data={**columns, **times}, name=f"timeline_{kind}")


def _draw(plot: figure, source: Any, kind: str) -> None:
    from bokeh.models import HoverTool

    colour = COLOUR[kind]
    # The outline keeps what is narrower than a pixel visible.
    bars = plot.quad(
        left="start", right="end", bottom="bottom", top="top", source=source, fill_color=colour,
        fill_alpha="shade", line_color=colour, line_width=0.5 if kind == "cycles" else 1.2, name=f"{kind}_bars",
    )  # fmt: skip
    drawn = [bars]
    if kind == "events":
        drawn.append(plot.scatter("at", "row", source=source, marker="diamond", size=11, fill_color=colour,
                                  line_color="white", name="events_points"))  # fmt: skip
    else:
        plot.text(
            "middle", "row", text="label", source=source, text_align="center", text_baseline="middle",
            text_font_size="11px", text_color=TEXT, name=f"{kind}_labels",
        )  # fmt: skip
    plot.add_tools(HoverTool(tooltips="@text", renderers=drawn, point_policy="follow_mouse"))


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
