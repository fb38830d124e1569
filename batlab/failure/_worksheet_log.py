"""What a worksheet remembers: changes, signatures, and the versions that were signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batlab.errors import refuse_unknown
from batlab.failure._mark import LONGEST_TEXT, plain_text


@dataclass(frozen=True)
class Change:
    """One change: `field` of `row` went from `before` to `after`; field ``"row"`` is the row as a whole.

    `created` is ISO 8601, UTC; `row` is empty where the worksheet as a whole was changed.
    """

    version: int
    created: str
    author: str
    row: str
    field: str
    before: Any
    after: Any
    reason: str = ""

    def __str__(self) -> str:
        who = f"{self.created[:19]} {self.author}, version {self.version}"
        if self.field == "row":
            what = "added the row" if self.before is None else "removed the row"
        else:
            what = f"{self.field}: {_short(self.before)} -> {_short(self.after)}"
        return f"{who}: {what}{f' ({self.reason})' if self.reason else ''}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Change:
        """Return the change that `as_dict` wrote."""
        refuse_unknown("a change", values, cls.__dataclass_fields__)
        for name in ("created", "author", "row", "field", "reason"):
            plain_text(f"{name} of a change", values.get(name, ""), longest=LONGEST_TEXT)
        return cls(**values)


@dataclass(frozen=True)
class Signature:
    """Who signed, when (ISO 8601, UTC), with what words; `sha256` is the `digest` of what was signed."""

    author: str
    created: str
    statement: str
    sha256: str


@dataclass(frozen=True)
class Version:
    """A version as it was signed: all its content as plain values, and the signatures.

    `n_changes` says how many of the worksheet's changes it has seen; None in worksheets of format 1, whose signatures
    covered the content alone.
    """

    version: int
    content: dict[str, Any]
    signatures: tuple[Signature, ...]
    n_changes: int | None = None

    def digest(self, changes: Sequence[Change], earlier: Sequence[Version]) -> str:
        """Return the SHA-256 of all that a signature covers: content, history until then, signatures before it."""
        if self.n_changes is None:
            return digest(self.content)
        told = {
            "content": self.content,
            "changes": [change.as_dict() for change in changes[: self.n_changes]],
            "earlier": [[asdict(one) for one in version.signatures] for version in earlier],
        }
        return digest(told)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {
            "version": self.version,
            "content": self.content,
            "signatures": [asdict(one) for one in self.signatures],
            "n_changes": self.n_changes,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Version:
        """Return the version that `as_dict` wrote."""
        refuse_unknown("a version", values, cls.__dataclass_fields__)
        signatures = tuple(Signature(**one) for one in values["signatures"])
        if not signatures or not isinstance(values["content"], Mapping):
            raise ValueError(f"version {values['version']!r} must have content and at least one signature")
        n_changes = values.get("n_changes")
        if n_changes is not None and (isinstance(n_changes, bool) or not isinstance(n_changes, int) or n_changes < 0):
            raise ValueError(f"n_changes of version {values['version']!r} must be a whole number, got {n_changes!r}")
        return cls(values["version"], dict(values["content"]), signatures, n_changes)


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, written as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _short(value: Any) -> str:
    value = value.get("value") if isinstance(value, dict) else value
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
