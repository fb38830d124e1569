"""G(r) of crystals and fits of them: against pdffit2, published cells, planted parameters."""

import warnings

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import pdf
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

R = np.arange(1.5, 20.005, 0.01)


def crystal(a, group, sites, phase, u_iso=np.nan):
    """A cubic (or, with three edges, orthogonal) structure as io.structure gives it; sites as element, x, y, z."""
    edges = dict(zip("abc", np.broadcast_to(a, 3)))
    made = {key: quantity((), float(value), "angstrom", key) for key, value in edges.items()}
    made |= {key: quantity((), 90.0, "degree", key) for key in ("alpha", "beta", "gamma")}
    made["label"] = quantity("site", np.array([f"{s[0]}{i}" for i, s in enumerate(sites)]), "", "label")
    made["element"] = quantity("site", np.array([s[0] for s in sites]), "", "element")
    for axis, name in enumerate("xyz", 1):
        made[f"fract_{name}"] = quantity("site", np.array([float(s[axis]) for s in sites]), "1", f"coordinate {name}")
    made["occupancy"] = quantity("site", np.ones(len(sites)), "1", "occupancy")
    made["u_iso"] = quantity("site", np.full(len(sites), float(u_iso)), "angstrom^2", "displacement")
    return xr.Dataset(made, attrs={"space_group": group, "phase": phase})


NICKEL = crystal(3.52, "F m -3 m", [("Ni", 0, 0, 0)], "Ni")
SILICON = crystal(5.43, "F d -3 m:1", [("Si", 0, 0, 0)], "Si")
SALT = crystal(5.62, "F m -3 m", [("Na", 0, 0, 0), ("Cl", 0.5, 0, 0)], "NaCl")


def measured(g, sigma=None, r=R):
    g = np.atleast_2d(g)
    made = {"g_r": quantity(("frame", "r"), g, "1/angstrom^2", "G(r)")}
    if sigma is not None:
        made["g_r_sigma"] = quantity(("frame", "r"), np.broadcast_to(sigma, g.shape), "1/angstrom^2", "sigma")
    frame = quantity("frame", np.arange(len(g)), "1", "frame")
    return xr.Dataset(made, {"r": quantity("r", r, "angstrom", "distance"), "frame": frame})


# diffpy.pdffit2 1.5.1, 'X': Ni, a 3.52, Uiso 0.005, alloc(qmax 0, 1.5 to 20 in 1851 points), G at r = 2.5, 6 … 20.
PDFFIT2 = {
    (): [16.1528, -3.58487, -3.37465, 12.10381, -3.14394, -11.4492],
    (("delta1", 0.8), ("qbroad", 0.01)): [20.14868, -3.58683, -3.66879, 12.24235, -3.35222, -11.45265],
    (("diameter", 30.0),): [14.13838, -2.52375, -1.82527, 4.72878, -0.81172, -1.69618],
}


@pytest.mark.parametrize("settings", PDFFIT2)
def test_nickel_is_pdffit2s(settings):
    done = pdf.calculate(NICKEL, R, u_iso=0.005, **dict(settings))
    np.testing.assert_allclose(done.g_r.values[100::350], PDFFIT2[settings], atol=3e-4)
    check(done)


def test_termination_is_the_filter_at_qmax():
    # pdffit2 1.5.1, qmax 25, qdamp 0.04, delta2 2, as above; its own range ends 1.5 angstrom beyond 1.5 and 20: between
    done = pdf.calculate(NICKEL, R, u_iso=0.005, qmax=25, qdamp=0.04, delta2=2.0).g_r.values
    np.testing.assert_allclose(done[450:1600:350], [-3.45716, -3.106, 11.0106, -2.76831], atol=0.05)
    # Exact: the sine transform forth, to Qmax, and back, of the curve without an end.
    fine = np.arange(1, 12001) * 0.005
    whole = pdf.calculate(NICKEL, fine, u_iso=0.005, delta2=2.0, diameter=58.0).g_r.values
    ours = pdf.calculate(NICKEL, R[::50], u_iso=0.005, delta2=2.0, diameter=58.0, qmax=20).g_r.values
    near, far = R[::50, None] - fine, R[::50, None] + fine
    kernel = 20 / np.pi * (np.sinc(20 * near / np.pi) - np.sinc(20 * far / np.pi)) * 0.005
    # The model's own range ends 6 ripples beyond r.
    np.testing.assert_allclose(ours, kernel @ whole, atol=0.03)


