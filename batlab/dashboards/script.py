"""The lines of Python that reproduce what a dashboard shows."""

from __future__ import annotations

import xarray as xr

from batlab.dashboards.measurement import Measurement
from batlab.dashboards.state import State
from batlab.schema import identity

MAP_SIZE = (400, 270)
PANEL_SIZE = (118, MAP_SIZE[1])
PATTERN_SIZE = (MAP_SIZE[0], 130)


def script(measurement: Measurement, state: State, names: dict[str, str], *, has_marks: bool) -> str:
    """Return a script that draws the screen from ``series``, ``tracks`` and ``store``.

    `names` tells what these three are called where the user works, if known.
    """
    series = names.get("series", "series")
    lines = ["from bokeh.layouts import column, row", "", "import batlab as bl", "", *_told(measurement.given, series)]
    places = f"scale={state.scale!r}, reference={state.reference!r}"
    lines += [
        f"heat = bl.figures.heat_map({series}, frames={state.frames!r}, axis_range={state.axis_range!r}, {places},",
        f"                           limits={state.limits!r}, cursor={state.frame!r}, size={MAP_SIZE!r})",
    ]
    if has_marks:
        store = names.get("store", "store")
        lines.append(f"bl.figures.add_marks(heat, {series}, {store}.marks({series}))")
    lines += [
        f"line = bl.figures.pattern({series}, {state.frame!r}, axis_range={state.axis_range!r}, {places},",
        f"                          size={PATTERN_SIZE!r})",
        "panels = [",
    ]
    for label in state.panels:
        quantity = measurement.choices[label]
        table = quantity.expression.replace("tracks", names.get("tracks", "tracks"))
        table = series if table == "series" else table
        peak = "" if quantity.peak is None else f"peak={quantity.peak!r}, "
        where = f"frame_axis='y', frames={state.frames!r}, cursor={state.frame!r}, size={PANEL_SIZE!r}"
        lines.append(f"    bl.figures.track({table}, {quantity.name!r}, {peak}{where}),")
    lines += ["]", "screen = column(row(heat, *panels), line)"]
    if state.region:
        first, last, low, high = state.region
        part = f"frame=slice({first}, {last}), {measurement.axis}=slice({low!r}, {high!r})"
        lines.append(f"region = {series}.sel({part})")
    return "\n".join(lines) + "\n"


def _told(series: xr.Dataset, name: str) -> list[str]:
    """Return comments that say which data `name` holds and how they were made."""
    source = str(series.attrs.get("source", "")).replace("\n", " ")
    told = [f"# {name}: {source or 'data'}, identity {identity(series)[:12]}"]
    return told + [f"#   {line}" for line in str(series.attrs.get("history", "")).splitlines()]


def names_in_use(**objects: object) -> dict[str, str]:
    """Return what `objects` are called in the notebook, where they have a public name there."""
    try:
        from IPython import get_ipython
    except ImportError:
        return {}
    shell = get_ipython()
    if shell is None:
        return {}
    found = {}
    for role, wanted in objects.items():
        for name, value in shell.user_ns.items():
            if wanted is not None and value is wanted and not name.startswith("_"):
                found[role] = name
                break
    return found
