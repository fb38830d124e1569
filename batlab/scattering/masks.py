"""Masks: drawn from shapes and thresholds, grown, read from the files that other programs write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, ReadError
from batlab.schema import quantity, record

Corner = tuple[float, float]


def draw_mask(
    shape: tuple[int, int] | None = None,
    *,
    polygons: Sequence[Sequence[Corner]] = (),
    rectangles: Sequence[tuple[float, float, float, float]] = (),
    circles: Sequence[tuple[float, float, float]] = (),
    image: Any = None,
    below: float | None = None,
    above: float | None = None,
    grow: float = 0.0,
) -> xr.DataArray:
    """Return a mask, True where a pixel is excluded, from shapes and from limits of an image.

    Pixel (i, j) has its centre at y = i, x = j and is excluded where its centre lies in a shape or on its edge. Masks
    add up: ``draw_mask(…) | frames.mask``. ``io.save(mask, "mask.edf")`` writes it for pyFAI and others, too.

    Parameters
    ----------
    shape
        Rows and columns; by default those of `image`.
    polygons
        Each a list of corners (y, x) in pixel; one that crosses itself is filled by the even-odd rule.
    rectangles
        Each (y first, x first, y last, x last) in pixel, both ends included.
    circles
        Each (y, x, radius) in pixel.
    image
        Values (y, x), such as a frame or a mean of frames, for `below` and `above`.
    below, above
        Pixels of `image` under or over these, and those that are NaN, are excluded.
    grow
        Exclude also what lies within so many pixels of what is excluded.

    Returns
    -------
    DataArray over (y, x), bool, named ``mask``.

    Raises
    ------
    ValueError
        No shape, a shape with impossible numbers, a limit without an image.
    DimensionError
        `image` has another shape.

    Examples
    --------
    >>> mask = draw_mask((5, 6), rectangles=[(0, 0, 1, 2)], circles=[(4, 5, 1)])
    >>> int(mask.sum())
    9
    """
    values = None if image is None else _image(image)
    size = _shape(shape, values)
    if values is None and (below is not None or above is not None):
        raise ValueError("below= and above= are limits of an image; pass image=")
    mask = np.zeros(size, bool)
    for corners in polygons:
        mask |= _polygon(np.asarray(corners, float), size)
    y, x = np.ogrid[: size[0], : size[1]]
    for rectangle in rectangles:
        y0, x0, y1, x1 = _numbers("rectangles", rectangle, 4)
        mask |= (y >= min(y0, y1)) & (y <= max(y0, y1)) & (x >= min(x0, x1)) & (x <= max(x0, x1))
    for circle in circles:
        yc, xc, radius = _numbers("circles", circle, 3)
        mask |= (y - yc) ** 2 + (x - xc) ** 2 <= radius**2
    if values is not None and (below is not None or above is not None):
        mask |= np.isnan(values)
        mask |= False if below is None else values < below
        mask |= False if above is None else values > above
    return as_mask(grown(mask, grow), polygons=len(polygons), rectangles=len(rectangles), circles=len(circles),
                   below=below, above=above, grow=grow)  # fmt: skip


def open_mask(path: str | os.PathLike, *, shape: tuple[int, int] | None = None) -> xr.DataArray:
    """Return the mask that a file holds: ``.edf .tif .cbf .npy`` (0 is good, all else excluded) or batlab's own.

    Parameters
    ----------
    path
        As written by pyFAI-drawmask, Dioptas, ``io.save`` and their kin.
    shape
        Rows and columns that it should have.

    Raises
    ------
    ReadError
        The file is damaged or holds no image.
    DimensionError
        It has another shape.

    Examples
    --------
    >>> open_mask("mask.edf", shape=(1043, 981))  # doctest: +SKIP
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    values = _values(file)
    if values.ndim != 2:
        raise ReadError(f"{file.name}: a mask is one image (y, x), got shape {values.shape}")
    if shape is not None and values.shape != tuple(shape):
        raise DimensionError(f"{file.name}: the mask is {values.shape} (y, x), expected {tuple(shape)}")
    return as_mask(values != 0, source=str(file))


def as_mask(values: np.ndarray, **arguments: Any) -> xr.DataArray:
    """Return a mask (y, x) with its name, unit and history."""
    variable = quantity(("y", "x"), values, "1", "pixel is excluded")
    dataset = record(xr.Dataset({"mask": variable}), "scattering.mask", **arguments)
    return dataset["mask"].assign_attrs(history=dataset.attrs["history"])


def grown(mask: np.ndarray, by: float) -> np.ndarray:
    """Return `mask` and all within `by` pixels of it.

    Raises
    ------
    ValueError
        `by` is negative or not finite.
    """
    if not (np.isfinite(by) and by >= 0):
        raise ValueError(f"grow must be a number of pixels of at least 0, got {by!r}")
    if by == 0 or not mask.any():
        return mask
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= by


def _shape(shape: tuple[int, int] | None, values: np.ndarray | None) -> tuple[int, int]:
    if shape is None:
        if values is None:
            raise ValueError("draw_mask needs shape=(rows, columns) or image=")
        return values.shape  # type: ignore[return-value]
    if len(shape) != 2 or any(int(n) != n or n < 1 for n in shape):
        raise ValueError(f"shape must be (rows, columns), got {shape!r}")
    if values is not None and values.shape != tuple(shape):
        raise DimensionError(f"image has shape {values.shape}, expected {tuple(shape)}")
    return int(shape[0]), int(shape[1])


def _image(image: Any) -> np.ndarray:
    if isinstance(image, xr.Dataset):
        image = image["intensity"]
    values = np.asarray(image, float)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2:
        raise DimensionError(f"image must be one image (y, x), got shape {values.shape}; take one frame or their mean")
    return values


def _numbers(name: str, values: Any, n: int) -> np.ndarray:
    numbers = np.asarray(values, float)
    if numbers.shape != (n,) or not np.isfinite(numbers).all() or (n == 3 and numbers[2] < 0):
        told = {4: "(y first, x first, y last, x last)", 3: "(y, x, radius)"}[n]
        raise ValueError(f"{name} are {told} in pixel, got {values!r}")
    return numbers


def _polygon(corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return which pixel centres lie within, by counting the edges that a ray along x crosses."""
    if corners.ndim != 2 or corners.shape[1:] != (2,) or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(f"polygons have three or more corners (y, x) in pixel, got {corners.tolist()!r}")
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    inside, edge = np.zeros(shape, bool), np.zeros(shape, bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        between = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            inside ^= between & (x < crossing)
        length = max(np.hypot(y1 - y0, x1 - x0), 1e-12)
        rows = slice(max(int(np.floor(min(y0, y1))), 0), int(np.ceil(max(y0, y1))) + 1)
        away = np.abs((x - x0) * (y1 - y0) - (y[rows] - y0) * (x1 - x0)) / length
        along = ((x - x0) * (x1 - x0) + (y[rows] - y0) * (y1 - y0)) / length
        edge[rows] |= (away < 1e-9) & (along >= 0) & (along <= length)
    return inside | edge


def _values(file: Path) -> np.ndarray:
    if file.suffix.lower() in (".nc", ".h5", ".hdf5", ".nxs", ".zarr"):
        from batlab.io import open as open_file

        opened = open_file(file)
        if not isinstance(opened, xr.Dataset) or "mask" not in opened:
            raise ReadError(f"{file.name}: holds no 'mask'")
        return np.asarray(opened["mask"].values)
    from batlab.io.mask_image import read_image

    return read_image(file)
