"""Widgets of the small-angle dashboard: they only change the state; `show` lets them follow it."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w
from traitlets import TraitError

from batlab.dashboards.controls import Following, place
from batlab.dashboards.saxs_data import SmallAngles
from batlab.dashboards.saxs_state import SAXSState
from batlab.dashboards.xanes_controls import BAD, DOUBTFUL, PLAIN, WIDTH, _word

__all__ = ["BAD", "DOUBTFUL", "PLAIN", "WIDTH", "SAXSControls"]
CURVE_WORDS = (
    ("map of I", "intensity"),
    ("map of q² I", "kratky"),
    ("map of q⁴ I", "porod"),
    ("map of sizes", "sizes"),
)
SHAPE_WORDS = (("globule", "globule"), ("rod", "rod"), ("sheet", "sheet"))
SLOPE_WORDS = (("slope 4", 4.0), ("slope free", None))
METHOD_WORDS = (("smooth", "smooth"), ("max. entropy", "entropy"))
TREND_WORDS = (
    ("radius of gyration", "rg"), ("I(0)", "i0"), ("Porod constant", "porod_constant"), ("Porod slope", "exponent"),
    ("surface", "surface"), ("invariant", "invariant"), ("volume fraction", "volume_fraction"),
    ("mean diameter", "mean_diameter"),
)  # fmt: skip


class SAXSControls(Following):
    """Three rows above the figures, the last with numbers; doubts under the map; `change` sets traits of the state."""

    def __init__(self, change: Callable[..., None], step: Callable[[int], None]) -> None:
        super().__init__()
        self._change, self._step = change, step
        self._found: tuple[float, float] | None = None
        self._build_series()
        self._build_laws()
        self._build_sizes()
        self.status = w.HTML(layout=place("520px", height="34px", overflow="auto"))
        self.told = w.HTML(layout=place("578px", height="52px", overflow="auto"))  # lies under the map
        self._listen()
        top = [self.back, self.forward, self.slider, self.curve, self.difference, self.reference, self.apply]
        laws = [
            _word("Guinier q (Å⁻¹)", 100), *self.guinier, self.automatic, self.shape, _word("Porod q (Å⁻¹)", 90),
            *self.porod, self.slope, self.background, _word("Δρ (10⁻⁶ Å⁻²)", 98), self.contrast,
        ]  # fmt: skip
        sizes = [
            _word("sizes q (Å⁻¹)", 100), *self.sizes, self.all, _word("D (Å)", 42), *self.diameters, self.method,
            self.status,
        ]  # fmt: skip
        rows = [w.HBox(row, layout=w.Layout(width=f"{WIDTH}px", overflow="hidden")) for row in (top, laws, sizes)]
        self.widget = w.VBox(rows, layout=w.Layout(overflow="visible"))

    def _build_series(self) -> None:
        self.build_cursor("400px", self._change, self._step)
        self.curve = w.Dropdown(options=CURVE_WORDS, layout=place("126px"), tooltip="What the map shows")
        self.difference = w.ToggleButton(
            description="minus frame", tooltip="Show the difference against a frame in the map", layout=place("104px")
        )
        self.reference = w.BoundedIntText(
            layout=place("66px"), tooltip="The frame that is subtracted", continuous_update=False
        )
        self.apply = w.Button(
            description="apply to the series", button_style="primary", layout=place("160px"),
            tooltip="Compute all frames with these settings",
        )  # fmt: skip
        self.trend = w.Dropdown(options=TREND_WORDS, layout=place("150px"), tooltip="What is followed along the series")
        self.against = w.Dropdown(
            description="against", layout=place("180px"), style={"description_width": "50px"},
            tooltip="What it is drawn against",
        )  # fmt: skip
        self.hint = w.Label("apply first")

    def _build_laws(self) -> None:
        told = "{} of the {} window; drag it in the log-log plot too"
        self.guinier = [self._number("84px", told.format(end, "Guinier")) for end in ("Start", "End")]
        self.automatic = w.ToggleButton(
            description="auto", tooltip="Find the Guinier window of every frame", layout=place("52px")
        )
        self.shape = w.Dropdown(options=SHAPE_WORDS, layout=place("86px"), tooltip="What Rg is of")
        self.porod = [self._number("84px", told.format(end, "Porod")) for end in ("Start", "End")]
        self.slope = w.Dropdown(
            options=SLOPE_WORDS, layout=place("92px"), tooltip="Power of the tail: 4 for a smooth surface, or fitted"
        )
        self.background = w.ToggleButton(
            description="background", tooltip="Fit a constant with the tail and the sizes", layout=place("104px")
        )
        self.contrast = self._number(
            "64px", "Difference of scattering length densities; 0: unknown. It needs intensities in 1/cm"
        )

    def _build_sizes(self) -> None:
        told = "{} of the points that the size distribution is found from; drag the strip in the log-log plot too"
        self.sizes = [self._number("84px", told.format(end)) for end in ("First", "Last")]
        self.all = w.ToggleButton(description="all", tooltip="Take all points", layout=place("52px"))
        self.diameters = [self._number("70px", f"{end} diameter") for end in ("Smallest", "Largest")]
        self.method = w.Dropdown(
            options=METHOD_WORDS, layout=place("108px"), tooltip="The smoothest distribution, or the least committed"
        )

    def _number(self, width: str, told: str) -> w.FloatText:
        return w.FloatText(layout=place(width), continuous_update=False, tooltip=told)

    def _listen(self) -> None:
        for name in ("trend", "against", "curve", "shape", "method", "background"):
            self._on(getattr(self, name), partial(self._set, name))
        self._on(self.difference, lambda value: self._change(reference=self.reference.value if value else None))
        self._on(self.reference, lambda value: self.difference.value and self._change(reference=value))
        self._on(self.slope, lambda value: self._change(exponent=value))
        self._on(self.contrast, lambda value: self._try(contrast=value or None))
        for name in ("guinier", "porod", "sizes", "diameters"):
            for box in getattr(self, name):
                self._on(box, partial(self._take_pair, name))
        self._on(self.automatic, lambda value: self._try(guinier=None if value else self._pair("guinier")))
        self._on(self.all, lambda value: self._try(sizes=None if value else self._pair("sizes")))

    def _set(self, name: str, value: Any) -> None:
        self._change(**{name: value})

    def _take_pair(self, name: str, _value: Any) -> None:
        self._try(**{name: self._pair(name)})

    def _pair(self, name: str) -> tuple[float, ...]:
        return tuple(box.value for box in getattr(self, name))

    def _try(self, **traits: Any) -> None:
        """Set what somebody has typed, or say why it cannot be."""
        try:
            self._change(**traits)
        except TraitError as error:
            self.say([(str(error), BAD)])

    def load(self, data: SmallAngles) -> None:
        """Fit limits and choices to the data."""
        with self.following():
            self.fit_frames(data.numbers, self.slider, self.reference)
            self.against.options = [(name.replace("_", " "), name) for name in data.choices()]

    def show(
        self, state: SAXSState, *, guinier: tuple[float, float] | None, ends: tuple[float, float], can_map: bool,
        is_current: bool,
    ) -> None:  # fmt: skip
        """Let every widget tell the state; `guinier` is the window on the screen, `ends` the first and last q."""
        with self.following():
            for name in ("shape", "method", "background", "trend", "against", "curve"):
                getattr(self, name).value = getattr(state, name)
            self.slider.value = state.frame
            self.difference.value = state.reference is not None
            if state.reference is not None:
                self.reference.value = state.reference
            if state.exponent not in dict(SLOPE_WORDS).values():
                self.slope.options = (*SLOPE_WORDS, (f"slope {state.exponent:g}", state.exponent))
            self.slope.value = state.exponent
            self.contrast.value = state.contrast or 0.0
            pairs = {"guinier": state.guinier or guinier, "porod": state.porod, "sizes": state.sizes or ends,
                     "diameters": state.diameters}  # fmt: skip
            for name, pair in pairs.items():
                for box, end in zip(getattr(self, name), pair or (), strict=False):
                    box.value = float(f"{end:.4g}")
            self.automatic.value, self.all.value = state.guinier is None, state.sizes is None
            self.hint.layout.visibility = "hidden" if can_map else "visible"
            self.apply.button_style = "" if is_current else "primary"
            self.apply.disabled = is_current

    def say(self, lines: list[tuple[str, str]]) -> None:
        """Tell plain lines beside the settings, doubts and problems in their colours under the map."""
        plain = [line for line in lines if line[1] == PLAIN]
        if plain:
            self.status.value = _markup(plain)
        self.told.value = _markup([line for line in lines if line[1] != PLAIN])


def _markup(lines: list[tuple[str, str]]) -> str:
    told = [f'<div style="color:{colour}">{html.escape(text)}</div>' for text, colour in lines]
    return f'<div style="line-height:1.25;font-size:12px;margin-top:3px">{"".join(told)}</div>'
