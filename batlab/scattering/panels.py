"""Detectors of several panels, each with its own geometry: calibrate each, average all into one pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError
from batlab.io.hexrd import Instrument
from batlab.scattering.calibrate import calibrate
from batlab.scattering.calibration import Calibration
from batlab.scattering.integrator import integrate
from batlab.schema import record

HELD = ("rot3", "wavelength")


def calibrate_panels(
    image: xr.Dataset | xr.DataArray | np.ndarray,
    calibrant: str | Sequence[float],
    instrument: Instrument,
    *,
    mask: Any = None,
    fixed: Sequence[str] | None = HELD,
    reach: float = 30.0,
) -> tuple[Instrument, dict[str, Calibration]]:
    """Calibrate each panel of a stitched image by itself, from where `instrument` says that it stands.

    Parameters
    ----------
    image
        The stitched image (y, x), as `calibrate` takes it.
    calibrant, fixed, reach
        As for `calibrate`.
    instrument
        The panels that the image holds: ``io.open("dexelas.yml").group("ff1")``.
    mask
        Of the stitched image (y, x), True where a pixel is left out.

    Returns
    -------
    Instrument, dict
        The instrument with the new geometries, and what `calibrate` says of each panel, by name.

    Raises
    ------
    DimensionError
        A panel lies outside the image.
    ValueError
        As `calibrate`, the panel named.

    Examples
    --------
    >>> panels = bl.open("dexelas.yml").group("ff1")  # doctest: +SKIP
    >>> panels, found = calibrate_panels(image, "CeO2", panels)  # doctest: +SKIP
    """
    whole = _labelled(image)
    found = {}
    for panel in instrument.panels:
        part, part_mask = _cut(whole, mask, panel)
        try:
            found[panel.name] = calibrate(part, calibrant, panel.geometry, mask=part_mask, fixed=fixed, reach=reach)
        except ValueError as error:
            raise ValueError(f"panel {panel.name}: {error}") from error
    return instrument.with_geometries({name: one.geometry for name, one in found.items()}), found


def integrate_panels(
    frames: xr.Dataset | xr.DataArray,
    instrument: Instrument,
    *,
    n_bins: int,
    q_range: tuple[float, float],
    mask: Any = None,
    **settings: Any,
) -> xr.Dataset:
    """Average stitched frames over the rings of all panels into one pattern.

    Signal, variance and normalisation of the panels are summed apart and divided once. Overlapping panels would count
    twice; those of one group never overlap in the image.

    Parameters
    ----------
    frames
        ``intensity`` (frame, y, x) or (y, x) of the stitched detector.
    instrument
        The panels that the frames hold.
    n_bins, q_range
        Bins of equal width over `q_range` [1/angstrom], the same for all panels.
    mask
        Of the stitched detector (y, x).
    settings
        ``polarization solid_angle error_model monitor`` as `integrate` takes them.

    Raises
    ------
    DimensionError
        A panel lies outside the frames.
    TypeError
        Another setting: integrate such panels one by one.

    Examples
    --------
    >>> pattern = integrate_panels(frames, panels, n_bins=3000, q_range=(0.5, 6.0))  # doctest: +SKIP
    """
    unknown = sorted(set(settings) - {"polarization", "solid_angle", "error_model", "monitor"})
    if unknown:
        raise TypeError(
            f"integrate_panels does not know {', '.join(unknown)}; for cakes, dark and flat images or splitting call "
            "integrate(frames.isel(**panel.place), panel.geometry, …) for each panel"
        )
    whole = _labelled(frames)
    parts = []
    for panel in instrument.panels:
        part, part_mask = _cut(whole, mask, panel)
        parts.append(integrate(part, panel.geometry, n_bins=n_bins, q_range=q_range, mask=part_mask, **settings))
    result = _summed(parts)
    return record(
        result, "scattering.integrate_panels", panels=[panel.name for panel in instrument.panels], n_bins=n_bins,
        q_range=q_range, **settings,
    )  # fmt: skip


def _summed(parts: list[xr.Dataset]) -> xr.Dataset:
    xr.align(*parts, join="exact")
    result = parts[0].copy()
    norm, signal = _total(parts, "normalization"), _total(parts, "signal")
    seen = np.where(norm > 0, norm, np.nan)
    result["signal"] = parts[0]["signal"].copy(data=signal)
    result["normalization"] = parts[0]["normalization"].copy(data=norm)
    result["n_pixels"] = parts[0]["n_pixels"].copy(data=_total(parts, "n_pixels"))
    result["intensity"] = parts[0]["intensity"].copy(data=signal / seen)
    if "intensity_sigma" in result:
        variance = np.nansum([(part["intensity_sigma"] * part["normalization"]).values ** 2 for part in parts], axis=0)
        result["intensity_sigma"] = parts[0]["intensity_sigma"].copy(data=np.sqrt(variance) / seen)
    for told in ("geometry", "geometry_sha256"):
        result.attrs[told] = ", ".join(str(part.attrs.get(told, "")) for part in parts)
    return result


def _total(parts: list[xr.Dataset], name: str) -> np.ndarray:
    stacked = np.stack([part[name].values for part in parts])
    return np.nansum(stacked, axis=0, dtype=stacked.dtype)


def _labelled(image: Any) -> xr.Dataset | xr.DataArray:
    return xr.DataArray(image, dims=("y", "x")) if isinstance(image, np.ndarray) else image


def _cut(whole: xr.Dataset | xr.DataArray, mask: Any, panel: Any) -> tuple[Any, Any]:
    """Return a panel's part of frames and mask."""
    sizes = whole.sizes
    if panel.rows[1] > sizes.get("y", 0) or panel.columns[1] > sizes.get("x", 0):
        raise DimensionError(
            f"panel {panel.name} ends at row {panel.rows[1]}, column {panel.columns[1]}, but the image has "
            f"{sizes.get('y')} x {sizes.get('x')} pixels; take the panels of this image, instrument.group(…)"
        )
    if mask is None:
        return whole.isel(panel.place), None
    values = np.asarray(mask)
    if values.shape != (sizes["y"], sizes["x"]):
        raise DimensionError(f"mask must be {(sizes['y'], sizes['x'])} (y, x), got {values.shape}")
    return whole.isel(panel.place), values[panel.place["y"], panel.place["x"]]
