"""The kernel of pair distributions: against its oracle, counted neighbours, and broken input."""

import numpy as np
import pytest

from batlab._kernels import reference
from batlab._kernels.pairs import pair_density


def problem(models=3, n=2, seed=0):
    rng = np.random.default_rng(seed)
    cells = np.eye(3) * [3.1, 3.7, 4.4] + rng.normal(0, 0.3, (models, 3, 3))
    atoms = np.zeros((models, n + 1, 10))
    atoms[:, :, :3] = rng.uniform(-1, 6, (models, n + 1, 3))
    atoms[:, :, 3:6] = rng.uniform(0.004, 0.02, (models, n + 1, 3))
    atoms[:, :, 6:9] = rng.uniform(-0.002, 0.002, (models, n + 1, 3))
    atoms[:, :, 9] = rng.uniform(-1, 3, (models, n + 1))
    shapes = np.column_stack([rng.uniform(0, 0.5, models), rng.uniform(0, 2, models), rng.uniform(0, 0.03, models)])
    return cells, atoms[:, :n].copy(), atoms, shapes


@pytest.mark.parametrize("seed", range(4))
def test_oracle(seed):
    arguments = problem(seed=seed)
    ours, oracle = (function(*arguments, 0.03, 300) for function in (pair_density, reference.pair_density))
    # Peaks end at six sigmas, where 2e-8 of their height is left.
    np.testing.assert_allclose(ours, oracle, atol=2e-7 * np.abs(oracle).max())


def test_neighbours_of_a_simple_cubic_lattice():
    atom = np.array([[[0.2, 0.1, 0.0, 0.002, 0.002, 0.002, 0, 0, 0, 1.0]]])
    density = pair_density(3 * np.eye(3)[None], atom, atom, np.zeros((1, 3)), 0.02, 400)[0]
    r = 0.02 * np.arange(400)
    # 6 at 3, 12 at 3 sqrt 2, 8 at 3 sqrt 3, 6 at 6, 24 at 3 sqrt 5
    for distance, count in ((3.0, 6), (3 * 2**0.5, 12), (3 * 3**0.5, 8), (6.0, 6), (3 * 5**0.5, 24)):
        near = np.abs(r - distance) < 0.33
        assert density[near].sum() * 0.02 == pytest.approx(count, abs=1e-3)
    assert density[r < 2].max() < 1e-8


def test_a_skewed_cell_of_the_same_lattice_and_a_shift_change_nothing():
    cells, centres, others, shapes = problem(1)
    one = pair_density(cells, centres, others, shapes, 0.03, 300)
    skewed = np.array([[[1, 0, 0], [2, 1, 0], [-1, 3, 1]]], dtype=float) @ cells
    np.testing.assert_allclose(pair_density(skewed, centres, others, shapes, 0.03, 300), one, atol=1e-9)
    for table in (centres, others):
        table[:, :, :3] += [11.0, -7.0, 3.0]
    np.testing.assert_allclose(pair_density(cells, centres, others, shapes, 0.03, 300), one, atol=1e-9)


def test_atoms_that_share_a_place_are_no_pair_and_sharp_peaks_stay_finite():
    atom = np.array([[[0.0, 0, 0, 1e-9, 1e-9, 1e-9, 0, 0, 0, 1.0]] * 2])
    density = pair_density(3 * np.eye(3)[None], atom[:, :1], atom, np.array([[0.0, 50.0, 0.0]]), 0.02, 200)[0]
    assert np.isfinite(density).all()
    assert density[140:160].max() > 100 * density[10:140].max()


def test_what_is_broken_is_nan_or_refused():
    cells, centres, others, shapes = problem(4)
    cells[0, 1] = np.nan
    cells[1] = 0.0
    others[2, 0, 4] = np.inf
    for function in (pair_density, reference.pair_density):
        density = function(cells, centres, others, shapes, 0.05, 100)
        assert np.isnan(density[:3]).all()
        assert np.isfinite(density[3]).all()
        assert function(cells[:0], centres[:0], others[:0], shapes[:0], 0.05, 100).shape == (0, 100)
        assert function(cells, centres, others, shapes, 0.05, 0).shape == (4, 0)
        for broken in ({"step": 0.0}, {"n_points": -1}, {"n_threads": 0}):
            with pytest.raises(ValueError, match="n_threads"):
                function(cells, centres, others, shapes, **({"step": 0.05, "n_points": 100} | broken))
        with pytest.raises(ValueError, match="cells"):
            function(cells, centres[:2].copy(), others, shapes, 0.05, 100)
    with pytest.raises(ValueError, match="pairs within"):
        pair_density(cells[3:], centres[3:], others[3:], shapes[3:], 1.0, 10_000)


def test_any_number_of_threads_gives_the_same_bits_and_inputs_stay():
    arguments = problem(7)
    before = [array.copy() for array in arguments]
    one = pair_density(*arguments, 0.03, 300)
    for n_threads in (2, 4):
        np.testing.assert_array_equal(pair_density(*arguments, 0.03, 300, n_threads=n_threads), one)
    for old, now in zip(before, arguments):
        np.testing.assert_array_equal(old, now)
