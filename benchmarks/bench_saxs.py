"""Size distributions of a series: smooth and entropy, one thread; beside scipy's nnls at one known strength.

python benchmarks/bench_saxs.py
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import time  # the processor's: other work on the machine does not count

import numpy as np
from scipy.optimize import nnls

from batlab import saxs, simulate
from batlab.saxs.sizes import design

FRAMES, SIZES = 1000, 50
MCSAS3 = 5.2  # s, McSAS3 1.0.6, one repetition of one curve of 200 points with sasmodels, measured apart


def main():
    grow = np.linspace(60, 240, FRAMES)
    patterns, truth = simulate.small_angle(grow, 0.02, q=np.geomspace(0.003, 0.4, 200), counts=2e6)
    seconds = {}
    for n_replicates in (0, 10):
        begin = time.process_time()
        found = saxs.size_distribution(patterns, (15, 900), n_sizes=SIZES, n_replicates=n_replicates, n_threads=1)
        seconds[n_replicates] = time.process_time() - begin
    off = np.abs(found["mean_diameter"].values / truth["diameter"].values[:, 0] - 1)
    begin = time.process_time()
    saxs.size_distribution(
        patterns.isel(frame=slice(0, 50)), (15, 900), n_sizes=SIZES, method="entropy", n_replicates=0
    )
    entropy = (time.process_time() - begin) / 50
    few = 20
    columns = design(patterns["q"].values, found["size"].values, "sphere", None)
    rows, sigma = patterns["intensity"].values[:few], patterns["intensity_sigma"].values[:few]
    bend = np.diff(np.pad(np.eye(SIZES), ((1, 1), (0, 0))), 2, axis=0)
    begin = time.process_time()
    for y, s, strength in zip(rows, sigma, found["strength"].values):
        weighted = columns / s[:, None]
        scale = np.sqrt(strength * np.sum(weighted**2) / SIZES)
        nnls(np.concatenate([weighted, scale * bend]), np.concatenate([y / s, np.zeros(len(bend))]))
    single = (time.process_time() - begin) / few
    times = MCSAS3 * FRAMES / seconds[0]
    print(f"{FRAMES} frames x 200 q x {SIZES} sizes, one thread: smooth {seconds[0]:.2f} s with its strength found "
          f"(McSAS3 {MCSAS3} s a frame: {times:.0f} x), {seconds[10]:.2f} s with 10 replicates")  # fmt: skip
    print(f"entropy {1e3 * entropy:.0f} ms a frame; scipy nnls at one known strength {1e3 * single:.2f} ms a frame; "
          f"mean diameters off by {np.median(off):.1%} in the middle, {off.max():.1%} at most")  # fmt: skip


if __name__ == "__main__":
    main()
