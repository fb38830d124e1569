"""The corner of the cycle explorer where a region becomes a signed mark."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from getpass import getuser
from typing import Any

import ipywidgets as w

from batlab.dashboards.controls import place
from batlab.dashboards.measurement import Measurement
from batlab.dashboards.state import State
from batlab.failure import CATEGORIES
from batlab.figures.style import SYMBOLS, unit_sign

# Suggestions only: a person may write whatever fits.
MECHANISMS = (
    "phase transition", "two-phase coexistence", "lattice collapse", "loss of active material", "lithium plating",
    "gas evolution", "electrolyte decomposition", "cracking", "delamination", "loss of contact", "dissolution",
    "cation mixing", "amorphization", "beam damage", "artefact of the measurement",
)  # fmt: skip
WIDTH = 405


class Marking:
    """Form, list of marks and script, as three tabs."""

    def __init__(self, change: Callable[..., None]) -> None:
        self._change = change
        self.measurement: Measurement | None = None
        self.store: Any = None
        self.waits = False  # for the end of a series that still grows
        self.marks: list[Any] = []
        self.after: Callable[[list[Any]], None] = lambda marks: None
        self.where = w.HTML(layout=place("306px", height="24px"))
        self.clear = w.Button(description="clear", tooltip="Select nothing", layout=place("56px", height="24px"))
        self.category = w.Dropdown(options=CATEGORIES, value="electrochemical", layout=place("136px"))
        self.mechanism = w.Combobox(options=MECHANISMS, placeholder="mechanism", layout=place("230px"))
        self.text = w.Textarea(placeholder="what you see, and why", layout=place("369px", height="48px"))
        self.confidence = w.FloatSlider(
            description="sure", value=0.5, min=0, max=1, step=0.05, layout=place("186px"), readout_format=".2f",
            style={"description_width": "30px"},
        )  # fmt: skip
        self.author = w.Text(placeholder="author", layout=place("96px"), tooltip="Who says so")
        self.save = w.Button(description="mark", button_style="primary", layout=place("77px"))
        self.told = w.HTML(layout=place("369px", height="24px"))
        self.chosen = w.Dropdown(layout=place("369px"), tooltip="Go to a mark")
        self.listing = w.HTML(layout=place("369px", max_height="112px", overflow="auto"))
        self.script = w.Textarea(layout=place("369px", height="138px"))
        self.widget = self._compose()
        self.clear.on_click(lambda _button: self._change(region=None))
        self.save.on_click(lambda _button: self.add())
        self.chosen.observe(lambda event: self._go(event["new"]), "value")
        self.widget.observe(lambda _event: self._look(), "selected_index")

    def _compose(self) -> w.Tab:
        form = w.VBox(
            [
                w.HBox([self.where, self.clear]),
                w.HBox([self.category, self.mechanism]),
                self.text,
                w.HBox([self.confidence, self.author, self.save]),
                self.told,
            ]
        )
        tabs = w.Tab(
            [form, w.VBox([self.chosen, self.listing]), self.script],
            layout=w.Layout(width=f"{WIDTH}px", height="222px", overflow="hidden"),
        )
        tabs.titles = ("Mark a region", "Marks", "Code")
        return tabs

    @property
    def is_code_open(self) -> bool:
        """Whether the script is on the screen."""
        return self.widget.selected_index == 2

    def _look(self) -> None:
        """Read the store when its tab opens: marks are made elsewhere too."""
        if self.widget.selected_index == 1 and self.measurement is not None:
            self.refresh()

    def load(self, measurement: Measurement, store: Any, author: str) -> None:
        """Take another series or store."""
        self.measurement, self.store = measurement, store
        self.author.value = self.author.value or author
        self.refresh()

    def refresh(self) -> None:
        """Read the marks of the series again."""
        assert self.measurement is not None
        self.marks = [] if self.store is None else list(self.store.marks(self.measurement.given))
        self.listing.value = listing(self.marks)
        names = [(f"{n}  {mark.mechanism}, {_frames(mark.frames)}", n) for n, mark in enumerate(self.marks, 1)]
        self.chosen.options = [("go to …", 0), *names]
        self.chosen.value = 0
        self.widget.titles = ("Mark a region", f"Marks ({len(self.marks)})", "Code")
        self.after(self.marks)

    def show(self, state: State) -> None:
        """Tell what is selected, and whether it can be marked."""
        assert self.measurement is not None
        self.save.disabled = self.waits or self.store is None or state.region is None
        self.clear.disabled = state.region is None
        if self.waits:
            self.where.value = "<i>marks can be made when the series is whole</i>"
        elif self.store is None:
            self.where.value = "<i>no store: pass store=bl.failure.Store(…)</i>"
        elif state.region is None:
            self.where.value = "<i>draw a box on the map</i>"
        else:
            first, last, low, high = state.region
            axis = self.measurement.axis
            units = unit_sign(str(self.measurement.series[axis].attrs.get("units", "1")))
            name = SYMBOLS.get(axis, axis)
            self.where.value = html.escape(f"{_frames((first, last))}, {name} {low:.4g} – {high:.4g} {units}")
        self.region = state.region

    def add(self) -> Any:
        """Put the selected region into the store and return the mark.

        Raises
        ------
        ValueError
            Nothing is selected, or a field is not what the store takes; the form tells so too.
        """
        try:
            mark = self._add()
        except (ValueError, OSError) as error:
            self.told.value = f'<span style="color:#B00020">{html.escape(str(error))}</span>'
            self.told.tooltip = str(error)
            raise
        self.text.value = ""
        self.refresh()
        number = [one.id for one in self.marks].index(mark.id) + 1
        self.told.value = f"kept as mark {number} by {html.escape(mark.author)}"
        self._change(region=None)  # a second click must not make a second mark
        return mark

    def _add(self) -> Any:
        assert self.measurement is not None
        if self.waits:
            raise ValueError("marks can be made when the series is whole: stop following it first")
        if self.store is None:
            raise ValueError("marks need a store; pass store=bl.failure.Store('cell7.marks.sqlite')")
        if self.region is None:
            raise ValueError("select a region first: draw a box on the map")
        first, last, low, high = self.region
        return self.store.add(
            self.measurement.given,
            author=self.author.value or None,
            frames=(first, last),
            axis_range=(self.measurement.axis, low, high),
            category=self.category.value,
            mechanism=self.mechanism.value,
            confidence=self.confidence.value,
            text=self.text.value,
        )

    def _go(self, number: int | None) -> None:
        if not number:
            return
        assert self.measurement is not None
        mark = self.marks[number - 1]
        low, high = mark.axis_range or self.measurement.whole[1]
        self._change(frame=mark.frames[0], region=(*mark.frames, low, high))


def listing(marks: list[Any]) -> str:
    """Return the marks as an HTML table; whatever a person wrote is escaped."""
    if not marks:
        return "<i>nothing marked yet</i>"
    rows = []
    for number, mark in enumerate(marks, 1):
        words = (str(number), _frames(mark.frames), mark.mechanism, f"{mark.confidence:.2f}", mark.author, mark.text)
        rows.append(
            "<tr>" + "".join(f"<td style='vertical-align:top'>{html.escape(word)}</td>" for word in words) + "</tr>"
        )
    head = "".join(f"<th>{word}</th>" for word in ("", "where", "mechanism", "sure", "by", "words"))
    style = "font-size:12px;line-height:16px;border-spacing:6px 1px;text-align:left"
    return f'<table style="{style}"><tr>{head}</tr>{"".join(rows)}</table>'


def person() -> str:
    """Return the name under which somebody works here, to be changed in the form."""
    try:
        return os.environ.get("JUPYTERHUB_USER") or getuser()
    except (OSError, KeyError):  # a container may run under a user without a name
        return ""


def _frames(frames: tuple[int, int]) -> str:
    return f"frame {frames[0]}" if frames[0] == frames[1] else f"frames {frames[0]}–{frames[1]}"
