"""Text exports of Maccor, PEC, Basytec, Novonix and Landt: counts, units, signs, clocks, and what files leave open."""

import csv
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import basytec, ecms, landt, maccor, novonix, pec
from batlab.schema import check

UTC = {"timezone": "UTC"}
MACCOR = (
    "Today's Date 09/21/2020  Date of Test:\t09/20/2020\t Filename:\tx.001 Procedure: P.000\tComment/Barcode: 7\r\n"
    "Rec#\tCyc#\tStep\tTest (Sec)\tStep (Sec)\tAmp-hr\tWatt-hr\tAmps\tVolts\tState\tES\tDPt Time\tTemp 1\r\n"
)
LANDT = (
    "cell model:,,,,\ncell id: ,,,,\n"
    "channel_index,cycle_index,step_index,date_time_iso_string,test_time_s,step_time_s,current_A,voltage_V,"
    "discharge_capacity_Ah,charge_capacity_Ah,discharge_energy_Wh,charge_energy_Wh,Pressure_Psi,temperature_1_C,"
    "step_name\n"
)
# As third-party readers describe the export of LAND's own program; current in mA, capacity in mAh.
LANHE = "Index\tTestTime/Sec.\tStepTime/Sec.\tVoltage/V\tCurrent/mA\tCapacity/mAh\tSCapacity/mAh/g\tSysTime\tState\n"


def write(folder, text, name="cell.txt"):
    (folder / name).write_text(text, newline="")
    return folder / name


def maccor_rows(sign=1.0, n=6):
    """An hour at rest, an hour of charge at 2 A, an hour of discharge: records each 10 min, counters as Maccor's."""
    rows = []
    for state, current in (("R", 0.0), ("C", 2.0), ("D", -2.0 if sign else 2.0)):
        for i in range(n + 1):
            seconds = 600 * i + 3600 * ["R", "C", "D"].index(state)
            charge = abs(current) * 600 * i / 3600
            day, rest = divmod(seconds + 80000, 86400)
            clock = f"09/{20 + day}/2020 {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
            volts = 3.5 + (0.1 * i if state == "C" else -0.1 * i if state == "D" else 0)
            rows.append(
                f"{len(rows) + 1}\t1\t1\t{seconds}.0\t{600 * i}.0\t{charge:.8f}\t{charge * 3.5:.8f}\t{current}\t"
                f"{volts}\t{state}\t1\t{clock}\t25.5\r\n"
            )
    return "".join(rows)


def columns(path, header, delimiter):
    """The words of a file by column, read by Python's own csv reader."""
    with path.open(encoding="latin-1", newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter))[header - 1 :]
    return {name.strip(): [row[i] for row in rows[1:] if len(row) > i] for i, name in enumerate(rows[0])}


@pytest.mark.data
def test_maccor_with_its_own_units():
    path = datasets.path("maccor_beep")
    ds = check(io.open(path, **UTC))
    raw = columns(path, 2, "\t")
    # The file numbers its records itself, from 1 to 4061.
    assert ds["record_number"].values.tolist() == list(range(1, 4062))
    names = ["test_time", "step_time", "voltage", "current", "capacity", "energy_recorded", "cycle", "step"]
    labels = ["Test (Sec)", "Step (Sec)", "Volts", "Amps", "Amp-hr", "Watt-hr", "Cyc#", "Step"]
    for name, column in zip(names, labels, strict=True):
        assert ds[name].values.tolist() == [float(word) for word in raw[column]]
    assert ds["state"].values.tolist() == raw["State"]
    assert str(ds["time"].values[0])[:19] == "2019-12-16T14:03:25"
    assert np.isnan(ds["wf_chg_cap"]).all()
    assert ds.attrs["procedure"] == "PreDiag_000229.000"
    assert ds.attrs["comment"] == "000229"
    assert ds.attrs["clock"] == "UTC"


