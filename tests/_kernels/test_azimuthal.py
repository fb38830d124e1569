"""The binning kernel against its oracle, on data made to break it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.azimuthal import azimuthal

TYPES = ("u1", "u2", "u4", "i2", "i4", "f4", "f8")
NO_OVERFLOW = {dtype: np.empty(0, dtype) for dtype in TYPES}


def case(dtype, n_frames=3, n_pixels=5000, n_bins=40, seed=0):
    """Counts, bins with a spare one, two weights."""
    random = np.random.default_rng(seed)
    frames = random.poisson(2, (n_frames, n_pixels)).astype(dtype)
    bins = random.integers(0, n_bins + 1, n_pixels).astype(np.uint16)
    weights = random.uniform(0.5, 2, (2, n_pixels)).astype(np.float32)
    return frames, bins, n_bins, weights


def agree(frames, bins, n_bins, weights, mask=None, overflow=None, n_threads=1):
    overflow = np.empty(0, frames.dtype) if overflow is None else np.asarray(overflow, frames.dtype)
    got = azimuthal(frames, bins, n_bins, weights, mask, overflow, n_threads)
    want = reference.azimuthal(frames, bins, n_bins, weights, mask, overflow, n_threads)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    return got


@pytest.mark.parametrize("dtype", TYPES)
def test_it_equals_the_oracle(dtype):
    # Longer than a tile, so that the packed lanes are flushed on the way; not a multiple of anything.
    frames, bins, n_bins, weights = case(dtype, 2, (1 << 17) + 4099 + 3)
    signal, *_ = agree(frames, bins, n_bins, weights)
    used = bins < n_bins
    np.testing.assert_array_equal(signal.sum(axis=1), frames[:, used].sum(axis=1, dtype=float))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_frames", [0, 1])
@pytest.mark.parametrize("n_pixels", [0, 1, 3, 4096, 4097])
def test_few_frames_and_few_pixels(dtype, n_frames, n_pixels):
    agree(*case(dtype, n_frames, n_pixels))


@pytest.mark.parametrize("dtype", TYPES)
def test_masked_and_overflowing_pixels_are_skipped_frame_by_frame(dtype):
    frames, bins, n_bins, weights = case(dtype, 4, 20000)
    frames[0, 100] = frames[2, 7000] = 100
    frames[1, 200] = 101
    mask = np.zeros(frames.shape, np.uint8)
    mask[1, 5000:5100] = 1
    mask[3] = 1
    signal, variance, skipped, _ = agree(frames, bins, n_bins, weights, mask, [100, 101])
    assert skipped[3].sum() == (bins < n_bins).sum()
    assert not signal[3].any()
    assert not variance[3].any()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nan_and_infinity_are_skipped(dtype):
    frames, bins, n_bins, weights = case(dtype)
    frames[0, ::7] = np.nan
    frames[1, 3], frames[1, 4] = np.inf, -np.inf
    frames[2] = np.nan
    signal, _, skipped, _ = agree(frames, bins, n_bins, weights)
    assert np.isfinite(signal).all()
    assert skipped[2].sum() == (bins < n_bins).sum()


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
def test_negative_counts_have_the_variance_of_one(dtype):
    frames, bins, n_bins, weights = case(dtype)
    frames -= 3
    agree(frames, bins, n_bins, weights)


@pytest.mark.parametrize("dtype", ["u4", "i4", "f4", "f8"])
def test_large_counts_are_summed_exactly(dtype):
    frames, bins, n_bins, weights = case(dtype, 2, 1 << 18, 1)
    frames += np.asarray(1_000_000_000, dtype)
    signal, *_ = agree(frames, bins, n_bins, weights)
    np.testing.assert_array_equal(signal[:, 0], frames[:, bins == 0].sum(axis=1, dtype=float))


def test_full_words_do_not_spill_into_the_zeros():
    frames = np.full((1, 1 << 18), 2**32 - 1, np.uint32)
    bins = np.zeros(1 << 18, np.uint16)
    signal, variance, *_ = azimuthal(frames, bins, 1, np.ones((1, 1 << 18), np.float32), None, NO_OVERFLOW["u4"])
    assert signal[0, 0] == variance[0, 0] == (2**32 - 1) * 2**18


def test_a_dark_frame_has_a_variance_of_one_a_pixel():
    frames, bins = np.zeros((1, 1 << 19), np.uint16), np.zeros(1 << 19, np.uint16)
    signal, variance, *_ = azimuthal(frames, bins, 1, np.ones((1, 1 << 19), np.float32), None, NO_OVERFLOW["u2"])
    assert (signal[0, 0], variance[0, 0]) == (0, 1 << 19)


@pytest.mark.parametrize("dtype", TYPES)
def test_any_number_of_threads_gives_the_same_bits(dtype):
    frames, bins, n_bins, weights = case(dtype, 7, 9001)
    if dtype[0] == "f":
        frames = frames * np.asarray(0.1, dtype)
        frames[3, 5] = np.nan
    one, two, four = (azimuthal(frames, bins, n_bins, weights, None, NO_OVERFLOW[dtype], n) for n in (1, 2, 4))
    alone = [azimuthal(frames[i : i + 1], bins, n_bins, weights, None, NO_OVERFLOW[dtype]) for i in range(7)]
    for k in range(4):
        assert one[k].tobytes() == two[k].tobytes() == four[k].tobytes()
        assert one[k].tobytes() == b"".join(result[k].tobytes() for result in alone)


def test_read_only_input_is_taken_and_left_unchanged():
    arrays = case("u4")
    copies = [np.copy(array) for array in arrays]
    for array in (arrays[0], arrays[1], arrays[3]):
        array.setflags(write=False)
    agree(*arrays)
    for before, after in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(before, after)


def test_strided_input_is_refused_not_misread():
    frames, bins, n_bins, weights = case("u4")
    with pytest.raises(ValueError, match="contiguous"):
        azimuthal(frames[:, ::-1], bins, n_bins, weights, None, NO_OVERFLOW["u4"])


def test_wrong_shapes_and_bins_are_refused():
    frames, bins, n_bins, weights = case("u4")
    none = NO_OVERFLOW["u4"]
    for arguments in (
        (frames, bins[:-1], n_bins, weights, None, none),
        (frames, bins, n_bins, weights[:, :-1], None, none),
        (frames, bins, n_bins, weights, np.zeros((1, 5000), np.uint8), none),
        (frames, bins, n_bins - 1, weights, None, none),
        (frames, bins, 0, weights, None, none),
        (frames, bins, 65536, weights, None, none),
        (frames, bins, n_bins, weights, None, none, 0),
    ):
        with pytest.raises(ValueError):
            azimuthal(*arguments)
        with pytest.raises(ValueError):
            reference.azimuthal(*arguments)


def test_the_largest_number_of_bins():
    frames, _, _, weights = case("u2", 1, 70000)
    bins = (np.arange(70000) % 65536).astype(np.uint16)
    agree(frames, bins, 65535, weights)


def test_permuting_pixels_changes_nothing():
    frames, bins, n_bins, weights = case("u2", 2, 9000)
    order = np.random.default_rng(1).permutation(9000)
    straight = azimuthal(frames, bins, n_bins, weights, None, NO_OVERFLOW["u2"])
    mixed = azimuthal(
        np.ascontiguousarray(frames[:, order]), bins[order], n_bins, np.ascontiguousarray(weights[:, order]), None,
        NO_OVERFLOW["u2"],
    )  # fmt: skip
    np.testing.assert_array_equal(straight[0], mixed[0])
    np.testing.assert_array_equal(straight[1], mixed[1])


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    n_frames=st.integers(0, 3),
    n_pixels=st.integers(0, 5000),
    n_bins=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
    masked=st.sampled_from([None, 0.0, 0.01, 1.0]),
    strange=st.sampled_from([0.0, 0.001, 0.5]),
)
def test_random_stacks(dtype, n_frames, n_pixels, n_bins, seed, masked, strange):
    frames, bins, n_bins, weights = case(dtype, n_frames, n_pixels, n_bins, seed)
    random = np.random.default_rng(seed)
    odd = random.random(frames.shape) < strange
    if dtype[0] == "f":
        frames[odd] = random.choice(np.array([np.nan, np.inf, -np.inf, 1e9, -1e9, 1e-30], dtype), odd.sum())
        overflow = [1e9]
    else:
        info = np.iinfo(dtype)
        frames[odd] = random.choice(np.array([info.max, info.min, info.max - 1], dtype), odd.sum())
        overflow = [info.max]
    mask = None if masked is None else (random.random(frames.shape) < masked).astype(np.uint8)
    agree(frames, bins, n_bins, weights, mask, overflow)
