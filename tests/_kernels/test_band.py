"""The kernel of band matrices: against its oracle, scipy's sparse matrices, and broken input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from batlab._kernels import reference
from batlab._kernels.band import band_product


def problem(frames=5, n=60, m=41, longest=30, seed=0):
    rng = np.random.default_rng(seed)
    lengths = np.minimum(rng.integers(0, longest + 1, m), n)
    first = np.array([rng.integers(0, n - length + 1) for length in lengths], np.intp)
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
    return rng.normal(size=(frames, n)), first, start, rng.normal(size=start[-1])


def agree(*arguments):
    ours, oracle = band_product(*arguments), reference.band_product(*arguments)
    np.testing.assert_allclose(
        ours, oracle, rtol=1e-12, atol=1e-12 * np.abs(np.nan_to_num(arguments[0])).max(initial=0)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 11), st.integers(1, 70), st.integers(0, 20), st.integers(0, 40))
def test_oracle(seed, frames, n, m, longest):
    agree(*problem(frames, n, m, longest, seed))


def test_is_a_sparse_matrix():
    values, first, start, weights = problem(9, 200, 150)
    columns = np.concatenate([np.arange(f, f + n) for f, n in zip(first, np.diff(start))])
    matrix = csr_array((weights, columns, start), shape=(150, 200))
    np.testing.assert_allclose(band_product(values, first, start, weights), (matrix @ values.T).T, atol=1e-11)


def test_values_that_are_not_finite_go_where_they_enter():
    values, first, start, weights = problem(2)
    values[0, 30] = np.nan
    out = band_product(values, first, start, weights)
    enters = (first <= 30) & (first + np.diff(start) > 30)
    np.testing.assert_array_equal(np.isnan(out[0]), enters)
    assert np.isfinite(out[1]).all()
    assert np.isinf(band_product(np.full((1, 8), np.inf), *runs([0], [0, 8]), np.ones(8)))[0, 0]


def runs(first, start):
    return np.array(first, np.intp), np.array(start, np.intp)


@pytest.mark.parametrize(
    ("first", "start"), [([0], [0, 11]), ([5], [0, 6]), ([-1], [0, 2]), ([0], [2, 1]), ([0, 0], [0, 2]), ([0], [-1, 2])]
)
def test_runs_that_leave_the_arrays_are_refused(first, start):
    for function in (band_product, reference.band_product):
        with pytest.raises(ValueError, match=r"run|first|start"):
            function(np.zeros((2, 10)), *runs(first, start), np.zeros(10))
    with pytest.raises(ValueError, match="n_threads"):
        band_product(np.zeros((2, 10)), *runs([0], [0, 1]), np.zeros(10), n_threads=0)


def test_any_number_of_threads_and_frames_gives_the_same_bits_and_inputs_stay():
    arguments = problem(19)
    before = [array.copy() for array in arguments]
    one = band_product(*arguments)
    for n_threads in (2, 4):
        np.testing.assert_array_equal(band_product(*arguments, n_threads=n_threads), one)
    np.testing.assert_array_equal(band_product(arguments[0][6:7].copy(), *arguments[1:])[0], one[6])
    arguments[0].flags.writeable = False
    band_product(*arguments)
    for old, now in zip(before, arguments):
        np.testing.assert_array_equal(old, now)
