import csv
import hashlib

import h5py
import hdf5plugin  # noqa: F401  registers bitshuffle-LZ4
import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.simulate import cell, operando_cell
from batlab.simulate.detector import blemishes, place
from batlab.simulate.exposure import scene
from batlab.simulate.operando import WAVELENGTH

OVERFLOW = 2**32 - 1


def _counts(experiment):
    with h5py.File(experiment.master) as file:
        links = file["entry/data"]
        return np.concatenate([links[name][()] for name in sorted(links)])


def _table(path):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return {name: np.array(column, dtype=float) for name, column in zip(rows[0], zip(*rows[1:]))}


def test_writes_what_a_beamline_writes(experiment):
    for path in (
        experiment.master,
        experiment.poni,
        experiment.cycler,
        experiment.truth,
        *experiment.structures.values(),
    ):
        assert path.is_file()
    assert set(experiment.structures) == {"NMC811", "graphite", "LiC12", "LiC6", "Al", "Cu", "Li"}
    with h5py.File(experiment.master) as file:
        link = file["entry/data"].get("data_000001", getlink=True)
        assert (link.filename, link.path) == ("operando_data_000001.h5", "/entry/data/data")
        stack = file["entry/data/data_000001"]
        assert stack.shape == (10, 128, 1028)
        assert stack.dtype == np.uint32
        assert stack.chunks == (1, 128, 1028)
        assert "32008" in stack._filters  # bitshuffle, registered with the HDF group
        detector = file["entry/instrument/detector"]
        assert detector["x_pixel_size"][()] == 75e-6
        assert detector["detectorSpecific/data_collection_date"].asstr()[()] == "2024-03-05T09:00:00.000+00:00"
        assert file["entry/instrument/beam/incident_wavelength"][()] == pytest.approx(12.398420 / 60, abs=1e-7)


def test_blind_pixels_are_marked(experiment):
    with h5py.File(experiment.master) as file:
        mask = file["entry/instrument/detector/detectorSpecific/pixel_mask"][()]
    counts = _counts(experiment)
    assert np.all(counts[:, mask == 1] == OVERFLOW)
    assert np.all(counts[:, mask == 2] == 0)
    assert np.all(counts[:, mask == 16] > 15_000)
    assert counts[:, mask == 0].max() < 5_000


def test_counts_are_poisson():
    """Pairs of frames of one state: the difference has the variance of the sum, in dim and in bright pixels."""
    placed = place("small")
    mask = blemishes(placed, np.random.default_rng(0))
    crystals = cell.phases(cell.state(np.array([300.0]), plating=False), plating=False)
    stage = scene(placed, crystals, mask, wavelength=WAVELENGTH)
    first, second = (stage.expose(0, seed)[mask == 0].astype(float) for seed in np.random.SeedSequence(3).spawn(2))
    expected = stage.expected(0)[mask == 0]
    for low, high in ((0, 40), (40, 80), (80, 1e9)):
        part = (expected >= low) & (expected < high)
        ratio = np.sum((first - second)[part] ** 2) / np.sum((first + second)[part])
        assert ratio == pytest.approx(1, abs=5 * np.sqrt(3 / part.sum()))
        assert first[part].mean() == pytest.approx(expected[part].mean(), rel=5 / np.sqrt(first[part].sum()))


def test_look_up_matches_the_curve():
    """The fine grid's linear look-up against the pattern evaluated at the pixels themselves."""
    from batlab.simulate.detector import efficiency, scattering_angles
    from batlab.simulate.powder import pattern
    from batlab.simulate.structures import STRUCTURES

    placed = place((16, 512))
    crystals = cell.phases(cell.state(np.array([300.0]), plating=False), plating=False)
    stage = scene(placed, crystals, np.zeros(placed.shape, np.uint32), wavelength=WAVELENGTH)
    pixels = scattering_angles(placed.rays())[5]
    fine = np.union1d(stage.grid, pixels)
    how = {"wavelength": WAVELENGTH, "fwhm": placed.fwhm, "microstrain": 3e-4}
    copper = stage.scale["Cu"] * pattern(STRUCTURES["Cu"], stage.lines["Cu"], fine, **how)
    looked_up = np.interp(pixels, stage.grid, stage.constant["Cu"])
    assert np.abs(looked_up - np.interp(pixels, fine, copper)).max() < 2e-3 * copper.max()
    assert efficiency(placed, placed.rays(), 0.99).max() <= 1.0


