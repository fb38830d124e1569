"""The virtual cell as a function: what it takes, what it refuses, what it gives back."""

import json

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.simulate import virtual_cell, virtual_potentials, virtual_structures
from batlab.simulate.ageing import MECHANISMS

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


def test_every_mechanism_names_its_source():
    assert len(MECHANISMS) == 8
    assert all("doi:10." in one.source for one in MECHANISMS.values())


def test_half_cells_and_structures_are_what_the_analysis_takes(tmp_path):
    from batlab import io

    for lithiation, potential in virtual_potentials().values():
        assert np.all(np.diff(lithiation) > 0)
        assert np.all(np.diff(potential) < 0)
    written = virtual_structures(tmp_path / "cif")
    for phase, path in written.items():
        assert io.structure(path).attrs["phase"] == phase
    assert io.structure(written["NiO"]).attrs["space_group"].replace(" ", "") == "Fm-3m"
