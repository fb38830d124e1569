"""Target transformation: planted species pass, others fail, the formulas written out, the gold references."""

import numpy as np
import pytest
import xarray as xr

from batlab.decompose import target_transform
from batlab.errors import DimensionError
from batlab.schema import check, quantity


def spectrum(values):
    coords = {"energy": quantity("energy", np.arange(len(values)) + 1.0, "eV", "energy")}
    return xr.DataArray(quantity("energy", values, "1", "absorption"), coords, name="mu")


def series(noise=0.01, n_frames=30, seed=0):
    rng = np.random.default_rng(seed)
    pure = rng.uniform(size=(4, 80))
    values = rng.dirichlet([1, 1, 1], n_frames) @ pure[:3] + rng.normal(0, noise, (n_frames, 80))
    coords = {"energy": quantity("energy", np.arange(80) + 1.0, "eV", "energy")}
    data = xr.DataArray(quantity(("frame", "energy"), values, "1", "absorption"), coords, name="mu")
    return data, {name: spectrum(one) for name, one in zip("abcd", pure)}


@pytest.mark.parametrize("seed", range(4))
def test_species_of_the_series_pass_and_strangers_fail(seed):
    data, targets = series(seed=seed)
    found = check(target_transform(data, targets, 3))
    assert found.target.values.tolist() == list("abcd")
    assert (found.spoil[:3] < 3).all()
    assert found.spoil[3] > 6
    assert found.reading[3] == "unacceptable"
    assert (found.r_factor[:3] < 1e-3).all()
    assert found.r_factor[3] > 0.02
    assert found.attrs["real_error"] == pytest.approx(0.01, rel=0.1)


def test_the_formulas_as_published():
    data, targets = series(n_frames=12)
    found = target_transform(data, targets, 3)
    _, s, v = np.linalg.svd(data.values, full_matrices=False)
    re = np.sqrt((s[3:] ** 2).sum() / (80 * (12 - 3)))
    aim = targets["d"].values
    predicted = v[:3].T @ (v[:3] @ aim)
    aet = np.sqrt(((aim - predicted) ** 2).sum() / (80 - 3))
    rep = re * np.linalg.norm(v[:3] @ aim / s[:3])
    assert found.apparent_error[3].item() == pytest.approx(aet)
    assert found.predictor_error[3].item() == pytest.approx(rep)
    assert found.target_error[3].item() == pytest.approx(np.sqrt(aet**2 - rep**2))
    assert found.spoil[3].item() == pytest.approx(np.sqrt(aet**2 - rep**2) / rep)
    np.testing.assert_allclose(found.predicted[3], predicted)


def test_a_table_of_components_is_taken_as_targets():
    data, targets = series()
    table = xr.concat(list(targets.values()), "component").assign_coords(
        component=quantity("component", np.arange(4), "1", "component")
    )
    found = check(target_transform(data, table, 3))
    np.testing.assert_allclose(found.spoil, target_transform(data, targets, 3).spoil)


def test_missing_points_of_a_target_are_left_out():
    data, targets = series()
    targets["a"][7] = np.nan
    found = target_transform(data, targets, 3)
    assert np.isnan(found.predicted[:, 7]).all()
    assert (found.spoil[:3] < 3).all()


def test_wrong_input_is_refused():
    data, targets = series()
    with pytest.raises(ValueError, match="n_components must be a whole number from 1 to 29"):
        target_transform(data, targets, 30)
    with pytest.raises(DimensionError, match="equal 'energy' grids"):
        target_transform(data, {"a": targets["a"][:-1]}, 3)
    with pytest.raises(DimensionError, match="needs references over 'energy'"):
        target_transform(data, {"a": targets["a"].rename(energy="q")}, 3)
    with pytest.raises(ValueError, match="at least one reference"):
        target_transform(data, {}, 3)


@pytest.mark.data
def test_the_foil_belongs_to_the_gold_series_and_the_sulphide_less(gold):
    unknowns = gold.unknowns(gold.spectra)
    energy = unknowns.energy.values
    targets = {name: gold.on_grid(gold.spectra[name], energy) for name in gold.REFERENCES}
    found = check(target_transform(unknowns, targets, 4))
    assert found.r_factor.sel(component=0) < found.r_factor.sel(component=2)
