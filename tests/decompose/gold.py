"""The gold series of cyanobacteria (Environ. Sci. Technol. 40, 6304 (2006)), normalised as larch does it."""

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from batlab import datasets, io, xas
from batlab.schema import quantity

UNKNOWNS = ("0.12", "2.42", "4.73", "7.03", "9.33", "20", "33", "720")
REFERENCES = ("Au foil", "Au3 Cl aq", "Au sulphide")
# E0 of larch 2026.3.1 (find_e0 within pre_edge; pre1=-150, pre2=-30, norm1=150, norm2=850, nnorm=1): the windows and so
# the figures hang on it. Energies are those stored, as larch's read_athena leaves them.
E0 = {
    "0.12": 11918.952, "2.42": 11919.053, "4.73": 11919.023, "7.03": 11919.083, "9.33": 11919.107, "20": 11918.528,
    "33": 11919.045, "720": 11918.925, "Au foil": 11919.166, "Au3 Cl aq": 11918.989, "Au sulphide": 11921.299,
}  # fmt: skip


def normalised():
    """Return name -> spectrum on its own grid."""
    project = io.open(datasets.path("athena_projects") / "cyanobacteria.prj")
    spectra = {}
    for name, e0 in E0.items():
        raw = project[name].to_dataset()[["mu"]].drop_vars(["label", "group", "energy_shift"])
        spectra[name] = xas.normalize(raw, e0=e0, pre=(-150, -30), post=(150, 850), nnorm=1)["mu_norm"]
    return spectra


def on_grid(spectrum, energy):
    """Return a spectrum by cubic spline at other energies, as larch takes them together."""
    values = CubicSpline(spectrum.energy.values, spectrum.values)(energy)
    return xr.DataArray(
        quantity("energy", values, "1", "normalised absorption"),
        {"energy": quantity("energy", energy, "eV", "energy")},
        name="mu_norm",
    )


def unknowns(spectra):
    """Return the eight unknowns, 11870 to 12030 eV, on the grid of the first."""
    energy = spectra["0.12"].energy.values
    energy = energy[(energy >= 11870) & (energy <= 12030)]
    values = np.stack([on_grid(spectra[name], energy).values for name in UNKNOWNS])
    return xr.DataArray(
        quantity(("frame", "energy"), values, "1", "normalised absorption"),
        {"energy": quantity("energy", energy, "eV", "energy")},
        name="mu_norm",
    )
