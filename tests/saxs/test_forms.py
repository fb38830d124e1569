"""Forms: known values, limits, identities between shapes."""

import numpy as np
import pytest

from batlab.saxs import core_shell, cylinder, sphere


def test_sphere_has_the_known_values():
    # sasmodels 1.1.0, tests in its sphere model (sld 6, solvent 1, radius 120): repeated analytically.
    got = sphere(np.array([0.01, 0.1, 0.2]), 120.0, contrast=5.0)
    np.testing.assert_allclose(got, [13483.6265, 6.20114062, 0.104733914], rtol=1e-8)


def test_polydisperse_sphere_has_the_known_values():
    # sasmodels 1.1.0: radius_pd 0.2, Gaussian of 45 points over 3 sigma: tests in its sphere model.
    radii = np.linspace(120 - 72, 120 + 72, 45)
    weight = np.exp(-0.5 * ((radii - 120) / 24) ** 2)
    q = np.array([[0.01], [0.1], [0.2]])
    got = np.sum(weight * radii**3 * sphere(q, radii, contrast=5.0), axis=1) / np.sum(weight * radii**3)
    np.testing.assert_allclose(got, [17439.5295, 3.68016987, 0.228843099], rtol=1.5e-5)


def test_sphere_is_smooth_where_its_series_begins():
    x = np.array([0.3 - 1e-9, 0.3 + 1e-9, 1e-6, 1e-3])
    got = sphere(x, 1.0)
    assert got[0] == pytest.approx(got[1], rel=1e-8)
    np.testing.assert_allclose(got[2:] / sphere(0.0, 1.0), 1 - x[2:] ** 2 / 5, rtol=1e-12)


def test_integral_of_a_sphere_is_its_invariant():
    q = np.linspace(1e-6, 40.0, 400001)
    total = np.trapezoid(q**2 * sphere(q, 10.0, contrast=2.0), q)
    total += 2 * np.pi * 4e-4 * 3 / 10.0 / 40.0  # Porod's tail beyond
    # Parseval: integral of q² I = 2π² Δρ² φ; here in 1/cm 1/angstrom³.
    assert total == pytest.approx(2 * np.pi**2 * 4e-4, rel=1e-5)


def test_shell_and_cylinder_at_their_limits():
    q = np.geomspace(1e-3, 0.3, 40)
    np.testing.assert_allclose(core_shell(q, 30, 0, core=4, shell=9), sphere(q, 30, contrast=4), rtol=1e-12)
    # A hollow sphere's amplitude is the difference of two full ones.
    inside, whole = (4 / 3 * np.pi * r**3 for r in (30, 40))
    both = np.sqrt(sphere(q, 40.0) * whole), np.sqrt(sphere(q, 30.0) * inside)
    low = q < 0.1  # before the first zero of either
    hollow = core_shell(q, 30, 10, core=0, shell=1)[low]
    np.testing.assert_allclose(hollow, ((both[0] - both[1]) ** 2 / whole)[low], rtol=1e-9)
    # Guinier: Rg² = R²/2 + L²/12.
    small = 1e-4
    rg2 = 15.0**2 / 2 + 80.0**2 / 12
    assert cylinder(small, 15.0, 80.0) / cylinder(0.0, 15.0, 80.0) == pytest.approx(1 - small**2 * rg2 / 3, rel=1e-9)


def test_cylinder_has_the_known_values():
    # sasmodels 1.1.0, cylinder(radius=20, length=400, sld=4, sld_solvent=1, scale=1, background=0), 76 Gauss points.
    got = cylinder(np.array([0.01, 0.05, 0.2]), 20.0, 400.0, contrast=3.0)
    np.testing.assert_allclose(got, [301.8238865722744, 53.666165266269104, 0.04176138683048811], rtol=1e-8)


def test_core_shell_has_the_known_values():
    # sasmodels 1.1.0, core_shell_sphere(radius=60, thickness=10, sld_core=1, sld_shell=2, sld_solvent=3).
    got = core_shell(np.array([0.01, 0.05, 0.2]), 60.0, 10.0, core=1.0, shell=2.0, solvent=3.0)
    np.testing.assert_allclose(got, [349.293034383137, 25.644286962062818, 0.02305494628060222], rtol=1e-8)
