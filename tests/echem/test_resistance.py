"""Steps of the current across a known resistor and a known RC element."""

import numpy as np
import pytest

from batlab import echem
from batlab.errors import SchemaError
from batlab.schema import check


def circuit(make_record, noise=0.0, seed=0):
    """Return pulses of +-1 A, 30 s each: R0 = 20 mohm at once, 10 mohm with 5 s; lines at both ends and each 0.1 s."""
    seconds, amps, volts, t, slow = [], [], [], 0.0, 0.0
    for current in (0.0, 1.0, 0.0, -1.0, 0.0, 0.5, 0.0):
        at = np.concatenate([[0.0], np.arange(0.1, 30.05, 0.1)]).round(1)
        relaxed = current + (slow - current) * np.exp(-at / 5)
        seconds.append(t + at), amps.append(np.full(len(at), current))
        volts.append(3.7 + 0.02 * current + 0.01 * relaxed)
        t, slow = t + 30.0, relaxed[-1]
    volts = np.concatenate(volts)
    volts += np.random.default_rng(seed).normal(0, noise, len(volts)) if noise else 0
    return make_record(np.concatenate(seconds), volts, np.concatenate(amps))


def test_ohm_and_rc_by_time(make_record):
    cell = circuit(make_record)
    before = cell.copy(deep=True)
    found = check(echem.resistance(cell, delays=[0.1, 1, 10, 30, 60]))
    assert cell.identical(before)
    assert found["kind"].values.tolist() == ["begins", "ends"] * 3
    expected = 0.02 + 0.01 * (1 - np.exp(-np.array([0.1, 1, 10, 30]) / 5))
    # What is left of the step before, exp(-6), shifts the later ones by 0.3 %.
    np.testing.assert_allclose(found["resistance"][:, :4], np.tile(expected, (6, 1)), rtol=3e-3)
    np.testing.assert_allclose(found["resistance"][0, :4], expected, rtol=1e-6)
    assert np.isnan(found["resistance"][:, 4]).all()
    np.testing.assert_allclose(found["resistance_first"][0], 0.02, rtol=1e-9)
    np.testing.assert_allclose(found["onset"], 30.0 * np.arange(1, 7), atol=1e-9)
    np.testing.assert_allclose(found["charge_passed"][1], 30 / 3600, rtol=1e-9)


def test_sigma_is_the_scatter(make_record):
    runs = [echem.resistance(circuit(make_record, noise=2e-4, seed=seed), delays=[10.0]) for seed in range(60)]
    values = np.array([one["resistance"].values[:, 0] for one in runs])
    stated = np.array([one["resistance_sigma"].values[:, 0] for one in runs]).mean(axis=0)
    np.testing.assert_allclose(np.sqrt(values.var(axis=0)[:4].mean()), stated[:4].mean(), rtol=0.25)
    np.testing.assert_allclose(stated[4] / stated[0], 2.0, rtol=0.01)  # half the step, twice the uncertainty
    assert runs[0].attrs["voltage_noise"] == pytest.approx(2e-4, rel=0.1)


def test_a_coarse_record_does_not_tell_short_times(make_record):
    t = np.arange(0, 601, 30.0)
    current = np.where(t >= 300, 1.0, 0.0)
    found = check(echem.resistance(make_record(t, 3.7 + 0.05 * current, current)))
    assert np.isnan(found["resistance"].values[0, :3]).all()
    assert float(found["resistance"][0, 3]) == pytest.approx(0.05)
    assert float(found["onset_doubt"][0]) == 30.0


def test_lines_on_the_flank_belong_to_the_step_and_a_moving_current_ends_it(make_record):
    t = np.array([0, 1, 2, 2.1, 2.2, 3, 4, 5, 6, 7.0])
    amps = np.array([0, 0, 0, 0.4, 1, 1, 1, 1, 0.8, 0.6])
    found = echem.resistance(make_record(t, 3 + 0.1 * amps, amps), delays=[0.1, 1.0, 3.0, 4.0])
    np.testing.assert_allclose(found["resistance"][0], [np.nan, 0.1, 0.1, np.nan])
    assert float(found["onset_doubt"][0]) == pytest.approx(0.2)


def test_what_is_refused(make_record):
    cell = circuit(make_record)
    with pytest.raises(SchemaError, match="no step of the current above 5 A"):
        echem.resistance(cell, least_step=5)
    for delays in ([], [1, 1], [-1], [np.nan]):
        with pytest.raises(ValueError, match="delays must be positive"):
            echem.resistance(cell, delays=delays)
    with pytest.raises(ValueError, match="least_step must be"):
        echem.resistance(cell, least_step=0)
    with pytest.raises(SchemaError, match="no step"):
        echem.resistance(make_record([0], [3], [1]))
    gap = cell.copy()
    gap["current"][310] = np.nan
    assert echem.resistance(gap).sizes["event"] == 6
