"""The binning kernel against its oracle, on data made to break it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.azimuthal import azimuthal

TYPES = ("u1", "u2", "u4", "i2", "i4", "f4", "f8")
FULLEST = 4095


def share(bins, n_bins, index="u2"):
    """Return internal bins of at most 4095 pixels and their owners."""
    counts = np.bincount(bins, minlength=n_bins + 1)
    parts = np.maximum(1, -(-counts[:n_bins] // FULLEST))
    owner, first = np.repeat(np.arange(n_bins), parts), np.append(np.cumsum(parts) - parts, parts.sum())
    rank = np.empty(len(bins), int)
    rank[np.argsort(bins, kind="stable")] = np.arange(len(bins)) - np.repeat(np.cumsum(counts) - counts, counts)
    return (first[bins] + np.where(bins < n_bins, rank // FULLEST, 0)).astype(index), owner.astype(np.int32)


def case(dtype, n_frames=3, n_pixels=5000, n_bins=40, seed=0, index="u2"):
    """Counts, internal bins, owners, bins with a spare one, two weights."""
    random = np.random.default_rng(seed)
    frames = random.poisson(2, (n_frames, n_pixels)).astype(dtype)
    bins, owner = share(random.integers(0, n_bins + 1, n_pixels), n_bins, index)
    weights = random.uniform(0.5, 2, (2, n_pixels)).astype(np.float32)
    return frames, bins, owner, n_bins, weights


def none(dtype):
    return np.empty(0, dtype)


def agree(frames, bins, owner, n_bins, weights, mask=None, overflow=(), **options):
    overflow = np.asarray(overflow, frames.dtype)
    got = azimuthal(frames, bins, owner, n_bins, weights, mask, overflow, **options)
    want = reference.azimuthal(frames, bins, owner, n_bins, weights, mask, overflow, **options)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    if frames.dtype.kind != "f":
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])
    return got


@pytest.mark.parametrize("index", ["u2", "u4"])
@pytest.mark.parametrize("dtype", TYPES)
def test_it_equals_the_oracle(dtype, index):
    frames, bins, owner, n_bins, weights = case(dtype, 2, 131072 + 4099 + 3, index=index)
    signal, *_ = agree(frames, bins, owner, n_bins, weights)
    used = bins < len(owner)
    np.testing.assert_array_equal(signal.sum(axis=1), frames[:, used].sum(axis=1, dtype=float))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_frames", [0, 1, 2])
@pytest.mark.parametrize("n_pixels", [0, 1, 3, 8, 2047, 2048, 2049])
def test_few_frames_and_few_pixels(dtype, n_frames, n_pixels):
    agree(*case(dtype, n_frames, n_pixels))


VALUES = (0, 1, 127, 128, 254, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
HELD = [(dtype, value) for dtype in TYPES for value in VALUES if dtype[0] == "f" or value <= np.iinfo(dtype).max]


@pytest.mark.parametrize(("dtype", "value"), HELD)
@pytest.mark.parametrize("n_frames", [1, 3])
def test_one_value_in_full_bins(dtype, n_frames, value):
    """4095 pixels a word of the same value: nothing spills over into the number of zeros."""
    frames = np.full((n_frames, 3 * FULLEST + 7), value, dtype)
    bins, owner = share(np.zeros(3 * FULLEST + 7, int), 1)
    assert len(owner) == 4
    signal, variance, *_ = agree(frames, bins, owner, 1, np.ones((1, 3 * FULLEST + 7), np.float32))
    whole = float(frames[0, 0]) * (3 * FULLEST + 7)
    assert signal[0, 0] == whole
    assert variance[0, 0] == max(whole, 3 * FULLEST + 7)


@pytest.mark.parametrize("dtype", TYPES)
def test_bright_and_dim_frames_stand_side_by_side(dtype):
    frames, bins, owner, n_bins, weights = case(dtype, 11, 9000)
    top = 100 if dtype == "u1" else 30000
    frames[3, 4000] = frames[3, 8999] = frames[7, 0] = top
    frames[9] = top
    agree(frames, bins, owner, n_bins, weights)


@pytest.mark.parametrize("lost", [[100, 101], [0], [255], [3, 1]])
@pytest.mark.parametrize("dtype", TYPES)
def test_masked_and_overflowing_pixels_are_skipped_frame_by_frame(dtype, lost):
    frames, bins, owner, n_bins, weights = case(dtype, 4, 20000)
    frames[0, 100] = frames[2, 7000] = lost[0]
    frames[1, 200] = lost[-1]
    mask = np.zeros(frames.shape, np.uint8)
    mask[1, 5000:5100] = 1
    mask[3] = 7
    signal, variance, skipped, _ = agree(frames, bins, owner, n_bins, weights, mask, lost)
    assert skipped[3].sum() == (bins < len(owner)).sum()
    assert not signal[3].any()
    assert not variance[3].any()
    agree(frames, bins, owner, n_bins, weights, None, lost)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nan_and_infinity_are_skipped(dtype):
    frames, bins, owner, n_bins, weights = case(dtype)
    frames[0, ::7] = np.nan
    frames[1, 3], frames[1, 4] = np.inf, -np.inf
    frames[2] = np.nan
    signal, _, skipped, _ = agree(frames, bins, owner, n_bins, weights)
    assert np.isfinite(signal).all()
    assert skipped[2].sum() == (bins < len(owner)).sum()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_frames", [1, 9])
def test_what_unused_pixels_hold_does_not_matter(dtype, n_frames):
    frames, bins, owner, n_bins, weights = case(dtype, n_frames, 6000)
    wild = frames.copy()
    unused = bins == len(owner)
    wild[:, unused] = np.nan if dtype[0] == "f" else np.iinfo(dtype).max
    wild[:, np.flatnonzero(unused)[0]] = -np.inf if dtype[0] == "f" else np.iinfo(dtype).min
    lost = np.array([wild[0, np.flatnonzero(unused)[-1]]])
    for calm, stormy in zip(
        azimuthal(frames, bins, owner, n_bins, weights, None, lost),
        azimuthal(wild, bins, owner, n_bins, weights, None, lost),
        strict=True,
    ):
        assert calm.tobytes() == stormy.tobytes()


def test_no_pixel_in_use():
    frames, bins, owner, n_bins, weights = case("u4", 3, 5000)
    for result in agree(frames, np.full_like(bins, len(owner)), owner, n_bins, weights, None, [0]):
        assert not result.any()


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_negative_counts_have_the_variance_of_one(dtype, n_frames):
    frames, bins, owner, n_bins, weights = case(dtype, n_frames)
    frames -= 3
    agree(frames, bins, owner, n_bins, weights)
    agree(frames, bins, owner, n_bins, weights, None, [-1])


@pytest.mark.parametrize("dtype", TYPES)
def test_given_variances_are_summed_as_they_are(dtype):
    frames, bins, owner, n_bins, weights = case(dtype, 4)
    if dtype[0] == "f":
        frames = frames * np.asarray(0.3, dtype)
    if dtype[0] != "u":
        frames[0, 7] = -5
    signal, variance, *_ = agree(frames, bins, owner, n_bins, weights, None, [3], of_variance=True)
    np.testing.assert_array_equal(signal, variance)


@pytest.mark.parametrize("dtype", ["u4", "i4", "f4", "f8"])
def test_large_counts_are_summed_exactly(dtype):
    frames, bins, owner, n_bins, weights = case(dtype, 2, 1 << 18, 1)
    frames += np.asarray(1_000_000_000, dtype)
    signal, *_ = agree(frames, bins, owner, n_bins, weights)
    np.testing.assert_array_equal(signal[:, 0], frames[:, bins < len(owner)].sum(axis=1, dtype=float))


@pytest.mark.parametrize("strange", [False, True])
@pytest.mark.parametrize("n_bins", [40, 20000])
@pytest.mark.parametrize("dtype", TYPES)
def test_any_grouping_and_any_number_of_threads_give_the_same_bits(dtype, n_bins, strange):
    frames, bins, owner, n_bins, weights = case(dtype, 17, 9001, n_bins)
    if dtype[0] == "f":
        frames = frames * np.asarray(0.1, dtype)
        frames[3, 5] = np.nan if strange else 0
    if strange:
        frames[5, ::3] = 120
        if dtype[-1] != "1":
            frames[6, 4000:] = 30000
    lost = np.array([120] if strange else [], dtype)
    whole = azimuthal(frames, bins, owner, n_bins, weights, None, lost)
    for n_threads in (2, 4):
        threaded = azimuthal(frames, bins, owner, n_bins, weights, None, lost, n_threads=n_threads)
        assert all(one.tobytes() == other.tobytes() for one, other in zip(whole, threaded, strict=True))
    for size in (1, 2, 3, 5, 8, 9, 16):
        parts = [azimuthal(frames[i : i + size], bins, owner, n_bins, weights, None, lost) for i in range(0, 17, size)]
        for k in range(4):
            assert whole[k].tobytes() == b"".join(part[k].tobytes() for part in parts)


def test_read_only_input_is_taken_and_left_unchanged():
    arrays = case("u4")
    copies = [np.copy(array) for array in arrays]
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    agree(*arrays)
    for before, after in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(before, after)


def test_strided_input_is_refused_not_misread():
    frames, bins, owner, n_bins, weights = case("u4")
    with pytest.raises(ValueError, match="contiguous"):
        azimuthal(frames[:, ::-1], bins, owner, n_bins, weights, None, none("u4"))


def test_wrong_shapes_bins_and_owners_are_refused():
    frames, bins, owner, n_bins, weights = case("u4")
    lost = none("u4")
    for arguments in (
        (frames, bins[:-1], owner, n_bins, weights, None, lost),
        (frames, bins, owner, n_bins, weights[:, :-1], None, lost),
        (frames, bins, owner, n_bins, weights, np.zeros((1, 5000), np.uint8), lost),
        (frames, bins, owner[:-1], n_bins - 1, weights, None, lost),
        (frames, bins, owner, n_bins - 1, weights, None, lost),
        (frames, bins, owner - 1, n_bins, weights, None, lost),
        (frames, bins, owner[::-1].copy(), n_bins, weights, None, lost),
        (frames, bins, owner[:0], n_bins, weights, None, lost),
        (frames, bins, owner, 0, weights, None, lost),
        (frames, bins, owner, n_bins, weights, None, lost, False, 0),
    ):
        with pytest.raises(ValueError):
            azimuthal(*arguments)
        with pytest.raises(ValueError):
            reference.azimuthal(*arguments)


@pytest.mark.parametrize(("n_bins", "index"), [(65535, "u2"), (65536, "u4"), (360000, "u4")])
@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_many_bins(n_bins, index, dtype, n_frames):
    frames, _, _, _, weights = case(dtype, n_frames, 70000)
    bins = (np.arange(70000) * 7 % (n_bins + 1)).astype(index)
    frames[-1, 5] = 30000
    agree(frames, bins, np.arange(n_bins, dtype=np.int32), n_bins, weights)


def test_bins_without_pixels_stay_zero():
    frames, bins, _, n_bins, weights = case("u4")
    owner = np.arange(n_bins, dtype=np.int32) * 3 + 1
    signal, *_ = agree(frames, bins, owner, 3 * n_bins + 5, weights, None, [3])
    assert not signal[:, ::3].any()


def test_permuting_pixels_changes_nothing():
    frames, bins, owner, n_bins, weights = case("u2", 2, 9000)
    order = np.random.default_rng(1).permutation(9000)
    straight = azimuthal(frames, bins, owner, n_bins, weights, None, none("u2"))
    mixed = azimuthal(
        np.ascontiguousarray(frames[:, order]), bins[order], owner, n_bins, np.ascontiguousarray(weights[:, order]),
        None, none("u2"),
    )  # fmt: skip
    np.testing.assert_array_equal(straight[0], mixed[0])
    np.testing.assert_array_equal(straight[1], mixed[1])


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    index=st.sampled_from(["u2", "u4"]),
    n_frames=st.integers(0, 9),
    n_pixels=st.integers(0, 5000),
    n_bins=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
    masked=st.sampled_from([None, 0.0, 0.01, 1.0]),
    strange=st.sampled_from([0.0, 0.001, 0.5]),
    of_variance=st.booleans(),
)
def test_random_stacks(dtype, index, n_frames, n_pixels, n_bins, seed, masked, strange, of_variance):
    frames, bins, owner, n_bins, weights = case(dtype, n_frames, n_pixels, n_bins, seed, index)
    random = np.random.default_rng(seed)
    odd = random.random(frames.shape) < strange
    if dtype[0] == "f":
        frames[odd] = random.choice(np.array([np.nan, np.inf, -np.inf, 1e9, -1e9, 1e-30], dtype), odd.sum())
        overflow = [1e9]
    else:
        info = np.iinfo(dtype)
        wild = [info.max, info.min, info.max - 1, info.max // 2, min(info.max, 256), min(info.max, 255)]
        frames[odd] = random.choice(np.array(wild, dtype), odd.sum())
        overflow = [info.max]
    mask = None if masked is None else (random.random(frames.shape) < masked).astype(np.uint8)
    agree(frames, bins, owner, n_bins, weights, mask, overflow, of_variance=of_variance)
