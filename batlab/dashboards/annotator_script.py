"""The lines of Python that reproduce what the failure annotator shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batlab.dashboards.annotator_data import AnnotatorData
from batlab.dashboards.annotator_state import AnnotatorState
from batlab.dashboards.annotator_suggestions import Suggestions
from batlab.dashboards.comparison_script import _figure, _region, _shown
from batlab.dashboards.script import _told


def annotator_script(
    data: AnnotatorData,
    state: AnnotatorState,
    names: Mapping[str, str],
    found: Suggestions,
    *,
    stretch: tuple[float, float] | None,
    place: float | None,
    author: str,
    searched: str,
    materials: Any,
) -> str:
    """Return a script: one axis, the figure, marks and suggestions on it, the basket weighed, the selected region.

    `searched` is how the suggestions were found, as an expression with ``tree`` in it; ``""``: they come from the store
    or were handed in.
    """
    tree, store = names.get("tree", "tree"), names.get("store", "store")
    lines = ["import batlab as bl", ""]
    for name in data.names:
        lines += _told(data.given(name), f'{tree}["{name}"]')
    bare = tree
    if data.was_on:
        lines.append(f"bare = bl.align.undo({tree})  # what had been put on an axis is taken off, and put on again")
        bare = "bare"
    lines += _shown(data, state, bare, {name: repr(lag) for name, lag in state.lags.items() if lag})
    lines += _figure(data, state, stretch, place)[:-1]
    each = ", ".join(f'{name!r}: {store}.marks({bare}["{name}"].to_dataset())' for name in data.names)
    has_store = bool(names.get("store"))
    lines.append(f"marks = {{{each}}}" if has_store else "marks = {}")
    lines += _evidence(found, names, searched.replace("tree", bare))
    judged = {item.id: found.verdict(item, author).what for item in found.items if item.is_seen}
    judged = {known: what for known, what in judged.items() if what != "new"}
    given = f"axis={state.axis!r}, show={dict(state.shows)!r}, author={author!r}"
    given += f", judged={judged!r}" if judged else ""
    lines.append(f"bl.figures.add_annotations(plot, shown, marks, evidence, {given})")
    lines.append("bl.dashboards.show(plot)")
    basket = found.basket(author)
    if basket:
        of = "" if materials is None else f", materials={materials!r}"
        lines += [f"basket = {store}.evidence(", *(f"    {item.id!r},  # {item.observable}" for item in basket), ")",
                  f"print(bl.failure.assess(basket{of}))"]  # fmt: skip
    if state.region:
        lines.append(_region(data, state))
    if any("np." in line for line in lines):
        lines.insert(0, "import numpy as np\n")
    return "\n".join(lines) + "\n"


def _evidence(found: Suggestions, names: Mapping[str, str], searched: str) -> list[str]:
    """Return how the suggestions on the screen come back, in their order."""
    ids = [item.id for item in found.items]
    if not ids:
        return ["evidence = []"]
    lines = [f"found = {searched}"] if searched else []
    kept = [item.id for item in found.items if item.id in found.kept]
    if kept and names.get("store"):
        lines.append(f"kept = {names['store']}.evidence(*{kept!r})")
    if not searched and set(ids) - set(kept):
        lines.append(f"found = {names.get('suggestions', 'suggestions')}")
    sources = [word for word in ("kept", "found") if any(line.startswith(f"{word} =") for line in lines)]
    together = " + ".join(f"list({word})" for word in sources) if len(sources) > 1 else sources[0]
    lines.append(f"known = {{one.id: one for one in {together}}}")
    return [*lines, f"evidence = [known[one] for one in {ids!r}]"]
