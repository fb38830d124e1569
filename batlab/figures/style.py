"""How every figure looks: fonts, colours, margins, and what stands on an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from bokeh.models import Axis
    from bokeh.plotting import figure

# Okabe and Ito (2008), without yellow and black: eight kinds of colour vision tell them apart on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5F4690", "#8C6D31")
CURSOR = "#E4003A"
SELECTION = "#FFFFFF"
MISSING = "#D9D9D9"
TEXT = "#222222"
FAINT = "#8A8A8A"

SYMBOLS = {
    "two_theta": "2θ",
    "q": "q",
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "a": "a",
    "b": "b",
    "c": "c",
    "eta": "η",
    "fwhm": "width",
    "chi2_reduced": "reduced χ²",
    "intensity": "intensity",
    "voltage": "voltage",
    "current": "current",
    "capacity": "capacity",
    "charge_passed": "charge passed",
}
UNIT_SIGNS = {
    "1": "",
    "count": "counts",
    "degree": "°",
    "angstrom": "Å",
    "1/angstrom": "Å⁻¹",
    "1/angstrom^2": "Å⁻²",
    "1/angstrom^3": "Å⁻³",
    "angstrom^2": "Å²",
    "angstrom^3": "Å³",
    "celsius": "°C",
}


def phase_colour(phase: str | int, phases: Sequence[str] = ()) -> str:
    """Return the colour of a phase, the same in every figure: by its place in `phases`, or by a number.

    Raises
    ------
    ValueError
        The phase is not in `phases`.

    Examples
    --------
    >>> phase_colour("Al", ["LiCoVO4", "Al"])
    '#D55E00'
    """
    if isinstance(phase, str):
        if phase not in phases:
            raise ValueError(f"phase must be one of {list(phases)}, got {phase!r}")
        phase = list(phases).index(phase)
    return COLOURS[phase % len(COLOURS)]


def unit_sign(units: str) -> str:
    """Return a unit as it stands on an axis.

    >>> unit_sign("1/angstrom")
    'Å⁻¹'
    """
    return UNIT_SIGNS.get(units, units)


def axis_label(variable: xr.DataArray) -> str:
    """Return symbol or name of a quantity and its unit, as it stands on an axis.

    >>> axis_label(xr.DataArray([1.0], dims="q", name="q", attrs={"units": "1/angstrom", "long_name": "q"}))
    'q (Å⁻¹)'
    """
    name = str(variable.name)
    words = SYMBOLS.get(name) or str(variable.attrs.get("long_name") or name).replace("_", " ")
    sign = unit_sign(str(variable.attrs.get("units", "1"))) or ("arb. u." if name == "intensity" else "")
    return f"{words} ({sign})" if sign else words


def readable(variable: xr.DataArray) -> tuple[float, str]:
    """Return the factor and the unit that make a current, charge or energy readable: 2e-5 A is 20 µA.

    >>> readable(xr.DataArray([2e-5], dims="frame", name="current", attrs={"units": "A"}))
    (1000000.0, 'µA')
    """
    units = str(variable.attrs.get("units", "1"))
    if units not in ("A", "Ah", "Wh"):
        return 1.0, units
    values = np.abs(np.asarray(variable.values, dtype=float))
    largest = float(values[np.isfinite(values)].max(initial=0.0))
    prefixes = ((1e9, "n"), (1e6, "µ"), (1e3, "m"), (1.0, ""))
    return next(
        ((factor, sign + units) for factor, sign in reversed(prefixes) if largest * factor >= 0.5 or largest == 0),
        (1e9, f"n{units}"),
    )


def blank(
    size: tuple[int, int],
    x_label: str,
    y_label: str,
    *,
    margins: tuple[int, int, int, int] = (26, 12, 44, 66),
    **more: Any,
) -> figure:
    """Return an empty figure whose frame (the part inside the axes) measures `size` in pixels.

    `margins` are top, right, bottom and left: linked panels share them, so that their cursors line up. The top has
    room for a title, because Bokeh clips figures in a row whose tops differ.
    """
    from bokeh.models import BasicTicker
    from bokeh.plotting import figure

    top, right, bottom, left = margins
    plot = figure(
        frame_width=size[0],
        frame_height=size[1],
        min_border_top=top,
        min_border_right=right,
        min_border_bottom=bottom,
        min_border_left=left,
        **{"tools": "", "toolbar_location": None, **more},
    )
    plot.xaxis.axis_label, plot.yaxis.axis_label = x_label, y_label
    for axis, room in ((plot.xaxis[0], size[0] // 45), (plot.yaxis[0], size[1] // 30)):
        if isinstance(axis.ticker, BasicTicker):
            axis.ticker.desired_num_ticks = min(max(room, 3), 7)
    plot.axis.axis_label_text_color = TEXT
    dress(*plot.axis)
    plot.outline_line_color = "#666666"
    plot.grid.grid_line_color = "#E8E8E8"
    plot.title.text_font_size, plot.title.text_color = "13px", TEXT
    plot.title.text_font_style = "normal"
    return plot


def dress(*axes: Axis) -> None:
    """Give axes the fonts and lines of every figure."""
    for axis in axes:
        axis.axis_label_text_font_size, axis.axis_label_text_font_style = "13px", "normal"
        axis.axis_label_standoff = 4
        axis.major_label_text_color = TEXT
        axis.major_label_text_font_size = "12px"
        axis.axis_line_color = axis.major_tick_line_color = "#666666"
        axis.minor_tick_line_color = None
        axis.major_tick_in = 0


def set_ticks(axis: Axis, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Put ticks at `positions` that read `labels`; both travel as plain numbers and text."""
    from bokeh.models import FixedTicker

    axis.major_label_overrides = dict(zip(map(float, positions), labels, strict=True))
    axis.ticker = FixedTicker(ticks=[float(position) for position in positions])
