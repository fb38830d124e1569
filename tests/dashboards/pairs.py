"""A small total-scattering series with known numbers: an f.c.c. metal that swells, a background, a voltage."""

import numpy as np
import xarray as xr

from batlab import pdf
from batlab.schema import check, quantity

A, SWELLING, U = 3.524, 0.06, 0.008  # angstrom of the cell in the first frame, what the last has more, angstrom^2


def bonds(n_frames: int) -> np.ndarray:
    """Nearest neighbours, frame by frame."""
    return (A + SWELLING * np.arange(n_frames) / max(n_frames - 1, 1)) / np.sqrt(2)


def shells(q: np.ndarray, bond: float, reach: float = 45.0) -> np.ndarray:
    """S(Q) of an f.c.c. crystal that is damped over 10 angstrom, from its shells."""
    half = bond / np.sqrt(2)
    n = int(reach / half) + 1
    squares, odd = np.arange(-n, n + 1) ** 2, np.arange(-n, n + 1) % 2
    total = squares[:, None, None] + squares[:, None] + squares
    even = (odd[:, None, None] + odd[:, None] + odd) % 2 == 0
    count = np.bincount(total[even & (total <= (reach / half) ** 2)])
    r = half * np.sqrt(np.flatnonzero(count)[1:])
    weight = count[count > 0][1:] * np.exp(-((r / 10) ** 2) / 2)
    return np.maximum(1 + np.sinc(np.outer(q, r) / np.pi) @ weight * np.exp(-U * q**2), 0.02)


def background(q: np.ndarray) -> xr.Dataset:
    """What an empty capillary scatters."""
    glass = 160 * np.exp(-(((q - 1.6) / 0.5) ** 2)) + 70 * np.exp(-q / 8)
    return _dataset(glass, q)


def series(n_frames: int = 8, *, sigma: bool = True) -> xr.Dataset:
    """X-ray intensities of nickel in its capillary, with noise of 0.3 %."""
    q = np.arange(0.7, 24.0, 0.02)
    power = pdf.scattering_power({"Ni": 1.0}, q, "xray")
    clean = np.stack([power.square_of_mean * shells(q, bond) + power.compton for bond in bonds(n_frames)])
    seen = clean + background(q)["intensity"].values
    spread = 0.003 * seen + 0.05
    made = _dataset(seen + spread * np.random.default_rng(7).normal(size=seen.shape), q)
    if sigma:
        made["intensity_sigma"] = quantity(("frame", "q"), spread, "1", "1 sigma of the intensity")
    frame = np.arange(n_frames)
    made["voltage"] = quantity("frame", 1.0 + 0.1 * frame, "V", "voltage")
    made["capacity"] = quantity("frame", 1e-4 * frame, "Ah", "capacity")
    time = np.datetime64("2024-05-01T08:00:00", "ns") + frame * np.timedelta64(600, "s")
    made = made.assign_coords(time=quantity("frame", time, "", "start of the exposure"))
    return check(made.assign_attrs(source="planted"))


def _dataset(values: np.ndarray, q: np.ndarray) -> xr.Dataset:
    dims = ("frame", "q") if values.ndim == 2 else ("q",)
    coords = {"q": quantity("q", q, "1/angstrom", "scattering vector")}
    if values.ndim == 2:
        coords["frame"] = quantity("frame", np.arange(len(values)), "1", "frame")
    return xr.Dataset({"intensity": quantity(dims, values, "1", "intensity")}, coords)
