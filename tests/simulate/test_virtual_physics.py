"""The physics of the virtual cell, without noise: lithium counted, the lever rule, what each mechanism does."""

import json

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from batlab.simulate import diffraction, full_cell, virtual_cell, virtual_potentials
from batlab.simulate.cell import CAPACITY
from batlab.simulate.structures import DILUTE_LIMIT, nmc_cell

TOP, LAST, EMPTY = 10, 44, 21  # frames: at rest charged, of the last session the first, at rest discharged
ALL = dict.fromkeys(
    ("lithium_plating", "sei_growth", "particle_cracking", "graphite_inhomogeneity", "transition_metal_dissolution"),
    0.4,
)


def cell(**mechanisms):
    return virtual_cell(mechanisms, n_cycles=30, seed=2, noise=0)


@pytest.fixture(scope="module")
def healthy():
    return cell()


@pytest.fixture(scope="module")
def ill():
    return virtual_cell(ALL, n_cycles=30, seed=2, noise=0)


@pytest.mark.parametrize("which", ["healthy", "ill"])
def test_no_lithium_is_lost_to_nowhere(which, request):
    truth = request.getfixturevalue(which)["/truth"]
    total = truth["lithium_inventory"] + truth["lithium_side"] + truth["lithium_trapped"]
    np.testing.assert_allclose(total, 0.98 * truth["capacity_positive"][0], rtol=1e-12)
    for gone in ("lithium_side", "lithium_trapped", "lam_positive", "lam_negative", "resistance"):
        assert np.all(np.diff(truth[gone]) >= -1e-12)


def test_charge_is_what_leaves_the_oxide_and_enters_the_carbon(healthy):
    """By the X-rays' own numbers: lithium in the oxide, and the lever rule in the graphite."""
    truth, frames = healthy["/truth"], healthy["/xrd"]
    for session in range(3):
        here = slice(22 * session, 22 * session + 22)
        cycle = int(frames["cycle"][here][0])
        positive, negative, inventory = (
            float(truth[name].sel(cycle=cycle))
            for name in ("capacity_positive", "capacity_negative", "lithium_inventory")
        )
        oxide = positive * truth["lithium_positive"].values[here]
        np.testing.assert_allclose(np.diff(oxide), -np.diff(frames["capacity"].values[here]), atol=1e-12)
        in_carbon = (inventory - oxide) / negative
        shares = [truth[f"share_{name}"].values[here] for name in ("graphite", "lic12", "lic6")]
        np.testing.assert_allclose(np.sum(shares, axis=0), 1, atol=1e-12)
        # A thousandth of the carbon is lost with its lithium in it and stays LiC6: no part of the working lithium.
        lost = float(truth["lam_negative"].sel(cycle=cycle))
        working = (DILUTE_LIMIT * shares[0] + 0.5 * shares[1] + shares[2] - lost) / (1 - lost)
        staged = in_carbon > DILUTE_LIMIT + 0.02
        assert staged.sum() > 15
        np.testing.assert_allclose(working[staged], in_carbon[staged], atol=1e-12)


def test_the_counter_is_the_integral_of_the_current(ill):
    record = ill["/echem"].to_dataset()
    for number in (1, 20, int(record["cycle"].max())):
        one = record.isel(record=np.flatnonzero(record["cycle"] == number))
        seconds, current, step = one["test_time"].values, one["current"].values, one["step"].values
        new = np.diff(step) != 0
        flow = np.diff(seconds) * np.where(new, current[1:], (current[1:] + current[:-1]) / 2) / 3600
        counted = np.concatenate([[0], np.cumsum(flow)])
        np.testing.assert_allclose(one["capacity"] - one["capacity"][0], counted, atol=5e-4 * 0.05)
    assert np.all(np.diff(record["test_time"]) > 0)
    assert record["voltage"].values.max() == pytest.approx(4.2, abs=1e-6)


@pytest.mark.parametrize("which", ["healthy", "ill"])
def test_at_rest_the_voltage_is_that_of_the_electrodes(which, request):
    tree = request.getfixturevalue(which)
    truth, frames = tree["/truth"], tree["/xrd"]
    plus, minus = (PchipInterpolator(*virtual_potentials()[side]) for side in ("positive", "negative"))
    for frame in (TOP, LAST + TOP):
        positive, negative, inventory = (
            float(truth[name].sel(cycle=int(frames["cycle"][frame])))
            for name in ("capacity_positive", "capacity_negative", "lithium_inventory")
        )
        y = float(truth["lithium_positive"][frame])
        volts = plus(y) - minus((inventory - positive * y) / negative)
        # Spread graphite has the mean potential of its parts: some millivolts off.
        assert float(frames["voltage"][frame]) == pytest.approx(volts, abs=1e-4 if which == "healthy" else 5e-3)


