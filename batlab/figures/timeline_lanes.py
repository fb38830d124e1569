"""What a timeline shows: who measured when, cycles, events and marks, each as spans of absolute time on a lane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import numpy as np
import xarray as xr

from batlab.schema import identity

PIXELS = 700  # a gap between exposures narrower than one of so many parts of the whole is not seen
LONGEST = 80  # characters of a text under the mouse
MOST_ROWS = 8  # of marks that overlap in time


@dataclass
class Span:
    """From `start` to `end` (datetime64, UTC; equal for a moment), with `text` for the mouse and a short `label`."""

    start: np.datetime64
    end: np.datetime64
    text: str
    label: str = ""
    at: np.datetime64 | None = None  # of an event, within its confidence limits


@dataclass
class Lane:
    """One row of the timeline; `kind` is ``"frames"``, ``"cycles"``, ``"events"`` or ``"marks"``."""

    name: str
    kind: str
    spans: list[Span] = field(default_factory=list)


def lanes(results: Mapping[str, xr.Dataset], marks: Iterable[Any]) -> tuple[list[Lane], list[str]]:
    """Return the lanes, and in words what could not be placed."""
    clocks = [clock for name, table in results.items() if (clock := _clock(name, table)) is not None]
    missing: list[str] = []
    found: list[Lane] = []
    for clock in clocks:
        if clock.dim == "record":
            found.append(_cycles(clock))
        elif not any(clock.is_same(other) for other in clocks[: clocks.index(clock)]):
            found.append(Lane(clock.name, "frames", list(_runs(clock))))
    for name, table in results.items():
        if "event" in table.dims and "onset" in table:
            lane, unplaced = _events(name, table, clocks)
            found += [lane] if lane.spans else []
            missing += [f"{unplaced} of {name}"] if unplaced else []
        elif table.sizes.get("frame") and not any(clock.table is table for clock in clocks):
            missing.append(f"the frames of {name}")
    marked, lost = _marks(marks, clocks)
    if lost:
        missing.append(f"{lost} mark{'s' * (lost != 1)}")
    return [*found, *marked], missing


@dataclass(eq=False)
class Clock:
    """What tells the time of a table's frames or records."""

    name: str
    table: xr.Dataset
    dim: str
    label: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def is_same(self, other: Clock) -> bool:
        """Whether both tables are of one series: frames that began at the same moments."""
        return other.dim == self.dim and np.array_equal(self.start, other.start)

    def at(self, labels: Iterable[float]) -> np.ndarray:
        """Return the times of frame or record labels, between two of them in proportion; NaT outside."""
        order = np.argsort(self.label, kind="stable")
        ns = self.start[order].astype("datetime64[ns]").astype(np.int64)
        where = np.asarray(list(labels), dtype=float)
        base = ns[0]
        seconds = np.interp(where, self.label[order], (ns - base) / 1e9, left=np.nan, right=np.nan)
        known = np.isfinite(seconds)
        found = np.full(len(where), np.datetime64("NaT"), dtype="datetime64[ns]")
        found[known] = base.astype("datetime64[ns]") + np.round(1e9 * seconds[known]).astype("timedelta64[ns]")
        return found

    def end_of(self, label: float) -> np.datetime64:
        """Return the end of the exposure of a frame, or of the last one before `label`."""
        before = self.end[self.label <= label]
        return before.max() if before.size else self.start.min()


def _clock(name: str, table: xr.Dataset) -> Clock | None:
    dim = next((d for d in ("frame", "record") if d in table.dims), None)
    if dim is None or "time" not in table.variables or table["time"].dims != (dim,):
        return None
    time = table["time"].values
    if time.dtype.kind != "M":
        return None
    known = ~np.isnat(time)
    if not known.any():
        return None
    label = table[dim].values if dim in table.coords and table[dim].dtype.kind in "iuf" else np.arange(len(time))
    length = np.zeros(len(time))
    if "exposure" in table.variables and table["exposure"].dims in ((dim,), ()):
        length = np.broadcast_to(np.nan_to_num(table["exposure"].values.astype(float)), time.shape)
    start = time[known].astype("datetime64[ns]")
    end = start + np.round(1e9 * length[known]).astype("timedelta64[ns]")
    return Clock(name, table, dim, np.asarray(label, dtype=float)[known], start, end)


def _runs(clock: Clock) -> Iterator[Span]:
    """Yield stretches of exposures between which no gap can be seen."""
    order = np.argsort(clock.start, kind="stable")
    start, end, label = clock.start[order], np.maximum.accumulate(clock.end[order]), clock.label[order]
    whole = max((end[-1] - start[0]) / PIXELS, np.timedelta64(1, "ns"))
    cuts = np.flatnonzero(start[1:] - end[:-1] > whole) + 1
    for part in np.split(np.arange(len(start)), cuts):
        first, last = part[0], part[-1]
        n = len(part)
        text = f"{clock.name}: frames {label[first]:g} to {label[last]:g}, {n} exposure{'s' * (n != 1)}"
        yield Span(start[first], end[last], text)


