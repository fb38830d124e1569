"""Windows, chi(R), chi(q) and noise: against larch, against exact sums, and on planted oscillations."""

import numpy as np
import pytest
import xarray as xr

from batlab import xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

K = 0.05 * np.arange(341)


def table(chi, k=K):
    chi = np.asarray(chi)
    dims = ("frame", "k") if chi.ndim == 2 else ("k",)
    return xr.Dataset(
        {"chi": quantity(dims, chi, "1", "EXAFS")}, {"k": quantity("k", k, "1/angstrom", "photoelectron wavenumber")}
    )


def oscillation(k=K, distance=2.5, sigma2=0.006):
    return np.exp(-2 * sigma2 * k**2) * np.sin(2 * k * distance) / np.maximum(k, 0.5)


def whole(spectrum, part="chi_r"):
    return spectrum[f"{part}_real"].values + 1j * spectrum[f"{part}_imag"].values


# larch 2026.3.1, ftwindow on k = 0, 0.05 ... 17, xmin 3, xmax 14, dx 1, dx2 2, at k = 2.6, 2.9, 3.4, 8, 13.3, 14.5
LARCH_WINDOWS = {
    "hanning": [0.024472, 0.345492, 0.975528, 1.0, 0.945503, 0.146447],
    "kaiser": [0.029886, 0.117327, 0.255352, 0.984719, 0.454779, 0.145717],
    "parzen": [0.1, 0.4, 0.9, 1.0, 0.85, 0.25],
    "welch": [0.19, 0.64, 0.99, 1.0, 0.9775, 0.4375],
    "sine": [0.02513, 0.100362, 0.224271, 0.982287, 0.414376, 0.125333],
    "gaussian": [0.0, 0.0, 1e-06, 0.75484, 3.2e-05, 0.0],
}


@pytest.mark.parametrize("window", LARCH_WINDOWS)
def test_windows_are_larchs(window):
    values = xas.ft_window(K, low=3, high=14, dx=1, dx2=2, window=window)
    np.testing.assert_allclose(values[[52, 58, 68, 160, 266, 290]], LARCH_WINDOWS[window], atol=2e-6)
    assert values.min() >= 0
    assert values.max() <= 1


def test_windows_at_their_corners():
    for window, half in (("hanning", 0.5), ("parzen", 0.5), ("welch", 0.75)):
        values = xas.ft_window([1.0, 2.0, 3.0, 4.0, 8.0, 9.0, 10.0, 11.0, 12.0], low=3, high=10, dx=2, window=window)
        np.testing.assert_allclose(values, [0, 0, half, 1, 1, 1, half, 0, 0], atol=1e-15)
    gaussian = xas.ft_window(K, low=5, high=11, dx=1.5, window="gaussian")
    assert gaussian[160 + 30] == pytest.approx(np.exp(-0.5))
    steep = xas.ft_window(K, low=5, high=11, dx=800.0, window="kaiser")
    assert np.isfinite(steep).all()
    assert xas.ft_window(K, low=3, high=9, dx=0, window="hanning").sum() == 121
    assert len(xas.ft_window([], low=1, high=2)) == 0


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"window": "hamming"}, "window must be"),
        ({"low": 9, "high": 9}, "must exceed"),
        ({"dx": -1}, "at least 0"),
        ({"dx": 0, "window": "kaiser"}, "must be positive"),
    ],
)
def test_windows_that_make_no_sense_are_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        xas.ft_window(K, **({"low": 3, "high": 9} | keywords))


# larch 2026.3.1: xftf(k, chi, kmin=3, kmax=14, dk=2, window, kweight=2) of `oscillation`, R = π/102.4 (70, 76, 82, 88)
LARCH_R = {
    "hanning": [(-0.536 + 0.80728j), (2.89933 + 4.835j), (-2.29214 - 9.07773j), (-0.39131 + 4.43267j)],
    "kaiser": [(-0.83705 - 0.5558j), (2.24715 + 4.47546j), (-1.82404 - 7.08962j), (0.10102 + 4.24472j)],
    "gaussian": [(-0.96266 - 1.77717j), (1.42566 + 3.64112j), (-1.21333 - 4.58378j), (0.51634 + 3.57414j)],
}
# and xftr of it with rmin, rmax and dr of 56, 104 and 16 steps of R (plus 0.001: larch cuts to whole steps), "hanning",
# at q = 4, 8, 12
LARCH_Q = [(2.67893 - 1.17673j), (2.71796 + 2.46472j), (-0.68362 + 2.07694j)]


