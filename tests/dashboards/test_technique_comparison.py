"""The comparison of techniques without a browser: set the state, look at the data."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

import batlab as bl
from batlab.dashboards import TechniqueComparison
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity
from batlab.simulate.cell import DURATION, EDGES, state

_spec = importlib.util.spec_from_file_location("batlab_experiment", Path(__file__).with_name("experiment.py"))
_experiment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_experiment)
experiment = _experiment.experiment

N_FRAMES = 120
PERIOD = DURATION / N_FRAMES
SLOT = {"xrd": "panel_1", "xas": "panel_2", "pdf": "panel_3", "echem": "panel_4"}


@pytest.fixture(scope="module")
def tree():
    return experiment(N_FRAMES, 60, n_records=2000)


@pytest.fixture(scope="module")
def one_dashboard(tree, tmp_path_factory):
    """The figures take a second to build: the tests swap data in one dashboard."""
    made = TechniqueComparison(tree, store=tmp_path_factory.mktemp("marks") / "marks.sqlite")
    yield made
    made.close()


@pytest.fixture
def dashboard(one_dashboard, tree):
    one_dashboard.marking.widget.selected_index = 0
    one_dashboard.load(tree)
    return one_dashboard


def _data(dashboard, name):
    return dashboard.screen.part(name).data_source.data


def _trigger(plot, event, **given):
    assert event.event_name in plot.subscribed_events  # else the browser keeps it to itself
    plot._trigger_event(event(plot, **given))


def _run(dashboard, **names):
    """Run what `code` says and return its names."""
    space = dict(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(dashboard.code().replace("bl.dashboards.show(", "_shown = ("), space)
    return space


def test_begins_with_maps_on_time_and_one_cursor(dashboard):
    state_ = dashboard.state
    assert state_.axis == "time"
    assert dict(state_.shows) == {"xrd": "map of intensity", "xas": "map of mu_norm", "pdf": "map of g_r",
                                  "echem": "voltage"}  # fmt: skip
    assert dict(state_.features) == {"xrd": "a", "xas": "e0", "pdf": "bond", "echem": "voltage"}
    assert state_.options["axis"] == ["time", "capacity", "temperature"]
    ranges = {id(panel.plot.x_range) for panel in dashboard.screen.panels} | {id(dashboard.screen.overlay.x_range)}
    assert len(ranges) == 1
    assert [panel.plot.visible for panel in dashboard.screen.panels] == [True] * 4 + [False] * 2
    assert dashboard.screen.overlay.xaxis.axis_label == "time since 2024-03-05 09:00:00 UTC (h)"


def test_a_step_moves_every_cursor_and_sends_no_column(dashboard):
    before = {name: dashboard.screen.part(f"{slot}_map").data_source.data for name, slot in SLOT.items()}
    line = dashboard.screen.part("panel_4_line").data_source.data
    dashboard.state.frame = 30
    place = (30 * PERIOD + PERIOD / 4) / 3600
    for slot in SLOT.values():
        assert dashboard.screen.part(f"{slot}_cursor").location == pytest.approx(place)
    assert dashboard.screen.part("overlay_cursor").location == pytest.approx(place)
    assert dashboard.screen.part("map_cursor").location == 30  # keys count frames
    assert dashboard.controls.slider.value == 30
    for name, slot in SLOT.items():
        assert dashboard.screen.part(f"{slot}_map").data_source.data is before[name]
    assert dashboard.screen.part("panel_4_line").data_source.data is line
    words = dashboard.screen.part("panel_4_words").text
    voltage = float(state(np.array([place * 3600]), plating=False).voltage[0])
    assert words.startswith("echem · ")
    assert float(words.split("voltage ")[1]) == pytest.approx(voltage, abs=2e-3)
    dashboard.state.step(5)
    assert dashboard.state.frame == 35


def test_a_map_is_the_data_reduced_to_pixels(dashboard, tree):
    data = _data(dashboard, "panel_1_map")
    image = data["image"][0]
    assert image.dtype == np.uint8
    assert image.shape == (60, N_FRAMES)  # the axis of the pattern upward, time to the right
    assert data["x"][0] == pytest.approx((PERIOD / 4 - PERIOD / 2) / 3600)
    assert data["dw"][0] == pytest.approx(DURATION / 3600)
    brightest = tree["xrd"]["intensity"].values.argmax(axis=1)
    assert (np.abs(image.argmax(axis=0) - brightest) <= 3).mean() > 0.95


def test_a_long_map_travels_as_no_more_pixels_than_a_screen_has(dashboard):
    dashboard.load(experiment(2400, 900, n_records=5000))
    image = _data(dashboard, "panel_1_map")["image"][0]
    assert image.shape[0] <= 400
    assert image.shape[1] <= 1000


def test_a_gap_is_left_empty(dashboard):
    """The distances have none between 2 and 3 hours."""
    data = _data(dashboard, "panel_3_map")
    image = data["image"][0]
    hours = data["x"][0] + (np.arange(image.shape[1]) + 0.5) / image.shape[1] * data["dw"][0]
    assert (image[:, (hours > 2.05) & (hours < 2.95)] == 0).all()
    assert (image[:, (hours < 1.9) | (hours > 3.1)] > 0).all()
    dashboard.state.shows = {**dashboard.state.shows, "pdf": "bond"}
    line = _data(dashboard, "panel_3_line")
    at = np.searchsorted(line["x"][: np.argmax(np.isnan(line["x"]))], 2.0)
    assert np.isnan(line["x"][at])
    assert line["x"][at + 1] > 2.9


def test_map_or_trace_in_every_panel(dashboard, tree):
    dashboard.controls.rows[0].shows.value = "a"
    assert not dashboard.screen.part("panel_1_map").visible
    assert not dashboard.screen.part("panel_1_bar").visible
    line = _data(dashboard, "panel_1_line")
    np.testing.assert_array_equal(line["y"], tree["xrd"]["a"])
    np.testing.assert_allclose(line["high"] - line["low"], 4e-4)
    assert dashboard.screen.panels[0].plot.yaxis.axis_label == "a (Å)"
    assert "± 0.0002" in dashboard.screen.part("panel_1_words").text
    dashboard.controls.rows[0].shows.value = "map of intensity"
    assert dashboard.screen.part("panel_1_map").visible
    with pytest.raises(TraitError, match="did you mean 'map of intensity'"):
        dashboard.state.shows = {**dashboard.state.shows, "xrd": "map of intensty"}


def test_zooming_one_panel_zooms_all_and_sends_a_finer_map(dashboard):
    plot = dashboard.screen.panels[1].plot
    _trigger(plot, RangesUpdate, x0=1.0, x1=2.0, y0=8340.0, y1=8360.0)
    assert dashboard.state.x_range == (1.0, 2.0)
    assert dashboard.state.ranges == {"xas": (8340.0, 8360.0)}
    for slot in ("panel_1", "panel_2"):
        data = _data(dashboard, f"{slot}_map")
        assert data["x"][0] <= 1.0 < 2.0 <= data["x"][0] + data["dw"][0]
        assert data["dw"][0] < 1.0 + 3 * PERIOD / 3600
    assert _data(dashboard, "panel_2_map")["dh"][0] < 24
    assert (plot.y_range.start, plot.y_range.end) == (8340.0, 8360.0)
    shown = _data(dashboard, "panel_4_line")["x"]
    assert (np.nanmin(shown), np.nanmax(shown)) == pytest.approx((1.0, 2.0), abs=0.01)
    whole = dashboard.screen.x_range.reset_start, dashboard.screen.x_range.reset_end
    ends = plot.y_range.reset_start, plot.y_range.reset_end
    _trigger(plot, RangesUpdate, x0=whole[0], x1=whole[1], y0=ends[0], y1=ends[1])
    assert dashboard.state.ranges == {}
    assert _data(dashboard, "panel_1_map")["dw"][0] > 5


def test_a_click_goes_to_the_nearest_frame_and_chooses_the_technique(dashboard):
    _trigger(dashboard.screen.panels[1].plot, Tap, x=(77 * PERIOD + 0.4 * PERIOD) / 3600, y=8350.0)
    assert dashboard.state.frame == 77
    assert dashboard.state.chosen == "xas"


def test_a_lag_moves_a_technique_without_sending_its_map(dashboard):
    image = _data(dashboard, "panel_1_map")["image"][0]
    left = _data(dashboard, "panel_1_map")["x"][0]
    first = _data(dashboard, "panel_1_overlay")["x"][0]
    dashboard.state.lags = {**dashboard.state.lags, "xrd": 360.0}
    assert _data(dashboard, "panel_1_map")["image"][0] is image
    assert _data(dashboard, "panel_1_map")["x"][0] == pytest.approx(left + 0.1)
    assert _data(dashboard, "panel_1_overlay")["x"][0] == pytest.approx(first + 0.1)
    assert dashboard.controls.rows[0].lag.value == 360.0
    assert "by hand, σ unknown" in dashboard.controls.rows[0].told.value
    dashboard.state.lags = {**dashboard.state.lags, "xrd": 0.0}
    assert _data(dashboard, "panel_1_map")["x"][0] == pytest.approx(left)


def test_the_handle_is_dragged_typed_and_moved_by_keys(dashboard):
    handle = dashboard.screen.part("panel_2_handle")
    assert handle.editable
    assert handle.visible
    assert not dashboard.screen.part("panel_4_handle").visible  # the clock of all
    place = handle.location
    dashboard.screen.hands["panel_2"].data = {"ends": [place + 0.02]}
    assert dashboard.state.lags["xas"] == pytest.approx(72.0, abs=0.01)
    assert dashboard.state.chosen == "xas"
    assert handle.location == pytest.approx(place + 0.02, abs=1e-5)
    dashboard.controls.rows[1].lag.value = -12.5
    assert dashboard.state.lags["xas"] == -12.5
    assert handle.location == pytest.approx(place - 12.5 / 3600)
    step = dashboard.data.nudge("xas")
    assert PERIOD / 20 <= step < PERIOD / 6
    dashboard.screen.nudge.data = {"by": [-10], "choose": [0], "count": [1]}
    assert dashboard.state.lags["xas"] == pytest.approx(-12.5 - 10 * step)
    dashboard.screen.nudge.data = {"by": [0], "choose": [3], "count": [2]}
    assert dashboard.state.chosen == "pdf"
    dashboard.screen.nudge.data = {"by": [0], "choose": [4], "count": [3]}  # the clock is not moved
    assert dashboard.state.chosen == "pdf"
    dashboard.screen.hands["panel_2"].data = {"ends": [float("nan")]}
    assert dashboard.state.lags["xas"] == pytest.approx(-12.5 - 10 * step)
    with pytest.raises(TraitError, match="must be seconds"):
        dashboard.state.lags = {"xas": float("inf")}
    with pytest.raises(TraitError, match="technique must be one of 'xrd', 'xas', 'pdf', got 'echem'"):
        dashboard.state.lags = {"echem": 1.0}


def test_the_handle_stays_within_reach_when_zoomed(dashboard):
    dashboard.state.x_range = (2.0, 2.2)
    handle = dashboard.screen.part("panel_1_handle")
    assert 2.0 < handle.location < 2.2
    dashboard.screen.hands["panel_1"].data = {"ends": [handle.location + 0.01]}
    assert dashboard.state.lags["xrd"] == pytest.approx(36.0, abs=0.01)


def test_estimate_finds_the_planted_lag_and_shades_its_interval(dashboard):
    planted = 60.0
    dashboard.load(experiment(240, 20, late=planted, seed=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = dashboard.estimate("xrd", drift=False, hours=False, max_lag=600.0)
    assert abs(found.lag - planted) < 3 * found.sigma < 30
    assert dashboard.state.lags["xrd"] == found.lag
    band, handle = (dashboard.screen.part(f"panel_1_{part}") for part in ("band", "handle"))
    assert band.visible
    assert 3600 * (band.right - band.left) == pytest.approx(np.diff(found.interval)[0])
    assert band.left < handle.location < band.right
    sigma = dashboard.controls.rows[0].told.value.partition("± ")[2].partition(" s")[0]
    assert float(sigma) == pytest.approx(found.sigma, rel=0.15)
    told = dashboard.controls.rows[0].lag.value
    assert told == round(found.lag, len(sigma.partition(".")[2]))  # no more digits than its uncertainty has
    assert f"add {told:.{len(sigma.partition('.')[2])}f} ± {sigma} s" in str(found)
    dashboard.state.lags = {**dashboard.state.lags, "xrd": found.lag + 10 * found.sigma}
    assert "10 σ from" in dashboard.controls.rows[0].told.value
    assert "estimate_lag" not in dashboard.code()  # the lag on the screen is not that one
    dashboard.state.lags = {**dashboard.state.lags, "xrd": found.lag}
    space = _run(dashboard, tree=dashboard.tree)
    assert space["lag_xrd"].lag == found.lag


def test_what_cannot_be_estimated_is_told(dashboard):
    dashboard.state.features = {**dashboard.state.features, "xrd": ""}
    dashboard.controls.rows[0].estimate.click()
    assert "no number to tell a lag by" in dashboard.controls.status.value
    assert not dashboard.controls.rows[0].estimate.disabled
    with pytest.raises(ValueError, match="technique must be one of xrd, xas, pdf, got 'echem'"):
        dashboard.estimate("echem")
    dashboard.load(xr.DataTree.from_dict({name: dashboard.tree[name].to_dataset() for name in ("xrd", "xas")}))
    with pytest.raises(ValueError, match="cycler's record"):
        dashboard.estimate("xas")


def test_numbers_are_scaled_over_one_another(dashboard, tree):
    for slot in SLOT.values():
        scaled = _data(dashboard, f"{slot}_overlay")["y"]
        assert (np.nanmin(scaled), np.nanmax(scaled)) == (0.0, 1.0)
    a = tree["xrd"]["a"].values
    np.testing.assert_allclose(_data(dashboard, "panel_1_overlay")["y"], (a - a.min()) / np.ptp(a), atol=1e-12)
    dashboard.controls.rows[0].feature.value = ""
    assert len(_data(dashboard, "panel_1_overlay")["x"]) == 0


def test_correlation_of_any_two_with_its_interval(dashboard, tree):
    assert dashboard.state.pair == ("xrd · a", "xas · e0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wanted = bl.align.correlation(tree["xrd"].to_dataset()["a"], tree["xas"].to_dataset()["e0"])
    for name in ("correlation", "correlation_low", "correlation_high", "n_effective"):
        assert float(dashboard.correlation[name]) == float(wanted[name])
    np.testing.assert_array_equal(_data(dashboard, "correlation_pairs")["x"], wanted["one"])
    title = dashboard.screen.scatter.title.text
    assert f"r = {float(wanted['correlation']):.2f} [{float(wanted['correlation_low']):.2f}," in title
    assert "95 %" in title
    assert "independent" in title
    dashboard.controls.pair[1].value = "echem · temperature"
    assert dashboard.state.pair == ("xrd · a", "echem · temperature")
    assert "temperature" in dashboard.screen.scatter.yaxis.axis_label
    dashboard.state.frame = 64
    ring = dashboard.screen.part("correlation_ring")
    assert ring.visible
    assert ring.x == float(tree["xrd"]["a"][64])


def test_a_step_is_one_message_to_each_figure(dashboard, monkeypatch):
    sent = []
    for view in dashboard.views:
        monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.append(content["msg"]))
    dashboard.state.frame = 80
    assert len(sent) == 6  # header, metadata and content of one for the panels, one for the correlation
    dashboard.screen.part("panel_1_cursor").location = 1.0  # and one by itself still travels
    assert len(sent) == 9


@pytest.mark.parametrize("axis", ["time", "capacity"])
def test_the_keys_know_where_the_cursor_goes(dashboard, axis):
    dashboard.state.axis = axis
    dashboard.state.lags = {**dashboard.state.lags, "xrd": 600.0}
    frames, places = dashboard.screen.request.tags
    assert frames == list(range(N_FRAMES))
    known = [frame for frame, place in zip(frames, places, strict=True) if place is not None]
    assert len(known) == N_FRAMES if axis == "time" else 10 < len(known) < N_FRAMES  # one rise of the capacity
    for frame in known[1::13]:
        dashboard.state.frame = frame
        assert dashboard.screen.part("panel_2_cursor").location == places[frame]
        assert dashboard.screen.part("overlay_cursor").location == places[frame]


def test_on_capacity_only_one_rise_or_fall_is_shown(dashboard, tree):
    dashboard.state.axis = "capacity"
    assert dashboard.state.n_stretches == 3  # charge, discharge, charge of the programme
    assert (
        "capacity" in dashboard.screen.overlay.xaxis.axis_label or "charge" in dashboard.screen.overlay.xaxis.axis_label
    )
    turns = [stretch[1] for stretch in dashboard._stretches]
    for turn, rest in zip(turns, (EDGES[2], EDGES[4]), strict=False):
        assert rest - 30 <= turn <= rest + 930  # the charge stands still while the cell rests
    first = _data(dashboard, "panel_4_line")
    known = np.isfinite(first["x"])
    assert (np.diff(first["x"][known]) >= -1e-9).all()
    assert not dashboard.screen.part("panel_1_handle").visible
    dashboard.controls.stretch.value = 1
    assert dashboard.state.frame == int(np.ceil((turns[0] - PERIOD / 4) / PERIOD))
    known = _data(dashboard, "panel_4_line")["x"]
    assert (np.diff(known[np.isfinite(known)]) <= 1e-9).all()
    dashboard.state.frame = N_FRAMES - 1  # the cursor goes on to the next stretch, and the panels with it
    assert dashboard.state.stretch == 2
    assert dashboard.screen.part("panel_1_cursor").visible
    joined = bl.align.onto(tree, "capacity")
    assert dashboard._place() == float(joined["xrd"]["capacity"][-1])
    dashboard.state.axis = "time"
    assert dashboard.screen.part("panel_1_handle").visible


def test_lithium_needs_to_be_told_and_temperature_is_read(dashboard, tree):
    with pytest.raises(TraitError, match="axis must be one of 'time', 'capacity', 'temperature', got 'lithium'"):
        dashboard.state.axis = "lithium"
    lithium = bl.align.Lithium(mass=0.01, molar_mass=97.3, start=1.0)
    dashboard.load(tree, lithium=lithium)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dashboard.state.axis = "lithium"
        wanted = bl.align.onto(tree, "lithium", lithium=lithium)
    assert dashboard._place() == float(wanted["xrd"]["lithium"][0])
    assert "bl.align.Lithium(mass=0.01" in dashboard.code()
    dashboard.state.axis = "temperature"
    assert dashboard.state.x_range == pytest.approx((25.0, 28.0), abs=0.1)


@pytest.mark.parametrize("axis", ["time", "capacity"])
def test_code_draws_the_screen(dashboard, tree, axis):
    dashboard.state.axis = axis
    dashboard.state.lags = {**dashboard.state.lags, "xrd": 45.0}
    dashboard.state.shows = {**dashboard.state.shows, "xas": "e0"}
    dashboard.state.frame = 100
    low, high = dashboard.state.x_range
    dashboard.state.x_range = (low + 0.1 * (high - low), high)
    space = _run(dashboard, tree=tree)
    for name, slot in SLOT.items():
        for part in ("map", "line"):
            drawn = space["plot"].select_one({"name": f"{name}_{part}"})
            if not drawn.visible:
                assert not dashboard.screen.part(f"{slot}_{part}").visible
                continue
            for column, values in _data(dashboard, f"{slot}_{part}").items():
                ours, theirs = np.asarray(values), np.asarray(drawn.data_source.data[column])
                if ours.dtype.kind in "OU" and column != "image":
                    assert ours.tolist() == theirs.tolist()
                elif column == "image":
                    np.testing.assert_array_equal(values[0], drawn.data_source.data[column][0])
                else:
                    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), atol=1e-6)
        shown = _data(dashboard, f"{slot}_overlay")
        np.testing.assert_allclose(
            space["plot"].select_one({"name": f"{name}_overlay"}).data_source.data["y"], shown["y"], atol=1e-9
        )
    cursor = space["plot"].select_one({"name": "xrd_cursor"})
    assert cursor.location == pytest.approx(dashboard.screen.part("panel_1_cursor").location)
    assert float(space["found"]["correlation"]) == pytest.approx(float(dashboard.correlation["correlation"]), abs=1e-9)


def test_a_box_becomes_a_mark_on_one_technique(dashboard, tree):
    plot = dashboard.screen.panels[0].plot
    box = {"type": "rect", "x0": 1.0, "x1": 1.5, "y0": 2.0, "y1": 2.5}
    _trigger(plot, SelectionGeometry, geometry=box, final=True)
    first, last = (int(np.ceil((1.0 * 3600 - PERIOD / 4) / PERIOD)), int((1.5 * 3600 - PERIOD / 4) / PERIOD))
    assert dashboard.state.region == ("xrd", first, last, 2.0, 2.5)
    assert dashboard.screen.part("panel_1_region").visible
    assert f"xrd, frames {first}–{last}, q 2 – 2.5" in dashboard.marking.where.value
    dashboard.marking.mechanism.value = "phase transition"
    dashboard.marking.author.value = "Ada"
    dashboard.marking.add()
    (mark,) = dashboard.store.marks(tree["xrd"].to_dataset())
    assert (mark.frames, mark.axis, mark.axis_range) == ((first, last), "q", (2.0, 2.5))
    assert dashboard.state.region is None
    assert "kept as mark 1 by Ada" in dashboard.marking.told.value
    assert "xrd: phase transition" in dashboard.marking.listing.value
    drawn = _data(dashboard, "panel_1_marks")
    assert (drawn["bottom"], drawn["top"]) == ([2.0], [2.5])
    assert drawn["left"][0] == pytest.approx((first * PERIOD - PERIOD / 4) / 3600)
    assert 'marks_xrd = store.marks(tree["xrd"].to_dataset())' in dashboard.code()
    dashboard.marking.chosen.value = 1
    assert dashboard.state.region == ("xrd", first, last, 2.0, 2.5)
    assert dashboard.state.frame == first
    _trigger(dashboard.screen.panels[3].plot, SelectionGeometry, geometry=box, final=True)
    assert dashboard.state.region == ("xrd", first, last, None, None)  # a record has no frames: those of the first


def test_without_a_store_nothing_can_be_marked(tree):
    made = TechniqueComparison(tree)
    assert made.marking.save.disabled
    with pytest.raises(ValueError, match="need a store"):
        made.marking.add()
    made.close()


def test_other_data_go_into_the_same_figures(dashboard, tree):
    root = dashboard.screen.root
    dashboard.state.lags = {**dashboard.state.lags, "xrd": 30.0}
    two = xr.DataTree.from_dict({name: tree[name].to_dataset() for name in ("xas", "echem")})
    dashboard.load(two)
    assert dashboard.screen.root is root
    assert [panel.plot.visible for panel in dashboard.screen.panels] == [True, True, False, False, False, False]
    assert dashboard.screen.part("panel_1_words").text.startswith("xas · frame 0")
    assert dict(dashboard.state.lags) == {"xas": 0.0}
    assert dashboard.state.chosen == "xas"
    with pytest.raises(DimensionError, match="two to six techniques, got 1: xas"):
        dashboard.load(xr.DataTree.from_dict({"xas": tree["xas"].to_dataset()}))
    assert dashboard.state.options["lags"] == ["xas"]


def test_an_experiment_that_was_put_on_an_axis_begins_with_its_offsets(dashboard, tree):
    dashboard.load(bl.align.onto(tree, "capacity", offsets={"xrd": 37.4}))
    assert dashboard.state.lags["xrd"] == 37.4
    assert dashboard._place() == pytest.approx((37.4 + PERIOD / 4) / 3600)
    joined = dashboard.tree
    space = _run(dashboard, tree=joined, store=dashboard.store)
    np.testing.assert_array_equal(space["shown"]["xrd"]["time"].values, joined["xrd"]["time"].values)


def test_frames_alone_and_numbers_without_maps(dashboard, tree):
    parts = {name: tree[name].to_dataset() for name in ("xrd", "xas")}
    parts["xrd"] = parts["xrd"].drop_vars(["intensity", "q"])
    parts["xas"] = parts["xas"].drop_vars(["e0"])
    alone = xr.DataTree.from_dict(parts)
    dashboard.load(alone)
    assert dict(dashboard.state.shows) == {"xrd": "a", "xas": "map of mu_norm"}
    assert dict(dashboard.state.features) == {"xrd": "a", "xas": ""}
    assert dashboard.state.options["axis"] == ["time"]
    dashboard.state.lags = {"xas": 20.0}
    space = _run(dashboard, tree=alone)
    assert (space["shown"]["xas"]["time"] - alone["xas"]["time"]).values[0] == np.timedelta64(20, "s")


def test_one_frame_nan_and_peaks(dashboard, tree):
    numbers = np.full((N_FRAMES, 2), np.nan)
    numbers[:, 1] = np.arange(N_FRAMES)
    xrd = tree["xrd"].to_dataset().assign(area=quantity(("frame", "peak"), numbers, "count", "area"))
    xrd = xrd.assign_coords(peak=quantity("peak", [3, 7], "1", "peak"))
    parts = {"xrd": xrd, "xas": tree["xas"].to_dataset().isel(frame=[0]), "echem": tree["echem"].to_dataset()}
    dashboard.load(xr.DataTree.from_dict(parts))
    dashboard.state.shows = {**dashboard.state.shows, "xrd": "area, peak 7", "xas": "e0"}
    np.testing.assert_array_equal(_data(dashboard, "panel_1_line")["y"], np.arange(N_FRAMES))
    dashboard.state.shows = {**dashboard.state.shows, "xrd": "area, peak 3"}
    assert not np.isfinite(_data(dashboard, "panel_1_line")["y"]).any()
    assert dashboard.correlation is None
    assert "needs 5 pairs, got 1" in dashboard.controls.doubt.value


def test_what_is_no_experiment_is_refused(tree):
    with pytest.raises(
        DimensionError, match=r"needs a DataTree .* got a Dataset; make one with xarray.DataTree.from_dict"
    ):
        TechniqueComparison(tree["xrd"].to_dataset())
    undated = {"xrd": tree["xrd"].to_dataset().drop_vars("time"), "echem": tree["echem"].to_dataset()}
    with pytest.raises(SchemaError, match="technique 'xrd' needs 'time'"):
        TechniqueComparison(xr.DataTree.from_dict(undated))
    bare = {"xrd": tree["xrd"].to_dataset()[["time"]], "echem": tree["echem"].to_dataset()}
    with pytest.raises(SchemaError, match="technique 'xrd' has nothing to show"):
        TechniqueComparison(xr.DataTree.from_dict(bare))


def test_the_experiment_is_unchanged_and_the_script_tells_its_history(dashboard, tree):
    before = tree.copy(deep=True)
    dashboard.state.axis = "capacity"
    dashboard.state.lags = {**dashboard.state.lags, "xrd": 12.0}
    dashboard.code()
    xr.testing.assert_identical(tree, before)
    assert "planted patterns, identity" in dashboard.code()
    assert dashboard.show.__annotations__["return"] == "None"


def test_a_zoom_that_was_made_on_another_axis_comes_too_late(dashboard):
    dashboard.state.axis = "capacity"
    shown = dashboard.state.x_range
    _trigger(dashboard.screen.panels[0].plot, RangesUpdate, x0=3.0, x1=4.0, y0=1.0, y1=5.0)  # hours
    assert dashboard.state.x_range == shown
    assert (dashboard.screen.x_range.start, dashboard.screen.x_range.end) == shown
