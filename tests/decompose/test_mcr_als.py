"""MCR-ALS: planted series come back, constraints hold, wrong input is refused."""

import importlib.util
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import nnls

from batlab.decompose import Constraints, MCRResult, mcr_als
from batlab.decompose.augment import noise, principal
from batlab.decompose.constraints import nearest_unimodal, solved
from batlab.errors import DimensionError
from batlab.schema import check, quantity

_spec = importlib.util.spec_from_file_location("batlab_planted", Path(__file__).with_name("planted.py"))
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)
CLOSED = planted.CLOSED


@pytest.fixture(scope="module")
def nickel():
    return planted.planted(0)


@pytest.fixture(scope="module")
def lines():
    """Lines with frames of every pure component: what selectivity makes unique."""
    axis, spectra = planted.lines()
    spectra = spectra - 0.05
    content = np.random.default_rng(3).dirichlet([0.6, 0.6, 0.6], 90)
    content[:3] = np.eye(3)
    return planted.planted(1, 1e-3, content, spectra, axis, name="r", units="angstrom")


def _aligned(found, truth):
    orders = list(permutations(range(truth.shape[1])))
    return min(orders, key=lambda order: np.abs(found[:, order] - truth).sum())


def test_a_planted_series_is_fitted_to_its_noise(nickel):
    before = nickel.series.copy(deep=True)
    result = mcr_als(nickel.series, 3, constraints=CLOSED)
    data = check(result.dataset)
    xr.testing.assert_identical(nickel.series, before)
    exact = 100 * np.linalg.norm(nickel.series.values - nickel.concentration @ nickel.spectra)
    expected = exact / np.linalg.norm(nickel.series.values)
    # The true lack of fit, less what 3 free components take of the noise: (1 - 3/60)(1 - 3/101).
    assert data.attrs["lack_of_fit"] == pytest.approx(expected * np.sqrt(57 / 60 * 98 / 101), rel=0.01)
    assert data.attrs["lack_of_fit_pca"] < 0.2 * expected
    assert data.attrs["explained_variance"] == pytest.approx(100 - data.attrs["lack_of_fit"] ** 2 / 100, rel=1e-9)
    assert (np.diff(data.attrs["convergence"]) < 1e-9).all()
    assert data["concentration"].dims == ("frame", "component")
    assert data["spectra"].dims == ("component", "energy")
    assert np.allclose(data["concentration"].sum("component"), 1, atol=1e-9)
    assert float(data["concentration"].min()) >= 0
    assert float(data["spectra"].min()) >= 0
    assert "decompose.mcr_als(n_components=3" in data.attrs["history"]


def test_pure_frames_make_the_answer_unique(lines):
    result = mcr_als(lines.series, 3, constraints=CLOSED)
    found = result.dataset["concentration"].values
    order = _aligned(found, lines.concentration)
    assert np.sqrt(np.mean((found[:, order] - lines.concentration) ** 2)) < 5e-3
    assert np.abs(result.dataset["spectra"].values[list(order)] - lines.spectra).max() < 0.03


@pytest.mark.parametrize("init", ["pca", "simplisma", "efa"])
def test_every_start_reaches_the_noise(nickel, init):
    result = mcr_als(nickel.series, 3, init=init, constraints=CLOSED)
    assert result.dataset.attrs["lack_of_fit"] < 0.105
    assert "converged" in result.dataset.attrs["stop_reason"]


def test_given_starts_are_used_as_they_are(nickel):
    spectra = mcr_als(nickel.series, 3, init=nickel.spectra, constraints=CLOSED)
    shares = mcr_als(nickel.series, 3, init=nickel.concentration, constraints=CLOSED)
    for result in (spectra, shares):
        assert np.abs(result.dataset["concentration"].values - nickel.concentration).max() < 0.05


def test_same_fit_as_scipy_row_by_row(lines):
    spectra = np.abs(lines.spectra)
    free = np.full((len(lines.series), 3), np.nan)
    ours = solved(spectra @ spectra.T, lines.series.values @ spectra.T, True, free)
    theirs = np.array([nnls(spectra.T, row)[0] for row in lines.series.values])
    assert np.allclose(ours, theirs, atol=1e-9)


