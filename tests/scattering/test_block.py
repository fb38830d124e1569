"""Frames as they are stored, of types that the kernels bin and of those that they do not."""

import h5py
import hdf5plugin
import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import scattering, schema


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"])
def test_every_type_of_pixel_in_bitshuffle_is_binned_as_in_memory(stacks, tmp_path, dtype):
    data = np.minimum(stacks.counts(9), 9).astype(dtype)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        group = file.create_group("entry/data")
        file["entry"].attrs["NX_class"], group.attrs["NX_class"] = "NXentry", "NXdata"
        group.create_dataset("data", data=data, chunks=(1, *stacks.SHAPE), **hdf5plugin.Bitshuffle(cname="lz4"))
    held = xr.Dataset({"intensity": schema.quantity(("frame", "y", "x"), data, "count", "counts")})
    one, other = (
        scattering.integrate(frames, stacks.GEOMETRY, n_bins=40) for frames in (held, bl.open(tmp_path / "run.h5"))
    )
    for name in ("intensity", "intensity_sigma", "n_pixels"):
        np.testing.assert_array_equal(one[name], other[name])
