"""The figures of the calibration dashboard, and how each part is updated in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.document import Document
from bokeh.models import (
    BoxSelectTool,
    BoxZoomTool,
    LassoSelectTool,
    PanTool,
    PolySelectTool,
    ResetTool,
    SaveTool,
    WheelZoomTool,
)

from batlab import figures
from batlab.dashboards.calibration_state import CalibrationState
from batlab.figures.detector_image import automatic_counts, image_counts, image_pixels, mask_columns, ring_columns
from batlab.figures.heat_map import bar_ticks, image_columns
from batlab.figures.ring_residuals import residual_columns
from batlab.io.poni import Geometry

SIZE = (500, 500)
RESIDUALS = (310, 120)


class CalibrationScreen:
    """Detector image and residuals; every method sends one part."""

    def __init__(self, image: Any, state: CalibrationState) -> None:
        self.counts = image_counts(image)
        self.limits = automatic_counts(self.counts)
        self.image = figures.detector_image(xr.DataArray(self.counts, dims=("y", "x")), view=state.view, size=SIZE)
        self.image.update(name="calibration", min_border_top=8, min_border_left=92, min_border_right=64)
        self.residuals = figures.ring_residuals(size=RESIDUALS)
        self.residuals.name = "residuals"
        self._parts: dict[str, Any] = {}
        self._add_tools()

    def make_documents(self) -> None:
        """Put each figure into a document; Bokeh forgets callbacks that are added afterwards."""
        for root in (self.image, self.residuals):
            Document().add_root(root)

    def _add_tools(self) -> None:
        box = BoxSelectTool(renderers=[], description="Mask a box")
        lasso = LassoSelectTool(renderers=[], continuous=False, description="Mask what a lasso holds")
        polygon = PolySelectTool(renderers=[], description="Mask a polygon: click corners, double-click the last")
        zoom = BoxZoomTool(match_aspect=True, description="Zoom into a box")
        wheel = WheelZoomTool(modifiers={"ctrl": True}, description="Zoom: Ctrl and wheel")
        for tool in (box, lasso, polygon):
            tool.overlay.update(fill_color="#E4003A", fill_alpha=0.25, line_color="#FFFFFF", line_dash="dashed")
        reset = ResetTool(description="Show all")
        self.image.add_tools(zoom, PanTool(), box, lasso, polygon, wheel, reset, SaveTool())
        self.image.toolbar.update(active_drag=zoom, active_scroll=wheel, active_tap=None, logo=None)
        self.image.toolbar_location = "left"

    def part(self, name: str) -> Any:
        """Return the one model with a name."""
        if name not in self._parts:
            found = self.image.select_one({"name": name}) or self.residuals.select_one({"name": name})
            self._parts[name] = found
        return self._parts[name]

    def load(self, image: Any, view: tuple[float, float, float, float]) -> None:
        """Take another image."""
        self.counts = image_counts(image)
        for (low, high), range_ in ((view[:2], self.image.x_range), (view[2:], self.image.y_range)):
            range_.update(start=low, end=high, reset_start=low, reset_end=high)

    def show_image(self, state: CalibrationState) -> None:
        """Send the visible part of the image, reduced to the pixels of a screen."""
        x0, x1, y0, y1 = state.view
        self.image.x_range.update(start=x0, end=x1)
        self.image.y_range.update(start=y0, end=y1)
        drawn = image_pixels(self.counts, view=state.view, scale=state.scale, limits=state.limits, most=max(SIZE))
        self.part("image").data_source.data = image_columns(drawn)
        levels, texts = bar_ticks(drawn)
        bar = self.part("image_bar")
        bar.ticker.ticks = levels
        bar.major_label_overrides = dict(zip(levels, texts, strict=True))
        self.limits = drawn.scale.low, drawn.scale.high

    def show_mask(self, state: CalibrationState, mask: np.ndarray | None) -> None:
        """Tint the visible part of what is masked."""
        self.part("mask").data_source.data = mask_columns(mask, self.counts.shape, state.view, max(SIZE))

    def show_rings(self, geometry: Geometry, angles: np.ndarray) -> None:
        """Draw rings at these angles [degree]."""
        lines, numbers = ring_columns(geometry, angles)
        self.part("rings").data_source.data = lines
        self.part("ring_numbers").data_source.data = numbers

    def show_residuals(self, calibration: Any) -> None:
        """Draw how far points lie from the rings of the last fit."""
        tables = (None, None) if calibration is None else (calibration.rings, calibration.points)
        means, points = residual_columns(*tables)
        self.part("residual_means").data_source.data = means
        self.part("residual_points").data_source.data = points
