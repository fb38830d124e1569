"""The figures of the cycle explorer, and how each part is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import BoxSelectTool

from batlab import figures
from batlab.dashboards.live import LEAST
from batlab.dashboards.measurement import PANELS, Measurement
from batlab.dashboards.parts import MapParts, add_tools
from batlab.dashboards.script import MAP_SIZE, PANEL_SIZE, PATTERN_SIZE
from batlab.dashboards.state import State
from batlab.figures.heat_map import bar_title
from batlab.figures.marks import mark_columns
from batlab.figures.pattern import frame_column, frame_title, pattern_ends, pattern_scale, pattern_ticks
from batlab.figures.pixels import MapImage, map_rows
from batlab.figures.scale import Scale
from batlab.figures.style import axis_label, set_ticks
from batlab.figures.track import hover_tips, one_number, rescaled, track_columns

LEFT = 92  # pixels beside map and pattern: tool bar, ticks and label of the frame axis

BRIGHTER = 1.3  # new frames by so much above the last colour draw a growing map anew
RIGHT = 66  # pixels for the colour bar, so that the panels stand still when its numbers grow


class Screen(MapParts):
    """Heat map, pattern and panels in one Bokeh document; every method updates one part and sends no more than it."""

    def __init__(self, measurement: Measurement, state: State) -> None:
        super().__init__()
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
        margins = (8, 10, 44, 12)
        self.panels = [self.panel(number + 1, PANEL_SIZE, margins, "value") for number in range(PANELS)]
        self.add_region()
        add_tools(self.heat, BoxSelectTool(renderers=[], description="Select a region to mark"))
        self.root = column(row(self.heat, *self.panels, spacing=0), self.line, spacing=0, name="explorer")
        self.ask(state.frame)

    def load(self, measurement: Measurement, state: State) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.measurement = measurement
        series = measurement.series
        self.fit(measurement.whole)
        label = axis_label(series[measurement.axis])
        self.heat.xaxis.axis_label = self.line.xaxis.axis_label = label
        self.line.yaxis.axis_label = axis_label(series["intensity"])
        self.source("pattern_line").data = {
            name: np.asarray(series[measurement.axis].values, dtype=np.float32)
            for name in ("x", "intensity", "reference")
        }
        self.pattern_scaling = None
        self.request.update(data={"frame": [state.frame]}, tags=[measurement.numbers.tolist()])

    def grow(self, measurement: Measurement, state: State, first: int) -> None:
        """Take a series that has grown from frame `first` on: send new rows of the map, and no more where that does.

        The colours stay until there is no room left, or the new frames are much brighter; then all is drawn anew.
        """
        self.measurement = measurement
        frames, _points = measurement.whole
        self.heat.y_range.update(bounds=frames, reset_start=frames[0], reset_end=frames[1])
        self.request.update(data={"frame": [state.frame]}, tags=[measurement.numbers.tolist()])
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
        title = bar_title(axis_label(self.measurement.series["intensity"]), state.reference)
        self.show_image(image, title, state)
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

    def show_marks(self, marks: list[Any]) -> None:
        """Draw the marks."""
        self.source("mark_boxes").data = mark_columns(self.measurement.series, marks)
