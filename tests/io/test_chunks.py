"""Frames as compressed chunks: the same numbers as HDF5's own way, or the ordinary way and a word in the log."""

import logging
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import h5py
import hdf5plugin
import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import chunks as chunk_module
from batlab.io.chunk_graph import chunk_source
from batlab.io.chunks import kept_open
from batlab.io.filters import decode_chunks, fletcher32

RNG = np.random.default_rng(4)
COUNTS = RNG.poisson(0.7, (10, 21, 30)).astype("u4")
COUNTS[:, 9] = 2**32 - 1
FILTERS = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "gzip, shuffle": {"compression": "gzip", "shuffle": True},
    "shuffle": {"shuffle": True},
    "fletcher32": {"fletcher32": True},
    "gzip, shuffle, fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lz4": hdf5plugin.LZ4(),
    "lz4 in blocks, shuffle": {**hdf5plugin.LZ4(nbytes=100), "shuffle": True},
    "zstd": hdf5plugin.Zstd(),
    "bitshuffle": hdf5plugin.Bitshuffle(),
    "bitshuffle in blocks": hdf5plugin.Bitshuffle(nelems=64),
    "bitshuffle zstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "bitshuffle, fletcher32": {**hdf5plugin.Bitshuffle(), "fletcher32": True},
}
SHAPES = {
    "frame": (1, 21, 30),
    "rows": (1, 7, 30),
    "rows beyond the edge": (1, 8, 30),
    "tiles beyond the edge": (1, 8, 13),
    "three frames": (3, 21, 30),
    "three frames of tiles": (3, 10, 30),
}


def write(path, counts=COUNTS, chunks=None, **options):
    with h5py.File(path, "w") as file:
        size = chunks or (1, *counts.shape[1:])
        file.create_dataset("entry/data/data", data=counts, chunks=size, **(options or FILTERS["bitshuffle"]))
    return path


def source_of(path, **hints):
    found = chunk_source(io.open(path, **hints).intensity.data)
    assert found is not None
    return found


def decoded(source):
    out = np.empty(source.shape, source.dtype)
    source.decode(slice(None), out)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u4", "f4", "f8"])
def test_every_filter_and_chunk_shape_gives_what_hdf5_gives(tmp_path, filters, shape, dtype):
    counts = (COUNTS % 251).astype(dtype)
    path = write(tmp_path / "run.h5", counts, SHAPES[shape], **FILTERS[filters] or {"track_times": False})
    source = source_of(path)
    is_fused = filters in ("bitshuffle", "bitshuffle in blocks") and shape in ("frame", "rows", "rows beyond the edge")
    assert source.kind == ("bitshuffle-lz4" if is_fused else "decode")
    assert source.shape == counts.shape
    assert source.dtype == counts.dtype
    assert np.array_equal(decoded(source), counts)
    assert np.array_equal(decoded(source[::-3]), counts[::-3])


@pytest.mark.parametrize("shape", ["frame", "rows", "rows beyond the edge"])
def test_raw_chunks_cover_the_frame(tmp_path, shape):
    source = source_of(write(tmp_path / "run.h5", chunks=SHAPES[shape]))
    assert source.chunk_pixels == np.prod(SHAPES[shape])
    covered = 0
    for first, n, content, is_raw in source.raw(4):
        assert first == covered
        assert not is_raw
        out = np.empty((1, source.chunk_pixels), "u4")
        assert decode_chunks([(0, content)], out.view("u1"), source.arrays[0].layout.filters, 4) == [""]
        assert np.array_equal(out[0, :n], COUNTS[4].reshape(-1)[first : first + n])
        covered += n
    assert covered == COUNTS[0].size


