"""Neware's binary records against the Parquet files beside them, and its csv export."""

import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import MissingExtraError, ReadError
from batlab.io import neware, neware_csv
from batlab.schema import check

STEMS = (
    "21_10_7_85.ndax",
    "TESTCELL0001-B2-2025-M50T_NewareNDA_Investigation.ndax",
    "nda_v22.nda.zip",
    "nda_v8.nda.zip",
)
CSV = (
    "DataPoint,Cycle Index,Step Index,Step Type,Time,Cumulative Time,Current(A),Voltage(V),Capacity(Ah),"
    "Chg. Cap.(Ah),DChg. Cap.(Ah),Date\n"
    "1,1,1,CC Chg,00:00:00,00:00:00,2,3.0,0,0,0,2022-05-18 16:27:52\n"
    "2,1,1,CC Chg,00:30:00,00:30:00,2,3.1,1,1,0,2022-05-18 16:57:52\n"
    "3,1,2,CC DChg,00:00:00,00:30:00,-2,3.0,0,0,0,2022-05-18 16:57:52\n"
    "4,1,2,CC DChg,24:15:00,24:45:00,-2,2.9,48.5,0,48.5,2022-05-19 17:12:52\n"
)


@pytest.fixture
def fastnda():
    pytest.importorskip("fastnda", reason="needs the extra 'cycler'")
    return neware._fastnda("this test")


@pytest.mark.data
@pytest.mark.parametrize("file", STEMS)
def test_record_equals_its_parquet(fastnda, file):
    """The Parquet files are Neware's own exports of the same records, in mV, µA, mA s, rounded to the last digit."""
    import pyarrow.parquet as pq

    folder = datasets.path("neware_fastnda")
    ds = check(io.open(folder / file, cycles="file"))
    answer = pq.read_table(folder / f"{file.split('.')[0]}.parquet").to_pydict()
    assert ds.sizes["record"] == len(answer["Voltage(mV)"])
    np.testing.assert_allclose(ds["voltage"] * 1e3, answer["Voltage(mV)"], atol=0.06)
    np.testing.assert_allclose(ds["current"] * 1e6, answer["Current(uA)"], atol=0.6, rtol=1e-5)
    np.testing.assert_allclose(np.abs(ds["capacity"]) * 3.6e6, np.abs(answer["Capacity(mAs)"]), atol=0.6, rtol=3e-7)
    np.testing.assert_allclose(ds["test_time"], answer["Total Time"], atol=0.11)
    np.testing.assert_array_equal(ds["cycle"], answer["Cycle Index"])
    np.testing.assert_array_equal(ds["step"], answer["Step Count"])
    np.testing.assert_array_equal(ds["step_index"], answer["Step Index"])


@pytest.mark.data
def test_a_cell_run_to_death(fastnda):
    """SOURCES: 109282 rows and 213 cycles by two readers; the capacity falls under 0.1 mAh."""
    ds = check(io.open(datasets.path("neware_fullcell")))
    assert ds.sizes["record"] == 109282
    assert int(ds["cycle"].max()) == 213
    down = [-ds["capacity"].values[ds["cycle"].values == one].min() * 1e3 for one in (2, 212)]
    assert down[0] > 1 > 0.1 > down[1]


@pytest.mark.data
@pytest.mark.parametrize(("file", "n"), [("test.nda", 439), ("test.ndax", 1464)])
def test_small_files(fastnda, file, n):
    ds = check(io.open(datasets.path("neware_small") / file))
    assert ds.sizes["record"] == n
    assert np.all(np.diff(ds["test_time"]) >= 0)


