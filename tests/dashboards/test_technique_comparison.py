"""The comparison of techniques without a browser: panels, cursor, zoom, axes, marks; set the state, look at data."""

import warnings

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

from .acting import data_of, run, trigger
from .experiment import experiment

N_FRAMES = 120
PERIOD = DURATION / N_FRAMES
SLOT = {"xrd": "panel_1", "xas": "panel_2", "pdf": "panel_3", "echem": "panel_4"}


def test_begins_with_maps_on_time_and_one_cursor(comparison):
    state_ = comparison.state
    assert state_.axis == "time"
    assert dict(state_.shows) == {"xrd": "map of intensity", "xas": "map of mu_norm", "pdf": "map of g_r",
                                  "echem": "voltage"}  # fmt: skip
    assert dict(state_.features) == {"xrd": "a", "xas": "e0", "pdf": "bond", "echem": "voltage"}
    assert state_.options["axis"] == ["time", "capacity", "temperature"]
    for panel in comparison.screen.panels:  # dragging zooms, whatever a plot would do by itself
        assert type(panel.plot.toolbar.active_drag).__name__ == "BoxZoomTool"
    ranges = {id(panel.plot.x_range) for panel in comparison.screen.panels} | {id(comparison.screen.overlay.x_range)}
    assert len(ranges) == 1
    assert [panel.plot.visible for panel in comparison.screen.panels] == [True] * 4 + [False] * 2
    assert comparison.screen.overlay.xaxis.axis_label == "time since 2024-03-05 09:00:00 UTC (h)"


def test_a_step_moves_every_cursor_and_sends_no_column(comparison):
    before = {name: comparison.screen.part(f"{slot}_map").data_source.data for name, slot in SLOT.items()}
    line = comparison.screen.part("panel_4_line").data_source.data
    comparison.state.frame = 30
    place = (30 * PERIOD + PERIOD / 4) / 3600
    for slot in SLOT.values():
        assert comparison.screen.part(f"{slot}_cursor").location == pytest.approx(place)
    assert comparison.screen.part("overlay_cursor").location == pytest.approx(place)
    assert comparison.screen.part("map_cursor").location == 30  # keys count frames
    assert comparison.controls.slider.value == 30
    for name, slot in SLOT.items():
        assert comparison.screen.part(f"{slot}_map").data_source.data is before[name]
    assert comparison.screen.part("panel_4_line").data_source.data is line
    words = comparison.screen.part("panel_4_words").text
    voltage = float(state(np.array([place * 3600]), plating=False).voltage[0])
    assert words.startswith("echem · ")
    assert float(words.split("voltage ")[1]) == pytest.approx(voltage, abs=2e-3)
    comparison.state.step(5)
    assert comparison.state.frame == 35


def test_a_map_is_the_data_reduced_to_pixels(comparison, tree):
    data = data_of(comparison, "panel_1_map")
    image = data["image"][0]
    assert image.dtype == np.uint8
    assert image.shape == (60, N_FRAMES)  # the axis of the pattern upward, time to the right
    assert data["x"][0] == pytest.approx((PERIOD / 4 - PERIOD / 2) / 3600)
    assert data["dw"][0] == pytest.approx(DURATION / 3600)
    brightest = tree["xrd"]["intensity"].values.argmax(axis=1)
    assert (np.abs(image.argmax(axis=0) - brightest) <= 3).mean() > 0.95


def test_a_long_map_travels_as_no_more_pixels_than_a_screen_has(comparison):
    comparison.load(experiment(2400, 900, n_records=5000))
    image = data_of(comparison, "panel_1_map")["image"][0]
    assert image.shape[0] <= 400
    assert image.shape[1] <= 1000


def test_a_gap_is_left_empty(comparison):
    """The distances have none between 2 and 3 hours."""
    data = data_of(comparison, "panel_3_map")
    image = data["image"][0]
    hours = data["x"][0] + (np.arange(image.shape[1]) + 0.5) / image.shape[1] * data["dw"][0]
    assert (image[:, (hours > 2.05) & (hours < 2.95)] == 0).all()
    assert (image[:, (hours < 1.9) | (hours > 3.1)] > 0).all()
    comparison.state.shows = {**comparison.state.shows, "pdf": "bond"}
    line = data_of(comparison, "panel_3_line")
    at = np.searchsorted(line["x"][: np.argmax(np.isnan(line["x"]))], 2.0)
    assert np.isnan(line["x"][at])
    assert line["x"][at + 1] > 2.9


