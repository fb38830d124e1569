"""The data behind the small-angle dashboard: patterns over q, and whatever has one number a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from batlab.dashboards.saxs_state import SAXSState
from batlab.errors import DimensionError, SchemaError
from batlab.figures.pixels import point_edges
from batlab.figures.small_angle_series import log_ends
from batlab.schema import check, quantity

NAME = "dashboards.SAXSWorkbench"
AHEAD = ("voltage", "time", "capacity", "charge_passed", "frame")
LEAST = 8  # points above q = 0


@dataclass(frozen=True, eq=False)
class SmallAngles:
    """A series, computed once. `given` is what the user handed in: marks refer to that one.

    `series` holds what the steps take (``intensity``, its σ, above q = 0) and what has one number a frame.
    """

    given: xr.Dataset
    series: xr.Dataset
    axis: str = "q"
    _last: dict[int, xr.Dataset] = field(default_factory=dict)

    @classmethod
    def of(cls, series: xr.Dataset) -> SmallAngles:
        """Check what a user hands to the dashboard.

        Raises
        ------
        SchemaError, DimensionError
            Without ``intensity`` over (frame, q) or (q,), without a frame, or with fewer than 8 points above q = 0.
        """
        if not isinstance(series, xr.Dataset):
            hint = "; take one of its members: tree['…'].to_dataset()" if isinstance(series, xr.DataTree) else ""
            raise SchemaError(f"{NAME} needs a Dataset with 'intensity' over q, got {type(series).__name__}{hint}")
        if "intensity" not in series:
            raise SchemaError(
                f"{NAME} needs a variable 'intensity', got {sorted(map(str, series.data_vars))}; make it with "
                "scattering.integrate"
            )
        dims = series["intensity"].dims
        if dims not in (("frame", "q"), ("q",)) or "q" not in series.coords:
            hint = "convert with scattering.to_q" if "two_theta" in dims else "patterns need a coordinate q"
            raise DimensionError(
                f"{NAME} needs intensity over ('frame', 'q') or ('q',) with q in 1/angstrom, got {dims}; {hint}"
            )
        check(series)
        framed = series if "frame" in series.dims else series.expand_dims(frame=[0])
        names = ("intensity", "intensity_sigma")
        kept = [name for name in framed.variables if name in names or framed[name].dims in (("frame",), ())]
        computed = framed[kept].compute()
        q = np.asarray(computed["q"].values, dtype=float)
        computed = computed.isel(q=np.flatnonzero(np.isfinite(q) & (q > 0)))
        if computed.sizes["q"] < LEAST or not computed.sizes["frame"]:
            raise DimensionError(
                f"{NAME} needs at least one frame and {LEAST} points above q = 0, got {dict(computed.sizes)}"
            )
        numbers = computed["frame"].values if "frame" in computed.coords else np.arange(computed.sizes["frame"])
        return cls(series, computed.assign_coords(frame=quantity("frame", numbers, "1", "frame")))

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the frames."""
        return self.series["frame"].values

    @property
    def whole(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the frame axis and of q, half a step beyond the last points."""
        frames = point_edges(np.asarray(self.numbers, dtype=float))
        return (float(frames[0]), float(frames[-1])), log_ends(np.asarray(self.series["q"].values, dtype=float))

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last q."""
        return float(self.series["q"].values[0]), float(self.series["q"].values[-1])

    @property
    def has_voltage(self) -> bool:
        """Whether a voltage was measured with the patterns."""
        return "voltage" in self.series and self.series["voltage"].dims == ("frame",)

    @property
    def is_single(self) -> bool:
        """Whether one pattern without frames was given."""
        return "frame" not in self.given.dims

    def one(self, frame: int) -> xr.Dataset:
        """Return a series of one frame; a hand that drags asks for the same again and again."""
        if frame not in self._last:
            self._last.clear()
            self._last[frame] = self.series.sel(frame=[frame])
        return self._last[frame]

    def unusable(self, frame: int) -> str:
        """Return in words what of a frame has no logarithm."""
        values = self.one(frame)["intensity"].values
        n_missing, n_low = int(np.isnan(values).sum()), int((values <= 0).sum())
        words = []
        if n_missing:
            words.append("no data" if n_missing == values.size else f"{n_missing} of {values.size} points are missing")
        if n_low:
            words.append(f"{n_low} of {values.size} points are not above 0 and not on the logarithmic axis")
        return f"frame {frame}: {', '.join(words)}" if words else ""

    def choices(self) -> list[str]:
        """Return what results can be drawn against, the likeliest first."""
        names = [
            str(name)
            for name, variable in self.series.variables.items()
            if variable.dims == ("frame",) and variable.dtype.kind in "iuf" and not str(name).endswith("_sigma")
        ]
        has_time = "time" in self.series.coords and self.series["time"].dims == ("frame",)
        known = {*names, "frame"} | ({"time"} if has_time else set())
        return [name for name in AHEAD if name in known] + sorted(known - set(AHEAD))

    def first_state(self) -> SAXSState:
        """Return a tail over the last half decade, and the diameters that the range of q can tell."""
        frames, axis_range = self.whole
        low, high = self.ends
        q = self.series["q"].values
        tail = max(low, min(high / 3, float(q[-6])))
        diameters = tuple(float(f"{one:.3g}") for one in (math.pi / high, 2 * math.pi / low))
        choices = self.choices()
        return SAXSState(
            self.numbers, choices, frame=int(self.numbers[0]), frames=frames, axis_range=axis_range,
            porod=window((tail, high)), diameters=diameters, size_range=diameters, against=choices[0],
        )  # fmt: skip


def window(ends: Any) -> tuple[float, float]:
    """Return ends of a window without the digits that nobody set."""
    low, high = sorted(float(end) for end in ends)
    return float(f"{low:.4g}"), float(f"{high:.4g}")
