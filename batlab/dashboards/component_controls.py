"""Widgets of the component dashboard: they only change the state; `show` lets them follow it."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w
import numpy as np
from traitlets import TraitError

from batlab.dashboards.component_data import ComponentData
from batlab.dashboards.component_state import MOST, ComponentState
from batlab.dashboards.controls import Following, place
from batlab.dashboards.marking import Marking
from batlab.decompose._rank import WAYS, Rank
from batlab.decompose.constraints import SIDES
from batlab.decompose.mcr_result import WIDE, MCRResult, scale
from batlab.figures.style import COLOURS

WIDTH = 1000
STARTS = (("start: frames that differ most", "pca"), ("start: purest frames", "simplisma"), ("start: evolving", "efa"))
BAD, DOUBTFUL, PLAIN = "#B00020", "#8A5A00", "#222222"
SIDE_WORDS = {"concentration": "concentrations ≥ 0", "spectra": "spectra ≥ 0"}


class ComponentControls(Following):
    """Two rows above the figures and a line that tells, the votes, and a row for each component."""

    def __init__(self, change: Callable[..., None], step: Callable[[int], None]) -> None:
        super().__init__()
        self._change, self._step = change, step
        self._before: dict[str, list[int]] = {}
        self._build_series()
        self._build_fit()
        self._build_components()
        self.status = w.HTML(layout=place(f"{WIDTH}px", height="40px", overflow="auto"))
        self.votes = w.HTML(layout=place("470px", height="64px", overflow="auto"))
        top = [self.back, self.forward, self.slider, self.against]
        knobs = [self.number, self.init, *self.sides.values(), self.closure, self.bands]
        rows = [w.HBox(one, layout=w.Layout(width=f"{WIDTH}px", overflow="hidden")) for one in (top, knobs)]
        self.widget = w.VBox([*rows, self.status], layout=w.Layout(overflow="visible"))

    def _build_series(self) -> None:
        self.build_cursor("500px", self._change, self._step)
        self.against = w.Dropdown(description="against", layout=place("190px"), style={"description_width": "50px"})
        self._on(self.against, lambda value: self._change(against=value))

    def _build_fit(self) -> None:
        self.number = w.BoundedIntText(
            description="components", min=1, max=MOST, layout=place("148px"), style={"description_width": "88px"}
        )
        self.init = w.Dropdown(options=STARTS, layout=place("218px"), tooltip="Where the alternation starts")
        self.sides = {
            side: w.ToggleButton(description=SIDE_WORDS[side], layout=place("150px"), tooltip="Constraint: on or off")
            for side in SIDES
        }
        self.closure = w.ToggleButton(
            description="sum to 1", layout=place("92px"), tooltip="Concentrations of every frame have one sum (closure)"
        )
        self.bands = w.Button(
            description="compute bands", button_style="primary", layout=place("150px"),
            tooltip="How far profiles can move at the same fit; takes seconds",
        )  # fmt: skip
        self._on(self.number, lambda value: self._change(n_components=value))
        self._on(self.init, lambda value: self._change(init=value))
        self._on(self.closure, lambda value: self._change(closure=1.0 if value else None))
        for toggle in self.sides.values():
            self._on(toggle, lambda _value: self._set_sides())

    def _build_components(self) -> None:
        self.freeze = [
            w.ToggleButton(description="freeze", layout=place("74px", height="22px"), tooltip="Keep its spectrum")
            for _ in range(MOST)
        ]
        self.peak = [
            w.ToggleButton(
                description="one peak", layout=place("82px", height="22px"), tooltip="Rises to one peak and falls"
            )
            for _ in range(MOST)
        ]
        self.told = [w.HTML(layout=place("190px", height="22px")) for _ in range(MOST)]
        self.lines = []
        for number in range(MOST):
            self._on(self.freeze[number], lambda _value: self._set_list("frozen", self.freeze))
            self._on(self.peak[number], lambda _value: self._set_list("unimodal", self.peak))
            swatch = f'<span style="color:{COLOURS[number]}">■</span> {number}'
            cells = [w.HTML(swatch, layout=place("30px", height="22px")), self.freeze[number], self.peak[number]]
            self.lines.append(w.HBox([*cells, self.told[number]], layout=w.Layout(height="24px", overflow="hidden")))
        self.components = w.VBox(self.lines, layout=w.Layout(overflow="hidden auto", max_height="176px"))

    def _on(self, widget: Any, act: Callable[[Any], Any]) -> None:
        """Let `act` be called with what somebody has set; what the state refuses is said."""

        def tried(value: Any) -> None:
            try:
                act(value)
            except TraitError as error:
                self.say([(str(error), BAD)])

        super()._on(widget, tried)

    def _set_sides(self) -> None:
        self._change(non_negative=[side for side, toggle in self.sides.items() if toggle.value])

    def _set_list(self, name: str, toggles: list[Any]) -> None:
        """Put components into a list in the order in which they were ticked."""
        ticked = [number for number, toggle in enumerate(toggles) if toggle.value]
        before = list(self._before.get(name, ()))
        self._change(
            **{name: [*(one for one in before if one in ticked), *(one for one in ticked if one not in before)]}
        )

    def load(self, data: ComponentData) -> None:
        """Fit limits and choices to the data."""
        with self.following():
            self.fit_frames(data.numbers, self.slider)
            self.against.options = [(name.replace("_", " "), name) for name in data.choices]
            self.votes.value = votes(data.rank)

    def show(self, state: ComponentState, result: MCRResult | None) -> None:
        """Let every widget tell the state and the result."""
        self._before = {"frozen": list(state.frozen), "unimodal": list(state.unimodal)}
        with self.following():
            self.slider.value, self.against.value = state.frame, state.against
            self.number.value, self.init.value = state.n_components, state.init
            for side, toggle in self.sides.items():
                toggle.value = side in state.non_negative
            self.closure.value = state.closure is not None
            self.closure.description = f"sum to {1.0 if state.closure is None else state.closure:g}"
            self.bands.disabled = result is None or result.has_bands
            widths = None if result is None or not result.has_bands else result.widths() / scale(result.dataset)
            for number, line in enumerate(self.lines):
                line.layout.display = "" if number < state.n_components else "none"
                self.freeze[number].value, self.peak[number].value = number in state.frozen, number in state.unimodal
                self.freeze[number].description = "frozen" if number in state.frozen else "freeze"
                self.freeze[number].disabled = result is None and number not in state.frozen
                self.told[number].value = _width(None if widths is None or number >= len(widths) else widths[number])

    def say(self, lines: list[tuple[str, str]]) -> None:
        """Tell how it stands; each line with its colour."""
        told = "<br>".join(f'<span style="color:{colour}">{html.escape(text)}</span>' for text, colour in lines)
        self.status.value = f'<div style="line-height:1.35">{told}</div>'


class ComponentMarking(Marking):
    """The form for marks beside the rows of components."""

    def __init__(self, change: Callable[..., None], components: w.Widget) -> None:
        super().__init__(change)
        self.widget.children = (*self.widget.children, components)
        self._name_tabs()
        self.widget.layout.width = "510px"
        self.script.layout.width = self.listing.layout.width = self.told.layout.width = "472px"
        self.widget.selected_index = 3

    def load(self, measurement: Any, store: Any, author: str) -> None:
        """Take another series or store; `ComponentData` has what a form asks of a series."""
        super().load(measurement, store, author)

    def _name_tabs(self) -> None:
        self.widget.titles = (*self.widget.titles[:3], "Components")

    def refresh(self) -> None:
        """Read the marks of the series again."""
        super().refresh()
        self._name_tabs()

    def show(self, state: Any) -> None:
        """Tell what is selected, and whether it can be marked."""
        super().show(state)
        if self.store is not None and state.region is None and not self.waits:
            self.where.value = "<i>drag over frames, or over a range of the spectra</i>"

    def _add(self) -> Any:
        if self.store is None or self.region is None:
            if self.store is not None:
                raise ValueError("select first: drag over frames, or over a range of the spectra")
            return super()._add()
        assert self.measurement is not None
        first, last, low, high = self.region
        return self.store.add(
            self.measurement.given,
            author=self.author.value or None,
            frames=(first, last),
            axis_range=(self.measurement.axis, low, high),  # a series may have other axes beside this one
            category=self.category.value,
            mechanism=self.mechanism.value,
            confidence=self.confidence.value,
            text=self.text.value,
        )


def _width(width: float | None) -> str:
    if width is None or not np.isfinite(width):
        return "<i>band not computed</i>"
    if width <= WIDE:
        return f"band {width:.3f} wide at most"
    return f'<span style="color:{DOUBTFUL}">band up to {width:.2f} wide</span>'


def votes(found: Rank | str) -> str:
    """Return what each method says of the number of components, and whether they agree."""
    style = "line-height:1.35;font-size:12px"
    if isinstance(found, str):
        return f'<div style="{style};color:{BAD}">no rank: {html.escape(found)}</div>'
    told = [f"{WAYS[name]}: <b>{'–' if vote is None else vote}</b>" for name, vote in found.votes.items()]
    known = [vote for vote in found.votes.values() if vote is not None]
    end = f"All say {known[0]}." if found.is_unanimous else f"They disagree: {min(known)} to {max(known)}."
    colour = PLAIN if found.is_unanimous else DOUBTFUL
    return f'<div style="{style}">{" · ".join(told)} <b style="color:{colour}">{end}</b></div>'