def test_map_or_trace_in_every_panel(comparison, tree):
    comparison.controls.rows[0].shows.value = "a"
    assert not comparison.screen.part("panel_1_map").visible
    assert not comparison.screen.part("panel_1_bar").visible
    line = data_of(comparison, "panel_1_line")
    np.testing.assert_array_equal(line["y"], tree["xrd"]["a"])
    np.testing.assert_allclose(line["high"] - line["low"], 4e-4)
    assert comparison.screen.panels[0].plot.yaxis.axis_label == "a (Å)"
    assert "± 0.0002" in comparison.screen.part("panel_1_words").text
    comparison.controls.rows[0].shows.value = "map of intensity"
    assert comparison.screen.part("panel_1_map").visible
    with pytest.raises(TraitError, match="did you mean 'map of intensity'"):
        comparison.state.shows = {**comparison.state.shows, "xrd": "map of intensty"}


def test_zooming_one_panel_zooms_all_and_sends_a_finer_map(comparison):
    plot = comparison.screen.panels[1].plot
    trigger(plot, RangesUpdate, x0=1.0, x1=2.0, y0=8340.0, y1=8360.0)
    assert comparison.state.x_range == (1.0, 2.0)
    assert comparison.state.ranges == {"xas": (8340.0, 8360.0)}
    for slot in ("panel_1", "panel_2"):
        data = data_of(comparison, f"{slot}_map")
        assert data["x"][0] <= 1.0 < 2.0 <= data["x"][0] + data["dw"][0]
        assert data["dw"][0] < 1.0 + 3 * PERIOD / 3600
    assert data_of(comparison, "panel_2_map")["dh"][0] < 24
    assert (plot.y_range.start, plot.y_range.end) == (8340.0, 8360.0)
    shown = data_of(comparison, "panel_4_line")["x"]
    assert (np.nanmin(shown), np.nanmax(shown)) == pytest.approx((1.0, 2.0), abs=0.01)
    whole = comparison.screen.x_range.reset_start, comparison.screen.x_range.reset_end
    ends = plot.y_range.reset_start, plot.y_range.reset_end
    trigger(plot, RangesUpdate, x0=whole[0], x1=whole[1], y0=ends[0], y1=ends[1])
    assert comparison.state.ranges == {}
    assert data_of(comparison, "panel_1_map")["dw"][0] > 5


def test_a_click_goes_to_the_nearest_frame_and_chooses_the_technique(comparison):
    trigger(comparison.screen.panels[1].plot, Tap, x=(77 * PERIOD + 0.4 * PERIOD) / 3600, y=8350.0)
    assert comparison.state.frame == 77
    assert comparison.state.chosen == "xas"


def test_a_step_is_one_message_to_each_figure(comparison, monkeypatch):
    sent = []
    for view in comparison.views:
        monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.append(content["msg"]))
    comparison.state.frame = 80
    assert len(sent) == 6  # header, metadata and content of one for the panels, one for the correlation
    comparison.screen.part("panel_1_cursor").location = 1.0  # and one by itself still travels
    assert len(sent) == 9


@pytest.mark.parametrize("axis", ["time", "capacity"])
def test_the_keys_know_where_the_cursor_goes(comparison, axis):
    comparison.state.axis = axis
    comparison.state.lags = {**comparison.state.lags, "xrd": 600.0}
    frames, places = comparison.screen.request.tags
    assert frames == list(range(N_FRAMES))
    known = [frame for frame, place in zip(frames, places, strict=True) if place is not None]
    assert len(known) == N_FRAMES if axis == "time" else 10 < len(known) < N_FRAMES  # one rise of the capacity
    for frame in known[1::13]:
        comparison.state.frame = frame
        assert comparison.screen.part("panel_2_cursor").location == places[frame]
        assert comparison.screen.part("overlay_cursor").location == places[frame]


