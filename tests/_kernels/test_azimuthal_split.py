"""The kernel of split pixels against its oracle, on runs and counts made to break it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.azimuthal import azimuthal
from batlab._kernels.azimuthal_split import azimuthal_split

TYPES = ("u1", "u2", "u4", "i2", "i4", "f4", "f8")
RUNS = ("first", "pixel", "length", "weight", "run_start", "entry_start")


def runs(n_pixels, n_bins, random, longest=4, rows=1):
    """Runs of 0 to `longest` bins; each pixel has up to `rows` of them."""
    number = np.repeat(np.arange(n_pixels), random.integers(0, rows + 1, n_pixels))
    length = random.integers(0, min(longest, n_bins) + 1, len(number))
    first = random.integers(0, n_bins + 1 - length)
    blocks = np.arange(-(-n_pixels // 2048) + 1) * 2048
    run_start = np.searchsorted(number, blocks)
    entry_start = np.concatenate([[0], np.cumsum(length)])[run_start]
    weight = random.uniform(0, 1, length.sum()).astype("f4")
    types = ("u4", "u2", "u2", "f4", "i8", "i8")
    values = (first, number % 2048, length, weight, run_start, entry_start)
    return tuple(np.ascontiguousarray(one, dtype) for one, dtype in zip(values, types, strict=True))


def case(dtype, n_frames=3, n_pixels=5000, n_bins=40, seed=0, **shape):
    random = np.random.default_rng(seed)
    frames = random.poisson(2, (n_frames, n_pixels)).astype(dtype)
    weights = random.uniform(0.5, 2, (2, n_pixels)).astype(np.float32)
    return frames, *runs(n_pixels, n_bins, random, **shape), n_bins, weights, np.array([1, 2], np.uint8)


def agree(*arguments, mask=None, overflow=(), **options):
    overflow = np.asarray(overflow, arguments[0].dtype)
    got = azimuthal_split(*arguments, mask, overflow, **options)
    want = reference.azimuthal_split(*arguments, mask, overflow, **options)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11 * (1 + np.abs(theirs).max(initial=0)))
    return got


@pytest.mark.parametrize("longest", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("n_frames", [1, 3, 8])
@pytest.mark.parametrize("dtype", TYPES)
def test_it_equals_the_oracle(dtype, n_frames, longest):
    agree(*case(dtype, n_frames, 9001, longest=longest))


@pytest.mark.parametrize("dtype", TYPES)
def test_pixels_with_several_runs_in_many_bins(dtype):
    agree(*case(dtype, 3, 9001, 20000, rows=4), overflow=[1])


@pytest.mark.parametrize("n_frames", [0, 1, 2])
@pytest.mark.parametrize("n_pixels", [0, 1, 3, 255, 256, 257, 2047, 2048, 2049])
@pytest.mark.parametrize("dtype", ["u4", "f4"])
def test_few_frames_and_few_pixels(dtype, n_frames, n_pixels):
    agree(*case(dtype, n_frames, n_pixels))


def test_one_bin():
    agree(*case("u4", 3, 5000, 1))


def test_whole_pixels_are_those_of_the_kernel_without_splitting():
    frames, *_, weights, _ = case("u4", 9, 5000)
    bins = np.random.default_rng(3).integers(0, 41, 5000).astype(np.uint16)
    used = np.flatnonzero(bins < 40)
    run_start = np.searchsorted(used, np.arange(4) * 2048)
    ones = np.ones(len(used))
    split = azimuthal_split(
        frames, bins[used].astype("u4"), (used % 2048).astype("u2"), ones.astype("u2"), ones.astype("f4"), run_start,
        run_start, 40, weights, np.array([1, 2], np.uint8), None, np.array([1], "u4"),
    )  # fmt: skip
    owner = np.arange(40, dtype=np.int32)
    whole = azimuthal(frames, bins, owner, 40, weights, None, np.array([1], "u4"))
    for ours, theirs in zip(split, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("value", [0, 1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_counts_of_any_size(n_frames, value):
    arguments = case("u4", n_frames, 5000)
    arguments[0][0, 1000:2500] = value
    agree(*arguments)


@pytest.mark.parametrize("dtype", TYPES)
def test_masked_and_overflowing_pixels_are_skipped_frame_by_frame(dtype):
    arguments = case(dtype, 4, 20000)
    arguments[0][0, 100] = arguments[0][2, 7000] = 100
    mask = np.zeros(arguments[0].shape, np.uint8)
    mask[1, 5000:5100] = 1
    mask[3] = 9
    signal, variance, skipped, _ = agree(*arguments, mask=mask, overflow=[100, 3])
    assert not signal[3].any()
    assert not variance[3].any()
    assert skipped[3].sum() == pytest.approx(arguments[4].sum(dtype=float))


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4", "f8"])
def test_negative_and_not_finite_values(dtype):
    arguments = case(dtype, 3)
    arguments[0][:] -= 2
    if dtype[0] == "f":
        arguments[0][1, ::7] = np.nan
        arguments[0][2, 5] = np.inf
    agree(*arguments)
    agree(*arguments, of_variance=True)


@pytest.mark.parametrize("dtype", TYPES)
def test_what_unused_pixels_hold_does_not_matter(dtype):
    frames, *rest = case(dtype, 9, 6000)
    unused = np.ones(6000, bool)
    unused[np.repeat(np.arange(3) * 2048, np.diff(rest[4])) + rest[1]] = False
    wild = frames.copy()
    wild[:, unused] = np.nan if dtype[0] == "f" else np.iinfo(dtype).max
    lost = wild[0, unused][:1]
    for calm, stormy in zip(
        azimuthal_split(frames, *rest, None, lost), azimuthal_split(wild, *rest, None, lost), strict=True
    ):
        assert calm.tobytes() == stormy.tobytes()


@pytest.mark.parametrize("strange", [False, True])
@pytest.mark.parametrize("n_bins", [40, 20000])
@pytest.mark.parametrize("dtype", TYPES)
def test_any_grouping_and_any_number_of_threads_give_the_same_bits(dtype, n_bins, strange):
    frames, *rest = case(dtype, 17, 9001, n_bins, rows=2)
    if dtype[0] == "f":
        frames = frames * np.asarray(0.1, dtype)
        frames[3, 5] = np.nan if strange else 0
    if strange:
        frames[5, ::3] = 120
        if dtype[-1] != "1":
            frames[6, 4000:] = 30000
    lost = np.array([120] if strange else [], dtype)
    whole = azimuthal_split(frames, *rest, None, lost)
    for n_threads in (2, 4):
        threaded = azimuthal_split(frames, *rest, None, lost, n_threads=n_threads)
        assert all(one.tobytes() == other.tobytes() for one, other in zip(whole, threaded, strict=True))
    for size in (1, 2, 3, 8, 9, 16):
        parts = [azimuthal_split(frames[i : i + size], *rest, None, lost) for i in range(0, 17, size)]
        for k in range(4):
            assert whole[k].tobytes() == b"".join(part[k].tobytes() for part in parts)


def test_read_only_input_is_taken_and_left_unchanged():
    arguments = case("u4")
    arrays = [one for one in arguments if isinstance(one, np.ndarray)]
    copies = [np.copy(array) for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    agree(*arguments, overflow=[2])
    for before, after in zip(copies, arrays, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("first", lambda a: a + np.uint32(40)),
        ("first", lambda a: a[:-1]),
        ("pixel", lambda a: a[::-1].copy()),
        ("pixel", lambda a: a + np.uint16(2048)),
        ("pixel", lambda a: np.maximum(a, 1000)),  # beyond the last pixel of the last block
        ("length", lambda a: a + np.uint16(1)),
        ("length", lambda a: a[:-1]),
        ("weight", lambda a: a[:-1]),
        ("run_start", lambda a: a[:-1]),
        ("run_start", lambda a: a[::-1].copy()),
        ("entry_start", lambda a: a - 1),
        ("entry_start", lambda a: np.sort(np.append(a[:-1], a[1]))),
    ],
)
def test_runs_that_lead_out_of_their_arrays_are_refused(name, change):
    arguments = list(case("u4", 2, 5000))
    arguments[1 + RUNS.index(name)] = change(arguments[1 + RUNS.index(name)])
    if name == "entry_start" and len(arguments[6]) == 4 and arguments[6][0] == 0:
        arguments[6][-1] = len(arguments[4])
    for function in (azimuthal_split, reference.azimuthal_split):
        with pytest.raises(ValueError):
            function(*arguments, None, np.empty(0, "u4"))


def test_wrong_shapes_are_refused():
    frames, *index, n_bins, weights, powers = case("u4")
    lost, mask = np.empty(0, "u4"), np.zeros((1, 5000), np.uint8)
    for arguments in (
        (frames, *index, n_bins, weights[:, :-1], powers, None, lost),
        (frames, *index, n_bins, weights, powers[:1], None, lost),
        (frames, *index, n_bins, weights, powers, mask, lost),
        (frames, *index, 0, weights, powers, None, lost),
        (frames, *index, n_bins, weights, powers, None, lost, False, 0),
    ):
        for function in (azimuthal_split, reference.azimuthal_split):
            with pytest.raises(ValueError):
                function(*arguments)


@settings(max_examples=80, deadline=None)
@given(
    dtype=st.sampled_from(TYPES),
    n_frames=st.integers(0, 9),
    n_pixels=st.integers(0, 5000),
    n_bins=st.integers(1, 300),
    longest=st.integers(0, 9),
    rows=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    masked=st.sampled_from([None, 0.0, 0.01, 1.0]),
    strange=st.sampled_from([0.0, 0.001, 0.5]),
    of_variance=st.booleans(),
)
def test_random_stacks(dtype, n_frames, n_pixels, n_bins, longest, rows, seed, masked, strange, of_variance):
    arguments = case(dtype, n_frames, n_pixels, n_bins, seed, longest=longest, rows=rows)
    frames, random = arguments[0], np.random.default_rng(seed)
    odd = random.random(frames.shape) < strange
    if dtype[0] == "f":
        frames[odd] = random.choice(np.array([np.nan, np.inf, -np.inf, 1e9, -1e3, 1e-30], dtype), odd.sum())
        overflow = [1e9]
    else:
        info = np.iinfo(dtype)
        wild = [info.max, info.min, info.max - 1, min(info.max, 256), min(info.max, 255)]
        frames[odd] = random.choice(np.array(wild, dtype), odd.sum())
        overflow = [info.max]
    mask = None if masked is None else (random.random(frames.shape) < masked).astype(np.uint8)
    agree(*arguments, mask=mask, overflow=overflow, of_variance=of_variance)
