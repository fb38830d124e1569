"""Any two to six techniques of one experiment on one axis, with one cursor, and the lags between their clocks."""

from __future__ import annotations

import os
import warnings
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr
from traitlets import TraitError

from batlab.align import Lag, Lithium, estimate_lag
from batlab.align.lag_result import decimals
from batlab.dashboards import page
from batlab.dashboards.comparison_controls import (
    BAD,
    DOUBTFUL,
    PLAIN,
    SIDE,
    WIDTH,
    ComparisonControls,
    ComparisonMarking,
)
from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_panels import SLOTS
from batlab.dashboards.comparison_screen import ComparisonScreen
from batlab.dashboards.comparison_script import comparison_script
from batlab.dashboards.marking import person
from batlab.dashboards.script import names_in_use
from batlab.dashboards.shared_axis import VIEW, SharedAxis
from batlab.dashboards.view import FigureView
from batlab.errors import BatlabError
from batlab.failure import Store

SURE = 2.0  # σ from an estimate: a lag further away is told so


class TechniqueComparison(SharedAxis):
    """Two to six techniques of one experiment stacked on time, capacity, lithium or temperature.

    One cursor goes through all of them: slider, arrow keys (click into a panel first), click. Zooming one panel zooms
    all. Each panel shows a map or a number; one number of each is drawn, scaled, over the others at the bottom, and any
    two are correlated. Along time the dashed line in a panel is the handle of its clock: drag it, type the lag, press
    comma and full stop (with Shift ten steps), or let ``estimate`` find it. A box drawn with “Select a region” can be
    marked.

    Parameters
    ----------
    tree
        Siblings such as ``/xrd /xas /pdf /echem``, each over ``frame`` or ``record`` with ``time`` (and ``exposure``
        [s], where frames have one). The first cycler's record (else the first technique) is the clock of all others.
    store
        Where marks go: a `failure.Store`, or the path or URL of one. Without it nothing can be marked.
    lithium
        `align.Lithium`: what turns the record's charge into lithium, for that axis.

    Attributes
    ----------
    state
        What is shown, as plain numbers and words; see `ComparisonState`.
    correlation
        What `align.correlation` says of the pair on the screen; None where it says nothing.
    estimates
        Technique -> the `align.Lag` that was found.

    Raises
    ------
    DimensionError, SchemaError
        Not a tree of two to six techniques with ``time`` and something to show.

    Examples
    --------
    >>> import batlab as bl
    >>> tree = xr.DataTree.from_dict({"xrd": patterns, "xas": spectra, "echem": record})  # doctest: +SKIP
    >>> comparison = bl.dashboards.TechniqueComparison(tree, store="cell7.marks.sqlite")  # doctest: +SKIP
    >>> comparison.show()  # doctest: +SKIP
    >>> comparison.state.lags = {"xrd": 37.4}  # doctest: +SKIP
    >>> print(comparison.estimate("xas"))  # doctest: +SKIP
    """

    screen: ComparisonScreen

    def __init__(
        self,
        tree: xr.DataTree,
        store: Store | str | os.PathLike | None = None,
        *,
        lithium: Lithium | None = None,
    ) -> None:
        super().__init__()
        data = ComparisonData.of(tree, lithium)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"tree": tree, "store": self.store}
        self.state = data.first_state()
        self.screen = ComparisonScreen(data, self.state)
        self.controls = ComparisonControls(self._change, lambda by: self.state.step(by), self._estimate_and_tell)
        self.marking = ComparisonMarking(self._change)
        self.marking.after = lambda _marks: self.screen.show_marks(self.marking.of, self.state)
        self.marking.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self._listen()
        self.screen.make_documents()
        self.view, self.scatter_view = FigureView(self.screen.root), FigureView(self.screen.scatter)
        self.views = [self.view, self.scatter_view]
        self.widget = self._compose()
        self._fill(data)

    def _compose(self) -> w.VBox:
        figure = w.Box([self.view], layout=w.Layout(width=f"{WIDTH - SIDE}px", overflow="visible"))
        middle = w.HBox([figure, self.controls.side], layout=w.Layout(width=f"{WIDTH}px", overflow="visible"))
        pair = w.VBox(
            [w.HBox(self.controls.pair), self.scatter_view, self.controls.doubt],
            layout=w.Layout(width="490px", overflow="visible"),
        )
        bottom = w.HBox([pair, self.marking.widget], layout=w.Layout(width=f"{WIDTH}px", overflow="visible"))
        box = w.VBox(
            [self.controls.widget, middle, bottom], layout=w.Layout(width=f"{WIDTH + 5}px", overflow="visible")
        )
        box.add_class("batlab-explorer")  # keys.js listens there
        return box

    def _listen(self) -> None:
        screen = self.screen
        self._listen_to_panels()
        self._hear(screen.nudge, lambda told: self._nudge(told["by"][0], told["choose"][0]))
        for number, slot in enumerate(SLOTS):
            screen.hands[slot].on_change("data", lambda _name, _old, new, n=number: self._drag(n, list(new["ends"])))

    def _fill(self, data: ComparisonData) -> None:
        """Bring data and state to the screen, all of it."""
        self.data = data
        self.estimates: dict[str, Any] = data.models
        self._asked: dict[str, tuple[str, dict[str, Any]]] = {}
        self.correlation: xr.Dataset | None = None
        self._forget_what_is_shown()
        self.screen.load(data, self.state)
        self.controls.load(data, self.state)
        self.controls.say([])
        self._dirty = set(self.state.trait_names())
        self._refresh()
        self.marking.load(data, self.store, person())
        self.marking.show(self.state)
        self.state.observe(self._note)

    def load(self, tree: xr.DataTree, *, lithium: Lithium | None = None) -> None:
        """Show another experiment in the same figures; the state starts anew.

        Raises
        ------
        DimensionError, SchemaError
            As for the class; the dashboard then still shows what it had.
        """
        data = ComparisonData.of(tree, lithium)
        fresh = data.first_state()
        self._given["tree"] = tree
        self._take(fresh)
        self._fill(data)

    def _draw(self, dirty: set[str]) -> None:
        state, screen, data = self.state, self.screen, self.data
        is_view = bool(dirty & VIEW) or ("lags" in dirty and state.axis != "time")
        if is_view:
            screen.show_axis(state, data.whole(state.axis, self.stretch, state.lags))
            screen.anchor(state)
        for name in data.names:
            look = state.shows[name], state.ranges.get(name)
            if is_view or self._shown.get(name) != look:
                screen.show_panel(name, state, self.stretch)
                self._shown[name] = look
            if dirty & {"axis", "stretch", "features"} or ("lags" in dirty and state.axis != "time"):
                screen.show_overlay(name, state, self.stretch)
            elif "lags" in dirty:
                screen.move(name, state, self.stretch)
        if is_view or dirty & {"lags", "chosen"}:
            bands = {name: one.interval for name, one in self.estimates.items()}
            screen.show_handles(state, bands)
        if dirty & {"pair", "lags"}:
            self.correlation, self._doubt = data.correlate(state.pair, state.lags)
            screen.show_correlation(self.correlation)
        if is_view or "lags" in dirty:
            screen.tell_places(state, self.stretch)
        if is_view or dirty & {"frame", "shows", "lags"}:
            screen.show_cursor(state, self._place(), self.stretch)
        if dirty & {"frame", "pair", "lags"}:
            screen.ring(self.correlation, self._moment())
        if is_view or dirty & {"region", "lags", "shows", "ranges"}:
            screen.show_region(state)
        if is_view or dirty & {"lags", "shows", "ranges"}:
            screen.show_marks(self.marking.of, state)

    def _moment(self) -> np.datetime64 | None:
        lead = self.data.lead
        at = int(np.searchsorted(self.data.numbers, self.state.frame))
        seconds = self.data.seconds(lead, self.state.lags)[at]
        if not np.isfinite(seconds):
            return None
        return self.data.experiment.zero + np.timedelta64(round(seconds * 1e9), "ns")

    def _follow(self, dirty: set[str]) -> None:
        """Let widgets and words tell the state."""
        if dirty != {"frame"}:
            told = {name: self._lag_words(name) for name in self.data.movable}
            words = [self._stretch_words(number) for number in range(len(self._stretches))]
            self.controls.show(self.state, words, told)
            colour = BAD if self.correlation is None else DOUBTFUL
            self.controls.tell_doubt(self._doubt, colour)
            self.marking.show(self.state)
        else:
            self.controls.show_frame(self.state)
        self._refresh_code()

    def _lag_words(self, name: str) -> tuple[str, str, str]:
        """Return a lag as it is told (an estimate to its σ), what is known of it, and the colour of that."""
        found, lag = self.estimates.get(name), self.state.lags.get(name, 0.0)
        if found is None:
            return (f"{lag:.3f}", *(("by hand, σ unknown", DOUBTFUL) if lag else ("as the files say", PLAIN)))
        n = decimals(found.sigma)
        told = f"{lag:.{n if lag == found.lag else 3}f}"
        if abs(lag - found.lag) <= SURE * found.sigma:
            return told, f"± {found.sigma:.{n}f} s (1 σ)", PLAIN
        return told, f"{abs(lag - found.lag) / found.sigma:.0f} σ from {found.lag:.{n}f}", BAD

    def _refresh_code(self) -> None:
        if self.marking.is_code_open:
            self.marking.script.value = self.code()

    def estimate(self, technique: str, **options: Any) -> Lag:
        """Find the lag of a technique from its feature against the record, and take it.

        Parameters
        ----------
        technique
            One of those that are not the clock.
        options
            Of `align.estimate_lag`: ``signal`` (by default the technique's feature), ``against``, ``response`` …

        Returns
        -------
        align.Lag
            With its interval, which the panel shades about the handle.

        Raises
        ------
        ValueError
            The signal cannot tell, or there is no record or no number to tell by; the lag stays what it was.
        """
        found, doubts = self._estimate(technique, options)
        self.estimates[technique] = found
        with self._event():
            self._dirty.add("lags")
            self.state.chosen = technique
            self.state.lags = {**self.state.lags, technique: float(found.lag)}
        for doubt in doubts:
            warnings.warn(doubt, UserWarning, stacklevel=2)
        return found

    def _estimate(self, technique: str, options: dict[str, Any]) -> tuple[Lag, list[str]]:
        data = self.data
        if technique not in data.movable:
            raise ValueError(f"technique must be one of {', '.join(data.movable)}, got {technique!r}")
        if not data.is_clocked:
            raise ValueError("a lag is estimated against a cycler's record, and the experiment has none")
        if "signal" in options:
            series, signal = data.experiment.tables[technique], options.pop("signal")
        else:
            series, signal = data.signal(technique, self.state.features[technique])
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = estimate_lag(series, data.given(data.clock), signal=signal, **options)
        self._asked[technique] = self.state.features[technique], {"signal": signal, **options}
        return found, [str(one.message) for one in told if issubclass(one.category, UserWarning)]

    def _estimate_and_tell(self, technique: str) -> None:
        row = self.controls.rows[self.data.names.index(technique)]
        row.estimate.disabled, row.estimate.description = True, "…"
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = self.estimate(technique)
            lines = [(f"{technique}: {line}", PLAIN) for line in str(found).splitlines()[:2]]
            self.controls.say(lines + [(str(one.message), DOUBTFUL) for one in told])
        except (BatlabError, ValueError) as error:
            self.controls.say([(f"{technique}: {error}", BAD)])
        finally:
            row.estimate.disabled, row.estimate.description = False, "estimate"

    def _tap(self, event: Any, number: int | None) -> None:
        """Go to the frame whose place is nearest, and choose the panel."""
        more = self._nearest(event.x)
        if number is not None and self.data.names[number] in self.data.movable:
            more["chosen"] = self.data.names[number]
        self._change(**more)

    def _drag(self, number: int, ends: list[float]) -> None:
        """Take where a hand has put a handle, to a hundredth of a second."""
        if len(ends) != 1 or not isinstance(ends[0], (int, float)) or not np.isfinite(ends[0]):
            return
        name = self.data.names[number]
        self._move_to(name, round(self.screen.lag_at(name, float(ends[0])), 2))

    def _nudge(self, by: int, choose: int) -> None:
        if choose and choose <= len(self.data.names) and self.data.names[choose - 1] in self.data.movable:
            self._change(chosen=self.data.names[choose - 1])
        if by:
            name = self.state.chosen
            self._move_to(name, self.state.lags.get(name, 0.0) + by * self.data.nudge(name))

    def _move_to(self, name: str, lag: float) -> None:
        try:
            self._change(lags={**self.state.lags, name: lag}, chosen=name)
        except TraitError as error:
            self.controls.say([(str(error), BAD)])

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        return comparison_script(
            self.data, self.state, names_in_use(self._given), stretch=self.stretch, place=self._place(),
            asked=self._asked, has_marks=bool(self.marking.marks),
        )  # fmt: skip

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        self.state.unobserve_all()
        page.forget(self)
        for root in (self.screen.root, self.screen.scatter):
            root.document.clear()
        for name in ("screen", "data", "view", "scatter_view", "views", "marking", "controls", "widget", "_given",
                     "estimates", "correlation", "_shown"):  # fmt: skip
            delattr(self, name)
