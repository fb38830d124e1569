"""The total-scattering dashboard without a browser: set the state, look at the data."""

from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.events import RangesUpdate, SelectionGeometry, Tap

from batlab import pdf
from batlab.dashboards import PDFWorkbench
from batlab.failure import Store
from batlab.schema import check, identity

from . import pairs
from .pairing import assert_same_screen, data, drag, made, pixels, run, send


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


def test_it_starts_with_what_g_of_r_takes_by_itself(workbench, series, empty):
    state = workbench.state
    assert (state.qmax, state.qmaxinst, state.rpoly, state.bgscale, state.window) == (23.9, 23.98, 0.9, 1.0, None)
    wanted = made(series.isel(frame=[0]), empty, qmin=state.qmin, qmax=23.9, qmaxinst=23.98)
    np.testing.assert_allclose(data(workbench, "g_r_y")["y"], wanted["g_r"][0], atol=1e-5)
    np.testing.assert_allclose(data(workbench, "f_q_y")["y"], wanted["f_q"][0], atol=1e-5)
    np.testing.assert_allclose(data(workbench, "f_q_y")["high"], (wanted["f_q"] + wanted["f_q_sigma"])[0], atol=1e-5)
    np.testing.assert_allclose(data(workbench, "intensity_y")["beside"], empty["intensity"], rtol=1e-6)
    low, high = state.ruler
    assert low < pairs.bonds(8)[0] < high
    assert workbench.result is None
    assert "apply the settings" in workbench.controls.status.value
    assert "top 2.4" in workbench.ruler.reading.value


def test_everything_follows_a_slider(workbench, series, empty):
    workbench.state.frame = 3
    workbench.controls.qmax.value = 18.4
    workbench.controls.bgscale.value = 0.7
    workbench.controls.rpoly.value = 1.2
    workbench.controls.window.value = "lorch"
    state = workbench.state
    assert (state.qmax, state.bgscale, state.rpoly, state.window) == (18.4, 0.7, 1.2, "lorch")
    settings = {"qmin": state.qmin, "qmax": 18.4, "qmaxinst": 23.98, "bgscale": 0.7, "rpoly": 1.2, "window": "lorch"}
    wanted = made(series.isel(frame=[3]), empty, **settings)
    np.testing.assert_allclose(data(workbench, "g_r_y")["y"], wanted["g_r"][0], atol=1e-5)
    np.testing.assert_allclose(data(workbench, "f_q_y")["x"], wanted["q"], rtol=1e-6)
    np.testing.assert_allclose(data(workbench, "intensity_y")["beside"], 0.7 * empty["intensity"], rtol=1e-6)
    assert workbench.screen.part("qmax_line").location == 18.4
    assert workbench.screen.curves["g_r"].title.text.startswith("frame 3 ")


def test_qmax_and_ruler_are_dragged(workbench):
    drag(workbench, "qmax_line", 20.004)
    assert workbench.state.qmax == 20.0
    assert workbench.controls.qmax.value == 20.0
    assert workbench.screen.part("qmax_line").location == 20.004  # what a hand holds is not pushed by rounding
    drag(workbench, "qmax_line", 99.0)
    assert workbench.state.qmax == pytest.approx(workbench.state.qmaxinst, abs=0.05)
    drag(workbench, "ruler", 3.8, 3.3)  # one edge was drawn over the other
    assert workbench.state.ruler == (3.3, 3.8)
    # The second shell of an f.c.c. metal lies at its cell's edge.
    assert workbench._reading[0] == pytest.approx(pairs.A, abs=0.02)
    drag(workbench, "ruler", 0.0, 0.0)
    assert "ruler must be" in workbench.controls.status.value
    # What Python has moved and the browser sends back, perhaps long after, changes nothing.
    part = workbench.screen.part("ruler")
    content = {"event": "jsevent", "kind": "ModelChanged", "model": {"id": part.id}, "attr": "left", "new": 1.0}
    workbench.view._sync_model(workbench.view, content, [])
    assert workbench.state.ruler == (3.3, 3.8)


def test_what_a_slider_rounds_and_sends_back_changes_nothing(workbench):
    workbench.state.qmax = 18.37
    workbench.controls.qmax.value = 18.4  # as the browser does
    assert workbench.state.qmax == 18.37
    workbench.controls.qmax.value = 18.5
    assert workbench.state.qmax == 18.5


