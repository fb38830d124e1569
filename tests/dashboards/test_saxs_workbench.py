"""The small-angle dashboard without a browser: set the state, look at the data."""

import asyncio
import html
import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

from batlab import datasets, io, saxs
from batlab.dashboards import SAXSWorkbench
from batlab.dashboards.saxs_data import SmallAngles
from batlab.errors import DimensionError, SchemaError
from batlab.failure import Store
from batlab.schema import check


def _beside(name):
    spec = importlib.util.spec_from_file_location(f"batlab_beside_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


small_angles = _beside("small_angles")
_gestures = _beside("test_xanes_workbench")  # what a browser sends, sent by hand
_drag, _send, _data, _pixels = _gestures._drag, _gestures._send, _gestures._data, _gestures._pixels


@pytest.fixture(scope="module")
def series():
    return small_angles.series()


@pytest.fixture(scope="module")
def built(series):
    """Figures and widgets are dear: one dashboard, which every test loads anew."""
    made = SAXSWorkbench(series)
    yield made
    made.close()


@pytest.fixture
def workbench(built, series, tmp_path):
    built.store = built._given["store"] = Store(tmp_path / "marks.sqlite")
    built.marking.widget.selected_index = 3
    built.load(series)
    return built


def _told(workbench):
    return html.unescape(workbench.controls.status.value + workbench.controls.told.value)


def test_it_starts_with_windows_of_its_own_and_says_what_they_tell(workbench, series):
    state = workbench.state
    assert (state.guinier, state.sizes) == (None, None)
    alone = saxs.guinier(series.isel(frame=[0]))
    box = workbench.screen.part("guinier_window")
    assert (box.left, box.right) == pytest.approx([float(alone[name][0]) for name in ("q_low", "q_high")])
    assert state.porod == pytest.approx((0.4 / 3, 0.4), rel=1e-3)
    assert state.diameters == pytest.approx((np.pi / 0.4, 2 * np.pi / 0.004), rel=0.01)
    assert sorted(workbench.found) == ["guinier", "invariant", "porod", "sizes"]
    for table in workbench.found.values():
        check(table)
    assert workbench.screen.curves["guinier"].title.text.startswith("Rg ")
    assert workbench.screen.raw.title.text.startswith("frame 0 ")
    assert workbench.controls.automatic.value
    assert workbench.controls.all.value


def test_everything_follows_a_window(workbench, series):
    state = workbench.state
    state.frame = 3
    state.guinier, state.porod, state.sizes = (0.006, 0.02), (0.15, 0.35), (0.01, 0.3)
    one = series.isel(frame=[3])
    rg, tail = saxs.guinier(one, window=(0.006, 0.02)), saxs.porod(one, (0.15, 0.35))
    wanted = saxs.size_distribution(one, state.diameters, window=(0.01, 0.3))
    q = series["q"].values
    law = float(rg["i0"][0]) * np.exp(-((q * float(rg["rg"][0])) ** 2) / 3)
    drawn = _data(workbench, "loglog_y")
    np.testing.assert_allclose(drawn["guinier"][q < 0.03], law[q < 0.03], rtol=1e-5)
    inside = q > 0.15
    law = float(tail["porod_constant"][0]) * q**-4 + float(tail["background"][0])
    np.testing.assert_allclose(drawn["porod"][inside], law[inside], rtol=1e-5)
    fit = (q >= 0.01) & (q <= 0.3)
    np.testing.assert_allclose(drawn["sizes"][fit], wanted["intensity_fit"].values[0], rtol=1e-5)
    assert np.isnan(drawn["sizes"][~fit]).all()
    band = _data(workbench, "sizes_y")
    for column, name in (("y", ""), ("low", "_low"), ("high", "_high")):
        values = wanted[f"volume_distribution{name}"].values[0] * wanted["size"].values
        np.testing.assert_allclose(band[column], values, rtol=1e-5, atol=1e-12)
    view = _data(workbench, "guinier_y")
    slope = np.ptp(view["line"]) / np.ptp(view["x"] * 1e-3)
    assert slope == pytest.approx(float(rg["rg"][0]) ** 2 / 3, rel=1e-4)
    plateau = _data(workbench, "porod_y")["line"]
    assert np.ptp(plateau) == 0.0
    for curve in ("guinier", "porod", "sizes"):  # the axes follow what is drawn
        plot, shown = workbench.screen.curves[curve], _data(workbench, f"{curve}_y")
        line = shown["high"] if curve == "sizes" else shown["line"]
        assert plot.y_range.start <= line.min() <= line.max() <= plot.y_range.end
        assert plot.x_range.start <= shown["x"].min() < shown["x"].max() <= plot.x_range.end
    assert [box.value for box in workbench.controls.porod] == [0.15, 0.35]


def test_planted_radii_and_volumes_come_back(workbench):
    """Spheres of 10 % spread by volume, a hundredth of the sample; the grid of sizes has steps of 11 %."""
    workbench.state.contrast = small_angles.CONTRAST
    found = workbench.apply()
    radii = small_angles.radii(8)
    offsets = np.linspace(-2, 2, 9)
    share = np.exp(-(offsets**2) / 2)
    mean = 2 * np.sum(share * (1 + 0.1 * offsets)) / share.sum()  # weights are volumes
    np.testing.assert_allclose(found["sizes"]["mean_diameter"], mean * radii, rtol=0.03)
    np.testing.assert_allclose(found["sizes"]["volume_fraction"], small_angles.FRACTION, rtol=0.03)
    np.testing.assert_allclose(found["invariant"]["volume_fraction"], small_angles.FRACTION, rtol=0.07)
    np.testing.assert_array_equal(np.argsort(found["guinier"]["rg"].values[:4]), np.arange(4))
    for table in found.values():
        check(table)
    assert "φ 0.01" in _told(workbench)


def test_windows_are_dragged(workbench):
    screen = workbench.screen
    _drag(workbench, "guinier_window", 0.0080003, 0.021)
    assert workbench.state.guinier == (0.008, 0.021)
    assert screen.part("guinier_window").left == 0.0080003  # what a hand holds is not pushed by rounding
    assert not workbench.controls.automatic.value
    _drag(workbench, "porod_window", 0.3, 0.2)  # one edge was drawn over the other
    assert workbench.state.porod == (0.2, 0.3)
    _drag(workbench, "sizes_window", 0.01, 5.0)
    assert workbench.state.sizes == pytest.approx((0.01, workbench.data.whole[1][1]), rel=1e-3)
    workbench.controls.automatic.value = True
    assert workbench.state.guinier is None
    _drag(workbench, "porod_window", 0.21, 0.21001)
    assert "porod must be" in _told(workbench)
    _drag(workbench, "porod_window", 0.21, 0.213)
    assert "no tail: saxs.porod" in _told(workbench)
    assert not len(_data(workbench, "porod_y")["y"])


def test_sizes_wait_until_the_hand_rests(workbench, series, monkeypatch):
    """Within an event loop radius and tail follow at once; invariant and sizes later, and the screen says so."""
    import batlab.dashboards.saxs_workbench as module

    taken = []
    run = module.run
    monkeypatch.setattr(
        module, "run", lambda patterns, step, settings: taken.append(step) or run(patterns, step, settings)
    )
    monkeypatch.setattr(module, "PAUSE", 0.05)

    async def drag():
        for part in (0.011, 0.012, 0.013):
            _drag(workbench, "sizes_window", part, 0.3)
            _drag(workbench, "porod_window", 10 * part, 0.3)
        assert taken == ["porod"] * 3
        assert "Q* …" in _told(workbench)
        assert workbench.screen.curves["sizes"].title.text == "sizes follow when the hand rests …"
        assert workbench.screen.part("sizes_y").glyph.line_alpha < 0.5
        await asyncio.sleep(0.15)

    asyncio.run(drag())
    assert taken == ["porod"] * 3 + ["invariant", "sizes"]
    assert workbench.screen.curves["sizes"].title.text.startswith("sizes by volume")
    assert workbench.screen.part("sizes_y").glyph.line_alpha == 1.0
    wanted = saxs.size_distribution(series.isel(frame=[0]), workbench.state.diameters, window=(0.013, 0.3))
    np.testing.assert_array_equal(workbench.found["sizes"]["volume_distribution"], wanted["volume_distribution"])

    async def ask():
        workbench.state.sizes = (0.014, 0.3)
        return workbench.found["sizes"]  # whoever asks does not get what is old

    assert float(asyncio.run(ask())["q"][0]) >= 0.014


def test_apply_computes_the_series_once_with_these_settings(workbench, series, monkeypatch):
    workbench.state.guinier, workbench.state.exponent = (0.005, 0.02), None
    workbench.controls.apply.click()
    wanted = saxs.guinier(series, window=(0.005, 0.02))
    np.testing.assert_array_equal(workbench.results["guinier"]["rg"], wanted["rg"])
    assert workbench.results["sizes"].sizes["frame"] == 8
    np.testing.assert_allclose(_data(workbench, "panel_line_trend")["value"], wanted["rg"])
    np.testing.assert_allclose(_data(workbench, "panel_line_voltage")["value"], series["voltage"])
    assert workbench.screen.panels[0].xaxis[0].axis_label == "Rg (Å)"
    trend = workbench.screen.trend_sources
    np.testing.assert_allclose(trend["data"].data["place"], series["voltage"])
    assert workbench.controls.apply.disabled
    calls = []
    monkeypatch.setattr("batlab.dashboards.saxs_workbench.run", lambda *given: calls.append(given))
    workbench.state.frame = 5
    assert not calls  # a step takes the frame from the series
    band = workbench.results["sizes"].sel(frame=5)
    np.testing.assert_allclose(_data(workbench, "sizes_y")["y"], band["volume_distribution"] * band["size"], rtol=1e-5)
    assert trend["cursor"].data["place"] == pytest.approx([float(series["voltage"][5])])
    workbench.state.trend = "mean_diameter"
    np.testing.assert_allclose(trend["data"].data["value"], workbench.results["sizes"]["mean_diameter"])
    workbench.state.trend = "surface"  # nobody has given a contrast
    assert not len(trend["data"].data["value"])
    assert not workbench.screen.panels[0].visible


def test_other_settings_are_told_until_they_are_applied(workbench):
    workbench.apply()
    workbench.state.porod = (0.15, 0.35)
    assert not workbench.is_current
    assert "other settings" in _told(workbench)
    workbench.apply()
    assert "computed with these settings" in _told(workbench)


def test_map_of_sizes_and_of_ratios(workbench):
    workbench.controls.curve.value = "sizes"
    assert workbench.controls.curve.value == "intensity"  # there is none before the series is computed
    workbench.apply()
    workbench.controls.curve.value = "sizes"
    low, high = workbench.state.size_range
    assert (workbench.screen.heat.x_range.start, workbench.screen.heat.x_range.end) == (low, high)
    rows = _pixels(workbench)
    middle = np.sqrt(low * high)  # of the logarithmic axis
    brightest = low * (high / low) ** ((np.argmax(rows, axis=1) + 0.5) / rows.shape[1])
    np.testing.assert_allclose(brightest, 2 * small_angles.radii(8), rtol=0.15)
    _send(workbench, RangesUpdate(workbench.screen.heat, x0=50.0, x1=middle, y0=1.0, y1=6.0))
    assert workbench.state.size_range == (50.0, middle)
    assert workbench.state.axis_range == workbench.data.whole[1]
    box = {"type": "rect", "x0": 60.0, "x1": 80.0, "y0": 2.6, "y1": 5.4}
    _send(workbench, SelectionGeometry(workbench.screen.heat, geometry=box, final=True))
    assert workbench.state.region is None
    assert "marks are boxes in frame and q" in _told(workbench)
    workbench.state.curve, workbench.state.reference = "intensity", 0
    assert "minus frame 0" in workbench.screen.part("map_bar").title
    assert len(np.unique(_pixels(workbench)[0])) > 1  # frames 1 to 6 are visible: none is its own reference
    assert workbench.screen.heat.x_range.start == workbench.data.whole[1][0]


def test_a_step_sends_columns_and_never_the_map(workbench):
    workbench.apply()
    sent = []
    workbench.screen.root.document.on_change(sent.append)
    workbench.state.frame = 3
    sources = {event.model.name for event in sent if event.kind == "ColumnDataChanged"}
    assert "loglog_data" in sources
    assert not {"map_data", "panel_data_trend", "panel_data_voltage"} & sources
    told = [event for event in sent if event.kind == "ColumnDataChanged" and event.model.name == "loglog_data"]
    columns = {event.cols[0] for event in told}
    assert "y" in columns
    assert "x" not in columns  # q stays


def test_clicks_and_keys_move_the_cursor(workbench):
    screen = workbench.screen
    _send(workbench, Tap(screen.heat, sx=1, sy=1, x=0.02, y=3.4))
    assert workbench.state.frame == 3
    for callback in screen.request._callbacks["data"]:
        callback("data", None, {**screen.request.data, "frame": [5]})
    assert workbench.state.frame == 5
    workbench.apply()
    at = float(workbench.series["voltage"][2]), float(workbench.results["guinier"]["rg"][2])
    _send(workbench, Tap(screen.trend, sx=1, sy=1, x=at[0], y=at[1]), workbench.trend_view)
    assert workbench.state.frame == 2
    workbench.controls.forward.click()
    assert workbench.controls.slider.value == 3
    assert screen.part("map_cursor").location == 3


def test_marks_reach_the_store(workbench, tmp_path):
    box = {"type": "rect", "x0": 0.1, "x1": 0.02, "y0": 2.6, "y1": 5.4}
    _send(workbench, SelectionGeometry(workbench.screen.heat, geometry=box, final=True))
    assert workbench.state.region == (3, 5, 0.02, 0.1)
    form = workbench.marking
    form.mechanism.value, form.author.value = "pores that close", "ada"
    form.save.click()
    (mark,) = Store(tmp_path / "marks.sqlite").marks(workbench.series)
    assert (mark.frames, mark.axis, mark.axis_range, mark.author) == ((3, 5), "q", (0.02, 0.1), "ada")
    assert form.widget.titles == ("Mark a region", "Marks (1)", "Code", "Series")


def _run(workbench, series):
    names = {"series": series, "store": workbench.store}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the status has told them
        exec(workbench.code().replace("bl.dashboards.show(screen)", ""), names)
    return names


def _assert_same_screen(workbench, names):
    for plot in names["curves"]:
        shown = plot.renderers[0].data_source
        for column, values in shown.data.items():
            np.testing.assert_array_equal(values, workbench.screen.source(shown.name.replace("data", "y")).data[column])
    drawn, shown = names["heat"].select_one({"name": "map_image"}).data_source.data, _data(workbench, "map_image")
    np.testing.assert_array_equal(drawn["image"][0], shown["image"][0])
    assert [drawn[key] for key in ("x", "y", "dw", "dh")] == [shown[key] for key in ("x", "y", "dw", "dh")]


def test_the_code_draws_the_same_screen(workbench, series):
    state = workbench.state
    state.frame, state.guinier, state.shape, state.method = 5, (0.035, 0.06), "rod", "entropy"
    names = _run(workbench, series)
    _assert_same_screen(workbench, names)
    assert len(names["curves"]) == 4
    state.shape, state.method, state.contrast = "globule", "smooth", 5.0
    workbench.apply()
    state.curve, state.trend, state.against, state.region = "sizes", "mean_diameter", "time", (2, 4, 0.02, 0.1)
    names = _run(workbench, series)
    _assert_same_screen(workbench, names)
    for step, table in workbench.results.items():
        for name, values in table.data_vars.items():
            np.testing.assert_array_equal(names[f"all_{step}"][name], values)
    trend = names["trend"].select_one({"name": "track_points"}).data_source.data
    np.testing.assert_array_equal(trend["value"], workbench.screen.trend_sources["data"].data["value"])
    assert names["region"].sizes["frame"] == 3
    state.curve, state.porod = "porod", (0.39, 0.4)  # of what fails the script says why
    workbench.marking.mechanism.value = "pores that close"
    workbench.marking.add()
    assert "# no porod: saxs.porod" in workbench.code()
    _assert_same_screen(workbench, _run(workbench, series))
    workbench.marking.widget.selected_index = 2
    assert workbench.marking.script.value == workbench.code()


def test_hostile_series_are_told_in_words(workbench, series):
    """A lost frame, no sigma, negative intensities."""
    bad = series.drop_vars("intensity_sigma").copy(deep=True)
    bad["intensity"][2] = np.nan
    bad["intensity"][4, 100:] -= 0.05
    before = bad.copy(deep=True)
    workbench.load(bad)
    assert _told(workbench).count("there is no intensity_sigma") == 1
    workbench.state.frame = 2
    assert "frame 2: no data" in _told(workbench)
    assert workbench.screen.curves["guinier"].title.text in ("", "no Guinier range")
    assert workbench.screen.curves["sizes"].title.text == "no size distribution"
    assert not len(_data(workbench, "sizes_y")["y"])
    workbench.state.frame = 4
    assert "are not above 0 and not on the logarithmic axis" in _told(workbench)
    assert np.isnan(_data(workbench, "loglog_y")["y"][100:]).sum() > 10
    workbench.apply()
    assert np.isfinite(workbench.results["guinier"]["rg"][[0, 1, 3, 4]]).all()
    assert np.isnan(workbench.results["guinier"]["rg"][2])
    assert np.isfinite(workbench.results["sizes"]["mean_diameter"][[0, 1, 3]]).all()
    xr.testing.assert_identical(bad, before)
    bad["intensity"][:] = np.nan
    workbench.load(bad)
    assert "no data" in _told(workbench)


def test_one_pattern_without_frames_and_relative_intensities(workbench, series):
    alone = series.isel(frame=3, drop=True)
    alone["intensity"].attrs["units"] = alone["intensity_sigma"].attrs["units"] = "1"
    workbench.load(alone)
    assert workbench.screen.raw.yaxis[0].axis_label == "intensity (arb. u.)"
    workbench.state.contrast = 5.0
    assert "needs the intensity in '1/cm'" in _told(workbench)
    workbench.state.contrast = None
    workbench.apply()
    _assert_same_screen(workbench, _run(workbench, alone))


def test_load_swaps_the_series_in_place(workbench, series):
    root = workbench.screen.root
    workbench.apply()
    workbench.state.frame, workbench.state.curve = 7, "sizes"
    workbench.load(small_angles.series(3, 60).drop_vars("voltage"))
    assert workbench.screen.root is root
    assert workbench.results == {}
    assert (workbench.state.frame, workbench.state.curve, workbench.controls.slider.max) == (0, "intensity", 2)
    assert len(_pixels(workbench)) == 3
    assert not any(panel.visible for panel in workbench.screen.panels)
    with pytest.raises(SchemaError, match="intensity"):
        workbench.load(xr.Dataset())
    assert len(_data(workbench, "loglog_y")["y"]) == 60


@pytest.mark.parametrize(
    ("name", "value"),
    [("guinier", (0.3, 0.1)), ("porod", (-1.0, 0.1)), ("sizes", (0.0, 1.0)), ("diameters", (10.0, np.inf)),
     ("exponent", 9.0), ("contrast", 0.0), ("shape", "cube"), ("curve", "q"), ("trend", "radius"), ("against", "tim")],
)  # fmt: skip
def test_the_state_refuses_nonsense(series, name, value):
    state = SmallAngles.of(series).first_state()
    with pytest.raises(TraitError):
        setattr(state, name, value)


def test_what_cannot_be_shown_is_refused(series):
    with pytest.raises(DimensionError, match=r"scattering\.to_q"):
        SAXSWorkbench(series[["intensity"]].rename(q="two_theta"))
    with pytest.raises(DimensionError, match="coordinate q"):
        SAXSWorkbench(series[["intensity"]].drop_vars("q"))
    with pytest.raises(SchemaError, match="to_dataset"):
        SAXSWorkbench(xr.DataTree(series))
    with pytest.raises(DimensionError, match="8 points"):
        SAXSWorkbench(series.isel(q=slice(0, 5)))
    with pytest.raises(DimensionError, match="one frame"):
        SAXSWorkbench(series.isel(frame=slice(0, 0)))


@pytest.mark.data
def test_glucose_isomerase(workbench):
    folder = datasets.path("glucose_isomerase")
    sample = io.open(str(folder / "GI2_A9_19_001_*.dat"), units="1/angstrom")
    buffer = io.open(str(folder / "GIbuf2_A9_18_001_*.dat"), units="1/angstrom")
    workbench.load(saxs.subtract(sample, buffer))
    mean = workbench.apply()["guinier"]["rg"]
    # SOURCES: 33.4 (GNOM); each exposure is noisier than their mean.
    assert float(mean.mean()) == pytest.approx(33.4, abs=1.0)
    assert "not above 0 and not on the logarithmic axis" in _told(workbench)


@pytest.mark.data
def test_alumina_and_the_steel(workbench):
    workbench.load(io.open(datasets.path("sasview_examples") / "Alumina_usaxs.csv", axis="q"))
    workbench.state.sizes, workbench.state.diameters = (3e-4, 0.2), (60.0, 8000.0)
    curve = _data(workbench, "sizes_y")
    # GSAS-II's tutorials on these data: modes about 150 to 160 and 1400 to 1600 angstrom.
    large = (curve["x"] > 700) & (curve["x"] < 3000)
    assert 1300 < curve["x"][large][np.argmax(curve["y"][large])] < 1750
    assert "no distribution comes close" in _told(workbench)
    tree = io.open(datasets.path("af1410_steel") / "cs_af1410.xml")
    means = []
    for name in ("AF1410-a1h", "AF1410-a50"):
        workbench.load(tree[name].to_dataset())
        workbench.state.diameters = (15.0, 500.0)
        curve = _data(workbench, "sizes_y")
        small = curve["x"] < 150
        means.append(np.sum((curve["x"] * curve["y"])[small]) / np.sum(curve["y"][small]))
    assert means[1] > 1.2 * means[0]  # SOURCES: carbides coarsen


@pytest.mark.data
def test_usaxs_over_four_decades(workbench):
    tree = io.open(datasets.path("usaxs_12ide") / "sample13.h5")
    names = [node.path for node in tree.leaves if "intensity" in node and "slit_length" not in node.attrs]
    workbench.load(tree[names[0]].to_dataset())
    # SOURCES, the instrument scientist's reading: a power law from 0.2 to 0.02.
    workbench.state.porod, workbench.state.exponent = (0.02, 0.2), None
    assert workbench.screen.curves["porod"].title.text.startswith("slope ")
    assert 1.0 < float(workbench.found["porod"]["exponent"][0]) < 4.5
    assert workbench.screen.raw.x_range.end / workbench.screen.raw.x_range.start > 1e3
