"""A store takes the patterns as they come: killed, interrupted, damaged, disputed, it ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import scattering, schema
from batlab.errors import ReadError
from batlab.scattering import store as store_module
from batlab.scattering.lock import Lock, LockedError
from batlab.scattering.store import FOLDER, OtherJobError

# Slow on purpose, so that it can be hit in the middle.
PROGRAM = """
import pickle, sys, time
import batlab as bl
from batlab.scattering.store import Store
put = Store.put
def slowly(self, outcome):
    put(self, outcome)
    time.sleep(float(sys.argv[2]))
Store.put = slowly
if __name__ == "__main__":
    folder = sys.argv[1]
    geometry = pickle.load(open(folder + "/geometry", "rb"))
    bl.scattering.integrate(bl.open(folder + "/run_master.h5"), geometry, n_bins=40, store=folder + "/patterns.zarr")
"""


def integrate(folder, stacks, *, n_bins=40, **keywords):
    return scattering.integrate(bl.open(folder / "run_master.h5"), stacks.GEOMETRY, n_bins=n_bins, **keywords)


def start(folder, pause=0.3):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder), str(pause)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def finished(folder):
    log = folder / "patterns.zarr" / FOLDER / "finished"
    return log.read_text().splitlines() if log.exists() else []


def wait_for(what, process, limit=60.0):
    end = time.monotonic() + limit
    while not what():
        assert time.monotonic() < end
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def test_a_store_holds_what_memory_holds(stacks, run):
    held = integrate(run, stacks)
    stored = schema.check(integrate(run, stacks, store=run / "patterns.zarr"))
    stacks.assert_same_bits(held, stored)
    opened = schema.check(bl.open(run / "patterns.zarr"))
    stacks.assert_same_bits(held, opened)
    for name in held.variables:
        assert opened[name].attrs == held[name].attrs
    told = "scattering.integrate"
    assert (
        opened.attrs["history"].splitlines()[-1].split(told)[1] == held.attrs["history"].splitlines()[-1].split(told)[1]
    )
    assert {k: v for k, v in opened.attrs.items() if k != "history"} == {
        k: v for k, v in held.attrs.items() if k != "history"
    }


def test_a_whole_store_is_returned_at_once(stacks, run, monkeypatch):
    first = integrate(run, stacks, store=run / "patterns.zarr")
    monkeypatch.setattr("batlab.scattering.series.run_task", None)
    stacks.assert_same_bits(first, integrate(run, stacks, store=run / "patterns.zarr"))


def test_a_large_result_is_lazy(stacks, run, monkeypatch):
    monkeypatch.setattr(store_module, "EAGER", 1000)
    stored = schema.check(integrate(run, stacks, store=run / "patterns.zarr"))
    assert stored.intensity.chunks[0] == (32, 32, 32, 32, 22)
    assert stored.q.chunks is None
    stacks.assert_same_bits(integrate(run, stacks), stored)


def test_a_killed_run_goes_on_and_gives_the_same_bits(stacks, run):
    whole = integrate(run, stacks)
    process = start(run)
    wait_for(lambda: len(finished(run)) >= 2, process)
    process.kill()
    process.communicate()
    before = finished(run)
    with pytest.raises(ReadError, match=r"is not finished; call scattering\.integrate again"):
        bl.open(run / "patterns.zarr")
    stacks.assert_same_bits(whole, integrate(run, stacks, store=run / "patterns.zarr"))
    assert finished(run)[: len(before)] == before
    assert len(finished(run)) == len({json.loads(line)[0] for line in finished(run)}) == 5


@pytest.mark.soak
def test_killed_twenty_times_at_random(stacks, run):
    whole = integrate(run, stacks)
    for kill in range(20):
        process = start(run, 0.05)
        wait_for(lambda: (run / "patterns.zarr").exists(), process)
        time.sleep(random.Random(kill).uniform(0, 0.3))
        process.kill()
        process.communicate()
    stacks.assert_same_bits(whole, integrate(run, stacks, store=run / "patterns.zarr"))


def test_ctrl_c_ends_at_once_and_the_store_goes_on(stacks, run):
    process = start(run)
    wait_for(lambda: len(finished(run)) >= 1, process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=10)
    assert process.returncode in (1, 130, -signal.SIGINT)
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert 1 <= len(finished(run)) < 5
    stacks.assert_same_bits(integrate(run, stacks), integrate(run, stacks, store=run / "patterns.zarr"))


def test_ctrl_c_leaves_no_thread_behind(stacks, monkeypatch):
    def interrupt(self, outcome):
        raise KeyboardInterrupt

    monkeypatch.setattr("batlab.scattering.series.Memory.put", interrupt)
    monkeypatch.setattr("batlab.threads.effective", lambda n=None: 4)
    frames = xr.DataArray(stacks.counts(200), dims=("frame", "y", "x"))
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        scattering.integrate(frames, stacks.GEOMETRY, n_bins=40)
    assert threading.active_count() == before


def partly(folder, stacks, monkeypatch, n_tasks):
    """Leave a store with `n_tasks` finished tasks, as a crash would."""
    put, count = store_module.Store.put, []

    def some(self, outcome):
        if len(count) == n_tasks:
            raise MemoryError("pulled the plug")
        count.append(outcome)
        put(self, outcome)

    with monkeypatch.context() as patch:
        patch.setattr("batlab.threads.effective", lambda n=None: 1)
        patch.setattr(store_module.Store, "put", some)
        with pytest.raises(MemoryError):
            integrate(folder, stacks, store=folder / "patterns.zarr")
    assert len(finished(folder)) == n_tasks


@pytest.mark.parametrize("harm", ["chunk lost", "chunk cut", "chunk empty", "line cut", "line of noise"])
def test_what_a_loss_of_power_took_is_done_again(stacks, run, monkeypatch, harm):
    partly(run, stacks, monkeypatch, 3)
    chunk, log = run / "patterns.zarr/signal/c/1/0", run / "patterns.zarr" / FOLDER / "finished"
    if harm == "chunk lost":
        chunk.unlink()
    elif harm == "chunk cut":
        chunk.write_bytes(chunk.read_bytes()[:-50])
    elif harm == "chunk empty":
        chunk.write_bytes(b"")
    elif harm == "line cut":
        log.write_bytes(log.read_bytes()[:-4])
    else:
        log.write_bytes(log.read_bytes() + b'\0\0\xff\n[1]\n5\nnull\n["x", 1, {}]\n')
    stacks.assert_same_bits(integrate(run, stacks), integrate(run, stacks, store=run / "patterns.zarr"))
    assert len(finished(run)) == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n_bins": 41}, "the plan"),
        ({"error_model": None}, "the settings"),
        ({"monitor": 2.0}, "the monitor"),
        ({"mask": np.zeros((150, 64, 80), bool)}, "the frames' masks"),
        ({"polarization": None}, "the plan"),
    ],
)
def test_another_job_is_refused_by_name(stacks, run, change, told):
    first = integrate(run, stacks, store=run / "patterns.zarr")
    with pytest.raises(OtherJobError, match=rf"another job: .*{told}"):
        integrate(run, stacks, store=run / "patterns.zarr", **change)
    stacks.assert_same_bits(first, bl.open(run / "patterns.zarr"))


def test_frames_that_have_changed_are_another_job(stacks, run):
    integrate(run, stacks, store=run / "patterns.zarr")
    stacks.write_series(run, stacks.counts(150, seed=1), per_file=100)
    with pytest.raises(OtherJobError, match="the frames"):
        integrate(run, stacks, store=run / "patterns.zarr")


def test_a_folder_that_is_no_store_is_left_alone(stacks, run):
    bl.save(integrate(run, stacks), run / "other.zarr")
    with pytest.raises(OtherJobError, match=r"is no store of scattering\.integrate"):
        integrate(run, stacks, store=run / "other.zarr")
    with pytest.raises(ValueError, match=r"must end with '\.zarr'"):
        integrate(run, stacks, store=run / "patterns.nc")


def test_two_writers_at_a_time_are_refused(stacks, run, monkeypatch):
    partly(run, stacks, monkeypatch, 1)
    path = run / "patterns.zarr"
    with (
        Lock(path / FOLDER / "lock", path),
        pytest.raises(LockedError, match=rf"being written by process {os.getpid()} on"),
    ):
        integrate(run, stacks, store=path)
    integrate(run, stacks, store=path)


@pytest.mark.parametrize(
    ("owner", "age", "is_free"),
    [
        ({"pid": 4194305, "host": "here"}, 0, True),  # above the largest number that Linux gives
        ({"pid": 1, "host": "elsewhere"}, 0, False),
        ({"pid": 1, "host": "elsewhere"}, 3600, True),
    ],
)
def test_a_dead_writer_holds_nothing(tmp_path, owner, age, is_free):
    import socket

    lock = tmp_path / "lock"
    lock.write_text(json.dumps(owner | ({"host": socket.gethostname()} if owner["host"] == "here" else {})))
    then = time.time() - age
    os.utime(lock, (then, then))
    if is_free:
        with Lock(lock, tmp_path):
            assert json.loads(lock.read_text())["pid"] == os.getpid()
        assert lock.read_text() == ""
    else:
        with pytest.raises(LockedError, match="process 1 on elsewhere"), Lock(lock, tmp_path):
            pass


def test_an_error_keeps_what_was_finished(stacks, run):
    whole = integrate(run, stacks)
    stacks.damage(run / "run_data_000002.h5", 44)
    with pytest.raises(ReadError, match="frame 144 of the series"):
        integrate(run, stacks, store=run / "patterns.zarr")
    assert len(finished(run)) == 4
    with pytest.warns(UserWarning, match=r"1 frame could not be read.*144"):
        rest = integrate(run, stacks, store=run / "patterns.zarr", on_error="nan")
    assert rest.attrs["unread_frames"] == [144]
    assert bl.open(run / "patterns.zarr").attrs["unread_frames"] == [144]
    stacks.assert_same_bits(whole.isel(frame=slice(144)), rest.isel(frame=slice(144)))
    assert np.isnan(rest.intensity[144]).all()
