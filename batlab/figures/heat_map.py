"""The heat map of a series: frame upward, scattering axis to the right, intensity as colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from batlab.figures.pixels import MapImage, map_image, pattern_axis
from batlab.figures.scale import tick_text
from batlab.figures.style import CURSOR, MISSING, axis_label, blank

if TYPE_CHECKING:
    from bokeh.models import ColorBar, LinearColorMapper
    from bokeh.plotting import figure

# Turns a pixel's level back into an intensity; `special_vars` carry where the mouse is.
HOVER_CODE = """
const level = special_vars.image_index != null ? value : NaN;
if (!(level > 0)) return "missing";
const d = source.data, f = (level - 1) / 254, p = d.bottom_position[0] + f * (d.top_position[0] - d.bottom_position[0]);
let v = p;
if (d.scale[0] === "sqrt") v = Math.sign(p) * p * p;
if (d.scale[0] === "log") v = d.unit[0] > 0 ? Math.sign(p) * (10 ** Math.abs(p) - 1) * d.unit[0] : 10 ** p;
return "\\u2248 " + Number(v.toPrecision(3)).toString();
"""


def heat_map(
    series: xr.Dataset,
    *,
    frames: tuple[float, float] | None = None,
    axis_range: tuple[float, float] | None = None,
    scale: str = "linear",
    limits: tuple[float, float] | None = None,
    reference: int | None = None,
    cursor: int | None = None,
    size: tuple[int, int] = (600, 360),
) -> figure:
    """Draw a series of patterns as a map, reduced to at most 1000 × 1000 pixels of 8 bits.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q or two_theta).
    frames, axis_range
        The visible part; all of it by default.
    scale
        ``"linear"``, ``"sqrt"`` or ``"log"``.
    limits
        Intensities of the first and last colour; percentiles of the whole series by default.
    reference
        A frame to subtract from all: blue is less, red is more, white the same.
    cursor
        A frame to mark with a line.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError, ValueError
        As `map_image`.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.heat_map(bl.open("patterns.nc"), scale="sqrt")  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, Range1d, Span

    axis = pattern_axis(series, "figures.heat_map")
    image = map_image(series, frames=frames, axis_range=axis_range, scale=scale, limits=limits, reference=reference)
    whole = map_extent(series, frames, axis_range, image)
    x_range, y_range = Range1d(*whole[:2]), Range1d(*whole[2:])
    plot = blank(size, axis_label(series[axis]), "frame", x_range=x_range, y_range=y_range)
    plot.grid.grid_line_color = None
    mapper = colour_mapper(reference is not None)
    source = ColumnDataSource(data=image_columns(image), name="map_data")
    plot.image(image="image", x="x", y="y", dw="dw", dh="dh", source=source, color_mapper=mapper, name="map_image")
    plot.add_layout(_bar(image, mapper, axis_label(series["intensity"]), reference), "right")
    plot.add_layout(
        Span(location=cursor, visible=cursor is not None, dimension="width", line_color=CURSOR, line_width=1.6,
             name="map_cursor")
    )  # fmt: skip
    _add_hover(plot, source, axis_label(series[axis]))
    return plot


def map_extent(
    series: xr.Dataset,
    frames: tuple[float, float] | None,
    axis_range: tuple[float, float] | None,
    image: MapImage,
) -> tuple[float, float, float, float]:
    """Return left, right, bottom and top of what is visible."""
    left, right = axis_range or (image.left, image.left + image.width)
    bottom, top = frames or (image.bottom, image.bottom + image.height)
    return float(left), float(right), float(bottom), float(top)


def colour_mapper(signed: bool) -> LinearColorMapper:
    """Return the map from level to colour: cividis (safe for colour-blind readers), blue to red for differences."""
    from bokeh.models import LinearColorMapper

    return LinearColorMapper(palette=map_palette(signed), low=0, high=255)


def map_palette(signed: bool) -> list[str]:
    """Return the 256 colours of a map; the first stands for what was not measured."""
    from bokeh.palettes import Cividis256, RdBu11, interp_palette

    colours = interp_palette(RdBu11, 255) if signed else interp_palette(Cividis256, 255)
    return [MISSING, *colours]


def image_columns(image: MapImage) -> dict[str, list[Any]]:
    """Return an image as the columns of a Bokeh source."""
    bottom, top = image.scale.ends()
    return {
        "image": [image.pixels],
        "x": [image.left],
        "y": [image.bottom],
        "dw": [image.width],
        "dh": [image.height],
        "scale": [image.scale.name],
        "bottom_position": [bottom],
        "top_position": [top],
        "unit": [image.scale.unit if image.scale.signed else 0.0],
    }


def bar_ticks(image: MapImage) -> tuple[list[float], list[str]]:
    """Return levels and texts of the colour bar's ticks."""
    bottom, top = image.scale.ends()
    values = image.scale.ticks(6)
    levels = [1 + 254 * (float(image.scale.forward(value)) - bottom) / (top - bottom) for value in values]
    return levels, [tick_text(value) for value in values]


def bar_title(label: str, reference: int | None) -> str:
    """Return what the colours mean."""
    return label if reference is None else f"{label} minus frame {reference}"


def _bar(image: MapImage, mapper: LinearColorMapper, label: str, reference: int | None) -> ColorBar:
    from bokeh.models import ColorBar, FixedTicker

    levels, texts = bar_ticks(image)
    return ColorBar(
        color_mapper=mapper,
        ticker=FixedTicker(ticks=levels),
        major_label_overrides=dict(zip(levels, texts, strict=True)),
        title=bar_title(label, reference),
        title_text_font_size="12px",
        title_text_font_style="normal",
        major_label_text_font_size="11px",
        label_standoff=4,
        width=10,
        padding=4,
        display_low=1,
        display_high=255,
        name="map_bar",
    )


def _add_hover(plot: figure, source: Any, label: str) -> None:
    from bokeh.models import CustomJSHover, HoverTool

    decode = CustomJSHover(args={"source": source}, code=HOVER_CODE)
    frame = CustomJSHover(code="return String(Math.round(special_vars.y))")
    tips = [("frame", "$y{custom}"), (label, "$x{0.0000}"), ("intensity", "@image{custom}")]
    plot.add_tools(
        HoverTool(
            tooltips=tips,
            formatters={"$y": frame, "@image": decode},
            renderers=[plot.select_one({"name": "map_image"})],
            point_policy="follow_mouse",
            attachment="below",
            name="map_hover",
        )
    )
