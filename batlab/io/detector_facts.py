"""What an HDF5 file says of its detector: pixel size, mask, exposure, wavelength, saturation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batlab.constants import HC
from batlab.errors import ReadError
from batlab.io.links import Contents, Found
from batlab.io.physical_units import factor

# NXdetector pixel_mask: bits 0 to 15 say that a pixel is not to be used; higher ones mark special pixels only.
MASK_BITS = 0xFFFF
_ATTRIBUTES = {  # name in the file -> attribute, unit
    "x_pixel_size": ("pixel_size_x", "m"),
    "y_pixel_size": ("pixel_size_y", "m"),
    "detector_distance": ("detector_distance", "m"),
    "distance": ("detector_distance", "m"),
}


@dataclass(frozen=True)
class Facts:
    """Of one detector; what the file does not say is None or absent."""

    attrs: dict[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None
    flat: np.ndarray | None = None
    exposure: float | None = None  # s
    period: float | None = None  # s from frame to frame
    start: str | None = None  # as written
    overflow: tuple[int, ...] = ()
    offset: tuple[int, int] | None = None  # y, x in pixels, of a module
    monitor: np.ndarray | None = None


def facts_of(contents: Contents, frames: Found | None, mask_bits: int = MASK_BITS) -> Facts:
    """Return what the file says of the detector that took `frames`."""
    group = _detector(contents, frames)
    shape = frames.shape[-2:] if frames is not None and frames.shape else None
    dtype = np.dtype(frames.dtype) if frames is not None else np.dtype("int32")
    exposure = _quantity(contents, _first(contents, group, "count_time", "exposure_time"), "s")
    period = _quantity(contents, _first(contents, group, "frame_time"), "s")
    attrs = _attrs(contents, group)
    mask = _plane(contents, _first(contents, group, "pixel_mask"), shape)
    return Facts(
        attrs=attrs,
        mask=None if mask is None else (mask.astype(np.int64) & mask_bits) != 0,
        flat=_flat(contents, group, shape),
        exposure=exposure,
        period=period,
        start=_start(contents, group),
        overflow=overflow_values(dtype, attrs.get("saturation_value"), _bits(contents, group)),
        offset=_offset(contents, group),
        monitor=_monitor(contents, frames),
    )


def overflow_values(dtype: np.dtype, saturation: float | None, bits: float | None = None) -> tuple[int, ...]:
    """Return the values that say 'no count' in an image of `dtype`.

    Signed: -1 and -2 (gaps and dead pixels, as Dectris writes them); uint32: 2^32-1 and 2^32-2. The counter's largest
    value (of `dtype`, or of `bits`) only where the stated `saturation` is that value or the one below.
    """
    values: list[int] = []
    if dtype.kind == "i":
        values = [-2, -1]
    elif dtype == np.uint32:
        values = [2**32 - 2, 2**32 - 1]
    if saturation is not None and dtype.kind in "iu":
        tops = {int(np.iinfo(dtype).max)} | ({2 ** int(bits) - 1} if bits and 0 < bits < 64 else set())
        values += sorted(top for top in tops if saturation in (top, top - 1))
    return tuple(sorted(set(values)))


def _detector(contents: Contents, frames: Found | None) -> str:
    if frames is not None and contents.class_of(frames.parent) == "NXdetector":
        return frames.parent
    entry = "/" + frames.name.split("/")[1] if frames is not None else "/entry"
    named = [name for name in contents.groups if contents.class_of(name) == "NXdetector"]
    inside = [name for name in named if name.startswith(entry + "/")] or named
    return inside[0] if len(inside) == 1 else f"{entry}/instrument/detector"


def _first(contents: Contents, group: str, *names: str) -> Found | None:
    for name in names:
        for place in (group, f"{group}/detectorSpecific", f"{group}/collection"):
            if f"{place}/{name}" in contents.arrays:
                return contents.arrays[f"{place}/{name}"]
            if f"{place}/{name}" in contents.broken:
                told = f"{contents.broken[f'{place}/{name}']}; {name} is left out"
                warnings.warn(told, UserWarning, stacklevel=2)
    return None


def _quantity(contents: Contents, found: Found | None, unit: str) -> float | None:
    """Return a number in `unit`; None where it is absent, no single finite number, or has no unit."""
    if found is None or "units" not in found.attrs:
        return None
    value = contents.value(found.name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    return float(value) * factor(found.attrs["units"], unit, f"{contents.path.name}: {found.name}")


def _attrs(contents: Contents, group: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for name, (key, unit) in _ATTRIBUTES.items():
        value = _quantity(contents, contents.arrays.get(f"{group}/{name}"), unit)
        if value is not None and value > 0:
            attrs.setdefault(key, value)
    for name in ("beam_center_x", "beam_center_y", "saturation_value", "bit_depth_readout", "sensor_material"):
        value = contents.value(f"{group}/{name}")
        if isinstance(value, (str, int, float)) and value != "":
            attrs[name] = value
    description = contents.value(f"{group}/description")
    if isinstance(description, str) and description:
        attrs["detector"] = description
    wavelength = wavelength_of(contents, "/" + group.split("/")[1])
    if wavelength is not None:
        attrs["wavelength"] = wavelength
    return attrs


def wavelength_of(contents: Contents, entry: str) -> float | None:
    """Return the wavelength in angstrom that an entry states, as such or as photon energy."""
    for found in contents.arrays.values():
        if not found.name.startswith(entry.rstrip("/") + "/"):
            continue
        if found.stem in ("incident_wavelength", "wavelength"):
            value = _quantity(contents, found, "angstrom")
            if value is not None and value > 0:
                return value
    for found in contents.arrays.values():
        is_beam = contents.class_of(found.parent) in ("NXbeam", "NXmonochromator")
        if found.name.startswith(entry.rstrip("/") + "/") and found.stem in ("incident_energy", "energy") and is_beam:
            value = _quantity(contents, found, "eV")
            if value is not None and value > 0:
                return HC / value
    return None


def _plane(contents: Contents, found: Found | None, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """Return a (y, x) array that belongs to the frames; a leading dimension of 1 is dropped."""
    if found is None or found.shape is None or found.dtype is None or found.dtype.kind not in "biuf":
        return None
    plane = np.asarray(contents.value(found.name))
    if plane.ndim == 3 and plane.shape[0] == 1:
        plane = plane[0]
    if shape is not None and plane.shape != tuple(shape):
        raise ReadError(
            f"{contents.path.name}: {found.name} has shape {plane.shape}, the frames have {tuple(shape)}; "
            "they do not belong together"
        )
    return plane


def _flat(contents: Contents, group: str, shape: tuple[int, ...] | None) -> np.ndarray | None:
    """Return the flat field, unless it was applied already or says nothing."""
    found = _first(contents, group, "flatfield", "flat_field")
    applied = _first(contents, group, "flatfield_applied", "flatfield_correction_applied")
    if found is None or applied is None or contents.value(applied.name):
        return None
    flat = _plane(contents, found, shape)
    return None if flat is None or not np.isfinite(flat).any() else flat.astype(np.float32)


def _bits(contents: Contents, group: str) -> float | None:
    found = _first(contents, group, "bit_depth_image", "bit_depth_readout")
    value = contents.value(found.name) if found is not None else None
    return value if isinstance(value, (int, float)) else None


def _start(contents: Contents, group: str) -> str | None:
    """Return when the first exposure began, only where frames follow each other at one period."""
    triggers = _first(contents, group, "ntrigger")
    if triggers is not None and contents.value(triggers.name) not in (0, 1):
        return None
    found = _first(contents, group, "data_collection_date")
    entry = "/" + group.split("/")[1]
    value = contents.value(found.name) if found is not None else contents.value(f"{entry}/start_time")
    return value if isinstance(value, str) and value else None


def _offset(contents: Contents, group: str) -> tuple[int, int] | None:
    found = contents.arrays.get(f"{group}/translation/distance")
    if found is None or str(found.attrs.get("units", "")).lower() not in ("pixel", "pixels"):
        return None
    values = np.ravel(contents.value(found.name))
    if values.size < 2 or not np.isfinite(values[:2]).all():
        return None
    return round(float(values[1])), round(float(values[0]))


def _monitor(contents: Contents, frames: Found | None) -> np.ndarray | None:
    """Return the counts of the only NXmonitor that has one number a frame."""
    groups = [name for name in contents.groups if contents.class_of(name) == "NXmonitor"]
    if len(groups) != 1 or frames is None or len(frames.shape or ()) != 3:
        return None
    for name in ("data", "integral"):
        found = contents.arrays.get(f"{groups[0]}/{name}")
        if found is not None and found.shape == (frames.shape or ())[:1]:
            return np.asarray(contents.value(found.name), float).reshape(-1)
    return None
