"""Reading `.poni`: every version, the orientation, and files that must be refused."""

import pickle
import warnings

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError, UnsafePathError
from batlab.io import Geometry

V1 = """# Calibration done at Fri Feb 27 13:52:42 2015
PixelSize1: 0.000172
PixelSize2: 0.0001
Distance: 0.2086
Poni1: 0.0873
Poni2: 0.08
Rot1: -0.018
Rot2: 0.004
Rot3: -2.8e-08
SplineFile: None
Wavelength: 4.066e-11
"""
V2 = """poni_version: 2
Detector: Eiger4M
Detector_config: {}
Distance: 0.2
Poni1: 0.08
Poni2: 0.07
Rot1: 0.0
Rot2: 0.0
Rot3: 0.0
Wavelength: 1e-10
"""
V21 = V2.replace("poni_version: 2", "poni_version: 2.1").replace("{}", '{"orientation": 2}')


def write(folder, text, name="det.poni"):
    path = folder / name
    path.write_text(text)
    return path


def test_version_1_leaves_the_orientation_open(tmp_path):
    with pytest.warns(UserWarning, match=r"det\.poni.*version 1.*orientation=2"):
        geometry = io.open(write(tmp_path, V1))
    assert geometry.distance == 0.2086
    assert (geometry.pixel_size_y, geometry.pixel_size_x) == (0.000172, 0.0001)
    assert geometry.wavelength == pytest.approx(0.4066)
    assert (geometry.shape, geometry.orientation, geometry.orientation_stated) == (None, 3, False)
    assert len(geometry.source_sha256) == 64


def test_version_2_leaves_it_open_too(tmp_path):
    with pytest.warns(UserWarning, match="version 2"):
        geometry = io.open(write(tmp_path, V2))
    assert (geometry.detector, geometry.shape) == ("Eiger4M", (2167, 2070))


