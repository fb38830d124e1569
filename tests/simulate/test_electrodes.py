"""The full cell of two electrodes: lithium conserved, limits met, losses planted as said."""

import numpy as np
import pytest

from batlab.schema import check
from batlab.simulate import full_cell


def positive(y):
    return 4.6 - y


def negative(x):
    return 0.6 - 0.5 * x


LINEAR = {"capacities": (4.0, 3.0, 3.5), "limits": (3.2, 4.2)}


def test_a_linear_cell_by_hand():
    # V = 4.6 - (3.5 - 3x)/4 - 0.6 + x/2 = 3.125 + 1.25 x: x from 0.06 to 0.86, 2.4 Ah.
    cell = check(full_cell(positive, negative, **LINEAR))
    assert cell["capacity"].max() == pytest.approx(2.4)
    x = 0.06 + cell["capacity"].values / 3
    np.testing.assert_allclose(cell["voltage"], 3.125 + 1.25 * x, atol=1e-9)
    hours = cell["test_time"].values / 3600
    flow = np.concatenate([[0], np.cumsum(np.diff(hours) * cell["current"].values[1:])])
    np.testing.assert_allclose(flow, cell["capacity"], atol=1e-9)
    assert (np.diff(hours) >= 0).all()
    assert "simulate.full_cell" in cell.attrs["history"]


def test_losses_make_the_cell_smaller_one_cycle_each():
    cell = full_cell(positive, negative, losses=[(0, 0, 0), (0.1, 0.05, 0.1)], **LINEAR)
    assert np.unique(cell["cycle"]).tolist() == [1, 2]
    second = cell["capacity"].values[cell["cycle"].values == 2]
    # dV/dx = Q_n / Q_p + 0.5 over 1 V, with Q_p = 3.6 and Q_n = 2.85 Ah.
    assert second.max() == pytest.approx(2.85 / (2.85 / 3.6 + 0.5))


def test_noise_has_its_size_and_its_seed():
    quiet, loud, again = (full_cell(positive, negative, noise=n, seed=1, **LINEAR) for n in (0.0, 2e-3, 2e-3))
    difference = (loud["voltage"] - quiet["voltage"]).values
    assert np.std(difference) == pytest.approx(2e-3, rel=0.15)
    np.testing.assert_array_equal(loud["voltage"], again["voltage"])


def test_a_cell_that_cannot_reach_its_limits_is_refused():
    with pytest.raises(ValueError, match="not 5 V"):
        full_cell(positive, negative, capacities=(4.0, 3.0, 3.5), limits=(3.2, 5.0))
