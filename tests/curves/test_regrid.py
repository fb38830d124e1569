"""Regridding: straight lines and sums survive, errors add as they must, nothing is extrapolated."""

import numpy as np
import pytest
import xarray as xr

from batlab.curves import regrid
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity


def pattern(values, q):
    values = np.atleast_2d(np.asarray(values, dtype=float))
    return xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), values, "count", "intensity"),
            "intensity_sigma": quantity(("frame", "q"), np.sqrt(np.abs(values)), "count", "uncertainty"),
            "monitor": quantity("frame", np.ones(len(values)), "1", "monitor"),
        },
        {"q": quantity("q", np.asarray(q, dtype=float), "1/angstrom", "scattering vector")},
    )


@pytest.mark.parametrize("method", ["linear", "rebin"])
def test_a_straight_line_stays_straight(method):
    q = np.linspace(1, 3, 201)
    new = np.linspace(1.2, 2.8, 81)
    moved = check(regrid(pattern(3 * q + 1, q), new, method=method))
    np.testing.assert_allclose(moved.intensity[0], 3 * new + 1, rtol=1e-12)
    assert moved.monitor.item() == 1.0


def test_rebinning_conserves_counts_and_halves_the_variance():
    q = np.arange(0.5, 100)
    counts = np.random.default_rng(0).poisson(100, 100).astype(float)
    pairs = regrid(pattern(counts, q), np.arange(1.0, 100, 2), method="rebin")
    np.testing.assert_allclose(pairs.intensity[0], counts.reshape(-1, 2).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(pairs.intensity_sigma[0], np.sqrt(counts.reshape(-1, 2).sum(axis=1)) / 2, rtol=1e-12)


def test_interpolated_errors_add_in_squares():
    moved = regrid(pattern([4.0, 16.0, 4.0], [1, 2, 3]), [1.5, 2.0])
    np.testing.assert_allclose(moved.intensity_sigma[0], [np.sqrt(0.25 * 4 + 0.25 * 16), 4.0])


@pytest.mark.parametrize("method", ["linear", "rebin"])
def test_nothing_is_extrapolated_and_missing_points_spoil_only_their_neighbours(method):
    q = np.linspace(1, 2, 11)
    values = np.arange(11.0)
    values[5] = np.nan
    moved = regrid(pattern(values, q), np.linspace(0.5, 2.5, 41), method=method)
    known = np.isfinite(moved.intensity[0]).values
    outside = (moved.q < 0.99) | (moved.q > 2.01)
    assert not known[outside].any()
    assert not known[np.abs(moved.q - 1.5) < 0.03].any()
    assert known[np.abs(moved.q - 1.2) < 0.03].all()


def test_the_same_grid_changes_nothing():
    q = np.linspace(1, 3, 50)
    data = pattern(np.arange(100.0).reshape(2, 50), q)
    moved = regrid(data, data)
    np.testing.assert_array_equal(moved.intensity, data.intensity)
    np.testing.assert_array_equal(moved.intensity_sigma, data.intensity_sigma)


def test_a_mask_spreads():
    data = pattern(np.ones((1, 5)), np.arange(1.0, 6))
    data["mask"] = quantity(("frame", "q"), np.array([[False, False, True, False, False]]), "1", "excluded")
    assert regrid(data, [1.5, 2.5, 3.5, 4.5]).mask.values.tolist() == [[False, True, True, False]]


def test_wrong_grids_are_refused():
    data = pattern(np.ones((1, 5)), np.arange(1.0, 6))
    with pytest.raises(SchemaError, match="increasing"):
        regrid(data, [3.0, 2.0])
    with pytest.raises(SchemaError, match="at least 2"):
        regrid(data, [3.0])
    with pytest.raises(DimensionError, match="needs dimension 'q'"):
        regrid(data, data.rename(q="r"))
    with pytest.raises(ValueError, match="method must be"):
        regrid(data, data, method="cubic")


def test_an_axis_without_values_is_refused():
    bare = xr.Dataset({"mu": quantity(("frame", "energy"), np.ones((2, 4)), "1", "absorption")})
    with pytest.raises(SchemaError, match="needs the values of 'energy', got none"):
        regrid(bare, [1.5, 2.0])
