"""Single images and series through fabio."""

import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.schema import check

COUNTS = np.random.default_rng(3).poisson(30, (5, 40, 60)).astype("i4")
COUNTS[:, 20:24] = -1
KINDS = {"edf": EdfImage, "cbf": CbfImage, "tif": TifImage}


def write(path, counts):
    KINDS[path.suffix[1:]](data=counts).write(str(path))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_series_is_lazy_in_natural_order_with_gaps_masked(tmp_path, kind):
    for i, counts in enumerate(COUNTS):
        write(tmp_path / f"scan_{i + 8}.{kind}", counts)
    frames = check(io.open(str(tmp_path / f"scan_*.{kind}")))
    np.testing.assert_array_equal(frames.intensity, COUNTS)
    assert frames.intensity.chunks[0] == (1,) * 5
    assert frames.intensity.dtype == np.int32
    assert frames.file.values[2] == f"scan_10.{kind}"
    np.testing.assert_array_equal(frames.mask, COUNTS[0] == -1)
    assert frames.attrs["overflow"] == [-2, -1]


def test_content_decides_not_the_ending(tmp_path):
    write(tmp_path / "a.cbf", COUNTS[0]).rename(tmp_path / "a.dat")
    assert io.open(tmp_path / "a.dat").sizes == {"frame": 1, "y": 40, "x": 60}


def test_header_of_a_pilatus_image(tmp_path):
    told = "# Exposure_time 3.0000000 s\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n# Wavelength 0.9795 A\r\n"
    CbfImage(data=COUNTS[0], header={"_array_data.header_contents": told}).write(str(tmp_path / "a.cbf"))
    frames = io.open(tmp_path / "a.cbf")
    assert frames.exposure.values.tolist() == [3.0]
    assert frames.attrs["pixel_size_x"] == 172e-6
    assert frames.attrs["wavelength"] == 0.9795


def test_frames_of_one_file(tmp_path):
    image = EdfImage(data=COUNTS[0])
    for counts in COUNTS[1:]:
        image.append_frame(data=counts)
    image.write(str(tmp_path / "all.edf"))
    np.testing.assert_array_equal(io.open(tmp_path / "all.edf").intensity, COUNTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.003, 0.02, 0.3, 0.9])
def test_cut_images_are_read_errors_at_once(tmp_path, kind, part):
    path = write(tmp_path / f"whole.{kind}", COUNTS[0])
    content = path.read_bytes()
    path.write_bytes(content[: max(12, int(len(content) * part))])
    with pytest.raises(ReadError, match="whole"):
        io.open(path)


def test_cut_image_in_a_series_is_lost_and_told(tmp_path):
    for i, counts in enumerate(COUNTS):
        write(tmp_path / f"scan_{i}.tif", counts)
    broken = tmp_path / "scan_2.tif"
    broken.write_bytes(broken.read_bytes()[:3000])
    with pytest.warns(UserWarning, match=r"1 of 5 images are lost.*scan_2.tif"):
        frames = io.open(str(tmp_path / "scan_*.tif"))
    assert frames.frame.values.tolist() == [0, 1, 3, 4]
    assert frames.attrs["lost_frames"] == [2]
    np.testing.assert_array_equal(frames.intensity, COUNTS[[0, 1, 3, 4]])


def test_tiff_pages_in_a_circle_end(tmp_path):
    page = b"\x00\x00" + (8).to_bytes(4, "little")
    (tmp_path / "loop.tif").write_bytes(b"II*\0" + (8).to_bytes(4, "little") + page + bytes(50))
    with pytest.raises(ReadError, match="circle"):
        io.open(tmp_path / "loop.tif")


def test_images_of_different_shape_are_refused_when_read(tmp_path):
    write(tmp_path / "s_1.tif", COUNTS[0])
    write(tmp_path / "s_2.tif", COUNTS[0])
    write(tmp_path / "s_3.tif", COUNTS[0])
    frames = io.open(str(tmp_path / "s_*.tif"))
    write(tmp_path / "s_2.tif", COUNTS[0, :30])
    with pytest.raises(ReadError, match=r"s_2.tif: is \(30, 60\)"):
        frames.intensity.compute()


def _only(name, pattern):
    path = datasets.path(name)
    return sorted(path.glob(pattern)) if path.is_dir() else [path]


@pytest.mark.data
def test_ceo2_pilatus_1m():
    frames = check(io.open(_only("ceo2_pilatus1m", "*.tif")[0]))
    assert frames.intensity.shape == (1, 1043, 981)
    assert frames.intensity.dtype == np.int32
    # A Pilatus 1M is 2 x 5 modules of 487 x 195 with gaps of 7 columns and 17 rows.
    assert frames.mask.values[:, 487:494].all()
    assert all(frames.mask.values[row : row + 17].all() for row in range(195, 1043, 212) if row + 17 <= 1043)
    assert int(frames.mask.sum()) == pytest.approx(1043 * 981 - 10 * 487 * 195, abs=200)
    assert frames.exposure.values.tolist() == [3.0]
    assert frames.attrs["pixel_size_y"] == 172e-6


@pytest.mark.data
def test_gadds_frames_of_an_nca_map():
    frames = check(io.open(_only("nca_gadds", "*.gfrm")))
    assert frames.intensity.shape == (3, 1024, 1024)
    assert frames.attrs["wavelength"] == 1.54056
    assert frames.attrs["wavelength_alpha2"] == 1.54439
    # NCOUNTS and MAXIMUM in the header of the first.
    assert int(frames.intensity[0].astype("i8").sum()) == 288846
    assert int(frames.intensity[0].max()) == 11
    assert float(frames.exposure[0]) == pytest.approx(500.006, abs=1e-3)
