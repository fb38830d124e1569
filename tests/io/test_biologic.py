"""BioLogic text exports against the numbers that stand in them, and against the cell's physics."""

import re

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import biologic
from batlab.schema import check

# Rows of the real files, typed from them: test time (s), voltage (V), current (A) of the first and last record.
PAIRS = {
    "gcpl.issue_149": (
        132,
        [30.15299923827115, 659.9857963771647],
        [3.4228721, 3.4320145],
        [0.0, -2.999591381717431e-5],
    ),
    "mb.issue_149": (564, [95.82200017444848, 799.3383971749136], [3.4214761, 3.4539287], [0.0, 0.0]),
    "ocv": (602, [0.0, 35999.99995540908], [0.25594452, 0.44194466], None),
    "peis": (32, [448.1567263361649, 464.2570934476098], [-3.5914290, -3.5913453], [-0.10988599, -0.10947034]),
}

MPT = """EC-Lab ASCII FILE
Nb header lines : 6
Galvanostatic Cycling
Acquisition started on : {start}

mode\ttime/s\tEwe/V\tI/mA\t(Q-Qo)/mA.h\tcycle number\tNs\tEnergy charge/W.h\tox/red\tx\t
1\t0.0000000E+000\t3.0000000E+000\t1.0000000E+000\t0.0000000E+000\t0.0000000E+000\t1\t0.0000000E+000\t1\t9.0000000E-001
1\t3.6000000E+003\t3.5000000E+000\t1.0000000E+000\t1.0000000E+000\t0.0000000E+000\t1\t3.2500000E-003\t1\t8.0000000E-001
2\t7.2000000E+003\t3.4000000E+000\t-1.0000000E+000\t0.0000000E+000\t1.0000000E+000\t2\t3.2500000E-003\t0\t9.0000000E-001
""".format(start="07/26/2022 22:38:30.190")


