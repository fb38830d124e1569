"""The ledger of X-ray dose: numbers of the issue, sums over spots, what is not known, what is refused."""

import numpy as np
import pytest
import xarray as xr

from batlab.align import dose
from batlab.align.dose_ledger import NOT_ASSESSED, as_gray, statement_of
from batlab.constants import HC
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

NCM811 = {"composition": "LiNi0.8Co0.1Mn0.1O2", "density": 4.7, "thickness": 30.0}
BEAM = {"flux": 1e11, "beam_size": (0.5, 0.5), **NCM811}


def exposures(seconds, spots=None, **attrs):
    n = len(seconds)
    coords = {"frame": quantity("frame", np.arange(n), "1", "frame")}
    coords["exposure"] = quantity("frame", np.asarray(seconds, dtype=float), "s", "exposure")
    if spots is not None:
        coords["spot"] = quantity("frame", np.asarray(spots), "1", "spot")
    return xr.Dataset({"a": quantity("frame", np.full(n, 2.87), "angstrom", "a")}, coords, attrs)


@pytest.mark.parametrize(("energy", "expected"), [(8350, 3545), (25e3, 1510), (35e3, 863), (60e3, 360)])
def test_dose_rates_of_ncm811(energy, expected):
    # kGy/s of the issue; total attenuation, mean over the depth.
    told = check(dose(exposures([1.0]), energy=energy, **BEAM))
    np.testing.assert_allclose(told["dose_rate"], expected, rtol=0.01)


def test_thin_and_thick_limits():
    thin = dose(exposures([1.0]), energy=25e3, **{**BEAM, "thickness": 1e-3})
    np.testing.assert_allclose(thin["dose_rate"], thin["dose_rate_front"], rtol=1e-5)  # Φ E μ / ρ A, no depth in it
    thick = dose(exposures([1.0]), energy=25e3, **{**BEAM, "thickness": 1e5})
    power = 1e11 * 25e3 * 1.602176634e-19  # W: all of it stays in
    np.testing.assert_allclose(thick["dose_rate"], power / (4700 * 0.25e-6 * 0.1), rtol=1e-9)
    np.testing.assert_allclose(thick["dose_rate_front"], thin["dose_rate_front"], rtol=1e-12)


def test_each_spot_has_its_own_sum():
    series = exposures([10, 20, 30, 40], spots=["hot", "cold", "hot", "cold"])
    told = check(dose(series, energy=25e3, **{**BEAM, "flux": [1e11, 1e11, 2e11, 0.0]}))
    rate = float(told["dose_rate"][0])
    np.testing.assert_allclose(told["dose"], rate * np.array([10, 20, 10 + 60, 20]))
    by_spot = told["dose"].groupby("spot").max()
    np.testing.assert_allclose(by_spot.sel(spot=["cold", "hot"]), rate * np.array([20, 70]))


def test_the_beam_may_be_on_for_longer_than_the_exposure():
    series = exposures([10, 10]).assign(beam_on=quantity("frame", [60.0, 60.0], "s", "shutter open"))
    told = dose(series, energy=25e3, **BEAM)
    np.testing.assert_allclose(told["dose"], told["dose_rate"] * [60, 120])


def test_a_ledger_runs_on_through_several_series():
    first = dose(exposures([10, 10], spots=[1, 2]), energy=25e3, **BEAM)
    second = dose(exposures([5, 5], spots=[2, 3]), energy=25e3, before=first, **BEAM)
    np.testing.assert_allclose(second["dose"], second["dose_rate"] * [15, 5])
    by_hand = dose(exposures([5, 5], spots=[2, 3]), energy=25e3, before={2: 1000.0}, **BEAM)
    np.testing.assert_allclose(by_hand["dose"], by_hand["dose_rate"] * 5 + [1000, 0])
    everywhere = dose(exposures([5, 5]), energy=25e3, before=1000.0, **BEAM)
    np.testing.assert_allclose(everywhere["dose"], 1000 + everywhere["dose_rate"] * [5, 10])


