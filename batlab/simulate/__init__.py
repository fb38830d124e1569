"""The virtual beamline: experiments with known truth, for tests and for teaching."""

from batlab.simulate.crystals import crystal
from batlab.simulate.electrodes import full_cell
from batlab.simulate.operando import Experiment, operando_cell
from batlab.simulate.small_angles import small_angle
from batlab.simulate.virtual import virtual_cell, virtual_potentials, virtual_sources, virtual_structures
from batlab.simulate.wide_angles import total_scattering

__all__ = [
    "Experiment",
    "crystal",
    "full_cell",
    "operando_cell",
    "small_angle",
    "total_scattering",
    "virtual_cell",
    "virtual_potentials",
    "virtual_sources",
    "virtual_structures",
]
