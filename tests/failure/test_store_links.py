"""What hangs together in a store: links, comments, experiments; whose is what; out as lines and in again."""

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batlab import schema
from batlab.errors import ReadError
from batlab.failure import RELATIONS, Evidence, Link, Store, StoreError, worksheet
from batlab.report._marks import marks_section
from batlab.schema import quantity

FIELDS = {"category": "electrochemical", "mechanism": "lithium plating", "confidence": 0.7}
LOOK = Evidence("xrd", "line_breadth", "up", 0.3, 0.01, "1", confidence=0.99, cycles=(1, 50))
TEXT = "Δa < 0 相変化 🔋 <script>alert(1)</script> '; DROP TABLE batlab_marks; --\n\u2028\u202eend\x85\x0b"


@pytest.fixture
def store(tmp_path) -> Store:
    with Store(tmp_path / "cell.marks.sqlite") as store:
        yield store


def fill(store: Store, author: str = "Ada") -> None:
    """Keep something of every kind."""
    mark = store.add("abc", author=author, frames=(0, 3), axis_range=("q", 0.1, 0.1 + 0.2), text=TEXT, **FIELDS)
    store.edit(mark.id, author=author, confidence=1 / 3)
    store.retire(store.add("def", author=author, frames=(0, 0), **FIELDS).id, author=author)
    store.add_evidence(LOOK, author=author)
    link = store.link(LOOK, "supports", mark, text=TEXT, author=author)
    store.retire_link(link.id, author=author)
    store.comment(mark, TEXT, author=author)
    store.experiment("cell 7", "abc", author=author)
    store.experiment("cell 7", "def", author=author)
    made = worksheet(title="cell 7", author=author, rows=[{"component": "cell", "mechanism": TEXT, "evidence": [LOOK]}])
    store.keep_worksheet(made, author=author)
    store.keep_worksheet(made.rate(made.rows[0], severity=3, reason=TEXT, author=author), author=author)


def everything(store: Store) -> list:
    marks = [version for mark in store.marks(include_retired=True) for version in store.history(mark.id)]
    return [marks, store.links(include_retired=True), store.evidence(), store.worksheets(), store.experiments()]


def test_a_megabyte_and_a_script_are_kept_and_shown_as_text(store):
    text = ("<script>alert('1')</script>" * 40_000)[: 2**20]
    mark = store.add("abc", author="<b>Ada", frames=(0, 0), text=text, **FIELDS)
    (kept,) = Store(store.path).marks()
    assert kept == mark
    assert kept.text == text
    assert "<script" not in kept._repr_html_()
    assert kept._repr_html_().count("&lt;script&gt;") == text.count("<script>")
    section = marks_section([(kept, [])], [])
    assert text in section.tables[0].rows[0]  # as text: the page escapes it
    assert len(str(schema.check(store.to_dataset())["text"].values[0])) == 2**20
    note = store.comment(mark, text, author="Bob")
    assert "<script" not in note._repr_html_()
    assert len(repr(note)) < 300
    for name, longest in (("text", 2_000_000), ("mechanism", 10_000)):
        with pytest.raises(ValueError, match=f"at most {longest} are kept"):
            store.add("abc", author="Ada", frames=(0, 0), **{**FIELDS, name: "x" * (longest + 1)})


def test_nobody_changes_anothers_mark(store):
    mark = store.add("abc", author="Ada", frames=(0, 3), text="mine", **FIELDS)
    for work in (lambda: store.edit(mark.id, author="Bob", confidence=0), lambda: store.retire(mark.id, author="Bob")):
        with pytest.raises(
            StoreError, match=f"mark {mark.id} is by Ada, and Bob cannot change it; say .* with comment"
        ):
            work()
    assert store.history(mark.id) == [mark]
    answer = store.answer(mark.id, author="Bob", confidence=0.1, frames=(1, 2), text="a pause of the cycler")
    assert (answer.author, answer.version, answer.frames, answer.mechanism) == ("Bob", 1, (1, 2), mark.mechanism)
    assert store.edit(answer.id, author="Bob", confidence=0.2).confidence == 0.2
    (link,) = store.links(mark)
    assert (link.source, link.relation, link.target) == (f"mark:{answer.id}", "answers", f"mark:{mark.id}")
    assert store.links(answer) == [link]
    with pytest.raises(StoreError, match=r"link .* is by Bob, and Ada cannot change it; make one of your own"):
        store.retire_link(link.id, author="Ada")
    assert store.retire_link(link.id, author="Bob").is_retired
    assert store.retire_link(link.id, author="Bob").version == 2
    assert store.links(mark) == []
    assert len(store.links(mark, include_retired=True)) == 1


