"""Cakes: pyFAI beside, sums over azimuth, sectors, and real detectors."""

import numpy as np
import pytest
import xarray as xr
from scattering_scenes import DIMS, GEOMETRIES, SHAPE, assert_like, counts, frames_of, pyfai

from batlab import datasets, io, scattering, schema
from batlab.io import Geometry

TILTED = GEOMETRIES["tilted"]
PLAIN = {"polarization": None, "solid_angle": False}
SPLITS = ("no", "bbox", "full")
# pyFAI's builder of polygons starts with what the memory happens to hold: its first pixel may be spoilt.
SPOILT = {"no": 0, "bbox": 0, "full": 4}


@pytest.mark.parametrize("algorithm", ["csr", "csc", "histogram"])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_it_equals_pyfai_of_the_same_scheme(name, split, algorithm):
    data, geometry = counts(), GEOMETRIES[name]
    ours = schema.check(scattering.integrate(frames_of(data), geometry, n_bins=50, n_azimuth=36, split=split))
    assert ours.intensity.dims == ("frame", "azimuth", "q")
    assert ours.intensity.shape == (1, 36, 50)
    assert_like(ours, pyfai(data[0], geometry, split, algorithm, 50, 36), n_different=SPOILT[split])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("unit", DIMS)
def test_it_does_in_every_unit_with_a_mask(unit, split):
    data = counts()
    mask = np.random.default_rng(1).random(SHAPE) < 0.1
    ours = schema.check(
        scattering.integrate(frames_of(data), TILTED, n_bins=40, n_azimuth=20, split=split, unit=unit, mask=mask)
    )
    assert_like(ours, pyfai(data[0], TILTED, split, "csr", 40, 20, unit=unit, mask=mask))


@pytest.mark.parametrize("split", SPLITS)
def test_a_sector_of_a_cake_equals_pyfai(split):
    data = counts()
    ours = scattering.integrate(
        frames_of(data), TILTED, n_bins=30, n_azimuth=15, split=split, q_range=(0.5, 2.0), azimuth_range=(-60, 120)
    )
    theirs = pyfai(data[0], TILTED, split, "csr", 30, 15, radial_range=(0.5, 2.0), azimuth_range=(-60, 120))
    # pyFAI rounds towards zero: pixels wholly below a range fall into its first row and column.
    assert_like(ours, theirs, n_different=45 if split != "full" else SPOILT[split])
    assert ours.azimuth.values[[0, -1]].tolist() == pytest.approx([-54, 114], abs=1e-4)


