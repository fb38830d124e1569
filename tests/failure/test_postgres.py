"""The shared store on a hub: PostgreSQL keeps what a file keeps, and its own roles hold people apart."""

import json
import threading
from itertools import pairwise

import numpy as np
import pytest
import sqlalchemy as sa

from batlab import schema
from batlab.failure import Store, StoreError, _lines, _migrate, _tables, worksheet
from batlab.failure.evidence import Evidence

FIELDS = {"category": "electrochemical", "mechanism": "lithium plating", "confidence": 0.7}
TEXT = "Δa < 0; Übergang 相変化 🔋 <script>alert(1)</script> '; DROP TABLE batlab_marks; --\n\u202eend :name %s %(x)s"


@pytest.fixture
def store(database) -> Store:
    with Store(database) as store:
        yield store


def test_a_server_keeps_what_a_file_keeps(store, database):
    mark = store.add("abc", author="Žofie O'Neil", frames=(0, 2**40), axis_range=("q", 1.1, 1.2), text=TEXT, **FIELDS)
    edited = store.edit(mark.id, author="Žofie O'Neil", confidence=0.1 + 0.2)
    long = store.add("abc", author="Ada", frames=(0, 0), text="<script>" * 125_000, **FIELDS)  # 1 MB
    look = Evidence("xrd", "line_breadth", "up", 0.3, 0.01, "1", confidence=0.99, cycles=(1, 50))
    assert store.add_evidence(look, look, author="Ada") == [look.id] * 2
    link = store.link(look, "supports", mark, text=TEXT, author="Ada")
    store.experiment("cell 7", "abc", author="Ada")
    with Store(database) as other:
        assert other.history(mark.id) == [mark, edited]
        assert other.marks() == [edited, long]
        assert other.marks(experiment="cell 7") == [edited, long]
        assert other.evidence() == [look]
        assert other.links(mark) == [link]
        np.testing.assert_array_equal(schema.check(other.to_dataset())["confidence"], [0.1 + 0.2, 0.7])
    assert "secret" not in repr(store)
    assert store.path is None


