"""From chi(k) to chi(R) and back, and the noise that high R shows, for whole series."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.xas.rows import Rows, rows_of
from batlab.xas.windows import WINDOWS, ft_window

RSTEP = np.pi / (2048 * 0.05)  # angstrom: the grid of IFEFFIT, larch and Athena, 0.0307
HIGHEST = 6  # power of k
FEW = 30  # spectra: below, sums by the kernel take less time than making the matrix (benchmarks/bench_sine.py)
HINT = "make it with xas.remove_background"


def fourier_transform(
    series: xr.Dataset,
    *,
    kmin: float = 3.0,
    kmax: float | None = None,
    kweight: float = 2,
    dk: float = 1.0,
    dk2: float | None = None,
    window: str = "hanning",
    rmax: float = 10.0,
) -> xr.Dataset:
    """Transform chi(k) to chi(R).

    chi(R) = δk/√π Σ chi(k) k^kweight W(k) exp(-2ikR), larch's sign and normalisation, so that magnitudes agree with
    Athena's and larch's (IFEFFIT's are the same). Peaks lie 0.2 to 0.5 angstrom below the distances: phase shifts are
    not corrected. A series goes through one matrix, which up to 10 angstrom is quicker than a zero-padded FFT; a few
    spectra through direct sums. On an uneven grid the weights are those of the trapezoid rule. Lazy series stay
    lazy. A spectrum with a missing value inside the window is NaN.

    Parameters
    ----------
    series
        ``chi`` (frame, k) or (k) [1/angstrom].
    kmin, kmax
        Where the window has risen, and fallen, half way [1/angstrom]; by default the upper taper ends with the data.
        Where a taper goes beyond the data it is cut off, as larch does.
    kweight
        Power of k.
    dk, dk2, window
        Widths of the tapers [1/angstrom] and the name of the window, see `ft_window`.
    rmax
        Last R [angstrom], on an even grid at most π/(2 δk); the step is π/102.4 angstrom.

    Returns
    -------
    xarray.Dataset
        `series` with ``chi_r_real``, ``chi_r_imag``, ``chi_r_mag`` (frame, r) [angstrom^-(1 + kweight)] and ``window``
        (k).

    Raises
    ------
    SchemaError, DimensionError
        Without ``chi`` over ``k``.
    ValueError
        A range outside the data, an unknown window, or ``chi_r_mag`` that is there already on another grid.

    References
    ----------
    M. Newville, J. Synchrotron Rad. 8, 322 (2001), doi:10.1107/S0909049500016964.

    Examples
    --------
    >>> k = 0.05 * np.arange(321)
    >>> chi = np.sin(2 * k * 2.5) * np.exp(-2 * 0.005 * k**2) / np.maximum(k, 0.05)
    >>> scan = xr.Dataset({"chi": quantity("k", chi, "1", "chi")}, {"k": quantity("k", k, "1/angstrom", "k")})
    >>> spectrum = fourier_transform(scan, kmin=3, kmax=14, dk=2)
    >>> bool(abs(spectrum.r[spectrum.chi_r_mag.argmax("r")] - 2.5) < 0.03)
    True
    """
    arguments = {key: value for key, value in locals().items() if key != "series"}
    name = "xas.fourier_transform"
    rows = rows_of(series, "chi", "k", name, HINT)
    check_kweight(kweight, name)
    step = even_step(rows.x)
    farthest = np.inf if step is None else np.pi / (2 * step)  # beyond, chi(R) is its own mirror image
    if not 0 < rmax <= farthest * (1 + 1e-9):
        raise ValueError(f"{name}: rmax must be positive and at most {farthest:.4g} angstrom, got {rmax:g}")
    r = RSTEP * np.arange(int(1.01 + rmax / RSTEP))
    kmax, taper = _window(rows, kmin, kmax, dk, dk2, window, name)
    real, imag = _parts(rows, taper * rows.x**kweight, r)
    told = {"kmin": float(kmin), "kmax": kmax, "kweight": float(kweight), "dk": float(dk), "window": window}
    result = _on_axis(series, "r", r, "angstrom", "distance R, without phase correction", name)
    units = _power(1 + kweight)
    result = result.assign(
        chi_r_real=rows.curves("r", real, units, "real part of chi(R)", **told),
        chi_r_imag=rows.curves("r", imag, units, "imaginary part of chi(R)", **told),
        chi_r_mag=rows.curves("r", np.sqrt(real * real + imag * imag), units, "magnitude of chi(R)", **told),
        window=quantity("k", taper, "1", f"{window} window"),
    )
    return record(result, name, **arguments)


def back_transform(
    series: xr.Dataset,
    *,
    rmin: float = 1.0,
    rmax: float = 3.0,
    dr: float = 0.5,
    dr2: float | None = None,
    window: str = "hanning",
) -> xr.Dataset:
    """Transform the part of chi(R) between `rmin` and `rmax` back to k.

    chi(q) = 2 δR/√π Σ chi(R) W(R) exp(2iqR) over R ≥ 0: the real part is the filtered k^kweight W(k) chi(k), the
    modulus of the whole its envelope. On the grid of ``k``.

    Parameters
    ----------
    series
        ``chi_r_real`` and ``chi_r_imag`` (frame, r), from `fourier_transform`, with the coordinate ``k``.
    rmin, rmax
        Where the window has risen, and fallen, half way [angstrom].
    dr, dr2, window
        Widths of the tapers [angstrom] and the name of the window, see `ft_window`.

    Returns
    -------
    xarray.Dataset
        `series` with ``chi_q_real`` and ``chi_q_imag`` (frame, k) [angstrom^-kweight].

    Raises
    ------
    SchemaError, DimensionError
        Without ``chi_r_real``, ``chi_r_imag`` or ``k``.
    ValueError
        A range outside R, or an unknown window.

    Examples
    --------
    >>> k = 0.05 * np.arange(321)
    >>> chi = np.sin(2 * k * 2.5) * np.exp(-2 * 0.005 * k**2)
    >>> scan = xr.Dataset({"chi": quantity("k", chi, "1", "chi")}, {"k": quantity("k", k, "1/angstrom", "k")})
    >>> back = back_transform(fourier_transform(scan, kmin=3, kmax=14, dk=2), rmin=1, rmax=4)
    >>> bool(abs(back.chi_q_real - (k**2 * chi)).sel(k=slice(5, 12)).max() < 0.5)
    True
    """
    name, hint = "xas.back_transform", "make it with xas.fourier_transform"
    real, imag = (rows_of(series, part, "r", name, hint) for part in ("chi_r_real", "chi_r_imag"))
    if "k" not in series.coords:
        raise ValueError(f"{name} needs the coordinate 'k' for its result; keep it beside chi(R)")
    choose("window", window, WINDOWS)
    step = float(real.x[1] - real.x[0])
    if not 0 <= rmin < rmax < real.x[-1] + step:
        raise ValueError(
            f"{name}: rmin and rmax must rise within 0 to {real.x[-1]:.4g} angstrom, got {rmin:g} to {rmax:g}; "
            "transform to a higher rmax first"
        )
    taper = ft_window(real.x, low=rmin, high=rmax, dx=dr, dx2=dr2, window=window)
    weight = 2 * step / np.sqrt(np.pi) * taper
    if not (weight > 0).any():
        raise ValueError(f"{name}: no point of chi(R) lies in the window from {rmin:g} to {rmax:g} angstrom; widen it")
    k = np.asarray(series["k"].values, dtype=float)
    used = slice(*(np.flatnonzero(weight)[[0, -1]] + (0, 1)))
    angle = 2 * np.outer(real.x[used], k)
    cosine, sine = np.cos(angle) * weight[used, None], np.sin(angle) * weight[used, None]
    whole_real = _through(real, used, cosine) - _through(imag, used, sine)
    whole_imag = _through(real, used, sine) + _through(imag, used, cosine)
    kweight = float(series["chi_r_real"].attrs.get("kweight", 0.0))
    told = {"rmin": float(rmin), "rmax": float(rmax), "dr": float(dr), "window": window, "kweight": kweight}
    units = _power(kweight)
    result = series.assign(
        chi_q_real=real.curves("k", whole_real, units, "filtered k^kweight chi, real part", **told),
        chi_q_imag=real.curves("k", whole_imag, units, "filtered k^kweight chi, imaginary part", **told),
    )
    return record(result, name, rmin=rmin, rmax=rmax, dr=dr, dr2=dr2, window=window)


def noise(
    series: xr.Dataset,
    *,
    rmin: float = 15.0,
    rmax: float = 25.0,
    kmin: float = 3.0,
    kmax: float | None = None,
    kweight: float = 1,
    dk: float = 1.0,
    window: str = "hanning",
) -> xr.Dataset:
    """Estimate the noise of chi(k) and chi(R) from chi(R) at high R, where no atom is seen.

    epsilon_r is the root mean square of the real and imaginary parts between `rmin` and `rmax`. White noise of standard
    deviation epsilon_k at every point of chi(k) gives epsilon_r = epsilon_k δk √(Σ (k^kweight W)² / 2π): Parseval's
    theorem with the window as it is (larch replaces the sum by an integral without the window and divides by the
    window's mean, some 5 to 15 % more). The noise must be white, and nothing else may be left at high R:
    interpolation onto the grid in k makes it look smaller, glitches larger.

    Parameters
    ----------
    series
        ``chi`` (frame, k) or (k), on an even grid.
    rmin, rmax
        Range of R [angstrom], below π/(2 δk), 31.4 angstrom at steps of 0.05.
    kmin, kmax, kweight, dk, window
        As in `fourier_transform`. epsilon_r depends on them; use those of the transform that it shall serve.

    Returns
    -------
    xarray.Dataset
        `series` with ``epsilon_k`` (frame) [1] and ``epsilon_r`` (frame), and their σ from the number of independent
        points.

    Raises
    ------
    SchemaError, DimensionError, ValueError
        As `fourier_transform`; and on an uneven grid.

    References
    ----------
    M. Newville, B. I. Boyanov, D. E. Sayers, J. Synchrotron Rad. 6, 264 (1999), doi:10.1107/S0909049598018007.

    Examples
    --------
    >>> k = 0.05 * np.arange(321)
    >>> chi = np.random.default_rng(1).normal(0, 1e-3, (50, 321))
    >>> scans = xr.Dataset({"chi": quantity(("frame", "k"), chi, "1", "chi")},
    ...                    {"k": quantity("k", k, "1/angstrom", "k")})
    >>> bool(abs(noise(scans).epsilon_k.mean() / 1e-3 - 1) < 0.03)
    True
    """
    arguments = {key: value for key, value in locals().items() if key != "series"}
    name = "xas.noise"
    rows = rows_of(series, "chi", "k", name, HINT)
    step = even_step(rows.x)
    if step is None:
        raise ValueError(f"{name} needs an even grid in k; interpolate chi first")
    if not 0 < rmin < rmax <= np.pi / (2 * step) * (1 + 1e-9):
        raise ValueError(
            f"{name}: rmin and rmax must rise within 0 to {np.pi / (2 * step):.4g} angstrom, got {rmin:g} to {rmax:g}"
        )
    check_kweight(kweight, name)
    kmax, taper = _window(rows, kmin, kmax, dk, None, window, name)
    weight = taper * rows.x**kweight
    r = np.arange(int(np.ceil(rmin / RSTEP)), int(rmax / RSTEP) + 1) * RSTEP
    real, imag = _parts(rows, weight, r)
    epsilon_r = np.sqrt((real * real + imag * imag).mean(axis=1) / 2)
    epsilon_k = epsilon_r / (step * np.sqrt((weight**2).sum() / (2 * np.pi)))
    # Real and imaginary parts at steps of pi / (2 length) in R, the length being that of the squared window.
    length = step * (weight**2).sum() ** 2 / (weight**4).sum()
    independent = max(2 * length * (rmax - rmin) / np.pi, 1.0)
    relative = 1 / np.sqrt(2 * independent)
    told = {"rmin": float(rmin), "rmax": float(rmax), "kmin": float(kmin), "kmax": kmax, "kweight": float(kweight)}
    made = {}
    for key, value, units, what in (
        ("epsilon_k", epsilon_k, "1", "noise of chi(k)"),
        ("epsilon_r", epsilon_r, _power(1 + kweight), "noise of the real and imaginary parts of chi(R)"),
    ):
        made[key] = rows.numbers(value, units, what, **told)
        made[f"{key}_sigma"] = rows.numbers(value * relative, units, f"1 sigma of {key}")
    return record(series.assign(made), name, **arguments)


def check_kweight(kweight: float, name: str) -> None:
    """Refuse a power of k that is none."""
    if not 0 <= kweight <= HIGHEST:
        raise ValueError(f"{name}: kweight must be a number from 0 to {HIGHEST}, got {kweight!r}")


def _window(
    rows: Rows, kmin: float, kmax: float | None, dk: float, dk2: float | None, window: str, name: str
) -> tuple[float, np.ndarray]:
    choose("window", window, WINDOWS)
    last = float(rows.x[-1])
    high = last - (dk if dk2 is None else dk2) / 2 if kmax is None else float(kmax)
    if not 0 <= kmin < high <= last * (1 + 1e-9):
        raise ValueError(
            f"{name}: kmin and kmax must rise within 0 and {last:.4g} 1/angstrom, where chi ends, got {kmin:g} to "
            f"{high:.4g}"
        )
    # Room for the upper taper: beyond the data it is cut off, not squeezed.
    room = np.append(rows.x, max(last, high + (dk if dk2 is None else dk2)) + 1)
    taper = ft_window(room, low=kmin, high=high, dx=dk, dx2=dk2, window=window)[:-1]
    if not (taper > 0).any():
        raise ValueError(f"{name}: no point of chi lies in the window from {kmin:g} to {high:g} 1/angstrom; widen it")
    return high, taper


def _parts(rows: Rows, weight: np.ndarray, r: np.ndarray) -> tuple[Any, Any]:
    """Return the real and the imaginary part of δk/√π Σ weight chi exp(-2ikr); δk is the trapezoid's where uneven."""
    used = slice(*(np.flatnonzero(weight)[[0, -1]] + (0, 1)))
    step: Any = even_step(rows.x)
    if step is None:
        half = np.diff(rows.x) / 2
        step = np.append(half, 0) + np.insert(half, 0, 0)
    weight = (weight * step / np.sqrt(np.pi))[used]
    if len(rows.values) < FEW:
        return _direct(rows, weight, used, r)
    angle = 2 * np.outer(rows.x[used], r)
    return _through(rows, used, np.cos(angle) * weight[:, None]), _through(rows, used, -np.sin(angle) * weight[:, None])


def _through(rows: Rows, used: slice, matrix: np.ndarray) -> Any:
    """Return the rows' `used` points times `matrix` (point, out)."""
    matrix = np.ascontiguousarray(matrix)
    return rows.mapped(lambda values: values[:, used].astype(float, copy=False) @ matrix, matrix.shape[1])


def _direct(rows: Rows, weight: np.ndarray, used: slice, r: np.ndarray) -> tuple[Any, Any]:
    from batlab._kernels.sine_transform import sine_transform

    def both(values: np.ndarray) -> np.ndarray:
        chi = np.ascontiguousarray(values[:, used], dtype=float)
        parts = sine_transform(chi, 2 * rows.x[None, used], r, weight[None], n_threads=threads.effective())
        whole = np.concatenate([parts[1], -parts[0]], axis=1)
        whole[~np.isfinite(chi).all(axis=1)] = np.nan
        return whole

    whole = rows.mapped(both, 2 * len(r))
    return whole[:, : len(r)], whole[:, len(r) :]


def even_step(x: np.ndarray) -> float | None:
    """Return the step of an even grid, None of an uneven one."""
    step = float(x[-1] - x[0]) / (len(x) - 1)
    return step if np.abs(np.diff(x) - step).max() < 1e-6 * step else None


def _on_axis(series: xr.Dataset, axis: str, x: np.ndarray, units: str, long_name: str, name: str) -> xr.Dataset:
    if axis in series.dims and not np.array_equal(series[axis].values, x):
        raise ValueError(f"{name}: the series holds another grid of {axis!r} already; start from chi without it")
    return series.assign_coords({axis: quantity(axis, x, units, long_name)})


def _power(exponent: float) -> str:
    """Return the unit angstrom^-exponent."""
    return "1" if exponent == 0 else "1/angstrom" if exponent == 1 else f"1/angstrom^{exponent:g}"
