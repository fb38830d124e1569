"""Simulated small angles give back what was planted: sizes, volumes, radii, with pulls of one."""

import numpy as np
import pytest

from batlab import saxs, simulate
from batlab.schema import check


def test_growing_iron_is_found_within_five_percent():
    # Conversion: iron particles from 2 to 5 nm while their volume rises (after Wiaderek et al., doi:10.1021/ja501854y).
    diameters, fractions = np.linspace(20, 50, 16), np.linspace(0.01, 0.05, 16)
    patterns, truth = simulate.small_angle(diameters, fractions, contrast=40.0, counts=3e6)
    check(patterns)
    found = saxs.size_distribution(patterns, (8, 200), n_sizes=40, contrast=40.0, n_replicates=20)
    planted = truth["diameter"].values[:, 0]
    assert np.abs(found["mean_diameter"].values / planted - 1).max() < 0.05
    assert np.abs(found["volume_fraction"].values / truth["volume_fraction"].values[:, 0] - 1).max() < 0.05
    assert (np.diff(found["mean_diameter"].values) > 0).all()


def test_form_and_guinier_agree_with_the_analysis():
    patterns, truth = simulate.small_angle([60.0], 0.1, width=0.01, counts=1e10, background=0.0)
    exact = 0.1 * saxs.sphere(patterns["q"].values, 30.0)
    # A width of 1 % fills the minima; elsewhere two ways to the same form agree.
    high = exact > 0.05 * exact[0]
    np.testing.assert_allclose(patterns["intensity"].values[0][high], exact[high], rtol=5e-3)
    assert float(truth["rg"][0]) == pytest.approx(30 * np.sqrt(0.6), rel=1e-3)


def test_noise_is_that_of_counting():
    q = np.geomspace(0.01, 0.3, 40)
    rows, _ = simulate.small_angle(np.full(400, 60.0), 0.1, q=q, counts=1e6)
    pulls = (rows["intensity"] - rows["intensity"].mean("frame")) / rows["intensity_sigma"]
    np.testing.assert_allclose(pulls.std("frame").values.mean(), 1.0, atol=0.02)
    again, _ = simulate.small_angle(np.full(400, 60.0), 0.1, q=q, counts=1e6)
    assert rows["intensity"].equals(again["intensity"])


def test_refusals():
    for arguments, words in (
        (([30.0], [-0.1]), "fractions within 0 and 1"),
        (([[30.0, 40.0]], [[0.1, 0.1, 0.1]]), "must agree"),
        (([0.0], [0.1]), "diameters must be above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            simulate.small_angle(*arguments)
    with pytest.raises(ValueError, match=r"width must be 0\.01"):
        simulate.small_angle([30.0], 0.1, width=0.5)
    with pytest.raises(ValueError, match="q must rise"):
        simulate.small_angle([30.0], 0.1, q=[0.3, 0.2, 0.1])
