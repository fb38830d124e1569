"""Evidence from results: planted changes are told, noise is not, and what was looked for and not seen is kept."""

import math
import tempfile
import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import failure, schema, simulate
from batlab.failure import Evidence, examine, find
from batlab.failure._looks import pair, state_of_charge
from batlab.failure._shares import shares
from batlab.schema import quantity

BEAM = ("NMC811", "Al", "Cu", "graphite", "Li")


def edges(e0, *, cycle=(1, 1, 1, 90, 90, 90), state=(0.0, 0.5, 1.0, 0.0, 0.5, 1.0), sigma=0.01, **more):
    e0 = np.asarray(e0, dtype=float)
    coords = {
        "frame": quantity("frame", np.arange(len(e0)), "1", "frame"),
        "cycle": quantity("frame", np.array(cycle), "1", "cycle"),
        "state_of_charge": quantity("frame", np.array(state), "1", "state of charge"),
    }
    variables = {
        "e0": quantity("frame", e0, "eV", "edge energy"),
        "e0_sigma": quantity("frame", np.full(len(e0), sigma), "eV", "σ"),
    }
    return schema.check(
        xr.Dataset(
            variables, coords | more, {"source": "scan.h5", "source_sha256": "0" * 64, "energy_alignment": "foil"}
        )
    )


def table_of_cycles(capacity, kind="cycle"):
    n = len(capacity)
    kind = np.array([kind] * n) if isinstance(kind, str) else np.asarray(kind)
    columns = {
        "capacity_discharge": (capacity, "Ah"), "capacity_charge": (np.asarray(capacity) / 0.999, "Ah"),
        "coulombic_efficiency": (np.full(n, 0.999), "1"), "hysteresis": (np.full(n, 0.2), "V"),
        "voltage_charge": (np.full(n, 3.9), "V"), "voltage_discharge": (np.full(n, 3.7), "V"),
        "c_rate_discharge": (np.ones(n), "1/h"),
    }  # fmt: skip
    variables = {name: quantity("cycle", np.asarray(v, dtype=float), u, name) for name, (v, u) in columns.items()}
    variables["kind"] = quantity("cycle", kind, "", "kind")
    return xr.Dataset(variables, {"cycle": quantity("cycle", np.arange(1, n + 1), "1", "cycle")})


def by_name(evidence):
    return {item.observable: item for item in evidence}


@pytest.fixture(scope="module")
def structures():
    every = simulate.virtual_structures(tempfile.mkdtemp())
    return {name: every[name] for name in BEAM}


