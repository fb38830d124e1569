"""The tabs of the failure annotator: suggestions, marks, the basket of evidence, and the script."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets as w

from batlab.dashboards.annotator_form import WIDTH
from batlab.dashboards.annotator_suggestions import Suggestions, Verdict, explains, size_words, where_words
from batlab.dashboards.controls import Following, place
from batlab.failure import Assessment, Evidence, Mark, knowledge
from batlab.figures.worksheet_board import cut

SIGNS = {"new": "?", "accepted": "✓", "refused": "×"}
WAYS = {"up": "↑", "down": "↓", "appears": "appears", "none": "not seen"}
SMALL = "font-size:12px;line-height:1.35"
SHOWN = 6  # mechanisms of an assessment
LONGEST = 1000  # characters of a reason on the screen
INNER = WIDTH - 36  # a tab has room around it


class Lists(Following):
    """What there is to choose from; `choose` is called with what somebody has clicked, `act` with a button's name."""

    def __init__(self, choose: Callable[[str], None], act: Callable[[str], None]) -> None:
        super().__init__()
        self.search = w.Button(description="find suggestions", layout=place("138px"),
                               tooltip="Let batlab look at the data; you judge what it finds")  # fmt: skip
        self.stop = w.Button(description="stop", layout=place("56px"), button_style="danger")
        self.progress = w.HTML(layout=place(f"{INNER - 206}px", height="32px", overflow="hidden"))
        self.found, self.marks, self.basket = (_list(rows) for rows in (6, 12, 5))
        self.detail = w.HTML(layout=place(f"{INNER}px", height="150px", overflow="auto"))
        self.out = w.Button(description="take out", layout=place("80px"), tooltip="Take it out of the basket")
        self.all = w.Button(description="put all in", layout=place("88px"),
                            tooltip="All that was looked for: what was not seen counts too")  # fmt: skip
        self.weigh = w.Button(description="weigh", button_style="primary", layout=place("80px"),
                              tooltip="Rank the mechanisms by the evidence in the basket")  # fmt: skip
        self.why = w.Dropdown(layout=place("92px"), options=[("why …", "")], tooltip="Open the terms of a score")
        self.ranking = w.HTML(layout=place(f"{INNER}px", height="158px", overflow="auto"))
        self.script = w.Textarea(layout=place(f"{INNER}px", height="272px"))
        self.again = w.Button(description="read the store again", layout=place("160px"),
                              tooltip="Marks are made elsewhere too")  # fmt: skip
        self.widget = w.Tab(
            [
                w.VBox([w.HBox([self.search, self.stop, self.progress]), self.found, self.detail]),
                w.VBox([self.marks, self.again]),
                w.VBox([self.basket, w.HBox([self.all, self.out, self.weigh, self.why]), self.ranking]),
                self.script,
            ],
            layout=w.Layout(width=f"{WIDTH}px", height="338px", overflow="hidden"),
        )
        for widget in (self.found, self.marks, self.basket):
            self._on(widget, lambda value: choose(value or ""))
        names = {"search": self.search, "stop": self.stop, "out": self.out, "all": self.all, "weigh": self.weigh,
                 "again": self.again}  # fmt: skip
        for name, button in names.items():
            button.on_click(lambda _button, name=name: act(name))
        self.why.observe(lambda _change: self.show_assessment(self.assessment), "value")
        self.assessment: Assessment | None = None
        self.show_search("", False)

    @property
    def is_code_open(self) -> bool:
        """Whether the script is on the screen."""
        return self.widget.selected_index == 3

    def show_search(self, words: str, is_running: bool) -> None:
        """Tell how far a search is."""
        self.search.disabled, self.stop.layout.visibility = is_running, "visible" if is_running else "hidden"
        self.progress.value = f'<div style="{SMALL}">{html.escape(words)}</div>'

    def show(self, found: Suggestions, marks: Iterable[tuple[str, Mark]], author: str, about: str) -> None:
        """List everything, with `about` chosen."""
        marks = list(marks)
        basket = found.basket(author)
        with self.following():
            named = [(suggestion_words(found, item, author), f"evidence:{item.id}") for item in found.items]
            _fill(self.found, named, about)
            told = [(mark_words(n, name, mark), f"mark:{mark.id}") for n, (name, mark) in enumerate(marks, 1)]
            _fill(self.marks, told, about)
            _fill(self.basket, [(look_words(item), f"evidence:{item.id}") for item in basket], about)
        n_seen = sum(item.is_seen for item in found.items)
        titles = (f"Found ({n_seen})", f"Marks ({len(marks)})", f"Basket ({len(basket)})", "Code")
        if self.widget.titles != titles:
            self.widget.titles = titles
        self.out.disabled, self.weigh.disabled = about not in dict(self.basket.options).values(), not basket
        self.all.disabled = len(basket) == len(found.items)

    def show_detail(self, item: Evidence | None, sayings: Iterable[Verdict], ranking: Assessment | None) -> None:
        """Tell what a suggestion rests on, what would look the same, and what was said of it."""
        self.detail.value = EMPTY if item is None else detail(item, sayings, ranking)

    def show_assessment(self, found: Assessment | None) -> None:
        """Rank the mechanisms, and open the terms of one."""
        if found is not self.assessment:
            self.assessment = found
            names = [] if found is None else [(one.title, one.name) for one in found.candidates[:SHOWN]]
            with self.following():
                self.why.options = [("why …", ""), *names]
        if found is None:
            self.ranking.value = BASKET
        else:
            self.ranking.value = terms(found, self.why.value) if self.why.value else ranked(found)


