"""The dashboard without a browser: set the state, look at the data."""

import numpy as np
import pytest
import xarray as xr
from bokeh.core.serialization import Deserializer
from bokeh.events import RangesUpdate, SelectionGeometry, Tap
from traitlets import TraitError

from batlab.dashboards import CycleExplorer
from batlab.errors import DimensionError
from batlab.failure import Store
from batlab.schema import check, quantity


@pytest.fixture
def explorer(make, tmp_path):
    series = make.patterns()
    made = CycleExplorer(series, make.cells(series), store=tmp_path / "marks.sqlite")
    yield made
    if hasattr(made, "widget"):
        made.close()


def _drawn(explorer):
    return explorer.screen.source("pattern_line").data["intensity"]


def _pixels(explorer):
    return explorer.screen.source("map_image").data["image"][0]


def _send(explorer, event):
    """Hand an event to the figure as the browser does: through the view's message."""
    values = {"type": "map", "entries": [["model", {"id": event.model.id}], *_entries(event)]}
    message = {"type": "event", "name": event.event_name, "values": values}
    content = {"event": "jsevent", "kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": message}
    explorer.view._sync_model(explorer.view, content, [])


def _entries(event):
    for name, value in vars(event).items():
        if name in ("model", "modifiers"):
            continue
        if isinstance(value, dict):
            value = {"type": "map", "entries": list(map(list, value.items()))}
        yield [name, value]


def test_frame_moves_every_cursor_and_draws_the_measured_pattern(explorer):
    explorer.state.scale = "linear"
    explorer.state.frame = 17
    np.testing.assert_allclose(_drawn(explorer), explorer.measurement.series["intensity"].values[17], rtol=1e-6)
    assert explorer.screen.part("map_cursor").location == 17
    assert [explorer.screen.part(f"panel_cursor_{n}").location for n in (1, 2, 3)] == [17, 17, 17]
    assert explorer.controls.slider.value == 17
    assert explorer.screen.line.title.text.startswith("frame 17 ")


def test_a_step_sends_one_column_and_never_the_map(explorer):
    sent = []
    explorer.screen.root.document.on_change(sent.append)
    explorer.state.frame = 9
    data = [(event.model.name, event.cols) for event in sent if event.kind == "ColumnDataChanged"]
    assert data == [("pattern_data", ["intensity"])]
    assert not [event for event in sent if getattr(event, "attr", "") == "data" and event.model.name == "map_data"]


def test_square_root_and_logarithm_draw_their_functions(explorer):
    measured = explorer.measurement.series["intensity"].values[0]
    explorer.state.scale = "sqrt"
    np.testing.assert_allclose(_drawn(explorer), np.sqrt(measured), rtol=1e-6)
    explorer.state.scale = "log"
    np.testing.assert_allclose(_drawn(explorer), np.log10(measured), rtol=1e-6)


def test_difference_is_neutral_at_its_reference(explorer):
    explorer.state.reference = 20
    middle = 1 + 254 / 2
    np.testing.assert_allclose(_pixels(explorer)[20], middle, atol=1)
    assert "minus frame 20" in explorer.screen.part("map_bar").title
    explorer.state.scale = "linear"
    reference = explorer.screen.source("pattern_line").data["reference"]
    np.testing.assert_allclose(reference, explorer.measurement.series["intensity"].values[20], rtol=1e-6)


def test_slider_buttons_cycle_and_step_move_the_cursor(explorer):
    controls, state = explorer.controls, explorer.state
    controls.slider.value = 31
    assert state.frame == 31
    controls.forward.click()
    assert state.frame == 32
    controls.back.click()
    assert state.frame == 31
    assert (controls.cycle.value, controls.step.value) == (2.0, 1.0)
    controls.cycle.value = 1.0
    assert state.frame == 0
    controls.step.value = 2.0
    assert (state.frame, controls.cycle.value) == (15, 1.0)


def test_click_and_key_messages_move_the_cursor(explorer):
    _send(explorer, Tap(explorer.screen.heat, sx=1, sy=1, x=2.0, y=12.4))
    assert explorer.state.frame == 12
    _send(explorer, Tap(explorer.screen.panels[0], sx=1, sy=1, x=3.0, y=55.7))
    assert explorer.state.frame == 56
    request = explorer.screen.request
    old = dict(request.data)
    for callback in request._callbacks["data"]:
        callback("data", old, {**old, "frame": [57]})
    assert explorer.state.frame == 57


def test_click_beyond_the_frames_goes_to_the_last(explorer):
    _send(explorer, Tap(explorer.screen.heat, sx=1, sy=1, x=2.0, y=900.0))
    assert explorer.state.frame == 59


def test_box_becomes_a_region_of_whole_frames(explorer):
    box = {"type": "rect", "x0": 2.6, "x1": 1.8, "y0": 30.4, "y1": 9.7}
    _send(explorer, SelectionGeometry(explorer.screen.heat, geometry=box, final=True))
    assert explorer.state.region == (10, 30, 1.8, 2.6)
    assert explorer.screen.box.visible
    assert (explorer.screen.box.bottom, explorer.screen.box.top) == (9.5, 30.5)


