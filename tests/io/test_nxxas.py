"""Spectra in HDF5: the application definition NXxas, and the scans of BLISS."""

import json

import h5py
import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import links
from batlab.schema import check, quantity

E = np.linspace(8.3, 8.4, 11)  # keV
I0 = np.linspace(1000.0, 900.0, 11)
IT = np.linspace(500.0, 300.0, 11)


def write_nxxas(path, entry="entry", energy=E, units="keV", mode="Transmission", absorbed=IT, without=()):
    """Write what https://manual.nexusformat.org/classes/applications/NXxas.html asks for, not through batlab."""
    with h5py.File(path, "a") as file:
        root = file.create_group(entry)
        root.attrs["NX_class"] = "NXentry"
        root["definition"] = "NXxas"
        root["title"] = "nickel foil"
        root["start_time"] = "2024-05-01T12:00:00+02:00"
        for name, kind in (("instrument", "NXinstrument"), ("sample", "NXsample"), ("data", "NXdata")):
            root.create_group(name).attrs["NX_class"] = kind
        root["sample/name"] = "Ni"
        for name, kind, field, values in (
            ("monochromator", "NXmonochromator", "energy", energy),
            ("incoming_beam", "NXdetector", "data", I0),
            ("absorbed_beam", "NXdetector", "data", absorbed),
        ):
            group = root["instrument"].create_group(name)
            group.attrs["NX_class"] = kind
            group[field] = values
        if units:
            root["instrument/monochromator/energy"].attrs["units"] = units
        root["instrument/absorbed_beam/data"].attrs["units"] = "counts"
        root["data/energy"] = h5py.SoftLink(f"/{entry}/instrument/monochromator/energy")
        root["data/absorbed_beam"] = h5py.SoftLink(f"/{entry}/instrument/absorbed_beam/data")
        root["data/mode"] = mode
        for name in without:
            del root[name]
    return path


def test_nxxas(tmp_path):
    scan = check(io.open(write_nxxas(tmp_path / "a.nxs")))
    np.testing.assert_array_equal(scan.energy, np.round(E * 1000, 9))
    assert scan.energy.attrs["units"] == "eV"
    np.testing.assert_array_equal(scan.i0, I0)
    np.testing.assert_array_equal(scan.itrans, IT)
    assert scan.itrans.dims == ("energy",)
    assert scan.itrans.attrs["units"] == "count"
    assert str(scan.time.values) == "2024-05-01T10:00:00.000000000"
    assert (scan.attrs["mode"], scan.attrs["title"], scan.attrs["sample"]) == ("Transmission", "nickel foil", "Ni")


def test_other_modes_entries_and_a_falling_energy(tmp_path):
    path = write_nxxas(tmp_path / "a.nxs", energy=E[::-1], mode="fluorescence yield")
    assert check(io.open(path)).ifluor.values.tolist() == IT[::-1].tolist()
    write_nxxas(path, "other", energy=E[::-1], mode="Fluorescence Yield")
    assert check(io.open(path)).ifluor.shape == (2, 11)
    write_nxxas(path, "third", mode="Total Electron Yield")
    tree = check(io.open(path))
    assert list(tree.children) == ["entry", "other", "third"]
    assert "total_electron_yield" in tree["third"]
    assert "total_electron_yield" in io.open(path, path="/third")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": ""}, "the unit of the energy is not stated"),
        ({"units": "degree"}, "is in 'degree'; expected a unit that can be turned into eV"),
        ({"mode": "Reflection"}, "its mode is 'Reflection'; NXxas knows Transmission"),
        ({"energy": np.r_[E[:5], E[:6]]}, "its energy neither rises nor falls"),
        ({"energy": np.r_[E[:5], np.nan, E[6:]]}, "its energy neither rises nor falls"),
        ({"absorbed": IT[:7]}, r"has the shape \(7,\), its energy 11 points"),
        ({"absorbed": "many"}, "a spectrum was expected"),
        ({"without": ["data/mode"]}, "has no 'mode'"),
        ({"without": ["data/energy", "instrument/monochromator"]}, "has no 'energy'"),
        ({"without": ["instrument/incoming_beam"]}, "has no 'incoming_beam'"),
    ],
)
def test_what_the_definition_asks_for(tmp_path, options, message):
    if isinstance(options.get("absorbed"), str):
        path = write_nxxas(tmp_path / "a.nxs", without=["data/absorbed_beam", "instrument/absorbed_beam/data"])
        with h5py.File(path, "a") as file:
            file["entry/instrument/absorbed_beam/data"] = "many"
    else:
        path = write_nxxas(tmp_path / "a.nxs", **options)
    with pytest.raises(ReadError, match=f"({message})"):
        io.open(path)


