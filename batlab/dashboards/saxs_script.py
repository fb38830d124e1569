"""The lines of Python that reproduce what the small-angle dashboard shows."""

from __future__ import annotations

from typing import Any

from batlab.dashboards.saxs_data import SmallAngles
from batlab.dashboards.saxs_state import TRENDS, SAXSState
from batlab.dashboards.saxs_steps import FUNCTIONS, Applied, Done, Settings
from batlab.dashboards.script import _keywords, _rounded, _told

RAW_SIZE = (470, 178)
MAP_SIZE = (220, 220)
CURVE_SIZE = (180, 104)
SIZES_SIZE = (438, 104)
PANEL_SIZE = (80, MAP_SIZE[1])
TREND_SIZE = (340, 88)


def saxs_script(
    data: SmallAngles,
    state: SAXSState,
    names: dict[str, str],
    *,
    settings: Settings,
    shown: dict[str, Done],
    applied: Applied | None,
    has_marks: bool,
) -> str:
    """Return a script: the whole series as it was computed, the pattern under the cursor, the figures.

    `shown` is what was found in the pattern on the screen with `settings`; `applied` the series, None before.
    """
    series = names.get("series", "series")
    lines = ["from bokeh.layouts import column, row", "", "import batlab as bl", "", *_told(data.given, series)]
    lines.append(f"patterns = {series}" + (".expand_dims(frame=[0])" if data.is_single else ""))
    for step, done in ({} if applied is None else applied.done).items():
        assert applied is not None
        lines += _call(f"all_{step}", "patterns", step, applied.settings, done)
    for step, done in shown.items():
        is_known = applied is not None and applied.settings[step] == settings[step]
        if is_known and done.dataset is not None:
            lines.append(f"{step} = all_{step}.sel(frame=[{state.frame}])")
        else:
            lines += _call(step, f"patterns.sel(frame=[{state.frame}])", step, settings, done)
    lines += _figures(state, shown)
    is_sizes = state.curve == "sizes"
    look = _keywords(_map_look(data, state))
    lines.append(f"heat = bl.figures.small_angle_map({'all_sizes' if is_sizes else 'patterns'}, {look})")
    if has_marks and not is_sizes:
        marks = f"{names.get('store', 'store')}.marks({series})"
        lines.append(f"bl.figures.add_marks(heat, patterns, {marks})")
    rows = "heat"
    table = None if applied is None else applied.done[TRENDS[state.trend]].dataset
    if table is not None and state.trend in table:
        trend = _keywords({"against": state.against, "cursor": state.frame, "size": TREND_SIZE})
        lines.append(f"trend = bl.figures.edge_trend(all_{TRENDS[state.trend]}, {state.trend!r}, {trend})")
        rows = "row(heat, trend)"
    lines += [f"screen = column(*curves, {rows})", "bl.dashboards.show(screen)"]
    if state.region:
        first, last, low, high = state.region
        part = f"frame=slice({first}, {last}), q=slice({_rounded(low)!r}, {_rounded(high)!r})"
        lines.append(f"region = patterns.sel({part})")
    return "\n".join(lines) + "\n"


def _call(result: str, start: str, step: str, settings: Settings, done: Done) -> list[str]:
    """Return the call of one step, or why there is none."""
    if done.dataset is None:
        return [f"# no {result}: {line}" for line in done.problem.splitlines()]
    given = ", ".join(filter(None, (start, _keywords(settings[step]))))
    return [f"{result} = bl.saxs.{FUNCTIONS[step]}({given})"]


def _figures(state: SAXSState, shown: dict[str, Done]) -> list[str]:
    """Return the lines that draw the pattern under the cursor."""
    there = [step for step in ("guinier", "porod", "sizes") if step in shown and shown[step].dataset is not None]
    found = "".join(f", {step}={step}" for step in there)
    windows = {"guinier": state.guinier, "porod": state.porod, "sizes": state.sizes}
    known = {name: ends for name, ends in windows.items() if ends is not None}
    start = f"    bl.figures.small_angles(patterns, {state.frame}"
    lines = ["curves = ["]
    for curve in ("loglog", *there):
        size = RAW_SIZE if curve == "loglog" else SIZES_SIZE if curve == "sizes" else CURVE_SIZE
        lines.append(f"{start}, curve={curve!r}{found}, windows={known!r}, size={size}),")
    return [*lines, "]"]


def _map_look(data: SmallAngles, state: SAXSState) -> dict[str, Any]:
    """Return how the map is drawn; what it does by itself is left out."""
    is_sizes = state.curve == "sizes"
    visible = state.size_range if is_sizes else state.axis_range
    frames, points = (
        None if shown == whole else tuple(map(_rounded, shown))
        for shown, whole in zip((state.frames, visible), data.whole, strict=True)
    )
    return {
        "curve": state.curve, "frames": frames, "axis_range": points, "reference": state.reference,
        "cursor": state.frame, "size": MAP_SIZE,
    }  # fmt: skip
