"""Valences from a line through standards: planted, uncertain, real oxides, a charging cell."""

import warnings

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, schema, xas
from batlab.errors import SchemaError
from batlab.schema import quantity


def sample(e0, sigma=None):
    data = {"e0": quantity("frame", np.asarray(e0, float), "eV", "edge energy")}
    if sigma is not None:
        data["e0_sigma"] = quantity("frame", np.broadcast_to(sigma, np.shape(e0)).astype(float), "eV", "1 sigma")
    return xr.Dataset(data, {"frame": quantity("frame", np.arange(len(e0)), "1", "frame")})


def test_on_an_exact_line_the_valence_is_exact():
    standards = {"MnO": (2, 6544.0), "Mn2O3": (3, 6548.0), "MnO2": (4, 6552.0)}
    series = sample([6545.0, 6551.0], 0.2)
    before = series.copy(deep=True)
    found = schema.check(xas.valence(series, standards))
    xr.testing.assert_identical(series, before)
    np.testing.assert_allclose(found.valence, [2.25, 3.75], atol=1e-6)
    np.testing.assert_allclose(found.valence_precision, 0.05)
    assert found.attrs["slope"] == pytest.approx(4.0)
    assert found.attrs["intercept"] == pytest.approx(6536.0)
    assert found.attrs["standards"] == "MnO 2, Mn2O3 3, MnO2 4"
    assert "xas.valence(" in found.attrs["history"]


def test_the_fit_is_the_textbook_weighted_line():
    """Covariance against numpy's own weighted polynomial fit (cov="unscaled"), where no extra scatter is needed."""
    valence = np.array([0.0, 2.0, 2.67, 3.0, 4.0])
    sigma = np.array([0.3, 0.2, 0.4, 0.1, 0.2])
    energy = 7000 + 2.5 * valence + 0.3 * sigma * np.array([1, -1, 1, 1, -1])
    found = xas.valence(
        sample([7005.0]), {str(i): (v, (e, s)) for i, (v, e, s) in enumerate(zip(valence, energy, sigma))}
    )
    (slope, intercept), cov = np.polyfit(valence, energy, 1, w=1 / sigma, cov="unscaled")
    assert found.attrs["calibration_scatter"] == 0
    assert found.attrs["slope"] == pytest.approx(slope, rel=1e-9)
    assert found.attrs["slope_sigma"] == pytest.approx(np.sqrt(cov[0, 0]), rel=1e-6)
    assert found.attrs["intercept_sigma"] == pytest.approx(np.sqrt(cov[1, 1]), rel=1e-6)
    at = (7005.0 - intercept) / slope
    spread = np.sqrt(np.array([at, 1]) @ cov @ np.array([at, 1])) / slope
    assert float(found.valence_sigma[0]) == pytest.approx(spread, rel=1e-6)


@pytest.mark.parametrize("n", [4, 8])
def test_sigma_covers_the_truth(n):
    """Standards and samples that scatter alike about the line: the truth lies within 1 σ in about 68 of 100."""
    rng = np.random.default_rng(n)
    inside = []
    for _ in range(200):
        valence = np.linspace(2, 4, n)
        energy = 6536 + 4 * valence + 0.5 * rng.normal(size=n)
        true = 3.2
        measured = 6536 + 4 * true + 0.5 * rng.normal() + 0.1 * rng.normal()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a sample may by chance lie beyond the standards
            found = xas.valence(
                sample([measured], 0.1), {str(i): (v, (e, 0.05)) for i, (v, e) in enumerate(zip(valence, energy))}
            )
        inside.append(abs(float(found.valence[0]) - true) < float(found.valence_sigma[0]))
    assert 0.58 < np.mean(inside) < 0.78


def test_errors_in_valence_count_with_the_slope():
    plain = {"a": (2, (6544.0, 0.4)), "b": (3, (6548.0, 0.4)), "c": (4, (6552.0, 0.4))}
    both = {"a": (2, (6544.0, 0.0), 0.1), "b": (3, (6548.0, 0.0), 0.1), "c": (4, (6552.0, 0.0), 0.1)}
    first, second = (xas.valence(sample([6547.0]), one) for one in (plain, both))
    assert float(first.valence_sigma[0]) == pytest.approx(float(second.valence_sigma[0]), rel=1e-6)
    assert float(first.valence_sigma[0]) > 0.05


def test_a_dataset_of_standards_serves_as_well():
    table = sample([6544.0, 6548.5, 6552.0], 0.1).assign(valence=quantity("frame", [2.0, 3.0, 4.0], "1", "valence"))
    found = xas.valence(sample([6547.0]), table)
    again = xas.valence(sample([6547.0]), {"a": (2, (6544.0, 0.1)), "b": (3, (6548.5, 0.1)), "c": (4, (6552.0, 0.1))})
    assert float(found.valence[0]) == float(again.valence[0])


