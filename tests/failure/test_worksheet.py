"""The worksheet: ratings and their grounds, changes by hand, versions, signatures, history."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from batlab import failure
from batlab.errors import ReadError
from batlab.failure import Evidence, Store, StoreError, Worksheet, worksheet
from batlab.failure._assess import Candidate
from batlab.failure._worksheet_log import digest
from batlab.failure._worksheet_row import RATINGS

LOOK = Evidence(
    "xrd", "lithium_metal_line", "appears", 0.02, 0.002, "1", limit=0.004, confidence=0.99, cycles=(51, 100)
)
OTHER = Evidence("echem", "stripping", "appears", 0.3, 0.02, "1", confidence=0.9, cycles=(41, 80))
MISSED = Evidence("echem", "resistance", "none", 0.0, 0.02, "1", limit=0.06, cycles=(1, 100))


def by_hand(**ratings: int) -> dict:
    return {"component": "separator", "mode": "short", "mechanism": "dendrite", **ratings}


@pytest.fixture
def sheet() -> Worksheet:
    return worksheet(title="cell 7", author="ada", rows=[by_hand(severity=7, occurrence=4, detection=5)])


@pytest.fixture
def assessment() -> SimpleNamespace:
    """What failure.assess returns, with numbers of our own."""
    plating = Candidate("lithium_plating", "lithium plating", 0.8, 0.2, "not decidable", ("sei_growth",), (),
                        (LOOK.id, OTHER.id))  # fmt: skip
    crack = Candidate("particle_cracking", "cracking", 0.15, 0.2, "not examined")
    dissolved = Candidate("transition_metal_dissolution", "dissolution", 0.05, 0.2, "unlikely", (), (), (OTHER.id,))
    return SimpleNamespace(
        candidates=(plating, crack, dissolved), evidence=(LOOK, OTHER, MISSED), knowledge="version 1"
    )


def test_the_risk_priority_number_is_a_product(sheet):
    assert sheet.rows[0].rpn == 140  # 7 · 4 · 5
    assert worksheet(rows=[by_hand(severity=7, occurrence=4)], author="ada").rows[0].rpn is None


def test_the_worst_comes_first_and_severity_breaks_ties():
    levels = [(4, 7, 5), (1, 1, 1), (7, 4, 5), (10, 2, 7), (10, 7, 2), (10, 10, 10)]
    made = worksheet(
        author="ada", rows=[by_hand(), *(by_hand(severity=s, occurrence=o, detection=d) for s, o, d in levels)]
    )
    got = [(row.severity.value, row.occurrence.value, row.detection.value) for row in made.ranked()]
    assert got == [(10, 10, 10), (10, 7, 2), (10, 2, 7), (7, 4, 5), (4, 7, 5), (1, 1, 1), (None, None, None)]
    assert {cell: len(rows) for cell, rows in made.matrix().items()}[(10, 7)] == 1


def test_rows_are_picked_by_what_they_say_and_what_became_of_them(assessment):
    made = worksheet(assessment, author="ada", rows=[by_hand(severity=2, occurrence=2, detection=2), by_hand()])
    plating, crack, hand, bare = made.rows
    assert made.ranked(technique="xrd") == made.ranked(mechanism="PLATING") == made.ranked(least_rpn=500) == [plating]
    assert made.ranked(technique="saxs") == made.ranked(author="bob") == made.ranked(status="signed") == []
    assert made.ranked(is_judgement=True) == [crack, hand, bare]
    assert made.ranked(status="open") == [bare]
    assert made.states() == {plating.id: "rated", crack.id: "rated", hand.id: "rated", bare.id: "open"}
    signed = made.remove(bare, reason="a duplicate", author="bob").sign(author="ada")
    assert set(signed.states().values()) == {"signed", "retired"}
    assert (
        signed.retired() == signed.ranked(status="retired") == signed.ranked(status="retired", author="bob") == [bare]
    )
    later = signed.edit(hand, note="more", author="cy")
    assert later.ranked(status="rated", author="cy") == [later[hand]]
    assert len(later.ranked(status="signed")) == 2
    assert worksheet(author="ada").ranked(mechanism="x") == []
    for wanted, message in (
        ({"status": "opn"}, "did you mean 'open'"),
        ({"least_rpn": -1}, "least_rpn must be a number from 0 to 1000, got -1"),
        ({"least_rpn": "9"}, "least_rpn must be a number"),
        ({"techniques": "xrd"}, "did you mean 'technique'"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            made.ranked(**wanted)


def test_ratings_are_computed_from_stated_terms(assessment):
    made = worksheet(assessment, title="cell 7", author="ada")
    plating, crack = made.rows
    # Worst effect: thermal runaway, 10. 60 of 100 cycles · 0.8 · 0.99 = 0.475, above 0.3: 9. Both techniques saw it,
    # the record (4) is the easiest, 2 more because it cannot be told from growth of the SEI.
    assert [plating.severity.value, plating.occurrence.value, plating.detection.value] == [10, 9, 6]
    assert plating.rpn == 540
    terms = {term.what: term for term in plating.occurrence.terms}
    assert terms["probability of the mechanism"].value == 0.8
    assert terms["share of the examined cycles in which it was seen"].value == 0.6
    assert terms["confidence of the best look"].value == 0.99
    assert terms["expected share, their product"].value == pytest.approx(0.8 * 0.6 * 0.99)
    assert {"effect thermal runaway", "effect capacity fade"} <= {term.what for term in plating.severity.terms}
    assert "echem saw it: 4" in plating.detection.explain()
    assert "cannot be told apart: added: 2 (sei_growth)" in plating.detection.explain()
    assert (plating.component, plating.category) == ("negative electrode", "electrochemical")
    assert crack.component == "positive electrode"


def test_every_row_has_evidence_or_is_flagged(assessment):
    made = worksheet(assessment, author="ada", rows=[by_hand(severity=1)])
    plating, crack, hand = made.rows
    assert plating.basis == "evidence"
    assert plating.occurrence.evidence == plating.evidence == (LOOK.id, OTHER.id)
    # Only occurrence is made of measured numbers; severity and detection are levels of a table, whatever was measured.
    assert [getattr(plating, name).basis for name in RATINGS] == ["table", "evidence", "table"]
    assert [getattr(crack, name).basis for name in RATINGS] == ["table"] * 3  # nothing was seen
    assert hand.severity.basis == "judgement"
    changed = made.rate(plating, severity=plating.severity.value, reason="so it is", author="bob").rows[0]
    assert changed.severity.basis == "judgement"  # a person has taken the table's number for his own
    assert (crack.basis, hand.basis) == ("judgement", "judgement")
    assert made.evidence_of(plating) == [LOOK, OTHER]
    assert made.evidence_of(crack) == []
    every = worksheet(assessment, author="ada", at_least=0.0)
    assert len(every.rows) == 3
    assert every.rows[2].basis == "judgement"  # what was seen speaks for another: its probability fell
    assert worksheet(assessment, author="ada", at_least=0.9).rows == ()


def test_a_rating_changed_by_hand_keeps_the_computed_one(assessment):
    before = worksheet(assessment, author="ada")
    told = json.dumps(before.as_dict())
    after = before.rate(before.rows[0], occurrence=3, reason="slow charging only", author="bob")
    assert json.dumps(before.as_dict()) == told  # the argument is as it was
    rating = after.rows[0].occurrence
    assert (rating.value, rating.computed, rating.is_changed) == (3, 9, True)
    assert (rating.author, rating.reason, rating.basis) == ("bob", "slow charging only", "judgement")
    assert rating.created[:2] == "20"
    assert rating.terms == before.rows[0].occurrence.terms
    assert after.rows[0].rpn == 10 * 3 * 6
    back = after.rate(after.rows[0], occurrence=9, reason="fast charging after all", author="cy", evidence=[LOOK])
    assert back.rows[0].occurrence.basis == "evidence"
    assert not back.rows[0].occurrence.is_changed
    assert [(c.author, c.field, c.reason) for c in back.history(back.rows[0])[1:]] == [
        ("bob", "occurrence", "slow charging only"),
        ("cy", "occurrence", "fast charging after all"),
    ]
    assert back.changes[-1].before["value"] == 3


def test_a_signed_version_is_frozen_and_later_changes_make_a_new_one(sheet):
    signed = sheet.sign(author="bob", statement="as discussed")
    both = signed.sign(author="cy")
    assert (signed.version, signed.is_signed, sheet.is_signed) == (1, True, False)
    assert [one.author for one in both.signatures] == ["bob", "cy"]
    later = both.edit(both.rows[0], action="a thicker separator", author="ada")
    assert (later.version, later.is_signed, later.signatures) == (2, False, ())
    assert later.rows[0].action == "a thicker separator"
    then = later.at(1)
    assert then == both
    assert then.rows[0].action == ""
    again = later.sign(author="bob")
    assert [one.version for one in again.signed] == [1, 2]
    assert again.at(1) == both
    with pytest.raises(ValueError, match=r"version 3 .* never signed; signed are: 1, 2"):
        again.at(3)
    with pytest.raises(ValueError, match="bob has signed version 2 already"):
        again.sign(author="bob")


def test_what_was_signed_cannot_be_altered_unnoticed(sheet):
    signed = sheet.sign(author="bob").edit(sheet.rows[0], note="more", author="ada")
    told = json.loads(json.dumps(signed.as_dict()))
    told["signed"][0]["content"]["rows"][0]["severity"]["value"] = 1
    with pytest.raises(ReadError, match="version 1 of worksheet 'cell 7', or its history, is not what bob signed"):
        Worksheet.from_dict(told)
    told = sheet.sign(author="bob").as_dict()
    told["rows"][0]["severity"]["value"] = 1
    with pytest.raises(ReadError, match="was changed after version 1 was signed"):
        Worksheet.from_dict(told)


def test_a_signature_covers_the_history(sheet):
    signed = sheet.edit(sheet.rows[0], cause="cold", author="ada", reason="seen").sign(author="bob")
    later = signed.edit(sheet.rows[0], note="more", author="ada").sign(author="bob")
    for change in (
        lambda told: told["changes"][0].update(author="cy"),
        lambda told: told["changes"][1].update(reason="guessed"),
        lambda told: told["changes"].pop(0),
        lambda told: told["changes"].insert(0, told["changes"][0]),
        lambda told: told["changes"].clear(),
        lambda told: told["signed"][0].update(n_changes=1),
        lambda told: told["signed"].pop(0),  # the second signature has seen the first
    ):
        told = json.loads(json.dumps(later.as_dict()))
        change(told)
        with pytest.raises(ReadError, match=r"is not what bob signed|lacks changes"):
            Worksheet.from_dict(told)
    more = later.edit(sheet.rows[0], note="yet more", author="ada")  # what comes after is not signed
    assert Worksheet.from_dict(json.loads(json.dumps(more.as_dict()))) == more
    assert more.at(1) == signed


def test_a_worksheet_signed_in_the_first_format_is_still_read(sheet):
    told = json.loads(json.dumps(sheet.sign(author="bob").as_dict())) | {"format": 1}
    del told["signed"][0]["n_changes"]
    told["signed"][0]["signatures"][0]["sha256"] = digest(told["signed"][0]["content"])  # as format 1 had it
    old = Worksheet.from_dict(told)
    assert old.is_signed
    assert Worksheet.from_dict(old.as_dict()) == old
    assert old.sign(author="cy").signatures[1].sha256 == digest(told["signed"][0]["content"])  # what it covers stays
    told["signed"][0]["content"]["title"] = "cell 8"
    with pytest.raises(ReadError, match="is not what bob signed"):
        Worksheet.from_dict(told)


def test_a_version_that_nobody_signed_is_not_signed(sheet):
    told = sheet.sign(author="bob").as_dict()
    told["signed"][0]["signatures"] = []
    with pytest.raises(ReadError, match="version 1 must have content and at least one signature"):
        Worksheet.from_dict(told)
    told = sheet.as_dict()
    told["changes"][0]["created"] = 5
    with pytest.raises(ReadError, match="created of a change must be text, got int"):
        Worksheet.from_dict(told)


def test_only_what_is_rated_in_full_is_signed(sheet):
    with pytest.raises(ValueError, match="1 rows are not rated in full"):
        sheet.add(component="cell", mechanism="gas", author="ada").sign(author="bob")
    with pytest.raises(ValueError, match="it is empty"):
        worksheet(author="ada").sign(author="bob")


def test_a_row_that_was_removed_comes_back_as_it_was(sheet, tmp_path):
    row = sheet.rows[0]
    gone = sheet.add(**by_hand(severity=1, occurrence=1, detection=1), author="ada").sign(author="ada")
    gone = gone.remove(row, reason="a slip", author="bob")
    back = gone.restore(row, reason="it was one", author="bob")
    assert back[row] == row
    assert back.retired() == []
    assert back.states()[row.id] == "signed"  # as it was signed
    assert back.follows(gone)
    assert [change.reason for change in back.history(row)[-2:]] == ["a slip", "it was one"]
    assert (gone.retired(), len(gone.rows)) == ([row], 1)  # what it was made of is unchanged
    assert back.remove(row, reason="after all", author="bob").retired() == [row]
    with Store(tmp_path / "x.sqlite") as store:
        store.keep_worksheet(gone, author="bob")
        store.keep_worksheet(back, author="bob")
        assert store.worksheet(back.id) == back
    for known, why in ((row.id, " "), ("x", "it was one")):
        with pytest.raises((KeyError, ValueError), match=r"has no removed row|must not be empty"):
            gone.restore(known, reason=why, author="bob")
    with pytest.raises(KeyError, match="has no removed row"):
        back.restore(row, reason="twice", author="bob")


def test_history_outlives_its_row(sheet):
    row = sheet.rows[0]
    less = sheet.edit(row, cause="cold", author="ada", reason="seen").remove(row, reason="a duplicate", author="bob")
    assert less.rows == ()
    assert [(c.field, c.author) for c in less.history(row)] == [("row", "ada"), ("cause", "ada"), ("row", "bob")]
    assert less.changes[-1].before["cause"] == "cold"
    assert sheet.edit(row, mode=row.mode, author="ada") is sheet  # nothing was changed
    with pytest.raises(KeyError, match="has no row"):
        less.rate(row, severity=1, reason="x", author="ada")


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda s: s.rate(s.rows[0], severity=11, reason="x"), "from 1 to 10, got 11"),
        (lambda s: s.rate(s.rows[0], severity=0, reason="x"), "from 1 to 10, got 0"),
        (lambda s: s.rate(s.rows[0], severity=2.5, reason="x"), "from 1 to 10, got 2.5"),
        (lambda s: s.rate(s.rows[0], severity=float("nan"), reason="x"), "from 1 to 10, got nan"),
        (lambda s: s.rate(s.rows[0], severity=True, reason="x"), "from 1 to 10, got True"),
        (lambda s: s.rate(s.rows[0], severity=3, reason=" "), "reason must not be empty"),
        (lambda s: s.rate(s.rows[0], reason="x"), "needs a rating to set"),
        (lambda s: s.rate(s.rows[0], severity=3, reason="x", evidence=["3f"]), "no evidence '3f'"),
        (lambda s: s.edit(s.rows[0], causx="x"), "did you mean 'cause'"),
        (lambda s: s.edit(s.rows[0]), "something to change"),
        (lambda s: s.edit(s.rows[0], category="mechanicl"), "did you mean 'mechanical'"),
        (lambda s: s.edit(s.rows[0], mechanism_type="sudden"), "mechanism_type must be"),
        (lambda s: s.edit(s.rows[0], cause="\0"), "NUL"),
        (lambda s: s.edit(s.rows[0], cause="\ud800"), "half a character"),
        (lambda s: s.edit(s.rows[0], mechanism=""), "needs a component and a mechanism"),
        (lambda s: s.add(mechanism="x"), "needs a component and a mechanism"),
        (lambda s: s.ranked(by="prio"), "did you mean 'priority'"),
        (lambda s: s.ranked(by="priority"), "no action priorities"),
        (lambda s: worksheet(at_least=2), "from 0 to 1"),
        (lambda s: worksheet(title=""), "must not be empty"),
        (lambda s: worksheet([LOOK]), "needs an assessment"),
        (lambda s: s.prioritize("high"), "read_action_priority"),
    ],
)
def test_what_makes_no_sense_is_refused(sheet, work, message):
    with pytest.raises((ValueError, TypeError), match=message):
        work(sheet)


def test_a_site_brings_its_table_of_priorities(sheet, tmp_path):
    path = tmp_path / "site.csv"
    path.write_text(
        "severity,occurrence,detection,priority\n9-10,1-10,1-10,high\n1-8,5-10,1-10,medium\n1-8,1-4,1–10,low\n"
    )
    table = failure.read_action_priority(path)
    assert table.words == ("high", "medium", "low")
    made = sheet.add(author="ada", **by_hand(severity=9, occurrence=1, detection=1)).prioritize(table, author="ada")
    assert [made.priority(row) for row in made.rows] == ["low", "high"]
    assert [row.rpn for row in made.ranked()] == [140, 9]
    assert [row.rpn for row in made.ranked(by="priority")] == [9, 140]
    assert made.changes[-1].after == "site.csv"
    assert made.add(component="a", mechanism="b", author="ada").ranked(by="priority")[-1].rpn is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must be"),
        ("severity,occurrence,detection\n", "first line must be"),
        ("severity,occurrence,detection,priority\n", "holds no rule"),
        ("severity,occurrence,detection,priority\n1,2,3\n", "line 2 must have three spans"),
        ("severity,occurrence,detection,priority\n1-x,2,3,high\n", "line 2: severity must be a level"),
        ("severity,occurrence,detection,priority\n1-11,2,3,high\n", "levels from 1 to 10, got 1 to 11"),
        ("severity,occurrence,detection,priority\n5-1,2,3,high\n", "got 5 to 1"),
        ("severity,occurrence,detection,priority\n1-5,2,3,high\n5,1-3,3,low\n", r"rule 2 says 'low' .* \(5, 2, 3\)"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_tables_of_priorities_that_are_wrong(tmp_path, text, message):
    path = tmp_path / "site.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ReadError, match=message):
        failure.read_action_priority(path)


def test_gaps_in_a_table_of_priorities_are_told(tmp_path):
    path = tmp_path / "site.csv"
    path.write_text("severity,occurrence,detection,priority\n1-10,1-10,1-9,low\n")
    with pytest.warns(UserWarning, match="nothing of 100 of the 1000"):
        assert failure.read_action_priority(path).of(1, 1, 10) is None


def test_a_site_brings_its_scales(assessment, tmp_path):
    from batlab.failure._worksheet_rate import OWN

    path = tmp_path / "site.toml"
    path.write_text(
        OWN.read_text().replace('"thermal runaway" = 10', '"thermal runaway" = 3').replace("apart = 2", "apart = 9")
    )
    plating = worksheet(assessment, scales=path, author="ada").rows[0]
    assert (plating.severity.value, plating.detection.value) == (9, 10)  # short circuit; no more than 10
    for old, new, message in (
        ("echem = 4", "echem = 11", "echem must be a whole number from 1 to 10"),
        ("[0.0, 0.001", "[0.1, 0.001", "ten rising numbers from 0"),
        ("apart = 2", "", "lacks a part of a scale"),
        ('name = "batlab 1"', "name", "no TOML"),
    ):
        path.write_text(OWN.read_text().replace(old, new))
        with pytest.raises(ReadError, match=message):
            worksheet(assessment, scales=path, author="ada")
    with pytest.raises(ReadError, match="cannot be read as scales"):
        worksheet(assessment, scales=tmp_path / "none.toml", author="ada")


def test_a_real_assessment_makes_a_worksheet():
    seen = Evidence(
        "xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0, cycles=(90, 100)
    )
    said = failure.assess([seen, MISSED], materials=["layered_oxide", "graphite"])
    made = worksheet(said, title="cell 7", author="ada")
    assert made.rows[0].mechanism == said.candidates[0].title
    assert made.rows[0].evidence == (seen.id,)
    assert Worksheet.from_dict(json.loads(json.dumps(made.as_dict()))) == made
    assert [row.rpn for row in made.ranked()] == sorted((row.rpn for row in made.rows), reverse=True)


def test_nobody_signs_as_another_by_default(sheet, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    assert sheet.sign().signatures[0].author == "bob"


def test_a_store_keeps_worksheets_evidence_and_links(assessment, tmp_path):
    made = worksheet(assessment, title="cell 7", author="ada")
    with Store(tmp_path / "cell.sqlite") as store:
        assert store.add_evidence(*made.evidence, author="ada") == [item.id for item in made.evidence]
        assert store.keep_worksheet(made, author="ada") == made
        link = store.link(LOOK, "supports", made.rows[0], author="ada", text="line of lithium metal")
        refusal = store.refuse(OTHER, "a pause of the cycler", author="bob")
        later = made.rate(made.rows[0], severity=9, reason="no short circuit", author="bob")
        store.keep_worksheet(later, author="bob")
        store.keep_worksheet(later, author="bob")  # nothing new
        mine = made.rate(made.rows[0], severity=8, reason="mild", author="cy")
        with pytest.raises(StoreError, match=r"'cell 7' was not kept: bob has kept another state of it at 20"):
            store.keep_worksheet(mine, author="cy")
    with Store(tmp_path / "cell.sqlite") as store:
        assert store.worksheet(made.id) == later
        assert store.worksheets() == [later]
        assert store.evidence(LOOK.id) == [LOOK]
        assert {item.id for item in store.evidence()} == {item.id for item in made.evidence}
        assert store.links(made.rows[0]) == [link]
        assert store.links(relation="refuses") == [refusal]
        assert store.links(OTHER)[0].text == "a pause of the cycler"
        with pytest.raises(ValueError, match="has no worksheet"):
            store.worksheet("x")
        with pytest.raises(ValueError, match="has no row:x; keep it first"):
            store.link(LOOK, "supports", "row:x", author="ada")


def test_a_worksheet_shows_itself_escaped(sheet):
    odd = sheet.edit(sheet.rows[0], cause="<script>alert(1)</script>", author="ada")
    assert "<script" not in odd._repr_html_()
    assert "&lt;script&gt;" in odd._repr_html_()
    assert "140" in odd._repr_html_()
    assert "version 1, not signed" in repr(odd)
    assert "RPN 140" in repr(odd.rows[0])
    assert replace(odd, title="x") != odd
