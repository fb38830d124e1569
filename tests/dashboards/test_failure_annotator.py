"""The failure annotator without a browser: set the state, press what a person presses, look at the store."""

import asyncio
import importlib.util
import json
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from bokeh.events import SelectionGeometry

import batlab as bl
from batlab.dashboards import FailureAnnotator
from batlab.dashboards.annotator_search import main, split
from batlab.errors import DimensionError
from batlab.failure import Evidence, Store, StoreError
from batlab.schema import quantity
from batlab.simulate.cell import DURATION

_spec = importlib.util.spec_from_file_location("batlab_experiment", Path(__file__).with_name("experiment.py"))
_experiment = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_experiment)

N_FRAMES = 60
PERIOD = DURATION / N_FRAMES
SCRIPT = "<script>alert(1)</script>"
SEEN = Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=0.999, frames=(10, 20),
                dataset="abc", test="planted")  # fmt: skip
SHIFT = Evidence("xas", "edge_charged", "down", -0.5, 0.02, "eV", limit=0.06, confidence=0.99, frames=(30, 40),
                 dataset="def")  # fmt: skip
NOWHERE = Evidence("saxs", "particle_volume", "up", 0.1, 0.02, "1", limit=0.06, confidence=0.98)
MISSING = Evidence("echem", "resistance", "none", 0.01, 0.02, "1", limit=0.06)
LOOKS = (SEEN, SHIFT, NOWHERE, MISSING)


@pytest.fixture(scope="module")
def tree():
    return _experiment.experiment(N_FRAMES, 40, n_records=600)


@pytest.fixture(scope="module")
def one_dashboard(tree):
    """The figures take a second to build: the tests swap data in one dashboard."""
    made = FailureAnnotator(tree)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "cell.marks.sqlite") as made:
        yield made


@pytest.fixture
def dashboard(one_dashboard, tree, store):
    return _reopened(one_dashboard, tree, store)


def _reopened(dashboard, tree, store, author="ada", suggestions=LOOKS):
    """What a new kernel would show: nothing is left but what the store has."""
    dashboard.store = dashboard._given["store"] = store
    dashboard.form.author.value = author
    dashboard.load(tree, suggestions=suggestions)
    return dashboard


def _draw_box(dashboard, number, box, name=SelectionGeometry):
    plot = dashboard.screen.panels[number].plot
    assert "selectiongeometry" in plot.subscribed_events
    x0, x1, y0, y1 = box
    plot._trigger_event(
        name(plot, geometry={"type": "rect", "x0": x0, "x1": x1, "y0": y0, "y1": y1}, final=True)
    )  # fmt: skip


def _notes(dashboard, number=1):
    data = dashboard.screen.part(f"panel_{number}_notes").data_source.data
    return dict(zip(data["label"], data["dash"], strict=True))


def _listed(widget):
    return [label for label, _ in widget.options]


def test_begins_with_suggestions_on_their_panels(dashboard):
    assert _notes(dashboard, 1) == {"?1": "dashed"}
    assert _notes(dashboard, 2) == {"?2": "dashed"}
    assert [label[:2] for label in _listed(dashboard.lists.found)] == ["?1", "?2", "?3", "– "]
    assert "-0.5 ± 0.02 eV" in _listed(dashboard.lists.found)[1]
    box = dashboard.screen.part("panel_1_notes").data_source.data
    middle = 0.25 * PERIOD  # of an exposure that takes half of a period
    assert box["left"][0] == pytest.approx((10 * PERIOD + middle - PERIOD / 2) / 3600)
    assert box["right"][0] == pytest.approx((20 * PERIOD + middle + PERIOD / 2) / 3600)
    assert dashboard.form.save.description == "mark (M)"
    assert dashboard.found.name.startswith("experiment ")


