"""Masks as images: ``.edf``, ``.tif`` and ``.npy``, 1 where a pixel is excluded, as pyFAI and Dioptas take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io.atomic import replacing


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write a mask (y, x).

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    ValueError
        It is no mask.
    """
    mask = obj if isinstance(obj, xr.DataArray) else obj.get("mask") if isinstance(obj, xr.Dataset) else None
    if mask is None or mask.dtype != bool or mask.ndim != 2:
        told = "no 'mask'" if mask is None else f"{mask.dtype} over {mask.dims}"
        raise ValueError(f"{path.suffix} takes a mask, bool over (y, x), got {told}; save other data as .nc")
    image = mask.values.astype(np.int8)
    with replacing(path, overwrite) as unfinished:
        if path.suffix.lower() == ".npy":
            np.save(unfinished, image, allow_pickle=False)
            return
        from fabio.edfimage import EdfImage
        from fabio.tifimage import TifImage

        made = EdfImage(data=image) if path.suffix.lower() == ".edf" else TifImage(data=image.view(np.uint8))
        made.write(str(unfinished))


def read_image(path: Path) -> np.ndarray:
    """Return the image that a file holds.

    Raises
    ------
    ReadError
        It is damaged, or no image.
    """
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ReadError(f"{path.name}: is no array of numpy's: {error}") from error
    from batlab.io import open as open_file

    opened = open_file(path)
    if not isinstance(opened, xr.Dataset) or "intensity" not in opened or opened.sizes.get("frame") != 1:
        raise ReadError(f"{path.name}: a mask is one image (y, x)")
    return np.asarray(opened["intensity"].values[0])
