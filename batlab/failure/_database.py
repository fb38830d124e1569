"""A database that keeps what it has acknowledged, and in which nobody changes what is another's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from batlab.failure._mark import author_name, hub_user
from batlab.failure._open import StoreError, file_of, open_file, open_url

Answer = TypeVar("Answer")
ATTEMPTS = 5


class Database:
    """The file or server of a store, and its transactions."""

    def __init__(self, where: str | os.PathLike) -> None:
        text = os.fspath(where)
        self._path = file_of(text)
        self._engine = open_file(self._path) if self._path else open_url(text)

    def __repr__(self) -> str:
        return f"Store({str(self._path or self._engine.url.render_as_string(hide_password=True))!r})"

    @property
    def path(self) -> Path | None:
        """The file of the store; ``None`` for a database server."""
        return self._path

    def close(self) -> None:
        """Close the connections; the store opens them again when it is used."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signed(self, author: str | None) -> str:
        """Return who signs. On a hub's shared server nobody signs with another's name."""
        name, person = author_name(author), hub_user()
        if self._path is None and person and name != person:
            raise ValueError(f"you work here as {person!r}: leave author out, or let it be {person!r}, got {name!r}")
        return name

    def _own(self, connection: Any, table: Any, known: str, author: str) -> None:
        """Refuse `author` if a mark or link is another's."""
        from batlab.failure import _rows

        first, person = _rows.owner(connection, table, known)
        now = hub_user()
        if first == author and (not person or not now or person == now):
            return
        kind = table.name.removeprefix("batlab_").removesuffix("s")
        behind = f" (logged in as {person})" if person and person != first else ""
        advice = "say what you think with comment, or make a version of your own with answer" * (kind == "mark")
        raise StoreError(
            f"{kind} {known} is by {first}{behind}, and {now or author} cannot change it"
            f"; {advice or 'make one of your own'}"
        )

    def _hold(self, connection: Any, known: str) -> None:
        """Let one writer at a time count the versions of `known`; SQLite has one writer at a time anyway."""
        import sqlalchemy as sa

        if connection.dialect.name == "postgresql":
            number = sa.func.hashtextextended(known, 0)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))

    def _next(self, connection: Any, made: Any, author: str, moment: datetime, changes: dict[str, Any]) -> Any:
        """Add a version of the mark or link `made`, never dated before the last one."""
        from batlab.failure import _rows

        created = max(moment, made.created + timedelta(microseconds=1))
        version = replace(made, version=made.version + 1, author=author, created=created, **changes)
        return _rows.insert(connection, version, hub_user())

    def _write(self, loss: str, work: Callable[[Any], Answer]) -> Answer:
        """Run `work` in one transaction; again when another writer was first (what it adds is named beforehand)."""
        from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except (IntegrityError, OperationalError) as error:
                if attempt == ATTEMPTS:
                    raise StoreError(f"{self!r}: {loss}: {error.orig}") from error
            except SQLAlchemyError as error:
                raise StoreError(f"{self!r}: {loss}: {getattr(error, 'orig', None) or error}") from error
        raise AssertionError("unreachable")

    def _read(self, work: Callable[[Any], Answer]) -> Answer:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect().execution_options(reading=True) as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise StoreError(f"{self!r} cannot be read: {error}") from error


def now() -> datetime:
    """Return this moment, UTC."""
    return datetime.now(UTC)
