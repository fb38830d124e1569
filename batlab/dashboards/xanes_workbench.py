"""Normalise a series of absorption spectra by hand: drag windows and E0, look, apply to all, mark what failed."""

from __future__ import annotations

import os
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

from batlab.dashboards import page
from batlab.dashboards.events import Dashboard, drawn_region, nearest_frame
from batlab.dashboards.marking import Marking, person
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.dashboards.xanes_controls import BAD, DOUBTFUL, PLAIN, WIDTH, XANESControls
from batlab.dashboards.xanes_data import Spectra
from batlab.dashboards.xanes_screen import XANESScreen
from batlab.dashboards.xanes_script import xanes_script
from batlab.dashboards.xanes_state import EDGE, SETTINGS
from batlab.dashboards.xanes_steps import Applied, Done, run, settings_of
from batlab.failure import Store

MAP = {"curve", "reference", "frames", "axis_range"}
CORNER = 500  # pixels of the form under the curves


class XANESMarking(Marking):
    """The form for marks, with a fourth tab: edge energies of the series."""

    def __init__(self, change: Any, trend: w.Widget) -> None:
        super().__init__(change)
        self.widget.children = (*self.widget.children, trend)
        self.widget.layout.width, self.widget.layout.height = f"{CORNER}px", "232px"
        self.widget.selected_index = 3

    def load(self, measurement: Any, store: Any, author: str) -> None:
        """Take other spectra or another store: the form asks them for no more than it does of a `Measurement`."""
        super().load(measurement, store, author)

    def refresh(self) -> None:
        """Read the marks of the series again."""
        super().refresh()
        self.widget.titles = (*self.widget.titles[:3], "Edge energy")


