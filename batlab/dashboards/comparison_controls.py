"""Widgets of the comparison of techniques: they only change the state; `show` lets them follow it."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w
from traitlets import TraitError

from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_panels import SLOTS
from batlab.dashboards.comparison_state import ComparisonState
from batlab.dashboards.controls import Following, place
from batlab.dashboards.marking import Marking, listing
from batlab.figures.comparison import HEIGHTS
from batlab.figures.style import COLOURS, SYMBOLS, unit_sign
from batlab.figures.technique_panel import BOTTOM, TOP

WIDTH = 1096
SIDE = 366
PLAIN, DOUBTFUL, BAD = "#222222", "#8A5A00", "#B00020"


class TechniqueRow:
    """What a technique shows, the number that stands for it, and its lag, beside its panel."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.name = w.HTML(layout=place("84px", height="26px", overflow="hidden"))
        self.shows = w.Dropdown(layout=place("258px"), tooltip="What the panel shows")
        self.feature = w.Dropdown(
            description="scaled", layout=place("345px"), style={"description_width": "80px"},
            tooltip="The number that is drawn over those of the others",
        )  # fmt: skip
        self.lag = w.FloatText(
            description="lag [s]", layout=place("132px"), style={"description_width": "42px"}, continuous_update=False,
            tooltip="Seconds added to this clock; drag the dashed line in the panel, or press , and . there",
        )  # fmt: skip
        self.estimate = w.Button(
            description="estimate", layout=place("86px"), tooltip="Find the lag from the number beside “scaled”"
        )
        self.told = w.HTML(layout=place("134px", height="26px", overflow="hidden"))
        self.lags = w.HBox([self.lag, self.estimate, self.told], layout=w.Layout(overflow="hidden"))
        self.widget = w.VBox(
            [w.HBox([self.name, self.shows]), self.feature, self.lags], layout=w.Layout(overflow="hidden")
        )


