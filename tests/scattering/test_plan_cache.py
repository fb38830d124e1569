"""Plans on disk: found again by content, safe against damage, bounded, and switched off."""

import json
import logging
import os
import pickle
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scattering_scenes import GEOMETRIES, SHAPE, counts, frames_of

from batlab import scattering
from batlab.scattering import integrator as module
from batlab.scattering import plan_cache

TILTED = GEOMETRIES["tilted"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache of its own, also for small plans."""
    monkeypatch.setenv("BATLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(plan_cache, "SMALLEST", 0)
    return tmp_path / "plans"


@pytest.fixture
def built(monkeypatch):
    """How often a plan was built, as the length of a list."""
    calls = []
    original = module.make_plan
    monkeypatch.setattr(module, "make_plan", lambda *a, **k: calls.append(1) or original(*a, **k))
    return calls


def run(geometry=TILTED, **keywords):
    return scattering.Integrator(geometry, **({"n_bins": 40} | keywords))(frames_of(counts(2)))


CASES = {
    "whole": {},
    "boxes": {"split": "bbox"},
    "polygons": {"split": "full"},
    "cake": {"n_azimuth": 12},
    "split cake": {"n_azimuth": 12, "split": "bbox"},
    "dark": {"dark": np.ones(SHAPE), "split": "full"},
}


@pytest.mark.parametrize("name", CASES)
def test_a_second_integrator_finds_the_plan_and_gives_the_same_bits(name, place, built):
    first, second = run(**CASES[name]), run(**CASES[name])
    assert len(built) == 1
    xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())
    (entry,) = place.iterdir()
    assert len(entry.name) == 64
    assert all(file.suffix in (".npy", ".json") for file in entry.iterdir())


def test_whatever_enters_a_plan_makes_another_one(place, built):
    mask = np.zeros(SHAPE, bool)
    mask[0, 0] = True
    wishes = [
        {}, {"n_bins": 41}, {"unit": "two_theta"}, {"n_azimuth": 1}, {"split": "bbox"}, {"split": "full"},
        {"mask": mask}, {"dark": np.ones(SHAPE)}, {"dark": np.zeros(SHAPE)}, {"flat": np.ones(SHAPE)},
        {"polarization": 0.98}, {"solid_angle": False}, {"q_range": (0.5, 2.0)}, {"azimuth_range": (0, 90)},
        {"azimuth_range": (0, 91)}, {"dark": np.ones(SHAPE), "variance": np.ones(SHAPE)},
        {"geometry": replace(TILTED, poni1=TILTED.poni1 * (1 + 1e-15))}, {"geometry": GEOMETRIES["mirrored"]},
        {"geometry": replace(TILTED, wavelength=0.71)},
    ]  # fmt: skip
    for wish in wishes:
        run(**wish)
    assert len(built) == len(list(place.iterdir())) == len(wishes)
    for wish in ({"monitor": 2.0}, {"error_model": None}, {"variance": np.ones(SHAPE)}):
        before = len(built)
        run(**wish)
        assert len(built) <= before + 1  # what does not enter makes none, but a variance leaves out the dark's
    assert len(list(place.iterdir())) <= len(wishes) + 1


def test_where_the_geometry_was_read_does_not_matter(place, built):
    run()
    run(geometry=replace(TILTED, source="/elsewhere/a.poni", source_sha256="0" * 64))
    assert len(built) == 1


def damage(entry, kind):
    weights = entry / "weights.npy"
    told = entry / "plan.json"
    if kind == "one bit":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif kind == "empty":
        weights.write_bytes(b"")
    elif kind == "missing":
        weights.unlink()
    elif kind == "pickled":
        np.save(weights, np.array([print, "hello"], object), allow_pickle=True)
    elif kind == "a program":
        weights.write_bytes(pickle.dumps(os.getcwd))
    elif kind == "no json":
        told.write_text("{")
    elif kind == "json of something else":
        told.write_text('["a", 1]')
    elif kind == "another version":
        told.write_text(json.dumps(json.loads(told.read_text()) | {"version": -1}))
    elif kind == "unknown array":
        table = json.loads(told.read_text())
        table["arrays"]["index_more"] = 0
        told.write_text(json.dumps(table))


@pytest.mark.parametrize("split", ["no", "bbox"])
@pytest.mark.parametrize(
    "kind",
    ["one bit", "truncated", "empty", "missing", "pickled", "a program", "no json", "json of something else",
     "another version", "unknown array"],
)  # fmt: skip
def test_a_damaged_plan_is_built_again_with_a_line_in_the_log(kind, split, place, built, caplog):
    first = run(split=split)
    damage(next(place.iterdir()), kind)
    with caplog.at_level(logging.WARNING, "batlab"):
        second = run(split=split)
    assert len(built) == 2
    assert "is damaged and is built again" in caplog.text
    xr.testing.assert_equal(first, second)
    run(split=split)
    assert len(built) == 2


def rewrite(entry, name, values):
    """Write an array with a checksum that fits: content from somebody else."""
    np.save(entry / f"{name}.npy", values)
    told = json.loads((entry / "plan.json").read_text())
    told["arrays"][name] = plan_cache._checksum(values)
    (entry / "plan.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("split", "name", "change"),
    [
        ("no", "index_bins", lambda a: np.full_like(a, 60000)),
        ("no", "index_bins", lambda a: a[:-1]),
        ("no", "index_bins", lambda a: np.zeros_like(a)),
        ("no", "index_owner", lambda a: a + 1),
        ("no", "index_owner", lambda a: a[::-1].copy()),
        ("no", "index_owner", lambda a: a - 1),
        ("bbox", "index_first", lambda a: np.full_like(a, 2**32 - 1)),
        ("bbox", "index_first", lambda a: a[:-1]),
        ("bbox", "index_pixel", lambda a: np.full_like(a, 2048)),
        ("bbox", "index_length", lambda a: a + np.uint16(1)),
        ("bbox", "index_weight", lambda a: a[:-5]),
        ("bbox", "index_run_start", lambda a: a[::-1].copy()),
        ("bbox", "index_run_start", lambda a: a[:-1]),
        ("bbox", "index_entry_start", lambda a: a + 1),
        ("bbox", "weights", lambda a: a[:, :-1].copy()),
        ("bbox", "weights", lambda a: a.astype(float)),
        ("bbox", "totals", lambda a: a[:, :-1].copy()),
    ],
)
def test_a_plan_that_points_outside_its_arrays_is_refused(split, name, change, place, built, caplog):
    first = run(split=split)
    entry = next(place.iterdir())
    rewrite(entry, name, change(np.load(entry / f"{name}.npy")))
    with caplog.at_level(logging.WARNING, "batlab"):
        second = run(split=split)
    assert len(built) == 2
    assert "is damaged" in caplog.text
    xr.testing.assert_equal(first, second)


def test_it_can_be_switched_off(place, built, monkeypatch):
    monkeypatch.setenv("BATLAB_CACHE", "off")
    run()
    run()
    assert len(built) == 2
    assert not place.exists()


def test_without_a_stated_folder_it_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("BATLAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = plan_cache.folder()
    assert folder.name == "plans"
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert folder == tmp_path / "batlab" / "plans"


def test_a_place_that_cannot_be_written_costs_a_line_in_the_log(place, built, caplog):
    place.parent.mkdir(exist_ok=True)
    place.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "batlab"):
        run()
    assert "is not kept in" in caplog.text
    assert len(built) == 1


def test_the_oldest_go_when_there_are_too_many_bytes(place, monkeypatch):
    for n_bins in (40, 41, 42):
        run(n_bins=n_bins)
        newest = max(place.iterdir(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (1e9 + n_bins, 1e9 + n_bins))
    first, _, third = sorted(place.iterdir(), key=lambda path: path.stat().st_mtime)
    (place / "notes.txt").write_text("not a plan")
    stale, fresh = place / ".draft-old", place / ".draft-new"
    stale.mkdir()
    fresh.mkdir()
    os.utime(stale, (time.time() - 7200, time.time() - 7200))
    size = sum(file.stat().st_size for file in third.iterdir())
    plan_cache.prune(place, keep=first, limit=int(2.5 * size))
    assert set(place.iterdir()) == {first, third, place / "notes.txt", fresh}
    plan_cache.prune(place, limit=0)
    assert set(place.iterdir()) == {place / "notes.txt", fresh}


def test_using_a_plan_makes_it_young(place):
    run()
    (entry,) = place.iterdir()
    os.utime(entry, (1e9, 1e9))
    run()
    assert time.time() - entry.stat().st_mtime < 60


def test_a_doubt_about_the_mask_is_told_from_the_cache_too(place, built):
    mask = np.zeros(SHAPE, bool)
    mask[:100] = True
    for _ in range(2):
        with pytest.warns(UserWarning, match="56 % of the pixels in the range are masked"):
            run(mask=mask)
    assert len(built) == 1


def test_many_writers_leave_one_whole_plan(place):
    plans = [scattering.Integrator(TILTED, n_bins=40, split="bbox") for _ in range(4)]
    results = []
    threads = [threading.Thread(target=lambda plan=plan: results.append(plan(frames_of(counts(2))))) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        xr.testing.assert_equal(result, results[0])
    (entry,) = place.iterdir()
    assert plan_cache.read(entry) is not None


WORKER = """
import numpy as np, pickle, sys
from batlab.scattering import integrator as module, plan_cache
plan_cache.SMALLEST = 0
def refuse(*a, **k):
    raise AssertionError("the plan was built")
module.pixel_arrays = refuse
integrator, frames = pickle.load(open(sys.argv[1], "rb"))
np.save(sys.argv[2], integrator(frames).intensity.values)
"""


def test_another_process_shares_it(place, tmp_path):
    import subprocess
    import sys

    integrator = scattering.Integrator(TILTED, n_bins=40, split="full")
    here = integrator(frames_of(counts(2)))
    content = pickle.dumps((integrator, frames_of(counts(2))))
    (tmp_path / "job").write_bytes(content)
    subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "job"), str(tmp_path / "out.npy")], check=True, timeout=100
    )
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), here.intensity.values)


def test_a_small_plan_is_not_kept(place, built, monkeypatch):
    monkeypatch.setattr(plan_cache, "SMALLEST", 2**18)
    run()
    run()
    assert len(built) == 2
    assert not place.exists()