def test_a_box_becomes_a_signed_mark(dashboard, tree, store):
    _draw_box(dashboard, 0, (1.0, 1.5, 2.0, 2.5))
    first, last = int(np.ceil((3600 - PERIOD / 4) / PERIOD)), int((5400 - PERIOD / 4) / PERIOD)
    assert dashboard.state.region == ("xrd", first, last, 2.0, 2.5)
    assert "xrd, frames" in dashboard.form.where.value
    dashboard._act("save")
    assert "choose a mechanism first" in dashboard.form.told.value
    assert store.marks() == []
    dashboard.form.mechanism.value = "lithium_plating"
    dashboard.form.text.value = SCRIPT
    dashboard._press("m", "")
    (mark,) = store.marks(tree["xrd"].to_dataset())
    assert (mark.frames, mark.axis, mark.axis_range, mark.author) == ((first, last), "q", (2.0, 2.5), "ada")
    assert (mark.mechanism, mark.category) == ("lithium plating and dead lithium", "electrochemical")
    assert mark.text == SCRIPT
    assert "kept as mark 1 by ada" in dashboard.form.told.value
    assert dashboard.state.region is None  # a second click makes no second mark
    assert _notes(dashboard)["1"] == "solid"
    assert _listed(dashboard.lists.marks) == [f"1  xrd {first}–{last}: {mark.mechanism} · ada · 0.50"]


def test_records_of_a_cycler_are_marked_as_they_are(dashboard, tree, store):
    _draw_box(dashboard, 3, (0.5, 1.0, 3.0, 4.0))
    name, first, last, low, high = dashboard.state.region
    assert (name, low, high) == ("echem", None, None)
    assert "echem, records" in dashboard.form.where.value
    dashboard.form.mechanism.value = "something else"
    assert dashboard.form.other.layout.display == ""
    dashboard._act("save")
    assert "say in a few words what it is" in dashboard.form.told.value
    dashboard.form.named.value, dashboard.form.category.value = SCRIPT, "electrical"
    mark = dashboard.add()
    seconds = tree["echem"]["test_time"].values[[first, last]]
    assert np.all((seconds >= 1800) & (seconds <= 3600))
    assert store.marks(tree["echem"].to_dataset()) == [mark]
    assert (mark.mechanism, mark.category) == (SCRIPT, "electrical")


def test_a_suggestion_is_accepted_as_it_is(dashboard, tree, store):
    dashboard.lists.found.value = f"evidence:{SEEN.id}"
    assert dashboard.state.region == ("xrd", 10, 20, None, None)
    assert dashboard.state.frame == 10
    assert dashboard.form.mechanism.value == "fatigued_phase"  # what the table says that this shows
    assert "share of the layered oxide that stays behind" in dashboard.lists.detail.value
    dashboard._press("a", "")
    (mark,) = store.marks()
    assert (mark.frames, mark.axis_range, mark.author) == ((10, 20), None, "ada")
    (link,) = store.links(mark)
    assert (link.source, link.relation) == (f"evidence:{SEEN.id}", "supports")
    assert _listed(dashboard.lists.found)[0].startswith("✓1  accepted by ada: xrd")
    assert _notes(dashboard) == {"1": "solid"}
    dashboard.choose(SEEN)
    for work in (dashboard.accept, lambda: dashboard.refuse("no")):
        with pytest.raises(ValueError, match="you have accepted it as mark 1"):
            work()


def test_range_and_mechanism_are_changed_before_it_is_accepted(dashboard, store):
    dashboard.choose(SHIFT)
    _draw_box(dashboard, 1, (1.0, 1.5, 8340.0, 8350.0))
    dashboard.form.mechanism.value, dashboard.form.confidence.value = "surface_reconstruction", 0.8
    mark = dashboard.accept()
    assert mark.axis == "energy"
    assert mark.axis_range == (8340.0, 8350.0)
    assert mark.frames != SHIFT.frames
    assert (mark.mechanism, mark.confidence) == (bl.failure.knowledge().mechanisms["surface_reconstruction"].title, 0.8)
    assert store.evidence() == [SHIFT]


def test_evidence_without_a_place_needs_one(dashboard):
    dashboard.choose(NOWHERE)
    assert dashboard.state.region is None
    with pytest.raises(ValueError, match="say where first: drag a box on a panel"):
        dashboard.accept()
    _draw_box(dashboard, 2, (0.5, 1.0, 2.0, 3.0))
    assert dashboard.accept().axis == "r"
    dashboard.choose(MISSING)
    with pytest.raises(ValueError, match="choose a suggestion to accept first"):
        dashboard.accept()


