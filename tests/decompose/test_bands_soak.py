"""One hundred seeds: how often the bands contain the truth."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from batlab.decompose import bands, mcr_als

_spec = importlib.util.spec_from_file_location("batlab_planted", Path(__file__).with_name("planted.py"))
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)
CLOSED, known, outside = planted.CLOSED, planted.known, planted.outside


# Where all is known but the noise, the default level of 0.95 itself means 5 of 100: a coin would decide.
@pytest.mark.soak
@pytest.mark.parametrize(
    ("constraints", "level"),
    [(CLOSED, 0.95), (known(0, 2), 0.95), (known(0, 1, 2), 0.99)],
    ids=["free", "ends known", "all known"],
)
def test_the_truth_lies_in_the_band_in_95_of_100_seeds(constraints, level):
    inside = 0
    for seed in range(100):
        given = planted.planted(seed)
        result = bands(mcr_als(given.series, 3, constraints=constraints), points=4, level=level)
        inside += outside(result, given.concentration) <= 1e-9
    assert inside >= 95, f"{inside} of 100"


@pytest.mark.soak
def test_the_truth_lies_in_the_band_of_lines_too():
    axis, spectra = planted.lines()
    inside = 0
    for seed in range(40):
        content = np.random.default_rng(1000 + seed).dirichlet([1.0, 1.0, 1.0], 60)
        given = planted.planted(seed, 3e-3, content, spectra, axis, name="r", units="angstrom")
        inside += outside(bands(mcr_als(given.series, 3, constraints=CLOSED), points=4), content) <= 1e-9
    assert inside >= 38, f"{inside} of 40"
