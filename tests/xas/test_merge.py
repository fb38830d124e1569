"""Merging: weights, σ of the mean from repeats, scans that stand out, the repeated scans of Cr2O3."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, schema
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity
from batlab.xas import merge

ENERGY = np.arange(8200.0, 8600.0, 1.0)


def scans(n_frames=9, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    smooth = 0.5 * (1 + np.tanh((ENERGY - 8333) / 3))
    mu = smooth + noise * rng.normal(size=(n_frames, len(ENERGY)))
    return xr.Dataset(
        {
            "mu": quantity(("frame", "energy"), mu, "1", "absorption"),
            "voltage": quantity("frame", np.full(n_frames, 3.7), "V", "voltage"),
        },
        {
            "energy": quantity("energy", ENERGY, "eV", "photon energy"),
            "file": quantity("frame", np.array([f"scan.{i:03d}" for i in range(n_frames)]), "1", "file"),
            "time": quantity("frame", np.datetime64("2026-01-01", "ns") + np.arange(n_frames), "", "time"),
        },
    )


def test_mean_and_sigma_of_the_mean():
    series = scans()
    before = series.copy(deep=True)
    done = schema.check(merge(series))
    np.testing.assert_allclose(done.mu, series.mu.mean("frame"))
    np.testing.assert_allclose(done.mu_sigma, series.mu.std("frame", ddof=1) / 3)
    assert done.attrs["n_merged"] == 9
    assert done.attrs["outlier_scans"] == "none"
    assert done.time == series.time[0]
    assert "voltage" not in done
    assert series.identical(before)
    assert done.attrs["history"].endswith("xas.merge(weights='equal', of='mu', outlier=5.0, drop_outliers=False)")


def test_sigma_is_the_scatter_of_means():
    means = np.stack([merge(scans(5, seed=seed)).mu.values for seed in range(60)])
    sigma = np.stack([merge(scans(5, seed=seed)).mu_sigma.values for seed in range(60)])
    assert np.sqrt((sigma**2).mean()) == pytest.approx(np.sqrt(means.var(axis=0, ddof=1).mean()), rel=0.02)


def test_weights():
    series = scans(3)
    weight = np.array([3.0, 1.0, 0.0])
    done = merge(series, weights=weight)
    np.testing.assert_allclose(done.mu, np.average(series.mu, axis=0, weights=weight))
    assert done.attrs["n_merged"] == 2
    np.testing.assert_allclose(merge(series, weights=[7, 7, 7]).mu_sigma, merge(series).mu_sigma)
    series["mu_sigma"] = quantity(
        ("frame", "energy"), np.repeat([[0.01], [0.02], [0.04]], len(ENERGY), axis=1), "1", "σ"
    )
    np.testing.assert_allclose(merge(series, weights="sigma").mu, merge(series, weights=[16.0, 4.0, 1.0]).mu)
    series["edge_step"] = quantity("frame", np.array([1.0, 2.0, 3.0]), "1", "step")
    np.testing.assert_allclose(merge(series, weights="step").mu, merge(series, weights=[1.0, 4.0, 9.0]).mu)


def test_scans_that_stand_out_are_named():
    series = scans()
    series["mu"][4] += 0.3 * np.exp(-(((ENERGY - 8400) / 20) ** 2))
    with pytest.warns(UserWarning, match=r"1 of 9 scans stand out: scan\.004 \(\d+ robust σ\); kept"):
        kept = merge(series)
    with pytest.warns(UserWarning, match="left out"):
        left = schema.check(merge(series, drop_outliers=True))
    assert kept.attrs["outlier_scans"] == left.attrs["outlier_scans"] == ["scan.004"]
    assert (kept.attrs["n_merged"], left.attrs["n_merged"]) == (9, 8)
    np.testing.assert_allclose(left.mu, series.mu.isel(frame=[0, 1, 2, 3, 5, 6, 7, 8]).mean("frame"))


def test_offset_and_thickness_are_no_outliers():
    series = scans()
    series["mu"] = series.mu * xr.DataArray(np.linspace(0.9, 1.1, 9), dims="frame") + xr.DataArray(
        np.linspace(-1, 1, 9), dims="frame"
    )
    series.mu.attrs = scans().mu.attrs
    assert merge(series).attrs["outlier_scans"] == "none"


def test_noise_alone_is_rarely_an_outlier():
    assert sum(merge(scans(12, seed=seed)).attrs["outlier_scans"] != "none" for seed in range(30)) == 0


def test_missing_points():
    series = scans(4)
    series["mu"][0, 10], series["mu"][:3, 20], series["mu"][:, 30] = np.nan, np.nan, np.nan
    done = merge(series)
    assert float(done.mu[10]) == pytest.approx(float(series.mu[1:, 10].mean()))
    assert float(done.mu[20]) == float(series.mu[3, 20])
    assert np.isnan(done.mu_sigma[[20, 30]]).all()
    assert np.isnan(done.mu[30])


def test_one_scan_has_no_sigma():
    with pytest.warns(UserWarning, match="only one scan is merged"):
        done = schema.check(merge(scans(1)))
    assert np.isnan(done.mu_sigma).all()


def test_wrong_words():
    with pytest.raises(DimensionError, match="needs dimension 'frame'"):
        merge(scans().isel(frame=0))
    with pytest.raises(SchemaError, match="needs 'edge_step'"):
        merge(scans(), weights="step")
    with pytest.raises(ValueError, match="did you mean 'equal'"):
        merge(scans(), weights="equals")
    with pytest.raises(ValueError, match=r"one number a scan \(9\)"):
        merge(scans(), weights=[1.0])
    for weights in (np.zeros(9), -np.ones(9), np.full(9, np.nan)):
        with pytest.raises(ValueError, match="weight"):
            merge(scans(), weights=weights)
    with pytest.raises(SchemaError, match="needs a variable 'chi'"):
        merge(scans(), of="chi")
    with pytest.raises(DimensionError, match="needs 'voltage' over"):
        merge(scans(), of="voltage")


@pytest.mark.filterwarnings("ignore:xas.mu")
def test_the_noise_of_real_repeats_falls_with_their_number():
    files = sorted(datasets.path("cr2o3_repeats").glob("*.gz"))
    series = bl.xas.mu(bl.open(files, grid="first", timezone="America/New_York"), "fluorescence")
    assert series.sizes["frame"] == 15
    series = series.sel(energy=slice(6030, 6500))
    full = series.mu.dropna("frame")

    def noise(n):
        """What neighbouring points differ by beyond a straight line, over the mean of the first n scans."""
        one = xr.Dataset({"mu": full.isel(frame=slice(n))}, attrs=series.attrs)
        mu = merge(one).mu.values
        bend = mu[1:-1] - 0.5 * (mu[:-2] + mu[2:])
        return np.median(np.abs(bend))

    assert noise(full.sizes["frame"]) < 0.5 * noise(2)


def test_counts_are_merged_like_other_numbers():
    series = scans(3)
    counts = np.arange(3 * len(ENERGY)).reshape(3, -1)
    series["i0"] = quantity(("frame", "energy"), counts, "count", "incident")
    done = merge(series)
    np.testing.assert_allclose(done.i0, counts.mean(axis=0))
    np.testing.assert_allclose(done.i0_sigma, counts.std(axis=0, ddof=1) / np.sqrt(3))
