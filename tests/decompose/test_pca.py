"""Principal components: against the singular value decomposition, planted mixtures, the gold series, broken input."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab.decompose import pca
from batlab.decompose.table import as_table
from batlab.errors import DimensionError
from batlab.schema import check, quantity


def table(values, axis="energy", units="eV"):
    values = np.asarray(values)
    coords = {
        "frame": quantity("frame", np.arange(len(values)), "1", "frame"),
        "time": quantity("frame", np.datetime64("2024-01-01", "ns") + np.arange(len(values)), "1", "time"),
        axis: quantity(axis, 1.0 + np.arange(values.shape[1]), units, axis),
    }
    return xr.DataArray(quantity(("frame", axis), values, "1", "absorption"), coords, name="mu_norm")


def mixture(n_frames=20, n_points=50, n=3, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n), n_frames) @ rng.uniform(size=(n, n_points)) + rng.normal(
        0, noise, (n_frames, n_points)
    )


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_it_is_the_singular_value_decomposition(center, shape):
    values = mixture(*shape)
    found = check(pca(table(values), center=center))
    mean = values.mean(axis=0) if center else 0.0
    singular = np.linalg.svd(values - mean, compute_uv=False)[: found.sizes["component"]]
    np.testing.assert_allclose(found.singular_value, singular, rtol=1e-9)
    np.testing.assert_allclose(found.explained_variance_ratio.sum(), 1, rtol=1e-9)
    loadings, scores = found.loadings.values, found.scores.values
    np.testing.assert_allclose(loadings @ loadings.T, np.eye(len(loadings)), atol=1e-8)
    np.testing.assert_allclose(scores @ loadings + found.mean_spectrum.values, values, atol=1e-10)
    np.testing.assert_allclose(found.residual_rms, 0, atol=1e-7)
    assert (loadings[np.arange(len(loadings)), np.abs(loadings).argmax(axis=1)] > 0).all()
    assert found.attrs["is_centered"] == int(center)
    assert f"center={center}" in found.attrs["history"]


@pytest.mark.parametrize("shape", [(12, 60), (60, 12)])
def test_small_singular_values_survive_the_squaring(shape):
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.normal(size=(size, 4)))[0] for size in shape)
    planted = np.array([1.0, 1e-3, 1e-8, 1e-11])
    found = pca(table(left * planted @ right.T), 4, center=False)
    np.testing.assert_allclose(found.singular_value, planted, rtol=1e-3)
    assert np.abs(found.loadings.values @ right).max(axis=1).min() > 0.999


def test_a_mixture_of_constant_sum_has_one_component_less_when_centred():
    values = table(mixture(noise=0.0))
    assert pca(values, 3, center=True).explained_variance_ratio[2] < 1e-12
    assert pca(values, 3, center=False).explained_variance_ratio[2] > 1e-5


def test_scale_and_order_of_frames_do_not_matter():
    values = mixture()
    order = np.random.default_rng(0).permutation(len(values))
    one, other = pca(table(values), 3), pca(table(7.0 * values[order]), 3)
    np.testing.assert_allclose(other.loadings, one.loadings, atol=1e-9)
    np.testing.assert_allclose(other.scores, 7.0 * one.scores.values[order], atol=1e-9)


def test_gaps_cost_a_frame_or_a_point_and_are_told():
    values = mixture()
    values[3], values[5, 7] = np.nan, np.nan
    kept = values.copy()
    data = table(values)
    found = check(pca(data, 2))
    np.testing.assert_array_equal(values, kept)
    assert np.isnan(found.scores[3]).all()
    assert np.isnan(found.loadings[:, 7]).all()
    assert np.isfinite(found.scores.drop_isel(frame=3)).all()
    clean = np.delete(np.delete(values, 3, 0), 7, 1)
    np.testing.assert_allclose(found.singular_value, pca(table(clean), 2).singular_value)
    values[0, :20] = np.nan
    with pytest.warns(UserWarning, match="leaves out 20 of 50 points of 'energy'"):
        pca(table(values), 2)
    values[:, :-1] = np.nan
    with pytest.raises(ValueError, match="two points of 'energy'"):
        pca(table(values), 2)


def test_any_axis_will_do_and_what_belongs_to_frames_comes_along():
    found = check(pca(table(mixture(), "two_theta", "degree"), 2))
    assert found.loadings.dims == ("component", "two_theta")
    assert "time" in found.coords
    dataset = table(mixture()).to_dataset().assign(mu=table(mixture()).rename("mu"))
    assert pca(dataset, 2, of="mu").loadings.dims == ("component", "energy")
    lazy = table(mixture()).chunk({"frame": 7})
    np.testing.assert_array_equal(pca(lazy, 2).scores, pca(table(mixture()), 2).scores)
    single = table(mixture().astype(np.float32))
    assert pca(single, 2).scores.dtype == np.float64


def test_wrong_input_is_refused_with_what_to_do():
    data = table(mixture())
    with pytest.raises(ValueError, match="n_components must be a whole number from 1 to 19"):
        pca(data, 20)
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match="n_components"):
            pca(data, n)
    with pytest.raises(DimensionError, match="at least 2 frames"):
        pca(data[:1], 1)
    with pytest.raises(DimensionError, match="needs a table over"):
        pca(data.rename(frame="y"), 1)
    with pytest.raises(ValueError, match="name it with of="):
        pca(data.to_dataset().assign(mu=data.rename("mu")), 1)
    with pytest.raises(ValueError, match="did you mean 'mu_norm'"):
        pca(data.to_dataset(), 1, of="mu_nrm")
    with pytest.raises(TypeError, match="got ndarray"):
        pca(data.values, 1)
    with pytest.raises(ValueError, match="real numbers"):
        pca(data.astype(complex), 1)
    with pytest.warns(UserWarning, match="does not vary"):
        pca(data * 0.0 + 1.0, 1)


def test_a_table_is_not_copied_where_it_need_not_be():
    data = table(mixture())
    assert np.shares_memory(as_table(data).values, data.values)
    assert as_table(data[0]).is_single


def test_two_components_explain_the_centred_nickel_series():
    from batlab import datasets, io

    files = sorted((datasets.path("lno_rock") / "XAS_normalized").glob("*.txt"))[::12]
    series = io.open(files, timezone="Europe/Paris")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check(pca(series, 2, of="mu"))
    # The issue: two components explain at least 99.5 % of the centred variance.
    assert found.explained_variance_ratio.sum() >= 0.995


@pytest.mark.data
def test_singular_values_of_the_gold_series(gold):
    found = check(pca(gold.unknowns(gold.spectra), 4, center=False))
    # numpy's SVD of larch 2026.3.1's groups2matrix (norm, 11870 to 12030 eV), not centred.
    np.testing.assert_allclose(found.singular_value, [26.996, 0.5386, 0.1258, 0.0637], atol=1e-3)


def test_frames_with_grids_of_their_own_are_refused():
    series = table(mixture()).drop_vars("energy").to_dataset()
    own = quantity(("frame", "energy"), np.arange(1000.0).reshape(20, 50), "eV", "energies of each frame")
    with pytest.raises(DimensionError, match=r"got 'energy_measured'; bring them onto one with xas\.rebin"):
        pca(series.assign_coords(energy_measured=own))
    with pytest.raises(DimensionError, match=r"xas\.rebin"):
        pca(series.assign_coords(energy_measured=own)["mu_norm"])
