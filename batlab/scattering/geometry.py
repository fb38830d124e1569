"""What the geometry says of each pixel: where it stands and how much it weighs. Computed by pyFAI."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batlab import threads
from batlab.errors import DimensionError
from batlab.io.poni import Geometry
from batlab.scattering.units import check_wavelength

# Two pyFAI integrators set up at the same time in threads can crash the interpreter.
LOCK = threading.Lock()
UNITS = {"q": "q_A^-1", "two_theta": "2th_deg", "r": "r_mm"}


@dataclass(frozen=True)
class Pixels:
    """Arrays over all pixels in image order.

    Attributes
    ----------
    position, scale
        q, 2θ or radius of the centre in pyFAI's inner unit, and the factor to 1/angstrom, degree or mm.
    weight
        Polarisation times solid angle, relative to the pixel at normal incidence.
    azimuth
        Of the centre, -π to π radian from +x towards +y, where asked for.
    corners
        (pixel, 4, 2) float32: position and azimuth of the corners, where asked for.
    mirrored
        Whether the image is flipped, so that corners run the other way round.
    mask
        The detector's own, True where there is no pixel.
    """

    position: np.ndarray
    scale: float
    weight: np.ndarray
    azimuth: np.ndarray | None
    corners: np.ndarray | None
    mirrored: bool
    mask: np.ndarray | None


def as_geometry(geometry: Any) -> Geometry:
    """Return a `Geometry` from one, from the path of a ``.poni``, or from pyFAI's object.

    Raises
    ------
    TypeError
        It is none of these.
    """
    if isinstance(geometry, Geometry):
        return geometry
    if isinstance(geometry, (str, os.PathLike)):
        from batlab.io import open as open_file

        opened = open_file(geometry)
        if not isinstance(opened, Geometry):
            raise TypeError(f"{os.fspath(geometry)} holds no geometry but a {type(opened).__name__}; pass a .poni file")
        return opened
    if all(hasattr(geometry, name) for name in ("dist", "poni1", "poni2", "rot1", "detector", "wavelength")):
        return Geometry.from_pyfai(geometry)
    raise TypeError(f"geometry must be a Geometry, the path of a .poni or pyFAI's, got a {type(geometry).__name__}")


def resolve_wavelength(geometry: Geometry, stated: Any) -> Geometry:
    """Return the geometry with a wavelength: its own, else the one that the frames state (angstrom or None)."""
    wavelength = geometry.wavelength if geometry.wavelength is not None else stated
    return geometry if wavelength is None else replace(geometry, wavelength=check_wavelength(wavelength))


def check_shape(geometry: Geometry, shape: tuple[int, int]) -> None:
    """Refuse frames of another shape than the geometry's detector.

    Raises
    ------
    DimensionError
        With both shapes.
    """
    if geometry.shape is None or geometry.shape == shape:
        return
    turned = "; the frames look transposed" if geometry.shape == shape[::-1] else ""
    raise DimensionError(
        f"the frames have {shape[0]} x {shape[1]} pixels (y, x), the geometry's detector {geometry.detector} has "
        f"{geometry.shape[0]} x {geometry.shape[1]}{turned}; pass the geometry of this detector"
    )


def pixel_arrays(
    geometry: Geometry,
    shape: tuple[int, int],
    *,
    unit: str,
    polarization: float | None,
    solid_angle: bool,
    azimuth: bool,
    corners: bool = False,
) -> Pixels:
    """Return what pyFAI computes for each pixel.

    Raises
    ------
    ValueError
        q is asked for and no wavelength is known, or corners of pixels that have six.
    RuntimeError
        The process was forked after OpenMP's threads had started; pyFAI would hang.
    """
    if unit == "q" and geometry.wavelength is None:
        raise ValueError(
            "q needs a wavelength, which neither geometry nor frames state; use unit='two_theta' or set it"
        )
    from pyFAI.units import to_unit

    threads.refuse_after_fork("pyFAI")
    with LOCK:
        integrator = geometry.pyfai(shape)
        position = np.array(integrator.center_array(shape, unit=UNITS[unit], scale=False), dtype=float).ravel()
        weight = np.ones(position.size)
        if polarization is not None:
            weight *= integrator.polarization(shape, factor=polarization).ravel()
        if solid_angle:
            weight *= integrator.solidAngleArray(shape).ravel()
        chi = integrator.center_array(shape, unit="chi_rad", scale=False).ravel() if azimuth else None
        edges = integrator.corner_array(shape, unit=UNITS[unit], scale=False) if corners else None
        mask = integrator.detector.mask
    if edges is not None and edges.shape[2:] != (4, 2):
        raise ValueError(f"the pixels of {geometry.detector} have {edges.shape[2]} corners; use split='no'")
    if mask is not None:
        mask = np.array(mask, dtype=bool).ravel() if np.shape(mask) == shape else None
    return Pixels(
        position,
        float(to_unit(UNITS[unit]).scale),
        weight,
        None if chi is None else np.asarray(chi, dtype=float),
        None if edges is None else np.ascontiguousarray(edges, np.float32).reshape(-1, 4, 2),
        geometry.orientation in (2, 4),
        mask,
    )