@pytest.mark.data
def test_maccor_whose_volts_are_millivolts():
    path = datasets.path("maccor_cellpy") / "maccor_three.txt"
    with pytest.warns(UserWarning, match=r"'Volts' reaches 3801.94 and is read as mV: .* 0.001 of it"):
        ds = check(io.open(path, timezone="Europe/Oslo"))
    raw = columns(path, 5, "\t")
    assert ds["voltage"].values == pytest.approx(np.array(raw["Volts"], float) / 1000)
    assert ds["current"].values == pytest.approx(np.array(raw["mAmps"], float) / 1000)
    assert ds["test_time"].values[-1] == 3 * 86400 + 18 * 3600 + 47 * 60 + 23.42
    assert ds.sizes["record"] == 4009
    assert set(np.unique(ds["cycle"])) == set(range(15))
    assert str(ds["time"].values[0])[:19] == "2021-08-23T16:04:18"  # 6:04:18 PM of summer time
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = io.open(path, voltage_unit="mV", **UTC)
    np.testing.assert_array_equal(said["voltage"], ds["voltage"])


@pytest.mark.data
def test_maccor_in_minutes_with_decimal_commas_and_a_cut_line():
    path = datasets.path("maccor_cellpy") / "maccor_two.txt"
    with (
        pytest.warns(UserWarning, match="line 229 has 9 columns, the header names 28; it is left out"),
        pytest.warns(UserWarning, match="may have the month or the day first"),
        pytest.warns(UserWarning, match="pass timezone="),
    ):
        ds = check(io.open(path))
    # The dates, a minute apart, say that TestTime counts minutes.
    assert ds["test_time"].values.tolist() == [60.0 * i for i in range(212)] + [60.0 * 212]
    assert ds["voltage"].values[:3].tolist() == [0.1377, 0.1385, 0.1394]
    assert str(ds["time"].values[0])[:19] == "2021-06-05T11:23:46"
    with pytest.warns(UserWarning, match="line 229"):
        other = io.open(path, date_order="day_first", **UTC)
    assert str(other["time"].values[0])[:19] == "2021-05-06T11:23:46"


@pytest.mark.data
def test_maccor_without_units_keeps_what_it_cannot_know():
    path = datasets.path("cycler_headers") / "maccor" / "sample_data_maccor.csv"
    with pytest.warns(UserWarning, match=r"'Capacity' \(pass capacity_unit=\).*'Current' \(pass current_unit=\)"):
        ds = check(io.open(path, **UTC))
    assert {"current_raw", "capacity_raw", "energy_recorded_raw"} <= set(ds.data_vars)
    assert ds["voltage"].values[-1] == 3.716
    assert ds["temperature"].values[0] == 22.2591
    ds = check(io.open(path, current_unit="mA", capacity_unit="mAh", energy_unit="mWh", **UTC))
    assert ds["current"].values[11] == pytest.approx(28.844e-3)
    assert ds["capacity"].values[-1] == pytest.approx(0.024e-3)
    assert str(ds["time"].values[0])[:19] in ("2023-11-23T15:56:10", "2023-11-23T15:56:11")


@pytest.mark.parametrize("is_signed", [True, False])
def test_maccor_sign_comes_from_the_state(tmp_path, is_signed):
    ds = check(io.open(write(tmp_path, MACCOR + maccor_rows(is_signed)), **UTC))
    assert ds["current"].values.tolist() == [0.0] * 7 + [2.0] * 7 + [-2.0] * 7
    assert ds["temperature"].values.tolist() == [25.5] * 21
    assert ds.attrs["history"].endswith("timezone='UTC')")
    assert str(ds["time"].values[-1])[:19] == "2020-09-21T01:13:20"  # 80,000 s after midnight, and 3 h
    with pytest.warns(UserWarning, match="14 of 14 records the current's sign is not that of the state"):
        io.open(write(tmp_path, MACCOR + maccor_rows().replace("\t2.0\t", "\t*\t").replace("\t-2.0\t", "\t2.0\t")
                      .replace("\t*\t", "\t-2.0\t")), **UTC)  # fmt: skip