@pytest.mark.parametrize("threads", ["1", "2"])
def test_same_seed_same_counts_on_any_number_of_threads(experiment, tmp_path, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    again = operando_cell(tmp_path / "run", n_frames=10, detector="small", seed=7, plating=True, progress=False)
    digests = [hashlib.sha256(_counts(one).tobytes()).hexdigest() for one in (experiment, again)]
    assert digests[0] == digests[1]
    assert again.cycler.read_bytes() == experiment.cycler.read_bytes()


def test_other_seed_other_counts(tmp_path):
    first, second = (
        operando_cell(tmp_path / str(seed), n_frames=1, detector=(32, 64), seed=seed, progress=False) for seed in (1, 2)
    )
    assert not np.array_equal(_counts(first), _counts(second))


def test_truth_keeps_the_data_model(experiment):
    truth = xr.load_dataset(experiment.truth)
    schema.check(truth)
    assert truth.sizes["frame"] == 10
    assert "simulate.operando_cell(n_frames=10" in truth.attrs["history"]
    assert np.all(np.diff(truth["onset"]) >= 0)
    assert "lithium plating begins" in truth["what"].values
    nmc = truth.sel(phase="NMC811")
    assert 14.0 < float(nmc["c"].min()) < 14.21 < 14.40 < float(nmc["c"].max()) < 14.48


def test_cycler_and_detector_share_one_clock(experiment):
    truth, table = xr.load_dataset(experiment.truth), _table(experiment.cycler)
    unix = truth["time"].values.astype("datetime64[ns]").astype(np.int64) / 1e9
    middle = unix + truth["exposure"].values / 2
    np.testing.assert_allclose(
        np.interp(middle, table["Unix Time / s"], table["Voltage / V"]), truth["voltage"], atol=2e-3
    )
    assert table["Unix Time / s"][0] == unix[0]


def test_cycler_record_is_sound(experiment):
    table = _table(experiment.cycler)
    seconds = table["Test Time / s"]
    assert np.all(np.diff(seconds) > 0)
    assert np.median(np.diff(seconds)) == 10
    net = table["Net Capacity / Ah"]
    np.testing.assert_allclose(net, table["Charging Capacity / Ah"] - table["Discharging Capacity / Ah"], atol=2e-8)
    integral = np.concatenate([[0], np.cumsum(table["Current / A"][:-1] * np.diff(seconds))]) / 3600
    np.testing.assert_allclose(net, integral, atol=2e-6)
    assert list(np.unique(table["Cycle Count / 1"])) == [1, 2]


def test_clock_offset_moves_the_cycler_only(experiment, tmp_path):
    late = operando_cell(tmp_path / "late", n_frames=2, detector=(32, 64), seed=7, clock_offset=41.5, progress=False)
    shift = _table(late.cycler)["Unix Time / s"] - _table(experiment.cycler)["Unix Time / s"]
    np.testing.assert_allclose(shift, 41.5, atol=1e-6)


def test_foreign_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"thesis\.txt"):
            operando_cell(tmp_path, n_frames=1, detector=(32, 64), overwrite=overwrite, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_own_folder_is_replaced_only_when_asked(tmp_path):
    once = operando_cell(tmp_path / "run", n_frames=1, detector=(32, 64), progress=False)
    before = once.master.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        operando_cell(tmp_path / "run", n_frames=2, detector=(32, 64), progress=False)
    assert once.master.read_bytes() == before
    (once.folder / "note.txt").write_text("mine")
    again = operando_cell(tmp_path / "run", n_frames=2, detector=(32, 64), overwrite=True, progress=False)
    assert len(_counts(again)) == 2
    assert (once.folder / "note.txt").read_text() == "mine"


def test_interrupted_run_leaves_nothing_half_done(tmp_path, monkeypatch):
    from batlab.simulate import operando

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(operando, "write_master", interrupt)
        with pytest.raises(KeyboardInterrupt):
            operando_cell(tmp_path / "run", n_frames=3, detector=(32, 64), progress=False)
    assert not list((tmp_path / "run").glob("*"))
    assert operando_cell(tmp_path / "run", n_frames=1, detector=(32, 64), progress=False).master.is_file()


@pytest.mark.parametrize("n_frames", [0, -1, 2.5, True])
def test_refuses_impossible_numbers_of_frames(tmp_path, n_frames):
    with pytest.raises(ValueError, match="n_frames must be"):
        operando_cell(tmp_path / "run", n_frames=n_frames, progress=False)
    assert not (tmp_path / "run").exists()


def test_refuses_an_unknown_detector(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'eiger1m'"):
        operando_cell(tmp_path / "run", n_frames=1, detector="eiger1", progress=False)
