"""Where marks are kept: one SQLite file beside the data, or any database that SQLAlchemy knows."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from batlab.align.dose_ledger import statement_of
from batlab.errors import did_you_mean, refuse_unknown
from batlab.failure._mark import EDITABLE, Mark, as_dataset, author_name, changed, meaning, place
from batlab.failure._open import StoreError, file_of, open_file, open_url
from batlab.schema import identity, record

Answer = TypeVar("Answer")
ATTEMPTS = 3


class Store:
    """Marks of people on data. Nothing is ever overwritten: an edit adds a version.

    Parameters
    ----------
    where
        A path (SQLite; the file is made when it is not there) or an SQLAlchemy URL
        (``"postgresql+psycopg://user@host/marks"``).

    Raises
    ------
    ReadError
        The file is no store of batlab, or is damaged.
    StoreError
        The database cannot be opened.

    Notes
    -----
    A mark is on the disk when ``add`` returns: it survives the death of the process (SQLite in WAL mode with
    ``synchronous=FULL``, https://sqlite.org/wal.html). Several processes of one computer may write at once. On a
    network file system (NFS, GPFS, Lustre) WAL is unsafe: the store warns and uses SQLite's slower journal.

    Examples
    --------
    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp() + "/cell7.marks.sqlite")
    >>> mark = store.add("abc", author="ada", frames=(3, 5), axis_range=("q", 1.2, 1.3), category="mechanical",
    ...                  mechanism="cracking", confidence=0.4)
    >>> store.edit(mark.id, author="bob", confidence=0.9).version
    2
    >>> [version.confidence for version in store.history(mark.id)]
    [0.4, 0.9]
    """

    def __init__(self, where: str | os.PathLike) -> None:
        text = os.fspath(where)
        self._path = file_of(text)
        self._engine = open_file(self._path) if self._path else open_url(text)

    @classmethod
    def beside(cls, data: str | os.PathLike) -> Store:
        """Return the store that lies beside a file or folder of data: ``cell7.nc`` has ``cell7.marks.sqlite``."""
        path = Path(data).expanduser()
        return cls(path.with_name((path.name if path.is_dir() else path.stem) + ".marks.sqlite"))

    def __repr__(self) -> str:
        return f"Store({str(self._path or self._engine.url.render_as_string(hide_password=True))!r})"

    @property
    def path(self) -> Path | None:
        """The file of the store; ``None`` for a database server."""
        return self._path

    def close(self) -> None:
        """Close the connections; the store opens them again when it is used."""
        self._engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(
        self,
        series: xr.Dataset | xr.DataArray | str,
        *,
        frames: tuple[int, int],
        category: str,
        mechanism: str,
        confidence: float,
        axis_range: tuple | None = None,
        text: str = "",
        author: str | None = None,
        mark_id: str | None = None,
    ) -> Mark:
        """Keep a new mark, and return it once it is safe.

        Parameters
        ----------
        series
            The data, or their identity (``schema.identity``).
        frames
            First and last frame, both included.
        category
            ``"electrical"``, ``"chemical"``, ``"electrochemical"`` or ``"mechanical"``.
        mechanism
            What is thought to have happened, e.g. ``"lithium plating"``.
        confidence
            From 0 to 1.
        axis_range
            ``(low, high)`` along the other axis, in its unit, or ``(axis, low, high)``. None: the whole axis.
        text
            Why.
        author
            Who says so; without it the name under which you are logged in.
        mark_id
            A UUID made by the caller. Adding the same mark again with it keeps one mark only.

        Raises
        ------
        ValueError
            A field is not what it should be, or `mark_id` names a different mark.
        StoreError
            The mark was not kept.
        """
        told = {"category": category, "mechanism": mechanism, "confidence": confidence, "text": text}
        mark = Mark(
            id=str(uuid.UUID(mark_id)) if mark_id else str(uuid.uuid4()),
            version=1,
            author=author_name(author),
            created=datetime.now(UTC),
            **place(series, frames, axis_range),
            **meaning(told),
        )
        return self._write("the mark was not kept", lambda rows, connection: rows.insert(connection, mark))

    def edit(self, mark_id: str, *, author: str | None = None, **changes: Any) -> Mark:
        """Add a version of a mark with `changes` (``frames``, ``axis_range``, ``category`` …), and return it.

        Raises
        ------
        TypeError, ValueError
            A field cannot be changed or is not what it should be; no mark has this id.
        StoreError
            The version was not kept.
        """
        refuse_unknown("failure.Store.edit", changes, EDITABLE)
        if not changes:
            raise ValueError(f"failure.Store.edit needs something to change: {', '.join(EDITABLE)}")
        return self._add_version(mark_id, author, changes)

    def retire(self, mark_id: str, *, author: str | None = None) -> Mark:
        """Withdraw a mark: add a version that says so. The earlier versions stay."""
        return self._add_version(mark_id, author, {"is_retired": True})

    def marks(
        self, series: xr.Dataset | xr.DataArray | str | None = None, *, include_retired: bool = False
    ) -> list[Mark]:
        """Return the latest version of every mark (of `series`, if given), oldest mark first."""
        wanted = series if series is None or isinstance(series, str) else identity(series)
        latest: dict[str, Mark] = {}
        for mark in self._read(lambda rows, connection: rows.select(connection, dataset=wanted)):
            latest[mark.id] = mark
        return [mark for mark in latest.values() if include_retired or not mark.is_retired]

    def history(self, mark_id: str) -> list[Mark]:
        """Return every version of one mark, the first one first."""
        versions = self._read(lambda rows, connection: rows.select(connection, mark_id=mark_id))
        if not versions:
            known = [mark.id for mark in self.marks(include_retired=True)]
            raise ValueError(f"{self!r} has no mark {mark_id!r}{did_you_mean(mark_id, known)}")
        return versions

    def to_dataset(
        self, series: xr.Dataset | xr.DataArray | str | None = None, *, include_retired: bool = False
    ) -> xr.Dataset:
        """Return the latest versions as a dataset over ``event``.

        ``dose_statement`` is what `series` says of its X-ray dose (`align.dose`), else "dose not assessed".
        """
        found = self.marks(series, include_retired=include_retired)
        table = as_dataset(found, statement_of(series))
        return record(table, "failure.Store.to_dataset", store=repr(self), include_retired=include_retired)

    def _add_version(self, mark_id: str, author: str | None, changes: dict[str, Any]) -> Mark:
        signed = author_name(author)

        def work(rows: Any, connection: Any) -> Mark:
            versions = rows.select(connection, mark_id=mark_id)
            if not versions:
                raise ValueError(f"{self!r} has no mark {mark_id!r}")
            mark = changed(versions[-1], changes)
            return rows.insert(
                connection, replace(mark, version=mark.version + 1, author=signed, created=datetime.now(UTC))
            )

        return self._write("the new version was not kept", work)

    def _write(self, loss: str, work: Callable[[Any, Any], Answer]) -> Answer:
        """Run `work` in one transaction; again when another writer was first (its UUID makes that harmless)."""
        from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

        from batlab.failure import _rows

        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._engine.begin() as connection:
                    return work(_rows, connection)
            except (IntegrityError, OperationalError) as error:
                if attempt == ATTEMPTS:
                    raise StoreError(f"{self!r}: {loss}: {error.orig}") from error
            except SQLAlchemyError as error:
                raise StoreError(f"{self!r}: {loss}: {error}") from error
        raise AssertionError("unreachable")

    def _read(self, work: Callable[[Any, Any], Answer]) -> Answer:
        from sqlalchemy.exc import SQLAlchemyError

        from batlab.failure import _rows

        try:
            with self._engine.connect().execution_options(reading=True) as connection:
                return work(_rows, connection)
        except SQLAlchemyError as error:
            raise StoreError(f"{self!r} cannot be read: {error}") from error
