"""Detector stacks: what a beamline writes, what breaks, what must not be followed."""

import os
import pickle
import time
import warnings
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError, UnsafePathError
from batlab.schema import check

RNG = np.random.default_rng(2)
COUNTS = RNG.poisson(3, (12, 20, 30)).astype("u4")


def write_data(path, counts, name="/entry/data/data", **options):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=counts, chunks=(1, *counts.shape[1:]), **(options or hdf5plugin.Bitshuffle()))
    return path


def write_eiger(folder, n_files=3, link="scan_data_{:06d}.h5", **master):
    """Write a master with links to data files of four frames each."""
    for i in range(n_files):
        write_data(folder / f"scan_data_{i + 1:06d}.h5", COUNTS[4 * i : 4 * i + 4])
    path = folder / "scan_master.h5"
    mask = np.zeros(COUNTS.shape[1:], "u4")
    mask[3], mask[5, 5], mask[7, 7] = 1, 16, 1 << 31
    with h5py.File(path, "w") as file:
        for i in range(n_files):
            file[f"/entry/data/data_{i + 1:06d}"] = h5py.ExternalLink(link.format(i + 1), "/entry/data/data")
        file["/entry"].attrs["NX_class"] = "NXentry"
        file["/entry/data"].attrs["NX_class"] = "NXdata"
        detector = file.create_group("/entry/instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        facts = {
            "x_pixel_size": (75e-6, "m"), "y_pixel_size": (0.075, "mm"), "detector_distance": (150.0, "mm"),
            "count_time": (99.0, "ms"), "frame_time": (0.1, "s"),
        }  # fmt: skip
        for key, (value, units) in facts.items():
            detector[key] = value
            detector[key].attrs["units"] = units
        special = detector.create_group("detectorSpecific")
        special["pixel_mask"] = mask
        special["data_collection_date"] = master.get("date", "2026-03-01T12:00:00+01:00")
        special["ntrigger"] = master.get("ntrigger", 1)
        beam = file.create_group("/entry/instrument/beam")
        beam["incident_wavelength"] = 0.41
        beam["incident_wavelength"].attrs["units"] = "angstrom"
    return path


def test_eiger_master_gives_lazy_frames_in_order_with_what_it_says(tmp_path):
    frames = check(io.open(write_eiger(tmp_path)))
    assert frames.intensity.dims == ("frame", "y", "x")
    assert frames.intensity.dtype == np.uint32
    assert frames.intensity.chunks[0] == (1,) * 12
    np.testing.assert_array_equal(frames.intensity, COUNTS)
    assert frames.mask[3].all()
    assert frames.mask[5, 5]
    assert not frames.mask[7, 7]  # bit 31: a virtual pixel, to be used
    assert int(frames.mask.sum()) == 31
    assert frames.attrs["pixel_size_x"] == frames.attrs["pixel_size_y"] == pytest.approx(75e-6)
    assert frames.attrs["detector_distance"] == pytest.approx(0.15)
    assert frames.attrs["wavelength"] == 0.41
    assert frames.attrs["overflow"] == [2**32 - 2, 2**32 - 1]
    assert (frames.exposure == 0.099).all()
    assert frames.time.values[10] == np.datetime64("2026-03-01T11:00:01.000000000")


def test_master_and_its_data_files_in_one_glob_count_once(tmp_path):
    write_eiger(tmp_path)
    assert io.open(str(tmp_path / "scan_*.h5")).sizes["frame"] == 12


def test_data_files_alone_are_one_series(tmp_path):
    write_eiger(tmp_path)
    frames = io.open(str(tmp_path / "scan_data_*.h5"), chunks=3)
    np.testing.assert_array_equal(frames.intensity, COUNTS)
    assert frames.intensity.chunks[0][0] == 3


