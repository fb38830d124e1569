"""Cells of which everything is known: constant currents, straight voltages."""

import numpy as np
import pytest
import xarray as xr

from batlab.schema import quantity


def record_of(seconds, voltage, current, **more):
    variables = {
        "voltage": quantity("record", np.asarray(voltage, float), "V", "voltage"),
        "current": quantity("record", np.asarray(current, float), "A", "current, positive on charge"),
    }
    units = {"capacity": "Ah", "charge_capacity": "Ah", "discharge_capacity": "Ah"}
    for name, values in more.items():
        variables[name] = quantity("record", np.asarray(values), units.get(name, "1"), name)
    seconds = np.asarray(seconds, float)
    coords = {
        "record": quantity("record", np.arange(len(seconds)), "1", "line of the record"),
        "test_time": quantity("record", seconds, "s", "time since the start of the test"),
    }
    return xr.Dataset(variables, coords)


def programme(steps, interval=10.0, resistance=0.1, full=1.0, voltage=lambda x: 3.0 + x):
    """Return a record of steps (current A, hours, cycle), its lines at both ends of each step, V = U(x) + I R."""
    seconds, volts, amps, cycle, step, x, t = [], [], [], [], [], 0.0, 0.0
    for number, (current, hours, label) in enumerate(steps, 1):
        n = round(hours * 3600 / interval)
        at = np.linspace(0, hours * 3600, n + 1)
        seconds.append(t + at)
        volts.append(voltage((x + current * at / 3600) / full) + resistance * current)
        amps.append(np.full(n + 1, current))
        cycle.append(np.full(n + 1, label))
        step.append(np.full(n + 1, number))
        x, t = x + current * hours, t + hours * 3600
    columns = [np.concatenate(part) for part in (seconds, volts, amps)]
    return record_of(*columns, cycle=np.concatenate(cycle), step=np.concatenate(step))


@pytest.fixture(scope="session")
def make_record():
    return record_of


@pytest.fixture(scope="session")
def make_programme():
    return programme
