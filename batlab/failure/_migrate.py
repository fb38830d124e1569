"""Bringing the database of a store to the format of this batlab, in one transaction, after a copy."""

from __future__ import annotations

import os
import sqlite3
import warnings
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from batlab.failure._tables import APPLICATION_ID, FORMAT, marks

VERSION_TABLE = "batlab_version"


def bring_up_to_date(engine: sa.Engine, path: Path | None = None) -> None:
    """Make or migrate the tables; a file of an earlier format is copied first.

    Raises
    ------
    ValueError
        The format is newer than this batlab.
    OSError
        The copy cannot be written; nothing was changed.
    """
    with engine.connect().execution_options(reading=True) as connection:
        if format_of(connection) == FORMAT:
            return
    kept = None
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(APPLICATION_ID)))
        held = format_of(connection)
        if held == FORMAT:  # another process was first
            return
        if held and path is not None:
            kept = copy(path, held)
        migrate(connection, held)
    if kept is not None:
        warnings.warn(
            f"{path} had format {held} and now has format {FORMAT}; as it was, it is kept in {kept.name}",
            stacklevel=6,
        )


def format_of(connection: sa.Connection) -> int:
    """Return the format of a database, 0 for an empty one; refuse a newer one."""
    if connection.dialect.name == "sqlite":
        held = int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)
    else:
        there = sa.inspect(connection)
        held = int(there.has_table(marks.name))  # the first format told no number
        if there.has_table(VERSION_TABLE):
            held = int(connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() or 0)
    if held > FORMAT:
        raise ValueError(f"it has format {held}, this batlab knows formats up to {FORMAT}; update batlab")
    return held


def migrate(connection: sa.Connection, held: int) -> None:
    """Take every step from format `held` to the newest, within the transaction of `connection`."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    folder = str(Path(__file__).with_name("migrations"))
    script = ScriptDirectory(folder, version_locations=[folder])
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    steps: list[Any] = list(script.iterate_revisions("head", f"{held:04d}" if held else "base"))
    with Operations.context(context):
        for step in reversed(steps):
            step.module.upgrade()
    context.stamp(script, "head")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")


def copy(path: Path, held: int) -> Path:
    """Copy the SQLite file `path` as it is committed, safe on the disk, under a name not yet taken."""
    stem = f"{path.name}.format{held}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for number in range(1, 1000):
        target = path.with_name(f"{stem}{f'-{number}' if number > 1 else ''}.bak")
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            continue
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as into:
            source.backup(into)
            into.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        _settle(target)
        _settle(target.parent)
        os.chmod(target, path.stat().st_mode & 0o777)
    except (OSError, sqlite3.Error) as error:
        target.unlink(missing_ok=True)
        raise OSError(f"the copy {target.name} cannot be written, so nothing was changed: {error}") from error
    return target


def _settle(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
