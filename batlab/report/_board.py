"""The worksheet as a board: how it fails, by what, why, how bad, and on what grounds."""

from __future__ import annotations

from collections.abc import Sequence

from batlab.failure import Store, Worksheet
from batlab.failure.worksheets import Rating
from batlab.figures.worksheet_board import without_evidence
from batlab.report._numbers import NOTHING
from batlab.report._sections import Section, Table

RATINGS = ("severity", "occurrence", "detection")
MOST = 4  # pieces of evidence named in a row; all of them stand below


def wanted_sheets(
    store: Store | None, worksheet: Worksheet | Sequence[Worksheet] | None, function: str
) -> list[Worksheet]:
    """Return the worksheets to show: the given ones, else those of the store."""
    if worksheet is None:
        return store.worksheets() if store is not None else []
    found = list(worksheet) if isinstance(worksheet, list | tuple) else [worksheet]
    for one in found:
        if not isinstance(one, Worksheet):
            raise TypeError(f"{function} needs a failure.Worksheet (or a list of them), got {type(one).__name__}")
    return found  # type: ignore[return-value]


def board(sheet: Worksheet) -> Section:
    """Return the rows, the worst first, then the grounds, the signatures and the history."""
    names = ", ".join(one.author for one in sheet.signatures)
    state = f"signed by {names}" if sheet.is_signed else "not signed"
    lead = (
        f"Failure modes, mechanisms and effects analysis (FMMEA), version {sheet.version}, {state}. Severity S, "
        "occurrence O and detection D run from 1 to 10; RPN = S·O·D. A rating without evidence is a judgement, or "
        "comes from the tables of knowledge and scales alone."
    )
    section = Section(f"Board: {sheet.title}", lead, is_wide=True)
    rows = sheet.ranked()
    has_priority = sheet.priorities is not None
    columns = ["component", "mode → mechanism → cause", "effect", "S", "O", "D", "RPN"]
    columns += ["priority"] * has_priority + ["grounds", "action"]
    body = []
    for row in rows:
        chain = "\n→ ".join([row.mode or "?", row.mechanism, row.cause or "cause not known"])
        effect = " → ".join(filter(None, [row.local_effect, row.system_effect])) or NOTHING
        rated = [_rating(getattr(row, name)) for name in RATINGS]
        total = "not rated" if row.rpn is None else str(row.rpn)
        action = ", ".join(filter(None, [row.action, row.responsible])) or NOTHING
        word = [sheet.priority(row) or NOTHING] * has_priority
        body.append([row.component, chain, effect, *rated, total, *word, _grounds(sheet, row.id), action])
    section.tables.append(Table("The worst first; ties by severity", columns, body))
    section.tables += _details(sheet)
    rated_rows = [row for row in rows if row.rpn is not None]
    worst = f", the worst {rated_rows[0].mechanism} with RPN {rated_rows[0].rpn}" if rated_rows else ""
    section.summary = f"Worksheet {sheet.title}: {len(rows)} row{'s' * (len(rows) != 1)}{worst}; {state}"
    return section


def _rating(rating: Rating) -> str:
    if rating.value is None:
        return "not rated"
    was = f"\ncomputed {rating.computed}" if rating.is_changed else ""
    return f"{rating.value}\n{rating.basis}{was}"


def _grounds(sheet: Worksheet, row: str) -> str:
    items = sheet.evidence_of(row)
    if not items:
        return without_evidence(sheet[row])
    more = f"\nand {len(items) - MOST} more" if len(items) > MOST else ""
    return "\n".join(f"[{item.id[:8]}] {item}" for item in items[:MOST]) + more


def _details(sheet: Worksheet) -> list[Table]:
    found = []
    used = {known for row in sheet.rows for known in row.all_evidence}
    rows = [
        [item.id[:8], str(item), item.test, item.source or NOTHING, item.dose or NOTHING]
        for item in sheet.evidence
        if item.id in used
    ]
    if rows:
        columns = ["id", "evidence", "how it was judged", "source", "X-ray dose"]
        found.append(Table("Evidence that the board points at", columns, rows, is_folded=True))
    signed = [
        [str(one.version), who.author, f"{who.created[:19]} UTC", who.statement or NOTHING, who.sha256]
        for one in sheet.signed
        for who in one.signatures
    ]
    if signed:
        columns = ["version", "signed by", "time", "statement", "SHA-256 of what was signed"]
        found.append(Table("Signatures", columns, signed))
    changes = [[str(number), str(change)] for number, change in enumerate(sheet.changes, 1)]
    if changes:
        found.append(Table("History of the board", ["", "change"], changes, is_folded=True))
    return found