def test_known_profiles_stay_as_given(nickel):
    column = np.full(60, np.nan)
    column[[0, 59]] = 1.0, 0.0
    known = Constraints(closure=1, known_spectra={2: nickel.spectra[2]}, known_concentration={0: column})
    data = mcr_als(nickel.series, 3, constraints=known).dataset
    assert np.array_equal(data["spectra"].values[2], nickel.spectra[2])
    assert (data["concentration"].values[0, 0], data["concentration"].values[59, 0]) == (1.0, 0.0)
    assert np.allclose(data["concentration"].sum("component"), 1, atol=1e-9)
    held = xr.DataArray(nickel.spectra[1], dims="energy", coords={"energy": planted.ENERGY + 1e-9})
    with pytest.raises(DimensionError, match="grid of 'energy' exactly"):
        mcr_als(nickel.series, 3, constraints=Constraints(known_spectra={1: held}))


def test_closure_to_another_sum_scales_the_spectra(nickel):
    total = np.linspace(1, 2, 60)
    series = planted.table(nickel.series.values * total[:, None])
    data = mcr_als(series, 3, constraints=Constraints(closure=total)).dataset
    assert np.allclose(data["concentration"].sum("component"), total, atol=1e-9)


def test_unimodal_profiles_have_one_peak(nickel):
    data = mcr_als(nickel.series, 3, constraints=Constraints(closure=1, unimodal=[0, 1, 2])).dataset
    for column in data["concentration"].values.T:
        top = int(np.argmax(column))
        assert (np.diff(column[: top + 1]) >= -1e-12).all()
        assert (np.diff(column[top:]) <= 1e-12).all()
    assert np.allclose(data["concentration"].sum("component"), 1, atol=1e-3)


def test_the_nearest_unimodal_column_is_the_best_of_all_cuts():
    from scipy.optimize import isotonic_regression

    column = np.random.default_rng(0).normal(size=25).cumsum()

    def cost(cut):
        rising = isotonic_regression(column[:cut]).x if cut else column[:0]
        falling = isotonic_regression(column[cut:], increasing=False).x if cut < 25 else column[:0]
        return ((np.concatenate([rising, falling]) - column) ** 2).sum()

    assert ((nearest_unimodal(column) - column) ** 2).sum() == pytest.approx(min(map(cost, range(26))))


def test_series_that_share_spectra(nickel):
    second = planted.planted(7, concentration=planted.three_steps(40, 0.6))
    data = check(
        mcr_als({"charge": nickel.series, "discharge": second.series}, 3, constraints=CLOSED, share="spectra").dataset
    )
    assert data.sizes["frame"] == 100
    assert data["set"].values.tolist() == ["charge"] * 60 + ["discharge"] * 40
    assert data["spectra"].shape == (3, 101)
    with pytest.raises(DimensionError, match="one grid"):
        mcr_als({"a": nickel.series, "b": second.series.isel(energy=slice(50))}, 3, share="spectra")


def test_series_that_share_concentrations_weigh_by_their_noise(nickel):
    axis, spectra = planted.lines()
    other = planted.planted(2, 50.0, nickel.concentration, 1e4 * spectra, axis, name="r", units="angstrom")
    data = check(
        mcr_als({"xas": nickel.series, "pdf": other.series}, 3, constraints=CLOSED, share="concentrations").dataset
    )
    assert data["spectra_xas"].dims == ("component", "energy")
    assert data["spectra_pdf"].dims == ("component", "r")
    order = list(_aligned(data["concentration"].values, nickel.concentration))
    # Both blocks come back in their own units, and both fit to their own noise.
    for name, series, sigma in (("xas", nickel.series, 1e-3), ("pdf", other.series, 50.0)):
        rest = series.values - data["concentration"].values @ data[f"spectra_{name}"].values
        assert np.sqrt((rest**2).mean()) == pytest.approx(sigma, rel=0.06)
    assert np.abs(data["concentration"].values[:, order] - nickel.concentration).max() < 0.35


