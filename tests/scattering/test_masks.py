"""Masks against shapes counted by hand, other programs' readers, and planted bad pixels."""

from __future__ import annotations

import fabio
import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import scattering
from batlab.errors import DimensionError, ReadError
from batlab.schema import check

DIMS = ("frame", "y", "x")


def brute(corners: list[tuple[float, float]], shape: tuple[int, int]) -> np.ndarray:
    """Return which points lie in a polygon, by the winding angle: another way than the mask's own."""
    y, x = np.indices(shape)
    p = np.array(corners, float)
    total = np.zeros(shape)
    for (y0, x0), (y1, x1) in zip(p, np.roll(p, -1, axis=0), strict=True):
        a, b = np.arctan2(y0 - y, x0 - x), np.arctan2(y1 - y, x1 - x)
        total += (b - a + np.pi) % (2 * np.pi) - np.pi
    return np.abs(total) > np.pi


@pytest.mark.parametrize("seed", range(5))
def test_a_polygon_holds_the_pixels_that_it_winds_around(seed):
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, 7))
    radius = random.uniform(5, 25, 7)
    corners = [(30.3 + r * np.sin(a), 28.7 + r * np.cos(a)) for r, a in zip(radius, angle, strict=True)]
    if np.diff(np.append(angle, angle[0] + 2 * np.pi)).max() > np.pi:
        pytest.skip("the centre lies outside; the winding angle is then no test of a star")
    mask = scattering.draw_mask((60, 60), polygons=[corners])
    assert np.array_equal(mask.values, brute(corners, (60, 60)))


def test_shapes_include_their_edges_and_add_up():
    square = scattering.draw_mask((10, 10), polygons=[[(2, 2), (2, 5), (5, 5), (5, 2)]])
    assert int(square.sum()) == 16
    assert np.array_equal(square, scattering.draw_mask((10, 10), rectangles=[(5, 5, 2, 2)]))
    circle = scattering.draw_mask((10, 10), circles=[(8, 8, 1)])
    assert int(circle.sum()) == 5
    assert int((square | circle).sum()) == 21
    check((square | circle).to_dataset(name="mask"))


def test_a_bow_tie_is_filled_by_the_even_odd_rule():
    mask = scattering.draw_mask((9, 9), polygons=[[(0, 0), (8, 8), (8, 0), (0, 8)]]).values
    assert mask[2, 4] == mask[6, 4] != mask[4, 1]


def test_limits_take_nan_too():
    image = np.array([[1.0, np.nan, 5.0], [2.0, 9.0, 3.0]])
    mask = scattering.draw_mask(image=image, below=2, above=8)
    assert mask.values.tolist() == [[True, True, False], [False, True, False]]


def test_growing_takes_what_lies_within():
    mask = scattering.draw_mask((21, 21), rectangles=[(10, 10, 10, 10)], grow=3)
    y, x = np.indices((21, 21))
    assert np.array_equal(mask.values, np.hypot(y - 10, x - 10) <= 3)
    assert not scattering.draw_mask((4, 4), grow=2).any()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "needs shape"),
        ({"shape": (0, 4)}, "rows, columns"),
        ({"shape": (4, 4), "below": 3}, "pass image="),
        ({"shape": (4, 4), "polygons": [[(0, 0), (1, 1)]]}, "three or more"),
        ({"shape": (4, 4), "circles": [(1, 1, -1)]}, "radius"),
        ({"shape": (4, 4), "circles": [(1, np.nan, 1)]}, "radius"),
        ({"shape": (4, 4), "rectangles": [(1, 1)]}, "y first"),
        ({"shape": (4, 4), "grow": -1}, "grow"),
    ],
)
def test_impossible_shapes_are_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        scattering.draw_mask(**arguments)


@pytest.mark.parametrize("ending", ["edf", "tif", "npy", "h5", "nc"])
def test_masks_go_to_files_and_back(tmp_path, ending):
    mask = scattering.draw_mask((30, 40), circles=[(10, 12, 6)], rectangles=[(0, 39, 29, 39)])
    path = bl.save(mask, tmp_path / f"mask.{ending}")
    again = scattering.open_mask(path, shape=(30, 40))
    assert again.dtype == bool
    assert np.array_equal(mask, again)
    if ending in ("edf", "tif"):
        assert np.array_equal(fabio.open(str(path)).data != 0, mask)
    with pytest.raises(FileExistsError):
        bl.save(mask, path)