def test_on_a_hub_the_name_alone_does_not_help(store, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    mark = store.add("abc", frames=(0, 0), **FIELDS)
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    with pytest.raises(StoreError, match="is by ada, and bob cannot change it"):
        store.edit(mark.id, author="ada", confidence=0)
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert store.edit(mark.id, confidence=0).author == "ada"


def test_a_link_joins_what_is_there(store):
    mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    name = str(uuid.uuid4())
    store.add_evidence(LOOK, author="Ada")
    link = store.link(LOOK, "supports", mark, author="Ada", link_id=name)
    assert store.link(LOOK, "supports", mark, author="Ada", link_id=name) == link  # a retry
    assert isinstance(link, Link)
    assert store.links(LOOK) == store.links(f"mark:{mark.id}") == store.links() == [link]
    assert store.links(relation="contradicts") == []
    refusals = [
        (ValueError, "did you mean 'supports'", (LOOK, "supportx", mark)),
        (ValueError, "needs a source", (None, "supports", mark)),
        (ValueError, "join two things", (mark, "supports", mark)),
        (ValueError, "has no mark:x; keep it first", (LOOK, "supports", "mark:x")),
        (ValueError, "did you mean 'mark'", (LOOK, "supports", "marc:x")),
        (ValueError, "must be 'kind:id'", (LOOK, "supports", "x")),
        (TypeError, "source must be a mark", (5, "supports", mark)),
        (ValueError, "says something else", (LOOK, "contradicts", mark)),
    ]
    for error, message, (source, relation, target) in refusals:
        with pytest.raises(error, match=message):
            store.link(source, relation, target, author="Ada", link_id=name)
    assert store.links() == [link]
    assert "accepts" in RELATIONS


def test_a_refusal_needs_its_reason(store):
    store.add_evidence(LOOK, author="Ada")
    for reason in ("", "  "):
        with pytest.raises(ValueError, match="reason must not be empty"):
            store.refuse(LOOK, reason, author="Ada")
    assert store.refuse(LOOK, "a pause", author="Ada").source == ""
    assert store.link(None, "accepts", LOOK, author="Bob").text == ""
    with pytest.raises(TypeError, match=r"must be failure\.Evidence"):
        store.add_evidence({"id": "x"}, author="Ada")
    with pytest.raises(ValueError, match="has no evidence 'x'"):
        store.evidence("x")


def test_several_experiments_in_one_store(store):
    series = xr.Dataset({"intensity": quantity("frame", np.ones(4), "count", "intensity")},
                        {"frame": quantity("frame", np.arange(4), "1", "frame")})  # fmt: skip
    here = store.add(series, author="Ada", frames=(0, 1), **FIELDS)
    there = store.add("def", author="Ada", frames=(0, 1), **FIELDS)
    store.experiment("cell 7", series, author="Ada")
    store.experiment("cell 8", "def", "ghi", author="Bob")
    store.experiment("cell 7", "xyz", series, author="Bob")
    assert store.experiments() == {"cell 7": [schema.identity(series), "xyz"], "cell 8": ["def", "ghi"]}
    assert store.marks(experiment="cell 7") == [here]
    assert store.marks(experiment="cell 8") == [there]
    assert store.marks("ghi", experiment="cell 8") == []
    assert store.marks(series, experiment="cell 8") == []
    with pytest.raises(ValueError, match="did you mean 'cell 7'"):
        store.marks(experiment="cell7")


def test_lines_go_out_and_in_without_loss_and_without_duplicates(store, tmp_path):
    fill(store)
    count = store.export(tmp_path / "out.jsonl")
    assert count == 2 + 2 + 1 + 2 + 1 + 2 + 2  # marks, one more, evidence, link, comment, experiment, worksheet
    with Store(tmp_path / "other.sqlite") as other:
        done = other.merge(tmp_path / "out.jsonl")
        assert (done.added, done.known, done.diverged, done.left) == (count, 0, (), ())
        assert everything(other) == everything(store)
        again = other.merge(store)
        assert (again.added, again.known) == (0, count)
        other.export(tmp_path / "again.jsonl")
        fill(other, "Bob")
        assert store.merge(other).added == count - 1 - 2  # the evidence and the experiment's data are the same
        assert len(store.marks(include_retired=True)) == 4
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_what_both_sides_changed_is_kept_from_both(store, tmp_path):
    mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    with Store(tmp_path / "other.sqlite") as other:
        other.merge(store)
        here = store.edit(mark.id, author="Ada", text="here")
        there = other.edit(mark.id, author="Ada", text="there")
        with pytest.warns(UserWarning, match=f"1 were changed on both sides .{mark.id}"):
            done = store.merge(other)
        assert (done.added, done.diverged) == (1, (mark.id,))
        assert [version.text for version in store.history(mark.id)] == ["", "here", "there"]
        assert store.history(mark.id)[2].created == there.created
        assert store.history(mark.id)[1] == here
        assert store.merge(other).added == 0  # once is enough
        with pytest.warns(UserWarning, match="both sides"):
            assert other.merge(store).added == 1
        assert store.merge(other).added == 0


def test_on_a_hub_a_file_cannot_change_anothers_mark(store, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    mark = store.add("abc", frames=(0, 0), **FIELDS)
    store.export(tmp_path / "in.jsonl")
    lines = (tmp_path / "in.jsonl").read_text().splitlines()
    forged = json.loads(lines[1]) | {"version": 2, "confidence": 0.0}
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, json.dumps(forged)]))
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    with pytest.warns(UserWarning, match=f"later versions of 1 marks or links of other people .{mark.id}"):
        assert store.merge(tmp_path / "in.jsonl").left == (mark.id,)
    assert store.history(mark.id) == [mark]
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert store.merge(tmp_path / "in.jsonl").added == 1


