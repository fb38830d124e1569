"""Sums straight from chunks: the bits of the kernels that see the pixels, and no harm from damage."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from batlab._kernels import reference
from batlab._kernels.azimuthal import azimuthal
from batlab._kernels.azimuthal_chunks import azimuthal_chunks
from batlab._kernels.azimuthal_split import azimuthal_split

TYPES = ("u1", "u2", "u4", "i2", "i4", "f4", "f8")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Return a function that stores frames with hdf5plugin, one a chunk, and reads the chunks' bytes."""
    count = iter(range(10**6))
    folder = tmp_path_factory.mktemp("chunks")

    def stored(frames, nelems=0):
        with h5py.File(folder / f"{next(count)}.h5", "w") as file:
            packing = hdf5plugin.Bitshuffle(nelems=nelems, cname="lz4")
            data = file.create_dataset("data", data=frames, chunks=(1, frames.shape[1]), **packing)
            return [data.id.read_direct_chunk((i, 0))[1] for i in range(len(frames))]

    return stored


def case(dtype, n_frames=3, n_pixels=9001, n_bins=40, seed=0):
    """Frames; both indices; weights; powers."""
    random = np.random.default_rng(seed)
    frames = random.poisson(2, (n_frames, n_pixels)).astype(dtype)
    number = random.integers(0, n_bins + 1, n_pixels)
    number[n_pixels // 3 : n_pixels // 3 + 50] = n_bins
    counts = np.bincount(number, minlength=n_bins + 1)
    assert counts[:n_bins].max() < 4096
    used = np.flatnonzero(number < n_bins)
    length = np.minimum(random.integers(1, 4, len(used)), n_bins - number[used])
    run_start = np.searchsorted(used, np.arange(-(-n_pixels // 2048) + 1) * 2048)
    entry_start = np.concatenate([[0], np.cumsum(length)])[run_start]
    share = random.uniform(0, 1, length.sum()).astype("f4")
    runs = number[used].astype("u4"), (used % 2048).astype("u2"), length.astype("u2"), share, run_start, entry_start
    whole = number.astype("u2"), np.arange(n_bins, dtype=np.int32)
    weights = random.uniform(0.5, 2, (2, n_pixels)).astype(np.float32)
    return frames, (whole, runs), n_bins, weights, np.array([1, 2], np.uint8)


def from_memory(frames, index, n_bins, weights, powers, mask, overflow):
    if len(index) == 2:
        return azimuthal(frames, *index, n_bins, weights, mask, overflow)
    return azimuthal_split(frames, *index, n_bins, weights, powers, mask, overflow)


def same(pack, frames, indices, n_bins, weights, powers, mask=None, overflow=(), nelems=0):
    lost = np.asarray(overflow, frames.dtype)
    chunks = pack(frames, nelems)
    for index in indices:
        *got, status = azimuthal_chunks(chunks, index, n_bins, weights, powers, mask, lost)
        want = from_memory(frames, index, n_bins, weights, powers, mask, lost)
        assert not status.any()
        for ours, theirs in zip(got, want, strict=True):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("n_frames", [1, 3, 11])
@pytest.mark.parametrize("dtype", TYPES)
def test_the_bits_are_those_of_frames_in_memory(pack, dtype, n_frames):
    same(pack, *case(dtype, n_frames))


@pytest.mark.parametrize("n_pixels", [1, 7, 8, 2047, 2048, 2055, 4096, 4097, 8192])
@pytest.mark.parametrize("dtype", ["u1", "u4", "f8"])
def test_any_number_of_pixels(pack, dtype, n_pixels):
    same(pack, *case(dtype, 2, n_pixels))


@pytest.mark.parametrize("nelems", [8, 64, 1024, 2048, 2056, 4096, 6144, 65536])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f8"])
def test_blocks_of_any_size(pack, dtype, nelems):
    frames, *rest = case(dtype, 3, 14001)
    frames[1, 6000:9000] = 250
    same(pack, frames, *rest, nelems=nelems)


def test_very_large_blocks_are_handed_back(pack):
    frames = np.ones((2, 1 << 19), "u4")
    bins, weights, powers = np.zeros(1 << 19, "u2"), np.ones((1, 1 << 19), "f4"), np.ones(1, np.uint8)
    bins[4000:] = 1
    index, lost = (bins, np.zeros(1, "i4")), np.empty(0, "u4")
    *sums, status = azimuthal_chunks(pack(frames, 1 << 19), index, 1, weights, powers, None, lost)
    assert (status == 1).all()
    assert all(np.isnan(part).all() for part in sums)
    assert not azimuthal_chunks(pack(frames, 1 << 18), index, 1, weights, powers, None, lost)[4].any()


@pytest.mark.parametrize("dtype", TYPES)
def test_special_pixels_and_bright_blocks(pack, dtype):
    frames, *rest = case(dtype, 9)
    top = 100 if dtype == "u1" else 30000
    frames[0, 5000:5010] = top
    frames[2, 5] = frames[3, 8999] = frames[4, 9000] = top
    frames[5] = top
    if dtype[0] != "u":
        frames[6, 77] = -4
    if dtype[0] == "f":
        frames[7, 4000:4010] = np.nan
    frames[:, rest[0][0][0] == 40] = np.asarray(-1).astype(dtype) if dtype[0] != "f" else np.nan
    mask = np.zeros(frames.shape, np.uint8)
    mask[1, 3000:3500] = 1
    for hidden in (None, mask):
        for lost in ([], [1], [top]):
            same(pack, frames, *rest, mask=hidden, overflow=lost)


@pytest.mark.parametrize("dtype", TYPES)
def test_any_grouping_and_any_number_of_threads_give_the_same_bits(pack, dtype):
    frames, indices, *rest = case(dtype, 17)
    frames[5, ::7] = 90
    chunks, lost = pack(frames), np.array([90], dtype)
    for index in indices:
        whole = azimuthal_chunks(chunks, index, *rest, None, lost)
        for n_threads in (2, 4):
            threaded = azimuthal_chunks(chunks, index, *rest, None, lost, n_threads)
            assert all(one.tobytes() == other.tobytes() for one, other in zip(whole, threaded, strict=True))
        for size in (1, 2, 8, 9):
            parts = [azimuthal_chunks(chunks[i : i + size], index, *rest, None, lost) for i in range(0, 17, size)]
            for k in range(5):
                assert whole[k].tobytes() == b"".join(part[k].tobytes() for part in parts)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_it_equals_the_oracle(pack, dtype):
    frames, indices, *rest = case(dtype, 3, 4500)
    chunks, lost = pack(frames), np.array([3], dtype)
    for index in indices:
        got = azimuthal_chunks(chunks, index, *rest, None, lost)
        want = reference.azimuthal_chunks(chunks, index, *rest, None, lost)
        for ours, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-9)


def test_damaged_chunks_cost_only_their_own_frames(pack):
    frames, indices, *rest = case("u4", 9)
    sound, lost = pack(frames), np.empty(0, "u4")
    chunks = list(sound)
    chunks[1] = chunks[1][:1000]
    chunks[2] = b""
    chunks[4] = chunks[4] + b"x"
    chunks[5] = chunks[5][:12] + b"\x00\x00\xff" + chunks[5][15:]
    chunks[7] = sound[7][:3] + b"\x01" + sound[7][4:]
    for index in indices:
        whole = azimuthal_chunks(sound, index, *rest, None, lost)
        hurt = azimuthal_chunks(chunks, index, *rest, None, lost)
        np.testing.assert_array_equal(hurt[4], reference.azimuthal_chunks(chunks, index, *rest, None, lost)[4])
        np.testing.assert_array_equal(np.flatnonzero(hurt[4]), [1, 2, 4, 5, 7])
        for good, bad in zip(whole[:4], hurt[:4], strict=True):
            assert good[[0, 3, 6, 8]].tobytes() == bad[[0, 3, 6, 8]].tobytes()
            assert np.isnan(bad[[1, 2, 4, 5, 7]]).all()


def test_mutated_chunks_fare_as_with_the_oracle(pack):
    """A bit here, a piece there: the same verdict and sums as a decoder in Python, block for block."""
    frames, indices, *rest = case("u2", 1, 4100)
    [sound] = pack(frames)
    random, lost = np.random.default_rng(5), np.empty(0, "u2")
    for i in range(300):
        mutated = bytearray(sound)
        for _ in range(random.integers(1, 4)):
            mutated[random.integers(len(mutated))] = random.integers(256)
        if i % 5 == 0:
            del mutated[random.integers(len(mutated)) :]
        index = indices[i % 2]
        got = azimuthal_chunks([bytes(mutated)], index, *rest, None, lost)
        want = reference.azimuthal_chunks([bytes(mutated)], index, *rest, None, lost)
        assert got[4][0] == want[4][0]
        for ours, theirs in zip(got, want, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-9)


def test_read_only_input_is_left_unchanged(pack):
    frames, (whole, _), n_bins, weights, powers = case("u4")
    chunks = pack(frames)
    copies = [bytes(chunk) for chunk in chunks]
    azimuthal_chunks([bytearray(chunk) for chunk in chunks], whole, n_bins, weights, powers, None, np.empty(0, "u4"))
    assert chunks == copies


def test_what_does_not_fit_is_refused(pack):
    frames, (whole, runs), n_bins, weights, powers = case("u4")
    chunks, lost = pack(frames), np.empty(0, "u4")
    mask = np.zeros((1, frames.shape[1]), np.uint8)
    for arguments in (
        (chunks, whole[:1], n_bins, weights, powers, None, lost),
        (chunks, (whole[0][:-1], whole[1]), n_bins, weights, powers, None, lost),
        (chunks, (whole[0] + np.uint16(1), whole[1]), n_bins, weights, powers, None, lost),
        (chunks, (whole[0], whole[1] - np.int32(1)), n_bins, weights, powers, None, lost),
        (chunks, runs, n_bins - 1, weights, powers, None, lost),
        (chunks, (runs[0], runs[1], runs[2], runs[3][:-1], *runs[4:]), n_bins, weights, powers, None, lost),
        (chunks, whole, n_bins, weights, powers[:1], None, lost),
        (chunks, whole, n_bins, weights, powers, mask, lost),
        (chunks, whole, 0, weights, powers, None, lost),
        (chunks, whole, n_bins, weights, powers, None, lost, 0),
    ):
        for function in (azimuthal_chunks, reference.azimuthal_chunks):
            with pytest.raises(ValueError):
                function(*arguments)


def test_frames_with_blocks_of_different_sizes_stand_side_by_side(pack):
    frames, indices, *rest = case("u2", 8)
    lost, sizes = np.empty(0, "u2"), [4096, 2048, 0, 2048, 64, 6144, 2048, 8]
    chunks = [pack(frames[i : i + 1], size)[0] for i, size in enumerate(sizes)]
    for index in indices:
        *got, status = azimuthal_chunks(chunks, index, *rest, None, lost)
        assert not status.any()
        for ours, theirs in zip(got, from_memory(frames, index, *rest, None, lost), strict=True):
            assert ours.tobytes() == theirs.tobytes()