def test_the_energy_comes_from_the_series_where_it_is_known():
    named = dose(exposures([1.0]), energy=25e3, **BEAM)
    known = dose(exposures([1.0], wavelength=HC / 25e3), **BEAM)
    np.testing.assert_allclose(known["dose_rate"], named["dose_rate"])
    grid = np.array([8.2e3, 8.35e3, 8.5e3])
    spectra = exposures([1.0, 1.0]).assign_coords(energy=quantity("energy", grid, "eV", "energy"))
    spectra["mu"] = quantity(("frame", "energy"), np.ones((2, 3)), "1", "absorption")
    each = [float(dose(exposures([1.0]), energy=one, **BEAM)["dose_rate"][0]) for one in grid]
    np.testing.assert_allclose(dose(spectra, **BEAM)["dose_rate"], np.mean(each))
    changing = dose(exposures([1.0] * 3), energy=grid, **BEAM)
    np.testing.assert_allclose(changing["dose_rate"], each)


def test_it_says_that_it_is_an_upper_bound_and_changes_nothing():
    series = exposures([10.0, 10.0], spots=["hot", "cold"])
    before = series.copy(deep=True)
    told = dose(series, energy=25e3, **BEAM)
    xr.testing.assert_identical(series, before)
    assert "upper bound from attenuation" in told.attrs["dose_statement"]
    assert "15.1 kGy on spot hot, 15.1 kGy on spot cold" in told.attrs["dose_statement"]
    assert "upper bound" in told["dose"].attrs["long_name"]
    assert "align.dose(flux=100000000000.0" in told.attrs["history"]
    assert statement_of(told) == told.attrs["dose_statement"]
    assert statement_of(series) == statement_of(None) == NOT_ASSESSED == "dose not assessed"
    many = dose(exposures([10.0] * 6, spots=range(6)), energy=25e3, **BEAM)
    assert "on any of 6 spots" in many.attrs["dose_statement"]


def test_a_frame_of_unknown_flux_leaves_the_spot_unknown():
    series = exposures([10] * 4, spots=[1, 2, 1, 2])
    with pytest.warns(UserWarning, match="1 of 4 frames"):
        told = dose(series, energy=25e3, **{**BEAM, "flux": [1e11, np.nan, 1e11, 1e11]})
    assert np.isnan(told["dose"].values).tolist() == [False, True, False, True]
    assert "unknown dose on spot 2" in told.attrs["dose_statement"]
    check(told)


def test_no_frames():
    told = check(dose(exposures([]), energy=25e3, **BEAM))
    assert told.sizes["frame"] == 0
    assert told.attrs["dose_statement"].startswith("no exposures")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"flux": -1.0}, ValueError, "at least 0, got -1"),
        ({"flux": [1e11, 1e11]}, DimensionError, "one for each of 3 frames"),
        ({"beam_size": 0.5}, ValueError, r"\(width, height\) in mm"),
        ({"beam_size": (0.5, 0.0)}, ValueError, "both above 0"),
        ({"energy": 25.0}, ValueError, "factor of 1000"),
        ({"energy": None}, ValueError, "give energy= in eV"),
        ({"composition": "LiXx2"}, ValueError, "must be a formula"),
        ({"composition": ""}, ValueError, "empty text"),
        ({"density": 0.0}, ValueError, "density must be a number above 0"),
        ({"thickness": np.nan}, ValueError, "thickness must be a number above 0"),
        ({"before": {"hto": 1.0}}, ValueError, "before names spot 'hto'"),
        ({"before": {"hot": -1.0}}, ValueError, "at least 0, got {'hot': -1.0}"),
        ({"before": xr.Dataset()}, SchemaError, "a result of align.dose"),
    ],
)
def test_what_makes_no_sense_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        dose(exposures([1, 1, 1], spots=["hot"] * 3), **{**BEAM, "energy": 25e3, **change})


def test_series_that_do_not_say_enough_are_refused():
    with pytest.raises(DimensionError, match="needs dimension 'frame'"):
        dose(xr.Dataset(), energy=25e3, **BEAM)
    with pytest.raises(ValueError, match="assign 'exposure' or 'beam_on'"):
        dose(exposures([1, 1]).drop_vars("exposure"), energy=25e3, **BEAM)
    with pytest.raises(SchemaError, match="'spot' is missing in frame 1"):
        dose(exposures([1, 1], spots=[1.0, np.nan]), energy=25e3, **BEAM)
    with pytest.raises(DimensionError, match="'spot' over"):
        dose(exposures([1, 1]).assign_coords(spot=xr.Variable((), 1)), energy=25e3, **BEAM)


def test_doses_in_words():
    assert [as_gray(x) for x in (0.5, 999.0, 1510.4, 2.5e6, 3e9)] == [
        "0.5 Gy",
        "999 Gy",
        "1.51 kGy",
        "2.5 MGy",
        "3 GGy",
    ]