def test_displacement_tensors_turn_with_their_images():
    u = {"u_11": 0.010, "u_22": 0.004, "u_33": 0.006, "u_12": 0.0, "u_13": 0.0, "u_23": 0.0}
    site = crystal([3.0, 4.0, 5.0], "P 1", [("Ni", 0, 0, 0)], "x")
    for name, value in u.items():
        site[name] = quantity("site", np.array([value]), "angstrom^2", name)
    done = pdf.calculate(site, R, scale=1).g_r
    # Along a the pair's variance is 2 u_11, along b 2 u_22: heights of the peaks at 3 and 4 angstrom.
    for distance, variance in ((3.0, 0.020), (4.0, 0.008)):
        height = float(done.sel(r=distance, method="nearest")) + 4 * np.pi * distance / 60
        assert height == pytest.approx(2 / np.sqrt(2 * np.pi * variance) / distance, rel=1e-3)
    # A face-centred cell written with its symmetry, or atom by atom, is one crystal.
    whole = crystal(3.52, "P 1", [("Ni", 0, 0, 0), ("Ni", 0, 0.5, 0.5), ("Ni", 0.5, 0, 0.5), ("Ni", 0.5, 0.5, 0)], "y")
    ours, theirs = (pdf.calculate(one, R, u_iso=0.005).g_r.values for one in (NICKEL, whole))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


# diffpy.pdffit2 1.5.1, 'X', qmax 0, every atom of the cell with its tensor in a .stru file, G at these r.
@pytest.mark.parametrize(
    ("file", "words", "expected"),
    [
        ("Li2CO3_C2c_cod9008283.cif", None, [-1.11512, -0.30978, -1.42998, 0.37663, 0.41909, -1.29454]),
        ("Al2O3_R-3c_amcsd9327.cif", "U of site O is 5% off", [-2.22167, 7.5413, 3.78756, 0.32388, 2.24883, 2.74069]),
    ],
)
def test_displacements_of_a_cif_are_pdffit2s(file, words, expected):
    path = bl.datasets.path("cif") / file
    r = 1.5 + 0.01 * np.arange(851)
    if words is None:
        done = pdf.calculate(path, r)
    else:
        # This entry's tensor of O breaks the twofold axis that O lies on.
        with pytest.warns(UserWarning, match=words):
            done = pdf.calculate(path, r)
    np.testing.assert_allclose(done.g_r.values[[0, 39, 130, 237, 400, 600]], expected, atol=2e-4)
    # A fit of U has one number an element.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fitted = pdf.fit(done, path, vary=("scale", "u_iso"), rmax=10)
    assert np.isfinite(fitted.u_iso_sigma.values).all()


# diffpy.pdffit2 1.5.1 on the same files and settings: a, Uiso, Rw
@pytest.mark.parametrize(
    ("data", "file", "structure", "settings", "cell", "u", "rw"),
    [
        ("ni_pt_pdf", "Ni.gr", NICKEL, {"qmax": 25, "qdamp": 0.04}, 3.525117, [0.006056], 0.02976),
        ("nacl_ni_pdf", "ed-6.gr", NICKEL, {"qmax": 27, "qdamp": 0.02, "mode": "neutron", "rmin": 2.0},
         3.527004, [0.005750], 0.06523),
        ("nacl_ni_pdf", "ed-4.gr", SALT, {"qmax": 21, "qdamp": 0.05, "start": {"u_iso": 0.02}},
         5.602187, [0.014989, 0.007309], 0.06538),
    ],
)  # fmt: skip
def test_fits_are_pdffit2s(data, file, structure, settings, cell, u, rw):
    g = bl.open(bl.datasets.path(data) / file)
    before = g.copy(deep=True)
    done = pdf.fit(g, structure, vary=("scale", "cell", "u_iso", "delta2", "qdamp"), **settings)
    xr.testing.assert_identical(g, before)
    assert done.a.values[0, 0] == pytest.approx(cell, abs=1e-4)
    np.testing.assert_allclose(done.u_iso.values[0], u, rtol=0.03)
    assert done.rw.values[0] == pytest.approx(rw, abs=0.002)
    assert done.status.values[0] == 0
    assert 0 < done.a_sigma.values[0, 0] < 1e-3
    np.testing.assert_allclose(np.diagonal(done.correlation.values[0]), 1)
    check(done)
    assert "pdf.fit" in done.attrs["history"]


