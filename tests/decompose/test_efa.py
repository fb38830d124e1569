"""Evolving factors: against singular values of every window, and components that come and go at known frames."""

import numpy as np
import pytest
import xarray as xr

from batlab.decompose import efa
from batlab.errors import DimensionError
from batlab.schema import check, quantity


def series(n_frames=30, n_points=60, noise=1e-4, seed=0):
    """Return three species that come and go: one to 14, one from 8 to 22, one from 18."""
    rng = np.random.default_rng(seed)
    frame = np.arange(n_frames)[:, None]
    scale = n_frames / 30
    centre, width = np.array([4.0, 15.0, 26.0]) * scale, np.array([10.0, 7.0, 8.0]) * scale
    profile = np.maximum(1 - np.abs(frame - centre) / width, 0.0)
    values = profile @ rng.uniform(size=(3, n_points)) + rng.normal(0, noise, (n_frames, n_points))
    coords = {"energy": quantity("energy", np.arange(n_points) + 1.0, "eV", "energy")}
    return xr.DataArray(quantity(("frame", "energy"), values, "1", "absorption"), coords, name="mu"), profile


@pytest.mark.parametrize("n_points", [60, 20])
def test_eigenvalues_are_those_of_the_growing_windows(n_points):
    data, _ = series(n_points=n_points)
    found = check(efa(data, 4))
    for frame in (0, 2, 9, 29):
        for part, name in ((data[: frame + 1], "forward"), (data[frame:], "backward")):
            squares = np.linalg.svd(part.values, compute_uv=False)[:4] ** 2
            np.testing.assert_allclose(found[name][frame, : len(squares)], squares, rtol=1e-6, atol=1e-10)
    assert np.isnan(found.forward[0, 1:]).all()
    assert np.isnan(found.backward[-1, 1:]).all()


def test_components_appear_and_vanish_where_they_were_planted():
    data, profile = series()
    found = efa(data, 3)
    lifted = found.forward.values > 1e-4
    assert [int(np.argmax(column)) for column in lifted.T] == [0, 9, 19]
    alive = found.backward.values > 1e-4
    last = [len(alive) - 1 - int(np.argmax(column[::-1])) for column in alive.T]
    assert last == [29, 21, 13]
    for one, truth in zip(found.concentration.values.T, profile.T):
        assert one[truth == 0].max() < 0.02
        assert np.corrcoef(one, truth)[0, 1] > 0.8
    assert found.concentration.max() == 1.0


def test_a_long_series_is_sampled_and_says_so():
    data, _ = series(n_frames=600)
    found = check(efa(data, 3))
    assert found.attrs["n_windows"] == 200
    squares = np.linalg.svd(data.values[:301], compute_uv=False)[:3] ** 2
    np.testing.assert_allclose(found.forward[300], squares, rtol=0.03)


def test_an_empty_frame_is_left_out():
    data, _ = series()
    data[5] = np.nan
    found = check(efa(data, 2))
    assert np.isnan(found.forward[5]).all()
    assert np.isfinite(found.forward[6]).all()


def test_wrong_input_is_refused():
    data, _ = series()
    for n in (0, 31, 2.5, True):
        with pytest.raises(ValueError, match="n_components must be a whole number from 1 to 30"):
            efa(data, n)
    with pytest.raises(DimensionError, match="at least 3 frames"):
        efa(data[:2], 1)
