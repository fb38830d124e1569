"""Rings of a calibrant on a flat detector, from distance, tilt and wavelength alone.

Independent of the analysis on purpose: pixels are traced by vectors (`detector`), each is sampled at several points of
its area, and nothing is binned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from batlab.schema import quantity, record
from batlab.simulate.detector import OVERFLOW, Detector, efficiency, scattering_angles
from batlab.simulate.exposure import POLARIZATION
from batlab.simulate.powder import Reflections, reflections
from batlab.simulate.structures import Site, Structure

# NIST SRM 660c, certificate of 2015: a at 22.5 °C. B after Booth et al., 10.1103/PhysRevB.63.224302.
LAB6 = Structure(
    "LaB6",
    "P m -3 m",
    "LaB6",
    4.156826,
    4.156826,
    (Site("La1", "La", (0, 0, 0), u_iso=0.0060), Site("B1", "B", (0.1996, 0.5, 0.5), u_iso=0.0040)),
    "NIST SRM 660c",
)
ROWS = 64  # of pixels traced at once
REACH = 8.0  # widths from the middle of a ring beyond which nothing is left of a Gaussian


@dataclass(frozen=True)
class Rings:
    """What a calibrant's rings look like.

    `fwhm` in degree (2θ) of their Gaussian profile, `strongest` and `background` in counts a pixel of the strongest
    ring and between rings, before solid angle and polarisation; `samples` points a side in each pixel.
    """

    wavelength: float
    fwhm: float
    strongest: float
    background: float
    samples: int = 4


def eiger4m(
    *, distance: float = 0.3, tilt: tuple[float, float, float] = (0.0, 0.0, 0.0), pixel: float = 75e-6
) -> Detector:
    """Return an Eiger 4M behind the sample, the beam near its middle; `distance` in m, `tilt` in radian."""
    shape = (2162, 2068)
    return Detector(
        name="eiger4m",
        shape=shape,
        module=(512, 1028),
        gap=(38, 12),
        pixel=pixel,
        distance=distance,
        poni=(0.49 * shape[0] * pixel, 0.51 * shape[1] * pixel),
        rotation=tilt,
        fwhm=2.5 * float(np.rad2deg(pixel / distance)),
    )


def expected_counts(detector: Detector, rings: Rings, crystal: Structure = LAB6) -> np.ndarray:
    """Return the expected counts of every pixel, shape (y, x).

    A ring's profile in 2θ is Gaussian, its area that of the structure factor with Lorentz's factor of a powder,
    1 / (sin θ sin 2θ). A pixel's count is the mean over `samples`² points of its area of profile, solid angle and
    polarisation.
    """
    angles, table = profile(detector, rings, crystal)
    counts = np.zeros(detector.shape)
    for rows, rays in _sampled(detector, rings.samples):
        light = np.interp(scattering_angles(rays), angles, table) * efficiency(detector, rays, POLARIZATION)
        counts[rows] += light / rings.samples**2
    return counts


def expose(detector: Detector, rings: Rings, *, seed: int | None, crystal: Structure = LAB6) -> xr.Dataset:
    """Return one frame with Poisson's noise: uint32, gaps at 2^32 - 1; without noise and float64 for ``seed=None``.

    Examples
    --------
    >>> small = Detector("small", (64, 64), (64, 64), (0, 0), 1e-3, 0.3, (0.032, 0.032), (0, 0, 0), 0.3)
    >>> expose(small, Rings(0.25, 0.3, 100.0, 10.0), seed=1).intensity.dtype
    dtype('uint32')
    """
    counts = expected_counts(detector, rings, crystal)
    gaps = detector.gaps()
    if seed is not None:
        counts = np.random.default_rng(seed).poisson(counts).astype(np.uint32)
        counts[gaps] = OVERFLOW
    frame = xr.Dataset(
        {
            "intensity": quantity(("frame", "y", "x"), counts[None], "count", "counts in the pixel"),
            "mask": quantity(("y", "x"), gaps, "1", "pixel is excluded"),
        },
        {"frame": quantity("frame", np.zeros(1, np.int64), "1", "frame")},
        {"wavelength": rings.wavelength, "overflow": [OVERFLOW] if seed is not None else []},
    )
    return record(frame, "simulate.calibrant.expose", phase=crystal.phase, a=crystal.a, seed=seed)


def profile(detector: Detector, rings: Rings, crystal: Structure = LAB6) -> tuple[np.ndarray, np.ndarray]:
    """Return 2θ [degree] in steps of a hundredth of the width, and the scattering there per unit of efficiency."""
    last = float(scattering_angles(detector.rays()[:: detector.shape[0] - 1, :: detector.shape[1] - 1]).max()) + 0.1
    angles = np.arange(0.0, last, rings.fwhm / 100)
    lines = lines_on(detector, rings.wavelength, crystal, last)
    theta = np.arcsin(rings.wavelength / (2 * lines.d(crystal)))
    area = lines.strength / (np.sin(theta) * np.sin(2 * theta))
    table = np.zeros_like(angles)
    for centre, height in zip(np.rad2deg(2 * theta), area / area.max(), strict=True):
        low, high = np.searchsorted(angles, (centre - REACH * rings.fwhm, centre + REACH * rings.fwhm))
        table[low:high] += height * np.exp(-4 * np.log(2) * ((angles[low:high] - centre) / rings.fwhm) ** 2)
    return angles, rings.background + rings.strongest * table


def lines_on(detector: Detector, wavelength: float, crystal: Structure, two_theta: float) -> Reflections:
    """Return the reflections of `crystal` up to `two_theta` in degree."""
    return reflections(crystal, wavelength=wavelength, q_max=4 * np.pi / wavelength * np.sin(np.deg2rad(two_theta / 2)))


def _sampled(detector: Detector, samples: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and the rays from the sample to one of the `samples`² points in each of their pixels."""
    up, side, normal = detector.axes().T
    offsets = (np.arange(samples) + 0.5) / samples
    columns = np.arange(detector.shape[1])
    for first in range(0, detector.shape[0], ROWS):
        rows = slice(first, min(first + ROWS, detector.shape[0]))
        for dy in offsets:
            y = (np.arange(rows.start, rows.stop) + dy) * detector.pixel - detector.poni[0]
            for dx in offsets:
                x = (columns + dx) * detector.pixel - detector.poni[1]
                yield rows, y[:, None, None] * up + x[None, :, None] * side + detector.distance * normal
