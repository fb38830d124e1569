"""Tab of the failure board with the evidence of a row, what is linked to it, and the way to link more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from batlab.dashboards.board_told import evidence_told, linked, links_told, mark_words
from batlab.dashboards.controls import place
from batlab.failure import Evidence, Link, Mark
from batlab.failure._worksheet_row import Row
from batlab.figures.worksheet_board import cut

RELATIONS = ("supports", "contradicts", "explains")
WIDTH = 690


class BoardLinks:
    """Pictures of the evidence, links as words, and a line that joins a mark, a piece of evidence or a word."""

    def __init__(self) -> None:
        self.evidence = w.HTML(layout=place(f"{WIDTH}px", max_height="200px", overflow="auto"))
        self.links = w.HTML(layout=place(f"{WIDTH}px", max_height="130px", overflow="auto"))
        self.thing = w.Dropdown(layout=place("330px"), tooltip="A mark or a piece of evidence of the store")
        self.relation = w.Dropdown(options=RELATIONS, layout=place("106px"), tooltip="What it does to the row")
        self.text = w.Text(placeholder="why, or a comment", layout=place("160px"), continuous_update=False)
        self.join = w.Button(description="link", tooltip="Link it with the row", layout=place("60px"))
        line = w.HBox([self.thing, self.relation, self.text, self.join])
        self.widget = w.VBox([self.evidence, w.HTML("<b>linked</b>"), self.links, line])

    def show(
        self, row: Row | None, evidence: dict[str, Evidence], links: Sequence[Link], marks: dict[str, Mark]
    ) -> None:
        """Tell what a row has, and what could be linked with it."""
        held = () if row is None else row.all_evidence
        items = [evidence[one] for one in held if one in evidence]
        self.evidence.value = "<i>choose a row</i>" if row is None else evidence_told(items)
        found = [] if row is None else linked(row.id, held, links)
        self.links.value = links_told(found, marks, evidence)
        choices: list[tuple[str, Any]] = [("only my words (a comment)", "")]
        choices += [(f"⚑ {cut(mark_words(one), 90)}", f"mark:{one.id}") for one in marks.values() if not one.is_retired]
        choices += [(f"◆ {cut(str(one), 90)}", f"evidence:{one.id}") for one in evidence.values()]
        if list(self.thing.options) != choices:  # a shared store has thousands: they need not travel with every row
            self.thing.options = choices
        self.thing.value = ""
        for widget in (self.thing, self.relation, self.text, self.join):
            widget.disabled = row is None
