"""Links: what somebody says of a mark, a piece of evidence or a row of a worksheet, alone or with another of them."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batlab.errors import choose

KINDS = ("mark", "evidence", "worksheet", "row", "experiment", "link")
# From one thing to another; the last three are a person's word about one thing.
RELATIONS = ("supports", "contradicts", "answers", "explains", "belongs to", "comments", "accepts", "refuses")
ALONE = ("comments", "accepts", "refuses")
LONGEST_NAME = 128  # characters of an id


@dataclass(frozen=True, repr=False)
class Link:
    """One version of a link.

    Attributes
    ----------
    id, version, author, created
        UUID, number of the version, who made it and when (UTC).
    source, relation, target
        ``"evidence:3f…"`` ``"supports"`` ``"row:9b…"``; `source` is empty where a person speaks of `target`.
    text
        Why.
    is_retired
        Whether the link has been withdrawn.
    """

    id: str
    version: int
    author: str
    created: datetime
    source: str
    relation: str
    target: str
    text: str = ""
    is_retired: bool = False

    def __repr__(self) -> str:
        said = f": {self.text[:60]!r}" if self.text else ""
        who = self.source or self.author
        return f"Link({who} {self.relation} {self.target}{said}, by {self.author}, {self.when})"

    def _repr_html_(self) -> str:
        """Return the link as a line for notebooks; whatever a person wrote is escaped."""
        words = (self.source or self.author, self.relation, self.target, self.text, f"({self.author}, {self.when})")
        return f'<p style="white-space:pre-wrap">{html.escape(" ".join(word for word in words if word))}</p>'

    @property
    def when(self) -> str:
        """The time of this version to the second, UTC."""
        return f"{self.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def reference(name: str, thing: Any) -> str:
    """Return ``"kind:id"`` of a mark, a piece of evidence, a worksheet, a row, an experiment or a link.

    >>> reference("about", "mark:1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    'mark:1b4e28ba-2fa1-11d2-883f-0016d3cca427'
    """
    if not isinstance(thing, str):
        kind, known = type(thing).__name__.lower(), getattr(thing, "id", None)
        if kind not in KINDS or not isinstance(known, str):
            raise TypeError(
                f"{name} must be a mark, evidence, a worksheet, a row of one or 'kind:id', got {thing!r:.80}"
            )
        thing = f"{kind}:{known}"
    kind, colon, known = thing.partition(":")
    if not colon or not known or len(known) > LONGEST_NAME:
        raise ValueError(f"{name} must be 'kind:id', e.g. 'mark:1b4e28ba-…', got {thing[:80]!r}")
    choose(f"the kind of {name}", kind, KINDS)
    return thing


def joined(source: Any, relation: str, target: Any) -> tuple[str, str, str]:
    """Return the ends and the relation of a link, checked."""
    choose("relation", relation, RELATIONS)
    if source is None and relation not in ALONE:
        raise ValueError(f"a link that {relation!r} needs a source; alone a person {', '.join(ALONE)}")
    start = "" if source is None else reference("source", source)
    end = reference("target", target)
    if start == end:
        raise ValueError(f"a link must join two things, got {end} twice")
    return start, relation, end