def test_files_that_are_no_masks_are_refused(tmp_path):
    mask = scattering.draw_mask((5, 6), circles=[(2, 2, 1)])
    with pytest.raises(DimensionError, match=r"\(5, 6\)"):
        scattering.open_mask(bl.save(mask, tmp_path / "m.edf"), shape=(6, 5))
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    with pytest.raises(ReadError, match="one image"):
        scattering.open_mask(tmp_path / "cube.npy")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00garbage")
    with pytest.raises(ReadError, match=r"bad\.npy"):
        scattering.open_mask(tmp_path / "bad.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    with pytest.raises(ReadError, match=r"objects\.npy"):
        scattering.open_mask(tmp_path / "objects.npy")
    with pytest.raises(ValueError, match="takes a mask"):
        bl.save(mask.astype(float), tmp_path / "float.edf")


def rings(n_frames: int, mean: float, seed: int = 0, shape: tuple[int, int] = (200, 220)) -> np.ndarray:
    """Return Poisson frames of sharp rings, one bright spot and a gap between modules."""
    y, x = np.indices(shape)
    r = np.hypot(y - 90.3, x - 101.7)
    counts = mean * (0.3 + 4 * np.exp(-0.5 * (((r % 25) - 12) / 1.1) ** 2))
    counts += 40 * mean * np.exp(-0.5 * ((y - 60) ** 2 + (x - 170) ** 2) / 1.3**2)
    frames = np.random.default_rng(seed).poisson(counts, (n_frames, *shape)).astype(np.uint32)
    frames[:, 120:124] = 2**32 - 1
    return frames


def dataset(frames: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"intensity": (DIMS, frames)}, attrs={"overflow": [2**32 - 1]})


@pytest.mark.parametrize(("n_frames", "mean"), [(1, 20), (3, 5), (20, 1), (20, 50), (100, 0.2)])
def test_sound_detectors_are_not_accused(n_frames, mean):
    found = check(scattering.find_bad_pixels(dataset(rings(n_frames, mean))))
    kinds = found["kind"].values
    assert (kinds[120:124] == 2).all()
    assert found.attrs["n_lost"] == 4 * 220
    assert int(found["mask"].sum()) == 4 * 220


def test_planted_bad_pixels_are_found_and_named():
    frames = rings(30, 20)
    random = np.random.default_rng(3)
    places = [(y, x) for y in range(10, 195, 9) for x in range(8, 212, 11) if not 115 < y < 130 and abs(x - 170) > 12]
    random.shuffle(places)
    dead, hot, stuck, noisy, lost = (places[20 * k : 20 * k + 20] for k in range(5))
    for y, x in dead:
        frames[:, y, x] = 0
    for y, x in hot:
        frames[:, y, x] = random.poisson(2000, 30)
    for y, x in stuck:
        frames[:, y, x] = 17
    for y, x in noisy:
        frames[:, y, x] = random.poisson(random.gamma(0.5, 80, 30))
    for y, x in lost:
        frames[:20, y, x] = 2**32 - 1
    found = scattering.find_bad_pixels(dataset(frames))
    names = np.array(found["kind"].attrs["flag_meanings"].split())
    kinds = names[found["kind"].values]
    assert all(kinds[place] == "dead" for place in dead)
    assert all(kinds[place] == "hot" for place in hot)
    assert all(kinds[place] == "stuck" for place in stuck)
    assert sum(kinds[place] in ("noisy", "hot") for place in noisy) >= 18
    assert all(kinds[place] == "lost" for place in lost)
    planted = {*dead, *hot, *stuck, *noisy, *lost}
    strangers = [
        tuple(p) for p in np.argwhere(found["mask"].values) if tuple(p) not in planted and not 120 <= p[0] < 124
    ]
    assert not strangers


def test_one_cosmic_ray_condemns_no_pixel():
    frames = rings(20, 10)
    frames[7, 40, 33] = 90_000
    clean = scattering.find_bad_pixels(dataset(rings(20, 10)))
    found = scattering.find_bad_pixels(dataset(frames))
    assert found["kind"].values[40, 33] in (0, 5)  # 90,000 counts in one frame may count as hot, never as noisy
    found["kind"].values[40, 33] = 0
    assert np.array_equal(found["kind"], clean["kind"])


def test_a_mask_is_kept_and_a_long_series_is_thinned():
    frames = rings(12, 10)
    mask = scattering.draw_mask(frames.shape[1:], circles=[(50, 50, 20)])
    found = scattering.find_bad_pixels(dataset(frames), mask=mask, most_frames=5)
    assert found.attrs["n_masked"] == int(mask.sum())
    assert "n_frames=5" in found.attrs["history"]
    for wrong in ({"most_frames": 0}, {"factor": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            scattering.find_bad_pixels(dataset(frames), **wrong)
    with pytest.raises(ValueError, match="at least one frame"):
        scattering.find_bad_pixels(dataset(frames[:0]))


@pytest.mark.data
def test_a_real_eiger2_has_few_bad_pixels_beyond_its_gaps():
    frames = bl.open(bl.datasets.path("eiger2_9m") / "vac_007_data_000001.h5")
    found = scattering.find_bad_pixels(frames)
    n = found["kind"].size
    assert found.attrs["n_masked"] + found.attrs["n_lost"] == 664_805
    assert found.attrs["n_dead"] + found.attrs["n_hot"] + found.attrs["n_cold"] < 2e-4 * n
