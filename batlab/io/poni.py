"""Detector geometry: `.poni` files of pyFAI, versions 1 to 2.1 (3 without parallax), and how the image lies."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from batlab.errors import ReadError, choose
from batlab.io.atomic import replacing
from batlab.schema import file_sha256

NAME = "detector geometry (.poni)"
HINTS = frozenset({"orientation", "allow_links"})

ORIENTATIONS = (1, 2, 3, 4)  # corner of the origin, as in EXIF; 3 is pyFAI's own
SIZE_LIMIT = 2**20  # bytes; a .poni has some hundred
_KEY = re.compile(rb"^(distance|dist|poni1)\s*:", re.IGNORECASE | re.MULTILINE)
_NUMBERS = ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength")


@dataclass(frozen=True)
class Geometry:
    """Where the detector stands, in pyFAI's convention (doi:10.1107/S1600576715004306).

    Attributes
    ----------
    distance, poni1, poni2
        Sample to the point of normal incidence, and that point along rows (y) and columns (x), in metre.
    rot1, rot2, rot3
        Rotations in radian.
    wavelength
        In angstrom, or None where the file has none.
    detector, detector_config
        pyFAI's name of the detector and its settings as JSON.
    pixel_size_y, pixel_size_x
        In metre.
    shape
        Rows and columns, or None where neither file nor detector says.
    orientation, orientation_stated
        Corner of the image's origin (1 to 4, see `pyFAI.detectors.orientation`), and whether file or user said so.
        From 3, pyFAI's own, 2 is the image flipped up-down, 4 flipped left-right, 1 both.
    source, source_sha256
        The file.
    """

    distance: float
    poni1: float
    poni2: float
    rot1: float = 0.0
    rot2: float = 0.0
    rot3: float = 0.0
    wavelength: float | None = None
    detector: str = "Detector"
    detector_config: str = "{}"
    pixel_size_y: float = math.nan
    pixel_size_x: float = math.nan
    shape: tuple[int, int] | None = None
    orientation: int = 3
    orientation_stated: bool = False
    source: str = ""
    source_sha256: str = ""

    def pyfai(self, shape: tuple[int, int] | None = None) -> Any:
        """Return pyFAI's integrator for this geometry.

        Parameters
        ----------
        shape
            Rows and columns of the frames, for a detector that has no shape of its own.
        """
        from pyFAI.detectors import detector_factory
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        config = {**json.loads(self.detector_config), "orientation": self.orientation}
        detector = detector_factory(self.detector, config)
        if detector.shape is None and (shape or self.shape):
            detector.max_shape = detector.shape = shape or self.shape
        wavelength = None if self.wavelength is None else self.wavelength * 1e-10
        return AzimuthalIntegrator(
            self.distance,
            self.poni1,
            self.poni2,
            self.rot1,
            self.rot2,
            self.rot3,
            detector=detector,
            wavelength=wavelength,
        )

    @classmethod
    def from_pyfai(cls, geometry: Any, *, source: str = "", source_sha256: str = "") -> Geometry:
        """Return the geometry of a pyFAI `Geometry`, `AzimuthalIntegrator` or `PoniFile`.

        Raises
        ------
        ValueError
            Distance, pixel size or wavelength is not positive and finite, or parallax correction is on.
        """
        detector = geometry.detector
        if detector is None or not detector.pixel1 or not detector.pixel2:
            raise ValueError("the detector has no pixel size")
        if getattr(geometry, "parallax", None):
            raise ValueError("parallax correction is on, which is not built; switch it off in pyFAI")
        config = detector.get_config()
        metres = geometry.wavelength
        made = cls(
            distance=_number(geometry.dist, "distance"),
            **{key: _number(getattr(geometry, key) or 0.0, key) for key in ("poni1", "poni2", "rot1", "rot2", "rot3")},
            # 12 digits: a float's rounding in metre is no part of the wavelength.
            wavelength=None if metres is None else float(f"{float(metres) * 1e10:.12g}"),
            detector=type(detector).__name__,
            detector_config=json.dumps(config, default=lambda value: value.as_dict()),
            pixel_size_y=float(detector.pixel1),
            pixel_size_x=float(detector.pixel2),
            shape=None if detector.shape is None else (int(detector.shape[0]), int(detector.shape[1])),
            orientation=int(detector.orientation) or 3,
            orientation_stated=True,
            source=source,
            source_sha256=source_sha256,
        )
        lengths = {"distance": made.distance, "pixel size": made.pixel_size_y, "pixel width": made.pixel_size_x}
        for name, value in (lengths | ({} if metres is None else {"wavelength": metres})).items():
            if not (math.isfinite(value) and 0 < value < 1e4):
                raise ValueError(f"{name} must be positive, in metre, got {value}")
        return made


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file starts like a ``.poni``. Never raises."""
    keys = {match.lower() for match in _KEY.findall(head)}
    return (b"poni1" in keys and len(keys) > 1) or (path.suffix.lower() == ".poni" and b"\0" not in head)


