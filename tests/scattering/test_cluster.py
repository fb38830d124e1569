"""The same call under dask.distributed: same bits, whatever happens to the workers; and the script for SLURM."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import batlab as bl
from batlab import scattering, schema
from batlab.errors import ReadError
from batlab.scattering.slurm import ENVIRONMENT
from batlab.scattering.store import FOLDER
from batlab.scattering.worker import ClusterError

PONI = """
poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [64, 80], "orientation": 3}
Distance: 0.05
Poni1: 0.002
Poni2: 0.003
Rot1: 0.02
Rot2: -0.03
Rot3: 0.1
Wavelength: 7e-11
"""

PROGRAM = """
import pickle, sys, time
import batlab as bl
from distributed import Client, LocalCluster
from batlab.scattering.store import Store
put = Store.put
def slowly(self, outcome):
    put(self, outcome)
    time.sleep(0.3)
Store.put = slowly
if __name__ == "__main__":
    folder = sys.argv[1]
    geometry = pickle.load(open(folder + "/geometry", "rb"))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        frames = bl.open(folder + "/run_master.h5")
        bl.scattering.integrate(frames, geometry, n_bins=40, store=folder + "/patterns.zarr")
"""

KILLER = """
import os, pickle, random, signal, sys, threading, time
import dask.array as da
import numpy as np
import xarray as xr
import batlab as bl
from distributed import Client, LocalCluster

def wait(block, pause):
    time.sleep(pause)
    return block

def lazily(data, pause):
    lazy = da.from_array(data, chunks=(1, -1, -1))
    return xr.DataArray(lazy.map_blocks(wait, pause, dtype=data.dtype, meta=data[:0]), dims=("frame", "y", "x"))

def kill(cluster, kills, killed, is_over):
    chance = random.Random(kills)
    while len(killed) < kills and not is_over.wait(chance.uniform(0.3, 1.5)):
        alive = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
        if alive:
            killed.append(chance.choice(alive))
            os.kill(killed[-1], signal.SIGKILL)

if __name__ == "__main__":
    folder, kills, n_frames, pause = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    geometry = pickle.load(open(folder + "/geometry", "rb"))
    data = np.random.default_rng(0).poisson(3, (n_frames, *geometry.shape)).astype(np.uint32)
    expected = bl.scattering.integrate(lazily(data, 0), geometry, n_bins=40)
    killed, is_over = [], threading.Event()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        thread = threading.Thread(target=kill, args=(cluster, kills, killed, is_over))
        thread.start()
        result = bl.scattering.integrate(lazily(data, pause), geometry, n_bins=40)
        is_over.set()
        thread.join()
        for name in expected.variables:
            np.testing.assert_array_equal(expected[name], result[name])
        print(len(killed), "workers killed, the same bits", flush=True)
