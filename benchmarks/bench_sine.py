"""Sine and cosine transforms: the kernel, numpy's sines, a matrix (BLAS) and a zero-padded FFT on the same curves.

python benchmarks/bench_sine.py          # one thread, under a minute
"""

import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import scipy.fft

from batlab import threads
from batlab._kernels import reference
from batlab._kernels.sine_transform import sine_transform


def timed(function, frames, repeats=5):
    """Return minimum and median of the milliseconds a frame of some calls."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return 1e3 * min(seconds) / frames, 1e3 * statistics.median(seconds) / frames


def row(name, times, ours=None):
    ratio = "" if ours is None else f"   {times[0] / ours[0]:.2f} of the kernel's time"
    print(f"  {name:58s}{times[0]:10.4f} ({times[1]:.4f}){ratio}")


def compare(n, n_out, frames, step, out_step, padded, head):
    rng, n_threads = np.random.default_rng(0), threads.effective()
    even, out = step * np.arange(n), out_step * np.arange(n_out)
    own = np.sort(even + 0.3 * step * rng.uniform(-1, 1, (frames, n)), axis=1)
    y = rng.normal(size=(frames, n))
    few = max(2, min(frames, 2_000_000 // (n * n_out) + 1))
    print(f"\n{head}: {n} points onto {n_out}, {frames} frames; ms a frame, minimum (median)")
    print(" A grid for each frame")
    ours = timed(lambda: sine_transform(y[:few], own[:few], out, n_threads=n_threads), few)
    row("kernel", ours)
    row("numpy's sines and cosines", timed(lambda: reference.sine_transform(y[:few], own[:few], out), few, 3), ours)
    print(" One uneven grid for all frames")
    shared = own[:1]
    ours = timed(lambda: sine_transform(y[:few], shared, out, n_threads=n_threads), few)
    row("kernel", ours)
    build = timed(lambda: np.concatenate([f(np.outer(shared[0], out)) for f in (np.sin, np.cos)], axis=1), 1, 3)
    matrix = np.concatenate([f(np.outer(shared[0], out)) for f in (np.sin, np.cos)], axis=1)
    row("matrix (BLAS), once it is there", timed(lambda: y @ matrix, frames), ours)
    print(f"  it pays from {build[0] / ours[0]:.0f} frames on (building it takes {build[0]:.1f} ms)")
    print(" One even grid for all frames")
    row("matrix (BLAS)", timed(lambda: y @ matrix, frames), ours)

    def padded_fft():
        for start in range(0, frames, 256):
            spectrum = scipy.fft.rfft(y[start : start + 256], padded, workers=n_threads)[:, :n_out]
            spectrum.real.copy(), spectrum.imag.copy()

    row(f"FFT padded to {padded}", timed(padded_fft, frames), ours)


def main():
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {threads.effective()} thread(s)")
    compare(300, 326, 2000, 0.05, 2 * np.pi / 102.4, 2048, "EXAFS, chi(k) onto R up to 10 angstrom")
    compare(300, 979, 1000, 0.05, 2 * np.pi / 102.4, 2048, "EXAFS, chi(k) onto R up to 30 angstrom")
    compare(3000, 3000, 200, 0.01, 0.01, 62832, "G(r)")


if __name__ == "__main__":
    main()
