"""The small series of series.py for the tests beside it."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("batlab_small_series", Path(__file__).with_name("series.py"))
_series = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_series)


@pytest.fixture
def make():
    """Module with ``patterns``, ``cells`` and ``peaks``."""
    return _series
