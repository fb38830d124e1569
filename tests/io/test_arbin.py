"""Arbin's csv exports and result databases against the counts that their sources state."""

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import arbin, jet
from batlab.schema import check

CSV = (
    "Data_Point,Test_Time(s),Date_Time,Step_Index,Cycle_Index,Current(A),Voltage(V),Charge_Capacity(Ah),"
    "Discharge_Capacity(Ah)\n"
    "1,0,07/26/2022 22:38:30.190,1,1,2,3.0,0,0\n"
    "2,1800,07/26/2022 23:08:30.190,1,1,2,3.1,1,0\n"
    "3,3600,07/26/2022 23:38:30.190,2,1,-2,3.0,1,0\n"
    "4,5400,07/27/2022 00:08:30.190,2,1,-2,2.9,1,1\n"
)


def write(folder, text=CSV, name="cell.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_made_csv(tmp_path):
    ds = check(io.open(write(tmp_path), timezone="Europe/Paris"))
    assert ds["current"].values.tolist() == [2, 2, -2, -2]
    assert ds["capacity"].values.tolist() == [0, 1, 1, 0]
    assert ds["charge_capacity"].values.tolist() == [0, 1, 1, 1]
    assert ds["step"].values.tolist() == [1, 1, 2, 2]
    assert str(ds["time"].values[0]) == "2022-07-26T20:38:30.190000000"
    assert "io.open" in ds.attrs["history"]


def test_spaces_instead_of_underscores_and_a_byte_order_mark(tmp_path):
    ds = io.open(write(tmp_path, "\ufeff" + CSV.replace("_", " ")), timezone="UTC")
    assert ds["capacity"].values.tolist() == [0, 1, 1, 0]


def test_dates_of_uneven_width_are_read_one_by_one(tmp_path):
    ds = check(
        io.open(write(tmp_path, CSV.replace("07/27/2022 00:08:30.190", "7/27/2022 00:08:30.19")), timezone="UTC")
    )
    assert str(ds["time"].values[3])[:22] == "2022-07-27T00:08:30.19"
    assert "date_time" not in ds


@pytest.mark.data
def test_sample_export():
    with pytest.warns(UserWarning, match="is local time without a zone"):
        ds = check(io.open(datasets.path("cycler_headers") / "arbin" / "sample_data_arbin.csv"))
    assert ds.sizes["record"] == 13
    assert float(ds["voltage"][0]) == 3.534595
    assert float(ds["temperature"][0]) == 24.66422
    assert ds["current"].values[0] == 0
    assert str(ds["time"].values[0])[:23] == "2024-09-20T08:32:34.558"


@pytest.mark.data
def test_beep_export_whose_dates_are_unix_seconds():
    ds = check(io.open(datasets.path("arbin_beep") / "FastCharge_000025_CH8.csv"))
    assert (
        ds.sizes["record"] == len((datasets.path("arbin_beep") / "FastCharge_000025_CH8.csv").read_text().split()) - 1
    )
    assert float(ds["voltage"][0]) == 3.3011441
    assert float(ds["temperature"][0]) == 30.109268
    assert np.abs(ds["time"].values[0] - np.datetime64("2017-05-13T03:14:03.4715")) < np.timedelta64(5, "ms")
    assert ds.attrs["clock"] == "UTC"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "n_records", "n_cycles"),
    [
        ("arbin_silicon", None, 10261, 18),
        ("arbin_small", "arbin_example.res", 2150, 5),
    ],
)
def test_result_databases_hold_what_sources_state(name, file, n_records, n_cycles):
    path = datasets.path(name) if file is None else datasets.path(name) / file
    ds = check(io.open(path, timezone="Europe/London"))
    assert ds.sizes["record"] == n_records
    assert np.unique(ds["cycle"]).size == n_cycles
    assert np.all(np.diff(ds["record_number"]) == 1)
    assert np.all(np.diff(ds["time"]) >= np.timedelta64(0))
    assert {"voltage", "current", "capacity", "charge_energy", "step", "step_time"} <= set(ds.data_vars)


@pytest.mark.data
def test_charge_counter_of_a_database_is_the_integral_of_its_current():
    ds = io.open(datasets.path("arbin_silicon"), timezone="Europe/Oslo")
    seconds, current = ds["test_time"].values, ds["current"].values
    for cycle in (2, 10):
        rows = np.flatnonzero((ds["cycle"].values == cycle) & (current > 0))
        counted = ds["charge_capacity"].values[rows[-1]]
        flow = np.sum(current[rows] * (seconds[rows] - seconds[rows - 1])) / 3600
        assert flow == pytest.approx(counted, rel=0.01)


@pytest.mark.data
@pytest.mark.parametrize("step", [pytest.param(1024, marks=pytest.mark.soak), 37_000])
def test_truncated_database(tmp_path, step):
    raw = (datasets.path("arbin_small") / "arbin_example.res").read_bytes()
    path = tmp_path / "cut.res"
    for size in range(1024, len(raw) - 1, step):
        path.write_bytes(raw[:size])
        with pytest.raises(ReadError, match=r"cut\.res: "):
            io.open(path, timezone="UTC")
    for pages in range(1, len(raw) // 4096, 9):
        path.write_bytes(raw[: 4096 * pages])
        message, n = "cut.res: ", 2150
        try:
            n = io.open(path, timezone="UTC").sizes["record"]
        except ReadError as error:
            message = str(error)
        assert n == 2150
        assert "cut.res: " in message


@pytest.mark.data
def test_noise_in_a_database_never_escapes(tmp_path):
    whole = (datasets.path("arbin_small") / "arbin_example.res").read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "noise.res"
    for _ in range(40):
        raw = bytearray(whole)
        for place in rng.integers(20, len(raw), 200):
            raw[place] = rng.integers(256)
        path.write_bytes(bytes(raw))
        try:
            ds = io.open(path, timezone="UTC")
        except (ReadError, UserWarning):
            continue
        assert ds.sizes["record"] > 0


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (jet.MAGIC + b"\x02" + b"\0" * 12267, "is an Access database of version 2"),
        (jet.MAGIC + b"\x01" + b"\0" * 100, "no whole number of pages"),
        (jet.MAGIC + b"\x01" + b"\0" * 12267, "page 2 defines no table; the database is encrypted or damaged"),
        (jet.MAGIC, "is no Jet database"),
    ],
)
def test_other_databases_are_refused(tmp_path, raw, message):
    (tmp_path / "a.res").write_bytes(raw)
    with pytest.raises(ReadError, match=rf"a\.res: .*{message}"):
        io.open(tmp_path / "a.res")


def test_recognised_by_its_columns_alone(tmp_path):
    assert arbin.recognise(tmp_path / "a.txt", CSV.encode())
    assert not arbin.recognise(tmp_path / "a.csv", b"Test Time / s,Voltage / V,Current / A\n0,3,1\n")
    assert not arbin.recognise(tmp_path / "a.csv", b"q,i\n1,2\n")


def test_cut_csv(tmp_path):
    with pytest.warns(UserWarning, match="line 5 has"):
        assert io.open(write(tmp_path, CSV[:-12]), timezone="UTC").sizes["record"] == 3
    with pytest.raises(ReadError, match=r"cell\.csv: .*holds '3\.\.1'"):
        io.open(write(tmp_path, CSV.replace("3.1", "3..1")), timezone="UTC")
    with pytest.raises(ReadError, match=r"cell\.csv: no record follows the header"):
        io.open(write(tmp_path, CSV.split("\n")[0] + "\n"), timezone="UTC")
