"""Memory of a long series: measured from outside, in processes of their own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import h5py, hdf5plugin
import numpy as np
import batlab as bl
from batlab.io import Geometry

n_frames, path = int(sys.argv[1]), sys.argv[2]
shape = (1024, 1024)
with h5py.File(path, "w") as file:
    entry = file.create_group("entry")
    data = entry.create_group("data")
    entry.attrs["NX_class"], data.attrs["NX_class"] = "NXentry", "NXdata"
    squeezed = hdf5plugin.Bitshuffle(cname="lz4")
    stack = data.create_dataset("data", (n_frames, *shape), "u4", chunks=(1, *shape), **squeezed)
    stack[0] = np.random.default_rng(0).poisson(5, shape)
    whole = stack.id.read_direct_chunk((0, 0, 0))[1]
    for frame in range(1, n_frames):
        stack.id.write_direct_chunk((frame, 0, 0), whole)
config = '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [1024, 1024]}'
geometry = Geometry(0.2, 0.05, 0.05, wavelength=1.0, detector_config=config, shape=shape, orientation_stated=True)
patterns = bl.scattering.integrate(bl.open(path), geometry, n_bins=1000)
assert patterns.sizes["frame"] == n_frames
assert (patterns.signal[-1] == patterns.signal[0]).all()
bl.save(patterns, path + ".nc")
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1])
"""


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_400_frames_need_hardly_more_memory_than_20(tmp_path):
    """Frames of 4 MiB from file to file: 380 more are 1520 MiB, their patterns 17 MiB and as much while written."""
    peaks = []
    for n_frames in (20, 400):
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(n_frames), str(tmp_path / f"{n_frames}.h5")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 80, peaks


STORED = """
import os, sys
import h5py, hdf5plugin
import numpy as np
import batlab as bl
from batlab.io import Geometry

n_frames, folder = int(sys.argv[1]), sys.argv[2]
shape = (2167, 2070)
geometry = Geometry(0.2, 0.08, 0.08, wavelength=0.5, detector="Eiger4M", detector_config='{"orientation": 3}',
                    shape=shape, orientation_stated=True)
paths = [os.path.join(folder, f"run_{number:06d}.h5") for number in range(n_frames // 100)]
frames = bl.open(paths)
plan = bl.scattering.Integrator(geometry, n_bins=2000)
plan(frames.isel(frame=slice(2)))
open("/proc/self/clear_refs", "w").write("5")  # what making the plan took is not meant
patterns = plan(frames, store=os.path.join(folder, f"{n_frames}.zarr"))
assert patterns.sizes["frame"] == n_frames
assert (patterns.signal[-1] == patterns.signal[99]).all()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1])
"""


def hundred_frames(path):
    """Write one file of 100 frames of 4 Mpix, all the same."""
    import h5py
    import hdf5plugin
    import numpy as np

    shape = (2167, 2070)
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        file["entry"].attrs["NX_class"], data.attrs["NX_class"] = "NXentry", "NXdata"
        squeezed = hdf5plugin.Bitshuffle(cname="lz4")
        stack = data.create_dataset("data", (100, *shape), "u4", chunks=(1, *shape), **squeezed)
        stack[0] = np.random.default_rng(0).poisson(2, shape)
        whole = stack.id.read_direct_chunk((0, 0, 0))[1]
        for frame in range(1, 100):
            stack.id.write_direct_chunk((frame, 0, 0), whole)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_100_and_4000_frames_of_4_mpix_stay_below_400_mb(tmp_path):
    """The longer series is the same file under forty names."""
    hundred_frames(tmp_path / "run_000000.h5")
    for number in range(1, 40):
        os.link(tmp_path / "run_000000.h5", tmp_path / f"run_{number:06d}.h5")
    for n_frames in (100, 4000):
        command = [sys.executable, "-W", "ignore", "-c", STORED, str(n_frames), str(tmp_path)]
        fresh = {**os.environ, "BATLAB_CACHE": "off"}  # where the plan is made, more lies about than where it is read
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=fresh)
        assert int(done.stdout) * 1024 < 400e6, (n_frames, done.stdout)
