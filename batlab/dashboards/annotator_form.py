"""The form of the failure annotator: what a place on the panels means, in whose opinion, and how sure."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from batlab.dashboards.controls import Following, place
from batlab.failure import CATEGORIES, Evidence, Mark, knowledge

WIDTH = 366
INNER = WIDTH - 16
OTHER = "something else"
NAMES = ("mechanism", "category", "confidence", "text")


class MarkForm(Following):
    """Mechanism, remark, confidence, author; and the buttons that fit what the form is about."""

    def __init__(self, act: Callable[[str], None]) -> None:
        super().__init__()
        self.heading = w.HTML(layout=place(f"{INNER - 92}px", height="24px", overflow="hidden"))
        self.fresh = w.Button(description="new mark", tooltip="Begin a new mark (Esc)", layout=place("86px"))
        self.where = w.HTML(layout=place(f"{INNER}px", height="22px", overflow="hidden"))
        table = knowledge()
        told = [(f"{one.title}  ({one.category})", name) for name, one in table.mechanisms.items()]
        self.mechanism = w.Dropdown(
            options=[("mechanism: choose …", ""), *sorted(told), (f"{OTHER} …", OTHER)], layout=place(f"{INNER}px"),
            tooltip="From batlab's table of knowledge",
        )  # fmt: skip
        self.category = w.Dropdown(options=CATEGORIES, value="mechanical", layout=place("126px"))
        self.named = w.Text(placeholder="what it is, in your words", layout=place(f"{INNER - 130}px"))
        self.other = w.HBox([self.category, self.named], layout=w.Layout(display="none"))
        self.text = w.Textarea(placeholder="what you see, and why", layout=place(f"{INNER}px", height="46px"))
        self.confidence = w.FloatSlider(
            description="sure", value=0.5, min=0, max=1, step=0.05, layout=place("206px"), readout_format=".2f",
            style={"description_width": "30px"}, tooltip="How sure you are: 0 not at all, 1 certain",
        )  # fmt: skip
        self.author = w.Text(description="by", layout=place("138px"), style={"description_width": "18px"},
                             tooltip="Who says so", continuous_update=False)  # fmt: skip
        self.save = w.Button(description="mark", button_style="primary", layout=place("112px"))
        self.basket = w.Button(description="into the basket", layout=place("150px"),
                               tooltip="Weigh this evidence with others (B)")  # fmt: skip
        self.withdraw = w.Button(description="withdraw", layout=place("100px"), tooltip="Take your mark back")
        self.reason = w.Text(placeholder="why not? (R, then Enter)", layout=place(f"{INNER - 92}px"))
        self.reason.add_class("batlab-reason")
        self.refuse = w.Button(description="refuse", button_style="warning", layout=place("86px"),
                               tooltip="Refuse the suggestion; your reason is kept")  # fmt: skip
        self.told = w.HTML(layout=place(f"{INNER}px", max_height="76px", overflow="auto"))
        self.refusal = w.HBox([self.reason, self.refuse])
        self.widget = self._compose()
        buttons = {"save": self.save, "basket": self.basket, "withdraw": self.withdraw, "refuse": self.refuse,
                   "new": self.fresh}  # fmt: skip
        for name, button in buttons.items():
            button.on_click(lambda _button, name=name: act(name))
        self.mechanism.observe(lambda _change: self._show_other(), "value")

    def _compose(self) -> w.VBox:
        return w.VBox(
            [
                w.HBox([self.heading, self.fresh]),
                self.where,
                self.mechanism,
                self.other,
                self.text,
                w.HBox([self.confidence, self.author]),
                w.HBox([self.save, self.basket, self.withdraw]),
                self.refusal,
                self.told,
            ],
            layout=w.Layout(width=f"{WIDTH}px", border="1px solid #B8B8B8", padding="3px 6px", overflow="hidden"),
        )

    def _show_other(self) -> None:
        self.other.layout.display = "" if self.mechanism.value == OTHER else "none"

    def fill(self, mechanism: str, text: str = "", confidence: float = 0.5, category: str = "") -> None:
        """Put words into the form; a mechanism that the table does not know goes into the field for others."""
        table = knowledge()
        by_title = {one.title: name for name, one in table.mechanisms.items()}
        name = by_title.get(mechanism, mechanism)
        if name and name not in table.mechanisms:
            self.named.value, name = mechanism, OTHER
            self.category.value = category or self.category.value
        self.mechanism.value, self.text.value = name, text
        self.confidence.value, self.reason.value = min(max(round(confidence, 2), 0.0), 1.0), ""
        self._show_other()

    def fields(self) -> dict[str, Any]:
        """Return what the form says, as `failure.Store.add` takes it.

        Raises
        ------
        ValueError
            No mechanism.
        """
        name = self.mechanism.value
        if not name:
            raise ValueError("choose a mechanism first, or “something else”")
        if name == OTHER:
            if not self.named.value.strip():
                raise ValueError("say in a few words what it is, in the field beside the category")
            told = {"mechanism": self.named.value, "category": self.category.value}
        else:
            known = knowledge().mechanisms[name]
            told = {"mechanism": known.title, "category": known.category}
        return {**told, "confidence": self.confidence.value, "text": self.text.value}

    def show(self, about: Evidence | Mark | None, number: int, where: str, *, has_store: bool, in_basket: bool) -> None:
        """Tell what the form is about, and offer what can be done with it."""
        is_look, is_mark = isinstance(about, Evidence), isinstance(about, Mark)
        is_seen = isinstance(about, Evidence) and about.is_seen
        if isinstance(about, Evidence):
            what = f"Suggestion ?{number}" if is_seen else "Looked for and not seen"
        else:
            what = f"Mark {number} by {about.author}" if isinstance(about, Mark) else "New mark"
        self.heading.value = f"<b>{html.escape(what)}</b>"
        self.where.value = where
        self.fresh.layout.visibility = "hidden" if about is None else "visible"
        self.save.description = "accept (A)" if is_look else "save change" if is_mark else "mark (M)"
        self.save.tooltip = "Keep it as your mark, signed" if not is_mark else "Keep what you have changed"
        shown = is_seen or not is_look
        for widget in (self.mechanism, self.text, self.confidence, self.save):
            widget.layout.display = "" if shown else "none"
        self.other.layout.display = "" if shown and self.mechanism.value == OTHER else "none"
        self.basket.layout.display = "" if is_look else "none"
        self.basket.description = "out of the basket" if in_basket else "into the basket"
        self.withdraw.layout.display = "" if is_mark else "none"
        self.refusal.layout.display = "" if is_seen else "none"
        for button in (self.save, self.basket, self.withdraw, self.refuse):
            button.disabled = not has_store

    def say(self, words: str, colour: str = "#222222") -> None:
        """Tell what was done, or why not."""
        self.told.value = f'<div style="color:{colour};line-height:1.3">{html.escape(words)}</div>'
