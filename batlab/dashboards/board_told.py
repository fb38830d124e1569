"""What the failure board tells of one row: its evidence, the marks and words linked to it, and its history."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from batlab.failure import Evidence, Link, Mark, Worksheet
from batlab.figures.evidence_thumbnail import evidence_thumbnail
from batlab.figures.worksheet_board import cut

STYLE = "font:12px/1.35 sans-serif;color:#222"
MOST = 200  # lines of a history on the screen; the whole is in every export
LONGEST = 1000  # characters of one remark on the screen


def evidence_told(items: Sequence[Evidence]) -> str:
    """Return each piece of evidence of a row as a picture with all its words."""
    if not items:
        return _box("<b style='color:#8A5A00'>no evidence</b>: the row is a judgement, or comes from tables alone")
    lines = []
    for item in items:
        said = html.escape(f"{item}. {item.test}" if item.test else str(item))
        where = html.escape(cut(f"{item.source} {item.dose} [{item.id[:8]}]".strip(), 300))
        lines.append(
            f'<div style="display:flex;gap:8px;margin:2px 0"><div>{evidence_thumbnail(item, size=(200, 46))}</div>'
            f"<div>{said}<br><span style='color:#666'>{where}</span></div></div>"
        )
    return _box("".join(lines))


def linked(row: str, evidence: Sequence[str], links: Sequence[Link]) -> list[Link]:
    """Return the links that touch a row or its evidence, and what was said of those links."""
    things = {f"row:{row}", *(f"evidence:{one}" for one in evidence)}
    found = [one for one in links if one.source in things or one.target in things]
    held = {f"link:{one.id}" for one in found}
    return [one for one in links if one in found or one.target in held]


def links_told(links: Sequence[Link], marks: dict[str, Mark], evidence: dict[str, Evidence]) -> str:
    """Return what is linked, the marks with what they say; whatever a person wrote is escaped."""
    if not links:
        return _box("<i>no mark, comment or other link yet</i>")
    lines = []
    for link in links:
        ends = [_end(one, marks, evidence) for one in (link.source, link.target)]
        said = f": {cut(link.text, LONGEST)}" if link.text else ""
        words = f"{ends[0] or link.author} {link.relation} {ends[1]}{said}"
        lines.append(f"{html.escape(words)} <span style='color:#666'>{html.escape(link.author)}, {link.when}</span>")
    return _box("".join(f"<div style='white-space:pre-wrap;margin:2px 0'>{line}</div>" for line in lines))


def mark_words(mark: Mark) -> str:
    """Return a mark in one line.

    >>> mark_words(None)
    'a mark that is not in this store'
    """
    if mark is None:
        return "a mark that is not in this store"
    text = f": {cut(mark.text, 200)}" if mark.text else ""
    gone = ", withdrawn" if mark.is_retired else ""
    where = f"frames {mark.frames[0]}–{mark.frames[1]}"
    return f"{cut(mark.mechanism, 60)}, {where} ({mark.author}, sure {mark.confidence:.2g}{gone}){text}"


def history_told(sheet: Worksheet, row: str, imports: Sequence[dict[str, Any]]) -> str:
    """Return the changes of a row, or all where none is chosen, signatures and imports; the newest first."""
    changes = [one for one in sheet.changes if not row or one.row == row]
    lines = [(one.created, f"{one}") for one in changes[-MOST:]]
    lines += [
        (
            who.created,
            f"{who.created[:19]} {who.author} signed version {one.version}{': ' * bool(who.statement)}{who.statement}",
        )
        for one in sheet.signed
        for who in one.signatures
    ]
    lines += [
        (one["created"], f"{one['created'][:19]} {one['author']} brought in from {one['source']}: {what}")
        for one in imports
        for what in one["what"]
        if what.startswith(f"worksheet:{sheet.id} ")
    ]
    more = f"<i>… and {len(changes) - MOST} earlier ones</i>" if len(changes) > MOST else ""
    told = "".join(
        f"<div style='white-space:pre-wrap;margin:2px 0'>{html.escape(cut(words, LONGEST))}</div>"
        for _, words in sorted(lines, reverse=True)
    )
    return _box((told or "<i>nothing was changed yet</i>") + more)


def _end(thing: str, marks: dict[str, Mark], evidence: dict[str, Evidence]) -> str:
    kind, _, known = thing.partition(":")
    if kind == "mark":
        return f"mark “{mark_words(marks.get(known))}”"
    if kind == "evidence" and known in evidence:
        return f"evidence {evidence[known].observable} [{known[:8]}]"
    return {"row": "this row", "link": "that link"}.get(kind, thing)


def _box(inner: str) -> str:
    return f'<div style="{STYLE};overflow-wrap:anywhere">{inner}</div>'
