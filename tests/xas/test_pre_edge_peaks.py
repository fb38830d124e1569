"""Peaks before the edge: planted on a tail, noisy, real oxides beside lmfit."""

import warnings

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets, schema, xas
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity

GRID = np.arange(5440.0, 5500.0, 0.3)
REGION = (5462.0, 5475.0)
TAILS = {
    "lorentzian": lambda e: 0.02 + 1e-4 * (e - 5470) + 0.9 / (1 + ((e - 5488) / 5) ** 2),
    "arctangent": lambda e: 0.02 + 1e-4 * (e - 5470) + 1.1 * (0.5 + np.arctan((e - 5486) / 3) / np.pi),
    "cubic": lambda e: 0.05 + 3e-3 * (e - 5465) + 1e-4 * (e - 5465) ** 2 + 3e-6 * (e - 5465) ** 3,
}
PEAKS = ((5467.0, 0.15, 1.6), (5470.0, 0.4, 2.0))


def peak(energy, position, height, fwhm):
    return height * np.exp(-4 * np.log(2) * ((energy - position) / fwhm) ** 2)


def area(height, fwhm):
    return height * fwhm * np.sqrt(np.pi / np.log(2)) / 2


def series_of(rows, energy=GRID, sigma=None):
    rows = np.asarray(rows, dtype=float)
    dims = ("frame", "energy") if rows.ndim == 2 else ("energy",)
    data = {"mu_norm": quantity(dims, rows, "1", "normalized absorption")}
    if sigma is not None:
        data["mu_norm_sigma"] = quantity(dims, np.full(rows.shape, sigma), "1", "1 sigma")
    return xr.Dataset(data, {"energy": quantity("energy", energy, "eV", "energy")})


@pytest.mark.parametrize("form", TAILS)
def test_planted_peaks_come_back_from_their_tail(form):
    noise = 2e-4
    clean = TAILS[form](GRID) + sum(peak(GRID, *one) for one in PEAKS)
    series = series_of(clean + noise * np.random.default_rng(0).normal(size=(5, len(GRID))))
    before = series.copy(deep=True)
    found = schema.check(
        xas.pre_edge_peaks(series, region=REGION, around=(5445, 5482), near=[5467.2, 5469.8], baseline=form)
    )
    xr.testing.assert_identical(series, before)
    position, height, fwhm = np.array(PEAKS).T
    for name, true in (("position", position), ("height", height), ("fwhm", fwhm), ("area", area(height, fwhm))):
        assert (np.abs(found[name] - true) < 4 * found[f"{name}_sigma"] + 1e-3).all(), name
    total = area(height, fwhm).sum()
    np.testing.assert_allclose(found.total_area, total, rtol=0.03)
    np.testing.assert_allclose(found.centroid, (area(height, fwhm) * position).sum() / total, atol=0.03)
    np.testing.assert_allclose(
        found.baseline, np.broadcast_to(TAILS[form](found.energy.values), found.baseline.shape), atol=4e-3
    )
    assert "xas.pre_edge_peaks(region=(5462.0, 5475.0), near=[5467.2, 5469.8]" in found.attrs["history"]


@pytest.mark.parametrize("stated", [True, False])
def test_sigma_is_the_scatter_of_noisy_spectra(stated):
    """The baseline's own error is in it: without, the area's would be too small by a half."""
    noise = 1e-3
    clean = TAILS["cubic"](GRID) + sum(peak(GRID, *one) for one in PEAKS)
    rows = clean + noise * np.random.default_rng(4).normal(size=(300, len(GRID)))
    series = series_of(rows, sigma=noise if stated else None)
    found = xas.pre_edge_peaks(series, region=REGION, around=(5450, 5480), near=[5467, 5470], baseline="cubic")
    for name in ("total_area", "centroid"):
        ratio = float(found[name].std()) / float(found[f"{name}_sigma"].median())
        assert 0.75 < ratio < 1.25, (name, ratio)
    strong = found.isel(peak=1)
    for name in ("position", "height", "area"):
        ratio = float(strong[name].std()) / float(strong[f"{name}_sigma"].median())
        assert 0.7 < ratio < 1.3, (name, ratio)


def test_a_peak_that_moves_is_followed():
    at = np.linspace(5467.0, 5471.5, 30)
    rows = TAILS["lorentzian"](GRID) + peak(GRID, at[:, None], 0.3, 2.0)
    found = schema.check(xas.pre_edge_peaks(series_of(rows + 1e-6), region=REGION, near=[5467.0]))
    np.testing.assert_allclose(found.position[:, 0], at, atol=0.02)
    np.testing.assert_allclose(found.centroid, at, atol=0.02)


def test_peaks_are_found_where_none_is_named():
    rows = (
        TAILS["lorentzian"](GRID) + peak(GRID, *PEAKS[1]) + 1e-4 * np.random.default_rng(1).normal(size=(4, len(GRID)))
    )
    found = xas.pre_edge_peaks(series_of(rows), region=REGION)
    np.testing.assert_allclose(found.position, 5470.0, atol=0.02)


