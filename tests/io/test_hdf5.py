"""Patterns in NeXus files, by their attributes and units."""

import h5py
import numpy as np
import pytest
import xarray as xr

from batlab import io
from batlab.constants import HC
from batlab.errors import ReadError
from batlab.io.physical_units import factor
from batlab.schema import check, file_sha256

Q = np.linspace(10.0, 50.0, 41)  # 1/nm
COUNTS = np.random.default_rng(5).poisson(50, (3, 41)).astype("f4")


def write_azint(path, entry="entry", n=3, axis=Q, units="nm^-1", long_name="q"):
    """Write what MAX IV's NXazint1d asks for: https://github.com/maxiv-science/azint_writer."""
    with h5py.File(path, "a") as file:
        file.attrs["default"] = entry
        group = file.create_group(entry)
        group.attrs.update({"NX_class": "NXentry", "default": "data"})
        group["definition"] = "NXazint1d"
        mono = group.create_group("instrument/monochromator")
        mono.attrs["NX_class"] = "NXmonochromator"
        mono["energy"] = 30.0
        mono["energy"].attrs["units"] = "keV"
        data = group.create_group("data")
        data.attrs.update({"NX_class": "NXdata", "signal": "I", "interpretation": "spectrum"})
        data.attrs["axes"] = [".", "radial_axis"] if n > 1 else ["radial_axis"]
        data["I"] = COUNTS[:n] if n > 1 else COUNTS[0]
        data["I_errors"] = np.sqrt(data["I"][()])
        data["radial_axis"] = axis
        data["radial_axis"].attrs.update({"units": units, "long_name": long_name})
        data["radial_axis_edges"] = np.append(axis, axis[-1] + 1) - 0.5
        data["norm"] = np.ones(41)
    return path


def test_azint_in_the_units_of_the_house(tmp_path):
    patterns = check(io.open(write_azint(tmp_path / "a.h5")))
    assert patterns.intensity.dims == ("frame", "q")
    np.testing.assert_allclose(patterns.q, Q / 10)
    np.testing.assert_array_equal(patterns.intensity, COUNTS)
    np.testing.assert_allclose(patterns.intensity_sigma, np.sqrt(COUNTS))
    assert patterns.attrs["wavelength"] == pytest.approx(HC / 30000)
    assert patterns.attrs["source"].endswith("a.h5")


def test_one_pattern_has_one_frame_and_a_falling_axis_is_turned(tmp_path):
    path = write_azint(tmp_path / "a.h5", n=1, axis=np.deg2rad(Q[::-1]), units="rad", long_name="2theta")
    pattern = check(io.open(path))
    assert pattern.intensity.dims == ("frame", "two_theta")
    np.testing.assert_allclose(pattern.two_theta, Q)
    np.testing.assert_array_equal(pattern.intensity[0], COUNTS[0, ::-1])


def test_several_measurements_are_a_tree_and_path_takes_one(tmp_path):
    for entry in ("scan1", "scan2"):
        write_azint(tmp_path / "a.h5", entry)
    tree = check(io.open(tmp_path / "a.h5"))
    assert isinstance(tree, xr.DataTree)
    assert set(tree.children) == {"scan1", "scan2"}
    assert io.open(tmp_path / "a.h5", path="/scan2").sizes == {"frame": 3, "q": 41}
    # Each measurement names its source, so that a mark made on it alone finds it again.
    assert tree["scan1"].attrs["source_sha256"] == tree.attrs["source_sha256"] == file_sha256(tmp_path / "a.h5")


def test_several_files_are_one_series_on_one_grid(tmp_path):
    for i in (1, 2, 10):
        write_azint(tmp_path / f"s{i}.h5")
    series = check(io.open(str(tmp_path / "s*.h5")))
    assert series.sizes["frame"] == 9
    assert series.file.values[[0, 3, 6]].tolist() == ["s1.h5", "s2.h5", "s10.h5"]
    write_azint(tmp_path / "s11.h5", axis=Q + 1e-9)
    with pytest.raises(ReadError, match=r"s11\.h5.*regrid"):
        io.open(str(tmp_path / "s*.h5"))


def test_axis_without_unit_is_not_guessed(tmp_path):
    path = write_azint(tmp_path / "a.h5", units="", long_name="q")
    with pytest.raises(ReadError, match="axis_unit"):
        io.open(path)
    np.testing.assert_allclose(io.open(path, axis_unit="1/nm").q, Q / 10)


def test_axis_that_turns_round_is_refused(tmp_path):
    axis = Q.copy()
    axis[5] = axis[7]
    with pytest.raises(ReadError, match="neither rises nor falls"):
        io.open(write_azint(tmp_path / "a.h5", axis=axis))


def test_old_nexus_signal_attribute(tmp_path):
    with h5py.File(tmp_path / "old.nxs", "w") as file:
        data = file.create_group("/entry/data")
        data.attrs["NX_class"] = "NXdata"
        data["counts"], data["two_theta"] = COUNTS[0], Q
        data["counts"].attrs.update({"signal": 1, "axes": "two_theta", "units": "counts"})
        data["two_theta"].attrs["units"] = "degrees"
    pattern = check(io.open(tmp_path / "old.nxs"))
    np.testing.assert_array_equal(pattern.two_theta, Q)
    assert pattern.intensity.attrs["units"] == "count"


def test_patterns_are_found_through_soft_links_once(tmp_path):
    path = write_azint(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["/entry/plot"] = h5py.SoftLink("/entry/data")
    assert io.open(path).sizes["frame"] == 3


def test_a_file_of_something_else_says_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "log.h5", "w") as file:
        file["temperature"] = np.arange(5.0)
    with pytest.raises(ReadError, match=r"log\.h5: holds no detector frames; it holds /temperature \(5,\)"):
        io.open(tmp_path / "log.h5")


@pytest.mark.parametrize(
    ("units", "to", "expected"),
    [
        ("nm^-1", "1/angstrom", 0.1), ("1/Å", "1/angstrom", 1.0), ("Å⁻¹", "1/angstrom", 1.0),
        ("nm-1", "1/angstrom", 0.1),
        ("keV", "eV", 1e3), ("micrometer", "m", 1e-6), ("millisecond", "s", 1e-3), ("nm", "angstrom", 10.0),
        ("radians", "degree", 57.29577951308232), ("m", "angstrom", 1e10),
    ],
)  # fmt: skip
def test_units_as_files_spell_them(units, to, expected):
    assert factor(units, to, "x") == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("units", "to"), [("parsec", "m"), ("MeV", "eV"), ("", "s"), ("1/s", "1/angstrom")])
def test_unknown_units_are_refused(units, to):
    with pytest.raises(ReadError, match="x is in"):
        factor(units, to, "x")
