"""Small arithmetic, stated as text and never run as code: values together with their derivatives."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from batlab.errors import did_you_mean
from batlab.xas.einstein import einstein_sigma2, einstein_slopes

LONGEST = 500  # characters; deeper nesting than this holds would exhaust the parser
WORDS = "numbers, names, + - * / **, brackets and the functions"


class Dual(NamedTuple):
    """A number and its slope along each variable (variable,); a slope of 0.0 stands for none."""

    value: float
    slope: np.ndarray | float = 0.0


# Name -> the function and its derivative, each of one number.
FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "exp": (math.exp, math.exp),
    "log": (math.log, lambda x: 1 / x),
    "sqrt": (math.sqrt, lambda x: 0.5 / math.sqrt(x)),
    "abs": (abs, lambda x: math.copysign(1.0, x)),
    "sin": (math.sin, math.cos),
    "cos": (math.cos, lambda x: -math.sin(x)),
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
}
EINSTEIN = "einstein"
KNOWN_FUNCTIONS = (*FUNCTIONS, EINSTEIN)


def parse(text: str, where: str) -> ast.expr:
    """Return the tree of an expression of numbers, names, arithmetic and `KNOWN_FUNCTIONS`.

    Raises
    ------
    ValueError
        For anything else, naming `where` it stands.

    Examples
    --------
    >>> evaluate(parse("2 * reff ** 2", "delta_r"), {"reff": Dual(3.0)}).value
    18.0
    >>> parse("__import__('os')", "sigma2 of path 0")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: sigma2 of path 0: '__import__' is no function of an expression; it may hold numbers, names, ...
    """
    if len(text) > LONGEST:
        raise ValueError(f"{where}: an expression has at most {LONGEST} characters, got {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{where}: {text!r} is no expression; {_allowed()}") from error
    _check(tree, where)
    return tree


def _allowed() -> str:
    return f"it may hold {WORDS} {', '.join(KNOWN_FUNCTIONS)}"


def _check(tree: ast.AST, where: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            if name not in KNOWN_FUNCTIONS:
                hint = did_you_mean(name, KNOWN_FUNCTIONS)
                raise ValueError(f"{where}: {name!r} is no function of an expression{hint}; {_allowed()}")
            wanted = (2, 3) if name == EINSTEIN else (1,)
            if node.keywords or len(node.args) not in wanted:
                shape = (
                    "einstein(temperature, theta) or (temperature, theta, mass)" if name == EINSTEIN else f"{name}(x)"
                )
                raise ValueError(f"{where}: write {shape}, got {ast.unparse(node)}")
        elif isinstance(node, ast.Constant):
            if type(node.value) not in (int, float):
                raise ValueError(f"{where}: {node.value!r} is no number; {_allowed()}")
        elif not isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, *_OPERATORS, ast.UAdd, ast.USub)):
            raise ValueError(f"{where}: {ast.unparse(node) or type(node).__name__!r} cannot stand here; {_allowed()}")


def names_in(tree: ast.expr) -> set[str]:
    """Return the names that an expression needs, of functions aside."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions}
    if any(isinstance(node, ast.Call) and _is_short_einstein(node) for node in ast.walk(tree)):
        found.add("reduced_mass")
    return found


def _is_short_einstein(node: ast.Call) -> bool:
    return node.func.id == EINSTEIN and len(node.args) == 2  # type: ignore[attr-defined]


def evaluate(tree: ast.AST, values: Mapping[str, Dual]) -> Dual:
    """Return value and slope; NaN where the arithmetic has no answer (log of a negative number, 1/0)."""
    try:
        return _evaluate(tree, values)
    except (ValueError, ArithmeticError):
        return Dual(math.nan)


def _evaluate(node: Any, values: Mapping[str, Dual]) -> Dual:
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Constant):
        return Dual(float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        one = _evaluate(node.operand, values)
        return Dual(-one.value, -one.slope) if isinstance(node.op, ast.USub) else one
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_evaluate(node.left, values), _evaluate(node.right, values))
    given = [_evaluate(argument, values) for argument in node.args]
    if node.func.id == EINSTEIN:
        return _einstein(*(given if len(given) == 3 else [*given, values["reduced_mass"]]))
    function, slope = FUNCTIONS[node.func.id]
    return Dual(function(given[0].value), slope(given[0].value) * given[0].slope)


def _times(a: Dual, b: Dual) -> Dual:
    return Dual(a.value * b.value, a.value * b.slope + b.value * a.slope)


def _over(a: Dual, b: Dual) -> Dual:
    return Dual(a.value / b.value, (a.slope - a.value / b.value * b.slope) / b.value)


def _power(a: Dual, b: Dual) -> Dual:
    value = math.pow(a.value, b.value)
    slope = b.value * math.pow(a.value, b.value - 1) * a.slope if b.value else 0.0 * a.slope
    if np.any(b.slope):
        slope = slope + value * math.log(a.value) * b.slope
    return Dual(value, slope)


def _einstein(temperature: Dual, theta: Dual, mass: Dual) -> Dual:
    value = einstein_sigma2(temperature.value, theta.value, mass.value)
    by_t, by_theta = einstein_slopes(temperature.value, theta.value, mass.value)
    return Dual(value, by_t * temperature.slope + by_theta * theta.slope - value / mass.value * mass.slope)


_OPERATORS: dict[type, Callable[[Dual, Dual], Dual]] = {
    ast.Add: lambda a, b: Dual(a.value + b.value, a.slope + b.slope),
    ast.Sub: lambda a, b: Dual(a.value - b.value, a.slope - b.slope),
    ast.Mult: _times,
    ast.Div: _over,
    ast.Pow: _power,
}
