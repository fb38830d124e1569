"""The table behind the component dashboard, and what belongs to its frames."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from batlab.decompose._rank import Rank, rank
from batlab.decompose.table import Table, as_table
from batlab.errors import DimensionError
from batlab.figures.components import AGAINST
from batlab.figures.pixels import point_edges
from batlab.figures.style import axis_label

WHO = "dashboards.ComponentExplorer"
NORMALISED = ("mu_norm", "mu_flat")  # mixtures of them have shares that sum to 1


@dataclass(frozen=True, eq=False)
class ComponentData:
    """A table over (frame, axis), computed once; `given` is what the user handed in, to which marks refer."""

    given: xr.Dataset | xr.DataArray
    of: str | None
    table: Table
    series: xr.Dataset
    numbers: np.ndarray
    axis: str

    @classmethod
    def make(cls, given: xr.Dataset | xr.DataArray, of: str | None) -> ComponentData:
        """Check what a user hands to the dashboard.

        Raises
        ------
        DimensionError
            No table over (frame, axis), fewer than three frames, or frames that do not increase.
        ValueError
            `of` is not there, or is needed to choose.
        """
        table = as_table(given, of, WHO, frames=3, leading=("frame",))
        series = table.dataset.compute()
        n_frames = table.values.shape[0]
        numbers = np.asarray(series["frame"].values if "frame" in series.coords else np.arange(n_frames))
        if numbers.dtype.kind not in "iuf" or not (np.diff(numbers.astype(float)) > 0).all():
            raise DimensionError(
                f"{WHO} needs frames that increase, got {numbers[:6]} …; sort them with sortby('frame')"
            )
        if table.axis.size < 2 or not (np.diff(table.axis) > 0).all():
            raise DimensionError(f"{WHO} needs an increasing {table.axis_name!r} of two points or more")
        missing = {
            name: xr.Variable(name, values, {"units": "1", "long_name": name})
            for name, values in (("frame", numbers), (table.axis_name, table.axis))
            if name not in series.coords
        }
        return cls(given, of, table, series.assign_coords(missing), numbers.astype(int), table.axis_name)

    @property
    def name(self) -> str:
        """The variable's name."""
        return self.table.name

    @property
    def whole(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the frame axis and of the other one, half a step beyond the last points."""
        frames, points = point_edges(self.numbers.astype(float)), point_edges(self.table.axis)
        return (float(frames[0]), float(frames[-1])), (float(points[0]), float(points[-1]))

    @property
    def choices(self) -> list[str]:
        """What concentrations can be drawn over."""
        return ["frame", *(name for name in AGAINST[1:] if self.along(name) is not None)]

    @property
    def closure(self) -> float | None:
        """The sum that concentrations have by the nature of the table, if it is known."""
        return 1.0 if self.name in NORMALISED else None

    def along(self, name: str) -> np.ndarray | None:
        """Return numbers over the frames (time in hours since the first), or None where there are none."""
        if name == "frame":
            return self.numbers.astype(float)
        if name not in self.series.variables or self.series[name].dims != ("frame",):
            return None
        values = self.series[name].values
        if values.dtype.kind == "M":
            known = values[~np.isnat(values)]
            if not known.size:
                return None
            values = np.where(np.isnat(values), np.nan, (values - known[0]) / np.timedelta64(1, "s") / 3600)
        if values.dtype.kind not in "iuf" or not np.isfinite(values).any():
            return None
        return np.asarray(values, dtype=float)

    def label(self, name: str) -> str:
        """Return what stands on the axis of `along`."""
        if name == "time":
            return "time since the first frame (h)"
        return axis_label(self.series[name])

    @cached_property
    def rank(self) -> Rank | str:
        """How many components there are, by five methods; or why nobody can say."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # points left out: the fit says so too
                return rank(self.given, of=self.of)
        except (ValueError, ArithmeticError) as error:
            return f"{error}"

    @property
    def first_number(self) -> int:
        """How many components to begin with: what most methods say; between equals the fewest."""
        votes = [] if isinstance(self.rank, str) else [vote for vote in self.rank.votes.values() if vote]
        most = min(self.table.values.shape) - 1
        return min(max(set(votes), key=lambda one: (votes.count(one), -one)) if votes else 2, most, 8)
