"""Cells from positions: every crystal system, the σ, an internal standard, lines that lie."""

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batlab import schema
from batlab.errors import DimensionError, SchemaError
from batlab.xrd import refine_cell

PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
ALL = ["1 0 0", "0 1 0", "0 0 1", "1 1 0", "1 0 1", "0 1 1", "1 1 1", "2 1 0", "2 0 1", "0 2 1", "1 2 1", "1 1 -2",
       "2 -1 1", "3 0 1", "0 3 1", "1 0 3", "2 2 1", "1 -2 2"]  # fmt: skip
EDGE = st.floats(2.5, 15.0)
WIDE = st.floats(75.0, 105.0)
# Space group, and which numbers of (a, b, c, alpha, beta, gamma) the drawn ones become.
SYSTEMS = {
    "P m -3 m": lambda e, w: (e[0],) * 3 + (90,) * 3,
    "R -3 m:H": lambda e, w: (e[0], e[0], e[2], 90, 90, 120),
    "R -3 m:R": lambda e, w: (e[0],) * 3 + (w[0],) * 3,
    "P 63/m m c": lambda e, w: (e[0], e[0], e[2], 90, 90, 120),
    "P 4/m m m": lambda e, w: (e[0], e[0], e[2], 90, 90, 90),
    "P n m a": lambda e, w: (*e, 90, 90, 90),
    "P 1 21/c 1": lambda e, w: (*e, 90, w[0], 90),
    "P 1 1 21/b": lambda e, w: (*e, 90, 90, w[0]),
    "P 21/b 1 1": lambda e, w: (*e, w[0], 90, 90),
    "P -1": lambda e, w: (*e, *w),
}


@pytest.mark.parametrize("group", SYSTEMS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=st.tuples(EDGE, EDGE, EDGE), angles=st.tuples(WIDE, WIDE, WIDE))
def test_the_cell_comes_back_in_every_crystal_system(group, edges, angles, structure, positions, table):
    cell = SYSTEMS[group](edges, angles)
    peaks = table(positions(cell, ALL), 1e-4, ALL)
    # The structure's own cell is another one: only its space group may matter.
    start = SYSTEMS[group]((5.0, 6.0, 7.0), (81.0, 95.0, 99.0))
    cells = schema.check(refine_cell(peaks, structure(group, start)))
    for name, value in zip(PARAMETERS, cell):
        assert float(cells[name][0]) == pytest.approx(value, rel=1e-8), name
    assert float(cells["volume"][0]) == pytest.approx(gemmi.UnitCell(*cell).volume, rel=1e-8)


@pytest.mark.parametrize("group", SYSTEMS)
def test_angles_fixed_by_symmetry_are_exact_and_certain(group, structure, positions, table):
    cell = SYSTEMS[group]((5.0, 6.0, 7.0), (81.0, 95.0, 99.0))
    cells = refine_cell(table(positions(cell, ALL), 1e-4, ALL), structure(group, cell))
    for name, value in zip(PARAMETERS[3:], cell[3:]):
        if value in (90, 120):
            assert float(cells[name][0]) == value
            assert float(cells[f"{name}_sigma"][0]) == 0
        else:
            assert float(cells[f"{name}_sigma"][0]) > 0


@pytest.mark.parametrize("group", SYSTEMS)
@pytest.mark.parametrize("wavelength", [None, 0.7])
def test_sigma_is_the_scatter_of_repeated_measurements(group, wavelength, structure, positions, table):
    rng = np.random.default_rng(8)
    cell = SYSTEMS[group]((5.0, 6.0, 7.0), (81.0, 95.0, 99.0))
    sigma = rng.uniform(0.5, 3.0, len(ALL)) * 1e-3
    true = positions(cell, ALL, wavelength)
    peaks = table(true + sigma * rng.normal(size=(1500, len(ALL))), sigma, ALL, wavelength=wavelength)
    cells = schema.check(refine_cell(peaks, structure(group, cell)))
    for name, value in zip((*PARAMETERS, "volume"), (*cell, gemmi.UnitCell(*cell).volume)):
        if (cells[f"{name}_sigma"] > 0).all():
            pulls = (cells[name] - value) / cells[f"{name}_sigma"]
            assert 0.9 < float(pulls.std()) < 1.1, name
            assert abs(float(pulls.mean())) < 0.12, name
    assert float(cells.chi2_reduced.mean()) == pytest.approx(1.0, abs=0.05)


