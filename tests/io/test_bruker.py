"""Bruker .brml: the corundum standard, and archives that mean harm."""

import io as streams
import zipfile

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import bruker
from batlab.schema import check

RAW = """<?xml version="1.0"?>
<RawData><TimeStampStarted>2015-06-04T11:30:38.8138945-05:00</TimeStampStarted><DataRoutes><DataRoute>
<ScanInformation><MeasurementPoints>3</MeasurementPoints><TimePerStep>0.5</TimePerStep></ScanInformation>
{datums}
<DataViews><RawDataView Start="0" Length="1" LogicName="MeasuredTime"/>
<RawDataView Start="2" Length="2"><Varying><FieldDefinitions FieldName="TwoTheta"/></Varying></RawDataView>
<RawDataView Start="4" Length="1"><Recording LogicName="ScanCounter"/></RawDataView></DataViews>
</DataRoute></DataRoutes></RawData>"""
DATUMS = "".join(f"<Datum>1,1,{10 + i},{5 + i / 2},{7 * i}</Datum>" for i in range(3))


GOOD = RAW.format(datums=DATUMS)


def brml(path, text=GOOD, name="Experiment0/RawData0.xml"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return path


def opened(path, **hints):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(io.open(path, **hints))
    except ReadError as error:
        message = str(error)
    assert path.name in message
    return None


@pytest.mark.data
def test_corundum_agrees_with_its_export():
    folder = datasets.path("corundum_lab")
    ds, export = io.open(folder / "corundum.brml"), io.open(folder / "corundum.xye")
    check(ds)
    check(export)
    assert ds["intensity"].shape == (1, 6851)
    assert (ds.attrs["wavelength"], ds.attrs["wavelength_alpha2"], ds.attrs["alpha2_ratio"]) == (1.5406, 1.54439, 0.5)
    assert str(ds["time"].values[0]) == "2015-06-04T16:30:38.813894000"
    # The exports are of two scans of one sample: one grid, and counts (96 s a point) equal within their Poisson noise.
    np.testing.assert_allclose(ds["two_theta"], export["two_theta"], atol=6e-5)
    counts, other = ds["intensity"].values[0], export["intensity"].values[0] * float(ds["exposure"][0])
    np.testing.assert_allclose(other, np.round(other), atol=1e-6)
    pulls = (counts - other * counts.sum() / other.sum()) / np.sqrt(counts + other)
    assert 0.9 < pulls.std() < 1.1
    assert np.corrcoef(counts, other)[0, 1] > 0.999


@pytest.mark.data
def test_old_binary_raw_is_refused_by_name():
    with pytest.raises(ReadError, match=r"corundum.raw: is a binary Bruker RAW file \(RAW4.00\)"):
        io.open(datasets.path("corundum_lab") / "corundum.raw")


def test_small_archive(tmp_path):
    ds = check(io.open(brml(tmp_path / "a.brml")))
    assert ds["two_theta"].values.tolist() == [10, 11, 12]
    assert ds["intensity"].values.tolist() == [[0, 7, 14]]
    assert io.open(brml(tmp_path / "renamed.zip")).equals(
        ds.assign_coords(file=("frame", ["renamed.zip"], ds.file.attrs))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + RAW.format(datums="&e;"), "declares a DOCTYPE"),
        (RAW.format(datums=DATUMS)[:-30], "is no valid XML"),
        (RAW.format(datums=DATUMS.replace("<Datum>1,1,12,6.0,14</Datum>", "")), "states 3 points, 2 follow"),
        (RAW.format(datums=DATUMS.replace("11,5.5", "11")), "a <Datum> is not as its <DataViews> say"),
        (RAW.format(datums=""), "holds no measured 2θ range"),
        (RAW.format(datums=DATUMS).replace("-05:00", ""), "states no time zone"),
    ],
)
def test_harm_is_refused(tmp_path, text, message):
    with pytest.raises(ReadError, match=f"a.brml: .*{message}"):
        io.open(brml(tmp_path / "a.brml", text))


def test_zip_bomb_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ReadError, match="refused as a zip bomb"):
        io.open(brml(tmp_path / "a.brml", " " * 50_000_000))
    monkeypatch.setattr(bruker, "SIZE_LIMIT", 100)
    with pytest.raises(ReadError, match="refused as a zip bomb"):
        io.open(brml(tmp_path / "b.brml"))


def test_unequal_ranges_are_refused(tmp_path):
    other = RAW.format(datums=DATUMS.replace("1,1,12,", "1,1,13,"))
    with pytest.raises(ReadError, match=r"b.brml: its 2θ range differs from that of a.brml"):
        io.open([brml(tmp_path / "a.brml"), brml(tmp_path / "b.brml", other)])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_archive(tmp_path, share):
    raw = brml(tmp_path / "a.brml").read_bytes()
    (tmp_path / "a.brml").write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(ReadError, match=r"a.brml"):
        io.open(tmp_path / "a.brml")


def test_flipped_bytes_give_a_read_error_or_the_same(tmp_path):
    good = io.open(brml(tmp_path / "a.brml"))
    raw = bytearray((tmp_path / "a.brml").read_bytes())
    rng = np.random.default_rng(3)
    for position in rng.integers(4, len(raw), 80):
        damaged = raw.copy()
        damaged[position] ^= 0xFF
        (tmp_path / "a.brml").write_bytes(damaged)
        ds = opened(tmp_path / "a.brml")
        assert ds is None or ds["intensity"].equals(good["intensity"])


@pytest.mark.data
@pytest.mark.soak
def test_truncated_at_every_kilobyte(tmp_path):
    raw = (datasets.path("corundum_lab") / "corundum.brml").read_bytes()
    for size in range(0, len(raw) - 1, 1024):
        (tmp_path / "a.brml").write_bytes(raw[:size])
        with pytest.raises(ReadError, match=r"a.brml"):
            io.open(tmp_path / "a.brml")


def test_empty_archive(tmp_path):
    buffer = streams.BytesIO()
    with zipfile.ZipFile(buffer, "w"):
        pass
    (tmp_path / "a.brml").write_bytes(buffer.getvalue())
    with pytest.raises(ReadError, match=r"a.brml"):
        io.open(tmp_path / "a.brml")
