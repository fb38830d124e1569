"""The main path on a real series: LiCoVO4 over one charge and discharge, 100 patterns, from files to numbers.

What is known (see the set's row in the table of datasets): (400) alone gives a = 8.269 Å at the start, a smooth
contraction to 8.155-8.162 Å at pattern 48-49, and 8.270 Å at pattern 85; each pattern took 1140 s and the charge
ended at 15.0 h. Literature: LiCoVO4 a = 8.276 Å (Bernier et al. 1963), aluminium a = 4.0496 Å.
Patterns are counted from 1 in these words, frames from 0 in the code.
"""

import numpy as np
import pytest

import batlab as bl
from batlab import datasets, schema

pytestmark = pytest.mark.data
SECONDS = 1140.0  # a pattern
ALUMINIUM = 4.0496  # angstrom


@pytest.fixture(scope="module")
def cathode():
    return next(datasets.path("cif").glob("LiCoVO4*.cif"))


@pytest.fixture(scope="module")
def foil():
    return next(datasets.path("cif").glob("Al_*.cif"))


@pytest.fixture(scope="module")
def patterns():
    return bl.open(datasets.path("licovo4_operando") / "[0-9]*.txt")


@pytest.fixture(scope="module")
def peaks(patterns, cathode, foil):
    return schema.check(bl.curves.fit_peaks(patterns, near={"LiCoVO4": cathode, "Al": foil}))


@pytest.fixture(scope="module")
def cells(peaks, cathode):
    return schema.check(bl.xrd.refine_cell(peaks, cathode))


@pytest.fixture(scope="module")
def record():
    return bl.open(datasets.path("licovo4_operando") / "charge.txt", current_unit="uA", current_sign="voltage")


def test_the_series_is_whole(patterns):
    assert patterns.sizes["frame"] == 100
    assert patterns.sizes["two_theta"] == 3517
    assert patterns.attrs["wavelength"] == pytest.approx(1.5406)


def test_the_400_line_gives_the_known_cell(peaks, cathode):
    cells = bl.xrd.refine_cell(peaks, cathode, lines=["4 0 0"])
    assert float(cells.a[0]) == pytest.approx(8.269, abs=0.002)
    assert float(cells.a[84]) == pytest.approx(8.270, abs=0.002)
    lowest = int(cells.a.argmin("frame"))
    assert lowest + 1 in (48, 49)
    assert 8.155 - 0.002 < float(cells.a[lowest]) < 8.162 + 0.002
    assert 2e-4 < float(cells.a_sigma[0]) < 2e-3


def test_all_lines_give_the_known_cell_at_both_ends(cells):
    assert np.isfinite(cells.a).all()
    for frame, known in ((0, 8.269), (84, 8.270)):
        assert float(cells.a[frame]) == pytest.approx(known, abs=0.002)
        assert 2e-4 < float(cells.a_sigma[frame]) < 2e-3


def test_all_lines_turn_at_the_end_of_charge(cells):
    """The lowest cell of all lines lies above that of (400), which sits on a bump at 44.5° that never moves."""
    lowest = int(cells.a.argmin("frame"))
    assert lowest + 1 in (47, 48, 49)
    assert 8.16 < float(cells.a[lowest]) < 8.19
    assert float(cells.a_sigma[lowest]) < 0.01


def test_a_line_that_never_moves_is_not_taken_for_311(peaks, cells):
    """At 36.0° something of the cell (lithium 110) covers the moving (311) with a sharp line that stays."""
    line = int(np.flatnonzero((peaks.hkl == "3 1 1") & (peaks.phase == "LiCoVO4"))[0])
    assert (peaks.status[38:58, line] >= 3).all()  # the cathode's line would be at 36.3°
    assert not cells.used[38:58, line].any()


