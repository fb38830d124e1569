"""The failure annotator without a browser: set the state, press what a person presses, look at the store."""

import numpy as np
import pytest
import xarray as xr
from bokeh.events import SelectionGeometry

import batlab as bl
from batlab.dashboards import FailureAnnotator
from batlab.errors import DimensionError
from batlab.failure import Evidence, StoreError
from batlab.schema import quantity
from batlab.simulate.cell import DURATION

from .acting import run
from .annotating import LOOKS, MISSING, NOWHERE, SEEN, SHIFT, reopened
from .experiment import experiment

N_FRAMES = 60
PERIOD = DURATION / N_FRAMES
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def tree():
    return experiment(N_FRAMES, 40, n_records=600)


def _draw_box(annotator, number, box, name=SelectionGeometry):
    plot = annotator.screen.panels[number].plot
    assert "selectiongeometry" in plot.subscribed_events
    x0, x1, y0, y1 = box
    plot._trigger_event(
        name(plot, geometry={"type": "rect", "x0": x0, "x1": x1, "y0": y0, "y1": y1}, final=True)
    )  # fmt: skip


def _notes(annotator, number=1):
    data = annotator.screen.part(f"panel_{number}_notes").data_source.data
    return dict(zip(data["label"], data["dash"], strict=True))


def _listed(widget):
    return [label for label, _ in widget.options]


def test_begins_with_suggestions_on_their_panels(annotator):
    assert _notes(annotator, 1) == {"?1": "dashed"}
    assert _notes(annotator, 2) == {"?2": "dashed"}
    assert [label[:2] for label in _listed(annotator.lists.found)] == ["?1", "?2", "?3", "– "]
    assert "-0.5 ± 0.02 eV" in _listed(annotator.lists.found)[1]
    box = annotator.screen.part("panel_1_notes").data_source.data
    middle = 0.25 * PERIOD  # of an exposure that takes half of a period
    assert box["left"][0] == pytest.approx((10 * PERIOD + middle - PERIOD / 2) / 3600)
    assert box["right"][0] == pytest.approx((20 * PERIOD + middle + PERIOD / 2) / 3600)
    assert annotator.form.save.description == "mark (M)"
    for panel in annotator.screen.panels:  # dragging selects, whatever a plot would do by itself
        assert type(panel.plot.toolbar.active_drag).__name__ == "BoxSelectTool"
    assert annotator.found.name.startswith("experiment ")


def test_a_box_becomes_a_signed_mark(annotator, tree, store):
    _draw_box(annotator, 0, (1.0, 1.5, 2.0, 2.5))
    first, last = int(np.ceil((3600 - PERIOD / 4) / PERIOD)), int((5400 - PERIOD / 4) / PERIOD)
    assert annotator.state.region == ("xrd", first, last, 2.0, 2.5)
    assert "xrd, frames" in annotator.form.where.value
    annotator._act("save")
    assert "choose a mechanism first" in annotator.form.told.value
    assert store.marks() == []
    annotator.form.mechanism.value = "lithium_plating"
    annotator.form.text.value = SCRIPT
    annotator._press("m", "")
    (mark,) = store.marks(tree["xrd"].to_dataset())
    assert (mark.frames, mark.axis, mark.axis_range, mark.author) == ((first, last), "q", (2.0, 2.5), "ada")
    assert (mark.mechanism, mark.category) == ("lithium plating and dead lithium", "electrochemical")
    assert mark.text == SCRIPT
    assert "kept as mark 1 by ada" in annotator.form.told.value
    assert annotator.state.region is None  # a second click makes no second mark
    assert _notes(annotator)["1"] == "solid"
    assert _listed(annotator.lists.marks) == [f"1  xrd {first}–{last}: {mark.mechanism} · ada · 0.50"]