class ComparisonControls(Following):
    """The tool bar, a row a technique, and the two numbers that are correlated."""

    def __init__(
        self, change: Callable[..., None], step: Callable[[int], None], estimate: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._change = change
        self.build_cursor("560px", change, step)
        self.axis = w.Dropdown(description="along", layout=place("170px"), style={"description_width": "38px"})
        self.stretch = w.Dropdown(layout=place("150px"), tooltip="Which rise or fall of the axis")
        self.rows = [TechniqueRow(colour) for colour, _ in zip(COLOURS, SLOTS, strict=False)]
        self.pair = [w.Dropdown(layout=place("232px"), tooltip="A number to correlate") for _ in range(2)]
        self.status = w.HTML(layout=w.Layout(width=f"{WIDTH}px", overflow="visible"))
        self.doubt = w.HTML(layout=w.Layout(width="466px"))
        self._listen(estimate)
        top = w.HBox([self.back, self.forward, self.slider, self.axis, self.stretch],
                     layout=w.Layout(width=f"{WIDTH}px"))  # fmt: skip
        self.widget = w.VBox([top, self.status], layout=w.Layout(overflow="visible"))
        self.side = w.VBox([row.widget for row in self.rows], layout=w.Layout(width=f"{SIDE}px", overflow="hidden"))

    def _listen(self, estimate: Callable[[str], None]) -> None:
        self._on(self.axis, lambda value: self._change(axis=value))
        self._on(self.stretch, lambda value: self._change(stretch=value))
        for number, row in enumerate(self.rows):
            self._on(row.shows, partial(self._set, "shows", number))
            self._on(row.feature, partial(self._set, "features", number))
            self._on(row.lag, partial(self._set, "lags", number))
            row.estimate.on_click(lambda _button, n=number: estimate(self.names[n]))
        for box in self.pair:
            self._on(box, lambda _value: self._change(pair=tuple(one.value for one in self.pair)))

    def _on(self, widget: Any, act: Callable[[Any], Any]) -> None:
        """Let `act` be called with what somebody has set; what the state refuses is told."""

        def told(value: Any) -> None:
            try:
                act(value)
            except TraitError as error:
                self.say([(str(error), BAD)])

        super()._on(widget, told)

    def _set(self, trait: str, number: int, value: Any) -> None:
        name = self.names[number]
        more: dict[str, Any] = {"chosen": name} if trait == "lags" else {}
        if trait == "shows":
            more["ranges"] = {one: ends for one, ends in self.state.ranges.items() if one != name}
        self._change(**{trait: {**getattr(self.state, trait), name: value}, **more})

    def load(self, data: ComparisonData, state: ComparisonState) -> None:
        """Fit limits and choices to the data."""
        self.names, self.state = data.names, state
        with self.following():
            self.fit_frames(data.numbers, self.slider)
            self.slider.description = data.lead if len(data.lead) < 7 else "frame"
            self.axis.options = list(state.options["axis"])
            height = HEIGHTS[len(self.names)] + TOP + BOTTOM
            for number, row in enumerate(self.rows):
                row.widget.layout.display = "" if number < len(self.names) else "none"
                if number >= len(self.names):
                    continue
                name = self.names[number]
                row.widget.layout.height = row.widget.layout.min_height = f"{height}px"
                row.name.value = f'<b style="color:{row.colour}">■</b> {html.escape(name)}'
                row.shows.options = state.options["shows"][name]
                row.feature.options = [(label or "–", label) for label in state.options["features"][name]]
                for widget in (row.lag, row.estimate):
                    widget.layout.display = "" if name in data.movable else "none"
                if name not in data.movable:
                    row.told.value = "<i>the clock of all</i>"
            for box in self.pair:
                box.options = list(state.options["pair"])

    def show_frame(self, state: ComparisonState) -> None:
        """Let the slider tell the cursor: all that a step changes."""
        with self.following():
            self.slider.value = state.frame

    def show(self, state: ComparisonState, stretches: list[str], lags: dict[str, tuple[str, str, str]]) -> None:
        """Let every widget tell the state; `lags` holds each lag as it is told, what is known of it, a colour."""
        with self.following():
            self.slider.value, self.axis.value = state.frame, state.axis
            options = [(words, number) for number, words in enumerate(stretches)]
            if list(self.stretch.options) != options:
                self.stretch.options = options
            self.stretch.value = state.stretch
            self.stretch.layout.display = "" if len(stretches) > 1 else "none"
            for row, name in zip(self.rows, self.names, strict=False):
                row.shows.value, row.feature.value = state.shows[name], state.features[name]
                if name in state.lags:
                    told, words, colour = lags[name]
                    row.lag.value = float(told)
                    row.told.value = f'<span style="color:{colour};font-size:12px">{html.escape(words)}</span>'
            for box, label in zip(self.pair, state.pair, strict=True):
                box.value = label

    def tell_doubt(self, words: str, colour: str) -> None:
        """Tell what is doubtful or wrong about the correlation."""
        self.doubt.value = f'<div style="color:{colour};font-size:12px;line-height:1.3">{html.escape(words)}</div>'

    def say(self, lines: list[tuple[str, str]]) -> None:
        """Tell lines in their colours."""
        told = [f'<div style="color:{colour}">{html.escape(text)}</div>' for text, colour in lines]
        self.status.value = f'<div style="line-height:1.3">{"".join(told)}</div>'


class ComparisonMarking(Marking):
    """The form for marks: each lies on one technique, and refers to its data."""

    def __init__(self, change: Callable[..., None]) -> None:
        super().__init__(change)
        self.of: dict[str, list[Any]] = {}
        self.widget.layout.width = "600px"
        self.script.layout.width = self.listing.layout.width = self.told.layout.width = "566px"

    def load(self, measurement: Any, store: Any, author: str) -> None:
        """Take another experiment or store."""
        super().load(measurement, store, author)

    def refresh(self) -> None:
        """Read the marks of every technique over frames again."""
        data: Any = self.measurement
        store = self.store
        self.of = {name: [] if store is None else list(store.marks(data.given(name))) for name in data.markable}
        self._places = [(name, mark) for name, marks in self.of.items() for mark in marks]
        self.marks = [mark for _, mark in self._places]
        named = [replace(mark, mechanism=f"{name}: {mark.mechanism}") for name, mark in self._places]
        self.listing.value = listing(named)
        told = [
            (f"{n}  {mark.mechanism}, frames {mark.frames[0]}–{mark.frames[1]}", n) for n, mark in enumerate(named, 1)
        ]
        self.chosen.options = [("go to …", 0), *told]
        self.chosen.value = 0
        self.widget.titles = ("Mark a region", f"Marks ({len(self.marks)})", "Code")
        self.after(self.marks)

    def _go(self, number: int | None) -> None:
        if not number:
            return
        data: Any = self.measurement
        name, mark = self._places[number - 1]
        region, shows = data.whereabouts(name, mark, self._shows)
        self._change(frame=data.lead_frame(name, mark.frames[0]), shows=shows, region=region)

    def show(self, state: Any) -> None:
        """Tell what is selected, and whether it can be marked."""
        self.region, self._shows = state.region, state.shows
        self.save.disabled = self.store is None or state.region is None
        self.clear.disabled = state.region is None
        if self.store is None:
            self.where.value = "<i>no store: pass store=bl.failure.Store(…)</i>"
        elif state.region is None:
            self.where.value = "<i>choose “Select a region” beside the panels, and draw a box</i>"
        else:
            name, first, last, low, high = state.region
            words = f"{name}, frames {first}–{last}" if first != last else f"{name}, frame {first}"
            if low is not None:
                data: Any = self.measurement
                axis = data.axis_of(name, state.shows[name])
                self._axis = str(axis.name)
                units = unit_sign(str(axis.attrs.get("units", "1")))
                words += f", {SYMBOLS.get(str(axis.name), str(axis.name))} {low:.4g} – {high:.4g} {units}"
            self.where.value = html.escape(words)

    def _add(self) -> Any:
        if self.store is None:
            raise ValueError("marks need a store; pass store=bl.failure.Store('cell7.marks.sqlite')")
        if self.region is None:
            raise ValueError("select a region first: draw a box on a panel")
        data: Any = self.measurement
        name, first, last, low, high = self.region
        return self.store.add(
            data.given(name),
            author=self.author.value or None,
            frames=(first, last),
            axis_range=None if low is None else (self._axis, low, high),
            category=self.category.value,
            mechanism=self.mechanism.value,
            confidence=self.confidence.value,
            text=self.text.value,
        )
