"""Instruments of HEXRD (``.yml``): several flat panels, each with its place in a stitched image."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from batlab.constants import HC
from batlab.errors import ReadError, did_you_mean
from batlab.io.poni import Geometry
from batlab.schema import file_sha256

NAME = "HEXRD instrument (.yml)"
HINTS: frozenset[str] = frozenset()
SIZE_LIMIT = 2**22  # bytes; an instrument of a hundred panels has less
_KEY = re.compile(rb"^(detectors|beam)\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Panel:
    """One flat panel: its name and group, its `geometry`, and where it lies in the stitched image.

    ``rows`` and ``columns`` are first and one past the last; ``image.isel(**panel.place)`` cuts it out.
    """

    name: str
    group: str
    geometry: Geometry
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def place(self) -> dict[str, slice]:
        """Where the panel lies, for ``isel``."""
        return {"y": slice(*self.rows), "x": slice(*self.columns)}


@dataclass(frozen=True)
class Instrument:
    """Panels of an instrument, and the beam's energy in eV.

    ``instrument["ff1_0_0"]`` is a panel; ``instrument.group("ff1")`` those of one stitched image.
    """

    panels: tuple[Panel, ...]
    energy: float
    source: str = ""
    source_sha256: str = ""

    def __getitem__(self, name: str) -> Panel:
        for panel in self.panels:
            if panel.name == name:
                return panel
        names = [panel.name for panel in self.panels]
        raise KeyError(f"the instrument has {', '.join(names)}, got {name!r}{did_you_mean(name, names)}")

    def group(self, name: str) -> Instrument:
        """Return the panels of one group, which are one stitched image.

        Raises
        ------
        KeyError
            There is no such group.
        """
        panels = tuple(panel for panel in self.panels if panel.group == name)
        if not panels:
            groups = sorted({panel.group for panel in self.panels})
            raise KeyError(f"the instrument has the groups {', '.join(groups)}, got {name!r}")
        return replace(self, panels=panels)

    def with_geometries(self, geometries: Mapping[str, Geometry]) -> Instrument:
        """Return the instrument with other geometries of some panels, by name.

        Raises
        ------
        KeyError
            There is no such panel.
        """
        for name in geometries:
            self[name]
        moved = (replace(panel, geometry=geometries.get(panel.name, panel.geometry)) for panel in self.panels)
        return replace(self, panels=tuple(moved))


def recognise(path: Path, head: bytes) -> bool:
    """Whether it is YAML that starts with a beam and has detectors. Never raises."""
    if path.suffix.lower() not in (".yml", ".yaml", ".hexrd") or b"\0" in head:
        return False
    return bool(_KEY.search(head))


def read(paths: list[Path]) -> Instrument:
    """Return the panels of an instrument.

    HEXRD's frame has x to the right and y up as the beam sees them, and z against the beam; a panel's ``tilt`` is the
    rotation vector that turns it from facing the beam, ``translation`` its centre [mm], and its rows count downward
    from the top (doi:10.1107/S0021889812035911 and HEXRD's documentation). Each panel becomes a `Geometry` of
    orientation 1, whose azimuth is pyFAI's; a beam that is not along -z is turned there.

    Raises
    ------
    ReadError
        It is no such YAML, a value is missing or impossible, a panel is not planar, or has a distortion.
    """
    if len(paths) != 1:
        raise ReadError(f"{paths[0].name}: an instrument is one file, got {len(paths)}; open them one by one")
    path = paths[0]
    tree = _tree(path)
    try:
        energy = float(tree["beam"]["energy"]) * 1e3
        vector = tree["beam"].get("vector", {})
        beam = beam_direction(float(vector.get("azimuth", 90.0)), float(vector.get("polar_angle", 90.0)))
        detectors = dict(tree["detectors"])
        if not (math.isfinite(energy) and energy > 0) or not detectors:
            raise ValueError(f"energy must be positive, in keV, got {tree['beam']['energy']}; panels {len(detectors)}")
        sha = file_sha256(path)
        panels = tuple(_panel(str(name), entry, beam, energy, path, sha) for name, entry in detectors.items())
    except KeyError as error:
        raise ReadError(f"{path.name}: has no {error}; it is no complete instrument") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ReadError(f"{path.name}: {error}") from error
    return Instrument(panels, energy, str(path), sha)


def beam_direction(azimuth: float, polar: float) -> np.ndarray:
    """Return the unit vector along which the beam travels, from HEXRD's angles in degree.

    >>> beam_direction(90.0, 90.0).round(12).tolist()
    [-0.0, -0.0, -1.0]
    """
    a, p = np.radians([azimuth, polar])
    return -np.array([np.sin(p) * np.cos(a), np.cos(p), np.sin(p) * np.sin(a)])


def rotation_of(vector: np.ndarray) -> np.ndarray:
    """Return the matrix of a rotation vector: axis times angle in radian (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def geometry_of(
    tilt: np.ndarray, centre: np.ndarray, beam: np.ndarray, shape: tuple[int, int], pixel: tuple[float, float]
) -> dict[str, Any]:
    """Return distance, poni1, poni2 [m] and rot1 to rot3 [rad] of a panel in pyFAI's convention, orientation 1.

    pyFAI's axes are up, left (as the beam sees it) and along the beam; with orientation 1 rows and columns are counted
    from the far corner, so that rows grow upward and columns to the left.
    """
    turn = rotation_of(tilt)
    up, left = turn[:, 1], -turn[:, 0]
    # Up, left, along the beam; made square to each other where the beam is not along -z.
    third = beam / np.linalg.norm(beam)
    first = np.array([0.0, 1.0, 0.0]) - third[1] * third
    first /= np.linalg.norm(first)
    frame = np.stack([first, np.cross(first, third), third])
    frame[1] *= np.sign(frame[1] @ np.array([-1.0, 0.0, 0.0])) or 1.0
    rows, columns = frame @ up, frame @ left
    normal = np.cross(rows, columns)
    middle = frame @ centre * 1e-3
    distance = float(normal @ middle)
    corner = [-float(axis @ middle) for axis in (rows, columns)]
    matrix = np.stack([rows, columns, normal], axis=1)
    # matrix = Rz(rot3) Ry(-rot2) Rx(-rot1)
    rot2 = math.asin(max(-1.0, min(1.0, float(matrix[2, 0]))))
    rot1 = math.atan2(-float(matrix[2, 1]), float(matrix[2, 2]))
    rot3 = math.atan2(float(matrix[1, 0]), float(matrix[0, 0]))
    return {
        "distance": distance,
        "poni1": corner[0] + shape[0] * pixel[0] / 2,
        "poni2": corner[1] + shape[1] * pixel[1] / 2,
        "rot1": rot1,
        "rot2": rot2,
        "rot3": rot3,
    }


def _panel(name: str, entry: dict[str, Any], beam: np.ndarray, energy: float, path: Path, sha: str) -> Panel:
    kind = entry.get("detector_type", "planar")
    if kind != "planar":
        raise ValueError(f"panel {name} is {kind!r}, only planar panels are known")
    if entry.get("distortion"):
        raise ValueError(f"panel {name} has a distortion, which is not built; correct the image in HEXRD")
    pixels, transform = entry["pixels"], entry["transform"]
    shape = (int(pixels["rows"]), int(pixels["columns"]))
    size = (float(pixels["size"][0]) * 1e-3, float(pixels["size"][1]) * 1e-3)
    top, left = (int(value) for value in (pixels.get("roi") or (0, 0))[:2])
    tilt, centre = (_triple(transform[key], f"{key} of panel {name}") for key in ("tilt", "translation"))
    if min(*shape) < 1 or min(size) <= 0 or min(top, left) < 0 or max(shape) > 10**5:
        raise ValueError(f"panel {name} has {shape} pixels of {size} m from {(top, left)}")
    place = geometry_of(tilt, centre, beam, shape, size)
    if place["distance"] <= 0:
        raise ValueError(f"panel {name} faces away from the sample or lies behind it, which pyFAI's geometry lacks")
    config = {"pixel1": size[0], "pixel2": size[1], "max_shape": list(shape), "orientation": 1}
    geometry = Geometry(
        **place,
        wavelength=HC / energy,
        detector_config=json.dumps(config),
        pixel_size_y=size[0],
        pixel_size_x=size[1],
        shape=shape,
        orientation=1,
        orientation_stated=True,
        source=str(path),
        source_sha256=sha,
    )
    group = str(entry.get("group") or "")
    return Panel(name, group, geometry, (top, top + shape[0]), (left, left + shape[1]))


def _triple(value: Any, what: str) -> np.ndarray:
    numbers = np.asarray(value, float)
    if numbers.shape != (3,) or not np.isfinite(numbers).all():
        raise ValueError(f"{what} must be three finite numbers, got {value}")
    return numbers


def _tree(path: Path) -> dict[str, Any]:
    import yaml

    if path.stat().st_size > SIZE_LIMIT:
        raise ReadError(f"{path.name}: has {path.stat().st_size} bytes, an instrument has some thousand")
    text = path.read_bytes().decode("utf-8", "replace")
    # Aliases could blow a small file up to any size; HEXRD writes none.
    if re.search(r"^[^#\n]*[:\-]\s*[*&]\w", text, re.MULTILINE):
        raise ReadError(f"{path.name}: has YAML anchors or aliases, which HEXRD does not write")
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ReadError(f"{path.name}: is no YAML: {str(error)[:200]}") from error
    if not isinstance(tree, dict):
        raise ReadError(f"{path.name}: is no instrument but a {type(tree).__name__}")
    return tree