def test_the_server_itself_refuses_to_overwrite(store, server, database):
    import psycopg

    mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    store.comment(mark, "so it is", author="Bob")
    store.experiment("cell 7", "abc", author="Ada")
    name = database.rpartition("/")[2]
    for table in _tables.metadata.tables:
        for statement in (f"UPDATE {table} SET author = 'Eve'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="never overwritten"):
                server.execute(name, statement)
    assert store.marks() == [mark]


def test_nobody_signs_with_anothers_name_on_a_hub(store, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    mark = store.add("abc", frames=(0, 0), **FIELDS)
    assert mark.author == "ada"
    monkeypatch.setenv("JUPYTERHUB_USER", "bob")
    for work in (
        lambda: store.add("abc", author="ada", frames=(0, 0), **FIELDS),
        lambda: store.edit(mark.id, author="ada", confidence=0.1),
        lambda: store.comment(mark, "no", author="ada"),
        lambda: store.experiment("cell 7", "abc", author="ada"),
    ):
        with pytest.raises(ValueError, match="you work here as 'bob'"):
            work()
    for work in (lambda: store.edit(mark.id, confidence=0.1), lambda: store.retire(mark.id)):
        with pytest.raises(
            StoreError, match=f"mark {mark.id} is by ada, and bob cannot change it; say .* with comment"
        ):
            work()
    answer = store.answer(mark.id, confidence=0.1)
    assert store.history(mark.id) == [mark]
    assert (answer.author, answer.confidence, answer.frames) == ("bob", 0.1, (0, 0))
    assert [(link.source, link.relation) for link in store.links(mark)] == [(f"mark:{answer.id}", "answers")]


def test_roles_of_their_own_hold_people_apart_whatever_the_client_says(store, server, database, monkeypatch):
    name = database.rpartition("/")[2]
    for role in ("ada", "bob"):
        server.execute(name, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD 'word'",
                       f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {role}",
                       f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")  # fmt: skip
    with Store(server.url(name, "ada", "word")) as hers, Store(server.url(name, "bob", "word")) as his:
        mark = hers.add("abc", author="ada", frames=(0, 0), **FIELDS)
        with pytest.raises(StoreError, match="it belongs to ada, and you are logged in as bob"):
            his.edit(mark.id, author="ada", confidence=0)  # a lie about the author does not help
        note = his.comment(mark, "no", author="bob")
        with pytest.raises(StoreError, match="it belongs to bob, and you are logged in as ada"):
            hers.retire_link(note.id, author="bob")
        assert hers.edit(mark.id, author="ada", confidence=1).version == 2
        with his._engine.connect() as connection:
            for statement in ("UPDATE batlab_marks SET login = 'bob'", "ALTER TABLE batlab_marks DISABLE TRIGGER ALL"):
                with pytest.raises(sa.exc.ProgrammingError, match=r"permission denied|must be owner"):
                    connection.exec_driver_sql(statement)
                connection.rollback()
    assert server.execute(name, "SELECT login FROM batlab_marks") == [("ada",), ("ada",)]
    for role in ("ada", "bob"):
        server.execute(name, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_server_of_the_first_format_is_migrated(server, database):
    engine = _tables.connect(database)
    with pytest.MonkeyPatch.context() as patch, engine.begin() as connection:
        from alembic.script import ScriptDirectory

        whole = ScriptDirectory.iterate_revisions
        patch.setattr(ScriptDirectory, "iterate_revisions", lambda self, _to, base: whole(self, "0001", base))
        _migrate.migrate(connection, 0)
        connection.exec_driver_sql(f"DROP TABLE {_migrate.VERSION_TABLE}")  # the first batlab had none
        connection.exec_driver_sql(
            "INSERT INTO batlab_marks (id, version, author, created, dataset, source, first_frame, last_frame, "
            "category, mechanism, confidence, text, is_retired) VALUES "
            "('1b4e28ba-2fa1-11d2-883f-0016d3cca427', 1, 'Ada', '2026-11-27T18:00:00+00:00', 'abc', '', 0, 1, "
            "'chemical', 'gas', 0.5, 'x', false)"
        )
    engine.dispose()
    with Store(database) as store:
        (mark,) = store.marks()
        assert (mark.author, mark.text) == ("Ada", "x")
        assert store.edit(mark.id, author="Ada", confidence=0.6).version == 2
    server.execute(database.rpartition("/")[2], f"UPDATE {_migrate.VERSION_TABLE} SET version_num = '0003'")
    with pytest.raises(StoreError, match="it has format 3, this batlab knows formats up to 2; update batlab"):
        Store(database)


def test_the_tables_are_those_of_the_migrations(store):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": _migrate.VERSION_TABLE})
        assert compare_metadata(context, _tables.metadata) == []


def test_many_open_an_empty_database_and_edit_one_mark_at_once(database):
    with Store(database) as store:
        mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    problems = []

    def work(number):
        try:
            with Store(database) as store:
                for step in range(5):
                    store.edit(mark.id, author="Ada", text=f"{number} {step}")
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with Store(database) as store:
        history = store.history(mark.id)
    assert [version.version for version in history] == list(range(1, 17))
    assert {version.text for version in history[1:]} == {f"{n} {step}" for n in range(3) for step in range(5)}
    assert all(one.created < two.created for one, two in pairwise(history))


def test_a_store_survives_its_server(server, store):
    mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    server.stop("immediate")  # as if the computer had stopped
    with pytest.raises(StoreError, match="the mark was not kept"):
        store.add("abc", author="Ada", frames=(0, 1), **FIELDS)
    server.start()
    assert store.marks() == [mark]
    assert store.add("abc", author="Ada", frames=(0, 1), **FIELDS) == store.marks()[1]


def test_lines_travel_between_a_file_and_a_server(store, tmp_path):
    with Store(tmp_path / "cell.sqlite") as file:
        mark = file.add("abc", author="Ada", frames=(0, 0), text=TEXT, **FIELDS)
        file.edit(mark.id, author="Ada", confidence=0.25)
        file.comment(mark, TEXT, author="Bob")
        assert store.merge(file).added == 3
        assert store.merge(file).added == 0
        assert store.history(mark.id) == file.history(mark.id)
        assert store.links() == file.links()
        store.export(tmp_path / "out.jsonl")
        file.export(tmp_path / "in.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == (tmp_path / "in.jsonl").read_text()


def test_an_export_is_of_one_moment(store, database):
    """What others keep between the first line and the last must not be half in it."""
    first = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    with Store(database) as other, store._engine.connect() as connection:
        lines = _lines.lines(connection)
        told = [next(lines), next(lines)]  # the head and the mark
        late = other.add("abc", author="Bob", frames=(0, 1), **FIELDS)
        other.comment(late, "so it is", author="Bob")
        other.experiment("cell 7", "abc", author="Bob")
        told += lines
    assert [json.loads(line).get("id") for line in told] == [None, first.id]
    assert len(store.marks()) == 2
    with store._engine.connect() as connection:  # the next one reads as usual
        assert connection.get_isolation_level() == "READ COMMITTED"


def test_nobody_keeps_anothers_signature_on_a_hub(store, monkeypatch):
    rated = {"severity": 1, "occurrence": 1, "detection": 1}
    made = worksheet(title="cell 7", author="ada", rows=[{"component": "cell", "mechanism": "gas", **rated}])
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    store.keep_worksheet(made)
    for forged in (made.sign(author="bob"), made.edit(made.rows[0], note="x", author="bob")):
        with pytest.raises(ValueError, match="was not kept: it has changes or signatures by bob, and you work here as"):
            store.keep_worksheet(forged)
    assert store.worksheet(made.id) == made
    store.keep_worksheet(made.sign(author="bob"), source="bob.xlsx")
    (told,) = store.imports()
    assert (told["author"], told["source"]) == ("ada", "bob.xlsx")
    assert told["what"] == [f"worksheet:{made.id} version 2 by bob"]
