"""A detector image with its mask and the rings of a calibrant, reduced to the pixels of a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.figures.heat_map import bar_ticks, colour_mapper, image_columns
from batlab.figures.pixels import MapImage
from batlab.figures.scale import Scale
from batlab.figures.style import blank

if TYPE_CHECKING:
    from bokeh.models import ColorBar
    from bokeh.plotting import figure

    from batlab.io.poni import Geometry

RING = "#FF5FA2"
MASKED = ("#00000000", "#E4003A80")
MOST = 560  # pixels a side: a screen shows no more at the usual size, and a browser drops lines of what it shrinks

View = tuple[float, float, float, float]


def detector_image(
    image: xr.Dataset | xr.DataArray,
    *,
    geometry: Geometry | None = None,
    two_theta: Sequence[float] | np.ndarray = (),
    mask: xr.DataArray | np.ndarray | None = None,
    view: View | None = None,
    scale: str = "sqrt",
    limits: tuple[float, float] | None = None,
    size: tuple[int, int] = (MOST, MOST),
) -> figure:
    """Draw one detector image, row 0 at the bottom, with rings as numbered lines.

    Parameters
    ----------
    image
        Counts (y, x), or a Dataset with one frame of ``intensity``; its ``mask`` and ``overflow`` are drawn as missing.
    geometry, two_theta
        Where the rings at these angles [degree] lie; without either none is drawn.
    mask
        Pixels (y, x) to tint.
    view
        First and last column, first and last row that are visible; all by default.
    scale
        ``"linear"``, ``"sqrt"`` or ``"log"``.
    limits
        Counts of the first and last colour; percentiles by default.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        `image` is no single image, or `mask` has another shape.
    ValueError
        Unknown scale, or limits that do not increase.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.detector_image(bl.open("CeO2.tif"), scale="log")  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d

    counts = image_counts(image)
    x0, x1, y0, y1 = view or whole_view(counts.shape, size)
    plot = blank(size, "x (pixel)", "y (pixel)", x_range=Range1d(x0, x1), y_range=Range1d(y0, y1))
    plot.grid.grid_line_color = None
    drawn = image_pixels(counts, view=(x0, x1, y0, y1), scale=scale, limits=limits, most=max(size))
    mapper = colour_mapper(signed=False)
    source = ColumnDataSource(data=image_columns(drawn), name="image_data")
    plot.image(image="image", x="x", y="y", dw="dw", dh="dh", source=source, color_mapper=mapper, name="image")
    tint = ColumnDataSource(data=mask_columns(mask, counts.shape, (x0, x1, y0, y1), max(size)), name="mask_data")
    colours = LinearColorMapper(palette=list(MASKED), low=0, high=1)
    plot.image(image="image", x="x", y="y", dw="dw", dh="dh", source=tint, color_mapper=colours, name="mask")
    lines, numbers = ring_columns(geometry, two_theta)
    _add_rings(plot, ColumnDataSource(data=lines, name="ring_data"), ColumnDataSource(data=numbers, name="number_data"))
    plot.add_layout(_bar(drawn, mapper), "right")
    return plot


