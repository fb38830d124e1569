"""The head of the failure board: which worksheet, in which order, which rows; and the line that tells what was done."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w
from traitlets import TraitError

from batlab.dashboards.board_state import PAGE, BoardState
from batlab.dashboards.controls import Following, place
from batlab.failure import Worksheet
from batlab.failure._worksheet_pick import STATES, WANTED

WIDTH = 1070
BAD, DOUBTFUL, GOOD, PLAIN = "#B00020", "#8A5A00", "#1B6E3C", "#222222"
ORDERS = (("worst RPN first", "rpn"), ("most urgent first", "priority"))
KEYS = (
    "Keys, after a click on the board: ↑ ↓ PgUp PgDn Home End choose a row, Enter goes to its ratings, / to the "
    "filter, n starts a new row, Esc comes back; Ctrl+S keeps what the form says."
)


class BoardControls(Following):
    """Two rows of controls, the table, and a line below it."""

    def __init__(self, change: Callable[..., None], step: Callable[[int], None], refresh: Callable[[], Any]) -> None:
        super().__init__()
        self._change = change
        self.sheet = w.Dropdown(description="worksheet", layout=place("400px"), style={"description_width": "68px"})
        self.about = w.HTML(layout=place("390px", height="28px"))
        self.reload = w.Button(
            description="read again", tooltip="Read what others have kept meanwhile", layout=place("96px")
        )
        self.back = w.Button(description="▲", tooltip="One row up (↑)", layout=place("36px"))
        self.forward = w.Button(description="▼", tooltip="One row down (↓)", layout=place("36px"))
        self.keys = w.HTML(f'<span title="{html.escape(KEYS)}" style="cursor:help">⌨ keys</span>', layout=place("60px"))
        self._build_filters()
        self.table = w.HTML()
        self.chosen = w.HTML(layout=w.Layout(height="0px", margin="0", overflow="hidden"))
        self.more = w.Button(description="more rows", layout=place("140px", display="none"))
        self.told = w.HTML(layout=place(f"{WIDTH - 150}px", min_height="24px", max_height="72px", overflow="auto"))
        for widget, name in ((self.sheet, "sheet"), (self.by, "by"), *((getattr(self, one), one) for one in WANTED)):
            self._on(widget, partial(self._set, name))
        self.back.on_click(lambda _button: step(-1))
        self.forward.on_click(lambda _button: step(1))
        self.reload.on_click(lambda _button: refresh())
        self.clear.on_click(
            lambda _button: self._change(**{name: BoardState.class_traits()[name].default() for name in WANTED})
        )
        self.more.on_click(lambda _button: self._change(most=self._most + PAGE))
        self.widget = self._compose()

    def _build_filters(self) -> None:
        slow = {"continuous_update": False}
        self.by = w.Dropdown(options=ORDERS[:1], layout=place("148px"), tooltip="Order; among equals S decides")
        self.mechanism = w.Text(placeholder="mechanism contains …", layout=place("160px"), **slow)
        self.mechanism.add_class("batlab-board-filter")
        self.author = w.Dropdown(options=[("any author", "")], layout=place("128px"), tooltip="Who made or changed it")
        self.technique = w.Dropdown(
            options=[("any technique", "")], layout=place("130px"), tooltip="With evidence of it"
        )
        self.status = w.Dropdown(
            options=[("any status", ""), *((one, one) for one in STATES)], layout=place("110px"),
            tooltip="open: not rated in full; signed: as it was signed; rated: in full, not signed as it is; retired",
        )  # fmt: skip
        self.is_judgement = w.ToggleButton(
            description="only judgement", tooltip="Only rows without evidence", layout=place("128px")
        )
        self.least_rpn = w.BoundedIntText(
            description="RPN ≥", min=0, max=1000, layout=place("118px"), style={"description_width": "46px"}, **slow
        )
        self.clear = w.Button(description="all rows", tooltip="Take the filters away", layout=place("80px"))
        self.count = w.HTML(layout=place("70px", height="28px"))

    def _compose(self) -> w.VBox:
        bar = w.Layout(width=f"{WIDTH}px", overflow="hidden")
        top = [self.sheet, self.about, self.reload, self.back, self.forward, self.keys]
        filters = [self.by, self.mechanism, self.author, self.technique, self.status, self.is_judgement, self.least_rpn]
        pane = w.Box([self.table], layout=w.Layout(width=f"{WIDTH}px", max_height="300px", overflow="auto",
                                                   border="1px solid #BBBBBB"))  # fmt: skip
        pane.add_class("batlab-board-pane")
        return w.VBox(
            [
                w.HBox(top, layout=bar), w.HBox([*filters, self.clear, self.count], layout=bar), self.chosen, pane,
                w.HBox([self.more, self.told]),
            ],
            layout=w.Layout(overflow="visible"),
        )  # fmt: skip

    def _set(self, name: str, value: Any) -> None:
        try:
            self._change(**{name: value})
        except (TraitError, ValueError, OSError) as error:
            self.say(str(error), BAD)

    def load(self, sheets: list[Worksheet], sheet: Worksheet | None) -> None:
        """Fit the choices to the worksheets of the store, and to the one that is shown."""
        with self.following():
            named = [(f"{one.title[:60]} · v{one.version} · {one.id[:8]}", one.id) for one in sheets]
            self.sheet.options = named or [("none yet: start one under “Sign & files”", "")]
            self.by.options = ORDERS if sheet and sheet.priorities else ORDERS[:1]
            authors = sorted({one.author for one in sheet.changes}) if sheet else []
            techniques = sorted({one.technique for one in sheet.evidence}) if sheet else []
            self.author.options = [("any author", ""), *((one[:40], one) for one in authors)]
            self.technique.options = [("any technique", ""), *((one, one) for one in techniques)]

    def show(self, state: BoardState, sheet: Worksheet | None, n_rows: int) -> None:
        """Let every widget tell the state."""
        self._most = state.most
        with self.following():
            self.sheet.value = state.sheet
            self.by.value = state.by
            for name in WANTED:
                widget, value = getattr(self, name), getattr(state, name)
                if isinstance(widget, w.Dropdown) and value not in dict(widget.options).values():
                    widget.options = [*widget.options, (value, value)]  # set from Python, and nobody has it
                widget.value = value
            self.count.value = f"{n_rows} of {len(sheet.rows)}" if sheet else ""
            self.more.layout.display = "" if n_rows > state.most else "none"
            self.more.description = f"{min(PAGE, n_rows - state.most)} more rows"
            self.about.value = "" if sheet is None else _about(sheet)

    def select(self, row: str) -> None:
        """Mark a row in the table: one rule of style, so that the table itself need not travel again."""
        rule = f'.batlab-board-table tr[data-row="{_css(row)}"] > td {{ background-color: #DCEBFA !important; }}'
        self.chosen.value = f'<style data-selected="{html.escape(row)}">{rule if row else ""}</style>'

    def say(self, words: str, colour: str = PLAIN) -> None:
        """Tell what was done, or why not."""
        text = words if len(words) <= 2000 else f"{words[:2000]}…"
        self.told.value = f'<div role="status" style="color:{colour};line-height:1.35">{html.escape(text)}</div>'


def _css(text: str) -> str:
    """Return a text as the inside of a string of CSS: the id of a row may come from anybody's file.

    >>> _css('a-1"] {')
    'a-1\\\\22 \\\\5d \\\\20 \\\\7b '
    """
    return "".join(one if one.isascii() and (one.isalnum() or one == "-") else f"\\{ord(one):x} " for one in text)


def _about(sheet: Worksheet) -> str:
    when = f", last change {sheet.changes[-1].created[:16].replace('T', ' ')} UTC" if sheet.changes else ""
    if sheet.is_signed:
        names = html.escape(", ".join(one.author for one in sheet.signatures)[:60])
        state = f'<b style="color:{GOOD}">signed by {names}</b>'
    else:
        last = f" (version {sheet.signed[-1].version} is)" if sheet.signed else ""
        state = f'<b style="color:#8A5A00">not signed</b>{last}'
    return f'<span style="font-size:12px">version {sheet.version}, {state}{when}</span>'
