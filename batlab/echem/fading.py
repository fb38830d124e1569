"""How a number of each cycle fades: models, their parameters with σ, a knee, and which the data prefer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.echem.fade_models import (
    LEAST_SIDE,
    MODELS,
    Fit,
    correlation,
    fit_model,
    knee_confidence,
    knee_interval,
)
from batlab.errors import SchemaError, choose
from batlab.schema import quantity, record, require

FUNCTION = "echem.fade"
OVER = {"cycle": "1", "days": "d", "throughput": "Ah"}
CRITERIA = ("aicc", "bic")
KINDS = ("cycle", "formation", "check_up", "pulse", "incomplete")
LEAST_CYCLES = 5


class Points(NamedTuple):
    """What is fitted: positions in the table, x, values, and whether cycles may be missing before each."""

    places: np.ndarray
    x: np.ndarray
    y: np.ndarray
    is_after_gap: np.ndarray

    @property
    def n_gaps(self) -> int:
        """Number of gaps between the points."""
        return int(self.is_after_gap.sum())


def fade(
    table: xr.Dataset,
    *,
    variable: str = "capacity_discharge",
    over: str = "cycle",
    models: Sequence[str] | None = None,
    kinds: Sequence[str] = ("cycle",),
    criterion: str = "aicc",
    level: float = 0.95,
) -> xr.Dataset:
    """Fit models of fading to what cycles say, and compare them.

    With n = x - first x: ``"linear"`` start - rate n; ``"sqrt"`` start - rate √n (a growing film); ``"power"``
    start - rate n^exponent; ``"exponential"`` start - rate (exp(growth n) - 1) / growth, accelerating for a positive
    growth, levelling off for a negative one; ``"two_piece"`` start - rate n, and another rate from the ``knee`` on.
    Least squares; only cycles that are there are fitted, none is interpolated.

    Residuals of neighbouring cycles agree, and n values then say as much as n (1-ρ)/(1+ρ) independent ones. ρ is taken
    from the best-fitting model's residuals; it enlarges every σ and enters both criteria,
    AICc = m ln(S/n) + 2k + 2k(k+1)/(m-k-1) and BIC = m ln(S/n) + k ln m with m that number, S the sum of squares, k
    the parameters and one for the variance. Residuals that agree because every model is wrong enlarge σ likewise.

    The knee's limits are those of its profile likelihood; ``knee_confidence`` is one minus the chance that a straight
    line with this noise gains as much by a bend anywhere. A smooth curve has no knee, and is bent by two lines all the
    same: look at ``weight``.

    Parameters
    ----------
    table
        From `cycles`.
    variable
        What fades, over ``cycle``.
    over
        ``"cycle"``, ``"days"`` since the first cycle (``time``, else ``test_time``), or ``"throughput"`` [Ah].
    models
        Some of the five; all by default.
    kinds
        Kinds of cycles used, where the table has ``kind``.
    criterion
        ``"aicc"`` or ``"bic"``: decides ``best`` and ``weight``.
    level
        Of the limits of the knee.

    Returns
    -------
    xarray.Dataset
        Over ``model`` (best first): ``aicc``, ``bic``, ``weight`` (relative likelihood, sums to 1), ``scatter`` (of
        residuals), ``n_parameters``, ``status`` ("ok" or "at bound"); over (``model``, ``cycle``): ``fit`` at the
        cycles used. Scalars ``<model>_<parameter>`` with ``_sigma``; ``knee`` with σ, ``knee_low``, ``knee_high`` in
        units of x, ``knee_confidence`` and ``knee_kind`` ("knee": fades faster afterwards; "elbow": slower).
        Over ``cycle``: the variable. Attributes ``best``, ``n_used``, ``n_effective``, ``n_gaps``, ``over``.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No table of cycles, an unknown word, fewer than five cycles.

    Warns
    -----
    UserWarning
        Files are missing between cycles: their number is not known, so numbers of cycles and throughput after a gap
        count present cycles only. Use ``over="days"``. The knee lies in such a gap: it is NaN, its limits hold the gap.

    References
    ----------
    Hurvich & Tsai, Biometrika 76, 297 (1989), doi:10.1093/biomet/76.2.297;
    Attia et al., J. Electrochem. Soc. 169, 060517 (2022), doi:10.1149/1945-7111/ac6d13 (knees).

    Examples
    --------
    >>> n = np.arange(1, 101)
    >>> loss = 1 - 1e-3 * n - 4e-3 * np.maximum(n - 60, 0) + np.random.default_rng(0).normal(0, 1e-3, 100)
    >>> table = xr.Dataset({"capacity_discharge": quantity("cycle", loss, "Ah", "capacity")},
    ...                    {"cycle": quantity("cycle", n, "1", "cycle")})
    >>> found = fade(table)
    >>> found.attrs["best"], abs(float(found.knee) - 60) < 2
    ('two_piece', True)
    """
    choose("criterion", criterion, CRITERIA)
    names = list(MODELS) if models is None else list(models)
    for name in names:
        choose("models", name, MODELS)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    points = points_of(table, variable, over, kinds, FUNCTION)
    fits, effective = fit_all(points, names)
    n = len(points.x)
    scores = {key: np.array([_score(fit, n, effective, key) for fit in fits]) for key in CRITERIA}
    order = np.argsort(scores[criterion], kind="stable")
    chosen = [fits[k] for k in order]
    relative = np.exp(-0.5 * (scores[criterion][order] - scores[criterion].min()))
    more = {
        key: quantity("model", scores[key][order], "1", f"{key.upper()}, with the effective number of values")
        for key in CRITERIA
    }
    more["weight"] = quantity("model", relative / relative.sum(), "1", "relative likelihood of the model")
    bent = next((fit for fit in fits if fit.name == "two_piece"), None)
    if bent is not None:
        more |= _knee(points, bent, effective, level, OVER[over])
    result = _table(table, variable, over, points, chosen, effective, more)
    result.attrs.update(best=chosen[0].name, criterion=criterion)
    return record(
        result, FUNCTION, variable=variable, over=over, models=models, kinds=kinds, criterion=criterion, level=level
    )


def points_of(table: xr.Dataset, variable: str, over: str, kinds: Sequence[str], function: str) -> Points:
    """Return the cycles of the wanted kinds with a value, and warn of gaps between them.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        As `fade`.
    """
    require(table, function, "cycle", hint="make the table with echem.cycles")
    choose("over", over, OVER)
    numbers = [str(name) for name, one in table.data_vars.items() if one.dims == ("cycle",) and one.dtype.kind in "fiu"]
    choose("variable", variable, numbers)
    for kind in kinds:
        choose("kinds", kind, KINDS)
    values = np.asarray(table[variable].values, dtype=float)
    x = _axis(table, over, function)
    used = np.isfinite(values) & np.isfinite(x)
    if "kind" in table:
        used &= np.isin(table["kind"].values, list(kinds))
    places = np.flatnonzero(used)
    if len(places) < LEAST_CYCLES:
        raise SchemaError(
            f"{function} needs {LEAST_CYCLES} cycles of kind {', '.join(kinds)} with {variable!r}, got {len(places)}; "
            "pass kinds= to use others"
        )
    gaps = np.cumsum(table["is_after_gap"].values) if "is_after_gap" in table else np.zeros(len(values), dtype=int)
    is_after_gap = np.concatenate([[False], np.diff(gaps[places]) > 0])
    n_gaps = int(is_after_gap.sum())
    if n_gaps and over != "days":
        warnings.warn(
            f"{function}: between the cycles lie {n_gaps} ends of files where cycles may be missing; only the "
            f"{len(places)} present ones are fitted, and {over} after a gap counts those alone: use over='days'",
            UserWarning,
            stacklevel=3,
        )
    return Points(places, x[places], values[places], is_after_gap)


def _axis(table: xr.Dataset, over: str, function: str) -> np.ndarray:
    if over == "cycle":
        return np.asarray(table["cycle"].values, dtype=float)
    if over == "throughput":
        parts = [np.nan_to_num(table[f"capacity_{half}"].values) for half in ("charge", "discharge")]
        return np.cumsum(parts[0] + parts[1])
    if "time" in table.variables:
        time = table["time"].values.astype("datetime64[ns]")
        return np.where(np.isnat(time), np.nan, (time - time[~np.isnat(time)].min()) / np.timedelta64(1, "D"))
    if "test_time" in table.variables:
        return np.asarray(table["test_time"].values, dtype=float) / 86400
    raise SchemaError(f"{function} needs 'time' or 'test_time' for over='days'; use over='cycle'")


def fit_all(points: Points, names: Sequence[str]) -> tuple[list[Fit], float]:
    """Return the fits of the models for which there are enough points, and the number of independent values."""
    span = points.x[-1] - points.x[0]
    if not span > 0:
        raise SchemaError(f"{FUNCTION} needs x that increases, got {points.x[0]:g} to {points.x[-1]:g}")
    u = (points.x - points.x[0]) / span
    fits = [fit for name in names if (fit := fit_model(name, u, points.y)) is not None]
    if not fits:
        raise SchemaError(
            f"{FUNCTION}: {len(points.x)} cycles are too few for {', '.join(names)} (two_piece needs {2 * LEAST_SIDE})"
        )
    best = min(fits, key=lambda fit: fit.squares)
    rho = correlation(points.y - best.fitted)
    return fits, len(points.x) * (1 - rho) / (1 + rho)


def _score(fit: Fit, n: int, effective: float, criterion: str) -> float:
    k = len(fit.values) + 1
    size = effective * np.log(max(fit.squares / n, 1e-300))
    if criterion == "bic":
        return float(size + k * np.log(effective))
    return float(size + 2 * k + 2 * k * (k + 1) / max(effective - k - 1, 1e-3))


def in_units(fit: Fit, span: float, inflation: float) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters and their σ in units of x instead of u."""
    scale = np.ones(len(fit.values))
    power = {"sqrt": 0.5, "power": float(fit.values[-1])}.get(fit.name, 1.0)
    scale[1] = span**-power
    jacobian = np.diag(scale)
    if fit.name == "two_piece":
        jacobian = np.diag([1.0, 1 / span, 1 / span, span])
    elif fit.name == "exponential":
        jacobian = np.diag([1.0, 1 / span, 1 / span])
    elif fit.name == "power":
        # The rate in units of x depends on the exponent too.
        jacobian[1, 2] = -np.log(span) * fit.values[1] * scale[1]
    values = np.diag(jacobian) * fit.values
    spread = np.diag(jacobian @ fit.covariance @ jacobian.T) * inflation
    return values, np.sqrt(np.maximum(spread, 0.0))


