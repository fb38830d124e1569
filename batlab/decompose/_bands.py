"""How far components can move while the fit stays as good: bands for every profile."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import chi2, norm

from batlab.decompose.augment import noise, principal
from batlab.decompose.bands_explore import NUMBERS, explored, gaps
from batlab.decompose.bands_noise import Noise, bootstrap
from batlab.decompose.bands_search import Space, Targets, excess, settled
from batlab.decompose.mcr_result import WIDE, MCRResult, scale, widest
from batlab.schema import record


class Limits(NamedTuple):
    """Least and greatest values."""

    concentration: tuple[np.ndarray, np.ndarray]
    spectra: tuple[np.ndarray, np.ndarray]


def bands(
    result: MCRResult,
    *,
    tolerance: float | None = None,
    points: int = 24,
    level: float = 0.95,
    replicates: int = 100,
    seed: int = 0,
) -> MCRResult:
    """Return the result with the feasible range of every concentration and every spectrum at the same fit.

    For any matrix T, ``C T`` and ``T⁻¹ S`` fit exactly as well as C and S. Admissible is every T after which the
    constraints of the result still hold, but for violations whose mending raises the misfit by no more than
    `tolerance`. Within this set the least and the greatest value are sought for `points` frames
    and `points` points of the axis of each component, spread over the reduced space, by climbing from the result, from
    random starts and from each other's ends. Every other frame and point is bounded by the polytope that these extremes
    enclose. To each of these extremes its own noise is added (a residual bootstrap). A local search can miss a
    far extreme; more `points` make it less likely. One that is missed makes a band too narrow, never too wide.

    Where two components may change places without leaving this set, the band of each holds both of them (0 to 1,
    often): that is true of every point, but no picture of one component. The result says so; a known spectrum, or a
    frame that is known to be pure, keeps them apart.

    Parameters
    ----------
    result
        From ``decompose.mcr_als``.
    tolerance
        Relative rise of the lack of fit that still counts as the same fit, such as 0.01. Default: what noise alone
        does to profiles that lie at their limits, with probability `level`: the squared misfit may rise by the
        `level` quantile of chi² with (frames + points)(components - 1)/2 degrees of freedom, times the noise.
    points
        Frames, and points of the axis, at which the extremes are sought for each component.
    level
        Probability, of all points of all profiles together, that noise leaves the truth within the bands.
    replicates, seed
        Of the bootstrap.

    Returns
    -------
    MCRResult
        With ``concentration_low``, ``concentration_high`` and ``spectra_low``, ``spectra_high`` (range and noise
        together), ``concentration_sigma`` and ``spectra_sigma`` (1 σ of the noise at the result alone). Without a
        closure the scale between the two is a convention: every spectrum keeps its projection on the series' mean.
        ``attrs``: ``bands_tolerance``, ``bands_lack_of_fit`` [%], ``bands_level``, ``bands_widest`` (a component),
        ``bands_exchangeable`` (pairs that may change places: ``"0 and 2"``, or ``"none"``).
        With one component, or all spectra known, the bands are noise alone.

    Raises
    ------
    ValueError
        A tolerance below 0, a level outside 0 to 1, fewer than 2 points.

    Warns
    -----
    UserWarning
        The result itself does not fit as well as its constraints allow.

    References
    ----------
    Sawall et al., J. Chemom. 27, 106 (2013), doi:10.1002/cem.2498 (areas of feasible solutions);
    Golshan et al., Anal. Chim. Acta 911, 1 (2016), doi:10.1016/j.aca.2016.01.011 (review). Extremes of a component's
    total contribution, as MCR-BANDS has them, are no limits of single points.

    Examples
    --------
    >>> from batlab.decompose.constraints import Constraints
    >>> from batlab.decompose._mcr_als import mcr_als
    >>> energy, share = np.linspace(0, 1, 40), np.linspace(0.2, 0.8, 9)[:, None]
    >>> series = xr.DataArray(share * energy + (1 - share) * (1 - energy), dims=("frame", "energy"))
    >>> wide = bands(mcr_als(series, 2, constraints=Constraints(closure=1)), tolerance=1e-6, points=4)
    >>> wide.to_table()["is_single_valued"].values.tolist()
    [0, 0]
    """
    _check(tolerance, points, level, replicates)
    values, kept = result.whole.values, result.rules
    k, (n_frames, n_points) = result.n_components, values.shape
    scores, loadings, rest = principal(values, k)
    squares = float(np.einsum("jx,jx->", values, values))
    start, basis = _reduced(result, scores, loadings)
    space = Space(scores, loadings, basis, ~np.isfinite(kept.fixed_spectra).all(axis=0),
                  kept.nearest_concentration, kept.nearest_spectra)  # fmt: skip
    grain = bootstrap(values, scores, loadings, [result.whole.part(b) for b in result.whole.spectral], replicates, seed)
    misfit = _misfit(result, values)
    spare = ((1 + tolerance) ** 2 - 1) * misfit if tolerance is not None else _spare(values, k, grain, kept, level)
    turns, lowest, targets = start[None], 0.0, None
    if k > 1 and space.is_free.any():
        first, cost = settled(space, start[None])
        lowest = float(min(cost[0], excess(space, start[None], np.linalg.inv(start)[None])[0]))
        if tolerance is None:
            _warn_if_worse(misfit, rest + lowest, squares, spare)
        turns, targets = explored(space, np.concatenate([first, start[None]]), lowest + spare, points, seed)
    quantiles = [float(norm.isf((1 - level) / (2 * k * size))) for size in (n_frames, n_points)]
    limits = _limits(result, space, turns, targets, grain, quantiles)
    told = {
        "bands_tolerance": float(np.sqrt(1 + spare / misfit) - 1) if misfit > 0 else 0.0,
        "bands_lack_of_fit": 100 * float(np.sqrt((misfit + spare) / squares)),
        "bands_level": level,
        "bands_points": points,
    }
    data = _dataset(result, limits, grain, start, told)
    data = record(
        data, "decompose.bands", tolerance=tolerance, points=points, level=level, replicates=replicates, seed=seed
    )
    return replace(result, dataset=data)


def _check(tolerance: float | None, points: int, level: float, replicates: int) -> None:
    if tolerance is not None and not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance must be a relative rise of the lack of fit from 0 up, got {tolerance!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    for name, value in (("points", points), ("replicates", replicates)):
        if not isinstance(value, (int, np.integer)) or value < 2:
            raise ValueError(f"{name} must be a whole number from 2 up, got {value!r}")


def _reduced(result: MCRResult, scores: np.ndarray, loadings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return T of the result, and the directions in which its rows may move without a change of scale."""
    spectra, kept = _spectra(result), result.rules
    start = spectra @ loadings
    if kept.total is not None:
        normal = np.linalg.lstsq(scores, kept.total, rcond=None)[0]
        start = start / (start @ normal)[:, None]
    else:
        normal = scores.mean(axis=0)
    height = scores @ normal
    used = np.abs(height) > 1e-3 * np.abs(height).max()
    cloud = scores[used] / height[used, None]
    spread, axes = np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[1:]
    k = len(start)
    # A cloud on a line would leave no way across it: no direction is scaled to less than a thousandth of the widest.
    size = np.maximum(spread, 1e-3 * spread[0])[: k - 1] / np.sqrt(used.sum())
    plane = axes[: k - 1] - np.outer(axes[: k - 1] @ normal, normal) / (normal @ normal)
    return start, (plane * (size * (1.0 if kept.total is not None else np.abs(start @ normal).mean()))[:, None]).T


