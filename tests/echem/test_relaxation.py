"""Rests whose exponentials and plateaus are planted."""

import numpy as np
import pytest

from batlab import echem
from batlab.errors import SchemaError
from batlab.schema import check


def rest(make_record, relax, hours=2.0, noise=0.0, seed=0, interval=5.0):
    t = np.arange(0, 600 + hours * 3600, interval)
    on = t < 600
    volts = np.where(on, 4.1, relax(np.maximum(t - (600 - interval), 0.0)))
    volts = volts + np.random.default_rng(seed).normal(0, noise, len(t)) if noise else volts
    return make_record(t, volts, np.where(on, 1.0, 0.0))


def test_time_constants_come_back(make_record):
    cell = rest(make_record, lambda t: 4.0 + 0.03 * np.exp(-t / 60) + 0.02 * np.exp(-t / 900), noise=1e-4)
    before = cell.copy(deep=True)
    found = check(echem.relaxation(cell))
    assert cell.identical(before)
    assert int(found["n_terms"][0]) == 2
    for name, truth in (("time_constant", (60, 900)), ("amplitude", (0.03, 0.02))):
        value, sigma = found[name].values[0, :2], found[f"{name}_sigma"].values[0, :2]
        assert (np.abs(value - truth) < 3.5 * sigma).all()
        assert (sigma < 0.1 * np.abs(truth)).all()
    assert abs(float(found["voltage_infinity"][0]) - 4.0) < 3.5 * float(found["voltage_infinity_sigma"][0])
    assert int(found["is_settled"][0]) == 1
    assert found["after"].values.tolist() == ["charge"]
    assert np.isnan(found["plateau_time"][0])
    assert float(found["drift"][0]) == pytest.approx(0.0, abs=5e-4)


def test_sigma_holds_in_repeats(make_record):
    off = []
    for seed in range(25):
        cell = rest(make_record, lambda t: 4.0 + 0.03 * np.exp(-t / 300), noise=2e-4, seed=seed, hours=0.5)
        found = echem.relaxation(cell, most=1)
        off.append(float((found["time_constant"][0, 0] - 300) / found["time_constant_sigma"][0, 0]))
    assert 0.6 < np.std(off) < 1.5
    assert abs(np.mean(off)) < 0.8


def test_a_plateau_of_stripping_is_seen_and_plain_relaxation_is_not(make_record):
    def plated(t):
        return 4.0 + 0.02 * np.exp(-t / 60) - 0.03 / (1 + np.exp(-(t - 1800) / 150)) - 2e-6 * t

    found = check(echem.relaxation(rest(make_record, plated, noise=1e-4)))
    assert float(found["plateau_strength"][0]) > 5
    assert abs(float(found["plateau_time"][0]) - 1800) < 250  # windows are a fifth of the time wide
    strengths = []
    for seed in range(25):
        plain = rest(make_record, lambda t: 4.0 + 0.03 * np.exp(-t / 60) + 0.02 * np.exp(-t / 900), 2.0, 1e-4, seed)
        strengths.append(float(echem.relaxation(plain, most=1)["plateau_strength"][0]))
    assert max(strengths) < 5


def test_a_rest_too_short_for_its_relaxation_says_so(make_record):
    found = echem.relaxation(rest(make_record, lambda t: 4.0 + 0.05 * np.exp(-t / 7200), hours=1.0, noise=1e-5))
    assert int(found["is_settled"][0]) == 0
    assert float(found["drift"][0]) == pytest.approx(-0.05 / 2 * np.exp(-0.475), rel=0.02)


def test_what_is_refused(make_record, make_programme):
    with pytest.raises(ValueError, match="most must be"):
        echem.relaxation(rest(make_record, lambda t: 4 - 0 * t), most=7)
    with pytest.raises(SchemaError, match="no rest of 300 s"):
        echem.relaxation(make_programme([(1, 1, 1), (-1, 1, 1)]))
    flat = check(echem.relaxation(rest(make_record, lambda t: 4.0 + 0 * t)))
    assert int(flat["n_terms"][0]) == 0
    assert float(flat["voltage_infinity"][0]) == pytest.approx(4.0)
    holes = rest(make_record, lambda t: 4.0 + 0.03 * np.exp(-t / 300))
    holes["voltage"][200:220] = np.nan
    assert float(echem.relaxation(holes)["time_constant"][0, 0]) == pytest.approx(300, rel=1e-3)