def test_records_of_a_cycler_are_marked_as_they_are(annotator, tree, store):
    _draw_box(annotator, 3, (0.5, 1.0, 3.0, 4.0))
    name, first, last, low, high = annotator.state.region
    assert (name, low, high) == ("echem", None, None)
    assert "echem, records" in annotator.form.where.value
    annotator.form.mechanism.value = "something else"
    assert annotator.form.other.layout.display == ""
    annotator._act("save")
    assert "say in a few words what it is" in annotator.form.told.value
    annotator.form.named.value, annotator.form.category.value = SCRIPT, "electrical"
    mark = annotator.add()
    seconds = tree["echem"]["test_time"].values[[first, last]]
    assert np.all((seconds >= 1800) & (seconds <= 3600))
    assert store.marks(tree["echem"].to_dataset()) == [mark]
    assert (mark.mechanism, mark.category) == (SCRIPT, "electrical")


def test_a_suggestion_is_accepted_as_it_is(annotator, tree, store):
    annotator.lists.found.value = f"evidence:{SEEN.id}"
    assert annotator.state.region == ("xrd", 10, 20, None, None)
    assert annotator.state.frame == 10
    assert annotator.form.mechanism.value == "fatigued_phase"  # what the table says that this shows
    assert "share of the layered oxide that stays behind" in annotator.lists.detail.value
    annotator._press("a", "")
    (mark,) = store.marks()
    assert (mark.frames, mark.axis_range, mark.author) == ((10, 20), None, "ada")
    (link,) = store.links(mark)
    assert (link.source, link.relation) == (f"evidence:{SEEN.id}", "supports")
    assert _listed(annotator.lists.found)[0].startswith("✓1  accepted by ada: xrd")
    assert _notes(annotator) == {"1": "solid"}
    annotator.choose(SEEN)
    for work in (annotator.accept, lambda: annotator.refuse("no")):
        with pytest.raises(ValueError, match="you have accepted it as mark 1"):
            work()


def test_range_and_mechanism_are_changed_before_it_is_accepted(annotator, store):
    annotator.choose(SHIFT)
    _draw_box(annotator, 1, (1.0, 1.5, 8340.0, 8350.0))
    annotator.form.mechanism.value, annotator.form.confidence.value = "surface_reconstruction", 0.8
    mark = annotator.accept()
    assert mark.axis == "energy"
    assert mark.axis_range == (8340.0, 8350.0)
    assert mark.frames != SHIFT.frames
    assert (mark.mechanism, mark.confidence) == (bl.failure.knowledge().mechanisms["surface_reconstruction"].title, 0.8)
    assert store.evidence() == [SHIFT]


def test_evidence_without_a_place_needs_one(annotator):
    annotator.choose(NOWHERE)
    assert annotator.state.region is None
    with pytest.raises(ValueError, match="say where first: drag a box on a panel"):
        annotator.accept()
    _draw_box(annotator, 2, (0.5, 1.0, 2.0, 3.0))
    assert annotator.accept().axis == "r"
    annotator.choose(MISSING)
    with pytest.raises(ValueError, match="choose a suggestion to accept first"):
        annotator.accept()


def test_a_refusal_is_kept_with_its_reason_and_does_not_come_back(annotator, tree, store):
    annotator.choose(SEEN)
    annotator._press("refuse", "  ")
    assert "a refusal is kept with its reason" in annotator.form.told.value
    assert store.links() == []
    annotator._press("refuse", f"the beam had moved {SCRIPT} {'and moved ' * 100_000}")
    (refusal,) = store.links(relation="refuses")
    assert (refusal.author, refusal.target) == ("ada", f"evidence:{SEEN.id}")
    assert _notes(annotator) == {"×1": "dotted"}
    again = reopened(annotator, tree, store, suggestions=())
    assert [item.id for item in again.found.items] == [SEEN.id]
    assert _listed(again.lists.found)[0].startswith("×1  refused by ada")
    assert _notes(again) == {"×1": "dotted"}
    again.choose(again.found.items[0])
    assert "the beam had moved &lt;script&gt;" in again.lists.detail.value
    assert refusal.when in again.lists.detail.value
    assert SCRIPT not in again.lists.detail.value
    assert len(again.lists.detail.value) < 10_000  # a megabyte is told, not drawn
    other = Evidence(**{**SEEN.__dict__, "effect": 0.2001, "test": "17 looks"})  # the same look, with others beside it
    again = reopened(annotator, tree, store, suggestions=[other, SHIFT])
    assert [label[0] for label in _listed(again.lists.found)] == ["×", "?"]
    again._press("n", "")
    assert again.state.about == f"evidence:{SHIFT.id}"  # the refused one is passed over
    again.choose(again.found.items[0])
    assert again.accept().frames == (10, 20)  # somebody may think better of it
    assert _listed(again.lists.found)[0].startswith("✓1  accepted by ada")


