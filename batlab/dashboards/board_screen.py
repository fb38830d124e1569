"""The criticality matrix of the failure board, and what carries clicks and keys on the table to Python."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.models import ColumnDataSource, CustomJS

from batlab.dashboards.board_script import MATRIX
from batlab.dashboards.parts import keys_text
from batlab.failure import Worksheet
from batlab.failure._worksheet_row import Row
from batlab.figures.criticality import criticality, criticality_columns, criticality_ring


class BoardScreen:
    """One figure; its document listens to the whole board."""

    def __init__(self, empty: Worksheet) -> None:
        self.root = criticality(empty, [], size=MATRIX)
        self.cells = self.root.select_one({"name": "criticality_data"})
        self.ring = self.root.select_one({"name": "criticality_selected"})
        # Carries the row that was clicked or reached by keys; it belongs to the document because the root refers to it.
        self.request = ColumnDataSource(data={"row": [""], "time": [0.0]}, name="board_request")
        self.root.tags = [self.request]
        document = Document()
        document.add_root(self.root)
        models = {"root": self.root, "request": self.request}
        document.js_on_event(DocumentReady, CustomJS(args=models, code=keys_text("board_keys.js")))

    def show_rows(self, sheet: Worksheet, rows: Sequence[Row]) -> None:
        """Draw the rows that are on the board."""
        self.cells.data = criticality_columns(sheet, rows)

    def select(self, sheet: Worksheet, row: str) -> None:
        """Frame the cell of a row."""
        self.ring.data = criticality_ring(sheet, row)

    def row_at(self, occurrence: float, severity: float) -> str:
        """Return the worst row of the cell at a place, or nothing."""
        data = self.cells.data
        for o, s, row in zip(data["occurrence"], data["severity"], data["row"], strict=True):
            if abs(o - occurrence) <= 0.5 and abs(s - severity) <= 0.5:
                return str(row)
        return ""
