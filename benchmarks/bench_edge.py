"""Edges and normalisation beside numpy and, where it is installed, larch: one thread each, same data, same windows.

python benchmarks/bench_edge.py
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import platform
import time

import numpy as np
import xarray as xr

from batlab import xas
from batlab._kernels import reference
from batlab._kernels.edge import pre_edge, steepest
from batlab.schema import quantity

WINDOWS = np.array([-190.0, -95.0, 25.0, 1165.0])


def problem(n_frames, dtype=float, seed=1):
    """Return 408 energies as a step scan has them, spectra with free edges, and the edges."""
    rng = np.random.default_rng(seed)
    k = np.linspace(3.2, 17.5, 260)
    energy = 8980.5 + np.concatenate([np.arange(-200, -20, 10.0), np.arange(-20, 39, 0.456), 3.81 * k**2])[:408]
    e0 = 8980.5 + rng.uniform(-1, 1, n_frames)
    x = energy - e0[:, None]
    mu = -1.3 - 3e-4 * x + 1.35 * (1 + np.tanh(x / 3)) + 1e-3 * rng.normal(size=x.shape)
    return energy[None], mu.astype(dtype), e0


def timed(function, repeats=5):
    """Return the least seconds of some calls."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def larch_calls(energy, mu):
    try:
        from larch import Group
        from larch.xafs import find_e0
        from larch.xafs import pre_edge as theirs
    except ImportError:
        return {}
    keywords = dict(zip(("pre1", "pre2", "norm1", "norm2"), WINDOWS))
    return {
        "larch find_e0": lambda: find_e0(energy[0], mu[0]),
        "larch pre_edge": lambda: theirs(Group(energy=energy[0], mu=mu[0]), e0=8980.5, nnorm=2, **keywords),
    }


def main():
    print(f"Python {platform.python_version()}, numpy {np.__version__}; ms a spectrum of 408 points, one thread")
    energy, mu, e0 = problem(2000)
    none, spacing = np.empty((0, mu.shape[1])), np.full(len(mu), 0.46)
    rows = {
        "steepest": (lambda: steepest(energy, mu, none, spacing), len(mu)),
        "pre_edge": (lambda: pre_edge(energy, mu, none, e0, WINDOWS, 2), len(mu)),
        "pre_edge with σ": (lambda: pre_edge(energy, mu, 1e-3 + 0 * mu, e0, WINDOWS, 2), len(mu)),
        "numpy steepest": (lambda: reference.steepest(energy, mu[:20], none, spacing), 20),
        "numpy pre_edge": (lambda: reference.pre_edge(energy, mu[:20], none, e0, WINDOWS, 2), 20),
        **{name: (call, 1) for name, call in larch_calls(energy, mu).items()},
    }
    for name, (call, n) in rows.items():
        print(f"  {name:24s}{1e3 * timed(call) / n:10.4f}")
    for dtype in (np.float32, np.float64):
        energy, mu, _ = problem(10_000, dtype)
        series = xr.Dataset(
            {"mu": quantity(("frame", "energy"), mu, "1", "absorption")},
            {"energy": quantity("energy", energy[0], "eV", "photon energy")},
        )
        for told, words in {"one E0": {"e0": 8980.5}, "free E0": {}, "half step": {"method": "half_step"}}.items():
            seconds = timed(lambda words=words, series=series: xas.normalize(series, **words), 3)
            print(f"  xas.normalize, 10,000 of {np.dtype(dtype)}, {told:10s}{seconds:8.3f} s in all")


if __name__ == "__main__":
    main()
