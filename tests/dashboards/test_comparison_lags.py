"""The comparison of techniques without a browser: lags of clocks, and how numbers go together."""

import warnings

import numpy as np
import pytest
import xarray as xr
from traitlets import TraitError

import batlab as bl
from batlab.simulate.cell import DURATION

from .acting import data_of, run
from .experiment import experiment

N_FRAMES = 120
PERIOD = DURATION / N_FRAMES
SLOT = {"xrd": "panel_1", "xas": "panel_2", "pdf": "panel_3", "echem": "panel_4"}


def test_a_lag_moves_a_technique_without_sending_its_map(comparison):
    image = data_of(comparison, "panel_1_map")["image"][0]
    left = data_of(comparison, "panel_1_map")["x"][0]
    first = data_of(comparison, "panel_1_overlay")["x"][0]
    comparison.state.lags = {**comparison.state.lags, "xrd": 360.0}
    assert data_of(comparison, "panel_1_map")["image"][0] is image
    assert data_of(comparison, "panel_1_map")["x"][0] == pytest.approx(left + 0.1)
    assert data_of(comparison, "panel_1_overlay")["x"][0] == pytest.approx(first + 0.1)
    assert comparison.controls.rows[0].lag.value == 360.0
    assert "by hand, σ unknown" in comparison.controls.rows[0].told.value
    comparison.state.lags = {**comparison.state.lags, "xrd": 0.0}
    assert data_of(comparison, "panel_1_map")["x"][0] == pytest.approx(left)


def test_the_handle_is_dragged_typed_and_moved_by_keys(comparison):
    handle = comparison.screen.part("panel_2_handle")
    assert handle.editable
    assert handle.visible
    assert not comparison.screen.part("panel_4_handle").visible  # the clock of all
    place = handle.location
    comparison.screen.hands["panel_2"].data = {"ends": [place + 0.02]}
    assert comparison.state.lags["xas"] == pytest.approx(72.0, abs=0.01)
    assert comparison.state.chosen == "xas"
    assert handle.location == pytest.approx(place + 0.02, abs=1e-5)
    comparison.controls.rows[1].lag.value = -12.5
    assert comparison.state.lags["xas"] == -12.5
    assert handle.location == pytest.approx(place - 12.5 / 3600)
    step = comparison.data.nudge("xas")
    assert PERIOD / 20 <= step < PERIOD / 6
    comparison.screen.nudge.data = {"by": [-10], "choose": [0], "time": [1.5]}
    assert comparison.state.lags["xas"] == pytest.approx(-12.5 - 10 * step)
    comparison.screen.nudge.data = {"by": [-10], "choose": [2], "time": [1.5]}  # a busy widget may tell a press twice
    assert comparison.state.lags["xas"] == pytest.approx(-12.5 - 10 * step)
    comparison.screen.nudge.data = {"by": [0], "choose": [3], "time": [2.5]}
    assert comparison.state.chosen == "pdf"
    comparison.screen.nudge.data = {"by": [0], "choose": [4], "time": [3.5]}  # the clock is not moved
    assert comparison.state.chosen == "pdf"
    comparison.screen.hands["panel_2"].data = {"ends": [float("nan")]}
    assert comparison.state.lags["xas"] == pytest.approx(-12.5 - 10 * step)
    with pytest.raises(TraitError, match="must be seconds"):
        comparison.state.lags = {"xas": float("inf")}
    with pytest.raises(TraitError, match="technique must be one of 'xrd', 'xas', 'pdf', got 'echem'"):
        comparison.state.lags = {"echem": 1.0}


def test_the_handle_stays_within_reach_when_zoomed(comparison):
    comparison.state.x_range = (2.0, 2.2)
    handle = comparison.screen.part("panel_1_handle")
    assert 2.0 < handle.location < 2.2
    comparison.screen.hands["panel_1"].data = {"ends": [handle.location + 0.01]}
    assert comparison.state.lags["xrd"] == pytest.approx(36.0, abs=0.01)