def read(
    paths: list[Path], *, orientation: int | None = None, allow_links: str | PathLike | Iterable[str | PathLike] = ()
) -> Geometry:
    """Return the geometry that a ``.poni`` holds.

    Parameters
    ----------
    paths
        One file.
    orientation
        Corner of the image's origin, 1 to 4, where the file does not say or says it wrongly.
    allow_links
        Folders outside the file's own that its detector or spline file may lie in.

    Raises
    ------
    ReadError
        A value is missing or impossible, or the version is unknown.
    UnsafePathError
        It names a file outside its folder.

    Warns
    -----
    UserWarning
        The file leaves the orientation open, as all before version 2.1 do: a wrong one moves rings by about 1 %.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "det.poni")
    >>> _ = file.write_text("PixelSize1: 1e-4\\nPixelSize2: 1e-4\\nDistance: 0.2\\nPoni1: 0.05\\nPoni2: 0.05\\n")
    >>> read([file], orientation=3).distance
    0.2
    """
    if orientation is not None:
        choose("orientation", orientation, ORIENTATIONS)
    if len(paths) != 1:
        raise ReadError(f"{paths[0].name}: a geometry is one file, got {len(paths)}; open them one by one")
    path = paths[0]
    entries = _entries(path)
    config = _detector_config(path, entries)
    stated = bool(config.get("orientation"))
    if stated:
        _orientation(path, config["orientation"])
    if orientation is not None:
        config["orientation"] = orientation
    geometry = _through_pyfai(path, entries, config, allow_links)
    if orientation is None and not stated:
        _warn_orientation(path.name, entries.get("poni_version", "1"))
    return replace(
        geometry, orientation=orientation or geometry.orientation, orientation_stated=stated or orientation is not None
    )


def write(obj: Geometry, path: Path, *, overwrite: bool = False, progress: bool = False) -> None:
    """Write a ``.poni`` of version 2.1, which states the orientation, through pyFAI.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    """
    from pyFAI.io.ponifile import PoniFile

    with replacing(path, overwrite) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        PoniFile(data=obj.pyfai()).write(file)


def _entries(path: Path) -> dict[str, str]:
    if path.stat().st_size > SIZE_LIMIT:
        raise ReadError(f"{path.name}: has {path.stat().st_size} bytes, a .poni has some hundred")
    entries: dict[str, str] = {}
    for line in path.read_bytes().decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon and not line.lstrip().startswith("#"):
            entries[key.strip().lower()] = value.strip()
    if "dist" in entries:
        entries.setdefault("distance", entries.pop("dist"))
    for key in _NUMBERS:
        text = entries.get(key, "")
        if text.lower() in ("", "none"):
            entries.pop(key, None)
            if key in ("distance", "poni1", "poni2"):
                raise ReadError(f"{path.name}: has no {key!r}; the file may be truncated")
            continue
        try:
            finite = math.isfinite(float(text))
        except ValueError:
            finite = False
        if not finite:
            raise ReadError(f"{path.name}: {key} must be a number, got {text[:40]!r}")
    return entries


def _detector_config(path: Path, entries: dict[str, str]) -> dict[str, Any]:
    text = entries.get("detector_config")
    if text is None:
        return {}
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path.name}: detector_config is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise ReadError(f"{path.name}: detector_config must be a JSON object, got {text[:40]!r}")
    return {str(key).lower(): value for key, value in config.items()}


def _orientation(path: Path, value: Any) -> None:
    if value not in ORIENTATIONS or isinstance(value, bool):
        raise ReadError(f"{path.name}: orientation must be 1, 2, 3 or 4, got {value!r}")


def _through_pyfai(path: Path, entries: dict[str, str], config: dict[str, Any], allow_links: Any) -> Geometry:
    from pyFAI.io.ponifile import PoniFile

    entries = dict(entries)
    named = {key: str(value) for key, value in config.items() if "file" in key and value}
    if "splinefile" in entries and entries["splinefile"].lower() != "none":
        named["splinefile"] = entries["splinefile"]
    detector = entries.get("detector", "")
    if "/" in detector or "\\" in detector or Path(detector).suffix in (".h5", ".nxs", ".hdf5"):
        named["detector"] = detector
    for key, file in named.items():
        found = _file_beside(path, file, key, allow_links)
        (config if key in config else entries)[key] = found
    try:
        settings: dict[str, Any] = {**entries}
        if "detector_config" in entries:
            settings["detector_config"] = config
        poni = PoniFile(data=settings)
        return Geometry.from_pyfai(poni, source=str(path), source_sha256=file_sha256(path))
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ReadError(f"{path.name}: is no geometry that pyFAI understands: {error}") from error


def _file_beside(path: Path, file: str, key: str, allow_links: Any) -> str:
    from batlab.io.folders import Folders

    found = Folders.of(path, allow_links).locate(file, path, key)
    if not found.is_file():
        raise ReadError(f"{path.name}: {key} names {file}, which is missing")
    return str(found)


def _number(value: Any, name: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def _warn_orientation(name: str, version: str) -> None:
    warnings.warn(
        f"{name} (.poni version {version}) does not say how the image is oriented; 3, pyFAI's default, is assumed. "
        "If rings come out broad or shifted, the image was flipped when it was calibrated: flip it as then, "
        f"frames.isel(y=slice(None, None, -1)), or open the geometry with io.open({name!r}, orientation=2); "
        "orientation=3 confirms the default",
        UserWarning,
        stacklevel=2,
    )