def test_zoom_sends_only_what_is_visible(explorer):
    _send(explorer, RangesUpdate(explorer.screen.heat, x0=2.0, x1=3.0, y0=10.0, y1=20.0))
    assert (explorer.state.axis_range, explorer.state.frames) == ((2.0, 3.0), (10.0, 20.0))
    rows, columns = _pixels(explorer).shape
    assert rows == 11
    assert columns in (100, 101)
    explorer.state.axis_range = (1.5, 2.5)
    assert explorer.screen.heat.x_range.start == 1.5


def test_mark_reaches_the_store(explorer, tmp_path):
    explorer.state.region = (4, 8, 1.9, 2.2)
    form = explorer.marking
    form.mechanism.value, form.text.value, form.author.value = "lattice collapse", "<script>alert(1)</script>", "ada"
    form.save.click()
    (mark,) = Store(tmp_path / "marks.sqlite").marks()
    assert (mark.frames, mark.axis, mark.axis_range, mark.author) == ((4, 8), "q", (1.9, 2.2), "ada")
    assert "<script>" not in form.listing.value
    assert "&lt;script&gt;" in form.listing.value
    assert explorer.screen.source("mark_boxes").data["top"] == [8.5]
    assert explorer.state.region is None
    assert form.save.disabled  # a double click makes one mark
    explorer.state.frame = 50
    form.chosen.value = 1
    assert (explorer.state.frame, explorer.state.region) == (4, (4, 8, 1.9, 2.2))


def test_marks_made_elsewhere_are_counted_and_shown(explorer):
    explorer.store.add(explorer._given["series"], author="bob", frames=(1, 2), category="chemical",
                       mechanism="dissolution", confidence=0.3)  # fmt: skip
    explorer.marking.widget.selected_index = 1
    assert "dissolution" in explorer.marking.listing.value
    explorer.state.region = (4, 8, 1.9, 2.2)
    explorer.marking.mechanism.value = "cracking"
    explorer.marking.add()
    assert explorer.marking.told.value.startswith("kept as mark 2")


def test_a_mark_without_mechanism_is_refused_aloud(explorer):
    explorer.state.region = (4, 8, 1.9, 2.2)
    with pytest.raises(ValueError, match="mechanism must not be empty"):
        explorer.marking.add()
    assert "mechanism must not be empty" in explorer.marking.told.value
    assert explorer.store.marks() == []


def test_without_store_nothing_can_be_marked(make):
    explorer = CycleExplorer(make.patterns())
    explorer.state.region = (0, 1, 1.0, 2.0)
    assert explorer.marking.save.disabled
    assert "store" in explorer.marking.where.value


def test_works_without_voltage_tracks_and_cycle(make):
    bare = make.patterns(axis="two_theta")[["intensity"]]
    explorer = CycleExplorer(bare)
    assert explorer.state.panels == []
    assert not any(panel.visible for panel in explorer.screen.panels)
    assert explorer.controls.cycle.layout.display == "none"
    explorer.state.frame = 3
    assert explorer.screen.line.title.text == "frame 3"
    assert explorer.screen.heat.xaxis.axis_label == "2θ (°)"


def test_peaks_and_lists_of_tracks_can_be_chosen(make):
    series = make.patterns()
    explorer = CycleExplorer(series, [make.cells(series), make.peaks(series)])
    label = next(one for one in explorer.state.choices if "1 0 4" in one)
    explorer.controls.panels[1].value = label
    assert explorer.state.panels[1] == label
    np.testing.assert_array_equal(explorer.screen.source("panel_line_2").data["value"], np.arange(60.0))


def test_code_draws_the_same_screen(explorer, make):
    state = explorer.state
    state.frame, state.scale, state.reference = 23, "log", 2
    state.axis_range, state.region, state.limits = (1.6, 2.9), (3, 5, 2.0, 2.4), (-300.0, 300.0)
    explorer.marking.mechanism.value = "cracking"
    explorer.marking.add()
    state.region = (3, 5, 2.0, 2.4)
    series = explorer._given["series"]
    names = {"series": series, "tracks": explorer._given["tracks"], "store": explorer.store}
    exec(explorer.code(), names)
    heat, line = names["heat"], names["line"]
    drawn = heat.select_one({"name": "map_image"}).data_source.data
    shown = explorer.screen.source("map_image").data
    np.testing.assert_array_equal(drawn["image"][0], shown["image"][0])
    assert [drawn[key] for key in ("x", "y", "dw", "dh")] == [shown[key] for key in ("x", "y", "dw", "dh")]
    assert (heat.x_range.start, heat.x_range.end) == (1.6, 2.9)
    pattern = line.select_one({"name": "pattern_line"}).data_source.data
    for name in ("x", "intensity", "reference"):
        np.testing.assert_array_equal(pattern[name], explorer.screen.source("pattern_line").data[name])
    for number, panel in enumerate(names["panels"], 1):
        told = panel.select_one({"name": "track_line"}).data_source.data
        np.testing.assert_array_equal(told["value"], explorer.screen.source(f"panel_line_{number}").data["value"])
        assert (panel.y_range.start, panel.y_range.end) == state.frames
    assert heat.select_one({"name": "mark_boxes"}).data_source.data["mechanism"] == ["cracking"]
    assert names["region"].sizes["frame"] == 3


