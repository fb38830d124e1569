"""Dashboards for Jupyter: state (plain numbers) -> one batlab function -> a figure updated in place.

The names load when they are first used: Jupyter's server imports ``batlab.dashboards.bokehjs`` and nothing more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batlab.dashboards.calibration import Calibrator
    from batlab.dashboards.component_explorer import ComponentExplorer
    from batlab.dashboards.cycle_explorer import CycleExplorer
    from batlab.dashboards.show import show
    from batlab.dashboards.technique_comparison import TechniqueComparison
    from batlab.dashboards.xanes_workbench import XANESWorkbench

_HOMES = {
    "Calibrator": "calibration",
    "ComponentExplorer": "component_explorer",
    "CycleExplorer": "cycle_explorer",
    "show": "show",
    "TechniqueComparison": "technique_comparison",
    "XANESWorkbench": "xanes_workbench",
}

__all__ = ["Calibrator", "ComponentExplorer", "CycleExplorer", "TechniqueComparison", "XANESWorkbench", "show"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"batlab.dashboards.{_HOMES[name]}"), name)
        globals()[name] = value  # a sub-module of the same name must not hide the function
        return value
    raise AttributeError(f"module 'batlab.dashboards' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
