"""The failure board without a browser: set the state, press buttons, look at the data and at the store."""

import math
from datetime import UTC, datetime

import pytest
from bokeh.events import Tap
from traitlets import TraitError

import batlab as bl
from batlab.dashboards import FailureBoard
from batlab.errors import ReadError
from batlab.failure import Evidence, Store, StoreError, read_worksheet, worksheet

LOOK = Evidence("xrd", "line_breadth", "up", 0.30, 0.02, "1/angstrom", limit=0.05, confidence=0.99, cycles=(1, 50),
                test="width of the lines")  # fmt: skip
MISSED = Evidence("echem", "resistance", "none", 0.003, 0.02, "ohm", limit=0.06, cycles=(1, 100))
SPARE = Evidence("xas", "edge_shift", "down", -0.4, 0.1, "eV", limit=0.2, confidence=0.9)
ODD = "<script>alert('1')</script>"


def rated(mechanism, s, o, d, **more):
    return {"component": "cell", "mode": "fade", "mechanism": mechanism, "severity": s, "occurrence": o,
            "detection": d, **more}  # fmt: skip


def planted():
    made = worksheet(title="cell 7", author="ada", rows=[
        rated("cracking", 4, 7, 5, cause="fast charging", evidence=[LOOK]),
        rated("plating", 7, 4, 5, evidence=[MISSED]),
        rated("gas", 2, 2, 2),
        {"component": "tab", "mechanism": f"fatigue {ODD}"},
    ])  # fmt: skip
    return made.add(author="bob", **rated("corrosion", 10, 7, 2), reason="seen at the autopsy")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "cy")
    with Store(tmp_path / "cell7.sqlite") as store:
        store.add_evidence(LOOK, MISSED, SPARE, author="ada")
        store.keep_worksheet(planted(), author="ada")
        yield store


@pytest.fixture(scope="module")
def one_board(tmp_path_factory):
    """Widgets and figure take a second to build: the tests swap stores in one board."""
    made = FailureBoard(tmp_path_factory.mktemp("board") / "empty.sqlite")
    yield made
    made.close()


@pytest.fixture
def board(one_board, store):
    one_board.load(store)
    one_board.form.author.value = "cy"
    one_board.tabs.selected_index = 0
    return one_board


def names(board):
    return [row.mechanism for row in board.rows]


def told(board):
    return board.controls.told.value


def choose(board, mechanism):
    board.state.row = next(row.id for row in (*board.sheet.rows, *board.sheet.retired()) if row.mechanism == mechanism)


def kept(board):
    """What another process reads from the disk."""
    with Store(board.store.path) as other:
        return other.worksheet(board.sheet.id)


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


def test_a_signed_version_is_frozen_and_a_change_starts_another(board):
    board.files.sign.click()
    assert "1 rows are not rated in full" in told(board)
    choose(board, f"fatigue {ODD}")
    board.rate(severity=1, occurrence=1, detection=1, reason="no finding")
    board.files.statement.value = "as discussed"
    board.files.sign.click()
    assert "signed" in told(board)
    assert kept(board).is_signed
    assert "signed by cy" in board.controls.about.value
    assert set(board.sheet.states().values()) == {"signed"}
    board.files.sign.click()
    assert "cy has signed version 1 already" in told(board)
    board.edit(reason="later", note="more")
    assert kept(board).version == 2
    assert "not signed" in board.controls.about.value
    assert "(version 1 is)" in board.controls.about.value
    board.state.status = "rated"
    assert names(board) == [f"fatigue {ODD}"]
    board.tabs.selected_index = 2
    assert "cy signed version 1: as discussed" in board.history.value