def test_code_uses_the_names_of_the_user(make, monkeypatch):
    """A list of tracks made in the call has no name; its members have."""
    mine = make.patterns()
    lattice, lines = make.cells(mine), make.peaks(mine)
    names = {"mine": mine, "lattice": lattice, "lines": lines, "_hidden": mine}

    class Shell:
        user_ns = names

    monkeypatch.setattr("IPython.get_ipython", Shell)
    explorer = CycleExplorer(mine, [lattice, lines])
    explorer.state.axis_range = (1.1000000000000001, 4.199999999999999)
    code = explorer.code()
    assert "tracks" not in code
    assert "axis_range=(1.1, 4.2)" in code
    monkeypatch.setattr("batlab.dashboards.show", lambda figure: None)
    exec(code, {**names})
    assert "bl.dashboards.show(screen)" in code


def test_load_swaps_the_data_in_place(explorer, make):
    root, images = explorer.screen.root, explorer.screen.part("map_image")
    explorer.state.frame, explorer.state.reference = 30, 4
    other = make.patterns(n_frames=20, n_points=90, axis="two_theta")
    explorer.load(other)
    assert explorer.screen.root is root
    assert explorer.screen.part("map_image") is images
    assert (explorer.state.frame, explorer.state.reference, explorer.controls.slider.max) == (0, None, 19)
    assert _pixels(explorer).shape == (20, 90)
    explorer.state.frame = 19
    assert explorer.controls.slider.value == 19
    explorer.load(make.patterns(n_frames=100))
    explorer.state.frame = 99
    assert explorer.controls.slider.value == 99


def test_a_refused_load_leaves_everything(explorer):
    with pytest.raises(DimensionError, match="needs the variable 'intensity'"):
        explorer.load(xr.Dataset())
    explorer.state.frame = 8
    assert explorer.screen.part("map_cursor").location == 8


def test_frames_keep_their_numbers(make):
    explorer = CycleExplorer(make.patterns().isel(frame=slice(10, 40, 3)))
    assert explorer.state.frame == 10
    explorer.state.frame = 20
    assert explorer.state.frame == 19
    explorer.controls.forward.click()
    assert explorer.state.frame == 22


def test_lazy_series_and_missing_values(make):
    series = make.patterns()
    series["intensity"][3] = np.nan
    explorer = CycleExplorer(series.chunk(frame=7))
    assert (_pixels(explorer)[3] == 0).all()
    explorer.state.frame = 3
    assert np.isnan(_drawn(explorer)).all()
    check(series)


@pytest.mark.parametrize(
    ("name", "value"), [("limits", (5.0, 1.0)), ("scale", "cube"), ("panels", ["no such"]), ("frames", (0.0, np.inf))]
)
def test_the_state_refuses_nonsense(explorer, name, value):
    with pytest.raises(TraitError):
        setattr(explorer.state, name, value)


def test_tracks_of_other_frames_are_refused(make):
    series = make.patterns()
    longer = make.cells(make.patterns(n_frames=61))
    with pytest.raises(DimensionError, match="frame 60"):
        CycleExplorer(series, longer)


def test_input_stays_as_it_was(make):
    series = make.patterns()
    before = series.copy(deep=True)
    explorer = CycleExplorer(series)
    explorer.state.reference, explorer.state.scale = 3, "log"
    xr.testing.assert_identical(series, before)


def test_view_gives_the_present_to_whoever_comes_late(explorer):
    explorer.state.frame = 44
    bundle = explorer.view.get_state()["render_bundle"]
    assert '"location":44' in str(bundle).replace("'", '"').replace(" ", "")
    assert not explorer.view.is_stale
    explorer.state.frame = 45
    assert explorer.view.is_stale
    explorer.view.refresh()
    assert not explorer.view.is_stale


def test_close_lets_go_of_the_data(make):
    explorer = CycleExplorer(make.patterns())
    explorer.close()
    assert not hasattr(explorer, "measurement")


def test_a_big_map_travels_as_a_megapixel_at_most(make):
    frames, points = np.arange(1500), np.linspace(1, 5, 2500)
    big = np.random.default_rng(5).poisson(4.0, (1500, 2500)).astype(float)
    series = xr.Dataset(
        {"intensity": quantity(("frame", "q"), big, "count", "intensity")},
        {"frame": quantity("frame", frames, "1", "frame"), "q": quantity("q", points, "1/angstrom", "q")},
    )
    pixels = _pixels(CycleExplorer(series))
    assert pixels.shape == (1000, 1000)
    assert pixels.dtype == np.uint8


def test_deserializer_is_there():
    """The harness above speaks Bokeh's protocol; if that changes, it must fail here first."""
    assert Deserializer([]).deserialize({"type": "map", "entries": [["a", 1]]}) == {"a": 1}
