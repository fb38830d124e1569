"""Relative change of the cell, and its σ against repeated draws."""

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity
from batlab.xrd import strain

SIGMA = {"a": 1e-3, "b": 2e-3, "c": 3e-3, "volume": 0.05}


def cells(system="orthorhombic", frame=None, **values):
    n_frames = len(values["a"])
    units = {"a": "angstrom", "b": "angstrom", "c": "angstrom", "volume": "angstrom^3"}
    data = {}
    for name, unit in units.items():
        data[name] = quantity("frame", np.asarray(values[name], dtype=float), unit, name)
        data[f"{name}_sigma"] = quantity("frame", np.full(n_frames, SIGMA[name]), unit, f"1 sigma of {name}")
    frames = np.arange(n_frames) if frame is None else np.asarray(frame)
    return xr.Dataset(data, {"frame": quantity("frame", frames, "1", "frame")}, {"crystal_system": system})


def boxes(a, b, c, **keywords):
    return cells(a=a, b=b, c=c, volume=np.asarray(a) * b * c, **keywords)


def test_a_stretched_box():
    result = schema.check(strain(boxes([4.0, 4.04], [5.0, 5.0], [6.0, 5.94])))
    assert float(result.strain_a[1]) == pytest.approx(0.01)
    assert float(result.strain_b[1]) == pytest.approx(0.0, abs=1e-15)
    assert float(result.strain_c[1]) == pytest.approx(-0.01)
    assert float(result.volumetric[1]) == pytest.approx(1.01 * 0.99 - 1)
    assert float(result.linear[1]) == pytest.approx((1.01 * 0.99) ** (1 / 3) - 1)
    assert float(result.anisotropy[1]) == pytest.approx(-0.015)


def test_the_reference_frame_is_zero_with_no_doubt():
    result = strain(boxes([4.0, 4.04, 4.1], [5.0] * 3, [6.0] * 3, frame=[3, 5, 9]), reference=5)
    for name in ("strain_a", "strain_c", "linear", "volumetric", "anisotropy"):
        assert float(result[name][1]) == 0
        assert float(result[f"{name}_sigma"][1]) == 0
    assert float(result.strain_a_sigma[0]) > 0


def test_sigma_is_the_scatter_of_repeated_measurements():
    rng = np.random.default_rng(1)
    n = 4000
    draw = {name: true + SIGMA[name] * rng.normal(size=n) for name, true in (("a", 4.0), ("b", 5.0), ("c", 6.0))}
    draw["volume"] = 120 + SIGMA["volume"] * rng.normal(size=n)
    reference = cells(a=[4.0], b=[5.0], c=[6.0], volume=[120.0])
    for name in SIGMA:
        reference[f"{name}_sigma"] = reference[f"{name}_sigma"] * 0
        reference[f"{name}_sigma"].attrs = {"units": reference[name].units, "long_name": "1 sigma"}
    result = strain(cells(**draw), reference=reference)
    for name in ("strain_a", "strain_b", "strain_c", "linear", "volumetric", "anisotropy"):
        assert float((result[name] / result[f"{name}_sigma"]).std()) == pytest.approx(1.0, abs=0.04), name


def test_a_cubic_cell_has_no_anisotropy():
    result = strain(boxes([4.0, 4.1], [4.0, 4.1], [4.0, 4.1], system="cubic"))
    assert (result.anisotropy == 0).all()
    assert (result.anisotropy_sigma == 0).all()


def test_tied_axes_are_one_measurement():
    result = strain(boxes([4.0, 4.0], [4.0, 4.0], [6.0, 6.0], system="tetragonal"))
    expected = np.hypot(result.strain_c_sigma, result.strain_a_sigma)
    np.testing.assert_allclose(result.anisotropy_sigma, expected)


def test_wrong_references_are_refused():
    good = boxes([4.0, np.nan], [5.0, 5.0], [6.0, 6.0])
    with pytest.raises(ValueError, match="0 to 1"):
        strain(good, reference=7)
    with pytest.raises(ValueError, match="NaN"):
        strain(good, reference=1)
    with pytest.raises(ValueError, match="one frame"):
        strain(good, reference=good)
    with pytest.raises(SchemaError, match="volume"):
        strain(good.drop_vars("volume"))
    with pytest.raises(DimensionError, match="frame"):
        strain(good.isel(frame=0))
