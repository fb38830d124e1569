"""Detector frames as the integrator takes them: (frame, y, x), static and varying masks apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError

# What the kernel bins as it stands; other integers and float16 become float64, exact below 2^53.
NATIVE = tuple(np.dtype(name) for name in ("u1", "u2", "u4", "i2", "i4", "f4", "f8"))


@dataclass(frozen=True)
class Stack:
    """Frames taken apart: pixels (numpy or dask), masks, overflow values, and all that belongs to a frame.

    ``variance``, where given, is (frame, y, x) as the frames, numpy or dask, or (1, y, x) for all of them.
    """

    data: Any
    mask: np.ndarray | None
    varying_mask: Any
    overflow: list[float]
    dataset: xr.Dataset
    variance: Any = None

    @property
    def one_variance(self) -> np.ndarray | None:
        """The variance (1, pixel) that stands for all frames of the series."""
        if self.variance is None or self.variance.shape == self.data.shape:
            return None
        return np.asarray(self.variance, dtype=float).reshape(1, -1)

    @property
    def shape(self) -> tuple[int, int]:
        return self.data.shape[1:]


def as_stack(frames: xr.Dataset | xr.DataArray, mask: Any = None, variance: Any = None) -> Stack:
    """Return the parts of `frames`; a single image (y, x) counts as one frame.

    Parameters
    ----------
    frames
        ``intensity`` (frame, y, x), optional ``mask`` (y, x) or (frame, y, x); attribute ``overflow``: values that mark
        a pixel as lost.
    mask
        A further mask, True where excluded, of either shape.
    variance
        Of the counts, of either shape, or None.

    Raises
    ------
    DimensionError
        Other dimensions, or a mask or variance of another shape.
    TypeError
        No xarray object, or pixels that are no numbers.
    """
    if isinstance(frames, xr.DataArray):
        frames = frames.to_dataset(name="intensity")
    if not isinstance(frames, xr.Dataset) or "intensity" not in frames:
        raise TypeError(f"frames must be a Dataset with 'intensity' (frame, y, x), got {_what(frames)}")
    if set(frames["intensity"].dims) == {"y", "x"}:
        frames = frames.assign(intensity=frames["intensity"].expand_dims("frame"))
    if frames["intensity"].dims != ("frame", "y", "x"):
        raise DimensionError(
            f"scattering.integrate needs frames over ('frame', 'y', 'x'), got {frames['intensity'].dims}; "
            "transpose or rename them"
        )
    data = frames["intensity"].data
    if data.dtype.kind not in "uif" or data.dtype.itemsize > 8:
        raise TypeError(f"frames must hold integers or real numbers, got {data.dtype}")
    fixed, varying = _masks([frames.get("mask"), mask], data.shape)
    overflow = [float(value) for value in np.atleast_1d(frames["intensity"].attrs.get("overflow", []))]
    overflow += [float(value) for value in np.atleast_1d(frames.attrs.get("overflow", []))]
    return Stack(data, fixed, varying, sorted(set(overflow)), frames, _variance(variance, data.shape))


def pixel_image(image: Any, name: str, shape: tuple[int, int]) -> np.ndarray | None:
    """Return `image` (y, x), such as a dark or flat field, as float64 in image order; None stays None.

    Raises
    ------
    DimensionError
        It has another shape than the frames.
    """
    if image is None:
        return None
    values = np.asarray(_in_image_order(image), dtype=float)
    if values.shape != shape:
        raise DimensionError(f"{name} must have the frames' shape {shape} (y, x), got {values.shape}")
    return values.ravel()


def native(block: np.ndarray) -> np.ndarray:
    """Return the frames of a block as (frame, pixel), contiguous, in a type that the kernel knows."""
    dtype = block.dtype.newbyteorder("=")
    flat = np.ascontiguousarray(block, dtype=dtype if dtype in NATIVE else np.float64)
    return flat.reshape(len(flat), int(np.prod(flat.shape[1:])))


def overflow_in(values: list[float], dtype: np.dtype) -> np.ndarray:
    """Return those overflow values that a pixel of this type can have."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond the type's range: no pixel but an infinite one, lost anyhow
            return np.array(values, dtype)
    info = np.iinfo(dtype)
    return np.array([int(value) for value in values if info.min <= value <= info.max and value == int(value)], dtype)


def _in_image_order(image: Any) -> Any:
    """Return the array of an image or series; one whose dimensions have our names is put into our order."""
    if not isinstance(image, xr.DataArray):
        return image if hasattr(image, "shape") else np.asarray(image)
    if {"y", "x"} <= set(image.dims) <= {"frame", "y", "x"}:
        image = image.transpose(*(dim for dim in ("frame", "y", "x") if dim in image.dims))
    return image.data


def _masks(masks: list[Any], shape: tuple[int, int, int]) -> tuple[np.ndarray | None, Any]:
    fixed = varying = None
    for mask in masks:
        if mask is None:
            continue
        values = _in_image_order(mask)
        if values.shape == shape[1:]:
            values = np.asarray(values).astype(bool, copy=False)
            fixed = values if fixed is None else fixed | values
        elif values.shape == shape:
            values = values.astype(bool, copy=False)
            varying = values if varying is None else varying | values
        else:
            raise DimensionError(f"mask must be {shape[1:]} (y, x) or {shape} (frame, y, x), got {values.shape}")
    return fixed, varying


def _variance(variance: Any, shape: tuple[int, int, int]) -> Any:
    if variance is None:
        return None
    values = _in_image_order(variance)
    if values.shape not in (shape, shape[1:], (1, *shape[1:])):
        raise DimensionError(f"variance must be {shape[1:]} (y, x) or {shape} (frame, y, x), got {values.shape}")
    if values.dtype.kind not in "uif":
        raise TypeError(f"variance must hold integers or real numbers, got {values.dtype}")
    if len(values.shape) == 2:
        values = np.asarray(values)[None]
    return values


def _what(thing: Any) -> str:
    if isinstance(thing, xr.Dataset):
        return f"a Dataset with {', '.join(map(str, thing.data_vars)) or 'no variables'}"
    return f"a {type(thing).__name__}; open it with io.open"
