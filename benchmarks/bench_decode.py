"""Unpacking a compressed frame beside hdf5plugin and the bitshuffle package: Eiger 4M and 9M, few counts.

    python benchmarks/bench_decode.py

The same chunks in one process; the competitors take turns. Times are milliseconds a frame, minimum and median.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
from stack import DETECTORS, write_stack

from batlab._kernels.decode import decode_blocks
from batlab.io.chunks import ChunkSource, kept_open
from batlab.io.filters import Layout
from batlab.io.hdf5_files import StoredArray

try:
    import bitshuffle
except ImportError:
    bitshuffle = None


def timed(ways, rounds):
    """Return name -> seconds of each round; every way takes its turn in each."""
    found = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            found[name].append(time.perf_counter() - start)
    return found


def measure(detector, rounds, n=8):
    folder = Path(tempfile.mkdtemp())
    try:
        _, images = write_stack(folder, n, detector)
        path = next(folder.glob("*_data_*.h5"))
        with h5py.File(path) as file, kept_open():
            stored = file["entry/data/data"]
            array = StoredArray(str(path), "/entry/data/data", stored.shape, stored.dtype, layout=Layout.of(stored))
            source = ChunkSource((array,), np.zeros(n, np.int32), np.arange(n))
            chunks = [source.raw(i)[0][2] for i in range(n)]
            out, buffer = np.empty((n, *images.shape[1:]), np.uint32), np.empty(images.shape[1:], np.uint32)
            rows = out.reshape(n, -1).view(np.uint8)
            ways = {
                "read_direct_chunk alone": lambda: [source.raw(i) for i in range(n)],
                "batlab, chunks in memory, 1 thread": lambda: decode_blocks(chunks, rows, 4),
                "batlab, chunks in memory, 2 threads": lambda: decode_blocks(chunks, rows, 4, n_threads=2),
                "batlab, from the file": lambda: source.decode(range(n), out),
                "h5py + hdf5plugin, d[i]": lambda: [stored[i] for i in range(n)],
                "h5py + hdf5plugin, read_direct": lambda: [
                    stored.read_direct(buffer, np.s_[i], np.s_[:]) for i in range(n)
                ],
            }
            if bitshuffle is not None:
                size, block = images[0].size, int.from_bytes(chunks[0][8:12], "big") // 4
                packed = [np.frombuffer(chunk, np.uint8, offset=12) for chunk in chunks]
                ways["bitshuffle package (its own threads)"] = lambda: [
                    bitshuffle.decompress_lz4(one, (size,), np.dtype(np.uint32), block) for one in packed
                ]
            found = timed(ways, rounds)
        assert np.array_equal(out, np.resize(images, out.shape))
        print(f"\n{detector} {images.shape[1:]}, {sum(map(len, chunks)) / n / 1e6:.2f} MB a frame")
        for name, times in found.items():
            each = [1e3 * value / n for value in times]
            print(f"{name:40}{min(each):8.2f}{statistics.median(each):8.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, h5py {version('h5py')}, hdf5plugin {version('hdf5plugin')}")
    for name in DETECTORS:
        measure(name, arguments.rounds)
