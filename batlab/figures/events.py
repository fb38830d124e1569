"""Events on the frame axis: when something set in, between which limits, how sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.figures.style import COLOURS, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure


def events(
    table: xr.Dataset, *, frames: tuple[float, float] | None = None, size: tuple[int, int] = (600, 160)
) -> figure:
    """Draw each event as a point with its confidence limits on a row of its own.

    Parameters
    ----------
    table
        ``onset`` over ``event`` with, where known, ``onset_low``, ``onset_high``, ``what`` and ``confidence``.
    frames
        The visible part of the frame axis.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        There is no ``onset`` over ``event``.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.events(bl.curves.change_points(cells))  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    if "onset" not in table or table["onset"].dims != ("event",):
        raise DimensionError(
            f"figures.events needs 'onset' over ('event',), got {dict(table.sizes)}; see curves.change_points"
        )
    source = ColumnDataSource(data=event_columns(table, frames), name="event_data")
    count = table.sizes["event"]
    more = {} if frames is None else {"x_range": Range1d(*map(float, frames))}
    plot = blank(size, "frame", "", y_range=Range1d(-0.5, max(count, 1) - 0.5), **more)
    plot.segment(
        x0="low", x1="high", y0="row", y1="row", source=source, line_color=COLOURS[1], line_width=3, line_alpha=0.5
    )
    points = plot.scatter("onset", "row", source=source, size=8, fill_color=COLOURS[1], line_color="white")
    plot.text(
        "onset", "row", text="what", text_align="side", x_offset="gap", y_offset=-5, source=source,
        text_font_size="12px", name="event_words",
    )  # fmt: skip
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    tips = [("what", "@what"), ("onset", "@onset{0.0}"), ("limits", "@low{0.0} to @high{0.0}"), ("sure", "@sure{0.00}")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[points]))
    return plot


def event_columns(table: xr.Dataset, frames: tuple[float, float] | None = None) -> dict[str, np.ndarray]:
    """Return the events as columns of a Bokeh source; words stand on the side that has room for them."""
    onset = np.asarray(table["onset"].values, dtype=float)
    unknown = np.full_like(onset, np.nan)

    def column(name: str) -> np.ndarray:
        return np.asarray(table[name].values, dtype=float) if name in table else unknown

    known = onset[np.isfinite(onset)]
    low, high = frames or ((known.min(), known.max()) if known.size else (0.0, 1.0))
    is_late = onset > (low + high) / 2
    words = [", ".join(filter(None, told)) for told in zip(*_words(table), strict=True)]
    return {
        "onset": onset,
        "low": column("onset_low"),
        "high": column("onset_high"),
        "sure": column("confidence"),
        "what": np.array(words, dtype=str),
        "side": np.where(is_late, "right", "left"),
        "gap": np.where(is_late, -9.0, 9.0),
        "row": np.arange(onset.size, dtype=float),
    }


def _words(table: xr.Dataset) -> list[list[str]]:
    """Return what the events are called and of which kind they are."""
    told = [[str(word).replace("_", " ") for word in table[name].values] for name in ("what", "kind") if name in table]
    return told or [["event"] * table.sizes["event"]]
