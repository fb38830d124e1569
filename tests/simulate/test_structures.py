import gemmi
import numpy as np
import pytest

from batlab.simulate.structures import NMC_LITHIUM, STRUCTURES, nmc_cell, write_cif


# Published spacings in angstrom: PDF cards of Al, Cu and graphite; LiC6 and LiC12 of Guerard and Herold (1975) and the
# usual operando values; NMC811 of Kondrakov et al. (2017).
@pytest.mark.parametrize(
    ("phase", "hkl", "d", "tolerance"),
    [
        ("NMC811", (0, 0, 3), 4.735, 0.006),
        ("NMC811", (1, 1, 0), 1.436, 0.001),
        ("LiC6", (0, 0, 1), 3.706, 0.001),
        ("LiC12", (0, 0, 2), 3.525, 0.006),
        ("graphite", (0, 0, 2), 3.355, 0.001),
        ("Al", (1, 1, 1), 2.338, 0.0005),
        ("Cu", (1, 1, 1), 2.087, 0.0005),
        ("Li", (1, 1, 0), 2.481, 0.002),
    ],
)
def test_spacing_as_published(tmp_path, phase, hkl, d, tolerance):
    crystal = gemmi.read_small_structure(str(write_cif(STRUCTURES[phase], tmp_path)))
    assert crystal.cell.calculate_d(hkl) == pytest.approx(d, abs=tolerance)


@pytest.mark.parametrize("phase", STRUCTURES)
def test_cif_is_read_back_by_an_independent_program(tmp_path, phase):
    structure = STRUCTURES[phase]
    path = write_cif(structure, tmp_path)
    crystal = gemmi.read_small_structure(str(path))
    assert path.stem.split("_")[0] == phase
    assert crystal.spacegroup.xhm() == gemmi.SpaceGroup(structure.space_group).xhm()
    assert crystal.cell.volume == pytest.approx(structure.volume, rel=1e-5)
    assert len(crystal.sites) == len(structure.sites)


@pytest.mark.parametrize(
    ("phase", "atoms"),
    [
        ("NMC811", {"Li": 3, "Ni": 2.4, "Mn": 0.3, "Co": 0.3, "O": 6}),
        ("graphite", {"C": 4}),
        ("LiC12", {"Li": 1, "C": 12}),
        ("LiC6", {"Li": 1, "C": 6}),
        ("Al", {"Al": 4}),
        ("Li", {"Li": 2}),
    ],
)
def test_cell_holds_the_formula(tmp_path, phase, atoms):
    crystal = gemmi.read_small_structure(str(write_cif(STRUCTURES[phase], tmp_path)))
    held: dict[str, float] = {}
    for site in crystal.get_all_unit_cell_sites():
        held[site.element.name] = held.get(site.element.name, 0) + site.occ
    assert held == pytest.approx(atoms, abs=0.01)


# Bond lengths in angstrom: graphite 1.42, LiC6 1.435 (Guerard and Herold), Ni-O of NMC811 1.97.
@pytest.mark.parametrize(
    ("phase", "pair", "length", "tolerance"),
    [
        ("graphite", ("C", "C"), 1.422, 0.002),
        ("LiC6", ("C", "C"), 1.435, 0.002),
        ("LiC12", ("C", "C"), 1.430, 0.002),
        ("NMC811", ("Mn", "O"), 1.97, 0.015),
    ],
)
def test_bond_length(tmp_path, phase, pair, length, tolerance):
    crystal = gemmi.read_small_structure(str(write_cif(STRUCTURES[phase], tmp_path)))
    sites = crystal.get_all_unit_cell_sites()
    plain = gemmi.UnitCell(*crystal.cell.parameters)
    places = [(site.element.name, plain.orthogonalize(site.fract)) for site in sites]
    distances = [
        plain.find_nearest_image(one, other, gemmi.Asu.Any).dist()
        for i, (element, one) in enumerate(places)
        for j, (partner, other) in enumerate(places)
        if i != j and (element, partner) == pair
    ]
    assert min(distances) == pytest.approx(length, abs=tolerance)


def test_c_axis_rises_then_collapses():
    lithium = np.linspace(NMC_LITHIUM[0], NMC_LITHIUM[-1], 500)
    a, c = nmc_cell(lithium)
    assert 0.35 < lithium[np.argmax(c)] < 0.5
    assert 0.01 < c.max() / c[-1] - 1 < 0.025  # published: about 2 % longer at the maximum
    assert c[lithium < 0.2].max() < c[-1]
    assert np.all(np.diff(a) > 0)
    assert 1.5 < 100 * (1 - a[0] / a[-1]) < 2.5  # published: a shrinks by about 2 %
