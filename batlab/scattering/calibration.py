"""What a calibration found: geometry, uncertainties, residuals of rings and points, and what is doubtful about it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from batlab.io.poni import Geometry
from batlab.scattering.calibrants import angles_of
from batlab.scattering.geometry import LOCK
from batlab.scattering.refine_geometry import PARAMETERS, Refined
from batlab.scattering.ring_points import RingPoints, pixel_angle
from batlab.schema import quantity, record

UNITS = {"distance": "m", "poni1": "m", "poni2": "m", "wavelength": "angstrom"}


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` returns.

    Attributes
    ----------
    geometry
        The refined `Geometry`; ``io.save(calibration.geometry, "detector.poni")`` keeps it.
    sigma
        Standard uncertainty of each free parameter, in the units of `Geometry`.
    covariance
        Of the free parameters, in the order of `sigma`.
    beam_centre, beam_centre_sigma
        Row and column where the direct beam meets the detector, in pixel; 0.5 is the centre of the first pixel.
    rings
        Dataset over ``peak``, one ring each: ``ring`` (1 is the innermost of the calibrant), ``d``, ``two_theta``,
        ``residual_mean`` [pixel] (how far its points lie outside it) with σ, the same as ``residual_two_theta``
        [degree], ``residual_rms`` [pixel], ``n_points`` and ``n_outliers``, which were left out.
    points
        Dataset over ``pixel``: ``y``, ``x`` [pixel; 0 is the centre of the first], ``ring`` (its row in `rings`),
        ``residual`` [pixel], ``is_used``.
    """

    geometry: Geometry
    sigma: dict[str, float]
    covariance: np.ndarray
    beam_centre: tuple[float, float]
    beam_centre_sigma: tuple[float, float]
    rings: xr.Dataset
    points: xr.Dataset

    @property
    def rms(self) -> float:
        """Root mean square distance of the points used from their rings, in pixel."""
        used = self.points["residual"].values[self.points["is_used"].values]
        return float(np.sqrt((used**2).mean()))

    @property
    def correlation(self) -> np.ndarray:
        """Correlation of the free parameters, in the order of `sigma`."""
        spread = np.array(list(self.sigma.values()))
        return self.covariance / np.outer(spread, spread)

    def _line(self, name: str) -> str:
        told = f"± {self.sigma[name]:.2g}" if name in self.sigma else "(held)"
        return f"{name:<10} {getattr(self.geometry, name):.8g} {told} {UNITS.get(name, 'rad')}"

    def __str__(self) -> str:
        lines = [self._line(name) for name in PARAMETERS]
        row, column = self.beam_centre
        lines.append(f"beam at row {row:.3f}, column {column:.3f} pixel")
        n_used = int(self.points["is_used"].values.sum())
        lines.append(f"{self.rings.sizes['peak']} rings, {n_used} points, {self.rms:.3f} pixel rms")
        return "\n".join(lines)


def beam_centre(geometry: Geometry) -> tuple[float, float]:
    """Return row and column where the direct beam meets the detector, in pixel; 0.5 is the centre of the first pixel.

    Examples
    --------
    >>> flat = Geometry(0.2, 0.01, 0.02, pixel_size_y=1e-4, pixel_size_x=1e-4, shape=(100, 300))
    >>> beam_centre(flat)
    (100.0, 200.0)
    """
    # The beam, seen from the detector, runs along (tan(rot2)/cos(rot1), -tan(rot1), 1).
    row = geometry.poni1 + geometry.distance * np.tan(geometry.rot2) / np.cos(geometry.rot1)
    column = geometry.poni2 - geometry.distance * np.tan(geometry.rot1)
    row, column = row / geometry.pixel_size_y, column / geometry.pixel_size_x
    if geometry.shape is not None:
        row = geometry.shape[0] - row if geometry.orientation in (1, 2) else row
        column = geometry.shape[1] - column if geometry.orientation in (1, 4) else column
    return float(row), float(column)


def _centre_sigma(refined: Refined) -> tuple[float, float]:
    base = np.array(beam_centre(refined.geometry))
    slopes = []
    for name in refined.names:
        step = max(refined.sigma(name), 1e-12)
        moved = replace(refined.geometry, **{name: getattr(refined.geometry, name) + step})
        slopes.append((np.array(beam_centre(moved)) - base) / step)
    gradient = np.array(slopes)
    variance = np.einsum("ik,ij,jk->k", gradient, refined.covariance, gradient)
    return float(np.sqrt(variance[0])), float(np.sqrt(variance[1]))


