"""Cubic splines frame by frame: the kernel, scipy's splines, and a matrix where all frames share their grids.

python benchmarks/bench_spline.py          # one thread, half a minute
"""

import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import scipy
from scipy.interpolate import CubicSpline, make_interp_spline

from batlab import threads
from batlab._kernels.spline import cubic_spline


def timed(function, frames, repeats=7):
    """Return minimum and median of the microseconds a frame of some calls."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return 1e6 * min(seconds) / frames, 1e6 * statistics.median(seconds) / frames


def main():
    n, frames, few = 350, 2000, 200
    rng, n_threads = np.random.default_rng(0), threads.effective()
    out = 0.05 * np.arange(n)
    x = np.sort(rng.uniform(0, out[-1], (frames, n)), axis=1)
    y = rng.normal(size=(frames, n))
    onto = make_interp_spline(x[0], np.eye(n), 3)(out).T
    ways = {
        "kernel, a grid for each frame": (lambda: cubic_spline(y, x, out[None], n_threads=n_threads), frames),
        "scipy make_interp_spline, frame by frame": (
            lambda: [make_interp_spline(x[i], y[i], 3, check_finite=False)(out) for i in range(few)], few),
        "scipy CubicSpline, frame by frame": (lambda: [CubicSpline(x[i], y[i])(out) for i in range(few)], few),
        "kernel, one grid": (lambda: cubic_spline(y, x[:1], out[None], n_threads=n_threads), frames),
        "scipy make_interp_spline, one grid, all at once": (
            lambda: make_interp_spline(x[0], y.T, 3, check_finite=False)(out), frames),
        "matrix (BLAS), one grid, once it is there": (lambda: y @ onto, frames),
    }  # fmt: skip
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {n_threads} thread(s); {n} points onto {n}")
    ours = None
    for name, (function, count) in ways.items():
        times = timed(function, count)
        ours = ours or times
        print(f"  {name:52s}{times[0]:9.2f} µs ({times[1]:.2f})   {times[0] / ours[0]:.1f} of the kernel's time")


if __name__ == "__main__":
    main()