class XANESWorkbench(Dashboard):
    """One spectrum of a series with its windows, all that follows from it, and the series with the same settings.

    Windows, E0 and the range of k are dragged in the figures or typed; normalised and flattened spectrum, derivative,
    chi(k) and chi(R) of the frame follow at once. ``apply to the series`` computes all frames. The cursor moves by
    slider, arrow keys (click into the figure first), click on the map, the panels or the trend. A box drawn on the map
    selects a region to mark.

    Parameters
    ----------
    series
        ``mu`` over (frame, energy) or (energy) [eV], one grid; ``voltage`` [V], ``capacity``, ``time`` over frame where
        `align.onto_frames` has put them.
    store
        Where marks go: a `failure.Store`, or the path or URL of one. Without it nothing can be marked.

    Attributes
    ----------
    state
        What is shown, as plain numbers; see `XANESState`.
    spectrum
        The frame on the screen with all that could be made of it.
    result
        The series as it was computed last, None before.

    Raises
    ------
    SchemaError, DimensionError
        Without ``mu`` over ``energy``, or with grids that differ from frame to frame.

    Examples
    --------
    >>> import batlab as bl
    >>> workbench = bl.dashboards.XANESWorkbench(spectra, store="cell7.marks.sqlite")  # doctest: +SKIP
    >>> workbench.show()  # doctest: +SKIP
    >>> workbench.state.pre = (-120, -40)  # doctest: +SKIP
    >>> edges = workbench.apply()["e0"]  # doctest: +SKIP
    """

    def __init__(self, series: xr.Dataset, store: Store | str | os.PathLike | None = None) -> None:
        super().__init__()
        data = Spectra.of(series)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"series": series, "store": self.store}
        self._applied: Applied | None = None
        self._shown = Done(None)
        self.state = data.first_state()
        self.screen = XANESScreen(data, self.state)
        self.controls = XANESControls(self._change, lambda by: self.state.step(by))
        self._listen()
        self.screen.make_documents()
        self.view, self.trend_view = FigureView(self.screen.root), FigureView(self.screen.trend)
        self.views = [self.view, self.trend_view]
        self.marking = XANESMarking(
            self._change, w.VBox([w.HBox([self.controls.against, self.controls.hint]), self.trend_view])
        )
        self.marking.after = self.screen.show_marks
        self.marking.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self.widget = self._compose()
        self._fill(data)

    @property
    def series(self) -> xr.Dataset:
        """The series as it was given."""
        return self._given["series"]

    @property
    def spectrum(self) -> xr.Dataset:
        """The frame on the screen: ``mu`` at least, and what the steps have made of it."""
        scan = self.data.one(self.state.frame) if self._shown.dataset is None else self._shown.dataset
        return scan.isel(frame=0)

    @property
    def result(self) -> xr.Dataset | None:
        """The whole series as it was computed last."""
        return None if self._applied is None else self._applied.done.dataset

    @property
    def is_current(self) -> bool:
        """Whether the series was computed with the settings on the screen."""
        return self._applied is not None and self._applied.settings == settings_of(self.state)

    def _compose(self) -> w.VBox:
        figure = w.Box([self.view], layout=w.Layout(grid_area="1 / 1 / 2 / 2"))
        # The form lies in the corner that the figures leave empty: under the curves.
        corner = w.Box(
            [self.marking.widget],
            layout=w.Layout(
                grid_area="1 / 1 / 2 / 2", margin="342px 0 0 590px", width=f"{CORNER + 6}px", overflow="visible"
            ),
        )
        grid = w.GridBox([figure, corner], layout=w.Layout(grid_template_columns=f"{WIDTH}px", overflow="visible"))
        box = w.VBox([self.controls.widget, grid], layout=w.Layout(width=f"{WIDTH + 5}px", overflow="visible"))
        box.add_class("batlab-explorer")  # keys.js listens there
        return box

    def _listen(self) -> None:
        screen = self.screen
        screen.heat.on_event(SelectionGeometry, self._select)
        screen.heat.on_event(RangesUpdate, self._zoom)
        for plot in (screen.heat, *screen.panels):
            plot.on_event(Tap, lambda event: self._change(frame=round(event.y)))
        screen.trend.on_event(Tap, self._go_to_point)
        screen.request.on_change("data", lambda _name, _old, new: self._change(frame=new["frame"][0]))
        for name, hand in screen.hands.items():
            hand.on_change("data", lambda _attr, _old, new, name=name: self._drag(name, list(new["ends"])))
        self.controls.apply.on_click(lambda _button: self._apply_and_tell())

    def _fill(self, data: Spectra) -> None:
        """Bring data and state to the screen, all of it."""
        self.data = data
        self.screen.load(data, self.state)
        self.controls.load(data)
        self.marking.load(data, self.store, person())
        self._dirty = {*self.state.trait_names(), "applied"}
        self._refresh()
        self.state.observe(self._note)

    def load(self, series: xr.Dataset) -> None:
        """Show another series in the same figures; the state starts anew.

        Raises
        ------
        SchemaError, DimensionError
            As for the class; the dashboard then still shows what it had.
        """
        data = Spectra.of(series)
        self._given["series"] = series
        self._applied = None
        self.state.unobserve_all()
        fresh = data.first_state()
        self.state.numbers, self.state.choices = fresh.numbers, fresh.choices
        for name, value in fresh.trait_values().items():
            self.state.set_trait(name, value)
        self._fill(data)

    def apply(self) -> xr.Dataset:
        """Compute the whole series with the settings on the screen and return it; map and trend show it.

        Raises
        ------
        ValueError
            The spectra cannot be normalised so; the dashboard then still shows what it had.
        """
        settings = settings_of(self.state)
        done = run(self.data.series, settings)
        if done.dataset is None:
            raise ValueError(done.problem)
        is_first, self._applied = self._applied is None, Applied(settings, done)
        with self._event():
            self._dirty |= {"applied"}
            if is_first and self.state.curve == "mu":
                self.state.curve = "mu_flat"
        return done.dataset

    def _apply_and_tell(self) -> None:
        self.controls.apply.disabled, self.controls.apply.description = True, "computing …"
        try:
            self.apply()
        except ValueError as error:
            self.controls.say([(f"the series was not computed: {error}", BAD)])
            self.controls.apply.disabled = False
        finally:
            self.controls.apply.description = "apply to the series"

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        state, screen = self.state, self.screen
        if dirty & (SETTINGS | {"frame", "applied"}):
            self._compute()
            screen.show_spectrum(self.spectrum, state)
        if dirty & (EDGE | {"frame", "applied"}):
            screen.show_windows(self.spectrum, state, self._edge())
        if dirty & (MAP | {"applied"}):
            table, curve = (self.data.series, "mu") if self.result is None else (self.result, state.curve)
            screen.show_map(table, curve, state)
        if "applied" in dirty:
            screen.show_series(self.result, state)
        elif "against" in dirty:
            screen.show_trend(self.result, state)
        if dirty & {"frame", "against", "applied"}:
            screen.show_cursor(state)
        if "region" in dirty:
            screen.show_region(state)
        self._follow()

    def _compute(self) -> None:
        """Take the frame from the series where that has the same settings, else compute it."""
        if self.is_current:
            assert self._applied is not None
            self._shown = self._applied.one(self.state.frame)
        else:
            self._shown = run(self.data.one(self.state.frame), settings_of(self.state))

    def _edge(self) -> float:
        """Return E0 of the spectrum on the screen; where normalising failed, that of the state or the last one."""
        if self._shown.dataset is not None and np.isfinite(e0 := float(self._shown.dataset["e0"].values[0])):
            self._last_edge = e0
            return e0
        if self.state.e0 is not None:
            return self.state.e0
        return getattr(self, "_last_edge", float("nan"))

    def _follow(self) -> None:
        """Let widgets and words tell the state."""
        self.controls.show(
            self.state, e0=self._edge(), kmax=self._kmax(), can_map=self.result is not None, is_current=self.is_current
        )
        self.controls.say(self._words())
        self.marking.show(self.state)
        self._refresh_code()

    def _kmax(self) -> float:
        """Return where the transform on the screen ends; 0 where there is none and nothing was asked for."""
        if self.state.kmax is not None or not self._shown.has("chi_r_mag"):
            return self.state.kmax or 0.0
        return float(self.spectrum["chi_r_mag"].attrs["kmax"])

    def _words(self) -> list[tuple[str, str]]:
        """Return the numbers of the spectrum, how the series stands, doubts and problems, each with a colour."""
        lines: list[tuple[str, str]] = []
        scan = self._shown.dataset
        series = "the series was computed with these settings"
        if self._applied is None:
            series = "the map shows μ as measured: apply the settings to the series to see its edge energies"
        elif not self.is_current:
            series = "map and trend were computed with other settings: apply these to renew them"
        if scan is not None:
            e0, step = (float(scan[name].values[0]) for name in ("e0", "edge_step"))
            spread = f" ± {float(scan['e0_sigma'].values[0]):.2g}" if "e0_sigma" in scan else ""
            lines.append((f"E₀ {e0:.2f}{spread} eV, edge step {step:.4g}; {series}", PLAIN))
        if self._shown.problem:
            what = "no χ(R)" if self._shown.has("chi") else "not normalised" if scan is None else "no χ(k)"
            lines.append((f"{what}: {self._shown.problem}", BAD))
        lines += [(doubt, DOUBTFUL) for doubt in self._shown.doubts]
        if self.is_current and self._applied is not None:
            lines += [(doubt, DOUBTFUL) for doubt in self._applied.done.doubts]
        return lines

    def _refresh_code(self) -> None:
        if self.marking.is_code_open:
            self.marking.script.value = self.code()

    def _drag(self, name: str, ends: list[float]) -> None:
        """Take where a hand has put something: energies to a tenth of an eV from E0, k and E0 to a hundredth."""
        if not ends or not all(isinstance(end, (int, float)) and np.isfinite(end) for end in ends):
            return
        try:
            if name == "e0_line":  # of all frames; the windows go with it
                self._change(e0=round(float(np.clip(ends[0], *self.data.whole[1])), 2))
            elif name == "k_window":
                self._change(kmin=max(0.0, round(min(ends), 2)), kmax=round(max(ends), 2))
            else:
                e0 = self._edge()
                self._change(**{name.removesuffix("_window"): tuple(round(end - e0, 1) for end in sorted(ends))})
        except TraitError as error:
            self.controls.say([(str(error), BAD)])

    def _select(self, event: Any) -> None:
        """Take the box that was drawn."""
        region = drawn_region(event, self.data.numbers, self.data.whole[1])
        if region is not None:
            self._change(region=region)

    def _zoom(self, event: Any) -> None:
        self._change(axis_range=(event.x0, event.x1), frames=(event.y0, event.y1))

    def _go_to_point(self, event: Any) -> None:
        """Go to the frame whose point in the trend is nearest to the click."""
        frame = nearest_frame(self.screen.trend_sources["data"].data, event.x, event.y)
        if frame is not None:
            self._change(frame=frame)

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        return xanes_script(
            self.data,
            self.state,
            names_in_use(self._given),
            settings=settings_of(self.state),
            shown=self._shown,
            applied=self._applied,
            has_marks=bool(self.marking.marks),
        )

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        self.state.unobserve_all()
        page.forget(self)
        for root in (self.screen.root, self.screen.trend):
            root.document.clear()
        for name in ("screen", "data", "view", "trend_view", "views", "marking", "controls", "widget", "_given",
                     "_applied", "_shown"):  # fmt: skip
            delattr(self, name)
