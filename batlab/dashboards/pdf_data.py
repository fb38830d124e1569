"""The data behind the total-scattering dashboard: patterns with their background, or a series that is G(r) already."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import xarray as xr

from batlab import pdf
from batlab.dashboards.pdf_state import PDFState
from batlab.dashboards.xanes_data import Spectra
from batlab.errors import DimensionError, SchemaError
from batlab.figures.pixels import point_edges
from batlab.pdf.composition import fractions
from batlab.schema import check, quantity

NAME = "dashboards.PDFWorkbench"
FIRST_REACH = 12.0  # angstrom of G(r) that are shown at first: the first shells
BESIDE = 0.25  # angstrom on either side of the first peak, for a ruler that nobody has placed


@dataclass(frozen=True, eq=False)
class Scattering(Spectra):
    """A series, computed once. `given` is what the user handed in: marks refer to that one.

    `series` holds ``intensity``, or ``g_r`` where `axis` is ``"r"``, their σ, and what has one number a frame.
    """

    composition: str | Mapping[str, float] | None = None
    background: xr.Dataset | None = None
    mode: str = "xray"
    rmax: float = 30.0
    tuners: dict[str, pdf.Tuner] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        series: xr.Dataset,
        composition: str | Mapping[str, float] | None,
        background: xr.Dataset | None,
        mode: str,
        rmax: float,
    ) -> Scattering:
        """Check what a user hands to the dashboard.

        Raises
        ------
        SchemaError, DimensionError, ValueError
            As for `PDFWorkbench`.
        """
        name, axis = _what(series)
        if axis == "q" and composition is None:
            raise ValueError(f"{NAME} needs what the sample is made of: composition='Mg2SiO4'")
        if composition is not None:
            fractions(composition, NAME)
        check(series)
        framed = series if "frame" in series.dims else series.expand_dims(frame=[0])
        kept = [
            one for one in framed.variables if one in (name, f"{name}_sigma") or framed[one].dims in (("frame",), ())
        ]
        computed = framed[kept].compute()
        numbers = computed["frame"].values if "frame" in computed.coords else np.arange(computed.sizes["frame"])
        computed = computed.assign_coords(frame=quantity("frame", numbers, "1", "frame"))
        under = background if background is None else background.compute()
        data = cls(series, computed, axis, composition, under, mode, rmax)
        if axis == "q":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                data.tuner(int(data.numbers[0]))()  # whatever is wrong with composition, background, units
        return data

    @property
    def is_patterns(self) -> bool:
        """Whether there are patterns to reduce."""
        return self.axis == "q"

    @property
    def whole(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the frame axis and of Q or r, half a step beyond the last points."""
        frames = point_edges(np.asarray(self.numbers, dtype=float))
        points = point_edges(np.asarray(self.series[self.axis].values, dtype=float))
        return (float(frames[0]), float(frames[-1])), (float(points[0]), float(points[-1]))

    @property
    def reach(self) -> tuple[float, float]:
        """Ends of G(r)."""
        return (0.0, self.rmax) if self.is_patterns else self.whole[1]

    @property
    def bonds(self) -> list[str]:
        """Names of the bonds that there may be, those with a known range first."""
        if self.composition is None:
            return list(pdf.BONDS)
        elements = list(fractions(self.composition, NAME))
        pairs = {frozenset(pair): "-".join(pair) for pair in combinations_with_replacement(elements, 2)}
        known = [name for name in pdf.BONDS if frozenset(re.findall("[A-Z][a-z]?", name.split(" ")[0])) in pairs]
        named = {frozenset(re.findall("[A-Z][a-z]?", name.split(" ")[0])) for name in known}
        return known + [name for pair, name in pairs.items() if pair not in named]

    def under(self, frame: int) -> xr.Dataset | None:
        """Return the background of one frame."""
        if self.background is None or "frame" not in self.background["intensity"].dims:
            return self.background
        at = int(np.searchsorted(self.numbers, frame)) if self.background.sizes["frame"] > 1 else 0
        return self.background.isel(frame=at)

    def tuner(self, frame: int) -> pdf.Tuner:
        """Return what reduces one frame; what is the same for all frames is kept."""
        one, settings = self.series.sel(frame=frame), {"background": self.under(frame)}
        kept = self.tuners.get("any")
        if kept is None:
            assert self.composition is not None
            kept = pdf.Tuner(one, self.composition, mode=self.mode, rmax=self.rmax, **settings)
        self.tuners["any"] = kept.of(one, **settings)
        return self.tuners["any"]

    def first_state(self) -> PDFState:
        """Return the settings that `pdf.g_of_r` takes by itself, and the first shells in view."""
        frames, points = self.whole
        chosen: dict[str, Any] = {}
        g: xr.Dataset | None = None
        usable = np.isfinite(self.series["intensity" if self.is_patterns else "g_r"].values).mean(axis=1) > 0.5
        at = int(self.numbers[np.argmax(usable)])
        if self.is_patterns:
            q = self.series["q"].values
            last = float(np.floor(q[-1] * 100) / 100)
            chosen = {"qmin": float(f"{q[q > 0][0]:.5g}"), "qmax": float(np.floor(last * 10) / 10), "qmaxinst": last}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                g = self.tuner(at)(qmax=chosen["qmax"], qmaxinst=last)
        else:
            g = self.series.sel(frame=at)
        choices, reach = self.choices(), self.reach
        return PDFState(
            self.numbers, choices, self.bonds, frame=int(self.numbers[0]), frames=frames,
            curve="intensity" if self.is_patterns else "g_r",
            q_range=points if self.is_patterns else (0.0, 1.0),
            r_range=(reach[0], min(reach[1], reach[0] + FIRST_REACH)), ruler=_first_ruler(g), against=choices[0],
            **chosen,
        )  # fmt: skip


def _what(series: xr.Dataset) -> tuple[str, str]:
    """Return the name of what the series holds, and its axis."""
    if not isinstance(series, xr.Dataset):
        raise TypeError(f"{NAME} needs a Dataset, got a {type(series).__name__}")
    name, axis = ("intensity", "q") if "intensity" in series else ("g_r", "r")
    if name not in series:
        raise SchemaError(f"{NAME} needs 'intensity' over q, or 'g_r' over r, got {sorted(map(str, series.data_vars))}")
    if series[name].dims not in (("frame", axis), (axis,)) or axis not in series.coords:
        hint = "; convert with scattering.to_q(patterns, wavelength=…)" if "two_theta" in series[name].dims else ""
        raise DimensionError(f"{NAME} needs {name!r} over ('frame', {axis!r}) or ({axis!r},), got "
                             f"{series[name].dims}{hint}")  # fmt: skip
    if not series[name].size:
        raise DimensionError(f"{NAME} needs at least one frame and one point, got {dict(series[name].sizes)}")
    return name, axis


def _first_ruler(one: xr.Dataset) -> tuple[float, float]:
    """Return a range around the highest peak of G(r) below 4 angstrom."""
    r, g_r = np.asarray(one["r"].values, dtype=float), np.asarray(one["g_r"].values, dtype=float)
    near = (r > 1.2) & (r < 4.0) & np.isfinite(g_r)
    middle = float(r[near][np.argmax(g_r[near])]) if near.any() else 2.5
    return round(max(middle - BESIDE, float(r[0])), 2), round(min(middle + BESIDE, float(r[-1])), 2)
