"""The form for marks of the total-scattering dashboard, with two tabs more: bond lengths, and tries of the knobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ipywidgets as w
import xarray as xr

from batlab.dashboards.controls import Following, place
from batlab.dashboards.marking import Marking
from batlab.dashboards.pdf_data import Scattering
from batlab.dashboards.pdf_state import PDFState
from batlab.pdf.tuning import KNOBS, MERITS
from batlab.schema import identity

TITLES = ("Code", "Bond", "Tune")
TUNE = 4
KNOB_WORDS = tuple(zip(("Qmax", "background ×", "rpoly"), KNOBS, strict=True))
MERIT_WORDS = tuple((name.replace("_", " "), name) for name in MERITS)


@dataclass(frozen=True, eq=False)
class Place:
    """What a form asks of a measurement; marks on G(r) of patterns lie on r, which the patterns do not have."""

    given: Any
    series: xr.Dataset
    axis: str
    whole: tuple[tuple[float, float], tuple[float, float]]


class PDFMarking(Marking):
    """Form, list of marks, script, bond lengths and tries, as five tabs."""

    def __init__(self, change: Callable[..., None], bond: w.Widget, tune: w.Widget) -> None:
        super().__init__(change)
        self.widget.children = (*self.widget.children, bond, tune)

    def load(self, data: Any, store: Any, author: str) -> None:
        """Take another series or another store."""
        self.data: Scattering = data
        super().load(data, store, author)

    def turn_to(self, state: PDFState) -> None:
        """Let marks lie on the axis that the map shows."""
        r = xr.DataArray([0.0], dims="r", attrs={"units": "angstrom"})
        on_r = state.axis == "r" and self.data.is_patterns
        ends = self.data.reach if state.axis == "r" else self.data.whole[1]
        series = self.data.given.assign_coords(r=r) if on_r else self.data.given
        given = identity(self.data.given) if on_r else self.data.given
        self.measurement = Place(given, series, state.axis, (self.data.whole[0], ends))  # type: ignore[assignment]

    def refresh(self) -> None:
        """Read the marks of the series again."""
        super().refresh()
        self.widget.titles = ("Mark", f"Marks ({len(self.marks)})", *TITLES)

    def _go(self, number: int | None) -> None:
        """Go to a mark, and to the map on whose axis it lies."""
        if number and (axis := self.marks[number - 1].axis) and axis != self.measurement.axis:  # type: ignore[union-attr]
            self._change(curve="g_r" if axis == "r" else "intensity")
        super()._go(number)

    @property
    def is_tuning_open(self) -> bool:
        """Whether the tries are on the screen."""
        return self.widget.selected_index == TUNE


class TuneCard(Following):
    """Which knob and which figure of merit are drawn, and the button that tries."""

    def __init__(self, change: Callable[..., None], view: w.Widget) -> None:
        super().__init__()
        self.knob = w.Dropdown(options=KNOB_WORDS, layout=place("112px"), tooltip="The knob that is turned")
        self.merit = w.Dropdown(
            options=MERIT_WORDS, layout=place("124px"),
            tooltip="ripple: what G(r) shows below the shortest bond beside a line; tail: F(Q) in its last tenth",
        )  # fmt: skip
        self.button = w.Button(description="try values", layout=place("104px"), tooltip="Reduce this frame many times")
        self.told = w.HTML(layout=place("369px", height="20px"))
        self._on(self.knob, lambda value: change(knob=value))
        self._on(self.merit, lambda value: change(merit=value))
        self.widget = w.VBox([w.HBox([self.knob, self.merit, self.button]), self.told, view])

    def show(self, state: PDFState, words: str, *, can_try: bool, is_current: bool) -> None:
        """Let every widget tell the state."""
        with self.following():
            self.knob.value, self.merit.value = state.knob, state.merit
        self.button.disabled = not can_try or is_current
        self.button.button_style = "primary" if can_try and not is_current else ""
        self.told.value = f'<span style="font-size:12px">{words}</span>'
