import ast
import subprocess
import sys
from pathlib import Path

import pytest

import batlab

ROOT = Path(batlab.__file__).parent


def test_import_costs_nothing():
    code = "import sys, batlab; print(sorted({'numpy', 'xarray', 'bokeh', 'dask', 'pyFAI'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [n for n in batlab.__all__ if n != "__version__"])
def test_every_public_name_loads(name):
    assert getattr(batlab, name) is not None


def test_the_stub_lists_the_same_names():
    tree = ast.parse((ROOT / "__init__.pyi").read_text())
    stub = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert stub | {"__version__"} == set(batlab.__all__)


def test_a_misspelt_name_gets_a_hint():
    with pytest.raises(AttributeError, match="did you mean 'scattering'"):
        batlab.scatering  # noqa: B018


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert batlab.__version__ == version("batlab")


def test_nothing_prints_or_swallows():
    """House rules that no linter of ours holds: no bare ``except: pass`` anywhere in the package."""
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ExceptHandler) and all(isinstance(step, ast.Pass) for step in node.body):
                pytest.fail(f"{file}:{node.lineno} swallows an exception")
