"""The figures of the comparison of techniques, and how each part is updated in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import gridplot
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    BoxZoomTool,
    ColumnDataSource,
    CustomJS,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    Span,
    WheelZoomTool,
)

from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_state import ComparisonState
from batlab.figures.comparison import (
    HEIGHTS,
    WIDTH,
    correlation_plot,
    fill_correlation,
    overlay_columns,
    overlay_panel,
    words_at,
)
from batlab.figures.pixels import point_edges
from batlab.figures.style import COLOURS, FAINT, SELECTION
from batlab.figures.technique_panel import Panel, technique_panel

SLOTS = tuple(f"panel_{number}" for number in range(1, 7))
SCATTER_SIZE = (384, 112)
HANDLE = 0.9  # of the visible width
MARKS = ("left", "right", "bottom", "top")


class ComparisonScreen:
    """A panel a technique, their numbers over one another, and a correlation; every method sends one part."""

    def __init__(self, data: ComparisonData, state: ComparisonState) -> None:
        self.data = data
        self._parts: dict[str, Any] = {}
        self._anchors: dict[str, float] = {}
        self._drawn: dict[str, tuple[float, bool]] = {}
        self._overlay_lag: dict[str, float] = {}
        self.x_range = Range1d(*state.x_range)
        self.panels = [
            technique_panel(slot, self.x_range, (WIDTH, HEIGHTS[4]), colour, label="place", is_last=False)
            for slot, colour in zip(SLOTS, COLOURS, strict=False)
        ]
        for panel in self.panels:
            self._add_annotations(panel)
        self.overlay = overlay_panel(list(SLOTS), self.x_range, "")
        self.request = ColumnDataSource(data={"frame": [state.frame]}, tags=[[]], name="request")
        self.nudge = ColumnDataSource(data={"by": [0], "choose": [0], "count": [0]}, name="nudge")
        self.hands = {slot: ColumnDataSource(data={"ends": []}, name=f"{slot}_hand") for slot in SLOTS}
        # The keys of keys.js count frames, whatever the axis shows.
        self.overlay.add_layout(
            Span(name="map_cursor", dimension="height", visible=False, location=state.frame, level="overlay")
        )
        plots = [*(panel.plot for panel in self.panels), self.overlay]
        for plot in plots:
            self._add_tools(plot)
        self.root = gridplot([[plot] for plot in plots], toolbar_location="left", toolbar_options={"logo": None})
        self.root.update(name="explorer", spacing=0)
        self._activate()
        # A model belongs to a document, and so speaks to Python, only when a root refers to it.
        self.root.tags = [self.request, self.nudge, *self.hands.values()]
        self.scatter = correlation_plot(SCATTER_SIZE)

    def _add_annotations(self, panel: Panel) -> None:
        slot, plot = panel.name, panel.plot
        plot.add_layout(
            BoxAnnotation(
                fill_color=panel.colour, fill_alpha=0.25, line_color=None, level="overlay", visible=False,
                name=f"{slot}_band",
            )
        )  # fmt: skip
        plot.add_layout(
            Span(
                dimension="height", line_color=panel.colour, line_width=3, line_dash="dashed", editable=True,
                hover_line_width=6, level="overlay", visible=False, location=0.0, name=f"{slot}_handle",
            )
        )  # fmt: skip
        plot.add_layout(
            BoxAnnotation(
                fill_color=SELECTION, fill_alpha=0.2, line_color="#000000", line_dash="dashed", line_width=1.5,
                level="overlay", visible=False, name=f"{slot}_region",
            )
        )  # fmt: skip
        plot.quad(
            "left", "right", "top", "bottom", source=ColumnDataSource(data={name: [] for name in MARKS}),
            fill_color=FAINT, fill_alpha=0.12, line_color=FAINT, line_dash="dotted", line_width=1.4,
            name=f"{slot}_marks",
        )  # fmt: skip

    def _add_tools(self, plot: Any) -> None:
        zoom = BoxZoomTool(description="Zoom into a box")
        select = BoxSelectTool(renderers=[], description="Select a region to mark")
        select.overlay.update(fill_color=SELECTION, fill_alpha=0.2, line_color="#000000", line_dash="dashed")
        wheel = WheelZoomTool(dimensions="width", modifiers={"ctrl": True}, description="Zoom: Ctrl and wheel")
        pan = PanTool(dimensions="width")
        plot.add_tools(zoom, select, pan, wheel, ResetTool(description="Show all"), SaveTool())

    def _activate(self) -> None:
        """Let dragging zoom at first, in every panel."""
        for tool in self.root.toolbar.tools:
            kinds = {type(one) for one in getattr(tool, "tools", [tool])}
            if kinds == {BoxZoomTool}:
                self.root.toolbar.active_drag = tool
            if kinds == {WheelZoomTool}:
                self.root.toolbar.active_scroll = tool

    def make_documents(self) -> None:
        """Put the figures into documents; Bokeh forgets callbacks that are added afterwards."""
        keys, lags, drag = (
            Path(__file__).with_name(name).read_text(encoding="utf-8")
            for name in ("keys.js", "comparison_keys.js", "xanes_drag.js")
        )
        ahead = [*(panel.cursor for panel in self.panels), self.part("overlay_cursor")]
        models = {"root": self.root, "request": self.request, "cursor": self.part("map_cursor"), "ahead": ahead}
        dragged = {"parts": [self.part(f"{slot}_handle") for slot in SLOTS], "hands": list(self.hands.values())}
        document = Document()
        document.add_root(self.root)
        document.js_on_event(
            DocumentReady,
            CustomJS(args=models, code=keys),
            CustomJS(args={"root": self.root, "nudge": self.nudge}, code=lags),
            CustomJS(args=dragged, code=drag),
        )
        Document().add_root(self.scatter)

    def part(self, name: str) -> Any:
        """Return the one model with a name; one walk finds all of them."""
        if not self._parts:
            models = self.root.references() | self.scatter.references()
            self._parts = {model.name: model for model in models if model.name}
        return self._parts[name]

    def source(self, name: str) -> ColumnDataSource:
        """Return the data behind a renderer."""
        return self.part(name).data_source

    def panel(self, name: str) -> Panel:
        """Return the panel of a technique."""
        return self.panels[self.data.names.index(name)]

    def load(self, data: ComparisonData, state: ComparisonState) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.data = data
        for number, panel in enumerate(self.panels):
            panel.plot.visible = number < len(data.names)
            panel.cursor.visible &= panel.plot.visible
            panel.plot.frame_height = HEIGHTS[len(data.names)]
            panel.words.y = HEIGHTS[len(data.names)] - 3
            self.part(f"{panel.name}_overlay").visible = panel.plot.visible
        self.request.data = {"frame": [state.frame]}

    def tell_places(self, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Tell the keys which frames there are and where the cursor stands for each; None where it has no place."""
        along = self.data.along(self.data.lead, state.axis, state.lags)
        there = along.within(stretch)
        places = [float(place) if is_there else None for place, is_there in zip(along.place, there, strict=True)]
        self.request.tags = [self.data.numbers.tolist(), places]

    def show_axis(self, state: ComparisonState, whole: tuple[float, float]) -> None:
        """Tell what the shared axis is and how much of it is visible."""
        label = self.data.label(state.axis)
        self.overlay.xaxis.axis_label = label
        for panel in self.panels:
            panel.shared = label
        self.x_range.update(start=state.x_range[0], end=state.x_range[1], reset_start=whole[0], reset_end=whole[1])

    def show_panel(self, name: str, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Send what a panel shows of the visible part of the axis."""
        choice = self.data.choices[name][state.shows[name]]
        self.panel(name).show(
            self.data.experiment.tables[name], choice, self.data.along(name, state.axis, state.lags), stretch=stretch,
            x_range=state.x_range, y_range=state.ranges.get(name), limits=self.data.limits(name, choice),
        )  # fmt: skip
        self._drawn[name] = state.lags.get(name, 0.0), self.data.drifts(name, state.lags)

    def show_overlay(self, name: str, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Draw the number that stands for a technique over those of the others."""
        slot, label = self.panel(name).name, state.features[name]
        columns: dict[str, Any] = {"x": [], "y": []}
        if label:
            along = self.data.along(name, state.axis, state.lags)
            columns = overlay_columns(self.data.experiment.tables[name], self.data.choices[name][label], along, stretch)
        self.source(f"{slot}_overlay").data = columns
        self._overlay_lag[name] = state.lags.get(name, 0.0)

    def move(self, name: str, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Move what is drawn of a technique to where its lag puts it on time; pixels travel only for a drift."""
        lag, (drawn, drifted) = state.lags.get(name, 0.0), self._drawn[name]
        if drifted or self.data.drifts(name, state.lags):
            self.show_panel(name, state, stretch)
            self.show_overlay(name, state, stretch)
            return
        self.panel(name).move((lag - drawn) / 3600)
        source, by = self.source(f"{self.panel(name).name}_overlay"), (lag - self._overlay_lag[name]) / 3600
        if by:
            source.data["x"] = np.asarray(source.data["x"], dtype=float) + by
            self._overlay_lag[name] = lag

    def anchor(self, state: ComparisonState) -> None:
        """Choose where the handles stand for a lag of zero: now, with their lags, near the right of what is visible."""
        low, high = state.x_range
        for name in self.data.movable:
            self._anchors[name] = low + HANDLE * (high - low) - state.lags.get(name, 0.0) / 3600

    def lag_at(self, name: str, place: float) -> float:
        """Return the lag [s] for which a technique's handle stands at a place."""
        return 3600 * (place - self._anchors[name])

    def show_handles(self, state: ComparisonState, bands: dict[str, tuple[float, float]]) -> None:
        """Put handles where the lags are, and bands where the estimates say that they lie; only time has them."""
        for number, panel in enumerate(self.panels):
            name = self.data.names[number] if number < len(self.data.names) else ""
            handle, band = self.part(f"{panel.name}_handle"), self.part(f"{panel.name}_band")
            if name not in self.data.movable or state.axis != "time":
                handle.visible = band.visible = False
                continue
            anchor = self._anchors[name]
            place = anchor + state.lags.get(name, 0.0) / 3600
            # A hand that drags it must not be pushed by rounding.
            if not handle.visible or abs(handle.location - place) > 0.006 / 3600:
                handle.update(location=place, visible=True)
            handle.line_alpha = 1.0 if name == state.chosen else 0.55
            if name in bands:
                low, high = (anchor + end / 3600 for end in bands[name])
                band.update(left=low, right=high, visible=True)
            else:
                band.visible = False

    def show_cursor(self, state: ComparisonState, place: float | None, stretch: tuple[float, float] | None) -> None:
        """Move the cursors: a few numbers and words travel, no column."""
        for name in self.data.names:
            table, choice = self.data.experiment.tables[name], self.data.choices[name][state.shows[name]]
            along = self.data.along(name, state.axis, state.lags)
            self.panel(name).point(place, words_at(name, table, choice, along, place, stretch))
        is_there = place is not None
        self.part("overlay_cursor").update(location=place if is_there else 0.0, visible=is_there)
        self.part("map_cursor").location = state.frame

    def show_correlation(self, found: xr.Dataset | None) -> None:
        """Draw the pairs of a correlation."""
        if found is None:
            self.source("correlation_pairs").data = {"x": [], "y": []}
            self.scatter.title.text = "no correlation"
            return
        fill_correlation(self.scatter, found)

    def ring(self, found: xr.Dataset | None, moment: np.datetime64 | None) -> None:
        """Ring the pair nearest in time to the cursor."""
        ring = self.part("correlation_ring")
        if found is None or moment is None:
            ring.visible = False
            return
        known = np.flatnonzero(np.isfinite(found["one"].values) & np.isfinite(found["other"].values))
        at = known[np.argmin(np.abs(found["time"].values[known] - moment))]
        ring.update(x=float(found["one"].values[at]), y=float(found["other"].values[at]), visible=True)

    def box_of(self, name: str, state: ComparisonState, where: Any) -> tuple[float, float, float, float] | None:
        """Return left, right, bottom and top of first and last frame, low and high end on a panel."""
        first, last, low, high = where
        along = self.data.along(name, state.axis, state.lags)
        numbers = self.data.experiment.tables[name]["frame"].values
        places = along.place[(numbers >= first) & (numbers <= last) & np.isfinite(along.place)]
        if not places.size:
            return None
        choice = self.data.choices[name][state.shows[name]]
        if choice.kind == "map":
            table = self.data.experiment.tables[name]
            edges = point_edges(np.asarray(table[str(table[choice.name].dims[1])].values, dtype=float))
            ends = (edges[0] if low is None else low, edges[-1] if high is None else high)
        else:
            ends = (self.panel(name).plot.y_range.start, self.panel(name).plot.y_range.end)
        step = np.diff(along.place[along.within(None)])
        half = float(np.median(np.abs(step))) / 2 if step.size else 0.0
        return float(places.min()) - half, float(places.max()) + half, float(ends[0]), float(ends[1])

    def show_region(self, state: ComparisonState) -> None:
        """Draw what is selected."""
        for number, panel in enumerate(self.panels):
            box = self.part(f"{panel.name}_region")
            name = self.data.names[number] if number < len(self.data.names) else ""
            found = None
            if state.region is not None and state.region[0] == name:
                found = self.box_of(name, state, state.region[1:])
            if found is None:
                box.visible = False
                continue
            left, right, low, high = found
            if self.data.choices[name][state.shows[name]].kind == "map":
                box.update(left=left, right=right, bottom=low, top=high, visible=True)
            else:
                box.update(left=left, right=right, bottom=None, top=None, visible=True)

    def show_marks(self, marks: dict[str, list[Any]], state: ComparisonState) -> None:
        """Draw the marks of each technique on its panel."""
        for name in self.data.names:
            boxes = [
                self.box_of(name, state, (*mark.frames, *(mark.axis_range or (None, None))))
                for mark in marks.get(name, [])
            ]
            known = [box for box in boxes if box is not None]
            columns = {side: [box[at] for box in known] for at, side in enumerate(MARKS)}
            source = self.source(f"{self.panel(name).name}_marks")
            if columns != dict(source.data):
                source.data = columns
