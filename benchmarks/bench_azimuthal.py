"""Azimuthal integration beside pyFAI and numpy: one Eiger-4M frame in memory, 2000 bins, Poisson errors.

    python benchmarks/bench_azimuthal.py            # about a minute

All ways bin the same frames in one process: mask, polarisation, solid angle, no pixel splitting. Times are milliseconds
a frame, minimum and median of several rounds; the competitors take turns, so that a noisy machine hits all of them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import xarray as xr

from batlab import scattering
from batlab.io import Geometry

SHAPE, N_BINS, N_FRAMES = (2167, 2070), 2000, 8


def simulated(n_frames: int) -> tuple[Geometry, np.ndarray, np.ndarray]:
    """Return an Eiger-4M geometry, frames with powder rings of a few counts, and the mask of the gaps."""
    geometry = Geometry(
        0.2, 0.082, 0.075, 0.01, -0.02, 0.0, 0.45, "Eiger4M", '{"orientation": 3}', 7.5e-5, 7.5e-5, SHAPE, 3, True
    )
    integrator = geometry.pyfai()
    q = integrator.center_array(SHAPE, unit="q_A^-1")
    rings = 1 + 10 * np.exp(-(((q * 4) % 1 - 0.5) ** 2) / 0.005)
    mask = integrator.detector.mask.astype(bool)
    random = np.random.default_rng(0)
    frames = np.empty((n_frames, *SHAPE), np.uint32)
    for frame in frames:
        frame[:] = random.poisson(rings)
        frame[mask] = 2**32 - 1
    return geometry, frames, mask


def ways(threads: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Return name -> (frames a call, the call)."""
    geometry, frames, mask = simulated(N_FRAMES)
    series = xr.Dataset({"intensity": (("frame", "y", "x"), frames)}, attrs={"overflow": [2**32 - 1]})
    plan = scattering.Integrator(geometry, n_bins=N_BINS, mask=mask)
    one = series.isel(frame=slice(0, 1))
    integrator = geometry.pyfai()

    def pyfai(split: str, algorithm: str) -> Callable[[], object]:
        return lambda: integrator.integrate1d(
            frames[0],
            N_BINS,
            unit="q_A^-1",
            mask=mask,
            error_model="poisson",
            polarization_factor=0.99,
            correctSolidAngle=True,
            method=(split, algorithm, "cython"),
        )

    q = integrator.center_array(SHAPE, unit="q_A^-1").ravel()
    bins = np.minimum((q - q.min()) / (q.max() - q.min()) * N_BINS, N_BINS - 1).astype(np.intp)
    weights = frames[0].ravel().astype(float)
    told = f"{threads} thread{'s' * (threads > 1)}"
    return {
        f"batlab, no splitting, a series of {N_FRAMES}, {told}": (N_FRAMES, lambda: plan(series)),
        f"batlab, no splitting, one frame, {told}": (1, lambda: plan(one)),
        f"pyFAI no/csc/cython, {told}": (1, pyfai("no", "csc")),
        f"pyFAI no/csr/cython, {told}": (1, pyfai("no", "csr")),
        f"pyFAI no/histogram/cython, {told}": (1, pyfai("no", "histogram")),
        "numpy bincount of float64, one sum of the four": (1, lambda: np.bincount(bins, weights, N_BINS)),
    }


def measure(threads: int, rounds: int) -> None:
    contestants = ways(threads)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(rounds + 1):
        for name, (n_frames, call) in contestants.items():
            start = time.perf_counter()
            call()
            if run:  # the first builds plans and look-up tables
                times[name].append(1e3 * (time.perf_counter() - start) / n_frames)
    ours = next(iter(times))
    print(f"\n{'ms a frame':60s} {'min':>7s} {'median':>7s} {'ratio of minima':>16s}")
    for name, spent in times.items():
        print(f"{name:60s} {min(spent):7.2f} {statistics.median(spent):7.2f} {min(spent) / min(times[ours]):16.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Azimuthal integration beside pyFAI.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return measure(options.threads[0], options.rounds)
    print(
        f"batlab {version('batlab')}, pyFAI {version('pyFAI')}, numpy {np.__version__}, {platform.machine()}",
        flush=True,
    )
    for threads in options.threads:
        # OpenMP reads its number of threads once, when it is loaded: every number has its own process.
        command = [sys.executable, __file__, "--here", "--threads", str(threads), "--rounds", str(options.rounds)]
        subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, check=True)


if __name__ == "__main__":
    main()
