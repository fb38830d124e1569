"""The data behind the absorption dashboard: spectra, and whatever has one number a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from batlab.dashboards.xanes_state import XANESState
from batlab.dashboards.xanes_steps import run
from batlab.errors import DimensionError, SchemaError
from batlab.figures.pixels import point_edges
from batlab.schema import check, quantity

NAME = "dashboards.XANESWorkbench"
NEAR = (-50.0, 150.0)  # eV about E0 that are shown at first: the near edge
AHEAD = ("voltage", "time", "capacity", "charge_passed", "frame")


@dataclass(frozen=True, eq=False)
class Spectra:
    """A series, computed once. `given` is what the user handed in: marks refer to that one.

    `series` holds what the steps take (``mu``, its σ) and what has one number a frame.
    """

    given: xr.Dataset
    series: xr.Dataset
    axis: str = "energy"

    @classmethod
    def of(cls, series: xr.Dataset) -> Spectra:
        """Check what a user hands to the dashboard.

        Raises
        ------
        SchemaError, DimensionError
            Without ``mu`` over (frame, energy) on one grid, or without a frame.
        """
        if "mu" not in series:
            raise SchemaError(
                f"{NAME} needs a variable 'mu', got {sorted(map(str, series.data_vars))}; make it with xas.mu"
            )
        if series["mu"].dims not in (("frame", "energy"), ("energy",)):
            raise DimensionError(f"{NAME} needs 'mu' over ('frame', 'energy') or ('energy',), got {series['mu'].dims}")
        if "energy_measured" in series.variables or "energy" not in series.coords:
            raise DimensionError(
                f"{NAME} needs one grid of energies for all frames; bring them onto one with xas.rebin"
            )
        if not series["mu"].size:
            raise DimensionError(f"{NAME} needs at least one frame and one point, got {dict(series['mu'].sizes)}")
        check(series)
        framed = series if "frame" in series.dims else series.expand_dims(frame=[0])
        kept = [
            name for name in framed.variables if name in ("mu", "mu_sigma") or framed[name].dims in (("frame",), ())
        ]
        computed = framed[kept].compute()
        numbers = computed["frame"].values if "frame" in computed.coords else np.arange(computed.sizes["frame"])
        computed = computed.assign_coords(frame=quantity("frame", numbers, "1", "frame"))
        return cls(series, computed)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the frames."""
        return self.series["frame"].values

    @property
    def whole(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the frame axis and of the energies, half a step beyond the last points."""
        frames = point_edges(np.asarray(self.numbers, dtype=float))
        points = point_edges(np.asarray(self.series["energy"].values, dtype=float))
        return (float(frames[0]), float(frames[-1])), (float(points[0]), float(points[-1]))

    @property
    def has_voltage(self) -> bool:
        """Whether a voltage was measured with the spectra."""
        return "voltage" in self.series and self.series["voltage"].dims == ("frame",)

    @property
    def is_single(self) -> bool:
        """Whether one spectrum without frames was given."""
        return "frame" not in self.given.dims

    def one(self, frame: int) -> xr.Dataset:
        """Return a series of one frame."""
        return self.series.sel(frame=[frame])

    def choices(self) -> list[str]:
        """Return what edge energies can be drawn against, the likeliest first."""
        names = [
            str(name)
            for name, variable in self.series.variables.items()
            if variable.dims == ("frame",) and variable.dtype.kind in "iuf" and not str(name).endswith("_sigma")
        ]
        known = {*names, "frame"} | ({"time"} if self._has_time() else set())
        known -= {"e0", "edge_step"}
        return [name for name in AHEAD if name in known] + sorted(known - set(AHEAD))

    def _has_time(self) -> bool:
        return "time" in self.series.coords and self.series["time"].dims == ("frame",)

    def first_state(self) -> XANESState:
        """Return windows as `xas.normalize` chooses them for the first frame with data, and the near edge in view."""
        mu = self.series["mu"].values
        usable = np.flatnonzero(np.isfinite(mu).mean(axis=1) > 0.5)
        at = int(usable[0]) if usable.size else 0
        done = run(self.series.isel(frame=[at]), {"normalize": {}, "remove_background": {}, "fourier_transform": {}})
        frames, energies = self.whole
        chosen: dict[str, Any] = {}
        if done.dataset is not None and np.isfinite(e0 := float(done.dataset["e0"].values[0])):
            attrs = done.dataset.attrs
            chosen = {"pre": (attrs["pre1"], attrs["pre2"]), "post": (attrs["norm1"], attrs["norm2"])}
            chosen["nnorm"] = attrs["nnorm"]
            near = max(e0 + NEAR[0], energies[0]), min(e0 + NEAR[1], energies[1])
        else:
            near = energies
        choices = self.choices()
        return XANESState(
            self.numbers, choices, frame=int(self.numbers[0]), frames=frames, axis_range=near, against=choices[0],
            **{name: _round(value) for name, value in chosen.items()},
        )  # fmt: skip


def _round(value: Any) -> Any:
    """Return windows without the digits that nobody set."""
    return tuple(float(f"{end:.7g}") for end in value) if isinstance(value, tuple) else value