@pytest.mark.parametrize("window", LARCH_R)
def test_chi_of_r_is_larchs(window):
    spectrum = check(xas.fourier_transform(table(oscillation()), kmin=3, kmax=14, dk=2, window=window))
    assert spectrum.sizes["r"] == 326
    np.testing.assert_allclose(whole(spectrum)[[70, 76, 82, 88]], LARCH_R[window], atol=2e-5)
    np.testing.assert_allclose(spectrum.chi_r_mag, np.abs(whole(spectrum)), rtol=1e-12)


def test_chi_of_q_is_larchs():
    step = np.pi / 102.4
    spectrum = xas.fourier_transform(table(oscillation()), kmin=3, kmax=14, dk=2)
    back = check(xas.back_transform(spectrum, rmin=56 * step, rmax=104 * step, dr=16 * step))
    np.testing.assert_allclose(whole(back, "chi_q")[[80, 160, 240]], LARCH_Q, atol=2e-5)


@pytest.mark.parametrize("window", ["hanning", "kaiser", "parzen", "welch", "sine", "gaussian"])
def test_the_peak_lies_at_the_distance(window):
    for distance in (1.8, 2.5, 4.0):
        chi = table(np.sin(2 * K * distance) / np.maximum(K, 1) ** 2)
        spectrum = xas.fourier_transform(chi, kmin=3, kmax=14, dk=2, kweight=2, window=window)
        assert abs(float(spectrum.r[int(spectrum.chi_r_mag.argmax("r"))]) - distance) < 0.02


def test_parseval():
    chi = np.random.default_rng(0).normal(size=(3, 341))
    spectrum = xas.fourier_transform(table(chi), kmin=3, kmax=14, dk=2, rmax=np.pi / 0.1)
    # All R from 0 to π/δk hold each line twice but the first and the middle one.
    power = 2 * (spectrum.chi_r_mag**2).sum("r") - spectrum.chi_r_mag[:, 0] ** 2 - spectrum.chi_r_mag[:, -1] ** 2
    weighted = (spectrum.chi * spectrum.k**2 * spectrum["window"]) ** 2
    np.testing.assert_allclose(power * np.pi / 102.4, weighted.sum("k") * 0.05, rtol=1e-10)


def test_linear_and_scaled():
    chi = np.random.default_rng(0).normal(size=(2, 341))
    one, two, both = (
        whole(xas.fourier_transform(table(part))) for part in (chi[0], 1e6 * chi[1], chi[0] + 1e6 * chi[1])
    )
    np.testing.assert_allclose(both, one + two, atol=1e-12 * np.abs(two).max())


def test_there_and_back():
    chi = table(np.array([oscillation(), 2 * oscillation(distance=3.0)]))
    spectrum = xas.fourier_transform(chi, kmin=2, kmax=15, dk=2, rmax=12)
    back = check(xas.back_transform(spectrum, rmin=0, rmax=12, dr=0))
    weighted = (chi.chi * chi.k**2 * spectrum["window"]).values
    # Lines at R = 0 stand once in the sum instead of half; their share is the only difference.
    np.testing.assert_allclose(back.chi_q_real, weighted, atol=0.02 * np.abs(weighted).max())


def test_back_transform_keeps_one_shell():
    near, far = oscillation(distance=2.0), oscillation(distance=4.0)
    spectrum = xas.fourier_transform(table(near + far), kmin=3, kmax=14, dk=2)
    alone = xas.back_transform(spectrum, rmin=1, rmax=3, dr=0.5).chi_q_real.sel(k=slice(5, 12))
    expected = (K**2 * near)[100:241]
    assert np.abs(alone - expected).max() < 0.03 * np.abs(expected).max()