def test_sigma_grows_where_the_lines_disagree(structure, positions, table):
    """Positions ten times as scattered as their σ say: the pulls must still be near 1."""
    rng = np.random.default_rng(3)
    cell = (5.4,) * 3 + (90,) * 3
    noise = 1e-3 * rng.normal(size=(3000, len(ALL)))
    cells = refine_cell(table(positions(cell, ALL) + noise, 1e-4, ALL), structure("P m -3 m", cell))
    assert 0.9 < float(((cells.a - 5.4) / cells.a_sigma).std()) < 1.1
    assert float(cells.chi2_reduced.median()) == pytest.approx(100, rel=0.1)
    assert float(cells.scatter.median()) == pytest.approx(1e-3, rel=0.1)


def test_one_strong_line_that_lies_does_not_outvote_the_others(structure, positions, table):
    cell = (8.2,) * 3 + (90,) * 3
    hkl = ["2 2 0", "3 1 1", "4 0 0", "4 2 2", "5 1 1", "4 4 0"]
    rng = np.random.default_rng(0)
    sigma = np.array([2e-3, 2e-5, 2e-3, 2e-3, 2e-3, 2e-3])  # the second one is of another phase, and very sharp
    position = positions(cell, hkl) + sigma * rng.normal(size=(40, 6))
    position[:, 1] *= 0.99
    with pytest.warns(UserWarning, match=r"not used: 3 1 1 \(by 0\.0\d+\)"):
        cells = refine_cell(table(position, sigma, hkl), structure("F d -3 m:1", cell))
    assert float((np.abs(cells.a - 8.2) / cells.a_sigma).max()) < 4
    assert float(cells.a_sigma.max()) < 4e-3
    assert cells.attrs["dropped_lines"] == "3 1 1"
    assert not cells.used[:, 1].any()
    assert int(cells.n_lines.max()) == 5


def test_missing_lines_give_nan_only_where_the_cell_is_open(structure, positions, table):
    cell = (2.87, 2.87, 14.2, 90, 90, 120)
    hkl = ["0 0 3", "1 0 1", "1 0 4", "1 1 0"]
    position = np.repeat(positions(cell, hkl)[None], 4, axis=0)
    position[1, [0, 1, 2]] = np.nan  # only 1 1 0 left: a, but no c
    position[2] = np.nan
    position[3, [1, 3]] = np.nan  # 0 0 3 and 1 0 4: just enough
    cells = schema.check(refine_cell(table(position, 1e-4, hkl), structure("R -3 m:H", cell)))
    assert np.isfinite(cells.c.values).tolist() == [True, False, False, True]
    assert float(cells.c[3]) == pytest.approx(14.2)
    assert np.isnan(cells.chi2_reduced[3])
    assert cells.n_lines.values.tolist() == [4, 1, 0, 2]


@pytest.mark.parametrize(
    ("correction", "error"),
    [
        ("zero_shift", lambda angle: 0.07 + 0 * angle),
        ("displacement", lambda angle: -np.degrees(2 * 4e-4 * np.cos(np.radians(angle / 2)))),
        ("distance", lambda angle: np.degrees(np.arctan(1.002 * np.tan(np.radians(angle)))) - angle),
    ],
)
@pytest.mark.parametrize("with_standard", [True, False])
def test_the_instrument_is_corrected(correction, error, with_standard, structure, positions, table):
    wavelength = 1.5406 if correction != "distance" else 0.6
    cell, foil = (8.27,) * 3 + (90,) * 3, (4.0496,) * 3 + (90,) * 3
    hkl, held = ["2 2 0", "3 1 1", "4 0 0", "5 1 1", "4 4 0"], ["1 1 1", "2 0 0", "2 2 0"]
    true = np.concatenate([positions(cell, hkl, wavelength), positions(foil, held, wavelength)])
    rng = np.random.default_rng(5)
    position = true + error(true) + 5e-4 * rng.normal(size=(300, 8))
    peaks = table(position, 5e-4, hkl + held, ["sample"] * 5 + ["Al"] * 3, wavelength)
    sample = structure("F d -3 m:1", cell)
    plain = refine_cell(peaks, sample)
    assert abs(float(plain.a.mean()) - 8.27) > 2e-3
    standard = structure("F m -3 m", foil, "Al") if with_standard else None
    cells = schema.check(refine_cell(peaks, sample, standard=standard, correction=correction))
    pulls = (cells.a - 8.27) / cells.a_sigma
    assert abs(float(cells.a.mean()) - 8.27) < 4 * float(cells.a_sigma.mean()) / np.sqrt(300)
    assert 0.85 < float(pulls.std()) < 1.1
    expected = {"zero_shift": 0.07, "displacement": 4e-4, "distance": 2e-3}[correction]
    error_of_mean = float(cells[f"{correction}_sigma"].mean()) / np.sqrt(300)
    assert float(cells[correction].mean()) == pytest.approx(expected, abs=4 * error_of_mean)
    if with_standard:
        check = cells.standard_check.isel(peak=slice(5, None))
        assert float(np.abs(check.mean("frame")).max()) < 2e-5  # of d, or 0.0001 angstrom of a
        pull = check / cells.standard_check_sigma.isel(peak=slice(5, None))
        assert 0.85 < float(pull.std()) < 1.1
        assert np.isnan(cells.standard_check.isel(peak=slice(0, 5))).all()


