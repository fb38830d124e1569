"""Linear combination fits: a series as known references, in which parts, how sure."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from batlab.decompose.lcf_fit import Fit, Problem, fit, repeats
from batlab.decompose.lcf_shift import best_shift
from batlab.decompose.lcf_table import limits_of, masked, point_weights, references_of
from batlab.decompose.table import Table, as_table
from batlab.schema import quantity, record

MOST_COMBINATIONS = 5000
POOR = 1000.0  # condition number of the references from which weights are doubtful


def lcf(
    series: xr.DataArray | xr.Dataset,
    references: Mapping[str, Any] | xr.DataArray | xr.Dataset,
    *,
    of: str | None = None,
    bounds: Any = (0.0, 1.0),
    sum_to_one: bool = True,
    window: tuple[float, float] | None = None,
    weights: Any = None,
    energy_shift: float | None = None,
    combinations: int | tuple[int, int] | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> xr.Dataset:
    """Fit every spectrum of a series as a sum of references.

    Least squares with weights in a box and, if wished, of sum 1: the exact minimum for every frame, all frames at once.
    The noise is judged by the misfit of each frame, ``s² = χ² / (points - free weights)``, so that σ and limits suppose
    that residuals are independent from point to point; where they are not (interpolated data, a reference that is
    missing), all of them are too small.

    Parameters
    ----------
    series
        Over (frame, axis), or one spectrum over the axis. NaN is left out, frame by frame.
    references
        ``{"foil": spectrum, …}`` or a table whose rows are references (over ``frame`` or ``component``), on exactly
        the axis of the series.
    of
        Variable of the Datasets, ``"mu_norm"``.
    bounds
        (low, high) of every weight, ``None`` for none, or ``{"foil": (low, high), …}`` (those not named: 0 to 1).
    sum_to_one
        Whether the weights of a frame sum to exactly 1.
    window
        (first, last) value of the axis that is fitted; by default all.
    weights
        Of the points, over the axis or (frame, axis), such as ``1 / sigma**2``; NaN, zero and less leave a point out.
    energy_shift
        Largest shift of a reference, in units of the axis: one shift a reference, common to the whole series, is
        found with the weights. Positive shifts move the reference to larger values. By default none.
    combinations
        n or (fewest, most): fit all subsets of up to n references and rank them by χ²/dof over the series.
    bootstrap
        Number of repeats with residuals drawn anew, 0 or at least 20; 200 for σ, 2000 for limits.
    seed
        Of the drawing.
    level
        Of the limits, 0 to 1.

    Returns
    -------
    xarray.Dataset
        ``concentration`` (frame, component) with ``concentration_sigma`` (NaN at a bound),
        ``concentration_low``, ``concentration_high``: where χ² has grown by z² s² (z the two-sided quantile of the
        level), the other free weights following: ± z σ inside the bounds, cut off there; at a bound that bound and a
        one-sided limit. ``at_bound`` (-1, 0, 1), ``r_factor`` (Σ residual² / Σ data²), ``chi2_reduced``, ``total``
        (frame), ``fitted`` (frame, axis), ``spectra`` (component, axis) as used. With `energy_shift`
        ``reference_shift`` (component; 0 for one that is not used) and its σ; with `bootstrap` ``bootstrap_spread``,
        ``bootstrap_low``, ``bootstrap_high``. With `combinations` all but ``spectra`` and ``fitted`` (those of the
        best) run over ``combination`` too, best first, with its ``references`` named and its ``score``; references not
        in a subset are NaN.

    Raises
    ------
    DimensionError
        Axes that differ, or no table.
    ValueError
        Bounds that no weights keep, a window without points, options out of range.

    Warns
    -----
    UserWarning
        References that can hardly be told apart (condition number above 1000); a shift at its limit; missing points.

    Notes
    -----
    For Gaussian noise the limits cover the truth with at least `level`, also where it lies at or near a bound.
    Residuals drawn anew (`bootstrap`) have their mean taken off and the size s.

    Examples
    --------
    >>> x = np.linspace(0, 1, 50)
    >>> pure = {"rise": xr.DataArray(x, dims="energy"), "step": xr.DataArray((x > 0.5) * 1.0, dims="energy")}
    >>> fitted = lcf(0.25 * pure["rise"] + 0.75 * pure["step"], pure)
    >>> fitted.concentration.values.round(6).tolist()
    [0.25, 0.75]
    """
    table = as_table(series, of, "decompose.lcf")
    names, values = references_of(references, of, table)
    lower, upper = limits_of(bounds, names)
    _refuse_options(level, bootstrap, energy_shift, seed)
    problem, use = _problem(table, values, window, weights, energy_shift, lower, upper, sum_to_one)
    warn_if_alike(problem, names)
    subsets = _subsets(combinations, len(names))
    parts = []
    for subset in subsets:
        own = replace(
            problem, references=problem.references[:, subset], lower=lower[subset], upper=upper[subset]
        )  # fmt: skip
        if not sum_to_one or own.lower.sum() <= 1.0 + 1e-12 <= own.upper.sum() + 2e-12:
            parts.append(
                _one(own, subset, names, values[subset], table.axis, use, energy_shift, bootstrap, seed, level)
            )
    if not parts:
        raise ValueError("decompose.lcf: no combination of references can sum to 1 within its bounds; widen bounds=")
    result = _result(table, names, values, use, parts, combinations is not None)
    result.attrs |= {"sum_to_one": int(sum_to_one), "level": level, "n_points": int(use.sum())}
    return record(
        result, "decompose.lcf", of=table.name, references=names, bounds=bounds, sum_to_one=sum_to_one, window=window,
        weights=weights, energy_shift=energy_shift, combinations=combinations, bootstrap=bootstrap, seed=seed,
        level=level,
    )  # fmt: skip


def warn_if_alike(problem: Problem, names: list[str]) -> None:
    """Warn with the condition number where references, each scaled to one size, can hardly be told apart."""
    size = np.linalg.norm(problem.references, axis=0)
    scaled = problem.references[:, size > 0] / size[size > 0]
    kept = [name for name, one in zip(names, size) if one > 0]
    condition = float(np.linalg.cond(scaled)) if len(kept) > 1 else 1.0
    if not condition > POOR:
        return
    alike = np.abs(scaled.T @ scaled) - 2 * np.eye(len(kept))
    i, j = np.unravel_index(np.argmax(alike), alike.shape)
    warnings.warn(
        f"decompose.lcf: the references have the condition number {condition:.3g}; {kept[min(i, j)]!r} and "
        f"{kept[max(i, j)]!r} are the most alike. Their weights cannot be told apart: leave one out",
        UserWarning,
        stacklevel=3,
    )


def _refuse_options(level: float, bootstrap: int, energy_shift: float | None, seed: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    if bootstrap != 0 and (isinstance(bootstrap, bool) or int(bootstrap) != bootstrap or bootstrap < 20):
        raise ValueError(f"bootstrap must be 0 or a whole number of at least 20 repeats, got {bootstrap!r}")
    if energy_shift is not None and not (np.isfinite(energy_shift) and energy_shift > 0):
        raise ValueError(f"energy_shift must be the largest shift allowed, positive, or None, got {energy_shift!r}")
    if isinstance(seed, bool) or int(seed) != seed or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")


def _problem(
    table: Table, values: np.ndarray, window: Any, weights: Any, energy_shift: float | None,
    lower: np.ndarray, upper: np.ndarray, sum_to_one: bool,
) -> tuple[Problem, np.ndarray]:  # fmt: skip
    x = table.axis
    use = np.isfinite(values).all(axis=0)
    if energy_shift is not None:
        reach = x[use]
        if len(reach):
            use &= (x >= reach[0] + energy_shift) & (x <= reach[-1] - energy_shift)
    if window is not None:
        first, last = window
        if not first < last:
            raise ValueError(f"window must be (first, last) along {table.axis_name!r}, got {window!r}")
        use &= (x >= first) & (x <= last)
    of_points = point_weights(weights, table)
    use &= (of_points > 0).any(axis=0) & np.isfinite(table.values).any(axis=0)
    if use.sum() <= len(values):
        raise ValueError(
            f"decompose.lcf has {use.sum()} points of {table.axis_name!r} for {len(values)} references; widen the "
            f"window (the axis runs from {x[0]:g} to {x[-1]:g}), or check where references and series are missing"
        )
    spectra, of_points = masked(table.values[:, use], of_points[:, use])
    total = 1.0 if sum_to_one else np.inf
    return Problem(spectra, np.ascontiguousarray(values[:, use].T), of_points, lower, upper, total), use


def _subsets(combinations: Any, n: int) -> list[list[int]]:
    if combinations is None:
        return [list(range(n))]
    fewest, most = (1, combinations) if np.ndim(combinations) == 0 else combinations
    if isinstance(most, bool) or int(fewest) != fewest or int(most) != most or not 1 <= fewest <= most <= n:
        raise ValueError(f"combinations must be a number from 1 to {n} or (fewest, most), got {combinations!r}")
    sizes = range(int(fewest), int(most) + 1)
    subsets = [list(one) for size in sizes for one in itertools.combinations(range(n), size)]
    if len(subsets) > MOST_COMBINATIONS:
        raise ValueError(f"{len(subsets)} combinations, at most {MOST_COMBINATIONS}; allow fewer references at a time")
    return subsets


def _one(
    problem: Problem, subset: list[int], names: list[str], values: np.ndarray, x: np.ndarray, use: np.ndarray,
    energy_shift: float | None, bootstrap: int, seed: int, level: float,
) -> dict[str, Any]:  # fmt: skip
    """Return what is known of one subset of references."""
    told: dict[str, Any] = {"subset": subset}
    if energy_shift is not None:
        own = [names[i] for i in subset]
        problem, told["shift"], told["shift_sigma"] = best_shift(problem, x, values, x[use], energy_shift, own)
    told["spectra"], told["fit"] = problem.references.T, fit(problem, level)
    if bootstrap:
        told["bootstrap"] = repeats(problem, told["fit"], int(bootstrap), int(seed), level)
    done: Fit = told["fit"]
    used = (np.broadcast_to(problem.weights, problem.spectra.shape) > 0).sum(axis=1)
    room = np.nansum(np.where(done.state == 2, 0, used - (len(subset) - problem.is_tied)))
    told["score"] = float(np.nansum(done.chi2) / room) if room > 0 else np.inf
    return told


def _result(
    table: Table, names: list[str], values: np.ndarray, use: np.ndarray, parts: list[dict], many: bool
) -> xr.Dataset:
    parts = sorted(parts, key=lambda part: part["score"])
    frame, axis = table.dims
    n_frames, n_parts, m = len(table.values), len(parts), len(names)
    extra = ("combination",) if many else ()

    def of_weights(pick: Any, units: str, long_name: str, kind: type = float) -> xr.Variable:
        full: np.ndarray = np.full((n_frames, n_parts, m), np.nan if kind is float else 0, kind)
        for number, part in enumerate(parts):
            full[:, number, part["subset"]] = pick(part)
        return quantity((frame, *extra, "component"), full if many else full[:, 0], units, long_name)

    def of_frames(pick: Any, long_name: str) -> xr.Variable:
        full = np.stack([pick(part) for part in parts], axis=1)
        return quantity((frame, *extra), full if many else full[:, 0], "1", long_name)

    fields = {"": ("weights", "part of the reference"), "_sigma": ("sigma", "σ of the part"),
              "_low": ("low", "lower limit of the part"), "_high": ("high", "upper limit of the part")}  # fmt: skip
    data = {
        f"concentration{end}": of_weights(lambda part, name=name: getattr(part["fit"], name), "1", told)
        for end, (name, told) in fields.items()
    }
    data["at_bound"] = of_weights(lambda part: part["fit"].at_bound, "1", "bound at which the part stands", np.int8)
    data["r_factor"] = of_frames(lambda part: part["fit"].r_factor, "R-factor")
    data["chi2_reduced"] = of_frames(lambda part: part["fit"].chi2_reduced, "χ² over degrees of freedom")
    data["total"] = of_frames(lambda part: part["fit"].weights.sum(axis=1), "sum of the parts")
    if "bootstrap" in parts[0]:
        for place, end in enumerate(("spread", "low", "high")):
            long_name = f"bootstrap: {('standard deviation', 'lower limit', 'upper limit')[place]} of the part"
            data[f"bootstrap_{end}"] = of_weights(lambda part, place=place: part["bootstrap"][place], "1", long_name)
    if "shift" in parts[0]:
        for name, long_name in (("shift", "shift of the reference"), ("shift_sigma", "σ of the shift")):
            full = np.full((n_parts, m), np.nan)
            for number, part in enumerate(parts):
                full[number, part["subset"]] = part[name]
            units = str(table.along_axis[axis].attrs.get("units", "1")) if axis in table.along_axis else "1"
            data[f"reference_{name}"] = quantity((*extra, "component"), full if many else full[0], units, long_name)
    fitted, spectra = np.full((n_frames, use.size), np.nan), values.copy()
    fitted[:, use] = parts[0]["fit"].fitted
    spectra[np.ix_(parts[0]["subset"], np.flatnonzero(use))] = parts[0]["spectra"]
    best = " of the best combination" if many else ""
    data["fitted"] = quantity((frame, axis), fitted, table.units, f"fitted {table.long_name}{best}")
    data["spectra"] = quantity(("component", axis), spectra, table.units, f"references as used{best}")
    result = table.result(data)
    result = result.assign_coords(reference=quantity("component", np.array(names), "1", "reference"))
    if many:
        told = [" + ".join(names[i] for i in part["subset"]) for part in parts]
        result = result.assign_coords(
            combination=quantity("combination", np.arange(n_parts), "1", "place among the combinations"),
            references=quantity("combination", np.array(told), "1", "references of the combination"),
            score=quantity("combination", [part["score"] for part in parts], "1", "χ² over degrees of freedom, series"),
        )
    return result
