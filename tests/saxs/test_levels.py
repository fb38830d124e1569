"""Unified levels and pair distances: planted truth, the protein of the issue, real powders, bad input."""

import warnings

import numpy as np
import pytest
from scipy.special import erf

from batlab import datasets, io
from batlab.saxs import pair_distance, sphere, unified
from batlab.schema import check

Q = np.geomspace(0.001, 0.5, 150)


def two_levels(q, small=15.0, large=250.0):
    one = 4.0 * np.exp(-(q**2) * small**2 / 3) + 5e-4 * (erf(q * small / np.sqrt(6)) ** 3 / q) ** 4
    law = (erf(q * large / np.sqrt(6)) ** 3 / q) ** 3
    return one + 5e3 * np.exp(-(q**2) * large**2 / 3) + 2e-3 * np.exp(-(q**2) * small**2 / 3) * law + 0.05


def test_two_planted_levels_have_pulls_of_one(made):
    found = check(unified(made.noisy(Q, two_levels(Q), 0.02, 80), [12.0, 200.0], power=[4.0, 3.2]))
    assert (found["status"] == 0).all()
    for level, rg, power in ((0, 15.0, 4.0), (1, 250.0, 3.0)):
        pulls = (found["rg"][:, level] - rg) / found["rg_sigma"][:, level]
        assert 0.85 < float(pulls.std()) < 1.15
        assert abs(float(pulls.mean())) < 0.5
        pulls = (found["power"][:, level] - power) / found["power_sigma"][:, level]
        assert 0.85 < float(pulls.std()) < 1.15
    assert float(found["chi2_reduced"].mean()) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(found["guinier"][:, 1].mean(), 5e3, rtol=0.02)


def test_a_power_law_without_a_knee(made):
    row = 1e-6 * Q**-3.3 + 0.1
    found = unified(made.noisy(Q, row, 0.02, 3), [np.inf], power=3.0)
    np.testing.assert_allclose(found["power"], 3.3, atol=0.02)
    assert (found["guinier"] == 0).all()


def test_levels_refuse(made):
    table = made.noisy(Q, two_levels(Q), 0.02, 1)
    with pytest.raises(ValueError, match="rising radii"):
        unified(table, [200.0, 12.0])
    with pytest.raises(ValueError, match="power must be within"):
        unified(table, [12.0], power=6.0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("number", "rg", "window", "knees"),
    [  # SOURCES: where the instrument scientist saw the Guinier knees (GK), in 1/angstrom
        (1, [40.0, 250.0, np.inf], (1.5e-3, 0.2), [(0.03, 0.07), (0.006, 0.01)]),
        (10, [120.0, np.inf], (2e-3, 0.1), [(0.007, 0.025)]),
        (4, [60.0, 300.0, np.inf], (5e-4, 0.25), [(0.02, 0.04), (0.003, 0.006)]),
        (12, [40.0, np.inf], (4e-4, 0.28), [(0.025, 0.07)]),
        (23, [450.0, np.inf], (3e-4, 0.1), [(0.002, 0.007)]),
        (26, [900.0], (2.9e-4, 0.08), [(0.001, 0.003)]),
    ],
)
def test_knees_lie_where_the_instrument_scientist_saw_them(number, rg, window, knees):
    path = datasets.path("usaxs_12ide") / f"sample{number}.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one exponent of sample 1 ends at its bound
        found = check(unified(io.open(path, smeared=False).sel(q=slice(*window)), rg, power=3.8))
    for level, (low, high) in enumerate(knees):
        # A knee bends at q Rg of about √3.
        assert low < np.sqrt(3) / float(found["rg"][0, level]) < high


def test_distances_in_a_sphere(made):
    q = np.linspace(0.005, 0.3, 120)
    found = check(pair_distance(made.noisy(q, sphere(q, 50.0), 0.02, 10), dmax=(70.0, 140.0)))
    assert float(found["rg"].mean()) == pytest.approx(50 * np.sqrt(0.6), rel=0.003)
    assert float(found["i0"].mean()) == pytest.approx(float(sphere(0.0, 50.0)), rel=0.01)
    assert float(found["dmax"].mean()) == pytest.approx(100.0, abs=5.0)
    x = found["r"].values / 100
    exact = np.where(x < 1, x**2 * (1 - 1.5 * x + 0.5 * x**3), 0)
    exact *= float(sphere(0.0, 50.0)) / (4 * np.pi * np.trapezoid(exact, found["r"].values))
    assert np.abs(found["pair_distance"].mean("frame").values - exact).max() < 0.02 * exact.max()
    with pytest.raises(ValueError, match="dmax must be"):
        pair_distance(made.noisy(q, sphere(q, 50.0), 0.02, 1), dmax=-3.0)


@pytest.mark.data
def test_glucose_isomerase():
    table = io.open(datasets.path("glucose_isomerase") / "glucose_isomerase.dat", units="1/angstrom")
    found = check(pair_distance(table))
    # GNOM 5.0 (glucose_isomerase.out): Rg 33.36 ± 0.11, I(0) 0.06118, Dmax 101 (issue: ± 6).
    assert float(found["rg"][0]) == pytest.approx(33.36, abs=0.5)
    assert float(found["i0"][0]) == pytest.approx(0.06118, rel=0.01)
    assert float(found["dmax"][0]) == pytest.approx(101.0, abs=6.0)
    fixed = pair_distance(table, dmax=101.0)
    assert float(fixed["rg"][0]) == pytest.approx(33.36, abs=0.3)
