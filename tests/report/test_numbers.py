"""Numbers with their σ, by the rounding that tables of constants use."""

import math

import numpy as np
import pytest

from batlab.report import with_sigma
from batlab.report._numbers import duration, moment


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (8.15823, 0.00041, "8.1582(4)"),
        # CODATA 2022: electron mass 9.109 383 7139(28) e-31 kg, neutron g factor -3.826 085 52(90)
        (-3.82608552, 0.00000090, "-3.8260855(9)"),
        (938.27208943, 0.00000029, "938.2720894(3)"),
        (1.00231, 0.00143, "1.0023(14)"),
        (561.23, 1.31, "561.2(13)"),
        (1234.0, 56.0, "1230(60)"),
        (1234.0, 156.0, "1230(160)"),
        (0.0, 0.02, "0.00(2)"),
        (2.0, 0.0995, "2.00(10)"),
        (9.9999, 0.0096, "10.000(10)"),
        (-0.00004, 0.000001, "-4.00(10)×10⁻⁵"),
        (3.2e9, 1.4e8, "3.20(14)×10⁹"),
        (12.0, math.nan, "12"),
        (12.0, 0.0, "12"),
        (math.nan, 0.1, "–"),
        (1.5e-9, math.nan, "1.5×10⁻⁹"),
    ],
)
def test_a_value_has_the_digits_that_its_sigma_allows(value, sigma, text):
    assert with_sigma(value, sigma) == text


def test_units_follow_the_number():
    assert with_sigma(90.0, 0.01, "degree") == "90.000(10)°"
    assert with_sigma(14.2, 0.02, "angstrom") == "14.20(2) Å"


def test_times():
    assert duration(29520) == "8.20 h"
    assert duration(200000) == "2.31 d"
    assert moment(np.datetime64("2026-03-01T10:00:00.4")) == "2026-03-01 10:00:00 UTC"
