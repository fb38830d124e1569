"""Guinier and Kratky: planted radii, the protein of the issue, windows that find themselves, bad input."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io
from batlab.errors import DimensionError, SchemaError
from batlab.saxs import guinier, kratky, sphere, subtract
from batlab.schema import check, quantity

Q = np.linspace(0.002, 0.2, 200)
RG = 40 * np.sqrt(0.6)


def test_a_sphere_within_half_a_percent(made):
    exact = made.curves(Q, sphere(Q, 40.0), 1e-3 * sphere(Q, 40.0))
    found = check(guinier(exact))
    assert float(found["rg"][0]) == pytest.approx(RG, rel=0.005)
    assert float(found["i0"][0]) == pytest.approx(float(sphere(0.0, 40.0)), rel=0.005)
    assert found["status"].values.tolist() == [0]
    assert "saxs.guinier" in found.attrs["history"]


@pytest.mark.parametrize("relative", [0.001, 0.01])
def test_pulls_of_rg_are_of_size_one(made, relative):
    found = guinier(made.noisy(Q, sphere(Q, 40.0), relative, 100))
    pulls = ((found["rg"] - RG) / found["rg_sigma"]).values
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.3  # bias of Guinier's law is part of σ


def test_gaussian_law_in_a_given_window_has_pulls_of_one(made):
    row = 5.0 * np.exp(-(Q**2) * 30.0**2 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three frames of a thousand look curved
        found = guinier(made.noisy(Q, row, 0.02, 300, seed=3), window=(0.002, 0.03))
    # The law is exact here: its share Δ in σ is taken out.
    statistical = found["rg_sigma"] / np.sqrt(1 + found["curvature"] ** 2)
    assert 0.9 < float(((found["rg"] - 30.0) / statistical).std()) < 1.1


@pytest.mark.data
def test_glucose_isomerase():
    found = check(guinier(io.open(datasets.path("glucose_isomerase") / "glucose_isomerase.dat", units="1/angstrom")))
    # Issue: 33.4 (GNOM) to 33.9 (auto-Guinier of RAW), each ± 0.5.
    assert 32.9 < float(found["rg"][0]) < 34.4
    assert float(found["i0"][0]) == pytest.approx(0.0612, rel=0.02)  # GNOM: 0.06118


@pytest.mark.data
def test_glucose_isomerase_from_sample_and_buffer():
    folder = datasets.path("glucose_isomerase")
    sample = io.open(str(folder / "GI2_A9_19_001_*.dat"), units="1/angstrom")
    buffer = io.open(str(folder / "GIbuf2_A9_18_001_*.dat"), units="1/angstrom")
    rows = check(subtract(sample, buffer))
    given = io.open(folder / "glucose_isomerase.dat", units="1/angstrom")
    # RAW's own subtraction of the same averages (it leaves some frames out and rounds).
    mean = rows["intensity"].mean("frame").values
    pulls = (mean - given["intensity"].values[0]) / given["intensity_sigma"].values[0]
    assert np.abs(pulls).mean() < 1.0
    found = guinier(rows)
    assert ((found["rg"] - 33.4) / found["rg_sigma"]).std() < 1.5


def test_points_at_the_beam_stop_are_left_out(made):
    row = sphere(Q, 40.0)
    row[:4] *= [3.0, 2.0, 1.5, 1.2]
    found = guinier(made.noisy(Q, row, 0.01, 20))
    assert (found["q_low"] >= Q[4]).all()
    np.testing.assert_allclose(found["rg"], RG, rtol=0.06)


def test_rods_and_sheets(made):
    q = np.linspace(0.004, 0.12, 100)
    rod = made.curves(q, np.exp(-(q**2) * 12.0**2 / 2) / q, 1e-4 / q)
    assert float(guinier(rod, shape="rod")["rg"][0]) == pytest.approx(12.0, rel=1e-3)
    sheet = made.curves(q, np.exp(-(q**2) * 8.0**2) / q**2, 1e-5 / q**2)
    assert float(guinier(sheet, shape="sheet")["rg"][0]) == pytest.approx(8.0, rel=1e-3)
    with pytest.raises(ValueError, match="shape must be"):
        guinier(rod, shape="disc")


def test_results_land_on_the_frames_with_what_they_carry(made):
    table = made.noisy(Q, sphere(Q, 40.0), 0.01, 3)
    table = table.assign_coords(voltage=quantity("frame", [1.2, 1.5, 1.9], "V", "voltage"))
    found = check(guinier(table))
    assert found["voltage"].values.tolist() == [1.2, 1.5, 1.9]
    assert found["rg"].dims == ("frame",)


def test_what_cannot_be_fitted_is_nan_and_said(made):
    row = sphere(Q, 40.0)
    table = made.curves(Q, [row, np.full(Q.size, np.nan), 1 + Q * 100], 0.01)
    before = table.copy(deep=True)
    with pytest.warns(UserWarning, match="1 few_points, 1 no_falling of 3 frames"):
        found = check(guinier(table))
    assert found["status"].values.tolist() == [0, 2, 3]
    assert np.isnan(found["rg"].values[1:]).all()
    xr.testing.assert_identical(table, before)


def test_bad_input(made):
    good = made.curves(Q, sphere(Q, 40.0), 1.0)
    with pytest.raises(ValueError, match="leaves 0 of q"):
        guinier(good, window=(0.5, 0.6))
    with pytest.raises(ValueError, match="low < high"):
        guinier(good, window=(0.3, 0.1))
    with pytest.raises(SchemaError, match="needs a Dataset with 'intensity'"):
        guinier(good.rename(intensity="counts"))
    with pytest.raises(DimensionError, match=r"scattering\.to_q"):
        guinier(good.rename(q="two_theta"))
    with pytest.warns(UserWarning, match="there is no intensity_sigma"):
        guinier(good.drop_vars("intensity_sigma"))
    below = sphere(Q, 40.0)
    below[10:16] = -1.0
    with pytest.warns(UserWarning, match="9% of the intensities in its window are not above 0"):
        guinier(made.curves(Q, below, 0.01 * sphere(Q, 40.0)))
    with pytest.warns(UserWarning, match="begins only at q Rg above 1"):
        guinier(good.sel(q=slice(0.034, 0.2)), window=(0.034, 0.041))


def test_kratky_of_a_compact_particle_peaks_where_it_must(made):
    q = np.linspace(1e-3, 0.2, 2000)
    table = made.curves(q, np.exp(-(q**2) * 30.0**2 / 3), 1e-6)
    view = check(kratky(table, guinier(table)))
    top = int(np.argmax(view["kratky"].values[0]))
    assert float(view["q_rg"][0, top]) == pytest.approx(np.sqrt(3), abs=5e-3)
    assert float(view["kratky"][0, top]) == pytest.approx(3 / np.e, rel=1e-3)
    with pytest.raises(ValueError, match="same 2 frames"):
        kratky(made.curves(q, np.ones((2, q.size)), 1.0), guinier(table))
