"""Dispersive spectra over pixels: tables, single spectra, damage."""

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import spectra_dispersive
from batlab.schema import check


@pytest.mark.data
def test_table_of_the_photon_factory():
    folder = datasets.path("pd_dispersive")
    ds = check(io.open(folder / "PdZnO02_mt.CSV.gz"))
    assert ds["mu"].dims == ("frame", "pixel")
    assert ds.sizes == {"frame": 256, "pixel": 1024}
    assert ds["heading"].values[:4].tolist() == [0, 300, 600, 900]
    assert ds["mu"].values[0, :2].tolist() == [0.2302177, 0.2305135]
    assert ds["mu"].values[3, 0] == 0.2300526
    assert "time" not in ds.coords
    timed = check(io.open(folder / "PdZnO02_mt.CSV.gz", time_unit="ms", start="2006-01-01T00:00"))
    assert str(timed["time"].values[1])[:23] == "2006-01-01T00:00:00.300"
    with pytest.raises(ValueError, match="pass both or neither"):
        io.open(folder / "PdZnO02_mt.CSV.gz", time_unit="ms")
    foil = check(io.open(folder / "Pd_foil.CSV"))
    assert foil["mu"].dims == ("pixel",)
    assert foil["pixel"].values[[0, -1]].tolist() == [1, 1024]


@pytest.mark.data
def test_spectra_of_id24_are_a_series_in_time():
    folder = datasets.path("cus2_dispersive")
    with pytest.warns(UserWarning, match="clock is local time"):
        ds = check(io.open(folder / "cus2_*"))
    assert ds.sizes == {"frame": 9, "pixel": 1241}
    assert ds.attrs["sample"] == "CuS"
    assert str(ds["time"].values[0])[:19] == "2003-04-11T14:25:12"
    one = check(io.open(folder / "cu_08", timezone="Europe/Paris"))
    assert one["mu"].values[[0, -1]].tolist() == [-0.892611, 0.716302]
    assert str(one["time"].values)[:19] == "2003-04-11T15:01:37"
    # The calibrated spectrum and the reference say nothing of their columns.
    with pytest.raises(ReadError, match="nothing in the file says"):
        io.open(folder / "cu_08.calib")


def test_damage_is_named(tmp_path):
    file = tmp_path / "a.csv"
    for text, told in (
        (", 0, 300\n 1, 0.5, 0.6\n 3, 0.5, 0.6\n", "line 2: the first column must count the pixels"),
        (", 0, 300, 600\n 1, 0.5, 0.6\n 2, 0.5, 0.6\n", "numbers 3 spectra, the table has 2"),
        (", 0, 300\n 1, 0.5, inf\n 2, 0.5, 0.6\n", "pixel 1 holds infinity"),
        (", 0, 300\n 1, 0.5, 0.6\n", "no table of numbers"),
        (":x from pixel 0 to 3\n0 0.5\n1 0.5\n", "states pixels 0 to 3, holds 0 to 1"),
    ):
        file.write_text(text)
        with pytest.raises(ReadError, match=told):
            io.open(file)
    file.write_text(", 0\n 1, 0.5\n 2, nan\n 3, 0.25\n")
    np.testing.assert_array_equal(check(io.open(file))["mu"], [0.5, np.nan, 0.25])
    other = tmp_path / "b.csv"
    other.write_text(", 0\n 1, 0.5\n 2, 0.3\n")
    with pytest.raises(ReadError, match=r"b.csv: has 2 pixels, a.csv has 3"):
        io.open([file, other])


def test_only_such_tables_are_recognised(tmp_path):
    assert spectra_dispersive.recognise(tmp_path, b", 0 \n 1 , 1.2\n")
    assert spectra_dispersive.recognise(tmp_path, b":run  from pixel 0 to 9 from stripe 1 to 2\n")
    assert not spectra_dispersive.recognise(tmp_path, b"1, 2\n3, 4\n")
    assert not spectra_dispersive.recognise(tmp_path, b", x, y\n1, 2, 3\n")
    assert not spectra_dispersive.recognise(tmp_path, b"")
