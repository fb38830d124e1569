"""The kernel of bounded least squares: optimality conditions, its oracle, scipy, every face by hand, broken input."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, nnls

from batlab._kernels import nnls as kernel
from batlab._kernels import reference

solve = kernel.bounded_least_squares
BOXES = {
    "positive": (0.0, np.inf, np.inf),
    "box": (0.0, 1.0, np.inf),
    "simplex": (0.0, 1.0, 1.0),
    "sum alone": (-np.inf, np.inf, 1.0),
    "free": (-np.inf, np.inf, np.inf),
    "away from zero": (0.1, 0.6, 1.3),
    "below zero": (-np.inf, -0.1, np.inf),
}


def problem(m, n_frames=40, n=30, seed=0, box="simplex"):
    """Return A, Y and the arguments: about half of the frames lie outside the box."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 1, (n, m)) + 0.5
    y = rng.normal(1 / m, 0.7, (n_frames, m)) @ a.T + rng.normal(0, 0.1, (n_frames, n))
    low, high, total = BOXES[box]
    if box == "away from zero":
        total = 0.1 * m + 0.3
    return a, y, [(a.T @ a)[None], np.ascontiguousarray(y @ a), np.full(m, low), np.full(m, high), total]


def assert_optimal(arguments, weights, tolerance=1e-9):
    """Karush, Kuhn and Tucker: inside the box the slopes are one number (0 without a sum), at a bound they push out."""
    gram, projection, low, high, total = arguments
    assert (weights >= low).all()
    assert (weights <= high).all()
    if np.isfinite(total):
        np.testing.assert_allclose(weights.sum(axis=1), total, atol=1e-12)
    grams = np.broadcast_to(gram, (len(weights), *gram.shape[1:]))
    slope = np.einsum("fij,fj->fi", grams, weights) - projection
    scale = np.abs(projection).max(axis=1) + np.abs(grams).max(axis=(1, 2)) + 1e-300
    rises, falls = np.where(weights < high, slope, np.inf), np.where(weights > low, slope, -np.inf)
    if np.isfinite(total):
        assert (falls.max(axis=1) - rises.min(axis=1) <= tolerance * scale).all()
    else:
        assert (rises.min(axis=1) >= -tolerance * scale).all()
        assert (falls.max(axis=1) <= tolerance * scale).all()


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("m", [1, 2, 3, 5, 12])
def test_the_optimality_conditions_hold(box, m):
    _, _, arguments = problem(m, box=box, seed=m)
    weights, state = solve(*arguments)
    assert (state == 0).all()
    assert_optimal(arguments, weights)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("m", [1, 2, 4])
def test_kernel_equals_oracle(box, m):
    _, _, arguments = problem(m, n_frames=8, box=box, seed=10 + m)
    weights, state = solve(*arguments)
    expected, told = reference.bounded_least_squares(*arguments)
    np.testing.assert_allclose(weights, expected, atol=1e-8)
    np.testing.assert_array_equal(state, told)


def test_it_agrees_with_scipy():
    a, y, arguments = problem(5, box="positive")
    weights, _ = solve(*arguments)
    np.testing.assert_allclose(weights, [nnls(a, one)[0] for one in y], atol=1e-10)
    a, y, arguments = problem(5, box="box")
    weights, _ = solve(*arguments)
    np.testing.assert_allclose(weights, [lsq_linear(a, one, (0, 1), method="bvls").x for one in y], atol=1e-8)


def test_no_other_face_of_the_simplex_is_better():
    a, y, arguments = problem(4, n_frames=30)
    weights, _ = solve(*arguments)
    ours = ((weights @ a.T - y) ** 2).sum(axis=1)
    for size in range(1, 5):
        for face in map(list, itertools.combinations(range(4), size)):
            first, rest = a[:, face[0]], a[:, face[1:]] - a[:, face[:1]]
            w = np.linalg.lstsq(rest, (y - first).T, rcond=None)[0].T
            inside = (w >= 0).all(axis=1) & (w.sum(axis=1) <= 1)
            misfit = ((first + w @ rest.T - y) ** 2).sum(axis=1)
            assert (ours[inside] <= misfit[inside] * (1 + 1e-10)).all()


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 8), seed=st.integers(0, 2**31), box=st.sampled_from(sorted(BOXES)),
    scale=st.sampled_from([1e-9, 1.0, 1e9]), noise=st.sampled_from([0.0, 1e-3, 10.0]),
)  # fmt: skip
def test_any_problem_is_solved(m, seed, box, scale, noise):
    a, y, (_, _, low, high, total) = problem(m, n_frames=6, seed=seed % 1000, box=box)
    y = y + noise * np.random.default_rng(seed).normal(size=y.shape)
    a, y = a * scale, y * scale
    arguments = [(a.T @ a)[None], np.ascontiguousarray(y @ a), low, high, total]
    weights, state = solve(*arguments)
    assert (state == 0).all()
    assert_optimal(arguments, weights, 1e-8)


