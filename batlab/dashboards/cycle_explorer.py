"""Step through an operando series, compare, and mark what failed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import ipywidgets as w
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap

from batlab.dashboards import page
from batlab.dashboards.controls import Controls
from batlab.dashboards.events import Dashboard, drawn_region
from batlab.dashboards.live import Grown, LiveBar, feed
from batlab.dashboards.marking import WIDTH, Marking, person
from batlab.dashboards.measurement import Measurement
from batlab.dashboards.screen import Screen
from batlab.dashboards.script import names_in_use, script
from batlab.dashboards.state import State
from batlab.dashboards.view import FigureView
from batlab.errors import ReadError
from batlab.failure import Store

MAP = {"scale", "limits", "reference", "frames", "axis_range"}
PATTERN = {"scale", "reference", "axis_range"}


class CycleExplorer(Dashboard):
    """Heat map, voltage, pattern and tracked numbers of an operando series with one cursor.

    The cursor moves by slider, arrow keys (click into the figure first; Page keys move ten, Home and End to the ends),
    click on the map or on a curve beside it, or by cycle and step. A box drawn on the map selects a region to mark.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q or two_theta) [count or 1]; ``voltage`` [V], ``cycle``, ``step`` … over frame where
        `align.onto_frames` has put them.
    tracks
        Numbers over the same frames: cells, peaks, or a list of such Datasets.
    store
        Where marks go: a `failure.Store`, or the path or URL of one. Without it nothing can be marked.
    live
        What `batlab.follow` returns: the series grows by what it brings, see `follow`. Without `series` the first frame
        is waited for.

    Attributes
    ----------
    state
        What is shown, as plain numbers; see `dashboards.state.State`.
    screen, controls, marking
        The figures, the tool bar, and the form for marks.

    Raises
    ------
    DimensionError
        `series` is no series of patterns, or a track has frames that the series has not.
    TypeError, RuntimeError
        Neither `series` nor `live`; `live` without an event loop, as a notebook has one.

    Examples
    --------
    >>> import batlab as bl
    >>> explorer = bl.dashboards.CycleExplorer(patterns, cells, store="cell7.marks.sqlite")  # doctest: +SKIP
    >>> explorer.show()  # doctest: +SKIP
    >>> explorer.state.frame = 47  # doctest: +SKIP
    >>> explorer = bl.dashboards.CycleExplorer(live=bl.follow("scan_master.h5", plan))  # doctest: +SKIP
    """

    def __init__(
        self,
        series: xr.Dataset | None = None,
        tracks: xr.Dataset | Sequence[xr.Dataset] | None = None,
        store: Store | str | os.PathLike | None = None,
        *,
        live: Any = None,
    ) -> None:
        super().__init__()
        if live is not None:
            _loop()
        if series is None:
            series = _first(live)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"series": series, "tracks": tracks, "store": self.store}
        measurement = Measurement.of(series, tracks)
        self._grown: Grown | None = None
        self._task: asyncio.Task[None] | None = None
        self._follower: Any = None
        self.state = _first_state(measurement)
        self.screen = Screen(measurement, self.state)
        self.controls = Controls(self._change, self.state_step)
        self.marking = Marking(self._change)
        self.marking.after = self._show_marks
        self.marking.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self._listen()
        self._fill(measurement)
        self.screen.make_document()
        self.view = FigureView(self.screen.root)
        self.views = [self.view]
        self.live = LiveBar()
        self.live.stop.on_click(lambda _button: self._follower and self._follower.stop())
        self.widget = self._compose()
        if live is not None:
            self.state.frame = int(measurement.numbers[-1])
            self.follow(live)

    @property
    def series(self) -> xr.Dataset:
        """The series on the screen: an ordinary Dataset, with all frames that have come so far."""
        return self.measurement.given

    def _compose(self) -> w.VBox:
        figure = w.Box([self.view], layout=w.Layout(grid_area="1 / 1 / 2 / 2"))
        # The form lies in the corner that the figure leaves empty: right of the pattern, under the panels.
        corner = w.Box(
            [self.marking.widget],
            layout=w.Layout(
                grid_area="1 / 1 / 2 / 2", margin="332px 0 0 590px", width=f"{WIDTH}px", overflow="visible"
            ),
        )
        grid = w.GridBox([figure, corner], layout=w.Layout(grid_template_columns="995px", overflow="visible"))
        box = w.VBox(
            [self.controls.widget, self.live.widget, grid], layout=w.Layout(width="1000px", overflow="visible")
        )
        box.add_class("batlab-explorer")
        return box

    def _listen(self) -> None:
        self.screen.heat.on_event(SelectionGeometry, self._select)
        self.screen.heat.on_event(RangesUpdate, self._zoom)
        for plot in (self.screen.heat, *self.screen.panels):
            plot.on_event(Tap, lambda event: self._change(frame=round(event.y)))
        self.screen.request.on_change("data", self._ask)

    def _fill(self, measurement: Measurement) -> None:
        """Bring data and state to the screen, all of it."""
        self.measurement = measurement
        self.screen.load(measurement, self.state)
        self.controls.load(measurement)
        self.marking.load(measurement, self.store, person())
        self._dirty = set(self.state.trait_names())
        self._refresh()
        self.state.observe(self._note)

    def load(self, series: xr.Dataset, tracks: xr.Dataset | Sequence[xr.Dataset] | None = None) -> None:
        """Show other data in the same figures; the state starts anew.

        Raises
        ------
        DimensionError
            As for the class; the dashboard then still shows what it had.
        """
        measurement = Measurement.of(series, tracks)
        self._end_following()
        self._grown, self.screen.room = None, 0
        self._given.update(series=series, tracks=tracks)
        self.state.unobserve_all()
        fresh = _first_state(measurement)
        self.state.numbers, self.state.choices = fresh.numbers, fresh.choices
        for name, value in fresh.trait_values().items():
            self.state.set_trait(name, value)
        self._fill(measurement)

    def append(self, patterns: xr.Dataset) -> None:
        """Add frames after the last; a map that shows all of them, and a cursor on the last, go with them.

        Only the new rows of the map travel. The data that were handed in are not changed.

        Raises
        ------
        DimensionError
            Other variables, another axis, or frames that do not follow the last.
        """
        self._append([patterns])

    def _append(self, parts: list[xr.Dataset]) -> None:
        if self._grown is None:
            self._grown = Grown(self.measurement.series)
        before, first = self.measurement, int(parts[0]["frame"].values[0])
        for part in parts:
            self._grown.append(part)
        self.measurement = before.grown(self._grown.dataset)
        self._given["series"] = self.measurement.given
        self.state.numbers = self.measurement.numbers
        with self._event():
            if self.state.frame == before.numbers[-1]:
                self.state.frame = int(self.measurement.numbers[-1])
            if self.state.frames == before.whole[0]:
                self.state.frames = self.measurement.whole[0]
            self._dirty.discard("frames")
            self.screen.grow(self.measurement, self.state, first)
            self.controls.load(self.measurement)
            self.marking.measurement = self.measurement
            self._dirty |= {"frame", "panels"}

    def follow(self, follower: Any) -> asyncio.Task[None]:
        """Show what `follower` (`batlab.follow`) brings while it comes; the notebook stays free for other work.

        The map, the cursor on the last frame and the panels grow in place, at most twice a second. After the end or
        ``stop()`` the dashboard shows an ordinary series (`series`), and marks can be made.

        Returns
        -------
        The task, to be awaited by who wants to; an error of the follower ends it, and is shown.

        Raises
        ------
        RuntimeError
            There is no event loop (a script): loop over the follower and call `append`. Or another one is followed.
        """
        loop = _loop()
        if self._task is not None and not self._task.done():
            raise RuntimeError("a series is being followed already; stop it first")
        self._follower = follower.start()
        self.marking.waits = True
        self.marking.show(self.state)
        self.live.tell(f"following, {len(self.measurement.numbers)} frames")
        self.live.stop.disabled = False
        self._task = loop.create_task(self._grow_along(follower))
        return self._task

    async def _grow_along(self, follower: Any) -> None:
        def take(parts: list[xr.Dataset]) -> None:
            self._append(parts)
            self.live.tell(f"following, {len(self.measurement.numbers)} frames")

        try:
            await feed(follower, take, lambda: self.view.is_painting)
        except Exception as error:
            follower.stop()
            self._settle()
            self.live.tell(f"{type(error).__name__}: {error}", is_alarm=True)
            raise
        self._settle()
        self.live.tell(f"{len(self.measurement.numbers)} frames; ended: {follower.ended}")

    def _settle(self) -> None:
        """Show the series that has grown as an ordinary one."""
        self.live.stop.disabled = True
        self.marking.waits = False
        self.screen.room = 0
        if self._grown is not None:
            series = self._grown.dataset.copy(deep=True)
            self._grown = None
            self.measurement = self.measurement.grown(series)
            self._given["series"] = series
            self.screen.measurement = self.measurement
        self.marking.load(self.measurement, self.store, person())
        self._dirty |= MAP
        self._refresh()

    def _end_following(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
        if self._follower is not None:
            self._follower.stop()
        self._task = self._follower = None
        self.live.widget.layout.display = "none"
        self.marking.waits = False

    def state_step(self, by: int) -> None:
        """Move the cursor by so many frames."""
        self.state.step(by)

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        if dirty & MAP:
            self.screen.show_map(self.state)
        if dirty & PATTERN:
            self.screen.show_pattern_axis(self.state)
        if dirty & (PATTERN | {"frame"}):
            self.screen.show_frame(self.state)
        if "panels" in dirty:
            self.screen.show_panels(self.state)
        if "region" in dirty:
            self.screen.show_region(self.state)
        self.controls.show(self.state, self.screen.limits)
        self.marking.show(self.state)
        self._refresh_code()

    def _refresh_code(self) -> None:
        if self.marking.is_code_open:
            self.marking.script.value = self.code()

    def _select(self, event: Any) -> None:
        """Take the box that was drawn."""
        region = drawn_region(event, self.measurement.numbers, self.measurement.whole[1])
        if region is not None:
            self._change(region=region)

    def _zoom(self, event: Any) -> None:
        self._change(axis_range=(event.x0, event.x1), frames=(event.y0, event.y1))

    def _ask(self, _name: str, _old: Any, new: Any) -> None:
        self._change(frame=new["frame"][0])

    def _show_marks(self, marks: list[Any]) -> None:
        self.screen.show_marks(marks)

    def code(self) -> str:
        """Return the lines of Python that draw what is on the screen."""
        marks = bool(self.marking.marks)
        tracks = self._given["tracks"]
        members = () if tracks is None or isinstance(tracks, xr.Dataset) else tracks
        roles = {**self._given, **{f"tracks[{number}]": table for number, table in enumerate(members)}}
        return script(self.measurement, self.state, names_in_use(roles), has_marks=marks)

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        self._end_following()
        self._grown = None
        self.state.unobserve_all()
        page.forget(self)
        self.screen.root.document.clear()
        for name in ("screen", "measurement", "view", "views", "marking", "controls", "live", "widget", "_given"):
            delattr(self, name)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "following beside other work needs a running event loop, as in a notebook; in a script loop over the "
            "follower and call explorer.append"
        ) from None


def _first(live: Any) -> xr.Dataset:
    if live is None:
        raise TypeError("CycleExplorer needs a series of patterns, or live=bl.follow(…)")
    first = next(live, None)
    if first is None:
        raise ReadError(f"live ended ({live.ended}) before a frame came")
    return first


def _first_state(measurement: Measurement) -> State:
    frames, points = measurement.whole
    return State(
        measurement.numbers,
        list(measurement.choices),
        frame=int(measurement.numbers[0]),
        frames=frames,
        axis_range=points,
        panels=measurement.first_panels(),
    )
