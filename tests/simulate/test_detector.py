from dataclasses import replace

import numpy as np
import pytest

from batlab.simulate.detector import DEAD, GAP, NOISY, blemishes, efficiency, place, scattering_angles
from batlab.simulate.eiger import write_poni


@pytest.mark.parametrize("rotation", [(0.0, 0.0, 0.0), (0.004, -0.003, 0.02), (-0.3, 0.2, 0.7)])
def test_pyfai_sees_the_same_angles_through_the_poni(tmp_path, rotation):
    import pyFAI

    detector = replace(place((40, 60)), rotation=rotation)
    integrator = pyFAI.load(str(write_poni(tmp_path / "it.poni", detector, wavelength=0.2066, start=0.0)))
    rays = detector.rays()
    seen = np.rad2deg(integrator.center_array(unit="2th_rad", scale=False))
    np.testing.assert_allclose(scattering_angles(rays), seen, atol=1e-10)
    assert integrator.detector.orientation == 3
    expected = integrator.solidAngleArray(detector.shape) * integrator.polarization(detector.shape, 0.95)
    np.testing.assert_allclose(efficiency(detector, rays, 0.95), expected, rtol=1e-6)


def test_flat_detector_follows_the_tangent():
    detector = replace(place((64, 64)), rotation=(0.0, 0.0, 0.0))
    rows, columns = np.mgrid[:64, :64] + 0.5
    radius = np.hypot(rows * detector.pixel - detector.poni[0], columns * detector.pixel - detector.poni[1])
    expected = np.rad2deg(np.arctan(radius / detector.distance))
    np.testing.assert_allclose(scattering_angles(detector.rays()), expected, atol=1e-10)


def test_beam_centre_is_where_the_angle_vanishes():
    detector = replace(place((64, 64)), poni=(0.0024, 0.0024), rotation=(0.01, -0.02, 0.3))
    row, column, way = detector.beam_centre()
    up, side, normal = detector.axes().T
    foot = (row * detector.pixel - detector.poni[0]) * up + (column * detector.pixel - detector.poni[1]) * side
    np.testing.assert_allclose(foot + detector.distance * normal, [0, 0, way], atol=1e-12)


def test_horizontal_field_does_not_scatter_sideways_at_right_angle():
    detector = place((32, 32))
    sideways, upwards = np.array([[[0.0, 1.0, 1e-9]]]), np.array([[[1.0, 0.0, 1e-9]]])
    tall = replace(detector, rotation=(0.0, 0.0, 0.0))
    ratio = efficiency(tall, sideways, 1.0) / efficiency(tall, upwards, 1.0)
    assert ratio == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "shape", "n_gap"), [("eiger1m", (1062, 1028), 38 * 1028), ("small", (128, 1028), 8 * 1028)]
)
def test_layout(name, shape, n_gap):
    detector = place(name)
    assert detector.shape == shape
    assert detector.gaps().sum() == n_gap


def test_eiger4m_has_four_by_two_modules():
    gaps = place("eiger4m").gaps()
    assert gaps.shape == (2162, 2068)
    assert (~gaps).sum() == 8 * 512 * 1028


def test_the_pattern_of_a_battery_is_in_sight():
    detector = place("eiger1m")
    q = 4 * np.pi / 0.2066 * np.sin(np.deg2rad(scattering_angles(detector.rays()) / 2))
    assert q.min() < 1.25
    assert q.max() > 4.92


def test_blemishes_lie_outside_the_gaps():
    detector = place("small")
    mask = blemishes(detector, np.random.default_rng(1))
    assert np.array_equal(mask == GAP, detector.gaps())
    assert np.sum(mask == DEAD) == mask.size // 10_000
    assert np.sum(mask == NOISY) == mask.size // 20_000


@pytest.mark.parametrize("wrong", ["eiger", (10, 10), (64,), (64.5, 64), (True, 64)])
def test_refuses_unknown_detectors(wrong):
    with pytest.raises(ValueError, match="detector must be"):
        place(wrong)
