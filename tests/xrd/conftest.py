"""Structures and peak tables of known cells, their positions from gemmi's own metric."""

import gemmi
import numpy as np
import pytest
import xarray as xr

from batlab.schema import quantity

CELL = ("a", "b", "c", "alpha", "beta", "gamma")


def make_structure(group, cell, phase="sample"):
    found = gemmi.find_spacegroup_by_name(group)
    data = {n: quantity((), float(v), "angstrom" if len(n) == 1 else "degree", n) for n, v in zip(CELL, cell)}
    data["volume"] = quantity((), gemmi.UnitCell(*cell).volume, "angstrom^3", "volume")
    data["label"] = quantity("site", np.array(["Ni1"]), "1", "label")
    data["element"] = quantity("site", np.array(["Ni"]), "1", "element")
    data["occupancy"] = quantity("site", [1.0], "1", "occupancy")
    data["u_iso"] = quantity("site", [0.005], "angstrom^2", "displacement")
    for name in "xyz":
        data[f"fract_{name}"] = quantity("site", [0.0], "1", f"fractional {name}")
    attrs = {"space_group": found.xhm(), "crystal_system": found.crystal_system_str(), "phase": phase}
    return xr.Dataset(data, attrs=attrs)


def make_positions(cell, hkl, wavelength=None):
    """2θ in degrees with a wavelength, else q; from gemmi, not from batlab."""
    d = np.array([gemmi.UnitCell(*cell).calculate_d([int(i) for i in name.split()]) for name in hkl])
    return 2 * np.pi / d if wavelength is None else 2 * np.degrees(np.arcsin(wavelength / (2 * d)))


def make_peaks(position, sigma, hkl, phase="sample", wavelength=None):
    """A peak table over (frame, peak) of 2θ with a wavelength, else of q."""
    position = np.atleast_2d(position)
    n_frames, n_peaks = position.shape
    units = "1/angstrom" if wavelength is None else "degree"
    phases = [phase] * n_peaks if isinstance(phase, str) else phase
    attrs = {"axis": "q"} if wavelength is None else {"axis": "two_theta", "wavelength": wavelength}
    dims = ("frame", "peak")
    sigma = np.broadcast_to(np.asarray(sigma, dtype=float), position.shape).copy()
    return xr.Dataset(
        {
            "position": quantity(dims, position, units, "position"),
            "position_sigma": quantity(dims, sigma, units, "1 sigma of the position"),
            "status": quantity(dims, np.where(np.isfinite(position), 0, 3).astype(np.int8), "1", "status"),
        },
        {
            "frame": quantity("frame", np.arange(n_frames), "1", "frame"),
            "peak": quantity("peak", np.arange(n_peaks), "1", "peak"),
            "hkl": quantity("peak", np.array(list(hkl), dtype=str), "1", "Miller indices"),
            "phase": quantity("peak", np.array(phases, dtype=str), "1", "phase"),
        },
        attrs,
    )


@pytest.fixture
def structure():
    return make_structure


@pytest.fixture
def positions():
    return make_positions


@pytest.fixture
def table():
    return make_peaks
