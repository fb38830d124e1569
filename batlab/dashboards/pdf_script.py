"""The lines of Python that reproduce what the total-scattering dashboard shows."""

from __future__ import annotations

from typing import Any

from batlab.dashboards.pdf_data import Scattering
from batlab.dashboards.pdf_state import PDFState
from batlab.dashboards.pdf_steps import Applied, Measured, Settings, bond_of
from batlab.dashboards.script import _keywords, _rounded, _told
from batlab.dashboards.xanes_steps import Done

SHELL_SIZE = (370, 192)  # of G(r)
MAP_SIZE = (SHELL_SIZE[0], 214)  # below it
PANEL_SIZE = (56, MAP_SIZE[1])
CURVE_SIZE = (304, 98)
TREND_SIZE = (280, 92)
TUNING_SIZE = (300, 72)


def pdf_script(
    data: Scattering,
    state: PDFState,
    names: dict[str, str],
    *,
    settings: Settings,
    shown: Done,
    applied: Applied | None,
    measured: Measured | None,
    marks: bool,
    tuned: Settings | None,
) -> str:
    """Return a script: the series as it was computed, the pattern under the cursor, bonds, tries, figures.

    `shown` is the pattern on the screen, made with `settings`; `applied` the series, None before there is one;
    `measured` the bond in it; `tuned` the settings with which knobs were tried.
    """
    series = names.get("series", "series")
    lines = ["from bokeh.layouts import column, row", "", "import batlab as bl", "", *_told(data.given, series)]
    given = series + (".expand_dims(frame=[0])" if data.is_single else "")
    lines.append(f"patterns = {given}" if data.is_patterns else f"done = {given}")
    if data.is_patterns:
        lines += _reduction(data, state, names, settings, shown, applied)
    lines += _bonds(data, measured)
    lines += _figures(data, state, names, shown, applied)
    lines += _map(data, state)
    if marks:
        curve = state.curve
        table = "patterns" if curve == "intensity" else f"done[[{curve!r}]].rename({curve}='intensity')"
        found = f"{names.get('store', 'store')}.marks({series})"
        lines.append(f"marks = [mark for mark in {found} if mark.axis in (None, {state.axis!r})]")
        lines.append(f"bl.figures.add_marks(heat, {table}, marks)")
    more = []
    if measured is not None:
        trend = {"against": state.against, "cursor": state.frame, "size": TREND_SIZE}
        lines.append(f"trend = bl.figures.edge_trend(lengths, 'position', {_keywords(trend)})")
        more.append("trend")
    if tuned is not None:
        lines += _tries(data, state, names, tuned)
        more.append("tries")
    lines += [f"screen = column(*curves, row(heat{''.join(f', {one}' for one in more)}))",
              "bl.dashboards.show(screen)"]  # fmt: skip
    if state.region:
        first, last, low, high = state.region
        table = "patterns" if state.axis == "q" else "done"
        part = f"frame=slice({first}, {last}), {state.axis}=slice({_rounded(low)!r}, {_rounded(high)!r})"
        lines.append(f"region = {table}.sel({part})")
    return "\n".join(lines) + "\n"


def keywords_of(data: Scattering, names: dict[str, str], settings: Settings, under: str = "") -> str:
    """Return the keywords of a reduction as they stand in a call."""
    told = [] if data.background is None else [f"background={names.get('background', 'background')}{under}"]
    mode = {} if data.mode == "xray" else {"mode": data.mode}
    return ", ".join([*told, _keywords({**mode, **settings, "rmax": data.rmax})])


def _reduction(
    data: Scattering, state: PDFState, names: dict[str, str], settings: Settings, shown: Done, applied: Applied | None
) -> list[str]:
    lines, made = [], f"{data.composition!r}"
    if applied is not None and applied.settings is not None:
        lines.append(f"done = bl.pdf.g_of_r(patterns, {made}, {keywords_of(data, names, applied.settings)})")
    if applied is not None and applied.settings == settings:
        return [*lines, f"one = done.sel(frame=[{state.frame}])"]
    if shown.dataset is None:
        return [*lines, *(f"# no G(r): {line}" for line in shown.problem.splitlines())]
    call = f"bl.pdf.g_of_r(patterns.sel(frame=[{state.frame}]), {made}, "
    # σ of G(r) takes a while, and so comes with the series.
    rest = ".drop_vars('g_r_sigma')" if "intensity_sigma" in data.series else ""
    return [*lines, f"one = {call}{keywords_of(data, names, settings, _under(data, state.frame))}){rest}"]


