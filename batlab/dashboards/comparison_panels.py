"""Panels of techniques on one shared axis with one cursor, for several dashboards; each part updated in place."""

from __future__ import annotations

from typing import Any

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
from batlab.dashboards.parts import Parts, keys_text
from batlab.figures.annotator import box_on_panel
from batlab.figures.comparison import HEIGHTS, WIDTH, overlay_columns, overlay_panel, words_at
from batlab.figures.style import COLOURS, SELECTION
from batlab.figures.technique_panel import Panel, technique_panel

SLOTS = tuple(f"panel_{number}" for number in range(1, 7))


class Panels(Parts):
    """A panel a technique, and their numbers over one another; every method sends one part."""

    drag: type = BoxZoomTool  # what dragging does at first

    def __init__(self, data: ComparisonData, state: ComparisonState) -> None:
        super().__init__()
        self.data = data
        self.x_range = Range1d(*state.x_range)
        self.panels = [
            technique_panel(slot, self.x_range, (WIDTH, HEIGHTS[4]), colour, label="place", is_last=False)
            for slot, colour in zip(SLOTS, COLOURS, strict=False)
        ]
        for panel in self.panels:
            self._add_annotations(panel)
            self._add_region(panel)
        self.overlay = overlay_panel(list(SLOTS), self.x_range, "")
        self.request = ColumnDataSource(data={"frame": [state.frame]}, tags=[[]], name="request")
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
        self.root.tags = [self.request]

    def _add_annotations(self, panel: Panel) -> None:
        """Add what a dashboard shows on its panels beside data and cursor."""

    def _add_region(self, panel: Panel) -> None:
        panel.plot.add_layout(
            BoxAnnotation(
                fill_color=SELECTION, fill_alpha=0.2, line_color="#000000", line_dash="dashed", line_width=1.5,
                level="overlay", visible=False, name=f"{panel.name}_region",
            )
        )  # fmt: skip

    def _add_tools(self, plot: Any) -> None:
        zoom = BoxZoomTool(description="Zoom into a box")
        select = BoxSelectTool(renderers=[], description="Select a region to mark")
        select.overlay.update(fill_color=SELECTION, fill_alpha=0.2, line_color="#000000", line_dash="dashed")
        wheel = WheelZoomTool(dimensions="width", modifiers={"ctrl": True}, description="Zoom: Ctrl and wheel")
        pan = PanTool(dimensions="width")
        plot.add_tools(zoom, select, pan, wheel, ResetTool(description="Show all"), SaveTool())
        # By itself each plot would let dragging pan, whatever the common tool bar shows.
        plot.toolbar.active_drag = next(tool for tool in plot.tools if type(tool) is self.drag)

    def _activate(self) -> None:
        """Choose what dragging and the wheel do at first, in every panel."""
        for tool in self.root.toolbar.tools:
            kinds = {type(one) for one in getattr(tool, "tools", [tool])}
            if kinds == {self.drag}:
                self.root.toolbar.active_drag = tool
            if kinds == {WheelZoomTool}:
                self.root.toolbar.active_scroll = tool

    def make_document(self, *more: CustomJS) -> Document:
        """Put the panels into a document with their keys; Bokeh forgets callbacks that are added afterwards."""
        ahead = [*(panel.cursor for panel in self.panels), self.part("overlay_cursor")]
        models = {"root": self.root, "request": self.request, "cursor": self.part("map_cursor"), "ahead": ahead}
        document = Document()
        document.add_root(self.root)
        document.js_on_event(DocumentReady, CustomJS(args=models, code=keys_text("keys.js")), *more)
        return document

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

    def show_overlay(self, name: str, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Draw the number that stands for a technique over those of the others."""
        slot, label = self.panel(name).name, state.features[name]
        columns: dict[str, Any] = {"x": [], "y": []}
        if label:
            along = self.data.along(name, state.axis, state.lags)
            columns = overlay_columns(self.data.experiment.tables[name], self.data.choices[name][label], along, stretch)
        self.source(f"{slot}_overlay").data = columns

    def show_cursor(self, state: ComparisonState, place: float | None, stretch: tuple[float, float] | None) -> None:
        """Move the cursors: a few numbers and words travel, no column."""
        for name in self.data.names:
            table, choice = self.data.experiment.tables[name], self.data.choices[name][state.shows[name]]
            along = self.data.along(name, state.axis, state.lags)
            self.panel(name).point(place, words_at(name, table, choice, along, place, stretch))
        is_there = place is not None
        self.part("overlay_cursor").update(location=place if is_there else 0.0, visible=is_there)
        self.part("map_cursor").location = state.frame

    def box_of(self, name: str, state: ComparisonState, where: Any) -> tuple[float, float, float, float] | None:
        """Return left, right, bottom and top of first and last frame, low and high end on a panel."""
        plot, choice = self.panel(name).plot, self.data.choices[name][state.shows[name]]
        along = self.data.along(name, state.axis, state.lags)
        return box_on_panel(
            self.data.experiment.tables[name], choice, along, where, (plot.y_range.start, plot.y_range.end)
        )

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
