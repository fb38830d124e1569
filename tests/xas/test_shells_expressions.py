"""Expressions between the variables of a fit: values and slopes, and what is no expression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab.xas.shells_expressions import Dual, evaluate, names_in, parse


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "().__class__", "a.b", "a[0]", "[1]", "lambda: 1", "a if b else c", "'a'",
        "a and b", "a < b", "True", "1j", "f'{a}'", "open('x')", "exp", "exp()", "exp(1, 2)", "exp(x=1)", "a; b",
        "a = 1", "a := 1", "(yield)", "einstein(1)", "a // b", "a % b", "a @ b", "~a", "not a", "", "*a", "a" * 501,
        "(" * 200, "exp(*a)", "pow(a, 2)", "(exp)(1)(2)", "a\nb", "\x00", "...",
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(text):
    values = {"a": Dual(1.0), "b": Dual(1.0)}
    with pytest.raises((ValueError, KeyError)) as caught:  # a bare function's name is an unknown name
        evaluate(parse(text, "here"), values)
    assert "here" in str(caught.value) or text == "exp"


@pytest.mark.parametrize(
    "text",
    ["a + b * c", "a - -b / c", "a ** 2 * b ** -1.5", "a ** b", "exp(-a) * sqrt(b)", "log(a) + tanh(b - c)",
     "abs(a - b)", "sin(a) * cos(b) / (1 + c)", "einstein(100 * a, 200 * b, 30 * c)", "2 ** a", "(a + b) ** 0", "+a"],
)  # fmt: skip
@settings(max_examples=15, deadline=None)
@given(point=st.tuples(*[st.floats(0.3, 3)] * 3))
def test_values_and_slopes(text, point):
    tree = parse(text, "here")

    def at(x):
        return evaluate(tree, {name: Dual(float(v), axis) for name, v, axis in zip("abc", x, np.eye(3), strict=True)})

    if "einstein" not in text:
        import math

        assert at(point).value == pytest.approx(eval(text, vars(math) | {"abs": abs} | dict(zip("abc", point))))
    if text == "abs(a - b)" and abs(point[0] - point[1]) < 1e-3:
        return
    slope = np.broadcast_to(at(point).slope, 3)
    for i in range(3):
        step = 1e-5 * np.eye(3)[i]
        numeric = (at(np.array(point) + step).value - at(np.array(point) - step).value) / 2e-5
        assert slope[i] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def test_arithmetic_without_an_answer_is_nan():
    for text in ("log(a - 2)", "1 / (a - 1)", "(a - 2) ** 0.5", "9 ** 9 ** 9 ** 9", "exp(1e9)", "einstein(-1, 2, 3)"):
        assert np.isnan(evaluate(parse(text, "here"), {"a": Dual(1.0)}).value), text


def test_names_of_an_expression():
    assert names_in(parse("sqrt(a) + einstein(temperature, b)", "here")) == {"a", "temperature", "b", "reduced_mass"}
    assert names_in(parse("einstein(1, 2, 3)", "here")) == set()
