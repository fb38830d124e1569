"""Local clocks: the hour that is missing in spring, the one that comes twice in autumn, clocks that are set."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.align import local_to_utc, mend_clock, undo
from batlab.errors import SchemaError
from batlab.schema import quantity


def shown(start, minutes, zone):
    """What a local clock shows, minute by minute of real time: the standard library's zones are the oracle."""
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    real = [begin + timedelta(minutes=int(minute)) for minute in minutes]
    local = [moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for moment in real]
    return np.array(local, "datetime64[ns]"), np.array([m.replace(tzinfo=None) for m in real], "datetime64[ns]")


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Paris", "2024-10-26T20:00"),
        ("Europe/Paris", "2024-03-30T20:00"),
        ("America/New_York", "2024-11-03T00:00"),
        ("Australia/Lord_Howe", "2024-04-06T10:00"),  # half an hour
        ("Asia/Tokyo", "2024-10-26T20:00"),
    ],
)
@pytest.mark.parametrize("every", [1, 7])
def test_a_night_in_which_clocks_change(zone, start, every):
    local, real = shown(start, np.arange(0, 12 * 60, every), zone)
    np.testing.assert_array_equal(local_to_utc(local, zone), real)


def test_the_missing_hour_is_refused():
    with pytest.raises(ValueError, match=r"02:30:00 never was in Europe/Paris.*60 min.*Etc/GMT-1"):
        local_to_utc(["2024-03-31T01:30", "2024-03-31T02:30"], "Europe/Paris")
    fixed = local_to_utc(["2024-03-31T02:30"], "Etc/GMT-1")
    assert fixed[0] == np.datetime64("2024-03-31T01:30")
    with pytest.raises(ValueError, match=r"America/New_York.*Etc/GMT\+5"):
        local_to_utc(["2024-03-10T02:15"], "America/New_York")


def test_the_double_hour_is_asked_for_unless_it_runs_back():
    twice = ["2024-10-27T02:10", "2024-10-27T02:40"]
    with pytest.raises(ValueError, match=r"came twice.*double='first'"):
        local_to_utc(twice, "Europe/Paris")
    first = local_to_utc(twice, "Europe/Paris", double="first")
    second = local_to_utc(twice, "Europe/Paris", double="second")
    assert first[0] == np.datetime64("2024-10-27T00:10")
    assert (second - first == np.timedelta64(1, "h")).all()
    with pytest.raises(ValueError, match="more than once"):
        local_to_utc(["2024-10-27T02:40", "2024-10-27T02:10", "2024-10-27T02:05"], "Europe/Paris")


def test_odd_input():
    assert local_to_utc(np.array([], "datetime64[ns]"), "Europe/Paris").size == 0
    kept = local_to_utc(np.array(["NaT", "2024-07-01T12:00"], "datetime64[ns]"), "Europe/Paris")
    assert np.isnat(kept[0])
    assert kept[1] == np.datetime64("2024-07-01T10:00")
    assert local_to_utc(np.datetime64("2024-07-01T12:00"), "Europe/Paris") == np.datetime64("2024-07-01T10:00")
    with pytest.raises(ValueError, match="timezone must be a name"):
        local_to_utc(["2024-07-01T12:00"], "Paris")
    with pytest.raises(ValueError, match="double"):
        local_to_utc(["2024-07-01T12:00"], "Europe/Paris", double="both")


def series_of(local):
    return xr.Dataset(
        {"a": quantity("frame", np.zeros(local.size), "angstrom", "a")},
        {"time": quantity("frame", local, "", "start of exposure")},
    )


def test_a_clock_set_back_is_mended_and_undone():
    local, real = shown("2024-10-26T22:00", np.arange(0, 600, 2), "Europe/Paris")
    series = series_of(local)  # taken as UTC: it runs back in the night
    with pytest.raises(SchemaError, match="backwards"):
        schema.check(series)
    before = series.copy(deep=True)
    mended = schema.check(mend_clock(series))
    assert series.identical(before)
    assert mended.attrs["clock_jumps"] == [-3600.0]
    assert np.ptp((mended.time.values - real).astype(float)) == 0  # summer time all along
    assert "align.mend_clock" in mended.attrs["history"]
    back = undo(mended)
    np.testing.assert_array_equal(back.time, local)
    assert "clock_set" not in back.coords


def test_a_step_back_that_is_made_good_is_one_hour_only():
    """A reader that took every stamp of the double hour for its first pass: an hour twice, then one is skipped."""
    local, real = shown("2024-10-26T22:00", np.arange(0, 600, 2), "Europe/Paris")
    wrong = local_to_utc(local, "Europe/Paris", double="first")
    mended = mend_clock(series_of(wrong))
    assert mended.attrs["clock_jumps"] == [-3600.0, 3600.0]
    np.testing.assert_array_equal(mended.time, real)


def test_a_pause_is_no_clock_change_unless_the_zone_changed_it():
    local, real = shown("2024-03-30T22:00", np.arange(0, 600, 2), "Europe/Paris")
    skipped = series_of(local)
    assert mend_clock(skipped).attrs["clock_jumps"] == []
    mended = mend_clock(skipped, timezone="Europe/Paris")
    assert mended.attrs["clock_jumps"] == [3600.0]
    assert np.ptp((mended.time.values - real).astype(float)) == 0
    assert mend_clock(series_of(local + np.timedelta64(2, "D")), timezone="Europe/Paris").attrs["clock_jumps"] == []


def test_test_time_tells_every_jump():
    local, real = shown("2024-03-30T22:00", np.arange(0, 600, 2), "Europe/Paris")
    test_time = np.arange(0, 600, 2) * 60.0
    cell = xr.Dataset(
        {"voltage": quantity("record", np.ones(300), "V", "voltage")},
        {
            "time": quantity("record", local, "", "time"),
            "test_time": quantity("record", test_time, "s", "time of the test"),
        },
    )
    mended = schema.check(mend_clock(cell))
    assert mended.attrs["clock_jumps"] == [3600.0]
    assert np.ptp((mended.time.values - real).astype(float)) == 0
    pause = cell.assign_coords(time=("record", real + np.where(np.arange(300) > 100, 600, 0).astype("timedelta64[s]")))
    assert mend_clock(pause).attrs["clock_jumps"] == []  # 10 min are no change of a clock


def test_what_cannot_be_mended_is_refused():
    times = np.datetime64("2024-05-01", "ns") + np.array([0, 60, 120, 10, 70]).astype("timedelta64[s]")
    with pytest.raises(SchemaError, match="no whole half hour"):
        mend_clock(series_of(times))
    with pytest.raises(SchemaError, match="needs 'time'"):
        mend_clock(series_of(times).drop_vars("time"))
    none = np.full(2, np.datetime64("NaT", "ns"))
    assert mend_clock(series_of(none)).attrs["clock_jumps"] == []
    assert mend_clock(series_of(none[:0])).attrs["clock_jumps"] == []
