"""Sizes and surfaces of a small-angle series by hand: drag windows, look, apply to all, mark what failed."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

from batlab.dashboards import page
from batlab.dashboards.events import Dashboard, drawn_region, nearest_frame
from batlab.dashboards.marking import person
from batlab.dashboards.saxs_controls import BAD, DOUBTFUL, PLAIN, WIDTH, SAXSControls
from batlab.dashboards.saxs_data import SmallAngles, window
from batlab.dashboards.saxs_screen import SAXSScreen
from batlab.dashboards.saxs_script import saxs_script
from batlab.dashboards.saxs_state import SETTINGS
from batlab.dashboards.saxs_steps import AT_ONCE, AT_REST, FUNCTIONS, Applied, Done, run, settings_of
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.dashboards.xanes_workbench import CORNER, XANESMarking
from batlab.failure import Store
from batlab.figures.small_angle_curves import plus_minus, sign

MAP = {"curve", "reference", "frames", "axis_range", "size_range"}
PAUSE = 0.25  # s without a change after which a hand rests
WORDS = {"guinier": "Rg", "porod": "tail", "invariant": "invariant", "sizes": "sizes"}


class SAXSMarking(XANESMarking):
    """The form for marks, with a fourth tab: what was found along the series."""

    def refresh(self) -> None:
        """Read the marks of the series again."""
        super().refresh()
        self.widget.titles = (*self.widget.titles[:3], "Series")


class SAXSWorkbench(Dashboard):
    """One small-angle pattern with its windows, what they tell, and the series with the same settings.

    The windows of Guinier's and Porod's laws and the range of the size distribution are dragged on the log-log plot or
    typed. Radius of gyration and tail follow at once; invariant and size distribution when the hand rests for a
    quarter of a second, which the screen says. ``apply to the series`` computes all frames. The cursor moves by slider,
    arrow keys (click into the figure first), click on the map, the panels or the trend. A box drawn on the map selects
    a region to mark.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q) or (q) [q in 1/angstrom], ``intensity_sigma``; ``voltage`` [V], ``capacity``,
        ``time`` over frame where `align.onto_frames` has put them.
    store
        Where marks go: a `failure.Store`, or the path or URL of one. Without it nothing can be marked.

    Attributes
    ----------
    state
        What is shown, as plain numbers; see `SAXSState`.
    found
        What was found in the frame on the screen: a Dataset by step (guinier, porod, invariant, sizes).
    results
        The same of the whole series as it was computed last, empty before.

    Raises
    ------
    SchemaError, DimensionError
        Without ``intensity`` over ``q``, or with fewer than 8 points.

    Examples
    --------
    >>> import batlab as bl
    >>> workbench = bl.dashboards.SAXSWorkbench(patterns, store="cell7.marks.sqlite")  # doctest: +SKIP
    >>> workbench.show()  # doctest: +SKIP
    >>> workbench.state.porod = (0.1, 0.25)  # doctest: +SKIP
    >>> radius = workbench.apply()["guinier"]["rg"]  # doctest: +SKIP
    """

    def __init__(self, series: xr.Dataset, store: Store | str | os.PathLike | None = None) -> None:
        super().__init__()
        data = SmallAngles.of(series)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"series": series, "store": self.store}
        self._applied: Applied | None = None
        self._shown: dict[str, Done] = {}
        self._pending: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.state = data.first_state()
        self.screen = SAXSScreen(data, self.state)
        self.controls = SAXSControls(self._change, lambda by: self.state.step(by))
        self._listen()
        self.screen.make_documents()
        self.view, self.trend_view = FigureView(self.screen.root), FigureView(self.screen.trend)
        self.views = [self.view, self.trend_view]
        choice = w.HBox([self.controls.trend, self.controls.against, self.controls.hint])
        self.marking = SAXSMarking(self._change, w.VBox([choice, self.trend_view]))
        self.marking.after = self.screen.show_marks
        self.marking.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self.widget = self._compose()
        self._fill(data)

    @property
    def series(self) -> xr.Dataset:
        """The series as it was given."""
        return self._given["series"]

    @property
    def found(self) -> dict[str, xr.Dataset]:
        """What was found in the frame on the screen; what is still to be computed is computed now."""
        self._rest()
        return self._known(self._shown)

    @property
    def results(self) -> dict[str, xr.Dataset]:
        """What was found in the whole series as it was computed last."""
        return {} if self._applied is None else self._known(self._applied.done)

    def _first(self) -> dict[str, xr.Dataset]:
        """Return what was found in the frame on the screen so far, without the dimension of frames."""
        return {step: one.first for step, one in self._shown.items() if one.first is not None}

    @staticmethod
    def _known(done: dict[str, Done]) -> dict[str, xr.Dataset]:
        return {step: one.dataset for step, one in done.items() if one.dataset is not None}

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
                grid_area="1 / 1 / 2 / 2", margin="354px 0 0 590px", width=f"{CORNER + 6}px", overflow="visible"
            ),
        )
        doubts = w.Box(
            [self.controls.told], layout=w.Layout(grid_area="1 / 1 / 2 / 2", margin="534px 0 0 4px", width="584px")
        )
        grid = w.GridBox(
            [figure, corner, doubts], layout=w.Layout(grid_template_columns=f"{WIDTH}px", overflow="visible")
        )
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

    def _fill(self, data: SmallAngles) -> None:
        """Bring data and state to the screen, all of it."""
        self.data = data
        self.screen.load(data, self.state)
        self.controls.load(data)
        self.marking.load(data, self.store, person())
        self._dirty = {*self.state.trait_names(), "applied"}
        self._refresh()
        self._rest()  # what is shown first is shown whole
        self.state.observe(self._note)

    def load(self, series: xr.Dataset) -> None:
        """Show another series in the same figures; the state starts anew.

        Raises
        ------
        SchemaError, DimensionError
            As for the class; the dashboard then still shows what it had.
        """
        data = SmallAngles.of(series)
        self._given["series"] = series
        self._applied, self._shown = None, {}
        self.state.unobserve_all()
        fresh = data.first_state()
        self.state.numbers, self.state.choices = fresh.numbers, fresh.choices
        for name, value in fresh.trait_values().items():
            self.state.set_trait(name, value)
        self._fill(data)

    def apply(self) -> dict[str, xr.Dataset]:
        """Compute the whole series with the settings on the screen and return it; map and trend show it.

        Raises
        ------
        ValueError
            No step can be taken so; the dashboard then still shows what it had.
        """
        settings = settings_of(self.state)
        done = {}
        for number, step in enumerate(FUNCTIONS, 1):
            self.controls.apply.description = f"{number} of {len(FUNCTIONS)}: {WORDS[step]} …"
            done[step] = run(self.data.series, step, settings)
        if not self._known(done):
            raise ValueError("; ".join(one.problem for one in done.values()))
        self._applied = Applied(settings, done)
        with self._event():
            self._dirty |= {"applied"}
        return self.results

    def _apply_and_tell(self) -> None:
        self.controls.apply.disabled = True
        try:
            self.apply()
        except ValueError as error:
            self.controls.say([(f"the series was not computed: {error}", BAD)])
            self.controls.apply.disabled = False
        finally:
            self.controls.apply.description = "apply to the series"

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen, as one message."""
        self._depth += 1  # what is settled here is part of the same refresh
        try:
            dirty |= self._settle(dirty)
            with self.view.batch(), self.trend_view.batch():
                self._draw_parts(dirty)
        finally:
            self._depth -= 1
            self._dirty = set()
        self._follow()

    def _settle(self, dirty: set[str]) -> set[str]:
        """Let the map be one that there is, and the visible diameters those of the series."""
        if self.state.curve == "sizes" and "sizes" not in self.results:
            self.state.curve = "intensity"
        if "applied" in dirty and "sizes" in self.results:
            self.state.size_range = self._diameters()
        return set(self._dirty)

    def _diameters(self) -> tuple[float, float]:
        size = self.results["sizes"]["size"].values
        return float(size[0]), float(size[-1])

    def _draw_parts(self, dirty: set[str]) -> None:
        state, screen = self.state, self.screen
        changed = {step for step, traits in SETTINGS.items() if dirty & (traits | {"frame", "applied"})}
        if changed:
            self._compute(changed)
            found = self._first()
            screen.show_pattern(found, state, ("loglog", "guinier", "porod"))
            screen.show_windows(found, state)
            self._postpone(changed)
        if dirty & {"curve", "applied"}:
            screen.fit((self.data.whole[0], self._diameters() if state.curve == "sizes" else self.data.whole[1]))
        if dirty & (MAP | {"applied"}):
            screen.show_map(self.results["sizes"] if state.curve == "sizes" else self.data.series, state)
        if dirty & {"trend", "against", "applied"}:
            screen.show_trend(self.results, state)
        if dirty & {"frame", "against", "trend", "applied"}:
            screen.show_cursor(state)
        if dirty & {"region", "curve"}:
            screen.show_region(state)

    def _compute(self, steps: set[str]) -> None:
        """Take steps that are quick; take the frame from the series where that has the same settings."""
        settings, state = settings_of(self.state), self.state
        for step in steps:
            applied = self._applied
            if applied is not None and applied.settings[step] == settings[step]:
                self._shown[step] = applied.done[step].one(state.frame)
                self._pending.discard(step)
            elif step in AT_ONCE:
                self._shown[step] = run(self.data.one(state.frame), step, settings)
            else:
                self._pending.add(step)

    def _postpone(self, steps: set[str]) -> None:
        """Leave what takes long until the hand rests; where there is no event loop it is computed at once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            if steps & set(AT_REST):
                self._show_sizes()
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._compute_pending()
            return
        self.screen.show_pending("sizes" in self._pending)
        self._timer = loop.call_later(PAUSE, self._rest)

    def _rest(self) -> None:
        """Compute what waits, and show it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            with self.view.batch():
                self._compute_pending()
            self._follow()

    def _compute_pending(self) -> None:
        settings = settings_of(self.state)
        for step in AT_REST:
            if step in self._pending:
                self._shown[step] = run(self.data.one(self.state.frame), step, settings)
        self._pending.clear()
        self._show_sizes()

    def _show_sizes(self) -> None:
        self.screen.show_pending(False)
        self.screen.show_pattern(self._first(), self.state, ("loglog", "sizes"))

    def _follow(self) -> None:
        """Let widgets and words tell the state."""
        guinier = self._first().get("guinier")
        ends = None if guinier is None else (float(guinier["q_low"]), float(guinier["q_high"]))
        self.controls.show(
            self.state, guinier=ends if ends and np.isfinite(ends).all() else None, ends=self.data.ends,
            can_map=bool(self.results), is_current=self.is_current,
        )  # fmt: skip
        self.controls.say(self._words())
        self.marking.show(self.state)
        self._refresh_code()

    def _words(self) -> list[tuple[str, str]]:
        """Return the numbers of the pattern, how the series stands, doubts and problems, each with a colour."""
        series = "the series was computed with these settings"
        if self._applied is None:
            series = "apply to the series for its map of sizes and trends"
        elif not self.is_current:
            series = "the series was computed with other settings: apply these to renew it"
        lines = [("; ".join(self._numbers()), PLAIN), (series, PLAIN)]
        if told := self.data.unusable(self.state.frame):
            lines.append((told, DOUBTFUL))
        lines += [(f"no {WORDS[step]}: {one.problem}", BAD) for step, one in self._shown.items() if one.problem]
        whole = self._applied.done if self.is_current and self._applied is not None else {}
        lines += [(f"no {WORDS[step]} of the series: {one.problem}", BAD) for step, one in whole.items()
                  if one.problem and one is not self._shown[step]]  # fmt: skip
        doubts: dict[str, str] = {}
        for one in [*self._shown.values(), *whole.values()]:
            for doubt in one.doubts:  # every step tells of a missing sigma
                doubts.setdefault(doubt.partition(": ")[2].partition(";")[0], doubt)
        return lines + [(doubt, DOUBTFUL) for doubt in doubts.values()]

    def _numbers(self) -> list[str]:
        """Return what the titles of the figures do not tell."""
        found, told = self._first(), []
        for step, name, words in (("guinier", "i0", "I(0)"), ("invariant", "invariant", "Q*"),
                                  ("invariant", "volume_fraction", "φ")):  # fmt: skip
            if step in self._pending:
                told += [f"{words} …"] if name == "invariant" else []
            elif step in found and name in found[step] and np.isfinite(value := float(found[step][name])):
                units = sign(str(found[step][name].attrs.get("units", "1")))
                spread = np.nan if name == "i0" else float(found[step][f"{name}_sigma"])  # one line must hold all
                told.append(f"{words} {plus_minus(value, spread)} {units}".strip())
        return told

    def _refresh_code(self) -> None:
        if self.marking.is_code_open and not self._pending:
            self.marking.script.value = self.code()

    def _drag(self, name: str, ends: list[float]) -> None:
        """Take where a hand has put a window: four digits, within the data."""
        if len(ends) != 2 or not all(isinstance(end, (int, float)) and np.isfinite(end) for end in ends):
            return
        low, high = self.data.whole[1]
        try:
            self._change(**{name.removesuffix("_window"): window(np.clip(ends, low, high))})
        except TraitError as error:
            self.controls.say([(str(error), BAD)])

    def _select(self, event: Any) -> None:
        """Take the box that was drawn."""
        if self.state.curve == "sizes":
            self.controls.say([("marks are boxes in frame and q: show a map of I, q² I or q⁴ I", BAD)])
            return
        region = drawn_region(event, self.data.numbers, self.data.whole[1])
        if region is not None:
            self._change(region=region)

    def _zoom(self, event: Any) -> None:
        visible = "size_range" if self.state.curve == "sizes" else "axis_range"
        self._change(**{visible: (event.x0, event.x1)}, frames=(event.y0, event.y1))

    def _go_to_point(self, event: Any) -> None:
        """Go to the frame whose point in the trend is nearest to the click."""
        frame = nearest_frame(self.screen.trend_sources["data"].data, event.x, event.y)
        if frame is not None:
            self._change(frame=frame)

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        self._rest()
        return saxs_script(
            self.data,
            self.state,
            names_in_use(self._given),
            settings=settings_of(self.state),
            shown={step: self._shown[step] for step in FUNCTIONS},
            applied=self._applied,
            has_marks=bool(self.marking.marks),
        )

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        if self._timer is not None:
            self._timer.cancel()
        self.state.unobserve_all()
        page.forget(self)
        for root in (self.screen.root, self.screen.trend):
            root.document.clear()
        for name in ("screen", "data", "view", "trend_view", "views", "marking", "controls", "widget", "_given",
                     "_applied", "_shown"):  # fmt: skip
            delattr(self, name)
