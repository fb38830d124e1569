"""Small angles of planted particles: spheres of several populations, through cycles, counted photon by photon.

Independent of the analysis on purpose: the form comes from spherical Bessel functions, the noise from counting.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.schema import check, quantity, record

WIDTHS = np.linspace(-3.5, 3.5, 71)  # in standard deviations of the volume-weighted Gaussian
UNIT = 1e-4  # (1e-6/angstrom²)² angstrom³ in 1/cm


def small_angle(
    diameters: Any,
    fractions: Any,
    *,
    width: float = 0.15,
    contrast: Any = 1.0,
    q: Any = None,
    background: float = 0.01,
    counts: float = 1e6,
    seed: int = 0,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the patterns of a series of dilute spheres, and what was planted, apart.

    Each population is Gaussian in the diameter, weighted by volume. A ring of the detector counts photons in proportion
    to q Δq and to the cross section; intensities are counts over that, σ their square root.

    Parameters
    ----------
    diameters
        Mean diameters by volume in angstrom: one number, (frame,) or (frame, population).
    fractions
        Volume fractions, alike.
    width
        Standard deviation of a population over its mean, 0.01 to 0.28.
    contrast
        In 1e-6/angstrom²: one number or one a population.
    q
        In 1/angstrom; by default 120 from 0.004 to 0.5, even in log q.
    background
        Constant, in 1/cm.
    counts
        Photons of the first frame, all rings together; others in proportion.
    seed
        Of the noise.

    Returns
    -------
    patterns, truth
        ``intensity`` [1/cm] and σ (frame, q); ``diameter`` and ``volume_fraction`` (frame, component), ``rg`` (frame)
        of all together, by the weight V² of Guinier's law.

    Raises
    ------
    ValueError
        Diameters, fractions or counts that are not above 0 (fractions: below 0 or above 1), unequal shapes.

    Examples
    --------
    >>> patterns, truth = small_angle([30.0, 60.0], 0.02)
    >>> patterns["intensity"].shape, truth["diameter"].values.ravel().tolist()
    ((2, 120), [30.0, 60.0])
    """
    d, phi = _tables(diameters, fractions)
    if not 0.01 <= width <= 0.28 or not counts > 0 or not background >= 0:
        raise ValueError(
            f"width must be 0.01 to 0.28, counts above 0, background 0 or more, got {width}, {counts}, {background}"
        )
    delta = np.broadcast_to(np.asarray(contrast, float), d.shape[1:])
    x = np.geomspace(0.004, 0.5, 120) if q is None else np.asarray(q, float)
    if x.ndim != 1 or x.size < 3 or not (x > 0).all() or (np.diff(x) <= 0).any():
        raise ValueError(f"q must rise from above 0 in at least 3 steps, got {q!r:.60}")
    share = np.exp(-0.5 * WIDTHS**2)
    share /= share.sum()
    rows = np.full((len(d), x.size), background)
    squares = np.zeros((2, len(d)))
    for i, (sizes, amounts) in enumerate(zip(d, phi)):
        for mean, amount, strength in zip(sizes, amounts, delta):
            radii = 0.5 * mean * (1 + width * WIDTHS)
            volumes = 4 / 3 * np.pi * radii**3
            rows[i] += UNIT * amount * strength**2 * (_form(np.outer(x, radii)) @ (share * volumes))
            each = amount * strength**2 * share * volumes
            squares[:, i] += np.sum(each), np.sum(each * 0.6 * radii**2)
    rings = x * np.gradient(x)
    gain = counts / np.sum(rows[0] * rings)
    counted = np.random.default_rng(seed).poisson(rows * rings * gain)
    coords = {
        "frame": quantity("frame", np.arange(len(d)), "1", "frame"),
        "q": quantity("q", x, "1/angstrom", "scattering vector"),
    }
    measured = {
        "intensity": quantity(("frame", "q"), counted / (rings * gain), "1/cm", "scattered intensity"),
        "intensity_sigma": quantity(
            ("frame", "q"), np.sqrt(np.maximum(counted, 1)) / (rings * gain), "1/cm", "1 sigma of the intensity"
        ),
    }
    over = ("frame", "component")
    planted = {
        "diameter": quantity(over, d, "angstrom", "planted mean diameter by volume"),
        "volume_fraction": quantity(over, phi, "1", "planted volume fraction"),
        "rg": quantity("frame", np.sqrt(squares[1] / squares[0]), "angstrom", "radius of gyration of all together"),
    }
    numbers = {"component": quantity("component", np.arange(1, d.shape[1] + 1), "1", "population")}
    told: dict[str, Any] = {"width": width, "background": background, "counts": counts, "seed": seed}
    patterns = record(check(xr.Dataset(measured, coords)), "simulate.small_angle", **told)
    truth = record(check(xr.Dataset(planted, {"frame": coords["frame"], **numbers})), "simulate.small_angle", **told)
    return patterns, truth


def _tables(diameters: Any, fractions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both over (frame, population)."""
    d, phi = (np.asarray(one, float) for one in (diameters, fractions))
    d, phi = (one[:, None] if one.ndim == 1 else np.atleast_2d(one) for one in (d, phi))
    try:
        d, phi = np.broadcast_arrays(d, phi)
    except ValueError:
        raise ValueError(
            f"diameters {d.shape} and fractions {phi.shape} must agree in frames and populations"
        ) from None
    if d.ndim != 2 or not (d > 0).all() or not ((phi >= 0) & (phi <= 1)).all():
        raise ValueError("diameters must be above 0 in angstrom and fractions within 0 and 1, over (frame, population)")
    return d.copy(), phi.copy()


def _form(x: np.ndarray) -> np.ndarray:
    from scipy.special import spherical_jn

    return (3 * spherical_jn(1, x) / x) ** 2
