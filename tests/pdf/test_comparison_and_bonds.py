"""Differences, similarity and bonds: planted peaks, the glass of SOURCES, refusals."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import pdf, simulate
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

R = np.arange(1.0, 4.0, 0.01)


def series(g, sigma=None, r=R):
    g = np.atleast_2d(g)
    made = {"g_r": quantity(("frame", "r"), g, "1/angstrom^2", "G(r)")}
    if sigma is not None:
        made["g_r_sigma"] = quantity(("frame", "r"), sigma + 0 * g, "1/angstrom^2", "sigma")
    frame = quantity("frame", np.arange(len(g)), "1", "frame")
    return xr.Dataset(made, {"r": quantity("r", r, "angstrom", "distance"), "frame": frame})


def peaks(*bonds, density=0.07, r=R):
    """G(r) of bonds (length, width, area)."""
    total = sum(a * np.exp(-((r - x) ** 2) / (2 * s * s)) / (np.sqrt(2 * np.pi) * s) for x, s, a in bonds)
    return total / r - 4 * np.pi * density * r


def test_difference_to_a_frame_and_to_a_curve():
    g = np.random.default_rng(0).normal(size=(4, len(R)))
    given = series(g, 0.3)
    done = pdf.difference(given, -1)
    np.testing.assert_allclose(done.g_r_difference, g - g[3])
    np.testing.assert_allclose(done.g_r_difference_sigma[:, 0], [0.3 * 2**0.5] * 3 + [0.0])
    other = pdf.difference(given, given.isel(frame=[0]))
    np.testing.assert_allclose(other.g_r_difference_sigma, 0.3 * 2**0.5)
    check(done)
    assert "pdf.difference" in done.attrs["history"]
    with pytest.raises(ValueError, match="from 0 to 3, got 4"):
        pdf.difference(given, 4)
    with pytest.raises(ValueError, match="one curve, got 2"):
        pdf.difference(given, given.isel(frame=slice(2)))
    with pytest.raises(SchemaError, match="another grid"):
        pdf.difference(given, given.isel(frame=[0], r=slice(50)))


def test_similarity_is_pearsons():
    g = np.random.default_rng(0).normal(size=(5, len(R)))
    g[3, 100] = np.nan
    done = pdf.similarity(series(g), rmin=1.2, rmax=3.5).similarity.values
    used = (R >= 1.2) & (R <= 3.5)
    keep = [0, 1, 2, 4]
    np.testing.assert_allclose(done[np.ix_(keep, keep)], np.corrcoef(g[keep][:, used]), atol=1e-12)
    assert np.isnan(done[3]).all()
    check(pdf.similarity(series(g)))
    scaled = pdf.similarity(series(np.stack([g[0], 3 * g[0] + 1]))).similarity.values
    np.testing.assert_allclose(scaled, 1)
    with pytest.raises(ValueError, match="0 points"):
        pdf.similarity(series(g), rmin=30, rmax=40)


def test_bonds_planted_come_back_with_their_numbers():
    # SiO2: 4 O around Si; area = 2 c f f' N/<f>² with c = 1/3, f 14 and 8, <f> = 10
    area = 2 / 3 * 14 * 8 / 100 * 4
    g = peaks((1.62, 0.06, area), (2.61, 0.12, 5.0))
    before = series(g).copy(deep=True)
    given = series(g)
    done = pdf.bonds(given, {"O-O": (2.3, 2.9), "Si-O": (1.5, 1.75)}, "SiO2")
    xr.testing.assert_identical(given, before)
    assert done.bond.values.tolist() == ["Si-O", "O-O"]
    np.testing.assert_allclose(done.position.values[0], [1.62, 2.61], atol=1e-5)
    np.testing.assert_allclose(done.width.values[0], [0.06, 0.12], atol=1e-5)
    np.testing.assert_allclose(done.coordination.values[0], [4.0, 5.0 * 100 / (2 / 3 * 64)], rtol=1e-4)
    np.testing.assert_array_equal(done.status, 0)
    check(done)


def pulls_of_bonds(n, qmax=None):
    """Pulls of position, width and area; noise is white in r, or in Q up to `qmax`."""
    rng = np.random.default_rng(2)
    truth, keywords = peaks((1.63, 0.07, 3.0)), {"density": 0.07}
    if qmax is None:
        noise, sigma = 0.05 * rng.normal(size=(n, len(R))), 0.05
    else:
        q = np.arange(0.02, qmax, 0.04)
        sines = 2 / np.pi * 0.04 * np.sin(np.outer(q, R))
        noise, sigma = rng.normal(0, 0.02, (n, len(q))) @ sines, 0.02 * np.sqrt((sines**2).sum(axis=0))
        keywords["qmax"] = qmax
    done = pdf.bonds(series(truth + noise, sigma), ["Si-O"], **keywords)
    planted = {"position": 1.63, "width": 0.07, "area": 3.0}
    return np.array([((done[key] - one) / done[f"{key}_sigma"]).values[:, 0] for key, one in planted.items()])


@pytest.mark.parametrize("qmax", [None, 25.0])
def test_bonds_have_pulls_of_one(qmax):
    pull = pulls_of_bonds(200, qmax)
    # 200 pulls: their spread is known to 5 %, their mean to 0.07.
    assert (np.abs(pull.std(axis=1) - 1) < 0.15).all()
    assert (np.abs(pull.mean(axis=1)) < 0.25).all()


@pytest.mark.soak
@pytest.mark.parametrize("qmax", [None, 25.0])
def test_bonds_have_pulls_of_one_to_a_tenth(qmax):
    pull = pulls_of_bonds(800, qmax)
    assert (np.abs(pull.std(axis=1) - 1) < 0.1).all()
    assert (np.abs(pull.mean(axis=1)) < 0.1).all()


def test_neighbours_that_overlap_are_parted():
    split = {"Mn-O (short)": (1.8, 2.05), "Mn-O (long)": (2.05, 2.3)}
    done = pdf.bonds(series(peaks((1.93, 0.06, 2.0), (2.17, 0.06, 1.0))), split)
    np.testing.assert_allclose(done.position.values[0], [1.93, 2.17], atol=1e-4)
    np.testing.assert_allclose(done.area.values[0], [2.0, 1.0], rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*intensity_sigma")
def test_mg2sio4_glass():
    files = bl.datasets.path("mg2sio4_glass")
    sample, empty = (bl.open(files / f"Mg2SiO4_ambient{end}.xy") for end in ("", "_bkg"))
    g = pdf.g_of_r(sample, "Mg2SiO4", background=empty, qmax=22, qmaxinst=22, rpoly=1.1, rmax=6, rmin=0.5)
    done = pdf.bonds(g, {"Si-O": (1.5, 1.75), "Mg-O": (1.9, 2.2)}, "Mg2SiO4")
    # SOURCES: Si-O 1.63, Mg-O 2.0
    assert done.position.values[0, 0] == pytest.approx(1.63, abs=0.02)
    assert done.position.values[0, 1] == pytest.approx(2.0, abs=0.05)
    check(done)


def test_bonds_take_their_names_from_a_structure():
    table = pdf.pairs(simulate.crystal("FeF2"), 3.0, apart=0.2)
    check(table)
    # Rutile: Fe has 2 + 4 F, at sqrt(2) x a and at the other four; Fe-Fe along c. Numbers by its geometry.
    a, c, x = 4.6966, 3.3091, 0.300
    near = [np.sqrt(2) * x * a, np.sqrt(2 * (0.5 - x) ** 2 * a**2 + c**2 / 4)]
    first = pdf.pairs(simulate.crystal("FeF2"), 2.5, apart=0.01)
    np.testing.assert_allclose(first["position"], sorted(near), atol=1e-6)
    np.testing.assert_allclose(first["coordination"], [4, 2] if near[1] < near[0] else [2, 4])
    assert table["bond"].values[0] == "Fe-F"
    assert float(table["coordination"][0]) == 6
    # Nickel oxide's own G(r) gives its bonds back, and their numbers.
    r = np.arange(1.2, 4.5, 0.01)
    g = pdf.calculate(simulate.crystal("NiO"), r, u_iso=0.005, mode="neutron")
    done = pdf.bonds(g, pdf.pairs(simulate.crystal("NiO"), 2.5), "NiO", density=8 / 4.1771**3, mode="neutron")
    assert done["bond"].values.tolist() == ["Ni-O"]
    assert float(done["position"][0, 0]) == pytest.approx(4.1771 / 2, abs=2e-3)
    assert float(done["coordination"][0, 0]) == pytest.approx(6, rel=0.02)
    with pytest.raises(ValueError, match="meet within 1 angstrom"):
        pdf.pairs(simulate.crystal("NiO"), 1.0)
    with pytest.raises(ValueError, match="at most 20"):
        pdf.pairs(simulate.crystal("NiO"), 30.0)
    with pytest.raises(SchemaError, match=r"pdf\.pairs"):
        pdf.bonds(g, simulate.crystal("NiO"))


def test_frames_without_points_and_bonds_at_their_bounds():
    g = np.stack([peaks((1.63, 0.07, 3.0))] * 3)
    g[1] = np.nan
    done = pdf.bonds(series(g), ["Si-O"])
    np.testing.assert_array_equal(done.status.values[:, 0], [0, 4, 0])
    assert np.isnan(done.position.values[1, 0])
    with pytest.warns(UserWarning, match="at a bound in 1 of 1 frames"):
        pdf.bonds(series(peaks((1.74, 0.07, 3.0))), ["Si-O"])


def test_what_makes_no_sense_is_refused():
    g = series(peaks((1.63, 0.07, 3.0)))
    for call, words in (
        (lambda: pdf.bonds(g, ["Si-0"]), "knows no bond 'Si-0'; did you mean 'Si-O'"),
        (lambda: pdf.bonds(g, {"Si-O": (1.9, 1.5)}), "must rise"),
        (lambda: pdf.bonds(g, {"Si-O": (1.5, 9.0)}), "lie in the data, 1 to 3.99"),
        (lambda: pdf.bonds(g, {}), "names no bond"),
        (lambda: pdf.bonds(g, ["Si-O"], "NiO"), "no bond between elements"),
        (lambda: pdf.bonds(g, ["Si-O"], mode="x"), "mode must be"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(DimensionError, match=r"pdf\.g_of_r"):
        pdf.bonds(g.rename(r="q"), ["Si-O"])
