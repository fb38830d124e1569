"""The lines of Python that reproduce what a dashboard shows."""

from __future__ import annotations

from typing import Any

import xarray as xr

from batlab.dashboards.measurement import Measurement
from batlab.dashboards.state import State
from batlab.schema import identity

MAP_SIZE = (400, 270)
PANEL_SIZE = (118, MAP_SIZE[1])
SCRIPT_PANEL_SIZE = (96, MAP_SIZE[1])  # narrower: each has a frame axis of its own, and all must fit a notebook
PATTERN_SIZE = (MAP_SIZE[0], 130)


def script(measurement: Measurement, state: State, names: dict[str, str], *, has_marks: bool) -> str:
    """Return a script that draws the screen from ``series``, ``tracks`` and ``store``.

    `names` tells what these are called where the user works, if known; the members of a list of tracks too
    (``"tracks[0]"``). What a figure does by itself is left out.
    """
    series = names.get("series", "series")
    frames, points = (
        None if shown == whole else tuple(map(_rounded, shown))
        for shown, whole in zip((state.frames, state.axis_range), measurement.whole, strict=True)
    )
    look = {"axis_range": points, "scale": state.scale, "reference": state.reference}
    upright = {"frame_axis": "y", "frames": frames, "cursor": state.frame, "size": SCRIPT_PANEL_SIZE}
    heat = {**look, "frames": frames, "limits": state.limits, "cursor": state.frame, "size": MAP_SIZE}
    lines = ["from bokeh.layouts import column, row", "", "import batlab as bl", "", *_told(measurement.given, series)]
    lines.append(f"heat = bl.figures.heat_map({series}, {_keywords(heat)})")
    if has_marks:
        store = names.get("store", "store")
        lines.append(f"bl.figures.add_marks(heat, {series}, {store}.marks({series}))")
    lines += [f"line = bl.figures.pattern({series}, {state.frame!r}, {_keywords({**look, 'size': PATTERN_SIZE})})"]
    lines.append("panels = [")
    for label in state.panels:
        quantity = measurement.choices[label]
        table = names.get(quantity.expression) or _member(quantity.expression, names)
        lines.append(
            f"    bl.figures.track({table}, {quantity.name!r}, {_keywords({'peak': quantity.peak, **upright})}),"
        )
    lines += ["]", "screen = column(row(heat, *panels), line)", "bl.dashboards.show(screen)"]
    if state.region:
        first, last, low, high = state.region
        part = f"frame=slice({first}, {last}), {measurement.axis}=slice({_rounded(low)!r}, {_rounded(high)!r})"
        lines.append(f"region = {series}.sel({part})")
    return "\n".join(lines) + "\n"


def _keywords(given: dict[str, Any]) -> str:
    """Return keyword arguments as they stand in a call; None is what the figures take by themselves."""
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)


def _rounded(value: float) -> float:
    """Return a number without the digits that nobody can see: a millionth of a map's width is far below a pixel."""
    return float(f"{value:.7g}")


def _member(expression: str, names: dict[str, str]) -> str:
    """Return a table's expression with the user's name for the list that holds it."""
    role, bracket, rest = expression.partition("[")
    return names.get(role, role) + bracket + rest


def _told(series: xr.Dataset, name: str) -> list[str]:
    """Return comments that say which data `name` holds and how they were made."""
    source = str(series.attrs.get("source", "")).replace("\n", " ")
    told = [f"# {name}: {source or 'data'}, identity {identity(series)[:12]}"]
    return told + [f"#   {line}" for line in str(series.attrs.get("history", "")).splitlines()]


def names_in_use(objects: dict[str, object]) -> dict[str, str]:
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
