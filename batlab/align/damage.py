"""Whether the beam changed what it measured: spots of different dose compared at equal charge."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab.align.dose_ledger import as_gray, spots_of
from batlab.align.matching import Matched, Points, branches, match, thinned
from batlab.errors import DimensionError, SchemaError, did_you_mean
from batlab.schema import quantity, record, require

FEWEST = 8  # matched frames below which nothing is said of correlated noise
MOST_SPOTS = 20
ALIKE = 0.05  # doses closer than this tell how alike spots are, not what the beam did
# Noise: correlation from one frame of a spot to its next, and the share of the variance that is not correlated.
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.85, 0.9, 0.95, 0.98, 0.99)
WHITE_SHARES = (0.0, 0.3, 0.6)
LARGEST = 200  # frames of a spot treated one by one; of more, neighbours are averaged
# From this correlation on, its estimate from some 25 frames is too often too small for averaging: all noises count
# that the series does not exclude, by 2.51 in the log of the restricted likelihood (half the 97.5 % of χ², 1 freedom).
WANDERING = 0.4
EXCLUDED = 2.51
DOUBTFUL = 0.7  # correlation from frame to frame that is told


class Effect(NamedTuple):
    """What one spot shows against the reference, and how sure."""

    value: float
    sigma: float
    low: float
    high: float
    p_value: float
    correlation: float


def beam_damage(
    series: xr.Dataset,
    of: str,
    *,
    charge: str = "charge_passed",
    between: str = "spot",
    branch: str | None = None,
    origin: float = 0.0,
    level: float = 0.95,
) -> xr.Dataset:
    """Compare spots, or fluxes, of different dose at equal charge, and say how much they differ and how sure that is.

    Each frame of a spot is set against the spot of least dose, interpolated between its frames next in charge; charging
    and discharging, cycle by cycle, are kept apart, and at rest, where the charge stands still, frames are matched in
    time. The effect δ is that of ``y = origin + (1 + δ) (y_reference - origin)``: -0.05 for a reaction 5 % behind.

    Parameters
    ----------
    series
        Over ``frame`` in the order of exposure, with the variable `of`, its ``dose`` [Gy] (`align.dose`) and the charge
        (`align.onto_frames`). Where ``<of>_sigma`` is there, it sets the relative weights.
    of
        Variable over ``frame``: an extent of reaction, a lattice parameter, an edge energy.
    charge
        Variable over ``frame`` at whose equal values spots are compared.
    between
        Coordinate over ``frame`` that tells the groups apart: ``"spot"``, or ``"flux"`` with few values.
    branch
        Variable over ``frame`` whose values are matched among themselves only, such as ``"step"``. By default the
        direction of the charge, within a cycle where the series has ``cycle``, else counted from the start.
    origin
        Value of `of` before the reaction: of a lattice parameter or an edge energy the pristine one. Effects are
        relative to the change since then.
    level
        Of the limits, 0 to 1.

    Returns
    -------
    xarray.Dataset
        Over ``spot`` (all but the reference): ``effect`` [1] with ``effect_sigma``, ``effect_low``, ``effect_high``,
        ``p_value`` (two-sided; of several spots after Holm), ``n_frames`` matched, ``dose`` and ``dose_reference``
        [Gy] at the end, ``noise_correlation`` from one frame of a spot to its next. Attributes: ``reference`` and a
        ``dose_statement`` for what is exported.

    Raises
    ------
    DimensionError, SchemaError
        What is needed is missing or not over ``frame``.
    ValueError
        One spot only, fewer than 8 frames that can be matched, spots whose cells did not do the same.

    Warns
    -----
    UserWarning
        Doses within 5 % of each other; noise too slow for the number of frames.

    Notes
    -----
    Noise may be correlated in time: within a spot it is taken as one part that fades exponentially and one that is
    white. Length and share of the first are not known, so the Student distributions of δ for each are averaged with
    their restricted likelihoods as weights. Where the noise seems correlated by more than 0.4 from one frame of a spot
    to its next, p and limits are the widest among all noises that the series does not exclude at 97.5 %. Among some 25
    frames a spot there are too few independent blocks for a permutation test to reach p = 0.01. With 50 frames, 25 a
    spot, p < 0.05 comes up falsely in 0.1, 1.5, 2, 3, 4.4 and 5 % of series whose noise is correlated by 0, 0.5, 0.7,
    0.8, 0.9 and 0.95. Noise that all spots share makes p larger. A reaction 5 % behind is found at p < 0.01 in 95 to 98
    % of such series with white noise of 1 % of its whole range, in 71 and 41 % where that is correlated by 0.3 and 0.5:
    noise that wanders as slowly as the reaction runs cannot be told from an effect.

    Spots are supposed to be alike but for their dose: two spots of equal dose, compared in the same way, show whether
    they are. No difference found is no proof of none: the limits say what may have been missed.

    Examples
    --------
    >>> n = 40
    >>> charge = np.linspace(0, 1, n)
    >>> noise = np.random.default_rng(1).normal(0, 0.005, n)
    >>> label, hot = np.arange(n) % 2, 1 - 0.1 * (np.arange(n) % 2)
    >>> series = xr.Dataset({"extent": quantity("frame", charge * hot + noise, "1", "extent of the reaction")}, {
    ...     "charge_passed": quantity("frame", charge, "Ah", "charge"), "spot": quantity("frame", label, "1", "spot"),
    ...     "dose": quantity("frame", 1e5 * (1 + 9 * label), "Gy", "dose")})
    >>> found = beam_damage(series, "extent")
    >>> bool(found.effect_low[0] < -0.1 < found.effect_high[0]), bool(found.p_value[0] < 0.001)
    (True, True)
    """
    points, doses = _columns(series, of, charge, between)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    use = np.isfinite(points.value) & np.isfinite(points.at) & np.isfinite(points.sigma)
    labels, last = _last_doses(points.spot, doses, use, between)
    points = points._replace(part=branches(series, points.at, points.spot, use, branch), value=points.value - origin)
    reference = labels[int(np.argmin(last))]
    others = [label for label in labels if label != reference]
    _warn_if_alike(labels, last, reference)
    points = thinned(points, use, LARGEST)
    known = points.spot == reference
    found, counts = [], []
    for label in others:
        pairs = match(points.spot == label, known, points.at, points.part, points.when)
        if len(pairs.rows) < FEWEST:
            raise ValueError(
                f"align.beam_damage can match {len(pairs.rows)} frames of {between} {label!r} with {reference!r} at "
                f"equal {charge}, at least {FEWEST} are needed; do their ranges overlap in every branch?"
            )
        counts.append(int(points.n_frames[pairs.rows].sum()))
        found.append(_effect(points, pairs, level))
    _warn_if_wandering(others, found)
    result = _result(labels, last, reference, others, found, counts, level)
    result.attrs["dose_statement"] = _statement(result, of, charge, between, reference, level)
    return record(
        result, "align.beam_damage", series=series, of=of, charge=charge, between=between, branch=branch,
        origin=origin, level=level,
    )  # fmt: skip


def moments(series: xr.Dataset) -> np.ndarray:
    """Return when each frame was exposed, in s where the series has dates, else its place in the series."""
    for name in ("time", "test_time"):
        if name in series.variables and series[name].dims == ("frame",):
            stamps = series[name].values
            if stamps.dtype.kind == "M":
                if np.isnat(stamps).any() or not stamps.size:
                    continue
                stamps = (stamps - stamps[0]).astype("timedelta64[ns]").astype(np.int64) / 1e9
            if np.isfinite(stamps).all() and (np.diff(stamps) >= 0).all():
                return np.asarray(stamps, dtype=float)
    return np.arange(series.sizes["frame"], dtype=float)


def _columns(series: xr.Dataset, of: str, charge: str, between: str) -> tuple[Points, np.ndarray]:
    require(series, "align.beam_damage", "frame")
    hints = {charge: "put the series onto the cell with align.onto_frames", "dose": "call align.dose first",
             between: "assign a coordinate that names the spot of each frame"}  # fmt: skip
    names = [str(name) for name in series.variables]
    for name in (of, charge, "dose", between):
        if name not in names:
            hint = hints.get(name) or f"it has {', '.join(map(str, series.data_vars))}"
            raise SchemaError(f"align.beam_damage needs {name!r} over 'frame'{did_you_mean(name, names)}; {hint}")
        if series[name].dims != ("frame",):
            raise DimensionError(f"align.beam_damage needs {name!r} over ('frame',), got {series[name].dims}")
    values, at, doses = (np.asarray(series[name].values, dtype=float) for name in (of, charge, "dose"))
    sigma = np.ones(values.shape)
    if f"{of}_sigma" in series:
        sigma = np.asarray(series[f"{of}_sigma"].values, dtype=float)
        sigma = np.where(sigma > 0, sigma, np.nan)
    spots = spots_of(series, "align.beam_damage", between)
    none = np.zeros(spots.shape, dtype=int)
    return Points(values, sigma, at, moments(series), spots, none, none + 1), doses


def _last_doses(spots: np.ndarray, doses: np.ndarray, use: np.ndarray, between: str) -> tuple[list[Any], np.ndarray]:
    labels = np.unique(spots[use]).tolist()
    if not 2 <= len(labels) <= MOST_SPOTS:
        told = (
            "put values that are nearly the same into few groups" if len(labels) > MOST_SPOTS else "one tells nothing"
        )
        raise ValueError(
            f"align.beam_damage compares 2 to {MOST_SPOTS} values of {between!r}, got {len(labels)} with known values; "
            + told
        )
    last = np.array([np.nanmax(np.where(use & (spots == label), doses, np.nan), initial=-np.inf) for label in labels])
    if not np.isfinite(last).all():
        raise ValueError(f"the dose of {between} {labels[int(np.argmin(np.isfinite(last)))]!r} is not known")
    return labels, last


def _warn_if_alike(labels: list[Any], last: np.ndarray, reference: Any) -> None:
    least = last.min()
    for label, value in zip(labels, last, strict=True):
        if label != reference and value <= least * (1 + ALIKE):
            warnings.warn(
                f"align.beam_damage: spots {reference!r} and {label!r} got {as_gray(least)} and {as_gray(value)}, the "
                "same within 5 %; their difference tells how alike spots are, not what the beam did",
                UserWarning,
                stacklevel=3,
            )


def _warn_if_wandering(others: list[Any], found: list[Effect]) -> None:
    for label, one in zip(others, found, strict=True):
        if one.correlation > DOUBTFUL:
            warnings.warn(
                f"align.beam_damage: the noise of spot {label!r} is correlated by about {one.correlation:.2f} from "
                f"frame to frame and tells little of what is slow; p = {one.p_value:.2g} and the limits allow for all "
                "such noise that the series does not exclude; measure more frames, the spots by turns",
                UserWarning,
                stacklevel=3,
            )


def _effect(points: Points, pairs: Matched, level: float) -> Effect:
    """Return δ of ``value[rows] = (1 + δ) weights @ value[known]``, averaged over what the noise may be."""
    expected = pairs.weights @ points.value[pairs.known]
    seen = points.value[pairs.rows] - expected
    everyone = np.concatenate([pairs.rows, pairs.known])
    mixing = np.hstack([np.eye(len(pairs.rows)), -pairs.weights]) * points.sigma[everyone]
    is_row = np.arange(everyone.size) < pairs.rows.size
    step = np.median(np.diff(np.sort(points.when[pairs.rows]))) or 1.0
    distance = np.abs(np.subtract.outer(points.when[everyone], points.when[everyone])) / step
    distance = np.where(np.equal.outer(is_row, is_row), distance, np.inf)
    coloured = [mixing @ (distance == 0 if c == 0 else c**distance) @ mixing.T for c in CORRELATIONS]
    noises = [(c, share) for c in CORRELATIONS for share in (WHITE_SHARES if c else (0.0,))]
    covariances = np.stack([(1 - w) * coloured[CORRELATIONS.index(c)] + w * coloured[0] for c, w in noises])
    return _averaged(*_least_squares(seen, expected, covariances), noises, len(seen) - 1, level)


def _averaged(
    centre: np.ndarray, spread: np.ndarray, likelihood: np.ndarray, noises: list[tuple[float, float]], freedom: int,
    level: float,
) -> Effect:  # fmt: skip
    """Return δ from what each noise says of it; of noise that wanders the widest limits and the largest p."""
    from scipy.special import logsumexp, stdtr

    # White noise is one hypothesis of as much room as each correlation.
    weight = likelihood - np.log([len(WHITE_SHARES) if c else 1 for c, _ in noises])
    weight = np.exp(weight - logsumexp(weight))
    correlation = float(weight @ [c * (1 - w) for c, w in noises])
    views = [weight]
    if correlation > WANDERING:
        views += list(np.eye(len(weight))[likelihood >= likelihood.max() - EXCLUDED])

    def below(x: float, view: np.ndarray) -> float:
        return float(view @ stdtr(freedom, (x - centre) / spread))

    def ends(inside: float) -> tuple[float, float]:
        each = [[_quantile(partial(below, view=view), p, centre, spread) for view in views]
                for p in ((1 - inside) / 2, (1 + inside) / 2)]  # fmt: skip
        return min(each[0]), max(each[1])

    one_sigma, tails = ends(0.682689492), [below(0.0, view) for view in views]
    p_value = max(2 * min(tail, 1 - tail) for tail in tails)
    return Effect(float(weight @ centre), (one_sigma[1] - one_sigma[0]) / 2, *ends(level), p_value, correlation)


def _least_squares(
    seen: np.ndarray, expected: np.ndarray, covariances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return estimate, its scale and the log of the restricted likelihood for each of the covariances."""
    n = len(seen)
    least = 1e-10 * np.trace(covariances, axis1=1, axis2=2) / n  # keeps nearly singular ones apart from zero
    root = np.linalg.cholesky(covariances + least[:, None, None] * np.eye(n))
    both = np.linalg.solve(root, np.broadcast_to(np.column_stack([seen, expected]), (len(root), n, 2)))
    y, x = both[:, :, 0], both[:, :, 1]
    information = (x**2).sum(axis=1)
    if not (information > 0).all():
        raise ValueError("align.beam_damage: the reference spot does not change from origin; choose another origin=")
    estimate = (x * y).sum(axis=1) / information
    rest = ((y - estimate[:, None] * x) ** 2).sum(axis=1)
    rest = np.maximum(rest, np.finfo(float).tiny)
    halves = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    likelihood = -halves - np.log(information) / 2 - (n - 1) / 2 * np.log(rest)
    return estimate, np.sqrt(rest / (n - 1) / information), likelihood


