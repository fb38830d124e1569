"""From absorption to chi(R) with the settings of a dashboard: the very calls that its script makes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from batlab import xas
from batlab.dashboards.xanes_state import XANESState
from batlab.errors import BatlabError

Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Done:
    """What came out: a Dataset (None where even normalising failed), doubts in words, and what failed."""

    dataset: xr.Dataset | None
    doubts: list[str] = field(default_factory=list)
    problem: str = ""

    def has(self, name: str) -> bool:
        """Whether a variable was made."""
        return self.dataset is not None and name in self.dataset


@dataclass(frozen=True, eq=False)
class Applied:
    """A whole series, and the settings with which it was computed."""

    settings: Settings
    done: Done

    def one(self, frame: int) -> Done:
        """Return one frame of it."""
        assert self.done.dataset is not None
        return Done(self.done.dataset.sel(frame=[frame]), [], self.done.problem)


def settings_of(state: XANESState) -> Settings:
    """Return the keywords of each step."""
    normalize = {"e0": state.e0, "method": state.method, "pre": state.pre, "post": state.post, "nnorm": state.nnorm}
    if state.e0 is not None:
        del normalize["method"]
    transform = {"kmin": state.kmin, "kmax": state.kmax, "kweight": state.kweight}
    return {
        "normalize": {name: value for name, value in normalize.items() if value is not None},
        "remove_background": {"rbkg": state.rbkg, "kweight": state.kweight},
        "fourier_transform": {name: value for name, value in transform.items() if value is not None},
    }


def run(series: xr.Dataset, settings: Settings) -> Done:
    """Normalise, take the background off, transform; what fails is told in words, what came before it is kept."""
    dataset, problem = None, ""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            dataset = xas.normalize(series, **settings["normalize"])
            dataset = xas.remove_background(dataset, **settings["remove_background"])
            dataset = xas.fourier_transform(dataset, **settings["fourier_transform"])
        except (BatlabError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            problem = str(error)
    doubts = [str(one.message) for one in told if issubclass(one.category, UserWarning)]
    return Done(dataset, list(dict.fromkeys(doubts)), problem)