def _list(rows: int) -> w.Select:
    made = w.Select(options=[], rows=rows, layout=place(f"{INNER}px"))
    made.add_class("batlab-list")
    return made


def _fill(widget: Any, options: list[tuple[str, str]], about: str) -> None:
    if list(widget.options) != options:
        widget.options = options
    wanted = about if about in [value for _, value in options] else None
    if widget.value != wanted:
        widget.value = wanted


EMPTY = (
    f'<div style="{SMALL};color:#555">“find suggestions” lets batlab look for changes in the data. Choose one in the '
    "list: its place is shown on the panels. Then accept it, change it first (drag another box, choose another "
    "mechanism), or refuse it with a reason.<br>Or drag a box on any panel and mark what you see yourself.</div>"
)
BASKET = (
    f'<div style="{SMALL};color:#555">Put evidence in here, seen and not seen, then “weigh”: the mechanisms are ranked '
    "by all of it. Leaving out what was looked for and not seen makes everything look likelier than it is.</div>"
)


def look_words(item: Evidence) -> str:
    """Return a piece of evidence as one line of plain text."""
    quantity = item.quantity.replace("_", " ")
    size = f" {size_words(item)}" if item.is_seen else f", limit {item.limit:.2g}"
    return f"{item.technique} {quantity} {WAYS[item.direction]}{size}"


def suggestion_words(found: Suggestions, item: Evidence, author: str) -> str:
    """Return how a suggestion is listed: what has become of it, its number, what it says."""
    if not item.is_seen:
        return f"–  {look_words(item)}"
    verdict = found.verdict(item, author)
    by = "" if verdict.what == "new" else f"{verdict.what} by {verdict.author}: "
    return f"{SIGNS[verdict.what]}{found.number(item)}  {by}{look_words(item)}"


def mark_words(number: int, name: str, mark: Mark) -> str:
    """Return how a mark is listed."""
    first, last = mark.frames
    span = f"{first}–{last}" if first != last else f"{first}"
    return f"{number}  {name} {span}: {mark.mechanism[:60]} · {mark.author} · {mark.confidence:.2f}"


def detail(item: Evidence, sayings: Iterable[Verdict], ranking: Assessment | None) -> str:
    """Return what stands below the list, as HTML; whatever a person wrote is escaped."""
    table = knowledge()
    known = table.observables.get(item.observable)
    told = []
    for one in sayings:
        why = f": {cut(one.reason, LONGEST)}" if one.reason else ""
        told.append(f"<b>{html.escape(one.what)}</b> by {html.escape(one.author)}, {one.when}{html.escape(why)}")
    unit = "" if item.units == "1" else f" {item.units}"
    told.append(f"<b>{html.escape(known.what if known else item.observable)}</b>")
    limit = f"; {item.limit:.3g}{html.escape(unit)} would have been seen" if item.limit == item.limit else ""
    told.append(
        f"{html.escape(size_words(item))} (1 σ){limit}; confidence that it is no noise {item.confidence:.4g}; "
        f"{html.escape(where_words(item))}"
    )
    if item.is_seen:
        order = [] if ranking is None else ranking.ranking
        names = [f"{html.escape(table.mechanisms[name].title)}"
                 + ("" if ranking is None or name not in order else f" {ranking[name].probability:.2f}")
                 for name in explains(item, order)[:4]]  # fmt: skip
        told.append(f"would fit: {', '.join(names) or 'nothing in the table'}")
    if known:
        told.append(f"looks the same: {html.escape(known.instead)}")
    told.append(f'<span style="color:#666">{html.escape(item.test)}; {html.escape(item.dose)}</span>')
    return f'<div style="{SMALL};white-space:pre-line">{"<br>".join(told)}</div>'


def ranked(found: Assessment) -> str:
    """Return the mechanisms as a table with bars."""
    rows = []
    for one in found.candidates[:SHOWN]:
        bar = f'<div style="background:#0072B2;height:8px;width:{60 * one.probability:.0f}px"></div>'
        more = []
        if one.rivals:
            more.append("or " + ", ".join(name.replace("_", " ") for name in one.rivals[:2]))
        if one.measure:
            more.append(f"measure {one.measure[0][0]}")
        why = f'<div style="color:#666">{html.escape("; ".join(more))}</div>' if more else ""
        rows.append(
            f'<tr><td style="vertical-align:top">{one.probability:.2f}</td><td style="width:62px">{bar}</td>'
            f"<td>{html.escape(one.title)}: <i>{html.escape(one.verdict)}</i>{why}</td></tr>"
        )
    n_seen = sum(item.is_seen for item in found.evidence)
    head = f"{n_seen} of {len(found.evidence)} looks saw something; {html.escape(found.knowledge)}"
    return f'<div style="{SMALL}">{head}<table style="{SMALL}">{"".join(rows)}</table></div>'


def terms(found: Assessment, name: str) -> str:
    """Return why a mechanism has its probability: terms of its log odds."""
    lines = [f"{found[name].title}: {found[name].probability:.3f}", *(str(term) for term in found.terms(name))]
    return f'<pre style="font-size:11px;line-height:1.3;margin:0">{html.escape(chr(10).join(lines))}</pre>'
