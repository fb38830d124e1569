"""Where a flat detector is met by the beam and by the cones of constant 2θ: lines to draw, numbers to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from batlab.errors import DimensionError
from batlab.io.poni import Geometry
from batlab.scattering.calibrants import angles_of


def ring_angles(spacings: Sequence[float] | np.ndarray, wavelength: float) -> np.ndarray:
    """Return 2θ in degree of rings of these spacings [angstrom]; those beyond 180° are left out.

    Examples
    --------
    >>> ring_angles([1.0, 0.4], 1.0).round(6).tolist()
    [60.0]
    """
    return np.degrees(angles_of(wavelength, np.asarray(spacings, float)))


def beam_place(geometry: Geometry) -> tuple[float, float]:
    """Return row and column where the direct beam meets the detector, in pixel; 0 is the centre of the first.

    Examples
    --------
    >>> flat = Geometry(0.2, 0.01, 0.02, pixel_size_y=1e-4, pixel_size_x=1e-4, shape=(100, 300))
    >>> [round(place, 6) for place in beam_place(flat)]
    [99.5, 199.5]
    """
    up, side, _ = _beam(geometry)
    y, x = geometry.poni1 + geometry.distance * up, geometry.poni2 + geometry.distance * side
    rows, columns = _shape(geometry)
    y, x = y / geometry.pixel_size_y - 0.5, x / geometry.pixel_size_x - 0.5
    return (rows - 1 - y if _is_turned(geometry)[0] else y), (columns - 1 - x if _is_turned(geometry)[1] else x)


def with_beam_at(geometry: Geometry, y: float, x: float) -> Geometry:
    """Return the geometry shifted in its plane so that the direct beam meets row `y` and column `x`."""
    rows, columns = _shape(geometry)
    y, x = (rows - 1 - y if _is_turned(geometry)[0] else y), (columns - 1 - x if _is_turned(geometry)[1] else x)
    up, side, _ = _beam(geometry)
    return replace(
        geometry,
        poni1=(y + 0.5) * geometry.pixel_size_y - geometry.distance * up,
        poni2=(x + 0.5) * geometry.pixel_size_x - geometry.distance * side,
    )


def two_theta_at(geometry: Geometry, y: np.ndarray | float, x: np.ndarray | float) -> np.ndarray:
    """Return 2θ in degree at rows `y` and columns `x` of a flat detector, 0 at the centre of the first pixel."""
    rows, columns = _shape(geometry)
    y, x = np.asarray(y, float), np.asarray(x, float)
    y, x = (rows - 1 - y if _is_turned(geometry)[0] else y), (columns - 1 - x if _is_turned(geometry)[1] else x)
    away = np.stack(
        np.broadcast_arrays(
            (y + 0.5) * geometry.pixel_size_y - geometry.poni1,
            (x + 0.5) * geometry.pixel_size_x - geometry.poni2,
            geometry.distance,
        )
    )
    beam = np.array(_beam(geometry))
    beam /= np.linalg.norm(beam)
    along = np.tensordot(beam, away, axes=1)
    across = np.sqrt(np.maximum((away**2).sum(axis=0) - along**2, 0.0))
    return np.degrees(np.arctan2(across, along))


def ring_lines(
    geometry: Geometry, two_theta: Sequence[float] | np.ndarray, *, step: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lines along which a flat detector shows constant 2θ.

    Parameters
    ----------
    geometry
        Where the detector stands; its `shape` says where it ends.
    two_theta
        Angles of the rings in degree.
    step
        Degrees of azimuth from point to point: at 1 degree a line of 1000 pixels' radius is true within 0.04 pixel.

    Returns
    -------
    Rows and columns in pixel, each (ring, azimuth), NaN where the ring does not meet the detector.

    Raises
    ------
    DimensionError
        The geometry states no shape.

    Examples
    --------
    >>> flat = Geometry(0.1, 0.05, 0.05, pixel_size_y=1e-4, pixel_size_x=1e-4, shape=(1000, 1000))
    >>> y, x = ring_lines(flat, [10.0], step=90)
    >>> (np.hypot(y - 499.5, x - 499.5) * 1e-4).round(6).tolist()  # the distance times tan 2θ
    [[0.017633, 0.017633, 0.017633, 0.017633, 0.017633]]
    """
    chi = np.radians(np.linspace(-180, 180, max(round(360 / step), 3) + 1))
    up, side, one = _beam(geometry)
    length = math.sqrt(up**2 + side**2 + one**2)
    # A point of the plane lies `reach` from the beam's place: `lean` of that is along the beam, the rest across it.
    lean = (np.sin(chi) * up + np.cos(chi) * side) / length
    angle = np.radians(np.asarray(two_theta, float))[:, None]
    towards = np.sqrt(1 - lean**2) * np.cos(angle) - lean * np.sin(angle)
    with np.errstate(divide="ignore"):
        reach = np.where(towards > 1e-6, geometry.distance * length * np.sin(angle) / towards, np.nan)
    y0, x0 = beam_place(geometry)
    turned_y, turned_x = _is_turned(geometry)
    y = y0 + (-1 if turned_y else 1) * reach * np.sin(chi) / geometry.pixel_size_y
    x = x0 + (-1 if turned_x else 1) * reach * np.cos(chi) / geometry.pixel_size_x
    rows, columns = _shape(geometry)
    margin = np.radians(step) * np.maximum(rows, columns)  # so that a line reaches the detector's edge
    outside = ~((y > -margin) & (x > -margin) & (y < rows + margin) & (x < columns + margin))
    return np.where(outside, np.nan, y), np.where(outside, np.nan, x)


def _beam(geometry: Geometry) -> tuple[float, float, float]:
    """Return the direct beam's way to the detector, in units of the distance: up, sideways, along the normal."""
    return math.tan(geometry.rot2) / math.cos(geometry.rot1), -math.tan(geometry.rot1), 1.0


def _is_turned(geometry: Geometry) -> tuple[bool, bool]:
    """Return whether rows and columns count against the axes of the geometry."""
    return geometry.orientation in (1, 2), geometry.orientation in (1, 4)


def _shape(geometry: Geometry) -> tuple[int, int]:
    if geometry.shape is None:
        raise DimensionError("the geometry states no shape of its detector; set it with dataclasses.replace(…, shape=)")
    return geometry.shape
