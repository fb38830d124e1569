"""Three Lambda modules in nine files, laid out and integrated, against the beamline's own result."""

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.schema import check


@pytest.fixture(scope="module")
def folder():
    return datasets.path("lambda_stack")


@pytest.fixture(scope="module")
def frames(folder):
    return check(io.open(str(folder / "*_m?_part*.nxs")))


@pytest.mark.data
def test_modules_are_laid_out_lazily_with_gaps_masked(folder, frames):
    # Offsets in the files: x 0, -2, -2 and y 0, 660, 1317; modules of 516 x 1554. `_proc` has a mask of 1833 x 1556.
    assert frames.intensity.shape == (30, 1833, 1556)
    assert frames.intensity.chunks[0] == (1,) * 30
    assert frames.intensity.dtype == np.int16
    assert frames.mask.values[516:660].all()
    assert frames.mask.values[1176:1317].all()
    assert frames.mask.values[:516, :2].all()
    assert frames.mask.values[660:, 1554:].all()
    second = io.open(str(folder / "*_m2_part*.nxs"))
    np.testing.assert_array_equal(frames.intensity[13, 660:1176, :1554], second.intensity[13])
    np.testing.assert_array_equal(frames.mask[660:1176, :1554], second.mask)
    assert (frames.exposure == 0.1).all()
    assert frames.attrs["pixel_size_x"] == pytest.approx(55e-6)
    # 12-bit counters, saturation_value 4095.
    assert frames.attrs["overflow"] == [-2, -1, 4095]


@pytest.mark.data
def test_a_glob_that_catches_the_result_too_says_so(folder):
    with pytest.raises(ReadError, match=r"_proc\.nxs: holds patterns, .*_m1_part00000\.nxs does not; open them apart"):
        io.open(str(folder / "*.nxs"))


@pytest.mark.data
def test_beamlines_own_result_opens_as_patterns(folder):
    own = check(io.open(next(folder.glob("*_proc.nxs"))))
    assert own.intensity.shape == (50, 4038)
    assert float(own.two_theta[0]) == pytest.approx(9.69267806)
    assert float(own.two_theta[-1]) == pytest.approx(26.04046275)


@pytest.fixture(scope="module")
def as_the_beamline(folder):
    """The frames as Dioptas took them: flipped up-down, no pixel left out, so noisy ones count."""
    frames = io.open(str(folder / "*_m?_part*.nxs"), mask_bits=0)
    frames.attrs["overflow"] = []
    return frames.isel(y=slice(None, None, -1))


@pytest.fixture(scope="module")
def geometry(folder):
    with pytest.warns(UserWarning, match="orientation"):
        return io.open(folder / "L2.poni")


def frame_of(row):
    """Return the frame of a row of `_proc`: of each file its first frame stands twice and its last is missing."""
    return row if row % 10 == 0 else row - 1


@pytest.mark.data
def test_noisy_pixels_hold_the_counts_and_are_masked(frames):
    """97 % of all counts are in the 0.5 % of the pixels that the file calls noisy: why the mask changes the pattern."""
    counts = frames.intensity.clip(0).sum("frame").values
    assert counts[frames.mask.values].sum() > 0.96 * counts.sum()


@pytest.mark.data
@pytest.mark.parametrize("row", [0, 4, 23])
def test_pyfai_with_the_beamlines_settings_gives_the_beamlines_result(folder, as_the_beamline, row):
    pyfai = pytest.importorskip("pyFAI")
    own = io.open(next(folder.glob("*_proc.nxs")))
    image = np.ascontiguousarray(as_the_beamline.intensity[frame_of(row)].values, dtype=float)
    integrator = pyfai.load(str(folder / "L2.poni"))
    angle, intensity = integrator.integrate1d(
        image, 4038, unit="2th_deg", method=("bbox", "csr", "cython"), polarization_factor=0.99
    )[:2]
    np.testing.assert_allclose(angle, own.two_theta, atol=1e-4)
    assert np.corrcoef(intensity, own.intensity[row])[0, 1] >= 0.999


@pytest.mark.data
def test_integrated_frames_are_the_beamlines_bin_by_bin(folder, as_the_beamline, geometry):
    """r >= 0.995 on all matched frames, each of 4038 bins (0.4 pixels) by itself; without splitting it is 0.7."""
    from batlab import scattering

    own = io.open(next(folder.glob("*_proc.nxs")))
    half = 0.5 * float(own.two_theta[-1] - own.two_theta[0]) / 4037
    edges = np.deg2rad([float(own.two_theta[0]) - half, float(own.two_theta[-1]) + half])
    q_range = tuple(4 * np.pi / geometry.wavelength * np.sin(edges / 2))
    how = {"n_bins": 4038, "unit": "two_theta", "q_range": q_range}
    result = check(scattering.integrate(as_the_beamline, geometry, split="bbox", **how))
    np.testing.assert_allclose(result.two_theta, own.two_theta, atol=1e-4)
    for row in range(30):
        ours = np.nan_to_num(result.intensity.values[frame_of(row)])
        assert np.corrcoef(ours, own.intensity[row])[0, 1] >= 0.995, row
