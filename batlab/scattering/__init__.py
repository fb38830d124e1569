"""Detector frames to curves: geometry, masks, azimuthal integration, the axes q and 2θ."""

from batlab.scattering.integrator import Integrator, integrate
from batlab.scattering.slurm import slurm_cluster
from batlab.scattering.units import to_q, to_two_theta

__all__ = ["Integrator", "integrate", "slurm_cluster", "to_q", "to_two_theta"]
