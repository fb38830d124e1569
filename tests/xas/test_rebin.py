"""Rebinning: larch's grid, means, σ, what is missing, what is refused."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import schema
from batlab.errors import SchemaError
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


def own_grids(truth, starts=(7000.0, 6990.3, 7004.2), steps=(0.4, 0.3, 0.5), stop=7700.0):
    """Frames whose grids begin, step and end differently, padded with NaN."""
    grids = [np.arange(start, stop + 10 * i, step) for i, (start, step) in enumerate(zip(starts, steps))]
    wide = max(map(len, grids))
    energy = np.array([np.pad(grid, (0, wide - len(grid)), constant_values=np.nan) for grid in grids])
    return xr.Dataset(
        {
            "mu": quantity(("frame", "energy"), truth(energy), "1", "absorption"),
            "mu_sigma": quantity(("frame", "energy"), np.where(np.isfinite(energy), 0.01, np.nan), "1", "σ"),
            "voltage": quantity("frame", np.array([3.0, 3.5, 4.0]), "V", "voltage"),
        },
        {"energy_measured": quantity(("frame", "energy"), energy, "eV", "energies of each frame")},
    )


def test_grids_of_their_own_come_onto_one():
    def line(energy):
        return 1e-3 * (energy - 7000.0)

    series = own_grids(line)
    before = series.copy(deep=True)
    done = schema.check(rebin(series, e0=7112.0, xanes_step=2.0))
    xr.testing.assert_identical(series, before)
    assert "energy_measured" not in done
    assert done.energy[0] >= 7004.2  # where the last of them begins
    assert done.energy[-1] <= 7700.0  # and the first of them ends
    assert np.isfinite(done.mu).all()
    # The mean of the points nearest to a new one lies within half a step of that frame from it.
    # Means lie where their points do, which is up to half a step beside the new energies: a line comes back as it is,
    # but for the last point, which has old ones on one side only.
    inner = done.isel(energy=slice(-1))
    np.testing.assert_allclose(inner.mu, np.tile(line(inner.energy.values), (3, 1)), atol=1e-12)
    # In the XANES region 2 eV hold 5, 6 or 7, and 4 points.
    np.testing.assert_allclose(done.mu_sigma.sel(energy=7100.0, method="nearest"),
                               0.01 / np.sqrt([5, 20 / 3, 4]), rtol=0.06)  # fmt: skip
    np.testing.assert_array_equal(done.voltage, series.voltage)
    for frame in range(3):  # each frame as it would be alone
        points = np.isfinite(series.energy_measured.values[frame])
        alone = series.isel(frame=frame, energy=points).drop_vars("energy_measured")
        alone["energy"] = quantity("energy", series.energy_measured.values[frame, points], "eV", "energy")
        ends = {"pre1": float(done.energy[0]) - 7112.0, "exafs2": float(done.energy[-1]) - 7112.0}
        one = rebin(alone, e0=7112.0, xanes_step=2.0, **ends)
        np.testing.assert_allclose(one.energy, done.energy, rtol=1e-12)
        np.testing.assert_allclose(one.mu, done.mu[frame], rtol=1e-12)


def test_an_aborted_scan_and_what_has_no_frames_are_refused():
    series = own_grids(np.sqrt)
    broken = series.copy(deep=True)
    broken.energy_measured[1, 1:] = np.nan
    with pytest.raises(ValueError, match="frame 1 has fewer than two energies; leave it out"):
        rebin(broken, e0=7112.0)
    series["foil"] = series.mu[0].drop_vars("energy_measured", errors="ignore")
    with pytest.raises(SchemaError, match="'foil' has no frames"):
        rebin(series, e0=7112.0)


def nickel(energy):
    x = energy - 8333.0
    edge = 0.3 - 2e-4 * x + 0.8 * (0.5 + np.arctan((x - 12) / 2) / np.pi)
    return edge + 0.08 * np.exp(-((x / 2) ** 2)) + 0.3 * np.exp(-(((x - 17) / 4) ** 2))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (bl.xas.align_energy, {}),
        (bl.xas.mback, {"element": "Ni", "edge": "K", "e0": 8345.0}),
        (bl.xas.pre_edge_peaks, {"region": (8327.0, 8339.0), "near": [8333.0], "of": "mu_norm"}),
    ],
)
def test_what_needs_one_grid_says_how_to_get_it_and_then_works(step, words):
    series = own_grids(nickel, starts=(8200.0, 8190.3, 8204.2), stop=8900.0)
    for name in ("mu_reference", "mu_norm"):
        series[name] = series.mu.variable.copy()
    series = series.drop_vars("mu_norm") if step is bl.xas.align_energy else series
    with pytest.raises(SchemaError, match=r"needs one energy grid for all frames, .* with xas\.rebin"):
        step(series, **words)
    done = step(rebin(series, e0=8345.0), **words)
    if step is bl.xas.align_energy:
        assert np.abs(done.energy_shift).max() < 0.05
    elif step is bl.xas.mback:
        np.testing.assert_allclose(done.edge_step, done.edge_step[0], rtol=0.01)
    else:
        np.testing.assert_allclose(done.position[:, 0], 8333.0, atol=0.1)