def test_on_capacity_only_one_rise_or_fall_is_shown(comparison, tree):
    comparison.state.axis = "capacity"
    assert comparison.state.n_stretches == 3  # charge, discharge, charge of the programme
    assert (
        "capacity" in comparison.screen.overlay.xaxis.axis_label
        or "charge" in comparison.screen.overlay.xaxis.axis_label
    )
    turns = [stretch[1] for stretch in comparison._stretches]
    for turn, rest in zip(turns, (EDGES[2], EDGES[4]), strict=False):
        assert rest - 30 <= turn <= rest + 930  # the charge stands still while the cell rests
    first = data_of(comparison, "panel_4_line")
    known = np.isfinite(first["x"])
    assert (np.diff(first["x"][known]) >= -1e-9).all()
    assert not comparison.screen.part("panel_1_handle").visible
    comparison.controls.stretch.value = 1
    assert comparison.state.frame == int(np.ceil((turns[0] - PERIOD / 4) / PERIOD))
    known = data_of(comparison, "panel_4_line")["x"]
    assert (np.diff(known[np.isfinite(known)]) <= 1e-9).all()
    comparison.state.frame = N_FRAMES - 1  # the cursor goes on to the next stretch, and the panels with it
    assert comparison.state.stretch == 2
    assert comparison.screen.part("panel_1_cursor").visible
    joined = bl.align.onto(tree, "capacity")
    assert comparison._place() == float(joined["xrd"]["capacity"][-1])
    comparison.state.axis = "time"
    assert comparison.screen.part("panel_1_handle").visible


def test_lithium_needs_to_be_told_and_temperature_is_read(comparison, tree):
    with pytest.raises(TraitError, match="axis must be one of 'time', 'capacity', 'temperature', got 'lithium'"):
        comparison.state.axis = "lithium"
    lithium = bl.align.Lithium(mass=0.01, molar_mass=97.3, start=1.0)
    comparison.load(tree, lithium=lithium)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        comparison.state.axis = "lithium"
        wanted = bl.align.onto(tree, "lithium", lithium=lithium)
    assert comparison._place() == float(wanted["xrd"]["lithium"][0])
    assert "bl.align.Lithium(mass=0.01" in comparison.code()
    comparison.state.axis = "temperature"
    assert comparison.state.x_range == pytest.approx((25.0, 28.0), abs=0.1)


@pytest.mark.parametrize("axis", ["time", "capacity"])
def test_code_draws_the_screen(comparison, tree, axis):
    comparison.state.axis = axis
    comparison.state.lags = {**comparison.state.lags, "xrd": 45.0}
    comparison.state.shows = {**comparison.state.shows, "xas": "e0"}
    comparison.state.frame = 100
    low, high = comparison.state.x_range
    comparison.state.x_range = (low + 0.1 * (high - low), high)
    space = run(comparison, tree=tree)
    for name, slot in SLOT.items():
        for part in ("map", "line"):
            drawn = space["plot"].select_one({"name": f"{name}_{part}"})
            if not drawn.visible:
                assert not comparison.screen.part(f"{slot}_{part}").visible
                continue
            for column, values in data_of(comparison, f"{slot}_{part}").items():
                ours, theirs = np.asarray(values), np.asarray(drawn.data_source.data[column])
                if ours.dtype.kind in "OU" and column != "image":
                    assert ours.tolist() == theirs.tolist()
                elif column == "image":
                    np.testing.assert_array_equal(values[0], drawn.data_source.data[column][0])
                else:
                    np.testing.assert_allclose(ours.astype(float), theirs.astype(float), atol=1e-6)
        shown = data_of(comparison, f"{slot}_overlay")
        np.testing.assert_allclose(
            space["plot"].select_one({"name": f"{name}_overlay"}).data_source.data["y"], shown["y"], atol=1e-9
        )
    cursor = space["plot"].select_one({"name": "xrd_cursor"})
    assert cursor.location == pytest.approx(comparison.screen.part("panel_1_cursor").location)
    assert float(space["found"]["correlation"]) == pytest.approx(float(comparison.correlation["correlation"]), abs=1e-9)


