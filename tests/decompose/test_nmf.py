"""Non-negative factors: as good as scikit-learn's, planted factors returned, the same every time, broken input."""

import numpy as np
import pytest
import xarray as xr

from batlab.decompose import nmf
from batlab.schema import check, quantity


def series(noise=0.01, separate=False):
    rng = np.random.default_rng(5)
    x = np.linspace(0, 1, 80)
    pure = np.stack([np.exp(-0.5 * ((x - c) / (0.03 if separate else 0.12)) ** 2) for c in (0.25, 0.5, 0.75)])
    parts = rng.dirichlet([1, 1, 1], 40)
    if separate:  # with a frame of each species alone the answer is the only one
        parts[[3, 11, 29]] = np.eye(3)
    values = np.maximum(parts @ pure + rng.normal(0, noise, (40, 80)), 0)
    coords = {"q": quantity("q", x + 1.0, "1/angstrom", "scattering vector")}
    return xr.DataArray(quantity(("frame", "q"), values, "1", "intensity"), coords, name="intensity"), parts, pure


def test_it_fits_as_well_as_scikit_learn():
    found = check(nmf(series()[0], 3))
    # scikit-learn 1.9.1, NMF(3, tol=1e-9, max_iter=20000), init nndsvda and random: 0.0258836 both.
    assert found.attrs["relative_error"] == pytest.approx(0.0258836, rel=1e-4)
    assert found.attrs["is_converged"] == 1
    assert (found.concentration >= 0).all()
    assert (found.spectra >= 0).all()
    np.testing.assert_allclose(found.spectra.max("q"), 1.0)
    assert (np.diff(found.share) <= 0).all()
    assert found.share.sum() == pytest.approx(1.0)


def test_planted_factors_of_separate_lines_are_returned():
    data, parts, pure = series(noise=0.0, separate=True)
    found = nmf(data, 3)
    order = np.argsort(found.spectra.values.argmax(axis=1))
    np.testing.assert_allclose(found.spectra.values[order], pure / pure.max(axis=1, keepdims=True), atol=5e-3)
    np.testing.assert_allclose(found.concentration.values[:, order], parts * pure.max(axis=1), atol=5e-3)


def test_the_same_data_give_the_same_bits_and_stay_as_they_are():
    data, _, _ = series()
    kept = data.copy(deep=True)
    one, other = nmf(data, 3), nmf(data, 3)
    assert one.spectra.values.tobytes() == other.spectra.values.tobytes()
    xr.testing.assert_identical(data, kept)


def test_the_fit_never_gets_worse_with_passes():
    errors = []
    for most in (1, 3, 10, 100):
        with pytest.warns(UserWarning, match="has not converged"):
            errors.append(nmf(series()[0], 3, max_iterations=most, tolerance=1e-12).attrs["relative_error"])
    assert (np.diff(errors) <= 0).all()


def test_gaps_and_negative_values():
    data, _, _ = series()
    data[3], data[:, 4] = np.nan, np.nan
    found = check(nmf(data, 3))
    assert np.isnan(found.concentration[3]).all()
    assert np.isnan(found.spectra[:, 4]).all()
    shifted = series()[0] - 0.15
    with pytest.warns(UserWarning, match="below zero as zero"):
        nmf(shifted, 2)
    with pytest.raises(ValueError, match="not negative"):
        nmf(-series()[0], 2)


@pytest.mark.parametrize("words", [{"n_components": 0}, {"n_components": 41}, {"n_components": 2, "max_iterations": 0}])
def test_numbers_out_of_range_are_refused(words):
    with pytest.raises(ValueError, match="must be a whole number"):
        nmf(series()[0], **words)


def test_a_tolerance_out_of_range_is_refused():
    with pytest.raises(ValueError, match="tolerance"):
        nmf(series()[0], 2, tolerance=0.0)
