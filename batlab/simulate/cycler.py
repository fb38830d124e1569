"""The cycler's side: what it records of the virtual cell, as a Battery Data Format table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from batlab.simulate.cell import CURRENT, DURATION, EDGES, PROGRAMME, state

INTERVAL = 10.0  # s between records
VOLTAGE_NOISE, CURRENT_NOISE = 2e-4, 2e-6  # V, A

COLUMNS = (
    "Test Time / s",
    "Voltage / V",
    "Current / A",
    "Unix Time / s",
    "Cycle Count / 1",
    "Step Count / 1",
    "Ambient Temperature / degC",
    "Charging Capacity / Ah",
    "Discharging Capacity / Ah",
    "Net Capacity / Ah",
)


def write_bdf(path: Path, *, start: float, plating: bool, generator: np.random.Generator) -> Path:
    """Write the record of the whole programme as BDF csv and return `path`.

    `start` is the cycler's Unix time (s) at the first record, by its own clock. Positive current charges; the two
    capacities count up over the whole test; the net capacity is their difference.
    """
    # A step ends with a record and the next begins with one, as cyclers do: no current between them is guessed.
    seconds = np.unique(np.concatenate([np.arange(0.0, DURATION, INTERVAL), EDGES[1:-1], EDGES[1:] - 0.001]).round(3))
    cell = state(seconds, plating=plating)
    voltage = cell.voltage + generator.normal(0, VOLTAGE_NOISE, len(seconds))
    current = cell.current + generator.normal(0, CURRENT_NOISE, len(seconds))
    charging = _throughput(seconds, 1)
    discharging = _throughput(seconds, -1)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for i, at in enumerate(seconds):
            numbers = (f"{at:.3f}", f"{voltage[i]:.5f}", f"{current[i]:.7f}", f"{start + at:.3f}")
            counters = (cell.cycle[i], cell.step[i], "25.0")
            capacities = (f"{value:.8f}" for value in (charging[i], discharging[i], charging[i] - discharging[i]))
            table.writerow((*numbers, *counters, *capacities))
    return path


def _throughput(seconds: np.ndarray, sign: int) -> np.ndarray:
    """Charge in Ah passed so far in steps of one `sign`."""
    signs = np.array([step.sign for step in PROGRAMME])
    passed = np.where(signs == sign, np.diff(EDGES), 0.0) * CURRENT / 3600
    return np.interp(seconds, EDGES, np.concatenate([[0.0], np.cumsum(passed)]))
