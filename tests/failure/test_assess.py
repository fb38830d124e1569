"""Mechanisms judged by evidence: the numbers against Bayes' theorem written out, and what is said in words."""

import itertools
import json
import math

import numpy as np
import pytest

from batlab import failure
from batlab.failure import Evidence, assess, knowledge

CELL = ("layered_oxide", "graphite")


def look(observable, direction="none", effect=math.nan, limit=1e-9, **more):
    technique, quantity = observable.split(".")
    return Evidence(technique, quantity, direction, effect, 0.01, "1", limit=limit, confidence=0.99, **more)


TWO = """
version = "two"
[observables."a.x"]
what = "x"
units = "1"
floor = 0.01
false_alarm = 0.05
found = true
instead = "-"
needs = "x"
[observables."a.y"]
what = "y"
units = "1"
floor = 0.01
false_alarm = 0.1
found = false
instead = "-"
needs = "a measurement of y"
"""
MECHANISM = """
[mechanisms.{name}]
title = "{name}"
category = "chemical"
scale = "cell"
hosts = []
prior = {prior}
causes = ["c"]
effects = ["gas"]
references = ["10.1039/C7EE03122J"]
shows = [{shows}]
"""
SIGN = '{{ observable = "{o}", direction = "up", seen = {p}, size = [0.1, 1.0], basis = "judgement" }}'


@pytest.fixture
def table(tmp_path):
    """Two mechanisms: x shows both, y shows one only."""
    first = SIGN.format(o="a.x", p=0.8) + ", " + SIGN.format(o="a.y", p=0.9)
    parts = [MECHANISM.format(name="one", prior=0.3, shows=first)]
    parts.append(MECHANISM.format(name="two", prior=0.2, shows=SIGN.format(o="a.x", p=0.6)))
    path = tmp_path / "two.toml"
    path.write_text(TWO + "".join(parts))
    return knowledge(path)


def by_hand(is_x, is_y):
    """Return the posterior probabilities of both mechanisms, every case written out."""
    weights = {}
    for one, two in itertools.product((0, 1), repeat=2):
        weight = (0.3 if one else 0.7) * (0.2 if two else 0.8)
        x = 1 - 0.95 * (0.2 if one else 1) * (0.4 if two else 1)
        weight *= x if is_x else 1 - x
        if is_y is not None:
            y = 1 - 0.9 * (0.1 if one else 1)
            weight *= y if is_y else 1 - y
        weights[one, two] = weight
    total = sum(weights.values())
    return (sum(w for (one, _), w in weights.items() if one) / total,
            sum(w for (_, two), w in weights.items() if two) / total)  # fmt: skip


@pytest.mark.parametrize(("is_x", "is_y"), list(itertools.product((True, False), (True, False, None))))
def test_probabilities_are_bayes_theorem(table, is_x, is_y):
    evidence = [look("a.x", "up" if is_x else "none")]
    if is_y is not None:
        evidence.append(look("a.y", "up" if is_y else "none"))
    said = assess(evidence, table=table)
    assert [said[name].probability for name in ("one", "two")] == pytest.approx(by_hand(is_x, is_y), rel=1e-9)


def test_what_one_explains_is_taken_from_the_other(table):
    both = assess([look("a.x", "up")], table=table)
    explained = assess([look("a.x", "up"), look("a.y", "up")], table=table)
    assert explained["two"].probability < both["two"].probability
    assert explained["one"].probability > both["one"].probability


def test_the_terms_of_every_score_add_up_to_its_log_odds():
    evidence = [look("xrd.second_layered_phase", "appears", 0.2), look("echem.resistance", "up", 0.3),
                look("echem.inventory_loss", "up", 0.1), look("xas.edge_step")]  # fmt: skip
    said = assess(evidence, materials=CELL)
    for one in said.candidates:
        terms = said.terms(one.name)
        odds = math.log(one.probability / (1 - one.probability))
        assert sum(term.log_ratio for term in terms) == pytest.approx(odds, abs=1e-9)
        assert {"prior", "other explanations"} <= {term.what for term in terms}
        for term in terms:
            if not math.isnan(term.likelihood_with):
                ratio = math.log(term.likelihood_with / term.likelihood_without)
                assert term.log_ratio == pytest.approx(ratio)
                assert term.evidence


