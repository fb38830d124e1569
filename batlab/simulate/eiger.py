"""What the detector leaves behind: master and data files as an Eiger's, and the .poni of its calibration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from batlab.constants import HC
from batlab.simulate.detector import Detector

FRAMES_PER_FILE = 100


def write_data(folder: Path, name: str, frames: Iterable[np.ndarray], detector: Detector, n_frames: int) -> list[Path]:
    """Write uint32 `frames` (y, x) into ``<name>_data_000001.h5`` and on, bitshuffle-LZ4, one frame a chunk."""
    import h5py
    import hdf5plugin

    arriving = iter(frames)
    paths: list[Path] = []
    for first in range(0, n_frames, FRAMES_PER_FILE):
        count = min(FRAMES_PER_FILE, n_frames - first)
        path = folder / f"{name}_data_{len(paths) + 1:06d}.h5"
        paths.append(path)
        with h5py.File(path, "w") as file:
            group = _group(_group(file, "entry", "NXentry"), "data", "NXdata")
            stack = group.create_dataset(
                "data",
                (count, *detector.shape),
                np.uint32,
                chunks=(1, *detector.shape),
                compression=hdf5plugin.Bitshuffle(cname="lz4"),
            )
            stack.attrs["image_nr_low"], stack.attrs["image_nr_high"] = first + 1, first + count
            for index in range(count):
                stack[index] = next(arriving)
    return paths


def write_master(
    path: Path,
    data: list[Path],
    detector: Detector,
    *,
    mask: np.ndarray,
    wavelength: float,
    start: float,
    timing: tuple[int, float, float],
) -> Path:
    """Write the master file: links to the `data` files beside it, and the state of the instrument.

    `wavelength` in angstrom, `start` of the first exposure in Unix s, `timing` as number of frames, exposure and
    period in s.
    """
    import h5py

    began = datetime.fromtimestamp(start, UTC).isoformat(timespec="milliseconds")
    with h5py.File(path, "w") as file:
        entry = _group(file, "entry", "NXentry")
        file.attrs["default"] = "entry"
        entry.attrs["default"] = "data"
        entry["start_time"] = began
        links = _group(entry, "data", "NXdata")
        for number, linked in enumerate(data, start=1):
            links[f"data_{number:06d}"] = h5py.ExternalLink(linked.name, "/entry/data/data")
        instrument = _group(entry, "instrument", "NXinstrument")
        beam = _group(instrument, "beam", "NXbeam")
        _value(beam, "incident_wavelength", wavelength, "angstrom")
        _write_detector(instrument, detector, mask=mask, wavelength=wavelength, began=began, timing=timing)
    return path


def _write_detector(
    instrument, detector: Detector, *, mask: np.ndarray, wavelength: float, began: str, timing: tuple[int, float, float]
) -> None:
    n_frames, exposure, period = timing
    row, column, way = detector.beam_centre()
    group = _group(instrument, "detector", "NXdetector")
    group["description"] = f"batlab virtual Eiger ({detector.name})"
    for name in ("x_pixel_size", "y_pixel_size"):
        _value(group, name, detector.pixel, "m")
    _value(group, "detector_distance", way, "m")
    _value(group, "beam_center_x", column, "pixel")
    _value(group, "beam_center_y", row, "pixel")
    _value(group, "count_time", exposure, "s")
    _value(group, "frame_time", period, "s")
    group["bit_depth_image"] = np.uint32(32)
    group["pixel_mask_applied"] = np.uint32(1)
    specific = _group(group, "detectorSpecific", "NXcollection")
    specific["data_collection_date"] = began
    specific["nimages"], specific["ntrigger"] = np.uint64(n_frames), np.uint64(1)
    specific["y_pixels_in_detector"], specific["x_pixels_in_detector"] = map(np.uint32, detector.shape)
    _value(specific, "photon_energy", HC / wavelength, "eV")
    specific.create_dataset("pixel_mask", data=mask, chunks=mask.shape, compression="gzip")


def write_poni(path: Path, detector: Detector, *, wavelength: float, start: float) -> Path:
    """Write the calibration as .poni 2.1, its orientation stated (3: rows count upwards, columns to the right)."""
    config = {
        "pixel1": detector.pixel,
        "pixel2": detector.pixel,
        "max_shape": list(detector.shape),
        "orientation": 3,
    }
    lines = [
        f"# Calibration done on {datetime.fromtimestamp(start, UTC):%a %b %d %H:%M:%S %Y}",
        "poni_version: 2.1",
        "Detector: Detector",
        f"Detector_config: {json.dumps(config)}",
        f"Distance: {detector.distance!r}",
        *(f"Poni{i}: {value!r}" for i, value in enumerate(detector.poni, start=1)),
        *(f"Rot{i}: {value!r}" for i, value in enumerate(detector.rotation, start=1)),
        f"Wavelength: {wavelength * 1e-10!r}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _group(parent, name: str, kind: str):
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def _value(group, name: str, value: float, units: str) -> None:
    group[name] = float(value)
    group[name].attrs["units"] = units
