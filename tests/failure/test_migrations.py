"""Stores of the first format are migrated with nothing lost, or left exactly as they were."""

import multiprocessing
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from batlab.errors import ReadError
from batlab.failure import Store, StoreError, _migrate, _tables

# What the first batlab wrote, as SQLite's own dump tells it; batlab 0.1.0, SQLite 3.40.1.
FIRST_FORMAT = """
CREATE TABLE batlab_marks (
	"row" INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	version INTEGER NOT NULL, 
	author TEXT NOT NULL, 
	created VARCHAR(32) NOT NULL, 
	dataset TEXT NOT NULL, 
	source TEXT NOT NULL, 
	first_frame BIGINT NOT NULL, 
	last_frame BIGINT NOT NULL, 
	axis TEXT, 
	axis_low FLOAT, 
	axis_high FLOAT, 
	axis_units TEXT, 
	category TEXT NOT NULL, 
	mechanism TEXT NOT NULL, 
	confidence FLOAT NOT NULL, 
	text TEXT NOT NULL, 
	is_retired BOOLEAN NOT NULL, 
	PRIMARY KEY ("row"), 
	CONSTRAINT batlab_marks_once UNIQUE (id, version)
);
INSERT INTO "batlab_marks" VALUES(1,'82490e62-4e2c-4863-9ebd-836ab86f6ff4',1,'Ada','2026-11-27T17:33:58.969813+00:00',
  'abc','',0,3,'q',1.2,1.3,'1/angstrom','chemical','gas <script>',0.4,'Δ
''; DROP',0);
INSERT INTO "batlab_marks" VALUES(2,'82490e62-4e2c-4863-9ebd-836ab86f6ff4',2,'Bob','2026-11-27T17:33:58.979017+00:00',
  'abc','',0,3,'q',1.2,1.3,'1/angstrom','chemical','gas <script>',0.9,'Δ
''; DROP',1);
CREATE INDEX ix_batlab_marks_dataset ON batlab_marks (dataset);
CREATE TRIGGER batlab_marks_no_update BEFORE UPDATE ON batlab_marks
  BEGIN SELECT RAISE(ABORT, 'marks are never overwritten: an edit adds a version'); END;
CREATE TRIGGER batlab_marks_no_delete BEFORE DELETE ON batlab_marks
  BEGIN SELECT RAISE(ABORT, 'marks are never overwritten: an edit adds a version'); END;
CREATE TRIGGER batlab_marks_no_insert BEFORE INSERT ON batlab_marks
  WHEN EXISTS (SELECT 1 FROM batlab_marks WHERE row = NEW.row OR (id = NEW.id AND version = NEW.version))
  BEGIN SELECT RAISE(ABORT, 'marks are never overwritten: an edit adds a version'); END;
PRAGMA application_id=1650553964;
PRAGMA user_version=1;
"""  # noqa: W291
MARK = "82490e62-4e2c-4863-9ebd-836ab86f6ff4"
MORE = 2000  # marks beside the two above


@pytest.fixture
def old(tmp_path) -> Path:
    path = tmp_path / "cell.marks.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode=WAL;{FIRST_FORMAT}")
        connection.executemany(
            "INSERT INTO batlab_marks VALUES(NULL,?,1,'Cy','2026-11-27T18:00:00+00:00','def','f.h5',1,2,NULL,NULL,NULL,"
            "NULL,'mechanical','cracking',0.1,?,0)",
            [(f"{number:036d}", f"mark {number}\n=1+1") for number in range(MORE)],
        )
        connection.commit()
    return path


def rows(path: Path) -> list[tuple]:
    columns = "row, id, version, author, created, dataset, source, first_frame, last_frame, axis, axis_low, axis_high, "
    columns += "axis_units, category, mechanism, confidence, text, is_retired"
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM batlab_marks ORDER BY row").fetchall()


def objects(path: Path) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_an_old_store_is_migrated_with_nothing_lost(old):
    before, schema = rows(old), objects(old)
    with pytest.warns(UserWarning, match=r"had format 1 and now has format 2; as it was, it is kept in cell.*\.bak"):
        store = Store(old)
    assert rows(old) == before
    assert len(before) == MORE + 2
    first, second = store.history(MARK)
    assert (first.author, second.author, second.is_retired, first.text) == ("Ada", "Bob", True, "Δ\n'; DROP")
    assert len(store.marks()) == MORE
    (copy,) = old.parent.glob("*.bak")
    assert rows(copy) == before
    assert objects(copy) == schema
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(old).close()  # a second time there is nothing to do
    assert [*old.parent.glob("*.bak")] == [copy]
    store.close()


