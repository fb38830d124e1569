"""Normalisation: against larch on every standard, on planted edges, whatever the grid, lazily, on broken input."""

import dask.array
import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, schema
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity
from batlab.xas import normalize

# larch 2026.3.1, `pre_edge` with its defaults on ln(i0/itrans), ifluor/i0 or mutrans, energies as in the file: E0, edge
# step, the windows and nnorm it chose. Left out: fe_xanes_8ch.xdi, which ends before the Fe edge (larch: step 1e-4).
# larch's step is doubtful where one point more in a window changes it: gypsum (by 8.7 %), both CaS (3.5 %), FeS2
# (1.7 %), elemental S (1.5 %), Mn2O3 and MnO2 (1.2 %).
STANDARDS = {
    "Co/co_metal_rt.xdi": (7709.0000, 3.95374, (-180, -90), (25, 1234.4), 2),
    "Cu/CuO_tenorite_13K_01.xdi": (8990.3240, 1.56928, (-220, -110), (25, 648.56), 2),
    "Cu/cu_metal_10K.xdi": (8977.5800, 2.29875, (-180, -90), (25, 2384.9), 2),
    "Cu/cu_metal_rt.xdi": (8980.5000, 2.72938, (-190, -95), (25, 1165), 2),
    "Fe/Fe2O3_rt_01.xdi": (7125.6176, 1.29308, (-210, -105), (25, 958.62), 2),
    "Fe/Fe3O4_rt_01.xdi": (7123.5000, 2.20336, (-150, -75), (25, 845), 2),
    "Fe/FeO_rt_01.xdi": (7122.9272, 1.35436, (-205, -102.5), (25, 960), 2),
    "Fe/FeS2_rt_01.xdi": (7117.0000, 0.666429, (-200, -100), (25, 850), 2),
    "Fe/Fe_Foil_rt_2016Foils.xdi": (7110.8000, 4.14424, (-95, -47.5), (25, 645), 2),
    "Fe/Fe_metal_rt_01.xdi": (7111.0000, 2.95709, (-140, -70), (25, 858.25), 2),
    "Fe/feo_rt1.xdi": (7122.9272, 1.35436, (-205, -102.5), (25, 960), 2),
    "Mn/Mn2O3_rt_01.xdi": (6552.6870, 0.493432, (-30, -15), (25, 75), 1),
    "Mn/Mn3O4_rt_01.xdi": (6546.3310, 0.553201, (-25, -12.5), (25, 83.648), 1),
    "Mn/MnO2_rt_01.xdi": (6551.6760, 0.171745, (-30, -15), (25, 78.303), 1),
    "Mn/MnO_rt_01.xdi": (6544.0140, 0.125028, (-24.01, -12.01), (25, 85), 1),
    "Ni/Ni2O3_rt_01.xdi": (8346.0000, 0.440732, (-225, -112.5), (25, 1105), 2),
    "Ni/NiOH2_rt_01.xdi": (8346.0000, 0.219468, (-225, -112.5), (25, 1105), 2),
    "Ni/NiOH2_rt_02.xdi": (8346.0000, 0.217368, (-225, -112.5), (25, 1105), 2),
    "Ni/NiOH2_rt_03.xdi": (8346.0000, 0.217014, (-225, -112.5), (25, 1105), 2),
    "Ni/Ni_metal_rt_01.xdi": (8331.5000, 2.52614, (-190, -95), (25, 1235), 2),
    "S/CaS_rt_001.xdi": (2471.4010, 0.00813139, (-24.4, -12.2), (25, 72.598), 1),
    "S/CaS_rt_002.xdi": (2471.3010, 0.00698359, (-24.3, -12.15), (25, 72.699), 1),
    "S/CdS_rt_01.xdi": (2470.8010, 0.154752, (-20, -10), (25, 79.199), 1),
    "S/NiSO4_rt_01.xdi": (2481.1000, 0.402438, (-30, -15), (25, 190), 1),
    "S/S_elemental_rt_01.xdi": (2470.4000, 0.0865749, (-20, -10), (15, 49.6), 1),
    "S/gypsum_rt_01.xdi": (2480.6020, 0.00361676, (-30, -15), (20, 63.397), 1),
    "S/marcasite_rt_01.xdi": (2470.6000, 0.835792, (-20, -10), (25, 200), 1),
    "S/pyrite1_rt_01.xdi": (2470.6000, 0.884148, (-20, -10), (25, 200), 1),
    "V/V2O5.xdi": (5469.9980, 1.12167, (-100, -50), (25, 830), 2),
    "V/V_foil.xdi": (5465.5070, 2.38648, (-75, -37.5), (25, 624.31), 2),
    "Zn/ZnO.xdi": (9664.4984, 0.0428271, (-75, -37.5), (25, 638.39), 2),
    "Zn/Zn_foil.xdi": (9660.8988, 3.46223, (-70, -35), (25, 640), 2),
}