def _table(
    table: xr.Dataset,
    variable: str,
    over: str,
    points: Points,
    fits: list[Fit],
    effective: float,
    more: dict[str, xr.Variable],
) -> xr.Dataset:
    n, span = len(points.x), points.x[-1] - points.x[0]
    unit, per = str(table[variable].attrs["units"]), OVER[over]
    curves = np.full((len(fits), table.sizes["cycle"]), np.nan)
    columns: dict[str, xr.Variable] = {variable: table[variable].variable}
    for k, fit in enumerate(fits):
        curves[k, points.places] = fit.fitted
        values, sigmas = in_units(fit, span, n / effective)
        for name, value, sigma in zip(MODELS[fit.name].parameters, values, sigmas):
            if name == "knee":
                continue
            units = _unit(fit.name, name, unit, per)
            told = f"{name.replace('_', ' ')} of the {fit.name.replace('_', '-')} model"
            columns[f"{fit.name}_{name}"] = quantity((), value, units, told)
            columns[f"{fit.name}_{name}_sigma"] = quantity((), sigma, units, f"standard uncertainty of the {told}")
    columns["fit"] = quantity(("model", "cycle"), curves, unit, "fitted value")
    scatter = [np.sqrt(fit.squares / max(1, n - len(fit.values))) for fit in fits]
    columns["scatter"] = quantity("model", np.array(scatter), unit, "standard deviation of the residuals")
    columns["n_parameters"] = quantity("model", np.array([len(fit.values) for fit in fits]), "1", "fitted parameters")
    status = np.array(["at bound" if fit.at_bound else "ok" for fit in fits])
    columns["status"] = quantity("model", status, "", "whether a parameter ended at its bound")
    names = quantity("model", np.array([fit.name for fit in fits]), "", "model of fading")
    attrs = {
        **table.attrs, "variable": variable, "over": over, "n_used": n, "n_effective": float(effective),
        "n_gaps": points.n_gaps, "first_x": float(points.x[0]), "last_x": float(points.x[-1]),
    }  # fmt: skip
    return xr.Dataset(columns | more, {"cycle": table["cycle"].variable, "model": names}, attrs)


