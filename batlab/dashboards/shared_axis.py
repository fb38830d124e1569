"""What dashboards of several techniques on one axis have in common: cursor, zoom, box, and what axis there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from bokeh.models import ColumnDataSource

from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_panels import Panels
from batlab.dashboards.comparison_state import ComparisonState
from batlab.dashboards.events import Dashboard
from batlab.figures.comparison import nearest

VIEW = {"axis", "stretch", "x_range"}


class SharedAxis(Dashboard):
    """A dashboard whose `screen` shows `data` on one axis, as `state` says."""

    state: ComparisonState
    data: ComparisonData
    screen: Panels
    _given: dict[str, Any]

    @property
    def tree(self) -> xr.DataTree:
        """The experiment as it was given."""
        return self._given["tree"]

    @property
    def stretch(self) -> tuple[float, float] | None:
        """The rise or fall of the axis that is shown, in seconds of the clock; None for all of time."""
        return self._stretches[self.state.stretch]

    def _listen_to_panels(self) -> None:
        screen = self.screen
        for number, panel in enumerate(screen.panels):
            panel.plot.on_event(SelectionGeometry, lambda event, n=number: self._select(event, n))
            panel.plot.on_event(RangesUpdate, lambda event, n=number: self._zoom(event, n))
            panel.plot.on_event(Tap, lambda event, n=number: self._tap(event, n))
        screen.overlay.on_event(RangesUpdate, lambda event: self._zoom(event, None))
        screen.overlay.on_event(Tap, lambda event: self._tap(event, None))
        screen.request.on_change("data", lambda _name, _old, new: self._change(frame=new["frame"][0]))

    @staticmethod
    def _hear(source: ColumnDataSource, act: Callable[[Mapping[str, Any]], Any]) -> None:
        """Let `act` take each press of a key that the browser tells by `source`, once: `time` tells presses apart."""
        heard = source.data["time"][0]

        def told(_name: str, _old: Any, new: Mapping[str, Any]) -> None:
            nonlocal heard
            if new["time"][0] != heard:
                heard = new["time"][0]
                act(new)

        source.on_change("data", told)

    def _forget_what_is_shown(self) -> None:
        self._stretches: list[tuple[float, float] | None] = [None]
        self._shown: dict[str, Any] = {}

    def _take(self, state: ComparisonState) -> None:
        """Let the state be that of other data."""
        self.state.unobserve(self._note)
        self.state.numbers, self.state.options, self.state.n_stretches = state.numbers, state.options, 1
        for name, value in state.trait_values().items():
            self.state.set_trait(name, value)

    def _refresh(self) -> None:
        dirty, self._dirty = self._dirty, set()
        if not dirty:
            return
        self._depth += 1  # what is set here is part of the same refresh
        try:
            dirty |= self._settle(dirty)
            with ExitStack() as batches:
                for view in reversed(self.views):  # the panels are sent first
                    batches.enter_context(view.batch())
                self._draw(dirty)
        finally:
            self._depth -= 1
            self._dirty = set()
        self._follow(dirty)

    def _settle(self, dirty: set[str]) -> set[str]:
        """Let axis, stretch, cursor, visible part and region agree, and return what else has changed by that."""
        state, data = self.state, self.data
        if state.region is not None and state.region[3] is not None and dirty & {"shows", "region"}:
            name, *frames, _low, _high = state.region
            label = state.shows[name]
            is_old = "region" not in dirty and self._shown.get(name, ("",))[0] != label
            if is_old or data.axis_name(name, label) is None:
                state.region = (name, *frames, None, None)  # the axis of its range is not shown
        if "axis" in dirty or ("lags" in dirty and state.axis != "time"):
            self._stretches = data.stretches(state.axis, state.lags)
            state.n_stretches = len(self._stretches)
            state.stretch = min(state.stretch, state.n_stretches - 1) if "axis" not in dirty else 0
        seconds = data.seconds(data.lead, state.lags)
        if len(self._stretches) > 1:
            if "stretch" in dirty and "frame" not in dirty and "axis" not in dirty:
                shown = data.along(data.lead, state.axis, state.lags).within(self.stretch)
                if shown.any():
                    state.frame = int(data.numbers[np.argmax(shown)])
            else:
                moment = seconds[np.searchsorted(data.numbers, state.frame)]
                holds = [low <= moment <= high for low, high in filter(None, self._stretches)]
                if any(holds) and not holds[state.stretch]:
                    state.stretch = holds.index(True)
        changed = set(self._dirty)
        if (dirty | changed) & {"axis", "stretch"}:
            state.x_range = data.whole(state.axis, self.stretch, state.lags)
        return changed | set(self._dirty)

    def _follow(self, dirty: set[str]) -> None:
        """Let widgets and words tell the state."""
        raise NotImplementedError

    def _place(self) -> float | None:
        """Return where the cursor is on the shared axis; None where its frame has no place there."""
        along = self.data.along(self.data.lead, self.state.axis, self.state.lags)
        at = int(np.searchsorted(self.data.numbers, self.state.frame))
        place = float(along.place[at])
        return place if np.isfinite(place) and along.within(self.stretch)[at] else None

    def _stretch_words(self, number: int) -> str:
        stretch = self._stretches[number]
        if stretch is None or not np.isfinite(stretch).all():
            return "all"
        return f"{number + 1}: {stretch[0] / 3600:.4g} to {stretch[1] / 3600:.4g} h"

    def _nearest(self, place: float) -> dict[str, Any]:
        """Return the frame whose place on the axis is nearest, as a change of the state."""
        at = nearest(self.data.along(self.data.lead, self.state.axis, self.state.lags), place, self.stretch)
        return {} if at is None else {"frame": int(self.data.numbers[at])}

    def _tap(self, event: Any, number: int | None) -> None:
        """Go to the frame whose place is nearest."""
        self._change(**self._nearest(event.x))

    def _zoom(self, event: Any, number: int | None) -> None:
        """Take the visible part of the shared axis, and of a map's own one."""
        low, high = float(event.x0), float(event.x1)
        whole = self.data.whole(self.state.axis, self.stretch, self.state.lags)
        if not low < high or high < whole[0] or low > whole[1]:  # a gesture that was made on another axis
            self.screen.show_axis(self.state, whole)
            return
        changes: dict[str, Any] = {"x_range": (low, high)}
        name = None if number is None else self.data.names[number]
        if name is not None and self.data.choices[name][self.state.shows[name]].kind == "map":
            y_range = self.screen.panel(name).plot.y_range
            ends_of_all = y_range.reset_start, y_range.reset_end
            ends, ranges = (float(event.y0), float(event.y1)), dict(self.state.ranges)
            if ends[0] < ends[1] and ends != ends_of_all:
                ranges[name] = ends
            else:
                ranges.pop(name, None)
            if ranges != self.state.ranges:
                changes["ranges"] = ranges
        self._change(**changes)

    def _select(self, event: Any, number: int) -> None:
        """Take the box that was drawn: whole frames, and on a map the part of its axis."""
        if not event.final or event.geometry["type"] != "rect":
            return
        name, box = self.data.names[number], event.geometry
        region = self.data.region(name, self.state, self.stretch, (box["x0"], box["x1"]), (box["y0"], box["y1"]))
        if region is not None:
            self._change(region=region)