def test_mixture_of_nickel_and_silicon_is_pdffit2s():
    g = bl.open(bl.datasets.path("ni_pdf") / "sini.gr")
    done = pdf.fit(g, [NICKEL, SILICON], qmax=24, qdamp=0.06)
    # pdffit2 1.5.1: scales 0.196791 and 0.854537, a 3.521622 and 5.429362, Rw 0.09990
    np.testing.assert_allclose(done.scale.values[0], [0.196791, 0.854537], rtol=0.01)
    np.testing.assert_allclose(done.a.values[0], [3.521622, 5.429362], atol=1e-4)
    shares = np.array([0.196791 / 28**2, 0.854537 / 14**2])
    np.testing.assert_allclose(done.atom_fraction.values[0], shares / shares.sum(), atol=0.002)
    np.testing.assert_allclose(done.mole_fraction.values, done.atom_fraction.values)
    assert done.rw.values[0] == pytest.approx(0.0999, abs=0.002)
    check(done)


def pulls_of_a_fit(n, step, has_sigma=True):
    """Pulls of a, U and delta2, and the mean reduced chi²; noise is white in Q, as counting makes it."""
    rng = np.random.default_rng(5)
    r = np.arange(1.5, 15.0, step)
    settings = {"qmax": 25.0, "qdamp": 0.04}
    truth = pdf.calculate(crystal(3.53, "F m -3 m", [("Ni", 0, 0, 0)], "Ni"), r, u_iso=0.006, delta2=1.5, **settings)
    q = np.arange(0.02, 25.0, 0.04)
    sines = 2 / np.pi * 0.04 * np.sin(np.outer(q, r))
    noise = rng.normal(0, 0.25, (n, len(q))) @ sines
    given = measured(truth.g_r.values + noise, 0.25 * np.sqrt((sines**2).sum(axis=0)) if has_sigma else None, r)
    done = pdf.fit(given, NICKEL, rmax=15, start={"delta2": 1.0}, **settings)
    planted = {"a": 3.53, "u_iso": 0.006, "delta2": 1.5}
    pulls = np.array([((done[key] - one) / done[f"{key}_sigma"]).values[:, 0] for key, one in planted.items()])
    return pulls, float(done.chi2_reduced.values.mean()) if has_sigma else 1.0


@pytest.mark.parametrize(("step", "has_sigma"), [(0.05, True), (0.02, True), (0.05, False)])
def test_planted_parameters_come_back_with_pulls_of_one(step, has_sigma):
    pulls, chi2 = pulls_of_a_fit(100, step, has_sigma)
    # 100 pulls: their spread is known to 7 %, their mean to 0.1.
    assert (np.abs(pulls.std(axis=1) - 1) < 0.21).all()
    assert (np.abs(pulls.mean(axis=1)) < 0.35).all()
    assert chi2 == pytest.approx(1, abs=0.05)


@pytest.mark.soak
@pytest.mark.parametrize(("step", "has_sigma"), [(0.05, True), (0.02, True), (0.05, False)])
def test_cells_have_pulls_of_one_to_a_tenth(step, has_sigma):
    pulls, chi2 = pulls_of_a_fit(800, step, has_sigma)
    assert (np.abs(pulls.std(axis=1) - 1) < 0.1).all()
    assert (np.abs(pulls.mean(axis=1)) < 0.1).all()
    assert chi2 == pytest.approx(1, abs=0.02)


def test_frames_side_by_side_are_those_one_by_one(monkeypatch):
    g = np.stack([pdf.calculate(NICKEL, R, u_iso=u, delta2=1.0).g_r.values for u in (0.004, 0.005, 0.006, 0.007)])
    g += np.random.default_rng(0).normal(0, 0.05, g.shape)
    done = []
    for count in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        done.append(pdf.fit(measured(g), NICKEL, is_sequential=False, rmax=12).drop_attrs())
    xr.testing.assert_identical(*done)
    chain = pdf.fit(measured(g), NICKEL, rmax=12)
    np.testing.assert_allclose(done[0].u_iso, chain.u_iso, rtol=1e-4)


