"""The total-scattering dashboard without a browser: measured data, gaps, lazy and single patterns, nonsense."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from traitlets import TraitError

import batlab as bl
from batlab import pdf
from batlab.dashboards import PDFWorkbench
from batlab.errors import DimensionError, SchemaError, UnitError
from batlab.failure import Store

from . import pairs
from .pairing import assert_same_screen, data, pixels, run


@pytest.fixture(scope="module")
def series():
    return pairs.series()


@pytest.fixture(scope="module")
def empty(series):
    return pairs.background(series["q"].values)


@pytest.fixture(scope="module")
def built(series, empty):
    """Figures and widgets are dear: one dashboard, which every test loads anew."""
    one = PDFWorkbench(series, "Ni", background=empty)
    yield one
    one.close()


@pytest.fixture
def workbench(built, series, empty, tmp_path):
    built.store = built._given["store"] = Store(tmp_path / "marks.sqlite")
    built.marking.widget.selected_index = 0
    built.load(series, "Ni", background=empty)
    return built


def test_frames_without_data_and_without_sigma(workbench, series, empty):
    lost = series.drop_vars("intensity_sigma").copy(deep=True)
    lost["intensity"][0] = np.nan
    lost["intensity"][4, 100:110] = np.nan
    workbench.load(lost, "Ni", background=empty)
    assert "holds no G(r)" in workbench.controls.status.value
    assert "no peak under the ruler" in workbench.ruler.reading.value
    workbench.state.frame = 4
    assert "σ unknown" in workbench.controls.status.value
    assert np.isfinite(data(workbench, "g_r_y")["y"]).all()
    workbench.apply()
    assert np.isnan(workbench.result["g_r"][0]).all()
    assert np.isfinite(workbench.result["g_r"][1:]).all()
    workbench.state.bond = "Ni-Ni"
    workbench.state.ruler = (2.3, 2.7)
    workbench.measure()
    assert np.isnan(workbench.lengths["position"][0, 0])
    workbench.state.frame = 0
    assert "found no bond" in workbench.ruler.reading.value
    with pytest.raises(ValueError, match="holds no numbers"):
        workbench.tune()


def test_a_single_pattern_and_backgrounds_of_every_frame(workbench, series, empty):
    one = series.isel(frame=3, drop=True)
    workbench.load(one, "Ni")
    assert workbench.controls.bgscale.disabled
    workbench.apply()
    assert_same_screen(workbench, run(workbench, one, None))
    own = empty.expand_dims(frame=series["frame"]) * xr.DataArray(np.linspace(0.5, 1, 8), dims="frame")
    own["intensity"].attrs = empty["intensity"].attrs
    workbench.load(series, {"Ni": 1}, background=own)
    workbench.state.frame = 6
    np.testing.assert_allclose(data(workbench, "intensity_y")["beside"], own["intensity"][6], rtol=1e-6)
    assert_same_screen(workbench, run(workbench, series, own))
    before = data(workbench, "g_r_y")["y"]
    workbench.apply()
    np.testing.assert_allclose(data(workbench, "g_r_y")["y"], before, atol=1e-5)


def test_load_swaps_the_series_in_place(workbench, series, empty):
    root = workbench.screen.root
    workbench.apply()
    workbench.state.frame, workbench.state.qmax = 6, 17.0
    other = pairs.series(4).drop_vars("voltage")
    workbench.load(other, "Ni", background=empty)
    assert workbench.screen.root is root
    assert workbench.result is None
    assert (workbench.state.frame, workbench.state.qmax, workbench.controls.slider.max) == (0, 23.9, 3)
    assert len(pixels(workbench)) == 4
    assert not any(panel.visible for panel in workbench.screen.panels)
    with pytest.raises(SchemaError, match="needs 'intensity'"):
        workbench.load(xr.Dataset(), "Ni")
    workbench.state.frame = 2
    assert workbench.screen.curves["g_r"].title.text.startswith("frame 2 ")


def test_frames_keep_their_numbers_and_lazy_series_stay_as_they_were(series, empty):
    part = series.isel(frame=slice(2, None, 3)).chunk(frame=2)
    before = part.copy(deep=True)
    workbench = PDFWorkbench(part, "Ni", background=empty)
    assert part["intensity"].chunks is not None
    assert workbench.state.frame == 2
    workbench.state.frame = 6
    assert workbench.state.frame == 5
    workbench.apply()
    workbench.state.reference = 2
    xr.testing.assert_identical(part, before)
    assert workbench.show() is None
    workbench.close()
    assert not hasattr(workbench, "data")


@pytest.mark.filterwarnings("ignore:.*intensity_sigma")
def test_glass_with_its_background(workbench):
    """Mg2SiO4 as in the issue: Si-O 1.63 ± 0.02, Mg-O 2.0 ± 0.05 angstrom."""
    files = bl.datasets.path("mg2sio4_glass")
    sample, under = (bl.open(files / f"Mg2SiO4_ambient{end}.xy") for end in ("", "_bkg"))
    workbench.load(sample, "Mg2SiO4", background=under)
    assert workbench.state.bonds[:2] == ["Si-O", "O-O (peroxide)"] or "Si-O" in workbench.state.bonds
    workbench.state.qmax, workbench.state.rpoly = 22.0, 1.1
    workbench.state.qmaxinst = 22.0
    workbench.state.ruler = (1.4, 1.85)
    assert workbench._reading[0] == pytest.approx(1.63, abs=0.02)
    workbench.state.ruler = (1.85, 2.2)
    assert workbench._reading[0] == pytest.approx(2.0, abs=0.05)
    names = run(workbench, sample, under)
    assert_same_screen(workbench, names)


def test_nickel_as_measured(workbench):
    series = bl.open(bl.datasets.path("ni_pdf") / "ni.iq", units="1/angstrom")
    workbench.load(series, "Ni")
    workbench.state.qmin, workbench.state.rpoly = 0.5, 0.8
    assert workbench._reading[0] == pytest.approx(2.49, abs=0.011)  # the first neighbour


def test_a_series_that_came_as_g_of_r(workbench):
    """SrFe2As2 between 150 and 246 K: compared, measured and marked, though there is nothing to reduce."""
    files = sorted(Path(bl.datasets.path("srfe2as2_pdf")).glob("*.gr"))[::4]
    series = bl.open(files)
    workbench.load(series, "SrFe2As2")
    assert workbench.controls.qmax.disabled
    assert workbench.is_current
    assert "came as G(r)" in workbench.controls.status.value
    assert not workbench.screen.curves["f_q"].visible
    assert [words for words, _curve in workbench.controls.curve.options] == ["map of G(r)"]
    workbench.state.reference = int(series["frame"][0])
    assert len(np.unique(pixels(workbench)[0])) == 1
    workbench.state.ruler = (2.2, 2.6)
    assert workbench._reading[0] == pytest.approx(2.39, abs=0.03)  # Fe-As in the published structure
    workbench.measure()
    np.testing.assert_allclose(workbench.lengths["position"], 2.39, atol=0.04)
    names = run(workbench, series, None)
    assert_same_screen(workbench, names)
    with pytest.raises(ValueError, match="came as G"):
        workbench.tune()
    assert workbench.apply() is workbench.result


@pytest.mark.parametrize(
    ("name", "value"),
    [("qmax", -1.0), ("bgscale", np.nan), ("window", "hann"), ("ruler", (2.0, 1.0)), ("against", "tim"),
     ("r_range", (0.0, np.inf)), ("curve", "chi"), ("bond", "Xx-Yy"), ("rpoly", 0.0), ("knob", "qmin")],
)  # fmt: skip
def test_the_state_refuses_nonsense(workbench, name, value):
    with pytest.raises(TraitError):
        setattr(workbench.state, name, value)


def test_what_cannot_be_shown_is_refused(series, empty):
    with pytest.raises(SchemaError, match="needs 'intensity' over q, or 'g_r'"):
        PDFWorkbench(series.drop_vars(["intensity", "intensity_sigma"]), "Ni")
    with pytest.raises(DimensionError, match=r"scattering\.to_q"):
        PDFWorkbench(series.rename(q="two_theta"), "Ni")
    with pytest.raises(DimensionError, match="at least one frame"):
        PDFWorkbench(series.isel(frame=slice(0, 0)), "Ni")
    with pytest.raises(ValueError, match="what the sample is made of"):
        PDFWorkbench(series)
    with pytest.raises(ValueError, match="no formula"):
        PDFWorkbench(series, "no such thing")
    with pytest.raises(SchemaError, match=r"curves\.regrid"):
        PDFWorkbench(series, "Ni", background=empty.isel(q=slice(1, None)))
    counts = empty.copy(deep=True)
    counts["intensity"].attrs["units"] = "count"
    with pytest.raises(UnitError, match="use one unit"):
        PDFWorkbench(series, "Ni", background=counts)
    with pytest.raises(TypeError, match="needs a Dataset"):
        PDFWorkbench(series["intensity"], "Ni")
    with pytest.raises(ValueError, match="mode"):
        PDFWorkbench(series, "Ni", mode="xrays")


def test_the_figures_say_what_they_miss(series):
    figures = bl.figures
    with pytest.raises(DimensionError, match=r"needs 'g_r' over 'r'.*pdf\.g_of_r"):
        figures.total_scattering(series, 0)
    with pytest.raises(ValueError, match="needs frame=…: the series has 8"):
        figures.total_scattering(series, curve="intensity")
    with pytest.raises(ValueError, match="did you mean 'intensity'"):
        figures.total_scattering_map(series, curve="intensities")
    with pytest.raises(DimensionError, match="'beside' over 'q' with 1165 points"):
        figures.total_scattering(series, 0, curve="intensity", beside=series["intensity"][0, 5:])
    tried = pdf.tune(series.isel(frame=0), "Ni", {"qmax": [20.0, 12.0]}, rmax=8)
    with pytest.raises(ValueError, match="knob must be 'qmax', got 'rpoly'"):
        figures.tuning(tried, "rpoly")
    with pytest.raises(ValueError, match="did you mean 'ripple'"):
        figures.tuning(tried, "qmax", "riple")
    drawn = figures.tuning(tried, "qmax", "peak_width", cursor=15.0)
    line = drawn.select_one({"name": "tuning_line"}).data_source.data
    np.testing.assert_array_equal(line["x"], [12.0, 20.0])
    assert line["y"][0] > line["y"][1]  # a longer range of Q sharpens
    assert drawn.yaxis[0].axis_label == "peak width (Å)"
