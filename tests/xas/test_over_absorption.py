"""Over-absorption undone: the thick-sample formula backwards, larch's numbers, noise, what cannot be."""

import numpy as np
import pytest
import xarray as xr
import xraydb

from batlab import schema, xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity

ENERGY = np.arange(8200.0, 8600.0, 1.0)


def white_line(energy, e0=8345.0):
    x = energy - e0
    step = 0.5 + np.arctan(x / 1.5) / np.pi
    return step * (1 + 0.6 * np.exp(-(((x - 6) / 4) ** 2)) + 0.08 * np.sin(0.3 * x) * np.exp(-x / 60) * (x > 0))


def normalized(curves, energy=ENERGY, **more):
    dims = ("frame", "energy") if np.ndim(curves) == 2 else ("energy",)
    return xr.Dataset(
        {"mu_norm": quantity(dims, np.asarray(curves, float), "1", "normalized absorption"), **more},
        {"energy": quantity("energy", energy, "eV", "energy")},
        {"element": "Ni", "edge": "K"},
    )


def saturated(true, formula, angle_in=45.0, angle_out=45.0):
    """Fluorescence of a thick sample, all absorption at its own energy, over that without structure (N = 1)."""
    below = xraydb.material_mu(formula, np.array([8323.0]), density=1.0)[0]
    jump = xraydb.material_mu(formula, np.array([8343.0]), density=1.0)[0] - below
    leaving = xraydb.material_mu(formula, np.array([xraydb.xray_line("Ni", "Ka").energy]), density=1.0)[0]
    rest = below * (ENERGY / 8323.0) ** -2.8
    edge = jump * (ENERGY / 8343.0) ** -2.8
    geometry = np.sin(np.deg2rad(angle_in)) / np.sin(np.deg2rad(angle_out))

    def yield_of(shape):
        return edge * shape / (rest + edge * shape + geometry * leaving)

    return yield_of(true) / yield_of(np.ones_like(true))


@pytest.mark.parametrize("angles", [(45, 45), (80, 10), (20, 70)])
def test_what_a_thick_sample_hides_comes_back(angles):
    """Within 0.004 of the truth up to 100 eV above the edge: there alpha changes by a few hundredths."""
    true = white_line(ENERGY)
    hidden = saturated(true, "LiNiO2", *angles)
    assert true.max() - hidden.max() > (0.05 if angles == (80, 10) else 0.1)
    series = normalized(hidden[None])
    before = series.copy(deep=True)
    back = schema.check(xas.over_absorption(series, formula="LiNiO2", angle_in=angles[0], angle_out=angles[1]))
    xr.testing.assert_identical(series, before)
    near = (ENERGY > 8330) & (ENERGY < 8445)
    assert np.abs(back.mu_norm.values[0] - true)[near].max() < 4e-3
    assert "xas.over_absorption(formula='LiNiO2', element='Ni', edge='K'" in back.attrs["history"]


def test_with_one_alpha_the_round_trip_is_exact():
    true = white_line(ENERGY)
    alpha = xas.over_absorption(normalized(true * 0.1), formula="LiNiO2").attrs["over_absorption_alpha"]
    back = xas.over_absorption(normalized(true * (alpha + 1) / (alpha + true)), formula="LiNiO2")
    np.testing.assert_allclose(back.mu_norm, true, atol=1e-12)


@pytest.mark.parametrize(
    ("formula", "angles", "element", "measured", "true"),
    [
        # larch 2026.3.1, fluo_corr of Fe2O3_rt_01.xdi: its norm and mu_corr · norm / mu, at five energies.
        ("Fe2O3", (45, 45), "Fe", 0.017709, 0.005131),
        ("Fe2O3", (45, 45), "Fe", 1.078422, 1.340867),
        ("Fe2O3", (45, 45), "Fe", 1.060463, 1.248931),
        ("Fe2O3", (45, 45), "Fe", 0.987456, 0.957479),
        ("LiNiO2", (80, 10), "Ni", 1.558739, 2.46055),
    ],
)
def test_the_numbers_are_those_of_larch(formula, angles, element, measured, true):
    scan = normalized(np.full(len(ENERGY), measured))
    found = xas.over_absorption(scan, formula=formula, element=element, angle_in=angles[0], angle_out=angles[1])
    assert float(found.mu_norm[0]) == pytest.approx(true, rel=2e-4)


def test_a_dilute_absorber_needs_no_correction():
    true = white_line(ENERGY)
    found = xas.over_absorption(normalized(true), formula="(NiO)0.0001(BN)1")
    np.testing.assert_allclose(found.mu_norm, true, atol=0.003)