def _cycles(clock: Clock) -> Lane:
    """Return the cycles of a record, or the record as one stretch where it does not count them."""
    cycle = clock.table.get("cycle")
    if cycle is None or cycle.dims != ("record",):
        return Lane(clock.name, "cycles", [Span(clock.start.min(), clock.start.max(), clock.name)])
    time = clock.table["time"].values.astype("datetime64[ns]")
    known = ~np.isnat(time)
    number, time = cycle.values[known], time[known]
    cuts = np.flatnonzero(number[1:] != number[:-1]) + 1
    spans = []
    for part in np.split(np.arange(len(time)), cuts):
        # A cycle lasts until the next begins.
        end = time[min(part[-1] + 1, len(time) - 1)]
        told = f"{float(number[part[0]]):g}" if np.isfinite(float(number[part[0]])) else "?"
        spans.append(Span(time[part[0]], end, f"{clock.name}: cycle {told}", told))
    return Lane(f"Cycles, {clock.name}", "cycles", spans)


def _events(name: str, table: xr.Dataset, clocks: list[Clock]) -> tuple[Lane, str]:
    """Return the events of a table by the clock of the series that they were found in."""
    lane, count = Lane(name, "events"), table.sizes["event"]
    clock = _clock_of(table, clocks)
    if clock is None or not count:
        return lane, f"{count} event{'s' * (count != 1)}" if count else ""
    ends = [table[key].values if key in table else table["onset"].values for key in ("onset_low", "onset_high")]
    at, low, high = (clock.at(values) for values in (table["onset"].values, *ends))
    words = [table[key].values.astype(str) for key in ("what", "kind") if key in table]
    sure = table["confidence"].values if "confidence" in table else np.full(count, np.nan)
    lost = 0
    for k in range(count):
        if np.isnat(at[k]):
            lost += 1
            continue
        told = ", ".join(one[k].replace("_", " ") for one in words) or "event"
        certain = f", confidence {sure[k]:.3g}" if np.isfinite(sure[k]) else ""
        text = f"{shorten(told, LONGEST, placeholder=' …')} at {clock.dim} {float(table['onset'][k]):.5g}{certain}"
        first, last = (at[k] if np.isnat(one) else one for one in (low[k], high[k]))
        lane.spans.append(Span(min(first, at[k]), max(last, at[k]), text, at=at[k]))
    return lane, f"{lost} event{'s' * (lost != 1)}" if lost else ""


def _clock_of(events: xr.Dataset, clocks: list[Clock]) -> Clock | None:
    """Return the clock of the series with the events' source; the only one of their kind where no source tells."""
    dim = "record" if str(events["onset"].attrs.get("long_name", "")).startswith("record") else "frame"
    alike = [clock for clock in clocks if clock.dim == dim]
    keys = ("source_sha256", "source_fingerprint")
    own = {events.attrs[key] for key in keys if events.attrs.get(key)}
    same = [clock for clock in alike if own & {clock.table.attrs.get(key) for key in keys}]
    if same:
        return same[0]
    return alike[0] if alike and all(clock.is_same(alike[0]) for clock in alike) and not own else None


def _marks(marks: Iterable[Any], clocks: list[Clock]) -> tuple[list[Lane], int]:
    """Return marks on as many lanes as they overlap in time, and how many lie on data without a clock."""
    of = {identity(clock.table): clock for clock in clocks}
    spans, lost = [], 0
    for number, mark in enumerate(marks, 1):
        clock = of.get(mark.dataset)
        start = clock.at([mark.frames[0]])[0] if clock else np.datetime64("NaT")
        if clock is None or np.isnat(start):
            lost += 1
            continue
        what = shorten(mark.mechanism, LONGEST, placeholder=" …")
        text = f"mark {number}: {what} ({mark.category}), {100 * mark.confidence:.0f} %, by {mark.author}"
        spans.append(Span(start, max(start, clock.end_of(mark.frames[1])), text, str(number)))
    rows: list[Lane] = []
    for span in sorted(spans, key=lambda one: one.start):
        free = next((row for row in rows if row.spans[-1].end < span.start), None)
        if free is None and len(rows) < MOST_ROWS:
            free = Lane("Marks" if not rows else "", "marks")
            rows.append(free)
        (free or rows[-1]).spans.append(span)
    return rows, lost