def examined(mechanisms, seed, structures, **words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cell = simulate.virtual_cell(mechanisms, seed=seed, **words)
        return examine(cell, structures=structures, standard="Al", potentials=simulate.virtual_potentials())


def test_a_planted_shift_is_told_with_its_size_and_an_unmoved_state_is_none():
    data = edges([8343.0, 8344.0, 8344.8, 8343.0, 8343.8, 8344.3], dose=quantity("frame", np.ones(6), "Gy", "dose"))
    data.attrs["dose_statement"] = "5 Gy"
    before = data.copy(deep=True)
    said = by_name(find(data))
    xr.testing.assert_identical(data, before)
    top, bottom = said["xas.edge_charged"], said["xas.edge_discharged"]
    assert (top.direction, bottom.direction) == ("down", "none")
    assert top.effect == pytest.approx(-0.5)
    # Two frames of 0.01 eV each, and the floor of the table.
    floor = failure.knowledge().observables["xas.edge_charged"].floor
    assert top.effect_sigma == pytest.approx(math.hypot(math.sqrt(2) * 0.01, floor))
    assert top.cycles == (1, 90)
    assert (top.source, top.dose, top.units) == ("scan.h5", "5 Gy", "eV")
    assert top.dataset == schema.identity(data)
    assert 0 < bottom.limit < 0.2
    assert abs(bottom.effect) < bottom.limit
    assert top.confidence > 0.95 > bottom.confidence


def test_an_energy_scale_without_a_reference_is_doubted():
    """At 8.34 keV a drift of 3e-5 is 0.25 eV: half an electronvolt is not told then."""
    data = edges([8343.0, 8344.0, 8344.8, 8343.0, 8343.8, 8344.3])
    del data.attrs["energy_alignment"]
    (item,) = (one for one in find(data) if one.observable == "xas.edge_charged")
    assert item.direction == "none"
    assert item.limit > 0.5
    assert "no reference" in item.test


def test_the_limit_is_what_would_have_been_told():
    quiet = by_name(find(edges([8343.0, 8344.0, 8344.8] * 2)))["xas.edge_charged"]
    for factor, is_seen in ((0.98, False), (1.02, True)):
        moved = find(edges([8343.0, 8344.0, 8344.8, 8343.0, 8344.0, 8344.8 - factor * quiet.limit]))
        assert by_name(moved)["xas.edge_charged"].is_seen == is_seen


def test_more_looks_need_more():
    """The chance of any false alarm is held, so that the limit of each look grows with their number."""
    data = edges([8343.0, 8344.0, 8344.8] * 2)
    one = by_name(find(data))["xas.edge_charged"].limit
    ten = by_name(find(*[data] * 10))["xas.edge_charged"].limit
    assert ten > 1.2 * one


def test_noise_alone_is_rarely_told():
    rng = np.random.default_rng(3)
    floor = failure.knowledge().observables["xas.edge_charged"].floor
    n_told = 0
    for _ in range(400):
        noise = rng.normal(0, math.hypot(0.01, floor / math.sqrt(2)), 6)
        n_told += any(item.is_seen for item in find(edges(np.tile([8343.0, 8344.0, 8344.8], 2) + noise)))
    assert n_told <= 36  # 5 % are 20; 36 is 3.6 σ above


def test_visits_that_are_not_whole_and_other_voltages_are_not_compared():
    volts = quantity("frame", np.array([3.0, 3.8, 4.3, 3.0, 3.8, 4.1]), "V", "voltage")
    said = by_name(find(edges([8343.0, 8344.0, 8344.8, 8343.0, 8344.0, 8343.9], voltage=volts)))
    assert "xas.edge_charged" not in said
    assert "xas.edge_discharged" in said


def test_cycles_that_are_numbered_anew_are_other_visits():
    data = edges(np.zeros(6) + 8343, cycle=(1, 1, 1, 1, 1, 1))
    assert pair(data) is None
    again = edges(np.zeros(9) + 8343, cycle=(1, 1, 1, 2, 2, 2, 1, 1, 1), state=(0.0, 0.5, 1.0) * 3)
    assert pair(again).last.tolist() == [6, 7, 8]


def test_the_state_of_charge_comes_from_the_charge_where_a_visit_is_whole():
    charge = quantity("frame", np.array([0, 0.5, 1.0, 1.1, 1.6, 2.1, 2.1, 2.2]), "Ah", "net charge")
    data = edges(np.zeros(8), cycle=(1, 1, 1, 2, 2, 2, 3, 3), state=np.zeros(8), charge_passed=charge)
    found = state_of_charge(data.drop_vars("state_of_charge"))
    assert found[:6].tolist() == pytest.approx([0, 0.5, 1, 0, 0.5, 1])
    assert np.isnan(found[6:]).all()


def test_nan_frames_are_left_out():
    data = edges([8343.0, 8344.0, np.nan, 8343.0, 8344.0, 8344.3])
    said = by_name(find(data))
    assert "xas.edge_charged" not in said
    assert said["xas.edge_discharged"].direction == "none"


def test_one_visit_one_frame_and_nothing_give_no_evidence():
    assert find(edges([8343.0, 8344.0, 8344.8], cycle=(1, 1, 1), state=(0, 0.5, 1))) == []
    assert find(edges([8343.0], cycle=(1,), state=(0.0,))) == []
    assert find(edges([], cycle=(), state=())) == []
    assert find() == []


def test_a_fading_capacity_is_told_and_a_steady_one_is_not():
    rng = np.random.default_rng(1)
    fading = by_name(find(table_of_cycles(1 - 2e-3 * np.arange(100) + rng.normal(0, 1e-3, 100))))["echem.capacity"]
    # Means of the first and of the last five cycles.
    assert fading.direction == "down"
    assert fading.effect == pytest.approx((1 - 2e-3 * 97) / (1 - 2e-3 * 2) - 1, abs=2e-3)
    assert fading.cycles == (1, 100)
    steady = find(table_of_cycles(1 + rng.normal(0, 1e-3, 100)))
    assert not any(item.is_seen for item in steady)
    assert "echem.capacity" in by_name(steady)


def test_the_onset_of_a_knee_and_the_shift_per_cycle_are_told():
    """Level for 60 cycles, then 4e-3 a cycle: the planted corner lies in the limits, noise of 1e-3 or not."""
    cycle = np.arange(1, 101)
    level = 1 - 4e-3 * np.maximum(cycle - 60, 0) + np.random.default_rng(5).normal(0, 1e-3, 100)
    item = by_name(find(table_of_cycles(level)))["echem.capacity"]
    assert item.onset_range[0] <= 60 <= item.onset_range[1]
    assert item.onset == pytest.approx(60, abs=2)
    assert item.onset_confidence > 0.95
    # 38 cycles of fading on average of the last five, over 99 cycles.
    assert item.per_cycle == pytest.approx(-4e-3 * 38 / 99, abs=3 * item.per_cycle_sigma)
    assert "from 60" in str(item) or "from 59" in str(item) or "from 61" in str(item)
    assert Evidence.from_dict(item.as_dict()) == item


def test_fading_from_the_beginning_has_no_onset_and_nothing_seen_has_none():
    rng = np.random.default_rng(1)
    item = by_name(find(table_of_cycles(1 - 2e-3 * np.arange(100) + rng.normal(0, 1e-3, 100))))["echem.capacity"]
    assert item.onset is None
    assert item.per_cycle == pytest.approx(item.effect / 99)
    steady = by_name(find(table_of_cycles(1 + rng.normal(0, 1e-3, 100))))["echem.capacity"]
    assert steady.onset is None
    assert abs(steady.per_cycle) < 3 * steady.per_cycle_sigma


def test_the_onset_of_a_resistance_is_the_gap_in_which_it_came():
    """Pulses at four visits, 1 ohm and from the third on 1.3 ohm, each told to 1 %."""
    cycle = np.repeat([1, 30, 60, 90], 3)
    n = len(cycle)
    ohms = np.where(cycle >= 60, 1.3, 1.0)[:, None] * np.ones((n, 2))
    columns = {"current_after": (np.full(n, -0.05), "A"), "voltage_before": (np.full(n, 3.7), "V"),
               "cycle": (cycle, "1")}  # fmt: skip
    variables = {name: quantity("pulse", values, units, name) for name, (values, units) in columns.items()}
    variables["kind"] = quantity("pulse", np.full(n, "begins"), "", "kind")
    variables["resistance"] = quantity(("pulse", "delay"), ohms, "ohm", "resistance")
    variables["resistance_sigma"] = quantity(("pulse", "delay"), 0.01 * ohms, "ohm", "σ")
    (item,) = find(xr.Dataset(variables, {"delay": quantity("delay", [0.1, 1.0], "s", "after the step")}))
    assert (item.observable, item.direction) == ("echem.resistance", "up")
    assert item.effect == pytest.approx(0.3)
    assert item.onset_range == (30.0, 60.0)


def test_metal_on_the_other_electrode_is_a_multiple_of_its_own_spectrum():
    """0.2 % of the positive electrode's nickel, in another state, over scatter that slopes; then none."""
    from batlab.failure._deposit import deposits

    energy = np.arange(8200.0, 8800.0, 2.0)
    rise = 0.5 + np.arctan((energy - 8345) / 2) / np.pi
    other = 0.5 + np.arctan((energy - 8341) / 4) / np.pi
    parts = np.array([0.0, 0.002, 0.0005])
    mu = np.tile(0.4 + 2.5 * rise, (3, 1))
    weak = 2.5 * parts[:, None] * other + 0.02 - 1e-5 * (energy - 8345)
    dims = ("frame", "energy")
    spectra = xr.Dataset(
        {"mu": quantity(dims, mu, "1", "μ"), "mu_negative": quantity(dims, weak, "1", "μ")},
        {"energy": quantity("energy", energy, "eV", "energy"), "frame": quantity("frame", [0, 1, 2], "1", "frame")},
    )
    before = spectra.copy(deep=True)
    found = schema.check(deposits(spectra, 8345.0))
    xr.testing.assert_identical(spectra, before)
    assert found["metal_on_anode"].values == pytest.approx(parts, abs=4e-5)
    assert np.all(found["metal_on_anode_sigma"] < 1e-4)
    assert "failure.examine" in found.attrs["history"]
    gone = deposits(spectra.where(spectra.frame != 1), 8345.0)["metal_on_anode"].values
    assert np.isnan(gone).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="needs 10 energies more than 30 eV below and 60 eV above the edge at 8345 eV"):
        deposits(spectra.sel(energy=slice(8340, 8380)), 8345.0)


