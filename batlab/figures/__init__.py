"""Bokeh figures, one function a figure: the same ones in dashboards, reports and scripts.

Axes say what they show and in which unit, colours can be told apart by colour-blind readers, and the parts that a
dashboard moves have names (``cursor``, ``map``, ``line``).
"""

from batlab.figures.absorption import absorption
from batlab.figures.absorption_series import absorption_map, edge_trend
from batlab.figures.annotator import add_annotations
from batlab.figures.comparison import comparison, correlation
from batlab.figures.components import component_concentrations, component_spectra, rank_evidence
from batlab.figures.criticality import criticality
from batlab.figures.cycling import cycling
from batlab.figures.detector_image import detector_image
from batlab.figures.events import events
from batlab.figures.evidence_thumbnail import evidence_thumbnail
from batlab.figures.heat_map import heat_map
from batlab.figures.life import derivative, fade, lag_profile
from batlab.figures.marks import add_marks
from batlab.figures.pattern import pattern
from batlab.figures.pixels import map_image
from batlab.figures.ring_residuals import ring_residuals
from batlab.figures.small_angle_curves import small_angles
from batlab.figures.small_angle_series import small_angle_map
from batlab.figures.style import phase_colour
from batlab.figures.timeline import timeline
from batlab.figures.total_scattering import total_scattering, total_scattering_map, tuning
from batlab.figures.track import distinct, quantities, track
from batlab.figures.worksheet_board import worksheet_board

__all__ = [
    "absorption",
    "absorption_map",
    "add_annotations",
    "add_marks",
    "comparison",
    "component_concentrations",
    "component_spectra",
    "correlation",
    "criticality",
    "cycling",
    "derivative",
    "detector_image",
    "distinct",
    "edge_trend",
    "events",
    "evidence_thumbnail",
    "fade",
    "heat_map",
    "lag_profile",
    "map_image",
    "pattern",
    "phase_colour",
    "quantities",
    "rank_evidence",
    "ring_residuals",
    "small_angle_map",
    "small_angles",
    "timeline",
    "total_scattering",
    "total_scattering_map",
    "track",
    "tuning",
    "worksheet_board",
]
