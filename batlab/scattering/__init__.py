"""Detector frames to curves: geometry, masks, azimuthal integration, the axes q and 2θ."""

from batlab.scattering.bad_pixels import find_bad_pixels
from batlab.scattering.calibrants import calibrants, ring_spacings
from batlab.scattering.calibrate import calibrate
from batlab.scattering.calibration import Calibration, beam_centre
from batlab.scattering.covariance import covariance
from batlab.scattering.follow import Follower, follow
from batlab.scattering.integrator import Integrator, integrate
from batlab.scattering.masks import draw_mask, open_mask
from batlab.scattering.outliers import clipped_mask, clipped_pixels
from batlab.scattering.panels import calibrate_panels, integrate_panels
from batlab.scattering.ring_lines import ring_angles, ring_lines
from batlab.scattering.rings import Quantile, SigmaClip
from batlab.scattering.slurm import slurm_cluster
from batlab.scattering.units import to_q, to_two_theta

__all__ = [
    "Calibration",
    "Follower",
    "Integrator",
    "Quantile",
    "SigmaClip",
    "beam_centre",
    "calibrants",
    "calibrate",
    "calibrate_panels",
    "clipped_mask",
    "clipped_pixels",
    "covariance",
    "draw_mask",
    "find_bad_pixels",
    "follow",
    "integrate",
    "integrate_panels",
    "open_mask",
    "ring_angles",
    "ring_lines",
    "ring_spacings",
    "slurm_cluster",
    "to_q",
    "to_two_theta",
]
