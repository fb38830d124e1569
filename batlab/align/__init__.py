"""Clocks and exposure windows: everything on one time axis."""

from batlab.align.frames import onto_frames

__all__ = ["onto_frames"]