def test_nothing_measured_leaves_the_priors():
    said = assess([])
    known = knowledge()
    for one in said.candidates:
        assert one.verdict == "not examined"
        # Sets of more than four are left out, which lowers all alike by a little.
        assert one.probability == pytest.approx(known.mechanisms[one.name].prior, rel=0.35)
    assert said.evidence == ()


def test_a_coarse_look_that_saw_nothing_excludes_nothing():
    coarse = assess([look("xas.metal_on_anode", limit=5.0)], materials=CELL)
    fine = assess([look("xas.metal_on_anode", limit=1e-5)], materials=CELL)
    name = "transition_metal_dissolution"
    before = knowledge().mechanisms[name].prior
    assert coarse[name].probability == pytest.approx(before, rel=0.2)  # sets of more than four are left out
    assert fine[name].probability < 0.1 * before
    assert fine[name].verdict == "unlikely"
    assert coarse[name].verdict == "not decidable"


def test_the_other_way_is_not_that_sign():
    down = assess([look("xas.edge_step", "down", -0.01)], materials=CELL)
    up = assess([look("xas.edge_step", "up", 0.01)], materials=CELL)
    assert down.ranking[0] == "transition_metal_dissolution"
    assert up["transition_metal_dissolution"].probability < 0.1
    assert [item.observable for item in up.unexplained] == ["xas.edge_step"]


def test_metal_that_the_positive_electrode_does_not_miss_is_not_decided_there():
    """Papers find per mille: a step that stays within 2 % says little, and what would decide is named."""
    said = assess([look("xas.edge_step", limit=0.02), look("echem.inventory_loss", "up", 0.08, limit=0.03)],
                  materials=CELL)  # fmt: skip
    one = said["transition_metal_dissolution"]
    assert one.verdict == "not decidable"
    assert "xas.metal_on_anode" in [name for name, _ in one.measure]
    decided = assess([look("xas.metal_on_anode", "appears", 0.001, limit=2e-4),
                      look("echem.inventory_loss", "up", 0.08, limit=0.03)], materials=CELL)  # fmt: skip
    assert decided["transition_metal_dissolution"].verdict == "supported"


def test_several_are_true_at_once():
    evidence = [look("xrd.second_layered_phase", "appears", 0.2), look("xrd.layer_order", "down", -0.1),
                look("xrd.graphite_coexistence", "appears", 0.1), look("xrd.lithium_left", "appears", 0.05),
                look("xrd.line_breadth", limit=0.05), look("xrd.isolated_material", limit=0.02)]  # fmt: skip
    said = assess(evidence, materials=CELL)
    assert set(said.ranking[:3]) == {"fatigued_phase", "cation_mixing", "graphite_inhomogeneity"}
    assert all(said[name].verdict == "supported" for name in said.ranking[:3])
    assert set(said.explanations[0][0]) == set(said.ranking[:3])


def test_two_that_cannot_be_told_apart_are_named_with_what_would_decide():
    """A resistance that rises and nothing else: a layer, pores, a collector. The answer says what to measure."""
    said = assess([look("echem.resistance", "up", 0.3, limit=0.05), look("echem.inventory_loss", limit=0.01),
                   look("echem.positive_loss", limit=0.01)], materials=CELL)  # fmt: skip
    cei = said["cei_growth"]
    assert cei.verdict == "not decidable"
    assert said.ranking[0] == "cei_growth" or said["cei_growth"].probability > 0.15
    assert {name for name, _ in cei.measure} & {"xps.interphase", "echem.three_electrodes"}
    assert all(bits > 0 for _, bits in cei.measure)
    text = str(said)
    assert "not decidable" in text
    assert "hard X-ray photoelectron spectra" in text


def test_rivals_are_named(table):
    """One sign that two mechanisms explain alike: if the one, then hardly the other."""
    said = assess([look("a.x", "up")], table=table, prior={"one": 0.05, "two": 0.05})
    assert said["one"].rivals == ("two",)
    assert said["two"].rivals == ("one",)
    assert "cannot be told apart from two" in str(said)


