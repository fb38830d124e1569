"""Two to six techniques of one experiment, stacked on one axis; and how two of their numbers go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, choose
from batlab.figures.style import COLOURS, CURSOR, FAINT, axis_label, blank
from batlab.figures.technique import Along, Choice, as_frames, choices, map_limits, numbers_of, technique_trace
from batlab.figures.technique_panel import LAST_BOTTOM, LEFT, RIGHT, short, technique_panel

if TYPE_CHECKING:
    from bokeh.models import Column
    from bokeh.plotting import figure

AXES = ("time", "capacity", "lithium", "temperature")
NAME = "figures.comparison"
WIDTH = 560
HEIGHTS = {2: 170, 3: 128, 4: 102, 5: 86, 6: 78}
OVERLAY_HEIGHT = 104


@dataclass(frozen=True, eq=False)
class Experiment:
    """Techniques over ``frame`` by name; `clock` tells the time to the others, `zero` is its first moment."""

    tables: dict[str, xr.Dataset]
    clock: str
    zero: np.datetime64
    middles: dict[str, np.ndarray]

    @classmethod
    def of(cls, tree: xr.DataTree, who: str = NAME) -> Experiment:
        """Take the techniques of an experiment apart.

        Raises
        ------
        DimensionError, SchemaError
            Not a tree of two to six techniques with ``time``.
        """
        if not isinstance(tree, xr.DataTree):
            raise DimensionError(
                f"{who} needs a DataTree with two to six techniques, got a {type(tree).__name__}; make one with "
                "xarray.DataTree.from_dict({'xrd': cells, 'echem': record})"
            )
        names = [str(name) for name in tree.children]
        if not 2 <= len(names) <= 6:
            raise DimensionError(
                f"{who} compares two to six techniques, got {len(names)}: {', '.join(names) or 'none'}"
            )
        tables = {name: as_frames(tree.children[name].to_dataset(inherit=False), name).compute() for name in names}
        for name, table in tables.items():
            if not choices(table):
                raise SchemaError(
                    f"technique {name!r} has nothing to show: no number along its frames, and no map over them"
                )
        clock = next((name for name in names if "record" in tree[name].dims), names[0])
        stamps = tables[clock]["time"].values.astype("datetime64[ns]")
        zero = stamps[~np.isnat(stamps)].min()
        return cls(tables, clock, zero, {name: _middles(table, zero) for name, table in tables.items()})

    def seconds(self, name: str) -> np.ndarray:
        """Return the middle of every exposure in seconds since the first moment of the clock."""
        return self.middles[name]

    def along(self, name: str, axis: str) -> Along:
        """Return where the frames of a technique lie on an axis that it has.

        Raises
        ------
        DimensionError
            The technique has no such number on its frames.
        """
        seconds = self.seconds(name)
        if axis == "time":
            return Along(seconds / 3600, seconds)
        table = self.tables[name]
        if axis not in table.variables or table[axis].dims != ("frame",):
            raise DimensionError(
                f"{NAME} needs {axis!r} for every technique, {name!r} has none; put all on one axis with "
                f"align.onto(tree, axis={axis!r})"
            )
        return Along(np.asarray(table[axis].values, dtype=float), seconds)

    def label(self, axis: str) -> str:
        """Return what stands under the shared axis."""
        if axis == "time":
            return f"time since {str(self.zero.astype('datetime64[s]')).replace('T', ' ')} UTC (h)"
        return next(axis_label(table[axis]) for table in self.tables.values() if axis in table.variables)


def _middles(table: xr.Dataset, zero: np.datetime64) -> np.ndarray:
    stamps = table["time"].values.astype("datetime64[ns]")
    seconds = np.where(np.isnat(stamps), np.nan, (stamps - zero).astype(np.int64) / 1e9)
    if "exposure" in table.variables:
        seconds = seconds + np.nan_to_num(np.asarray(table["exposure"].values, dtype=float)) / 2
    return seconds


def first_shown(table: xr.Dataset) -> str:
    """Return what a panel shows before anybody chooses."""
    return next(iter(choices(table)))


def first_feature(table: xr.Dataset) -> str:
    """Return the trace that stands for a technique before anybody chooses; nothing where it has only maps."""
    return next((label for label, choice in choices(table).items() if choice.kind == "trace"), "")


def comparison(
    tree: xr.DataTree,
    *,
    axis: str = "time",
    show: Mapping[str, str] | None = None,
    overlay: Mapping[str, str] | None = None,
    stretch: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    cursor: float | None = None,
) -> Column:
    """Draw the techniques of an experiment one above the other on a shared axis.

    Parameters
    ----------
    tree
        Two to six techniques, each over ``frame`` or ``record`` with ``time``, and with `axis` on it: `align.onto`
        puts it there.
    axis
        ``"time"``, ``"capacity"``, ``"lithium"`` or ``"temperature"``.
    show
        Technique -> what its panel shows: ``"map of intensity"``, ``"a"`` …; by default its first map, or number.
    overlay
        Technique -> number that is drawn, scaled from 0 to 1, over those of the others at the bottom.
    stretch
        Seconds since the first record, from and to: on axes other than time the part in which the axis only rises or
        falls, such as one charge.
    x_range
        The visible part of the axis; for time in hours since the first record (or first frame of the first technique).
    ranges
        Technique -> visible part of its own axis.
    cursor
        A place on the axis to mark.

    Raises
    ------
    DimensionError, SchemaError
        Not a tree of two to six techniques with ``time`` and with `axis`.
    ValueError
        An unknown axis, technique, or thing to show.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.comparison(tree, show={"xrd": "map of intensity", "echem": "voltage"})  # doctest: +SKIP
    """
    from bokeh.layouts import column
    from bokeh.models import Range1d

    choose("axis", axis, AXES)
    experiment = Experiment.of(tree)
    names = list(experiment.tables)
    for given in (show or {}, overlay or {}, ranges or {}):
        for name in given:
            choose("technique", name, names)
    alongs = {name: experiment.along(name, axis) for name in names}
    ends = x_range or shared_range(alongs, stretch)
    shared = Range1d(*ends)
    plots = []
    for number, name in enumerate(names):
        table, is_last = experiment.tables[name], number == len(names) - 1 and not overlay
        label = (show or {}).get(name) or first_shown(table)
        choose(f"show[{name!r}]", label, list(choices(table)))
        choice = choices(table)[label]
        panel = technique_panel(
            name, shared, (WIDTH, HEIGHTS[len(names)]), COLOURS[number], label=experiment.label(axis), is_last=is_last
        )
        limits = map_limits(table, choice) if choice.kind == "map" else None
        y_range = (ranges or {}).get(name)
        panel.show(table, choice, alongs[name], stretch=stretch, x_range=ends, y_range=y_range, limits=limits)
        panel.point(cursor, words_at(name, table, choice, alongs[name], cursor, stretch))
        plots.append(panel.plot)
    if overlay:
        plot = overlay_panel(names, shared, experiment.label(axis))
        for name, label in overlay.items():
            choose(f"overlay[{name!r}]", label, [one for one, c in choices(experiment.tables[name]).items()
                                                 if c.kind == "trace"])  # fmt: skip
            columns = overlay_columns(experiment.tables[name], choices(experiment.tables[name])[label], alongs[name],
                                      stretch)  # fmt: skip
            plot.select_one({"name": f"{name}_overlay"}).data_source.data = columns
        plot.select_one({"name": "overlay_cursor"}).update(location=cursor or 0.0, visible=cursor is not None)
        plots.append(plot)
    return column(*plots, spacing=0)


def shared_range(alongs: Mapping[str, Along], stretch: tuple[float, float] | None) -> tuple[float, float]:
    """Return the ends of the shared axis that show all techniques."""
    known = [along.place[along.within(stretch)] for along in alongs.values()]
    together = np.concatenate(known)
    if not together.size:
        return 0.0, 1.0
    low, high = float(together.min()), float(together.max())
    room = 0.01 * (high - low) or 0.5
    return low - room, high + room


def nearest(along: Along, place: float, stretch: tuple[float, float] | None) -> int | None:
    """Return the position of the frame whose place is nearest, None where none has one."""
    away = np.where(along.within(stretch), np.abs(along.place - place), np.inf)
    at = int(np.argmin(away))
    return at if np.isfinite(away[at]) else None


def words_at(
    name: str, table: xr.Dataset, choice: Choice, along: Along, place: float | None, stretch: Any = None
) -> str:
    """Return what a panel's corner says: the technique, and what it has nearest to the cursor."""
    at = None if place is None else nearest(along, place, stretch)
    if at is None:
        return name
    words = f"{name} · {table['frame'].attrs.get('long_name', 'frame')} {int(table['frame'].values[at])}"
    if choice.kind == "map":
        return words
    values, sigma, _ = numbers_of(table, choice)
    spread = f" ± {sigma[at]:.2g}" if np.isfinite(sigma[at]) else ""
    return f"{words} · {choice.name} {short(values, at)}{spread}"