def write(folder, text=MPT, name="cell7.mpt", encoding="latin-1"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


@pytest.mark.data
@pytest.mark.parametrize("stem", PAIRS)
def test_real_files_hold_their_rows(stem):
    n, seconds, volts, amperes = PAIRS[stem]
    ds = check(io.open(datasets.path("biologic_pairs") / f"{stem}.mpt", timezone="Europe/Zurich"))
    assert ds.sizes["record"] == n
    np.testing.assert_allclose(ds["test_time"][[0, -1]], seconds, rtol=1e-12)
    np.testing.assert_allclose(ds["voltage"][[0, -1]], volts, rtol=1e-12)
    assert ("current" in ds) == (amperes is not None)
    if amperes is not None:
        np.testing.assert_allclose(ds["current"][[0, -1]], amperes, rtol=1e-12)


@pytest.mark.data
def test_impedance_columns_keep_their_units():
    ds = io.open(datasets.path("biologic_pairs") / "peis.mpt", timezone="UTC")
    assert float(ds["freq"][0]) == 199998.14
    assert ds["freq"].attrs["units"] == "Hz"
    assert float(ds["minus_im_z"][0]) == 0.73047662
    assert ds["cs"].attrs["units"] == "F"
    assert float(ds["cs"][0]) == pytest.approx(1.0894012e-6)


@pytest.fixture(scope="module")
def lno():
    return io.open(datasets.path("lno_rock") / "EC" / "*.mpt", timezone="Europe/Paris")


@pytest.mark.data
def test_two_files_of_one_test_are_joined_by_their_clocks(lno):
    check(lno)
    assert lno.sizes["record"] == 6333 + 1402
    assert str(lno["time"].values[0]) == "2022-07-26T20:38:30.190000000"  # Paris is two hours ahead in July
    assert str(lno["time"].values[6333])[:23] == "2022-07-28T11:31:45.341"
    assert np.diff(lno["test_time"].values).min() >= 0
    assert set(np.unique(lno["file_number"])) == {0, 1}


@pytest.mark.data
def test_counter_is_the_integral_of_the_current(lno):
    """SOURCES: EC-Lab's own charge counter agrees with the integral of the current; first charge 1.614 mAh."""
    first = lno.isel(record=lno["file_number"].values == 0)
    seconds, current = first["test_time"].values, first["current"].values
    charge = np.concatenate([[0], np.cumsum(np.diff(seconds) * (current[1:] + current[:-1]) / 2)]) / 3600
    np.testing.assert_allclose(first["capacity"] - first["capacity"][0], charge, atol=1e-8)
    half = first["half_cycle"].values
    counter = first["capacity"].values * 1e3
    assert [np.ptp(counter[half == n]) for n in (2, 3)] == pytest.approx([1.614, 1.321], abs=1e-3)
    # Positive current charges: in the first charge the voltage rises to 4.3 V.
    assert (current[half == 2] >= 0).all()
    assert first["voltage"].values[half == 2][[0, -1]] == pytest.approx([3.5, 4.3], abs=0.01)


@pytest.mark.data
def test_bt_lab_export():
    ds = io.open(datasets.path("biologic_bcs"), timezone="Europe/London")
    check(ds)
    assert float(ds["voltage"][0]) == 3.5180547
    assert float(ds["current"][-1]) == pytest.approx(-0.89982635)
    assert float(ds["capacity"][-1]) == pytest.approx(-3.237135133365207e-2)
    assert ds["temperature"].attrs["units"] == "degC"
    assert str(ds["time"].values[0]) == "2024-05-13T10:19:51.602000000"


def test_columns_units_and_names(tmp_path):
    ds = check(io.open(write(tmp_path), timezone="UTC"))
    assert ds["current"].values.tolist() == [1e-3, 1e-3, -1e-3]
    assert ds["capacity"].values.tolist() == [0, 1e-3, 0]
    assert ds["cycle"].values.tolist() == [0, 0, 1]
    assert ds["step"].values.tolist() == [1, 1, 2]
    assert {name: ds[name].attrs["units"] for name in ("ox_red", "x_recorded", "energy_charge")} == {
        "ox_red": "1",
        "x_recorded": "1",
        "energy_charge": "Wh",
    }
    assert ds["voltage"].attrs["column"] == "Ewe/V"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_locale(tmp_path, encoding, newline):
    comma = re.sub(r"(\d)\.(\d{3})", r"\1,\2", MPT).replace("Cycling", "Cycling, µA")
    ds = io.open(write(tmp_path, comma.replace("\n", newline), encoding=encoding), timezone="UTC")
    plain = io.open(write(tmp_path, name="plain.mpt"), timezone="UTC")
    assert ds.drop_attrs().equals(plain.drop_attrs())
    assert str(ds["time"].values[0]) == "2022-07-26T22:38:30.190000000"


def test_clock_without_a_zone_warns(tmp_path):
    with pytest.warns(UserWarning, match=r"cell7.mpt: its clock is local time .* timezone='Europe/Paris'"):
        ds = io.open(write(tmp_path))
    assert ds.attrs["clock"] == "local, zone not stated"
    assert str(ds["time"].values[0])[:19] == "2022-07-26T22:38:30"
    with pytest.raises(ValueError, match="timezone must be a name such as"):
        io.open(write(tmp_path), timezone="Mars/Olympus")


def test_start_given_by_the_user_wins(tmp_path):
    ds = io.open(write(tmp_path, MPT.split("\n", 5)[5]), start="2022-07-26T20:38:30")
    assert str(ds["time"].values[1])[:19] == "2022-07-26T21:38:30"
    assert io.open(write(tmp_path), start="2022-07-26T20:38:30").attrs["clock"] == "start given by the user"


def test_elapsed_time_runs_on_over_a_change_of_clocks(tmp_path):
    text = MPT.replace("07/26/2022 22:38:30.190", "10/30/2022 00:30:00.000")
    ds = io.open(write(tmp_path, text), timezone="Europe/Paris")
    assert (np.diff(ds["time"]) == np.timedelta64(3600, "s")).all()


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [("07/26/2022 22:38:30", "2022-07-26"),
     ("26/07/2022 22:38:30", "2022-07-26"), ("26.07.2022 22:38:30", "2022-07-26"),
     ("2022-07-26 22:38:30,190", "2022-07-26")],
)  # fmt: skip
def test_dates(tmp_path, stamp, expected):
    ds = io.open(write(tmp_path, MPT.replace("07/26/2022 22:38:30.190", stamp)), timezone="UTC")
    assert str(ds["time"].values[0])[:10] == expected


