"""Figures: what is drawn, in which unit, from which data."""

import numpy as np
import pytest
import xarray as xr

from batlab import figures
from batlab.errors import DimensionError
from batlab.figures.scale import Scale, tick_text
from batlab.figures.style import COLOURS
from batlab.schema import check, quantity


@pytest.fixture
def series():
    rng = np.random.default_rng(11)
    frame, q = np.arange(12), np.linspace(1.0, 3.0, 50)
    counts = rng.poisson(30, (12, 50)).astype(float)
    counts[:, 20] += 400
    turn = np.linspace(3.0, 4.2, 12)
    return check(
        xr.Dataset(
            {
                "intensity": quantity(("frame", "q"), counts, "count", "intensity"),
                "voltage": quantity("frame", turn, "V", "voltage"),
                "current": quantity("frame", np.full(12, 39e-6), "A", "current"),
            },
            {"frame": quantity("frame", frame, "1", "frame"), "q": quantity("q", q, "1/angstrom", "scattering vector")},
        )
    )


@pytest.fixture
def cells(series):
    a = np.linspace(8.27, 8.16, 12)
    a[5] = np.nan
    return check(
        xr.Dataset(
            {
                "a": quantity("frame", a, "angstrom", "lattice parameter"),
                "a_sigma": quantity("frame", np.full(12, 0.002), "angstrom", "uncertainty"),
                "status": quantity("frame", np.zeros(12, dtype=np.int8), "1", "status", flag_values=[0, 1]),
            },
            {"frame": series["frame"]},
            {"phase": "LiCoVO4"},
        )
    )


def _data(plot, name):
    return plot.select_one({"name": name}).data_source.data


def _label(axis):
    return axis[0].axis_label


def test_heat_map_says_what_it_shows(series):
    plot = figures.heat_map(series, cursor=4)
    assert (_label(plot.xaxis), _label(plot.yaxis)) == ("q (Å⁻¹)", "frame")
    assert plot.select_one({"name": "map_bar"}).title == "intensity (counts)"
    assert plot.select_one({"name": "map_cursor"}).location == 4
    data = _data(plot, "map_image")
    assert data["image"][0].dtype == np.uint8
    # Pixels of half a step beyond the first and last point: each point sits in the middle of its own pixel.
    assert data["x"][0] == pytest.approx(1 - 1 / 49)
    assert data["dw"][0] == pytest.approx(2 + 2 / 49)
    assert (data["y"][0], data["dh"][0]) == (-0.5, 12)


