"""Scattering of single shapes, exact: spheres, shells on cores, cylinders in all directions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

UNIT = 1e-4  # (1e-6/angstrom²)² angstrom³ = 1e-12/angstrom = 1e-4/cm


def sphere(q: ArrayLike, radius: ArrayLike, *, contrast: float = 1.0) -> np.ndarray:
    """Return what spheres scatter per volume of sphere, ``V Δρ² [3 (sin x - x cos x) / x³]²``, x = q R.

    Parameters
    ----------
    q
        In 1/angstrom.
    radius
        In angstrom; broadcast against `q`.
    contrast
        Difference of scattering length densities in 1e-6/angstrom².

    Returns
    -------
    ndarray
        In 1/cm for a volume fraction of 1 without interaction; times φ for a dilute system.

    Notes
    -----
    Lord Rayleigh, Proc. R. Soc. A 84, 25 (1911), doi:10.1098/rspa.1910.0054. Relative error below 1e-10 for all x.

    Examples
    --------
    >>> print(f"{float(sphere(0.01, 120.0, contrast=5.0)):.4f}")
    13483.6265
    """
    radius = np.asarray(radius, float)
    volume = 4 / 3 * np.pi * radius**3
    return UNIT * contrast**2 * volume * _sphere_amplitude(np.asarray(q, float) * radius) ** 2


def core_shell(
    q: ArrayLike, radius: ArrayLike, thickness: ArrayLike, *, core: float, shell: float, solvent: float = 0.0
) -> np.ndarray:
    """Return what spheres with a shell scatter per volume of the whole, in 1/cm.

    Parameters
    ----------
    q
        In 1/angstrom.
    radius, thickness
        Of the core and of the shell, in angstrom.
    core, shell, solvent
        Scattering length densities in 1e-6/angstrom².

    Examples
    --------
    >>> alike = core_shell(0.02, 60.0, 20.0, core=5.0, shell=5.0)
    >>> bool(np.isclose(alike, sphere(0.02, 80.0, contrast=5.0), rtol=1e-12))
    True
    """
    q, radius = np.asarray(q, float), np.asarray(radius, float)
    outer = radius + np.asarray(thickness, float)
    inside, whole = (4 / 3 * np.pi * r**3 for r in (radius, outer))
    amplitude = (core - shell) * inside * _sphere_amplitude(q * radius)
    amplitude = amplitude + (shell - solvent) * whole * _sphere_amplitude(q * outer)
    return UNIT * amplitude**2 / whole


def cylinder(
    q: ArrayLike, radius: ArrayLike, length: ArrayLike, *, contrast: float = 1.0, n_angles: int = 76
) -> np.ndarray:
    """Return what cylinders of all directions scatter per volume of cylinder, in 1/cm.

    The mean over directions is Gauss's with `n_angles` nodes: exact to 1e-6 while q L < 100.

    Parameters
    ----------
    q
        In 1/angstrom.
    radius, length
        In angstrom; broadcast against `q`.
    contrast
        In 1e-6/angstrom².
    n_angles
        More for longer rods.

    Examples
    --------
    >>> print(f"{float(cylinder(1e-6, 20.0, 400.0, contrast=3.0)):.3f}")  # 1e-4 (3)² π 20² 400
    452.389
    """
    from scipy.special import j1

    q, radius, length = (np.asarray(one, float)[..., None] for one in np.broadcast_arrays(q, radius, length))
    nodes, weights = np.polynomial.legendre.leggauss(n_angles)
    cosine = 0.5 * (nodes + 1)  # over 0..1, whose weights sum to 2
    across = q * radius * np.sqrt(1 - cosine**2)
    along = 0.5 * q * length * cosine
    with np.errstate(invalid="ignore", divide="ignore"):
        disc = np.where(across > 1e-6, 2 * j1(across) / across, 1 - across**2 / 8)
    amplitude = disc * np.sinc(along / np.pi)
    volume = np.pi * radius[..., 0] ** 2 * length[..., 0]
    return UNIT * contrast**2 * volume * np.sum(0.5 * weights * amplitude**2, axis=-1)


def _sphere_amplitude(x: np.ndarray) -> np.ndarray:
    """Return 3 (sin x - x cos x) / x³; below 0.3 its series, where the difference would lose digits."""
    x = np.asarray(x, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        exact = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    t = x**2
    series = 1 - t / 10 * (1 - t / 28 * (1 - t / 54 * (1 - t / 88 * (1 - t / 130))))
    return np.where(np.abs(x) < 0.3, series, exact)
