"""Outliers and scatter within rings beside pyFAI: one Eiger-4M frame in memory, 2000 bins, no pixel splitting.

    python benchmarks/bench_rings.py

One thread each, the same frame, mask and corrections in one process; the competitors take turns. Times are milliseconds
a frame, minimum and median; the last column compares the results.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from bench_azimuthal import N_BINS, SHAPE, simulated

from batlab._kernels.rings import rings

# Name -> what the kernel is asked for, pyFAI's method and its arguments.
WAYS: dict[str, tuple[tuple[Any, ...], str, dict[str, Any]]] = {
    "azimuthal scatter": ((2, 0, 0.0, 0.0, 0), "integrate1d", {"error_model": "azimuthal"}),
    "clipped at 5 sigma, poisson": ((1, 1, 5.0, 0.0, 5), "sigma_clip", {"error_model": "poisson", "thres": 5}),
    "clipped at 5 sigma, azimuthal": ((2, 1, 5.0, 0.0, 5), "sigma_clip", {"error_model": "azimuthal", "thres": 5}),
    "clipped at 5 sigma, hybrid": ((3, 1, 5.0, 0.0, 5), "sigma_clip", {"error_model": "hybrid", "thres": 5}),
    "quantiles 0.4 to 0.6": ((1, 2, 0.4, 0.6, 0), "medfilt1d_ng", {"error_model": "poisson", "percentile": (40, 60)}),
}


def measure(rounds: int) -> None:
    geometry, frames, mask = simulated(1)
    integrator = geometry.pyfai()
    # pyFAI's own table of which pixel belongs to which ring, so that both see the same pixels.
    integrator.integrate1d(frames[0], N_BINS, unit="q_A^-1", mask=mask, method=("no", "csr", "cython"))
    engine = next(one.engine for key, one in integrator.engines.items() if key.algo_lower == "csr")
    weights = (integrator.polarization(SHAPE, 0.99) * integrator.solidAngleArray(SHAPE)).astype(np.float32)
    arguments = (
        frames.reshape(1, -1), engine.indptr.astype(np.int64), engine.indices.astype(np.uint32), None,
        weights.reshape(1, -1), None, None, np.empty(0, np.uint32),
    )  # fmt: skip
    print(f"\n{'ms a frame, one thread':32s} {'batlab':>15s} {'pyFAI':>15s} {'ratio':>6s}  largest difference")
    for name, (wish, method, keywords) in WAYS.items():
        times: tuple[list[float], list[float]] = ([], [])
        for run in range(rounds + 1):
            start = time.perf_counter()
            sums = rings(*arguments, *wish)[0][0]
            middle = time.perf_counter()
            theirs = getattr(integrator, method)(
                frames[0], N_BINS, unit="q_A^-1", mask=mask, polarization_factor=0.99,
                method=("no", "csr", "cython"), **keywords,
            )  # fmt: skip
            if run:
                times[0].append(1e3 * (middle - start))
                times[1].append(1e3 * (time.perf_counter() - middle))
        # Quantiles of counts: among equal pixels pyFAI takes any, and none of rings of a few.
        known = (sums[3] > 1) & (theirs.sem > 0) & (theirs.intensity > 0)
        ours, theirs_both = sums[:, known], np.array([theirs.intensity, theirs.sem])[:, known]
        apart, sigmas = np.abs(np.array([ours[0], np.sqrt(ours[1])]) / ours[2] / theirs_both - 1).max(axis=1)
        told = " ".join(f"{min(spent):7.1f} {statistics.median(spent):7.1f}" for spent in times)
        print(f"{name:32s} {told} {min(times[1]) / min(times[0]):6.1f}  intensity {apart:.1e}, sigma {sigmas:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Sigma clipping, quantiles and scatter beside pyFAI.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        return measure(options.rounds)
    print(f"batlab {version('batlab')}, pyFAI {version('pyFAI')}, {platform.machine()}", flush=True)
    command = [sys.executable, __file__, "--here", "--rounds", str(options.rounds)]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


if __name__ == "__main__":
    main()
