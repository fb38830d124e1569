"""The lines of Python that reproduce what the absorption dashboard shows."""

from __future__ import annotations

from typing import Any

from batlab.dashboards.script import _keywords, _rounded, _told
from batlab.dashboards.xanes_data import Spectra
from batlab.dashboards.xanes_state import XANESState
from batlab.dashboards.xanes_steps import Applied, Done, Settings

RAW_SIZE = (500, 200)
MAP_SIZE = (232, 232)
CURVE_SIZE = (180, 118)
PANEL_SIZE = (80, MAP_SIZE[1])
TREND_SIZE = (340, 92)


def xanes_script(
    data: Spectra,
    state: XANESState,
    names: dict[str, str],
    *,
    settings: Settings,
    shown: Done,
    applied: Applied | None,
    has_marks: bool,
) -> str:
    """Return a script: the whole series as it was computed, the spectrum under the cursor, the figures.

    `shown` is the spectrum on the screen, made with `settings`; `applied` the series, None before there is one.
    """
    series = names.get("series", "series")
    lines = ["from bokeh.layouts import column, row", "", "import batlab as bl", "", *_told(data.given, series)]
    given = series + (".expand_dims(frame=[0])" if data.is_single else "")
    stale = sorted({"k", "r"} & set(map(str, data.given.dims)))
    lines.append(f"spectra = {given}" + (f".drop_dims({stale!r})" if stale else ""))
    if applied is not None:
        lines += _steps("done", "spectra", applied.settings, applied.done)
    if applied is not None and applied.settings == settings:
        lines.append(f"scan = done.sel(frame=[{state.frame}])")
    else:
        lines += _steps("scan", f"spectra.sel(frame=[{state.frame}])", settings, shown)
    lines += _figures(state, settings, shown)
    whole, curve = ("spectra", "mu") if applied is None else ("done", state.curve)
    lines.append(f"heat = bl.figures.absorption_map({whole}, curve={curve!r}, {_keywords(_map_look(data, state))})")
    if has_marks:
        marks = f"{names.get('store', 'store')}.marks({series})"
        lines.append(f"bl.figures.add_marks(heat, spectra.rename(mu='intensity'), {marks})")
    if applied is not None:
        trend = {"against": state.against, "cursor": state.frame, "size": TREND_SIZE}
        lines.append(f"trend = bl.figures.edge_trend(done, {_keywords(trend)})")
    rows = "row(heat, trend)" if applied is not None else "heat"
    lines += [f"screen = column(*curves, {rows})", "bl.dashboards.show(screen)"]
    if state.region:
        first, last, low, high = state.region
        part = f"frame=slice({first}, {last}), energy=slice({_rounded(low)!r}, {_rounded(high)!r})"
        lines.append(f"region = spectra.sel({part})")
    return "\n".join(lines) + "\n"


def _steps(result: str, start: str, settings: Settings, done: Done) -> list[str]:
    """Return the calls of one chain, as far as it went."""
    if done.dataset is None:
        return [f"{result} = {start}", *(f"# not normalised: {line}" for line in done.problem.splitlines())]
    lines = [f"{result} = bl.xas.normalize({start}, {_keywords(settings['normalize'])})"]
    for step, made in (("remove_background", "chi"), ("fourier_transform", "chi_r_mag")):
        if done.has(made):
            lines.append(f"{result} = bl.xas.{step}({result}, {_keywords(settings[step])})")
    return lines + [f"# no further: {line}" for line in done.problem.splitlines()]


def _figures(state: XANESState, settings: Settings, shown: Done) -> list[str]:
    """Return the lines that draw the spectrum under the cursor."""
    near = {"axis_range": tuple(map(_rounded, state.axis_range)), "size": CURVE_SIZE}
    wanted: list[tuple[str, dict[str, Any]]] = [("mu", {"size": RAW_SIZE})]
    if shown.dataset is not None:
        wanted += [("mu_flat", near), ("derivative", near)]
    if shown.has("chi"):
        wanted.append(("chi", {"kweight": settings["remove_background"]["kweight"], "size": CURVE_SIZE}))
    if shown.has("chi_r_mag"):
        wanted.append(("chi_r_mag", {"size": CURVE_SIZE}))
    calls = [f"    bl.figures.absorption(scan, curve={curve!r}, {_keywords(look)})," for curve, look in wanted]
    return ["curves = [", *calls, "]"]


def _map_look(data: Spectra, state: XANESState) -> dict[str, Any]:
    """Return how the map is drawn; what it does by itself is left out."""
    frames, points = (
        None if shown == whole else tuple(map(_rounded, shown))
        for shown, whole in zip((state.frames, state.axis_range), data.whole, strict=True)
    )
    return {
        "frames": frames, "axis_range": points, "reference": state.reference, "cursor": state.frame, "size": MAP_SIZE,
    }  # fmt: skip