def test_a_size_speaks_for_the_mechanism_that_makes_such_sizes(table):
    """By hand, with scipy: sizes are log-normal, 0.1 to 1 holds nine of ten; a sum has the moments of its parts."""
    from scipy.stats import lognorm, norm

    size, limit = 0.4, 0.05
    part = lognorm(math.log(10) / (2 * norm.isf(0.05)), scale=math.sqrt(0.1))
    share = limit / size
    chance = 0.05 * (0.8 * share**3 + 0.2 * (1 + math.log(share) / math.log(100)))
    chance_density = 0.05 * (0.8 * 3 * share**3 + 0.2 / math.log(100))
    weights = {}
    for one, two in itertools.product((0, 1), repeat=2):
        shows = [p for p, there in ((0.8, one), (0.6, two)) if there]
        some = 1 - math.prod(1 - p for p in shows)
        above = density = 0.0
        if shows:
            mean = sum(p * part.mean() for p in shows)
            variance = sum(p * (part.var() + part.mean() ** 2) - (p * part.mean()) ** 2 for p in shows)
            first, second = mean / some, (variance + mean**2) / some
            tau = math.sqrt(math.log(second / first**2))
            total = lognorm(tau, scale=first / math.exp(tau**2 / 2))
            above, density = some * total.sf(size), some * total.pdf(size) * size
        rate = density * (1 - chance) + (1 - above) * chance_density
        weights[one, two] = (0.3 if one else 0.7) * (0.2 if two else 0.8) * rate
    expected = sum(w for (one, _), w in weights.items() if one) / sum(weights.values())
    said = assess([look("a.x", "up", size, limit=limit)], table=table)
    assert said["one"].probability == pytest.approx(expected, rel=1e-3)


def test_two_together_explain_what_is_too_much_for_one(table):
    """Both are likelier together beside an effect of three times the usual size than beside a usual one."""
    usual, large = (assess([look("a.x", "up", e, limit=0.05)], table=table) for e in (0.3, 2.0))

    def both(said):
        return dict(said.explanations).get(("one", "two"), 0.0)

    assert both(large) > 1.5 * both(usual)


def test_an_effect_beyond_everything_still_gives_probabilities(table):
    said = assess([look("a.x", "up", 1e9, limit=0.05)], table=table)
    assert all(0 <= one.probability <= 1 for one in said.candidates)


def test_an_effect_far_too_large_for_a_mechanism_is_not_its_own(table):
    usual, huge = (assess([look("a.x", "up", e, limit=0.05)], table=table)["one"].probability for e in (0.3, 4.0))
    assert huge < usual - 0.2


def test_the_measurement_that_it_names_does_decide(table):
    before = assess([look("a.x", "up")], table=table)
    (name, bits), *_ = before["one"].measure
    assert name == "a.y"
    after = [by_hand(True, is_y)[0] for is_y in (True, False)]

    def doubt(p):
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    p = by_hand(True, None)[0]
    # y would be seen with 0.91 where one is at work, 0.1 where not.
    chance = p * 0.91 + (1 - p) * 0.1
    assert bits == pytest.approx(doubt(p) - chance * doubt(after[0]) - (1 - chance) * doubt(after[1]), abs=2e-3)


def test_unknown_evidence_is_kept_and_told():
    strange = look("curves.slope of a", "appears", 4.0)
    said = assess([strange])
    assert said.unexplained == (strange,)
    assert said.evidence == (strange,)


def test_dicts_are_as_good_and_the_answer_is_json():
    evidence = [look("xas.edge_step", "down", -0.05), look("xrd.layer_order", limit=0.03)]
    said = assess([item.as_dict() for item in evidence], materials=CELL)
    assert said.ranking == assess(evidence, materials=CELL).ranking
    told = json.loads(json.dumps(said.as_dict(), allow_nan=False))
    assert told["candidates"][0]["name"] == said.ranking[0]
    assert [item["id"] for item in told["evidence"]] == [item.id for item in evidence]
    assert knowledge().sha256[:12] in told["knowledge"]


def test_priors_of_the_user_count(table):
    low, high = (assess([look("a.x", "up")], table=table, prior={"two": p})["two"].probability for p in (0.05, 0.6))
    assert low < 0.2 < 0.6 < high
    same = assess([look("a.x")], table=table, prior=0.5)
    assert same["one"].prior == same["two"].prior == 0.5


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"prior": {"lithium_platin": 0.1}}, "did you mean 'lithium_plating'"),
        ({"prior": 0.0}, "must be a probability above 0 and below 1"),
        ({"prior": {"sei_growth": math.nan}}, "prior of sei_growth must be"),
        ({"materials": ["graphit"]}, "did you mean 'graphite'"),
        ({"most": 0}, "most must be a whole number of at least 1, got 0"),
        ({"most": True}, "most must be"),
        ({"most": 19}, "sets of at most 19, more than"),
    ],
)
def test_wrong_words_are_refused(words, complaint):
    with pytest.raises(ValueError, match=complaint):
        assess([], **words)