def _spectra(result: MCRResult) -> np.ndarray:
    """Return the spectra of a result (component, axis of the whole), scaled as the search needs them."""
    out = np.empty((result.n_components, result.whole.values.shape[1]))
    for block in result.whole.spectral:
        name = f"spectra_{block.name}" if result.whole.share == "concentrations" else "spectra"
        out[:, result.whole.part(block)] = result.dataset[name].values[:, block.columns] * block.scale
    return out


def _concentration(result: MCRResult) -> np.ndarray:
    values = result.dataset["concentration"].values
    return values[np.isfinite(values).all(axis=1)]


def _misfit(result: MCRResult, values: np.ndarray) -> float:
    rest = values - _concentration(result) @ _spectra(result)
    return float(np.einsum("jx,jx->", rest, rest))


def _spare(values: np.ndarray, k: int, grain: Noise, kept, level: float) -> float:
    """Return by how much noise alone raises the squared misfit of the truth over that of the best admissible T."""
    frames, points = values.shape
    white = noise(values, k) ** 2
    # Of the values of a frame or a point all but one may lie at their limit, where half of the noise violates it.
    at_limit = [0.5 * (k - 1) * size if kept.not_negative[side] else 0.0 for side, size in enumerate((frames, points))]
    at_limit[0] += 0.5 * frames * len(kept.unimodal) + float(np.isfinite(kept.fixed_concentration).sum())
    at_limit[1] += float(np.isfinite(kept.fixed_spectra).sum() * (~np.isfinite(kept.fixed_spectra).all(axis=0)).any())
    colour = max(1.0, float(np.trace(grain.scores)) / (k * white))  # noise correlated along the axis weighs more
    return float(chi2.ppf(level, max(sum(at_limit), 1.0))) * white * colour