@pytest.mark.parametrize("split", SPLITS)
def test_a_cake_across_the_seam_is_two_cakes(split):
    """Rows of 10 degree over (150, 210) are those of (150, 180) and of (-180, -150), but for pixels on the seam."""
    data = counts()
    options = {"n_bins": 25, "split": split, "q_range": (0.3, 2.5), **PLAIN}
    across = schema.check(
        scattering.integrate(frames_of(data), TILTED, n_azimuth=6, azimuth_range=(150, 210), **options)
    )
    np.testing.assert_allclose(across.azimuth, [155, 165, 175, 185, 195, 205], atol=1e-4)
    parts = [
        scattering.integrate(frames_of(data), TILTED, n_azimuth=3, azimuth_range=limits, **options)
        for limits in ((150, 180), (-180, -150))
    ]
    inner = [0, 1, 4, 5]
    both = np.concatenate([part.n_pixels.values[0] for part in parts])
    # A split pixel that sticks out of a range counts whole in its first or last row.
    rows = inner if split == "no" else [1, 4]
    np.testing.assert_allclose(across.n_pixels.values[0][rows], both[rows], rtol=1e-4, atol=1e-3)
    assert float(across.n_pixels.sum()) == pytest.approx(both.sum(), rel=0.01)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_flat_image_of_ones_gives_one(name, split):
    frames = frames_of(np.ones((1, *SHAPE), np.uint16))
    for n_bins, n_azimuth in ((20, 8), (200, 90)):
        ours = scattering.integrate(frames, GEOMETRIES[name], n_bins=n_bins, n_azimuth=n_azimuth, split=split, **PLAIN)
        np.testing.assert_allclose(ours.intensity.values[ours.n_pixels.values > 0], 1, atol=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_the_weighted_sum_over_azimuth_is_the_curve(split):
    data = counts(2)
    if split == "full":  # its piles of area are an approximation that a curve needs none of
        tolerance = 2e-3
    else:
        tolerance = 1e-6
    flat = np.random.default_rng(2).uniform(0.8, 1.2, SHAPE)
    options = {"n_bins": 40, "split": split, "flat": flat, "monitor": [1.0, 3.0]}
    curve = scattering.integrate(frames_of(data), TILTED, **options)
    for n_azimuth in (1, 7, 60):
        cake = scattering.integrate(frames_of(data), TILTED, n_azimuth=n_azimuth, **options)
        weight = cake.normalization
        mean = (cake.intensity.fillna(0) * weight).sum("azimuth") / weight.sum("azimuth")
        np.testing.assert_allclose(cake.q, curve.q, rtol=1e-9)
        np.testing.assert_allclose(mean, curve.intensity, rtol=tolerance)
        np.testing.assert_allclose(cake.n_pixels.sum("azimuth"), curve.n_pixels, rtol=10 * tolerance)


def test_a_ring_stands_at_its_azimuth():
    """Counts only where a pixel's centre lies between 30 and 60 degree from +x (columns) towards +y (rows)."""
    geometry = GEOMETRIES["centre on a corner"]
    y, x = (np.indices(SHAPE) + 0.5) * 1e-4
    azimuth = np.degrees(np.arctan2(y - geometry.poni1, x - geometry.poni2))
    data = np.where((azimuth > 30) & (azimuth < 60), 50, 0)[None].astype(np.uint16)
    cake = scattering.integrate(frames_of(data), geometry, n_bins=5, n_azimuth=36, azimuth_range=(-180, 180), **PLAIN)
    hit = cake.azimuth.values[(cake.signal.sum("q") > 0).values[0]]
    np.testing.assert_allclose(hit, [35, 45, 55], atol=1e-3)


def test_masked_pieces_are_nan_and_the_rest_is_untouched():
    data = counts(2)
    mask = np.zeros((2, *SHAPE), bool)
    mask[1, :, :120] = True
    frames = frames_of(data).assign(mask=schema.quantity(("frame", "y", "x"), mask, "1", "lost"))
    with pytest.warns(UserWarning, match="have lost more than 40 %"):
        cake = schema.check(scattering.integrate(frames, TILTED, n_bins=20, n_azimuth=12, split="bbox"))
    whole = scattering.integrate(frames_of(data), TILTED, n_bins=20, n_azimuth=12, split="bbox")
    np.testing.assert_array_equal(cake.intensity[0], whole.intensity[0])
    lost = cake.n_pixels.values[1] == 0
    assert lost.any()
    assert np.isnan(cake.intensity.values[1][lost]).all()
    assert np.isfinite(cake.intensity.values[1][~lost]).all()
    assert cake.sigma_inflation.dims == ("azimuth", "q")


def test_millions_of_bins():
    data = counts()
    for split in SPLITS:
        cake = scattering.integrate(frames_of(data), TILTED, n_bins=3000, n_azimuth=1000, split=split, **PLAIN)
        assert float(cake.signal.sum()) == pytest.approx(data.sum(), rel=1e-5)


EIGER = Geometry(
    0.2, 0.082, 0.075, 0.01, -0.02, 0.0, 0.45, "Eiger4M", '{"orientation": 3}', 7.5e-5, 7.5e-5, (2167, 2070)
)


@pytest.fixture(scope="module")
def eiger():
    """A frame with rings, its mask, and pyFAI's integrator of it."""
    integrator = EIGER.pyfai()
    q = integrator.center_array((2167, 2070), unit="q_A^-1")
    rings = 2 + 30 * np.exp(-(((q * 4) % 1 - 0.5) ** 2) / 0.005)
    image = np.random.default_rng(8).poisson(rings).astype(np.uint32)
    gaps = integrator.detector.mask.astype(bool)
    image[gaps] = 2**32 - 1
    return image, gaps


@pytest.mark.parametrize(("split", "algorithm"), [("no", "csr"), ("bbox", "csc"), ("full", "csr")])
@pytest.mark.parametrize("n_azimuth", [None, 360])
def test_a_simulated_eiger_4m_equals_pyfai(eiger, split, algorithm, n_azimuth):
    image, gaps = eiger
    if split == "no" and not n_azimuth:
        algorithm = "histogram"
    n_bins = 1000 if n_azimuth else 2000
    frames = frames_of(image[None], overflow=[2**32 - 1])
    ours = scattering.integrate(frames, EIGER, n_bins=n_bins, n_azimuth=n_azimuth, split=split, mask=gaps)
    theirs = pyfai(image, EIGER, split, algorithm, n_bins, n_azimuth, mask=gaps)
    # The polygon of the pixel on the beam has negative parts in 63 bins: here they have no pixel.
    assert_like(ours, theirs, n_different=SPOILT[split] + 63 if n_azimuth and split == "full" else 0)


@pytest.mark.data
@pytest.mark.parametrize(("split", "algorithm"), [("bbox", "csr"), ("full", "csc"), ("full", "histogram")])
@pytest.mark.parametrize("n_azimuth", [None, 90])
def test_the_real_ceo2_image_equals_pyfai(split, algorithm, n_azimuth):
    folder = datasets.path("ceo2_pilatus1m")
    image = io.open(folder / "CeO2_Pilatus1M.tif")
    geometry = io.open(folder / "CeO2_Pilatus1M.poni", orientation=2)
    pixels = image.intensity.values.reshape(image.intensity.shape[-2:])
    mask = pixels < 0
    n_bins = 500 if n_azimuth else 1500
    ours = schema.check(
        scattering.integrate(image, geometry, n_bins=n_bins, n_azimuth=n_azimuth, split=split, mask=mask)
    )
    theirs = pyfai(pixels, geometry, split, algorithm, n_bins, n_azimuth, mask=mask)
    assert_like(ours, theirs, n_different=SPOILT[split] if n_azimuth else 0)


@pytest.mark.parametrize(
    "wish",
    [
        {"n_azimuth": 12, "split": "bbox"},
        {"n_azimuth": 6, "split": "full", "error_model": "azimuthal"},
        {"n_azimuth": 6, "clip": scattering.Quantile(0.3, 0.7)},
        {"split": "full", "clip": scattering.SigmaClip(5.0), "error_model": "hybrid"},
        {"n_bins": 100_000},
    ],
    ids=str,
)
def test_a_store_gives_back_the_same_bits(wish, tmp_path):
    wish = {"n_bins": 30} | wish
    data = np.random.default_rng(0).poisson(20, (5, *SHAPE)).astype(np.uint16)
    here = schema.check(scattering.integrate(frames_of(data), TILTED, **wish))
    lazy = frames_of(data).chunk(frame=2)
    for _ in range(2):  # written, and found whole
        kept = scattering.integrate(lazy, TILTED, store=tmp_path / "kept.zarr", **wish)
        xr.testing.assert_equal(schema.check(kept).load(), here)