GRID = np.concatenate([np.arange(8133, 8313, 5.0), np.arange(8313, 8363, 0.4), np.arange(8363, 9100, 2.5)])


def edges(e0=8333.0, *, step=0.8, energy=GRID, noise=0.0, seed=0, slope=-2e-4):
    """Smooth edges on a straight line: one a number in `e0`, or a single one."""
    x = energy - np.atleast_1d(e0)[:, None]
    mu = 0.4 + slope * (energy - 8333.0) + 0.5 * step * (1 + np.tanh(x / 3))
    mu = mu + noise * np.random.default_rng(seed).normal(size=mu.shape)
    if np.ndim(e0) == 0:
        return dataset(mu[0], energy)
    return dataset(mu, energy)


def dataset(mu, energy, **more):
    dims = ("frame", "energy")[2 - np.ndim(mu) :]
    variables = {"mu": quantity(dims, mu, "1", "absorption"), **more}
    return xr.Dataset(variables, {"energy": quantity("energy", energy, "eV", "photon energy")})


def standard(name):
    scan = bl.open(datasets.path("xdi_standards") / name)
    return bl.xas.mu(scan, "fluorescence" if "ifluor" in scan else "transmission")


def test_copper_has_larchs_edge_and_step():
    done = schema.check(normalize(standard("Cu/cu_metal_rt.xdi")))
    assert float(done.e0) == pytest.approx(8980.5, abs=0.5)
    assert float(done.edge_step) == pytest.approx(2.7294, rel=0.003)
    assert (
        done.attrs["history"]
        .splitlines()[-1]
        .endswith("xas.normalize(e0=None, method='derivative', pre=None, post=None, nnorm=None, nvict=0, flatten=True)")
    )


@pytest.mark.parametrize("name", STANDARDS)
@pytest.mark.filterwarnings("ignore:xas.mu")
def test_every_standard_agrees_with_larch(name):
    e0, step, pre, post, nnorm = STANDARDS[name]
    scan = standard(name)
    chosen = schema.check(normalize(scan))
    same = normalize(scan, pre=pre, post=post, nnorm=nnorm)
    for done in (chosen, same):
        assert float(done.e0) == pytest.approx(e0, abs=0.5)
        assert float(done.edge_step) == pytest.approx(step, rel=0.01)
    # Windows are chosen from E0, which larch puts on a point; it may round to the next 5 eV.
    assert chosen.attrs["nnorm"] == nnorm
    assert [chosen.attrs[key] for key in ("pre1", "norm1")] == pytest.approx([pre[0], post[0]], abs=5.01)


@pytest.mark.parametrize(
    ("nvict", "nnorm", "expected"),
    # larch 2026.3.1: pre_edge(cu_metal_rt, e0=8980.5, pre1=-150, pre2=-40, norm1=60, norm2=900, nnorm, nvict): edge
    # step, then norm and flat at 9000 and 9200 eV by linear interpolation.
    [
        (0, 1, (2.7292148, 0.92531243, 0.9393955, 0.93109495, 1.0044858)),
        (0, 2, (2.7640205, 0.9136605, 0.92756623, 0.92094563, 1.0054997)),
        (0, 3, (2.7222091, 0.92769375, 0.94181305, 0.93195614, 1.001906)),
        (2, 2, (2.7637777, 0.91333801, 0.92477584, 0.92078899, 1.0055445)),
        (3, 1, (2.7423751, 0.92014668, 0.92977323, 0.92682793, 1.0049801)),
    ],
)
def test_copper_agrees_with_larch_point_by_point(nvict, nnorm, expected):
    scan = standard("Cu/cu_metal_rt.xdi")
    done = normalize(scan, e0=8980.5, pre=(-150, -40), post=(60, 900), nnorm=nnorm, nvict=nvict)
    at = {"energy": [9000.0, 9200.0]}
    ours = [float(done.edge_step), *done.mu_norm.interp(at).values, *done.mu_flat.interp(at).values]
    np.testing.assert_allclose(ours, expected, rtol=2e-6)