def test_a_bound_holds_one_number_and_the_others_come_to_rest():
    # Planted without correlated motion, which cannot be negative; the noise would have it so in half of the frames.
    rng = np.random.default_rng(1)
    g = pdf.calculate(NICKEL, R, u_iso=0.005).g_r.values + rng.normal(0, 0.05, (8, len(R)))
    with pytest.warns(UserWarning, match="at a bound") as told:
        done = pdf.fit(measured(g, 0.05), NICKEL, rmax=15)
    assert len(told) == 1
    assert set(done.status.values) == {0, 1}
    np.testing.assert_array_equal(done.delta2.values[done.status.values == 1], 0)
    assert np.abs((done.u_iso - 0.005) / done.u_iso_sigma).max() < 4


def test_positions_move_where_symmetry_lets_them():
    def rutile(x):
        made = crystal([4.594, 4.594, 2.959], "P 42/m n m", [("Ti", 0, 0, 0), ("O", x, x, 0)], "rutile", 0.005)
        return made

    g = pdf.calculate(rutile(0.305), R).g_r.values
    done = pdf.fit(measured(g), rutile(0.300), vary=("scale", "cell", "positions"))
    np.testing.assert_allclose(done.fract_x.values[0], [0, 0.305], atol=1e-5)
    np.testing.assert_allclose(done.fract_y.values[0], [0, 0.305], atol=1e-5)
    np.testing.assert_allclose(done.fract_z.values[0], [0, 0], atol=1e-12)
    assert done.a.values[0, 0] == done.b.values[0, 0]


def test_particle_diameter_is_found():
    g = pdf.calculate(NICKEL, R, u_iso=0.005, diameter=25.0).g_r.values
    done = pdf.fit(measured(g), NICKEL, vary=("scale", "diameter"), start={"diameter": 60.0})
    assert done.diameter.values[0, 0] == pytest.approx(25.0, rel=1e-3)


def test_frames_without_points_are_nan_and_the_rest_goes_on():
    g = np.stack([pdf.calculate(NICKEL, R, u_iso=0.005).g_r.values] * 3)
    g[1] = np.nan
    g[2, 100:110] = np.nan
    with pytest.warns(UserWarning, match="1 of 3 frames without enough points, first frame 1"):
        done = pdf.fit(measured(g), NICKEL, vary=("scale", "cell"))
    np.testing.assert_array_equal(done.status.values, [0, 4, 0])
    assert np.isnan(done.a.values[1, 0])
    np.testing.assert_allclose(done.a.values[[0, 2], 0], 3.52, atol=1e-6)
    check(done)


