"""Peaks found in noise, where they were planted and nowhere else."""

import numpy as np
import pytest
import xarray as xr

from batlab import curves
from batlab.errors import DimensionError
from batlab.schema import check, quantity


def patterns(peaks, *, level=200.0, n=3000, frames=1, seed=0, slope=0.0):
    q = np.linspace(1, 6, n)
    expected = level + slope * (q - 1)
    for x0, height, width in peaks:
        expected = expected + height * np.exp(-4 * np.log(2) * ((q - x0) / width) ** 2)
    counts = np.random.default_rng(seed).poisson(expected, (frames, n)).astype(float)
    return xr.Dataset(
        {"intensity": quantity(("frame", "q"), counts, "count", "intensity")},
        {"q": quantity("q", q, "1/angstrom", "scattering vector")},
    )


PLANTED = [(1.8, 150, 0.02), (2.5, 2000, 0.03), (2.6, 300, 0.03), (4.0, 60, 0.1), (5.2, 400, 0.02)]


def test_planted_peaks_are_found_and_no_others():
    found = check(curves.find_peaks(patterns(PLANTED, slope=100.0)))
    assert found.sizes["peak"] == len(PLANTED)
    np.testing.assert_allclose(found.position, [peak[0] for peak in PLANTED], atol=0.02)
    np.testing.assert_allclose(found.fwhm, [peak[2] for peak in PLANTED], rtol=0.7)
    np.testing.assert_allclose(found.height, [peak[1] for peak in PLANTED], rtol=0.5)


@pytest.mark.parametrize("level", [0.5, 10.0, 1e5])
def test_noise_holds_none(level):
    for seed in range(20):
        assert curves.find_peaks(patterns([], level=level, seed=seed)).sizes["peak"] == 0


def test_a_peak_of_one_frame_needs_that_frame_or_the_maximum():
    series = patterns([], frames=50)
    q = series.q.values
    series["intensity"][7] += np.round(60 * np.exp(-4 * np.log(2) * ((q - 3) / 0.03) ** 2))
    assert curves.find_peaks(series).sizes["peak"] == 0
    assert curves.find_peaks(series, frame=8).sizes["peak"] == 0
    for found in (curves.find_peaks(series, frame=7), check(curves.find_peaks(series, over="max"))):
        np.testing.assert_allclose(found.position, [3.0], atol=0.015)


def test_a_constant_and_missing_points():
    series = patterns(PLANTED)
    series["intensity"][0, 500:520] = np.nan
    assert curves.find_peaks(series).sizes["peak"] == len(PLANTED)
    series["intensity"][:] = np.nan
    assert check(curves.find_peaks(series)).sizes["peak"] == 0
    series["intensity"][:] = 7.0
    assert curves.find_peaks(series).sizes["peak"] == 0


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match="over must be 'mean' or 'max'"):
        curves.find_peaks(patterns([]), over="median")
    with pytest.raises(IndexError, match="frame must lie in 0 to 0, got 3"):
        curves.find_peaks(patterns([]), frame=3)
    with pytest.raises(DimensionError, match="find_peaks needs dimension"):
        curves.find_peaks(patterns([]).rename(q="energy"))
