"""Kernels in other processes: each case runs in an interpreter of its own, where nothing has used OpenMP yet."""

import os
import subprocess
import sys

import pytest

PRELUDE = """
import multiprocessing, sys
import numpy as np
import xarray as xr
from batlab import scattering, threads
from batlab._kernels.azimuthal import azimuthal
from batlab.io import Geometry

FLAT = Geometry(0.2, 0.005, 0.005, wavelength=1.0, shape=(100, 100), orientation_stated=True,
    detector_config='{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [100, 100]}')
FRAMES = np.random.default_rng(0).poisson(5, (8, 100, 100)).astype(np.uint16)

def work(n_chunks=4, plan=None):
    import dask.array as da
    lazy = da.from_array(FRAMES, chunks=(8 // n_chunks, 100, 100))
    plan = plan or scattering.Integrator(FLAT, n_bins=20)
    pattern = plan(xr.DataArray(lazy, dims=("frame", "y", "x")))
    return pattern.intensity.values.tobytes() + pattern.intensity_sigma.values.tobytes()

def warm():
    flat = FRAMES.reshape(8, -1)
    bins, owner = (np.arange(flat.shape[1]) // 4000).astype(np.uint16), np.zeros(3, np.int32)
    weights, overflow = np.ones((1, len(bins)), np.float32), np.empty(0, np.uint16)
    azimuthal(flat, bins, owner, 1, weights, None, overflow, n_threads=threads.effective(2))
"""
FORK = """
PLAN = scattering.Integrator(FLAT, n_bins=20)

def planned(n_chunks):
    assert threads.effective(4) == 1
    return work(n_chunks, PLAN)

def unplanned(n_chunks):
    try:
        work(n_chunks)
    except RuntimeError as error:
        return str(error)

if __name__ == "__main__":
    warm()
    here = work(4, PLAN)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(one == here for one in pool.map(planned, [1, 2, 4, 8]))
        assert "start workers with" in pool.apply(unplanned, (4,))
    print("same bits")
"""
POOL = """
if __name__ == "__main__":
    warm()
    here = work()
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        assert pool.apply(threads.effective, (4,)) == 4
        assert all(one == here for one in pool.map(work, [1, 4]))
    print("same bits")
"""
DASK = """
if __name__ == "__main__":
    import dask
    warm()
    here = work()
    for scheduler in ("threads", "processes", "sync"):
        there = dask.compute(*(dask.delayed(work)(n) for n in (1, 4)), scheduler=scheduler)
        assert all(one == here for one in there)
    print("same bits")
"""


def run(tmp_path, program, *arguments):
    """Run it; a hang, which is what must not happen, ends after a minute."""
    script = tmp_path / "program.py"
    script.write_text(PRELUDE + program)
    command = [sys.executable, "-W", "ignore", str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=dict(os.environ))
    assert done.stdout.strip() == "same bits", done.stderr[-2000:]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_after_a_fork_a_plan_runs_on_one_thread_and_pyfai_is_refused(tmp_path):
    run(tmp_path, FORK)


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.soak)])
def test_fresh_processes_give_the_same_bits(tmp_path, method):
    run(tmp_path, POOL, method)


def test_dask_workers_give_the_same_bits(tmp_path):
    run(tmp_path, DASK)
