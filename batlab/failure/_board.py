"""What hangs together in a store: evidence, worksheets, experiments, and the links between them and the marks."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import xarray as xr

from batlab.errors import did_you_mean
from batlab.failure._database import Database, now
from batlab.failure._link import Link, joined, reference
from batlab.failure._mark import LONGEST_TEXT, hub_user, plain_text
from batlab.failure._open import StoreError
from batlab.schema import identity

if TYPE_CHECKING:
    from batlab.failure.evidence import Evidence
    from batlab.failure.worksheets import Worksheet


class Board(Database):
    """Evidence, worksheets, experiments, links; all versioned, none overwritten."""

    def add_evidence(self, *evidence: Evidence, author: str | None = None) -> list[str]:
        """Keep pieces of evidence, each once, and return their ids."""
        from batlab.failure.evidence import Evidence as Known

        for piece in evidence:
            if not isinstance(piece, Known):
                raise TypeError(
                    f"evidence must be failure.Evidence, as failure.find returns, got {type(piece).__name__}"
                )
        signed = {"author": self._signed(author), "created": now().isoformat(), "person": hub_user()}

        def work(connection: Any) -> list[str]:
            from batlab.failure import _rows

            for piece in dict.fromkeys(evidence):
                if not _rows.exists(connection, f"evidence:{piece.id}"):
                    _rows.add_document(connection, "evidence", piece.id, 1, piece.as_dict(), **signed)
            return [piece.id for piece in evidence]

        return self._write("the evidence was not kept", work)

    def evidence(self, *ids: str) -> list[Evidence]:
        """Return the evidence with these ids, or all of it, in the order in which it was kept."""
        from batlab.failure import _rows
        from batlab.failure.evidence import Evidence as Known

        kept = self._read(lambda connection: _rows.versions(connection, "evidence"))
        found = {row["id"]: row["body"] for row in kept}
        for known in ids:
            if known not in found:
                raise ValueError(f"{self!r} has no evidence {known!r}{did_you_mean(known, found)}")
        return [Known.from_dict(found[known]) for known in ids or found]

    def link(
        self,
        source: Any,
        relation: str,
        target: Any,
        *,
        text: str = "",
        author: str | None = None,
        link_id: str | None = None,
    ) -> Link:
        """Keep that `source` supports, contradicts, explains, answers or belongs to `target`, and return the link.

        Parameters
        ----------
        source, target
            A mark, evidence, a worksheet, a row of one, another link, or ``"kind:id"``. `source` may be None where a
            person ``"comments"``, ``"accepts"`` or ``"refuses"`` something. `Evidence` that is not in the store yet is
            kept together with the link.
        relation
            One of ``failure.RELATIONS``.
        text, author
            Why, and who says so (without it the name under which you are logged in).
        link_id
            A UUID made by the caller. Adding the same link again with it keeps one link only.

        Raises
        ------
        TypeError, ValueError
            An end or the relation is not what it should be, or an end is not in this store.
        StoreError
            The link was not kept.
        """
        start, relation, end = joined(source, relation, target)
        known = str(uuid.UUID(link_id)) if link_id else str(uuid.uuid4())
        made = Link(known, 1, self._signed(author), now(), start, relation, end, plain_text("text", text))

        def work(connection: Any) -> Link:
            from batlab.failure import _rows

            for given in (source, target):
                _keep_evidence(connection, given, made)
            for thing in filter(None, (start, end)):
                if not _rows.exists(connection, thing):
                    raise ValueError(f"{self!r} has no {thing}; keep it first")
            return _rows.insert(connection, made, hub_user())

        return self._write("the link was not kept", work)

    def comment(self, target: Any, text: str, *, author: str | None = None) -> Link:
        """Keep what somebody says of a mark, evidence, a row or a link; it may be another's."""
        return self.link(
            None, "comments", target, text=plain_text("text", text, required=True, longest=LONGEST_TEXT), author=author
        )

    def refuse(self, target: Any, reason: str, *, author: str | None = None) -> Link:
        """Keep that somebody does not believe a piece of evidence or a suggestion, why, and the evidence itself."""
        return self.link(
            None,
            "refuses",
            target,
            text=plain_text("reason", reason, required=True, longest=LONGEST_TEXT),
            author=author,
        )

    def retire_link(self, link_id: str, *, author: str | None = None) -> Link:
        """Withdraw a link of one's own: add a version that says so. The earlier version stays."""
        from batlab.failure import _rows, _tables

        signed, moment = self._signed(author), now()

        def work(connection: Any) -> Link:
            self._hold(connection, link_id)
            versions = _rows.select(connection, Link, id=link_id)
            if not versions:
                raise ValueError(f"{self!r} has no link {link_id!r}")
            if versions[-1].is_retired:
                return versions[-1]
            self._own(connection, _tables.links, link_id, signed)
            return self._next(connection, versions[-1], signed, moment, {"is_retired": True})

        return self._write("the link was not withdrawn", work)

    def links(self, about: Any = None, *, relation: str | None = None, include_retired: bool = False) -> list[Link]:
        """Return the latest version of every link (that starts or ends at `about`, if given), oldest first."""
        from batlab.failure import _rows

        if about is None:
            versions = self._read(lambda connection: _rows.select(connection, Link))
        else:
            thing = reference("about", about)
            versions = self._read(lambda connection: _rows.about(connection, thing))
        latest = {link.id: link for link in versions}
        wanted = [link for link in latest.values() if include_retired or not link.is_retired]
        return [link for link in wanted if relation in (None, link.relation)]

    def experiment(
        self, name: str, *series: xr.Dataset | xr.DataArray | str, author: str | None = None
    ) -> dict[str, list[str]]:
        """Say that data belong to the experiment `name`, beside what belongs to it already; return its `datasets`.

        `series` are datasets or their identities (``schema.identity``).
        """
        given = [one if isinstance(one, str) else identity(one) for one in series]
        known = plain_text("name", name, required=True, longest=128)
        signed = {"author": self._signed(author), "created": now().isoformat(), "person": hub_user()}

        def work(connection: Any) -> dict[str, list[str]]:
            from batlab.failure import _rows

            self._hold(connection, known)
            kept = _rows.versions(connection, "experiment", known)
            before = [one for version in kept for one in version["body"]["datasets"]]
            body = {"datasets": list(dict.fromkeys([*before, *given]))}
            if not kept or body["datasets"] != kept[-1]["body"]["datasets"]:
                version = 1 + max((row["version"] for row in kept), default=0)
                _rows.add_document(connection, "experiment", known, version, body, **signed)
            return body

        return self._write("the experiment was not kept", work)

    def experiments(self) -> dict[str, list[str]]:
        """Return the identities of the data of each experiment, by its name."""
        from batlab.failure import _rows

        found: dict[str, list[str]] = {}
        for row in self._read(lambda connection: _rows.versions(connection, "experiment")):
            found[row["id"]] = list(dict.fromkeys([*found.get(row["id"], ()), *row["body"]["datasets"]]))
        return found

    def keep_worksheet(self, sheet: Worksheet, *, author: str | None = None, source: str = "") -> Worksheet:
        """Keep a worksheet as it is now, and return it.

        Parameters
        ----------
        sheet
            A new worksheet, or one that follows what the store has of it.
        author
            Who keeps it (without it the name under which you are logged in).
        source
            Where a worksheet comes from that others have worked on elsewhere, such as the file it was read from; that
            you brought it in is then kept beside it (``imports``).

        Raises
        ------
        ValueError
            Without a `source`, on a hub's shared server: somebody else has made some of the changes or signatures.
        StoreError
            Somebody else has kept another state of it meanwhile; yours was not kept. Read it again with ``worksheet``
            and repeat what you changed.
        """
        from batlab.failure import _lines, _rows

        who = self._signed(author)
        signed = {"author": who, "created": now().isoformat(), "person": hub_user()}

        def work(connection: Any) -> Worksheet:
            self._hold(connection, sheet.id)
            last = _rows.newest(connection, "worksheet", sheet.id)
            if last and sheet.as_dict() == last["body"]:
                return sheet
            before = type(sheet).from_dict(last["body"]) if last else None
            if last and before and not sheet.follows(before):
                raise StoreError(
                    f"worksheet {sheet.title!r} was not kept: {last['author']} has kept another state of it at "
                    f"{last['created'][:19]} UTC; read it with worksheet({sheet.id!r}) and repeat your changes"
                )
            others = [name for name in sheet.authors_since(before) if name != who]
            if others and hub_user() and self._path is None and not source:
                raise ValueError(
                    f"worksheet {sheet.title!r} was not kept: it has changes or signatures by {', '.join(others)}, and "
                    f"you work here as {who!r}; if they were made elsewhere, say where with source=…"
                )
            version = 1 + (last["version"] if last else 0)
            _rows.add_document(connection, "worksheet", sheet.id, version, sheet.as_dict(), **signed)
            if others and source:
                told = [f"worksheet:{sheet.id} version {version} by {', '.join(others)}"]
                _lines.note_import(connection, source, who, told)
            return sheet

        return self._write("the worksheet was not kept", work)

    def imports(self) -> list[dict[str, Any]]:
        """Return what was brought in that others have signed: each with ``author, created, source`` and ``what``."""
        from batlab.failure import _lines, _rows

        found = self._read(lambda connection: _rows.versions(connection, _lines.IMPORT))
        return [{"author": row["author"], "created": row["created"], **row["body"]} for row in found]

    def worksheet(self, sheet_id: str) -> Worksheet:
        """Return a worksheet as it was kept last."""
        from batlab.failure import _rows
        from batlab.failure.worksheets import Worksheet as Known

        found = self._read(lambda connection: _rows.newest(connection, "worksheet", sheet_id))
        if found is None:
            known = [sheet.id for sheet in self.worksheets()]
            raise ValueError(f"{self!r} has no worksheet {sheet_id!r}{did_you_mean(sheet_id, known)}")
        return Known.from_dict(found["body"])

    def worksheets(self) -> list[Worksheet]:
        """Return every worksheet as it was kept last, the oldest first."""
        from batlab.failure import _rows
        from batlab.failure.worksheets import Worksheet as Known

        bodies = self._read(lambda connection: _rows.bodies(connection, "worksheet"))
        return [Known.from_dict(body) for body in bodies]


def _keep_evidence(connection: Any, thing: Any, signed: Any) -> None:
    """Add `thing` with the signature of the link or mark that refers to it, if it is evidence and not there yet."""
    from batlab.failure import _rows
    from batlab.failure.evidence import Evidence

    if isinstance(thing, Evidence) and not _rows.exists(connection, f"evidence:{thing.id}"):
        words = {"author": signed.author, "created": signed.created.isoformat(), "person": hub_user()}
        _rows.add_document(connection, "evidence", thing.id, 1, thing.as_dict(), **words)