def test_of_a_few_visits_the_onset_is_the_gap_in_which_it_came():
    """Charged edges of visits at cycles 1, 30, 60 and 90, the last two lower by 0.5 eV: between 30 and 60."""
    cycle = np.repeat([1, 30, 60, 90], 3)
    shift = np.where(np.arange(12) >= 6, -0.5, 0.0) * (np.arange(12) % 3 == 2)
    data = edges(np.tile([8343.0, 8344.0, 8344.8], 4) + shift, cycle=tuple(cycle), state=(0.0, 0.5, 1.0) * 4)
    item = by_name(find(data))["xas.edge_charged"]
    assert (item.onset, item.onset_range) == (45.0, (30.0, 60.0))
    assert item.onset_confidence > 0.99
    assert item.per_cycle == pytest.approx(-0.5 / 89)
    assert item.per_cycle_sigma == pytest.approx(item.effect_sigma / 89)
    # Two visits tell no onset.
    assert by_name(find(data.isel(frame=[0, 1, 2, 9, 10, 11])))["xas.edge_charged"].onset is None


def test_two_phases_that_are_not_seen_have_a_limit_from_lines_and_none_from_cells():
    import batlab as bl

    frame = np.arange(20)
    coords = {
        "frame": quantity("frame", frame, "1", "frame"),
        "phase": quantity("peak", np.array(["A", "B"]), "1", "phase"),
        "peak": quantity("peak", [0, 1], "1", "peak"),
        "hkl": quantity("peak", np.array(["0 0 3", "1 1 1"]), "1", "indices"),
    }
    dims = ("frame", "peak")
    noise = np.random.default_rng(0).normal(0, 1e-3, (20, 2))
    values = {
        "position": (2.0 + 1e-6 * noise, 1e-5, "1/angstrom"), "area": (100 * (1 + noise), 0.1, "count"),
        "fwhm": (0.01 + 0 * noise, 1e-4, "1/angstrom"), "status": (0 * noise, None, "1"),
    }  # fmt: skip
    variables = {n: quantity(dims, v, u, n) for n, (v, _, u) in values.items()}
    variables |= {f"{n}_sigma": quantity(dims, np.full((20, 2), s), u, "1 σ") for n, (_, s, u) in values.items() if s}
    lines = xr.Dataset(variables, coords, {"axis": "q"})
    (item,) = find(bl.xrd.phase_changes(lines))
    assert (item.observable, item.direction, item.limit) == ("xrd.two_phases", "none", 0.05)
    (other,) = find(bl.xrd.phase_changes(lines, min_amount=0.2))
    assert other.limit == 0.2
    cell = {"volume": quantity("frame", np.full(20, 100.0) + noise[:, 0], "angstrom^3", "volume"),
            "volume_sigma": quantity("frame", np.full(20, 1e-3), "angstrom^3", "1 σ")}  # fmt: skip
    from batlab.schema import record

    cells = record(xr.Dataset(cell, {"frame": coords["frame"]}, {"phase": "A"}), "xrd.refine_cell")
    assert find(bl.xrd.phase_changes(cells)) == []


