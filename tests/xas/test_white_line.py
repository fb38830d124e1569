"""The first maximum after the edge: planted, noisy, real; what it follows in a charging cell."""

import time

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar

import batlab as bl
from batlab import datasets, schema, xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity

GRID = np.concatenate([np.arange(8250, 8320, 5.0), np.arange(8320, 8380, 0.4), np.arange(8380, 8500, 2.0)])


def curve(energy, at=8350.0, height=0.6, width=5.0):
    x = np.asarray(energy) - 8343.0
    return 0.5 + np.arctan(x / 1.2) / np.pi + height * np.exp(-(((np.asarray(energy) - at) / width) ** 2))


def series_of(rows, energy=GRID, e0=8343.0, sigma=None):
    rows = np.asarray(rows, dtype=float)
    dims = ("frame", "energy") if rows.ndim == 2 else ("energy",)
    data = {"mu_norm": quantity(dims, rows, "1", "normalized absorption")}
    if sigma is not None:
        data["mu_norm_sigma"] = quantity(dims, np.broadcast_to(sigma, rows.shape).copy(), "1", "1 sigma")
    data["e0"] = quantity(dims[:-1], np.full(rows.shape[:-1], e0), "eV", "edge energy")
    return xr.Dataset(data, {"energy": quantity("energy", energy, "eV", "energy")})


def truth(**shape):
    top = minimize_scalar(
        lambda e: -curve(e, **shape), bounds=(8346, 8358), method="bounded", options={"xatol": 1e-9}
    ).x
    low = brentq(lambda e: curve(e, **shape) - 1, 8340, top)
    high = brentq(lambda e: curve(e, **shape) - 1, top, 8375)
    return top, float(curve(top, **shape)), quad(lambda e: curve(e, **shape) - 1, low, high)[0]


def test_a_planted_white_line_comes_back():
    shapes = [{"at": at, "height": height} for at in (8349.3, 8350.0, 8351.7) for height in (0.3, 0.8)]
    series = series_of([curve(GRID, **shape) for shape in shapes])
    before = series.copy(deep=True)
    found = schema.check(xas.white_line(series))
    xr.testing.assert_identical(series, before)
    top, height, area = np.array([truth(**shape) for shape in shapes]).T
    np.testing.assert_allclose(found.position, top, atol=0.02)
    np.testing.assert_allclose(found.height, height, atol=3e-3)
    np.testing.assert_allclose(found.area, area, rtol=0.01)
    assert "xas.white_line(of='mu_norm', window=2.5, search=60.0, e0=None)" in found.attrs["history"]


@pytest.mark.parametrize("stated", [True, False])
def test_sigma_is_the_scatter_of_noisy_spectra(stated):
    noise = 0.001  # with more the window moves with the noise, and the sigma is too large, by a quarter at 0.004
    rows = curve(GRID) + noise * np.random.default_rng(3).normal(size=(600, len(GRID)))
    found = xas.white_line(series_of(rows, sigma=noise if stated else None))
    for name in ("position", "height", "area"):
        scatter = float(found[name].std())
        assert scatter == pytest.approx(float(np.sqrt((found[f"{name}_sigma"] ** 2).mean())), rel=0.12), name
    assert float(found.position.mean()) == pytest.approx(truth()[0], abs=0.02)


def test_one_scan_gives_numbers():
    found = schema.check(xas.white_line(series_of(curve(GRID))))
    assert found.position.dims == ()
    assert float(found.position) == pytest.approx(truth()[0], abs=0.02)


def test_gaps_and_lost_frames():
    rows = np.stack([curve(GRID), curve(GRID), np.full(len(GRID), np.nan), 0.5 + np.arctan((GRID - 8343) / 2) / np.pi])
    rows[1, np.abs(GRID - 8350.2).argmin()] = np.nan
    with pytest.warns(UserWarning, match="2 of 4 frames have no maximum"):
        found = schema.check(xas.white_line(series_of(rows)))
    assert float(found.position[1]) == pytest.approx(float(found.position[0]), abs=0.02)
    assert np.isnan(found.position[2:]).all()