def test_capacity_is_that_of_an_equilibrium_cell_with_the_planted_losses():
    """Against `full_cell`, which knows no steps: limits less the planted polarization of a C/20 current."""
    tree = cell(sei_growth=0.8, particle_cracking=0.8)
    truth, record = tree["/truth"], tree["/echem"]
    for frame in (0, LAST):
        number = int(tree["/xrd"]["cycle"][frame])
        told = truth.to_dataset().sel(cycle=number)
        drop = 0.0025 * float(told["resistance"])
        slow = full_cell(
            *(PchipInterpolator(*virtual_potentials()[side], extrapolate=False) for side in ("positive", "negative")),
            capacities=tuple(
                float(told[name]) for name in ("capacity_positive", "capacity_negative", "lithium_inventory")
            ),
            limits=(3.0 + drop, 4.2 - drop), current=0.0025,
        )  # fmt: skip
        charge = record["capacity"].values[record["cycle"].values == number]
        # From empty to full: the cell starts from a C/20 discharge that has rested.
        assert charge.max() - charge.min() == pytest.approx(float(slow["capacity"].max()), rel=2e-3)


def planted(tree, mechanism):
    return json.loads(tree["/truth"].attrs["sizes"])[mechanism]


def test_planted_losses_are_those_of_the_table(healthy):
    cracked = cell(particle_cracking=1.0)
    more = float(cracked["/truth"]["lam_positive"][-1] - healthy["/truth"]["lam_positive"][-1])
    assert more == pytest.approx(planted(cracked, "particle_cracking")["isolated"], abs=1e-3)
    truth = cell(transition_metal_dissolution=0.5)["/truth"]
    assert float(truth["nickel"][-1]) == pytest.approx(1 - 0.0008)
    assert float(truth["nickel"][0]) == 1


def test_dissolved_metal_lies_on_the_negative_electrode(healthy):
    """Of 1.6 per mille the other electrode's spectrum has the step, divalent; the positive one's misses nothing."""
    tree = cell(transition_metal_dissolution=1.0)
    deposit, metal = tree["/xas"]["mu_negative"], tree["/xas"]["mu"]
    step = [float(one[LAST].sel(energy=8800, method="nearest") - one[LAST].sel(energy=8300, method="nearest"))
            for one in (deposit, metal)]  # fmt: skip
    assert step[0] / step[1] == pytest.approx(0.0016, rel=0.2)
    assert np.ptp(healthy["/xas"]["mu_negative"][LAST].values) == 0
    assert np.ptp(deposit[0].values) == 0


def heights(tree, frame, q):
    return float(tree["/xrd"]["intensity"][frame].sel(q=q, method="nearest"))


def line(c, order=3):
    return 2 * np.pi * order / c


def test_fatigued_material_stays_behind_at_the_top_only(healthy):
    tired = cell(fatigued_phase=1.0)
    behind = line(float(nmc_cell(0.25)[1]))
    truth = tired["/truth"]
    own = line(float(truth["c"][LAST + TOP]))
    assert own - behind > diffraction.FWHM
    assert heights(tired, LAST + TOP, behind) > 10 * heights(healthy, LAST + TOP, behind)
    assert heights(tired, LAST + TOP, behind) / heights(tired, LAST + TOP, own) == pytest.approx(0.45 / 0.55, rel=0.25)
    # Discharged there is one lattice: the line is as high as that of a healthy cell at that charge.
    own = line(float(truth["c"][LAST + EMPTY]))
    assert heights(tired, LAST + EMPTY, own) == pytest.approx(heights(healthy, LAST + EMPTY, own), rel=0.02)


def test_mixed_nickel_weakens_003_but_not_104(healthy):
    mixed = cell(cation_mixing=1.0)
    at = LAST + 4
    ratio = [heights(tree, at, line(float(tree["/truth"]["c"][at]))) for tree in (mixed, healthy)]
    assert 0.75 < ratio[0] / ratio[1] < 0.90
    # In 104 both metal layers scatter in phase: what changes places there is not seen.
    few, many = (diffraction._layered_lines(nickel, 0.5) for nickel in (0.03, 0.08))
    changed = dict(zip(few.hkl, many.strength / few.strength - 1, strict=True))
    assert changed["1 0 4"] == pytest.approx(0, abs=0.01)
    assert -0.25 < changed["0 0 3"] < -0.10


def test_patterns_of_what_never_changes_are_those_of_every_line():
    """Read off one curve instead of line by line; a sample off its place shifts it. Lines end at 1e-4."""
    angles = diffraction._angles(diffraction.Q / (1 + 1.3e-4))
    for name in ("Al", "Cu", "LiC12", "LiC6", "Li", "NiO"):
        plain = diffraction._pattern(diffraction.EVERY[name], angles)
        quick = diffraction._curve(name)(diffraction.Q / (1 + 1.3e-4))
        np.testing.assert_allclose(quick, plain, atol=1e-4 * plain.max())


