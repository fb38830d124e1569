"""The lines of Python that reproduce what the component dashboard shows."""

from __future__ import annotations

from typing import Any

import xarray as xr

from batlab.dashboards.component_data import ComponentData
from batlab.dashboards.component_fit import Fit
from batlab.dashboards.component_state import ComponentState
from batlab.dashboards.script import _keywords, _told

PROFILE_SIZE = (390, 150)
STRIP_SIZE = (390, 66)
RANK_SIZE = (150, 96)


def component_script(
    data: ComponentData,
    state: ComponentState,
    names: dict[str, str],
    *,
    fit: Fit,
    bands: dict[str, Any] | None,
    has_marks: bool,
) -> str:
    """Return a script: rank, the fits from which spectra were frozen, the fit on the screen, its bands, figures.

    `bands` are the options with which they were computed, None where they were not.
    """
    series = names.get("series", "series")
    of = {"of": data.of}
    lines = ["from bokeh.layouts import column", "", "import batlab as bl", ""]
    lines += _told(
        data.given.to_dataset(name=data.name) if isinstance(data.given, xr.DataArray) else data.given, series
    )
    lines += [f"rank = bl.decompose.rank({_call(series, of)})", "print(rank)"]
    sources = fit.sources()
    called = {source: f"step_{number}" for number, source in enumerate(sources, 1)} | {fit: "found"}
    for one in (*sources, fit):
        lines += _fit(one, series, data.of, called)
    if bands is not None:
        lines.append(f"found = bl.decompose.bands({_call('found', bands)})")
    lines.append("print(found)")
    table = series if isinstance(data.given, xr.DataArray) else f"{series}[{data.name!r}]"
    lines.append('fitted = found.dataset["concentration"].dot(found.dataset["spectra"], dim="component")')
    pick = f"sel(frame={state.frame})"
    if "frame" not in data.given.coords:
        pick = f"isel(frame={state.frame})"
    lines.append(f"residual = {table}.{pick} - fitted.{pick}")
    if has_marks:
        lines.append(f"marks = {names.get('store', 'store')}.marks({series})")
    lines += _figures(data, state, series)
    if state.region:
        first, last, low, high = state.region
        part = f"frame=slice({first}, {last}), {data.axis}=slice({low:.7g}, {high:.7g})"
        lines.append(f"region = {series}.sel({part})")
    return "\n".join(lines) + "\n"


def _fit(fit: Fit, series: str, of: str | None, called: dict[Fit, str]) -> list[str]:
    known = ", ".join(
        f'{number}: {called[source]}.dataset["spectra"].sel(component={number}, drop=True)'
        for number, source in fit.frozen
    )
    rules = [f"non_negative={fit.non_negative!r}"]
    rules += [f"closure={fit.closure:g}"] if fit.closure is not None else []
    rules += [f"unimodal={list(fit.unimodal)!r}"] if fit.unimodal else []
    rules += [f"known_spectra={{{known}}}"] if known else []
    init = repr(fit.init) if fit.start is None else f'{called[fit.start]}.dataset["spectra"]'
    call = _call(f"{series}, {fit.n_components}", {"of": of})
    return [
        f"constraints = bl.decompose.Constraints({', '.join(rules)})",
        f"{called[fit]} = bl.decompose.mcr_als({call}, init={init}, constraints=constraints)",
    ]


def _figures(data: ComponentData, state: ComponentState, series: str) -> list[str]:
    lines, shown = [], "found"
    if state.against not in ("frame", *data.table.along_frames):
        lines.append(f"shown = found.dataset.assign({state.against}={series}[{state.against!r}])")
        shown = "shown"
    look = {"against": state.against, "size": PROFILE_SIZE}
    cell = f", cell={series}" if isinstance(data.given, xr.Dataset) and data.along("voltage") is not None else ""
    return [
        *lines,
        f"concentrations = bl.figures.component_concentrations({shown}, {_keywords(look)}{cell})",
        f"spectra = bl.figures.component_spectra({shown}, {_keywords({'size': PROFILE_SIZE})})",
        f"evidence = bl.figures.rank_evidence(rank, {_keywords({'size': RANK_SIZE})})",
        "bl.dashboards.show(column(concentrations, spectra, evidence))",
    ]


def _call(first: str, more: dict[str, Any]) -> str:
    return ", ".join(part for part in (first, _keywords(more)) if part)