def test_a_refusal_is_kept_with_its_reason_and_does_not_come_back(dashboard, tree, store):
    dashboard.choose(SEEN)
    dashboard._press("refuse", "  ")
    assert "a refusal is kept with its reason" in dashboard.form.told.value
    assert store.links() == []
    dashboard._press("refuse", f"the beam had moved {SCRIPT}")
    (refusal,) = store.links(relation="refuses")
    assert (refusal.author, refusal.target) == ("ada", f"evidence:{SEEN.id}")
    assert _notes(dashboard) == {"×1": "dotted"}
    again = _reopened(dashboard, tree, store, suggestions=())
    assert [item.id for item in again.found.items] == [SEEN.id]
    assert _listed(again.lists.found)[0].startswith("×1  refused by ada")
    assert _notes(again) == {"×1": "dotted"}
    again.choose(again.found.items[0])
    assert "the beam had moved &lt;script&gt;" in again.lists.detail.value
    assert refusal.when in again.lists.detail.value
    assert SCRIPT not in again.lists.detail.value
    other = Evidence(**{**SEEN.__dict__, "effect": 0.2001, "test": "17 looks"})  # the same look, with others beside it
    again = _reopened(dashboard, tree, store, suggestions=[other, SHIFT])
    assert [label[0] for label in _listed(again.lists.found)] == ["×", "?"]
    again._press("n", "")
    assert again.state.about == f"evidence:{SHIFT.id}"  # the refused one is passed over
    again.choose(again.found.items[0])
    assert again.accept().frames == (10, 20)  # somebody may think better of it
    assert _listed(again.lists.found)[0].startswith("✓1  accepted by ada")


def test_another_person_judges_for_himself(dashboard, tree, store):
    dashboard.choose(SEEN)
    dashboard.refuse("no")
    bob = _reopened(dashboard, tree, store, author="bob", suggestions=())
    assert _listed(bob.lists.found)[0].startswith("×1  refused by ada")
    bob.choose(bob.found.items[0])
    bob.accept()
    assert _listed(bob.lists.found)[0].startswith("✓1  accepted by bob")
    assert [one.what for one in bob.found.sayings(bob.found.items[0])] == ["refused", "accepted"]
    ada = _reopened(dashboard, tree, store)
    assert _listed(ada.lists.found)[0].startswith("×1  refused by ada")
    assert _notes(ada) == {"1": "solid", "×1": "dotted"}


def test_marks_of_others_are_shown_and_cannot_be_changed(dashboard, tree, store):
    series = tree["xrd"].to_dataset()
    mark = store.add(series, author="bob", frames=(5, 9), category="mechanical", mechanism="crack", confidence=0.3)
    dashboard._act("again")
    colours = dashboard.screen.part("panel_1_notes").data_source.data
    assert dict(zip(colours["label"], colours["colour"], strict=True))["1"] == "#5F4690"
    dashboard.lists.marks.value = f"mark:{mark.id}"
    assert "Mark 1 by bob" in dashboard.form.heading.value
    assert (dashboard.form.mechanism.value, dashboard.form.named.value) == ("something else", "crack")
    dashboard.form.confidence.value = 0.9
    for button in ("save", "withdraw"):
        dashboard._act(button)
        assert "is by bob, and ada cannot change it; say what you think" in dashboard.form.told.value
    with pytest.raises(StoreError, match="is by bob"):
        dashboard.change()
    assert store.marks() == [mark]


def test_ones_own_mark_is_changed_and_withdrawn(dashboard, store):
    dashboard.choose(SEEN)
    mark = dashboard.accept()
    dashboard.choose(mark)
    _draw_box(dashboard, 0, (1.0, 1.5, 2.0, 2.5))
    dashboard.form.confidence.value = 0.9
    dashboard._act("save")
    assert "mark 1 changed, version 2" in dashboard.form.told.value
    (made,) = store.marks()
    assert (made.confidence, made.axis_range, made.text) == (0.9, (2.0, 2.5), "")
    dashboard.choose(made)
    _draw_box(dashboard, 1, (1.0, 1.5, 8340.0, 8350.0))
    with pytest.raises(ValueError, match="this mark lies on xrd; for xas make a new mark"):
        dashboard.change()
    dashboard.withdraw()
    assert store.marks() == []
    assert _listed(dashboard.lists.found)[0].startswith("?1  xrd")  # what rested on it is open again


