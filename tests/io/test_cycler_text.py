"""Plain csv and the LiCoVO4 record: nothing about units, sign or date is guessed."""

import warnings
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import _sign, cycler_text
from batlab.schema import check

BARE = "00:00:00 3.100 0.0\n00:00:10 3.200 39.0\n00:00:20 3.300 39.0\n26:40:01 3.200 19.0\n26:40:11 3.100 19.0\n"
CSV = "Time (s),Voltage (V),Current (mA),Capacity (mAh),Cycle Index,Temp [°C],Note\n"
CSV_ROWS = "0,3.0,0,0,1,25,rest\n10,3.1,36,0.1,1,25,go\n20,3.2,36,0.2,1,25,go\n30,3.3,36,0.3,1,25,go\n40,3.2,-36,0.2,2,25,back\n50,3.1,-36,0.1,2,25,back\n60,3.0,-36,0,2,25,back\n"  # noqa: E501


def write(folder, text, name="charge.txt"):
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture(scope="module")
def charge():
    return datasets.path("licovo4_operando") / "charge.txt"


@pytest.mark.data
def test_licovo4_record_without_hints(charge):
    with pytest.warns(UserWarning, match=r"charge.txt: .* its unit .*current_unit=.* and its sign .*current_sign="):
        ds = check(io.open(charge))
    assert set(ds.data_vars) == {"voltage", "current_raw"}
    assert ds["current_raw"].attrs["units"] == "unknown"
    assert "time" not in ds.coords
    assert ds.sizes["record"] == 1613
    # SOURCES: the record ends at 26.67 h, the charge at 15.0 h; 39 on charge, 19 on discharge.
    assert float(ds["test_time"][-1]) == pytest.approx(26.67 * 3600, abs=20)
    assert set(np.unique(ds["current_raw"])) == {0.0, 19.0, 39.0}


@pytest.mark.data
@pytest.mark.parametrize("rule", ["voltage", {39.0: 1, 19.0: -1}])
def test_licovo4_record_with_hints(charge, rule):
    ds = check(io.open(charge, current_unit="uA", current_sign=rule, start="2022-09-16T12:00"))
    hours = ds["test_time"].values / 3600
    current = ds["current"].values
    assert current[(hours > 0.01) & (hours < 15.0)] == pytest.approx(39e-6)
    assert current[(hours > 15.01) & (hours < 26.66)] == pytest.approx(-19e-6)
    assert str(ds["time"].values[0]) == "2022-09-16T12:00:00.000000000"
    assert str(ds["time"].values[-1])[:19] == "2022-09-17T14:40:01"


def test_sign_and_unit_are_both_needed(tmp_path):
    path = write(tmp_path, BARE)
    with pytest.warns(UserWarning, match="its sign"):
        assert io.open(path, current_unit="mA")["current_raw"].values[1] == 0.039
    with pytest.warns(UserWarning, match="its unit"):
        assert "current" not in io.open(path, current_sign="voltage")
    with pytest.raises(ReadError, match=r"charge.txt: current_sign names no sign for the magnitude 19"):
        io.open(path, current_unit="mA", current_sign={39: 1})
    with pytest.raises(ValueError, match=r"current_sign must be .* did you mean 'voltage'"):
        io.open(path, current_unit="mA", current_sign="voltag")
    with pytest.raises(ValueError, match="current_unit must be"):
        io.open(path, current_unit="amps", current_sign="voltage")
    ds = io.open(path, current_unit="mA", current_sign="positive_discharges")
    assert ds["current"].values.tolist() == [0, -0.039, -0.039, -0.019, -0.019]


def test_hours_beyond_a_day_and_days(tmp_path):
    text = BARE.replace("26:40:11", "1d 02:40:11")
    ds = io.open(write(tmp_path, BARE), current_unit="mA", current_sign="voltage")
    assert ds["test_time"].values.tolist() == [0, 10, 20, 96001, 96011]
    assert ds["current"].values.tolist() == [0, 0.039, 0.039, -0.019, -0.019]
    with pytest.raises(ReadError, match=r"charge.txt: line 5 has 4 columns"):
        io.open(write(tmp_path, text + "\n"), current_unit="mA", current_sign="voltage")
    comma = BARE.replace(" ", ";").replace("26:40:11", "1d 02:40:11").replace(".", ",")
    assert io.open(write(tmp_path, comma), current_unit="mA", current_sign="voltage").equals(ds)


@pytest.mark.parametrize(
    "start",
    [
        "2022-09-16T12:00",
        "2022-09-16T14:00+02:00",
        datetime(2022, 9, 16, 12),
        datetime(2022, 9, 16, 12, tzinfo=UTC),
        datetime(2022, 9, 16, 14, tzinfo=timezone(timedelta(hours=2))),
        np.datetime64("2022-09-16T12:00"),
    ],
)
def test_start(tmp_path, start):
    ds = io.open(write(tmp_path, BARE), current_unit="mA", current_sign="voltage", start=start)
    assert str(ds["time"].values[1])[:19] == "2022-09-16T12:00:10"


def test_csv_with_units_in_its_header(tmp_path):
    ds = check(io.open(write(tmp_path, CSV + CSV_ROWS, "cell.csv")))
    assert ds["test_time"].values[-1] == 60
    # Its sign is told by the file: the voltage rises with positive current and falls with negative.
    assert ds["current"].values.tolist() == pytest.approx([0, 0.036, 0.036, 0.036, -0.036, -0.036, -0.036])
    assert ds["capacity"].values[3] == pytest.approx(3e-4)
    assert ds["cycle"].values[-1] == 2
    assert ds["temp"].attrs["units"] == "degC"
    assert ds["note"].values[1] == "go"