def test_estimate_finds_the_planted_lag_and_shades_its_interval(comparison):
    planted = 60.0
    comparison.load(experiment(240, 20, late=planted, seed=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = comparison.estimate("xrd", drift=False, hours=False, max_lag=600.0)
    assert abs(found.lag - planted) < 3 * found.sigma < 30
    assert comparison.state.lags["xrd"] == found.lag
    band, handle = (comparison.screen.part(f"panel_1_{part}") for part in ("band", "handle"))
    assert band.visible
    assert 3600 * (band.right - band.left) == pytest.approx(np.diff(found.interval)[0])
    assert band.left < handle.location < band.right
    sigma = comparison.controls.rows[0].told.value.partition("± ")[2].partition(" s")[0]
    assert float(sigma) == pytest.approx(found.sigma, rel=0.15)
    told = comparison.controls.rows[0].lag.value
    assert told == round(found.lag, len(sigma.partition(".")[2]))  # no more digits than its uncertainty has
    assert f"add {told:.{len(sigma.partition('.')[2])}f} ± {sigma} s" in str(found)
    comparison.state.lags = {**comparison.state.lags, "xrd": found.lag + 10 * found.sigma}
    assert "10 σ from" in comparison.controls.rows[0].told.value
    assert "estimate_lag" not in comparison.code()  # the lag on the screen is not that one
    comparison.state.lags = {**comparison.state.lags, "xrd": found.lag}
    space = run(comparison, tree=comparison.tree)
    assert space["lag_xrd"].lag == found.lag


def test_what_cannot_be_estimated_is_told(comparison):
    comparison.state.features = {**comparison.state.features, "xrd": ""}
    comparison.controls.rows[0].estimate.click()
    assert "no number to tell a lag by" in comparison.controls.status.value
    assert not comparison.controls.rows[0].estimate.disabled
    with pytest.raises(ValueError, match="technique must be one of xrd, xas, pdf, got 'echem'"):
        comparison.estimate("echem")
    comparison.load(xr.DataTree.from_dict({name: comparison.tree[name].to_dataset() for name in ("xrd", "xas")}))
    with pytest.raises(ValueError, match="cycler's record"):
        comparison.estimate("xas")


def test_numbers_are_scaled_over_one_another(comparison, tree):
    for slot in SLOT.values():
        scaled = data_of(comparison, f"{slot}_overlay")["y"]
        assert (np.nanmin(scaled), np.nanmax(scaled)) == (0.0, 1.0)
    a = tree["xrd"]["a"].values
    np.testing.assert_allclose(data_of(comparison, "panel_1_overlay")["y"], (a - a.min()) / np.ptp(a), atol=1e-12)
    comparison.controls.rows[0].feature.value = ""
    assert len(data_of(comparison, "panel_1_overlay")["x"]) == 0


def test_correlation_of_any_two_with_its_interval(comparison, tree):
    assert comparison.state.pair == ("xrd · a", "xas · e0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        wanted = bl.align.correlation(tree["xrd"].to_dataset()["a"], tree["xas"].to_dataset()["e0"])
    for name in ("correlation", "correlation_low", "correlation_high", "n_effective"):
        assert float(comparison.correlation[name]) == float(wanted[name])
    np.testing.assert_array_equal(data_of(comparison, "correlation_pairs")["x"], wanted["one"])
    title = comparison.screen.scatter.title.text
    assert f"r = {float(wanted['correlation']):.2f} [{float(wanted['correlation_low']):.2f}," in title
    assert "95 %" in title
    assert "independent" in title
    comparison.controls.pair[1].value = "echem · temperature"
    assert comparison.state.pair == ("xrd · a", "echem · temperature")
    assert "temperature" in comparison.screen.scatter.yaxis.axis_label
    comparison.state.frame = 64
    ring = comparison.screen.part("correlation_ring")
    assert ring.visible
    assert ring.x == float(tree["xrd"]["a"][64])


def test_an_experiment_that_was_put_on_an_axis_begins_with_its_offsets(comparison, tree):
    comparison.load(bl.align.onto(tree, "capacity", offsets={"xrd": 37.4}))
    assert comparison.state.lags["xrd"] == 37.4
    assert comparison._place() == pytest.approx((37.4 + PERIOD / 4) / 3600)
    joined = comparison.tree
    space = run(comparison, tree=joined, store=comparison.store)
    np.testing.assert_array_equal(space["shown"]["xrd"]["time"].values, joined["xrd"]["time"].values)


def test_frames_alone_and_numbers_without_maps(comparison, tree):
    parts = {name: tree[name].to_dataset() for name in ("xrd", "xas")}
    parts["xrd"] = parts["xrd"].drop_vars(["intensity", "q"])
    parts["xas"] = parts["xas"].drop_vars(["e0"])
    alone = xr.DataTree.from_dict(parts)
    comparison.load(alone)
    assert dict(comparison.state.shows) == {"xrd": "a", "xas": "map of mu_norm"}
    assert dict(comparison.state.features) == {"xrd": "a", "xas": ""}
    assert comparison.state.options["axis"] == ["time"]
    comparison.state.lags = {"xas": 20.0}
    space = run(comparison, tree=alone)
    assert (space["shown"]["xas"]["time"] - alone["xas"]["time"]).values[0] == np.timedelta64(20, "s")