def _warn_if_worse(misfit: float, best: float, total: float, spare: float) -> None:
    if misfit > best + 2 * spare:
        warnings.warn(
            f"decompose.bands: the result has lack of fit {100 * np.sqrt(misfit / total):.4g} %, components near it "
            f"that keep the constraints on profiles reach {100 * np.sqrt(best / total):.4g} %: closure, known "
            "profiles or a third cause hold it back, and the bands answer for the better fit",
            UserWarning,
            stacklevel=3,
        )


def _limits(
    result: MCRResult, space: Space, turns: np.ndarray, targets: Targets | None, grain: Noise, quantiles: list[float]
) -> Limits:
    """Return the least and greatest values over all T, each T with its own noise, and over what lies between them."""
    kept = result.rules
    own = _concentration(result), _spectra(result).T
    lows, highs = [one.copy() for one in own], [one.copy() for one in own]
    step = max(1, NUMBERS // (sum(map(len, own)) * result.n_components))
    for begin in range(0, len(turns), step):
        some = turns[begin : begin + step]
        inverses = np.linalg.inv(some)
        pairs = (
            (space.scores @ inverses, grain.concentration(inverses)),
            (space.loadings @ np.swapaxes(some, 1, 2), grain.spectra(some)),
        )
        for side, (middle, sigma) in enumerate(pairs):
            lows[side] = np.minimum(lows[side], (middle - quantiles[side] * sigma).min(axis=0))
            highs[side] = np.maximum(highs[side], (middle + quantiles[side] * sigma).max(axis=0))
    if targets is not None:
        for side, number in np.ndindex(2, result.n_components):
            down, up = gaps(space, turns, targets, number, side)
            lows[side][:, number] -= down
            highs[side][:, number] += up
    for side, fixed in enumerate((kept.fixed_concentration, kept.fixed_spectra)):
        if kept.not_negative[side]:
            lows[side], highs[side] = np.maximum(lows[side], 0.0), np.maximum(highs[side], 0.0)
        known = np.isfinite(fixed)
        lows[side], highs[side] = np.where(known, fixed, lows[side]), np.where(known, fixed, highs[side])
    if kept.total is not None and kept.not_negative[0]:
        highs[0] = np.minimum(highs[0], kept.total[:, None])
    return Limits((lows[0], highs[0]), (lows[1].T, highs[1].T))


def _dataset(result: MCRResult, limits: Limits, grain: Noise, start: np.ndarray, told: dict) -> xr.Dataset:
    whole = result.whole
    noise_c = np.where(
        np.isfinite(result.rules.fixed_concentration), 0.0, grain.concentration(np.linalg.inv(start)[None])[0]
    )
    noise_s = np.where(np.isfinite(result.rules.fixed_spectra), 0.0, grain.spectra(start[None])[0]).T
    added = {
        "concentration_sigma": whole.frames("concentration", noise_c, "1", "noise of the concentration alone, 1 sigma"),
        "concentration_low": whole.frames(
            "concentration", limits.concentration[0], "1", "least concentration at the same fit"
        ),
        "concentration_high": whole.frames(
            "concentration", limits.concentration[1], "1", "largest concentration at the same fit"
        ),
    }
    for stem, values, words in (
        ("spectra_low", limits.spectra[0], "least value of the spectrum at the same fit"),
        ("spectra_high", limits.spectra[1], "largest value of the spectrum at the same fit"),
        ("spectra_sigma", noise_s, "noise of the spectrum alone, 1 sigma"),
    ):
        added |= whole.axis(stem, values, words)
    data = result.dataset.assign(added).assign_attrs(told)
    width = widest(data)[0]
    data.attrs["bands_widest"] = [float(one) for one in width]
    wide = np.flatnonzero(width > WIDE * scale(data)).tolist()
    data.attrs["bands_not_single_valued"] = ", ".join(map(str, wide)) or "none"
    pairs = [f"{i} and {j}" for i, j in combinations(range(len(start)), 2) if _may_change_places(result, limits, i, j)]
    data.attrs["bands_exchangeable"] = ", ".join(pairs) or "none"
    return data


def _may_change_places(result: MCRResult, limits: Limits, one: int, other: int) -> bool:
    """Return whether the profiles of two components lie within each other's bands throughout."""
    content, spectra = _concentration(result), _spectra(result)
    # Without a closure each spectrum keeps its own projection on the mean of the series.
    height = spectra @ result.whole.values.mean(axis=0) if result.rules.total is None else np.ones(len(spectra))
    if (height == 0).any():
        return False
    for host, guest in ((one, other), (other, one)):
        ratio = height[guest] / height[host]
        pairs = ((content[:, guest] * ratio, limits.concentration, (slice(None), host)),
                 (spectra[guest] / ratio, limits.spectra, (host,)))  # fmt: skip
        for profile, (low, high), at in pairs:
            slack = 1e-9 * np.abs(profile).max()
            if (profile < low[at] - slack).any() or (profile > high[at] + slack).any():
                return False
    return True
