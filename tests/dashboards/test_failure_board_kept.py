"""The failure board without a browser: signatures, others at the same worksheet, files, links."""

import pytest

from batlab.dashboards import FailureBoard
from batlab.errors import ReadError
from batlab.failure import Store, StoreError, read_worksheet

from .boards import ODD, SPARE, choose, kept, names, told


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
    choose(board, "cracking")
    held = board.row.evidence
    with Store(board.store.path) as other:
        sheet = other.worksheet(board.sheet.id)
        other.keep_worksheet(sheet.edit(board.row.id, note="his", author="bob", reason="first"), author="bob")
    before = len(board.store.links())
    with pytest.raises(StoreError, match="bob has kept another state"):
        board.link(f"evidence:{SPARE.id}")
    assert len(board.store.links()) == before  # neither half was kept, so that trying again makes no second link
    board.link(f"evidence:{SPARE.id}")
    assert kept(board)[board.state.row].evidence == (*held, SPARE.id)
    assert len(board.store.links()) == before + 1
    board.retire("a test")
    with pytest.raises(KeyError, match="has no row"):
        board.link(f"evidence:{SPARE.id}")
    assert len(board.store.links()) == before + 1
    board.state.row = ""
    assert board.linking.join.disabled
    with pytest.raises(ValueError, match="choose a row first"):
        board.link(mark)


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
    made = FailureBoard(board.store)
    assert (made.form.author.value, made.form.author.disabled) == ("cy", True)
    made.close()
