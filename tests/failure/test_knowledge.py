"""The table of mechanisms: complete, checked when it is read, and anybody's to replace."""

import math

import pytest

from batlab.errors import ReadError
from batlab.failure import CATEGORIES, knowledge

# What the table must hold, one name for each mechanism asked for.
ASKED = {
    "phase_transition", "anisotropic_collapse", "fatigued_phase", "intralayer_strain", "cation_mixing",
    "surface_reconstruction", "lithium_plating", "graphite_inhomogeneity", "particle_cracking",
    "conversion_volume_change", "pore_collapse", "polysulfide_shuttle", "sulfide_passivation", "sei_growth",
    "cei_growth", "transition_metal_dissolution", "gas_evolution", "oxygen_redox", "collector_corrosion",
}  # fmt: skip

SMALL = """
version = "own"
[observables."xas.edge_step"]
what = "step"
units = "1"
floor = 0.01
false_alarm = 0.02
found = true
instead = "another place"
needs = "spectra"
[mechanisms.leaching]
title = "leaching"
category = "chemical"
scale = "cell"
hosts = []
prior = 0.1
causes = ["acid"]
effects = ["capacity fade"]
references = ["10.1039/C7EE03122J"]
shows = [{ observable = "xas.edge_step", direction = "down", seen = 0.9, size = [0.01, 0.1], basis = "judgement" }]
"""


def written(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return path


def test_every_mechanism_asked_for_is_there():
    assert set(knowledge().mechanisms) == ASKED


def test_each_has_its_place_its_references_and_something_that_shows_it():
    table = knowledge()
    scales = {one.scale for one in table.mechanisms.values()}
    assert {one.category for one in table.mechanisms.values()} == set(CATEGORIES)
    assert scales == {"atomic", "crystallite", "particle", "electrode", "cell"}
    for one in table.mechanisms.values():
        assert one.causes
        assert one.effects
        assert one.references
        assert one.shows


def test_what_else_would_explain_it_is_told_for_every_observable():
    table = knowledge()
    for name, one in table.observables.items():
        assert one.instead
        assert one.needs
        assert table.shown_by(name), f"{name} shows nothing"
    assert set(table.shown_by("echem.resistance")) > {"sei_growth", "particle_cracking", "collector_corrosion"}


def test_a_mechanism_that_three_techniques_cannot_see_has_a_measurement_that_can():
    table = knowledge()
    told = " ".join(table.observables[sign.observable].needs for sign in table.mechanisms["oxygen_redox"].shows)
    assert "total fluorescence yield alone cannot prove oxygen redox" in told


def test_materials_choose_the_candidates():
    table = knowledge()
    oxide = table.possible(["layered_oxide", "graphite"])
    assert "lithium_plating" in oxide
    assert "pore_collapse" in oxide
    assert "polysulfide_shuttle" not in oxide
    assert "polysulfide_shuttle" in table.possible("sulfur")
    with pytest.raises(ValueError, match="got 'grafite'; did you mean 'graphite'"):
        table.possible(["grafite"])


def test_a_look_that_is_too_coarse_does_not_count():
    shows = knowledge().mechanisms["transition_metal_dissolution"].shows
    (sign,) = (s for s in shows if s.observable == "xas.edge_step")
    low, high = sign.size
    assert sign.probability(math.nan) == sign.seen
    # Nine of ten lie between the two.
    assert sign.probability(low) == pytest.approx(0.95 * sign.seen, rel=1e-4)
    assert sign.probability(high) == pytest.approx(0.05 * sign.seen, rel=1e-3)
    assert sign.probability(math.sqrt(low * high)) == pytest.approx(sign.seen / 2)
    assert sign.probability(100 * high) < 1e-6


def test_the_density_of_sizes_is_that_of_their_probability():
    (sign,) = (s for s in knowledge().mechanisms["cation_mixing"].shows if s.observable == "xrd.layer_order")
    for size in (0.02, 0.1, 0.5):
        step = 1e-5
        slope = (sign.probability(size * math.exp(-step)) - sign.probability(size * math.exp(step))) / (2 * step)
        assert sign.density(size) == pytest.approx(slope, rel=1e-5)


def test_ones_own_table_is_read(tmp_path):
    table = knowledge(written(tmp_path, SMALL))
    assert (table.version, list(table.mechanisms)) == ("own", ["leaching"])
    assert table.mechanisms["leaching"].shows[0].size == (0.01, 0.1)
    assert len(table.sha256) == 64
    assert table.sha256 != knowledge().sha256


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('direction = "down"', 'direction = "donw"', r"mechanism 'leaching', sign 1: direction .* did you mean 'down'"),
        ('observable = "xas.edge_step"', 'observable = "xas.edge_stop"', "did you mean 'xas.edge_step'"),
        ("seen = 0.9", "seen = 1.0", "seen must be a number above 0 and below 1, got 1.0"),
        ("seen = 0.9", "seen = nan", "seen must be a number"),
        ("seen = 0.9", "seen = true", "seen must be a number"),
        ("size = [0.01, 0.1]", "size = [0.1, 0.01]", r"size must be \[smallest, largest\]"),
        ("size = [0.01, 0.1]", "size = [0.0, 0.01]", "size must be"),
        ("prior = 0.1", "prior = 0", "mechanism 'leaching': prior must be"),
        ("prior = 0.1", "priority = 0.1", "no field is called 'priority'; did you mean 'prior'"),
        ("floor = 0.01\n", "", "observable 'xas.edge_step': the field 'floor' is missing"),
        ('effects = ["capacity fade"]', 'effects = ["capacity fad"]', "did you mean 'capacity fade'"),
        ('effects = ["capacity fade"]', "effects = []", "effects must be a list of at least 1"),
        ('references = ["10.1039/C7EE03122J"]', 'references = ["a book"]', "references must be DOIs"),
        ('category = "chemical"', 'category = "magical"', "category must be of electrical"),
        ('[observables."xas.edge_step"]', '[observables."edge_step"]', "its name must be technique.quantity"),
        ('version = "own"', "version = 1", "version must be text, got 1"),
        ('version = "own"', "version =", "is no TOML"),
        ("shows = [{", "shows = [] # [{", "shows must be a list of at least one sign"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, old, new, complaint):
    assert old in SMALL
    path = written(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ReadError, match=complaint) as raised:
        knowledge(path)
    assert "own.toml" in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ReadError, match=r"none\.toml cannot be read"):
        knowledge(tmp_path / "none.toml")


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(ReadError, match="the field 'version' is missing"):
        knowledge(written(tmp_path, ""))


