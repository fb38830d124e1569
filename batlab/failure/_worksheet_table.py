"""The worksheet as a person sees it: one line a row; and what somebody has changed in it with another program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batlab.errors import ReadError, choose
from batlab.failure._worksheet_row import RATINGS, WORDS

if TYPE_CHECKING:
    from batlab.failure._worksheet_row import Row
    from batlab.failure.worksheets import Worksheet

EDITS = ("refuse", "take", "ignore")
# Column -> field of the row; the others are told, not read.
EDITABLE = {name.replace("_", " "): name for name in (*WORDS[:8], *RATINGS, *WORDS[8:])}
COLUMNS = (
    *("id", *(name.replace("_", " ") for name in (*WORDS[:8], *RATINGS))),
    *("RPN", "action priority", "basis", *WORDS[8:], "why these ratings", "evidence"),
)
LONGEST_CELL = 32_767  # characters of a cell of a spreadsheet
# What XML 1.0 cannot say, and the escape that spreadsheets would take for such a character.
UNSAID = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]|_x[0-9A-Fa-f]{4}_")
Cell = str | int | None


def line(sheet: Worksheet, row: Row) -> dict[str, Cell]:
    """Return what is seen of a row, by column."""
    told: dict[str, Cell] = {"id": row.id}
    for column, name in EDITABLE.items():
        value = getattr(row, name)
        told[column] = value.value if name in RATINGS else value
    told |= {"RPN": row.rpn, "action priority": sheet.priority(row) or "", "basis": row.basis}
    told["why these ratings"] = "\n".join(f"{name}: {getattr(row, name).explain()}" for name in RATINGS)
    told["evidence"] = "\n".join(f"{item} [{item.id[:8]}]" for item in sheet.evidence_of(row))
    return {column: told[column] for column in COLUMNS}


def seen(value: Cell) -> Cell:
    """Return a cell as a spreadsheet shows it: one kind of line end, nothing that XML cannot say, cut to what it holds.

    >>> seen("a\\r\\nb\\x07")
    'a\\nb\\ufffd'
    """
    if not isinstance(value, str):
        return value
    text = UNSAID.sub("\ufffd", value.replace("\r\n", "\n").replace("\r", "\n"))
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 60]}… (cut: {len(text)} characters)"


def reconcile(
    sheet: Worksheet,
    found: Sequence[dict[str, Any]],
    source: str,
    *,
    edits: str,
    author: str | None,
    reason: str,
) -> Worksheet:
    """Return `sheet` with what was changed in the lines `found` of a table, if that is wanted.

    Raises
    ------
    ReadError
        Something was changed and `edits` is ``"refuse"``, a changed cell is not what it should be, or a row is there
        twice.
    """
    choose("edits", edits, EDITS)
    if edits == "ignore":
        return sheet
    changed = sheet
    held = {row.id for row in sheet.rows}
    given: dict[str, dict[str, Any]] = {}
    added = []
    for one in found:
        known = str(one.get("id") or "")
        if known in given:
            raise ReadError(f"{source} has row {known} twice; clear the id of the copy, so that it counts as a new row")
        if known in held:
            given[known] = one
        else:
            added.append(one)
    problems = []
    for row in sheet.rows:
        if row.id not in given:
            problems.append(f"row {row.id} ({row.component}: {row.mechanism}) is gone")
            changed = changed.remove(row, author=author, reason=reason) if edits == "take" else changed
            continue
        texts, numbers = differences(sheet, row, given[row.id], source)
        problems += [f"{name} of row {row.id} says {value!r:.60}" for name, value in {**texts, **numbers}.items()]
        if edits == "take":
            changed = changed.edit(row, author=author, reason=reason, **texts) if texts else changed
            changed = changed.rate(row, author=author, reason=reason, **numbers) if numbers else changed
    for one in added:
        if any(_text(one.get(column)) for column in EDITABLE):
            problems.append(f"a row was added: {one.get('component')}: {one.get('mechanism')}")
            changed = _add(changed, one, source, author, reason) if edits == "take" else changed
    if problems and edits == "refuse":
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise ReadError(
            f"{source} was changed with another program: {problems[0]}{more}; take that over with edits='take', "
            "author=…, reason=…, or leave it with edits='ignore'"
        )
    return changed


def differences(
    sheet: Worksheet, row: Row, found: dict[str, Any], source: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the texts and numbers of a row that a table tells differently."""
    texts: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    told = line(sheet, row)
    for column, name in EDITABLE.items():
        if column not in found:
            raise ReadError(f"{source} lacks the column {column!r}")
        if name in RATINGS:
            value = _number(source, column, found[column])
            if value != told[column]:
                if value is None:
                    raise ReadError(f"{source}: {column} of row {row.id} is empty; a rating cannot be taken back")
                numbers[name] = value
        elif seen(_text(found[column])) != seen(told[column]):
            texts[name] = _text(found[column])
    return texts, numbers


def _add(sheet: Worksheet, one: dict[str, Any], source: str, author: str | None, reason: str) -> Worksheet:
    told = {name: _text(one.get(column)) for column, name in EDITABLE.items() if name not in RATINGS}
    numbers = {name: _number(source, name, one.get(name)) for name in RATINGS}
    return sheet.add(author=author, reason=reason, **told, **{n: v for n, v in numbers.items() if v is not None})


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(source: str, column: str, value: Any) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer() or not 1 <= number <= 10:
        raise ReadError(f"{source}: {column} must be a whole number from 1 to 10, got {value!r:.60}")
    return int(number)
