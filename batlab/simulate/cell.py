"""The virtual cell: a test programme, the lithium in both electrodes, the phases that follow, and the voltage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batlab.simulate.structures import DILUTE_C, DILUTE_LIMIT, STRUCTURES, nmc_cell

CURRENT = 0.025  # A, about C/2
CAPACITY = 0.05 / 0.78  # Ah for one lithium per formula unit of NMC; 0.78 of it takes two hours
RESISTANCE = 1.5  # ohm
POLARISATION = 0.015  # V, relaxes with the time below
RELAXATION = 200.0  # s
FULL = 0.98  # lithium in the fresh cathode
GRAPHITE_PER_NMC = 0.90 / 0.78  # lithium per C6 for one lithium per NMC unit
FIRST_LOSS = 0.10  # lithium per C6 lost to the interphase in the first charge, half of what arrives until it is spent
PLATING_ONSET = 0.64  # lithium per C6 above which, in a cell that plates, part of it goes to metal
PLATED_SHARE = 0.4
DEAD_SHARE = 0.3  # of the plated lithium that discharge does not strip

# Open-circuit voltages against lithium, typical curves: NMC811 (10.1021/acs.chemmater.9b00140), lithium content -> V;
# graphite with its two plateaus (10.1103/PhysRevB.44.9170), lithium per C6 -> V.
NMC_VOLTAGE = ((0.10, 0.20, 0.25, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80, 0.90, 1.00),
               (4.45, 4.27, 4.22, 4.18, 4.08, 3.97, 3.87, 3.79, 3.73, 3.66, 3.50))  # fmt: skip
GRAPHITE_VOLTAGE = ((0.0, 0.02, 0.06, 0.10, 0.20, 0.48, 0.52, 0.95, 1.00),
                    (0.80, 0.35, 0.215, 0.150, 0.125, 0.120, 0.087, 0.080, 0.020))  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step of the programme: its sign of the current, its length in s, its cycle."""

    sign: int
    duration: float
    cycle: int


def _charge_time(lithium: float) -> float:
    return lithium * CAPACITY / CURRENT * 3600


PROGRAMME: tuple[Step, ...] = (
    Step(0, 600.0, 1),
    Step(1, _charge_time(0.76), 1),
    Step(0, 900.0, 1),
    Step(-1, _charge_time(0.64), 1),
    Step(0, 900.0, 1),
    Step(1, _charge_time(0.46), 2),
    Step(0, 900.0, 2),
)
EDGES = np.round(np.concatenate([[0.0], np.cumsum([step.duration for step in PROGRAMME])]), 3)
DURATION = float(EDGES[-1])


@dataclass(frozen=True)
class State:
    """The cell at some moments, one value a moment. Lithium in formula units, `plated` in lithium per C6."""

    step: np.ndarray
    cycle: np.ndarray
    current: np.ndarray
    charge: np.ndarray
    voltage: np.ndarray
    cathode: np.ndarray
    anode: np.ndarray
    plated: np.ndarray


def state(seconds: np.ndarray, *, plating: bool) -> State:
    """Return the cell `seconds` after the start of the programme (0 to `DURATION`).

    `charge` is the net charge passed in Ah. Every quantity is a closed function of time, so that cycler and detector
    may look at different moments and still agree.
    """
    seconds = np.asarray(seconds, dtype=float)
    signs = np.array([step.sign for step in PROGRAMME])
    step = np.clip(np.searchsorted(EDGES, seconds, side="right") - 1, 0, len(PROGRAMME) - 1)
    knots = np.concatenate([[0.0], np.cumsum(signs * np.diff(EDGES))]) * CURRENT / 3600
    charge = np.interp(seconds, EDGES, knots)
    cathode = FULL - charge / CAPACITY
    stored = charge / CAPACITY * GRAPHITE_PER_NMC
    lost = np.where(seconds < EDGES[2], np.minimum(0.5 * stored, FIRST_LOSS), FIRST_LOSS)
    plated = _plated(stored - lost, step) if plating else np.zeros_like(stored)
    anode = stored - lost - plated
    voltage = _curve(NMC_VOLTAGE)(cathode) - _curve(GRAPHITE_VOLTAGE)(anode) + _overpotential(seconds, step, signs)
    cycle = np.array([item.cycle for item in PROGRAMME])[step]
    return State(step + 1, cycle, signs[step] * CURRENT, charge, voltage, cathode, anode, plated)