def _quantile(below: Any, p: float, centre: np.ndarray, spread: np.ndarray) -> float:
    from scipy.optimize import brentq

    reach = 10.0
    while True:
        low, high = (centre - reach * spread).min(), (centre + reach * spread).max()
        if low == high:
            return float(low)
        if below(low) <= p <= below(high):
            return float(brentq(lambda x: below(x) - p, low, high, xtol=1e-12 * max(abs(low), abs(high))))
        reach *= 10


def _result(
    labels: list[Any], last: np.ndarray, reference: Any, others: list[Any], found: list[Effect], counts: list[int],
    level: float,
) -> xr.Dataset:  # fmt: skip
    dose_of = dict(zip(labels, last.tolist(), strict=True))

    def over(values: Any, units: str, long_name: str) -> xr.Variable:
        return quantity("spot", np.asarray(values), units, long_name)

    per_cent = f"{100 * level:g} %"
    return xr.Dataset(
        {
            "effect": over([one.value for one in found], "1", "relative effect at equal charge"),
            "effect_sigma": over([one.sigma for one in found], "1", "σ of the effect"),
            "effect_low": over([one.low for one in found], "1", f"lower limit of the effect, {per_cent}"),
            "effect_high": over([one.high for one in found], "1", f"upper limit of the effect, {per_cent}"),
            "p_value": over(_holm([one.p_value for one in found]), "1", "probability of such an effect by chance"),
            "n_frames": over(counts, "1", "frames matched"),
            "dose": over([dose_of[label] for label in others], "Gy", "dose of the spot, upper bound"),
            "dose_reference": over([dose_of[reference]] * len(others), "Gy", "dose of the reference, upper bound"),
            "noise_correlation": over(
                [one.correlation for one in found], "1", "correlation of the noise from frame to frame of a spot"
            ),
        },
        {"spot": over(others, "1", "spot")},
        {"reference": reference if isinstance(reference, (int, float)) else str(reference), "level": level},
    )


def _holm(p_values: list[float]) -> np.ndarray:
    """Return p values of several tests after Holm (1979): the chance of any false alarm stays what it says."""
    values = np.array(p_values)
    order = np.argsort(values)
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    result = np.empty_like(values)
    result[order] = np.minimum(raised, 1.0)
    return result


def _statement(result: xr.Dataset, of: str, charge: str, between: str, reference: Any, level: float) -> str:
    told = []
    for spot in result["spot"].values:
        one = result.sel(spot=spot)
        effect, low, high = (100 * float(one[f"effect{end}"]) for end in ("", "_low", "_high"))
        told.append(
            f"{of} of {between} {spot} at {as_gray(float(one['dose']))} is {effect:+.2g} % ({100 * level:g} % limits "
            f"{low:+.2g} to {high:+.2g} %, p = {float(one['p_value']):.2g}, {int(one['n_frames'])} frames)"
        )
    least = as_gray(float(result["dose_reference"][0]))
    return f"beam damage at equal {charge} against {between} {reference} at {least}: " + "; ".join(told)
