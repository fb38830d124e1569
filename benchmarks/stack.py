"""Stacks as an Eiger writes them, in seconds: a few distinct frames of few counts, their compressed chunks repeated."""

import os
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

# (rows, columns) of the image, (rows, columns) of a module, (rows, columns) of a gap.
DETECTORS = {
    "eiger_4m": ((2167, 2070), (514, 1030), (37, 10)),
    "eiger2_9m": ((3262, 3108), (512, 1028), (38, 12)),
}
GAP = 2**32 - 1
DISTANCE, PIXEL, WAVELENGTH, A = 0.2, 75e-6, 0.41e-10, 4.156826e-10  # metre; LaB6


def gaps(detector="eiger_4m"):
    """Return True (y, x) between the modules, and at a few dead pixels."""
    shape, module, gap = DETECTORS[detector]
    y, x = (np.arange(n) % (m + g) >= m for n, m, g in zip(shape, module, gap))
    dead = np.random.default_rng(5).random(shape) < 2e-5
    return y[:, None] | x[None, :] | dead


def expected(detector="eiger_4m", background=9.0, rings=15.0):
    """Return mean counts (y, x): a smooth background and the rings of a simple cubic lattice, centre of the image."""
    shape = DETECTORS[detector][0]
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot(y - shape[0] / 2 + 0.3, x - shape[1] / 2 - 0.7) * PIXEL
    counts = background * np.exp(-radius / 0.08)
    for n in range(1, 30):
        sine = WAVELENGTH * np.sqrt(n) / (2 * A)
        if n % 8 != 7 and sine < 1:
            at = DISTANCE * np.tan(2 * np.arcsin(sine))
            counts += rings / np.sqrt(n) * np.exp(-0.5 * ((radius - at) / (1.2 * PIXEL)) ** 2)
    return counts


def frames(n, detector="eiger_4m", seed=0):
    """Return n distinct frames (frame, y, x) uint32, gaps at 2^32 - 1."""
    rng, mean, gap = np.random.default_rng(seed), expected(detector), gaps(detector)
    out = np.empty((n, *mean.shape), np.uint32)
    for frame in out:
        frame[:] = rng.poisson(mean)
        frame[gap] = GAP
    return out


def write_stack(folder, n_frames, detector="eiger_4m", *, distinct=4, per_file=1000, seed=0, filters=None):
    """Write a master file and its data files into `folder`; return the master's path and the distinct frames.

    Frame i is distinct frame i modulo `distinct`. The compressed chunks are written as they are, so 400 frames of an
    Eiger 4M (2.2 MB each) take a second beyond the making of the distinct ones.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = frames(distinct, detector, seed)
    chunks = _compressed(folder / "distinct.h5", images, filters or hdf5plugin.Bitshuffle())
    master = folder / "run_master.h5"
    with h5py.File(master, "w") as file:
        group = file.create_group("entry/data")
        for k, start in enumerate(range(0, n_frames, per_file), 1):
            name = f"run_data_{k:06}.h5"
            rows = range(start, min(start + per_file, n_frames))
            _write(folder / name, rows, chunks, images, filters or hdf5plugin.Bitshuffle())
            group[f"data_{k:06}"] = h5py.ExternalLink(name, "/entry/data/data")
    return master, images


def _compressed(path, images, filters):
    with h5py.File(path, "w") as file:
        array = file.create_dataset("data", data=images, chunks=(1, *images.shape[1:]), **filters)
        chunks = [array.id.read_direct_chunk((i, 0, 0)) for i in range(len(images))]
    os.remove(path)
    return chunks


def _write(path, rows, chunks, images, filters):
    size = images.shape[1:]
    with h5py.File(path, "w") as file:
        array = file.create_dataset("entry/data/data", (len(rows), *size), images.dtype, chunks=(1, *size), **filters)
        for row, number in enumerate(rows):
            mask, content = chunks[number % len(chunks)]
            array.id.write_direct_chunk((row, 0, 0), content, mask)
