"""The figures of the cycle explorer, and how each part is updated in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
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

from batlab import figures
from batlab.dashboards.live import LEAST
from batlab.dashboards.measurement import PANELS, Measurement
from batlab.dashboards.script import MAP_SIZE, PANEL_SIZE, PATTERN_SIZE
from batlab.dashboards.state import State
from batlab.figures.heat_map import bar_ticks, bar_title, image_columns, map_palette
from batlab.figures.marks import mark_columns
from batlab.figures.pattern import frame_column, frame_title, pattern_ends, pattern_scale, pattern_ticks
from batlab.figures.pixels import MapImage, map_rows
from batlab.figures.scale import Scale
from batlab.figures.style import SELECTION, axis_label, set_ticks
from batlab.figures.track import TRACK_COLUMNS, hover_tips, one_number, rescaled, track_columns

LEFT = 92  # pixels beside map and pattern: tool bar, ticks and label of the frame axis

BRIGHTER = 1.3  # new frames by so much above the last colour draw a growing map anew
RIGHT = 66  # pixels for the colour bar, so that the panels stand still when its numbers grow


class Screen:
    """Heat map, pattern and panels in one Bokeh document; every method updates one part and sends no more than it."""

    def __init__(self, measurement: Measurement, state: State) -> None:
        self.measurement = measurement
        self.heat = figures.heat_map(measurement.series, size=MAP_SIZE)
        self.heat.update(name="map", min_border_top=8, min_border_left=LEFT, min_border_right=RIGHT)
        figures.add_marks(self.heat, measurement.series, [])
        self.line = figures.pattern(measurement.series, state.frame, size=PATTERN_SIZE)
        self.line.update(name="pattern", x_range=self.heat.x_range, min_border_left=LEFT, min_border_top=4)
        self.line.title.text_font_size = "12px"
        self.pattern_scaling: Scale | None = None
        self.room = 0  # frames that the map has room for, while the series grows
        self.image: MapImage | None = None
        self._parts: dict[str, Any] = {}
        self.panels = [self._panel(number) for number in range(PANELS)]
        self.box = BoxAnnotation(
            fill_color=SELECTION, fill_alpha=0.15, line_color=SELECTION, line_dash="dashed", line_width=2,
            visible=False, name="region",
        )  # fmt: skip
        self.heat.add_layout(self.box)
        self._add_tools()
        self.request = ColumnDataSource(data={"frame": [state.frame], "frames": [[]]}, name="request")
        self.root = column(row(self.heat, *self.panels, spacing=0), self.line, spacing=0, name="explorer")
        # A model belongs to a document, and so speaks to Python, only when a root refers to it.
        self.root.tags = [self.request]

    def _panel(self, number: int) -> Any:
        """Return an empty panel whose frame axis is the map's."""
        from batlab.figures.style import CURSOR, blank
        from batlab.figures.track import add_hover, draw_track

        panel = blank(PANEL_SIZE, "", "", margins=(8, 10, 44, 12), y_range=self.heat.y_range)
        panel.name = f"panel_{number + 1}"
        empty: dict[str, Any] = {name: [] for name in TRACK_COLUMNS}
        source = ColumnDataSource(data=empty, name=f"panel_data_{number + 1}")
        draw_track(panel, source, upright=True)
        panel.select_one({"name": "track_line"}).name = f"panel_line_{number + 1}"
        add_hover(panel, "value")
        panel.select_one({"name": "track_hover"}).name = f"panel_hover_{number + 1}"
        panel.add_layout(
            Span(dimension="width", visible=False, line_color=CURSOR, line_width=1.6, name=f"panel_cursor_{number + 1}")
        )
        panel.yaxis.visible = False
        return panel

    def _add_tools(self) -> None:
        select = BoxSelectTool(renderers=[], description="Select a region to mark")
        select.overlay.update(fill_color=SELECTION, fill_alpha=0.2, line_color=SELECTION, line_dash="dashed")
        zoom = BoxZoomTool(description="Zoom into a box")
        wheel = WheelZoomTool(modifiers={"ctrl": True}, description="Zoom: Ctrl and wheel")
        self.heat.add_tools(select, zoom, PanTool(), wheel, ResetTool(description="Show all"), SaveTool())
        self.heat.toolbar.update(active_drag=select, active_scroll=wheel, logo=None)
        self.heat.toolbar_location = "left"

    def make_document(self) -> Document:
        """Put the figures into a document; Bokeh forgets callbacks that are added afterwards."""
        code = Path(__file__).with_name("keys.js").read_text(encoding="utf-8")
        models = {"root": self.root, "request": self.request, "cursor": self.part("map_cursor")}
        document = Document()
        document.add_root(self.root)
        document.js_on_event(DocumentReady, CustomJS(args=models, code=code))
        return document

    def part(self, name: str) -> Any:
        """Return the one model with a name; Bokeh's own search walks through every property of every model."""
        if name not in self._parts:
            self._parts[name] = self.root.select_one({"name": name})
        return self._parts[name]

    def source(self, name: str) -> ColumnDataSource:
        """Return the data behind a renderer."""
        return self.part(name).data_source

    def load(self, measurement: Measurement, state: State) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.measurement = measurement
        series, (frames, points) = measurement.series, measurement.whole
        for ends, range_ in ((points, self.heat.x_range), (frames, self.heat.y_range)):
            range_.update(bounds=None)
            range_.update(start=ends[0], end=ends[1], reset_start=ends[0], reset_end=ends[1], bounds=ends)
        label = axis_label(series[measurement.axis])
        self.heat.xaxis.axis_label = self.line.xaxis.axis_label = label
        self.line.yaxis.axis_label = axis_label(series["intensity"])
        self.source("pattern_line").data = {
            name: np.asarray(series[measurement.axis].values, dtype=np.float32)
            for name in ("x", "intensity", "reference")
        }
        self.pattern_scaling = None
        self.request.data = {"frame": [state.frame], "frames": [measurement.numbers.tolist()]}

    def grow(self, measurement: Measurement, state: State, first: int) -> None:
        """Take a series that has grown from frame `first` on: send new rows of the map, and no more where that does.

        The colours stay until there is no room left, or the new frames are much brighter; then all is drawn anew.
        """
        self.measurement = measurement
        frames, _points = measurement.whole
        self.heat.y_range.update(bounds=frames, reset_start=frames[0], reset_end=frames[1])
        self.request.data = {"frame": [state.frame], "frames": [measurement.numbers.tolist()]}
        new = measurement.series["intensity"].values[int(np.searchsorted(measurement.numbers, first)) :]
        known = new[np.isfinite(new)]
        scaling = self.pattern_scaling
        if known.size and (scaling is None or known.max() > scaling.high or known.min() < scaling.low):
            self.show_pattern_axis(state)
        if state.frames != frames:
            return  # a part is on the screen, which the new frames lie beyond
        image = self.image
        bright = state.limits is None and state.reference is None and known.size and image is not None
        if image is None or measurement.numbers[-1] + 0.5 > image.bottom + image.height:
            self.room = max(self.room, LEAST, len(measurement.numbers))
            self.show_map(state)
        elif bright and np.percentile(known, 98) > BRIGHTER * image.scale.high:
            self.show_map(state)
        else:
            self._add_rows(state, image, first)

    def _add_rows(self, state: State, image: MapImage, first: int) -> None:
        low, rows = map_rows(
            self.measurement.series, image, first, axis_range=state.axis_range, reference=state.reference
        )
        place = (0, slice(low, low + len(rows)), slice(0, rows.shape[1]))
        self.source("map_image").patch({"image": [(place, rows)]})
        self.heat.y_range.update(start=state.frames[0], end=state.frames[1])

    def show_map(self, state: State) -> None:
        """Send the visible part of the map, reduced to the pixels of a screen."""
        self.heat.x_range.update(start=state.axis_range[0], end=state.axis_range[1])
        self.heat.y_range.update(start=state.frames[0], end=state.frames[1])
        is_whole = self.room > 0 and state.frames == self.measurement.whole[0]
        image = figures.map_image(
            self.measurement.series,
            frames=None if is_whole else state.frames,
            axis_range=state.axis_range,
            scale=state.scale,
            limits=state.limits,
            reference=state.reference,
            room=self.room if is_whole else 0,
        )
        self.image = image if is_whole else None
        self.source("map_image").data = image_columns(image)
        mapper, bar = self.part("map_image").glyph.color_mapper, self.part("map_bar")
        palette = map_palette(state.reference is not None)
        if mapper.palette != palette:
            mapper.palette = palette
        levels, texts = bar_ticks(image)
        bar.ticker.ticks = levels
        bar.major_label_overrides = dict(zip(levels, texts, strict=True))
        bar.title = bar_title(axis_label(self.measurement.series["intensity"]), state.reference)
        self.limits = image.scale.low, image.scale.high

    def show_pattern_axis(self, state: State) -> None:
        """Fit the pattern's intensity axis to what is visible; the reference is drawn on it."""
        scaling = pattern_scale(self.measurement.series, state.axis_range, state.scale)
        if scaling != self.pattern_scaling:
            self.pattern_scaling = scaling
            bottom, top = pattern_ends(scaling)
            self.line.y_range.update(start=bottom, end=top)
            set_ticks(self.line.yaxis[0], *pattern_ticks(scaling))
        data = self.source("pattern_line").data
        data["reference"] = (
            np.full(data["x"].shape, np.nan, dtype=np.float32)
            if state.reference is None
            else frame_column(self.measurement.series, state.reference, scaling)
        )

    def show_frame(self, state: State) -> None:
        """Move the cursor: one column of one source and a few numbers travel."""
        scaling = self.pattern_scaling or pattern_scale(self.measurement.series, state.axis_range, state.scale)
        self.source("pattern_line").data["intensity"] = frame_column(self.measurement.series, state.frame, scaling)
        self.part("map_cursor").update(location=state.frame, visible=True)
        for number in range(1, PANELS + 1):
            self.part(f"panel_cursor_{number}").update(location=state.frame, visible=True)
        self.line.title.text = frame_title(self.measurement.series, state.frame)

    def show_panels(self, state: State) -> None:
        """Draw the chosen quantities beside the map."""
        for number, panel in enumerate(self.panels):
            panel.visible = number < len(state.panels)
            if not panel.visible:
                continue
            chosen = self.measurement.choices[state.panels[number]]
            self.part(f"panel_line_{number + 1}").data_source.data = track_columns(
                chosen.table, chosen.name, chosen.peak
            )
            label = axis_label(rescaled(one_number(chosen.table, chosen.name, chosen.peak)))
            panel.xaxis.axis_label = label
            self.part(f"panel_hover_{number + 1}").tooltips = hover_tips(label)

    def show_region(self, state: State) -> None:
        """Draw what is selected."""
        if state.region is None:
            self.box.visible = False
            return
        first, last, low, high = state.region
        self.box.update(left=low, right=high, bottom=first - 0.5, top=last + 0.5, visible=True)

    def show_marks(self, marks: list[Any]) -> None:
        """Draw the marks."""
        self.source("mark_boxes").data = mark_columns(self.measurement.series, marks)
