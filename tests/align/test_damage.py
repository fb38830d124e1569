"""Beam damage: a planted effect found, nulls left alone, frames set against the right ones."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom

from batlab.align import beam_damage
from batlab.align.damage import Effect, _warn_if_wandering
from batlab.align.matching import interpolation
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

KGY = 1e3


def planted(seed, effect=0.0, *, n=50, noise=0.01, correlation=0.0, sigmoid=False, spots=2):
    """Spots by turns through one charge and discharge, the first of least dose; noise of each spot of its own."""
    rng = np.random.default_rng(seed)
    half = n // 2
    charge = np.concatenate([np.linspace(0, 1, half), np.linspace(1, 0, n - half)])
    spot = np.arange(n) % spots
    extent = 1 / (1 + np.exp(-12 * (charge - 0.5))) if sigmoid else charge
    error = np.empty(n)
    for one in range(spots):
        steps = rng.normal(size=(spot == one).sum() + 200)
        for i in range(1, steps.size):
            steps[i] = correlation * steps[i - 1] + np.sqrt(1 - correlation**2) * steps[i]
        error[spot == one] = steps[200:]
    values = extent * np.where(spot > 0, 1 + effect, 1.0) + noise * error
    coords = {
        "frame": quantity("frame", np.arange(n), "1", "frame"),
        "charge_passed": quantity("frame", charge, "Ah", "net charge passed"),
        "spot": quantity("frame", spot, "1", "spot"),
        "dose": quantity("frame", KGY * (1 + 9 * spot) * np.arange(1, n + 1), "Gy", "dose"),
    }
    return xr.Dataset({"extent": quantity("frame", values, "1", "extent of the reaction")}, coords)


def test_five_per_cent_is_found_in_fifty_frames():
    found = [check(beam_damage(planted(seed, -0.05), "extent")) for seed in range(20)]
    p = np.array([float(one["p_value"][0]) for one in found])
    assert (p < 0.01).sum() >= 19
    effect = np.array([float(one["effect"][0]) for one in found])
    np.testing.assert_allclose(effect.mean(), -0.05, atol=0.005)
    inside = [float(one["effect_low"][0]) < -0.05 < float(one["effect_high"][0]) for one in found]
    assert sum(inside) >= 17  # of 20 at 95 %; fewer with a probability of 0.3 %
    assert all(float(one["n_frames"][0]) >= 22 for one in found)  # the ends of each branch are not extrapolated


@pytest.mark.filterwarnings("ignore:.*tells little of what is slow:UserWarning")
@pytest.mark.parametrize(("correlation", "sigmoid"), [(0.0, False), (0.5, True), (0.9, False)])
def test_false_alarms_in_a_hundred_nulls(correlation, sigmoid):
    series = (planted(1000 + seed, correlation=correlation, sigmoid=sigmoid) for seed in range(50))
    alarms = sum(float(beam_damage(one, "extent")["p_value"][0]) < 0.05 for one in series)
    assert alarms <= binom.ppf(0.999, 50, 0.05)


@pytest.mark.filterwarnings("ignore:.*tells little of what is slow:UserWarning")
@pytest.mark.soak
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5, 0.7, 0.8, 0.9])
def test_false_alarms_in_a_thousand_nulls(correlation):
    found = [float(beam_damage(planted(seed, correlation=correlation), "extent")["p_value"][0]) for seed in range(1000)]
    assert (np.array(found) < 0.05).mean() <= 0.05


@pytest.mark.filterwarnings("ignore:.*tells little of what is slow:UserWarning")
@pytest.mark.soak
def test_stated_sigma_covers_the_scatter():
    found = [beam_damage(planted(seed, -0.05, correlation=0.5), "extent") for seed in range(300)]
    covered = [float(one["effect_low"][0]) < -0.05 < float(one["effect_high"][0]) for one in found]
    assert sum(covered) >= binom.ppf(0.001, 300, 0.95)


def test_a_lattice_parameter_counts_from_its_origin():
    series = planted(3, -0.05, noise=0.002)
    series["a"] = quantity("frame", 2.87 - 0.05 * series["extent"].values, "angstrom", "a")
    told, plain = (beam_damage(series, name, origin=at) for name, at in (("a", 2.87), ("extent", 0.0)))
    np.testing.assert_allclose(told["effect"], plain["effect"], rtol=1e-6)
    np.testing.assert_allclose(told["p_value"], plain["p_value"], rtol=1e-4)


def test_hysteresis_is_no_damage():
    # On discharge the signal lags behind; spots agree within each direction.
    series = planted(5, noise=0.002)
    down = np.arange(50) >= 25
    series["extent"] = series["extent"] + xr.DataArray(
        0.2 * down * np.sin(np.pi * series["charge_passed"].values), dims="frame"
    )
    series["extent"].attrs = {"units": "1", "long_name": "extent"}
    series["step"] = quantity("frame", down.astype(int), "1", "step")
    for branch in (None, "step"):
        told = beam_damage(series, "extent", branch=branch)
        assert abs(float(told["effect"][0])) < 3 * float(told["effect_sigma"][0]) < 0.02


def test_at_rest_frames_are_matched_in_time():
    series = planted(7, noise=0.002)
    moment = np.arange(50)
    relaxing = 1 + np.exp(-moment / 10) * np.where(series["spot"] == 1, 0.9, 1.0)
    series["extent"] = quantity("frame", relaxing, "1", "extent")
    series["charge_passed"] = quantity("frame", np.full(50, 0.5), "Ah", "charge")
    told = beam_damage(series, "extent", origin=1.0)
    np.testing.assert_allclose(told["effect"], -0.1, atol=1e-3)  # straight lines between frames would give -0.1045


def test_several_spots_are_corrected_for_their_number():
    told = check(beam_damage(planted(11, -0.05, n=90, spots=3), "extent"))
    assert told["spot"].values.tolist() == [1, 2]
    assert told.attrs["reference"] == 0
    one = beam_damage(planted(11, -0.05, n=90, spots=3).isel(frame=np.arange(90) % 3 != 2), "extent")
    assert float(told["p_value"][0]) >= float(one["p_value"][0])


def test_words_and_numbers_of_the_statement():
    series = planted(13, -0.05)
    before = series.copy(deep=True)
    series["spot"] = quantity("frame", np.array(["fresh", "hot"])[series["spot"].values], "1", "spot")
    told = check(beam_damage(series, "extent"))
    assert told.attrs["reference"] == "fresh"
    text = told.attrs["dose_statement"]
    assert "against spot fresh at 49 kGy" in text
    assert "spot hot at 500 kGy" in text
    assert "limits" in text
    assert "align.beam_damage" in told.attrs["history"]
    xr.testing.assert_identical(series.drop_vars("spot"), before.drop_vars("spot"))


def test_long_series_are_averaged_and_agree():
    told = beam_damage(planted(17, -0.05, n=3000, noise=0.05), "extent")
    assert abs(float(told["effect"][0]) + 0.05) < 4 * float(told["effect_sigma"][0]) < 0.05
    assert float(told["n_frames"][0]) > 1450


def test_missing_values_and_weights_are_heeded():
    series = planted(19, -0.05)
    series["extent"][::7] = np.nan
    told = beam_damage(series, "extent")
    assert np.isfinite(told["effect"]).all()
    # A spot's frame with a huge error and a σ that says so changes nothing.
    series["extent_sigma"] = quantity("frame", np.full(50, 0.01), "1", "σ")
    clean = beam_damage(series, "extent")
    series["extent"][25], series["extent_sigma"][25] = 9.0, 1e4
    np.testing.assert_allclose(beam_damage(series, "extent")["effect"], clean["effect"], atol=0.003)


def test_equal_doses_are_told():
    series = planted(23)
    series["dose"] = quantity("frame", np.full(50, 1e4), "Gy", "dose")
    with pytest.warns(UserWarning, match="how alike spots are"):
        beam_damage(series, "extent")


def test_noise_that_wanders_is_told():
    with pytest.warns(
        UserWarning, match=r"correlated by about 0\.90 from frame to frame and tells little .* p = 0\.02"
    ):
        _warn_if_wandering(["hot"], [Effect(-0.05, 0.02, -0.09, -0.01, 0.02, 0.9)])


def test_refusals():
    series = planted(29)
    with pytest.raises(DimensionError, match="needs dimension 'frame'"):
        beam_damage(xr.Dataset(), "extent")
    with pytest.raises(SchemaError, match="did you mean 'extent'"):
        beam_damage(series, "extnt")
    with pytest.raises(SchemaError, match=r"call align\.dose first"):
        beam_damage(series.drop_vars("dose"), "extent")
    with pytest.raises(SchemaError, match=r"align\.onto_frames"):
        beam_damage(series.drop_vars("charge_passed"), "extent")
    with pytest.raises(ValueError, match="got 1 with known values"):
        beam_damage(series.isel(frame=slice(None, None, 2)), "extent")
    with pytest.raises(ValueError, match="at least 8 are needed"):
        beam_damage(series.isel(frame=slice(0, 12)), "extent")
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        beam_damage(series, "extent", level=95)
    with pytest.raises(ValueError, match="does not change from origin"):
        beam_damage(series.assign(extent=series["extent"] * 0 + 1), "extent", origin=1.0)
    with pytest.raises(SchemaError, match="branch= must name"):
        beam_damage(series, "extent", branch="stpe")
    other_way = series.copy(deep=True)
    other_way["charge_passed"][1::2] = np.linspace(0, 1, 25)
    with pytest.raises(ValueError, match="same branches at every spot"):
        beam_damage(other_way, "extent")


def test_parabolas_are_interpolated_exactly_and_uneven_points_straight():
    places = np.array([0.0, 0.9, 2.0, 3.1, 4.0])
    x = np.array([0.0, 0.4, 1.5, 2.0, 3.9, 4.0])
    np.testing.assert_allclose(interpolation(places, x) @ (places**2 - places), x**2 - x, atol=1e-12)
    uneven = np.array([0.0, 1.0, 1.01, 2.0])
    np.testing.assert_allclose(interpolation(uneven, np.array([0.5])), [[0.5, 0.5, 0, 0]])
    assert not interpolation(places, np.array([-0.1, 4.1])).any()