@pytest.mark.parametrize(
    "header",
    ["Time/s;Ewe/V;I/mA", "time [s];potential [V];current [mA]", "Test_Time(s)\tVoltage(V)\tCurrent(mA)",
     "free words\nmore: words\nTime / s;Voltage / mV;Current / A"],
)  # fmt: skip
def test_headers_of_many_programs(tmp_path, header):
    separator = "\t" if "\t" in header else ";"
    rows = "".join(separator.join((f"{10 * i}", f"{3 + i},5", f"{i},5")) + "\n" for i in range(3))
    ds = check(io.open(write(tmp_path, f"{header}\n{rows}", "cell.csv"), current_sign="positive_charges"))
    factors = (1e-3, 1.0) if "mV" in header else (1.0, 1e-3)
    assert ds["voltage"].values == pytest.approx(factors[0] * np.array([3.5, 4.5, 5.5]))
    assert ds["current"].values == pytest.approx(factors[1] * np.array([0.5, 1.5, 2.5]))


def test_unknown_units_are_asked_for(tmp_path):
    path = write(tmp_path, "time,voltage,current,capacity\n0,3,1,0\n1,3.1,1,1\n", "cell.csv")
    given = {}
    for hint, unit in {"time_unit": "h", "voltage_unit": "V", "capacity_unit": "mAh"}.items():
        with pytest.raises(ReadError, match=rf"cell.csv: the unit of column .* pass {hint}="):
            io.open(path, **given)
        given[hint] = unit
    ds = io.open(path, time_unit="h", voltage_unit="V", capacity_unit="mAh", current_unit="mA", current_sign="voltage")
    assert ds["test_time"].values.tolist() == [0, 3600]
    assert ds["capacity"].values.tolist() == [0, 1e-3]
    odd = write(tmp_path, "time (s),voltage (furlong),current (A)\n0,3,1\n1,3.1,1\n", "odd.csv")
    with pytest.raises(ReadError, match=r"odd.csv: the unit 'furlong' of column 'voltage \(furlong\)' is not known"):
        io.open(odd, current_sign="voltage")


def test_bare_voltage_in_other_units_is_asked_for(tmp_path):
    path = write(tmp_path, BARE.replace(" 3.", " 3"))
    with pytest.raises(ReadError, match="too much for volts; pass voltage_unit="):
        io.open(path, current_unit="mA", current_sign="voltage")
    assert io.open(path, voltage_unit="mV", current_unit="mA", current_sign="voltage")["voltage"].values[0] == 3.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BARE.replace("00:00:20", "00:99:20"), r"charge.txt: line 3: '00:99:20' is no time hh:mm:ss"),
        (BARE.replace("3.300 39.0", "3.300"), r"charge.txt: line 3 has 2 columns, the header names 3"),
        (BARE.replace("3.300", "3..3"), r"charge.txt: line 3, column 'voltage' holds '3..3', which is no number"),
        (BARE.replace("26:40:11", "00:00:01"), r"charge.txt: the time falls from 96001 s to 1 s at record 4"),
        (CSV, r"charge.txt: no record follows the header"),
        (CSV + CSV_ROWS.replace("10,3.1", "10"), r"charge.txt: line 3 has 6 columns, the header names 7"),
    ],
)
def test_damage_is_named(tmp_path, text, message):
    with pytest.raises(ReadError, match=message):
        io.open(write(tmp_path, text), current_unit="mA", current_sign="positive_charges")


def test_voltage_rule_on_a_hold_and_where_nothing_tells(tmp_path):
    current = np.array([0, 2, 2, 2, 1.5, 1.0, 0, 0, 2, 2, 2])
    voltage = np.array([3, 3.2, 3.6, 4.2, 4.2, 4.2, 4.1, 4.1, 4.0, 3.5, 3.0])
    signed = _sign.signed(current, voltage, "voltage", "a")
    assert np.sign(signed).tolist() == [0, 1, 1, 1, 1, 1, 0, 0, -1, -1, -1]
    with pytest.raises(ReadError, match=r"a: records 1 to 2: the voltage hardly changes"):
        _sign.signed(np.array([0, 1.0, 1.0]), np.array([3.0, 3.0, 3.0]), "voltage", "a")
    with pytest.raises(ReadError, match="has both signs"):
        _sign.signed(np.array([1.0, -1.0]), np.array([3.0, 3.1]), "voltage", "a")


def test_patterns_are_no_cycler(tmp_path):
    for head in ("2Theta\tI\n1 2\n", "q,i\n1,2\n", "# q_nm^-1 I sigma\n", "energy\te\ti\tt\n"):
        assert not cycler_text.recognise(tmp_path / "a.txt", head.encode())


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=200) | st.text("0123456789:., \t\n;VA", max_size=200).map(str.encode), lead=st.booleans())
def test_any_bytes_give_a_result_or_a_read_error(raw, lead, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.txt"
    path.write_bytes((b"00:00:00 3.1 0\n" if lead else b"Time (s),Voltage (V)\n") + raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            check(cycler_text.read([path], current_unit="mA", current_sign="positive_charges"))
        except ReadError as error:
            message = str(error)
        else:
            return
    assert "a.txt" in message


@pytest.mark.data
@pytest.mark.soak
def test_truncated_at_every_kilobyte(charge, tmp_path):
    raw = charge.read_bytes()
    path = tmp_path / "charge.txt"
    for size in range(0, len(raw) - 1, 1024):
        path.write_bytes(raw[:size])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                ds = io.open(path, current_unit="uA", current_sign={39.0: 1, 19.0: -1})
            except ReadError as error:
                message = str(error)
            else:
                assert abs(ds.sizes["record"] - raw[:size].count(b"\n")) <= 1
                continue
        assert "charge.txt" in message
