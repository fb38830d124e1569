"""Four techniques on the virtual cell of `batlab.simulate`: what each saw follows exactly from the planted state."""

import numpy as np
import xarray as xr

from batlab.schema import check, quantity
from batlab.simulate.cell import DURATION, phases, state

START = np.datetime64("2024-03-05T09:00:00", "ns")


def frames(n_frames: int, late: float = 0.0, share: float = 0.5) -> tuple[np.ndarray, np.ndarray, dict]:
    """Moments within each exposure (frame, 9), their middles, and coordinates of a clock `late` seconds late."""
    period = DURATION / n_frames
    begin = np.arange(n_frames) * period
    within = begin[:, None] + share * period * (np.arange(9) + 0.5) / 9
    stamps = START + np.round((begin - late) * 1e9).astype("timedelta64[ns]")
    coordinates = {
        "frame": quantity("frame", np.arange(n_frames), "1", "frame"),
        "time": quantity("frame", stamps, "", "start of exposure, UTC"),
        "exposure": quantity("frame", np.full(n_frames, share * period), "s", "exposure"),
    }
    return within, begin + share * period / 2, coordinates


def record(n_records: int = 3000) -> xr.Dataset:
    """The cycler's record: voltage, current, temperature; its clock is right."""
    seconds = np.linspace(0, DURATION, n_records)
    cell = state(seconds, plating=False)
    return xr.Dataset(
        {
            "voltage": quantity("record", cell.voltage, "V", "voltage"),
            "current": quantity("record", cell.current, "A", "current, positive while charging"),
            "temperature": quantity("record", 25 + 3 * np.sin(np.pi * seconds / DURATION), "degC", "temperature"),
        },
        {
            "record": quantity("record", np.arange(n_records), "1", "record"),
            "time": quantity("record", START + np.round(seconds * 1e9).astype("timedelta64[ns]"), "", "time, UTC"),
            "test_time": quantity("record", seconds, "s", "time of the test"),
        },
        {"source": "planted record"},
    )


def patterns(n_frames: int, n_points: int, late: float, rng: np.random.Generator) -> xr.Dataset:
    """Diffraction of NMC811: two lines that move with a and c, and the cell parameters."""
    within, _, coordinates = frames(n_frames, late)
    crystals = phases(state(within.ravel(), plating=False), plating=False)
    at = list(crystals.names).index("NMC811")
    a, c = (one[:, at].reshape(within.shape).mean(axis=1) for one in (crystals.a, crystals.c))
    q = np.linspace(1.0, 5.0, n_points)
    lines = 400 * np.exp(-0.5 * ((q - 6 * np.pi / c[:, None]) / 0.02) ** 2)
    lines += 300 * np.exp(-0.5 * ((q - 4 * np.pi / a[:, None] / np.sqrt(3) * 2) / 0.02) ** 2)
    noise = 2e-4
    return xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), rng.poisson(20 + lines).astype(float), "count", "intensity"),
            "a": quantity("frame", a + rng.normal(0, noise, n_frames), "angstrom", "a"),
            "a_sigma": quantity("frame", np.full(n_frames, noise), "angstrom", "uncertainty of a"),
        },
        {**coordinates, "q": quantity("q", q, "1/angstrom", "scattering vector")},
        {"source": "planted patterns"},
    )


def spectra(n_frames: int, n_points: int, late: float, rng: np.random.Generator) -> xr.Dataset:
    """Absorption at the nickel edge, which rises with the lithium that has left."""
    within, _, coordinates = frames(n_frames, late)
    edge = 8346 - 3 * state(within, plating=False).cathode.mean(axis=1)
    energy = np.linspace(8320.0, 8400.0, n_points)
    away = (energy - edge[:, None]) / 1.5
    mu = 0.5 + np.arctan(away) / np.pi + 0.3 * np.exp(-0.5 * (away - 3) ** 2)
    return xr.Dataset(
        {
            "mu_norm": quantity(("frame", "energy"), mu, "1", "normalised absorption"),
            "e0": quantity("frame", edge + rng.normal(0, 0.02, n_frames), "eV", "edge energy"),
        },
        {**coordinates, "energy": quantity("energy", energy, "eV", "energy")},
        {"source": "planted spectra"},
    )


def distances(n_frames: int, n_points: int, rng: np.random.Generator) -> xr.Dataset:
    """Pair distribution functions whose distances shrink as the cell charges, with a gap of an hour."""
    within, middle, coordinates = frames(n_frames)
    bond = 1.93 + 0.04 * state(within, plating=False).cathode.mean(axis=1)
    r = np.linspace(1.0, 10.0, n_points)
    g_r = np.sin(2 * np.pi * r / bond[:, None]) * np.exp(-r / 5)
    series = xr.Dataset(
        {
            "g_r": quantity(("frame", "r"), g_r, "1/angstrom^2", "G(r)"),
            "bond": quantity("frame", bond + rng.normal(0, 1e-4, n_frames), "angstrom", "bond length"),
        },
        {**coordinates, "r": quantity("r", r, "angstrom", "distance")},
        {"source": "planted distances"},
    )
    return series.isel(frame=(middle < 7200) | (middle > 10800))


def experiment(
    n_frames: int = 120, n_points: int = 200, *, late: float = 0.0, seed: int = 0, n_records: int = 3000
) -> xr.DataTree:
    """The tree /xrd /xas /pdf /echem; the clock of /xrd is `late` seconds late."""
    rng = np.random.default_rng(seed)
    return check(
        xr.DataTree.from_dict(
            {
                "/xrd": patterns(n_frames, n_points, late, rng),
                "/xas": spectra(n_frames, n_points, 0.0, rng),
                "/pdf": distances(n_frames, n_points, rng),
                "/echem": record(n_records),
            }
        )
    )
