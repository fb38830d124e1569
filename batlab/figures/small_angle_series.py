"""A series of small-angle patterns, or its size distributions, as a map whose axis is logarithmic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose
from batlab.figures.heat_map import _bar, colour_mapper, image_columns
from batlab.figures.pixels import MapImage, map_image, point_edges
from batlab.figures.small_angle_curves import sign
from batlab.figures.style import CURSOR, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure

MAPS = {"intensity": 0, "kratky": 2, "porod": 4, "sizes": None}  # power of q before the intensity
WORDS = {"intensity": "log₁₀ I", "kratky": "log₁₀ q² I", "porod": "log₁₀ q⁴ I", "sizes": "D dφ/dD"}
# Bokeh looks for the pixel under the mouse as if axes were linear; the tags of the source say what the colours mean.
HOVER_CODE = """
const d = source.data, image = d.image[0], [rows, columns] = image.shape;
const along = Math.log(special_vars.x / d.x[0]) / Math.log(1 + d.dw[0] / d.x[0]);
const i = Math.floor(along * columns), j = Math.floor((special_vars.y - d.y[0]) / d.dh[0] * rows);
const level = image[j * columns + i];
if (!(i >= 0 && i < columns && level > 0)) return "missing";
const f = (level - 1) / 254, v = d.bottom_position[0] + f * (d.top_position[0] - d.bottom_position[0]);
return "\\u2248 " + Number(v.toPrecision(3)).toString();
"""


def small_angle_map(
    series: xr.Dataset,
    *,
    curve: str = "intensity",
    frames: tuple[float, float] | None = None,
    axis_range: tuple[float, float] | None = None,
    reference: int | None = None,
    cursor: int | None = None,
    size: tuple[int, int] = (600, 360),
) -> figure:
    """Draw a series as a map: frame upward, the logarithm of q (or of the diameter) to the right.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q); for ``curve="sizes"`` what `saxs.size_distribution` has returned.
    curve
        ``"intensity"``, ``"kratky"`` (q² I) or ``"porod"`` (q⁴ I), all as log₁₀, or ``"sizes"`` (D dφ/dD).
    frames, axis_range
        The visible part; all of it by default. The axis is in 1/angstrom, or angstrom for sizes.
    reference
        A frame to subtract from all; of a logarithm that is the logarithm of the ratio.
    cursor
        A frame to mark with a line.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError, ValueError
        No such curve over frame; as `map_image`.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.small_angle_map(patterns, curve="porod", reference=0)  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool, Range1d, Span

    image = map_pixels(series, curve, frames=frames, axis_range=axis_range, reference=reference)
    left, right = axis_range or (image.left, image.left + image.width)
    bottom, top = frames or (image.bottom, image.bottom + image.height)
    ranges = {"x_range": Range1d(float(left), float(right)), "y_range": Range1d(float(bottom), float(top))}
    plot = blank(size, axis_words(curve), "frame", x_axis_type="log", **ranges)
    plot.grid.grid_line_color = None
    plot.xaxis.ticker.desired_num_ticks = max(2, size[0] // 75)
    mapper = colour_mapper(reference is not None)
    source = ColumnDataSource(data=image_columns(image), name="map_data")
    plot.image(image="image", x="x", y="y", dw="dw", dh="dh", source=source, color_mapper=mapper, name="map_image")
    bar = _bar(image, mapper, "", None)
    bar.title = map_words(series, curve, reference)
    plot.add_layout(bar, "right")
    plot.add_layout(
        Span(location=cursor, visible=cursor is not None, dimension="width", line_color=CURSOR, line_width=1.6,
             name="map_cursor")
    )  # fmt: skip
    whole = CustomJSHover(code="return String(Math.round(special_vars.y))")
    decode = CustomJSHover(args={"source": source}, code=HOVER_CODE)
    plot.add_tools(
        HoverTool(
            tooltips=[("frame", "$y{custom}"), (axis_words(curve), "$x{0.0000}"), (WORDS[curve], "@image{custom}")],
            formatters={"$y": whole, "@image": decode}, renderers=[plot.select_one({"name": "map_image"})],
            point_policy="follow_mouse", attachment="below", name="map_hover",
        )
    )  # fmt: skip
    return plot


def axis_words(curve: str) -> str:
    """Return what stands under a map."""
    return "diameter D (Å)" if curve == "sizes" else "q (Å⁻¹)"


def map_words(series: xr.Dataset, curve: str, reference: int | None) -> str:
    """Return what the colours of a map mean."""
    if reference is not None:
        return f"{WORDS[curve]} minus frame {reference}"
    power = MAPS[curve]
    if power is None:
        return WORDS[curve]
    units = str(series["intensity"].attrs.get("units", "1")) + (f"/angstrom^{power}" if power else "")
    told = sign(units) if not units.startswith("1/angstrom") and units != "1" else "arb. u."
    return f"{WORDS[curve]} ({told})"


def map_pixels(
    series: xr.Dataset,
    curve: str,
    *,
    frames: tuple[float, float] | None = None,
    axis_range: tuple[float, float] | None = None,
    reference: int | None = None,
) -> MapImage:
    """Return the visible part of a series, its columns even in the logarithm of the axis."""
    table = as_map(series, curve)
    visible = None if axis_range is None else (float(np.log10(axis_range[0])), float(np.log10(axis_range[1])))
    image = map_image(table, frames=frames, axis_range=visible, reference=reference)
    left, right = 10.0**image.left, 10.0 ** (image.left + image.width)
    return replace(image, left=left, width=right - left)


def as_map(series: xr.Dataset, curve: str) -> xr.Dataset:
    """Return what a map shows as ``intensity`` over (frame, log₁₀ of the axis); without a logarithm it is missing."""
    choose("curve", curve, MAPS)
    name, axis = ("volume_distribution", "size") if curve == "sizes" else ("intensity", "q")
    if name not in series or series[name].dims != ("frame", axis):
        got = series[name].dims if name in series else sorted(map(str, series.data_vars))
        made = "make it with saxs.size_distribution" if curve == "sizes" else "convert with scattering.to_q"
        raise DimensionError(f"figures.small_angle_map needs {name!r} over ('frame', {axis!r}), got {got}; {made}")
    x, values = np.asarray(series[axis].values, dtype=float), np.asarray(series[name].values, dtype=float)
    keep = x > 0
    x, values = x[keep], values[:, keep]
    power = MAPS[curve]
    if power is None:
        values = values * x
    else:
        weighted = values * x**power
        values = np.log10(np.where(weighted > 0, weighted, np.nan))
    numbers = series["frame"].values if "frame" in series.coords else np.arange(series.sizes["frame"])
    return xr.Dataset({"intensity": (("frame", axis), values)}, {"frame": numbers, axis: np.log10(x)})


def log_ends(points: np.ndarray) -> tuple[float, float]:
    """Return the ends of a logarithmic axis, half a step beyond the last points."""
    edges = 10.0 ** point_edges(np.log10(points))
    return float(edges[0]), float(edges[-1])
