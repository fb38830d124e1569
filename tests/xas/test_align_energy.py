"""Energy scales brought together: planted shifts, drift models, a real quick-XAS series, a real project file."""

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import CubicSpline
from scipy.special import erf

import batlab as bl
from batlab import datasets, schema, xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity

E0 = 8333.0
GRID = np.concatenate([np.arange(8250, 8315, 5.0), np.arange(8315, 8380, 0.4), np.arange(8380, 8500, 2.0)])


def foil(energy):
    """A smooth edge with the shape of a 3d metal's, its steepest point at E0."""
    x = energy - E0
    step = 0.5 * (1 + erf(x / 2.5))
    late = 1 / (1 + np.exp(-(x - 8) / 3))
    return 0.7 * step + late * (0.3 + 0.25 * np.exp(-(((x - 17) / 6) ** 2)) + 0.12 * np.sin(0.25 * x) * np.exp(-x / 60))


def planted(shift, noise=1e-3, seed=0, grid=GRID, **more):
    """Frames whose scales read too low by `shift`: energy + shift is the truth."""
    rng = np.random.default_rng(seed)
    true = grid + np.atleast_1d(shift)[:, None]
    tilt = rng.normal(size=(len(true), 1)) * 1e-4 * (grid - E0)
    data = {
        "mu": quantity(("frame", "energy"), foil(true - 2.0), "1", "absorption"),
        "mu_reference": quantity(
            ("frame", "energy"),
            rng.uniform(0.8, 1.2, (len(true), 1)) * foil(true) + tilt + noise * rng.normal(size=true.shape),
            "1",
            "absorption of the reference",
        ),
    }
    coords = {
        "energy": quantity("energy", grid, "eV", "energy"),
        "frame": quantity("frame", np.arange(len(true)), "1", "frame"),
    }
    return xr.Dataset(data, coords).assign(more)


def test_planted_shifts_come_back_within_their_sigma():
    """Pulls of 400 frames: mean 0, scatter 1; one common offset (that of the first frame) taken off."""
    true = np.random.default_rng(1).uniform(-1.5, 1.5, 400)
    series = planted(true)
    before = series.copy(deep=True)
    aligned = schema.check(xas.align_energy(series))
    xr.testing.assert_identical(series, before)
    sigma = aligned.energy_shift_sigma.values
    error = aligned.energy_shift.values - (true - true[0])
    assert sigma[0] == 0
    assert error[0] == 0
    own = np.sqrt(sigma[1:] ** 2 - np.median(sigma[1:]) ** 2 / 2)
    pulls = (error[1:] - np.median(error[1:])) / own
    assert 0.9 < pulls.std() < 1.1
    assert np.abs(error).max() < 0.02
    assert "xas.align_energy(reference='mu_reference'" in aligned.attrs["history"]


@pytest.mark.parametrize("match", ["spectrum", "derivative"])
def test_sigma_is_the_scatter_of_repeats(match):
    shifts = np.full(300, 0.3)
    aligned = xas.align_energy(planted(shifts, noise=3e-3), match=match, to=foil_spectrum())
    scatter = float(aligned.energy_shift.std())
    assert scatter == pytest.approx(float(aligned.energy_shift_sigma.median()), rel=0.15)
    assert float(aligned.energy_shift.mean()) == pytest.approx(0.3, abs=4 * scatter / np.sqrt(300))


def foil_spectrum():
    grid = np.arange(8200, 8550, 0.2)
    return xr.DataArray(foil(grid), {"energy": quantity("energy", grid, "eV", "energy")}, "energy")


def test_the_sample_is_moved_to_where_it_belongs():
    """The curve of mu on the common grid is the true one to the error of cubic interpolation."""
    true = np.linspace(-0.8, 0.8, 9)
    aligned = xas.align_energy(planted(true, noise=0.0), to=foil_spectrum())
    inner = aligned.sel(energy=slice(8316, 8378))
    assert np.abs(inner.mu.values - foil(inner.energy.values - 2.0)).max() < 3e-4
    assert np.isfinite(aligned.mu.values).all()
    assert set(aligned.energy.values) <= set(GRID)
    assert aligned.sizes["energy"] >= len(GRID) - 2


