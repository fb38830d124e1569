"""Detector frames to curves: geometry, masks, azimuthal integration, the axes q and 2θ."""

from batlab.scattering.integrator import Integrator, integrate
from batlab.scattering.units import to_q, to_two_theta

__all__ = ["Integrator", "integrate", "to_q", "to_two_theta"]
