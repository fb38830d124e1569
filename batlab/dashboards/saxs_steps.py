"""From a small-angle pattern to radius, tail, invariant and sizes: the very calls that the dashboard's script makes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from batlab import saxs
from batlab.dashboards.saxs_state import SAXSState
from batlab.errors import BatlabError

Settings = dict[str, dict[str, Any]]
FUNCTIONS = {"guinier": "guinier", "porod": "porod", "invariant": "invariant", "sizes": "size_distribution"}
AT_ONCE, AT_REST = ("guinier", "porod"), ("invariant", "sizes")  # the latter take longer than a hand waits


@dataclass(frozen=True, eq=False)
class Done:
    """What came out of one step: a Dataset or the problem, and doubts in words."""

    dataset: xr.Dataset | None
    doubts: tuple[str, ...] = ()
    problem: str = ""

    @cached_property
    def first(self) -> xr.Dataset | None:
        """Its first frame: of one frame all that there is."""
        return None if self.dataset is None else self.dataset.isel(frame=0)

    def one(self, frame: int) -> Done:
        """Return one frame of it."""
        return self if self.dataset is None else Done(self.dataset.sel(frame=[frame]))


@dataclass(frozen=True, eq=False)
class Applied:
    """A whole series: each step with the settings that it was computed with."""

    settings: Settings
    done: dict[str, Done]


def settings_of(state: SAXSState) -> Settings:
    """Return the keywords of each step; what a step does by itself is left out."""
    contrast = {} if state.contrast is None else {"contrast": state.contrast}
    background = {} if state.background else {"background": False}
    tail = {"exponent": state.exponent} if state.exponent != 4.0 else contrast
    head = {} if state.guinier is None else {"guinier_window": state.guinier}
    inside = {} if state.sizes is None else {"window": state.sizes}
    shape = {} if state.shape == "globule" else {"shape": state.shape}
    method = {} if state.method == "smooth" else {"method": state.method}
    return {
        "guinier": ({} if state.guinier is None else {"window": state.guinier}) | shape,
        "porod": {"window": state.porod, **tail, **background},
        "invariant": {"porod_window": state.porod, **head, **contrast, **background},
        "sizes": {"diameters": state.diameters, **inside, **method, **contrast, **background},
    }


def run(patterns: xr.Dataset, step: str, settings: Settings) -> Done:
    """Take one step; what fails is told in words."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            dataset, problem = getattr(saxs, FUNCTIONS[step])(patterns, **settings[step]), ""
        except (BatlabError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            dataset, problem = None, str(error) or type(error).__name__
    doubts = [str(one.message) for one in told if issubclass(one.category, UserWarning)]
    return Done(dataset, tuple(dict.fromkeys(doubts)), problem)