def test_maccor_dates_with_a_pause_an_hour_too_many_and_an_hour_back(tmp_path):
    rows = maccor_rows().split("\r\n")[:-1]

    def late(seconds):
        moved = []
        for i, row in enumerate(rows):
            cells = row.split("\t")
            at = 80000 + float(cells[3]) + (seconds if i > 9 else 0)
            day, rest = divmod(int(at), 86400)
            cells[11] = f"09/{20 + day}/2020 {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
            moved.append("\t".join(cells))
        return write(tmp_path, MACCOR + "\r\n".join(moved) + "\r\n")

    paused = io.open(late(500), **UTC)
    assert float(np.ptp(paused["time"].values) / np.timedelta64(1, "s")) == 10800 + 500
    with pytest.warns(UserWarning, match="the dates gain 3600 s on the test time at record 10"):
        io.open(late(3600), **UTC)
    with pytest.warns(UserWarning, match="the dates fall by 3000 s at record 10"):
        ds = check(io.open(late(-3600), **UTC))
    assert float(np.ptp(ds["time"].values) / np.timedelta64(1, "s")) == 10800


@pytest.mark.data
def test_pec():
    folder = datasets.path("pec")
    with pytest.warns(UserWarning, match="month or the day first"):
        first = check(io.open(folder / "Test25195.csv", **UTC))
    ds = check(io.open(folder / "Test25205.csv", **UTC))  # over midnight: the dates themselves tell their order
    assert (first.sizes["record"], ds.sizes["record"]) == (19, 489)
    raw = columns(folder / "Test25205.csv", 46, ",")
    assert ds["voltage"].values.tolist() == [float(word) for word in raw["Voltage (V)"]]
    assert ds["charge_capacity"].values == pytest.approx(np.array(raw["Charge Capacity (mAh)"], float) / 1000)
    assert ds["test_time"].values[-1] == 19 * 3600 + 41 * 60 + 58.98
    assert str(ds["time"].values[-1])[:16] == "2026-01-09T13:27"
    assert ds["temperature"].attrs["units"] == "degC"
    assert ds.attrs["product"] == "LG LGV JP3"
    joined = check(io.open([folder / "Test25195.csv", folder / "Test25205.csv"], date_order="month_first", **UTC))
    assert joined.sizes["record"] == 19 + 489


@pytest.mark.data
def test_basytec():
    path = datasets.path("cycler_headers") / "basytec" / "sample_data_basytec.txt"
    ds = check(io.open(path, timezone="Europe/Berlin"))
    raw = columns(path, 13, "\t")
    for name, column in {"test_time": "~Time[s]", "voltage": "U[V]", "current": "I[A]", "capacity": "Ah[Ah]"}.items():
        assert ds[name].values.tolist() == [float(word) for word in raw[column]]
    assert ds["state"].values.tolist() == raw["Command"]
    assert ds["ah_step"].attrs["units"] == "Ah"
    assert ds["temperature"].values[0] == 25.47953
    assert str(ds["time"].values[0])[:19] == "2023-06-19T15:56:53"
    assert ds.sizes["record"] == 74


@pytest.mark.data
def test_novonix():
    path = datasets.path("cycler_headers") / "novonix" / "sample_data_novonix.csv"
    ds = check(io.open(path, **UTC))
    raw = columns(path, 21, ",")
    assert ds.sizes["record"] == 207
    assert ds["voltage"].values.tolist() == [float(word) for word in raw["Potential (V)"]]
    assert ds["test_time"].values == pytest.approx(3600 * np.array(raw["Run Time (h)"], float))
    assert str(ds["time"].values[0])[:19] == "2025-07-19T15:26:20"
    assert ds.attrs["description"] == "LGM50LT-Co10-1C"


def test_landt_csv(tmp_path):
    # The first rows are those of a public file of this export; the charge is made up.
    rows = "1,1,1,04/30/2024 14:33:19,0.020,0.020,0.0000,2.9215,0,0,0,0,0,25,rest,\n"
    rows += "2,1,1,04/30/2024 14:33:34,15.020,15.020,0.0000,2.9215,0,0,0,0,0,25,rest,\n"
    for i in range(4):
        clock = f"04/30/2024 14:3{4 + i}:34"
        rows += (
            f"{3 + i},1,2,{clock},{75.02 + 60 * i:.3f},{60 * i}.0,0.6,{3 + i / 10},0,{i / 100},0,{i / 30},0,25,cc,\n"
        )
    ds = check(io.open(write(tmp_path, LANDT + rows, "landt.csv"), **UTC))
    assert ds["test_time"].values.tolist() == [0.02, 15.02, 75.02, 135.02, 195.02, 255.02]
    assert ds["charge_capacity"].values.tolist() == [0, 0, 0, 0.01, 0.02, 0.03]
    assert ds["current"].values.tolist() == [0, 0, 0.6, 0.6, 0.6, 0.6]
    assert str(ds["time"].values[1])[:16] == "2024-04-30T14:33"
    assert ds["state"].values.tolist() == ["rest"] * 2 + ["cc"] * 4
    assert ds["temperature"].values[0] == 25


