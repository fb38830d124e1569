"""From I(Q) to G(r) under the mouse: knobs of one pattern, then the whole series, its bonds and its changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

from batlab import pdf
from batlab.dashboards import page
from batlab.dashboards.controls import place
from batlab.dashboards.events import drawn_region, nearest_frame
from batlab.dashboards.marking import person
from batlab.dashboards.pdf_controls import BAD, WIDTH, PDFControls, RulerCard
from batlab.dashboards.pdf_data import Scattering
from batlab.dashboards.pdf_marking import PDFMarking, TuneCard
from batlab.dashboards.pdf_screen import PDFScreen
from batlab.dashboards.pdf_script import has_reference, pdf_script
from batlab.dashboards.pdf_state import KNOB_TRAITS
from batlab.dashboards.pdf_steps import Applied, Measured, Settings, attempt, measure, settings_of, top
from batlab.dashboards.pdf_words import PDFWords
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.dashboards.xanes_steps import Done
from batlab.failure import Store

MAP = {"curve", "reference", "frames", "applied"}
CARD = "14px 0 0 526px"  # where the ruler's card lies: right of G(r)
CORNER = "304px 0 0 690px"  # where the form lies: under F(Q)


class PDFWorkbench(PDFWords):
    """One pattern of a total-scattering series with its knobs, F(Q) and G(r) made of it, and the series likewise.

    F(Q) and G(r) follow the sliders of Qmax, background and rpoly at once; the dashed line at Qmax and the ruler in
    G(r) are dragged too. ``apply to the series`` computes all frames, with σ of G(r), and the map then shows G(r), or
    with ``minus frame`` what has changed. The ruler reads the peak under it; ``measure all frames`` fits it in the
    series. The tab ``Tune`` tries a knob on the frame (`pdf.tune`). The cursor moves by slider, arrow keys (click into
    the figure first), click on the map, the panels or the trend. A box drawn on the map selects a region to mark.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q) or (q) [1/angstrom], or finished ``g_r`` over (frame, r) or (r), which can be
        compared and measured; ``voltage`` [V], ``capacity``, ``time`` over frame where `align.onto_frames` put them.
    composition
        ``"Mg2SiO4"`` or ``{"Mg": 2, "Si": 1, "O": 4}``; needed for patterns.
    store
        Where marks go: a `failure.Store`, or the path or URL of one. Without it nothing can be marked.
    background
        ``intensity`` on exactly the same q: one curve, or one a frame.
    mode
        ``"xray"`` or ``"neutron"``.
    rmax
        Where G(r) ends [angstrom].

    Attributes
    ----------
    state
        What is shown, as plain numbers; see `PDFState`.
    pattern
        The frame on the screen with F(Q) and G(r).
    result
        The series as it was computed last, None before.
    lengths
        The bond in all frames as it was measured last, None before.
    tried
        What `pdf.tune` has made of a frame last, None before.

    Raises
    ------
    SchemaError, DimensionError, UnitError
        Neither ``intensity`` over q nor ``g_r`` over r, no frame, another unit; a background on another grid.
    ValueError
        No composition, or one that is none.

    Examples
    --------
    >>> import batlab as bl
    >>> workbench = bl.dashboards.PDFWorkbench(patterns, "NiO", background=empty)  # doctest: +SKIP
    >>> workbench.show()  # doctest: +SKIP
    >>> workbench.state.qmax = 21.5  # doctest: +SKIP
    >>> changes = bl.pdf.difference(workbench.apply())  # doctest: +SKIP
    """

    def __init__(
        self,
        series: xr.Dataset,
        composition: str | Mapping[str, float] | None = None,
        store: Store | str | os.PathLike | None = None,
        *,
        background: xr.Dataset | None = None,
        mode: str = "xray",
        rmax: float = 30.0,
    ) -> None:
        super().__init__()
        data = Scattering.read(series, composition, background, mode, rmax)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"series": series, "store": self.store, "background": background}
        self._forget(data)
        self.state = data.first_state()
        self.screen = PDFScreen(data, self.state)
        self.controls = PDFControls(self._change, lambda by: self.state.step(by))
        self.ruler = RulerCard(self.controls.attempt)
        self._listen()
        self.screen.make_documents()
        self.view, self.trend_view, self.tuning_view = (
            FigureView(one) for one in (self.screen.root, self.screen.trend, self.screen.tuning)
        )
        self.views = [self.view, self.trend_view, self.tuning_view]
        self.against = w.Dropdown(description="against", layout=place("240px"), style={"description_width": "50px"})
        self.controls._on(self.against, lambda value: self._change(against=value))
        self.tune_card = TuneCard(self._change, self.tuning_view)
        self.tune_card.button.on_click(
            lambda _button: self._work(self.tune, self.tune_card.button, "nothing was tried")
        )
        self.marking = PDFMarking(self._change, w.VBox([self.against, self.trend_view]), self.tune_card.widget)
        self.marking.after = lambda marks: self.screen.show_marks(marks, self.state)
        self.marking.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self.widget = self._compose()
        self._fill(data)

    @property
    def series(self) -> xr.Dataset:
        """The series as it was given."""
        return self._given["series"]

    @property
    def pattern(self) -> xr.Dataset:
        """The frame on the screen, with F(Q) and G(r) where they could be made."""
        return self.data.series.sel(frame=self.state.frame) if self._shown.dataset is None else self._shown.dataset

    @property
    def lengths(self) -> xr.Dataset | None:
        """The bond in all frames as it was measured last."""
        return None if self._measured is None else self._measured.table

    @property
    def tried(self) -> xr.Dataset | None:
        """What trying the knobs has shown last."""
        return None if self._tried is None else self._tried[1]

    def _forget(self, data: Scattering) -> None:
        """Start anew: nothing computed, or all there is where the series came as G(r)."""
        self._shown = Done(None)
        self._measured: Measured | None = None
        self._tried: tuple[Settings, xr.Dataset] | None = None
        self._map_axis = ""
        self._applied: Applied | None = None if data.is_patterns else Applied(None, Done(data.series))

    def _compose(self) -> w.VBox:
        def laid(widget: w.Widget, margin: str, width: str) -> w.Box:
            layout = w.Layout(grid_area="1 / 1 / 2 / 2", margin=margin, width=width, overflow="visible")
            return w.Box([widget], layout=layout)

        # Card and form lie in the corners that the figures leave empty.
        figure = w.Box([self.view], layout=w.Layout(grid_area="1 / 1 / 2 / 2"))
        parts = [figure, laid(self.ruler.widget, CARD, "164px"), laid(self.marking.widget, CORNER, "406px")]
        grid = w.GridBox(parts, layout=w.Layout(grid_template_columns=f"{WIDTH}px", overflow="visible"))
        box = w.VBox([self.controls.widget, grid], layout=w.Layout(width=f"{WIDTH + 5}px", overflow="visible"))
        box.add_class("batlab-explorer")  # keys.js listens there
        return box

    def _listen(self) -> None:
        screen = self.screen
        screen.heat.on_event(SelectionGeometry, self._select)
        screen.heat.on_event(RangesUpdate, self._zoom)
        for name, trait in (("g_r", "r_range"), ("intensity", "q_range"), ("f_q", "q_range")):
            screen.curves[name].on_event(
                RangesUpdate, lambda event, trait=trait: self._change(**{trait: (event.x0, event.x1)})
            )
        for plot in (screen.heat, *screen.panels):
            plot.on_event(Tap, lambda event: self._change(frame=round(event.y)))
        screen.trend.on_event(Tap, self._go_to_point)
        screen.request.on_change("data", lambda _name, _old, new: self._change(frame=new["frame"][0]))
        for name, hand in screen.hands.items():
            hand.on_change("data", lambda _attr, _old, new, name=name: self._drag(name, list(new["ends"])))
        self.controls.apply.on_click(
            lambda _button: self._work(self.apply, self.controls.apply, "the series was not computed")
        )
        self.ruler.measure.on_click(
            lambda _button: self._work(self.measure, self.ruler.measure, "no bond was measured")
        )

    def _fill(self, data: Scattering) -> None:
        """Bring data and state to the screen, all of it."""
        self.data = data
        self.screen.load(data, self.state)
        self.controls.load(data)
        self.ruler.load(data)
        with self.controls.following():
            self.against.options = [(name.replace("_", " "), name) for name in data.choices()]
        self.marking.load(data, self.store, person())
        self._dirty = {*self.state.trait_names(), "applied", "measured", "tried"}
        self._refresh()
        self.state.observe(self._note)

    def load(
        self,
        series: xr.Dataset,
        composition: str | Mapping[str, float] | None = None,
        *,
        background: xr.Dataset | None = None,
        mode: str = "xray",
        rmax: float = 30.0,
    ) -> None:
        """Show another series in the same figures; the state starts anew.

        Raises
        ------
        SchemaError, DimensionError, UnitError, ValueError
            As for the class; the dashboard then still shows what it had.
        """
        data = Scattering.read(series, composition, background, mode, rmax)
        fresh = data.first_state()
        self._given.update(series=series, background=background)
        self._forget(data)
        self.state.unobserve_all()
        self.state.numbers, self.state.choices, self.state.bonds = fresh.numbers, fresh.choices, fresh.bonds
        for name, value in fresh.trait_values().items():
            self.state.set_trait(name, value)
        self._fill(data)

    def apply(self) -> xr.Dataset:
        """Compute the whole series with the settings on the screen and return it; the map shows its G(r).

        Raises
        ------
        ValueError
            The patterns cannot be reduced so; the dashboard then still shows what it had.
        """
        if not self.data.is_patterns:
            return self.data.series
        settings, data = settings_of(self.state), self.data
        assert data.composition is not None
        done = attempt(
            lambda: pdf.g_of_r(
                data.series, data.composition, background=data.background, mode=data.mode, rmax=data.rmax, **settings
            )
        )
        if done.dataset is None:
            raise ValueError(done.problem)
        is_first, self._applied = self._applied is None, Applied(settings, done)
        with self._event():
            self._dirty |= {"applied"}
            if is_first and self.state.curve == "intensity":
                self.state.curve = "g_r"
        return done.dataset

    def measure(self) -> xr.Dataset:
        """Fit the bond under the ruler in every frame of the computed series (`pdf.bonds`) and return it.

        Raises
        ------
        ValueError
            The series was not computed with the settings on the screen, or the bond cannot be fitted.
        """
        if not self.is_current or self.result is None:
            raise ValueError("apply the settings to the series before a bond is measured in it")
        state, series = self.state, self.result
        done = attempt(lambda: measure(series, state, self.data.composition, self.data.mode))
        if done.dataset is None:
            raise ValueError(done.problem)
        self._measured = Measured(state.ruler, state.bond, series, done.dataset)
        with self._event():
            self._dirty |= {"measured"}
        return done.dataset

    def tune(self) -> xr.Dataset:
        """Try the knobs on the frame under the cursor (`pdf.tune`), around the settings on the screen.

        Raises
        ------
        ValueError
            The pattern cannot be reduced so, or the series came as G(r).
        """
        if not self.data.is_patterns:
            raise ValueError("knobs can be tried on patterns; this series came as G(r)")
        data, frame, settings = self.data, self.state.frame, settings_of(self.state)
        assert data.composition is not None
        done = attempt(
            lambda: pdf.tune(
                data.series.sel(frame=frame), data.composition, background=data.under(frame), mode=data.mode,
                rmax=data.rmax, **settings,
            )
        )  # fmt: skip
        if done.dataset is None:
            raise ValueError(done.problem)
        self._tried = {**settings, "frame": frame}, done.dataset
        with self._event():
            self._dirty |= {"tried"}
        return done.dataset

    def _work(self, work: Any, button: w.Button, trouble: str) -> None:
        """Do what takes a moment, and tell how it went."""
        words, button.description, button.disabled = button.description, "computing …", True
        try:
            work()
        except ValueError as error:
            self.controls.say([(f"{trouble}: {error}", BAD)])
            button.disabled = False
        finally:
            button.description = words

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        state, screen = self.state, self.screen
        if self.result is None and state.curve != "intensity":
            state.curve = "intensity"  # there is no other map yet
        if "bond" in dirty and "ruler" not in dirty and state.bond in pdf.BONDS:
            state.ruler = pdf.BONDS[state.bond]  # a bond whose length is known moves the ruler there
        if state.axis != self._map_axis:
            dirty = dirty | self._turn(keep="region" in dirty)
        with self.view.batch():
            if dirty & (KNOB_TRAITS | {"frame", "applied"}):
                self._compute()
            if dirty & {"q_range", "r_range"}:
                screen.show_axes(state)
            if dirty & {"frame", "bgscale"}:
                screen.show_measured(state)
            if "qmax" in dirty:
                screen.show_qmax(state)
            if dirty & (KNOB_TRAITS | {"frame", "applied", "reference", "curve"}):
                screen.show_made(self._shown.dataset, self._beside())
            if dirty & (KNOB_TRAITS | {"frame", "applied", "ruler"}):
                self._reading = self._read()
                screen.show_ruler(state, self._reading[0] if self._reading else None)
            if dirty & (MAP | {f"{state.axis}_range"}):
                table = self.data.series if state.curve == "intensity" or self.result is None else self.result
                screen.show_map(table, state)
            if dirty & {"frame", "applied", "measured", "against"}:
                self._draw_bonds(dirty)
            if dirty & {"tried", "knob", "merit"}:
                screen.show_tries(self.tried, state)
            if dirty & ({"tried", "knob", "frame"} | KNOB_TRAITS):
                screen.show_setting(state)
            if "region" in dirty:
                screen.show_region(state)
        self._follow()

    def _turn(self, *, keep: bool) -> set[str]:
        """Turn the map to another axis: its ranges, its marks; a region on the old axis means nothing there."""
        self._map_axis = self.state.axis
        self.screen.fit_map(self.state)
        self.marking.turn_to(self.state)
        self.screen.show_marks(self.marking.marks, self.state)
        if not keep and self.state.region is not None:
            self.state.region = None
        return {"curve", "region"}

    def _draw_bonds(self, dirty: set[str]) -> None:
        if dirty & {"applied", "measured", "against"}:
            self.screen.show_bonds(None if self._measured is None else self._measured.lengths, self.state)
        self.screen.show_cursor(self.state)

    def _compute(self) -> None:
        """Take the frame from the series where that has the same settings, else compute it."""
        if self.is_current:
            assert self._applied is not None
            self._shown = self._applied.one(self.state.frame)
        else:
            tuner = self.data.tuner(self.state.frame)
            self._shown = attempt(lambda: tuner(**settings_of(self.state)))

    def _beside(self) -> xr.DataArray | None:
        """Return the G(r) of the frame that the map subtracts."""
        if not has_reference(self.state, self._applied) or self.result is None:
            return None
        return self.result["g_r"].sel(frame=self.state.reference)

    def _read(self) -> tuple[float, float] | None:
        """Return place and height of the peak under the ruler."""
        if not self._shown.has("g_r"):
            return None
        return top(self.pattern["r"].values, self.pattern["g_r"].values, self.state.ruler)

    def _follow(self) -> None:
        """Let widgets and words tell the state."""
        state, is_current = self.state, self.is_current
        self.controls.show(
            state, can_map=self.result is not None, has_patterns=self.data.is_patterns, is_current=is_current
        )
        self.controls.say(self._words())
        self.ruler.show(state, self._ruler_words(), can_measure=is_current, is_measured=self.is_measured)
        with self.controls.following():
            self.against.value = state.against
        tried = self._tried is not None and self._tried[0] == {**settings_of(state), "frame": state.frame}
        self.tune_card.show(state, self._tune_words(tried), can_try=self.data.is_patterns, is_current=tried)
        self.marking.show(state)
        self._refresh_code()

    def _refresh_code(self) -> None:
        if self.marking.is_code_open:
            self.marking.script.value = self.code()

    def _drag(self, name: str, ends: list[float]) -> None:
        """Take where a hand has put something."""
        if not ends or not all(isinstance(end, (int, float)) and np.isfinite(end) for end in ends):
            return
        part, sides = self.screen.part(name), ("location",) if name == "qmax_line" else ("left", "right")
        for side, end in zip(sides, ends, strict=True):
            part.set_from_json(side, end, setter=self.view)  # the browser has it there: nothing may push the hand back
        try:
            if name == "qmax_line":
                self._change(qmax=float(np.clip(round(ends[0], 1), self.state.qmin, self.state.qmaxinst)))
            else:
                low, high = np.clip(sorted(ends), *self.data.reach)
                self._change(ruler=(round(float(low), 2), round(float(high), 2)))
        except TraitError as error:
            self.controls.say([(str(error), BAD)])

    def _select(self, event: Any) -> None:
        """Take the box that was drawn."""
        ends = self.data.reach if self.state.axis == "r" else self.data.whole[1]
        region = drawn_region(event, self.data.numbers, ends)
        if region is not None:
            self._change(region=region)

    def _zoom(self, event: Any) -> None:
        self._change(**{f"{self.state.axis}_range": (event.x0, event.x1), "frames": (event.y0, event.y1)})

    def _go_to_point(self, event: Any) -> None:
        """Go to the frame whose point in the trend is nearest to the click."""
        frame = nearest_frame(self.screen.trend_sources["data"].data, event.x, event.y)
        if frame is not None:
            self._change(frame=frame)

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        return pdf_script(
            self.data, self.state, names_in_use(self._given), settings=settings_of(self.state), shown=self._shown,
            applied=self._applied, measured=self._measured, marks=bool(self.marking.marks),
            tuned=None if self._tried is None else self._tried[0],
        )  # fmt: skip

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        self.state.unobserve_all()
        page.forget(self)
        for root in (self.screen.root, self.screen.trend, self.screen.tuning):
            root.document.clear()
        for name in ("screen", "data", "view", "trend_view", "tuning_view", "views", "marking", "controls", "ruler",
                     "tune_card", "against", "widget", "_given", "_applied", "_shown", "_measured",
                     "_tried"):  # fmt: skip
            delattr(self, name)