def test_somebody_else_was_first(board):
    choose(board, "gas")
    with Store(board.store.path) as other:
        sheet = other.worksheet(board.sheet.id)
        other.keep_worksheet(sheet.edit(board.row.id, cause="his", author="bob", reason="first"), author="bob")
    board.form.words["note"].value = "mine"
    board.form.reason.value = "second"
    board.form.save.click()
    assert "ada has kept another state" not in told(board)
    assert "bob has kept another state of it" in told(board)
    assert "The board shows that state now; what you typed is still in the form" in told(board)
    assert board.row.cause == "his"
    assert board.form.words["note"].value == "mine"
    assert board.form.words["cause"].value == "his"
    board.form.reason.value = "second"
    board.form.save.click()  # once more, and it is kept on top of his
    row = kept(board)[board.state.row]
    assert (row.cause, row.note) == ("his", "mine")


def test_what_others_keep_is_read_again(board):
    with Store(board.store.path) as other:
        sheet = other.worksheet(board.sheet.id)
        other.keep_worksheet(sheet.add(component="cell", mechanism="swelling", author="bob"), author="bob")
    assert "swelling" not in names(board)
    board.controls.reload.click()
    assert "swelling" in names(board)


@pytest.mark.parametrize("end", ["xlsx", "csv", "json", "html"])
def test_the_worksheet_goes_out_and_comes_in(board, end, tmp_path):
    folder = tmp_path / "safety board"
    board.files.path.value = str(folder / f"cell.{end}")
    board.files.save.click()
    assert f"the folder {folder} is not there" in told(board)
    folder.mkdir()
    board.files.save.click()
    assert str(folder / f"cell.{end}") in told(board)
    assert read_worksheet(folder / f"cell.{end}") == board.sheet
    board.files.save.click()
    assert "is there already; choose another name, or allow to replace it" in told(board)
    board.files.replace.value = True
    board.files.save.click()
    assert "written" in told(board)
    sheet = board.sheet
    with Store(tmp_path / "other.sqlite") as other:
        board.load(other)
        assert board.sheet is None
        board.files.path.value = str(folder / f"cell.{end}")
        board.files.read.click()
        assert board.sheet == sheet == other.worksheet(sheet.id)
        (brought,) = other.imports()
        assert (brought["author"], brought["source"]) == ("cy", str(folder / f"cell.{end}"))
        board.tabs.selected_index = 2
        board.state.row = ""
        assert "cy brought in from" in board.history.value


def test_edits_of_a_spreadsheet_are_taken_over_only_if_wanted(board, tmp_path):
    path = board.save(tmp_path / "cell.csv")
    path.write_text(path.read_text(encoding="utf-8-sig").replace("fast charging", "cold", 1), encoding="utf-8-sig")
    board.files.path.value = str(path)
    board.files.read.click()
    assert "was changed with another program" in told(board)
    board.files.edits.value, board.files.reason.value = "take", "agreed by mail"
    board.files.read.click()
    change = kept(board).changes[-1]
    assert (change.author, change.field, change.after, change.reason) == ("cy", "cause", "cold", "agreed by mail")
    board.read(board.save(tmp_path / "same.json"))  # what the store has already
    earlier = read_worksheet(board.save(tmp_path / "early.json"))
    board.edit(reason="more", note="later")
    earlier.edit(earlier.rows[0], note="elsewhere", author="dee").save(tmp_path / "fork.json")
    with pytest.raises(StoreError, match="has kept another state"):
        board.read(tmp_path / "fork.json")
    assert kept(board).rows[0].note != "elsewhere"
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(ReadError, match="no worksheet"):
        board.read(tmp_path / "no.json")
    with pytest.raises(ValueError, match="written as"):
        board.save(tmp_path / "cell.pdf")
    with pytest.raises(ValueError, match="name the file"):
        board.save(" ")


