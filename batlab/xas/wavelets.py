"""Wavelet transforms: which atoms scatter at which k, seen beside at which distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.xas.fourier import HINT, RSTEP, check_kweight, even_step
from batlab.xas.rows import Rows, rows_of

MOTHERS = ("cauchy", "morlet")
NAME = "xas.wavelet"


def wavelet(
    series: xr.Dataset,
    *,
    mother: str = "cauchy",
    kweight: float = 2,
    rmin: float = 0.5,
    rmax: float = 6.0,
    order: float = 100,
    kappa: float = 10.0,
    sigma: float = 1.0,
) -> xr.Dataset:
    """Transform chi(k) to the plane of k and R.

    With X(ω) the Fourier transform of k^kweight chi(k) and ω = 2R, both are W(R, k) = 1/2π ∫ g(R, ω) X(ω) exp(iωk) dω
    over ω ≥ 0:

    - ``cauchy``: g = 2π/n! (aω)^n exp(-aω), a = n/(2R), n the `order`. Resolution in R: R/√n; in k: √n/(2R) (standard
      deviations of the modulus and of its response). larch takes the number of points in R as n, 326 for 10 angstrom.
    - ``morlet``: g = √a exp(-σ²(aω - κ)²/2) less what makes it vanish at ω = 0, a = κ/(2R): the wavelet
      exp(iκt - t²/2σ²)/(√(2π) σ). Resolution in R: R/(κσ).

    chi is taken as 0 outside its grid. A spectrum with a missing value is NaN. Series stay lazy: a plane of 180 × 350
    takes 1.5 MB for each spectrum.

    Parameters
    ----------
    series
        ``chi`` (frame, k) or (k) on an even grid [1/angstrom].
    mother
        ``"cauchy"`` or ``"morlet"``.
    kweight
        Power of k.
    rmin, rmax
        Range of R [angstrom], not corrected for phase shifts; the step is π/102.4 angstrom.
    order
        n of the Cauchy wavelet, at least 1.
    kappa, sigma
        κ and σ of the Morlet wavelet; κσ of 5 and more.

    Returns
    -------
    xarray.Dataset
        ``wavelet_real``, ``wavelet_imag``, ``wavelet_mag`` (frame, r, k) [angstrom^-kweight for Cauchy]; nothing else
        of `series` but coordinates of its frames.

    Raises
    ------
    SchemaError, DimensionError
        Without ``chi`` over ``k``.
    ValueError
        An unknown wavelet, an uneven grid, a range or parameters that make no sense.

    References
    ----------
    M. Munoz, P. Argoul, F. Farges, Am. Mineral. 88, 694 (2003), doi:10.2138/am-2003-0423 (Cauchy). H. Funke,
    A. C. Scheinost, M. Chukalina, Phys. Rev. B 71, 094110 (2005), doi:10.1103/PhysRevB.71.094110 (Morlet).

    Examples
    --------
    >>> k = 0.05 * np.arange(321)
    >>> chi = np.exp(-((k - 8) / 2) ** 2) * np.sin(2 * k * 2.5)
    >>> scan = xr.Dataset({"chi": quantity("k", chi, "1", "chi")}, {"k": quantity("k", k, "1/angstrom", "k")})
    >>> plane = wavelet(scan, kweight=0).wavelet_mag
    >>> at = plane.isel(plane.argmax(...))
    >>> round(float(at.r), 1), round(float(at.k), 1)
    (2.5, 8.0)
    """
    arguments = {key: value for key, value in locals().items() if key != "series"}
    choose("mother", mother, MOTHERS)
    rows = rows_of(series, "chi", "k", NAME, HINT)
    check_kweight(kweight, NAME)
    step = even_step(rows.x)
    if step is None:
        raise ValueError(f"{NAME} needs an even grid in k; interpolate chi first")
    if not 0 < rmin < rmax < np.pi / (2 * step):
        raise ValueError(
            f"{NAME}: rmin and rmax must rise within 0 to {np.pi / (2 * step):.4g} angstrom, got {rmin:g} to {rmax:g}"
        )
    if not (order >= 1 and kappa > 0 and sigma > 0):
        raise ValueError(f"{NAME}: order must be at least 1, kappa and sigma positive, got {order}, {kappa}, {sigma}")
    r = np.arange(int(np.ceil(rmin / RSTEP)), int(rmax / RSTEP) + 1) * RSTEP
    length = 2 ** int(np.ceil(np.log2(4 * len(rows.x))))
    omega = 2 * np.pi / (length * step) * np.arange(length // 2)
    response = cauchy(r, omega, order) if mother == "cauchy" else morlet(r, omega, kappa, sigma)
    if mother == "morlet":
        told: dict[str, Any] = {
            "mother": mother,
            "kweight": float(kweight),
            "kappa": float(kappa),
            "sigma": float(sigma),
        }
    else:
        told = {"mother": mother, "kweight": float(kweight), "order": float(order)}
    real, imag = _planes(rows, rows.x**kweight, response, length)
    result = _result(series, rows, r, (real, imag, np.sqrt(real * real + imag * imag)), told)
    return record(result, NAME, **arguments)


def cauchy(r: np.ndarray, omega: np.ndarray, order: float) -> np.ndarray:
    """Return 2π/n! (aω)^n exp(-aω) for a = n/(2r), (r, omega)."""
    from scipy.special import gammaln, xlogy

    scaled = order / (2 * r[:, None]) * omega
    return np.exp(np.log(2 * np.pi) - gammaln(order + 1) + xlogy(order, scaled) - scaled)


def morlet(r: np.ndarray, omega: np.ndarray, kappa: float, sigma: float) -> np.ndarray:
    """Return √a times the Morlet wavelet's transform at aω for a = κ/(2r), (r, omega)."""
    a = kappa / (2 * r[:, None])
    near = np.exp(-(sigma**2) * (a * omega - kappa) ** 2 / 2)
    return np.sqrt(a) * (near - np.exp(-(sigma**2) * ((a * omega) ** 2 + kappa**2) / 2))


