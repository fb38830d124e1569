"""Split pixels: pyFAI of the same scheme beside, and what must hold for each."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scattering_scenes import DIMS, GEOMETRIES, SHAPE, assert_like, counts, frames_of, pyfai

from batlab import scattering, schema

TILTED = GEOMETRIES["tilted"]
PLAIN = {"polarization": None, "solid_angle": False}
SPLITS = ("no", "bbox", "full")


@pytest.mark.parametrize("algorithm", ["csr", "csc", "histogram"])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_it_equals_pyfai_of_the_same_scheme(name, split, algorithm):
    data, geometry = counts(), GEOMETRIES[name]
    ours = schema.check(scattering.integrate(frames_of(data), geometry, n_bins=150, split=split))
    assert_like(ours, pyfai(data[0], geometry, split, algorithm, 150))
    assert ours.attrs["split"] == split


@pytest.mark.parametrize("split", ["bbox", "full"])
@pytest.mark.parametrize("unit", DIMS)
@pytest.mark.parametrize("n_bins", [40, 1000])
def test_it_does_in_every_unit_and_for_wide_and_narrow_bins(unit, split, n_bins):
    data = counts(dtype=np.uint16)
    ours = schema.check(scattering.integrate(frames_of(data), TILTED, n_bins=n_bins, split=split, unit=unit))
    assert ours.intensity.dims == ("frame", DIMS[unit])
    assert_like(ours, pyfai(data[0], TILTED, split, "csr", n_bins, unit=unit))


@pytest.mark.parametrize("split", ["bbox", "full"])
def test_it_does_with_mask_flat_dark_and_monitor(split):
    data = counts() + np.uint32(3)
    random = np.random.default_rng(1)
    mask, flat = random.random(SHAPE) < 0.1, random.uniform(0.8, 1.2, SHAPE)
    dark = random.poisson(3, SHAPE).astype(float)
    ours = scattering.integrate(
        frames_of(data), TILTED, n_bins=150, split=split, mask=mask, flat=flat, dark=dark, monitor=250.0
    )
    # pyFAI leaves the dark's own noise out unless it is told.
    theirs = pyfai(
        data[0], TILTED, split, "csr", 150, mask=mask, flat=flat, dark=dark, normalization_factor=250.0,
        variance=np.maximum(data[0], 1) + dark, error_model=None,
    )  # fmt: skip
    assert_like(ours, theirs)


@pytest.mark.parametrize("split", SPLITS)
def test_a_given_variance_is_used(split):
    data = counts(3)
    variance = np.random.default_rng(2).uniform(0.5, 3, data.shape)
    ours = schema.check(scattering.integrate(frames_of(data), TILTED, n_bins=100, split=split, variance=variance))
    assert ours.attrs["error_model"] == "variance"
    algorithm = "histogram" if split == "no" else "csr"
    for k in range(3):
        theirs = pyfai(data[k], TILTED, split, algorithm, 100, variance=variance[k], error_model=None)
        assert_like(ours.isel(frame=[k]), theirs)
    one = scattering.integrate(frames_of(data), TILTED, n_bins=100, split=split, variance=variance[1])
    xr.testing.assert_equal(one.isel(frame=1, drop=True), ours.isel(frame=1, drop=True))
    lazy = xr.DataArray(variance, dims=("frame", "y", "x")).chunk(frame=2)
    xr.testing.assert_equal(
        scattering.integrate(frames_of(data).chunk(frame=1), TILTED, n_bins=100, split=split, variance=lazy), ours
    )


def test_pixels_without_a_finite_variance_are_left_out():
    data, variance = counts(2), np.ones((2, *SHAPE))
    variance[0, 40:60] = np.nan
    ours = scattering.integrate(frames_of(data), TILTED, n_bins=50, variance=variance, **PLAIN)
    assert ours.n_pixels.sum("q").values.tolist() == [160 * 210, 180 * 210]
    assert int(ours.signal.sum("q")[0]) == data[0].sum() - data[0, 40:60].sum()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("unit", ["q", "two_theta"])
def test_a_range_takes_what_reaches_into_it(split, unit):
    data = counts()
    ours = scattering.integrate(frames_of(data), TILTED, n_bins=100, split=split, q_range=(0.5, 2.0), unit=unit)
    limits = (0.5, 2.0)
    if unit == "two_theta":
        limits = tuple(np.degrees(2 * np.arcsin(np.array(limits) * 0.7 / (4 * np.pi))))
    theirs = pyfai(data[0], TILTED, split, "csr", 100, unit=unit, radial_range=limits)
    # pyFAI rounds towards zero: pixels wholly below the range, by less than a bin, fall into its first bin.
    assert_like(ours, theirs, n_different=1 if split != "full" else 0)


@pytest.mark.parametrize("limits", [(-100, 45), (0, 180), (-180, -90), (20, 21)])
@pytest.mark.parametrize("split", SPLITS)
def test_a_sector_equals_pyfai(split, limits):
    data = counts()
    ours = scattering.integrate(frames_of(data), TILTED, n_bins=60, split=split, azimuth_range=limits)
    algorithm = "histogram" if split == "no" else "csr"
    assert_like(ours, pyfai(data[0], TILTED, split, algorithm, 60, azimuth_range=limits))


@pytest.mark.parametrize("split", SPLITS)
def test_a_sector_across_the_seam_is_one_on_the_turned_detector(split):
    """A detector turned by 180 degree around the beam sees at azimuth 0 what the first sees at the seam."""
    data = counts()
    square = replace(TILTED, rot1=0.0, rot2=0.0, rot3=0.0)
    turned = replace(square, rot3=np.pi)
    options = {"n_bins": 60, "split": split, **PLAIN}
    across = scattering.integrate(frames_of(data), square, azimuth_range=(150, 215), **options)
    inside = scattering.integrate(frames_of(data), turned, azimuth_range=(-30, 35), **options)
    np.testing.assert_allclose(across.q, inside.q, rtol=1e-6)
    # Pixels on the sector's edge and rounding of edges of bins: a few of 37,800 may go the other way.
    assert abs(float(across.n_pixels.sum() - inside.n_pixels.sum())) <= 4
    np.testing.assert_allclose(across.n_pixels[:, 1:], inside.n_pixels[:, 1:], atol=1.01)  # but around the beam itself
    full = inside.n_pixels.values > 30
    np.testing.assert_allclose(across.intensity.values[full], inside.intensity.values[full], rtol=0.1)


@pytest.mark.parametrize("unit", DIMS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_flat_image_of_ones_gives_one(name, split, unit):
    frames = frames_of(np.ones((1, *SHAPE), np.uint16))
    for n_bins in (30, 700):
        ours = scattering.integrate(frames, GEOMETRIES[name], n_bins=n_bins, split=split, unit=unit, **PLAIN)
        values = ours.intensity.values[ours.n_pixels.values > 0]
        assert len(values) > 0.3 * n_bins
        np.testing.assert_allclose(values, 1, atol=1e-5)


@pytest.mark.parametrize("split", ["bbox", "full"])
def test_lost_pixels_take_their_parts_with_them(split):
    """Masks that vary, overflow and NaN, beside sums over the runs in plain numpy."""
    data = counts(4, dtype=np.float32)
    random = np.random.default_rng(3)
    mask = random.random(data.shape) < 0.2
    data[1, 30:60] = np.nan
    data[2, :, 100] = 77.0
    mask[3, :, :] = True
    mask[3, 90, 100] = False  # one pixel is left
    integrator = scattering.Integrator(TILTED, n_bins=90, split=split, error_model="poisson")
    frames = frames_of(data, overflow=[77.0]).assign(mask=schema.quantity(("frame", "y", "x"), mask, "1", "lost"))
    with pytest.warns(UserWarning, match="1 of 4 frames have lost more than 40 %"):
        ours = schema.check(integrator(frames))
    plan = integrator._last[2]
    runs = plan.index
    pixel = np.repeat(np.arange(len(runs.run_start) - 1), np.diff(runs.run_start)) * 2048 + runs.pixel
    expected = np.zeros((4, 4, 90))
    used = ~mask & np.isfinite(data) & (data != 77)
    entry = 0
    for where, first, length in zip(pixel.tolist(), runs.first.tolist(), runs.length.tolist(), strict=True):
        part = runs.weight[entry : entry + length].astype(float)
        entry += length
        for k in range(4):
            value = data[k].flat[where]
            if used[k].flat[where]:
                norm = plan.weights[0, where]
                rows = part * value, part**2 * max(value, 1), part * norm, part
                expected[k, :, first : first + length] += rows
    for row, name in enumerate(("signal", "variance", "normalization", "n_pixels")):
        np.testing.assert_allclose(ours[name].values, expected[:, row], rtol=1e-6, atol=1e-9, err_msg=name)
    assert (ours.n_pixels.values[3] > 0).sum() == (expected[3, 3] > 0).sum() > 0
    assert np.isfinite(ours.intensity.values[3]).sum() == (expected[3, 3] > 0).sum()


@pytest.mark.parametrize("split", ["bbox", "full"])
def test_scale_and_permutation(split):
    data = counts(4, dtype=np.uint16)
    ours = scattering.integrate(frames_of(data), TILTED, n_bins=50, split=split)
    tenfold = scattering.integrate(frames_of(data * 10), TILTED, n_bins=50, split=split)
    np.testing.assert_allclose(tenfold.intensity, 10 * ours.intensity, rtol=1e-12)
    backwards = scattering.integrate(frames_of(data[::-1]), TILTED, n_bins=50, split=split)
    np.testing.assert_array_equal(backwards.intensity.values[::-1], ours.intensity.values)


@pytest.mark.parametrize("split", ["bbox", "full"])
def test_all_counts_are_kept_whatever_the_bins(split):
    data = counts()
    for n_bins in (1, 7, 333):
        ours = scattering.integrate(frames_of(data), TILTED, n_bins=n_bins, split=split, **PLAIN)
        np.testing.assert_allclose(float(ours.signal.sum()), data.sum(), rtol=1e-6)
        np.testing.assert_allclose(float(ours.n_pixels.sum()), data.size, rtol=1e-6)
    assert ours.n_pixels.dtype == np.float64


@pytest.mark.parametrize("split", ["bbox", "full"])
def test_the_sigma_of_a_sum_over_bins_is_inflated_as_told(split):
    """Means over 20 neighbouring bins of 300 Poisson exposures scatter by sigma_inflation more than their σ say."""
    data = np.random.default_rng(5).poisson(20, (300, *SHAPE)).astype(np.uint16)
    ours = scattering.integrate(frames_of(data), TILTED, n_bins=400, split=split, **PLAIN)
    assert ours.sigma_inflation.dims == ("q",)
    bins = slice(100, 300)
    weight = ours.normalization.isel(frame=0, q=bins).values.reshape(10, 20)
    blocks = ours.intensity.isel(q=bins).values.reshape(300, 10, 20)
    scatter = (blocks * weight).sum(axis=2).std(axis=0) / weight.sum(axis=1)
    variance = (ours.intensity_sigma.isel(q=bins).values.reshape(300, 10, 20) * weight) ** 2
    independent = np.sqrt(variance.sum(axis=2).mean(axis=0)) / weight.sum(axis=1)
    inflation = ours.sigma_inflation.isel(q=bins).values.reshape(10, 20).mean(axis=1)
    assert inflation.min() > 1.15
    # The covariance across the ends of blocks of 20 is missing (1 to 2 %); the mean of 10 deviations is known to 1.3 %.
    assert np.mean(scatter / (independent * inflation)) == pytest.approx(1, abs=0.05)
    assert "sigma_inflation" not in scattering.integrate(frames_of(data[:1]), TILTED, n_bins=400)


def test_lazy_frames_and_threads_give_the_same_bits(monkeypatch):
    data = counts(7)
    for split in ("bbox", "full"):
        results = []
        for n_threads in ("1", "2", "4"):
            monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
            for frames in (frames_of(data), frames_of(data).chunk(frame=3)):
                results.append(scattering.integrate(frames, TILTED, n_bins=64, split=split))
        for result in results:
            for name in ("intensity", "intensity_sigma", "signal", "variance", "normalization", "n_pixels"):
                assert result[name].values.tobytes() == results[0][name].values.tobytes()


def test_a_detector_of_hexagons_cannot_be_split():
    from batlab.io import Geometry

    geometry = Geometry(0.2, 0.02, 0.02, wavelength=0.7, detector="Pixirad1", orientation_stated=True)
    frames = frames_of(np.ones((1, 512, 476), np.uint16))
    with pytest.raises(ValueError, match="have 6 corners; use split='no'"):
        scattering.integrate(frames, geometry, n_bins=20, split="full")
