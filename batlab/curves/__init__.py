"""What any family of 1-D curves needs: background, peaks, lines of a structure, one grid, change points."""

from batlab.curves.background import subtract_background
from batlab.curves.change_points import change_points
from batlab.curves.find import find_peaks
from batlab.curves.fit import fit_peaks
from batlab.curves.lines import lines
from batlab.curves.regrid import regrid

__all__ = ["change_points", "find_peaks", "fit_peaks", "lines", "regrid", "subtract_background"]
