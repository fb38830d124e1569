"""The form of one row: its ratings beside what was computed, its texts, and why they change."""

from __future__ import annotations

import html
from functools import cache
from typing import Any

import ipywidgets as w

from batlab.dashboards.controls import place
from batlab.failure import CATEGORIES, Evidence
from batlab.failure._worksheet_rate import read_scales
from batlab.failure._worksheet_row import RATINGS, TYPES, WORDS, Rating, Row
from batlab.figures.worksheet_board import cut

CHOICES = {"category": ("", *CATEGORIES), "mechanism_type": TYPES}
LONG = ("cause", "local_effect", "system_effect", "action", "note")
WIDTH = 700
AWAY = ("retire row", "Take the row away, for the reason beside; its history stays, and it can be brought back")
BACK = ("bring back", "Bring the row back, for the reason beside, as it was")
NAMES = {"system_effect": "effect on the cell", "mechanism_type": "type"}


class BoardForm:
    """Widgets for a row; what was typed and not kept stays with its row while another is looked at."""

    def __init__(self) -> None:
        self.row: Row | None = None
        self.is_retired = False
        self._base: dict[str, Any] | None = None  # what the widgets said when they were filled
        self._drafts: dict[str, dict[str, Any]] = {}
        self.head = w.HTML(layout=place(f"{WIDTH - 110}px", height="28px"))
        self.new = w.Button(description="new row", tooltip="An empty form (n)", layout=place("96px"))
        self.new.add_class("batlab-board-new")
        self.ratings = {name: _rating_choice(name) for name in RATINGS}
        self.ratings["severity"].add_class("batlab-board-first")
        self.told = {name: w.HTML(layout=place("340px", min_height="28px")) for name in RATINGS}
        self.words = {name: _text(name) for name in WORDS}
        self.grounds = w.HTML()
        self.rests_on = w.SelectMultiple(layout=place("560px", height="52px"), tooltip="Ctrl or Shift: several")
        self.reason = w.Text(
            placeholder="why? (is kept with the change)", layout=place("396px"), continuous_update=False
        )
        self.author = w.Text(
            placeholder="author", layout=place("100px"), tooltip="Who says so", continuous_update=False
        )
        self.save = w.Button(description="keep", button_style="primary", tooltip="Keep as a new version (Ctrl+S)",
                             layout=place("80px"))  # fmt: skip
        self.save.add_class("batlab-board-save")
        self.retire = w.Button(description=AWAY[0], tooltip=AWAY[1], layout=place("96px"))
        self.widget = self._compose()

    def _compose(self) -> w.VBox:
        rates = [w.HBox([self.ratings[name], self.told[name]]) for name in RATINGS]
        short = [name for name in WORDS if name not in LONG]
        lines = [w.HBox([self.words[name] for name in short[at : at + 3]]) for at in range(0, len(short), 3)]
        long = [w.HBox([self.words[name] for name in LONG[at : at + 2]]) for at in range(0, len(LONG), 2)]
        grounds = w.HBox([self.grounds, self.rests_on])
        end = w.HBox([self.reason, self.author, self.save, self.retire])
        return w.VBox([w.HBox([self.head, self.new]), *rates, grounds, *lines, *long, end],
                      layout=w.Layout(width=f"{WIDTH}px", overflow="visible"))  # fmt: skip

    def show(self, row: Row | None, evidence: list[Evidence], state: str) -> None:
        """Fill the form with a row, or empty it for a new one; what was typed before and not kept comes back."""
        self._stash()
        self.row, self.is_retired = row, state == "retired"
        base: dict[str, Any] = {name: None if row is None else getattr(row, name).value for name in RATINGS}
        base |= {name: "" if row is None else getattr(row, name) for name in WORDS}
        base |= {"reason": "", "rests_on": ()}
        self.rests_on.options = [(cut(str(item), 110), item.id) for item in evidence]
        held = {item.id for item in evidence}
        draft = dict(self._drafts.get(_key(row), {}))
        draft["rests_on"] = tuple(one for one in draft.get("rests_on", ()) if one in held)
        for name, value in {**base, **draft}.items():
            self._widget(name).value = value
        self._base = base
        self.rests_on.layout.display = "" if evidence else "none"
        self.grounds.value = f"new ratings {'rest on' if evidence else 'are judgements: the row has no evidence'}&nbsp;"
        for name in RATINGS:
            self.told[name].value = "" if row is None else rating_words(getattr(row, name))
        self._name(state, _key(row) in self._drafts)
        for widget in (*self.ratings.values(), *self.words.values(), self.save):
            widget.disabled = self.is_retired
        self.retire.disabled = row is None
        self.retire.description, self.retire.tooltip = BACK if self.is_retired else AWAY

    def _name(self, state: str, has_draft: bool) -> None:
        if self.row is None:
            told, self.save.description = "<b>a new row</b>: component and mechanism at least", "add row"
        else:
            rpn = "not rated in full" if self.row.rpn is None else f"RPN {self.row.rpn}"
            what = html.escape(cut(f"{self.row.component}: {self.row.mechanism}", 70))
            told, self.save.description = f"<b>{what}</b> · {rpn} · {state}", "keep"
        draft = ' · <span style="color:#B00020">typed, not kept</span>' if has_draft else ""
        self.head.value = f"<div>{told}{draft}</div>"

    def changes(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the ratings and the texts that differ from the row.

        Raises
        ------
        ValueError
            A rating was taken back.
        """
        differ = self._differences()
        numbers = {name: differ[name] for name in RATINGS if name in differ}
        for name, value in numbers.items():
            if value is None:
                raise ValueError(f"{name} cannot be taken back; choose a number from 1 to 10")
        return numbers, {name: differ[name] for name in WORDS if name in differ}

    def done(self) -> None:
        """Forget what was typed: it is kept now."""
        self._drafts.pop(_key(self.row), None)
        self._base = None
        self.reason.value = ""

    def forget_reason(self) -> None:
        """Forget the reason: it is kept now; what else was typed still waits."""
        self.reason.value = ""

    def forget(self) -> None:
        """Forget everything that was typed: another store or worksheet is shown."""
        self._drafts.clear()
        self._base = None
        self.reason.value = ""

    def _stash(self) -> None:
        differ = self._differences()
        if differ:
            self._drafts[_key(self.row)] = differ
        else:
            self._drafts.pop(_key(self.row), None)

    def _differences(self) -> dict[str, Any]:
        if self._base is None:
            return {}
        return {name: self._widget(name).value for name, was in self._base.items() if self._widget(name).value != was}

    def _widget(self, name: str) -> Any:
        return {**self.ratings, **self.words, "reason": self.reason, "rests_on": self.rests_on}[name]


def rating_words(rating: Rating) -> str:
    """Return what stands beside a rating: the computed one, what it rests on, who set it and why, and its terms."""
    told = []
    if rating.computed is not None:
        told.append(
            f"computed <b>{rating.computed}</b>" if not rating.is_changed else f"computed <s>{rating.computed}</s>"
        )
    told.append(rating.basis if rating.value is not None else "not rated")
    if rating.author:
        when = rating.created[:10]
        told.append(f"set by {html.escape(cut(rating.author, 24))} {when}: {html.escape(cut(rating.reason, 60))}")
    terms = html.escape(cut("\n".join(map(str, rating.terms)), 3000))
    more = (
        f' <span title="{terms}" style="cursor:help;color:#005A8C;text-decoration:underline dotted">terms</span>'
        if terms
        else ""
    )
    return f'<div style="font-size:12px;line-height:1.25;padding-top:2px">{" · ".join(told)}{more}</div>'


def _key(row: Row | None) -> str:
    return "" if row is None else row.id


@cache
def _levels() -> dict[str, tuple[str, ...]]:
    return dict(read_scales().meaning)


def _rating_choice(name: str) -> w.Dropdown:
    levels = [(f"{number} · {meaning}", number) for number, meaning in enumerate(_levels()[name], 1)]
    return w.Dropdown(options=[("–", None), *levels], value=None, description=name, layout=place("346px"),
                      style={"description_width": "84px"})  # fmt: skip


def _text(name: str) -> Any:
    label, narrow = NAMES.get(name, name.replace("_", " ")), {"description_width": "84px"}
    if name in CHOICES:
        options = [(one or "–", one) for one in CHOICES[name]]
        return w.Dropdown(options=options, value="", description=label, layout=place("226px"), style=narrow)
    if name in LONG:
        return w.Textarea(description=label, layout=place("342px", height="48px"), style={"description_width": "110px"},
                          continuous_update=False)  # fmt: skip
    return w.Text(description=label, layout=place("226px"), style=narrow, continuous_update=False)
