"""Electrochemistry with mass spectrometry: every series on its own clock, and scans over mass."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import ecms
from batlab.schema import check

ZILIEN = "2022-04-06 16_17_23 full set.tsv"
RUO2 = "meas_part_1_fig1.csv"


@pytest.fixture(scope="module")
def folder():
    return datasets.path("zilien")


@pytest.fixture(scope="module")
def scans(folder):
    return sorted((folder / "full set mass scans").iterdir())


@pytest.mark.data
def test_ruo2_on_one_clock():
    ds = check(io.open(datasets.path("ruo2_ec_ms") / RUO2))
    # SOURCES: 3350 rows of 2 s, m/z 2 to 44.
    assert ds.sizes == {"record": 3350, "mass": 11}
    assert np.unique(np.diff(ds["test_time"])).tolist() == [2.0]
    assert ds["mass"].values.tolist() == [2, 4, 18, 20, 28, 32, 34, 36, 40, 44, 72]
    assert ds["ion_current"].units == "A"
    # The first row of the file.
    assert float(ds["voltage"][0]) == 0.54761165
    assert float(ds["current"][0]) == pytest.approx(-0.0007897518916089108e-3)
    assert float(ds["ion_current"].sel(mass=32)[0]) == 1.10112e-11
    assert float(ds["ion_current"].sel(mass=44)[0]) == 1.85742e-12
    assert str(ds["time"].values[0])[:23] == "2018-08-28T15:27:14.020"
    # SOURCES: M32, M34 and M36 rise together with the potential steps.
    high = ds["voltage"] > np.quantile(ds["voltage"], 0.95)
    for mass in (32, 34, 36):
        signal = ds["ion_current"].sel(mass=mass)
        assert float(signal[high.values].mean()) > float(signal[~high.values].mean())


@pytest.mark.data
def test_zilien_keeps_every_clock(folder):
    tree = check(io.open(folder / ZILIEN, timezone="Europe/Copenhagen"))
    # The header counts the points of each series.
    assert tree["echem"].sizes["record"] == 733
    assert tree["gas/mfc1_value"].sizes["record"] == 457
    masses = {node.ds["ion_current"].attrs["mass_to_charge"]: node for node in tree["gas"].children.values()
              if "ion_current" in node.ds}  # fmt: skip
    assert sorted(masses) == [2, 4, 18, 28, 32]
    assert all(node.sizes["record"] == 404 for node in masses.values())
    # The first line of numbers in the file.
    assert tree["echem"]["test_time"].values[0] == 95.84931
    assert tree["echem"]["voltage"].values[0] == 0.5920536
    assert tree["echem"]["current"].values[0] == pytest.approx(1.055188e-9)
    assert tree["gas/iongauge_value"]["pressure"].values[0] == pytest.approx(6.16e-5)
    assert tree["gas/iongauge_value"]["test_time"].values[0] == 0.3479784
    assert masses[32].ds["ion_current"].values[0] == 1.934676e-10
    assert masses[32].ds["test_time"].values[0] == 0.7778335
    # The potentiostat's own file says 16:19:01 where Zilien has 16:17:23 + 95.8 s.
    ours = tree["echem"]["time"].values[0]
    assert abs((ours - np.datetime64("2022-04-06T14:19:01")) / np.timedelta64(1, "s")) < 3
    assert "io.open" in tree["echem"].attrs["history"]


@pytest.mark.data
def test_zilien_without_a_zone_says_so(folder):
    with pytest.warns(UserWarning, match="known from its name, is local time without a zone"):
        tree = io.open(folder / ZILIEN)
    assert str(tree["echem"]["time"].values[0])[:16] == "2022-04-06T16:18"
    given = io.open(folder / ZILIEN, start="2022-04-06T14:17:23")
    assert str(given["echem"]["time"].values[0])[:16] == "2022-04-06T14:18"


@pytest.mark.data
def test_mass_scans_are_a_series(scans):
    one = check(io.open(scans[0]))
    assert one.sizes == {"frame": 1, "mass": 251}
    assert one["mass"].values[[0, -1]].tolist() == [0, 50]
    assert float(one["test_time"][0]) == 25.56966
    assert float(one["ion_current"].sel(mass=4.0)[0]) == 3.534571e-08
    series = check(io.open(scans[::-1]))
    assert series.sizes == {"frame": 3, "mass": 251}
    assert (np.diff(series["test_time"]) > 0).all()
    assert series["ion_current"].isel(frame=0).equals(one["ion_current"].isel(frame=0).assign_coords(frame=0))


@pytest.mark.data
def test_what_does_not_belong_together_is_refused(folder, scans, tmp_path):
    with pytest.raises(ReadError, match="is a record of its own"):
        io.open([folder / ZILIEN, scans[0]], timezone="UTC")
    shorter = tmp_path / "scan.tsv"
    shorter.write_text("\n".join(scans[0].read_text().split("\n")[:100]) + "\n")
    with pytest.raises(ReadError, match="its masses differ"):
        io.open([scans[0], shorter])
    with pytest.raises(TypeError, match="did you mean 'timezone'"):
        io.open(folder / ZILIEN, time_zone="UTC")


@pytest.mark.data
@pytest.mark.parametrize("n_pieces", [12, pytest.param(1000, marks=pytest.mark.soak)])
def test_cut_files_are_refused_or_whole_in_what_they_hold(folder, scans, tmp_path, n_pieces):
    for source in (folder / ZILIEN, scans[0], datasets.path("ruo2_ec_ms") / RUO2):
        raw = source.read_bytes()
        step = max(1024, len(raw) // n_pieces)
        target = tmp_path / source.name
        for size in range(0, len(raw) - 1, step):
            target.write_bytes(raw[:size])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                try:
                    result = io.open(target)
                except ReadError as error:
                    message = str(error)
                else:
                    # Only a record that states no count can be opened shorter than it was.
                    assert isinstance(result, xr.Dataset)
                    continue
            assert source.name in message


def test_several_clocks_in_an_export_are_a_tree(tmp_path):
    text = (
        "ixdat version = 0.2.3\nname = made\ntechnique = EC-MS\ntstamp = 1535470034.0\n"
        "timecol 'time/s' for: 'Ewe/V' and 'I/mA'\ntimecol 'M2-x' for: 'M2' and 'M4'\nN_header_lines = 9\n\n"
    )
    body = "time/s,\tEwe/V,\tI/mA,\tM2-x,\tM2,\tM4\n0,\t1,\t2,\t0.5,\t1e-9,\t2e-9\n2,\t1.5,\t3,\t1.5,\t1e-9,\t3e-9\n,\t,\t,\t2.5,\t2e-9,\t4e-9\n"  # noqa: E501
    path = tmp_path / "a.csv"
    path.write_text(text + body)
    path.write_text((text + body).replace("timecol 'M2-x'", "timecol 'M3-x'"))
    with pytest.raises(ReadError, match="names no time column that the table has"):
        io.open(path)
    path.write_text(text + body)
    tree = check(io.open(path))
    assert tree["echem"].sizes["record"] == 2
    assert tree["echem"]["current"].values.tolist() == [0.002, 0.003]
    assert tree["gas/m2_x"].ds["ion_current"].sel(mass=4).values.tolist() == [2e-9, 3e-9, 4e-9]
    assert tree["gas/m2_x"].ds["test_time"].values.tolist() == [0.5, 1.5, 2.5]


def test_recognise_never_raises(tmp_path):
    for head in (b"", b"\x00" * 50, b"num_header_lines", b"ixdat", b"\xff\xfe"):
        assert not ecms.recognise(tmp_path / "a", head)