def test_what_others_signed_comes_in_as_brought_in(store, tmp_path, monkeypatch):
    with Store(tmp_path / "laptop.sqlite") as laptop:
        his = laptop.add("abc", author="bob", frames=(0, 0), **FIELDS)
        mine = laptop.add("abc", author="ada", frames=(0, 1), **FIELDS)
        note = laptop.comment(his, "so it is", author="bob")
        made = worksheet(title="cell 7", author="bob", rows=[{"component": "cell", "mechanism": "gas"}])
        laptop.keep_worksheet(made, author="bob")
        laptop.export(tmp_path / "in.jsonl")
    text = (tmp_path / "in.jsonl").read_text().replace('"person": ""', '"person": "bob"')  # a lie that a file may hold
    (tmp_path / "in.jsonl").write_text(text)
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert store.merge(tmp_path / "in.jsonl").added == 4
    assert store.marks() == [his, mine]  # authors stay
    (told,) = store.imports()
    assert (told["author"], told["source"]) == ("ada", str(tmp_path / "in.jsonl"))
    assert told["what"] == [
        f"mark:{his.id} version 1 by bob",
        f"worksheet:{made.id} version 1 by bob",
        f"link:{note.id} version 1 by bob",
    ]
    with store._engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT author, person FROM batlab_marks ORDER BY row").all()
    assert [tuple(one) for one in found] == [("bob", ""), ("ada", "ada")]  # this hub has not seen bob
    with pytest.raises(StoreError, match="is by bob, and ada cannot change it"):
        store.edit(his.id, confidence=0)
    assert store.merge(tmp_path / "in.jsonl").known == 4  # once is enough
    assert len(store.imports()) == 1
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    assert store.retire(his.id).is_retired  # whose name it bears may always withdraw it


