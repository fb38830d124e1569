"""Glitches: planted ones found, smooth edges left alone, the two real scans."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, schema
from batlab.schema import quantity
from batlab.xas import deglitch

ENERGY = np.concatenate([np.arange(8200, 8310, 2.0), np.arange(8310, 8380, 0.5), np.arange(8380, 8900, 2.0)])


def spectra(n_frames=3, noise=1e-3, seed=0):
    x = ENERGY - 8333
    smooth = 0.5 * (1 + np.tanh(x / 3)) + 0.3 * np.exp(-(((x - 8) / 5) ** 2))
    smooth = smooth + 0.05 * np.sin(x / 20) * (1 + np.tanh((x - 40) / 15))
    mu = smooth + noise * np.random.default_rng(seed).normal(size=(n_frames, len(x)))
    return xr.Dataset(
        {
            "mu": quantity(("frame", "energy"), mu, "1", "absorption"),
            "mu_sigma": quantity(("frame", "energy"), np.full(mu.shape, noise), "1", "σ"),
        },
        {"energy": quantity("energy", ENERGY, "eV", "photon energy")},
    )


def test_planted_glitches_are_found_and_nothing_else():
    series = spectra()
    for frame, point, size in ((0, 30, 0.1), (0, 150, -0.2), (2, 400, 0.2), (2, 401, 0.1)):
        series["mu"][frame, point] += size
    done = schema.check(deglitch(series))
    expected = np.zeros(series.mu.shape, bool)
    expected[[0, 0, 2, 2], [30, 150, 400, 401]] = True
    np.testing.assert_array_equal(done.glitch_mask, expected)
    np.testing.assert_array_equal(np.isnan(done.mu), expected)
    np.testing.assert_array_equal(np.isnan(done.mu_sigma), expected)
    assert done.attrs["glitches"] == ENERGY[[30, 150, 400, 401]].tolist()


@pytest.mark.parametrize("noise", [1e-5, 1e-3, 1e-2])
def test_edges_and_noise_are_no_glitches(noise):
    done = deglitch(spectra(20, noise))
    assert done.glitch_mask.values.mean() < 2e-4


def test_interpolation_is_linear_and_its_sigma_too():
    series = spectra(1)
    done = deglitch(series, at=[8240.0], ranges=[(8450.0, 8452.0)], fill="interpolate")
    points = np.flatnonzero(done.glitch_mask[0])
    np.testing.assert_array_equal(ENERGY[points], [8240.0, 8450.0, 8452.0])
    left, right = points[0] - 1, points[0] + 1
    assert float(done.mu[0, points[0]]) == pytest.approx(float(series.mu[0, [left, right]].mean()))
    assert float(done.mu_sigma[0, points[0]]) == pytest.approx(1e-3 / np.sqrt(2))
    assert np.isfinite(done.mu).all()
    others = np.delete(np.arange(len(ENERGY)), points)
    np.testing.assert_array_equal(done.mu[0, others], series.mu[0, others])


def test_single_scan_and_inputs_stay():
    scan = spectra(1).isel(frame=0)
    before = scan.copy(deep=True)
    done = schema.check(deglitch(scan, at=8340.0))
    assert done.glitch_mask.dims == ("energy",)
    assert scan.identical(before)
    assert done.attrs["history"].endswith("xas.deglitch(at=8340.0, fill='nan', of='mu')")


@pytest.mark.parametrize(
    ("name", "expected", "kept"),
    # Seen by eye in the scans: the monochromator's glitches at 10.36, 10.40 and 10.435 keV (ORP5), 9775 and 10595 eV.
    [("ORP5.000", [10361, 10400, 10435], 0.98), ("ZT20.000", [9775, 10595], 0.98)],
)
def test_real_glitches(name, expected, kept):
    scan = bl.xas.mu(bl.open(datasets.path("xas_distorted") / "deglitch" / name))
    done = schema.check(deglitch(scan))
    found = np.array(done.attrs["glitches"])
    for energy in expected:
        assert np.abs(found - energy).min() < 4
    assert np.isfinite(done.mu).mean() > kept
    assert all(np.abs(np.array(expected) - energy).min() < 10 for energy in found)


def test_many_glitches_are_doubted():
    series = spectra(1, 1e-5)
    series["mu"][0, 200:440:8] += 0.05
    with pytest.warns(UserWarning, match=r"up to \d+\.\d % of the points of a frame \(first 0\) were taken"):
        deglitch(series)


def test_missing_points_and_short_scans():
    series = spectra(2)
    series["mu"][0, 100:110] = np.nan
    series["mu"][1] = np.nan
    done = deglitch(series)
    assert not done.glitch_mask.any()
    assert not deglitch(series.isel(energy=slice(10))).glitch_mask.any()
    assert deglitch(series.isel(frame=slice(0))).glitch_mask.shape == (0, len(ENERGY))


def test_wrong_words():
    with pytest.raises(ValueError, match="fill must be 'nan' or 'interpolate'"):
        deglitch(spectra(), fill="zero")
    with pytest.raises(ValueError, match=r"9999 eV lies outside the spectrum, 8200 to 8898"):
        deglitch(spectra(), at=9999.0)
    with pytest.raises(ValueError, match="holds no point"):
        deglitch(spectra(), ranges=[(8200.5, 8201.5)])
    with pytest.raises(ValueError, match="threshold must be positive"):
        deglitch(spectra(), threshold=0)
