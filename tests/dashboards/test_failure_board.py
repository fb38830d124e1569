"""The failure board without a browser: rows, ratings, texts; set the state, press buttons, look at the data."""

from datetime import UTC, datetime

import pytest
from bokeh.events import Tap
from traitlets import TraitError

import batlab as bl
from batlab.failure import Evidence, Store, worksheet

from .boards import LOOK, ODD, choose, kept, names, rated, told


def test_the_worst_stands_first_and_severity_breaks_ties(board):
    assert names(board)[:4] == ["corrosion", "plating", "cracking", "gas"]  # 140 each, S 10, 7, 4; then 8
    assert [row.rpn for row in board.rows] == [140, 140, 140, 8, None]
    assert board.row.mechanism == "corrosion"  # the worst is open at first
    table = board.controls.table.value
    assert table.index("corrosion") < table.index("plating") < table.index("cracking") < table.index("fatigue")
    assert table.count("<svg") == 2
    assert table.count(">judgement</span>") == 3
    assert "5 of 5" in board.controls.count.value


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"mechanism": "CRACK"}, ["cracking"]),
        ({"author": "bob"}, ["corrosion"]),
        ({"technique": "xrd"}, ["cracking"]),
        ({"technique": "xas"}, []),
        ({"status": "open"}, [f"fatigue {ODD}"]),
        ({"status": "signed"}, []),
        ({"is_judgement": True}, ["corrosion", "gas", f"fatigue {ODD}"]),
        ({"least_rpn": 9}, ["corrosion", "plating", "cracking"]),
        ({"least_rpn": 140, "is_judgement": True}, ["corrosion"]),
        ({"least_rpn": 141}, []),
    ],
)
def test_filters_leave_what_fits(board, wanted, expected):
    board.state.row = board.rows[-1].id
    if wanted.get("technique") == "xas":
        board.state.technique = "xas"
    else:
        for name, value in wanted.items():
            if name != "technique":
                getattr(board.controls, name).value = value  # as somebody sets it
            else:
                board.controls.technique.value = value
    assert names(board) == expected
    assert board.row.mechanism == f"fatigue {ODD}"  # the open form stays
    assert len(board.screen.cells.data["row"]) == len(
        {(r.severity.value, r.occurrence.value) for r in board.rows if r.rpn}
    )
    board.controls.clear.click()
    assert len(board.rows) == 5
    assert board.controls.mechanism.value == ""


def test_a_rating_by_hand_stands_beside_the_computed_one_and_is_on_the_disk(board):
    seen = Evidence("xrd", "lithium_metal_line", "appears", 0.02, 0.002, "1", limit=0.004, confidence=0.99,
                    cycles=(51, 100))  # fmt: skip
    said = bl.failure.assess([seen], materials=["layered_oxide", "graphite"])
    made = worksheet(said, title="cell 8", author="ada")
    board.load(board.store, made)
    plating = next(row for row in made.rows if "plating" in row.mechanism)
    board.state.row = plating.id
    computed = plating.occurrence.value
    assert f"computed <b>{computed}</b>" in board.form.told["occurrence"].value
    assert "· evidence" in board.form.told["occurrence"].value
    assert "· table" in board.form.told["severity"].value  # a level of the scales, whatever was measured
    board.form.ratings["occurrence"].value = 3
    board.form.save.click()
    assert "reason must not be empty" in told(board)
    assert kept(board) == made  # nothing was kept
    board.form.reason.value = "slow charging only"
    board.form.save.click()
    assert "kept" in told(board)
    rating = kept(board)[plating.id].occurrence
    assert (rating.value, rating.computed, rating.author, rating.reason) == (3, computed, "cy", "slow charging only")
    assert rating.basis == "judgement"
    assert datetime.now(UTC).isoformat()[:10] == rating.created[:10]
    assert f"<s>{computed}</s>" in board.form.told["occurrence"].value
    assert f"<s>{computed}</s>" in board.controls.table.value
    assert board.form.reason.value == ""
    board.form.ratings["occurrence"].value = 5
    board.form.rests_on.value = (seen.id,)
    board.form.reason.value = "as the line says"
    board.keep()
    assert kept(board)[plating.id].occurrence.basis == "evidence"


def test_ratings_and_texts_are_kept_together_and_their_history_opens(board):
    choose(board, "cracking")
    row = board.row
    board.form.ratings["detection"].value = 9
    board.form.words["action"].value = "look again"
    board.form.reason.value = "no beam time"
    board.form.save.click()
    assert [(c.author, c.field, c.reason) for c in kept(board).history(row)[1:]] == [
        ("cy", "detection", "no beam time"), ("cy", "action", "no beam time")]  # fmt: skip
    board.tabs.selected_index = 2
    assert "detection: 5 -&gt; 9 (no beam time)" in board.history.value
    assert "action: &#x27;&#x27; -&gt; &#x27;look again&#x27;" in board.history.value
    assert board.history.value.index("look again") < board.history.value.index("added the row")  # newest first
    before = kept(board)
    board.form.save.click()
    assert "nothing was changed in the form" in told(board)
    assert kept(board) == before


