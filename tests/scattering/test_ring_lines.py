"""Lines of constant 2θ against pyFAI's own angles."""

from dataclasses import replace

import numpy as np
import pytest

from batlab.errors import DimensionError
from batlab.io.poni import Geometry
from batlab.scattering.ring_lines import beam_place, ring_lines, two_theta_at, with_beam_at

TILTED = Geometry(
    0.1, 0.05, 0.03, 0.1, -0.2, 0.3, 0.2, "Detector", '{"pixel1":1e-4,"pixel2":2e-4}', 1e-4, 2e-4, (1000, 500)
)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_lines_keep_pyfais_angle_however_the_detector_stands(orientation):
    geometry = replace(TILTED, orientation=orientation)
    wanted = np.array([10.0, 30.0])
    y, x = ring_lines(geometry, wanted)
    on = np.isfinite(y)
    assert on.sum(axis=1).min() > 50
    angle = np.degrees(geometry.pyfai().tth(y[on], x[on]))
    np.testing.assert_allclose(angle, np.broadcast_to(wanted[:, None], y.shape)[on], atol=1e-9)
    np.testing.assert_allclose(two_theta_at(geometry, y[on], x[on]), angle, atol=1e-9)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_the_beam_meets_the_detector_where_pyfai_has_no_angle(orientation):
    geometry = replace(TILTED, orientation=orientation)
    y, x = beam_place(geometry)
    assert geometry.pyfai().tth(np.array([y]), np.array([x]))[0] < 1e-7
    assert beam_place(with_beam_at(geometry, 123.25, 77.5)) == pytest.approx((123.25, 77.5))


def test_a_ring_that_misses_the_detector_has_no_line():
    y, x = ring_lines(replace(TILTED, rot1=0.0, rot2=0.0), [89.9, 120.0])
    assert np.isnan(y).all()
    assert np.isnan(x).all()


def test_a_detector_without_a_shape_is_refused():
    with pytest.raises(DimensionError, match="no shape"):
        ring_lines(replace(TILTED, shape=None), [10.0])
