"""The figures of the total-scattering dashboard, and how each part is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import BoxSelectTool, ColumnDataSource, CustomJS, HoverTool, Range1d, Span
from bokeh.plotting import figure

from batlab import figures
from batlab.dashboards.parts import MapParts, add_tools, move, script_text, send
from batlab.dashboards.pdf_data import Scattering
from batlab.dashboards.pdf_script import CURVE_SIZE, MAP_SIZE, PANEL_SIZE, SHELL_SIZE, TREND_SIZE, TUNING_SIZE
from batlab.dashboards.pdf_state import PDFState
from batlab.figures.absorption_series import draw_trend, fill_trend, mark_trend
from batlab.figures.marks import mark_columns
from batlab.figures.pattern import frame_title
from batlab.figures.style import CURSOR, axis_label, blank, set_ticks
from batlab.figures.total_scattering import (
    AXES,
    CURVES,
    as_intensity,
    draw_curve,
    draw_ruler,
    draw_tuning,
    empty_columns,
    map_tips,
    map_title,
    pattern_columns,
    tuning_columns,
)
from batlab.figures.track import TRACK_COLUMNS, hover_tips, track_columns

LEFT, RIGHT = 92, 66
LEFT_WIDTH = 690
BOND = "bond (Å)"
PANELS = ("bond", "voltage")
DRAGGED = ("ruler", "qmax_line")


class PDFScreen(MapParts):
    """I(Q), F(Q), G(r) with its ruler, map and panels in one document; every method sends one part."""

    def __init__(self, data: Scattering, state: PDFState) -> None:
        super().__init__()
        self.data = data
        first = as_intensity(data.series, "intensity" if data.is_patterns else "g_r")
        self.heat = figures.heat_map(first, size=MAP_SIZE)
        self.heat.update(name="map", min_border_top=8, min_border_left=LEFT, min_border_right=RIGHT)
        figures.add_marks(self.heat, first, [])
        self.add_region()
        self.panels = [self.panel(name, PANEL_SIZE, (8, 12, 44, 12), name) for name in PANELS]
        for panel in self.panels:
            panel.xaxis.ticker.desired_num_ticks = 2
        self.curves = {
            "g_r": self._curve("g_r", SHELL_SIZE, (24, RIGHT, 44, LEFT)),
            "intensity": self._curve("intensity", CURVE_SIZE, (8, 12, 42, 88)),
            "f_q": self._curve("f_q", CURVE_SIZE, (8, 12, 42, 88)),
        }
        self.curves["f_q"].x_range = self.curves["intensity"].x_range
        self._make_draggable()
        add_tools(self.heat, BoxSelectTool(renderers=[], description="Select a region to mark"))
        for plot in self.curves.values():
            add_tools(plot, dimensions="width")
        self.curves["f_q"].toolbar_location = None  # the axis is that of I(Q)
        self.trend = blank(TREND_SIZE, "", "", margins=(6, 62, 42, 70), name="trend")
        self.trend_sources = draw_trend(self.trend)
        self.tuning = blank(TUNING_SIZE, "", "", margins=(6, 12, 42, 70), name="tuning")
        self.tuning_source = draw_tuning(self.tuning)
        self.tuning_cursor = self.tuning.select_one({"name": "tuning_cursor"})
        self.hands = {name: ColumnDataSource(data={"ends": []}, name=f"{name}_hand") for name in DRAGGED}
        # As wide as with all panels: what lies to the right stays where it is.
        left = column(self.curves["g_r"], row(self.heat, *self.panels, spacing=0), spacing=0, width=LEFT_WIDTH)
        right = column(self.curves["intensity"], self.curves["f_q"], spacing=0)
        self.root = row(left, right, spacing=0, name="explorer")
        self.ask(state.frame)
        self.root.tags = [*self.root.tags, *self.hands.values()]

    def _curve(self, curve: str, size: tuple[int, int], margins: tuple[int, int, int, int]) -> figure:
        axis = CURVES[curve].axis
        plot = blank(size, AXES[axis], CURVES[curve].label, margins=margins, x_range=Range1d(0, 1), name=curve)
        draw_curve(plot, ColumnDataSource(data=empty_columns(), name=f"{curve}_data"), curve)
        line = plot.select_one({"name": f"{curve}_y"})
        tips = [(AXES[axis], "@x{0.000}"), (CURVES[curve].label, "@y{0.000}")]
        plot.add_tools(HoverTool(tooltips=tips, renderers=[line], mode="vline", name=f"{curve}_hover"))
        return plot

    def _make_draggable(self) -> None:
        shells, measured = self.curves["g_r"], self.curves["intensity"]
        shells.title.text_font_size = "12px"
        draw_ruler(shells)
        shells.select_one({"name": "ruler"}).update(
            editable=True, movable="x", resizable="x", level="overlay", hover_fill_alpha=0.25, hover_line_width=2
        )
        measured.add_layout(
            Span(dimension="height", line_color=CURSOR, line_width=1.6, line_dash="dashed", visible=False,
                 editable=True, hover_line_width=4, name="qmax_line")
        )  # fmt: skip

    def make_documents(self) -> None:
        """Put the figures into documents; Bokeh forgets callbacks that are added afterwards."""
        dragged = {"parts": [self.part(name) for name in DRAGGED], "hands": list(self.hands.values())}
        self.make_document(CustomJS(args=dragged, code=script_text("xanes_drag.js")))
        for plot in (self.trend, self.tuning):
            Document().add_root(plot)

    def load(self, data: Scattering, state: PDFState) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.data = data
        self.request.update(data={"frame": [state.frame]}, tags=[data.numbers.tolist()])
        for name in ("intensity", "f_q"):
            self.curves[name].visible = data.is_patterns
        self._fill_panel("voltage", data.series if data.has_voltage else None, "voltage")

    def show_axes(self, state: PDFState) -> None:
        """Fit the ranges to what is visible."""
        for plot, ends, whole in (
            (self.curves["intensity"], state.q_range, self.data.whole[1] if self.data.is_patterns else (0.0, 1.0)),
            (self.curves["g_r"], state.r_range, self.data.reach),
        ):
            plot.x_range.update(start=ends[0], end=ends[1], reset_start=whole[0], reset_end=whole[1])

    def show_measured(self, state: PDFState) -> None:
        """Draw one pattern with its background."""
        self.curves["g_r"].title.text = frame_title(self.data.series, state.frame)
        if not self.data.is_patterns:
            send(self.source("intensity_y"), empty_columns())
            return
        under = self.data.under(state.frame)
        beside = None if under is None else state.bgscale * under["intensity"].squeeze()
        fresh = pattern_columns(self.data.series.sel(frame=state.frame), "intensity", beside)
        send(self.source("intensity_y"), fresh)

    def show_qmax(self, state: PDFState) -> None:
        """Draw where F(Q) ends."""
        line = self.part("qmax_line")
        if not self.data.is_patterns:
            line.visible = False
        elif not line.visible or abs(line.location - state.qmax) > 0.051:
            line.update(location=state.qmax, visible=True)

    def show_made(self, one: xr.Dataset | None, beside: xr.DataArray | None) -> None:
        """Draw F(Q) and G(r) of one pattern; what could not be made is empty."""
        for curve in ("f_q", "g_r"):
            fresh = empty_columns()
            if one is not None and curve in one:
                fresh = pattern_columns(one, curve, beside if curve == "g_r" else None)
            send(self.source(f"{curve}_y"), fresh)

    def show_ruler(self, state: PDFState, top: float | None) -> None:
        """Draw the ruler and what it found."""
        move(self.part("ruler"), state.ruler[0], state.ruler[1], 0.0055)
        self.part("ruler_top").update(location=top or 0.0, visible=top is not None)

    def show_map(self, table: xr.Dataset, state: PDFState) -> None:
        """Send the visible part of the map, reduced to the pixels of a screen."""
        look = {"frames": state.frames, "axis_range": state.axis_range, "reference": state.reference}
        shown = as_intensity(table, state.curve)
        label = AXES[state.axis]
        if self.heat.xaxis.axis_label != label or self.heat.x_range.bounds is None:
            self.heat.xaxis.axis_label = label
        self.part("map_hover").tooltips = map_tips(state.curve)
        image = figures.map_image(shown, **look)
        self.show_image(image, map_title(state.curve, state.reference), state)

    def fit_map(self, state: PDFState) -> None:
        """Let the map's ranges be those of frames and Q or r."""
        self.fit((self.data.whole[0], self.data.reach if state.axis == "r" else self.data.whole[1]))

    def show_bonds(self, lengths: xr.Dataset | None, state: PDFState) -> None:
        """Draw bond lengths of the series, beside the map and in the trend."""
        self._fill_panel("bond", lengths, "position")
        if lengths is not None:
            fill_trend(self.trend, self.trend_sources, lengths, "position", state.against)
            self.trend.yaxis[0].axis_label = BOND
            known = lengths["position"].values[np.isfinite(lengths["position"].values)]
            ends = sorted({round(float(end), 3) for end in (known.min(), known.max())}) if known.size else []
            set_ticks(self.panels[0].xaxis[0], ends, [f"{end:.3f}" for end in ends])  # more would overlap
            return
        self.trend.right[0].visible = False
        for source in self.trend_sources.values():
            source.data = {column: [] for column in source.data}

    def show_tries(self, table: xr.Dataset | None, state: PDFState) -> None:
        """Draw a figure of merit against a knob."""
        columns, labels = {"x": np.zeros(0), "y": np.zeros(0)}, ("", "")
        if table is not None and state.knob in table["knob"].values:
            columns, labels = tuning_columns(table, state.knob, state.merit)
        self.tuning_source.data = columns
        self.tuning.xaxis.axis_label, self.tuning.yaxis.axis_label = labels

    def show_setting(self, state: PDFState) -> None:
        """Mark where the knob stands that was tried."""
        is_tried = len(self.tuning_source.data["x"]) > 0
        if is_tried:
            self.tuning_cursor.location = getattr(state, state.knob)
        self.tuning_cursor.visible = is_tried

    def show_cursor(self, state: PDFState) -> None:
        """Move the cursors."""
        self.part("map_cursor").update(location=state.frame, visible=True)
        for name in PANELS:
            self.part(f"panel_cursor_{name}").update(location=state.frame, visible=True)
        mark_trend(self.trend_sources, state.frame)

    def _fill_panel(self, name: str, table: xr.Dataset | None, shown: str) -> None:
        panel = self.panels[PANELS.index(name)]
        panel.visible = table is not None
        source = self.source(f"panel_line_{name}")
        if table is None:
            source.data = {column: [] for column in TRACK_COLUMNS}
            return
        source.data = track_columns(table, shown)
        label = BOND if name == "bond" else axis_label(table[shown])
        panel.xaxis.axis_label = label
        self.part(f"panel_hover_{name}").tooltips = hover_tips(label)

    def show_marks(self, marks: list[Any], state: PDFState) -> None:
        """Draw the marks that lie on the axis of the map."""
        axis = state.axis
        edges = xr.Dataset(
            {"intensity": (("frame", axis), np.zeros((1, 2)))}, {axis: np.array(self.data.reach if axis == "r" else
                                                                              self.data.whole[1])}
        )  # fmt: skip
        shown = [mark for mark in marks if mark.axis in (None, axis)]
        self.source("mark_boxes").data = mark_columns(edges, shown)
