"""Following files while another process writes them: every whole frame once, in order, with the bits of the end."""

import asyncio
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab.errors import ReadError, UnsafePathError
from batlab.io import Geometry
from batlab.scattering import Integrator
from batlab.scattering.follow import joined
from batlab.schema import check

WRITER = Path(__file__).with_name("live_writer.py")
SHAPE = (64, 96)
N = 20


@pytest.fixture
def plan():
    config = '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [64, 96]}'
    return Integrator(Geometry(0.2, 0.003, 0.004, wavelength=1.0, shape=SHAPE, detector_config=config), n_bins=40)


@pytest.fixture
def frames(tmp_path):
    """Frames that differ everywhere from one another, and from zeros; saved for the writer."""
    counts = np.random.default_rng(8).poisson(50, (N, *SHAPE)).astype(np.uint32) + 1
    np.save(tmp_path / "frames.npy", counts)
    return counts


@pytest.fixture
def start(tmp_path, frames):
    """Start a writer of a kind; it is ended with the test."""
    running = []

    def begin(kind, seed=0, pause=0.06):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        words = [sys.executable, WRITER, kind, folder, tmp_path / "frames.npy", seed, pause]
        running.append(subprocess.Popen(list(map(str, words))))
        return folder, running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def the_same(live, finished):
    """Assert that what was followed is, bit for bit, what the finished files give."""
    assert live.frame.values.tolist() == finished.frame.values.tolist()
    for name in ("intensity", "intensity_sigma", "signal", "variance", "normalization", "n_pixels"):
        np.testing.assert_array_equal(live[name], finished[name])
    assert set(live.data_vars) == set(finished.data_vars)


@pytest.mark.parametrize("kind", ["swmr", "swmr_halves", "swmr_tiles", "swmr_deep", "swmr_allocated"])
def test_a_swmr_file_gives_the_bits_of_the_finished_one(start, plan, kind):
    swmr_once(start, plan, kind, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["swmr", "swmr_halves", "swmr_tiles", "swmr_deep", "swmr_allocated"])
@pytest.mark.parametrize("seed", range(100, 120))
def test_any_timing_gives_the_bits_of_the_finished_file(start, plan, kind, seed):
    swmr_once(start, plan, kind, seed)


def swmr_once(start, plan, kind, seed):
    folder, writer = start(kind, seed)
    followed = bl.follow(folder / "live.h5", plan, timeout=30, settle=2.0)
    live = check(followed.collect())
    assert writer.wait() == 0
    assert followed.ended == "complete"
    assert followed.lost == []
    the_same(live, plan(bl.open(folder / "live.h5")))
    assert (live.exposure == 0.1).all()


@pytest.mark.parametrize(("kind", "name"), [("eiger", "run_master.h5"), ("eiger_late_master", "run_master.h5")])
def test_an_eigers_files_are_followed_through_the_master(start, plan, kind, name):
    folder, writer = start(kind, seed=3)
    followed = bl.follow(folder / name, plan, timeout=30, settle=0.3)
    live = check(followed.collect())
    assert writer.wait() == 0
    assert (followed.ended, followed.n_followed) == ("complete", N)
    finished = plan(bl.open(folder / name))
    the_same(live, finished)
    # The master masks three rows.
    assert live.n_pixels.sum("q").values.tolist() == [(SHAPE[0] - 3) * SHAPE[1]] * N


def test_an_eigers_data_files_are_followed_by_a_glob(start, plan):
    folder, _writer = start("eiger_late_master", seed=4)
    followed = bl.follow(folder / "run_data_*.h5", plan, timeout=30, settle=0.3, n_frames=N)
    live = followed.collect()
    assert followed.ended == "n_frames"
    the_same(live, plan(bl.open(str(folder / "run_data_*.h5"))))


@pytest.mark.parametrize("kind", ["tif", "cbf", "edf"])
def test_a_folder_of_images_is_followed(start, plan, kind):
    folder, writer = start(kind, seed=5, pause=0.05)
    live = check(bl.follow(folder, plan, timeout=30, settle=0.4, n_frames=N).collect())
    assert writer.wait() == 0
    finished = plan(bl.open(str(folder / f"img_*.{kind}")))
    the_same(live, finished)
    assert live.file.values.tolist() == finished.file.values.tolist() == [f"img_{i}.{kind}" for i in range(N)]


def test_a_writer_killed_leaves_whole_frames_only(start, plan, frames):
    folder, writer = start("swmr", seed=6, pause=2.0)
    followed = bl.follow(folder / "live.h5", plan, timeout=5, settle=0.3)
    live = [next(followed)]
    writer.kill()
    writer.wait()
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        live = joined([*live, *followed])
    assert followed.ended == "timeout"
    n = live.sizes["frame"]
    assert 1 <= n < N
    np.testing.assert_array_equal(live.signal, plan(in_memory(frames[:n])).signal)
    with h5py.File(folder / "live.h5", "r", swmr=True) as file:
        stated = len(file["entry/data/data"])
    assert followed.lost == list(range(n, stated))
    assert [str(one.message).count("never became whole") for one in doubts] == [1] * (stated > n)


