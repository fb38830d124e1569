"""Patterns in columns: axes, units, encodings, locales, and damage."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io import columns
from batlab.io._text import decode
from batlab.schema import check

HEADER = "# 2th_deg I\n"


def opened(path, **hints):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(io.open(path, **hints))
    except ReadError as error:
        message = str(error)
    assert path.name in message
    return None


def write(folder, text, name="a.xy", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture(scope="module")
def licovo4():
    folder = datasets.path("licovo4_operando")
    return folder, io.open(folder / "[0-9]*.txt")


@pytest.mark.data
def test_licovo4_series_holds_what_its_source_says(licovo4):
    _, ds = licovo4
    check(ds)
    assert ds["intensity"].dims == ("frame", "two_theta")
    assert ds["intensity"].shape == (100, 3517)
    assert list(ds["file"].values[[0, 1, 9, 99]]) == ["1.txt", "2.txt", "10.txt", "100.txt"]
    assert ds["two_theta"].values[[0, -1]] == pytest.approx([22.112, 72.8833])
    assert ds["two_theta"].diff("two_theta").mean() == pytest.approx(0.01444, abs=1e-5)
    assert (ds.attrs["wavelength"], ds.attrs["wavelength_alpha2"], ds.attrs["alpha2_ratio"]) == (1.5406, 1.54439, 0.497)
    assert ds.attrs["sample"] == "Ячейка LCoV 16-09-2022"
    assert "time" not in ds.variables  # the header's time is that of the export
    assert set(ds.attrs["exported"]) == {"2022-09-19T19:37:16", "2022-09-19T19:37:17"}
    assert ds["intensity"].values[0, [0, 1, 2]] == pytest.approx([603.33, 617.85, 507.72])


@pytest.mark.data
def test_second_copy_is_compared(licovo4, tmp_path):
    text = (licovo4[0] / "1.txt").read_bytes()
    changed = tmp_path / "changed.txt"
    changed.write_bytes(text.replace(b"603.33", b"603.34", 1))
    with pytest.raises(ReadError, match=r"changed.txt: holds two tables that differ, from lines 10 and 3529"):
        io.open(changed)
    cut = tmp_path / "cut.txt"
    cut.write_bytes(text[: len(text) * 3 // 4])
    with pytest.warns(UserWarning, match=r"cut.txt: .*(truncated)"):
        assert io.open(cut).sizes["two_theta"] == 3517
    half = tmp_path / "half.txt"
    half.write_bytes(text[: text.index(b"Result")])
    with pytest.warns(UserWarning, match=r"half.txt: the second copy of the pattern has 0 of 3517 points"):
        io.open(half)


@pytest.mark.data
def test_chi_map_knows_its_axis_and_no_wavelength():
    ds = io.open(datasets.path("nca_map") / "*.chi")
    check(ds)
    assert dict(ds.sizes) == {"frame": 143, "two_theta": 2000}
    assert "wavelength" not in ds.attrs
    assert ds["two_theta"].values[[0, -1]] == pytest.approx([5.75e-3, 22.99425], abs=1e-4)
    assert io.open(datasets.path("nca_map") / "*01.chi", wavelength=0.495).attrs["wavelength"] == 0.495


@pytest.mark.data
def test_pyfai_headers():
    lab = io.open(datasets.path("ceo2_pilatus1m") / "CeO2_Pilatus1M.xy")
    assert lab["intensity"].dims == ("frame", "two_theta")
    assert lab.attrs["wavelength"] == 0.4066
    glass = io.open(datasets.path("mg2sio4_glass") / "Mg2SiO4_ambient.xy")
    assert glass["intensity"].dims == ("frame", "q")
    assert glass["q"].values[0] == pytest.approx(1.235171111)
    assert glass.attrs["wavelength"] == 0.1908


@pytest.mark.data
def test_third_column_is_sigma_and_the_axis_is_asked_for():
    lab = datasets.path("pbso4") / "ed-16.dat"
    with pytest.raises(ReadError, match=r"ed-16.dat: nothing in the file says .* axis='two_theta'"):
        io.open(lab)
    ds = io.open(lab, axis="two_theta", wavelength=1.5406)
    check(ds)
    # The file's e.s.d. is the square root of its counts.
    np.testing.assert_allclose(ds["intensity_sigma"] ** 2, ds["intensity"], rtol=1e-4)


@pytest.mark.data
def test_cakes_need_their_angles():
    files = datasets.path("zr7nb_cakes") / "*.dat"
    with pytest.raises(ReadError, match=r"00001.dat: nothing in the file says"):
        io.open(files)
    with pytest.raises(ReadError, match=r"has 36 intensity columns; pass azimuth="):
        io.open(files, axis="two_theta")
    ds = io.open(files, axis="two_theta", azimuth=np.arange(5, 360, 10))
    check(ds)
    assert ds["intensity"].dims == ("frame", "azimuth", "two_theta")
    assert ds["intensity"].shape == (10, 36, 1027)
    one = io.open(files, axis="two_theta", column=7)
    np.testing.assert_array_equal(one["intensity"], ds["intensity"].isel(azimuth=6))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file", "points", "wavelength"),
    [
        ("ni_pt_pdf", "Ni.gr", 6001, 0.1836),
        ("nacl_ni_pdf", "ed-4.gr", 5000, 0.21281),
        ("nacl_ni_pdf", "ed-6.gr", 9801, None),
        ("lamno3_pdf", "300K.gr", 2000, None),
        ("cdse_pdf", "CdSe-1.gr", 5001, None),
        ("ni_pdf", "ni.gr", 5999, None),
    ],
)
def test_pair_distribution_functions(name, file, points, wavelength):
    ds = io.open(datasets.path(name) / file, **({"axis": "r"} if name == "ni_pdf" else {}))
    check(ds)
    assert ds["g_r"].dims == ("frame", "r")
    assert ds.sizes["r"] == points
    assert ds.attrs.get("wavelength") == wavelength
    assert ("g_r_sigma" in ds) == (name == "lamno3_pdf")


@pytest.mark.data
def test_gadds_export_states_its_doublet():
    ds = io.open(datasets.path("nca_gadds") / "*.plt")
    assert (ds.attrs["wavelength"], ds.attrs["wavelength_alpha2"]) == (1.54056, 1.54439)
    assert ds["intensity"].attrs["units"] == "count"
    assert ds["two_theta"].values[[0, -1]].tolist() == [53.0, 73.0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1251", "latin-1"])
@pytest.mark.parametrize(
    "rows",
    ["10,5;1,5\n10,6;2,5\n", "10.5,1.5\n10.6,2.5\n", "10.5\t1.5\n10.6\t2.5\n", "10,5 1,5\r\n10,6 2,5\r\n",
     " 1.05e1, 1.5\n 1.06D1, 2.5", "10.5; 1.5\n10.6; 2.5 # the beam came back\n\n"],
)  # fmt: skip
def test_every_encoding_and_locale(tmp_path, encoding, rows):
    words = {"cp1251": "Образец", "latin-1": "é µ °"}.get(encoding, "Ångström")
    ds = io.open(write(tmp_path, f"# {words}\n{HEADER}{rows}", encoding=encoding))
    check(ds)
    np.testing.assert_allclose(ds["two_theta"], [10.5, 10.6])
    np.testing.assert_allclose(ds["intensity"], [[1.5, 2.5]])


@pytest.mark.parametrize(
    ("header", "axis", "expected"),
    [
        ("# q_nm^-1 I", "q", [1.0, 2.0]),
        ("# q_A^-1 I sigma", "q", [10.0, 20.0]),
        ("# 2th_rad I", "two_theta", np.degrees([10.0, 20.0])),
        ("! 2-Theta Angle (Degrees)", "two_theta", [10.0, 20.0]),
        ("Q (1/nm), Intensity", "q", [1.0, 2.0]),
        ("Q Vector (Inverse Nanometres)", "q", [1.0, 2.0]),
        ("q [Å^-1]\tI", "q", [10.0, 20.0]),
        ("2θ I", "two_theta", [10.0, 20.0]),
        ("two_theta,intensity", "two_theta", [10.0, 20.0]),
        ("; TwoTheta Counts", "two_theta", [10.0, 20.0]),
        ("#L r G(r)", "r", [10.0, 20.0]),
    ],
)
def test_axis_and_unit_come_from_the_header(tmp_path, header, axis, expected):
    ds = io.open(write(tmp_path, f"{header}\n10 1\n20 2\n"))
    check(ds)
    np.testing.assert_allclose(ds[axis], expected)


def test_unit_of_q_is_never_guessed(tmp_path):
    path = write(tmp_path, "#L Q I(Q)\n1 1\n2 2\n")
    with pytest.raises(ReadError, match=r"unit of 'q' is not stated; pass units="):
        io.open(path)
    assert io.open(path, units="1/nm")["q"].values.tolist() == [0.1, 0.2]
    with pytest.raises(ValueError, match=r"units must be '1/angstrom' or '1/nm', got '1/am'"):
        io.open(path, units="1/am")
    with pytest.raises(ValueError, match=r"axis must be"):
        io.open(path, axis="tth")


def test_descending_scan_is_turned_round(tmp_path):
    ds = io.open(write(tmp_path, HEADER + "20 2\n15 3\n10 1\n"))
    assert ds["two_theta"].values.tolist() == [10, 15, 20]
    assert ds["intensity"].values.tolist() == [[1, 3, 2]]


def test_missing_counts_are_nan(tmp_path):
    ds = io.open(write(tmp_path, HEADER + "10 1\n11 nan\n12 3\n"))
    assert np.isnan(ds["intensity"].values[0, 1])


def test_axis_that_contradicts_the_header_warns(tmp_path):
    path = write(tmp_path, "# 2th_deg I\n1 1\n2 2\n")
    with pytest.warns(UserWarning, match=r"says that its first column is 'two_theta', axis='q' is used"):
        assert "q" in io.open(path, axis="q").dims


@pytest.mark.parametrize("hints", [{"wavelength": "short"}, {"wavelength": float("nan")}, {"alpha2_ratio": True}])
def test_hints_that_are_no_numbers_are_refused(tmp_path, hints):
    with pytest.raises(ValueError, match=r"must be a number above 0, got"):
        io.open(write(tmp_path, HEADER + "10 1\n11 2\n"), **hints)


@pytest.mark.parametrize(("hints", "words"), [({"column": "a"}, "1 to 1, got 'a'"), ({"azimuth": 3.0}, "a list of 1")])
def test_columns_that_are_not_there_are_refused(tmp_path, hints, words):
    with pytest.raises(ReadError, match=words):
        io.open(write(tmp_path, HEADER + "10 1\n11 2\n"), **hints)


def test_wavelength_that_contradicts_the_file_warns(tmp_path):
    path = write(tmp_path, "# Wavelength: 4.066e-11 m\n" + HEADER + "10 1\n11 2\n")
    with pytest.warns(UserWarning, match=r"states wavelength 0.4066, wavelength=0.5 is used"):
        assert io.open(path, wavelength=0.5).attrs["wavelength"] == 0.5
    with pytest.raises(ValueError, match="wavelength must be a number above 0"):
        io.open(path, wavelength=-1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "10 1\n11 2 3\n12 3\n", r"a.xy: line 3 has 3 columns, line 2 has 2"),
        (HEADER + "10 1\n11 2\n10.5 3\n", r"a.xy: line 4: the first column must increase, got 11 then 10.5"),
        (HEADER + "10 1\nnan 2\n12 3\n", r"a.xy: row 2 of the table holds infinity, or NaN in its first column"),
        (HEADER + "10 1\n11 2..5\n12 3\n", r"a.xy: line 3 holds '2..5', which is no number"),
        (HEADER + "10\n11\n", r"a.xy: line 2 has one column"),
        ("2-Theta\nI\n   3\n10 1\n11 2\n", r"a.xy: line 3 states 3 points, 2 follow"),
        (HEADER + "10,5,1,5\n10,6,2,5\n", r"a.xy: line 2: the commas may separate or be decimal; pass decimal="),
        ("nothing here\nat all\n", r"a.xy: holds no table of numbers"),
        (HEADER + "10 1\n11 2\n" + "more\n" + "10 1\n11 3\n", r"holds two tables that differ, from lines 2 and 5"),
        (HEADER + "10 1 -1\n11 2 1\n", r"column 3 should be the uncertainty but is negative"),
    ],
)
def test_damage_is_named(tmp_path, text, message):
    with pytest.raises(ReadError, match=message):
        io.open(write(tmp_path, text))


def test_cut_last_line_is_left_out_and_told(tmp_path):
    path = write(tmp_path, HEADER + "10 1\n11 2\n12")
    with pytest.warns(UserWarning, match=r"a.xy: line 4 has 1 of 2 columns and is left out"):
        assert io.open(path).sizes["two_theta"] == 2


def test_first_file_that_differs_is_named(tmp_path):
    paths = [write(tmp_path, HEADER + f"10 1\n{11 + (i == 2)} 2\n", f"s{i}.xy") for i in range(1, 4)]
    with pytest.raises(ReadError, match=r"s2.xy: its grid .* differs from that of s1.xy .* curves.regrid"):
        io.open(paths)
    paths[1] = write(tmp_path, "# Wavelength: 1e-10 m\n" + HEADER + "10 1\n11 2\n", "s2.xy")
    with pytest.raises(ReadError, match=r"s2.xy: its wavelength 1.0 differs from None"):
        io.open(paths)


def test_hostile_files_end_in_seconds(tmp_path):
    start = time.perf_counter()
    for name, raw in {
        "wide.xy": b"1 " * 1_000_000,
        "wide2.xy": (b"1 " * 1_000_000 + b"\n") * 2,
        "words.xy": b"a" * 1_000_000,
        "signs.xy": b"-+.,;eE \t" * 100_000,
        "digits.xy": HEADER.encode() + b"1" * 1_000_000 + b" 2\n" + b"2" * 1_000_000 + b" 3\n",
        "lines.xy": b"\n" * 1_000_000,
        "blank.xy": b" " * 1_000_000,
        "noise.xy": np.random.default_rng(1).bytes(100_000),
        "nul.xy": bytes(10_000),
        "empty.xy": b"",
    }.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(ReadError, match=name):
            io.open(tmp_path / name)
    assert time.perf_counter() - start < 60


def test_wrong_encoding_is_named(tmp_path):
    path = write(tmp_path, "# é\n" + HEADER + "10 1\n11 2\n", encoding="latin-1")
    with pytest.raises(ReadError, match=r"a.xy: cannot be read as utf-8 text .* pass another encoding="):
        io.open(path, encoding="utf-8")
    with pytest.raises(ReadError, match=r"a.xy: cannot be read as klingon"):
        io.open(path, encoding="klingon")


@settings(max_examples=60, deadline=None)
@given(raw=st.binary(max_size=300) | st.text("0123456789.,;-+eE \t\n#na", max_size=300).map(str.encode))
def test_any_bytes_give_a_result_or_a_read_error(raw, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.txt"
    path.write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            check(columns.read([path], axis="two_theta"))
        except ReadError as error:
            message = str(error)
        else:
            return
    assert "a.txt" in message


@settings(max_examples=60, deadline=None)
@given(
    x=st.lists(st.floats(0.001, 179), min_size=2, max_size=30, unique_by=lambda value: round(value, 6)),
    separator=st.sampled_from([" ", "\t", ";", ", "]),
    is_comma=st.booleans(),
)
def test_what_is_written_is_read(x, separator, is_comma, tmp_path_factory):
    x = np.sort(np.round(x, 6))
    rows = [f"{value:.6f}{separator}{10 * value:.6f}" for value in x]
    if is_comma and separator != ", ":
        rows = [row.replace(".", ",") for row in rows]
    path = tmp_path_factory.mktemp("any") / "a.xy"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    ds = io.open(path)
    np.testing.assert_allclose(ds["two_theta"], x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(ds["intensity"][0], 10 * x, rtol=0, atol=1e-5)


@pytest.mark.data
@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "file"), [("licovo4_operando", "1.txt"), ("nca_map", "Data_0001.chi"), ("corundum_lab", "corundum.xye")]
)
def test_truncated_at_every_kilobyte(name, file, tmp_path):
    raw = (datasets.path(name) / file).read_bytes()
    whole = io.open(datasets.path(name) / file)
    path = tmp_path / file
    for size in range(0, len(raw) - 1, 1024):
        path.write_bytes(raw[:size])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ds = opened(path)
        if ds is None:
            continue
        # What is read of a cut file is its beginning; only its last number may have lost digits.
        n = ds.sizes["two_theta"]
        np.testing.assert_array_equal(ds["two_theta"][: n - 1], whole["two_theta"][: n - 1])
        np.testing.assert_array_equal(ds["intensity"][:, : n - 1], whole["intensity"][:, : n - 1])


def test_cyrillic_and_western_bytes_are_told_apart():
    assert decode("Ячейка".encode("cp1251"), "a") == "Ячейка"
    assert decode("surface 0,1 cm², µF, Å".encode("latin-1"), "a") == "surface 0,1 cm², µF, Å"
    assert decode("10 1\n".encode("utf-16-be"), "a") == "10 1\n"
