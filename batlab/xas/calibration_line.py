"""Mean valence from an edge energy, on a line through standards."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import t as student

from batlab.errors import SchemaError
from batlab.schema import quantity, record
from batlab.xas.xanes_series import numbers_of, table_of

FUNCTION = "xas.valence"
HINT = "run xas.edge_energy or xas.normalize first, or name another variable with of=…"
WEAK = 3.0  # σ of the slope below which the line says little
ONE_SIGMA = 0.841344746068543  # of a normal distribution, below +1 σ


def valence(series: xr.Dataset, standards: Any, *, of: str = "e0") -> xr.Dataset:
    """Return the mean valence of each frame from a calibration line of edge energy against valence.

    ``energy = intercept + slope · valence``, a weighted least-squares line. Each standard's σ is that of its energy
    and ``slope`` times that of its valence (effective variance: errors in both [1]_). Standards never lie on a line
    within their measured σ, because ligands and structure move edges too: an extra scatter, one for all, is found so
    that χ² equals its degrees of freedom [2]_, and is widened for few standards (Student's t). It stands for the error
    that a sample of any one structure makes, and is part of the sample's σ:

    ``valence_sigma² = (σ_energy² + scatter² + [1 v] C [1 v]ᵀ) / slope²``, C the covariance of intercept and slope.

    Between frames of one sample that scatter is common: ``valence_precision`` is the part from σ_energy alone.

    Sample and standards must be on one energy scale (`xas.align_energy`) and their edge energies found by one
    definition: half of the edge step or the integral rather than the derivative, which jumps between features.

    Parameters
    ----------
    series
        With `of` over ``frame``, or a number, and ``<of>_sigma`` where known.
    standards
        Name → (valence, energy): energy a number [eV], a pair (energy, σ), or a Dataset with `of`; or name →
        (valence, energy, σ of valence). Or a Dataset over ``frame`` with ``valence`` and `of`, and σ of each as known.
    of
        Variable that is compared: ``"e0"``, ``"position"`` of `white_line`, ``"centroid"`` of `pre_edge_peaks` …

    Returns
    -------
    xarray.Dataset
        ``valence`` [1] with σ and ``valence_precision``. Attributes ``slope``, ``slope_sigma``, ``intercept``,
        ``intercept_sigma``, ``slope_intercept_correlation``, ``calibration_scatter`` (units of `of`), ``standards``.

    Raises
    ------
    ValueError
        Fewer than two valences, one energy for all, σ that are no numbers, or edge energies found by different
        definitions.
    SchemaError
        Variables that are missing.

    Warns
    -----
    UserWarning
        Standards without a number; frames beyond the standards' valences; two standards, which tell no scatter; a slope
        below three σ.

    References
    ----------
    .. [1] D. York et al., Am. J. Phys. 72, 367 (2004), doi:10.1119/1.1632486.
    .. [2] Paule and Mandel, J. Res. Natl. Bur. Stand. 87, 377 (1982), doi:10.6028/jres.087.022.

    Examples
    --------
    >>> sample = xr.Dataset({"e0": quantity("frame", [6546.0, 6548.0], "eV", "edge energy")})
    >>> mean = valence(sample, {"MnO": (2, 6544.0), "Mn2O3": (3, 6548.0), "MnO2": (4, 6552.0)})
    >>> mean.valence.values.round(2).tolist()
    [2.5, 3.0]
    """
    if of not in series:
        raise SchemaError(f"{FUNCTION} needs a variable {of!r}, got {', '.join(map(str, series.data_vars))}; {HINT}")
    n_frames = series[of].size
    energy = numbers_of(series, of, n_frames, FUNCTION, HINT)
    sigma = (
        np.zeros(n_frames) if f"{of}_sigma" not in series else numbers_of(series, f"{of}_sigma", n_frames, FUNCTION, "")
    )
    known = _standards(standards, of, series.attrs.get("e0_method") if of == "e0" else None)
    line = _line(known)
    found = (energy - line.intercept) / line.slope
    spread = np.sqrt(sigma**2 + line.scatter**2 + line.variance(found)) / abs(line.slope)
    _tell(known, line, found)
    dims = series[of].dims
    data = {}
    for name, numbers, told in (
        ("valence", found, "mean valence"),
        ("valence_sigma", spread, "1 sigma of the valence, the calibration's error included"),
        ("valence_precision", sigma / abs(line.slope), "1 sigma of the valence between frames of one sample"),
    ):
        data[name] = quantity([str(dim) for dim in dims], numbers.reshape(series[of].shape), "1", told)
    result = table_of(series, data)
    error = np.sqrt(np.diag(line.covariance))
    result.attrs.update(
        slope=float(line.slope), slope_sigma=float(error[1]), intercept=float(line.intercept),
        intercept_sigma=float(error[0]), calibration_scatter=float(line.scatter),
        slope_intercept_correlation=float(line.covariance[0, 1] / (error[0] * error[1] or 1.0)),
        standards=", ".join(f"{name} {v:g}" for name, v in zip(known.names, known.valence)),
    )  # fmt: skip
    return record(result, FUNCTION, standards=standards, of=of)


class Standards(NamedTuple):
    """What was measured on each standard."""

    names: list[str]
    valence: np.ndarray
    valence_sigma: np.ndarray
    energy: np.ndarray
    energy_sigma: np.ndarray


class Line(NamedTuple):
    """The calibration; `covariance` in the order intercept, slope."""

    intercept: float
    slope: float
    covariance: np.ndarray
    scatter: float

    def variance(self, valence: np.ndarray) -> np.ndarray:
        """Return the variance of the line's energy at valences."""
        c = self.covariance
        return c[0, 0] + 2 * valence * c[0, 1] + valence**2 * c[1, 1]


def _standards(given: Any, of: str, method: Any) -> Standards:
    if isinstance(given, xr.Dataset):
        _same_method("standards", given, method)
        if "valence" not in given.variables or given["valence"].dims != ("frame",):
            raise SchemaError("standards must hold 'valence' over ('frame',), beside what is compared")
        n = given.sizes["frame"]
        columns, sigmas = [], []
        for name in ("valence", of):
            columns.append(numbers_of(given, name, n, FUNCTION, "the standards' own"))
            known = f"{name}_sigma" in given.variables
            sigmas.append(numbers_of(given, f"{name}_sigma", n, FUNCTION, "") if known else np.zeros(n))
        names = list(map(str, given["file"].values if "file" in given.variables else range(n)))
        found = Standards(names, columns[0], sigmas[0], columns[1], sigmas[1])
    elif isinstance(given, Mapping):
        rows = [(str(name), *_one(str(name), value, of, method)) for name, value in given.items()]
        found = Standards([row[0] for row in rows], *(np.array([row[i] for row in rows], float) for i in (1, 2, 3, 4)))
    else:
        raise TypeError(
            "standards must be a mapping name -> (valence, energy) or a Dataset with 'valence', got "
            f"{type(given).__name__}"
        )
    good = np.isfinite(found.energy) & np.isfinite(found.valence)
    spread = np.stack([found.valence_sigma, found.energy_sigma])
    unsure = good & ~(np.isfinite(spread) & (spread >= 0)).all(axis=0)
    if unsure.any():
        raise ValueError(
            f"sigma of a standard must be finite and not negative, got {spread[:, unsure][:, 0].tolist()} (valence, "
            f"energy) for {found.names[int(unsure.argmax())]!r}; leave it out where it is not known"
        )
    if not good.all():
        lost = ", ".join(name for name, ok in zip(found.names, good) if not ok)
        warnings.warn(f"{FUNCTION}: standards without a number are left out: {lost}", UserWarning, stacklevel=4)
    found = Standards([name for name, ok in zip(found.names, good) if ok], *(column[good] for column in found[1:]))
    if len(np.unique(found.valence)) < 2:
        raise ValueError(
            f"a line needs standards of at least two valences, got {sorted(set(found.valence.tolist()))} from "
            f"{', '.join(found.names) or 'none'}"
        )
    if np.ptp(found.energy) == 0:
        raise ValueError(f"all standards have the energy {found.energy[0]:g}: nothing tells valences apart")
    return found


def _one(name: str, value: Any, of: str, method: Any) -> tuple[float, float, float, float]:
    """Return valence, its σ, energy, its σ of one standard."""
    try:
        charge, measured, *rest = value
        charge_sigma = float(rest[0]) if rest else 0.0
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"standard {name!r} must be (valence, energy) or (valence, energy, σ of valence), got {value!r}"
        ) from error
    if isinstance(measured, xr.Dataset):
        _same_method(name, measured, method)
        if of not in measured or measured[of].size != 1:
            raise SchemaError(
                f"standard {name!r} needs one number {of!r}, got {', '.join(map(str, measured.data_vars))}"
            )
        sigma = float(measured[f"{of}_sigma"].values.ravel()[0]) if f"{of}_sigma" in measured else 0.0
        return float(charge), charge_sigma, float(measured[of].values.ravel()[0]), sigma
    energy, sigma = measured if np.ndim(measured) == 1 else (measured, 0.0)
    return float(charge), charge_sigma, float(energy), float(sigma)