def test_grids_of_their_own_give_what_each_frame_gives_alone():
    grids = [GRID, GRID[:-9] + 0.13, GRID, np.arange(8250.0, 8254.0)]
    energy = np.full((4, len(GRID)), np.nan)
    for row, grid in zip(energy, grids):
        row[: len(grid)] = grid
    rows = curve(energy, at=np.array([[8349.3], [8350.0], [8351.7], [8350.0]]))
    sigma = np.where(np.isfinite(energy), 0.01, np.nan)
    own = series_of(rows, sigma=sigma).drop_vars("energy")
    own["energy_measured"] = quantity(("frame", "energy"), energy, "eV", "energies of each frame")
    with pytest.warns(UserWarning, match="1 of 4 frames have no maximum"):
        found = schema.check(xas.white_line(own))
    for frame in range(3):
        n = len(grids[frame])
        alone = xas.white_line(series_of(rows[frame, :n], grids[frame], sigma=sigma[frame, :n]))
        for name in alone.data_vars:
            np.testing.assert_allclose(found[name][frame], alone[name], rtol=1e-9)
    assert np.isnan(found.position[3])


def test_ten_thousand_spectra_in_seconds():
    rng = np.random.default_rng(0)
    at = rng.uniform(8349, 8352, 10_000)
    rows = curve(GRID, at=at[:, None]) + 1e-3 * rng.normal(size=(10_000, len(GRID)))
    start = time.perf_counter()
    found = xas.white_line(series_of(rows))
    assert time.perf_counter() - start < 60
    assert float(np.abs(found.position - np.interp(at, *moving())).max()) < 0.15


def moving():
    at = np.linspace(8348.5, 8352.5, 60)
    return at, np.array([truth(at=one)[0] for one in at])


def test_the_white_line_of_lithium_nickel_oxide_follows_the_charge():
    """ROCK: edge and white line rise together as the cell is charged, and come back in part on discharge."""
    raw = bl.open(datasets.path("lno_rock") / "XAS_normalized" / "*.txt", timezone="Europe/Paris")
    series = raw.rename(mu="mu_norm")
    found = schema.check(xas.white_line(series, e0=8343.0))
    half = half_edge(series)
    assert float(half.min()) == pytest.approx(8344.8, abs=0.15)  # issue: 8344.8 to 8346.2 eV within a charge
    assert float(half.max()) == pytest.approx(8346.2, abs=0.15)
    assert np.corrcoef(found.position, half)[0, 1] > 0.95
    assert float(found.position.max() - found.position.min()) > 1.0
    assert float(found.position_sigma.median()) < 0.05
    charged = int(np.argmax(half[:40]))
    assert half[0] < half[charged] - 1.0
    assert found.position[0] < found.position[charged] - 0.7


def half_edge(series):
    """Where each spectrum first crosses one half, from straight lines between its points."""
    energy, rows = series.energy.values, series.mu_norm.values
    up = np.argmax(rows > 0.5, axis=1)
    frame = np.arange(len(rows))
    low, high = rows[frame, up - 1], rows[frame, up]
    return energy[up - 1] + (0.5 - low) / (high - low) * (energy[up] - energy[up - 1])


def test_what_is_missing_is_said():
    scan = series_of(curve(GRID))
    with pytest.raises(SchemaError, match=r"run xas\.normalize first"):
        xas.white_line(scan.rename(mu_norm="mu"))
    with pytest.raises(SchemaError, match="pass e0"):
        xas.white_line(scan.drop_vars("e0"))
    with pytest.raises(ValueError, match="window must be positive"):
        xas.white_line(scan, window=0)
    with pytest.raises(DimensionError, match="energy"):
        xas.white_line(scan.rename(energy="k"))