def test_a_worksheet_that_does_not_follow_is_not_merged(store, tmp_path):
    made = worksheet(title="cell 7", author="ada", rows=[{"component": "cell", "mechanism": "gas"}])
    row = made.rows[0]
    first = made.rate(row, severity=3, occurrence=3, detection=3, reason="x", author="ada")
    with Store(tmp_path / "other.sqlite") as other:
        for kept in (store, other):
            kept.keep_worksheet(made, author="ada")
        signed = first.sign(author="ada")
        store.keep_worksheet(signed, author="ada")
        fork = first.rate(row, severity=9, reason="worse", author="bob").sign(author="bob")
        other.keep_worksheet(fork, author="bob")
        with pytest.warns(UserWarning, match=f"of 1 worksheets .{made.id}. were not taken: they do not follow"):
            done = store.merge(other, author="bob")
        assert (done.added, done.refused, done.diverged) == (0, (made.id,), ())
        assert store.worksheet(made.id) == signed
    with Store(tmp_path / "third.sqlite") as third:
        third.keep_worksheet(first, author="ada")  # a state that the newest here contains
        assert store.merge(third, author="ada").known == 1
        later = signed.edit(row, note="more", author="bob").edit(row, action="vent", author="cy")
        third.merge(store)
        third.keep_worksheet(later, author="bob")
        assert store.merge(third, author="ada").added == 1
        assert store.worksheet(made.id) == later
        assert store.imports()[-1]["what"] == [f"worksheet:{made.id} version 3 by bob"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "holds no lines|is no JSON"),
        (lambda lines: ["{}"], "holds no lines of a store"),
        (lambda lines: ['{"what": "batlab store", "format": 99}'], "format 99, this batlab knows formats up to 2"),
        (lambda lines: [*lines, "{"], "line 3 is no JSON"),
        (lambda lines: [*lines, "[" * 100_000], "line 3 is no JSON"),
        (
            lambda lines: [*lines, '{"table": "sqlite_master"}'],
            "line 3 must name its table, one of mark, document, link",
        ),
        (lambda lines: [*lines, '{"table": "mark", "id": "x"}'], "line 3 lacks "),
        (lambda lines: [*lines, lines[1].replace('"version": 1', '"version": "1"')], "line 3: version must be int"),
        (lambda lines: [*lines, lines[1].replace('"author"', '"login"')], "line 3 has 'login'"),
        (lambda lines: [*lines, lines[1].replace("null", "true")], "line 3: axis must be str"),
        (lambda lines: [lines[0], lines[1][:50]], "line 2 is no JSON"),
    ],
)
def test_lines_that_are_wrong_are_refused_and_nothing_is_taken(store, tmp_path, change, message):
    store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    path = tmp_path / "in.jsonl"
    store.export(path)
    path.write_text("\n".join(change(path.read_text().split("\n")[:2])))
    with Store(tmp_path / "other.sqlite") as other:
        with pytest.raises(ReadError, match=message):
            other.merge(path)
        assert other.marks() == []
        with pytest.raises(ReadError, match="cannot be read as lines"):
            other.merge(tmp_path / "none.jsonl")
        with pytest.raises(StoreError, match=r"folder .* is not there"):
            other.export(tmp_path / "no" / "x.jsonl")


DOCUMENT = {"table": "document", "id": "x", "version": 1, "author": "Eve", "created": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"created": "yesterday"}, "line 2 is no document of a store: Invalid isoformat string: 'yesterday'"),
        ({"created": "2026-01-01T00:00:00"}, "created must have a time zone"),
        ({"version": 0}, "version must be a whole number from 1, got 0"),
        ({"kind": "note"}, "kind must be 'evidence', 'worksheet' or 'experiment', got 'note'"),
        ({"kind": "worksheet", "body": "garbage"}, "line 2 is no document"),
        ({"kind": "worksheet", "body": "{}"}, "this is no worksheet of batlab"),
        ({"kind": "evidence", "body": json.dumps(LOOK.as_dict())}, f"its body has the id '{LOOK.id}', its row 'x'"),
        ({"kind": "evidence", "body": json.dumps(LOOK.as_dict() | {"effect": 9.0})}, "does not say what it said"),
        ({"kind": "evidence", "body": "[" * 100_000}, "line 2 is no document"),
        ({"kind": "experiment", "body": '{"datasets": 5}'}, "datasets must be a list of texts, got 5"),
        ({"kind": "experiment", "body": "[]"}, "line 2 is no document"),
    ],
)
def test_what_could_not_be_read_again_never_gets_in(store, tmp_path, change, message):
    """A row is never removed, so that one bad row would end every later reading of the store."""
    head = {"what": "batlab store", "format": 2}
    row = {**DOCUMENT, "kind": "experiment", "body": '{"datasets": ["abc"]}'}
    (tmp_path / "in.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps({**row, **change})}\n")
    with pytest.raises(ReadError, match=message):
        store.merge(tmp_path / "in.jsonl")
    assert everything(store) == [[], [], [], [], {}]
    (tmp_path / "in.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(row)}\n")
    assert store.merge(tmp_path / "in.jsonl").added == 1
    assert store.experiments() == {"x": ["abc"]}