@pytest.mark.data
def test_the_package_leaves_zlib_as_it_was(fastnda):
    """fastnda 1.3.1 puts isal's functions into zlib, whose errors no other reader would know."""
    program = (
        "import zlib, warnings; before = zlib.decompressobj, zlib.decompress; warnings.simplefilter('ignore'); "
        f"from batlab import io; io.open({str(datasets.path('neware_small') / 'test.ndax')!r}); "
        "assert before == (zlib.decompressobj, zlib.decompress)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.data
def test_where_a_cycle_begins(fastnda):
    """fastnda 1.3.1: 213 cycles where a charge begins one, 212 by the file's own numbers."""
    path = datasets.path("neware_fullcell")
    assert int(io.open(path, cycles="file")["cycle"].max()) == 212
    assert int(io.open(path, cycles="charge")["cycle"].max()) == 213


@pytest.mark.data
def test_hints(fastnda):
    path = datasets.path("neware_small") / "test.ndax"
    assert str(io.open(path, start="2024-01-01")["time"].values[0])[:10] == "2024-01-01"
    with pytest.raises(ValueError, match="cycles must be 'charge'"):
        io.open(path, cycles="chg")
    assert io.open(path, cycles="discharge").sizes["record"] == 1464


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastnda", None)
    (tmp_path / "a.nda").write_bytes(b"NEWARE" + b"\0" * 100)
    with pytest.raises(MissingExtraError, match=r"a\.nda: .* pip install 'batlab\[cycler\]'"):
        io.open(tmp_path / "a.nda")


def test_zip_bomb_is_refused_in_bounded_time(tmp_path):
    path = tmp_path / "bomb.ndax"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("VersionInfo.xml", "<a/>")
        with archive.open("data.ndc", "w") as part:
            for _ in range(100):
                part.write(b"\0" * 2**20)
    assert path.stat().st_size < 2**18
    start = time.perf_counter()
    with pytest.raises(ReadError, match=r"bomb\.ndax: .* zip bomb"):
        io.open(path)
    assert time.perf_counter() - start < 60


@pytest.mark.data
@pytest.mark.parametrize("step", [pytest.param(1024, marks=pytest.mark.soak), 9000])
@pytest.mark.parametrize("file", ["test.ndax", "test.nda"])
def test_truncated(fastnda, tmp_path, file, step):
    raw = (datasets.path("neware_small") / file).read_bytes()
    whole = io.open(datasets.path("neware_small") / file)
    path = tmp_path / file
    for size in range(1024, len(raw), step):
        path.write_bytes(raw[:size])
        ds, message = None, f"{file}: "
        try:
            ds = io.open(path)
        except (ReadError, UserWarning) as error:
            message = str(error)
        assert f"{file}: " in message
        if ds is not None:  # an .nda states no length: records that are whole are read
            assert file.endswith("nda")
            np.testing.assert_array_equal(ds["voltage"], whole["voltage"][: ds.sizes["record"]])


def test_archives_of_several_records_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.nda", b"NEWARE")
        archive.writestr("b.nda", b"NEWARE")
    with pytest.raises(ReadError, match="holds 2 records"):
        io.open(tmp_path / "a.zip")
    assert neware.recognise(tmp_path / "x", b"NEWARE2.0")
    assert not neware.recognise(tmp_path / "x", b"PK\x03\x04")


def test_made_csv(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text(CSV)
    ds = check(io.open(path, timezone="Europe/Oslo"))
    assert ds["current"].values.tolist() == [2, 2, -2, -2]
    assert ds["capacity"].values.tolist() == [0, 1, 0, -48.5]
    assert ds["test_time"].values.tolist() == [0, 1800, 1800, 89100]
    assert ds["step_time"].values.tolist() == [0, 1800, 0, 87300]
    assert ds["state"].values.tolist() == ["CC Chg", "CC Chg", "CC DChg", "CC DChg"]
    assert str(ds["time"].values[0])[:19] == "2022-05-18T14:27:52"
    assert not neware_csv.recognise(path, b"Cycle Index,Voltage,Current\n")


@pytest.mark.data
def test_real_csv():
    """SOURCES: 4 cycles; the numbers of the first and last record are typed from the file."""
    ds = check(io.open(datasets.path("neware_small") / "neware_uio.csv", timezone="Europe/Oslo"))
    assert ds.sizes["record"] == 9065
    assert np.unique(ds["cycle"]).tolist() == [1, 2, 3, 4]
    assert ds["test_time"].values[-1] == 144 * 3600 + 2 * 60 + 18
    assert ds["voltage"].values[[0, -1]].tolist() == [2.917, 0.4251]
    assert ds["capacity"].values[-1] == 0.00143796
    assert str(ds["time"].values[-1])[:19] == "2022-05-24T14:29:53"
