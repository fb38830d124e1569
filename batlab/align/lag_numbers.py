"""The numbers of a lag: σ, interval, drift and its limit, the profile of the cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab.align.clock import Clock, dates
from batlab.align.lag_model import Quantity, correlation_of, inflation_of, integral_of
from batlab.align.lag_search import Found
from batlab.align.windows import Integral
from batlab.schema import quantity

CONFIDENCE = 0.95
STRANGEST_DRIFT = 0.05  # 1 σ; no computer's clock is off by as much: the signal does not tell
PROFILE = 81  # lags of the profile near the best
WIDTH = 5.0  # σ to both sides
SHARES = (0.25, 0.75)  # of the time between two records, to see what the moment of a switch does


class Numbers(NamedTuple):
    """Lag [s] at the reference and drift, with their σ; `shift` as the problem counts it, the noise's variance."""

    lag: float
    sigma: float
    reference: float
    drift: float
    drift_sigma: float
    drift_limit: float
    is_drift_seen: bool
    shift: np.ndarray
    noise: float
    quantile: float
    switch_sigma: float = 0.0  # of the lag [s], from switches of the current that were not recorded


def numbers_of(found: Found, with_drift: bool, floor: float) -> Numbers:
    """Return lag and drift at the moment at which they are independent of each other; an unseen drift is dropped."""
    from scipy.special import stdtrit

    well, problem, fit = found.well, found.problem, found.well.fit
    step = well.half / 16
    memory = correlation_of(fit.solution.residual)
    variance = max(fit.variance, floor)
    quantile = float(stdtrit(max(fit.degrees, 1), (1 + CONFIDENCE) / 2))
    lag, drift = problem.jacobian(fit.shift, well.rows, fit.solution, step).T
    later = float(lag @ drift / (lag @ lag))
    own = drift - later * lag  # what drift alone does
    value = limit = sigma = np.nan
    if with_drift and own @ own > 1e-9 * (drift @ drift):
        sigma = float(np.sqrt(variance * inflation_of(memory, own) / (own @ own)))
    if sigma < STRANGEST_DRIFT:
        value = float(fit.shift[1])
        limit = abs(value) + quantile * sigma
    else:
        sigma = np.nan
    is_seen = abs(value) > quantile * sigma
    shift = fit.shift
    if not is_seen:
        alone = problem.refine(np.array([fit.shift[0] + fit.shift[1] * later, 0.0]), well.rows, False, step)
        shift, lag, variance = alone.shift, alone.jacobian[:, 0], max(alone.variance, floor)
        memory = correlation_of(alone.solution.residual)
    noise = variance * inflation_of(memory, lag)
    return Numbers(
        lag=float(shift[0] + shift[1] * later),
        sigma=float(np.sqrt(noise / (lag @ lag))),
        reference=problem.reference + later,
        drift=1e6 * value,
        drift_sigma=1e6 * sigma,
        drift_limit=1e6 * limit,
        is_drift_seen=bool(is_seen),
        shift=shift,
        noise=noise,
        quantile=quantile,
    )


def loosened(found: Found, numbers: Numbers, quantities: list[Quantity]) -> Numbers:
    """Return the numbers with σ that allows for switches of the current whose moment nobody knows.

    `quantities` have these at each of `SHARES` of the time between their records. All may lie alike (at a record, as
    where a test is sampled evenly), so that their number does not help: the share is one number, even between 0 and 1.
    """
    well, problem = found.well, found.problem
    step = well.half / 16
    lag = problem.jacobian(numbers.shift, well.rows, problem.solution(numbers.shift, well.rows), step)[:, 0]
    moves = []
    for one in quantities:
        moved = replace(problem, quantity=one, integral=integral_of(one, problem.response))
        residual = moved.solution(numbers.shift, well.rows).residual
        moves.append(float(lag @ residual / (lag @ lag)))
    sigma = abs(moves[1] - moves[0]) / (SHARES[1] - SHARES[0]) / np.sqrt(12)
    return numbers._replace(sigma=float(np.hypot(numbers.sigma, sigma)), switch_sigma=float(sigma))


def profile_of(found: Found, numbers: Numbers, floor: float) -> xr.Dataset:
    """Return the cost over trial lags: finely near the best, by the frames that judge it; else as it was searched."""
    well, problem = found.well, found.problem
    moves = np.linspace(-WIDTH, WIDTH, PROFILE) * numbers.sigma
    sums = np.array([problem.solution(numbers.shift + [move, 0.0], well.rows).rss for move in moves])
    near = (sums - sums.min()) / numbers.noise
    coarse = found.sweep
    far = np.isfinite(coarse.variance) & (np.abs(coarse.lags - numbers.lag) > WIDTH * numbers.sigma)
    variance = max(well.fit.variance, floor)
    cost = (coarse.variance[far] / variance - 1) * max(well.fit.degrees, 1) * variance / numbers.noise
    lags = np.concatenate([numbers.lag + moves, coarse.lags[far]])
    order = np.argsort(lags)
    n_frames = np.concatenate([np.full(PROFILE, int(well.rows.sum())), coarse.n_frames[far]])
    told = "rise of the sum of squares above its least, over the noise's variance"
    return xr.Dataset(
        {
            "cost": quantity("lag", np.concatenate([near, np.maximum(cost, 0.0)])[order], "1", told),
            "n_frames_used": quantity("lag", n_frames[order], "1", "frames that judge the lag"),
        },
        {"lag": quantity("lag", lags[order], "s", "seconds added to the frames' clock")},
    )


