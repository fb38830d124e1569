"""Fits of shells against larch's feffit, against planted truth, and what is refused or warned of."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io, xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity
from batlab.xas.shells_prepare import prepare
from batlab.xas.shells_transform import Settings

K = 0.05 * np.arange(381)
WINDOWS = {"k_range": (3, 15), "r_range": (1.5, 3.0), "dk": 2, "window": "hanning"}
ONE = {"s02": "amp", "delta_e0": "de0", "delta_r": "dr", "sigma2": "ss2"}
START = {"amp": 1.0, "de0": 0.1, "dr": 0.0, "ss2": 0.005}
TRUE = {"amp": 0.9, "de0": 3.0, "dr": 0.01, "ss2": 0.008}


def feff(name):
    return datasets.path("feff_paths") / name


def chi_of(values, k=K, **attrs):
    dims = ("k",) if np.ndim(values) == 1 else ("frame", "k")
    coords = {"k": quantity("k", k, "1/angstrom", "photoelectron wavenumber")}
    if "frame" in dims:
        coords["frame"] = quantity("frame", np.arange(len(values)), "1", "frame")
    return xr.Dataset({"chi": quantity(dims, values, "1", "chi(k)")}, coords, attrs)


def copper(truth=TRUE, noise=0.0, seed=0, n_frames=None, name="Cu/feff0001.dat"):
    """One shell of copper with white noise in chi."""
    given = dict(zip(ONE, (truth[word] for word in ONE.values()), strict=True))
    chi = xas.path_chi(feff(name), k=K, **given).chi.values
    shape = chi.shape if n_frames is None else (n_frames, len(K))
    return chi_of(chi + noise * np.random.default_rng(seed).normal(0, 1, shape))


def shell(name="Cu/feff0001.dat", **given):
    return xas.Shell(feff(name), **{**ONE, **given})


def agree(dataset, expected, value=0.01, sigma=0.01):
    """Assert that value (in σ) and σ (relative) are those of an independent fit."""
    check(dataset)
    for name, (number, error) in expected.items():
        assert abs(float(dataset[name]) - number) < value * error, name
        assert float(dataset[f"{name}_sigma"]) == pytest.approx(error, rel=sigma), name


def foil(name="xdi_standards", file="Cu/cu_metal_rt.xdi", rbkg=1.0):
    scan = io.open(datasets.path(name) / file)
    scan = scan if "mu" in scan else xas.mu(scan, mode="transmission")
    return xas.remove_background(xas.normalize(scan), rbkg=rbkg, kweight=2)


# --- against larch


@pytest.mark.data
def test_first_shell_of_the_copper_foil():
    """The whole way from the scan. Expected: larch 2026.3.1, autobk(rbkg=1), feffit on the same windows."""
    fit = xas.fit_shells(foil(), shell("Cu/feffcu01.dat"), START, k_range=(3, 17), r_range=(1.4, 3.0))
    larch = {"amp": (0.931, 0.039), "de0": (4.36, 0.51), "ss2": (0.00867, 0.00031)}
    agree(fit.dataset, larch, value=0.3, sigma=0.1)
    distance = fit.dataset.path_distance[0], fit.dataset.path_distance_sigma[0]
    assert abs(float(distance[0]) - 2.5418) < 0.3 * 0.0026
    assert float(distance[1]) == pytest.approx(0.0026, rel=0.1)
    assert float(fit.dataset.n_independent) == pytest.approx(2 * 14 * 1.6 / np.pi + 1)
    for part in ("distance 2.54", "angstrom^2", " eV", "15.3 independent points, 4 variables", "amp, ss2: 0.93"):
        assert part in str(fit)


@pytest.mark.data
@pytest.mark.parametrize(
    ("space", "larch", "r_factor", "value", "sigma"),
    [
        ("r", {"amp": (0.9026063, 0.016185), "de0": (3.149546, 0.20488), "stretch": (-0.0008294215, 0.0004678),
               "ss1": (0.00799923, 0.00014159), "ss2": (0.01204937, 0.00045183), "ss3": (0.01445924, 0.0005422)},
         0.000996836, 1e-3, 1e-3),
        ("k", {"amp": (0.9021007, 0.049039), "de0": (3.153852, 0.60597), "stretch": (-0.0008080314, 0.0013934),
               "ss1": (0.007995812, 0.00042928), "ss2": (0.01204142, 0.0013751), "ss3": (0.0144497, 0.0016501)},
         0.00918764, 1e-3, 1e-3),
        # larch rounds the edges of its window in R to the grid: 2 % of its taper
        ("q", {"amp": (0.9027966, 0.015867), "de0": (3.152852, 0.20228), "stretch": (-0.0008240457, 0.00046111),
               "ss1": (0.008001045, 0.0001388), "ss2": (0.01204874, 0.00044204), "ss3": (0.01445849, 0.00053045)},
         0.000954475, 0.02, 0.03),
    ],
)  # fmt: skip
def test_four_paths_in_each_space(space, larch, r_factor, value, sigma):
    """larch 2026.3.1: ff2chi of these paths with the same noise, feffit with fitspace r, k and q."""
    chi = np.zeros(len(K))
    for i, sigma2 in zip((1, 2, 3, 4), (0.008, 0.012, 0.013, 0.015), strict=True):
        shift = -0.003 * (i + 1) / 2
        path = xas.path_chi(feff(f"Cu/feff000{i}.dat"), k=K, s02=0.9, delta_e0=3, delta_r=shift, sigma2=sigma2)
        chi = chi + path.chi.values
    data = chi_of(chi + np.random.default_rng(11).normal(0, 1e-3, len(K)))
    paths = [
        xas.Shell(feff(f"Cu/feff000{i}.dat"), s02="amp", delta_e0="de0", delta_r="stretch * reff", sigma2=sigma2)
        for i, sigma2 in zip((1, 2, 3, 4), ("ss1", "ss2", "ss3", "ss3"), strict=True)
    ]
    start = {"amp": 1, "de0": 0.1, "stretch": 0.0, "ss1": 0.005, "ss2": 0.005, "ss3": "ss2 * 1.2"}
    given = {"k_range": (3, 15), "r_range": (1.5, 4.4), "dk": 2, "window": "hanning", "fit_space": space}
    fit = xas.fit_shells(data, paths, start, **given)
    agree(fit.dataset, larch, value, sigma)
    assert float(fit.dataset.r_factor) == pytest.approx(r_factor, rel=0.05 if space == "q" else 1e-4)
    # The order of paths does not matter.
    other = xas.fit_shells(data, paths[::-1], start, **given)
    assert float(other.dataset.ss2) == pytest.approx(float(fit.dataset.ss2), rel=1e-6)


@pytest.mark.data
def test_several_powers_of_k():
    """larch 2026.3.1 on its own chi: kweight [1, 2, 3]; ours from our chi, which differs by less than 1 %."""
    fit = xas.fit_shells(
        foil(), shell("Cu/feffcu01.dat"), START, k_range=(3, 17), r_range=(1.4, 3.0), kweight=(1, 2, 3)
    )
    agree(fit.dataset, {"amp": (0.92525, 0.0395), "de0": (4.4685, 0.477), "ss2": (0.0086285, 0.000324)}, 0.3, 0.1)


@pytest.mark.data
def test_iron_oxide():
    """Two shells of different elements. larch 2026.3.1 from its own background (rbkg 0.9)."""
    paths = [shell(f"FeO/feff_feo0{i}.dat", delta_r=f"dr{i}", sigma2=f"s{i}") for i in (1, 2)]
    start = {"amp": 1, "de0": 0.1, "dr1": 0.0, "dr2": 0.0, "s1": 0.01, "s2": 0.01}
    scan = foil(file="Fe/feo_rt1.xdi", rbkg=0.9)
    fit = xas.fit_shells(scan, paths, start, k_range=(2.5, 12.5), r_range=(1.0, 3.2), dk=2, window="hanning")
    larch = {"amp": (0.7117, 0.0790), "de0": (-1.966, 0.939), "dr1": (-0.02564, 0.01314), "dr2": (0.04447, 0.00948),
             "s1": (0.01341, 0.00243), "s2": (0.01306, 0.00128)}  # fmt: skip
    agree(fit.dataset, larch, value=0.3, sigma=0.1)
    # FeO, a = 4.3108 angstrom in the header of the paths (wuestite measures 4.28 to 4.31): Fe-O and Fe-Fe.
    assert float(fit.dataset.path_distance[0]) == pytest.approx(4.30 / 2, abs=0.05)
    assert float(fit.dataset.path_distance[1]) == pytest.approx(4.30 / np.sqrt(2), abs=0.05)


@pytest.mark.data
def test_einstein_temperature_of_copper():
    scans = [foil("xas_columns", f"cu_{t}k.xmu", rbkg=1.1).assign_attrs(temperature=float(t)) for t in (10, 50, 150)]
    einstein = shell("Cu/feffcu01.dat", sigma2="einstein(temperature, theta)")
    start = {"amp": 1, "de0": 0.1, "theta": 300, "dr": xas.Variable(value=0, shared=False)}
    fit = xas.fit_shells(scans, einstein, start, k_range=(3, 15), r_range=(1.4, 3.0), dk=2, window="hanning")
    ds = check(fit.dataset)
    assert abs(float(ds.theta) - 233) < 8
    assert float(ds.theta_sigma) < 8
    assert ds.theta.units == "K"
    assert ds.theta.dims == ()
    assert ds.dr.dims == ("frame",)
    assert (np.diff(ds.path_sigma2.values[:, 0]) > 0).all()
    assert "3 spectra together" in str(fit)


@pytest.mark.data
def test_temperatures_against_larch():
    """larch 2026.3.1: three datasets, sigma2_eins(T, theta); its noise estimate weights them slightly otherwise."""
    spectra = []
    for temperature, seed in ((10, 21), (150, 22), (300, 23)):
        sigma2 = xas.einstein_sigma2(temperature, 233.0, 31.773)
        truth = {"amp": 0.9, "de0": 3, "dr": 1e-5 * temperature, "ss2": sigma2}
        spectra.append(copper(truth, 2e-3, seed).assign_attrs(temperature=temperature))
    paths = shell(sigma2="einstein(temperature, theta)")
    start = {"amp": 1, "de0": 0.1, "theta": 250, "dr": xas.Variable(value=0, shared=False)}
    fit = xas.fit_shells(spectra, paths, start, **WINDOWS)
    agree(
        fit.dataset, {"amp": (0.9037959, 0.010577), "de0": (2.939219, 0.19847), "theta": (231.8502, 2.3707)}, 0.1, 0.05
    )
    larch = [(0.00011324, 0.00094669), (0.0014211, 0.0011885), (0.0029759, 0.0016505)]
    np.testing.assert_allclose(fit.dataset.dr, [value for value, _ in larch], atol=1e-4)
    np.testing.assert_allclose(fit.dataset.dr_sigma, [sigma for _, sigma in larch], rtol=0.2)
    assert fit.variables == ["amp", "de0", "theta", "dr[0]", "dr[1]", "dr[2]"]
    # The same as frames of one series, the temperature a coordinate.
    frames = chi_of(np.stack([one.chi.values for one in spectra]))
    frames = frames.assign_coords(temperature=quantity("frame", [10.0, 150, 300], "K", "temperature"))
    again = xas.fit_shells(frames, paths, start, together=True, **WINDOWS)
    assert float(again.dataset.theta) == float(fit.dataset.theta)
    assert "temperature" in check(again.dataset).coords


# --- planted truth


@pytest.mark.data
@pytest.mark.parametrize("space", ["r", "k", "q"])
@pytest.mark.parametrize("kweight", [0, 2, (1, 3)])
def test_exact_data_give_the_truth_back(space, kweight):
    ds = xas.fit_shells(copper(), shell(), START, fit_space=space, kweight=kweight, **WINDOWS).dataset
    for name, value in TRUE.items():
        assert float(ds[name]) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(ds.chi_model[1:], ds.chi[1:], atol=1e-7)
    assert float(ds.r_factor) < 1e-10


@pytest.mark.data
def test_all_parameters_of_a_path_can_be_fitted():
    given = {"delta_e0": 2, "delta_r": 0.02, "sigma2": 7e-3, "third": 2e-4, "fourth": 2e-5, "degen": 10, "s02": 0.85}
    data = chi_of(xas.path_chi(feff("Cu/feff0001.dat"), k=K, **given).chi.values)
    names = {name: f"p_{name}" for name in given if name != "s02"}
    start = {f"p_{name}": value for name, value in
             {"delta_e0": 0, "delta_r": 0, "sigma2": 5e-3, "third": 0, "fourth": 0, "degen": 12}.items()}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the cumulants are correlated, as they must be
        ds = xas.fit_shells(data, xas.Shell(feff("Cu/feff0001.dat"), s02=0.85, **names), start, **WINDOWS).dataset
    for name in names:
        assert float(ds[f"p_{name}"]) == pytest.approx(given[name], rel=1e-3), name
        assert ds[f"p_{name}"].units == ds[f"path_{name}"].units
    assert ds["p_third"].units == "angstrom^3"


def pulls(n_frames, seed, **given):
    data = copper(noise=2e-3, seed=seed, n_frames=n_frames)
    ds = xas.fit_shells(data, shell(), START, **{**WINDOWS, **given}).dataset
    assert (ds.status == 0).all()
    return ds, {name: ((ds[name] - value) / ds[f"{name}_sigma"]).values for name, value in TRUE.items()}


@pytest.mark.data
def test_noise_and_pulls():
    ds, pull = pulls(24, 5)
    check(ds)
    assert float(ds.epsilon_k.mean()) == pytest.approx(2e-3, rel=0.05)
    assert float(ds.chi2_reduced.mean()) == pytest.approx(1, abs=0.3)
    for name, values in pull.items():
        assert (np.abs(values) < 4).all(), name
        assert 0.5 < values.std() < 1.5, name
        assert abs(values.mean()) < 0.8, name


@pytest.mark.soak
@pytest.mark.data
@pytest.mark.parametrize("given", [{}, {"kweight": 1}, {"kweight": 3}, {"fit_space": "q"}, {"dk": 1}])
def test_pulls_of_many(given):
    """σ count 2 Δk ΔR / pi + 1 points, whatever the windows leave of each: not the exact scatter of white noise."""
    _, pull = pulls(300, 6, **given)
    for name, values in pull.items():
        assert 0.55 < values.std() < 1.4, name
        assert abs(values.mean()) < 0.2, name


@pytest.mark.data
def test_epsilon_scales_chi2_and_not_sigma():
    data = copper(noise=1e-3)
    own = xas.fit_shells(data, shell(), START, **WINDOWS).dataset
    told = xas.fit_shells(data, shell(), START, epsilon=2e-3, **WINDOWS).dataset
    ratio = (2e-3 / float(own.epsilon_k)) ** 2
    assert float(own.chi2) == pytest.approx(float(told.chi2) * ratio, rel=1e-6)
    assert float(own.amp_sigma) == pytest.approx(float(told.amp_sigma), rel=1e-6)
    noise = xas.noise(data, kmin=3, kmax=15, dk=2, kweight=2)
    assert float(own.epsilon_k) == pytest.approx(float(noise.epsilon_k), rel=0.01)


@pytest.mark.data
def test_scale_goes_into_the_amplitude():
    data = copper(noise=1e-3)
    one = xas.fit_shells(data, shell(), START, **WINDOWS).dataset
    two = xas.fit_shells(data.assign(chi=quantity("k", 2 * data.chi.values, "1", "chi")), shell(), START, **WINDOWS)
    assert float(two.dataset.amp) == pytest.approx(2 * float(one.amp), rel=1e-6)
    assert float(two.dataset.dr) == pytest.approx(float(one.dr), rel=1e-4)


@pytest.mark.data
def test_transform_is_that_of_fourier_transform():
    data = copper(noise=1e-3)
    ds = xas.fit_shells(data, shell(), START, **WINDOWS).dataset
    other = xas.fourier_transform(data, kmin=3, kmax=15, kweight=2, dk=2, window="hanning")
    assert ds.sizes["r"] == other.sizes["r"]
    for part in ("real", "imag", "mag"):
        np.testing.assert_allclose(ds[f"chi_r_{part}"], other[f"chi_r_{part}"], atol=1e-10)
        assert ds[f"chi_r_{part}"].units == other[f"chi_r_{part}"].units


@pytest.mark.data
def test_slopes_of_the_whole_problem():
    spectra = [copper(noise=1e-3, seed=i).assign_attrs(temperature=100.0 * (i + 1)) for i in range(2)]
    paths = [shell(sigma2="einstein(temperature, theta) + extra", third="1e-4 * amp"), shell("Cu/feff0003.dat")]
    start = {"amp": 0.9, "de0": 2.0, "dr": xas.Variable(value=0.01, shared=False), "theta": 230, "extra": "amp*1e-3",
             "ss2": 0.01}  # fmt: skip
    space = Settings("r", (3, 15), (1.5, 3.0), (2.0,), 2.0, "hanning", 0.0, "hanning")
    work = prepare(spectra, paths, start, space, None, False)
    x = work.problem.start
    slopes = work.problem.model(x, work.spectra)[1]
    for i in range(len(x)):
        step = np.zeros(len(x))
        step[i] = 1e-5 * max(abs(x[i]), 0.01)
        up, down = (work.problem.model(x + sign * step, work.spectra)[0] for sign in (1, -1))
        for s in range(2):
            numeric = (up[s] - down[s]) / (2 * step[i])
            np.testing.assert_allclose(slopes[s][i], numeric, atol=1e-6 * max(1e-9, np.abs(numeric).max()))


# --- series


@pytest.mark.data
def test_frames_as_alone():
    data = copper(noise=1e-3, n_frames=3)
    before = data.copy(deep=True)
    ds = check(xas.fit_shells(data, shell(), START, **WINDOWS).dataset)
    assert data.identical(before)
    alone = xas.fit_shells(data.isel(frame=2, drop=True), shell(), START, **WINDOWS)
    for name in START:
        assert float(ds[name][2]) == pytest.approx(float(alone.dataset[name]), rel=1e-5)
        assert float(ds[f"{name}_sigma"][2]) == pytest.approx(float(alone.dataset[f"{name}_sigma"]), rel=1e-4)
    assert alone.dataset.chi.dims == ("k",)
    assert alone.correlation.shape == (4, 4)
    line = ds.attrs["history"].split("\n")[-1]
    assert "xas.fit_shells(" in line
    assert "s02=amp" in line


@pytest.mark.data
def test_one_frame_and_a_frame_without_data():
    data = copper(noise=1e-3, n_frames=1)
    assert xas.fit_shells(data, shell(), START, **WINDOWS).dataset.amp.shape == (1,)
    three = copper(noise=1e-3, n_frames=3)
    chi = three.chi.values.copy()
    chi[1, 100] = np.nan
    chi[2, :20] = np.nan  # below the window
    with pytest.warns(UserWarning, match=r"1 of 3 frames \(1\) have NaN in the window"):
        fit = xas.fit_shells(three.assign(chi=(("frame", "k"), chi, three.chi.attrs)), shell(), START, **WINDOWS)
    ds = check(fit.dataset)
    assert list(ds.status.values) == [0, 3, 0]
    assert np.isnan(ds.amp[1])
    assert np.isnan(ds.path_distance[1]).all()
    assert np.isfinite(ds.amp_sigma[[0, 2]]).all()
    assert "1 of 3 fits gave no answer" in str(fit)
    with pytest.warns(UserWarning, match="the fit have NaN|have NaN"):
        nothing = xas.fit_shells(chi_of(np.full(len(K), np.nan)), shell(), START, **WINDOWS)
    assert "unknown" in str(nothing)
    assert int(nothing.dataset.status) == 3


@pytest.mark.data
def test_a_start_from_which_there_is_no_way():
    with pytest.warns(UserWarning, match="did not converge"):
        ds = xas.fit_shells(copper(), shell(sigma2="sqrt(ss2 - 1)"), START, **WINDOWS).dataset
    assert int(ds.status) == 2
    assert np.isnan(ds.amp)


@pytest.mark.data
def test_spectra_of_different_length_and_paths():
    long, short = copper(noise=1e-3), copper(noise=1e-3, seed=1).isel(k=slice(341))
    ds = check(xas.fit_shells([long, short], shell(), START, **WINDOWS).dataset)
    assert np.isnan(ds.chi[1, 341:]).all()
    own = [[shell()], [shell("Cu/feffcu01.dat")]]
    apart = check(xas.fit_shells([long, short], own, START, **WINDOWS).dataset)
    assert apart.sizes["path"] == 2
    assert np.isnan(apart.path_distance[0, 1])
    assert float(apart.amp) == pytest.approx(float(ds.amp), rel=1e-6)  # the two files hold one path


@pytest.mark.data
def test_the_result_can_be_saved(tmp_path):
    ds = xas.fit_shells(copper(noise=1e-3, n_frames=2), shell(), START, **WINDOWS).dataset
    io.save(ds, tmp_path / "fit.nc")
    xr.testing.assert_allclose(io.open(tmp_path / "fit.nc"), ds)


# --- doubt


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*correlated by:UserWarning")
def test_more_variables_than_points():
    narrow = {**WINDOWS, "k_range": (4, 7), "r_range": (2, 3), "dk": 1}
    with pytest.warns(UserWarning, match=r"4 variables for 2.9 independent points"):
        ds = xas.fit_shells(copper(noise=1e-3), shell(), START, **narrow).dataset
    assert np.isnan(ds.amp_sigma)
    assert np.isnan(ds.chi2_reduced)


@pytest.mark.data
def test_a_bound_is_told():
    start = {**START, "ss2": xas.Variable(value=0.004, low=0, high=0.006)}
    with pytest.warns(UserWarning, match=r"ss2 is at its bound \(0 to 0.006\)"):
        ds = xas.fit_shells(copper(noise=1e-3), shell(), start, **WINDOWS).dataset
    assert float(ds.ss2) == pytest.approx(0.006)
    assert np.isnan(ds.ss2_sigma)
    assert np.isnan(ds.path_sigma2_sigma[0])
    assert float(ds.amp_sigma) > 0
    assert int(ds.status) == 1


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*correlated by:UserWarning")
def test_correlation_and_degeneracy_are_told():
    short = {**WINDOWS, "k_range": (3, 10)}
    with pytest.warns(UserWarning, match=r"correlated by -?0\.9\d+ in the fit: hardly told apart"):
        fit = xas.fit_shells(copper(noise=1e-3), shell(third="c3"), {**START, "c3": 0.0}, **short)
    close = np.tril(np.abs(fit.correlation), -1).max()
    assert 0.95 < close < 1
    np.testing.assert_allclose(np.diag(fit.correlation), 1)
    # N S0² is one number: neither has a sigma, all others have.
    with pytest.warns(UserWarning, match="do not determine (amp|n) beside") as caught:
        ds = xas.fit_shells(copper(noise=1e-3), shell(degen="n"), {**START, "n": 10.0}, **WINDOWS).dataset
    assert sum("do not determine" in str(one.message) for one in caught) == 2
    assert np.isnan([ds.amp_sigma, ds.n_sigma]).all()
    alone = xas.fit_shells(copper(noise=1e-3), shell(), START, **WINDOWS).dataset
    for name in ("de0", "dr", "ss2"):
        assert float(ds[f"{name}_sigma"]) == pytest.approx(float(alone[f"{name}_sigma"]), rel=0.1)
    assert float(ds.amp * ds.n) == pytest.approx(0.9 * 12, rel=0.1)


@pytest.mark.data
def test_background_inside_the_range_is_told():
    with pytest.warns(UserWarning, match="begins at 1.5 angstrom, the background was taken off up to 1.8"):
        xas.fit_shells(copper(noise=1e-3).assign_attrs(rbkg=1.8), shell(), START, **WINDOWS)


# --- refusals


@pytest.mark.data
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parameters": {"amp": 1}}, "delta_e0 of path 0 .*'de0' is no parameter"),
        ({"parameters": {**START, "amq": 1.0}}, "no path depends on 'amq'"),
        ({"parameters": {**START, "de0": "dr + 1", "dr": "de0 * 2"}}, "define each other in a circle"),
        ({"parameters": {**START, "de0": "ss3"}}, "parameter 'de0': 'ss3' is no parameter.*did you mean 'ss2'"),
        ({"parameters": {**START, "chi2": 1.0}}, "cannot be called 'chi2'"),
        ({"parameters": {**START, "alpha": 1.0}}, "cannot be called 'alpha', which the data model keeps"),
        ({"parameters": {**START, "a b": 1.0}}, "plain word"),
        ({"parameters": {**START, "amp": None}}, "must be a number, a Variable or an expression"),
        ({"parameters": dict.fromkeys(START, "1")}, "to vary, got none"),
        ({"k_range": (3, 19.5)}, "lies beyond the data"),
        ({"k_range": (15, 3)}, "the second larger"),
        ({"r_range": 3}, "a range is two numbers"),
        ({"window": "hannin"}, "did you mean 'hanning'"),
        ({"fit_space": "w"}, "fit_space must be 'k', 'r' or 'q'|fit_space must be"),
        ({"kweight": 9}, "kweight must be"),
        ({"epsilon": 0.0}, "epsilon must be positive"),
    ],
)
def test_wrong_words_and_ranges(changed, message):
    given = {"parameters": START, **WINDOWS, **changed}
    with pytest.raises(ValueError, match=message):
        xas.fit_shells(copper(), shell(), **given)


@pytest.mark.data
def test_wrong_data():
    data = copper()
    with pytest.raises(SchemaError, match="needs a variable 'chi', got mu"):
        xas.fit_shells(data.rename(chi="mu"), shell(), START, **WINDOWS)
    with pytest.raises(SchemaError, match="even grid"):
        xas.fit_shells(data.assign_coords(k=K**1.01), shell(), START, **WINDOWS)
    with pytest.raises(DimensionError, match="choose with isel"):
        xas.fit_shells(data.expand_dims(channel=2), shell(), START, **WINDOWS)
    with pytest.raises(DimensionError, match="one grid in k"):
        xas.fit_shells([data, data.isel(k=slice(0, None, 2))], shell(), START, **WINDOWS)
    with pytest.raises(ValueError, match="hold 3 lists for 2 datasets"):
        xas.fit_shells([data, data], [[shell()]] * 3, START, **WINDOWS)
    with pytest.raises(TypeError, match=r"paths must be xas.Shell"):
        xas.fit_shells(data, [feff("Cu/feff0001.dat")], START, **WINDOWS)
    with pytest.raises(ValueError, match="got none"):
        xas.fit_shells([], shell(), START, **WINDOWS)
    long = chi_of(np.zeros(501), 0.05 * np.arange(501))
    with pytest.raises(ValueError, match=r"the table of path Cu-Cu 2.548 ends at 20"):
        xas.fit_shells(long, shell(), START, **{**WINDOWS, "k_range": (3, 20)})
    with pytest.raises(ValueError, match="'temperature' is no parameter and no number of the spectrum"):
        xas.fit_shells(data, shell(sigma2="einstein(temperature, ss2)"), START, **WINDOWS)
    hot = data.assign_attrs(temperature=np.nan)
    with pytest.raises(ValueError, match="'temperature' of the spectra must be finite"):
        xas.fit_shells(hot, shell(sigma2="einstein(temperature, ss2)"), START, **WINDOWS)


@pytest.mark.parametrize(("low", "high"), [(1, 2), (0.1, -0.1), (np.nan, 1)])
def test_variables_start_within_their_bounds(low, high):
    with pytest.raises(ValueError, match="within its bounds"):
        xas.Variable(value=0.0, low=low, high=high)


# --- expressions


def test_ranges_without_points_are_refused_and_nothing_fits_nothing():
    flat, one = chi_of(np.zeros(len(K))), xas.Shell(feff("Cu/feffcu01.dat"), s02="amp")
    for r_range in ((40, 50), (2, 50), (2.001, 2.002)):
        with pytest.raises(ValueError, match=r"r_range must hold points of R up to 31\.42 angstrom"):
            xas.fit_shells(flat, one, {"amp": 1}, **{**WINDOWS, "r_range": r_range})
    none = xas.fit_shells(flat, one, {"amp": 1}, **WINDOWS).dataset
    assert np.isnan(none.r_factor)  # 0 of 0
    assert abs(float(none.amp)) < 1e-6
