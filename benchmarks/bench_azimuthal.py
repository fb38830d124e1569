"""Azimuthal integration beside pyFAI and numpy: Eiger frames in memory, Poisson errors, every way of splitting.

    python benchmarks/bench_azimuthal.py                       # 4 and 9 Mpix, 1 and 2 threads: some minutes
    python benchmarks/bench_azimuthal.py --detectors 4M --threads 1

All ways bin the same frames in one process: mask, polarisation, solid angle. batlab's times are those of the whole call
on a series of eight frames or on one, from frames to intensities with sigma; the last rows are what nothing can beat.
Times are milliseconds a frame, minimum and median; the competitors take turns, so that a noisy machine hits all alike.
The ratio is that of the minimum to batlab's on a series at the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr

from batlab import scattering
from batlab.io import Geometry

SHAPE, N_BINS, N_FRAMES = (2167, 2070), 2000, 8
DETECTORS = {"4M": ("Eiger4M", SHAPE, N_BINS), "9M": ("Eiger2_9M", (3262, 3108), 3000)}
CAKE = (1000, 360)
WORKS = ("no", "bbox", "full", "cake no", "cake bbox")
ALGORITHMS = {
    "no": ("csc", "csr", "histogram"),
    "bbox": ("csc", "csr"),
    "full": ("csc", "csr"),
    "cake no": ("csc", "csr", "histogram"),
    "cake bbox": ("csc", "csr"),
}


@dataclass(frozen=True)
class Row:
    """One way of doing one work: milliseconds a frame."""

    detector: str
    work: str
    way: str
    threads: int
    minimum: float
    median: float


def simulated(n_frames: int, detector: str = "4M") -> tuple[Geometry, np.ndarray, np.ndarray]:
    """Return an Eiger's geometry, frames with powder rings of a few counts, and the mask of the gaps."""
    name, shape, _ = DETECTORS[detector]
    geometry = Geometry(
        0.2, 0.082, 0.075, 0.01, -0.02, 0.0, 0.45, name, '{"orientation": 3}', 7.5e-5, 7.5e-5, shape, 3, True
    )
    integrator = geometry.pyfai()
    q = integrator.center_array(shape, unit="q_A^-1")
    rings = 1 + 10 * np.exp(-(((q * 4) % 1 - 0.5) ** 2) / 0.005)
    mask = integrator.detector.mask.astype(bool)
    random = np.random.default_rng(0)
    frames = np.empty((n_frames, *shape), np.uint32)
    for frame in frames:
        frame[:] = random.poisson(rings)
        frame[mask] = 2**32 - 1
    return geometry, frames, mask


def rows(detector: str, threads: int, rounds: int) -> list[Row]:
    """Return the times of all ways, measured in this process."""
    geometry, frames, mask = simulated(N_FRAMES, detector)
    found: list[Row] = []
    for work in WORKS:
        contestants = {
            **_ours(work, detector, geometry, frames, mask),
            **_pyfai(work, detector, geometry, frames, mask),
        }
        found += _timed(contestants, detector, work, threads, rounds)
    return [*found, *_timed(_limits(geometry, detector, frames), detector, "limits", threads, rounds)]


def _ours(work: str, detector: str, geometry: Geometry, frames: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    series = xr.Dataset({"intensity": (("frame", "y", "x"), frames)}, attrs={"overflow": [2**32 - 1]})
    one, is_cake = series.isel(frame=slice(0, 1)), work.startswith("cake")
    plan = scattering.Integrator(
        geometry,
        n_bins=CAKE[0] if is_cake else DETECTORS[detector][2],
        n_azimuth=CAKE[1] if is_cake else None,
        split=work.split()[-1],
        mask=mask,
    )
    return {
        f"batlab, a series of {N_FRAMES}": (N_FRAMES, lambda: plan(series)),
        "batlab, one frame": (1, lambda: plan(one)),
    }


def _pyfai(work: str, detector: str, geometry: Geometry, frames: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    integrator, split = geometry.pyfai(), work.split()[-1]
    options = {
        "unit": "q_A^-1", "mask": mask, "error_model": "poisson", "polarization_factor": 0.99, "correctSolidAngle": True
    }  # fmt: skip

    def way(algorithm: str) -> Callable[[], object]:
        method = (split, algorithm, "cython")
        if work.startswith("cake"):
            return lambda: integrator.integrate2d_ng(frames[0], *CAKE, method=method, **options)
        return lambda: integrator.integrate1d_ng(frames[0], DETECTORS[detector][2], method=method, **options)

    return {f"pyFAI {split}/{algorithm}/cython": (1, way(algorithm)) for algorithm in ALGORITHMS[work]}


def _limits(geometry: Geometry, detector: str, frames: np.ndarray) -> dict[str, Any]:
    """Return numpy's way to one sum of the four, without errors, and reading a series once."""
    n_bins = DETECTORS[detector][2]
    q = geometry.pyfai().center_array(frames.shape[1:], unit="q_A^-1").ravel()
    bins = np.minimum((q - q.min()) / (q.max() - q.min()) * n_bins, n_bins - 1).astype(np.intp)
    counts, weights, wide = frames[0].ravel(), frames[0].ravel().astype(float), frames.reshape(-1).view(np.uint64)
    return {
        "numpy bincount of uint32, one sum of the four": (1, lambda: np.bincount(bins, counts, n_bins)),
        "numpy bincount of float64, one sum of the four": (1, lambda: np.bincount(bins, weights, n_bins)),
        "reading the frames once": (N_FRAMES, lambda: np.bitwise_or.reduce(wide)),
    }


def _timed(contestants: dict[str, Any], detector: str, work: str, threads: int, rounds: int) -> Iterator[Row]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(rounds + 1):
        for name, (n_frames, call) in contestants.items():
            start = time.perf_counter()
            call()
            if run:  # the first builds plans and look-up tables
                times[name].append(1e3 * (time.perf_counter() - start) / n_frames)
    for name, spent in times.items():
        yield Row(detector, work, name, threads, min(spent), statistics.median(spent))


def measured(detector: str, threads: int, rounds: int) -> list[Row]:
    """Return the rows of a process of its own: OpenMP reads its number of threads once, when it is loaded."""
    command = [sys.executable, "-W", "ignore", __file__, "--here", "--detectors", detector, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command, "--rounds", str(rounds)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def show(found: list[Row]) -> None:
    """Print a table of rows of one detector and number of threads."""
    print(f"\n{found[0].detector}, {found[0].threads} thread(s)")
    print(f"{'work':10s} {'ms a frame':48s} {'min':>8s} {'median':>8s} {'ratio':>6s}")
    for row in found:
        ours = next(one for one in found if one.work in (row.work, "no"))
        ours = next((one for one in found if one.work == row.work and one.way.startswith("batlab")), ours)
        print(f"{row.work:10s} {row.way:48s} {row.minimum:8.2f} {row.median:8.2f} {row.minimum / ours.minimum:6.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Azimuthal integration beside pyFAI.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--detectors", nargs="+", choices=list(DETECTORS), default=list(DETECTORS))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps([asdict(row) for row in rows(options.detectors[0], options.threads[0], options.rounds)]))
        return
    print(
        f"batlab {version('batlab')}, pyFAI {version('pyFAI')}, numpy {np.__version__}, {platform.machine()}",
        flush=True,
    )
    for detector in options.detectors:
        for threads in options.threads:
            show(measured(detector, threads, options.rounds))


if __name__ == "__main__":
    main()
