"""Scattering paths of FEFF: the tables at hand, a file of FEFF 8, and files that lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import feff
from batlab.schema import check

# File -> reff, degeneracy, legs, atoms: read off the files by eye.
KNOWN = {
    "Cu/feffcu01.dat": (2.5478, 12, 2, "Cu Cu"),
    "Cu/feff0002.dat": (3.6032, 6, 2, "Cu Cu"),
    "Cu/feff0003.dat": (3.8218, 48, 3, "Cu Cu Cu"),
    "Cu/feff0011.dat": (5.0957, 12, 4, "Cu Cu Cu Cu"),
    "FeO/feff_feo01.dat": (2.1387, 6, 2, "Fe O"),
    "FeO/feff_feo04.dat": (3.6510, 48, 3, "Fe Fe O"),
    "ZnSe/feff_znse.dat": (2.4541, 4, 2, "Zn Se"),
}

# Head and some lines of a path of NiO that FEFF 8.5L wrote (run by us through xraylarch 2026.3.1).
FEFF8 = """ NiO test                                       Feff8L (EXAFS)       0.1
 POT  Non-SCF, core-hole, AFOLP (folp(0)= 1.150)
 Abs   Z=28 Rmt= 1.320 Rnm= 1.381 K  shell
 Pot 1 Z=28 Rmt= 1.352 Rnm= 1.421
 Pot 2 Z= 8 Rmt= 1.019 Rnm= 1.070
 Gam_ch=1.576E+00 H-L exch
 Mu=-3.300E+00 kf=2.188E+00 Vint=-2.155E+01 Rs_int= 1.657
 PATH  Rmax= 4.500,  Keep_limit= 0.00, Heap_limit 0.00  Pwcrit= 2.50%
 Path    1      icalc       2
 -----------------------------------------------------------------------
   2   6.000   2.0890    2.2853   -3.30040 nleg, deg, reff, rnrmav(bohr), edge
        x         y         z   pot at#
    -0.0000   -0.0000   -0.0000  0  28 Ni       absorbing atom
    -0.0000   -0.0000    2.0890  2   8 O
    k   real[2*phc]   mag[feff]  phase[feff] red factor   lambda     real[p]@#
  0.000  3.2658E+00  6.0372E-05 -2.7927E+00  1.004E+00  2.1168E+01  2.1889E+00
  0.100  3.2656E+00  4.6122E-02 -3.2023E+00  1.004E+00  2.1189E+01  2.1911E+00
  0.200  3.2650E+00  9.1817E-02 -3.5972E+00  1.005E+00  2.1250E+01  2.1977E+00
  0.300  3.2640E+00  1.3670E-01 -3.9769E+00  1.005E+00  2.1347E+01  2.2085E+00
  0.400  3.2624E+00  1.8037E-01 -4.3415E+00  1.005E+00  2.1470E+01  2.2236E+00
  0.500  3.2603E+00  2.2252E-01 -4.6912E+00  1.005E+00  2.1608E+01  2.2429E+00
