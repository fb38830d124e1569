"""The kernel for whole rings against its oracle, on data made to break it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.rings import rings

TYPES = ("u1", "u2", "u4", "i2", "i4", "f4", "f8")
WISHES = {
    "sum": (0, 0, 0.0, 0.0, 0),
    "poisson": (1, 0, 0.0, 0.0, 0),
    "azimuthal": (2, 0, 0.0, 0.0, 0),
    "clipped without errors": (0, 1, 3.0, 0.0, 5),
    "clipped by poisson": (1, 1, 3.0, 0.0, 5),
    "clipped by scatter": (2, 1, 3.0, 0.0, 5),
    "clipped by scatter, once": (2, 1, 3.0, 0.0, 1),
    "clipped as hybrid": (3, 1, 3.0, 0.0, 5),
    "chauvenet": (2, 1, 0.0, 0.0, 5),
    "median": (1, 2, 0.5, 0.5, 0),
    "quantiles": (1, 2, 0.3, 0.8, 0),
    "quantiles and scatter": (2, 2, 0.1, 0.75, 0),
    "all quantiles": (2, 2, 0.0, 1.0, 0),
    "least": (1, 2, 0.0, 0.0, 0),
}


def case(dtype="u2", *, n_frames=3, n_pixels=4000, n_bins=30, split=False, dark=False, seed=0):
    """Frames with some spots, rings of very different lengths (one empty, one of a single pixel), weights."""
    random = np.random.default_rng(seed)
    frames = random.poisson(6, (n_frames, n_pixels))
    frames[random.random(frames.shape) < 0.01] = 100
    frames = frames.astype(dtype) if np.dtype(dtype).kind != "f" else (frames * 1.01).astype(dtype)
    share = np.r_[0.0, 1e-9, random.uniform(0.01, 1, n_bins)][:n_bins]
    owner = random.choice(n_bins, n_pixels, p=share / share.sum()) if n_bins > 2 else np.full(n_pixels, n_bins - 1)
    if n_pixels and n_bins > 2:
        owner[n_pixels // 2] = 1
    pairs = [(b, p) for p, b in enumerate(owner)]
    if split:
        pairs = sorted(set(pairs + [(min(b + 1, n_bins - 1), p) for b, p in pairs]))
    pairs.sort()
    pixel = np.array([p for _, p in pairs], np.uint32)
    start = np.searchsorted([b for b, _ in pairs], np.arange(n_bins + 1)).astype(np.int64)
    coefficient = random.uniform(0, 1, len(pixel)).astype(np.float32) if split else None
    weights = random.uniform(0.5, 1, (3 if dark else 1, n_pixels)).astype(np.float32)
    return frames, start, pixel, coefficient, weights


def agree(given, wish, *, variance=None, mask=None, overflow=(), marks=True, n_threads=1):
    frames = given[0]
    arguments = (*given, variance, mask, np.asarray(overflow, frames.dtype), *wish, marks)
    got, want = rings(*arguments, n_threads), reference.rings(*arguments)
    assert got[0].dtype == want[0].dtype
    assert got[1].dtype == want[1].dtype
    np.testing.assert_array_equal(got[1], want[1])
    np.testing.assert_allclose(got[0], want[0], rtol=1e-10, atol=1e-10)
    return got


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("dark", [False, True])
def test_it_equals_the_oracle(wish, split, dark):
    agree(case(split=split, dark=dark), wish)


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("dtype", TYPES)
def test_it_equals_the_oracle_for_every_type(dtype, wish):
    frames, *others = case(dtype)
    frames[0, 7], frames[1, 900] = 101, 102
    if frames.dtype.kind == "f":
        frames[2, 5:9] = np.nan, np.inf, -np.inf, -0.0
    mask = np.zeros(frames.shape, np.uint8)
    mask[1, 500:800] = 1
    mask[2] = frames.dtype.kind != "f"
    agree((frames, *others), wish, mask=mask, overflow=[101, 102])


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("rows", [1, 3])
def test_given_variances_replace_poissons(wish, rows):
    variance = np.random.default_rng(1).uniform(1, 9, (rows, 4000))
    variance[0, 5:9] = np.nan, np.inf, 0, -np.inf
    agree(case(dark=True), wish, variance=variance)


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("n_frames", [0, 1])
@pytest.mark.parametrize("n_pixels", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("n_bins", [1, 2])
def test_few_frames_and_few_pixels(wish, n_frames, n_pixels, n_bins):
    agree(case(n_frames=n_frames, n_pixels=n_pixels, n_bins=n_bins), wish)


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("value", [0.0, -7.0, 1e9, np.nan])
def test_equal_pixels(wish, value):
    frames, *others = case("f8")
    frames[:] = value
    others[-1][:] = 0.75
    (sums, clipped) = agree((frames, *others), wish)
    assert wish[1] == 2 or not clipped.any()  # what is all the same has no outliers
    if wish[0] == 2:
        known = sums[:, 3] > 1
        assert known.any() == np.isfinite(value)
        assert (sums[:, 1][known] <= 1e-20 * value**2).all()


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_the_number_of_threads_changes_no_bit(wish):
    given_ = case(split=True, n_frames=5)
    one = agree(given_, wish)
    for n_threads in (2, 4):
        for a, b in zip(one, agree(given_, wish, n_threads=n_threads), strict=True):
            assert a.tobytes() == b.tobytes()


def test_inputs_stay_and_may_be_read_only():
    given_ = case(split=True)
    copies = [array.copy() for array in given_]
    for array in given_:
        array.flags.writeable = False
    agree(given_, WISHES["clipped by scatter"])
    for array, copy in zip(given_, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_ring_longer_than_any_vector_keeps_exact_counts():
    frames = np.random.default_rng(0).integers(0, 2**32 - 1, (1, 100_003), dtype=np.uint32)
    start, pixel = np.array([0, frames.size], np.int64), np.arange(frames.size, dtype=np.uint32)
    sums, _ = agree((frames, start, pixel, None, np.ones((1, frames.size), np.float32)), WISHES["azimuthal"])
    assert sums[0, 0, 0] == frames.sum(dtype=np.uint64)
    assert sums[0, 1, 0] == pytest.approx(frames.size * frames.astype(float).var(), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_equals_the_oracle_whatever_comes(data):
    values = st.one_of(st.integers(0, 20), st.sampled_from([-3.5, 1e9, 1e-30, -0.0, np.nan, np.inf]))
    frame = np.array(data.draw(st.lists(values, min_size=1, max_size=120)), float)[None]
    n = frame.shape[1]
    bounds = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    start = np.array([0, *bounds, n], np.int64)
    pixel = np.arange(n, dtype=np.uint32)
    weights = np.random.default_rng(n).choice(np.float32([0, 0.5, 1]), (1, n))
    wish = data.draw(st.sampled_from([*WISHES.values()]))
    with np.errstate(all="ignore"):
        agree((frame, start, pixel, None, weights), wish)


BAD = {
    "start not from 0": {"start": np.array([1, 4000])},
    "start beyond": {"start": np.array([0, 4001])},
    "start down": {"start": np.array([0, 3000, 2000, 4000])},
    "no start": {"start": np.array([], int)},
    "pixel beyond": {"pixel": np.full(4000, 4000, np.uint32)},
    "coefficient short": {"coefficient": np.ones(3, np.float32)},
    "weights of two rows": {"weights": np.ones((2, 4000), np.float32)},
    "weights short": {"weights": np.ones((1, 3999), np.float32)},
    "variance short": {"variance": np.ones((1, 3999))},
    "variance of two rows": {"variance": np.ones((2, 4000))},
    "mask short": {"mask": np.zeros((3, 3999), np.uint8)},
    "mask of one row": {"mask": np.zeros((1, 4000), np.uint8)},
    "model 4": {"model": 4},
    "clip 3": {"clip": 3},
    "negative threshold": {"low": -1.0},
    "threshold NaN": {"low": np.nan},
    "quantiles swapped": {"clip": 2, "low": 0.6, "high": 0.4},
    "quantile above 1": {"clip": 2, "low": 0.6, "high": 1.1},
    "negative iterations": {"max_iterations": -1},
    "no thread": {"n_threads": 0},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_arguments_that_do_not_fit_are_refused(change):
    frames, start, pixel, _, weights = case()
    start = np.array([0, 4000], np.int64)
    names = ("frames", "start", "pixel", "coefficient", "weights", "variance", "mask", "overflow", "model", "clip",
             "low", "high", "max_iterations")  # fmt: skip
    values = (frames, start, pixel, None, weights, None, None, np.empty(0, "u2"), 2, 1, 3.0, 0.0, 2)
    plain = dict(zip(names, values, strict=True))
    rings(**plain)
    if "start" in change:
        change = {"start": np.asarray(change["start"], np.int64)}
    with pytest.raises(ValueError):
        rings(**{**plain, **change})
