"""A small series of small angles with known numbers: spheres that grow and shrink, a background, a voltage."""

import numpy as np
import xarray as xr

from batlab.saxs import sphere
from batlab.schema import check, quantity

FRACTION, FLOOR = 0.01, 0.02  # volume fraction; background in 1/cm
CONTRAST = 5.0


def radii(n_frames: int) -> np.ndarray:
    """Radius of each frame's spheres [angstrom]: from 40 up to 60 and back."""
    frame = np.arange(n_frames)
    return 40.0 + 40.0 * np.minimum(frame, n_frames - 1 - frame) / max(n_frames - 1, 1)


def series(n_frames: int = 8, n_points: int = 160, seed: int = 1) -> xr.Dataset:
    """Spheres with 10 % of spread, 1 % of noise."""
    q = np.geomspace(0.004, 0.4, n_points)
    rng = np.random.default_rng(seed)
    offsets = np.linspace(-2, 2, 9)
    share = np.exp(-(offsets**2) / 2) / np.exp(-(offsets**2) / 2).sum()
    rows = []
    for radius in radii(n_frames):
        mixed = sum(w * sphere(q, radius * (1 + 0.1 * z)) for w, z in zip(share, offsets, strict=True))
        rows.append(FRACTION * CONTRAST**2 * mixed + FLOOR)
    exact = np.array(rows)
    sigma = 0.01 * exact
    frame = np.arange(n_frames)
    time = np.datetime64("2024-05-01T08:00:00", "ns") + frame * np.timedelta64(600, "s")
    return check(
        xr.Dataset(
            {
                "intensity": quantity(("frame", "q"), exact + sigma * rng.normal(size=exact.shape), "1/cm", "I"),
                "intensity_sigma": quantity(("frame", "q"), sigma, "1/cm", "sigma"),
                "voltage": quantity("frame", 3.0 + 0.01 * (radii(n_frames) - 40.0), "V", "voltage"),
                "capacity": quantity("frame", 1e-5 * frame, "Ah", "capacity"),
            },
            {
                "frame": quantity("frame", frame, "1", "frame"),
                "q": quantity("q", q, "1/angstrom", "scattering vector"),
                "time": quantity("frame", time, "", "start of the exposure"),
            },
            {"source": "planted"},
        )
    )
