"""The experiment behind the comparison of techniques: who leads, who is the clock, where everything lies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr

from batlab.align import Lag, Lithium, correlation, onto, undo
from batlab.dashboards.comparison_state import ComparisonState
from batlab.errors import BatlabError
from batlab.failure import Mark
from batlab.figures.annotator import map_axis
from batlab.figures.comparison import AXES, Experiment, first_feature, first_shown, nearest, shared_range
from batlab.figures.cycling import thinned
from batlab.figures.pixels import point_edges
from batlab.figures.style import axis_label
from batlab.figures.technique import Along, Choice, choices, map_limits

TURN = 0.05  # of the axis' span: a smaller turn back is noise
BETWEEN = " · "
Region = tuple[str, int, int, float | None, float | None]  # technique, frames, low and high end of its axis


@dataclass(eq=False)
class ComparisonData:
    """Techniques, computed once.

    `tree` is what the user handed in, to whose members marks refer; where it had been put on an axis that is taken off
    again (`was_on`), and the `offsets` that it had are the first lags. `models` are estimates, by technique.
    """

    WHO: ClassVar[str] = "dashboards.TechniqueComparison"
    STATE: ClassVar[type[ComparisonState]] = ComparisonState

    tree: xr.DataTree
    experiment: Experiment
    choices: dict[str, dict[str, Choice]]
    lead: str
    lithium: Lithium | None = None
    models: dict[str, Lag] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)
    was_on: bool = False
    _kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, tree: xr.DataTree, lithium: Lithium | None = None) -> Self:
        """Check what a user hands to the dashboard.

        Raises
        ------
        DimensionError, SchemaError
            Not a tree of two to six techniques with ``time`` and something to show.
        """
        offsets: dict[str, float] = {}
        was_on = isinstance(tree, xr.DataTree) and any("onto_axes" in node.attrs for node in tree.children.values())
        if was_on:
            told = {str(name): node.attrs.get("onto_offset", 0.0) for name, node in tree.children.items()}
            offsets = {name: float(offset) for name, offset in told.items() if not isinstance(offset, str)}
            tree = undo(tree)
        experiment = Experiment.of(tree, cls.WHO)
        names = list(experiment.tables)
        framed = [name for name in names if "record" not in tree[name].dims]
        lead = framed[0] if framed else min(names, key=lambda name: experiment.tables[name].sizes["frame"])
        return cls(tree, experiment, {name: choices(table) for name, table in experiment.tables.items()}, lead,
                   lithium, offsets=offsets, was_on=was_on)  # fmt: skip

    @property
    def clock(self) -> str:
        """The technique by whose time all others are told: the first cycler's record, or the first of all."""
        return self.experiment.clock

    @property
    def names(self) -> list[str]:
        """The techniques, from the top."""
        return list(self.experiment.tables)

    @property
    def numbers(self) -> np.ndarray:
        """The frames of the leading technique."""
        return self.experiment.tables[self.lead]["frame"].values

    @property
    def movable(self) -> list[str]:
        """The techniques whose clock can be moved: all but the one that is the clock."""
        return [name for name in self.names if name != self.clock]

    @property
    def markable(self) -> list[str]:
        """The techniques over frames: marks are made on frames."""
        return [name for name in self.names if "frame" in self.tree[name].dims]

    def axis_of(self, name: str, label: str) -> xr.DataArray:
        """Return the axis of a map."""
        table = self.experiment.tables[name]
        return table[str(table[self.choices[name][label].name].dims[1])]

    def axis_name(self, name: str, label: str) -> str | None:
        """Return the name of the axis of a map, None for a number a frame."""
        return map_axis(self.experiment.tables[name], self.choices[name][label])

    def whereabouts(self, name: str, mark: Mark, shows: dict[str, str]) -> tuple[Region, dict[str, str]]:
        """Return the region of a mark, and what the panels must show for its range: a map over its axis.

        Where the technique has no such map the region is the mark's frames alone.
        """
        held = [label for label in self.choices[name] if mark.axis and self.axis_name(name, label) == mark.axis]
        if not held or mark.axis_range is None:
            return (name, *mark.frames, None, None), shows
        label = shows[name] if shows[name] in held else held[0]
        return (name, *mark.frames, *mark.axis_range), {**shows, name: label}

    def lead_frame(self, name: str, frame: int) -> int:
        """Return the frame of the leading technique that is nearest in time to one of another."""
        at = int(np.argmin(np.abs(self.experiment.tables[name]["frame"].values - frame)))
        away = np.abs(self.experiment.seconds(self.lead) - self.experiment.seconds(name)[at])
        return int(self.numbers[np.nanargmin(away)])

    def given(self, name: str) -> xr.Dataset:
        """Return a technique as it was handed in."""
        return self.tree.children[name].to_dataset(inherit=False)

    @property
    def is_clocked(self) -> bool:
        """Whether the clock is a cycler's record, against which lags can be found and axes be told."""
        return "record" in self.tree[self.clock].dims

    def axes(self) -> list[str]:
        """Return what the techniques can share: what the record tells, or what each has on its own frames."""
        tables, record = self.experiment.tables, self.experiment.tables[self.clock]
        told = {"temperature"} & set(record.variables)
        if {"current", "capacity"} & set(record.variables):
            told |= {"capacity"} | ({"lithium"} if self.lithium is not None else set())
        if not self.is_clocked:
            told = {axis for axis in AXES if all(_has(table, axis) for table in tables.values())}
        return ["time", *(axis for axis in AXES[1:] if axis in told)]

    def seconds(self, name: str, lags: dict[str, float]) -> np.ndarray:
        """Return the middle of every exposure in seconds of the clock."""
        return self.experiment.seconds(name) + self.shift(name, lags)

    def shift(self, name: str, lags: dict[str, float]) -> float | np.ndarray:
        """Return what is added to a clock: one number, or, where the lag is an estimate with a drift, one a frame."""
        lag = lags.get(name, 0.0)
        if not self.drifts(name, lags):
            return lag
        return np.asarray(self.models[name](self.experiment.tables[name]["time"].values))

    def drifts(self, name: str, lags: dict[str, float]) -> bool:
        """Whether the lag on the screen is an estimate that drifts."""
        model = self.models.get(name)
        return model is not None and model.is_drift_seen and model.lag == lags.get(name, 0.0)

    def offset(self, name: str, lags: dict[str, float]) -> Any:
        """Return what `align.onto` takes as the offset of a technique."""
        return self.models[name] if self.drifts(name, lags) else lags.get(name, 0.0)

    def along(self, name: str, axis: str, lags: dict[str, float]) -> Along:
        """Return where the frames of a technique lie: on time, or where the record was during their exposures."""
        seconds = self.seconds(name, lags)
        if axis == "time":
            return Along(seconds / 3600, seconds)
        if not self.is_clocked:
            return Along(np.asarray(self.experiment.tables[name][axis].values, dtype=float), seconds)
        key = ("along", name, axis)
        wanted = lags.get(name, 0.0), self.drifts(name, lags)
        if self._kept.get(key, (None, None))[0] != wanted:
            self._kept[key] = wanted, np.asarray(self._on(name, axis, lags)[axis].values, dtype=float)
        return Along(self._kept[key][1], seconds)

    def _on(self, name: str, axis: str, lags: dict[str, float]) -> xr.Dataset:
        """Return one technique with the axis on its frames."""
        times = ["time", "test_time", "exposure"]
        parts = {self.clock: self._part(self.clock, [*times, "current", "capacity", "temperature"])}
        if name != self.clock:
            parts[name] = self._part(name, times)
        offset = {name: self.offset(name, lags)} if name != self.clock else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the script tells them
            lithium = self.lithium if axis == "lithium" else None
            tree = onto(xr.DataTree.from_dict(parts), axis, cell=self.clock, offsets=offset, lithium=lithium)
        return tree[name].to_dataset(inherit=False)

    def _part(self, name: str, wanted: list[str]) -> xr.Dataset:
        given = self.given(name)
        return given[[one for one in wanted if one in given.variables]]

    def label(self, axis: str) -> str:
        """Return what stands under the shared axis."""
        if axis == "time" or not self.is_clocked:
            return self.experiment.label(axis)
        return axis_label(self._on(self.clock, axis, {})[axis])

    def stretches(self, axis: str, lags: dict[str, float]) -> list[tuple[float, float] | None]:
        """Return the rises and falls of an axis, as seconds from and to; for time the one whole."""
        if axis == "time":
            return [None]
        along = self.along(self.clock, axis, lags)
        known = np.flatnonzero(along.within(None))
        if known.size < 2:
            return [(-np.inf, np.inf)]
        rows = known[thinned(along.place[known])]
        turns = turning_points(along.place[rows])
        ends = along.seconds[rows[turns]]
        return [(float(low), float(high)) for low, high in pairwise(ends)]

    def whole(self, axis: str, stretch: tuple[float, float] | None, lags: dict[str, float]) -> tuple[float, float]:
        """Return the ends of the shared axis that show all."""
        return shared_range({name: self.along(name, axis, lags) for name in self.names}, stretch)

    def limits(self, name: str, choice: Choice) -> tuple[float, float] | None:
        """Return the colours' limits of a whole map, found once."""
        if choice.kind != "map":
            return None
        key = ("limits", name, choice.name)
        if key not in self._kept:
            self._kept[key] = map_limits(self.experiment.tables[name], choice)
        return self._kept[key]

    def pairs(self) -> dict[str, tuple[str, str]]:
        """Return every number of every technique: label -> technique and its own label."""
        return {
            f"{name}{BETWEEN}{label}": (name, label)
            for name, known in self.choices.items()
            for label, choice in known.items()
            if choice.kind == "trace"
        }

    def feature(self, name: str, label: str, lags: dict[str, float]) -> xr.DataArray:
        """Return a number a frame with its exposures and its times by the clock."""
        table, choice = self.experiment.tables[name], self.choices[name][label]
        if "exposure" in table.data_vars:
            table = table.set_coords("exposure")
        shift = np.round(np.asarray(self.shift(name, lags)) * 1e9)
        time = table["time"].variable
        moved = time.values.astype("datetime64[ns]") + np.nan_to_num(shift).astype("timedelta64[ns]")
        table = table.assign_coords(time=xr.Variable("frame", moved, time.attrs))
        variable = table[choice.name]
        return variable.isel({choice.dim: choice.at}, drop=True) if choice.dim else variable

    def signal(self, name: str, label: str) -> tuple[xr.Dataset, str]:
        """Return a number a frame as a series of its own, with σ, times and exposures, and what it is called there.

        Raises
        ------
        ValueError
            `label` is empty: nothing was chosen.
        """
        if not label:
            raise ValueError(f"{name} has no number to tell a lag by; choose one beside “scaled”")
        table, choice = self.experiment.tables[name], self.choices[name][label]
        kept = [one for one in (choice.name, f"{choice.name}_sigma", "time", "exposure") if one in table.variables]
        series = table[kept]
        return (series.isel({choice.dim: choice.at}, drop=True) if choice.dim else series), choice.name

    def nudge(self, name: str) -> float:
        """Return by how many seconds a key moves a clock: about a twentieth of what lies between two frames."""
        steps = np.diff(self.experiment.seconds(name))
        steps = steps[np.isfinite(steps) & (steps > 0)]
        raw = float(np.median(steps)) / 20 if steps.size else 1.0
        power = 10.0 ** np.floor(np.log10(raw))
        return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999))

    def region(
        self,
        name: str,
        state: ComparisonState,
        stretch: tuple[float, float] | None,
        across: tuple[float, float],
        up: tuple[float, float],
    ) -> Region | None:
        """Return a box as whole frames of a technique and, on a map, a part of its axis; both within the data.

        On a record the frames of the leading technique are taken: marks are made on frames.
        """
        target = name if name in self.markable else self.lead
        if target not in self.markable:
            return None
        along = self.along(target, state.axis, state.lags)
        inside = along.within(stretch) & (along.place >= min(across)) & (along.place <= max(across))
        numbers = self.experiment.tables[target]["frame"].values
        if not inside.any():
            at = nearest(along, sum(across) / 2, stretch)
            if at is None:
                return None
            inside[at] = True
        first, last = int(numbers[inside].min()), int(numbers[inside].max())
        label = state.shows[target]
        if target != name or self.choices[target][label].kind != "map":
            return target, first, last, None, None
        edges = point_edges(np.asarray(self.axis_of(target, label).values, dtype=float))
        low, high = (float(np.clip(one, edges[0], edges[-1])) for one in sorted(up))
        return (target, first, last, low, high) if low < high else None

    def correlate(self, pair: tuple[str, str], lags: dict[str, float]) -> tuple[xr.Dataset | None, str]:
        """Return the correlation of two numbers, and what is doubtful or wrong about it."""
        sides = [self.pairs().get(label, ("", "")) for label in pair]
        if not all(name for name, _ in sides):
            return None, "fewer than two numbers to correlate"
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = correlation(*(self.feature(*side, lags) for side in sides))
            except (BatlabError, ValueError) as error:
                return None, str(error)
        return found, "; ".join(str(one.message) for one in told if issubclass(one.category, UserWarning))

    def first_state(self) -> ComparisonState:
        """Return what is shown before anybody chooses."""
        tables = self.experiment.tables
        features = {name: first_feature(table) for name, table in tables.items()}
        known = [f"{name}{BETWEEN}{label}" for name, label in features.items() if label]
        every = list(self.pairs())
        pair = (known + every + [""])[:2] if len(known) > 1 else ((every or [""]) * 2)[:2]
        options = {
            "axis": self.axes(),
            "chosen": self.movable,
            "lags": self.movable,
            "shows": {name: list(one) for name, one in self.choices.items()},
            "features": {
                name: ["", *(label for label, choice in one.items() if choice.kind == "trace")]
                for name, one in self.choices.items()
            },
            "pair": every or [""],
        }
        return self.STATE(
            self.numbers, options, frame=int(self.numbers[0]), x_range=self.whole("time", None, self.offsets),
            shows={name: first_shown(table) for name, table in tables.items()}, features=features, pair=tuple(pair),
            lags={name: self.offsets.get(name, 0.0) for name in self.movable}, chosen=self.movable[0],
        )  # fmt: skip


def _has(table: xr.Dataset, axis: str) -> bool:
    return axis in table.variables and table[axis].dims == ("frame",)


def turning_points(values: np.ndarray) -> np.ndarray:
    """Return the positions of the ends, and of the turns larger than a twentieth of the span.

    >>> turning_points(np.array([0.0, 1.0, 2.0, 1.9, 3.0, 1.0, 0.0])).tolist()
    [0, 4, 6]
    """
    least = TURN * float(np.ptp(values))
    turns, at, sign = [0], 0, 0
    for here in range(1, values.size):
        step = values[here] - values[at]
        if sign == 0:
            if abs(step) > least:
                sign, at = (1 if step > 0 else -1), here
        elif step * sign > 0:
            at = here
        elif -step * sign > least:
            turns.append(at)
            sign, at = -sign, here
    return np.array([*turns, values.size - 1])