def test_apply_computes_the_series_once_with_these_settings(workbench, series, empty, monkeypatch):
    workbench.state.qmax = 21.0
    workbench.controls.apply.click()
    wanted = made(series, empty, qmin=workbench.state.qmin, qmax=21.0, qmaxinst=23.98)
    for name in ("g_r", "f_q", "scale", "g_r_sigma"):
        np.testing.assert_array_equal(workbench.result[name], wanted[name])
    check(workbench.result)
    assert "pdf.g_of_r" in workbench.result.attrs["history"]
    assert workbench.state.curve == "g_r"
    assert workbench.controls.apply.disabled
    np.testing.assert_allclose(data(workbench, "panel_line_voltage")["value"], series["voltage"])
    calls = []
    monkeypatch.setattr("batlab.dashboards.pdf_workbench.attempt", lambda *given: calls.append(given))
    workbench.state.frame = 5
    assert not calls  # a step takes the frame from the series
    np.testing.assert_allclose(data(workbench, "g_r_y")["y"], wanted["g_r"][5], atol=1e-5)
    high = wanted["g_r"] + wanted["g_r_sigma"]
    np.testing.assert_allclose(data(workbench, "g_r_y")["high"], high[5], atol=1e-5)


def test_other_settings_are_told_until_they_are_applied(workbench):
    workbench.apply()
    workbench.state.rpoly = 1.1
    assert not workbench.is_current
    assert not workbench.controls.apply.disabled
    assert "other settings" in workbench.controls.status.value
    workbench.apply()
    assert "computed with these settings" in workbench.controls.status.value
    assert "rpoly=1.1" in workbench.result.attrs["history"]


def test_what_cannot_be_computed_is_told_and_nothing_stale_stays(workbench):
    workbench.apply()
    result = workbench.result
    workbench.state.qmaxinst = 20.0
    assert "no G(r): pdf.g_of_r: qmax 23.9 and qmaxinst 20" in workbench.controls.status.value
    assert not len(data(workbench, "g_r_y")["y"])
    assert not len(data(workbench, "f_q_y")["y"])
    assert len(data(workbench, "intensity_y")["y"])
    assert "no peak under the ruler" in workbench.ruler.reading.value
    workbench.controls.apply.click()
    assert "the series was not computed" in workbench.controls.status.value
    assert workbench.result is result
    with pytest.raises(ValueError, match="qmaxinst"):
        workbench.apply()
    with pytest.raises(ValueError, match="qmaxinst"):
        workbench.tune()
    workbench.state.qmax = 19.0
    assert len(data(workbench, "g_r_y")["y"])
    workbench.state.bgscale = 2.0
    assert "intensities are negative" in workbench.controls.status.value
    workbench.controls.qmin.value = -1.0
    assert "qmin must be" in workbench.controls.status.value


def test_the_ruler_measures_the_bond_of_every_frame(workbench, series):
    with pytest.raises(ValueError, match="apply the settings"):
        workbench.measure()
    workbench.apply()
    workbench.controls.attempt(bond="Ni-Ni")
    assert workbench.state.ruler == pdf.BONDS["Ni-Ni"]
    workbench.state.ruler = (2.35, 2.7)
    workbench.ruler.measure.click()
    table = workbench.lengths
    check(table)
    found = table["position"].values[:, 0]
    # Planted; damping and termination move a lone peak of G(r) by less than a hundredth.
    np.testing.assert_allclose(found, pairs.bonds(8), atol=0.01)
    assert np.polyfit(np.arange(8), found, 1)[0] == pytest.approx(pairs.SWELLING / 7 / np.sqrt(2), rel=0.1)
    assert "neighbours" in workbench.ruler.reading.value
    assert workbench.ruler.measure.disabled
    np.testing.assert_allclose(data(workbench, "panel_line_bond")["value"], found)
    trend = workbench.screen.trend_sources
    np.testing.assert_allclose(trend["data"].data["place"], series["voltage"])
    workbench.state.frame = 6
    assert trend["cursor"].data["place"] == pytest.approx([float(series["voltage"][6])])
    at = float(series["voltage"][2]), found[2]
    send(workbench, Tap(workbench.screen.trend, sx=1, sy=1, x=at[0], y=at[1]), workbench.trend_view)
    assert workbench.state.frame == 2
    workbench.state.ruler = (2.3, 2.7)
    assert "other settings" in workbench.ruler.reading.value
    assert not workbench.ruler.measure.disabled
    workbench.state.ruler = (1.2, 1.25)
    workbench.ruler.measure.click()
    assert workbench.lengths is not table or "no bond was measured" in workbench.controls.status.value


