"""One way to resolve a series into components: settings, and what came out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from batlab import decompose
from batlab.dashboards.component_data import ComponentData
from batlab.decompose.mcr_result import MCRResult


@dataclass(frozen=True)
class Fit:
    """Settings of a fit. `frozen` names components, and the fit that each one's spectrum was taken from."""

    n_components: int
    init: str
    non_negative: tuple[str, ...]
    closure: float | None
    unimodal: tuple[int, ...]
    frozen: tuple[tuple[int, Fit], ...] = ()

    @property
    def start(self) -> Fit | None:
        """The fit from whose spectra this one starts, so that components keep their numbers; None: from `init`."""
        last = self.frozen[-1][1] if self.frozen else None
        return last if last is not None and last.n_components == self.n_components else None

    def sources(self) -> list[Fit]:
        """Return the fits that this one needs, each after those that it needs itself."""
        found: list[Fit] = []
        for _number, source in self.frozen:
            found += [one for one in (*source.sources(), source) if one not in found]
        return found


@dataclass(frozen=True, eq=False)
class Solved:
    """What came out of a fit: `result`, or the `problem`; `doubts` are its warnings."""

    result: MCRResult | None
    doubts: tuple[str, ...] = ()
    problem: str = ""


class Solver:
    """Fits of one table, each computed once."""

    def __init__(self, data: ComponentData) -> None:
        self.data = data
        self._known: dict[Fit, Solved] = {}
        self._bands: dict[Fit, tuple[Solved, dict[str, Any]]] = {}

    def solve(self, fit: Fit) -> Solved:
        """Return what the settings lead to; an error is told, not raised."""
        if fit not in self._known:
            self._known[fit] = _told(lambda: self._fitted(fit))
        return self._known[fit]

    def _fitted(self, fit: Fit) -> MCRResult:
        known = {number: self._spectra(source).sel(component=number, drop=True) for number, source in fit.frozen}
        constraints = decompose.Constraints(
            non_negative=fit.non_negative, closure=fit.closure, unimodal=fit.unimodal, known_spectra=known
        )
        init = fit.init if fit.start is None else self._spectra(fit.start)
        return decompose.mcr_als(self.data.given, fit.n_components, of=self.data.of, init=init, constraints=constraints)

    def _spectra(self, fit: Fit) -> Any:
        solved = self.solve(fit)
        if solved.result is None:
            raise ValueError(solved.problem)
        return solved.result.dataset["spectra"]

    def bands(self, fit: Fit, options: dict[str, Any]) -> Solved:
        """Compute the bands of a fit; they stay known."""
        solved = self.solve(fit)
        if solved.result is None:
            return solved
        result = solved.result
        found = _told(lambda: decompose.bands(result, **options))
        if found.result is not None:
            self._bands[fit] = found, options
        return found

    def banded(self, fit: Fit) -> tuple[Solved, dict[str, Any]] | None:
        """Return the result with bands and how they were computed; None before."""
        return self._bands.get(fit)


def _told(make: Any) -> Solved:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            result, problem = make(), ""
        except (ValueError, ArithmeticError) as error:
            result, problem = None, str(error)
    doubts = tuple(dict.fromkeys(str(one.message) for one in told if issubclass(one.category, UserWarning)))
    return Solved(result, doubts, problem)
