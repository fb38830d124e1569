"""Absorption matched to tables: planted steps, foils beside larch's mback_norm, gaps, wrong words."""

import numpy as np
import pytest
import xarray as xr
import xraydb

import batlab as bl
from batlab import datasets, schema, xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity


def planted(scale, element="Ni", edge="K", *, moved=2.5, tilt=1e-3, wiggle=0.0, span=(-200, 1100)):
    """Scale × f″ on a line, its edge `moved` eV above the table's; oscillations of an EXAFS kind."""
    at = xraydb.xray_edge(element, edge).energy
    x = np.arange(*span, 2.0)
    f2 = xraydb.f2_chantler(element, at + x)
    k = np.sqrt(0.2625 * np.clip(x, 0, None))
    shape = 1 + wiggle * np.sin(4.4 * k) * np.exp(-0.02 * k**2) * (x > 0)
    rows = np.asarray(scale)[..., None] * f2 * shape + 0.4 + tilt * x
    dims = ("frame", "energy") if rows.ndim == 2 else ("energy",)
    return xr.Dataset(
        {
            "mu": quantity(dims, rows, "1", "absorption"),
            "e0": quantity(dims[:-1], np.full(rows.shape[:-1], at + moved), "eV", "edge energy"),
        },
        {"energy": quantity("energy", at + moved + x, "eV", "energy")},
        {"element": element, "edge": edge},
    )


def table_step(element, edge):
    """Jump of f″ from Chantler's values 150 and 300 eV from the edge, along straight lines in the logarithm."""
    at = xraydb.xray_edge(element, edge).energy
    near, far = (np.log(xraydb.f2_chantler(element, at + np.array([-x, x]))) for x in (150.0, 300.0))
    return float(np.diff(np.exp(2 * near - far))[0])


def test_planted_scales_come_back():
    scale = np.array([0.2, 0.5, 1.3])
    series = planted(scale)
    before = series.copy(deep=True)
    found = schema.check(xas.mback(series))
    xr.testing.assert_identical(series, before)
    np.testing.assert_allclose(found.edge_step, scale * table_step("Ni", "K"), rtol=3e-3)
    near = found.sel(energy=slice(8333 + 80, 8333 + 1000))
    np.testing.assert_allclose(near.mu_flat, 1.0, atol=0.01)
    assert float(np.abs(found.mu_norm.sel(energy=slice(None, 8280))).max()) < 5e-3
    np.testing.assert_allclose(found.mback_match, found.mu, rtol=2e-3, atol=2e-3)
    assert "xas.mback(element='Ni', edge='K'" in found.attrs["history"]
    assert found.attrs["mback_order"] == 1


def test_oscillations_lie_within_sigma():
    true = 0.5 * table_step("Ni", "K")
    for seed, wiggle in enumerate((0.05, 0.15, -0.1)):
        found = xas.mback(planted(np.array([0.5]), wiggle=wiggle, moved=seed))
        sigma = float(np.hypot(found.edge_step_sigma[0], 2e-3 * true))  # the two ways to read the table's step
        assert abs(float(found.edge_step[0]) - true) < 3 * sigma
        assert float(found.edge_step_sigma[0]) < 0.03 * true


def test_an_l_edge_ends_before_the_next():
    found = schema.check(xas.mback(planted(np.array([0.4]), "Au", "L3", span=(-200, 1700))))
    assert float(found.edge_step[0]) == pytest.approx(0.4 * table_step("Au", "L3"), rel=0.01)
    assert found.attrs["mback_post"][1] < xraydb.xray_edge("Au", "L2").energy - xraydb.xray_edge("Au", "L3").energy


def test_scattered_light_under_the_spectrum_is_taken_off():
    from scipy.special import erfc

    series = planted(np.array([0.5]), tilt=0.0)
    line = xraydb.xray_line("Ni", "Ka1").energy
    light = 3.0 * erfc((series.energy.values - line) / 600.0)
    series["mu"] = series.mu.copy(data=series.mu.values + light)
    found = xas.mback(series, emission=True)
    assert float(found.edge_step[0]) == pytest.approx(0.5 * table_step("Ni", "K"), rel=0.015)


# larch 2026.3.1, mback_norm(group, z, edge="K") after pre_edge(group), defaults; Cu also in the issue.
@pytest.mark.parametrize(
    ("name", "e0", "step", "allowed"),
    [
        ("Cu/cu_metal_rt", 8980.5, 2.7288, 0.01),
        ("Ni/Ni_metal_rt_01", 8331.5, 2.5059, 0.025),
        ("Co/co_metal_rt", 7709.0, 3.8942, 0.025),
        ("Fe/Fe2O3_rt_01", 7125.6, 1.2273, 0.025),
    ],
)
def test_foils_have_the_step_of_larch(name, e0, step, allowed):
    scan = xas.mu(bl.open(datasets.path("xdi_standards") / f"{name}.xdi"), mode="transmission")
    found = schema.check(xas.mback(xas.normalize(scan)))
    assert float(found.edge_step) == pytest.approx(step, rel=allowed)
    assert abs(float(found.edge_step) - step) < 3 * float(found.edge_step_sigma)
    assert float(found.e0) == pytest.approx(e0, abs=0.5)


def test_gaps_are_left_out():
    series = planted(np.array([0.5, 0.5, 0.5]))
    series["mu"][1, 300:320] = np.nan
    series["mu"][2] = np.nan
    found = schema.check(xas.mback(series))
    assert float(found.edge_step[1]) == pytest.approx(float(found.edge_step[0]), rel=1e-6)
    assert np.isnan(found.edge_step[2])
    assert np.isnan(found.mu_norm[1]).sum() == 20


def test_sigma_of_the_spectrum_is_divided_by_the_step():
    series = planted(np.array([0.5, 1.0]))
    series["mu_sigma"] = quantity(("frame", "energy"), np.full(series.mu.shape, 0.01), "1", "1 sigma of mu")
    found = schema.check(xas.mback(series))
    np.testing.assert_allclose(found.mu_norm_sigma.mean("energy"), 0.01 / found.edge_step)


def test_doubtful_matches_are_told():
    with pytest.warns(UserWarning, match="58 eV above the edge"):
        xas.mback(planted(np.array([0.5]), span=(-200, 80)))
    series = planted(np.array([0.5])).assign(edge_step=quantity("frame", [99.0], "1", "edge step"))
    with pytest.warns(UserWarning, match="1 of 1 frames is more than 20% off"):
        xas.mback(series)


def test_what_cannot_be_matched_is_refused():
    scan = planted(0.5)
    assert schema.check(xas.mback(scan)).edge_step.dims == ()
    with pytest.raises(ValueError, match="element must be a chemical symbol, got 'Xx'"):
        xas.mback(scan, element="Xx")
    with pytest.raises(ValueError, match="edge must be one of K"):
        xas.mback(scan, edge="Q")
    with pytest.raises(ValueError, match="the Fe K edge lies at 7112"):
        xas.mback(scan, element="Fe")
    with pytest.raises(ValueError, match="order must be"):
        xas.mback(scan, order=9)
    with pytest.raises(ValueError, match="post must be"):
        xas.mback(scan, post=(5000, 6000))
    with pytest.raises(ValueError, match="does not rise"):
        xas.mback(scan.assign(mu=-scan.mu))
    with pytest.raises(SchemaError, match=r"run xas\.normalize first"):
        xas.mback(scan.drop_vars("e0"))
    with pytest.raises(DimensionError, match="energy"):
        xas.mback(scan.rename(energy="k"))
