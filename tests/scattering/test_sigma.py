"""The σ of a peak where neighbouring bins share pixels: peaks of many Poisson images scatter as their σ says.

Which pixel contributes how much to which bin is pyFAI's answer; images and patterns are made here from it.
"""

from functools import cache

import numpy as np
import pytest
import xarray as xr
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from scipy.sparse import csr_matrix

from batlab.curves import find_peaks, fit_peaks, regrid
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

SIZE, N_FRAMES = 360, 400
PARAMETERS = ("position", "height", "fwhm", "eta", "area")


@cache
def matrix(split, n_bins):
    """Return (bin, pixel) parts, the bins' 2θ and the pixels' 2θ [degree] of a small detector beside the beam."""
    detector = Detector(1e-4, 1e-4, max_shape=(SIZE, SIZE))
    ai = AzimuthalIntegrator(dist=0.1, poni1=0.007, poni2=-0.0003, detector=detector, wavelength=1e-10)
    ai.integrate1d(np.ones((SIZE, SIZE), np.float32), n_bins, unit="2th_deg", method=(split, "csr", "cython"))
    engine = next(one.engine for key, one in ai.engines.items() if key.algo_lower == "csr")
    parts = csr_matrix((engine.data.astype(float), engine.indices, engine.indptr), shape=(n_bins, SIZE**2))
    return parts, np.degrees(engine.bin_centers), ai.center_array((SIZE, SIZE), unit="2th_deg").ravel()


@cache
def patterns(split, n_bins, fwhm_bins):
    """Return Poisson patterns of five rings with their true positions, height and width."""
    parts, two_theta, pixel = matrix(split, n_bins)
    width = fwhm_bins * (two_theta[1] - two_theta[0])
    places = np.linspace(two_theta[n_bins // 5], two_theta[-n_bins // 5], 5) + 0.37 * width / fwhm_bins
    u = (pixel[:, None] - places) / width
    expected = 20 + 300 * (0.5 / (1 + 4 * u**2) + 0.5 * np.exp(-4 * np.log(2) * u**2)).sum(axis=1)
    images = np.random.default_rng(n_bins).poisson(expected, (N_FRAMES, SIZE**2)).T.astype(float)
    norm = np.asarray(parts.sum(axis=1)).ravel()
    squares = parts.power(2)
    dims = ("frame", "two_theta")
    made = xr.Dataset(
        {
            "intensity": quantity(dims, (parts @ images).T / norm, "count", "intensity"),
            "intensity_sigma": quantity(dims, np.sqrt((squares @ np.maximum(images, 1)).T) / norm, "count", "σ"),
            "n_pixels": quantity(dims, np.tile(norm, (N_FRAMES, 1)), "1", "number of pixels"),
            "sigma_inflation": quantity(
                "two_theta", np.sqrt(norm / np.asarray(squares.sum(axis=1)).ravel()), "1", "inflation of σ"
            ),
        },
        {"two_theta": quantity("two_theta", two_theta, "degree", "scattering angle")},
        {"split": split},
    )
    return made, places, width


def spread(peaks, truth, name):
    """Return the root mean square of (found - true) / σ over all frames and peaks."""
    pulls = ((peaks[name] - truth) / peaks[f"{name}_sigma"]).values
    assert np.isfinite(pulls).mean() > 0.98
    return float(np.sqrt(np.nanmean(pulls**2)))


AREA = 300 * 0.5 * (np.pi / 2 + np.sqrt(np.pi / np.log(2)) / 2)  # times the width


@pytest.mark.parametrize("split", ["bbox", "full"])
@pytest.mark.parametrize(("n_bins", "fwhm_bins"), [(300, 8), (600, 16)])
def test_peaks_scatter_as_their_sigma_says(split, n_bins, fwhm_bins):
    series, places, width = patterns(split, n_bins, fwhm_bins)
    peaks = check(fit_peaks(series, near=list(places), width=width))
    alone = fit_peaks(series.drop_vars("sigma_inflation"), near=list(places), width=width)
    factor = float(series["sigma_inflation"].interp(two_theta=places).mean())
    assert factor > 1.1
    for name, truth in (("position", places), ("area", peaks["area"].mean("frame"))):
        assert spread(peaks, truth, name) == pytest.approx(1, abs=0.1)
        # pyFAI#2774: without the factor σ is too small, by just that factor.
        assert spread(alone, truth, name) == pytest.approx(factor, rel=0.1)
    assert float(peaks["area"].mean()) == pytest.approx(AREA * width, rel=0.02)


def test_the_whole_pixels_of_unsplit_data_need_no_factor():
    series, places, width = patterns("no", 300, 8)
    np.testing.assert_allclose(series["sigma_inflation"], 1, rtol=1e-12)
    peaks = fit_peaks(series.drop_vars(["sigma_inflation", "n_pixels"]), near=list(places), width=width)
    assert spread(peaks, peaks["area"].mean("frame"), "area") == pytest.approx(1, abs=0.1)


def test_a_factor_of_one_changes_no_bit():
    series, places, width = patterns("no", 300, 8)
    series = series.isel(frame=slice(0, 5))
    ones = series.assign(sigma_inflation=quantity("two_theta", np.ones(300), "1", "inflation of σ"))
    with_it = fit_peaks(ones, near=list(places), width=width)
    without = fit_peaks(series.drop_vars("sigma_inflation"), near=list(places), width=width)
    xr.testing.assert_identical(with_it.drop_attrs(), without.drop_attrs())


def test_a_constant_factor_scales_sigma_and_nothing_else():
    series, places, width = patterns("bbox", 300, 8)
    series = series.isel(frame=slice(0, 20)).drop_vars("sigma_inflation")
    twice = series.assign(sigma_inflation=quantity("two_theta", np.full(300, 2.0), "1", "inflation of σ"))
    one, two = (fit_peaks(each, near=list(places), width=width) for each in (series, twice))
    for name in PARAMETERS:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-6)
        np.testing.assert_allclose(two[f"{name}_sigma"], 2 * one[f"{name}_sigma"], rtol=1e-5)
    np.testing.assert_allclose(two["chi2_reduced"], one["chi2_reduced"], rtol=1e-6)
    strong, weak = find_peaks(series, width=width), find_peaks(twice, width=width)
    np.testing.assert_allclose(weak["strength"].max(), strong["strength"].max() / 2, rtol=1e-6)


def test_empty_bins_and_regridding_keep_the_factor():
    series, places, width = patterns("bbox", 300, 8)
    series = series.isel(frame=slice(0, 3))
    axis = series["two_theta"].values
    series["sigma_inflation"][:3] = np.nan
    assert (fit_peaks(series, near=list(places), width=width)["status"] == 0).all()
    halved = regrid(series, 0.5 * (axis[3:-1:2] + axis[4::2])[1:-1], method="rebin")
    np.testing.assert_allclose(halved["sigma_inflation"].isel(two_theta=slice(5, -5)), 1.19, atol=0.1)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf])
def test_an_impossible_factor_is_refused(value):
    series, places, _ = patterns("bbox", 300, 8)
    bad = series.assign(sigma_inflation=quantity("two_theta", np.full(300, value), "1", "inflation of σ"))
    with pytest.raises(SchemaError, match="sigma_inflation must be positive"):
        fit_peaks(bad, near=list(places))


def test_a_factor_of_every_frame_is_refused():
    series, places, _ = patterns("bbox", 300, 8)
    bad = series.assign(sigma_inflation=series["intensity"])
    with pytest.raises(DimensionError, match=r"sigma_inflation must be over \('two_theta',\)"):
        fit_peaks(bad, near=list(places))
