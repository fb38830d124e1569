"""Calibrate a detector's geometry from the rings of a known substance, without a hand."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.io.poni import Geometry
from batlab.scattering.calibrants import angles_of, ring_spacings
from batlab.scattering.calibration import Calibration, calibration_of, judged
from batlab.scattering.frames import as_stack
from batlab.scattering.geometry import LOCK, as_geometry, check_shape, resolve_wavelength
from batlab.scattering.orientation import best_orientation
from batlab.scattering.refine_geometry import PARAMETERS, Refined, refine_geometry
from batlab.scattering.ring_points import Picture, RingPoints, find_points

REACH = 30.0  # pixel; how far from the guess the first rings are looked for (and never near the next ring)
GROWING_REACH = 8.0  # pixel; rings that are predicted from those within
FIRST_RINGS = 3
FIRST_SECTORS, SECTORS = 36, 120
LEAST_SECTORS = 0.15  # of the sectors that a ring could show; one that shows fewer is not found
LOOSE = 1e-3  # radian; rotations known no better are held: they trade against the point of normal incidence


def calibrate(
    image: xr.Dataset | xr.DataArray | np.ndarray,
    calibrant: str | Sequence[float],
    guess: Any,
    *,
    mask: Any = None,
    fixed: Sequence[str] | None = None,
    n_rings: int | None = None,
    orientation: int | None = None,
    reach: float = REACH,
) -> Calibration:
    """Refine the geometry of a detector from an image of a calibrant's rings.

    The innermost rings are found first, the geometry refined to them, the next rings predicted, and so on outward:
    all rings at once would fall into a wrong minimum from a start that is off by half a ring's distance. A ring is
    followed in 120 sectors of azimuth by fits of a peak on a sloping ground; points that do not agree are left out.

    Parameters
    ----------
    image
        Counts (y, x); a Dataset with ``intensity`` (y, x) or (frame, y, x), whose frames are averaged; or an array.
    calibrant
        pyFAI's name of it, such as ``"LaB6_SRM660c"``, or its spacings in angstrom; see `calibrants`.
    guess
        Where the detector is believed to stand: a `Geometry`, the path of a ``.poni``, or pyFAI's object. The innermost
        rings must lie within `reach` pixels, and nearer to their own place than to the next ring's.
    mask
        True where a pixel is left out, beside the image's own mask and the detector's gaps.
    fixed
        Parameters to hold, of ``distance poni1 poni2 rot1 rot2 rot3 wavelength``. By default wavelength and rot3, which
        rings cannot tell (2θ does not depend on it); rot1 and rot2 as well, with a warning, where they are known no
        better than 1 mrad. To free the energy hold the distance: ``fixed=("distance", "rot3")``.
    n_rings
        Use only so many of the innermost rings.
    orientation
        Corner of the image's origin, 1 to 4, against what `guess` says.
    reach
        How far from the guess the first rings are looked for, in pixel.

    Raises
    ------
    ValueError
        An unknown calibrant or parameter, no wavelength, or too few rings near the guess.
    DimensionError
        The image has another shape than the guess's detector.

    Warns
    -----
    UserWarning
        Another orientation of the image fits the guess better; rotations had to be held; parameters depend on each
        other; many rings were not found, or points scatter by more than a pixel.

    Examples
    --------
    >>> done = calibrate(bl.open("LaB6.tif"), "LaB6_SRM660c", "start.poni")  # doctest: +SKIP
    >>> bl.io.save(done.geometry, "detector.poni")  # doctest: +SKIP
    """
    picture, own_wavelength = _picture(image, mask)
    geometry = _start(guess, own_wavelength, picture.shape, orientation)
    held = _held(fixed, geometry)
    spacings = ring_spacings(calibrant)
    picture = _without_gaps(picture, geometry)
    geometry = _oriented(geometry, picture, orientation)
    refined, points = _outward(picture, geometry, spacings, held, n_rings, reach)
    if fixed is None:
        refined, points = _with_rotations(picture, refined, points, spacings, held)
    refined, points = _last(picture, refined, points, spacings)
    result = calibration_of(refined, points, spacings, picture.shape)
    return judged(result, calibrant, image)


def _start(guess: Any, stated: Any, shape: tuple[int, int], orientation: int | None) -> Geometry:
    geometry = resolve_wavelength(as_geometry(guess), stated)
    check_shape(geometry, shape)
    if geometry.wavelength is None:
        raise ValueError("calibrate needs a wavelength, which neither guess nor image states; put it into the guess")
    if orientation is not None:
        choose("orientation", orientation, (1, 2, 3, 4))
        geometry = replace(geometry, orientation=orientation, orientation_stated=True)
    return replace(geometry, shape=geometry.shape or shape, source="", source_sha256="")


def _held(fixed: Sequence[str] | None, geometry: Geometry) -> tuple[str, ...]:
    held = ("rot1", "rot2", "rot3", "wavelength") if fixed is None else tuple(fixed)
    for name in held:
        choose("fixed", name, PARAMETERS)
    return held


def _picture(image: Any, mask: Any) -> tuple[Picture, float | None]:
    if isinstance(image, np.ndarray):
        image = xr.DataArray(image, dims=("y", "x"))
    stack = as_stack(image, mask)
    values = np.asarray(stack.data)
    bad = np.zeros(values.shape, bool) if stack.varying_mask is None else np.asarray(stack.varying_mask)
    for value in stack.overflow:
        bad |= values == value
    if stack.mask is not None:
        bad = bad | stack.mask
    if len(values) == 1:
        one, lost = values[0], bad[0]
    else:
        n = (~bad).sum(axis=0)
        total = np.where(bad, 0, values).sum(axis=0)
        # Counts stay counts where every frame has the pixel; else the mean of those that have it.
        one = total if (n == len(values)).all() else total / np.maximum(n, 1) * len(values)
        lost = n == 0
    if values.dtype.kind == "i":
        lost = lost | (one < 0)  # Pilatus marks gaps as -1, dead pixels as -2
    return Picture.of(one, lost), stack.dataset.attrs.get("wavelength")


def _without_gaps(picture: Picture, geometry: Geometry) -> Picture:
    with LOCK:
        gaps = geometry.pyfai(picture.shape).detector.mask
    if gaps is None or np.shape(gaps) != picture.shape:
        return picture
    kept = ~np.asarray(gaps, bool)[picture.y, picture.x]
    return replace(picture, y=picture.y[kept], x=picture.x[kept], counts=picture.counts[kept])


def _oriented(geometry: Geometry, picture: Picture, asked: int | None) -> Geometry:
    best, gain = best_orientation(geometry, picture)
    if best == geometry.orientation:
        return geometry
    told = (
        f"the image's rings are {gain:.1f} times sharper with orientation={best} than with "
        f"{geometry.orientation}, which is {'stated' if geometry.orientation_stated else 'assumed'}: it seems flipped "
        f"{ {1: 'both ways', 2: 'up-down', 3: 'not at all', 4: 'left-right'}[best] } against pyFAI's default"
    )
    if geometry.orientation_stated:
        warnings.warn(f"{told}; pass orientation={best} to use it", UserWarning, stacklevel=3)
        return geometry
    warnings.warn(f"{told}; {best} is used, pass orientation= to choose", UserWarning, stacklevel=3)
    return replace(geometry, orientation=best)


def _visible(geometry: Geometry, picture: Picture, spacings: np.ndarray) -> np.ndarray:
    """Return the numbers of the rings that cross usable pixels."""
    angles = angles_of(geometry.wavelength, spacings)
    stride = max(1, picture.y.size // 50_000)
    y, x = picture.y[::stride].astype(float), picture.x[::stride].astype(float)
    with LOCK:
        seen = geometry.pyfai(picture.shape).tth(y, x)
    return np.flatnonzero((angles > seen.min()) & (angles < seen.max()))


def _look(
    picture: Picture, geometry: Geometry, spacings: np.ndarray, rings: np.ndarray, reach: float, n_sectors: int
) -> RingPoints:
    with LOCK:
        integrator = geometry.pyfai(picture.shape)
        found = find_points(
            picture, integrator, angles_of(geometry.wavelength, spacings), rings, reach=reach, n_sectors=n_sectors
        )
    return _without_strays(found, n_sectors)


def _without_strays(found: RingPoints, n_sectors: int) -> RingPoints:
    """Leave out rings that show in few sectors: those may be spots or another substance."""
    count = np.bincount(found.ring, minlength=1) if found.ring.size else np.zeros(1)
    most = max(int(count.max()), 1)
    good = count[found.ring] >= max(LEAST_SECTORS * min(most, n_sectors), 3) if found.ring.size else np.zeros(0, bool)
    return RingPoints(
        found.ring[good], found.y[good], found.x[good], found.sigma[good], found.gradient[good], found.width
    )


def _outward(
    picture: Picture,
    geometry: Geometry,
    spacings: np.ndarray,
    held: tuple[str, ...],
    n_rings: int | None,
    reach: float,
) -> tuple[Refined, RingPoints]:
    """Refine to the innermost rings, predict the next, and so on to the outermost."""
    free = [name for name in PARAMETERS if name not in held]
    most, first = FIRST_RINGS, reach
    while True:
        visible = _visible(geometry, picture, spacings)[:n_rings]
        rings = visible[:most]
        points = _look(picture, geometry, spacings, rings, first, FIRST_SECTORS)
        n_found = np.unique(points.ring).size
        if points.ring.size < 4 * len(free) and most < visible.size:
            most += 2
            continue
        if points.ring.size < max(len(free) + 1, 6):
            raise ValueError(
                f"only {points.ring.size} points on {n_found} of {rings.size} rings were found within {first:g} pixel "
                "of the guess; check calibrant, wavelength, distance and beam centre of the guess, or raise reach"
            )
        # Rings near the centre cannot tell tilt from place: rotations wait until a few are there.
        now = free if n_found > FIRST_RINGS else [name for name in free if not name.startswith("rot")] or free
        refined = refine_geometry(geometry, picture.shape, points, spacings, now)
        shift = _largest_shift(geometry, refined.geometry, points, picture.shape)
        geometry = refined.geometry
        first = max(min(first, 2 * GROWING_REACH), GROWING_REACH)
        if shift > 1.0 and first != GROWING_REACH:
            first = GROWING_REACH
            continue
        first = GROWING_REACH
        if most >= visible.size:
            return refined, points
        most = most + max(2, most // 2)


def _largest_shift(old: Geometry, new: Geometry, points: RingPoints, shape: tuple[int, int]) -> float:
    with LOCK:
        both = [geometry.pyfai(shape).tth(points.y, points.x) for geometry in (old, new)]
    return float(np.max(np.abs(both[0] - both[1]) / np.linalg.norm(points.gradient, axis=1)))


def _with_rotations(
    picture: Picture, refined: Refined, points: RingPoints, spacings: np.ndarray, held: tuple[str, ...]
) -> tuple[Refined, RingPoints]:
    """Free the tilt where the rings tell it, else keep it and say so."""
    free = [name for name in PARAMETERS if name not in held]
    tried = refine_geometry(refined.geometry, picture.shape, points, spacings, [*free, "rot1", "rot2"])
    loose = max(tried.sigma("rot1"), tried.sigma("rot2"))
    if loose <= LOOSE:
        return tried, points
    warnings.warn(
        f"the rings tell the detector's tilt only to {1e3 * loose:.2g} mrad, so rot1 and rot2 are held at "
        f"{refined.geometry.rot1:g} and {refined.geometry.rot2:g} rad, and poni1 and poni2 stand for the beam's place; "
        "pass fixed=('rot3', 'wavelength') to free them all the same",
        UserWarning,
        stacklevel=3,
    )
    return refined, points


def _last(picture: Picture, refined: Refined, points: RingPoints, spacings: np.ndarray) -> tuple[Refined, RingPoints]:
    """Look again with the final geometry, in finer sectors and narrower, until nothing moves."""
    rings = np.unique(points.ring)
    for _ in range(4):
        width = float(np.nanmedian(points.width))
        visible = np.intersect1d(_visible(refined.geometry, picture, spacings), np.arange(rings.max() + 1))
        points = _look(picture, refined.geometry, spacings, visible, max(5 * width, 4.0), SECTORS)
        again = refine_geometry(refined.geometry, picture.shape, points, spacings, refined.names)
        shift = _largest_shift(refined.geometry, again.geometry, points, picture.shape)
        refined = again
        if shift < 2e-3:
            break
    return refined, points
