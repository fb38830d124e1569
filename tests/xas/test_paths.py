"""The EXAFS equation against larch's, its slopes against differences, and the Einstein model."""

import numpy as np
import pytest
import xarray as xr

from batlab import constants, datasets, io
from batlab.schema import check
from batlab.xas import einstein_sigma2, path_chi
from batlab.xas.einstein import einstein_slopes
from batlab.xas.paths import PATH_UNITS, PathTable

# chi of xraylarch 2026.3.1, path2chi(feffpath(file, …), kmax=20, kstep=0.05), at k = 2, 5, 8, 11, 14, 17.
K = [2.0, 5.0, 8.0, 11.0, 14.0, 17.0]
LARCH = [
    (
        "Cu/feffcu01.dat",
        {"s02": 0.93, "delta_e0": 4.4, "delta_r": -0.006, "sigma2": 0.0087},
        [0.168020462, 0.0549463108, 0.0101096164, -0.00394333366, -0.000721808364, 1.49771143e-05],
    ),
    (
        "Cu/feff0003.dat",
        {"s02": 0.8, "delta_e0": -6.5, "delta_r": 0.02, "sigma2": 0.004, "third": 0.0002, "fourth": 3e-05},
        [-0.0178990179, 0.0106074975, 0.000249905927, 8.37806186e-05, -9.22016164e-05, 0.000218928309],
    ),
    (
        "FeO/feff_feo02.dat",
        {"s02": 1.1, "delta_e0": 2.0, "delta_r": 0.05, "sigma2": 0.012, "ei": 1.5},
        [-0.0648876312, 0.0439707157, -0.0126914421, 0.00100778634, 4.71311108e-05, -7.42630421e-06],
    ),
    (
        "ZnSe/feff_znse.dat",
        {"s02": 1.0, "sigma2": 0.003, "third": 0.0001},
        [-0.0265183247, -0.00613613846, -0.00247353437, -0.00418568158, -0.00275808176, -0.00112799184],
    ),
    (
        "Cu/feff0011.dat",
        {"s02": 0.9, "delta_e0": 7.0, "delta_r": 0.01, "sigma2": 0.01, "degen": 10},
        [0.000265325252, 0.00157944827, -0.00171224738, 0.000316974545, -2.72438856e-05, 1.55384916e-06],
    ),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "given", "chi"), LARCH)
def test_chi_is_larchs(name, given, chi):
    result = check(path_chi(datasets.path("feff_paths") / name, **given))
    ours = result.chi.sel(k=K, method="nearest").values
    assert np.sqrt(((ours - chi) ** 2).mean() / np.square(chi).mean()) < 1e-6
    assert result.sizes["k"] == 401
    assert "xas.path_chi" in result.attrs["history"].split("\n")[-1]
    assert result.attrs["s02"] == given["s02"]


@pytest.mark.data
@pytest.mark.parametrize("name", ["Cu/feffcu01.dat", "FeO/feff_feo04.dat"])
@pytest.mark.parametrize("parameter", PATH_UNITS)
def test_slopes_are_differences(name, parameter):
    table = PathTable(datasets.path("feff_paths") / name)
    given = {
        "degen": 12.0, "s02": 0.9, "delta_e0": 3.0, "delta_r": 0.02, "sigma2": 6e-3, "third": 1e-4, "fourth": 1e-5,
        "ei": 0.7,
    }  # fmt: skip
    k = np.arange(2.0, 15, 0.05)
    chi, (slope,) = table.chi_and_slopes(k, given, [parameter])
    step = 1e-5 * given[parameter]
    up, down = (table.chi(k, {**given, parameter: given[parameter] + sign * step}) for sign in (1, -1))
    np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=1e-6 * np.abs(slope).max())
    np.testing.assert_array_equal(chi, table.chi(k, given))


def flat_path(reff=2.5, lam=1e9, phase=0.0, mag=0.3):
    """A path whose chi is exact algebra: constant amplitude and phase, no loss, p = k."""
    k = np.linspace(0, 20, 81)
    like = np.ones_like(k)
    columns = {"real_phc": 0 * k, "mag_feff": mag * like, "pha_feff": phase * like, "red_fact": like, "lam": lam * like}
    attrs = {"reff": reff, "degen": 6.0, "nleg": 2, "reduced_mass": 30.0}
    data = {name: ("k", values) for name, values in {**columns, "rep": k}.items()}
    return xr.Dataset(data | {"element": ("site", ["Ni", "O"])}, {"k": k}, attrs)


def test_the_equation_without_loss():
    k = np.arange(1.0, 19, 0.05)
    ours = path_chi(flat_path(phase=0.4), k=k, s02=0.8, sigma2=0.005, delta_r=0.03).chi.values
    r, sigma2 = 2.53, 0.005
    phase = 2 * k * r + 0.4 - 4 * k * sigma2 / 2.5
    np.testing.assert_allclose(ours, 6 * 0.8 * 0.3 * np.exp(-2 * sigma2 * k**2) / (k * r**2) * np.sin(phase), atol=1e-8)


