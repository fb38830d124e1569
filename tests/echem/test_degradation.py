"""Losses of lithium and of active material: planted ones returned, σ as the scatter, wrong half cells told."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab.echem import degradation_modes, half_cell
from batlab.echem.electrode_fit import _correlated
from batlab.errors import DimensionError
from batlab.schema import check, quantity
from batlab.simulate import full_cell

NMC, GRAPHITE = half_cell("chen2020_nmc811"), half_cell("chen2020_graphite_siox")
CHEN = {"positive": "chen2020_nmc811", "negative": "chen2020_graphite_siox"}
MODES = ("lam_positive", "lam_negative", "lli")
PLANTED = (0.05, 0.08, 0.10)


def aged(noise=0.0, seed=0, interval=144.0, losses=((0, 0, 0), PLANTED)):
    return full_cell(NMC, GRAPHITE, losses=losses, interval=interval, noise=noise, seed=seed)


def scatter(seeds, **options):
    """Return losses and stated σ in % over (seed, mode) with 1 mV noise on about 500 lines a charge."""
    lost, sigma = [], []
    for seed in seeds:
        told = degradation_modes(aged(1e-3, seed), **CHEN, **options).isel(cycle=1)
        lost.append([100 * float(told[name]) for name in MODES])
        sigma.append([100 * float(told[f"{name}_sigma"]) for name in MODES])
    return np.array(lost), np.array(sigma)


@pytest.fixture(scope="module")
def sixty():
    return scatter(range(60))


@pytest.mark.parametrize("half", ["charge", "discharge"])
def test_planted_losses_without_noise(half):
    cell = aged()
    before = cell.copy(deep=True)
    told = check(degradation_modes(cell, half=half, **CHEN))
    xr.testing.assert_identical(cell, before)
    np.testing.assert_allclose([told[name][1] for name in MODES], PLANTED, atol=1e-6)
    np.testing.assert_allclose([told[name][0] for name in MODES], 0, atol=0)
    np.testing.assert_allclose(told["capacity_positive"], [7.7845, 7.7845 * 0.95], rtol=1e-6)
    np.testing.assert_allclose(told["capacity_negative"], [5.7241, 5.7241 * 0.92], rtol=1e-6)
    np.testing.assert_allclose(told["lithium_inventory"], [7.2310, 7.2310 * 0.90], rtol=1e-6)
    assert "doi:10.1149/1945-7111/ab9050" in told.attrs["positive"]
    assert "echem.degradation_modes" in told.attrs["history"]


def test_scatter_and_stated_sigma_at_one_millivolt(sixty):
    lost, sigma = sixty
    spread = lost.std(axis=0, ddof=1)
    assert (spread <= [0.06 * 1.2, 0.08 * 1.2, 0.03 * 1.2]).all()  # 60 seeds know it to 9 %; `make soak` to 4 %
    np.testing.assert_allclose(np.sqrt((sigma**2).mean(axis=0)), spread, rtol=0.25)
    np.testing.assert_allclose(lost.mean(axis=0), [5, 8, 10], atol=4 * spread.max() / np.sqrt(60))


@pytest.mark.soak
@pytest.mark.parametrize("half", ["charge", "discharge"])
def test_scatter_and_stated_sigma_at_one_millivolt_long(half):
    lost, sigma = scatter(range(300), half=half)
    spread = lost.std(axis=0, ddof=1)
    assert (spread <= [0.06, 0.08, 0.03]).all(), spread
    np.testing.assert_allclose(np.sqrt((sigma**2).mean(axis=0)), spread, rtol=0.15)
    pulls = (lost - [5, 8, 10]) / sigma
    np.testing.assert_allclose((np.abs(pulls) < 2).mean(axis=0), 0.954, atol=0.05)


def test_covariances_are_those_of_the_scatter(sixty):
    lost, _ = sixty
    told = degradation_modes(aged(1e-3), **CHEN).isel(cycle=1)
    found = np.corrcoef(lost.T)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        one, other = MODES[i], MODES[j]
        stated = float(told[f"covariance_{one}_{other}"] / (told[f"{one}_sigma"] * told[f"{other}_sigma"]))
        assert -1 <= stated <= 1
        # Fisher: σ of atanh(r) is 1/√(n - 3).
        assert abs(np.arctanh(stated) - np.arctanh(found[i, j])) < 3.5 / np.sqrt(57)


def test_a_table_of_the_user_serves_as_well():
    grid = np.linspace(0, 1, 2001)
    own = (grid[grid >= 0.2], NMC(grid[grid >= 0.2]))
    told = degradation_modes(aged(interval=600.0), positive=own, negative=(grid, GRAPHITE(grid)))
    np.testing.assert_allclose([told[name][1] for name in MODES], PLANTED, atol=1e-4)
    assert told.attrs["positive"] == "table: given by the user"
    function = degradation_modes(aged(interval=600.0), positive=NMC, negative=GRAPHITE.potential)
    np.testing.assert_allclose([function[name][1] for name in MODES], PLANTED, atol=1e-6)


def test_a_constant_polarization():
    cell = aged(interval=300.0)
    cell["voltage"] = cell["voltage"].copy(data=cell["voltage"].values + 0.03 * np.sign(cell["current"].values))
    for half, sign in (("charge", 1), ("discharge", -1)):
        told = check(degradation_modes(cell, half=half, polarized=True, **CHEN))
        np.testing.assert_allclose(told["polarization"], sign * 0.03, atol=1e-6)
        np.testing.assert_allclose([told[name][1] for name in MODES], PLANTED, atol=1e-5)
    less = degradation_modes(aged(1e-3), **CHEN)
    more = degradation_modes(aged(1e-3), polarized=True, **CHEN)
    assert (more["lam_positive_sigma"][1] > less["lam_positive_sigma"][1]).all()


def test_window_cycles_and_reference():
    cell = aged(losses=((0, 0, 0), (0.02, 0.03, 0.05), PLANTED))
    told = check(degradation_modes(cell, window=(3.0, 4.1), cycle=[2, 3], reference=3, **CHEN))
    assert told["cycle"].values.tolist() == [2, 3]
    np.testing.assert_allclose(told["lli"], [1 - 0.95 / 0.90, 0], atol=1e-6)
    assert told.attrs["reference"] == 3
    assert float(told["lithiation_positive_high"][0]) > 0.27  # 4.1 V is not yet full


def test_the_capacity_falls_as_the_literature_value_says():
    # Chen2020 potentials, 2.5 to 4.2 V, losses 5, 8 and 10 %: 5.0169 to 4.4168 Ah, a fade of 11.96 %.
    told = degradation_modes(aged(interval=600.0), **CHEN)
    np.testing.assert_allclose(told["capacity_used"], [5.0169, 4.4168], atol=2e-4)


def test_correlated_misfit_raises_sigma():
    rng = np.random.default_rng(0)
    white = rng.normal(size=4000)
    assert 0.9 < _correlated(white) < 1.2
    slow = np.empty(4000)
    slow[0] = white[0]
    for i in range(1, 4000):
        slow[i] = 0.8 * slow[i - 1] + white[i]
    np.testing.assert_allclose(_correlated(slow), (1 + 0.8) / (1 - 0.8), rtol=0.3)  # AR(1): (1 + ρ) / (1 - ρ)
    cell, plain = aged(), degradation_modes(aged(1e-3), **CHEN)
    noise = np.repeat(rng.normal(0, 1e-3, cell.sizes["record"] // 8 + 1), 8)[: cell.sizes["record"]]
    cell["voltage"] = cell["voltage"].copy(data=cell["voltage"].values + noise)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        told = degradation_modes(cell, **CHEN)
    assert float(told["lli_sigma"][1] / plain["lli_sigma"][1]) > 1.8  # √8 less what the fit takes


def test_wrong_half_cells_are_told():
    with (
        pytest.warns(UserWarning, match="are these the right half cells"),
        pytest.warns(UserWarning, match="misfit with a shape"),
        pytest.warns(UserWarning, match="their numbers are not determined"),
    ):
        degradation_modes(aged(1e-3), positive=lambda y: 4.3 - 0.8 * y, negative="chen2020_graphite_siox")


def test_short_cycles_are_nan_and_told():
    cell = aged()
    short = cell.isel(record=slice(int(np.argmax(cell["cycle"].values == 2)) + 10))
    with pytest.warns(UserWarning, match=r"1 of 2 cycles \(2\) have fewer than 20 lines"):
        told = check(degradation_modes(short, **CHEN))
    assert np.isfinite(told["lli"][0])
    assert np.isnan(told["lli"][1])
    assert np.isnan(told["lli_sigma"][1])


def test_missing_voltages_are_left_out():
    cell = aged()
    cell["voltage"][50:300:7] = np.nan
    told = degradation_modes(cell, **CHEN)
    np.testing.assert_allclose([told[name][1] for name in MODES], PLANTED, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": "chen2020_nmc81"}, "did you mean 'chen2020_nmc811'"),
        ({"half": "chrage"}, "did you mean 'charge'"),
        ({"window": (4.0, 3.0)}, "lowest, highest"),
        ({"window": (4.5, 5.0)}, "no charge with 20 lines"),
        ({"cycle": 7}, "among 1 to 2"),
        ({"reference": 7}, "a cycle that is fitted, 1 to 2, got 7"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        degradation_modes(aged(interval=600.0), **{**CHEN, **change})


def test_no_record_is_refused():
    with pytest.raises(DimensionError, match="needs dimension 'record'"):
        degradation_modes(xr.Dataset({"voltage": quantity("frame", [3.0], "V", "voltage")}), **CHEN)
    with pytest.raises(ValueError, match="no charge with 20 lines"):
        degradation_modes(aged().isel(record=slice(5)), **CHEN)


# PyBaMM 26.10.1.1, parameter set Chen2020, nmc_LGM50_ocp_Chen2020 and graphite_LGM50_ocp_Chen2020.
PYBAMM = {
    "chen2020_nmc811": ([0.2, 0.35, 0.5, 0.65, 0.8, 0.9],
                        [4.468982762, 4.175020506, 3.971958656, 3.77292014, 3.649110459, 3.568200282]),
    "chen2020_graphite_siox": ([0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9],
                               [1.011291767, 0.406516111, 0.216986223, 0.142112334, 0.133085513, 0.09537774,
                                0.09202041, 0.092020002]),
}  # fmt: skip


@pytest.mark.parametrize("name", PYBAMM)
def test_published_potentials(name):
    lithiation, potential = PYBAMM[name]
    np.testing.assert_allclose(half_cell(name)(lithiation), potential, atol=1e-9)
    low, high = half_cell(name).limits
    assert (np.diff(half_cell(name)(np.linspace(low, high, 1000))) < 0).all()
    assert np.isnan(half_cell(name)([low - 0.01, high + 0.01, np.nan])).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (([0.0, 0.5, 1.0], [1.0, 0.5, 0.1]), "at least four"),
        (([0.0, 0.5, 0.4, 1.0], [1.0, 0.5, 0.4, 0.1]), "must increase"),
        (([0.0, 50.0, 80.0, 100.0], [1.0, 0.5, 0.4, 0.1]), "0 to 100; sort"),
        (([0.0, 0.5, 0.8, 1.0], [1.0, np.nan, 0.4, 0.1]), "NaN"),
        (([0.0, 0.5, 0.8, 1.0], [1.0, 0.4, 0.1]), r"\(4,\) and \(3,\)"),
        (5, "a name or a table"),
    ],
)
def test_tables_that_make_no_sense_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        half_cell(table)
