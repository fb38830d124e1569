"""Simulated total scattering: Debye's sum by another way, and what the analysis finds of what was planted."""

import numpy as np
import pytest

import batlab as bl
from batlab import pdf, simulate
from batlab.schema import check


def shells(q, a, qdamp, u, reach=120.0):
    """S(Q) of an f.c.c. crystal from its shells of neighbours, in closed form."""
    n = int(2 * reach / a) + 1
    squares = np.arange(-n, n + 1) ** 2
    total = squares[:, None, None] + squares[:, None] + squares
    odd = np.arange(-n, n + 1) % 2
    even = (odd[:, None, None] + odd[:, None] + odd) % 2 == 0
    count = np.bincount(total[even & (total <= (2 * reach / a) ** 2)])
    r = a / 2 * np.sqrt(np.flatnonzero(count)[1:])
    weight = count[count > 0][1:] * np.exp(-((qdamp * r) ** 2) / 2)
    return 1 + np.sinc(np.outer(q, r) / np.pi) @ weight * np.exp(-u * q**2)


def test_nickel_is_the_sum_over_its_shells():
    q = np.linspace(0.6, 25, 400)
    patterns, truth = simulate.total_scattering("Ni", q=q, u_iso=0.006, qdamp=0.05, background=0.0, counts=np.inf)
    exact = shells(q, 3.5238, 0.05, 0.006)
    np.testing.assert_allclose(truth["s_q"].values[0], exact, atol=1e-3)
    # The rest is Compton scattering. xraylib 4 (SF_Compt, Hubbell's tables) at Q = 1, 2, 4, 8, 16, 24 1/angstrom.
    power = pdf.scattering_power({"Ni": 1.0}, q, "xray")
    rest = patterns["intensity"].values[0] - power.square_of_mean * exact
    hubbell = np.array([2.0468, 4.5831, 8.9335, 15.3725, 21.3376, 23.9507])
    np.testing.assert_allclose(np.interp([1, 2, 4, 8, 16, 24], q, rest), hubbell, atol=0.02 * 28)
    assert float(truth["bond"][0]) == pytest.approx(3.5238 / 2**0.5)
    check(patterns)
    check(truth)


def test_planted_particles_grow_in_the_fit_as_they_were_planted():
    # Conversion of FeF2: iron grows among lithium fluoride (after Wiaderek et al., doi:10.1021/ja501854y).
    diameters = np.column_stack([[18.0, 26.0, 34.0], [25.0, 25.0, 25.0]])
    patterns, truth = simulate.total_scattering(["Fe", "LiF"], diameters=diameters, fractions=(1 / 3, 2 / 3))
    g = pdf.g_of_r(patterns, patterns.attrs["composition"], rmin=1.6, rmax=30, rstep=0.02)
    done = pdf.fit(
        g, simulate.crystal("Fe"), vary=("scale", "cell", "u_iso", "diameter"), rmin=2.2, rmax=30, qdamp=0.04,
        start={"diameter": 20.0, "scale": 1.0},
    )  # fmt: skip
    # Within 10 % from the damping; LiF, at 1/20 of iron's scattering, is left out of the model.
    np.testing.assert_allclose(done["diameter"].values[:, 0], truth["diameter"].values[:, 0], rtol=0.10)
    np.testing.assert_allclose(done["a"].values[:, 0], 2.8665, atol=0.005)


def test_noise_is_that_of_counting_and_scale_that_of_the_detector():
    q = np.arange(0.5, 12, 0.05)
    rows, _ = simulate.total_scattering("Fe", diameters=np.full(300, 20.0), q=q, counts=1e7, scale=3.0)
    exact, _ = simulate.total_scattering("Fe", diameters=20.0, q=q, counts=np.inf, scale=3.0)
    pulls = (rows["intensity"].values - exact["intensity"].values) / rows["intensity_sigma"].values
    assert pulls.std() == pytest.approx(1.0, abs=0.01)
    assert pulls.mean() == pytest.approx(0.0, abs=0.02)
    one, _ = simulate.total_scattering("Fe", diameters=20.0, q=q, counts=np.inf)
    np.testing.assert_allclose(exact["intensity"], 3 * one["intensity"])
    assert (exact["intensity_sigma"] == 0).all()


def test_a_small_ball_scatters_as_its_own_atoms():
    # Debye's double sum over the atoms of real balls of iron, cut at random places of the lattice, far from small
    # angles; the ball's share of pairs, 1 - 3/2 (r/d) + 1/2 (r/d)³, is the mean over all such places.
    rng = np.random.default_rng(0)
    q = np.arange(2.0, 14.0, 0.05)
    cubes = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = 2.8665 * np.concatenate([cubes, cubes + 0.5])
    waves, n_atoms = np.zeros(len(q)), 0
    for _ in range(15):
        inside = lattice[np.linalg.norm(lattice - 2.8665 * rng.uniform(-0.5, 0.5, 3), axis=1) < 8.0]
        n_atoms += len(inside)
        r = np.linalg.norm(inside[:, None] - inside, axis=-1)[np.triu_indices(len(inside), 1)]
        r, count = np.unique(np.round(r, 6), return_counts=True)
        waves += 2 * count @ np.sinc(np.outer(r, q) / np.pi)
    debye = 1 + waves / n_atoms * np.exp(-0.005 * q**2)
    ours = simulate.total_scattering("Fe", diameters=16.0, q=q, u_iso=0.005, qdamp=0.01, counts=np.inf)[1]["s_q"]
    # The mean density of a ball with a sharp edge, which the simulation leaves out, scatters below 1/angstrom mostly.
    assert np.abs(ours.values[0] - debye).max() < 0.05 * debye.max()


def test_compositions_and_mixtures():
    q = np.arange(0.6, 20, 0.02)
    a = simulate.total_scattering("NiO", q=q, counts=np.inf)[0]
    b = simulate.total_scattering("Ni", q=q, counts=np.inf)[0]
    half, _ = simulate.total_scattering(["NiO", "Ni"], fractions=[[0.5, 0.5], [1.0, 0.0]], q=q, counts=np.inf)
    np.testing.assert_allclose(half["intensity"][0], (a["intensity"][0] + b["intensity"][0]) / 2)
    np.testing.assert_allclose(half["intensity"][1], a["intensity"][0])
    assert half.attrs["composition"] == "Ni0.75 O0.25"
    cif = simulate.total_scattering(bl.datasets.path("ni_pdf") / "Ni_Fm-3m.cif", q=q, u_iso=0.005)[0]
    check(cif)


def test_what_makes_no_sense_is_refused():
    for call, words in (
        (lambda: simulate.total_scattering("Nii"), "did you mean 'Ni'"),
        (lambda: simulate.total_scattering("Ni", diameters=[-1.0]), "above 0"),
        (lambda: simulate.total_scattering(["Ni", "Fe"], fractions=(0.5, 0.6)), "adding up to 1"),
        (lambda: simulate.total_scattering(["Ni", "Fe"], fractions=np.ones((2, 3)) / 3), "2 phases|must agree"),
        (lambda: simulate.total_scattering("Ni", q=[3.0, 2.0, 1.0]), "q must rise"),
        (lambda: simulate.total_scattering("Ni", q=np.linspace(1, 50, 99)), "at most 40"),
        (lambda: simulate.total_scattering("Ni", qdamp=0.0), r"qdamp must be 0\.01"),
        (lambda: simulate.total_scattering("Ni", u_iso=-0.1), "u_iso must be above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