def test_another_person_judges_for_himself(annotator, tree, store):
    annotator.choose(SEEN)
    annotator.refuse("no")
    bob = reopened(annotator, tree, store, author="bob", suggestions=())
    assert _listed(bob.lists.found)[0].startswith("×1  refused by ada")
    bob.choose(bob.found.items[0])
    bob.accept()
    assert _listed(bob.lists.found)[0].startswith("✓1  accepted by bob")
    assert [one.what for one in bob.found.sayings(bob.found.items[0])] == ["refused", "accepted"]
    ada = reopened(annotator, tree, store)
    assert _listed(ada.lists.found)[0].startswith("×1  refused by ada")
    assert _notes(ada) == {"1": "solid", "×1": "dotted"}


def test_marks_of_others_are_shown_and_cannot_be_changed(annotator, tree, store):
    series = tree["xrd"].to_dataset()
    mark = store.add(series, author="bob", frames=(5, 9), category="mechanical", mechanism="crack", confidence=0.3)
    annotator._act("again")
    colours = annotator.screen.part("panel_1_notes").data_source.data
    assert dict(zip(colours["label"], colours["colour"], strict=True))["1"] == "#5F4690"
    annotator.lists.marks.value = f"mark:{mark.id}"
    assert "Mark 1 by bob" in annotator.form.heading.value
    assert (annotator.form.mechanism.value, annotator.form.named.value) == ("something else", "crack")
    annotator.form.confidence.value = 0.9
    for button in ("save", "withdraw"):
        annotator._act(button)
        assert "is by bob, and ada cannot change it; say what you think" in annotator.form.told.value
    with pytest.raises(StoreError, match="is by bob"):
        annotator.change()
    assert store.marks() == [mark]


def test_ones_own_mark_is_changed_and_withdrawn(annotator, store):
    annotator.choose(SEEN)
    mark = annotator.accept()
    annotator.choose(mark)
    _draw_box(annotator, 0, (1.0, 1.5, 2.0, 2.5))
    annotator.form.confidence.value = 0.9
    annotator._act("save")
    assert "mark 1 changed, version 2" in annotator.form.told.value
    (made,) = store.marks()
    assert (made.confidence, made.axis_range, made.text) == (0.9, (2.0, 2.5), "")
    annotator.choose(made)
    _draw_box(annotator, 1, (1.0, 1.5, 8340.0, 8350.0))
    with pytest.raises(ValueError, match="this mark lies on xrd; for xas make a new mark"):
        annotator.change()
    annotator.withdraw()
    assert store.marks() == []
    assert _listed(annotator.lists.found)[0].startswith("?1  xrd")  # what rested on it is open again


def _axes(tree):
    """The experiment with a second map of the diffraction, over another axis."""
    parts = {name: tree[name].to_dataset() for name in tree}
    angles = quantity("two_theta", np.linspace(5.0, 30.0, 40), "degree", "scattering angle")
    flat = quantity(("frame", "two_theta"), np.ones((N_FRAMES, 40)), "1", "on angles")
    parts["xrd"] = parts["xrd"].assign(on_angles=flat).assign_coords(two_theta=angles)
    return xr.DataTree.from_dict(parts)


