"""What tests of components share: the gold series, read and normalised once."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("batlab_gold", Path(__file__).with_name("gold.py"))
_gold = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_gold)


@pytest.fixture(scope="session")
def gold():
    """The module of the gold series with its spectra in `spectra`."""
    _gold.spectra = _gold.normalised()
    return _gold