def test_no_header_and_absolute_times(tmp_path):
    bare = MPT.split("\n", 5)[5]
    ds = check(io.open(write(tmp_path, bare)))
    assert "time" not in ds.coords
    assert ds["test_time"].values.tolist() == [0, 3600, 7200]
    stamped = MPT
    for seconds, hour in (("0.0000000E+000\t3.0", "22:38:30.190"), ("3.6000000E+003\t3.5", "23:38:30.190")):
        stamped = stamped.replace(seconds, f"07/26/2022 {hour}\t{seconds[-3:]}")
    stamped = stamped.replace("7.2000000E+003\t", "07/27/2022 00:38:30.190\t")
    ds = check(io.open(write(tmp_path, stamped), timezone="UTC"))
    assert ds["test_time"].values.tolist() == [0, 3600, 7200]
    assert str(ds["time"].values[2])[:19] == "2022-07-27T00:38:30"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\t1\t8.0000000E-001",
            "\t1",
            r"cell7.mpt: line 8 has 9 columns, the header names 10; the file may be truncated",
        ),
        ("3.5000000E+000", "3.5..0", r"line 8, column 'Ewe/V' holds '3.5..0', which is no number"),
        ("9.0000000E-001\n", "9.0000000E-0", r"line 9: 'x' ends with '9.0000000E-0', which is cut"),
        ("Nb header lines : 6", "Nb header lines : 60", r"states 60 header lines and has 10 lines"),
        ("Galvanostatic", "Loop 0 from point number 0 to 3", r"states 4 points, has 3"),
        ("7.2000000E+003", "7.2000000E+002", r"the time falls from 3600 s to 720 s at record 2"),
        ("07/26/2022", "07/36/2022", r"cell7.mpt: the start of the acquisition, .* is no date"),
    ],
)
def test_damage_is_named(tmp_path, old, new, message):
    assert old in MPT
    head, _, tail = MPT.rpartition(old) if old.startswith("9.0") else (None, None, None)
    text = MPT.replace(old, new, 1) if head is None else head + new + tail
    with pytest.raises(ReadError, match=message):
        io.open(write(tmp_path, text), timezone="UTC")


def test_overlapping_files_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"b.mpt: overlaps in time with a.mpt"):
        io.open([write(tmp_path, name="a.mpt"), write(tmp_path, name="b.mpt")], timezone="UTC")


def test_never_taken_for_another_format(tmp_path):
    assert biologic.recognise(tmp_path / "a.txt", MPT.encode())
    assert not biologic.recognise(tmp_path / "a.mpt", b"# 2th_deg I\n1 2\n")


@pytest.mark.data
@pytest.mark.parametrize("step", [pytest.param(1024, marks=pytest.mark.soak), 15_000])
@pytest.mark.parametrize("stem", ["gcpl.issue_149", "ocv"])
def test_truncated(stem, step, tmp_path):
    whole = datasets.path("biologic_pairs") / f"{stem}.mpt"
    raw = whole.read_bytes()
    complete = io.open(whole, timezone="UTC")
    for size in range(0, len(raw) - 1, step):
        path = tmp_path / whole.name
        path.write_bytes(raw[:size])
        try:
            ds = io.open(path, timezone="UTC")
        except ReadError as error:
            message = str(error)
            ds = None
        if ds is None:
            assert whole.name in message
        else:
            # Without loops in its header a file cut exactly between two lines cannot be told from a whole one.
            assert raw[size - 1 : size + 1].count(b"\n") or raw[size - 2 : size] == b"\r\n"
            np.testing.assert_array_equal(ds["voltage"], complete["voltage"][: ds.sizes["record"]])
