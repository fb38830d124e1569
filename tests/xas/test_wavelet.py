"""Wavelets: planted oscillations at known k and R, larch's Cauchy transform, and broken input."""

import numpy as np
import pytest
import xarray as xr

from batlab import xas
from batlab.errors import SchemaError
from batlab.schema import check, quantity

K = 0.05 * np.arange(321)
MOTHERS = ["cauchy", "morlet"]


def table(chi, k=K):
    chi = np.asarray(chi)
    dims = ("frame", "k") if chi.ndim == 2 else ("k",)
    return xr.Dataset(
        {"chi": quantity(dims, chi, "1", "EXAFS")}, {"k": quantity("k", k, "1/angstrom", "photoelectron wavenumber")}
    )


def packet(k0, distance, width=3.0):
    return np.exp(-(((K - k0) / width) ** 2)) * np.sin(2 * K * distance)


@pytest.mark.parametrize("mother", MOTHERS)
@pytest.mark.parametrize(("k0", "distance"), [(8.0, 2.5), (5.0, 1.8), (10.0, 4.0)])
def test_planted_places_return(mother, k0, distance):
    plane = check(xas.wavelet(table(packet(k0, distance)), mother=mother, kweight=0)).wavelet_mag
    top = plane.isel(plane.argmax(...))
    assert abs(float(top.k) - k0) <= 0.1
    # A packet's width in R, 0.24 here, draws the maximum a little off: up for Cauchy, whose response widens with R.
    assert abs(float(top.r) - distance) < 0.03


@pytest.mark.parametrize("mother", MOTHERS)
def test_two_atoms_at_one_distance_are_seen_at_their_k(mother):
    # What the transform to R cannot show: light and heavy neighbours at the same R.
    chi = packet(4.5, 2.5, 1.2) + packet(11.5, 2.5, 1.2)
    fine = {"order": 30} if mother == "cauchy" else {"kappa": 5.0}
    plane = xas.wavelet(table(chi), mother=mother, kweight=0, **fine).wavelet_mag
    ridge = plane.sel(r=2.5, method="nearest").values
    summits = (
        np.flatnonzero((ridge[1:-1] > ridge[:-2]) & (ridge[1:-1] > ridge[2:]) & (ridge[1:-1] > 0.5 * ridge.max())) + 1
    )
    np.testing.assert_allclose(K[summits], [4.5, 11.5], atol=0.25)


def test_cauchy_is_larchs():
    # larch 2026.3.1, cauchy_wavelet(kweight=0, rmax_out=6), whose order is its 196 points in R, read off between them
    plane = xas.wavelet(table(packet(8.0, 2.5, 2.0)), kweight=0, order=196).wavelet_mag
    for r, k, expected in ((2.5, 8, 0.040331), (2.3, 8, 0.033483), (2.7, 7, 0.035334), (2.5, 10, 0.032912)):
        assert float(plane.interp(r=r, k=k, method="cubic")) == pytest.approx(expected, rel=2e-3)


def test_resolution_is_as_stated():
    # The modulus over R of an endless wave at R0 is the response: standard deviation R0/√n, R0/(κσ) for Morlet.
    k = 0.05 * np.arange(2000)
    wave = table(np.sin(2 * k * 3.0), k)
    for keywords in ({"order": 100}, {"mother": "morlet", "kappa": 10.0}):
        plane = xas.wavelet(wave, kweight=0, rmax=8, **keywords)
        line = plane.wavelet_mag.isel(k=1000)
        half = line.r.values[line.values > 0.5 * line.values.max()]
        assert (half[-1] - half[0]) / np.sqrt(8 * np.log(2)) == pytest.approx(0.3, rel=0.1)


def test_cauchy_of_an_endless_wave_has_its_stated_height():
    # sin(2kR) is half of exp(2ikR)/i at positive frequency: |W| = π n^n exp(-n) / n! at R.
    k = 0.05 * np.arange(2000)
    plane = xas.wavelet(table(np.sin(2 * k * 3.0), k), kweight=0).wavelet_mag.isel(k=1000)
    expected = np.pi * np.exp(100 * np.log(100) - 100 - np.log(np.arange(1.0, 101)).sum())
    assert float(plane.max()) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("mother", MOTHERS)
def test_linear_lazy_single_and_missing(mother):
    rng = np.random.default_rng(0)
    chi = rng.normal(size=(4, 321))
    chi[3] = 2 * chi[0] - chi[1]
    chi[2, 7] = np.nan
    series = table(chi)
    before = series.copy(deep=True)
    planes = check(xas.wavelet(series, mother=mother))
    assert planes.wavelet_mag.dims == ("frame", "r", "k")
    for part in ("wavelet_real", "wavelet_imag"):
        np.testing.assert_allclose(planes[part][3], 2 * planes[part][0] - planes[part][1], atol=1e-9)
    np.testing.assert_allclose(planes.wavelet_mag, np.hypot(planes.wavelet_real, planes.wavelet_imag), rtol=1e-12)
    assert np.isnan(planes.wavelet_mag[2].values).all()
    lazy = xas.wavelet(series.chunk(frame=3), mother=mother)
    assert lazy.wavelet_mag.chunks is not None
    np.testing.assert_allclose(lazy.wavelet_mag, planes.wavelet_mag, rtol=1e-12)
    single = check(xas.wavelet(table(chi[0]), mother=mother))
    assert single.wavelet_mag.dims == ("r", "k")
    np.testing.assert_allclose(single.wavelet_mag, planes.wavelet_mag[0], rtol=1e-12)
    assert "xas.wavelet" in single.attrs["history"]
    xr.testing.assert_identical(series, before)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"mother": "mexican_hat"}, "mother must be"),
        ({"rmin": 0.0}, "rmin and rmax"),
        ({"rmax": 40.0}, "rmin and rmax"),
        ({"order": 0}, "order must be"),
        ({"mother": "morlet", "sigma": 0.0}, "sigma positive"),
    ],
)
def test_what_makes_no_sense_is_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        xas.wavelet(table(packet(8, 2.5)), **keywords)


def test_other_tables_are_refused():
    with pytest.raises(SchemaError, match=r"make it with xas\.remove_background"):
        xas.wavelet(table(packet(8, 2.5)).drop_vars("chi"))
    with pytest.raises(ValueError, match="even grid"):
        xas.wavelet(table(packet(8, 2.5), K**1.01))