def test_what_was_typed_and_not_kept_waits_at_its_row(board):
    choose(board, "gas")
    board.form.words["cause"].value = "moisture"
    choose(board, "plating")
    assert board.form.words["cause"].value == ""
    assert "not kept" not in board.form.head.value
    choose(board, "gas")
    assert board.form.words["cause"].value == "moisture"
    assert "typed, not kept" in board.form.head.value
    board.edit(reason="else", note="by a script")  # another change does not take it away
    assert board.form.words["cause"].value == "moisture"
    board.form.reason.value = "seen"
    board.keep()
    assert kept(board)[board.state.row].cause == "moisture"
    assert "not kept" not in board.form.head.value


def test_a_reason_waits_at_its_row_too(board):
    choose(board, "gas")
    board.form.words["cause"].value, board.form.reason.value = "moisture", "as the mass spectrometer says"
    choose(board, "plating")
    assert board.form.reason.value == ""  # else the next rating would be kept for a reason that belongs to another row
    board.form.ratings["detection"].value = 4
    board.form.save.click()
    assert "reason must not be empty" in told(board)
    choose(board, "gas")
    assert board.form.reason.value == "as the mass spectrometer says"
    board.form.save.click()
    assert kept(board).changes[-1].reason == "as the mass spectrometer says"
    assert board.form.reason.value == ""


def test_what_a_typed_rating_rests_on_waits_with_it(board):
    choose(board, "cracking")
    board.form.ratings["detection"].value, board.form.rests_on.value = 4, (LOOK.id,)
    board.form.reason.value = "as the lines say"
    choose(board, "gas")
    assert board.form.rests_on.value == ()
    assert "not kept" not in board.form.head.value
    choose(board, "cracking")
    assert board.form.rests_on.value == (LOOK.id,)
    board.form.save.click()
    assert kept(board)[board.state.row].detection.basis == "evidence"


def test_what_was_retired_by_mistake_is_brought_back(board):
    choose(board, "gas")
    row, before = board.state.row, kept(board)[board.state.row]
    board.form.words["cause"].value, board.form.reason.value = "moisture", "wrong button"
    assert board.form.retire.description == "retire row"
    board.form.retire.click()
    assert "gas" not in names(board)
    assert [one.id for one in kept(board).retired()] == [row]
    assert board.form.words["cause"].disabled
    assert board.form.retire.description == "bring back"
    board.form.retire.click()
    assert "reason must not be empty" in told(board)
    board.form.reason.value = "it was the wrong button"
    board.form.retire.click()
    assert kept(board)[row] == before
    assert kept(board).retired() == []
    assert [one.reason for one in kept(board).history(row)[1:]] == ["wrong button", "it was the wrong button"]
    assert "gas" in names(board)
    assert (board.form.words["cause"].value, board.form.reason.value) == ("moisture", "")  # what was typed still waits
    with pytest.raises(KeyError, match="has no removed row"):
        board.restore("again")


def test_rows_are_added_and_retired(board):
    board.form.new.click()
    assert board.row is None
    board.form.words["component"].value = "separator"
    board.form.save.click()
    assert "needs a component and a mechanism" in told(board)
    board.form.words["mechanism"].value = "dendrite"
    for name, value in (("severity", 7), ("occurrence", 4), ("detection", 5)):
        board.form.ratings[name].value = value
    board.form.save.click()
    assert (board.row.mechanism, board.row.rpn) == ("dendrite", 140)
    assert kept(board)[board.row.id].severity.author == "cy"
    gone = board.row.id
    board.form.retire.click()
    assert "reason must not be empty" in told(board)
    board.form.reason.value = "a duplicate"
    board.form.retire.click()
    assert "dendrite" not in names(board)
    assert gone not in [row.id for row in kept(board).rows]
    assert board.form.save.disabled
    board.state.status = "retired"
    assert names(board) == ["dendrite"]
    assert 'class="retired"' in board.controls.table.value
    with pytest.raises(ValueError, match="is retired already"):
        board.retire("again")
    with pytest.raises(KeyError, match="has no row"):
        board.rate(severity=1, reason="x")
    board.tabs.selected_index = 2
    assert "removed the row (a duplicate)" in board.history.value
    board.form.new.click()
    assert board.form.words["component"].value == ""  # the form of a new row is empty again


def test_whatever_people_type_is_shown_as_text(board):
    long = (ODD * 40_000)[: 2**20]
    choose(board, "gas")
    board.edit(reason=ODD, cause=long, mode=ODD, action="&amp;")
    for tab in range(5):
        board.tabs.selected_index = tab
    shown = [board.controls.table.value, board.history.value, board.linking.links.value, board.form.head.value,
             board.linking.evidence.value, told(board), board.controls.about.value]  # fmt: skip
    assert not any("<script" in one for one in shown)
    assert "&lt;script&gt;" in board.controls.table.value
    assert sum(map(len, shown)) < 60_000  # a megabyte is told, not drawn
    assert board.form.words["cause"].value == long == kept(board)[board.state.row].cause
    board.controls.say(ODD)
    assert "<script" not in told(board)


