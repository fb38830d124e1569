"""How far the points on a calibrant's rings lie from the rings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.figures.style import COLOURS, FAINT, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure


def ring_residuals(
    rings: xr.Dataset | None = None, points: xr.Dataset | None = None, *, size: tuple[int, int] = (320, 120)
) -> figure:
    """Draw how far points lie outside their rings over 2θ: each point faint, each ring's mean with its scatter.

    Parameters
    ----------
    rings, points
        As `scattering.calibrate` returns them; without them the figure is empty.
    size
        Width and height inside the axes, in pixels.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.ring_residuals(done.rings, done.points)  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, Span, Whisker

    plot = blank(size, "2θ (°)", "off its ring (pixel)", margins=(6, 10, 40, 58))
    of_rings, of_points = residual_columns(rings, points)
    means = ColumnDataSource(data=of_rings, name="ring_means")
    single = ColumnDataSource(data=of_points, name="ring_points")
    plot.add_layout(Span(location=0, dimension="width", line_color=FAINT, line_width=1))
    plot.scatter("x", "y", source=single, size=2, color=FAINT, alpha=0.35, line_color=None, name="residual_points")
    whisker = Whisker(base="x", lower="low", upper="high", source=means, line_color=COLOURS[0], line_width=1.4)
    whisker.upper_head.size = whisker.lower_head.size = 5
    plot.add_layout(whisker)
    plot.scatter("x", "y", source=means, size=6, color=COLOURS[0], name="residual_means")
    return plot


def residual_columns(rings: xr.Dataset | None, points: xr.Dataset | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return rings and points as columns of two Bokeh sources."""
    if rings is None or points is None:
        return {name: [] for name in ("x", "y", "low", "high", "ring")}, {"x": [], "y": []}
    angle = np.asarray(rings["two_theta"].values, float)
    mean = np.asarray(rings["residual_mean"].values, float)
    scatter = np.asarray(rings["residual_rms"].values, float)
    of_rings = {"x": angle, "y": mean, "low": mean - scatter, "high": mean + scatter, "ring": rings["ring"].values}
    used = np.asarray(points["is_used"].values, bool)
    row = np.asarray(points["ring"].values, int)[used]
    offset = points["residual"].values[used].astype(np.float32)
    return of_rings, {"x": angle[row].astype(np.float32), "y": offset}