def _planes(rows: Rows, weight: np.ndarray, response: np.ndarray, length: int) -> tuple[Any, Any]:
    """Return the real and the imaginary part (frame, r, k)."""
    n_r, n_k = len(response), len(rows.x)

    def both(chi: np.ndarray) -> np.ndarray:
        whole = np.empty((len(chi), 2 * n_r, n_k))
        for out, one in zip(whole, chi):
            spectrum = np.fft.fft(one * weight, length)[: length // 2]
            plane = np.fft.ifft(response * spectrum, length, axis=1)[:, :n_k]
            out[:n_r], out[n_r:] = plane.real, plane.imag
        return whole

    if not rows.is_lazy:
        whole = both(rows.values)
    else:
        sizes = (rows.values.chunks[0], (2 * n_r,), (n_k,))
        whole = rows.values.map_blocks(
            both, dtype=float, chunks=sizes, drop_axis=1, new_axis=(1, 2), meta=np.empty((0, 0, 0))
        )
    return whole[:, :n_r], whole[:, n_r:]


def _result(
    series: xr.Dataset, rows: Rows, r: np.ndarray, planes: tuple[Any, Any, Any], told: dict[str, Any]
) -> xr.Dataset:
    dims = ("r", "k") if rows.is_single else ("frame", "r", "k")
    units = "1" if not told["kweight"] else f"1/angstrom^{told['kweight']:g}"
    if told["mother"] == "morlet":  # the root of the scale is one of 1/angstrom
        units = f"1/angstrom^{told['kweight'] + 0.5:g}"
    names = ("wavelet_real", "wavelet_imag", "wavelet_mag")
    words = ("real part", "imaginary part", "magnitude")
    data = {
        name: quantity(dims, plane[0] if rows.is_single else plane, units, f"{word} of the wavelet transform", **told)
        for name, plane, word in zip(names, planes, words)
    }
    coords: dict[Any, Any] = {name: one.variable for name, one in series.coords.items() if set(one.dims) <= {"frame"}}
    coords["r"] = quantity("r", r, "angstrom", "distance R, without phase correction")
    coords["k"] = series["k"].variable
    return xr.Dataset(data, coords, dict(series.attrs))
