"""What a fit of scattering paths varies: variables, constants and constraints, and what each path makes of them."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np

from batlab import schema
from batlab.errors import did_you_mean
from batlab.xas.paths import PATH_UNITS, PathSource, PathTable
from batlab.xas.shells_expressions import KNOWN_FUNCTIONS, Dual, evaluate, names_in, parse

FACTS = ("reff", "degen", "nleg", "reduced_mass")  # what an expression may ask of the path it belongs to
TAKEN = (
    *("chi", "chi_model", "chi_r_real", "chi_r_imag", "chi_r_mag", "chi_r_model_real", "chi_r_model_imag"),
    *("chi_r_model_mag", "window", "chi2", "chi2_reduced", "r_factor", "n_independent", "epsilon_k", "epsilon_r"),
    *("status", "k", "r", "frame", "path", "time", "energy"),
)


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A number that the fit varies: start value, bounds, unit.

    Parameters
    ----------
    value
        Where the fit starts.
    low, high
        Bounds; infinite if not given. A result at a bound has no σ, and the fit warns of it.
    shared
        With several spectra fitted together: one value for all (default), or one for each.
    units
        For the report; by default those of the path parameter that it stands for.

    Examples
    --------
    >>> Variable(value=0.003, low=0).high
    inf
    """

    value: float
    low: float = -np.inf
    high: float = np.inf
    shared: bool = True
    units: str = ""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.value) and self.low < self.high and self.low <= self.value <= self.high):
            raise ValueError(
                f"a variable starts within its bounds, got {self.value:g} in {self.low:g} to {self.high:g}"
            )


@dataclass(frozen=True)
class Shell:
    """A scattering path in a fit, and what its parameters are: numbers, or expressions of the fit's parameters.

    Parameters
    ----------
    path
        A ``feffNNNN.dat``, or what ``io.open`` made of it.
    s02, degen, delta_e0, delta_r, sigma2, third, fourth, ei
        As in `path_chi`; a number, or text such as ``"amp"``, ``"expansion * reff"``, ``"sqrt(2) * ss2"``,
        ``"einstein(temperature, theta)"``. In it stand parameters of the fit; ``reff``, ``degen``, ``nleg`` and
        ``reduced_mass`` of this path; any number that the spectrum has over ``frame`` or as an attribute
        (``temperature``); ``+ - * / **``; and ``exp log sqrt abs sin cos tanh`` and ``einstein(T, theta)``, which takes
        this path's reduced mass unless a third argument gives one. The text is parsed, never run. N S0² is one number:
        leave one of `degen` and `s02` fixed.
    label
        For the report; by default the atoms and the length.

    Examples
    --------
    >>> Shell("feff0001.dat", s02="amp", delta_r="expansion * reff", sigma2="einstein(temperature, theta)").third
    0.0
    """

    path: PathSource
    s02: float | str = 1.0
    degen: float | str | None = None
    delta_e0: float | str = 0.0
    delta_r: float | str = 0.0
    sigma2: float | str = 0.0
    third: float | str = 0.0
    fourth: float | str = 0.0
    ei: float | str = 0.0
    label: str = ""


class Line:
    """One shell made ready: its table, and a tree for each of its parameters."""

    def __init__(self, shell: Shell, index: int) -> None:
        self.table = PathTable(shell.path)
        self.label = shell.label or self.table.label
        self.facts = {name: Dual(self.table.facts[name]) for name in FACTS}
        self.trees: dict[str, ast.expr] = {}
        for name in PATH_UNITS:
            given = getattr(shell, name)
            given = self.table.facts["degen"] if name == "degen" and given is None else given
            self.trees[name] = tree_of(given, f"{name} of path {index} ({self.label})")

    def values(self, known: Mapping[str, Dual]) -> dict[str, Dual]:
        """Return each path parameter for the values of the fit's parameters."""
        scope = {**known, **self.facts}
        return {name: evaluate(tree, scope) for name, tree in self.trees.items()}


def tree_of(given: float | str, where: str) -> ast.expr:
    """Return a number or text as a tree."""
    if isinstance(given, str):
        return parse(given, where)
    if isinstance(given, bool) or not isinstance(given, (int, float, np.number)) or not np.isfinite(given):
        raise ValueError(f"{where} must be a finite number or an expression, got {given!r}")
    return ast.Constant(float(given))