def test_a_migrated_store_takes_all_that_a_new_one_takes(old):
    with pytest.warns(UserWarning, match="format 1"):
        store = Store(old)
    with pytest.raises(StoreError, match=f"mark {MARK} is by Ada, and Bob cannot change it"):
        store.edit(MARK, author="Bob", confidence=0.1)
    assert store.edit(MARK, author="Ada", confidence=0.2).version == 3
    assert store.comment(f"mark:{MARK}", "so it is", author="Bob") in store.links(f"mark:{MARK}")
    store.experiment("cell 7", "abc", author="Bob")
    with closing(sqlite3.connect(old)) as connection:
        for statement in (
            "UPDATE {} SET author = 'Eve'",
            "DELETE FROM {}",
            "INSERT OR REPLACE INTO {0} SELECT * FROM {0}",
        ):
            for table in _tables.metadata.tables:
                with pytest.raises(sqlite3.IntegrityError, match="never overwritten"):
                    connection.execute(statement.format(table))
    store.close()


def test_a_new_store_and_a_migrated_one_have_the_same_schema(old, tmp_path):
    with pytest.warns(UserWarning, match="format 1"):
        Store(old).close()
    Store(tmp_path / "new.sqlite").close()
    new = tmp_path / "new.sqlite"

    def told(path):  # the old file's statements are wrapped at other places
        return [(kind, name, " ".join((sql or "").split())) for kind, name, sql in objects(path)]

    assert told(old) == told(new)


def test_the_tables_are_those_of_the_migrations(tmp_path):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    store = Store(tmp_path / "new.sqlite")
    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": _migrate.VERSION_TABLE})
        assert compare_metadata(context, _tables.metadata) == []
        assert context.get_current_revision() == f"{_tables.FORMAT:04d}"
    store.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(old, monkeypatch):
    before, schema = rows(old), objects(old)

    def fail_late(*_args, **_kwargs):
        raise sa.exc.OperationalError("CREATE TABLE batlab_links", {}, OSError("disk full"))

    monkeypatch.setattr("alembic.operations.Operations.create_index", fail_late, raising=False)
    with pytest.raises(ReadError, match="cannot be used as a store of marks: disk full"):
        Store(old)
    monkeypatch.undo()
    assert rows(old) == before
    assert objects(old) == schema
    with pytest.warns(UserWarning, match="format 1"):
        Store(old).close()
    assert rows(old) == before


def test_without_a_copy_nothing_is_migrated(old, monkeypatch):
    schema = objects(old)

    def full(_path):
        raise OSError("No space left on device")

    monkeypatch.setattr(_migrate, "_settle", full)
    with pytest.raises(ReadError, match=r"cannot be written, so nothing was changed: No space left"):
        Store(old)
    assert objects(old) == schema
    assert not [*old.parent.glob("*.bak")]


OPEN = """
import warnings
from batlab.failure import Store
warnings.simplefilter("ignore")
store = Store(path)
store.add("abc", author=name, frames=(0, 0), category="chemical", mechanism="gas", confidence=0.5)
store.close()
"""


def test_several_processes_open_an_old_store_at_once(old):
    before = rows(old)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["batlab.failure.store", "batlab.failure._rows", "alembic.operations"])
    names = [f"worker {number}" for number in range(4)]
    workers = [context.Process(target=exec, args=(OPEN, {"path": str(old), "name": name})) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert rows(old)[: len(before)] == before
    assert sorted(row[3] for row in rows(old)[len(before) :]) == names
    assert len([*old.parent.glob("*.bak")]) == 1


def test_a_newer_store_is_refused_in_words(tmp_path):
    path = tmp_path / "new.sqlite"
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={_tables.FORMAT + 1}")
    content = path.read_bytes()
    with pytest.raises(ReadError, match="it has format 3, this batlab knows formats up to 2; update batlab"):
        Store(path)
    assert path.read_bytes() == content