def image_counts(image: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return the counts (y, x) as float32, NaN where the image itself says that there is no pixel.

    Raises
    ------
    DimensionError
        It is no single image.
    """
    given = image["intensity"] if isinstance(image, xr.Dataset) and "intensity" in image else image
    values = np.asarray(given)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise DimensionError(
            f"figures.detector_image needs one image (y, x) of numbers, got {values.dtype} {values.shape}; "
            "take one frame, frames.isel(frame=[0]), or their mean"
        )
    lost = np.isin(values, np.atleast_1d(image.attrs.get("overflow", []))) | ~np.isfinite(values)
    if values.dtype.kind == "i":
        lost |= values < 0  # a Pilatus marks gaps as -1, dead pixels as -2
    if isinstance(image, xr.Dataset) and "mask" in image:
        lost |= np.asarray(image["mask"]).reshape(-1, *values.shape).any(axis=0)
    return np.where(lost, np.nan, values).astype(np.float32)


def image_pixels(
    counts: np.ndarray,
    *,
    view: View,
    scale: str,
    limits: tuple[float, float] | None = None,
    most: int = MOST,
) -> MapImage:
    """Return the visible part of an image in at most `most` × `most` pixels of 8 bits, each the greatest of its block.

    Thin rings and single spots survive every reduction; 0 stands for what has no count.
    """
    rows, columns, block = _visible(counts.shape, view, most)
    pooled = _pooled(counts[rows, columns], block, np.fmax)
    low, high = limits or automatic_counts(counts)
    if scale == "log" and high <= 0:  # nothing here has a logarithm
        high = 1.0
    scaling = Scale(scale, float(low), float(high))
    return MapImage(
        scaling.levels(pooled),
        columns.start - 0.5,
        rows.start - 0.5,
        float(pooled.shape[1] * block),
        float(pooled.shape[0] * block),
        scaling,
    )


def automatic_counts(counts: np.ndarray) -> tuple[float, float]:
    """Return colour limits for an image: the 1st and the 99.7th percentile of its counts."""
    known = counts.ravel()[:: max(1, counts.size // 500_000)]
    known = known[np.isfinite(known)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, [1, 99.7]))
    return (low, high) if low < high else (low, low + max(abs(low), 1.0))


def mask_columns(mask: Any, shape: tuple[int, ...], view: View, most: int = MOST) -> dict[str, list[Any]]:
    """Return the visible part of a mask as columns of a Bokeh source; a block with one masked pixel is tinted.

    Raises
    ------
    DimensionError
        The mask has another shape than the image.
    """
    if mask is None:
        return {name: [] for name in ("image", "x", "y", "dw", "dh")}
    values = np.asarray(mask).astype(bool)
    if values.shape != tuple(shape):
        raise DimensionError(f"the mask is {values.shape} (y, x), the image {tuple(shape)}")
    rows, columns, block = _visible(values.shape, view, most)
    pooled = _pooled(values[rows, columns].astype(np.uint8), block, np.maximum)
    return {
        "image": [pooled],
        "x": [columns.start - 0.5],
        "y": [rows.start - 0.5],
        "dw": [pooled.shape[1] * block],
        "dh": [pooled.shape[0] * block],
    }


def ring_columns(
    geometry: Geometry | None, two_theta: Sequence[float] | np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return lines and numbers of rings as columns of two Bokeh sources; ring 1 is the innermost."""
    lines: dict[str, Any] = {"xs": [], "ys": []}
    numbers: dict[str, Any] = {"x": [], "y": [], "text": []}
    if geometry is None or geometry.shape is None or not len(two_theta):
        return lines, numbers
    from batlab.scattering.ring_lines import ring_lines

    rows, columns = geometry.shape
    inset = 0.02 * max(rows, columns)
    last = -np.inf
    close = np.degrees(0.02 * max(rows, columns) * geometry.pixel_size_x / geometry.distance)
    for number, (y, x) in enumerate(zip(*ring_lines(geometry, two_theta, step=0.5), strict=True), 1):
        seen = (y > inset) & (x > inset) & (y < rows - inset) & (x < columns - inset)
        if not seen.any():
            continue
        lines["xs"].append(x.astype(np.float32))
        lines["ys"].append(y.astype(np.float32))
        if two_theta[number - 1] - last < close:
            continue
        last = two_theta[number - 1]
        # Numbers walk round, so that those of close rings do not lie on each other.
        at = np.flatnonzero(seen)[int((0.11 * number % 1) * seen.sum())]
        numbers["x"].append(float(x[at]))
        numbers["y"].append(float(y[at]))
        numbers["text"].append(str(number))
    return lines, numbers


def whole_view(shape: Sequence[int], size: tuple[int, int]) -> View:
    """Return the ranges that show a whole image with square pixels in a frame of `size`."""
    rows, columns = shape[0], shape[1]
    step = max(columns / size[0], rows / size[1])
    middle = (columns - 1) / 2, (rows - 1) / 2
    half = step * size[0] / 2, step * size[1] / 2
    return middle[0] - half[0], middle[0] + half[0], middle[1] - half[1], middle[1] + half[1]


def _visible(shape: Sequence[int], view: View, most: int) -> tuple[slice, slice, int]:
    """Return rows, columns and the block that makes one pixel of the screen."""
    x0, x1, y0, y1 = view
    slices = []
    for n, low, high in ((shape[0], y0, y1), (shape[1], x0, x1)):
        first = min(max(int(np.floor(low + 0.5)), 0), n - 1)
        slices.append((first, min(max(int(np.ceil(high + 0.5)), first + 1), n)))
    block = max(1, *(-(-(last - first) // most) for first, last in slices))
    # Blocks stand still while the image is moved: else spots would flicker.
    return slice(slices[0][0] // block * block, slices[0][1]), slice(slices[1][0] // block * block, slices[1][1]), block


def _pooled(values: np.ndarray, block: int, greatest: Any) -> np.ndarray:
    if block == 1:
        return values
    for axis in (0, 1):
        values = greatest.reduceat(values, np.arange(0, values.shape[axis], block), axis=axis)
    return values


def _add_rings(plot: figure, lines: Any, numbers: Any) -> None:
    plot.multi_line("xs", "ys", source=lines, line_color=RING, line_width=1.0, line_alpha=0.7, name="rings")
    plot.text(
        "x", "y", "text", source=numbers, text_color="white", text_font_size="10px", text_align="center",
        text_baseline="middle", background_fill_color="#B3175F", background_fill_alpha=0.8, padding=1,
        name="ring_numbers",
    )  # fmt: skip


def _bar(image: MapImage, mapper: Any) -> ColorBar:
    from bokeh.models import ColorBar, FixedTicker

    levels, texts = bar_ticks(image)
    return ColorBar(
        color_mapper=mapper, ticker=FixedTicker(ticks=levels), title="counts",
        major_label_overrides=dict(zip(levels, texts, strict=True)), title_text_font_size="12px",
        title_text_font_style="normal", major_label_text_font_size="11px", label_standoff=4, width=10, padding=4,
        display_low=1, display_high=255, name="image_bar",
    )  # fmt: skip
