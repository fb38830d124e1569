"""Widgets of the calibration dashboard: they only change the state; `show` lets them follow it."""

from __future__ import annotations

import html
import math
from collections.abc import Callable

import ipywidgets as w

from batlab.constants import HC
from batlab.dashboards.calibration_state import CalibrationState
from batlab.dashboards.controls import SCALE_WORDS, Following, place

RIGHT = 420  # pixels beside the image
# Label, unit, step of one nudge, state -> shown; the fit's name of it.
ROWS: dict[str, tuple[str, str, float, Callable[[float], float], str]] = {
    "distance": ("distance", "mm", 0.1, lambda value: 1e3 * value, "distance"),
    "beam_y": ("beam y", "pixel", 0.5, lambda value: value, "poni1"),
    "beam_x": ("beam x", "pixel", 0.5, lambda value: value, "poni2"),
    "rot1": ("tilt, rot1", "°", 0.05, math.degrees, "rot1"),
    "rot2": ("tilt, rot2", "°", 0.05, math.degrees, "rot2"),
    "wavelength": ("energy", "keV", 0.01, lambda value: 1e-3 * HC / value, "wavelength"),
}
BACK: dict[str, Callable[[float], float]] = {
    "distance": lambda shown: 1e-3 * shown,
    "beam_y": float,
    "beam_x": float,
    "rot1": math.radians,
    "rot2": math.radians,
    "wavelength": lambda shown: 1e-3 * HC / shown,
}