def test_map_shows_the_brightest_point_of_a_pixel(series):
    series["intensity"][7, 33] = 1e5
    image = figures.map_image(series, limits=(0, 1e5), pixels=(3, 5))
    assert image.pixels.shape == (3, 5)
    assert image.pixels.max() == 255
    row, column = np.unravel_index(image.pixels.argmax(), image.pixels.shape)
    assert (row, column) == (7 // 4, 33 // 10)


def test_difference_map_keeps_dips_and_rises(series):
    series["intensity"][:] = 100.0
    series["intensity"][3, 10] = 40.0
    series["intensity"][8, 40] = 150.0
    image = figures.map_image(series, reference=0, limits=(-60, 60), pixels=(12, 5))
    assert image.pixels[3, 1] == 1
    assert image.pixels[8, 4] == 128 + round(50 / 60 * 127)
    assert image.pixels[0, 0] == 128


def test_missing_points_have_a_colour_of_their_own(series):
    series["intensity"][2] = np.nan
    image = figures.map_image(series)
    assert (image.pixels[2] == 0).all()
    assert (image.pixels[[0, 1, 3]] > 0).all()


def test_uneven_axis_is_drawn_where_its_points_are(series):
    uneven = series.assign_coords(q=quantity("q", np.geomspace(1, 20, 50), "1/angstrom", "q"))
    uneven["intensity"][:] = 1.0
    uneven["intensity"][:, 30] = 50.0
    image = figures.map_image(uneven, limits=(0, 50))
    centres = image.left + (np.arange(image.pixels.shape[1]) + 0.5) * image.width / image.pixels.shape[1]
    bright = centres[image.pixels[0] == 255]
    q = uneven["q"].values
    pixel = image.width / image.pixels.shape[1]
    assert bright.min() == pytest.approx((q[29] + q[30]) / 2, abs=pixel)
    assert bright.max() == pytest.approx((q[30] + q[31]) / 2, abs=pixel)


def test_zoomed_map_lies_on_whole_points(series):
    image = figures.map_image(series, axis_range=(1.5, 1.9), frames=(2.2, 6.9))
    assert image.pixels.shape == (6, 11)
    assert image.bottom == 1.5
    assert image.left <= 1.5
    assert image.left + image.width >= 1.9


@pytest.mark.parametrize("name", ["linear", "sqrt", "log"])
@pytest.mark.parametrize("signed", [False, True])
def test_scales_invert_and_increase(name, signed):
    scale = Scale(name, -250.0 if signed else 2.0, 250.0, signed)
    values = np.linspace(scale.low, scale.high, 101)
    np.testing.assert_allclose(scale.inverse(scale.forward(values)), values, rtol=1e-9, atol=1e-9)
    levels = scale.levels(values)
    assert (levels[0], levels[-1]) == (1, 255)
    assert (np.diff(levels.astype(int)) >= 0).all()
    ticks = scale.ticks()
    assert len(ticks) >= 2
    assert all(scale.low <= tick <= scale.high for tick in ticks)


def test_logarithm_of_nothing_shows_the_floor():
    scale = Scale("log", 0.0, 1000.0)
    assert scale.levels(np.array([0.0, -5.0, 1000.0, np.nan])).tolist() == [1, 1, 255, 0]


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, np.nan), (0, np.inf)])
def test_limits_must_increase(series, limits):
    with pytest.raises(ValueError, match="limits"):
        figures.heat_map(series, limits=limits)


def test_unknown_scale_is_refused_with_a_hint(series):
    with pytest.raises(ValueError, match="did you mean 'sqrt'"):
        figures.heat_map(series, scale="sqr")


def test_flat_and_empty_series_can_be_drawn(series):
    for value in (0.0, 7.0, -7.0, np.nan):
        flat = series.copy(deep=True)
        flat["intensity"][:] = value
        for scale in ("linear", "sqrt", "log"):
            figures.heat_map(flat, scale=scale)
            figures.pattern(flat, 0, scale=scale)
        figures.heat_map(flat, reference=0)


def test_pattern_draws_one_frame_against_its_reference(series):
    plot = figures.pattern(series, 5, reference=2)
    data = _data(plot, "pattern_line")
    np.testing.assert_allclose(data["intensity"], series["intensity"].values[5])
    np.testing.assert_allclose(data["reference"], series["intensity"].values[2])
    assert _label(plot.yaxis) == "intensity (counts)"
    assert plot.title.text == "frame 5 · 3.5455 V"
    assert plot.y_range.end >= series["intensity"].values.max()


def test_pattern_refuses_a_frame_that_is_not_there(series):
    with pytest.raises(ValueError, match="frame 12 is not in the series; it has 0 to 11"):
        figures.pattern(series, 12)


def test_detector_frames_are_sent_to_integrate():
    frames = xr.Dataset({"intensity": quantity(("frame", "y", "x"), np.ones((1, 2, 2)), "count", "intensity")})
    with pytest.raises(DimensionError, match=r"scattering\.integrate"):
        figures.heat_map(frames)


def test_track_has_bars_of_one_sigma(cells):
    plot = figures.track(cells, "a", cursor=3)
    data = _data(plot, "track_line")
    np.testing.assert_allclose(np.delete(data["high"] - data["low"], 5), 0.004)
    assert np.isnan(data["value"][5])
    assert (_label(plot.xaxis), _label(plot.yaxis)) == ("frame", "a (Å)")
    upright = figures.track(cells, "a", frame_axis="y")
    assert (_label(upright.xaxis), _label(upright.yaxis)) == ("a (Å)", "frame")


def test_track_against_voltage(series, cells):
    both = cells.assign(voltage=series["voltage"])
    plot = figures.track(both, "a", against="voltage")
    assert _label(plot.xaxis) == "voltage (V)"
    np.testing.assert_array_equal(_data(plot, "track_line")["place"], series["voltage"].values)


