"""Widgets of the absorption dashboard: they only change the state; `show` lets them follow it."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as w
from traitlets import TraitError

from batlab.dashboards.controls import Following, place
from batlab.dashboards.xanes_data import Spectra
from batlab.dashboards.xanes_state import MOST_KWEIGHT, MOST_NNORM, XANESState

WIDTH = 1096
CURVE_WORDS = (("map of μ", "mu"), ("map of normalised μ", "mu_flat"), ("map of dμ/dE", "derivative"))
METHOD_WORDS = (("steepest rise", "derivative"), ("half the step", "half_step"), ("mean of the rise", "integral"))
BAD, DOUBTFUL, PLAIN = "#B00020", "#8A5A00", "#222222"


class XANESControls(Following):
    """Two rows above the figures and a line that tells; `change` sets traits of the state."""

    def __init__(self, change: Callable[..., None], step: Callable[[int], None]) -> None:
        super().__init__()
        self._change, self._step = change, step
        self._e0 = 0.0
        self._build_series()
        self._build_edge()
        self._build_transform()
        self.status = w.HTML(layout=place(f"{WIDTH}px", height="36px", overflow="auto"))
        self._listen()
        top = [self.back, self.forward, self.slider, self.curve, self.difference, self.reference, self.apply]
        knobs = [
            _word("E₀ (eV)", 52), self.e0, self.automatic, self.method, _word("pre", 26), *self.pre,
            _word("post", 32), *self.post, _word("nnorm", 46), self.nnorm, _word("rbkg", 32), self.rbkg,
            _word("k-weight", 60), self.kweight, _word("k", 12), self.kmin, self.kmax,
        ]  # fmt: skip
        rows = [w.HBox(row, layout=w.Layout(width=f"{WIDTH}px", overflow="hidden")) for row in (top, knobs)]
        self.widget = w.VBox([*rows, self.status], layout=w.Layout(overflow="visible"))

    def _build_series(self) -> None:
        self.build_cursor("400px", self._change, self._step)
        self.curve = w.Dropdown(options=CURVE_WORDS, layout=place("168px"), tooltip="What the map shows")
        self.difference = w.ToggleButton(
            description="minus frame", tooltip="Show the difference against a frame in the map", layout=place("104px")
        )
        self.reference = w.BoundedIntText(
            layout=place("66px"), tooltip="The frame that is subtracted", continuous_update=False
        )
        self.apply = w.Button(
            description="apply to the series", button_style="primary", layout=place("150px"),
            tooltip="Compute all frames with these settings",
        )  # fmt: skip

        self.against = w.Dropdown(
            description="against", layout=place("240px"), style={"description_width": "50px"},
            tooltip="What the edge energies are drawn against",
        )  # fmt: skip
        self.hint = w.Label("apply to the series first")

    def _build_edge(self) -> None:
        self.e0 = self._number("74px", "Edge energy of all frames; drag the red line too", 0.1)
        self.automatic = w.ToggleButton(
            description="auto", tooltip="Find the edge energy of every frame", layout=place("60px")
        )
        self.method = w.Dropdown(options=METHOD_WORDS, layout=place("120px"), tooltip="How E₀ is found")
        told = "Start and end of the window {} the edge, eV from E₀; drag it in the figure too"
        self.pre = [self._number("62px", told.format("before"), 5) for _ in range(2)]
        self.post = [self._number("62px", told.format("behind"), 5) for _ in range(2)]
        self.nnorm = w.BoundedIntText(
            min=0, max=MOST_NNORM, layout=place("44px"), tooltip="Degree of the polynomial behind the edge"
        )

    def _build_transform(self) -> None:
        self.rbkg = self._number("48px", "R below which χ(R) is background, Å", 0.1)
        self.kweight = w.BoundedIntText(min=0, max=MOST_KWEIGHT, layout=place("42px"), tooltip="Power of k")
        self.kmin = self._number("48px", "Start of the transform, Å⁻¹; drag the window in χ(k) too", 0.5)
        self.kmax = self._number("68px", "End of the transform, Å⁻¹; 0: where the data end", 0.5)

    def _number(self, width: str, told: str, step: float) -> w.FloatText:
        return w.FloatText(step=step, layout=place(width), continuous_update=False, tooltip=told)

    def _listen(self) -> None:
        self._on(self.against, lambda value: self._change(against=value))
        self._on(self.curve, lambda value: self._change(curve=value))
        self._on(self.difference, lambda value: self._change(reference=self.reference.value if value else None))
        self._on(self.reference, lambda value: self.difference.value and self._change(reference=value))
        self._on(self.e0, lambda value: self._try(e0=value))
        self._on(self.automatic, lambda value: self._try(e0=None if value else self._e0))
        self._on(self.method, lambda value: self._change(method=value))
        for box in self.pre:
            self._on(box, lambda _value: self._try(pre=tuple(one.value for one in self.pre)))
        for box in self.post:
            self._on(box, lambda _value: self._try(post=tuple(one.value for one in self.post)))
        self._on(self.nnorm, lambda value: self._try(nnorm=value))
        self._on(self.rbkg, lambda value: self._try(rbkg=value))
        self._on(self.kweight, lambda value: self._try(kweight=value))
        self._on(self.kmin, lambda value: self._try(kmin=value))
        self._on(self.kmax, lambda value: self._try(kmax=value or None))

    def _try(self, **traits: Any) -> None:
        """Set what somebody has typed, or say why it cannot be."""
        try:
            self._change(**traits)
        except TraitError as error:
            self.say([(str(error), BAD)])

    def load(self, data: Spectra) -> None:
        """Fit limits and choices to the data."""
        with self.following():
            self.fit_frames(data.numbers, self.slider, self.reference)
            self.against.options = [(name.replace("_", " "), name) for name in data.choices()]

    def show(self, state: XANESState, *, e0: float, kmax: float, can_map: bool, is_current: bool) -> None:
        """Let every widget tell the state; `e0` and `kmax` are what the spectrum on the screen has."""
        self._e0 = float(f"{e0:.8g}") if e0 == e0 else self._e0
        with self.following():
            self.slider.value, self.curve.value, self.against.value = state.frame, state.curve, state.against
            self.curve.disabled = not can_map
            self.hint.layout.visibility = "hidden" if can_map else "visible"
            self.difference.value = state.reference is not None
            if state.reference is not None:
                self.reference.value = state.reference
            self.e0.value = round(self._e0 if state.e0 is None else state.e0, 2)
            self.automatic.value, self.method.value = state.e0 is None, state.method
            self.method.disabled = state.e0 is not None
            for boxes, ends in ((self.pre, state.pre), (self.post, state.post)):
                for box, end in zip(boxes, ends, strict=True):
                    box.value = end
            self.nnorm.value, self.kweight.value = state.nnorm, state.kweight
            self.rbkg.value, self.kmin.value, self.kmax.value = state.rbkg, state.kmin, round(kmax, 2)
            self.apply.button_style = "" if is_current else "primary"
            self.apply.disabled = is_current

    def say(self, lines: list[tuple[str, str]]) -> None:
        """Tell lines in their colours."""
        told = [f'<div style="color:{colour}">{html.escape(text)}</div>' for text, colour in lines]
        self.status.value = f'<div style="line-height:1.3">{"".join(told)}</div>'


def _word(text: str, width: int) -> w.Label:
    return w.Label(text, layout=w.Layout(width=f"{width}px", margin="0 2px 0 2px"))
