"""BioLogic's binary records against the text exports beside them, and against other programs."""

import struct

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import biologic_binary
from batlab.schema import check

STEMS = ("gcpl.issue_149", "mb.issue_149", "ocv", "peis")
TYPES = {1: "", 3: "", 4: "d", 6: "f", 8: "f", 7: "d", 13: "d", 468: "I", 131: "H"}

# Records 0, 10000 and 46101 of the long record, as galvani 0.5.0 reads them.
GALVANI = {
    "time/s": [0.0, 98680.4243703913, 456309.58615131397],
    "Ewe/V": [2.508576, 2.6306741, 1.9999602],
    "half cycle": [0, 4, 13],
}


def module(short, content, version=3, *, is_long=False):
    head = b"MODULE" + short.ljust(10).encode() + short.ljust(25).encode()
    if is_long:
        return head + b"\xff" * 4 + struct.pack("<QI", len(content), version) + b"01/10/24" + content
    return head + struct.pack("<II", len(content), version) + b"01/10/24" + content


def mpr(rows, numbers=(1, 4, 6), layout="<Bdf", version=3, *, log=True, extra=b""):
    """Return a made file whose first fields are the flags, the time and the voltage."""
    is_long = version >= 10
    head = struct.pack("<IH" if is_long else "<IB", len(rows), len(numbers)) + struct.pack(
        f"<{len(numbers)}H", *numbers
    )
    head = head.ljust({2: 405, 3: 406, 11: 1007}[version], b"\0")
    data = head + b"".join(struct.pack(layout, *row) for row in rows) + extra
    raw = b"BIO-LOGIC MODULAR FILE\x1a".ljust(48) + b"\0" * 4
    raw += module("VMP Set", b"\x0b" + b"\0" * 99, is_long=is_long) + module("VMP data", data, version, is_long=is_long)
    days = struct.pack("<d", 45301.460068125)  # 2024-01-10 11:02:29.886
    return raw + (module("VMP LOG", b"\0" * 585 + days + b"\0" * 50, is_long=is_long) if log else b"")


def write(folder, raw, name="cell7.mpr"):
    (folder / name).write_bytes(raw)
    return folder / name


@pytest.mark.data
@pytest.mark.parametrize("stem", STEMS)
def test_binary_equals_its_text(stem):
    folder = datasets.path("biologic_pairs")
    binary = check(io.open(folder / f"{stem}.mpr", timezone="Europe/Zurich"))
    text = io.open(folder / f"{stem}.mpt", timezone="Europe/Zurich")
    assert set(binary.variables) <= set(text.variables)
    assert {"voltage", "test_time", "time"} <= set(binary.variables)
    for name in set(binary.variables) - {"time"}:
        # The text has 8 digits of a 32-bit and 16 of a 64-bit number; the quotient dq/dt has those of its parts.
        np.testing.assert_allclose(binary[name], text[name], rtol=6e-8, atol=1e-15, err_msg=str(name))
        assert binary[name].attrs == text[name].attrs
    assert np.abs(binary["time"].values - text["time"].values).max() <= np.timedelta64(1, "us")
    assert binary.attrs["technique"] == text.attrs["technique"]


