"""The kernel of sine and cosine transforms: against its oracle, exact transforms, and broken input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from batlab._kernels import reference
from batlab._kernels.sine_transform import sine_transform


def problem(frames=3, n=60, n_out=41, seed=0, shared=False):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 20, (1 if shared else frames, n)), axis=1)
    return rng.normal(size=(frames, n)), x, 0.07 * np.arange(n_out)


def agree(*arguments, **keywords):
    y = np.abs(np.nan_to_num(arguments[0], posinf=0, neginf=0)).sum() + 1e-300
    for ours, oracle in zip(sine_transform(*arguments, **keywords), reference.sine_transform(*arguments, **keywords)):
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(oracle))
        assert np.nanmax(np.abs(ours - oracle), initial=0) < 1e-12 * y


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_oracle(shared, weighted):
    y, x, out = problem(shared=shared)
    agree(y, x, out, np.abs(x) if weighted else None)
    agree(y.astype(np.float32), x, out, np.abs(x) if weighted else None)
    agree(y, x, np.random.default_rng(1).uniform(-30, 30, 17))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000), st.integers(0, 30), st.integers(0, 20), st.floats(-3, 9), st.sampled_from([0.0, 1.0, 1e9])
)  # fmt: skip
def test_oracle_anywhere(seed, n, n_out, magnitude, offset):
    y, x, out = problem(2, n, n_out, seed)
    agree(y + offset, x, out * 10**magnitude, np.ones_like(x))


def test_transform_of_a_gaussian_is_a_gaussian():
    # integral of exp(-x^2) cos(xX) from 0 = sqrt(pi)/2 exp(-X^2/4), on a grid that is not even
    x = np.sort(np.concatenate([np.linspace(0, 8, 4001), np.random.default_rng(0).uniform(0, 8, 500)]))[None]
    out = np.linspace(0, 6, 61)
    _, cosine = sine_transform(np.exp(-(x**2)), x, out)
    np.testing.assert_allclose(cosine[0], np.sqrt(np.pi) / 2 * np.exp(-(out**2) / 4), atol=2e-6)
    sine, cosine = sine_transform(np.exp(-(x**2)), x, np.zeros(1))
    assert sine[0, 0] == 0
    assert cosine[0, 0] == pytest.approx(np.sqrt(np.pi) / 2 * erf(8), abs=2e-6)


def test_even_grid_is_the_fft():
    y = np.random.default_rng(0).normal(size=(4, 200))
    spectrum = np.fft.rfft(y, 512)
    out = 2 * np.pi / 512 * np.arange(257)
    sine, cosine = sine_transform(y, np.arange(200.0)[None], out, np.ones((1, 200)))
    np.testing.assert_allclose(cosine - 1j * sine, spectrum, atol=1e-11)


def test_linear_and_shifted():
    y, x, out = problem(2)
    weights = np.ones_like(x)
    one, two = (np.array(sine_transform(part, x, out, weights)) for part in (y, 3 * y[::-1].copy()))
    np.testing.assert_allclose(sine_transform(y + 3 * y[::-1], x, out, weights), one + two, atol=1e-11)
    moved = sine_transform(y, x + 1.5, out, weights)
    phase = np.exp(1.5j * out)
    np.testing.assert_allclose(moved[1] + 1j * moved[0], (one[1] + 1j * one[0]) * phase, atol=1e-11)


def test_any_number_of_threads_gives_the_same_bits_and_inputs_stay():
    arguments = problem(17)
    before = [array.copy() for array in arguments]
    one = sine_transform(*arguments)
    for n_threads in (2, 4):
        for first, second in zip(one, sine_transform(*arguments, n_threads=n_threads)):
            np.testing.assert_array_equal(first, second)
    for old, now in zip(before, arguments):
        np.testing.assert_array_equal(old, now)


def test_missing_points_count_as_absent():
    y, x, out = problem(2)
    keep = np.ones(60, dtype=bool)
    keep[[0, 7, 59]] = False
    spoiled, grid = y.copy(), x.copy()
    spoiled[:, 0], spoiled[:, 7], grid[:, 59] = np.nan, np.inf, np.nan
    for ours, expected in zip(sine_transform(spoiled, grid, out), sine_transform(y[:, keep], x[:, keep], out)):
        np.testing.assert_array_equal(ours, expected)


def test_nothing_to_sum_gives_nan():
    y, x, out = problem(3)
    y[0], x[1, 5:8], y[2, 1:] = np.nan, x[1, 4], np.nan
    agree(y, x, out)
    sine, cosine = sine_transform(y, x, out)
    assert np.isnan(sine).all()
    assert np.isnan(cosine).all()
    for shape in ((0, 5), (2, 0)):
        agree(np.zeros(shape), np.zeros((1, shape[1])), out)
    agree(y, x, np.zeros(0))


def test_strided_and_read_only_input():
    y, x, out = problem(2)
    expected = sine_transform(y, x, out)
    wide = np.repeat(y, 2, axis=1)[:, ::2]
    for array in (wide, x, out):
        array.flags.writeable = False
    for one, other in zip(expected, sine_transform(wide, x, out)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((2, 60))},
        {"x": np.zeros((3, 59))},
        {"x_out": np.array([0.0, np.nan])},
        {"weights": np.ones((2, 60))},
        {"n_threads": 0},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change):
    y, x, out = problem()
    with pytest.raises(ValueError, match=r"x|weights|n_threads"):
        sine_transform(**({"y": y, "x": x, "x_out": out} | change))
