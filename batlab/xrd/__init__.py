"""Phases and lattices from peak tables: indexing, cell parameters, strain, phase changes."""

from batlab.xrd.cell import refine_cell
from batlab.xrd.index import index_peaks
from batlab.xrd.phase_changes import phase_changes
from batlab.xrd.strain import strain

__all__ = ["index_peaks", "phase_changes", "refine_cell", "strain"]