def test_a_planted_edge_returns():
    done = schema.check(normalize(edges(), nnorm=1))
    assert float(done.e0) == pytest.approx(8333.0, abs=1e-3)
    assert float(done.edge_step) == pytest.approx(0.8, rel=1e-5)
    far = done.sel(energy=slice(8400, None))
    np.testing.assert_allclose(far.mu_flat, 1.0, atol=1e-5)
    np.testing.assert_allclose(done.mu_norm.sel(energy=slice(None, 8250)), 0.0, atol=1e-5)
    assert done.mu.identical(edges().mu)


def test_scale_offset_and_slope_do_not_matter():
    one = normalize(edges(), nnorm=1)
    scan = edges()
    scan["mu"] = scan.mu.copy(data=7.0 * scan.mu.values + 3.0 - 1e-3 * (GRID - 8000))
    other = normalize(scan, e0=float(one.e0), nnorm=1)
    assert float(other.edge_step) == pytest.approx(7 * float(one.edge_step), rel=1e-9)
    np.testing.assert_allclose(other.mu_norm, one.mu_norm, atol=1e-9)  # the line takes any straight line away whole
    np.testing.assert_allclose(other.mu_flat, one.mu_flat, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nvict", [0, 2])
def test_the_product_and_the_kernel_agree(dtype, nvict):
    series = edges(8333.0 + np.linspace(-1, 1, 200), noise=1e-3)
    series["mu"] = series.mu.astype(dtype)
    together = schema.check(normalize(series, e0=8333.0, nvict=nvict))
    assert together.mu_norm.dtype == together.mu_flat.dtype == dtype
    for frame in (0, 77, 199):
        alone = normalize(series.isel(frame=frame), e0=8333.0, nvict=nvict)
        for name in ("mu_norm", "mu_flat", "edge_step", "e0"):
            np.testing.assert_allclose(together[name][frame], alone[name], atol=2e-6 if dtype == np.float32 else 1e-10)


def test_missing_points_cost_only_themselves():
    series = edges(8333.0 + np.zeros(5), noise=1e-4)
    full = normalize(series, e0=8333.0)
    mu = series.mu.values.copy()
    mu[1, [0, 10, 90, -1]] = np.nan
    mu[3] = np.nan
    with pytest.warns(UserWarning, match=r"too few points in a window.* in 1 of 5 frames \(first 3\)"):
        done = normalize(dataset(mu, GRID), e0=8333.0)
    np.testing.assert_array_equal(done.mu_norm[[0, 2, 4]], full.mu_norm[[0, 2, 4]])
    assert np.isnan(done.mu_norm[1]).sum() == 4
    np.testing.assert_allclose(done.mu_norm[1].dropna("energy"), full.mu_norm[1][np.isfinite(mu[1])], atol=2e-3)
    assert np.isnan(done.mu_norm[3]).all()
    assert np.isnan(done.edge_step[3])


def test_free_edges_follow_each_frame():
    true = 8333.0 + np.linspace(-1.5, 2.0, 40)
    done = schema.check(normalize(edges(true, noise=2e-4)))
    np.testing.assert_allclose(done.e0, true, atol=0.1)
    assert done.e0.dims == ("frame",)
    assert float(np.ptp(done.edge_step.values)) < 0.002


def test_one_edge_a_frame_may_be_given():
    true = 8333.0 + np.array([0.0, 1.0, 2.0])
    done = normalize(edges(true), e0=true)
    np.testing.assert_array_equal(done.e0, true)
    by_array = normalize(edges(true), e0=xr.DataArray(true, dims="frame"))
    np.testing.assert_array_equal(done.mu_flat, by_array.mu_flat)


def test_grids_of_their_own():
    grids = [GRID, GRID + 0.13, GRID[:-20]]
    width = max(map(len, grids))
    energy, mu = np.full((3, width), np.nan), np.full((3, width), np.nan)
    for row, grid in enumerate(grids):
        energy[row, : len(grid)], mu[row, : len(grid)] = grid, edges(energy=grid).mu
    series = xr.Dataset(
        {"mu": quantity(("frame", "energy"), mu, "1", "absorption")},
        {"energy_measured": quantity(("frame", "energy"), energy, "eV", "photon energy")},
    )
    windows = {"pre": (-150, -50), "post": (60, 700), "nnorm": 1}
    done = schema.check(normalize(series, **windows))
    for row, grid in enumerate(grids):
        alone = normalize(edges(energy=grid), **windows)
        np.testing.assert_array_equal(done.mu_flat[row, : len(grid)], alone.mu_flat)
        assert float(done.e0[row]) == float(alone.e0)
    assert np.isnan(done.mu_norm[2, -20:]).all()
    normalize(series)  # windows that every frame has
    # One frame alone, with what fills its row up to the others' length.
    alone = normalize(series.isel(frame=[2]), **windows)
    np.testing.assert_array_equal(alone.mu_flat, done.mu_flat[[2]])
    np.testing.assert_array_equal(normalize(series.isel(frame=2), **windows).mu_flat, done.mu_flat[2])
    assert float(alone.e0[0]) == float(done.e0[2])
    normalize(series.isel(frame=[2]))


@pytest.mark.parametrize("method", ["derivative", "half_step", "integral"])
def test_methods_state_where_the_edge_is(method):
    done = normalize(edges(), method=method)
    # All three are the middle of a symmetric rise, the integral's levels apart.
    assert float(done.e0) == pytest.approx(8333.0, abs=0.2 if method != "integral" else 6.0)
    assert done.attrs["e0_method"] == method


def test_sigma_follows_from_mu():
    series = edges(8333.0 + np.zeros(400), noise=2e-3)
    series["mu_sigma"] = quantity(("frame", "energy"), np.full(series.mu.shape, 2e-3), "1", "σ")
    done = schema.check(normalize(series, e0=8333.0))
    np.testing.assert_allclose(done.mu_norm.std("frame"), done.mu_norm_sigma.mean("frame"), rtol=0.2)
    assert float(done.edge_step.std()) == pytest.approx(float(done.edge_step_sigma.mean()), rel=0.12)
    assert "e0_sigma" not in done
    free = normalize(series.isel(frame=slice(20)))
    assert (free.e0_sigma > 0).all()
    assert "mu_norm_sigma" not in normalize(free.drop_vars("mu_sigma"))


def test_lazy_series_stay_lazy_and_give_the_same():
    series = edges(8333.0 + np.linspace(-1, 1, 30), noise=1e-3)
    series["mu"] = series.mu.astype(np.float32)
    for arguments in ({"e0": 8333.0}, {}, {"method": "half_step"}):
        eager = normalize(series, **arguments)
        lazy = normalize(series.chunk(frame=7, energy=100), **arguments)
        assert lazy.mu_norm.chunks[0] == (7, 7, 7, 7, 2)
        assert lazy.e0.chunks is not None
        schema.check(lazy.compute())
        for name in ("mu_norm", "mu_flat", "edge_step", "e0"):
            np.testing.assert_array_equal(lazy[name], eager[name])


def test_a_lazy_block_is_computed_once():
    calls = []

    def block(block_info=None):
        calls.append(1)
        return edges(8333.0 + np.zeros(5)).mu.values

    mu = dask.array.map_blocks(block, chunks=((5, 5), (len(GRID),)), dtype=float, meta=np.empty((0, 0)))
    lazy = normalize(dataset(mu, GRID), e0=8333.0)
    calls.clear()
    lazy[["mu_norm", "mu_flat", "edge_step"]].compute()
    assert len(calls) == 2


def test_nothing_is_changed_and_old_results_go():
    series = edges()
    before = series.copy(deep=True)
    done = normalize(series)
    assert series.identical(before)
    again = normalize(done, flatten=False)
    assert "mu_flat" not in again
    np.testing.assert_array_equal(again.mu_norm, done.mu_norm)


def test_an_edge_outside_the_spectrum_is_refused():
    with pytest.raises(ValueError, match=r"e0 = 7000\.00 eV lies outside the spectrum, 8133\.00 to 9098\.00"):
        normalize(edges(), e0=7000.0)
    with pytest.raises(ValueError, match="one number or one a frame"):
        normalize(edges(), e0=[8333.0, 8334.0])


def test_windows_with_too_few_points_are_refused():
    with pytest.raises(ValueError, match=r"window pre=\(-20, -19\.5\) eV .* holds 1 points, at least 3"):
        normalize(edges(), e0=8333.0, pre=(-20, -19.5))
    with pytest.raises(ValueError, match=r"window post=.* holds 2 points, at least 7 .* nnorm below 5"):
        normalize(edges(), e0=8333.0, post=(700, 705), nnorm=5)
    with pytest.raises(ValueError, match="nnorm must be a whole number"):
        normalize(edges(), nnorm=6)
    with pytest.raises(ValueError, match="nvict"):
        normalize(edges(), nvict=-1)
    with pytest.raises(ValueError, match="pre must be two energies"):
        normalize(edges(), pre=(-20, np.nan))


def test_energies_must_increase():
    scan = edges()
    for point, value in ((50, GRID[49]), (50, GRID[30]), (0, -1.0)):
        energy = GRID.copy()
        energy[point] = value
        broken = scan.assign_coords(energy=energy)
        with pytest.raises(SchemaError, match=r"must (increase|be positive)"):
            normalize(broken)
    energy = GRID.copy()
    energy[3] = np.nan
    with pytest.raises(SchemaError, match="NaN"):
        normalize(scan.assign_coords(energy=energy))


def test_no_edge_is_no_number():
    flat = edges(8333.0 + np.zeros(3))
    mu = flat.mu.values.copy()
    mu[1] = 0.5
    with pytest.warns(UserWarning, match="no E0 in 1 of 3 frames"):
        done = normalize(dataset(mu, GRID))
    assert np.isnan(done.edge_step[1])
    with pytest.raises(ValueError, match=r"no edge found .* pass e0=…"):
        normalize(dataset(np.full((3, len(GRID)), np.nan), GRID))
    with pytest.warns(UserWarning, match=r"an edge step of -0\.\d+ in 1 of 1 frames"):
        done = normalize(dataset(-edges().mu.values, GRID), e0=8333.0)
    assert np.isnan(done.mu_norm).all()


def test_a_scan_that_ends_at_the_edge_is_doubted():
    scan = edges().sel(energy=slice(None, 8338))
    with pytest.warns(UserWarning, match=r"ends \d\.\d eV after E0"):
        normalize(scan, e0=8333.0, post=(1, 5), nnorm=0)


def test_wrong_words_and_shapes():
    with pytest.raises(ValueError, match=r"did you mean 'derivative'"):
        normalize(edges(), method="derivatve")
    with pytest.raises(SchemaError, match=r"needs a variable 'mu', got i0; make it with xas\.mu"):
        normalize(edges().rename(mu="i0"))
    with pytest.raises(DimensionError, match="needs dimension 'energy'"):
        normalize(edges().rename(energy="q"))
    with pytest.raises(DimensionError, match="isel"):
        normalize(edges().expand_dims("channel"))


@pytest.mark.soak
def test_73000_float32_spectra_never_sit_in_memory(tmp_path):
    import resource

    one = edges(8333.0 + np.linspace(-1, 1, 1000)).sel(energy=slice(None, 8900))
    series = one.mu.astype(np.float32).chunk(frame=1000)
    xr.concat([series] * 73, "frame").to_dataset(name="mu").to_zarr(tmp_path / "s.zarr", consolidated=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lazy = xr.open_zarr(tmp_path / "s.zarr", consolidated=False)
    normalize(lazy, e0=8333.0)[["mu_flat", "edge_step"]].to_zarr(tmp_path / "t.zarr", consolidated=False)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


@pytest.mark.parametrize(("name", "window"), [("pre", (50, 100)), ("post", (-100, -50))])
def test_windows_on_the_wrong_side_are_refused(name, window):
    with pytest.raises(ValueError, match=rf"{name} must lie (before|behind) the edge, .* got \({window[0]}"):
        normalize(edges(), **{name: window})