def test_uneven_grids_give_the_same():
    # The same chi on a grid twice as fine with points taken out at random.
    rng = np.random.default_rng(0)
    k = np.sort(rng.choice(0.0125 * np.arange(1361), 1000, replace=False))
    k[0], k[-1] = 0.0, 17.0
    expected = xas.fourier_transform(table(oscillation()), kmin=3, kmax=14, dk=2)
    uneven = check(xas.fourier_transform(table(np.tile(oscillation(k), (3, 1)), k), kmin=3, kmax=14, dk=2))
    np.testing.assert_allclose(whole(uneven)[1], whole(expected), atol=2e-2 * float(expected.chi_r_mag.max()))
    many = xas.fourier_transform(table(np.tile(oscillation(k), (40, 1)), k), kmin=3, kmax=14, dk=2)
    np.testing.assert_allclose(whole(many)[39], whole(uneven)[1], atol=1e-12)
    lazy = xas.fourier_transform(table(np.tile(oscillation(k), (3, 1)), k).chunk(frame=2), kmin=3, kmax=14, dk=2)
    np.testing.assert_array_equal(lazy.chi_r_mag, uneven.chi_r_mag)
    with pytest.raises(ValueError, match="even grid"):
        xas.noise(table(oscillation(k), k))


def test_lazy_single_missing_and_inputs_stay():
    chi = np.random.default_rng(0).normal(size=(5, 341))
    chi[2, 100], chi[3, 5] = np.nan, np.nan
    series = table(chi)
    before = series.copy(deep=True)
    eager = xas.fourier_transform(series)
    lazy = xas.fourier_transform(series.chunk(frame=2))
    assert lazy.chi_r_mag.chunks is not None
    np.testing.assert_allclose(lazy.chi_r_mag, eager.chi_r_mag, rtol=1e-12)
    assert np.isnan(eager.chi_r_mag.values).all(axis=1).tolist() == [False, False, True, False, False]
    single = check(xas.back_transform(xas.fourier_transform(table(chi[0]))))
    assert single.chi_q_real.dims == ("k",)
    np.testing.assert_allclose(single.chi_r_mag, eager.chi_r_mag[0], rtol=1e-12)
    back = xas.back_transform(lazy)
    assert back.chi_q_real.chunks is not None
    np.testing.assert_allclose(back.chi_q_real[0], single.chi_q_real, atol=1e-12)
    xr.testing.assert_identical(series, before)


def test_tapers_beyond_the_data_are_cut_off():
    # larch: the window of kmax 17 and dk 4 has fallen half way where the data end, and stops there.
    window = xas.fourier_transform(table(oscillation()), kmin=3, kmax=17, dk=4)["window"]
    assert float(window[-1]) == pytest.approx(0.5)
    default = xas.fourier_transform(table(oscillation()), kmin=3, dk=4)
    assert float(default["window"][-1]) == pytest.approx(0, abs=1e-12)
    assert default.chi_r_mag.attrs["kmax"] == pytest.approx(15)


def test_noise_is_found():
    level = np.array([4e-4, 4e-3])
    chi = oscillation() + np.repeat(level, 200)[:, None] * np.random.default_rng(0).normal(size=(400, 341))
    for keywords in ({"kweight": 0}, {"kweight": 1, "window": "kaiser", "dk": 3}, {"kweight": 2, "kmin": 2}):
        found = check(xas.noise(table(chi), **keywords))
        means = found.epsilon_k.values.reshape(2, 200).mean(axis=1)
        np.testing.assert_allclose(means, level, rtol=0.03)
        spread = found.epsilon_k.values.reshape(2, 200).std(axis=1) / found.epsilon_k_sigma.values.reshape(2, 200).mean(
            axis=1
        )
        np.testing.assert_allclose(spread, 1, atol=0.2)
    lazy = xas.noise(table(chi).chunk(frame=100), kweight=2, kmin=2)
    assert lazy.epsilon_k.chunks is not None
    np.testing.assert_allclose(lazy.epsilon_k, found.epsilon_k, rtol=1e-12)