def test_the_basket_is_kept_and_weighed(dashboard, tree, store):
    with pytest.raises(ValueError, match="the basket is empty"):
        dashboard.weigh()
    dashboard.choose(SEEN)
    dashboard._press("b", "")
    dashboard.put(MISSING)
    again = _reopened(dashboard, tree, store, suggestions=())
    assert [item.id for item in again.basket] == [SEEN.id, MISSING.id]
    assert store.experiments() == {again.found.name: [bl.schema.identity(tree[name].to_dataset()) for name in tree]}
    said = again.weigh()
    assert said.ranking == bl.failure.assess([SEEN, MISSING]).ranking
    assert said[said.ranking[0]].title in again.lists.ranking.value
    again.lists.why.value = said.ranking[0]
    assert "second_layered_phase appears" in again.lists.ranking.value
    space = _run(again, tree=tree, store=store)
    assert [item.id for item in space["basket"]] == [SEEN.id, MISSING.id]
    again.lists.basket.value = f"evidence:{MISSING.id}"
    again._act("out")
    assert [item.id for item in again.basket] == [SEEN.id]
    assert _reopened(again, tree, store, author="bob", suggestions=()).basket == []
    belongs, basket = store.links(MISSING, include_retired=True)
    assert (belongs.relation, belongs.is_retired) == ("belongs to", False)
    assert (basket.relation, basket.is_retired, basket.version) == ("accepts", True, 2)  # that it was in there is kept


