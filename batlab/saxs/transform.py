"""Distances inside a particle: the indirect Fourier transform, its smoothness and its end told by the evidence."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.saxs.series import curves_of, frame_quantity, on_frames, sigma_or_scatter, with_sigma
from batlab.schema import quantity, record

N_POINTS = 60
STRENGTHS = np.arange(-8.0, 8.01, 0.5)  # log10 of the strength relative to the design
GROW = 1.12  # step between trial Dmax


def pair_distance(
    patterns: xr.Dataset,
    *,
    dmax: float | tuple[float, float] | None = None,
    window: tuple[float, float] | None = None,
    background: bool = False,
) -> xr.Dataset:
    """Return p(r) of dilute particles by an indirect Fourier transform, ``I(q) = 4π ∫ p(r) sin(qr)/(qr) dr``.

    p is a chain of 59 straight pieces, 0 at r = 0 and at Dmax, and smooth: its second differences are a priori normal
    with one variance. That variance and Dmax are weighed by their evidence (Bayes's): all values that the data allow
    enter p, Rg, I(0), Dmax and their σ. p may be negative where the data want it so (interaction, contrast).

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q), ``intensity_sigma``, without structure factor.
    dmax
        In angstrom: fixed; or (low, high) to search; by default from 2 to 5 times Rg of the low-q slope, at most
        π / q_min.
    window
        (low, high) in 1/angstrom.
    background
        Fit a constant.

    Returns
    -------
    Dataset
        ``pair_distance`` (frame, r) [unit of I / angstrom] with σ; ``rg``, ``dmax`` [angstrom], ``i0`` (frame) with
        σ, ``chi2_reduced``; ``intensity_fit`` (frame, q).

    Raises
    ------
    ValueError
        A `dmax` that is none, fewer than 8 points.

    References
    ----------
    S. Hansen, J. Appl. Cryst. 33, 1415 (2000), doi:10.1107/S0021889800012930.
    """
    q, values, sigma = curves_of(patterns, "saxs.pair_distance", window)
    if q.size < 8:
        raise ValueError(f"saxs.pair_distance needs at least 8 points, got {q.size}")
    sigma = sigma_or_scatter(q, values, sigma, "saxs.pair_distance")
    trials = [_trials(q, y, dmax) for y in values]
    r = np.linspace(0.0, max(one[-1] for one in trials), 2 * N_POINTS + 1)
    found = [_one(q, y, s, tried, r, background) for y, s, tried in zip(values, sigma, trials)]
    p, p_sigma, fit, numbers = (np.stack([one[k] for one in found]) for k in range(4))
    rg, rg_sigma, i0, i0_sigma, top, top_sigma, chi2, at_end = numbers.T
    if (at_end > 0.2).any():
        text = f"saxs.pair_distance: in {(at_end > 0.2).sum()} of {len(p)} frames the evidence for Dmax is at an end"
        warnings.warn(f"{text} of {trials[0][0]:.4g} to {trials[0][-1]:.4g} angstrom; widen dmax=", stacklevel=2)
    units = patterns["intensity"].attrs.get("units", "1")
    variables = {
        "pair_distance": quantity(("frame", "r"), p, f"{units}/angstrom", "pair distance distribution"),
        "pair_distance_sigma": quantity(("frame", "r"), p_sigma, f"{units}/angstrom", "1 sigma of p(r)"),
        "intensity_fit": quantity(("frame", "q"), fit, units, "intensity of the fit"),
        **with_sigma("rg", rg, rg_sigma, "angstrom", "radius of gyration"),
        **with_sigma("i0", i0, i0_sigma, units, "intensity at q = 0"),
        **with_sigma("dmax", top, top_sigma, "angstrom", "largest distance"),
        "chi2_reduced": frame_quantity(chi2, "1", "chi squared per point"),
    }
    done = on_frames(patterns, variables).assign_coords(
        r=quantity("r", r, "angstrom", "distance"), q=quantity("q", q, "1/angstrom", "scattering vector")
    )
    return record(done, "saxs.pair_distance", dmax=dmax, window=window, background=background)


def _trials(q: np.ndarray, y: np.ndarray, dmax: float | tuple[float, float] | None) -> np.ndarray:
    if dmax is None:
        good = np.isfinite(y) & (y > 0)
        n = max(6, good.sum() // 8)
        slope = np.polyfit(q[good][:n] ** 2, np.log(y[good][:n]), 1)[0] if good.sum() > 6 else -1.0
        rg = np.sqrt(max(-3 * slope, 1.0))
        low = min(2.0 * rg, 0.5 * np.pi / q[0])
        dmax = (low, max(1.2 * low, min(5.0 * rg, np.pi / q[0])))
    bounds = np.atleast_1d(np.asarray(dmax, float))
    if bounds.size > 2 or not (bounds > 0).all() or (bounds.size == 2 and not bounds[0] < bounds[1]):
        raise ValueError(f"dmax must be a length above 0 in angstrom or (low, high), got {dmax!r}")
    if bounds.size == 1:
        return bounds
    low, high = bounds
    return np.geomspace(low, high, max(3, 1 + int(np.ceil(np.log(bounds[1] / bounds[0]) / np.log(GROW)))))


def _one(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, trials: np.ndarray, r: np.ndarray, background: bool
) -> tuple[np.ndarray, ...]:
    """Return p and its σ on `r`, the fit, and Rg, I(0), Dmax with σ, χ² and the weight of the trial ends."""
    used = np.isfinite(y) & np.isfinite(s)
    if used.sum() < 8:
        return np.full(r.size, np.nan), np.full(r.size, np.nan), np.full(q.size, np.nan), np.full(8, np.nan)
    parts, evidence = [], []
    for dmax in trials:
        for part in _posteriors(q, y, s, used, dmax, background):
            evidence.append(part.pop("evidence"))
            parts.append({**part, "dmax": dmax})
    weight = np.exp(np.array(evidence) - np.max(evidence))
    weight /= weight.sum()
    keep = weight > 1e-3 * weight.max()
    weight = weight[keep] / weight[keep].sum()
    parts = [part for part, is_kept in zip(parts, keep) if is_kept]
    curves, spread, moments = [], [], []
    for part in parts:
        nodes = np.linspace(0, part["dmax"], N_POINTS)
        to_r = _hats(r, nodes)[:, 1:-1]
        curves.append(to_r @ part["p"])
        spread.append(np.einsum("ri,ij,rj->r", to_r, part["covariance"], to_r))
        moments.append(_moments(part, nodes[1:-1]))
    p, p_variance = _mixed(weight, np.array(curves), np.array(spread))
    values, variances = np.array(moments)[:, :2], np.array(moments)[:, 2:]
    both, both_variance = _mixed(weight, values, variances)
    dmax = np.array([part["dmax"] for part in parts])
    top, top_variance = _mixed(
        weight, dmax[:, None], np.full((dmax.size, 1), (0.3 * (GROW - 1)) ** 2) * dmax[:, None] ** 2
    )
    fit = np.sum(weight[:, None] * np.array([part["fit"] for part in parts]), axis=0)
    chi2 = float(np.mean(((y - fit) / s)[used] ** 2))
    at_end = float(weight[(dmax == trials[0]) | (dmax == trials[-1])].sum()) if trials.size > 1 else 0.0
    if trials.size == 1:
        top_variance = np.zeros(1)
    numbers = (both[0], np.sqrt(both_variance[0]), both[1], np.sqrt(both_variance[1]), top[0], np.sqrt(top_variance[0]))
    return p, np.sqrt(p_variance), fit, np.array([*numbers, chi2, at_end])


def _posteriors(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, used: np.ndarray, dmax: float, background: bool
) -> list[dict]:
    """Return, for every strength of the smoothness, mean, covariance and log evidence of p at one Dmax."""
    step = dmax / (N_POINTS - 1)
    nodes = step * np.arange(1, N_POINTS - 1)
    places, shares = np.polynomial.legendre.leggauss(4)
    design = np.zeros((q.size, nodes.size))
    for side in (-1, 1):  # the two halves of each hat
        for place, share in zip(0.5 * (places + 1), 0.5 * shares):
            design += share * (1 - place) * np.sinc(np.outer(q, nodes + side * step * place) / np.pi)
    design *= 4 * np.pi * step
    factor = np.column_stack([design, np.ones_like(q)]) if background else design
    weighted, target = factor[used] / s[used, None], y[used] / s[used]
    gram, projection = weighted.T @ weighted, weighted.T @ target
    m = nodes.size
    differences = np.diff(np.pad(np.eye(m), ((1, 1), (0, 0))), 2, axis=0)
    smooth = differences.T @ differences
    scale = np.trace(gram[:m, :m]) / np.trace(smooth)
    rank = np.linalg.slogdet(smooth)[1]
    made = []
    for power in STRENGTHS:
        strength = scale * 10.0 ** (power - 4)
        total = gram.copy()
        total[:m, :m] += strength * smooth
        if background:
            total[m, m] += 1e-12 * gram[m, m]
        lower = np.linalg.cholesky(total)
        x = np.linalg.solve(lower.T, np.linalg.solve(lower, projection))
        misfit = float(np.sum((target - weighted @ x) ** 2))
        prior = float(strength * x[:m] @ smooth @ x[:m])
        evidence = -0.5 * (misfit + prior) + 0.5 * (m * np.log(strength) + rank) - np.sum(np.log(np.diag(lower)))
        inverse = np.linalg.solve(lower.T, np.linalg.solve(lower, np.eye(len(total))))
        made.append({"p": x[:m], "covariance": inverse[:m, :m], "evidence": evidence, "fit": factor @ x})
    return made


def _moments(part: dict, r: np.ndarray) -> tuple[float, float, float, float]:
    """Return Rg, I(0) and their variances."""
    step = r[1] - r[0]
    squares = r**2 + step**2 / 6  # of a hat
    level, second = np.sum(part["p"]), np.sum(part["p"] * squares)
    rg2 = second / (2 * level) if level > 0 else np.nan
    rg = np.sqrt(max(rg2, 0.0)) if np.isfinite(rg2) else np.nan
    slope = (squares / (2 * level) - second / (2 * level**2)) / (2 * rg)
    variance = slope @ part["covariance"] @ slope
    ones = np.full(r.size, 4 * np.pi * step)
    return rg, 4 * np.pi * step * level, variance, ones @ part["covariance"] @ ones


def _mixed(weight: np.ndarray, values: np.ndarray, variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = np.sum(weight[:, None] * values, axis=0)
    return mean, np.sum(weight[:, None] * (variances + (values - mean) ** 2), axis=0)


def _hats(r: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(r[:, None] - nodes) / (nodes[1] - nodes[0]))
