"""Edges: the kernels against their oracle, on grids and spectra made to break them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.edge import pre_edge, steepest

WINDOWS = np.array([-150.0, -30.0, 50.0, 700.0])


def grid(n=300, e0=8333.0):
    """Three regions, as a scan: coarse, fine about the edge, growing steps above."""
    below, near = np.arange(-200, -20, 6.0), np.arange(-20, 40, 0.4)
    above = 3.81 * np.linspace(3.25, 14.3, max(n - len(below) - len(near), 8)) ** 2
    return e0 + np.concatenate([below, near, above])


def spectra(n_frames=3, dtype=float, seed=0, level=1e-4):
    energy = grid()
    rng = np.random.default_rng(seed)
    e0 = 8333.0 + rng.uniform(-2, 2, n_frames)
    x = energy - e0[:, None]
    edge = 0.5 + np.arctan(x / 1.5) / np.pi + 0.4 * np.exp(-((x - 6) ** 2) / 8)
    mu = 0.7 * edge + 0.3 - 2e-4 * x + 1e-8 * x**2 + level * rng.normal(size=x.shape)
    return energy[None], mu.astype(dtype), np.full(mu.shape, level, dtype), e0


def both(energy, mu, sigma, e0, nnorm=2, nvict=0, windows=WINDOWS, rtol=1e-7):
    ours = pre_edge(energy, mu, sigma, e0, windows, nnorm, nvict, True, 1)
    oracle = reference.pre_edge(energy, mu, sigma, e0, windows, nnorm, nvict, True)
    rtol = 2e-6 if mu.dtype == np.float32 else rtol
    for one, other in zip(ours, oracle, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)
    found, wanted = (f(energy, mu, sigma, np.full(len(mu), 0.4)) for f in (steepest, reference.steepest))
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], wanted[:, 1], rtol=1e-3)
    return ours, found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nnorm", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("nvict", [0, 1, 4])
def test_they_equal_their_oracle(dtype, nnorm, nvict):
    both(*spectra(dtype=dtype), nnorm, nvict)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.02), st.integers(0, 5))
def test_they_equal_their_oracle_whatever_the_noise(seed, level, nnorm):
    both(*spectra(2, seed=seed, level=level), nnorm)


def test_a_grid_of_its_own_for_every_frame_gives_what_single_frames_give():
    energy, mu, sigma, e0 = spectra(4)
    own = np.repeat(energy, 4, axis=0)
    for f in range(4):
        own[f, 300 - 10 * f :] = np.nan
    together, found = both(own, mu, sigma, e0)
    for f in range(4):
        n = 300 - 10 * f
        one = own[f : f + 1, :n].copy(), mu[f : f + 1, :n].copy(), sigma[f : f + 1, :n].copy()
        for whole, part in zip(together[:4], pre_edge(*one, e0[f : f + 1], WINDOWS, 2)):
            np.testing.assert_array_equal(whole[f, :n], part[0])
        np.testing.assert_array_equal(found[f], steepest(*one, np.array([0.4]))[0])


def test_missing_points_are_skipped():
    energy, mu, sigma, e0 = spectra(3)
    mu[0, [0, 40, 120, -1]] = np.nan, np.inf, -np.inf, np.nan
    mu[1] = np.nan
    sigma[2, 5] = np.nan
    (norm, flat, norm_sigma, _, numbers), found = both(energy, mu, sigma, e0)
    assert np.isnan(norm[0]).sum() == 4
    assert np.isfinite(numbers[0]).all()
    for array in (norm, flat, norm_sigma):
        assert np.isnan(array[1]).all()
    assert np.isnan(found[1]).all()
    assert np.isfinite(norm[2]).all()


@pytest.mark.parametrize("value", [0.0, 1e9, -1e9])
def test_constant_spectra_have_no_edge(value):
    energy, mu, sigma, e0 = spectra(1)
    mu[:] = value
    found = steepest(energy, mu, sigma, np.array([0.4]))
    assert np.isnan(found).all()
    norm, _, _, _, numbers = pre_edge(energy, mu, sigma, e0, WINDOWS, 2)
    assert abs(numbers[0, 0]) <= 1e-6 * max(1.0, abs(value))
    assert np.isnan(norm).all() or numbers[0, 0] > 0


def test_a_falling_edge_is_not_normalised():
    energy, mu, sigma, e0 = spectra(1)
    (norm, *_, numbers), _ = both(energy, -mu, sigma, e0)
    assert numbers[0, 0] < 0
    assert np.isnan(norm).all()


@pytest.mark.parametrize(
    "windows",
    [(-10.0, -9.5, 50, 700), (-150, -30, 690, 700), (-150, -30, 5000, 6000), (-900, -800, 50, 700)],
)
def test_too_few_points_give_nan_and_their_number(windows):
    (norm, *_, numbers), _ = both(*spectra(2), windows=np.array(windows, float))
    assert np.isnan(norm).all()
    assert min(numbers[0, 2] - 3, numbers[0, 3] - 4) < 0


@pytest.mark.parametrize("e0", [np.nan, 8000.0, 9500.0])
def test_an_edge_outside_the_spectrum_gives_nan(e0):
    energy, mu, sigma, _ = spectra(1)
    (norm, *_), _ = both(energy, mu, sigma, np.array([e0]))
    assert np.isnan(norm).all()


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 20])
@pytest.mark.parametrize("n_frames", [0, 1])
def test_few_points_and_few_frames(n, n_frames):
    energy = 8333.0 + np.arange(n)[None] - n / 2
    mu = np.tile(np.arctan(energy - 8333.0), (n_frames, 1))
    both(energy, mu, np.full(mu.shape, 0.01), np.full(n_frames, 8333.0), 0)


def test_an_offset_of_a_billion_costs_only_what_doubles_lack():
    energy, mu, sigma, e0 = spectra(2)
    near = pre_edge(energy, mu, sigma, e0, WINDOWS, 2)
    far = pre_edge(energy, mu + 1e9, sigma, e0, WINDOWS, 2)
    np.testing.assert_allclose(far[0], near[0], atol=3e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_number_of_threads_changes_no_bit_and_inputs_stay(dtype):
    energy, mu, sigma, e0 = spectra(33, dtype)
    before = [array.copy() for array in (energy, mu, sigma, e0)]
    one = [*pre_edge(energy, mu, sigma, e0, WINDOWS, 2), steepest(energy, mu, sigma, e0, 1)]
    for n_threads in (2, 4):
        more = [*pre_edge(energy, mu, sigma, e0, WINDOWS, 2, n_threads=n_threads)]
        more.append(steepest(energy, mu, sigma, e0, n_threads))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, more, strict=True))
    for old, now in zip(before, (energy, mu, sigma, e0)):
        np.testing.assert_array_equal(old, now)


def test_strided_and_read_only_spectra():
    energy, mu, sigma, e0 = spectra(2)
    expected = pre_edge(energy, mu, sigma, e0, WINDOWS, 2)
    strided = np.repeat(mu, 2, axis=1)[:, ::2]
    for array in (energy, strided, sigma, e0):
        array.flags.writeable = False
    for one, other in zip(expected, pre_edge(energy, strided, sigma, e0, WINDOWS, 2)):
        np.testing.assert_array_equal(one, other)


def test_without_sigma_and_without_flattening_there_is_less():
    energy, mu, sigma, e0 = spectra(2)
    full = pre_edge(energy, mu, sigma, e0, WINDOWS, 2)
    norm, flat, norm_sigma, flat_sigma, numbers = pre_edge(energy, mu, sigma[:0], e0, WINDOWS, 2, flatten=False)
    np.testing.assert_array_equal(norm, full[0])
    assert len(flat) == len(norm_sigma) == len(flat_sigma) == 0
    np.testing.assert_array_equal(numbers[:, [0, 2, 3]], full[4][:, [0, 2, 3]])
    assert np.isnan(numbers[:, 1]).all()


def test_sigma_is_the_scatter_of_repeats():
    rng = np.random.default_rng(5)
    energy, mu, _, e0 = spectra(1, level=0.0)
    level = 2e-3 * (1 + np.arange(mu.shape[1]) / 300)
    noisy = mu + level * rng.normal(size=(2000, mu.shape[1]))
    sigmas = np.tile(level, (2000, 1))
    norm, flat, norm_sigma, flat_sigma, numbers = pre_edge(energy, noisy, sigmas, np.repeat(e0, 2000), WINDOWS, 2)
    for values, spread in ((norm, norm_sigma), (flat, flat_sigma)):
        np.testing.assert_allclose(values.std(axis=0), spread.mean(axis=0), rtol=0.08)
    assert numbers[:, 0].std() == pytest.approx(numbers[:, 1].mean(), rel=0.06)
    found = steepest(energy, mu + 0.1 * (noisy - mu), 0.1 * sigmas, np.full(2000, 0.4))
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"energy": np.ones((2, 300))},
        {"energy": np.ones((1, 299))},
        {"sigma": np.ones((1, 300))},
        {"e0": np.ones(2)},
        {"windows": np.ones(3)},
        {"windows": np.array([0.0, -1, 1, 2])},
        {"windows": np.array([0.0, 1, 1, np.nan])},
        {"nnorm": 6},
        {"nvict": -1},
        {"n_threads": 0},
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(change):
    energy, mu, sigma, e0 = spectra(3)
    arguments = {"energy": energy, "mu": mu, "sigma": sigma, "e0": e0, "windows": WINDOWS, "nnorm": 2} | change
    with pytest.raises(ValueError, match=r"must|needed"):
        pre_edge(**arguments)