def test_what_makes_no_sense_is_refused():
    g = measured(np.zeros(len(R)))
    for call, words in (
        (lambda: pdf.fit(g, NICKEL, vary=("cel",)), "did you mean 'cell'"),
        (lambda: pdf.fit(g, NICKEL, mode="electron"), "mode must be"),
        (lambda: pdf.fit(g, NICKEL, rmin=19.95), "points between rmin 19.95"),
        (lambda: pdf.fit(g, NICKEL, vary=()), "0 unknowns"),
        (lambda: pdf.fit(g, NICKEL, qdamp=-1), "qdamp must be at least 0"),
        (lambda: pdf.calculate(NICKEL, R), "has no displacement"),
        (lambda: pdf.calculate(NICKEL, R[::-1], u_iso=0.005), "increasing points"),
        (lambda: pdf.calculate(NICKEL, R, u_iso=0.005, qmax=1), "qmax must be 5 to 200"),
        (lambda: pdf.calculate(NICKEL, R, u_iso=0.005, diameter=0), "diameter must be above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="did you mean 'delta2'"):
        pdf.fit(g, NICKEL, start={"delta_2": 1})
    with pytest.raises(DimensionError, match=r"pdf\.g_of_r"):
        pdf.fit(g.rename(r="q"), NICKEL)
    with pytest.raises(SchemaError, match="g_r"):
        pdf.fit(g.rename(g_r="g"), NICKEL)


def test_mn_o_bonds_of_lamno3_are_split():
    start = crystal(
        [5.54, 5.75, 7.69], "P b n m",
        [("La", 0.994, 0.049, 0.25), ("Mn", 0, 0.5, 0), ("O", 0.074, 0.487, 0.25), ("O", 0.726, 0.306, 0.039)],
        "LaMnO3", 0.005,
    )  # fmt: skip
    done = pdf.fit(
        bl.open(bl.datasets.path("lamno3_pdf") / "300K.gr"), start, qmax=32, qdamp=0.01, mode="neutron", rmin=1.6,
        rmax=15, vary=("scale", "cell", "u_iso", "delta2", "positions"), start={"scale": 1.0, "delta2": 2.0},
    )  # fmt: skip
    a, b, c = (float(done[key][0, 0]) for key in "abc")
    x1, y1 = done.fract_x.values[0, 2], done.fract_y.values[0, 2]
    x2, y2, z2 = (done[f"fract_{axis}"].values[0, 3] for axis in "xyz")
    apical = np.hypot(np.hypot(a * x1, b * (y1 - 0.5)), c / 4)
    long = np.linalg.norm([a * (1 - x2), b * (y2 - 0.5), c * z2])
    short = np.linalg.norm([a * (x2 - 0.5), b * y2, c * z2])
    # SOURCES: 1.92 to 1.97 and 2.18 angstrom
    assert sorted(np.round([apical, long, short], 2)) == pytest.approx([1.92, 1.97, 2.18], abs=0.021)


def test_cdse_particles_grow_as_their_samples():
    wurtzite = crystal([4.30, 4.30, 7.01], "P 63 m c", [("Cd", 1 / 3, 2 / 3, 0), ("Se", 1 / 3, 2 / 3, 0.377)], "CdSe")
    wurtzite["gamma"] = quantity((), 120.0, "degree", "gamma")
    files = bl.datasets.path("cdse_pdf")
    found = []
    for sample in "1234":
        done = pdf.fit(
            bl.open(files / f"CdSe-{sample}.gr"), wurtzite, qmax=19, qdamp=0.059, rmin=2.0, rmax=30,
            vary=("scale", "cell", "u_iso", "delta2", "diameter"), start={"u_iso": 0.015, "diameter": 40, "scale": 0.5},
        )  # fmt: skip
        found.append(done.diameter.values[0, 0])
    assert (np.diff(found) > 0).all()
    assert 15 < found[0] < found[3] < 45


def test_srfe2as2_turns_tetragonal_where_the_literature_says():
    start = crystal(
        [5.56, 5.52, 12.30],
        "F m m m",
        [("Sr", 0, 0, 0), ("Fe", 0.25, 0.25, 0.25), ("As", 0, 0, 0.36)],
        "SrFe2As2",
        0.005,
    )
    files = sorted(bl.datasets.path("srfe2as2_pdf").glob("*.gr"))
    done = pdf.fit(
        bl.open(files), start, qmax=25, qdamp=0.035, rmin=1.8, rmax=30,
        vary=("scale", "cell", "u_iso", "delta2", "positions"), start={"scale": 0.5, "delta2": 2.0},
    )  # fmt: skip
    distortion = ((done.a - done.b) / (done.a + done.b)).isel(phase=0)
    sigma = np.hypot(done.a_sigma, done.b_sigma).isel(phase=0) / (done.a + done.b).isel(phase=0)
    made = {"distortion": quantity("frame", distortion.values, "1", "orthorhombic distortion"),
            "distortion_sigma": quantity("frame", sigma.values, "1", "1 sigma of the distortion")}  # fmt: skip
    frame = quantity("frame", np.arange(len(files)), "1", "frame")
    events = bl.curves.change_points(xr.Dataset(made, {"frame": frame}))
    # 150 K and 6 K a frame: one step, within 194 to 212 K (literature: 200 to 205); above, the resolution's floor.
    assert events.kind.values.tolist() == ["step"]
    assert 194 <= 150 + 6 * float(events.onset[0]) <= 212
    assert distortion.values[:7].min() > 1.25 * distortion.values[9:].max()