def _unit(model: str, parameter: str, unit: str, per: str) -> str:
    if parameter == "start":
        return unit
    if parameter in ("exponent",):
        return "1"
    if parameter == "knee":
        return per
    if parameter == "growth":
        return "1" if per == "1" else f"1/{per}"
    if per == "1":
        return unit
    return f"{unit}/{per}" + {"sqrt": "^0.5", "power": "^exponent"}.get(model, "")


def _knee(points: Points, bent: Fit, effective: float, level: float, unit: str) -> dict[str, xr.Variable]:
    span, first = points.x[-1] - points.x[0], points.x[0]
    u = (points.x - first) / span
    low, high = knee_interval(u, points.y, bent, effective, level)
    straight = fit_model("linear", u, points.y)
    confidence = 0.0 if straight is None else knee_confidence(straight, bent, effective)
    sigma = float(np.sqrt(bent.covariance[-1, -1] * len(u) / effective)) * span
    knee, low, high = (first + span * value for value in (bent.values[-1], low, high))
    after = min(int(np.searchsorted(points.x, knee)), len(points.x) - 1)
    if points.is_after_gap[after]:
        ends = points.x[after - 1], points.x[after]
        low, high = min(low, ends[0]), max(high, ends[1])
        warnings.warn(
            f"{FUNCTION}: the rate changes between {ends[0]:.6g} and {ends[1]:.6g}, where cycles are missing: no "
            "knee is given, only its limits",
            UserWarning,
            stacklevel=3,
        )
        knee = sigma = np.nan
    return {
        "knee": quantity((), knee, unit, "where the rate of fading changes"),
        "knee_sigma": quantity((), sigma, unit, "standard uncertainty of the knee"),
        "knee_low": quantity((), low, unit, "lower confidence limit of the knee"),
        "knee_high": quantity((), high, unit, "upper confidence limit of the knee"),
        "knee_confidence": quantity((), confidence, "1", "probability that noise about a line bends it less"),
        "knee_kind": quantity((), "knee" if bent.values[2] > 0 else "elbow", "", "knee: fades faster afterwards"),
    }