@pytest.mark.parametrize("is_chinese", [False, True])
def test_landt_text(tmp_path, is_chinese):
    rows = ""
    for n, (state, way) in enumerate((("C_CC", 1), ("D_CC", -1))):
        for i in range(4):
            volts = 3 + i / 10 if way > 0 else 3.3 - i / 10
            clock = f"2018-05-14 10:0{3 * n + i}:00"
            rows += f"{4 * n + i + 1}\t{180 * n + 60 * i}\t{60 * i}\t{volts}\t6\t{i / 10}\t{i}\t{clock}\t{state}\n"
    head = LANHE
    if is_chinese:
        for word, told in {"Index": "记录序号", "TestTime/Sec.": "测试时间", "Voltage": "电压", "Current": "电流",
                           "Capacity/mAh\t": "容量/mAh\t", "State": "状态", "SysTime": "系统时间"}.items():  # fmt: skip
            head = head.replace(word, told, 1)
    ds = check(io.open(write(tmp_path, head + rows), **UTC))
    assert ds["current"].values == pytest.approx([0.006] * 4 + [-0.006] * 4)
    assert ds["capacity"].values[:4] == pytest.approx([0, 1e-4, 2e-4, 3e-4])
    assert ds["test_time"].values[-1] == 360
    assert str(ds["time"].values[-1])[:19] == "2018-05-14T10:06:00"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("\t600.0\t", "\tsoon\t", 1), r"line 4, column 'Test \(Sec\)' holds 'soon'"),
        (lambda text: text.replace("\t600.0\t", "\tnan\t", 1), r"test time of record 1 is no number \(1 of 21"),
        (lambda text: text.replace("\t1200.0\t", "\t60.0\t", 1), r"the time falls from 600 s to 60 s at record 2"),
        (lambda text: text.replace("09/20/2020 22:23:20", "09/40/2020 22:23:20"), r"line 4, .*'DPt Time'.* is no date"),
        (lambda text: text.replace("\t25.5\r\n", "\r\n", 1), r"line 3 has 12 columns, the header names 13"),
        (lambda text: MACCOR, "no record follows the header"),
        (lambda text: text.replace("3.5\tR", "35\tR"), r"'Volts' reaches 35, too much for volts; pass voltage_unit="),
    ],
)
def test_damage_is_named(tmp_path, change, message):
    with pytest.raises(ReadError, match=message):
        io.open(write(tmp_path, change(MACCOR + maccor_rows())), **UTC)


def test_wrong_words_are_refused(tmp_path):
    path = write(tmp_path, MACCOR + maccor_rows())
    with pytest.raises(TypeError, match="did you mean 'timezone'"):
        io.open(path, time_zone="UTC")
    with pytest.raises(ValueError, match="timezone must be a name"):
        io.open(path, timezone="Moon/Base")
    with pytest.raises(ValueError, match="date_order must be 'month_first' or 'day_first'"):
        io.open(path, date_order="month", **UTC)
    with pytest.raises(ValueError, match="current_unit must be"):
        io.open(path, current_unit="volt", **UTC)


def test_one_record_and_repeated_times(tmp_path):
    rows = maccor_rows().split("\r\n")
    one = check(io.open(write(tmp_path, MACCOR + rows[0] + "\r\n"), **UTC))
    assert one.sizes["record"] == 1
    still = MACCOR + "".join(
        "\t".join([*row.split("\t")[:3], "0.0", *row.split("\t")[4:]]) + "\r\n" for row in rows[:-1]
    )
    with (
        pytest.warns(UserWarning, match="stands still in 20 of 20 steps"),
        pytest.warns(UserWarning, match="2 Ah counted, 0 Ah integrated"),
    ):
        io.open(write(tmp_path, still), start="2020-09-20T22:13:20")


