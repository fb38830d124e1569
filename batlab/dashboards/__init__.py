"""Dashboards for Jupyter: state (plain numbers) -> one batlab function -> a figure updated in place.

The names load when they are first used: Jupyter's server imports ``batlab.dashboards.bokehjs`` and nothing more.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batlab.dashboards.cycle_explorer import CycleExplorer

__all__ = ["CycleExplorer"]


def __getattr__(name: str) -> Any:
    if name == "CycleExplorer":
        from batlab.dashboards.cycle_explorer import CycleExplorer

        return CycleExplorer
    raise AttributeError(f"module 'batlab.dashboards' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
