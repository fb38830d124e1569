"""What any family of 1-D curves needs: background, peaks, lines of a structure, one grid, change points."""

from batlab.curves.fit import fit_peaks
from batlab.curves.lines import lines

__all__ = ["fit_peaks", "lines"]