def test_click_key_and_button_choose_a_row(board):
    ids = [row.id for row in board.rows]
    board.screen.request.data = {"row": [ids[2]], "time": [1.0]}
    assert board.state.row == ids[2]
    assert f'data-selected="{ids[2]}"' in board.controls.chosen.value
    assert board.screen.ring.data == {"occurrence": [7], "severity": [4]}
    board.controls.select('a"] {} * { display: none')  # the id of a row may come from anybody's file
    rule = board.controls.chosen.value.partition(">")[2].removesuffix("</style>")
    assert rule.count('"') == 2
    assert rule.count("{") == rule.count("}") == 1
    board.controls.select(ids[2])
    assert f'tr[data-row="{ids[2]}"]' in board.controls.chosen.value
    board.screen.request.data = {"row": ["nobody"], "time": [2.0]}
    assert board.state.row == ids[2]
    board.screen.root._trigger_event(Tap(board.screen.root, x=4.3, y=7.2))
    assert board.row.mechanism == "plating"
    board.screen.root._trigger_event(Tap(board.screen.root, x=1, y=9))  # an empty cell
    assert board.row.mechanism == "plating"
    board.controls.forward.click()
    assert board.state.row == ids[2]
    board.step(-10)
    assert board.state.row == ids[0]
    with pytest.raises(TraitError, match="row must be the id of a row that is there"):
        board.state.row = "x"
    with pytest.raises(TraitError, match="least_rpn must be a whole number from 0 to 1000"):
        board.state.least_rpn = -1


def test_a_table_of_priorities_orders_the_rows(board, tmp_path):
    path = tmp_path / "site.csv"
    path.write_text("severity,occurrence,detection,priority\n1-5,1-10,1-10,high\n6-10,1-10,1-10,<low>\n")
    board.files.table.value = str(path)
    board.files.prioritize.click()
    assert "priorities loaded" in told(board)
    board.controls.by.value = "priority"
    assert names(board)[:4] == ["cracking", "gas", "corrosion", "plating"]
    assert "&lt;low&gt;" in board.controls.table.value
    path.write_text("severity,occurrence,detection,priority\n1-9,1-10,1-10,high\n")
    board.files.prioritize.click()
    assert "priorities loaded" in told(board)
    assert "Doubtful: site.csv says nothing of 100 of the 1000 combinations" in told(board)
    board.files.table.value = str(tmp_path / "none.csv")
    board.files.prioritize.click()
    assert "cannot be read" in told(board)
    assert board.state.by == "priority"


def test_many_rows_are_drawn_in_parts(board):
    sheet = worksheet(title="long", author="ada", rows=[rated(f"m{n}", 1 + n % 10, 2, 3) for n in range(130)])
    board.load(board.store, sheet)
    assert board.controls.table.value.count("<tr data-row") == 60
    assert "60 more rows" in board.controls.more.description
    board.controls.more.click()
    board.controls.more.click()
    assert board.controls.table.value.count("<tr data-row") == 130
    assert board.controls.more.layout.display == "none"


def test_the_code_reproduces_the_screen(board, monkeypatch):
    shown = []
    monkeypatch.setattr("batlab.dashboards.show", shown.append, raising=False)
    board.state.least_rpn, board.state.mechanism = 100, "c"
    choose(board, "cracking")
    space = {}
    exec(board.code().replace("bl.dashboards.show(", "shown = (").replace("display(", "seen = ("), space)
    assert [row.id for row in space["rows"]] == [row.id for row in board.rows]
    assert space["seen"].data == board.controls.table.value
    data = space["matrix"].select_one({"name": "criticality_data"}).data
    assert data == board.screen.cells.data
    assert space["matrix"].select_one({"name": "criticality_selected"}).data == board.screen.ring.data
    board.tabs.selected_index = 4
    assert board.script.value == board.code()


def test_a_store_without_a_worksheet(one_board, tmp_path):
    with Store(tmp_path / "empty.sqlite") as store:
        one_board.load(store)
        assert "no worksheet yet" in told(one_board)
        assert one_board.code().endswith("worksheets())\n")
        one_board.form.save.click()
        assert "no worksheet yet; start one" in told(one_board)
        one_board.step(1)
        one_board.files.start.click()
        assert "title must not be empty" in told(one_board)
        one_board.files.title.value = "cell 9"
        one_board.files.start.click()
        assert one_board.sheet.title == store.worksheets()[0].title == "cell 9"
        one_board.add(component="cell", mechanism="gas")
        one_board.start("cell 10")
        assert [label.split(" · ")[0] for label, _ in one_board.controls.sheet.options] == ["cell 9", "cell 10"]
        one_board.controls.sheet.value = store.worksheets()[0].id
        assert names(one_board) == ["gas"]


def test_what_makes_no_sense_is_refused_and_the_board_stays(board):
    before = board.sheet
    with pytest.raises(TypeError, match=r"needs a failure\.Store"):
        board.load(5)
    with pytest.raises(ValueError, match="has no worksheet"):
        board.load(board.store, "x")
    assert board.sheet == before
    assert board.show() is None
