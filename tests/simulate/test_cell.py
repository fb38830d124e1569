import numpy as np
import pytest

from batlab.simulate.cell import CAPACITY, DILUTE_LIMIT, DURATION, EDGES, FIRST_LOSS, GRAPHITE_PER_NMC, phases, state

SECONDS = np.linspace(0, DURATION, 5001)


@pytest.mark.parametrize("plating", [False, True])
def test_lithium_is_conserved(plating):
    cell = state(SECONDS, plating=plating)
    left = (0.98 - cell.cathode) * GRAPHITE_PER_NMC
    missing = left - cell.anode - cell.plated
    assert missing.min() > -1e-12
    assert missing.max() <= FIRST_LOSS + 1e-12
    assert np.all(np.diff(missing) > -1e-12)  # what the interphase took never comes back
    assert cell.anode.min() >= 0
    np.testing.assert_allclose(cell.charge, (0.98 - cell.cathode) * CAPACITY, atol=1e-12)


def test_charge_is_the_integral_of_the_current():
    cell = state(SECONDS, plating=False)
    fine = np.linspace(0, DURATION, 400_001)
    current = state(fine, plating=False).current
    integral = np.concatenate([[0], np.cumsum((current[1:] + current[:-1]) / 2 * np.diff(fine))]) / 3600
    np.testing.assert_allclose(np.interp(SECONDS, fine, integral), cell.charge, atol=2e-6)


def test_lever_rule():
    """Lithium per C6: the dilute limit in graphite, 1/2 in LiC12, 1 in LiC6; the carbon is all there."""
    cell = state(SECONDS, plating=False)
    crystals = phases(cell, plating=False)
    share = {name: crystals.fraction[:, i] for i, name in enumerate(crystals.names)}
    np.testing.assert_allclose(share["graphite"] + share["LiC12"] + share["LiC6"], 1, atol=1e-12)
    staged = cell.anode > DILUTE_LIMIT
    lithium = DILUTE_LIMIT * share["graphite"] + 0.5 * share["LiC12"] + share["LiC6"]
    np.testing.assert_allclose(lithium[staged], cell.anode[staged], atol=1e-12)
    assert np.isnan(crystals.a[:, crystals.names.index("LiC6")]).sum() == np.sum(share["LiC6"] == 0)


def test_voltage_is_a_full_cells():
    cell = state(SECONDS, plating=False)
    assert 2.5 < cell.voltage.min() < cell.voltage.max() < 4.35
    seconds = SECONDS
    first_charge = (seconds > EDGES[1] + 60) & (seconds < EDGES[2])
    assert np.all(np.diff(cell.voltage[first_charge]) > -1e-4)
    rest = (seconds > EDGES[2]) & (seconds < EDGES[3])
    assert np.all(np.diff(cell.voltage[rest]) < 0)  # relaxes downwards after charge
    before, after = state(np.array([EDGES[2] - 1e-6, EDGES[2]]), plating=False).voltage
    assert before - after == pytest.approx(0.025 * 1.5, abs=1e-6)  # the ohmic drop


def test_plating_comes_late_and_leaves_dead_lithium():
    cell = state(SECONDS, plating=True)
    onset = SECONDS[np.argmax(cell.plated > 0)]
    assert EDGES[1] + 0.7 * (EDGES[2] - EDGES[1]) < onset < EDGES[2]
    assert 0 < cell.plated[-1] < cell.plated.max()
    assert not state(SECONDS, plating=False).plated.any()


def test_steps_and_cycles():
    cell = state(SECONDS, plating=False)
    assert list(np.unique(cell.step)) == list(range(1, 8))
    assert list(np.unique(cell.cycle)) == [1, 2]
    assert np.all(np.diff(cell.step) >= 0)