def test_a_store_that_holds_what_cannot_be_read_is_not_merged(store, tmp_path):
    import sqlalchemy as sa

    with Store(tmp_path / "other.sqlite") as other:
        values = {**DOCUMENT, "kind": "worksheet", "body": "garbage"}
        values.pop("table")
        with other._engine.begin() as connection:
            names = ", ".join(values)
            connection.execute(
                sa.text(f"INSERT INTO batlab_documents ({names}) VALUES (:{names.replace(', ', ', :')})"), values
            )
        with pytest.raises(ReadError, match=r"other\.sqlite.*line 2 is no document of a store"):
            store.merge(other)
    assert store.worksheets() == []


def test_a_folder_is_not_replaced_by_an_export(store, tmp_path):
    (tmp_path / "kept.jsonl").mkdir()
    (tmp_path / "kept.jsonl" / "file").write_text("mine")
    with pytest.raises(OSError, match="is a folder"):
        store.export(tmp_path / "kept.jsonl")
    assert (tmp_path / "kept.jsonl" / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.glob(".*")] == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30), min_size=3,
                   max_size=3),
    numbers=st.tuples(st.floats(0, 1), st.floats(-1e300, 1e300), st.floats(1e-300, 1e300)),
)  # fmt: skip
def test_any_words_and_numbers_go_out_and_in(tmp_path_factory, words, numbers):
    folder: Path = tmp_path_factory.mktemp("lines")
    sure, low, more = numbers
    with Store(folder / "a.sqlite") as store, Store(folder / "b.sqlite") as other:
        span = ("q", low, low + more) if low < low + more < np.inf else None
        mark = store.add(f"d{words[0]}", author=f"a{words[1]}", frames=(0, 2**62), category="chemical", axis_range=span,
                         mechanism=f"m{words[2]}", confidence=sure, text=words[0])  # fmt: skip
        store.comment(mark, f"c{words[1]}", author=f"b{words[2]}")
        store.export(folder / "out.jsonl")
        assert other.merge(folder / "out.jsonl").added == 2
        assert everything(other) == everything(store)


def test_a_suggestion_is_accepted_with_its_evidence_or_not_at_all(store):
    name = str(uuid.uuid4())
    given = {"frames": (0, 3), "text": TEXT, "author": "Ada", "mark_id": name, **FIELDS}
    mark = store.accept(LOOK, "abc", **given)
    assert store.accept(LOOK, "abc", **given) == mark  # a retry
    (link,) = store.links(mark)
    assert (link.source, link.relation, link.author) == (f"evidence:{LOOK.id}", "supports", "Ada")
    assert store.evidence() == [LOOK]
    other = Evidence("xrd", "line_breadth", "up", 0.4, 0.01, "1")
    for error, change in (
        (ValueError, {"confidence": 2}),
        (TypeError, {"textt": ""}),
        (ValueError, {"frames": (3, 0)}),
    ):
        with pytest.raises(error):
            store.accept(other, "abc", **{**given, **change})
    with pytest.raises(ValueError, match="says something else"):
        store.accept(other, "abc", **{**given, "confidence": 0.1})  # the mark of this id is another
    assert store.evidence() == [LOOK]  # what cannot be accepted leaves nothing behind
    with pytest.raises(TypeError, match=r"needs failure\.Evidence, got str"):
        store.accept("look", "abc", **given)


def test_evidence_that_is_linked_is_kept_with_the_link(store):
    link = store.refuse(LOOK, "a pause", author="Ada")
    assert store.evidence() == [LOOK]
    assert store.links(LOOK) == [link]
    with pytest.raises(ValueError, match="has no mark:x; keep it first"):
        store.link(Evidence("xas", "edge_step", "none", 0.0, 0.1, "1"), "supports", "mark:x", author="Ada")
    assert store.evidence() == [LOOK]


def test_a_mark_on_a_record_counts_records(store):
    record = xr.Dataset({"voltage": quantity("record", np.ones(9), "V", "voltage")})
    mark = store.add(record, author="Ada", frames=(2, 8), **FIELDS)
    assert store.marks(record) == [mark]
    with pytest.raises(ValueError, match=r"frames \(2, 9\) reach outside the series, which has records 0 to 8"):
        store.add(record, author="Ada", frames=(2, 9), **FIELDS)
