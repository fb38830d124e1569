"""What people have marked, and what is suggested to them, on the panels of a comparison of techniques."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.figures.comparison import NAME, Experiment, first_shown
from batlab.figures.pixels import point_edges
from batlab.figures.technique import Along, Choice, choices

if TYPE_CHECKING:
    from bokeh.models import Column
    from bokeh.plotting import figure

    from batlab.failure import Evidence, Mark

# What a note is -> colour and dash of its box.
KINDS = {
    "own": ("#111111", "solid"),
    "other": ("#5F4690", "solid"),
    "suggested": ("#D9480F", "dashed"),
    "refused": ("#7A7A7A", "dotted"),
}
COLUMNS = ("left", "right", "bottom", "top", "label", "colour", "dash")
HALO = "#FFFFFF"


@dataclass(frozen=True)
class Note:
    """A box on a panel: first and last frame, low and high end of the panel's own axis (None: all of it)."""

    where: tuple[int, int, float | None, float | None]
    label: str
    kind: str


def technique_of(evidence: Evidence, names: Sequence[str]) -> str | None:
    """Return which of the techniques a piece of evidence is about: ``"xrd"``, else the first ``"xrd_…"``; None: none.

    >>> from batlab.failure import Evidence
    >>> technique_of(Evidence("xrd", "line_breadth", "up", 0.3, 0.01, "1"), ["xas", "xrd_cells"])
    'xrd_cells'
    """
    if evidence.technique in names:
        return evidence.technique
    return next((name for name in names if name.startswith(f"{evidence.technique}_")), None)


def frames_of(evidence: Evidence, table: xr.Dataset) -> tuple[int, int] | None:
    """Return first and last frame of a technique that evidence speaks of, by its frames, else by its cycles."""
    numbers = table["frame"].values
    spans = [(evidence.frames, numbers)]
    if "cycle" in table.variables and table["cycle"].dims == ("frame",):
        spans.append((evidence.cycles, np.asarray(table["cycle"].values, dtype=float)))
    for span, values in spans:
        if span is None:
            continue
        inside = numbers[(values >= span[0]) & (values <= span[1])]
        if inside.size:
            return int(inside.min()), int(inside.max())
    return None


def box_on_panel(
    table: xr.Dataset,
    choice: Choice,
    along: Along,
    where: tuple[int, int, float | None, float | None],
    visible: tuple[float, float],
) -> tuple[float, float, float, float] | None:
    """Return left, right, bottom and top of frames and a part of the axis; `visible` is the panel's own axis.

    None where none of the frames has a place on the shared axis.
    """
    first, last, low, high = where
    numbers = table["frame"].values
    places = along.place[(numbers >= first) & (numbers <= last) & np.isfinite(along.place)]
    if not places.size:
        return None
    ends: tuple[Any, Any] = visible
    if choice.kind == "map":
        edges = point_edges(np.asarray(table[str(table[choice.name].dims[1])].values, dtype=float))
        ends = (edges[0] if low is None else low, edges[-1] if high is None else high)
    step = np.diff(along.place[along.within(None)])
    half = float(np.median(np.abs(step))) / 2 if step.size else 0.0
    return float(places.min()) - half, float(places.max()) + half, float(ends[0]), float(ends[1])


def add_notes(plot: figure, name: str) -> None:
    """Give a panel the empty boxes that `note_columns` fills, in the source ``<name>_notes``."""
    from bokeh.models import ColumnDataSource

    source = ColumnDataSource(data={column: [] for column in COLUMNS})
    box = {"left": "left", "right": "right", "bottom": "bottom", "top": "top", "source": source}
    plot.quad(**box, fill_alpha=0, line_color=HALO, line_width=4, line_alpha=0.8, name=f"{name}_halos")
    plot.quad(
        **box, fill_color="colour", fill_alpha=0.06, line_color="colour", line_dash="dash", line_width=1.8,
        name=f"{name}_notes",
    )  # fmt: skip
    plot.text(
        "left", "bottom", text="label", source=source, text_color="#FFFFFF", text_font_size="11px",
        text_font_style="bold", text_baseline="bottom", x_offset=3, y_offset=-3, background_fill_color="colour",
        background_fill_alpha=0.9, padding=2, name=f"{name}_labels",
    )  # fmt: skip


