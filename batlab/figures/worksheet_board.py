"""The rows of a worksheet as a board: mode, mechanism, cause, ratings, and the evidence as pictures."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from batlab.figures.evidence_thumbnail import evidence_thumbnail

if TYPE_CHECKING:
    from batlab.failure import Evidence, Link, Worksheet
    from batlab.failure._worksheet_row import Rating, Row

RATINGS = ("severity", "occurrence", "detection")
MOST_PICTURES = 2  # of the evidence of a row; the others are counted
LONGEST = {"component": 60, "mode": 90, "mechanism": 110, "cause": 180}
COLUMNS = {
    "": 26, "mode": 124, "mechanism": 150, "cause": 186, "S": 50, "O": 50, "D": 50, "RPN": 50, "priority": 62,
    "evidence": 304, "status": 56,
}  # fmt: skip
STYLE = """<style>
.batlab-board-table { border-collapse: separate; border-spacing: 0; table-layout: fixed; font: 12px/1.3 sans-serif;
  color: #222; background: #fff; }
.batlab-board-table th { position: sticky; top: 0; background: #ECEFF2; text-align: left; font-weight: 600; z-index: 1;
  padding: 3px 5px; border-bottom: 1px solid #999; }
.batlab-board-table td { padding: 3px 5px; text-align: left; vertical-align: top; border-bottom: 1px solid #DDD;
  overflow-wrap: anywhere; white-space: normal; }
.batlab-board-table .n { text-align: right; } .batlab-board-table td.n b { font-size: 14px; }
.batlab-board-table s { color: #666; font-size: 11px; } .batlab-board-table small { color: #555; font-size: 10px; }
.batlab-board-table .judgement { color: #8A5A00; } .batlab-board-table .evidence { color: #005A8C; }
.batlab-board-table .flag { border: 1px solid #8A5A00; border-radius: 3px; color: #8A5A00; padding: 0 4px; }
.batlab-board-table tr.retired td { color: #777; text-decoration: line-through; }
.batlab-board-table svg { display: inline-block; vertical-align: top; margin-right: 2px; }
</style>"""


def worksheet_board(
    sheet: Worksheet, rows: Sequence[Row] | None = None, *, links: Iterable[Link] = (), most: int | None = None
) -> str:
    """Return rows of a worksheet as an HTML table; whatever a person wrote is shown as text, cut where it is long.

    Parameters
    ----------
    sheet
        The worksheet.
    rows
        Some of its rows in the order wanted, as ``sheet.ranked(...)`` has them; by default all, the worst first.
    links
        Of the store (``store.links()``): marks that are linked with a row are counted.
    most
        So many rows at most.

    Examples
    --------
    >>> from batlab.failure import worksheet
    >>> made = worksheet(title="cell 7", author="ada", rows=[{"component": "cell", "mechanism": "gas", "severity": 3}])
    >>> "judgement" in worksheet_board(made)
    True
    """
    chosen = list(sheet.ranked() if rows is None else rows)
    numbers = numbered(sheet)
    states, evidence = sheet.states(), {item.id: item for item in sheet.evidence}
    marked = Counter(mark_ends(links))
    columns = {name: width for name, width in COLUMNS.items() if name != "priority" or sheet.priorities}
    cols = "".join(f'<col style="width:{width}px">' for width in columns.values())
    head = "".join(f"<th{' class=n' if len(one) < 4 and one else ''}>{one}</th>" for one in columns)
    body = [
        _row(sheet, row, numbers.get(row.id, ""), states[row.id], evidence, marked[row.id]) for row in chosen[:most]
    ]
    table = f'<table class="batlab-board-table" style="width:{sum(columns.values())}px"><colgroup>{cols}</colgroup>'
    return f"{STYLE}{table}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def numbered(sheet: Worksheet) -> dict[str, str]:
    """Return the number of each row in the order of all rows, the worst first, by which figures name it."""
    return {row.id: str(number) for number, row in enumerate(sheet.ranked(), 1)}


def mark_ends(links: Iterable[Link]) -> list[str]:
    """Return the ids of the rows with which marks are linked, one for each link."""
    ends = [(one.source, one.target) for one in links] + [(one.target, one.source) for one in links]
    return [row[4:] for mark, row in ends if mark.startswith("mark:") and row.startswith("row:")]


def _row(sheet: Worksheet, row: Row, number: str, state: str, evidence: dict[str, Evidence], n_marks: int) -> str:
    words = {name: html.escape(cut(getattr(row, name), most)) for name, most in LONGEST.items()}
    cells = [
        f'<td class="n"><small>{number}</small></td>',
        f"<td>{words['mode']}<br><small>{words['component']}</small></td>",
        f"<td><b>{words['mechanism']}</b></td>",
        f"<td>{words['cause']}</td>",
        *(_rating(getattr(row, name)) for name in RATINGS),
        _rpn(row.rpn),
        *([f"<td>{html.escape(cut(_priority(sheet, row), 40))}</td>"] if sheet.priorities else []),
        f"<td>{_pictures(row, [evidence[one] for one in row.all_evidence if one in evidence])}{_marks(n_marks)}</td>",
        f"<td>{state}</td>",
    ]
    return f'<tr data-row="{html.escape(row.id)}" class="{state}">{"".join(cells)}</tr>'


def _rating(rating: Rating) -> str:
    if rating.value is None:
        return '<td class="n" title="not rated">–</td>'
    was = f" <s>{rating.computed}</s>" if rating.is_changed else ""
    told = html.escape(cut(rating.explain(), 1500))
    by = " ✎" if rating.author else ""
    return (
        f'<td class="n" title="{told}">{was} <b>{rating.value}</b><br>'
        f'<small class="{rating.basis}">{SHORT[rating.basis]}{by}</small></td>'
    )


SHORT = {"evidence": "evid.", "table": "table", "judgement": "judg."}


def _rpn(value: int | None) -> str:
    if value is None:
        return '<td class="n">–</td>'
    bar = f"background:linear-gradient(90deg,#F6C7A6 {value / 10:g}%,transparent 0)"
    return f'<td class="n" style="{bar}"><b>{value}</b></td>'


def _priority(sheet: Worksheet, row: Row) -> str:
    values = row.severity.value, row.occurrence.value, row.detection.value
    return (sheet.priorities and sheet.priorities.of(*values)) or ""


def without_evidence(row: Row) -> str:
    """Return what a row without evidence rests on: ``"judgement"`` of a person, or ``"tables only"``."""
    is_judged = any(getattr(row, name).basis == "judgement" for name in RATINGS)
    return "judgement" if is_judged else "tables only"


def _pictures(row: Row, items: list[Evidence]) -> str:
    if not items:
        told = "what stands here is judgement, or comes from the tables of knowledge and scales alone"
        return f'<span class="flag" title="no evidence: {told}">{without_evidence(row)}</span>'
    more = f"<small>+{len(items) - MOST_PICTURES} more</small>" if len(items) > MOST_PICTURES else ""
    return "".join(evidence_thumbnail(item, size=(142, 40)) for item in items[:MOST_PICTURES]) + more


def _marks(count: int) -> str:
    return f' <small title="marks that are linked with the row">⚑ {count}</small>' if count else ""


def cut(text: str, most: int) -> str:
    """Return a text that fits a cell.

    >>> cut("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"