def test_the_same_sign_twice_is_refused(tmp_path):
    sign = SMALL[SMALL.index("[{") + 1 : SMALL.rindex("]")]
    with pytest.raises(ReadError, match=r"xas\.edge_step down is there twice"):
        knowledge(written(tmp_path, SMALL.replace(sign, f"{sign}, {sign}")))


def test_what_decides_and_what_counts_together_is_of_the_table(tmp_path):
    table = knowledge()
    for name, one in table.mechanisms.items():
        assert set(one.decided_by) <= {sign.observable for sign in one.shows}, name
    assert table.observables["echem.hysteresis"].counted_with == "echem.resistance"
    assert not table.mechanisms["surface_reconstruction"].is_decidable(["echem.resistance", "echem.capacity"])
    assert table.mechanisms["surface_reconstruction"].is_decidable(["xas.edge_charged"])
    # Alone, no cycler's record decides on a phase, a surface, or a metal.
    cycler = [name for name in table.observables if name.startswith("echem.")]
    for name in ("phase_transition", "surface_reconstruction", "cation_mixing", "transition_metal_dissolution"):
        assert not table.mechanisms[name].is_decidable(cycler), name
    wrong = SMALL.replace('units = "1"', 'units = "1"\ncounted_with = "xas.step"')
    with pytest.raises(ReadError, match="counted_with must be another observable"):
        knowledge(written(tmp_path, wrong))
    wrong = SMALL.replace('causes = ["acid"]', 'causes = ["acid"]\ndecided_by = ["xas.step"]')
    with pytest.raises(ReadError, match=r"decided_by must be of xas\.edge_step"):
        knowledge(written(tmp_path, wrong))


def test_references_that_could_not_be_confirmed_are_gone():
    """eem2.12119 names nobody knows what; D3EE04115H does not bear on H2-H3 in nickel-rich oxides."""
    held = " ".join(ref for one in knowledge().mechanisms.values() for ref in one.references)
    assert "eem2.12119" not in held
    assert "D3EE04115H" not in held
    # Märker et al. 2019 is of NMC811's structure and lithium in a cycle: it bears on the collapse, not on mixing.
    assert "10.1021/acs.chemmater.9b00140" in knowledge().mechanisms["anisotropic_collapse"].references
    assert "10.1021/acs.chemmater.9b00140" not in knowledge().mechanisms["cation_mixing"].references
