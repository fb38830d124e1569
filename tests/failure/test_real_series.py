"""What real series bear: events with evidence, and nothing that the data cannot say.

Known of them (rows of the table of datasets): LiCoVO4 shrinks through its charge, which ends at pattern 47.4, and comes
back; the edge of LiNiO2 comes back incompletely after the first cycle; CS2_35 fades from 1.1 to 0.3 Ah; the full cell
dies. Fifteen scans of one Cr2O3 sample are repeats; one of them stopped in the edge.
"""

import warnings

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import datasets
from batlab.failure import assess, examine

pytestmark = pytest.mark.data


def looked_at(parts, **words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cut cycles, missing steps: each known, see the techniques' tests
        return examine(xr.DataTree.from_dict(parts), **words)


def by_name(evidence):
    return {item.observable: item for item in evidence}


def seen(evidence):
    return {(item.observable, item.direction) for item in evidence if item.is_seen}


@pytest.fixture(scope="module")
def repeats():
    files = [path for path in sorted(datasets.path("cr2o3_repeats").glob("*.gz")) if ".006." not in path.name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # points without counts
        return bl.xas.mu(bl.open(files, grid="first", timezone="America/New_York"), "fluorescence")


def test_repeated_scans_of_a_standard_give_no_event(repeats):
    said = looked_at({"/xas": repeats})
    assert {"xas.edge_discharged", "xas.edge_step"} & set(by_name(said))
    assert [str(item) for item in said if item.is_seen] == []
    assert not any(one.verdict == "supported" for one in assess(said).candidates)


def test_licovo4_shrinks_and_comes_back_and_nothing_failed():
    folder, cif = datasets.path("licovo4_operando"), datasets.path("cif")
    structures = {"LiCoVO4": next(cif.glob("LiCoVO4*.cif")), "Al": next(cif.glob("Al_*.cif"))}
    record = bl.open(folder / "charge.txt", current_unit="uA", current_sign="voltage")
    parts = {"/xrd": bl.open(folder / "[0-9]*.txt"), "/echem": record}
    said = looked_at(parts, structures=structures, standard="Al")
    assert seen(said) == {("xrd.solid_solution LiCoVO4", "down"), ("xrd.solid_solution LiCoVO4", "up")}
    falling, rising = sorted((item for item in said if item.is_seen), key=lambda item: item.frames[0])
    assert falling.frames[1] + 1 == pytest.approx(47.4, abs=1.5)
    assert falling.effect == pytest.approx(-0.0113, abs=0.001)
    assert rising.effect == pytest.approx(0.0113, abs=0.001)
    # A reversible change is no sign of a mechanism.
    assert set(assess(said).unexplained) == {falling, rising}
    assert not any(one.verdict == "supported" for one in assess(said).candidates)


def test_the_edge_of_linio2_comes_back_incompletely():
    folder = datasets.path("lno_rock")
    spectra = bl.open(folder / "XAS_normalized" / "*.txt", timezone="Europe/Paris")
    cell = bl.open(folder / "EC" / "*.mpt", timezone="Europe/Paris")
    said = by_name(looked_at({"/xas": spectra, "/echem": cell}))
    item = said["xas.edge_discharged"]
    assert item.direction == "up"
    # The pristine edge lies at 8344.8 eV, the discharged one at 8345.1 to 8345.2 eV.
    assert 0.2 < item.effect < 0.5
    assert item.source
    assert len(item.dataset) == 64
    assert item.dose == "dose not assessed"
    # Two or three cycles say nothing of fading.
    assert not any(name.startswith("echem.capacity") for name in said)


def test_cs2_35_fades_and_its_resistance_rises():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a file that is another's twin, and cut cycles
        cell = bl.open(datasets.path("calce_cs2_35") / "*.xlsx", timezone="America/New_York")
    said = by_name(looked_at({"/echem": cell}))
    capacity = said["echem.capacity"]
    assert capacity.direction == "down"
    # From 1.1 to below 0.4 Ah.
    assert -0.75 < capacity.effect < -0.6
    assert said["echem.hysteresis"].direction == "up"
    assert said["echem.resistance"].direction == "up"
    assert said["echem.inefficiency"].direction == "none"
    answer = assess(list(said.values()), materials=["layered_oxide", "graphite"])
    # One record decides nothing about particles, phases or metals, and says what would.
    for name in ("fatigued_phase", "cation_mixing", "transition_metal_dissolution"):
        assert answer[name].verdict != "supported"
    # Its resistance and its hysteresis are one thing: together they once made this 0.74.
    surface = answer["surface_reconstruction"]
    assert surface.verdict == "not decidable"
    assert surface.probability < 0.5
    assert {name.partition(".")[0] for name, _ in surface.measure} <= {"xas", "xrd", "gas"}
    assert surface.measure
    assert "surface_reconstruction: not decidable from these techniques" in str(answer)
    assert not any(one.verdict == "supported" for one in answer.candidates)
    assert capacity.per_cycle < 0
    assert "measure" in str(answer)


def test_the_full_cell_dies():
    cell = bl.open(datasets.path("neware_fullcell"))
    item = by_name(looked_at({"/echem": cell}))["echem.capacity"]
    assert item.direction == "down"
    assert item.effect < -0.9
    assert np.isfinite(item.effect_sigma)
    assert item.cycles[1] > 200
