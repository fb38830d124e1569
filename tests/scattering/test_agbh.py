"""Silver behenate at small angles: the first two rings of d = 58.38 Å where the beamline's geometry puts them."""

from dataclasses import replace

import numpy as np
import pytest

from batlab import datasets, io, scattering
from batlab.constants import HC
from batlab.io import Geometry

pytestmark = pytest.mark.data

# As published with the image: 7.35 keV, 1478.22 mm, beam at (498.498, 967.532), pixels counted from 1.
PIXEL = 172e-6
STATED = Geometry(
    1.47822, (967.532 - 0.5) * PIXEL, (498.498 - 0.5) * PIXEL, wavelength=HC / 7350, detector="Pilatus1M",
    pixel_size_y=PIXEL, pixel_size_x=PIXEL, shape=(1043, 981), orientation=3, orientation_stated=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def image():
    return io.open(datasets.path("agbh_8ide") / "AgBe.tif")


def test_rings_with_the_published_geometry(image):
    pattern = scattering.integrate(image, STATED, n_bins=1500)
    q, values = pattern.q.values, pattern.intensity.values[0]
    for expected in (0.1072, 0.2158):
        near = np.abs(q - expected) < 0.02
        peak = q[near][np.nanargmax(values[near])]
        assert peak == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("share", [-0.01, 0.01])
def test_calibration_from_one_per_cent_off(image, share):
    """Two rings and a flat detector: 1478.22 mm within 2 mm (0.14 %, a third of a pixel a ring), tilt held."""
    guess = replace(STATED, distance=STATED.distance * (1 + share))
    with pytest.warns(UserWarning, match="tilt only to"):
        done = scattering.calibrate(image, "AgBh", guess)
    assert done.geometry.distance == pytest.approx(1.47822, abs=2e-3)
    assert done.beam_centre == pytest.approx((967.032, 497.998), abs=1.0)
    assert (done.geometry.rot1, done.geometry.rot2) == (0.0, 0.0)