def test_cumulants_and_broadening_without_loss():
    k = np.arange(2.0, 19, 0.05)
    plain = path_chi(flat_path(), k=k).chi.values
    skew = path_chi(flat_path(), k=k, third=1e-4).chi.values
    np.testing.assert_allclose(skew, 6 * 0.3 / (k * 6.25) * np.sin(5 * k - 4 / 3 * 1e-4 * k**3), atol=1e-8)
    np.testing.assert_allclose(
        path_chi(flat_path(), k=k, fourth=1e-5).chi.values, plain * np.exp(2e-5 / 3 * k**4), atol=1e-7
    )
    # Im p of sqrt(k² + i 0.2625 Ei), to first order 0.2625 Ei / 2k.
    loss = np.exp(-5 * constants.ETOK * 0.5 / (2 * k))
    np.testing.assert_allclose(path_chi(flat_path(), k=k, ei=0.5).chi.values, plain * loss, rtol=2e-3, atol=2e-4)


def test_e0_shifts_k():
    k = np.arange(3.0, 15, 0.05)
    q = np.sqrt(k**2 - 5 * constants.ETOK)
    ours = path_chi(flat_path(), k=k, delta_e0=5.0).chi.values
    np.testing.assert_allclose(ours, 6 * 0.3 / (q * 6.25) * np.sin(5 * q), atol=1e-9)


def test_ends_of_the_table():
    result = check(path_chi(flat_path(), k=[0, 10, 20, 20.5, 25], delta_e0=-4))
    assert np.isfinite(result.chi.values[:3]).all()
    assert np.isnan(result.chi.values[3:]).all()
    assert np.isfinite(path_chi(flat_path(), k=[0.0, 0.05]).chi.values).all()


@pytest.mark.data
def test_path_in_any_form():
    file = datasets.path("feff_paths") / "Cu" / "feff0001.dat"
    opened = io.open(file)
    before = opened.copy(deep=True)
    tree = io.open(datasets.path("feff_paths") / "Cu" / "feff000[12].dat")
    forms = [path_chi(one, s02=0.9).chi.values for one in (file, str(file), opened, tree["feff0001"])]
    assert all((form == forms[0]).all() for form in forms)
    assert opened.identical(before)
    for wrong in (tree, 5, xr.Dataset()):
        with pytest.raises(TypeError, match=r"a scattering path is a feffNNNN.dat"):
            path_chi(wrong)


@pytest.mark.parametrize("k", [[-1.0, 2], [3.0, 2], [np.nan, 2], []])
def test_wrong_k_is_refused(k):
    with pytest.raises(ValueError, match="k must be"):
        path_chi(flat_path(), k=k)


def test_einstein_limits():
    # T = 0: hbar² / (2 mu k theta) = hbar / (2 mu omega); high T: k T / (mu omega²), omega = k theta / hbar.
    hbar, boltzmann, unit = 1.054571817e-34, 1.380649e-23, 1.66053906892e-27
    omega = boltzmann * 233 / hbar
    assert einstein_sigma2(0, 233, 31.773) == pytest.approx(1e20 * hbar / (2 * 31.773 * unit * omega), rel=1e-9)
    classical = 1e20 * boltzmann * 1e5 / (31.773 * unit * omega**2)
    assert einstein_sigma2(1e5, 233, 31.773) == pytest.approx(classical, rel=1e-5)
    # larch 2026.3.1: sigma2_eins(300, 233, feffcu01) and at 10 K.
    assert einstein_sigma2(300, 233, 31.773) == pytest.approx(0.00885655922, rel=1e-6)
    assert einstein_sigma2(10, 233, 31.773) == pytest.approx(0.00327624071, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 3.0, 80.0, 600.0])
def test_einstein_slopes(temperature):
    by_t, by_theta = einstein_slopes(temperature, 250.0, 20.0)
    step = 1e-3
    lower = max(0.0, temperature - step)
    rise = (einstein_sigma2(temperature + step, 250, 20) - einstein_sigma2(lower, 250, 20)) / (
        temperature + step - lower
    )
    assert by_t == pytest.approx(rise, rel=1e-5, abs=1e-12)
    theta = (einstein_sigma2(temperature, 250 + step, 20) - einstein_sigma2(temperature, 250 - step, 20)) / (2 * step)
    assert by_theta == pytest.approx(theta, rel=1e-6)


@pytest.mark.parametrize("given", [(-1, 200, 30), (300, 0, 30), (300, 200, 0), (300, np.nan, 30)])
def test_einstein_refuses(given):
    with pytest.raises(ValueError, match="Einstein model needs"):
        einstein_sigma2(*given)
