"""Rebinning: larch's grid, means, σ, what is missing, what is refused."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import schema
from batlab.errors import DimensionError
from batlab.schema import quantity
from batlab.xas import rebin

ENERGY = np.arange(7000.0, 7900.0, 0.1)


def spectra(n_frames=2, noise=0.01):
    x = ENERGY - 7112.0
    smooth = 0.3 - 2e-4 * x + 0.75 * (1 + np.tanh(x / 3))
    mu = smooth + noise * np.random.default_rng(0).normal(size=(n_frames, len(x)))
    return xr.Dataset(
        {
            "mu": quantity(("frame", "energy"), mu, "1", "absorption"),
            "mu_sigma": quantity(("frame", "energy"), np.full(mu.shape, noise), "1", "σ"),
            "voltage": quantity("frame", np.linspace(3, 4, n_frames), "V", "voltage"),
        },
        {"energy": quantity("energy", ENERGY, "eV", "photon energy")},
    )


def test_the_grid_is_larchs():
    # larch 2026.3.1, rebin_xafs(energy, mu, e0=7112) with its defaults, which leaves out the last point: 469 points.
    done = schema.check(rebin(spectra(), e0=7112.0))
    energy = done.energy.values
    assert len(energy) == 469 + 1
    np.testing.assert_allclose(
        energy[[0, 10, 40, 80, 100, 120, 160, 200, 300, 468]],
        [7000.0, 7020.0, 7080.0, 7091.75, 7096.75, 7101.75, 7111.75, 7121.75, 7246.1141, 7894.4322],
        atol=1e-4,
    )


def test_means_and_their_sigma():
    done = rebin(spectra(400), e0=7112.0)
    inner = slice(1, -1)
    np.testing.assert_allclose(done.mu.std("frame")[inner], done.mu_sigma.mean("frame")[inner], rtol=0.2)
    before = done.sel(energy=slice(7010, 7075))
    np.testing.assert_allclose(before.mu_sigma, 0.01 / np.sqrt(20), rtol=0.05)
    line = 0.3 - 2e-4 * (before.energy - 7112.0)
    assert float((before.mu - line).mean()) == pytest.approx(0.0, abs=1e-4)
    assert done.attrs["rebin_e0"] == 7112.0
    np.testing.assert_array_equal(done.voltage, spectra(400).voltage)


def test_straight_lines_stay_straight():
    scan = spectra(1).isel(frame=0)
    scan["mu"] = quantity("energy", 3.0 + 1e-3 * (ENERGY - 7000), "1", "absorption")
    done = rebin(scan, e0=7112.0, pre_step=5.0)
    inner = done.isel(energy=slice(1, -1))
    # Bins whose points do not lie evenly about their middle err by less than half an old step.
    np.testing.assert_allclose(inner.mu, 3.0 + 1e-3 * (inner.energy - 7000), atol=2e-3)
    assert float(np.diff(done.energy.values[:5]).mean()) == pytest.approx(5.0, abs=0.5)


def test_where_there_are_no_points_it_interpolates():
    scan = spectra(1, 0.0).isel(energy=slice(None, None, 40))
    done = rebin(scan, e0=7112.0)
    inside = done.isel(energy=slice(1, -1))
    expected = np.interp(inside.energy, scan.energy, scan.mu[0])
    far = np.abs(inside.energy.values[:, None] - scan.energy.values).min(axis=1) > 0.3
    alone = far & (inside.energy.values > 7083) & (inside.energy.values < 7126)
    np.testing.assert_allclose(inside.mu[0, alone], expected[alone], rtol=1e-12)
    assert alone.sum() > 5


def test_missing_points_are_left_out_and_masks_spread():
    series = spectra()
    series["mu"][0, 400:410] = np.nan
    series["mu"][1, 1000:1300] = np.nan
    series["mask"] = quantity("energy", (ENERGY > 7050) & (ENERGY < 7050.3), "1", "mask")
    done = schema.check(rebin(series, e0=7112.0))
    assert np.isfinite(done.mu[0]).all()
    lost = done.energy.values[np.isnan(done.mu[1])]
    assert 7099 < lost.min() < lost.max() < 7131
    assert done.mask.dtype == bool
    assert int(done.mask.sum()) == 1


def test_e0_comes_from_the_series():
    series = spectra(noise=1e-5)
    assert rebin(series).attrs["rebin_e0"] == pytest.approx(7112.0, abs=0.3)
    assert rebin(bl.xas.normalize(series, e0=7110.0)).attrs["rebin_e0"] == 7110.0


def test_inputs_stay():
    series = spectra()
    before = series.copy(deep=True)
    assert "xas.rebin(e0=7112.0" in rebin(series, e0=7112.0).attrs["history"]
    assert series.identical(before)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"e0": 5000.0}, "lies outside the spectrum"),
        ({"pre_step": 0.0}, "must be positive"),
        ({"exafs_kstep": -0.05}, "must be positive"),
        ({"pre2": 20.0}, "pre1 < pre2 < exafs1"),
        ({"pre2": -10.0, "exafs1": -5.0}, "exafs1 > 0"),
        ({"exafs1": 900.0, "exafs2": 950.0}, "must lie inside the spectrum"),
        ({"pre1": -500.0, "pre2": -400.0}, "must lie inside the spectrum"),
    ],
)
def test_regions_that_do_not_fit_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        rebin(spectra(), **{"e0": 7112.0, **words})


def test_grids_of_their_own_are_refused():
    series = spectra().drop_vars("energy")
    series["energy_measured"] = quantity(("frame", "energy"), np.tile(ENERGY, (2, 1)), "eV", "energy")
    with pytest.raises(DimensionError, match="one grid for all frames"):
        rebin(series, e0=7112.0)