"""


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def integrate(frames, stacks, **keywords):
    return scattering.integrate(frames, stacks.GEOMETRY, n_bins=40, **keywords)


def here(frames, stacks, **keywords):
    """Without the cluster: in another thread no client is active, in a process of its own neither."""
    from unittest.mock import patch

    with patch("batlab.scattering.cluster.active_client", lambda client, frames: None):
        return integrate(frames, stacks, **keywords)


def slow_frames(data, pause):
    def wait(block):
        time.sleep(pause)
        return block

    lazy = da.map_blocks(wait, da.from_array(data, chunks=(1, -1, -1)), dtype=data.dtype, meta=data[:0])
    return xr.Dataset({"intensity": schema.quantity(("frame", "y", "x"), lazy, "count", "counts")})


def test_workers_give_the_same_bits(stacks, run, client, monkeypatch):
    frames = bl.open(run / "run_master.h5")
    monitor = np.random.default_rng(0).uniform(1, 2, 150)
    expected = here(frames, stacks, monitor=monitor)
    monkeypatch.setattr("batlab.scattering.series.run_task", None)  # nothing is done in this process
    result = schema.check(integrate(frames, stacks, monitor=monitor))
    stacks.assert_same_bits(expected, result)
    stacks.assert_same_bits(expected, integrate(frames, stacks, monitor=monitor, store=run / "patterns.zarr"))


def test_a_client_that_is_nobodys_default(stacks, run, client, monkeypatch):
    def none():
        raise ValueError("no client is the default one")

    frames = bl.open(run / "run_master.h5")
    expected = here(frames, stacks)
    with Client(client.scheduler.address, set_as_default=False) as other:
        monkeypatch.setattr("distributed.client.default_client", none)
        got = scattering.Integrator(stacks.GEOMETRY, n_bins=40)(frames, client=other)
    stacks.assert_same_bits(expected, got)


def test_tasks_carry_names_and_not_pixels(run):
    from batlab.scattering.sources import frames_of

    frames = frames_of(bl.open(run / "run_master.h5").intensity.data)
    assert len(pickle.dumps(frames[32:64])) < 32 * 1000  # a frame of this tiny detector has 20480 bytes


def test_masks_of_each_frame_and_arrays_of_the_cluster(stacks, client):
    data, random_mask = stacks.counts(70), np.random.default_rng(1).random((70, *stacks.SHAPE)) < 0.2
    frames = slow_frames(data, 0)
    mask = xr.DataArray(da.from_array(random_mask, chunks=(9, -1, -1)), dims=("frame", "y", "x"))
    expected = here(frames, stacks, mask=mask)
    stacks.assert_same_bits(expected, integrate(frames, stacks, mask=mask))
    stacks.assert_same_bits(expected, integrate(frames.persist(), stacks, mask=mask))


def test_frames_in_memory_stay_here(stacks, client, monkeypatch):
    frames = slow_frames(stacks.counts(5), 0).compute()
    monkeypatch.setattr("batlab.scattering.cluster.run_on_cluster", None)
    integrate(frames, stacks)
    plan = scattering.Integrator(stacks.GEOMETRY, n_bins=40)
    with pytest.raises(ValueError, match="client is for lazy frames"):
        plan(frames, client=client)


def test_a_call_from_within_a_task_stays_on_its_worker(stacks, run, client):
    geometry, path = stacks.GEOMETRY, str(run / "run_master.h5")
    inside = client.submit(lambda: bl.scattering.integrate(bl.open(path), geometry, n_bins=40), pure=False)
    stacks.assert_same_bits(here(bl.open(path), stacks), inside.result(timeout=60))


def test_damage_is_told_from_the_worker(stacks, run, client):
    expected = here(bl.open(run / "run_master.h5"), stacks)
    stacks.damage(run / "run_data_000002.h5", 20)
    frames = bl.open(run / "run_master.h5")
    with pytest.raises(ReadError, match=r"frame 120 of the series.*run_data_000002\.h5"):
        integrate(frames, stacks)
    with pytest.warns(UserWarning, match="1 frame could not be read"):
        rest = integrate(frames, stacks, on_error="nan")
    assert rest.attrs["unread_frames"] == [120]
    kept = [i for i in range(150) if i != 120]
    stacks.assert_same_bits(expected.isel(frame=kept), rest.isel(frame=kept))


def kill_workers(run, kills, frames, pause):
    """Integrate in a process of its own while workers are killed; what LocalCluster says of that stays there."""
    command = [sys.executable, "-W", "ignore", "-c", KILLER, str(run), str(kills), str(frames), str(pause)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert "the same bits" in done.stdout, done.stderr[-3000:]
    assert int(done.stdout.split()[0]) >= kills


def test_a_killed_worker_costs_nothing_but_time(run):
    kill_workers(run, 1, 160, 0.02)


@pytest.mark.soak
def test_ten_workers_killed_at_random(run):
    kill_workers(run, 10, 3200, 0.02)


def test_the_whole_process_killed_goes_on(stacks, run, client):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    log, end = run / "patterns.zarr" / FOLDER / "finished", time.monotonic() + 240
    while not (log.exists() and len(log.read_text().splitlines()) >= 2):
        assert time.monotonic() < end
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = log.read_text().splitlines()
    frames = bl.open(run / "run_master.h5")
    stacks.assert_same_bits(here(frames, stacks), integrate(frames, stacks, store=run / "patterns.zarr"))
    assert log.read_text().splitlines()[: len(before)] == before


def test_ctrl_c_takes_the_tasks_back(stacks, client, monkeypatch):
    def interrupt(self, outcome):
        raise KeyboardInterrupt

    frames = slow_frames(stacks.counts(160), 0.02)
    with monkeypatch.context() as patch:
        patch.setattr("batlab.scattering.series.Memory.put", interrupt)
        with pytest.raises(KeyboardInterrupt):
            integrate(frames, stacks)
    end = time.monotonic() + 20
    while any(client.processing().values()):
        assert time.monotonic() < end
        time.sleep(0.05)
    stacks.assert_same_bits(here(frames.isel(frame=slice(40)), stacks), integrate(frames.isel(frame=slice(40)), stacks))


def _contents(client, monkeypatch):
    """Collect what is given to the workers: the size of each plan, None where they have it."""
    given = []
    register = type(client).register_plugin

    def told(self, plugin, name=None, **options):
        given.append(None if plugin.content is None else len(plugin.content))
        return register(self, plugin, name=name, **options)

    monkeypatch.setattr(type(client), "register_plugin", told)
    return given


def test_the_plan_stays_for_the_next_run(stacks, run, client, monkeypatch):
    frames = bl.open(run / "run_master.h5")
    given = _contents(client, monkeypatch)
    integrate(frames, stacks, q_range=(0.5, 3.0))
    stacks.assert_same_bits(here(frames, stacks, q_range=(0.5, 3.0)), integrate(frames, stacks, q_range=(0.5, 3.0)))
    assert given[0] > 10_000
    assert given[1:] == [None]
    integrate(frames, stacks, q_range=(0.5, 2.9))  # another one
    assert given[2] > 10_000
    assert client.run(lambda: len(sys.modules["batlab.scattering.worker"]._works)) == dict.fromkeys(client.run(int), 0)
    assert set(client.run(lambda: len(sys.modules["batlab.scattering.worker"]._last)).values()) == {1}


def test_a_worker_that_came_later_is_given_the_plan(stacks, run, client, monkeypatch):
    frames = bl.open(run / "run_master.h5")
    given = _contents(client, monkeypatch)
    monkeypatch.setattr("batlab.scattering.cluster._have_plan", lambda client, digest: True)  # they were asked before
    client.run(lambda: sys.modules["batlab.scattering.worker"]._last.clear())
    stacks.assert_same_bits(here(frames, stacks), integrate(frames, stacks))
    assert given[0] is None
    assert given[1] > 10_000
    assert len(given) == 2


def test_workers_with_another_batlab_are_refused(stacks, run, client, monkeypatch):
    monkeypatch.setattr("batlab.scattering.worker.version", lambda: "0.0")
    with pytest.raises(ClusterError, match=r"has batlab .*, the client 0\.0"):
        integrate(bl.open(run / "run_master.h5"), stacks)


def test_the_script_for_slurm(tmp_path):
    with scattering.slurm_cluster(
        cores=16, memory="64GB", walltime="02:00:00", queue="short", account="mine", log_folder=tmp_path / "logs",
        prologue=("module load python",),
    ) as cluster:  # fmt: skip
        script = cluster.job_script()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # Ctrl-C stays an interrupt
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    lines = script.splitlines()
    for line in ("-p short", "-A mine", "-n 1", "--cpus-per-task=16", "--mem=60G", "-t 02:00:00"):
        assert f"#SBATCH {line}" in lines
    assert [f"export {name}={value}" for name, value in ENVIRONMENT.items()] == [
        line for line in lines if line.startswith("export")
    ]
    assert "module load python" in lines
    started = lines[-1].split()
    assert started[0] == sys.executable
    options = dict(pairwise(started))
    assert (options["--nthreads"], options["--nworkers"], options["--lifetime"]) == ("1", "16", "6900s")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"cores": 0}, "cores"), ({"walltime": "2h"}, "walltime"), ({"walltime": "00:05:00"}, "walltime")],
)
def test_slurm_with_impossible_numbers(wrong, told):
    with pytest.raises(ValueError, match=told):
        scattering.slurm_cluster(**({"cores": 4, "memory": "8GB"} | wrong))


def recipe(title):
    """Return the code under a heading of docs/cluster.md."""
    text = (Path(__file__).parents[2] / "docs/cluster.md").read_text(encoding="utf-8")
    return re.search(rf"^## {title}\n.*?```python\n(.*?)```", text, re.DOTALL | re.MULTILINE).group(1)


def test_the_recipe_for_one_machine_runs_as_it_stands(run):
    (run / "run7.poni").write_text(PONI)
    (run / "run_master.h5").rename(run / "run7_master.h5")
    command = [sys.executable, "-W", "ignore", "-c", recipe("Several processes on one machine")]
    subprocess.run(command, cwd=run, check=True, timeout=120)
    assert bl.open(run / "run7.zarr").sizes == {"frame": 150, "q": 2000}


def test_the_recipe_for_slurm_as_far_as_the_queue():
    code = recipe("SLURM").split("        cluster.scale")[0].replace("__name__", '"__main__"')
    told = []
    exec(compile(code, "cluster.md", "exec"), {"print": told.append})
    assert "#SBATCH -t 02:00:00" in told[0]
    compile(recipe("SLURM"), "cluster.md", "exec")
    compile(recipe("JupyterHub with Dask Gateway"), "cluster.md", "exec")