def test_a_displacement_is_in_mm_where_the_radius_is_known(structure, positions, table):
    cell, hkl = (5.4,) * 3 + (90,) * 3, ALL[:9]
    angle = positions(cell, hkl, 1.5406)
    moved = angle - np.degrees(2 * 0.1 / 200 * np.cos(np.radians(angle / 2)))
    cells = refine_cell(
        table(moved, 1e-3, hkl, wavelength=1.5406), structure("P m -3 m", cell), correction="displacement", radius=200
    )
    assert float(cells.displacement[0]) == pytest.approx(0.1, rel=1e-3)
    assert cells.displacement.units == "mm"
    for wrong in ({"correction": "displacement", "radius": -1.0}, {"radius": 200.0}):
        with pytest.raises(ValueError, match="radius must be positive"):
            refine_cell(table(moved, 1e-3, hkl, wavelength=1.5406), structure("P m -3 m", cell), **wrong)


def test_peaks_without_names_are_indexed_first(structure, positions, table):
    cell = (2.87, 2.87, 14.2, 90, 90, 120)
    hkl = ["0 0 3", "1 0 1", "1 0 4", "1 1 0", "0 1 5"]
    peaks = table(positions(cell, hkl) * 1.002, 1e-4, [""] * 5, "")
    cells = refine_cell(peaks, structure("R -3 m:H", cell))
    assert cells.hkl.values.tolist() == hkl
    assert float(cells.c[0]) == pytest.approx(14.2 / 1.002)


def test_chosen_lines_and_phases(structure, positions, table):
    cell = (8.2,) * 3 + (90,) * 3
    hkl = ["2 2 0", "4 0 0"]
    position = positions(cell, hkl) * [1.0, 1.001]
    peaks = table(position, 1e-4, hkl, "cathode")
    crystal = structure("F d -3 m:1", cell)
    one = refine_cell(peaks, crystal, phase="cathode", lines=["4,0,0"])
    assert float(one.a[0]) == pytest.approx(8.2 / 1.001)
    with pytest.raises(ValueError, match=r"'cathode'.*phase="):
        refine_cell(peaks, crystal)
    with pytest.raises(ValueError, match="4 0 0"):
        refine_cell(peaks, crystal, phase="cathode", lines=["4 0 1"])


def test_what_cannot_work_is_refused(structure, positions, table):
    cell = (2.87, 2.87, 14.2, 90, 90, 120)
    crystal = structure("R -3 m:H", cell)
    peaks = table(positions(cell, ["1 1 0", "3 0 0"]), 1e-4, ["1 1 0", "3 0 0"])
    with pytest.raises(ValueError, match="1 1 0, 3 0 0"):
        refine_cell(peaks, crystal)
    peaks = table(positions(cell, ["1 1 0", "0 0 6"]), 1e-4, ["1 1 0", "0 0 6"])
    with pytest.raises(ValueError, match="did you mean 'zero_shift'"):
        refine_cell(peaks, crystal, correction="zeroshift")
    with pytest.raises(ValueError, match="two_theta"):
        refine_cell(peaks, crystal, correction="displacement")
    with pytest.raises(ValueError, match="'Al'"):
        refine_cell(peaks, crystal, standard=structure("F m -3 m", (4.05,) * 3 + (90,) * 3, "Al"))
    with pytest.raises(DimensionError, match="peak"):
        refine_cell(peaks.isel(peak=0), crystal)
    with pytest.raises(SchemaError, match="axis"):
        refine_cell(peaks.drop_attrs(), crystal)
    with pytest.raises(ValueError, match="three whole numbers"):
        refine_cell(peaks.assign_coords(hkl=("peak", ["110", "0 0 6"], {"long_name": "hkl"})), crystal)


def test_inputs_stay_and_history_grows(structure, positions, table):
    cell = (5.4,) * 3 + (90,) * 3
    peaks = table(positions(cell, ALL[:5]), 1e-4, ALL[:5])
    before = peaks.copy(deep=True)
    cells = refine_cell(peaks, structure("P m -3 m", cell))
    assert peaks.identical(before)
    assert "xrd.refine_cell(" in cells.attrs["history"].splitlines()[-1]
