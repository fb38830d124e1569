"""Pixels to energies: planted polynomials, and foils that beamlines calibrated themselves."""

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io, xas
from batlab.errors import DimensionError
from batlab.schema import check, quantity


def edge(energy):
    """A step with a white line and damped oscillations."""
    e = energy - 8979.0
    wave = np.where(e > 0, np.sin(1.2 * (np.sqrt(np.abs(e) + 1) - 1)) * np.exp(-np.abs(e) / 150), 0)
    return np.arctan(e / 1.5) / np.pi + 0.5 + 0.3 / (1 + ((e - 8) / 5) ** 2) + 0.2 * wave


def reference(energy=None):
    energy = np.arange(8800.0, 9500.0, 0.5) if energy is None else energy
    return xr.Dataset(
        {"mu": quantity("energy", edge(energy), "1", "absorption")},
        {"energy": quantity("energy", energy, "eV", "photon energy")},
    )


def foil(energy, scale=1.0, slope=0.0):
    t = np.linspace(-1, 1, len(energy))
    return xr.Dataset(
        {"mu": quantity("pixel", scale * edge(energy) + slope * t, "1", "absorption")},
        {"pixel": quantity("pixel", np.arange(len(energy)), "1", "pixel")},
    )


@pytest.mark.parametrize("direction", [1, -1])
def test_planted_polynomial_is_returned(direction):
    t = np.linspace(-1, 1, 1000)
    truth = (9060 + 140 * t + 6 * t**2)[::direction]
    seen, known = foil(truth, 2.5, 0.3), reference()
    before = seen.copy(deep=True), known.copy(deep=True)
    result = check(xas.calibrate_pixels(seen, known, degree=2, blur=False))
    # The reference is interpolated linearly between points 0.5 eV apart.
    assert np.abs(result["energy"].values - truth).max() < 0.05
    assert result.attrs["residual"] < 1e-3
    assert result.attrs["overlap"] == 1.0
    assert result.attrs["coefficients"] == pytest.approx([9060, 140 * direction, 6], abs=0.1)
    assert "xas.calibrate_pixels(" in result.attrs["history"]
    for one, kept in zip((seen, known), before, strict=True):
        xr.testing.assert_identical(one, kept)


def test_missing_pixels_and_a_window():
    t = np.linspace(-1, 1, 800)
    truth = 9060 + 140 * t
    seen = foil(truth)
    seen["mu"][100:120] = np.nan
    seen["mu"][:50] = 5.0
    result = check(xas.calibrate_pixels(seen, reference(), degree=1, pixels=(60, 799), blur=False))
    assert np.abs(result["energy"].values - truth).max() < 0.05


@pytest.mark.data
def test_copper_at_id24_agrees_with_the_beamline():
    folder = datasets.path("cus2_dispersive")
    hints = {"columns": {"energy": 1, "mu": 2}, "energy_unit": "keV"}
    known, answer = io.open(folder / "cufoil_rt.txt", **hints), io.open(folder / "cu_08.calib", **hints)
    result = check(xas.calibrate_pixels(io.open(folder / "cu_08"), known))
    apart = np.abs(result["energy"].values - answer["energy"].values)
    # The beamline's own calibration; behind the oscillations, 340 eV above the edge, a foil says little.
    assert apart[answer["energy"].values < 9140].max() < 0.5
    assert apart.max() < 3.5
    assert result.attrs["residual"] < 0.005
    series = io.open(folder / "cus2_*", timezone="Europe/Paris")
    moved = check(xas.pixels_to_energy(series, result))
    assert moved["mu"].dims == ("frame", "energy")
    np.testing.assert_array_equal(moved["mu"], series["mu"])
    assert "time" in moved.coords


@pytest.mark.data
def test_palladium_at_the_photon_factory_runs_backwards():
    folder = datasets.path("pd_dispersive")
    seen = io.open(folder / "Pd_foil.CSV")
    result = check(xas.calibrate_pixels(seen, io.open(folder / "Pd_foil_ref.txt")))
    assert result["energy"].values[0] > result["energy"].values[-1]
    assert result.attrs["residual"] < 0.01
    moved = check(xas.pixels_to_energy(seen, result))
    assert (np.diff(moved["energy"]) > 0).all()
    # Pd K lies at 24350 eV.
    inner = moved["mu"].sel(energy=slice(24300, 24400)).rolling(energy=7, center=True).mean().dropna("energy")
    steepest = float(inner["energy"][int(np.argmax(inner.differentiate("energy").values))])
    assert steepest == pytest.approx(24350, abs=6)


def test_another_foil_is_doubted_and_nonsense_refused():
    noise = foil(9060 + 140 * np.linspace(-1, 1, 500))
    noise["mu"].values[:] = np.random.default_rng(1).random(500)
    with pytest.warns(UserWarning, match=r"differ by \d+\.\d % of the reference's range"):
        xas.calibrate_pixels(noise, reference(), degree=1)
    good = foil(9060 + 140 * np.linspace(-1, 1, 500))
    with pytest.raises(DimensionError, match=r"needs a foil with mu over \('pixel',\), got \('energy',\)"):
        xas.calibrate_pixels(reference(), reference())
    with pytest.raises(DimensionError, match=r"needs a reference with mu over \('energy',\)"):
        xas.calibrate_pixels(good, good)
    with pytest.raises(ValueError, match="degree must be 1, 2, 3 or 4, got 7"):
        xas.calibrate_pixels(good, reference(), degree=7)
    with pytest.raises(ValueError, match="is constant"):
        xas.calibrate_pixels(good * 0 + good.pixel * 0, reference())
    with pytest.raises(ValueError, match="at least 20 points, got 6 pixels"):
        xas.calibrate_pixels(good, reference(), pixels=(10, 15))
    with pytest.raises(ValueError, match="no dispersion puts half"):
        xas.calibrate_pixels(good, reference(), dispersion=50.0)
    known = xas.calibrate_pixels(foil(9060 + 140 * np.linspace(-1, 1, 400)), reference(), degree=1)
    with pytest.raises(DimensionError, match="equal pixels, got 500 in the series and 400"):
        xas.pixels_to_energy(good, known)
    with pytest.raises(DimensionError, match="calibration with energy over 'pixel'"):
        xas.pixels_to_energy(good, good)
