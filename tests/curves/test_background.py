"""Backgrounds: what is smooth goes, what is a peak stays, and nothing else changes."""

import numpy as np
import pytest
import xarray as xr

from batlab import curves
from batlab.schema import check, quantity


def pattern(frames=2):
    q = np.linspace(1, 6, 1500)
    smooth = 300 * np.exp(-q / 3) + 40
    peak = 500 * np.exp(-4 * np.log(2) * ((q - 3) / 0.04) ** 2)
    return xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), np.tile(smooth + peak, (frames, 1)), "count", "intensity"),
            "intensity_sigma": quantity(("frame", "q"), np.full((frames, 1500), 3.0), "count", "uncertainty"),
        },
        {"q": quantity("q", q, "1/angstrom", "scattering vector")},
    ), smooth


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("snip", {}), ("arpls", {"lam": 1e6}), ("asls", {"lam": 1e6, "p": 1e-3}), ("imodpoly", {"poly_order": 4})],
)
def test_the_smooth_part_is_taken_off(method, parameters):
    data, smooth = pattern()
    noise = np.random.default_rng(0).normal(0, 3, data.intensity.shape)
    data["intensity"] = data.intensity.copy(data=data.intensity.values + noise)
    before = data.copy(deep=True)
    flat = check(curves.subtract_background(data, method=method, **parameters))
    np.testing.assert_allclose(flat.background[0], smooth, atol=15)
    np.testing.assert_allclose(flat.intensity + flat.background, data.intensity, rtol=1e-12)
    assert flat.intensity.max().item() == pytest.approx(500, rel=0.03)
    xr.testing.assert_identical(flat.intensity_sigma, data.intensity_sigma)
    xr.testing.assert_identical(data, before)


def test_missing_points_stay_missing_and_harm_nothing():
    data, smooth = pattern()
    data["intensity"][0, 200:210] = np.nan
    data["intensity"][1] = np.nan
    flat = check(curves.subtract_background(data))
    assert np.isnan(flat.intensity[0, 200:210]).all()
    assert np.isnan(flat.background[1]).all()
    np.testing.assert_allclose(flat.background[0, 300:], smooth[300:], atol=12)


def test_a_single_pattern_keeps_its_dimensions():
    data, _ = pattern()
    one = curves.subtract_background(data.isel(frame=0))
    assert one.background.dims == ("q",)


def test_the_background_still_counts_in_the_noise_of_a_fit():
    data, _ = pattern(frames=40)
    counts = np.random.default_rng(0).poisson(data.intensity.values).astype(float)
    raw = data.drop_vars("intensity_sigma").assign(intensity=quantity(("frame", "q"), counts, "count", "intensity"))
    before = curves.fit_peaks(raw, near=[3.0])
    after = curves.fit_peaks(curves.subtract_background(raw, method="arpls", lam=1e7), near=[3.0])
    np.testing.assert_allclose(after.position_sigma.mean(), before.position_sigma.mean(), rtol=0.05)
    assert after.chi2_reduced.mean().item() == pytest.approx(1, abs=0.05)


def test_wrong_words_are_refused():
    data, _ = pattern()
    with pytest.raises(ValueError, match="did you mean 'arpls'"):
        curves.subtract_background(data, method="arlps")
    with pytest.raises(ValueError, match="refuses the parameters"):
        curves.subtract_background(data, method="arpls", lamda=3)
    with pytest.raises(ValueError, match="already"):
        curves.subtract_background(curves.subtract_background(data))