def test_a_start_without_zone_gives_no_time_until_the_zone_is_told(tmp_path):
    master = write_eiger(tmp_path, date="2026-07-01T12:00:00")
    frames = io.open(master)
    assert "time" not in frames.coords
    assert frames.attrs["start_time_local"] == "2026-07-01T12:00:00"
    told = io.open(master, timezone="Europe/Paris")
    assert told.time.values[0] == np.datetime64("2026-07-01T10:00:00")
    with pytest.raises(ReadError, match="timezone"):
        io.open(master, timezone="Mars")


def test_triggered_series_have_no_invented_times(tmp_path):
    assert "time" not in io.open(write_eiger(tmp_path, ntrigger=12)).coords


def test_missing_data_file_loses_its_frames_and_says_so(tmp_path):
    master = write_eiger(tmp_path)
    (tmp_path / "scan_data_000002.h5").unlink()
    with pytest.warns(UserWarning, match=r"4 of 12 frames are lost \(4-7\).*scan_data_000002.h5: is missing"):
        frames = io.open(master)
    assert frames.frame.values.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert frames.attrs["lost_frames"] == [4, 5, 6, 7]
    np.testing.assert_array_equal(frames.intensity, COUNTS[[0, 1, 2, 3, 8, 9, 10, 11]])
    assert frames.time.values[4] == np.datetime64("2026-03-01T11:00:00.800")


def test_truncated_file_yields_the_whole_frames(tmp_path):
    path = write_data(tmp_path / "cut.h5", COUNTS)
    whole = path.read_bytes()
    with h5py.File(path) as file:
        ends = [info.byte_offset + info.size for info in _chunks(file["/entry/data/data"])]
    path.write_bytes(whole[: ends[8] - 1])
    with pytest.warns(UserWarning, match=r"cut.h5: 4 of 12 frames are lost \(8-11\)"):
        frames = io.open(path)
    np.testing.assert_array_equal(frames.intensity, COUNTS[:8])
    assert frames.attrs["lost_frames"] == [8, 9, 10, 11]


def _chunks(dataset):
    return [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]


def test_truncated_contiguous_file_yields_the_whole_frames(tmp_path):
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w") as file:
        file["data"] = COUNTS
        end = file["data"].id.get_offset() + COUNTS.nbytes
    path.write_bytes(path.read_bytes()[: end - COUNTS[0].nbytes - 5])
    with pytest.warns(UserWarning, match="10-11"):
        np.testing.assert_array_equal(io.open(path).intensity, COUNTS[:10])


def test_frames_never_written_are_lost(tmp_path):
    path = tmp_path / "stopped.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("/entry/data/data", (12, 20, 30), "u4", chunks=(1, 10, 30))
        data[:6] = COUNTS[:6]
        data[6, :10] = COUNTS[6, :10]
    with pytest.warns(UserWarning, match=r"6 of 12 frames are lost \(6-11\)"):
        assert io.open(path).sizes["frame"] == 6


def test_bad_chunk_names_file_and_frame(tmp_path):
    path = write_data(tmp_path / "bad.h5", COUNTS, compression="gzip")
    with h5py.File(path) as file:
        info = file["/entry/data/data"].id.get_chunk_info(5)
    damaged = bytearray(path.read_bytes())
    damaged[info.byte_offset : info.byte_offset + 20] = b"\xff" * 20
    path.write_bytes(damaged)
    frames = io.open(path)
    np.testing.assert_array_equal(frames.intensity[4], COUNTS[4])
    with pytest.raises(ReadError, match=r"bad.h5: frame 5 of /entry/data/data cannot be read"):
        frames.intensity[5].compute()


@pytest.mark.parametrize("link", ["/etc/scan_data_{:06d}.h5", "../outside/scan_data_{:06d}.h5"])
def test_links_that_leave_the_folder_are_refused_unless_allowed(tmp_path, link):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    master = write_eiger(inside, link=link)
    for file in inside.glob("scan_data_*"):
        file.rename(outside / file.name)
    with pytest.raises(UnsafePathError, match=r"scan_master.h5.*outside.*allow_links"):
        io.open(master)
    if link.startswith(".."):
        assert io.open(master, allow_links=[outside]).sizes["frame"] == 12


