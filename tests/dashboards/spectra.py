"""A small absorption series with known numbers: an edge that moves, a fine structure of one distance, a voltage."""

import numpy as np
import xarray as xr

from batlab.constants import ETOK
from batlab.schema import check, quantity

EDGE, STEP, DISTANCE = 8333.0, 0.8, 2.5  # eV of the first frame, height of the step, angstrom


def edges(n_frames: int) -> np.ndarray:
    """Where each frame's edge lies: up by 2 eV and back."""
    frame = np.arange(n_frames)
    return EDGE + 4.0 * np.minimum(frame, n_frames - 1 - frame) / max(n_frames - 1, 1)


def series(n_frames: int = 12) -> xr.Dataset:
    """An arctangent edge on a sloping line, then sin(2kR) with a Gaussian damping."""
    energy = np.concatenate([np.arange(8150.0, 8300, 3), np.arange(8300.0, 8380, 0.5), np.arange(8380.0, 9100, 2)])
    e0 = edges(n_frames)[:, None]
    k = np.sqrt(np.clip(energy - e0, 0, None) * ETOK)
    wave = 0.5 * np.exp(-0.012 * k**2) * np.sin(2 * DISTANCE * k) * (1 - np.exp(-((k / 4) ** 4)))
    mu = 0.3 - 1e-4 * (energy - EDGE) + STEP * (0.5 + np.arctan((energy - e0) / 1.5) / np.pi) * (1 + wave)
    frame = np.arange(n_frames)
    time = np.datetime64("2024-05-01T08:00:00", "ns") + frame * np.timedelta64(600, "s")
    return check(
        xr.Dataset(
            {
                "mu": quantity(("frame", "energy"), mu, "1", "absorption"),
                "voltage": quantity("frame", 3.6 + 0.2 * (edges(n_frames) - EDGE), "V", "voltage"),
                "capacity": quantity("frame", 1e-5 * frame, "Ah", "capacity"),
            },
            {
                "frame": quantity("frame", frame, "1", "frame"),
                "energy": quantity("energy", energy, "eV", "energy"),
                "time": quantity("frame", time, "", "start of the exposure"),
            },
            {"source": "planted"},
        )
    )
