"""Nickel's K-edge in a virtual cell: valence from the lithium, rock salt mixed in, a foil behind it, a deposit."""

from __future__ import annotations

import numpy as np

from batlab.constants import ETOK
from batlab.simulate.ageing import Condition
from batlab.simulate.cell_steps import split_positive
from batlab.simulate.diffraction import ISOLATED

ENERGY = np.round(
    np.concatenate([np.arange(8183.0, 8313.0, 5.0), np.arange(8313.0, 8383.0, 0.35), np.arange(8383.0, 8953.0, 3.0)]), 3
)  # eV
FOIL = 8333.0  # eV
EDGE = 8343.0  # eV, of Ni(III) in the layered oxide
# eV a unit of valence: half the step moves by 1.42 eV in the first charge of the operando LiNiO2 cell of ROCK, which
# takes 0.86 lithium (1.614 mAh of 6.84 mg).
PER_VALENCE = 1.65
STEP = 0.9  # of μ, all nickel there
LIFETIME = 1.5  # eV, half width


def valence(lithium: np.ndarray | float) -> np.ndarray:
    """Return the valence of nickel in Li(y)Ni0.8Mn0.1Co0.1O2, with Mn(IV) and Co(III)."""
    return (4 - np.asarray(lithium, dtype=float) - 0.1 * 4 - 0.1 * 3) / 0.8


def edge_shift(positive: float, told: Condition) -> float:
    """Return the mean energy of nickel's edge over that of Ni(III) [eV], rock salt included."""
    parts, shifts, _ = _parts(positive, told)
    return float(np.average(shifts, weights=parts))


def _parts(positive: float, told: Condition) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nickel in the working, the fatigued, the isolated material and in rock salt; its shifts; its distances."""
    active, behind = (float(one) for one in split_positive(positive, told.fatigued))
    layered = 1 - told.converted - told.dissolved - told.isolated
    parts = [layered * (1 - told.fatigued), layered * told.fatigued, told.isolated, told.converted]
    values = [float(valence(active)), float(valence(behind)), float(valence(ISOLATED.mean())), 2.0]
    # Ni-O shrinks from 2.09 (rock salt) over 1.97 to 1.88 angstrom as nickel goes from II to IV.
    distances = np.interp(values, (2, 2.875, 4), (2.09, 1.97, 1.88))
    return np.array(parts), PER_VALENCE * (np.array(values) - 3), distances


def expected(positive: float, told: Condition, *, drift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return μ of the cell and of the foil on `ENERGY`, where the monochromator reads `drift` eV too high."""
    true = ENERGY - drift
    parts, shifts, distances = _parts(positive, told)
    spectrum = sum(part * _oxide(true, EDGE + shift, distance)
                   for part, shift, distance in zip(parts, shifts, distances, strict=True) if part > 0)  # fmt: skip
    base = 0.45 * (FOIL / true) ** 3
    return base + STEP * spectrum, 0.2 * (FOIL / true) ** 3 + 0.6 * _foil(true)


def deposit(told: Condition, *, drift: float) -> np.ndarray:
    """Return μ of the metal on the negative electrode by its fluorescence: as much as the positive one has lost.

    Divalent nickel over a little scatter; which species it is does not change its step.
    """
    shift = PER_VALENCE * (2.0 - 3.0)
    return 0.01 + told.dissolved * STEP * _oxide(ENERGY - drift, EDGE + shift, 2.09)


def _step(energy: np.ndarray, edge: float) -> np.ndarray:
    rise = 0.5 + np.arctan((energy - edge) / LIFETIME) / np.pi
    return rise * np.where(energy > edge, (np.maximum(energy, edge) / edge) ** -2.6, 1.0)


def _oxide(energy: np.ndarray, edge: float, distance: float) -> np.ndarray:
    """Return a spectrum of unit step: edge, white line, first shell; all moves with `edge`."""
    white = 0.55 * np.exp(-(((energy - edge - 6.0) / 4.5) ** 2))
    before = 0.02 * np.exp(-(((energy - edge + 10.5) / 1.5) ** 2))
    return _step(energy, edge) * (1 + _wiggles(energy, edge, distance, 6.0, 0.006)) + white + before


def _foil(energy: np.ndarray) -> np.ndarray:
    white = 0.12 * np.exp(-(((energy - FOIL - 17.0) / 6.0) ** 2))
    return _step(energy, FOIL) * (1 + _wiggles(energy, FOIL, 2.49, 12.0, 0.006)) + white


def _wiggles(energy: np.ndarray, edge: float, distance: float, neighbours: float, sigma2: float) -> np.ndarray:
    """Return χ of one shell, by the EXAFS equation with a plain phase; nothing in the first 20 eV."""
    k = np.sqrt(ETOK * np.maximum(energy - edge, 1e-6))
    swing = 0.3 * neighbours / (k * distance**2) * np.exp(-2 * sigma2 * k**2 - 2 * distance / 8)
    return swing * np.sin(2 * k * distance - 0.6 * k) * (1 - np.exp(-((k / 2.6) ** 6)))
