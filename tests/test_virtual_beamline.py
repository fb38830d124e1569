"""The whole path on an experiment whose truth is known: simulate, open, integrate, fit, refine, align.

The forward model shares no geometry, binning or peak code with the analysis, so agreement checks both.
"""

import numpy as np
import pytest

import batlab as bl
from batlab import schema

# Lines of NMC811 that stay apart from strong lines of the other phases through most of the charge.
NMC_LINES = ["0 0 3", "1 0 1", "1 0 4", "1 0 7", "0 1 8", "1 1 3"]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("virtual") / "run"
    return bl.simulate.operando_cell(folder, n_frames=60, seed=0, clock_offset=37.0, progress=False)


@pytest.fixture(scope="module")
def truth(experiment):
    return bl.open(experiment.truth)


@pytest.fixture(scope="module")
def patterns(experiment):
    return schema.check(bl.scattering.integrate(bl.open(experiment.master), experiment.poni, n_bins=1600))


def _refined(patterns, structure, lines=None):
    peaks = schema.check(bl.curves.fit_peaks(patterns, near=structure))
    return schema.check(bl.xrd.refine_cell(peaks, structure, lines=lines))


def _pulls(cells, truth, phase, axis):
    planted = truth[axis].sel(phase=phase).values
    return (cells[axis].values - planted) / cells[f"{axis}_sigma"].values


def test_frames_open_lazily_with_their_clock_and_mask(experiment, truth):
    frames = schema.check(bl.open(experiment.master))
    assert frames["intensity"].dims == ("frame", "y", "x")
    assert frames["intensity"].chunks is not None
    assert frames.sizes["frame"] == 60
    np.testing.assert_array_equal(frames["time"].values, truth["time"].values)
    assert np.all(frames["exposure"].values == 30.0)
    blind = frames["mask"].values
    assert blind[512:550].all()  # the gap between the modules
    assert 100 < blind.sum() - 38 * 1028 < 200  # 104 dead and 52 noisy pixels of the other rows


def test_calibration_states_its_orientation(experiment):
    geometry = bl.open(experiment.poni)
    assert (geometry.orientation, geometry.orientation_stated) == (3, True)


@pytest.mark.parametrize(
    ("phase", "lines", "axes"), [("NMC811", NMC_LINES, "ac"), ("NMC811", None, "ac"), ("Cu", None, "a")]
)
def test_planted_cells_come_back_within_three_sigma(experiment, truth, patterns, phase, lines, axes):
    cells = _refined(patterns, experiment.structures[phase], lines)
    for axis in axes:
        pulls = _pulls(cells, truth, phase, axis)
        assert np.mean(np.abs(pulls) < 3) >= 0.95
        assert abs(np.median(pulls)) < 1  # no bias common to all frames
        relative = cells[f"{axis}_sigma"] / cells[axis]
        assert float(relative.median()) < 1e-4  # within three sigma because it is right, not because sigma is large


@pytest.fixture(scope="module")
def everything(experiment, patterns):
    return schema.check(bl.curves.fit_peaks(patterns, near=experiment.structures))


@pytest.mark.parametrize(
    ("phase", "axes"), [("NMC811", "ac"), ("Al", "a"), ("Cu", "a"), ("graphite", "ac"), ("LiC12", "ac")]
)
def test_all_phases_at_once_give_their_planted_cells(experiment, truth, everything, phase, axes):
    cells = schema.check(bl.xrd.refine_cell(everything, experiment.structures[phase]))
    fraction = truth["fraction"].sel(phase=phase).values
    for axis in axes:
        right = np.abs(_pulls(cells, truth, phase, axis)) < 3  # NaN counts as wrong
        assert np.mean(right[fraction > 0.3]) >= 0.95
        assert not np.isfinite(cells[axis].values[fraction == 0]).any()  # no ghosts
        assert float((cells[f"{axis}_sigma"] / cells[axis]).median()) < 1e-4


@pytest.mark.filterwarnings("ignore:no frame determines the cell:UserWarning")
def test_lithium_that_did_not_plate_has_no_cell(experiment, everything):
    cells = bl.xrd.refine_cell(everything, experiment.structures["Li"])
    assert not np.isfinite(cells["a"]).any()


def test_same_bits_for_one_and_two_threads(experiment, monkeypatch):
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        frames = bl.open(experiment.master).isel(frame=slice(0, 12))
        patterns = bl.scattering.integrate(frames, experiment.poni, n_bins=1600)
        cells = _refined(patterns, experiment.structures["NMC811"])
        results.append((patterns, cells))
    (patterns, cells), (other_patterns, other_cells) = results
    for name in ("intensity", "intensity_sigma"):
        assert patterns[name].values.tobytes() == other_patterns[name].values.tobytes()
    for name in ("a", "c", "a_sigma", "c_sigma"):
        assert cells[name].values.tobytes() == other_cells[name].values.tobytes()


def test_voltage_meets_the_frames_when_the_clocks_are_set_right(experiment, truth, patterns):
    record = bl.open(experiment.cycler)
    aligned = schema.check(bl.align.onto_frames(patterns, record, offset=37.0))
    steady = np.abs(np.gradient(truth["voltage"].values)) < 0.05
    error = aligned["voltage"].values - truth["voltage"].values
    assert np.nanmax(np.abs(error[steady])) < 3e-3
    np.testing.assert_allclose(aligned["charge_passed"], truth["charge_passed"], atol=2e-5)
    known = np.isfinite(aligned["step"].values)
    np.testing.assert_array_equal(aligned["step"].values[known], truth["step"].values[known])
