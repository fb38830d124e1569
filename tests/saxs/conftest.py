"""What tests of small angles share: curves with a known truth."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("batlab_small_angle_made", Path(__file__).with_name("made.py"))
_made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_made)


@pytest.fixture(scope="session")
def made():
    """The module that makes curves."""
    return _made