def _curve(points: tuple[tuple[float, ...], tuple[float, ...]]):
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(*points)


def _plated(arrived: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Lithium metal: grows above the onset in each charge, is stripped first in discharge except for a dead rest."""
    growth = PLATED_SHARE * np.maximum(arrived - PLATING_ONSET, 0.0)
    top = PLATED_SHARE * max(_most_arrived() - PLATING_ONSET, 0.0)
    dead = DEAD_SHARE * top
    discharged = step >= 3
    return np.where(discharged, np.maximum(growth, dead), growth)


def _most_arrived() -> float:
    return 0.76 * GRAPHITE_PER_NMC - FIRST_LOSS


def _overpotential(seconds: np.ndarray, step: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Ohmic drop at once, polarisation with one relaxation time."""
    level = np.zeros(len(PROGRAMME) + 1)
    for index, sign in enumerate(signs):
        fade = np.exp(-(EDGES[index + 1] - EDGES[index]) / RELAXATION)
        level[index + 1] = sign * POLARISATION + (level[index] - sign * POLARISATION) * fade
    fade = np.exp(-(seconds - EDGES[step]) / RELAXATION)
    slow = signs[step] * POLARISATION + (level[step] - signs[step] * POLARISATION) * fade
    return slow + signs[step] * CURRENT * RESISTANCE


@dataclass(frozen=True)
class Phases:
    """What diffracts, over (moment, phase): cells in angstrom (NaN where absent), amounts, microstrain."""

    names: tuple[str, ...]
    a: np.ndarray
    c: np.ndarray
    fraction: np.ndarray
    microstrain: np.ndarray


def phases(cell: State, *, plating: bool) -> Phases:
    """Return the phases at each moment of `cell`.

    `fraction` is the share of its own electrode: cathode and foils are 1; graphite, LiC12 and LiC6 share the carbon by
    the lever rule (10.1103/PhysRevB.44.9170); lithium metal counts plated atoms per C6. Graphite dissolves lithium up
    to `DILUTE_LIMIT` and spreads; then two phases coexist with constant cells. The strain of NMC grows as c collapses
    (10.1039/D3EE04115H).
    """
    names = tuple(name for name in STRUCTURES if plating or name != "Li")
    n_moments = len(cell.anode)
    a, c = (np.tile([getattr(STRUCTURES[name], axis) for name in names], (n_moments, 1)) for axis in "ac")
    fraction, microstrain = np.ones((n_moments, len(names))), np.full((n_moments, len(names)), 3e-4)
    column = {name: index for index, name in enumerate(names)}
    a[:, column["NMC811"]], c[:, column["NMC811"]] = nmc_cell(cell.cathode)
    microstrain[:, column["NMC811"]] = 5e-4 + 1.0e-3 * np.clip((0.42 - cell.cathode) / 0.25, 0, 1)
    dilute = np.clip(cell.anode, 0, DILUTE_LIMIT)
    c[:, column["graphite"]] = np.interp(dilute, (0, DILUTE_LIMIT), DILUTE_C)
    shares = {
        "graphite": np.interp(cell.anode, (DILUTE_LIMIT, 0.5), (1, 0)),
        "LiC12": np.interp(cell.anode, (DILUTE_LIMIT, 0.5, 1.0), (0, 1, 0)),
        "LiC6": np.interp(cell.anode, (0.5, 1.0), (0, 1)),
    }
    if plating:
        shares["Li"] = cell.plated
    for name, share in shares.items():
        fraction[:, column[name]] = share
    for axis in (a, c):
        axis[fraction == 0] = np.nan
    return Phases(names, a, c, fraction, microstrain)
