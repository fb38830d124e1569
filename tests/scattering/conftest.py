"""Small stacks of frames in files, as an Eiger writes them, and the geometry that goes with them."""

import importlib.util
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import hdf5plugin
import numpy as np
import pytest

from batlab.io import Geometry

# Larger scenes and pyFAI beside them, imported by the tests as `scattering_scenes`.
_spec = importlib.util.spec_from_file_location("scattering_scenes", Path(__file__).with_name("scenes.py"))
sys.modules["scattering_scenes"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["scattering_scenes"])

SHAPE = (64, 80)
CONFIG = '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [64, 80]}'
GEOMETRY = Geometry(0.05, 0.002, 0.003, 0.02, -0.03, 0.1, wavelength=0.7, detector_config=CONFIG, shape=SHAPE,
                    orientation_stated=True)  # fmt: skip


def counts(n_frames, seed=0):
    return np.random.default_rng(seed).poisson(3, (n_frames, *SHAPE)).astype(np.uint32)


def write_stack(path, data):
    """One file, bitshuffle-LZ4, one frame a chunk."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        group = entry.create_group("data")
        entry.attrs["NX_class"], group.attrs["NX_class"] = "NXentry", "NXdata"
        chunks = (1, *data.shape[1:])
        group.create_dataset("data", data=data, chunks=chunks, compression=hdf5plugin.Bitshuffle(cname="lz4"))
    return path


def write_series(folder, data, per_file):
    """A master file with links to data files beside it."""
    with h5py.File(folder / "run_master.h5", "w") as master:
        entry = master.create_group("entry")
        links = entry.create_group("data")
        entry.attrs["NX_class"], links.attrs["NX_class"] = "NXentry", "NXdata"
        for number, first in enumerate(range(0, len(data), per_file), start=1):
            part = write_stack(folder / f"run_data_{number:06d}.h5", data[first : first + per_file])
            links[f"data_{number:06d}"] = h5py.ExternalLink(part.name, "/entry/data/data")
    return folder / "run_master.h5"


def damage(path, frame):
    """Turn the middle of a frame's chunk over."""
    with h5py.File(path, "r") as file:
        info = file["entry/data/data"].id.get_chunk_info_by_coord((frame, 0, 0))
    with open(path, "r+b") as file:
        file.seek(info.byte_offset + 12 + 4)
        content = file.read(info.size - 16)
        file.seek(info.byte_offset + 12)
        file.write(b"\xff\xff\xff\xff" + bytes(255 - byte for byte in content))


def assert_same_bits(one, other):
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        first, second = np.asarray(one[name]), np.asarray(other[name])
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second, err_msg=str(name))


@pytest.fixture
def stacks():
    """Return what the tests of series share."""
    return SimpleNamespace(
        SHAPE=SHAPE, GEOMETRY=GEOMETRY, counts=counts, write_series=write_series, damage=damage,
        assert_same_bits=assert_same_bits,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Return a folder with a master file, 150 frames in two data files, and the pickled geometry."""
    write_series(tmp_path, counts(150), per_file=100)
    (tmp_path / "geometry").write_bytes(pickle.dumps(GEOMETRY))
    return tmp_path
