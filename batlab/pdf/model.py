"""G(r) of crystals by their pairs, for many sets of parameters at once."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from batlab import threads
from batlab.pdf.crystal import Crystal, atoms, lattice, lengths_of
from batlab.pdf.transform import Band, interpolation

REACH = 7.5  # sigmas in Q: the spectrum of a Gaussian peak ends at REACH / sigma, 6e-13 of its height
MARGIN = 6  # periods of the termination ripple beyond rmax (as diffpy's pdffit2)
TAPS = 24
OVERSAMPLING = 1.6  # the interpolation then errs by 7e-7
LEAST_SIGMA = 0.02  # angstrom: narrower peaks are not resolved further


class Grid(NamedTuple):
    """The model's own even grid of r, and what takes it to Qmax and onto the user's r."""

    step: float
    n_points: int
    filter: np.ndarray | None  # (own, coarse)
    onto: Band


class Parameters(NamedTuple):
    """One set of parameters of one phase."""

    cell: np.ndarray
    fract: np.ndarray
    u_iso: np.ndarray
    delta1: float
    delta2: float
    diameter: float  # inf: bulk


def grid_for(r: np.ndarray, qmax: float | None, sigma: float) -> Grid:
    """Return the grid on which peaks not narrower than `sigma` are exact up to Qmax."""
    # A ladder of steps, so that small changes of sigma keep the filter.
    widest = REACH / max(sigma, LEAST_SIGMA)
    step = 2 * np.pi / (widest + qmax) if qmax else np.pi / (OVERSAMPLING * widest)
    step = 2.0 ** (np.floor(4 * np.log2(step)) / 4)
    return _grid(r.tobytes(), len(r), qmax, float(step))


@lru_cache(maxsize=16)
def _grid(r_bytes: bytes, n: int, qmax: float | None, step: float) -> Grid:
    r = np.frombuffer(r_bytes, dtype=float, count=n)
    margin = MARGIN * 2 * np.pi / qmax if qmax else TAPS * step
    n_points = int((r[-1] + margin) / step) + 2
    if not qmax:
        return Grid(step, n_points, None, _mirrored(r / step, n_points, OVERSAMPLING))
    coarse = np.pi / (OVERSAMPLING * qmax)
    n_coarse = int(r[-1] / coarse) + TAPS // 2 + 2
    near, far = np.arange(n_coarse) * coarse, np.arange(n_points) * step
    less, more = near - far[:, None], near + far[:, None]
    matrix = qmax / np.pi * (np.sinc(qmax * less / np.pi) - np.sinc(qmax * more / np.pi)) * step
    # A curve that ends softly beyond r sends no ripples back from there.
    beyond = np.clip((far - r[-1]) / (far[-1] - r[-1]), 0, 1)
    matrix *= np.cos(np.pi / 2 * beyond[:, None]) ** 2
    return Grid(step, n_points, np.ascontiguousarray(matrix), _mirrored(r / coarse, n_coarse, OVERSAMPLING))


def _mirrored(x: np.ndarray, n: int, oversampling: float) -> Band:
    """Return the interpolation from points 0 … n - 1, preceded by their mirror images: G(-r) = -G(r)."""
    return interpolation(x, np.arange(-TAPS // 2, n), oversampling, TAPS)


def narrowest(parameters: Parameters, crystal: Crystal) -> float:
    """Return the least standard deviation of a peak, with the nearest neighbours' sharpening."""
    u = np.where(np.isfinite(parameters.u_iso), parameters.u_iso, np.inf)
    tensors = np.nan_to_num(crystal.tensors, nan=np.inf)
    least = min(u.min(), np.diagonal(tensors, axis1=1, axis2=2).min())
    r = 0.98 * crystal.nearest
    sharpening = 1 - parameters.delta1 / r - parameters.delta2 / r**2
    return float(np.sqrt(2 * max(least, 1e-6) * np.clip(sharpening, 0.1, 1)))


def curves(
    crystal: Crystal, sets: list[Parameters], grid: Grid, mode: str, qbroad: float, n_threads: int | None = None
) -> np.ndarray:
    """Return G (set, r) of one phase at scale 1 on the r of `grid`, without Qdamp."""
    from batlab._kernels.pairs import pair_density

    lengths = lengths_of(crystal, mode)
    weights = lengths * crystal.occupancy
    multiplicity = crystal.multiplicity
    n_atoms = float((multiplicity * crystal.occupancy).sum())
    mean = float((multiplicity * weights).sum()) / n_atoms
    others = np.stack([atoms(crystal, one.cell, one.fract, one.u_iso, weights) for one in sets])
    # One atom of each site stands for all its images.
    first = np.unique(crystal.owner, return_index=True)[1]
    centres = others[:, first].copy()
    centres[:, :, 9] *= multiplicity
    cells = np.stack([lattice(one.cell) for one in sets])
    shapes = np.array([[one.delta1, one.delta2, qbroad] for one in sets], dtype=float)
    density = pair_density(
        cells, centres, others, shapes, grid.step, grid.n_points, n_threads=threads.effective(n_threads)
    )
    own = grid.step * np.arange(grid.n_points)
    density /= n_atoms * mean**2
    density[:, 1:] /= own[1:]
    density[:, 0] = 0.0
    per_volume = n_atoms / np.abs(np.linalg.det(cells))
    density -= 4 * np.pi * own * per_volume[:, None]
    diameters = np.array([one.diameter for one in sets])[:, None]
    density *= sphere(own, diameters)
    if grid.filter is not None:
        density = density @ grid.filter
    half = TAPS // 2
    return grid.onto.times(np.concatenate([-density[:, half:0:-1], density], axis=1))


def sphere(r: np.ndarray, diameter: np.ndarray) -> np.ndarray:
    """Return the share of pairs at r that a ball keeps: 1 - 3/2 (r/d) + 1/2 (r/d)³ up to its diameter d.

    >>> sphere(np.array([0.0, 5.0, 20.0]), np.array([[10.0], [np.inf]])).tolist()
    [[1.0, 0.3125, 0.0], [1.0, 1.0, 1.0]]
    """
    x = np.minimum(r / diameter, 1.0)
    return 1 - 1.5 * x + 0.5 * x**3