@pytest.mark.filterwarnings("ignore:.*are negative")
def test_tries_of_a_knob(workbench, series, empty):
    workbench.state.frame = 2
    workbench.tune_card.button.click()
    wanted = pdf.tune(
        series.isel(frame=2), "Ni", background=empty, qmin=workbench.state.qmin, qmax=23.9, qmaxinst=23.98
    )
    shown = workbench.screen.tuning_source.data
    turned = wanted.isel(setting=wanted["knob"].values == "qmax")
    np.testing.assert_allclose(shown["x"], turned["qmax"])
    np.testing.assert_allclose(shown["y"], turned["ripple"], rtol=1e-6)
    assert workbench.tune_card.button.disabled
    workbench.tune_card.knob.value, workbench.tune_card.merit.value = "rpoly", "peak_width"
    turned = wanted.isel(setting=wanted["knob"].values == "rpoly")
    np.testing.assert_allclose(workbench.screen.tuning_source.data["y"], turned["peak_width"], rtol=1e-6)
    assert workbench.screen.tuning_cursor.location == 0.9
    workbench.controls.rpoly.value = 1.3
    assert workbench.screen.tuning_cursor.location == 1.3
    assert "try again" in workbench.tune_card.told.value
    assert not workbench.tune_card.button.disabled


def test_clicks_and_keys_move_the_cursor(workbench):
    screen = workbench.screen
    send(workbench, Tap(screen.heat, sx=1, sy=1, x=5.0, y=3.4))
    assert workbench.state.frame == 3
    send(workbench, Tap(screen.panels[1], sx=1, sy=1, x=1.0, y=5.9))
    assert workbench.state.frame == 6
    for callback in screen.request._callbacks["data"]:
        callback("data", None, {**screen.request.data, "frame": [7]})
    assert workbench.state.frame == 7
    workbench.controls.back.click()
    assert workbench.controls.slider.value == 6
    workbench.controls.slider.value = 1
    assert screen.part("map_cursor").location == 1


def test_a_step_sends_curves_and_never_the_map(workbench):
    workbench.apply()
    sent = []
    workbench.screen.root.document.on_change(sent.append)
    workbench.state.frame = 3
    sources = {event.model.name for event in sent if event.kind == "ColumnDataChanged"}
    assert {"g_r_data", "f_q_data", "intensity_data"} <= sources
    assert not {"map_data", "panel_data_bond", "panel_data_voltage"} & sources
    shells = [event.cols for event in sent if event.kind == "ColumnDataChanged" and event.model.name == "g_r_data"]
    assert sorted(shells) == [["high"], ["low"], ["y"]]  # and not r
    sent.clear()
    workbench.state.bgscale = 0.9
    sources = {event.model.name for event in sent if event.kind == "ColumnDataChanged"}
    assert "map_data" not in sources


def test_map_of_changes_and_zoom(workbench):
    workbench.apply()
    workbench.state.reference = 0
    assert len(np.unique(pixels(workbench)[0])) == 1
    assert len(np.unique(pixels(workbench)[5])) > 10
    np.testing.assert_allclose(data(workbench, "g_r_y")["beside"], workbench.result["g_r"][0], atol=1e-5)
    changes = pdf.difference(workbench.result, 0)["g_r_difference"]
    np.testing.assert_allclose(
        data(workbench, "g_r_y")["y"] - data(workbench, "g_r_y")["beside"], changes[0], atol=1e-5
    )
    heat = workbench.screen.heat
    send(workbench, RangesUpdate(heat, x0=2.0, x1=4.0, y0=2.0, y1=6.0))
    assert (workbench.state.r_range, workbench.state.frames) == ((2.0, 4.0), (2.0, 6.0))
    shells = workbench.screen.curves["g_r"].x_range
    assert (shells.start, shells.end) == (2.0, 4.0)
    assert len(pixels(workbench)) == 5
    send(workbench, RangesUpdate(workbench.screen.curves["g_r"], x0=1.0, x1=6.0, y0=0.0, y1=1.0))
    assert (heat.x_range.start, heat.x_range.end) == (1.0, 6.0)
    workbench.controls.difference.value = False
    workbench.state.curve = "f_q"
    assert (heat.x_range.start, heat.x_range.end) == workbench.state.q_range
    assert heat.xaxis[0].axis_label == "Q (Å⁻¹)"
    send(workbench, RangesUpdate(heat, x0=5.0, x1=9.0, y0=2.0, y1=6.0))
    assert workbench.state.q_range == (5.0, 9.0)
    assert workbench.state.r_range == (1.0, 6.0)


