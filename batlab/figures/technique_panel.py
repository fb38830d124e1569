"""The panel of one technique beside others on a shared axis, filled and moved in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.figures.heat_map import HOVER_CODE, bar_ticks, colour_mapper, image_columns
from batlab.figures.pixels import point_edges
from batlab.figures.scale import tick_text
from batlab.figures.style import CURSOR, TEXT, axis_label, blank
from batlab.figures.technique import Along, Choice, numbers_of, technique_image, technique_trace, visible_range
from batlab.figures.track import rescaled

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

TOP, RIGHT, BOTTOM, LAST_BOTTOM, LEFT = 4, 58, 6, 44, 76
TRACE = ("x", "y", "low", "high", "frame")
FEW = 300  # points that are drawn as such
EMPTY = np.zeros((1, 1), dtype=np.uint8)
MAP = {"image": [EMPTY], "x": [0.0], "y": [0.0], "dw": [1.0], "dh": [1.0], "scale": ["linear"],
       "bottom_position": [0.0], "top_position": [1.0], "unit": [0.0]}  # fmt: skip


@dataclass(eq=False)
class Panel:
    """A figure with a map and a trace, of which one is visible; `plot` is the figure.

    Cursor, words and handle lie on a layer of their own: moving them does not paint the map anew.
    """

    name: str
    colour: str
    plot: figure
    map: Any
    bar: Any
    trace: list[Any]
    cursor: Any
    words: Any
    hovers: list[Any]
    shared: str = ""
    shift: float = 0.0

    @property
    def trace_source(self) -> Any:
        """The data behind the trace."""
        return self.trace[0].data_source

    def show(
        self,
        table: xr.Dataset,
        choice: Choice,
        along: Along,
        *,
        stretch: tuple[float, float] | None = None,
        x_range: tuple[float, float] | None = None,
        y_range: tuple[float, float] | None = None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        """Draw what is chosen of the visible part of the axis."""
        is_map = choice.kind == "map"
        self.shift = 0.0
        for renderer in self.trace:
            renderer.visible = not is_map
        self.map.visible = self.bar.visible = is_map
        look: dict[str, Any] = {"stretch": stretch, "x_range": x_range}
        if is_map:
            self._show_map(table, choice, technique_image(table, choice, along, y_range=y_range, limits=limits, **look),
                           y_range)  # fmt: skip
            return
        columns = technique_trace(table, choice, along, **look)
        _, _, variable = numbers_of(table, choice)
        self.trace_source.data = columns
        self.trace[-1].visible = np.isfinite(columns["y"]).sum() <= FEW
        spread = [columns[name][np.isfinite(columns[name])] for name in ("y", "low", "high")]
        whole = visible_range(np.concatenate(spread))
        self._place_axis(axis_label(rescaled(variable)), whole, y_range)

    def _show_map(self, table: xr.Dataset, choice: Choice, image: Any, y_range: tuple[float, float] | None) -> None:
        axis = table[str(table[choice.name].dims[1])]
        edges = point_edges(np.asarray(axis.values, dtype=float))
        self._place_axis(axis_label(axis), (float(edges[0]), float(edges[-1])), y_range)
        self.map.data_source.data = dict(MAP) if image is None else image_columns(image)
        if image is None:
            return
        levels, texts = bar_ticks(image)
        few = slice(None, None, max(1, -(-len(levels) // 4)))
        self.bar.ticker.ticks = levels[few]
        self.bar.major_label_overrides = dict(zip(levels[few], texts[few], strict=True))

    def _place_axis(self, label: str, whole: tuple[float, float], visible: tuple[float, float] | None) -> None:
        low, high = visible or whole
        self.plot.yaxis.axis_label = label
        for hover, tips in zip(self.hovers, _tips(self.shared, label), strict=True):
            if hover.tooltips != tips:
                hover.tooltips = tips
        self.plot.y_range.update(start=low, end=high, reset_start=whole[0], reset_end=whole[1])

    def move(self, shift: float) -> None:
        """Move what is drawn along the axis by `shift` from where `show` has put it; the pixels do not travel."""
        by, self.shift = shift - self.shift, shift
        if not by:
            return
        if self.map.visible:
            self.map.data_source.data["x"] = [self.map.data_source.data["x"][0] + by]
        else:
            self.trace_source.data["x"] = np.asarray(self.trace_source.data["x"]) + by

    def point(self, place: float | None, words: str = "") -> None:
        """Put the cursor at a place, and words into the corner."""
        is_there = place is not None and np.isfinite(place)
        self.cursor.update(location=place if is_there else 0.0, visible=is_there)
        if words != self.words.text:
            self.words.text = words


def technique_panel(
    name: str, x_range: Range1d, size: tuple[int, int], colour: str, *, label: str, is_last: bool
) -> Panel:
    """Return an empty panel; `label` says what the shared axis is."""
    from bokeh.models import ColumnDataSource, Label, Range1d, Span

    margins = (TOP, RIGHT, LAST_BOTTOM if is_last else BOTTOM, LEFT)
    plot = blank(size, label, "", margins=margins, x_range=x_range, y_range=Range1d(0, 1), name=f"{name}_panel")
    plot.xaxis.visible = is_last
    plot.yaxis.axis_label_text_font_size = "12px"
    plot.yaxis.axis_label_text_color = colour
    mapper = colour_mapper(False)
    image = plot.image(
        image="image", x="x", y="y", dw="dw", dh="dh", source=ColumnDataSource(data=dict(MAP)), color_mapper=mapper,
        visible=False, name=f"{name}_map",
    )  # fmt: skip
    bar = _bar(mapper, name)
    plot.add_layout(bar, "right")
    source = ColumnDataSource(data={column: [] for column in TRACE})
    trace = [
        plot.line("x", "y", source=source, line_color=colour, line_width=1.4, name=f"{name}_line"),
        plot.segment("x", "low", "x", "high", source=source, line_color=colour, line_alpha=0.4, name=f"{name}_bars"),
        plot.scatter("x", "y", source=source, size=4, fill_color=colour, line_color=None, name=f"{name}_points"),
    ]
    cursor = Span(
        dimension="height", line_color=CURSOR, line_width=1.6, level="overlay", visible=False, name=f"{name}_cursor"
    )
    words = Label(
        x=4, y=size[1] - 3, x_units="screen", y_units="screen", text="", text_baseline="top", text_font_size="11px",
        text_color=TEXT, background_fill_color="#FFFFFF", background_fill_alpha=0.75, padding=2, level="overlay",
        name=f"{name}_words",
    )  # fmt: skip
    for one in (cursor, words):
        plot.add_layout(one)
    hovers = _add_hovers(plot, image, trace)
    return Panel(name, colour, plot, image, bar, trace, cursor, words, hovers, label)


def _bar(mapper: Any, name: str) -> Any:
    from bokeh.models import ColorBar, FixedTicker

    return ColorBar(
        color_mapper=mapper, ticker=FixedTicker(ticks=[]), width=9, padding=3, label_standoff=3, display_low=1,
        display_high=255, major_label_text_font_size="10px", visible=False, name=f"{name}_bar",
    )  # fmt: skip


def _add_hovers(plot: figure, image: Any, trace: list[Any]) -> list[Any]:
    from bokeh.models import CustomJSHover, HoverTool

    decode = CustomJSHover(args={"source": image.data_source}, code=HOVER_CODE)
    on_map, on_trace = _tips("", "")
    hovers = [
        HoverTool(
            tooltips=on_map, formatters={"@image": decode}, renderers=[image], point_policy="follow_mouse",
            attachment="below",
        ),
        HoverTool(tooltips=on_trace, renderers=[trace[0]], mode="vline", attachment="below"),
    ]  # fmt: skip
    plot.add_tools(*hovers)
    return hovers


def _tips(shared: str, label: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what stands under the mouse on a map, and on a trace."""
    place = shared.split(" since ")[0] if shared.startswith("time") else shared
    on_map = [(place, "$x{0.000}"), (label, "$y{0.000}"), ("colour", "@image{custom}")]
    return on_map, [("point", "@frame{0}"), (place, "@x{0.000}"), (label, "@y{0.0000}")]


def short(values: np.ndarray, at: int) -> str:
    """Return a number as a corner shows it."""
    return tick_text(float(f"{values[at]:.5g}")) if abs(values[at]) >= 1e4 else f"{values[at]:.5g}"
