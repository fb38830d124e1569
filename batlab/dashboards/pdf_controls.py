"""Widgets of the total-scattering dashboard: they only change the state; `show` lets them follow it."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w
import numpy as np
from traitlets import TraitError

from batlab import pdf
from batlab.dashboards.controls import Following, place
from batlab.dashboards.pdf_data import Scattering
from batlab.dashboards.pdf_state import PDFState
from batlab.dashboards.xanes_controls import BAD, DOUBTFUL, PLAIN

__all__ = ["BAD", "DOUBTFUL", "PLAIN", "PDFControls", "RulerCard"]
WIDTH = 1096
CURVE_WORDS = (("map of I(Q)", "intensity"), ("map of F(Q)", "f_q"), ("map of G(r)", "g_r"))
WINDOW_WORDS = (("no window", "none"), ("Lorch", "lorch"), ("soft", "soft"))  # None would be no choice at all
RPOLY = (0.3, 1.6)  # angstrom
BGSCALE = (0.0, 2.0)
SLIDERS = ("qmax", "bgscale", "rpoly")


class PDFControls(Following):
    """Two rows above the figures and a line that tells; `change` sets traits of the state."""

    def __init__(self, change: Callable[..., None], step: Callable[[int], None]) -> None:
        super().__init__()
        self._change = change
        self._set: dict[str, float] = {}  # where the state has the sliders
        self._build_series(step)
        self._build_knobs()
        self.status = w.HTML(layout=place(f"{WIDTH}px", height="36px", overflow="auto"))
        self._listen()
        top = [self.back, self.forward, self.slider, self.curve, self.difference, self.reference, self.apply]
        knobs = [
            self.qmax, self.bgscale, self.rpoly, self.window, _word("Q from", 44), self.qmin, _word("rpoly to Q", 68),
            self.qmaxinst,
        ]  # fmt: skip
        rows = [w.HBox(row, layout=w.Layout(width=f"{WIDTH}px", overflow="hidden")) for row in (top, knobs)]
        self.widget = w.VBox([*rows, self.status], layout=w.Layout(overflow="visible"))

    def _build_series(self, step: Callable[[int], None]) -> None:
        self.build_cursor("420px", self._change, step)
        self.curve = w.Dropdown(options=CURVE_WORDS, layout=place("130px"), tooltip="What the map shows")
        self.difference = w.ToggleButton(
            description="minus frame", tooltip="Show what has changed since a frame in the map", layout=place("104px")
        )
        self.reference = w.BoundedIntText(
            layout=place("66px"), tooltip="The frame that is subtracted", continuous_update=False
        )
        self.apply = w.Button(
            description="apply to the series", button_style="primary", layout=place("150px"),
            tooltip="Compute G(r) of all frames with these settings",
        )  # fmt: skip

    def _build_knobs(self) -> None:
        self.qmax = self._slider("Qmax (Å⁻¹)", 80, "280px", 0.1, ".1f", "Where F(Q) ends")
        self.bgscale = self._slider("background ×", 92, "250px", 0.01, ".2f", "Factor of the background")
        self.rpoly = self._slider(
            "rpoly (Å)", 62, "212px", 0.05, ".2f", "What F(Q) holds below this r is taken out: below the shortest bond"
        )
        self.window = w.Dropdown(
            options=WINDOW_WORDS, layout=place("92px"), tooltip="Termination window: quieter ripples, broader peaks"
        )
        told = {"step": 0.1, "continuous_update": False}
        self.qmin = w.FloatText(layout=place("58px"), tooltip="Where F(Q) begins, Å⁻¹", **told)
        self.qmaxinst = w.FloatText(layout=place("62px"), tooltip="To which Q the polynomial is fitted, Å⁻¹", **told)

    def _slider(self, words: str, room: int, width: str, step: float, form: str, told: str) -> w.FloatSlider:
        return w.FloatSlider(
            description=words, step=step, readout_format=form, layout=place(width), tooltip=told,
            style={"description_width": f"{room}px"},
        )  # fmt: skip

    def _listen(self) -> None:
        self._on(self.curve, lambda value: self._change(curve=value))
        self._on(self.difference, lambda value: self._change(reference=self.reference.value if value else None))
        self._on(self.reference, lambda value: self.difference.value and self._change(reference=value))
        self._on(self.window, lambda value: self._change(window=None if value == "none" else value))
        self._on(self.qmin, lambda value: self.attempt(qmin=value))
        self._on(self.qmaxinst, lambda value: self.attempt(qmaxinst=value))
        for name in SLIDERS:
            self._on(getattr(self, name), partial(self._slide, name))

    def _slide(self, name: str, value: float) -> None:
        """Take a step of a slider; the browser also sends back, rounded to its steps, what Python has set."""
        if abs(value - self._set.get(name, np.inf)) > 0.51 * getattr(self, name).step:
            self.attempt(**{name: round(value, 4)})

    def attempt(self, **traits: Any) -> None:
        """Set what somebody has typed, or say why it cannot be."""
        try:
            self._change(**traits)
        except TraitError as error:
            self.say([(str(error), BAD)])

    def load(self, data: Scattering) -> None:
        """Fit limits and choices to the data."""
        with self.following():
            self.fit_frames(data.numbers, self.slider, self.reference)
            last = float(data.series["q"].values[-1]) if data.is_patterns else 25.0
            _limit(self.qmax, np.floor(3 * last) / 10, np.floor(last * 10) / 10)
            _limit(self.rpoly, *RPOLY)
            _limit(self.bgscale, *BGSCALE)
            for control in (self.qmax, self.rpoly, self.window, self.qmin, self.qmaxinst):
                control.disabled = not data.is_patterns
            self.bgscale.disabled = data.background is None
            self.apply.layout.visibility = "visible" if data.is_patterns else "hidden"

    def show(self, state: PDFState, *, can_map: bool, has_patterns: bool, is_current: bool) -> None:
        """Let every widget tell the state."""
        with self.following():
            self.slider.value = state.frame
            shown = [one for one in CURVE_WORDS if (has_patterns if one[1] == "intensity" else can_map)]
            shown = shown if has_patterns else [one for one in shown if one[1] == "g_r"]
            if list(self.curve.options) != shown:
                self.curve.options = shown
            self.curve.value = state.curve if state.curve in dict(shown).values() else None
            self.difference.value = state.reference is not None
            if state.reference is not None:
                self.reference.value = state.reference
            for name in SLIDERS:
                slider, value = getattr(self, name), getattr(state, name)
                self._set[name] = value
                _limit(slider, min(slider.min, value), max(slider.max, value))
                if abs(slider.value - value) > 1e-6:  # a rounded echo would stop a hand that has gone on
                    slider.value = value
            self.window.value = state.window or "none"
            self.qmin.value, self.qmaxinst.value = state.qmin, state.qmaxinst
            self.apply.button_style = "" if is_current else "primary"
            self.apply.disabled = is_current

    def say(self, lines: list[tuple[str, str]]) -> None:
        """Tell lines in their colours."""
        told = [f'<div style="color:{colour}">{html.escape(text)}</div>' for text, colour in lines]
        self.status.value = f'<div style="line-height:1.3">{"".join(told)}</div>'


class RulerCard(Following):
    """Beside G(r): what the ruler measures, where it lies, what it reads."""

    def __init__(self, attempt: Callable[..., None]) -> None:
        super().__init__()
        told = {"step": 0.05, "continuous_update": False}
        self.bond = w.Dropdown(layout=place("158px"), tooltip="What the peak is; known ranges move the ruler")
        self.low = w.FloatText(layout=place("68px"), tooltip="Start of the ruler, Å; drag it in G(r) too", **told)
        self.high = w.FloatText(layout=place("68px"), tooltip="End of the ruler, Å; drag it in G(r) too", **told)
        self.reading = w.HTML(layout=place("158px", height="118px", overflow="hidden"))
        self.measure = w.Button(
            description="measure all frames", layout=place("158px"),
            tooltip="Fit this bond in every frame of the computed series",
        )  # fmt: skip
        self._on(self.bond, lambda value: attempt(bond=value))
        for box in (self.low, self.high):
            self._on(box, lambda _value: attempt(ruler=(self.low.value, self.high.value)))
        ends = w.HBox([self.low, _word("to", 14), self.high])
        title = w.HTML('<b style="font-size:13px">bond ruler (Å)</b>', layout=place("158px", height="22px"))
        self.widget = w.VBox(
            [title, self.bond, ends, self.reading, self.measure], layout=w.Layout(width="164px", overflow="visible")
        )

    def load(self, data: Scattering) -> None:
        """Offer the bonds that there may be."""
        with self.following():
            names = [(f"{name}{_told(name)}", name) for name in data.bonds]
            self.bond.options = [("some bond", ""), *names]

    def show(self, state: PDFState, lines: list[tuple[str, str]], *, can_measure: bool, is_measured: bool) -> None:
        """Let every widget tell the state."""
        with self.following():
            self.bond.value = state.bond
            self.low.value, self.high.value = (round(end, 3) for end in state.ruler)
            self.measure.disabled = not can_measure or is_measured
            self.measure.button_style = "primary" if can_measure and not is_measured else ""
        told = [f'<div style="color:{colour}">{html.escape(text)}</div>' for text, colour in lines]
        self.reading.value = f'<div style="line-height:1.4;font-size:12px">{"".join(told)}</div>'


def _told(name: str) -> str:
    ends = pdf.BONDS.get(name)
    return f"  {ends[0]:.2f} – {ends[1]:.2f}" if ends else ""


def _limit(slider: w.FloatSlider, low: float, high: float) -> None:
    """Set both ends, in the order that never crosses them."""
    if low > slider.max:
        slider.max = high
    slider.min, slider.max = low, high


def _word(text: str, width: int) -> w.Label:
    return w.Label(text, layout=w.Layout(width=f"{width}px", margin="0 2px 0 2px"))
