import gemmi
import numpy as np
import pytest

from batlab.simulate.powder import pattern, reflections
from batlab.simulate.structures import STRUCTURES, write_cif

WAVELENGTH = 0.2066


@pytest.mark.parametrize("phase", STRUCTURES)
def test_strengths_agree_with_gemmi(tmp_path, phase):
    """gemmi sums the same atoms with other form factors (IT92) and counts the family by symmetry."""
    crystal = gemmi.read_small_structure(str(write_cif(STRUCTURES[phase], tmp_path)))
    crystal.change_occupancies_to_crystallographic()
    factors = gemmi.StructureFactorCalculatorX(crystal.cell)
    lines = reflections(STRUCTURES[phase], wavelength=WAVELENGTH, q_max=5.0)
    expected: dict[float, float] = {}
    for hkl in gemmi.make_miller_array(crystal.cell, crystal.spacegroup, 2 * np.pi / 5.0, 100.0):
        images = {tuple(op.apply_to_hkl(list(hkl))) for op in crystal.spacegroup.operations().sym_ops}
        images |= {tuple(-i for i in image) for image in images}
        d = round(crystal.cell.calculate_d(list(hkl)), 5)
        strength = len(images) * abs(factors.calculate_sf_from_small_structure(crystal, list(hkl))) ** 2
        expected[d] = expected.get(d, 0.0) + strength
    ours = dict(zip(np.round(lines.d(STRUCTURES[phase]), 5).tolist(), lines.strength))
    strongest = max(expected.values())
    for d, strength in expected.items():
        assert ours.get(d, 0.0) == pytest.approx(strength, rel=0.03, abs=0.002 * strongest)
    assert set(ours) <= set(expected)


def test_face_centring_extinguishes_mixed_indices():
    lines = reflections(STRUCTURES["Al"], wavelength=WAVELENGTH, q_max=6.0)
    assert set(lines.hkl) == {"1 1 1", "2 0 0", "2 2 0", "3 1 1", "2 2 2"}


def test_aluminium_relative_intensities():
    """PDF 04-0787 (Cu K alpha): 100, 47, 22, 24 for 111, 200, 220, 311 (measured, no better than 6).

    Lorentz and polarisation factors by hand.
    """
    wavelength = 1.5406
    lines = reflections(STRUCTURES["Al"], wavelength=wavelength, q_max=5.3)
    theta = np.arcsin(wavelength / 2 / lines.d(STRUCTURES["Al"]))
    intensity = lines.strength * (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    relative = dict(zip(lines.hkl, 100 * intensity / intensity.max()))
    for hkl, value in (("1 1 1", 100), ("2 0 0", 47), ("2 2 0", 22), ("3 1 1", 24)):
        assert relative[hkl] == pytest.approx(value, abs=6)


def test_one_line_has_its_place_width_and_area():
    copper = STRUCTURES["Cu"]
    lines = reflections(copper, wavelength=WAVELENGTH, q_max=3.2)
    assert lines.hkl == ("1 1 1",)
    grid = np.linspace(2.0, 9.0, 200_001)
    how = {"wavelength": WAVELENGTH, "fwhm": 0.02}
    curve = pattern(copper, lines, grid, microstrain=0.0, **how)
    centre = 2 * np.rad2deg(np.arcsin(WAVELENGTH / 2 / (3.6150 / np.sqrt(3))))
    half = grid[curve > curve.max() / 2]
    assert grid[np.argmax(curve)] == pytest.approx(centre, abs=1e-4)
    assert half[-1] - half[0] == pytest.approx(0.02, abs=2e-4)
    theta = np.deg2rad(centre / 2)
    expected = lines.strength[0] / copper.volume**2 / (np.sin(theta) * np.sin(2 * theta))
    assert np.trapezoid(curve, grid) == pytest.approx(expected, rel=0.005)  # the cut tail holds 0.35 %
    broad = pattern(copper, lines, grid, microstrain=2e-3, **how)
    half = grid[broad > broad.max() / 2]
    assert half[-1] - half[0] == pytest.approx(np.hypot(0.02, np.rad2deg(8e-3 * np.tan(theta))), abs=2e-4)
