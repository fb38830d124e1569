"""Structures: every CIF at hand with the space group its paper states, and files that lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.schema import check

# File -> space group, number, a, c (angstrom), sites, from the titles and tables of the papers named in the files.
KNOWN = {
    "Al2O3_R-3c_amcsd9327": ("R -3 c", 167, 4.757, 12.988, 2),
    "Al_Fm-3m_cod9008460": ("F m -3 m", 225, 4.04958, 4.04958, 1),
    "CeO2_Fm-3m_cod9009008": ("F m -3 m", 225, 5.411, 5.411, 2),
    "Co3O4_Fd-3m_amcsd7469": ("F d -3 m:2", 227, 8.082, 8.082, 3),
    "CoO_Fm-3m_amcsd11296": ("F m -3 m", 225, 4.267, 4.267, 2),
    "Cu_Fm-3m_cod9008468": ("F m -3 m", 225, 3.61496, 3.61496, 1),
    "LaB6_Pm-3m_amcsd14189": ("P m -3 m", 221, 4.154, 4.154, 2),
    "Li2CO3_C2c_cod9008283": ("C 1 2/c 1", 15, 8.359, 6.197, 4),
    "Li2MnO3_C2m_amcsd16283": ("C 1 2/m 1", 12, 4.93, 5.03, 6),
    "Li2O_Fm-3m_cod9009059": ("F m -3 m", 225, 4.619, 4.619, 2),
    "Li2S_Fm-3m_amcsd11739": ("F m -3 m", 225, 5.708, 5.708, 2),
    "LiCoO2_R-3m_dansdiffraction": ("R -3 m", 166, 2.824, 13.888, 3),
    "LiCoVO4_Fd-3m_amcsd12092": ("F d -3 m", 227, 8.276, 8.276, 6),
    "LiF_Fm-3m_amcsd11345": ("F m -3 m", 225, 4.0173, 4.0173, 2),
    "LiMn0.5Fe0.5PO4_triphylite_Pbnm_amcsd5978": ("P b n m", 62, 4.71, 6.05, 7),
    "LiMn2O4_Fd-3m_amcsd20312": ("F d -3 m:2", 227, 8.24, 8.24, 3),
    "LiOH_P4nmm_cod9008958": ("P 4/n m m", 129, 3.546, 4.334, 3),
    "Li_Im-3m_cod9008542": ("I m -3 m", 229, 3.51, 3.51, 1),
    "MgAl2O4_spinel_Fd-3m_cod9002044": ("F d -3 m:2", 227, 8.08, 8.08, 5),
    "Mn3O4_I41amd_amcsd2024": ("I 41/a m d:2", 141, 5.76, 9.46, 3),
    "MnO_Fm-3m_cod9008674": ("F m -3 m", 225, 4.445, 4.445, 2),
    "NiO_Fm-3m_cod9008693": ("F m -3 m", 225, 4.178, 4.178, 2),
    "Ni_Fm-3m_amcsd11153": ("F m -3 m", 225, 3.52387, 3.52387, 1),
    "S8_Fddd_amcsd10058": ("F d d d:2", 70, 10.46, 24.49, 4),
    "Si_Fd-3m_300K_amcsd11243": ("F d -3 m", 227, 5.43053, 5.43053, 1),
    "graphite_P63mc_cod9008569": ("P 63 m c", 186, 2.456, 6.696, 2),
    "heterosite_Fe0.65Mn0.35PO4_Pmnb_amcsd269": ("P m n b", 62, 5.82, 4.77, 6),
}

NACL = """data_NaCl
_cell_length_a 5.6402(2)
_cell_length_b 5.6402
_cell_length_c 5.6402
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_chemical_formula_sum 'Na Cl'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
Na1 0 0 0 1.0
Cl1 0.5 0.5 0.5 ?
"""


def opened(path, **hints):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(io.open(path, **hints))
    except ReadError as error:
        message = str(error)
    assert path.name in message
    return None


def write(folder, text, name="NaCl_1.cif"):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.data
def test_every_file_is_known():
    assert {path.stem for path in datasets.path("cif").glob("*.cif")} == set(KNOWN)


@pytest.mark.data
@pytest.mark.parametrize("stem", KNOWN)
def test_space_group_cell_and_sites(stem):
    group, number, a, c, n_sites = KNOWN[stem]
    ds = check(io.open(datasets.path("cif") / f"{stem}.cif"))
    assert (ds.attrs["space_group"], ds.attrs["space_group_number"]) == (group, number)
    assert float(ds["a"]) == pytest.approx(a, abs=0.02)
    assert float(ds["c"]) == pytest.approx(c, abs=0.02)
    assert ds.sizes["site"] == n_sites
    assert ds.attrs["phase"] == stem.split("_")[0]


@pytest.mark.data
@pytest.mark.parametrize("stem", KNOWN)
def test_sites_and_setting_give_the_density_stated(stem):
    """The multiplicities that the space group's setting gives reproduce the density in the file."""
    import gemmi

    path = datasets.path("cif") / f"{stem}.cif"
    stated = gemmi.cif.read(str(path))[0].find_value("_exptl_crystal_density_diffrn")
    if stated is None:
        pytest.skip("the file states no density")
    ds = io.open(path)
    cell = gemmi.UnitCell(*(float(ds[name]) for name in ("a", "b", "c", "alpha", "beta", "gamma")))
    operations = list(gemmi.SpaceGroup(ds.attrs["space_group"]).operations())
    mass = 0.0
    for i in range(ds.sizes["site"]):
        place = [float(ds[f"fract_{k}"][i]) for k in "xyz"]
        images = np.array([operation.apply_to_xyz(place) for operation in operations])
        apart = images[:, None] - images[None]
        apart = np.abs(apart - np.round(apart)).max(axis=2) < 1e-3
        multiplicity = len(operations) / apart.sum(axis=1)[0]
        mass += multiplicity * float(ds["occupancy"][i]) * gemmi.Element(str(ds["element"].values[i])).weight
    assert mass * 1.66053907 / cell.volume == pytest.approx(float(stated), rel=0.02)


