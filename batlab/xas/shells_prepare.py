"""From datasets, shells and parameters to a fit's problem: grids, tables and numbers known of each spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError
from batlab.schema import require
from batlab.xas.paths import PATH_UNITS
from batlab.xas.shells_parameters import FACTS, Line, Plan, Shell, Variable
from batlab.xas.shells_solve import Problem, Spectrum
from batlab.xas.shells_transform import Comparison, Settings

NAME = "xas.fit_shells"
UNEVEN = 1e-6  # 1/angstrom; how far the step in k may stray


@dataclass(frozen=True)
class Work:
    """All that a fit needs."""

    series: list[xr.Dataset]
    shells: list[list[Shell]]  # one list, or one for each dataset
    lines: list[list[Line]]  # the same, made ready
    owners: np.ndarray  # (spectrum,): whose dataset
    problem: Problem
    spectra: list[Spectrum]
    noise: list[list[tuple[float, float]]]  # (spectrum, power of k): epsilon_k, epsilon_r
    is_joint: bool

    @property
    def settings(self) -> Settings:
        return self.problem.comparison.settings

    @property
    def has_frames(self) -> bool:
        return len(self.series) > 1 or "frame" in self.series[0]["chi"].dims

    def told_paths(self) -> list[str]:
        """Return each shell as a short text for the history."""
        result = []
        for shells, lines in zip(self.shells, self.lines, strict=True):
            for shell, line in zip(shells, lines, strict=True):
                given = {name: getattr(shell, name) for name in PATH_UNITS}
                stated = [f"{name}={value}" for name, value in given.items() if value not in (None, 0.0)]
                result.append(f"{line.label}: {', '.join(stated)}")
        return result


def prepare(
    given: xr.Dataset | Sequence[xr.Dataset],
    paths: Shell | Sequence[Shell] | Sequence[Sequence[Shell]],
    parameters: Mapping[str, float | str | Variable],
    settings: Settings,
    epsilon: float | None,
    together: bool,
) -> Work:
    """Check everything and make the problem; see `fit_shells` for what is refused."""
    series = [given] if isinstance(given, xr.Dataset) else list(given)
    k, chi, owners = _chi(series)
    shells = _shells(paths, len(series))
    lines = [[Line(shell, i) for i, shell in enumerate(group)] for group in shells]
    comparison = Comparison(k, settings)
    _check_reach(comparison, [line for group in lines for line in group])
    plan = Plan(parameters, [line for group in lines for line in group], _facts(series))
    known = _known(series, plan.needed - {*plan.variables, *plan.trees, *FACTS})
    noise = [comparison.sigmas(one, epsilon) for one in chi]
    spectra = [
        Spectrum(one, lines[owner % len(lines)], told, comparison.matrix(sigma))
        for one, owner, told, sigma in zip(chi, owners, known, noise, strict=True)
    ]
    is_joint = together or len(series) > 1
    problem = Problem(plan, comparison, len(spectra) if is_joint else 1)
    return Work(series, shells, lines, owners, problem, spectra, noise, is_joint)


def _chi(series: list[xr.Dataset]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return k, chi (spectrum, k) with NaN where a dataset ends sooner, and each spectrum's dataset."""
    if not series:
        raise ValueError(f"{NAME} needs a dataset with chi, got none")
    grids, rows = [], []
    for one in series:
        if not isinstance(one, xr.Dataset) or "chi" not in one:
            held = ", ".join(map(str, getattr(one, "data_vars", []))) or type(one).__name__
            raise SchemaError(f"{NAME} needs a variable 'chi', got {held}; make it with xas.remove_background")
        require(one["chi"], NAME, "k", hint="make chi with xas.remove_background")
        dims = [dim for dim in ("frame", "k") if dim in one["chi"].dims]
        if set(dims) != set(one["chi"].dims):
            raise DimensionError(f"{NAME} needs chi over ('frame', 'k'), got {one['chi'].dims}; choose with isel")
        rows.append(np.atleast_2d(np.asarray(one["chi"].transpose(*dims).values, dtype=float)))
        grids.append(_even(np.asarray(one["k"].values, dtype=float)))
    longest = max(grids, key=len)
    for grid in grids:
        if not np.allclose(grid, longest[: len(grid)], rtol=0, atol=UNEVEN):
            raise DimensionError(f"{NAME} needs one grid in k for all datasets; use one kstep in xas.remove_background")
    chi = [np.pad(row, ((0, 0), (0, len(longest) - row.shape[1])), constant_values=np.nan) for row in rows]
    return longest, np.concatenate(chi), np.repeat(np.arange(len(rows)), [len(row) for row in rows])


def _even(k: np.ndarray) -> np.ndarray:
    if len(k) < 20 or not np.allclose(np.diff(k), k[1] - k[0], rtol=0, atol=UNEVEN) or not 0 < k[1] - k[0] <= 0.25:
        raise SchemaError(
            f"{NAME} needs chi on an even grid of at least 20 k, in steps of at most 0.25 1/angstrom, got {len(k)} "
            f"points; make it with xas.remove_background"
        )
    return k


def _shells(paths: Any, n_series: int) -> list[list[Shell]]:
    groups: list[Any] = [paths] if isinstance(paths, Shell) else list(paths)
    if groups and all(isinstance(one, Shell) for one in groups):
        return [groups]
    groups = [list(one) if isinstance(one, Sequence) and not isinstance(one, str) else [one] for one in groups]
    if not groups or not all(group and all(isinstance(one, Shell) for one in group) for group in groups):
        raise TypeError(f"paths must be xas.Shell, a list of them, or such a list for each dataset, got {paths!r:.80}")
    if len(groups) != n_series:
        raise ValueError(f"paths hold {len(groups)} lists for {n_series} datasets; give one list, or one for each")
    return groups


def _check_reach(comparison: Comparison, lines: list[Line]) -> None:
    s, k = comparison.settings, comparison.k
    if s.k_range[1] > k[-1] + UNEVEN or s.k_range[0] < k[0] - UNEVEN:
        raise ValueError(f"k_range {s.k_range} lies beyond the data, which run from {k[0]:g} to {k[-1]:g} 1/angstrom")
    last = k[comparison.used][-1]
    for line in lines:
        if last > line.table.k[-1] + UNEVEN:
            raise ValueError(
                f"the window reaches k = {last:g}, the table of path {line.label} ends at {line.table.k[-1]:g}; "
                "lower the upper end of k_range, or dk"
            )


def _facts(series: list[xr.Dataset]) -> set[str]:
    """Return the names that every dataset has a number for."""
    each = []
    for one in series:
        names = {str(n) for n, v in one.variables.items() if v.dims in ((), ("frame",)) and v.dtype.kind in "iuf"}
        each.append(names | {n for n, v in one.attrs.items() if isinstance(v, (int, float, np.number))})
    return set.intersection(*each)


def _known(series: list[xr.Dataset], names: set[str]) -> list[dict[str, float]]:
    """Return for each spectrum the numbers that expressions ask for."""
    result = []
    for one in series:
        n_frames = one["chi"].sizes.get("frame", 1)
        columns = {}
        for name in sorted(names):
            values = one[name].values if name in one.variables else one.attrs[name]
            columns[name] = np.broadcast_to(np.asarray(values, dtype=float), (n_frames,))
            if not np.isfinite(columns[name]).all():
                raise ValueError(f"{NAME}: {name!r} of the spectra must be finite numbers, got {columns[name]}")
        result += [{name: float(column[i]) for name, column in columns.items()} for i in range(n_frames)]
    return result
