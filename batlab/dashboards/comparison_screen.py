"""The figures of the comparison of techniques, and how each part is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.models import BoxAnnotation, ColumnDataSource, CustomJS, Span

from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_panels import SLOTS, Panels
from batlab.dashboards.comparison_state import ComparisonState
from batlab.dashboards.parts import keys_text, script_text
from batlab.figures.annotator import mark_notes
from batlab.figures.comparison import correlation_plot, fill_correlation
from batlab.figures.style import FAINT
from batlab.figures.technique_panel import Panel

SCATTER_SIZE = (384, 112)
HANDLE = 0.9  # of the visible width
MARKS = ("left", "right", "bottom", "top")


class ComparisonScreen(Panels):
    """A panel a technique, their numbers over one another, and a correlation; every method sends one part."""

    def __init__(self, data: ComparisonData, state: ComparisonState) -> None:
        super().__init__(data, state)
        self._anchors: dict[str, float] = {}
        self._drawn: dict[str, tuple[float, bool]] = {}
        self._overlay_lag: dict[str, float] = {}
        self.nudge = ColumnDataSource(data={"by": [0], "choose": [0], "time": [0.0]}, name="nudge")
        self.hands = {slot: ColumnDataSource(data={"ends": []}, name=f"{slot}_hand") for slot in SLOTS}
        self.root.tags = [self.request, self.nudge, *self.hands.values()]
        self.scatter = correlation_plot(SCATTER_SIZE)

    @property
    def roots(self) -> tuple[Any, ...]:
        """All figures in which names are looked for."""
        return self.root, self.scatter

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
        plot.quad(
            "left", "right", "top", "bottom", source=ColumnDataSource(data={name: [] for name in MARKS}),
            fill_color=FAINT, fill_alpha=0.12, line_color=FAINT, line_dash="dotted", line_width=1.4,
            name=f"{slot}_marks",
        )  # fmt: skip

    def make_documents(self) -> None:
        """Put the figures into documents; Bokeh forgets callbacks that are added afterwards."""
        dragged = {"parts": [self.part(f"{slot}_handle") for slot in SLOTS], "hands": list(self.hands.values())}
        self.make_document(
            CustomJS(args={"root": self.root, "nudge": self.nudge}, code=keys_text("comparison_keys.js")),
            CustomJS(args=dragged, code=script_text("xanes_drag.js")),
        )
        Document().add_root(self.scatter)

    def show_panel(self, name: str, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Send what a panel shows of the visible part of the axis."""
        super().show_panel(name, state, stretch)
        self._drawn[name] = state.lags.get(name, 0.0), self.data.drifts(name, state.lags)

    def show_overlay(self, name: str, state: ComparisonState, stretch: tuple[float, float] | None) -> None:
        """Draw the number that stands for a technique over those of the others."""
        super().show_overlay(name, state, stretch)
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

    def show_marks(self, marks: dict[str, list[Any]], state: ComparisonState) -> None:
        """Draw the marks of each technique on its panel."""
        for name in self.data.names:
            axis = self.data.axis_name(name, state.shows[name])
            notes = mark_notes(marks.get(name, []), "", 1, axis)
            known = [box for note in notes if (box := self.box_of(name, state, note.where)) is not None]
            columns = {side: [box[at] for box in known] for at, side in enumerate(MARKS)}
            source = self.source(f"{self.panel(name).name}_marks")
            if columns != dict(source.data):
                source.data = columns