"""


def write(folder, text, name="feff0001.dat"):
    (folder / name).write_text(text)
    return folder / name


def opened(path):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(feff.read([path]))
    except ReadError as error:
        message = str(error)
    assert path.name in message
    return None


@pytest.mark.data
@pytest.mark.parametrize("name", KNOWN)
def test_what_the_files_say(name):
    reff, degen, nleg, atoms = KNOWN[name]
    ds = check(io.open(datasets.path("feff_paths") / name))
    assert (ds.attrs["reff"], ds.attrs["degen"], ds.attrs["nleg"]) == (reff, degen, nleg)
    assert " ".join(ds["element"].values) == atoms
    assert ds.attrs["edge"] == "K"
    assert ds.attrs["element"] == atoms.split()[0]
    assert float(ds.k[0]) == 0
    assert float(ds.k[-1]) == 20
    assert ds.attrs["history"].count("\n") == 0
    assert "io.open" in ds.attrs["history"]


@pytest.mark.data
def test_every_path_is_recognised_and_read():
    files = sorted(datasets.path("feff_paths").glob("*/*.dat"))
    assert len(files) == 21
    assert all(check(io.open(file)).attrs["reff"] > 2 for file in files)


@pytest.mark.data
def test_numbers_of_one_line():
    ds = io.open(datasets.path("feff_paths") / "Cu" / "feffcu01.dat")
    row = ds.sel(k=3.0)
    stated = {"real_phc": 3.1151, "mag_feff": 0.13806, "pha_feff": -12.407, "red_fact": 1.321, "lam": 5.3982}
    for column, value in stated.items():
        assert float(row[column]) == value
    assert float(row["rep"]) == 3.504
    assert ds.attrs["norman_radius"] == pytest.approx(2.63 * 0.529177)
    assert (ds.attrs["core_hole_width"], ds.attrs["kf"], ds.attrs["vint"]) == (1.761, 1.806, -17.96)
    assert (ds.attrs["title"], ds.attrs["program"]) == ("Cu metal fcc a=3.603", "Feff XX 6.10")
    assert ds.attrs["reduced_mass"] == pytest.approx(63.546 / 2)
    np.testing.assert_allclose(ds["position_y"], [0, -1.8016])


@pytest.mark.data
def test_several_paths_are_a_tree():
    tree = check(io.open(datasets.path("feff_paths") / "Cu" / "feff000[1-4].dat"))
    assert list(tree.children) == ["feff0001", "feff0002", "feff0003", "feff0004"]
    assert tree["feff0003"].attrs["nleg"] == 3


def test_feff_8(tmp_path):
    ds = check(io.open(write(tmp_path, FEFF8)))
    assert (ds.attrs["reff"], ds.attrs["degen"], ds.attrs["program"]) == (2.089, 6, "Feff8L")
    assert (ds.attrs["path_index"], ds.attrs["edge"], ds.attrs["title"]) == (1, "K", "NiO test")
    assert list(ds["element"].values) == ["Ni", "O"]
    assert list(ds["potential"].values) == [0, 2]
    assert "AFOLP" in ds.attrs["header"]
    assert ds.sizes["k"] == 6


def test_commented_lines_and_double_precision(tmp_path):
    marked = "\n".join("#" + line for line in FEFF8.split("\n")[:15]) + "\n"
    marked += "\n".join(FEFF8.split("\n")[15:]).replace("E", "D")
    plain, other = io.open(write(tmp_path, FEFF8)), io.open(write(tmp_path, marked, "feff0002.dat"))
    for column in plain.data_vars:
        assert (plain[column] == other[column]).all()


def test_a_header_that_lies_is_only_text(tmp_path):
    lies = {"kf=2.188E+00": "kf=2.1.8", "Gam_ch=1.576E+00": "Gam_ch=-.", "2.155E+01": "2e999"}
    lies["Path    1"] = "Path " + "9" * 400
    text = FEFF8
    for old, new in lies.items():
        assert old in text
        text = text.replace(old, new)
    attrs = io.open(write(tmp_path, text)).attrs
    assert not {"kf", "core_hole_width", "vint"} & set(attrs)
    assert attrs["path_index"] == 0
    assert "kf=2.1.8" in attrs["header"]


def test_columns_that_touch(tmp_path):
    text = FEFF8.replace("0.500  3.2603E+00  2.2252E-01 -4.6912E+00", "0.500  3.2603E+00  2.2252E-01-14.6912E+00")
    assert float(io.open(write(tmp_path, text))["pha_feff"][-1]) == -14.6912


def test_other_edges(tmp_path):
    ds = io.open(write(tmp_path, FEFF8.replace("K  shell", "L3 shell")))
    assert ds.attrs["edge"] == "L3"
    with pytest.warns(UserWarning, match="does not tell its edge"):
        assert io.open(write(tmp_path, FEFF8.replace("K  shell", ""))).attrs["edge"] == "K"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (FEFF8[FEFF8.index("    k   real") :], "", "may be truncated"),
        ("  0.300  3.2640E+00", "  0.300  **********", "line 19 must hold 7 numbers"),
        ("2.2429E+00", "", "line 21 must hold 7 numbers"),
        ("  0.300", "  0.150", "line 19: k must increase, got 0.2 then 0.15"),
        ("  0.200  3.2650E+00", "  0.200        NaN", "line 18 must hold 7 numbers"),
        ("    -0.0000   -0.0000    2.0890  2   8 O\n", "", "states 2 legs and lists 1 atoms"),
        ("2.0890  2   8 O", "2.0890  2 208 O", "line 14: atomic number 208"),
        ("2.0890  2   8 O", "2.0890  x   8 O", "line 14 must hold x, y, z"),
        ("-0.0000    2.0890  2", "-0.0000    2.5890  2", r"states reff 2.0890 angstrom, its atoms make 2.5890"),
        ("   2   6.000   2.0890", "   2   6.000", "line 11 must hold nleg"),
        ("   2   6.000   2.0890", "   2   0.000   2.0890", "no scattering path"),
        ("2.1168E+01", "0.0000E+00", "mean free path"),
        ("   2   6.000   2.0890", "   1e999   6.000   2.0890", "no scattering path"),
        ("   2   6.000   2.0890", "   2   1e999   2.0890", "no scattering path"),
        ("2.2853   -3.30040", "1e999   -3.30040", "no scattering path"),
        ("  0  28 Ni", f"  0  {'9' * 5000} Ni", "line 13 must hold x, y, z"),
        (FEFF8[FEFF8.index("  0.300") :], "", "has 3 lines"),
    ],
)
def test_wrong_files_are_refused(tmp_path, old, new, message):
    assert old in FEFF8
    with pytest.raises(ReadError, match=f"feff0001.dat: .*{message}"):
        io.open(write(tmp_path, FEFF8.replace(old, new)))


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, len(FEFF8) - 1), byte=st.integers(0, 255))
@pytest.mark.filterwarnings("ignore:.*does not tell its edge:UserWarning")
def test_one_wrong_byte(position, byte, tmp_path_factory):
    raw = bytearray(FEFF8.encode())
    raw[position] = byte
    path = tmp_path_factory.mktemp("any") / "feff0001.dat"
    path.write_bytes(raw)
    opened(path)


@pytest.mark.data
def test_truncated(tmp_path):
    whole = datasets.path("feff_paths") / "Cu" / "feffcu01.dat"
    raw = whole.read_bytes()
    for size in [*range(700, len(raw), 301), *range(len(raw) - 12, len(raw) - 1)]:
        path = tmp_path / whole.name
        path.write_bytes(raw[:size])
        ds = opened(path)
        # Cut between two lines: what is left is whole.
        assert ds is None or ds.equals(feff.read([whole]).isel(k=slice(ds.sizes["k"])))
