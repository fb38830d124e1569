"""A small operando series with known numbers: peaks that wander, a voltage, cycles and steps, cells and peaks."""

import numpy as np
import xarray as xr

from batlab.schema import check, quantity


def patterns(n_frames: int = 60, n_points: int = 400, axis: str = "q") -> xr.Dataset:
    """Two Gaussian peaks on a flat background; the first one moves with the frame, as the charge goes in and out."""
    frame = np.arange(n_frames)
    points = np.linspace(1.0, 5.0, n_points)
    turn = np.minimum(frame, n_frames - 1 - frame) / n_frames
    centre = 2.0 + 0.4 * turn
    moving = 500 * np.exp(-0.5 * ((points - centre[:, None]) / 0.03) ** 2)
    still = 900 * np.exp(-0.5 * ((points - 4.0) / 0.02) ** 2)
    units = {"q": "1/angstrom", "two_theta": "degree"}[axis]
    return check(
        xr.Dataset(
            {
                "intensity": quantity(("frame", axis), 20 + moving + still, "count", "intensity"),
                "voltage": quantity("frame", 3.0 + 2.4 * turn, "V", "voltage"),
                "cycle": quantity("frame", np.where(frame < n_frames // 2, 1.0, 2.0), "1", "cycle"),
                "step": quantity("frame", np.where(frame % 30 < 15, 1.0, 2.0), "1", "step"),
            },
            {"frame": quantity("frame", frame, "1", "frame"), axis: quantity(axis, points, units, "scattering vector")},
        )
    )


def cells(series: xr.Dataset) -> xr.Dataset:
    """A lattice parameter with its uncertainty for every frame."""
    a = 4.0 + 0.01 * np.cos(np.linspace(0, 2 * np.pi, series.sizes["frame"]))
    return check(
        xr.Dataset(
            {
                "a": quantity("frame", a, "angstrom", "lattice parameter a"),
                "a_sigma": quantity("frame", np.full(a.shape, 0.002), "angstrom", "uncertainty of a"),
            },
            {"frame": series["frame"]},
            {"phase": "NMC"},
        )
    )


def peaks(series: xr.Dataset) -> xr.Dataset:
    """Areas of two peaks for every frame."""
    area = np.stack([np.full(series.sizes["frame"], 5.0), np.arange(series.sizes["frame"], dtype=float)], axis=1)
    return check(
        xr.Dataset(
            {"area": quantity(("frame", "peak"), area, "count", "area")},
            {
                "frame": series["frame"],
                "peak": quantity("peak", [0, 1], "1", "peak"),
                "hkl": quantity("peak", np.array(["0 0 3", "1 0 4"]), "1", "indices"),
                "phase": quantity("peak", np.array(["NMC", "NMC"]), "1", "phase"),
            },
        )
    )
