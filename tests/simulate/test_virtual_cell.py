"""The virtual cell as a function: what it takes, what it refuses, what it gives back."""

import json
import re

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.simulate import virtual_cell, virtual_potentials, virtual_sources, virtual_structures
from batlab.simulate.ageing import MECHANISMS, Condition

NODES = ("/xrd", "/xas", "/echem", "/truth")


@pytest.fixture(scope="module")
def plated():
    return virtual_cell({"lithium_plating": 0.6, "cation_mixing": 0.3}, n_cycles=12, seed=4)


def test_keeps_the_data_model(plated):
    schema.check(plated)
    assert sorted(plated.children) == ["echem", "truth", "xas", "xrd"]
    assert plated["/xrd"]["intensity"].dims == ("frame", "q")
    assert plated["/xas"]["mu"].dims == ("frame", "energy")
    assert plated["/xas"].attrs["element"] == "Ni"
    for node in ("/xrd", "/xas"):
        on_frame = {name for name, one in plated[node].coords.items() if one.dims == ("frame",)}
        assert {"time", "exposure", "cycle", "voltage", "capacity", "state_of_charge"} <= on_frame
    assert {"voltage", "current", "capacity", "cycle", "step", "temperature"} <= set(plated["/echem"].data_vars)


def test_only_the_truth_says_what_was_planted(plated):
    assert json.loads(plated["/truth"].attrs["mechanisms"]) == {"lithium_plating": 0.6, "cation_mixing": 0.3}
    assert "lithium_plating" in plated["/truth"].attrs["history"]
    for node in NODES[:3]:
        told = json.dumps({key: str(value) for key, value in plated[node].attrs.items()})
        assert "simulate.virtual_cell(n_cycles=12, seed=4" in told
        assert not [name for name in MECHANISMS if name in told]


def test_same_seed_same_bits(plated):
    again = virtual_cell({"cation_mixing": 0.3, "lithium_plating": 0.6}, n_cycles=12, seed=4)
    for node in NODES:
        one, other = (tree[node].to_dataset() for tree in (plated, again))
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
    assert plated["/xrd"].attrs["source_sha256"] == again["/xrd"].attrs["source_sha256"]


def test_another_seed_is_another_cell(plated):
    other = virtual_cell({"lithium_plating": 0.6, "cation_mixing": 0.3}, n_cycles=12, seed=5)
    for node in ("/xrd", "/xas", "/echem"):
        assert schema.identity(plated[node].to_dataset()) != schema.identity(other[node].to_dataset())
    sizes = [float(one["/truth"]["capacity_positive"][0]) for one in (plated, other)]
    assert 0 < abs(sizes[0] / sizes[1] - 1) < 0.1


def test_a_technique_alone_is_the_same_as_among_others(plated):
    alone = virtual_cell({"lithium_plating": 0.6, "cation_mixing": 0.3}, n_cycles=12, seed=4, techniques=["xas"])
    assert sorted(alone.children) == ["truth", "xas"]
    np.testing.assert_array_equal(alone["/xas"]["mu"], plated["/xas"]["mu"])


def test_neither_arguments_nor_the_global_dice_change():
    asked = {"sei_growth": 1}
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    virtual_cell(asked, n_cycles=12, techniques=["echem"])
    assert asked == {"sei_growth": 1}
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_frames_carry_what_the_record_says(plated):
    record = plated["/echem"].to_dataset()
    clock = record["time"].values.astype("int64") / 1e9
    for node in ("/xrd", "/xas"):
        frames = plated[node].to_dataset()
        middle = frames["time"].values.astype("int64") / 1e9 + frames["exposure"].values / 2
        np.testing.assert_allclose(np.interp(middle, clock, record["voltage"]), frames["voltage"], atol=1.5e-3)
        np.testing.assert_allclose(np.interp(middle, clock, record["capacity"]), frames["capacity"], atol=1e-6)
        assert frames["state_of_charge"].values.max() == pytest.approx(1, abs=1e-6)
        assert len(np.unique(frames["cycle"])) == 3


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"mechanisms": {"litium_plating": 0.5}}, "did you mean 'lithium_plating'"),
        ({"mechanisms": {"rust": 0.5}}, "it knows lithium_plating, sei_growth"),
        ({"mechanisms": {"sei_growth": 0}}, "above 0 and up to 1, got 0"),
        ({"mechanisms": {"sei_growth": 1.01}}, r"above 0 and up to 1, got 1\.01"),
        ({"mechanisms": {"sei_growth": float("nan")}}, "got nan"),
        ({"mechanisms": {"sei_growth": True}}, "got True"),
        ({"mechanisms": {"sei_growth": "much"}}, "got 'much'"),
        ({"mechanisms": {}, "techniques": ["xrf"]}, "techniques must be .* got 'xrf'; did you mean 'xrd'"),
        ({"mechanisms": {}, "techniques": []}, "at least one"),
        ({"mechanisms": {}, "n_cycles": 11}, "at least 12, got 11"),
        ({"mechanisms": {}, "n_cycles": 12.5}, "whole number"),
        ({"mechanisms": {}, "n_cycles": True}, "got True"),
        ({"mechanisms": {}, "n_cycles": float("nan")}, "whole number of at least 12, got nan"),
        ({"mechanisms": {}, "n_cycles": "many"}, "whole number of at least 12, got 'many'"),
        ({"mechanisms": {}, "noise": -1.0}, "noise must be"),
        ({"mechanisms": {}, "noise": "much"}, "noise must be .* got 'much'"),
        ({"mechanisms": {}, "noise": float("nan")}, "noise must be"),
        ({"mechanisms": {}, "noise": float("inf")}, "noise must be"),
    ],
)
def test_refuses(wrong, told):
    with pytest.raises(ValueError, match=told):
        virtual_cell(**wrong)


