"""Slopes of mean voltages that were planted."""

import numpy as np
import pytest
import xarray as xr

from batlab import echem
from batlab.errors import SchemaError
from batlab.schema import check, quantity


def table_of(discharge, charge, **more):
    n = np.arange(1, len(discharge) + 1)
    variables = {"voltage_discharge": quantity("cycle", discharge, "V", "mean discharge voltage"),
                 "voltage_charge": quantity("cycle", charge, "V", "mean charge voltage")}  # fmt: skip
    for name, values in more.items():
        variables[name] = quantity("cycle", values, "1/h", name)
    return xr.Dataset(variables, {"cycle": quantity("cycle", n, "1", "cycle")})


N = np.arange(1, 101)


def test_structure_and_resistance_are_told_apart():
    # 1.5 mV a cycle of structure, 0.5 mV a cycle of overvoltage in both directions.
    table = table_of(3.6 - 2e-3 * (N - 1), 3.9 - 1e-3 * (N - 1))
    before = table.copy(deep=True)
    found = check(echem.voltage_decay(table))
    assert table.identical(before)
    slopes = {name: float(found[f"{name}_slope"]) for name in ("discharge", "charge", "hysteresis", "structural")}
    assert slopes == pytest.approx({"discharge": -2e-3, "charge": -1e-3, "hysteresis": 1e-3, "structural": -1.5e-3})
    assert float(found["discharge_start"]) == pytest.approx(3.6)
    assert "echem.voltage_decay(" in found.attrs["history"]


def test_sigma_holds_in_repeats():
    off = []
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, 2e-3, (2, 100))
        found = echem.voltage_decay(table_of(3.6 - 2e-3 * N + noise[0], 3.9 - 1e-3 * N + noise[1]))
        off.append(float((found["discharge_slope"] + 2e-3) / found["discharge_slope_sigma"]))
    assert 0.8 < np.std(off) < 1.25


def test_cycles_at_another_rate_are_left_out():
    volts, rate = 3.6 - 2e-3 * N, np.full(100, 0.5)
    volts[::10], rate[::10] = volts[::10] + 0.1, 0.1
    table = table_of(volts, volts + 0.2, c_rate_discharge=rate)
    found = check(echem.voltage_decay(table))
    assert found.attrs["n_used"] == 90
    assert int(found["is_used"].sum()) == 90
    assert float(found["discharge_slope"]) == pytest.approx(-2e-3)
    assert float(echem.voltage_decay(table, same_rate=False)["discharge_slope"]) != pytest.approx(-2e-3, abs=1e-5)


def test_from_a_record_to_the_slope(make_programme):
    # The overvoltage I R is what separates the halves: 0.1 V; nothing decays.
    cell = make_programme([part for k in range(1, 9) for part in ((0.5, 1, k), (-0.5, 1, k))])
    found = check(echem.voltage_decay(echem.cycles(cell), over="days"))
    assert float(found["structural_slope"]) == pytest.approx(0.0, abs=1e-9)
    assert float(found["hysteresis_start"]) == pytest.approx(0.1)
    assert found["discharge_slope"].attrs["units"] == "V/d"


def test_what_is_refused():
    table = table_of(3.6 - 2e-3 * N, 3.9 - 1e-3 * N)
    with pytest.raises(ValueError, match="did you mean 'days'"):
        echem.voltage_decay(table, over="day")
    with pytest.raises(SchemaError, match="needs 5 cycles"):
        echem.voltage_decay(table.isel(cycle=slice(0, 3)))
    with pytest.raises(ValueError, match="variable must be"):
        echem.voltage_decay(table.drop_vars("voltage_discharge"))