@pytest.mark.parametrize("damage", ["cut", "scrambled"])
def test_a_chunk_that_is_half_there_is_no_frame(tmp_path, plan, frames, damage):
    """What a killed writer or a slow file server leaves: the newest chunk ends early, or its end is not written."""
    path = tmp_path / "live.h5"
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset(
            "entry/data/data", (0, *SHAPE), np.uint32, maxshape=(None, *SHAPE), chunks=(1, *SHAPE),
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
        )  # fmt: skip
        file.swmr_mode = True
        for i in range(4):
            data.resize(i + 1, axis=0)
            data[i] = frames[i]
        data.flush()
        places = [data.id.get_chunk_info(i) for i in range(4)]
        whole = path.read_bytes()
        at, size = max((place.byte_offset, place.size) for place in places)
        last = next(place.chunk_offset[0] for place in places if place.byte_offset == at)
    cut = at + size // 2
    path.write_bytes(whole[:cut] if damage == "cut" else whole[:cut] + bytes(size - size // 2) + whole[at + size :])
    followed = bl.follow(path, plan, timeout=0.5, settle=0.1)
    with pytest.warns(UserWarning, match=r"live\.h5: 1 frames never became whole"):
        live = followed.collect()
    assert last == 3
    assert live.frame.values.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(live.signal, plan(in_memory(frames[:3])).signal)
    path.write_bytes(whole)
    live = bl.follow(path, plan, timeout=0.5, settle=0.1).collect()
    assert live.frame.values.tolist() == [0, 1, 2, 3]


def test_a_damaged_frame_in_the_middle_keeps_its_number(tmp_path, plan, frames):
    path = write(tmp_path / "all.h5", frames)
    with h5py.File(path) as file:
        place = file["entry/data/data"].id.get_chunk_info(5)
    with path.open("r+b") as file:
        file.seek(place.byte_offset + place.size // 2)
        file.write(bytes(place.size // 4))
    followed = bl.follow(path, plan, timeout=0.5, settle=0)
    with pytest.warns(UserWarning, match=r"1 frames never became whole .*frame 5 .*cannot be decoded"):
        live = followed.collect()
    assert live.frame.values.tolist() == [0, 1, 2, 3, 4, *range(6, N)]
    np.testing.assert_array_equal(live.signal, plan(in_memory(np.delete(frames, 5, axis=0))).signal)


def test_a_slow_consumer_holds_the_reading_back(tmp_path, plan, frames):
    path = write(tmp_path / "all.h5", np.concatenate([frames] * 10))
    with bl.follow(path, plan, queue=2, settle=0, timeout=10) as followed:
        deadline = time.monotonic() + 10
        while followed.n_followed < 16 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        assert followed.n_followed == 16  # two results of eight frames wait, nothing more is read
        live = joined([next(followed) for _ in range(10 * N // 8)])
    assert live.frame.values.tolist() == list(range(10 * N))


def test_it_ends_when_told(tmp_path, plan, frames):
    path = write(tmp_path / "all.h5", frames)
    followed = bl.follow(path, plan, n_frames=11, settle=0)
    assert [part.sizes["frame"] for part in followed] == [8, 3]
    assert (followed.ended, next(followed, None)) == ("n_frames", None)

    followed = bl.follow(path, plan, timeout=None, settle=0)
    threading.Timer(1.0, followed.stop).start()
    assert sum(part.sizes["frame"] for part in followed) == N
    assert followed.ended == "stopped"

    followed = bl.follow(path, plan, timeout=0.4, settle=0, n_frames=99)
    with pytest.warns(UserWarning, match="only 20 of 99 frames came"):
        assert followed.collect().sizes["frame"] == N
    assert followed.ended == "timeout"


def test_a_finished_file_of_the_latest_format_ends_at_once(tmp_path, plan, frames):
    path = write(tmp_path / "all.h5", frames, libver="latest")
    began = time.monotonic()
    followed = bl.follow(path, plan)
    assert followed.collect().sizes["frame"] == N
    assert (followed.ended, time.monotonic() - began < 60) == ("complete", True)


def test_a_file_without_swmr_is_read_once_it_is_closed(tmp_path, plan, frames):
    path = tmp_path / "plain.h5"
    with bl.follow(path, plan, settle=0.2, timeout=20, n_frames=N) as followed:
        with h5py.File(path, "w") as file:
            file.create_dataset("entry/data/data", data=frames, chunks=(1, *SHAPE))
            file.flush()
            time.sleep(1.0)
            assert followed.n_followed == 0
        assert joined(list(followed)).sizes["frame"] == N


@pytest.mark.parametrize("is_blocked", [False, True], ids=["to_this_thread", "to_another_thread"])
def test_ctrl_c_reaches_the_user_and_ends_the_thread(tmp_path, plan, is_blocked):
    followed = bl.follow(tmp_path / "never.h5", plan, timeout=60)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    # A process's signal may come to any of its threads; the one that waits is then not woken by it.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT] if is_blocked else [])
    try:
        with pytest.raises(KeyboardInterrupt):
            next(followed)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    followed._thread.join(30)
    assert followed.ended == "stopped", repr(followed._job.error)


def test_a_file_system_that_stumbles_is_asked_again(tmp_path, plan, frames, monkeypatch):
    path = write(tmp_path / "all.h5", frames)
    asked, exists = [], Path.exists

    def stumbling(self, **words):
        asked.append(self)
        if len(asked) % 2:
            raise OSError([errno.EINTR, errno.ESTALE, errno.EIO][len(asked) // 2 % 3], "passing", str(self))
        return exists(self, **words)

    monkeypatch.setattr(Path, "exists", stumbling)
    with bl.follow(path, plan, settle=0, n_frames=N) as followed:
        assert joined(list(followed)).frame.values.tolist() == list(range(N))
    assert len(asked) > 1

    def forbidden(self, **_words):
        raise PermissionError(errno.EACCES, "no entry", str(self))

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(PermissionError, match="no entry"):
        next(bl.follow(path, plan, settle=0, timeout=5))


def test_a_follower_that_nobody_holds_ends_its_thread(tmp_path, plan, frames):
    path = write(tmp_path / "all.h5", frames)
    followed = bl.follow(path, plan, settle=0)
    next(followed)
    thread = followed._thread
    del followed
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


def test_errors_are_the_consumers(tmp_path, plan, frames):
    with pytest.raises(ReadError, match=r"no frame came within 0\.2 s; .*never\.h5 is not there"):
        next(bl.follow(tmp_path / "never.h5", plan, timeout=0.2))
    text = tmp_path / "notes.txt"
    text.write_text("x" * 600)
    with pytest.raises(ReadError, match=r"notes\.txt: is neither HDF5 nor an image"):
        next(bl.follow(text, plan, timeout=5))
    write(tmp_path / "a_1.h5", frames)
    write(tmp_path / "a_2.h5", frames[:, :-1])
    followed = bl.follow(tmp_path / "a_*.h5", plan, settle=0)
    assert sum(next(followed).sizes["frame"] for _ in range(3)) == N
    with pytest.raises(ReadError, match=r"a_2\.h5: frames of \(63, 96\) uint32, the series began with \(64, 96\)"):
        next(followed)
    assert followed.ended == "failed"
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("/etc/passwd", "/entry/data/data")
    with pytest.raises(UnsafePathError, match=r"leads to /etc/passwd"):
        next(bl.follow(tmp_path / "master.h5", plan, timeout=5, settle=0))
    with pytest.raises(bl.errors.DimensionError, match="63 x 96 pixels"):
        next(bl.follow(tmp_path / "a_2.h5", plan, settle=0))
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = frames, frames
    with pytest.raises(ReadError, match="several arrays may be the frames"):
        next(bl.follow(tmp_path / "two.h5", plan, settle=0, timeout=5))


def test_keywords_are_checked(tmp_path, plan):
    for wrong in ({"timeout": 0}, {"n_frames": 0}, {"queue": 0}, {"settle": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* must be"):
            bl.follow(tmp_path, plan, **wrong)
    with pytest.raises(TypeError, match="needs an Integrator, got a str"):
        bl.follow(tmp_path, "detector.poni")
    with pytest.raises(TypeError, match="does not know the keyword 'timezome'"):
        bl.follow(tmp_path, plan, timezome="UTC")


def test_an_image_that_comes_too_late_is_an_error_not_a_loss(tmp_path, plan, frames):
    """Numbers tell that a file is missing; it is waited for, and later it cannot be put in its place any more."""
    import fabio

    def put(i):
        fabio.tifimage.TifImage(data=frames[i]).write(str(tmp_path / f"s_{i}.tif"))

    put(0)
    put(2)
    followed = bl.follow(tmp_path / "s_*.tif", plan, settle=0.3, timeout=20)
    assert next(followed).frame.values.tolist() == [0]
    put(1)
    assert [next(followed).file.item() for _ in range(2)] == ["s_1.tif", "s_2.tif"]
    put(4)
    assert next(followed).file.item() == "s_4.tif"
    put(3)
    with pytest.raises(ReadError, match=r"s_3\.tif: came after s_4\.tif had been read"):
        next(followed)


def test_an_event_loop_goes_on_meanwhile(start, plan):
    folder, _writer = start("swmr", seed=7, pause=0.05)

    async def both():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        task = asyncio.create_task(tick())
        parts = [part async for part in bl.follow(folder / "live.h5", plan, timeout=20)]
        task.cancel()
        return joined(parts), ticks

    live, ticks = run(both())
    the_same(live, plan(bl.open(folder / "live.h5")))
    assert ticks > 20


def run(coroutine):
    """Run a coroutine in a thread of its own: the browser's driver keeps an event loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def write(path, frames, **how):
    with h5py.File(path, "w", **how) as file:
        file.create_dataset(
            "entry/data/data", data=frames, chunks=(1, *frames.shape[1:]),
            compression=hdf5plugin.Bitshuffle(cname="lz4"),
        )  # fmt: skip
    return path


def in_memory(counts):
    return xr.DataArray(counts, dims=("frame", "y", "x"))