class Plan:
    """The parameters of a fit, in the order in which they can be worked out."""

    def __init__(
        self, parameters: Mapping[str, float | str | Variable], lines: Sequence[Line], facts: set[str]
    ) -> None:
        self.variables: dict[str, Variable] = {}
        self.trees: dict[str, ast.expr] = {}
        for name, given in parameters.items():
            _check_name(name)
            if isinstance(given, str):
                self.trees[name] = parse(given, f"parameter {name!r}")
            elif isinstance(given, Variable):
                self.variables[name] = given
            else:
                self.variables[name] = Variable(value=_number(name, given))
        if not self.variables:
            raise ValueError("parameters must hold a number or a Variable to vary, got none")
        self.order = self._order(facts)
        self.needed = self._needed(lines, facts)
        self.units = self._units(lines)

    def _order(self, facts: set[str]) -> list[str]:
        mine = {*self.variables, *self.trees}
        needs = {name: names_in(tree) for name, tree in self.trees.items()}
        for name, wanted in needs.items():
            _known(wanted, mine | facts, f"parameter {name!r}")
        try:
            return [name for name in TopologicalSorter(needs).static_order() if name in self.trees]
        except CycleError as error:
            raise ValueError(f"parameters define each other in a circle: {' -> '.join(error.args[1])}") from None

    def _needed(self, lines: Sequence[Line], facts: set[str]) -> set[str]:
        """Return all names that paths and constraints use; refuse the unknown and the unused."""
        mine = {*self.variables, *self.trees}
        used: set[str] = set()
        for i, line in enumerate(lines):
            for name, tree in line.trees.items():
                wanted = names_in(tree)
                _known(wanted, mine | facts | set(FACTS), f"{name} of path {i} ({line.label})")
                used |= wanted
        for name in reversed(self.order):
            used |= names_in(self.trees[name]) if name in used else set()
        idle = [name for name in self.variables if name not in used]
        if idle:
            raise ValueError(f"no path depends on {', '.join(map(repr, idle))}; use it in a Shell, or leave it out")
        return used

    def _units(self, lines: Sequence[Line]) -> dict[str, str]:
        """Return a unit for each parameter: that stated, that of the path parameter it stands for, K for theta."""
        units = {name: variable.units for name, variable in self.variables.items() if variable.units}
        for line in lines:
            for parameter, tree in line.trees.items():
                if isinstance(tree, ast.Name):
                    units.setdefault(tree.id, PATH_UNITS[parameter])
        for tree in [tree for line in lines for tree in line.trees.values()] + list(self.trees.values()):
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and len(node.args) > 1:
                    for argument in node.args[:2]:
                        if isinstance(argument, ast.Name):
                            units.setdefault(argument.id, "K")
        return {name: units.get(name, "1") for name in (*self.variables, *self.trees)}

    def scope(self, numbers: Mapping[str, Dual], known: Mapping[str, float]) -> dict[str, Dual]:
        """Return every parameter and every number known of the spectrum, for the values of the variables."""
        scope = {name: Dual(value) for name, value in known.items()} | dict(numbers)
        for name in self.order:
            scope[name] = evaluate(self.trees[name], scope)
        return scope


def _number(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float, np.number)):
        raise ValueError(f"parameter {name!r} must be a number, a Variable or an expression, got {given!r}")
    return float(given)


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"a parameter's name must be a plain word such as 'amp', got {name!r}")
    if name in schema.UNITS:
        raise ValueError(
            f"a parameter cannot be called {name!r}, which the data model keeps for a quantity in "
            f"{schema.UNITS[name]}; choose another, e.g. {f'{name}_1'!r}"
        )
    if name in (*TAKEN, *FACTS, *KNOWN_FUNCTIONS) or name.startswith("path_") or name.endswith("_sigma"):
        raise ValueError(f"a parameter cannot be called {name!r}, the fit uses that word itself; choose another")


def _known(wanted: set[str], options: set[str], where: str) -> None:
    for name in sorted(wanted - options):
        hint = did_you_mean(name, options) or f"; known are {', '.join(sorted(options))}"
        raise ValueError(f"{where}: {name!r} is no parameter and no number of the spectrum{hint}")