def test_a_planted_corner_and_edge_are_found_exactly():
    a, _, arguments = problem(3)
    truth = np.array([[1.0, 0, 0], [0, 0, 1.0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    arguments[1] = np.ascontiguousarray(truth @ a.T @ a)
    np.testing.assert_allclose(solve(*arguments)[0], truth, atol=1e-12)


def test_whole_columns_of_zeros_have_a_place_under_a_sum():
    # A flat baseline of zero is a fair reference where the weights sum to 1.
    a = np.column_stack([np.linspace(1, 2, 20), np.zeros(20)])
    arguments = [(a.T @ a)[None], np.array([[0.3, 0.7]]) @ (a.T @ a), np.zeros(2), np.ones(2), 1.0]
    weights, state = solve(*arguments)
    np.testing.assert_allclose(weights, [[0.3, 0.7]], atol=1e-14)
    assert state[0] == 0


@pytest.mark.parametrize("box", ["positive", "simplex", "box", "free"])
def test_twin_columns_cost_no_misfit(box):
    a, y, _ = problem(3, box=box)
    twice = np.column_stack([a, a[:, 1]])
    low, high, total = BOXES[box]
    high = high if box != "box" else np.inf
    results = []
    for one in (a, twice):
        m = one.shape[1]
        w, state = solve((one.T @ one)[None], np.ascontiguousarray(y @ one), np.full(m, low), np.full(m, high), total)
        assert (state == 0).all()
        results.append(((w @ one.T - y) ** 2).sum(axis=1))
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_fixed_weights_stay():
    _, _, arguments = problem(4)
    arguments[2], arguments[3] = np.array([0.0, 0.25, 0.0, 0.0]), np.array([1.0, 0.25, 1.0, 1.0])
    weights, _ = solve(*arguments)
    assert (weights[:, 1] == 0.25).all()
    assert_optimal(arguments, weights)


def test_one_gram_matrix_a_frame():
    rng = np.random.default_rng(3)
    a, y, arguments = problem(3, n_frames=12)
    used = rng.uniform(size=y.shape) > 0.3
    grams = np.einsum("fn,ni,nj->fij", used.astype(float), a, a)
    arguments[:2] = [grams, np.ascontiguousarray((y * used) @ a)]
    weights, _ = solve(*arguments)
    for frame, points in enumerate(used):
        b = a[points]
        alone = solve((b.T @ b)[None], (y[frame, points] @ b)[None], *arguments[2:])[0][0]
        np.testing.assert_allclose(weights[frame], alone, atol=1e-12)


@pytest.mark.parametrize("box", BOXES)
def test_threads_give_the_same_bits(box):
    _, _, arguments = problem(6, n_frames=101, box=box)
    kept = [np.copy(one) for one in arguments]
    first = solve(*arguments, n_threads=1)
    for n_threads in (2, 4):
        for one, other in zip(first, solve(*arguments, n_threads=n_threads)):
            assert one.tobytes() == other.tobytes()
    for one, before in zip(arguments, kept):
        np.testing.assert_array_equal(one, before)


def test_missing_numbers_give_missing_weights():
    _, _, arguments = problem(3, n_frames=4)
    arguments[1][1, 0], arguments[1][2, 2] = np.nan, np.inf
    weights, state = solve(*arguments)
    expected, told = reference.bounded_least_squares(*arguments)
    np.testing.assert_array_equal(state, [0, 2, 2, 0])
    np.testing.assert_array_equal(state, told)
    assert np.isnan(weights[1:3]).all()
    np.testing.assert_allclose(weights, expected, atol=1e-8)
    grams = np.repeat(arguments[0], 4, axis=0)
    grams[3, 0, 0] = np.nan
    assert solve(grams, *arguments[1:])[1].tolist() == [0, 2, 2, 2]


def test_no_frames_and_read_only_arrays():
    _, _, arguments = problem(3)
    assert solve(arguments[0], np.empty((0, 3)), *arguments[2:])[0].shape == (0, 3)
    for one in arguments[:4]:
        one.flags.writeable = False
    assert (solve(*arguments)[1] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1e9, -1e9, 1e300])
def test_odd_values_return(value):
    _, _, arguments = problem(3, n_frames=2)
    arguments[1][:] = value
    weights, state = solve(*arguments)
    assert np.isin(state, (0, 1)).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert solve(np.zeros((1, 3, 3)), np.zeros((2, 3)), *arguments[2:])[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {0: np.ones((2, 3, 3))},
        {0: np.ones((1, 3, 2))},
        {2: np.zeros(2)},
        {2: np.full(3, 2.0)},
        {2: np.full(3, np.nan)},
        {2: np.full(3, 0.5)},
        {3: np.full(3, 0.2)},
        {3: np.full(3, -np.inf)},
        {4: np.nan},
        {4: -np.inf},
    ],
)
def test_arrays_and_constraints_that_do_not_fit_are_refused(change):
    _, _, arguments = problem(3)
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(ValueError):
        solve(*arguments)


def test_wrong_types_and_threads_are_refused():
    _, _, arguments = problem(3)
    with pytest.raises(ValueError):
        solve(arguments[0].astype(np.float32), *arguments[1:])
    with pytest.raises(TypeError):
        solve(None, *arguments[1:])
    with pytest.raises(ValueError, match="n_threads"):
        solve(*arguments, n_threads=0)
