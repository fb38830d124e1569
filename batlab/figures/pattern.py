"""One pattern of a series: intensity against the scattering axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from batlab.figures.pixels import frame_position, pattern_axis, point_edges
from batlab.figures.scale import Scale, tick_text
from batlab.figures.style import COLOURS, FAINT, axis_label, blank, set_ticks

if TYPE_CHECKING:
    from bokeh.plotting import figure


def pattern(
    series: xr.Dataset,
    frame: int,
    *,
    axis_range: tuple[float, float] | None = None,
    scale: str = "linear",
    reference: int | None = None,
    size: tuple[int, int] = (600, 200),
) -> figure:
    """Draw the pattern of one frame, and under it that of a reference frame.

    The intensity axis spans what any frame of the series reaches in `axis_range`: patterns of one series compare at a
    glance.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q or two_theta).
    frame, reference
        Numbers of frames, as the coordinate ``frame`` has them.
    axis_range
        The visible part of the axis.
    scale
        ``"linear"``, ``"sqrt"`` or ``"log"``.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        `series` is no series of patterns.
    ValueError
        No such frame, or an unknown scale.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.pattern(bl.open("patterns.nc"), 47, reference=0)  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, Range1d

    axis = pattern_axis(series, "figures.pattern")
    scaling = pattern_scale(series, axis_range, scale)
    edges = point_edges(np.asarray(series[axis].values, dtype=float))
    left, right = axis_range or (edges[0], edges[-1])
    plot = blank(
        size,
        axis_label(series[axis]),
        axis_label(series["intensity"]),
        x_range=Range1d(float(left), float(right)),
        y_range=Range1d(*pattern_ends(scaling)),
    )
    source = ColumnDataSource(data=pattern_columns(series, frame, scaling, reference), name="pattern_data")
    plot.line("x", "reference", source=source, line_color=FAINT, line_width=1, name="reference_line")
    plot.line("x", "intensity", source=source, line_color=COLOURS[0], line_width=1.3, name="pattern_line")
    set_ticks(plot.yaxis[0], *pattern_ticks(scaling))
    plot.title.text = frame_title(series, frame)
    return plot


def pattern_scale(series: xr.Dataset, axis_range: tuple[float, float] | None, scale: str) -> Scale:
    """Return the intensity scale that holds every frame within `axis_range`."""
    axis = pattern_axis(series, "figures.pattern")
    points = series[axis].values
    low, high = axis_range or (points[0], points[-1])
    first, last = np.searchsorted(points, [low, high])
    part = np.asarray(series["intensity"].values[:, max(first - 1, 0) : last + 1], dtype=float)
    known = part[np.isfinite(part)]
    bottom, top = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if scale == "log":
        positive = known[known > 0]
        bottom = max(float(np.percentile(positive, 0.1)), top / 1e5) if positive.size else 0.0
        top = top if top > 0 else 1.0
    if not bottom < top:
        top = bottom + (abs(bottom) or 1.0)
    return Scale(scale, bottom, top)


def pattern_ends(scale: Scale) -> tuple[float, float]:
    """Return the ends of the intensity axis, with a little air."""
    bottom, top = scale.ends()
    air = 0.05 * (top - bottom)
    return bottom - air, top + air


def pattern_ticks(scale: Scale) -> tuple[list[float], list[str]]:
    """Return positions and texts of the intensity axis's ticks."""
    values = scale.ticks(4)
    return [float(scale.forward(value)) for value in values], [tick_text(value) for value in values]


def pattern_columns(
    series: xr.Dataset, frame: int, scale: Scale, reference: int | None = None
) -> dict[str, np.ndarray]:
    """Return axis, pattern and reference pattern as float32 columns, intensities as positions on `scale`."""
    axis = pattern_axis(series, "figures.pattern")
    points = np.asarray(series[axis].values, dtype=np.float32)
    return {
        "x": points,
        "intensity": frame_column(series, frame, scale),
        "reference": np.full_like(points, np.nan) if reference is None else frame_column(series, reference, scale),
    }


def frame_column(series: xr.Dataset, frame: int, scale: Scale) -> np.ndarray:
    """Return one frame's intensities as float32 positions on `scale`."""
    return scale.forward(series["intensity"].values[frame_position(series, frame)]).astype(np.float32)


def frame_title(series: xr.Dataset, frame: int) -> str:
    """Return what is known of a frame in one line: number, time, cycle, step, voltage.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> series = xr.Dataset({"voltage": quantity("frame", [4.1], "V", "voltage")},
    ...                     {"frame": quantity("frame", [7], "1", "frame")})
    >>> frame_title(series, 7)
    'frame 7 · 4.1000 V'
    """
    position = frame_position(series, frame)
    words = [f"frame {frame}"]
    if "time" in series.coords and not np.isnat(time := series["time"].values[position]):
        words.append(np.datetime_as_string(time, unit="s").replace("T", " ") + " UTC")
    for name in ("cycle", "step"):
        if name in series and np.isfinite(value := float(series[name].values[position])):
            words.append(f"{name} {value:g}")
    if "voltage" in series:
        value = float(series["voltage"].values[position])
        words.append(f"{value:.4f} V" if np.isfinite(value) else "no voltage")
    return " · ".join(words)