def _same_method(name: str, standard: xr.Dataset, method: Any) -> None:
    own = standard.attrs.get("e0_method")
    if method is not None and own is not None and own != method:
        raise ValueError(
            f"the edge of {name!r} was found by {own!r}, that of the series by {method!r}; run xas.edge_energy on both "
            "with one method"
        )


def _line(known: Standards) -> Line:
    """Fit the line with errors in both, and the scatter about it."""
    slope = float(np.polyfit(known.valence, known.energy, 1)[0])
    for _ in range(20):  # the weights hang on the slope
        sigma = np.hypot(known.energy_sigma, slope * known.valence_sigma)
        terms, covariance, scatter = _weighted(known.valence, known.energy, sigma)
        if abs(terms[1] - slope) <= 1e-12 * abs(slope):
            break
        slope = float(terms[1])
    spare = len(known.valence) - 2
    wider = float(student.ppf(ONE_SIGMA, spare)) if spare > 0 and scatter > 0 else 1.0
    return Line(float(terms[0]), float(terms[1]), covariance * wider**2, scatter * wider)


def _weighted(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    basis = np.stack([np.ones_like(x), x], axis=1)
    least = 1e-6  # eV: a σ of 0 would decide alone
    sigma = np.maximum(sigma, least)

    def solve(extra: float) -> tuple[np.ndarray, np.ndarray, float]:
        weight = 1 / (sigma**2 + extra**2)
        covariance = np.linalg.inv((basis * weight[:, None]).T @ basis)
        terms = covariance @ (basis.T @ (weight * y))
        return terms, covariance, float((weight * (y - basis @ terms) ** 2).sum())

    spare, low, high = len(x) - 2, 0.0, 0.0
    if spare > 0 and solve(0.0)[2] > spare:
        high = float(np.ptp(y)) + least
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if solve(middle)[2] > spare else (low, middle)
    terms, covariance, _ = solve(high)
    return terms, covariance, high


def _tell(known: Standards, line: Line, found: np.ndarray) -> None:
    def warn(told: str) -> None:
        warnings.warn(f"{FUNCTION}: {told}", UserWarning, stacklevel=4)

    low, high = float(known.valence.min()), float(known.valence.max())
    outside = (found < low) | (found > high)
    if outside.any():
        warn(
            f"{int(outside.sum())} of {found.size} frames lie beyond the standards ({low:g} to {high:g}), at "
            f"{np.nanmin(found):.2f} to {np.nanmax(found):.2f}; nothing tells that the line goes on"
        )
    error = float(np.sqrt(line.covariance[1, 1]))
    if abs(line.slope) < WEAK * error:
        warn(
            f"the slope of the calibration is {line.slope:.3g} ± {error:.2g} per unit of valence; take other standards"
        )
    if len(known.names) == 2:
        warn("two standards tell nothing of the scatter about the line; the sigma holds their measurement alone")