def test_sigma_is_the_scatter_of_noisy_spectra():
    true = white_line(ENERGY)
    hidden = saturated(true, "LiNiO2", 80, 10)
    rng = np.random.default_rng(0)
    noisy = hidden + 0.005 * rng.normal(size=(800, len(ENERGY)))
    sigma = quantity(("frame", "energy"), np.full(noisy.shape, 0.005), "1", "1 sigma")
    found = schema.check(
        xas.over_absorption(normalized(noisy, mu_norm_sigma=sigma), formula="LiNiO2", angle_in=80, angle_out=10)
    )
    np.testing.assert_allclose(found.mu_norm.std("frame"), found.mu_norm_sigma.mean("frame"), rtol=0.15)


def test_absorption_and_flattened_spectrum_follow():
    true = white_line(ENERGY)
    step, pre = np.array([0.5, 2.0]), 0.3
    more = {
        "mu": quantity(("frame", "energy"), pre + step[:, None] * true, "1", "absorption"),
        "mu_sigma": quantity(("frame", "energy"), 0.01 * np.ones((2, len(true))), "1", "1 sigma"),
        "mu_flat": quantity(("frame", "energy"), np.stack([true, true]), "1", "flattened absorption"),
        "edge_step": quantity("frame", step, "1", "edge step"),
    }
    found = schema.check(
        xas.over_absorption(normalized(np.stack([true, true]), **more), formula="LiNiO2", angle_in=80, angle_out=10)
    )
    np.testing.assert_allclose((found.mu - pre) / found.edge_step, found.mu_norm, atol=1e-12)
    np.testing.assert_allclose(found.mu_flat, found.mu_norm, atol=1e-12)
    assert float(found.mu_sigma.max()) > 0.02


def test_grids_of_their_own_are_corrected_point_by_point():
    shared = normalized(np.stack([0.8 * white_line(ENERGY)] * 2))
    own = shared.drop_vars("energy")
    own["energy_measured"] = quantity(("frame", "energy"), np.stack([ENERGY, ENERGY + 0.2]), "eV", "energies of each")
    sample = {"formula": "(NiO)0.1(C)4"}
    done = schema.check(xas.over_absorption(own, **sample))
    np.testing.assert_array_equal(done.mu_norm, xas.over_absorption(shared, **sample).mu_norm)
    np.testing.assert_array_equal(done.energy_measured, own.energy_measured)


def test_what_no_absorption_explains_is_told():
    with pytest.warns(UserWarning, match=r"\d+ points exceed alpha \+ 1 = 1\.\d+"):
        found = schema.check(xas.over_absorption(normalized(white_line(ENERGY)), formula="Ni"))
    assert np.isnan(found.mu_norm).any()
    gap = white_line(ENERGY)
    gap[10] = np.nan
    found = xas.over_absorption(normalized(gap), formula="(LiNiO2)0.1(C)10")
    assert np.isnan(found.mu_norm.values).sum() == 1


def test_wrong_words_and_order_are_refused():
    scan = normalized(0.9 * white_line(ENERGY))
    done = xas.over_absorption(scan, formula="(LiNiO2)0.1(C)10")
    with pytest.raises(ValueError, match="corrected already"):
        xas.over_absorption(done, formula="LiNiO2")
    with pytest.raises(ValueError, match="before remove_background"):
        xas.over_absorption(scan.assign(chi=scan.mu_norm), formula="LiNiO2")
    with pytest.raises(ValueError, match="element must be one of Fe, O"):
        xas.over_absorption(scan, formula="Fe2O3")
    with pytest.raises(ValueError, match="formula must be"):
        xas.over_absorption(scan, formula="Li(NiO2")
    with pytest.raises(ValueError, match="edge must be one of K, L1, L2, L3"):
        xas.over_absorption(scan, formula="LiNiO2", edge="k1")
    with pytest.raises(ValueError, match="line must be a line of Ni"):
        xas.over_absorption(scan, formula="LiNiO2", line="Kz")
    with pytest.raises(ValueError, match="angle_out must be"):
        xas.over_absorption(scan, formula="LiNiO2", angle_out=0)
    with pytest.raises(SchemaError, match=r"run xas\.normalize first"):
        xas.over_absorption(scan.rename(mu_norm="mu"), formula="LiNiO2")
    with pytest.raises(DimensionError, match="energy"):
        xas.over_absorption(scan.rename(energy="k"), formula="LiNiO2")


def test_a_formula_without_the_absorber_is_refused():
    with pytest.raises(ValueError, match="with an amount above 0, got 'Ni'"):
        xas.over_absorption(normalized(white_line(ENERGY)), formula="Ni0O")
