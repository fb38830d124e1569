"""A real stack of three modules beside the pattern that its beamline stored."""

import h5py
import numpy as np
import pytest

from batlab import datasets, io, scattering

pytestmark = pytest.mark.data


def test_lambda_frames_correlate_with_the_beamlines_own_patterns():
    """All 27 matched frames, r >= 0.99.

    The stored patterns were made by Dioptas without a mask (hot pixels make their strongest peaks), flipped up-down,
    with split pixels, and cut off below 0.1. Averages over ten bins compare them with ours, which splits no pixel. In
    each file of ten frames rows 0 and 1 are the same pattern and row k + 1 belongs to frame k.
    """
    folder = datasets.path("lambda_stack")
    frames = io.open(str(folder / "testasapo1_*_m*_part*.nxs"))
    with h5py.File(folder / "testasapo1_1009_00002_proc.nxs") as file:
        two_theta = file["processed/result/binning"][:]
        theirs = file["processed/result/data"][:30]
    np.testing.assert_array_equal(theirs[::10], theirs[1::10])

    bare = frames.drop_vars("mask").assign_attrs(overflow=[])
    geometry = io.open(folder / "L2.poni", orientation=2)
    patterns = scattering.integrate(bare, geometry, n_bins=len(two_theta), unit="two_theta", polarization=None)
    filled = np.nan_to_num(patterns.intensity.values)
    ours = np.array([np.interp(two_theta, patterns.two_theta, pattern) for pattern in filled])

    def coarse(curves):
        return np.clip(curves, 0.1, None)[:, :4030].reshape(30, 403, 10).mean(axis=-1)

    known = [frame for frame in range(30) if frame % 10 != 9]
    pairs = zip(coarse(ours)[known], coarse(theirs)[[frame + 1 for frame in known]], strict=True)
    assert min(np.corrcoef(one, other)[0, 1] for one, other in pairs) >= 0.99


def test_masked_pixels_of_a_lambda_stay_out():
    frames = io.open(str(datasets.path("lambda_stack") / "testasapo1_*_m*_part00000.nxs")).isel(frame=slice(0, 2))
    geometry = io.open(datasets.path("lambda_stack") / "L2.poni", orientation=2)
    pattern = scattering.integrate(frames, geometry, n_bins=400)
    used = ~frames.mask.values & ~np.isin(frames.intensity.values, frames.attrs["overflow"])
    np.testing.assert_array_equal(pattern.n_pixels.sum("q"), used.sum(axis=(1, 2)))