def overlay_panel(names: list[str], x_range: Any, label: str, height: int = OVERLAY_HEIGHT) -> figure:
    """Return the empty panel in which numbers of all techniques are drawn, scaled from 0 to 1."""
    from bokeh.models import ColumnDataSource, Range1d, Span

    plot = blank(
        (WIDTH, height), label, "scaled", margins=(4, RIGHT, LAST_BOTTOM, LEFT), x_range=x_range,
        y_range=Range1d(-0.06, 1.06), name="overlay",
    )  # fmt: skip
    plot.yaxis.axis_label_text_font_size = "12px"
    for number, name in enumerate(names):
        source = ColumnDataSource(data={"x": [], "y": []})
        plot.line("x", "y", source=source, line_color=COLOURS[number], line_width=1.4, name=f"{name}_overlay")
    plot.add_layout(
        Span(dimension="height", line_color=CURSOR, line_width=1.6, level="overlay", visible=False,
             name="overlay_cursor")
    )  # fmt: skip
    return plot


def overlay_columns(
    table: xr.Dataset, choice: Choice, along: Along, stretch: tuple[float, float] | None
) -> dict[str, np.ndarray]:
    """Return a trace scaled from 0 to 1 over the stretch that is shown."""
    columns = technique_trace(table, choice, along, stretch=stretch)
    known = columns["y"][np.isfinite(columns["y"])]
    low, span = (known.min(), np.ptp(known)) if known.size else (0.0, 1.0)
    return {"x": columns["x"], "y": (columns["y"] - low) / (span or 1.0)}


