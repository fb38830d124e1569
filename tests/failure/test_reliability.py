"""Probabilities of mechanisms against planted truth: benchmarks/bench_reliability.py, as a test."""

import sys
import tempfile
from pathlib import Path

import pytest

from batlab import failure, simulate

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
bench = pytest.importorskip("bench_reliability")
sys.path.pop(0)


def cells(n):
    structures = simulate.virtual_structures(tempfile.mkdtemp())
    return [(bench.drawn(seed), bench.evidence(bench.drawn(seed), seed, structures)) for seed in range(n)]


def test_the_calibration_error_is_that_of_its_definition():
    """Ten said 0.5 of which eight are true: 0.3; ten said 0.9, all true: 0.1; weighted alike: 0.2."""
    import numpy as np

    said = np.array([[0.5] * 10, [0.9] * 10])
    true = np.array([[True] * 8 + [False] * 2, [True] * 10])
    assert bench.calibration_error(said, true) == pytest.approx(0.2)


def test_the_error_of_doubtful_answers_is_theirs_alone():
    """0.5 said of ten of which eight are true: 0.3, whatever was said of the others."""
    import numpy as np

    said = np.array([[0.5] * 10, [0.99] * 10])
    true = np.array([[True] * 8 + [False] * 2, [False] * 10])
    assert bench.middle_error(said, true) == pytest.approx(0.3)
    assert np.isnan(bench.middle_error(said[1:], true[1:]))
    low, high = bench.interval(said, true, n=200, error=bench.middle_error)
    assert low <= 0.3 <= high


def test_the_curve_over_all_candidates_is_printed(capsys):
    seen = failure.Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0)
    bench.told([({"fatigued_phase": 0.5}, [seen])] * 3)
    said = capsys.readouterr().out
    n = len(failure.knowledge().possible(bench.MATERIALS))
    assert f"all {n} candidates" in said
    assert said.count("said 0.2 to 0.8 only") == 2


def test_twenty_cells():
    said, true, led = bench.judged(cells(20))
    assert led.mean() >= 0.8  # of 0.9, less than 0.8 of 20 has a chance of 4 %
    assert bench.calibration_error(said, true) <= 0.1


@pytest.mark.soak
def test_two_hundred_cells():
    said, true, led = bench.judged(cells(200))
    assert led.mean() >= 0.9
    assert bench.calibration_error(said, true) <= 0.1
    assert bench.interval(said, true)[1] <= 0.1
