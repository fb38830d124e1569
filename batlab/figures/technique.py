"""One technique of an experiment along an axis that it shares with others: as a map, or as a trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError
from batlab.figures.cycling import thinned
from batlab.figures.pixels import MapImage, automatic_limits, map_image
from batlab.figures.style import readable
from batlab.figures.track import quantities
from batlab.schema import LEADING

LABELS = ("component", "phase", "channel", "mass", "path", "combination")  # beside `peak`: one trace each
MOST_TRACES = 24  # along one of them
GAP = 3.0  # times the usual step: more is a gap, and is left empty
AHEAD = ("intensity", "mu_flat", "mu_norm", "mu", "g_r", "a", "c", "volume", "e0", "voltage", "area", "concentration")


@dataclass(frozen=True)
class Choice:
    """What a panel can show: a ``"map"`` over (frame, axis), or a ``"trace"``, perhaps one of several along `dim`."""

    kind: str
    name: str
    dim: str = ""
    at: Any = None


@dataclass(frozen=True, eq=False)
class Along:
    """Where the frames of a technique lie: `place` on the shared axis, `seconds` on the shared clock."""

    place: np.ndarray
    seconds: np.ndarray

    def within(self, stretch: tuple[float, float] | None) -> np.ndarray:
        """Return which frames have a place, and lie in a stretch of time."""
        known = np.isfinite(self.place) & np.isfinite(self.seconds)
        if stretch is None:
            return known
        return known & (self.seconds >= stretch[0]) & (self.seconds <= stretch[1])


def as_frames(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """Return a technique over ``frame``, whatever leads it, without what a screen cannot show.

    Raises
    ------
    DimensionError, SchemaError
        Neither ``frame`` nor ``record``, nothing along it, or no ``time`` on it.
    """
    leading = [dim for dim in LEADING if dim in dataset.dims]
    if len(leading) != 1 or not dataset.sizes[leading[0]]:
        raise DimensionError(
            f"technique {name!r} needs one of the dimensions 'frame' and 'record', with at least one point, got "
            f"{dict(dataset.sizes)}"
        )
    dim = leading[0]
    if "time" not in dataset.variables or dataset["time"].dims != (dim,) or dataset["time"].dtype.kind != "M":
        raise SchemaError(
            f"technique {name!r} needs 'time' (datetime64, UTC) over {dim!r} to be compared with others, got "
            f"{sorted(map(str, dataset.variables))}; assign it, or open its file with start=…"
        )
    if np.isnat(dataset["time"].values).all():
        raise SchemaError(f"technique {name!r} has 'time', but not one that is known")
    kept = [
        one
        for one, variable in dataset.variables.items()
        if (variable.dims[:1] in ((dim,), ()) and variable.ndim <= 2) or variable.dims == (one,)
    ]
    table = dataset[kept].rename({dim: "frame"} if dim != "frame" else {})
    if "frame" not in table.coords:
        numbers = xr.Variable("frame", np.arange(table.sizes["frame"]), {"units": "1", "long_name": dim})
        table = table.assign_coords(frame=numbers)
    return table


def choices(table: xr.Dataset) -> dict[str, Choice]:
    """Return what can be shown of a technique over ``frame``: a label for readers -> how to get it, likeliest first.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> table = xr.Dataset({"intensity": quantity(("frame", "q"), np.ones((3, 2)), "1", "intensity"),
    ...                     "a": quantity("frame", [4.0, 4.1, 4.2], "angstrom", "a")},
    ...                    {"q": quantity("q", [1.0, 2.0], "1/angstrom", "q")})
    >>> list(choices(table))
    ['map of intensity', 'a']
    """
    found: dict[str, Choice] = {}
    for key, variable in table.data_vars.items():
        if variable.dims[:1] != ("frame",) or variable.ndim != 2 or variable.dtype.kind not in "iuf":
            continue
        name, dim = str(key), str(variable.dims[1])
        if name.endswith("_sigma") or name == "mask":
            continue
        if dim in LABELS and table.sizes[dim] <= MOST_TRACES:
            labels = table[dim].values.tolist() if dim in table.coords else range(table.sizes[dim])
            found |= {f"{name}, {dim} {one}": Choice("trace", name, dim, n) for n, one in enumerate(labels)}
        elif _is_axis(table, dim):
            found[f"map of {name}"] = Choice("map", name)
    for label, (name, peak) in quantities(table).items():
        at = None if peak is None else int(np.flatnonzero(table["peak"].values == peak)[0])
        found[label] = Choice("trace", name, "" if peak is None else "peak", at)
    rank = {name: place for place, name in enumerate(AHEAD)}
    return dict(sorted(found.items(), key=lambda one: (one[1].kind != "map", rank.get(one[1].name, len(AHEAD)))))


def _is_axis(table: xr.Dataset, dim: str) -> bool:
    if dim not in table.coords or table[dim].dtype.kind not in "iuf" or table.sizes[dim] < 2:
        return False
    return dim not in ("peak", *LABELS) and bool((np.diff(table[dim].values.astype(float)) > 0).all())


def numbers_of(table: xr.Dataset, choice: Choice) -> tuple[np.ndarray, np.ndarray, xr.DataArray]:
    """Return a trace and its σ (NaN where unknown) in the unit in which it is shown, and the variable behind it."""
    variable = table[choice.name]
    sigma = table.get(f"{choice.name}_sigma")
    if choice.dim:
        variable = variable.isel({choice.dim: choice.at})
        sigma = None if sigma is None else sigma.isel({choice.dim: choice.at})
    factor = readable(variable)[0]
    values = np.asarray(variable.values, dtype=float) * factor
    spread = np.full(values.shape, np.nan) if sigma is None else np.asarray(sigma.values, dtype=float) * factor
    return values, spread, variable


def technique_image(
    table: xr.Dataset,
    choice: Choice,
    along: Along,
    *,
    stretch: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    pixels: tuple[int, int] = (1000, 400),
) -> MapImage | None:
    """Return the visible part of a map, the shared axis to the right, reduced to `pixels` (along it, across it).

    Frames with the very same place: the first one is shown. Where no frame was taken for three times the usual step
    the map is empty. None where nothing is visible.
    """
    inside = np.flatnonzero(along.within(stretch))
    place, first = np.unique(along.place[inside], return_index=True)
    rows = inside[first]
    if not rows.size:
        return None
    if x_range is not None:
        near = np.flatnonzero((place >= x_range[0]) & (place <= x_range[1]))
        if not near.size:
            return None
        near = np.arange(max(near[0] - 1, 0), min(near[-1] + 2, place.size))
        place, rows = place[near], rows[near]
    variable = table[choice.name]
    axis = str(variable.dims[1])
    place, values = _with_gaps(place, along.seconds[rows], np.asarray(variable.values[rows]))
    series = xr.Dataset({"intensity": (("frame", axis), values)}, {"frame": place, axis: table[axis].values})
    scale = "sqrt" if choice.name == "intensity" else "linear"
    image = map_image(series, frames=x_range, axis_range=y_range, scale=scale, limits=limits, pixels=pixels)
    return replace(
        image, pixels=np.ascontiguousarray(image.pixels.T), left=image.bottom, bottom=image.left, width=image.height,
        height=image.width,
    )  # fmt: skip


def map_limits(table: xr.Dataset, choice: Choice) -> tuple[float, float]:
    """Return the colour limits of a whole map."""
    return automatic_limits(xr.Dataset({"intensity": table[choice.name]}))


def _with_gaps(place: np.ndarray, seconds: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put empty frames beside those between which none was taken for long."""
    if place.size < 3:
        return place, values
    step, passed = np.diff(place), np.abs(np.diff(seconds))
    usual = float(np.median(step))
    wide = np.flatnonzero((step > GAP * usual) & (passed > GAP * np.median(passed)))
    if not wide.size:
        return place, values
    at = np.concatenate([place, place[wide] + usual, place[wide + 1] - usual])
    order = np.argsort(at, kind="stable")
    empty = np.full((2 * wide.size, *values.shape[1:]), np.nan, dtype=np.result_type(values, np.float32))
    return at[order], np.concatenate([values, empty])[order]


