"""SPEC files: scans of energy and of motors, in one text, whole and damaged."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batlab import io
from batlab.errors import ReadError
from batlab.schema import check

HEAD = """#F /data/ni.spec
#E 1140872400
#D Sat Feb 25 14:00:00 2006
#C battery  User = someone
#O0 Sample X  Sample Y    mono
#O1 temp

"""
# keV; SPEC parts the names by two blanks.
SCAN1 = """#S 1  ascan  energy 8.33 8.342 3 1
#D Sat Feb 25 14:01:00 2006
#T 1  (Seconds)
#P0 1.5 -2 14.3
#P1 298.5
#N 6
#L energy  Epoch  Seconds  I0  It  Ge Det 1
8.330 60 1 100000 50000 7
8.334 61.5 1 100001 50001 8
8.338 63 1 100002 40002 9
8.342 64.5 1 100003 30003 nan

"""
SCAN2 = """#S 2  dscan  Sample X -1 1 2 0.1
#D Sat Feb 25 14:05:00 2006
#N 2
#L Sample X  I0
0.5 10
1.5 11
2.5 12
#C Sat Feb 25 14:05:10 2006.  Scan aborted after 3 points.

"""
EMPTY = "#S 3  ascan  energy 8 9 10 1\n#D Sat Feb 25 14:06:00 2006\n#N 2\n#L energy  I0\n#C aborted\n\n"


def spec(folder, *scans, head=HEAD):
    path = folder / "ni.spec"
    path.write_text(head + "".join(scans))
    return path


def test_energy_scan(tmp_path):
    path = spec(tmp_path, SCAN1)
    with pytest.raises(
        ReadError, match=r"ni\.spec: scan 1\.1: the unit of the energy is not stated.*energy_unit='keV'"
    ):
        io.open(path)
    scan = check(io.open(path, energy_unit="keV"))
    assert scan.energy.values.tolist() == [8330, 8334, 8338, 8342]
    assert list(scan.data_vars) == ["epoch", "count_time", "i0", "itrans", "ge_det_1"]
    assert scan.i0.dims == ("energy",)
    assert scan.itrans.values.tolist() == [50000, 50001, 40002, 30003]
    assert np.isnan(scan.ge_det_1[-1])
    assert scan.count_time.attrs["units"] == "s"
    # #E and the column Epoch are absolute: 2006-02-25T13:00:00Z + 60 s.
    assert str(scan.time.values) == "2006-02-25T13:01:00.000000000"
    assert scan.attrs["command"] == "ascan  energy 8.33 8.342 3 1"
    assert json.loads(scan.attrs["positioners"]) == {"Sample X": 1.5, "Sample Y": -2, "mono": 14.3, "temp": 298.5}
    assert "history" in scan.attrs


def test_energies_in_ev_say_so_themselves_and_a_falling_scan_is_turned(tmp_path):
    rows = [f"{energy} {i}" for i, energy in enumerate((8340, 8335, 8330))]
    path = spec(tmp_path, "#S 7 ascan energy\n#N 2\n#L Energy  Det\n" + "\n".join(rows) + "\n")
    scan = check(io.open(path))
    assert scan.energy.values.tolist() == [8330, 8335, 8340]
    assert scan.det.values.tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="energy_unit must be None, 'eV' or 'keV', got 'EV'"):
        io.open(path, energy_unit="EV")


def test_several_scans_are_a_tree_and_scan_takes_one(tmp_path):
    path = spec(tmp_path, SCAN1, SCAN2, SCAN1.replace("#S 1 ", "#S 4 "), SCAN2)
    tree = check(io.open(path, energy_unit="keV"))
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == ["1.1", "2.1", "4.1", "2.2"]
    motor = check(io.open(path, scan="2.2"))
    assert motor.i0.dims == ("frame",)
    assert motor.sample_x.values.tolist() == [0.5, 1.5, 2.5]
    assert motor.attrs["clock"] == "local time without a zone, taken as UTC"
    assert "aborted after 3 points" in motor.attrs["comments"]
    paris = io.open(path, scan="2.1", timezone="Europe/Paris")
    assert str(paris.time.values) == "2006-02-25T13:05:00.000000000"
    assert "clock" not in paris.attrs
    series = check(io.open(path, scan=[1, 4], energy_unit="keV"))
    assert series.itrans.shape == (2, 4)
    assert series.scan.values.tolist() == ["1.1", "4.1"]
    assert series.itrans.dims == ("frame", "energy")
    with pytest.raises(ReadError, match=r"has 2 scans 2; say which: scan='2.1', scan='2.2'"):
        io.open(path, scan=2)
    with pytest.raises(ReadError, match=r"ni\.spec: has no scan '9'"):
        io.open(path, scan=9)


def test_unequal_grids_meet_on_the_first_if_asked(tmp_path):
    moved = SCAN1.replace("#S 1 ", "#S 5 ").replace("8.334", "8.335")
    path = spec(tmp_path, SCAN1, moved)
    assert isinstance(io.open(path, scan=[1, 5], energy_unit="keV"), xr.DataTree)
    series = check(io.open(path, scan=[1, 5], energy_unit="keV", grid="first"))
    assert float(series.itrans[1, 1]) == pytest.approx(50000 + 0.8)
    assert "1 of 2 interpolated" in series.attrs["grid"]
    own = check(io.open(path, scan=[1, 5], energy_unit="keV", grid="own"))
    tree = io.open(path, scan=[1, 5], energy_unit="keV")
    for row, name in enumerate(("1.1", "5.1")):
        np.testing.assert_array_equal(own.energy_measured[row], tree[name].energy)
        np.testing.assert_array_equal(own.itrans[row], tree[name].itrans)
    assert own.scan.values.tolist() == ["1.1", "5.1"]


def test_multichannel_spectra(tmp_path):
    text = "#S 1 ascan energy\n#N 2\n#@MCA %16C\n#L energy  I0\n8330 1\n@A 1 2 3\\\n 4\n8331 2\n@A 5 6 7 8\n"
    scan = check(io.open(spec(tmp_path, text)))
    assert scan.mca.dims == ("energy", "channel")
    assert scan.mca.values.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    with pytest.raises(ReadError, match="1 multichannel spectra of 4 to 4 channels for 2 points"):
        io.open(spec(tmp_path, text.replace("@A 5 6 7 8\n", "")))


def test_scans_without_points_are_left_out(tmp_path):
    path = spec(tmp_path, SCAN2, EMPTY)
    with pytest.warns(UserWarning, match=r"scans 3\.1 hold no points and are left out"):
        tree = check(io.open(path))
    assert list(tree.children) == ["2.1"]
    with pytest.raises(ReadError, match=r"scan 3\.1 holds no points"):
        io.open(path, scan=3)


def test_energy_that_turns_back_stays_over_frame(tmp_path):
    text = "#S 1 ascan energy\n#N 2\n#L energy  I0\n8330 1\n8331 2\n8330.5 3\n8332 4\n"
    with pytest.warns(UserWarning, match=r"scan 1\.1: its energy stands or turns back 1 times"):
        scan = check(io.open(spec(tmp_path, text)))
    assert scan.energy.dims == ("frame",)
    assert scan.energy.attrs["units"] == "eV"


def test_cut_and_damaged_rows(tmp_path):
    path = spec(tmp_path, SCAN2, SCAN1.rstrip()[:-8])
    with pytest.warns(UserWarning, match=r"line \d+ has 5 columns, '#L' of scan 1\.1 names 6; the row is left out"):
        assert io.open(path, scan=1, energy_unit="keV").sizes["energy"] == 3
    with pytest.raises(ReadError, match=r"ni\.spec: line 16 has 5 columns, '#L' of scan 1.1 names 6"):
        io.open(spec(tmp_path, SCAN1.replace(" 8\n", "\n"), SCAN2), scan=1)
    with pytest.raises(ReadError, match=r"ni\.spec: line 16: could not convert string to float: '1e5x'"):
        io.open(spec(tmp_path, SCAN1.replace("100001", "1e5x")), energy_unit="keV")
    with pytest.raises(ReadError, match=r"ni\.spec: line 9: scan 1.1 has numbers before '#L'"):
        io.open(spec(tmp_path, "#S 1 ct\n1 2 3\n"))
    with pytest.raises(ReadError, match="has no scan"):
        io.open(spec(tmp_path, "1 2\n"))


def test_patterns_with_the_sign_of_a_scan_are_still_patterns(tmp_path):
    path = tmp_path / "ni.gr"
    path.write_text("#S 1 nickel\n#L r  G(r)\n0.1 1\n0.2 2\n0.3 3\n")
    assert "g_r" in io.open(path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(32, 255)), min_size=1, max_size=5), st.integers(0, 2**16))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mutated_bytes_give_data_or_a_read_error(tmp_path, changes, cut):
    raw = bytearray((HEAD + SCAN1 + SCAN2).encode())
    for place, byte in changes:
        raw[30 + place % (len(raw) - 30)] = byte
    path = tmp_path / "ni.spec"
    path.write_bytes(raw if cut % 2 else raw[: 40 + cut % (len(raw) - 40)])
    opened(path)


def opened(path):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(io.open(path, energy_unit="keV"))
    except ReadError as error:
        message = str(error)
    assert message.startswith(path.name)
    return None