def test_few_cycles_say_nothing():
    assert find(table_of_cycles(np.linspace(1, 0.5, 8))) == []


def test_check_ups_are_not_counted_as_cycles():
    kind = np.where(np.arange(100) % 20 == 0, "check_up", "cycle")
    capacity = np.where(kind == "check_up", 1.2, 1.0) + np.random.default_rng(2).normal(0, 1e-3, 100)
    assert not any(item.is_seen for item in find(table_of_cycles(capacity, kind)))


def test_events_are_passed_on_where_they_stand_out():
    frame = np.arange(120.0)
    rng = np.random.default_rng(4)
    level = np.where(frame < 60, 0.0, 1.0) + rng.normal(0, 0.1, 120)
    import batlab as bl

    events = bl.curves.change_points(xr.DataArray(level, dims="frame", name="a"), model="mean")
    (item,) = find(events)
    assert item.observable == "curves.step of a"
    assert item.direction == "appears"
    assert "onset 59.5" in item.test
    assert item.frames[0] <= 59.5 <= item.frames[1]


@pytest.mark.parametrize("wrong", [1, "text", None, np.zeros(3)])
def test_what_is_no_dataset_is_refused(wrong):
    with pytest.raises(TypeError, match=r"failure\.find needs datasets"):
        find(wrong)


def test_what_no_technique_made_is_refused():
    odd = xr.Dataset({"foo": quantity("frame", np.zeros(3), "1", "foo")})
    with pytest.raises(ValueError, match="knows no look at result 2 with foo"):
        find(edges([8343.0] * 6), odd)
    with pytest.raises(ValueError, match="false_alarm must lie between 0 and 1, got 1"):
        find(false_alarm=1)