def technique_trace(
    table: xr.Dataset,
    choice: Choice,
    along: Along,
    *,
    stretch: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
) -> dict[str, np.ndarray]:
    """Return the visible part of a trace as columns, thinned to what a screen shows, broken where there is a gap."""
    inside = along.within(stretch)
    if x_range is not None:
        visible = inside & (along.place >= x_range[0]) & (along.place <= x_range[1])
        beside = np.zeros(visible.shape, dtype=bool)  # the line runs on to the edge of the panel
        beside[1:] |= visible[:-1]
        beside[:-1] |= visible[1:]
        inside &= visible | beside
    values, sigma, _ = numbers_of(table, choice)
    rows = np.flatnonzero(inside & np.isfinite(along.seconds))
    rows = rows[thinned(values[rows])] if rows.size else rows
    columns = {
        "x": along.place[rows], "y": values[rows], "low": (values - sigma)[rows], "high": (values + sigma)[rows],
        "frame": np.asarray(table["frame"].values, dtype=float)[rows],
    }  # fmt: skip
    breaks = _breaks(along.seconds[inside], along.seconds[rows])
    return {name: np.insert(column, breaks, np.nan) for name, column in columns.items()}


def _breaks(all_seconds: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return before which of the shown points a line must be broken: a gap is told from all points, not from these."""
    if all_seconds.size < 3 or shown.size < 2:
        return np.zeros(0, dtype=int)
    passed = np.diff(all_seconds)
    usual = float(np.median(passed[passed > 0])) if (passed > 0).any() else 0.0
    before = np.concatenate([[0.0], passed[:-1]])
    after = np.concatenate([passed[1:], [0.0]])
    wide = np.flatnonzero((passed > 10 * usual) & (passed > GAP * np.maximum(before, after)))
    return np.unique(np.searchsorted(shown, all_seconds[wide + 1]))


def visible_range(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis that shows `values`, with room for the words in the corner above them."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + 3 * room
