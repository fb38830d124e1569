"""Where marks are kept: one SQLite file beside the data, or any database that SQLAlchemy knows."""

from __future__ import annotations

import os
import uuid
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from batlab.align.dose_ledger import statement_of
from batlab.errors import did_you_mean, refuse_unknown
from batlab.failure._board import Board, _keep_evidence
from batlab.failure._database import now
from batlab.failure._link import Link
from batlab.failure._mark import EDITABLE, Mark, as_dataset, changed, hub_user, meaning, place
from batlab.failure._open import StoreError
from batlab.schema import identity, record

if TYPE_CHECKING:
    from batlab.failure._lines import Merged
    from batlab.failure.evidence import Evidence


class Store(Board):
    """Marks of people on data, evidence, worksheets, and what links them. Nothing is ever overwritten.

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

    Warns
    -----
    UserWarning
        The file had an earlier format: it was copied, then migrated in one transaction. Or it lies on a network.

    Notes
    -----
    Who signs is ``JUPYTERHUB_USER``, else the user of the computer. A mark or link is changed by its author only. On a
    server each person should have a role of his own (``GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public``, ``GRANT
    USAGE ON ALL SEQUENCES IN SCHEMA public``): then PostgreSQL itself refuses to let one change what is another's,
    whatever the client says. Rows are never updated or deleted; triggers refuse it on SQLite and on PostgreSQL.

    A mark is on the disk when ``add`` returns: it survives the death of the process (SQLite in WAL mode with
    ``synchronous=FULL``, https://sqlite.org/wal.html). Several processes of one computer may write at once. On a
    network file system (NFS, GPFS, Lustre) WAL is unsafe: the store warns and uses SQLite's slower journal.

    Examples
    --------
    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp() + "/cell7.marks.sqlite")
    >>> mark = store.add("abc", author="ada", frames=(3, 5), axis_range=("q", 1.2, 1.3), category="mechanical",
    ...                  mechanism="cracking", confidence=0.4)
    >>> store.edit(mark.id, author="ada", confidence=0.9).version
    2
    >>> [version.confidence for version in store.history(mark.id)]
    [0.4, 0.9]

    Nobody changes another's mark; what another thinks is linked to it:

    >>> store.edit(mark.id, author="bob", confidence=0.1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    batlab.failure._open.StoreError: mark ... is by ada, and bob cannot change it; say what you think with comment, ...
    >>> store.comment(mark, "the counter electrode has this line too", author="bob").relation
    'comments'
    >>> store.answer(mark.id, author="bob", confidence=0.1).confidence, len(store.links(mark))
    (0.1, 2)
    """

    @classmethod
    def beside(cls, data: str | os.PathLike) -> Store:
        """Return the store that lies beside a file or folder of data: ``cell7.nc`` has ``cell7.marks.sqlite``."""
        path = Path(data).expanduser()
        return cls(path.with_name((path.name if path.is_dir() else path.stem) + ".marks.sqlite"))

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
            First and last frame, both included; of a cycler's record its first and last record.
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
        mark = self._signed_mark(author, mark_id, {**place(series, frames, axis_range), **meaning(told)})
        return self._write("the mark was not kept", lambda connection: _rows().insert(connection, mark, hub_user()))

    def accept(
        self,
        evidence: Evidence,
        series: xr.Dataset | xr.DataArray | str,
        *,
        frames: tuple[int, int],
        category: str,
        mechanism: str,
        confidence: float,
        **more: Any,
    ) -> Mark:
        """Keep a mark that evidence supports: evidence, mark and link together, or nothing.

        Parameters
        ----------
        evidence
            What `failure.find` has suggested.
        series, frames, category, mechanism, confidence
            As for `add`: what the evidence is taken to mean, and where.
        more
            ``axis_range``, ``text``, ``author``, ``mark_id`` of `add`.

        Raises
        ------
        TypeError, ValueError
            No evidence, or a field is not what it should be.
        StoreError
            Nothing was kept.

        Examples
        --------
        >>> import tempfile
        >>> from batlab.failure import Evidence
        >>> store = Store(tempfile.mkdtemp() + "/cell7.marks.sqlite")
        >>> look = Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=0.99)
        >>> mark = store.accept(look, "abc", frames=(3, 5), category="chemical", mechanism="fatigued phase",
        ...                     confidence=0.7, author="ada")
        >>> store.links(mark)[0].relation
        'supports'
        """
        from batlab.failure.evidence import Evidence as Known

        if not isinstance(evidence, Known):
            raise TypeError(f"failure.Store.accept needs failure.Evidence, got {type(evidence).__name__}")
        refuse_unknown("failure.Store.accept", more, ("axis_range", "text", "author", "mark_id"))
        told = {"category": category, "mechanism": mechanism, "confidence": confidence, "text": more.get("text", "")}
        where = place(series, frames, more.get("axis_range"))
        mark = self._signed_mark(more.get("author"), more.get("mark_id"), {**where, **meaning(told)})
        known = str(uuid.uuid5(uuid.UUID(mark.id), evidence.id))  # the same when the caller tries again
        link = Link(known, 1, mark.author, mark.created, f"evidence:{evidence.id}", "supports", f"mark:{mark.id}")

        def work(connection: Any) -> Mark:
            _keep_evidence(connection, evidence, mark)
            kept = _rows().insert(connection, mark, hub_user())
            _rows().insert(connection, link, hub_user())
            return kept

        return self._write("the mark was not kept", work)

    def _signed_mark(self, author: str | None, mark_id: str | None, fields: dict[str, Any]) -> Mark:
        known = str(uuid.UUID(mark_id)) if mark_id else str(uuid.uuid4())
        return Mark(id=known, version=1, author=self._signed(author), created=now(), **fields)

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

    def answer(self, mark_id: str, *, author: str | None = None, text: str = "", **changes: Any) -> Mark:
        """Keep a version of one's own of another's mark: a new mark with `changes`, linked to it by ``"answers"``.

        Raises
        ------
        TypeError, ValueError
            A field cannot be changed or is not what it should be; no mark has this id.
        StoreError
            Nothing was kept.
        """
        refuse_unknown("failure.Store.answer", changes, EDITABLE)
        signed, moment, known = self._signed(author), now(), (str(uuid.uuid4()), str(uuid.uuid4()))

        def work(connection: Any) -> Mark:
            versions = _rows().select(connection, Mark, id=mark_id)
            if not versions:
                raise ValueError(f"{self!r} has no mark {mark_id!r}")
            told = changed(versions[-1], {**changes, "text": text, "is_retired": False})
            mine = replace(told, id=known[0], version=1, author=signed, created=moment)
            _rows().insert(connection, mine, hub_user())
            link = Link(known[1], 1, signed, moment, f"mark:{mine.id}", "answers", f"mark:{mark_id}")
            _rows().insert(connection, link, hub_user())
            return mine

        return self._write("the answer was not kept", work)

    def marks(
        self,
        series: xr.Dataset | xr.DataArray | str | None = None,
        *,
        include_retired: bool = False,
        experiment: str | None = None,
    ) -> list[Mark]:
        """Return the latest version of every mark (of `series` or of an `experiment`, if given), oldest mark first."""
        wanted: dict[str, Any] = {}
        if series is not None:
            wanted["dataset"] = series if isinstance(series, str) else identity(series)
        if experiment is not None:
            known = self.experiments()
            if experiment not in known:
                raise ValueError(f"{self!r} has no experiment {experiment!r}{did_you_mean(experiment, known)}")
            held = known[experiment]
            wanted["dataset"] = [one for one in held if wanted.get("dataset", one) == one]
        versions = self._read(lambda connection: _rows().select(connection, Mark, **wanted))
        latest = {mark.id: mark for mark in versions}
        return [mark for mark in latest.values() if include_retired or not mark.is_retired]

    def history(self, mark_id: str) -> list[Mark]:
        """Return every version of one mark, the first one first."""
        versions = self._read(lambda connection: _rows().select(connection, Mark, id=mark_id))
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

    def export(self, path: str | os.PathLike) -> int:
        """Write everything, all versions, as lines of JSON, and return how many rows there are."""
        target = Path(path).expanduser().absolute()
        if not target.parent.is_dir():
            raise StoreError(f"the folder {target.parent} is not there; make it first")
        return _lines().write(target, self._read(lambda connection: list(_lines().lines(connection))))

    def merge(self, other: str | os.PathLike | Store, *, author: str | None = None) -> Merged:
        """Take what another store or a file of `export` holds and this one does not: all of it or, on an error, none.

        Authors, times and versions stay as they were; that you brought in what others have signed, and where from, is
        kept beside it (``imports``). What both sides changed is kept from both, with a warning; but a version of a
        worksheet that does not follow the one that is here is refused, with a warning. On a hub a later version of a
        mark that is here already is taken from its author only.

        Raises
        ------
        ReadError
            The file is none of `export`, or holds what could not be read again; the message names the line.
        """
        merger, source = self._signed(author), repr(other) if isinstance(other, Store) else os.fspath(other)
        if isinstance(other, Store):
            rows = _lines().rows_of(repr(other), other._read(lambda connection: list(_lines().lines(connection))))
        else:
            rows = _lines().read(Path(other).expanduser())
        done: Merged = self._write(
            "nothing was merged", lambda connection: _lines().merge(connection, rows, source, merger)
        )
        if done.diverged:
            warnings.warn(
                f"{len(done.diverged)} were changed on both sides ({', '.join(done.diverged)[:200]}): the versions "
                "that came in follow those that were here; look which holds",
                stacklevel=2,
            )
        if done.left:
            warnings.warn(
                f"later versions of {len(done.left)} marks or links of other people ({', '.join(done.left)[:200]}) "
                "were not taken; their authors must merge them",
                stacklevel=2,
            )
        if done.refused:
            warnings.warn(
                f"versions of {len(done.refused)} worksheets ({', '.join(done.refused)[:200]}) were not taken: they do "
                "not follow the versions that are here; read those with worksheet(…) and repeat the changes",
                stacklevel=2,
            )
        return done

    def _add_version(self, mark_id: str, author: str | None, changes: dict[str, Any]) -> Mark:
        from batlab.failure import _tables

        signed, moment = self._signed(author), now()

        def work(connection: Any) -> Mark:
            self._hold(connection, mark_id)
            versions = _rows().select(connection, Mark, id=mark_id)
            if not versions:
                raise ValueError(f"{self!r} has no mark {mark_id!r}")
            if versions[-1].created == moment and versions[-1].author == signed:
                return versions[-1]  # kept, though the first try could not say so
            self._own(connection, _tables.marks, mark_id, signed)
            mark = changed(versions[-1], changes)
            told = {name: getattr(mark, name) for name in (*EDITABLE, "is_retired", "axis", "axis_units")}
            return self._next(connection, versions[-1], signed, moment, told)

        return self._write("the new version was not kept", work)


def _rows() -> Any:
    """Return what turns marks into rows; SQLAlchemy is loaded with it."""
    from batlab.failure import _rows as module

    return module


def _lines() -> Any:
    """Return what writes and reads lines; SQLAlchemy is loaded with it."""
    from batlab.failure import _lines as module

    return module