def test_examine_refuses_what_it_cannot_read():
    with pytest.raises(TypeError, match="needs a DataTree, got Dataset"):
        examine(xr.Dataset())
    with pytest.raises(ValueError, match=r"needs one of xrd, xas, echem in the tree, got \['gas'\]"):
        examine(xr.DataTree.from_dict({"/gas": xr.Dataset()}))
    tree = xr.DataTree.from_dict({"/xas": edges([8343.0] * 6)})
    with pytest.raises(ValueError, match="standard 'Al' must be one of the structures"):
        examine(tree, standard="Al")
    with pytest.raises(TypeError, match="did you mean 'positive'"):
        examine(tree, potentials={"positiv": 1})


def test_a_step_that_the_data_do_not_allow_is_told():
    tree = xr.DataTree.from_dict({"/xas": edges([8343.0] * 6).drop_vars(["e0", "e0_sigma"])})
    with pytest.warns(UserWarning, match="failure.examine: xas.mu was left out"):
        assert examine(tree) == []


def layered(c, part, width=0.009):
    """One pattern with (0 0 3) at `c`, and `part` of its light at 14.33 angstrom; counts."""
    q = np.arange(1.2, 1.5, 0.002)
    places = 6 * np.pi / np.array([c, 14.33])
    lines = np.exp(-4 * np.log(2) * ((q[None] - places[:, None]) / width) ** 2)
    counts = 200 + 20_000 * ((1 - part) * lines[0] + part * lines[1])
    return xr.Dataset(
        {"intensity": quantity(("frame", "q"), counts[None], "count", "intensity")},
        {"q": quantity("q", q, "1/angstrom", "q"), "frame": quantity("frame", [0], "1", "frame")},
    )


def test_light_left_behind_is_counted_and_a_broad_line_is_not():
    none, some, more = (float(schema.check(shares(layered(14.15, p))).stray[0]) for p in (0, 0.1, 0.3))
    assert abs(none) < 0.005
    assert some == pytest.approx(0.1, abs=0.03)
    assert more == pytest.approx(0.3, abs=0.06)
    assert abs(float(shares(layered(14.15, 0, width=0.018)).stray[0])) < 0.005
    assert abs(float(shares(layered(14.1513, 0)).stray[0])) < 0.005


def test_patterns_without_counts_give_nothing():
    empty = layered(14.15, 0)
    assert np.isnan(shares(empty * 0 + 1).stray).all()
    assert np.isnan(shares(empty * np.nan).stray).all()


def test_a_healthy_cell_has_no_event(structures):
    said = examined({}, 301, structures)
    assert [str(item) for item in said if item.is_seen] == []
    looked = {item.observable for item in said}
    assert {"xrd.second_layered_phase", "xas.edge_charged", "echem.inventory_loss", "echem.rest_plateau"} <= looked
    assert all(item.limit > 0 for item in said)
    answer = failure.assess(said, materials=["layered_oxide", "graphite"])
    assert not any(one.verdict == "supported" for one in answer.candidates)
    assert answer.explanations[0][0] == ()


def test_three_planted_mechanisms_are_the_first_three(structures):
    planted = {"lithium_plating": 0.7, "fatigued_phase": 0.8, "surface_reconstruction": 0.7}
    said = examined(planted, 302, structures)
    answer = failure.assess(said, materials=["layered_oxide", "graphite"])
    assert set(answer.ranking[:3]) == set(planted)
    assert all(answer[name].verdict == "supported" for name in planted)
    # Every item is plain data that finds its way back.
    assert [Evidence.from_dict(item.as_dict()) for item in said] == said


def test_the_truth_is_never_read(structures):
    cell = simulate.virtual_cell({"sei_growth": 0.8}, seed=303, techniques=["echem"])
    bare = xr.DataTree.from_dict({"/echem": cell["echem"].to_dataset()})
    assert examine(cell) == examine(bare)


@pytest.mark.soak
def test_healthy_cells_are_rarely_accused(structures):
    n = 40
    told = [any(item.is_seen for item in examined({}, 400 + seed, structures)) for seed in range(n)]
    assert sum(told) <= 6  # 5 % are 2; 7 or more of 40 have a chance of 0.5 %


def test_examine_tells_its_steps():
    told = []
    examine(simulate.virtual_cell({}, n_cycles=12, techniques=["echem"]), tell=told.append)
    assert told == ["echem.cycles", "echem.resistance", "echem.plating_signs"]
