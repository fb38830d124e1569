"""Sharing out pixels over bins beside pyFAI: a plan for an Eiger-4M, 2000 bins and a cake of 1000 x 360.

    python benchmarks/bench_splitting.py            # about half a minute

Both start from pyFAI's centres and corners. Seconds, the least of some rounds; pyFAI runs on one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from batlab.io import Geometry
from batlab.scattering import bins
from batlab.scattering.geometry import pixel_arrays

SHAPE = (2167, 2070)
GEOMETRY = Geometry(
    0.2, 0.082, 0.075, 0.01, -0.02, 0.0, 0.45, "Eiger4M", '{"orientation": 3}', 7.5e-5, 7.5e-5, SHAPE, 3, True
)


def least(work: Callable[[], object], rounds: int = 3) -> float:
    """Return the seconds of the fastest round."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Print one line a scheme: batlab on 1 and 2 threads, pyFAI's builder."""
    pixels = pixel_arrays(GEOMETRY, SHAPE, unit="q", polarization=None, solid_angle=False, azimuth=True, corners=True)
    assert pixels.mask is not None
    used = ~pixels.mask
    integrator = GEOMETRY.pyfai()
    mask = pixels.mask.reshape(SHAPE).astype(np.int8)
    print(f"{'scheme':>20} {'batlab 1t':>10} {'batlab 2t':>10} {'pyFAI CSR':>10} {'ratio 1t':>9}")
    for n_bins, n_azimuth in ((2000, None), (1000, 360)):
        for split in ("bbox", "full"):
            grid = bins.make_grid(
                pixels, used, split=split, n_bins=n_bins, n_azimuth=n_azimuth, limits=None, azimuth_range=None
            )
            ours = []
            for n_threads in (1, 2):
                os.environ["OMP_NUM_THREADS"] = str(n_threads)
                ours.append(least(lambda grid=grid, split=split: bins.pixel_runs(pixels, used, grid, split)))
            wanted = {"unit": ("q_A^-1", "chi_deg")} if n_azimuth else {"unit": "q_A^-1"}
            number = (n_bins, n_azimuth) if n_azimuth else n_bins
            theirs = least(
                lambda split=split, number=number, wanted=wanted: integrator.setup_sparse_integrator(
                    SHAPE, number, mask=mask, split=split, algo="CSR", scale=False, **wanted
                )
            )
            told = f"{split} {n_bins}" + (f" x {n_azimuth}" if n_azimuth else "")
            print(f"{told:>20} {ours[0]:10.3f} {ours[1]:10.3f} {theirs:10.3f} {theirs / ours[0]:9.1f}")


if __name__ == "__main__":
    main()