def test_six_structures_give_every_occupancy_exactly():
    from batlab.simulate.powder import reflections

    told = {"wavelength": diffraction.WAVELENGTH, "q_max": 5.2}
    plain = reflections(diffraction.layered(0.055, 0.37), **told)
    quick = diffraction._layered_lines(0.055, 0.37)
    assert plain.hkl == quick.hkl
    np.testing.assert_allclose(quick.strength, plain.strength, rtol=1e-9)


def test_rock_salt_is_broad_and_its_nickel_divalent(healthy):
    rebuilt = cell(surface_reconstruction=1.0)
    more = (rebuilt["/xrd"]["intensity"] - healthy["/xrd"]["intensity"])[LAST + EMPTY]
    q = 2 * np.pi / (4.1771 / np.sqrt(8))  # 220
    assert float(more.sel(q=q, method="nearest")) > 50
    assert float(more.sel(q=q - 0.05, method="nearest")) > 0.4 * float(more.sel(q=q, method="nearest"))
    # Converted nickel falls from 3.8 to 2 at the top: by 1.65 eV a unit of valence; what stays layered goes a little
    # further, as there is less of it for the same lithium in the graphite.
    shift = (rebuilt["/truth"]["edge_shift"] - healthy["/truth"]["edge_shift"])[LAST + TOP]
    converted = planted(rebuilt, "surface_reconstruction")["converted"]
    assert float(shift) == pytest.approx(-converted * 1.65 * ((3.3 - 0.19) / 0.8 - 2), rel=0.1)


def test_cut_off_grains_do_not_move_with_charge(healthy):
    cracked = cell(particle_cracking=1.0)
    truth, sound = cracked["/truth"], healthy["/truth"]
    own, other = (line(float(one["c"][LAST + EMPTY])) for one in (truth, sound))
    assert heights(cracked, LAST + EMPTY, own) < 0.9 * heights(healthy, LAST + EMPTY, other)


def test_unequal_graphite_has_three_phases_at_once(healthy):
    uneven = cell(graphite_inhomogeneity=1.0)
    for tree, expected in ((healthy, False), (uneven, True)):
        shares = [tree["/truth"][f"share_{name}"].values[LAST:] for name in ("graphite", "lic6")]
        at_once = np.min(shares, axis=0) > 0.02
        assert at_once.any() == expected
    assert float(uneven["/truth"]["share_lic6"][LAST + EMPTY]) > 0.06  # cut off when full


def test_dead_metal_grows_only_where_lithium_plates(healthy):
    plated = cell(lithium_plating=1.0)
    metal = plated["/truth"]["metal"]
    assert float(metal[0]) == 0
    part = planted(plated, "lithium_plating")
    assert 0 < part["metal"] <= part["side"]
    inventory = float(plated["/truth"]["lithium_inventory"].sel(cycle=7))
    assert float(metal[-1]) == pytest.approx(part["metal"] * inventory, rel=1e-3)
    assert not healthy["/truth"]["metal"].any()
    more = (plated["/xrd"]["intensity"] - healthy["/xrd"]["intensity"])[LAST + EMPTY]
    assert float(more.sel(q=2 * np.pi / (3.5093 / np.sqrt(2)), method="nearest")) > 10


def test_resistance_moves_the_voltage_of_fast_cycles(healthy):
    slow = cell(surface_reconstruction=1.0)
    drops = []
    for tree in (healthy, slow):
        record = tree["/echem"].to_dataset()
        one = record.isel(record=np.flatnonzero(record["cycle"] == int(record["cycle"].max()) - 2))
        at = int(np.flatnonzero(one["step"].values == 4)[0])
        drops.append(float(one["voltage"][at - 1] - one["voltage"][at]))
    ratio = [float(tree["/truth"]["resistance"][-3]) for tree in (healthy, slow)]
    assert drops[1] / drops[0] == pytest.approx(ratio[1] / ratio[0], rel=0.03)


def test_sizes_of_the_electrodes_are_those_of_the_first_virtual_cell(healthy):
    assert float(healthy["/truth"]["capacity_positive"][0]) == pytest.approx(CAPACITY, rel=0.05)


def test_all_that_can_go_wrong_at_once_stays_a_cell():
    from batlab import echem, schema
    from batlab.simulate.ageing import MECHANISMS

    tree = schema.check(virtual_cell(dict.fromkeys(MECHANISMS, 1.0), n_cycles=20, seed=6))
    for node in tree.children.values():
        for values in node.to_dataset().data_vars.values():
            assert np.isfinite(values).all()
    kinds = echem.cycles(tree["/echem"].to_dataset())["kind"].values
    assert [int((kinds == kind).sum()) for kind in ("formation", "cycle", "check_up", "pulse")] == [2, 20, 5, 5]
