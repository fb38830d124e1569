"""Cycles of known charge, and of real cells as their makers count them."""

import warnings

import numpy as np
import pytest

import batlab as bl
from batlab import echem
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check


def regular(n=5, current=0.5, hours=1.0):
    return [part for k in range(1, n + 1) for part in ((current, hours, k), (0, 0.1, k), (-current, hours, k))]


def test_a_known_programme_comes_back(make_programme):
    # V = 3 + x +- 0.05 V, x from 0 to 0.5: mean 3.25 +- 0.05 V by algebra.
    cell = make_programme(regular())
    before = cell.copy(deep=True)
    table = check(echem.cycles(cell))
    assert cell.identical(before)
    assert table["cycle"].values.tolist() == [1, 2, 3, 4, 5]
    for half, mean in (("charge", 3.30), ("discharge", 3.20)):
        np.testing.assert_allclose(table[f"capacity_{half}"], 0.5, rtol=1e-12)
        np.testing.assert_allclose(table[f"voltage_{half}"], mean, rtol=1e-12)
        np.testing.assert_allclose(table[f"energy_{half}"], 0.5 * mean, rtol=1e-12)
        np.testing.assert_allclose(table[f"current_{half}"], 0.5)
        np.testing.assert_allclose(table[f"c_rate_{half}"], 1.0)
        np.testing.assert_allclose(table[f"duration_{half}"], 3600, atol=1e-6)
    np.testing.assert_allclose(table["hysteresis"], 0.1, rtol=1e-9)
    np.testing.assert_allclose(table["coulombic_efficiency"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(table["energy_efficiency"], 3.2 / 3.3, rtol=1e-12)
    np.testing.assert_allclose(table["duration_rest"], 360)
    np.testing.assert_allclose(table["voltage_upper"], 3.55)
    np.testing.assert_allclose(table["voltage_lower"], 2.95)
    assert set(table["kind"].values) == {"cycle"}
    assert "echem.cycles(" in table.attrs["history"]


def test_counters_that_start_again_every_step_are_summed(make_programme):
    cell = make_programme(regular(3))
    step, t = cell["step"].values, cell["test_time"].values
    begin = t[np.searchsorted(step, step)]
    passed = cell["current"].values * (t - begin) / 3600
    counted = cell.assign(
        charge_capacity=("record", np.maximum(passed, 0), {"units": "Ah", "long_name": "c"}),
        discharge_capacity=("record", np.maximum(-passed, 0), {"units": "Ah", "long_name": "d"}),
    )
    table = echem.cycles(counted)
    assert table.attrs["charge_source"] == "charge_capacity and discharge_capacity"
    np.testing.assert_allclose(table["capacity_charge"], 0.5, rtol=1e-12)
    np.testing.assert_allclose(table["capacity_discharge"], 0.5, rtol=1e-12)
    assert "capacity_charge_sigma" not in table


@pytest.mark.parametrize("kind", ["net", "of the half", "of the cycle"])
def test_one_counter_of_any_habit_gives_the_same(make_programme, kind):
    cell = make_programme(regular(4))
    t, current, step = (cell[name].values for name in ("test_time", "current", "step"))
    flow = np.concatenate([[0], np.diff(t)]) * current / 3600
    counter = np.cumsum(flow)
    if kind == "of the half":
        counter = np.abs(current) * (t - t[np.searchsorted(step, step)]) / 3600
    elif kind == "of the cycle":
        first = np.searchsorted(cell["cycle"].values, cell["cycle"].values)
        counter = counter - counter[first]
    table = echem.cycles(cell.assign(capacity=("record", counter, {"units": "Ah", "long_name": "c"})))
    assert table.attrs["charge_source"] == "capacity"
    np.testing.assert_allclose(table["capacity_charge"], 0.5, rtol=1e-9)
    np.testing.assert_allclose(table["capacity_discharge"], 0.5, rtol=1e-9)


def test_a_counter_that_disagrees_is_named_with_its_figures(make_programme):
    cell = make_programme(regular(2))
    flow = np.concatenate([[0], np.diff(cell["test_time"].values)]) * cell["current"].values / 3600
    wrong = cell.assign(capacity=("record", 0.9 * np.cumsum(flow), {"units": "Ah", "long_name": "c"}))
    with pytest.warns(UserWarning, match=r"counts 1.8 Ah in all, the current gives 2 Ah"):
        table = echem.cycles(wrong)
    np.testing.assert_allclose(table["capacity_charge"], 0.5, rtol=1e-9)
    with pytest.warns(UserWarning, match="the counter is used"):
        table = echem.cycles(wrong, charge="counter")
    np.testing.assert_allclose(table["capacity_charge"], 0.45, rtol=1e-9)


def test_formation_check_up_and_pulse_cycles_are_told_apart(make_programme):
    steps = [(0.1, 5, 1), (-0.1, 5, 1), (0.1, 5, 2), (-0.1, 5, 2)]
    steps += [part for k in range(3, 8) for part in ((0.5, 1, k), (-0.5, 1, k))]
    steps += [(0.1, 5, 8), (-0.1, 5, 8)]
    steps += [(0.5, 1, 9)] + 10 * [(-0.5, 0.1, 9), (0, 0.1, 9)]
    steps += [part for k in range(10, 13) for part in ((0.5, 1, k), (-0.5, 1, k))]
    table = check(echem.cycles(make_programme(steps)))
    expected = 2 * ["formation"] + 5 * ["cycle"] + ["check_up", "pulse"] + 3 * ["cycle"]
    assert table["kind"].values.tolist() == expected
    assert int(table["n_pulses"].sel(cycle=9)) == 10
    assert int(table["n_pulses"].sum()) == 10


def test_a_cut_cycle_is_said(make_programme):
    cell = make_programme([*regular(4), (0.5, 1, 5), (-0.5, 0.4, 5)])
    with pytest.warns(UserWarning, match=r"1 of 5 cycles are incomplete: 5 \(cut in the discharge\)"):
        table = check(echem.cycles(cell))
    assert table["kind"].values.tolist() == 4 * ["cycle"] + ["incomplete"]
    with pytest.warns(UserWarning, match=r"5 \(no discharge\)"):
        table = check(echem.cycles(make_programme([*regular(4), (0.5, 1, 5)])))
    assert np.isnan(table["capacity_discharge"].sel(cycle=5))
    assert np.isnan(table["coulombic_efficiency"].sel(cycle=5))


def test_files_are_not_joined_and_their_numbers_may_come_again(make_programme):
    cell = make_programme([*regular(3), *regular(3)])
    second = np.arange(cell.sizes["record"]) >= cell.sizes["record"] // 2
    cell["file_number"] = ("record", second.astype(int), {"units": "1", "long_name": "file"})
    # A week passes between the two files: nothing flows in it.
    cell["test_time"] = cell["test_time"] + np.where(second, 7 * 86400.0, 0.0)
    cell["test_time"].attrs = {"units": "s", "long_name": "time"}
    table = check(echem.cycles(cell))
    assert table["cycle"].values.tolist() == [1, 2, 3, 4, 5, 6]
    assert table["cycle_recorded"].values.tolist() == [1, 2, 3, 1, 2, 3]
    assert table["is_after_gap"].values.tolist() == [0, 0, 0, 1, 0, 0]
    np.testing.assert_allclose(table["capacity_charge"], 0.5, rtol=1e-9)
    assert table["duration"].max() < 8000


def test_a_gap_under_current_is_not_integrated(make_programme):
    cell = make_programme(regular(4))
    with pytest.warns(UserWarning, match="a gap within|cut"):
        table = echem.cycles(cell.isel(record=np.delete(np.arange(cell.sizes["record"]), np.arange(100, 200))))
    assert table["kind"].values[0] == "incomplete"
    assert float(table["capacity_charge"][0]) == pytest.approx(0.5 - 101 * 10 * 0.5 / 3600, abs=1e-9)


def test_cycles_by_current_ignore_small_reversals(make_programme):
    steps = []
    for _ in range(3):
        steps += [(0.5, 0.5, 1), (-0.5, 0.01, 1), (0, 0.1, 1), (0.5, 0.5, 1), (-0.5, 1, 1)]
    cell = make_programme(steps)
    table = check(echem.cycles(cell))
    assert table.attrs["cycles_by"] == "current"
    np.testing.assert_allclose(table["capacity_charge"], 0.5, rtol=1e-9)
    np.testing.assert_allclose(table["capacity_discharge"], 0.505, rtol=1e-9)
    assert echem.cycles(cell, by="cycle").sizes["cycle"] == 1


def test_half_cells_divide_the_other_way(make_programme):
    halves = [part for k in (1, 2, 3) for part in ((-0.5, 1, k), (0.5, 0.8, k))]
    cell = make_programme(halves, voltage=lambda x: 0.5 + 0.0 * x)
    table = echem.cycles(cell, efficiency="charge/discharge")
    np.testing.assert_allclose(table["coulombic_efficiency"], 0.8, rtol=1e-9)
    np.testing.assert_allclose(table["c_rate_charge"], 1.0)
    np.testing.assert_allclose(echem.cycles(cell, nominal=0.25)["c_rate_charge"], 2.0)


def test_noise_at_rest_makes_no_cycles(make_programme):
    cell = make_programme(regular(3))
    noise = np.random.default_rng(0).normal(0, 0.002, cell.sizes["record"])
    cell["current"] = cell["current"] + noise
    cell["current"].attrs = {"units": "A", "long_name": "current"}
    table = echem.cycles(cell, by="current")
    assert table.sizes["cycle"] == 3
    np.testing.assert_allclose(table["duration_rest"], 360, atol=11)


def test_a_moment_of_switching_has_its_uncertainty(make_record):
    # Without lines at the ends of steps the moment is known to one interval: 100 s x 0.5 A / sqrt(12).
    t = np.arange(0, 7201, 100.0)
    current = np.where(t <= 3550, 0.5, -0.5)
    step = np.where(t <= 3550, 1, 2)
    table = check(echem.cycles(make_record(t, 3.5 + 0.1 * np.sign(current), current, step=step)))
    sigma = 100 * 1.0 / 3600 / np.sqrt(12)
    np.testing.assert_allclose(table["capacity_discharge_sigma"], sigma, rtol=1e-12)
    assert abs(float(table["capacity_discharge"][0]) - 0.5 * 3650 / 3600) < 2 * sigma


def test_nan_one_row_and_nothing(make_programme, make_record):
    cell = make_programme(regular(3))
    cell["voltage"][10] = np.nan
    np.testing.assert_allclose(echem.cycles(cell)["capacity_charge"], 0.5, rtol=1e-9)
    with pytest.raises(SchemaError, match="finds no record"):
        echem.cycles(cell * np.nan)
    with pytest.raises(SchemaError, match="no current above rest"):
        echem.cycles(make_record([0, 1], [3, 3], [0, 0]))
    with pytest.warns(UserWarning, match="incomplete"):
        assert np.isnan(check(echem.cycles(make_record([0], [3], [1])))["capacity_charge"][0])


def test_what_is_refused(make_programme, make_record):
    cell = make_programme(regular(2))
    with pytest.raises(DimensionError, match="needs dimension 'record'"):
        echem.cycles(cell.rename(record="frame"))
    with pytest.raises(SchemaError, match="needs a variable 'current'"):
        echem.cycles(cell.drop_vars("current"))
    with pytest.raises(SchemaError, match="needs 'test_time' or 'time'"):
        echem.cycles(cell.drop_vars("test_time"))
    with pytest.raises(SchemaError, match="no counter in Ah"):
        echem.cycles(cell, charge="counter")
    with pytest.raises(SchemaError, match="by='cycle'"):
        echem.cycles(cell.drop_vars("cycle"), by="cycle")
    with pytest.raises(SchemaError, match="the time falls from 5 s to 4 s"):
        echem.cycles(make_record([0, 5, 4], [3, 3, 3], [1, 1, 1]))
    for keyword, wrong in (("by", "cycles"), ("charge", "counters"), ("efficiency", "discharge/Charge")):
        with pytest.raises(ValueError, match="did you mean"):
            echem.cycles(cell, **{keyword: wrong})
    with pytest.raises(ValueError, match="nominal must be"):
        echem.cycles(cell, nominal=-1)
    with pytest.raises(ValueError, match="rest_current must be"):
        echem.cycles(cell, rest_current=np.nan)


def test_the_virtual_cell_is_cycled(tmp_path):
    from batlab.simulate import cell as virtual
    from batlab.simulate.cycler import write_bdf

    path = write_bdf(tmp_path / "cell.csv", start=1.7e9, plating=False, generator=np.random.default_rng(1))
    with pytest.warns(UserWarning, match=r"2 \(no discharge\)"):
        table = check(echem.cycles(bl.open(path)))
    steps = virtual.PROGRAMME
    charged = sum(step.sign > 0 for step in steps)
    assert charged > 0
    hours = np.diff(virtual.EDGES) / 3600
    total = sum(h for h, step in zip(hours, steps) if step.sign > 0) * virtual.CURRENT
    assert float(table["capacity_charge"].sum()) == pytest.approx(total, rel=1e-6)
    assert table.attrs["charge_source"] == "charge_capacity and discharge_capacity"


@pytest.mark.data
def test_galvanostatic_cycles_are_those_of_another_program():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = bl.open(bl.datasets.path("biologic_jdb"), timezone="UTC")
        table = check(echem.cycles(cell))
    assert table.sizes["cycle"] == 7
    # PyProBE 2.6.1, analysis.cycling.summary of (Q-Qo); it counts the discharge that comes first to the next cycle.
    charged = [0.0009867814, 0.0009370904, 0.0009419402, 0.0009479332, 0.0009516888, 0.0009558864]
    discharged = [0.0008763298, 0.000874678, 0.000876656, 0.0008786127, 0.0008794916]
    np.testing.assert_allclose(table["capacity_charge"][1:], charged, rtol=1e-6)
    np.testing.assert_allclose(table["capacity_discharge"][2:], discharged, rtol=1e-6)
    with pytest.warns(UserWarning, match=r"0 \(no charge\)"):
        by_current = echem.cycles(cell, charge="current")
    np.testing.assert_allclose(by_current["capacity_charge"][1:], charged, rtol=1e-5)


@pytest.mark.soak
@pytest.mark.data
def test_the_life_of_a_calce_cell():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = bl.open(str(bl.datasets.path("calce_cs2_35") / "*.xlsx"))
    with pytest.warns(UserWarning, match=r"67 \(no discharge\), 92 \(no discharge\), 129 \(no discharge\)"):
        table = check(echem.cycles(cell))
    good = table.isel(cycle=table["kind"].values == "cycle")
    # The set's own record: 1.137 Ah in the first file, 0.98 Ah in that of October 2010, about 0.3 Ah in the last.
    capacity = good["capacity_discharge"]
    assert float(capacity[0]) == pytest.approx(1.137, abs=1e-3)
    assert float(capacity[good["file_number"].values == 2].median()) == pytest.approx(0.98, abs=0.01)
    assert float(capacity[-1]) == pytest.approx(0.33, abs=0.05)
    assert int(table["is_after_gap"].sum()) == 6
    with pytest.warns(UserWarning, match="where cycles are missing"):
        found = check(echem.fade(table, over="days"))
    assert np.isnan(found["knee"])
    assert found.attrs["n_gaps"] == 6
    features = check(echem.early_features(cell, pair=(10, 58)))
    assert float(features["noise_share"]) < 0.5
    with pytest.warns(UserWarning, match="cycles may be missing"):
        end = check(echem.life(table))
    assert str(end["status"].values) == "in a gap"


@pytest.mark.data
def test_nickelate_of_rock_ends_where_the_paper_says():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = bl.open(bl.datasets.path("lno_rock") / "EC" / "220726cell4operandoxas_C06.mpt", timezone="Europe/Paris")
        table = check(echem.cycles(cell))
    net = float(cell["capacity"][-1] - cell["capacity"][0])
    counted = float(np.nansum(table["capacity_charge"]) - np.nansum(table["capacity_discharge"]))
    assert counted == pytest.approx(net, rel=1e-3, abs=1e-6)
