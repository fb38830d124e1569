"""Bounded least squares for many spectra beside scipy's nnls, lsq_linear and one over numpy, one thread each.

python benchmarks/bench_nnls.py
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import time

import numpy as np
from scipy.optimize import lsq_linear, nnls

from batlab._kernels.nnls import bounded_least_squares

FRAMES = 10_000


def fastest(function, repeats=5):
    """Return the least of some times, and the last result."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


def compare(m):
    """Print times of one number of weights; a third of the spectra lies outside the box."""
    rng = np.random.default_rng(m)
    a = rng.uniform(size=(400, m)) + 0.3
    y = rng.dirichlet(np.full(m, 0.7), FRAMES) @ a.T + rng.normal(0, 0.3, (FRAMES, 400))
    gram, projection, zero = (a.T @ a)[None], np.ascontiguousarray(y @ a), np.zeros(m)
    factor = np.linalg.cholesky(gram[0]).T
    reduced = np.linalg.solve(factor.T, projection.T).T
    ours, (weights, _) = fastest(lambda: bounded_least_squares(gram, projection, zero, np.full(m, np.inf)))
    simplex, _ = fastest(lambda: bounded_least_squares(gram, projection, zero, np.ones(m), 1.0))
    few = 500
    theirs, best = fastest(lambda: np.array([nnls(factor, one)[0] for one in reduced[:few]]), 3)
    box, _ = fastest(lambda: [lsq_linear(factor, one, (0, 1), method="bvls") for one in reduced[:100]], 3)
    us = [1e6 * one for one in (ours / FRAMES, simplex / FRAMES, theirs / few, box / 100)]
    print(f"{m:3d} weights, us a spectrum: positive {us[0]:.2f}, simplex {us[1]:.2f}; scipy nnls {us[2]:.2f} "
          f"({us[2] / us[0]:.0f} x), lsq_linear (bvls, box) {us[3]:.0f} ({us[3] / us[0]:.0f} x); "
          f"largest difference from nnls {np.abs(weights[:few] - best).max():.1e}")  # fmt: skip


def main():
    for m in (3, 4, 8, 20):
        compare(m)


if __name__ == "__main__":
    main()
