"""From patterns to G(r) with the settings of a dashboard: the very calls that its script makes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from batlab import pdf
from batlab.dashboards.pdf_state import KNOB_TRAITS, PDFState
from batlab.dashboards.xanes_steps import Done
from batlab.errors import BatlabError

Settings = dict[str, Any]
NO_SIGMA = "no intensity_sigma"


@dataclass(frozen=True, eq=False)
class Applied:
    """A whole series, and the settings with which it was computed; None where it was given as G(r)."""

    settings: Settings | None
    done: Done

    def one(self, frame: int) -> Done:
        """Return one frame of it."""
        assert self.done.dataset is not None
        return Done(self.done.dataset.sel(frame=frame))


@dataclass(frozen=True, eq=False)
class Measured:
    """A bond in all frames: the range and the name with which it was fitted, in which series."""

    ruler: tuple[float, float]
    bond: str
    series: xr.Dataset
    table: xr.Dataset

    @property
    def lengths(self) -> xr.Dataset:
        """The one bond, over frame alone."""
        return self.table.isel(peak=0, drop=True)


def settings_of(state: PDFState) -> Settings:
    """Return the keywords of `pdf.g_of_r` that somebody can turn."""
    found = {name: getattr(state, name) for name in sorted(KNOB_TRAITS)}
    return {name: value for name, value in found.items() if value is not None}


def attempt(work: Callable[[], xr.Dataset]) -> Done:
    """Do some work; what warns or fails is told in words, the missing σ is not: it is seen."""
    dataset, problem = None, ""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            dataset = work()
        except (BatlabError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            problem = str(error)
    doubts = [str(one.message) for one in told if issubclass(one.category, UserWarning)]
    return Done(dataset, [doubt for doubt in dict.fromkeys(doubts) if NO_SIGMA not in doubt], problem)


def bond_of(ruler: tuple[float, float], bond: str) -> dict[str, tuple[float, float]]:
    """Return what `pdf.bonds` is asked for."""
    return {bond or "bond": ruler}


def measure(series: xr.Dataset, state: PDFState, composition: Any, mode: str) -> xr.Dataset:
    """Fit the bond under the ruler in every frame."""
    told = {"composition": composition, "mode": mode} if state.bond else {}
    return pdf.bonds(series, bond_of(state.ruler, state.bond), **told)


def top(r: np.ndarray, g_r: np.ndarray, ruler: tuple[float, float]) -> tuple[float, float] | None:
    """Return place and height of the highest maximum of G(r) under the ruler, by a parabola through three points."""
    inner = (r[1:-1] > ruler[0]) & (r[1:-1] < ruler[1]) & (g_r[1:-1] >= g_r[:-2]) & (g_r[1:-1] > g_r[2:])
    places = np.flatnonzero(inner) + 1
    if not len(places):
        return None
    at = int(places[np.argmax(g_r[places])])
    low, mid, high = g_r[at - 1 : at + 2]
    shift = (low - high) / (2 * (low - 2 * mid + high))
    return float(r[at] + shift * (r[at + 1] - r[at])), float(mid - (low - high) * shift / 4)
