"""Purest variables: planted pure points and frames, the determinants written out, offset, broken input."""

import numpy as np
import pytest
import xarray as xr

from batlab.decompose import simplisma
from batlab.schema import check, quantity


def series(n_frames=25, noise=0.0, seed=0, axis="energy", units="eV"):
    """Return three overlapping bands, each with a point of its own (5, 30, 55), in parts that vary."""
    rng = np.random.default_rng(seed)
    x = np.arange(61.0)
    pure = np.stack([np.maximum(1 - np.abs(x - centre) / 14, 0.0) for centre in (5, 30, 55)])
    pure[1] += 0.5 * np.maximum(1 - np.abs(x - 17) / 4, 0.0)
    parts = rng.dirichlet([1, 1, 1], n_frames)
    parts[[2, 9, 17]] = np.eye(3)
    values = parts @ pure + rng.normal(0, noise, (n_frames, 61))
    coords = {axis: quantity(axis, x + 100.0, units, axis)}
    return xr.DataArray(quantity(("frame", axis), values, "1", "absorption"), coords, name="mu"), parts, pure


@pytest.mark.parametrize("pure", ["axis", "frame"])
def test_planted_pure_points_and_frames_give_the_truth(pure):
    data, parts, spectra = series()
    found = check(simplisma(data, 3, pure=pure, offset=0.01))
    np.testing.assert_allclose(found.residual_rms, 0, atol=1e-10)
    if pure == "frame":
        assert sorted(found.pure_index.values.tolist()) == [2, 9, 17]
        order = np.argsort(found.pure_index.values)
        np.testing.assert_allclose(found.spectra.values[order], spectra, atol=1e-10)
        np.testing.assert_allclose(found.concentration.values[:, order], parts, atol=1e-8)
    else:
        order = np.argsort(found.pure_value.values)
        scale = spectra[np.arange(3), found.pure_index.values[order]]
        np.testing.assert_allclose(found.concentration.values[:, order], parts * scale, atol=1e-10)
        np.testing.assert_allclose(found.spectra.values[order], spectra / scale[:, None], atol=1e-8)
        assert (np.abs(found.pure_value - 100 - found.pure_index) < 1e-12).all()


def test_purity_is_the_published_determinant():
    data, _, _ = series(noise=0.01)
    found = simplisma(data, 3, offset=0.05)
    values = data.values
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    alpha = 0.05 * mean.max()
    scaled = values / np.sqrt(mean**2 + (deviation + alpha) ** 2)
    correlation = scaled.T @ scaled / len(values)
    chosen = found.pure_index.values.tolist()
    for step in range(3):
        for point in (0, 17, 30, 50):
            members = [point, *chosen[:step]]
            weight = np.linalg.det(correlation[np.ix_(members, members)])
            expected = weight * deviation[point] / (mean[point] + alpha)
            assert float(found.purity[step, point]) == pytest.approx(expected, abs=1e-12)


def test_the_offset_keeps_noise_from_looking_pure():
    data, _, _ = series()
    data[:, 35:40] = np.random.default_rng(0).exponential(0.003, (25, 5))
    small, large = (simplisma(data, 1, offset=one).pure_index.item() for one in (1e-6, 0.1))
    mean = data.values.mean(axis=0)
    assert mean[large] > 0.1 * mean.max()
    assert mean[small] < 0.05 * mean.max()


def test_diffraction_patterns_and_gaps_work_too():
    data, _, _ = series(axis="two_theta", units="degree")
    data[4], data[:, 10] = np.nan, np.nan
    found = check(simplisma(data, 3, offset=0.01))
    assert found.pure_value.attrs["units"] == "degree"
    assert np.isnan(found.concentration[4]).all()
    assert np.isnan(found.spectra[:, 10]).all()
    assert (found.pure_index != 10).all()


def test_wrong_input_is_refused():
    data, _, _ = series()
    with pytest.raises(ValueError, match="did you mean 'frame'"):
        simplisma(data, 2, pure="frames")
    for words in ({"offset": 0.0}, {"offset": 2.0}):
        with pytest.raises(ValueError, match="offset"):
            simplisma(data, 2, **words)
    with pytest.raises(ValueError, match="n_components must be"):
        simplisma(data, 26)
    with pytest.raises(ValueError, match="finds 3 independent variables, asked for 4"):
        simplisma(data, 4)
    with pytest.raises(ValueError, match="not negative"):
        simplisma(-data, 2)
    shifted = data.copy(deep=True)
    shifted[:, 0] = -5.0
    with pytest.warns(UserWarning, match="1 means lie below zero"):
        simplisma(shifted, 2)
