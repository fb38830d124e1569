"""Marks: signed, versioned, checked, and never lost."""

import multiprocessing
import os
import sqlite3
import time
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.errors import DimensionError, ReadError
from batlab.failure import Store, StoreError
from batlab.failure._tables import network_file_system
from batlab.schema import quantity

FIELDS = {"category": "electrochemical", "mechanism": "lithium plating", "confidence": 0.7}


@pytest.fixture
def patterns() -> xr.Dataset:
    q = np.linspace(1, 3, 21)
    return xr.Dataset(
        {"intensity": quantity(("frame", "q"), np.ones((10, 21)), "count", "intensity")},
        {
            "frame": quantity("frame", np.arange(10), "1", "frame"),
            "q": quantity("q", q, "1/angstrom", "scattering vector"),
        },
        {"source": "scan.h5", "source_sha256": "0" * 64},
    )


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "cell.marks.sqlite")
    yield store
    store.close()


def test_a_mark_carries_all_that_was_said(store, patterns):
    before = datetime.now(UTC)
    mark = store.add(patterns, author="Ada", frames=(2, 4), axis_range=(1.2, 1.4), text="shoulder at (003)", **FIELDS)
    (read,) = Store(store.path).marks(patterns)
    assert read == mark
    assert (read.version, read.author, read.text, read.confidence) == (1, "Ada", "shoulder at (003)", 0.7)
    assert (read.dataset, read.source) == (schema.identity(patterns), "scan.h5")
    assert (read.frames, read.axis, read.axis_range, read.axis_units) == ((2, 4), "q", (1.2, 1.4), "1/angstrom")
    assert before <= read.created <= datetime.now(UTC)
    uuid.UUID(read.id)


def test_an_edit_adds_a_version_and_overwrites_nothing(store, patterns):
    first = store.add(patterns, author="Ada", frames=(2, 4), axis_range=(1.2, 1.4), **FIELDS)
    second = store.edit(first.id, author="Ada", confidence=0.2, frames=(3, 4))
    assert store.history(first.id) == [first, second]
    assert store.marks() == [second]
    assert (second.version, second.author, second.frames) == (2, "Ada", (3, 4))
    assert (second.axis_range, second.mechanism, second.source) == (first.axis_range, first.mechanism, "scan.h5")
    third = store.edit(first.id, author="Ada", axis_range=(1.3, 1.5))
    assert (third.axis, third.axis_range) == ("q", (1.3, 1.5))


def test_a_retired_mark_is_kept_but_not_shown(store):
    mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    assert store.retire(mark.id, author="Ada").is_retired
    assert store.marks() == []
    assert [m.version for m in store.marks(include_retired=True)] == [2]
    assert len(store.history(mark.id)) == 2
    assert not store.history(mark.id)[0].is_retired


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batlab_marks SET confidence = 1",
        "UPDATE OR REPLACE batlab_marks SET confidence = 1",
        "DELETE FROM batlab_marks",
        "REPLACE INTO batlab_marks SELECT * FROM batlab_marks",
        "INSERT OR REPLACE INTO batlab_marks SELECT NULL, id, version, 'Eve', created, dataset, source, first_frame, "
        "last_frame, axis, axis_low, axis_high, axis_units, category, mechanism, 0, text, is_retired, '', '' "
        "FROM batlab_marks",
    ],
)
def test_the_database_itself_refuses_to_overwrite(store, statement):
    mark = store.add("abc", author="Ada", frames=(0, 0), **FIELDS)
    connection = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="never overwritten"):
        connection.execute(statement)
    connection.close()
    assert store.marks() == [mark]


def test_a_retry_with_the_same_uuid_keeps_one_mark(store):
    name = str(uuid.uuid4())
    first = store.add("abc", author="Ada", frames=(0, 0), mark_id=name, **FIELDS)
    assert store.add("abc", author="Ada", frames=(0, 0), mark_id=name, **FIELDS) == first
    assert store.marks() == [first]
    with pytest.raises(ValueError, match="says something else"):
        store.add("abc", author="Ada", frames=(0, 1), mark_id=name, **FIELDS)


def test_a_mark_shows_itself_in_a_line_and_in_a_table(store, patterns):
    mark = store.add(patterns, author="<i>Ada</i>", frames=(2, 4), axis_range=(1.2, 1.4), text="<script>x", **FIELDS)
    assert "frames 2 to 4, q 1.2 to 1.4 1/angstrom" in repr(mark)
    assert len(repr(mark)) < 250
    shown = mark._repr_html_()
    assert "lithium plating" in shown
    assert "&lt;script&gt;x" in shown
    assert "<i>" not in shown
    assert "<script" not in shown