def _under(data: Scattering, frame: int) -> str:
    """Return what chooses the background of one frame."""
    if data.background is None or data.background.sizes.get("frame", 1) < 2:
        return ""
    return f".isel(frame=[{int(data.numbers.searchsorted(frame))}])"


def _bonds(data: Scattering, measured: Measured | None) -> list[str]:
    if measured is None:
        return []
    told = {"composition": data.composition, "mode": data.mode} if measured.bond else {}
    asked = {name: tuple(map(_rounded, ends)) for name, ends in bond_of(measured.ruler, measured.bond).items()}
    call = f"bl.pdf.bonds(done, {asked!r}{', ' + _keywords(told) if told else ''})"
    return [f"lengths = {call}.isel(peak=0, drop=True)"]


def _figures(
    data: Scattering, state: PDFState, names: dict[str, str], shown: Done, applied: Applied | None
) -> list[str]:
    """Return the lines that draw the pattern under the cursor."""
    calls, q_look = [], {"axis_range": tuple(map(_rounded, state.q_range)), "size": CURVE_SIZE}
    if data.is_patterns:
        beside = ""
        if data.background is not None:
            under = f"{names.get('background', 'background')}{_under(data, state.frame)}['intensity'].squeeze()"
            beside = f"beside={state.bgscale!r} * {under}, "
        calls.append(f"bl.figures.total_scattering(patterns, {state.frame}, curve='intensity', {beside}"
                     f"{_keywords(q_look)}),")  # fmt: skip
    if shown.dataset is not None:
        r_look = {"axis_range": tuple(map(_rounded, state.r_range)), "ruler": tuple(map(_rounded, state.ruler)),
                  "size": SHELL_SIZE}  # fmt: skip
        table = "one" if data.is_patterns else "done"
        beside = ""
        if has_reference(state, applied):
            beside = f"beside=done['g_r'].sel(frame={state.reference}), "
        if data.is_patterns:
            calls.append(f"bl.figures.total_scattering({table}, {state.frame}, curve='f_q', {_keywords(q_look)}),")
        calls.append(f"bl.figures.total_scattering({table}, {state.frame}, curve='g_r', {beside}{_keywords(r_look)}),")
    return ["curves = [", *(f"    {call}" for call in calls), "]"]


def has_reference(state: PDFState, applied: Applied | None) -> bool:
    """Whether the G(r) of the frame that the map subtracts stands beside that of the cursor."""
    return state.reference is not None and state.curve == "g_r" and applied is not None


def _map(data: Scattering, state: PDFState) -> list[str]:
    table = "patterns" if state.curve == "intensity" else "done"
    whole = data.whole[0]
    look = {
        "frames": None if state.frames == whole else tuple(map(_rounded, state.frames)),
        "axis_range": tuple(map(_rounded, state.axis_range)), "reference": state.reference, "cursor": state.frame,
        "size": MAP_SIZE,
    }  # fmt: skip
    return [f"heat = bl.figures.total_scattering_map({table}, curve={state.curve!r}, {_keywords(look)})"]


def _tries(data: Scattering, state: PDFState, names: dict[str, str], tuned: Settings) -> list[str]:
    frame: Any = tuned["frame"]
    settings = {key: value for key, value in tuned.items() if key != "frame"}
    call = f"bl.pdf.tune(patterns.sel(frame=[{frame}]), {data.composition!r}, "
    look = {"cursor": getattr(state, state.knob), "size": TUNING_SIZE}
    return [
        f"tried = {call}{keywords_of(data, names, settings, _under(data, frame))})",
        f"tries = bl.figures.tuning(tried, {state.knob!r}, {state.merit!r}, {_keywords(look)})",
    ]
