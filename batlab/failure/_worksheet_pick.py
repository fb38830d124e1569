"""Which rows of a worksheet somebody wants to see: by mechanism, author, technique, status, grounds and RPN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batlab.errors import choose, refuse_unknown
from batlab.failure._worksheet_row import BASES, Row

if TYPE_CHECKING:
    from batlab.failure.worksheets import Worksheet

STATES = ("open", "rated", "signed", "retired")
WANTED = ("mechanism", "author", "technique", "status", "is_judgement", "least_rpn")


def retired(sheet: Worksheet) -> list[Row]:
    """Return the rows that were removed, as they were then, in the order in which that was done."""
    gone = {one.row: one.before for one in sheet.changes if one.field == "row" and one.after is None}
    here = {row.id for row in sheet.rows}  # what was brought back
    return [Row.from_dict(before) for known, before in gone.items() if known not in here]


def states(sheet: Worksheet) -> dict[str, str]:
    """Return what has become of each row, also of those removed, by its id.

    ``"open"``: not rated in full; ``"signed"``: as it stands in the version that was signed last; ``"rated"``: in full,
    but not signed like that; ``"retired"``: removed.
    """
    signed = {row["id"]: row for row in sheet.signed[-1].content["rows"]} if sheet.signed else {}
    told = {row.id: "retired" for row in retired(sheet)}
    for row in sheet.rows:
        if row.rpn is None:
            told[row.id] = "open"
        else:
            told[row.id] = "signed" if signed.get(row.id) == row.as_dict() else "rated"
    return told


def pick(sheet: Worksheet, wanted: dict[str, Any]) -> list[Row]:
    """Return the rows that fit all of what is wanted; those that were removed only where ``status`` asks for them."""
    refuse_unknown("failure.Worksheet.ranked", wanted, WANTED)
    told = {name: value for name, value in wanted.items() if value not in (None, "", False)}
    if not told:
        return list(sheet.rows)
    if "status" in told:
        choose("status", told["status"], STATES)
    least = told.get("least_rpn", 0)
    if isinstance(least, bool) or not isinstance(least, int | float) or not 0 <= least <= 1000:
        raise ValueError(f"least_rpn must be a number from 0 to 1000, got {least!r}")
    became = states(sheet)
    techniques = {item.id: item.technique for item in sheet.evidence}
    authors: dict[str, set[str]] = {}
    for change in sheet.changes:
        authors.setdefault(change.row, set()).add(change.author)

    def fits(row: Row) -> bool:
        return (
            str(told.get("mechanism", "")).casefold() in row.mechanism.casefold()
            and ("author" not in told or told["author"] in authors.get(row.id, ()))
            and ("technique" not in told or told["technique"] in {techniques.get(one) for one in row.all_evidence})
            and ("status" not in told or told["status"] == became[row.id])
            and (not told.get("is_judgement") or row.basis == BASES[2])
            and (row.rpn or 0) >= least
        )

    return [row for row in (retired(sheet) if told.get("status") == "retired" else sheet.rows) if fits(row)]
