"""Detector images and series of images, through fabio: TIFF, CBF, EDF, GADDS and their kin."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import BatlabError, ReadError
from batlab.io.detector_facts import Facts, overflow_values
from batlab.io.frames import frames_dataset
from batlab.io.image_checks import check_whole
from batlab.io.physical_units import positive
from batlab.schema import quantity

NAME = "detector images"
HINTS = frozenset({"wavelength"})
HEAD = 2**15
# First bytes of a format -> its name.
MAGIC = (
    (re.compile(rb"II\*\0|MM\0\*"), "TIFF"),
    (re.compile(rb"###CBF"), "CBF"),
    (re.compile(rb"\{\s*(EDF|HeaderID|ByteOrder|HEADER_BYTES|Image\b|VersionNumber|EDF_DataBlockID)"), "EDF"),
    (re.compile(rb"FORMAT *: *(86|100) "), "GADDS"),
)
_NUMBER = rb"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)"
# What headers say, where it can be meant in one way only: pattern -> field, factor to the data model's unit.
_HEADER = (
    (re.compile(rb"# Exposure_time " + _NUMBER + rb" s\b"), "exposure", 1.0),
    (re.compile(rb"CUMULAT *: *" + _NUMBER), "exposure", 1.0),
    (re.compile(rb"# Wavelength " + _NUMBER + rb" A\b"), "wavelength", 1.0),
    (re.compile(rb"WAVELEN *: *" + _NUMBER + rb" +" + _NUMBER + rb" +" + _NUMBER), "bruker", 1.0),
    (re.compile(rb"# Pixel_size " + _NUMBER + rb" m x " + _NUMBER + rb" m"), "pixel", 1.0),
    (re.compile(rb"# Count_cutoff " + _NUMBER + rb" counts"), "saturation_value", 1.0),
    (re.compile(rb"PSize_1 *= *" + _NUMBER + rb" *(?:m *)?;"), "pixel_size_x", 1.0),
    (re.compile(rb"PSize_2 *= *" + _NUMBER + rb" *(?:m *)?;"), "pixel_size_y", 1.0),
    (re.compile(rb"WaveLength *= *" + _NUMBER + rb" *(?:m *)?;"), "wavelength", 1e10),
)
# fabio keeps state while it opens a file; one at a time.
_LOCK = threading.RLock()


def recognise(path: Path, head: bytes) -> bool:
    """The first bytes of TIFF, CBF, EDF or GADDS."""
    return any(pattern.match(head) for pattern, _ in MAGIC)


def read(paths: list[Path], *, wavelength: float | None = None) -> xr.Dataset:
    """Return lazy frames, one image a chunk; every frame of a file of several.

    Parameters
    ----------
    paths
        Images of one detector, in order.
    wavelength
        In angstrom, where the header has none.

    Raises
    ------
    ReadError
        An image is cut short or damaged, or the images differ in shape.
    """
    import dask.array as da

    stated = {} if wavelength is None else {"wavelength": positive("wavelength", wavelength)}
    whole, lost = _whole_images(paths)
    shape, dtype = _first(whole[0][0])
    parts = [Image(path, number, shape, dtype).lazily() for path, number, _ in whole]
    array = da.stack(parts) if len(parts) > 1 else parts[0][None]
    headers = {path: header_facts(path) for path in dict.fromkeys(path for path, _, _ in whole)}
    attrs = {key: value for key, value in headers[whole[0][0]].items() if key != "exposure"}
    facts = Facts(attrs=attrs | stated, overflow=overflow_values(dtype, None))
    frame = np.array([at for _, _, at in whole], np.int64)
    result = frames_dataset(array, frame, facts, lost=lost)
    exposure = np.array([headers[path].get("exposure", np.nan) for path, _, _ in whole])
    if np.isfinite(exposure).all():
        result = result.assign_coords(exposure=quantity("frame", exposure, "s", "exposure time"))
    if len(paths) > 1:
        names = np.array([path.name for path, _, _ in whole])
        result = result.assign_coords(file=quantity("frame", names, "", "file"))
    return result


def _whole_images(paths: list[Path]) -> tuple[list[tuple[Path, int, int]], list[int]]:
    """Return file, number in the file and number in the series of each frame, and the numbers of those lost."""
    whole: list[tuple[Path, int, int]] = []
    lost: list[int] = []
    reasons: list[str] = []
    for path in paths:
        start = len(whole) + len(lost)
        try:
            n = n_frames(path)
        except ReadError as error:
            if len(paths) == 1:
                raise
            lost.append(start)
            reasons.append(str(error))
            continue
        whole += [(path, i, start + i) for i in range(n)]
    if not whole:
        raise ReadError(f"{paths[0].name}: none of the {len(paths)} images is whole; {reasons[0]}")
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(paths)} images are lost, the others keep their numbers: {'; '.join(reasons[:5])}"
            + (f" and {len(reasons) - 5} more" if len(reasons) > 5 else ""),
            UserWarning,
            stacklevel=4,
        )
    return whole, lost


@dataclass(frozen=True)
class Image:
    """One frame in an image file, read when asked for."""

    path: Path
    number: int
    shape: tuple[int, int]
    dtype: np.dtype

    def load(self) -> np.ndarray:
        """Return the pixels, or raise ReadError."""
        data = load_frame(self.path, self.number)
        if data.shape != self.shape or data.dtype != self.dtype:
            raise ReadError(
                f"{self.path.name}: is {data.shape} {data.dtype}, the series began with {self.shape} {self.dtype}; "
                "images of different kinds are opened apart"
            )
        return data

    def lazily(self) -> Any:
        """Return a dask array (y, x)."""
        import dask.array as da
        from dask import delayed
        from dask.base import tokenize

        name = "image-" + tokenize(str(self.path), self.number, self.path.stat().st_mtime_ns)
        value = delayed(Image.load, pure=True)(self, dask_key_name=name)
        return da.from_delayed(value, self.shape, self.dtype, name=f"{name}-array")


def load_frame(path: Path, number: int) -> np.ndarray:
    """Return the pixels of one frame of a file, or raise ReadError."""
    with _opened(path) as image:
        return np.asarray(image.get_frame(number).data if number else image.data)


def header_facts(path: Path) -> dict[str, Any]:
    """Return exposure, pixel size, wavelength and saturation as far as the header says so plainly."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    facts: dict[str, Any] = {}
    for pattern, key, scale in _HEADER:
        found = pattern.search(head)
        if found is None:
            continue
        values = [float(group) * scale for group in found.groups()]
        if key == "bruker" and values[1] > 0:
            facts["wavelength"] = values[1]
            if values[2] > values[1]:
                facts["wavelength_alpha2"] = values[2]
        elif key == "pixel" and values[0] == values[1]:
            facts["pixel_size_x"] = facts["pixel_size_y"] = values[0]
        elif key not in ("bruker", "pixel") and values[0] > 0:
            facts[key] = values[0]
    return facts