def test_displacements_and_uncertainties(tmp_path):
    ds = check(io.open(write(tmp_path, NACL)))
    assert float(ds["a"]) == 5.6402
    assert float(ds["volume"]) == pytest.approx(5.6402**3)
    assert ds["u_iso"].values == pytest.approx([1 / (8 * np.pi**2), np.nan], nan_ok=True)
    assert ds["element"].values.tolist() == ["Na", "Cl"]
    assert (ds.attrs["phase"], ds.attrs["crystal_system"], ds.attrs["formula"]) == ("NaCl", "cubic", "Na Cl")
    assert io.open(tmp_path / "NaCl_1.cif", phase="halite").attrs["phase"] == "halite"


def test_anisotropic_displacements_stay_and_become_isotropic_too(tmp_path):
    text = NACL.replace("_atom_site_B_iso_or_equiv\n", "").replace(" 1.0\n", "\n").replace(" ?\n", "\n")
    text += "loop_\n_atom_site_aniso_label\n"
    text += "".join(f"_atom_site_aniso_U_{ij}\n" for ij in (11, 22, 33, 12, 13, 23)) + "Na1 0.01 0.02 0.03 0 0 0\n"
    made = io.open(write(tmp_path, text))
    assert made["u_iso"].values == pytest.approx([0.02, np.nan], nan_ok=True)
    for ij, value in (("11", 0.01), ("22", 0.02), ("33", 0.03), ("12", 0.0), ("13", 0.0), ("23", 0.0)):
        assert made[f"u_{ij}"].values == pytest.approx([value, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Na1 0 0 0 1.0", "Na1 0 0 0", r"line \d+: .*[Ww]rong number of values"),
        ("_cell_angle_gamma 90", "_cell_angle_gamma 90\nrubbish here", r"line \d+: .*"),
        ("'F m -3 m'", "'F m -3 q'", r"space group \('F m -3 q', 0 operations listed\) is not known"),
        ("_symmetry_space_group_name_H-M 'F m -3 m'\n", "", r"space group \(none, 0 operations listed\) is not known"),
        ("'F m -3 m'", "'F d -3 m'", r"two choices of origin \(F d -3 m:1 and F d -3 m:2\)"),
        ("_cell_length_b 5.6402", "_cell_length_b 5.7", r"cannot have the space group F m -3 m"),
        ("_cell_length_b 5.6402", "_cell_length_b 0", r"line 3: _cell_length_b must be above 0"),
        ("_cell_length_b 5.6402", "_cell_length_b ?", r"line 3: _cell_length_b must be above 0 .* got \?"),
        ("_cell_length_b 5.6402", "_cell_length_b 5.6402\n_cell_volume 200", r"line 4: states 200 angstrom\^3"),
        ("'F m -3 m'", "'F m -3 m'\n_symmetry_Int_Tables_number 221", r"number says 221"),
        ("Na1 0 0 0", "Xx1 0 0 0", r"site 'Xx1': 'Xx1' tells no element of Na Cl"),
        ("Na1 0 0 0", "Na1 0 ? 0", r"site 'Na1' has no coordinates \(0, \?, 0\)"),
        ("Na1 0 0 0 1.0\nCl1 0.5 0.5 0.5 ?\n", "", r"NaCl_1.cif"),
    ],
)
def test_wrong_files_are_refused_with_their_line(tmp_path, old, new, message):
    assert old in NACL
    with pytest.raises(ReadError, match=f"NaCl_1.cif: .*{message}|{message}"):
        io.open(write(tmp_path, NACL.replace(old, new)))