def test_version_2_1_states_it(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geometry = io.open(write(tmp_path, V21))
    assert (geometry.orientation, geometry.orientation_stated) == (2, True)
    assert geometry.pyfai().detector.orientation == 2


@pytest.mark.parametrize("text", [V1, V2, V21])
def test_the_hint_settles_it(tmp_path, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        geometry = io.open(write(tmp_path, text), orientation=4)
    assert (geometry.orientation, geometry.orientation_stated) == (4, True)
    assert geometry.pyfai((10, 10)).detector.orientation == 4


@pytest.mark.parametrize(("metres", "angstrom"), [("4.066e-11", 0.4066), ("4.836e-11", 0.4836), ("1e-10", 1.0)])
def test_the_wavelength_is_the_number_meant(tmp_path, metres, angstrom):
    file = tmp_path / "a.poni"
    file.write_text(f"Pixelsize1: 1e-4\nPixelsize2: 1e-4\nDistance: 1\nPoni1: 0\nPoni2: 0\nWavelength: {metres}\n")
    assert io.open(file, orientation=3).wavelength == angstrom


def test_what_pyfai_writes_is_what_is_read(tmp_path):
    made = Geometry(0.3, 0.04, 0.14, 0.007, 0.001, 0.5, 0.4836, "Pilatus1M", "{}", 172e-6, 172e-6, (1043, 981), 1)
    made.pyfai().save(str(tmp_path / "made.poni"))
    read = io.open(tmp_path / "made.poni")
    for name in ("distance", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength", "shape"):
        assert getattr(read, name) == pytest.approx(getattr(made, name), rel=1e-12)
    assert (read.orientation, read.detector) == (1, "Pilatus1M")
    angles = [geometry.pyfai().center_array(unit="2th_deg") for geometry in (made, read)]
    np.testing.assert_allclose(*angles, rtol=1e-12)


def test_it_is_recognised_by_content_and_pickled(tmp_path):
    geometry = io.open(write(tmp_path, V21, "geometry.txt"))
    assert pickle.loads(pickle.dumps(geometry)) == geometry
    assert Geometry.from_pyfai(geometry.pyfai()).poni1 == geometry.poni1


def test_a_file_without_wavelength(tmp_path):
    geometry = io.open(write(tmp_path, V21.replace("Wavelength: 1e-10\n", "")))
    assert geometry.wavelength is None
    assert geometry.pyfai().wavelength is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Distance: 0.2\n", "", "has no 'distance'"),
        ("Poni2: 0.07", "Poni2: seven", "poni2 must be a number, got 'seven'"),
        ("Poni2: 0.07", "Poni2: nan", "poni2 must be a number"),
        ("Distance: 0.2", "Distance: -0.2", "distance must be positive"),
        ("Wavelength: 1e-10", "Wavelength: 0", "wavelength must be positive"),
        ("Eiger4M", "Eiger5M", "pyFAI"),
        ('{"orientation": 2}', '{"orientation": 7}', "orientation must be 1, 2, 3 or 4, got 7"),
        ('{"orientation": 2}', '{"orientation": ', "no JSON"),
        ('{"orientation": 2}', "[1, 2]", "JSON object"),
        ("poni_version: 2.1", "poni_version: 9", "pyFAI"),
        ("poni_version: 2.1", "poni_version: 3\nParallax: True", "parallax"),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(tmp_path, old, new, message):
    assert old in V21
    with pytest.raises(ReadError, match=rf"det\.poni.*{message}"):
        io.open(write(tmp_path, V21.replace(old, new)))


@pytest.mark.filterwarnings("ignore:.*does not say how the image is oriented")
def test_a_file_cut_anywhere_is_read_or_refused(tmp_path):
    """What is left may still be a geometry, only without its rotations or wavelength; it never crashes."""
    whole = V21.index("Poni2: 0.07") + len("Poni2: 0.07")
    for length in range(0, len(V21), 7):
        path = write(tmp_path, V21[:length])
        if length >= whole and V21[length - 1] not in ":-e":
            assert io.open(path).poni2 == 0.07
        elif length < whole - 3:
            with pytest.raises(ReadError, match=r"det\.poni"):
                io.open(path)


def test_files_outside_its_folder_are_refused(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.h5").write_bytes(b"")
    (tmp_path / "secret.spline").write_bytes(b"")
    spline = V1.replace("SplineFile: None", f"SplineFile: {tmp_path / 'secret.spline'}")
    detector = V21.replace("Eiger4M", str(tmp_path / "secret.h5"))
    nexus = V21.replace("Eiger4M", "NexusDetector").replace(
        '"orientation"', '"filename": "../secret.h5", "orientation"'
    )
    for text in (spline, detector, nexus):
        with pytest.raises(UnsafePathError, match=r"det\.poni.*secret.*allow_links"):
            io.open(write(inner, text))


def test_two_geometries_are_not_a_series(tmp_path):
    files = [write(tmp_path, V21, name) for name in ("a.poni", "b.poni")]
    with pytest.raises(ReadError, match="one by one"):
        io.open(files)


def test_unknown_hints_and_orientations_are_refused(tmp_path):
    path = write(tmp_path, V21)
    with pytest.raises(ValueError, match="orientation must be 1, 2, 3 or 4"):
        io.open(path, orientation=0)
    with pytest.raises(TypeError, match="did you mean 'orientation'"):
        io.open(path, orientatoin=2)


@pytest.mark.data
def test_real_files():
    with pytest.warns(UserWarning, match=r"CeO2_Pilatus1M\.poni .*version 1"):
        pilatus = io.open(datasets.path("ceo2_pilatus1m") / "CeO2_Pilatus1M.poni")
    assert pilatus.distance == pytest.approx(0.208651380603)
    with pytest.warns(UserWarning, match=r"L2\.poni .*version 2"):
        lambda_ = io.open(datasets.path("lambda_stack") / "L2.poni")
    assert lambda_.pixel_size_y == pytest.approx(55e-6)