class CalibrationControls(Following):
    """Tool bar above the image, the table of parameters, mask, saving; `change` sets traits of the state."""

    def __init__(self, change: Callable[..., None], known: tuple[str, ...]) -> None:
        super().__init__()
        self._change = change
        self._build_colours()
        self._build_fit(known)
        self._build_mask()
        self.script = w.Textarea(layout=place(f"{RIGHT - 30}px", height="520px"))

    def _build_colours(self) -> None:
        self.scale = w.Dropdown(options=SCALE_WORDS, layout=place("108px"), tooltip="Scale of counts")
        self.low = w.FloatText(layout=place("84px"), tooltip="Counts of the first colour", continuous_update=False)
        self.high = w.FloatText(layout=place("84px"), tooltip="Counts of the last colour", continuous_update=False)
        self.automatic = w.ToggleButton(description="auto", tooltip="Colours from the data", layout=place("56px"))
        self.rings = w.ToggleButton(description="rings", tooltip="Draw the rings", layout=place("60px"))
        self.readout = w.HTML(layout=place("590px", height="24px"))
        self._on(self.scale, lambda value: self._change(scale=value))
        self._on(self.rings, lambda value: self._change(has_rings=value))
        self._on(self.automatic, lambda value: self._change(limits=None) if value else self._set_limits())
        for one in (self.low, self.high):
            self._on(one, lambda _value: self._set_limits())
        self.bar = w.HBox([self.scale, self.low, self.high, self.automatic, self.rings])

    def _build_fit(self, known: tuple[str, ...]) -> None:
        self.calibrant = w.Dropdown(options=known, layout=place("190px"), tooltip="Substance of the rings")
        self.n_rings = w.BoundedIntText(
            description="rings", min=0, max=999, layout=place("104px"), tooltip="Innermost rings in use; 0: all",
            style={"description_width": "38px"}, continuous_update=False,
        )  # fmt: skip
        self.orientation = w.Dropdown(
            options=(1, 2, 3, 4),
            layout=place("56px"),
            tooltip="Orientation, as in a .poni",
        )
        self._on(self.calibrant, lambda value: self._change(calibrant=value))
        self._on(self.n_rings, lambda value: self._change(n_rings=value or None))
        self._on(self.orientation, lambda value: self._change(orientation=value))
        self.values = {name: self._value(name) for name in ROWS}
        self.free = {
            name: w.Checkbox(indent=False, layout=place("20px"), tooltip="Let the fit change it") for name in ROWS
        }
        for box in self.free.values():
            self._on(box, lambda _value: self._set_free())
        self.sigmas = {name: w.HTML(layout=place("130px", height="24px")) for name in ROWS}
        self.fit = w.Button(description="fit", button_style="primary", layout=place("80px"))
        self.undo_fit = w.Button(description="back", tooltip="To the values before the fit", layout=place("60px"))
        self.status = w.HTML(layout=place(f"{RIGHT - 30}px", height="66px", overflow="auto"))

    def _value(self, name: str) -> w.FloatText:
        step = ROWS[name][2]
        box = w.FloatText(step=step, layout=place("120px"), continuous_update=False, tooltip=f"Arrows: ± {step:g}")
        self._on(box, lambda value: self._nudge(name, value))
        return box

    def _build_mask(self) -> None:
        self.undo = w.Button(description="undo", tooltip="Take the last shape away", layout=place("70px"))
        self.clear = w.Button(description="clear", tooltip="Take all shapes away", layout=place("70px"))
        self.masked = w.HTML(layout=place(f"{RIGHT - 30}px"))
        self.poni = w.Text(value="detector.poni", layout=place("250px"), tooltip="Where the geometry goes")
        self.mask = w.Text(value="mask.edf", layout=place("250px"), tooltip="Where the mask goes: .edf .tif .npy .nc")
        self.save_poni = w.Button(description="save poni", layout=place("100px"))
        self.save_mask = w.Button(description="save mask", layout=place("100px"))
        self.overwrite = w.Checkbox(description="replace files that are there", indent=False)
        self.saved = w.HTML(layout=place(f"{RIGHT - 30}px"))

    def fit_tab(self, residuals: w.Widget) -> w.VBox:
        """Return the tab with calibrant, parameters, fit, and the residuals below."""
        head = w.HBox([self.calibrant, self.n_rings, w.Label("flip", layout=place("24px")), self.orientation])
        rows = []
        for name, (label, unit, *_) in ROWS.items():
            cells = [w.Label(label, layout=place("76px")), self.values[name], w.Label(unit, layout=place("36px"))]
            rows.append(w.HBox([*cells, self.free[name], self.sigmas[name]], layout=w.Layout(height="29px")))
        return w.VBox([head, *rows, w.HBox([self.fit, self.undo_fit]), self.status, residuals])

    def mask_tab(self) -> w.VBox:
        """Return the tab with mask and files."""
        how = (
            "Draw on the image: <b>box</b>, <b>lasso</b>, or <b>polygon</b> (click its corners, double-click the "
            "last one), from the tool bar beside it. What is tinted is left out of the fit."
        )
        told = w.HTML(f'<div style="line-height:1.4">{how}</div>', layout=place(f"{RIGHT - 30}px"))
        files = [w.HBox([self.poni, self.save_poni]), w.HBox([self.mask, self.save_mask])]
        return w.VBox([told, w.HBox([self.undo, self.clear]), self.masked, *files, self.overwrite, self.saved])

    def _nudge(self, name: str, shown: float) -> None:
        if name in ("distance", "wavelength") and not shown > 0:
            self.say(f"{ROWS[name][0]} must be positive, got {shown:g}", is_bad=True)
            return
        self._change(**{name: BACK[name](shown)})

    def _set_limits(self) -> None:
        if self.low.value < self.high.value:
            self._change(limits=(self.low.value, self.high.value))
        else:
            self.say("the last colour needs more counts than the first", is_bad=True)

    def _set_free(self) -> None:
        self._change(free=[ROWS[name][4] for name, box in self.free.items() if box.value])

    def show(self, state: CalibrationState, limits: tuple[float, float], masked: int, sigma: dict[str, float]) -> None:
        """Let every widget tell the state; `sigma` by row, in the unit shown."""
        with self.following():
            self.calibrant.value, self.n_rings.value = state.calibrant, state.n_rings or 0
            self.orientation.value, self.rings.value = state.orientation, state.has_rings
            self.scale.value, self.automatic.value = state.scale, state.limits is None
            self.low.value, self.high.value = state.limits or (float(f"{limit:.5g}") for limit in limits)
            for name, (*_, shown, parameter) in ROWS.items():
                self.values[name].value = float(f"{shown(getattr(state, name)):.8g}")
                self.free[name].value = parameter in state.free
                self.sigmas[name].value = f"± {sigma[name]:.2g}" if name in sigma else ""
            self.undo.disabled = self.clear.disabled = not state.shapes
            shapes = f"{len(state.shapes)} shape{'' if len(state.shapes) == 1 else 's'}"
            self.masked.value = f"{shapes}, {masked} pixels masked"

    def say(self, text: str, *, is_bad: bool = False) -> None:
        """Tell how the fit goes."""
        colour = "#B00020" if is_bad else "#222222"
        self.status.value = f'<div style="color:{colour};line-height:1.35">{_lines(text)}</div>'

    def say_saved(self, text: str, *, is_bad: bool = False) -> None:
        """Tell where something was kept, or why not."""
        colour = "#B00020" if is_bad else "#1B6E3C"
        self.saved.value = f'<div style="color:{colour};line-height:1.35">{_lines(text)}</div>'


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
