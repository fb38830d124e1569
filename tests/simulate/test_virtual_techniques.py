"""What was planted in a virtual cell comes back through the house's own techniques."""

import warnings

import numpy as np
import pytest

from batlab import curves, echem, schema, xas, xrd
from batlab.simulate import virtual_cell, virtual_potentials, virtual_structures

PLANTED = {"sei_growth": 0.7, "particle_cracking": 0.6, "surface_reconstruction": 0.5}
SESSION = 22  # frames


@pytest.fixture(scope="module")
def tree():
    return virtual_cell(PLANTED, n_cycles=40, seed=8)


@pytest.fixture(scope="module")
def cycles(tree):
    return echem.cycles(tree["/echem"].to_dataset())


def of_kind(cycles, kind):
    return [int(one) for one in cycles["cycle"].values[cycles["kind"].values == kind]]


def test_cycles_are_told_apart_and_capacities_are_the_planted_ones(tree, cycles):
    schema.check(cycles)
    counted = {kind: len(of_kind(cycles, kind)) for kind in ("formation", "cycle", "check_up", "pulse")}
    assert counted == {"formation": 2, "cycle": 40, "check_up": 5, "pulse": 5}
    assert cycles["capacity_discharge"].values[cycles["kind"].values == "check_up"][0] == pytest.approx(0.045, rel=0.05)
    # What is charged and not discharged is lost: the planted side reactions and what lost material keeps.
    usual = of_kind(cycles, "cycle")
    truth = tree["/truth"].to_dataset()
    one = cycles.sel(cycle=usual)
    missing = float((one["capacity_charge"] - one["capacity_discharge"]).sum())
    eaten = truth["lithium_side"] + truth["lithium_trapped"]
    assert missing == pytest.approx(float(eaten.sel(cycle=usual[-1]) - eaten.sel(cycle=2)), rel=0.2)


def test_losses_come_back_from_the_slow_cycles(tree, cycles):
    slow = of_kind(cycles, "check_up")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "echem.degradation_modes", UserWarning)
        lost = echem.degradation_modes(tree["/echem"].to_dataset(), cycle=slow, polarized=True, **virtual_potentials())
    truth = tree["/truth"].to_dataset().sel(cycle=slow)
    for name in ("lam_positive", "lam_negative", "lli"):
        assert np.all(np.abs(lost[name] - truth[name]) < 4 * lost[f"{name}_sigma"] + 2e-3)
    assert float(lost["lam_positive"][-1]) > 10 * float(lost["lam_positive_sigma"][-1])


def test_the_area_of_dqdv_is_the_capacity(tree, cycles):
    slow = of_kind(cycles, "check_up")
    curve = echem.dqdv(tree["/echem"].to_dataset(), cycle=slow)
    volts, rate = curve["voltage"].values, np.nan_to_num(curve["dqdv"].values)
    charged = cycles["capacity_charge"].sel(cycle=slow).values
    np.testing.assert_allclose(np.trapezoid(rate, volts, axis=1), charged, rtol=0.02)


def test_resistance_rises_as_planted(tree, cycles):
    found = echem.resistance(tree["/echem"].to_dataset())
    pulses = of_kind(cycles, "pulse")
    truth = tree["/truth"]["resistance"]
    at = []
    for number in (pulses[0], pulses[-1]):
        mine = (found["cycle"].values == number) & (found["kind"].values == "begins")
        ohms = found["resistance"].sel(delay=0.1).values[mine]
        at.append(float(np.median(ohms[np.isfinite(ohms)])))
    assert at[0] == pytest.approx(0.9, rel=0.2)  # the ohmic part, cells differ by 5 %
    expected = float(truth.sel(cycle=pulses[-1]) / truth.sel(cycle=pulses[0]))
    assert at[1] / at[0] == pytest.approx(expected, rel=0.05)