def test_aluminium_stays_with_each_line_held_out_in_turn(peaks, cathode, foil):
    cells = schema.check(bl.xrd.refine_cell(peaks, cathode, standard=foil))
    lines = (cells.phase == "Al").values
    assert cells.hkl.values[lines].tolist() == ["1 1 1", "2 0 0", "2 2 0"]
    lattice = ALUMINIUM * (1 + cells.standard_check.isel(peak=lines))
    assert float(np.abs(lattice.mean("frame") - ALUMINIUM).max()) < 0.002
    assert float(lattice.std("frame").max()) < 0.0005


def test_aluminium_stays_without_any_correction(peaks, foil):
    cells = bl.xrd.refine_cell(peaks, foil)
    assert float(cells.a.std()) < 0.0005
    assert float(np.abs(cells.a - cells.a.mean()).max()) < 0.002


def test_its_own_lines_correct_the_cathode_to_the_literature(peaks, cathode):
    """Refined with the height of the sample, the pristine cell is that of Bernier et al., 8.276 Å."""
    free = ["2 2 0", "4 0 0", "4 2 2", "5 1 1", "4 4 0"]  # (311) lies under the line that stays
    cells = bl.xrd.refine_cell(peaks, cathode, correction="displacement", lines=free)
    assert float(cells.a[0]) == pytest.approx(8.276, abs=0.004)


def test_the_charge_ends_at_pattern_47(cells, record):
    aligned = schema.check(bl.align.onto_frames(cells, record, start=0.0, interval=SECONDS))
    charging = np.flatnonzero(record.current.values > 0)
    end = float(record.test_time[charging[-1]]) / SECONDS
    assert end == pytest.approx(47.4, abs=0.1)
    assert (aligned.current.values[:47] > 0).all()
    assert (aligned.current.values[48:84] < 0).all()
    assert abs(int(aligned.charge_passed.argmax("frame")) + 1 - 47.4) <= 1
    assert abs(int(aligned.voltage.argmax("frame")) + 1 - 47.4) <= 2


def test_patterns_after_the_record_have_no_voltage(patterns, record):
    aligned = bl.align.onto_frames(patterns, record, start=0.0, interval=SECONDS)
    last = float(record.test_time[-1]) / SECONDS  # 84.2 patterns
    assert np.isfinite(aligned.voltage[: int(last)]).all()
    assert np.isnan(aligned.voltage[int(last) :]).all()
    assert int(np.isnan(aligned.voltage).sum()) == 16
    assert 3.0 < float(aligned.voltage.min()) < float(aligned.voltage.max()) < 4.48


def test_it_is_a_solid_solution_both_ways(cells):
    """One contraction and one expansion, and they meet at the end of charge."""
    events = schema.check(bl.xrd.phase_changes(cells))
    assert events.kind.values.tolist() == ["solid_solution"] * 2
    assert set(events.what.values) == {"LiCoVO4"}
    assert np.sign(events.change.values).tolist() == [-1, 1]
    assert float(events.end[0]) + 1 == pytest.approx(47.4, abs=1.5)
    assert 46 < float(events.onset[1]) + 1 < 54
    assert float(events.onset_low[1]) <= float(events.onset[1]) <= float(events.onset_high[1])


def test_peaks_alone_tell_the_turn(peaks):
    """The contraction may come in pieces (its lines broaden and hide), but never turns before the end of charge."""
    events = schema.check(bl.xrd.phase_changes(peaks))
    assert set(events.kind.values) == {"solid_solution"}
    assert set(events.what.values) == {"LiCoVO4"}
    shrinks = events.change.values < 0
    assert float(events.end[shrinks].max()) + 1 == pytest.approx(47.4, abs=1.5)
    assert 46 < float(events.onset[~shrinks].min()) + 1 < 54


def test_strain_is_one_per_cent(cells):
    strain = schema.check(bl.xrd.strain(cells))
    assert float(strain.linear[47]) == pytest.approx(-0.0113, abs=0.001)
    assert abs(float(strain.linear[84])) < 0.0005
    assert float(np.abs(strain.anisotropy).max()) == 0.0
