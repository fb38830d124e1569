"""A series that grows while it is shown: its numbers, and the bar that tells how it goes."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr

from batlab.dashboards.controls import place
from batlab.errors import DimensionError
from batlab.figures.pixels import pattern_axis

GATHER = 0.5  # s of patterns that are drawn together
TICK = 0.05  # s between two looks at what has come
LEAST = 64  # frames for which there is room at first


class Grown:
    """A series with room for more: adding frames copies only those, now and then all of them to twice the room."""

    def __init__(self, first: xr.Dataset) -> None:
        self.axis = pattern_axis(first, "dashboards.CycleExplorer")
        self._kinds = {name: first[name].variable.dims for name in first.variables}
        self._rest = first.isel(frame=slice(0, 0))
        self._whole = {str(name): np.asarray(first[name].values) for name in self._over_frames(first)}
        self._n = first.sizes["frame"]

    def _over_frames(self, series: xr.Dataset) -> list[Any]:
        return [name for name, variable in series.variables.items() if variable.dims[:1] == ("frame",)]

    def append(self, part: xr.Dataset) -> None:
        """Add frames after the last.

        Raises
        ------
        DimensionError
            Another axis, other variables, or frames that do not follow.
        """
        kinds = {name: part[name].variable.dims for name in part.variables}
        if kinds != self._kinds:
            strange = sorted(map(str, kinds.keys() ^ self._kinds.keys())) or sorted(map(str, kinds))
            raise DimensionError(f"the series cannot grow by patterns with other variables or dimensions: {strange}")
        if not part[self.axis].equals(self._rest[self.axis]):
            raise DimensionError(f"the series cannot grow by patterns over another {self.axis!r}")
        last = self._whole["frame"][self._n - 1]
        if not part["frame"].values[0] > last:
            raise DimensionError(f"frame {part['frame'].values[0]} does not follow the last, {last}")
        stop = self._n + part.sizes["frame"]
        for name, values in self._whole.items():
            new = part[name].values
            kind = np.result_type(values, new)
            if stop > len(values) or kind != values.dtype:
                room = np.zeros((max(2 * stop, LEAST), *values.shape[1:]), kind)
                room[: self._n] = values[: self._n]
                self._whole[name] = values = room
            values[self._n : stop] = new
        self._n = stop

    @property
    def dataset(self) -> xr.Dataset:
        """All frames so far; no numbers are copied."""
        rest = self._rest
        variables: dict[Any, xr.Variable] = {name: rest[name].variable for name in rest.variables}
        for name, values in self._whole.items():
            variables[name] = xr.Variable(rest[name].dims, values[: self._n], rest[name].attrs)
        coords = {name: variables.pop(name) for name in rest.coords}
        return xr.Dataset(variables, coords, dict(rest.attrs))


class LiveBar:
    """A line under the tool bar: how many frames have come, and a button to stop."""

    def __init__(self) -> None:
        self.told = w.HTML(layout=place("850px", height="24px"))
        self.stop = w.Button(description="stop", tooltip="Stop to follow", layout=place("70px", height="24px"))
        self.widget = w.HBox([self.stop, self.told], layout=w.Layout(display="none", width="993px"))

    def tell(self, words: str, *, is_alarm: bool = False) -> None:
        """Say how it goes."""
        self.widget.layout.display = ""
        colour = "#B00020" if is_alarm else "inherit"
        self.told.value = f'<span style="color:{colour}">{html.escape(words)}</span>'


async def feed(follower: Any, take: Callable[[list[xr.Dataset]], None], is_busy: Callable[[], bool]) -> None:
    """Hand what comes to `take`, half a second's worth at a time, and leave the event loop to others meanwhile.

    While the browser `is_busy` with painting all of it nothing is taken; the follower's queue waits.
    """
    async for first in follower:
        while is_busy():
            await asyncio.sleep(TICK)
        gathered, until = [first], time.monotonic() + GATHER
        while time.monotonic() < until:
            more = follower.ready()
            if more is None:
                await asyncio.sleep(TICK)
            else:
                gathered.append(more)
        take(gathered)
        await asyncio.sleep(0)
