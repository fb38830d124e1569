"""What every kernel owes: an oracle of the same name and signature, a size that can be read, a guard, a figure."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import batlab._kernels
from batlab._kernels import reference

SOURCES = sorted(Path(batlab._kernels.__file__).parent.glob("*.pyx"))
MODULES = {path.stem: import_module(f"batlab._kernels.{path.stem}") for path in SOURCES}
# Checks of arguments that a kernel's `def` leaves to a function of its own.
BESIDE = {"check"}


def compiled(module):
    """Return name -> function of the module's public, compiled functions."""
    members = {name: getattr(module, name) for name in vars(module) if not name.startswith("_")}
    return {name: one for name, one in members.items() if type(one).__name__ in ("cython_function_or_method",
            "fused_cython_function", "_FusedCythonFunction") and name not in BESIDE}  # fmt: skip


KERNELS = {name: function for module in MODULES.values() for name, function in compiled(module).items()}


def test_there_are_kernels():
    assert KERNELS


@pytest.mark.parametrize("name", reference.__all__)
def test_every_oracle_has_its_kernel_with_the_same_signature(name):
    ours, oracle = inspect.signature(KERNELS[name]).parameters, inspect.signature(getattr(reference, name)).parameters
    assert list(ours) == list(oracle)
    assert [one.default for one in ours.values()] == [one.default for one in oracle.values()]
    assert list(ours)[-1] == "n_threads"


def test_every_kernel_has_its_oracle():
    assert set(KERNELS) == set(reference.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_kernel_holds_one_idea(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    loops = [line for line in text.splitlines() if "prange(" in line and "import" not in line]
    assert loops
    for loop in loops:
        assert all(word in loop for word in ('schedule="static"', "num_threads=", "nogil=True"))
    named = re.findall(r"benchmarks/bench_\w+\.py", text)
    assert named
    assert all((Path(__file__).parents[2] / name).is_file() for name in named)


@pytest.mark.parametrize("name", reference.__all__)
def test_none_is_refused_where_an_array_is_due(name):
    required = [one for one in inspect.signature(KERNELS[name]).parameters.values() if one.default is one.empty]
    with pytest.raises((TypeError, ValueError)):
        KERNELS[name](*(None for _ in required))


@pytest.mark.parametrize("name", reference.__all__)
def test_a_wrong_number_of_dimensions_is_refused(name):
    required = [one for one in inspect.signature(KERNELS[name]).parameters.values() if one.default is one.empty]
    with pytest.raises((TypeError, ValueError)):
        KERNELS[name](*(np.zeros((1, 1, 1, 1)) for _ in required))
