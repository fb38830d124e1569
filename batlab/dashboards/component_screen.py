"""The figures of the component dashboard, and how each part is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTickFormatter,
    BoxAnnotation,
    BoxSelectTool,
    ColumnDataSource,
    DataRange1d,
    FixedTicker,
    Legend,
    LegendItem,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from batlab.dashboards.component_data import ComponentData
from batlab.dashboards.component_script import PROFILE_SIZE, RANK_SIZE, STRIP_SIZE
from batlab.dashboards.component_state import MOST, ComponentState
from batlab.dashboards.parts import Parts, add_tools
from batlab.decompose._rank import Rank
from batlab.decompose.mcr_result import WIDE, MCRResult, scale, widest
from batlab.figures.components import UNKNOWN
from batlab.figures.pixels import point_edges
from batlab.figures.style import COLOURS, CURSOR, FAINT, axis_label, blank

LEFT, RIGHT, TOP = 92, 14, 26
SIDES = ("concentration", "spectra")
HATCHES = (" ", "right_diagonal_line", "left_diagonal_line", "vertical_line") * 2
RATIOS = [1, 2, 5, 10, 100, 1000, 10000]
EVIDENCE = {"eigenvalue": "eigenvalue", "indicator": "IND", "cv_error": "cross-val."}
CURSORS = ("concentration_cursor", "voltage_cursor")


class ComponentScreen(Parts):
    """Concentrations over voltage, spectra over the residual, rank; every method sends one part."""

    def __init__(self, data: ComponentData, state: ComponentState) -> None:
        super().__init__()
        self.data = data
        self.profiles = {side: self._profile(side) for side in SIDES}
        self.voltage = self._strip("voltage", self.profiles["concentration"], FAINT)
        self.residual = self._strip("residual", self.profiles["spectra"], COLOURS[3])
        self.residual.add_layout(Span(dimension="width", location=0, line_color="#666666", line_width=0.8))
        self._add_cursors(state)
        self._add_marks()
        self._add_tools()
        pairs = [
            column(self.profiles["concentration"], self.voltage, spacing=0),
            column(self.profiles["spectra"], self.residual, spacing=0),
        ]
        self.root = row(*pairs, spacing=0, name="explorer")
        self.ask(state.frame)
        self.rank = [self._rank_plot(names) for names in (("eigenvalue",), ("indicator", "cv_error"))]
        self.rank_root = row(*self.rank, spacing=0, name="rank")

    def _profile(self, side: str) -> figure:
        """Return the figure of concentrations or spectra: a band and a line for as many components as there may be."""
        plot = blank(
            PROFILE_SIZE, "", "concentration", margins=(TOP, RIGHT, 8, LEFT), x_range=Range1d(0, 1),
            y_range=DataRange1d(only_visible=True), name=side,
        )  # fmt: skip
        sources = [ColumnDataSource(data={name: [] for name in ("x", "value", "low", "high")}) for _ in range(MOST)]
        # Two components that may change places have one band: only hatches in two directions tell that both are there.
        bands = [
            plot.varea(
                "x", "low", "high", source=source, fill_color=colour, fill_alpha=0.22, hatch_pattern=hatch,
                hatch_color=colour, hatch_alpha=0.6, hatch_scale=9, hatch_weight=0.8, visible=False,
                name=f"{side}_{number}_band",
            )
            for number, (source, colour, hatch) in enumerate(zip(sources, COLOURS, HATCHES, strict=True))
        ]  # fmt: skip
        lines = [
            plot.line(
                "x", "value", source=source, line_color=colour, line_width=1.6, visible=False,
                name=f"{side}_{number}_line",
            )
            for number, (source, colour) in enumerate(zip(sources, COLOURS, strict=True))
        ]  # fmt: skip
        items = [
            LegendItem(label=f"{number}", renderers=list(pair), visible=False, name=f"{side}_{number}_key")
            for number, pair in enumerate(zip(bands, lines, strict=True))
        ]
        plot.add_layout(
            Legend(
                items=items, orientation="horizontal", label_text_font_size="11px", padding=3, margin=4, spacing=8,
                glyph_width=14, glyph_height=12, label_standoff=3, background_fill_alpha=0, location="right",
                border_line_color=None,
            ),
            "above",
        )  # fmt: skip
        plot.y_range.renderers = [*bands, *lines]
        plot.title.text_font_size = "12px"
        return plot

    def _strip(self, name: str, above: figure, colour: str) -> figure:
        plot = blank(
            STRIP_SIZE, "", name, margins=(6, RIGHT, 44, LEFT), x_range=above.x_range, y_range=DataRange1d(), name=name
        )
        source = ColumnDataSource(data={"x": [], "value": []})
        line = plot.line("x", "value", source=source, line_color=colour, line_width=1.3, name=f"{name}_line")
        plot.y_range.renderers = [line]
        plot.yaxis.ticker.desired_num_ticks = 3
        plot.title.text_font_size = "12px"
        return plot

    def _add_cursors(self, state: ComponentState) -> None:
        look = {"dimension": "height", "line_color": CURSOR, "line_width": 1.6, "location": state.frame}
        for name, plot in zip(CURSORS, (self.profiles["concentration"], self.voltage), strict=True):
            plot.add_layout(Span(name=name, **look))
        # The keys of keys.js count frames, whatever the axis shows.
        self.voltage.add_layout(Span(name="map_cursor", visible=False, **look))

    def _add_marks(self) -> None:
        plot = self.profiles["concentration"]
        plot.vstrip(
            "x0", "x1", source=ColumnDataSource(data={"x0": [], "x1": []}), fill_color=FAINT, fill_alpha=0.12,
            line_color=FAINT, line_dash="dotted", name="mark_strips",
        )  # fmt: skip
        for side in SIDES:
            self.profiles[side].add_layout(
                BoxAnnotation(
                    fill_color=CURSOR, fill_alpha=0.08, line_color=CURSOR, line_dash="dashed", visible=False,
                    name=f"{side}_region",
                )
            )  # fmt: skip

    def _add_tools(self) -> None:
        for side, words in (("concentration", "frames"), ("spectra", "a range")):
            select = BoxSelectTool(renderers=[], dimensions="width", description=f"Select {words} to mark")
            add_tools(self.profiles[side], select, CURSOR, dimensions="width")

    def _rank_plot(self, names: tuple[str, ...]) -> figure:
        label = EVIDENCE[names[0]] if len(names) == 1 else "over its least"
        plot = blank(RANK_SIZE, "components", label, margins=(8, 8, 42, 70), y_axis_type="log", y_range=DataRange1d())
        lines = []
        for name, colour, marker in zip(names, COLOURS, ("circle", "square"), strict=False):
            source = ColumnDataSource(data={"x": [], "value": []})
            more = {} if len(names) == 1 else {"legend_label": EVIDENCE[name]}
            lines.append(plot.line("x", "value", source=source, line_color=colour, **more))
            lines.append(
                plot.scatter(
                    "x", "value", source=source, size=5, marker=marker, color=colour, name=f"{name}_points", **more
                )
            )
        if len(names) > 1:
            plot.legend.update(
                label_text_font_size="11px", padding=2, spacing=0, background_fill_alpha=0.7, border_line_color=None,
                location="top_right", margin=2, glyph_width=12, glyph_height=12, label_height=12,
            )  # fmt: skip
        plot.y_range.renderers = lines
        plot.add_layout(
            Span(dimension="height", line_color=CURSOR, line_width=1.4, location=1, name=f"{names[0]}_chosen")
        )
        plot.xaxis.ticker.min_interval = 1
        if len(names) > 1:  # a ratio from 1 up, seldom over more than two decades
            plot.yaxis.ticker, plot.yaxis.formatter = FixedTicker(ticks=RATIOS), BasicTickFormatter(precision=0)
        return plot

    @property
    def roots(self) -> tuple[Any, ...]:
        """Both documents."""
        return self.root, self.rank_root

    def make_documents(self) -> None:
        """Put the figures into documents; Bokeh forgets callbacks that are added afterwards."""
        self.make_document()
        Document().add_root(self.rank_root)

    def load(self, data: ComponentData, state: ComponentState) -> None:
        """Change everything that hangs on the data and not on the state."""
        self.data = data
        spectra = self.profiles["spectra"]
        low, high = data.whole[1]
        spectra.x_range.update(start=low, end=high, reset_start=low, reset_end=high)
        spectra.yaxis.axis_label = axis_label(data.series[data.name])
        spectra.xaxis.visible = False
        self.residual.xaxis.axis_label = axis_label(data.series[data.axis])
        self.request.update(data={"frame": [state.frame]}, tags=[data.numbers.tolist()])

    def show_against(self, state: ComponentState) -> None:
        """Draw the voltage over what the state says, and fit the axis that it shares with the concentrations."""
        place, voltage = self.data.along(state.against), self.data.along("voltage")
        assert place is not None
        known = place[np.isfinite(place)]
        low, high = float(known.min()), float(known.max())
        edge = 0.01 * (high - low) or 0.5
        concentration = self.profiles["concentration"]
        concentration.x_range.update(start=low - edge, end=high + edge, reset_start=low - edge, reset_end=high + edge)
        label, has_voltage = self.data.label(state.against), voltage is not None
        self.voltage.visible = has_voltage
        concentration.xaxis.visible = not has_voltage
        concentration.xaxis.axis_label = self.voltage.xaxis.axis_label = label
        if voltage is not None:
            self.voltage.yaxis.axis_label = self.data.label("voltage")
            self.source("voltage_line").data = {"x": place, "value": voltage}

    def show_components(self, result: MCRResult | None, state: ComponentState) -> None:
        """Draw concentrations and spectra: a band, and a line only where it is narrow; dashed without bands."""
        places = {"concentration": self.data.along(state.against), "spectra": self.data.table.axis}
        for side, plot in self.profiles.items():
            columns, wide = _columns(result, side)
            for number in range(MOST):
                is_there = number < len(columns)
                band, line = (self.part(f"{side}_{number}_{kind}") for kind in ("band", "line"))
                if is_there:
                    band.data_source.data = {"x": places[side], **columns[number]}
                has_bands = result is not None and result.has_bands
                band.visible = is_there and has_bands
                line.visible = is_there and not (has_bands and wide[number])
                line.glyph.line_dash = [] if has_bands else [6]
                self.part(f"{side}_{number}_key").visible = is_there
            plot.title.text = _title(result, wide, side)

    def show_frame(self, result: MCRResult | None, state: ComponentState) -> None:
        """Move the cursors, and draw what the components leave of the frame."""
        at = int(np.searchsorted(self.data.numbers, state.frame))
        place = self.data.along(state.against)
        assert place is not None
        for name in CURSORS:
            self.part(name).update(location=float(place[at]), visible=bool(np.isfinite(place[at])))
        self.part("map_cursor").location = state.frame
        rest = residual(self.data, result, at)
        old = self.source("residual_line").data
        if np.array_equal(old["x"], self.data.table.axis):
            old["value"] = rest
        else:
            self.source("residual_line").data = {"x": self.data.table.axis, "value": rest}

    def show_rank(self, found: Rank | str) -> None:
        """Draw the evidence for a number of components."""
        data = None if isinstance(found, str) else found.dataset.isel(component=slice(0, 10))
        for name in EVIDENCE:
            place, values = np.zeros(0), np.zeros(0)
            if data is not None:
                place, values = (np.asarray(data[one].values, dtype=float) for one in ("component", name))
                values = np.where(values > 0, values, np.nan)
                if name != "eigenvalue" and np.isfinite(values).any():
                    values = values / np.nanmin(values)
            self.source(f"{name}_points").data = {"x": place, "value": values}

    def show_number(self, state: ComponentState) -> None:
        """Tell in the evidence how many components are on the screen."""
        for name in ("eigenvalue", "indicator"):
            self.part(f"{name}_chosen").location = state.n_components

    def show_region(self, state: ComponentState) -> None:
        """Draw what is selected."""
        boxes = [self.part(f"{side}_region") for side in SIDES]
        if state.region is None:
            for box in boxes:
                box.visible = False
            return
        first, last, low, high = state.region
        left, right = self._span(first, last, state)
        boxes[0].update(left=left, right=right, visible=True)
        boxes[1].update(left=low, right=high, visible=(low, high) != self.data.whole[1])

    def show_marks(self, marks: list[Any], state: ComponentState) -> None:
        """Draw the frames of marks."""
        spans = [self._span(mark.frames[0], mark.frames[1], state) for mark in marks]
        self.source("mark_strips").data = {"x0": [one[0] for one in spans], "x1": [one[1] for one in spans]}

    def _span(self, first: int, last: int, state: ComponentState) -> tuple[float, float]:
        """Return where frames lie on the axis of the concentrations."""
        inside = (self.data.numbers >= first) & (self.data.numbers <= last)
        place = self.data.along(state.against)
        assert place is not None
        if state.against == "frame":
            edges = point_edges(place)
            return float(edges[:-1][inside].min()), float(edges[1:][inside].max())
        known = place[inside & np.isfinite(place)]
        return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _columns(result: MCRResult | None, side: str) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Return what is drawn of each component, and which bands are too wide for a line."""
    if result is None:
        return [], np.zeros(0, dtype=bool)
    data, other = result.dataset, "frame" if side == "concentration" else str(result.dataset["spectra"].dims[1])
    value, low, high = (
        data[side + end if side + end in data else side].transpose("component", other).values
        for end in ("", "_low", "_high")
    )
    wide = np.zeros(len(value), dtype=bool)
    if result.has_bands and side == "concentration":
        wide = widest(data)[0] > WIDE * scale(data)
    elif result.has_bands:
        wide = np.nanmax(high - low, axis=1) > WIDE * (float(np.nanmax(value) - np.nanmin(value)) or 1.0)
    each = zip(value, low, high, strict=True)
    return [dict(zip(("value", "low", "high"), one, strict=True)) for one in each], wide


def _title(result: MCRResult | None, wide: np.ndarray, side: str) -> str:
    if result is None:
        return "no components"
    if not result.has_bands:
        return UNKNOWN if side == "concentration" else "bands not computed"
    level = f"{100 * result.dataset.attrs['bands_level']:g} %"
    if not wide.any():
        return f"bands ({level}) narrower than 0.1"
    return f"anywhere within its band ({level}): component {', '.join(map(str, np.flatnonzero(wide)))}"


def residual(data: ComponentData, result: MCRResult | None, at: int) -> np.ndarray:
    """Return what the components leave of a frame, by its place; NaN where they do not reach."""
    if result is None:
        return np.full(data.table.axis.shape, np.nan)
    found: xr.Dataset = result.dataset
    concentration = found["concentration"].transpose("frame", "component").values[at]
    return data.table.values[at] - concentration @ found["spectra"].values