def test_frames_and_points_without_data_are_left_out(nickel):
    series = nickel.series.copy(deep=True)
    series[5] = np.nan
    series[:, 17] = np.nan
    data = check(mcr_als(series, 3, constraints=CLOSED).dataset)
    assert np.isnan(data["concentration"].values[5]).all()
    assert np.isnan(data["spectra"].values[:, 17]).all()
    assert np.isfinite(np.delete(data["concentration"].values, 5, axis=0)).all()
    assert data.attrs["lack_of_fit"] < 0.105


def test_the_result_says_what_was_done_and_that_bands_are_missing(nickel):
    result = mcr_als(nickel.series, 3, constraints=CLOSED)
    assert isinstance(result, MCRResult)
    said = str(result)
    for words in ("3 components of 60 frames x 101 points", "lack of fit", "closure to 1", "bands: not computed"):
        assert words in said
    table = check(result.to_table())
    assert table["is_single_valued"].values.tolist() == [0, 0, 0]
    assert np.isnan(table["widest"]).all()


def test_too_few_iterations_and_contradictions_warn(nickel):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mcr_als(nickel.series, 3, init="efa", max_iterations=2)
    assert any("max_iterations=2" in str(one.message) for one in caught)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mcr_als(nickel.series, 3, constraints=Constraints(closure=1, known_spectra={0: nickel.spectra[0] * 2}))
    assert any("contradict" in str(one.message) for one in caught)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"init": "simplism"}, ValueError, "did you mean 'simplisma'"),
        ({"constraints": {"closure": 1}}, TypeError, r"decompose\.Constraints"),
        ({"share": "spectra"}, ValueError, "needs several series"),
        ({"init": np.ones((2, 5))}, ValueError, "init must hold spectra"),
        ({"constraints": Constraints(known_spectra={3: np.ones(101)})}, ValueError, "0 to 2"),
        ({"constraints": Constraints(known_spectra={0: np.ones(7)})}, DimensionError, "101 points"),
        ({"constraints": Constraints(known_concentration={0: np.ones(7)})}, ValueError, "60 numbers"),
    ],
)
def test_wrong_words_are_refused(nickel, arguments, error, words):
    with pytest.raises(error, match=words):
        mcr_als(nickel.series, 3, **arguments)


def test_wrong_numbers_and_shapes_are_refused(nickel):
    for number in (0, 2.5, 60):
        with pytest.raises(ValueError, match="n_components must be"):
            mcr_als(nickel.series, number)
    with pytest.raises(DimensionError, match="at least 2 frames"):
        mcr_als(nickel.series.isel(frame=[0]), 1)
    with pytest.raises(ValueError, match="did you mean 'spectra'"):
        Constraints(non_negative=("spectrum",))
    with pytest.raises(ValueError, match="positive sum"):
        Constraints(closure=-1)


def test_one_component_is_a_profile_and_its_scale():
    axis, spectra = planted.lines()
    series = planted.planted(0, 1e-3, np.linspace(0.5, 2, 20)[:, None], spectra[:1], axis, name="r", units="angstrom")
    data = check(mcr_als(series.series, 1).dataset)
    product = data["concentration"].values @ data["spectra"].values
    assert np.abs(product - series.concentration @ series.spectra).max() < 5e-3


def test_principal_equals_the_singular_value_decomposition():
    rng = np.random.default_rng(0)
    for shape in ((30, 80), (80, 30)):
        values = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1])) + 1e-3 * rng.normal(size=shape)
        scores, loadings, left = principal(values, 3)
        sizes = np.linalg.svd(values, compute_uv=False)
        assert np.allclose(np.linalg.norm(scores, axis=0), sizes[:3], rtol=1e-9)
        assert np.allclose(loadings.T @ loadings, np.eye(3), atol=1e-9)
        assert left == pytest.approx((sizes[3:] ** 2).sum(), rel=1e-6)
        assert noise(values, 3) == pytest.approx(1e-3, rel=0.1)


def test_any_table_with_frames_will_do(lines):
    # The same call on a Dataset with several variables.
    other = quantity("frame", np.arange(90.0), "V", "voltage")
    data = xr.Dataset({"intensity": lines.series, "voltage": other})
    result = mcr_als(data, 3, of="intensity")
    assert "r" in result.dataset.dims
