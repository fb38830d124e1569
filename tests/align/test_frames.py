"""Exposure-window means of a cycler's record: exact, never extrapolated, on UTC."""

import itertools
import time
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from batlab import schema
from batlab.align import onto_frames
from batlab.errors import DimensionError, SchemaError

ZERO = "2024-03-31T00:30:00"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31),
    begin=st.floats(0.0, 90.0),
    exposure=st.floats(1e-3, 9.0),
)
def test_means_are_the_integrals_of_straight_lines(seed, begin, exposure, record, series):
    rng = np.random.default_rng(seed)
    seconds = np.sort(rng.uniform(0, 100, 40))
    seconds[[0, -1]] = 0, 100
    volt, ampere = rng.uniform(3, 4.2, 40), rng.normal(size=40)
    cell = record(seconds, voltage=volt, current=ampere)
    result = schema.check(onto_frames(series([begin], exposure), cell, gap=1e3))
    inner = [s for s in seconds if begin < s < begin + exposure]
    parts = [begin, *inner, begin + exposure]

    def mean(function):
        return sum(quad(function, a, b)[0] for a, b in itertools.pairwise(parts)) / exposure

    assert float(result.voltage[0]) == pytest.approx(mean(lambda t: np.interp(t, seconds, volt)), abs=1e-8)
    assert float(result.current[0]) == pytest.approx(mean(lambda t: np.interp(t, seconds, ampere)), abs=1e-8)

    def charge(moment):
        grid = np.concatenate([seconds[seconds < moment], [moment]])
        return np.trapezoid(np.interp(grid, seconds, ampere), grid) / 3600

    fine = [quad(charge, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(parts)]
    assert float(result.charge_passed[0]) == pytest.approx(sum(fine) / exposure, abs=1e-9)


def test_a_step_within_the_exposure_is_weighted_by_time(record, series):
    """Two records at one time are a jump; sampling the start of the frame would give 0, its middle 1."""
    cell = record([0, 7, 7, 100], current=[0, 0, 1, 1])
    result = onto_frames(series([0.0], 10.0), cell, gap=1e3)
    assert float(result.current[0]) == pytest.approx(0.3)


def test_short_exposures_late_in_a_long_record_keep_their_digits(record, series):
    seconds = np.arange(0, 3e6, 10.0)
    cell = record(seconds, voltage=3 + 1e-7 * seconds)
    begin = 2.9e6 + 4.9995
    result = onto_frames(series([begin], 1e-3), cell)
    assert float(result.voltage[0]) == pytest.approx(3 + 1e-7 * (begin + 5e-4), abs=1e-12)


def test_nothing_is_extrapolated(record, series):
    cell = record(np.arange(0, 101, 1.0), voltage=np.full(101, 3.7), step=np.ones(101), current=np.ones(101))
    result = schema.check(onto_frames(series([-20, -1, 0, 50, 95, 96, 200], 5.0), cell))
    for name in ("voltage", "current", "charge_passed", "step"):
        assert np.isfinite(result[name].values).tolist() == [False, False, True, True, True, False, False], name


def test_gaps_are_nan_and_coarse_rests_are_not(record, series):
    fast = np.arange(0, 100, 1.0)
    rest = np.arange(100, 2000, 300.0)
    again = np.arange(2000, 2100, 1.0)
    after = np.arange(2600, 2700, 1.0)  # 500 s lost
    seconds = np.concatenate([fast, rest, again, after])
    cell = record(seconds, voltage=np.full(seconds.size, 3.7))
    begin = [10, 95, 500, 2050, 2090, 2300, 2599, 2600, 2650]
    result = onto_frames(series(begin, 10.0), cell)
    known = np.isfinite(result.voltage.values).tolist()
    assert known == [True, True, True, True, False, False, False, True, True]
    strict = onto_frames(series(begin, 10.0), cell, gap=60.0)
    assert np.isfinite(strict.voltage.values).tolist() == [True, False, False, True, False, False, False, True, True]


def test_missing_values_are_a_gap_of_that_column_only(record, series):
    volt = np.full(100, 3.7)
    volt[40:80] = np.nan
    cell = record(np.arange(100.0), voltage=volt, current=np.ones(100))
    result = onto_frames(series([10, 50, 85], 5.0), cell)
    assert np.isfinite(result.voltage.values).tolist() == [True, False, True]
    assert np.isfinite(result.current.values).all()


def test_charge_over_a_gap_is_told(record, series):
    seconds = np.concatenate([np.arange(0, 100.0), np.arange(600, 700.0)])
    cell = record(seconds, current=np.ones(200))
    with pytest.warns(UserWarning, match=r"gaps of the record"):
        onto_frames(series([10, 650], 5.0), cell)


def test_capacity_runs_on_across_resets(record, series):
    """A signed counter set to zero at each half cycle, and one that counts both ways upwards."""
    hours = np.arange(0, 6, 0.01)
    current = np.where(hours % 2 < 1, 1.0, -1.0)
    phase = hours % 1
    for counter, total in ((np.where(current > 0, phase, -phase), 0.5), (phase, 4.5)):
        cell = record(hours * 3600, current=current, capacity=counter)
        result = schema.check(onto_frames(series([4.5 * 3600], 36.0), cell))
        assert float(result.capacity[0]) == pytest.approx(total, abs=0.06)
    assert float(result.charge_passed[0]) == pytest.approx(0.5, abs=0.03)


def test_a_counter_that_discharges_is_not_reset(record, series):
    hours = np.arange(0, 2, 0.01)
    current = np.where(hours < 1, 1.0, -1.0)
    counter = 1 - np.abs(hours - 1)
    cell = record(hours * 3600, current=current, capacity=counter)
    result = onto_frames(series([1.8 * 3600], 3.6), cell)
    assert float(result.capacity[0]) == pytest.approx(0.2 - 0.0005, abs=1e-6)


def test_cycle_and_step_hold_for_the_whole_window_or_are_nan(record, series):
    step = np.repeat([1.0, 2.0, 1.0], 10)
    cell = record(np.arange(30.0), step=step, cycle=np.repeat([1.0, 2.0], 15))
    result = onto_frames(series([2, 8, 9.2, 10, 18, 22], 1.5), cell)
    np.testing.assert_array_equal(result.step, [1, np.nan, np.nan, 2, np.nan, 1])
    np.testing.assert_array_equal(result.cycle, [1, 1, 1, 1, 2, 2])


def test_offset_moves_the_frames_and_is_kept(record, series):
    cell = record(np.arange(0, 1000, 10.0), voltage=3 + np.arange(0, 1000, 10.0) / 1000)
    late = series([100, 200, 300], 10.0)
    result = schema.check(onto_frames(late, cell, offset=41.0))
    np.testing.assert_allclose(result.voltage, [3.146, 3.246, 3.346])
    assert result.attrs["clock_offset"] == 41.0
    assert (result.time.values - late.time.values == np.timedelta64(41, "s")).all()

    def drifting(moments):
        assert moments.dtype.kind == "M"
        return 10.0 + 0.1 * ((moments - moments[0]) / np.timedelta64(1, "s"))

    drifted = schema.check(onto_frames(late, cell, offset=drifting))
    np.testing.assert_allclose(drifted.voltage, [3.115, 3.225, 3.335])
    np.testing.assert_allclose(drifted.clock_offset, [10, 20, 30])


def test_dates_are_utc_whatever_the_zone(record, series):
    """Across the night in which Europe's clocks skip 02:00 to 03:00."""
    cell = record(np.arange(0, 7200, 10.0), voltage=np.arange(0, 7200, 10.0))
    summer = timezone(timedelta(hours=2))
    moments = [
        "2024-03-31T01:30:00",
        "2024-03-31T01:30:00Z",
        "2024-03-31T03:30:00+02:00",
        datetime(2024, 3, 31, 1, 30),
        datetime(2024, 3, 31, 1, 30, tzinfo=UTC),
        datetime(2024, 3, 31, 3, 30, tzinfo=summer),
        np.datetime64("2024-03-31T01:30:00"),
    ]
    for moment in moments:
        result = schema.check(onto_frames(series(n_frames=3), cell, start=moment, interval=60.0))
        np.testing.assert_allclose(result.voltage, [3630, 3690, 3750])
        assert result.time.values[0] == np.datetime64("2024-03-31T01:30:00")
        np.testing.assert_allclose(result.exposure, 60)


def test_a_record_without_a_date_takes_seconds(record, series):
    cell = record(np.arange(0, 1000, 10.0), dated=False, voltage=np.arange(0, 1000, 10.0))
    result = schema.check(onto_frames(series(n_frames=4), cell, start=100.0, interval=300.0))
    np.testing.assert_allclose(result.voltage, [250, 550, np.nan, np.nan])  # the record ends at 990 s
    assert "time" not in result
    np.testing.assert_allclose(result.test_time, [100, 400, 700, 1000])
    dated = onto_frames(series([5, 10], 2.0), cell, start=100.0)
    np.testing.assert_allclose(dated.voltage, [101, 106])
    with pytest.raises(ValueError, match="start="):
        onto_frames(series([5, 10], 2.0), cell)
    with pytest.raises(ValueError, match="no date"):
        onto_frames(series(n_frames=2), cell, start=ZERO, interval=10.0)


def test_exposure_shorter_than_the_interval_is_used(record, series):
    cell = record(np.arange(0, 100.0), voltage=np.arange(0, 100.0))
    result = onto_frames(series(n_frames=2, exposure=2.0), cell, start=0.0, interval=10.0)
    np.testing.assert_allclose(result.voltage, [1, 11])


def test_what_is_missing_is_asked_for(record, series):
    cell = record(np.arange(0, 100.0), voltage=np.arange(0, 100.0))
    with pytest.raises(ValueError, match=r"start=.*interval="):
        onto_frames(series(n_frames=2), cell)
    with pytest.raises(ValueError, match="interval="):
        onto_frames(series(n_frames=2), cell, start=ZERO)
    with pytest.raises(ValueError, match="exposure"):
        onto_frames(series([1, 2]), cell)
    with pytest.raises(ValueError, match="interval"):
        onto_frames(series(n_frames=2), cell, start=ZERO, interval=-1.0)
    with pytest.raises(ValueError, match="such as"):
        onto_frames(series(n_frames=2), cell, start="31.3.2024", interval=1.0)
    with pytest.raises(ValueError, match="offset"):
        onto_frames(series([1, 2], 1.0), cell, offset=float("nan"))
    with pytest.raises(ValueError, match="gap"):
        onto_frames(series([1, 2], 1.0), cell, gap=0.0)
    with pytest.raises(ValueError, match="one offset"):
        onto_frames(series([1, 2], 1.0), cell, offset=lambda moments: np.zeros(3))
    with pytest.raises(DimensionError, match="record"):
        onto_frames(series([1, 2], 1.0), series([1, 2], 1.0))
    with pytest.raises(SchemaError, match="backwards"):
        onto_frames(series(n_frames=1), record([0, 2, 1.0], dated=False, voltage=[3, 3, 3]), start=0.0, interval=1.0)


def test_an_empty_record_gives_nan(record, series):
    result = schema.check(onto_frames(series([1, 2], 1.0), record([], voltage=[], current=[])))
    assert np.isnan(result.voltage).all()
    assert np.isnan(result.charge_passed).all()


def test_inputs_stay_and_history_grows(record, series):
    cell, frames = record(np.arange(9.0), voltage=np.arange(9.0)), series([1, 2], 1.0)
    before = cell.copy(deep=True), frames.copy(deep=True)
    result = onto_frames(frames, cell)
    assert cell.identical(before[0])
    assert frames.identical(before[1])
    assert "align.onto_frames(" in result.attrs["history"]


def test_a_million_records_and_a_hundred_thousand_frames_take_seconds(record, series):
    seconds = np.arange(1e6)
    cell = record(seconds, voltage=np.sin(seconds / 1e4), current=np.cos(seconds / 1e4), step=seconds // 5e4)
    frames = series(np.arange(100_000) * 9.0, 8.0)
    began = time.process_time()
    result = onto_frames(frames, cell)
    assert time.process_time() - began < 60
    np.testing.assert_allclose(result.voltage, np.sin((np.arange(100_000) * 9.0 + 4) / 1e4), atol=1e-6)
