"""q and 2θ."""

import numpy as np
import pytest
import xarray as xr

from batlab import constants, scattering, schema
from batlab.errors import DimensionError
from batlab.io import Geometry
from batlab.scattering import to_q, to_two_theta


def pattern(axis="two_theta", values=(10.0, 20.0, 30.0), **attrs):
    units = {"two_theta": "degree", "q": "1/angstrom"}[axis]
    intensity = np.arange(2 * len(values), dtype=float).reshape(2, -1)
    return xr.Dataset(
        {"intensity": schema.quantity(("frame", axis), intensity, "count", "intensity")},
        {axis: schema.quantity(axis, np.array(values), units, axis)},
        attrs,
    )


def test_the_silicon_111_line():
    """d = 5.431179 / sqrt(3) angstrom lies at 28.441 degree for Cu K-alpha1 (SRM 640e certificate)."""
    line = to_q(pattern(values=(28.441,)), wavelength=1.5405929)
    assert 2 * np.pi / line.q.item() == pytest.approx(5.431179 / 3**0.5, rel=3e-5)


def test_there_and_back():
    start = pattern(wavelength=1.5406)
    there = schema.check(to_q(start))
    assert there.q.units == "1/angstrom"
    back = schema.check(to_two_theta(there))
    np.testing.assert_allclose(back.two_theta, start.two_theta, rtol=1e-14)
    np.testing.assert_array_equal(back.intensity, start.intensity)
    assert len(back.attrs["history"].splitlines()) == 2


def test_a_decreasing_axis_comes_out_increasing():
    result = schema.check(to_q(pattern(values=(30.0, 20.0, 10.0)), wavelength=1.0))
    assert (np.diff(result.q) > 0).all()
    np.testing.assert_array_equal(result.intensity[0], [2, 1, 0])


def test_photon_energy_is_no_wavelength():
    to_q(pattern(), wavelength=constants.HC / 30_000)
    for wrong in (12.4, 30_000.0, 4.1e-11, 0.0, -1.0, np.nan, "1.54"):
        with pytest.raises(ValueError, match="must be in angstrom"):
            to_q(pattern(), wavelength=wrong)


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match="pass wavelength="):
        to_q(pattern())
    with pytest.raises(ValueError, match=r"the data state 1\.5406"):
        to_q(pattern(wavelength=1.5406), wavelength=0.7)
    with pytest.raises(DimensionError, match="it may be over q already"):
        to_q(pattern("q"), wavelength=1.0)
    with pytest.raises(DimensionError, match="it may be over two_theta already"):
        to_two_theta(pattern(), wavelength=1.0)
    with pytest.raises(ValueError, match="between -180 and 180"):
        to_q(pattern(values=(10.0, 200.0)), wavelength=1.0)
    with pytest.raises(ValueError, match=r"ends at 12\.5664"):
        to_two_theta(pattern("q", values=(1.0, 13.0)), wavelength=1.0)
    with pytest.raises(DimensionError, match="without values"):
        to_q(pattern().drop_vars("two_theta"), wavelength=1.0)


def test_input_is_left_unchanged():
    start = pattern(wavelength=1.0)
    before = start.copy(deep=True)
    to_q(start)
    xr.testing.assert_identical(start, before)


def test_where_the_pixels_lie_goes_along():
    """Integrated over q, or over 2θ and taken to q: the same axis for the same pixels, within a bin's width."""
    config = '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [40, 50]}'
    geometry = Geometry(0.05, 0.001, 0.002, wavelength=1.0, shape=(40, 50), detector_config=config)
    frames = xr.DataArray(np.ones((1, 40, 50), np.uint16), dims=("frame", "y", "x"))
    angles = scattering.integrate(frames, geometry, n_bins=10, unit="two_theta")
    there = schema.check(to_q(angles))
    assert "two_theta_mean" not in there
    expected = 4 * np.pi * np.sin(np.radians(angles.two_theta_mean) / 2)
    np.testing.assert_allclose(there.q_mean, expected, rtol=1e-14)
    assert (np.abs(there.q_mean - there.q) < 0.5 * np.gradient(there.q)).all()
    np.testing.assert_allclose(to_two_theta(there).two_theta_mean, angles.two_theta_mean, rtol=1e-12)
