"""The criticality matrix of a worksheet: severity over occurrence, the rows by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batlab.figures.style import CURSOR, TEXT, blank, set_ticks
from batlab.figures.worksheet_board import cut, numbered

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from batlab.failure import Worksheet
    from batlab.failure._worksheet_row import Row

LEVELS = range(1, 11)
MOST_NUMBERS = 3  # in a cell


def criticality(
    sheet: Worksheet,
    rows: Sequence[Row] | None = None,
    *,
    selected: str | None = None,
    size: tuple[int, int] = (300, 240),
) -> figure:
    """Draw the criticality matrix of IEC 60812: severity over occurrence; each cell names its rows by their numbers.

    Parameters
    ----------
    sheet
        The worksheet; its rows are numbered from the highest RPN on.
    rows
        Those to draw; by default all. Rows without severity or occurrence have no place.
    selected
        Id of a row whose cell is framed.
    size
        Width and height inside the axes, in pixels.

    Examples
    --------
    >>> from batlab.failure import worksheet
    >>> plot = criticality(worksheet(title="cell 7", author="ada"))
    """
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    plot = blank(
        size, "occurrence", "severity", margins=(8, 10, 44, 46), name="criticality",
        x_range=Range1d(0.5, 10.5), y_range=Range1d(0.5, 10.5),
    )  # fmt: skip
    cells = [(o, s) for s in LEVELS for o in LEVELS]
    plot.rect(
        x=[o for o, _ in cells], y=[s for _, s in cells], width=1, height=1, line_color="#FFFFFF",
        fill_color=[_shade(o * s) for o, s in cells],
    )  # fmt: skip
    chosen = list(sheet.ranked() if rows is None else rows)
    source = ColumnDataSource(data=criticality_columns(sheet, chosen), name="criticality_data")
    points = plot.rect(
        x="occurrence", y="severity", width=0.9, height=0.9, source=source, fill_color="#FFFFFF", fill_alpha=0.75,
        line_color="#888888", name="criticality_cells",
    )  # fmt: skip
    plot.text(
        "occurrence", "severity", text="numbers", source=source, text_align="center", text_baseline="middle",
        text_font_size="10px", text_color=TEXT, name="criticality_numbers",
    )  # fmt: skip
    ring = ColumnDataSource(data=criticality_ring(sheet, selected), name="criticality_selected")
    plot.rect(
        x="occurrence", y="severity", width=1, height=1, source=ring, fill_alpha=0, line_color=CURSOR, line_width=2.5,
        name="criticality_ring",
    )  # fmt: skip
    for axis in (plot.xaxis[0], plot.yaxis[0]):
        set_ticks(axis, list(LEVELS), [str(level) for level in LEVELS])
    plot.grid.visible = False
    tips = [("S, O", "@severity, @occurrence"), ("rows", "@told")]
    plot.add_tools(HoverTool(tooltips=tips, renderers=[points], name="criticality_hover"))
    return plot


def criticality_columns(sheet: Worksheet, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Return the cells that hold rows as columns of a Bokeh source; the worst row of a cell is its first."""
    number = numbered(sheet)
    held: dict[tuple[int, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(number.get(row.id, 0))):
        if row.occurrence.value is not None and row.severity.value is not None:
            held.setdefault((row.occurrence.value, row.severity.value), []).append(row)
    called = [[number.get(row.id, "–") for row in some] for some in held.values()]
    return {
        "occurrence": [at[0] for at in held],
        "severity": [at[1] for at in held],
        "numbers": [_few(names) for names in called],
        "row": [some[0].id for some in held.values()],
        "told": ["; ".join(f"{number.get(row.id, '–')} {cut(row.mechanism, 40)}" for row in some[:6])
                 for some in held.values()],
    }  # fmt: skip


def criticality_ring(sheet: Worksheet, selected: str | None) -> dict[str, list[Any]]:
    """Return where the frame of the selected row lies: nowhere, or in one cell."""
    found = [row for row in sheet.rows if row.id == selected and None not in (row.severity.value, row.occurrence.value)]
    return {"occurrence": [row.occurrence.value for row in found], "severity": [row.severity.value for row in found]}


def _few(names: list[str]) -> str:
    return " ".join(names) if len(names) <= MOST_NUMBERS else f"{names[0]} … +{len(names) - 1}"


def _shade(product: int) -> str:
    """Return a colour from pale yellow to orange-red: only the product of both levels, no limits of acceptance."""
    part = (product / 100) ** 0.7
    pale, deep = (255, 250, 225), (236, 138, 92)
    return "#" + "".join(f"{round(a + part * (b - a)):02X}" for a, b in zip(pale, deep, strict=True))