def test_edges_and_steps_come_back(tree):
    aligned = xas.align_energy(tree["/xas"].to_dataset(), to=8333.0)
    done = schema.check(xas.normalize(aligned))
    truth = tree["/truth"].to_dataset()
    for method, rms in (("integral", 0.03), ("half_step", 0.03)):
        edges = xas.edge_energy(done, method=method)["e0"].values
        slope, _ = np.polyfit(truth["edge_shift"], edges, 1)
        assert slope == pytest.approx(1, abs=0.08)
        rest = edges - truth["edge_shift"].values
        assert np.std(rest - rest.mean()) < rms
    # The monochromator was off by a tenth of an eV a visit, and the foil says by how much.
    shift = aligned["energy_shift"].values.reshape(3, SESSION)
    assert 0.01 < np.std(shift.mean(axis=1)) < 0.4
    assert np.all(np.std(shift, axis=1) < 0.06)


def test_dissolved_nickel_is_found_on_the_other_electrode():
    from batlab.failure._deposit import deposits

    tree = virtual_cell({"transition_metal_dissolution": 1.0}, n_cycles=12, seed=3, techniques=["xas"])
    found = schema.check(deposits(tree["/xas"].to_dataset(), 8343.0))
    part = found["metal_on_anode"].values.reshape(3, SESSION).mean(axis=1)
    nickel = tree["/truth"]["nickel"].values.reshape(3, SESSION)[:, 0]
    assert part == pytest.approx(1 - nickel, abs=5e-5)
    assert 1 - nickel[-1] == pytest.approx(0.0016)
    # In the positive electrode each visit meets 0.6 % more or less of it: nobody could miss 0.16 %.
    steps = xas.normalize(tree["/xas"].to_dataset())["edge_step"].values.reshape(3, SESSION)
    assert steps[-1].mean() / steps[0].mean() == pytest.approx(1, abs=3 * 0.006 * np.sqrt(2))


def test_lattices_come_back_within_their_sigma(tree, tmp_path):
    frames = tree["/xrd"].to_dataset().isel(frame=slice(SESSION, 2 * SESSION))
    truth = tree["/truth"].to_dataset().isel(frame=slice(SESSION, 2 * SESSION))
    crystals = {name: str(path) for name, path in virtual_structures(tmp_path).items()}
    near = {name: crystals[name] for name in ("NMC811", "graphite", "LiC12", "LiC6", "Al", "Cu")}
    peaks = curves.fit_peaks(frames, near=near)
    cells = schema.check(xrd.refine_cell(peaks, crystals["NMC811"], standard=crystals["Cu"], correction="distance"))
    for axis, known in (("a", 5e-4), ("c", 8e-3)):
        off = (cells[axis] - truth[axis]).values
        pull = off / cells[f"{axis}_sigma"].values
        assert np.isfinite(pull).sum() >= 18
        assert np.nanmedian(np.abs(pull)) < 1.2
        assert np.nanpercentile(np.abs(pull), 90) < 3
        assert np.nanmax(np.abs(off)) < known
    # It breathes: by a third of an angstrom in c, and the foil's lattice tells where the sample was.
    assert np.ptp(truth["c"].values) > 0.25


def test_plated_metal_shows_in_the_rest_after_charging():
    plated = echem.plating_signs(virtual_cell({"lithium_plating": 1.0}, n_cycles=30, seed=1)["/echem"].to_dataset())
    sound = echem.plating_signs(virtual_cell({}, n_cycles=30, seed=1)["/echem"].to_dataset())
    late = slice(25, -2)
    assert np.nanmedian(plated["rest_plateau_strength"][late]) > 5
    assert np.nanmax(sound["rest_plateau_strength"]) < 5


@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_cell_ages_a_little_and_no_more(seed):
    truth = virtual_cell({}, n_cycles=30, seed=seed, techniques=["echem"])["/truth"]
    assert 0.003 < float(truth["lli"][-1]) < 0.03
    assert 0 < float(truth["lam_positive"][-1]) < 0.0034
    assert 1 < float(truth["resistance"][-1] / truth["resistance"][0]) < 1.04