def interval_of(profile: xr.Dataset, numbers: Numbers) -> tuple[float, float]:
    """Return where the cost crosses the square of the quantile, on both sides of the best."""
    lags, cost = profile["lag"].values, profile["cost"].values
    inside = np.abs(lags - numbers.lag) <= WIDTH * numbers.sigma * (1 + 1e-9)
    lags, cost, limit = lags[inside], cost[inside], numbers.quantile**2
    best = int(np.argmin(cost))
    low, high = lags[0], lags[-1]
    under = np.flatnonzero(cost[:best] > limit)
    over = best + np.flatnonzero(cost[best:] > limit)
    if under.size:
        at = under[-1]
        low = np.interp(-limit, -cost[at : at + 2], lags[at : at + 2])
    if over.size:
        at = over[0]
        high = np.interp(limit, cost[at - 1 : at + 1], lags[at - 1 : at + 1])
    more = numbers.quantile * numbers.switch_sigma
    return numbers.lag - float(np.hypot(numbers.lag - low, more)), numbers.lag + float(
        np.hypot(high - numbers.lag, more)
    )


def result_of(
    series: xr.Dataset,
    clock: Clock,
    rows: np.ndarray,
    found: tuple[Found, Numbers, xr.Dataset],
    told: dict[str, Any],
    units: str,
) -> xr.Dataset:
    """Return the Dataset that a `Lag` shows; `rows` are the frames of the problem."""
    search, numbers, profile = found
    low, high = interval_of(profile, numbers)
    scalars = {
        "offset": (numbers.lag, "s", "seconds to add to the frames' clock"),
        "offset_sigma": (numbers.sigma, "s", "1 σ of the offset"),
        "offset_low": (low, "s", "lower end of the 95 % interval"),
        "offset_high": (high, "s", "upper end of the 95 % interval"),
        "drift": (numbers.drift, "ppm", "what the frames' clock loses"),
        "drift_sigma": (numbers.drift_sigma, "ppm", "1 σ of the drift"),
        "drift_limit": (numbers.drift_limit, "ppm", "what the drift's size does not exceed, 95 %"),
    }
    result = profile.assign({name: quantity((), *one) for name, one in scalars.items()})
    result = result.assign(_frames(series, rows, search, numbers, told, units))
    kept = {name: series[name].variable for name in ("frame", "time", "exposure") if name in series}
    if "exposure" not in kept:
        kept["exposure"] = quantity("frame", clock.windows.stop - clock.windows.start, "s", "exposure")
    well = search.well
    memory = correlation_of(well.fit.solution.residual)
    swing = float(np.ptp(result["fitted"].values[np.isfinite(result["fitted"].values)]))
    zero = clock.zero
    moment = numbers.reference if zero is None else str(dates(np.array([numbers.reference]), zero)[0])
    result.attrs = told | {
        "reference": moment,
        "hour": search.hour,
        "rivals": [float(one) for one in search.rivals],
        "is_drift_seen": int(numbers.is_drift_seen),
        "n_frames": int(well.rows.sum()),
        "n_parameters": well.fit.solution.n_parameters,
        "noise": float(np.sqrt(well.fit.variance) / swing) if swing else np.nan,
        "correlation": float(memory[0]) if memory.size else 0.0,
        "inflation": float(well.inflation),
        "switch_sigma": numbers.switch_sigma,
    }
    return result.assign_coords(kept)


def _frames(
    series: xr.Dataset, rows: np.ndarray, found: Found, numbers: Numbers, told: dict[str, Any], units: str
) -> dict[str, xr.Variable]:
    """Return the signal, its fit and the quantity over all frames, NaN where a frame was not used."""
    problem, used = found.problem, found.well.rows
    fitted = problem.fitted(numbers.shift, used)
    cell = problem.quantity
    inside = problem.windows(numbers.shift, used)
    means = Integral(cell.fine_times, cell.fine_values).mean(inside)
    own = str(series[told["signal"]].attrs.get("units", "1"))

    def spread(values: np.ndarray, unit: str, long_name: str) -> xr.Variable:
        whole = np.full(series.sizes["frame"], np.nan)
        whole[rows[used]] = values
        return quantity("frame", whole, unit, long_name)

    return {
        "signal": spread(problem.signal[used], own, f"{told['signal']} of the frames used"),
        "fitted": spread(fitted, own, f"{told['signal']} as a function of {told['against']}"),
        "quantity": spread(means, units, f"mean {told['against']} in the exposure, at the lag found"),
    }
