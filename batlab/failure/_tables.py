"""The tables of a store, and how a database is opened so that nothing acknowledged is lost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

APPLICATION_ID = 0x6261746C  # "batl", in the header of the SQLite file
FORMAT = 2
BUSY_TIMEOUT = 30.0  # seconds; four processes writing at once wait about one second at worst

metadata = sa.MetaData()


def _signed(length: int) -> list[sa.Column]:
    """Return the columns of whatever has versions: who made this one, when, and as whom he was known."""
    return [
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(length), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created", sa.String(32), nullable=False),
        sa.Column("person", sa.Text, nullable=False, server_default=""),  # user of the hub, "" elsewhere
        sa.Column("login", sa.Text, nullable=False, server_default=""),  # PostgreSQL writes its session_user
    ]


# The tables as migrations/ makes them; tests hold both to be the same.
marks = sa.Table(
    "batlab_marks",
    metadata,
    *_signed(36),
    sa.Column("dataset", sa.Text, nullable=False, index=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("first_frame", sa.BigInteger, nullable=False),
    sa.Column("last_frame", sa.BigInteger, nullable=False),
    sa.Column("axis", sa.Text),
    sa.Column("axis_low", sa.Float(53)),
    sa.Column("axis_high", sa.Float(53)),
    sa.Column("axis_units", sa.Text),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("mechanism", sa.Text, nullable=False),
    sa.Column("confidence", sa.Float(53), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("is_retired", sa.Boolean, nullable=False),
    sa.UniqueConstraint("id", "version", name="batlab_marks_once"),
)
documents = sa.Table(
    "batlab_documents",
    metadata,
    *_signed(128),
    sa.Column("kind", sa.String(16), nullable=False),  # evidence, worksheet, experiment
    sa.Column("body", sa.Text, nullable=False),  # JSON
    sa.UniqueConstraint("kind", "id", "version", name="batlab_documents_once"),
)
links = sa.Table(
    "batlab_links",
    metadata,
    *_signed(128),
    sa.Column("source", sa.String(160), nullable=False, index=True),  # "mark:…", "evidence:…", "row:…"; "" for a person
    sa.Column("relation", sa.String(16), nullable=False),
    sa.Column("target", sa.String(160), nullable=False, index=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("is_retired", sa.Boolean, nullable=False),
    sa.UniqueConstraint("id", "version", name="batlab_links_once"),
)


def connect(url: str | sa.URL, *, journal: str = "WAL") -> sa.Engine:
    """Return an engine; every commit is on the disk before it is acknowledged."""
    engine = sa.create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine, "connect")
        def _wait_for_disk(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET synchronous_commit = on")
            connection.commit()

    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is emitted below, not by the driver
        connection.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_TIMEOUT)}")
        _set_journal(connection, journal)
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _set_journal(connection: Any, journal: str) -> None:
    """Set the journal; SQLite does not wait for a lock here when two processes open a new file together."""
    import sqlite3

    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={journal}")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def complaint(engine: sa.Engine) -> str:
    """Return why the SQLite file that `engine` opens is no store of ours, or an empty string."""
    with engine.connect().execution_options(reading=True) as connection:
        state = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if state != "ok":
            return f"the file is damaged: {state}"
        names = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'")}
        owner = connection.exec_driver_sql("PRAGMA application_id").scalar()
    if names and (owner != APPLICATION_ID or marks.name not in names):
        return f"it is another program's database, with the tables {', '.join(sorted(names)[:5])}"
    return ""


# File systems on which several computers do not share memory, so that SQLite's WAL may lose or damage data.
NETWORK = frozenset(
    (
        *("nfs", "nfs3", "nfs4", "gpfs", "lustre", "beegfs", "ceph", "fuse.ceph", "glusterfs", "fuse.glusterfs"),
        *("cifs", "smb", "smb3", "smbfs", "fuse.sshfs", "afs", "pvfs2", "panfs", "orangefs"),
    )
)


def network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the type of the network file system that `path` lies on, or an empty string."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:  # no Linux
        return ""
    best, kind = -1, ""
    for fields in (line.split() for line in lines):
        point = Path(fields[1].replace("\\040", " ")) if len(fields) > 2 else None
        if point is not None and path.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind if kind in NETWORK else ""
