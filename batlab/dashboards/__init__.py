"""Dashboards for Jupyter: state (plain numbers) -> one batlab function -> a figure updated in place.

The names load when they are first used: Jupyter's server imports ``batlab.dashboards.bokehjs`` and nothing more.
"""

from typing import TYPE_CHECKING

from batlab.lazy import names

if TYPE_CHECKING:
    from batlab.dashboards.calibration import Calibrator
    from batlab.dashboards.component_explorer import ComponentExplorer
    from batlab.dashboards.cycle_explorer import CycleExplorer
    from batlab.dashboards.failure_annotator import FailureAnnotator
    from batlab.dashboards.failure_board import FailureBoard
    from batlab.dashboards.pdf_workbench import PDFWorkbench
    from batlab.dashboards.saxs_workbench import SAXSWorkbench
    from batlab.dashboards.show import show
    from batlab.dashboards.technique_comparison import TechniqueComparison
    from batlab.dashboards.xanes_workbench import XANESWorkbench

_HOMES = {
    "Calibrator": "calibration",
    "ComponentExplorer": "component_explorer",
    "CycleExplorer": "cycle_explorer",
    "FailureAnnotator": "failure_annotator",
    "FailureBoard": "failure_board",
    "PDFWorkbench": "pdf_workbench",
    "SAXSWorkbench": "saxs_workbench",
    "show": "show",
    "TechniqueComparison": "technique_comparison",
    "XANESWorkbench": "xanes_workbench",
}

__all__ = [
    "Calibrator",
    "ComponentExplorer",
    "CycleExplorer",
    "FailureAnnotator",
    "FailureBoard",
    "PDFWorkbench",
    "SAXSWorkbench",
    "TechniqueComparison",
    "XANESWorkbench",
    "show",
]
__getattr__, __dir__ = names(__name__, _HOMES)
