"""Correlation of two quantities with their own times: the interval holds the truth, whatever their memory."""

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from batlab.align import correlation
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

START = np.datetime64("2024-05-01", "ns")


def series(values, name="a", *, period=60.0, exposure=None, dim="frame", first=0.0):
    begin = first + period * np.arange(len(values))
    coords = {"time": quantity(dim, START + (begin * 1e9).astype("timedelta64[ns]"), "", "time, UTC")}
    if exposure is not None:
        coords["exposure"] = quantity(dim, np.full(len(values), exposure), "s", "exposure")
    return xr.DataArray(values, coords, (dim,), name, {"units": "angstrom", "long_name": name})


def pair(n, memory, rho, rng):
    """Two autoregressive series with one correlation, which is exact for as many frames as you like."""
    noise = rng.normal(size=(2, n + 300))
    noise[1] = rho * noise[0] + np.sqrt(1 - rho**2) * noise[1]
    return lfilter([1], [1, -memory], noise, axis=1)[:, 300:]


def held(n, memory, rho, runs, seed):
    rng, inside = np.random.default_rng(seed), 0
    for _ in range(runs):
        one, other = pair(n, memory, rho, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = correlation(series(one), series(other, "b"))
        inside += float(found["correlation_low"]) <= rho <= float(found["correlation_high"])
    return inside / runs


@pytest.mark.parametrize(("memory", "rho"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.6)])
def test_the_interval_holds_the_truth(memory, rho):
    # 95 % of 60 runs, less three standard deviations of their count.
    assert held(300, memory, rho, 60, seed=4) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


@pytest.mark.soak
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_the_interval_holds_the_truth_in_a_thousand_runs(memory, rho):
    assert held(400, memory, rho, 1000, seed=5) >= 0.93


def test_a_naive_interval_would_not():
    """With a memory of 0.9 the usual 1 / sqrt(n - 3) leaves out the truth of half of all pairs."""
    rng, inside = np.random.default_rng(4), 0
    for _ in range(60):
        r = np.corrcoef(pair(300, 0.9, 0.0, rng))[0, 1]
        inside += abs(np.arctanh(r)) < 1.96 / np.sqrt(297)
    assert inside / 60 < 0.7


def test_independent_random_walks_are_not_called_correlated():
    rng, claimed = np.random.default_rng(6), 0
    for _ in range(60):
        one, other = np.cumsum(rng.normal(size=(2, 300)), axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found = correlation(series(one), series(other, "b"))
        claimed += not float(found["correlation_low"]) <= 0 <= float(found["correlation_high"])
    assert claimed <= 6  # 5 % and three standard deviations


def test_white_noise_has_as_many_independent_pairs_as_pairs():
    one, other = np.random.default_rng(0).normal(size=(2, 400))
    found = correlation(series(one), series(other, "b"))
    assert found["n_pairs"] == 400
    assert found["n_effective"] == pytest.approx(400, rel=0.2)
    assert found["correlation"] == pytest.approx(np.corrcoef(one, other)[0, 1])
    check(found)
    assert "align.correlation(" in found.attrs["history"]


def test_two_trends_say_nothing():
    with pytest.warns(UserWarning, match=r"300 pairs of 'a' and 'b' have only 2\.9 independent"):
        found = correlation(series(np.arange(300.0)), series(np.arange(300.0) ** 1.01, "b"))
    assert float(found["correlation"]) > 0.999
    assert (float(found["correlation_low"]), float(found["correlation_high"])) == (-1.0, 1.0)


def test_the_finer_one_is_averaged_over_the_windows_of_the_coarser():
    """A straight line: the mean over an exposure is its value at the middle, to rounding."""
    fine = series(0.5 * np.arange(2000.0), "voltage", period=5.0, dim="record")
    noise = np.random.default_rng(1).normal(size=100)
    coarse = series(noise, period=90.0, exposure=40.0)
    for found, side in ((correlation(coarse, fine), "other"), (correlation(fine, coarse), "one")):
        assert found[side].dims == ("frame",)
        np.testing.assert_allclose(found[side], 0.1 * (90.0 * np.arange(100) + 20.0), rtol=1e-12)
        assert found[side].attrs["variable"] == "voltage"
    assert found["other"].attrs["variable"] == "a"


def test_offsets_move_the_clocks():
    rng = np.random.default_rng(2)
    values = lfilter([1], [1, -0.9], rng.normal(size=500))
    late = series(values, first=-600.0)  # its clock is ten minutes late
    true = series(values + 0.1 * rng.normal(size=500), "b")
    apart, together = (correlation(late, true, offset=(by, 0.0)) for by in (0.0, 600.0))
    assert together["correlation"] > 0.98 > 0.7 > apart["correlation"]
    assert together["time"].values[0] == START


def test_gaps_and_missing_numbers_make_no_pairs():
    values = np.sin(np.arange(400.0) / 3)
    fine = series(values, "b", period=10.0)
    holed = fine.isel(frame=np.r_[0:100, 250:400])
    coarse = series(np.random.default_rng(3).normal(size=60), period=60.0, exposure=30.0)
    coarse[5] = np.nan
    found = correlation(coarse, holed)
    missing = np.flatnonzero(np.isnan(found["other"].values))
    inside_the_gap = [n for n in range(60) if 60 * n + 30 > 990 and 60 * n < 2500]
    assert set(inside_the_gap) <= set(missing.tolist())
    assert found["n_pairs"] == 60 - len(set(missing.tolist()) | {5})


def test_a_constant_has_no_correlation():
    with pytest.warns(UserWarning, match="only 0.0 independent"):
        found = correlation(series(np.ones(50)), series(np.arange(50.0), "b"))
    assert np.isnan(found["correlation"])
    assert np.isnan(found["correlation_low"])


def test_scale_and_sign_change_nothing_but_the_sign():
    one, other = pair(300, 0.5, 0.5, np.random.default_rng(7))
    plain, turned = (
        correlation(series(one), series(other, "b")),
        correlation(series(1e9 - 1e3 * one), series(other, "b")),
    )
    assert turned["correlation"] == pytest.approx(-plain["correlation"])
    assert turned["n_effective"] == pytest.approx(plain["n_effective"])


def test_inputs_are_unchanged():
    one, other = series(np.arange(20.0) % 7), series(np.arange(20.0) % 5, "b")
    before = one.copy(deep=True), other.copy(deep=True)
    correlation(one, other, offset=(3.0, 0.0))
    xr.testing.assert_identical(one, before[0])
    xr.testing.assert_identical(other, before[1])


def test_what_cannot_be_is_refused():
    good = series(np.arange(20.0) % 7)
    with pytest.raises(DimensionError, match=r"over \('frame', 'peak'\); select one peak"):
        correlation(good.expand_dims(peak=[1], axis=1), good)
    with pytest.raises(SchemaError, match="needs the coordinate 'time'"):
        correlation(good.drop_vars("time"), good)
    with pytest.raises(SchemaError, match="needs 5 pairs, got 0: 'a' runs from 2024-05-01T00:00:00 to"):
        correlation(good, series(np.arange(20.0), "b", first=1e6))
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        correlation(good, good, confidence=95)
    with pytest.raises(SchemaError, match="needs 5 pairs, got 1"):
        correlation(good[:1], good)