def test_names_without_severities_are_refused():
    with pytest.raises(TypeError, match=r"must be {name: severity}, got \['sei_growth'\]"):
        virtual_cell(["sei_growth"])


@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
def test_stated_sigma_is_that_of_the_noise(noise):
    """Against the same cell without noise, between the lines, where a sample out of its place changes little."""
    told = {"n_cycles": 12, "seed": 4, "techniques": ["xrd"]}
    clean, noisy = (virtual_cell({}, noise=n, **told)["/xrd"].to_dataset() for n in (0, noise))
    seen = clean["intensity"].values
    flat = (np.ptp(seen, axis=0) < 0.1 * seen.mean(axis=0)) & (np.abs(np.gradient(seen.mean(axis=0))) < 2)
    assert flat.sum() > 20
    pull = ((noisy["intensity"] - clean["intensity"]) / noisy["intensity_sigma"]).values[:, flat]
    pull -= pull.mean(axis=1, keepdims=True)  # the flux
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_every_size_that_is_planted_names_its_paper():
    rows = virtual_sources()
    assert len({row["mechanism"] for row in rows} - {"healthy"}) == len(MECHANISMS) == 8
    for row in rows:
        told = f"{row['mechanism']}.{row['effect']}"
        assert row["effect"] in Condition.__dataclass_fields__, told
        assert row["kind"] in ("stated", "derived", "bound"), told
        assert row["doi"], told
        assert all(re.fullmatch(r"10\.\d{4,9}/\S+", doi) for doi in row["doi"]), told
        assert "judgement" not in row["says"], told
        assert 0 <= row["size"][0] <= row["size"][1] <= 1, told


def test_each_cell_draws_its_own_sizes_and_a_severity_is_a_part_of_them(plated):
    ranges = {(row["mechanism"], row["effect"]): row for row in virtual_sources()}
    seen = set()
    for seed in (4, 5, 6):
        tree = (
            plated if seed == 4 else virtual_cell({"lithium_plating": 0.6}, n_cycles=12, seed=seed, techniques="echem")
        )
        sizes = json.loads(tree["/truth"].attrs["sizes"])
        for name, severity in (("lithium_plating", 0.6), ("healthy", 1.0)):
            for effect, size in sizes[name].items():
                row = ranges[name, effect]
                low, high = (severity * end for end in row["size"])
                if row["of"]:
                    low, high = (end * sizes[name][row["of"]] / severity for end in (low, high))
                assert low - 1e-12 <= size <= high + 1e-12, (name, effect)
        seen.add(sizes["lithium_plating"]["side"])
    assert len(seen) == 3
    # What else is planted does not change them.
    alone = virtual_cell({"lithium_plating": 1.0}, n_cycles=12, seed=4, techniques="echem")
    whole = json.loads(alone["/truth"].attrs["sizes"])["lithium_plating"]
    part = json.loads(plated["/truth"].attrs["sizes"])["lithium_plating"]
    assert part == pytest.approx({effect: 0.6 * size for effect, size in whole.items()})


def test_sizes_follow_from_what_the_papers_say():
    """The derivations of `ageing.toml`, worked out anew."""
    from batlab.simulate import diffraction
    from batlab.simulate.powder import reflections
    from batlab.simulate.structures import NMC_A, NMC_C

    sizes = {(row["mechanism"], row["effect"]): row["size"] for row in virtual_sources()}
    # A shell of 5 nm on grains of 500 and of 150 nm.
    shells = [1 - (1 - 2 * 5 / d) ** 3 for d in (500, 150)]
    assert sizes["surface_reconstruction", "converted"] == pytest.approx(shells, abs=5e-3)
    assert sizes["graphite_inhomogeneity", "spread"] == pytest.approx((0.5 * 0.3, 12**-0.5), abs=2e-3)
    assert sizes["transition_metal_dissolution", "side"][0] == pytest.approx(0.125 * 44.8 / 57.2, abs=1e-3)
    assert sizes["healthy", "side"] == pytest.approx((0.083 / 25, 0.083 / 5), abs=5e-4)

    def ratio(nickel):
        lines = reflections(diffraction.layered(nickel, 1.0), wavelength=1.5406, q_max=5.0)
        strength = dict(zip(lines.hkl, lines.strength, strict=True))
        told = []
        for hkl, d in (("0 0 3", NMC_C[-1] / 3), ("1 0 4", (4 / 3 / NMC_A[-1] ** 2 + 16 / NMC_C[-1] ** 2) ** -0.5)):
            theta = np.arcsin(1.5406 / 2 / d)
            told.append(strength[hkl] * (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta)))
        return told[0] / told[1]

    nickel = np.linspace(0, 0.12, 1201)
    found = np.interp([-1.388, -1.204, -1.121, -1.011], [-ratio(n) for n in nickel], nickel)
    assert found == pytest.approx([0.002, 0.040, 0.059, 0.084], abs=1e-3)
    assert sizes["cation_mixing", "mixing"] == pytest.approx(found[[1, 3]] - found[0], abs=1e-3)


def test_half_cells_and_structures_are_what_the_analysis_takes(tmp_path):
    from batlab import io

    for lithiation, potential in virtual_potentials().values():
        assert np.all(np.diff(lithiation) > 0)
        assert np.all(np.diff(potential) < 0)
    written = virtual_structures(tmp_path / "cif")
    for phase, path in written.items():
        assert io.structure(path).attrs["phase"] == phase
    assert io.structure(written["NiO"]).attrs["space_group"].replace(" ", "") == "Fm-3m"
