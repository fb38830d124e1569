"""Worksheets as pages: one file that needs no network, runs nothing, prints well, and holds everything."""

from __future__ import annotations

import html
import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from batlab.failure._worksheet_row import RATINGS, WORDS

if TYPE_CHECKING:
    from batlab.failure.worksheets import Worksheet

WHOLE = "batlab-worksheet"
HEAD = (
    "component",
    "mode",
    "mechanism",
    "cause",
    "local effect",
    "system effect",
    "action",
    "S",
    "O",
    "D",
    "RPN",
    "priority",
)
STYLE = """
body { font: 13px/1.4 system-ui, sans-serif; margin: 1.5em; color: #111; background: #fff; }
h1 { font-size: 20px; margin: 0; } h2 { font-size: 16px; margin: 1.5em 0 .3em; }
table.batlab { border-collapse: collapse; width: 100%; table-layout: fixed; }
table.batlab th, table.batlab td { border: 1px solid #999; padding: 3px 5px; text-align: left; vertical-align: top;
  white-space: pre-wrap; overflow-wrap: anywhere; }
table.batlab th { background: #eee; } table.batlab .n { width: 3.2em; text-align: right; }
table.batlab td.judgement::after { content: " J"; font-size: 9px; }
table.batlab td.table::after { content: " T"; font-size: 9px; } table.batlab s { color: #555; }
table.small td { font-size: 11px; }
@media print { body { margin: 0; font-size: 9px; } thead { display: table-header-group; }
  table.small td { font-size: 8px; } tbody { break-inside: avoid; } h2 { break-after: avoid; }
  @page { size: A4 landscape; margin: 12mm; } }
"""


def to_bytes(sheet: Worksheet) -> bytes:
    """Return the page."""
    whole = json.dumps(sheet.as_dict())
    for sign in "<>&":  # nothing in it can end the block that it stands in
        whole = whole.replace(sign, f"\\u{ord(sign):04x}")
    title = html.escape(sheet.title)
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>Failure modes, mechanisms and effects analysis (FMMEA), version {sheet.version}",
        f", {'signed' if sheet.is_signed else 'not signed'}.",
        " T: from the tables of knowledge and scales alone. J: judgement. Struck out: as computed.</p>",
        table(sheet),
        _grounds(sheet),
        _section("Signatures", [_signature(one.version, who) for one in sheet.signed for who in one.signatures]),
        _section("Evidence", [f"{item.id[:8]}  {item}  {item.source}  {item.dose}" for item in sheet.evidence]),
        _section("History", [str(change) for change in sheet.changes]),
        f'<script type="application/json" id="{WHOLE}">{whole}</script></body></html>\n',
    ]
    return "".join(parts).encode()


def from_bytes(content: bytes) -> tuple[Any, None]:
    """Return everything that the page holds."""
    reader = _Reader()
    reader.feed(content.decode())
    reader.close()
    if not reader.found:
        raise ValueError(f"the page has no block {WHOLE!r}")
    return json.loads("".join(reader.found)), None


def table(sheet: Worksheet) -> str:
    """Return the rows, the worst first, as a table; whatever a person wrote is escaped."""
    head = "".join(f"<th{' class=n' if len(word) < 4 else ''}>{word}</th>" for word in HEAD)
    parts = [f'<table class="batlab"><thead><tr>{head}</tr></thead>']
    for row in sheet.ranked():
        cells = [f"<td>{html.escape(getattr(row, name))}</td>" for name in (*WORDS[:3], *WORDS[5:9])]
        cells += [_number(getattr(row, name)) for name in RATINGS]
        rpn = "" if row.rpn is None else str(row.rpn)
        cells += [f'<td class="n"><b>{rpn}</b></td>', f"<td>{html.escape(sheet.priority(row) or '')}</td>"]
        parts.append(f"<tbody><tr>{''.join(cells)}</tr></tbody>")
    return f"{''.join(parts)}</table>"


def _grounds(sheet: Worksheet) -> str:
    """Return what each rating comes from: the three side by side, then the evidence and the rest of the row."""
    parts = []
    for row in sheet.ranked():
        told = [f"evidence: {item} [{item.id[:8]}]" for item in sheet.evidence_of(row)]
        told += [f"{name}: {getattr(row, name)}" for name in (*WORDS[3:5], *WORDS[9:]) if getattr(row, name)]
        cells = [f"<td>{html.escape(f'{name}: {getattr(row, name).explain()}')}</td>" for name in RATINGS]
        rest = f'<tr><td colspan="3">{html.escape(chr(10).join(told))}</td></tr>' if told else ""
        head = f'<tr><th colspan="3">{html.escape(f"{row.component}: {row.mechanism}")}</th></tr>'
        parts.append(f"<tbody>{head}<tr>{''.join(cells)}</tr>{rest}</tbody>")
    return f'<h2>Grounds</h2><table class="batlab small">{"".join(parts)}</table>' if parts else ""


def _number(rating: Any) -> str:
    value = "" if rating.value is None else str(rating.value)
    was = f" <s>{rating.computed}</s>" if rating.is_changed else ""
    return f'<td class="n {rating.basis}" title="{html.escape(rating.explain()[:2000])}">{value}{was}</td>'


def _section(name: str, lines: list[str]) -> str:
    body = "".join(f"<tbody><tr><td>{html.escape(line)}</td></tr></tbody>" for line in lines)
    return f'<h2>{name}</h2><table class="batlab">{body}</table>' if lines else ""


def _signature(version: int, who: Any) -> str:
    told = f"version {version}  {who.author}  {who.created[:19]} UTC  SHA-256 {who.sha256}"
    return f"{told}  {who.statement}" if who.statement else told


class _Reader(HTMLParser):
    """Collects the block of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._is_inside = tag == "script" and ("id", WHOLE) in attrs

    def handle_endtag(self, tag: str) -> None:
        self._is_inside = False

    def handle_data(self, data: str) -> None:
        if self._is_inside:
            self.found.append(data)