def scan_of(lead=()):
    dims = (*lead, "energy")
    shape = (3, 11) if lead else (11,)
    return xr.Dataset(
        {
            "i0": quantity(dims, np.broadcast_to(I0, shape).copy(), "count", "incident"),
            "itrans": quantity(dims, np.broadcast_to(IT, shape).copy(), "count", "transmitted"),
            "ifluor": quantity(dims, np.broadcast_to(IT / 7, shape).copy(), "count", "fluorescence"),
        },
        {
            "energy": quantity("energy", E * 1000, "eV", "energy"),
            **({"frame": quantity("frame", np.arange(3), "1", "frame")} if lead else {}),
            "time": quantity(lead, np.full(shape[:-1], "2024-05-01T10:00", "M8[ns]"), "", "time"),
        },
        {"sample": "Ni", "edge": "K"},
    )


@pytest.mark.parametrize("lead", [(), ("frame",)])
def test_saved_spectra_are_nxxas_too(tmp_path, lead):
    scan = scan_of(lead)
    path = io.save(scan, tmp_path / "a.h5")
    assert io.open(path).identical(scan)  # nothing is lost
    with h5py.File(path) as file:
        entry = file["xas_transmission"]
        assert entry["definition"][()] == b"NXxas"
        assert entry["data/mode"][()] == b"Transmission"
        assert entry["start_time"][()] == b"2024-05-01T10:00:00.000Z"
        for place, values in (
            ("instrument/monochromator/energy", E * 1000),
            ("instrument/incoming_beam/data", scan.i0),
            ("instrument/absorbed_beam/data", scan.itrans),
            ("data/energy", E * 1000),
            ("data/absorbed_beam", scan.itrans),
            ("monitor/data", scan.i0),
        ):
            np.testing.assert_array_equal(entry[place], values)
        assert entry["data"].attrs["signal"] == "absorbed_beam"
        assert file["xas_fluorescence/data/mode"][()] == b"Fluorescence Yield"
    # And another program's way in, by the definition alone.
    again = check(io.open(path, path="/xas_transmission"))
    xr.testing.assert_equal(
        again[["i0", "itrans"]].drop_vars("time", errors="ignore"), scan[["i0", "itrans"]].drop_vars("time")
    )


def test_spectra_in_a_tree_have_an_entry_each(tmp_path):
    tree = xr.DataTree.from_dict({"a": scan_of(), "b": scan_of()[["i0", "ifluor"]]})
    path = io.save(tree, tmp_path / "t.h5")
    assert io.open(path).identical(tree)
    with h5py.File(path) as file:
        entries = sorted(name for name in file if "definition" in file[name])
    assert entries == ["a_fluorescence", "a_transmission", "b_fluorescence"]


