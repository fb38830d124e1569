"""The high-q tail and the integral under q² I: surfaces by Porod, volume fractions by the invariant."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.saxs.series import curves_of, frame_quantity, growth, need_absolute, on_frames, sigma_or_scatter, with_sigma
from batlab.schema import record

# q in 1/angstrom, I in 1/cm, contrast in 1e-6/angstrom² = 1e10/cm²: 1/cm 1/angstrom³ = 1e24/cm⁴, and so on.
INVARIANT_UNIT = 1e24 / 1e20
SURFACE_UNIT = 1e32 / 1e20 / 1e4  # 1/cm 1/angstrom⁴ over contrast² -> m²/cm³
POWERS = np.arange(1.0, 6.01, 0.25)


def porod(
    patterns: xr.Dataset,
    window: tuple[float, float],
    *,
    exponent: float | None = 4.0,
    background: bool = True,
    contrast: float | None = None,
) -> xr.Dataset:
    """Fit ``I = K q^-p + B`` to the tail of every frame by weighted least squares.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q), ``intensity_sigma``.
    window
        (low, high) in 1/angstrom; beyond q R of about 4 for the smallest particles.
    exponent
        p; None: fitted for each frame (2 to 3 mass fractal, 3 to 4 rough surface, 4 smooth, above 4 graded).
    background
        Fit the constant B (incoherent, fluorescence, fluctuations); else 0.
    contrast
        Difference of the scattering length densities in 1e-6/angstrom² (= 1e10/cm²); gives the surface per volume,
        for p = 4 and intensities in 1/cm.

    Returns
    -------
    Dataset
        ``porod_constant`` [unit of I / angstrom^p], ``background``, ``exponent`` (frame) with σ (grown by √χ² where
        χ² is significantly above 1), ``chi2_reduced``; with `contrast` ``surface`` [m²/cm³] = K / (2π Δρ²).

    Raises
    ------
    ValueError
        A window of fewer than 4 points, `contrast` with another exponent than 4, a contrast of 0.
    UnitError
        `contrast` without an absolute scale.

    References
    ----------
    G. Porod, Kolloid-Z. 124, 83 (1951), doi:10.1007/BF01512792.
    """
    if contrast is not None:
        if exponent != 4.0 or not abs(contrast) > 0:
            raise ValueError(
                f"a surface needs exponent=4.0 and a contrast that is not 0, got {exponent} and {contrast}"
            )
        need_absolute(patterns, "saxs.porod")
    if exponent is not None and not 0 < exponent <= 8:
        raise ValueError(f"exponent must be between 0 and 8 or None, got {exponent!r}")
    q, values, sigma = curves_of(patterns, "saxs.porod", window)
    if q.size < 4:
        raise ValueError(f"saxs.porod needs at least 4 points, the window {window} has {q.size}")
    sigma = sigma_or_scatter(q, values, sigma, "saxs.porod")
    rows = np.array([_tail(q, y, s, exponent, background) for y, s in zip(values, sigma)])
    k, k_sigma, b, b_sigma, p, p_sigma, chi2 = rows.T
    low = int(np.sum(k < 2 * k_sigma))
    if low:
        warnings.warn(
            f"saxs.porod: in {low} of {len(k)} frames the tail is not above its background by 2 sigma in "
            f"{window[0]:g}-{window[1]:g} 1/angstrom",
            stacklevel=2,
        )
    units = patterns["intensity"].attrs.get("units", "1")
    shown = "angstrom^p" if exponent is None else f"angstrom^{exponent:g}"
    variables = {
        **with_sigma("porod_constant", k, k_sigma, f"{units}/{shown}", "Porod constant"),
        **with_sigma("background", b, b_sigma, units, "constant background"),
        **with_sigma("exponent", p, p_sigma, "1", "exponent of the tail"),
        "chi2_reduced": frame_quantity(chi2, "1", "reduced chi squared"),
    }
    if contrast is not None:
        factor = SURFACE_UNIT / (2 * np.pi * contrast**2)
        variables.update(with_sigma("surface", factor * k, factor * k_sigma, "m^2/cm^3", "surface per volume"))
    done = on_frames(patterns, variables)
    return record(
        done, "saxs.porod", window=window, exponent=exponent, background=background, contrast=contrast
    )  # fmt: skip


def _tail(q: np.ndarray, y: np.ndarray, s: np.ndarray, exponent: float | None, background: bool) -> np.ndarray:
    """Return K, its σ, B, its σ, p, its σ and χ² of one frame."""
    good = np.isfinite(y) & np.isfinite(s)
    q, y, w = q[good], y[good], 1 / s[good]
    count = 1 + background + (exponent is None)
    if q.size <= count:
        return np.full(7, np.nan)
    middle = np.exp(np.mean(np.log(q)))
    t = np.log(q / middle)

    def solve(p: float) -> tuple[np.ndarray, float, np.ndarray]:
        design = np.stack([np.exp(-p * t), np.ones_like(t)][: 1 + background], axis=1) * w[:, None]
        part, *_ = np.linalg.lstsq(design, y * w, rcond=None)
        return part, float(np.sum((y * w - design @ part) ** 2)), design

    p = exponent
    if p is None:
        tried = [solve(one)[1] for one in POWERS]
        p = float(POWERS[int(np.argmin(tried))])
        for _ in range(30):
            part, misfit, design = solve(p)
            slope = -t * design[:, 0] * part[0]
            full = np.column_stack([design, slope])
            step = float(np.linalg.lstsq(full, y * w - design @ part, rcond=None)[0][-1])
            step = float(np.clip(step, -0.5, 0.5))
            p = float(np.clip(p + step, 0.1, 8.0))
            if abs(step) < 1e-10:
                break
    part, misfit, design = solve(p)
    if exponent is None:
        design = np.column_stack([design, -t * design[:, 0] * part[0]])
    covariance = np.linalg.pinv(design.T @ design) * growth(misfit / (q.size - count), q.size - count) ** 2
    k = part[0] * middle**p
    to_k = np.zeros(covariance.shape[0])
    to_k[0] = middle**p
    if exponent is None:
        to_k[-1] = k * np.log(middle)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    b, b_sigma = (part[1], spread[1]) if background else (0.0, 0.0)
    p_sigma = spread[-1] if exponent is None else 0.0
    return np.array([k, np.sqrt(to_k @ covariance @ to_k), b, b_sigma, p, p_sigma, misfit / (q.size - count)])


def invariant(
    patterns: xr.Dataset,
    *,
    porod_window: tuple[float, float],
    guinier_window: tuple[float, float] | None = None,
    contrast: float | None = None,
    background: bool = True,
) -> xr.Dataset:
    """Return ``Q* = ∫ q² I dq`` from 0 to infinity and the volume fraction that it means.

    Below the data Guinier's law goes on from `guinier_window`, above them Porod's, K/q⁴, from `porod_window`, whose
    constant background is taken off everywhere. Each part is linear or smooth in the intensities, and σ is propagated
    through all of it: what the extrapolations share with the data counts once.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q), ``intensity_sigma``.
    porod_window, guinier_window
        In 1/angstrom; the latter by default the first 8 points.
    contrast
        In 1e-6/angstrom²: two phases, intensities in 1/cm: ``φ (1 - φ) = Q* / (2π² Δρ²)``.
    background
        Fit and take off a constant.

    Returns
    -------
    Dataset
        ``invariant`` [1/cm/angstrom³] with σ, ``part_below``, ``part_above`` (what was extrapolated, of 1); with
        `contrast` ``volume_fraction`` (the smaller of the two) with σ.

    Raises
    ------
    ValueError
        An invariant that no two phases of that contrast can have (above Δρ² π²/2).
    UnitError
        `contrast` without an absolute scale.
    """
    if contrast is not None:
        need_absolute(patterns, "saxs.invariant")
        if not abs(contrast) > 0:
            raise ValueError(f"contrast must not be 0, got {contrast!r}")
    q, values, sigma = curves_of(patterns, "saxs.invariant")
    sigma = sigma_or_scatter(q, values, sigma, "saxs.invariant")
    guinier_window = guinier_window or (float(q[0]), float(q[min(7, q.size - 1)]))
    rows = [_total(q, y, s, porod_window, guinier_window, background) for y, s in zip(values, sigma)]
    total, spread, below, above = np.array(rows).T
    if np.nanmax(below + above) > 0.3:
        text = f"saxs.invariant: up to {np.nanmax(below + above):.0%} of the invariant is extrapolated"
        warnings.warn(f"{text} ({np.nanmax(below):.0%} below the data, {np.nanmax(above):.0%} above)", stacklevel=2)
    units = f"{patterns['intensity'].attrs.get('units', '1')}/angstrom^3"
    variables = {
        **with_sigma("invariant", total, spread, units, "scattering invariant"),
        "part_below": frame_quantity(below, "1", "part extrapolated below the data"),
        "part_above": frame_quantity(above, "1", "part extrapolated above the data"),
    }
    if contrast is not None:
        product = total * INVARIANT_UNIT / (2 * np.pi**2 * contrast**2)
        if np.nanmax(product) > 0.25:
            raise ValueError(
                f"saxs.invariant: {np.nanmax(product):.3g} = phi (1 - phi) is above 1/4 with contrast={contrast:g}; "
                "look at the scale, the thickness and the contrast"
            )
        root = np.sqrt(1 - 4 * product)
        error = spread * INVARIANT_UNIT / (2 * np.pi**2 * contrast**2) / root
        variables.update(with_sigma("volume_fraction", (1 - root) / 2, error, "1", "volume fraction"))
    done = on_frames(patterns, variables)
    return record(
        done, "saxs.invariant", porod_window=porod_window, guinier_window=guinier_window, contrast=contrast,
        background=background,
    )  # fmt: skip


def _total(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, porod_window: tuple, guinier_window: tuple, background: bool
) -> tuple[float, float, float, float]:
    good = np.isfinite(y) & np.isfinite(s)
    q, y, s = q[good], y[good], s[good]
    tail = (q >= porod_window[0]) & (q <= porod_window[1])
    head = (q >= guinier_window[0]) & (q <= guinier_window[1])
    for told, at in (("porod_window", tail), ("guinier_window", head)):
        if at.sum() < 4:
            raise ValueError(f"saxs.invariant needs at least 4 points in {told}, got {at.sum()}")
    # Rows of `tail_of` turn the intensities into K and B.
    design = np.stack([q[tail] ** -4.0, np.ones(tail.sum())][: 1 + background], axis=1) / s[tail, None]
    tail_of = np.zeros((2, q.size))
    tail_of[: 1 + background, tail] = np.linalg.pinv(design) / s[tail]
    k, b = tail_of @ y
    weights = _simpson(q)
    middle = float(np.sum(weights * q**2 * (y - b)))
    gradient = weights * q**2 - np.sum(weights * q**2) * tail_of[1]
    above = k / q[-1]
    gradient = gradient + tail_of[0] / q[-1]
    below, slope = _below(q, y - b, s, head)
    gradient = gradient + slope - np.sum(slope) * tail_of[1]
    total = middle + above + below
    return total, float(np.sqrt(np.sum((gradient * s) ** 2))), below / total, above / total


def _below(q: np.ndarray, y: np.ndarray, s: np.ndarray, head: np.ndarray) -> tuple[float, np.ndarray]:
    """Return ∫ q² I from 0 to the first point by Guinier's law, and its derivative by each intensity."""
    at = head & (y > 0)
    if at.sum() < 3:
        return float(q[0] ** 3 * y[0] / 3), np.where(np.arange(q.size) == 0, q[0] ** 3 / 3, 0.0)
    design = np.stack([np.ones(at.sum()), q[at] ** 2], axis=1)
    weight = y[at] / s[at]
    of_log = np.linalg.pinv(design * weight[:, None]) * weight
    level, slope = of_log @ np.log(y[at])
    nodes, share = np.polynomial.legendre.leggauss(24)
    u = 0.5 * q[0] * (nodes + 1)
    each = 0.5 * q[0] * share * u**2 * np.exp(level + slope * u**2)
    gradient = np.zeros(q.size)
    gradient[at] = (np.sum(each) * of_log[0] + np.sum(each * u**2) * of_log[1]) / y[at]
    return float(np.sum(each)), gradient


def _simpson(q: np.ndarray) -> np.ndarray:
    """Return weights w with ∑ w f ≈ ∫ f dq, exact for parabolas through neighbours, on any spacing."""
    from scipy.integrate import simpson

    return simpson(np.eye(q.size), x=q, axis=1) if q.size < 2000 else np.gradient(q)
