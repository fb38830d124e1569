"""What names a plan or a reduction: hashes over content, the same in every process and on every machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.io.poni import Geometry
from batlab.scattering.plan import VERSION
from batlab.scattering.settings import Settings
from batlab.schema import file_sha256

# Not of the plan: they change how its sums are used, or reach it through the frames.
NOT_IN_PLAN = ("mask", "dark", "flat", "monitor", "variance", "error_model", "clip")


def geometry_digest(geometry: Geometry) -> str:
    """Return the SHA-256 of the file that the geometry came from, or of its numbers."""
    return geometry.source_sha256 or hashlib.sha256(repr(geometry).encode()).hexdigest()


def plan_digest(
    geometry: Geometry,
    settings: Settings,
    shape: tuple[int, int],
    images: list[np.ndarray | None],
) -> str:
    """Return the name of the plan for frames of this shape; `images` are mask, dark and flat."""
    told = {item.name: getattr(settings, item.name) for item in fields(settings) if item.name not in NOT_IN_PLAN}
    given = settings.variance is not None
    parts = [VERSION, version("pyFAI"), _numbers(geometry), told, given, list(map(int, shape))]
    digest = hashlib.sha256(json.dumps(parts, default=_plain, sort_keys=True).encode())
    for image in images:
        _add(digest, image)
    return digest.hexdigest()


def reduction_digest(geometry: Geometry, settings: Settings) -> str:
    """Return the name of what an integrator does to frames: all of its geometry and settings."""
    digest = hashlib.sha256(json.dumps([VERSION, _numbers(geometry)], default=_plain, sort_keys=True).encode())
    for item in fields(settings):
        value = getattr(settings, item.name)
        digest.update(item.name.encode())
        if hasattr(value, "dtype"):
            _add(digest, value)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _numbers(geometry: Geometry) -> dict[str, Any]:
    """Return what shapes the pixels: not where the geometry was read, but what files its detector is made of."""
    told = {
        item.name: getattr(geometry, item.name)
        for item in fields(geometry)
        if item.name not in ("source", "source_sha256", "orientation_stated", "pixel_size_y", "pixel_size_x")
    }
    named = [value for value in json.loads(geometry.detector_config).values() if isinstance(value, str)]
    beside = [value for value in (*named, geometry.detector) if value and Path(value).is_file()]
    return told | {"files": [file_sha256(value) for value in beside]}


def _add(digest: Any, image: Any) -> None:
    if image is None:
        digest.update(b"none")
        return
    if hasattr(getattr(image, "data", image), "dask"):
        # What dask calls it: a lazy series is not read for its name.
        array = image.data if isinstance(image, xr.DataArray) else image
        digest.update(f"lazy {array.name} {array.shape}".encode())
        return
    values = np.ascontiguousarray(image)
    digest.update(f"{values.dtype.str} {values.shape}".encode())
    digest.update(values.view(np.uint8).data if values.size else b"")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else np.asarray(value).tolist()
