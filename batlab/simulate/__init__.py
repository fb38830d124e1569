"""The virtual beamline: experiments with known truth, for tests and for teaching."""

from batlab.simulate.operando import Experiment, operando_cell

__all__ = ["Experiment", "operando_cell"]