def test_marks_are_found_by_dataset(store, patterns):
    here = store.add(patterns, author="Ada", frames=(0, 0), **FIELDS)
    store.add("another", author="Ada", frames=(0, 0), **FIELDS)
    assert store.marks(patterns) == [here]
    assert store.marks(schema.identity(patterns)) == [here]
    assert len(store.marks()) == 2


def test_marks_as_a_dataset(store, patterns):
    store.add(patterns, author="Ada", frames=(2, 4), axis_range=(1.2, 1.4), **FIELDS)
    store.add("xy", author="Ada", frames=(0, 3), axis_range=("two_theta", 18, 19), **FIELDS)
    events = schema.check(store.to_dataset())
    assert events.sizes == {"event": 2}
    np.testing.assert_array_equal(events["q_low"], [1.2, np.nan])
    np.testing.assert_array_equal(events["two_theta_high"], [np.nan, 19])
    assert events["two_theta_high"].attrs["units"] == "degree"
    assert list(events["mechanism"].values) == ["lithium plating"] * 2
    assert "failure.Store.to_dataset" in events.attrs["history"]


def test_no_marks_are_a_dataset_too(store):
    assert schema.check(store.to_dataset()).sizes == {"event": 0}


def test_text_of_any_writing_returns_unchanged(store):
    text = "Δa < 0; Übergang 相変化 🔋 <script>alert(1)</script> '; DROP TABLE batlab_marks; --\n\u202eend"
    mark = store.add("abc", author="Žofie O'Neil", frames=(0, 0), text=text, **FIELDS)
    assert store.history(mark.id)[0].text == text
    assert store.history(mark.id)[0].author == "Žofie O'Neil"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category": "electrochemicl"}, "did you mean 'electrochemical'"),
        ({"confidence": 1.01}, "from 0 to 1"),
        ({"confidence": float("nan")}, "from 0 to 1"),
        ({"confidence": True}, "from 0 to 1"),
        ({"mechanism": "  "}, "must not be empty"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "\ud800"}, "half a character"),
        ({"text": 5}, "must be text"),
        ({"author": ""}, "must not be empty"),
        ({"frames": (4, 2)}, "first to a last"),
        ({"frames": (0, 10)}, "frames 0 to 9"),
        ({"frames": (-1, 2)}, "at least 0"),
        ({"frames": 3}, "two whole numbers"),
        ({"frames": (0.5, 2)}, "two whole numbers"),
        ({"axis_range": (2, 1)}, "low below high"),
        ({"axis_range": (5, 6)}, "outside 'q'"),
        ({"axis_range": ("two_theta", 1, 2)}, "must be 'q'"),
        ({"axis_range": "no"}, "axis_range must be"),
        ({"mark_id": "7"}, "UUID"),
    ],
)
def test_what_makes_no_sense_is_refused(store, patterns, change, message):
    with pytest.raises(ValueError, match=message):
        store.add(patterns, **{"author": "Ada", "frames": (0, 1), **FIELDS, **change})
    assert store.marks() == []


def test_refusals_of_edit(store, patterns):
    mark = store.add(patterns, author="Ada", frames=(0, 1), **FIELDS)
    with pytest.raises(TypeError, match="did you mean 'confidence'"):
        store.edit(mark.id, author="Ada", confidance=0.1)
    with pytest.raises(ValueError, match="something to change"):
        store.edit(mark.id, author="Ada")
    with pytest.raises(ValueError, match="has no mark"):
        store.edit(str(uuid.uuid4()), author="Ada", confidence=0.1)
    with pytest.raises(ValueError, match="has no mark"):
        store.history("x")
    with pytest.raises(DimensionError, match="'frame'"):
        store.add(patterns.isel(frame=0, drop=True), author="Ada", frames=(0, 0), **FIELDS)
    with pytest.raises(ValueError, match="must name the axis"):
        store.add("abc", author="Ada", frames=(0, 0), axis_range=(1, 2), **FIELDS)
    assert store.marks() == [mark]


def test_the_author_is_the_person_logged_in(store, monkeypatch):
    monkeypatch.setenv("JUPYTERHUB_USER", "ada.l")
    assert store.add("abc", frames=(0, 0), **FIELDS).author == "ada.l"


