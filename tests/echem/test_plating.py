"""Signs of plated lithium, planted in rests and discharges."""

import numpy as np
import pytest

from batlab import echem
from batlab.schema import check


def cell_of(make_record, plated, noise=2e-4, seed=0):
    """Return cycles of charge, two hours of rest and discharge; `plated` Ah of 1 Ah are stripped first in each."""
    seconds, volts, amps, label, t = [], [], [], [], 0.0
    for k, amount in enumerate(plated, 1):
        at = np.arange(0, 3600, 5.0)
        parts = [(at, 3.2 + at / 3600, 1.0)]
        rest = np.arange(0, 7200, 5.0)
        relaxed = 4.15 - 0.03 * (1 - np.exp(-rest / 300))
        if amount:
            relaxed -= 0.03 / (1 + np.exp(-(rest - 2400) / 200))
        parts.append((rest, relaxed, 0.0))
        q = at / 3600
        fall = 4.1 - 0.9 * q - 0.05 * (1 - np.exp(-q / 0.005))
        if amount:
            fall -= 0.03 / (1 + np.exp(-(q - amount) / 0.01))
        parts.append((at, fall, -1.0))
        for when, level, current in parts:
            seconds.append(t + when), volts.append(level), amps.append(np.full(len(when), current))
            label.append(np.full(len(when), k))
            t += when[-1] + 5.0
    volts = np.concatenate(volts) + np.random.default_rng(seed).normal(0, noise, sum(map(len, seconds)))
    return make_record(np.concatenate(seconds), volts, np.concatenate(amps), cycle=np.concatenate(label))


def test_planted_lithium_is_seen_in_both_signs(make_record):
    cell = cell_of(make_record, [0, 0, 0.06, 0.12])
    before = cell.copy(deep=True)
    found = check(echem.plating_signs(cell))
    assert cell.identical(before)
    assert np.isnan(found["rest_plateau_time"][:2]).all()
    assert np.isnan(found["stripping_capacity"][:2]).all()
    assert found["is_new"].values.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(found["stripping_capacity"][2:], [0.06, 0.12], atol=0.01)
    np.testing.assert_allclose(found["rest_plateau_time"][2:], 2400, atol=300)
    assert (found["rest_plateau_strength"][2:] > 5).all()
    assert "no proof" in found.attrs["caution"]
    assert "echem.plating_signs(" in found.attrs["history"]


def test_a_maximum_of_the_first_cycle_is_not_new(make_record):
    found = check(echem.plating_signs(cell_of(make_record, [0.1, 0.1, 0.1])))
    np.testing.assert_allclose(found["stripping_capacity"], 0.1, atol=0.01)
    assert found["is_new"].values.tolist() == [0, 0, 0]


def test_plain_cells_give_few_alarms(make_record):
    alarms = 0
    for seed in range(6):
        found = echem.plating_signs(cell_of(make_record, [0, 0, 0, 0], seed=seed))
        alarms += int(np.isfinite(found["stripping_capacity"]).sum() + np.isfinite(found["rest_plateau_time"]).sum())
    assert alarms <= 1  # of 48 looks


def test_without_rests_the_discharge_speaks_alone(make_programme):
    found = check(echem.plating_signs(make_programme([part for k in (1, 2) for part in ((0.5, 1, k), (-0.5, 1, k))])))
    assert np.isnan(found["rest_plateau_strength"]).all()
    with pytest.raises(ValueError, match="within must lie"):
        echem.plating_signs(make_programme([(0.5, 1, 1), (-0.5, 1, 1)]), within=0.0)
