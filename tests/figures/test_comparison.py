"""Figures of several techniques on one axis, and of a correlation."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import figures
from batlab.align import correlation
from batlab.errors import DimensionError, SchemaError
from batlab.figures.technique import Along, Choice, as_frames, choices, technique_image, technique_trace
from batlab.schema import quantity

START = np.datetime64("2024-05-01T08:00:00", "ns")
HOUR = 3600.0


def technique(seconds, *, dim="frame", exposure=0.0, n_points=6, **numbers):
    seconds = np.asarray(seconds, dtype=float)
    coords = {
        dim: quantity(dim, np.arange(10, 10 + seconds.size), "1", dim),
        "time": quantity(dim, START + (seconds * 1e9).astype("timedelta64[ns]"), "", "time, UTC"),
    }
    variables = {name: quantity(dim, np.asarray(values), "1", name) for name, values in numbers.items()}
    if dim == "frame":
        coords["exposure"] = quantity(dim, np.full(seconds.size, exposure), "s", "exposure")
        coords["q"] = quantity("q", np.linspace(1.0, 2.0, n_points), "1/angstrom", "q")
        values = np.arange(seconds.size)[:, None] + np.zeros(n_points)
        variables["intensity"] = quantity((dim, "q"), values, "count", "intensity")
    return xr.Dataset(variables, coords)


@pytest.fixture
def tree():
    seconds = 600.0 * np.arange(24)
    record = technique(np.arange(0.0, 14401.0, 60.0), dim="record", voltage=np.linspace(3, 4, 241))
    return xr.DataTree.from_dict({"/xrd": technique(seconds, exposure=300.0, a=np.cos(seconds)), "/echem": record})


def _find(plot, name):
    return plot.select_one({"name": name})


def test_techniques_share_one_axis_and_its_margins(tree):
    plot = figures.comparison(tree, overlay={"xrd": "a", "echem": "voltage"}, cursor=2.0)
    panels = list(plot.children)
    assert len({id(panel.x_range) for panel in panels}) == 1
    assert len({(panel.frame_width, panel.min_border_left, panel.min_border_right) for panel in panels}) == 1
    assert [panel.xaxis.visible for panel in panels[:2]] == [False, False]
    assert panels[-1].xaxis.axis_label == "time since 2024-05-01 08:00:00 UTC (h)"
    assert {_find(plot, f"{name}_cursor").location for name in ("xrd", "echem", "overlay")} == {2.0}
    # 2 h is nearest to the middle of the exposure that began at 7200 s, frame 12 of the series that begins with 10.
    assert _find(plot, "xrd_words").text == "xrd · frame 22"
    assert _find(plot, "echem_words").text == "echem · record 130 · voltage 3.5"


def test_a_map_runs_along_the_shared_axis(tree):
    data = _find(figures.comparison(tree), "xrd_map").data_source.data
    assert data["image"][0].shape == (6, 24)
    levels = data["image"][0][0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert data["x"][0] == pytest.approx((150 - 300) / HOUR)  # half a step before the middle of the first exposure
    assert data["dw"][0] == pytest.approx(24 * 600 / HOUR)
    assert (data["y"][0], data["dh"][0]) == pytest.approx((0.9, 1.2))


def test_what_is_shown_can_be_chosen_and_cut(tree):
    plot = figures.comparison(tree, show={"xrd": "a"}, x_range=(1.0, 2.0), ranges={"xrd": (-2.0, 2.0)})
    assert not _find(plot, "xrd_map").visible
    line = _find(plot, "xrd_line").data_source.data
    assert line["x"].min() >= 1.0 - 600 / HOUR  # one point beyond, so that the line runs on to the edge
    assert line["x"].max() <= 2.0 + 600 / HOUR
    panel = plot.children[0]
    assert (panel.y_range.start, panel.y_range.end) == (-2.0, 2.0)
    assert (panel.x_range.start, panel.x_range.end) == (1.0, 2.0)


def test_other_axes_need_to_be_there(tree):
    with pytest.raises(DimensionError, match=r"needs 'capacity' for every technique, 'xrd' has none; .* align.onto"):
        figures.comparison(tree, axis="capacity")
    with pytest.raises(ValueError, match="axis must be 'time', 'capacity', 'lithium' or 'temperature', got 'charge'"):
        figures.comparison(tree, axis="charge")


def test_unknown_words_are_refused(tree):
    with pytest.raises(ValueError, match="technique must be 'xrd' or 'echem', got 'xrf'; did you mean 'xrd'"):
        figures.comparison(tree, show={"xrf": "a"})
    with pytest.raises(ValueError, match=r"show\['xrd'\] must be 'map of intensity' or 'a', got 'b'"):
        figures.comparison(tree, show={"xrd": "b"})
    with pytest.raises(ValueError, match=r"overlay\['xrd'\] must be 'a', got 'map of intensity'"):
        figures.comparison(tree, overlay={"xrd": "map of intensity"})
    with pytest.raises(DimensionError, match="two to six techniques, got 1: xrd"):
        figures.comparison(xr.DataTree.from_dict({"xrd": tree["xrd"].to_dataset()}))
    with pytest.raises(DimensionError, match="one of the dimensions 'frame' and 'record'"):
        as_frames(tree["xrd"].to_dataset().isel(frame=slice(0, 0)), "xrd")
    with pytest.raises(SchemaError, match="not one that is known"):
        as_frames(
            tree["echem"].to_dataset().assign_coords(time=("record", np.full(241, np.datetime64("NaT", "ns")))), "e"
        )


def test_choices_leave_out_what_cannot_be_drawn():
    table = technique(np.arange(4.0), a=np.arange(4.0), a_sigma=np.ones(4))
    table = table.assign(
        mask=quantity(("frame", "q"), np.zeros((4, 6)), "1", "mask"),
        concentration=quantity(("frame", "component"), np.ones((4, 2)), "1", "share"),
    )
    assert list(choices(table)) == ["map of intensity", "a", "concentration, component 0", "concentration, component 1"]


def _along(seconds):
    seconds = np.asarray(seconds, dtype=float)
    return Along(seconds / HOUR, seconds)


def test_nothing_is_drawn_across_a_gap():
    seconds = np.concatenate([np.arange(0.0, 6000.0, 600), np.arange(20_000.0, 26_000.0, 600)])
    table = technique(seconds, a=np.arange(seconds.size, dtype=float))
    image = technique_image(table, Choice("map", "intensity"), _along(seconds))
    hours = image.left + (np.arange(image.pixels.shape[1]) + 0.5) / image.pixels.shape[1] * image.width
    empty = (hours > (5400 + 400) / HOUR) & (hours < (20_000 - 400) / HOUR)
    assert (image.pixels[:, empty] == 0).all()
    assert (image.pixels[:, (hours < 5400 / HOUR) | (hours > 20_000 / HOUR)] > 0).all()
    line = technique_trace(table, Choice("trace", "a"), _along(seconds))
    assert np.flatnonzero(np.isnan(line["y"])).tolist() == [10]
    assert np.isfinite(np.delete(line["y"], 10)).all()


def test_long_series_are_thinned_with_their_extremes():
    n = 100_000
    values = np.zeros(n)
    values[54_321] = 7.0
    table = technique(np.arange(n) * 0.1, dim="record", current=values).rename(record="frame")
    line = technique_trace(table, Choice("trace", "current"), _along(np.arange(n) * 0.1))
    assert line["y"].size < 5000
    assert line["y"].max() == 7.0


def test_a_thin_line_of_a_map_never_vanishes():
    seconds = 10.0 * np.arange(5000)
    table = technique(seconds, n_points=2000)
    table["intensity"].values[:] = 0.0
    table["intensity"].values[:, 777] = 100.0
    image = technique_image(table, Choice("map", "intensity"), _along(seconds), limits=(0.0, 100.0))
    assert image.pixels.shape == (400, 1000)
    assert image.pixels.nbytes <= 400_000
    assert (image.pixels.max(axis=0) == 255).all()


def test_what_lies_elsewhere_is_not_drawn():
    table = technique(600.0 * np.arange(10))
    assert (
        technique_image(table, Choice("map", "intensity"), _along(600.0 * np.arange(10)), x_range=(50.0, 60.0)) is None
    )


def test_a_correlation_shows_its_pairs_and_its_interval(tree):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = correlation(tree["xrd"].to_dataset()["a"], tree["echem"].to_dataset()["voltage"])
    plot = figures.correlation(found)
    pairs = _find(plot, "correlation_pairs").data_source.data
    np.testing.assert_array_equal(pairs["x"], tree["xrd"]["a"])
    assert plot.title.text.startswith(f"r = {float(found['correlation']):.2f} [")
    assert "24 pairs" in plot.title.text
    assert plot.xaxis.axis_label == "a"
    assert plot.yaxis.axis_label == "voltage"
    with pytest.raises(DimensionError, match=r"give it what align\.correlation returns"):
        figures.correlation(tree["xrd"].to_dataset())
