"""Files of one cell's life joined: planted seams, and the eight workbooks of CALCE's cell CS2_35."""

import warnings

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import _cycler, cycler_series
from batlab.io._cycler import Column
from batlab.schema import check


def record(start, *, steps=(1, 2, 3, 1, 2, 3), cycles=(1, 1, 1, 2, 2, 2), offset=0.0):
    n = len(steps)
    charge = np.cumsum([0.0, 1, 0, 0, 1, 0][:n])
    columns = {
        "test_time": Column(10.0 + 3600.0 * np.arange(n), "s", "time since the start of the test"),
        "voltage": Column(3.0 + offset + 0.1 * np.arange(n), "V", "voltage"),
        "current": Column(np.zeros(n), "A", "current, positive on charge"),
        "charge_capacity": Column(charge, "Ah", "charge counter of the cycler, charging"),
        "cycle": Column(np.array(cycles, float), "1", "number of the cycle"),
        "step": Column(np.array(steps, float), "1", "number of the step"),
    }
    time = np.datetime64(start, "ns") + _cycler.elapsed(columns["test_time"].values)
    return _cycler.dataset(columns, "made", time=time, is_checked=False)


def joined(records, names):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds = check(cycler_series.join(records, names))
    return ds, [str(one.message) for one in caught]


def test_counters_go_on_and_gaps_stay():
    files = [record("2020-01-02"), record("2020-01-01"), record("2020-03-01", offset=0.5)]
    before = [one.copy(deep=True) for one in files]
    ds, told = joined(files, ["b", "a", "c"])
    assert ds.attrs["files"] == ["a", "b", "c"]
    assert ds["cycle"].values.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6]
    assert ds["cycle_in_file"].values.tolist() == 3 * [1, 1, 1, 2, 2, 2]
    assert ds["charge_capacity"].values.tolist() == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6]
    assert ds["test_time"].values[[0, 6, 12]].tolist() == [10, 86410, 60 * 86400 + 10]
    assert np.flatnonzero(ds["is_after_gap"]).tolist() == [6, 12]
    seams = ["19.0 h without a record between a and b", "1411.0 h without a record between b and c"]
    assert ds.attrs["gaps"].split("\n") == seams
    assert len(told) == 1
    assert all(seam in told[0] for seam in seams)
    assert ds.sizes["record"] == 18  # nothing is filled in
    for one, other in zip(files, before, strict=True):
        assert one.identical(other)


def test_a_file_held_twice_counts_once():
    ds, told = joined([record("2020-01-01"), record("2020-01-02"), record("2020-01-02")], ["a", "b", "b copy"])
    assert ds.sizes["record"] == 12
    assert ds.attrs["left_out"] == ["b copy"]
    assert told[0] == "b copy: holds the same 6 records as b; it is left out, so that nothing counts twice"


def test_files_that_follow_at_once_leave_no_gap():
    ds, told = joined([record("2020-01-01"), record("2020-01-01T06:00")], ["a", "b"])
    assert not ds["is_after_gap"].any()
    assert ds.attrs["gaps"] == ""
    assert told == []


def test_overlap_that_is_no_copy_is_refused():
    with pytest.raises(ReadError, match="b: overlaps in time with a; open them apart"):
        cycler_series.join([record("2020-01-01"), record("2020-01-01", offset=0.1)], ["a", "b"])


def test_cut_cycles_are_named():
    cut = record("2020-01-01", steps=(1, 2, 3, 1, 2), cycles=(1, 1, 1, 2, 2))
    ds, told = joined([cut, record("2020-01-02")], ["a", "b"])
    assert ds.attrs["cut_cycles"] == [2]
    assert "the end of its file cuts cycle 2 (2 of a)" in told
    assert ds["cycle"].values.tolist() == [1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4]


def test_one_file_is_left_as_it_is_and_dates_are_needed():
    one = record("2020-01-01")
    assert cycler_series.join([one], ["a"]) is one
    with pytest.raises(ReadError, match="b: states no date"):
        cycler_series.join([one, one.drop_vars("time")], ["a", "b"])


@pytest.fixture(scope="module")
def calce():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds = io.open(datasets.path("calce_cs2_35") / "*.xlsx", timezone="America/New_York")
    return ds, [str(one.message) for one in caught]


@pytest.mark.data
def test_calce_files_are_joined_and_the_pair_is_named(calce):
    """SOURCES: 2_4_11 and 2_10_11 hold the same data; 8 of 25 files are there; cycles may be cut."""
    ds, told = calce
    check(ds)
    days = ("8_19_10", "9_8_10", "10_29_10", "11_24_10", "12_23_10", "1_28_11", "2_4_11")
    assert ds.attrs["files"] == [f"CS2_35_{day}.xlsx" for day in days]
    assert ds.attrs["left_out"] == ["CS2_35_2_10_11.xlsx"]
    assert any("CS2_35_2_10_11.xlsx: holds the same 5983 records as CS2_35_2_4_11.xlsx" in one for one in told)
    assert len(ds.attrs["gaps"].split("\n")) == 6
    assert np.flatnonzero(ds["is_after_gap"]).size == 6
    assert np.diff(ds["cycle"]).min() == 0
    assert np.diff(ds["cycle"]).max() == 1
    assert np.diff(ds["charge_capacity"]).min() >= 0
    assert np.isfinite(ds["voltage"]).all()


@pytest.mark.data
def test_calce_capacity_falls_as_sources_say(calce):
    """SOURCES: 1.137 Ah in the first file, 0.98 Ah in 10_29_10, about 0.3 Ah in the last."""
    ds, _ = calce
    capacity = {}
    for cycle in np.unique(ds["cycle"]):
        rows = np.flatnonzero(ds["cycle"].values == cycle)
        capacity[int(cycle)] = np.ptp(ds["discharge_capacity"].values[rows])
    of = {}
    for number in range(7):
        mine = np.unique(ds["cycle"].values[ds["file_number"].values == number]).astype(int)
        of[number] = np.array([capacity[one] for one in mine])
    assert of[0].max() == pytest.approx(1.137, abs=1e-3)
    assert np.median(of[2]) == pytest.approx(0.98, abs=0.02)
    assert of[6].min() < 0.35
    assert np.median(of[6]) < np.median(of[2]) < of[0].max()


@pytest.mark.data
def test_calce_counter_is_the_integral_of_the_current(calce):
    """The issue: counter and integral within 0.01 Ah, in each whole discharge."""
    ds, _ = calce
    seconds, current = ds["test_time"].values, ds["current"].values
    off = []
    for cycle in np.unique(ds["cycle"]):
        rows = np.flatnonzero((ds["cycle"].values == cycle) & (current < 0))
        if rows.size > 10 and cycle not in ds.attrs["cut_cycles"]:
            counted = np.ptp(ds["discharge_capacity"].values[rows])
            off.append(-np.trapezoid(current[rows], seconds[rows]) / 3600 - counted)
    assert len(off) > 100
    assert np.median(np.abs(off)) < 0.01
