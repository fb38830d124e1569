"""Total scattering: one pattern as I(Q), F(Q) or G(r), the series as a map, and what the knobs of a reduction do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose
from batlab.figures.heat_map import bar_title, heat_map
from batlab.figures.pattern import frame_title
from batlab.figures.pixels import frame_position
from batlab.figures.style import COLOURS, CURSOR, FAINT, axis_label, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure

RULER = COLOURS[5]


@dataclass(frozen=True)
class Curve:
    """Where a curve runs, what stands on its axis, who makes it, and its lines: column -> (colour, width, words)."""

    axis: str
    label: str
    step: str
    lines: dict[str, tuple[str, float, str]]


CURVES = {
    "intensity": Curve("q", "I(Q) (arb. u.)", "bl.open or scattering.integrate", {
        "beside": (COLOURS[3], 1.3, "background"), "y": (COLOURS[0], 1.3, "measured"),
    }),
    "f_q": Curve("q", "F(Q) (Å⁻¹)", "pdf.g_of_r", {"y": (COLOURS[0], 1.2, "F(Q)")}),
    "g_r": Curve("r", "G(r) (Å⁻²)", "pdf.g_of_r", {
        "beside": (FAINT, 1.2, "reference"), "y": (COLOURS[0], 1.4, "G(r)"),
    }),
}  # fmt: skip
AXES = {"q": "Q (Å⁻¹)", "r": "r (Å)"}
COLUMNS = ("x", "y", "beside", "low", "high")


def total_scattering(
    series: xr.Dataset,
    frame: int | None = None,
    *,
    curve: str = "g_r",
    beside: xr.DataArray | None = None,
    axis_range: tuple[float, float] | None = None,
    ruler: tuple[float, float] | None = None,
    size: tuple[int, int] = (600, 240),
) -> figure:
    """Draw one pattern as measured, as F(Q) or as G(r), with its σ as a band.

    Parameters
    ----------
    series
        ``intensity`` (frame, q), or ``f_q`` (frame, q) and ``g_r`` (frame, r) as `pdf.g_of_r` makes them.
    frame
        Which, as the coordinate ``frame`` has it; needed where there is more than one.
    curve
        ``"intensity"``, ``"f_q"`` or ``"g_r"``.
    beside
        Another curve on the same axis: the background that is taken off, or the G(r) of another frame.
    axis_range
        The visible part of the axis [1/angstrom or angstrom].
    ruler
        Range of r to shade, where a bond is measured [angstrom].
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        The curve is not there, or `beside` has another axis.
    ValueError
        An unknown curve, or no such frame.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.total_scattering(bl.pdf.g_of_r(patterns, "Ni"), 7, curve="f_q")  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, Range1d

    one = one_pattern(series, frame, curve)
    more = {} if axis_range is None else {"x_range": Range1d(*map(float, axis_range))}
    plot = blank(size, AXES[CURVES[curve].axis], CURVES[curve].label, **more)
    if axis_range is None:
        plot.x_range.range_padding = 0.01
    source = ColumnDataSource(data=pattern_columns(one, curve, beside), name=f"{curve}_data")
    draw_curve(plot, source, curve)
    if ruler is not None:
        draw_ruler(plot)
        plot.select_one({"name": "ruler"}).update(left=float(ruler[0]), right=float(ruler[1]), visible=True)
    if "frame" in series.dims:
        plot.title.text = frame_title(series, int(frame if frame is not None else series["frame"].values[0]))
    return plot


def one_pattern(series: xr.Dataset, frame: int | None, curve: str) -> xr.Dataset:
    """Return one frame of the series, or say what is missing for `curve`."""
    choose("curve", curve, CURVES)
    _need("figures.total_scattering", series, curve)
    if "frame" not in series.dims:
        return series
    if frame is None and series.sizes["frame"] > 1:
        raise ValueError(f"figures.total_scattering needs frame=…: the series has {series.sizes['frame']}")
    return series.isel(frame=0 if frame is None else frame_position(series, frame))


