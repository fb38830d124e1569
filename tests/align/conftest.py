"""Records and series to align."""

import numpy as np
import pytest
import xarray as xr

from batlab.schema import quantity

ZERO = np.datetime64("2024-03-31T00:30:00", "ns")  # half an hour before clocks change in Europe
UNITS = {"voltage": "V", "current": "A", "capacity": "Ah", "cycle": "1", "step": "1"}


def dates(seconds):
    return ZERO + (np.asarray(seconds, dtype=float) * 1e9).round().astype("timedelta64[ns]")


def make_record(seconds, dated=True, **columns):
    seconds = np.asarray(seconds, dtype=float)
    coords = {"record": quantity("record", np.arange(seconds.size), "1", "record")}
    coords["test_time"] = quantity("record", seconds, "s", "time of the test")
    if dated:
        coords["time"] = quantity("record", dates(seconds), "", "time, UTC")
    data = {n: quantity("record", np.asarray(v, dtype=float), UNITS[n], n) for n, v in columns.items()}
    return xr.Dataset(data, coords)


def make_series(begin=None, exposure=None, n_frames=None):
    n_frames = len(begin) if n_frames is None else n_frames
    coords = {"frame": quantity("frame", np.arange(n_frames), "1", "frame")}
    if begin is not None:
        coords["time"] = quantity("frame", dates(begin), "", "start of exposure, UTC")
    if exposure is not None:
        coords["exposure"] = quantity("frame", np.full(n_frames, float(exposure)), "s", "exposure")
    return xr.Dataset({"a": quantity("frame", np.linspace(2.8, 2.9, n_frames), "angstrom", "a")}, coords)


@pytest.fixture
def record():
    return make_record


@pytest.fixture
def series():
    return make_series
