"""The data behind a dashboard: a series, and whatever has one number a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.figures import distinct, quantities
from batlab.figures.pixels import pattern_axis, point_edges
from batlab.schema import check, require, same_scheme

FIRST = ("voltage", "a", "c", "volume", "area", "position")  # what a panel shows before anybody chooses
PANELS = 3


@dataclass(frozen=True)
class Quantity:
    """One number a frame, and the expression that names its table in a script."""

    table: xr.Dataset
    expression: str
    name: str
    peak: int | None


@dataclass(frozen=True, eq=False)
class Measurement:
    """A series with its tracks, computed once.

    `given` is the series as the user handed it in: marks refer to that one.
    """

    given: xr.Dataset
    series: xr.Dataset
    axis: str
    tracks: tuple[xr.Dataset, ...]
    choices: dict[str, Quantity] = field(default_factory=dict)

    @classmethod
    def of(cls, series: xr.Dataset, tracks: xr.Dataset | Sequence[xr.Dataset] | None) -> Measurement:
        """Check what a user hands to a dashboard.

        Raises
        ------
        DimensionError
            `series` is no series of patterns, or a track has other frames.
        SchemaError
            A track comes from patterns of other pixel splitting.
        """
        axis = pattern_axis(series, "dashboards.CycleExplorer")
        if not series.sizes["frame"] or not series.sizes[axis]:
            raise DimensionError(
                f"dashboards.CycleExplorer needs at least one frame and one point, got {dict(series.sizes)}"
            )
        check(series)
        tables = () if tracks is None else (tracks,) if isinstance(tracks, xr.Dataset) else tuple(tracks)
        computed = series.compute()
        if "frame" not in computed.coords:
            numbers = xr.Variable("frame", np.arange(computed.sizes["frame"]), {"units": "1", "long_name": "frame"})
            computed = computed.assign_coords(frame=numbers)
        for table in tables:
            require(table, "dashboards.CycleExplorer", "frame", hint="tracks are cells or peaks over frame")
            strange = np.setdiff1d(table["frame"].values, computed["frame"].values)
            if strange.size:
                raise DimensionError(
                    f"dashboards.CycleExplorer needs tracks with the frames of the series, got frame {strange[0]} too; "
                    "select the same frames from both"
                )
        same_scheme("dashboards.CycleExplorer", series, *tables)
        tables = tuple(table.compute() for table in tables)
        choices = _choices(computed, tables, single=isinstance(tracks, xr.Dataset))
        return cls(series, computed, axis, tables, choices)

    def grown(self, series: xr.Dataset) -> Measurement:
        """Return the same with more frames in the series."""
        choices = {
            label: replace(choice, table=series) if choice.expression == "series" else choice
            for label, choice in self.choices.items()
        }
        return replace(self, given=series, series=series, choices=choices)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the frames."""
        return self.series["frame"].values

    @property
    def whole(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the frame axis and of the scattering axis, half a step beyond the last points."""
        frames = point_edges(np.asarray(self.numbers, dtype=float))
        points = point_edges(np.asarray(self.series[self.axis].values, dtype=float))
        return (float(frames[0]), float(frames[-1])), (float(points[0]), float(points[-1]))

    def first_panels(self) -> list[str]:
        """Return what the panels show at first: voltage, then lattice parameters, then whatever there is."""
        ranked = sorted(
            self.choices,
            key=lambda label: FIRST.index(name) if (name := self.choices[label].name) in FIRST else len(FIRST),
        )
        return ranked[:PANELS]

    def values(self, name: str) -> np.ndarray | None:
        """Return a coordinate-like quantity of the series (cycle, step), or None where it has none."""
        if name in self.series and self.series[name].dims == ("frame",):
            values = np.asarray(self.series[name].values, dtype=float)
            return values if np.isfinite(values).any() else None
        return None


def _choices(series: xr.Dataset, tables: tuple[xr.Dataset, ...], *, single: bool) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    named = [(series, "series"), *((t, "tracks" if single else f"tracks[{i}]") for i, t in enumerate(tables))]
    for table, expression in named:
        kept = distinct(table, [str(name) for name in table.data_vars if table[name].dims == ("frame",)])
        for label, (name, peak) in quantities(table).items():
            if peak is None and name not in kept:
                continue
            unique, number = label, 2
            while unique in found:
                unique, number = f"{label} ({number})", number + 1
            found[unique] = Quantity(table, expression, name, peak)
    return found