def _need(function: str, series: xr.Dataset, curve: str) -> None:
    axis = CURVES[curve].axis
    if curve not in series or axis not in series[curve].dims or axis not in series.coords:
        raise DimensionError(
            f"{function} needs {curve!r} over {axis!r} for curve={curve!r}, got "
            f"{sorted(map(str, series.data_vars))}; make it with {CURVES[curve].step}"
        )


def draw_curve(plot: figure, source: Any, curve: str) -> None:
    """Draw the lines of a curve and its band; the one on top sets the range upward."""
    from bokeh.models import DataRange1d

    plot.varea(
        "x", "low", "high", source=source, fill_color=COLOURS[0], fill_alpha=0.18, name=f"{curve}_band"
    )  # fmt: skip
    for column, (colour, width, words) in CURVES[curve].lines.items():
        legend = {"legend_label": words} if curve == "intensity" else {}
        line = plot.line(
            "x", column, source=source, line_color=colour, line_width=width, name=f"{curve}_{column}", **legend
        )
    plot.y_range = DataRange1d(renderers=[line], only_visible=True)
    if plot.legend:
        plot.legend.update(
            location="top_right", label_text_font_size="11px", background_fill_alpha=0.7, border_line_color=None,
            padding=2, margin=3, spacing=0, label_height=13, glyph_height=13, glyph_width=16, label_standoff=3,
        )  # fmt: skip


def draw_ruler(plot: figure) -> None:
    """Add the range in which a bond is measured, and the line of what was found there; both are hidden."""
    from bokeh.models import BoxAnnotation, Span

    plot.add_layout(
        BoxAnnotation(
            fill_color=RULER, fill_alpha=0.15, line_color=RULER, line_width=1, visible=False, name="ruler",
            level="underlay",
        )
    )  # fmt: skip
    plot.add_layout(Span(dimension="height", line_color=CURSOR, line_width=1.4, visible=False, name="ruler_top"))


def pattern_columns(one: xr.Dataset, curve: str, beside: xr.DataArray | None = None) -> dict[str, np.ndarray]:
    """Return axis, curve, the curve beside it and the ends of the band of 1 σ as columns; what is unknown is NaN."""
    axis = CURVES[curve].axis
    x = np.asarray(one[axis].values, dtype=float)
    y = np.asarray(one[curve].values, dtype=float)
    unknown = np.full(x.shape, np.nan)
    sigma = np.asarray(one[f"{curve}_sigma"].values, dtype=float) if f"{curve}_sigma" in one else unknown
    other = unknown
    if beside is not None:
        if beside.dims != (axis,) or beside.size != x.size:
            raise DimensionError(
                f"figures.total_scattering needs 'beside' over {axis!r} with {x.size} points, got {dict(beside.sizes)}"
            )
        other = np.asarray(beside.values, dtype=float)
    columns = {"x": x, "y": y, "beside": other, "low": y - sigma, "high": y + sigma}
    return {name: values.astype(np.float32) for name, values in columns.items()}


def empty_columns() -> dict[str, np.ndarray]:
    """Return the columns of a curve that is not known."""
    return {name: np.zeros(0, dtype=np.float32) for name in COLUMNS}


def total_scattering_map(
    series: xr.Dataset,
    *,
    curve: str = "g_r",
    frames: tuple[float, float] | None = None,
    axis_range: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    reference: int | None = None,
    cursor: int | None = None,
    size: tuple[int, int] = (600, 360),
) -> figure:
    """Draw a series as a map: frame upward, Q or r to the right; with a `reference` what has changed since.

    Parameters
    ----------
    series
        ``intensity`` (frame, q), or ``f_q`` (frame, q) and ``g_r`` (frame, r) as `pdf.g_of_r` makes them.
    curve
        ``"intensity"``, ``"f_q"`` or ``"g_r"``.
    frames, axis_range, limits, reference, cursor, size
        As `heat_map`.

    Raises
    ------
    DimensionError, ValueError
        The curve is not there; as `map_image`.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.total_scattering_map(bl.pdf.g_of_r(patterns, "Ni"), reference=0)  # doctest: +SKIP
    """
    table = as_intensity(series, curve)
    plot = heat_map(
        table, frames=frames, axis_range=axis_range, limits=limits, reference=reference, cursor=cursor, size=size
    )
    plot.xaxis.axis_label = AXES[CURVES[curve].axis]
    plot.select_one({"name": "map_bar"}).title = map_title(curve, reference)
    plot.select_one({"name": "map_hover"}).tooltips = map_tips(curve)
    return plot


