"""Opening by content: paths, globs, folders, mixtures, and what is recorded."""

import os
import time
import warnings
from importlib import import_module

import numpy as np
import pytest

import batlab as bl
from batlab import datasets, io
from batlab.errors import ReadError
from batlab.io._open import READERS
from batlab.schema import check

XY = "# 2th_deg I\n10 1\n11 2\n"


@pytest.fixture
def folder(tmp_path):
    for i in (1, 2, 10):
        (tmp_path / f"p{i}.xy").write_text(XY.replace("2\n", f"{i}\n"))
    return tmp_path


def test_a_file_a_list_and_a_glob_give_one_series_in_natural_order(folder):
    one = bl.open(folder / "p1.xy")
    assert one.sizes["frame"] == 1
    by_glob = bl.open(str(folder / "*.xy"))
    by_list = bl.open([folder / "p10.xy", folder / "p2.xy", folder / "p1.xy"])
    assert by_glob["file"].values.tolist() == ["p1.xy", "p2.xy", "p10.xy"]
    assert by_list.drop_attrs().equals(by_glob.drop_attrs())
    assert check(by_glob)["frame"].values.tolist() == [0, 1, 2]


def test_source_and_hints_are_recorded(folder):
    ds = bl.open(folder / "p1.xy", wavelength=0.41)
    assert ds.attrs["source"] == str(folder / "p1.xy")
    assert ds.attrs["history"].endswith("io.open(wavelength=0.41)")
    assert len(ds.attrs["source_sha256"]) == 64


def test_content_decides_not_the_ending(tmp_path):
    path = tmp_path / "pattern.cif"
    path.write_text(XY)
    assert "two_theta" in bl.open(path).dims


@pytest.mark.parametrize("name", READERS)
def test_every_reader_keeps_the_protocol(name, tmp_path):
    reader = import_module(f"batlab.io.{name}")
    assert isinstance(reader.NAME, str)
    assert isinstance(reader.HINTS, frozenset)
    rng = np.random.default_rng(7)
    heads = [b"", b"\0" * 4096, b"\xff\xfe", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"PAR1", b"RAW4.00", b"\xff" * 4096]
    heads += [rng.bytes(4096) for _ in range(20)]
    for head in heads:
        assert reader.recognise(tmp_path / "a.dat", head) in (True, False)


def test_missing_file_names_its_neighbours(folder):
    with pytest.raises(ReadError, match=r"p11.xy: there is no such file; did you mean 'p1.xy'|'p10.xy'"):
        bl.open(folder / "p11.xy")
    with pytest.raises(ReadError, match=r"no file matches"):
        bl.open(folder / "*.nothing")
    with pytest.raises(ReadError, match=r"the folder .* does not exist either"):
        bl.open(folder / "no" / "p1.xy")
    with pytest.raises(ReadError, match="empty list"):
        bl.open([])


def test_a_folder_is_refused_with_the_glob_to_use(folder):
    with pytest.raises(ReadError, match=r"is a folder; open its files with a glob, e.g. .*\*\.xy"):
        bl.open(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReadError, match="neither a file nor a folder"):
        bl.open(tmp_path / "pipe")


def test_mixed_formats_are_refused_naming_both(folder):
    (folder / "charge.txt").write_text("00:00:00 3.1 0\n00:00:10 3.2 39\n")
    with pytest.raises(ReadError, match=r"charge.txt \(plain text of a cycler\) and p1.xy \(patterns in columns\)"):
        bl.open([folder / "p1.xy", folder / "charge.txt"])


def test_unknown_hint_names_the_reader(folder):
    message = r"the reader of patterns in columns does not know the keyword 'wavelengt'; did you mean 'wavelength'\?"
    with pytest.raises(TypeError, match=message):
        bl.open(folder / "p1.xy", wavelengt=1.0)


@pytest.mark.parametrize(
    "raw", [b"", b"\0\1\2\3" * 100, b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x80\x04\x95" + bytes(99)]
)
def test_unknown_formats_are_named(tmp_path, raw):
    (tmp_path / "thing.dat").write_bytes(raw)
    with pytest.raises(ReadError, match=r"thing.dat"):
        bl.open(tmp_path / "thing.dat")


@pytest.mark.parametrize(
    "lead",
    [
        "EC-Lab ASCII FILE\nNb header lines : 3\nmode\ttime/s\tEwe/V\n",
        "time/s\tEwe/V\n",
        "Test Time / s\tVoltage / V\tCurrent / A\n",
        "Time (s)\tVoltage (V)\n",
        "00:00:00 3.1 0\n",
        "data_x\nloop_\n_cell_length_a\n",
        "# 2th_deg I\n",
        "",
    ],
)
@pytest.mark.parametrize("line", ["1\t" * 1_000_000, "1" * 1_000_000, "a\t" * 1_000_000, '"' * 1_000_000])
def test_endless_lines_are_refused_in_seconds(tmp_path, lead, line):
    path = tmp_path / "endless.txt"
    start = time.perf_counter()
    for text in (lead + line, lead + line + "\n" + line, line + "\n" + lead):
        path.write_text(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            with pytest.raises(ReadError, match=r"endless.txt"):
                bl.open(path)
    assert time.perf_counter() - start < 60


def test_what_is_no_path_and_what_cannot_be_saved_are_named(folder):
    with pytest.raises(TypeError, match="a path, a glob or a list of paths, got NoneType"):
        bl.open(None)
    with pytest.raises(TypeError, match=r"io\.save takes .*, got dict"):
        bl.save({}, folder / "out.nc")


def test_save_asks_for_a_known_ending(folder):
    with pytest.raises(ValueError, match=r"out.xyz: cannot tell the format"):
        bl.save(bl.open(folder / "p1.xy"), folder / "out.xyz")


def test_saved_and_opened_again_is_the_same(folder):
    first = bl.open(folder / "*.xy")
    bl.save(first, folder / "saved.nc")
    again = bl.open(folder / "saved.nc")
    assert again.identical(first)


@pytest.mark.data
def test_structure_takes_a_path_or_a_structure():
    ds = io.structure(datasets.path("cif") / "Si_Fd-3m_300K_amcsd11243.cif")
    assert io.structure(ds) is ds
    with pytest.raises(TypeError, match="a structure has dimension 'site'"):
        io.structure(ds.drop_dims("site"))
    with pytest.raises(ReadError, match="holds no structure"):
        io.structure(datasets.path("nca_map") / "Data_0001.chi")
