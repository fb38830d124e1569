"""The figures of the small-angle dashboard, and how each part is updated in place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import BoxSelectTool, ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure

from batlab import figures
from batlab.dashboards.parts import MapParts, add_tools, script_text, send
from batlab.dashboards.saxs_data import SmallAngles
from batlab.dashboards.saxs_script import CURVE_SIZE, MAP_SIZE, PANEL_SIZE, RAW_SIZE, SIZES_SIZE, TREND_SIZE
from batlab.dashboards.saxs_state import TRENDS, SAXSState
from batlab.figures.absorption_series import draw_trend, fill_trend, mark_trend
from batlab.figures.marks import mark_columns
from batlab.figures.pattern import frame_title
from batlab.figures.small_angle_curves import (
    CURVES,
    WINDOWS,
    blank_curve,
    curve_columns,
    draw_curve,
    draw_windows,
    empty_columns,
    fit_curve,
    fit_ranges,
    known_windows,
    label_curve,
    sign,
)
from batlab.figures.small_angle_series import axis_words, map_pixels, map_words
from batlab.figures.style import axis_label, blank
from batlab.figures.track import TRACK_COLUMNS, hover_tips, track_columns

LEFT, RIGHT = 82, 66
PANELS = ("trend", "voltage")
SHORT = {
    "rg": "Rg", "i0": "I(0)", "porod_constant": "K", "exponent": "p", "surface": "S", "invariant": "Q*",
    "volume_fraction": "φ", "mean_diameter": "mean D",
}  # fmt: skip


class SAXSScreen(MapParts):
    """Pattern with its windows, what follows from it, map and panels in one document; a method sends one part."""

    def __init__(self, data: SmallAngles, state: SAXSState) -> None:
        super().__init__()
        self.data = data
        self.heat = figures.small_angle_map(data.series, size=MAP_SIZE)
        self.heat.update(name="map", min_border_top=8, min_border_left=LEFT, min_border_right=RIGHT)
        figures.add_marks(self.heat, data.series, [])
        self.add_region()
        self.panels = [self.panel(name, PANEL_SIZE, (8, 12, 44, 14), name) for name in PANELS]
        for panel in self.panels:
            panel.xaxis.ticker.desired_num_ticks = 2
        sizes = {"loglog": RAW_SIZE, "sizes": SIZES_SIZE}
        self.curves = {name: self._curve(name, sizes.get(name, CURVE_SIZE)) for name in CURVES}
        self.raw = self.curves["loglog"]
        self._make_draggable()
        add_tools(self.heat, BoxSelectTool(renderers=[], description="Select a region to mark"))
        add_tools(self.raw)
        self.trend = blank(TREND_SIZE, "", "", margins=(6, 62, 42, 78))
        self.trend.name = "trend"
        self.trend_sources = draw_trend(self.trend)
        self.hands = {f"{name}_window": ColumnDataSource(data={"ends": []}, name=f"{name}_hand") for name in WINDOWS}
        left = column(self.raw, row(self.heat, *self.panels, spacing=0), spacing=0)
        right = column(row(self.curves["guinier"], self.curves["porod"], spacing=0), self.curves["sizes"], spacing=0)
        self.root = row(left, right, spacing=0, name="explorer")
        self.ask(state.frame)
        self.root.tags = [*self.root.tags, *self.hands.values()]

    def _curve(self, curve: str, size: tuple[int, int]) -> figure:
        plot = blank_curve(curve, size, (24, 16, 42, LEFT if curve == "loglog" else 62))
        draw_curve(plot, ColumnDataSource(data=empty_columns(curve), name=f"{curve}_data"), curve)
        tips = {"loglog": ("q (Å⁻¹)", "@x{0.0000}"), "sizes": ("D (Å)", "@x{0.0}")}
        if curve in tips:
            shown = [tips[curve], ("", "@y{0.000e+0}")]
            line = plot.select_one({"name": f"{curve}_y"})
            plot.add_tools(HoverTool(tooltips=shown, renderers=[line], mode="vline", name=f"{curve}_hover"))
        return plot

    def _make_draggable(self) -> None:
        draw_windows(self.raw)
        for name in WINDOWS:
            self.raw.select_one({"name": f"{name}_window"}).update(
                editable=True, movable="x", resizable="x", level="overlay", hover_line_width=2,
                hover_fill_alpha=0.6 if name == "sizes" else 0.22,
            )  # fmt: skip

    def make_documents(self) -> None:
        """Put the figures into documents; Bokeh forgets callbacks that are added afterwards."""
        dragged = {"parts": [self.part(name) for name in self.hands], "hands": list(self.hands.values())}
        self.make_document(CustomJS(args=dragged, code=script_text("xanes_drag.js")))
        Document().add_root(self.trend)

    def load(self, data: SmallAngles, state: SAXSState) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.data = data
        fit_ranges(self.raw, data.series)
        self.request.update(data={"frame": [state.frame]}, tags=[data.numbers.tolist()])
        self._fill_panel("voltage", data.series if data.has_voltage else None, "voltage")

    def show_pattern(self, found: dict[str, xr.Dataset], state: SAXSState, curves: tuple[str, ...]) -> None:
        """Draw one frame and what was found in it; what could not be found is empty."""
        scan = self.data.one(state.frame).isel(frame=0)
        places = self._places(found, state)
        for curve in curves:
            columns = curve_columns(scan, curve, found, places)
            send(self.source(f"{curve}_y"), columns)
            fit_curve(self.curves[curve], columns, curve)
            label_curve(self.curves[curve], scan, curve, found, places)
        self.raw.title.text = frame_title(self.data.series, state.frame)

    def _places(self, found: dict[str, xr.Dataset], state: SAXSState) -> dict[str, tuple[float, float]]:
        given = {"guinier": state.guinier, "porod": state.porod, "sizes": state.sizes or self.data.ends}
        return known_windows(found, {name: ends for name, ends in given.items() if ends is not None})

    def show_windows(self, found: dict[str, xr.Dataset], state: SAXSState) -> None:
        """Draw windows where the state has them, or where one has found itself."""
        places = self._places(found, state)
        for name in WINDOWS:
            _move(self.part(f"{name}_window"), places.get(name))

    def show_pending(self, is_pending: bool) -> None:
        """Fade what belongs to an earlier state, and say so."""
        alpha = 0.25 if is_pending else 1.0
        for name in ("sizes_y", "loglog_sizes"):
            self.part(name).glyph.line_alpha = alpha
        self.part("sizes_band").glyph.fill_alpha = 0.25 * alpha
        if is_pending:
            self.curves["sizes"].title.text = "sizes follow when the hand rests …"

    def show_map(self, table: xr.Dataset, state: SAXSState) -> None:
        """Send the visible part of the map, reduced to the pixels of a screen."""
        is_sizes = state.curve == "sizes"
        ends = state.size_range if is_sizes else state.axis_range
        look = {"frames": state.frames, "axis_range": ends, "reference": state.reference}
        image = map_pixels(table, state.curve, **look)
        self.heat.xaxis.axis_label = axis_words(state.curve)
        self.part("map_hover").tooltips = [
            ("frame", "$y{custom}"), (axis_words(state.curve), "$x{0.0000}"),
            (map_words(table, state.curve, state.reference), "@image{custom}"),
        ]  # fmt: skip
        self.show_image(image, map_words(table, state.curve, state.reference), SimpleNamespace(**look))
        self.part("mark_boxes").visible = self.part("mark_numbers").visible = not is_sizes

    def show_region(self, state: SAXSState) -> None:
        """Draw what is selected, in a map over q."""
        super().show_region(state)
        self.box.visible = self.box.visible and state.curve != "sizes"

    def show_trend(self, tables: dict[str, xr.Dataset], state: SAXSState) -> None:
        """Draw what is followed along the series, beside the map and in the trend."""
        table = tables.get(TRENDS[state.trend])
        if table is None or state.trend not in table:
            self._fill_panel("trend", None, "")
            self.trend.right[0].visible = False
            for source in self.trend_sources.values():
                source.data = {column: [] for column in source.data}
            return
        self._fill_panel("trend", table, state.trend)
        fill_trend(self.trend, self.trend_sources, table, state.trend, state.against)
        self.trend.yaxis[0].axis_label = _short(table, state.trend)

    def show_cursor(self, state: SAXSState) -> None:
        """Move the cursors."""
        self.part("map_cursor").update(location=state.frame, visible=True)
        for name in PANELS:
            self.part(f"panel_cursor_{name}").update(location=state.frame, visible=True)
        mark_trend(self.trend_sources, state.frame)

    def _fill_panel(self, name: str, table: xr.Dataset | None, quantity: str) -> None:
        panel = self.panels[PANELS.index(name)]
        panel.visible = table is not None
        source = self.source(f"panel_line_{name}")
        if table is None:
            source.data = {column: [] for column in TRACK_COLUMNS}
            return
        source.data = track_columns(table, quantity)
        panel.xaxis.axis_label = _short(table, quantity) if name == "trend" else axis_label(table[quantity])
        self.part(f"panel_hover_{name}").tooltips = hover_tips(panel.xaxis[0].axis_label)

    def show_marks(self, marks: list[Any]) -> None:
        """Draw the marks."""
        self.source("mark_boxes").data = mark_columns(self.data.series, marks)


def _short(table: xr.Dataset, name: str) -> str:
    """Return what stands on an axis with little room."""
    units = sign(str(table[name].attrs.get("units", "1")))
    return f"{SHORT[name]} ({units})" if units else SHORT[name]


def _move(box: Any, ends: tuple[float, float] | None) -> None:
    """Move a box, unless it is there: a hand that drags it must not be pushed by rounding."""
    if ends is None:
        box.visible = False
        return
    old = (box.left, box.right)
    is_there = box.visible and all(isinstance(end, (int, float)) for end in old)
    if not (is_there and np.allclose(sorted(old), ends, rtol=6e-4, atol=0)):
        box.update(left=ends[0], right=ends[1], visible=True)
