"""When everything happened: exposures, cycles, events and marks on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from batlab import figures
from batlab.failure import Mark
from batlab.figures.timeline_lanes import lanes
from batlab.report._numbers import moment
from batlab.report._sections import Section

WIDTH = 640  # pixels inside the axes; the names of the lanes stand beside


def timeline(results: Mapping[str, xr.Dataset], marks: Sequence[Mark]) -> Section:
    """Return the timeline, and in words what has no place on it."""
    found, missing = lanes(results, marks)
    section = Section("Timeline")
    without = f"Without absolute time, and so not on it: {', '.join(missing)}." if missing else ""
    if not found:
        section.lead = "No result says when it was measured." if not missing else without
        return section
    spans = [span for lane in found for span in lane.spans]
    ends = min(span.start for span in spans), max(span.end for span in spans)
    section.lead = f"From {moment(ends[0])} to {moment(ends[1])}. {without}".strip()
    plot = figures.timeline(results, marks=marks, width=WIDTH)
    caption = "Exposures, cycles, events with their confidence limits, and marks by their number in the table of marks"
    section.figures.append((caption, plot))
    return section