def test_a_filter_that_was_skipped_for_a_chunk(tmp_path):
    options = {"compression": "gzip", "shuffle": True}
    path = write(tmp_path / "run.h5", **options)
    with h5py.File(path, "r+") as file:
        stored = file["entry/data/data"].id
        stored.write_direct_chunk((2, 0, 0), COUNTS[2].tobytes(), 0b11)
        planes = COUNTS[3].reshape(-1).view("u1").reshape(-1, 4).T.tobytes()
        stored.write_direct_chunk((3, 0, 0), planes, 0b10)
    assert np.array_equal(decoded(source_of(path)), COUNTS)
    path = write(tmp_path / "eiger.h5")
    with h5py.File(path, "r+") as file:
        file["entry/data/data"].id.write_direct_chunk((2, 0, 0), COUNTS[2].tobytes(), 1)
    source = source_of(path)
    assert source.raw(2) == [(0, COUNTS[2].size, COUNTS[2].tobytes(), True)]
    assert np.array_equal(decoded(source), COUNTS)


def test_one_frame_in_two_dimensions(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.create_dataset("image", data=COUNTS[0], chunks=(8, 13), compression="gzip")
    source = source_of(tmp_path / "one.h5")
    assert source.shape == (1, 21, 30)
    assert np.array_equal(decoded(source)[0], COUNTS[0])


def write_series(folder, n_files=3):
    for k in range(n_files):
        write(folder / f"run_data_{k + 1:06}.h5", COUNTS[3 * k : 3 * k + 3])
    with h5py.File(folder / "run_master.h5", "w") as file:
        for k in range(n_files):
            name = f"run_data_{k + 1:06}.h5"
            file[f"entry/data/data_{k + 1:06}"] = h5py.ExternalLink(name, "/entry/data/data")
    return folder / "run_master.h5"


def test_frames_of_several_files_and_parts_of_them(tmp_path):
    source = source_of(write_series(tmp_path), chunks=2)
    assert np.array_equal(decoded(source), COUNTS[:9])
    part = source[4:6]
    assert [Path(array.path).name for array in part.arrays] == ["run_data_000002.h5"]
    assert np.array_equal(decoded(part), COUNTS[4:6])
    assert np.array_equal(decoded(source[np.array([8, 0, 3])]), COUNTS[[8, 0, 3]])
    assert len(source[5:5]) == 0


def test_a_virtual_array_of_whole_frames(tmp_path):
    write_series(tmp_path)
    layout = h5py.VirtualLayout((5, 21, 30), "u4")
    layout[:2] = h5py.VirtualSource(tmp_path / "run_data_000001.h5", "entry/data/data", (3, 21, 30))[1:]
    layout[2:] = h5py.VirtualSource(tmp_path / "run_data_000003.h5", "entry/data/data", (3, 21, 30))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    source = source_of(tmp_path / "virtual.h5")
    assert source.kind == "bitshuffle-lz4"
    assert np.array_equal(decoded(source), COUNTS[[1, 2, 6, 7, 8]])


def test_lost_frames_are_left_out(tmp_path):
    path = write_series(tmp_path)
    cut = tmp_path / "run_data_000002.h5"
    with h5py.File(cut) as file:
        end = file["entry/data/data"].id.get_chunk_info_by_coord((1, 0, 0)).byte_offset
    os.truncate(cut, end + 10)
    with pytest.warns(UserWarning, match="lost"):
        frames = io.open(path)
    source = chunk_source(frames.intensity.data)
    assert np.array_equal(decoded(source), COUNTS[frames.frame.values])
    assert 3 <= len(source) < 9


FOLLOWED = {
    "as opened": lambda a: a,
    "cut": lambda a: a[2:9],
    "every third": lambda a: a[1::3],
    "backwards": lambda a: a[::-1],
    "chosen": lambda a: a[[7, 1, 1, 4]],
    "by truth": lambda a: a[np.arange(10) % 4 > 0],
    "cut twice": lambda a: a[1:9][2:5],
    "chosen and cut": lambda a: a[[9, 3, 5, 0, 2]][1:4],
    "in other pieces": lambda a: a.rechunk((4, -1, -1)),
    "in other pieces, cut": lambda a: a.rechunk((4, -1, -1))[3:7],
    "twice": lambda a: da.concatenate([a[4:], a[:2]]),
    "whole along y and x": lambda a: a[3:5][:, 0:21, :30],
}


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.parametrize("way", FOLLOWED)
def test_slices_of_the_lazy_array_are_followed(tmp_path, way, chunks):
    array = FOLLOWED[way](io.open(write(tmp_path / "run.h5"), chunks=chunks).intensity.data)
    source = chunk_source(array)
    assert source is not None
    assert np.array_equal(decoded(source), array.compute())
    assert np.array_equal(decoded(source), FOLLOWED[way](da.from_array(COUNTS)).compute())


def test_xarray_selects_frames(tmp_path):
    frames = io.open(write(tmp_path / "run.h5")).intensity
    for part in (frames.isel(frame=slice(2, 5)), frames.isel(frame=[3, 1]), frames.sel(frame=slice(4, 8))):
        assert np.array_equal(decoded(chunk_source(part.data)), part.values)


def test_two_series_one_after_the_other(tmp_path):
    one = io.open(write(tmp_path / "a.h5", COUNTS[:4])).intensity.data
    two = io.open(write(tmp_path / "b.h5", COUNTS[4:])).intensity.data
    assert np.array_equal(decoded(chunk_source(da.concatenate([one[1:], two]))), COUNTS[1:])
    assert np.array_equal(
        decoded(chunk_source(da.concatenate([two, one, two[:1]]))), COUNTS[[*range(4, 10), *range(4), 4]]
    )


NOT_FOLLOWED = {
    "one frame": (lambda a: a[3], "dimensions"),
    "part of the image": (lambda a: a[:, 2:], "cut or turned"),
    "first rows": (lambda a: a[:, :20], "cut or turned|changed"),
    "upside down": (lambda a: a[:, ::-1], "cut or turned"),
    "halves exchanged": (lambda a: da.concatenate([a[:, 11:], a[:, :11]], axis=1), "in pieces"),
    "halves exchanged, in one piece": (
        lambda a: da.concatenate([a[:, 11:], a[:, :11]], axis=1).rechunk((-1, -1, -1)),
        "y or x|cut or turned",
    ),
    "in pieces along y": (lambda a: a.rechunk((-1, 7, -1)), "in pieces"),
    "other numbers": (lambda a: a + 1, "add"),
    "another type": (lambda a: a.astype("f8"), "astype"),
    "transposed": (lambda a: a.transpose(0, 2, 1).transpose(0, 2, 1), "transpose"),
    "rolled": (lambda a: da.roll(a, 3, axis=2), ""),
    "columns chosen": (lambda a: a[:, :, np.arange(30)[::-1]], "cut or turned"),
    "in memory": (lambda a: a.persist(scheduler="sync"), "in memory"),
    "numpy": (lambda a: a.compute(), "not lazy"),
    "unknown": (lambda a: da.from_array(COUNTS, chunks=(1, -1, -1)), ""),
}


@pytest.mark.parametrize("way", NOT_FOLLOWED)
def test_anything_else_goes_the_ordinary_way_and_says_so(tmp_path, caplog, way):
    change, reason = NOT_FOLLOWED[way]
    array = io.open(write(tmp_path / "run.h5")).intensity.data
    with caplog.at_level(logging.INFO, "batlab"):
        assert chunk_source(change(array)) is None
    assert caplog.messages[0].startswith("frames are read the ordinary way: ")
    if reason:
        caplog_text = caplog.text
        assert any(word in caplog_text for word in reason.split("|"))


def contiguous(path):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = COUNTS


ORDINARY = {
    "contiguous": (contiguous, "not stored in chunks"),
    "another filter": (lambda path: write(path, **hdf5plugin.Blosc()), "filter 32001"),
    "bitshuffle alone": (lambda path: write(path, **hdf5plugin.Bitshuffle(cname="none")), "bitshuffle"),
    "big-endian": (lambda path: write(path, COUNTS.astype(">u4")), ">u4"),
    "many frames a chunk": (lambda path: write(path, chunks=(9, 21, 30)), "(9, 21, 30)"),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_what_cannot_be_decoded_goes_the_ordinary_way(tmp_path, caplog, case):
    make, reason = ORDINARY[case]
    make(tmp_path / "run.h5")
    frames = io.open(tmp_path / "run.h5").intensity
    with caplog.at_level(logging.INFO, "batlab"):
        assert chunk_source(frames.data) is None
    assert reason in caplog.text
    assert np.array_equal(frames.values, COUNTS)


def test_without_zstd_the_ordinary_way_is_taken(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("batlab.io.filters.zstd_address", lambda: 0)
    frames = io.open(write(tmp_path / "run.h5", **FILTERS["zstd"])).intensity
    with caplog.at_level(logging.INFO, "batlab"):
        assert chunk_source(frames.data) is None
    assert "Zstd is not found" in caplog.text


DAMAGED = {
    "bitshuffle": "a block cannot be unpacked|bytes are left over|ends too early",
    "lz4": "a block cannot be unpacked|ends too early",
    "gzip": "Error -3|unpacks to",
    "zstd": "cannot be unpacked",
    "fletcher32": "its checksum is",
}


@pytest.mark.parametrize("filters", DAMAGED)
def test_a_damaged_chunk_is_named(tmp_path, filters):
    path = write(tmp_path / "run.h5", chunks=SHAPES["rows"], **FILTERS[filters])
    source = source_of(path)
    with h5py.File(path, "r+") as file:
        stored = file["entry/data/data"].id
        mask, content = stored.read_direct_chunk((6, 7, 0))
        content = bytearray(content)
        content[14:30] = b"\xa5" * 16
        if filters == "zstd":  # has no checksum: other literals are other numbers
            content = content[:-5]
        stored.write_direct_chunk((6, 7, 0), bytes(content), mask)
    with pytest.raises(ReadError, match=r"^run\.h5: frame 6 of /entry/data/data .* chunk at \(6, 7, 0\)") as error:
        decoded(source)
    assert any(word in str(error.value) for word in DAMAGED[filters].split("|"))
    assert np.array_equal(decoded(source[:6]), COUNTS[:6])
    assert np.array_equal(decoded(source[7:]), COUNTS[7:])


def test_gzip_that_lost_its_checksum_is_refused_as_by_hdf5(tmp_path):
    source = source_of(write(tmp_path / "run.h5", **FILTERS["gzip"]))
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        stored = file["entry/data/data"]
        mask, content = stored.id.read_direct_chunk((6, 0, 0))
        stored.id.write_direct_chunk((6, 0, 0), content[:-2], mask)
        with pytest.raises(OSError, match="filter"):
            stored[6]
    with pytest.raises(ReadError, match=r"frame 6 .* it ends before its checksum does"):
        decoded(source)


def test_the_error_of_a_chunk_that_another_found_damaged(tmp_path):
    source = source_of(write(tmp_path / "run.h5", chunks=SHAPES["rows beyond the edge"]))
    first = source.raw(5)[2][0]
    assert "frame 5 of /entry/data/data cannot be read: its chunk at (5, 16, 0) is damaged: why" in str(
        source.damaged(5, first, "why")
    )


def test_a_file_that_changes_or_goes_is_named(tmp_path):
    path = tmp_path / "run.h5"
    source = source_of(write(path))
    changed = {
        "shape": lambda: write(path, COUNTS[:, :20]),
        "shape ": lambda: write(path, COUNTS[:5]),
        "type": lambda: write(path, COUNTS.astype("u2")),
        "storage": lambda: write(path, **FILTERS["gzip"]),
    }
    for what, change in changed.items():
        change()
        with pytest.raises(ReadError, match=rf"run\.h5: /entry/data/data has changed its .*{what.strip()}"):
            source.raw(0)
    path.unlink()
    with pytest.raises(ReadError, match=r"run\.h5: frame 2 of /entry/data/data cannot be read: .*No such file"):
        source.raw(2)
    contiguous(path)
    with pytest.raises(ReadError, match="changed its type or its storage"):
        source.raw(0)


def test_sources_travel_and_carry_only_their_frames(tmp_path):
    source = source_of(write_series(tmp_path))
    assert np.array_equal(decoded(pickle.loads(pickle.dumps(source))), COUNTS[:9])
    assert len(pickle.dumps(source[3:5])) < len(pickle.dumps(source))


def test_files_stay_open_only_while_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(chunk_module, "MOST_OPEN", 2)
    source = source_of(write_series(tmp_path))
    kept = chunk_module._KEPT
    source.raw(0)
    assert not kept.files
    with kept_open():
        with kept_open(), ThreadPoolExecutor(4) as pool:
            images = list(pool.map(lambda i: decoded(source[i : i + 1])[0], list(range(9)) * 4))
        assert len(kept.files) == 2
        opened = [file for file, _ in kept.files.values()]
    assert not kept.files
    assert not any(opened)  # h5py: a closed file is false
    assert np.array_equal(images, np.tile(COUNTS[:9], (4, 1, 1)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_keeps_files_of_its_own_open(tmp_path):
    source = source_of(write_series(tmp_path))
    kept = chunk_module._KEPT
    with kept_open():
        source.raw(0)
        (inherited,) = kept.files.values()
        child = os.fork()
        if not child:
            try:
                with kept_open():
                    source.raw(0)
                    (own,) = kept.files.values()
                    is_own = own[0] is not inherited[0] and kept.n_keepers == 1
                os._exit(0 if is_own and not kept.files and not kept.n_keepers else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert kept.files
        assert inherited[0]


def test_out_must_fit(tmp_path):
    source = source_of(write(tmp_path / "run.h5"))
    for out in (np.empty((2, 21, 30), "u4"), np.empty((3, 21, 30), "i4"), np.empty((3, 21, 60), "u4")[:, :, ::2]):
        with pytest.raises(ValueError, match="out must be C-contiguous uint32"):
            source.decode(range(3), out)
    with pytest.raises(TypeError, match="slice or an array"):
        source[np.zeros((2, 2), int)]


def test_modules_go_the_ordinary_way(caplog):
    folder = datasets.path("lambda_stack")
    frames = io.open(sorted(folder.glob("*_m?_part00000.nxs"))).intensity
    with caplog.at_level(logging.INFO, "batlab"):
        assert chunk_source(frames.data) is None
    assert "laid out from 3 modules" in caplog.text


@pytest.mark.parametrize(
    ("name", "pattern", "kind"),
    [
        ("eiger2_9m", "*.h5", "bitshuffle-lz4"),
        ("lambda_stack", "*_m1_part00000.nxs", "decode"),
        ("ceo2_dexela", "*.h5", "decode"),
    ],
)
def test_real_files_as_hdf5plugin_reads_them(name, pattern, kind):
    path = next(datasets.path(name).glob(pattern))
    source = source_of(path)
    assert source.kind == kind
    with h5py.File(path) as file:
        stored = file[source.arrays[0].dataset]
        image = stored[-1] if stored.ndim == 3 else stored[...]
    assert decoded(source[-1:]).tobytes() == image.tobytes()


def test_fletcher32_as_hdf5_computes_it(tmp_path):
    for n in (1, 2, 3, 719, 720, 721, 5000):
        content = RNG.integers(0, 256, n).astype("u1")
        with h5py.File(tmp_path / "one.h5", "w") as file:
            stored = file.create_dataset("a", data=content, chunks=(n,), fletcher32=True)
            file.flush()
            chunk = stored.id.read_direct_chunk((0,))[1]
        assert chunk == content.tobytes() + fletcher32(content).to_bytes(4, "little")


@pytest.mark.soak
def test_damaged_files_never_crash(tmp_path):
    whole = write_series(tmp_path, 1).with_name("run_data_000001.h5")
    size = whole.stat().st_size
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        path = tmp_path / "hurt.h5"
        shutil.copy(whole, path)
        with path.open("r+b") as file:
            for _ in range(rng.integers(1, 6)):
                file.seek(rng.integers(0, size))
                file.write(rng.integers(0, 256, rng.integers(1, 9)).astype("u1").tobytes())
        try:
            source = chunk_source(io.open(path).intensity.data)
            if source is not None:
                decoded(source)
        except (ReadError, UserWarning):
            continue