def test_doubt_is_told():
    three = {"MnO": (2, 6544.0), "Mn2O3": (3, 6548.2), "MnO2": (4, 6552.0)}
    with pytest.warns(UserWarning, match=r"1 of 2 frames lie beyond the standards \(2 to 4\), at 3.00 to 4.50"):
        xas.valence(sample([6548.0667, 6554.066]), three)
    with pytest.warns(UserWarning, match="two standards tell nothing"):
        xas.valence(sample([6546.0]), {"MnO": (2, 6544.0), "MnO2": (4, 6552.0)})
    with pytest.warns(UserWarning, match=r"slope of the calibration is 0\.2"):
        xas.valence(sample([6546.0]), {"a": (2, 6545.0), "b": (3, 6547.6), "c": (4, 6545.4)})
    gap = xas.valence(sample([6546.0, np.nan]), three)
    assert np.isnan(gap.valence[1])


def half_steps(folder, names, **windows):
    """Edge energies at half of the step of transmission standards."""
    found = {}
    for name, charge in names.items():
        scan = xas.mu(bl.open(datasets.path("xdi_standards") / folder / f"{name}.xdi"), mode="transmission")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oxides with shoulders rise through one half more than once
            found[name] = (charge, xas.edge_energy(scan, method="half_step", **windows))
    return found


MANGANESE = {"MnO_rt_01": 2, "Mn3O4_rt_01": 8 / 3, "Mn2O3_rt_01": 3, "MnO2_rt_01": 4}
IRON = {"FeO_rt_01": 2, "Fe3O4_rt_01": 8 / 3, "Fe2O3_rt_01": 3}


@pytest.mark.parametrize(
    ("folder", "oxides", "left_out"),
    [("Mn", MANGANESE, "Mn3O4_rt_01"), ("Mn", MANGANESE, "Mn2O3_rt_01"), ("Fe", IRON, "Fe3O4_rt_01")],
)
def test_a_real_oxide_is_told_by_the_others(folder, oxides, left_out):
    windows = {"pre": (-24, -9), "post": (30, 84)} if folder == "Mn" else {}
    standards = half_steps(folder, oxides, **windows)
    charge, unknown = standards.pop(left_out)
    if len(standards) > 2:
        found = schema.check(xas.valence(unknown, standards))
        assert abs(float(found.valence) - charge) < 2 * float(found.valence_sigma)
    else:
        with pytest.warns(UserWarning, match="two standards"):
            found = schema.check(xas.valence(unknown, standards))
    assert float(found.valence) == pytest.approx(charge, abs=0.35)
    assert 2 < found.attrs["slope"] < 5  # eV per unit of valence


def test_nickel_rises_as_lithium_nickel_oxide_is_charged():
    """ROCK: from near 3 towards 4 as lithium leaves, on a line through the ends of the first charge."""
    series = bl.open(datasets.path("lno_rock") / "XAS_normalized" / "*.txt", timezone="Europe/Paris")
    edges = xas.edge_energy(series, method="half_step")
    with pytest.warns(UserWarning, match=r"two standards|beyond the standards"):
        found = schema.check(xas.valence(edges, {"pristine": (3.0, 8344.8), "charged": (3.9, 8346.2)}))
    assert float(found.valence.max() - found.valence.min()) == pytest.approx(0.9, abs=0.15)
    assert found.sizes["frame"] == series.sizes["frame"]
    assert "time" in found.coords


def test_what_does_not_fit_is_refused():
    series = sample([6546.0])
    with pytest.raises(SchemaError, match=r"run xas\.edge_energy"):
        xas.valence(series.rename(e0="x"), {"a": (2, 1.0), "b": (3, 2.0)})
    with pytest.raises(ValueError, match=r"at least two valences, got \[2.0\]"):
        xas.valence(series, {"a": (2, 6544.0), "b": (2, 6545.0)})
    with pytest.raises(ValueError, match="standard 'a' must be"):
        xas.valence(series, {"a": 2, "b": (2, 6545.0)})
    with pytest.raises(TypeError, match="standards must be a mapping"):
        xas.valence(series, [2, 3])
    other = sample([6544.0]).assign_attrs(e0_method="derivative")
    with pytest.raises(ValueError, match="with one method"):
        xas.valence(series.assign_attrs(e0_method="half_step"), {"a": (2, other), "b": (3, 6548.0)})
    with pytest.raises(SchemaError, match="'valence' over"):
        xas.valence(series, series)


def test_standards_that_say_nothing_are_named():
    series = sample([6546.0])
    with pytest.raises(ValueError, match=r"sigma of a standard must be finite .* for 'Mn2O3'"):
        xas.valence(series, {"MnO": (2, 6544.0), "Mn2O3": (3, (6548.0, np.nan)), "MnO2": (4, 6552.0)})
    with pytest.raises(ValueError, match="all standards have the energy 6548: nothing tells valences apart"):
        xas.valence(series, {"MnO": (2, 6548.0), "Mn2O3": (3, 6548.0), "MnO2": (4, 6548.0)})
    with pytest.warns(UserWarning, match="standards without a number are left out: Mn3O4"):
        found = xas.valence(
            series, {"MnO": (2, 6544.0), "Mn3O4": (2.67, np.nan), "Mn2O3": (3, 6548.0), "MnO2": (4, 6552.0)}
        )
    np.testing.assert_allclose(found.valence, [2.5], atol=1e-6)
