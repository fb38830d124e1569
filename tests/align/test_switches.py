"""Switches of the current that fall between two records: placed by step time or counter, else told in σ."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.align import estimate_lag
from batlab.align.switches import net_charge, switched
from batlab.schema import quantity

_spec = importlib.util.spec_from_file_location("batlab_lags", Path(__file__).with_name("test_lag.py"))
_lags = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_lags)
PLANTED = 60.0


def sampled(every, phase=0.0, *, with_counter="", with_step_time=False, protocol=_lags.SQUARE):
    """A record every so many seconds, with the current of that moment; no line where it is switched."""
    corners, currents = (np.asarray(one, dtype=float) for one in protocol)
    seconds = np.arange(corners[0] + phase, corners[-1] + 1e-9, every)
    at = np.clip(np.searchsorted(corners, seconds, side="right") - 1, 0, currents.size - 1)
    columns = {"current": quantity("record", currents[at], "A", "current")}

    def counted(way):
        charge = np.concatenate([[0.0], np.cumsum(np.diff(corners) * way)])
        return quantity("record", (charge[at] + (seconds - corners[at]) * way[at]) / 3600, "Ah", "counter")

    if with_counter == "net":
        columns["capacity"] = counted(currents)
    if with_counter == "both":
        columns["charge_capacity"] = counted(np.maximum(currents, 0))
        columns["discharge_capacity"] = counted(np.maximum(-currents, 0))
    if with_step_time:
        columns["step_time"] = quantity("record", seconds - corners[at], "s", "time of the step")
    return xr.Dataset(columns, {"time": quantity("record", _lags.dates(seconds), "", "time, UTC")})


def found(cell, seed=0):
    series, _ = _lags.planted(seed, lag=PLANTED)
    return estimate_lag(series, cell, signal="a", hours=False, drift=False)


@pytest.mark.parametrize("every", [10.0, 47.0, 120.0])
@pytest.mark.parametrize("told", [{"with_counter": "net"}, {"with_counter": "both"}, {"with_step_time": True}])
def test_what_the_cycler_tells_places_the_switch(every, told):
    full = found(_lags.record_of(*_lags.SQUARE))  # every switch recorded
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparse = found(sampled(every, 7.0 if every > 10 else 0.0, **told))
    assert sparse.lag == pytest.approx(full.lag, abs=0.05)
    assert sparse.sigma == pytest.approx(full.sigma, rel=0.01)
    assert sparse.dataset.attrs["switch_sigma"] == 0


@pytest.mark.parametrize(("every", "phase"), [(30.0, 0.0), (60.0, 0.0), (30.0, 17.0), (60.0, 31.0), (120.0, 7.0)])
def test_what_nothing_tells_widens_sigma(every, phase):
    cell = sampled(every, phase)
    before = cell.copy(deep=True)
    with pytest.warns(UserWarning, match=rf"switched 7 times between records, up to {every:g} s apart"):
        one = found(cell)
    schema.check(one.dataset)
    xr.testing.assert_identical(cell, before)
    # Anywhere between two records, all alike: an even spread of `every` seconds has that standard deviation.
    assert one.dataset.attrs["switch_sigma"] == pytest.approx(every / np.sqrt(12), rel=0.03)
    assert abs(one.lag - PLANTED) < 2 * one.sigma
    low, high = one.interval
    assert low < PLANTED < high
    assert f"Switched between records: 7 times, up to {every:g} s apart" in str(one)


def test_where_a_switch_lies():
    times, current = np.array([0.0, 10, 20, 30, 40]), np.array([1.0, 1, 1, -1, -1])
    made = switched(times, current, share=0.25)
    assert made.times.tolist() == [0, 10, 20, 22.5, 22.5, 30, 40]
    assert made.current.tolist() == [1, 1, 1, 1, -1, -1, -1]
    assert (made.n_open, made.longest) == (1, 10.0)
    charge = np.array([0.0, 10, 20, 20 + 3 - 7, 16 - 10])  # switched after 3 s
    assert switched(times, current, counter=charge).times.tolist() == [0, 10, 20, 23, 23, 30, 40]
    # A counter that was reset, and a step that goes on, place nothing.
    assert switched(times, current, counter=np.array([0.0, 10, 20, 0, -10])).n_open == 1
    assert switched(times, current, step_time=times).n_open == 1
    # A step that began with the earlier record, by a clock of whole seconds.
    assert switched(times, current, step_time=np.array([0.0, 10, 20, 11, 21])).times[3] == 20


def test_what_is_no_switch():
    times = np.arange(8.0)
    falling = np.exp(-times)  # constant voltage, recorded too coarsely
    assert switched(times, falling).n_open == 0
    twice = np.array([0.0, 1, 2, 2, 3, 4])  # recorded where it is switched
    assert switched(twice, np.array([1.0, 1, 1, -1, -1, -1])).times.tolist() == twice.tolist()
    gap = np.array([0.0, 1, 2, 900, 901, 902])
    assert switched(gap, np.array([1.0, 1, 1, -1, -1, -1])).n_open == 0
    for n in (0, 1, 2):
        assert switched(times[:n], falling[:n]).times.size == n


def test_which_counter_is_believed():
    times, current = np.arange(0, 80, 10.0), np.repeat([2.0, -1.0], 4)
    charge = np.concatenate([[0.0], np.cumsum(np.diff(times) * (current[1:] + current[:-1]) / 2)]) / 3600
    np.testing.assert_allclose(net_charge(times, current, {"capacity": charge}), 3600 * charge)
    assert net_charge(times, current, {"capacity": np.abs(charge)[::-1]}) is None
    unsigned = np.concatenate([[0.0], np.cumsum(np.diff(times) * 1.5)]) / 3600
    assert net_charge(times, current, {"capacity": unsigned}) is None
    assert net_charge(times, current, {"capacity": np.full(8, np.nan)}) is None
    assert net_charge(times, current, {}) is None