@pytest.mark.parametrize("evidence", [[1], "text", look("xas.edge_step"), [None]])
def test_what_is_no_evidence_is_refused(evidence):
    with pytest.raises(TypeError, match=r"failure\.assess needs a list of Evidence"):
        assess(evidence)


def test_an_unknown_candidate_is_named():
    with pytest.raises(KeyError, match="did you mean 'sei_growth'"):
        assess([]).terms("sei_grow")


def test_said_probabilities_are_true_shares_where_the_table_is_the_world():
    """Evidence drawn from the table itself: the posterior of the generating model is calibrated, whatever it is."""
    known = knowledge()
    names = [name for name in known.possible(CELL) if known.mechanisms[name].prior >= 0.15]
    rng = np.random.default_rng(5)
    observables = sorted({s.key for n in names for s in known.mechanisms[n].shows})
    prior = {name: 1e-6 for name in known.possible(CELL) if name not in names}
    said, true = [], []
    for _ in range(60):
        planted = [n for n in names if rng.random() < known.mechanisms[n].prior][:4]
        evidence = []
        for observable, direction in observables:
            missed = 1 - known.observables[observable].false_alarm
            for name in planted:
                for sign in known.mechanisms[name].shows:
                    missed *= 1 - sign.seen if sign.key == (observable, direction) else 1
            evidence.append(look(observable, direction if rng.random() > missed else "none"))
        answer = failure.assess(evidence, materials=CELL, prior=prior)
        said += [answer[name].probability for name in names]
        true += [name in planted for name in names]
    said, true = np.array(said), np.array(true)
    sigma = math.sqrt((said * (1 - said)).sum())
    assert abs(said.sum() - true.sum()) < 4 * sigma
    sure = said > 0.9
    assert sure.sum() > 30
    assert true[sure].mean() > 0.85
    assert true[said < 0.1].mean() < 0.1


def test_resistance_and_hysteresis_are_one_piece_of_evidence():
    """The voltage between charge and discharge is current times resistance: seen twice, it counts once."""
    rise = look("echem.resistance", "up", 0.3, limit=0.05)
    wide = look("echem.hysteresis", "up", 0.3, limit=0.05)
    once, twice = assess([rise], materials=CELL), assess([rise, wide], materials=CELL)
    for one in once.candidates:
        assert twice[one.name].probability == pytest.approx(one.probability)
    assert [term.what for term in twice.terms("sei_growth") if "hysteresis" in term.what] == []
    # What saw the same is named, and explained by the same.
    assert set(twice["sei_growth"].evidence) == {rise.id, wide.id}
    assert twice.unexplained == ()
    # Alone it counts.
    assert assess([wide], materials=CELL)["sei_growth"].probability > knowledge().mechanisms["sei_growth"].prior


def test_what_counts_with_another_says_nothing_against_it():
    rise, narrow = look("echem.resistance", "up", 0.3, limit=0.05), look("echem.hysteresis", "none", 0.0, limit=0.05)
    once, twice = assess([rise], materials=CELL), assess([rise, narrow], materials=CELL)
    assert twice.ranking == once.ranking
    other = assess([look("echem.resistance", "none", 0.0, limit=0.05), look("echem.hysteresis", "up", 0.3)])
    assert [item.observable for item in other.unexplained] == ["echem.hysteresis"]


def test_nothing_is_supported_that_was_not_looked_at_where_it_would_tell():
    """Evidence that others show as well may make it probable; that decides nothing, and what would is named."""
    echem = [look("echem.resistance", "up", 0.5, limit=0.03), look("echem.positive_loss", "up", 0.06, limit=0.01),
             look("echem.voltage_fade", "down", 0.02, limit=0.005)]  # fmt: skip
    said = assess(echem, materials=CELL, prior={"surface_reconstruction": 0.9})
    one = said["surface_reconstruction"]
    assert one.probability > 0.9
    assert one.verdict == "not decidable"
    own = knowledge().mechanisms["surface_reconstruction"].decided_by
    assert {name for name, _ in one.measure} <= set(own)
    assert one.measure
    assert "surface_reconstruction: not decidable from these techniques" in str(said)
    more = assess([*echem, look("xas.edge_charged", "down", -0.2, limit=0.08)], materials=CELL)
    assert more["surface_reconstruction"].verdict == "supported"
