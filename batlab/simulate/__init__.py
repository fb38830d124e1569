"""The virtual beamline: experiments with known truth, for tests and for teaching."""

from batlab.simulate.electrodes import full_cell
from batlab.simulate.operando import Experiment, operando_cell

__all__ = ["Experiment", "full_cell", "operando_cell"]