def test_one_scan_and_gaps():
    clean = TAILS["lorentzian"](GRID) + peak(GRID, *PEAKS[1])
    one = schema.check(xas.pre_edge_peaks(series_of(clean), region=REGION, near=[5470]))
    assert one.position.dims == ("peak",)
    assert one.centroid.dims == ()
    rows = np.stack([clean, clean, np.full(len(GRID), np.nan)])
    rows[1, 70:72] = np.nan
    gaps = schema.check(xas.pre_edge_peaks(series_of(rows), region=REGION, near=[5470]))
    np.testing.assert_allclose(gaps.position[:2, 0], 5470.0, atol=0.03)
    assert np.isnan(gaps.position[2, 0])
    assert np.isnan(gaps.centroid[2])


WINDOWS = {
    "V/V2O5": {"e0": 5480.0, "pre": (-100, -40), "post": (60, 400)},
    "Fe/Fe2O3_rt_01": {"e0": 7125.0, "pre": (-200, -60), "post": (100, 800)},
}
V2O5 = {"region": (5462.0, 5476.5), "around": (5445, 5479), "width": 2.2}
FE2O3 = {"region": (7109.5, 7117.5), "around": (7090, 7119.5), "width": 1.5}


# lmfit 1.3.4: the same baseline by least squares beside the peaks, then PseudoVoigtModels in the region, unweighted;
# spectra normalized by larch 2026.3.1 with the same windows. Total area, centroid, σ of the area without baseline.
@pytest.mark.parametrize(
    ("name", "near", "baseline", "words", "total", "centroid", "least"),
    [
        ("V/V2O5", [5470.5], "cubic", V2O5, 1.96601, 5470.99725, 0.05335),
        ("V/V2O5", [5470.5], "lorentzian", V2O5, 2.18767, 5471.01417, 0.05878),
        ("Fe/Fe2O3_rt_01", [7114.2], "cubic", FE2O3, 0.17592, 7113.39425, 0.01262),
        ("Fe/Fe2O3_rt_01", [7114.2], "lorentzian", FE2O3, 0.26703, 7113.4921, 0.02271),
        ("Fe/Fe2O3_rt_01", [7113.5, 7115.0], "cubic", FE2O3, 0.15743, 7113.69952, 0.0),
        ("Fe/Fe2O3_rt_01", [7113.5, 7115.0], "lorentzian", FE2O3, 0.22963, 7113.92781, 0.0),
    ],
)
def test_real_oxides_agree_with_lmfit(name, near, baseline, words, total, centroid, least):
    scan = xas.mu(bl.open(datasets.path("xdi_standards") / f"{name}.xdi"), mode="transmission")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scan = xas.normalize(scan, nnorm=1, **WINDOWS[name]).drop_vars("mu_norm_sigma", errors="ignore")
    found = schema.check(xas.pre_edge_peaks(scan, near=near, baseline=baseline, **words))
    assert float(found.total_area) == pytest.approx(total, rel=2e-3)
    assert float(found.centroid) == pytest.approx(centroid, abs=2e-3)
    assert float(found.total_area_sigma) > 0.7 * least


def test_vanadium_oxide_has_the_large_peak_of_a_square_pyramid():
    """V2O5: one strong peak near 5470 eV, most of a unit high; the metal's shoulder is much smaller."""
    scan = xas.mu(bl.open(datasets.path("xdi_standards") / "V/V2O5.xdi"), mode="transmission")
    scan = xas.normalize(scan, nnorm=1, **WINDOWS["V/V2O5"])
    found = xas.pre_edge_peaks(scan, **V2O5)
    assert found.sizes["peak"] == 1
    assert float(found.position[0]) == pytest.approx(5470.5, abs=1.0)
    assert 0.5 < float(found.height[0]) < 0.9


def test_what_cannot_be_fitted_is_refused():
    scan = series_of(TAILS["lorentzian"](GRID) + peak(GRID, *PEAKS[1]))
    with pytest.raises(ValueError, match="did you mean 'lorentzian'"):
        xas.pre_edge_peaks(scan, region=REGION, near=[5470], baseline="lorentz")
    with pytest.raises(ValueError, match="around must enclose region"):
        xas.pre_edge_peaks(scan, region=REGION, near=[5470], around=(5465, 5480))
    with pytest.raises(ValueError, match="0 points of the spectra"):
        xas.pre_edge_peaks(scan, region=(7110, 7118), near=[7114])
    with pytest.raises(ValueError, match="near must lie within"):
        xas.pre_edge_peaks(scan, region=REGION, near=[5480])
    with pytest.raises(ValueError, match="no peak stands out"):
        xas.pre_edge_peaks(series_of(TAILS["cubic"](GRID) + 1e-4 * np.random.default_rng(0).normal(size=len(GRID))),
                           region=REGION, baseline="cubic")  # fmt: skip
    with pytest.raises(ValueError, match="width must be positive"):
        xas.pre_edge_peaks(scan, region=REGION, near=[5470], width=0)
    with pytest.raises(SchemaError, match=r"run xas\.normalize first"):
        xas.pre_edge_peaks(scan.rename(mu_norm="mu"), region=REGION, near=[5470])
    with pytest.raises(DimensionError, match="energy"):
        xas.pre_edge_peaks(scan.rename(energy="k"), region=REGION, near=[5470])
