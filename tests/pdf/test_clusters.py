"""Clusters and Debye's sum: against the plain double sum, known numbers of neighbours, the crystal's own G(r)."""

import numpy as np
import pytest
import xarray as xr

from batlab import pdf, simulate
from batlab.errors import SchemaError
from batlab.schema import check, quantity


def placed(places, elements):
    made = {f"cartesian_{k}": quantity("site", np.array(c, float), "angstrom", k) for k, c in zip("xyz", zip(*places))}
    return xr.Dataset(made | {"element": quantity("site", np.array(elements), "", "element")})


@pytest.mark.parametrize(("mode", "wavelength"), [("neutron", None), ("xray", None), ("xray", 0.5)])
def test_debye_is_the_plain_double_sum(mode, wavelength):
    rng = np.random.default_rng(0)
    places, elements = rng.uniform(0, 18, (60, 3)), rng.choice(["Ni", "O", "Li"], 60)
    q = np.linspace(0.3, 30, 400)
    u = {"Ni": 0.004, "O": 0.01, "Li": 0.02}
    given = placed(places, elements)
    before = given.copy(deep=True)
    done = pdf.debye(given, q, u_iso=u, mode=mode, wavelength=wavelength)
    xr.testing.assert_identical(given, before)
    import xraydb

    lengths = {"Ni": 10.3, "O": 5.803, "Li": -1.90}  # fm, Neutron News 3, 1992
    f = []
    for element in elements:
        one = xraydb.f0(element, q / (4 * np.pi)) + 0j if mode == "xray" else lengths[element] + 0j * q
        if wavelength:
            energy = 12398.4198 / wavelength
            one = one + xraydb.f1_chantler(element, energy) + 1j * xraydb.f2_chantler(element, energy)
        f.append(one)
    plain = np.zeros(len(q))
    for i in range(60):
        for j in range(60):
            r = np.linalg.norm(places[i] - places[j])
            wave = np.exp(-(u[elements[i]] + u[elements[j]]) * q**2 / 2) * np.sinc(q * r / np.pi) if i != j else 1.0
            plain += np.real(f[i] * np.conj(f[j])) * wave
    np.testing.assert_allclose(done["i_q"], plain / 60, atol=1e-6 * (plain / 60).max())
    mean = np.abs(np.mean(f, axis=0)) ** 2
    square = np.mean(np.abs(f) ** 2, axis=0)
    np.testing.assert_allclose(done["s_q"], (plain / 60 - square) / mean + 1, atol=1e-5 * np.abs(done["s_q"]).max())
    check(done)
    assert "pdf.debye" in done.attrs["history"]


def test_balls_hold_the_atoms_that_geometry_says():
    # f.c.c.: 1, 12, 6, 24, 12 atoms at 0, 1/sqrt 2, 1, sqrt 1.5, sqrt 2 of the cell; 6 around its middle.
    nickel = simulate.crystal("Ni")
    for shell, count in ((0.1, 1), (0.71, 13), (1.0, 19), (1.23, 43), (1.42, 55)):
        assert pdf.cluster(nickel, 2 * 3.5238 * shell).sizes["site"] == count
    assert pdf.cluster(nickel, 3.53, (0.5, 0.5, 0.5)).sizes["site"] == 6
    ball = pdf.cluster(simulate.crystal("FeF2"), 20.0, (0.1, 0.2, 0.3))
    assert ball.sizes["site"] == pytest.approx(np.pi / 6 * 20**3 / (4.6966**2 * 3.3091) * 6, rel=0.05)
    check(ball)


@pytest.mark.filterwarnings("ignore:.*intensity_sigma")
def test_a_large_balls_g_of_r_is_its_crystals():
    nickel = simulate.crystal("Ni")
    q = np.arange(0.02, 25.0, 0.02)
    ball = pdf.debye(pdf.cluster(nickel, 36.0), q, u_iso=0.005)
    seen = ball[["i_q"]].rename(i_q="intensity")
    g = pdf.g_of_r(seen, "Ni", rpoly=None, normalization=None, rmin=1.5, rmax=12, rstep=0.02)
    model = pdf.calculate(nickel, g["r"].values, qmax=24.98, diameter=36.0, u_iso=0.005)
    # What small angles see of the ball is in F(Q), so that its G(r) has no falling base: put it there.
    x = g["r"].values / 36.0
    base = 4 * np.pi * 4 / 3.5238**3 * g["r"].values * (1 - 1.5 * x + 0.5 * x**3)
    peaks, ours = model["g_r"].values + base, g["g_r"].values
    # One ball around an atom is not the mean of all places of its centre: 5 %.
    assert np.sqrt(((peaks - ours) ** 2).sum() / (peaks**2).sum()) < 0.05


def test_what_makes_no_sense_is_refused():
    nickel = simulate.crystal("Ni")
    ball = pdf.cluster(nickel, 6.0)
    for call, words in (
        (lambda: pdf.cluster(nickel, 0.0), "diameter above 0"),
        (lambda: pdf.cluster(nickel, 1.0, (0.5, 0.5, 0.5)), "holds no atom"),
        (lambda: pdf.cluster(nickel, 200.0), "more than 20000"),
        (lambda: pdf.cluster(nickel, 6.0, (0.5, np.nan, 0.5)), "centre of 3 numbers"),
        (lambda: pdf.debye(ball, [2.0, 1.0]), "q must increase"),
        (lambda: pdf.debye(ball, []), "q must increase"),
        (lambda: pdf.debye(ball, [1.0], u_iso={"Fe": 0.1}), "displacement of 0 or more"),
        (lambda: pdf.debye(ball, [1.0], mode="x"), "mode must be"),
        (lambda: pdf.debye(ball.isel(site=[0]), [1.0]), "needs 2 to 20000 atoms"),
        (lambda: pdf.debye(ball.isel(site=[0, 0]), [1.0]), "on one place"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(SchemaError, match=r"pdf\.cluster"):
        pdf.debye(nickel, [1.0])
