"""What the figures of dashboards share: models found by name, the map with its tools, panels beside it, the region."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    BoxZoomTool,
    ColumnDataSource,
    CustomJS,
    PanTool,
    ResetTool,
    SaveTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

from batlab.figures.heat_map import bar_ticks, image_columns, map_palette
from batlab.figures.style import CURSOR, SELECTION, blank
from batlab.figures.track import TRACK_COLUMNS, add_hover, draw_track


class Parts:
    """Models found by name; the cursor's request and the keys."""

    root: Any  # of the document with the cursor
    request: ColumnDataSource

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    @property
    def roots(self) -> tuple[Any, ...]:
        """All figures in which names are looked for."""
        return (self.root,)

    def part(self, name: str) -> Any:
        """Return the one model with a name; one walk finds all of them, where Bokeh's own search walks for each."""
        if name not in self._parts:
            models = [model for root in self.roots for model in root.references()]
            self._parts = {model.name: model for model in models if model.name}
        return self._parts[name]

    def source(self, name: str) -> ColumnDataSource:
        """Return the data behind a renderer."""
        return self.part(name).data_source

    def ask(self, frame: int) -> None:
        """Make what carries the wish for another frame from the keys to Python; the root must be there."""
        self.request = ColumnDataSource(data={"frame": [frame]}, tags=[[]], name="request")
        # A model belongs to a document, and so speaks to Python, only when a root refers to it.
        self.root.tags = [self.request]

    def make_document(self, *more: CustomJS) -> Document:
        """Put the figures into a document with its keys; Bokeh forgets callbacks that are added afterwards."""
        models = {"root": self.root, "request": self.request, "cursor": self.part("map_cursor"), "ahead": []}
        document = Document()
        document.add_root(self.root)
        document.js_on_event(DocumentReady, CustomJS(args=models, code=keys_text("keys.js")), *more)
        return document


class MapParts(Parts):
    """A heat map over frames with panels beside it, and the region that was selected on it."""

    heat: figure

    def add_region(self) -> None:
        """Add the box of the region to the map."""
        self.box = BoxAnnotation(
            fill_color=SELECTION, fill_alpha=0.15, line_color=SELECTION, line_dash="dashed", line_width=2,
            visible=False, name="region",
        )  # fmt: skip
        self.heat.add_layout(self.box)

    def panel(self, key: str | int, size: tuple[int, int], margins: tuple[int, int, int, int], told: str) -> figure:
        """Return an empty panel whose frame axis is the map's; the names of its parts end with `key`."""
        panel = blank(size, "", "", margins=margins, y_range=self.heat.y_range, name=f"panel_{key}")
        empty: dict[str, Any] = {name: [] for name in TRACK_COLUMNS}
        draw_track(panel, ColumnDataSource(data=empty, name=f"panel_data_{key}"), upright=True)
        add_hover(panel, told)
        panel.select_one({"name": "track_line"}).name = f"panel_line_{key}"
        panel.select_one({"name": "track_hover"}).name = f"panel_hover_{key}"
        panel.add_layout(
            Span(dimension="width", visible=False, line_color=CURSOR, line_width=1.6, name=f"panel_cursor_{key}")
        )
        panel.yaxis.visible = False
        return panel

    def fit(self, whole: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Let the map's ranges be those of the data: frames, axis."""
        frames, points = whole
        for ends, range_ in ((points, self.heat.x_range), (frames, self.heat.y_range)):
            range_.update(bounds=None)
            range_.update(start=ends[0], end=ends[1], reset_start=ends[0], reset_end=ends[1], bounds=ends)

    def show_image(self, image: Any, title: str, state: Any) -> None:
        """Draw the visible part of the map."""
        self.heat.x_range.update(start=state.axis_range[0], end=state.axis_range[1])
        self.heat.y_range.update(start=state.frames[0], end=state.frames[1])
        self.source("map_image").data = image_columns(image)
        mapper, bar = self.part("map_image").glyph.color_mapper, self.part("map_bar")
        palette = map_palette(state.reference is not None)
        if mapper.palette != palette:
            mapper.palette = palette
        levels, texts = bar_ticks(image)
        bar.ticker.ticks = levels
        bar.major_label_overrides = dict(zip(levels, texts, strict=True))
        bar.title = title

    def show_region(self, state: Any) -> None:
        """Draw what is selected."""
        if state.region is None:
            self.box.visible = False
            return
        first, last, low, high = state.region
        self.box.update(left=low, right=high, bottom=first - 0.5, top=last + 0.5, visible=True)


def script_text(name: str) -> str:
    """Return a script for the browser that lies beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def keys_text(name: str) -> str:
    """Return a script that listens to keys, with what all such scripts share before it."""
    return script_text("attach.js") + script_text(name)


def add_tools(plot: figure, select: BoxSelectTool | None = None, colour: str = SELECTION, **dimensions: Any) -> None:
    """Add zoom, pan, wheel, reset and save; before them the tool that selects, which then is the active one."""
    if select is not None:
        alpha = 0.2 if colour == SELECTION else 0.1
        select.overlay.update(fill_color=colour, fill_alpha=alpha, line_color=colour, line_dash="dashed")
    zoom = BoxZoomTool(description=f"Zoom into a {'range' if dimensions else 'box'}", **dimensions)
    wheel = WheelZoomTool(modifiers={"ctrl": True}, description="Zoom: Ctrl and wheel", **dimensions)
    first = [] if select is None else [select]
    plot.add_tools(*first, zoom, PanTool(**dimensions), wheel, ResetTool(description="Show all"), SaveTool())
    plot.toolbar.update(active_drag=select, active_scroll=wheel, logo=None)
    plot.toolbar_location = "left"


def send(source: ColumnDataSource, fresh: dict[str, np.ndarray]) -> None:
    """Send the columns that have changed; all of them where the grid is another."""
    old = source.data
    if not np.array_equal(old["x"], fresh["x"]):
        source.data = fresh
        return
    for name, values in fresh.items():
        if not np.array_equal(old[name], values, equal_nan=True):
            source.data[name] = values


def move(box: BoxAnnotation, left: float, right: float, tolerance: float) -> None:
    """Move a box, unless it is there: a hand that drags it must not be pushed by rounding."""
    is_there = box.visible and isinstance(box.left, (int, float)) and isinstance(box.right, (int, float))
    if is_there and abs(box.left - left) <= tolerance and abs(box.right - right) <= tolerance:
        return
    box.update(left=left, right=right, visible=True)
