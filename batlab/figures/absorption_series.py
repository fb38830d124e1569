"""A series of absorption spectra: all of them as a map, and their edge energies beside the voltage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose, did_you_mean
from batlab.figures.absorption import AXES, CURVES
from batlab.figures.cycling import thinned
from batlab.figures.heat_map import heat_map
from batlab.figures.style import COLOURS, CURSOR, axis_label, blank, dress
from batlab.figures.track import TRACK_COLUMNS, add_hover, draw_track, one_number, rescaled, track_columns

if TYPE_CHECKING:
    from bokeh.plotting import figure

MAPS = {
    "mu": "μ as measured",
    "mu_flat": "normalised μ",
    "derivative": "dμ/dE (eV⁻¹)",
    "chi": "χ(k)",
    "chi_r_mag": "|χ(R)|",
}


def absorption_map(
    series: xr.Dataset,
    *,
    curve: str = "mu",
    frames: tuple[float, float] | None = None,
    axis_range: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    reference: int | None = None,
    cursor: int | None = None,
    size: tuple[int, int] = (600, 360),
) -> figure:
    """Draw a series of spectra as a map: frame upward, energy, k or R to the right, reduced to a screen's pixels.

    Parameters
    ----------
    series
        ``mu`` over (frame, energy), and what the steps of `xas` have added.
    curve
        ``"mu"``, ``"mu_flat"``, ``"derivative"``, ``"chi"`` or ``"chi_r_mag"``, as `absorption` draws them.
    frames, axis_range, limits, reference, cursor, size
        As `heat_map`.

    Raises
    ------
    DimensionError, ValueError
        What the curve needs is not there; as `map_image`.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.absorption_map(bl.xas.normalize(series), curve="mu_flat", reference=0)  # doctest: +SKIP
    """
    table = as_intensity(series, curve)
    plot = heat_map(
        table, frames=frames, axis_range=axis_range, limits=limits, reference=reference, cursor=cursor, size=size
    )
    plot.xaxis.axis_label = AXES[CURVES[curve].axis]
    plot.select_one({"name": "map_bar"}).title = map_title(curve, reference)
    plot.select_one({"name": "map_hover"}).tooltips = [
        ("frame", "$y{custom}"), (AXES[CURVES[curve].axis], "$x{0.00}"), (MAPS[curve], "@image{custom}"),
    ]  # fmt: skip
    return plot


def map_title(curve: str, reference: int | None) -> str:
    """Return what the colours mean."""
    return MAPS[curve] if reference is None else f"{MAPS[curve]} minus frame {reference}"


def as_intensity(series: xr.Dataset, curve: str) -> xr.Dataset:
    """Return a curve of every frame as ``intensity``, which maps are made of."""
    choose("curve", curve, MAPS)
    shown = CURVES[curve]
    name = "mu_flat" if curve == "mu_flat" and "mu_flat" in series else shown.needs
    if name not in series or series[name].dims != ("frame", shown.axis):
        raise DimensionError(
            f"figures.absorption_map needs {shown.needs!r} over ('frame', {shown.axis!r}) for curve={curve!r}, got "
            f"{sorted(map(str, series.data_vars))}; make it with {shown.step}"
        )
    if f"{shown.axis}_measured" in series.variables or shown.axis not in series.coords:
        raise DimensionError(
            f"figures.absorption_map needs one grid of {shown.axis!r} for all frames, got none; bring them onto one "
            "with xas.rebin"
        )
    values = series[name]
    if curve == "derivative":
        slope = np.gradient(np.asarray(values.values, dtype=float), np.asarray(series["energy"].values, float), axis=1)
        values = values.copy(data=slope)
    numbers = series["frame"] if "frame" in series.coords else np.arange(series.sizes["frame"])
    return xr.Dataset({"intensity": values.variable}, {"frame": numbers, shown.axis: series[shown.axis]})


def edge_trend(
    table: xr.Dataset,
    name: str = "e0",
    *,
    against: str = "frame",
    cursor: int | None = None,
    size: tuple[int, int] = (600, 200),
) -> figure:
    """Draw the edge energy, with the voltage on the right axis, against frame, time, voltage or another quantity.

    Parameters
    ----------
    table
        `name` over ``frame`` and, where known, its ``_sigma``; ``voltage`` [V], ``time``, ``capacity`` … over frame.
    name
        ``"e0"``, or another number a frame: ``"edge_step"``, ``"white_line_energy"`` …
    against
        ``"frame"``, ``"time"`` (hours since the first frame), or any number a frame; against ``"voltage"`` there is no
        axis on the right.
    cursor
        A frame to mark.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        A quantity is not there, or is not one number a frame.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.edge_trend(bl.xas.normalize(series), against="voltage")  # doctest: +SKIP
    """
    plot = blank(size, "", "", margins=(8, 62, 44, 74))
    sources = draw_trend(plot)
    fill_trend(plot, sources, table, name, against)
    mark_trend(sources, cursor)
    return plot


def draw_trend(plot: figure) -> dict[str, Any]:
    """Draw the empty lines of a trend and return their sources; `fill_trend` fills them."""
    from bokeh.models import ColumnDataSource, DataRange1d, LinearAxis, NumeralTickFormatter

    columns = {"data": TRACK_COLUMNS, "voltage": ("place", "value"), "cursor": ("place", "value")}
    sources = {
        part: ColumnDataSource(data={name: [] for name in names}, name=f"trend_{part}_source")
        for part, names in columns.items()
    }
    plot.extra_y_ranges = {"voltage": DataRange1d()}
    right = LinearAxis(
        y_range_name="voltage", axis_label="voltage (V)", axis_label_text_color=COLOURS[1], name="trend_right"
    )
    dress(right)
    plot.add_layout(right, "right")
    line = plot.line(
        "place", "value", source=sources["voltage"], y_range_name="voltage", line_color=COLOURS[1], line_width=1.2,
        line_alpha=0.8, name="trend_voltage_line",
    )  # fmt: skip
    plot.extra_y_ranges["voltage"].renderers = [line]
    draw_track(plot, sources["data"], upright=False)
    points = plot.select_one({"name": "track_points"})
    plot.y_range.renderers = [points]
    plot.x_range.renderers = [points]
    plot.yaxis[0].axis_label_text_color = COLOURS[0]
    plot.yaxis[0].formatter = NumeralTickFormatter(format="0.[000]")
    plot.scatter(
        "place", "value", source=sources["cursor"], size=10, fill_color=None, line_color=CURSOR, line_width=2.2,
        name="trend_cursor",
    )  # fmt: skip
    add_hover(plot, "value")
    return sources


def fill_trend(plot: figure, sources: dict[str, Any], table: xr.Dataset, name: str, against: str) -> None:
    """Bring numbers to a trend that `draw_trend` has drawn."""
    columns = trend_columns(table, name, against)
    sources["data"].data = columns
    has_right = against != "voltage" and "voltage" in table and table["voltage"].dims == ("frame",)
    voltage = np.asarray(table["voltage"].values, dtype=float) if has_right else np.zeros(0)
    keep = thinned(voltage) if has_right else np.zeros(0, dtype=int)
    sources["voltage"].data = {"place": columns["place"][keep], "value": voltage[keep]}
    plot.right[0].visible = has_right
    plot.yaxis[0].axis_label = axis_label(rescaled(one_number(table, name, None)))
    plot.xaxis.axis_label = trend_label(table, against)


def mark_trend(sources: dict[str, Any], cursor: int | None) -> None:
    """Ring the point of one frame."""
    columns = sources["data"].data
    at = np.flatnonzero(np.asarray(columns["frame"]) == cursor)[:1] if cursor is not None else np.zeros(0, dtype=int)
    sources["cursor"].data = {name: np.asarray(columns[name])[at] for name in ("place", "value")}


def trend_columns(table: xr.Dataset, name: str, against: str) -> dict[str, np.ndarray]:
    """Return a trend as columns of a Bokeh source."""
    if against == "time":
        if "time" not in table.variables:
            raise DimensionError(f"figures.edge_trend needs 'time', got {sorted(map(str, table.variables))}")
        columns = track_columns(table, name)
        since = table["time"].values - table["time"].values[0]
        columns["place"] = since / np.timedelta64(1, "h")
        return columns
    if against != "frame" and against not in table.variables:
        names = [str(one) for one in table.variables if table[one].dims == ("frame",)]
        raise DimensionError(
            f"figures.edge_trend has no {against!r} to draw against"
            + (did_you_mean(against, names) or f"; there are {names}")
        )
    return track_columns(table, name, against=against)


def trend_label(table: xr.Dataset, against: str) -> str:
    """Return what stands under a trend."""
    if against in ("frame", "time"):
        return {"frame": "frame", "time": "time since the first frame (h)"}[against]
    return axis_label(rescaled(one_number(table, against, None)))