def correlation(found: xr.Dataset, *, size: tuple[int, int] = (200, 130)) -> figure:
    """Draw the pairs behind a correlation, the one against the other.

    Parameters
    ----------
    found
        From `align.correlation`.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        Not from `align.correlation`.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.correlation(bl.align.correlation(cells["a"], edges["e0"]))  # doctest: +SKIP
    """
    missing = [name for name in ("one", "other", "correlation") if name not in found]
    if missing:
        raise DimensionError(f"figures.correlation needs {', '.join(missing)}; give it what align.correlation returns")
    plot = correlation_plot(size)
    fill_correlation(plot, found)
    return plot


def correlation_plot(size: tuple[int, int]) -> figure:
    """Return the empty figure of a correlation; `fill_correlation` fills it."""
    from bokeh.models import ColumnDataSource, Label, Range1d

    plot = blank(
        size, "", "", margins=(24, 10, 44, 74), x_range=Range1d(0, 1), y_range=Range1d(0, 1), name="correlation"
    )
    pairs = ColumnDataSource(data={"x": [], "y": []})
    plot.scatter(
        "x", "y", source=pairs, size=4, fill_color=FAINT, fill_alpha=0.6, line_color=None, name="correlation_pairs"
    )
    # On a layer of its own: moving it does not paint the pairs anew.
    plot.add_layout(
        Label(
            x=0, y=0, text="○", text_color=CURSOR, text_font_size="22px", text_font_style="bold", anchor="center",
            level="overlay", visible=False, name="correlation_ring",
        )
    )  # fmt: skip
    plot.title.text_font_size = "12px"
    return plot


def fill_correlation(plot: figure, found: xr.Dataset) -> None:
    """Bring pairs and words to a figure that `correlation_plot` has made."""
    x, y = (np.asarray(found[name].values, dtype=float) for name in ("one", "other"))
    plot.select_one({"name": "correlation_pairs"}).data_source.data = {"x": x, "y": y}
    known = np.isfinite(x) & np.isfinite(y)
    for range_, values in ((plot.x_range, x[known]), (plot.y_range, y[known])):
        room = 0.05 * float(np.ptp(values)) or 0.5
        range_.update(start=float(values.min()) - room, end=float(values.max()) + room)
    plot.xaxis.axis_label, plot.yaxis.axis_label = (pair_label(found[name]) for name in ("one", "other"))
    plot.title.text = correlation_words(found)


def pair_label(side: xr.DataArray) -> str:
    """Return the axis label of one side of a correlation."""
    return axis_label(side.rename(str(side.attrs.get("variable", side.name))))


def correlation_words(found: xr.Dataset) -> str:
    """Return a correlation with its interval, as one line."""
    r, low, high, n_pairs, n_effective = (
        float(found[name]) for name in ("correlation", "correlation_low", "correlation_high", "n_pairs", "n_effective")
    )
    if not np.isfinite(r):
        return "no correlation: one of them never changes"
    level = 100 * float(found.attrs["confidence"])
    return f"r = {r:.2f} [{low:.2f}, {high:.2f}] ({level:g} %), {n_pairs:.0f} pairs, {n_effective:.0f} independent"
