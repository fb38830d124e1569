"""The worksheet for the safety board: failure modes, mechanisms and effects, rated, signed, with their evidence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from batlab.errors import ReadError, choose, did_you_mean, refuse_unknown
from batlab.failure._mark import LONGEST_TEXT, author_name, plain_text
from batlab.failure._worksheet_log import Change, Signature, Version
from batlab.failure._worksheet_pick import pick, retired, states
from batlab.failure._worksheet_priority import ActionPriority
from batlab.failure._worksheet_row import RATINGS, WORDS, Rating, Row, checked, level, new_row
from batlab.failure.evidence import Evidence
from batlab.failure.evidence import checked as checked_evidence

Named = Row | str
FORMAT = 2  # 1: signatures covered no history


@dataclass(frozen=True, repr=False, eq=False)
class Worksheet:
    """A failure modes, mechanisms and effects analysis (FMMEA). Nothing changes it: every method returns another one.

    Attributes
    ----------
    id, title, version
        UUID; what it is about; number of the version, which `sign` freezes.
    rows
        `Row`, in the order in which they were made; ``ranked()`` has the worst first.
    evidence
        All `Evidence` that the rows point at.
    changes
        Everything that was ever changed: who, when, what, why. It only grows.
    signed
        The versions that were signed, as they were then.
    priorities
        Table of action priorities, if one was given.
    """

    id: str
    title: str
    version: int = 1
    rows: tuple[Row, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    changes: tuple[Change, ...] = ()
    signed: tuple[Version, ...] = ()
    priorities: ActionPriority | None = None

    def __repr__(self) -> str:
        state = f"signed by {', '.join(one.author for one in self.signatures)}" if self.is_signed else "not signed"
        return f"Worksheet({self.title!r}, {len(self.rows)} rows, version {self.version}, {state})"

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == other.as_dict() if isinstance(other, Worksheet) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.id, self.version, len(self.changes)))

    def __getitem__(self, row: Named) -> Row:
        """Return the row with an id (or the row of that id as it is here)."""
        known = row if isinstance(row, str) else row.id
        for one in self.rows:
            if one.id == known:
                return one
        ids = [one.id for one in self.rows]
        raise KeyError(f"worksheet {self.title!r} has no row {known!r}{did_you_mean(known, ids)}")

    def _repr_html_(self) -> str:
        from batlab.failure._worksheet_html import table

        return table(self)

    @property
    def is_signed(self) -> bool:
        """Whether this version is signed, so that the next change makes another one."""
        return bool(self.signed) and self.signed[-1].version == self.version

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Signatures under this version."""
        return self.signed[-1].signatures if self.is_signed else ()

    def ranked(self, by: str = "rpn", **wanted: Any) -> list[Row]:
        """Return the rows, the worst first: by RPN, or by action ``"priority"`` and then RPN.

        Among equals the higher severity comes first, then the higher occurrence; what is not rated yet comes last.
        `wanted` leaves what fits: ``mechanism`` (a part of it), ``author`` of any change, ``technique`` of its
        evidence, ``status`` (see `states`), ``is_judgement=True`` (no evidence), ``least_rpn``.
        """
        choose("by", by, ("rpn", "priority"))
        words = self.priorities.words if self.priorities else ()
        if by == "priority" and not words:
            raise ValueError("the worksheet has no action priorities; give it some with prioritize")

        def key(row: Row) -> tuple[int, ...]:
            word = self._word(row)
            urgency = (words.index(word) if word in words else len(words)) if by == "priority" else 0
            return (urgency, -(row.rpn or 0), -(row.severity.value or 0), -(row.occurrence.value or 0))

        return sorted(pick(self, wanted), key=key)

    def states(self) -> dict[str, str]:
        """Return what has become of each row, by id: ``"open"`` (not rated in full), ``"rated"``, ``"signed"`` as it
        is now, or ``"retired"`` (removed)."""
        return states(self)

    def retired(self) -> list[Row]:
        """Return the rows that were removed, as they were then."""
        return retired(self)

    def priority(self, row: Named) -> str | None:
        """Return the action priority of a row; None without a table, or where it is silent."""
        return self._word(self[row])

    def _word(self, row: Row) -> str | None:
        values = row.severity.value, row.occurrence.value, row.detection.value
        return None if self.priorities is None else self.priorities.of(*values)

    def matrix(self) -> dict[tuple[int, int], list[Row]]:
        """Return the rows of each ``(severity, occurrence)``: the criticality matrix of IEC 60812."""
        cells: dict[tuple[int, int], list[Row]] = {}
        for row in self.rows:
            if row.severity.value is not None and row.occurrence.value is not None:
                cells.setdefault((row.severity.value, row.occurrence.value), []).append(row)
        return cells

    def evidence_of(self, row: Named) -> list[Evidence]:
        """Return the evidence that a row and its ratings point at."""
        wanted = self[row].all_evidence
        return [item for item in self.evidence if item.id in wanted]

    def history(self, row: Named) -> list[Change]:
        """Return what was changed in a row, also in one that was removed, the first change first."""
        known = row if isinstance(row, str) else row.id
        found = [change for change in self.changes if change.row == known]
        if not found:
            raise KeyError(f"worksheet {self.title!r} never had a row {known!r}")
        return found

    def rate(
        self,
        row: Named,
        *,
        reason: str,
        author: str | None = None,
        severity: int | None = None,
        occurrence: int | None = None,
        detection: int | None = None,
        evidence: Iterable[Evidence | str] = (),
    ) -> Worksheet:
        """Set ratings of a row by hand, and say why. What was computed stays beside them.

        Parameters
        ----------
        row
            A row or its id.
        reason, author
            Why, and who says so (without it the name under which you are logged in).
        severity, occurrence, detection
            Whole numbers from 1 to 10; those left out stay as they are.
        evidence
            What the new numbers rest on, as `Evidence` or ids of what the worksheet has; without any they are
            judgements.
        """
        values = {"severity": severity, "occurrence": occurrence, "detection": detection}
        values = {name: level(name, value) for name, value in values.items() if value is not None}
        if not values:
            raise ValueError(f"failure.Worksheet.rate needs a rating to set: {', '.join(RATINGS)}")
        why = plain_text("reason", reason, required=True, longest=LONGEST_TEXT)
        here, who, when = self[row], author_name(author), now()
        known, more = self._evidence(evidence)
        set_by_hand = {
            name: replace(getattr(here, name), value=value, evidence=known, author=who, created=when, reason=why)
            for name, value in values.items()
        }
        return self._changed(replace(here, **set_by_hand), who, when, why, more)

    def edit(self, row: Named, *, author: str | None = None, reason: str = "", **texts: Any) -> Worksheet:
        """Change texts of a row (``cause``, ``action`` …) or its list of ``evidence``."""
        refuse_unknown("failure.Worksheet.edit", texts, [*WORDS, "evidence"])
        if not texts:
            raise ValueError(f"failure.Worksheet.edit needs something to change: {', '.join(WORDS)} or evidence")
        known, more = self._evidence(texts.pop("evidence", self[row].evidence))
        changed = checked(replace(self[row], **texts, evidence=known))
        return self._changed(changed, author_name(author), now(), plain_text("reason", reason), more)

    def add(self, *, author: str | None = None, reason: str = "", **fields: Any) -> Worksheet:
        """Add a row: texts by name (``component`` and ``mechanism`` at least), ratings as numbers, ``evidence``."""
        known, more = self._evidence(fields.get("evidence", ()))
        who, when = author_name(author), now()
        made = new_row({**fields, "evidence": known})
        by_hand = {
            name: replace(getattr(made, name), author=who, created=when, reason=reason)
            for name in RATINGS
            if getattr(made, name).value is not None
        }
        return self._with(replace(made, **by_hand), who, when, plain_text("reason", reason), more)

    def remove(self, row: Named, *, reason: str, author: str | None = None) -> Worksheet:
        """Take a row away; its history stays."""
        here, base = self[row], self._next()
        why = plain_text("reason", reason, required=True, longest=LONGEST_TEXT)
        change = Change(base.version, now(), author_name(author), here.id, "row", here.as_dict(), None, why)
        return replace(base, rows=tuple(one for one in base.rows if one.id != here.id), changes=(*base.changes, change))

    def restore(self, row: Named, *, reason: str, author: str | None = None) -> Worksheet:
        """Bring a row back that was removed, as it was then."""
        known = row if isinstance(row, str) else row.id
        gone = {one.id: one for one in self.retired()}
        if known not in gone:
            raise KeyError(f"worksheet {self.title!r} has no removed row {known!r}{did_you_mean(known, gone)}")
        why = plain_text("reason", reason, required=True, longest=LONGEST_TEXT)
        return self._with(gone[known], author_name(author), now(), why, ())

    def prioritize(self, table: ActionPriority | None, *, author: str | None = None) -> Worksheet:
        """Give the worksheet a table of action priorities (`read_action_priority`), or none."""
        if not isinstance(table, ActionPriority | None):
            raise TypeError(f"a table must come from failure.read_action_priority, got {type(table).__name__}")
        base = self._next()
        names = [one.name if one else None for one in (base.priorities, table)]
        change = Change(base.version, now(), author_name(author), "", "priorities", names[0], names[1])
        return replace(base, priorities=table, changes=(*base.changes, change))

    def sign(self, *, author: str | None = None, statement: str = "") -> Worksheet:
        """Sign this version and its history; it is frozen as it is, and the next change starts another.

        Several may sign one version. A signature covers all rows, ratings and evidence, every change until then and
        the signatures under earlier versions.

        Raises
        ------
        ValueError
            A row is not rated in full, or this person has signed already.
        """
        who = author_name(author)
        open_rows = [row for row in self.rows if row.rpn is None]
        if open_rows or not self.rows:
            what = (
                f"{len(open_rows)} rows are not rated in full, first {open_rows[0]!r}" if open_rows else "it is empty"
            )
            raise ValueError(f"worksheet {self.title!r} cannot be signed: {what}")
        if any(one.author == who for one in self.signatures):
            raise ValueError(f"{who} has signed version {self.version} already")
        last, earlier = Version(self.version, self._content(), (), len(self.changes)), self.signed
        if self.is_signed:
            last, earlier = self.signed[-1], self.signed[:-1]
        seal = last.digest(self.changes, earlier)
        signature = Signature(who, now(), plain_text("statement", statement), seal)
        return replace(self, signed=(*earlier, replace(last, signatures=(*last.signatures, signature))))

    def at(self, version: int) -> Worksheet:
        """Return the worksheet as it was when `version` was signed, with its signatures."""
        for number, kept in enumerate(self.signed):
            if kept.version == version:
                told = {"what": "batlab worksheet", "format": FORMAT, **kept.content}
                log = [change.as_dict() for change in self.changes if change.version <= version]
                return Worksheet.from_dict(
                    {**told, "changes": log, "signed": [one.as_dict() for one in self.signed[: number + 1]]}
                )
        known = ", ".join(str(kept.version) for kept in self.signed) or "none"
        raise ValueError(f"version {version!r} of worksheet {self.title!r} was never signed; signed are: {known}")

    def follows(self, earlier: Worksheet) -> bool:
        """Return whether this is `earlier` with nothing but additions to its history and signatures."""
        n, kept = len(earlier.changes), len(earlier.signed)
        same = all(
            now.version == then.version and now.signatures[: len(then.signatures)] == then.signatures
            for now, then in zip(self.signed, earlier.signed, strict=False)
        )
        return self.id == earlier.id and len(self.signed) >= kept and self.changes[:n] == earlier.changes and same

    def authors_since(self, earlier: Worksheet | None = None) -> list[str]:
        """Return who has changed or signed something after `earlier`, or ever; each name once."""
        n = 0 if earlier is None else len(earlier.changes)
        known = set() if earlier is None else {(one.version, who) for one in earlier.signed for who in one.signatures}
        names = [change.author for change in self.changes[n:]]
        names += [who.author for one in self.signed for who in one.signatures if (one.version, who) not in known]
        return list(dict.fromkeys(names))

    def save(self, path: str | os.PathLike) -> None:
        """Write the worksheet; the name's end says how: ``.xlsx``, ``.csv``, ``.json`` or ``.html``.

        Each form holds everything, history and signatures too, and `read_worksheet` brings it back as it was.
        ``.xlsx`` needs the package openpyxl (``pip install 'batlab[xlsx]'``).
        """
        from batlab.failure._worksheet_files import write

        write(self, path)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values that JSON holds."""
        told = self._content()
        return {
            "what": "batlab worksheet",
            "format": FORMAT,
            **told,
            "changes": [change.as_dict() for change in self.changes],
            "signed": [version.as_dict() for version in self.signed],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Worksheet:
        """Return the worksheet that `as_dict` wrote.

        Raises
        ------
        ReadError
            It is none, is of a newer format, or a signed version is not what was signed.
        """
        if not isinstance(values, Mapping) or values.get("what") != "batlab worksheet":
            raise ReadError("this is no worksheet of batlab")
        if not isinstance(values.get("format"), int) or values["format"] > FORMAT:
            raise ReadError(
                f"the worksheet has format {values.get('format')!r}, this batlab knows formats up to {FORMAT}"
            )
        try:
            refuse_unknown("a worksheet", values, ["what", "format", *(one.name for one in fields(cls))])
            made = cls(
                plain_text("id", values["id"], required=True), plain_text("title", values["title"], required=True),
                int(values["version"]), tuple(Row.from_dict(row) for row in values["rows"]),
                tuple(Evidence.from_dict(item) for item in values["evidence"]),
                tuple(Change.from_dict(one) for one in values["changes"]),
                tuple(Version.from_dict(one) for one in values["signed"]),
                _priorities(values["priorities"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise ReadError(f"the worksheet cannot be read: {type(error).__name__}: {error}") from error
        made._verify()
        return made

    def _verify(self) -> None:
        for number, version in enumerate(self.signed):
            if (version.n_changes or 0) > len(self.changes):
                raise ReadError(
                    f"worksheet {self.title!r} lacks changes that version {version.version} was signed with"
                )
            seal = version.digest(self.changes, self.signed[:number])
            for signature in version.signatures:
                if seal != signature.sha256:
                    raise ReadError(
                        f"version {version.version} of worksheet {self.title!r}, or its history, is not what "
                        f"{signature.author} signed"
                    )
        if self.is_signed and self.signed[-1].content != self._content():
            raise ReadError(f"worksheet {self.title!r} was changed after version {self.version} was signed")
        ids = {item.id for item in self.evidence}
        for row in self.rows:
            for known in row.all_evidence:
                if known not in ids:
                    raise ReadError(f"row {row.id} points at evidence {known!r}, which the worksheet does not have")

    def _content(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "version": self.version,
            "rows": [row.as_dict() for row in self.rows],
            "evidence": [item.as_dict() for item in self.evidence],
            "priorities": self.priorities
            and {
                "name": self.priorities.name,
                "rules": [[*map(list, rule[:3]), rule[3]] for rule in self.priorities.rules],
            },
        }

    def _next(self) -> Worksheet:
        """Return what may be changed: this version, or a new one where it is signed."""
        return replace(self, version=self.version + 1) if self.is_signed else self

    def _evidence(self, evidence: Iterable[Evidence | str]) -> tuple[tuple[str, ...], tuple[Evidence, ...]]:
        """Return the ids of `evidence`, and those of it that the worksheet does not have yet."""
        if isinstance(evidence, str | Mapping):
            raise TypeError(f"evidence must be a list of Evidence or of ids, got {evidence!r:.80}")
        given = list(evidence)
        more = checked_evidence([one for one in given if not isinstance(one, str)], "failure.Worksheet")
        here = {item.id for item in (*self.evidence, *more)}
        ids = [one if isinstance(one, str) else Evidence.from_dict(one).id if isinstance(one, Mapping) else one.id
               for one in given]  # fmt: skip
        for known in ids:
            if known not in here:
                raise ValueError(f"the worksheet has no evidence {known!r}; give the Evidence itself")
        new = {item.id: item for item in more if item.id not in {one.id for one in self.evidence}}
        return tuple(dict.fromkeys(ids)), tuple(new.values())

    def _changed(self, row: Row, who: str, when: str, why: str, more: tuple[Evidence, ...]) -> Worksheet:
        base, before, after = self._next(), self[row].as_dict(), row.as_dict()
        changes = [
            Change(base.version, when, who, row.id, name, before[name], after[name], why)
            for name in after
            if before[name] != after[name]
        ]
        rows = tuple(row if one.id == row.id else one for one in base.rows)
        if not changes:
            return self
        return replace(base, rows=rows, evidence=(*base.evidence, *more), changes=(*base.changes, *changes))

    def _with(self, row: Row, who: str, when: str, why: str, more: tuple[Evidence, ...]) -> Worksheet:
        base = self._next()
        change = Change(base.version, when, who, row.id, "row", None, row.as_dict(), why)
        return replace(base, rows=(*base.rows, row), evidence=(*base.evidence, *more), changes=(*base.changes, change))


def _priorities(told: Any) -> ActionPriority | None:
    if told is None:
        return None
    rules = [((*rule[0],), (*rule[1],), (*rule[2],), plain_text("priority", rule[3])) for rule in told["rules"]]
    for *spans, _ in rules:
        if not all(len(span) == 2 and all(isinstance(one, int) for one in span) for span in spans):
            raise ValueError(f"a rule of the action priorities must have three spans, got {spans!r}")
    return ActionPriority(tuple(rules), plain_text("name", told["name"]))  # type: ignore[arg-type]


def now() -> str:
    """Return this moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()


__all__ = ["Rating", "Row", "Worksheet"]