def note_columns(notes: Iterable[tuple[Note, tuple[float, float, float, float] | None]]) -> dict[str, list[Any]]:
    """Return notes with their boxes as columns of a source; those without a box are left out."""
    columns: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    for note, box in notes:
        if box is None:
            continue
        choose("kind", note.kind, list(KINDS))
        for column, value in zip(COLUMNS, (*box, note.label, *KINDS[note.kind]), strict=True):
            columns[column].append(value)
    return columns


def mark_notes(marks: Iterable[Mark], author: str, first: int, axis: str | None) -> list[Note]:
    """Return marks as notes, counted from `first`; those of `author` are his own.

    `axis` is that of the map on the panel: a range over another axis has no place there.
    """
    notes = []
    for number, mark in enumerate(marks, first):
        ends = mark.axis_range if mark.axis == axis and mark.axis_range else (None, None)
        notes.append(Note((*mark.frames, *ends), str(number), "own" if mark.author == author else "other"))
    return notes


def map_axis(table: xr.Dataset, choice: Choice) -> str | None:
    """Return the name of the axis of a map, None for a number a frame."""
    return str(table[choice.name].dims[1]) if choice.kind == "map" else None


def add_annotations(
    plot: Column,
    tree: xr.DataTree,
    marks: Mapping[str, Iterable[Mark]],
    evidence: Iterable[Evidence] = (),
    *,
    axis: str = "time",
    show: Mapping[str, str] | None = None,
    author: str = "",
    judged: Mapping[str, str] | None = None,
) -> Column:
    """Add marks and suggestions to what `comparison` has drawn, and return it.

    Marks are numbered through all techniques; those of `author` are black, those of others violet. Suggestions, which
    are evidence of something seen, are dashed, refused ones dotted and grey; accepted ones are their marks.

    Parameters
    ----------
    plot, tree, axis, show
        From `comparison`, and what it was given.
    marks
        Technique -> its marks, from ``failure.Store.marks``.
    evidence
        From `failure.find`. What was not seen is not drawn.
    author
        Whose marks are told apart from those of others.
    judged
        Identity of evidence -> ``"accepted"`` or ``"refused"``.

    Raises
    ------
    ValueError
        `plot` has no panel for a technique; an unknown judgement.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.comparison(tree)  # doctest: +SKIP
    >>> bl.figures.add_annotations(plot, tree, {"xrd": store.marks(tree["xrd"].to_dataset())})  # doctest: +SKIP
    """
    experiment = Experiment.of(tree, NAME)
    notes: dict[str, list[Note]] = {name: [] for name in experiment.tables}
    number = 1
    for name, told in marks.items():
        choose("technique of marks", name, list(notes))
        table = experiment.tables[name]
        shown = choices(table)[(show or {}).get(name) or first_shown(table)]
        made = mark_notes(told, author, number, map_axis(table, shown))
        notes[name] += made
        number += len(made)
    for count, item in enumerate((one for one in evidence if one.is_seen), 1):
        judgement = (judged or {}).get(item.id, "")
        choose("judgement", judgement, ["", "accepted", "refused"])
        on = technique_of(item, list(notes))
        span = frames_of(item, experiment.tables[on]) if on else None
        if on and span and judgement != "accepted":
            is_refused = judgement == "refused"
            kind, sign = ("refused", "×") if is_refused else ("suggested", "?")
            notes[on].append(Note((*span, None, None), f"{sign}{count}", kind))
    for name, table in experiment.tables.items():
        panel = plot.select_one({"name": f"{name}_panel"})
        if panel is None:
            raise ValueError(f"the plot has no panel of {name!r}; make it by figures.comparison of the same tree")
        choice = choices(table)[(show or {}).get(name) or first_shown(table)]
        add_notes(panel, name)
        visible, along = (panel.y_range.start, panel.y_range.end), experiment.along(name, axis)
        boxes = [(note, box_on_panel(table, choice, along, note.where, visible)) for note in notes[name]]
        panel.select_one({"name": f"{name}_notes"}).data_source.data = note_columns(boxes)
    return plot
