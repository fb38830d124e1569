"""Absorption scans as beamlines write them: columns by name or by hint, series, hostile text."""

import gzip
import time
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab import datasets, io, xas
from batlab.errors import ReadError, SchemaError
from batlab.io import columns, spectra
from batlab.io.spectra_labels import moment
from batlab.schema import check

PLAIN = "# energy i0 itrans\n"


def written(folder, text, name="a.dat"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told_or_read(path):
    """Return whether the file is read by the rules, or refused by an error that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(io.open(path))
    except ReadError as error:
        return path.name in str(error)
    return True


# Labels, rows and numbers as they stand in the files: points, then variable -> column from 0.
DIALECTS = [
    ("APS13ID_2008.dat", 469, {"i0": 2, "itrans": 3}, 0),
    ("APS20BM_2001.dat", 412, {"i0": 2, "itrans": 3, "ifluor": 4}, 0),
    ("APS20ID_2018.dat", 379, {"i0": 5, "itrans": 6, "xmap4_aska_sum": 8, "preslit": 3}, 0),
    ("APS9BM_2019.dat", 442, {"i0": 4, "itrans": 5, "irefer": 6, "ifluor": 7}, 0),
    ("ESRF_BM08_LISA_2021.dat", 198, {"i0": 1, "itrans": 2, "mu": 3, "irefer": 5, "murefer": 6}, 0),
    ("NSLS_XDAC_2011.dat", 422, {"i0": 1, "itrans": 2, "irefer": 15, "ifluor": [3, 4, 5, 6]}, 0),
    ("NSLS6BM_2019.dat", 352, {"i0": 4, "itrans": 5, "irefer": 6, "mu": 3, "ifluor": [7, 8, 9, 10]}, 0),
    ("SSRL1_2006.dat", 455, {"i0": 3, "itrans": 4, "i2": 5}, 2),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "points", "where", "axis"), DIALECTS)
def test_beamlines_name_their_columns(name, points, where, axis):
    file = datasets.path("xas_beamlines") / name
    ds = check(io.open(file))
    lines = file.read_text(encoding="utf-8").split("\n")
    rows = [line.split() for line in lines if line[:1].isspace() or line[:1].isdigit()]
    plain = np.array([row for row in rows if len(row) > 3][-points:], float)
    assert ds.sizes["energy"] == points
    np.testing.assert_array_equal(ds["energy"], plain[:, axis])
    for variable, column in where.items():
        np.testing.assert_array_equal(ds[variable], plain[:, column].T, err_msg=variable)
    assert ds["energy"].attrs["units"] == "eV"
    assert len(ds.attrs["header"]) > 30


@pytest.mark.data
def test_starts_and_exposures_of_the_dialects():
    folder = datasets.path("xas_beamlines")
    told = {
        "APS13ID_2008.dat": ("2008-04-10T16:50:32", 593.0),
        "APS9BM_2019.dat": ("2019-07-09T13:00:29", 596.0),
        "NSLS_XDAC_2011.dat": ("2011-06-27T14:22:40", None),
        "SSRL1_2006.dat": ("2006-05-21T00:13:57", None),
        "NSLS6BM_2019.dat": ("2019-03-21T08:45:01", 955.0),
    }
    for name, (start, exposure) in told.items():
        ds = io.open(folder / name)
        assert str(ds["time"].values)[:19] == start, name
        assert ds.attrs["clock"].startswith("local time")
        assert (float(ds["exposure"]) if exposure else ds.coords.get("exposure")) == exposure
    with pytest.warns(UserWarning, match="2 of its 3464 points repeat an energy"):
        ds = check(io.open(folder / "APS10BM_2019.dat"))
    assert str(ds["time"].values)[:19] == "2019-07-09T20:35:15"  # 15:35:15 CDT
    assert ds["i0"].values[0] == pytest.approx((62850 + 62770 + 62680) / 3)
    assert ds["itrans"].values[1] == 54400


@pytest.mark.data
def test_angles_of_the_photon_factory_become_energies():
    file = datasets.path("xas_beamlines") / "PFBL12C_2005.dat"
    ds = check(io.open(file))
    assert ds.sizes["energy"] == 818
    assert ds.attrs["mono_d_spacing"] == 3.13551
    # The header's first block starts at 12049 eV; Hg L3 lies at 12284 eV.
    assert ds["energy"].values[0] == pytest.approx(12049, abs=0.3)
    assert ds["i0"].values[0] == 252916
    assert ds["itrans"].values[0] == 592687
    mu = np.log(ds["i0"] / ds["itrans"]).sel(energy=slice(12270, 12310))
    edge = float(mu["energy"][int(np.argmax(mu.differentiate("energy").values))])
    assert edge == pytest.approx(12285, abs=4)
    commanded = io.open(file, columns={"angle": "Angle(c)"})
    # 13260 eV is where the header ends the last block; the observed angle had not come so far.
    assert commanded["energy"].values[-1] == pytest.approx(13260, abs=1)


@pytest.mark.data
def test_what_cannot_be_told_is_asked_for_with_the_columns():
    folder = datasets.path("xas_beamlines")
    with pytest.raises(ReadError, match=r"CLSHXMA.dat: no column's name says .*columns found: 1 'Event-ID'.*Detector1"):
        io.open(folder / "CLSHXMA.dat")
    ds = check(io.open(folder / "CLSHXMA.dat", columns={"i0": 6, "itrans": "$(Detector3)"}))
    assert ds.attrs["energy_column"] == "$(EnergyAchieved)"
    assert (ds["i0"].values[0], ds["itrans"].values[0]) == (180725, 297589)
    bare = folder / "generic_columns_no_header.dat"
    with pytest.raises(ReadError, match=r"nothing in the file says .* columns=\{'energy': 1"):
        io.open(bare)
    ds = check(io.open(bare, columns={"energy": 1, "i0": 2, "itrans": 3}))
    lisa = io.open(folder / "ESRF_BM08_LISA_2021.dat")
    for name in ("i0", "itrans"):
        np.testing.assert_array_equal(ds[name], lisa[name])
    with pytest.raises(ReadError, match=r"no column's name says which is the energy; .*columns found: 1 'column 1'"):
        io.open(bare, columns={"i0": 2})
    with pytest.raises(ReadError, match=r"'i0' is 9, which is not one of its columns; columns found: 1 'column 1'"):
        io.open(bare, columns={"energy": 1, "i0": 9})
    with pytest.raises(ValueError, match="did you mean 'itrans'"):
        io.open(bare, columns={"energy": 1, "itran": 2})
    with pytest.raises(ValueError, match="names a column twice"):
        io.open(bare, columns={"energy": 1, "i0": 2, "itrans": 2})
    with pytest.raises(TypeError, match="columns must be a dict"):
        io.open(bare, columns=["energy"])


@pytest.mark.data
def test_plain_columns_of_older_programs():
    folder = datasets.path("xas_columns")
    copper = check(io.open(folder / "cu_10k.xmu"))
    assert (copper.attrs["element"], copper.attrs["edge"], copper.attrs["sample"]) == ("Cu", "K", "Cu foil 10K")
    assert copper["mu"].values[[0, -1]] == pytest.approx([1.013661, 1.344309])
    assert set(check(io.open(folder / "mn_cpmnco3.dat")).data_vars) == {"mutrans"}
    assert set(check(io.open(folder / "fe2o3_rt1.xmu")).data_vars) == {"mu", "i0"}
    chi = check(io.open(folder / "cu_chi.dat"))
    assert chi["chi"].dims == ("k",)
    assert chi["k"].values[[0, -1]] == pytest.approx([0.05, 24.95])
    assert set(check(io.open(folder / "feo_exafs_pnccat2001.dat")).data_vars) >= {"i0", "itrans", "ifluor"}
    soft = datasets.path("fe_l_edge") / "Fe-1_20161207215237.txt"
    iron = check(io.open(soft, columns={"energy": 1, "i0": 2}))
    assert iron["energy"].values[[0, -1]] == pytest.approx([690.088943, 750.019862])


@pytest.mark.data
def test_ascii_of_an_epics_scan_and_of_cls_events():
    ds = check(io.open(datasets.path("nexafs_sxr") / "sxr129598.asc", timezone="Australia/Melbourne"))
    assert ds["energy"].values[[0, -1]].tolist() == [510.0, 580.0]
    assert ds.attrs["energy_column"] == "Mono setpoint"
    assert ds["i0"].values[0] == 3.2372971e-10
    assert ds["i0"].attrs["units"] == "A"
    assert str(ds["time"].values)[:19] == "2024-03-13T16:00:55"
    for name in ("ORP5.000", "ZT20.000"):
        ds = check(io.open(datasets.path("xas_distorted") / "deglitch" / name))
        assert ds.sizes["energy"] == 586
    assert (ds["i0"].values[0], ds["itrans"].values[0]) == (516140, 235068)
    four = check(io.open(datasets.path("xas_distorted") / "multichannel" / "re4chan.000"))
    assert four["i0"].values[:, 0].tolist() == [13720.5, 14600.25, 8839.0, 13071.0]
    assert four["itrans"].values[:, 0].tolist() == [2864.0, 5182.5, 5645.25, 3671.75]
    # mu of the four samples rises over the Re L3 edge at 10535 eV.
    mu = np.log(four["i0"] / four["itrans"])
    low, high = mu.sel(energy=slice(10450, 10520)).mean("energy"), mu.sel(energy=slice(10560, 10600)).mean("energy")
    assert (high - low > 0.1).all()


@pytest.mark.data
def test_gzip_repeats_are_one_series_when_their_points_agree():
    files = datasets.path("cr2o3_repeats")
    with pytest.raises(ReadError, match=r"Cr2O3.006.gz: .*\(548 points.* pass grid='first' .*curves.regrid"):
        io.open(files / "*.gz", timezone="America/New_York")
    with pytest.warns(UserWarning, match="clock is local time without a zone"):
        whole = check(io.open(files / "Cr2O3.00[0-5].gz"))
    assert whole["ifluor"].dims == ("frame", "channel", "energy")
    assert whole["ifluor"].shape == (6, 4, 870)
    ds = check(io.open(files / "*.gz", timezone="America/New_York", grid="first"))
    assert ds.sizes["frame"] == 15
    assert ds.attrs["grid"].startswith("1 of 15 scans interpolated linearly onto Cr2O3.000.gz")
    assert "grid='first'" in ds.attrs["history"]
    np.testing.assert_array_equal(ds["i0"][:6], whole["i0"])
    short = ds["i0"].sel(frame=6)
    assert np.isnan(short.sel(energy=slice(6010, None))).all()
    assert np.isfinite(short.sel(energy=slice(None, 6007))).all()


@pytest.mark.data
def test_rock_series():
    files = datasets.path("lno_rock") / "XAS_normalized"
    start = time.perf_counter()
    ds = check(io.open(files / "*.txt", timezone="Europe/Paris"))
    assert time.perf_counter() - start < 60
    assert ds["mu"].dims == ("frame", "energy")
    assert ds["mu"].shape == (115, 1649)
    assert ds["energy"].values[[0, -1]].tolist() == [8060.0, 9500.0]
    assert ds.attrs["is_normalized"] == 1
    for name in ("mu_reference", "i0", "ref_derivative"):
        assert ds[name].dims == ("frame", "energy")
    # "Time at start=2022-07-26 23:01:58.055", offset 65.0039 s to the middle: the local clock of the cycler's file.
    assert str(ds["time"].values[0])[:23] == "2022-07-26T21:01:58.055"
    assert str(ds["time"].values[-1])[:23] == "2022-07-28T20:58:50.351"
    assert float(ds["exposure"][0]) == pytest.approx(2 * 65.003889607)
    assert float(ds["energy_shift"][0]) == 0.0362246628606
    assert float(ds["edge_jump"][0]) == 0.79921036121
    assert "temperature" not in ds  # every file says nan
    # Normalized to a unit step; the pristine edge rises through one half near 8344.8 eV.
    first = ds["mu"][0]
    assert float(first.sel(energy=slice(8120, 8290)).mean()) == pytest.approx(0, abs=0.01)
    assert float(first.sel(energy=slice(9000, 9500)).mean()) == pytest.approx(1, abs=0.01)
    region = first.sel(energy=slice(8335, 8352))
    assert float(np.interp(0.5, region, region["energy"])) == pytest.approx(8344.8, abs=0.3)
    one = check(io.open(sorted(files.glob("*.txt"))[0]))
    assert one["mu"].dims == ("energy",)
    assert one["time"].ndim == 0


def test_frames_follow_their_clocks_not_their_names(tmp_path):
    head = 'XDAC V1.4 Datafile V1\n"x" created on 6/27/11 at {} PM on X-23A2\n----\n Energy I0 It\n'
    for name, clock in (("a.1", "5:00:00"), ("a.2", "3:00:00"), ("a.3", "4:00:00")):
        written(tmp_path, head.format(clock) + "7000 5 4\n7001 6 4\n", name)
    ds = check(io.open(tmp_path / "a.*", timezone="UTC"))
    assert ds["file"].values.tolist() == ["a.2", "a.3", "a.1"]


def test_scans_may_keep_grids_of_their_own(tmp_path):
    alone = []
    for name, energy in (("a.1", np.arange(8200.0, 8700, 2.0)), ("a.2", np.arange(8203.0, 8690, 1.5))):
        mu = 0.2 + 1.1 * (0.5 + np.arctan((energy - 8333) / 2) / np.pi)
        rows = "".join(f"{e} 1000000.0 {1e6 * np.exp(-m)}\n" for e, m in zip(energy, mu))
        alone.append(xas.normalize(xas.mu(io.open(written(tmp_path, PLAIN + rows, name)), counting=False)))
    series = check(io.open(tmp_path / "a.*", grid="own"))
    assert "energy" not in series.coords
    assert series["energy_measured"].dims == ("frame", "energy")
    windows = {"pre": (-120, -50), "post": (60, 340), "nnorm": 1}
    done = check(xas.normalize(xas.mu(series, counting=False), **windows))  # no word of the points behind the last
    for row, scan in enumerate(alone):
        n = scan.sizes["energy"]
        np.testing.assert_array_equal(series["energy_measured"][row, :n], scan["energy"])
        assert np.isnan(done["mu_norm"][row, n:]).all()
        np.testing.assert_allclose(done["mu_norm"][row, :n], xas.normalize(scan, **windows)["mu_norm"], atol=1e-9)
    # Steps that need one grid say so; equal grids are an ordinary series.
    with pytest.raises(SchemaError, match=r"one energy grid .*xas\.rebin"):
        xas.mback(xas.mu(series, counting=False), element="Ni")
    written(tmp_path, (tmp_path / "a.1").read_text(), "a.2")
    assert check(io.open(tmp_path / "a.*", grid="own")).energy.dims == ("energy",)


def test_series_of_unlike_scans_are_refused(tmp_path):
    written(tmp_path, PLAIN + "7000 5 4\n7001 6 4\n7002 6 5\n", "a.1")
    written(tmp_path, PLAIN + "7000 5 4\n7001.5 6 4\n7002 6 5\n", "a.2")
    with pytest.raises(ReadError, match=r"a.2: its energy points .*up to 0.5 apart\); pass grid='first'"):
        io.open(tmp_path / "a.*")
    ds = check(io.open(tmp_path / "a.*", grid="first"))
    np.testing.assert_allclose(ds["i0"][1], [5, 5 + 2 / 3, 6])
    written(tmp_path, "# energy i0 ifluor\n7000 5 4\n7001 6 4\n7002 6 5\n", "a.2")
    with pytest.raises(ReadError, match=r"a.2: its columns differ from those of a.1 in ifluor, itrans"):
        io.open(tmp_path / "a.*")
    with pytest.raises(ValueError, match="grid must be None, 'first' or 'own'"):
        io.open(tmp_path / "a.*", grid="frist")
    with pytest.raises(TypeError, match="did you mean 'columns'"):
        io.open(tmp_path / "a.1", column={"energy": 1})


def test_units_that_are_not_stated_are_not_guessed(tmp_path):
    keV = written(tmp_path, PLAIN + "8.95 5 4\n8.96 6 4\n")
    with pytest.raises(ReadError, match=r"the unit of the energy is not stated \(8.95 to 8.96\); pass energy_unit="):
        io.open(keV)
    assert io.open(keV, energy_unit="keV")["energy"].values.tolist() == [8950.0, 8960.0]
    soft = written(tmp_path, PLAIN + "99.5 5 4\n100.5 6 4\n")
    assert io.open(soft, energy_unit="eV")["energy"].values.tolist() == [99.5, 100.5]


def test_two_energies_or_none_are_asked_for(tmp_path):
    two = written(tmp_path, "# energy i0 energy\n7000 5 7000\n7001 6 7001\n")
    with pytest.raises(
        ReadError, match=r"2 columns could be the energy; pass columns=\{'energy': …\}; columns found: 1"
    ):
        io.open(two)
    assert "column_energy" in check(io.open(two, columns={"energy": 1}))
    same = check(io.open(written(tmp_path, "# energy i0 i0 mass\n7000 5 6 1\n7001 6 7 1\n"), columns={"i0": 3}))
    assert same["i0"].values.tolist() == [6, 7]
    assert {"column_i0", "column_mass"} <= set(same.data_vars)


def test_gzip_that_is_cut_or_bursts(tmp_path, monkeypatch):
    text = PLAIN + "".join(f"{7000 + i} {i * 7919 % 1000} 4\n" for i in range(2000))
    packed = gzip.compress(text.encode())
    cut = tmp_path / "cut.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ReadError, match=r"cut.gz: its gzip stream is damaged or cut"):
        io.open(cut)
    bent = bytearray(packed)
    bent[len(packed) // 2] ^= 0xFF
    cut.write_bytes(bytes(bent))
    with pytest.raises(ReadError, match=r"cut.gz"):
        io.open(cut)
    monkeypatch.setattr("batlab.io.spectra_scan.SIZE_LIMIT", 4 * 2**20)
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(text.encode() + b"7000 1 2\n" * 2**18))
    with pytest.raises(ReadError, match=r"bomb.gz: unpacks to more than 1 MiB"):
        io.open(bomb)


def test_truncated_headers_and_long_lines(tmp_path):
    with pytest.raises(ReadError, match=r"a.dat: line 2 has 2 columns, the header names 3; the file may be truncated"):
        io.open(written(tmp_path, PLAIN + "7000 5\n7001 6\n"))
    with pytest.raises(ReadError, match=r"a.dat: holds 2 tables of numbers, from lines 2 and 5; split the file"):
        io.open(written(tmp_path, PLAIN + "7000 5 4\n7001 6 4\n#\n7000 5 3\n7001 6 4\n"))
    start = time.perf_counter()
    for line in ("#" + "energy i0 " * 40_000, "# " + "e" * 400_000, PLAIN + "7000 " * 80_000):
        with pytest.raises(ReadError, match=r"long.dat"):
            io.open(written(tmp_path, f"{PLAIN}{line}\n7000 5 4\n7001 6 4\n{line}\n", "long.dat"))
    assert time.perf_counter() - start < 60


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"XDAC V1.4\n", b"# 1-D Scan File created\n", b"## mda2ascii\n",
    b"SSRL   EXAFS Data Collector\n", b"  9809  KEK-PF\n", b"#CLS Data Acquisition\n", b"# extranormal\n",
    b"; Epics Scan\n", b"# XDI/1.0\n", b"# energy i0\n", b":run from pixel 0 to 3\n", b", 0, 1\n 1, 2, 3\n"]),
    st.sampled_from([b"", b"\n7000 5 4\n7001 6 4\n7002 7 5\n"]))  # fmt: skip
def test_any_text_is_read_or_refused(tmp_path_factory, middle, first, last):
    path = tmp_path_factory.mktemp("any") / "any.dat"
    path.write_bytes(first + middle + last)
    assert told_or_read(path)


def test_recognition_is_choosy(tmp_path):
    mine = [b"# energy i0 itrans\n7000 5 4\n", b"# k chi\n0.05 0.1\n", b"SSRL   EXAFS Data Collector 1.3\n"]
    others = [
        b"# 2th_deg I\n10 5\n", b"# q_A^-1 intensity\n1 2\n", b"# energy_eV intensity\n7000 5\n", b"1 2 3\n4 5 6\n",
        b"time,voltage,current\n1,2,3\n", b"# r g(r)\n1 2\n", b"\x1f\x8bnonsense", b"", b"# E i\n3.9 0.1\n",
    ]  # fmt: skip
    assert all(spectra.recognise(tmp_path, head) for head in mine)
    assert not any(spectra.recognise(tmp_path, head) for head in others)
    assert io.READERS.index("spectra") < io.READERS.index("columns")
    assert columns.recognise(tmp_path, mine[0])  # which is why spectra are asked first


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("Sun May 21 00:13:57 2006", "2006-05-21T00:13:57"),
        ("8/10/01  11:10 AM", "2001-08-10T11:10:00"),
        ("12/31/1999 12:05:00 AM", "1999-12-31T00:05:00"),
        ("6/15/2018  8:14:19 PM", "2018-06-15T20:14:19"),
        ("Mar 14, 2024 03:00:55.941426", "2024-03-14T03:00:55.941426"),
        ("Foo 12 10:00:00 2001", ""),
        ("no time", ""),
    ],
)
def test_moments(text, iso):
    assert moment(text) == iso


@pytest.mark.data
def test_series_keep_the_order_of_their_names_without_clocks(tmp_path):
    for i in (1, 2, 10):
        written(tmp_path, PLAIN + f"7000 {i} 4\n7001 6 4\n", f"{i}.dat")
    ds = check(io.open(tmp_path / "*.dat"))
    assert "time" not in ds.coords
    assert all(a < b for a, b in pairwise(ds["i0"][:, 0].values))
