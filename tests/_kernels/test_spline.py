"""The kernel of cubic splines: against its oracle, exact cubics, and broken input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.spline import cubic_spline


def problem(frames=3, n=60, n_out=41, seed=0, shared=False):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.1, 1, (1 if shared else frames, n)), axis=1)
    return rng.normal(size=(frames, n)), x, np.linspace(0, n / 2, n_out)[None]


def agree(*arguments):
    ours, oracle = cubic_spline(*arguments), reference.cubic_spline(*arguments)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(oracle))
    # What lies beyond the points grows with the cube of the distance; so may rounding.
    np.testing.assert_allclose(ours, oracle, rtol=1e-7, atol=1e-9 * (1 + np.nanmax(np.abs(oracle), initial=0)))


@pytest.mark.parametrize("shared", [True, False])
def test_oracle(shared):
    y, x, out = problem(shared=shared)
    agree(y, x, out)
    agree(y.astype(np.float32), x, out)
    agree(y, x, np.random.default_rng(1).uniform(5, 25, (3, 30)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.0, 1.0, 1e9]))
def test_oracle_anywhere(seed, n, n_out, offset):
    y, x, out = problem(2, n, n_out, seed)
    agree(y + offset, x, out)


def test_a_cubic_is_returned_also_beyond_the_points():
    _, x, out = problem(4)
    cubic = np.polynomial.Polynomial([1.0, -0.3, 0.02, 0.004])
    np.testing.assert_allclose(cubic_spline(cubic(x), x, out), np.tile(cubic(out), (4, 1)), rtol=1e-9, atol=1e-9)
    four = np.array([[0.0, 1.0, 3.0, 4.0]])
    np.testing.assert_allclose(cubic_spline(cubic(four), four, out), cubic(out), rtol=1e-9, atol=1e-9)


def test_the_points_themselves_are_returned():
    y, x, _ = problem()
    np.testing.assert_allclose(cubic_spline(y, x, x), y, atol=1e-12)
    np.testing.assert_allclose(cubic_spline(y, x, x[:, ::-1].copy()), y[:, ::-1], atol=1e-12)


def test_any_number_of_threads_gives_the_same_bits_and_inputs_stay():
    arguments = problem(33)
    before = [array.copy() for array in arguments]
    one = cubic_spline(*arguments)
    for n_threads in (2, 4):
        np.testing.assert_array_equal(one, cubic_spline(*arguments, n_threads=n_threads))
    for old, now in zip(before, arguments):
        np.testing.assert_array_equal(old, now)


def test_missing_points_count_as_absent():
    y, x, out = problem()
    keep = np.ones(60, dtype=bool)
    keep[[0, 7, 8, 59]] = False
    y[:, 0], y[:, 7], x[:, 8], y[:, 59] = np.nan, np.inf, np.nan, -np.inf
    out = np.append(out, np.nan)[None]
    ours = cubic_spline(y, x, out)
    np.testing.assert_array_equal(ours, cubic_spline(y[:, keep], x[:, keep], out))
    assert np.isnan(ours[:, -1]).all()
    assert np.isfinite(ours[:, :-1]).all()


def test_frames_without_a_spline_are_nan():
    y, x, out = problem(4)
    y[0], y[1, 3:], x[2, 10] = np.nan, np.nan, x[2, 9]
    agree(y, x, out)
    ours = cubic_spline(y, x, out)
    assert np.isnan(ours[:3]).all()
    assert np.isfinite(ours[3]).all()


def test_strided_and_read_only_input():
    y, x, out = problem()
    expected = cubic_spline(y, x, out)
    wide = np.repeat(y, 2, axis=1)[:, ::2]
    for array in (wide, x, out):
        array.flags.writeable = False
    np.testing.assert_array_equal(cubic_spline(wide, x, out), expected)


@pytest.mark.parametrize(
    "change", [{"x": np.zeros((2, 60))}, {"x": np.zeros((3, 59))}, {"x_out": np.zeros((2, 5))}, {"n_threads": 0}]
)
def test_arrays_that_do_not_fit_are_refused(change):
    y, x, out = problem()
    with pytest.raises(ValueError, match="must agree"):
        cubic_spline(**({"y": y, "x": x, "x_out": out} | change))