def test_symbolic_links_that_leave_the_folder_are_refused(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    master = write_eiger(inside, n_files=1)
    (inside / "scan_data_000001.h5").rename(outside / "secret.h5")
    (inside / "scan_data_000001.h5").symlink_to(outside / "secret.h5")
    with pytest.raises(UnsafePathError):
        io.open(master)


def test_absolute_names_of_a_moved_stack_are_found_beside_the_master(tmp_path):
    assert io.open(write_eiger(tmp_path, link="/gpfs/run7/scan_data_{:06d}.h5")).sizes["frame"] == 12


def test_external_storage_outside_is_refused(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(2400))
    with h5py.File(folder / "raw.h5", "w") as file:
        file.create_dataset("data", (1, 20, 30), "u4", external=[(str(tmp_path / "secret.bin"), 0, 2400)])
    with pytest.raises(UnsafePathError, match="external storage"):
        io.open(folder / "raw.h5")


def write_virtual(path, names):
    layout = h5py.VirtualLayout((4 * len(names), 20, 30), "u4")
    for i, name in enumerate(names):
        layout[4 * i : 4 * i + 4] = h5py.VirtualSource(name, "/entry/data/data", (4, 20, 30))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("/entry/data/data", layout)
    return path


def test_virtual_arrays_are_followed_and_gaps_told(tmp_path):
    write_eiger(tmp_path)
    path = write_virtual(tmp_path / "all.h5", [f"scan_data_{i:06d}.h5" for i in (1, 2, 3)])
    np.testing.assert_array_equal(io.open(path).intensity, COUNTS)
    (tmp_path / "scan_data_000001.h5").unlink()
    with pytest.warns(UserWarning, match="0-3"):
        np.testing.assert_array_equal(io.open(path).intensity, COUNTS[4:])


def test_virtual_source_outside_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    write_eiger(tmp_path)
    with pytest.raises(UnsafePathError, match="virtual"):
        io.open(write_virtual(tmp_path / "in" / "all.h5", [str(tmp_path / "scan_data_000001.h5")]))


def test_link_in_a_circle_ends(tmp_path):
    with h5py.File(tmp_path / "loop.h5", "w") as file:
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
        file["c"] = h5py.ExternalLink("loop.h5", "/c")
        file.create_group("g")["back"] = file["/"]
    with pytest.raises(ReadError, match=r"loop\.h5"):
        io.open(tmp_path / "loop.h5")


def test_groups_linked_to_each_other_end_in_seconds(tmp_path):
    with h5py.File(tmp_path / "clique.h5", "w") as file:
        groups = [file.create_group(f"g{i}") for i in range(12)]
        for group in groups:
            for i, other in enumerate(groups):
                group[f"h{i}"] = other
        groups[11]["data"] = COUNTS
    start = time.perf_counter()
    np.testing.assert_array_equal(io.open(tmp_path / "clique.h5").intensity, COUNTS)
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize("kind", ["virtual", "external"])
def test_facts_in_files_outside_are_left_out_and_told(tmp_path, kind):
    (tmp_path / "in").mkdir()
    master, secret = write_eiger(tmp_path / "in"), tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones(COUNTS.shape[1:], "u4")
    with h5py.File(master, "a") as file:
        place = file["/entry/instrument/detector/detectorSpecific"]
        del place["pixel_mask"]
        if kind == "virtual":
            layout = h5py.VirtualLayout(COUNTS.shape[1:], "u4")
            layout[:] = h5py.VirtualSource(str(secret), "x", COUNTS.shape[1:])
            place.create_virtual_dataset("pixel_mask", layout)
        else:
            place.create_dataset("pixel_mask", COUNTS.shape[1:], "u4", external=[(str(secret), 0, 2400)])
    with pytest.warns(
        UserWarning, match=rf"scan_master\.h5: the {kind} .*pixel_mask leads to .*pixel_mask is left out"
    ):
        frames = io.open(master)
    assert not frames.mask.any()


def test_one_image_is_one_chunk_and_a_map_of_bad_pixels_is_no_image(tmp_path):
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["/entry/analysis/bad"] = COUNTS[0]
        file["/entry/detector/data"] = np.zeros((20, 30, 0), "u2")
    with pytest.raises(ReadError, match=r"one\.h5: holds no detector frames; it holds /entry/analysis/bad"):
        io.open(tmp_path / "one.h5")
    image = io.open(tmp_path / "one.h5", path="/entry/analysis/bad").intensity
    assert image.chunks == ((1,), (20,), (30,))


def test_several_candidates_are_listed_and_path_chooses(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["/a/one"], file["/b/two"] = COUNTS, COUNTS[:2]
    with pytest.raises(ReadError, match=r"/a/one \(12, 20, 30\), /b/two.*path="):
        io.open(tmp_path / "two.h5")
    assert io.open(tmp_path / "two.h5", path="/b/two").sizes["frame"] == 2
    with pytest.raises(ReadError, match="/nowhere"):
        io.open(tmp_path / "two.h5", path="/nowhere")


def test_saturation_counts_only_where_the_file_says_so(tmp_path):
    counts = COUNTS.astype("u2")
    path = write_data(tmp_path / "eiger1.h5", counts, "/entry/instrument/detector/data")
    assert io.open(path).attrs["overflow"] == []
    with h5py.File(path, "a") as file:
        file["/entry/instrument/detector/saturation_value"] = 65535
    assert io.open(path).attrs["overflow"] == [65535]


def test_honest_negative_numbers_are_no_marks(tmp_path):
    path = write_data(tmp_path / "subtracted.h5", COUNTS.astype("i4") - 5)
    with pytest.warns(UserWarning, match="down to -5"):
        frames = io.open(path)
    assert frames.attrs["overflow"] == []


def test_frames_travel_to_other_processes_and_leave_no_file_open(tmp_path):
    path = write_data(tmp_path / "one.h5", COUNTS)
    frames = pickle.loads(pickle.dumps(io.open(path)))
    np.testing.assert_array_equal(frames.intensity[3], COUNTS[3])
    with h5py.File(path, "a") as file:
        file["note"] = 1


@pytest.mark.parametrize(
    "content",
    [b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(500), b"\x89HDF\r\n\x1a\n\2\x08\x08\0" + os.urandom(900)],
)
def test_hopeless_files_are_read_errors(tmp_path, content):
    path = tmp_path / "noise.h5"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"noise\.h5"):
        io.open(path)


@pytest.mark.soak
def test_truncated_at_every_kilobyte(tmp_path):
    path = write_eiger(tmp_path)
    _sweep(path, range(0, path.stat().st_size, 256), tmp_path)
    data = tmp_path / "scan_data_000001.h5"
    _sweep(data, range(0, data.stat().st_size, 256), tmp_path)


def test_truncated_somewhere_gives_frames_or_a_read_error(tmp_path):
    path = write_data(tmp_path / "whole.h5", COUNTS)
    size = path.stat().st_size
    _sweep(path, [7, 50, 96, 600, size // 3, size // 2, size - 1], tmp_path)


def _sweep(path, lengths, tmp_path):
    whole = path.read_bytes()
    for length in lengths:
        cut = tmp_path / "cut_here.h5"
        cut.write_bytes(whole[:length])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert io.open(cut).intensity.values.shape[0] <= len(COUNTS)
            except ReadError as error:
                assert "cut_here" in str(error) or "scan_data" in str(error)  # noqa: PT017


@pytest.mark.soak
def test_random_damage_never_crashes(tmp_path):
    """Of frames and structure; HDF5 2.0 itself may crash on a damaged heap of text (about 1 of 1500 such files)."""
    whole = write_data(tmp_path / "whole.h5", COUNTS, compression="gzip").read_bytes()
    for _ in range(1000):
        damaged = bytearray(whole)
        for at in RNG.integers(0, len(whole), RNG.integers(1, 20)):
            damaged[at] = RNG.integers(0, 256)
        bad = tmp_path / "bad.h5"
        bad.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _ = io.open(bad).intensity.values
            except ReadError as error:
                assert "bad.h5" in str(error)  # noqa: PT017


@pytest.mark.parametrize("length", [8, 12, 16, 10_000])
def test_bitshuffle_chunk_of_noise_names_file_and_frame(tmp_path, length):
    """The filter trusts the sizes in a chunk and would write beyond its buffer."""
    path = write_data(tmp_path / "bad.h5", COUNTS)
    with h5py.File(path) as file:
        info = file["/entry/data/data"].id.get_chunk_info(5)
    damaged = bytearray(path.read_bytes())
    n = min(length, info.size)
    damaged[info.byte_offset : info.byte_offset + n] = RNG.bytes(n)
    path.write_bytes(damaged)
    frames = io.open(path)
    np.testing.assert_array_equal(frames.intensity[4], COUNTS[4])
    with pytest.raises(ReadError, match=r"bad\.h5: the chunk at \(5, 0, 0\) of /entry/data/data is damaged"):
        frames.intensity[5].compute()


def test_attribute_of_nested_lists_is_never_read(tmp_path):
    # Damage turns the type "text of any length" into "list of any length"; reading it as such ends the process.
    master = write_eiger(tmp_path)
    with h5py.File(master, "a") as file:
        lists = np.empty(1, object)
        lists[0] = np.array([1, 2], "u1")
        file["/entry/instrument/detector/count_time"].attrs.create("units", lists, dtype=h5py.vlen_dtype("u1"))
    with pytest.warns(UserWarning, match=r"count_time.*holds neither numbers nor text.*count_time is left out"):
        assert "exposure" not in io.open(master).coords


def test_damaged_heap_of_text_is_refused_before_hdf5_loops(tmp_path):
    master = write_eiger(tmp_path)
    content = bytearray(master.read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)
    master.write_bytes(content)
    with pytest.raises(ReadError, match=r"scan_master\.h5: its text is damaged"):
        io.open(master)


def test_pattern_cut_short_is_no_pattern(tmp_path):
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("/entry/data")
        data.attrs.update({"NX_class": "NXdata", "signal": "i", "axes": ["q"]})
        data["q"] = np.arange(1000.0)
        data["q"].attrs["units"] = "1/nm"
        data["i"] = np.ones(1000)
        end = data["i"].id.get_offset() + 8000
    path.write_bytes(path.read_bytes()[: end - 100])
    with pytest.raises(ReadError, match=r"cut\.h5"):
        io.open(path)


@pytest.mark.data
def test_eiger2_9m_opens_lazily_and_masks_what_it_marks():
    path = datasets.path("eiger2_9m")
    path = next(path.glob("*.h5")) if path.is_dir() else path
    frames = check(io.open(path))
    # Shape and mark from the table of the data; the count of marked pixels straight from the array.
    assert frames.intensity.shape == (2, 3262, 3108)
    assert frames.intensity.dtype == np.uint32
    assert frames.intensity.chunks[0] == (1, 1)
    with h5py.File(path) as file:
        first = file["/entry/data/data"][0]
    np.testing.assert_array_equal(frames.mask.values, first == 2**32 - 1)
    # An Eiger2 9M is 3 x 6 modules of 1028 x 512 with gaps of 12 columns and 38 rows.
    gaps = [*range(512, 3262, 550)]
    assert all(frames.mask.values[row : row + 38].all() for row in gaps if row + 38 <= 3262)
    assert frames.mask.values[:, 1028:1040].all()
    assert frames.mask.values[:, 2068:2080].all()


@pytest.mark.data
def test_dexela_image_is_one_frame():
    path = datasets.path("ceo2_dexela")
    path = next(Path(path).glob("*.h5")) if path.is_dir() else path
    frames = check(io.open(path))
    assert frames.intensity.shape == (1, 3888, 3072)
    assert frames.intensity.dtype == np.float32
