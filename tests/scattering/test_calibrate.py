"""Calibration without a hand: simulated rings with known truth, real CeO2, wrong starts of every kind."""

import importlib.util
import pathlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io, scattering, schema
from batlab.errors import DimensionError
from batlab.io import Geometry
from batlab.scattering.calibration import beam_centre

_spec = importlib.util.spec_from_file_location("powder_image", pathlib.Path(__file__).with_name("powder_image.py"))
powder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(powder)

SMALL = {"shape": (620, 500), "poni": (0.0246, 0.0187), "distance": 0.09, "wavelength": 0.3, "width": 1.1}
FREE = ("rot3", "wavelength")


def geometry_of(shape, distance, poni, rotation=(0.006, -0.004, 0.0), wavelength=0.2, **_):
    return Geometry(
        distance, *poni, *rotation, wavelength=wavelength, detector_config='{"pixel1": 7.5e-5, "pixel2": 7.5e-5}',
        pixel_size_y=75e-6, pixel_size_x=75e-6, shape=shape, orientation=3, orientation_stated=True,
    )  # fmt: skip


def off(truth, share=0.007, rows=3.0, columns=-2.5):
    """A guess: distance wrong by a share, the beam by some pixels, no tilt."""
    row, column = beam_centre(truth)
    return replace(
        truth, distance=truth.distance * (1 + share), poni1=(row + rows) * 75e-6, poni2=(column + columns) * 75e-6,
        rot1=0.0, rot2=0.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def small():
    image = powder.powder_image(3, **SMALL, spacings=powder.cubic_primitive(12))
    return image, geometry_of(**SMALL)


def test_lab6_eiger4m_from_a_wrong_start():
    """26 rings, Poisson noise, 0.7 % and some pixels off: distance within 5 µm, centre within 0.03 pixel."""
    truth = geometry_of(powder.EIGER_4M, 0.3, (0.081, 0.0775))
    image = powder.powder_image(1)
    done = scattering.calibrate(image, "LaB6_SRM660c", off(truth), n_rings=26)
    assert done.rings.sizes["peak"] == 26
    assert abs(done.geometry.distance - 0.3) < 5e-6
    assert np.hypot(*np.subtract(done.beam_centre, beam_centre(truth))) < 0.03
    assert abs(done.geometry.rot1 - 0.006) < 1e-4
    assert abs(done.geometry.rot2 + 0.004) < 1e-4
    assert np.abs(done.rings.residual_mean).max() < 0.03
    schema.check(done.rings)
    schema.check(done.points)
    assert "scattering.calibrate" in done.rings.attrs["history"]


def test_beam_centre_is_pyfais():
    """Where pyFAI's own conversion to Fit2D puts the beam."""
    tilted = geometry_of((600, 500), 0.2, (0.02, 0.01), (0.05, -0.08, 0.3))
    theirs = tilted.pyfai().getFit2D()
    np.testing.assert_allclose(beam_centre(tilted), (theirs["centerY"], theirs["centerX"]), atol=1e-9)


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_beam_centre_is_where_two_theta_vanishes(orientation):
    """In every orientation: pyFAI's 2θ at the beam's place is 0."""
    tilted = replace(geometry_of((600, 500), 0.2, (0.02, 0.01), (0.05, -0.08, 0.3)), orientation=orientation)
    row, column = beam_centre(tilted)
    angle = tilted.pyfai().tth(np.array([row - 0.5]), np.array([column - 0.5]))
    assert angle.item() < 1e-7


@pytest.mark.parametrize("share", [-0.02, -0.007, 0.0, 0.007, 0.02])
def test_any_start_leads_to_the_same_place(small, share):
    image, truth = small
    done = scattering.calibrate(image, "LaB6", off(truth, share, 4.0, 3.0), n_rings=12, fixed=FREE)
    assert abs(done.geometry.distance - truth.distance) < max(5 * done.sigma["distance"], 1e-6)
    assert np.hypot(*np.subtract(done.beam_centre, beam_centre(truth))) < 0.05


def test_sigmas_are_what_repeats_scatter():
    """Twelve noise seeds: the spread of each parameter is its sigma within the 95 % interval of chi-square, 11 dof."""
    truth = geometry_of(**SMALL)
    found, told = [], []
    for seed in range(12):
        image = powder.powder_image(100 + seed, **SMALL, spacings=powder.cubic_primitive(12))
        done = scattering.calibrate(image, "LaB6", truth, n_rings=12, fixed=FREE)
        found.append([getattr(done.geometry, name) for name in done.sigma])
        told.append(list(done.sigma.values()))
    ratio = np.std(found, axis=0, ddof=1) / np.mean(told, axis=0)
    # 0.5 to 1.9 rather than 0.59 to 1.55: five parameters, and the floor of 0.02 pixel makes sigmas a little larger.
    assert ((ratio > 0.4) & (ratio < 1.9)).all(), ratio


def test_masked_and_hot_pixels_and_spots_do_no_harm(small):
    image, truth = small
    damaged = image.copy()
    generator = np.random.default_rng(5)
    damaged[generator.integers(0, 620, 300), generator.integers(0, 500, 300)] = 50_000
    for row, column in generator.integers(20, 480, (15, 2)):
        damaged[row : row + 4, column : column + 4] += 3000
    mask = np.zeros(image.shape, bool)
    mask[300:310] = mask[:, 240:250] = True
    damaged[mask] = 2**31
    done = scattering.calibrate(damaged, "LaB6", off(truth), mask=mask, n_rings=12, fixed=FREE)
    assert abs(done.geometry.distance - truth.distance) < 2e-5
    assert np.hypot(*np.subtract(done.beam_centre, beam_centre(truth))) < 0.1


def test_frames_are_summed_and_their_masks_obeyed(small):
    image, truth = small
    frames = xr.DataArray(np.stack([image, image]), dims=("frame", "y", "x"), attrs={"overflow": [2**32 - 1]})
    frames.values[0, :50] = 2**32 - 1
    done = scattering.calibrate(frames, "LaB6", off(truth), n_rings=12, fixed=FREE)
    assert abs(done.geometry.distance - truth.distance) < 1e-5


def test_wavelength_freed_with_distance_held(small):
    image, truth = small
    guess = replace(off(truth, 0.0), wavelength=0.3 * 1.004)
    done = scattering.calibrate(image, "LaB6", guess, n_rings=12, fixed=("distance", "rot3"))
    assert done.geometry.wavelength == pytest.approx(0.3, abs=5 * done.sigma["wavelength"])
    assert done.sigma["wavelength"] < 1e-4
    assert "distance" not in done.sigma


def test_distance_and_wavelength_together_are_warned_of(small):
    image, truth = small
    with pytest.warns(UserWarning, match="wavelength with distance"):
        scattering.calibrate(image, "LaB6", truth, n_rings=12, fixed=("rot1", "rot2", "rot3"))


def test_a_wrong_orientation_is_told_and_mended(small):
    image, truth = small
    flipped = image[::-1]
    open_guess = replace(off(truth), orientation_stated=False)
    with pytest.warns(UserWarning, match="orientation=2 than with 3, which is assumed.*2 is used"):
        done = scattering.calibrate(flipped, "LaB6", open_guess, n_rings=12, fixed=FREE)
    assert done.geometry.orientation == 2
    assert abs(done.geometry.distance - truth.distance) < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scattering.calibrate(flipped, "LaB6", open_guess, orientation=2, n_rings=12, fixed=FREE)


def test_few_rings_hold_the_tilt(small):
    image, truth = small
    with pytest.warns(UserWarning, match="tilt only to .* mrad"):
        done = scattering.calibrate(image, "LaB6", off(truth, 0.0), n_rings=1)
    assert set(done.sigma) == {"distance", "poni1", "poni2"}


def test_errors_say_what_to_do(small):
    image, truth = small
    with pytest.raises(ValueError, match="did you mean 'LaB6'"):
        scattering.calibrate(image, "lab6", truth)
    with pytest.raises(ValueError, match="did you mean 'distance'"):
        scattering.calibrate(image, "LaB6", truth, fixed=("distanse",))
    with pytest.raises(ValueError, match="wavelength"):
        scattering.calibrate(image, "LaB6", replace(truth, wavelength=None))
    with pytest.raises(DimensionError, match="transposed"):
        scattering.calibrate(image.T, "LaB6", truth)
    noise = np.random.default_rng(0).poisson(5, image.shape)
    with pytest.raises(ValueError, match="rings were found"):
        scattering.calibrate(noise, "LaB6", truth)


def test_lab6_is_the_certificates():
    """NIST SRM 660c: a = 4.156826 Å, in both files of pyFAI."""
    for name in ("LaB6", "LaB6_SRM660c"):
        np.testing.assert_allclose(scattering.ring_spacings(name)[:26], powder.cubic_primitive(26), rtol=2e-8)


def test_a_poni_comes_back_through_pyfai(small, tmp_path):
    import pyFAI

    _, truth = small
    for orientation in (1, 2, 3, 4):
        path = tmp_path / f"{orientation}.poni"
        io.save(replace(truth, orientation=orientation), path)
        back = io.open(path)
        assert back.orientation == orientation
        assert back.orientation_stated
        theirs = pyFAI.load(str(path))
        for name, value in (("dist", truth.distance), ("poni1", truth.poni1), ("rot2", truth.rot2)):
            assert getattr(theirs, name) == pytest.approx(value, rel=1e-12)
        assert theirs.wavelength == pytest.approx(truth.wavelength * 1e-10, rel=1e-12)
        place = np.array([7.0]), np.array([9.0])
        np.testing.assert_allclose(theirs.tth(*place), back.pyfai().tth(*place), rtol=1e-12)
    with pytest.raises(FileExistsError):
        io.save(truth, path)
    with pytest.raises(TypeError, match="takes a Geometry"):
        io.save(xr.DataArray([1.0]), tmp_path / "no.poni")


@pytest.mark.data
def test_real_ceo2_rings_meet_the_cell():
    """Pilatus 1M after its own calibration: each ring's a = 5.4116 Å within 5e-4."""
    folder = datasets.path("ceo2_pilatus1m")
    image = io.open(folder / "CeO2_Pilatus1M.tif")
    guess = io.open(folder / "CeO2_Pilatus1M.poni", orientation=2)
    done = scattering.calibrate(image, "CeO2", replace(guess, distance=guess.distance * 1.007))
    # pyFAI's and Dioptas' own calibration of the image
    assert done.geometry.distance == pytest.approx(guess.distance, abs=5e-5)
    assert done.geometry.orientation == 2
    radians = np.radians(done.rings.residual_two_theta / 2)
    a = 5.4116 * (1 - radians / np.tan(np.radians(done.rings.two_theta / 2)))
    assert done.rings.sizes["peak"] >= 12
    assert np.abs(a - 5.4116).max() < 5.4116 * 5e-4


@pytest.mark.data
def test_real_ceo2_unstated_orientation_is_found():
    folder = datasets.path("ceo2_pilatus1m")
    with pytest.warns(UserWarning, match="does not say how the image is oriented"):
        guess = io.open(folder / "CeO2_Pilatus1M.poni")
    with pytest.warns(UserWarning, match="2 is used"):
        done = scattering.calibrate(io.open(folder / "CeO2_Pilatus1M.tif"), "CeO2", guess)
    assert done.geometry.orientation == 2