def test_a_box_becomes_a_mark_on_one_technique(comparison, tree):
    plot = comparison.screen.panels[0].plot
    box = {"type": "rect", "x0": 1.0, "x1": 1.5, "y0": 2.0, "y1": 2.5}
    trigger(plot, SelectionGeometry, geometry=box, final=True)
    first, last = (int(np.ceil((1.0 * 3600 - PERIOD / 4) / PERIOD)), int((1.5 * 3600 - PERIOD / 4) / PERIOD))
    assert comparison.state.region == ("xrd", first, last, 2.0, 2.5)
    assert comparison.screen.part("panel_1_region").visible
    assert f"xrd, frames {first}–{last}, q 2 – 2.5" in comparison.marking.where.value
    comparison.marking.mechanism.value = "phase transition"
    comparison.marking.author.value = "Ada"
    comparison.marking.add()
    (mark,) = comparison.store.marks(tree["xrd"].to_dataset())
    assert (mark.frames, mark.axis, mark.axis_range) == ((first, last), "q", (2.0, 2.5))
    assert comparison.state.region is None
    assert "kept as mark 1 by Ada" in comparison.marking.told.value
    assert "xrd: phase transition" in comparison.marking.listing.value
    drawn = data_of(comparison, "panel_1_marks")
    assert (drawn["bottom"], drawn["top"]) == ([2.0], [2.5])
    assert drawn["left"][0] == pytest.approx((first * PERIOD - PERIOD / 4) / 3600)
    assert 'marks_xrd = store.marks(tree["xrd"].to_dataset())' in comparison.code()
    comparison.state.shows = {**comparison.state.shows, "xrd": "a"}
    comparison.marking.chosen.value = 1  # shows the map again, on which its range lies
    assert comparison.state.shows["xrd"] == "map of intensity"
    assert comparison.state.region == ("xrd", first, last, 2.0, 2.5)
    assert comparison.state.frame == first
    trigger(comparison.screen.panels[3].plot, SelectionGeometry, geometry=box, final=True)
    assert comparison.state.region == ("xrd", first, last, None, None)  # a record has no frames: those of the first


def test_without_a_store_nothing_can_be_marked(tree):
    made = TechniqueComparison(tree)
    assert made.marking.save.disabled
    with pytest.raises(ValueError, match="need a store"):
        made.marking.add()
    made.close()


def test_other_data_go_into_the_same_figures(comparison, tree):
    root = comparison.screen.root
    comparison.state.lags = {**comparison.state.lags, "xrd": 30.0}
    two = xr.DataTree.from_dict({name: tree[name].to_dataset() for name in ("xas", "echem")})
    comparison.load(two)
    assert comparison.screen.root is root
    assert [panel.plot.visible for panel in comparison.screen.panels] == [True, True, False, False, False, False]
    assert comparison.screen.part("panel_1_words").text.startswith("xas · frame 0")
    assert dict(comparison.state.lags) == {"xas": 0.0}
    assert comparison.state.chosen == "xas"
    with pytest.raises(DimensionError, match="two to six techniques, got 1: xas"):
        comparison.load(xr.DataTree.from_dict({"xas": tree["xas"].to_dataset()}))
    assert comparison.state.options["lags"] == ["xas"]


def test_one_frame_nan_and_peaks(comparison, tree):
    numbers = np.full((N_FRAMES, 2), np.nan)
    numbers[:, 1] = np.arange(N_FRAMES)
    xrd = tree["xrd"].to_dataset().assign(area=quantity(("frame", "peak"), numbers, "count", "area"))
    xrd = xrd.assign_coords(peak=quantity("peak", [3, 7], "1", "peak"))
    parts = {"xrd": xrd, "xas": tree["xas"].to_dataset().isel(frame=[0]), "echem": tree["echem"].to_dataset()}
    comparison.load(xr.DataTree.from_dict(parts))
    comparison.state.shows = {**comparison.state.shows, "xrd": "area, peak 7", "xas": "e0"}
    np.testing.assert_array_equal(data_of(comparison, "panel_1_line")["y"], np.arange(N_FRAMES))
    comparison.state.shows = {**comparison.state.shows, "xrd": "area, peak 3"}
    assert not np.isfinite(data_of(comparison, "panel_1_line")["y"]).any()
    assert comparison.correlation is None
    assert "needs 5 pairs, got 1" in comparison.controls.doubt.value


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


def test_the_experiment_is_unchanged_and_the_script_tells_its_history(comparison, tree):
    before = tree.copy(deep=True)
    comparison.state.axis = "capacity"
    comparison.state.lags = {**comparison.state.lags, "xrd": 12.0}
    comparison.code()
    xr.testing.assert_identical(tree, before)
    assert "planted patterns, identity" in comparison.code()
    assert comparison.show.__annotations__["return"] == "None"


def test_a_zoom_that_was_made_on_another_axis_comes_too_late(comparison):
    comparison.state.axis = "capacity"
    shown = comparison.state.x_range
    trigger(comparison.screen.panels[0].plot, RangesUpdate, x0=3.0, x1=4.0, y0=1.0, y1=5.0)  # hours
    assert comparison.state.x_range == shown
    assert (comparison.screen.x_range.start, comparison.screen.x_range.end) == shown