def test_operations_that_contradict_the_symbol_are_refused(tmp_path):
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,-z\n"
    with pytest.raises(ReadError, match=r"its operations are those of P -1 \(2\), its space group symbol says 225"):
        io.open(write(tmp_path, NACL + operations))


def test_several_blocks_need_a_choice(tmp_path):
    path = write(tmp_path, NACL + NACL.replace("data_NaCl", "data_other").replace("5.6402", "5.7"))
    with pytest.raises(ReadError, match=r"holds 2 structures; pass block='NaCl' or 'other'"):
        io.open(path)
    assert float(io.open(path, block="other")["b"]) == 5.7
    with pytest.raises(ReadError, match=r"has no block 'othr'; did you mean 'other'"):
        io.open(path, block="othr")


@pytest.mark.parametrize(
    ("label", "element"), [("FeM1", "Fe"), ("OH1", "O"), ("Wat2", "O"), ("Co3+", "Co"), ("O2-", "O")]
)
def test_labels_tell_elements(tmp_path, label, element):
    text = NACL.replace("Na1", label).replace("'Na Cl'", f"'{element} Cl'")
    assert io.open(write(tmp_path, text))["element"].values[0] == element


@pytest.mark.filterwarnings("ignore:.*no site holds it:UserWarning")
@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, len(NACL) - 1), byte=st.integers(0, 255))
def test_one_wrong_byte(position, byte, tmp_path_factory):
    raw = bytearray(NACL.encode())
    raw[position] = byte
    path = tmp_path_factory.mktemp("any") / "a.cif"
    path.write_bytes(raw)
    text = raw.decode("latin-1")
    if "data_" in text.lower():
        opened(path)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:.*no site holds it:UserWarning")
@pytest.mark.parametrize("step", [pytest.param(1024, marks=pytest.mark.soak), 8192])
def test_truncated(step, tmp_path):
    for whole in sorted(datasets.path("cif").glob("*.cif")):
        raw = whole.read_bytes()
        for size in range(step, len(raw) - 1, step):
            path = tmp_path / whole.name
            path.write_bytes(raw[:size])
            ds = opened(path)
            # Only what stands after the cell, group and first atoms may be lost without a trace.
            assert ds is None or ds["element"].values[0] == io.open(whole)["element"].values[0]