def map_title(curve: str, reference: int | None) -> str:
    """Return what the colours mean."""
    return bar_title(CURVES[curve].label, reference)


def map_tips(curve: str) -> list[tuple[str, str]]:
    """Return what stands under the mouse on a map."""
    return [("frame", "$y{custom}"), (AXES[CURVES[curve].axis], "$x{0.00}"), (CURVES[curve].label, "@image{custom}")]


def as_intensity(series: xr.Dataset, curve: str) -> xr.Dataset:
    """Return a curve of every frame as ``intensity``, which maps are made of."""
    choose("curve", curve, CURVES)
    axis = CURVES[curve].axis
    _need("figures.total_scattering_map", series, curve)
    if series[curve].dims != ("frame", axis):
        raise DimensionError(
            f"figures.total_scattering_map needs {curve!r} over ('frame', {axis!r}), got {series[curve].dims}"
        )
    numbers = series["frame"] if "frame" in series.coords else np.arange(series.sizes["frame"])
    return xr.Dataset({"intensity": series[curve].variable}, {"frame": numbers, axis: series[axis]})


def tuning(
    table: xr.Dataset,
    knob: str = "qmax",
    merit: str = "ripple",
    *,
    cursor: float | None = None,
    size: tuple[int, int] = (600, 200),
) -> figure:
    """Draw a figure of merit of `pdf.tune` against the values of a knob.

    Parameters
    ----------
    table
        What `pdf.tune` has made.
    knob
        ``"qmax"``, ``"bgscale"`` or ``"rpoly"``.
    merit
        ``"ripple"``, ``"density"``, ``"peak_position"``, ``"peak_height"``, ``"peak_width"``, ``"tail"``, ``"noise"``.
    cursor
        A value of the knob to mark.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    ValueError
        A knob that was not turned, or an unknown merit.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.tuning(bl.pdf.tune(pattern, "Ni"), "rpoly", "ripple")  # doctest: +SKIP
    """
    plot = blank(size, "", "")
    source = draw_tuning(plot)
    columns, labels = tuning_columns(table, knob, merit)
    source.data = columns
    plot.xaxis.axis_label, plot.yaxis.axis_label = labels
    if cursor is not None:
        plot.select_one({"name": "tuning_cursor"}).update(location=float(cursor), visible=True)
    return plot


def draw_tuning(plot: figure) -> Any:
    """Draw the empty line of a figure of merit, and the cursor; return its source."""
    from bokeh.models import ColumnDataSource, HoverTool, Span

    source = ColumnDataSource(data={"x": [], "y": []}, name="tuning_data")
    plot.line("x", "y", source=source, line_color=COLOURS[0], line_width=1.3, name="tuning_line")
    points = plot.scatter("x", "y", source=source, size=5, fill_color=COLOURS[0], line_color=None, name="tuning_points")
    plot.add_layout(Span(dimension="height", line_color=CURSOR, line_width=1.4, visible=False, name="tuning_cursor"))
    plot.add_tools(HoverTool(tooltips=[("tried", "@x{0.000}"), ("", "@y{0.00000}")], renderers=[points]))
    return source


def tuning_columns(table: xr.Dataset, knob: str, merit: str) -> tuple[dict[str, np.ndarray], tuple[str, str]]:
    """Return a figure of merit as columns, and what stands on both axes."""
    choose("knob", knob, sorted({str(one) for one in table["knob"].values}))
    known = [str(name) for name in table.data_vars if table[name].dims == ("setting",)]
    choose("merit", merit, known)
    turned = table.isel(setting=np.flatnonzero(table["knob"].values == knob)).sortby(knob)
    columns = {"x": np.asarray(turned[knob].values, float), "y": np.asarray(turned[merit].values, float)}
    words = {"qmax": "qmax (Å⁻¹)", "bgscale": "background scale", "rpoly": "rpoly (Å)"}[knob]
    return columns, (words, axis_label(turned[merit].rename(merit).assign_attrs(long_name=merit.replace("_", " "))))
