"""AUTOBK's linear problem on a grid in k: the spline whose Fourier transform below rbkg is that of the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import BSpline, make_interp_spline

from batlab.constants import ETOK, KTOE
from batlab.xas.windows import ft_window

NFFT = 2048  # the transform's length, which sets the steps in R: pi / (NFFT kstep), as in larch
LEAST_KNOTS, MOST_KNOTS = 5, 128  # larch's bounds
CLAMP = 0.1  # weight of a clamp of 1; larch's weight where the low-R residual vanishes


@dataclass(frozen=True)
class Settings:
    """What the background depends on besides the data; names as in `remove_background`."""

    rbkg: float
    kweight: float
    kmin: float
    kmax: float
    dk: float
    window: str
    kstep: float
    clamp_lo: float
    clamp_hi: float
    nclamp: int


@dataclass(frozen=True)
class Spline:
    """The background of any data on the grid `k`: coefficients are ``solve @ mu``, what is left is ``left @ mu``."""

    k: np.ndarray  # (k,)
    knots: np.ndarray
    solve: np.ndarray  # (coefficient, k)
    left: np.ndarray  # (k, k): 1 - basis @ solve
    n_independent: float  # of the data below rbkg; fewer than LEAST_KNOTS leave the spline under-determined

    @property
    def n_knots(self) -> int:
        """Number of coefficients of the spline."""
        return len(self.solve)


@lru_cache(maxsize=8)
def spline_of(settings: Settings) -> Spline:
    """Return the solution of the linear problem; it does not depend on the energies of the data, nor on E0.

    Cubic spline with knots evenly spaced in k, 1 + int(2 rbkg (kmax - kmin) / π) coefficients c. Minimised is
    |F W (μ - B c)|² + Σ (clamp (μ - B c))² where F is the transform onto R = 0 ... rbkg, W the window times k^kweight.
    """
    s = settings
    k = s.kstep * np.arange(int(1.01 + s.kmax / s.kstep))
    step = np.pi / (s.kstep * NFFT)
    independent = 1 + int(2 * max(s.rbkg, 2 * step) * (s.kmax - s.kmin) / np.pi)
    n_knots = min(max(independent, LEAST_KNOTS), MOST_KNOTS)
    n_r = int(1 + (independent - 1) * np.pi / (2 * step * (s.kmax - s.kmin)))
    at = np.linspace(s.kmin, s.kmax, n_knots)
    knots = np.concatenate([np.full(4, s.kmin), at[2:-2], np.full(4, s.kmax)])
    basis = BSpline(knots, np.eye(n_knots), 3)(k)
    weight = k**s.kweight * ft_window(k, low=s.kmin, high=s.kmax, dx=s.dk, window=s.window)
    phase = 2 * np.outer(step * np.arange(n_r), k)
    rows = [np.cos(phase) * weight, np.sin(phase) * weight]
    rows = [part * s.kstep / np.sqrt(np.pi) for part in rows]
    ends = np.eye(len(k))
    if s.nclamp and s.clamp_lo:
        rows.append(CLAMP * s.clamp_lo * ends[: s.nclamp])
    if s.nclamp and s.clamp_hi:
        rows.append(CLAMP * s.clamp_hi * ends[-s.nclamp :])
    problem = np.concatenate(rows)
    solve = np.linalg.lstsq(problem @ basis, problem, rcond=None)[0]
    return Spline(k, knots, solve, ends - basis @ solve, float(independent))


def photoelectron(energy: np.ndarray, e0: np.ndarray | float) -> np.ndarray:
    """Return k [1/angstrom] of energies [eV], negative below E0."""
    above = energy - e0
    return np.sign(above) * np.sqrt(ETOK * np.abs(above))


def window_of(energy: np.ndarray, e0: np.ndarray, kmax: float) -> np.ndarray:
    """Return (frame, point) whether a point is used: from the last at or below E0 to the first beyond kmax.

    Energies (1 or frame, point) that increase, NaN where there is no point; E0 (frame, 1).
    """
    known = np.isfinite(energy)
    below, inside = energy <= e0, energy <= e0 + KTOE * kmax**2
    from_edge = np.cumsum(below[:, ::-1], axis=1)[:, ::-1] <= 1
    to_end = np.cumsum(known & ~inside, axis=1) <= 1
    return from_edge & to_end & known & np.isfinite(e0)


class Operator:
    """All of it as matrices, for many frames of one E0: chi (times the step) and coefficients from mu in the window."""

    def __init__(self, energy: np.ndarray, e0: float, spline: Spline, kmax: float) -> None:
        used = np.flatnonzero(window_of(energy[None], np.array([[e0]]), kmax)[0])
        self.window = slice(int(used[0]), int(used[-1]) + 1)
        k = photoelectron(energy[self.window], e0)
        onto = make_interp_spline(k, np.eye(len(k)), 3)(spline.k)  # (k, window)
        self.chi = np.ascontiguousarray((spline.left @ onto).T)  # (window, k)
        self.solve = np.ascontiguousarray((spline.solve @ onto).T)
        self.basis = BSpline(spline.knots, np.eye(spline.n_knots), 3)(k)  # (window, coefficient)
