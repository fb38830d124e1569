"""What tool bars share, and that of the cycle explorer: slider, cycle and step, colours, difference, quantities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as w
import numpy as np

from batlab.dashboards.measurement import PANELS, Measurement
from batlab.dashboards.state import State

SCALE_WORDS = (("linear", "linear"), ("square root", "sqrt"), ("logarithm", "log"))
GAP = "4px"


def place(width: str, **more: Any) -> w.Layout:
    """Return the layout of one control: fixed width, no margins of its own."""
    return w.Layout(width=width, margin="0 3px 0 0", **more)


class Following:
    """Widgets that change the state, and follow it without changing it back."""

    def __init__(self) -> None:
        self._is_following = False

    def _on(self, widget: Any, act: Callable[[Any], Any]) -> None:
        """Let `act` be called with what somebody has set."""

        def changed(change: Any) -> None:
            if not self._is_following:
                act(change["new"])

        widget.observe(changed, "value")

    @contextmanager
    def following(self) -> Iterator[None]:
        """Let widgets be set without their changing the state."""
        before, self._is_following = self._is_following, True
        try:
            yield
        finally:
            self._is_following = before

    def build_cursor(self, width: str, change: Callable[..., None], step: Callable[[int], None]) -> None:
        """Make buttons and slider of the frame; the slider takes what the row leaves, from `width` on."""
        self.back = w.Button(description="◀", tooltip="One frame back (←)", layout=place("36px"))
        self.forward = w.Button(description="▶", tooltip="One frame on (→)", layout=place("36px"))
        self.slider = w.IntSlider(
            description="frame", layout=place(width, flex="1 1 auto"), style={"description_width": "44px"}
        )
        self.back.on_click(lambda _button: step(-1))
        self.forward.on_click(lambda _button: step(1))
        self._on(self.slider, lambda value: change(frame=value))

    def fit_frames(self, numbers: np.ndarray, *controls: Any) -> None:
        """Let controls run from the first to the last frame."""
        first, last = int(numbers[0]), int(numbers[-1])
        for control in controls:
            if first > control.max:
                control.max = last
            control.min, control.max = first, last


class Controls(Following):
    """Widgets that only change the state; `show` lets them follow it.

    `change` is called with the traits to set, so that one event makes one refresh.
    """

    def __init__(self, change: Callable[..., None], step: Callable[[int], None]) -> None:
        super().__init__()
        self._change, self._step = change, step
        self.measurement: Measurement | None = None
        self._build_cursor()
        self._build_colours()
        self.panels = [w.Dropdown(layout=place("137px"), tooltip="Quantity beside the map") for _ in range(PANELS)]
        self._listen()
        top = w.HBox([self.back, self.forward, self.slider, self.cycle, self.step], layout=w.Layout(width="993px"))
        colours = [self.scale, self.low, self.high, self.automatic, self.difference, self.reference]
        left = w.HBox(colours, layout=w.Layout(width="570px"))
        right = w.HBox(self.panels, layout=w.Layout(width="423px"))
        self.widget = w.VBox([top, w.HBox([left, right])], layout=w.Layout(overflow="visible"))

    def _build_cursor(self) -> None:
        self.build_cursor("600px", self._change, self._step)
        self.cycle = w.Dropdown(description="cycle", layout=place("140px"), style={"description_width": "38px"})
        self.step = w.Dropdown(description="step", layout=place("130px"), style={"description_width": "34px"})
        self.cycle.tooltip, self.step.tooltip = "Go to the first frame of a cycle", "Go to the first frame of a step"

    def _build_colours(self) -> None:
        self.scale = w.Dropdown(options=SCALE_WORDS, layout=place("104px"), tooltip="Scale of intensity")
        limits = {"continuous_update": False}
        self.low = w.FloatText(layout=place("84px"), tooltip="Intensity of the first colour", **limits)
        self.high = w.FloatText(layout=place("84px"), tooltip="Intensity of the last colour", **limits)
        self.automatic = w.ToggleButton(
            description="auto", tooltip="Colour limits from the data", value=True, layout=place("52px")
        )
        self.difference = w.ToggleButton(
            description="minus frame", tooltip="Show the difference against a frame", layout=place("112px")
        )
        self.reference = w.BoundedIntText(layout=place("66px"), tooltip="The frame that is subtracted", **limits)

    def _listen(self) -> None:
        self._on(self.cycle, lambda value: self._go(value, None))
        self._on(self.step, lambda value: self._go(self.cycle.value, value))
        self._on(self.scale, lambda value: self._change(scale=value, limits=None))
        self._on(self.low, lambda _value: self._set_limits())
        self._on(self.high, lambda _value: self._set_limits())
        self._on(self.automatic, lambda value: self._change(limits=None) if value else self._set_limits())
        self._on(self.difference, lambda value: self._set_reference(value))
        self._on(self.reference, lambda _value: self._set_reference(self.difference.value))
        for panel in self.panels:
            self._on(panel, lambda _value: self._set_panels())

    def _set_limits(self) -> None:
        if self.low.value < self.high.value:
            self._change(limits=(self.low.value, self.high.value))
        else:
            self.high.tooltip = self.low.tooltip = "The last colour needs more intensity than the first"

    def _set_reference(self, is_on: bool) -> None:
        self._change(reference=self.reference.value if is_on else None, limits=None)

    def _set_panels(self) -> None:
        self._change(panels=[panel.value for panel in self.panels if panel.value is not None])

    def _go(self, cycle: float | None, step: float | None) -> None:
        """Move the cursor to the first frame of a cycle and step."""
        assert self.measurement is not None
        numbers = self.measurement.numbers
        fits = np.ones(numbers.size, dtype=bool)
        for name, wanted in (("cycle", cycle), ("step", step)):
            values = self.measurement.values(name)
            if values is not None and wanted is not None:
                fits &= values == wanted
        if fits.any():
            self._change(frame=int(numbers[np.argmax(fits)]))

    def load(self, measurement: Measurement) -> None:
        """Fit limits and choices to the data."""
        with self.following():
            self.measurement = measurement
            self.fit_frames(measurement.numbers, self.slider, self.reference)
            for control, name in ((self.cycle, "cycle"), (self.step, "step")):
                values = measurement.values(name)
                control.layout.display = "none" if values is None else ""
                known = [] if values is None else np.unique(values[np.isfinite(values)]).tolist()
                control.options = [("–", None), *((f"{value:g}", value) for value in known)]
            choices = list(measurement.choices)
            for place_, panel in enumerate(self.panels):
                panel.options = choices
                panel.layout.visibility = "visible" if place_ < len(choices) else "hidden"

    def show(self, state: State, limits: tuple[float, float]) -> None:
        """Let every widget tell the state; `limits` are the intensities of the first and last colour."""
        with self.following():
            self.slider.value = state.frame
            self.scale.value = state.scale
            self.automatic.value = state.limits is None
            self.low.value, self.high.value = (float(f"{limit:.5g}") for limit in limits)
            if state.limits is not None:
                self.low.value, self.high.value = state.limits
            self.difference.value = state.reference is not None
            if state.reference is not None:
                self.reference.value = state.reference
            for panel, label in zip(self.panels, state.panels):
                panel.value = label
            self._show_cycle(state.frame)

    def _show_cycle(self, frame: int) -> None:
        assert self.measurement is not None
        at = int(np.searchsorted(self.measurement.numbers, frame))
        for control, name in ((self.cycle, "cycle"), (self.step, "step")):
            values = self.measurement.values(name)
            if values is not None:
                control.value = float(values[at]) if np.isfinite(values[at]) else None
