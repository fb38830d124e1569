"""Geometries, frames, and pyFAI on the same, for the tests of splitting and cakes."""

import numpy as np
import xarray as xr

from batlab import schema
from batlab.io import Geometry

SHAPE = (180, 210)
CONFIG = '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [180, 210]}'


def geometry_of(*numbers, shape=SHAPE, orientation=3):
    """Return a detector of 0.1 mm pixels; `numbers` are distance, poni1, poni2 [m] and rotations [rad]."""
    config = f'{{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [{shape[0]}, {shape[1]}]}}'
    return Geometry(
        *numbers, wavelength=0.7, detector_config=config, shape=shape, orientation=orientation, orientation_stated=True
    )


GEOMETRIES = {
    "tilted": geometry_of(0.05, 0.0082, 0.0111, 0.02, -0.03, 0.1),
    "off centre": geometry_of(0.06, -0.004, 0.0061, 0.05, 0.02, 0.0),
    "strongly tilted": geometry_of(0.04, 0.003, 0.002, -0.4, 0.3, 1.0),
    "centre on a corner": geometry_of(0.05, 0.0090, 0.0100),
    "flipped": geometry_of(0.05, 0.0082, 0.0111, 0.02, -0.03, 0.1, orientation=2),
    "mirrored": geometry_of(0.05, 0.0082, 0.0111, 0.02, -0.03, 0.1, orientation=4),
}
UNITS = {"q": "q_A^-1", "two_theta": "2th_deg", "r": "r_mm"}
DIMS = {"q": "q", "two_theta": "two_theta", "r": "radius"}


def counts(n_frames=1, shape=SHAPE, seed=0, dtype=np.uint32):
    """Return Poisson counts over a wide range."""
    random = np.random.default_rng(seed)
    expected = np.exp(random.normal(1.0, 1.0, shape))
    return random.poisson(expected, (n_frames, *shape)).astype(dtype)


def frames_of(data, **attrs):
    pixels = schema.quantity(("frame", "y", "x"), data, "count", "counts")
    frames = xr.Dataset({"intensity": pixels}, attrs=attrs)
    return frames.assign_coords(frame=schema.quantity("frame", np.arange(len(data)), "1", "frame"))


def pyfai(image, geometry, split, algorithm, n_bins, n_azimuth=None, *, unit="q", **keywords):
    """Return pyFAI's result of the same scheme, by default with Poisson errors and batlab's corrections."""
    options = {"error_model": "poisson", "polarization_factor": 0.99, "correctSolidAngle": True} | keywords
    method = (split, algorithm, "cython")
    integrator = geometry.pyfai(image.shape)
    # pyFAI's builder of polygons starts with what the memory happens to hold, and spoils its first pixel.
    if n_azimuth:
        return integrator.integrate2d(image, n_bins, n_azimuth, unit=UNITS[unit], method=method, **options)
    return integrator.integrate1d(image, n_bins, unit=UNITS[unit], method=method, **options)


def assert_like(ours, theirs, *, n_different=0, n_close=0):
    """Bins with the same pixels agree within 1e-6 in intensity and σ; at most `n_different` bins have others.

    Parts of pixels are the same within float32's rounding of pyFAI's; σ of at most `n_close` bins of few counts is the
    rounding of its float32 results.
    """
    name = next(dim for dim in ("q", "two_theta", "radius") if dim in ours.dims)
    np.testing.assert_allclose(ours[name].values, theirs.radial, rtol=1e-12)
    if "azimuth" in ours.dims:
        np.testing.assert_allclose(ours.azimuth.values, theirs.azimuthal, rtol=1e-9, atol=1e-9)
    n_pixels, count = ours.n_pixels.values[0], theirs.count
    same = np.isclose(n_pixels, count, rtol=1e-5, atol=1e-6)
    assert (~same).sum() <= n_different, f"{(~same).sum()} bins have other pixels"
    full = same & (n_pixels > 0)
    assert full.sum() > 0.3 * full.size
    np.testing.assert_allclose(ours.intensity.values[0][full], theirs.intensity[full], rtol=1e-6)
    np.testing.assert_allclose(ours.intensity_sigma.values[0][full], theirs.sigma[full], rtol=1e-6)
    assert np.isnan(ours.intensity.values[0][n_pixels == 0]).all()
