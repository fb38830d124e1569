"""What was planted, kept apart from what the beamline writes."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.schema import check, quantity
from batlab.simulate.cell import DURATION, EDGES, PROGRAMME, phases, state
from batlab.simulate.structures import DILUTE_LIMIT

C_MAXIMUM = 0.42  # lithium in NMC811 where its c axis is longest


def planted(middles: np.ndarray, *, start: float, exposure: float, plating: bool) -> xr.Dataset:
    """Return cells, amounts and events of the frames whose exposures have their middle at `middles`.

    `middles` in s after the start of the programme, `start` its Unix time, `exposure` in s. Values are those at the
    middle. `onset` counts frames: 12.5 lies halfway between frames 12 and 13.
    """
    cell = state(middles, plating=plating)
    crystals = phases(cell, plating=plating)
    over = ("frame", "phase")
    begins = (1e6 * (start + middles - exposure / 2)).round().astype("int64").astype("datetime64[us]")
    variables = {
        "a": quantity(over, crystals.a, "angstrom", "planted cell parameter a"),
        "c": quantity(over, crystals.c, "angstrom", "planted cell parameter c"),
        "fraction": quantity(over, crystals.fraction, "1", "share of its own electrode"),
        "microstrain": quantity(over, crystals.microstrain, "1", "microstrain"),
        "voltage": quantity("frame", cell.voltage, "V", "cell voltage"),
        "current": quantity("frame", cell.current, "A", "current, positive while charging"),
        "charge_passed": quantity("frame", cell.charge, "Ah", "net charge passed"),
        "cycle": quantity("frame", cell.cycle, "1", "cycle"),
        "step": quantity("frame", cell.step, "1", "step of the programme"),
        "lithium_cathode": quantity("frame", cell.cathode, "1", "lithium per NMC811 unit"),
        "lithium_anode": quantity("frame", cell.anode, "1", "lithium per C6 in the graphite"),
        **_events(middles, plating=plating),
    }
    coordinates = {
        "frame": quantity("frame", np.arange(len(middles)), "1", "frame"),
        "phase": quantity("phase", np.array(crystals.names, dtype=object), "1", "phase"),
        "time": quantity("frame", begins.astype("datetime64[ns]"), "", "start of exposure (UTC)"),
        "exposure": quantity("frame", np.full(len(middles), exposure), "s", "exposure"),
    }
    return check(xr.Dataset(variables, coordinates))


def _events(middles: np.ndarray, *, plating: bool) -> dict[str, xr.Variable]:
    seconds = np.linspace(0, DURATION, 200_001)
    cell = state(seconds, plating=plating)
    found = [
        *_crossings(seconds, cell.anode - DILUTE_LIMIT, "LiC12 appears", "LiC12 vanishes"),
        *_crossings(seconds, cell.anode - 0.5, "LiC6 appears, graphite gone", "LiC6 gone, graphite appears"),
        *_crossings(seconds, C_MAXIMUM - cell.cathode, "NMC811 c axis begins to collapse", "NMC811 c axis recovered"),
        *((edge, f"step {i + 2} begins", "step") for i, edge in enumerate(EDGES[1 : len(PROGRAMME)])),
    ]
    if plating:
        growing = np.gradient(cell.plated, seconds) - 1e-12
        found += [event for event in _crossings(seconds, growing, "lithium plating begins", "") if event[1]]
    period = middles[1] - middles[0] if len(middles) > 1 else DURATION
    found.sort()
    onsets = np.array([(at - middles[0]) / period for at, _, _ in found])
    return {
        "onset": quantity("event", onsets, "1", "onset in frames"),
        "what": quantity("event", np.array([what for _, what, _ in found], dtype=object), "1", "what happens"),
        "kind": quantity("event", np.array([kind for _, _, kind in found], dtype=object), "1", "kind of event"),
    }


def _crossings(seconds: np.ndarray, level: np.ndarray, rising: str, falling: str) -> list[tuple[float, str, str]]:
    """Return when `level` passes zero, in words for either direction."""
    above = level > 0
    found = []
    for index in np.flatnonzero(above[1:] != above[:-1]):
        part = level[index] / (level[index] - level[index + 1])
        at = seconds[index] + part * (seconds[index + 1] - seconds[index])
        found.append((float(at), rising if above[index + 1] else falling, "phase"))
    return found