def test_a_mark_is_shown_on_a_map_over_its_axis_and_keeps_it(annotator, tree, store):
    both = _axes(tree)
    made = store.add(both["xrd"].to_dataset(), author="ada", frames=(5, 9), axis_range=("q", 2.0, 2.5),
                     category="mechanical", mechanism="crack", confidence=0.3)  # fmt: skip
    reopened(annotator, both, store, suggestions=())
    shown = annotator.state.shows["xrd"]
    (other,) = [label for label in annotator.data.choices["xrd"] if "angles" in label]
    for label in ("a", other):
        annotator.state.shows = {**annotator.state.shows, "xrd": label}
        data = annotator.screen.part("panel_1_notes").data_source.data
        assert (data["bottom"], data["top"]) != ([2.0], [2.5])  # of another axis
        annotator.choose(made)
        assert annotator.state.shows["xrd"] == shown
        assert annotator.state.region == ("xrd", 5, 9, 2.0, 2.5)
        assert "frames 5–9, q 2 – 2.5" in annotator.form.where.value
        annotator.state.shows = {**annotator.state.shows, "xrd": label}
        assert annotator.state.region == ("xrd", 5, 9, None, None)
        annotator.form.confidence.value += 0.1
        changed = annotator.change()
        assert (changed.axis, changed.axis_range, changed.frames) == ("q", (2.0, 2.5), (5, 9))
    assert store.marks()[0].version == 3
    annotator.state.region = ("xrd", 5, 9, 2.0, 2.5)  # as a script may
    annotator.state.shows = {**annotator.state.shows, "xrd": "a"}
    annotator.state.region = ("xrd", 4, 9, 2.0, 2.5)
    assert annotator.state.region == ("xrd", 4, 9, None, None)  # a number a frame has no such axis
    plain = xr.DataTree.from_dict({name: both[name].to_dataset() for name in ("xrd", "echem")})
    parts = {"xrd": plain["xrd"].to_dataset(), "echem": plain["echem"].to_dataset()}
    annotator.load(xr.DataTree.from_dict(parts))
    annotator.state.shows = {**annotator.state.shows, "xrd": other}
    space = run(annotator, tree=annotator.tree, store=store)
    ours = annotator.screen.part("panel_1_notes").data_source.data
    theirs = space["plot"].select_one({"name": "xrd_notes"}).data_source.data
    for side in ("left", "right", "bottom", "top"):
        np.testing.assert_allclose(ours[side], theirs[side], atol=1e-9)


def test_what_was_accepted_on_other_data_can_be_judged_here(annotator, store):
    store.accept(SEEN, "other data", frames=(1, 2), category="chemical", mechanism="x", confidence=0.5, author="ada")
    annotator._act("again")
    assert _listed(annotator.lists.found)[0].startswith("✓1  accepted by ada")
    annotator.choose(SEEN)
    assert annotator.accept().frames == (10, 20)


def test_the_basket_is_kept_and_weighed(annotator, tree, store):
    with pytest.raises(ValueError, match="the basket is empty"):
        annotator.weigh()
    annotator.choose(SEEN)
    annotator._press("b", "")
    annotator.put(MISSING)
    again = reopened(annotator, tree, store, suggestions=())
    assert [item.id for item in again.basket] == [SEEN.id, MISSING.id]
    assert store.experiments() == {again.found.name: [bl.schema.identity(tree[name].to_dataset()) for name in tree]}
    said = again.weigh()
    assert said.ranking == bl.failure.assess([SEEN, MISSING]).ranking
    assert said[said.ranking[0]].title in again.lists.ranking.value
    again.lists.why.value = said.ranking[0]
    assert "second_layered_phase appears" in again.lists.ranking.value
    space = run(again, tree=tree, store=store)
    assert [item.id for item in space["basket"]] == [SEEN.id, MISSING.id]
    again.lists.basket.value = f"evidence:{MISSING.id}"
    again._act("out")
    assert [item.id for item in again.basket] == [SEEN.id]
    assert reopened(again, tree, store, author="bob", suggestions=()).basket == []
    belongs, basket = store.links(MISSING, include_retired=True)
    assert (belongs.relation, belongs.is_retired) == ("belongs to", False)
    assert (basket.relation, basket.is_retired, basket.version) == ("accepts", True, 2)  # that it was in there is kept