def test_nothing_else_is_taken_for_maccor(tmp_path):
    for head in ("Record,Amps\n", "Recipe\tvolts\n1\t2\n", "# Rec#\n1 2\n", ""):
        assert not maccor.recognise(tmp_path / "a.txt", head.encode())


PEC = "Test,Cell,Rack,Shelf,Position,Total Time (Hours in hh:mm:ss.xxx),Real Time,Voltage (V),Current (A)\n"
BASYTEC = "~Start of Test: 19.06.2023 17:56:53\n~Time[s]\tLine\tCommand\tU[V]\tI[A]\tAh[Ah]\n"
NOVONIX = "[Data]\nDate and Time,Cycle Number,Run Time (h),Current (A),Potential (V),Capacity (Ah)\n"
ANYTHING = {
    maccor: MACCOR + maccor_rows(),
    landt: LANHE + "1\t0\t0\t3\t6\t0\t0\t2018-05-14 10:00:00\tC_CC\n",
    pec: PEC + "1,1,A,1,1,00:00:01.000,01/06/2026 17:51:06,3.5,0\n",
    basytec: BASYTEC + "0\t3\tPause\t3.5\t0\t0\n",
    novonix: NOVONIX + "2025-07-19 15:26:20,1,0.0,0.5,3.8,0.0\n",
    ecms: "num_header_lines\tn\t\tint\t1\npot\t\nTime [s]\tVoltage [V]\n1\t2\n",
}
MESS = st.text('0123456789:.,/-+eE \t\n"CDRnamAP', max_size=120).map(str.encode) | st.binary(max_size=120)


@settings(max_examples=120, deadline=None)
@given(reader=st.sampled_from(list(ANYTHING)), raw=MESS, at=st.integers(0, 2000), is_put=st.booleans())
def test_any_bytes_give_a_record_or_a_read_error(reader, raw, at, is_put, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.txt"
    good = ANYTHING[reader].encode()
    at = min(at, len(good))
    path.write_bytes(good[:at] + raw + (good[at:] if is_put else b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)
        try:
            check(reader.read([path], timezone="Europe/Paris"))
        except ReadError as error:
            message = str(error)
        else:
            return
    assert "a.txt" in message


def cut_everywhere(path, tmp_path, step, **hints):
    raw = path.read_bytes()
    target = tmp_path / path.name
    for size in range(0, len(raw), step):
        target.write_bytes(raw[:size])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                ds = io.open(target, **hints)
            except ReadError as error:
                message = str(error)
            else:
                assert ds.sizes["record"] <= raw[:size].count(b"\n") + 1
                continue
        assert path.name in message


NAMES = {
    "maccor_beep": "", "maccor_cellpy": "maccor_two.txt", "pec": "Test25195.csv",
    "cycler_headers": "basytec/sample_data_basytec.txt",
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", ["maccor_cellpy", "pec", "cycler_headers"])
def test_truncated_here_and_there(name, tmp_path):
    path = datasets.path(name) / NAMES[name]
    cut_everywhere(path, tmp_path, max(1024, path.stat().st_size // 12), **UTC)


@pytest.mark.data
@pytest.mark.soak
@pytest.mark.parametrize(
    "where",
    ["maccor_beep", "maccor_cellpy/maccor_two.txt", "maccor_cellpy/maccor_three.txt", "pec/Test25205.csv",
     "cycler_headers/basytec/sample_data_basytec.txt", "cycler_headers/novonix/sample_data_novonix.csv",
     "cycler_headers/maccor/sample_data_maccor.csv"],
)  # fmt: skip
def test_truncated_at_every_kilobyte(where, tmp_path):
    name, _, rest = where.partition("/")
    cut_everywhere(datasets.path(name) / rest, tmp_path, 1024, **UTC)


def test_files_of_one_cell_are_joined(tmp_path):
    write(tmp_path, MACCOR + maccor_rows(), "c1.txt")
    write(
        tmp_path,
        MACCOR + maccor_rows().replace("09/21/2020", "09/23/2020").replace("09/20/2020", "09/22/2020"),
        "c2.txt",
    )
    ds = check(io.open(tmp_path / "c*.txt", **UTC))
    assert ds.sizes["record"] == 42
    assert ds["test_time"].values[21] == 2 * 86400
    assert ds["file_number"].values.tolist() == [0] * 21 + [1] * 21