def _first(path: Path) -> tuple[tuple[int, int], np.dtype]:
    with _opened(path) as image:
        data = image.data
        if data is None or data.ndim != 2 or data.dtype.kind not in "iuf" or not data.size:
            raise ReadError(f"{path.name}: holds no grey image (y, x)")
        return data.shape, data.dtype


def n_frames(path: Path) -> int:
    """Return how many frames a file has, or raise ReadError where it is not whole."""
    n = check_whole(path)
    if n is None:
        with _opened(path) as image:
            n = int(image.nframes)
    return n


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an image; what fabio only logs about a damaged file is an error here."""
    import fabio

    heard: list[str] = []
    handler = _Listener(heard)
    logger = logging.getLogger("fabio")
    with _LOCK:
        logger.addHandler(handler)
        passes_on, logger.propagate = logger.propagate, False
        try:
            check_whole(path)
            with fabio.open(str(path)) as image:
                yield image
            if heard:
                raise ReadError(f"{path.name}: cannot be read as an image: {heard[0]}")
        except BatlabError:
            raise
        # fabio's readers raise whatever their parsing runs into.
        except Exception as error:
            told = heard[0] if heard else f"{type(error).__name__}: {error}"
            raise ReadError(f"{path.name}: cannot be read as an image: {told}") from error
        finally:
            logger.propagate = passes_on
            logger.removeHandler(handler)


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._heard = heard

    def emit(self, entry: logging.LogRecord) -> None:
        self._heard.append(entry.getMessage())