def test_noise_of_chi_of_r_is_its_scatter():
    chi = 1e-3 * np.random.default_rng(1).normal(size=(500, 341))
    found = xas.noise(table(chi), kweight=2)
    parts = xas.fourier_transform(table(chi), kweight=2)
    scatter = np.sqrt((parts.chi_r_real.sel(r=slice(2, 9)) ** 2).mean())
    assert float(found.epsilon_r.mean()) == pytest.approx(float(scatter), rel=0.02)
    assert check(xas.noise(table(chi[0]))).epsilon_k.dims == ()


@pytest.mark.parametrize(
    ("function", "keywords", "words"),
    [
        (xas.fourier_transform, {"window": "Hanning"}, "did you mean 'hanning'"),
        (xas.fourier_transform, {"kmax": 30.0}, "where chi ends"),
        (xas.fourier_transform, {"kmin": 14.0, "kmax": 3.0}, "must rise"),
        (xas.fourier_transform, {"rmax": -1.0}, "rmax must be positive"),
        (xas.noise, {"rmin": 15.0, "rmax": 40.0}, "31.42"),
        (xas.noise, {"rmin": 20.0, "rmax": 15.0}, "must rise"),
        (xas.noise, {"window": "box"}, "window must be"),
    ],
)
def test_what_makes_no_sense_is_refused(function, keywords, words):
    with pytest.raises(ValueError, match=words):
        function(table(oscillation()), **keywords)


def test_other_tables_are_refused():
    with pytest.raises(SchemaError, match=r"make it with xas\.remove_background"):
        xas.fourier_transform(table(oscillation()).drop_vars("chi"))
    with pytest.raises(DimensionError, match="needs dimension 'k'"):
        xas.fourier_transform(table(oscillation()).rename(k="q"))
    with pytest.raises(SchemaError, match=r"make it with xas\.fourier_transform"):
        xas.back_transform(table(oscillation()))
    spectrum = xas.fourier_transform(table(oscillation()))
    with pytest.raises(ValueError, match="transform to a higher rmax"):
        xas.back_transform(spectrum, rmax=15.0)
    with pytest.raises(ValueError, match="window must be"):
        xas.back_transform(spectrum, window="none")
    with pytest.raises(ValueError, match="another grid of 'r'"):
        xas.fourier_transform(spectrum, rmax=6)
    with pytest.raises(ValueError, match="coordinate 'k'"):
        xas.back_transform(spectrum.drop_vars(["k", "chi", "window"]))


def test_few_spectra_and_many_are_treated_alike():
    chi = np.random.default_rng(0).normal(size=(40, 341))
    chi[35, 100] = np.nan
    many, few = xas.fourier_transform(table(chi)), xas.fourier_transform(table(chi[30:]))
    np.testing.assert_allclose(whole(many)[30:], whole(few), atol=1e-9)
    assert np.isnan(few.chi_r_mag[5].values).all()


def test_windows_without_points_and_ranges_of_mirror_images_are_refused():
    with pytest.raises(ValueError, match=r"no point of chi lies in the window from 3\.01 to 3\.02"):
        xas.fourier_transform(table(oscillation()), kmin=3.01, kmax=3.02, dk=0)
    with pytest.raises(ValueError, match=r"rmax must be positive and at most 31\.42 angstrom, got 32"):
        xas.fourier_transform(table(oscillation()), rmax=32)
    spectrum = xas.fourier_transform(table(oscillation()), rmax=31)
    with pytest.raises(ValueError, match=r"no point of chi\(R\) lies in the window from 2\.001 to 2\.002"):
        xas.back_transform(spectrum, rmin=2.001, rmax=2.002, dr=0)


@pytest.mark.parametrize("step", [xas.fourier_transform, xas.noise, xas.wavelet])
@pytest.mark.parametrize("kweight", [np.nan, -1, 1e3])
def test_powers_of_k_that_are_none_are_refused(step, kweight):
    with pytest.raises(ValueError, match="kweight must be a number from 0 to 6, got"):
        step(table(oscillation()), kweight=kweight)
