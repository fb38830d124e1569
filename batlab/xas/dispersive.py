"""Dispersive spectra: pixels become photon energies with a foil and its reference."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares

from batlab.errors import DimensionError, choose
from batlab.schema import quantity, record, require

# Half of the pixels must fall on the reference, else a calibration rests on a few points.
_LEAST_OVERLAP = 0.5
_LEAST_EDGE = 0.5  # of the reference's range
_STARTS = 60  # dispersions tried for the first guess, log-spaced, in each direction
_UNEXPLAINED = 0.1  # of the variance that a baseline alone leaves
_DOUBTFUL = 0.05  # of the reference's range; a foil that fits no better is another one, or another edge


def calibrate_pixels(
    foil: xr.Dataset,
    reference: xr.Dataset,
    *,
    degree: int = 2,
    dispersion: float | None = None,
    pixels: tuple[float, float] | None = None,
    baseline: int = 2,
    blur: bool = True,
) -> xr.Dataset:
    """Return the photon energy of every pixel, from a foil over pixels and its reference over energy.

    The energies are a polynomial of the pixel, E(p) = Σ cₙ tⁿ with t = (p - p₀)/P, p₀ the middle and P half the length
    of the detector. Its coefficients make a foil's absorption, scaled and with a baseline, equal to the reference at
    E(p): min Σ [a μ(p) + Σ bₙ tⁿ - μ_ref(E(p))]² over c, a, b (a and b follow linearly from c). The first guess puts
    the steepest point of the foil on that of the reference and tries dispersions in both directions.

    Parameters
    ----------
    foil
        One spectrum with ``mu`` over (pixel).
    reference
        The same foil with ``mu`` over (energy), finely scanned; it must cover most of what the detector sees.
    degree
        Of E(p): 1 to 4. Curved crystals need 2 or 3.
    dispersion
        A first guess in eV a pixel, negative where the energy falls with the pixel; None tries many.
    pixels
        First and last pixel that take part; None: all.
    baseline
        Degree of the baseline, 0 to 3.
    blur
        Also fit the width of a Gaussian that the reference is broadened with: dispersive optics resolve less than a
        scanning monochromator.

    Notes
    -----
    The edge and the first oscillations fix the scale; far behind the edge a foil has little structure, and there the
    polynomial extrapolates: on ESRF ID24's copper foil it agrees with the beamline's own calibration within 0.5 eV over
    200 eV around the edge and within 3 eV at the far end, 340 eV above it.

    Returns
    -------
    Dataset
        ``energy`` (pixel) [eV]; ``mu_fit`` (pixel), the scaled foil, and ``mu_reference`` (pixel), what it was fitted
        to (NaN outside); attributes ``coefficients`` c₀ … [eV], ``pixel_middle``, ``pixel_half``,
        ``residual`` (root mean square, in units of the reference's range), ``blur`` [eV], ``overlap`` (fraction).

    Raises
    ------
    DimensionError
        `foil` is not one spectrum over ``pixel``, or `reference` not one over ``energy``.
    ValueError
        Unknown `degree` or `baseline`, too few pixels, no dispersion that fits.

    Warns
    -----
    UserWarning
        Where the residual exceeds 5 % of the reference's range, or the foil explains less than 90 % of its structure.

    Examples
    --------
    >>> energy = np.linspace(8900.0, 9100.0, 401)
    >>> step = np.arctan((energy - 8979) / 2) + 0.1 * np.sin((energy - 8979) / 9) * (energy > 8979)
    >>> reference = xr.Dataset({"mu": quantity("energy", step, "1", "absorption")},
    ...                        {"energy": quantity("energy", energy, "eV", "photon energy")})
    >>> seen = np.interp(8950.0 + 0.4 * np.arange(300), energy, step)
    >>> foil = xr.Dataset({"mu": quantity("pixel", seen, "1", "absorption")},
    ...                   {"pixel": quantity("pixel", np.arange(300), "1", "pixel")})
    >>> calibration = calibrate_pixels(foil, reference, degree=1)
    >>> [round(float(e), 1) for e in calibration.energy[[0, 299]]]
    [8950.0, 9069.6]
    """
    choose("degree", degree, [1, 2, 3, 4])
    choose("baseline", baseline, [0, 1, 2, 3])
    problem = _problem(foil, reference, pixels, degree, baseline)
    start = _first_guess(problem, dispersion)
    coefficients, width = _refine(problem, start, blur)
    energy = _polynomial(coefficients, problem.all_t)
    if not ((np.diff(energy) > 0).all() or (np.diff(energy) < 0).all()):
        raise ValueError(
            f"xas.calibrate_pixels: the fitted polynomial of degree {degree} turns within the detector; use a lower "
            "degree, or a reference that covers more of it"
        )
    fitted, target, residual, overlap, unexplained = _report(problem, coefficients, width)
    if residual > _DOUBTFUL or unexplained > _UNEXPLAINED:
        warnings.warn(
            f"xas.calibrate_pixels: foil and reference differ by {100 * residual:.1f} % of the reference's range (root "
            f"mean square), {100 * unexplained:.0f} % of its variance unexplained; is it the same foil and edge?",
            UserWarning,
            stacklevel=2,
        )
    result = xr.Dataset(
        {
            "energy": quantity("pixel", energy, "eV", "photon energy"),
            "mu_fit": quantity("pixel", fitted, "1", "absorption of the foil, scaled"),
            "mu_reference": quantity("pixel", target, "1", "absorption of the reference at the pixel's energy"),
        },
        {"pixel": foil["pixel"].variable},
        {
            "coefficients": [float(c) for c in coefficients],
            "pixel_middle": float(problem.middle),
            "pixel_half": float(problem.half),
            "residual": residual,
            "blur": width,
            "overlap": overlap,
        },
    )
    return record(
        result, "xas.calibrate_pixels", foil=foil, reference=reference, degree=degree, dispersion=dispersion,
        pixels=pixels, baseline=baseline, blur=blur,
    )  # fmt: skip


def pixels_to_energy(series: xr.Dataset, calibration: xr.Dataset) -> xr.Dataset:
    """Return `series` over energy instead of pixels, with the energies of a `calibration`.

    Values are not touched; where the energy falls with the pixel the order is turned round.

    Parameters
    ----------
    series
        Variables over (frame,) pixel; those without are passed on.
    calibration
        From `calibrate_pixels`.

    Returns
    -------
    Dataset
        The same over (frame,) energy [eV], increasing.

    Raises
    ------
    DimensionError
        `series` or `calibration` has no ``pixel``, or their pixels differ.

    Examples
    --------
    >>> pixel = {"pixel": quantity("pixel", [0, 1, 2], "1", "pixel")}
    >>> series = xr.Dataset({"mu": quantity("pixel", [0.3, 0.2, 0.1], "1", "absorption")}, pixel)
    >>> known = xr.Dataset({"energy": quantity("pixel", [8990.0, 8980.0, 8970.0], "eV", "photon energy")}, pixel)
    >>> pixels_to_energy(series, known).mu.values.tolist()
    [0.1, 0.2, 0.3]
    """
    require(series, "xas.pixels_to_energy", "pixel", hint="it takes what io.open gives for dispersive spectra")
    if "energy" not in calibration or calibration["energy"].dims != ("pixel",):
        raise DimensionError(
            "xas.pixels_to_energy needs a calibration with energy over 'pixel'; see xas.calibrate_pixels"
        )
    if not np.array_equal(series["pixel"].values, calibration["pixel"].values):
        raise DimensionError(
            f"xas.pixels_to_energy needs equal pixels, got {series.sizes['pixel']} in the series and "
            f"{calibration.sizes['pixel']} in the calibration"
        )
    energy = calibration["energy"].values
    rising = slice(None, None, 1 if energy[-1] > energy[0] else -1)
    moved = series.drop_vars("pixel").isel(pixel=rising).rename_dims(pixel="energy")
    moved = moved.assign_coords(energy=quantity("energy", energy[rising].copy(), "eV", "photon energy"))
    attrs = {
        f"calibration_{key}": calibration.attrs[key] for key in ("residual", "overlap") if key in calibration.attrs
    }
    return record(moved.assign_attrs(attrs), "xas.pixels_to_energy", calibration=calibration)


@dataclass(frozen=True)
class _Problem:
    """Foil over t (-1 to 1), reference over energy, both with zero mean and unit range, and the baseline's powers."""

    t: np.ndarray  # of the pixels that take part
    mu: np.ndarray
    all_t: np.ndarray
    all_mu: np.ndarray
    energy: np.ndarray
    target: np.ndarray
    middle: float
    half: float
    degree: int
    baseline: int


def _problem(
    foil: xr.Dataset, reference: xr.Dataset, pixels: tuple[float, float] | None, degree: int, baseline: int
) -> _Problem:
    for name, one, dim in (("foil", foil, "pixel"), ("reference", reference, "energy")):
        if "mu" not in one or one["mu"].dims != (dim,):
            got = tuple(map(str, one["mu"].dims)) if "mu" in one else "no mu"
            raise DimensionError(
                f"xas.calibrate_pixels needs a {name} with mu over ({dim!r},), got {got}; take one frame with "
                "ds.isel(frame=0)"
            )
    pixel, mu = foil["pixel"].values.astype(float), foil["mu"].values.astype(float)
    middle, half = (pixel[0] + pixel[-1]) / 2, (pixel[-1] - pixel[0]) / 2
    first, last = pixels if pixels is not None else (pixel[0], pixel[-1])
    use = (pixel >= first) & (pixel <= last) & np.isfinite(mu)
    known = np.isfinite(reference["mu"].values)
    if use.sum() < 20 or known.sum() < 20:
        raise ValueError(
            f"xas.calibrate_pixels needs at least 20 points, got {use.sum()} pixels and {known.sum()} of the reference"
        )
    target = reference["mu"].values.astype(float)[known]
    t, scale = (pixel - middle) / half, np.ptp(target)
    if not scale > 0 or not np.ptp(mu[use]) > 0:
        raise ValueError("xas.calibrate_pixels: foil or reference is constant; there is no edge to match")
    target = (target - target.mean()) / scale
    energy = reference["energy"].values.astype(float)[known]
    return _Problem(t[use], mu[use], t, mu, energy, target, middle, half, degree, baseline)


def _polynomial(coefficients: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.polynomial.polynomial.polyval(t, coefficients)


def _blurred(problem: _Problem, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the reference on an even grid, broadened by a Gaussian of `width` eV."""
    step = max(np.diff(problem.energy).min(), np.ptp(problem.energy) / 20_000)
    even = np.arange(problem.energy[0], problem.energy[-1] + step / 2, step)
    mu = np.interp(even, problem.energy, problem.target)
    return even, gaussian_filter1d(mu, width / step, mode="nearest") if width > 0 else mu


def _match(
    problem: _Problem, grid: np.ndarray, mu: np.ndarray, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals (0 outside the reference), which pixels are inside, and the linear parameters."""
    energy = _polynomial(coefficients, problem.t)
    inside = (energy >= grid[0]) & (energy <= grid[-1])
    target = np.interp(energy, grid, mu)
    basis = np.column_stack([problem.mu, *(problem.t**n for n in range(problem.baseline + 1))])
    # Without an edge in view, a baseline alone would match a short flat piece of any reference.
    if inside.sum() < max(20, _LEAST_OVERLAP * len(energy)) or np.ptp(target[inside]) < _LEAST_EDGE:
        return np.full(len(energy), np.inf), inside, np.zeros(basis.shape[1])
    linear = np.linalg.lstsq(basis[inside], target[inside], rcond=None)[0]
    return np.where(inside, basis @ linear - target, 0.0), inside, linear


def _unexplained(
    problem: _Problem, grid: np.ndarray, mu: np.ndarray, c: np.ndarray, residuals: np.ndarray, inside: np.ndarray
) -> float:
    """Return the misfit as a fraction of what a baseline alone leaves; a short piece of a reference is straight."""
    target = np.interp(_polynomial(c, problem.t), grid, mu)[inside]
    basis = np.column_stack([problem.t[inside] ** n for n in range(problem.baseline + 1)])
    alone = target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
    return float(np.sum(residuals[inside] ** 2) / max(np.sum(alone**2), 1e-300))


def _first_guess(problem: _Problem, dispersion: float | None) -> np.ndarray:
    """Return c of degree 1: the steepest points on each other, the dispersion that fits best."""
    n = len(problem.t)
    smooth = gaussian_filter1d(problem.mu, max(n / 300, 1.0))
    slope = np.abs(np.gradient(smooth, problem.t))
    slope[: n // 50], slope[n - n // 50 :] = 0, 0
    grid, mu = _blurred(problem, 2.0)
    e0, t0 = grid[np.argmax(np.abs(np.gradient(mu, grid)))], problem.t[np.argmax(slope)]
    if dispersion is not None:
        tried = np.array([dispersion * problem.half])
    else:
        largest = np.ptp(problem.energy)
        one_way = np.geomspace(largest / 100, largest, _STARTS)
        tried = np.concatenate([one_way, -one_way])
    best, score = None, np.inf
    for c1 in tried:
        for shift in np.linspace(-0.02, 0.02, 9):
            c = np.array([e0 - c1 * (t0 + shift), c1])
            residuals, inside, linear = _match(problem, grid, mu, c)
            # A foil of negative scale would be a mirror image, no match.
            if np.isfinite(residuals).all() and linear[0] > 0:
                worth = _unexplained(problem, grid, mu, c, residuals, inside)
                best, score = (c, worth) if worth < score else (best, score)
    if best is None:
        raise ValueError(
            "xas.calibrate_pixels: no dispersion puts half of the pixels onto the reference; pass dispersion=… in eV a "
            "pixel, or a reference that covers more"
        )
    return np.concatenate([best, np.zeros(problem.degree - 1)])


def _refine(problem: _Problem, start: np.ndarray, blur: bool) -> tuple[np.ndarray, float]:
    span = abs(start[1])

    def residuals(x: np.ndarray) -> np.ndarray:
        grid, mu = _blurred(problem, abs(x[-1]) if blur else 0.0)
        found = _match(problem, grid, mu, x[: len(start)])[0]
        return np.where(np.isfinite(found), found, 1.0)

    x = np.concatenate([start, [2.0 if blur else 0.0]])
    steps = np.concatenate([[0.5], np.full(len(start) - 1, max(span / 100, 0.5)), [0.5]])
    for n in range(2, len(start) + 1):  # one degree more at a time
        free = [*range(n), *([len(x) - 1] if blur else [])]

        def some(values: np.ndarray, free: list[int] = free) -> np.ndarray:
            full = x.copy()
            full[free] = values
            return residuals(full)

        # The first guess is one step of the dispersions tried; a fit that leaves it has lost the edge.
        low, high = np.full(len(free), -np.inf), np.full(len(free), np.inf)
        low[1], high[1] = np.sort(start[1] * np.array([0.7, 1.4]))
        fit = least_squares(some, x[free], x_scale=steps[free], diff_step=1e-6, max_nfev=200, bounds=(low, high))
        x[free] = fit.x
    return x[: len(start)], float(abs(x[-1]))


def _report(problem: _Problem, c: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    grid, mu = _blurred(problem, width)
    residuals, inside, linear = _match(problem, grid, mu, c)
    basis = np.column_stack([problem.all_mu, *(problem.all_t**n for n in range(problem.baseline + 1))])
    target = np.interp(_polynomial(c, problem.all_t), grid, mu, left=np.nan, right=np.nan)
    left = _unexplained(problem, grid, mu, c, residuals, inside)
    return basis @ linear, target, float(np.sqrt(np.mean(residuals[inside] ** 2))), float(inside.mean()), left
