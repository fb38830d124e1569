"""How many components: planted mixtures, the formulas of Malinowski written out, the gold series, disagreement."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import f as fisher

from batlab.decompose import rank
from batlab.errors import DimensionError
from batlab.schema import check, quantity


def planted(n_frames, n_points, n, noise, closed=False, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.dirichlet(np.ones(n), n_frames) if closed else rng.uniform(size=(n_frames, n))
    values = parts @ rng.uniform(size=(n, n_points)) + rng.normal(0, noise, (n_frames, n_points))
    coords = {"energy": quantity("energy", np.arange(n_points) + 1.0, "eV", "energy")}
    return xr.DataArray(quantity(("frame", "energy"), values, "1", "absorption"), coords, name="mu")


@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (200, 200), (40, 400)])
@pytest.mark.parametrize("n", [2, 4])
def test_a_planted_rank_is_found(shape, n):
    found = rank(planted(*shape, n, 0.01), center=False, noise=0.0104)
    votes = found.votes
    assert (votes["indicator"], votes["cross_validation"], votes["real_error"]) == (n, n, n)
    assert votes["f_test"] == n
    check(found.dataset)


@pytest.mark.parametrize("n", [2, 3])
def test_the_mean_counts_as_one_where_the_sum_is_constant(n):
    votes = rank(planted(50, 80, n, 0.005, closed=True), noise=0.0052).votes
    assert [votes[name] for name in ("indicator", "f_test", "cross_validation", "real_error")] == [n] * 4


def test_the_f_test_takes_fewer_spectra_than_points_and_more():
    for shape in ((8, 300), (300, 8)):
        assert rank(planted(*shape, 3, 1e-3), center=False).votes["f_test"] == 3


@pytest.mark.parametrize("center", [True, False])
def test_the_formulas_as_published(center):
    data = planted(10, 30, 3, 0.02)
    found = rank(data, center=center).dataset
    values = data.values - center * data.values.mean(axis=0)
    r, c = 30, 10 - center
    squares = np.linalg.svd(values, compute_uv=False)[:c] ** 2
    for n in range(1, c):
        real = np.sqrt(squares[n:].sum() / (r * (c - n)))
        row = found.sel(component=n + center)
        np.testing.assert_allclose(row.real_error, real, rtol=1e-8)
        np.testing.assert_allclose(row.indicator, real / (c - n) ** 2, rtol=1e-8)
        pooled = squares[n:].sum() / sum((r - j + 1) * (c - j + 1) for j in range(n + 1, c + 1))
        expected = squares[n - 1] / ((r - n + 1) * (c - n + 1)) / pooled
        np.testing.assert_allclose(row.f_value, expected, rtol=1e-8)
        np.testing.assert_allclose(row.f_significance, fisher.sf(expected, 1, c - n), rtol=1e-6)
        np.testing.assert_allclose(row.broken_stick, sum(1 / k for k in range(n, c + 1)) / c, rtol=1e-12)


def test_real_error_is_the_noise_and_cross_validation_a_little_more():
    found = rank(planted(300, 200, 3, 0.01), center=False).dataset.sel(component=3)
    assert float(found.real_error) == pytest.approx(0.01, rel=0.01)
    assert 0.01 < float(found.cv_error) < 0.0105


def test_cross_validation_is_the_block_formula_written_out():
    data = planted(6, 12, 2, 0.05)
    x, n = data.values, 2
    squares = 0.0
    for row in range(6):
        for part in range(4):
            held = np.arange(12) % 4 == part
            rest = np.delete(x, row, 0)
            u, s, v = np.linalg.svd(rest[:, ~held], full_matrices=False)
            inverse = (v[:n].T / s[:n]) @ u[:, :n].T
            squares += ((x[row, held] - x[row, ~held] @ inverse @ rest[:, held]) ** 2).sum()
    error = float(rank(data, center=False).dataset.cv_error.sel(component=n))
    assert error == pytest.approx(np.sqrt(squares / x.size), rel=1e-9)


def test_all_answers_and_their_disagreement_are_shown():
    text = str(rank(planted(40, 60, 3, 0.01), center=False, noise=0.0104))
    assert "IND (least): 3 (next" in text
    assert "F-test: 3 (at 5 %)" in text
    assert "broken stick: 1" in text
    assert "real error (noise reached): 3 (noise 0.0104)" in text
    assert "They disagree: 1 to 3." in text
    silent = rank(planted(40, 60, 3, 0.01))
    assert silent.votes["real_error"] is None
    assert "no answer (give noise=, or a series with sigma)" in str(silent)
    assert not silent.is_unanimous


def test_the_noise_is_taken_from_sigma():
    data = planted(40, 60, 3, 0.01)
    sigma = xr.full_like(data, 0.0104).rename("mu_sigma")
    dataset = xr.Dataset({"mu": data, "mu_sigma": sigma})
    assert rank(dataset, of="mu", center=False).votes["real_error"] == 3


def test_gaps_scale_and_order_do_not_matter():
    data = planted(30, 40, 3, 0.01)
    first = rank(data)
    gaps = data.copy(deep=True)
    gaps[4], gaps[:, 3] = np.nan, np.nan
    assert rank(gaps).dataset.attrs["n_frames"] == 29
    assert rank(data[::-1] * 1e6).votes == first.votes


def test_wrong_input_is_refused():
    data = planted(10, 20, 2, 0.01)
    for words in ({"significance": 0.0}, {"significance": 1.5}, {"noise": 0.0}, {"noise": -1.0}):
        with pytest.raises(ValueError, match=next(iter(words))):
            rank(data, **words)
    with pytest.raises(DimensionError, match="at least 3 frames"):
        rank(data[:2])
    with pytest.raises(ValueError, match="does not vary"):
        rank(data * 0 + 1)


@pytest.mark.data
def test_the_gold_series_has_four_components_by_ind(gold):
    found = rank(gold.unknowns(gold.spectra))
    check(found.dataset)
    # larch 2026.3.1: pca_train(...).nsig is 4; it takes the mean off too, and counts it.
    assert found.votes["indicator"] == 4
    assert "They disagree" in str(found)
