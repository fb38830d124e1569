"""The EXAFS equation on the tables that FEFF calculates: chi(k) of a scattering path, and its derivatives."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from batlab import io
from batlab.constants import ETOK
from batlab.schema import quantity, record

LEAST_ENERGY = 1e-6  # 1/angstrom²: k² above the edge is held this far from 0, where the equation divides by it

# What a path may be given, with units; `PathTable.chi` differentiates by each.
PATH_UNITS = {
    "degen": "1",
    "s02": "1",
    "delta_e0": "eV",
    "delta_r": "angstrom",
    "sigma2": "angstrom^2",
    "third": "angstrom^3",
    "fourth": "angstrom^4",
    "ei": "eV",
}
COLUMNS = ("real_phc", "mag_feff", "pha_feff", "red_fact", "lam", "rep")

PathSource = str | os.PathLike | xr.Dataset


def path_chi(
    path: PathSource,
    *,
    k: Any = None,
    s02: float = 1.0,
    degen: float | None = None,
    delta_e0: float = 0.0,
    delta_r: float = 0.0,
    sigma2: float = 0.0,
    third: float = 0.0,
    fourth: float = 0.0,
    ei: float = 0.0,
) -> xr.Dataset:
    """Return chi(k) of a scattering path, the EXAFS equation with complex wavenumber p as FEFF tabulates it.

    With ``q² = k² - 0.2625 ΔE0``, p = ``rep + i / lam`` at q (with `ei`, p² gets an imaginary part), half length R and
    phase Φ = ``real_phc + pha_feff`` at q::

        chi = Im[ N S0² F(q) / (q (R + ΔR)²) · exp(-2 R Im p - 2 p² σ² + ⅔ p⁴ C4)
                  · exp(i (2 q R + Φ + 2 p (ΔR - 2 σ²/R - ⅔ p² C3))) ]

    F = ``mag_feff · red_fact``. This is the equation of feffit, Artemis and larch; the tables are interpolated by cubic
    splines. Below the edge (``k² < 0.2625 ΔE0``) it is continued by those splines and has no meaning.

    Parameters
    ----------
    path
        A ``feffNNNN.dat``, or what ``io.open`` made of it.
    k
        Wavenumbers [1/angstrom], increasing; 0 to the end of the table in steps of 0.05 if not given.
    s02
        Amplitude reduction by many-electron effects, S0².
    degen
        Number of paths N; the file's if not given.
    delta_e0
        Shift [eV] of E0: the path's k = 0 lies `delta_e0` above that of the data.
    delta_r
        Change [angstrom] of the half path length.
    sigma2, third, fourth
        Cumulants of the distance: σ² [angstrom²], C3 [angstrom³], C4 [angstrom⁴].
    ei
        More broadening [eV], as an imaginary energy.

    Returns
    -------
    xarray.Dataset
        ``chi`` [1] over ``k``, NaN beyond the end of the path's table; attributes of the path and the numbers above.

    Raises
    ------
    ValueError
        k that is negative or does not increase.
    TypeError
        `path` is no scattering path.

    References
    ----------
    J. J. Rehr, R. C. Albers, Rev. Mod. Phys. 72, 621 (2000), doi:10.1103/RevModPhys.72.621; cumulants:
    G. Bunker, Nucl. Instrum. Methods 207, 437 (1983), doi:10.1016/0167-5087(83)90655-5.

    Examples
    --------
    >>> import batlab as bl
    >>> file = bl.datasets.path("feff_paths") / "Cu" / "feffcu01.dat"  # doctest: +SKIP
    >>> bl.xas.path_chi(file, s02=0.93, delta_e0=4.4, sigma2=0.0087).chi.sel(k=5)  # doctest: +SKIP
    """
    table = PathTable(path)
    points = 0.05 * np.arange(int(table.k[-1] / 0.05 + 1e-6) + 1) if k is None else np.atleast_1d(k).astype(float)
    if points.ndim != 1 or not points.size or not (np.diff(points, prepend=-1e-9) > 0).all():
        raise ValueError(f"k must be numbers that increase from 0 or above, got {points}")
    given: dict[str, Any] = {
        "degen": table.facts["degen"] if degen is None else float(degen), "s02": s02, "delta_e0": delta_e0,
        "delta_r": delta_r, "sigma2": sigma2, "third": third, "fourth": fourth, "ei": ei,
    }  # fmt: skip
    attrs = {**table.attrs, **{name: float(value) for name, value in given.items()}}
    result = xr.Dataset(
        {"chi": quantity("k", table.chi(points, given), "1", "chi(k) of the path")},
        {"k": quantity("k", points, "1/angstrom", "photoelectron wavenumber")},
        attrs,
    )
    return record(result, "xas.path_chi", path=path, k=points, **given)


class PathTable:
    """A path's tables as splines, and chi with its derivatives on any k."""

    def __init__(self, path: PathSource) -> None:
        from scipy.interpolate import CubicSpline

        opened = io.open(path) if isinstance(path, (str, os.PathLike)) else path
        if isinstance(opened, xr.DataTree) and not opened.children:
            opened = opened.to_dataset()
        if not isinstance(opened, xr.Dataset) or "reff" not in opened.attrs or "k" not in opened.dims:
            raise TypeError(f"a scattering path is a feffNNNN.dat or what io.open makes of one, got {_told(opened)}")
        self.attrs = dict(opened.attrs)
        self.facts = {name: float(opened.attrs[name]) for name in ("reff", "degen", "nleg", "reduced_mass")}
        self.elements = [str(one) for one in opened["element"].values]
        self.k = np.asarray(opened["k"].values, dtype=float)
        real_phc, mag, pha, red, lam, rep = (np.asarray(opened[name].values, dtype=float) for name in COLUMNS)
        # One spline of four columns: the phase, the amplitude, and the real and imaginary part of p apart.
        self._spline = CubicSpline(self.k, np.stack([real_phc + pha, mag * red, rep, lam], axis=1))

    @cached_property
    def _slope(self) -> Any:
        return self._spline.derivative()

    @property
    def label(self) -> str:
        """The atoms of the path and its length: ``Cu-Cu 2.548``."""
        return f"{'-'.join(self.elements)} {self.facts['reff']:.3f}"

    def chi(self, k: np.ndarray, given: dict[str, Any]) -> np.ndarray:
        """Return chi (point,) for the parameters of `PATH_UNITS`; NaN beyond the table."""
        wave = Wave(self, k, given)
        chi = wave.amplitude * wave.bare
        return np.where(k <= self.k[-1] + 1e-6, chi.imag, np.nan)

    def chi_and_slopes(self, k: np.ndarray, given: dict[str, Any], wanted: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return chi (point,) and its derivatives (wanted, point) by the parameters named."""
        wave = Wave(self, k, given)
        slopes = np.empty((len(wanted), len(k)))
        for i, name in enumerate(wanted):
            slopes[i] = getattr(wave, f"by_{name}")().imag
        return (wave.amplitude * wave.bare).imag, slopes


class Wave:
    """The complex chi of one path for one set of parameters: ``amplitude(q)`` times ``bare``."""

    def __init__(self, table: PathTable, k: np.ndarray, given: dict[str, Any]) -> None:
        self.table, self.given, self.reff = table, given, table.facts["reff"]
        energy = k**2 - given["delta_e0"] * ETOK
        energy = np.where(np.abs(energy) < 1.5 * LEAST_ENERGY, LEAST_ENERGY, energy)
        self.q = np.sign(energy) * np.sqrt(np.abs(energy))
        phase, self.amplitude, self.rep, self.lam = table._spline(self.q).T
        self.pp = (self.rep + 1j / self.lam) ** 2 + 1j * given["ei"] * ETOK
        self.p = np.sqrt(self.pp)
        self.distance = self.reff + given["delta_r"]
        sigma2, third, fourth = given["sigma2"], given["third"], given["fourth"]
        exponent = -2 * self.reff * self.p.imag - 2 * self.pp * (sigma2 - self.pp * fourth / 3)
        shift = given["delta_r"] - 2 * sigma2 / self.reff - 2 * self.pp * third / 3
        # degen and s02 apart, so that both may be 0 and still be differentiated.
        self.unit = np.exp(exponent + 1j * (2 * self.q * self.reff + phase + 2 * self.p * shift))
        self.unit = self.unit / (self.q * self.distance**2)
        self.bare = given["degen"] * given["s02"] * self.unit
        self._shift = shift

    @property
    def whole(self) -> np.ndarray:
        return self.amplitude * self.bare

    def by_degen(self) -> np.ndarray:
        return self.given["s02"] * self.amplitude * self.unit

    def by_s02(self) -> np.ndarray:
        return self.given["degen"] * self.amplitude * self.unit

    def by_delta_r(self) -> np.ndarray:
        return self.whole * (2j * self.p - 2 / self.distance)

    def by_sigma2(self) -> np.ndarray:
        return self.whole * (-2 * self.pp - 4j * self.p / self.reff)

    def by_third(self) -> np.ndarray:
        return self.whole * (-4j / 3 * self.p * self.pp)

    def by_fourth(self) -> np.ndarray:
        return self.whole * (2 / 3 * self.pp**2)

    def by_ei(self) -> np.ndarray:
        return self.whole * self._by_pp(1j * ETOK)

    def by_delta_e0(self) -> np.ndarray:
        phase, amplitude, rep, lam = self.table._slope(self.q).T
        pp = 2 * (self.rep + 1j / self.lam) * (rep - 1j * lam / self.lam**2)
        along_q = self.whole * (1j * (2 * self.reff + phase) - 1 / self.q + self._by_pp(pp)) + amplitude * self.bare
        return along_q * (-ETOK / (2 * np.abs(self.q)))

    def _by_pp(self, change: Any) -> np.ndarray:
        """Return the change of the exponent when p² changes by `change`."""
        p = change / (2 * self.p)
        spread = self.given["sigma2"] - 2 * self.pp * self.given["fourth"] / 3
        skew = 2j * (p * self._shift - self.p * 2 * change * self.given["third"] / 3)
        return -2 * self.reff * p.imag - 2 * change * spread + skew


def _told(opened: Any) -> str:
    if isinstance(opened, (xr.Dataset, xr.DataTree)):
        names = opened.dims if isinstance(opened, xr.Dataset) else opened.children
        return f"a {type(opened).__name__} of {', '.join(map(str, names)) or 'nothing'}"
    return type(opened).__name__
