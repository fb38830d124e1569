"""Names for unlabelled peaks: unique, or left open with a warning."""

import numpy as np
import pytest

from batlab import schema
from batlab.errors import DimensionError, SchemaError
from batlab.xrd import index_peaks

CUBIC = (8.2,) * 3 + (90,) * 3
HKL = ["2 2 0", "3 1 1", "4 0 0", "4 2 2"]


def nameless(table, position, **keywords):
    n_peaks = np.atleast_2d(position).shape[1]
    return table(position, 1e-3, [""] * n_peaks, "", **keywords)


@pytest.mark.parametrize("wavelength", [None, 1.5406])
def test_shifted_peaks_get_their_names(wavelength, structure, positions, table):
    peaks = nameless(table, positions(CUBIC, HKL, wavelength) * 1.002, wavelength=wavelength)
    named = schema.check(index_peaks(peaks, structure("F m -3 m", CUBIC)))
    assert named.hkl.values.tolist() == HKL
    assert set(named.phase.values) == {"sample"}
    assert peaks.hkl.values.tolist() == [""] * 4


def test_two_phases_are_named_one_after_the_other(structure, positions, table):
    foil = (4.0496,) * 3 + (90,) * 3
    both = np.concatenate([positions(CUBIC, HKL), positions(foil, ["2 2 0"]), [5.05]])
    named = index_peaks(nameless(table, both), structure("F m -3 m", CUBIC), tolerance=0.004)
    named = index_peaks(named, structure("F m -3 m", foil, "Al"), tolerance=0.004)
    assert named.hkl.values.tolist() == [*HKL, "2 2 0", ""]
    assert named.phase.values.tolist() == ["sample"] * 4 + ["Al", ""]


def test_a_peak_between_two_lines_stays_open(structure, positions, table):
    cell = (5.0, 5.06, 9.0, 90, 90, 90)
    pair = positions(cell, ["2 0 0", "0 2 0"])
    peaks = nameless(table, [pair.mean(), positions(cell, ["0 0 2"])[0]])
    with pytest.warns(UserWarning, match="1 peaks"):
        named = index_peaks(peaks, structure("P m m m", cell), tolerance=0.01)
    assert named.hkl.values.tolist() == ["", "0 0 2"]


def test_two_peaks_at_one_line_both_stay_open(structure, positions, table):
    line = positions(CUBIC, ["4 0 0"])[0]
    with pytest.warns(UserWarning, match="2 peaks"):
        named = index_peaks(nameless(table, [line * 0.998, line * 1.0022]), structure("F m -3 m", CUBIC))
    assert named.hkl.values.tolist() == ["", ""]
    named = index_peaks(nameless(table, [line * 0.9999, line * 1.006]), structure("F m -3 m", CUBIC))
    assert named.hkl.values.tolist() == ["4 0 0", ""]


def test_given_names_stay_and_are_not_given_twice(structure, positions, table):
    place = positions(CUBIC, ["4 0 0", "4 2 2"])
    peaks = table(place, 1e-3, ["4 2 2", ""], ["sample", ""])  # the user says so
    named = index_peaks(peaks, structure("F m -3 m", CUBIC))
    assert named.hkl.values.tolist() == ["4 2 2", ""]


def test_a_peak_never_seen_stays_open(structure, positions, table):
    position = np.repeat(positions(CUBIC, HKL)[None], 3, axis=0)
    position[:, 1] = np.nan
    position[0, 2] = np.nan
    named = index_peaks(nameless(table, position), structure("F m -3 m", CUBIC))
    assert named.hkl.values.tolist() == ["2 2 0", "", "4 0 0", "4 2 2"]


def test_wrong_input_is_refused(structure, positions, table):
    crystal = structure("F m -3 m", CUBIC)
    peaks = nameless(table, positions(CUBIC, HKL))
    with pytest.raises(ValueError, match="tolerance"):
        index_peaks(peaks, crystal, tolerance=0.5)
    with pytest.raises(DimensionError, match="peak"):
        index_peaks(peaks.isel(peak=0), crystal)
    peaks.attrs = {"axis": "two_theta"}
    with pytest.raises(SchemaError, match="wavelength"):
        index_peaks(peaks, crystal)