def _run(dashboard, **names):
    """Run what `code` says and return its names."""
    space = dict(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(dashboard.code().replace("bl.dashboards.show(", "_shown = ("), space)
    return space


@pytest.mark.parametrize("axis", ["time", "capacity"])
def test_code_draws_the_screen(dashboard, tree, store, axis):
    dashboard.choose(SEEN)
    dashboard.accept()
    dashboard.choose(SHIFT)
    dashboard.refuse("no")
    dashboard.state.axis = axis
    dashboard.state.shows = {**dashboard.state.shows, "xas": "e0"}
    _draw_box(dashboard, 0, (*np.quantile(dashboard.state.x_range, [0.3, 0.5]), 2.0, 2.5))
    space = _run(dashboard, tree=tree, store=store, suggestions=LOOKS)
    for number, name in enumerate(("xrd", "xas", "pdf", "echem"), 1):
        ours = dashboard.screen.part(f"panel_{number}_notes").data_source.data
        theirs = space["plot"].select_one({"name": f"{name}_notes"}).data_source.data
        assert [ours[key] for key in ("label", "colour", "dash")] == [
            theirs[key] for key in ("label", "colour", "dash")
        ]
        for side in ("left", "right", "bottom", "top"):
            np.testing.assert_allclose(ours[side], theirs[side], atol=1e-9)
    assert space["region"].sizes["frame"] == dashboard.state.region[2] - dashboard.state.region[1] + 1


def test_keys_go_from_suggestion_to_suggestion(dashboard):
    told = []
    for key in ("n", "n", "n", "n", "p", "Escape"):
        dashboard._press(key, "")
        told.append(dashboard.state.about)
    names = [f"evidence:{item.id}" for item in (SEEN, SHIFT, NOWHERE)]
    assert told == [names[0], names[1], names[2], names[0], names[2], ""]
    assert dashboard.state.region is None
    for count, about in ((1.5, names[0]), (1.5, names[0]), (2.5, names[1])):  # a busy widget may tell a press twice
        dashboard.screen.pressed.data = {"key": ["n"], "text": [str(len(told))], "time": [count]}
        told.append(dashboard.state.about)
        assert dashboard.state.about == about
    dashboard.choose(SEEN)
    dashboard.screen.request.data = {"frame": [7]}
    assert (dashboard.state.frame, dashboard.controls.slider.value) == (7, 7)
    with pytest.raises(ValueError, match="is not on this dashboard"):
        dashboard.choose("evidence:x")
    assert dashboard.state.about == names[0]


def test_without_a_store_one_can_look(dashboard, tree):
    dashboard.store = None
    dashboard.load(tree, suggestions=LOOKS)
    assert "no store" in dashboard.form.told.value
    dashboard.choose(SEEN)
    assert dashboard.form.save.disabled
    with pytest.raises(ValueError, match="marks need a store"):
        dashboard.accept()


def _edges(shift=-0.5):
    """Edge energies of two visits whose charged state differs: what `failure.find` reads."""
    n = 6
    moments = _experiment.START + np.arange(n) * np.timedelta64(3600, "s")
    coordinates = {"cycle": [1, 1, 1, 90, 90, 90], "state_of_charge": [0, 0.5, 1, 0, 0.5, 1]}
    return xr.Dataset(
        {
            "e0": quantity("frame", [8343.0, 8344.0, 8344.8, 8343.0, 8344.0, 8344.8 + shift], "eV", "edge energy"),
            "e0_sigma": quantity("frame", [0.01] * n, "eV", "σ"),
        },
        {
            "frame": quantity("frame", np.arange(n), "1", "frame"),
            "time": quantity("frame", moments, "", "time, UTC"),
            **{name: quantity("frame", values, "1", name) for name, values in coordinates.items()},
        },
        {"energy_alignment": "by the foil"},
    )


def _results(shift=-0.5):
    return xr.DataTree.from_dict(
        {"/xas": _edges(shift), "/xrd": _experiment.patterns(6, 20, 0.0, np.random.default_rng(0))}
    )


def test_a_search_finds_what_is_planted(dashboard, store):
    tree = _results()
    _reopened(dashboard, tree, store, suggestions=())
    found = dashboard.search()
    wanted = bl.failure.find(tree["xas"].to_dataset())
    assert [item.id for item in wanted] == [item.id for item in found]
    assert found[0].observable == "xas.edge_charged"
    assert found[0].effect == pytest.approx(-0.5)
    assert "1 new in" in dashboard.lists.progress.value
    dashboard.choose(found[0])
    assert dashboard.state.region[0] == "xas"
    space = _run(dashboard, tree=tree, store=store)
    assert [item.id for item in space["evidence"]] == [item.id for item in found]


def test_a_search_beside_the_notebook_can_be_stopped(dashboard, store):
    _reopened(dashboard, _results(), store, suggestions=())

    async def press():
        dashboard._act("search")
        running = dashboard._search
        assert dashboard.lists.search.disabled
        await asyncio.sleep(0)
        dashboard._act("stop")
        await dashboard._task
        return running

    running = asyncio.run(press())
    assert running.error == "stopped"
    assert running._process.returncode != 0
    assert not Path(running._folder.name).exists()
    assert dashboard.found.items == []
    assert not dashboard.lists.search.disabled


def test_a_search_that_cannot_be_says_why(tree, tmp_path):
    with pytest.raises(ValueError, match="nothing to search in pdf"):
        split({"pdf": tree["pdf"].to_dataset()})
    assert split({name: tree[name].to_dataset() for name in tree}) == ([], ["xrd", "xas", "echem"])
    (tmp_path / "given.pickle").write_bytes(pickle.dumps(({"pdf": tree["pdf"].to_dataset()}, {})))
    main(str(tmp_path), os.getppid())
    assert "nothing to search in pdf" in json.loads((tmp_path / "told.jsonl").read_text())["error"]
    with pytest.raises(SystemExit, match="the notebook has gone"):
        main(str(tmp_path), -1)


def test_what_is_wrong_is_refused(dashboard, tree):
    with pytest.raises(TypeError, match=r"dashboards\.FailureAnnotator needs a list of Evidence"):
        dashboard.load(tree, suggestions=["x"])
    with pytest.raises(DimensionError, match=r"dashboards\.FailureAnnotator compares two to six techniques, got 1"):
        dashboard.load(xr.DataTree.from_dict({"xas": tree["xas"].to_dataset()}))
    with pytest.raises(TypeError, match="structure"):
        FailureAnnotator(tree, search={"structure": {}})
    assert len(dashboard.found.items) == len(LOOKS)  # it still shows what it had
    assert dashboard.show.__annotations__["return"] == "None"


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


def test_the_experiment_is_unchanged(dashboard, tree):
    before = tree.copy(deep=True)
    dashboard.choose(SEEN)
    dashboard.accept()
    dashboard.code()
    xr.testing.assert_identical(tree, before)
