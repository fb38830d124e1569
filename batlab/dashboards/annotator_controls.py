"""The tool bar of the failure annotator: cursor, axis, what each panel shows, and what the keys do."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial

import ipywidgets as w

from batlab.dashboards.annotator_data import AnnotatorData
from batlab.dashboards.annotator_state import AnnotatorState
from batlab.dashboards.comparison_panels import SLOTS
from batlab.dashboards.controls import Following, place
from batlab.figures.annotator import KINDS
from batlab.figures.style import COLOURS

WIDTH = 1096


class AnnotatorControls(Following):
    """Widgets that only change the state; `show` lets them follow it."""

    def __init__(self, change: Callable[..., None], step: Callable[[int], None]) -> None:
        super().__init__()
        self._change = change
        self.build_cursor("560px", change, step)
        self.axis = w.Dropdown(description="along", layout=place("170px"), style={"description_width": "38px"})
        self.stretch = w.Dropdown(layout=place("150px"), tooltip="Which rise or fall of the axis")
        self.names = [w.HTML(layout=place("auto", height="26px")) for _ in SLOTS]
        self.shows = [w.Dropdown(layout=place("170px"), tooltip="What the panel shows") for _ in SLOTS]
        self._on(self.axis, lambda value: change(axis=value))
        self._on(self.stretch, lambda value: change(stretch=value))
        for number, box in enumerate(self.shows):
            self._on(box, partial(self._set, number))
        top = w.HBox([self.back, self.forward, self.slider, self.axis, self.stretch],
                     layout=w.Layout(width=f"{WIDTH}px"))  # fmt: skip
        pairs = [
            w.HBox(pair, layout=w.Layout(margin="0 10px 0 0")) for pair in zip(self.names, self.shows, strict=True)
        ]
        self._pairs = pairs
        choices = w.HBox(pairs, layout=w.Layout(width=f"{WIDTH}px", flex_flow="row wrap"))
        self.widget = w.VBox([top, choices], layout=w.Layout(overflow="visible"))
        self.help = w.HTML(help_words(), layout=w.Layout(width=f"{WIDTH}px"))

    def _set(self, number: int, value: str) -> None:
        name, state = self._data.names[number], self._state
        ranges = {one: ends for one, ends in state.ranges.items() if one != name}
        self._change(shows={**state.shows, name: value}, ranges=ranges)

    def load(self, data: AnnotatorData, state: AnnotatorState) -> None:
        """Fit limits and choices to the data."""
        self._data, self._state = data, state
        with self.following():
            self.fit_frames(data.numbers, self.slider)
            self.slider.description = data.lead if len(data.lead) < 7 else "frame"
            self.axis.options = list(state.options["axis"])
            for number, (pair, label, box) in enumerate(zip(self._pairs, self.names, self.shows, strict=True)):
                pair.layout.display = "" if number < len(data.names) else "none"
                if number < len(data.names):
                    name = data.names[number]
                    label.value = f'<b style="color:{COLOURS[number]}">■</b> {html.escape(name)}'
                    box.options = list(state.options["shows"][name])

    def show(self, state: AnnotatorState, stretches: list[str]) -> None:
        """Let every widget tell the state."""
        with self.following():
            self.slider.value, self.axis.value = state.frame, state.axis
            options = [(words, number) for number, words in enumerate(stretches)]
            if list(self.stretch.options) != options:
                self.stretch.options = options
            self.stretch.value = state.stretch
            self.stretch.layout.display = "" if len(stretches) > 1 else "none"
            for box, name in zip(self.shows, self._data.names, strict=False):
                box.value = state.shows[name]


def help_words() -> str:
    """Return the line below the panels: what boxes mean and what keys do."""
    told = {"own": "your marks", "other": "marks of others", "suggested": "suggested", "refused": "refused"}
    boxes = " &nbsp; ".join(
        f'<span style="border:2px {KINDS[kind][1]} {KINDS[kind][0]};padding:0 7px;margin-right:4px"></span>{words}'
        for kind, words in told.items()
    )
    keys = (("← →", "cursor"), ("N P", "next, previous"), ("A", "accept"), ("R", "refuse"), ("B", "basket"),
            ("M", "mark"), ("Esc", "new mark"))  # fmt: skip
    pressed = " &nbsp; ".join(f"<b>{key}</b> {words}" for key, words in keys)
    style = "font-size:12px;line-height:1.7;color:#333;white-space:nowrap"
    return f'<div style="{style}">{boxes} &nbsp;|&nbsp; keys (click a panel first): {pressed}</div>'