@pytest.mark.data
def test_cycles_and_counter_of_a_long_record():
    """SOURCES: 46102 rows, 7 full cycles, capacity from counter = integral of current; galvani 0.5.0 for the rows."""
    ds = check(io.open(datasets.path("biologic_jdb"), timezone="Europe/London"))
    assert ds.sizes["record"] == 46102
    assert np.unique(ds["cycle"]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert ds["test_time"].values[[0, 10000, 46101]].tolist() == GALVANI["time/s"]
    np.testing.assert_array_equal(ds["voltage"].values[[0, 10000, 46101]].astype("f4"), np.float32(GALVANI["Ewe/V"]))
    assert ds["half_cycle"].values[[0, 10000, 46101]].tolist() == GALVANI["half cycle"]
    assert str(ds["time"].values[0])[:19] == "2020-10-26T12:49:58"
    charge = np.cumsum(np.diff(ds["test_time"]) * ds["current"].values[1:]) / 3600
    np.testing.assert_allclose(ds["capacity"][1:] - ds["capacity"][0], charge, atol=1e-9)
    # C/24: the current is that of the programme, which the file holds beside it.
    steady = np.abs(ds["control"].values) > 0
    ratio = ds["current"].values[steady] * 1e3 / ds["control"].values[steady]
    assert np.median(ratio) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("version", [2, 3, 11])
def test_made_file_of_each_layout(tmp_path, version):
    rows = [(0b1000_0110, 0.0, 3.5), (0b0010_1011, 1.5, 3.25)]
    ds = check(io.open(write(tmp_path, mpr(rows, version=version)), timezone="Europe/Zurich"))
    assert ds["voltage"].values.tolist() == [3.5, 3.25]
    assert ds["mode"].values.tolist() == [2, 3]
    assert ds["test_time"].values.tolist() == [0, 1.5]
    assert str(ds["time"].values[1]) == "2024-01-10T10:02:31.386000000"
    assert ds.attrs["technique"] == "Open Circuit Voltage"
    assert "biologic_binary" not in ds.attrs["history"]
    assert "io.open" in ds.attrs["history"]


def test_all_flags_share_one_byte(tmp_path):
    numbers = (1, 2, 3, 21, 31, 65, 4, 6)
    ds = io.open(write(tmp_path, mpr([(0b1010_1101, 0.0, 3.0)], numbers)), timezone="UTC")
    told = {
        name: int(ds[name][0]) for name in ("mode", "ox_red", "error", "control_changes", "ns_changes", "counter_inc")
    }
    assert told == {"mode": 1, "ox_red": 1, "error": 1, "control_changes": 0, "ns_changes": 1, "counter_inc": 1}


def test_current_and_cycle_are_derived_as_in_the_export(tmp_path):
    rows = [(1, 0.0, 3.0, 0.0, 0), (1, 36.0, 3.1, 0.01, 1), (1, 72.0, 3.0, -0.02, 2), (1, 72.0, 3.0, -0.02, 3)]
    ds = check(io.open(write(tmp_path, mpr(rows, (1, 4, 6, 7, 468), "<BdfdI")), timezone="UTC"))
    np.testing.assert_allclose(ds["current"], [0, 1e-3, -2e-3, np.nan])
    assert ds["cycle"].values.tolist() == [0, 0, 1, 1]


def test_unknown_columns_are_kept_by_number_or_named(tmp_path):
    path = write(tmp_path, mpr([(1, 0.0, 3.0, 0.5), (1, 1.0, 3.1, 0.75)], (1, 4, 6, 900), "<Bdff"))
    with pytest.warns(UserWarning, match=r"meaning of the columns 900 is not known; .* columns=\{900: 'label/unit'\}"):
        ds = check(io.open(path, timezone="UTC"))
    assert ds["column_900"].values.tolist() == [0.5, 0.75]
    named = check(io.open(path, timezone="UTC", columns={900: "Analog IN 1/mV"}))
    assert named["analog_in_1"].values.tolist() == [0.5e-3, 0.75e-3]
    double = write(tmp_path, mpr([(1, 0.0, 3.0, 0.1)], (1, 4, 6, 900), "<Bdfd"))
    assert io.open(double, timezone="UTC", columns={900: "x"})["x_recorded"].values.tolist() == [0.1]


def test_columns_that_cannot_be_told_apart_are_refused(tmp_path):
    path = write(tmp_path, mpr([(1, 0.0, 3.0, 0.1, 0.2)], (1, 4, 6, 900, 901), "<Bdffd"))
    with pytest.raises(ReadError, match=r"do not add up to a record of 25 bytes \(of unknown width: 900, 901\)"):
        io.open(path, timezone="UTC")


def test_several_files_are_joined_by_their_clocks(tmp_path):
    first = write(tmp_path, mpr([(1, 0.0, 3.0), (1, 1.0, 3.1)]), "a.mpr")
    second = write(tmp_path, mpr([(1, 100.0, 3.2), (1, 101.0, 3.3)]), "b.mpr")
    ds = check(io.open([first, second], timezone="UTC"))
    assert ds["test_time"].values.tolist() == [0, 1, 100, 101]
    assert ds["file_number"].values.tolist() == [0, 0, 1, 1]


def test_clock(tmp_path):
    path = write(tmp_path, mpr([(1, 0.0, 3.0)]))
    with pytest.warns(UserWarning, match=r"cell7.mpr: its clock is local time .* timezone='Europe/Paris'"):
        assert io.open(path).attrs["clock"] == "local, zone not stated"
    given = io.open(path, start="2024-01-10T12:00")
    assert str(given["time"].values[0])[:16] == "2024-01-10T12:00"
    with pytest.raises(ReadError, match="start= belongs to one file"):
        io.open([path, write(tmp_path, mpr([(1, 5.0, 3.0)]), "b.mpr")], start="2024-01-10T12:00")
    running = write(tmp_path, mpr([(1, 0.0, 3.0)], log=False), "running.mpr")
    with pytest.warns(UserWarning, match="running.mpr: holds no whole 'VMP LOG'"):
        assert "time" not in io.open(running).coords


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"BIO-LOGIC MODULAR FILE\x1a" + b"\0" * 29, "holds no 'VMP data'"),
        (mpr([(1, 0.0, 3.0)], extra=b"\0"), "do not add up"),
        (mpr([]), "holds no record"),
        (mpr([(1, 0.0, 3.0)]).replace(b"MODULEVMP LOG", b"MODULAVMP LOG"), "starts no module"),
        (mpr([(1, 0.0, 3.0)], (4, 4, 6), "<ddf"), "names the column 4 twice"),
        (mpr([(1, 5.0, 3.0), (1, 4.0, 3.0)]), "the time falls from 5 s to 4 s at record 1"),
        (mpr([(1, 0.0, 3.0)]).replace(struct.pack("<IB", 1, 3), struct.pack("<IB", 2**32 - 1, 3)), "do not fill"),
    ],
)
def test_damage_is_named(tmp_path, raw, message):
    with pytest.raises(ReadError, match=f"cell7.mpr: .*({message})"):
        io.open(write(tmp_path, raw), timezone="UTC")


def test_unknown_hint_is_refused(tmp_path):
    with pytest.raises(TypeError, match="did you mean 'timezone'"):
        io.open(write(tmp_path, mpr([(1, 0.0, 3.0)])), timezon="UTC")
    assert not biologic_binary.recognise(tmp_path, b"BIO-LOGIC")


@pytest.mark.data
@pytest.mark.parametrize("stem", STEMS)
def test_truncated_at_every_kilobyte(tmp_path, stem):
    raw = (datasets.path("biologic_pairs") / f"{stem}.mpr").read_bytes()
    for size in range(1024, len(raw), 1024):
        with pytest.raises(ReadError, match=r"cell7\.mpr: "):
            io.open(write(tmp_path, raw[:size]), start="2024-01-10T12:00")


def test_noise_never_escapes(tmp_path):
    whole = mpr([(1, float(i), 3.0) for i in range(20)])
    rng = np.random.default_rng(7)
    for _ in range(200):
        raw = bytearray(whole)
        for place in rng.integers(48, len(raw), 3):
            raw[place] = rng.integers(256)
        try:
            ds = io.open(write(tmp_path, bytes(raw)), start="2024-01-10T12:00")
        except (ReadError, UserWarning):
            continue
        assert ds.sizes["record"] >= 1