def test_marks_evidence_and_comments_are_linked(board):
    mark = board.store.add("abc", author="bob", frames=(48, 52), category="mechanical", mechanism=f"crack {ODD}",
                           confidence=0.6, text="seen in the images")  # fmt: skip
    board.refresh()
    choose(board, "gas")
    board.linking.thing.value, board.linking.text.value = f"mark:{mark.id}", "same cycles"
    board.linking.join.click()
    assert "linked" in told(board)
    (link,) = board.store.links(f"row:{board.state.row}")
    assert (link.source, link.relation, link.author, link.text) == (f"mark:{mark.id}", "supports", "cy", "same cycles")
    assert "crack &lt;script&gt;" in board.linking.links.value
    assert "⚑ 1" in board.controls.table.value
    board.linking.join.click()
    assert "text must not be empty" in told(board)  # a comment needs words
    board.linking.text.value = ODD
    board.linking.join.click()
    assert "cy comments this row: &lt;script&gt;" in board.linking.links.value
    assert board.row.basis == "judgement"
    board.link(f"evidence:{SPARE.id}", "supports", "the edge moves")
    assert kept(board)[board.state.row].evidence == (SPARE.id,)
    assert board.row.basis == "evidence"
    assert "-0.4 ± 0.1 eV ↓" in board.linking.evidence.value
    assert "the edge moves" in board.linking.links.value
    board.state.row = ""
    assert board.linking.join.disabled
    with pytest.raises(ValueError, match="choose a row first"):
        board.link(mark)


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
    board.prioritize(path)
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


def test_on_a_hub_nobody_signs_for_another(board, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "cy")
    monkeypatch.setattr(board.store, "_path", None)  # as a server's store
    board.form.author.value = "bob"
    before = board.sheet
    board.form.words["note"].value = "x"
    board.form.reason.value = "y"
    board.form.save.click()
    assert "you work here as &#x27;cy&#x27;: leave author out" in told(board)
    assert board.store.worksheet(before.id) == before


def test_a_stamp_says_effect_sigma_and_unit():
    picture = bl.figures.evidence_thumbnail(LOOK)
    assert "0.3 ± 0.02 Å⁻¹ ↑" in picture
    assert "<title>xrd.line_breadth: up by 0.3 ± 0.02 1/angstrom" in picture
    # Zero at one end of the grey (-limit … limit), the bar of 1 σ around the point, on one scale of 138 px.
    scale = 138 / (0.32 + 0.05)
    at = {name: round(6 + scale * (value + 0.05), 1) for name, value in (("low", 0.28), ("high", 0.32), ("dot", 0.30))}
    assert f'class="sigma" x1="{at["low"]}" x2="{at["high"]}"' in picture
    assert f'<circle cx="{at["dot"]}"' in picture
    assert 'fill="#FFFFFF"' in bl.figures.evidence_thumbnail(MISSED)  # an open point: not seen
    bare = bl.figures.evidence_thumbnail(Evidence("echem", f"q{ODD}", "appears", math.nan, math.nan, "1"))
    assert "<circle" not in bare
    assert "<script" not in bare
    flat = bl.figures.evidence_thumbnail(Evidence("echem", "x", "none", 0.0, 0.0, "1"))
    assert '"nan"' not in flat
    with pytest.raises(TypeError, match=r"needs failure\.Evidence, got str"):
        bl.figures.evidence_thumbnail("x")
    with pytest.raises(ValueError, match="at least"):
        bl.figures.evidence_thumbnail(LOOK, size=(10, 10))


def test_the_matrix_names_the_rows_of_each_cell():
    sheet = worksheet(
        title="x", author="ada", rows=[rated(f"m{n}", 5, 6, 10 - n) for n in range(5)] + [rated("a", 9, 1, 1)]
    )
    data = bl.figures.criticality(sheet).select_one({"name": "criticality_data"}).data
    cell = data["severity"].index(5)
    assert (data["occurrence"][cell], data["numbers"][cell], data["row"][cell]) == (6, "1 … +4", sheet.rows[0].id)
    assert data["numbers"][1 - cell] == "6"
    few = bl.figures.criticality(sheet, sheet.rows[:3], selected=sheet.rows[5].id)
    assert few.select_one({"name": "criticality_data"}).data["numbers"] == ["1 2 3"]
    assert few.select_one({"name": "criticality_selected"}).data == {"occurrence": [1], "severity": [9]}
    empty = bl.figures.criticality(worksheet(title="x", author="ada", rows=[{"component": "a", "mechanism": "b"}]))
    assert empty.select_one({"name": "criticality_data"}).data["row"] == []
