"""Battery Data Format, read and written; labels and names as the format's own table has them."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from batlab import datasets, io
from batlab.errors import DimensionError, ReadError
from batlab.io import _cycler, bdf
from batlab.io._cycler import Column
from batlab.schema import check

PREFERRED = (
    "Test Time / s,Voltage / V,Current / A,Unix Time / s,Cycle Count / 1,Step Index / 1,Net Capacity / Ah,"
    "Ambient Temperature / degC"
)
MACHINE = (
    "test_time_second,voltage_volt,current_ampere,unix_time_second,cycle_count,step_index,net_capacity_ah,"
    "ambient_temperature_celsius"
)
ROWS = (
    "0,3.0,0.001,1663329600,1,1,0,25\n10,3.1,0.001,1663329610,1,1,2.8e-6,25.1\n20,3.2,0.001,1663329620.5,1,2,5.6e-6,\n"
)


def write(folder, text, name="cell.bdf.csv"):
    (folder / name).write_text(text)
    return folder / name


def record(n=5, **more):
    columns = {
        "test_time": Column(10.0 * np.arange(n), "s", "time since the start of the test"),
        "voltage": Column(3 + 0.1 * np.arange(n), "V", "voltage"),
        "current": Column(np.full(n, 0.001), "A", "current, positive on charge"),
        "cycle": Column(np.arange(n), "1", "number of the cycle"),
        "step": Column(np.arange(n), "1", "number of the step"),
        "capacity": Column(0.01 / 3600 * np.arange(n), "Ah", "charge counter of the cycler"),
        "temperature_t1": Column(np.full(n, 25.0), "degC", "surface temperature"),
        **more,
    }
    time = np.datetime64("2022-09-16T12:00:00.25", "ns") + _cycler.elapsed(columns["test_time"].values)
    return _cycler.dataset(columns, "made", time=time)


@pytest.mark.parametrize("header", [PREFERRED, MACHINE, PREFERRED.lower(), '"' + PREFERRED.replace(",", '","') + '"'])
def test_labels_and_machine_names(tmp_path, header):
    ds = check(io.open(write(tmp_path, f"{header}\n{ROWS}")))
    assert ds["voltage"].values.tolist() == [3.0, 3.1, 3.2]
    assert ds["capacity"].values.tolist() == [0, 2.8e-6, 5.6e-6]
    assert ds["step_index"].values.tolist() == [1, 1, 2]
    assert ds["test_time"].values.tolist() == [0, 10, 20]
    assert str(ds["time"].values[2]) == "2022-09-16T12:00:20.500000000"
    assert np.isnan(ds["ambient_temperature"].values[2])
    assert ds["ambient_temperature"].attrs["units"] == "degC"


def test_decimal_commas_and_other_units(tmp_path):
    text = "Test Time / h;Voltage / mV;Current / mA\n0,0;3000,0;1,5\n0,5;3100,0;1,5\n"
    path = write(tmp_path, text)
    assert not bdf.recognise(path, text.encode())  # its units are fixed: this is a cycler's plain csv
    ds = check(io.open(path, current_sign="positive_charges"))
    assert ds["test_time"].values.tolist() == [0, 1800]
    assert ds["voltage"].values.tolist() == [3.0, 3.1]
    assert ds["current"].values.tolist() == [0.0015, 0.0015]
    fixed = write(tmp_path, "Test Time / s;Voltage / V;Current / A\n0,0;3,5;1,5\n0,5;3,6;1,5\n")
    assert io.open(fixed)["voltage"].values.tolist() == [3.5, 3.6]


@pytest.mark.parametrize("name", ["cell.bdf.csv", "cell.bdf.parquet", "cell.bdf"])
def test_round_trip_is_exact(tmp_path, name):
    ds = record()
    io.save(ds, tmp_path / name)
    again = check(io.open(tmp_path / name))
    for key in ds.variables:
        np.testing.assert_array_equal(again[key], ds[key])
        assert again[key].attrs.get("units") == ds[key].attrs.get("units")
    assert set(again.variables) == set(ds.variables)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        io.save(ds, tmp_path / name)
    io.save(ds, tmp_path / name, overwrite=True)


@settings(max_examples=30, deadline=None)
@given(
    values=arrays.arrays(np.float64, 7, elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    suffix=st.sampled_from(["csv", "parquet"]),
)
def test_any_number_survives(values, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / f"a.{suffix}"
    ds = record(7, internal_resistance=Column(values, "ohm", "resistance"))
    bdf.write(ds, path)
    np.testing.assert_array_equal(io.open(path)["internal_resistance"], values)


def test_header_is_the_preferred_labels_without_quotes(tmp_path):
    io.save(record(), tmp_path / "a.csv")
    first = (tmp_path / "a.csv").read_text().split("\n")[0]
    assert first == (
        "Test Time / s,Unix Time / s,Voltage / V,Current / A,Cycle Count / 1,Step Count / 1,Net Capacity / Ah,"
        "Temperature T1 / degC"
    )


def test_only_a_record_can_be_written(tmp_path):
    with pytest.raises(DimensionError, match=r"a.csv: BDF holds a cycler's record"):
        io.save(record().drop_vars("voltage"), tmp_path / "a.csv")


def test_units_with_a_slash_of_their_own_come_back(tmp_path):
    record = io.open(write(tmp_path, "Test Time / s,Voltage / V,Conductivity / mS/cm\n0,3,7\n1,3.1,8\n"))
    assert record["conductivity"].attrs["units"] == "mS/cm"
    io.save(record, tmp_path / "again.csv")
    assert io.open(tmp_path / "again.csv")["conductivity"].attrs["units"] == "mS/cm"


def test_start_gives_the_clock(tmp_path):
    text = "Test Time / s,Voltage / V,Current / A\n0,3.0,0.1\n10,3.1,0.1\n"
    assert "time" not in io.open(write(tmp_path, text)).coords
    ds = io.open(write(tmp_path, text), start="2022-09-16T14:00+02:00")
    assert str(ds["time"].values[1])[:19] == "2022-09-16T12:00:10"
    with pytest.raises(ValueError, match="start must be a time"):
        io.open(write(tmp_path, text), start="yesterday")


def test_sign_that_contradicts_the_voltage_warns(tmp_path):
    rows = "".join(f"{10 * i},{3 + 0.1 * i},-0.1\n" for i in range(6))
    path = write(tmp_path, "Test Time / s,Voltage / V,Current / A\n" + rows)
    with pytest.warns(UserWarning, match="current_sign='positive_discharges'"):
        io.open(path)
    assert io.open(path, current_sign="positive_discharges")["current"].values[0] == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{PREFERRED}\n{ROWS}30,3.3\n", r"line 5 has 2 columns, the header names 8; the file may be truncated"),
        (f"{PREFERRED}\n0,3.0\n{ROWS}", r"line 2 has 2 columns"),
        (
            f"{PREFERRED}\n{ROWS}".replace("3.1", "3.1V"),
            r"line 3, column 'Voltage / V' holds '3.1V', which is no number",
        ),
        (f"{PREFERRED}\n", r"no record follows the header"),
        ("Voltage / V,Current / A\n3,1\n3,1\n", r"has no column 'Test Time / s'"),
        ("Test Time / s,Voltage / V,Voltage / V\n0,1,2\n1,1,2\n", r"names the column 'Voltage / V' twice"),
        ("Test Time / s,Voltage / V,voltage_volt\n0,1,2\n1,1,2\n", r"two columns hold 'voltage'"),
        ("Test Time / s,Voltage / V\n10,1\n1,1\n", r"the time falls from 10 s to 1 s at record 1"),
    ],
)
def test_damage_is_named(tmp_path, text, message):
    with pytest.raises(ReadError, match=f"cell.bdf.csv: .*{message}"):
        io.open(write(tmp_path, text))


def test_cut_last_line_is_left_out_and_told(tmp_path):
    with pytest.warns(UserWarning, match=r"cell.bdf.csv: line 5 has 2 columns, the header names 8; it is left out"):
        assert io.open(write(tmp_path, f"{PREFERRED}\n{ROWS}30,3.3")).sizes["record"] == 3


def test_32_bit_clock_is_refused(tmp_path):
    unix = pa.array(np.array([1663329600, 1663329610], np.float32))
    table = pa.table({"Test Time / s": [0.0, 10.0], "Voltage / V": [3.0, 3.1], "Unix Time / s": unix})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ReadError, match=r"a.parquet: 'Unix Time / s' is a 32-bit number"):
        io.open(tmp_path / "a.parquet")


def test_foreign_and_damaged_parquet(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(ReadError, match=r"a.parquet: has no column 'Test Time / s'; it names 'a', 'b'"):
        io.open(tmp_path / "a.parquet")
    io.save(record(200), tmp_path / "b.parquet")
    raw = (tmp_path / "b.parquet").read_bytes()
    for size in range(4, len(raw), 97):
        (tmp_path / "b.parquet").write_bytes(raw[:size])
        with pytest.raises(ReadError, match=r"b.parquet"):
            io.open(tmp_path / "b.parquet")
    rng = np.random.default_rng(5)
    for position in rng.integers(0, len(raw), 60):
        damaged = bytearray(raw)
        damaged[position] ^= 0x55
        (tmp_path / "b.parquet").write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                io.open(tmp_path / "b.parquet")
            except ReadError as error:
                message = str(error)
            else:
                continue
        assert "b.parquet" in message


def test_files_of_one_cell_are_joined(tmp_path):
    first, second = record(), record()
    later = second.assign_coords(time=second["time"] + np.timedelta64(1, "h"))
    io.save(first, tmp_path / "c1.csv")
    io.save(later, tmp_path / "c2.csv")
    ds = check(io.open(tmp_path / "c*.csv"))
    assert ds.sizes["record"] == 10
    assert ds["test_time"].values[[0, 4, 5]].tolist() == [0, 40, 3600]


@pytest.mark.data
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_cyclers_record_survives_whole(tmp_path, ending):
    pec = io.open(datasets.path("pec") / "Test25205.csv", timezone="Europe/Brussels")
    basytec = io.open(datasets.path("cycler_headers") / "basytec" / "sample_data_basytec.txt", timezone="Europe/Berlin")
    for n, ds in enumerate((pec, basytec)):
        path = io.save(ds, tmp_path / f"{n}.bdf.{ending}")
        again = check(io.open(path))
        for name in ("test_time", "time", "voltage", "current", "temperature", "cycle", "step_time"):
            np.testing.assert_array_equal(again[name], ds[name])
            assert again[name].attrs.get("units") == ds[name].attrs.get("units")
    labels = (tmp_path / "0.bdf.csv").read_text().split("\n")[0] if ending == "csv" else ""
    assert ending == "parquet" or "Charging Capacity / Ah,Discharging Capacity / Ah" in labels
    np.testing.assert_array_equal(io.open(tmp_path / f"0.bdf.{ending}")["charge_energy"], pec["charge_energy"])


def test_charging_and_discharging_are_two_counters(tmp_path):
    text = "Test Time / s,Voltage / V,Current / A,Charging Capacity / Ah,Discharging Capacity / Ah\n"
    rows = "0,3,1,0,0\n3600,3.5,1,{},0\n3610,3.5,-1,{},0\n7210,3,-1,{},1\n"
    ds = check(io.open(write(tmp_path, text + rows.format(1, 1, 1))))
    assert ds["charge_capacity"].values.tolist() == [0, 1, 1, 1]
    assert ds["discharge_capacity"].values.tolist() == [0, 0, 0, 1]
    with pytest.warns(UserWarning, match="1000 Ah counted, 1 Ah integrated"):
        io.open(write(tmp_path, text + rows.format(1000, 1000, 1000)))