def write_bliss(path, scans):
    """Write scans as BLISS does: number.part -> (title, {name: (values, unit)}, axis)."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"NX_class": "NXroot", "creator": "Bliss"})
        for name, (title, arrays, axis) in scans.items():
            entry = file.create_group(name)
            entry.attrs["NX_class"] = "NXentry"
            entry["title"], entry["start_time"] = title, "2021-02-28T23:16:27.801431+01:00"
            entry["sample/name"] = "Ni"
            entry.create_group("measurement").attrs["NX_class"] = "NXcollection"
            entry["instrument/positioners/sx"] = 1.5
            for key, (values, unit) in arrays.items():
                place = f"/{name}/instrument/{key}/data"
                file[place] = values
                if unit:
                    file[place].attrs["units"] = unit
                entry[f"measurement/{key}"] = h5py.SoftLink(place)
            if axis:
                entry.create_group("plotselect").attrs.update({"NX_class": "NXdata", "axes": [axis], "signal": "I0"})
    return path


ENERGY_SCAN = ("ascan energy 8.3 8.4 10 1", {"energy": (E, "keV"), "I0": (I0, ""), "sec": (np.ones(11), "s")}, "energy")


def test_bliss_scans(tmp_path):
    motor = ("ascan sx 0 1 10 1", {"sx": (np.arange(11.0), "mm"), "I0": (I0, "")}, "")
    path = write_bliss(tmp_path / "b.h5", {"1.1": ENERGY_SCAN, "2.1": motor, "10.1": ENERGY_SCAN})
    tree = check(io.open(path))
    assert list(tree.children) == ["1.1", "2.1", "10.1"]
    scan = check(io.open(path, scan=1))
    np.testing.assert_array_equal(scan.energy, np.round(E * 1000, 9))
    assert scan.i0.dims == ("energy",)
    assert scan.count_time.attrs["units"] == "s"
    assert str(scan.time.values) == "2021-02-28T22:16:27.801431000"
    assert scan.attrs["sample"] == "Ni"
    assert scan.attrs["command"].startswith("ascan energy")
    assert json.loads(scan.attrs["positioners"]) == {"sx": 1.5}
    moved = io.open(path, scan="2.1")
    assert moved.sx.dims == ("frame",)
    assert moved.sx.attrs["units"] == "mm"
    assert check(io.open(path, scan=[1, 10])).i0.shape == (2, 11)
    with pytest.raises(ReadError, match=r"b\.h5: has no scan '3'; it has 1\.1, 2\.1, 10\.1|did you mean"):
        io.open(path, scan=3)
    with pytest.raises(ReadError, match="2 files of spectra at once"):
        io.open([path, path])


def test_bliss_scans_that_went_wrong(tmp_path):
    short = ("ascan energy", {"energy": (E, "keV"), "I0": (I0[:7], ""), "I1": (I0[:0], "")}, "energy")
    empty = ("ascan energy", {"energy": (E[:0], "keV"), "I0": (I0[:0], "")}, "energy")
    path = write_bliss(tmp_path / "b.h5", {"1.1": short, "2.1": empty})
    with pytest.warns(UserWarning, match=r"scan 1\.1: its counters have 7 to 11 points; all are cut to 7"):
        scan = check(io.open(path, scan=1))
    assert scan.sizes["energy"] == 7
    assert scan.attrs["left_out"] == "I1"
    with pytest.raises(ReadError, match=r"scan 2\.1 holds no points"):
        io.open(path, scan=2)
    turning = ("ascan energy", {"energy": (np.r_[E[:6], E[:5]], "keV"), "I0": (I0, "")}, "energy")
    with pytest.warns(UserWarning, match="stands or turns back"):
        assert check(io.open(write_bliss(path, {"1.1": turning}))).energy.dims == ("frame",)
    unitless = ("ascan energy", {"energy": (E, ""), "I0": (I0, "")}, "energy")
    write_bliss(path, {"1.1": unitless})
    with pytest.raises(ReadError, match="pass energy_unit='eV' or energy_unit='keV'"):
        io.open(path)
    assert float(io.open(path, energy_unit="keV").energy[0]) == 8300


def test_a_file_of_many_scans_is_read_scan_by_scan(tmp_path, monkeypatch):
    # Some hundred scans of 1200 names each exceed what one survey visits; here 12 of some 12, and a limit of 40.
    path = write_bliss(tmp_path / "b.h5", {f"{n}.1": ENERGY_SCAN for n in range(1, 13)})
    with h5py.File(path, "a") as file:
        file["3.1/instrument/positioners_start/sx"], file["3.1/instrument/positioners_dial_start/sx"] = 2.5, 9.0
        file["4.1/measurement/elsewhere"] = h5py.ExternalLink("../beside.h5", "/data")
    monkeypatch.setattr("batlab.io.links.LIMIT", 40)
    seen = []
    enter = links._enter
    monkeypatch.setattr(links, "_enter", lambda *args: seen.append(args[4]) or enter(*args))
    scan = check(io.open(path, scan=3))
    assert scan.i0.dims == ("energy",)
    assert json.loads(scan.attrs["positioners"]) == {"sx": 2.5}
    assert {name.split("/")[1] for name in seen} == {"3.1"}
    assert not any("dial" in name or name.endswith("I0/data") for name in seen)
    tree = check(io.open(path))
    assert list(tree.children) == [f"{n}.1" for n in range(1, 13)]
    assert json.loads(tree["4.1"].attrs["positioners"]) == {"sx": 1.5}
    assert "elsewhere" not in tree["4.1"]
    with h5py.File(path, "a") as file:
        file["5.1/instrument/pilatus/data"] = np.ones((2, 6, 7), "i4")
    assert io.open(path, path="/5.1/instrument/pilatus/data").sizes == {"frame": 2, "y": 6, "x": 7}
    with h5py.File(path, "a") as file:
        file["6.1/measurement/pilatus"] = np.ones((2, 6, 7), "i4")
    with pytest.raises(ReadError, match=r"more than 40 groups and arrays.*scan=.*path="):
        io.open(path)


def test_an_entry_that_is_no_scan(tmp_path):
    path = write_bliss(tmp_path / "b.h5", {"1.1": ENERGY_SCAN})
    with h5py.File(path, "a") as file:
        file.create_group("2.1/measurement")
    with pytest.raises(ReadError, match=r"2\.1 is no scan, it lacks 'measurement' or 'instrument'"):
        io.open(path, scan=2)
    assert check(io.open(path)).i0.dims == ("energy",)


def test_spectra_of_many_channels(tmp_path):
    scan = ("ascan energy", {"energy": (E, "keV"), "mca": (np.arange(44).reshape(11, 4), "")}, "energy")
    one = check(io.open(write_bliss(tmp_path / "b.h5", {"1.1": scan})))
    assert one.mca.dims == ("energy", "channel")


def test_bliss_files_with_images_are_frames_as_before(tmp_path):
    images = ("loopscan", {"pilatus": (np.ones((11, 4, 5), "i4"), ""), "I0": (I0, "")}, "")
    path = write_bliss(tmp_path / "b.h5", {"1.1": images})
    assert io.open(path, path="/1.1/instrument/pilatus/data").sizes == {"frame": 11, "y": 4, "x": 5}
    assert io.open(path, scan=1).attrs["left_out"] == "pilatus"


def test_scan_of_another_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.zeros(5)
    with pytest.raises(ReadError, match=r"a\.h5: holds no scans named '1\.1'"):
        io.open(tmp_path / "a.h5", scan=1)


@pytest.mark.data
def test_emission_of_chromium():
    path = datasets.path("cr2o3_xes") / "Cr2O3_new_0003.h5"
    tree = check(io.open(path))
    assert list(tree.children) == ["1.1", "2.1", "3.1", "4.1", "5.1", "6.1"]
    assert tree["1.1"].sizes == {"frame": 41}
    ranges = [tree[name].to_dataset() for name in ("4.1", "5.1", "6.1")]
    # "ascan xes_en 5.92 5.952 106 2.0": 107 points from 5920 to 5952 eV, 2 s each.
    assert [part.sizes["energy"] for part in ranges] == [107, 11, 150]
    np.testing.assert_allclose(ranges[0].energy[[0, -1]], [5920, 5952], atol=0.01)
    np.testing.assert_allclose(ranges[0].count_time, 2, rtol=1e-6)
    assert ranges[0].energy.attrs["long_name"] == "emission energy (xes_en)"
    # K-beta 1,3 on this scale at 5947.5 eV (SOURCES-spectroscopy: 5946.8 eV tabulated).
    rate = ranges[0].det_dtc_apd / ranges[0].count_time / ranges[0].i02
    assert float(ranges[0].energy[int(np.argmax(rate.values))]) == pytest.approx(5947.5, abs=0.5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_flipped_bytes_give_data_or_a_read_error(tmp_path):
    write_nxxas(tmp_path / "n.h5")
    write_bliss(tmp_path / "b.h5", {"1.1": ENERGY_SCAN})
    rng = np.random.default_rng(4)
    for name in ("n.h5", "b.h5"):
        raw = (tmp_path / name).read_bytes()
        for place in rng.integers(0, len(raw), 25):
            damaged = bytearray(raw)
            damaged[place] ^= 0xFF
            (tmp_path / "x.h5").write_bytes(damaged)
            opened(tmp_path / "x.h5")
        for size in rng.integers(8, len(raw), 5):
            (tmp_path / "x.h5").write_bytes(raw[:size])
            opened(tmp_path / "x.h5")


def opened(path):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(io.open(path))
    except ReadError as error:
        message = str(error)
    assert "x.h5" in message or message.startswith("/")
    return None
