"""The figures of the absorption dashboard, and how each part is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    DataRange1d,
    HoverTool,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from batlab import figures
from batlab.dashboards.parts import MapParts, add_tools, move, script_text, send
from batlab.dashboards.xanes_data import Spectra
from batlab.dashboards.xanes_script import CURVE_SIZE, MAP_SIZE, PANEL_SIZE, RAW_SIZE, TREND_SIZE
from batlab.dashboards.xanes_state import XANESState
from batlab.figures.absorption import (
    AXES,
    CURVES,
    absorption_columns,
    curve_label,
    draw_curve,
    draw_windows,
    empty_columns,
    place_windows,
)
from batlab.figures.absorption_series import as_intensity, draw_trend, fill_trend, map_title, mark_trend
from batlab.figures.marks import mark_columns
from batlab.figures.pattern import frame_title
from batlab.figures.style import CURSOR, FAINT, axis_label, blank
from batlab.figures.track import TRACK_COLUMNS, hover_tips, track_columns

LEFT, RIGHT = 66, 66
PANELS = ("e0", "voltage")
DRAGGED = ("pre_window", "post_window", "k_window", "e0_line")


class XANESScreen(MapParts):
    """Spectrum with its windows, what follows from it, map and panels in one document; every method sends one part."""

    def __init__(self, data: Spectra, state: XANESState) -> None:
        super().__init__()
        self.data = data
        self.heat = figures.absorption_map(data.series, size=MAP_SIZE)
        self.heat.update(name="map", min_border_top=8, min_border_left=LEFT, min_border_right=RIGHT)
        figures.add_marks(self.heat, as_intensity(data.series, "mu"), [])
        self.add_region()
        self.panels = [self.panel(name, PANEL_SIZE, (8, 12, 44, 14), name) for name in PANELS]
        for panel in self.panels:
            panel.xaxis.ticker.desired_num_ticks = 2
        self.raw = self._curve("mu", RAW_SIZE, margins=(24, 12, 44, LEFT))
        draw_windows(self.raw)
        self.curves = {name: self._curve(name, CURVE_SIZE) for name in CURVES if name != "mu"}
        for name in ("mu_flat", "derivative"):
            self.curves[name].x_range = self.heat.x_range
        self._make_draggable()
        add_tools(self.heat, BoxSelectTool(renderers=[], description="Select a region to mark"))
        add_tools(self.raw)
        self.trend = blank(TREND_SIZE, "", "", margins=(6, 62, 42, 78))
        self.trend.name = "trend"
        self.trend_sources = draw_trend(self.trend)
        self.hands = {name: ColumnDataSource(data={"ends": []}, name=f"{name}_hand") for name in DRAGGED}
        left = column(self.raw, row(self.heat, *self.panels, spacing=0), spacing=0)
        pairs = list(self.curves.values())
        right = column(row(*pairs[:2], spacing=0), row(*pairs[2:], spacing=0), spacing=0)
        self.root = row(left, right, spacing=0, name="explorer")
        self.ask(state.frame)
        self.root.tags = [*self.root.tags, *self.hands.values()]

    def _curve(self, curve: str, size: tuple[int, int], margins: tuple[int, int, int, int] = (8, 16, 42, 58)) -> figure:
        plot = blank(size, AXES[CURVES[curve].axis], "", margins=margins, y_range=DataRange1d(), name=curve)
        plot.x_range.range_padding = 0.01
        source = ColumnDataSource(data=empty_columns(curve), name=f"{curve}_data")
        draw_curve(plot, source, curve)
        line = plot.select_one({"name": f"{curve}_y"})
        tips = [(AXES[CURVES[curve].axis], "@x{0.00}"), ("", "@y{0.0000}")]
        plot.add_tools(HoverTool(tooltips=tips, renderers=[line], mode="vline", name=f"{curve}_hover"))
        if curve in ("mu_flat", "derivative"):
            plot.add_layout(
                Span(dimension="height", line_color=CURSOR, line_width=1, visible=False, name=f"{curve}_e0")
            )
        return plot

    def _make_draggable(self) -> None:
        for name in ("pre_window", "post_window"):
            self.raw.select_one({"name": name}).update(
                editable=True, movable="x", resizable="x", level="overlay", hover_fill_alpha=0.22, hover_line_width=2
            )
        self.raw.select_one({"name": "e0_line"}).update(editable=True, hover_line_width=4)
        self.curves["chi"].add_layout(
            BoxAnnotation(
                editable=True, movable="x", resizable="x", fill_color=FAINT, fill_alpha=0.1, line_color=FAINT,
                visible=False, name="k_window",
            )
        )  # fmt: skip

    def make_documents(self) -> None:
        """Put the figures into documents; Bokeh forgets callbacks that are added afterwards."""
        dragged = {"parts": [self.part(name) for name in DRAGGED], "hands": list(self.hands.values())}
        self.make_document(CustomJS(args=dragged, code=script_text("xanes_drag.js")))
        Document().add_root(self.trend)

    def load(self, data: Spectra, state: XANESState) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.data = data
        self.fit(data.whole)
        energies = data.whole[1]
        if isinstance(self.raw.x_range, Range1d):
            self.raw.x_range.update(start=energies[0], end=energies[1], reset_start=energies[0], reset_end=energies[1])
        self.request.update(data={"frame": [state.frame]}, tags=[data.numbers.tolist()])
        self._fill_panel("voltage", data.series if data.has_voltage else None)

    def show_spectrum(self, scan: xr.Dataset, state: XANESState) -> None:
        """Draw one frame and all that was made of it; what could not be made is empty."""
        for curve, shown in CURVES.items():
            is_there = shown.needs in scan
            fresh = absorption_columns(scan, curve, state.kweight) if is_there else empty_columns(curve)
            send(self.source(f"{curve}_y"), fresh)
            plot = self.raw if curve == "mu" else self.curves[curve]
            if is_there:
                plot.yaxis.axis_label = curve_label(scan, curve, state.kweight)
        self.raw.title.text = frame_title(self.data.series, state.frame)
        self.raw.title.text_font_size = "12px"
        last = float(scan["k"].values[-1]) if "chi" in scan else None
        kmax = float(scan["chi_r_mag"].attrs["kmax"]) if "chi_r_mag" in scan else state.kmax
        if last is None or kmax is None:
            self.part("k_window").visible = False
        else:
            move(self.part("k_window"), state.kmin, kmax, 0.006)

    def show_windows(self, scan: xr.Dataset, state: XANESState, e0: float) -> None:
        """Draw windows and E0 where the state has them, also where they are of no use for a fit."""
        places = (e0, *(e0 + end for end in (*state.pre, *state.post))) if np.isfinite(e0) else None
        if places is None:
            place_windows(self.raw, None)
        else:
            move(self.part("pre_window"), places[1], places[2], 0.051)
            move(self.part("post_window"), places[3], places[4], 0.051)
            if abs((self.part("e0_line").location or 0.0) - e0) > 0.006 or not self.part("e0_line").visible:
                self.part("e0_line").update(location=e0, visible=True)
        for name in ("mu_flat_e0", "derivative_e0"):
            self.part(name).update(location=e0 if places else 0.0, visible=places is not None and "mu_norm" in scan)

    def show_map(self, table: xr.Dataset, curve: str, state: XANESState) -> None:
        """Send the visible part of the map, reduced to the pixels of a screen."""
        look = {"frames": state.frames, "axis_range": state.axis_range, "reference": state.reference}
        image = figures.map_image(as_intensity(table, curve), **look)
        self.show_image(image, map_title(curve, state.reference), state)

    def show_series(self, table: xr.Dataset | None, state: XANESState) -> None:
        """Draw the edge energies of a series that was computed, beside the map and in the trend."""
        self._fill_panel("e0", table)
        self.show_trend(table, state)

    def show_trend(self, table: xr.Dataset | None, state: XANESState) -> None:
        """Draw edge energies against what the state says."""
        if table is not None:
            fill_trend(self.trend, self.trend_sources, table, "e0", state.against)
            return
        self.trend.right[0].visible = False
        for source in self.trend_sources.values():
            source.data = {column: [] for column in source.data}

    def show_cursor(self, state: XANESState) -> None:
        """Move the cursors."""
        self.part("map_cursor").update(location=state.frame, visible=True)
        for name in PANELS:
            self.part(f"panel_cursor_{name}").update(location=state.frame, visible=True)
        mark_trend(self.trend_sources, state.frame)

    def _fill_panel(self, name: str, table: xr.Dataset | None) -> None:
        panel = self.panels[PANELS.index(name)]
        panel.visible = table is not None
        source = self.source(f"panel_line_{name}")
        if table is None:
            source.data = {column: [] for column in TRACK_COLUMNS}
            return
        source.data = track_columns(table, name)
        label = "E₀ (eV)" if name == "e0" else axis_label(table[name])
        panel.xaxis.axis_label = label
        self.part(f"panel_hover_{name}").tooltips = hover_tips(label)

    def show_marks(self, marks: list[Any]) -> None:
        """Draw the marks."""
        self.source("mark_boxes").data = mark_columns(as_intensity(self.data.series, "mu"), marks)