def test_the_store_lies_beside_the_data(tmp_path):
    (tmp_path / "cell7.nc").touch()
    (tmp_path / "scan.v2").mkdir()
    assert Store.beside(tmp_path / "cell7.nc").path == tmp_path / "cell7.marks.sqlite"
    assert Store.beside(tmp_path / "scan.v2").path == tmp_path / "scan.v2.marks.sqlite"


def test_sqlite_is_set_up_to_lose_nothing(store):
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30000


def test_other_files_are_refused(tmp_path):
    text, foreign, newer = tmp_path / "notes.txt", tmp_path / "places.sqlite", tmp_path / "new.sqlite"
    text.write_text("no database, but longer than its header")
    for path, statement in ((foreign, "CREATE TABLE places (url TEXT)"), (newer, "PRAGMA user_version=99")):
        Store(newer).close() if path is newer else None
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()
    with pytest.raises(ReadError, match=r"notes.txt is no store of marks"):
        Store(text)
    with pytest.raises(ReadError, match=r"places.sqlite.*another program's database, with the tables places"):
        Store(foreign)
    with pytest.raises(ReadError, match="format 99"):
        Store(newer)
    assert text.read_text().startswith("no database")


def test_a_damaged_store_is_refused(tmp_path):
    path = tmp_path / "cell.marks.sqlite"
    store = Store(path)
    for _ in range(50):
        store.add("abc", author="Ada", frames=(0, 0), text="x" * 500, **FIELDS)
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096:-4096] = os.urandom(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"cell.marks.sqlite cannot be used"):
        Store(path)
    path.write_bytes(content[:3000])
    with pytest.raises(ReadError, match=r"cell.marks.sqlite cannot be used"):
        Store(path)


def test_an_sqlite_address_is_the_path_in_it(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'cell.sqlite'}") as store:
        kept = store.add("0" * 64, frames=(0, 1), category="chemical", mechanism="gas", confidence=0.5)
    with Store(tmp_path / "cell.sqlite") as store:
        assert [mark.id for mark in store.marks()] == [kept.id]


def test_addresses_that_lead_nowhere(tmp_path):
    with pytest.raises(StoreError, match=r"folder .* is not there"):
        Store(tmp_path / "no" / "x.sqlite")
    for address in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(StoreError, match="given as a path"):
            Store(address)
    with pytest.raises(StoreError, match="cannot be opened") as error:
        Store("nosuchdatabase://ada:secret@host/marks")
    assert "secret" not in str(error.value)


def test_a_network_file_system_is_told(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    (tmp_path / "data set").mkdir()
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nhost:/x {tmp_path}/data\\040set nfs4 rw 0 0\n")
    assert network_file_system(tmp_path / "data set" / "x.sqlite", mounts) == "nfs4"
    assert network_file_system(tmp_path, mounts) == ""
    assert network_file_system(tmp_path, tmp_path / "none") == ""
    monkeypatch.setattr("batlab.failure._tables.network_file_system", lambda path: "lustre")
    with pytest.warns(UserWarning, match=r"network file system \(lustre\)"):
        store = Store(tmp_path / "x.sqlite")
    assert store.add("abc", author="Ada", frames=(0, 0), **FIELDS) == store.marks()[0]
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"


# Text, because a process that starts anew cannot import a test module under every import mode of pytest.
KEEP_MARKING = """
import os
from batlab.failure import Store
store = Store(path)
file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    mark = store.add("abc", author=str(os.getpid()), frames=(0, 0), **fields)
    os.write(file, f"{mark.id}\\n".encode())
"""


def test_an_acknowledged_mark_survives_sigkill(tmp_path):
    path, context = tmp_path / "cell.marks.sqlite", multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["batlab.failure.store", "batlab.failure._rows"])
    logs = []
    for number, n_acknowledged in enumerate((10, 25, 60)):
        logs += (now := [tmp_path / f"{number}-{worker}.log" for worker in range(3)])
        given = [{"path": str(path), "log": str(log), "fields": FIELDS} for log in now]
        workers = [context.Process(target=exec, args=(KEEP_MARKING, names), daemon=True) for names in given]
        for worker in workers:
            worker.start()
        while sum(log.read_bytes().count(b"\n") for log in now if log.exists()) < n_acknowledged:
            assert all(worker.is_alive() for worker in workers)
            time.sleep(0.005)
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
            assert worker.exitcode == -9
    acknowledged = {line for log in logs if log.exists() for line in log.read_text().split()}
    kept = [mark.id for mark in Store(path).marks()]
    assert acknowledged <= set(kept)
    assert len(kept) == len(set(kept)) <= len(acknowledged) + 9
