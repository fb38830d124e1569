"""Counters to absorption: exact ratios, dead time, channels, counting statistics, zero counts."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, schema
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity
from batlab.xas import mu

ENERGY = np.array([7100.0, 7110.0, 7120.0, 7130.0])


def scan(units="count", n_channels=3, n_frames=None):
    rng = np.random.default_rng(1)
    lead, sizes = (("frame",), (n_frames,)) if n_frames else ((), ())

    def counter(level, *more):
        dims = (*lead, *(["channel"] if more else []), "energy")
        values = rng.poisson(level, (*sizes, *more, len(ENERGY))).astype(float)
        return quantity(dims, values, units, "counter")

    return xr.Dataset(
        {
            "i0": counter(1e6),
            "itrans": counter(3e5),
            "irefer": counter(1e5),
            "ifluor": counter(2e4, n_channels),
            "deadtime_factor": quantity(
                (*lead, "channel", "energy"), np.full((*sizes, n_channels, 4), 1.1), "1", "dead time"
            ),
            "inttime": quantity("energy", np.full(4, 2.0), "s", "time per point"),
        },
        {
            "energy": quantity("energy", ENERGY, "eV", "photon energy"),
            "channel": quantity("channel", np.arange(1, n_channels + 1), "1", "channel"),
        },
    )


@pytest.mark.parametrize("n_frames", [None, 1, 3])
def test_the_three_modes(n_frames):
    ds = scan(n_frames=n_frames)
    before = ds.copy(deep=True)
    made = schema.check(mu(ds))
    np.testing.assert_allclose(made.mu, np.log(ds.i0 / ds.itrans))
    np.testing.assert_allclose(made.mu_reference, np.log(ds.itrans / ds.irefer))
    np.testing.assert_allclose(made.mu_sigma, np.sqrt(1 / ds.i0 + 1 / ds.itrans))
    reference = schema.check(mu(ds, mode="reference"))
    np.testing.assert_allclose(reference.mu, np.log(ds.itrans / ds.irefer))
    assert "mu_reference" not in reference
    fluorescence = schema.check(mu(ds, "fluorescence"))
    np.testing.assert_allclose(fluorescence.mu, 1.1 * ds.ifluor.sum("channel") / ds.i0)
    assert fluorescence.attrs["deadtime"] == "deadtime_factor"
    assert fluorescence.mu.dims == made.mu.dims
    assert ds.identical(before)
    assert made.attrs["history"].endswith("xas.mu(mode='transmission', counting=None)")


def test_bad_channels_are_left_out():
    ds = scan()
    ds["ifluor"][1] = np.nan
    with pytest.warns(UserWarning, match="4 of 4 points have no intensity"):
        assert np.isnan(mu(ds, "fluorescence").mu).all()
    good = mu(ds, "fluorescence", bad_channels=[2], deadtime=None)
    np.testing.assert_allclose(good.mu, (ds.ifluor[0] + ds.ifluor[2]) / ds.i0)
    masked = ds.assign(mask=quantity("channel", np.array([False, True, False]), "1", "bad"))
    np.testing.assert_array_equal(mu(masked, "fluorescence", deadtime=None).mu, good.mu)
    with pytest.raises(ValueError, match="channel 7 is none of"):
        mu(ds, "fluorescence", bad_channels=[7])
    with pytest.raises(ValueError, match="all 3 channels are left out"):
        mu(ds, "fluorescence", bad_channels=[1, 2, 3])


def test_dead_time_gives_back_the_true_rate():
    # A counter that does not paralyse sees n/(1 + n tau) of the true rate n.
    true = np.array([1e4, 1e5, 3e5, 1e6])
    tau = np.array([1e-6, 5e-7, 0.0])
    seen = true / (1 + true * tau[:, None])
    ds = scan().assign(ifluor=quantity(("channel", "energy"), 2.0 * seen, "count", "counts"))
    made = mu(ds, "fluorescence", deadtime=tau)
    np.testing.assert_allclose(made.mu * ds.i0, 3 * 2.0 * true, rtol=1e-12)
    assert made.attrs["deadtime"].startswith("not paralysed")
    with pytest.raises(ValueError, match="which must stay below 1; is it in seconds"):
        mu(ds, "fluorescence", deadtime=1.0)
    with pytest.raises(ValueError, match="deadtime must be one time in s or 3"):
        mu(ds, "fluorescence", deadtime=[1e-6, 1e-6])
    with pytest.raises(SchemaError, match="needs the time per point"):
        mu(ds.drop_vars("inttime"), "fluorescence", deadtime=1e-6)


def test_dead_time_from_rates():
    ds = scan()
    with pytest.raises(SchemaError, match="needs 'icr' and 'ocr'"):
        mu(ds, "fluorescence", deadtime="rates")
    rates = ds.assign(icr=1.25 * ds.ifluor, ocr=ds.ifluor)
    np.testing.assert_allclose(mu(rates, "fluorescence", deadtime="rates").mu, 1.25 * ds.ifluor.sum("channel") / ds.i0)
    with pytest.warns(UserWarning, match=r"factors from 0\.8000"):
        mu(rates.assign(icr=0.8 * ds.ifluor), "fluorescence", deadtime="rates")


def test_sigma_is_the_scatter_of_counted_repeats():
    rng = np.random.default_rng(7)
    ds = scan().isel(energy=[0])
    ds = xr.Dataset(
        {
            "i0": quantity(("frame", "energy"), rng.poisson(2e4, (4000, 1)).astype(float), "count", "i0"),
            "itrans": quantity(("frame", "energy"), rng.poisson(5e3, (4000, 1)).astype(float), "count", "it"),
            "ifluor": quantity(("frame", "channel", "energy"), rng.poisson(300, (4000, 3, 1)) * 1.0, "count", "if"),
            "deadtime_factor": quantity("channel", np.array([1.0, 1.2, 1.5]), "1", "dead time"),
        },
        ds.coords,
    )
    for mode in ("transmission", "fluorescence"):
        made = mu(ds, mode)
        assert float(made.mu.std()) == pytest.approx(float(made.mu_sigma.mean()), rel=0.05)


def test_sigma_only_where_photons_are_counted():
    plain = scan(units="1")
    assert "mu_sigma" not in mu(plain)
    assert "mu_sigma" not in mu(plain, "fluorescence")
    np.testing.assert_allclose(mu(plain, counting=True).mu_sigma, mu(scan()).mu_sigma)
    assert "mu_sigma" not in mu(scan(), counting=False)


def test_points_without_intensity_are_nan_and_said():
    ds = scan()
    ds["itrans"][0], ds["i0"][1], ds["i0"][2] = 0.0, -5.0, np.nan
    with pytest.warns(UserWarning, match="3 of 4 points have no intensity"):
        made = schema.check(mu(ds))
    assert np.isfinite(made.mu).values.tolist() == [False, False, False, True]


def test_ready_made_absorption_is_taken():
    ds = scan().drop_vars(["itrans", "ifluor"])
    ds["mutrans"] = quantity("energy", np.arange(4.0), "1", "absorption")
    ds["mufluor"] = quantity(("channel", "energy"), np.ones((3, 4)), "1", "absorption")
    np.testing.assert_array_equal(mu(ds).mu, np.arange(4.0))
    np.testing.assert_array_equal(mu(ds, "fluorescence", bad_channels=[1]).mu, 2 * np.ones(4))
    with pytest.raises(SchemaError, match=r"needs 'itrans' and 'irefer' \(or 'murefer'\)"):
        mu(ds, "reference")


def test_lazy_counters_stay_lazy():
    ds = scan(n_frames=6)
    made = mu(ds.chunk(frame=2), "fluorescence")
    assert made.mu.chunks[0] == (2, 2, 2)
    np.testing.assert_array_equal(made.mu, mu(ds, "fluorescence").mu)


def test_wrong_words_and_shapes():
    with pytest.raises(ValueError, match="did you mean 'fluorescence'"):
        mu(scan(), "fluorescense")
    with pytest.raises(ValueError, match="deadtime must be 'auto', 'rates' or None"):
        mu(scan(), "fluorescence", deadtime="factor")
    with pytest.raises(ValueError, match="belong to mode='fluorescence'"):
        mu(scan(), bad_channels=[1])
    with pytest.raises(DimensionError, match="needs dimension 'energy'"):
        mu(scan().rename(energy="q"))
    with pytest.raises(DimensionError, match="'itrans' has channels"):
        mu(scan().assign(itrans=scan().ifluor))


def test_real_counters():
    copper = bl.open(datasets.path("xdi_standards") / "Cu/cu_metal_rt.xdi")
    # The file's own mutrans is an independent answer, written with 10 digits.
    np.testing.assert_allclose(mu(copper).mu, copper.mutrans, atol=1e-8)
    iron = bl.open(datasets.path("xdi_standards") / "Fe/fe_xanes_8ch.xdi")
    made = schema.check(mu(iron, "fluorescence"))
    expected = (iron.ifluor * iron.deadtime_factor).sum("channel") / iron.i0
    np.testing.assert_allclose(made.mu, expected)
    without = mu(iron, "fluorescence", bad_channels=[3])
    np.testing.assert_allclose(made.mu - without.mu, (iron.ifluor * iron.deadtime_factor).sel(channel=3) / iron.i0)
