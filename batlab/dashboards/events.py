"""What every dashboard does with its state: changes are gathered, one refresh an event brings them to the screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from batlab.dashboards import page


class Dashboard:
    """A dashboard whose callbacks only change `state`; `_draw` is told the names of what has changed, once an event."""

    state: Any
    views: list[Any]

    def __init__(self) -> None:
        self._dirty: set[str] = set()
        self._depth = 0

    @contextmanager
    def _event(self) -> Iterator[None]:
        """Gather the changes of one event into one refresh."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._refresh()

    def _change(self, **traits: Any) -> None:
        with self._event():
            for name, value in traits.items():
                setattr(self.state, name, value)

    def _note(self, change: Any) -> None:
        self._dirty.add(change["name"])
        if not self._depth:
            self._refresh()

    def _refresh(self) -> None:
        dirty, self._dirty = self._dirty, set()
        if dirty:
            self._draw(dirty)

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        raise NotImplementedError

    def show(self) -> None:
        """Display the dashboard. A cell that runs again closes the dashboard that it had shown before."""
        page.display(self)
        for view in self.views:
            view.expect_paint()


def drawn_region(event: Any, numbers: np.ndarray, ends: tuple[float, float]) -> tuple[int, int, float, float] | None:
    """Return the box that was drawn on a map: whole frames, and the axis as drawn, both within the data."""
    if not event.final or event.geometry["type"] != "rect":
        return None
    x0, x1 = (float(np.clip(x, *ends)) for x in sorted((event.geometry["x0"], event.geometry["x1"])))
    y0, y1 = sorted((event.geometry["y0"], event.geometry["y1"]))
    inside = numbers[(numbers >= y0) & (numbers <= y1)]
    if not inside.size:
        inside = numbers[[np.argmin(np.abs(numbers - (y0 + y1) / 2))]]
    return (int(inside[0]), int(inside[-1]), x0, x1) if x0 < x1 else None


def nearest_frame(shown: dict[str, Any], x: float, y: float) -> int | None:
    """Return the frame whose point in a trend is nearest, both axes alike; None where there is no point."""
    place, value = (np.asarray(shown[name], dtype=float) for name in ("place", "value"))
    known = np.isfinite(place) & np.isfinite(value)
    if not known.any():
        return None
    away = np.zeros(place.shape)
    for at, values in ((x, place), (y, value)):
        away += ((values - at) / (np.ptp(values[known]) or 1.0)) ** 2
    return int(np.asarray(shown["frame"])[np.argmin(np.where(known, away, np.inf))])
