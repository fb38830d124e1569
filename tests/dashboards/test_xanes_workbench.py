"""The absorption dashboard without a browser: set the state, look at the data."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

from batlab import xas
from batlab.dashboards import XANESWorkbench
from batlab.errors import DimensionError, SchemaError
from batlab.failure import Store
from batlab.schema import check

_spec = importlib.util.spec_from_file_location("batlab_small_spectra", Path(__file__).with_name("spectra.py"))
spectra = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(spectra)


@pytest.fixture(scope="module")
def series():
    return spectra.series()


@pytest.fixture(scope="module")
def built(series):
    """Figures and widgets are dear: one dashboard, which every test loads anew."""
    made = XANESWorkbench(series)
    yield made
    made.close()


@pytest.fixture
def workbench(built, series, tmp_path):
    built.store = built._given["store"] = Store(tmp_path / "marks.sqlite")
    built.marking.widget.selected_index = 3
    built.load(series)
    return built


def _data(workbench, name):
    return workbench.screen.source(name).data


def _pixels(workbench):
    return _data(workbench, "map_image")["image"][0]


def _drag(workbench, name, *ends):
    """Drag something as the browser does: it moves, and a source tells where a hand has put it."""
    part, hand = workbench.screen.part(name), workbench.screen.hands[name]
    sides = ("location",) if len(ends) == 1 else ("left", "right")
    changes = [(part, side, end) for side, end in zip(sides, ends, strict=True)]
    for model, attr, new in [*changes, (hand, "data", {"type": "map", "entries": [["ends", list(ends)]]})]:
        content = {"event": "jsevent", "kind": "ModelChanged", "model": {"id": model.id}, "attr": attr, "new": new}
        workbench.view._sync_model(workbench.view, content, [])


def _send(workbench, event, view=None):
    """Hand an event to the figure as the browser does."""
    assert event.event_name in event.model.subscribed_events  # else the browser keeps it to itself
    values = {"type": "map", "entries": [["model", {"id": event.model.id}], *_entries(event)]}
    message = {"type": "event", "name": event.event_name, "values": values}
    content = {"event": "jsevent", "kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": message}
    view = view or workbench.view
    view._sync_model(view, content, [])


def _entries(event):
    for name, value in vars(event).items():
        if name in ("model", "modifiers"):
            continue
        if isinstance(value, dict):
            value = {"type": "map", "entries": list(map(list, value.items()))}
        yield [name, value]


def test_it_starts_with_the_windows_of_normalize_and_the_near_edge(workbench, series):
    alone = xas.normalize(series.isel(frame=[0]))
    state = workbench.state
    assert (*state.pre, *state.post) == pytest.approx([alone.attrs[n] for n in ("pre1", "pre2", "norm1", "norm2")])
    assert state.e0 is None
    assert state.kmax is None
    np.testing.assert_allclose(_data(workbench, "mu_flat_y")["y"], alone["mu_flat"][0], atol=1e-6)
    assert state.axis_range[0] < spectra.EDGE < state.axis_range[1]
    assert state.axis_range[1] - state.axis_range[0] == pytest.approx(200)
    assert workbench.result is None
    assert f"E₀ {float(alone['e0'][0]):.2f}" in workbench.controls.status.value


def test_everything_follows_a_window(workbench, series):
    workbench.state.frame = 4
    workbench.state.pre, workbench.state.post = (-120.0, -60.0), (80.0, 500.0)
    wanted = xas.normalize(series.isel(frame=[4]), pre=(-120, -60), post=(80, 500), nnorm=2)
    wanted = xas.fourier_transform(xas.remove_background(wanted), kmin=3)
    for curve, column, values in (
        ("mu_flat", "y", wanted["mu_flat"]), ("mu_flat", "plain", wanted["mu_norm"]),
        ("chi_r_mag", "y", wanted["chi_r_mag"]),
        ("chi", "y", wanted["chi"] * wanted["k"] ** 2), ("mu", "background", wanted["mu_background"]),
    ):  # fmt: skip
        np.testing.assert_allclose(_data(workbench, f"{curve}_y")[column], values[0], atol=2e-6)
    e0 = float(wanted["e0"][0])
    box = workbench.screen.part("pre_window")
    assert (box.left, box.right) == pytest.approx((e0 - 120, e0 - 60), abs=0.06)
    assert workbench.screen.raw.title.text.startswith("frame 4 ")
    assert [one.value for one in workbench.controls.pre] == [-120, -60]


def test_windows_and_e0_are_dragged(workbench):
    screen, e0 = workbench.screen, workbench._edge()
    flat = _data(workbench, "mu_flat_y")["y"]
    _drag(workbench, "post_window", e0 + 90.02, e0 + 400.0)
    assert workbench.state.post == (90.0, 400.0)
    assert not np.array_equal(flat, _data(workbench, "mu_flat_y")["y"])
    assert screen.part("post_window").left == e0 + 90.02  # what a hand holds is not pushed by rounding
    _drag(workbench, "pre_window", e0 - 60, e0 - 90)  # one edge was drawn over the other
    assert workbench.state.pre == (-90, -60)
    _drag(workbench, "e0_line", e0 + 3.004)
    assert workbench.state.e0 == round(e0 + 3.004, 2)
    assert screen.part("post_window").left == pytest.approx(workbench.state.e0 + 90, abs=0.06)
    assert not workbench.controls.automatic.value
    _drag(workbench, "k_window", 4.5, 12.0)
    assert (workbench.state.kmin, workbench.state.kmax) == (4.5, 12.0)
    assert workbench.spectrum["chi_r_mag"].attrs["kmin"] == 4.5
    workbench.controls.automatic.value = True
    assert workbench.state.e0 is None


def test_what_python_moved_and_the_browser_sends_back_changes_nothing(workbench):
    """The widget echoes every change, late ones too."""
    workbench.state.e0 = 8340.0
    workbench.state.e0 = None
    part = workbench.screen.part("e0_line")
    content = {"event": "jsevent", "kind": "ModelChanged", "model": {"id": part.id}, "attr": "location", "new": 8340.0}
    workbench.view._sync_model(workbench.view, content, [])
    assert workbench.state.e0 is None


def test_a_drag_beyond_the_data_stays_within(workbench):
    _drag(workbench, "e0_line", 1e6)
    assert workbench.state.e0 == pytest.approx(workbench.data.whole[1][1], abs=0.01)
    assert "not normalised" in workbench.controls.status.value
    workbench.state.e0 = None
    _drag(workbench, "k_window", -3.0, -1.0)
    assert "kmax must be" in workbench.controls.status.value


def test_apply_computes_the_series_once_with_these_settings(workbench, series, monkeypatch):
    workbench.state.pre = (-130.0, -50.0)
    workbench.controls.apply.click()
    wanted = xas.normalize(series, pre=(-130, -50), post=workbench.state.post, nnorm=2)
    for name in ("mu_flat", "e0", "edge_step"):
        np.testing.assert_array_equal(workbench.result[name], wanted[name])
    check(workbench.result)
    assert "xas.normalize" in workbench.result.attrs["history"]
    np.testing.assert_allclose(workbench.result["e0"], spectra.edges(12), atol=0.4)
    assert workbench.state.curve == "mu_flat"
    np.testing.assert_allclose(_data(workbench, "panel_line_e0")["value"], wanted["e0"])
    np.testing.assert_allclose(_data(workbench, "panel_line_voltage")["value"], series["voltage"])
    trend = workbench.screen.trend_sources
    np.testing.assert_allclose(trend["data"].data["place"], series["voltage"])
    assert workbench.controls.apply.disabled
    calls = []
    monkeypatch.setattr("batlab.dashboards.xanes_workbench.run", lambda *given: calls.append(given))
    workbench.state.frame = 7
    assert not calls  # a step takes the frame from the series
    np.testing.assert_allclose(_data(workbench, "mu_flat_y")["y"], wanted["mu_flat"][7], atol=1e-6)
    assert trend["cursor"].data["place"] == pytest.approx([float(series["voltage"][7])])


def test_other_settings_are_told_until_they_are_applied(workbench):
    workbench.apply()
    workbench.state.nnorm = 1
    assert not workbench.is_current
    assert not workbench.controls.apply.disabled
    assert "other settings" in workbench.controls.status.value
    assert "nnorm=2" in workbench.result.attrs["history"]
    workbench.apply()
    assert "computed with these settings" in workbench.controls.status.value


def test_what_cannot_be_computed_is_told_and_nothing_stale_stays(workbench):
    workbench.apply()
    result = workbench.result
    workbench.state.post = (50.0, 52.0)
    assert "holds 1 points" in workbench.controls.status.value or "holds 2 points" in workbench.controls.status.value
    assert not len(_data(workbench, "mu_flat_y")["y"])
    assert not len(_data(workbench, "chi_r_mag_y")["y"])
    assert len(_data(workbench, "mu_y")["y"])
    workbench.controls.apply.click()
    assert "the series was not computed" in workbench.controls.status.value
    assert workbench.result is result
    with pytest.raises(ValueError, match="post"):
        workbench.apply()
    workbench.state.post, workbench.state.kmax = (50.0, 500.0), 40.0
    assert "no χ(R): xas.fourier_transform" in workbench.controls.status.value
    assert len(_data(workbench, "chi_y")["y"])
    workbench.controls.kmin.value = -1.0
    assert "kmin must be" in workbench.controls.status.value
    assert workbench.state.kmin == 3.0


def test_short_spectra_and_frames_without_data(workbench, series):
    """XANES alone has no EXAFS; a frame that was lost is one that was lost."""
    short = series.sel(energy=slice(8250, 8400)).copy(deep=True)
    short["mu"][5] = np.nan
    workbench.load(short)
    workbench.state.frame = 5
    assert "not normalised" in workbench.controls.status.value
    workbench.state.frame = 6
    assert len(_data(workbench, "mu_flat_y")["y"])
    workbench.apply()
    assert np.isnan(workbench.result["e0"][5])
    assert np.isfinite(workbench.result["e0"][[0, 4, 6]]).all()
    assert "no E0 in 1 of 12 frames" in workbench.controls.status.value


def test_clicks_and_keys_move_the_cursor(workbench, series):
    screen = workbench.screen
    _send(workbench, Tap(screen.heat, sx=1, sy=1, x=8340.0, y=3.4))
    assert workbench.state.frame == 3
    _send(workbench, Tap(screen.panels[1], sx=1, sy=1, x=3.0, y=9.9))
    assert workbench.state.frame == 10
    for callback in screen.request._callbacks["data"]:
        callback("data", None, {**screen.request.data, "frame": [11]})
    assert workbench.state.frame == 11
    _send(workbench, Tap(screen.trend, sx=1, sy=1, x=3.7, y=8333.0), workbench.trend_view)
    assert workbench.state.frame == 11  # no trend yet
    workbench.apply()
    at = float(series["voltage"][2]), float(workbench.result["e0"][2])
    _send(workbench, Tap(screen.trend, sx=1, sy=1, x=at[0], y=at[1]), workbench.trend_view)
    assert workbench.state.frame in (2, 9)  # up and down through the same voltage
    workbench.state.against = "time"
    _send(workbench, Tap(screen.trend, sx=1, sy=1, x=8 / 6, y=float(workbench.result["e0"][8])), workbench.trend_view)
    assert workbench.state.frame == 8
    workbench.controls.forward.click()
    assert workbench.controls.slider.value == 9
    workbench.controls.slider.value = 1
    assert screen.part("map_cursor").location == 1


def test_a_step_sends_curves_and_never_the_map(workbench):
    workbench.apply()
    sent = []
    workbench.screen.root.document.on_change(sent.append)
    workbench.state.frame = 3
    sources = {event.model.name for event in sent if event.kind == "ColumnDataChanged"}
    assert "mu_flat_data" in sources
    assert not {"map_data", "panel_data_e0", "panel_data_voltage"} & sources
    flat = [event.cols for event in sent if event.kind == "ColumnDataChanged" and event.model.name == "mu_flat_data"]
    assert sorted(flat) == [["plain"], ["y"]]  # and not the energies


def test_map_of_differences_and_zoom(workbench):
    workbench.apply()
    workbench.state.reference = 0
    assert len(np.unique(_pixels(workbench)[0])) == 1
    assert len(np.unique(_pixels(workbench)[5])) > 10
    _send(workbench, RangesUpdate(workbench.screen.heat, x0=8320.0, x1=8350.0, y0=2.0, y1=6.0))
    assert (workbench.state.axis_range, workbench.state.frames) == ((8320.0, 8350.0), (2.0, 6.0))
    assert _pixels(workbench).shape == (5, 61)
    workbench.controls.difference.value = False
    assert workbench.state.reference is None


def test_marks_reach_the_store(workbench, tmp_path):
    box = {"type": "rect", "x0": 8350.0, "x1": 8330.0, "y0": 2.6, "y1": 7.4}
    _send(workbench, SelectionGeometry(workbench.screen.heat, geometry=box, final=True))
    assert workbench.state.region == (3, 7, 8330.0, 8350.0)
    form = workbench.marking
    form.mechanism.value, form.author.value = "beam damage", "ada"
    form.save.click()
    (mark,) = Store(tmp_path / "marks.sqlite").marks(workbench.series)
    assert (mark.frames, mark.axis, mark.axis_range, mark.author) == ((3, 7), "energy", (8330.0, 8350.0), "ada")
    assert _data(workbench, "mark_boxes")["top"] == [7.5]
    assert form.widget.titles == ("Mark a region", "Marks (1)", "Code", "Edge energy")


def _run(workbench, series):
    names = {"series": series, "store": workbench.store}
    exec(workbench.code().replace("bl.dashboards.show(screen)", ""), names)
    return names


def _assert_same_screen(workbench, names):
    for plot in names["curves"]:
        for line in plot.renderers:
            if line.name.endswith("_y"):
                for column, values in line.data_source.data.items():
                    np.testing.assert_array_equal(values, _data(workbench, line.name)[column])
    drawn, shown = names["heat"].select_one({"name": "map_image"}).data_source.data, _data(workbench, "map_image")
    np.testing.assert_array_equal(drawn["image"][0], shown["image"][0])
    assert [drawn[key] for key in ("x", "y", "dw", "dh")] == [shown[key] for key in ("x", "y", "dw", "dh")]


def test_the_code_draws_the_same_screen(workbench, series):
    workbench.state.frame, workbench.state.pre, workbench.state.axis_range = 5, (-120.0, -60.0), (8300.0, 8400.0)
    names = _run(workbench, series)
    _assert_same_screen(workbench, names)
    assert len(names["curves"]) == 5
    workbench.apply()
    workbench.state.reference, workbench.state.against, workbench.state.region = 1, "time", (2, 4, 8330.0, 8340.0)
    workbench.marking.mechanism.value = "beam damage"
    workbench.marking.add()
    workbench.state.region = (2, 4, 8330.0, 8340.0)
    names = _run(workbench, series)
    _assert_same_screen(workbench, names)
    for name in ("mu_flat", "e0", "chi_r_mag"):
        np.testing.assert_array_equal(names["done"][name], workbench.result[name])
    trend = names["trend"].select_one({"name": "track_points"}).data_source.data
    np.testing.assert_array_equal(trend["place"], workbench.screen.trend_sources["data"].data["place"])
    assert names["heat"].select_one({"name": "mark_boxes"}).data_source.data["mechanism"] == ["beam damage"]
    assert names["region"].sizes["frame"] == 3


def test_the_code_of_settings_that_were_not_applied_or_fail(workbench, series):
    workbench.apply()
    workbench.state.e0, workbench.state.kmax = 8334.0, 40.0
    names = _run(workbench, series)
    _assert_same_screen(workbench, names)
    assert float(names["scan"]["e0"][0]) == 8334.0
    assert len(names["curves"]) == 4
    workbench.state.pre = (-500.0, -490.0)
    names = _run(workbench, series)
    _assert_same_screen(workbench, names)
    assert len(names["curves"]) == 1


def test_code_uses_the_names_of_the_user(workbench, series, monkeypatch):
    shell = SimpleNamespace(user_ns={"nickel": workbench.series})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    assert "spectra = nickel\n" in workbench.code()
    workbench.marking.widget.selected_index = 2
    assert workbench.marking.script.value == workbench.code()


def test_a_single_scan_and_one_with_results_already(workbench, series):
    scan = series.isel(frame=3, drop=True)
    workbench.load(scan)
    workbench.apply()
    names = _run(workbench, scan)
    _assert_same_screen(workbench, names)
    assert workbench.state.choices == ["voltage", "capacity", "frame"]
    ready = xas.fourier_transform(xas.remove_background(xas.normalize(series)))
    workbench.load(ready)
    workbench.apply()
    np.testing.assert_array_equal(_run(workbench, ready)["done"]["chi"], workbench.result["chi"])


def test_load_swaps_the_series_in_place(workbench, series):
    root = workbench.screen.root
    workbench.apply()
    workbench.state.frame, workbench.state.e0 = 9, 8340.0
    other = spectra.series(5).drop_vars("voltage")
    workbench.load(other)
    assert workbench.screen.root is root
    assert workbench.result is None
    assert (workbench.state.frame, workbench.state.e0, workbench.controls.slider.max) == (0, None, 4)
    assert len(_pixels(workbench)) == 5
    assert not any(panel.visible for panel in workbench.screen.panels)
    assert workbench.state.against == "time"
    assert not len(workbench.screen.trend_sources["data"].data["place"])
    with pytest.raises(SchemaError, match=r"xas\.mu"):
        workbench.load(xr.Dataset())
    workbench.state.frame = 2
    assert workbench.screen.raw.title.text.startswith("frame 2 ")
    workbench.load(series)
    assert workbench.controls.slider.max == 11


def test_frames_keep_their_numbers_and_lazy_series_stay_as_they_were(series):
    part = series.isel(frame=slice(2, None, 3)).chunk(frame=2)
    workbench = XANESWorkbench(part)
    assert part["mu"].chunks is not None
    assert workbench.state.frame == 2
    workbench.state.frame = 6
    assert workbench.state.frame == 5
    workbench.state.step(9)
    assert workbench.state.frame == 11
    assert workbench.show() is None
    workbench.close()
    assert not hasattr(workbench, "data")


def test_input_stays_as_it_was(workbench, series):
    before = series.copy(deep=True)
    workbench.state.e0, workbench.state.reference = 8334.0, 3
    workbench.apply()
    xr.testing.assert_identical(series, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("pre", (5.0, 1.0)), ("method", "cube"), ("e0", np.nan), ("nnorm", 9), ("kmin", -1.0), ("against", "tim"),
     ("axis_range", (0.0, np.inf)), ("curve", "chi")],
)  # fmt: skip
def test_the_state_refuses_nonsense(workbench, name, value):
    with pytest.raises(TraitError):
        setattr(workbench.state, name, value)


def test_what_cannot_be_shown_is_refused(series):
    with pytest.raises(SchemaError, match=r"xas\.mu"):
        XANESWorkbench(series.drop_vars("mu"))
    with pytest.raises(DimensionError, match="energy"):
        XANESWorkbench(series[["mu"]].rename(energy="q").drop_vars("q"))
    own = series.assign(energy_measured=series["mu"] * 0 + series["energy"])
    with pytest.raises(DimensionError, match=r"xas\.rebin"):
        XANESWorkbench(own)
    with pytest.raises(DimensionError, match="at least one frame"):
        XANESWorkbench(series.isel(frame=slice(0, 0)))