def calibration_of(refined: Refined, points: RingPoints, spacings: np.ndarray, shape: tuple[int, int]) -> Calibration:
    sigma = {name: refined.sigma(name) for name in refined.names}
    geometry = replace(refined.geometry, orientation_stated=True)
    return Calibration(
        geometry,
        sigma,
        refined.covariance,
        beam_centre(geometry),
        _centre_sigma(refined),
        _ring_table(refined, points, spacings, shape),
        _point_table(refined, points),
    )


def _ring_table(refined: Refined, points: RingPoints, spacings: np.ndarray, shape: tuple[int, int]) -> xr.Dataset:
    rings = np.unique(points.ring)
    angles = angles_of(refined.geometry.wavelength, spacings)[rings]
    with LOCK:
        pixel = np.degrees(pixel_angle(refined.geometry.pyfai(shape), angles, shape))
    columns = np.array([_ring_row(refined, points, ring) for ring in rings]).T
    mean, mean_sigma, rms, n_used, n_out = columns
    where = "how far its points lie outside the ring"
    return xr.Dataset(
        {
            "ring": quantity("peak", rings + 1, "1", "number of the calibrant's ring, from the innermost"),
            "d": quantity("peak", spacings[rings], "angstrom", "spacing"),
            "two_theta": quantity("peak", np.degrees(angles), "degree", "scattering angle of the ring"),
            "residual_mean": quantity("peak", mean, "pixel", f"{where}, mean"),
            "residual_mean_sigma": quantity("peak", mean_sigma, "pixel", "uncertainty of residual_mean"),
            "residual_two_theta": quantity("peak", mean * pixel, "degree", f"{where}, mean"),
            "residual_rms": quantity("peak", rms, "pixel", f"{where}, root mean square"),
            "n_points": quantity("peak", n_used.astype(int), "1", "points used"),
            "n_outliers": quantity("peak", n_out.astype(int), "1", "points left out"),
        },
        {"peak": quantity("peak", np.arange(rings.size), "1", "ring found")},
        {"wavelength": refined.geometry.wavelength},
    )


def _ring_row(refined: Refined, points: RingPoints, ring: int) -> tuple[float, ...]:
    own = points.ring == ring
    used = refined.residual[own & refined.used]
    n_out = int(own.sum()) - used.size
    if not used.size:
        return np.nan, np.nan, np.nan, 0, n_out
    error = float(used.std(ddof=1)) / np.sqrt(used.size) if used.size > 1 else np.nan
    return float(used.mean()), error, float(np.sqrt((used**2).mean())), used.size, n_out


def _point_table(refined: Refined, points: RingPoints) -> xr.Dataset:
    return xr.Dataset(
        {
            "y": quantity("pixel", points.y, "pixel", "row"),
            "x": quantity("pixel", points.x, "pixel", "column"),
            "ring": quantity(
                "pixel", np.searchsorted(np.unique(points.ring), points.ring), "1", "row in the table of rings"
            ),
            "residual": quantity("pixel", refined.residual, "pixel", "distance outside the ring"),
            "is_used": quantity("pixel", refined.used, "1", "whether the fit rests on it"),
        }
    )


def judged(result: Calibration, calibrant: Any, image: Any) -> Calibration:
    """Warn where the result is doubtful, and record how it was made."""
    name = calibrant if isinstance(calibrant, str) else f"{len(calibrant)} spacings"
    _warn_degenerate(result)
    share = 1 - float(result.points["is_used"].values.mean())
    if result.rms > 1.0 or share > 0.3:
        warnings.warn(
            f"points lie {result.rms:.2f} pixel (rms) off their rings and {100 * share:.0f} % were left out as "
            "outliers: calibrant, wavelength, orientation or pixel size may be wrong",
            UserWarning,
            stacklevel=3,
        )
    attrs = image.attrs if isinstance(image, (xr.Dataset, xr.DataArray)) else {}
    told = {key: attrs[key] for key in ("source", "source_sha256", "source_fingerprint", "history") if key in attrs}
    fixed = tuple(p for p in PARAMETERS if p not in result.sigma)
    tables = [
        record(table.assign_attrs(told), "scattering.calibrate", calibrant=name, fixed=fixed)
        for table in (result.rings, result.points)
    ]
    return replace(result, rings=tables[0], points=tables[1])


def _warn_degenerate(result: Calibration) -> None:
    names, correlation = list(result.sigma), result.correlation
    strong = [
        f"{names[i]} with {names[j]} ({correlation[i, j]:+.4f})"
        for i in range(len(names))
        for j in range(i)
        if abs(correlation[i, j]) > (0.99 if {names[i], names[j]} == {"distance", "wavelength"} else 0.9999)
    ]
    if strong:
        warnings.warn(
            f"these parameters depend on each other: {', '.join(strong)}; each is known only as its sigma says, hold "
            "one of each pair with fixed=",
            UserWarning,
            stacklevel=4,
        )