def test_a_linear_drift_with_jitter_is_found():
    """0.30 eV over 500 scans with 0.05 eV jitter at a signal to noise of 1000: each shift to 0.02 eV rms."""
    rng = np.random.default_rng(5)
    drift = np.linspace(0, 0.3, 500)
    jitter = 0.05 * rng.normal(size=500)
    series = planted(drift + jitter)
    each = xas.align_energy(series)
    assert np.std(each.energy_shift.values - drift - jitter) < 0.02
    with pytest.warns(UserWarning, match=r"scatter by 0.04\d+ eV about the linear drift"):
        line = schema.check(xas.align_energy(series, drift="linear"))
    last, sigma = float(line.energy_shift[-1]), float(line.energy_shift_sigma[-1])
    assert abs(last - 0.3) < 3 * sigma
    assert sigma == pytest.approx(0.05 * np.sqrt(12 / 500), rel=0.15)  # of a line's end against its start
    assert line.attrs["drift_scatter"] == pytest.approx(0.05, rel=0.1)
    assert float(line.energy_shift[0]) == 0


def test_drift_runs_in_time_where_times_are_known():
    """Frames at uneven times; what is linear in time is not linear in their numbers."""
    seconds = np.cumsum(np.random.default_rng(2).uniform(1, 100, 60))
    seconds -= seconds[0]
    time = np.datetime64("2022-07-26T21:00:00", "ns") + (seconds * 1e9).astype("timedelta64[ns]")
    series = planted(1e-4 * seconds, noise=1e-4).assign_coords(time=("frame", time, {"long_name": "start of exposure"}))
    aligned = schema.check(xas.align_energy(series, drift="linear"))
    assert np.abs(aligned.energy_shift.values - 1e-4 * seconds).max() < 1e-3


def test_an_edge_energy_puts_the_series_on_an_absolute_scale():
    true = np.linspace(0.5, 0.9, 20)
    aligned = xas.align_energy(planted(true, noise=2e-4), to=E0)
    # erf puts the steepest point at E0 but for the slow terms, whose slope there moves it by less than 0.1 eV.
    assert np.abs(aligned.energy_shift.values - true - np.mean(aligned.energy_shift.values - true)).max() < 0.01
    assert np.abs(aligned.energy_shift.values - true).max() < 0.15
    moved = schema.check(xas.align_energy(planted(np.full(5, 0.7)), to=foil_spectrum(), drift="constant"))
    assert float(moved.energy_shift[0]) == pytest.approx(0.7, abs=5 * float(moved.energy_shift_sigma[0]))
    np.testing.assert_allclose(moved.energy.values, GRID + float(moved.energy_shift[0]), atol=1e-9)
    np.testing.assert_array_equal(moved.mu.values, planted(np.full(5, 0.7)).mu.values)  # no interpolation


def test_one_scan_is_moved_and_stays_one_scan():
    scan = planted([0.4]).isel(frame=0, drop=True)
    moved = schema.check(xas.align_energy(scan, to=foil_spectrum()))
    assert moved.energy_shift.dims == ()
    assert float(moved.energy_shift) == pytest.approx(0.4, abs=4 * float(moved.energy_shift_sigma))
    with pytest.raises(ValueError, match="to must be an edge energy"):
        xas.align_energy(scan)


def test_lost_references_are_told_and_follow_the_model():
    series = planted(np.linspace(0, 0.2, 12))
    series["mu_reference"][4] = np.nan
    with pytest.warns(UserWarning, match="1 of 12 frames have no usable reference"):
        each = schema.check(xas.align_energy(series))
    assert np.isnan(each.energy_shift[4])
    assert np.isnan(each.mu[4]).all()
    assert np.isfinite(each.mu[3]).all()
    with pytest.warns(UserWarning, match="they follow the drift model"):
        line = schema.check(xas.align_energy(series, drift="linear"))
    assert float(line.energy_shift[4]) == pytest.approx(0.2 * 4 / 11, abs=0.01)
    assert np.isfinite(line.mu.values).all()


def test_sigma_and_masks_travel_with_their_curves():
    series = planted([0.0, 0.2])
    series["mu_sigma"] = quantity(("frame", "energy"), np.full(series.mu.shape, 0.01), "1", "1 sigma of mu")
    hidden = np.zeros(series.mu.shape, bool)
    hidden[:, 60] = True
    series["mask"] = quantity(("frame", "energy"), hidden, "1", "excluded")
    aligned = schema.check(xas.align_energy(series, to=foil_spectrum()))
    even = aligned.mu_sigma.sel(energy=slice(8317, 8378))  # at half a step cubic interpolation averages four points
    weights = np.array([-1, 9, 9, -1]) / 16
    assert float(even[0].min()) == pytest.approx(0.01, rel=1e-3)
    assert float(even[1].min()) == pytest.approx(0.01 * np.sqrt((weights**2).sum()), rel=0.02)
    assert aligned["mask"].dtype == bool
    assert bool(aligned["mask"].sel(energy=GRID[60], method="nearest").all())


