"""A cell's life and clock: what fades over its cycles, its voltage curves' derivatives, and how sure a lag is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, did_you_mean
from batlab.figures.style import COLOURS, CURSOR, axis_label, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure

DAY = np.timedelta64(1, "D")
MODELS_SHOWN = 2


def fade(
    table: xr.Dataset,
    fits: xr.Dataset | None = None,
    *,
    variable: str = "capacity_discharge",
    size: tuple[int, int] = (600, 260),
) -> figure:
    """Draw a number of each cycle as points, gaps in the record as bands, and the two models that fit best.

    No line joins points, and a model's line stops at every gap.

    Parameters
    ----------
    table
        From `echem.cycles`.
    fits
        From `echem.fade` of this table; decides whether cycles or days run to the right.
    variable
        What is drawn, over ``cycle``.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        The table has no such variable over ``cycle``.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.fade(cycles, bl.echem.fade(cycles, over="days"))  # doctest: +SKIP
    """
    if variable not in table or table[variable].dims != ("cycle",):
        known = [str(name) for name, data in table.data_vars.items() if data.dims == ("cycle",)]
        raise DimensionError(
            f"figures.fade needs {variable!r} over 'cycle', got {', '.join(known) or 'none'}"
            f"{did_you_mean(variable, known)}"
        )
    x, label = _places(table, fits)
    values = table[variable]
    plot = blank(size, label, axis_label(values), title="each cycle; grey: no record")
    after = table["is_after_gap"].values > 0 if "is_after_gap" in table else np.zeros(len(x), bool)
    _shade(plot, x, after)
    is_whole = _is_whole(table)
    for which, colour, told in ((is_whole, COLOURS[0], "cycle"), (~is_whole, COLOURS[5], "other, or cut")):
        if which.any():
            plot.scatter(x[which], values.values[which], size=5, color=colour, alpha=0.8, legend_label=told)
    if fits is not None:
        _lines(plot, x, np.cumsum(after), fits)
    plot.legend.location, plot.legend.background_fill_alpha = "bottom_left", 0.8
    plot.legend.label_text_font_size = "11px"
    return plot


def _places(table: xr.Dataset, fits: xr.Dataset | None) -> tuple[np.ndarray, str]:
    if fits is not None and fits.attrs.get("over") == "days":
        if "time" in table:
            return (table["time"].values - table["time"].values[0]) / DAY, "time since the first cycle (d)"
        return (table["test_time"].values - table["test_time"].values[0]) / 86400, "time since the first cycle (d)"
    return np.arange(1, table.sizes["cycle"] + 1, dtype=float), "cycle at hand"


def _is_whole(table: xr.Dataset) -> np.ndarray:
    if "kind" not in table:
        return np.ones(table.sizes["cycle"], bool)
    return table["kind"].values.astype(str) == "cycle"


def _shade(plot: figure, x: np.ndarray, after: np.ndarray) -> None:
    """Grey where cycles may be missing."""
    from bokeh.models import BoxAnnotation

    for place in np.flatnonzero(after[1:]) + 1:
        plot.add_layout(
            BoxAnnotation(left=x[place - 1], right=x[place], fill_color="#888888", fill_alpha=0.15, name="gap")
        )


def _lines(plot: figure, x: np.ndarray, part: np.ndarray, fits: xr.Dataset) -> None:
    """Draw the best models, piece by piece between gaps."""
    for number, model in enumerate(fits["model"].values[:MODELS_SHOWN]):
        curve = fits["fit"].sel(model=model).values
        style = {"line_color": COLOURS[1 + number], "line_width": 2, "line_dash": ("solid", "dashed")[number]}
        pieces = [np.flatnonzero((part == one) & np.isfinite(curve)) for one in np.unique(part)]
        plot.multi_line(
            [x[piece] for piece in pieces if len(piece)],
            [curve[piece] for piece in pieces if len(piece)],
            legend_label=f"{model}, weight {float(fits['weight'].sel(model=model)):.2f}",
            **style,
        )


def lag_profile(lag: Any, *, size: tuple[int, int] = (600, 220)) -> figure:
    """Draw the cost of a lag, with the limit of its 95 % interval, as `align.estimate_lag` found it.

    Parameters
    ----------
    lag
        The result of `align.estimate_lag`.
    size
        Width and height inside the axes, in pixels.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.lag_profile(bl.align.estimate_lag(edge, cell, signal="e0"))  # doctest: +SKIP
    """
    from bokeh.models import BoxAnnotation, Range1d, Span

    x, cost = lag.dataset["lag"].values, lag.dataset["cost"].values
    low, high = lag.interval
    plot = blank(
        size, "lag (s)", "Δχ²", title=f"lag {lag.lag:.1f} ± {lag.sigma:.1f} s; 95 %: {low:.1f} to {high:.1f} s"
    )
    plot.line(x, cost, line_color=COLOURS[0], line_width=2, name="cost")
    plot.add_layout(BoxAnnotation(left=low, right=high, fill_color=COLOURS[2], fill_alpha=0.15, name="interval"))
    plot.add_layout(Span(location=3.84, dimension="width", line_color="#666666", line_dash="dashed"))
    plot.add_layout(Span(location=lag.lag, dimension="height", line_color=CURSOR, line_width=1.5, name="lag"))
    width = max(6 * lag.sigma, 1.2 * (high - low))
    near = np.abs(x - lag.lag) <= width
    plot.x_range = Range1d(lag.lag - width, lag.lag + width)
    plot.y_range = Range1d(0, float(np.nanmax(cost[near], initial=8.0)) * 1.05)
    return plot


def derivative(curves: xr.Dataset, *, size: tuple[int, int] = (600, 260)) -> figure:
    """Draw dQ/dV over voltage, or dV/dQ over charge, a line a cycle, dark to light from first to last.

    Parameters
    ----------
    curves
        From `echem.dqdv` or `echem.dvdq`.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        It holds neither.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.derivative(bl.echem.dqdv(cell, cycle=[2, 100]))  # doctest: +SKIP
    """
    from bokeh.palettes import viridis

    names = [name for name in ("dqdv", "dvdq") if name in curves]
    if not names:
        raise DimensionError(f"figures.derivative needs 'dqdv' or 'dvdq', got {', '.join(map(str, curves.data_vars))}")
    data = curves[names[0]].transpose("cycle", ...)
    axis = str(data.dims[1])
    plot = blank(size, axis_label(curves[axis]), axis_label(data), title="dark: first, light: last")
    colours = viridis(max(data.sizes["cycle"] + 1, 3))
    for number in range(data.sizes["cycle"]):
        cycle = curves["cycle"].values[number]
        plot.line(
            curves[axis].values, data.values[number], line_color=colours[number], line_width=1.6,
            legend_label=f"cycle {cycle:g}",
        )  # fmt: skip
    plot.legend.label_text_font_size, plot.legend.visible = "11px", data.sizes["cycle"] <= 8
    return plot
