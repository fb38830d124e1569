"""When a cell has lost its share: seen, in a gap, or carried on by models of fading."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr

from batlab.echem.fade_models import MODELS
from batlab.echem.fading import OVER, Points, fit_all, points_of
from batlab.schema import quantity, record

FUNCTION = "echem.life"
REACH = 2.0  # of the span seen: further on nothing is said
N_DRAWS = 4000
SEED = 20191


def life(
    table: xr.Dataset,
    *,
    share: float = 0.8,
    of: float | None = None,
    variable: str = "capacity_discharge",
    over: str = "cycle",
    kinds: Sequence[str] = ("cycle",),
    level: float = 0.9,
) -> xr.Dataset:
    """Return when a capacity falls below its share, with limits.

    Seen: between the last cycle above and the first from which three in a row (or all that are left) lie below,
    straight in between. If files may be missing there, no life is given but the limits, ``status`` "in a gap". Not
    yet seen: the models of `fade` are carried on, each as often as its weight (AICc), its parameters drawn from their
    covariance; the limits are quantiles. That knows no knee to come. Beyond twice the span seen nothing is said:
    ``status`` "beyond reach", life and upper limit NaN.

    Parameters
    ----------
    table
        From `cycles`.
    share
        Of the capacity, 0 to 1.
    of
        That capacity [unit of the variable]; the largest of the first five cycles used by default.
    variable, over, kinds
        As `fade`.
    level
        Of the limits, 0 to 1.

    Returns
    -------
    xarray.Dataset
        Scalars ``life``, ``life_low``, ``life_high`` (in units of x), ``threshold``; ``status``: "seen", "in a gap",
        "carried on" or "beyond reach".

    Raises
    ------
    DimensionError, SchemaError, ValueError
        As `fade`.

    Warns
    -----
    UserWarning
        Life is carried on beyond what was seen; files are missing.

    Examples
    --------
    >>> n = np.arange(1, 301)
    >>> table = xr.Dataset({"capacity_discharge": quantity("cycle", 1.001 - 1e-3 * n, "Ah", "capacity")},
    ...                    {"cycle": quantity("cycle", n, "1", "cycle")})
    >>> round(float(life(table).life), 6)
    201.0
    """
    for name, value in (("share", share), ("level", level)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
    points = points_of(table, variable, over, kinds, FUNCTION)
    threshold = share * (float(points.y[:5].max()) if of is None else float(of))
    place = crossing(points.y < threshold)
    if place is not None:
        low, high = points.x[max(0, place - 1)], points.x[place]
        status = "in a gap" if points.is_after_gap[place] else "seen"
        fall = points.y[place - 1] - points.y[place] if place else 0.0
        at = low + (high - low) * (points.y[place - 1] - threshold) / fall if place and fall > 0 else high
        middle = np.nan if status == "in a gap" else at
    else:
        middle, low, high, status = _carried_on(points, threshold, level)
        warnings.warn(
            f"{FUNCTION}: {variable} stands at {points.y[-1]:.4g} of {threshold:.4g} at {points.x[-1]:g}; the life is "
            f"{status}: models fitted so far know no knee to come",
            UserWarning,
            stacklevel=2,
        )
    unit = OVER[over]
    numbers = {"life": (middle, "end of life"), "life_low": (low, "lower limit"), "life_high": (high, "upper limit")}
    result = xr.Dataset({name: quantity((), float(value), unit, told) for name, (value, told) in numbers.items()})
    result["threshold"] = quantity((), threshold, str(table[variable].attrs["units"]), "value at the end of life")
    result["status"] = quantity((), status, "", "how the life is known")
    result.attrs = {**table.attrs, "over": over, "share": share}
    return record(result, FUNCTION, share=share, of=of, variable=variable, over=over, kinds=kinds, level=level)


def crossing(below: np.ndarray) -> int | None:
    """Return the first place from which three in a row, or all that are left, are true.

    >>> crossing(np.array([False, True, False, True, True, True])), crossing(np.array([False, True, False]))
    (3, None)
    """
    for place in np.flatnonzero(below):
        if below[place : place + 3].all():
            return int(place)
    return None


def _carried_on(points: Points, threshold: float, level: float) -> tuple[float, float, float, str]:
    first, span = points.x[0], points.x[-1] - points.x[0]
    fits, effective = fit_all(points, list(MODELS))
    n = len(points.x)
    k = np.array([len(fit.values) + 1 for fit in fits])
    squares = np.array([max(fit.squares / n, 1e-300) for fit in fits])
    scores = effective * np.log(squares) + 2 * k + 2 * k * (k + 1) / np.maximum(effective - k - 1, 1e-3)
    weights = np.exp(-0.5 * (scores - scores.min()))
    draws = np.random.default_rng(SEED)
    counts = draws.multinomial(N_DRAWS, weights / weights.sum())
    u = np.linspace(1.0, REACH, 400)
    lives = []
    for fit, count in zip(fits, counts):
        if count:
            spread = fit.covariance * n / effective
            sets = draws.multivariate_normal(fit.values, spread, count, method="eigh")
            limits = MODELS[fit.name].limits
            if limits is not None:
                sets[:, -1] = np.clip(sets[:, -1], *limits)
            below = fit.at(u, sets) < threshold
            lives.append(np.where(below.any(axis=1), u[np.argmax(below, axis=1)], np.inf))
    ends = first + span * np.quantile(np.concatenate(lives), [0.5, 0.5 - level / 2, 0.5 + level / 2], method="nearest")
    if not np.isfinite(ends[0]):
        low = ends[1] if np.isfinite(ends[1]) else first + span * REACH
        return np.nan, float(low), np.nan, "beyond reach"
    return float(ends[0]), float(ends[1]), float(ends[2]) if np.isfinite(ends[2]) else np.nan, "carried on"
