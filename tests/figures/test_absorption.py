"""Figures of absorption spectra: which numbers, in which unit, from which data."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from batlab import figures, xas
from batlab.errors import DimensionError

_spec = importlib.util.spec_from_file_location(
    "batlab_small_spectra", Path(__file__).parents[1] / "dashboards" / "spectra.py"
)
spectra = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(spectra)


@pytest.fixture(scope="module")
def done():
    table = xas.normalize(spectra.series(6), pre=(-150, -50), post=(100, 600), nnorm=2)
    return xas.fourier_transform(xas.remove_background(table), kmin=3, kmax=12)


def _data(plot, name):
    return plot.select_one({"name": name}).data_source.data


def test_the_lines_about_an_edge_are_the_fits(done):
    """The line is a polynomial fitted to the window before the edge, the curve one to what is above that line."""
    plot = figures.absorption(done, 2)
    shown, scan = _data(plot, "mu_y"), done.isel(frame=2)
    energy, mu, e0 = scan["energy"].values, scan["mu"].values, float(scan["e0"])
    # The points that `normalize` states: from the last at or below the start to before the nearest to the end.
    window = slice(np.searchsorted(energy, e0 - 150, "right") - 1, np.abs(energy - e0 + 50).argmin())
    line = np.polynomial.Polynomial.fit(energy[window], mu[window], 1)
    np.testing.assert_allclose(shown["before"], line(energy), atol=2e-6)
    window = slice(np.searchsorted(energy, e0 + 100, "right") - 1, np.abs(energy - e0 - 600).argmin())
    curve = np.polynomial.Polynomial.fit(energy[window], (mu - line(energy))[window], 2)
    behind = energy >= e0
    np.testing.assert_allclose(shown["after"][behind], (line(energy) + curve(energy))[behind], atol=2e-6)
    assert np.isnan(shown["after"][~behind]).all()
    np.testing.assert_allclose(shown["y"], mu, rtol=1e-6)
    box = plot.select_one({"name": "pre_window"})
    assert (box.left, box.right) == pytest.approx((e0 - 150, e0 - 50))
    assert plot.select_one({"name": "e0_line"}).location == pytest.approx(e0)
    assert plot.title.text.startswith("frame 2 ")


def test_axes_say_what_they_show(done):
    labels = {
        "mu": ("energy (eV)", "μ"), "mu_flat": ("energy (eV)", "normalised μ"),
        "derivative": ("energy (eV)", "dμ/dE (eV⁻¹)"), "chi": ("k (Å⁻¹)", "k² χ(k) (Å⁻²)"),
        "chi_r_mag": ("R (Å)", "|χ(R)| (Å⁻³)"),
    }  # fmt: skip
    for curve, wanted in labels.items():
        plot = figures.absorption(done, 0, curve=curve)
        assert (plot.xaxis[0].axis_label, plot.yaxis[0].axis_label) == wanted


def test_derivative_and_weighted_chi(done):
    scan = done.isel(frame=1)
    shown = _data(figures.absorption(done, 1, curve="derivative"), "derivative_y")
    # Between two points the mean slope: its sum is the rise.
    rise = np.trapezoid(shown["y"], shown["x"])
    assert rise == pytest.approx(float(scan["mu_norm"][-1] - scan["mu_norm"][0]), abs=0.01)
    assert shown["x"][np.argmax(shown["y"])] == pytest.approx(spectra.edges(6)[1], abs=0.5)
    shown = _data(figures.absorption(done, 1, curve="chi", kweight=3), "chi_y")
    np.testing.assert_allclose(shown["y"], scan["chi"] * scan["k"] ** 3, rtol=1e-5, atol=1e-6)
    assert np.nanmax(shown["window"]) == pytest.approx(np.abs(shown["y"]).max())


def test_a_single_spectrum_and_one_without_results(done):
    scan = spectra.series(6).isel(frame=3, drop=True)
    plot = figures.absorption(scan)
    assert not plot.select_one({"name": "pre_window"}).visible
    assert np.isnan(_data(plot, "mu_y")["before"]).all()
    assert plot.title.text == ""


def test_what_is_missing_is_named(done):
    bare = spectra.series(6)
    with pytest.raises(DimensionError, match=r"'mu_norm'.*xas\.normalize"):
        figures.absorption(bare, 0, curve="mu_flat")
    with pytest.raises(DimensionError, match=r"'chi' over \('frame', 'k'\).*xas\.remove_background"):
        figures.absorption_map(bare, curve="chi")
    with pytest.raises(ValueError, match="did you mean 'mu_flat'"):
        figures.absorption(done, 0, curve="mu_flatt")
    with pytest.raises(ValueError, match="frame=…"):
        figures.absorption(done)
    with pytest.raises(ValueError, match="frame 77"):
        figures.absorption(done, 77)
    with pytest.raises(DimensionError, match="did you mean 'voltage'"):
        figures.edge_trend(done, against="voltages")


def test_map_shows_the_curve_of_every_frame(done):
    before = done.copy(deep=True)
    plot = figures.absorption_map(done, curve="chi_r_mag", limits=(0, float(done["chi_r_mag"].max())))
    pixels = _data(plot, "map_image")["image"][0]
    assert pixels.dtype == np.uint8
    assert len(pixels) == 6
    columns = _data(plot, "map_image")
    r = columns["x"][0] + (pixels[0].argmax() + 0.5) * columns["dw"][0] / pixels.shape[1]
    assert r == pytest.approx(spectra.DISTANCE, abs=0.05)  # planted without a phase shift
    assert (plot.xaxis[0].axis_label, plot.select_one({"name": "map_bar"}).title) == ("R (Å)", "|χ(R)|")
    difference = figures.absorption_map(done, curve="derivative", reference=0)
    assert difference.select_one({"name": "map_bar"}).title == "dμ/dE (eV⁻¹) minus frame 0"
    assert len(np.unique(_data(difference, "map_image")["image"][0][0])) == 1
    xr.testing.assert_identical(done, before)


def test_trend_against_time_voltage_and_frame(done):
    plot = figures.edge_trend(done, against="time", cursor=3)
    shown = _data(plot, "track_points")
    np.testing.assert_allclose(shown["place"], np.arange(6) / 6)  # every ten minutes, in hours
    np.testing.assert_allclose(shown["value"], done["e0"])
    np.testing.assert_allclose(_data(plot, "trend_voltage_line")["value"], done["voltage"])
    assert _data(plot, "trend_cursor")["place"] == pytest.approx([0.5])
    assert plot.yaxis[0].axis_label == "edge energy (eV)"
    plot = figures.edge_trend(done, against="voltage")
    np.testing.assert_allclose(_data(plot, "track_points")["place"], done["voltage"])
    assert not plot.right[0].visible
    assert not len(_data(plot, "trend_cursor")["place"])
    plot = figures.edge_trend(done, "edge_step", against="capacity")
    assert plot.yaxis[0].axis_label == "edge step"
    assert plot.xaxis[0].axis_label == "capacity (µAh)"


def test_frames_with_grids_of_their_own_stand_at_their_energies(done):
    own = done[["mu", "mu_norm", "mu_flat", "e0", "edge_step"]].drop_vars("energy")
    energy = done.energy.values + 0.1 * np.arange(6)[:, None]
    own["energy_measured"] = xr.Variable(("frame", "energy"), energy, {"units": "eV", "long_name": "energies"})
    np.testing.assert_array_equal(_data(figures.absorption(own, 2, curve="mu_flat"), "mu_flat_y")["x"], energy[2])
    slope, shared = (_data(figures.absorption(one, 2, curve="derivative"), "derivative_y")["y"] for one in (own, done))
    np.testing.assert_allclose(slope, shared, rtol=1e-6)  # the steps are the same
    with pytest.raises(DimensionError, match="needs one grid of 'energy' for all frames"):
        figures.absorption_map(own)
