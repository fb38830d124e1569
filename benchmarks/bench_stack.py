"""A compressed stack from file to patterns, end to end, beside h5py + pyFAI and the limit that LZ4 alone sets.

    python benchmarks/bench_stack.py                # Eiger 4M and 9M: some minutes, 1.2 GB in the temporary folder
    python benchmarks/bench_stack.py --detectors eiger_4m --frames 100

Bitshuffle-LZ4 frames of few counts, 2000 bins (3000 for 9 Mpix), Poisson errors, mask, polarisation, no splitting. All
ways read the same file from the page cache. The peers are timed on fewer frames and told per frame. "LZ4 alone" unpacks
the same chunks with LZ4_decompress_safe into a buffer of one block and does nothing else.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
from stack import write_stack

HERE = Path(__file__).parent
WORK = {"eiger_4m": ("Eiger4M", (2167, 2070), 2000), "eiger2_9m": ("Eiger2_9M", (3262, 3108), 3000)}
LOOP = """
#include <stdint.h>
#include "lz4.h"
static uint32_t be(const unsigned char *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
int64_t alone(const unsigned char *chunk, int64_t size, char *block) {
  int64_t at = 12, got = 0, room = be(chunk + 8);
  while (at + 4 <= size) {
    int64_t n = be(chunk + at);
    if (at + 4 + n > size) break;
    got += LZ4_decompress_safe((const char *)chunk + at + 4, block, (int)n, (int)room);
    at += 4 + n;
  }
  return got;
}
"""


def lz4_alone() -> ctypes.CDLL:
    """Return the vendored LZ4 in a loop over a chunk's blocks, compiled here."""
    folder = Path(tempfile.mkdtemp())
    (folder / "loop.c").write_text(LOOP)
    vendor = HERE.parent / "batlab/_kernels/vendor/lz4"
    target = folder / "loop.so"
    sources = [str(folder / "loop.c"), str(vendor / "lz4.c")]
    subprocess.run(["cc", "-O3", "-shared", "-fPIC", f"-I{vendor}", *sources, "-o", str(target)], check=True)
    library = ctypes.CDLL(str(target))
    library.alone.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_void_p]
    library.alone.restype = ctypes.c_int64
    return library


def geometry_of(detector: str):
    from batlab.io import Geometry

    name, shape, _ = WORK[detector]
    y, x = (shape[0] / 2) * 75e-6, (shape[1] / 2) * 75e-6
    return Geometry(0.2, y, x, 0.0, 0.0, 0.0, 0.41, name, '{"orientation": 3}', 75e-6, 75e-6, shape, 3, True)


def ways(folder: Path, detector: str, threads: int) -> dict[str, tuple[int, Callable[[int], object]]]:
    """Return name -> (frames for one round, what does so many)."""
    import batlab as bl

    n_bins = WORK[detector][2]
    geometry = geometry_of(detector)
    master = next(folder.glob("*_master.h5"))
    files = sorted(folder.glob("*_data_*.h5"))
    series = bl.open(master, chunks=8)
    mask = np.asarray(series["mask"].values)
    plan = bl.scattering.Integrator(geometry, n_bins=n_bins, mask=mask)
    integrators = [geometry.pyfai() for _ in range(threads)]  # one after the other: set up at once they can crash
    opened = [h5py.File(file)["entry/data/data"] for file in files]
    places = [(array, i) for array in opened for i in range(len(array))]
    limit = lz4_alone()
    chunks = [array.id.read_direct_chunk((i, 0, 0))[1] for array, i in places[:8]]

    def pyfai(number: int, i: int) -> None:
        array, row = places[i % len(places)]
        integrators[number].integrate1d_ng(
            array[row], n_bins, unit="q_A^-1", mask=mask, error_model="poisson", polarization_factor=0.99,
            method=("no", "csc", "cython"),
        )  # fmt: skip

    def shared(work: Callable[[int, int], object], n: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda t: [work(t, i) for i in range(t, n, threads)], range(threads)))

    buffers = [ctypes.create_string_buffer(1 << 16) for _ in range(threads)]
    for i in range(threads):
        pyfai(i, 0)
    found: dict[str, tuple[int, Callable[[int], object]]] = {
        "batlab: open, integrate": (len(places), lambda n: plan(series.isel(frame=slice(0, n)))),
        "h5py + pyFAI no/csc, loop": (24, lambda n: [pyfai(0, i) for i in range(n)]),
        "LZ4 alone": (
            400,
            lambda n: shared(lambda t, i: limit.alone(chunks[i % 8], len(chunks[i % 8]), buffers[t]), n),
        ),
        "read_direct_chunk alone": (200, lambda n: [a.id.read_direct_chunk((i, 0, 0)) for a, i in places[:n]]),
        "h5py + hdf5plugin, d[i] alone": (24, lambda n: [array[i] for array, i in places[:n]]),
    }
    if threads > 1:
        found[f"h5py + pyFAI no/csc, {threads} Python threads"] = (24, lambda n: shared(pyfai, n))
    return found


def measure(folder: Path, detector: str, threads: int, rounds: int) -> list[dict[str, object]]:
    contestants = ways(folder, detector, threads)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(rounds + 1):
        for name, (n, call) in contestants.items():
            start = time.perf_counter()
            call(n)
            if run:
                times[name].append(1e3 * (time.perf_counter() - start) / n)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        {"detector": detector, "way": name, "threads": threads, "minimum": min(spent),
         "median": statistics.median(spent), "peak_mb": memory}
        for name, spent in times.items()
    ]  # fmt: skip


def collect(detectors: list[str], n_frames: int, rounds: int, threads: list[int]) -> list[dict[str, object]]:
    """Return the rows of all detectors and numbers of threads, each measured in a process of its own."""
    found: list[dict[str, object]] = []
    for detector in detectors:
        folder = Path(tempfile.mkdtemp())
        try:
            write_stack(folder, n_frames, detector)
            for number in threads:
                command = [sys.executable, "-W", "ignore", __file__, "--here", str(folder), "--detectors", detector]
                done = subprocess.run(
                    [*command, "--threads", str(number), "--rounds", str(rounds)],
                    env={**os.environ, "OMP_NUM_THREADS": str(number), "OMP_WAIT_POLICY": "passive"},
                    check=True, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
                found += json.loads(done.stdout.splitlines()[-1])
        finally:
            shutil.rmtree(folder)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Compressed stacks end to end.")
    parser.add_argument("--detectors", nargs="+", choices=list(WORK), default=list(WORK))
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here, options.detectors[0], options.threads[0], options.rounds)))
        return
    told = ", ".join(f"{name} {version(name)}" for name in ("batlab", "pyFAI", "h5py", "hdf5plugin"))
    print(f"{told}, numpy {np.__version__}, {platform.machine()}", flush=True)
    for row in collect(options.detectors, options.frames, options.rounds, options.threads):
        print(
            f"{row['detector']:10s} {row['threads']} thread(s) {row['way']:42s} "
            f"{row['minimum']:7.2f} {row['median']:7.2f} ms {1e3 / row['minimum']:6.0f} frames/s"
        )


if __name__ == "__main__":
    main()
