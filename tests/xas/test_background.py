"""chi(k) from mu(E): against larch's autobk, against planted oscillations, and what the linear problem promises."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, xas
from batlab.constants import ETOK
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity

# k² chi(k) at k = 3, 3.5, ... by larch 2026.3.1: pre_edge with its defaults, autobk(rbkg=1, kweight=2, clamp_lo=0,
# clamp_hi=1); larch's E0 and edge step, which are put in so that the background alone is compared.
LARCH = {
    "Cu/cu_metal_rt.xdi": (8980.5, 2.72937895, [
        -0.69765, 0.96807, -0.51977, -0.09582, 1.64824, -1.84523, -0.09502, 2.70589, -2.47725, -0.0316,
        1.43167, -1.54864, 1.28287, -0.42698, -0.7289, 1.12577, -0.11847, -0.42982, 0.27363, -0.14931, 0.15201,
        0.04954, -0.28381]),
    "Fe/Fe2O3_rt_01.xdi": (7125.6176, 1.29308352, [
        -1.05479, -0.41918, 1.06823, 0.31866, -0.18911, -0.86369, 0.10549, 0.9537, -0.4438, 0.24899, -0.4641,
        0.4198, -0.24214, 0.08732, 0.03354, 0.19871, -0.07249, -0.05937, -0.09715, 0.09891, 0.05446, 0.03916,
        -0.0777]),
    "Ni/NiOH2_rt_01.xdi": (8346.0, 0.219468199, [
        -0.82994, 1.0886, 0.41157, -0.56054, -0.53928, -0.02348, 1.57143, -1.22417, -0.15284, -0.70472,
        0.23622, -0.04932, -0.45717, 0.78205, -0.16601, 0.19995, -0.25531, 0.31773, -0.12297, 0.04543, 0.03018,
        0.01541, -0.07457]),
    "V/V_foil.xdi": (5465.507, 2.386476, [
        -0.18102, 0.68353, -0.63965, 0.44631, 0.8945, -0.87349, -1.34971, 2.44934, -0.68969, -1.0445, 0.42921,
        -0.51043, 0.68969, -0.24217, -0.29242, 0.37586, -0.12848, 0.02837, -0.03536]),
}  # fmt: skip


def table(mu, energy, e0=8980.0, step=1.0, **more):
    """Return a series, or a single scan of a 1-D mu, that has been normalised."""
    mu = np.asarray(mu)
    dims = ("frame", "energy") if mu.ndim == 2 else ("energy",)
    each = ("frame",) if mu.ndim == 2 else ()

    def numbers(value):
        return np.broadcast_to(np.asarray(value, dtype=float), mu.shape[:-1]).copy()

    data = {
        "mu": quantity(dims, mu, "1", "absorption"),
        "e0": quantity(each, numbers(e0), "eV", "edge energy"),
        "edge_step": quantity(each, numbers(step), "1", "edge step"),
        **{name: quantity(dims, value, "1", name) for name, value in more.items()},
    }
    return xr.Dataset(data, {"energy": quantity("energy", energy, "eV", "energy")})


ENERGY = np.concatenate([np.arange(8800.0, 8960, 5), np.arange(8960.0, 9020, 0.5), np.arange(9020.0, 9900, 2.5)])
K = np.sign(ENERGY - 8980) * np.sqrt(ETOK * np.abs(ENERGY - 8980))


def planted(amplitude=0.4, distance=2.4, e0=8980.0):
    """Return an edge on a smooth curve with one oscillation, and that oscillation as a function of k."""
    k = np.sqrt(ETOK * np.clip(ENERGY - e0, 0, None))

    def chi(k):
        return amplitude * np.exp(-0.012 * k**2) * np.sin(2 * k * distance) * (1 - np.exp(-((k / 2) ** 4)))

    edge = 0.5 + np.arctan((ENERGY - e0) / 1.5) / np.pi
    return edge * (1.4 - 0.3 * (ENERGY - e0) / 1000) + edge * chi(k) + 0.2, chi


def noisy(frames=4, seed=0):
    rng = np.random.default_rng(seed)
    return planted()[0] + 1e-3 * rng.normal(size=(frames, len(ENERGY)))


@pytest.mark.data
@pytest.mark.parametrize("name", LARCH)
def test_larch(name):
    e0, step, expected = LARCH[name]
    scan = xas.mu(bl.open(datasets.path("xdi_standards") / name))
    scan = scan.assign(e0=quantity((), e0, "eV", "edge"), edge_step=quantity((), step, "1", "step"))
    chi = check(xas.remove_background(scan, rbkg=1.0, kweight=2)).chi
    k = 3 + 0.5 * np.arange(len(expected))
    ours = k**2 * chi.sel(k=k, method="nearest").values
    assert np.sqrt(((ours - expected) ** 2).sum() / np.square(expected).sum()) <= 0.02


@pytest.mark.data
def test_copper_from_file_to_chi_of_r():
    # Issue 4, check 1: larch 2026.3.1 finds 2.24 angstrom and 3.80.
    scan = xas.normalize(xas.mu(bl.open(datasets.path("xdi_standards") / "Cu/cu_metal_rt.xdi")))
    spectrum = xas.fourier_transform(xas.remove_background(scan), kmin=3, kmax=14, dk=4)
    top = spectrum.chi_r_mag.isel(r=int(spectrum.chi_r_mag.argmax("r")))
    assert float(top.r) == pytest.approx(2.24, abs=0.03)
    assert float(top) == pytest.approx(3.80, rel=0.05)
    assert [line.split("(")[0].split()[-1] for line in spectrum.attrs["history"].splitlines()] == [
        "io.open", "xas.mu", "xas.normalize", "xas.remove_background", "xas.fourier_transform",
    ]  # fmt: skip


@pytest.mark.parametrize("kweight", [0, 1, 2, 3])
def test_planted_oscillation_returns(kweight):
    mu, chi = planted()
    found = check(xas.remove_background(table(mu, ENERGY, step=1.4), kweight=kweight)).chi.sel(k=slice(5, 13))
    # mu falls by 0.3 over 1000 eV and chi with the edge function: a step of 1.4 is right to some per cent.
    expected = chi(found.k.values) / 1.4
    scale = float((found * expected).sum() / np.square(expected).sum())
    assert scale == pytest.approx(1, abs=0.03)
    assert np.abs(found - scale * expected).max() < 0.01


@pytest.mark.parametrize("distance", [1.8, 2.4, 3.6])
def test_planted_distance_and_amplitude_return(distance):
    k = 0.05 * np.arange(300)
    mu, chi = planted(distance=distance)
    spectrum = xas.fourier_transform(xas.remove_background(table(mu, ENERGY, step=1.4)), kmin=3, kmax=13, dk=2)
    truth = xr.Dataset(
        {"chi": quantity("k", chi(k) / 1.4, "1", "chi")}, {"k": quantity("k", k, "1/angstrom", "wavenumber")}
    )
    expected = xas.fourier_transform(truth, kmin=3, kmax=13, dk=2).chi_r_mag
    top = int(spectrum.chi_r_mag.argmax("r"))
    assert abs(float(spectrum.r[top]) - distance) < 0.04
    assert float(spectrum.chi_r_mag[top]) == pytest.approx(float(expected.max()), rel=0.03)


def test_nothing_is_left_below_rbkg():
    mu, _ = planted()
    chi = xas.remove_background(table(mu, ENERGY), rbkg=1.2, kmin=0)
    spectrum = xas.fourier_transform(chi, kmin=0, dk=0.1).chi_r_mag
    assert float(spectrum.sel(r=slice(0, 0.9)).max()) < 0.01 * float(spectrum.max())


def test_a_cubic_in_k_belongs_to_the_background():
    # Any cubic lies in the spline's space, so chi must not see it.
    mu, _ = planted()
    cubic = 0.5 - 0.1 * K + 0.02 * K**2 - 1e-3 * K**3
    one, two = (xas.remove_background(table(mu + more, ENERGY)) for more in (0, cubic))
    np.testing.assert_allclose(one.chi, two.chi, atol=1e-9)


def test_scale_and_linearity():
    mu, _ = planted()
    other, _ = planted(0.2, 3.1)
    cases = {"a": (mu, 1.4), "b": (other, 2.0), "7a": (7 * mu, 9.8), "a+b": (mu + other, 1.0)}
    chi = {key: xas.remove_background(table(one, ENERGY, step=step)).chi.values for key, (one, step) in cases.items()}
    np.testing.assert_allclose(chi["7a"], chi["a"], atol=1e-12)
    np.testing.assert_allclose(chi["a+b"], 1.4 * chi["a"] + 2.0 * chi["b"], atol=1e-11)


def test_one_operator_is_frame_by_frame():
    mu = noisy(400)
    together = xas.remove_background(table(mu, ENERGY))
    alone = xas.remove_background(table(mu[:3], ENERGY))
    single = check(xas.remove_background(table(mu[1], ENERGY)))
    assert single.chi.dims == ("k",)
    for name in ("chi", "mu_background"):
        np.testing.assert_allclose(together[name][:3], alone[name], atol=2e-6 if name == "mu_background" else 1e-10)
        np.testing.assert_allclose(single[name], alone[name][1], atol=1e-12)
    before = ENERGY < 8980 - 1
    np.testing.assert_array_equal(together.mu_background.values[:, before], mu[:, before])


def test_mu_less_background_is_chi_at_the_energies():
    mu = noisy(2)
    done = xas.remove_background(table(mu, ENERGY, step=1.4))
    left = (done.mu - done.mu_background).isel(frame=0) / 1.4
    inside = (K > 1) & (K < 15)
    on_grid = np.interp(K[inside], done.k, done.chi[0])
    assert np.abs(left.values[inside] - on_grid).max() < 5e-3


def test_every_frame_has_its_own_e0():
    shifts = np.array([0.0, 0.7, -1.3, 2.0, 0.7])
    mu = np.array([planted(e0=8980 + shift)[0] for shift in shifts])
    series = table(mu, ENERGY, e0=8980 + shifts)
    done = check(xas.remove_background(series))
    for frame, shift in enumerate(shifts):
        one = xas.remove_background(table(mu[frame], ENERGY, e0=8980 + shift), kmax=float(done.chi.attrs["kmax"]))
        np.testing.assert_allclose(done.chi[frame], one.chi, atol=1e-12)
    fixed = xas.remove_background(series, e0=8980.0)
    np.testing.assert_allclose(fixed.chi[0], xas.remove_background(table(mu[0], ENERGY)).chi, atol=1e-12)


def test_every_frame_has_its_own_grid():
    grids = ENERGY + np.array([[0.0], [0.13], [-0.2]])
    mu = np.array([np.interp(grid, ENERGY, planted()[0]) for grid in grids])
    mu[2, -4:], grids[2, -4:] = np.nan, np.nan
    series = table(mu, ENERGY).drop_vars("energy")
    series["energy_measured"] = quantity(("frame", "energy"), grids, "eV", "energies of each frame")
    done = check(xas.remove_background(series))
    for frame, grid in enumerate(grids):
        known = np.isfinite(grid)
        one = xas.remove_background(table(mu[frame, known], grid[known]), kmax=float(done.chi.attrs["kmax"]))
        np.testing.assert_allclose(done.chi[frame], one.chi, atol=1e-12)
        np.testing.assert_allclose(done.mu_background[frame, known], one.mu_background, atol=1e-12)


def test_missing_points_are_left_out():
    mu = noisy(400)
    holes = mu.copy()
    holes[5, [40, 150, 151, 300]] = np.nan
    done = check(xas.remove_background(table(holes, ENERGY)))
    keep = np.isfinite(holes[5])
    one = xas.remove_background(table(mu[5, keep], ENERGY[keep]))
    np.testing.assert_allclose(done.chi[5], one.chi, atol=1e-10)
    np.testing.assert_allclose(done.chi[6], xas.remove_background(table(mu, ENERGY)).chi[6], atol=1e-10)
    assert np.isnan(done.mu_background.values[5]).sum() == 4


def test_frames_without_background_are_nan_and_counted():
    mu = noisy(4)
    mu[1], mu[2, 250:] = np.nan, np.nan
    e0 = np.array([8980.0, 8980.0, 8980.0, np.nan])
    with pytest.warns(UserWarning, match="3 of 4 spectra have no background"):
        done = check(xas.remove_background(table(mu, ENERGY, e0=e0), kmax=14.0))
    assert np.isnan(done.chi.values).all(axis=1).tolist() == [False, True, True, True]
    with pytest.warns(UserWarning, match="have no background"), pytest.warns(UserWarning, match="spectrum 2 ends at k"):
        short = xas.remove_background(table(mu, ENERGY, e0=e0))
    assert short.k[-1] < 10


def test_lazy_series_stay_lazy():
    mu = noisy(40)
    series = table(mu, ENERGY, e0=8980 + 0.1 * np.arange(40), mu_sigma=np.full(mu.shape, 1e-3))
    lazy = xas.remove_background(series.chunk(frame=16))
    assert all(lazy[name].chunks is not None for name in ("chi", "chi_sigma", "mu_background"))
    eager = xas.remove_background(series)
    for name in ("chi", "chi_sigma", "mu_background"):
        np.testing.assert_allclose(lazy[name], eager[name], atol=1e-12)
    check(lazy.compute())


@pytest.mark.parametrize("e0", [8980.0, np.linspace(8979, 8981, 2000)])
def test_sigma_is_the_scatter_of_repeats(e0):
    clean, _ = planted()
    sigma = np.full((2000, len(ENERGY)), 1e-3) * (1 + (ENERGY > 9300))
    if not isinstance(e0, float):
        sigma, e0 = sigma[:20], e0[:20]
    mu = clean + sigma * np.random.default_rng(0).normal(size=sigma.shape)
    done = check(xas.remove_background(table(mu, ENERGY, e0=e0, step=1.4, mu_sigma=sigma)))
    assert done.chi_sigma.dims == ("frame", "k")
    if len(mu) == 2000:
        pulls = done.chi.std("frame", ddof=1) / done.chi_sigma[0]
        assert float(np.abs(pulls[1:] - 1).max()) < 0.08
    else:
        one = xas.remove_background(
            table(mu[3], ENERGY, e0=e0[3], step=1.4, mu_sigma=sigma[3]), kmax=done.chi.attrs["kmax"]
        )
        np.testing.assert_allclose(done.chi_sigma[3], one.chi_sigma, rtol=1e-9)


def test_normalises_where_nobody_has():
    raw = table(planted()[0], ENERGY).drop_vars(["e0", "edge_step"])
    done = check(xas.remove_background(raw))
    assert [line.split("(")[0].split()[-1] for line in done.attrs["history"].splitlines()] == [
        "xas.normalize", "xas.remove_background",
    ]  # fmt: skip
    expected = xas.remove_background(xas.normalize(raw))
    np.testing.assert_array_equal(done.chi, expected.chi)


def test_short_ranges_are_told():
    scan = table(planted()[0], ENERGY)
    with pytest.warns(UserWarning, match="independent points below rbkg"):
        xas.remove_background(scan, kmax=4.0)


def test_inputs_stay_and_settings_are_kept():
    series = table(noisy(2), ENERGY)
    before = series.copy(deep=True)
    done = xas.remove_background(series, rbkg=0.9, clamp_hi=5.0)
    xr.testing.assert_identical(series, before)
    assert done.attrs["rbkg"] == 0.9
    assert done.chi.attrs["clamp"].startswith("fixed weight 0.1 × (0, 5)")
    assert "rbkg=0.9" in done.attrs["history"]


def test_clamps_hold_the_end():
    mu, _ = planted()
    mu = mu + 0.02 * np.sin(0.9 * K) * (K > 13)
    free, held = (xas.remove_background(table(mu, ENERGY), clamp_hi=weight).chi for weight in (0.0, 1e4))
    assert np.abs(held[-3:]).mean() < 0.2 * np.abs(free[-3:]).mean()


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"window": "haning"}, ValueError, "did you mean 'hanning'"),
        ({"kmax": 99.0}, ValueError, "kmax must be positive and at most"),
        ({"e0": 9.0}, ValueError, "E0 must lie within the energies"),
        ({"e0": np.nan}, ValueError, "E0 must lie within the energies"),
        ({"rbkg": 0.0}, ValueError, "rbkg and kstep must be positive"),
        ({"kmin": 12.0, "kmax": 11.0}, ValueError, "range in k must begin at 0"),
    ],
)
def test_what_makes_no_sense_is_refused(keywords, error, words):
    with pytest.raises(error, match=words):
        xas.remove_background(table(planted()[0], ENERGY), **keywords)


def test_other_tables_are_refused():
    scan = table(planted()[0], ENERGY)
    with pytest.raises(ValueError, match="holds 'chi' already"):
        xas.remove_background(xas.remove_background(scan))
    with pytest.raises(SchemaError, match=r"make it with xas\.mu"):
        xas.remove_background(scan.drop_vars("mu"))
    with pytest.raises(DimensionError, match="energy"):
        xas.remove_background(scan.rename(energy="q"))
    with pytest.raises(SchemaError, match="increase"):
        xas.remove_background(scan.isel(energy=slice(None, None, -1)))
    with pytest.raises(ValueError, match="no spectrum has an E0"):
        xas.remove_background(table(planted()[0], ENERGY, e0=np.nan))