@pytest.mark.parametrize("axis", ["time", "capacity"])
def test_code_draws_the_screen(annotator, tree, store, axis):
    annotator.choose(SEEN)
    annotator.accept()
    annotator.choose(SHIFT)
    annotator.refuse("no")
    annotator.state.axis = axis
    annotator.state.shows = {**annotator.state.shows, "xas": "e0"}
    _draw_box(annotator, 0, (*np.quantile(annotator.state.x_range, [0.3, 0.5]), 2.0, 2.5))
    space = run(annotator, tree=tree, store=store, suggestions=LOOKS)
    for number, name in enumerate(("xrd", "xas", "pdf", "echem"), 1):
        ours = annotator.screen.part(f"panel_{number}_notes").data_source.data
        theirs = space["plot"].select_one({"name": f"{name}_notes"}).data_source.data
        assert [ours[key] for key in ("label", "colour", "dash")] == [
            theirs[key] for key in ("label", "colour", "dash")
        ]
        for side in ("left", "right", "bottom", "top"):
            np.testing.assert_allclose(ours[side], theirs[side], atol=1e-9)
    assert space["region"].sizes["frame"] == annotator.state.region[2] - annotator.state.region[1] + 1


def test_keys_go_from_suggestion_to_suggestion(annotator):
    told = []
    for key in ("n", "n", "n", "n", "p", "Escape"):
        annotator._press(key, "")
        told.append(annotator.state.about)
    names = [f"evidence:{item.id}" for item in (SEEN, SHIFT, NOWHERE)]
    assert told == [names[0], names[1], names[2], names[0], names[2], ""]
    assert annotator.state.region is None
    for count, about in ((1.5, names[0]), (1.5, names[0]), (2.5, names[1])):  # a busy widget may tell a press twice
        annotator.screen.pressed.data = {"key": ["n"], "text": [str(len(told))], "time": [count]}
        told.append(annotator.state.about)
        assert annotator.state.about == about
    annotator.choose(SEEN)
    annotator.screen.request.data = {"frame": [7]}
    assert (annotator.state.frame, annotator.controls.slider.value) == (7, 7)
    with pytest.raises(ValueError, match="is not on this dashboard"):
        annotator.choose("evidence:x")
    assert annotator.state.about == names[0]


def test_without_a_store_one_can_look(annotator, tree):
    annotator.store = None
    annotator.load(tree, suggestions=LOOKS)
    assert "no store" in annotator.form.told.value
    annotator.choose(SEEN)
    assert annotator.form.save.disabled
    with pytest.raises(ValueError, match="marks need a store"):
        annotator.accept()


def test_what_is_wrong_is_refused(annotator, tree):
    with pytest.raises(TypeError, match=r"dashboards\.FailureAnnotator needs a list of Evidence"):
        annotator.load(tree, suggestions=["x"])
    with pytest.raises(DimensionError, match=r"dashboards\.FailureAnnotator compares two to six techniques, got 1"):
        annotator.load(xr.DataTree.from_dict({"xas": tree["xas"].to_dataset()}))
    with pytest.raises(TypeError, match="structure"):
        FailureAnnotator(tree, search={"structure": {}})
    assert len(annotator.found.items) == len(LOOKS)  # it still shows what it had
    assert annotator.show.__annotations__["return"] == "None"


def test_annotations_need_the_plot_of_their_tree(tree):
    two = xr.DataTree.from_dict({name: tree[name].to_dataset() for name in ("xas", "echem")})
    plot = bl.figures.comparison(two)
    for given, words, message in (
        ((tree, {}), {}, "the plot has no panel of 'xrd'"),
        ((two, {"xsa": []}), {}, "did you mean 'xas'"),
        ((two, {}, [SHIFT]), {"judged": {SHIFT.id: "acceptd"}}, "did you mean 'accepted'"),
    ):
        with pytest.raises(ValueError, match=message):
            bl.figures.add_annotations(plot, *given, **words)
    bl.figures.add_annotations(plot, two, {}, LOOKS)
    assert plot.select_one({"name": "xas_notes"}).data_source.data["label"] == ["?2"]  # counted as in the list


def test_the_experiment_is_unchanged(annotator, tree):
    before = tree.copy(deep=True)
    annotator.choose(SEEN)
    annotator.accept()
    annotator.code()
    xr.testing.assert_identical(tree, before)
