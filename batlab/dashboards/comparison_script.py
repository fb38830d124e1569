"""The lines of Python that reproduce what the comparison of techniques shows."""

from __future__ import annotations

from typing import Any

from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_state import ComparisonState
from batlab.dashboards.script import _keywords, _rounded, _told


def comparison_script(
    data: ComparisonData,
    state: ComparisonState,
    names: dict[str, str],
    *,
    stretch: tuple[float, float] | None,
    place: float | None,
    asked: dict[str, tuple[str, dict[str, Any]]],
    has_marks: bool,
) -> str:
    """Return a script: lags as they were found, one axis, the figure, the correlation, marks and the selected region.

    `asked` holds, by technique, the feature and the keywords with which its lag was estimated.
    """
    tree = names.get("tree", "tree")
    lines = ["import numpy as np", "", "import batlab as bl", ""]
    for name in data.names:
        lines += _told(data.given(name), f'{tree}["{name}"]')
    if data.was_on:
        lines.append(f"bare = bl.align.undo({tree})  # what had been put on an axis is taken off, and put on again")
        tree = "bare"
    offsets = {name: repr(lag) for name, lag in state.lags.items() if lag}
    for name, (label, keywords) in asked.items():
        if data.models[name].lag == state.lags.get(name):
            lines.append(f"lag_{_word(name)} = bl.align.estimate_lag({_series(data, name, label, tree)}, "
                         f'{tree}["{data.clock}"].to_dataset(), {_keywords(keywords)})')  # fmt: skip
            lines.append(f"print(lag_{_word(name)})")
            offsets[name] = f"lag_{_word(name)}"
    lines += _shown(data, state, tree, offsets)
    lines += _figure(data, state, stretch, place)
    pair = [data.pairs()[label] for label in state.pair if label in data.pairs()]
    if len(pair) == 2:
        one, other = (_feature(data, *side) for side in pair)
        lines += [f"found = bl.align.correlation({one}, {other})", 'print(found["correlation"].item(), '
                  'found["correlation_low"].item(), found["correlation_high"].item())',
                  "bl.dashboards.show(bl.figures.correlation(found))"]  # fmt: skip
    if has_marks:
        store = names.get("store", "store")
        lines += [f'marks_{_word(name)} = {store}.marks({tree}["{name}"].to_dataset())' for name in data.markable]
    if state.region:
        lines.append(_region(data, state))
    if not any("np." in line for line in lines[2:]):
        lines = lines[2:]
    return "\n".join(lines) + "\n"


def _word(name: str) -> str:
    return "".join(one if one.isalnum() else "_" for one in name)


def _shown(data: ComparisonData, state: ComparisonState, tree: str, offsets: dict[str, str]) -> list[str]:
    """Return how the techniques come onto one axis, or, without a record, onto one clock."""
    if data.is_clocked:
        told = ", ".join(f"{name!r}: {offset}" for name, offset in offsets.items())
        more = f", offsets={{{told}}}" if told else ""
        lithium = f", lithium=bl.align.{data.lithium!r}" if state.axis == "lithium" else ""
        return [f"shown = bl.align.onto({tree}, {state.axis!r}, cell={data.clock!r}{more}{lithium})"]
    lines = [f"shown = {tree}.copy()"]
    for name, offset in offsets.items():
        lag = f"np.timedelta64({round(float(offset) * 1e9)}, 'ns')"
        part = f'{tree}["{name}"].to_dataset()'
        lines.append(f'shown["{name}"] = type({tree})({part}.assign_coords(time={part}["time"] + {lag}))')
    return lines


def _figure(
    data: ComparisonData, state: ComparisonState, stretch: tuple[float, float] | None, place: float | None
) -> list[str]:
    whole = data.whole(state.axis, stretch, state.lags)
    given = {
        "axis": state.axis,
        "show": dict(state.shows),
        "overlay": {name: label for name, label in state.features.items() if label} or None,
        "stretch": None if stretch is None else tuple(map(float, stretch)),
        "x_range": None if state.x_range == whole else tuple(map(_rounded, state.x_range)),
        "ranges": {name: tuple(map(_rounded, ends)) for name, ends in state.ranges.items()} or None,
        "cursor": None if place is None else float(place),
    }
    return [f"plot = bl.figures.comparison(shown, {_keywords(given)})", "bl.dashboards.show(plot)"]


def _feature(data: ComparisonData, name: str, label: str) -> str:
    choice, given = data.choices[name][label], data.given(name)
    table = f'shown["{name}"].to_dataset()' + ('.set_coords("exposure")' if "exposure" in given.data_vars else "")
    return f'{table}["{choice.name}"]' + (f".isel({choice.dim}={choice.at})" if choice.dim else "")


def _series(data: ComparisonData, name: str, label: str, tree: str) -> str:
    choice = data.choices[name][label] if label else None
    if choice is None or not choice.dim:
        return f'{tree}["{name}"].to_dataset()'
    kept = [one for one in (choice.name, f"{choice.name}_sigma", "exposure") if one in data.given(name).variables]
    return f'{tree}["{name}"].to_dataset()[{kept!r}].isel({choice.dim}={choice.at})'


def _region(data: ComparisonData, state: ComparisonState) -> str:
    assert state.region is not None
    name, first, last, low, high = state.region
    part = f"frame=slice({first}, {last})"
    if low is not None and high is not None and data.choices[name][state.shows[name]].kind == "map":
        axis = data.axis_of(name, state.shows[name]).name
        part += f", {axis}=slice({_rounded(low)!r}, {_rounded(high)!r})"
    return f'region = shown["{name}"].to_dataset().sel({part})'