def test_without_a_result_there_is_only_the_map_of_patterns(workbench):
    workbench.state.curve = "g_r"
    assert workbench.state.curve == "intensity"
    assert [words for words, _curve in workbench.controls.curve.options] == ["map of I(Q)"]


def test_marks_reach_the_store_on_the_axis_of_the_map(workbench, tmp_path):
    box = {"type": "rect", "x0": 3.0, "x1": 2.0, "y0": 2.6, "y1": 5.4}
    send(workbench, SelectionGeometry(workbench.screen.heat, geometry=box, final=True))
    assert workbench.state.region == (3, 5, 2.0, 3.0)
    form = workbench.marking
    form.mechanism.value, form.author.value = "loss of contact", "ada"
    form.save.click()
    workbench.apply()
    workbench.state.region = (1, 2, 2.3, 2.7)
    form.mechanism.value = "amorphization"
    form.save.click()
    assert "kept as mark 2" in form.told.value
    marks = Store(tmp_path / "marks.sqlite").marks(workbench.series)
    assert [(m.axis, m.axis_range, m.frames) for m in marks] == [("q", (2.0, 3.0), (3, 5)), ("r", (2.3, 2.7), (1, 2))]
    assert {m.dataset for m in marks} == {identity(workbench.series)}
    assert data(workbench, "mark_boxes")["mechanism"] == ["amorphization"]
    form.chosen.value = 1  # goes to the map on whose axis the mark lies
    assert workbench.state.curve == "intensity"
    assert workbench.state.region == (3, 5, 2.0, 3.0)
    assert data(workbench, "mark_boxes")["mechanism"] == ["loss of contact"]
    workbench.state.curve = "g_r"
    assert workbench.state.region is None  # Q means nothing there
    assert form.widget.titles == ("Mark", "Marks (2)", "Code", "Bond", "Tune")


@pytest.mark.filterwarnings("ignore:.*are negative")
def test_the_code_draws_the_same_screen(workbench, series, empty):
    workbench.state.frame, workbench.state.qmax, workbench.state.q_range = 5, 20.0, (2.0, 12.0)
    names = run(workbench, series, empty)
    assert_same_screen(workbench, names)
    assert len(names["curves"]) == 3
    workbench.apply()
    workbench.state.bond, workbench.state.against = "Ni-Ni", "time"
    workbench.state.ruler = (2.3, 2.7)
    workbench.measure()
    workbench.tune()
    workbench.state.reference, workbench.state.frame = 1, 4
    workbench.state.region = (2, 4, 2.0, 3.0)
    workbench.marking.mechanism.value = "amorphization"
    workbench.marking.add()
    workbench.state.region = (2, 4, 2.0, 3.0)
    names = run(workbench, series, empty)
    assert_same_screen(workbench, names)
    np.testing.assert_array_equal(names["done"]["g_r"], workbench.result["g_r"])
    np.testing.assert_array_equal(names["lengths"]["position"], workbench.lengths["position"][:, 0])
    np.testing.assert_array_equal(names["tried"]["ripple"], workbench.tried["ripple"])
    trend = names["trend"].select_one({"name": "track_points"}).data_source.data
    np.testing.assert_array_equal(trend["place"], workbench.screen.trend_sources["data"].data["place"])
    assert names["heat"].select_one({"name": "mark_boxes"}).data_source.data["mechanism"] == ["amorphization"]
    assert names["region"].sizes["frame"] == 3


def test_the_code_of_settings_that_were_not_applied_or_fail(workbench, series, empty):
    workbench.apply()
    workbench.state.rpoly, workbench.state.window = 1.2, "soft"
    assert_same_screen(workbench, run(workbench, series, empty))
    workbench.state.qmaxinst = 12.0
    names = run(workbench, series, empty)
    assert_same_screen(workbench, names)
    assert len(names["curves"]) == 1
    assert "# no G(r): pdf.g_of_r: qmax" in workbench.code()


def test_code_uses_the_names_of_the_user(workbench, series, empty, monkeypatch):
    shell = SimpleNamespace(user_ns={"nickel": workbench.series, "capillary": empty})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    assert "patterns = nickel\n" in workbench.code()
    assert "background=capillary" in workbench.code()
    workbench.marking.widget.selected_index = 2
    assert workbench.marking.script.value == workbench.code()