def test_lazy_spectra_stay_lazy():
    series = planted(np.linspace(0, 0.5, 8))
    lazy = xas.align_energy(series.chunk(frame=3))
    assert lazy.mu.chunks is not None
    np.testing.assert_allclose(lazy.mu.values, xas.align_energy(series).mu.values, rtol=1e-12)


def rock():
    """The quick-XAS series of ROCK, its clock being that of the beamline in France."""
    return bl.open(datasets.path("lno_rock") / "XAS_normalized" / "*.txt", timezone="Europe/Paris")


def test_what_the_beamline_left_of_the_drift_in_a_real_series():
    """ROCK moved its spectra by steps that end at -0.2 eV; what is left shows the same by both ways of matching."""
    series = rock().isel(frame=slice(None, None, 4))
    whole = schema.check(xas.align_energy(series))
    np.testing.assert_array_equal(whole.energy_shift_in_file, series.energy_shift)
    slopes = xas.align_energy(series, match="derivative")
    np.testing.assert_allclose(whole.energy_shift, slopes.energy_shift, atol=0.02)
    assert float(np.abs(whole.energy_shift).max()) < 0.1
    again = xas.align_energy(whole[["mu_reference"]].drop_attrs(deep=False))
    assert float(np.abs(again.energy_shift).max()) < 0.003


def test_shifts_planted_in_a_real_series_come_back():
    series = rock().isel(frame=slice(0, 24, 2), energy=slice(20, 900))
    true = np.linspace(-0.6, 0.5, 12) ** 2
    before = series.copy(deep=True)
    energy = series.energy.values
    for frame, shift in enumerate(true):
        series.mu_reference[frame] = CubicSpline(energy, before.mu_reference[frame])(energy + shift)
    gained = xas.align_energy(series, max_shift=2.0).energy_shift - xas.align_energy(before, max_shift=2.0).energy_shift
    np.testing.assert_allclose(gained, true - true[0], atol=0.004)


def test_shifts_of_a_real_monochromator_are_those_that_athena_found():
    """NiO.prj: eleven scans with their nickel foils, over which the scale moved by 5.4 eV.

    The project keeps the shift (bkg_eshift) that its author gave each with Athena.
    """
    tree = bl.open(datasets.path("athena_projects") / "NiO.prj")
    names = [name for name in tree.children if name.startswith("NiO.") and name != "NiO.000 2"]
    columns = {"mu": names, "mu_reference": [f"Ref {name}" for name in names]}
    series = xr.Dataset(
        {
            name: quantity(("frame", "energy"), np.stack([tree[one].mu.values for one in groups]), "1", name)
            for name, groups in columns.items()
        },
        {"energy": tree[names[0]].energy.variable},
    )
    athena = np.array([float(tree[name].energy_shift) for name in names])
    assert np.ptp(athena) == pytest.approx(5.377)
    found = schema.check(xas.align_energy(series, max_shift=8.0))
    np.testing.assert_allclose(found.energy_shift, athena - athena[0], atol=0.06)
    assert (found.energy_shift_sigma < 0.03).all()
    slopes = xas.align_energy(series, max_shift=8.0, match="derivative")
    np.testing.assert_allclose(slopes.energy_shift, athena - athena[0], atol=0.06)
    with pytest.warns(UserWarning, match="no usable reference"):
        xas.align_energy(series)


def test_what_cannot_be_aligned_is_refused():
    series = planted([0.0, 0.1, 0.2])
    aligned = xas.align_energy(series)
    with pytest.raises(ValueError, match="aligned already"):
        xas.align_energy(aligned)
    with pytest.raises(ValueError, match="before normalization"):
        xas.align_energy(series.assign(mu_norm=series.mu))
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        xas.align_energy(series, drift="linaer")
    with pytest.raises(ValueError, match="did you mean 'derivative'"):
        xas.align_energy(series, match="derivate")
    with pytest.raises(SchemaError, match=r"mode='reference'"):
        xas.align_energy(series.drop_vars("mu_reference"))
    with pytest.raises(DimensionError, match="energy"):
        xas.align_energy(series.rename(energy="k"))
    with pytest.raises(ValueError, match="check the element"):
        xas.align_energy(series, to=7112.0)
    with pytest.raises(ValueError, match="check the channel"):
        xas.align_energy(series.assign(mu_reference=series.mu_reference * np.nan))
    with pytest.raises(ValueError, match="max_shift"):
        xas.align_energy(series, max_shift=-1)
    with pytest.raises(ValueError, match="12 and the edge"):
        xas.align_energy(series, window=(1.0, 2.0))