def test_track_says_what_it_could_draw(cells):
    with pytest.raises(DimensionError, match="there are"):
        figures.track(cells, "voltage")
    assert figures.quantities(cells) == {"a, LiCoVO4": ("a", None)}


def test_track_needs_to_know_which_peak(series):
    area = xr.Dataset(
        {"area": quantity(("frame", "peak"), np.ones((12, 2)), "count", "area")},
        {"frame": series["frame"], "peak": quantity("peak", [0, 1], "1", "peak")},
    )
    with pytest.raises(DimensionError, match="say which peak="):
        figures.track(area, "area")
    with pytest.raises(ValueError, match="peak must be one of"):
        figures.track(area, "area", peak=7)
    figures.track(area, "area", peak=1)


def test_cycling_over_frames_and_over_hours(series):
    plot = figures.cycling(series)
    assert [axis.axis_label for axis in plot.yaxis] == ["voltage (V)", "current (µA)"]
    np.testing.assert_allclose(_data(plot, "current_line")["y"], 39.0)
    record = xr.Dataset(
        {"voltage": quantity("record", np.full(9000, 3.7), "V", "voltage")},
        {"record": quantity("record", np.arange(9000), "1", "record"),
         "test_time": quantity("record", np.arange(9000) * 10.0, "s", "time of test")},
    )  # fmt: skip
    record["voltage"][4321] = 4.4
    plot = figures.cycling(record)
    drawn = _data(plot, "voltage_line")
    assert _label(plot.xaxis) == "test time (h)"
    assert len(drawn["x"]) <= 4002
    assert drawn["y"].max() == 4.4
    assert drawn["x"][-1] == pytest.approx(8999 * 10 / 3600)


def test_cycling_without_voltage_tells_where_to_get_it(cells):
    with pytest.raises(DimensionError, match=r"align\.onto_frames"):
        figures.cycling(cells)


def test_events_show_their_limits():
    table = xr.Dataset(
        {
            "onset": quantity("event", [47.4, 60.0], "1", "onset"),
            "onset_low": quantity("event", [46.5, 58.0], "1", "lower limit"),
            "onset_high": quantity("event", [48.2, 63.0], "1", "upper limit"),
            "what": quantity("event", np.array(["turn", "end"]), "1", "what"),
        },
        {"event": quantity("event", [0, 1], "1", "event")},
    )
    plot = figures.events(table, frames=(0, 100))
    data = _data(plot, "event_words")
    assert data["low"].tolist() == [46.5, 58.0]
    assert list(data["what"]) == ["turn", "end"]
    assert plot.x_range.end == 100


def test_text_of_users_is_data_never_markup(series):
    class Mark:
        frames, axis_range, category, confidence, author = (1, 2), None, "chemical", 0.5, "<i>ada</i>"
        mechanism = text = "<script>alert(1)</script>"

    plot = figures.add_marks(figures.heat_map(series), series, [Mark])
    tips = plot.select_one({"name": "mark_hover"}).tooltips
    assert all("{safe}" not in value for _, value in tips)
    assert _data(plot, "mark_boxes")["left"][0] == pytest.approx(1 - 1 / 49)


def test_phases_keep_their_colours():
    assert figures.phase_colour("Al", ["NMC", "Al"]) == COLOURS[1] == figures.phase_colour(1)
    assert len(set(COLOURS)) == len(COLOURS)
    with pytest.raises(ValueError, match="phase must be one of"):
        figures.phase_colour("Cu", ["NMC"])


def test_short_numbers():
    assert [tick_text(value) for value in (0.0, 8.16, 9999.0, 25000.0, 3e6)] == ["0", "8.16", "9999", "25k", "3M"]


def test_inputs_are_not_modified(series, cells):
    before, cells_before = series.copy(deep=True), cells.copy(deep=True)
    figures.heat_map(series, scale="log", reference=3)
    figures.pattern(series, 1, scale="sqrt")
    figures.track(cells, "a")
    xr.testing.assert_identical(series, before)
    xr.testing.assert_identical(cells, cells_before)
